"""What the doctor says of known figures: sick clusters, and ordinary, busy ones, of which it must keep quiet."""

from __future__ import annotations

import itertools
import json
import re
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from raymemprof import Call
from raymemprof.cluster import KILLED, MissingNode
from raymemprof.diagnosis.advise.advise import advise_of
from raymemprof.diagnosis.advise.capacity import Capacity, memory_for
from raymemprof.diagnosis.doctor.checks import retained_memory
from raymemprof.diagnosis.doctor.diagnosis import Diagnosis
from raymemprof.diagnosis.doctor.doctor import diagnose
from raymemprof.diagnosis.doctor.findings import Finding
from raymemprof.diagnosis.doctor.observed import Heaps, Observed
from raymemprof.diagnosis.ooms import Kill, Kills, Retry
from raymemprof.diagnosis.usage.records import Nodes, NodeUsage, Processes, ProcessUsage, Usage
from raymemprof.diagnosis.usage.shared_memory import SharedMemoryOwner, SharedMemoryOwners
from raymemprof.host import ResourceIsolation
from raymemprof.reading.catalog.records import Calls
from raymemprof.reading.logs.endings import WITHOUT_A_TRACE
from raymemprof.reading.logs.messages import parse

MIB, GIB = 2**20, 2**30
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=timezone.utc)
HEAD, OTHER = "a" * 56, "b" * 56
JOB, EARLIER = "02000000", "01000000"
_pids = itertools.count(1000)

PAGE = f"""Task was killed due to the node running low on memory.
Memory on the node (IP: 10.0.62.231, ID: {HEAD}) where the task (task ID: {"4" * 40}{JOB}, name=allocate_memory, \
pid=11362, memory used=1.25GB) was running was 27.71GB / 28.80GB (0.962273), which exceeds the memory usage threshold \
of 0.95. Ray killed this worker (ID: {"6" * 56}) because it was the most recently scheduled task; to see more.
Top 10 memory users:
PID\tMEM(GB)\tCOMMAND
410728\t8.47\tray::allocate_memory
610953\t7.19\tray::allocate_memory
610952\t6.15\tray::allocate_memory
711164\t3.63\tray::allocate_memory
811156\t3.63\tray::allocate_memory
11362\t1.25\tray::allocate_memory
107230\t0.09\tpython test.py --num-tasks 20
11327\t0.08\t/home/ray/anaconda3/bin/python /home/ray/anaconda3/lib/python3.9/site-packages/ray/dashboard/dashboa...
"""
"""As Ray's page "Debugging Memory Issues" has it."""
TOP = PAGE[: PAGE.index("410728")]


def process(role: str, memory: int, name: str | None = None, **more: Any) -> ProcessUsage:
    return ProcessUsage(next(_pids), role, name, memory + 60 * MIB, 60 * MIB, memory, **more)


def node(
    *processes: ProcessUsage, node_id: str = HEAD, total: int = 32 * GIB, used: int = 4 * GIB, **more: Any
) -> NodeUsage:
    """A node of which Ray's own parts take 300 MiB."""
    figures: dict[str, Any] = {
        "threshold": int(0.95 * total),
        "object_store_used": 0,
        "object_store_primary": 0,
        "object_store_capacity": 9 * GIB,
        "object_store_held": 0,
        "spilled": 0,
    }
    return NodeUsage(
        node_id=node_id,
        node_ip="10.0.0.1" if node_id == HEAD else "10.0.0.2",
        is_head=node_id == HEAD,
        total=total,
        used=used,
        available=total - used,
        processes=Processes([process("raylet", 300 * MIB), *processes]),
        **{**figures, **more},
    )


def call(name: str, peak: int, **more: Any) -> Call:
    figures: dict[str, Any] = {
        "kind": "task",
        "task_id": None,
        "attempt": 0,
        "actor_id": None,
        "job_id": JOB,
        "node_id": HEAD,
        "worker_id": "w",
        "pid": next(_pids),
        "started_at": NOW - timedelta(minutes=5),
        "duration": 10.0,
        "status": "finished",
        "error": None,
        "memory_before": 60 * MIB,
        "memory_after": 60 * MIB,
        "capture": None,
        "note": None,
    }
    return Call(name=name, peak_memory=peak, **{**figures, **more})


def kill(name: str, memory: int | None, text: str = "", **more: Any) -> Kill:
    figures: dict[str, Any] = {
        "when": NOW - timedelta(minutes=2),
        "node_id": HEAD,
        "task_id": f"{next(_pids):040x}{JOB}",
        "attempt": 0,
        "actor_id": None,
        "worker_id": "w",
        "pid": next(_pids),
        "cause": "ray_memory_monitor",
        "call": None,
        "top_processes": parse(text).top_processes if text else (),
    }
    return Kill(name=name, memory=memory, **{**figures, **more})


def doctor(
    nodes: Iterable[NodeUsage] = (),
    kills: Iterable[Kill] = (),
    calls: Iterable[Call] = (),
    silent: Iterable[MissingNode] = (),
    gone: Iterable[MissingNode] = (),
    retries: Iterable[Retry] = (),
    **more: Any,
) -> Diagnosis:
    nodes, silent, gone = tuple(nodes), tuple(silent), tuple(gone)
    missing = silent + gone
    now = Usage(NOW, Nodes(nodes, missing=missing), missing)
    figures: dict[str, Any] = {
        "recommendations": advise_of(calls, now),
        "cpus": dict.fromkeys([one.node_id for one in (*nodes, *silent)], 8.0),
        "jobs": frozenset([JOB]),
    }
    figures |= {"usage": now, "source": None, **more}
    return consistent(
        diagnose(Observed(NOW, kills=Kills(kills, retries=retries), calls=Calls(calls), missing=missing, **figures))
    )


ASKS = {
    "killed for memory": ("out_of_memory", "unexplained_death"),
    "run out of memory": ("low_memory",),
    "reserved for the system": ("small_reserve",),
    "head node": ("head_node",),
    "run at once": ("too_parallel",),
    "an actor grow": ("leaking_actor",),
    "copy its data": ("copy",),
    "retried without end": ("endless_retries",),
    "memory that was freed": ("retained_memory",),
    "idle workers": ("idle_workers",),
    "object store": ("object_store",),
}
"""Which illnesses each question is about."""
DOUBTS = (
    " but ",
    "But ",
    "not known",
    "annot",
    " may ",
    "too few",
    "before",
    "only",
    "without a reason",
    " of  ",
    ":  ",
)


def consistent(found: Diagnosis) -> Diagnosis:
    """Whatever is ill, a mark and its text must say the same, and so must the findings."""
    for one in found.checks:
        (illnesses,) = [asked for words, asked in ASKS.items() if words in one.question] or [()]
        severities = {finding.severity for finding in found.findings if finding.illness in illnesses}
        says_no = one.answer.startswith(("No.", "No:", "No more than", "Not as far as was profiled."))
        if one.verdict == "well":
            assert says_no, one
            assert not [words for words in DOUBTS if words in one.answer], one
            assert not severities, (one, found.findings)
        else:
            assert not says_no, one
        if severities - {"info"} or (severities and one.verdict == "ill"):
            assert one.verdict == "ill" or "killed" in one.question, (one, found.findings)
        assert (one.verdict == "info") is ("use most" in one.question and one.verdict != "unknown"), one
    return found


def named(found: Diagnosis) -> list[tuple[str, str, str | None]]:
    return [(one.illness, one.severity, one.name) for one in found.findings]


def text_of(finding: Finding) -> str:
    return "\n".join((finding.title, *finding.evidence, *finding.next_steps))


def check(found: Diagnosis, words: str) -> tuple[str, str]:
    (one,) = (one for one in found.checks if words in one.question)
    return one.verdict, one.answer


def idle_workers(count: int, memory: int) -> list[ProcessUsage]:
    return [process("idle worker", memory) for _ in range(count)]


def growing(calls: int, step: int = 100 * MIB) -> tuple[list[Call], ProcessUsage]:
    """An actor's calls, each of which leaves it so much larger, and its process."""
    actor = process("actor", (calls + 1) * step, "Holder", job_id=JOB)
    made = [
        call(
            "Holder.load",
            (number + 1) * step,
            kind="method",
            actor_id=f"{'c' * 24}{JOB}",
            pid=actor.pid,
            memory_before=number * step,
            memory_after=(number + 1) * step,
            started_at=NOW - timedelta(seconds=5 * (calls - number)),
            duration=1.0,
        )
        for number in range(calls)
    ]
    return made, actor


BUSY = 25 * GIB
"""Of 32 GiB, below what is called crowded."""


@pytest.mark.parametrize(
    "nodes",
    [
        [node()],
        [node(*[process("task", 3 * GIB, "train") for _ in range(8)], used=BUSY)],
        # A driver with a third of its node, beside a task, and room for both.
        [
            node(process("driver", 9 * GIB, "job.py"), process("task", GIB, "small"), used=13 * GIB),
            node(node_id=OTHER),
        ],
        # What many libraries take that were imported, in one worker for each CPU.
        [node(*idle_workers(32, 190 * MIB), total=64 * GIB, used=9 * GIB)],
        [node(*idle_workers(32, 600 * MIB), total=128 * GIB, used=25 * GIB)],
        # A store full of copies of other nodes' objects, which it drops.
        [node(object_store_used=9 * GIB, object_store_primary=GIB, object_store_held=9 * GIB, used=13 * GIB)],
        [node(threshold=None, used=BUSY)],
        [node(total=3 * GIB, used=2 * GIB, threshold=23 * GIB)],
    ],
    ids=["alone", "busy", "driver", "imports", "large imports", "copies of objects", "never kills", "container"],
)
def test_ordinary_nodes(nodes: list[NodeUsage]) -> None:
    found = doctor(nodes)
    assert named(found) == []
    assert found.healthy is True
    assert found.summary == "Nothing wrong was found."
    # Nothing was profiled, and that is said.
    assert {one.verdict for one in found.checks} <= {"well", "unknown", "info"}
    assert {one.verdict for one in found.checks if "profiled" not in one.answer and "use most" not in one.question} == {
        "well"
    }


class TestMarks:
    """A tick stands only where the text says that all is well; `consistent` looks at each answer."""

    def grown(self, calls: int, **more: Any) -> list[Call]:
        return [call.__class__(**{**_fields(call), **more}) for call in growing(calls)[0]]

    def test_an_actor_that_may_grow(self) -> None:
        calls, actor = growing(8)
        found = doctor([node(actor)], calls=calls)
        verdict, answer = check(found, "an actor grow")
        assert verdict == "maybe"
        assert answer.startswith("Holder may grow with each call: it grew by 700.0 MiB over 8 calls")

    def test_an_actor_with_few_calls(self) -> None:
        calls, actor = growing(3)
        verdict, answer = check(doctor([node(actor)], calls=calls), "an actor grow")
        assert verdict == "unknown"
        assert "Holder" in answer
        assert "3 calls ended" in answer

    def test_no_actor(self) -> None:
        verdict, answer = check(doctor([node()], calls=[call("load", 90 * MIB)]), "an actor grow")
        assert (verdict, "no actor was profiled" in answer) == ("unknown", True)

    def test_calls_that_were_not_traced(self) -> None:
        calls = [call("load", 2 * GIB, note="heap tracing is off (heap=False)", memory_after=GIB)]
        found = doctor([node()], calls=calls)
        for words in ("copy its data", "memory that was freed"):
            verdict, answer = check(found, words)
            assert verdict == "unknown"
            assert "load" in answer
            assert "heap tracing is off" in answer
        small = doctor([node()], calls=[call("load", 90 * MIB)])
        assert {check(small, words)[0] for words in ("copy its data", "memory that was freed")} == {"well"}

    def test_how_many_fit_is_not_known_of_a_folder(self) -> None:
        found = doctor([], calls=[call("load", GIB)], usage=None, source="logs", recommendations=advise_of((), None))
        verdict, answer = check(found, "run at once")
        assert (verdict, "how many fit a node is not known" in answer) == ("unknown", True)

    def test_not_even_one_fits(self) -> None:
        calls = [call("load", 9 * GIB, status="running", duration=None) for _ in range(3)]
        verdict, answer = check(doctor([node(total=8 * GIB, used=GIB)], calls=calls), "run at once")
        assert verdict == "unknown"
        assert "3 of load run at once on the head node 10.0.0.1, where not a single one fits now" in answer

    def test_deaths_without_a_reason(self) -> None:
        died = {"status": "killed", "duration": None, "error": WITHOUT_A_TRACE}
        verdict, answer = check(doctor([node()], calls=[call("load", GIB, **died)]), "killed for memory")
        assert verdict == "maybe"
        assert "load exited without a trace" in answer
        verdict, answer = check(
            doctor([node()], calls=[call("load", GIB, job_id=EARLIER, **died)]), "killed for memory"
        )
        assert verdict == "unknown"
        assert "1 process of profiled calls ended without a reason" in answer

    def test_a_node_that_is_about_to_kill(self) -> None:
        found = doctor([node(process("task", 20 * GIB, "train"), used=29 * GIB)])
        assert check(found, "killed for memory") == ("well", "No.")
        assert check(found, "run out of memory")[0] == "ill"
        verdict, answer = check(found, "head node")
        assert verdict == "maybe"
        assert "about to run out of memory" in answer

    def test_retries_of_a_job_that_is_over(self) -> None:
        one = f"{7:040x}{EARLIER}"
        when = NOW - timedelta(hours=3)
        kills = [kill("hog", 9 * GIB, task_id=one, attempt=n, when=when) for n in range(4)]
        found = doctor([node()], kills, retries=[Retry("hog", one, 4, when, None, is_over=True)])
        assert check(found, "retried without end") == ("maybe", "Not any more: hog, killed 4 times.")

    def test_a_store_that_says_nothing(self) -> None:
        found = doctor([node(object_store_used=None, object_store_primary=None, object_store_capacity=None)])
        verdict, answer = check(found, "object store")
        assert (verdict, "not known" in answer) == ("unknown", True)
        full = doctor([node(object_store_used=8 * GIB, object_store_primary=None)])
        assert check(full, "object store")[0] == "unknown", "it may hold copies, which it drops"
        assert check(doctor([node(object_store_used=GIB, object_store_primary=None)]), "object store")[0] == "well"

    def test_a_store_that_spilled_once(self) -> None:
        assert check(doctor([node(spilled=GIB)]), "object store")[0] == "maybe"

    def test_what_uses_most_is_no_good_news(self) -> None:
        assert check(doctor([node()], calls=[call("load", GIB)]), "use most") == ("info", "load 1.0 GiB at its peak.")
        assert check(doctor([node()]), "use most")[0] == "unknown"

    def test_more_functions_than_are_looked_into(self) -> None:
        calls = [call(f"load{number}", GIB, note="heap tracing is off (heap=False)") for number in range(5)]
        assert "and 1 more" in check(doctor([node()], calls=calls), "copy its data")[1]

    def test_the_same_signs_everywhere(self) -> None:
        calls, actor = growing(8)
        found = doctor([node(actor)], calls=calls)
        assert "✓ Does an actor grow" not in str(found)
        assert "! Does an actor grow? Holder may grow" in str(found)
        assert "! Does an actor grow? Holder may grow" in found._repr_html_()
        assert "· Which tasks and actors use most?" in str(found)


def test_a_restarted_actor_counts_once() -> None:
    """Two lives of one actor are not two actors."""
    first, _ = growing(12)
    actor = process("actor", 13 * 100 * MIB, "Holder", job_id=JOB)
    second = [
        call.__class__(**{**_fields(call), "pid": actor.pid, "worker_id": "v"}) for call in growing(12, 50 * MIB)[0]
    ]
    (found,) = doctor([node(actor)], calls=[*first, *second]).findings
    assert "by 1.1 GiB over 12 calls" in found.title
    assert "It grows in 2 processes, since some were restarted" in text_of(found)
    assert "actors of its class" not in text_of(found)


def test_the_largest_of_several_kills_need_not_be_the_last() -> None:
    found = doctor([node()], [kill("hog", 9 * GIB), kill("hog", 5 * GIB, when=NOW)]).findings[0]
    assert "killed for memory with up to 9.0 GiB on" in found.title
    assert "when it used 5.0 GiB" in text_of(found)


def test_an_idle_worker_is_laid_to_the_call_that_filled_it() -> None:
    """Not to the last one, which found it full."""
    worker = process("idle worker", 900 * MIB, node_id=HEAD)
    here = {"pid": worker.pid, "worker_id": None}
    calls = [
        call("fills", 900 * MIB, memory_after=890 * MIB, started_at=NOW - timedelta(minutes=9), **here),
        call("adds", 900 * MIB, memory_before=890 * MIB, memory_after=891 * MIB, **here),
    ]
    (found,) = (one for one in doctor([node(worker)], calls=calls).findings if one.illness == "idle_workers")
    assert found.name == "fills"
    assert "fills left 830.0 MiB behind in it" in text_of(found)


def test_idle_workers_that_leave_little() -> None:
    found = doctor([node(*idle_workers(32, 190 * MIB), total=16 * GIB, used=11 * GIB)])
    assert named(found) == [("idle_workers", "warning", None)]
    assert named(doctor([node(*idle_workers(2, 60 * MIB), process("idle worker", 550 * MIB))])) == [
        ("idle_workers", "warning", None)
    ]


def test_shared_memory_that_fills_a_node() -> None:
    """A DataLoader was killed, and what it had in /dev/shm is there still."""
    left = SharedMemoryOwner("tmpfs", "/dev/shm/torch_1_2", 7, 9 * GIB, user="ray")
    has = SharedMemoryOwner(
        "memfd", "memfd:batches", 1, 5 * GIB, pid=77, role="actor", process_name="Loader", sharer_count=4
    )
    owners = SharedMemoryOwners([left, has, SharedMemoryOwner("the rest", None, 3, GIB)])
    shared = {"shared_memory": 15 * GIB, "shared_memory_owners": owners}
    (found,) = doctor([node(used=30 * GIB, **shared)]).findings
    assert found.illness == "low_memory"
    text = text_of(found)
    assert "other shared memory 15.0 GiB, all else 14.7 GiB" in text
    assert (
        "Of the shared memory, 9.0 GiB of user ray, which no process is known to have open: /dev/shm/torch_1_2" in text
    )
    assert "Of the shared memory, 5.0 GiB of Loader (pid 77) and 4 more: memfd:batches." in text
    assert found.next_steps[0].startswith("See whether /dev/shm/torch_1_2 is still needed")
    assert "the rest" not in text


def test_a_full_object_store() -> None:
    (found,) = doctor([node(object_store_used=9 * GIB, object_store_primary=8 * GIB, used=13 * GIB)]).findings
    assert (found.illness, found.severity) == ("object_store", "warning")


class TestActors:
    def test_that_load_in_parts(self) -> None:
        calls, actor = growing(5)
        found = doctor([node(actor)], calls=calls)
        assert named(found) == [("leaking_actor", "info", "Holder")]
        assert found.healthy is True
        assert check(found, "an actor grow")[0] == "maybe"

    def test_that_grow(self) -> None:
        calls, actor = growing(12)
        (found,) = doctor([node(actor, total=8 * GIB, used=4 * GIB)], calls=calls).findings
        assert (found.illness, found.severity, found.name) == ("leaking_actor", "critical", "Holder")
        assert "`ray.kill(actor, no_restart=False)`" in text_of(found)
        assert "exit_actor" not in text_of(found), "after it an actor is gone for good"

    def test_that_were_of_a_job_that_is_over(self) -> None:
        calls, _ = growing(12)
        old = [
            call.__class__(**{**_fields(call), "job_id": EARLIER, "started_at": call.started_at - timedelta(hours=2)})
            for call in calls
        ]
        assert named(doctor([node()], calls=old)) == [("leaking_actor", "info", "Holder")]


def _fields(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


class TestTooMany:
    def test_the_pages_kill(self) -> None:
        """Nobody profiled: six processes of one name are in the kill's message, and one was killed with 4 %."""
        found = doctor(
            [node(total=int(28.8 * GIB), used=2 * GIB)], [kill("allocate_memory", int(1.25 * GIB), PAGE)]
        ).findings
        assert (found[0].illness, found[0].severity, found[0].name) == ("too_parallel", "critical", "allocate_memory")
        assert "6 calls of it ran at once" in text_of(found[0])
        assert "8.5 GiB" in text_of(found[0])
        assert "@ray.remote(memory=" in text_of(found[0])
        assert not found[0].next_steps[0].startswith("Or ")
        assert len(found) == 1, "told once"

    @pytest.mark.parametrize(("size", "illness"), [(9, "too_parallel"), (28, "out_of_memory")])
    def test_of_ray_data(self, size: int, illness: str) -> None:
        """What asks for the operator's memory, as the page says it below the table of advice."""
        name = "MapBatches(widen)"
        listed = "\n".join(f"{number}\t{size}.00\tray::{name}" for number in range(100, 103 if size < 10 else 101))
        found = doctor([node()], [kill(name, size * GIB, TOP + listed)]).findings
        assert (found[0].illness, found[0].name) == (illness, name)
        assert "`map_batches(widen, memory=" in text_of(found[0])
        assert "map_batches(…" not in text_of(found[0])

    @pytest.mark.parametrize("size", [1, 6, 10])
    def test_on_a_large_node(self, size: int) -> None:
        """Not one of them has a twentieth of the node, all of them fill it."""
        listed = "\n".join(f"{number}\t{size}.00\tray::shard" for number in range(100, 110))
        found = doctor([node(total=256 * GIB, used=20 * GIB)], [kill("shard", size * GIB, TOP + listed)]).findings
        assert (found[0].illness, found[0].severity) == ("too_parallel", "critical")
        assert "10 or more calls of it ran at once" in text_of(found[0])
        assert len(found) == 1
        dead = call("shard", size * GIB, status="killed", duration=None)  # the only one that was profiled
        (found,) = doctor(
            [node(total=256 * GIB, used=20 * GIB)], [kill("shard", size * GIB, TOP + listed, call=dead)], [dead]
        ).findings
        assert "though it used only" not in found.title

    def test_that_run_now(self) -> None:
        tasks = [process("task", 3 * GIB, "shard") for _ in range(9)]
        (found,) = doctor([node(*tasks, node_id=OTHER, used=29 * GIB)]).findings[:1]
        assert (found.illness, found.severity, found.name) == ("too_parallel", "warning", "shard")
        assert "9 calls of it run at once" in text_of(found)

    def test_a_bystander(self) -> None:
        """A small task that was killed where another filled the node is told to be no cause."""
        text = TOP + "1\t28.00\tpython job.py\n2\t0.20\tray::small\n"
        (found,) = doctor([node()], [kill("small", 200 * MIB, text)]).findings
        assert "though it used only 200.0 MiB" in found.title

    def test_the_node_with_the_kills_is_named(self) -> None:
        """Of two nodes that run too many of one function."""
        nodes = [
            node(total=8 * GIB, used=2 * GIB),
            node(node_id=OTHER, total=8 * GIB, used=2 * GIB),
        ]
        calls = [
            call("load", 3 * GIB, node_id=where, duration=None, status="running")
            for where in (HEAD, OTHER)
            for _ in range(5)
        ]
        dead = call("load", 3 * GIB, node_id=OTHER, duration=None, status="killed", worker_id="dead")
        found = doctor(nodes, [kill("load", 3 * GIB, node_id=OTHER, call=dead)], [*calls, dead]).findings[0]
        assert (found.illness, found.node_id, found.kill_count) == ("too_parallel", OTHER, 1)

    def test_actors(self) -> None:
        """By default they hold no CPU, so that num_cpus=1 is a change."""
        calls, actors = [], []
        for _ in range(4):
            one = process("actor", 3 * GIB, "Model")
            actors.append(one)
            calls.append(call("Model.run", 3 * GIB, kind="method", actor_id="d" * 24 + JOB, pid=one.pid))
        (found,) = doctor([node(*actors, total=16 * GIB, used=int(13.8 * GIB))], calls=calls).findings[:1]
        assert (found.illness, found.name) == ("too_parallel", "Model")
        assert found.next_steps[0].startswith("Run no more than fit: `@ray.remote(num_cpus=")
        assert found.next_steps[1].startswith("Or `@ray.remote(memory=")


def test_a_task_beside_a_driver_that_fills_the_head() -> None:
    """It is killed again and again, but it is not what is ill."""
    text = TOP + "1\t28.00\tpython job.py\n2\t0.05\tray::small\n"
    one = f"{1:040x}{JOB}"
    kills = [kill("small", 50 * MIB, text, task_id=one, attempt=n, when=NOW - timedelta(minutes=n)) for n in range(5)]
    found = doctor(
        [node(process("driver", 28 * GIB, "job.py"), process("task", 50 * MIB, "small"), used=30 * GIB)],
        kills,
        retries=[Retry("small", one, 5, NOW - timedelta(minutes=4), 16.0)],
    )
    assert [one[:2] for one in named(found)] == [("head_node", "critical"), ("endless_retries", "warning")]


class TestKillsThatAreOver:
    def test_in_a_cluster_that_was_mended(self) -> None:
        """A later job ran the same function to its end."""
        died = call("hog", 9 * GIB, job_id=EARLIER, status="killed", duration=None)
        later = call("hog", 2 * GIB, started_at=NOW - timedelta(minutes=1))
        found = doctor([node()], [kill("hog", 9 * GIB, call=died)], [died, later])
        assert named(found) == [("out_of_memory", "info", "hog")]
        assert found.healthy is True
        assert check(found, "killed for memory") == ("maybe", "Not lately: 1 process before.")

    @pytest.mark.parametrize(
        ("job", "age", "severity"),
        [
            (EARLIER, timedelta(minutes=20), "critical"),  # who asks wants to know of it
            (EARLIER, timedelta(hours=3), "info"),
            (JOB, timedelta(hours=3), "critical"),
            (JOB, timedelta(days=3), "info"),
        ],
    )
    def test_by_age(self, job: str, age: timedelta, severity: str) -> None:
        when = NOW - age
        found = doctor([node()], [kill("hog", 9 * GIB, task_id=f"{7:040x}{job}", when=when)])
        assert named(found) == [("out_of_memory", severity, "hog")]
        assert ("2026-02-27" in text_of(found.findings[0])) is (age.days == 3), "the date, where it is not today"

    def test_of_a_folder_all_count(self) -> None:
        kills = Kills([kill("hog", 9 * GIB, when=NOW - timedelta(days=9))])
        found = diagnose(Observed(NOW, "logs", kills, Calls(()), None, advise_of((), None), (), {}))
        assert named(found) == [("out_of_memory", "critical", "hog")]
        assert "on 2026-02-21" in text_of(found.findings[0])


class TestSilentNodes:
    SILENT = MissingNode(OTHER, "10.0.0.2", "it did not answer for 30 s")

    def test_no_news_is_no_good_news(self) -> None:
        found = doctor([node()], silent=[self.SILENT])
        assert found.findings == ()
        assert found.healthy is None
        assert found.summary.startswith("Nothing wrong was found on the nodes that answered. But node 10.0.0.2 (bbbb")
        assert "it did not answer for 30 s" in found.summary
        verdicts = {one.question: one.verdict for one in found.checks}
        assert verdicts.pop("Is it the head node?") == "well"
        assert set(verdicts.values()) == {"unknown"}
        assert json.loads(found.to_json())["healthy"] is None

    def test_where_the_sick_one_answered(self) -> None:
        found = doctor([node()], [kill("hog", 9 * GIB)], silent=[self.SILENT])
        assert found.healthy is False
        assert "But node 10.0.0.2" in found.summary

    def test_where_none_answered(self) -> None:
        found = doctor([], silent=[MissingNode(HEAD, "10.0.0.1", "it did not answer for 30 s"), self.SILENT])
        assert {one.verdict for one in found.checks} == {"unknown"}
        assert "2 nodes did not answer (10.0.0.1, 10.0.0.2)" in found.summary

    def test_where_the_reader_was_killed(self) -> None:
        found = doctor([node()], silent=[MissingNode(OTHER, "10.0.0.2", KILLED)])
        assert named(found) == [("low_memory", "critical", None)]
        assert found.healthy is False
        assert "10.0.0.2" in found.findings[0].title

    def test_nodes_that_left_are_no_gap(self) -> None:
        found = doctor([node()], gone=[MissingNode(OTHER, "10.0.0.2", "it has died or left")])
        assert found.healthy is True
        assert any("it has died or left" in text for text in found.unchecked)
        verdict, answer = check(found, "killed for memory")
        assert verdict == "unknown"
        assert answer == "Not that it was seen, but what was on node 10.0.0.2 that died or left is not known."
        assert "died or left" not in check(found, "head node")[1]


def test_warnings_of_an_advice_are_passed_on() -> None:
    dead = call("hog", 9 * GIB, status="killed", duration=None)
    found = doctor([node(total=16 * GIB)], [kill("hog", 9 * GIB, call=dead)], [dead]).findings[0]
    assert "@ray.remote(memory=" in text_of(found)
    assert "the call was killed: what they had is a lower bound of what they need" in text_of(found)


def test_deaths_that_nobody_explains() -> None:
    def died(name: str, peak: int, **more: Any) -> Call:
        return call(name, peak, status="killed", duration=None, **{"error": WITHOUT_A_TRACE, **more})

    calls = [
        died("small", GIB),
        died("large", 2 * GIB),
        died("large", 3 * GIB),
        died("of a job that is over", GIB, job_id=EARLIER),
        died("explained", GIB, error="the process crashed (SIGSEGV)"),
        call("finished", GIB),
    ]
    diagnosis = doctor([node()], calls=calls)
    assert diagnosis.healthy is True
    found = [one for one in diagnosis.findings if one.illness == "unexplained_death"]
    assert [(one.severity, one.name) for one in found] == [("info", "large"), ("info", "small")]
    assert found[0].title.startswith("2 processes of large ")
    assert "3.0 GiB" in text_of(found[0])
    assert "dmesg" in text_of(found[0])


class TestAdvice:
    def test_of_an_actor_that_grows(self) -> None:
        """It is sized by what it has used so far, and that is said."""
        calls, _ = growing(12)
        (advice,) = advise_of(calls, None)
        (told,) = (text for text in advice.warnings if "grows with each call" in text)
        assert "by 1.1 GiB over 12 calls so far" in told
        assert "will need more" in told
        few, _ = growing(6)
        assert any("grew by 500.0 MiB over its first 6 calls" in text for text in advise_of(few, None)[0].warnings)
        steady = [call.__class__(**{**_fields(call), "memory_after": GIB}) for call in calls]
        assert not any("gr" in text for text in advise_of(steady, None)[0].warnings)
        assert "peaks" in repr(advise_of(calls, None)), "12 calls, of one process"
        assert "peaks" not in repr(advise_of([call("load", GIB)], None)).splitlines()[2]

    def test_of_a_call_in_a_worker_that_others_filled(self) -> None:
        (advice,) = advise_of([call("small", 2 * GIB, memory_before=2 * GIB - 10 * MIB)], None)
        (told,) = (text for text in advice.warnings if "held before" in text)
        assert "2.0 GiB" in told
        assert "the call itself added 10.0 MiB" in told
        assert not any("held before" in text for text in advise_of([call("load", 2 * GIB)], None)[0].warnings)
        assert not any("held before" in text for text in advise_of([call("tiny", 70 * MIB)], None)[0].warnings)

    def test_a_containers_limit_counts(self) -> None:
        """Where the raylet knows the machine's memory only."""
        now = Usage(NOW, Nodes([node(total=3 * GIB, used=GIB, threshold=int(22.4 * GIB))]))
        (advice,) = advise_of([call("load", 10**9)], now)
        assert advice.fits == {HEAD: 1}
        assert "2.0 GiB left of the 3.0 GiB" in repr(advise_of([call("load", 10**9)], now))

    def advised(self, *nodes: Capacity, needs: int = 10**9, kind: str = "task") -> int:
        return memory_for(needs, list(nodes), kind)

    def test_more_is_asked_for_where_ray_would_admit_more_than_fit(self) -> None:
        def at(limit: int, **more: Any) -> Capacity:
            return Capacity(HEAD, "10.0.0.1", limit, 0, 8.0, 22 * 10**9, **more)

        assert self.advised(at(9 * 10**9)) == 10**9, "its CPUs admit no more"
        memory = self.advised(at(3 * 10**9))
        assert 22 * 10**9 // memory == 3
        assert 22 * 10**9 // (memory - 10**6) == 4, "the least"
        assert self.advised(at(3 * 10**9 - 1)) > memory
        assert self.advised(at(10**9)) == 11_001_000_000, "one at a time"
        assert self.advised(at(10**8)) == 10**9, "where not one fits nothing helps"
        assert self.advised(at(10 * 10**9), kind="actor") == 2_001_000_000

    def test_what_other_tasks_hold_now_does_not_make_it_more(self) -> None:
        others = Capacity(HEAD, "10.0.0.1", 10 * 10**9, 9 * 10**9, 8.0, 22 * 10**9, (), {1: 4 * 10**9, 2: 4 * 10**9})
        assert self.advised(others) == 10**9


ISOLATED = ResourceIsolation(user_used=20 * GIB, user_limit=28 * GIB, system_used=1 * GIB, system_reserved=4 * GIB)
"""Of a node of 32 GiB."""


def test_with_resource_isolation_workers_have_their_own_limit() -> None:
    """The node is at 23 of 32 GiB, and workers and objects at 27 of the 28 that they may use."""
    isolated = node(process("task", 20 * GIB, "grow"), used=29 * GIB, object_store_held=7 * GIB, isolation=ISOLATED)
    assert (isolated.kill_limit, isolated.counted, isolated.left, isolated.killer) == (28 * GIB, 27 * GIB, GIB, "Ray")
    found = doctor([isolated])
    assert ("low_memory", "warning", None) in named(found)
    (low,) = [one for one in found.findings if one.illness == "low_memory"]
    assert "96% of what it may use" in low.title
    assert "workers and objects use 27.0 GiB, and Ray kills at 28.0 GiB" in text_of(low)
    assert not [one for one in found.findings if one.illness == "small_reserve"]


def test_a_node_that_is_full_of_what_is_no_worker_s_is_not_low_for_workers() -> None:
    isolated = node(used=31 * GIB, isolation=replace(ISOLATED, user_used=10 * GIB))
    found = doctor([isolated])
    assert named(found) == [("small_reserve", "warning", None)]
    (small,) = found.findings
    assert "4.0 GiB, and 21.0 GiB is used" in small.title
    assert f"--system-reserved-memory={22 * GIB}`" in small.next_steps[0]


def test_all_shared_memory_counts_against_what_workers_may_use() -> None:
    """Ray adds the shared memory and tmpfs of both cgroups: the object store's, and a DataLoader's, for instance."""
    isolated = node(used=30 * GIB, object_store_held=2 * GIB, isolation=replace(ISOLATED, shared=7 * GIB))
    assert (isolated.counted, isolated.left, isolated.reserve) == (27 * GIB, GIB, (3 * GIB, 4 * GIB))


def test_before_ray_2_56_the_reserve_is_what_ray_s_own_parts_may_not_exceed() -> None:
    early = ResourceIsolation(user_used=2 * GIB, user_limit=None, system_used=3 * GIB, system_reserved=2 * GIB)
    found = doctor([node(used=6 * GIB, isolation=early)])
    assert named(found) == [("small_reserve", "warning", None)]
    assert found.usage is not None
    (one,) = found.usage.nodes
    assert (one.kill_limit, one.counted) == (one.threshold, 6 * GIB)


def test_advice_fits_what_resource_isolation_leaves_to_workers() -> None:
    isolated = node(used=23 * GIB, isolation=ISOLATED)
    (advice,) = advise_of([call("grow", 3 * GIB)], Usage(NOW, Nodes([isolated])))
    assert advice.fits == {HEAD: 2}  # 8 GiB are left, and one needs 3.75


def test_kills_that_only_ray_s_counter_knows_are_no_clean_bill() -> None:
    quiet = diagnose(
        Observed(
            NOW,
            None,
            Kills([], kill_counter=2),
            Calls([]),
            Usage(NOW, Nodes([node()])),
            advise_of((), None),
            (),
            {HEAD: 8.0},
        )
    )
    (check,) = [one for one in quiet.checks if "killed for memory" in one.question]
    assert check.verdict == "unknown"
    assert "Ray's own counter knows of 2 kills, and no log names one" in check.answer
    assert "Ray's own counter knows of 0 kills" in repr(Kills([], kill_counter=0))
    assert "counter" not in repr(Kills([]))


def test_copies_that_children_made_are_told_of_calls_that_finished() -> None:
    loads = call("loads", 900 * MIB, children_peak=400 * MIB, children_count=4, children_copied=300 * MIB)
    less = call("loads", 700 * MIB, children_peak=200 * MIB, children_count=4, children_copied=100 * MIB)
    few = call("reads", 900 * MIB, children_peak=100 * MIB, children_count=1, children_copied=30 * MIB)
    killed = call("dies", 900 * MIB, children_peak=400 * MIB, children_copied=300 * MIB, status="killed", duration=None)
    found = [one for one in doctor([node()], calls=[loads, less, few, killed]).findings if one.illness == "copy"]
    assert [(one.name, one.severity) for one in found] == [("loads", "info")]
    assert "300.0 MiB of its memory" in found[0].title
    assert any("NumPy, Arrow" in step for step in found[0].next_steps)


@pytest.mark.parametrize("is_alive", [True, False])
def test_freed_memory_goes_with_its_process(is_alive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the workers of Ray Train do when a run is over."""
    left = call("train", 900 * MIB, memory_after=860 * MIB)
    kept = SimpleNamespace(retained_at_end=700 * MIB, alive_at_end=50 * MIB)
    monkeypatch.setattr(Heaps, "of", lambda _, call: kept)
    worker = replace(process("idle", 800 * MIB), pid=left.pid if is_alive else left.pid + 1)
    now = Usage(NOW, Nodes([node(worker)]), ())
    observed = Observed(NOW, None, Kills([]), Calls([left]), now, advise_of([left], now), (), {HEAD: 8.0})
    (found,) = [one for one in retained_memory.find(observed) if isinstance(one, Finding)]
    assert ("until it ended" in found.title) == (not is_alive)
    assert ("its memory is the node's again" in text_of(found)) == (not is_alive)
    assert ("it is gone" in text_of(found)) == is_alive


def test_names_are_text_in_the_page(tmp_path: Path) -> None:
    hostile = "load<script>alert(1)</script><img onerror='alert(2)'>\"&\x1b\udc80"
    actor, task = process("actor", 20 * GIB, hostile), call(hostile, 9 * GIB, status="killed")
    found = doctor(
        [node(actor, used=31 * GIB)], [kill(hostile, 9 * GIB, call=task)], [task, call(hostile, GIB)], chosen=hostile
    )
    assert hostile in found.findings[0].title
    report = found.save(tmp_path / "report.html")
    pictures = re.findall(r"base64,([^\"]+)\"", report._repr_html_())
    assert len(pictures) == 2
    for picture in pictures:
        assert "script" not in {one.tag.rpartition("}")[2] for one in ElementTree.fromstring(b64decode(picture)).iter()}
    inline = re.sub(r"<img src=\"data.*?>|<script>\n\[.*?</script>", "", report._repr_html_(), flags=re.DOTALL)
    for html in (report.path.read_text(), found._repr_html_(), inline):
        assert "<script" not in html
        assert "<img" not in html
        assert "\x1b" not in html
        assert "load&lt;script&gt;alert(1)&lt;/script&gt;&lt;img onerror=&#39;alert(2)&#39;&gt;&#34;&amp;�" in html
        assert "{{" not in html
