"""What a watcher keeps of its looks, and what advise() and the doctor make of it: bounds, merging, reading."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psutil
import pytest

import raymemprof
from raymemprof import SeenPeak
from raymemprof.cli import main
from raymemprof.diagnosis.advise.advise import advise_not_recorded
from raymemprof.diagnosis.advise.unrecorded import SEEN
from raymemprof.diagnosis.usage.processes import running_name
from raymemprof.diagnosis.watch.minute_peaks import Minutes
from raymemprof.diagnosis.watch.minutes_file import MinutesFile, lock, path_of, read_minutes
from raymemprof.diagnosis.watch.peaks import seen_peaks
from raymemprof.diagnosis.watch.worker_samples import Look, Looks

from .test_illnesses import GIB, HEAD, MIB, NOW, call, doctor, kill, node

NODE = "c" * 56
MINUTE = 29_929_712


def kept(folder: Path, looks: Iterable[list[Look]], minute: int = MINUTE) -> Minutes:
    """Write looks of one minute as a watcher's process does, without the end that a kill prevents."""
    minutes, file = Minutes(), MinutesFile(path_of(folder, NODE))
    for some in looks:
        file.append(minutes.take(minute, some))
    return minutes


def seen(name: str = "load", kind: str = "task", **more: object) -> SeenPeak:
    sizes = {10: GIB, 11: 2 * GIB, 12: 2 * GIB}
    found = SeenPeak(name, kind, HEAD, 2 * GIB, 3, 5 * GIB, 3, sizes, NOW - timedelta(minutes=3), NOW)
    return replace(found, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("ray::load", "load"),
        ("ray::Cache.add", "Cache.add"),
        ("ray::ReadParquet->MapBatches(widen)", "ReadParquet->MapBatches(widen)"),
        ("ray::IDLE", None),
        ("ray::IDLE_SpillWorker", None),
        ("ray::DashboardAgent", None),
        ("ray::raymemprof.watch_here", None),
        ("python", None),
        ("", None),
    ],
)
def test_what_a_title_says(title: str, name: str | None) -> None:
    assert running_name(title) == name


def test_highest_memory_and_how_many_at_once(tmp_path: Path) -> None:
    kept(
        tmp_path,
        [
            [Look(1, "load", 100 * MIB), Look(2, "load", 50 * MIB)],
            [Look(1, "load", 300 * MIB), Look(3, "Cache.add", 80 * MIB)],
            [Look(1, "load", 40 * MIB), Look(3, "Cache", 70 * MIB)],
            [Look(3, "Cache.get", 90 * MIB), Look(4, "Cache.add", 10 * MIB)],
        ],
    )
    rows = {one.name: one for one in seen_peaks(tmp_path)}
    assert {name: (one.kind, one.memory // MIB, one.at_once) for name, one in rows.items()} == {
        "load": ("task", 300, 2),
        "Cache": ("actor", 90, 2),
        "Cache.add": ("method", 80, 1),
        "Cache.get": ("method", 90, 1),
    }
    assert rows["load"].memory_by_process == {1: 300 * MIB, 2: 50 * MIB}
    assert (rows["load"].together, rows["load"].node_id) == (300 * MIB, NODE)
    assert rows["load"].first_at == datetime.fromtimestamp(MINUTE * 60, timezone.utc)
    assert rows["load"].last_at - rows["load"].first_at == timedelta(minutes=1)


def test_two_watchers_double_nothing(tmp_path: Path) -> None:
    looks = [[Look(1, "load", 100 * MIB), Look(2, "load", 50 * MIB)], [Look(1, "load", 300 * MIB)]]
    kept(tmp_path, looks)
    once = list(seen_peaks(tmp_path))
    kept(tmp_path, looks)
    assert list(seen_peaks(tmp_path)) == once
    assert len(path_of(tmp_path, NODE).read_text().splitlines()) == 4


def test_one_looks_at_a_time(tmp_path: Path) -> None:
    first = lock(tmp_path, NODE)
    assert first is not None
    assert lock(tmp_path, NODE) is None
    other = lock(tmp_path, "d" * 56)
    assert other is not None
    os.close(first)
    again = lock(tmp_path, NODE)
    assert again is not None
    os.close(again)
    os.close(other)


def test_news_alone_is_written(tmp_path: Path) -> None:
    minutes = Minutes()
    assert minutes.take(MINUTE, [Look(1, "load", 100 * MIB)])
    assert not minutes.take(MINUTE, [Look(1, "load", 101 * MIB)])
    assert minutes.take(MINUTE, [Look(1, "load", 110 * MIB)])
    assert minutes.take(MINUTE + 1, [Look(1, "load", 10 * MIB)])
    assert [line["processes"]["1"] // MIB for line in minutes.lines()] == [110, 10]


def test_a_day_of_many_names_stays_small(tmp_path: Path) -> None:
    chance, minutes, file = random.Random(1), Minutes(), MinutesFile(path_of(tmp_path, NODE))
    largest = 0
    for minute in range(MINUTE, MINUTE + 63):
        for look in range(2 if minute > MINUTE + 60 else 1):
            looks = [
                Look(chance.randrange(10**6, 4 * 10**6), f"some_long_name_{chance.randrange(10**6)}" * 9, MIB * number)
                for number in range(210)
            ]
            looks.append(Look(1, "largest", 10 * GIB))
            looks += [Look(2_000 + number, "crowd", GIB + number) for number in range(1_100)]
            news = minutes.take(minute, looks)
            if minute > MINUTE + 60:  # the other minutes are as these
                file.append(news) if look else file.rewrite(minutes)
                largest = max(largest, path_of(tmp_path, NODE).stat().st_size)
    assert largest < 6 * 2**20
    assert len(minutes.by_minute) == 60
    assert max(map(len, minutes.by_minute.values())) <= 200
    assert max(sum(len(one.processes) for one in there.values()) for there in minutes.by_minute.values()) <= 1_000
    rows = {one.name: one for one in seen_peaks(tmp_path)}
    assert rows["largest"].memory == 10 * GIB
    crowd = rows["crowd"]
    assert (crowd.at_once, crowd.process_count) == (1_100, 1_100)
    assert max(crowd.memory_by_process.values()) == GIB + 1_099


def test_a_damaged_file_costs_its_damaged_lines(tmp_path: Path) -> None:
    kept(tmp_path, [[Look(1, "load", 100 * MIB)]])
    path = path_of(tmp_path, NODE)
    whole = path.read_text()
    bad = [
        "[]",
        "7",
        "{}",
        '{"minute": -1}',
        whole.replace("load", "x").replace('"at_once":1', '"at_once":"1"').strip(),
    ]
    path.write_text("\n".join([*bad, whole.strip(), whole[: len(whole) // 2]]))
    assert [one.name for one in seen_peaks(tmp_path)] == ["load"]
    path.unlink()
    path.symlink_to(__file__)
    assert list(seen_peaks(tmp_path)) == []
    assert "no plain file" in str(seen_peaks(tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_look_at_a_process() -> None:
    """What is looked at is a child of the "raylet", by its title; /proc says what it has."""
    code = "import time; kept = b'1' * 300_000_000; print(flush=True); time.sleep(60)"
    child = psutil.Popen(["ray::load", "-c", code], executable=sys.executable, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        looks = Looks(psutil.Process())
        (look,) = [one for one in looks.take() if one.pid == child.pid]
        resident, shared = (int(part) * os.sysconf("SC_PAGE_SIZE") for part in _statm(child.pid)[1:3])
        assert look == (child.pid, "load", resident - shared)
        assert look.memory > 300_000_000
        assert not looks.is_over()
    finally:
        child.kill()
        child.wait()
    assert [one for one in looks.take() if one.pid == child.pid] == []
    assert Looks(child).is_over()


def _statm(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/statm").read_text().split()


def test_advice_of_what_was_seen() -> None:
    (advised,) = advise_not_recorded([seen()], [], None)
    assert (advised.basis, advised.call_count, advised.peak_count) == ("seen", 0, 3)
    assert (advised.p50, advised.max) == (2 * GIB, 2 * GIB)
    assert advised.needs == pytest.approx(2 * GIB * 1.25, abs=1_000_000)
    assert SEEN in advised.warnings
    assert any("only 3 processes were seen" in text for text in advised.warnings)
    assert any(text.startswith("it was seen last at 12:00 UTC on 2026-03-02") for text in advised.warnings)


def test_what_was_recorded_is_not_told_of_twice() -> None:
    assert advise_not_recorded([seen()], [call("outer.<locals>.load", GIB)], None) == []
    rows = [seen(), seen("Cache", "actor"), seen("Cache.add", "method"), seen("ServeController", "actor")]
    assert [one.name for one in advise_not_recorded(rows, [call("load", GIB)], None)] == ["Cache"]
    assert [one.name for one in advise_not_recorded(rows, [call("Cache.get", GIB, kind="method")], None)] == ["load"]
    # A replica is recorded under its deployment's name: its process is the same.
    replica = seen("ServeReplica:app:Model", "actor")
    recorded = [call("Model.__call__", GIB, kind="method", pid=pid) for pid in (10, 11)]
    (left,) = advise_not_recorded([replica], recorded, None)
    assert left.peak_count == 1


def test_two_bases_under_two_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path, [[Look(1, "load", 300 * MIB), Look(2, "other", 100 * MIB)]])
    with raymemprof.profile_memory("load", directory=str(tmp_path)):
        time.sleep(0.05)
    with pytest.raises(SystemExit) as end:
        main(["advise", str(tmp_path), "--json"])
    assert end.value.code == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert {name: one["basis"] for name, one in found.items()} == {"load": "recorded", "other": "seen"}
    with pytest.raises(SystemExit):
        main(["advise", str(tmp_path)])
    out = " ".join(capsys.readouterr().out.split())
    assert "other: seen from the outside, once a second, and not recorded: a peak between two looks is not seen" in out
    assert "load: seen" not in out
    with pytest.raises(SystemExit):
        main(["advise", str(tmp_path), "--name", "load"])
    assert "other:" not in capsys.readouterr().out


def test_doctor_counts_what_ran_at_once_of_a_killed_job() -> None:
    there = node(total=8 * GIB, used=4 * GIB)
    now = doctor([there]).usage
    (advised,) = advise_not_recorded([seen()], [], now)
    found = doctor([there], [kill("load", 3 * GIB)], seen=(seen(),), advised_by_seen=(advised,))
    (finding,) = [one for one in found.findings if one.illness == "too_parallel"]
    assert finding.title.startswith("Too many calls of load run at once: 3 on the head node")
    assert finding.severity == "critical"
    assert any(text == f"Note: {SEEN}" for text in finding.evidence)
    assert [one.basis for one in found.recommendations] == ["seen"]
    assert "load 2.0 GiB at its highest as seen from the outside, once a second" in str(found)


def test_doctor_accuses_nobody_that_was_seen_and_had_room() -> None:
    there = node(total=64 * GIB, used=4 * GIB)
    (advised,) = advise_not_recorded([seen()], [], doctor([there]).usage)
    found = doctor([there], seen=(seen(),), advised_by_seen=(advised,))
    assert found.healthy
    assert "Not that it was seen from the outside; no call was profiled." in str(found)
    # On a small node it would be too many, had they not been together there.
    small = node(total=8 * GIB, used=6 * GIB)
    apart = seen(together=2 * GIB)
    (advised,) = advise_not_recorded([apart], [], doctor([small]).usage)
    found = doctor([small], seen=(apart,), advised_by_seen=(advised,))
    assert [one for one in found.findings if one.illness == "too_parallel"] == []


def test_bad_input_is_one_sentence() -> None:
    for seconds in (0, -1, float("nan"), float("inf"), "5", True):
        with pytest.raises(ValueError, match="seconds must be a number"):
            raymemprof.watch(seconds)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"call ray.init\(\) first"):
        raymemprof.watch()


def test_reading_follows_no_minutes_before_it_is_asked_for(tmp_path: Path) -> None:
    kept(tmp_path, [[Look(1, "early", MIB * 9)]], MINUTE)
    kept(tmp_path, [[Look(1, "late", MIB * 9)]], MINUTE + 5)
    since = datetime.fromtimestamp((MINUTE + 2) * 60, timezone.utc)
    assert [one.name for one in seen_peaks(tmp_path, since=since)] == ["late"]
    assert len(read_minutes(path_of(tmp_path, NODE)).by_minute) == 2
