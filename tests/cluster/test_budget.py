"""The disk budget, where twenty workers of a node close their captures at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import journal, profile_memory
from raymemprof.recording import disk_budget

MB = 10**6
WORKERS = 10
BUDGET = 25 * MB
MOST = 30 * MB
PATIENCE = 10
"""Seconds for which the folder may hold more, as it does for a moment while ten close at once."""


def sizes(folder: Path) -> dict[str, int]:
    """The captures, those that are still written too, and their sizes."""
    found = {}
    for path in folder.glob("*.bin"):
        with contextlib.suppress(FileNotFoundError):
            found[path.name] = path.stat().st_size
    return found


class Watch(threading.Thread):
    """Looks at the folder every 50 ms, and notes for how long at a time it held more than it should."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.longest = 0.0
        self.most = 0
        self.done = threading.Event()

    def run(self) -> None:
        since: float | None = None
        while not self.done.wait(0.05):
            now = time.monotonic()
            size = sum(sizes(self.folder).values())
            self.most = max(self.most, size)
            if size <= MOST:
                since = None
            else:
                since = now if since is None else since
                self.longest = max(self.longest, now - since)


def test_many_workers_finish_bursts_together(cluster: Path, tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    import ray

    recorded = tmp_path / "recorded"
    recorded.mkdir()
    options = {"directory": str(recorded), "linger": 0, "max_bytes": BUDGET, "keep": 2}

    def fill(allocations: int, peak: int) -> None:
        """Allocate and free, in sizes that do not compress; what makes a capture of some megabytes."""
        import random

        kept = bytearray(peak)
        sizes = [random.randrange(600, 4_000) for _ in range(997)]
        for _ in range(allocations // len(sizes)):
            [bytes(size) for size in sizes]
            random.shuffle(sizes)
        assert len(kept) == peak

    @ray.remote(num_cpus=0)
    class Worker:
        def burst(self, number: int, allocations: int, peak: int, folder: Path) -> list[str]:
            with profile_memory("burst", **options):
                fill(allocations, peak)
                (folder / str(number)).touch()
                while len(list(folder.iterdir())) < WORKERS:
                    time.sleep(0.005)
            from raymemprof.recording import tracker

            latest = tracker.tracker._latest
            assert latest.closed.wait(60)
            return [latest.path.name]

        def dies(self) -> None:
            with profile_memory("dies", **options):
                fill(30_000, MB)
                os.kill(os.getpid(), signal.SIGKILL)

    victim = Worker.remote()
    with pytest.raises(ray.exceptions.RayError):
        ray.get(victim.dies.remote())
    (killed,) = [capture.path.name for capture in raymemprof.captures(recorded)]
    workers = [Worker.remote() for _ in range(WORKERS)]
    watch = Watch(recorded)
    watch.start()
    names: list[str] = []
    try:
        for burst, peak in enumerate((40 * MB, 2 * MB)):  # the largest come first, and stay
            meet = tmp_path / f"burst {burst}"
            meet.mkdir()
            asked = [
                worker.burst.remote(number, 220_000, peak if number < 2 else 2 * MB, meet)
                for number, worker in enumerate(workers)
            ]
            names += [name for reference in asked for name in ray.get(reference, timeout=200)]
            wait_for(lambda: sum(sizes(recorded).values()) <= BUDGET, 30)
        assert len(set(names)) == 2 * WORKERS
    finally:
        watch.done.set()
        watch.join()
        for worker in workers:
            ray.kill(worker)
    print(f"at most {watch.most / MB:.0f} MB of captures, over {MOST / MB:.0f} MB for {watch.longest:.2f} s")
    left = sizes(recorded)
    assert sum(left.values()) <= BUDGET
    assert watch.most > BUDGET / 2, "the captures are too small to show anything"
    assert watch.longest <= PATIENCE
    assert set(names) - set(left), "nothing had to go"
    assert killed in left
    calls = raymemprof.calls(recorded)
    assert len([call for call in calls if call.name.endswith("burst")]) == 2 * WORKERS
    largest = sorted(calls, key=lambda call: call.peak_memory)[-2:]
    assert [call.capture is not None for call in largest] == [True, True]
    assert {call.status for call in calls} == {"finished", "killed"}
    errors = [path for path in cluster.glob("worker-*.err") if "were not kept within" in path.read_text()]
    assert errors == []


def capture(folder: Path, number: int, size: int) -> Path:
    path = folder / f"raymemprof-call-local-0-1-{number}.bin"
    path.write_bytes(b"x" * size)
    os.utime(path, (number, number))
    return path


def test_what_is_closed_while_another_looks_is_seen_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        capture(tmp_path, number, 100)
    survey = disk_budget._survey
    closings = iter(range(10, 30))

    def look_while_others_close(*given: Any) -> Any:
        found = survey(*given)
        for number in [next(closings, None) for _ in range(5)]:
            if number is not None:
                capture(tmp_path, number, 100)
                disk_budget.enforce(tmp_path, 800, 1)  # where the folder is held, it is left to who holds it
        return found

    monkeypatch.setattr(disk_budget, "_survey", look_while_others_close)
    disk_budget.enforce(tmp_path, 800, 1)
    assert next(closings, None) is None
    assert 1 <= len(list(tmp_path.iterdir())) <= 8


IDS = {"task_id": None, "attempt": None, "actor_id": None, "job_id": None}
MORE = {
    "open": {"time": 1.0},
    "close": {"time": 2.0},
    "begin": {"time": 1.0, "kind": "task", "memory": 1, **IDS},
    "end": {"duration": 1.0, "error": None, "memory": 1},
}
"""What lines hold besides what a test is about."""


def journal_of(folder: Path, number: int, *lines: dict[str, Any]) -> None:
    """The journal of a process like this one."""
    import psutil

    lines = tuple({**line, **MORE.get(str(line["event"]), {}), **line} for line in lines)

    process = {
        "event": "process",
        "pid": os.getpid(),
        "created": psutil.Process().create_time(),
        "host": socket.gethostname(),
    }
    path = folder / f"raymemprof-x-local-0-1-{number}.jsonl"
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in (process, *lines)))


def test_what_is_still_written_drives_out_what_tells_little(tmp_path: Path) -> None:
    mine = capture(tmp_path, 100, 5000)
    journal_of(tmp_path, 1, {"event": "open", "capture": mine.name, "time": 1.0})
    kept = {}
    for number, peak in enumerate((10, 70, 30)):
        path = kept[peak] = capture(tmp_path, number, 100)
        begin = {"event": "begin", "call": number, "capture": path.name, "name": "work", "kind": "task", "time": 1.0}
        begin |= {"task_id": None, "attempt": None, "actor_id": None, "job_id": None, "memory": 1, "slot": 0, "turn": 0}
        end = {"event": "end", "call": number, "duration": 1.0, "status": "finished", "error": None, "memory": 1}
        end |= {"peak": peak}
        opened = {"event": "open", "capture": path.name, "time": 1.0}
        journal_of(tmp_path, number + 10, opened, begin, end, {**opened, "event": "close"})
    assert disk_budget.enforce(tmp_path, 500, 1) == 2
    assert set(tmp_path.glob("*.bin")) == {mine, kept[70]}
    assert disk_budget.has_to_end(mine, 0, 500)
    assert not disk_budget.has_to_end(mine, 0, 20_000)  # journals count too


def test_captures_go_whose_calls_take_the_journal_up(tmp_path: Path) -> None:
    """Small ones of many calls: the oldest of those that tell least, and none for which nothing would be won."""
    times = {"open": 1.0, "close": 2.0}
    captures = [capture(tmp_path, number, 100) for number in range(6)]
    for number, path in enumerate(captures[:5]):
        calls = [{"call": call, "capture": path.name, "name": "work", "slot": 0, "turn": call} for call in range(3_000)]
        status = "failed" if number == 0 else "finished"
        end = {"status": status, "peak": 50 if number == 2 else 1}
        lines = [[{"event": "begin", **call}, {"event": "end", "call": call["call"], **end}] for call in calls]
        edges = [{"event": event, "capture": path.name, "time": time} for event, time in times.items()]
        journal_of(tmp_path, number + 10, edges[0], *[line for both in lines for line in both], edges[1])
    journals = sum(path.stat().st_size for path in tmp_path.glob("*.jsonl"))
    each = journals / 5
    assert disk_budget.enforce(tmp_path, int(journals * 1.3), 1) == 0  # there is room for them
    other = tmp_path / "raymemprof-x-local-0-1-99.jsonl"
    other.write_bytes(b"x" * 1_000_000 + b"\n")  # for which no capture is to blame
    assert disk_budget.enforce(tmp_path, int(each * 4.9), 1) == 4
    assert [path.exists() for path in captures] == [True, False, False, False, False, True]
    assert sum(path.stat().st_size for path in tmp_path.glob("*.jsonl")) > journals  # that is for compaction
    disk_budget._lines_due = 0.0
    assert disk_budget.enforce(tmp_path, int(each * 4.9), 1) == 0  # what waits for compaction drives out no more


def test_a_capture_ends_whose_calls_take_the_journal_up(tmp_path: Path) -> None:
    mine = capture(tmp_path, 1, 100)
    most = 256 * MB
    assert not disk_budget.has_to_end(mine, most // 16 - 1, most)
    assert disk_budget.has_to_end(mine, most // 16, most)
    assert not disk_budget.has_to_end(mine, 2 * MB, MB)  # less than is worth compacting


def test_a_capture_that_grows_without_end_is_ended(tmp_path: Path) -> None:
    """As an actor's, which is open for its life: it is closed, the call in it says so, and the next has a new one."""
    most = 2 * MB
    largest = 0
    with profile_memory("long", directory=tmp_path, max_bytes=most, linger=60):
        deadline = time.monotonic() + 60
        while not any(path.name in told(tmp_path) for path in tmp_path.glob("*.bin")):
            assert time.monotonic() < deadline
            [bytes(size) for size in range(600, 4_000)]
            largest = max(largest, sum(sizes(tmp_path).values()))
    with profile_memory("next", directory=tmp_path, max_bytes=most, linger=0):
        kept = bytearray(MB)
    long, later = raymemprof.calls(tmp_path)
    assert most / 2 < largest < 20 * most
    assert "disk budget" in long.note
    assert long.status == "finished"
    assert later.capture not in (None, long.capture)
    assert len(kept) <= raymemprof.heap(later).peak < 1.2 * MB


def told(folder: Path) -> set[str]:
    """The captures that were closed, as journals tell."""
    lines = [line for path in folder.glob("*.jsonl") for line in journal.read_lines(path)]
    return {line.capture for line in lines if isinstance(line, journal.Close)}


def test_what_killed_processes_left_is_counted_when_the_next_begins(
    tmp_path: Path, run_script: Callable[..., str]
) -> None:
    code = f"""
import glob, os, signal, sys, time
from raymemprof import profile_memory
def is_too_much():
    try:
        return sum(map(os.path.getsize, glob.glob("here/*.bin"))) > {4 * MB}
    except FileNotFoundError:
        return True
for number in range(8):
    if os.fork() == 0:
        with profile_memory("dies", directory={str(tmp_path / "here")!r}, max_bytes={2 * MB}):
            for _ in range(40):
                [bytes(size) for size in range(600, 4_000)]
            deadline = time.monotonic() + 10  # it looks beside this code
            while time.monotonic() < deadline and is_too_much():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
    os.wait()
"""
    run_script(code)
    left = sizes(tmp_path / "here")
    assert max(left.values()) > MB / 4, "the captures are too small to show anything"
    assert 1 <= len(left) < 8
    assert sum(left.values()) <= 2 * MB + 2 * max(left.values()), "the last may not have looked before it was killed"


def test_damaged_journals_speak_for_no_capture(tmp_path: Path) -> None:
    for number in range(10):
        capture(tmp_path, number, 100)
    ours = {"event": "begin", "call": 1, "capture": sorted(tmp_path.glob("*.bin"))[0].name, "name": "work"}
    names = ["a\0b", "\ud800", "x" * 10_000, "../..", {}, 7, None, ours["capture"]]
    lines: list[dict[str, Any]] = [{"event": event, "capture": name} for name in names for event in ("open", "close")]
    for name in (*names, []):
        lines += [{**ours, "capture": name}, {"event": "end", "call": 1, "status": "finished", "peak": 10**400}]
        for peak in ("much", None, [], float("nan"), float("inf"), -1):
            lines += [{**ours, "name": name}, {"event": "end", "call": 1, "status": "finished", "peak": peak}]
    lines += [
        {**ours, "call": []},
        {"event": "end"},
        {"event": "begin"},
        {"event": []},
        {"event": "process", "pid": {}},
    ]
    journal_of(tmp_path, 1, *lines, {"event": "open", "capture": "a\0b"})
    (tmp_path / "raymemprof-x-local-0-1-2.jsonl").mkdir()
    (tmp_path / "raymemprof-x-local-0-1-3.jsonl").symlink_to("/dev/zero")
    (tmp_path / "raymemprof-x-local-0-1-4.jsonl").write_bytes(b'{"event":"begin","call":' + b"[" * 60_000 + b"\n")
    assert disk_budget.enforce(tmp_path, 500, 1) >= 5
    assert sum(sizes(tmp_path).values()) <= 500


def test_a_block_with_a_name_of_its_own_each_time_takes_no_memory(tmp_path: Path) -> None:
    name = capture(tmp_path, 1, 100).name
    begins = [
        {"event": "begin", "call": number, "capture": name, "name": f"block {number}"} for number in range(50_000)
    ]
    ends = [{"event": "end", "call": number, "status": "finished", "peak": number} for number in range(50_000)]
    journal_of(tmp_path, 2, *[line for both in zip(begins, ends, strict=True) for line in both])
    tracemalloc.start()
    try:
        survey = disk_budget._survey(tmp_path, {name}, 3)
        assert tracemalloc.get_traced_memory()[1] < 8 * MB
    finally:
        tracemalloc.stop()
    assert name in survey.known
    assert name in survey.largest


def test_what_lies_on_disk_takes_no_memory_of_the_worker(tmp_path: Path, run_script: Callable[..., str]) -> None:
    """Thousands of captures, tens of thousands of calls, and lines without end."""
    folder = tmp_path / "full"
    folder.mkdir()
    names = [f"raymemprof-old-local-0-1-{number}.bin" for number in range(9_000)]
    for number, name in enumerate(names):
        path = folder / name
        path.touch()
        os.truncate(path, MB // 10)
        os.utime(path, (number, number))
    opened = [{"event": "open", "capture": name} for name in names]
    begins = [
        {"event": "begin", "call": number, "capture": names[number % len(names)], "name": f"block {number % 100}"}
        for number in range(30_000)
    ]
    ends = [{"event": "end", "call": number, "status": "finished", "peak": number} for number in range(30_000)]
    journal_of(folder, 0, *opened, *begins, *ends)
    (folder / "raymemprof-x-local-0-1-8.jsonl").write_bytes(b'{"event":"begin","call":[' + b"[7]," * 2_500_000)
    os.truncate(folder / "raymemprof-x-local-0-1-8.jsonl", 100 * MB)
    os.mkfifo(folder / "raymemprof-x-local-0-1-9.jsonl")
    printed = run_script(f"""
import os, time
from raymemprof import profile_memory
with profile_memory("first", directory="elsewhere", linger=0):
    pass
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
def count():
    return len([entry for entry in os.scandir({str(folder)!r}) if entry.name.endswith(".bin")])
before, deadline = peak(), time.monotonic() + 60
with profile_memory("block", directory={str(folder)!r}, max_bytes=600 * 10**6, linger=0):
    while count() > 5_000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
print(peak() - before)
""")
    assert int(printed) < 20 * MB
    block = raymemprof.calls(folder, name="block")[-1]
    assert block.peak_memory - block.memory_before < 20 * MB
    assert 4_000 < len(sizes(folder)) <= 5_000
