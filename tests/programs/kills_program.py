"""Has Ray's workers killed in the ways named on the command line; `records.json` is what raymemprof says of each.

`test_ooms.py` runs this text as a script, in a Ray session of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil

MIB, GIB = 2**20, 2**30
CHUNK = 50 * MIB
HEADROOM = 2.5 * GIB
"""What a task may allocate before Ray's monitor kills it: so much that others on this machine hardly matter."""
ENOUGH = 1.6 * GIB
"""Where Ray kills a task that holds less, others took the memory, and the scene is played again."""
SECONDS = 60
DASHBOARD = ("aiohttp", "aiohttp_cors", "opencensus", "prometheus_client", "pydantic")
"""What Ray's dashboard needs."""

if {"monitor", "several", "endless"} & set(sys.argv):
    memory = psutil.virtual_memory()
    threshold = (memory.total - memory.available + HEADROOM) / memory.total
    assert threshold < 0.9, "this machine has too little memory left"
    os.environ |= {"RAY_memory_usage_threshold": str(threshold), "RAY_memory_monitor_refresh_ms": "50"}
    # Before the next attempt of one scene begins, the memory of the first must have been given back.
    os.environ |= {"RAY_task_oom_retry_delay_base_ms": "1000" if "monitor" in sys.argv else "100"}
else:
    os.environ["RAY_memory_monitor_refresh_ms"] = "0"
if "monitor" in sys.argv or "several" in sys.argv:
    os.environ["RAY_task_oom_retries"] = "1"
if "several" in sys.argv:
    os.environ["RAY_max_kill_memory_buffer_bytes"] = str(2 * GIB)

import ray
from several_nodes import init

import raymemprof
from raymemprof import cluster, profile_memory
from raymemprof.cluster import state
from raymemprof.display.record import plain
from raymemprof.reading.logs.owners import oom_retries


def allocate(diary: str, limit: int = 10 * GIB) -> None:
    """Allocate until somebody puts an end to it, and write down who did and how much it had."""
    kept = []
    with open(diary, "a") as out:
        for held in range(CHUNK, limit, CHUNK):
            kept.append(bytearray(b"1") * CHUNK)  # the guilty line
            process = psutil.Process().memory_info()
            print(json.dumps({"pid": os.getpid(), "held": held, "memory": process.rss - process.shared}), file=out)
            out.flush()
            time.sleep(0.05)


def hog(diary):
    allocate(diary)


def zebra(diary):
    allocate(diary)


def alpha(diary):
    allocate(diary)


def recovers(diary):
    """Be killed three times, and then have learned."""
    if len(read(diary) if os.path.exists(diary) else []) < 3:
        allocate(diary)


class Hog:
    def __init__(self):
        self.started = True

    def grow(self, diary):
        allocate(diary)


def waits(diary, how=None):
    """Hold some memory and end as told."""
    kept = bytearray(b"1") * CHUNK  # the guilty line of those who wait
    Path(diary).write_text(json.dumps({"pid": os.getpid(), "held": len(kept), "memory": None}) + "\n")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "raise":
        raise MemoryError("no more of it")
    if how == "exit":
        sys.exit(3)
    if how == "term":
        os.kill(os.getpid(), signal.SIGTERM)
    if how == "_exit":
        os._exit(0)
    if how == "exit_actor":
        ray.actor.exit_actor()
    deadline = time.monotonic() + 2 * SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.01)


class Waits:
    def wait(self, diary, how=None):
        waits(diary, how)


def into_cgroup(group, diary):
    with open(group, "w") as procs:
        procs.write(str(os.getpid()))
    allocate(diary)


def traced(function, **options):
    return ray.remote(**options)(profile_memory(function)) if options else ray.remote(profile_memory(function))


def read(diary: str) -> list[dict[str, Any]]:
    """What each process that wrote in the diary wrote last; none may have, if it was killed at once."""
    last = {}
    for line in Path(diary).read_text().splitlines() if os.path.exists(diary) else ():
        entry = json.loads(line)
        last[entry["pid"]] = entry
    return list(last.values())


def told(error: BaseException, task_id: str | None, diary: str) -> dict[str, Any]:
    """What raymemprof makes of an error, and what is known without it."""
    explanation = raymemprof.explain(error)
    heaps = [raymemprof.heap(call) for call in explanation.calls]
    return {
        "error": type(error).__name__,
        "text": str(error),
        "task_id": task_id,
        "processes": read(diary),
        "explained": plain(explanation),
        "shown": str(explanation),
        "html": explanation._repr_html_(),
        "heaps": [{"alive": heap.alive_at_end, "top": plain(heap.top(1)[0])} for heap in heaps],
    }


errors: dict[str, BaseException] = {}


def fails(reference, diary: str) -> dict[str, Any]:
    try:
        ray.get(reference, timeout=SECONDS)
    except (ray.exceptions.RayError, MemoryError) as error:
        errors[diary] = error
        return told(error, reference.task_id().hex(), diary)
    raise AssertionError(f"{diary}: nobody was killed")


def killed_for_memory(name, start) -> dict[str, Any]:
    """Have a hog killed that had the memory itself, and nothing else."""
    for attempt in range(3):
        diary = os.path.abspath(f"{name}-{attempt}")
        record = fails(start(diary), diary)
        with_others = re.match(r"([2-9]) worker\(s\) were killed", record["text"])
        if not with_others and [p for p in record["processes"] if p["held"] > ENOUGH] == record["processes"] != []:
            break
    assert record["processes"], "Ray killed it before it had anything: others had the memory"
    return record


def companion() -> Any:
    """A task that holds little; without another task Ray 2.49 does not retry one that it killed for memory."""
    diary = os.path.abspath("companion")
    reference = ray.remote(max_retries=1)(waits).remote(diary)
    until(lambda: os.path.exists(diary))
    return reference


def until(condition) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def end(reference) -> None:
    ray.cancel(reference, force=True)
    with contextlib.suppress(ray.exceptions.RayError, ray.exceptions.TaskCancelledError):
        ray.get(reference, timeout=SECONDS)


def monitor() -> dict[str, Any]:
    task, actor = traced(hog, max_retries=1), traced(Hog, num_cpus=1)
    bare = ray.remote(max_retries=0)(hog)
    records = {}
    other = companion()
    records["task"] = killed_for_memory("task", task.remote)
    end(other)
    records["bare"] = killed_for_memory("bare", bare.options(name="a task, with a name").remote)
    records["actor"] = killed_for_memory("actor", lambda diary: actor.remote().grow.remote(diary))
    records["asked"] = asked(records["bare"]["task_id"])
    return records


def asked(task_id: str) -> dict[str, Any]:
    """What Ray says of a task that was killed: the GCS, and the State API where the GCS does not answer."""
    found = {}
    for source, needs in ("gcs", ["grpc"]), ("state api", DASHBOARD):
        if not all(map(importlib.util.find_spec, needs)):
            continue
        if source == "state api":
            state._events_in_gcs = None
        until(lambda: task_id in [task.task_id for task in cluster.tasks_killed_for_memory(SECONDS).values()])
        killed = {worker: task._asdict() for worker, task in cluster.tasks_killed_for_memory(SECONDS).items()}
        found[source] = {
            "killed": killed,
            "attempts": [one._asdict() for one in cluster.attempts(task_id, SECONDS)],
        }
    return found


def several() -> dict[str, Any]:
    """Three tasks, of which Ray kills more than one at once: it wants to free more than any of them holds."""
    tasks = [traced(function, max_retries=0) for function in (zebra, alpha, hog)]
    for attempt in range(3):
        diaries = [f"several-{attempt}-{task}" for task in ("zebra", "alpha", "hog")]
        references = [task.remote(diary) for task, diary in zip(tasks, diaries, strict=True)]
        records = [fails(reference, diary) for reference, diary in zip(references, diaries, strict=True)]
        for name, record in zip(("zebra", "alpha", "hog"), records, strict=True):
            record["name"] = name
        if any(len(record["explained"]["victims"]) > 1 for record in records):
            break
    return {"several": records}


def endless() -> dict[str, Any]:
    """A task that Ray retries without end, until it has been killed three times."""
    diary = os.path.abspath("endless")
    other, reference = companion(), traced(hog).remote(diary)
    pauses = lambda: re.findall(r"Will resubmit task after a (\d+)ms delay", driver_log())  # noqa: E731

    def listed() -> Any:
        """What is listed, where no kill came between the raylet's log and the owner's, which are read in turn."""
        kills = raymemprof.ooms()
        retries = kills.retries
        return kills if retries and retries[0].pause is not None and retries[0].kill_count == len(kills) else None

    until(listed)
    kills = listed() or listed() or raymemprof.ooms()
    waited = [int(pause) / 1e3 for pause in pauses()]
    end(reference)
    until(lambda: not [retry for retry in raymemprof.ooms().retries if not retry.is_over])
    end(other)
    record = {
        "task_id": reference.task_id().hex(),
        "processes": read(diary),
        "retries": plain(kills.retries),
        "of two": plain(kills[-2:].retries),
        "sorted": plain(kills.sorted(key=lambda kill: kill.pid).retries),
        "kills": plain(list(kills)),
        "pauses": waited,
        "shown": repr(kills),
    }
    other = companion()
    ray.get(ray.remote(recovers).remote(os.path.abspath("recovers")), timeout=2 * SECONDS)
    end(other)
    until(lambda: len([kill for kill in raymemprof.ooms() if kill.name == "recovers"]) >= 3)
    until(lambda: "recovers" not in [retry.name for retry in raymemprof.ooms().retries])
    owners = oom_retries([Path(logs())], is_running=True)
    record["owners"] = plain(owners)
    return {"endless": record}


def driver_log() -> str:
    (path,) = Path(logs()).glob("python-core-driver-*.log")
    return path.read_text(errors="replace")


def logs() -> str:
    return ray._private.worker.global_worker.node.get_logs_dir_path()


def others() -> dict[str, Any]:
    """Deaths that are not for memory, as far as anybody knows."""
    task, actor = traced(waits, max_retries=0), traced(Waits, num_cpus=1)
    records = {}
    for name, how in ("sigkill", "kill"), ("crash", "segfault"), ("raised", "raise"):
        records[name] = fails(task.remote(name, how), name)
        if how != "raise":
            records[f"bare {name}"] = fails(
                ray.remote(max_retries=0)(waits).remote(f"bare {name}", how), f"bare {name}"
            )
            method = actor.remote().wait.remote(f"actor {name}", how)
            records[f"actor {name}"] = fails(method, f"actor {name}")
    for name in ("exit", "term", "_exit"):
        bare = ray.remote(max_retries=0)(waits)
        records[f"bare {name}"] = fails(bare.remote(f"bare {name}", name), f"bare {name}")
    plain_actor = ray.remote(Waits)
    records["exit_actor"] = fails(plain_actor.remote().wait.remote("exit_actor", "exit_actor"), "exit_actor")
    handle = actor.remote()
    reference = handle.wait.remote("ray_kill")
    until(lambda: os.path.exists("ray_kill") and raymemprof.calls(name="Waits.wait", status="running"))
    ray.kill(handle)
    records["ray_kill"] = fails(reference, "ray_kill")
    for name, error in errors.items():  # when all is over
        for how, what in ("error", error), ("text", str(error)):
            found = raymemprof.explain(what)
            records[name][f"later by {how}"] = {"shown": str(found)} | plain(found)
    for line in Path(logs(), "events", "event_RAYLET.log").read_text().splitlines():
        event = json.loads(line)
        for name in errors:
            if f"Worker PID: {records[name]['processes'][-1]['pid']} " in event["message"]:
                records[name]["raylet's"] = plain(raymemprof.explain(event["message"]))
    diagnosis = raymemprof.doctor()
    records["doctor"] = {"healthy": diagnosis.healthy, "findings": plain(list(diagnosis.findings))}
    return records


def cgroup() -> dict[str, Any]:
    root = Path("/sys/fs/cgroup")
    v1 = (root / "memory").is_dir()
    group = (root / "memory" if v1 else root) / f"raymemprof-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        return {"skip": f"no cgroup can be made here: {error}"}
    try:
        try:
            (group / ("memory.limit_in_bytes" if v1 else "memory.max")).write_text(str(300 * MIB))
        except OSError as error:
            return {"skip": f"no cgroup can be limited here: {error}"}
        task = traced(into_cgroup, max_retries=0)
        return {"cgroup": fails(task.remote(str(group / "cgroup.procs"), "cgroup"), "cgroup")}
    finally:
        until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


SCENES = {"monitor": monitor, "several": several, "endless": endless, "others": others, "cgroup": cgroup}

if __name__ == "__main__":
    # Ray's own word on tasks is asked for in one scene; the others show that no dashboard is needed.
    init(
        num_cpus=3,
        include_dashboard="monitor" in sys.argv and all(map(importlib.util.find_spec, DASHBOARD)),
        logging_level="ERROR",
        log_to_driver=False,
        object_store_memory=10**8,
    )
    try:
        records: dict[str, Any] = {}
        for scene in sys.argv[1:]:
            records |= SCENES[scene]()
        kills = raymemprof.ooms()
        records["ooms"] = plain(list(kills))
        records["table"] = repr(kills)
        records["calls"] = plain(list(raymemprof.calls()))
        records["folder"] = logs()
        Path("records.json").write_text(json.dumps(records, indent=1))
    finally:
        ray.shutdown()
