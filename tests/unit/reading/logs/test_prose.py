# ruff: noqa: E501 (sentences are as long as they are)
"""What people tell in sentences: messages that they quote, and ends for memory of which they have no log."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.reading.logs.messages import parse

KERNEL = "The kernel's out-of-memory killer killed"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("I started it, and after an hour the trials failed with `No space left on device` on each node.", "disk_full"),
        ('I\'m getting a "plasma store full" error when I read files.', "object_store_full"),
        ("We see the message “CUDA out of memory. Tried to allocate 2.00 GiB.” in the second epoch.", "gpu_memory"),
        (
            "My job runs. The log shows _1 Workers (tasks / actors) killed due to memory pressure (OOM)_, though.",
            "ray_memory_monitor",
        ),
        (
            'It works at first, but then I get "Failed to put object A in object store because it is full. Object size is B bytes."',
            "object_store_full",
        ),
    ],
)
def test_a_message_that_somebody_got(text: str, cause: str, tmp_path: Path) -> None:
    assert explain(text, tmp_path).cause == cause


@pytest.mark.parametrize(
    "text",
    [
        "I would expect that it fails with `No space left on device` here.",
        "We fixed it, so it does not fail with `No space left on device` any more.",
        "When the disk fills up, programs fail with `No space left on device` errors.",
        'I import `OutOfMemoryError` and get "ray.exceptions.OutOfMemoryError" as its name.',
    ],
)
def test_a_message_that_nobody_got(text: str, tmp_path: Path) -> None:
    assert explain(text, tmp_path).cause == "unknown"


@pytest.mark.parametrize(
    ("text", "cause", "said"),
    [
        (
            "We left it running, and the preprocessing job was killed by the Linux OOM killer.",
            "kernel_oom",
            "the kernel's out-of-memory killer killed",
        ),
        ("Nodejs was killed by oomkiller. The pod still ran.", "kernel_oom", "Nodejs was killed by oomkiller."),
        ("I run Ray on one node, and the controller was killed by the OOM killer.", "unknown", "the kernel's or Ray's"),
        ("My worker pods are OOMKilled after an hour, with 32GB each.", "container_limit", "OOMKilled"),
        (
            "This is the node's memory rather than the GPU's: Ray killed a worker after node memory had reached 61.2GB / 64.0GB.",
            "ray_memory_monitor",
            "61.2GB / 64.0GB",
        ),
        (
            "We see it daily: memory grows from 12 GB to 90 GB, and then the driver gets OOM-killed.",
            "unknown",
            "12 GB to 90 GB",
        ),
    ],
)
def test_an_end_that_somebody_tells_of(text: str, cause: str, said: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert found.cause == cause
    assert said in found.summary
    assert not found.victims


@pytest.mark.parametrize(
    "text",
    [
        "The container may get killed by the kernel when the node runs out of memory.",
        "I wonder whether the driver was killed by the OOM killer.",
        "We think that the actor was OOM killed.",
        "I checked dmesg: the worker was not killed by the OOM killer.",
        "If a task is killed by the OOM killer, Ray retries it.",
        "The OOM killer kills processes by their score.",
        "I want an alert that fires after the driver was OOM killed.",
        "We see this in the log: retries left: 0, oom retries left: 0, task failed due to oom: 0",
        "I read that it may help where Ray killed a worker for lack of memory.",
    ],
)
def test_an_end_that_nobody_tells_of(text: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert found.cause in ("unknown", "warning")
    assert "without a log of it" not in found.summary


def test_what_a_message_says_comes_first(tmp_path: Path) -> None:
    text = "I think it was killed.\nOut of memory: Killed process 4123 (ray::train) total-vm:9kB, anon-rss:8kB, file-rss:0kB\nThe worker was killed by the Linux OOM killer."
    found = explain(text, tmp_path)
    assert [victim.pid for victim in found.victims] == [4123]
    assert "without a log of it" not in found.summary


def test_beside_a_warning(tmp_path: Path) -> None:
    text = "We start Ray, and the dashboard agent is killed by oom.\n(raylet) Spilled 2067 MiB, 8 objects, write throughput 43 MiB/s."
    found = explain(text, tmp_path)
    assert "the dashboard agent is killed by oom" in found.summary.splitlines()[0]
    assert "2067 MiB" in found.summary
    assert "does not say that anything was killed" not in found.summary


def test_reasons_in_other_languages(tmp_path: Path) -> None:
    """ "The text does not say whether memory was the reason" would be false."""
    found = explain("训练时出现exits with return code = -9，CPU内存（252G）占满", tmp_path)
    assert "no log here shows whether memory was the reason" in found.summary
    assert "252G" in found.summary


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I start it, memory grows, and it is killed after a while.", "memory grows, and it is killed"),
        ("zsh: killed     python3 train.py\nI read that this is related to 'memory'.", "related to 'memory'"),
    ],
)
def test_an_end_and_memory_in_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert said in found.summary
    assert "the text does not say whether memory was the reason" not in found.summary


def test_errors_whose_names_say_all(tmp_path: Path) -> None:
    text = "I am seeing `MemoryError` exceptions on random lines. It fails to allocate 22 MiB of memory."
    found = explain(text, tmp_path)
    assert found.cause == "memory_error"
    assert "22 MiB" in found.summary
    for other in (
        "I catch `MemoryError` exceptions there.",
        "I would get `MemoryError` exceptions.",
        "See `MemoryError`.",
    ):
        assert explain(other, tmp_path).cause == "unknown"


def test_a_field_s_name_is_no_end(tmp_path: Path) -> None:
    text = "We can query the OOMKilled parameter of docker.\n`bash: line 1: 7 Killed ( python train.py --max_steps=2 ) > stdout`"
    found = explain(text, tmp_path)
    assert found.cause == "sigkill"
    assert [(victim.name, victim.pid) for victim in found.victims] == [("python", 7)]


def test_an_executor_beside_a_java_error(tmp_path: Path) -> None:
    text = "ERROR YarnScheduler: Lost executor 6 on host7: Executor heartbeat timed out after 178850 ms\njava.lang.OutOfMemoryError: GC overhead limit exceeded"
    found = explain(text, tmp_path)
    assert found.cause == "memory_error"
    assert "Spark lost its executor 6 on host7 (Executor heartbeat timed out after 178850 ms)." in found.summary


def test_a_word_after_describe_is_no_pod(tmp_path: Path) -> None:
    text = "Running kubectl describe pod gives you this:\nReason: Evicted\nMessage: The node was low on resource: memory. Threshold quantity: 100Mi, available: 95Mi."
    assert "the pod gives" not in explain(text, tmp_path).summary


def test_the_pod_of_an_event(tmp_path: Path) -> None:
    text = "Level:Warning \\nKind:Pod \\nNamespace:ml \\nName:train-78687dd59f-8w42g.17a71c191e6304ea \\nReason:BackOff\n    Last State:     Terminated\n      Reason:       OOMKilled\n      Exit Code:    1"
    assert "the pod train-78687dd59f-8w42g." in explain(text, tmp_path).summary


@pytest.mark.parametrize(
    "piece",
    [
        'I get "',
        "I saw `",
        "my log shows _a ",
        "the kernel killed ",
        "was killed by oom ",
        "The pod is killed by ",
        "Kind:Pod Name:a",
    ],
)
def test_no_sentence_makes_it_slow(piece: str) -> None:
    text = piece * (49_000 // len(piece))
    start = time.process_time()
    parse(text)
    assert time.process_time() - start < 3
