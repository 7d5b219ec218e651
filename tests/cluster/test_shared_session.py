"""Nodes that share one session directory: what lies there is told of once, whoever of them lives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import raymemprof
from raymemprof import profile_memory

MIB = 2**20


@pytest.fixture(scope="module")
def shared() -> Iterator[Any]:
    import ray
    from ray.cluster_utils import Cluster

    quick_to_bury = {
        "health_check_initial_delay_ms": 500,
        "health_check_period_ms": 300,
        "health_check_failure_threshold": 5,
    }
    nodes = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "include_dashboard": False,
            "object_store_memory": 100_000_000,
            "no_monitor": True,
            "_system_config": quick_to_bury,
        },
    )
    try:
        nodes.second = nodes.add_node(num_cpus=1, resources={"second": 1}, object_store_memory=100_000_000)
        ray.init(address=nodes.address, logging_level="ERROR", log_to_driver=False)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


def test_what_is_recorded_to_a_shared_folder_is_told_once(shared: Any, wait_for: Callable[..., Any]) -> None:
    import ray

    @ray.remote(num_cpus=1)
    @profile_memory(linger=0)
    def load(size: int) -> tuple[str, str]:
        kept = bytearray(size)
        context = ray.get_runtime_context()
        return context.get_node_id(), context.get_task_id() if kept else ""

    head_id = ray.get_runtime_context().get_node_id()
    there = load.options(resources={"second": 0.1})
    here = load.options(resources={"node:__internal_head__": 0.1})
    ran = ray.get([where.remote(MIB) for where in (here, there) for _ in range(2)])
    assert len({node_id for node_id, _ in ran}) == 2
    wait_for(lambda: all(capture.status == "closed" for capture in raymemprof.captures()))

    def check() -> None:
        calls = raymemprof.calls()
        assert sorted((call.node_id, call.task_id) for call in calls) == sorted(ran)
        captures = raymemprof.captures()
        assert len({capture.path for capture in captures}) == len(captures)
        assert {capture.path for capture in captures} == {call.capture for call in calls}
        assert sum(capture.call_count for capture in captures) == len(ran)
        assert 4 * MIB <= raymemprof.heap(calls).peak < 4.4 * MIB

    check()
    assert raymemprof.calls().missing == ()
    second = next(node_id for node_id, _ in ran if node_id != head_id)
    assert len(raymemprof.calls(node_id=second)) == 2
    shared.remove_node(shared.second, allow_graceful=False)
    wait_for(lambda: not any(node["Alive"] for node in ray.nodes() if node["NodeID"] == second), 60)
    check()
    assert [node.node_id for node in raymemprof.calls().missing] == [second]
