"""A day of a worker in small: many short calls of an actor's methods, one of which leaks, and a kill in the end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import raymemprof

CALLS = 1_800
BUDGET = 640 * 1024
PROGRAM = """
import os, signal, sys, time
from raymemprof import journal, profile_memory
from raymemprof.recording import compacting
compacting.LARGE, journal.RECENT = 30_000, 300

@profile_memory(directory=sys.argv[1], heap=sys.argv[3] == "traced", linger=0.02, max_bytes=int(sys.argv[4]), keep=1)
class Cache:
    def __init__(self):
        self.kept = []
    def get(self, number):
        return [bytearray(1000 + 7919 * number * part % 3000) for part in range(200)]  # as much as Ray itself
    def add(self, number):
        self.kept.append(bytearray(10_000))  # the leak
    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)

cache = Cache()
for number in range(int(sys.argv[2]) // 10):
    for _ in range(9):
        cache.get(number)
    cache.add(number)
    if number % 15 == 0:
        time.sleep(0.2)  # a capture ends
time.sleep(1)
cache.die()
"""
LEAK = PROGRAM[: PROGRAM.index("# the leak")].count("\n") + 1
"""The line."""


def run(folder: Path, kind: str) -> None:
    command = [sys.executable, "-c", PROGRAM, str(folder), str(CALLS), kind, str(BUDGET)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("day") / "sampled"
    run(folder, "sampled")
    return folder


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("day") / "traced"
    run(folder, "traced")
    return folder


def test_calls_that_are_only_sampled_take_little_room(sampled: Path) -> None:
    assert size(sampled) < 200 * CALLS


def test_all_stays_within_the_budget(traced: Path) -> None:
    assert size(traced) < 1.25 * BUDGET  # what is written grows a little before it ends
    assert raymemprof.captures(traced)


def test_the_leak_is_found_with_its_line(traced: Path) -> None:
    largest = max(raymemprof.captures(traced), key=lambda capture: capture.call_count)
    line = raymemprof.heap(largest.path).top(1, view="leaks")[0]
    assert (line.function, line.line) == ("add", LEAK)


@pytest.mark.parametrize("kind", ["sampled", "traced"])
def test_all_are_counted_and_the_killed_call_is_there(kind: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    (cache,) = raymemprof.summary(folder, lines=False)
    assert (cache.call_count, cache.finished_count, cache.killed_count) == (CALLS + 2, CALLS + 1, 1)
    (killed,) = raymemprof.calls(folder, status="killed")
    assert killed.name == "Cache.die"
    assert (killed.capture is not None) is (kind == "traced")
    calls = raymemprof.calls(folder)
    assert len(calls) < CALLS
    assert f"{CALLS + 2 - len(calls):,} earlier calls are not listed" in calls.left_out[0]
    assert {"Cache.__init__", "Cache.get", "Cache.die"} <= {call.name for call in calls}


def test_of_captures_that_are_there_every_call_is_listed(traced: Path) -> None:
    for capture in raymemprof.captures(traced):
        listed = [call.place for call in raymemprof.calls(capture.path)]
        assert len(listed) == capture.call_count
        turns = [place[1] for place in listed if place is not None]
        assert sorted(turns) == list(range(len(turns)))  # none is missing
