"""What `heap()` says of the libraries that people use, held against /proc; each in a fresh worker and in a used one.

The cases, and how the truth is read from outside, are the benchmark's: `benchmarks/libraries.py` has all of them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.paths import BENCHMARKS, PROGRAMS

pytest.importorskip("pyarrow")
pytest.importorskip("pandas")

sys.path.insert(0, str(BENCHMARKS))
import libraries
import library_cases

sys.path.pop(0)

import raymemprof
from raymemprof import profile_memory

MIB = 2**20
CASES = [
    "numpy_touched",
    "numpy_untouched",
    "numpy_a_fifth",
    "numpy_read_only",
    "pandas_strings",
    "pandas_read_csv",
    "pandas_read_parquet",
    "arrow_cast",
    "arrow_read_table",
    "duckdb_table",
    "plain_objects",
    "plain_bytes",
    "shared_memory",
    "memmap",
]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[libraries.Result], raymemprof.Diagnosis]:
    folder = tmp_path_factory.mktemp("cases")
    library_cases.prepare(folder)
    return libraries.run(CASES, folder)


@pytest.fixture(scope="module")
def results(ran: tuple[list[libraries.Result], raymemprof.Diagnosis]) -> dict[tuple[str, str], libraries.Result]:
    return {(result.case, result.worker): result for result in ran[0]}


def test_the_doctor_accuses_nobody(ran: tuple[list[libraries.Result], raymemprof.Diagnosis]) -> None:
    """All of these are healthy: two each, of fourteen kinds."""
    diagnosis = ran[1]
    assert diagnosis.healthy
    assert [finding for finding in diagnosis.findings if finding.severity != "info"] == []
    assert not any(finding.illness in ("leaking_actor", "out_of_memory") for finding in diagnosis.findings)


@pytest.mark.parametrize("worker", ["fresh", "again"])
@pytest.mark.parametrize("case", CASES)
def test_the_sum_adds_up_and_the_line_is_named(results: dict[Any, libraries.Result], case: str, worker: str) -> None:
    if case == "duckdb_table":
        pytest.importorskip("duckdb")
    result = results[case, worker]
    heap = result.heap
    assert result.is_right, f"{result}\n{heap!r}"
    if result.truth >= 16 * MIB:
        assert result.line_is_first, f"{result}\n{heap!r}"
    if heap.grew is not None:
        had = heap.grew - min(heap.retained or 0, 0) + heap.released
        if heap.retained is not None:
            for line in heap.top(100):
                assert line.bytes <= had + 8 * MIB, f"{line}\n{heap!r}"
        assert result.is_within_cap, f"{result}\n{heap!r}"
    if case == "numpy_untouched":
        assert heap.reserved == pytest.approx(1_600_000_000, rel=0.01)
    if case == "numpy_a_fifth":
        assert heap.reserved == pytest.approx(640_000_000, rel=0.01)


def test_a_killed_worker_s_memory_was_arrow_s(cluster: Path, tmp_path: Path, wait_for: Any) -> None:
    """The line that held it at death, within a tenth of what the kernel says the process had grown by."""
    import ray

    @ray.remote(max_retries=0)
    @profile_memory(linger=0)
    def hold(folder: str) -> int:
        import numpy as np
        import pyarrow as pa

        memory = Path("/proc/self/statm")

        def private() -> int:
            resident, shared = map(int, memory.read_text().split()[1:3])
            return (resident - shared) * os.sysconf("SC_PAGE_SIZE")

        numbers = pa.array(np.arange(1_000))
        before = private()
        kept = pa.array(np.arange(6_000_000)).cast(pa.string())  # planted
        time.sleep(0.3)
        Path(folder, "had").write_text(f"{before} {private()}")
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)
        return len(kept) + len(numbers)

    with pytest.raises(ray.exceptions.RayError):
        ray.get(hold.remote(str(tmp_path)))
    before, had = map(int, (tmp_path / "had").read_text().split())
    grew = had - before
    wait_for(lambda: raymemprof.calls(name="*hold*", status="killed"))
    (call,) = raymemprof.calls(name="*hold*", status="killed")
    heap = raymemprof.heap(call)
    source = Path(__file__).read_text().splitlines()
    planted = next(number for number, line in enumerate(source, 1) if "cast(pa.string())  # planted" in line)
    assert heap.top(1)[0].line == planted
    assert heap.top(1)[0].bytes == pytest.approx(grew, rel=0.1)
    assert heap.alive_at_end == pytest.approx(had - call.memory_before, rel=0.1)


SWITCHED = """
import os, sys
{first}
from raymemprof import profile_memory
def pool():
    import pyarrow
    return pyarrow.default_memory_pool().backend_name, os.environ.get("ARROW_DEFAULT_MEMORY_POOL")
with profile_memory("block", directory={folder!r}, linger=0, {option}):
    inside = pool()
import time
deadline = time.monotonic() + 10
while time.monotonic() < deadline and {restored} is not None and pool()[0] != {restored}:
    time.sleep(0.02)
while time.monotonic() < deadline and os.environ.get("ARROW_DEFAULT_MEMORY_POOL") != {variable}:
    time.sleep(0.02)
print(inside[0], pool()[0], pool()[1])
"""


@pytest.mark.parametrize(
    ("first", "option", "env", "printed"),
    [
        ("import pyarrow", "", {}, ("system", "mimalloc", "None")),  # switched, and switched back
        ("", "", {}, ("system", "system", "None")),  # chosen when it was imported, for the life of the process
        ("import pyarrow", "switch_allocators=False", {}, ("mimalloc", "mimalloc", "None")),
        ("", "switch_allocators=False", {}, ("mimalloc", "mimalloc", "None")),
        ("import pyarrow", "heap=False", {}, ("mimalloc", "mimalloc", "None")),
        ("import pyarrow", "", {"ARROW_DEFAULT_MEMORY_POOL": "mimalloc"}, ("mimalloc", "mimalloc", "mimalloc")),
    ],
)
def test_arrow_s_pool_is_switched_while_tracing_only(
    first: str, option: str, env: dict[str, str], printed: tuple[str, ...], tmp_path: Path, run_script: Any
) -> None:
    code = SWITCHED.format(
        first=first,
        option=option,
        folder=str(tmp_path),
        restored=repr(printed[1]),
        variable=repr(None if printed[2] == "None" else printed[2]),
    )
    assert run_script(code, **env).split() == list(printed)


def test_where_the_memory_of_ray_data_s_reads_sits(tmp_path: Path) -> None:
    """In the driver at the loop's line; in the workers with allocators, from before tracing: the advice lowers that."""
    program = PROGRAMS / "ray_data_reading_program.py"
    cure = ["ARROW_DEFAULT_MEMORY_POOL=system", "MALLOC_MMAP_THRESHOLD_=65536", "MALLOC_TRIM_THRESHOLD_=65536"]
    found = []
    for variables in ([], cure):
        done = subprocess.run(
            [sys.executable, program, tmp_path / "files", *variables], capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found.append(json.loads(done.stdout.splitlines()[-1]))
    as_is, cured = found
    line = next(n for n, text in enumerate(program.read_text().splitlines(), 1) if "# planted" in text)
    for one in found:
        driver = one["driver"]
        assert driver["line"] == line
        assert driver["peak"] == pytest.approx(one["driver_grew"], rel=0.1)
        if driver["grew"] is not None:
            assert driver["grew"] == driver["peak"] + driver["rest"]
        assert one["worker"]["grew"] == one["worker"]["peak"] + one["worker"]["rest"]
        assert any("before tracing began" in note for note in one["worker"]["notes"])
    # Where the next read has begun already, its buffers take part of what was kept.
    pool = re.findall(r"Arrow's memory pool held ([0-9.]+) MiB", " ".join(as_is["worker"]["notes"]))
    had = as_is["worker"]["retained_before"] + sum(float(size) * MIB for size in pool)
    assert had > as_is["worker_has"] / 4, found
    assert cured["worker"]["retained_before"] < had / 4, found
    assert cured["worker_has"] < as_is["worker_has"] * 0.7, found


def test_ray_data_finds_the_leak_and_the_copy(tmp_path: Path) -> None:
    """A job of Ray Data on real Parquet: its results are the same with and without, and nobody else is accused."""
    program = PROGRAMS / "ray_data_program.py"
    environment = {name: value for name, value in os.environ.items() if name != "RAYMEMPROF_DIRECTORY"}
    done = subprocess.run(
        [sys.executable, program, tmp_path], capture_output=True, text=True, timeout=240, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    plain, profiled, told = (line for line in done.stdout.splitlines() if line.startswith(("sum", "found")))
    assert plain == profiled
    source = program.read_text().splitlines()
    planted = {what: n for n, line in enumerate(source, 1) for what in ("copy", "leak") if f"# planted {what}" in line}
    found = eval(told.removeprefix("found "))
    assert found["copy"] == planted["copy"]
    assert found["findings"] == [("leaking_actor", "Score", planted["leak"])]
    assert found["held"] == pytest.approx(found["leaked"], rel=0.1)
