"""Advice on what kernels, containers, clouds and batch systems say."""

from __future__ import annotations

from .remedy import MMAP, OOM, PAGE, RAYS_DOCS, Remedy

__all__ = ["SYSTEMS", "SYSTEMS_BY_LACK"]

_KUBERNETES = "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/"
SYSTEMS = {
    "container_limit": Remedy(
        "a container was OOMKilled",
        "Raise the container's memory limit, or lower Ray's kill threshold (`RAY_memory_usage_threshold`). In a "
        "container Ray takes its limit as the node's memory and kills workers at 95 % of it, perhaps too late.",
        _KUBERNETES,
    ),
    "pod_events": Remedy(
        "a container was OOMKilled", "Look for the pod's last events: `kubectl describe pod`.", _KUBERNETES
    ),
    "yarn_memory": Remedy(
        "YARN killed a container at its memory limit",
        "Give YARN's containers more memory beside the Java heap: `spark.executor.memoryOverhead` "
        "(`spark.yarn.executor.memoryOverhead` before Spark 2.3) where Spark starts them, as for RayDP and Orca, "
        "`mapreduce.map.memory.mb` and `mapreduce.reduce.memory.mb` for MapReduce; or have each use less.",
        "https://spark.apache.org/docs/latest/running-on-yarn.html",
    ),
    "yarn_virtual": Remedy(
        "YARN killed a container at its limit of virtual memory",
        "Virtual memory is mostly reserved, not used: switch the check off "
        "(`yarn.nodemanager.vmem-check-enabled=false`), or raise `yarn.nodemanager.vmem-pmem-ratio`.",
        "https://hadoop.apache.org/docs/stable/hadoop-yarn/hadoop-yarn-common/yarn-default.xml",
    ),
    "cgroup": Remedy(
        "a memory cgroup, or the machine, had no memory, and the kernel found nothing to kill or does not name it",
        "See whose limit it is (`systemctl show -p MemoryMax`, the container's or job's limit) and raise it; processes "
        "with an oom_score_adj of -1000 are never killed.",
        "https://docs.kernel.org/admin-guide/cgroup-v2.html",
    ),
    "macs_swap": Remedy(
        "macOS could not put more memory into swap",
        "Free room on the Mac's system disk, where swap is, and end what uses most memory (Activity Monitor).",
        "https://support.apple.com/guide/activity-monitor/view-memory-usage-actmntr1004/mac",
    ),
    "memory_cgroups": Remedy(
        "the kernel did not make one more memory cgroup",
        "This is for who runs the machine: count its memory cgroups (`cat /proc/cgroups`), of which old kernels keep "
        "those of jobs that ended, and see how much memory is free; a reboot or a newer kernel frees them.",
        "https://docs.kernel.org/admin-guide/cgroup-v1/memory.html",
    ),
    "heroku": Remedy(
        "a dyno of Heroku's used more than its memory quota",
        "Run fewer processes in the dyno (`WEB_CONCURRENCY`), or take a larger dyno type.",
        "https://devcenter.heroku.com/articles/error-codes",
    ),
    "lambda": Remedy(
        "a function of AWS Lambda ended, at its memory limit perhaps",
        "Raise the function's memory (`MemorySize`): compare `Max Memory Used` with `Memory Size` in its REPORT line.",
        "https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html",
    ),
    "runner": Remedy(
        "a runner of a CI job, or a step of it, ended",
        "If it was memory: run fewer tests or compilers at once in the job, or take a runner, or a container of it, "
        "with more.",
        "https://docs.github.com/en/actions/reference/runners/github-hosted-runners",
    ),
    "told": Remedy(
        "somebody tells that something was killed for memory, and has no log of it",
        "See what was killed, and by whom: `raymemprof ooms` lists the kills of Ray's monitor, `dmesg -T | grep "
        "-i 'killed process'` "
        "the kernel's, and `kubectl describe pod` shows a container's limit.",
        PAGE,
    ),
    "enomem": Remedy(
        "the kernel refused memory, and the text does not say how much was asked for",
        "Make the allocation that failed smaller, if it is large: the traceback has its line. Where memory is free, "
        "another limit refuses it: the container's, `ulimit -v`, vm.overcommit_memory, vm.max_map_count, or the "
        "number of "
        "processes.",
        MMAP,
    ),
    "slurm_asked": Remedy(
        "Slurm did not take a job, since no node has the memory that it asks for",
        "Ask for less (`--mem`, `--mem-per-cpu`) than a node has: `scontrol show node` prints it as RealMemory, "
        "in MiB.",
        "https://slurm.schedmd.com/sbatch.html",
    ),
    "grows": Remedy(
        "somebody tells that memory grows, or stays in use",
        "See what holds it: `raymemprof usage` shows each process with what it shares, `raymemprof doctor` what "
        "grows, and "
        "`raymemprof flamegraph --view leaks` the lines of a profiled call that let go of nothing.",
        PAGE,
    ),
    "kernels_end": Remedy(
        "a notebook's kernel ended, and nobody says why",
        "See whether the machine's kernel killed it for memory: `dmesg -T | grep -i 'killed process'`, or the limit of "
        "its container. Run the same code as a script: its last output says how it ended.",
        "https://docs.jupyter.org/en/latest/",
    ),
    "ephemeral_storage": Remedy(
        "Kubernetes evicted a pod for want of a disk's room",
        "Memory makes no difference. Have the pod write less to the node's disk (logs, spilled objects, shuffle "
        "files), mount a volume for it, or request `ephemeral-storage` in its resources.",
        "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#local-ephemeral-storage",
    ),
    "google_memory": Remedy(
        "Google Cloud ended a container at its memory limit",
        "Raise its memory limit (`gcloud run deploy --memory`, or the function's memory), or have it use less.",
        "https://cloud.google.com/run/docs/configuring/services/memory-limits",
    ),
    "aws_memory": Remedy(
        "AWS says that a container was killed at its memory limit",
        "Raise the memory of the container or task in its definition (ECS), or of the job (Batch: `MEMORY` in its "
        "resource requirements), or have it use less.",
        "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html",
    ),
    "nomad_memory": Remedy(
        "Nomad says that a task was killed for memory",
        "Raise the task's `memory`, or its `memory_max`, in the job's `resources`, or have it use less.",
        "https://developer.hashicorp.com/nomad/docs/job-specification/resources",
    ),
    "evicted": Remedy(
        "Kubernetes evicted a pod",
        "Set the pod's memory request to its limit, so that Kubernetes does not overcommit its node.",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/",
    ),
    "batch_limit": Remedy(
        "a program ended a job for its memory whose options are not known",
        "Ask the program that holds the job to its limit for more memory, or have the job use less.",
        OOM,
    ),
    "slurm_limit": Remedy(
        "Slurm says that a step exceeded its memory",
        "Ask Slurm for more memory (`--mem`, `--mem-per-cpu`), or have the job use less.",
        "https://slurm.schedmd.com/sbatch.html",
    ),
    "lsf_memory": Remedy(
        "LSF killed a job at its memory limit",
        'Ask LSF for more memory (`bsub -M` for the limit, `-R "rusage[mem=…]"` for what is reserved), or have the '
        "job use less.",
        "https://www.ibm.com/docs/en/spectrum-lsf",
    ),
    "pbs_memory": Remedy(
        "PBS killed a job at its memory limit",
        "Ask PBS for more memory (`-l select=1:mem=…`, `-l mem=…`, `-l vmem=…`), or have the job use less.",
        "https://github.com/openpbs/openpbs",
    ),
    "grid_engine_memory": Remedy(
        "Grid Engine killed a job at its memory limit",
        "Ask Grid Engine for more memory (`-l h_vmem=…`, or the limit that it names), or have the job use less; h_vmem "
        "counts virtual memory, of which Ray's processes and CUDA reserve much more than they use.",
        "https://gridscheduler.sourceforge.net/htmlman/htmlman5/queue_conf.html",
    ),
    "htcondor_memory": Remedy(
        "HTCondor put a job on hold for its memory",
        "Ask HTCondor for more memory (`request_memory` in the submit file, `condor_qedit` and `condor_release` for a "
        "job that is on hold), or have the job use less.",
        "https://htcondor.readthedocs.io/en/latest/users-manual/submitting-a-job.html",
    ),
    "flux_memory": Remedy(
        "Flux says that the kernel killed a task of a job at its memory limit",
        "Have the job use less, as with fewer tasks on each node, or more nodes; who runs the cluster set the limit.",
        "https://flux-framework.readthedocs.io/projects/flux-core/en/latest/",
    ),
    "pressure": Remedy(
        "the kubelet of a node is short of memory",
        "See what fills the node (`kubectl top pod -A --sort-by=memory`, and `raymemprof usage` for Ray's share). A "
        "pod that uses less than its memory request is among the last to be evicted.",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/",
    ),
    "placement": Remedy(
        "no node has room for the memory that a pod requests",
        "Lower the pod's memory request (`resources.requests.memory` in its template), or add larger nodes; what "
        "counts is what the node's other pods request, not what they use.",
        _KUBERNETES,
    ),
    "vertex_memory": Remedy(
        "Google Cloud says that a replica of a training job ran out of memory",
        "Choose a machine type with more memory (`machine_spec` of the worker pool), or have each replica use less: "
        "smaller batches, a smaller shuffle buffer, fewer workers of a DataLoader.",
        "https://cloud.google.com/vertex-ai/docs/training/configure-compute",
    ),
    "systemd_oomd": Remedy(
        "systemd-oomd killed a unit",
        "Have systemd-oomd leave Ray's unit alone (`ManagedOOMMemoryPressure=auto`), or have Ray use less memory.",
        "https://www.freedesktop.org/software/systemd/man/latest/systemd-oomd.service.html",
    ),
    "earlyoom": Remedy(
        "earlyoom killed a process",
        "Set Ray's kill threshold below earlyoom's, so that Ray kills and retries the task itself.",
        "https://github.com/rfjakob/earlyoom",
    ),
    "low_machine": Remedy(
        "earlyoom killed a process whose name is none of Ray's",
        "No process of Ray's is named here. See what fills the machine: `raymemprof usage` shows Ray's share; "
        "earlyoom's `--avoid`, and nohang's configuration, spare processes by their names.",
        "https://github.com/rfjakob/earlyoom",
    ),
    "preempted": Remedy(
        "a node was preempted",
        "Run what must not be lost on nodes that are not preempted.",
        f"{RAYS_DOCS}ray-core/fault_tolerance/nodes.html",
    ),
}
SYSTEMS_BY_LACK = {
    "machine": ("low_machine",),
    "yarn": ("yarn_memory",),
    "yarn, virtual": ("yarn_virtual",),
    "google cloud": ("google_memory",),
    "aws": ("aws_memory",),
    "nomad": ("nomad_memory",),
    "flux": ("flux_memory",),
    "pressure": ("pressure",),
    "placement": ("placement",),
    "vertex": ("vertex_memory",),
    "lsf": ("lsf_memory",),
    "pbs": ("pbs_memory",),
    "grid engine": ("grid_engine_memory",),
    "htcondor": ("htcondor_memory",),
    "cgroup": ("cgroup",),
    "mac's swap": ("macs_swap",),
    "memory cgroups": ("memory_cgroups",),
    "heroku": ("heroku",),
    "lambda": ("lambda",),
    "runner": ("runner",),
    "a kernel's end": ("kernels_end",),
    "told": ("told",),
    "grows": ("grows",),
    "slurm, asked": ("slurm_asked",),
    "enomem": ("enomem",),
    "ephemeral storage": ("ephemeral_storage",),
}
"""What is said where a message says that this has too little (`Message.lacks`)."""
