"""watch() on several nodes: one joins, and is lost."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import ray

import raymemprof
from tests.programs.several_nodes import Nodes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@ray.remote(num_cpus=0)
def holds(size: int, seconds: float) -> int:
    kept = b"1" * size
    time.sleep(seconds)
    return len(kept)


def on(node: str, **options: Any) -> Any:
    return holds.options(resources={node: 1}, **options)


def test_nodes_come_and_go(nodes: Nodes, wait_for: Callable[..., Any]) -> None:
    with raymemprof.watch() as watch:
        assert set(watch.node_ids) == {node.node_id for node in nodes.nodes}
        ray.get([on(name).remote(100_000_000, 2.5) for name in ("one", "two")])
        nodes.start("four")
        nodes.learn()
        wait_for(lambda: nodes["four"].node_id in watch.node_ids, 60)
        ray.get(on("four", name="on_four").remote(200_000_000, 2.5))
        seen = watch.peaks()
        assert {one.node_id for one in seen if one.name == "holds"} == {nodes["one"].node_id, nodes["two"].node_id}
        (late,) = (one for one in seen if one.name == "on_four")
        assert late.node_id == nodes["four"].node_id
        assert late.memory > 200_000_000
        gone = nodes["four"].node_id
        nodes.stop("four")
        wait_for(lambda: gone not in watch.node_ids, 30)
    (advised,) = (one for one in raymemprof.advise() if one.name == "holds")
    assert (advised.basis, advised.peak_count) == ("seen", 2)
