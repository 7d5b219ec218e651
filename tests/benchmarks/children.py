"""What is said of child processes, beside what /proc says of them: `python children.py [case ...]`.

Each case is a real worker of Ray Train, or replica of Ray Serve, whose decorated code has child processes. The truth is
read from outside: the most that Pss_Anon of the process and all below it sums to. Needs `ray[train,serve]` and torch.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
sys.path.insert(0, str(HERE))

import children_cases
import psutil
import ray

import raymemprof
from raymemprof import profile_memory
from raymemprof.diagnosis.explain import families

MIB = 2**20
ALLOWED, LEAST = 0.1, 16 * MIB
METHODS = ("fork", "spawn", "forkserver")


def anonymous(pid: int) -> int:
    """A process's part of anonymous memory, what it shares divided among those that do."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:"))


def family(pid: int) -> set[int]:
    """A process and all below it."""
    try:
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    except psutil.Error:
        return set()


class Truth(threading.Thread):
    """The most that a process and all below it have together, from the time that it writes its pid to a file."""

    def __init__(self, pid_file: Path) -> None:
        super().__init__(daemon=True)
        self.pid_file = pid_file
        self.pid = self.most = self.in_usage = self.at_usage = 0
        self.done = threading.Event()

    def run(self) -> None:
        last, looked = 0, 0.0
        while not self.done.wait(0.02):
            if not self.pid:
                self.pid = int(self.pid_file.read_text() or 0) if self.pid_file.exists() else 0
                continue
            now = sum(map(anonymous, family(self.pid)))
            if 0.95 < now / max(last, 1) < 1.05:  # else one was started, or ended, between two readings
                self.most = max(self.most, now)
                if now >= self.most * 0.95 and time.monotonic() - looked > 1:
                    self.look(now)
                    looked = time.monotonic()
            last = now

    def look(self, now: int) -> None:
        """Take what `usage()` says of the same processes, where they have not changed meanwhile."""
        pids = family(self.pid)
        said = sum(p.counted for node in raymemprof.usage().nodes for p in node.processes if p.pid in pids)
        after = sum(map(anonymous, family(self.pid)))
        if abs(after - now) < now * 0.03 and family(self.pid) == pids:
            self.in_usage, self.at_usage = said, after


def train(function: Callable[..., None], *arguments: Any) -> None:
    """Run a function in a worker of Ray Train."""
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    def loop() -> None:
        profile_memory(function)(*arguments)

    TorchTrainer(loop, scaling_config=ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1})).fit()


def serve(function: Callable[..., None], *arguments: Any) -> None:
    """Run a function in a decorated method of a replica of Ray Serve."""
    from ray import serve as ray_serve

    @ray_serve.deployment(ray_actor_options={"num_cpus": 1})
    class Replica:
        @profile_memory
        def handle(self) -> None:
            function(*arguments)

    try:
        ray_serve.run(Replica.bind(), route_prefix=None).handle.remote().result(timeout_s=300)
    finally:
        ray_serve.shutdown()


CASES: dict[str, tuple[Callable[..., None], str, Callable[..., None], tuple[Any, ...]]] = {
    f"{name}-{method}": (run, method, function, arguments)
    for method in METHODS
    for name, run, function, arguments in (
        ("train-numbers", train, children_cases.iterate, (children_cases.numbers,)),
        ("train-objects", train, children_cases.iterate, (children_cases.objects,)),
        ("serve-pool", serve, children_cases.pool, ()),
    )
}


def measure(case: str) -> tuple[raymemprof.Call, dict[str, tuple[int, int]]]:
    """Run a case; returns its call, and each figure's truth and what raymemprof says."""
    run, method, function, arguments = CASES[case]
    with tempfile.TemporaryDirectory() as folder:
        truth = Truth(Path(folder) / "pid")
        truth.start()
        try:
            run(function, str(truth.pid_file), method, *arguments)
        finally:
            truth.done.set()
            truth.join()
    call = next(call for call in reversed(raymemprof.calls()) if call.pid == truth.pid)
    advice = max((one.max for one in raymemprof.advise([call])), default=0)
    return call, {
        "peak_memory": (truth.most, call.peak_memory),
        "own + children": (truth.most, call.own_peak + call.children_peak),
        "usage": (truth.at_usage, truth.in_usage),
        "advise": (truth.most, advice),
    }


def main(cases: list[str]) -> None:
    """Print a row for each figure of each case."""
    os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="rmp-", dir="/tmp")
    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=10**8, log_to_driver=False, logging_level="ERROR")
    print(f"{'case':26} {'figure':16} {'truth':>10} {'raymemprof':>10}")
    for case in cases:
        call, figures = measure(case)
        for figure, (truth, said) in figures.items():
            # Both have their most at different times where they do, so the sum is a bound.
            is_bound = figure == "own + children"
            is_right = said >= truth * (1 - ALLOWED) and (is_bound or said <= truth * (1 + ALLOWED) + LEAST)
            ok = "ok" if is_right else "WRONG" if truth else "not seen"
            print(f"{case:26} {figure:16} {truth / MIB:8.0f} M {said / MIB:8.0f} M  {ok}", flush=True)
        print(f"{case:26} {families.told(call)}", flush=True)
    ray.shutdown()
    shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(CASES))
