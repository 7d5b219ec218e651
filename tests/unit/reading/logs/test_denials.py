# ruff: noqa: E501 (texts are as long as they are)
"""What a person says was not so, or is no longer, is not told as what happened, whatever it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.reading.logs.messages import parse
from raymemprof.reading.logs.text.denials import without_denials
from tests.texts.message_texts import TEXTS


@pytest.mark.parametrize(
    "text",
    [
        "It is not CUDA OOM, nvidia-smi shows 20 GB free.",
        "This is not a CUDA out of memory error; my loss is just NaN.",
        "No OOMKilled here, the pod just restarts.",
        "The bad_alloc went away after the upgrade to 2.9.",
        "std::bad_alloc went away after upgrade",
        "We used to get `terminate called after throwing an instance of 'std::bad_alloc'`, it went away after the upgrade.",
        "The pod was not evicted.",
        "not evicted",
        "It was not evicted: The node was low on resource: memory. is not in the events.",
        "I do not see 'CUDA out of memory' anywhere in the logs.",
        "We no longer get torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB since 2.10.",
        "There is no `Out of memory: Killed process 4123 (python)` in dmesg.",
        "dmesg does not show Out of memory: Killed process 4123 (python) total-vm:1kB",
        "Slurm did not report an oom_kill event: no `Detected 1 oom_kill event in StepId=113.0` in the log.",
        "I never saw slurmstepd: error: Detected 1 oom_kill event in StepId=113.0.",
        "Fixed in 2.9: `numpy.core._exceptions._ArrayMemoryError: Unable to allocate 2.00 GiB` no longer happens.",
        "The worker was not killed by the OOM killer.",
        "the container wasn't OOMKilled, docker inspect says so",
        'docker inspect: "OOMKilled": false, "ExitCode": 0',
        "We ruled out OOMKilled: the container has 64Gi and uses 2Gi.",
        "I checked, it isn't OOMKilled and there is no exit code 137.",
        "Not a bus error, not /dev/shm.",
        "It's not a MemoryError.",
        "no java.lang.OutOfMemoryError: Java heap space in the logs",
        "Neither `CUDA out of memory` nor `std::bad_alloc` was printed.",
        "That exit code 137 is gone since we raised the limit.",
        "Job exited with code 137 is no longer seen after we moved to 2.10.",
        "The OutOfMemoryError is solved. Thanks!",
        "Solved: CUDA out of memory. Tried to allocate 2.00 GiB was because another process held the GPU.",
        "It's not an OOM.",
        "There was no OOM kill, I checked dmesg.",
        "The pod has not been evicted.",
        "No eviction happened.",
        "We did not hit the memory limit of Slurm; scancel ended the job.",
        "exit code 137 is no longer reported since we moved to spot-less nodes",
        "The SIGBUS is gone since we mount a larger /dev/shm.",
        "bad_alloc went away after upgrade",
        "The `std::bad_alloc` went away when I upgraded Arrow.",
        "SIGKILL was ruled out.",
        "We can rule out exit code 137.",
        "This is not the kernel's OOM killer.",
        "The kernel's OOM killer did not kill it.",
        "It wasn't killed by the OOM killer",
        "the job was not killed by Slurm for memory",
        "Slurm did not kill the job for memory.",
        "no SIGBUS, no segfault, no exit code 137 - it just hangs",
        "MemoryError does not appear in the logs.",
        "The CUDA OOM disappeared after I set batch_size=8.",
        "I have never had torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. on this machine.",
        "Without the leak there is no java.lang.OutOfMemoryError: Java heap space any more.",
        "ObjectStoreFullError is fixed by the upgrade.",
        "not preempted: no `Spot interruption notice received for i-0abc`",
        "`The node was low on resource: memory` is not in the events",
        "Nobody sees CUDA out of memory here.",
        "The container was neither OOMKilled nor evicted.",
        "The GPU is not out of memory.",
        "It's not that the GPU ran out of memory; NCCL timed out.",
        "I thought it was OOMKilled, but it was not.",
        "Not OOMKilled. Not evicted. Exit code 1.",
        "systemd-oomd did not kill it.",
        "Ray did not kill any worker for memory.",
        "0 Workers (tasks / actors) killed due to memory pressure (OOM), so Ray is not the one.",
    ],
)
def test_what_is_denied_is_not_told(text: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert (found.cause, found.victims) == ("unknown", ())
    assert "killed" not in found.summary or "“" in found.summary


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (
            "gpu_memory",
            "I do not know why I get torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        ),
        ("gpu_memory", "Reducing the batch size does not help: CUDA out of memory. Tried to allocate 2.00 GiB."),
        ("gpu_memory", "No idea what to do. RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB."),
        ("gpu_memory", "It is not the first time that I see CUDA out of memory. Tried to allocate 2.00 GiB"),
        ("gpu_memory", "We did not change anything, but get CUDA out of memory. Tried to allocate 2.00 GiB"),
        (
            "gpu_memory",
            "gradient checkpointing does not prevent torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        ),
        (
            "gpu_memory",
            "The problem is not solved: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        ),
        (
            "gpu_memory",
            "I fixed the batch size at 32 and still get torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        ),
        (
            "gpu_memory",
            "This is not RAM, it is torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        ),
        (
            "gpu_memory",
            "CUDA out of memory. Tried to allocate 2.00 GiB. That is not possible, nvidia-smi shows 20 GiB free.",
        ),
        (
            "gpu_memory",
            "I am not able to train: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        ),
        ("sigkill", "It does not say anything but exit code 137."),
        ("sigkill", "There is no error, the job just ended with exit code 137."),
        ("sigkill", "The job did not finish: exit code 137."),
        ("sigkill", "I could not find out why it exited with code 137."),
        ("sigkill", "It never finishes. It always ends with exit code 137."),
        ("sigkill", "No OOMKilled in kubectl describe, only Exit Code: 137."),
        ("sigkill", "It is not evicted and not OOMKilled, the container exited with code 137."),
        ("sigkill", "Exit code 137 but memory was fine, liveness probe failed."),
        ("container_limit", "It is not CUDA OOM: kubectl says Reason: OOMKilled, Exit Code: 137."),
        ("container_limit", "I do not know why the pod rc-worker-a was OOMKilled."),
        ("container_limit", "Not the head but the worker pod was OOMKilled."),
        ("container_limit", "The pod was not evicted. It was OOMKilled: Reason: OOMKilled"),
        ("container_limit", "Our container was OOMKilled, which is not what we expected."),
        ("container_limit", "The container was OOMKilled although memory was never over 2Gi."),
        (
            "memory_error",
            "terminate called after throwing an instance of 'std::bad_alloc'. This does not happen with 1 worker.",
        ),
        (
            "memory_error",
            "It is not a leak. numpy.core._exceptions._ArrayMemoryError: Unable to allocate 2.00 GiB for an array",
        ),
        (
            "kernel_oom",
            "There was no message from Ray, but dmesg has: Out of memory: Killed process 4123 (python) total-vm:1kB, anon-rss:1kB",
        ),
        (
            "slurm_limit",
            "Slurm does not lie: slurmstepd: error: Detected 1 oom_kill event in StepId=113.0. Some of the step tasks have been OOM Killed.",
        ),
        (
            "evicted",
            "I did not evict it myself. The node was low on resource: memory. Threshold quantity: 100Mi, available: 51Mi.",
        ),
        (
            "ray_memory_monitor",
            "I don't see any CUDA OOM. ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.",
        ),
        (
            "memory_error",
            "We don't use a GPU. MemoryError: Unable to allocate 2.00 GiB for an array with shape (1,) and data type float64",
        ),
        (
            "bus_error",
            "It was not the kernel. RuntimeError: DataLoader worker (pid 4123) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory.",
        ),
    ],
)
def test_a_word_that_denies_something_else(cause: str, text: str) -> None:
    """What is not known, does not help, or was not the reason, happened all the same."""
    assert parse(text).cause == cause


@pytest.mark.parametrize("name", TEXTS)
def test_no_message_is_a_denial(name: str) -> None:
    assert without_denials(TEXTS[name].text) == TEXTS[name].text


@pytest.mark.parametrize(
    "text",
    [
        "Exit code 137 but memory was fine, liveness probe failed.",
        "My pod ended with exit code 137 but memory was fine: the liveness probe failed.",
        "I thought the pod was OOMKilled, but it was not.\n\nExit Code: 137\nReason: Error",
    ],
)
def test_that_memory_was_not_the_reason_is_quoted(text: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert found.cause == "sigkill"
    assert "the text does not say whether memory was the reason" not in found.summary
    assert f"The text also says: “{text.splitlines()[0]}”" in found.summary


def test_a_sentence_that_denies_a_part_is_quoted_whole(tmp_path: Path) -> None:
    text = "terminate called after throwing an instance of 'std::bad_alloc'\n\nWe had 300 GB of RAM free, and dmesg did not have any messages about the oom-killer."
    assert f"“{text.splitlines()[-1]}”" in explain(text, tmp_path).summary
    told = "It was not CUDA OOM, and yesterday the Linux OOM killer killed my driver."
    assert f"“{told}”" in explain(told, tmp_path).summary


def test_a_log_denies_nothing() -> None:
    line = "There is no OOM kill here\n"
    assert without_denials(line) == "There is \n"
    assert without_denials(line * 3_000) == line * 3_000
