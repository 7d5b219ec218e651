"""Advice on what Ray itself says: its objects, its store, its nodes and its own processes."""

from __future__ import annotations

from .remedy import DATA, ISOLATION, OOM, PAGE, RAYS_DOCS, Remedy

__all__ = ["RAY", "RAY_BY_LACK"]

_SPILLING = f"{RAYS_DOCS}ray-core/objects/object-spilling.html"
RAY = {
    "larger_store": Remedy(
        "an object is larger than the whole object store",
        "Make the object smaller, for example in pieces: dropping references does not help. Or start Ray with "
        "`--object-store-memory={memory}` or more, if the node has it.",
        f"{RAYS_DOCS}ray-core/scheduling/memory-management.html",
    ),
    "owner_died": Remedy(
        "an object's owner ended",
        "See why the owner ended: its log is among the session's logs. What it created with `.remote()` and "
        "`ray.put()` ended with it.",
        f"{RAYS_DOCS}ray-core/fault_tolerance/objects.html",
    ),
    "object_lost": Remedy(
        "all copies of an object were lost",
        "See why the nodes ended. Ray makes an object again only in the process that owns it, and where a task "
        "returned it whose `max_retries` is not 0: not one of `ray.put()`.",
        f"{RAYS_DOCS}ray-core/fault_tolerance/objects.html",
    ),
    "more_room": Remedy(
        "an object was evicted, or deleted, and cannot be made again",
        "Keep fewer or smaller objects at once, or start Ray with more `--object-store-memory`: Ray before 1.3 evicts "
        "objects from a full store, and later versions spill them to disk.",
        _SPILLING,
    ),
    "warning": Remedy(
        "a message warns of memory, and nothing ended",
        "See what uses memory now: `raymemprof usage`, or the whole of it with `raymemprof doctor`.",
        PAGE,
    ),
    "low_node": Remedy(
        "a node was nearly out of memory, and nothing ended yet",
        "Run fewer at once there, or have each take less, before something is killed: `raymemprof usage` says what "
        "uses memory now, and `raymemprof advise` how many fit.",
        OOM,
    ),
    "larger_shm": Remedy(
        "/dev/shm is too small for the object store",
        "Give the object store no more than /dev/shm has (`ray start --object-store-memory`, in bytes): Ray puts it on "
        "a disk otherwise, or makes it smaller. In a container, make /dev/shm larger: `docker run --shm-size`; "
        "Docker's default is 64 MB.",
        f"{RAYS_DOCS}ray-core/scheduling/memory-management.html",
    ),
    "put_once": Remedy(
        "a function or an actor's class is too large, or nearly, to be sent to workers",
        "Find the large object that its code refers to. Put it with `ray.put()` once, and pass the reference as an "
        "argument; in Ray Tune, give it to `tune.with_parameters`.",
        f"{RAYS_DOCS}ray-core/patterns/closure-capture-large-objects.html",
    ),
    "smaller_buffer": Remedy(
        "RLlib's replay buffer may become larger than memory",
        "Give the replay buffer less `capacity` (in `replay_buffer_config`), or observations of a smaller type; "
        "several trials, or workers with a buffer each, need it several times.",
        f"{RAYS_DOCS}rllib/rllib-replay-buffers.html",
    ),
    "ask_for_less": Remedy(
        "a task or an actor waits for memory that it asks for, perhaps",
        "See what each node has free, `ray status -v`: `memory=` is in bytes, and counts against what Ray offers of a "
        "node, not against what is in use. Ask for less, or start nodes that have as much.",
        f"{RAYS_DOCS}ray-core/scheduling/memory-management.html",
    ),
    "spilling_failed": Remedy(
        "a process of Ray's could not spill objects, or read them back",
        "Read the logs of the processes that do it, `io-worker-*` in the session's logs, and see whether the disk that "
        "Ray spills to has room (`df -h`).",
        _SPILLING,
    ),
    "no_copy": Remedy(
        "Ray found no copy of an object",
        "See whether a node or a worker that had the object ended: `ray list nodes`, and the same id in `raylet.out` "
        "of the other nodes.",
        f"{RAYS_DOCS}ray-core/fault_tolerance/objects.html",
    ),
    "store_gone": Remedy(
        "a worker lost its connection to the object store",
        "See why the store ended: the end of `raylet.out` and `raylet.err` of that node (in old versions also "
        "`plasma_store.err`), and its kernel's log: `dmesg -T | grep -i 'killed process'`.",
        f"{RAYS_DOCS}ray-observability/user-guides/configure-logging.html",
    ),
    "raylet_crashed": Remedy(
        "a raylet crashed",
        "Read the stack in `raylet.err` of that node, in the session's logs; a fault in Ray's own code is one to "
        "report to Ray, with its version.",
        f"{RAYS_DOCS}ray-observability/user-guides/configure-logging.html",
    ),
    "gcs_crashed": Remedy(
        "the GCS server crashed",
        "Read the stack in `gcs_server.err` of the head node, in the session's logs; a fault in Ray's own code is one "
        "to report to Ray, with its version.",
        f"{RAYS_DOCS}ray-observability/user-guides/configure-logging.html",
    ),
    "data_asks_for_none": Remedy(
        "Ray Data says that an operator uses more memory than Ray requests for it",
        "Say what the operator needs, a quarter more than it uses: `map_batches(…, memory={memory:_})`; or have Ray "
        "Data take a default for all that say nothing: `DataContext.get_current().default_map_logical_memory_enabled = "
        "True` (Ray 2.56 and later).",
        DATA,
    ),
    "reserve_more": Remedy(
        "Ray says that its own parts use more than resource isolation reserves for them",
        "Reserve more for Ray's own processes: `ray start --enable-resource-isolation "
        "--system-reserved-memory={memory}`.",
        ISOLATION,
    ),
    "crash": Remedy(
        "a process crashed",
        "Read the worker's log for the stack: the `.err` file of its pid in the session's logs, or `ray logs`.",
        f"{RAYS_DOCS}ray-observability/user-guides/configure-logging.html",
    ),
    "exit": Remedy(
        "a process ended by itself or was asked to",
        "Look for `sys.exit`, `exit_actor()`, or who sends SIGTERM: a batch system, or a container's stop.",
        f"{RAYS_DOCS}ray-core/actors/terminating-actors.html",
    ),
    "serve_ended_it": Remedy(
        "`ray.kill` ended a replica of Ray Serve",
        "See why Ray Serve's controller ended it: `serve/controller_*.log` in the session's logs says whether it was "
        "scaled down, deployed anew, or failed its health check.",
        f"{RAYS_DOCS}serve/production-guide/fault-tolerance.html",
    ),
    "ray_kill": Remedy(
        "`ray.kill` ended an actor",
        "Look for `ray.kill` in the code that holds the actor's handle.",
        f"{RAYS_DOCS}ray-core/actors/terminating-actors.html",
    ),
    "node_died": Remedy(
        "a node died or cannot be reached",
        "See whether the machine is up, and its kernel's log: a raylet killed for memory ends the node.",
        f"{RAYS_DOCS}ray-core/fault_tolerance/nodes.html",
    ),
    "list_references": Remedy(
        "the object store is full",
        "List what is referred to: `ray memory --stats-only`, then `ray memory`; drop references that are done with.",
        PAGE,
    ),
    "return_less": Remedy(
        "the object store is full",
        "Return less at a time (yield pieces from a generator task), or start Ray with more `--object-store-memory`.",
        f"{RAYS_DOCS}ray-core/patterns/generators.html",
    ),
    "disk_full": Remedy(
        "the disk that Ray spills to is full",
        "Free the disk that Ray spills to (`df -h`), or name another with `--object-spilling-directory`.",
        _SPILLING,
    ),
    "not_started": Remedy(
        "Ray refused to start with the memory that it was to have",
        "Choose what Ray may have so that it fits the node: `ray start --object-store-memory` and `--memory`, or the "
        "arguments of `ray.init()`, in bytes; in a container, `docker run --shm-size` is the room for objects.",
        f"{RAYS_DOCS}ray-core/scheduling/memory-management.html",
    ),
    "least_store": Remedy(
        "the object store was to be smaller than Ray takes",
        "Give the node, or its container or pod (`resources.limits.memory`), more memory: unless told otherwise, Ray "
        "takes 30 % of what is free for the object store. Where `--object-store-memory` was given, give more.",
        f"{RAYS_DOCS}ray-core/scheduling/memory-management.html",
    ),
    "smaller_store": Remedy(
        "the object store was to have what the node does not have, or what tasks need",
        "Give the object store less: `ray start --object-store-memory`, or `ray.init(object_store_memory=…)`, in "
        "bytes; or give the node, or its container, more memory.",
        f"{RAYS_DOCS}ray-core/scheduling/memory-management.html",
    ),
    "store_fits_shm": Remedy(
        "the object store was to be larger than /dev/shm",
        "Make /dev/shm as large as the object store: `docker run --shm-size`, in Kubernetes an `emptyDir` of `medium: "
        "Memory` at /dev/shm; or give the store less with `--object-store-memory`.",
        f"{RAYS_DOCS}ray-core/scheduling/memory-management.html",
    ),
    "store_on_a_mac": Remedy(
        "the object store was to be larger than Ray takes on a Mac",
        "Give the object store less, with `ray.init(object_store_memory=…)`; or set "
        "RAY_ENABLE_MAC_LARGE_OBJECT_STORE=1, which is slow.",
        f"{RAYS_DOCS}ray-core/scheduling/memory-management.html",
    ),
    "no_isolation": Remedy(
        "a node is too small for resource isolation",
        "Start Ray there without `--enable-resource-isolation`, or on a node, or in a container, with more memory.",
        ISOLATION,
    ),
    "choose_reserve": Remedy(
        "what was to be reserved for Ray's own processes is more, or less, than can be",
        "Choose another `ray start --system-reserved-memory`, in bytes: between the least that Ray names and the "
        "node's memory; or leave it out, and Ray chooses.",
        ISOLATION,
    ),
    "unknown": Remedy(
        "a process ended, and nobody says how",
        "See how the worker ended: `ray logs raylet.out`, its `.err` log, and `dmesg` for the kernel's killer.",
        PAGE,
    ),
}
RAY_BY_LACK = {
    "room": ("more_room",),
    "least store": ("least_store",),
    "memory for tasks": ("smaller_store",),
    "store in memory": ("store_fits_shm",),
    "store on a Mac": ("store_on_a_mac",),
    "memory for the store": ("smaller_store",),
    "memory for isolation": ("no_isolation",),
    "reserve": ("choose_reserve",),
    "node": ("low_node",),
    "disk": ("disk_full",),
    "shared memory": ("larger_shm",),
    "large function": ("put_once",),
    "replay buffer": ("smaller_buffer",),
    "asked": ("ask_for_less",),
    "spilling": ("spilling_failed",),
    "no copy": ("no_copy",),
    "store gone": ("store_gone",),
    "raylet": ("raylet_crashed",),
    "gcs": ("gcs_crashed",),
}
"""What is said where a message says that this has too little (`Message.lacks`)."""
