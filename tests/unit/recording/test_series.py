"""Memory over time in the journal: what was sampled is there, few points of it, also after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import raymemprof
from raymemprof.reading.catalog.series import Life, lives_of
from raymemprof.recording.series import Series

MIB = 2**20
DAY = 86_400.0

HOLD = """
import os, signal, sys, time
from raymemprof import profile_memory

@profile_memory(directory=sys.argv[1], heap=sys.argv[2] == "traced")
def hold():
    time.sleep(0.3)
    kept = bytearray(b"1") * 100_000_000
    print(time.time(), flush=True)
    time.sleep(1)
    if sys.argv[3] == "killed":
        print(time.time(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    del kept
    print(time.time(), flush=True)
    time.sleep(0.5)

hold()
"""
SHORT = """
import sys, time
from raymemprof import profile_memory

@profile_memory(directory=sys.argv[1])
def short():
    return 1

for _ in range(500):
    short()
time.sleep(0.1)
"""


class Clock:
    """A wall clock, and the journal of a call that began when it did."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1e9
        self.lines: list[dict[str, Any]] = []
        self.written_at: list[float] = []
        self.call: Any = SimpleNamespace(began=self.now, journal=self)
        self.series = Series()
        monkeypatch.setattr(time, "time", lambda: self.now)

    def write(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        self.written_at.append(self.now)

    def read(self, memory: int, children: int = 0) -> None:
        """What the sampler does with a reading."""
        self.series.take(self.now, memory, children, [self.call])

    def run(self, seconds: float, memory: Callable[[float], int], pause: float = 0.02) -> None:
        """Read for so long; a call of a day is read more seldom than the sampler does."""
        until = self.now + seconds
        while self.now < until:
            self.now += pause
            self.read(memory(self.now - 1e9))

    def points(self) -> list[tuple[float, int]]:
        return [
            (line["time"] + after / 1e3 - 1e9, memory)
            for line in self.lines
            for after, memory in zip(line["after"], line["memory"], strict=True)
        ]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_day_takes_ten_times_what_three_seconds_take(clock: Clock) -> None:
    memory = lambda passed: 100 * MIB if passed < DAY / 2 else 103 * MIB  # noqa: E731
    clock.run(3, memory)
    clock.series.write()
    first = len(clock.points())
    assert 40 <= first <= 60
    clock.run(97, memory)
    clock.run(DAY - 100, memory, pause=1.0)
    clock.series.write()
    assert len(clock.points()) <= 11 * first
    assert sum(len(json.dumps(line)) for line in clock.lines) < 60_000
    assert clock.points()[-1][0] == pytest.approx(DAY, rel=0.03), "it ends near the end, though nothing moved"


def test_what_moves_all_the_time_is_bounded_too(clock: Clock) -> None:
    clock.run(100, lambda passed: (100 + 50 * (int(passed * 50) % 2)) * MIB)
    clock.series.write()
    assert len(clock.points()) < 50 * 4 * 3 * 5
    assert {memory for _, memory in clock.points()} == {100 * MIB, 150 * MIB}


def test_the_highest_of_each_part_is_kept(clock: Clock) -> None:
    """A spike of one reading in an hour is there, where it was."""
    clock.run(100, lambda passed: 100 * MIB)
    clock.run(3500, lambda passed: 900 * MIB if 2000 < passed <= 2000.5 else 100 * MIB, pause=0.5)
    clock.series.write()
    highest = max(clock.points(), key=lambda point: point[1])
    assert highest[1] == 900 * MIB
    assert highest[0] == pytest.approx(2000.25, abs=0.5)


def test_a_step_is_as_steep_as_it_was(clock: Clock) -> None:
    clock.run(20, lambda passed: (100 if passed < 10.01 else 500 if passed < 15.01 else 200) * MIB)
    clock.series.write()
    points = clock.points()
    for moment, below, above in ((10.01, 100, 500), (15.01, 500, 200)):
        before = max(point for point in points if point[0] < moment)
        after = min(point for point in points if point[0] >= moment)
        assert (before[1], after[1]) == (below * MIB, above * MIB)
        assert after[0] - before[0] < 0.05


def test_points_wait_a_quarter_of_a_second_at_most(clock: Clock) -> None:
    clock.run(60, lambda passed: (100 + int(passed)) * MIB)
    for line, written in zip(clock.lines, clock.written_at, strict=True):
        assert written - line["time"] < 60 / 50 + 0.25 + 0.05


def test_children_are_told_where_there_are_any(clock: Clock) -> None:
    clock.run(1, lambda passed: 100 * MIB)
    assert not any("children" in line for line in clock.lines)
    clock.now += 0.3
    clock.read(100 * MIB, 50 * MIB)
    clock.series.write()
    assert clock.lines[-1]["children"][-1] == 50 * MIB


def lives(folder: Path) -> list[Life]:
    found = lives_of(raymemprof.calls(folder))
    assert found.left_out == []
    return found.lives


@pytest.mark.parametrize("kind", ["traced", "sampled"])
@pytest.mark.parametrize("end", ["finished", "killed"])
def test_the_series_shows_what_a_call_held_and_ends_when_it_did(kind: str, end: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path), kind, end]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    assert done.returncode == (-signal.SIGKILL if end == "killed" else 0)
    held, gone = map(float, done.stdout.split())
    (life,) = lives(tmp_path)
    before = life.calls[0].memory_before
    plateau = [point for point in life.points if held + 0.1 < point.time < gone - 0.05]
    assert len(plateau) > 5
    for point in plateau:
        assert point.memory - before == pytest.approx(100_000_000, rel=0.06)
    assert [point.memory for point in life.points if point.time < held - 0.25][-1] - before < 20_000_000
    if end == "killed":
        assert life.end == pytest.approx(gone, abs=0.4)
        assert life.points[-1].memory - before == pytest.approx(100_000_000, rel=0.06)
        assert life.ended == life.end
    else:
        assert [point.memory for point in life.points if point.time > gone + 0.1][-1] - before < 20_000_000
        assert life.ended is None


def test_short_calls_write_what_they_wrote(tmp_path: Path) -> None:
    """The journal of calls that are over at once has no word of it, and their lines are as long as before."""
    subprocess.run([sys.executable, "-c", SHORT, str(tmp_path)], check=True)
    (journal,) = tmp_path.glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    of_calls = [line for line in lines if line["event"] in ("begin", "end")]
    assert len(of_calls) == 1000
    known = "event call time name kind task_id attempt actor_id job_id memory capture slot turn pools free used "
    known += "duration status error peak highest children total note"
    assert set().union(*of_calls) <= set(known.split())
    slow = [line["duration"] for line in of_calls if line.get("duration", 0) > 0.012]  # held up by others
    assert sum(line["event"] == "memory" for line in lines) <= len(slow) + sum(slow) / 0.25
