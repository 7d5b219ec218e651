# ruff: noqa: E501 (messages are as long as they are)
"""Texts of our own, in the formats of logs of older versions, and of lines that belong together."""

from __future__ import annotations

from tests.texts.message_text import Text

NODE, WORKER, TASK, ACTOR = "ab12" * 14, "cd34" * 14, "5e6f" * 12, "7a8b" * 8
GIB = 2**30
REFUSED = "ray.memory_monitor.RayOutOfMemoryError: More than 95% of the memory on node node7 is used (30.11 / 31.50 GB). The top 10 memory consumers are:\n\nPID\tMEM\tCOMMAND\n16781\t10.25GiB\tray::train()\n4410\t0.50GiB\tray::IDLE"
FIGURES = {
    "used": round(30.11 * GIB),
    "limit": round(31.5 * GIB),
    "threshold": round(0.95 * round(31.5 * GIB)),
    "node_ip": "10.20.30.40",
}
TOP = ((16781, "10.25", "ray::train()"), (4410, "0.50", "ray::IDLE"))

TEXTS: dict[str, Text] = {
    "ray 1, an actor's name with blanks": Text(
        f"ray::3/10 run 4 of study 7:Objective.__init__ (pid=4123, ip=10.20.30.40)\n{REFUSED}",
        "ray_memory_monitor",
        figures=FIGURES,
        top=TOP,
        says=("Ray did not run 3/10 run 4 of study 7:Objective.__init__ (pid 4123) on node node7",),
    ),
    "ray 0.8, a worker that runs nothing": Text(
        f"Possible unhandled error from worker: ray::IDLE (pid=4123, ip=10.20.30.40)\n{REFUSED}",
        "ray_memory_monitor",
        figures=FIGURES,
        top=TOP,
        says=("Ray did not run a task (pid 4123) on node node7",),
    ),
    "ray 2.0, a task without a name": Text(
        "System memory low at node with IP 10.20.30.40. Used memory (30.11GB) / total capacity (31.50GB) (0.955873) exceeds threshold 0.95, killing latest task with name  and task ID NIL_ID to avoid running out of memory.",
        "ray_memory_monitor",
        figures=FIGURES,
    ),
    "the object store's mapping": Text(
        "[2026-01-02 03:04:05,678 C 95 95] shared_memory.cc:33: mmap failed",
        "memory_error",
        says=("could not map the object store's shared memory",),
    ),
    "the kernel of centos 6": Text(
        "Killed process 16781, UID 500, (ray::train) total-vm:12907828kB, anon-rss:8388608kB, file-rss:768kB",
        "kernel_oom",
        victims=(("ray::train", None, None, None, 16781, 8 * GIB),),
    ),
    "systemd-oomd 249": Text(
        "systemd-oomd[34]: Memory pressure for /work.slice/a.slice is 64.15% > 1.00% for > 30s with reclaim activity\n"
        "systemd-oomd[34]: oomd attempting to kill 63 with KILL\n"
        "systemd-oomd[34]: oomd attempting to kill 66 with KILL\n"
        "systemd[1]: bloat.service: systemd-oomd killed 2 process(es) in this unit.",
        "systemd_oomd",
        says=("systemd-oomd killed 2 processes of bloat.service for memory.",),
    ),
    "a job, by whatever ended it": Text(
        "RetryJob: Job killed by HTCondor due to excessive memory use (RSS=2250 MB). Will not retry it.",
        "batch_limit",
        says=("HTCondor killed a job, because it used too much memory: 2250 MB",),
    ),
    "a job's own monitor": Text(
        "Job has exceeded maxRSS: 6041600",
        "batch_limit",
        says=("the limit of its RSS, 6041600",),
    ),
    "pytorch, a container that hides its processes": Text(
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.88 GiB. GPU 3 has a total capacity of 21.96 GiB of which 1.29 GiB is free. Including non-PyTorch memory, this process has 0 bytes memory in use. Of the allocated memory 19.02 GiB is allocated by PyTorch, and 1.32 GiB is reserved by PyTorch but unallocated.",
        "gpu_memory",
        says=("1.88 GiB failed on GPU 3, which has 21.96 GiB (1.29 GiB free).",),
    ),
    "pytorch, more than there is": Text(
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 74.16 GiB. GPU 0 has a total capacity of 44.40 GiB of which 29.89 GiB is free.",
        "gpu_memory",
        says=("more than the whole device has",),
    ),
    "jetsam, retold": Text(
        "macOS jetsam killed the server for system memory pressure",
        "kernel_oom",
        says=("macOS ended a process for lack of memory (jetsam)",),
    ),
    "a kubelet's thresholds": Text(
        "eviction_manager.go:288] eviction manager: node conditions - observed: [MemoryPressure]",
        "warning",
        says=("its kubelet evicts pods",),
    ),
    "spark's lost executor": Text(
        "ERROR cluster.YarnClusterScheduler: Lost executor 4 on ip-10-0-0-1.ec2.internal: remote Rpc client disassociated",
        "unknown",
        says=("Spark lost its executor 4 on ip-10-0-0-1.ec2.internal (remote Rpc client disassociated)",),
    ),
    "the kernel's table without its head": Text(
        "[70429.840733] [ 1074]     0  1074   140928     1084      58       3        0             0 lwsmd\n"
        "[70429.840734] [ 1099]     0  1099   231193      375      73       4        0             0 nginx\n"
        "[70429.840736] [ 1136]     0  1136     3985      414      13       3        0             0 agetty",
        "kernel_oom",
        top=((1074, 1084 * 4096, "lwsmd"), (1136, 414 * 4096, "agetty"), (1099, 375 * 4096, "nginx")),
        says=("does not say which process it killed",),
    ),
    "ray 0.6, a node": Text(
        f"The node with client ID {'0a1b' * 10} has been marked dead because the monitor has missed too many heartbeats from it.",
        "node_died",
        figures={"node_id": "0a1b" * 10},
    ),
    "postgres, a fork": Text(
        "LOG:  could not fork autovacuum worker process: Cannot allocate memory",
        "memory_error",
        says=("no memory for one more process",),
    ),
    "lmdeploy": Text(
        "[TM][ERROR] CUDA runtime error: out of memory",
        "gpu_memory",
        says=("CUDA out of memory",),
    ),
}
