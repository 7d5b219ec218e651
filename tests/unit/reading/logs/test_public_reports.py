"""Texts in the forms of public reports: everything in them is read, and nothing that they deny, quote or ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.reading.logs.messages import parse
from tests.texts.texts_of_reports import TEXTS
from tests.unit.reading.logs.test_layouts import assert_all_is_read

CLAIMS = ("out-of-memory killer", "did not suffice", "could not have", "killed for memory", "evicted", "Slurm job")
"""Words of sentences that say that something happened."""


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_said_of_a_report(name: str, tmp_path: Path) -> None:
    known = TEXTS[name]
    assert_all_is_read(known, parse(known.text))
    found = explain(known.text, tmp_path)
    assert [words for words in known.says if words not in str(found)] == []
    if known.cause in ("unknown", "sigkill"):
        own = [line for line in found.summary.splitlines() if "“" not in line]
        assert [words for words in CLAIMS if words in "\n".join(own)] == []
