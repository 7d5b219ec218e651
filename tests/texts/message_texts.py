# ruff: noqa: E501 (messages are as long as they are)
"""Texts of our own of each kind of message, in the formats of those who print them, with what stands in each."""

from __future__ import annotations

from tests.texts.message_text import Text
from tests.texts.texts_of_libraries import TEXTS as _MORE_OF_LIBRARIES
from tests.texts.texts_of_logs import TEXTS as _MORE_OF_LOGS
from tests.texts.texts_of_programs import TEXTS as _MORE_OF_PROGRAMS
from tests.texts.texts_of_ray import TEXTS as _MORE_OF_RAY
from tests.texts.texts_of_systems import TEXTS as _MORE_OF_SYSTEMS
from tests.texts.texts_of_users import TEXTS as _MORE_OF_USERS

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
        figures={"used": 29_100_000_000, "limit": 30_570_000_000, "threshold": round(0.95 * 30_570_000_000)},
        top=((16781, 7_250_000_000, "ray_Worker:rollout()"), (902, 310_000_000, "/usr/bin/x")),
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
    "after ray 2.60": Text(
        _several("Memory usage 32332505088B exceeded threshold of 32131776512B (95.6% of 33822867456B total)"),
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
    "ray's choice of an idle worker": Text(
        "[2026-04-09 07:23:59,445 W 395 395] (raylet) worker_killing_policy_by_time.cc:93: Cold start idle worker memory "
        "footprint exceeds idle worker killing memory threshold. Selecting idle worker to kill. PID: 16781, Memory used: "
        "2147483648 bytes, Idle worker killing memory threshold: 1073741824 bytes. Please consider reducing the idle worker "
        "memory footprint by reducing import or runtime environment sizes.",
        "ray_memory_monitor",
        ((None, None, None, None, 16781, 2 * GIB),),
    ),
    "ray's choice of an idle worker, by group": Text(
        "Selected a worker that doesn't have any lease granted and occupies large amount of memory to kill.  worker_id="
        f"{WORKER} worker_pid=16781 worker_used_memory=2147483648 memory_threshold=1073741824",
        "ray_memory_monitor",
        ((None, None, None, None, 16781, 2 * GIB),),
    ),
    "ray's choice": Text(
        "Currently used memory: 32332505088 bytes, threshold: 32131776512 bytes, kill buffer: 1691143372 bytes. Needed to "
        f"free 1891871948 bytes. Selected 3 workers to kill: Workers sorted by time based worker killing policy: (Worker's "
        f"Lease ID: {LEASE} | Granted time: 2026-04-09T07:23:59 | Retriable: yes | Memory used: 7.25 GiB).",
        "ray_memory_monitor",
        says=("3 workers",),
    ),
    "ray waits for what it killed": Text(
        f"Still waiting for worker eviction to free up memory. Alive workers: [(Worker's Lease ID: {LEASE}, Worker PID: "
        "16781)]",
        "ray_memory_monitor",
        ((None, None, None, None, 16781, None),),
    ),
    "no monitor": Text(
        "ThresholdMemoryMonitor disabled. Specify `RAY_memory_monitor_refresh_ms` > 0 to enable the monitor.",
        "warning",
        says=("switched off",),
    ),
    "a monitor that cannot see": Text(
        "Unable to capture node memory. Monitor will not be able to detect memory usage above threshold.",
        "warning",
        says=("does not kill",),
    ),
    "a monitor that cannot see its cgroups": Text(
        "Failed to take user and system slice memory snapshot due to: user cgroup: Failed to open memory stat file on path: "
        "/sys/fs/cgroup/x. Is the provided cgroupv2 path valid and cgroupv2 active?. The threshold memory monitor will not "
        "be able to provide resource isolation protection.",
        "warning",
        says=("does not kill",),
    ),
    "a full container": Text(
        "Used memory is greater than or equal to total memory used. This can happen if the memory limit is set and the "
        "container is using a lot of memory. Used 8589938688, total 8589934592, setting used to be equal to total",
        "warning",
        figures={"used": 8589938688, "limit": 8589934592},
    ),
    "store on disk": Text(
        "Shared memory store full, falling back to allocating from filesystem: 104857600", "warning", says=("on disk",)
    ),
    "disk full, allocator": Text("Plasma fallback allocator failed, likely out of disk space.", "disk_full"),
    "disk full, pull": Text(f"Pull of object failed due to out of disk: {NODE}", "disk_full"),
    "raylet ended": Text(
        "Raylet is terminated. Termination is unexpected. Possible reasons include: (1) SIGKILL by the user or system OOM "
        "killer, (2) Invalid memory access from Raylet causing SIGSEGV or SIGBUS, (3) Other termination signals. Last 20 "
        "lines of the Raylet logs:\n    [2026-04-09 07:23:59,445 I 395 395] (raylet) main.cc:1: Node memory usage above "
        "threshold, used: 3, threshold_bytes: 2, total bytes: 4, threshold fraction: 0.5",
        "node_died",
        says=("a kill by the kernel for lack of memory",),
    ),
    "raylet's agent ended": Text(
        "The raylet exited immediately because one Ray agent failed, agent_name = dashboard_agent/424238335.\n"
        "The raylet fate shares with the agent. This can happen because\n- The agent is killed by the OS (e.g., out of "
        "memory).",
        "node_died",
        says=("dashboard_agent/424238335",),
    ),
    "the raylet's agent ended, older": Text(
        "The raylet exited immediately because the Ray agent failed. The raylet fate shares with the agent. This can happen "
        "because the Ray agent was unexpectedly killed or failed. See `dashboard_agent.log` for the root cause.",
        "node_died",
        says=("Ray's agent", "dashboard_agent.log"),
    ),
    "a node too slow": Text(
        "[Timeout] Exiting because this node manager has mistakenly been marked as dead by the GCS: GCS failed to check the "
        "health of this node for 5 times. This is likely because the machine or raylet has become overloaded.",
        "node_died",
    ),
    "recovered": Text(
        "Attempting to recover 41 lost objects by resubmitting their tasks or setting a new primary location from existing "
        "copies. To disable object reconstruction, set @ray.remote(max_retries=0).",
        "object_lost",
        says=("41 objects",),
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
        figures={"node_ip": "10.0.0.1"},
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
    "ray 1.x, in a task": Text(
        "ray.exceptions.RayTaskError(RayOutOfMemoryError): ray::Env.step() (pid=2162, ip=10.20.30.40)\n"
        '  File "python/ray/_raylet.pyx", line 440, in ray._raylet.execute_task\n'
        '  File "/opt/venv/lib/python3.7/site-packages/ray/memory_monitor.py", line 140, in raise_if_low_memory\n'
        "    self.error_threshold))",
        "ray_memory_monitor",
        figures={"node_ip": "10.20.30.40"},
        says=("Env.step (pid 2162) on node 10.20.30.40", "killed nothing"),
    ),
    "ray 2.50, ids left out": Text(
        "Memory on the node (IP: 10.20.30.40, ...) where the lease (name=Engine.__init__, pid=16781, memory used=7.25GB)\n"
        "was running was 30.11GB / 31.50GB (0.955873), which exceeds the memory usage threshold of 0.95.",
        "ray_memory_monitor",
        (("Engine.__init__", None, None, None, 16781, gib("7.25")),),
        {k: v for k, v in ONE_NODE.items() if k != "node_id"},
    ),
    "ray 2.54, the GCS's, no address": Text(
        f"Reporting worker exit, worker id = {WORKER}, node id = {NODE}, address = <address> exit_type = NODE_OUT_OF_MEMORY, "
        f"exit_detail = Task was killed due to the node running low on memory.\nMemory on the node (IP: <ip>, ID: {NODE}) "
        f"where the lease (lease ID: {LEASE}, name=Store.get, pid=16781, memory used=7.25GB) was running was 30.11GB / "
        "31.50GB (0.955873), which exceeds the memory usage threshold of 0.95.",
        "ray_memory_monitor",
        (("Store.get", None, None, None, 16781, gib("7.25")),),
        {k: v for k, v in ONE_NODE.items() if k != "node_ip"},
    ),
    "ray's summary, an id in two parts": Text(
        f"2 Workers (tasks / actors) killed due to memory pressure (OOM), 0 Workers crashed due to other reasons at node (ID: "
        f"{NODE[:18]} {NODE[18:]}, IP: 10.20.30.40) over the last time period.",
        "ray_memory_monitor",
        figures={"node_ip": "10.20.30.40", "node_id": NODE},
        says=("2 workers",),
    ),
    "a summary, and an id that is cut": Text(
        f"5 Workers (tasks / actors) killed due to memory pressure (OOM), 0 Workers crashed due to other reasons at node (ID: "
        f"{NODE}, IP: 10.20.30.40) over the last time period.\nMemory on the node (IP: 10.20.30.40, ID: {NODE[:16]}...) where "
        f"the lease (lease ID: 0a0b..., name=hog, pid=16781, memory used=7.25GB) was running was 30.11GB / 31.50GB (0.955873), "
        "which exceeds the memory usage threshold of 0.95. Ray killed this worker.",
        "ray_memory_monitor",
        (("hog", None, None, None, 16781, gib("7.25")),),
        ONE_NODE,
    ),
    "dask, ray 2.0": Text(
        "System memory low at node with IP 10.20.30.40. Used memory (30.11GB) / total capacity (31.50GB) (0.955873) exceeds "
        f"threshold 0.95, killing latest task with name dask:('head-partial-10-x', 586) and task ID {TASK} to avoid running "
        "out of memory.",
        "ray_memory_monitor",
        victims=(("dask:('head-partial-10-x', 586)", TASK, None, None, None, None),),
        figures={k: v for k, v in ONE_NODE.items() if k != "node_id"},
    ),
    "torch, beside others": Text(
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 86.00 MiB. GPU 0 has a total capacity of 23.64 GiB of "
        "which 264.00 MiB is free. Process 2086283 has 419.48 MiB memory in use. Including non-PyTorch memory, this process "
        "has 8.04 GiB memory in use.",
        "gpu_memory",
        says=("86.00 MiB", "8.04 GiB", "process 2086283", "419.48 MiB"),
    ),
    "windows, object store": Text(
        "(raylet.exe) dlmalloc.cc:129:  Check failed: *handle != nullptr CreateFileMapping() failed. GetLastError() = 1450",
        "memory_error",
        says=("1450", "paging file"),
    ),
    "not started, object store": Text(
        "ValueError: Attempting to cap object store memory usage at 53302886 bytes, but the minimum allowed is 78643200 "
        "bytes.",
        "not_started",
        says=("53302886", "78643200 bytes"),
    ),
    "not started, tasks": Text(
        "ValueError: After taking into account object store and redis memory usage, the amount of memory on this node "
        "available for tasks and actors (-2.86 GB) is less than -35% of total. You can adjust these settings with "
        "ray.init(memory=<bytes>, object_store_memory=<bytes>).",
        "not_started",
        says=("-2.86 GB",),
    ),
    "not started, shared memory": Text(
        "ValueError: The configured object store size (20.0 GB) exceeds /dev/shm size (8.42 GB). This will harm performance. "
        "Consider deleting files in /dev/shm or increasing its size with --shm-size in Docker.",
        "not_started",
        says=("20.0 GB", "8.42 GB"),
    ),
    "not started, resource isolation": Text(
        "ValueError: The total requested system_reserved_memory=9000000000 is greater than the amount of memory "
        "available=8000000000.",
        "not_started",
        says=("9000000000", "8000000000"),
    ),
    "a driver that ended": Text(
        f"ray.exceptions.OwnerDiedError: Failed to retrieve object {NODE}.\n\nThe object's owner has exited. This is the "
        "Python worker that first created the ObjectRef via `.remote()` or `ray.put()`. Check cluster logs "
        f"(`/tmp/ray/session_latest/logs/*13000000{48 * 'f'}*` at IP address 10.20.30.40) for more information.",
        "owner_died",
        figures={"node_ip": "10.20.30.40"},
        says=("The driver of job 13000000",),
    ),
    "disk full, in a notebook": Text(
        "OutOfDiskError                            Traceback (most recent call last)\nCell In[17], line 3\n      1 import t",
        "disk_full",
    ),
    "nodes marked dead": Text(
        f"The node with node id: {NODE} and ip: 10.4.4.107 has been marked dead because the detector has missed too many "
        "heartbeats from it. This can happen when a raylet crashes unexpectedly or has lagging heartbeats.\n"
        f"The node with node id: {WORKER} and ip: 10.4.0.101 has been marked dead because the detector has missed too many "
        "heartbeats from it. This can happen when a raylet crashes unexpectedly or has lagging heartbeats.",
        "node_died",
        says=("2 nodes died", "10.4.4.107", "10.4.0.101"),
    ),
    "a node that nobody names": Text(
        "The node with node id: <node id> and address: <adress> has been marked dead because the detector has missed too many "
        "heartbeats from it.",
        "node_died",
    ),
    "ray 2.5, without ids": Text(
        "ray.exceptions.OutOfMemoryError: 1 worker(s) were killed due to the node running low on memory. Memory on the node "
        "(IP: 10.20.30.40) was 30.11GB / 31.50GB (0.955873), which exceeds the memory usage threshold of 0.95.",
        "ray_memory_monitor",
        figures={k: v for k, v in ONE_NODE.items() if k != "node_id"},
    ),
    "figures in prose": Text(
        "- Both logs report `ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory` at the "
        "same host state: `30.11GB / 31.50GB (0.955873)`.",
        "ray_memory_monitor",
        figures={"used": gib("30.11"), "limit": gib("31.50")},
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
    "ray data 2.60": Text(
        "Operator 'ReadRange->MapBatches(decode)' uses 4.1GiB of memory per worker on average (up to 5.2GiB), but Ray only "
        "requests 0.0B per worker at the start of the pipeline.",
        "warning",
        says=("4.1GiB", "5.2GiB", "0.0B", "ReadRange->MapBatches(decode)"),
    ),
    "ray data 2.60, at the end": Text(
        "Operator 'ReadRange->MapBatches(decode)' used up to 5.2GiB of memory per worker. The configured logical memory was "
        "1.0GiB. To avoid out-of-memory errors, set `memory=6979321856` (6.5GiB).",
        "warning",
        says=("5.2GiB", "1.0GiB", "ReadRange->MapBatches(decode)"),
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
    # Kubernetes, batch systems, YARN, clouds, the kernel and the daemons that kill before it does.
    "lsf": Text(
        "Subject: Job 4711: <sweep> in cluster <c1> Exited\n\nJob was executed on host(s) <n-17-4>, in queue <gpu>, as user "
        "<u1> in cluster <c1> at Mon Jan  5 10:00:00 2026\n\nTERM_MEMLIMIT: job killed after reaching LSF memory usage "
        "limit.\nExited with exit code 137.\n\nResource usage summary:\n\n    CPU time :            100.00 sec.\n"
        "    Max Memory :          8192 MB\n    Total Requested Memory :  8192.00 MB\n    Max Swap :  -",
        "batch_limit",
        figures={"used": 8 * GIB, "limit": 8 * GIB},
        says=("n-17-4", "8192 MB", "8192.00 MB"),
    ),
    "pbs": Text(
        "=>> PBS: job killed: mem job total 4323312 kb exceeded limit 3145728 kb",
        "batch_limit",
        figures={"used": 4323312 * 1024, "limit": 3145728 * 1024},
        says=("mem: 4323312 kb", "3145728 kb"),
    ),
    "pbs, virtual memory": Text(
        "=>> PBS: job killed: vmem 9000000kb exceeded limit 8000000kb",
        "batch_limit",
        figures={"used": 9000000 * 1024, "limit": 8000000 * 1024},
        says=("vmem",),
    ),
    "grid engine": Text(
        '01/05/2026 10:00:00|  main|n17|W|job 4711 exceeds job hard limit "h_vmem" of queue "all.q@n17" (4402341888.00000 > '
        "limit:4294967296.00000) - "
        "sending SIGKILL",
        "batch_limit",
        figures={"used": 4402341888, "limit": 4 * GIB},
        says=("4711", "all.q@n17", "h_vmem"),
    ),
    "htcondor": Text(
        "Error from slot1_3@n7.example.org: Job has gone over cgroup memory limit of 2048 megabytes. Last measured usage: "
        "1999 megabytes.",
        "batch_limit",
        figures={"used": 1999 * 2**20, "limit": 2 * GIB},
        says=("2048 megabytes", "Last measured usage: 1999 megabytes"),
    ),
    "htcondor, what it requested": Text(
        "Error from slot1_3@n7.example.org: memory usage exceeded request_memory",
        "batch_limit",
        says=("slot1_3@n7.example.org",),
    ),
    "yarn": Text(
        "Container [pid=4123,containerID=container_e14_1594_0002_01_000002] is running 94359552B beyond the 'PHYSICAL' "
        "memory limit. Current usage: 1.5 GB of 1 GB physical memory used; 4.7 GB of 2.1 GB virtual memory used. Killing "
        "container.",
        "container_limit",
        figures={"used": round(1.5 * GIB), "limit": GIB},
        says=("4123", "container_e14_1594_0002_01_000002", "1.5 GB of 1 GB"),
    ),
    "yarn, virtual memory": Text(
        "Container [pid=4123,containerID=container_e14_1594_0002_01_000002] is running 299792896B beyond the 'VIRTUAL' "
        "memory limit. Current usage: 137.7 MB of 1 GB physical memory used; 2.4 GB of 2.1 GB virtual memory used. Killing "
        "container.",
        "container_limit",
        says=("virtual memory, 2.4 GB of 2.1 GB", "137.7 MB of 1 GB"),
    ),
    "yarn, spark": Text(
        "ERROR YarnScheduler: Lost executor 3 on node-17: Container killed by YARN for exceeding memory limits.  5.5 GB of 5 "
        "GB physical memory used. Consider boosting spark.yarn.executor.memoryOverhead.",
        "container_limit",
        figures={"used": round(5.5 * GIB), "limit": 5 * GIB},
        says=("executor 3 of Spark on node-17", "5.5 GB of 5 GB"),
    ),
    "google cloud": Text(
        "Memory limit of 512 MiB exceeded with 530 MiB used. Consider increasing the memory limit, see https://x.example/y",
        "container_limit",
        figures={"used": 530 * 2**20, "limit": 512 * 2**20},
        says=("530 MiB of 512 MiB",),
    ),
    "aws": Text("OutOfMemoryError: Container killed due to memory usage", "container_limit", says=("AWS",)),
    "nomad": Text('Terminated  Exit Code: 137, Exit Message: "OOM Killed"', "container_limit", says=("Nomad",)),
    "databricks": Text("Driver is up but is not responsive, likely due to GC.", "warning", says=("Databricks",)),
    "docker events": Text(
        "container oom 3fa1b2c3d4e5f6a7b8c93fa1b2c3d4e5f6a7b8c9 (image=rayproject/ray:2.40.0, name=ray-worker-1)",
        "container_limit",
        says=("the container ray-worker-1",),
    ),
    "docker ps": Text(
        'CONTAINER ID  IMAGE          COMMAND      CREATED      STATUS                     NAMES\n3fa1b2c3d4e5  ray:2.40  "ray '
        'start"  2 hours ago  Exited (137) 5 minutes ago  head',
        "sigkill",
    ),
    "kubelet": Text(
        "Warning  SystemOOM  3m57s  kubelet  System OOM encountered, victim process: ray::train, pid: 4123",
        "kernel_oom",
        (("ray::train", None, None, None, 4123, None),),
    ),
    "a pod in prose": Text(
        "Twenty minutes later the head pod was oom killed, with no task running.",
        "container_limit",
        says=("a container of the head pod",),
    ),
    "slurm, several lines": Text(
        "/var/spool/slurm/slurmd/job113/slurm_script: line 4: 4123 Killed                  python train.py\n"
        "slurmstepd: error: Detected 52 oom_kill events in StepId=113.batch. Some of the step tasks have been OOM Killed.\n"
        "srun: error: nid006: task 2: Out Of Memory",
        "slurm_limit",
        (("python", None, None, None, 4123, None),),
        says=("113.batch", "counts 52", "task 2 on nid006", "python (pid 4123)"),
    ),
    "kernel, without the pid": Text(
        "Out of memory: Killed process (ray::WorkerDict) total-vm:48306740kB",
        "kernel_oom",
        (("ray::WorkerDict", None, None, None, None, None),),
    ),
    "kernel, in other units": Text(
        "Memory cgroup out of memory: Killed process 4123 (ray::WorkerDict) total-vm:379GB, anon-rss:15GB, shmem-rss:50GB",
        "kernel_oom",
        (("ray::WorkerDict", None, None, None, 4123, 15 * 10**9),),
        says=("memory cgroup",),
    ),
    "systemd-oomd, beside systemd's own line": Text(
        "run-x.scope: A process of this unit has been killed by the OOM killer.\n"
        "user@1000.service: systemd-oomd killed 12 process(es) in this unit.\nuser@1000.service: Failed with result 'oom-kill'.",
        "systemd_oomd",
        says=("12 processes of user@1000.service",),
    ),
    "earlyoom, what was available": Text(
        "earlyoom[454]: mem avail:  7072 of  7721 MiB (91.60%), swap free: 7720 of 7720 MiB (100.00%)\n"
        "earlyoom[454]: mem avail:   554 of  7721 MiB ( 7.18%), swap free:  742 of 7720 MiB ( 9.62%)\n"
        "earlyoom[454]: low memory! at or below SIGTERM limits: mem 10.00%, swap 10.00%\n"
        'earlyoom[454]: sending SIGTERM to process 4123 uid 1000 "termshark": badness 1181, VmRSS 4568 MiB',
        "earlyoom",
        (("termshark", None, None, None, 4123, 4568 * 2**20),),
        {"used": (7721 - 554) * 2**20, "limit": 7721 * 2**20},
    ),
    "earlyoom, without the pid": Text(
        'earlyoom[1523]: sending SIGTERM to process … "ray::RayWorkerP": badness 1658',
        "earlyoom",
        (("ray::RayWorkerP", None, None, None, None, None),),
    ),
    "deepspeed": Text(
        "[2026-01-05 13:09:33,201] [INFO] [launch.py:318:sigkill_handler] Killing subprocess 4123\n[2026-01-05 13:09:33,220] "
        "[ERROR] [launch.py:324:sigkill_handler] ['/usr/bin/python3', '-u', 'a.py'] exits with return code = -9",
        "sigkill",
        says=("subprocess 4123", "does not say whether memory"),
    ),
    "torchrun": Text(
        "E torch.distributed.elastic.multiprocessing.api: failed (exitcode: -9) local_rank: 0 (pid: 4123) of binary: /x/python",
        "sigkill",
        ((None, None, None, None, 4123, None),),
        says=("(pid 4123)",),
    ),
    "mpi": Text(
        "mpirun noticed that process rank 3 with PID 4123 on node n342 exited on signal 9 (Killed).",
        "sigkill",
        ((None, None, None, None, 4123, None),),
    ),
    "gunicorn": Text(
        "[ERROR] Worker (pid:4123) was sent SIGKILL! Perhaps out of memory?",
        "sigkill",
        ((None, None, None, None, 4123, None),),
    ),
    "supervisord": Text("INFO exited: ray-worker (terminated by SIGKILL; not expected)", "sigkill"),
    "a data loader's worker": Text(
        "RuntimeError: DataLoader worker (pid 4123) is killed by signal: Bus error. It is possible that dataloader's workers "
        "are out of shared memory. Please try to raise your shared memory limit.",
        "bus_error",
        ((None, None, None, None, 4123, None),),
        says=("(pid 4123)", "/dev/shm"),
    ),
    # The object store, lost objects, start-up, deaths of workers and nodes.
    "plasma without room": Text(
        f"(raylet) [2026-01-01 00:00:00,123 E 812 830] store.cc:306: Not enough memory to create the object {WORKER}, "
        "data_size=73400320, metadata_size=6, retrying after a timeout",
        "object_store_full",
        says=("73400320 bytes", WORKER),
    ),
    "plasma without room for a pull": Text(
        "[2026-01-01 00:00:00,123 I 812 812] store_runner.cc:30: Allowing the Plasma store to use up to 3.25GB of memory.\n"
        f"[2026-01-01 00:09:00,123 I 812 812] object_buffer_pool.cc:146: Not enough memory to create requested object {WORKER}"
        ", aborting",
        "object_store_full",
        says=(WORKER, "3.25GB at most"),
    ),
    "plasma at capacity": Text(
        "[2026-01-01 00:00:00,123 I 812 830] (raylet) store.cc:513: Plasma store at capacity\n"
        "========== Plasma store: =================\nCurrent usage: 9.5071 / 8.1284 GB\n- num bytes created total: "
        "71128508498\n3 pending objects of total size 48MB\n- objects spillable: 0\n- bytes in use: 9507067732",
        "object_store_full",
        says=("9.5071 of 8.1284 GB", "3 more", "48MB"),
    ),
    "plasma evicts nothing": Text(
        "eviction_policy.cc:85: There is not enough space to create this object, so evicting 0 objects to free up 0 bytes. "
        "The number of bytes in use (before this eviction) is 9507067732.",
        "object_store_full",
        says=("9507067732 bytes",),
    ),
    "waits for plasma": Text(
        "The task is stuck in WAITING_FOR_AVAILABLE_PLASMA_MEMORY: the store of its node is nearly full (41.5 / 48.0 GB used).",
        "object_store_full",
        says=("41.5 of 48.0 GB",),
    ),
    "a task's state": Text(
        "name: shuffle_partition\nstate: PENDING_OBJ_STORE_MEM_AVAIL\ntype: NORMAL_TASK",
        "object_store_full",
        says=("PENDING_OBJ_STORE_MEM_AVAIL",),
    ),
    "evicted": Text(
        f"ray.exceptions.UnreconstructableError: Object {WORKER[:40]} is lost (either LRU evicted or deleted by user) and cannot "
        "be reconstructed. Try increasing the object store memory available with ray.init(object_store_memory=<bytes>).",
        "object_lost",
        says=(WORKER[:40],),
    ),
    "made by the driver": Text(
        f"The task with ID {TASK[:40]} is a driver task and so the object created by ray.put could not be reconstructed.",
        "object_lost",
        says=("that the driver had made",),
    ),
    "a smaller store": Text(
        "Warning: Reducing object store memory because /dev/shm has only 134217728 bytes available. You may be able to free up "
        "space by deleting files in /dev/shm.",
        "warning",
        says=("134217728 bytes", "smaller"),
    ),
    "no space": Text(
        "OSError: write of 4096 bytes to the block file: No space left on device",
        "disk_full",
        says=("is full",),
    ),
    "no space, in Rust": Text(
        "thread panicked: Io(Os { code: 28, kind: StorageFull }), No space left on device (os error 28)",
        "disk_full",
        says=("is full",),
    ),
    "disk warning, in bytes": Text(
        "(raylet) [2026-01-01 00:00:00,123 E 812 830] (raylet) file_system_monitor.cc:111: /tmp/ray/session_2026-01-01 is over 95% "
        "full, available space: 4376220672; capacity: 988426192896. Object creation will fail if spilling is required.",
        "warning",
        says=("95%", "4376220672", "988426192896", "/tmp/ray/session_2026-01-01"),
    ),
    "disk warning, cut": Text(
        "/tmp/ray/session_2026-01-01 is over 95% full, available space: 4.1 GB; capacity: 99.8 GB.",
        "warning",
        says=("95%", "4.1 GB", "99.8 GB"),
    ),
    "disk warning, then no room": Text(
        "/mnt/ray is over 95% full\navailable space: 4.1262 GB\ncapacity: 99.8065 GB\nray.exceptions.OutOfDiskError",
        "disk_full",
        says=("95%", "4.1262 GB of 99.8065 GB", "/mnt/ray"),
    ),
    "a driver that ended, in a typographer's quotes": Text(
        "ray.exceptions.OwnerDiedError: Failed to retrieve object x. The object\u2019s owner has exited. Check cluster logs "
        f"(/tmp/ray/session_latest/logs/*13000000{'f' * 48}* at IP address 10.20.30.40) for more information.",
        "owner_died",
        figures={"node_ip": "10.20.30.40"},
        says=("job 13000000", "10.20.30.40"),
    ),
    "two descriptions of one death": Text(
        "A worker died or was killed while executing a task by an unexpected system error. RayTask ID: "
        f"{'f' * 16}{ACTOR} Worker ID: {WORKER} Node ID: {NODE} Worker IP address: 10.20.30.40 Worker port: 10022 Worker PID: "
        "16781 Worker exit type: SYSTEM_ERROR Worker exit detail: Worker exits unexpectedly. Worker exits with an exit code "
        "None. The worker may have exceeded K8s pod memory limits.\n"
        "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n\tclass_name: Store\n"
        f"\tactor_id: {ACTOR}\n\tpid: 16781\n\tnamespace: prod\n\tip: 10.20.30.40\nThe actor is dead because its worker "
        "process has died.",
        "exit",
        (("Store", f"{'f' * 16}{ACTOR}", ACTOR, WORKER, 16781, None),),
        {"node_id": NODE, "node_ip": "10.20.30.40"},
    ),
    "an address that is none": Text(
        "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n\tclass_name: Store\n"
        f"\tactor_id: {ACTOR}\n\tpid: 16781\n\tnamespace: prod\n\tip: 0.0.0.0\nThe actor is dead because its worker process "
        "has died.",
        "unknown",
        (("Store", None, ACTOR, None, 16781, None),),
    ),
    "NCCL": Text(
        "[rank3]:[E101 00:00:00.656957424 ProcessGroupNCCL.cpp:629] [Rank 3] Watchdog caught collective operation timeout: "
        "WorkNCCL(SeqNum=71, OpType=ALLREDUCE, NumelIn=8, NumelOut=8, Timeout(ms)=600000) ran for 600071 milliseconds before "
        "timing out.",
        "warning",
        says=("600071 ms", "no matter of memory"),
    ),
    # Libraries and accelerators
    "torch, in pieces": Text(
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 3 has a total capacity of 79.25 GiB of "
        "which 1.75 GiB is free. Process 4410 has 1.25 GiB memory in use. Process 4411 has 9.50 GiB memory in use. Including "
        "non-PyTorch memory, this process has 66.75 GiB memory in use. Of the allocated memory 58.00 GiB is allocated by "
        "PyTorch, with 120.00 MiB allocated in private pools (e.g., CUDA Graphs), and 7.25 GiB is reserved by PyTorch but "
        "unallocated. If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True "
        "to avoid fragmentation.",
        "gpu_memory",
        says=("GPU 3", "79.25 GiB", "1.75 GiB", "66.75 GiB", "process 4411 (9.50 GiB)", "7.25 GiB"),
    ),
    "torch, of several processes": Text(
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.25 GiB. GPU 0 has a total capacity of 47.50 GiB of "
        "which 512.00 MiB is free. Process 3001 has 470.00 MiB memory in use. Process 3003 has 19.75 GiB memory in use. "
        "Process 3002 has 26.50 GiB memory in use. Of the allocated memory 25.50 GiB is allocated by PyTorch, and 12.50 MiB is "
        "reserved by PyTorch but unallocated.",
        "gpu_memory",
        says=("process 3002 (26.50 GiB), process 3003 (19.75 GiB), process 3001 (470.00 MiB)", "512.00 MiB free"),
    ),
    "torch, npu": Text(
        "RuntimeError: NPU out of memory. Tried to allocate 28.00 MiB (NPU 5; 60.97 GiB total capacity; 60.30 GiB already "
        "allocated; 60.31 GiB current active; 12.50 MiB free; 60.60 GiB reserved in total by PyTorch) If reserved memory is >> "
        "allocated memory try setting max_split_size_mb to avoid fragmentation.",
        "gpu_memory",
        says=("The NPU's memory", "28.00 MiB failed on NPU 5, which has 60.97 GiB (12.50 MiB free)", "60.60 GiB"),
    ),
    "torch, xpu": Text(
        "torch.OutOfMemoryError: XPU out of memory. Tried to allocate 3.75 GiB. GPU 1 has a total capacity of 15.91 GiB. Of the "
        "allocated memory 12.02 GiB is allocated by PyTorch, and 0.50 GiB is reserved by PyTorch but unallocated.",
        "gpu_memory",
        says=("XPU out of memory", "3.75 GiB failed on GPU 1, which has 15.91 GiB"),
    ),
    "torch, mps": Text(
        "RuntimeError: MPS backend out of memory (MPS allocated: 8.25 GB, other allocations: 410.50 MB, max allowed: 9.07 GB). "
        "Tried to allocate 600.00 MB on private pool. Use PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0 to disable upper limit for memory "
        "allocations (may cause system failure).",
        "gpu_memory",
        says=("machine's own", "8.25 GB", "410.50 MB", "9.07 GB", "600.00 MB"),
    ),
    "torch, cudaMallocAsync": Text(
        "torch.cuda.OutOfMemoryError: Allocation on device 2 would exceed allowed memory. (out of memory)\n"
        "Currently allocated     : 20.50 GiB\nRequested               : 3.25 GiB\nDevice limit            : 23.69 GiB\n"
        "Free (according to CUDA): 19.81 MiB",
        "gpu_memory",
        says=("GPU 2", "3.25 GiB", "20.50 GiB of 23.69 GiB"),
    ),
    "torch, too many mappings": Text(
        "RuntimeError: unable to mmap 4216 bytes from file </torch_901_77120_5>: Cannot allocate memory (12)",
        "memory_error",
        says=("4216 bytes", "/torch_901_77120_5", "mappings"),
    ),
    "torch, a large mapping": Text(
        "RuntimeError: unable to mmap 23802930000 bytes from file <./model.safetensors>: Cannot allocate memory (12)",
        "memory_error",
        says=("23802930000 bytes", "./model.safetensors"),
    ),
    "torch, shared memory is full": Text(
        "RuntimeError: unable to write to file </torch_812_3301_7>: No space left on device (28)",
        "memory_error",
        says=("/torch_812_3301_7", "/dev/shm is full"),
    ),
    "paddle": Text(
        "ResourceExhaustedError:\n\nOut of memory error on GPU 1. Cannot allocate 1.250000GB memory on GPU 1, 22.500000GB memory "
        "has been allocated and available memory is only 700.500000MB.",
        "gpu_memory",
        says=("1.250000GB", "GPU 1", "22.500000GB"),
    ),
    "cupy": Text(
        "cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 8,589,934,592 bytes (allocated so far: 1,073,741,824 bytes, "
        "limit set to: 9,663,676,416 bytes). See how large the arrays are.",
        "gpu_memory",
        says=("8,589,934,592", "1,073,741,824"),
    ),
    "rmm": Text(
        "MemoryError: std::bad_alloc: out_of_memory: CUDA error (failed to allocate 7340032000 bytes) at: /opt/conda/include/rmm/"
        "mr/device/cuda_memory_resource.hpp:62: cudaErrorMemoryAllocation out of memory",
        "gpu_memory",
        says=("RMM", "not the node's", "7340032000 bytes"),
    ),
    "rmm's pool": Text(
        "MemoryError: std::bad_alloc: out_of_memory: RMM failure at:/opt/conda/include/rmm/mr/device/pool_memory_resource.hpp:257: "
        "Maximum pool size exceeded (failed to allocate 2.500 GiB)",
        "gpu_memory",
        says=("RMM", "pool", "2.500 GiB"),
    ),
    "tensorflow, gpu": Text(
        "E tensorflow/stream_executor/cuda/cuda_driver.cc:924] failed to allocate 1.50G (1610612736 bytes) from device: "
        "CUDA_ERROR_OUT_OF_MEMORY: out of memory\n"
        "E tensorflow/stream_executor/cuda/cuda_driver.cc:924] failed to allocate 3.00G (3221225472 bytes) from device: "
        "CUDA_ERROR_OUT_OF_MEMORY: out of memory",
        "gpu_memory",
        says=("3.00G (3221225472 bytes)",),
    ),
    "tensorflow, gpu's allocator": Text(
        "W tensorflow/core/common_runtime/bfc_allocator.cc:497] Allocator (GPU_1_bfc) ran out of memory trying to allocate 1.25GiB "
        "(rounded to 1342177280) requested by op",
        "gpu_memory",
        says=("1.25GiB", "GPU 1"),
    ),
    "tensorflow, gpu's tensor": Text(
        "ResourceExhaustedError: OOM when allocating tensor with shape[512,64,112,112] and type float on "
        "/job:localhost/replica:0/task:0/device:GPU:1 by allocator GPU_1_bfc [Op:Conv2D]",
        "gpu_memory",
        says=("[512,64,112,112]", "GPU 1"),
    ),
    "tensorflow, node": Text(
        "ResourceExhaustedError: OOM when allocating tensor with shape[20000,84,84] and type uint8 on "
        "/job:localhost/replica:0/task:0/device:CPU:0 by allocator cpu",
        "memory_error",
        says=("The node's memory, not a GPU's", "[20000,84,84]", "uint8"),
    ),
    "xla, pinned": Text(
        "W tsl/framework/bfc_allocator.cc:485] Allocator (xla_gpu_host_bfc) ran out of memory trying to allocate 48.25MiB (rounded "
        "to 50593792)requested by op\n"
        "E xla/stream_executor/cuda/cuda_driver.cc:794] failed to alloc 69206016 bytes on host: CUDA_ERROR_OUT_OF_MEMORY: out of "
        "memory",
        "memory_error",
        says=("69206016 bytes", "node's memory, not of the GPU's"),
    ),
    "xla, pinned, an older message": Text(
        "W external/org_tensorflow/tensorflow/core/common_runtime/device/device_host_allocator.h:46] could not allocate pinned "
        "host memory of size: 69206016",
        "memory_error",
        says=("69206016 bytes", "node's memory, not of the GPU's"),
    ),
    "xla": Text(
        "jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 30.75GiB.",
        "memory_error",
        says=("30.75GiB", "does not say whether"),
    ),
    "tpu": Text(
        "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Error allocating device buffer: Attempting to allocate 15.50G. "
        "That was not possible. There are 11.25G free.; (0x0x0_HBM0)",
        "gpu_memory",
        says=("TPU", "15.50G", "11.25G were free"),
    ),
    "tpu, a program": Text(
        "RESOURCE_EXHAUSTED: Error loading program 'jit_train_step': Attempting to reserve 29.50G at the bottom of memory. That was "
        "not possible. There are 147.50M free, 0B reserved, and 147.50M reservable.",
        "gpu_memory",
        says=("TPU", "29.50G", "147.50M were free"),
    ),
    "tpu, while compiling": Text(
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 21.75G of 15.48G hbm. "
        "Exceeded hbm capacity by 6.27G.",
        "gpu_memory",
        says=("TPU", "21.75G of hbm", "15.48G"),
    ),
    "vllm at its start": Text(
        "ValueError: Free memory on device cuda:0 (12.25/23.56 GiB) on startup is less than desired GPU memory utilization (0.92, "
        "21.67 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
        "gpu_memory",
        says=("12.25 of 23.56 GiB were free", "21.67 GiB", "gpu_memory_utilization=0.92"),
    ),
    "vllm's cache": Text(
        "ValueError: The model's max seq len (16384) is larger than the maximum number of tokens that can be stored in KV cache "
        "(7344). Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
        "gpu_memory",
        says=("7344 tokens", "16384"),
    ),
    "vllm's cache, v1": Text(
        "ValueError: To serve at least one request with the models's max seq len (40960), (10.00 GiB KV cache is needed, which is "
        "larger than the available KV cache memory (1.25 GiB). Based on the available memory, the estimated maximum model length is "
        "5120. Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
        "gpu_memory",
        says=("1.25 GiB", "10.00 GiB", "40960", "5120"),
    ),
    "vllm without a cache": Text(
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.",
        "gpu_memory",
        says=("vLLM's KV cache nothing",),
    ),
    "vllm's swap space": Text(
        "ValueError: Too large swap space. 16.00 GiB out of the 15.25 GiB total CPU memory is allocated for the swap space.",
        "memory_error",
        says=("16.00 GiB of the node's memory", "15.25 GiB"),
    ),
    "sglang at its start": Text(
        "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. Current value: "
        "self.server_args.mem_fraction_static=0.81",
        "gpu_memory",
        says=("SGLang did not start", "0.81"),
    ),
    "sglang, busy": Text(
        "RuntimeError: Prefill out of memory. Try to lower your batch size.\nTry to allocate 8192 tokens.\nAvailable tokens: 3840",
        "gpu_memory",
        says=("SGLang's KV cache", "8192 tokens"),
    ),
    "tensorrt": Text(
        "[TRT-LLM] [RANK 1] [E] Failed to initialize executor on rank 1: Executor creation failed due to insufficient GPU memory.\n\n"
        "The following component could not be created: KV cache\nTotal GPU memory (GiB): 79.25\n"
        "Free GPU memory before component creation attempt (GiB): 8.75",
        "gpu_memory",
        says=("TensorRT-LLM did not start", "KV cache", "8.75 of 79.25 GiB"),
    ),
    "nccl": Text(
        "node7:812:991 [0] NCCL WARN Cuda failure 2 'out of memory'\nncclUnhandledCudaError: Call to CUDA function failed.",
        "gpu_memory",
        says=("Cuda failure 2 'out of memory'",),
    ),
    "numpy's strings": Text(
        "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 381. GiB for an array with shape (5000,) and data type "
        "<U20461210",
        "memory_error",
        says=("381 GiB", "(5000,)", "<U20461210", "longest"),
    ),
    "numpy, no decimals": Text(
        "numpy.core._exceptions.MemoryError: Unable to allocate 745. GiB for an array with shape (100000, 1000000) and data type int64",
        "memory_error",
        says=("745 GiB", "int64"),
    ),
    "arrow": Text(
        "pyarrow.lib.ArrowMemoryError: realloc of size 2172800000 failed",
        "memory_error",
        says=("2172800000 bytes",),
    ),
    "arrow, as a status": Text(
        "OSError: Out of memory: malloc of size 5368709120 failed", "memory_error", says=("5368709120 bytes",)
    ),
    "duckdb": Text(
        "duckdb.duckdb.OutOfMemoryException: Out of Memory Error: could not allocate block of size 2.5 GiB (10.1 GiB/10.8 GiB used)\n"
        "Database is launched in in-memory mode and no temporary directory is specified.",
        "memory_error",
        says=("2.5 GiB", "10.1 GiB of 10.8 GiB"),
    ),
    "duckdb, an older version": Text(
        "_duckdb.OutOfMemoryException: Out of Memory Error: failed to pin block of size 262144 (3221225400/3221225472 used)",
        "memory_error",
        says=("262144", "3221225400 of 3221225472"),
    ),
    "duckdb's disk": Text(
        "Out of Memory Error: failed to offload data block of size 256.0 KiB (15.9 GiB/16.0 GiB used).\nThis limit was set by the "
        "'max_temp_directory_size' setting.",
        "disk_full",
        says=("256.0 KiB", "15.9 GiB of 16.0 GiB", "max_temp_directory_size"),
    ),
    "java": Text(
        "Exception: java.lang.OutOfMemoryError: GC overhead limit exceeded.", "memory_error", says=("GC overhead",)
    ),
    "spark's executor": Text(
        "TaskSetManager: Lost task 12.0 in stage 5.0 (TID 9901) (10.20.30.40 executor 7): java.lang.OutOfMemoryError: Java heap space",
        "memory_error",
        figures={"node_ip": "10.20.30.40"},
        says=("executor 7 on 10.20.30.40", "Java heap space"),
    ),
    "spark's memory": Text(
        "org.apache.spark.memory.SparkOutOfMemoryError: Unable to acquire 65536 bytes of memory, got 0",
        "memory_error",
        says=("65536 bytes",),
    ),
    "java's classes": Text("java.lang.OutOfMemoryError: Metaspace", "memory_error", says=("Metaspace",)),
    "java's buffers": Text(
        "java.lang.OutOfMemoryError: Cannot reserve 16777216 bytes of direct buffer memory (allocated: 520093696, limit: 536870912)",
        "memory_error",
        says=("16777216 bytes", "520093696 of 536870912"),
    ),
    "java's threads": Text(
        "java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory or process/resource limits reached",
        "memory_error",
        says=("one more thread",),
    ),
    "java and the node": Text(
        "Java HotSpot(TM) 64-Bit Server VM warning: INFO: os::commit_memory(0x00000006c0000000, 1073741824, 0) failed; error='Not enough space' (errno=12)",
        "memory_error",
        says=("1073741824 bytes",),
    ),
    "r": Text("Error: cannot allocate vector of size 1.5 Gb", "memory_error", says=("1.5 Gb",)),
    "julia": Text("ERROR: LoadError: OutOfMemoryError()\nStacktrace:", "memory_error", says=("Julia",)),
    "go": Text(
        "runtime: out of memory: cannot allocate 4194304-byte block (8589934592 in use)\nfatal error: out of memory",
        "memory_error",
        says=("4194304 bytes", "8589934592"),
    ),
    "redis": Text(
        "ResponseError: OOM command not allowed when used memory > 'maxmemory'.",
        "memory_error",
        says=("Redis", "maxmemory"),
    ),
    "windows, German": Text(
        "ImportError: DLL load failed while importing _x: Die Auslagerungsdatei ist zu klein, um diesen Vorgang durchzuführen.",
        "memory_error",
        says=("paging file",),
    ),
    "windows, Chinese": Text(
        "OSError: 页面文件太小，无法完成操作。 (os error 1455)", "memory_error", says=("paging file",)
    ),
    "fork": Text("bash: fork: Cannot allocate memory", "memory_error", says=("one more process",)),
    "fork in Python": Text(
        'Traceback (most recent call last):\n  File "/usr/lib/python3.11/subprocess.py", line 1885, in _execute_child\n'
        "    self.pid = _fork_exec(\n               ^^^^^^^^^^^\nOSError: [Errno 12] Cannot allocate memory",
        "memory_error",
        says=("one more process",),
    ),
    "threads": Text("RuntimeError: can't start new thread", "memory_error", says=("thread or process",)),
    "openblas's threads": Text(
        "OpenBLAS blas_thread_init: pthread_create failed for thread 30 of 64: Resource temporarily unavailable",
        "memory_error",
        says=("thread or process",),
    ),
}
TEXTS |= _MORE_OF_LIBRARIES | _MORE_OF_LOGS | _MORE_OF_PROGRAMS | _MORE_OF_SYSTEMS | _MORE_OF_RAY | _MORE_OF_USERS
