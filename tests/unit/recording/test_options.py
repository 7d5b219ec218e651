"""Every option, set in code and by its RAYMEMPROF_* variable; what the code says stands first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import profile_memory

MIB = 2**20

SCRIPT = """
import os
from raymemprof import profile_memory

@profile_memory({code})
def work(n):
    if {forks} and not os.fork():
        bytearray(1_000_000)
        os._exit(0)
    if {forks}:
        os.wait()
    return len([str(number) for number in range(n)])

assert [work(5000) for _ in range(4)] == [5000] * 4
"""


def is_off(folder: Path) -> bool:
    return not folder.exists() or not len(raymemprof.calls(folder))


def is_only_sampled(folder: Path) -> bool:
    calls = raymemprof.calls(folder)
    assert len(calls) == 4
    assert all(call.peak_memory >= call.memory_before > MIB for call in calls)
    return not raymemprof.captures(folder) and {call.note for call in calls} == {"heap tracing is off (heap=False)"}


def has_native_frames(folder: Path) -> bool:
    return raymemprof.captures(folder)[0].native


def has_small_objects(folder: Path) -> bool:
    return raymemprof.heap(raymemprof.calls(folder)[0]).allocations >= 5000


def has_children(folder: Path) -> bool:
    return any(capture.path.suffix != ".bin" for capture in raymemprof.captures(folder))


def traces_every_second(folder: Path) -> bool:
    return [call.capture is not None for call in raymemprof.calls(folder)] == [True, False, True, False]


CASES = {
    "enabled": ("0", True, is_off),
    "heap": ("no", True, is_only_sampled),
    "native": ("1", False, has_native_frames),
    "python_allocators": ("yes", False, has_small_objects),
    "follow_fork": ("TRUE", False, has_children),
    "every": ("2", 1, traces_every_second),
}


@pytest.mark.parametrize("option", CASES)
def test_a_variable_sets_an_option_and_code_stands_before_it(
    option: str, run_script: Callable[..., str], tmp_path: Path
) -> None:
    value, opposite, holds = CASES[option]
    variable = {f"RAYMEMPROF_{option.upper()}": value}
    forks = option == "follow_fork"
    run_script(SCRIPT.format(code='directory="by_variable"', forks=forks), **variable)
    assert holds(tmp_path / "by_variable")
    run_script(SCRIPT.format(code=f'directory="by_code", {option}={opposite}', forks=forks), **variable)
    assert not holds(tmp_path / "by_code")


def test_variables_of_a_runtime_env(cluster: Path, tmp_path: Path) -> None:
    import ray

    @ray.remote
    @profile_memory(native=False)
    def work() -> int:
        return len(bytearray(MIB))

    variables = {"RAYMEMPROF_HEAP": "0", "RAYMEMPROF_NATIVE": "1", "RAYMEMPROF_DIRECTORY": str(tmp_path / "records")}
    assert ray.get(work.options(runtime_env={"env_vars": variables}).remote()) == MIB
    (call,) = raymemprof.calls(tmp_path / "records")
    assert call.note == "heap tracing is off (heap=False)"
    assert call.task_id


def test_enabled_false_leaves_the_function_itself() -> None:
    def work() -> None:
        pass

    class Actor:
        pass

    assert profile_memory(enabled=False)(work) is work
    assert profile_memory(enabled=False)(Actor) is Actor


def test_native_frames(tmp_path: Path) -> None:
    def work() -> int:
        return len(bytearray(5 * MIB))

    reports = {}
    for native in (True, False):
        folder = tmp_path / str(native)
        assert profile_memory(directory=folder, native=native, linger=0)(work)() == 5 * MIB
        (call,) = raymemprof.calls(folder)
        found = raymemprof.heap(call)
        assert 5 * MIB <= found.peak < 5.2 * MIB
        assert (found.top(1)[0].function, found.top(1)[0].bytes) == ("work", 5 * MIB + 1)
        reports[native] = raymemprof.flamegraph(call, f"{native}.html").path.read_text()
    assert "PyByteArray_Resize" in reports[True]
    assert "PyByteArray_Resize" not in reports[False]


def test_python_allocators(tmp_path: Path) -> None:
    def work() -> int:
        return len([object() for _ in range(10_000)])

    counted = {}
    for option in (True, False):
        profile_memory(directory=tmp_path / str(option), python_allocators=option, linger=0)(work)()
        counted[option] = raymemprof.heap(raymemprof.calls(tmp_path / str(option))[0]).allocations
    assert counted[True] >= 10_000
    assert counted[False] < 1000


def test_follow_fork(tmp_path: Path) -> None:
    @profile_memory(directory=tmp_path, follow_fork=True, linger=0)
    def work() -> int:
        pid = os.fork()
        if not pid:
            kept = bytearray(7 * MIB)
            os._exit(len(kept) % 7)
        os.waitpid(pid, 0)
        return pid

    child = work()
    parents, children = raymemprof.captures(tmp_path)
    assert (parents.pid, children.pid) == (os.getpid(), child)
    whole = raymemprof.heap(parents)
    assert whole.peak - whole.in_children < 2 * MIB
    assert 7 * MIB <= whole.in_children < 8 * MIB
    assert 7 * MIB <= raymemprof.heap(children).peak < 8 * MIB


RISING = """
import glob, time
from raymemprof import profile_memory

def peaks():
    return sum(open(path).read().count('"event":"peak"') for path in glob.glob("records/*.jsonl"))

def rise():
    kept = []
    for step in range(5):
        before = peaks()
        kept.append(b"x" * (len(kept) * 30_000_000 + 50_000_000))
        deadline = time.monotonic() + {patience}
        while peaks() == before and time.monotonic() < deadline:
            time.sleep(0.002)
    return peaks()

def with_interval(milliseconds):
    return profile_memory(directory="records", heap=False, interval_ms=milliseconds)
"""


@pytest.mark.parametrize("by", ["code", "variable"])
def test_interval_ms(by: str, run_script: Callable[..., str], tmp_path: Path) -> None:
    def peaks(milliseconds: int, patience: float) -> int:
        mine, variable = (milliseconds, 5000) if by == "code" else (None, milliseconds)
        code = f"{RISING.format(patience=patience)}print(with_interval({mine})(rise)())"
        shutil.rmtree(tmp_path / "records", ignore_errors=True)
        return int(run_script(code, RAYMEMPROF_INTERVAL_MS=str(variable)))

    assert peaks(1, patience=10) >= 5
    assert peaks(60_000, patience=0.05) < 5  # one or two as it begins
    (call,) = raymemprof.calls(tmp_path / "records")
    assert call.peak_memory >= 550_000_000  # also unsampled: memory is read at the end


def test_a_peak_between_samples_in_a_process_that_a_large_one_started(
    run_script: Callable[..., str], tmp_path: Path
) -> None:
    """Linux counts what the process was before it became a program as its peak."""
    large = bytearray(b"1") * 900_000_000
    run_script(f"{RISING.format(patience=0)}with_interval(60_000)(rise)()")
    (call,) = raymemprof.calls(tmp_path / "records")
    assert 550_000_000 <= call.peak_memory < len(large)


def test_a_long_interval_does_not_hold_up_a_short_one(run_script: Callable[..., str]) -> None:
    calls = "with_interval(60_000)(lambda: time.sleep(0.1))()\nprint(with_interval(1)(rise)())"
    assert int(run_script(RISING.format(patience=2) + calls)) >= 5


def test_linger_zero_closes_at_once(tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    @profile_memory(directory=tmp_path, linger=0)
    def work() -> None:
        pass

    for captures in (1, 2):
        work()
        wait_for(lambda: all(capture.status == "closed" for capture in raymemprof.captures(tmp_path)))
        assert len(raymemprof.captures(tmp_path)) == captures


def test_calls_within_linger_share_a_capture(tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    @profile_memory(directory=tmp_path, linger=0.25)
    def work() -> None:
        pass

    work()
    work()
    first, second = raymemprof.calls(tmp_path)
    assert first.capture == second.capture
    assert raymemprof.captures(tmp_path)[0].status == "open"
    assert raymemprof.captures(tmp_path)[0].call_count == 2
    wait_for(lambda: raymemprof.captures(tmp_path)[0].status == "closed")
    closed = raymemprof.captures(tmp_path)[0].closed_at
    assert closed.timestamp() - second.started_at.timestamp() >= 0.25
    work()
    assert raymemprof.calls(tmp_path)[2].capture != first.capture
    assert len(raymemprof.captures(tmp_path)) == 2


def test_linger_by_variable_and_code(tmp_path: Path, run_script: Callable[..., str]) -> None:
    code = """
import time, raymemprof
from raymemprof import profile_memory

@profile_memory(directory="records", {code})
def work():
    pass

work()
deadline = time.monotonic() + {seconds}
while raymemprof.captures("records")[0].status == "open" and time.monotonic() < deadline:
    time.sleep(0.01)
print(raymemprof.captures("records")[-1].status)
"""
    assert run_script(code.format(code="", seconds=20), RAYMEMPROF_LINGER="0") == "closed\n"
    (tmp_path / "records").rename(tmp_path / "earlier")
    assert run_script(code.format(code="linger=600", seconds=0.4), RAYMEMPROF_LINGER="0") == "open\n"


def test_every_third_call_is_traced_and_all_are_sampled(tmp_path: Path) -> None:
    @profile_memory(directory=tmp_path, every=3)
    def work(n: int) -> int:
        return n

    assert [work(n) for n in range(9)] == list(range(9))
    calls = raymemprof.calls(tmp_path)
    assert [call.capture is not None for call in calls] == [True, False, False] * 3
    notes = [call.note for call in calls]
    assert notes == [None, *["one call in 3 is traced (every=3)"] * 2] * 3
    assert all(call.peak_memory >= call.memory_before > MIB for call in calls)


@pytest.mark.parametrize("kind", [str, Path])
def test_directory(kind: type, tmp_path: Path, run_script: Callable[..., str]) -> None:
    @profile_memory(directory=kind(tmp_path / "a" / "b"))
    def work() -> None:
        pass

    work()
    assert len(raymemprof.calls(tmp_path / "a" / "b")) == 1


def test_directory_by_variable_and_code(tmp_path: Path, run_script: Callable[..., str]) -> None:
    run_script(SCRIPT.format(code="", forks=False), RAYMEMPROF_DIRECTORY="relative")
    assert len(raymemprof.calls(tmp_path / "relative")) == 4
    run_script(SCRIPT.format(code='directory="code"', forks=False), RAYMEMPROF_DIRECTORY="variable")
    assert len(raymemprof.calls(tmp_path / "code")) == 4
    assert not (tmp_path / "variable").exists()


@pytest.mark.parametrize(
    ("keep", "max_bytes"), [(1, 1_000_000), (20, "2GiB"), (3.0, "500 MB"), (2, "1.5g"), (5, "100k"), (7, 1e9)]
)
def test_budget_options_are_taken(keep: Any, max_bytes: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    @profile_memory(directory=tmp_path, keep=keep, max_bytes=max_bytes)
    def work() -> int:
        return 5

    assert work() == 5
    assert raymemprof.calls(tmp_path)[0].status == "finished"
    assert caplog.messages == []


BAD = [
    ("enabled", "perhaps"),
    ("enabled", 2),
    ("heap", "none"),
    ("native", []),
    ("python_allocators", ""),
    ("follow_fork", 0.0),
    ("interval_ms", 0),
    ("interval_ms", -20),
    ("interval_ms", 10**400),
    ("interval_ms", "often"),
    ("linger", -1),
    ("linger", float("nan")),
    ("linger", True),
    ("every", 0),
    ("every", 2.5),
    ("every", float("inf")),
    ("keep", -3),
    ("keep", "all"),
    ("max_bytes", 0),
    ("max_bytes", "2 elephants"),
    ("max_bytes", "1.2.3"),
    ("max_bytes", float("inf")),
    ("directory", 5),
    ("directory", ""),
]


@pytest.mark.parametrize(("option", "value"), BAD, ids=lambda value: str(value)[:20])
def test_a_bad_value_is_refused_with_a_sentence(option: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        profile_memory(**{option: value})
    text = str(caught.value)
    assert option in text
    assert text.endswith(".")
    assert "\n" not in text
    assert "convert" not in text  # what must be, not what Python tried


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match=r"no option 'intervall'.*interval_ms.*\.$"):
        profile_memory(intervall=5)
    with pytest.raises(TypeError, match="'Every'"):
        profile_memory(lambda: None, Every=5)
