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
        (f"{NUMPY}\nI tried reducing the batch size, but it did not help.", "it did not help"),
        (f"{KILLED}\nEven after increasing the memory to 28 GiB it is killed.", "increasing the memory to 28 GiB"),
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
        f"{NUMPY}\nI have not tried a smaller batch size.",
        f"{NUMPY}\nWe did not reduce the batch size.",
        f"{NUMPY}\nWe still have to try reducing the batch size.",
        f"{NUMPY}\nI haven’t reduced the batch size.",
        f"{KILLED}\nI did not increase the memory limit.",
        f"{KILLED}\nI cannot give it more memory.",
        f"{KILLED}\nMy boss says we must increase memory.",
        f"{KILLED}\nDocs say: I can raise the memory limit.",
        f"{KILLED}\nWe lowered the memory limit to 4G.",
        f"{KILLED}\nWe changed the memory limit 8Gi -> 4Gi.",
        f"{KILLED}\nWe use more memory than I thought.",
        f"{KILLED}\nI increased the memory limit and it works now.",
        f"{KILLED}\nI increased the memory limit. It works now.",
        f"{KILLED}\nWe noticed an increased memory usage.",
        KILLED,
    ],
)
def test_what_was_not_tried_stays(text: str, tmp_path: Path) -> None:
    assert not any("The text says of this" in one for one in explain(text, tmp_path).advice)
