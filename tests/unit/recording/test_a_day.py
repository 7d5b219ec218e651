"""A day of a worker in small: many short calls of an actor's methods, one of which leaks, and a kill in the end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import raymemprof

CALLS = 12_000
PROGRAM = """
import os, signal, sys
from raymemprof import profile_memory
from raymemprof.recording import capture, compacting, dull
compacting.LARGE, dull.LARGE, capture._LEAST_LIFE = 300_000, 150_000, 0.2

@profile_memory(directory=sys.argv[1], linger=float("inf"))
class Cache:
    def __init__(self):
        self.kept = []
    def get(self, number):
        return [bytearray(600) for _ in range(8)]
    def add(self, number):
        self.kept.append(bytearray(10_000))  # the leak
    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)

cache = Cache()
for number in range(int(sys.argv[2]) // 10):
    for _ in range(9):
        cache.get(number)
    if sys.argv[3] == "leaks":
        cache.add(number)
    else:
        cache.get(number)
cache.die()
"""
LEAK = PROGRAM[: PROGRAM.index("# the leak")].count("\n") + 1
"""The line."""


def run(folder: Path, kind: str) -> None:
    command = [sys.executable, "-c", PROGRAM, str(folder), str(CALLS), kind]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("day") / "steady"
    run(folder, "is steady")
    return folder


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("day") / "leaking"
    run(folder, "leaks")
    return folder


def test_calls_that_tell_nothing_take_little_room(steady: Path) -> None:
    assert size(steady) < 200 * CALLS
    assert 1 < len(raymemprof.captures(steady)) < 8
    (cache,) = raymemprof.summary(steady, lines=False)
    assert (cache.call_count, cache.finished_count, cache.killed_count) == (CALLS + 2, CALLS + 1, 1)


def test_the_leak_is_found_with_its_line(leaking: Path) -> None:
    captures = raymemprof.captures(leaking)
    assert len(captures) > 3
    heap = raymemprof.heap([capture.path for capture in captures])
    line = heap.top(1, view="leaks")[0]
    assert (line.function, line.line) == ("add", LEAK)
    assert line.bytes > 0.9 * 10_000 * CALLS / 10
    (cache,) = raymemprof.summary(leaking, lines=False)
    assert (cache.call_count, cache.killed_count) == (CALLS + 2, 1)


@pytest.mark.parametrize("kind", ["steady", "leaking"])
def test_the_killed_call_is_there(kind: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    (killed,) = raymemprof.calls(folder, status="killed")
    assert killed.name == "Cache.die"
    assert killed.capture is not None
    calls = raymemprof.calls(folder)
    assert len(calls) < CALLS / 2
    assert f"{CALLS + 2 - len(calls):,} earlier calls are not listed" in calls.left_out[0]
    assert {"Cache.__init__", "Cache.get", "Cache.die"} <= {call.name for call in calls}
