"""Each kind of callable stays what it is, wherever it is defined and in whichever order it is decorated."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import os
import pickle
import re
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

from raymemprof import calls, heap, profile_memory, speedscope
from tests.paths import PROGRAMS

PROGRAM = PROGRAMS / "kinds_program.py"
KINDS = (
    "function",
    "generator",
    "method",
    "generator method",
    "static method",
    "class method",
    "inherited method",
    "two returns",
    "async method",
    "async generator method",
    "concurrency group, first",
    "concurrency group, second",
    "Actor.__init__",
    "Groups.__init__",
)
STREAMS = ("generator", "generator method", "async generator method")
WAYS = [
    pytest.param("script", "below", marks=pytest.mark.versions, id="script-below"),
    pytest.param("script", "above", marks=pytest.mark.rays, id="script-above"),
    *[
        pytest.param(place, order, id=f"{place}-{order}")
        for place in ("module", "notebook")
        for order in ("below", "above")
    ],
]
ways = pytest.mark.parametrize(("place", "order"), WAYS)


def program(order):
    """The program with `@profile_memory` below `@ray.remote`, as it is written, above it, or not there ("bare")."""
    replacement = {"below": r"\1\2", "above": r"\2\1", "bare": r"\1"}[order]
    text, count = re.subn(r"(@ray\.remote.*\n)(@profile_memory\n)", replacement, PROGRAM.read_text())
    assert count == 5
    return text


def run_script(folder, env):
    subprocess.run([sys.executable, "kinds.py"], check=True, timeout=120, cwd=folder, env=env)


def run_module(folder, env):
    (folder / "main.py").write_text("import kinds\nkinds.main()\n")
    subprocess.run([sys.executable, "main.py"], check=True, timeout=120, cwd=folder, env=env)


def run_notebook(folder, env):
    import nbclient
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell((folder / "kinds.py").read_text())])
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=env)


@pytest.fixture(scope="module")
def ran(cluster, tmp_path_factory):
    """A function that runs the program in one of the ways, once, and returns what it wrote down."""
    import ray

    env = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}

    @functools.cache
    def run(place, order):
        folder = tmp_path_factory.mktemp(f"{place}-{order}")
        (folder / "kinds.py").write_text(program(order))
        {"script": run_script, "module": run_module, "notebook": run_notebook}[place](folder, env)
        return json.loads((folder / "outcome.json").read_text())

    return run


def labelled(outcomes, label):
    (found,) = [outcome for outcome in outcomes if outcome["label"] == label]
    return found


@ways
@pytest.mark.parametrize("kind", KINDS)
def test_a_result_is_what_it_is_without_the_decorator(ran, place, order, kind):
    undecorated = labelled(ran("script", "bare")["outcomes"], kind)
    decorated = labelled(ran(place, order)["outcomes"], kind)
    assert decorated["submitted"] == undecorated["submitted"]
    assert decorated["values"] == undecorated["values"]
    if kind in STREAMS:
        assert decorated["values"][1][-1] == "'second, made after the first was received'"


@ways
@pytest.mark.parametrize("kind", KINDS)
def test_an_execution_is_one_call_that_says_who_ran_it(ran, place, order, kind):
    expected = labelled(ran(place, order)["outcomes"], kind)["call"]
    (call,) = [call for call in ran(place, order)["calls"] if call["task_id"] == expected["task_id"]]
    assert {key: call[key] for key in expected} == expected
    assert call["capture"] is not None
    assert call["note"] is None
    assert call["error"] is None


@ways
def test_nothing_else_is_a_call(ran, place, order):
    ids = [call["task_id"] for call in ran(place, order)["calls"]]
    assert sorted(ids) == sorted(outcome["call"]["task_id"] for outcome in ran(place, order)["outcomes"])


def test_without_the_decorator_nothing_is_recorded(ran):
    assert ran("script", "bare")["calls"] == []


# Without Ray: what the decorator leaves behind is what was there.


def near(size):
    """Equal to within the mebibyte that Python takes at a time for small objects."""
    return pytest.approx(size, abs=2**20 + 2**16)


@pytest.fixture
def profiled(tmp_path):
    """The decorator, recording to the test's own folder."""
    return profile_memory(directory=tmp_path)


def names(folder):
    return [call.name for call in calls(folder)]


def plain(a: int, /, b: str = "b", *rest: int, key: float, **more: int) -> list[int]:
    """What it is for."""
    return [a]


def generating(a: int, *, key: str = "k"):
    """What it is for."""
    yield a


async def waiting(a: int, *, key: str = "k") -> int:
    """What it is for."""
    return a


async def streaming(a: int, *, key: str = "k"):
    """What it is for."""
    yield a


CALLABLES = (plain, generating, waiting, streaming)


@pytest.mark.versions
@pytest.mark.parametrize("function", CALLABLES)
def test_inspect_sees_no_difference(function, profiled):
    decorated = profiled(function)
    assert decorated is not function
    for question in (
        inspect.isfunction,
        inspect.isgeneratorfunction,
        inspect.iscoroutinefunction,
        inspect.isasyncgenfunction,
        inspect.signature,
        inspect.getdoc,
        inspect.getsource,
    ):
        assert question(decorated) == question(function), question
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(decorated, attribute) == getattr(function, attribute)


@profile_memory
def referenced():
    return "referenced"


@profile_memory
class Referenced:
    def __init__(self, number):
        self.number = number


@pytest.mark.parametrize("thing", [referenced, Referenced])
def test_what_a_module_defines_is_pickled_by_reference(thing):
    data = pickle.dumps(thing)
    assert len(data) < 100
    assert pickle.loads(data) is thing


def test_an_instance_of_a_decorated_class_can_be_pickled(monkeypatch, tmp_path):
    monkeypatch.setenv("RAYMEMPROF_ENABLED", "0")
    copy = pickle.loads(pickle.dumps(Referenced(3)))
    assert type(copy) is Referenced
    assert copy.number == 3


def test_decorating_twice_is_decorating_once(profiled, tmp_path):
    profiled(profiled(plain))(1, key=1.0)
    assert names(tmp_path) == ["plain"]


def test_options_may_be_given_with_or_without_being_called(tmp_path):
    @profile_memory()
    def called():
        return 1

    @profile_memory
    def uncalled():
        return 2

    assert called.__name__ == "called"
    assert uncalled.__name__ == "uncalled"


# Generators


def echo():
    """Says what it was sent or thrown, and returns how often."""
    count, answer = 0, "ready"
    while True:
        try:
            sent = yield answer
            answer = f"sent {sent}"
        except KeyError as error:
            answer = f"thrown {error}"
        count += 1
        if count == 3:
            return count


@pytest.mark.versions
def test_a_generator_can_be_sent_to_and_thrown_into_and_returns(profiled):
    def delegate():
        result = yield from profiled(echo)()
        yield f"returned {result}"

    generator = delegate()
    assert next(generator) == "ready"
    assert generator.send(1) == "sent 1"
    assert generator.throw(KeyError("k")) == "thrown 'k'"
    assert next(generator) == "returned 3"
    with pytest.raises(StopIteration):
        next(generator)


def test_what_a_generator_raises_comes_through(profiled, tmp_path):
    generator = profiled(echo)()
    next(generator)
    error = ValueError("not caught in there")
    with pytest.raises(ValueError, match="not caught in there") as caught:
        generator.throw(error)
    assert caught.value is error
    (call,) = calls(tmp_path)
    assert (call.status, call.error) == ("failed", "ValueError: not caught in there")


def test_a_closed_generator_cleans_up_and_is_finished(profiled, tmp_path):
    cleaned = []

    @profiled
    def numbers():
        try:
            yield 1
            yield 2
        finally:
            cleaned.append(True)

    generator = numbers()
    assert next(generator) == 1
    generator.close()
    assert cleaned == [True]
    assert [call.status for call in calls(tmp_path)] == ["finished"]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="close() returns None before Python 3.13")
@pytest.mark.versions
def test_close_returns_what_the_generator_returns(profiled):
    @profiled
    def counting():
        try:
            yield 1
        except GeneratorExit:
            return "closed"

    generator = counting()
    next(generator)
    assert generator.close() == "closed"


def test_a_generator_that_ignores_being_closed_is_an_error_as_ever(profiled):
    @profiled
    def stubborn():
        try:
            yield 1
        except GeneratorExit:
            yield 2

    generator = stubborn()
    next(generator)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        generator.close()


def test_a_generator_that_is_never_started_is_no_call(profiled, tmp_path):
    profiled(echo)().close()
    assert not list(tmp_path.glob("*.jsonl"))


class Item:
    """Something that can be referred to weakly."""


@pytest.mark.versions
def test_a_suspended_generator_does_not_keep_what_it_yielded(profiled):
    @profiled
    def items():
        yield Item()
        yield None

    generator = items()
    item = next(generator)
    reference = weakref.ref(item)
    del item
    assert reference() is None
    generator.close()


def test_a_suspended_generator_does_not_keep_what_it_was_sent(profiled):
    @profiled
    def forgetful():
        yield (yield) and None

    generator = forgetful()
    next(generator)
    item = Item()
    reference = weakref.ref(item)
    generator.send(item)
    del item
    assert reference() is None
    generator.close()


def test_generators_in_turns_are_calls_of_their_own(profiled, tmp_path):
    @profiled
    def holding(size):
        kept = bytearray(size)
        yield len(kept)
        yield len(kept)

    sizes = [10_000_000, 30_000_000, 20_000_000]
    assert list(zip(*map(holding, sizes), strict=True)) == [tuple(sizes), tuple(sizes)]
    assert [heap(call).peak for call in calls(tmp_path)] == [near(size) for size in sizes]


# Async generators and coroutines


async def async_echo():
    """Says what it was sent or thrown."""
    answer = "ready"
    while answer != "sent last":
        try:
            answer = f"sent {(yield answer)}"
        except KeyError as error:
            answer = f"thrown {error}"
        await asyncio.sleep(0)


@pytest.mark.versions
def test_an_async_generator_can_be_sent_to_and_thrown_into(profiled, tmp_path):
    async def use():
        generator = profiled(async_echo)()
        assert await generator.__anext__() == "ready"
        assert await generator.asend(1) == "sent 1"
        assert await generator.athrow(KeyError("k")) == "thrown 'k'"
        with pytest.raises(StopAsyncIteration):
            await generator.asend("last")

    asyncio.run(use())
    assert [(call.name, call.status) for call in calls(tmp_path)] == [("async_echo", "finished")]


def test_a_closed_async_generator_cleans_up_and_is_finished(profiled, tmp_path):
    cleaned = []

    @profiled
    async def numbers():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    async def use():
        generator = numbers()
        assert await generator.__anext__() == 1
        await generator.aclose()

    asyncio.run(use())
    assert cleaned == [True]
    assert [call.status for call in calls(tmp_path)] == ["finished"]


def test_a_suspended_async_generator_does_not_keep_what_it_yielded(profiled):
    @profiled
    async def items():
        yield Item()
        yield None

    async def use():
        generator = items()
        item = await generator.__anext__()
        reference = weakref.ref(item)
        del item
        kept = reference()
        await generator.aclose()
        return kept

    assert asyncio.run(use()) is None


def test_a_cancelled_coroutine_is_cancelled(profiled, tmp_path):
    @profiled
    async def forever():
        await asyncio.Event().wait()

    async def use():
        task = asyncio.ensure_future(forever())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(use())
    assert [call.status for call in calls(tmp_path)] == ["cancelled"]


# What is one call, and what is several


def test_recursion_is_one_call(profiled, tmp_path):
    @profiled
    def factorial(n):
        return n * factorial(n - 1) if n else 1

    assert factorial(5) == 120
    assert len(calls(tmp_path)) == 1


def test_recursion_of_a_generator_is_one_call(profiled, tmp_path):
    @profiled
    def down(n):
        yield n
        if n:
            yield from down(n - 1)

    assert list(down(3)) == [3, 2, 1, 0]
    assert len(calls(tmp_path)) == 1


def test_a_coroutine_that_outlives_the_call_it_was_made_in_is_a_call_of_its_own(profiled, tmp_path):
    @profiled
    class Actor:
        async def start(self):
            self.task = asyncio.create_task(self.background())

        async def background(self):
            await asyncio.sleep(0)
            return "done"

    tasks = []

    @profiled
    async def tick(n):
        if n:
            tasks.append(asyncio.create_task(tick(n - 1)))

    async def use():
        actor = Actor()
        await actor.start()
        assert await actor.task == "done"
        await tick(2)
        while tasks:
            await tasks.pop()

    asyncio.run(use())
    found = [name.rpartition("<locals>.")[2] for name in names(tmp_path)]
    assert found == ["Actor.start", "Actor.background", "tick", "tick", "tick"]


def test_a_generator_that_outlives_the_call_it_was_made_in_is_a_call_of_its_own(profiled, tmp_path):
    @profiled
    class Actor:
        def start(self):
            return self.numbers()

        def numbers(self):
            yield 1

    assert list(Actor().start()) == [1]
    assert [name.rpartition(".")[2] for name in names(tmp_path)] == ["start", "numbers"]


def test_one_function_calling_another_is_two_calls(profiled, tmp_path):
    @profiled
    def inner():
        return bytearray(10_000_000)

    @profiled
    def outer():
        return bytearray(20_000_000), inner()

    outer()
    found = {call.name.rpartition(".")[2]: heap(call).peak for call in calls(tmp_path)}
    assert found == {"outer": near(30_000_000), "inner": near(10_000_000)}


@pytest.mark.versions
def test_a_method_that_calls_another_is_one_call(profiled, tmp_path):
    @profiled
    class Actor:
        def __init__(self):
            self.prepare()

        def prepare(self):
            self.ready = True

        def work(self):
            return self.step() + self.step()

        def step(self):
            return 1

    assert Actor().work() == 2
    assert [(call.name.rpartition("<locals>.")[2], call.kind) for call in calls(tmp_path)] == [
        ("Actor.__init__", "actor"),
        ("Actor.work", "method"),
    ]


def test_a_method_of_another_object_is_a_call_of_its_own(profiled, tmp_path):
    @profiled
    class Node:
        def depth(self, below=None):
            return 1 + (below.own() if below else 0)

        def own(self):
            return 1

    assert Node().depth(Node()) == 2
    assert [name.rpartition(".")[2] for name in names(tmp_path)] == ["depth", "own"]


def test_threads_are_calls_of_their_own(profiled, tmp_path):
    both = threading.Barrier(2)
    meet = profiled(lambda: both.wait(10))
    threads = [threading.Thread(target=meet) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [call.status for call in calls(tmp_path)] == ["finished", "finished"]


@pytest.mark.versions
def test_blocks_in_blocks_each_have_their_own(tmp_path):
    with profile_memory("outer", directory=tmp_path):
        first = bytearray(20_000_000)
        with profile_memory("inner", directory=tmp_path):
            second = bytearray(10_000_000)
        del first, second
    found = {call.name: (call.kind, call.status, heap(call).peak) for call in calls(tmp_path)}
    assert found == {
        "outer": ("block", "finished", near(30_000_000)),
        "inner": ("block", "finished", near(10_000_000)),
    }


def test_the_stack_of_a_block_begins_in_the_function_it_stands_in(profiled, tmp_path):
    @profiled
    def work():
        with profile_memory("block", directory=tmp_path):
            return len(bytearray(b"1") * 20_000_000)

    work()
    (block,) = [call for call in calls(tmp_path) if call.name == "block"]
    report = speedscope(block, tmp_path / "block.json")
    frames = json.loads(report.path.read_text())["shared"]["frames"]
    assert {Path(frame["file"]).name for frame in frames} <= {Path(__file__).name, ""}


def test_an_exception_passes_through_a_block(tmp_path):
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught, profile_memory("block", directory=tmp_path):
        raise error
    assert caught.value is error
    assert [(call.status, call.error) for call in calls(tmp_path)] == [("failed", "ValueError: mine")]


def test_a_block_without_a_label_is_named_for_its_place(tmp_path):
    with profile_memory(directory=tmp_path):
        line = inspect.currentframe().f_lineno - 1
    assert names(tmp_path) == [f"test_a_block_without_a_label_is_named_for_its_place:{line}"]


# Targets and options


@pytest.mark.parametrize("target", [3, len, functools.partial(plain, 1), staticmethod(plain), [plain]])
def test_what_cannot_be_decorated_is_a_type_error(target):
    with pytest.raises(TypeError, match="cannot decorate"):
        profile_memory(target)


def test_a_label_is_not_for_decorating():
    with pytest.raises(TypeError, match="has a label"):
        profile_memory("load")(plain)


def test_an_unknown_option_is_a_type_error():
    with pytest.raises(TypeError, match="colour"):
        profile_memory(colour="red")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("enabled", "maybe"),
        ("heap", 2),
        ("native", "perhaps"),
        ("python_allocators", []),
        ("follow_fork", "?"),
        ("interval_ms", 0),
        ("interval_ms", "fast"),
        ("interval_ms", float("nan")),
        ("linger", -1),
        ("linger", True),
        ("every", 0),
        ("every", 1.5),
        ("every", float("inf")),
        ("keep", 0),
        ("keep", float("inf")),
        ("max_bytes", "lots"),
        ("max_bytes", 0),
        ("max_bytes", "1.2.3GiB"),
        ("directory", ""),
        ("directory", 7),
    ],
)
def test_a_bad_value_is_a_value_error_that_names_the_option(option, value):
    with pytest.raises(ValueError, match=f"{option} .*must|{option} could not"):
        profile_memory(**{option: value})


@pytest.mark.parametrize("variable", ["EVERY=inf", "LINGER=soon", "HEAP=perhaps", "MAX_BYTES=lots"])
def test_a_bad_variable_is_passed_over(variable, profiled, tmp_path, monkeypatch):
    name, value = variable.split("=")
    monkeypatch.setenv(f"RAYMEMPROF_{name}", value)
    profiled(plain)(1, key=1.0)
    assert [(call.name, call.note) for call in calls(tmp_path)] == [("plain", None)]


@pytest.mark.parametrize("target", [*CALLABLES, Item])
def test_disabled_returns_the_very_same_thing(target):
    assert profile_memory(enabled=False)(target) is target
    assert profile_memory(target, enabled=False) is target


# One method of an actor


@pytest.mark.usefixtures("cluster")
def test_single_methods_of_an_actor():
    """What `@ray.method` says holds above and below, and the calls are the actor's, in one capture."""
    import ray
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

    class Actor:
        def __init__(self):
            self.kept = []

        @ray.method(num_returns=2)
        @profile_memory
        def above(self, first, *, second=2):
            return first, second

        @profile_memory
        @ray.method(num_returns=2)
        def below(self, first, *, second=2):
            return first, second

        @profile_memory
        def grow(self):
            self.kept.append(bytearray(b"1") * 8_000_000)
            time.sleep(0.3)  # longer than tracing lingers for tasks

        @profile_memory
        async def wait(self):
            return 3

        @staticmethod
        @profile_memory
        def helper(self_is_no_object):
            return self_is_no_object

    assert str(inspect.signature(Actor.above)) == "(self, first, *, second=2)"
    assert Actor.helper(1) == 1
    actor = ray.remote(Actor).options(max_concurrency=1).remote()
    for method in (actor.above, actor.below):
        assert ray.get(method.remote(1, second=5)) == [1, 5]
    for _ in range(4):
        ray.get(actor.grow.remote())
    assert ray.get(actor.wait.remote()) == 3
    found = calls(actor_id=actor._actor_id.hex())
    assert {call.kind for call in found} == {"method"}
    assert [call.name.rpartition(".")[2] for call in found] == ["above", "below", *["grow"] * 4, "wait"]
    assert len({call.capture for call in found}) == 1
    ray.kill(actor)
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
