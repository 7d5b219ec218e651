"""Ray Serve's deployments, decorated above and below `@serve.deployment`, with real replicas."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ray import cloudpickle

import raymemprof
from raymemprof import profile_memory

serve = pytest.importorskip("ray.serve")
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

MIB = 2**20


@profile_memory
@serve.deployment(ray_actor_options={"num_cpus": 0.1}, max_ongoing_requests=7)
class Above:
    def __init__(self, megabytes: int) -> None:
        self.kept = bytearray(b"1") * (megabytes * MIB)  # of the start

    def __call__(self, megabytes: int) -> int:
        return len(bytearray(b"1") * (megabytes * MIB))  # of a request

    async def later(self, megabytes: int) -> int:
        return len(bytearray(b"1") * (megabytes * MIB))


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
@profile_memory(every=1)
class Below:
    def __call__(self, megabytes: int) -> int:
        return len(bytearray(b"1") * (megabytes * MIB))


@profile_memory(heap=False)
@serve.deployment(name="renamed", ray_actor_options={"num_cpus": 0.1})
def function(megabytes: int) -> int:
    return len(bytearray(b"1") * (megabytes * MIB))


@pytest.fixture(scope="module")
def calls(cluster: Path) -> dict[str, list[raymemprof.Call]]:
    """The calls of three deployments, by name."""
    serve.start(proxy_location="Disabled", logging_config={"enable_access_log": False})
    try:
        handles = {
            one.name: serve.run(one.bind(*given), name=one.name, route_prefix=None)
            for one, given in ((Above, (20,)), (Below, ()), (function, ()))
        }
        for handle in handles.values():
            assert handle.remote(5).result(timeout_s=60) == 5 * MIB
        assert handles["Above"].later.remote(6).result(timeout_s=60) == 6 * MIB
    finally:
        serve.shutdown()
    found: dict[str, list[raymemprof.Call]] = {}
    for call in raymemprof.calls():
        found.setdefault(call.name, []).append(call)
    return found


def line_of(text: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {text}"))


def test_a_deployment_keeps_its_options() -> None:
    assert isinstance(Above, serve.Deployment)
    assert (Above.name, Above.max_ongoing_requests) == ("Above", 7)
    assert function.name == "renamed"
    assert Above.ray_actor_options["num_cpus"] == 0.1


def test_requests_and_starts_are_recorded_once_each(calls: dict[str, list[raymemprof.Call]]) -> None:
    counts = {name: len(some) for name, some in calls.items()}
    assert counts == {
        "Above.__init__": 1,
        "Above.__call__": 1,
        "Above.later": 1,
        "Below.__call__": 1,
        "function": 1,
    }


def test_their_lines_are_named(calls: dict[str, list[raymemprof.Call]]) -> None:
    for name, size, text in (("Above.__init__", 20, "of the start"), ("Above.__call__", 5, "of a request")):
        (call,) = calls[name]
        (line,) = raymemprof.heap(call).top(1)
        assert (line.line, line.bytes) == (line_of(text), pytest.approx(size * MIB, rel=0.05))


def test_options_of_the_decorator_hold(calls: dict[str, list[raymemprof.Call]]) -> None:
    (call,) = calls["function"]
    assert call.capture is None
    assert calls["Below.__call__"][0].capture is not None


def test_a_bound_application_is_refused() -> None:
    with pytest.raises(TypeError, match=r"or what @ray\.remote or @serve\.deployment made of one"):
        profile_memory(Above.bind(1))
