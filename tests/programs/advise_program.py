"""Plays the scenes named on the command line, in Ray sessions of its own; `records.json` has what came of them.

`test_advise.py` runs this as a script: where Ray kills is set before Ray starts.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil

GB, GIB = 10**9, 2**30
HEADROOM = {"page": 7.8 * 1.44 * GB, "nodes": 7.8 * 1.44 * GB, "oom": 3.2 * GIB}
"""How much more than is used before Ray starts may be used until it kills; Ray's own parts take 0.4 GB of it."""
SIZE = 1_000_000_000
PIECE = 100_000_000
CPUS = 4
TRIES = 3
"""Others take memory of this machine and give it back; what is wrong is wrong each time."""

import ray
from ray.cluster_utils import Cluster
from several_nodes import init

import raymemprof
from raymemprof import profile_memory
from raymemprof.diagnosis.advise.advise import advise
from raymemprof.display.record import plain


def allocate_memory(seconds):
    """Take the memory in pieces, and hold it until the others have theirs."""
    kept = []
    for _ in range(SIZE // PIECE):
        kept.append(bytearray(b"1") * PIECE)
        time.sleep(0.02)
    time.sleep(seconds)
    return sum(map(len, kept))


def settled() -> bool:
    """Tell if nobody gives memory back: workers of a Ray that was shut down die on their own, a little later."""
    before = psutil.virtual_memory().available
    time.sleep(1)
    return psutil.virtual_memory().available - before < 50_000_000


def set_threshold() -> None:
    """Have the Ray that is started next kill when so much more is used than now, the last one's memory given back."""
    until(settled)
    memory = psutil.virtual_memory()
    threshold = (memory.total - memory.available + HEADROOM[sys.argv[1]]) / memory.total
    if threshold > 0.93:
        Path("records.json").write_text(json.dumps({"skip": "this machine has too little memory left"}))
        sys.exit()
    os.environ |= {"RAY_memory_usage_threshold": str(threshold), "RAY_memory_monitor_refresh_ms": "50"}


def start(**options) -> None:
    set_threshold()
    init(logging_level="ERROR", log_to_driver=False, object_store_memory=10**8, **options)


def one_call() -> Any:
    """A real call that is over."""
    with profile_memory("allocate_memory", heap=False):
        pass
    (call,) = raymemprof.calls()
    return dataclasses.replace(call, kind="task", task_id=None)


def page() -> dict[str, Any]:
    """The page's node: 15 CPUs, which run 15 tasks of 1.2 GB at once, 18 GB in all, and has memory for half of them."""
    for _ in range(TRIES):
        start(num_cpus=15)
        call = dataclasses.replace(one_call(), peak_memory=1_200_000_000)
        advices = advise([call] * 15)
        if advices[0].num_cpus == 2:
            break
        ray.shutdown()
    return {"advices": plain(list(advices)), "shown": repr(advices)}


def nodes() -> dict[str, Any]:
    """Two nodes with one memory and 2 and 12 CPUs, of which the second goes."""
    set_threshold()
    options = {"object_store_memory": 10**8, "include_log_monitor": False}
    head = {"num_cpus": 2, "include_dashboard": False, "no_monitor": True}
    cluster = Cluster(initialize_head=True, head_node_args=head | options)
    try:
        second = cluster.add_node(num_cpus=12, **options)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        call = dataclasses.replace(one_call(), peak_memory=1_200_000_000)
        both = advise([call] * 12)
        cluster.remove_node(second)
        until(lambda: [node["Alive"] for node in ray.nodes()].count(True) == 1)
        one = advise([call] * 12)
        return {
            "nodes": plain(ray.nodes()),
            "both": plain(list(both)),
            "one": plain(list(one)),
            "shown": repr(both),
            "missing": [node.node_id for node in one.missing],
        }
    finally:
        ray.shutdown()
        cluster.shutdown()


def job(seconds: float, **options) -> dict[str, Any]:
    """Run the job: as many tasks as there are CPUs, as many of them at once as their options let."""
    kills = len(raymemprof.ooms())
    task = ray.remote(max_retries=0, **options)(profile_memory(allocate_memory))
    references = [task.remote(seconds) for _ in range(CPUS)]
    killed, held = 0, []
    for reference in references:
        try:
            held.append(ray.get(reference, timeout=120))
        except ray.exceptions.OutOfMemoryError:
            killed += 1
    return {"killed": killed, "held": held, "kills": len(raymemprof.ooms()) - kills}


def oom() -> dict[str, Any]:
    """A job that Ray kills, what is advised, and the same job in the same cluster as advised."""
    records: dict[str, Any] = {}
    for _ in range(TRIES):
        start(num_cpus=CPUS)
        first = job(8)  # workers may start seconds apart
        until(settled)
        advices = advise()
        (advice,) = advices
        (node,) = ray.nodes()
        records = {
            "first": first,
            "advice": plain(advice),
            "shown": repr(advices),
            "address": node["NodeManagerAddress"],
            "resource": node["Resources"]["memory"],
            "by_memory": job(1.5, memory=advice.memory),
            "by_cpus": job(1.5, num_cpus=advice.num_cpus),
        }
        (fits,) = advice.fits.values()
        if first["killed"] and fits and not records["by_memory"]["killed"] and not records["by_cpus"]["killed"]:
            break
        ray.shutdown()
    return records


def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


if __name__ == "__main__":
    scene = {"page": page, "nodes": nodes, "oom": oom}[sys.argv[1]]
    try:
        records = scene()
        Path("records.json").write_text(json.dumps(records, indent=1))
    finally:
        ray.shutdown()
