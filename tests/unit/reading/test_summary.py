"""summary(): what it says of calls is what calls() says of them, and what was kept of it is never out of date."""

from __future__ import annotations

import importlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof.cli import app
from raymemprof.reading.catalog import sums_cache
from raymemprof.reading.catalog.filters import Filters
from raymemprof.reading.catalog.function_sums import PlaceTotals, added, totals_of
from raymemprof.reading.catalog.places import Place
from tests.paths import DATA

summaries = importlib.import_module("raymemprof.reading.reports.summary")
"""The module: `reports.summary` is the function."""
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
            figures |= {"ray_data_peak": 10**6 + number % 1000} if name == "load" else {}
            yield {"event": "end", "call": number, "duration": 0.5, "status": status, "error": None, **figures}


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal of many calls, whose process is gone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "raymemprof-load-local-0-1-1.jsonl"
    process = {"event": "process", "version": 1, "pid": 1, "created": 1e9, "host": "elsewhere", "node_id": "a" * 56}
    write(path, [process, *lines(0, MANY)])
    assert path.stat().st_size > sums_cache._WORTH
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
        assert row.peak_memory == peaks[-1]
        assert row.largest in of_it
        assert row.largest.growth == row.growth
        for part, told in ((0.5, row.p50), (0.95, row.p95)):
            assert told == pytest.approx(peaks[math.ceil(part * len(peaks)) - 1], rel=0.01)
        assert row.growth == max(call.growth for call in of_it)
        assert row.ray_data_peak == (max(call.ray_data_peak or 0 for call in of_it) or None)
        assert (row.ray_data_peak is not None) is (row.kind == "task" and "here" in folder.parts)
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
    inner = sums_cache.contract.read_lines

    def noted(path: Path, *, start: int = 0, **options: Any) -> sums_cache.contract.Lines:
        read.append(start)
        return inner(path, start=start, **options)

    monkeypatch.setattr(sums_cache.contract, "read_lines", noted)
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


CHANGES = ["replaced", "cut", "rewritten", "damaged", "older version", "folder", "pipe", "huge"]


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_kept_is_never_out_of_date(journal: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raymemprof.summary(journal)
    (entry,) = kept(journal)
    text = journal.read_text().replace('"load"', '"read"')
    if change == "replaced":
        journal.with_name("new").write_text(text)
        journal.with_name("new").replace(journal)
    elif change == "cut":
        journal.write_text(journal.read_text()[: 2**20 + 100])
    elif change == "rewritten":  # in place, and as long as it was
        journal.write_text(text)
    elif change == "damaged":
        entry.write_bytes(entry.read_bytes()[:-5])
    elif change == "older version":
        monkeypatch.setattr(sums_cache, "_VERSION", 1)
    elif change == "huge":
        os.truncate(entry, 2**33)
    else:
        entry.unlink()
        entry.mkdir() if change == "folder" else os.mkfifo(entry)
    assert_is_that_of_the_calls(journal.parent)


def test_a_cache_that_leads_elsewhere(journal: Path, tmp_path: Path) -> None:
    """Nothing is removed there, and nothing written."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    old = elsewhere / ("a" * 32 + ".sums")
    old.write_text("")
    os.utime(old, (1, 1))
    (tmp_path / "cache" / "raymemprof").mkdir(parents=True)
    (tmp_path / "cache" / "raymemprof" / "sums").symlink_to(elsewhere)
    assert_is_that_of_the_calls(journal.parent)
    assert list(elsewhere.iterdir()) == [old]


def test_old_entries_go_and_nothing_else(journal: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "raymemprof" / "sums"
    folder.mkdir(parents=True)
    for name in ("a" * 32 + ".sums", "a" * 32 + ".sums-x7_b", "notes.txt"):
        (folder / name).write_text("")
        os.utime(folder / name, (1, 1))
    raymemprof.summary(journal)
    assert (folder / "notes.txt").exists()
    assert not (folder / ("a" * 32 + ".sums")).exists()
    assert len(kept(journal)) == 2


@pytest.mark.parametrize("cache", ["", "relative"])
def test_a_home_is_where_sums_go_by_default(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    raymemprof.summary(journal)
    assert len(list((tmp_path / "home" / ".cache" / "raymemprof" / "sums").iterdir())) == 1
    assert not (tmp_path / "relative").exists()


def test_a_cache_that_is_a_file(journal: Path) -> None:
    (journal.parents[1] / "cache").write_text("")
    assert_is_that_of_the_calls(journal.parent)


def test_damaged_lines_are_told_of_each_time(journal: Path) -> None:
    with journal.open("a") as file:
        file.write("{}\nno json\n")
    write(journal, list(lines(MANY, 3)), "a")
    for _ in range(2):
        assert raymemprof.summary(journal).left_out == (f"{journal.name}: 2 damaged lines left out",)
    assert len(kept(journal)) == 1
    assert_is_that_of_the_calls(journal.parent)


def test_what_cannot_be_kept_or_believed(journal: Path) -> None:
    """Figures that no file takes, and names that no path has."""
    (journal.parent / "raymemprof-link-local-0-1-1.bin").symlink_to("/dev/null")
    (journal.parent / "raymemprof-folder-local-0-1-1.bin").mkdir()
    more = list(lines(MANY, 4))
    for line, name in zip(more[::2], ("link", "folder", "/tmp/\0x/", "../"), strict=True):
        name = f"raymemprof-{name}-local-0-1-1.bin" if name.isalpha() else f"{name}raymemprof-a-local-0-1-1.bin"
        line |= {"capture": name, "slot": 0, "turn": 1}
    more.append({"event": "children", "calls": [0], "memory": 1, "total": 1, "count": 1, "largest": [[10**30, "x", 1]]})
    more.append({"event": "process", "version": 10**30})
    write(journal, more, "a")
    assert_is_that_of_the_calls(journal.parent)


def test_lines_in_another_order(journal: Path) -> None:
    """An end before its beginning, and what the sampler says of children after the end."""
    more = list(lines(MANY, 6))
    for number in range(0, 12, 2):
        more[number : number + 2] = reversed(more[number : number + 2])
    children = {"memory": 5 * 10**8, "total": 6 * 10**8, "count": 1, "largest": [[7, "child", 5 * 10**8]]}
    more.append({"event": "children", "calls": [MANY + 2], **children})
    write(journal, more, "a")
    assert max(row.peak_memory for row in raymemprof.summary(journal)) == 6 * 10**8
    assert_is_that_of_the_calls(journal.parent)
    whole = list(raymemprof.calls(journal))
    for status in ("running", "finished", "failed", "killed"):
        assert list(raymemprof.calls(journal, status=status)) == [call for call in whole if call.status == status]


def test_a_last_line_without_its_newline(journal: Path) -> None:
    text = journal.read_bytes()
    journal.write_bytes(text[:-1])
    for _ in range(2):
        assert_is_that_of_the_calls(journal.parent)
    with journal.open("ab") as file:
        file.write(b"\n")
    assert_is_that_of_the_calls(journal.parent)


def test_what_is_asked_for(journal: Path) -> None:
    def named(**filters: Any) -> list[tuple[str, int]]:
        return [(row.name, row.call_count) for row in raymemprof.summary(journal.parent, **filters)]

    assert named(name="load") == [("load", MANY / 3)]
    assert named(name="Cache.*") == [("Cache", 2 * MANY / 3)]
    assert named(name="Cache.add") == [("Cache", MANY / 3)]
    assert named(name="Cache") == named(kind="actor") == [("Cache", 2 * MANY / 3)]
    assert named(kind="method") == [("Cache", 2 * MANY / 3)]
    assert named(job_id="01") == named(node_id="aa") == named()
    assert named(job_id="02") == named(node_id="b") == []
    assert "calls of Cache.add, Cache.get, load" in " ".join(
        repr(raymemprof.summary(journal.parent, name="nosuch")).split()
    )
    with pytest.raises(ValueError, match="kind='nosuch' is none of"):
        raymemprof.summary(journal.parent, kind="nosuch")


LOADS = """
import sys, time
import raymemprof

for name, size in zip(sys.argv[2::2], map(int, sys.argv[3::2])):
    with raymemprof.profile_memory(name, directory=sys.argv[1], linger=0):
        data = bytearray(b"1") * (size * 2**20)  # planted
        time.sleep(0.05)
    del data
    while {capture.status for capture in raymemprof.captures(sys.argv[1])} != {"closed"}:
        time.sleep(0.02)
"""


def load(folder: Path, *names_and_sizes: str | int) -> None:
    """Record blocks of these names and MiB, each in a capture of its own, in a process that has used little."""
    script = folder.with_name("loads.py")
    script.write_text(LOADS)
    subprocess.run([sys.executable, script, folder, *map(str, names_and_sizes)], check=True, timeout=120)


def test_the_line_of_the_largest_call(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    load(folder, "load", 1, "load", 30, "load", 2)
    planted = next(number for number, line in enumerate(LOADS.splitlines(), 1) if "# planted" in line)
    (row,) = raymemprof.summary(folder)
    assert row.guilty_line is not None
    assert (row.guilty_line.file, row.guilty_line.line) == (str(tmp_path / "loads.py"), planted)
    assert row.guilty_line.bytes == pytest.approx(30 * 2**20, rel=0.01)
    assert row.largest.growth >= 29 * 2**20
    assert f"loads.py:{planted} 30" in repr(raymemprof.summary(folder))
    for path in folder.glob("*.bin"):
        path.write_bytes(b"no capture")
    (row,) = raymemprof.summary(folder)
    assert row.guilty_line is None


def test_of_one_capture_and_of_many(tmp_path: Path) -> None:
    """The size that counts is that of the largest call's capture."""
    folder = tmp_path / "here"
    load(folder, "load", 1, "other", 1, "load", 20)
    calls = raymemprof.calls(folder)
    first, _, last = [call.capture for call in calls]
    assert first is not None
    assert first != last
    assert [(row.name, row.call_count) for row in raymemprof.summary(first)] == [("load", 1)]
    os.truncate(first, summaries._MOST_CAPTURE + 1)
    (row,) = raymemprof.summary(folder, name="load")
    assert row.guilty_line is not None
    assert row.guilty_line.bytes >= 20 * 2**20
    os.truncate(str(last), summaries._MOST_CAPTURE + 1)
    (row,) = (summary := raymemprof.summary(folder, name="load"))
    assert row.guilty_line is None
    assert "no line is shown of load: the capture takes long to read" in " ".join(repr(summary).split())


def test_what_a_node_recorded_that_is_gone_counts_once(journal: Path) -> None:
    """All that share its folder tell of it."""

    def told_by(node: str) -> PlaceTotals:
        return totals_of(Place(journal.parent, (journal.parent,), node, frozenset({"b" * 56, "c" * 56})), Filters())

    whole = added([told_by("b" * 56), told_by("c" * 56)])
    assert sum(one.sum.count for one in whole.functions.values()) == MANY


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
    assert "summary() sums up all by function" in repr(raymemprof.calls(journal.parent))


def test_a_journal_that_was_summed_up_can_go(journal: Path) -> None:
    os.utime(journal, (1e9, 1e9))  # nobody writes to it
    raymemprof.summary(journal)
    assert [file.path for file in raymemprof.clean(journal.parent, name="nosuch")] == []
    assert [file.path for file in raymemprof.clean(journal.parent, all=True)] == [journal]
    assert list(raymemprof.summary(journal.parent)) == []


def test_a_folder_of_small_journals_keeps_nothing(journal: Path) -> None:
    shutil.copytree(DATA / "recorded-0.1.0", journal.parent / "small")
    raymemprof.summary(journal.parent / "small")
    assert kept(journal) == []
