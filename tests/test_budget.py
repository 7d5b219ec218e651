"""The disk budget, where twenty workers of a node close their captures at once."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import journal, profile_memory
from raymemprof.recording import budget

MB = 10**6
WORKERS = 20
BUDGET = 50 * MB
MOST = 60 * MB
PATIENCE = 1.0
"""Seconds for which the folder may hold more, while those that were closed at once are looked through."""


def closed(folder: Path) -> dict[str, int]:
    """The captures that are closed, or whose process was killed, and their sizes."""
    still_open: set[str] = set()
    for path in folder.glob("*.jsonl"):
        process: dict[str, Any] = {}
        unclosed: set[str] = set()
        for line in journal.read_lines(path):
            if line["event"] == "process":
                process = line
            elif line["event"] == "open":
                unclosed.add(line["capture"])
            elif line["event"] == "close":
                unclosed.discard(line["capture"])
        if unclosed and journal.is_alive(process):
            still_open |= unclosed
    found = {}
    for path in folder.glob("*.bin"):
        try:
            if path.name not in still_open:
                found[path.name] = path.stat().st_size
        except FileNotFoundError:
            continue
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
            size = sum(closed(self.folder).values())
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
            wait_for(lambda: sum(closed(recorded).values()) <= BUDGET, 30)
        assert len(set(names)) == 2 * WORKERS
    finally:
        watch.done.set()
        watch.join()
        for worker in workers:
            ray.kill(worker)
    print(f"at most {watch.most / MB:.0f} MB of closed captures, over {MOST / MB:.0f} MB for {watch.longest:.2f} s")
    left = closed(recorded)
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


@pytest.mark.versions
def test_what_is_closed_while_another_looks_is_seen_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        capture(tmp_path, number, 100)
    standings = budget._standings
    closings = iter(range(10, 30))

    def look_while_others_close(folder: Path) -> Any:
        found = standings(folder)
        for number in [next(closings, None) for _ in range(5)]:
            if number is not None:
                capture(tmp_path, number, 100)
                budget.enforce(tmp_path, 800, 1)  # where the folder is held, it is left to who holds it
        return found

    monkeypatch.setattr(budget, "_standings", look_while_others_close)
    budget.enforce(tmp_path, 800, 1)
    assert next(closings, None) is None
    assert 1 <= len(list(tmp_path.iterdir())) <= 8


def test_what_is_still_written_drives_nothing_out(tmp_path: Path) -> None:
    import psutil

    process = {
        "event": "process",
        "pid": os.getpid(),
        "created": psutil.Process().create_time(),
        "host": socket.gethostname(),
    }
    mine = capture(tmp_path, 100, 5000)
    lines = [process, {"event": "open", "capture": mine.name, "time": 1.0}]
    (tmp_path / "raymemprof-x-local-0-1-1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for number in range(5):
        capture(tmp_path, number, 100)
    assert budget.enforce(tmp_path, 500, 1) == []
    last = capture(tmp_path, 5, 100)
    assert len(budget.enforce(tmp_path, 500, 1)) == 2
    assert {mine, last} < set(tmp_path.iterdir())
