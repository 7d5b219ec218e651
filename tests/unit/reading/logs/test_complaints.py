# ruff: noqa: E501 (sentences are as long as they are)
"""What people complain of without a log: memory that did not suffice, or that grows."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.reading.logs.messages import parse

TOLD = "without a log of it"


@pytest.mark.parametrize(
    ("text", "cause", "said"),
    [
        ("My driver gets OOM after the third epoch.", "unknown", "memory did not suffice"),
        ("We run out of memory as soon as the second stage starts.", "unknown", "memory did not suffice"),
        ("# Shuffle leads to a memory overflow\n\nThe code is below.", "unknown", "memory did not suffice"),
        ("I load 40 files, and the tasks eat all of the node's RAM.", "unknown", "memory did not suffice"),
        ("When I load the second shard, the job crashes with OOM.", "unknown", "the job crashes with OOM"),
        (
            "I saw that my worker pod was not restarted after it was OOMed.",
            "container_limit",
            "a pod or a container ran out",
        ),
        ("I find that Slurm kills my jobs, since they use more memory than 64 GB.", "slurm_limit", "Slurm ended a job"),
        ("I get CUDA OOM in the second step.", "gpu_memory", "a GPU's"),
        (
            "# The GCS server's memory keeps growing\n\nIt has 12 GB by now.",
            "warning",
            "memory grows, stays in use, or",
        ),
        ("After the tasks ended, my workers' memory is not released.", "warning", "memory grows, stays in use, or"),
        ("We see a memory leak in the proxy, which is killed after two days.", "unknown", "memory did not suffice"),
        ("我在训练时遇到内存溢出，怎么办", "unknown", "memory did not suffice"),
    ],
)
def test_a_complaint(text: str, cause: str, said: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert found.cause == cause
    assert TOLD in found.summary
    assert said in found.summary
    assert not found.victims


@pytest.mark.parametrize(
    "text",
    [
        "How do I find out whether my job ran out of memory?",
        "I want Ray to retry a task that runs out of memory.",
        "We could run out of memory there.",
        "I set memory=4 GiB to avoid an OOM.",
        "It does not run out of memory, as my plot shows.",
        "I never got OOM with 2.9.",
        "Fix the memory leak of the proxy.",
        "The OOM killer ends a process that uses too much memory.",
        "My jobs end early. The oom_score_adj is 300, OOM: 0, oom_kill 0.",
        "In the documentation I read that a pod that uses too much memory gets OOM.",
        "My text has: There are some potential root causes. (1) The process is killed by SIGKILL by OOM killer due to high memory usage.",
    ],
)
def test_no_complaint(text: str, tmp_path: Path) -> None:
    assert TOLD not in explain(text, tmp_path).summary


def test_what_a_message_says_comes_first(tmp_path: Path) -> None:
    text = "I always run out of memory.\nslurmstepd: error: Detected 1 oom_kill event in StepId=113.0."
    found = explain(text, tmp_path)
    assert found.cause == "slurm_limit"
    assert TOLD not in found.summary.splitlines()[0]


@pytest.mark.parametrize(
    "piece", ["I get ", "my memory ", "we run out of ", "I eat all the ", "my pod ", "I see memory leak, "]
)
def test_no_complaint_makes_it_slow(piece: str) -> None:
    start = time.process_time()
    parse(piece * (49_000 // len(piece)))
    assert time.process_time() - start < 3
