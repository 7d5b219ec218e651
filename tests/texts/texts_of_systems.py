# ruff: noqa: E501 (messages are as long as they are)
"""Texts of what machines and clusters say: Kubernetes, Slurm, LSF, PBS, Flux, macOS, Spark, Google Cloud, daemons."""

from __future__ import annotations

from tests.texts.message_text import Text

GIB = 2**30

TEXTS: dict[str, Text] = {
    "evicted, described": Text(
        "Name:             rc-worker-small-abcde\nNamespace:        ml\nNode:             pool-a-17/10.20.30.41\n"
        "Labels:           ray.io/group=small\nStatus:           Failed\nReason:           Evicted\n"
        "Message:          The node was low on resource: memory. Threshold quantity: 1Gi, available: 990001Ki. \n"
        "IP:               10.244.0.9",
        "evicted",
        figures={"node_ip": "10.20.30.41"},
        says=("the pod rc-worker-small-abcde (by its name a Ray worker node)", "pool-a-17", "990001Ki", "is 1Gi"),
    ),
    "evicted, an event": Text(
        "4m11s  Warning  Evicted  pod/rc-head-x7k2p  The node was low on resource: memory. Container autoscaler was using "
        "28000Ki, which exceeds its request of 0. Container ray-head was using 5053000Ki, which exceeds its request of 2Gi. ",
        "evicted",
        says=(
            "the pod rc-head-x7k2p",
            "the containers ray-head was using 5053000Ki and had requested 2Gi and autoscaler was using 28000Ki and had requested 0",
        ),
    ),
    "evicted, at its start": Text(
        "Warning  Evicted  pod/train-9-kx2  The node had condition: [MemoryPressure]. ",
        "evicted",
        says=("did not let the pod train-9-kx2 run",),
    ),
    "a node under pressure": Text(
        "  MemoryPressure   True    Tue, 06 Jan 2026 09:44:34 +0100   Tue, 06 Jan 2026 04:54:21 +0100   "
        "KubeletHasInsufficientMemory   kubelet has insufficient memory available",
        "warning",
        says=("low on memory (MemoryPressure)",),
    ),
    "an event of a node under pressure": Text(
        "Warning  EvictionThresholdMet  3m  kubelet  Attempting to reclaim memory\n"
        "Normal  NodeHasInsufficientMemory  3m  kubelet  Node pool-a-17 status is now: NodeHasInsufficientMemory",
        "warning",
        says=("kubelet evicts pods",),
    ),
    "a kubelet under pressure": Text(
        'eviction_manager.go:387] "Eviction manager: must evict pod(s) to reclaim" resourceName="memory"',
        "warning",
        says=("kubelet evicts pods",),
    ),
    "a pod without a place": Text(
        "Warning  FailedScheduling  2m20s  default-scheduler  0/13 nodes are available: 4 Insufficient cpu, 9 Insufficient "
        "memory. preemption: 0/13 nodes are available: 13 No preemption victims found for incoming pod.",
        "warning",
        says=("no place for a pod: 9 of 13 nodes",),
    ),
    "docker inspect": Text(
        '        "Id": "3fa1b2c3d4e53fa1b2c3d4e53fa1b2c3d4e53fa1b2c3d4e53fa1b2c3d4e5abcd",\n        "State": {\n'
        '            "Status": "exited",\n            "OOMKilled": false,\n            "ExitCode": 137,',
        "sigkill",
        says=("the container 3fa1b2c3d4e5 ended", "OOMKilled is false"),
    ),
    "flyte": Text(
        "[1/1] currentAttempt done. Last Error: USER::Pod failed. No message received from kubernetes.\n"
        "[fa81c07735-n0-0] terminated with exit code (137). Reason [Error]. Message: ",
        "sigkill",
        says=("the container fa81c07735-n0-0",),
    ),
    "flux": Text(
        "29.475s: flux-shell[0]: ERROR: oom: Memory cgroup out of memory: killed 3 tasks on node-17.\n"
        "29.563s: flux-shell[0]: ERROR: oom: memory.peak = 1.5G",
        "batch_limit",
        figures={"used": round(1.5 * GIB)},
        says=("Flux on node-17", "counts 3", "1.5G"),
    ),
    "moab": Text(
        "job 4123 exceeded MEM usage hard limit (2817 > 1024)",
        "batch_limit",
        says=("job 4123", "2817 MB", "1024 MB"),
    ),
    "torque": Text(
        "PBS Job Id: 75730004.master\nJob Name:   sweep\nExec host:  node450/0-19\nAborted by PBS Server\n"
        "Job exceeded a memory resource limit (vmem, pvmem, etc.). Job was aborted\nSee Administrator for help\n"
        "Exit_status=-10\nresources_used.cput=00:17:35\nresources_used.vmem=286700000kb\nresources_used.mem=37290000kb",
        "batch_limit",
        says=("75730004.master", "node450/0-19", "37290000kb of memory and 286700000kb of virtual memory"),
    ),
    "pbs, one node of a job": Text(
        "Job 14350004.site-pbs has exceeded memory allocation on node cpu-0123",
        "batch_limit",
        says=("14350004.site-pbs", "cpu-0123"),
    ),
    "seff": Text(
        "Job ID: 55230\nCluster: c1\nUser/Group: u1/g1\nState: OUT_OF_MEMORY (exit code 0)\nNodes: 1\nCores per node: 4\n"
        "CPU Utilized: 00:32:11\nCPU Efficiency: 20.00% of 02:40:55 core-walltime\nJob Wall-clock time: 00:40:17\n"
        "Memory Utilized: 7.50 GB\nMemory Efficiency: 93.75% of 8.00 GB",
        "slurm_limit",
        figures={"used": round(7.5 * GIB), "limit": 8 * GIB},
        says=("The job 55230 used 7.50 GB at most, of 8.00 GB",),
    ),
    "seff, of several nodes": Text(
        "slurmstepd: error: Detected 1 oom_kill event in StepId=3814.batch. Some of the step tasks have been OOM Killed.\n"
        "Job ID: 3814\nState: OUT_OF_MEMORY (exit code 0)\nNodes: 5\nCores per node: 40\n"
        "Memory Utilized: 35.80 GB\nMemory Efficiency: 59.67% of 60.00 GB",
        "slurm_limit",
        says=("3814.batch", "The job used 35.80 GB at most, of 60.00 GB on 5 nodes"),
    ),
    "systemd-oomd, marked": Text(
        "systemd-oomd[659]: Marked /system.slice/ray.service for killing due to memory pressure for /system.slice being "
        "85.03% > 80.00% for > 2s with reclaim activity\n"
        "systemd[1]: ray.service: systemd-oomd killed 1 process(es) in this unit.",
        "systemd_oomd",
        says=("set out to kill all processes of /system.slice/ray.service", "85.03%", "80.00%"),
    ),
    "systemd-oomd, one process": Text(
        "systemd[1]: ray.service: systemd-oomd killed 1 process(es) in this unit.",
        "systemd_oomd",
        says=("killed a process of ray.service",),
    ),
    "systemd-oomd, before version 251": Text(
        "systemd-oomd[411]: Memory pressure for /user.slice/user-1000.slice/work.slice is 81.50% > 60.00% for > 30s with "
        "reclaim activity\n"
        "systemd-oomd[411]: oomd attempting to kill 22317 with KILL",
        "systemd_oomd",
        says=("22317", "/user.slice/user-1000.slice/work.slice", "81.50%", "60.00%"),
    ),
    "a container of ecs-cli ps": Text(
        "7c1e/counter-service  STOPPED ExitCode: 137 Reason: OutOfMemoryError: Container killed due to memory usage  "
        "10.0.3.7:80->80/tcp",
        "container_limit",
        says=("AWS", "counter-service of task 7c1e"),
    ),
    "earlyoom, older": Text(
        "mem avail:  1860 of 13855 MiB (13 %), swap free:    0 of    0 MiB ( 0 %)\n"
        "mem avail:  1520 of 13855 MiB (10 %), swap free:    0 of    0 MiB ( 0 %)\n"
        "low memory! at or below SIGTERM limits: mem 10 %, swap 10 %\n"
        'killing process 4123 "ray::train" with signal 15: badness 550, VmRSS 7609 MiB',
        "earlyoom",
        (("ray::train", None, None, None, 4123, 7609 * 2**20),),
        {"used": (13855 - 1520) * 2**20, "limit": 13855 * 2**20},
    ),
    "earlyoom, oldest": Text(
        "Low Memory! At or below sigterm limits (mem: 10 %, swap: 10 %)\n"
        "Killing process 'ray::fit_model' with signal 15, pid: 4123, badness: 538, VmRSS: 3160 MiB",
        "earlyoom",
        (("ray::fit_model", None, None, None, 4123, 3160 * 2**20),),
    ),
    "kernel, its table": Text(
        "Tasks state (memory values in pages):\n"
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n"
        "[   1717]     0  1717   543627     4691   376832     1240             0 ray::train",
        "kernel_oom",
        top=((1717, 4691 * 4096, "ray::train"),),
        says=("a part of its report",),
    ),
    "macos": Text(
        "2026-01-05 10:00 kernel: memorystatus: killing largest compressed process python3.11 [4123] 43350 MB",
        "kernel_oom",
        (("python3.11", None, None, None, 4123, 43350 * 2**20),),
        says=("compressed memory",),
    ),
    "macos, page shortage": Text(
        "kernel: memorystatus: killing_top_process pid 4123 [python3.11] (vm-pageshortage 2) 8579568KB - "
        "memorystatus_available_pages: 12011",
        "kernel_oom",
        (("python3.11", None, None, None, 4123, 8579568 * 1024),),
        says=("macOS was low on memory",),
    ),
    "vertex": Text(
        "The replica workerpool0-0 ran out-of-memory and exited with a non-zero status of 9(SIGKILL)",
        "container_limit",
        says=("the replica workerpool0-0", "status 9"),
    ),
    "vertex, several": Text(
        "Job failed with error: Replicas low on memory: workerpool0, workerpool1. To find out more about why your job exited",
        "container_limit",
        says=("workerpool0, workerpool1",),
    ),
    "databricks, a notebook": Text(
        "Fatal error: The Python kernel is unresponsive.\nThe Python process exited with exit code 137 (SIGKILL: Killed). "
        "This may have been caused by an OOM error. Check your command's memory usage.",
        "sigkill",
        says=("notebook's Python process", "at most its guess"),
    ),
    "databricks, the driver": Text(
        "com.databricks.backend.common.rpc.DriverStoppedException: Driver down cause: driver state change (exit code: 137)",
        "sigkill",
        says=("Spark's driver ended with exit code 137", "does not say whether memory"),
    ),
    "databricks, the driver restarts": Text(
        "The spark driver has stopped unexpectedly and is restarting. Your notebook will be automatically reattached.",
        "unknown",
        says=("Spark's driver stopped and is started again",),
    ),
    "spark on kubernetes": Text(
        "The executor with id 32 exited with exit code 137(SIGKILL, possible container OOM).",
        "sigkill",
        says=("executor 32 of Spark", "at most Spark's guess"),
    ),
    "spark on yarn": Text(
        "ExecutorLostFailure (executor 33 exited caused by one of the running tasks) Reason: Container from a bad node: "
        "container_1594_0002_01_000002 on host: ip-10-0-0-17.ec2.internal. Exit status: 137. Diagnostics: Killed",
        "sigkill",
        says=("container_1594_0002_01_000002", "ip-10-0-0-17.ec2.internal", "executor 33 of Spark"),
    ),
    "a rule of systemd-oomd's": Text(
        "Jan 02 03:04:05 node7 systemd-oomd[812]: Rule 'swap_full' conditions met for cgroup /user.slice/user-1000.slice (lasting 5s), taking action kill-by-pgscan\n"
        "Jan 02 03:04:05 node7 systemd-oomd[812]: Considered 7 cgroups for killing, top candidates were:\n"
        "Jan 02 03:04:05 node7 systemd-oomd[812]:         Path: /user.slice/user-1000.slice/train.service",
        "warning",
        says=("rule swap_full", "kill-by-pgscan", "does not say that anything was killed"),
    ),
    "a cgroup's event of Kubernetes": Text(
        "Warning  CgroupOOM  28s  kubelet  Cgroup OOM encountered, victim process: ray::train, pid: 4123",
        "kernel_oom",
        victims=(("ray::train", None, None, None, 4123, None),),
        says=("its memory cgroup",),
    ),
    "earlyoom, whom it did not end": Text(
        "mem avail:   554 of 7721 MiB ( 7.18%), swap free:    0 of 8191 MiB ( 0.00%)\n"
        "low memory! at or below SIGTERM limits: mem 10.00%, swap 10.00%\n"
        'sending SIGTERM to process 4123 uid 1000 "java": oom_score 1170, VmRSS 4568 MiB, cmdline "java"\n'
        "process 4123 did not exit\nkill failed: Timer expired",
        "earlyoom",
        figures={"used": (7721 - 554) * 2**20, "limit": 7721 * 2**20},
        says=("set out to end java (pid 4123), which had 4568 MiB", "it did not end"),
    ),
    "pbs, without units": Text(
        "=>> PBS: job killed: vmem 3372163072 exceeded limit 2147483648",
        "batch_limit",
        figures={"used": 3372163072, "limit": 2147483648},
        says=("3372163072, above 2147483648",),
    ),
    "grid engine's letter": Text(
        "Job 4123 (train.sh) Aborted\n Exit Status      = 137\n Signal           = KILL\n Max vmem         = 749.543G\n"
        "failed execd enforced h_vmem limit because:\njob 4123.1 died through signal KILL (9).",
        "batch_limit",
        says=("the job 4123", "749.543G of virtual memory"),
    ),
    "yarn's limit and an executor": Text(
        "ExecutorLostFailure (executor 33 exited caused by one of the running tasks) Reason: Container killed by YARN for "
        "exceeding memory limits. 20.0 GB of 20 GB physical memory used.",
        "container_limit",
        figures={"used": 20 * GIB, "limit": 20 * GIB},
        says=("20.0 GB of 20 GB",),
    ),
    "slurm, no cgroup": Text(
        "slurmstepd: error: xcgroup_instantiate: unable to create cgroup '/sys/fs/cgroup/memory/slurm/uid_1017' : Cannot allocate memory",
        "warning",
        says=("did not make a control group, /sys/fs/cgroup/memory/slurm/uid_1017",),
    ),
    "docker, no cgroup": Text(
        "OCI runtime create failed: runc create failed: unable to apply cgroup configuration: mkdir /sys/fs/cgroup/memory/docker/4f1c: cannot allocate memory: unknown",
        "warning",
        says=("did not make a control group, /sys/fs/cgroup/memory/docker/4f1c",),
    ),
    "slurm's accounts of a job without its number": Text(
        "<JOB>.batch  batch                 default          1  CANCELLED   0:15\n"
        "<JOB>.0      train                 default          4 OUT_OF_ME+  0:125\n"
        "<JOB>.1      train                 default          4 OUT_OF_ME+  0:125",
        "slurm_limit",
        says=("<JOB>.0", "<JOB>.1"),
    ),
    "several kills, the last cut": Text(
        "Memory cgroup out of memory: Killed process 4123 (python3) total-vm:120832kB, anon-rss:15596kB, file-rss:8924kB, shmem-rss:0kB, UID:0 pgtables:276kB oom_score_adj:-997\n"
        "Memory cgroup out of memory: Killed process 4124 (mount) total-vm:",
        "kernel_oom",
        victims=(
            ("python3", None, None, None, 4123, 15596 * 1024),
            ("mount", None, None, None, 4124, None),
        ),
    ),
}
