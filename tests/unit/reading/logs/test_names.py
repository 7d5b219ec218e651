# ruff: noqa: E501 (messages are as long as they are)
"""What a text names beside what is understood: processes, nodes, pods, jobs and ids, however they are written."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.diagnosis.explain.named import also_named
from raymemprof.reading.logs.messages import parse
from raymemprof.reading.logs.names import Name, names
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
        "(Worker pid=30417, ip=10.20.30.40) epoch:  12%|###   | 1/900",
        "PID is 5 digits",
        "Process ID 3 GB",
        "pid: 32768 (kernel.pid_max)",
        "node: 18.17.0",
        "node=v18.12.1",
        "node: 20.11.0-alpine3.19",
        "host: smtp.gmail.com",
        "node=os.environ['NODE_1']",
        "host=args.host",
        "host=self.host_1(a)",
        "kubectl get pods/exec",
        "kubectl apply -f pods/foo-1.yaml",
        "pod: evicted",
        "The job 120 GB",
        "Job 2023",
        "The job 120000 rows",
        "IP 10.0.0.0/8",
        "worker 999.999.999.999",
    ],
)
def test_what_is_cut_or_local_is_no_name(text: str) -> None:
    assert names(text) == ()


def test_a_process_has_no_name_where_several_have_its_number() -> None:
    text = "(A pid=5) a\n(B pid=5, ip=10.20.30.40) b\n(C pid=6) c"
    assert [(one.value, one.called) for one in names(text) if one.kind == "process"] == [("5", None), ("6", "C")]


def test_a_longer_name_does_not_hide_a_shorter_one(tmp_path: Path) -> None:
    text = "slurmstepd: error: Detected 1 oom_kill event in StepId=113.0. It ran on node: {}, and node: {}, too."
    summary = explain(text.format("ray-head-12", "ray-head-1"), tmp_path).summary
    assert "nodes ray-head-12 and ray-head-1." in summary
    found = replace(parse(text.format("ray-head-1", "ray-head-1")), node_ip=None)
    assert "ray-head-1" in str(also_named(found, ["It was on ray-head-12."]))
    assert "ray-head-1" not in str(also_named(found, ["It was on ray-head-1.local."]))


def test_a_step_is_no_job() -> None:
    assert names("oom_kill event in StepId=20417733.batch cgroup") == (Name("step", "20417733.batch"),)


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
