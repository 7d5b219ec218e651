"""Every text that Ray prints about memory gives the figures that stand in it, and a damaged one gives no others."""

from __future__ import annotations

import json
import math
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray import exceptions

from raymemprof import Explanation, explain, ooms
from raymemprof.reading.logs.facts import Message, Victim
from raymemprof.reading.logs.kinds import first_of
from raymemprof.reading.logs.messages import parse
from raymemprof.reading.logs.programs.accelerators import accelerator
from raymemprof.reading.logs.programs.libraries import LIBRARIES
from tests.paths import DATA
from tests.texts.message_texts import TEXTS as MESSAGE_TEXTS

TEXTS = {str(path.relative_to(DATA)): path.read_text() for path in sorted(DATA.glob("*/*.txt"))}
NODE_60 = "b7aed0e470b9fe4b9bf107a23184fbae10d7aed5ce15f0ab00d40233"
NODE_49 = "974aa7c6caf43708d7d3cf94a0bd7bdfc6c35c64b6e049eed592bf95"
NODE_PAGE = "e5d953ef03e55e26f13973ea1b5a0fd0ecc729cd820bc89e4aa50451"
SECOND_PID, SECOND_WORKER = 22222, "a" * 56


def gib(figure: str) -> int:
    """Ray writes GB and means GiB."""
    return round(float(figure) * 2**30)


def victim(name=None, pid=None, memory=None, worker_id=None, task_id=None, actor_id=None) -> Victim:
    return Victim(name, task_id, actor_id, worker_id, pid, None if memory is None else gib(memory))


OOM_60 = {"cause": "ray_memory_monitor", "node_ip": "192.0.2.2", "node_id": NODE_60, "limit": 25276514304}
OOM_60 |= {"threshold": 4140847104}
OOM_49 = {"cause": "ray_memory_monitor", "node_ip": "192.0.2.2", "node_id": NODE_49, "limit": gib("23.54"), "killed": 1}
OOM_49 |= {"threshold": round(0.146918 * gib("23.54"))}
DEATH = {"cause": "unknown", "used": None, "limit": None, "threshold": None, "killed": None}

FIGURES: dict[str, dict[str, Any]] = {
    "page/task-oom.txt": {
        "cause": "ray_memory_monitor",
        "node_ip": "10.0.62.231",
        "node_id": NODE_PAGE,
        "used": gib("27.71"),
        "limit": gib("28.80"),
        "threshold": round(0.95 * gib("28.80")),
        "killed": 1,
        "victims": (
            victim(
                "allocate_memory",
                11362,
                "1.25",
                "6f2ec5c8b0d5f5a66572859faf192d36743536c2e9702ea58084b037",
                "43534ce9375fa8e4cd0d0ec285d9974a6a95897401000000",
            ),
        ),
    },
    "page/periodic.txt": {
        "cause": "ray_memory_monitor",
        "node_ip": "10.0.62.231",
        "node_id": NODE_PAGE,
        "killed": 10,
        "victims": (),
    },
    "page/worker-exit-unexpected.txt": DEATH | {"victims": (), "exit_detail": "Worker unexpectedly exits with a conn"},
    "page/worker-exit-system-error.txt": DEATH | {"victims": (), "exit_detail": "The leased worker has unrecoverable"},
    "ray-2.49/task-oom.txt": OOM_49
    | {
        "used": gib("3.48"),
        "victims": (
            victim(
                "allocate_memory",
                12345,
                "2.13",
                "e3939b6d843774c11f4fbc4890da3337785318f1e6574df99780494b",
                "cb5a622e4fe055bdbfe71e089972dda1c85d09e401000000",
            ),
        ),
    },
    "ray-2.49/actor-oom.txt": OOM_49
    | {
        "used": gib("3.47"),
        "victims": (
            victim(
                "Hog.__init__",
                12346,
                "2.19",
                "5e2909c1625da55e50b9d0e24dfca6d70031440cf09e657bda8ddd30",
                actor_id="7f6eff041d847e2a95fa3fc101000000",
            ),
        ),
    },
    "ray-2.49/raylet-out.txt": {
        "cause": "ray_memory_monitor",
        "node_ip": "192.0.2.2",
        "node_id": NODE_49,
        "killed": 2,
        "victims": (),
    },
    "ray-2.49/actor-sigkill.txt": DEATH
    | {
        "node_ip": "192.0.2.2",
        "exit_detail": "Worker unexpectedly exits with a connection error code 2.",
        "victims": (victim("Hog", 12482, actor_id="b2eb289655416f824bf9317001000000"),),
    },
    "ray-2.49/task-sigkill.txt": DEATH | {"victims": (), "exit_detail": None},
    "ray-2.52/task-oom.txt": {
        "cause": "ray_memory_monitor",
        "node_id": "9c4b2704b18c6c3f5bfe07b74bf74a718a3d10c8c7f4c029554c33b0",
        "used": gib("3.17"),
        "limit": gib("23.54"),
        "threshold": round(0.133017 * gib("23.54")),
        "killed": 1,
        "victims": (victim("hog", 31240, "1.27", "e7398524a5c3ccbc3741feb48c465fbd5bf0ac14746183ac055a723e"),),
    },
    "ray-2.52/actor-oom.txt": {
        "used": gib("3.15"),
        "threshold": round(0.133017 * gib("23.54")),
        "victims": (victim("Hog.__init__", 31241, "0.05", "ccf1f286c0cd2f7607b10dc9cfe17e7b43c2b0ab0b659cd4f70fa7c3"),),
    },
    "ray-2.55/task-oom.txt": {
        "cause": "ray_memory_monitor",
        "node_id": "2a352c5c8d5797e003b864669c3d0e8118ac097fa762113c5e43769b",
        "used": gib("5.02"),
        "limit": gib("23.54"),
        "threshold": round(0.212663 * gib("23.54")),
        "killed": 1,
        "victims": (victim("hog", 31882, "1.97", "b84c4a194815884e2641b078f3d23ce730318aee95c5152214f541b1"),),
    },
    "ray-2.55/actor-oom.txt": {
        "used": gib("5.01"),
        "killed": 1,
        "victims": (
            victim(
                "Hog.__init__",
                31881,
                "1.69",
                "bd00123f53f93b27bcdf9927b8ac37b9e56b95ba8921d9003474e2b3",
                actor_id="a31b260fffe054b366ade4c501000000",
            ),
        ),
    },
    "ray-2.60/task-oom.txt": OOM_60
    | {
        "used": 4154372096,
        "killed": 1,
        "idle_memory": 0,
        "victims": (
            victim("allocate_memory", 12989, "2.91", "c6353928de4b17d244cc1db993538ef2b6e1906c793af42eb46d39d5"),
        ),
    },
    "ray-2.60/actor-oom.txt": OOM_60
    | {
        "used": 4147314688,
        "killed": 1,
        "victims": (
            victim(
                "Hog.__init__",
                13083,
                "2.89",
                "7b1ce487dcd960228350e8404f070c28ccad0042ce33f2a5f023d3a7",
                actor_id="50b71b0295be30fb6e1e7b8101000000",
            ),
        ),
    },
    "ray-2.60/two-tasks-oom.txt": {
        "cause": "ray_memory_monitor",
        "used": 3569233920,
        "limit": 25276510208,
        "threshold": 3513819136,
        "killed": 2,
        "victims": (
            victim("hog", 5940, "1.13", "WORKER 0"),
            victim("hog", 5941, "1.13", "WORKER 1"),
        ),
    },
    "ray-2.60/idle-worker-oom.txt": {
        "cause": "ray_memory_monitor",
        "killed": 2,
        "victims": (victim(None, 21645, "0.04", "WORKER 0"), victim("hog", 21644, "1.26", "WORKER 1")),
    },
    "ray-2.60/driver-oom.txt": {
        "cause": "ray_memory_monitor",
        "used": 3935522816,
        "killed": 1,
        "retries": math.inf,
        "idle_memory": gib("0.04"),
        "victims": (victim("hog", 6406, "2.15", "WORKER 0"),),
    },
    "ray-2.60/raylet-out.txt": OOM_60 | {"used": 4146229248, "killed": 3, "victims": ()},
    "ray-2.60/actor-sigkill.txt": DEATH
    | {
        "node_ip": "192.0.2.2",
        "exit_detail": "Worker unexpectedly exits with a connection error code 2.",
        "victims": (victim("Hog", 13110, actor_id="a01d9b4d5d7f08128c8d8e4d01000000"),),
    },
    "ray-2.60/task-sigkill.txt": DEATH | {"victims": (), "exit_detail": None},
}
TOP = {  # the first and the last line under "Top 10 memory users", and how many there are
    # Line numbers are glued to the page's rows.
    "page/task-oom.txt": (5, (None, "6.15", "ray::allocate_memory"), (None, "0.09", "python test.py")),
    "ray-2.49/task-oom.txt": (10, (12345, "2.13", "ray::allocate_memory"), (12052, "0.05", "ray-dashboard-JobHead-0")),
    "ray-2.49/actor-oom.txt": (10, (12346, "2.19", "ray::Hog.grow"), (12052, "0.05", "ray-dashboard-JobHead-0")),
    "ray-2.60/task-oom.txt": (10, (12989, "2.91", "ray::allocate_memory"), (12689, "0.02", "ray-dashboard-NodeHead-0")),
    "ray-2.60/actor-oom.txt": (10, (13083, "2.89", "ray::Hog.grow"), (12689, "0.02", "ray-dashboard-NodeHead-0")),
}


def assert_figures(message: Message | Explanation, figures: dict[str, Any]) -> None:
    for name, expected in figures.items():
        if isinstance(message, Explanation) and not hasattr(message, name):
            continue
        found = getattr(message, name)
        if name == "exit_detail" and expected is not None:
            assert found.startswith(expected)
        else:
            assert found == expected, name


def with_workers(name: str) -> dict[str, Any]:
    """The figures of a text; ids as long as workers' are not repeated above, but taken from the text by themselves."""
    workers = re.findall(r"worker ID=([0-9a-f]{56})\)", TEXTS[name])
    figures = dict(FIGURES[name])
    figures["victims"] = tuple(
        Victim(v.name, v.task_id, v.actor_id, workers[int(v.worker_id[-1])], v.pid, v.memory)
        if v.worker_id and v.worker_id.startswith("WORKER")
        else v
        for v in figures["victims"]
    )
    return figures


def test_every_text_is_known() -> None:
    assert set(TEXTS) == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_the_figures_that_stand_in_it(name: str) -> None:
    assert_figures(parse(TEXTS[name]), with_workers(name))


@pytest.mark.parametrize("name", FIGURES)
def test_explained(name: str, tmp_path: Path) -> None:
    """Also by `explain`, which has no session to look at here."""
    explanation = explain(TEXTS[name], tmp_path)
    assert_figures(explanation, with_workers(name))
    assert explanation.advice
    assert len(explanation.calls) == 0
    assert str(explanation) == repr(explanation)
    assert explanation.summary.splitlines()[0] in str(explanation)
    for victim in explanation.victims:
        assert str(victim.pid) in str(explanation)


@pytest.mark.parametrize("name", TOP)
def test_top_processes(name: str) -> None:
    count, first, last = TOP[name]
    processes = parse(TEXTS[name]).top_processes
    assert len(processes) == count
    for process, (pid, memory, command) in zip((processes[0], processes[-1]), (first, last), strict=True):
        assert (process.pid, process.memory) == (pid, gib(memory))
        assert process.command.startswith(command)
    assert all("\n" not in process.command for process in processes)


def decorated(prefix: str) -> Callable[[str], str]:
    return lambda text: "\n".join(prefix + line for line in text.splitlines())


DISGUISES = {
    "colours": lambda text: "\n".join(f"\x1b[36m{line}\x1b[0m" for line in text.splitlines()),
    "the driver's raylet prefix": decorated("\x1b[33m(raylet)\x1b[0m "),
    "the prefix of another node": decorated("\x1b[33m(raylet, ip=10.0.0.7)\x1b[0m "),
    "colours that lost their escape": decorated("[33m(raylet)[0m "),
    "a worker's prefix": decorated("(f pid=1, ip=10.0.0.7) "),
    "a worker's prefix in colours": decorated("\x1b[36m(train pid=4242)\x1b[0m "),
    "an indent": decorated("    "),
    "line ends of Windows": lambda text: text.replace("\n", "\r\n"),
    "JSON": lambda text: json.dumps(text),
    "the raylet's event log": lambda text: json.dumps(text.replace("\n", "\\n")),
    "a traceback around it": lambda text: (
        f"Traceback (most recent call last):\n  File ...\nray.exceptions.X: {text}\n\n>>> "
    ),
}


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("name", FIGURES)
def test_disguised(name: str, disguise: str) -> None:
    message = parse(DISGUISES[disguise](TEXTS[name]))
    assert_figures(message, with_workers(name))
    if name in TOP:
        count, first, _ = TOP[name]
        assert len(message.top_processes) == count
        assert message.top_processes[0].pid == first[0]
        assert message.top_processes[0].command.startswith(first[2])


@pytest.mark.parametrize(("version", "killed"), [("2.49", [12345, 12482, 12513]), ("2.60", [12988, 13110, 13138])])
def test_event_log(version: str, killed: list[int]) -> None:
    lines = (DATA / f"ray-{version}" / "event_RAYLET.log").read_text().splitlines()
    messages = [parse(json.loads(line)["message"]) for line in lines]
    assert [victim.pid for message in messages for victim in message.victims] == killed
    assert [message.cause for message in messages] == ["ray_memory_monitor", "unknown", "unknown"]
    node = NODE_49 if version == "2.49" else NODE_60
    assert {(message.node_id, message.node_ip) for message in messages} == {(node, "192.0.2.2")}
    assert [len(message.top_processes) for message in messages] == [10, 0, 0]
    for message in messages[1:]:
        assert message.exit_detail is not None
        assert message.exit_detail.startswith("Worker unexpectedly exits with a connection error code 2.")


@pytest.mark.parametrize(
    ("count", "retries"), [("infinite", math.inf), ("3", 3), ("0", 0)], ids=["without end", "some", "none"]
)
def test_a_retry(count: str, retries: float) -> None:
    text = (
        f"(raylet) Task train failed due to oom. There are {count} oom retries remaining, so the task will be retried."
    )
    message = parse(text)
    assert (message.cause, message.retries) == ("ray_memory_monitor", retries)
    assert [(victim.name, victim.pid, victim.memory) for victim in message.victims] == [("train", None, None)]
    said = str(explain(text))
    assert "train" in said
    assert ("RAY_task_oom_retries" in said) == (retries == math.inf)


def test_the_periodic_summary_without_kills() -> None:
    text = (
        TEXTS["page/periodic.txt"]
        .replace("10 Workers (tasks", "0 Workers (tasks")
        .replace("0 Workers c", "4 Workers c")
    )
    message = parse(text)
    assert (message.cause, message.victims) == ("unknown", ())


def test_two_victims() -> None:
    """One more line like the real one, and there are two."""
    text = TEXTS["ray-2.60/task-oom.txt"]
    (line,) = re.findall(r"^Selected to kill: .*\n", text, re.MULTILINE)
    worker = "c6353928de4b17d244cc1db993538ef2b6e1906c793af42eb46d39d5"
    second = line.replace("pid=12989", f"pid={SECOND_PID}").replace(worker, SECOND_WORKER).replace("2.91GB", "0.50GB")
    message = parse(text.replace(line, line + second).replace("1 worker(s)", "2 worker(s)"))
    assert message.killed == 2
    assert message.victims == (
        victim("allocate_memory", 12989, "2.91", worker),
        victim("allocate_memory", SECOND_PID, "0.50", SECOND_WORKER),
    )


def test_those_who_were_only_considered_are_no_victims() -> None:
    text = TEXTS["ray-2.60/two-tasks-oom.txt"]
    selected = re.findall(r"^Selected to kill: .*\n", text, re.MULTILINE)
    spared = text.replace(selected[1], selected[1].removeprefix("Selected to kill: "))
    assert [victim.pid for victim in parse(spared).victims] == [5940]


@pytest.mark.parametrize("name", [name for name in FIGURES if name.endswith("oom.txt")])
def test_in_one_line(name: str) -> None:
    """As some versions write it to raylet.out, so that it can be searched by line."""
    figures = with_workers(name)
    assert_figures(parse(TEXTS[name].replace("\n", ";")), figures)
    assert_figures(parse(TEXTS[name].replace("\n", "; ")), figures)


def test_resource_isolation() -> None:
    """With `--enable-resource-isolation` Ray says why in other words, and of figures only used and limit."""
    text = re.sub(
        r"Memory usage \d+B exceeded .*",
        "user cgroup memory upper bound was met or exceeded",
        TEXTS["ray-2.60/task-oom.txt"],
    )
    text = text.replace("3.88GB used / 23.54GB limit (0.165021)", "3.88GB / 23.54GB (0.165021)")
    message = parse(text)
    assert (message.used, message.limit, message.threshold) == (gib("3.88"), gib("23.54"), None)
    assert [victim.pid for victim in message.victims] == [12989]


def test_who_ran_at_once_and_had_more_than_asked(tmp_path: Path) -> None:
    """Also one that was not killed, with the most of all."""
    text = TEXTS["ray-2.60/two-tasks-oom.txt"].replace("resources={CPU: 1}", "resources={memory: 1.07374e+09, CPU: 1}")
    said = str(explain(text, tmp_path))
    assert "2 workers of hog ran at once, and had 2.3 GiB together." in said
    assert "hog asks for 1024.0 MiB and had 1.1 GiB: 133.1 MiB more." in said
    half = text.replace("memory: 1.07374e+09", "memory: 5e+08")
    assert "hog asks for 476.8 MiB and had 1.1 GiB: 680.3 MiB more." in str(explain(half, tmp_path))
    line = re.findall(r"Selected to kill: (.*5941.*\n)", text)[0]
    spared = line.replace("5941", "777").replace("1.13GB", "9.50GB").replace("name=hog", "name=Store.get")
    said = str(explain(text.replace("Considered workers: [\n", f"Considered workers: [\n{spared}"), tmp_path))
    assert "Store.get (pid 777) had more, 9.5 GiB, and was not killed." in said
    assert "killed hog (pid 5940) and hog (pid 5941)" in said
    assert "ran at once" not in str(explain(TEXTS["ray-2.60/task-oom.txt"], tmp_path))


def test_the_knob_that_moves_the_limit(tmp_path: Path) -> None:
    text = TEXTS["ray-2.60/task-oom.txt"]
    assert "RAY_memory_usage_threshold" in str(explain(text, tmp_path))
    isolated = re.sub(r"Memory usage \d+B exceeded .*", "user cgroup memory upper bound was met or exceeded", text)
    said = str(explain(isolated, tmp_path))
    assert "--system-reserved-memory" in said
    assert "RAY_memory_usage_threshold" not in said


def test_the_wording_between_the_old_and_the_new() -> None:
    """Ray had it for a while: several workers in brackets, and the threshold as a fraction."""
    text = TEXTS["ray-2.60/task-oom.txt"]
    text = re.sub(
        r"was 3.88GB used .*\nOOM kill reason: .*",
        "was 3.88GB / 23.54GB (0.165021), which exceeds the memory usage threshold of 0.163822",
        text,
    )
    text = re.sub(
        r"policy\nConsidered workers: \[\nSelected to kill: (.*)\n\]\nTotal.*\nTotal.*", r"policy: [\1]", text
    )
    message = parse(text)
    assert (message.used, message.limit) == (gib("3.88"), gib("23.54"))
    assert message.threshold == round(0.163822 * gib("23.54"))
    assert [(victim.name, victim.pid, victim.memory) for victim in message.victims] == [
        ("allocate_memory", 12989, gib("2.91"))
    ]


@pytest.mark.parametrize(
    "name", ["a task, with a name", "ReadRange->MapBatches(Model)", "größer", "f(x) pid=1", "_wrapper.<locals>.inner"]
)
@pytest.mark.parametrize("text", ["ray-2.49/task-oom.txt", "ray-2.60/task-oom.txt"])
def test_names_of_tasks(text: str, name: str) -> None:
    assert [victim.name for victim in parse(TEXTS[text].replace("allocate_memory", name)).victims] == [name]


# Exceptions.


class _ArrayMemoryError(MemoryError):
    """As numpy's, which is not needed to test."""

    def __str__(self) -> str:
        return "Unable to allocate 7.45 GiB for an array with shape (1000000000,) and data type float64"


def wrapped(error: Exception) -> Exception:
    """As `ray.get` raises what a task raised."""
    name = type(error).__name__
    trace = f'\x1b[36mray::f()\x1b[39m (pid=1, ip=192.0.2.2)\n  File "job.py", line 3, in f\n{name}: {error}'
    return exceptions.RayTaskError("f", trace, error).as_instanceof_cause()


NODE_DIED = (
    "Task failed because the node it was running on is dead or unavailable. Node IP: 10.0.62.231, node ID: "
    f"{NODE_PAGE}. This can happen if the node was preempted, had a hardware failure, or its raylet crashed."
)
ERRORS = {
    "object_store_full": exceptions.ObjectStoreFullError("Failed to put object in object store because it is full."),
    "disk_full": exceptions.OutOfDiskError("Local disk is full"),
    "memory_error": MemoryError(),
    "node_died": exceptions.NodeDiedError(NODE_DIED),
    "ray_memory_monitor": exceptions.OutOfMemoryError(TEXTS["ray-2.60/task-oom.txt"].partition("\n")[2]),
}


@pytest.mark.parametrize("wrap", [lambda error: error, wrapped], ids=["bare", "wrapped"])
@pytest.mark.parametrize("cause", ERRORS)
def test_exceptions(cause: str, wrap: Callable[[Exception], Exception], tmp_path: Path) -> None:
    explanation = explain(wrap(ERRORS[cause]), tmp_path)
    assert explanation.cause == cause
    assert explanation.advice
    assert [victim.pid for victim in explanation.victims] == ([12989] if cause == "ray_memory_monitor" else [])
    if cause == "node_died":
        assert (explanation.node_id, explanation.node_ip) == (NODE_PAGE, "10.0.62.231")


@pytest.mark.parametrize("wrap", [lambda error: error, wrapped, lambda error: str(wrapped(error))])
def test_numpy_cannot_allocate(wrap: Callable[[Exception], Exception | str], tmp_path: Path) -> None:
    assert explain(wrap(_ArrayMemoryError()), tmp_path).cause == "memory_error"
    assert (
        explain("numpy.core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB", tmp_path).cause
        == "memory_error"
    )


def test_an_error_that_caused_another(tmp_path: Path) -> None:
    try:
        try:
            raise ERRORS["ray_memory_monitor"]
        except exceptions.RayError as error:
            raise RuntimeError("training failed") from error
    except RuntimeError as error:
        explanation = explain(error, tmp_path)
    assert (explanation.cause, [victim.pid for victim in explanation.victims]) == ("ray_memory_monitor", [12989])


KERNEL = (
    "[Mon Nov 23 02:53:25 2026] {}: Killed process 4242 (ray::hog) total-vm:9000kB, anon-rss:2097152kB, file-rss:4kB"
)


@pytest.mark.parametrize("why", ["Out of memory", "Memory cgroup out of memory"])
def test_the_kernels_log(why: str, tmp_path: Path) -> None:
    explanation = explain("Subject: why?\n" + KERNEL.format(why), tmp_path)
    assert explanation.cause == "kernel_oom"
    assert [(one.name, one.pid, one.memory) for one in explanation.victims] == [("ray::hog", 4242, 2**31)]


@pytest.mark.parametrize("text", ["", "Task was killed due to…"])
def test_an_out_of_memory_error_that_says_little(text: str, tmp_path: Path) -> None:
    for told in (exceptions.OutOfMemoryError(text), f"ray.exceptions.OutOfMemoryError: {text}"):
        explanation = explain(told, tmp_path)
        assert (explanation.cause, explanation.victims) == ("ray_memory_monitor", ())


@pytest.mark.parametrize("text", ["exit_type: NODE_OUT_OF_MEMORY", "    error_type: OUT_OF_MEMORY"])
def test_the_state_api_in_a_terminal(text: str) -> None:
    assert parse(text).cause == "ray_memory_monitor"


@pytest.mark.parametrize(("version", "pids"), [("2.49", {12346, 12345}), ("2.60", {13083, 12989, 12988})])
def test_the_state_api(version: str, pids: set[int]) -> None:
    """As `ray list tasks --format json --detail` has it; those that ended of something else are no victims."""
    text = (DATA / f"ray-{version}" / "states.json").read_text()
    message = parse(text)
    states = json.loads(text)
    assert (message.cause, message.killed) == ("ray_memory_monitor", len(pids))
    assert message.node_id == (NODE_49 if version == "2.49" else NODE_60)
    assert {one.pid for one in message.victims} == pids
    known = {(task["worker_id"], task["task_id"], task["name"]) for task in states["tasks"]}
    assert {(one.worker_id, one.task_id, one.name) for one in message.victims} <= known
    (grows,) = (one for one in message.victims if one.name == "Hog.grow")
    assert grows.actor_id in text
    workers = parse(json.dumps(states["workers"]))
    assert {one.pid for one in workers.victims} == pids


@pytest.mark.parametrize(
    "text",
    [
        f"The node with node id: {NODE_PAGE} and address: 10.0.62.231 and node name: 10.0.62.231 has been marked dead "
        "because the detector has missed too many heartbeats from it.",
        "The actor died because its node has died.",
    ],
)
def test_a_node_that_died(text: str, tmp_path: Path) -> None:
    explanation = explain(text, tmp_path)
    assert explanation.cause == "node_died"
    if NODE_PAGE in text:
        assert (explanation.node_id, explanation.node_ip) == (NODE_PAGE, "10.0.62.231")


def test_what_is_no_node_of_a_cluster(tmp_path: Path) -> None:
    assert explain("ValueError: node 3 of the tree has died", tmp_path).cause == "unknown"


def test_exits_that_ray_explains(tmp_path: Path) -> None:
    for detail in (
        "Worker exits by an user request. Worker exits with an exit code 0. exit_actor() is called.",
        "Worker exits unexpectedly. Worker exits with an exit code 3.",
        "Worker exits unexpectedly. Worker exits with an exit code 1. The process receives a SIGTERM.",
    ):
        kind = "INTENDED_USER_EXIT" if "user request" in detail else "SYSTEM_ERROR"
        explanation = explain(f"Worker exit type: {kind} Worker exit detail: {detail}", tmp_path)
        assert (explanation.cause, explanation.victims) == ("exit", ())
        assert f"Ray says: {detail}" in str(explanation)
        assert "SIGKILL" not in str(explanation)


@pytest.mark.parametrize("name", ["MapWorker(Map(my fn))", "Hog", "A(B) c: d"])
def test_names_of_actor_classes(name: str) -> None:
    text = TEXTS["ray-2.60/actor-sigkill.txt"].replace("class_name: Hog", f"class_name: {name}")
    assert [(one.name, one.pid) for one in parse(text).victims] == [(name, 13110)]


def test_several_events_in_one_text(tmp_path: Path) -> None:
    """As in the log of a node: all who were killed, and no figure of one event for all."""
    for version, killed in ("2.49", 3), ("2.60", 4):
        text = (DATA / f"ray-{version}" / "logs" / "raylet.out").read_text()
        message = parse(text)
        rows = ooms(DATA / f"ray-{version}" / "logs")
        assert {one.pid for one in message.victims} == {row.pid for row in rows}
        assert (len(message.victims), message.killed, message.nodes) == (killed, killed, 1)
        assert message.node_id == rows[0].node_id
        assert message.used is None
        assert message.limit is not None


def test_errors_of_two_nodes(tmp_path: Path) -> None:
    text = TEXTS["ray-2.49/task-oom.txt"] + TEXTS["page/task-oom.txt"]
    explanation = explain(text, tmp_path)
    assert [one.pid for one in explanation.victims] == [12345, 11362]
    assert (explanation.node_id, explanation.node_ip, explanation.used) == (None, None, None)
    assert "on the nodes 192.0.2.2 and 10.0.62.231" in explanation.summary.splitlines()[0]
    twice = explain(TEXTS["ray-2.49/task-oom.txt"] * 2, tmp_path)
    assert twice.summary == explain(TEXTS["ray-2.49/task-oom.txt"], tmp_path).summary
    dead = TEXTS["ray-2.49/actor-sigkill.txt"] + TEXTS["ray-2.60/actor-sigkill.txt"].replace("192.0.2.2", "192.0.2.3")
    assert [one.pid for one in parse(dead).victims] == [12482, 13110]
    assert (parse(dead).node_ip, parse(dead).nodes) == (None, 2)


def test_the_advice_is_for_the_largest(tmp_path: Path) -> None:
    text = TEXTS["ray-2.60/two-tasks-oom.txt"]
    for pid, name, used in (5940, "zebra", "0.20"), (5941, "alpha", "2.00"):
        text = re.sub(
            rf"task name=[^,]*(, required resources=[^}}]*}}, pid={pid}, actual memory used=)[\d.]+GB",
            rf"task name={name}\g<1>{used}GB",
            text,
        )
    explanation = explain(text, tmp_path)
    assert "killed zebra (pid 5940) and alpha (pid 5941)" in explanation.summary.splitlines()[0]
    assert "204.8 MiB (zebra) and 2.0 GiB (alpha)" in str(explanation)
    assert "One alpha alone had 2.0 GiB of the" in str(explanation)
    idle = str(explain(TEXTS["ray-2.60/idle-worker-oom.txt"], tmp_path))
    assert "hog" in idle.split("What to do:")[1]  # the idle worker that was killed with it is only in the way


def test_no_advice_that_is_never_scheduled(tmp_path: Path) -> None:
    text = TEXTS["page/task-oom.txt"].replace("memory used=1.25GB", "memory used=25.00GB")
    advice = " ".join(explain(text, tmp_path).advice)
    assert "not one that needs 31.2 GiB fits this node, where tasks can have 20.2 GiB" in advice
    assert "@ray.remote(memory" not in advice


def test_no_number_from_one_that_had_little(tmp_path: Path) -> None:
    text = TEXTS["page/task-oom.txt"].replace("memory used=1.25GB", "memory used=0.04GB")
    advice = " ".join(explain(text, tmp_path).advice)
    assert "allocate_memory had little, 41.0 MiB" in advice
    assert "@ray.remote(memory" not in advice


@pytest.mark.parametrize(("name", "is_of_ray"), [("ray::train", True), ("java", False), ("raylet", False)])
def test_what_the_kernel_killed_may_be_no_task(name: str, is_of_ray: bool, tmp_path: Path) -> None:
    explanation = explain(KERNEL.format("Out of memory").replace("ray::hog", name), tmp_path)
    advice = " ".join(explanation.advice)
    assert ("@profile_memory" in advice) == is_of_ray
    assert ("@ray.remote(memory=" in advice) == is_of_ray
    assert ("ended its node" in advice) == (name == "raylet")


def test_the_head_node_only_where_it_is_known(tmp_path: Path) -> None:
    assert "head node" not in str(explain(TEXTS["page/task-oom.txt"], tmp_path))


def test_an_actor_is_named_by_what_it_ran(tmp_path: Path) -> None:
    """Ray names what its worker was leased for, which is over; the process's own title has the method."""
    shown = str(explain(TEXTS["ray-2.60/actor-oom.txt"], tmp_path))
    assert "killed Hog.grow (pid 13083)" in shown
    assert "Find what Hog.grow holds" in shown
    assert "__init__" not in shown


# A session of which the text may, or may not, be.

CRASHED = "ray.exceptions.WorkerCrashedError\nThe worker died unexpectedly while executing this task."
HOLD = """
import os, signal, sys, time
from raymemprof import profile_memory

def hold(how):
    kept = bytearray(50_000_000)
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    print("held", flush=True)
    time.sleep(60)

profile_memory(hold, directory=sys.argv[1])(sys.argv[2])
"""


def session(folder: Path, lines: slice = slice(None)) -> Path:
    """A real session's log of events, or some lines of it: one kill for memory, and the deaths of 13110 and 13138."""
    events = (DATA / "ray-2.60" / "event_RAYLET.log").read_text().splitlines(keepends=True)
    (folder / "events").mkdir(parents=True)
    (folder / "events" / "event_RAYLET.log").write_text("".join(events[lines]))
    return folder


def holding(folder: Path, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", HOLD, str(folder), how], stdout=subprocess.PIPE, text=True)


def died_as(folder: Path, **identity: str) -> int:
    """Have a real profiled call killed, write down that it was somebody's, and return its pid."""
    process = holding(folder, "die")
    process.communicate(timeout=60)
    (path,) = folder.glob(f"*-{process.pid}-*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line.update({key: value for key, value in identity.items() if key in line})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return process.pid


def dead_actor(pid: int, actor_id: str, ip: str = "192.0.2.2") -> str:
    text = (
        TEXTS["ray-2.60/actor-sigkill.txt"].replace("pid: 13110", f"pid: {pid}").replace("ip: 192.0.2.2", f"ip: {ip}")
    )
    return re.sub("actor_id: [0-9a-f]+", f"actor_id: {actor_id}", text)


@pytest.mark.parametrize("text", [CRASHED, TEXTS["page/worker-exit-unexpected.txt"]], ids=["crashed", "page"])
def test_two_deaths_fit(text: str, tmp_path: Path) -> None:
    explanation = explain(text, session(tmp_path / "logs"))
    assert (explanation.cause, explanation.victims) == ("unknown", ())
    assert "2 deaths fit" in explanation.summary.splitlines()[0]
    assert {13110, 13138} == {int(pid) for pid in re.findall(r"It may be a worker \(pid (\d+)\)", str(explanation))}


def test_one_death_fits(tmp_path: Path) -> None:
    explanation = explain(CRASHED, session(tmp_path / "logs", slice(2, 3)))
    assert explanation.cause == "sigkill"
    assert [one.pid for one in explanation.victims] == [13138]
    assert "The error does not identify a worker" in explanation.summary.splitlines()[1]


@pytest.mark.parametrize(
    "text",
    [
        TEXTS["page/worker-exit-system-error.txt"],
        "Worker exit type: INTENDED_USER_EXIT Worker exit detail: Worker exits by an user request. Worker exits with "
        "an exit code 0. exit_actor() is called.",
        TEXTS["page/periodic.txt"] + CRASHED,
    ],
)
def test_a_death_of_another_kind_does_not_fit(text: str, tmp_path: Path) -> None:
    explanation = explain(text, session(tmp_path / "logs", slice(2, 3)))
    assert (explanation.victims, explanation.calls) == ((), [])
    assert "13138" not in str(explanation)


@pytest.mark.parametrize(
    "named",
    [
        f"Worker running the task ({'1' * 48}) died with exit_type: SYSTEM_ERROR with error_message: Worker "
        "unexpectedly exits with a connection error code 2. End of file.",
        f"Lease ID: {'1' * 56}",
        f"RayTask ID: {'1' * 48}",
        f"task_id={'1' * 48}",
        f"actor_id: {'1' * 32}",
        f"Worker ID: {'1' * 56}",
        f"worker_id={'1' * 56}",
        "Worker PID: 4191103 ended",
        "The worker (pid=4191103) is gone",
        f"It ran on node ID: {'1' * 56}",
        "It ran on node 203.0.113.7, as far as we know",
    ],
)
def test_who_is_named_is_meant_or_nobody(named: str, tmp_path: Path) -> None:
    """Nobody is taken for who is named only because nobody else died."""
    logs = session(tmp_path / "logs", slice(2, 3))
    for text in (f"{CRASHED}\n{named}", f"{named}\n{CRASHED}"):
        found = explain(text, logs)
        assert "13138" not in str(found)
        assert all(one.pid in (None, 4191103) for one in found.victims)
        assert found.cause == "unknown"


def test_who_is_named_by_an_id_alone(tmp_path: Path) -> None:
    """A worker's id is enough to find its death in the raylet's log, and a task's to find its profiled call."""
    logs = session(tmp_path / "logs", slice(1, 3))
    (worker,) = re.findall("Worker ID: ([0-9a-f]{56})", FAILED)
    found = explain(f"{CRASHED}\nWorker ID: {worker}", logs)
    assert ([one.pid for one in found.victims], found.cause) == ([13110], "sigkill")
    pid = died_as(logs, task_id="c" * 48, worker_id="e" * 56, node_id=NODE_60)
    found = explain(
        f"Worker running the task ({'c' * 48}) died with exit_type: SYSTEM_ERROR with error_message: x", logs
    )
    assert [call.pid for call in found.calls] == [pid]
    assert [one.pid for one in found.victims] == [pid]


def test_a_number_is_no_identity(tmp_path: Path) -> None:
    """Of the process that an error names there may be another, of another actor or node."""
    logs = tmp_path / "logs"
    logs.mkdir()
    ours, theirs, worker = "c" * 32, "d" * 32, "e" * 56
    pid = died_as(logs, actor_id=ours, worker_id=worker, node_id=NODE_60)
    found = explain(dead_actor(pid, ours), logs)
    assert ([call.pid for call in found.calls], found.cause) == ([pid], "sigkill")
    assert found.lines[0].bytes >= 50_000_000
    assert len(explain(dead_actor(pid, theirs), logs).calls) == 0
    killed = TEXTS["ray-2.49/task-oom.txt"].replace("12345", str(pid))
    assert len(explain(killed, logs).calls) == 0, "another worker, on another node"
    killed = re.sub("Ray killed this worker .ID: [0-9a-f]+", f"Ray killed this worker (ID: {worker}", killed)
    assert len(explain(killed, logs).calls) == 0, "on another node"
    assert [call.pid for call in explain(killed.replace(NODE_49, NODE_60), logs).calls] == [pid]


def test_who_lives_was_not_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raymemprof.diagnosis.explain.on_node._SECONDS_TO_DIE", 0.5)
    logs = tmp_path / "logs"
    logs.mkdir()
    with holding(logs, "live") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            text = f"class_name: Hog\n\tactor_id: {'c' * 32}\n\tpid: {process.pid}\n\tnamespace: x\n\tip: 192.0.2.2\n"
            started = time.monotonic()
            found = explain("The actor died unexpectedly before finishing this task.\n" + text, logs)
            assert time.monotonic() - started < 0.5, "nobody is waited for who is not meant"
            assert (len(found.calls), found.cause) == (0, "unknown")
            named = "A worker died. " + re.sub(r"Worker PID: \d+", f"Worker PID: {process.pid}", FAILED)
            (path,) = logs.glob("*.jsonl")
            path.write_text(path.read_text().replace('"worker_id": null', f'"worker_id": "{"f" * 56}"'))
            path.write_text(path.read_text().replace('"worker_id":null', f'"worker_id":"{"f" * 56}"'))
            path.write_text(path.read_text().replace('"node_id":null', f'"node_id":"{NODE_60}"'))
            found = explain(re.sub(r"Worker ID: \w+", f"Worker ID: {'f' * 56}", named), logs)
            assert (len(found.calls), found.cause) == (0, "unknown")
        finally:
            process.kill()


FAILED = json.loads((DATA / "ray-2.60" / "event_RAYLET.log").read_text().splitlines()[1])["message"]


def assert_only_the_named(text: str, logs: Path) -> None:
    """Who is said to have died stands in the text; nobody else of the session does."""
    found = explain(text, logs)
    for one in found.victims:
        for value in (one.pid, one.worker_id, one.actor_id):
            assert value is None or str(value) in text, (one, text)
    assert all(str(call.pid) in text for call in found.calls)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session in which three died that no text names, one of them in a profiled call."""
    logs = session(tmp_path_factory.mktemp("session") / "logs", slice(1, 3))
    events = logs / "events" / "event_RAYLET.log"
    lines = events.read_text().replace("13110", "4191101").replace("13138", "4191102")
    events.write_text(re.sub("Worker ID: [0-9a-f]{8}", "Worker ID: 00000000", lines))
    died_as(logs, worker_id="1" * 56, node_id=NODE_60)
    return logs


@pytest.mark.parametrize("name", TEXTS)
def test_damage_finds_no_other_victim(name: str, others: Path) -> None:
    """In a session in which others died."""
    text, choice = TEXTS[name], random.Random(name)
    for length in range(0, len(text), max(len(text) // 8, 1)):
        assert_only_the_named(text[:length], others)
        assert_only_the_named(text[length:], others)
    lines = text.splitlines()
    for _ in range(5):
        choice.shuffle(lines)
        assert_only_the_named("\n".join(lines), others)
    for _ in range(10):
        start = choice.randrange(len(text) + 1)
        end = min(len(text), start + choice.choice([0, 1, 20]))
        edit = "".join(choice.choices("0123456789abcdef ():,.\n", k=choice.choice([0, 1, 3])))
        assert_only_the_named(text[:start] + edit + text[end:], others)


def test_an_actor_whose_node_died(tmp_path: Path) -> None:
    text = f"The actor died because its node has died. Node Id: {NODE_PAGE}\n\tclass_name: Hog\n\tactor_id: {'b' * 32}"
    explanation = explain(text, tmp_path)
    assert (explanation.cause, explanation.node_id) == ("node_died", NODE_PAGE)


@pytest.mark.parametrize("text", ["", " \n\t", "all is well", "ValueError: no", "\x00\x1b["])
def test_what_it_cannot_tell(text: str, tmp_path: Path) -> None:
    explanation = explain(text, tmp_path)
    assert explanation.cause == "unknown"
    assert explanation.victims == ()
    assert explanation.summary == "I do not recognise this as a message about memory."


@pytest.mark.parametrize("wrong", [None, 3, b"text", ["text"], ValueError])
def test_neither_error_nor_text(wrong: object) -> None:
    with pytest.raises(TypeError, match="explain takes an exception or a text"):
        explain(wrong)  # type: ignore[arg-type]


# Damage: no exception, and nobody dies who did not.


def assert_no_invention(text: str, whole: Message) -> None:
    """Each victim is one of the whole text's; what is no longer said of it is None."""
    for found in parse(text).victims:
        told = {name: value for name in Victim.__slots__ if (value := getattr(found, name)) is not None}
        assert any(all(getattr(known, n) == v for n, v in told.items()) for known in whole.victims), found


ALL = TEXTS | {
    f"ray-{version}/event {number}": json.loads(line)["message"]
    for version in ("2.49", "2.60")
    for number, line in enumerate((DATA / f"ray-{version}" / "event_RAYLET.log").read_text().splitlines())
}


@pytest.mark.parametrize("name", ALL)
def test_cut_at_any_length(name: str) -> None:
    """At some of the lengths, since there are many texts: at others of each."""
    text = ALL[name]
    whole = parse(text)
    for length in range(len(name) % 61, len(text), 61 * (1 + len(text) // 2000)):
        assert_no_invention(text[:length], whole)
        assert_no_invention(text[length:], whole)


@pytest.mark.parametrize("name", ALL)
def test_lines_in_any_order(name: str) -> None:
    text = ALL[name].replace("\\n", "\n")
    whole, lines, order = parse(text), text.splitlines(), random.Random(name)
    for _ in range(10):
        order.shuffle(lines)
        shuffled = "\n".join(lines)
        assert_no_invention(shuffled, whole)
        assert len(parse(shuffled).victims) <= len(whole.victims)


@pytest.mark.parametrize("name", ALL)
def test_random_edits(name: str) -> None:
    text, choice = ALL[name], random.Random(name)
    most = len(parse(text).victims)
    anything = "".join(sorted(set(text))) + "\x00\x1b\\é{}()[]0123456789.,=: \n"
    for _ in range(40):
        edited = text
        for _ in range(choice.randint(1, 8)):
            start = choice.randrange(len(edited) + 1)
            end = min(len(edited), start + choice.choice([0, 1, 1, 2, 20]))
            edited = edited[:start] + "".join(choice.choices(anything, k=choice.choice([0, 1, 1, 3]))) + edited[end:]
        assert len(parse(edited).victims) <= most


@pytest.mark.parametrize("digits", ["9" * 5000, "9" * 40_000])
@pytest.mark.parametrize(
    "text",
    [
        "Top 10 memory users:\n{} 1.5 x\n1 {} x",
        "Selected to kill: (Task: job ID=01, lease ID=01, task name=f, required resources={{CPU: 1}}, pid={}, actual "
        "memory used={}GB, worker ID=" + "a" * 56 + ")",
        "{} worker(s) were killed due to the node running low on memory. Memory usage {}B exceeded threshold of {}B",
        "{} Workers (tasks / actors) killed due to memory pressure (OOM), {} Workers crashed due to other reasons",
        "Task f failed due to oom. There are {} oom retries remaining",
        "class_name: A\n\tactor_id: " + "b" * 32 + "\n\tpid: {}\n",
        "Out of memory: Killed process {} (f) total-vm:1kB, anon-rss:{}kB",
        "{}",
    ],
)
def test_figures_that_are_none(text: str, digits: str) -> None:
    started = time.process_time()
    message = parse(text.format(*[digits] * text.count("{}")))
    assert all(victim.pid is None and victim.memory is None for victim in message.victims)
    assert time.process_time() - started < 5


def test_a_long_text_takes_no_time() -> None:
    """What somebody pastes may be a whole log."""
    parts = ["(task ID: ", "Selected to kill: (Task: ", "1 ", "Worker exit type: ", "a" * 50, "node ", "(f pid=1"]
    for part in [*parts, "\\", "9", "\x1b[0", "max_uss_bytes: {'a': 1, " * 2, "[a](http://x" * 4]:
        started = time.process_time()
        parse(part * 20_000)
        assert time.process_time() - started < 5, part


@pytest.mark.parametrize("short", ["5b", "5b3f09…", "5b3f09...", "<redacted>", "xxxx", "***"])
def test_ids_that_people_shorten_cost_only_the_ids(short: str, tmp_path: Path) -> None:
    one = (
        f"Memory on the node (IP: 192.0.2.9, ID: {short}) where the task (task ID: {short}, name=load, pid=4100, "
        "memory used=1.00GB) was running was 9.5GB / 10GB (0.95), which exceeds the memory usage threshold of 0.95. "
        f"Ray killed this worker (ID: {short}) because it was the most recently scheduled task."
    )
    many = (
        "1 worker(s) were killed due to the node running low on memory.\n"
        f"Memory on the node (IP: 192.0.2.9, ID: {short}) was 9.5GB / 10GB (0.95), which exceeds the memory usage "
        "threshold of 0.95. Workers considered: Selected to kill: "
        f"(Actor({short}): job ID={short}, lease ID={short}, task name=load, required resources={{CPU: 1}}, pid=4100, "
        f"actual memory used=1.00GB, worker ID={short})"
    )
    for text in (one, many):
        explanation = explain(text, source=tmp_path)
        (victim,) = explanation.victims
        assert (victim.name, victim.pid, victim.memory) == ("load", 4100, 2**30)
        assert (victim.task_id, victim.actor_id, victim.worker_id) == (None, None, None)
        assert (explanation.node_ip, explanation.node_id) == ("192.0.2.9", None)


def told(text: str, tmp_path: Path) -> str:
    return explain(text, source=tmp_path).summary.replace("\n", " ")


def test_a_count_that_grows_is_the_last_one(tmp_path: Path) -> None:
    bar = "Resource usage vs limits: 8.0/8.0 CPU:  0%|   | 0/1 [00:53<?, ?it/s](raylet) "
    first, last = "Spilled 2048 MiB, 31 objects, write throughput 9 MiB/s.", "Spilled 11000 MiB, 95 objects, write"
    for lines in ((first, last), (last, first)):
        said = told("\n".join(bar + line for line in lines), tmp_path)
        assert "spilled 95 objects (11000 MiB)" in said


@pytest.mark.parametrize(
    ("free", "of", "said"),
    [
        ("41.5 GB", "870.25 GB", "available: 41.5 GB of 870.25 GB."),
        ("1392345088", "269427478528", "available: 1392345088 of 269427478528 bytes."),
    ],
)
@pytest.mark.parametrize("end", ["", " \n"])
def test_a_disk_has_its_whole_size(free: str, of: str, said: str, end: str, tmp_path: Path) -> None:
    place = "/tmp/ray/session_2026-01-01_00-00-00_000000_1"
    text = f"{place} is over 95% full, {end}available space: {free}; capacity: {of}. {end}Object creation will fail if"
    assert said in told(text, tmp_path)


def test_the_owner_and_its_node(tmp_path: Path) -> None:
    worker = "3c" * 28
    text = (
        "ray.exceptions.OwnerDiedError: Failed to retrieve object 00ff. The object's owner has exited. This is the "
        "Python worker that first created the ObjectRef via `.remote()` or `ray.put()`. Check cluster logs "
        f"(`/tmp/ray/session_latest/logs/*{worker}*` at IP address 192.0.2.7) for more information about"
    )
    explanation = explain(text, source=tmp_path)
    assert (explanation.cause, explanation.node_ip) == ("owner_died", "192.0.2.7")
    assert f"the owner is worker {worker}." in explanation.summary.splitlines()[0]
    assert explain(text.split(" Check")[0], source=tmp_path).cause == "owner_died"


def test_the_address_of_a_dead_node() -> None:
    text = f"The node with node id: {NODE_49} and ip: 192.0.2.8 has been marked dead because the detector has missed"
    assert (parse(text).cause, parse(text).node_id, parse(text).node_ip) == ("node_died", NODE_49, "192.0.2.8")


def test_the_worker_of_a_task_s_error() -> None:
    text = f"Worker running the task ({SECOND_WORKER}) died with exit_type: 0 with error_message: Worker unexpectedly"
    (only,) = parse(text).victims
    assert (only.worker_id, only.task_id) == (SECOND_WORKER, None)


def test_what_a_user_says_after_a_quote_is_not_ray_s(tmp_path: Path) -> None:
    text = (
        'All of them say "Worker exit type: SYSTEM_ERROR Worker exit detail: Worker exits with an exit code 1. The '
        'worker may have exceeded K8s pod memory limits. The process receives a SIGTERM"\nSo they ran out.\n'
    )
    said = told(text, tmp_path)
    assert said.startswith("A worker ended by itself")
    assert said.endswith("The process receives a SIGTERM")
    assert "nothing says that memory was short" not in said
    assert "Ray's guess" in said


def test_exit_code_137_in_brackets() -> None:
    assert parse("[f8107-n0-0] terminated with exit code (137). Reason [Error]. Message: ").cause == "sigkill"


def test_the_step_of_a_slurm_job_at_the_end_of_a_sentence() -> None:
    found = parse("slurmstepd: error: Detected 1 oom_kill event in StepId=11300.0. Some of the step tasks have been")
    assert "in step 11300.0 of" in (found.statement or "")


def test_a_gpu_in_the_words_of_older_versions() -> None:
    text = "CUDA out of memory. Tried to allocate 150.00 MiB (GPU 3; 14.58 GiB total capacity; 13.94 GiB already"
    assert "150.00 MiB failed on GPU 3, which has 14.58 GiB" in (parse(text).statement or "")


def test_an_out_of_memory_error_without_its_message(tmp_path: Path) -> None:
    text = 'ray.exceptions.RayTaskError(OutOfMemoryError): ray::Trainer.step() (pid=11, ip=192.0.2.1)\n  File "a.py"'
    explanation = explain(text, source=tmp_path)
    assert explanation.cause == "unknown"
    assert "a GPU's memory, or Ray's" in explanation.summary.splitlines()[0]
    assert parse(f"{text}\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.").cause == "gpu_memory"


def test_a_kill_that_is_cut_off_before_its_figures() -> None:
    task = "b9" * 20 + "01000000"
    text = f"10Memory on the node (IP: 192.0.2.3, ID: {NODE_49}) where the task (task ID: {task}, name=dask:('simpl"
    found = parse(text)
    assert (found.cause, found.node_ip, found.used) == ("ray_memory_monitor", "192.0.2.3", None)
    assert [victim.task_id for victim in found.victims] == [task]


def test_a_death_that_is_cut_off_is_recognised(tmp_path: Path) -> None:
    text = "(raylet) A worker died or was killed while executing a task by an unexpected system error. Lease ID: 0a0000"
    assert told(text, tmp_path).startswith("This does not say what ended the worker")


def test_ray_1_killed_nothing_and_has_another_variable(tmp_path: Path) -> None:
    text = (
        "ray.memory_monitor.RayOutOfMemoryError: More than 95% of the memory on node host-7 is used (11.8 / 12.3 GB). "
        "The top 2 memory consumers are:\n\nPID\tMEM\tCOMMAND\n28442\t5.0GB\tray_X:alloc()\n152\t0.4GB\t/opt/chrome\n"
    )
    advice = "\n".join(explain(text, source=tmp_path).advice)
    assert "next kill" not in advice
    assert "who was killed" not in advice
    assert "`ray_X:alloc()` (pid 28442) should use 4.7 GiB" in advice
    assert "RAY_MEMORY_MONITOR_ERROR_THRESHOLD" in advice
    assert "RAY_memory_usage_threshold" not in advice


def test_the_variable_is_that_of_the_message(tmp_path: Path) -> None:
    text = (
        "Task was killed due to the node running low on memory. To adjust the eviction threshold, set the environment "
        "variable `RAY_memory_usage_threshold_fraction` when starting Ray."
    )
    assert "RAY_memory_usage_threshold_fraction moves" in "\n".join(explain(text, source=tmp_path).advice)


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("ReadParquet->MapBatches(f)", "map_batches(f, memory=…)"),
        ("ServeReplica:app:Model.handle_request", '@serve.deployment(ray_actor_options={"memory": …})'),
        ("RayTrainWorker.run", 'ScalingConfig(resources_per_worker={"CPU": 1, "memory": …})'),
        ("load", "in @ray.remote"),
    ],
)
def test_a_library_is_asked_in_its_own_words(name: str, ask: str, tmp_path: Path) -> None:
    text = f"Task {name} failed due to oom. There are infinite oom retries remaining, so it will be retried."
    advice = "\n".join(explain(text, source=tmp_path).advice)
    assert ask in advice
    assert ("@ray.remote" in advice) == (name == "load")


def test_serve_ends_its_replicas_itself(tmp_path: Path) -> None:
    text = (
        "ray.exceptions.RayActorError: The actor died unexpectedly before finishing this task.\n"
        "\tclass_name: {}\n\tactor_id: 0f203e24912774f27d81279001000000\n\tpid: 97760\n"
        "\tname: SERVE_REPLICA::Model#GuRmDb\n\tnamespace: serve\n\tip: 192.0.2.3\n"
        "The actor is dead because it was killed by `ray.kill`."
    )
    old = explain(text.format("create_replica_wrapper.<locals>.RayServeWrappedReplica"), source=tmp_path)
    assert [victim.name for victim in old.victims] == ["SERVE_REPLICA::Model#GuRmDb"]
    assert old.node_ip == "192.0.2.3"
    for explanation in (old, explain(text.format("ServeReplica:app:Model"), source=tmp_path)):
        assert explanation.cause == "ray_kill"
        assert "controller" in explanation.advice[0]
    assert "`ray.kill` in the code" in explain(text.format("Cache"), source=tmp_path).advice[0]


def summary_of_the_raylet(killed: int, crashed: int, node_id: str, ip: str) -> str:
    return (
        f"(raylet) [2026-01-01 00:0{killed}:00,851 E 97 97] (raylet) node_manager.cc:3084: {killed} Workers (tasks / "
        f"actors) killed due to memory pressure (OOM), {crashed} Workers crashed due to other "
        f"reasons at node (ID: {node_id}, "
        f"IP: {ip}) over the last time period."
    )


def test_summaries_of_several_minutes_and_nodes(tmp_path: Path) -> None:
    first, later = (summary_of_the_raylet(*counts, NODE_49, "192.0.2.2") for counts in ((4, 0), (2, 1)))
    other = summary_of_the_raylet(7, 0, NODE_60, "192.0.2.3")
    found = parse(f"{first}\n{later}")
    assert (found.killed, found.node_ip, found.node_id) == (6, "192.0.2.2", NODE_49)
    both = parse(f"{first}\n{other}")
    assert (both.killed, both.node_ip, both.node_id, both.nodes) == (11, None, None, 2)
    assert "killed 11 workers on the nodes 192.0.2.2 and 192.0.2.3" in told(f"{first}\n{other}", tmp_path)
    quiet = summary_of_the_raylet(0, 3, NODE_49, "192.0.2.2")
    assert (parse(f"{quiet}\n{first}").cause, parse(f"{quiet}\n{first}").killed) == ("ray_memory_monitor", 4)
    assert parse(quiet).cause == "unknown"


@pytest.mark.parametrize("where", ["", f": ip=192.0.2.8, id={NODE_49}"])
def test_a_raylet_that_ended(where: str, tmp_path: Path) -> None:
    text = (
        f"(raylet) Raylet is terminated{where}. Termination is unexpected. Possible reasons include: (1) SIGKILL by "
        "the user or system OOM killer, (2) Invalid memory access from Raylet causing SIGSEGV or SIGBUS, (3) Other "
        "termination signals. Last 20 lines of the Raylet logs:\n    [state-dump] \tNodeManager.timer - 1 total\n"
    )
    explanation = explain(text, source=tmp_path)
    assert explanation.cause == "node_died"
    assert (explanation.node_ip, explanation.node_id) == (("192.0.2.8", NODE_49) if where else (None, None))
    assert "one of its guesses" in explanation.summary.splitlines()[0]


def test_what_the_gcs_logs_of_a_worker() -> None:
    line = (
        f"[2026-01-01 00:00:00,685 W 9 9] (gcs_server) gcs_worker_manager.cc:55: Reporting worker exit, worker id = "
        f"{SECOND_WORKER}, node id = {'f' * 56}, address = , exit_type = {{}}, exit_detail = {{}}"
    )
    killed = parse(line.format("NODE_OUT_OF_MEMORY", "Task was killed due to the node running low on memory."))
    assert (killed.cause, [one.worker_id for one in killed.victims]) == ("ray_memory_monitor", [SECOND_WORKER])
    ended = parse(line.format("SYSTEM_ERROR", "Worker exits with an exit code None."))
    assert (ended.cause, ended.exit_type) == ("exit", "SYSTEM_ERROR")
    assert [one.worker_id for one in ended.victims] == [SECOND_WORKER]


def test_an_actor_that_ends_with_its_owner(tmp_path: Path) -> None:
    actor = "28" * 12 + "01000000"
    text = (
        "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n"
        f"        class_name: Runner\n        actor_id: {actor}\n        pid: 159258\n        "
        f"namespace: b9b0\n        ip: 192.0.2.9\n"
        f"The actor is dead because its owner has died. Owner Id: {SECOND_WORKER} Owner Ip address: 192.0.2.9 Owner "
        "worker exit type: SYSTEM_ERROR Worker exit detail: Owner's node has crashed.\n"
    )
    explanation = explain(text, source=tmp_path)
    assert (explanation.cause, explanation.node_ip) == ("owner_died", "192.0.2.9")
    assert [(one.name, one.pid, one.actor_id) for one in explanation.victims] == [("Runner", 159258, actor)]
    assert explanation.summary.splitlines()[0].startswith("An actor ended, because its owner")
    assert SECOND_WORKER in explanation.summary.splitlines()[0]


def test_the_longest_line_of_a_text_need_not_go_on(tmp_path: Path) -> None:
    text = (
        "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: "
        "Worker exits unexpectedly. Worker exits with an exit code None. The worker may have exceeded K8s pod memory "
        "limits.\nMy limit is 1800 GB, what is the reason?"
    )
    assert "My limit" not in told(text, tmp_path)


def test_an_address_that_is_left_out(tmp_path: Path) -> None:
    """Ray leaves it empty where the node has gone: the next word is no address."""
    node = "0744a0e2a85b4ef9650f6c943dd3ac3e25f1f79eae5046d740302221"
    message = (
        f"A worker died or was killed while executing a task by an unexpected system error. Worker ID: {'3d' * 28} "
        f"Node ID: {node} Worker IP address:  Worker port: 22778 Worker PID: 7953 Worker exit type: SYSTEM_ERROR"
    )
    found = parse(message)
    assert found is not None
    assert (found.node_ip, found.node_id) == (None, node)
    assert [victim.pid for victim in found.victims] == [7953]


def test_an_actor_whose_node_was_preempted(tmp_path: Path) -> None:
    found = parse(
        "The actor died unexpectedly before finishing this task.\n\tclass_name: RayTrainWorker\n\tactor_id: "
        f"{'c2' * 16}\n\tpid: 79326\n\tip: 127.0.0.1\nThe actor died because its node has died. Node Id: {'b1' * 28}\n"
        "\tthe actor's node was preempted: a drain"
    )
    assert found is not None
    assert found.cause == "preempted"
    assert [victim.pid for victim in found.victims] == [79326]


def test_other_words_of_objects() -> None:
    large = parse("UserWarning: The remote function __main__.capture is very large (83887895 bytes). Check that its")
    assert large is not None
    assert large.cause == "warning"
    assert "remote function __main__.capture is 83887895 bytes large" in str(large.statement)
    lost = parse(
        "ray.exceptions.ObjectFetchTimedOutError: Failed to retrieve object 9f1b. Fetch for it timed out because "
        "no locations were found for the object. This may indicate a system-level bug."
    )
    assert lost is not None
    assert lost.cause == "object_lost"


def test_several_nodes_that_are_marked_dead() -> None:
    """What their lines begin with is no prefix of a log."""
    nodes = (("75" * 28, "10.4.4.107"), ("18" * 28, "10.4.0.101"), ("4c" * 28, "10.4.3.95"))
    found = parse(
        "\n".join(
            f"The node with node id: {node} and ip: {address} has been marked dead because the detector has missed too "
            "many heartbeats from it. This can happen when a raylet crashes unexpectedly or has lagging heartbeats."
            for node, address in nodes
        )
    )
    assert found is not None
    assert found.cause == "node_died"


def test_the_largest_as_a_table_of_markdown() -> None:
    text = (
        "Memory on the node (IP: 10.1.1.1, ID: 71e7...) was 74.32GB / 78.12GB (0.951353), which exceeds the memory "
        "usage threshold of 0.95.\n\n| PID | Memory (GB) | Process | Note |\n|-----|------|------|------|\n"
        "| 74 | **35.19** | `gcs_server` | high |\n| 1008 | 3.50 | `raylet` | |\n"
    )
    found = parse(text)
    assert [(one.pid, one.memory, one.command) for one in found.top_processes] == [
        (74, round(35.19 * 2**30), "gcs_server"),
        (1008, round(3.5 * 2**30), "raylet"),
    ]


@pytest.mark.parametrize(
    ("name", "held", "says", "not_says"),
    [
        ("hog", "0.14", "had little", "@ray.remote"),
        ("_ray_internal_job_actor_raysubmit_x:JobSupervisor.__init__", "7.25", "is Ray's own", "@profile_memory"),
        ("Project-Fanout [Stage:3]", "7.25", "memory_bytes=", "@profile_memory"),
        ("dask:('head-10', 586)", "7.25", "dask.annotate", "@profile_memory"),
    ],
)
def test_advice_that_fits_who_was_killed(name: str, held: str, says: str, not_says: str, tmp_path: Path) -> None:
    advice = " ".join(
        explain(
            f"Memory on the node (IP: 10.1.1.1, ID: {'ab' * 28}) where the task (task ID: {'cd' * 24}, name={name}, "
            f"pid=77, memory used={held}GB) was running was 29.95GB / 31.10GB (0.963), which exceeds the memory usage "
            "threshold of 0.95.",
            tmp_path,
        ).advice
    )
    assert says in advice
    assert not_says not in advice


def test_the_default_of_the_first_threshold(tmp_path: Path) -> None:
    said = (
        "System memory low at node with IP 10.20.30.40. Used memory (30.11GB) / total capacity (31.50GB) (0.955873) "
        "exceeds threshold 0.95, killing latest task with name f and task ID {} to avoid running out of memory. Set "
        "the environment variable RAY_memory_usage_threshold_fraction when starting Ray."
    ).format("ab" * 24)
    assert "RAY_memory_usage_threshold_fraction moves the limit (0.9 by default, 0.95 here)" in " ".join(
        explain(said, tmp_path).advice
    )


@pytest.mark.parametrize(
    "text",
    [
        "=>> PBS: job killed: walltime 3650 exceeded limit 3600",
        "16: TERM_MEMLIMIT: Job killed after reaching LSF memory usage limit (16)",
        "| Memory usage exceeded request_memory | Job used more memory than it requested | Raise request_memory |",
        "Pods may be OOM killed if they use too much.",
        "The pod was not OOM killed.",
        "A pod gets OOM killed when it exceeds its limit.",
        "The pod has OOM killing switched off.",
        'job 4711 exceeds job hard limit "h_rt" of queue "all.q@n17" (90000.00000 > limit:86400.00000) - sending SIGKI',
        "exits with return code = 1",
    ],
)
def test_other_limits_and_explanations_are_no_deaths_for_memory(text: str, tmp_path: Path) -> None:
    assert explain(text, tmp_path).cause == "unknown"


POD = (
    "## Head Pod OOMKilled (Exit Code 137)\n\n### Symptom\n\nThe `ray-head` container restarts with exit code 137.\n\n"
    "### {}\n\n{}\n\n```yaml\nresources:\n  requests:\n    memory: 2Gi\n  limits:\n    memory: 4Gi\n```\n"
)


@pytest.mark.parametrize(
    ("heading", "before", "limit"),
    [
        ("Fix", "The block:", None),
        ("Solution", "The block:", None),
        ("Workaround", "The block:", None),
        ("Details", "Set at least this:", None),
        ("Details", "We increased it to:", None),
        ("Details", "The pod's block:", 4 * 2**30),
    ],
)
def test_a_limit_that_is_to_be_is_not_the_one_that_was_reached(
    heading: str, before: str, limit: int | None, tmp_path: Path
) -> None:
    found = explain(POD.format(heading, before), tmp_path)
    assert (found.cause, found.limit) == ("container_limit", limit)
    assert "the container ray-head of the head pod" in found.summary.splitlines()[0]


def test_a_container_is_named_as_kubectl_describes_it(tmp_path: Path) -> None:
    one = "  {}:\n    Container ID:  containerd://a\n    State:          Running\n{}    Limits:\n      memory:  {}\n"
    ended = "    Last State:     Terminated\n      Reason:       OOMKilled\n      Exit Code:    137\n"
    text = "Name:  rc-head-x1\nContainers:\n" + one.format("ray-head", ended, "6Gi") + one.format("scaler", "", "1Gi")
    found = explain(text, tmp_path)
    assert "the container ray-head of the pod rc-head-x1" in found.summary.splitlines()[0]
    assert found.limit == 6 * 2**30


@pytest.mark.parametrize(
    ("text", "advised", "never"),
    [
        ("Container killed by YARN for exceeding memory limits. 5 GB of 5 GB used.", "memoryOverhead", "kubectl"),
        (
            "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.\nExited with exit code 137.",
            "bsub",
            "--mem",
        ),
        ("=>> PBS: job killed: mem 9000000kb exceeded limit 8000000kb", "-l mem=", "bsub"),
        ('sending SIGTERM to process 41 uid 1000 "termshark": badness 1181, VmRSS 4 MiB', "--avoid", "threshold"),
        ('sending SIGTERM to process 41 uid 1000 "ray::train": badness 1181, VmRSS 4 MiB', "kill threshold", "--avoid"),
    ],
)
def test_advice_is_for_who_ended_it(text: str, advised: str, never: str, tmp_path: Path) -> None:
    advice = " ".join(explain(text, tmp_path).advice)
    assert advised in advice
    assert never not in advice


def test_the_kernel_s_figures_in_lines_of_their_own(tmp_path: Path) -> None:
    text = (
        "Memory\ncgroup out of memory: Killed process\n4123\n(ray::leaks) total-vm:\n44400568\nkB, anon-rss:\n"
        "28903420\nkB, file-rss:\n0\nkB"
    )
    (victim,) = explain(text, tmp_path).victims
    assert (victim.name, victim.pid, victim.memory) == ("ray::leaks", 4123, 28903420 * 1024)


def test_earlyoom_kills_two_and_sends_one_of_them_two_signals(tmp_path: Path) -> None:
    line = 'earlyoom[1]: sending SIG{} to process {} uid 1000 "VLLM::Eng": badness 994, VmRSS {} MiB\n'
    text = "".join([line.format("TERM", 41, 4229), line.format("KILL", 41, 4230), line.format("TERM", 55, 6832)])
    found = explain(text, tmp_path)
    assert [(victim.pid, victim.memory) for victim in found.victims] == [(41, 4229 * 2**20), (55, 6832 * 2**20)]
    assert found.summary.splitlines()[0].startswith(
        "earlyoom killed VLLM::Eng (pid 41) and VLLM::Eng (pid 55), because"
    )


def test_what_systemd_says_beside_systemd_oomd_is_told_too(tmp_path: Path) -> None:
    text = (
        "a.scope: A process of this unit has been killed by the OOM killer.\n"
        "systemd-oomd killed 291 process(es) in this unit."
    )
    summary = explain(text, tmp_path).summary.splitlines()
    assert "291 processes" in summary[0]
    assert "The kernel's out-of-memory killer killed a process of a.scope" in summary[1]
    alone = "a.scope: Failed with result 'oom-kill'.\nsystemd-oomd killed 291 process(es) in this unit."
    assert "kernel" not in explain(alone, tmp_path).summary


def test_docker_says_that_it_was_not_for_memory(tmp_path: Path) -> None:
    found = explain('"State": {\n "OOMKilled": false,\n "ExitCode": 137\n}', tmp_path)
    assert found.cause == "sigkill"
    assert "OOMKilled is false" in found.summary.splitlines()[0]


@pytest.mark.parametrize(
    "part",
    [
        "  limits:\n    memory: 4Gi\n",
        "    State: x\n",
        "code 137 ",
        "# Fix\n",
        "pod oom ",
        "Lost executor 1 on a",
        'job 1 exceeds job hard limit "h_vmem" of queue "',
        "Killed process (a",
        "RANK 1 PID 2 RUNNING AT a",
    ],
)
def test_no_text_makes_it_slow(part: str) -> None:
    began = time.process_time()
    parse("OOMKilled\n" + part * (2**18 // len(part)))
    assert time.process_time() - began < 5


def test_slurm_s_tasks_on_several_hosts(tmp_path: Path) -> None:
    text = "srun: error: n1: task 0: Out Of Memory\nsrun: error: n2: tasks 1-3: Out Of Memory"
    said = explain(text, tmp_path).summary.splitlines()[0]
    assert "Out of memory: task 0 on n1 and tasks 1-3 on n2." in said
    assert "n2" not in explain(text.partition("\n")[0], tmp_path).summary.splitlines()[0]


# The object store, lost objects, start-up, deaths of workers and nodes.

DISK = "file_system_monitor.cc:111: /tmp/ray/s is over 95% full, available space: 4.1 GB; capacity: 99.8 GB."


def test_the_node_of_a_raylet_that_warns() -> None:
    assert parse(f"(raylet, ip=10.0.0.7) {DISK}").node_ip == "10.0.0.7"
    assert parse(f"(raylet, ip=10.0.0.7) {DISK}\n(raylet, ip=10.0.0.8) {DISK}").node_ip is None
    assert parse(f"(raylet, ip=10.0.0.7) Started.\n(raylet) {DISK}").node_ip is None
    assert parse(f"(MapBatches(f) pid=3, ip=10.0.0.7) {DISK}").node_ip is None


def test_what_several_nodes_spilled(tmp_path: Path) -> None:
    """Ray counts for each node by itself, over all its time."""
    text = "\n".join(
        f"(raylet, ip=10.0.0.{n}) Spilled {size} MiB, {size // 128} objects, write throughput 900 MiB/s. [repeated 2x "
        "across cluster]"
        for n, size in ((7, 8192), (8, 4096), (7, 16384))
    )
    explanation = explain(text, tmp_path)
    assert "Ray spilled" not in explanation.summary.splitlines()[0]
    assert "10.0.0.7 16384 MiB, 10.0.0.8 4096 MiB" in explanation.summary.splitlines()[0]
    assert explanation.node_ip is None


def failed_worker(pid: int, node: str, address: str, worker: str) -> str:
    return (
        "A worker died or was killed while executing a task by an unexpected system error. To troubleshoot the "
        f"problem, check the logs for the dead worker. RayTask ID: {worker[:2] * 24} Worker ID: {worker} Node ID: "
        f"{node} Worker IP address: {address} Worker port: 10022 Worker PID: {pid} Worker exit type: SYSTEM_ERROR "
        "Worker exit detail: Worker exits unexpectedly. Worker exits with an exit code None."
    )


def test_two_workers_on_two_nodes_that_are_named(tmp_path: Path) -> None:
    text = "\n".join(
        [
            failed_worker(49, "1a" * 28, "10.0.2.192", "2b" * 28),
            failed_worker(306, "3c" * 28, "10.0.2.169", "4d" * 28),
        ]
    )
    said = told(text, tmp_path)
    assert "a worker (pid 306) ended on the nodes 10.0.2.192 and 10.0.2.169 by themselves" in said
    assert "they were asked to" in said
    at_none = told(text.replace("10.0.2.169", "0.0.0.0"), tmp_path)
    assert "0.0.0.0" not in at_none
    assert "10.0.2.192 and 3c3c3c3c…" in at_none


def test_a_worker_that_was_not_an_actors() -> None:
    """A driver's id ends in 24 times f and its job; a task's other than an actor's first begins otherwise."""
    text = failed_worker(49, "1a" * 28, "10.0.2.192", "2b" * 28)
    for task in ("f" * 40 + "01000000", "a1" * 24):
        (victim,) = parse(text.replace("2b" * 24 + " ", f"{task} ", 1)).victims
        assert victim.actor_id is None


def test_addresses_that_are_no_nodes() -> None:
    for text in (
        "Worker exit type: SYSTEM_ERROR Worker exit detail: x\nray start --head --dashboard-host=0.0.0.0",
        "Worker exit type: SYSTEM_ERROR Worker exit detail: x\nray start --head --dashboard-host 10.3.4.5",
        "Worker exit type: SYSTEM_ERROR Worker exit detail: x\nlistens at host 127.0.0.1",
        "Worker exit type: SYSTEM_ERROR Worker exit detail: x\nlistens at host: 0.0.0.0",
    ):
        assert parse(text).node_ip is None, text


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("Segmentation fault", "Fatal Python error: Segmentation fault"),
        ("SIGABRT", "*** SIGABRT received at time=1 on cpu 3 ***"),
        ("It was f (pid 4496)", "Fatal Python error: Bus error"),
    ],
)
def test_the_worker_that_crashed_is_in_the_prefix(said: str, text: str, tmp_path: Path) -> None:
    lines = f"(g pid=33) a worker (pid=34) is well\n\x1b[36m(f pid=4496, ip=10.0.0.9)\x1b[0m {text}\n(f pid=4496) Stack"
    found = explain(lines, tmp_path)
    assert [(victim.name, victim.pid) for victim in found.victims] == [("f", 4496)]
    assert found.node_ip == "10.0.0.9"
    assert "f (pid 4496)" in str(found)
    assert parse(json.dumps(f"(g pid=33) all is well\n{text}")).victims == ()


def test_what_is_warned_of_beside_a_death(tmp_path: Path) -> None:
    for text in (
        f"{DISK}\n(f pid=33) *** SIGABRT received at time=1 on cpu 3 ***",
        f"{DISK}\n{failed_worker(49, '1a' * 28, '10.0.2.192', '2b' * 28)}",
        f"{DISK}\n{failed_worker(49, '1a' * 28, '10.0.2.192', '2b' * 28).replace('with an exit code None', 'somehow')}",
    ):
        explanation = explain(text, tmp_path)
        assert explanation.cause in ("crash", "exit", "unknown")
        assert explanation.victims
        assert "over 95% full; available: 4.1 GB of 99.8 GB" in str(explanation)
        assert "has failed" not in str(explanation)


def test_a_shell_that_says_killed_beside_a_dead_node(tmp_path: Path) -> None:
    explanation = explain(
        f"The node with node id: {'1a' * 28} and address: 10.0.2.192 and node name: 10.0.2.192 has been marked dead "
        "because the detector has missed too many heartbeats from it.\n./run.sh: line 7: 33760 Killed        "
        "python job.py",
        tmp_path,
    )
    assert explanation.cause == "node_died"
    assert "10.0.2.192" in explanation.summary.splitlines()[0]
    assert "33760" in explanation.summary.splitlines()[1]


def test_an_nccl_timeout_beside_a_death(tmp_path: Path) -> None:
    nccl = "(T pid=49) [Rank 6] Watchdog caught collective operation timeout: WorkNCCL("
    unknown = failed_worker(49, "1a" * 28, "10.0.2.192", "2b" * 28).replace("with an exit code None", "somehow")
    explanation = explain(f"{unknown}\n{nccl}", tmp_path)
    assert explanation.cause == "unknown"
    assert "NCCL" in explanation.summary
    assert "Find the rank" in explanation.advice[0]


def test_a_small_dev_shm_and_an_object_that_was_lost(tmp_path: Path) -> None:
    explanation = explain(
        "Warning: Reducing object store memory because /dev/shm has only 134217728 bytes available.\n"
        f"The task with ID {'5e' * 20} is a driver task and so the object created by ray.put could not be "
        "reconstructed.",
        tmp_path,
    )
    assert explanation.cause == "object_lost"
    assert "134217728" in explanation.summary.splitlines()[1]
    assert "--shm-size" in explanation.advice[0]


def test_who_reports_a_lost_object_did_not_end() -> None:
    found = parse(
        "ERROR worker.py:1737 -- Possible unhandled error from worker: ray_worker (pid=38222, host=atlas)\n"
        f"ray.exceptions.UnreconstructableError: Object {'5e' * 20} is lost (either LRU evicted or deleted by user) and"
    )
    assert (found.cause, found.victims) == ("object_lost", ())


@pytest.mark.parametrize(
    ("advice", "text"),
    [
        ("pod", "Attempting to cap object store memory usage at 65 bytes, but the minimum allowed is 78643200 bytes."),
        ("less", "the amount of memory on this node available for tasks and actors (-1 GB) is less than -5% of total"),
        ("emptyDir", "The configured object store size (9.1 GB) exceeds /dev/shm size (2.1 GB). This will harm."),
        ("MAC", "The configured object store size (9.1GiB) exceeds the optimal size on Mac (2.0GiB). This will harm."),
        ("less", "The requested object store memory size is greater than the total available memory."),
        (
            "without",
            "The available memory on this system 99 is less than the minimum amount that is required for ray's system "
            "processes. Pick a number of bytes greater than or equal to 100",
        ),
        (
            "leave it out",
            "The total requested system_reserved_memory=99 is greater than the amount of memory available=9",
        ),
    ],
)
def test_advice_where_ray_does_not_start(advice: str, text: str, tmp_path: Path) -> None:
    explanation = explain(text, tmp_path)
    assert explanation.cause == "not_started"
    assert advice in explanation.advice[0]


@pytest.mark.parametrize(
    "text",
    [
        "The train job led to workers dying and no space left on disk",
        "What does WAITING_FOR_AVAILABLE_PLASMA_MEMORY mean?",
        "Allowing the Plasma store to use up to 4.7744GB of memory.",
        "# the disk is over 95% full, is it?",
        "========== Plasma store: =================\nCurrent usage: 0 / 13.9284 GB",
    ],
)
def test_what_is_no_full_store_and_no_full_disk(text: str) -> None:
    assert parse(text).cause == "unknown"


def test_the_prefix_of_docker_service_logs() -> None:
    found = parse(
        f"train_job.1.lclmxgm94n89@host-template-1    | A worker died or was killed\n"
        f"train_job.1.lclmxgm94n89@host-template-1    | {DISK}"
    )
    assert "/tmp/ray/s" in str(found)


def test_each_lack_has_its_own_advice(tmp_path: Path) -> None:
    """Of libraries and accelerators: what to do about each is not to make an allocation of Python's smaller."""
    advice = {
        "torch, in pieces": ("expandable_segments:True", "num_gpus=1"),
        "torch, of several processes": ("num_gpus=1",),
        "torch, npu": ("PYTORCH_NPU_ALLOC_CONF",),
        "torch, too many mappings": ("vm.max_map_count",),
        "torch, shared memory is full": ("--shm-size",),
        "vllm at its start": ("gpu_memory_utilization",),
        "vllm's cache": ("max_model_len", "gpu_memory_utilization"),
        "sglang at its start": ("--mem-fraction-static",),
        "numpy's strings": ("dtype=object",),
        "duckdb": ("temp_directory", "memory_limit", "threads"),
        "duckdb's disk": ("max_temp_directory_size",),
        "spark's executor": ("-Xmx", "spark.executor.memory"),
        "java's classes": ("-XX:MaxMetaspaceSize",),
        "java's buffers": ("-XX:MaxDirectMemorySize",),
        "tensorflow, gpu": ("XLA_PYTHON_CLIENT_MEM_FRACTION",),
        "xla, pinned": ("ulimit -l",),
        "windows, German": ("paging file larger", "num_cpus"),
        "redis": ("maxmemory",),
        "fork": ("vm.overcommit_memory",),
        "threads": ("ulimit -u",),
    }
    for name, words in advice.items():
        said = " ".join(explain(MESSAGE_TEXTS[name].text, tmp_path).advice)
        assert all(word in said for word in words), (name, said)
        assert "Make the allocation that failed smaller" not in said
    assert "num_gpus=1" not in " ".join(explain(MESSAGE_TEXTS["torch"].text, tmp_path).advice)
    assert "expandable_segments" not in str(explain(MESSAGE_TEXTS["torch, of several processes"].text, tmp_path))


@pytest.mark.parametrize(
    "words",
    [
        "Le fichier de pagination est insuffisant pour terminer cette opération",
        "El archivo de paginación es demasiado pequeño para completar la operación.",
        "O arquivo de paginação é muito pequeno para que esta operação seja concluída.",
        "Il file di paging è troppo piccolo per essere completata l'operazione.",
        "Plik stronicowania jest za mały, aby ukończyć tę operację.",
        "Het wisselbestand is te klein voor het voltooien van deze bewerking.",
        "Файл подкачки слишком мал для завершения операции.",
        "分頁檔太小，無法完成操作。",
        "ページング ファイルが小さすぎるため、この操作を完了できません。",
        "이 작업을 완료하기 위한 페이징 파일이 너무 작습니다.",
    ],
)
def test_the_paging_file_in_other_languages(words: str) -> None:
    found = parse(f"ImportError: DLL load failed while importing _x: {words}")
    assert found.cause == "memory_error"
    assert "paging file is too small" in (found.statement or "")


def test_a_sentence_is_one_without_its_optional_parts() -> None:
    """And ends with one full stop, also where what it quotes has one."""
    for text in (
        "ArrowMemoryError: ",
        "java.lang.OutOfMemoryError: Map failed.",
        "XPU out of memory.",
        "NPU out of memory",
    ):
        said = parse(text).statement or ""
        assert said.endswith("."), said
        assert not said.endswith(".."), said
        assert "allocate in one piece" not in said
    assert "could not have the memory that it asked for." in (parse("pyarrow.lib.ArrowMemoryError: x").statement or "")


def test_what_pytorch_says_of_a_process_in_some_containers() -> None:
    text = (
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 23.50 GiB. "
        "Including non-PyTorch memory, this process has 17179869184.00 GiB memory in use."
    )
    assert "17179869184" not in (parse(text).statement or "")


def test_figures_of_two_messages_of_pytorch_are_not_mixed() -> None:
    text = (
        "CUDA out of memory. Tried to allocate 1.25 GiB. GPU 0 has a total capacity of 8.00 GiB.\n"
        "CUDA out of memory. Tried to allocate 2.25 GiB. GPU 7 has a total capacity of 9.00 GiB. "
        "Process 12 has 3.00 GiB memory in use."
    )
    assert parse(text).statement == (
        "The GPU's memory, not the node's, did not suffice (CUDA out of memory): an allocation of 1.25 GiB failed on "
        "GPU 0, which has 8.00 GiB."
    )


def test_pinned_memory_beside_the_gpus() -> None:
    """Where both failed, the GPU's memory is what the text is about."""
    host = "failed to alloc 69206016 bytes on host: CUDA_ERROR_OUT_OF_MEMORY: out of memory"
    assert parse(host).cause == "memory_error"
    assert parse(f"{host}\nCUDA_ERROR_OUT_OF_MEMORY").cause == "gpu_memory"


def test_the_title_of_an_issue_is_read() -> None:
    said = (
        "model's max seq len (8192) is larger than the maximum number of tokens that can be stored in KV cache (6048)"
    )
    assert parse(f"# [Bug] The {said}.\n\nI have this with 2 GPUs.").cause == "gpu_memory"
    assert parse(f"# The {said}.\nx = 1").cause == "unknown"


@pytest.mark.parametrize(
    "text",
    [
        "What does 'No available memory for the cache blocks' mean?",
        "from pyarrow.lib import ArrowMemoryError",
        "except OutOfMemoryError() as error:\n    pass",
        "The docs say how to use XLA_PYTHON_CLIENT_MEM_FRACTION and expandable_segments:True.",
        'raise RuntimeError("can\'t start new thread")',
        'log.error("Not enough memory. Please try to increase --mem-fraction-static.")',
        "We moved the paging file to another disk.",
        "Process 12 failed: the model ran out of memory. Try to lower your batch size.",
        "The executor 6 runs on 10.20.30.40 with -XX:+ExitOnOutOfMemoryError.",
    ],
)
def test_names_of_libraries_are_no_evidence(text: str) -> None:
    assert parse(text).cause == "unknown"


def test_texts_of_libraries_that_would_make_matching_slow() -> None:
    for part in (
        "(a.b-c",
        ", executor 6): ",
        "CUDA out of memory. ",
        "OutOfMemoryError (",
        "RESOURCE_EXHAUSTED: ",
        "Process 1 has ",
    ):
        text = part * (2**20 // len(part))
        start = time.monotonic()
        accelerator(text)
        first_of(LIBRARIES, text)
        assert time.monotonic() - start < 5, part


def test_figures_of_a_gpu_between_semicolons() -> None:
    text = (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 14.58 GiB total capacity; "
        "13.94 GiB already allocated; 500.00 MiB free; 13.97 GiB reserved in total by PyTorch) If reserved memory is"
    )
    assert "on GPU 0, which has 14.58 GiB (500.00 MiB free)." in (parse(text).statement or "")
