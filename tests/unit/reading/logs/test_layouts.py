"""Every kind of message, in every layout in which people paste it: all that is still in the text is read."""

from __future__ import annotations

import functools
import html
import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.reading.logs.facts import Message
from raymemprof.reading.logs.messages import parse
from tests.programs.grounded import invented
from tests.texts.message_texts import ACTOR, GIB, NODE, TEXTS, WORKER, Text, gib


def each(prefix: str) -> Callable[[str], str]:
    return lambda text: "\n".join(prefix + line for line in text.splitlines())


def wrapped(width: int, end: Callable[[str, int], str] = lambda line, _: line) -> Callable[[str], str]:
    """As a terminal does: in the middle of words."""

    def wrap(text: str) -> str:
        lines = text.expandtabs().splitlines()
        return "\n".join(
            end(line[start : start + width], width) for line in lines for start in range(0, max(len(line), 1), width)
        )

    return wrap


def json_lines(key: str) -> Callable[[str], str]:
    def lines(text: str) -> str:
        return "\n".join(
            json.dumps({"time": f"2026-01-01T00:00:{n % 60:02}Z", "level": "error", key: line})
            for n, line in enumerate(text.splitlines())
        )

    return lines


def numbered(text: str) -> str:
    return "\n".join(f"{n}{line}" for n, line in enumerate(text.splitlines(), 101))


LAYOUTS: dict[str, Callable[[str], str]] = {
    "as printed": lambda text: text,
    **{f"wrapped at {width}": wrapped(width) for width in (80, 100, 120)},
    "wrapped at 80, with blanks to the margin": wrapped(80, str.ljust),
    "wrapped at 100, with blanks to the margin": wrapped(100, str.ljust),
    "wrapped at 80, without blanks at the end": wrapped(80, lambda line, _: line.rstrip()),
    "wrapped at 120, without blanks at the end": wrapped(120, lambda line, _: line.rstrip()),
    "pytest": each("E   "),
    "quoted": each("> "),
    "boxed": each("| "),
    "driver": each("\x1b[33m(raylet, ip=1.2.3.4)\x1b[0m "),
    "driver, wrapped": lambda text: wrapped(100)(each("(raylet) ")(text)),
    "wrapped, then quoted": lambda text: each("> ")(wrapped(80)(text)),
    "ISO times": each("2026-01-01T00:00:00.123456Z "),
    "stern": each("[pod/rc-worker-x/ray-worker] "),
    "logging": each("[2026-01-01 00:00:00,123][ray.train][ERROR] - "),
    "containerd": each("2026-01-01T00:00:00.123456789Z stderr F "),
    "docker compose": each("ray-head-1  | "),
    "GitHub": each("2026-01-01T00:00:00.1234567Z ##[error]"),
    "syslog": each("Jan  1 00:00:00 node7 ray[812]: "),
    "a prefix of somebody's own": each("<<job 17>> stage-3 :: "),
    "pytest, wrapped": lambda text: each("E   ")(wrapped(100)(text)),
    "wrapped at 72": wrapped(72),
    "wrapped at 132": wrapped(132),
    "indented and wrapped": lambda text: each("    ")(wrapped(80)(text)),
    "a box": lambda text: "\n".join(f"│ {line} │" for line in wrapped(100, str.ljust)(text).splitlines()),
    "Kibana": each("Nov 25, 2026 @ 10:00:00.000 "),
    "Airflow": each("[2026-01-01, 00:00:00 UTC] {subprocess.py:93} INFO - "),
    "log4j": each("26/01/01 00:00:00 ERROR Executor: "),
    "loguru": each("2026-01-01 00:00:00.123 | ERROR    | train:main:12 - "),
    "a worker's lines": each("\x1b[36m(MapBatches(fn) pid=4411, ip=10.0.0.7)\x1b[0m "),
    "numbered": lambda text: "\n".join(f"{n:>4}: {line}" for n, line in enumerate(text.splitlines(), 95)),
    "grep -n": lambda text: "\n".join(f"raylet.out:{n}:{line}" for n, line in enumerate(text.splitlines(), 7)),
    "the driver's lines in JSON": lambda text: json_lines("log")(each("(raylet, ip=10.1.1.1) ")(text)),
    "in a list": lambda text: json.dumps([text]),
    "in a dict": lambda text: json.dumps({"status": "FAILED", "error": text}, indent=2),
    "in Python's dict": lambda text: repr({"status": "FAILED", "error": text}),
    "bytes": lambda text: repr(text.encode()),
    "an exception": lambda text: f"TaskError({text!r})",
    "a fenced quote": lambda text: "> ```\n" + each("> ")(text) + "\n> ```",
    "chat links": lambda text: re.sub(r"(\d+\.\d+\.\d+\.\d+)", r"<http://\1|\1>", text),
    "blank lines between": lambda text: text.replace("\n", "\n\n"),
    "blanks at the end": lambda text: "\n".join(line + "    " for line in text.split("\n")),
    "within a log": lambda text: "INFO worker.py:1234 -- Started.\nhi\n" * 9 + text + "\n2026-01-01 INFO bye\n" * 9,
    "JSON lines, message": json_lines("message"),
    "JSON lines, log": json_lines("log"),
    "one JSON string": json.dumps,
    "repr": repr,
    "HTML": lambda text: html.escape(text).replace("\n", "<br>\n"),
    "Markdown links": lambda text: re.sub(r"(\d+\.\d+\.\d+\.\d+)", r"[\1](http://\1/)", text),
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "newest first": lambda text: "\n".join(reversed(text.splitlines())),
    "repeated": lambda text: text.replace("\n", " [repeated 12x across cluster]\n", 1),
    "the raylet's one line": lambda text: text.replace("\n", ";"),
    "lines left out": lambda text: "...\n" + text + "\n...",
}


SPEAKERS = {"driver": "1.2.3.4", "the driver's lines in JSON": "10.1.1.1", "a worker's lines": "10.0.0.7"}
"""Layouts whose prefix names who speaks, and where it is."""


def without_prefixes(message: Message, layout: str) -> Message:
    """Take off what only a driver's prefix tells: the node of a raylet that warns, and the worker that crashed."""
    if layout not in SPEAKERS or message.node_ip != SPEAKERS[layout]:
        return message
    also = tuple(words for words in message.also if "(pid 4411) on node 10.0.0.7" not in words)
    if also != message.also:  # an error that was raised in it
        return replace(message, node_ip=None, also=also)
    if layout == "a worker's lines":
        assert [(victim.name, victim.pid) for victim in message.victims] == [("MapBatches(fn)", 4411)]
        return replace(message, node_ip=None, victims=())
    assert message.is_of_raylet
    return replace(message, node_ip=None)


def assert_all_is_read(known: Text, message: Message, *, with_top: bool = True) -> None:
    assert message.cause == known.cause
    assert [(v.name, v.task_id, v.actor_id, v.worker_id, v.pid, v.memory) for v in message.victims] == list(
        known.victims
    )
    for name in ("node_id", "node_ip", "used", "limit", "threshold"):
        assert getattr(message, name) == known.figures.get(name), name
    if with_top:
        top = [(process.pid, process.memory, process.command) for process in message.top_processes]
        assert top == [(pid, gib(held) if isinstance(held, str) else held, what) for pid, held, what in known.top]


@pytest.mark.parametrize("name", TEXTS)
def test_every_layout(name: str) -> None:
    wrong = []
    read = functools.cache(parse)  # a short line is the same in several layouts
    for layout, lay_out in LAYOUTS.items():
        try:
            message = without_prefixes(read(lay_out(TEXTS[name].text)), layout)
            assert_all_is_read(TEXTS[name], message)
            said = str(message.statement) + str(message.reason) + f"{message.killed} workers"
            assert [words for words in TEXTS[name].says if words not in said] == []
        except AssertionError as error:
            wrong.append(f"{layout}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("prefix", ["", "[123.456789] ", "node7 kernel: "])
@pytest.mark.parametrize("name", [name for name, known in TEXTS.items() if known.victims and "\n" not in known.text])
def test_the_same_kind_of_message_in_every_line(name: str, prefix: str) -> None:
    """What all lines begin with is no prefix then, and lines as long as each other are not broken ones."""
    lines = [TEXTS[name].text.replace("4123", str(pid)).replace("16781", str(pid)) for pid in range(5000, 5007)]
    pids = {victim.pid for victim in parse("\n".join(prefix + line for line in lines)).victims}
    assert pids == ({None} if TEXTS[name].victims[0][4] is None else set(range(5000, 5007)))
    assert parse("\n".join([prefix + TEXTS[name].text] * 7)).cause == TEXTS[name].cause


def test_line_numbers_that_are_glued_to_pids() -> None:
    """Which of the digits are the pid's is not known."""
    text = TEXTS["ray 2.60"].text.replace("16781\t", "4321\t")
    rows = "\n".join(f"{pid}\t0.1\tray::f" for pid in (4410, 9012, 555))
    found = parse(numbered(text.replace("\nRefer", f"\n{rows}\nRefer"))).top_processes
    assert len(found) == 5
    assert {process.pid for process in found} == {None}
    assert [process.pid for process in parse(text.replace("\nRefer", f"\n{rows}\nRefer")).top_processes][2:] == [
        4410,
        9012,
        555,
    ]


@pytest.mark.parametrize("name", ["ray's choice of an idle worker", "ray's choice of an idle worker, by group"])
def test_an_idle_worker_that_ray_is_about_to_kill(name: str, tmp_path: Path) -> None:
    found = explain(TEXTS[name].text, tmp_path)
    assert "killed an idle worker (pid 16781)" in found.summary.splitlines()[0]
    assert "Only idle workers were killed" in found.advice[0]


@pytest.mark.parametrize("name", TEXTS)
def test_explained(name: str, tmp_path: Path) -> None:
    """What is said has the words of the text, and says of nothing that it does not tell of memory."""
    explanation = explain(TEXTS[name].text, tmp_path)
    assert explanation.cause == TEXTS[name].cause
    assert explanation.advice
    for words in TEXTS[name].says:
        assert words in str(explanation)
    assert "do not recognise" not in str(explanation)


@pytest.mark.parametrize(
    "text",
    [
        "ImportError: cannot import name 'OutOfDiskError' from 'ray.exceptions' (/opt/ray/exceptions.py)",
        'Traceback (most recent call last):\n  File "a.py", line 3, in f\n    except MemoryError: pass\nValueError: no',
        'Traceback (most recent call last):\n  File "a.py", line 3, in f\n    raise MemoryError\nValueError: no',
        "except ray.exceptions.OutOfMemoryError:",
        "from ray.exceptions import OutOfMemoryError, ObjectStoreFullError, NodeDiedError",
        "Is a worker killed by `ray.kill`? Or was it killed by `ray.kill`?",
        "We saw no MemoryError and no OutOfMemoryError here.",
        "DeprecationWarning: OwnerDiedError is going away",
        '"OOMKilled": false',
        "KeyError: 'OutOfMemoryError'",
        "This can happen if the instance where the node was running failed, the node was preempted, or raylet crashed",
        "the kernel's oom killer was not seen",
        "exit code 1",
        # source code
        'except MemoryError:\n    log.error("Task was killed due to the node running low on memory.")',
        '  error = "Task was killed due to the node running low on memory.";',
        'RAY_LOG(INFO) << "The local object store is full of objects";',
        'if "CUDA out of memory" in str(error): retry()',
        'log.error("CUDA out of memory. Tried to allocate 2.00 GiB")',
        "catch (java.lang.OutOfMemoryError: Java heap space e) {",
        "catch (const std::bad_alloc& e) { std::cerr << e.what(); }",
        "# Out of memory: Killed process 12 (foo) total-vm:12kB, anon-rss:12kB",
        "ray.kill(actor)  # because it was killed by `ray.kill`",
        "os.kill(pid, signal.SIGKILL)  # exit code 137",
        "signal.signal(signal.SIGBUS, handler)\nsignal SIGBUS",
        # lists and pages of names
        "ray.exceptions.RayTaskError\nray.exceptions.OutOfMemoryError\nray.exceptions.ObjectStoreFullError\n"
        "ray.exceptions.NodeDiedError\nray.exceptions.OwnerDiedError\nMemoryError",
        "ray.exceptions.OutOfMemoryError\nexception ray.exceptions.OutOfMemoryError(message)\n    Bases: RayError",
        "OutOfDiskError: raised when the local disk's utilization is over capacity.",
        "[core] ObjectStoreFullError: raised although spilling is enabled #12345",
        "- `ray.exceptions.OutOfMemoryError` is raised when a node runs out of memory.",
        # questions and explanations
        "How do I avoid CUDA out of memory errors when I train?",
        "We had CUDA out of memory errors last week.",
        "What does exit code 137 mean?",
        "Exit code 137 means that the process was killed with SIGKILL.",
        "If your job needs more, slurmstepd prints 'error: Exceeded job memory limit'.",
        "The traffic signal 7 is red.",
        "A spot interruption notice is sent before.",
        # who does its work
        "INFO Started worker process with pid 123, the token is 5",
        f"Worker PID: 4123 is alive on Node ID: {'ab' * 28}",
    ],
)
def test_names_are_no_evidence(text: str, tmp_path: Path) -> None:
    explanation = explain(text, tmp_path)
    assert (explanation.cause, explanation.victims) == ("unknown", ())
    assert explanation.summary == "I do not recognise this as a message about memory."


@pytest.mark.parametrize(
    ("cause", "said", "text"),
    [
        ("container_limit", "rc-worker-small-x2x9z", "rc-worker-small-x2x9z   0/1   OOMKilled   3 (2m ago)   5m"),
        ("container_limit", "5.5 GB", "Container killed by YARN for exceeding memory limits. 5.5 GB of 5.5 GB used."),
        ("sigkill", "the text does not say whether memory", "  Reason:       Error\n  Exit Code:    137"),
        ("sigkill", "the text does not say whether memory", "/bin/bash: line 1: 4123 Killed       python train.py"),
        ("sigkill", "pid 4123", "RuntimeError: DataLoader worker (pid 4123) is killed by signal: Killed."),
        (
            "evicted",
            "ray-worker was using 30Gi and had requested 8Gi",
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 51Mi. Container ray-worker "
            "was using 30Gi, request is 8Gi, has larger consumption of memory.",
        ),
        ("kernel_oom", "ray::f asked for memory", "ray::f invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0"),
        ("kernel_oom", "raylet (pid 4123)", "oom_reaper: reaped process 4123 (raylet), now anon-rss:0kB, file-rss:0kB"),
        (
            "kernel_oom",
            "Its memory cgroup used 8.0 GiB of 8.0 GiB",
            "memory: usage 8388608kB, limit 8388608kB, failcnt 1\nMemory cgroup out of memory: Killed process 41 "
            "(python) total-vm:912kB, anon-rss:812kB, file-rss:0kB",
        ),
        (
            "systemd_oomd",
            "12 processes",
            "systemd[1]: user@1.service: systemd-oomd killed 12 process(es) in this unit.",
        ),
        ("slurm_limit", "node17", "srun: error: node17: task 3: Out Of Memory"),
        ("slurm_limit", "Slurm", "113.batch batch OUT_OF_ME+ 0:125"),
        ("gpu_memory", "GPU", "RuntimeError: CUDA error: out of memory"),
        ("gpu_memory", "1.5 GiB", "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 1.5 GiB."),
        ("memory_error", "8589934592", "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8589934592 bytes."),
        ("memory_error", "1073741824", "pyarrow.lib.ArrowMemoryError: malloc of size 1073741824 failed"),
        ("memory_error", "34359738368", "memory allocation of 34359738368 bytes failed"),
        ("memory_error", "ENOMEM", "OSError: [Errno 12] Cannot allocate memory"),
        ("memory_error", "Java heap space", "java.lang.OutOfMemoryError: Java heap space"),
        ("bus_error", "/dev/shm", "RuntimeError: DataLoader worker (pid 4123) is killed by signal: Bus error. It is"),
        ("disk_full", "/dev/shm/x", "OSError: [Errno 28] No space left on device: '/dev/shm/x'"),
        (
            "object_lost",
            "failed",
            "ray.exceptions.ObjectLostError: Object " + "ab" * 28 + " is lost due to node failure.",
        ),
        ("owner_died", "owned", "Failed to retrieve object x. Owner's node has crashed."),
        ("preempted", "preempted", "Spot interruption notice received for i-0abc"),
        ("warning", "29.6 of 30.9 GiB", "Memory usage on this node: 29.6/30.9 GiB: ***LOW MEMORY*** less than 10%"),
        ("warning", "no worker to kill", "Worker killer did not select any workers to kill even though memory is high"),
        ("warning", "4096 MiB", "(raylet) Spilled 4096 MiB, 12 objects, write throughput 523 MiB/s."),
        ("warning", "4294967296", "{'operator': 'Map', 'max_uss_bytes': 4294967296}"),
        ("gpu_memory", "2.00 GiB", "Why do I get `CUDA out of memory. Tried to allocate 2.00 GiB` here?"),
        ("memory_error", "C++", "Why? terminate called after throwing an instance of 'std::bad_alloc'"),
        ("memory_error", "MemoryError", 'Traceback (most recent call last):\n  File "a.py", line 3, in f\nMemoryError'),
        ("bus_error", "/dev/shm", "Process 12 terminated by signal 7"),
        ("unknown", "do not recognise", "I think my worker ran out of memory, how do I fix it?"),
        ("unknown", "do not recognise", "Memory usage on this node: 9.6/30.9 GiB "),
        ("unknown", "do not recognise", "ray.exceptions.RayTaskError(ValueError): ray::f() (pid=4123, ip=10.0.0.5)"),
    ],
)
def test_more_kinds(cause: str, said: str, text: str, tmp_path: Path) -> None:
    explanation = explain(text, tmp_path)
    assert explanation.cause == cause
    assert said in explanation.summary
    if said == "killed nothing":
        assert explanation.victims == ()
        assert "Ray kills" not in str(explanation)


def test_a_summary_of_nothing(tmp_path: Path) -> None:
    text = TEXTS["ray's summary"].text.replace("3 Workers", "0 Workers").replace("1 Workers", "0 Workers")
    explanation = explain(text, tmp_path)
    assert (explanation.cause, explanation.victims) == ("unknown", ())
    assert "0 workers crashed" in explanation.summary.splitlines()[0]


# Damage.

EDITS = "".join(sorted({char for known in TEXTS.values() for char in known.text})) + "\x00\x1b\\\"'{}[]<>&;\r"


def edited(text: str, choice: random.Random) -> str:
    for _ in range(choice.randint(1, 6)):
        start = choice.randrange(len(text) + 1)
        end = min(len(text), start + choice.choice([0, 1, 1, 2, 30]))
        text = text[:start] + "".join(choice.choices(EDITS, k=choice.choice([0, 1, 1, 3]))) + text[end:]
    return text


@pytest.mark.parametrize("name", TEXTS)
def test_edits_invent_nothing(name: str, tmp_path: Path) -> None:
    """Each number, name and id that is told, in whatever field or sentence, stands in the text or is derived of it."""
    choice = random.Random(name)
    text = edited(TEXTS[name].text, choice)
    laid_out = choice.choice([*LAYOUTS.values(), *[LAYOUTS["as printed"]] * len(LAYOUTS)])(text)
    assert invented(explain(laid_out, tmp_path), laid_out, also=text) == [], laid_out


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_is_invented(name: str, tmp_path: Path) -> None:
    assert invented(explain(TEXTS[name].text, tmp_path), TEXTS[name].text) == []


def test_what_is_invented_is_found(tmp_path: Path) -> None:
    """Of a number, a name, an id, a host and a size that the text does not have."""
    text = TEXTS["ray 2.60"].text
    found = explain(text, tmp_path)
    for true, false in (("16781", "16782"), ("shuffle_partition", "shuffle"), (NODE, NODE[::-1]), ("30.40", "30.4")):
        assert any(true in line for line in (found.to_json(), str(found)))
        assert invented(found, text.replace(true, "")) != []
        assert invented(found, text.replace(true, false)) != []
    assert invented(found, text.replace("7.25", "7.52")) != []
    assert invented(replace(found, summary="It was fooBar."), text) == ["word fooBar in: It was fooBar."]
    assert invented(replace(found, advice=("Give it 77.7 GiB.",)), text) == ["size 77.7 GiB in: Give it 77.7 GiB."]


def described(pod: str, ip: str, *containers: str) -> str:
    return f"Name:             {pod}\nIP:               {ip}\nContainers:\n" + "".join(containers)


def one_container(name: str, limit: str, *, killed: bool = False) -> str:
    last = "    Last State:     Terminated\n      Reason:       OOMKilled\n      Exit Code:    137\n" if killed else ""
    return f"  {name}:\n    State:          Running\n{last}    Limits:\n      memory:  {limit}\n"


PODS = {
    "kubectl describe of two pods": described("rc-head-a", "10.0.0.1", one_container("ray-head", "8Gi"))
    + described("redis-0", "10.0.0.9", one_container("redis", "1Gi", killed=True)),
    "kubectl get pods": f"NAME{' ' * 23}READY   STATUS      RESTARTS        AGE\n"
    f"rc-head-abcde{' ' * 14}1/1     Running     0               5d\n"
    f"redis-0{' ' * 20}0/1     OOMKilled   3 (2m ago)      5m\n",
    "rows of the same width": f"rc-head-abcde{' ' * 14}1/1     Running     0               5d\n"
    f"redis-0{' ' * 20}0/1     OOMKilled   3 (2m ago)      5m",
    "JSON": json.dumps(
        {
            "items": [
                {"metadata": {"name": "rc-head-a"}, "status": {"state": {"running": {}}}},
                {"metadata": {"name": "redis-0"}, "status": {"lastState": {"terminated": {"reason": "OOMKilled"}}}},
            ]
        }
    ),
    "prose": "The pod rc-head-a is fine.\nThe container was OOMKilled.",
}


@pytest.mark.parametrize("name", PODS)
def test_another_pod_is_not_taken_for_the_one_that_ended(name: str, tmp_path: Path) -> None:
    explanation = explain(PODS[name], tmp_path)
    assert explanation.cause == "container_limit"
    assert "rc-head" not in str(explanation)
    assert ("redis-0" in str(explanation)) == (name not in ("JSON", "prose"))
    of_redis = ("10.0.0.9", GIB) if "two pods" in name else (None, None)
    assert (explanation.node_ip, explanation.limit) == of_redis


def test_two_pods_that_ended(tmp_path: Path) -> None:
    text = PODS["kubectl get pods"].replace("1/1     Running  ", "1/1     OOMKilled")
    explanation = explain(text, tmp_path)
    assert "killed containers of the pods rc-head-abcde and redis-0 (OOMKilled)" in explanation.summary.splitlines()[0]


def test_the_limit_is_that_of_the_container_that_ended(tmp_path: Path) -> None:
    ray, sidecar = one_container("ray-worker", "8Gi"), one_container("sidecar", "1Gi", killed=True)
    assert explain(described("rc-worker-a", "10.0.0.1", ray, sidecar), tmp_path).limit == GIB
    sidecar = sidecar.partition("    Limits")[0]
    assert explain(described("rc-worker-a", "10.0.0.1", ray, sidecar), tmp_path).limit is None


OTHER_NODE = {NODE: "ef56" * 14, WORKER: "9a9a" * 14, ACTOR: "3d3d" * 8, "10.20.30.40": "10.9.9.9", "16781": "22222"}
OTHER_NODE |= {"shuffle_partition": "other", "Store": "Shop", "30.11GB": "60.22GB", "31.50GB": "63.00GB"}


def of_another_node(text: str) -> str:
    for ours, theirs in OTHER_NODE.items():
        text = text.replace(ours, theirs)
    return text


@pytest.mark.parametrize("name", ["ray 2.60", "ray 2.60, resource isolation", "actor died"])
def test_lines_of_two_nodes_between_each_other(name: str, tmp_path: Path) -> None:
    """What is of the one is not said of the other."""
    ours, theirs = TEXTS[name].text.splitlines(), of_another_node(TEXTS[name].text).splitlines()
    for half in range(len(ours)):
        mixed = [*ours[:half], *(line for pair in zip(ours[half:], theirs, strict=False) for line in pair)]
        found = explain("\n".join([*mixed, *theirs[len(ours) - half :]]), tmp_path)
        for victim in found.victims:
            assert victim.node_id in (None, NODE if victim.name == "shuffle_partition" else OTHER_NODE[NODE])
        if half == 0:
            assert (found.node_id, found.node_ip, found.used, found.limit) == (None, None, None, None)
        for victim in found.victims:
            if victim.actor_id is not None:
                assert victim.name in (None, "Store" if victim.actor_id == ACTOR else "Shop")
            elif victim.name is not None:
                assert victim.pid == (16781 if victim.name == "shuffle_partition" else 22222)


def test_an_actor_within_the_lines_of_another(tmp_path: Path) -> None:
    ours, theirs = TEXTS["actor died"].text.splitlines(), of_another_node(TEXTS["actor died"].text).splitlines()
    found = explain("\n".join([*ours[:3], *theirs, *ours[3:]]), tmp_path)
    assert {victim.actor_id for victim in found.victims} == {ACTOR, OTHER_NODE[ACTOR]}
    assert (found.node_ip, {victim.pid for victim in found.victims}) == (None, {None})
