"""Advice that a text says was tried comes last, with the text's own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from raymemprof import explain

NUMPY = (
    "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 58.0 GiB for an array with shape (1, 2) "
    "and type uint16"
)
KILLED = "State: Terminated\n  Reason: OOMKilled\n  Exit Code: 137"


@pytest.mark.parametrize(
    ("text", "tried"),
    [
        (f"{NUMPY}\nI already reduced the batch size to 1.", "I already reduced the batch size to 1."),
        (f"{KILLED}\nWe raised the memory limit to 28 GiB, still the same.", "We raised the memory limit to 28 GiB"),
        (f"{NUMPY}\nbut if i reduce its size the result is bad, how can i solve this?", "the result is bad"),
    ],
)
def test_what_was_tried_comes_last(text: str, tried: str, tmp_path: Path) -> None:
    advice = explain(text, tmp_path).advice
    assert tried in advice[-1]
    assert not any("The text says of this" in one for one in advice[:-1])


@pytest.mark.parametrize(
    "text",
    [
        f"{NUMPY}\nShould I reduce the batch size?",
        f"{NUMPY}\nI would expect that a smaller batch works.",
        f"{KILLED}\nThe memory usage increases while I wait.",
        KILLED,
    ],
)
def test_what_was_not_tried_stays(text: str, tmp_path: Path) -> None:
    assert not any("The text says of this" in one for one in explain(text, tmp_path).advice)
