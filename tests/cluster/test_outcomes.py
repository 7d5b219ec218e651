"""However a call ends, its status says so and its capture can be read; a kill at any moment loses nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import ray
from ray import cloudpickle

import raymemprof
from raymemprof import calls, captures, heap, profile_memory

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

pytestmark = pytest.mark.usefixtures("cluster")
SIZE = 25_000_000  # of which 5 % is more than the 1 MiB that Python takes at a time for small objects
SECONDS = 30
PACKAGE = str(Path(raymemprof.__file__).parent)


class UnusualError(ValueError):
    """An exception of the user's own."""

    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code


def spin(seconds=SECONDS):
    """Wait as a task does that Ray can cancel: in many short sleeps."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.01)


def calls_of(reference):
    return list(calls(task_id=reference.task_id().hex()))


def call_of(reference):
    (call,) = calls_of(reference)
    return call


def running(reference, wait_for):
    """Wait until a task's call has written down that it holds what it is to hold."""
    return wait_for(lambda: [c for c in calls_of(reference) if c.status == "running" and c.peak_memory > SIZE], SECONDS)


def assert_held(call, size=SIZE):
    assert call.note is None
    held = heap(call)
    assert held.peak == pytest.approx(size, rel=0.05)
    assert held.top(1)[0].file == __file__
    return held


@ray.remote(max_retries=0, num_cpus=0)
@profile_memory
def hold(started):
    data = bytearray(SIZE)
    Path(started).touch()
    spin()
    return len(data)


@pytest.fixture
def holding(tmp_path, wait_for):
    """A function that starts `hold`, and returns its reference once it holds its memory."""

    def start():
        started = tmp_path / "started"
        reference = hold.remote(str(started))
        wait_for(started.exists, SECONDS)
        return reference

    return start


def test_a_running_call(holding):
    reference = holding()
    call = call_of(reference)
    assert (call.status, call.duration, call.memory_after, call.error) == ("running", None, None, None)
    ray.cancel(reference, force=True)


@pytest.mark.versions
def test_finished():
    @ray.remote
    @profile_memory
    def task():
        return len(bytearray(SIZE))

    reference = task.remote()
    assert ray.get(reference, timeout=SECONDS) == SIZE
    call = call_of(reference)
    assert (call.status, call.error) == ("finished", None)
    assert 0 < call.duration < SECONDS
    assert_held(call)


@pytest.mark.versions
def test_a_failed_task_raises_what_it_raised():
    @ray.remote
    def undecorated():
        data = bytearray(SIZE)
        raise UnusualError(len(data), "as it was")

    def raised(task):
        reference = task.remote()
        with pytest.raises(UnusualError) as caught:
            ray.get(reference, timeout=SECONDS)
        return reference, caught.value

    decorated = profile_memory(undecorated)
    reference, error = raised(decorated)
    _, expected = raised(undecorated)
    assert type(error.cause) is type(expected.cause)
    assert error.cause.args == expected.cause.args == (SIZE, "as it was")
    assert error.cause.code == SIZE
    ours = [line for line in str(error).splitlines() if line.strip().startswith("File") and is_ours(line)]
    assert len(ours) <= 2
    assert not [line for line in str(expected).splitlines() if is_ours(line)]
    call = call_of(reference)
    assert (call.status, call.error) == ("failed", f"UnusualError: ({SIZE}, 'as it was')")
    assert_held(call)


def is_ours(text):
    return PACKAGE in text or "<raymemprof" in text


def raises():
    raise UnusualError(1, "here")


def yields_and_raises():
    yield 1
    raise UnusualError(1, "here")


async def waits_and_raises():
    raise UnusualError(1, "here")


async def streams_and_raises():
    yield 1
    raise UnusualError(1, "here")


@pytest.mark.parametrize(
    "function",
    [pytest.param(raises, marks=pytest.mark.versions), yields_and_raises, waits_and_raises, streams_and_raises],
)
def test_at_most_one_frame_is_added_to_a_traceback(function, tmp_path):
    import asyncio

    async def use(made):
        if hasattr(made, "__anext__"):
            async for _ in made:
                pass
        elif hasattr(made, "__await__"):
            await made
        else:
            list(made)

    with pytest.raises(UnusualError) as caught:
        asyncio.run(use(profile_memory(function, directory=tmp_path)()))
    frames = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert len([file for file in frames if is_ours(file)]) <= (sys.version_info < (3, 11))
    assert frames[-1] == __file__
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert [call.status for call in calls(tmp_path)] == ["failed"]


def test_an_exception_that_cannot_be_printed(tmp_path):
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    @profile_memory(directory=tmp_path)
    def task():
        raise MuteError

    with pytest.raises(MuteError):
        task()
    (call,) = calls(tmp_path)
    assert call.status == "failed"
    assert call.error.startswith("MuteError")


@pytest.mark.versions
@pytest.mark.parametrize("force", [False, True])
def test_a_cancelled_task(force, holding):
    reference = holding()
    ray.cancel(reference, force=force)
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.WorkerCrashedError)):
        ray.get(reference, timeout=SECONDS)
    call = assert_ends_as("cancelled", reference)
    assert heap(call).alive_at_end == pytest.approx(SIZE, rel=0.05)
    if force:
        assert "ray.cancel" in call.error  # what ended its process


def is_alive(pid):
    """Whether a process runs; one that is dead and that nobody has asked after does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def assert_ends_as(status, reference, seconds=SECONDS):
    """Wait until a call does not run any more, and look at what it is then, and at what it held."""
    deadline = time.monotonic() + seconds
    while (call := call_of(reference)).status == "running" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert call.status == status
    assert_held(call)
    return call


def test_a_cancelled_async_method(wait_for):
    @ray.remote(num_cpus=0)
    @profile_memory
    class Actor:
        async def wait(self):
            import asyncio

            data = bytearray(SIZE)
            await asyncio.sleep(SECONDS)
            return len(data)

    actor = Actor.remote()
    reference = actor.wait.remote()
    running(reference, wait_for)
    ray.cancel(reference)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(reference, timeout=SECONDS)
    assert_ends_as("cancelled", reference)


def test_a_cancelled_generator(tmp_path, wait_for):
    @ray.remote(num_cpus=0, max_retries=0)
    @profile_memory
    def numbers(path):
        data = bytearray(SIZE)
        yield len(data)
        path.touch()
        spin()
        yield 2

    stream = numbers.remote(tmp_path / "goes on")
    first = next(stream)
    assert ray.get(first) == SIZE
    wait_for((tmp_path / "goes on").exists)  # cancelled between two items, Ray closes it: that is no failure
    ray.cancel(stream)
    assert_ends_as("cancelled", first)


def test_a_generator_closed_early(tmp_path):
    @profile_memory(directory=tmp_path)
    def numbers():
        data = bytearray(SIZE)
        yield len(data)
        yield 2

    generator = numbers()
    assert next(generator) == SIZE
    generator.close()
    (call,) = calls(tmp_path)
    assert call.status == "finished"
    assert_held(call)


@pytest.mark.versions
def test_a_killed_task(holding, wait_for):
    reference = holding()
    pid = call_of(reference).pid
    wait_for(lambda: call_of(reference).peak_memory > call_of(reference).memory_before + SIZE * 0.9)  # it was sampled
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(reference, timeout=SECONDS)
    call = assert_ends_as("killed", reference)
    assert (call.pid, call.duration, call.memory_after) == (pid, None, None)
    assert heap(call).alive_at_end == pytest.approx(SIZE, rel=0.05)
    assert SIZE * 0.9 < call.peak_memory - call.memory_before < 2 * SIZE
    (capture,) = captures(task_id=call.task_id)
    assert (capture.status, capture.pid) == ("killed", pid)


def test_a_task_that_ends_its_process_by_itself():
    @ray.remote(max_retries=0)
    @profile_memory
    def task():
        data = bytearray(SIZE)
        os._exit(len(data) % 7)

    reference = task.remote()
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(reference, timeout=SECONDS)
    assert_ends_as("killed", reference)


@ray.remote(num_cpus=0)
@profile_memory
class Holder:
    def __init__(self):
        self.data = bytearray(SIZE)

    def pid(self):
        return os.getpid()

    def hold(self, started):
        data = bytearray(SIZE)
        Path(started).touch()
        spin()
        return len(data)

    def leave(self):
        data = bytearray(SIZE)
        ray.actor.exit_actor()
        return len(data)


@pytest.mark.versions
def test_ray_kill_in_the_middle_of_a_method(tmp_path, wait_for):
    actor = Holder.remote()
    pid = ray.get(actor.pid.remote(), timeout=SECONDS)
    reference = actor.hold.remote(str(tmp_path / "started"))
    wait_for((tmp_path / "started").exists, SECONDS)
    ray.kill(actor)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(reference, timeout=SECONDS)
    call = assert_ends_as("killed", reference)
    assert call.pid == pid
    assert "ray.kill" in call.error
    found = calls(actor_id=actor._actor_id.hex())
    assert [(one.name, one.status) for one in found] == [
        ("Holder.__init__", "finished"),
        ("Holder.pid", "finished"),
        ("Holder.hold", "killed"),
    ]
    assert heap(found[0]).alive_at_end == pytest.approx(SIZE, rel=0.05)


def test_each_attempt_of_a_killed_task_is_a_call(tmp_path):
    @ray.remote(max_retries=1)
    @profile_memory
    def dies_once(seen):
        first = not os.path.exists(seen)
        data = bytearray(SIZE if first else 2 * SIZE)
        if first:
            Path(seen).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return len(data), os.getpid()

    reference = dies_once.remote(str(tmp_path / "seen"))
    size, pid = ray.get(reference, timeout=60)
    first, second = calls_of(reference)
    assert size == 2 * SIZE
    assert [(call.attempt, call.status) for call in (first, second)] == [(0, "killed"), (1, "finished")]
    assert second.pid == pid != first.pid
    assert first.capture != second.capture
    assert_held(first)
    assert_held(second, 2 * SIZE)


def test_each_attempt_of_a_failed_task_is_a_call(tmp_path):
    @ray.remote(max_retries=2, retry_exceptions=[UnusualError])
    @profile_memory
    def fails_twice(folder):
        tries = len(os.listdir(folder)) + 1
        data = bytearray(tries * SIZE)
        if tries < 3:
            Path(folder, str(tries)).touch()
            raise UnusualError(tries, "again")
        return len(data)

    reference = fails_twice.remote(str(tmp_path))
    assert ray.get(reference, timeout=60) == 3 * SIZE
    found = calls_of(reference)
    assert [(call.attempt, call.status) for call in found] == [(0, "failed"), (1, "failed"), (2, "finished")]
    for tries, call in enumerate(found, 1):
        assert_held(call, tries * SIZE)


def test_a_restarted_actor_has_a_new_process_and_a_new_capture(wait_for):
    actor = Holder.options(max_restarts=1, max_task_retries=3).remote()
    old = ray.get(actor.pid.remote(), timeout=SECONDS)
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: not is_alive(old), SECONDS)
    new = ray.get(actor.pid.remote(), timeout=60)
    found = calls(actor_id=actor._actor_id.hex())
    assert [(call.name, call.pid, call.status) for call in found] == [
        ("Holder.__init__", old, "finished"),
        ("Holder.pid", old, "finished"),
        ("Holder.__init__", new, "finished"),
        ("Holder.pid", new, "finished"),
    ]
    assert old != new
    files = captures(actor_id=actor._actor_id.hex())
    assert [(capture.pid, capture.status) for capture in files] == [(old, "killed"), (new, "open")]
    assert [heap(call).alive_at_end for call in found[::2]] == [pytest.approx(SIZE, rel=0.05)] * 2


@pytest.mark.versions
def test_exit_actor_is_no_failure():
    actor = Holder.remote()
    reference = actor.leave.remote()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(reference, timeout=SECONDS)
    assert_ends_as("finished", reference)


def test_exit_actor_in_an_async_actor_is_no_failure():
    @ray.remote(num_cpus=0)
    @profile_memory
    class Actor:
        async def leave(self):
            data = bytearray(SIZE)
            ray.actor.exit_actor()
            return len(data)

    actor = Actor.remote()
    reference = actor.leave.remote()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(reference, timeout=SECONDS)
    assert_ends_as("finished", reference)


# Fifty kills at moments that nobody chose

PIECE = 500_000


def delays(count, seed):
    chance = random.Random(seed)
    return [chance.uniform(0, 0.1) for _ in range(count)]


GROWING = f"""
import sys, time
from raymemprof import profile_memory

@profile_memory(directory=sys.argv[1])
def grow():
    kept = []
    while True:
        kept.append(bytearray({PIECE}))  # line: grow
        if len(kept) == 1:
            print("begun", flush=True)
        elif len(kept) > 500:
            kept.clear()

grow()
"""


def killed_without_ray(folder, delay):
    """Start a process that allocates, kill it so many seconds later; return its pid."""
    folder.mkdir()
    script = folder / "growing.py"
    script.write_text(GROWING)
    process = subprocess.Popen([sys.executable, str(script), str(folder)], stdout=subprocess.PIPE, text=True)
    with process:
        begun = process.stdout.readline()
        threading.Event().wait(delay)
        process.kill()
    assert begun == "begun\n"
    return process.pid


def assert_names_the_line(call, file, line, pid):
    assert (call.status, call.pid) == ("killed", pid)
    (top,) = heap(call).top(1)
    assert (top.file, top.line) == (str(file), line)
    assert top.bytes >= PIECE


def test_forty_processes_killed_at_random(tmp_path):
    moments = delays(40, seed=1)
    folders = [tmp_path / str(n) for n in range(len(moments))]
    with ThreadPoolExecutor(4) as threads:
        pids = list(threads.map(killed_without_ray, folders, moments))
    line = next(n for n, text in enumerate(GROWING.splitlines(), 1) if text.endswith("# line: grow"))
    for folder, pid in zip(folders, pids, strict=True):
        (call,) = calls(folder)
        assert_names_the_line(call, folder / "growing.py", line, pid)


@ray.remote(max_retries=0)
@profile_memory
def grow(begun):
    kept = []
    while True:
        kept.append(bytearray(PIECE))  # line: grow in Ray
        if len(kept) == 1:
            Path(begun).write_text("")
        elif len(kept) > 500:
            kept.clear()


def test_ten_ray_workers_killed_at_random(tmp_path, wait_for):
    text = Path(__file__).read_text().splitlines()
    line = next(n for n, text in enumerate(text, 1) if text.endswith("# line: grow in Ray"))

    def killed(number, delay):
        begun = tmp_path / f"begun-{number}"
        reference = grow.remote(str(begun))
        wait_for(begun.exists, 60)
        pid = call_of(reference).pid
        threading.Event().wait(delay)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ray.exceptions.WorkerCrashedError):
            ray.get(reference, timeout=SECONDS)
        return reference, pid

    with ThreadPoolExecutor(2) as threads:
        victims = list(threads.map(killed, range(10), delays(10, seed=2)))
    for reference, pid in victims:
        assert_names_the_line(call_of(reference), __file__, line, pid)
