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
from raymemprof.reading.logs.messages import parse

DATA = Path(__file__).with_name("data")
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
    assert explanation.summary[0] in str(explanation)
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
    assert "on 2 nodes" in explanation.summary[0]
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
    assert "killed zebra (pid 5940) and alpha (pid 5941)" in explanation.summary[0]
    assert "204.8 MiB (zebra) and 2.0 GiB (alpha)" in str(explanation)
    assert f"memory={int(gib('2.00') * 1.2):_}) asks for a fifth more than alpha had" in str(explanation)
    idle = str(explain(TEXTS["ray-2.60/idle-worker-oom.txt"], tmp_path))
    assert f"memory={int(gib('1.26') * 1.2):_}) asks for a fifth more than hog had" in idle


def test_no_advice_that_is_never_scheduled(tmp_path: Path) -> None:
    text = TEXTS["page/task-oom.txt"].replace("memory used=1.25GB", "memory used=25.00GB")
    advice = " ".join(explain(text, tmp_path).advice)
    assert "not one that needs 30.0 GiB fits this node, where tasks can have 20.2 GiB" in advice
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
    assert "2 deaths fit" in explanation.summary[0]
    assert {13110, 13138} == {int(pid) for pid in re.findall(r"It may be a worker \(pid (\d+)\)", str(explanation))}


def test_one_death_fits(tmp_path: Path) -> None:
    explanation = explain(CRASHED, session(tmp_path / "logs", slice(2, 3)))
    assert explanation.cause == "sigkill"
    assert [one.pid for one in explanation.victims] == [13138]
    assert "The error names nobody" in explanation.summary[1]


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
    monkeypatch.setattr("raymemprof.diagnosis.scene._SECONDS_TO_DIE", 0.5)
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
    text, choice = TEXTS[name], random.Random(1)
    for length in range(0, len(text), max(len(text) // 20, 1)):
        assert_only_the_named(text[:length], others)
        assert_only_the_named(text[length:], others)
    lines = text.splitlines()
    for _ in range(15):
        choice.shuffle(lines)
        assert_only_the_named("\n".join(lines), others)
    for _ in range(30):
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
    assert explanation.summary == ("I do not recognise this as a message about memory.",)


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
def test_cut_at_every_length(name: str) -> None:
    text = ALL[name]
    whole = parse(text)
    for length in range(len(text)):
        assert_no_invention(text[:length], whole)
        assert_no_invention(text[length:], whole)


@pytest.mark.parametrize("name", ALL)
def test_lines_in_any_order(name: str) -> None:
    text = ALL[name].replace("\\n", "\n")
    whole, lines, order = parse(text), text.splitlines(), random.Random(0)
    for _ in range(200):
        order.shuffle(lines)
        shuffled = "\n".join(lines)
        assert_no_invention(shuffled, whole)
        assert len(parse(shuffled).victims) <= len(whole.victims)


@pytest.mark.parametrize("name", ALL)
def test_random_edits(name: str) -> None:
    text, choice = ALL[name], random.Random(0)
    most = len(parse(text).victims)
    anything = "".join(sorted(set(text))) + "\x00\x1b\\é{}()[]0123456789.,=: \n"
    for _ in range(1000):
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
    for part in [*parts, "\\", "9", "\x1b[0"]:
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
