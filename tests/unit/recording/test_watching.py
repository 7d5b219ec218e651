"""The watch over a traced process: what is resident as the kernel says, nothing kept alive, nothing that can hang."""

from __future__ import annotations

import json
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import journal as contract
from raymemprof import profile_memory
from raymemprof.reading.captures.accounts import Account, Baseline, Moment
from raymemprof.reading.captures.allocations import unmap
from raymemprof.reading.captures.resident import held
from raymemprof.reading.captures.samples import CallFacts, Look, Sample, read_samples
from raymemprof.recording import observation
from raymemprof.recording.memory import process_memory
from raymemprof.recording.memory.allocators import Allocators
from raymemprof.recording.memory.residency import Mappings

PAGE = mmap.PAGESIZE
MIB = 2**20

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")


def block(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def address(of: mmap.mmap) -> int:
    import ctypes

    return ctypes.addressof(ctypes.c_char.from_buffer(of))


def own(segments: tuple[tuple[int, int, int, int], ...], start: int, size: int) -> int:
    """Bytes of a range that a look says are the process's own."""
    parts = tuple((first * PAGE, (first + n) * PAGE, own / n, other / n) for first, n, own, other in segments)
    return Look(0, 0, 0, (), 0, tuple(part[0] for part in parts), parts).of(start, size)[0]


@pytest.mark.versions
def test_a_look_says_what_was_touched() -> None:
    mappings = Mappings()
    untouched, half, read, whole = block(64 * MIB), block(64 * MIB), block(64 * MIB), block(64 * MIB)
    for offset in range(0, 32 * MIB, PAGE):
        half[offset] = 1
    for offset in range(0, 64 * MIB, PAGE):
        assert read[offset] == 0  # the zero page: it is nobody's
        whole[offset] = 1
    segments = mappings.look().segments
    found = {name: own(segments, address(of), 64 * MIB) for name, of in locals().items() if isinstance(of, mmap.mmap)}
    near = pytest.approx
    assert found == {
        "untouched": near(0, abs=MIB),
        "half": near(32 * MIB, abs=MIB),
        "read": near(0, abs=MIB),
        "whole": near(64 * MIB, abs=MIB),
    }


def test_an_address_that_is_given_out_again_is_looked_at_again() -> None:
    before = block(64 * MIB)
    before.write(b"1" * (64 * MIB))
    mappings = Mappings()
    start = address(before)
    assert own(mappings.look().segments, start, 64 * MIB) == 64 * MIB
    before.madvise(mmap.MADV_DONTNEED)  # as a new mapping there would be
    assert own(mappings.look().segments, start, 64 * MIB) < MIB


def test_what_a_fork_shares_is_still_resident() -> None:
    mappings = Mappings()
    data = block(64 * MIB)
    data.write(b"1" * (64 * MIB))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reading, 1)
        os._exit(0)
    try:
        assert own(mappings.look().segments, address(data), 64 * MIB) == pytest.approx(64 * MIB, abs=MIB)
    finally:
        os.write(writing, b"x")
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


@pytest.mark.versions
def test_what_a_call_had_goes_when_it_returns(tmp_path: Path, run_script: Any) -> None:
    """The sampler walks the stacks of threads: it must not keep their variables alive."""
    out = run_script(
        f"""
import time, weakref
from raymemprof import profile_memory

class Thing:
    pass

@profile_memory(directory={str(tmp_path)!r}, linger=5, interval_ms=1)
def call():
    thing = Thing()
    time.sleep(0.1)
    return weakref.ref(thing)

print([call()() for _ in range(5)])
"""
    )
    assert out.strip() == str([None] * 5)


@pytest.mark.versions
def test_a_finalizer_that_ends_a_call_within_a_look_does_not_hang(tmp_path: Path, run_script: Any) -> None:
    out = run_script(
        f"""
import gc, threading, time
from raymemprof import profile_memory

options = dict(directory={str(tmp_path)!r}, linger=5, interval_ms=1)

@profile_memory(**options)
def stream():
    kept = bytearray(b"1") * 3_000_000
    yield len(kept)

class Cycle:
    def __init__(self):
        self.me, self.items = self, stream()
        next(self.items)

@profile_memory(**options)
def work():
    for _ in range(200):
        Cycle()
        time.sleep(0.002)

gc.set_threshold(5, 2, 2)
work()
print("done")
""",
        timeout=60,
    )
    assert out.strip() == "done"


HOSTILE = [
    {"event": "sample"},
    {"event": "sample", "capture": None},
    {"event": "begin", "capture": 7},
    {"event": "begin", "capture": "CAPTURE", "slot": "x", "turn": 0, "memory": 1, "call": 1},
    {"event": "place", "capture": "CAPTURE", "place": 0, "stack": [["f", "<raymemprof>", 1]]},
    {"event": "place", "capture": "CAPTURE", "place": 0, "stack": "no"},
    {"event": "sample", "capture": "CAPTURE", "mark": -1, "time": 1, "memory": 1, "shared": 1},
    {"event": "sample", "capture": "CAPTURE", "mark": 3, "time": 1e400, "memory": 10**400, "shared": 1},
    {
        "event": "sample",
        "capture": "CAPTURE",
        "mark": 10**9,
        "time": 1,
        "memory": 1,
        "shared": 1,
        "page": 4096,
        "holes": 0,
        "segments": [[0, 10**12, 10**13, 0], [1, 0, 0, 0]],
    },
    {"event": "end", "call": [], "memory": 1, "peak": 1},
    {"event": "peak", "calls": 3, "memory": 1},
]


def test_a_bad_line_costs_that_line(tmp_path: Path) -> None:
    with profile_memory("block", directory=tmp_path, linger=0):
        data = bytearray(b"1") * (20 * MIB)
    (call,) = raymemprof.calls(tmp_path)
    before = raymemprof.heap(call)
    (journal,) = tmp_path.glob("*.jsonl")
    assert read_samples(call.capture).by_mark
    lines = [json.dumps(line).replace("CAPTURE", call.capture.name).encode() for line in HOSTILE]
    text = journal.read_bytes()
    journal.write_bytes(b"\n".join([*lines, b"\xff\x00{", b"[" * 100_000, text, *lines]) + b"\n")
    after = raymemprof.heap(raymemprof.calls(tmp_path)[0])
    assert (after.peak, after.alive_at_end, after.grew) == (before.peak, before.alive_at_end, before.grew)
    assert len(data) == 20 * MIB


def test_samples_stay_small(tmp_path: Path) -> None:
    """Memory that swings for long must not fill the disk with what is said of it."""
    from raymemprof.recording import look_budget

    with profile_memory("swings", directory=tmp_path, linger=0, interval_ms=1):
        for _ in range(400):
            data = bytearray(b"1") * (20 * MIB)
            del data
    (journal,) = tmp_path.glob("*.jsonl")
    assert journal.stat().st_size < look_budget._MOST_WRITTEN + MIB


def test_a_peak_that_is_written_after_the_end_changes_nothing(tmp_path: Path) -> None:
    """The sampler may have seen it just before the call ended."""
    with profile_memory("block", directory=tmp_path, linger=0):
        data = bytearray(b"1") * (40 * MIB)
    (call,) = raymemprof.calls(tmp_path)
    before = raymemprof.heap(call)
    (journal,) = tmp_path.glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    end = next(n for n, line in enumerate(lines) if line["event"] == "end")
    lines.insert(end + 1, {"event": "peak", "calls": [lines[end]["call"]], "memory": lines[end]["peak"]})
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    facts = read_samples(call.capture).calls[0, 0]
    assert (facts.after, facts.highest) == (lines[end]["memory"], lines[end]["highest"])
    assert raymemprof.heap(call).peak == before.peak
    assert len(data) == 40 * MIB


def test_a_moment_in_which_memory_moves_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may stop the sampler between its mark and its reading, and other threads run on."""
    held: list[bytearray] = []
    marks: list[int] = []

    def slow_mark(size: int) -> None:
        marks.append(size)
        if not held:
            held.append(bytearray(b"1") * (64 * MIB))

    monkeypatch.setattr(observation, "_make_mark", slow_mark)
    moment = observation.Observer(Allocators()).observe([])
    assert len(marks) == 2
    assert marks[-1] == contract.marker_size(moment.mark)
    assert moment.private == pytest.approx(process_memory.now()[0], abs=MIB)


def test_tens_of_thousands_of_mappings_take_little_memory_to_look_at(run_script: Callable[..., str]) -> None:
    printed = run_script("""
import mmap, time
from raymemprof import profile_memory

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))

with profile_memory("first", directory="records", linger=0):
    pass
both = mmap.PROT_READ | mmap.PROT_WRITE  # neighbours that differ stay mappings of their own
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
kept = [mmap.mmap(-1, 4096, flags=flags, prot=both if number % 2 else mmap.PROT_READ) for number in range(62_000)]
before = peak()
with profile_memory("block", directory="records", linger=0):
    held = []
    for _ in range(8):
        held.append(b"x" * 2**23)
        time.sleep(0.1)
print(peak() - before - 8 * 2**23)
""")
    assert int(printed) < 12 * 2**20


def test_the_interpreter_ends_though_a_thread_has_stopped_with_a_lock(tmp_path: Path, run_script: Any) -> None:
    """Daemon threads stop for ever then, whatever they hold; a generator is finalized after that."""
    run_script(
        f"""
import threading, time
from raymemprof import profile_memory
from raymemprof.recording.safety import descriptors
from raymemprof.recording.memory import process_memory as memory

@profile_memory(directory={str(tmp_path)!r})
def stream():
    yield 1

class Cycle:
    def __init__(self):
        self.me, self.items = self, stream()
        next(self.items)

def hold():
    with descriptors.kept.in_turn():
        is_held.set()
        time.sleep(600)

kept, is_held = Cycle(), threading.Event()
memory._inherited = 2**62  # as in a process that a larger one started: its peak is read from a file
threading.Thread(target=hold, daemon=True).start()
is_held.wait()
""",
        timeout=30,
    )


def test_a_question_to_memray_within_the_question_is_not_taken_for_another_tracker() -> None:
    """The garbage collector may run there, and end a call, which asks, too."""
    from raymemprof.recording import memray_tracker

    memray_tracker._asking.now = True
    try:
        assert memray_tracker.is_tracing(None)
        assert memray_tracker.is_asking(), "the question that it is within goes on"
    finally:
        memray_tracker._asking.now = False


def test_a_thread_may_wake_itself() -> None:
    """As from a finalizer that runs while it waits."""
    from raymemprof.recording.safety.wakeup import Wakeup

    wakeup = Wakeup()
    assert not wakeup.wait(0.01)
    wakeup.set()
    wakeup.set()
    assert wakeup.is_set()
    assert wakeup.wait(0)
    wakeup.clear()
    wakeup.wait(0)  # what woke it may be left over once
    assert not wakeup.wait(0.01)


FULL = """
import os, resource, sys, time
limit = resource.getrlimit(resource.RLIMIT_NOFILE)

def full():
    "Take all descriptors that there are."
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limit[1]))
    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return taken

def free(taken):
    for number in taken:
        os.close(number)
"""


def test_a_moment_without_descriptors_does_not_end_the_looks(tmp_path: Path, run_script: Any) -> None:
    printed = run_script(
        FULL
        + """
from raymemprof import profile_memory
from raymemprof.recording import look_budget, warn as notes
from raymemprof.recording.tracker import tracker

look_budget._SHARE = look_budget._MOST_SAVED = 10.0  # there is time to look
with profile_memory("block", directory="here"):
    taken = full()
    kept = []
    deadline = time.monotonic() + 10
    while "watch" not in notes._said and time.monotonic() < deadline:
        taken += full()  # what another thread had open for a moment is free again
        kept.append(bytearray(b"1") * (8 << 20))
        time.sleep(0.1)
    free(taken)
    print("watch" in notes._said, tracker._capture.watch._mappings is not None)
"""
    )
    assert printed.split() == ["True", "True"]


def test_memory_is_read_from_an_open_file_again_after_a_moment_without_descriptors(run_script: Any) -> None:
    printed = run_script(
        FULL
        + """
import ctypes
from raymemprof.recording.memory import process_memory as memory

ctypes.CDLL(None).close(memory._statm.number)
number = memory._statm.number
taken = full()
time.sleep(0.01)
try:
    memory.now()
except OSError:
    pass
free(taken)
print(memory.now()[0] > 2**20, memory._statm is not None and memory._statm.status() is not None)
taken = full()
pid = os.fork()
if pid == 0:
    os.closerange(3, 256)
    is_there = memory.now()[0] > 2**20 and memory._statm is not None and memory._statm.status() is not None
    os._exit(0 if is_there else 1)
print(os.waitpid(pid, 0)[1])
"""
    )
    assert printed.split() == ["True", "True", "0"]


def test_a_mapping_that_ends_in_parts_is_one_allocation_less() -> None:
    account = Account()
    place = account.place("line")
    maps = {}
    for number in range(3):
        account.add(place, 300)
        maps[number * 1000] = (300, place, ())
    for number in range(2):
        unmap(maps, number * 1000 + 100, 100)
        assert list(account.rows("leaks")) == [("line", 800 - number * 300, 4 - number)], "both of its ends are left"
        unmap(maps, number * 1000, 100)
        unmap(maps, number * 1000 + 200, 100)
    assert (place.bytes, place.allocations) == (300, 1)


def test_what_nobody_touched_does_not_stand_for_what_was_freed() -> None:
    """A look after the peak finds as much in the process, which allocators keep, and some reserved beside it."""
    mb = 1_000_000
    account = Account(CallFacts(70 * mb, 0, peak=560 * mb, highest=560 * mb), Baseline(70 * mb, retained=0))
    left, gone = account.place((1, 2)), account.place((2, 2))
    account.add(left, 110 * mb)
    account.add(gone, 350 * mb)
    account.remove(gone, 350 * mb)
    sample = Sample(9, 0.0, 530 * mb, 0, 0, arenas=0, free=350 * mb, used=None, moves=(), look=None)
    account.take_memory(sample, kept=350 * mb)
    account.untouched = 42 * mb
    account.at_peak = Moment(sample, None, {}, 0, [], current=account.current, is_sure=True)
    account.at_end = Moment(sample, None, {}, 0, [], current=account.current)
    assert held(account, "peak").bytes == 460 * mb


def test_a_slow_first_look_is_no_reason_not_to_look_again(tmp_path: Path, run_script: Any) -> None:
    """It is of a cold process; what a call renews right after is its own all the same."""
    run_script(
        f"""
import time
from raymemprof import profile_memory
from raymemprof.recording.memory import residency

look, looked = residency.Mappings.look, []

def slow_at_first(self, *arguments):
    end = time.thread_time() + (0 if looked else 0.08)
    looked.append(self)
    while time.thread_time() < end:
        pass
    return look(self, *arguments)

residency.Mappings.look = slow_at_first
kept = [bytearray(b"1") * 100_000_000]
with profile_memory("renew", directory={str(tmp_path)!r}, linger=0):
    kept.clear()
    kept.append(bytearray(b"2") * 100_000_000)
assert len(looked) > 1
"""
    )
    (call,) = raymemprof.calls(tmp_path)
    assert raymemprof.heap(call).peak == pytest.approx(100_000_000, rel=0.05)
