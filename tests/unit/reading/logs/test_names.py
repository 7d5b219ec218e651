# ruff: noqa: E501 (messages are as long as they are)
"""What a text names beside what is understood: processes, nodes, pods, jobs and ids, however they are written."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.reading.logs.names import names
from tests.texts.texts_of_users import ACTOR, NODE, TASK, WORKER


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("worker pid=1234 left", "process", "1234"),
        ("python (pid 1) left", "process", "1"),
        ("python (PID: 1234) left", "process", "1234"),
        ('{"name": "train", "pid": 1234, "level": "ERROR"}', "process", "1234"),
        ('{"_PID": "1234", "MESSAGE": "killed"}', "process", "1234"),
        ("main:\n  pid: 1234\n  state: dead", "process", "1234"),
        ("process ID 1234 left", "process", "1234"),
        ('{\\"pid\\": \\"1234\\"}', "process", "1234"),
        ("on node 10.20.30.40, it", "node", "10.20.30.40"),
        ("(train, ip=10.20.30.40)", "node", "10.20.30.40"),
        ("`ray logs raylet.out -ip 10.20.30.40`", "node", "10.20.30.40"),
        ('"hostIP": "10.20.30.40"', "node", "10.20.30.40"),
        ("hostname: gpu-node-7", "node", "gpu-node-7"),
        ('"_HOSTNAME": "gpu-node-7"', "node", "gpu-node-7"),
        ("nodeName=gpu-node-7 ", "node", "gpu-node-7"),
        (f"Node ID: {NODE}", "node", NODE),
        (f'"node_id": "{NODE}"', "node", NODE),
        (f"while executing task {TASK}.", "task", TASK),
        (f"actor_id={ACTOR})", "actor", ACTOR),
        (f"Worker ID: {WORKER} Node", "worker", WORKER),
        ("pod/train-worker-0   Evicted", "pod", "train-worker-0"),
        ("the pod train-7d4f9c-x2x9q restarted", "pod", "train-7d4f9c-x2x9q"),
        ("python cpuset=0123456789abcdef0123456789abcdef mems_allowed=0", "container", "0123456789ab"),
        ("containerID: docker://0123456789abcdef0123", "container", "0123456789ab"),
        ("slurm job 4711 ended", "job", "4711"),
        ("JobId=4711 State=FAILED", "job", "4711"),
        ("Trial PPO_CartPole-v1_1a2b3_00000: Error", "trial", "PPO_CartPole-v1_1a2b3_00000"),
        ("Replica(id='x', deployment='Summarizer')", "deployment", "Summarizer"),
    ],
)
def test_all_usual_ways_of_writing(text: str, kind: str, value: str) -> None:
    assert (kind, value) in [(name.kind, name.value) for name in names(text)]


@pytest.mark.parametrize(
    "text",
    [
        "pid=12\n34 left",
        "pid 12…",
        "pid=1234567.8",
        "pid 1,234",
        "see ip 127.0.0.1 and host 0.0.0.0",
        "a 10.20.30.40 alone",
        "node_id: abcd",
        "the pod restarted",
        "job 12.5% done, job done",
        f"NIL {'f' * 48}",
        f"task_id={'f' * 48}",
        "PID\tMEM(GB)\tCOMMAND\n7\t1.0\tpython",
    ],
)
def test_what_is_cut_or_local_is_no_name(text: str) -> None:
    assert names(text) == ()


def test_what_is_not_said_is_named(tmp_path: Path) -> None:
    text = (
        "Jan  2 03:04:05 gpu-node-7 kernel: train invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n"
        "Jan  2 03:04:05 gpu-node-7 kernel: train cpuset=0123456789abcdef0123456789abcdef mems_allowed=0\n"
        "Jan  2 03:04:05 gpu-node-7 kernel: CPU: 3 PID: 4123 Comm: train Not tainted 5.15.0-91-generic #101-Ubuntu\n"
    )
    found = explain(text, tmp_path)
    assert found.summary.splitlines()[-1] == (
        "The text also names the process 4123 (train) and the container 0123456789ab."
    )
    assert found.victims == ()


def test_what_is_said_is_not_named_again(tmp_path: Path) -> None:
    text = (
        f"Memory on the node (IP: 10.20.30.40, ID: {NODE}) where the task (task ID: {TASK}, name=load, pid=4123, memory "
        f"used=1.20GB) was running was 30.10GB / 31.00GB (0.970968), which exceeds the memory usage threshold of 0.95. "
        f"Ray killed this worker (ID: {WORKER}) because it was the most recently scheduled task; to see more information "
        "about memory usage on this node, use `ray logs raylet.out -ip 10.20.30.40`."
    )
    assert "also names" not in explain(text, tmp_path).summary


def test_a_list_names_none(tmp_path: Path) -> None:
    text = "slurmstepd: error: Detected 1 oom_kill event in StepId=113.0.\n" + "\n".join(
        f"pid {n}" for n in range(10, 20)
    )
    assert "also names the process" not in explain(text, tmp_path).summary


@pytest.mark.parametrize(
    "piece", ["pid: ", 'pid="', "node node ", "pod/a-", "deployment='a", "f" * 32, "Trial a_", "host="]
)
def test_no_name_makes_it_slow(piece: str) -> None:
    start = time.process_time()
    names(piece * (49_000 // len(piece)))
    assert time.process_time() - start < 3
