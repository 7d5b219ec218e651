"""A task whose four children fill the node is killed by Ray, and with one it finishes; prints what is said of it."""

import json
import os
import subprocess
import sys

import psutil

MIB, GIB = 2**20, 2**30
CHILD = """
import sys, time
kept = []
for _ in range(int(sys.argv[1]) // 50):
    kept.append(bytearray(b"1") * (50 << 20))
    time.sleep(0.1)
print("there", flush=True)
sys.stdin.read()  # until it may end, or what started it is gone
"""

os.environ |= {"RAY_memory_monitor_refresh_ms": "50", "RAY_task_oom_retries": "0"}

import ray
from several_nodes import init

import raymemprof
from raymemprof import profile_memory


@ray.remote(max_retries=0)
@profile_memory
def loads(count, megabytes=1000):
    """Start what a DataLoader would, and wait until all of it is there."""
    command, pipe = [sys.executable, "-c", CHILD, str(megabytes)], subprocess.PIPE
    children = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(count)]
    assert [child.stdout.readline() for child in children] == ["there\n"] * count
    for child in children:
        child.communicate("")
    return [child.returncode for child in children]


def start():
    """Begin a cluster that kills when 2.5 GiB more are used than now."""
    memory = psutil.virtual_memory()
    threshold = (memory.total - memory.available + 2.5 * GIB) / memory.total
    assert threshold < 0.9, "this machine has too little memory left"
    os.environ["RAY_memory_usage_threshold"] = str(threshold)
    init(num_cpus=4, logging_level="ERROR", log_to_driver=False, object_store_memory=10**8)


start()
try:
    ray.get(loads.remote(4, 3000), timeout=60)
except ray.exceptions.RayError as error:
    explanation = raymemprof.explain(error)
    (call,) = raymemprof.calls(name="loads", status="killed")
    diagnosis = raymemprof.doctor()
    print(
        json.dumps(
            {
                "cause": explanation.cause,
                "summary": explanation.summary.splitlines(),
                "advice": explanation.advice,
                "ooms": repr(raymemprof.ooms()),
                "doctor": repr(diagnosis),
                "findings": [finding.illness for finding in diagnosis.findings],
                "peak": call.peak_memory,
                "children": call.children_peak,
                "pids": [child.pid for child in call.children],
            }
        )
    )
left = [process for process in psutil.process_iter(["cmdline"]) if CHILD in (process.info["cmdline"] or [])]
for process in left:  # Ray before 2.50 leaves them
    process.kill()
psutil.wait_procs(left, timeout=30)
ray.shutdown()
start()  # a virtual machine may not have back what they had, so the room is measured again
print(json.dumps(ray.get(loads.remote(1), timeout=60)))
ray.shutdown()
