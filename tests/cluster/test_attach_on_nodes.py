"""Actors of other nodes than the driver's are recorded there: by handle, by name, by id, all; and with Ray Client."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from click.testing import CliRunner
from ray import cloudpickle

import raymemprof
from raymemprof.cli import main
from tests.programs.several_nodes import Nodes

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

NAMESPACE = "on nodes"


class Store:
    def __init__(self) -> None:
        self.kept: list[bytearray] = []

    def keep(self, megabytes: int) -> int:
        block = bytearray(megabytes * 1_000_000)  # the planted line
        self.kept.append(block)
        return len(self.kept)


PLANTED = next(n for n, line in enumerate(Path(__file__).read_text().splitlines(), 1) if "# the planted" in line)


@pytest.fixture
def stores(nodes: Nodes) -> Iterator[dict[str, Any]]:
    """An actor on each node: that on "two" has a name, the others have none."""
    made = {}
    for node in ("one", "two", "three"):
        options: dict[str, Any] = {"name": "store", "namespace": NAMESPACE} if node == "two" else {}
        made[node] = ray.remote(num_cpus=0, resources={node: 1}, **options)(Store).remote()
    ray.get([store.keep.remote(1) for store in made.values()])
    yield made
    for store in made.values():
        ray.kill(store)


def recorded(store: Any) -> list[tuple[str, str | None, bool]]:
    """Return of each recorded call of an actor its name, its node, and whether its heap has the planted line."""
    calls = raymemprof.calls(actor_id=store._actor_id.hex())
    return [(call.name, call.node_id, raymemprof.heap(call).top(1)[0].line == PLANTED) for call in calls]


def test_an_actor_of_another_node(nodes: Nodes, stores: dict[str, Any]) -> None:
    two, three = nodes["two"].node_id, nodes["three"].node_id
    with raymemprof.attach(ray.get_actor("store", namespace=NAMESPACE)) as attachment:
        assert ray.get(stores["two"].keep.remote(10)) == 2
    assert (attachment.result.node_id, attachment.result.call_count) == (two, 1)
    assert attachment.result.grew >= 10_000_000
    assert recorded(stores["two"]) == [("Store.keep", two, True)]
    with raymemprof.attach(stores["three"]) as attachment:
        assert ray.get(stores["three"].keep.remote(10)) == 2
    assert recorded(stores["three"]) == [("Store.keep", three, True)]
    assert [ray.get(store.keep.remote(1)) for store in stores.values()] == [2, 3, 3]
    assert [len(recorded(store)) for store in stores.values()] == [0, 1, 1]


def test_from_a_terminal(nodes: Nodes, stores: dict[str, Any]) -> None:
    """By an id, which Ray gives no handle to; and all actors of all nodes, in one table."""

    def attach(*words: str, called: list[Any]) -> tuple[str, str]:
        ended = threading.Event()

        def call() -> None:
            while not ended.wait(0.2):
                ray.get([store.keep.remote(5) for store in called])

        caller = threading.Thread(target=call)
        caller.start()
        try:
            ran = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["attach", *words, "--seconds", "3"])
        finally:
            ended.set()
            caller.join()
        assert ran.exit_code == 0, ran.output
        return ran.stdout, ran.stderr

    table, said = attach(stores["three"]._actor_id.hex()[:16], called=[stores["three"]])
    assert said.count("calls recorded in") == 1
    assert f"{Path(__file__).name}:{PLANTED}" in table
    before = len(recorded(stores["three"]))
    assert before >= 1
    table, said = attach("--all", called=list(stores.values()))
    assert said.count("calls recorded in") == 3
    assert "recording 3 actors for 3 s" in said
    for node, store in stores.items():
        found = Counter(recorded(store))
        assert set(found) == {("Store.keep", nodes[node].node_id, True)}
    (row,) = (line.split() for line in table.splitlines() if line.strip().startswith("Store"))
    assert int(row[1]) == sum(len(recorded(store)) for store in stores.values()) - before


def test_from_ray_client(nodes: Nodes, stores: dict[str, Any], run_script: Any) -> None:
    """The switch and `attach` work there; actors have to be named."""
    pytest.importorskip("grpc")
    code = f"""
import json, time, ray, raymemprof
from raymemprof.cli import main
from click.testing import CliRunner
for attempt in range(4):
    try:
        ray.init("ray://127.0.0.1:{nodes.client_port}", namespace={NAMESPACE!r}, logging_level="ERROR",
                 runtime_env=raymemprof.runtime_env())
        break
    except ConnectionError:  # on a busy machine its server takes longer to start than Ray waits
        if attempt == 3:
            raise

@ray.remote(resources={{"three": 1}})
def undecorated():
    return len(bytearray(20_000_000))

with raymemprof.attach(ray.get_actor("store")) as attachment:
    kept = ray.get(ray.get_actor("store").keep.remote(10))
commands = [CliRunner().invoke(main, words) for words in (["attach", "store", "--seconds", "1"], ["attach", "--all"])]
print(json.dumps({{
    "kept": kept,
    "calls": attachment.result.call_count,
    "node": attachment.result.node_id,
    "undecorated": ray.get(undecorated.remote()),
    "recorded": [call.name for call in raymemprof.calls(name="undecorated")],
    "commands": [[one.exit_code, one.stderr] for one in commands],
}}))
"""
    answer = json.loads(run_script(code, timeout=240).splitlines()[-1])
    (by_name, everything) = answer.pop("commands")
    assert answer == {
        "kept": 2,
        "calls": 1,
        "node": nodes["two"].node_id,
        "undecorated": 20_000_000,
        "recorded": ["undecorated"],
    }
    assert by_name[0] == 0, by_name
    assert "0 calls recorded in" in by_name[1]
    assert everything[0] == 2
    assert "Ray Client does not list actors" in everything[1]
    deadline = time.monotonic() + 10
    while not recorded(stores["two"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert recorded(stores["two"]) == [("Store.keep", nodes["two"].node_id, True)]
