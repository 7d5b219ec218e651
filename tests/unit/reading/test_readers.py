"""The processes that read captures: what memory they have, how many read at a time, and that none outlives its use."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import raymemprof
from raymemprof.reading.captures import analysis, model, pool, reader_limit, totals
from raymemprof.reading.captures import reader as reader_process

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


def readers(process: int | None = None) -> list[psutil.Process]:
    """The reader processes that a process has started."""
    found = []
    for child in psutil.Process(process).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "raymemprof.reading.captures.reader" in " ".join(child.cmdline()):
                found.append(child)
    return found


KILLED = """
import os, signal, sys
from raymemprof import profile_memory

with profile_memory("killed", directory=sys.argv[1]):
    kept = [bytearray(5_000) for _ in range(int(sys.argv[2]))]
    large = bytearray(3 * 2**20)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(folder: Path, allocations: int = 100) -> Path:
    """The capture of a process that was killed: it is as memray writes it, and ends in zeros."""
    done = subprocess.run([sys.executable, "-c", KILLED, folder, str(allocations)])
    assert done.returncode == -signal.SIGKILL
    (capture,) = raymemprof.captures(folder)
    return capture.path


@pytest.fixture
def long_read(tmp_path: Path) -> Iterator[Path]:
    """A capture that memray reads for many seconds without letting go of the interpreter's lock."""
    path = killed(tmp_path)
    path.write_bytes(path.read_bytes().rstrip(b"\0"))
    with path.open("ab") as file:
        file.writelines([b"\x10" * MIB] * 300)  # frames that were left
    yield path
    path.unlink()


def busy(before: dict[int, float]) -> list[psutil.Process]:
    """The readers that have computed for half a second since `before`."""
    return [reader for reader in readers() if _seconds(reader) - before.get(reader.pid, 0) > 0.5]


def _seconds(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        return sum(process.cpu_times()[:2])
    return 0.0


def test_a_reader_ends_with_who_asked(long_read: Path, wait_for: Callable[..., Any]) -> None:
    """At once, though it is not done: who asked may have been killed to give memory back."""
    asker = subprocess.Popen([sys.executable, "-c", f"import raymemprof; raymemprof.heap({str(long_read)!r})"])
    try:
        (reader,) = wait_for(lambda: readers(asker.pid))
        wait_for(lambda: _seconds(reader) > 1)
        asker.send_signal(signal.SIGKILL)
        asker.wait()
        with contextlib.suppress(psutil.NoSuchProcess):
            reader.wait(2)
        assert not reader.is_running()
    finally:
        asker.kill()
        asker.wait()
        reader.kill() if reader.is_running() else None


@pytest.fixture
def refusal(long_read: Path, wait_for: Callable[..., Any]) -> Callable[[Callable[[psutil.Process], object]], str]:
    """Do something to the reader, or its capture, while it reads; return why there is no answer."""

    def run(meanwhile: Callable[[psutil.Process], object]) -> str:
        reasons: list[str] = []

        def ask() -> None:
            with pytest.raises(raymemprof.CaptureError) as refused:
                raymemprof.heap(long_read)
            reasons.append(refused.value.reason)

        before = {reader.pid: _seconds(reader) for reader in readers()}
        asks = threading.Thread(target=ask)
        asks.start()
        (reader,) = wait_for(lambda: busy(before))
        meanwhile(reader)
        asks.join(60)
        (reason,) = reasons
        return reason

    return run


def test_a_reader_that_is_killed_is_no_damage(refusal: Callable[..., str]) -> None:
    reason = refusal(lambda reader: reader.kill())
    assert "SIGKILL" in reason
    assert "damaged" not in reason


def test_a_capture_that_is_cut_while_it_is_read(refusal: Callable[..., str], long_read: Path) -> None:
    assert "changed while it was read" in refusal(lambda _: os.truncate(long_read, 100 * MIB))


def test_the_kernel_ends_a_reader_that_computes_too_long(long_read: Path) -> None:
    """Whoever asked for it, and whether or not they still look."""
    reader = pool._Reader(256 * MIB)
    try:
        reader_process.send(reader._process.stdin, ([model.Request(str(long_read))], 0.5))  # type: ignore[arg-type]
        assert reader._process.wait(20) == -signal.SIGXCPU
        assert "too long" in reader._epitaph()
    finally:
        reader.kill()
        reader.close()


def test_a_reader_outlives_the_thread_that_asked(many_stacks: Path) -> None:
    """It ends with the process, not with the thread, and is there for the next capture."""
    asks = threading.Thread(target=raymemprof.heap, args=(many_stacks,))
    asks.start()
    asks.join(60)
    reader = pool._idle[-1]
    with pytest.raises(subprocess.TimeoutExpired):
        reader._process.wait(0.5)


def test_a_thread_reads_on_when_the_main_thread_has_ended(long_read: Path, run_script: Callable[..., str]) -> None:
    os.truncate(long_read, 40 * MIB)
    printed = run_script(
        f"""
import psutil, threading, time, raymemprof

def read():
    print(raymemprof.heap({str(long_read)!r}).allocations >= 100)

threading.Thread(target=read).start()
while not any(sum(reader.cpu_times()[:2]) > 0.5 for reader in psutil.Process().children()):
    time.sleep(0.01)
"""
    )
    assert printed == "True\n"


def test_a_fork_reads_with_readers_of_its_own(many_stacks: Path, run_script: Callable[..., str]) -> None:
    run_script(
        f"""
import os, raymemprof
assert raymemprof.heap({str(many_stacks)!r}).allocations >= 8_000
pid = os.fork()
assert raymemprof.heap({str(many_stacks)!r}).allocations >= 8_000
if pid:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names without a file")
def test_who_asks_waits_for_others_that_read(wait_for: Callable[..., Any]) -> None:
    code = """
import threading
from raymemprof.reading.captures import reader_limit
with reader_limit.turn(1, threading.Event(), 600):
    print("mine", flush=True)
    input()
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    came: list[bool] = []

    def ask() -> None:
        with reader_limit.turn(1, threading.Event(), 600) as is_mine:
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
        with reader_limit.turn(1, stopped, 600) as is_mine:
            assert not is_mine
    finally:
        other.kill()  # so that it cannot say that it is done
        other.communicate()
    asks.join(10)
    assert came == [True]


def test_it_is_told_how_far_the_reading_of_one_capture_is(tmp_path: Path, run_script: Callable[..., str]) -> None:
    run_script(
        f"""
from raymemprof import profile_memory

with profile_memory("many", directory={str(tmp_path / "recorded")!r}):
    for _ in range(400_000):
        bytearray(1000)
"""
    )
    (capture,) = raymemprof.captures(tmp_path / "recorded")
    done: list[float] = []
    answer = pool.read([model.Request(str(capture.path))], done.append)
    assert answer.sum is not None
    assert answer.sum.figures[0].allocations >= 400_000
    assert len([more for more in done if 0 < more < 1]) > 1, done
    assert min(done) >= 0
    assert sum(done) == pytest.approx(1)


def test_what_a_reader_crashed_on_is_done_in_the_end(tmp_path: Path) -> None:
    """Those that are read again, without the one that ended their reader, are counted once."""
    paths = record(tmp_path, 4, 100)
    done: list[float] = []
    requests = [model.Request(str(path)) for path in paths]
    work = pool._Work(dict.fromkeys(requests, 1000), 256 * MIB, 1, done.append)
    reader = pool._take(256 * MIB)
    reader.kill()  # as one that ended while it was asked
    reader._process.wait()
    pool._idle.append(reader)
    reader._process.poll = lambda: None  # type: ignore[method-assign]  # it has not been noticed
    answers = work.read(requests)
    assert [failure for answer in answers for failure in answer.failures] == []
    assert len(answers) == 2, "all were read at once"
    assert sum(done) == pytest.approx(len(requests))


def test_a_reader_that_just_ended_for_want_of_work_is_replaced(tmp_path: Path) -> None:
    (request,) = (model.Request(str(path)) for path in record(tmp_path, 1, 100))
    reader = pool._take(256 * MIB)
    assert reader._process.stdin is not None
    idle = reader._process.stdin
    reader._process.stdin = os.fdopen(os.open(os.devnull, os.O_WRONLY), "wb")  # what is sent does not arrive any more
    idle.close()  # it ends as it does after a time in which nobody asks
    reader._process.wait()
    reader._process.poll = lambda: None  # type: ignore[method-assign]  # it has not been noticed
    pool._idle.append(reader)
    (answer,) = pool._Work({request: 1000}, 256 * MIB, 1, lambda count: None).read([request])
    assert answer.failures == ()
    assert reader not in pool._idle


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_what_does_not_fit_beside_others_is_read_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captures that a reader has memory for one by one, but not for all that they hold together."""
    monkeypatch.setattr(pool, "_LEAST_MEMORY", MIB)
    requests = [model.Request(str(path)) for path in record(tmp_path, 6, 3_000)]
    sizes = {request: os.path.getsize(request.path) for request in requests}
    done: list[float] = []
    answers = pool._Work(sizes, 42 * MIB, 1, done.append).read(requests)
    assert [failure for answer in answers for failure in answer.failures] == []
    assert len(answers) > 1, "they fit together, which shows nothing"
    assert sum(done) == pytest.approx(len(requests))
    total = totals.Total()
    for answer in answers:
        total.add(answer)
    found = total.answer().sum
    assert found is not None
    assert {figures.path for figures in found.figures} == {request.path for request in requests}
    assert min(figures.allocations for figures in found.figures) >= 3_000
    assert sum(row.bytes for row in found.rows["peak"]) == sum(figures.peak for figures in found.figures)


def test_a_reader_that_is_stuck_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes its time as long as it computes, or waits for a disk."""
    (request,) = (model.Request(str(path)) for path in record(tmp_path, 1, 10))
    monkeypatch.setattr(pool, "_START", "import time; time.sleep(600)")
    monkeypatch.setattr(pool, "_LONGEST_SILENCE", 0.5)
    (answer,) = pool._Work({request: os.path.getsize(request.path)}, 2**28, 1, lambda count: None).read([request])
    (failure,) = answer.failures
    assert failure.reason == "it cannot be read: its reader stopped working on it and was ended; try again."
    busy = "import os, time\nwhile time.process_time() < 1.5: pass\nos._exit(7)"
    monkeypatch.setattr(pool, "_START", busy)
    (answer,) = pool._Work({request: os.path.getsize(request.path)}, 2**28, 1, lambda count: None).read([request])
    assert "ended with status 7" in answer.failures[0].reason


_FULL = """
import resource, sys
numbers = [None] * 2_000_000
fill = "for number in range(len(numbers)): numbers[number] = number + 10**9"
exec("def full():\\n try:\\n  raise KeyError\\n except KeyError:\\n  " + "x = 1; " * 300 + "\\n  " + fill)
resource.setrlimit(resource.RLIMIT_DATA, LIMITS)
try:
    full()
except MemoryError:
    numbers = None
    sys.exit(7)
"""
"""A process that has no memory for the number of the instruction at which a MemoryError was raised."""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
@pytest.mark.skipif(not (3, 11) <= sys.version_info[:2] <= (3, 13), reason="that Python needs no memory there, or more")
def test_a_reader_whose_memory_is_full_gets_its_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python raises no MemoryError before it has some: it tries for ever."""
    (request,) = (model.Request(str(path)) for path in record(tmp_path, 1, 10))
    sizes = {request: os.path.getsize(request.path)}
    monkeypatch.setattr(pool, "_LONGEST_SILENCE", 5)
    monkeypatch.setattr(pool, "_START", _FULL.replace("LIMITS", str((50 * MIB, 54 * MIB))))
    (answer,) = pool._Work(sizes, 2**28, 1, lambda count: None).read([request])
    assert "ended with status 7" in answer.failures[0].reason
    monkeypatch.setattr(pool, "_START", _FULL.replace("LIMITS", str((50 * MIB, 50 * MIB))))
    (answer,) = pool._Work(sizes, 2**28, 1, lambda count: None).read([request])
    assert answer.failures[0].reason == "it cannot be read: reading it takes more than 256.0 MiB of memory."


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


def test_damage_is_said_without_python_s_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        b"\xff".decode()

    monkeypatch.setattr(analysis, "analyse", fail)
    (failure,) = analysis.answer([model.Request("load.bin")], MIB, lambda part: None).failures
    assert failure.reason == "it cannot be read: it is damaged: what is in it leads nowhere."
