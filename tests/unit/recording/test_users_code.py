"""The user's code in Ray's libraries: where Ray is patched, and the user's function below functions of Ray's."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from raymemprof import profile_memory
from raymemprof.cluster import libraries
from raymemprof.cluster.libraries import USERS_CODE, UsersCode
from raymemprof.recording.undecorated.rays_own import known_class
from raymemprof.recording.undecorated.users_code import UsersCode as Recorder
from raymemprof.recording.wrappers import is_recorded


def double(config: dict[str, Any]) -> int:
    return 2 * int(config["number"])


class Trainer:
    def double(self, config: dict[str, Any]) -> int:
        return 2 * int(config["number"])


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Recorder:
    monkeypatch.setenv("RAYMEMPROF_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("RAYMEMPROF_HEAP", "0")
    return Recorder(lambda *names: True, is_recorded)


@pytest.mark.versions
@pytest.mark.rays
@pytest.mark.parametrize("one", USERS_CODE, ids=[one.library for one in USERS_CODE])
def test_ray_has_what_is_patched(one: UsersCode) -> None:
    """Where this fails, Ray has moved it: look where it hands over the user's code now."""
    try:
        place: Any = importlib.import_module(one.module)
    except (ImportError, TypeError) as error:  # Serve of Ray 2.49, with today's protobuf
        pytest.skip(f"this library cannot be imported here: {error}")
    for name in one.function.split("."):
        place = getattr(place, name)
    assert one.parameter in inspect.signature(place).parameters


@pytest.mark.parametrize("names", [[], ["Runner"], ["Runner", "run"]], ids=["no class", "no method", "no parameter"])
def test_what_ray_has_moved_is_told_and_left_alone(names: list[str]) -> None:
    module = types.ModuleType("library")
    if names:
        module.Runner = type("Runner", (), {name: lambda self, other: other for name in names[1:]})  # type: ignore[attr-defined]
    said: list[str] = []
    one = UsersCode("Serve", "library", "Runner.run", "target")
    libraries._patch(one, lambda given: None, said.append)(module)
    assert said == ["Runner.run(target=) of Ray Serve"]
    if "run" in names:
        assert module.Runner().run(3) == 3


@pytest.mark.parametrize("call", [lambda run: run("a"), lambda run: run(target="a")], ids=["position", "keyword"])
def test_what_is_handed_over_is_changed(call: Callable[[Any], Any]) -> None:
    module = types.ModuleType("library")
    module.Runner = type("Runner", (), {"run": lambda self, target: target})  # type: ignore[attr-defined]
    libraries._patch(UsersCode("Train", "library", "Runner.run", "target"), str.upper, pytest.fail)(module)
    assert call(module.Runner().run) == "A"


def of_train(function: Callable[..., Any]) -> Callable[..., Any]:
    from ray.train._internal.utils import construct_train_func

    return construct_train_func(function, {"number": 3}, contextlib.nullcontext)


def of_train_2(function: Callable[..., Any]) -> Callable[..., Any]:
    from ray.train.v2._internal.util import construct_train_func

    return construct_train_func(function, {"number": 3}, contextlib.nullcontext)


def calls_of(folder: Any) -> list[str]:
    import raymemprof

    return [call.name for call in raymemprof.calls(folder)] if any(folder.iterdir()) else []


@pytest.mark.parametrize("around", [of_train, of_train_2])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: double, "double"),
        (lambda: functools.partial(double), "double"),
        (lambda: Trainer().double, "Trainer.double"),
        (lambda: profile_memory(double), "double"),
    ],
    ids=["function", "partial", "method", "decorated"],
)
def test_a_train_function_is_recorded_once(
    recorder: Recorder, tmp_path: Any, around: Any, make: Callable[[], Any], name: str
) -> None:
    try:
        given = around(make())
    except AttributeError:
        pytest.skip("Ray takes no such function")
    made = recorder.recorded(given)
    assert made() == 6
    assert calls_of(tmp_path) == [name]
    assert not is_recorded(double)


def test_a_trial_is_recorded(recorder: Recorder, tmp_path: Any) -> None:
    """An actor may be used again for the next trial."""
    from ray.tune.trainable.function_trainable import wrap_function

    def trial(config: dict[str, Any]) -> None:
        double(config)

    trainable = wrap_function(trial)
    runs = trainable.__new__(trainable)
    for _ in range(2):
        given = lambda: runs._trainable_func({"number": 3})  # noqa: E731  # as Tune has it
        given = types.FunctionType(
            given.__code__, {"__name__": "ray.tune.trainable.function_trainable"}, "given", None, given.__closure__
        )
        assert recorder.recorded(given) is given
        with contextlib.suppress(AttributeError):  # there is no session to report to
            given()
    assert [name.rpartition(".")[2] for name in calls_of(tmp_path)] == ["trial", "trial"]


def test_what_is_not_wanted_runs_as_it_is(recorder: Recorder, tmp_path: Any) -> None:
    excluding = Recorder(lambda *names: "double" not in names, is_recorded)
    assert excluding.recorded(of_train(double))() == 6
    assert calls_of(tmp_path) == []


def test_actors_are_known_by_the_users_class() -> None:
    from ray import tune

    class Trial(tune.Trainable):
        def step(self) -> dict[str, Any]:
            return {}

    derived = tune.with_resources(tune.with_parameters(Trial, data=1), {"CPU": 1})
    assert known_class(derived) is Trial
    assert known_class(Trial) is Trial


def test_routes_of_fastapi_are_recorded(recorder: Recorder, tmp_path: Any) -> None:
    """FastAPI has the functions themselves; where one cannot be recorded, the requests are."""
    namespace: dict[str, Any] = {"__name__": "ray.serve._private.http_util"}
    exec("class Ingress:\n    async def __call__(self, scope): return await self.items()", namespace)

    class Api(namespace["Ingress"]):  # type: ignore[misc]
        def number(self) -> int:
            return 4

        async def items(self) -> int:
            return 5

    routed = [Api.number, Api.items]
    for function in routed:
        function._serve_cls = Api  # type: ignore[attr-defined]
    api = recorder.recorded(Api)()
    assert routed[0](api) == 4
    assert asyncio.run(api({})) == 5
    expected = ["number", "__call__" if sys.version_info < (3, 11) else "items"]
    assert [name.rpartition(".")[2] for name in calls_of(tmp_path)] == expected
    assert str(inspect.signature(routed[0])) == "(self) -> 'int'"


def test_a_deployment_is_recorded(recorder: Recorder, tmp_path: Any) -> None:
    """A class that others know by its name stays what it is."""
    made = recorder.recorded(Trainer)
    assert made().double({"number": 4}) == 8
    assert calls_of(tmp_path) == ["Trainer.double"]
    assert not is_recorded(Trainer.double)
