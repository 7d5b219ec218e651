"""What happened on several nodes, or to several victims, in one text: each is told with its own node and figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from raymemprof import explain
from tests.programs.grounded import invented

IDS = [digits * 28 for digits in ("1a", "9f", "ab", "ef")]
TASKS = [f"{digits * 8}{'f' * 24}01000000" for digits in ("16", "c8")]
NODES = ["10.0.0.5", "10.0.0.6"]
ONE = (
    "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.\nMemory on the node (IP: "
    "{ip}, ID: {node}) where the task (task ID: {task}, name={name}, pid=4242, memory used={held}GB) was running was "
    "{used}GB / 61.79GB (0.956789), which exceeds the memory usage threshold of 0.95. Ray killed this worker (ID: "
    "{worker}) because it was the most recently scheduled task; to see more information about memory usage on this "
    "node, use `ray logs raylet.out -ip {ip}`. Top 10 memory users:\nPID\tMEM(GB)\tCOMMAND\n4242\t{held}\tray::{name}\n"
)
OF_RAY_2_0 = (
    "(raylet, ip={ip}) [2022-08-20 10:11:12,000 E 9 9] node_manager.cc:2948: System memory low at node with IP {ip}. "
    "Used memory ({used}GB) / total capacity (61.79GB) (0.955) exceeds threshold 0.95, killing latest task with name "
    "{name} and task ID {task} to avoid running out of memory.\n"
)
OF_RAY_2_60 = (
    "Task {name} failed due to oom. There are 2 oom retries remaining, so the task will be retried. Error: 1 worker(s) "
    "were killed due to the node running low on memory. Memory on the node (IP: {ip}, ID: {node}) was {used}GB / "
    "61.79GB (0.950000)\nOOM kill reason: Memory usage {exact}B exceeded threshold of 63029181940B (95.0% of "
    "66346507305B limit)\nRay killed 1 worker(s) based on the killing policy\nConsidered workers: [\nSelected to kill: "
    "(Task: job ID=01000000, lease ID={worker}, task name={name}, required resources={{CPU: 1}}, pid=4242, actual "
    "memory used={held}GB, worker ID={worker})\n]\nTotal non-selected idle workers: 2\n"
)


def on_two_nodes(form: str) -> str:
    names, held, used = ("load_shard", "merge"), ("21.30", "33.10"), ("59.12", "60.02")
    return "\n".join(
        form.format(
            ip=NODES[n],
            node=IDS[n],
            task=TASKS[n],
            name=names[n],
            held=held[n],
            used=used[n],
            exact=round(float(used[n]) * 2**30),
            worker=IDS[2 + n],
        )
        for n in range(2)
    )


@pytest.mark.parametrize("form", [ONE, OF_RAY_2_0, OF_RAY_2_60], ids=["2.40", "2.0", "2.60"])
def test_two_kills_of_ray_s_monitor(form: str, tmp_path: Path) -> None:
    text = on_two_nodes(form)
    found = explain(text, tmp_path)
    assert (found.cause, found.node_ip, found.node_id, found.used) == ("ray_memory_monitor", None, None, None)
    assert {one.name for one in found.victims} == {"load_shard", "merge"}
    assert {one.pid for one in found.victims} == {None if form is OF_RAY_2_0 else 4242}
    lines = found.summary.splitlines()
    assert lines[0].endswith("on the nodes 10.0.0.5 and 10.0.0.6, because the nodes ran low on memory.")
    pid = "" if form is OF_RAY_2_0 else " (pid 4242)"
    above = "(Ray kills above 58.7 GiB)"
    assert f"On node 10.0.0.5: load_shard{pid}, when 59.1 GiB of 61.8 GiB were used {above}." in lines
    assert f"On node 10.0.0.6: merge{pid}, when 60.0 GiB of 61.8 GiB were used {above}." in lines
    assert invented(found, text) == []


def test_summaries_of_two_raylets(tmp_path: Path) -> None:
    text = "".join(
        f"(raylet, ip={ip}) [2024-03-12 08:15:42,913 E 1 1] (raylet) node_manager.cc:3022: 1 Workers (tasks / actors) "
        f"killed due to memory pressure (OOM), 0 Workers crashed due to other reasons at node (ID: {node}, IP: {ip}) "
        "over the last time period.\n"
        for ip, node in zip(NODES, IDS, strict=False)
    )
    first = explain(text, tmp_path).summary.splitlines()[0]
    assert "killed 2 workers on the nodes 10.0.0.5 and 10.0.0.6" in first


def test_two_ranks_on_two_gpus(tmp_path: Path) -> None:
    text = "".join(
        f"[rank{gpu}]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.95 GiB. GPU {gpu} has a total "
        f"capacity of 79.10 GiB of which 1.2{gpu} GiB is free. Process 8812{gpu} has 77.88 GiB memory in use.\n"
        for gpu in (3, 5, 5)
    )
    found = explain(text, tmp_path)
    assert "failed on GPU 3, which has 79.10 GiB (1.23 GiB free)" in found.summary
    other = "An allocation of 1.95 GiB failed on GPU 5, too, which has 79.10 GiB (1.25 GiB free)."
    assert found.summary.count(other) == 1


def test_two_pods_that_were_evicted(tmp_path: Path) -> None:
    text = "".join(
        f"5m   Warning   Evicted   pod/rc-worker-x{n}   The node was low on resource: memory. Threshold quantity: "
        f"100Mi, available: 8{n}Mi. Container ray-worker was using 5{n}Gi, request is 8Gi, has larger consumption of "
        "memory.\n"
        for n in (1, 2)
    )
    lines = explain(text, tmp_path).summary.splitlines()
    for n in (1, 2):
        said = f"8{n}Mi was available; the container ray-worker was using 5{n}Gi and had requested 8Gi."
        assert f"When rc-worker-x{n} was evicted: {said}" in lines


def test_two_actors_with_one_pid_on_two_nodes(tmp_path: Path) -> None:
    text = "".join(
        "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n\tclass_name: "
        f"RayTrainWorker\n\tactor_id: {digits * 16}\n\tpid: 2201\n\tnamespace: train\n\tip: {ip}\nThe actor is dead "
        "because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly "
        "exits with a connection error code 2. End of file.\n"
        for digits, ip in zip(("63", "7b"), NODES, strict=True)
    )
    found = explain(text, tmp_path)
    assert [(one.name, one.pid, one.actor_id) for one in found.victims] == [
        ("RayTrainWorker", 2201, "63" * 16),
        ("RayTrainWorker", 2201, "7b" * 16),
    ]
    assert "on the nodes 10.0.0.5 and 10.0.0.6" in found.summary.splitlines()[0]


def test_slurm_s_tasks_on_two_nodes(tmp_path: Path) -> None:
    text = (
        "slurmstepd: error: Detected 2 oom_kill events in StepId=778812.0. Some of the step tasks have been OOM "
        "Killed.\n"
        "srun: error: cn0412: task 3: Out Of Memory\nsrun: error: cn0413: task 7: Out Of Memory\n"
    )
    found = explain(text, tmp_path)
    assert found.cause == "slurm_limit"
    assert "task 3 on cn0412 and task 7 on cn0413" in found.summary
