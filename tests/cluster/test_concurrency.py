"""Calls that run at the same time in one process share a capture, and each keeps an account of its own."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest
import ray
from ray import cloudpickle

from raymemprof import calls, captures, heap, profile_memory

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

pytestmark = pytest.mark.usefixtures("cluster")
THREADS = 8
COROUTINES = 50
STEP = 3_000_000
NEAR = 2**20 + 2**16
"""Python takes memory for small objects a mebibyte at a time, which falls to the call that needs the next one."""


@ray.remote(max_concurrency=THREADS, num_cpus=0)
@profile_memory
class Threaded:
    def __init__(self):
        self.all_here = threading.Barrier(THREADS)

    def hold(self, size):
        self.all_here.wait(30)
        data = bytes(size)
        self.all_here.wait(30)  # all hold theirs now
        return len(data)

    def stream(self, size):
        self.all_here.wait(30)
        data = bytes(size)
        yield len(data)
        self.all_here.wait(30)
        yield len(data)


@ray.remote(max_concurrency=COROUTINES, num_cpus=0)
@profile_memory
class Interleaved:
    def __init__(self):
        self.arrived = 0
        self.all_here = asyncio.Event()

    async def meet(self):
        self.arrived += 1
        if self.arrived == COROUTINES:
            self.all_here.set()
        await asyncio.wait_for(self.all_here.wait(), 60)

    async def hold(self, size):
        first = bytes(size // 2)
        await self.meet()
        second = bytes(size // 2)
        for _ in range(3):
            await asyncio.sleep(0)
        return len(first) + len(second)

    async def stream(self, size):
        first = bytes(size // 2)
        yield len(first)
        await self.meet()
        second = bytes(size // 2)
        yield len(second)


def sizes(count):
    """Sizes that no mix of two calls' allocations comes near; `bytes` of them is asked for and never touched."""
    return [STEP * n for n in range(1, count + 1)]


def assert_each_has_its_own(task_ids, expected, actor, every=1):
    """Look at the calls of these tasks: at their sum, and at each by itself (or one in so many, to be quick)."""
    own = []
    for task_id in task_ids:
        (call,) = calls(task_id=task_id.hex())
        assert (call.status, call.note, call.within) == ("finished", None, "")
        own.append(call)
    together = heap(own)
    assert together.call_count == len(expected)
    assert together.peak + together.reserved == pytest.approx(sum(expected), rel=0.05)
    for call, size in list(zip(own, expected, strict=True))[::every]:
        held = heap(call)
        assert held.peak + held.reserved == pytest.approx(size, abs=NEAR)
        assert sum(line.bytes for line in held.top(1_000)) == held.peak
    (capture,) = captures(actor_id=actor._actor_id.hex())
    assert capture.call_count == len(expected) + 1  # and `__init__`


def test_a_threaded_actors_calls():
    actor = Threaded.remote()
    expected = sizes(THREADS)
    references = [actor.hold.remote(size) for size in expected]
    assert ray.get(references, timeout=60) == expected
    assert_each_has_its_own([reference.task_id() for reference in references], expected, actor)


def test_a_threaded_actors_generators():
    actor = Threaded.remote()
    expected = sizes(THREADS)
    streams = [actor.stream.remote(size) for size in expected]
    items = [list(stream) for stream in streams]
    assert [ray.get(item, timeout=60) for item in items] == [[size, size] for size in expected]
    assert_each_has_its_own([item[0].task_id() for item in items], expected, actor)


def test_an_async_actors_calls():
    actor = Interleaved.remote()
    expected = sizes(COROUTINES)
    references = [actor.hold.remote(size) for size in expected]
    assert ray.get(references, timeout=90) == expected
    assert_each_has_its_own([reference.task_id() for reference in references], expected, actor)


def test_an_async_actors_generators():
    actor = Interleaved.remote()
    expected = sizes(COROUTINES)
    streams = [actor.stream.remote(size) for size in expected]
    items = [list(stream) for stream in streams]
    assert [sum(ray.get(item, timeout=90)) for item in items] == expected
    assert_each_has_its_own([item[0].task_id() for item in items], expected, actor, every=7)


@profile_memory
def load(size):
    return len(bytes(size))


@ray.remote(num_cpus=0)
@profile_memory
def part(size):
    return load(size)


@ray.remote(num_cpus=0)
@profile_memory
def whole(size):
    return load(size) + ray.get(part.remote(size))


def test_what_runs_within_another_call_of_its_task_is_told_apart():
    """So that `advise()` does not take it for a task of its own where only sums of the calls are left."""
    assert ray.get(whole.remote(STEP), timeout=60) == 2 * STEP
    within = {(call.name, call.within) for name in ("whole", "part", "load") for call in calls(name=name)}
    assert within == {("whole", ""), ("part", ""), ("load", "whole"), ("load", "part")}


@ray.remote(num_cpus=0)
@profile_memory
class Stage:
    def work(self, size):
        return len(bytes(size))


def is_tracing(actor):
    from raymemprof.recording.tracker import tracker

    return tracker.open_capture() is not None


def test_the_loop_of_a_compiled_graph_is_not_traced(wait_for):
    """There Ray imports PyTorch, if it is installed, which takes thrice as long while memray traces."""
    from ray.dag import InputNode

    stage = Stage.remote()
    assert ray.get(stage.work.remote(STEP)) == STEP
    assert ray.get(stage.__ray_call__.remote(is_tracing))  # as between other calls of an actor
    with InputNode() as size:
        graph = stage.work.bind(size).experimental_compile()
    try:
        wait_for(lambda: not ray.get(stage.__ray_call__.remote(is_tracing)))
        assert ray.get(graph.execute(2 * STEP), timeout=60) == 2 * STEP
        assert ray.get(stage.__ray_call__.remote(is_tracing))
    finally:
        graph.teardown()
    held = [heap(call) for call in calls(name="Stage.work", actor_id=stage._actor_id.hex())]
    assert sorted(one.peak + one.reserved for one in held) == pytest.approx([STEP, 2 * STEP], abs=NEAR)
