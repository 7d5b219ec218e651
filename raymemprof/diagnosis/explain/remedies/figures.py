"""Advice after a kill for memory that needs its figures and names: what held the memory, and what to run with less."""

from __future__ import annotations

from .remedy import DATA, ISOLATION, OOM, PAGE, RAYS_DOCS, Remedy

__all__ = ["FIGURES", "FIGURES_BY_LACK"]

_FAULTS = f"{RAYS_DOCS}ray-core/fault-tolerance.html"
FIGURES = {
    # What held the memory.
    "change_the_line": Remedy(
        "a killed call's capture names the line that held most",
        "Change what {place} keeps; `{command}` shows all that is held.",
        PAGE,
    ),
    "find_the_line": Remedy(
        "a task or actor was killed that was not profiled",
        "Find what {name} holds: put @profile_memory on it, and the next kill comes with the line.",
        PAGE,
    ),
    "profile": Remedy(
        "a process ended, nobody said why, and nothing was profiled",
        "Put @profile_memory on what runs there: the next death will come with the line that held most.",
        PAGE,
    ),
    "raylet_died": Remedy(
        "the kernel killed the raylet",
        "The raylet's death ended its node, with all that ran there. Find what filled it: `raymemprof usage`. Resource "
        "isolation protects the raylet: `ray start --enable-resource-isolation`.",
        DATA,
    ),
    "gcs_died": Remedy(
        "the kernel killed the GCS server",
        "The GCS server is Ray's own: its death ends the cluster, unless it keeps its state in Redis. Give the head "
        "node, or its pod, more memory, and keep tasks off it: `ray start --head --num-cpus=0`.",
        f"{RAYS_DOCS}ray-core/fault_tolerance/gcs.html",
    ),
    "not_of_ray": Remedy(
        "the kernel killed a process whose name is no task's or actor's",
        "Find what {name} is: by its name it is no task and no actor. `raymemprof usage` shows Ray's share.",
        PAGE,
    ),
    "renamed": Remedy(
        "the kernel killed a process that bears the name that PyTorch gives to one that imports it",
        "{name} is how PyTorch names a process that imports it: it may be a task's or an actor's, or another program. "
        "Look for its pid in `raymemprof usage`, or in the names of the session's logs.",
        PAGE,
    ),
    "rays_own": Remedy(
        "Ray's monitor killed an actor that Ray starts for itself",
        "{name} is Ray's own, and has no code of yours: see what filled the node, with `raymemprof usage`.",
        PAGE,
    ),
    "only_idle": Remedy(
        "all that Ray's monitor killed were idle workers",
        "Only idle workers were killed, and nothing ran in them. See what else fills the node: `raymemprof usage`; "
        "`raymemprof doctor` tells what idle workers keep.",
        OOM,
    ),
    "list_the_kills": Remedy(
        "a kill for memory whose victim the message does not name",
        "List who was killed, with what each held: `raymemprof ooms`.",
        OOM,
    ),
    "find_what_fills": Remedy(
        "Ray 1.x refused to run a task, since its node was low on memory",
        "Find what fills the node: put @profile_memory on the tasks and actors that run there, and ask "
        "`raymemprof calls --sort growth`.",
        PAGE,
    ),
    "the_largest": Remedy(
        "Ray 1.x refused to run a task, and its message lists who had most",
        "See whether {process} should use {size}: nothing else on the list had more.",
        PAGE,
    ),
    "fills_unlisted": Remedy(
        "Ray 1.x refused to run a task, and those that its message lists had a small part of what the node used",
        "What is listed had {listed} of the {used} in use: something else fills the node. In a container, old "
        "versions of Ray measure the whole machine, with all that runs outside of the container.",
        PAGE,
    ),
    "look_at_the_largest": Remedy(
        "a process that was not killed had more than what was killed",
        "See whether {process} should use {size}, more than what was killed.{more}",
        PAGE,
    ),
    "idle_workers": Remedy(
        "idle workers that were not killed had 100 MiB or more",
        "Idle workers that were not killed had {size}: with a lower RAY_idle_worker_killing_memory_threshold_bytes Ray "
        "considers them for killing too.",
        OOM,
    ),
    # How many run at once, and how large.
    "had_little": Remedy(
        "what was killed had less than 100 MiB",
        "{name} had little, {size}: see what else filled the node, with `raymemprof usage`.",
        OOM,
    ),
    "ask_unmeasured": Remedy(
        "the size of what was killed is not known",
        "Run fewer at once: give {name} memory=… or more num_cpus in @ray.remote.",
        f"{RAYS_DOCS}ray-core/patterns/limit-running-tasks.html",
    ),
    "ask_library": Remedy(
        "one of Ray's libraries runs what was killed, and its size is not known",
        "Run fewer at once: {ask}, or {fewer}.",
        DATA,
    ),
    "too_large": Remedy(
        "a quarter more than what was killed had is more than its node offers to tasks",
        "Have {name} take less at a time: not one that needs {wanted} fits this node, where tasks can have {most}, and "
        "Ray would never start one with such a memory=.",
        f"{RAYS_DOCS}ray-core/scheduling/memory-management.html",
    ),
    "one_alone": Remedy(
        "the only process of its name had half of what the node used, or more",
        "One {name} alone had {held} of the {used} in use: to run fewer at once would not help. {smaller} Or give it a "
        "larger node.",
        OOM,
    ),
    "ask": Remedy(
        "the size of what was killed is known, and fits its node",
        "Run fewer at once: {ask} asks for a quarter more than {name} had when it was killed, and it may need more "
        "yet; or {fewer}. `raymemprof advise` says what holds on your nodes.",
        DATA,
    ),
    "smaller_batches": Remedy(
        "one of Ray's libraries runs what was killed",
        "{smaller}",
        DATA,
    ),
    "spare_the_head": Remedy(
        "what was killed ran on the head node of several nodes",
        "Keep tasks off the head node, which has the driver and Ray's own processes: `ray start --head --num-cpus=0`.",
        PAGE,
    ),
    # The limit.
    "move_the_threshold": Remedy(
        "Ray's monitor killed because the node's use was above its threshold",
        "Or give the node more memory; {variable} moves the limit ({default}){isolation}.",
        OOM,
    ),
    "move_the_reserve": Remedy(
        "Ray's monitor killed because workers reached the limit that resource isolation sets",
        "Or give the node more memory; `ray start --system-reserved-memory` moves the limit: it is what workers cannot "
        "have.",
        ISOLATION,
    ),
    "more_memory": Remedy(
        "the kernel killed for memory",
        "Or give the node, or its container, more memory.",
        PAGE,
    ),
    "isolate": Remedy(
        "the kernel killed a task or an actor for memory",
        "Or have Ray kill before the kernel does: `ray start --enable-resource-isolation` (Ray 2.56 and later, with "
        "cgroup v2).",
        DATA,
    ),
    "end_the_retries": Remedy(
        "Ray retries a task without end",
        "End the retries, which go on without end: RAY_task_oom_retries=3 in the environment of the driver.",
        OOM,
    ),
    # Messages that say too little.
    "give_it_all": Remedy(
        "the text is no message about memory that is known",
        "Give it the whole message, and what stands around it; of an exception, the exception itself.",
        PAGE,
    ),
    "only_quoted": Remedy(
        "the text tells of memory in words that are not known",
        "See what the quoted lines name: whose memory or limit, and which process. `raymemprof usage` shows what has "
        "memory now; `dmesg -T | grep -i 'killed process'` shows whom the kernel killed.",
        PAGE,
    ),
    "ask_the_doctor": Remedy(
        "the text is no message about memory that is known",
        "For what memory is used for, ask `raymemprof doctor`, or `raymemprof.doctor()`.",
        PAGE,
    ),
    "name_the_worker": Remedy(
        "several deaths fit what the text says",
        "Give `raymemprof explain` what the raylet says of the death: the text has its worker's ID and pid.",
        PAGE,
    ),
    "ask_the_kernel": Remedy(
        "a process was killed by SIGKILL, and no log says by whom",
        "Ask the node's kernel whether it killed it: {ask}{counted}.",
        DATA,
    ),
    "find_the_killer": Remedy(
        "a process was killed by SIGKILL, and no log says by whom",
        "Else find who does it: `ray stop --force`, a batch system's limit, a container's stop, os._exit.",
        _FAULTS,
    ),
}
FIGURES_BY_LACK = {
    "quoted": ("only_quoted", "ask_the_doctor"),
}
"""What is said where a message says that this has too little (`Message.lacks`)."""
