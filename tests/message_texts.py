# ruff: noqa: E501 (messages are as long as they are)
"""Texts of our own of each kind of message, in the formats of those who print them, with what stands in each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NODE, WORKER = "ab12" * 14, "cd34" * 14
TASK, ACTOR = "5e6f" * 12, "7a8b" * 8
LEASE = "0f" * 28
GIB = 2**30
DOCS = "Refer to the documentation on how to address the out of memory issue: https://docs.ray.io/en/latest/x.html."
TOP_ROWS = (
    (16781, "7.25", "ray::shuffle_partition"),
    (902, "0.31", "/opt/venv/bin/python -u /opt/venv/lib/dashboard.py"),
)
TOP = "PID\tMEM(GB)\tCOMMAND\n" + "\n".join("\t".join(map(str, row)) for row in TOP_ROWS)


def gib(figure: str) -> int:
    """Ray writes GB and means GiB."""
    return round(float(figure) * GIB)


@dataclass(frozen=True)
class Text:
    """A message and what stands in it; `victims` are (name, task, actor, worker, pid, bytes)."""

    text: str
    cause: str
    victims: tuple[tuple[Any, ...], ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    top: tuple[tuple[int, str, str], ...] = ()
    says: tuple[str, ...] = ()
    """Words that the explanation has."""


def _one_killed(who: str, tail: str = "") -> str:
    return (
        "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.\n"
        f"Memory on the node (IP: 10.20.30.40, ID: {NODE}) where the {who}was running was 30.11GB / 31.50GB "
        f"(0.955873), which exceeds the memory usage threshold of 0.95. Ray killed this worker (ID: {WORKER}) because it "
        "was the most recently scheduled task; to see more information about memory usage on this node, use `ray logs "
        f"raylet.out -ip 10.20.30.40`.{tail}"
    )


ONE_NODE = {"node_ip": "10.20.30.40", "node_id": NODE, "used": gib("30.11"), "limit": gib("31.50")}
ONE_NODE |= {"threshold": round(0.95 * gib("31.50"))}
SELECTED = (
    f"Selected to kill: (Task: job ID=01000000, lease ID={LEASE}, task name=shuffle_partition, required resources="
    f"{{memory: 1.07374e+09, CPU: 1}}, pid=16781, actual memory used=7.25GB, worker ID={WORKER})\n"
    f"(Actor({ACTOR}): job ID=01000000, lease ID={LEASE}, task name=Store.get, required resources={{}}, pid=16790, actual "
    f"memory used=1.50GB, worker ID={NODE})\n"
)


def _several(why: str) -> str:
    return (
        "1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.20.30.40, ID: "
        f"{NODE}) was 30.11GB used / 31.50GB limit (0.955873)\nOOM kill reason: {why}\n"
        f"Ray killed 1 worker(s) based on the killing policy\nConsidered workers: [\n{SELECTED}]\n"
        "Total non-selected idle workers: 2\nTotal non-selected idle workers USS bytes: 0.12GB\n"
        f"Top 10 memory users: {TOP}\n{DOCS}"
    )


KILLED = ("shuffle_partition", None, None, WORKER, 16781, gib("7.25"))
TEXTS = {
    "ray 0.6": Text(
        "ray.memory_monitor.RayOutOfMemoryError: More than 95% of the memory on node gpu-box-3 is used (29.1 / 30.57 GB). "
        "The top 5 memory consumers are:\n\nPID\tMEM\tCOMMAND\n16781\t7.25GB\tray_Worker:rollout()\n902\t0.31GB\t/usr/bin/x",
        "ray_memory_monitor",
        figures={"used": gib("29.1"), "limit": gib("30.57"), "threshold": round(0.95 * gib("30.57"))},
        top=((16781, "7.25", "ray_Worker:rollout()"), (902, "0.31", "/usr/bin/x")),
        says=("gpu-box-3", "killed nothing"),
    ),
    "ray 1.x": Text(
        "ray._private.memory_monitor.RayOutOfMemoryError: More than 95% of the memory on node n1 is used (29.1 / 30.57 GB)."
        " The top 10 memory consumers are:\n\nPID\tMEM\tCOMMAND\n16781\t7.25GiB\tray::rollout()\n902\t0.31GiB\t/usr/bin/x",
        "ray_memory_monitor",
        figures={"used": gib("29.1"), "limit": gib("30.57"), "threshold": round(0.95 * gib("30.57"))},
        top=((16781, "7.25", "ray::rollout()"), (902, "0.31", "/usr/bin/x")),
        says=("n1",),
    ),
    "ray 2.0": Text(
        "System memory low at node with IP 10.20.30.40. Used memory (30.11GB) / total capacity (31.50GB) (0.955873) exceeds "
        f"threshold 0.95, killing latest task with name shuffle_partition and task ID {TASK} to avoid running out of memory.",
        "ray_memory_monitor",
        victims=(("shuffle_partition", TASK, None, None, None, None),),
        figures={k: v for k, v in ONE_NODE.items() if k != "node_id"},
    ),
    "ray 2.1": Text(_one_killed("task "), "ray_memory_monitor", ((None, None, None, WORKER, None, None),), ONE_NODE),
    "ray 2.2": Text(
        _one_killed(
            f"task (task ID: {TASK}, name=shuffle_partition, pid=16781, memory used=7.25GB) ",
            f" Top 10 memory users:\n{TOP}\n{DOCS}",
        ),
        "ray_memory_monitor",
        (("shuffle_partition", TASK, None, WORKER, 16781, gib("7.25")),),
        ONE_NODE,
        TOP_ROWS,
    ),
    "ray 2.40, actor": Text(
        _one_killed(
            f"task (actor ID: {ACTOR}, name=Store.__init__, pid=16781, memory used=7.25GB) ",
            f" Top 10 memory users:\n{TOP}\n{DOCS}",
        ),
        "ray_memory_monitor",
        (("Store.__init__", None, ACTOR, WORKER, 16781, gib("7.25")),),
        ONE_NODE,
        TOP_ROWS,
    ),
    "ray 2.50": Text(
        _one_killed(
            f"lease (actor ID: NIL_IDlease ID: {LEASE}, name=shuffle_partition, pid=16781, memory used=7.25GB) ",
            f" Top 10 memory users:\n{TOP}\n{DOCS}",
        ),
        "ray_memory_monitor",
        (KILLED,),
        ONE_NODE,
        TOP_ROWS,
    ),
    "ray 2.60": Text(
        _several("Memory usage 32332505088B exceeded threshold of 32131776512B (95.6% of 33822867456B limit)"),
        "ray_memory_monitor",
        (KILLED,),
        {
            "node_ip": "10.20.30.40",
            "node_id": NODE,
            "used": 32332505088,
            "limit": 33822867456,
            "threshold": 32131776512,
        },
        TOP_ROWS,
    ),
    "ray 2.60, resource isolation": Text(
        _several("user cgroup memory upper bound was met or exceeded"),
        "ray_memory_monitor",
        (KILLED,),
        {k: v for k, v in ONE_NODE.items() if k != "threshold"},
        TOP_ROWS,
        says=("user cgroup memory upper bound was met or exceeded",),
    ),
    "ray's summary": Text(
        "[2026-04-09 07:23:59,445 E 395 395] (raylet) node_manager.cc:3049: 3 Workers (tasks / actors) killed due to memory "
        f"pressure (OOM), 1 Workers crashed due to other reasons at node (ID: {NODE}, IP: 10.20.30.40) over the last time "
        "period. To see more information about the Workers killed on this node, use `ray logs raylet.out -ip 10.20.30.40`",
        "ray_memory_monitor",
        figures={"node_ip": "10.20.30.40", "node_id": NODE},
        says=("3 workers",),
    ),
    "kernel": Text(
        "Out of memory: Killed process 4123 (ray::WorkerDict) total-vm:91234567kB, anon-rss:29876543kB, file-rss:1234kB, "
        "shmem-rss:0kB, UID:1000 pgtables:60000kB oom_score_adj:1000",
        "kernel_oom",
        (("ray::WorkerDict", None, None, None, 4123, 29876543 * 1024),),
    ),
    "kernel, two lines": Text(
        "Out of memory: Kill process 4123 (ray::WorkerDict) score 912 or sacrifice child\n"
        "Killed process 4123 (ray::WorkerDict) total-vm:91234567kB, anon-rss:29876543kB, file-rss:0kB",
        "kernel_oom",
        (("ray::WorkerDict", None, None, None, 4123, 29876543 * 1024),),
    ),
    "kernel, memcg": Text(
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=cri-containerd-1.scope,mems_allowed=0,oom_memcg="
        "/kubepods.slice/a,task_memcg=/kubepods.slice/a/b,task=ray::train,pid=4123,uid=1000",
        "kernel_oom",
        (("ray::train", None, None, None, 4123, None),),
        says=("memory cgroup",),
    ),
    "systemd-oomd": Text(
        "systemd-oomd[678]: Killed /user.slice/user-1000.slice/session-2.scope due to memory pressure for "
        "/user.slice/user-1000.slice being 65.43% > 50.00% for > 20s with reclaim activity",
        "systemd_oomd",
        says=("/user.slice/user-1000.slice/session-2.scope", "65.43%"),
    ),
    "earlyoom": Text(
        'earlyoom[812]: sending SIGTERM to process 4123 uid 1000 "ray::train": oom_score 912, VmRSS 8123 MiB, cmdline "x"',
        "earlyoom",
        (("ray::train", None, None, None, 4123, 8123 * 2**20),),
    ),
    "kubectl describe": Text(
        "Name:             rc-worker-small-abcde\nNamespace:        default\nIP:               10.244.0.9\nContainers:\n"
        "  ray-worker:\n    State:          Running\n    Last State:     Terminated\n      Reason:       OOMKilled\n"
        "      Exit Code:    137\n    Limits:\n      cpu:     4\n      memory:  8Gi\n",
        "container_limit",
        figures={"node_ip": "10.244.0.9", "limit": 8 * GIB},
        says=("rc-worker-small-abcde",),
    ),
    "kubernetes yaml": Text(
        "  lastState:\n    terminated:\n      exitCode: 137\n      reason: OOMKilled\n  name: ray-worker",
        "container_limit",
    ),
    "slurm": Text(
        "slurmstepd: error: Detected 1 oom_kill event in StepId=113.0. Some of the step tasks have been OOM Killed.",
        "slurm_limit",
        says=("113.0",),
    ),
    "slurm, older": Text(
        "slurmstepd: error: Job 41176 exceeded memory limit (3940736 > 2068480), being killed\n"
        "slurmstepd: error: Exceeded job memory limit",
        "slurm_limit",
        says=("41176", "3940736 > 2068480"),
    ),
    "torch": Text(
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB of "
        "which 1.02 GiB is free.",
        "gpu_memory",
        says=("2.00 GiB", "GPU"),
    ),
    "torch in a task": Text(
        "ray.exceptions.RayTaskError(OutOfMemoryError): ray::train() (pid=77, ip=10.0.0.1)\n"
        '  File "/app/train.py", line 12, in train\n    loss.backward()\n'
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "gpu_memory",
        says=("2.00 GiB",),
    ),
    "numpy": Text(
        "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB for an array with shape (1000000000,) and data "
        "type float64",
        "memory_error",
        says=("7.45 GiB",),
    ),
    "c++": Text(
        "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  St9bad_alloc", "memory_error"
    ),
    "sigbus": Text(
        "*** SIGBUS received at time=1719900000 on cpu 3 ***\nPC: @ 0x7f  (unknown)  memcpy",
        "bus_error",
        says=("/dev/shm",),
    ),
    "windows": Text(
        "OSError: [WinError 1455] The paging file is too small for this operation to complete. Error loading x.dll",
        "memory_error",
        says=("1455",),
    ),
    "raylet died": Text(
        "ray.exceptions.LocalRayletDiedError: The task's local raylet died. Check raylet.out for more information.",
        "node_died",
    ),
    "lost": Text(
        f"Failed to retrieve object {NODE}. \n\nAll copies of {NODE} have been lost due to node failure. Check cluster logs",
        "object_lost",
        says=(NODE,),
    ),
    "owner": Text(
        f"ray.exceptions.OwnerDiedError: Failed to retrieve object {NODE}.\n\nThe object's owner has exited. This is the "
        f"Python worker that first created the ObjectRef via `.remote()` or `ray.put()`.\n\nOwner worker ID: {WORKER}, owner "
        f"node ID: {NODE}, owner address: 10.20.30.40:10005.",
        "owner_died",
        figures={"node_id": NODE, "node_ip": "10.20.30.40"},
        says=(WORKER,),
    ),
    "not reconstructed": Text(
        "ray.exceptions.ObjectReconstructionFailedError: x\n\nThe object cannot be reconstructed because it was created by "
        "ray.put(), which has no task lineage. To prevent this error, return the value from a task instead.",
        "object_lost",
    ),
    "disk warning": Text(
        "/tmp/ray/session_2026-01-01_00-00-00_000000_1 is over 95% full, available space: 4.1 GB; capacity: 99.8 GB. Object "
        "creation will fail if spilling is required.",
        "warning",
        says=("95%", "4.1 GB", "/tmp/ray/session_2026-01-01"),
    ),
    "store full": Text(
        f"ray.exceptions.ObjectStoreFullError: Failed to put object {NODE} in object store because it is full. Object size is "
        "104857600 bytes.",
        "object_store_full",
        says=("104857600 bytes",),
    ),
    "ray data": Text(
        "Operator 'ReadParquet->MapBatches(decode)' uses 4.1GiB of memory per task on average, but Ray only requests 0.0B per "
        "task at the start of the pipeline.",
        "warning",
        says=("4.1GiB", "0.0B", "ReadParquet->MapBatches(decode)"),
    ),
    "system slice": Text(
        "System slice memory usage 3221225472 bytes has exceeded the reserved system memory of 2147483648 bytes. This can "
        "prevent Ray from being able to provide the proper protection to critical system processes",
        "warning",
        says=("3221225472", "2147483648"),
    ),
    "worker died": Text(
        f"Worker running the task ({TASK}) died with exit_type: SYSTEM_ERROR with error_message: Worker unexpectedly exits "
        "with a connection error code 2. End of file.",
        "unknown",
        ((None, TASK, None, None, None, None),),
    ),
    "actor died": Text(
        "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n\tclass_name: Store\n"
        f"\tactor_id: {ACTOR}\n\tpid: 16781\n\tnamespace: prod\n\tip: 10.20.30.40\nThe actor is dead because its worker "
        "process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection "
        "error code 2. End of file.",
        "unknown",
        (("Store", None, ACTOR, None, 16781, None),),
        {"node_ip": "10.20.30.40"},
    ),
}
