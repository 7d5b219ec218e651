"""An actor that was killed between two calls: what its calls left in it is told, down to the line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.paths import PROGRAMS

TRIES = 3
SIZE = 100_000_000
CALLS = 6
PROGRAM = f"""
import json, os, sys, time, psutil
sys.path.insert(0, {str(PROGRAMS)!r})
memory = psutil.virtual_memory()
threshold = (memory.total - memory.available + 2 * 2**30) / memory.total
os.environ |= {{"RAY_memory_usage_threshold": str(threshold), "RAY_memory_monitor_refresh_ms": "50"}}
import ray, raymemprof
from raymemprof import profile_memory
from several_nodes import init
options = {{"logging_level": "ERROR", "log_to_driver": False, "object_store_memory": 10**8}}
init(num_cpus=1, **options)

@ray.remote
@profile_memory
class Cache:
    def __init__(self):
        self.seen = []
    def add(self, size):
        self.seen.append(bytearray(b"1") * size)  # MISTAKE
    def query(self):
        return os.getpid()

cache = Cache.remote()
try:
    for _ in range({CALLS}):
        ray.get(cache.add.remote({SIZE}))
    pid = ray.get(cache.query.remote())
except ray.exceptions.RayError:  # others took so much that Ray killed it now
    print(json.dumps({{}}))
    raise SystemExit
deadline = time.monotonic() + 60
kept = []
while psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" and time.monotonic() < deadline:
    if len(kept) < 60:
        kept.append(bytearray(b"1") * 50_000_000)  # the driver fills the node, and Ray kills what it can
    time.sleep(0.05)
del kept
found = {{"pid": pid}}
try:
    ray.get(cache.query.remote())
except ray.exceptions.RayError as error:
    explanation = raymemprof.explain(error)
    (kill,) = raymemprof.ooms()
    diagnosis = raymemprof.doctor()
    found |= {{
        "cause": explanation.cause,
        "text": str(explanation),
        "line": [explanation.lines[0].line, explanation.lines[0].bytes],
        "kill": [kill.pid, kill.name, kill.task_id, kill.call is not None],
        "held": raymemprof.heap(kill.call.capture).alive_at_end,
        "illness": [diagnosis.findings[0].illness, diagnosis.findings[0].severity, diagnosis.findings[0].name],
        "ordinary": str(raymemprof.explain(ValueError("no luck"))),
    }}
print(json.dumps(found))
"""


@pytest.mark.timeout(300)
def test_what_it_held_is_told(run_script: Callable[..., str], memory_to_itself: Any) -> None:
    mistake = next(number for number, line in enumerate(PROGRAM.splitlines(), 1) if "# MISTAKE" in line)
    for _ in range(TRIES):  # what others take or free meanwhile may have Ray kill too early, or nobody
        with memory_to_itself():
            found: dict[str, Any] = json.loads(run_script(PROGRAM).splitlines()[-1])
        if "cause" in found:
            break
    assert found["cause"] == "ray_memory_monitor"
    line, held = found["line"]
    assert line == mistake
    assert CALLS * SIZE <= held <= found["held"]
    assert held >= 0.95 * found["held"]
    assert f":{mistake} in add" in found["text"]
    assert "put @profile_memory" not in found["text"]
    assert found["kill"] == [found["pid"], "Cache.query", None, True]
    assert found["illness"] == ["leaking_actor", "critical", "Cache"]
    assert found["ordinary"].startswith("I do not recognise this as a message about memory.")
