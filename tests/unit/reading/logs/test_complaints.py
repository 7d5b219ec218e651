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
    "text",
    [
        "My driver gets OOM after the third epoch.",
        "We run out of memory as soon as the second stage starts.",
        "I load 40 files, and the tasks eat all of the node's RAM.",
        "When I load the second shard, the job crashes with OOM.",
        "I see that my worker pod OOMs each hour.",
        "I find that Slurm kills my jobs, since they run out of memory.",
        "After the tasks ended, my workers' memory is not released.",
        "We see a memory leak in the proxy, which is killed after two days.",
        "We set num_cpus to 2 and our worker ran out of memory",
        "我在训练时遇到内存溢出，怎么办",
        "我这里显存不足",
    ],
)
def test_a_complaint_is_quoted(text: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert found.cause == "unknown"
    assert found.summary.splitlines() == [f"The text says of memory: “{text}”"]
    assert not found.victims


@pytest.mark.parametrize(
    ("text", "cause", "said"),
    [
        ("Our worker pod OOMed after an hour.", "container_limit", "a pod or a container ran out"),
        ("Slurm killed my job, which used more memory than 64 GB.", "slurm_limit", "Slurm ended a job"),
        ("I use 4 GPUs and got CUDA OOM", "gpu_memory", "a GPU's"),
        ("We saw SIGBUS in the third worker.", "bus_error", "SIGBUS"),
    ],
)
def test_a_complaint_of_one_s_own_has_a_cause(text: str, cause: str, said: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert found.cause == cause
    assert TOLD in found.summary
    assert said in found.summary
    assert not found.victims


@pytest.mark.parametrize(
    "text",
    [
        "I got CUDA OOM, it was a joke.",
        "My colleague got CUDA OOM in his notebook.",
        "Our tutorial explains why users got CUDA OOM.",
        "We had CUDA OOM errors zero times.",
        "I had CUDA OOM errors in 2019.",
        "We read that they got CUDA OOM.",
        "Our container OOMed in a test.",
        "Slurm killed my job at the time limit, memory was at 2 GB.",
    ],
)
def test_nothing_is_concluded_from_what_is_not_certain(text: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert found.cause == "unknown"
    assert TOLD not in found.summary


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
        "My job was cancelled by Slurm due to time limit, not memory.",
        "Slurm kills my job at the time limit, memory was at 2 GB only.",
        "My pod never OOMs.",
        "When the container gets OOMKilled, Kubernetes restarts it. We rely on that.",
        "Out of device memory is not my trouble.",
        "CUDA OOM cannot be. I checked.",
        "GPU memory out of memory alerts: none. We looked.",
        "I get SIGBUS never.",
        "I got the bus error ticket.",
        "For us memory does not leak, it is released.",
        "We increased memory in our cluster.",
        "We sell growing memory foam mattresses.",
        "Our memory use rose to 10% and went back to 2%.",
        "For us large memory usage is no problem.",
        "I have a memory leak detector.",
        "Nothing in our logs says the process ran out of memory.",
        "I doubt that my worker ran out of memory.",
        "Our node was not OOM killed, the pod was evicted for disk.",
        "I was told it ran out of memory, which I found to be wrong.",
        "ChatGPT told me that my worker ran out of memory.",
        "Suppose my node runs out of memory.",
        "I'd be surprised when my node ran out of memory.",
        "我没有遇到内存不足",
        "# Changelog\n\n- Improve error when GPU OOM occurs",
        "Fix: my worker is slow. Revert that the container OOMed in our CI",
        "# Why Ray is great\n\nOther engines run out of memory.",
        "# my worker ran out of memory here\nraise Foo()",
        "# We catch OOM errors\nx = 1",
    ],
)
def test_no_complaint(text: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert found.cause == "unknown"
    assert TOLD not in found.summary
    assert not found.summary.startswith("The text says of memory")


def test_no_half_of_a_mark_is_quoted(tmp_path: Path) -> None:
    summary = explain("**Cause** : my job ran out of memory in `docker run`", tmp_path).summary
    assert summary == "The text says of memory: “Cause : my job ran out of memory in docker run”"


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
