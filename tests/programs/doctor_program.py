"""Has a cluster fall ill in the way named on the command line; `record.json` is what the doctor says of it.

`test_doctor.py` runs this as a script: where Ray kills is set before Ray starts.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

MB, GIB = 10**6, 2**30
PIECE = 50 * MB
SIZE = 700 * MB
CPUS = 6
ROOM = 1.25 * (SIZE + 60 * MB)
"""What one of them needs, by `advise()`: below the threshold there is room for two."""
TRIES = 5
"""Others take memory of this machine and give it back; what is wrong is wrong each time."""
HOSTILE = 'keeps</title></svg><script>alert(1)</script><img src=x onerror="alert(2)">\'"&'

SCENE = sys.argv[1]
HEADROOM = (2.5 if SCENE in ("parallel", "head") else 1.2) * GIB
"""How much more may be used than before Ray starts until it kills; Ray's own parts take 0.4 GiB of it."""
HERE = Path(__file__).parent
VARIABLES: dict[str, dict[str, str]] = {
    "killed": {"RAY_task_oom_retries": "1"},
    "parallel": {},
    "endless": {"RAY_task_oom_retry_delay_base_ms": "100"},
}


def threshold() -> str:
    memory = psutil.virtual_memory()
    part = (memory.total - memory.available + HEADROOM) / memory.total
    if part > 0.93:
        Path("record.json").write_text(json.dumps({"skip": "this machine has too little memory left"}))
        sys.exit()
    return str(part)


if SCENE in VARIABLES:
    os.environ |= {"RAY_memory_usage_threshold": threshold(), "RAY_memory_monitor_refresh_ms": "50", **VARIABLES[SCENE]}

import ray

import raymemprof
from raymemprof import profile_memory
from raymemprof.diagnosis.doctor.doctor import doctor

sys.path.insert(0, str(HERE))
import several_nodes

sys.path.pop(0)


def start(cpus: int = 2) -> None:
    several_nodes.init(num_cpus=cpus, logging_level="ERROR", log_to_driver=False, object_store_memory=10**8)


def until(condition, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return answer


@ray.remote(max_retries=1)
@profile_memory
def hog():
    kept = []
    for _ in range(200):
        kept.append(bytearray(b"1") * PIECE)  # the hog's line
        time.sleep(0.05)  # for the monitor to see it before there is much more


@ray.remote(max_retries=0)
@profile_memory
def load(go):
    while not os.path.exists(go):
        time.sleep(0.01)
    kept = []
    for _ in range(SIZE // PIECE):
        kept.append(bytearray(b"1") * PIECE)  # the load's line
        time.sleep(0.05)
    time.sleep(2)


@ray.remote
@profile_memory
class Cache:
    def __init__(self):
        self.seen = []
        self.latest = b""

    def add(self, size):
        self.latest = bytearray(b"1") * size
        self.seen.append(bytearray(b"1") * size)  # the cache's line

    def ask(self):
        return len(self.seen)


@ray.remote
@profile_memory
class Steady:
    """Loads once, then works with memory that it gives back."""

    def __init__(self):
        self.loaded = bytearray(b"1") * 100 * MB

    def work(self):
        return len(bytearray(b"1") * 60 * MB)


@ray.remote
class Holder:
    def __init__(self):
        self.kept = []

    def hold(self):
        self.kept.append(bytearray(b"1") * 200 * MB)


def keeps():
    builtins.kept = bytearray(b"1") * (500 * MB)  # type: ignore[attr-defined]  # what outlives the call


def companion() -> Any:
    """A task that holds little; without another task Ray 2.49 does not retry one that it killed for memory."""

    @ray.remote
    def waits(path):
        Path(path).touch()
        time.sleep(600)

    path = os.path.abspath("companion")
    reference = waits.remote(path)
    until(lambda: os.path.exists(path))
    return reference


def killed() -> None:
    start(1)
    with contextlib.suppress(ray.exceptions.OutOfMemoryError):
        ray.get(hog.remote(), timeout=60)
        raise AssertionError("nobody was killed")


def parallel() -> None:
    for number in range(TRIES):
        os.environ["RAY_memory_usage_threshold"] = threshold()
        start(CPUS)
        go = os.path.abspath(f"go{number}")
        references = [load.remote(go) for _ in range(CPUS)]
        until(lambda: len(raymemprof.calls(name="load", status="running")) == CPUS)
        Path(go).touch()
        deaths = 0
        for reference in references:
            try:
                ray.get(reference, timeout=60)
            except ray.exceptions.OutOfMemoryError:
                deaths += 1
        memory = psutil.virtual_memory()
        left = float(os.environ["RAY_memory_usage_threshold"]) * memory.total - (memory.total - memory.available)
        if deaths and 1.3 * ROOM < left < (CPUS - 1.3) * ROOM:
            return
        ray.shutdown()
    raise AssertionError(f"{deaths} of {CPUS} were killed, and {left / ROOM:.1f} would fit")


def leak() -> None:
    start()
    cache = Cache.options(max_restarts=-1, max_task_retries=-1).remote()
    steady = Steady.remote()
    for _ in range(8):
        ray.get([cache.add.remote(30 * MB), cache.ask.remote(), steady.work.remote()])
    Scene.keep = (cache, steady)


def idle() -> None:
    start()
    keeps.__name__ = keeps.__qualname__ = HOSTILE
    ray.get(ray.remote(profile_memory(keeps)).remote())


def endless() -> None:
    start()
    Scene.keep = (companion(), hog.remote())
    until(lambda: sum(kill.name == "hog" for kill in raymemprof.ooms()) >= 3, 90)


def head() -> None:
    """A head with a large driver and an actor, and a second node that does nothing."""
    nodes = Scene.nodes = several_nodes.Nodes()
    # A threshold that is there, and a monitor that does not look.
    variables = {"RAY_memory_usage_threshold": threshold(), "RAY_memory_monitor_refresh_ms": "3600000"}
    nodes.start("head", store=80_000_000, **variables)
    nodes.start("other", store=80_000_000, RAY_memory_monitor_refresh_ms="0")
    nodes.connect()
    driver = bytearray(b"1") * 600 * MB
    holder = Holder.options(resources={"head": 1}, num_cpus=1).remote()
    Scene.keep = (driver, holder)

    def is_crowded() -> bool:
        (node,) = (node for node in raymemprof.usage().nodes if node.is_head)
        if node.used > 0.86 * node.threshold:
            return True
        ray.get(holder.hold.remote())
        return False

    until(is_crowded)


def healthy() -> None:
    start()

    @ray.remote
    @profile_memory
    def small(size):
        return len(bytearray(size))

    steady = Steady.remote()
    for _ in range(6):
        ray.get([small.remote(20 * MB), small.remote(10 * MB), steady.work.remote()])
    Scene.keep = (steady,)


class Scene:
    """What must live until the doctor has looked."""

    keep: tuple[Any, ...] = ()
    nodes: Any = None


if __name__ == "__main__":
    scenes = {one.__name__: one for one in (killed, parallel, leak, idle, endless, head, healthy)}
    try:
        scenes[SCENE]()
        began = time.monotonic()
        diagnosis = doctor()
        seconds = time.monotonic() - began
        began = time.monotonic()
        diagnosis.save("report.html")
        record = {
            "diagnosis": json.loads(diagnosis.to_json()),
            "shown": str(diagnosis),
            "html": diagnosis._repr_html_(),
            "seconds": seconds,
            "seconds_to_save": time.monotonic() - began,
            "driver": os.getpid(),
        }
        if SCENE == "leak":  # as the doctor says
            (command,) = re.findall("`raymemprof (flamegraph .*?)`", " ".join(diagnosis.findings[0].next_steps))
            program = Path(sys.executable).with_name("raymemprof")
            pasted = subprocess.run(
                [program, *shlex.split(command), "-o", "pasted.html"], capture_output=True, text=True, timeout=60
            )
            record["pasted"] = [pasted.returncode, pasted.stderr]
            cache = Scene.keep[0]
            ray.kill(cache, no_restart=False)
            deadline = time.monotonic() + 60
            record["kept_after"] = None  # a call may reach the process that is being killed
            while record["kept_after"] != 0 and time.monotonic() < deadline:
                record["kept_after"] = ray.get(cache.ask.remote(), timeout=60)
        if SCENE != "head":
            record["logs"] = ray._private.worker.global_worker.node.get_logs_dir_path()
        Path("record.json").write_text(json.dumps(record, indent=1))
    finally:
        ray.shutdown()
        if Scene.nodes is not None:
            Scene.nodes.stop()
