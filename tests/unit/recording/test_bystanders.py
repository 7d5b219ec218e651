"""Promise 1 where the user's code looks beyond its own call: at signals, threads, time limits and profilers.

Each test does the same with and without the decorator.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

import raymemprof


@pytest.fixture
def both(run_script: Callable[..., str], tmp_path: object) -> Callable[[str], list[str]]:
    """Run a script plain and recorded, each in a process of its own; gives what the two printed."""

    def run(code: str) -> list[str]:
        plain = "import contextlib\ndef profile_memory(target=None, **options):\n    return target or (lambda it: it)\n"
        recorded = f"import functools, raymemprof\nprofile_memory = functools.partial({_BOTH}, {str(tmp_path)!r})\n"
        return [run_script(head + code, timeout=60) for head in (plain, _DECORATE + recorded)]

    return run


_BOTH = "_recorded"
_DECORATE = """
def _recorded(folder, target=None, **options):
    import raymemprof
    decorate = raymemprof.profile_memory(directory=folder, **options)
    return decorate(target) if target is not None else decorate
"""


@pytest.mark.parametrize("heap", [True, False])
def test_a_signal_that_is_waited_for(heap: bool, both: Callable[[str], list[str]]) -> None:
    """It ends the process where a thread of ours does not block it, since who waits for it has blocked it."""
    plain, recorded = both(
        f"""
import os, signal, time

@profile_memory(heap={heap})
def work():
    signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGUSR1}})
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGUSR1)
    return signal.sigwait({{signal.SIGUSR1}}).name

print(work())
"""
    )
    assert plain == recorded == "SIGUSR1\n"


@pytest.mark.versions
def test_code_that_waits_for_all_threads_there_are(both: Callable[[str], list[str]]) -> None:
    plain, recorded = both(
        """
import logging, threading, time

@profile_memory
def work():
    threads = [threading.Thread(target=time.sleep, args=(0.1,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    return threading.active_count()

print(work(), threading.active_count())
"""
    )
    assert plain == recorded == "1 1\n"


def test_a_warning_from_a_thread_of_ours_leaves_no_thread_behind() -> None:
    """`logging` asks for the thread's name, and `threading` lists whoever asks."""
    import threading

    from raymemprof.recording import warn
    from raymemprof.recording.safety.threads import HiddenThread

    before, seen = threading.enumerate(), []

    def say() -> None:
        warn.once("a test", "this is a test")
        seen.append(threading.enumerate())

    thread = HiddenThread(say)
    thread.start()
    while thread.is_alive():
        pass
    assert seen == [before]


_CALLS = """
@profile_memory
def call():
    return 1

@profile_memory
def wait():
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        pass
"""


@pytest.mark.parametrize("kind", ["TimeoutError", pytest.param("Late", marks=pytest.mark.versions), "RuntimeError"])
def test_a_time_limit_that_a_signal_sets(kind: str, both: Callable[[str], list[str]]) -> None:
    """Its handler's exception is the user's, wherever in recording it comes; nothing of ours stays locked."""
    plain, recorded = both(
        f"""
import signal, time
class Late(Exception): pass
def ring(*_):
    raise {kind}("too late")
signal.signal(signal.SIGALRM, ring)
{_CALLS}
def repeat(seconds, function):
    signal.setitimer(signal.ITIMER_REAL, seconds)
    end = time.perf_counter() + 0.25
    while time.perf_counter() < end:
        function()
    return 1

def within(seconds, function):
    try:  # Python 3.13 does not catch what is raised where a loop begins again in the `try` itself
        return repeat(seconds, function)
    except {kind}:
        return 0

print(sum(within(number * 0.02, wait) for number in range(1, 8)))  # memray starts meanwhile
print(sum(within(0.001 + number * 1e-5, call) for number in range(100)) < 3)
begun = time.perf_counter()
for _ in range(20):
    call()
print(time.perf_counter() - begun < 2)
"""
    )
    assert plain == recorded == "0\nTrue\nTrue\n"


def test_no_lock_is_left_taken(both: Callable[[str], list[str]]) -> None:
    """Wherever in recording a handler raises: a call in another thread is still traced, and the process still ends."""
    plain, recorded = both(
        """
import signal, threading, time
def ring(*_):
    raise TimeoutError("too late")
signal.signal(signal.SIGALRM, ring)

@profile_memory
def call():
    return 1

def repeat(seconds):
    signal.setitimer(signal.ITIMER_REAL, seconds)
    end = time.perf_counter() + 0.25
    while time.perf_counter() < end:
        call()

def limited(seconds):
    try:  # Python 3.13 does not catch what is raised where a loop begins again in the `try` itself
        repeat(seconds)
    except TimeoutError:
        pass

def took(function):
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun

limited(0.1)
for number in range(1500):
    limited(0.001 + number % 100 * 1e-5)
thread = threading.Thread(target=call)
thread.start()
print(took(thread.join) < 1)
if "functools" in globals():
    from raymemprof.recording.safety import descriptors
    from raymemprof.recording.sampler import sampler
    from raymemprof.recording.tracker import tracker
    locks = [tracker._lock, sampler._lock, descriptors.kept._opening, tracker._latest.watch._lock]
    assert not any(lock._is_owned() for lock in locks), locks  # another thread may have one right now
    assert took(lambda: tracker.close("the test")) < 5
"""
    )
    assert plain == recorded == "True\n"


def test_a_time_limit_that_another_thread_sets(both: Callable[[str], list[str]]) -> None:
    plain, recorded = both(
        f"""
import ctypes, threading, time
class Late(Exception): pass
{_CALLS}
def limited(seconds):
    told = []
    def work():
        try:
            end = time.perf_counter() + 0.3
            while time.perf_counter() < end:
                call()
        except Late:
            told.append("late")
    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(seconds)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Late))
    thread.join()
    return bool(told)

print(sum(limited(0.01 + number * 1e-4) for number in range(40)))
"""
    )
    assert 0 < int(plain) <= int(recorded) + 4, "it may come after the `try` has ended, recorded or not"


def test_what_recording_itself_meets_is_not_taken_for_the_users() -> None:
    from raymemprof.recording.safety import interruptions

    for kind in (OSError, ValueError, MemoryError, RuntimeError):
        with pytest.raises(kind) as caught:
            raise kind("ours")
        assert not interruptions.is_users(caught.value)


@pytest.mark.parametrize("order", ["above", pytest.param("below", marks=pytest.mark.versions)])
def test_a_generator_that_can_be_awaited(order: str, both: Callable[[str], list[str]]) -> None:
    above, below = ("profile_memory", "types.coroutine")[:: 1 if order == "above" else -1]
    plain, recorded = both(
        f"""
import asyncio, inspect, types

@{above}
@{below}
def work():
    yield
    return 3

async def main():
    return await work()

@profile_memory
def plain():
    yield 1

print(asyncio.run(main()), inspect.isawaitable(work()), inspect.isawaitable(plain()))
"""
    )
    assert plain == recorded == "3 True False\n"


def test_a_profiler_of_the_users_around_a_call(both: Callable[[str], list[str]], tmp_path: object) -> None:
    plain, recorded = both(
        """
import cProfile, sys

def inner():
    pass

@profile_memory
def work():
    for _ in range(100):
        inner()

profiler = cProfile.Profile()
profiler.runcall(work)
profiler.create_stats()
print([told[0] for place, told in profiler.stats.items() if place[0] == __file__ and place[2] == "inner"])
seen = []
def look(frame, event, argument):
    if frame.f_code.co_name == "inner":
        seen.append(event)
sys.setprofile(look)
work()
print(sys.getprofile() is look, len(seen))
"""
    )
    assert plain == recorded == "[100]\nTrue 200\n"
    notes = [str(call.note) for call in sorted(raymemprof.calls(str(tmp_path)), key=lambda call: call.started_at)]
    # From Python 3.12 on cProfile takes no place that memray would take, and the next call joins what it opened.
    assert ["a profiler" in note for note in notes] == [sys.version_info < (3, 12)] * 2


def test_threads_that_wait_for_the_interpreter_as_tracing_ends_are_not_slowed(run_script: Callable[..., str]) -> None:
    """As a Ray worker's main thread does: where C code calls Python, memray adds its hook though it traces no more."""
    code = """
import ctypes, sys, tempfile, threading
import raymemprof
from raymemprof.recording.tracker import tracker

python = ctypes.PyDLL(None)
python.PyThreadState_Get.restype = ctypes.c_void_p

def fields():
    return list((ctypes.c_size_t * 40).from_address(python.PyThreadState_Get()))

def look():
    marker = lambda *event: None
    sys.setprofile(marker)
    found.append(fields().index(id(marker)) - 2)
    sys.setprofile(None)

found = []
looker = threading.Thread(target=look)
looker.start()
looker.join()
(hook,) = found

def sort():
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda one, other: 0)
    numbers = (ctypes.c_int64 * 1000)()
    while True:
        ctypes.CDLL(None).qsort(numbers, 1000, 8, compare)
        if is_over.is_set():
            hooks.append(fields()[hook])
            return

for _ in range(10):
    hooks, is_over = [], threading.Event()
    sorters = [threading.Thread(target=sort) for _ in range(4)]
    for sorter in sorters:
        sorter.start()
    with raymemprof.profile_memory("block", directory=tempfile.mkdtemp(), linger=0):
        pass
    tracker.open_capture() and tracker.open_capture().closed.wait(30)
    is_over.set()
    for sorter in sorters:
        sorter.join()
    print(hooks)
"""
    assert run_script(code, timeout=60) == "[0, 0, 0, 0]\n" * 10
