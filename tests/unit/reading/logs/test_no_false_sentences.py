# ruff: noqa: E501 (messages are as long as they are)
"""What `explain()` must not conclude: texts that look like a message and are none, or that leave open what it could say."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.reading.logs.messages import parse
from raymemprof.reading.logs.systems.batch_systems import refused

KILLS = "{}3 Workers (tasks / actors) killed due to memory pressure (OOM)"
ERRNO = "OSError: [Errno 12] Cannot allocate memory"


@pytest.mark.parametrize(
    "line",
    [
        "Memory cgroup out of memory: Killing process 812 (java)",
        "lowmemorykiller: Killing process 812 for low memory",
        "Killing worker 812 for exceeding the memory limit",
        "Killing pid 812 for OOM",
        "rss is 12 GB\nKilling process 812",
    ],
)
def test_a_kill_that_tells_of_memory_is_quoted(line: str, tmp_path: Path) -> None:
    found = explain(line, tmp_path)
    assert found.cause == "unknown"
    assert line.splitlines()[-1] in found.summary
    assert "lack of memory" not in found.summary
    assert "itself" not in found.summary


def test_whom_and_why_a_program_kills(tmp_path: Path) -> None:
    assert explain("Killing actor 3", tmp_path).summary.startswith(
        "A program says that it kills actor 3 itself; that line does not say why."
    )
    idle = "Killing worker 812 because nothing has asked for it since a while"
    assert explain(idle, tmp_path).summary.startswith(f"The text says: “{idle}”.")
    assert "kills process 7 itself for being idle." in explain("Killing process 7 for being idle", tmp_path).summary
    assert "812" not in explain("I am killing process 812 for fun", tmp_path).summary


@pytest.mark.parametrize(
    ("text", "node"),
    [
        (KILLS.format("(raylet, ip=10.0.0.9) file_system_monitor: /tmp is over 95% full\nWARNING "), None),
        (KILLS.format("(raylet, ip=10.0.0.9) Spilled 2048 MiB, 3 objects, write throughput 300 MiB/s.\n"), None),
        (KILLS.format("(raylet, ip=10.0.0.9) "), "10.0.0.9"),
        (
            KILLS.format("(raylet, ip=10.0.0.9) [2026-01-02 03:04:05,678 E 1 1] (raylet)\n node_manager.cc:3193: "),
            "10.0.0.9",
        ),
        (KILLS.format(KILLS.format("(raylet, ip=10.0.0.9) ") + "\n(raylet, ip=10.0.0.8) "), None),
    ],
)
def test_the_node_of_a_count_of_kills_stands_in_its_own_line(text: str, node: str | None) -> None:
    found = parse(text)
    assert (found.cause, found.node_ip) == ("ray_memory_monitor", node)


@pytest.mark.parametrize(
    "text",
    [
        "waitpid returned 9, WIFEXITED, status=0",
        "It was not [Errno 12], but something else",
        "It was not [Errno 12] Cannot allocate memory",
        "socket.gaierror: [Errno 12] Ambiguous servname",
        "errno = 11  EAGAIN\nerrno = 12  ENOMEM\nerrno = 13  EACCES",
        "see the PyException: MemoryError class",
        "We fixed the bug where the pod was OOMKilled",
        "What is OOMKilled?",
        "Kubernetes docs: a container is OOMKilled when it exceeds its limit.",
        "No pod was OOMKilled; it was evicted for disk.",
        "We alert on OOMKilled.",
        "OOMKilled is a state of containers.",
        "My colleague asked whether the pod was OOMKilled.",
        "what does 'exit code 137' mean?",
        "no worker (pid 99) is killed by signal: Killed.",
    ],
)
def test_what_only_looks_like_a_message(text: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert found.cause == "unknown"
    assert "killer" not in found.summary
    assert "SIGKILL" not in found.summary


def test_a_process_that_is_no_data_loader_s(tmp_path: Path) -> None:
    found = explain("this worker (pid 99) is killed by signal: Killed", tmp_path)
    assert [(one.name, one.pid) for one in found.victims] == [(None, 99)]


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("node: worker-1.cluster.local\nhost: 0.0.0.0", ["worker-1.cluster.local"]),
        ("pod: my-app\nkind: Pod", ["my-app"]),
        ("in pod: my-po\nd-12345 of", ["my-po"]),
        (f"{'x' * 70} pod: my-po\nd-12345 of", ["my-pod-12345"]),
    ],
)
def test_no_name_is_made_of_two_lines(lines: str, named: list[str]) -> None:
    names = [one.value for one in parse(f"{ERRNO}\n{lines}").names]
    assert names == named


def test_a_raylet_s_exception_about_an_allocation(tmp_path: Path) -> None:
    text = (
        "[2026-01-02 03:04:05,678 E 212 230] (raylet.exe) logging.cc:108: Unhandled exception: class std::runtime_error. "
        "what(): Failed to allocate 2 GB shared buffer."
    )
    summary = explain(f"# LocalRayletDiedError: The task's local raylet died.\n\n{text}", tmp_path).summary
    assert "othing says that memory was short" not in summary
    assert "Failed to allocate 2 GB shared buffer" in summary
    assert ".." not in summary


def test_a_crash_beside_words_of_memory(tmp_path: Path) -> None:
    crash = "*** SIGSEGV received at time=1700000000 on cpu 3 ***"
    assert "nothing says that memory was short" in explain(crash, tmp_path).summary
    summary = explain(f"what(): Failed to allocate 2 GB shared buffer\n{crash}", tmp_path).summary
    assert "nothing says that memory was short" not in summary


def test_the_last_heartbeat(tmp_path: Path) -> None:
    late = "Last heartbeat was sent {} ms ago. There might be resource pressure on this node.\n"
    dead = "This node has been marked as dead."
    summary = explain(late.format(1512) + late.format(22512) + dead, tmp_path).summary
    assert "the last heartbeat was sent 22512 ms ago" in summary
    assert "1512 ms late" not in summary
    assert explain(dead, tmp_path).summary.startswith(
        "A raylet ended, which ends its node, because the node had been marked as dead. The text does not say why."
    )


def test_a_disk_that_is_full_where_ray_does_not_spill(tmp_path: Path) -> None:
    full = "Traceback (most recent call last):\n  File \"a.py\", line 3, in log\nOSError: [Errno 28] No space left on device: '/tmp/a.log'"
    summary = explain(f"_spill_objects ok\n{full}", tmp_path).summary
    assert "spill" not in summary.split("\n")[0]
    spilling = full.replace("in log", "in spill_objects")
    assert "Ray could not spill objects" in explain(spilling, tmp_path).summary


def test_the_largest_node_that_slurm_lists(tmp_path: Path) -> None:
    refused = "$ sbatch --mem=64G run.sh\nsbatch: error: Memory specification can not be satisfied"
    summary = explain(f"NodeName=a RealMemory=512\nNodeName=b RealMemory=256000\n{refused}", tmp_path).summary
    assert "--mem=64G" in summary
    assert "has 256000 MiB" in summary
    assert "512" not in summary


def test_many_nodes_of_slurm_take_no_time() -> None:
    """Each row of `scontrol show node` was searched to its end: 100 KB took 8 s."""
    text = "RealMemory=512 " * 7_000 + "sbatch: error: Memory specification can not be satisfied"
    refused(text[-500:])
    started = time.perf_counter()
    assert refused(text) is not None
    assert time.perf_counter() - started < 2


def test_all_who_were_killed_are_counted(tmp_path: Path) -> None:
    killed = "\n".join(f"worker (pid {pid}) is killed by signal: Killed" for pid in range(101, 131))
    summary = explain(killed, tmp_path).summary
    assert "30 processes, pid 101, pid 102" in summary
    assert "pid 110 and others, were killed by SIGKILL" in summary
    aborted = "worker (pid 1) is killed by signal: Aborted\nworker (pid 2) is killed by signal: Aborted"
    assert "their own code aborted them" in explain(aborted, tmp_path).summary


def test_all_tasks_whose_workers_ended_are_counted(tmp_path: Path) -> None:
    task = "WARNING worker.py:1134 -- A worker died or was killed while executing task {:048x}."
    summary = explain("\n".join(task.format(number) for number in range(30)), tmp_path).summary
    assert "30 workers (of " in summary
    assert "and 20 more)" in summary


def test_what_kubernetes_prints_is_a_kill_whatever_stands_before(tmp_path: Path) -> None:
    text = (
        '{"message":"could not start","ready":false,"lastState":{"terminated":{"reason":"OOMKilled","exitCode":137}}}'
    )
    assert explain(text, tmp_path).cause == "container_limit"


def test_the_title_of_an_article_is_no_kill(tmp_path: Path) -> None:
    text = "CI runs failed with exit code 137 ([OOMKilled Kubernetes Error](https://example.com/oomkilled))"
    found = explain(text, tmp_path)
    assert found.cause == "sigkill"
    assert "does not say whether memory was the reason" in found.summary


def test_a_connection_to_a_raylet_that_was_lost(tmp_path: Path) -> None:
    text = "[2026-01-02 03:04:05,678 E 7 7] direct_task_transport.cc:154] Lost connection with local raylet. Error: IOError: 14: Socket closed"
    found = explain(text, tmp_path)
    assert found.cause == "unknown"
    assert "lost its connection to the raylet of its node (IOError: 14: Socket closed)" in found.summary


def test_a_person_s_sigbus(tmp_path: Path) -> None:
    text = "I run a shuffling data loader on 4 nodes, and its workers {} with SIGBUS errors."
    assert explain(text.format("fail"), tmp_path).cause == "bus_error"
    assert explain(text.format("may fail"), tmp_path).cause == "unknown"


def test_the_name_of_an_actor_whose_ids_are_hidden(tmp_path: Path) -> None:
    text = (
        "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n"
        "\tclass_name: TaskRunner\n\tactor_id: ****\n\tpid: ****\n\tnamespace: ****\n\tip: 10.11.***\n"
        "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR"
    )
    found = explain(text, tmp_path)
    assert [(one.name, one.actor_id, one.pid) for one in found.victims] == [("TaskRunner", None, None)]


def test_a_limit_of_one_cgroup_is_not_that_of_all_that_were_killed(tmp_path: Path) -> None:
    text = (
        "Out of memory: Killed process 100 (python) total-vm:9000000kB, anon-rss:4194304kB, file-rss:0kB\n"
        "Memory cgroup out of memory: Killed process 200 (java) total-vm:9000000kB, anon-rss:2097152kB, file-rss:0kB\n"
    )
    found = explain(text, tmp_path)
    assert {(one.name, one.pid) for one in found.victims} == {("python", 100), ("java", 200)}
    assert "cgroup" not in str(found).splitlines()[0]


def test_the_container_above_the_end_was_killed(tmp_path: Path) -> None:
    text = """Name:         app-1
Containers:
  web:
    State:          Running
    Last State:     Terminated
      Reason:       Completed
  metrics:
    Last State:     Terminated
      Reason:       OOMKilled
      Exit Code:    137
"""
    said = str(explain(text, tmp_path))
    assert "metrics" in said
    assert "container web" not in said


@pytest.mark.parametrize(
    ("text", "untold"),
    [
        ("The kernel's OOM killer killed nothing on our node", "killer killed:"),
        ("Slurm killed our job, although it was below the memory limit.", "ended a job for memory"),
        ("Worker pid 5 was killed by SIGKILL.", "What ended"),
        ("Worker pid 5 was killed by SIGKILL.", "also names"),
    ],
)
def test_what_a_sentence_denies_or_tells_is_not_said_otherwise(text: str, untold: str, tmp_path: Path) -> None:
    assert untold not in str(explain(text, tmp_path))


KILL = "[1234.5] Out of memory: Killed process 4123 (python) total-vm:9000kB, anon-rss:8000kB"


@pytest.mark.parametrize(
    "example",
    [
        "By default there are 8 workers. A CPU out of memory error looks like:\n\n.. code::\n\n   {}\n",
        "A kill by the kernel looks like this:\n\n```text\n{}\n```\n",
        "In dmesg a typical kill will look like the following:\n    {}\n",
    ],
)
def test_what_documentation_shows_is_no_report(example: str, tmp_path: Path) -> None:
    """What comes after the example is one, and so is what somebody got."""
    shown = example.format(KILL)
    assert explain(shown, tmp_path).cause == "unknown"
    assert explain(f"{shown}\nThis is what we got:\n\n{KILL.replace('4123', '99')}", tmp_path).victims[0].pid == 99
    ours = f"We got an error that looks like:\n\n{KILL}\n"
    assert explain(ours, tmp_path).victims[0].pid == 4123
    assert explain(f"The error looks like this:\n\n{KILL}\n", tmp_path).victims[0].pid == 4123
