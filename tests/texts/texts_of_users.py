# ruff: noqa: E501 (messages are as long as they are)
"""Texts of our own of messages that users paste in parts, or that name more than the one that ended."""

from __future__ import annotations

from tests.texts.message_text import Text

NODE, WORKER, TASK, ACTOR = "ab12" * 14, "cd34" * 14, "5e6f" * 12, "7a8b" * 8
OTHER_NODE = "ef56" * 14
OBJECT = "9c" * 28
LEASE = "0f" * 28
POD = "4f1c2a3b_5d6e_4a7b_8c9d_0e1f2a3b4c5d"
STORE = (
    "plasma_store_provider.cc:122: Failed to put object "
    + OBJECT
    + " in object store because it is full. Object size is {} bytes.\nPlasma store status:\n\n(global lru) capacity: 48000000000\n(global lru) used: 0%\n"
)

TEXTS: dict[str, Text] = {
    "a node that was marked as dead": Text(
        "[2026-01-02 03:04:05,678 W 212 230] node_manager.cc:157: Last heartbeat was sent 8123 ms ago. There might be resource pressure on this node. If heartbeat keeps lagging, this node can be marked as dead mistakenly.\n[2026-01-02 03:05:45,123 C 212 212] node_manager.cc:170: This node has beem marked as dead.",
        "node_died",
        says=("the node had been marked as dead",),
    ),
    "a node of an old version, by its long id": Text(
        f"WARNING worker.py:1091 -- The node with node id {'ab12' * 10} has been marked dead because the detector has missed too many heartbeats from it.",
        "node_died",
        figures={"node_id": "ab12" * 10},
    ),
    "a raylet that ended, by the agent's log": Text(
        f"2026-01-02 03:04:05,678\tINFO agent.py:220 -- Terminated Raylet: ip=10.20.30.40, node_id={NODE}. _check_parent_via_pipe: The parent is dead.",
        "node_died",
        figures={"node_id": NODE, "node_ip": "10.20.30.40"},
    ),
    "a job that Slurm did not take": Text(
        "RealMemory=32000\n$ sbatch --cpus-per-task=4 --mem=40G run.sh\nsbatch: error: Memory specification can not be satisfied\n",
        "warning",
        says=("can give it the memory that it asks for",),
    ),
    "an error of Python's in Java": Text(
        "com.example.PyException: MemoryError: \n\tat <python>.load.read(load.py:17)\n",
        "memory_error",
    ),
    "demands for memory that wait": Text(
        "Demands:\n {'CPU': 0.5, 'memory': 209715200.0}: 3+ pending tasks/actors\n {'CPU': 0.5, 'memory': 104857600.0}: 2+ pending tasks/actors\n",
        "warning",
        says=("wait for nodes",),
    ),
    "objects that could not be spilled": Text(
        '  File "/opt/lib/python3.11/site-packages/ray/_private/external_storage.py", line 149, in _write_multiple_objects\n    written_bytes = f.write(payload)\nOSError: [Errno 28] No space left on device\n',
        "disk_full",
        says=("the disk to which it spills is full",),
    ),
    # the object store and its disk
    "an object that is larger than the store": Text(
        STORE.format(61000000000),
        "object_store_full",
        says=("61000000000 bytes is larger than the whole object store", "48000000000 bytes"),
    ),
    "an object that is smaller than the store": Text(
        STORE.format(9000000000),
        "object_store_full",
        says=("full of objects that are still referred to", "9000000000 bytes", "48000000000 bytes in all"),
    ),
    "a disk, in a raylet's log": Text(
        "[2026-01-02 03:04:05,678 E 95 101] (raylet) file_system_monitor.cc:105: /mnt/scratch/ray-spill is over 95% full, available space: 40123456789. Object creation will fail if spilling is required.",
        "warning",
        says=("/mnt/scratch/ray-spill", "is over 95% full", "40123456789 bytes"),
    ),
    # devices
    "tensorflow, an operation on a GPU": Text(
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError: {{function_node __wrapped__AddV2_device_/job:localhost/replica:0/task:0/device:GPU:3}} failed to allocate memory [Op:AddV2]",
        "gpu_memory",
        says=("GPU 3", "operation AddV2"),
    ),
    "tensorflow, an operation on the CPU": Text(
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError: {{function_node __wrapped__AddV2_device_/job:localhost/replica:0/task:0/device:CPU:0}} failed to allocate memory [Op:AddV2]",
        "memory_error",
        says=("not a GPU's", "operation AddV2"),
    ),
    "a device of PyTorch's, by its name": Text(
        "torch.OutOfMemoryError: CUDA out of memory while the weights were moved to cuda:5. Tried to allocate 2.00 GiB.",
        "gpu_memory",
        says=("2.00 GiB", "It was GPU 5."),
    ),
    "an MLU": Text(
        "RuntimeError: MLU out of memory. Tried to allocate 96.00 MiB (MLU 4; 47.50 GiB total capacity; 46.90 GiB already allocated; 31.00 MiB free; 46.95 GiB reserved in total by PyTorch)",
        "gpu_memory",
        says=("The MLU's memory", "96.00 MiB", "MLU 4", "47.50 GiB"),
    ),
    "llama.cpp": Text(
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 1234.00 MiB on device 3: cudaMalloc failed: out of memory",
        "gpu_memory",
        says=("It was device 3.",),
    ),
    "a TPU's core": Text(
        "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Error allocating device buffer: Attempting to reserve 3.00G at the bottom of memory. That was not possible. There are 1.70G free, 0B reserved, and 1.70G reservable. TPU_6(process=0,(1,1,0,0))",
        "gpu_memory",
        says=("3.00G", "1.70G", "It was TPU 6."),
    ),
    # threads and processes
    "libgomp's threads": Text(
        "libgomp: Thread creation failed: Resource temporarily unavailable",
        "memory_error",
        says=("One more thread or process could not be started",),
    ),
    "intel's openmp": Text(
        "OMP: Error #34: System unable to allocate necessary resources for OMP thread:\nOMP: System error #11: Resource temporarily unavailable",
        "memory_error",
        says=("One more thread or process could not be started",),
    ),
    "go's threads": Text(
        "runtime: failed to create new OS thread (have 5 already; errno=11)",
        "memory_error",
        says=("One more thread or process could not be started",),
    ),
    "tensorflow's threads": Text(
        "F tensorflow/core/platform/default/env.cc:74] Check failed: ret == 0 (11 vs. 0)Thread tf_Compute creation via pthread_create() failed.",
        "memory_error",
        says=("One more thread or process could not be started",),
    ),
    "java's own threads": Text(
        '[0.114s][warning][os,thread] Failed to start thread "GC Thread#0" - pthread_create failed (EAGAIN) for attributes: stacksize: 1024k',
        "memory_error",
        says=("One more thread or process could not be started",),
    ),
    "a control group's limit of processes": Text(
        "cgroup: fork rejected by pids controller in /kubepods/burstable/pod4f1c2a3b",
        "memory_error",
        says=("/kubepods/burstable/pod4f1c2a3b", "pids.max"),
    ),
    "openblas's regions": Text(
        "OpenBLAS : Program is Terminated. Because you tried to allocate too many memory regions.",
        "memory_error",
        says=("OpenBLAS had no more of its own regions",),
    ),
    "xla, on a GPU": Text(
        "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8589934592 bytes on device cuda:3.",
        "gpu_memory",
        says=("8589934592 bytes", "GPU 3"),
    ),
    # exit codes
    "exit code 139": Text("The process train.py exited with code 139", "crash", says=("code 139", "SIGSEGV")),
    "exit code -6": Text(
        "exitcode  : -6 (pid: 4123)",
        "crash",
        victims=((None, None, None, None, 4123, None),),
        says=("code -6", "SIGABRT", "does not say whether memory"),
    ),
    "exit status 134": Text(
        "subprocess.CalledProcessError: Command '['python', 'train.py']' returned non-zero exit status 134.",
        "crash",
        says=("code 134", "SIGABRT"),
    ),
    "exit code -9": Text("exit code: -9", "sigkill", says=("code -9", "does not say whether memory")),
    "exit code 255": Text("command terminated with exit code 255", "unknown", says=("code 255", "only that it failed")),
    "exit code 143": Text("container exited with status 143", "exit", says=("code 143", "SIGTERM")),
    "a segmentation fault, by the shell": Text(
        "/opt/run.sh: line 12:  4123 Segmentation fault      (core dumped) python train.py",
        "crash",
        victims=((None, None, None, None, 4123, None),),
        says=("SIGSEGV",),
    ),
    # what ended with others
    "several killed, one named": Text(
        f"Task shuffle failed due to oom. There are 3 oom retries remaining, so the task will be retried. Error: 3 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.20.30.40, ID: {NODE}) was 30.11GB used / 31.50GB limit (0.955873)\n"
        f"Ray killed 3 worker(s) based on the killing policy\nConsidered workers: [\nSelected to kill: (Task: job ID=01000000, lease ID={LEASE}, task name=shuffle, required resources={{CPU: 1}}, pid=16781, actual memory used=7.25GB, worker ID={WORKER})\n"
        f"Selected to kill: (Task: job ID=01000000, lease",
        "ray_memory_monitor",
        victims=(("shuffle", None, None, WORKER, 16781, round(7.25 * 2**30)),),
        figures={"node_ip": "10.20.30.40", "node_id": NODE, "used": round(30.11 * 2**30), "limit": round(31.5 * 2**30)},
        says=("3 workers",),
    ),
    "a raylet of 2.0 that kills": Text(
        "[2026-01-02 03:04:05,678 I 95 95] (raylet) memory_monitor.cc:71: Node memory usage above threshold, used: 30064771072, total: 34359738368, usage fraction: 0.875, threshold: 0.8\n"
        f"[2026-01-02 03:04:05,679 E 95 95] (raylet) node_manager.cc:2926: [0] Killing worker with the latest task assigned time to free up memory. Find details of workers killed via `ray list workers --detail`. Task to be killed:{TASK}. Top 10 worker details:",
        "ray_memory_monitor",
        victims=((None, TASK, None, None, None, None),),
        figures={"used": 30064771072, "limit": 34359738368, "threshold": 27487790694},
    ),
    "a monitor of 2.0 that warns": Text(
        "[2026-01-02 03:04:05,678 I 95 95] (raylet) memory_monitor.cc:71: Node memory usage above threshold, used: 30064771072, total: 34359738368, usage fraction: 0.875, threshold: 0.8",
        "warning",
        figures={"used": 30064771072, "limit": 34359738368, "threshold": 27487790694},
        says=("above the threshold",),
    ),
    "the address only in ray's command": Text(
        f"Memory on the node (IP: x.x.x.x, ID: {NODE}) where the task (task ID: {TASK}, name=shuffle, pid=16781, memory used=7.25GB) was running was 30.11GB / 31.50GB (0.955873), which exceeds the memory usage threshold of 0.95. "
        f"Ray killed this worker (ID: {WORKER}) because it was the most recently scheduled task; to see more information about memory usage on this node, use `ray logs raylet.out -ip 10.20.30.40`.",
        "ray_memory_monitor",
        victims=(("shuffle", TASK, None, WORKER, 16781, round(7.25 * 2**30)),),
        figures={
            "node_ip": "10.20.30.40",
            "node_id": NODE,
            "used": round(30.11 * 2**30),
            "limit": round(31.5 * 2**30),
            "threshold": round(0.95 * round(31.5 * 2**30)),
        },
    ),
    "a dead node beside a raylet that ended": Text(
        f"The node with node id: {NODE} and address: 10.20.30.40 and node name: 10.20.30.40 has been marked dead because the detector has missed too many heartbeats from it.\n"
        "Raylet is terminated. Termination is unexpected. Possible reasons include: (1) SIGKILL by the user or system OOM killer, (2) Invalid memory access from Raylet causing SIGSEGV or SIGBUS, (3) Other termination signals.",
        "node_died",
        figures={"node_ip": "10.20.30.40", "node_id": NODE},
    ),
    "a pod whose processes are killed together": Text(
        f"Memory cgroup out of memory: Killed process 4123 (ray::train) total-vm:9994000kB, anon-rss:3877840kB, file-rss:163840kB, shmem-rss:0kB, UID:1000 pgtables:1116kB oom_score_adj:900\n"
        f"Tasks in /kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{POD}.slice/cri-containerd-{OBJECT}{'9c' * 4}.scope are going to be killed due to memory.oom.group set",
        "kernel_oom",
        victims=(("ray::train", None, None, None, 4123, 3877840 * 1024),),
        says=(f"the Kubernetes pod {POD.replace('_', '-')}",),
    ),
    "a file of Ray's events that is cut": Text(
        f'{{"custom_fields":{{"node_id":"{OTHER_NODE}"}},"event_id":"03cdd9ea75bc","host_name":"minion-1","label":"RAYLET_MARKED_DEAD","message":"[Timeout] Exiting because this node manager has mistakenly been marked as dead by the GCS: GCS failed to check the health of this node for 5 times.","pid":"89","sever',
        "node_died",
        figures={"node_id": OTHER_NODE},
        says=("minion-1",),
    ),
}
