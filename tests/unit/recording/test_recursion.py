"""A function that calls itself goes as deep as it does without the decorator, and is one call."""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import pickle
import sys
import threading
import types
import weakref

import memray
import pytest

from raymemprof import calls, profile_memory
from raymemprof.recording import bytecode

OLD = sys.version_info < (3, 11)
HALF_THE_DEPTH = pytest.mark.skipif(OLD, reason="Python 3.10 reaches half the depth with these")


def undecorated(function):
    return function


def sampling(folder):
    return profile_memory(heap=False, directory=folder)


def tracing(folder):
    return profile_memory(directory=folder)


# Each of these makes something that counts how often it calls itself, of functions that `decorate` was put on.


def by_closure(decorate):
    @decorate
    def walk(n):
        return 1 + walk(n - 1) if n else 0

    return walk


def by_global(decorate):
    namespace = {"decorate": decorate}
    exec("@decorate\ndef walk(n, *rest, key=0, **more):\n    return 1 + walk(n - 1) if n else 0", namespace)
    return namespace["walk"]


def by_each_other(decorate):
    @decorate
    def even(n):
        return 1 + odd(n - 1) if n else 0

    @decorate
    def odd(n):
        return 1 + even(n - 1) if n else 0

    return even


def by_a_lambda(decorate):
    @decorate
    def walk(n):
        again = lambda: walk(n - 1)  # noqa: E731
        return 1 + again() if n else 0

    return walk


def by_a_comprehension(decorate):
    @decorate
    def walk(n):
        return 1 + sum(walk(below) for below in (n - 1,)) if n else 0

    return walk


def by_a_table(decorate):
    table = {}

    @decorate
    def walk(n):
        return 1 + table["walk"](n - 1) if n else 0

    table["walk"] = walk
    return walk


def by_method(decorate):
    @decorate
    class Tree:
        def walk(self, n):
            return 1 + self.walk(n - 1) if n else 0

    return Tree().walk


def by_single_method(decorate):
    class Tree:
        @decorate
        def walk(self, n):
            return 1 + self.walk(n - 1) if n else 0

    return Tree().walk


def by_other_objects(decorate):
    @decorate
    class Node:
        def walk(self, n):
            return 1 + type(self)().walk(n - 1) if n else 0

    return Node().walk


def by_inherited_method(decorate):
    class Base:
        def walk(self, n):
            return 1 + self.walk(n - 1) if n else 0

    return decorate(type("Tree", (Base,), {"__module__": __name__, "__qualname__": "<locals>.Tree"}))().walk


def by_super(decorate):
    class Base:
        def walk(self, n):
            return 1 + self.walk(n - 1) if n else 0

    @decorate
    class Tree(Base):
        def walk(self, n):
            return super().walk(n)

    return Tree().walk


def by_static_method(decorate):
    @decorate
    class Tree:
        @staticmethod
        def walk(n):
            return 1 + Tree.walk(n - 1) if n else 0

    return Tree.walk


def by_class_method(decorate):
    @decorate
    class Tree:
        @classmethod
        def walk(cls, n):
            return 1 + cls.walk(n - 1) if n else 0

    return Tree.walk


def by_generator(decorate):
    @decorate
    def walk(n):
        if n == 0:
            yield  # once, since it passes through all of them
        return 1 + (yield from walk(n - 1)) if n else 0

    def run(n):
        walking = walk(n)
        next(walking)
        try:
            next(walking)
        except StopIteration as stop:
            return stop.value

    return run


def by_coroutine(decorate):
    @decorate
    async def walk(n):
        return 1 + await walk(n - 1) if n else 0

    def run(n):
        try:
            walk(n).send(None)
        except StopIteration as stop:
            return stop.value

    return run


WAYS = [
    pytest.param(by_closure, marks=pytest.mark.versions),
    by_global,
    by_each_other,
    by_a_lambda,
    by_a_comprehension,
    by_a_table,
    pytest.param(by_method, marks=pytest.mark.versions),
    by_single_method,
    by_other_objects,
    by_inherited_method,
    by_super,
    by_static_method,
    by_class_method,
    pytest.param(by_generator, marks=[HALF_THE_DEPTH, pytest.mark.versions]),
    pytest.param(by_coroutine, marks=[HALF_THE_DEPTH, pytest.mark.versions]),
]


def deepest(count):
    """How often something can call itself within the recursion limit."""
    possible, impossible = 0, sys.getrecursionlimit()
    while impossible - possible > 1:
        n = (possible + impossible) // 2
        try:
            assert count(n) == n
            possible = n
        except RecursionError:
            impossible = n
    return possible


@pytest.fixture
def high_limit():
    """What beginning and ending a call takes is little beside it, however deep the tests themselves are."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(4 * before)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("high_limit")
@pytest.mark.parametrize("options", [sampling, tracing])
@pytest.mark.parametrize("way", WAYS)
def test_recursion_goes_as_deep_as_without(way, options, tmp_path):
    # Where a profile function is set, as memray does, Python calls some functions of C in a way that goes one deeper.
    with memray.Tracker(tmp_path / "plain.bin") if options is tracing else contextlib.nullcontext():
        plain = deepest(way(undecorated))
    (tmp_path / "plain.bin").unlink(missing_ok=True)
    depth = plain * 95 // 100
    assert way(options(tmp_path))(depth) == depth
    recorded = {call.name.rpartition(".")[2]: call.status for call in calls(tmp_path)}
    assert set(recorded.values()) == {"finished"}
    assert len(calls(tmp_path)) == len(recorded) <= 2  # `even` and `odd` are two functions


DEEP = """
import sys
import threading
from raymemprof import calls, profile_memory

def plain(n):
    return 1 + plain(n - 1) if n else 0

@profile_memory(directory="recorded", heap={heap})
def walk(n):
    return 1 + walk(n - 1) if n else 0

@profile_memory(directory="recorded", heap={heap})
class Tree:
    def walk(self, n):
        return 1 + self.walk(n - 1) if n else 0

sys.setrecursionlimit(10**6)
assert plain({depth}) == walk({depth}) == Tree().walk({depth}) == {depth}
assert [call.status for call in calls("recorded")] == ["finished", "finished"]
"""


@pytest.mark.parametrize("heap", [pytest.param(True, marks=pytest.mark.versions), False])
def test_where_plain_code_does_not_crash_recorded_code_does_not(heap, run_script):
    """Python 3.10 uses the stack of C for each call, and crashes where it ends: near 20,000 in plain code."""
    run_script(DEEP.format(heap=heap, depth=12_000 if OLD else 100_000))


@pytest.mark.versions
def test_the_name_is_the_same_while_it_runs(tmp_path):
    seen = []

    @profile_memory(directory=tmp_path)
    def walk(n):
        seen.append(walk)
        if n == 0:
            other = threading.Thread(target=lambda: seen.append(walk))
            other.start()
            other.join()
        return 1 + walk(n - 1) if n else 0

    assert walk(2) == 2
    assert len(seen) == 4
    assert all(found is walk for found in seen)


def test_another_thread_that_calls_it_meanwhile_is_a_call_of_its_own(tmp_path):
    @profile_memory(directory=tmp_path)
    def walk(n, elsewhere):
        if n == 0 and elsewhere:
            other = threading.Thread(target=walk, args=(3, False))
            other.start()
            other.join()
        return 1 + walk(n - 1, elsewhere) if n else 0

    assert walk(3, True) == 3
    assert [call.status for call in calls(tmp_path)] == ["finished", "finished"]


@pytest.mark.versions
def test_it_can_be_pickled_while_it_runs(tmp_path):
    from ray import cloudpickle

    pickled = []

    @profile_memory(directory=tmp_path)
    def walk(n):
        if n == 0:
            pickled.append(cloudpickle.dumps(walk))
        return 1 + walk(n - 1) if n else 0

    assert walk(2) == 2
    copy = pickle.loads(pickled[0])
    names = dict(zip(copy.__code__.co_freevars, (cell.cell_contents for cell in copy.__closure__), strict=True))
    assert names["walk"] is copy
    assert copy(900) == 900
    assert len(calls(tmp_path)) == 2


def test_what_it_raises_comes_through_every_level(tmp_path):
    error = ValueError("at the bottom")

    @profile_memory(directory=tmp_path)
    def walk(n):
        if n == 0:
            raise error
        return walk(n - 1)

    with pytest.raises(ValueError, match="at the bottom") as caught:
        walk(5)
    assert caught.value is error
    lines = [
        entry.name for entry in caught.traceback if entry.name == "walk" and entry.path == caught.traceback[-1].path
    ]
    assert len(lines) == 7  # six levels, and the first once more, where it was called
    assert [call.error for call in calls(tmp_path)] == ["ValueError: at the bottom"]


def test_its_local_variables_are_its_own(tmp_path):
    @profile_memory(directory=tmp_path)
    def walk(n, *, found):
        here = "here"
        found.append(dict(locals()))
        return walk(n - 1, found=found) if n else here

    found = []
    walk(1, found=found)
    assert [set(names) for names in found] == [{"n", "found", "here", "walk"}] * 2


@pytest.mark.versions
def test_a_function_that_is_defined_over_and_over_is_freed(tmp_path, wait_for):
    class Held:
        """Something that can be referred to weakly."""

    def define(held):
        @profile_memory(directory=tmp_path)
        def walk(n):
            return held and 1 + walk(n - 1) if n else 0

        return walk

    references = []
    for _ in range(3):
        held = Held()
        references.append(weakref.ref(held))

        define(held)(2)
        del held
    wait_for(lambda: gc.collect() >= 0 and [reference() for reference in references] == [None] * 3)


def test_a_wrapper_that_takes_over_the_attributes_is_recorded_too(tmp_path):
    profiled = profile_memory(directory=tmp_path)

    @profiled
    def inner():
        return 1

    @functools.wraps(inner)
    def outer():
        return inner() + 1

    assert profiled(outer) is not outer
    assert profiled(outer)() == 2
    assert len(calls(tmp_path)) == 2
    assert profiled(inner) is inner


@pytest.mark.parametrize("way", [by_closure, by_method, by_generator, by_coroutine])
def test_on_a_python_whose_code_is_not_known_every_call_goes_through_a_wrapper(way, tmp_path, monkeypatch):
    monkeypatch.setattr(bytecode, "_NEWEST", (3, 9))
    assert way(tracing(tmp_path))(200) == 200
    assert [call.status for call in calls(tmp_path)] == ["finished"]


@pytest.mark.versions
def test_a_copy_of_its_code_runs_by_itself(tmp_path):
    from ray import cloudpickle

    def add(a, b):
        return a + b

    code = profile_memory(directory=tmp_path)(add).__code__
    del add
    gc.collect()
    bare = types.FunctionType(code, {"__builtins__": __builtins__}, "bare")
    assert bare(1, 2) == pickle.loads(cloudpickle.dumps(bare))(1, 2) == 3
    assert list(calls(tmp_path)) == []


def test_a_recorded_function_that_takes_over_anothers_attributes_stays_recorded(tmp_path):
    profiled = profile_memory(directory=tmp_path)

    @profiled
    def first():
        return "first"

    @functools.wraps(first)
    @profiled
    def second():
        return "second"

    assert profiled(second) is second
    assert second() == "second"
    assert [call.name.rpartition(".")[2] for call in calls(tmp_path)] == ["second"]


def test_where_no_frames_are_left_to_record_it_the_call_runs(tmp_path, caplog, wait_for):
    """Recording needs some frames of its own; a call for which there are not enough runs, and that is said."""

    @profile_memory(directory=tmp_path)
    def leaf():
        return 1

    def down(n, call):
        return down(n - 1, call) if n else call()

    plain = deepest(lambda n: n if down(n, lambda: True) else None)
    with caplog.at_level(logging.WARNING, "raymemprof"):
        for depth in range(plain - 100, plain - 5):
            assert down(depth, leaf) == 1
        wait_for(lambda: "recursion limit" in caplog.text)
    recorded = calls(tmp_path)
    assert 20 < len(recorded) < 95
    assert {(call.status, call.note) for call in recorded} == {("finished", None)}


IN_A_WORKER = """
import ray
from raymemprof import calls, profile_memory

def plain(n):
    return 1 + plain(n - 1) if n else 0

@profile_memory
def walk(n):
    return 1 + walk(n - 1) if n else 0

class Plain:
    def walk(self, n):
        return 1 + self.walk(n - 1) if n else 0

def deepest(count):
    possible, impossible = 0, 2000
    while impossible - possible > 1:
        n = (possible + impossible) // 2
        try:
            count(n)
            possible = n
        except RecursionError:
            impossible = n
    return possible

@ray.remote
def depth(count):
    return deepest(count)

@ray.remote
class Actor:
    def deepest(self):
        return deepest(self.walk)

    def walk(self, n):
        return 1 + self.walk(n - 1) if n else 0

@ray.remote
@profile_memory
class Recorded:
    def walk(self, n):
        return 1 + self.walk(n - 1) if n else 0

ray.init(log_to_driver=False, logging_level="ERROR")
limit = ray.get(depth.remote(plain)) * 95 // 100
task = ray.remote(walk)
assert ray.get(task.remote(limit)) == limit
assert ray.get(ray.remote(lambda n: walk(n)).remote(limit)) == limit
limit = ray.get(Actor.remote().deepest.remote()) * 95 // 100
assert ray.get(Recorded.remote().walk.remote(limit)) == limit
found = calls(job_id=ray.get_runtime_context().get_job_id())
print(sorted((call.name, call.status, call.note) for call in found))
"""


def test_in_a_worker(cluster, run_script):
    """Where Ray makes the function anew, with globals of its own."""
    import ray

    printed = run_script(IN_A_WORKER, RAY_ADDRESS=ray.get_runtime_context().gcs_address)
    names = ["Recorded.walk", "walk", "walk"]
    assert printed.splitlines()[-1] == str([(name, "finished", None) for name in names])
