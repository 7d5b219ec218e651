"""Advice and diagnosis of many calls: made from sums and the calls that tell something, as of all calls."""

from __future__ import annotations

import json
import random
import re
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof.diagnosis.advise.growth import end_of
from raymemprof.reading.catalog import representative_calls as tellings
from raymemprof.reading.catalog.records import compacted_of
from raymemprof.reading.catalog.representative_calls import examined, representative

MIB = 2**20
START = 1.7e9
TASKS, METHODS = 6_000, 4_000


def write(folder: Path, pid: int, calls: Iterator[dict[str, Any]]) -> None:
    """Write the journal of a worker that has ended; each call says what is not as usual."""
    stem = f"raymemprof-work-local-0-{pid}-{int(START * 1e9)}"
    process = {"event": "process", "version": 1, "pid": pid, "created": START, "host": "elsewhere", "logs": None}
    with (folder / f"{stem}.jsonl").open("w") as file:
        file.write(json.dumps({**process, "node_id": "a" * 56, "worker_id": f"{pid:056x}"}) + "\n")
        for number, call in enumerate(calls):
            begin = {"event": "begin", "call": number, "time": START + number / 10, "kind": "task", "attempt": 0}
            ids = {"task_id": f"{pid:016x}{number:016x}{1:08x}", "actor_id": None, "job_id": "01000000"}
            memory = {"memory": call.get("before", 100 * MIB), "name": call["name"]}
            begin |= ids | memory | {key: call[key] for key in ("kind", "actor_id", "attempt") if key in call}
            file.write(json.dumps(begin) + "\n")
            if call.get("status") != "unfinished":
                end = {"event": "end", "call": number, "duration": 0.05, "status": "finished", "error": None}
                end |= {"memory": call.get("after", 100 * MIB), "peak": call["peak"]}
                end |= {key: call[key] for key in ("status", "duration") if key in call}
                file.write(json.dumps(end) + "\n")
        if "unfinished" in (call.get("status"),):
            killed = {"event": "fetched", "time": START + 1e6, "status": "killed", "error": "killed by the kernel"}
            file.write(json.dumps(killed) + "\n")


def tasks(seed: int) -> Iterator[dict[str, Any]]:
    draw = random.Random(seed)
    for number in range(TASKS):
        name = ("load", "train.epoch")[number % 2]
        peak = round(draw.lognormvariate(0, 0.3) * 300 * MIB)
        call = {"name": name, "peak": peak, "status": "failed" if number % 97 == 0 else "finished"}
        yield call | ({"after": 400 * MIB, "peak": 900 * MIB} if number == 4321 else {})
    yield {"name": "load", "peak": 0, "status": "unfinished"}


def methods(actor: str, grown: float, spikes: int) -> Iterator[dict[str, Any]]:
    """An actor that keeps so many bytes a call in `add`, and now and then has more for a moment."""
    draw, kept = random.Random(1), 100 * MIB
    theirs = {"kind": "method", "actor_id": actor}
    yield {"name": "Cache.__init__", "peak": kept, "kind": "actor", "actor_id": actor}
    for number in range(METHODS):
        before = kept
        kept += round(grown) if number % 4 == 0 else 0
        spike = spikes if draw.random() < 0.1 else 0
        name = "Cache.add" if number % 4 == 0 else "Cache.get"
        yield {"name": name, "before": before + spike, "after": kept + spike, "peak": kept + spike, **theirs}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    for worker in range(2):
        write(folder, 10**6 + worker, tasks(worker))
    beside = ({"name": "load", "peak": 200 * MIB, "duration": 0.3} for _ in range(TASKS + 10))
    write(folder, 10**6 + 5, beside)
    write(folder, 10**6 + 10, methods("1" * 32, 0.25 * MIB, MIB))
    write(folder, 10**6 + 11, methods("2" * 32, 0.0, 400 * MIB))
    return folder


NUMBER = re.compile(r"\d[\d,.]*\d|\d")


def told(found: raymemprof.Diagnosis) -> list[str]:
    texts = [text for one in found.findings for text in (one.severity, one.title, *one.evidence, *one.next_steps)]
    return texts + [text for one in found.checks for text in (one.question, one.verdict, one.answer)]


def assert_alike(ours: Iterable[str], theirs: Iterable[str], within: float) -> None:
    """Check that texts are the same, but for how exact the figures in them are."""
    ours, theirs = "\n".join(ours), "\n".join(theirs)
    assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs)
    figures = [[float(number.replace(",", "")) for number in NUMBER.findall(text)] for text in (ours, theirs)]
    assert figures[0] == pytest.approx(figures[1], rel=within)


def test_the_doctor_says_the_same_of_many_calls_as_of_all_of_them(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = raymemprof.doctor(recorded)
    assert len(few.calls) < 500
    monkeypatch.setattr(tellings, "_MOST_WHOLE", 10**6)
    every = raymemprof.doctor(recorded)
    assert len(every.calls) == 3 * TASKS + 12 + 2 * METHODS + 2
    assert_alike(told(few), told(every), within=0.02)
    (leak,) = few.findings
    assert "Cache grows with each call" in leak.title
    assert "most in Cache.add" in leak.evidence[0]


def test_advice_on_many_calls_is_that_on_all_of_them_within_what_sums_keep(recorded: Path) -> None:
    few, every = (raymemprof.advise(calls) for calls in (representative(recorded), raymemprof.calls(recorded)))
    assert [(one.name, one.call_count, one.peak_count, one.max) for one in few] == [
        (one.name, one.call_count, one.peak_count, one.max) for one in every
    ]
    for ours, theirs in zip(few, every, strict=True):
        for key in ("p50", "p95", "needs", "memory"):
            assert getattr(ours, key) == pytest.approx(getattr(theirs, key), rel=0.0125)
        assert_alike(ours.warnings, theirs.warnings, within=0.02)


def test_each_call_is_listed_or_counted_once(recorded: Path) -> None:
    found, every = representative(recorded), raymemprof.calls(recorded)
    counted = compacted_of(found)
    assert len(found) + sum(one.count() for one in counted) == len(every)
    listed = {(call.pid, call.task_id) for call in found}
    rest = [call for call in every if (call.pid, call.task_id) not in listed]
    assert sum(one.kept for one in counted) == sum(call.memory_after - call.memory_before for call in rest)
    assert sum(sum(one.peaks.values()) for one in counted) == len(rest)
    assert not found.left_out
    assert {call.status for call in found if call.duration is None} == {"killed"}


def test_those_that_ran_when_a_killed_one_began_are_listed(recorded: Path) -> None:
    found, every = examined(recorded), raymemprof.calls(recorded)
    killed = [call for call in every if call.status == "killed"]
    assert len(killed) == 2
    for one in killed:
        beside = {
            (call.pid, call.started_at)
            for call in every
            if call.name == one.name
            and call.started_at <= one.started_at
            and (call.duration is None or end_of(call) >= one.started_at)
        }
        assert len(beside) > 2
        assert beside <= {(call.pid, call.started_at) for call in found}
    assert len(found) + sum(one.count() for one in compacted_of(found)) == len(every)


def test_a_filter_holds_for_those_that_are_counted(recorded: Path) -> None:
    found = representative(recorded, name="load", status="failed")
    assert {call.name for call in found} == {"load"}
    expected = raymemprof.calls(recorded, name="load", status="failed")
    assert len(found) + sum(one.count() for one in compacted_of(found)) == len(expected)


def test_what_is_held_does_not_grow_with_the_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def peak(rounds: int) -> int:
        folder = tmp_path / str(rounds)
        folder.mkdir()
        for number in range(rounds):
            write(folder, 10**6 + number, methods(f"{number}" * 32, 0.0, 0))
        tracemalloc.start()
        found = representative(folder)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(found) <= 20 * rounds
        return most

    monkeypatch.setattr(tellings, "_MOST_WHOLE", 100)
    few, many = peak(1), peak(4)
    assert many < few + 4 * MIB
