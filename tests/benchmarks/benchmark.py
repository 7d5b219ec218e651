"""Measures what raymemprof costs beside what one would do without it, both sides in one run on this machine.

    python tests/benchmarks/benchmark.py

prints for each of the project's goals what was measured on both sides, the ratio, and the goal. Where a row needs a
Ray cluster, it starts one and stops it. Run it on a quiet machine. `--only merged fetch` measures these.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hundred_nodes as simulated
import psutil
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import raymemprof
from raymemprof import cluster, journal, profile_memory
from raymemprof.diagnosis.watch.minute_peaks import Minutes
from raymemprof.diagnosis.watch.minutes_file import MinutesFile
from raymemprof.diagnosis.watch.worker_samples import Looks

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.texts.long_texts import LONG_TEXTS

results: list[dict[str, Any]] = []


def report(what: str, ours: str, theirs: str, measured: str, goal: str, met: bool) -> None:
    results.append({"what": what, "ours": ours, "against": theirs, "measured": measured, "goal": goal, "met": met})
    print(f"{'met   ' if met else 'MISSED'} {what}\n         ours {ours}; against {theirs}", flush=True)
    print(f"         {measured} (goal: {goal})", flush=True)


def work() -> int:
    return len([bytearray(1000) for _ in range(200)])


def timed(function: Any, times: int) -> list[float]:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return taken


@ray.remote(num_cpus=1, max_calls=1)
def short_tasks(folder: str) -> dict[str, float]:
    """Seconds a call of `work` takes, in a Ray worker with the libraries that data work loads."""
    import memray
    import numpy  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow  # noqa: F401

    median = statistics.median
    off = median(timed(work, 2000))
    # Ours first: it gives way for a moment to trackers that somebody else starts.
    traced = profile_memory(work, directory=folder)
    traced()
    ours = median(timed(traced, 2000))
    raymemprof.recording.tracker.tracker.close("the benchmark is done with it")
    assert all(call.capture for call in raymemprof.calls(folder))
    sampled = profile_memory(work, directory=folder, heap=False)
    sampled()
    sampling = median(timed(sampled, 2000))

    def page() -> None:
        with memray.Tracker(f"{folder}/page-{time.time_ns()}.bin"):
            work()

    each = median(timed(page, 40))
    with memray.Tracker(f"{folder}/left-on.bin"):
        left_on = median(timed(work, 2000))
    return {"off": off, "page": each, "left on": left_on, "traced": ours, "sampled": sampling}


def one_call_each(function: Any, kind: str, left_on: str | None = None) -> tuple[list[float], float, float]:
    """Seconds that a call takes inside a real task that makes one; a task takes, at best and in bursts."""

    @ray.remote(num_cpus=2, runtime_env={"env_vars": {"BENCHMARK_KIND": kind}})
    def task() -> float:
        if left_on is not None and not hasattr(ray, "benchmark_tracker"):
            import memray

            ray.benchmark_tracker = memray.Tracker(f"{left_on}/left-on-{time.time_ns()}.bin")
            ray.benchmark_tracker.__enter__()
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    def run(count: int) -> list[float]:
        return ray.get([task.remote() for _ in range(count)])

    run(20)
    inside: list[float] = []
    throughput = min(timed(lambda: inside.extend(run(1000)), 3)) / 1000
    bursts = []
    for _ in range(5):
        time.sleep(1)  # linger, and the closing
        bursts += timed(lambda: run(300), 1)
    return inside, throughput, statistics.median(bursts) / 300


def real_tasks(folder: Path) -> None:
    """What a call costs in real Ray tasks, one call each."""
    where = str(folder / "real")
    os.makedirs(where)
    kinds = {
        "off": (work, None),
        "left on": (work, where),
        "traced": (profile_memory(work, directory=where), None),
        "sampled": (profile_memory(work, directory=where, heap=False), None),
    }
    inside, tasks, bursts = {}, {}, {}
    for kind, (function, left_on) in kinds.items():
        times, tasks[kind], bursts[kind] = one_call_each(function, kind, left_on)
        inside[kind] = statistics.median(times)

    def added(figures: dict[str, float], kind: str) -> float:
        return figures[kind] - figures["off"]

    def shown(kind: str) -> str:
        return (
            f"{added(inside, kind) * 1e3:.3f} ms inside the task, {added(tasks, kind) * 1e3:.3f} ms of throughput, "
            f"{added(bursts, kind) * 1e3:.3f} ms in bursts of 300 after a pause"
        )

    for what, kind, goal, met in (
        (
            "full tracing, one call in each real task",
            "traced",
            "under 4 times inside the task",
            added(inside, "traced") < 4 * added(inside, "left on"),
        ),
        (
            "memory sampling only, one call in each real task",
            "sampled",
            "under 0.05 ms inside the task",
            added(inside, "sampled") < 0.05e-3,
        ),
    ):
        times = added(inside, kind) / added(inside, "left on")
        report(what, shown(kind), f"a tracker left on, {shown('left on')}", f"{times:.1f} times", goal, met)


def empty_tasks(count: int, folder: Path) -> None:
    """What a job of empty tasks loses with the switch on, beside what it loses where its function is decorated."""

    def empty() -> None:
        pass

    where = str(folder / "empty")
    of_each = {"full tracing": {}, "memory sampling only": {"heap": False}}
    tasks: dict[str, Any] = {"neither": ray.remote(empty).options(runtime_env={"env_vars": {"BENCHMARK_KIND": "off"}})}
    for what, options in of_each.items():
        decorated = ray.remote(profile_memory(empty, directory=where, **options))
        tasks[f"decorated, {what}"] = decorated.options(runtime_env={"env_vars": {"BENCHMARK_KIND": what}})
        tasks[f"switch, {what}"] = ray.remote(empty).options(
            runtime_env=raymemprof.runtime_env(directory=where, **options)
        )
    seconds: dict[str, list[float]] = {kind: [] for kind in tasks}
    for task in tasks.values():
        ray.get([task.remote() for _ in range(100)])
    for _ in range(3):  # in turn: how busy the machine is changes
        for kind, task in tasks.items():
            ray.get([task.remote() for _ in range(100)])  # its workers are there
            seconds[kind] += timed(lambda task=task: ray.get([task.remote() for _ in range(count)]), 1)
    best = {kind: min(each) for kind, each in seconds.items()}
    for what in of_each:
        # Of the sampled ones most are sums by now.
        recorded = sum(one.call_count for one in raymemprof.summary(where, name="*empty", lines=False))
        assert recorded == 4 * (3 * count + 400), recorded
        switch, decorated = (best[f"{how}, {what}"] for how in ("switch", "decorated"))
        lost = {how: 1 - best["neither"] / taken for how, taken in (("switch", switch), ("decorated", decorated))}
        report(
            f"a job of {count:,} empty tasks with the switch on, {what}",
            f"{count / switch:,.0f} tasks a second, {lost['switch']:.0%} fewer than {count / best['neither']:,.0f}",
            f"a decorated function, {count / decorated:,.0f} tasks a second, {lost['decorated']:.0%} fewer",
            f"{switch / decorated:.2f} times as long",
            "not longer (within 5 %)",
            switch <= 1.05 * decorated,
        )


MANY_RECORDS = """
import sys
from raymemprof import profile_memory
def churn(n):
    kept = [None] * 1000
    for i in range(n):
        kept[i % 1000] = bytearray(600 + i * 7919 % 3000)
    return len(kept)
profile_memory(churn, directory=sys.argv[1], max_bytes=2**40)(int(sys.argv[2]) // 2)
"""


def recorded_capture(folder: Path, count: int) -> Path:
    """A capture of a call that has so many records: of each allocation, and of its end."""
    recorded = folder / f"records-{count}"
    subprocess.run([sys.executable, "-c", MANY_RECORDS, recorded, str(count)], check=True)
    return next(recorded.glob("*.bin"))


def loop_over(path: Path) -> None:
    """The least that can be done with each record."""
    import memray

    with memray.FileReader(path) as reader:
        for _ in reader.get_allocation_records():
            pass


def readers() -> dict[int, tuple[float, float]]:
    """Seconds of CPU that each reader process of this one has taken, and MiB that it had at the most."""
    found = {}
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, OSError):
            if any("raymemprof" in part for part in child.cmdline()):
                status = Path(f"/proc/{child.pid}/status").read_text()
                most = int(status.partition("VmHWM:")[2].split()[0]) / 1024
                found[child.pid] = sum(child.cpu_times()[:2]), most
    return found


def records(folder: Path) -> None:
    """`heap()` of a capture of four million records, beside memray's high-water mark and an empty loop over them."""
    import memray

    count = 4_000_000
    ours = recorded_capture(folder, count)
    foreign = folder / "foreign.bin"
    script = MANY_RECORDS.replace("profile_memory(churn, directory=sys.argv[1], max_bytes=2**40)(", "kept = churn(")
    command = [sys.executable, "-m", "memray", "run", "-q", "-o", foreign, "-c", script, "", str(count)]
    subprocess.run(command, check=True)

    def peak(path: Path) -> None:
        with memray.FileReader(path) as reader:
            list(reader.get_high_watermark_allocation_records(merge_threads=True))

    for what, path, theirs, of in (
        ("foreign", foreign, lambda: peak(foreign), "memray's own high-water mark"),
        ("recorded", ours, lambda: loop_over(ours), "an empty loop over the records"),
    ):
        raymemprof.heap(path)  # the reader process is started
        heaps, others = [], []
        for _ in range(5):  # in turn: how busy the machine is changes
            before = readers()
            raymemprof.heap(path)
            heaps.append(sum(cpu - before.get(pid, (0.0, 0.0))[0] for pid, (cpu, _) in readers().items()))
            start = time.process_time()
            theirs()
            others.append(time.process_time() - start)
        taken, against = min(heaps), min(others)
        report(
            f"heap() of a {what} capture of 4 million records",
            f"{taken:.2f} s of CPU",
            f"{of}, {against:.2f} s of CPU",
            f"{taken / against:.2f} times",
            "under 2 times",
            taken < 2 * against,
        )


def huge(folder: Path, count: int) -> None:
    """`heap()` of a capture of very many records: its memory does not grow with them."""
    figures = {}
    for number in (count // 25, count):
        path = recorded_capture(folder, number)
        start = time.perf_counter()
        raymemprof.heap(path)
        seconds = time.perf_counter() - start
        figures[number] = seconds, max(most for _, most in readers().values())
        path.unlink()
    (_, before), (seconds, most) = figures.values()
    report(
        f"heap() of a capture of {count:,} records",
        f"{seconds:.0f} s, {most:.0f} MiB in the reader process",
        f"{count // 25:,} records, {before:.0f} MiB",
        f"{most - before:.0f} MiB more",
        "under 64 MiB more",
        most - before < 64,
    )


def build() -> int:
    """A second or so of allocating, as a task that builds tables does."""
    kept = []
    for n in range(2000):
        kept.append([bytearray(700 + i) for i in range(1000)])
        if n % 10 == 9:
            kept.clear()
    return len(kept)


@ray.remote(num_cpus=1, max_calls=1)
def long_task(folder: str) -> dict[str, float]:
    import memray
    import numpy  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow  # noqa: F401

    profiled = profile_memory(build, directory=folder, linger=0)

    def page() -> None:
        with memray.Tracker(f"{folder}/long-{time.time_ns()}.bin"):
            build()

    def ours() -> None:
        profiled()
        # The page's pattern closes in the task, so count ours too.
        raymemprof.recording.tracker.tracker.close("the benchmark is done with it")

    ours()  # the journal, and memray's first import, are once a worker
    by_us = timed(ours, 5)
    assert all(call.capture for call in raymemprof.calls(folder, name="build"))
    off = timed(build, 5)
    by_page = timed(page, 5)
    return {"off": min(off), "page": min(by_page), "ours": min(by_us)}


@ray.remote(num_cpus=1)
def cpu_while_waiting(folder: str | None) -> float:
    """Percent of a CPU that a worker uses while a call does nothing for ten seconds, sampled or undecorated."""
    import psutil

    def wait() -> None:
        time.sleep(10)

    waiting = wait if folder is None else profile_memory(wait, directory=folder, heap=False)
    process = psutil.Process()
    before = sum(process.cpu_times()[:2])
    start = time.perf_counter()
    waiting()
    return (sum(process.cpu_times()[:2]) - before) / (time.perf_counter() - start) * 100


def sampler_seconds() -> float:
    """Seconds of a CPU that the sampler's thread of this process has taken."""
    from raymemprof.recording.sampler import sampler

    ident = sampler._thread.ident
    return time.clock_gettime(time.pthread_getcpuclockid(ident))


@ray.remote(num_cpus=1, max_calls=1)
def family(folder: str, count: int, size: int) -> dict[str, float]:
    """Percent of a CPU that watching takes in a process with so many forks of so many bytes, and with none."""
    import signal

    from raymemprof.recording.memory.children import children

    step = 2**20
    data = bytearray(b"1") * size
    pids: list[int] = []
    figures: dict[str, float] = {}

    def fork() -> int:
        pid = os.fork()
        if pid == 0:
            for start in range(0, min(30 * step, size), step):
                data[start : start + step : 4096] = b"2" * (step // 4096)  # copied, so that there is news to look at
                time.sleep(1)
            while True:
                signal.pause()
        return pid

    def anonymous(pid: int) -> int:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon"))

    def measured(what: str, seconds: float, forks: int) -> None:
        time.sleep(0.5)
        before, start = sampler_seconds(), time.perf_counter()
        pids.extend(fork() for _ in range(forks))
        time.sleep(seconds)
        figures[what] = (sampler_seconds() - before) / (time.perf_counter() - start) * 100
        if forks:
            figures["truth"] = sum(map(anonymous, [os.getpid(), *pids]))

    profiled = profile_memory(measured, directory=folder, heap=False)
    children._is_possible = False
    profiled("not looking", 10, 0)
    children._is_possible = True
    profiled("none", 10, 0)
    try:
        profiled("with children", 30, count)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    figures["peak"] = max(call.peak_memory for call in raymemprof.calls(folder))
    return figures


@ray.remote(num_cpus=1, max_calls=1)
def watched(folder: str, mappings: int, size: int) -> dict[str, float]:
    """Percent of a CPU that the sampler's thread takes in a process with so many mappings, sampled only and traced."""
    import mmap

    kept = []
    for number in range(mappings):
        block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if number % 2:
            block.madvise(mmap.MADV_NOHUGEPAGE)  # or the kernel would join it to the one before
        block.write(b"1" * size)
        kept.append(block)

    def move(key: str) -> None:
        """Have the memory rise again and again, so that it is worth looking at."""
        more = []
        for number in range(46):
            if number == 6:  # by then it has looked as much as may be saved up
                before, start = sampler_seconds(), time.perf_counter()
            more.append(bytearray(b"1") * (16 * 2**20))
            time.sleep(0.5)
        figures[key] = (sampler_seconds() - before) / (time.perf_counter() - start) * 100

    figures: dict[str, float] = {}
    profile_memory(move, directory=folder, heap=False)("sampled")
    profile_memory(move, directory=folder, linger=0)("traced")
    figures["mappings"] = len(Path("/proc/self/maps").read_text().splitlines())
    figures["bytes"] = len(kept) * size
    return figures


def fib(n: int) -> int:
    return n if n < 2 else fib(n - 1) + fib(n - 2)


@ray.remote(num_cpus=1, max_retries=0)
def after_profiling(folder: str | None) -> float:
    """Seconds of small Python calls, on a worker that has just profiled (once linger is over) or on a fresh one."""
    import pandas  # noqa: F401

    if folder is not None:
        profile_memory(work, directory=folder)()
        time.sleep(1)  # linger, and the closing
    return min(timed(lambda: fib(24), 15))


def disabled() -> None:
    def nothing() -> None:
        pass

    by_code = profile_memory(nothing, enabled=False)
    os.environ["RAYMEMPROF_ENABLED"] = "0"
    try:
        by_variable = profile_memory(nothing)
        by_variable()
    finally:
        del os.environ["RAYMEMPROF_ENABLED"]

    def cost(function: Any) -> float:
        best = []
        for _ in range(9):
            start = time.perf_counter()
            for _ in range(100_000):
                function()
            best.append((time.perf_counter() - start) / 100_000)
        return min(best)

    plain, code, variable = cost(nothing), cost(by_code), cost(by_variable)
    added = max(code, variable) - plain
    report(
        "enabled=False",
        f"{code * 1e6:.3f} us (by variable {variable * 1e6:.3f} us)",
        f"the undecorated function, {plain * 1e6:.3f} us",
        f"{added * 1e6:.3f} us added",
        "under 1 us",
        added < 1e-6,
    )


def merged(folder: Path, count: int) -> None:
    """A merged flame graph of many captures, beside memray's own command on each."""
    recorded = folder / "merged"
    script = f"""
import sys
from raymemprof import profile_memory
from raymemprof.recording.tracker import tracker
@profile_memory(directory={str(recorded)!r}, linger=0)
def task(n):
    return sum(len(piece) for piece in [bytearray(1000 + n) for _ in range(500)])
for n in range({count}):
    task(n)
    tracker.close("done")
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    captures = raymemprof.captures(recorded)
    assert len(captures) == count, len(captures)
    sample = captures[:: max(1, count // 10)]
    start = time.perf_counter()
    for capture in sample:
        command = [
            sys.executable,
            "-m",
            "memray",
            "flamegraph",
            "-f",
            "-o",
            str(folder / "theirs.html"),
            str(capture.path),
        ]
        subprocess.run(command, check=True, capture_output=True)
    theirs = (time.perf_counter() - start) / len(sample) * count
    start = time.perf_counter()
    raymemprof.flamegraph(captures, folder / "ours.html", overwrite=True)
    ours = time.perf_counter() - start
    report(
        f"a merged flamegraph of {count} captures",
        f"{ours:.2f} s",
        f"`memray flamegraph` on each, {theirs:.0f} s ({len(sample)} of them measured)",
        f"{theirs / ours:.0f} times faster",
        "300 times faster",
        theirs / ours >= 300,
    )


def catalogue(folder: Path) -> None:
    """`calls()` over 10,000 calls in 1,000 journals, beside reading the same lines with json.loads."""
    recorded = folder / "journals"
    script = f"""
from raymemprof import profile_memory
from raymemprof.recording import open_journals
@profile_memory(directory={str(recorded)!r}, heap=False)
def task():
    pass
for _ in range(1000):
    for _ in range(10):
        task()
    for journal in open_journals._journals.values():
        journal.close()
    open_journals._journals.clear()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    journals = sorted(recorded.glob("*.jsonl"))
    assert len(journals) == 1000

    def parse() -> None:
        for path in journals:
            for line in path.read_bytes().splitlines():
                json.loads(line)

    assert len(raymemprof.calls(recorded)) == 10_000
    theirs = min(timed(parse, 5))
    ours = min(timed(lambda: raymemprof.calls(recorded), 5))
    report(
        "calls() over 10,000 calls in 1,000 journals",
        f"{ours * 1e3:.0f} ms",
        f"json.loads of the lines, {theirs * 1e3:.0f} ms",
        f"{ours / theirs:.1f} times",
        "under 3 times",
        ours / theirs < 3,
    )


MILLION = """
import sys, time
import raymemprof
which, folder, name = sys.argv[1:]
start, cpu = time.perf_counter(), time.process_time()
if which == "calls":
    found = len(raymemprof.calls(folder, name=name))
elif which == "summary":
    found = sum(row.call_count for row in raymemprof.summary(folder))
elif which == "advise":
    from raymemprof.reading.catalog.representative_calls import representative

    found = sum(one.call_count for one in raymemprof.advise(representative(folder)))
elif which == "clean":
    found = len(raymemprof.clean(folder, older_than=10**9))
else:
    found = len(getattr(raymemprof, which)(folder)) if which != "doctor" else len(raymemprof.doctor(folder).findings)
took, cpu = time.perf_counter() - start, time.process_time() - cpu
status = open("/proc/self/status").read()
print(found, took, cpu, int(status.partition("VmHWM:")[2].split()[0]) / 1024)
"""


def million(folder: Path) -> None:
    """A million calls, which eight workers traced: listed with a filter, and summed up by function.

    One thread does it, so on a machine that has nothing else to do seconds of CPU are those that pass.
    """
    recorded = folder / "million"
    recorded.mkdir()
    count, workers = 10**6, 8
    for worker in range(workers):
        write_journal(recorded, worker, count // workers)
    size = sum(path.stat().st_size for path in recorded.iterdir())

    def measured(which: str, name: str = "") -> tuple[int, float, float, float]:
        """How many calls there are, seconds, those of CPU, and MiB at the most, in a process of its own."""
        command = [sys.executable, "-c", MILLION, which, str(recorded), name]
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
        out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        found, *figures = out.split()
        return int(found), *map(float, figures)

    def parse() -> None:
        for path in recorded.iterdir():
            with path.open("rb") as file:
                for line in file:
                    json.loads(line)

    before = time.process_time()
    parse()
    theirs = time.process_time() - before
    for what, which, name, expected, most in (
        ("listing those of one function that has none", "calls", "nosuch", 0, 3.0),
        ("listing those of one function that has 1,000", "calls", "rare", 1000, 3.0),
        ("summing them up by function", "summary", "", count, 5.0),
        ("the same again", "summary", "", count, 0.5),
        ("advise(), asked after that", "advise", "", count, 0.5),
        ("doctor(), asked after that", "doctor", "", 0, 0.5),
        ("ooms(), asked after that", "ooms", "", 0, 0.5),
        ("captures(), asked after that", "captures", "", 0, 0.5),
        ("clean() that finds nothing to remove", "clean", "", 0, 0.5),
        ("doctor(), with nothing kept", "doctor", "", 0, 5.0),
    ):
        if "nothing kept" in what:
            shutil.rmtree(folder / "cache")
        found, seconds, cpu, mib = measured(which, name)
        assert found == expected
        report(
            f"a million calls ({size / 1e6:.0f} MB of journals): {what}",
            f"{cpu:.2f} s of CPU ({seconds:.2f} s passed), {mib:.0f} MiB",
            f"json.loads of each line, {theirs:.1f} s of CPU",
            f"{cpu / theirs:.2f} times the CPU",
            f"under {most:g} s and 200 MiB",
            cpu < most and mib < 200,
        )


def hundred_nodes(folder: Path, nodes: int = 100, tasks: int = 10_000) -> None:
    """A simulated cluster of a hundred nodes: what travels does not grow with the calls, and the driver stays small."""
    seen = {}
    for count in (tasks // 5, tasks):
        recorded = folder / f"nodes-{count}"
        ids = simulated.write_nodes(recorded, nodes, count)
        seen[count] = {question: simulated.measure(recorded, ids, question) for question in simulated.QUESTIONS}
        shutil.rmtree(recorded)
    for question in simulated.QUESTIONS:
        few, many = seen[tasks // 5][question], seen[tasks][question]
        report(
            f"{question} of {nodes} simulated nodes, {tasks:,} tasks each",
            f"{many['bytes'] / 1e6:.2f} MB travel, {many['driver_seconds']:.2f} s and {many['driver_mib']:.0f} MiB on "
            f"the driver, {many['node_seconds']:.2f} s and {many['node_mib']:.0f} MiB on a node",
            f"{tasks // 5:,} tasks each, {few['bytes'] / 1e6:.2f} MB",
            f"{many['bytes'] / few['bytes']:.2f} times as much travels of five times as many calls",
            "under 1.5 times, under 20 MB, 200 MiB on each",
            many["bytes"] < min(1.5 * few["bytes"], 20e6) and max(many["driver_mib"], many["node_mib"]) < 200,
        )


DAY = """
import os, signal, sys
from raymemprof import profile_memory

kind = sys.argv[3]
recorded = profile_memory(
    directory=sys.argv[1],
    heap=kind != "sampled",
    linger=0.25 if kind == "tasks" else float("inf"),
    max_bytes=512 * 2**20,
)

class Cache:
    kept = []
    def get(self, number):
        return number
    def add(self, number):
        self.kept.append(bytearray(1000))  # the leak
    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)

def get(number):
    return number
def add(number):
    Cache.kept.append(bytearray(1000))  # the leak
def die():
    os.kill(os.getpid(), signal.SIGKILL)

def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

if kind == "tasks":
    get, add, die = map(recorded, (get, add, die))
else:
    cache = recorded(Cache)()
    get, add, die = cache.get, cache.add, cache.die
calls = int(sys.argv[2])
for number in range(calls // 10):
    if number == calls // 100:
        early = rss()
    for _ in range(9):
        get(number)
    add(number)
print(early, rss(), len(Cache.kept), calls // 100, flush=True)
die()
"""


def day(folder: Path, calls: int) -> None:
    """A day of a worker: short calls of an actor's methods, or tasks, one of which leaks, and a kill in the end."""
    for kind, what in (("actor", "of an actor"), ("tasks", "of tasks"), ("sampled", "of an actor, sampled only")):
        recorded = folder / f"day-{kind}"
        command = [sys.executable, "-c", DAY, str(recorded), str(calls), kind]
        out = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        early, late, kept, before = map(int, out.split())
        leaked = (kept - before) * 1000
        size = sum(path.stat().st_size for path in recorded.iterdir())
        journal = sum(path.stat().st_size for path in recorded.glob("*.jsonl"))
        rows = raymemprof.summary(recorded, lines=False)
        killed = raymemprof.calls(recorded, status="killed")
        said = ""
        if kind != "sampled":
            captures = [capture.path for capture in raymemprof.captures(recorded)]
            line = raymemprof.heap(captures[-1]).top(1, view="leaks")[0]
            assert line.function.endswith("add"), line
            said = f", {len(captures)} captures, the leak is at line {line.line}"
        assert [call.name for call in killed] == ["die" if kind == "tasks" else "Cache.die"]
        assert sum(row.call_count for row in rows) == calls // 10 * 10 + 1
        report(
            f"a day of a worker that makes {calls:,} calls {what}",
            f"{size / calls:.0f} bytes a call on disk, {journal / calls:.0f} of them in the journal{said}",
            f"{leaked / 2**20:.0f} MiB leaked",
            f"the worker grew by {(late - early - leaked) / 2**20:.1f} MiB beside that",
            "within the budget of 512 MiB, under 16 MiB beside the leak",
            size <= 512 * 2**20 and late - early - leaked < 16 * 2**20,
        )
        report(
            f"disk that a dull call takes, of {calls:,} {what}",
            f"{size / calls:.0f} bytes, the journal included",
            f"the journal alone, {journal / calls:.0f} bytes",
            f"{size / calls:.0f} bytes",
            "under 200 bytes",
            size < 200 * calls,
        )


def write_journal(recorded: Path, worker: int, count: int) -> None:
    """Write what a worker writes that traces so many calls of a few functions."""
    started = 1.7e9 + worker
    stem = f"raymemprof-step-local-0-{10**6 + worker}-{int(started * 1e9)}"
    process = {"event": "process", "version": 1, "pid": 10**6 + worker, "created": started, "host": "elsewhere"}
    line = json.JSONEncoder(separators=(",", ":")).encode
    with (recorded / f"{stem}.jsonl").open("w") as file:
        print(line({**process, "node_id": "a" * 56, "worker_id": f"{worker:056x}", "logs": None}), file=file)
        for number in range(count):
            name = "rare" if number % 1000 == 0 else ("load", "train.epoch", "Cache.add")[number % 3]
            ids = {"task_id": f"{number:032x}{worker:016x}", "attempt": 0, "actor_id": None, "job_id": "01000000"}
            begin = {"event": "begin", "call": number, "time": started + number / 100, "name": name, "kind": "task"}
            place = {"memory": 60_000_000, "capture": f"{stem}.bin", "slot": 0, "turn": number}
            figures = {"memory": 61_000_000 + number, "peak": 62_000_000 + 977 * number % 10**9}
            end = {"event": "end", "call": number, "duration": 0.0123, "status": "finished", "error": None}
            print(line({**begin, **ids, **place}), line({**end, **figures}), sep="\n", file=file)


EVENTS = Path(__file__).parent.parent / "data" / "ray-2.60" / "event_RAYLET.log"


def events(folder: Path, kind: str, count: int) -> None:
    """`ooms()` of a session with a long log of events, beside reading the same lines with json.loads."""
    logs = folder / f"logs-{kind}"
    (logs / "events").mkdir(parents=True)
    log = logs / "events" / "event_RAYLET.log"
    kill, failure, *_ = EVENTS.read_text().splitlines(keepends=True)
    with log.open("w") as out:
        for number in range(count):
            is_kill = kind == "kills" or (kind == "mixed" and number % 100 == 0)
            line = kill.replace("pid=12988", f"pid={number}") if is_kill else failure.replace("13110", str(number))
            out.write(line)

    def parse() -> None:
        with log.open("rb") as lines:
            for line in lines:
                json.loads(line)

    kills = raymemprof.ooms(logs)
    assert len(kills) == {"kills": count, "mixed": count // 100, "failures": 0}[kind]
    ours, theirs = min(timed(lambda: raymemprof.ooms(logs), 2)), min(timed(parse, 2))
    report(
        f"ooms() of a log of {count:,} events, {kind}",
        f"{ours:.2f} s",
        f"json.loads of the {log.stat().st_size / 2**20:.0f} MiB of lines, {theirs:.2f} s",
        f"{ours / theirs:.1f} times, {ours:.2f} s",
        "under 3 times" if kind == "kills" else "under 2 times, and under 2 s",
        ours < 3 * theirs if kind == "kills" else ours < 2 * theirs and ours < 2,
    )
    log.unlink()


def many_tasks(count: int) -> None:
    """Capture files after many short tasks on a cluster."""

    @ray.remote(num_cpus=1)
    @profile_memory
    def task(n: int) -> int:
        return len([bytearray(1000) for _ in range(n % 200)])

    start = time.perf_counter()
    ray.get([task.remote(n) for n in range(count)])
    seconds = time.perf_counter() - start
    deadline = time.monotonic() + 20
    while (
        any(capture.status == "open" for capture in raymemprof.captures(name="*task")) and time.monotonic() < deadline
    ):
        time.sleep(0.1)
    recorded = raymemprof.calls(name="*task")
    captures = raymemprof.captures(name="*task")
    size = sum(capture.size for capture in captures)
    assert len(recorded) == count
    assert all(call.capture for call in recorded)
    report(
        f"capture files after {count:,} short tasks ({count / seconds:.0f} a second)",
        f"{len(captures)} files, {size / 2**20:.1f} MiB",
        f"the page's {count:,}",
        f"{len(captures)} files",
        "under 50, within the budget of 2 GiB",
        len(captures) < 50 and size < 2 * 2**30,
    )


@contextlib.contextmanager
def another_node(folder: Path) -> Iterator[str]:
    """A second node with a session directory of its own; gives its id."""
    started = folder / "two"
    command = Path(sys.executable).with_name("ray")
    address = ray.get_runtime_context().gcs_address
    known = {node["NodeID"] for node in ray.nodes()}
    subprocess.run(
        [command, "start", f"--address={address}", f"--temp-dir={started}", "--num-cpus=1", "--disable-usage-stats"],
        check=True,
        capture_output=True,
    )
    try:
        deadline = time.monotonic() + 30
        while not (new := {node["NodeID"] for node in ray.nodes() if node["Alive"]} - known):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield new.pop()
    finally:
        for process in psutil.process_iter(["cmdline"]):
            if any(str(started) in part for part in process.info["cmdline"] or ()):
                with contextlib.suppress(psutil.Error):
                    process.terminate()


def on_node(node_id: str, function: Any, *arguments: Any) -> Any:
    where = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.get(ray.remote(function).options(num_cpus=0, scheduling_strategy=where).remote(*arguments))


def write_a_capture(size: int) -> str:
    """Make a file of this size with a capture's name, where captures lie on this node."""
    logs = Path(ray._private.worker.global_worker.node.get_logs_dir_path())
    path = logs / f"{journal.file_stem('big', None, None)}.bin"
    with path.open("wb") as file:
        piece = os.urandom(2**24)
        for _ in range(size // len(piece)):
            file.write(piece)
    return str(path)


def fetched(folder: Path, size: int) -> None:
    """`fetch` of a large file from another node, beside `cp` of it."""
    with another_node(folder) as node_id:
        path = on_node(node_id, write_a_capture, size)
        name = Path(path).name  # not its path: the node is on this machine, and a file that is here is merely copied
        asked: list[str] = []
        ask = cluster.ask

        def noted(asked_node: str, function: Any, *rest: Any, **options: Any) -> Any:
            asked.append(function.__name__)
            return ask(asked_node, function, *rest, **options)

        copied, taken = [], []
        cluster.ask = noted
        try:
            for number in range(3):  # in turn: how busy the disk is changes
                copied += timed(lambda: subprocess.run(["cp", path, folder / "copied.bin"], check=True), 1)
                to = folder / f"fetched-{number}"
                with profile_memory("fetch", directory=folder / "fetching", heap=False):
                    taken += timed(lambda to=to: raymemprof.fetch(name, to), 1)
                assert (to / name).stat().st_size == size
                (to / name).unlink()
        finally:
            cluster.ask = ask
        assert asked.count("send") >= 3, "the file did not come from the node"
        ours, theirs = min(taken), min(copied)
        grown = max(call.peak_memory - call.memory_before for call in raymemprof.calls(folder / "fetching"))
        report(
            f"fetch of {size / 2**30:.2f} GiB from another node",
            f"{ours:.2f} s, {grown / 2**20:.0f} MiB more memory",
            f"cp on the same disk, {theirs:.2f} s",
            f"{ours / theirs:.1f} times",
            "under 4 times, under 100 MB",
            ours / theirs < 4 and grown < 100e6,
        )


def short(folder: Path) -> None:
    """What is added to a short task, and what sampling costs."""
    cost = ray.get(short_tasks.remote(str(folder)))
    added = {key: value - cost["off"] for key, value in cost.items()}
    ms = {key: f"{value * 1e3:.3f} ms" for key, value in added.items()}
    report(
        "cost added to a short task by full tracing",
        ms["traced"],
        f"the page's Tracker in each task, {ms['page']}",
        f"{added['page'] / added['traced']:.0f} times less, {ms['traced']}",
        "300 times less, and under 0.15 ms",
        added["page"] / added["traced"] >= 300 and added["traced"] < 0.15e-3,
    )
    report(
        "the same",
        ms["traced"],
        f"one tracker left on and nothing else, {ms['left on']}",
        f"{added['traced'] / added['left on']:.1f} times",
        "under 4 times",
        added["traced"] < 4 * added["left on"],
    )
    sampled, idle = (ray.get(cpu_while_waiting.remote(where)) for where in (str(folder), None))
    cpu = sampled - idle
    report(
        "memory sampling only",
        f"{ms['sampled']} a call, {sampled:.2f} % CPU",
        f"the undecorated function, {idle:.2f} % CPU in an idle Ray worker",
        f"{ms['sampled']}, {cpu:.2f} %",
        "under 0.1 ms, under 1 %",
        added["sampled"] < 0.1e-3 and cpu < 1,
    )


def long(folder: Path) -> None:
    """What is added to a long task."""
    cost = ray.get(long_task.remote(str(folder)))
    by_us, by_page = cost["ours"] - cost["off"], cost["page"] - cost["off"]
    report(
        f"cost added to a long task ({cost['off']:.2f} s)",
        f"{by_us * 1e3:.0f} ms",
        f"the page's pattern, {by_page * 1e3:.0f} ms",
        f"{by_us / by_page:.2f} times",
        "not more (within 5 %)",
        by_us <= by_page * 1.05,
    )


def large(folder: Path) -> None:
    """What watching costs where there is much to look at."""
    figures = ray.get(watched.remote(str(folder), 5000, 1_600_000))
    added = figures["traced"] - figures["sampled"]
    report(
        f"looking at what is resident of {figures['bytes'] / 1e9:.0f} GB in {figures['mappings']:.0f} mappings",
        f"{figures['traced']:.2f} % CPU, traced",
        f"memory sampling only, {figures['sampled']:.2f} % CPU",
        f"{added:.2f} % added",
        "under 1 %",
        added < 1,
    )


def children(folder: Path) -> None:
    """What watching child processes costs, and a process that has none."""
    for name, size in (("16 MB", 2**24), ("1 GB", 2**30)):
        figures = ray.get(family.remote(str(folder / f"children-{size}"), 64, size))
        cost, part = figures["with children"] - figures["none"], figures["peak"] / figures["truth"]
        report(
            f"watching 64 forks of {name} that copy 1 MB/s each, in a call of 30 s",
            f"{figures['with children']:.2f} % CPU, peak {figures['peak'] / 2**20:.0f} MiB",
            f"no children, {figures['none']:.2f} % CPU; {figures['truth'] / 2**20:.0f} MiB in the end (Pss_Anon)",
            f"{cost:.2f} % for the children; {part:.2f} of what they had",
            "under 2 %; within 10 %",
            cost < 2 and abs(part - 1) < 0.1,
        )
        added = figures["none"] - figures["not looking"]
        report(
            "looking for children where there are none",
            f"{figures['none']:.2f} % CPU",
            f"not looking, {figures['not looking']:.2f} % CPU",
            f"{added:.2f} % added",
            "nothing that can be measured (under 0.2 %)",
            added < 0.2,
        )


def after(folder: Path) -> None:
    """What is left of the cost on a worker that has profiled."""

    def on_five_workers(kind: str, where: str | None) -> list[float]:
        return [
            ray.get(after_profiling.options(runtime_env={"env_vars": {kind: str(n)}}).remote(where)) for n in range(5)
        ]

    fresh, used = on_five_workers("FRESH", None), on_five_workers("USED", str(folder))
    ratio = min(used) / min(fresh)
    report(
        "an undecorated task on a worker that has just profiled",
        f"{min(used) * 1e3:.2f} ms",
        f"the same task on a fresh worker, {min(fresh) * 1e3:.2f} ms",
        f"{ratio:.2f} times",
        "not slower (within 5 %)",
        ratio < 1.05,
    )


class Worked:
    """A class of actors whose calls take some milliseconds."""

    def work(self) -> int:
        return sum(work() for _ in range(20))


def attached(folder: Path) -> None:
    """What a call of a running actor takes before it is attached to, meanwhile, and after; undisturbed by others."""

    def latency(actor: Any, calls: int = 300) -> float:
        return statistics.quantiles(timed(lambda: ray.get(actor.work.remote()), calls), n=10)[0]

    for what, options in (("full tracing", {}), ("memory sampling only", {"heap": False})):
        options["directory"] = str(folder / "attached")
        found: dict[str, list[float]] = {"before": [], "meanwhile": [], "after": [], "decorated": []}
        for _ in range(3):  # in turn: how busy the machine is changes
            actor = ray.remote(num_cpus=0)(Worked).remote()
            latency(actor)
            found["before"].append(latency(actor))
            with raymemprof.attach(actor, **options) as attachment:
                latency(actor, 30)
                found["meanwhile"].append(latency(actor))
            assert attachment.result.call_count == 330
            found["after"].append(latency(actor))
            ray.kill(actor)
            actor = profile_memory(**options)(ray.remote(num_cpus=0)(Worked)).remote()
            latency(actor, 30)
            found["decorated"].append(latency(actor))
            ray.kill(actor)
        best = {when: min(times) for when, times in found.items()}
        ms = {when: f"{seconds * 1e3:.2f} ms" for when, seconds in best.items()}
        report(
            f"a call of a running actor that is attached to, {what}",
            ms["meanwhile"],
            f"a decorated actor, {ms['decorated']}",
            f"{best['meanwhile'] / best['decorated']:.2f} times",
            "not slower (within 10 %)",
            best["meanwhile"] < 1.1 * best["decorated"],
        )
        report(
            f"a call of an actor that was attached to, {what}",
            ms["after"],
            f"before, {ms['before']}",
            f"{best['after'] / best['before']:.2f} times",
            "not slower (within 10 %)",
            best["after"] < 1.1 * best["before"],
        )


def looks(folder: Path, workers: int = 100, count: int = 120) -> None:
    """What `watch()` takes of a CPU on a node of so many workers: processes with their titles, below this one."""
    titles = [f"ray::Worker{number % 10}.step" for number in range(workers)]
    children = [subprocess.Popen([title, "600"], executable="/bin/sleep") for title in titles]
    looking, minutes, file = Looks(psutil.Process()), Minutes(), MinutesFile(folder / "minutes.json")

    def look() -> None:
        file.append(minutes.take(int(time.time() // 60), looking.take()))

    def by_psutil() -> None:
        for child in children:
            process = psutil.Process(child.pid)
            process.cmdline(), process.memory_info()

    def cpu(function: Any) -> float:
        start = time.process_time()
        for _ in range(count):
            function()
        return (time.process_time() - start) / count

    try:
        look()  # which tells workers from other processes, once
        ours, theirs = (min(cpu(function) for _ in range(3)) for function in (look, by_psutil))
        file.rewrite(minutes)
        assert sum(len(one.processes) for one in next(iter(minutes.by_minute.values())).values()) == 2 * workers
    finally:
        for child in children:
            child.kill()
            child.wait()
    report(
        f"watch() on a node of {workers} workers",
        f"{ours * 1e3:.2f} ms of CPU a look, of which there is one a second",
        f"psutil's cmdline and memory_info, {theirs * 1e3:.2f} ms",
        f"{ours:.2%} of a CPU",
        "under 0.5 % of a CPU",
        ours < 0.005,
    )


def texts(folder: Path) -> None:
    """`explain()` of 1 MB of each kind of long text, in seconds of CPU, which other programs change little."""
    raymemprof.explain("".join(make(2000) for make in LONG_TEXTS.values()), folder)
    for kind, make in LONG_TEXTS.items():
        text, taken = make(1_000_000), []
        for _ in range(3):
            start = time.process_time()
            raymemprof.explain(text, folder)
            taken.append(time.process_time() - start)
        ours = min(taken)
        report(f"explain() of 1 MB: {kind}", f"{ours:.2f} s of CPU", "nothing", f"{ours:.2f} s", "under 1 s", ours < 1)


def stacks(folder: Path) -> None:
    """A flame graph of very many call stacks in a browser, against memray's own page, which folds none."""
    import many_stacks

    if not many_stacks.is_possible():
        print("stacks: Chromium is not installed", flush=True)
        return
    forms, theirs, folded, drawing = many_stacks.measure(folder / "stacks")
    for one in forms:
        most = many_stacks.MOST_BYTES[one.form]
        report(
            f"a flame graph of {many_stacks.STACKS:,} call stacks, in the {one.form}",
            f"{one.size / 1e6:.2f} MB, {one.boxes:,} boxes; drawn in {drawing:.1f} s",
            theirs,
            f"Chromium opens it in {one.opened:.2f} s and zooms in {one.zoomed:.2f} s. {folded}",
            f"{many_stacks.SECONDS:.0f} s each, under {most / 1e6:.1f} MB, and it says what was folded",
            max(one.opened, one.zoomed) <= many_stacks.SECONDS and one.size < most and bool(folded),
        )


ON_A_CLUSTER = {"short", "real", "empty", "long", "large", "children", "after", "tasks", "fetch", "attached"}
"""Rows that need one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captures", type=int, default=1000, help="captures to merge")
    parser.add_argument("--tasks", type=int, default=10_000, help="short tasks to run")
    parser.add_argument("--bytes", type=int, default=2**30, help="size of the file to fetch")
    parser.add_argument("--calls", type=int, default=10**6, help="calls of a worker's day")
    parser.add_argument("--node-tasks", type=int, default=10_000, help="tasks of each of the hundred simulated nodes")
    parser.add_argument("--records", type=int, default=10**8, help="records of the capture that is huge")
    rows = (
        "short",
        "real",
        "empty",
        "long",
        "large",
        "children",
        "disabled",
        "after",
        "tasks",
        "merged",
        "fetch",
        "calls",
        "million",
        "nodes",
        "day",
        "records",
        "huge",
        "ooms",
        "explain",
        "attached",
        "stacks",
        "watch",
    )
    parser.add_argument("--only", choices=rows, nargs="+", default=rows, help="what to measure; all of it by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raymemprof-benchmark-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        if not ON_A_CLUSTER.isdisjoint(arguments.only):
            ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
            stack.callback(ray.shutdown)
        measure = {
            "short": lambda: short(folder),
            "real": lambda: real_tasks(folder),
            "empty": lambda: empty_tasks(2 * arguments.tasks, folder),
            "long": lambda: long(folder),
            "large": lambda: large(folder),
            "children": lambda: children(folder),
            "disabled": disabled,
            "after": lambda: after(folder),
            "tasks": lambda: many_tasks(arguments.tasks),
            "merged": lambda: merged(folder, arguments.captures),
            "fetch": lambda: fetched(folder, arguments.bytes),
            "calls": lambda: catalogue(folder),
            "million": lambda: million(folder),
            "nodes": lambda: hundred_nodes(folder, tasks=arguments.node_tasks),
            "day": lambda: day(folder, arguments.calls),
            "records": lambda: records(folder),
            "huge": lambda: huge(folder, arguments.records),
            "ooms": lambda: [events(folder, kind, 200_000) for kind in ("mixed", "failures", "kills")],
            "explain": lambda: texts(folder),
            "attached": lambda: attached(folder),
            "stacks": lambda: stacks(folder),
            "watch": lambda: looks(folder),
        }
        for row in rows:
            if row in arguments.only:
                measure[row]()
    missed = [result["what"] for result in results if not result["met"]]
    print(
        f"\n{len(results) - len(missed)} of {len(results)} goals met"
        + (f"; missed: {', '.join(missed)}" if missed else "")
    )


if __name__ == "__main__":
    main()
