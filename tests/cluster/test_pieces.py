"""An actor whose recording is in several captures: cut by the disk budget, by a restart, or after each call."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import raymemprof
from raymemprof import profile_memory
from raymemprof.diagnosis.doctor.diagnosis import Diagnosis
from raymemprof.diagnosis.doctor.doctor import doctor
from raymemprof.diagnosis.doctor.findings import Finding
from raymemprof.reading.reports.life import heap_of_life

MIB = 2**20
PIECE, BUFFER = 10 * MIB, 30 * MIB
CALLS = 12
LINES = {
    found[1]: number
    for number, text in enumerate(Path(__file__).read_text().splitlines(), 1)
    if (found := re.search(r"  # (the cache|the buffer)$", text))
}


class Holder:
    """Keeps a little more with each call, and renews what it works with."""

    def __init__(self) -> None:
        self.kept: list[bytearray] = []
        self.buffer = bytearray()

    def add(self, calls: int = 1) -> int:
        self.buffer = bytearray(b"1") * BUFFER  # the buffer
        self.kept.append(bytearray(b"1") * PIECE)  # the cache
        return os.getpid()

    def work(self) -> int:
        """What makes a capture of more than the budget, in sizes that do not compress."""
        sizes = [random.randrange(600, 4_000) for _ in range(997)]
        for _ in range(40):
            [bytes(size) for size in sizes]
            random.shuffle(sizes)
        return self.add()

    def dies(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def actor(folder: Path, restarts: int = 0, **options: Any) -> Any:
    import ray

    folder.mkdir(exist_ok=True)
    made = type("Holder", (), dict(Holder.__dict__))
    profiled = profile_memory(directory=str(folder), **options)(made)
    return ray.remote(profiled).options(num_cpus=0, max_restarts=restarts).remote()


def leak(found: Diagnosis) -> Finding:
    (one,) = (one for one in found.findings if one.illness == "leaking_actor")
    return one


def at(lines: Any, name: str) -> int:
    """How many bytes the lines say that one of the lines held."""
    return sum(line.bytes for line in lines if line.line == LINES[name] and line.file == __file__)


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def add_one_by_one(holder: Any, calls: int, folder: Path) -> None:
    """Have each call, and `__init__`, in a capture of its own: the one before is closed when the next one begins."""
    import ray

    for number in range(calls + 1):
        ray.get((holder.add if number else holder.__ray_ready__).remote(), timeout=60)
        until(lambda count=number + 1: [one.status for one in raymemprof.captures(folder)] == ["closed"] * count)


@pytest.fixture(scope="module")
def cut(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What an actor recorded whose calls each have a capture of their own."""
    import ray

    folder = tmp_path_factory.mktemp("cut")
    holder = actor(folder, linger=0)
    add_one_by_one(holder, CALLS, folder)
    yield folder
    ray.kill(holder)


def captures_of(folder: Path) -> list[Path]:
    return [capture.path for capture in raymemprof.captures(folder)]


def test_captures_are_summed_and_what_was_freed_since_is_not_counted(cut: Path) -> None:
    whole = heap_of_life(captures_of(cut))
    assert at(whole.at_end, "the cache") == pytest.approx(CALLS * PIECE, rel=0.02)
    assert at(whole.at_end, "the buffer") == pytest.approx(BUFFER, rel=0.02), "the others were freed"
    assert whole.alive_at_end == pytest.approx(CALLS * PIECE + BUFFER, rel=0.05)
    assert whole.top(1, view="leaks")[0].line == LINES["the cache"]
    assert whole.left_out == ()


def test_the_doctor_sums_over_an_actors_captures(cut: Path) -> None:
    found = leak(doctor(cut))
    assert found.lines[0].line == LINES["the cache"]
    assert found.lines[0].bytes == pytest.approx(CALLS * PIECE, rel=0.02)
    assert re.search(r"It held (119\.9|120\.0) MiB allocated at", " ".join(found.evidence))
    assert f"summed over the {CALLS + 1} captures of its process" in " ".join(found.evidence)


def test_the_doctor_says_what_is_not_there(cut: Path, tmp_path: Path) -> None:
    """As the disk budget, or somebody by hand, removes the oldest."""
    for path in cut.iterdir():
        os.link(path, tmp_path / path.name)
    for path in captures_of(cut)[:5]:
        (tmp_path / path.name).unlink()
    found = leak(doctor(tmp_path))
    assert found.lines[0].bytes == pytest.approx((CALLS - 4) * PIECE, rel=0.02)
    (told,) = (text for text in found.evidence if text.startswith("Not in it: 5 of its 13 calls"))
    grown = float(re.search(r"grew by ([\d.]+) MiB", told)[1])
    assert 4 * PIECE + BUFFER <= grown * MIB * 1.02 < 4 * PIECE + BUFFER + 60 * MIB, "with what `__init__` imported"


def test_nothing_is_counted_twice(cut: Path) -> None:
    calls, captures = raymemprof.calls(cut, name="Holder.add"), raymemprof.captures(cut)
    assert len(calls) == CALLS
    assert len({(call.capture, call.place) for call in calls}) == CALLS
    assert sum(capture.call_count for capture in captures) == CALLS + 1
    summed = raymemprof.heap(calls)
    assert summed.call_count == CALLS
    assert at(summed.at_end, "the cache") == pytest.approx(CALLS * PIECE, rel=0.02)


def test_explain_sums_over_a_killed_actors_captures(cut: Path, tmp_path: Path, cluster: Path) -> None:
    import ray

    holder = actor(tmp_path / "recorded", linger=0)
    add_one_by_one(holder, 4, tmp_path / "recorded")
    with pytest.raises(ray.exceptions.RayActorError) as raised:
        ray.get(holder.dies.remote(), timeout=60)
    told = raymemprof.explain(str(raised.value), tmp_path / "recorded")
    assert told.lines[0].line == LINES["the cache"]
    assert told.lines[0].bytes == pytest.approx(4 * PIECE, rel=0.02)


def test_an_actor_that_the_budget_cuts_and_that_is_restarted(cluster: Path, tmp_path: Path) -> None:
    """Every call is listed once, every capture's calls are its own, and what has gone is named."""
    import ray

    folder = tmp_path / "recorded"
    holder = actor(folder, restarts=1, max_bytes=1_000_000)
    first = {ray.get(holder.work.remote(), timeout=60) for _ in range(8)}
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(holder.dies.remote(), timeout=60)
    (second,) = {ray.get(holder.work.options(max_task_retries=3).remote(), timeout=60) for _ in range(3)}
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(holder.dies.remote(), timeout=60)
    until(lambda: not psutil.pid_exists(second))  # nobody is left to keep the budget
    calls, captures = raymemprof.calls(folder), raymemprof.captures(folder)
    assert [call.name.rpartition(".")[2] for call in calls] == [
        "__init__",
        *["work"] * 8,
        "dies",
        "__init__",
        *["work"] * 3,
        "dies",
    ]
    assert [call.pid for call in calls] == [*first] * 10 + [second] * 5
    assert [call.status for call in calls if call.status != "finished"] == ["killed"] * 2
    traced = [call for call in calls if call.capture]
    assert 0 < len(traced) < len(calls), "the budget took some"
    assert sum(capture.call_count for capture in captures) == len(traced)
    summed = raymemprof.heap(calls)
    assert summed.call_count == len(traced)
    assert sum(int(text.split()[0]) for text in summed.left_out) == len(calls) - len(traced)
    found = leak(doctor(folder))
    lost = sum(call.capture is None for call in calls if call.pid in first)
    assert any(f": {lost} of its 10 calls, in which it grew by " in text for text in found.evidence), found.evidence
    assert "RAYMEMPROF_MAX_BYTES" in found.next_steps[0]
