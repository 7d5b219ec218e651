"""A cluster of a hundred nodes, simulated: what each would have recorded, and processes that answer for them.

    python tests/benchmarks/hundred_nodes.py --nodes 100 --tasks 10000

Each node has a folder of its own. Its part of each question is done by a process that stands for it, which sends its
answer as nodes do, pickled. What the driver does with the answers is done here, in a process of its own for each
question: time, the most memory, and bytes that travel are of that.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import pickle
import re
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["QUESTIONS", "measure", "write_nodes"]

WORKERS = 8
ANSWERING = 2
"""Processes that answer, each for many nodes one after the other: as many as this machine has CPUs."""
EVENTS = Path(__file__).parent.parent / "data" / "ray-2.60" / "event_RAYLET.log"
NAMES = "load", "train.epoch", "evaluate"
MIB = 2**20


def write_nodes(folder: Path, nodes: int, tasks: int) -> list[str]:
    """Write what each node would have, and return the nodes' ids: of each eight workers, one killed, and an actor."""
    bodies = [_body(worker, tasks // WORKERS) for worker in range(WORKERS)]
    ids = [f"{number:056x}" for number in range(1, nodes + 1)]
    kill = EVENTS.read_text().splitlines(keepends=True)[0]
    old_id = re.search(r'"node_id":"(\w+)"', kill)[1]
    for number, node_id in enumerate(ids):
        logs = folder / node_id
        (logs / "events").mkdir(parents=True)
        (logs / "events" / "event_RAYLET.log").write_text(kill.replace(old_id, node_id))
        for worker, body in enumerate(bodies):
            pid = 10**8 + number * WORKERS + worker  # no process has it
            stem = f"raymemprof-step-{node_id[-8:]}-{worker}-{pid}-{1700000000 * 10**9}"
            process = {"event": "process", "version": 1, "pid": pid, "created": 1.7e9, "host": socket.gethostname()}
            ids_of = {"node_id": node_id, "worker_id": f"{pid:056x}", "logs": str(logs)}
            with (logs / f"{stem}.jsonl").open("wb") as file:
                file.write(json.dumps({**process, **ids_of}, separators=(",", ":")).encode() + b"\n")
                file.write(body)
    return ids


def _body(worker: int, count: int) -> bytes:
    """Write the lines of a worker's calls; the first worker is an actor's, the last is killed in its last call."""
    encode = json.JSONEncoder(separators=(",", ":")).encode
    lines = []
    is_actor = worker == 0
    for number in range(count):
        memory = 100 * MIB + (number * 600 * MIB // count if is_actor else number * 7919 % (50 * MIB))
        begin = {"event": "begin", "call": number, "time": 1.7e9 + number / 10, "name": NAMES[number % 3]}
        ids = {"kind": "task", "task_id": f"{number:032x}{worker:016x}", "attempt": 0, "actor_id": None}
        if is_actor:
            ids = {**ids, "kind": "method", "actor_id": "5" * 32}
            begin["name"] = ("Cache.get", "Cache.add")[number % 2]
        end = {"event": "end", "call": number, "duration": 0.09, "status": "finished", "error": None}
        after, peak = memory + (MIB if is_actor else 0), memory + 977 * number % (400 * MIB)
        lines.append(encode({**begin, **ids, "job_id": "01000000", "memory": memory}))
        if worker != WORKERS - 1 or number < count - 1:
            lines.append(encode({**end, "memory": after, "peak": max(peak, after)}))
    return "\n".join([*lines, ""]).encode()


def _answer(asked: tuple[str, Callable[..., Any], tuple[Any, ...], str]) -> tuple[str, bytes, float, int]:
    """Answer for a node: its id, the answer, seconds of CPU, and KiB that this process had at the most so far."""
    node_id, function, arguments, folder = asked
    from raymemprof.reading.catalog import fetchable, places

    fetchable.folders = lambda: [Path(folder)]
    places.cluster.here = lambda: node_id
    places.cluster.metrics_address = lambda node_id: None
    start = time.process_time()
    data = pickle.dumps(function(*arguments), protocol=pickle.HIGHEST_PROTOCOL)
    taken = time.process_time() - start
    return node_id, data, taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _ask(question: str, folder: str, ids: list[str]) -> dict[str, Any]:
    """Be the driver that asks: in a process of its own."""
    import raymemprof
    from raymemprof import cluster
    from raymemprof.diagnosis.advise import advise
    from raymemprof.diagnosis.doctor import observed

    nodes = [cluster.Node(node_id, "192.0.2.1", number == 0, True, {}) for number, node_id in enumerate(ids)]
    seen: dict[str, Any] = {"bytes": 0, "node_seconds": 0.0, "node_mib": 0.0}

    def on_each_node(function: Any, *arguments: Any, node_id: str | None = None) -> Any:
        answers = {}
        asked = [(one, function, arguments, f"{folder}/{one}") for one in ids]
        with multiprocessing.get_context("spawn").Pool(ANSWERING) as pool:
            for one, data, taken, kib in pool.imap_unordered(_answer, asked):
                answers[one] = pickle.loads(data)
                seen["bytes"] += len(data)
                seen["node_seconds"] = max(seen["node_seconds"], taken)
                seen["node_mib"] = max(seen["node_mib"], kib / 1024)
        return cluster.Answers({one: answers[one] for one in ids}, ())

    cluster.is_connected, cluster.nodes, cluster.on_each_node = lambda: True, lambda: nodes, on_each_node
    cluster.living_nodes = lambda: {node.node_id: node for node in nodes}
    cluster.living_jobs, cluster.here = lambda: None, lambda: None
    cluster.tasks_killed_for_memory = lambda seconds: {}
    for module in (advise, observed):  # what memory is used for now is no question of what was recorded
        module.usage = lambda: None
    start = time.perf_counter()
    cpu = time.process_time()
    count = {
        "summary": lambda: len(raymemprof.summary(lines=False)),
        "calls(status='killed')": lambda: len(raymemprof.calls(status="killed")),
        "ooms": lambda: len(raymemprof.ooms()),
        "advise": lambda: len(raymemprof.advise()),
        "doctor": lambda: len(raymemprof.doctor().findings),
    }[question]()
    seen |= {"rows": count, "seconds": time.perf_counter() - start, "driver_seconds": time.process_time() - cpu}
    status = Path("/proc/self/status").read_text()
    seen["driver_mib"] = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return seen


QUESTIONS = "summary", "calls(status='killed')", "ooms", "advise", "doctor"


def measure(folder: Path, ids: list[str], question: str) -> dict[str, Any]:
    """Ask a question as a driver, and return rows, seconds, bytes that travelled, and memory."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as process:
        return process.submit(_ask, question, str(folder), ids).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--tasks", type=int, default=10_000, help="of each node")
    parser.add_argument("--only", choices=QUESTIONS, nargs="+", default=QUESTIONS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raymemprof-nodes-") as name:
        ids = write_nodes(Path(name), arguments.nodes, arguments.tasks)
        for question in arguments.only:
            seen = measure(Path(name), ids, question)
            print(
                f"{question}: {seen['rows']} rows, {seen['seconds']:.1f} s here ({seen['node_seconds']:.2f} s of CPU "
                f"on a node, {seen['driver_seconds']:.2f} s on the driver), {seen['bytes'] / 1e6:.2f} MB travel, "
                f"{seen['driver_mib']:.0f} MiB on the driver, {seen['node_mib']:.0f} MiB on a node",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
