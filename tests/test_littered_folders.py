"""A folder with things in it that look like recordings and are none: all else in it is listed, and they are named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import CaptureError, profile_memory

MIB = 2**20


@pytest.fixture
def folder(tmp_path: Path, wait_for: Callable[..., Any]) -> Path:
    with profile_memory("load", directory=tmp_path / "here", linger=0):
        kept = bytearray(MIB)
    assert len(kept) == MIB
    wait_for(lambda: raymemprof.captures(tmp_path / "here")[0].status == "closed")
    return tmp_path / "here"


def test_journals_that_are_no_files(folder: Path) -> None:
    """A pipe would keep its reader waiting for ever."""
    os.mkfifo(folder / "raymemprof-pipe.jsonl")
    (folder / "raymemprof-folder.jsonl").mkdir()
    (folder / "raymemprof-link.jsonl").symlink_to("/etc/passwd")
    calls, captures = raymemprof.calls(folder), raymemprof.captures(folder)
    assert [call.name for call in calls] == ["load"]
    assert len(captures) == 1
    for shown in (repr(calls), repr(captures)):
        text = " ".join(shown.split())
        for name in ("pipe", "folder", "link"):
            assert f"raymemprof-{name}.jsonl cannot be read" in text
    with pytest.raises(CaptureError, match="plain file"):
        raymemprof.calls(folder / "raymemprof-pipe.jsonl")
    with profile_memory("load", directory=folder, linger=0, max_bytes=1):  # the budget looks at them as well
        pass
    assert len(raymemprof.calls(folder)) == 2


def test_lines_that_were_damaged_into_other_words(folder: Path) -> None:
    (journal,) = folder.glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    begin = next(line for line in lines if line["event"] == "begin")
    for number, (key, value) in enumerate(
        [("name", None), ("name", 5), ("time", "now"), ("memory", None), ("slot", "0"), ("kind", []), ("call", {})]
    ):
        lines.append({**begin, "call": 100 + number, key: value})
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    calls = raymemprof.calls(folder)
    assert [call.name for call in calls] == ["load"]
    assert len(raymemprof.calls(folder, name="load")) == 1
    assert "load" in repr(calls)
    assert len(raymemprof.advise(calls)) == 1


def test_what_cannot_be_removed_is_said_and_what_was_is_told(folder: Path) -> None:
    (folder / "raymemprof-folder-local-0-1-1.bin").mkdir()
    (capture,) = raymemprof.captures(folder)
    old = 10**9
    os.utime(capture.path, (old, old))
    removed = raymemprof.clean(folder, all=True)
    assert capture.path in {file.path for file in removed}
    assert not capture.path.exists()
    text = " ".join(repr(removed).split())
    assert "raymemprof-folder-local-0-1-1.bin (It is a folder)" in text
    assert "1 could not be removed" in text
