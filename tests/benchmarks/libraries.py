"""What `heap()` says of libraries people use, beside what /proc says of the process: `python libraries.py [case ...]`.

Each case is a task in a fresh Ray worker, and again in one that has run it before. The truth is read from outside, from
/proc every 2 ms: by how much RSS - SHR grew while the call ran; for shared memory and files it is Pss_Shmem, Pss_File.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import ray

import raymemprof
from raymemprof import profile_memory

sys.path.insert(0, str(Path(__file__).parent))
import library_cases

MIB = 2**20
PAGE = os.sysconf("SC_PAGE_SIZE")
SHARED = {"shared_memory": "Pss_Shmem", "memmap": "Pss_File"}


class Truth(threading.Thread):
    """Reads the memory of the node's workers every 2 ms."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._looks = folder / library_cases.LOOKS
        self._looks.write_bytes(bytes(8))
        self._seen: dict[int, list[tuple[float, int]]] = {}
        self._shared: dict[int, list[tuple[float, dict[str, int]]]] = {}
        self.done = threading.Event()

    def run(self) -> None:
        pids: list[int] = []
        tick = 0
        looks = os.open(self._looks, os.O_WRONLY)
        while not self.done.wait(0.002):
            os.pwrite(looks, tick.to_bytes(8, "little"), 0)
            if tick % 25 == 0:
                pids = [pid for pid in psutil.pids() if self._is_worker(pid)]
            tick += 1
            for pid in pids:
                try:
                    fields = Path(f"/proc/{pid}/statm").read_text().split()
                except OSError:
                    continue
                private = (int(fields[1]) - int(fields[2])) * PAGE
                self._seen.setdefault(pid, []).append((time.time(), private))
                if tick % 10 == 0:
                    self._shared.setdefault(pid, []).append((time.time(), _pss(pid)))

    @staticmethod
    def _is_worker(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
        except OSError:
            return False

    def grew(self, call: raymemprof.Call) -> int:
        """By how much the call's process grew while it ran."""
        start, end = call.started_at.timestamp(), call.started_at.timestamp() + (call.duration or 0)
        seen = [memory for when, memory in self._seen.get(call.pid, ()) if start <= when <= end]
        return max([*seen, call.memory_before]) - call.memory_before

    def shared(self, call: raymemprof.Call, key: str) -> int:
        """How much of what is shared its process came to have."""
        start, end = call.started_at.timestamp(), call.started_at.timestamp() + (call.duration or 0)
        seen = self._shared.get(call.pid, ())
        before = [pss.get(key, 0) for when, pss in seen if start - 1 < when < start] or [0]
        during = [pss.get(key, 0) for when, pss in seen if start <= when <= end] or [0]
        return max(during) - min(before)


def _pss(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


@dataclass
class Result:
    """A row of the table."""

    case: str
    worker: str
    truth: int
    heap: raymemprof.Heap
    line_is_first: bool
    is_shared: bool

    @property
    def held(self) -> int:
        return self.heap.shared if self.is_shared else self.heap.peak

    @property
    def is_right(self) -> bool:
        """Whether what is told is within a tenth, or 8 MiB, of what the process grew by or held, and the sum adds up.

        What is held may be of memory that allocators had retained, or in place of what was released, and what was freed
        may be retained: all are told.
        The data of loaded libraries is told beside what is not seen.
        """
        told = (
            self.held if self.is_shared else self.held + (self.heap.retained or 0) + self.libraries - self.heap.released
        )
        if (
            not self.is_shared and self.heap.retained is None and self.heap.grew is not None
        ):  # the rest is one or the other, and it is said
            told = self.heap.grew
        return abs(told - self.truth) <= max(8 * MIB, max(self.truth, self.held) / 10)

    @property
    def unexplained(self) -> int:
        """What is not seen, and no note says what it is."""
        return 0 if self.heap.unseen is None else self.heap.unseen - self.libraries

    @property
    def is_within_cap(self) -> bool:
        """Whether that is no more than the library's cap, where retained is known; less than nothing is no gap."""
        cap, _ = library_cases.MOST_UNSEEN[self.case.partition("_")[0]]
        return self.heap.retained is None or self.unexplained <= cap * MIB

    @property
    def libraries(self) -> int:
        found = [re.match(r"([0-9.]+) MiB of what is not seen (is the data|was allocated)", n) for n in self.heap.notes]
        return round(sum(float(one[1]) * MIB for one in found if one))

    def __str__(self) -> str:
        mib = [
            f"{value / MIB:9.1f}" if value is not None else "        –"
            for value in (
                self.truth,
                self.held,
                self.heap.reserved,
                self.heap.retained,
                self.heap.unseen,
                self.unexplained if self.heap.unseen is not None else None,
            )
        ]
        top = self.heap.top(1)
        first = f"{top[0].location.rpartition('/')[2]} {top[0].basis}" if top else ""
        verdict = "ok" if self.is_right else "OFF"
        verdict += ("" if self.line_is_first else " LINE") + ("" if self.is_within_cap else " CAP")
        return f"{self.case:20} {self.worker:6}{''.join(mib)}  {verdict:8} {first}"


def planted(function) -> int:
    """The number of the planted line."""
    lines, first = inspect.getsourcelines(function)
    return next(first + number for number, line in enumerate(lines) if "# planted" in line)


def run(
    names: list[str], folder: Path, told: Callable[[str], object] = lambda text: None
) -> tuple[list[Result], raymemprof.Diagnosis]:
    """Run some cases, or all, on files that lie in a folder, on a Ray of its own; and what the doctor says of them."""
    cases = [case for case in library_cases.CASES if not names or case.__name__ in names]
    results = []
    ray.init(
        num_cpus=1,
        include_dashboard=False,
        logging_level="ERROR",
        log_to_driver=False,
        object_store_memory=200_000_000,
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}},
    )
    truth = Truth(folder)
    truth.start()
    try:
        for number, case in enumerate(cases):
            task = ray.remote(max_retries=0)(profile_memory(linger=0)(case))
            for worker in ("fresh", "again"):
                key = SHARED.get(case.__name__)
                try:
                    for attempt in range(3):
                        if worker == "fresh":
                            own = task.options(runtime_env={"env_vars": {"CASE": f"{number} {attempt}"}})
                        call, heap = _call(own, case.__name__, folder)
                        if heap.grew is not None or key:  # else the machine is too busy to see its peak
                            break
                except Exception as error:
                    told(f"{case.__name__:20} {worker:6} not run: {str(error).splitlines()[-1]}")
                    break
                grew = truth.shared(call, key) if key else truth.grew(call)
                top = heap.top(1)
                is_first = bool(top) and top[0].line == planted(case)
                if grew < 8 * MIB and not key:
                    is_first = True  # nothing to accuse
                results.append(Result(case.__name__, worker, grew, heap, is_first, key is not None))
                told(str(results[-1]))
        return results, raymemprof.doctor()
    finally:
        truth.done.set()
        ray.shutdown()


def _call(task, name: str, folder: Path) -> tuple[raymemprof.Call, raymemprof.Heap]:
    ray.get(task.remote(str(folder)))
    call = raymemprof.calls(name=name)[-1]
    return call, raymemprof.heap(call)


if __name__ == "__main__":
    columns = ("grew", "held", "reserved", "retained", "unseen", "no note")
    print(f"{'case':20} {'worker':6}{''.join(f'{column:>9}' for column in columns)}  (MiB)")
    with tempfile.TemporaryDirectory() as files:
        library_cases.prepare(Path(files))
        found, diagnosis = run(sys.argv[1:], Path(files), lambda text: print(text, flush=True))
    wrong = [result for result in found if not (result.is_right and result.line_is_first and result.is_within_cap)]
    print(f"{len(found)} rows, {len(wrong)} of them off")
    print(f"The doctor, of these healthy jobs: {diagnosis!r}")
