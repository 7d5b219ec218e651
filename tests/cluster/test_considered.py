"""What Ray 2.56 and later say of the workers that they considered to kill, and `explain()` of that: real kills."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import ray

from raymemprof.display.text import show_bytes
from tests.paths import PROGRAMS

Record = dict[str, Any]
MIB, GIB = 2**20, 2**30
TRIES = 3
REQUESTED = 100 * MIB
IDLE = 150 * MIB
PROGRAM = f"""
import json, os, sys, time, psutil
sys.path.insert(0, {str(PROGRAMS)!r})
memory = psutil.virtual_memory()
threshold = (memory.total - memory.available + 2.6 * 2**30) / memory.total
os.environ |= {{"RAY_memory_usage_threshold": str(threshold), "RAY_memory_monitor_refresh_ms": "50"}}
import ray, raymemprof
from several_nodes import init
options = {{"logging_level": "ERROR", "log_to_driver": False, "object_store_memory": 10**8}}
init(num_cpus=4, **options)

@ray.remote(num_cpus=1, max_retries=0)
def leave(size):
    import builtins
    builtins.left = bytearray(b"1") * size  # its worker is idle from now on, and keeps it
    return os.getpid()

@ray.remote(num_cpus=1, max_retries=0, memory={REQUESTED})
def fill(most, folder):
    kept, own = [], psutil.Process()
    with open(f"{{folder}}/{{os.getpid()}}", "w") as file:
        file.write("0\\n")
    while not os.path.exists(f"{{folder}}/go"):
        time.sleep(0.01)
    while len(kept) * 20 < most:
        kept.append(bytearray(b"1") * 20_000_000)
        info = own.memory_info()
        with open(f"{{folder}}/{{os.getpid()}}", "a") as file:  # it may be killed just here
            file.write(f"{{info.rss - info.shared}}\\n")
        time.sleep(0.01)
    time.sleep(60)

os.mkdir("seen")
folder = os.path.abspath("seen")
tasks = [fill.remote(most, folder) for most in (4000, 4000, 300)]
while len(os.listdir(folder)) < len(tasks):
    time.sleep(0.01)
idle = ray.get(leave.remote({IDLE}))
uss = psutil.Process(idle).memory_full_info().uss
kills = []
open("seen/go", "w").close()
for task in tasks:
    try:
        ray.get(task)
    except ray.exceptions.OutOfMemoryError as error:
        explanation = raymemprof.explain(error)
        kills.append({{
            "cause": explanation.cause,
            "error": str(error),
            "text": str(explanation),
            "victims": {{victim.pid: victim.memory for victim in explanation.victims}},
        }})
    except ray.exceptions.RayError:
        pass
private = {{pid: int(open(f"seen/{{pid}}").read().split()[-1]) for pid in os.listdir(folder) if pid != "go"}}
print(json.dumps({{"idle": idle, "uss": uss, "private": private, "kills": kills}}))
"""


def considered(text: str) -> dict[int, int]:
    """What Ray printed of the workers that it considered, in bytes, by pid."""
    found = re.findall(r"pid=(\d+), actual memory used=([\d.]+)GB", text)
    return {int(pid): round(float(figure) * GIB) for pid, figure in found}


@pytest.mark.skipif(
    tuple(map(int, ray.__version__.split(".")[:2])) < (2, 56), reason="older Rays do not say what they considered"
)
@pytest.mark.timeout(300)
def test_those_considered_at_a_real_kill(run_script: Callable[..., str], memory_to_itself: Any) -> None:
    for _ in range(TRIES):  # what others take or free meanwhile may have Ray kill too early, or one at a time
        with memory_to_itself():
            printed = run_script(PROGRAM)
        found: Record = json.loads(printed.splitlines()[-1])
        kills = [kill for kill in found["kills"] if len(considered(kill["error"])) >= 3]
        if kills:
            break
    kill, *_ = kills
    text, memory_of = kill["text"], considered(kill["error"])
    assert kill["cause"] == "ray_memory_monitor"
    selected = {int(pid) for pid in re.findall(r"Selected to kill: .*?pid=(\d+)", kill["error"])}
    assert set(map(int, kill["victims"])) == selected
    filling = {pid: memory for pid, memory in memory_of.items() if str(pid) in found["private"]}
    for pid in selected & filling.keys():  # the others ran on
        assert filling[pid] == pytest.approx(found["private"][str(pid)], rel=0.1, abs=60 * MIB)
    assert f"{len(filling)} workers of fill ran at once, and had " in text
    most = max(filling.values())
    more = show_bytes(most - REQUESTED)
    assert f"fill asks for {show_bytes(REQUESTED)} and had {show_bytes(most)}: {more} more." in text
    assert f"an idle worker (pid {found['idle']})" in text
    assert memory_of[found["idle"]] == pytest.approx(found["uss"], rel=0.1, abs=30 * MIB)
    assert f"{show_bytes(memory_of[found['idle']])} (an idle worker)" in text
