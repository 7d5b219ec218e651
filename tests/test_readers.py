"""The processes that read captures: what memory they have, how many read at a time, and that none outlives its use."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import raymemprof
from raymemprof.reading import model, processes, totals

MIB = 2**20

MANY_STACKS = """
import sys
from raymemprof import profile_memory
from raymemprof.recording.tracker import tracker

def leaf(size):
    return bytearray(size)

names = {"leaf": leaf}
for number in range(int(sys.argv[2])):
    code = "\\n".join(f"def f{n}(): return leaf({1000 + n})" for n in range(int(sys.argv[3])))
    exec(compile(code, f"many{number}.py", "exec"), names)
    with profile_memory("many", directory=sys.argv[1], linger=0):
        kept = [names[f"f{n}"]() for n in range(int(sys.argv[3]))]
    tracker.close("one is done")
"""


def record(folder: Path, captures: int, stacks: int) -> list[Path]:
    """Captures in which each allocation is made at a place of its own."""
    subprocess.run([sys.executable, "-c", MANY_STACKS, folder, str(captures), str(stacks)], check=True)
    found = [capture.path for capture in raymemprof.captures(folder)]
    assert len(found) == captures
    return found


@pytest.fixture(scope="module")
def many_stacks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = record(tmp_path_factory.mktemp("many"), 1, 8_000)
    return path


def links(path: Path, folder: Path, count: int) -> list[Path]:
    """The same capture under several names."""
    found = [folder / f"raymemprof-many-local-0-1-{number}.bin" for number in range(count)]
    for link in found:
        os.link(path, link)
    return found


def readers(process: int | None = None) -> list[psutil.Process]:
    """The reader processes that a process has started."""
    found = []
    for child in psutil.Process(process).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "raymemprof.reading.worker" in " ".join(child.cmdline()):
                found.append(child)
    return found


def test_a_reader_ends_with_who_asked(many_stacks: Path, tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    """At once, though it is not done: who asked may have been killed to give memory back."""
    links(many_stacks, tmp_path, 50)
    code = f"import raymemprof; raymemprof.heap(raymemprof.captures({str(tmp_path)!r}))"
    asker = subprocess.Popen([sys.executable, "-c", code])
    try:
        (reader, *_) = wait_for(lambda: readers(asker.pid))
        wait_for(lambda: sum(reader.cpu_times()[:2]) > 1)  # of some ten seconds
        asker.send_signal(signal.SIGKILL)
        asker.wait()
        with contextlib.suppress(psutil.NoSuchProcess):
            reader.wait(2)
    finally:
        asker.kill()
        asker.wait()
    assert not reader.is_running()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names without a file")
def test_who_asks_waits_for_others_that_read(wait_for: Callable[..., Any]) -> None:
    code = """
import threading
from raymemprof.reading import processes
with processes._turn(1, threading.Event()):
    print("mine", flush=True)
    input()
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    came: list[bool] = []

    def ask() -> None:
        with processes._turn(1, threading.Event()) as is_mine:
            came.append(is_mine)

    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        asks = threading.Thread(target=ask, daemon=True)
        asks.start()
        asks.join(0.3)
        assert came == []
        stopped = threading.Event()
        stopped.set()
        with processes._turn(1, stopped) as is_mine:
            assert not is_mine
    finally:
        other.kill()  # so that it cannot say that it is done
        other.communicate()
    asks.join(10)
    assert came == [True]


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_what_does_not_fit_beside_others_is_read_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captures that a reader has memory for one by one, but not for all that they hold together."""
    monkeypatch.setattr(processes, "_LEAST_MEMORY", MIB)
    requests = [model.Request(str(path)) for path in record(tmp_path, 16, 4_000)]
    sizes = {request: os.path.getsize(request.path) for request in requests}
    answers = processes._Work(sizes, 60 * MIB, 1).read(requests)
    assert [failure for answer in answers for failure in answer.failures] == []
    assert len(answers) > 1, "they fit together, which shows nothing"
    total = totals.Total()
    for answer in answers:
        total.add(answer)
    found = total.answer().sum
    assert found is not None
    assert {figures.path for figures in found.figures} == {request.path for request in requests}
    assert min(figures.allocations for figures in found.figures) >= 4_000
    assert sum(row.bytes for row in found.rows["peak"]) == sum(figures.peak for figures in found.figures)


def test_a_sum_of_very_many_places_keeps_the_largest() -> None:
    """And loses no byte: what is not told by itself is told together."""
    rows = [model.Row(((f"f{n}", "many.py", n), ("main", "many.py", 1)), 1, n, 1) for n in range(1, 130_001)]
    found = totals.RowSum(rows).rows()
    assert 50_000 < len(found) <= 100_001
    assert sum(row.bytes for row in found) == sum(range(1, 130_001))
    assert sum(row.allocations for row in found) == 130_000
    told = {row.stack[0][0] for row in found}
    assert {"f130000", totals.SMALLER[0][0]} < told
    assert "f1" not in told
