"""Runs each kind of callable that Ray can run and writes down what came of it, for `test_kinds.py`.

That test runs this text as a script, as a module and as a notebook, and with the two decorators in either order.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import ray

import raymemprof
from raymemprof import profile_memory

SECONDS = 20


def here() -> dict[str, Any]:
    """Who runs this, as the process itself sees it."""
    context = ray.get_runtime_context()
    return {"pid": os.getpid(), "worker_id": context.get_worker_id(), "node_id": context.get_node_id()}


def second_item(signal: str) -> str:
    """Wait until the consumer has the first item."""
    deadline = time.monotonic() + SECONDS
    while not os.path.exists(signal):
        if time.monotonic() > deadline:
            return "second, and nobody had received the first"
        time.sleep(0.01)
    return "second, made after the first was received"


@ray.remote(num_cpus=0)
@profile_memory
def function(a, *, b=2):
    return {"sum": a + b}, here()


@ray.remote(num_cpus=0)
@profile_memory
def generator(signal):
    yield "first"
    yield second_item(signal)
    yield here()


class Base:
    def inherited(self):
        return type(self).__name__, self.start, here()


@ray.remote(num_cpus=0)
@profile_memory
class Actor(Base):
    def __init__(self, start):
        self.start = start

    def method(self, n=1):
        return self.start + n, here()

    def generator(self, signal):
        yield "first"
        yield second_item(signal)
        yield here()

    @staticmethod
    def static(n):
        return [n], here()

    @classmethod
    def of_class(cls, n):
        return cls.__name__, n, here()

    @ray.method(num_returns=2)
    def two(self):
        return {self.start}, here()


@ray.remote(num_cpus=0)
@profile_memory
class AsyncActor:
    async def method(self, n):
        await asyncio.sleep(0)
        return frozenset([n]), here()

    async def generator(self, signal):
        yield "first"
        yield await asyncio.to_thread(second_item, signal)
        yield here()


@ray.remote(num_cpus=0, concurrency_groups={"pairs": 2})
@profile_memory
class Groups:
    def __init__(self):
        self.both = threading.Barrier(2)

    @ray.method(num_returns=2, concurrency_group="pairs")
    def pair(self):
        self.both.wait(SECONDS)  # breaks unless two run at once, which only the concurrency group allows
        return "met", here()


def outcome(label: str, name: str, kind: str, submitted: Any, actor: Any = None, signal: str = "") -> dict[str, Any]:
    """Wait for what was submitted; the last item of each is `here()`."""
    if isinstance(submitted, list):
        task_id = submitted[0].task_id()
        items = ray.get(submitted)
    elif isinstance(submitted, ray.ObjectRefGenerator):
        items = []
        for reference in submitted:
            task_id = reference.task_id()
            items.append(ray.get(reference))
            Path(signal).touch()
    else:
        task_id = submitted.task_id()
        items = ray.get(submitted)
    *values, who = items
    return {
        "label": label,
        "submitted": type(submitted).__name__,
        "values": [[type(items).__name__, type(value).__name__, repr(value)] for value in values],
        "call": {
            "name": name,
            "kind": kind,
            "status": "finished",
            "task_id": task_id.hex(),
            "attempt": 0,
            "actor_id": actor and actor._actor_id.hex(),
            "job_id": ray.get_runtime_context().get_job_id(),
            **who,
        },
    }


def creation(name: str, actor: Any, method: dict[str, Any]) -> dict[str, Any]:
    """What is to be recorded of an actor's `__init__`: the actor's process is the one that ran `method`."""
    task_id = ray.TaskID.for_actor_creation_task(actor._actor_id).hex()
    call = {**method["call"], "name": name, "kind": "actor", "task_id": task_id}
    return {"label": name, "submitted": type(actor).__name__, "values": [], "call": call}


def main() -> None:
    ray.init(log_to_driver=False, logging_level="ERROR")
    signals = [os.path.abspath(f"received-{n}") for n in range(3)]
    actor, async_actor, groups = Actor.remote(40), AsyncActor.remote(), Groups.remote()
    outcomes = [
        outcome("function", "function", "task", function.remote(1, b=3)),
        outcome("generator", "generator", "task", generator.remote(signals[0]), None, signals[0]),
        outcome("method", "Actor.method", "method", actor.method.remote(n=2), actor),
        outcome("generator method", "Actor.generator", "method", actor.generator.remote(signals[1]), actor, signals[1]),
        outcome("static method", "Actor.static", "method", actor.static.remote(5), actor),
        outcome("class method", "Actor.of_class", "method", actor.of_class.remote(6), actor),
        outcome("inherited method", "Actor.inherited", "method", actor.inherited.remote(), actor),
        outcome("two returns", "Actor.two", "method", actor.two.remote(), actor),
        outcome("async method", "AsyncActor.method", "method", async_actor.method.remote(7), async_actor),
        outcome(
            "async generator method",
            "AsyncActor.generator",
            "method",
            async_actor.generator.remote(signals[2]),
            async_actor,
            signals[2],
        ),
    ]
    pairs = [groups.pair.remote(), groups.pair.remote()]
    outcomes += [
        outcome(f"concurrency group, {which}", "Groups.pair", "method", pair, groups)
        for which, pair in zip(("first", "second"), pairs, strict=True)
    ]
    outcomes.append(creation("Actor.__init__", actor, outcomes[2]))
    outcomes.append(creation("Groups.__init__", groups, outcomes[-2]))
    calls = raymemprof.calls(job_id=ray.get_runtime_context().get_job_id())
    recorded = [dataclasses.asdict(call) for call in calls]
    Path("outcome.json").write_text(json.dumps({"outcomes": outcomes, "calls": recorded}, default=str))
    ray.shutdown()


if __name__ == "__main__":
    main()
