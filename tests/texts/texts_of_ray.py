# ruff: noqa: E501 (messages are as long as they are)
"""More texts of our own, in the formats of Ray, of its libraries and of what they use, with what stands in each."""

from __future__ import annotations

from tests.texts.message_text import Text

NODE, WORKER, TASK = "ab12" * 14, "cd34" * 14, "5e6f" * 12
OBJECT = "9c" * 28
TEXTS: dict[str, Text] = {
    "no memory for a thread's own data": Text(
        "2026-01-02 03:04:05,678\tWARNING worker.py:1986 -- A worker died or was killed while executing a task by an "
        f"unexpected system error. To troubleshoot the problem, check the logs for the dead worker. RayTask ID: {TASK} "
        f"Worker ID: {WORKER} Node ID: {NODE} Worker IP address: 10.20.30.40 Worker port: 10011 Worker PID: 16781 "
        "Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error code 2. "
        "End of file.\ncannot allocate memory for thread-local data: ABORT",
        "memory_error",
        victims=((None, TASK, None, WORKER, 16781, None),),
        figures={"node_ip": "10.20.30.40", "node_id": NODE},
        says=("own data of a thread",),
    ),
    "bad_alloc in a worker that died": Text(
        f"terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\nRayTask ID: {TASK} "
        f"Worker ID: {WORKER} Node ID: {NODE} Worker IP address: 10.20.30.40 Worker port: 10011 Worker PID: 16781 "
        "Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error code 2.",
        "memory_error",
        victims=((None, TASK, None, WORKER, 16781, None),),
        figures={"node_ip": "10.20.30.40", "node_id": NODE},
        says=("std::bad_alloc",),
    ),
    "store not in /dev/shm, old": Text(
        "WARNING: The object store is using /tmp instead of /dev/shm because /dev/shm has only 402257592320 bytes "
        "available. This may slow down performance! You may be able to free up space by deleting files in /dev/shm or "
        "terminating any running plasma_store_server processes. If you are inside a Docker container, you may need to "
        "pass an argument with the flag '--shm-size' to 'docker run'.\n"
        "Starting the Plasma object store with 482.0 GB memory using /tmp.",
        "warning",
        says=("402257592320 bytes",),
    ),
    "store not in /dev/shm": Text(
        "2026-01-02 03:04:05,678\tWARNING services.py:2159 -- WARNING: The object store is using /tmp instead of /dev/shm "
        "because /dev/shm has only 5368709120 bytes available. This will harm performance! You may be able to free up "
        "space by deleting files in /dev/shm. If you are inside a Docker container, you can increase /dev/shm size by "
        "passing '--shm-size=10.24gb' to 'docker run' (or add it to the run_options list in a Ray cluster config). Make "
        "sure to set this to more than 30% of available RAM.",
        "warning",
        says=("5368709120 bytes", "--shm-size=10.24gb"),
    ),
    "spilling failed": Text(
        "An unexpected internal error occurred while the IO worker was spilling objects: object of type 'NoneType' has no len()",
        "warning",
        says=("spill", "object of type 'NoneType' has no len()"),
    ),
    "restoring failed": Text(
        "An unexpected internal error occurred while the IO worker was restoring spilled objects.",
        "warning",
        says=("read spilled objects back",),
    ),
    "raylet could not spill": Text(
        "local_object_manager.cc:360: Failed to send object spilling request: "
        "GrpcUnavailable: RPC Error message: Socket closed",
        "warning",
        says=("spill", "Socket closed"),
    ),
    "spilling, at the level of debugging": Text(
        "[2026-01-02 03:04:05,678 D 95 95] (raylet) local_object_manager.cc:191: Spilling objects of total size 105026250 num objects 105",
        "warning",
        says=("105 objects", "105026250 bytes"),
    ),
    "store's connection lost": Text(
        "F0102 03:04:05.678901  2061  2061 plasma_store_provider.cc:43]  Check failed: _s.ok() Bad status: IOError: Broken pipe",
        "crash",
        says=("connection to the object store",),
    ),
    "daft's parquet reader": Text(
        "daft.exceptions.DaftCoreException: DaftError::ArrowError External format error: Operation would exceed memory use threshold",
        "memory_error",
        says=("Parquet", "not the node's memory"),
    ),
    "pull timed out": Text(
        f"[2026-01-02 03:04:05,678 W 95 95] (raylet) pull_manager.cc:540: Object neither in memory nor external storage {OBJECT}\n"
        f"[2026-01-02 03:14:05,678 I 95 95] (raylet) pull_manager.cc:554: Object time out {OBJECT}",
        "object_lost",
        says=(OBJECT, "in time"),
    ),
    "neither in memory nor on disk": Text(
        f"pull_manager.cc:540: Object neither in memory nor external storage {OBJECT}",
        "object_lost",
        says=(OBJECT,),
    ),
    "old store evicts": Text(
        "There is not enough space to create this object, so evicting 32259 objects to free up 20000580 bytes.",
        "warning",
        says=("32259 objects", "20000580 bytes"),
    ),
    "plasma and /dev/shm": Text(
        "System memory request exceeds memory available in /dev/shm. The request is for 10000000000 bytes, and the amount "
        "available is 3579969945 bytes. You may be able to free up space by deleting files in /dev/shm.",
        "warning",
        says=("10000000000 bytes", "/dev/shm", "3579969945 bytes"),
    ),
    "plasma's exception": Text(
        "pyarrow.lib.PlasmaStoreFull: object does not fit in the plasma store",
        "object_store_full",
        says=("does not fit",),
    ),
    "function too large": Text(
        "ValueError: The actor ImplicitFunc is too large (114 MiB > FUNCTION_SIZE_ERROR_THRESHOLD=95 MiB). Check that its "
        "definition is not implicitly capturing a large array or other object in scope. Tip: use ray.put() to put large "
        "objects in the Ray object store.",
        "warning",
        says=("the actor ImplicitFunc", "114 MiB", "95 MiB"),
    ),
    "function too large, old": Text(
        "ValueError: The remote function __main__.capture is too large (838862615 > FUNCTION_SIZE_ERROR_THRESHOLD=100000000 "
        "bytes). Check that its definition is not implicitly capturing a large array or other object in scope.",
        "warning",
        says=("the remote function __main__.capture", "838862615 bytes", "100000000 bytes"),
    ),
    "trainable too large": Text(
        "ray.tune.error.TuneError: The Trainable/training function is too large for grpc resource limit. Check that its "
        "definition is not implicitly capturing a large array or other object in scope. Tip: use tune.with_parameters() to "
        "put large objects in the Ray object store.",
        "warning",
        says=("Ray Tune",),
    ),
    "a demand that waits": Text(
        "Demands:\n {'CPU': 0.5, 'memory': 142555610.0}: 3+ pending tasks/actors",
        "warning",
        says=("3 or more", "{'CPU': 0.5, 'memory': 142555610.0}"),
    ),
    "a placement group that waits": Text(
        "Demands:\n {'memory': 42949672960.0, 'CPU': 1.0} * 2 (STRICT_PACK): 1+ pending placement groups",
        "warning",
        says=("1 or more", "{'memory': 42949672960.0, 'CPU': 1.0}"),
    ),
    "no node type": Text(
        "(autoscaler +34s) Error: No available node types can fulfill resource request defaultdict(<class 'float'>, "
        "{'CPU': 1.0, 'memory': 42949672960.0}). Add suitable node types to this cluster to resolve this issue.",
        "warning",
        says=("no kind of node", "{'CPU': 1.0, 'memory': 42949672960.0}"),
    ),
    "no node type, autoscaler v2": Text(
        "(autoscaler +34s) No available node types can fulfill resource requests {'memory': 42949672960.0}*2. Add suitable "
        "node types to this cluster to resolve this issue.",
        "warning",
        says=("no kind of node", "{'memory': 42949672960.0}"),
    ),
    "rllib's buffer": Text(
        "Estimated max memory usage for replay buffer is 84.672 GB (1000000.0 batches of size 1, 84672 bytes each), available "
        "system memory is 67.42 GB",
        "warning",
        says=("84.672 GB", "67.42 GB"),
    ),
    "an actor whose class is cut off": Text(
        "        actor_id: 7a8b7a8b7a8b7a8b7a8b7a8b7a8b7a8b\n        pid: 4123\n        name: Xy_Rollout_0:1\n        namespace: n\n        ip: 10.20.30.40\n"
        "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file.",
        "unknown",
        victims=(("Xy_Rollout_0:1", None, "7a8b" * 8, None, 4123, None),),
        figures={"node_ip": "10.20.30.40"},
    ),
    "a worker whose raylet failed": Text(
        "E0102 03:04:05.678901 4123 4200 core_worker.cc:693] Raylet failed. Shutting down.",
        "node_died",
        says=("the raylet of its node had failed",),
    ),
    "an old monitor's error, cut": Text(
        "ERROR worker.py:1074 -- Possible unhandled error from worker: ray::Store.get() (pid=16781, ip=10.20.30.40)\n"
        '  File "python/ray/_raylet.pyx", line 440, in ray._raylet.execute_task\n'
        '  File "/opt/venv/lib/python3.8/site-packages/ray/memory_monitor.py", line 128, in raise_if_low_memory',
        "ray_memory_monitor",
        figures={"node_ip": "10.20.30.40"},
        says=("did not run Store.get (pid 16781)",),
    ),
    "an old monitor's error, with a host": Text(
        "ray.exceptions.RayTaskError: ray_shuffle (pid=16781, host=node-7)\n"
        '  File "/opt/venv/lib/python3.6/site-packages/ray/memory_monitor.py", line 77, in raise_if_low_memory\n'
        "ray.memory_monitor.RayOutOfMemoryError: More",
        "ray_memory_monitor",
        says=("ray_shuffle (pid 16781) on node node-7",),
    ),
    "ray data's share of the store is full": Text(
        "Resource usage vs limits: 2.0/16.0 CPU, 0.0/1.0 GPU, 5.21 GiB/5.21 GiB object_store_memory 0:   0%|          | 0/1 [00:00<?, ?it/s]",
        "warning",
        says=("5.21 GiB, and waits for room",),
    ),
}
