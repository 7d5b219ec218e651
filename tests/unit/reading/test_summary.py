"""summary(): what it says of calls is what calls() says of them, and what was kept of it is never out of date."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof.cli import app
from raymemprof.reading.catalog import remembered
from tests.paths import DATA

MANY = 3000
"""Calls in a journal that is large enough for its sums to be kept."""


def lines(first: int, count: int, ended: int | None = None) -> Iterator[dict[str, Any]]:
    """Calls of two functions and an actor; those from `ended` on have not ended."""
    for number in range(first, first + count):
        name, kind = [("load", "task"), ("Cache.add", "method"), ("Cache.get", "method")][number % 3]
        begin = {"event": "begin", "call": number, "time": 1e9 + number, "name": name, "kind": kind, "memory": 10**6}
        ids = {"task_id": f"{number:048x}", "attempt": 0, "actor_id": None, "job_id": "01000000"}
        yield {**begin, **ids, "note": "not traced" * 20}
        if ended is None or number < ended:
            status = "failed" if number % 10 == 4 else "finished"
            figures = {"memory": 10**6 + number, "peak": 2 * 10**6 + 1000 * number}
            yield {"event": "end", "call": number, "duration": 0.5, "status": status, "error": None, **figures}


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal of many calls, whose process is gone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "raymemprof-load-local-0-1-1.jsonl"
    process = {"event": "process", "version": 1, "pid": 1, "created": 1e9, "host": "elsewhere", "node_id": "a" * 56}
    write(path, [process, *lines(0, MANY)])
    assert path.stat().st_size > remembered._WORTH
    return path


def write(path: Path, them: list[dict[str, Any]], mode: str = "w") -> None:
    with path.open(mode) as file:
        file.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in them)


def kept(journal: Path) -> list[Path]:
    return list((journal.parents[1] / "cache" / "raymemprof" / "sums").glob("*"))


def assert_is_that_of_the_calls(folder: Path) -> None:
    calls = list(raymemprof.calls(folder))
    summary = raymemprof.summary(folder, lines=False)
    assert [row.peak_memory for row in summary] == sorted((row.peak_memory for row in summary), reverse=True)
    assert sum(row.call_count for row in summary) == len(calls)
    for row in summary:
        of_it = [call for call in calls if call.name == row.name or call.name.startswith(f"{row.name}.")]
        statuses = Counter(call.status for call in of_it)
        assert row.call_count == len(of_it)
        for status in ("running", "finished", "failed", "cancelled", "killed"):
            assert getattr(row, f"{status}_count") == statuses[status]
        peaks = sorted(call.peak_memory for call in of_it)
        assert row.peak_memory == peaks[-1] == row.largest.peak_memory
        assert row.largest in of_it
        for part, told in ((0.5, row.p50), (0.95, row.p95)):
            assert told == pytest.approx(peaks[math.ceil(part * len(peaks)) - 1], rel=0.01)
        assert row.growth == max(call.growth for call in of_it)
        ended = [call for call in of_it if call.memory_after is not None]
        assert row.kept == sum((call.memory_after or 0) - call.memory_before for call in ended)
        assert row.traced_count == sum(call.place is not None for call in of_it)
        captures = {call.capture for call in of_it if call.capture is not None}
        assert row.capture_bytes == sum(path.stat().st_size for path in captures)
        assert row.first_started_at == min(call.started_at for call in of_it)
        assert row.last_started_at == max(call.started_at for call in of_it)
        assert row.node_ids == tuple(sorted({call.node_id for call in of_it if call.node_id}))


def test_it_is_that_of_the_calls(journal: Path) -> None:
    assert_is_that_of_the_calls(journal.parent)
    assert len(kept(journal)) == 1
    assert_is_that_of_the_calls(journal.parent)
    assert [row.name for row in raymemprof.summary(journal.parent)] == ["Cache", "load"]


def test_it_is_that_of_what_the_first_version_recorded() -> None:
    assert_is_that_of_the_calls(DATA / "recorded-0.1.0")


def test_only_what_is_new_is_read(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raymemprof.summary(journal)
    read = []
    inner = remembered.contract.read_lines
    monkeypatch.setattr(
        remembered.contract, "read_lines", lambda path, start=0: read.append(start) or inner(path, start=start)
    )
    size = journal.stat().st_size
    assert raymemprof.summary(journal)[0].call_count == 2 * MANY / 3
    assert read == [size]
    read.clear()
    write(journal, [*lines(MANY, 30, ended=MANY + 20)], "a")
    with journal.open("a") as file:
        file.write('{"event":"end","call":')  # torn, or not yet written
    assert_is_that_of_the_calls(journal.parent)
    with journal.open("a") as file:
        file.write(f'{MANY + 20},"duration":1,"status":"failed","error":null,"memory":1,"peak":1}}\n')
    assert_is_that_of_the_calls(journal.parent)
    assert sorted(set(read)) == [0, size], "calls() reads all"


@pytest.mark.parametrize("change", ["replaced", "cut", "rewritten", "damaged", "older version", "no entry"])
def test_what_was_kept_is_never_out_of_date(journal: Path, change: str) -> None:
    raymemprof.summary(journal)
    (entry,) = kept(journal)
    text = journal.read_text().replace('"load"', '"read"')
    if change == "replaced":
        journal.with_name("new").write_text(text)
        journal.with_name("new").replace(journal)
    elif change == "cut":
        journal.write_text(journal.read_text()[: 2**20 + 100])
    elif change == "rewritten":  # in place, and as long as it was
        journal.write_text(text[:-10] + "         \n")
    elif change == "damaged":
        entry.write_bytes(entry.read_bytes()[:-5])
    elif change == "older version":
        entry.write_bytes(remembered.msgspec.msgpack.encode({"version": 0}))
    else:
        entry.unlink()
        entry.mkdir()
    assert_is_that_of_the_calls(journal.parent)


def test_a_cache_that_is_a_file(journal: Path) -> None:
    (journal.parents[1] / "cache").write_text("")
    assert_is_that_of_the_calls(journal.parent)


def test_damaged_lines_are_told_of_each_time(journal: Path) -> None:
    with journal.open("a") as file:
        file.write("{}\nno json\n")
    write(journal, list(lines(MANY, 3)), "a")
    for _ in range(2):
        assert raymemprof.summary(journal).left_out == (f"{journal.name}: 2 damaged lines left out",)
    assert_is_that_of_the_calls(journal.parent)


def test_what_is_asked_for(journal: Path) -> None:
    def named(**filters: Any) -> list[tuple[str, int]]:
        return [(row.name, row.call_count) for row in raymemprof.summary(journal.parent, **filters)]

    assert named(name="load") == [("load", MANY / 3)]
    assert named(name="Cache.*") == [("Cache", 2 * MANY / 3)]
    assert named(name="Cache.add") == [("Cache", MANY / 3)]
    assert named(kind="method") == [("Cache", 2 * MANY / 3)]
    assert named(job_id="01") == named(node_id="aa") == named()
    assert named(job_id="02") == named(node_id="b") == []
    assert "calls of Cache.add, Cache.get, load" in repr(raymemprof.summary(journal.parent, name="nosuch"))
    with pytest.raises(ValueError, match="kind='nosuch' is none of"):
        raymemprof.summary(journal.parent, kind="nosuch")


def test_the_line_of_the_largest_call(tmp_path: Path) -> None:
    for size in (1, 2, 30):
        with raymemprof.profile_memory("load", directory=str(tmp_path), linger=0):
            data = bytearray(size * 2**20)  # planted
    assert data
    source = Path(__file__).read_text().splitlines()
    planted = next(number for number, line in enumerate(source, 1) if "# planted" in line)
    (row,) = raymemprof.summary(tmp_path)
    assert row.guilty_line is not None
    assert (row.guilty_line.file, row.guilty_line.line) == (__file__, planted)
    assert row.guilty_line.bytes >= 30 * 2**20
    assert row.largest.growth >= 29 * 2**20
    assert f"test_summary.py:{planted} 30" in repr(raymemprof.summary(tmp_path))
    for path in tmp_path.glob("*.bin"):
        path.write_bytes(b"no capture")
    (row,) = raymemprof.summary(tmp_path)
    assert row.guilty_line is None


def test_as_a_table(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = raymemprof.summary(journal.parent)
    assert repr(summary).startswith("2 functions and actor classes")
    assert "<td" in summary._repr_html_()
    assert list(summary.to_pandas()["name"]) == ["Cache", "load"]
    with pytest.raises(SystemExit) as ended:
        app.main(["summary", str(journal.parent), "--name", "load", "--no-lines", "--json"])
    assert ended.value.code == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["call_count"], row["largest"]["name"]) == ("load", MANY / 3, "load")
    assert "raymemprof.summary() sums all up by function" in repr(raymemprof.calls(journal.parent))


def test_a_folder_of_small_journals_keeps_nothing(journal: Path) -> None:
    shutil.copytree(DATA / "recorded-0.1.0", journal.parent / "small")
    raymemprof.summary(journal.parent / "small")
    assert kept(journal) == []
