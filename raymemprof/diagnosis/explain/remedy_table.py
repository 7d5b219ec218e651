"""All that `explain()` advises: for which fact, in which words, and where that is documented."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BY_CAUSE", "BY_LACK", "REMEDIES", "RESERVE_BUFFER", "Remedy", "say"]

RESERVE_BUFFER = 2**30
"""Bytes that Ray's guide leaves between what the system uses and what is reserved for it."""

_RAY = "https://docs.ray.io/en/latest/"
_OOM = f"{_RAY}ray-core/scheduling/ray-oom-prevention.html"
_PAGE = f"{_RAY}ray-observability/user-guides/debug-apps/debug-memory.html"
_DATA = f"{_RAY}data/how-to-avoid-ooms.html"
_ISOLATION = f"{_RAY}ray-core/resource-isolation-with-cgroupv2.html"
_FAULTS = f"{_RAY}ray-core/fault-tolerance.html"
_SPILLING = f"{_RAY}ray-core/objects/object-spilling.html"
_TORCH_CUDA = "https://docs.pytorch.org/docs/stable/notes/cuda.html"
_JAX = "https://docs.jax.dev/en/latest/gpu_memory_allocation.html"
_VLLM = "https://docs.vllm.ai/en/latest/configuration/conserving_memory/"
_SGLANG = "https://docs.sglang.ai/advanced_features/hyperparameter_tuning.html"
_SPARK = "https://spark.apache.org/docs/latest/configuration.html"
_MMAP = "https://docs.kernel.org/admin-guide/sysctl/vm.html"
_KUBERNETES = "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/"


class Remedy(NamedTuple):
    """A piece of advice."""

    fact: str
    """What must be known for it to be given."""
    text: str
    """What it says; a format string."""
    documented: str


def say(key: str, **figures: object) -> str:
    """Return a piece of advice in words."""
    return REMEDIES[key].text.format(**figures)


REMEDIES = {
    # What held the memory.
    "change_the_line": Remedy(
        "a killed call's capture names the line that held most",
        "Change what {place} keeps; `{command}` shows all that is held.",
        _PAGE,
    ),
    "find_the_line": Remedy(
        "a task or actor was killed that was not profiled",
        "Find what {name} holds: put @profile_memory on it, and the next kill comes with the line.",
        _PAGE,
    ),
    "profile": Remedy(
        "a process ended, nobody said why, and nothing was profiled",
        "Put @profile_memory on what runs there: the next death will come with the line that held most.",
        _PAGE,
    ),
    "raylet_died": Remedy(
        "the kernel killed the raylet",
        "The raylet's death ended its node, with all that ran there. Find what filled it: `raymemprof usage`. Resource "
        "isolation protects the raylet: `ray start --enable-resource-isolation`.",
        _DATA,
    ),
    "gcs_died": Remedy(
        "the kernel killed the GCS server",
        "The GCS server is Ray's own: its death ends the cluster, unless it keeps its state in Redis. Give the head "
        "node, or its pod, more memory, and keep tasks off it: `ray start --head --num-cpus=0`.",
        f"{_RAY}ray-core/fault_tolerance/gcs.html",
    ),
    "not_of_ray": Remedy(
        "the kernel killed a process whose name is no task's or actor's",
        "Find what {name} is: by its name it is no task and no actor. `raymemprof usage` shows Ray's share.",
        _PAGE,
    ),
    "renamed": Remedy(
        "the kernel killed a process that bears the name that PyTorch gives to one that imports it",
        "{name} is how PyTorch names a process that imports it: it may be a task's or an actor's, or another program. "
        "Look for its pid in `raymemprof usage`, or in the names of the session's logs.",
        _PAGE,
    ),
    "rays_own": Remedy(
        "Ray's monitor killed an actor that Ray starts for itself",
        "{name} is Ray's own, and has no code of yours: see what filled the node, with `raymemprof usage`.",
        _PAGE,
    ),
    "only_idle": Remedy(
        "all that Ray's monitor killed were idle workers",
        "Only idle workers were killed, and nothing ran in them. See what else fills the node: `raymemprof usage`; "
        "`raymemprof doctor` tells what idle workers keep.",
        _OOM,
    ),
    "list_the_kills": Remedy(
        "a kill for memory whose victim the message does not name",
        "List who was killed, with what each held: `raymemprof ooms`.",
        _OOM,
    ),
    "find_what_fills": Remedy(
        "Ray 1.x refused to run a task, since its node was low on memory",
        "Find what fills the node: put @profile_memory on the tasks and actors that run there, and ask "
        "`raymemprof calls --sort growth`.",
        _PAGE,
    ),
    "the_largest": Remedy(
        "Ray 1.x refused to run a task, and its message lists who had most",
        "See whether `{command}` (pid {pid}) should use {size}: nothing else on the list had more.",
        _PAGE,
    ),
    "fills_unlisted": Remedy(
        "Ray 1.x refused to run a task, and those that its message lists had a small part of what the node used",
        "What is listed had {listed} of the {used} in use: something else fills the node. In a container, old "
        "versions of Ray measure the whole machine, with all that runs outside of the container.",
        _PAGE,
    ),
    "look_at_the_largest": Remedy(
        "a process that was not killed had more than what was killed",
        "See whether `{command}` (pid {pid}) should use {size}, more than what was killed.{more}",
        _PAGE,
    ),
    "idle_workers": Remedy(
        "idle workers that were not killed had 100 MiB or more",
        "Idle workers that were not killed had {size}: with a lower RAY_idle_worker_killing_memory_threshold_bytes Ray "
        "considers them for killing too.",
        _OOM,
    ),
    # How many run at once, and how large.
    "had_little": Remedy(
        "what was killed had less than 100 MiB",
        "{name} had little, {size}: see what else filled the node, with `raymemprof usage`.",
        _OOM,
    ),
    "ask_unmeasured": Remedy(
        "the size of what was killed is not known",
        "Run fewer at once: give {name} memory=… or more num_cpus in @ray.remote.",
        f"{_RAY}ray-core/patterns/limit-running-tasks.html",
    ),
    "ask_library": Remedy(
        "one of Ray's libraries runs what was killed, and its size is not known",
        "Run fewer at once: {ask}, or {fewer}.",
        _DATA,
    ),
    "too_large": Remedy(
        "a quarter more than what was killed had is more than its node offers to tasks",
        "Have {name} take less at a time: not one that needs {wanted} fits this node, where tasks can have {most}, and "
        "Ray would never start one with such a memory=.",
        f"{_RAY}ray-core/scheduling/memory-management.html",
    ),
    "one_alone": Remedy(
        "the only process of its name had half of what the node used, or more",
        "One {name} alone had {held} of the {used} in use: to run fewer at once would not help. {smaller} Or give it a "
        "larger node.",
        _OOM,
    ),
    "ask": Remedy(
        "the size of what was killed is known, and fits its node",
        "Run fewer at once: {ask} asks for a quarter more than {name} had when it was killed, and it may need more "
        "yet; or {fewer}. `raymemprof advise` says what holds on your nodes.",
        _DATA,
    ),
    "smaller_batches": Remedy(
        "one of Ray's libraries runs what was killed",
        "{smaller}",
        _DATA,
    ),
    "spare_the_head": Remedy(
        "what was killed ran on the head node of several nodes",
        "Keep tasks off the head node, which has the driver and Ray's own processes: `ray start --head --num-cpus=0`.",
        _PAGE,
    ),
    # The limit.
    "move_the_threshold": Remedy(
        "Ray's monitor killed because the node's use was above its threshold",
        "Or give the node more memory; {variable} moves the limit ({default}){isolation}.",
        _OOM,
    ),
    "move_the_reserve": Remedy(
        "Ray's monitor killed because workers reached the limit that resource isolation sets",
        "Or give the node more memory; `ray start --system-reserved-memory` moves the limit: it is what workers cannot "
        "have.",
        _ISOLATION,
    ),
    "more_memory": Remedy(
        "the kernel killed for memory",
        "Or give the node, or its container, more memory.",
        _PAGE,
    ),
    "isolate": Remedy(
        "the kernel killed a task or an actor for memory",
        "Or have Ray kill before the kernel does: `ray start --enable-resource-isolation` (Ray 2.56 and later, with "
        "cgroup v2).",
        _DATA,
    ),
    "end_the_retries": Remedy(
        "Ray retries a task without end",
        "End the retries, which go on without end: RAY_task_oom_retries=3 in the environment of the driver.",
        _OOM,
    ),
    # Messages that say too little.
    "give_it_all": Remedy(
        "the text is no message about memory that is known",
        "Give it the whole message, and what stands around it; of an exception, the exception itself.",
        _PAGE,
    ),
    "only_quoted": Remedy(
        "the text tells of memory in words that are not known",
        "See what the quoted lines name: whose memory or limit, and which process. `raymemprof usage` shows what has "
        "memory now; `dmesg -T | grep -i 'killed process'` shows whom the kernel killed.",
        _PAGE,
    ),
    "ask_the_doctor": Remedy(
        "the text is no message about memory that is known",
        "For what memory is used for, ask `raymemprof doctor`, or `raymemprof.doctor()`.",
        _PAGE,
    ),
    "name_the_worker": Remedy(
        "several deaths fit what the text says",
        "Give `raymemprof explain` what the raylet says of the death: the text has its worker's ID and pid.",
        _PAGE,
    ),
    "ask_the_kernel": Remedy(
        "a process was killed by SIGKILL, and no log says by whom",
        "Ask the node's kernel whether it killed it: {ask}{counted}.",
        _DATA,
    ),
    "find_the_killer": Remedy(
        "a process was killed by SIGKILL, and no log says by whom",
        "Else find who does it: `ray stop --force`, a batch system's limit, a container's stop, os._exit.",
        _FAULTS,
    ),
    # By cause.
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
    "dask": Remedy(
        "Dask says that its workers have too little memory",
        "Give Dask's workers more (`memory_limit`, fewer workers on a node), or make partitions smaller; its nanny "
        "ends a worker at `distributed.worker.memory.terminate` (0.95 of the limit).",
        "https://distributed.dask.org/en/stable/worker-memory.html",
    ),
    "dask_ends_all": Remedy(
        "Dask's nanny ends workers at 0 % of their memory limit",
        "Set `distributed.worker.memory.terminate` to a part of the limit, such as 0.95, or to `false` for never: 0 "
        "ends each worker as soon as it runs.",
        "https://distributed.dask.org/en/stable/worker-memory.html",
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
    "build": Remedy(
        "a part of a compiler was killed, or had no memory",
        "If it was memory: compile less at once (`make -j1`, `MAX_JOBS=1`, `CMAKE_BUILD_PARALLEL_LEVEL=1`, `cargo "
        "build -j 1`), or give the machine more memory or swap; a wheel that is built already needs neither.",
        "https://gcc.gnu.org/onlinedocs/gcc/Optimize-Options.html",
    ),
    "runner": Remedy(
        "a runner of a CI job, or a step of it, ended",
        "If it was memory: run fewer tests or compilers at once in the job, or take a runner, or a container of it, "
        "with more.",
        "https://docs.github.com/en/actions/reference/runners/github-hosted-runners",
    ),
    "notebook": Remedy(
        "a hosted notebook used all its memory",
        "Load less at once (columns, chunks, smaller types), delete what is no longer used, or take a runtime with "
        "more memory.",
        "https://research.google.com/colaboratory/faq.html",
    ),
    "told": Remedy(
        "somebody tells that something was killed for memory, and has no log of it",
        "See what was killed, and by whom: `raymemprof ooms` lists the kills of Ray's monitor, `dmesg -T | grep "
        "-i 'killed process'` "
        "the kernel's, and `kubectl describe pod` shows a container's limit.",
        _PAGE,
    ),
    "enomem": Remedy(
        "the kernel refused memory, and the text does not say how much was asked for",
        "Make the allocation that failed smaller, if it is large: the traceback has its line. Where memory is free, "
        "another limit refuses it: the container's, `ulimit -v`, vm.overcommit_memory, vm.max_map_count, or the "
        "number of "
        "processes.",
        _MMAP,
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
        _PAGE,
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
    "own_limit": Remedy(
        "PyTorch reached the limit of a GPU's memory that was set for the process",
        "Raise or drop that limit (`torch.cuda.set_per_process_memory_fraction`), or make the batch or the model "
        "smaller.",
        "https://docs.pytorch.org/docs/stable/generated/torch.cuda.memory.set_per_process_memory_fraction.html",
    ),
    "tried": Remedy(
        "TensorFlow warns that an allocation failed that it can do without",
        "Nothing needs to be done where the program goes on. A smaller batch may be faster.",
        "https://www.tensorflow.org/guide/gpu",
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
    "driver_memory": Remedy(
        "Spark's driver, or a notebook's process beside it, does not respond or was ended",
        "Bring less to the driver (`collect()`, `toPandas()`), or give it more memory; its Java heap is not what Ray "
        "counts for tasks.",
        "https://docs.databricks.com/",
    ),
    "evicted": Remedy(
        "Kubernetes evicted a pod",
        "Set the pod's memory request to its limit, so that Kubernetes does not overcommit its node.",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/",
    ),
    "batch_limit": Remedy(
        "a program ended a job for its memory whose options are not known",
        "Ask the program that holds the job to its limit for more memory, or have the job use less.",
        _OOM,
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
    "executor_memory": Remedy(
        "an executor of Spark's was killed",
        "If it was memory: give the executor more beside its Java heap (`spark.executor.memoryOverhead`), as for what "
        "Python and Ray use in it, or run fewer at once (`spark.executor.cores`).",
        "https://spark.apache.org/docs/latest/configuration.html",
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
    "gpu_memory": Remedy(
        "an allocation of a GPU's memory failed",
        "Make the batch or the model on the device smaller, or free what the process keeps there; the node's memory, "
        "and `memory=` in @ray.remote, make no difference.",
        _TORCH_CUDA,
    ),
    "gpu_shared": Remedy(
        "an allocation of a GPU's memory failed, and other processes had memory of that GPU",
        "See whether the other processes on that device should be there (`nvidia-smi`, `npu-smi info`). `num_gpus=1` "
        "gives a task or actor a GPU that no other of Ray's has; a share (`num_gpus=0.5`) limits nobody's memory.",
        f"{_RAY}ray-core/scheduling/accelerators.html",
    ),
    "gpu_pieces": Remedy(
        "PyTorch kept more of a GPU's memory than was asked for, and did not use it",
        "Have PyTorch join the pieces that it keeps: `PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True` in the "
        "workers' environment.",
        _TORCH_CUDA,
    ),
    "npu_pieces": Remedy(
        "PyTorch kept more of an NPU's memory than was asked for, and did not use it",
        "Have PyTorch join the pieces that it keeps: `PYTORCH_NPU_ALLOC_CONF=expandable_segments:True` in the workers' "
        "environment.",
        "https://www.hiascend.com/document/detail/zh/Pytorch/710/comref/Envvariables/Envir_011.html",
    ),
    "mps": Remedy(
        "PyTorch reached its limit of the memory for a Mac's GPU",
        "Make the batch or the model smaller. `PYTORCH_MPS_HIGH_WATERMARK_RATIO` moves the limit: PyTorch says that "
        "the system may fail without one.",
        "https://docs.pytorch.org/docs/stable/mps_environment_variables.html",
    ),
    "rmm": Remedy(
        "RMM could not have more of a GPU's memory",
        "Take less at a time, in more partitions, or let cuDF move what it does not use to the node's memory: "
        '`cudf.set_option("spill", True)`. See what else is on that GPU: `nvidia-smi`.',
        "https://docs.rapids.ai/api/cudf/stable/developer_guide/library_design/",
    ),
    "taken_at_once": Remedy(
        "TensorFlow or XLA could not have a GPU's memory",
        "Where several processes use one GPU, have each take what it needs, not nearly all at once: "
        "`TF_FORCE_GPU_ALLOW_GROWTH=true`, for JAX `XLA_PYTHON_CLIENT_PREALLOCATE=false` or a lower "
        "`XLA_PYTHON_CLIENT_MEM_FRACTION`.",
        _JAX,
    ),
    "pinned": Remedy(
        "TensorFlow or XLA could not pin memory of the node",
        "See what fills the node: `raymemprof usage`. Pinned memory cannot be swapped, and may have a limit of its "
        "own: `ulimit -l`.",
        "https://docs.nvidia.com/cuda/cuda-c-best-practices-guide/index.html#pinned-memory",
    ),
    "xla": Remedy(
        "XLA could not have memory of its device",
        "If the device is a GPU, make the batch or the model on it smaller; where several processes use it, lower "
        "`XLA_PYTHON_CLIENT_MEM_FRACTION`. If it is the CPU, it is the node's memory: `raymemprof usage`.",
        _JAX,
    ),
    "tpu": Remedy(
        "a TPU's memory did not suffice",
        "Make the batch or the model on each chip smaller, or share it among more chips; see whether an earlier run "
        "still holds the TPU. The node's memory, and `memory=` in @ray.remote, make no difference.",
        "https://openxla.org/xla/errors_overview",
    ),
    "free_gpu": Remedy(
        "vLLM found less of a GPU's memory free than it was to take",
        "End what else uses the GPU (`nvidia-smi`; an engine that failed may live on), or lower "
        "`gpu_memory_utilization` until what it takes is free.",
        _VLLM,
    ),
    "kv_cache": Remedy(
        "vLLM's KV cache is too small for one sequence of the model's",
        "Lower `max_model_len`, or raise `gpu_memory_utilization` if that much of the GPU is free; more GPUs "
        "(`tensor_parallel_size`) leave each more room.",
        _VLLM,
    ),
    "swap_space": Remedy(
        "vLLM's swap space is too large for the node",
        "Lower `swap_space`, which each GPU's worker takes of the node's memory.",
        _VLLM,
    ),
    "sglang_start": Remedy(
        "SGLang has no room for its KV cache",
        "Raise `--mem-fraction-static`, or take a smaller model or more GPUs (`--tp`).",
        _SGLANG,
    ),
    "sglang_busy": Remedy(
        "SGLang's KV cache is full",
        "Lower `--max-running-requests` and `--chunked-prefill-size`, or give the KV cache more: "
        "`--mem-fraction-static`.",
        _SGLANG,
    ),
    "tensorrt": Remedy(
        "TensorRT-LLM does not fit a GPU's memory",
        "Lower `free_gpu_memory_fraction` of its KV cache, `max_batch_size`, `max_num_tokens` or `max_seq_len`.",
        "https://nvidia.github.io/TensorRT-LLM/",
    ),
    "nccl": Remedy(
        "NCCL could not allocate on a GPU",
        "NCCL allocates beside PyTorch, which keeps what it freed: leave it room with a smaller batch or a lower "
        "`gpu_memory_utilization`, and call `torch.cuda.empty_cache()` before the collective that fails. See what else "
        "is on that GPU: `nvidia-smi`.",
        "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html",
    ),
    "memory_saver": Remedy(
        "torch_memory_saver could not take a GPU's memory back",
        "Have the training process let go before the rollout takes its memory again: offload its parameters and "
        "optimizer, then `torch.cuda.empty_cache()`; or lower SGLang's `--mem-fraction-static`.",
        "https://github.com/fzyzcjy/torch_memory_saver",
    ),
    "bus_error": Remedy(
        "a process ended by SIGBUS",
        "See how full shared memory is: `df -h /dev/shm`; give the container more (`docker run --shm-size`).",
        f"{_RAY}ray-core/scheduling/memory-management.html",
    ),
    "larger_store": Remedy(
        "an object is larger than the whole object store",
        "Make the object smaller, for example in pieces: dropping references does not help. Or start Ray with "
        "`--object-store-memory={memory}` or more, if the node has it.",
        f"{_RAY}ray-core/scheduling/memory-management.html",
    ),
    "owner_died": Remedy(
        "an object's owner ended",
        "See why the owner ended: its log is among the session's logs. What it created with `.remote()` and "
        "`ray.put()` ended with it.",
        f"{_RAY}ray-core/fault_tolerance/objects.html",
    ),
    "object_lost": Remedy(
        "all copies of an object were lost",
        "See why the nodes ended. Ray makes an object again only in the process that owns it, and where a task "
        "returned it whose `max_retries` is not 0: not one of `ray.put()`.",
        f"{_RAY}ray-core/fault_tolerance/objects.html",
    ),
    "more_room": Remedy(
        "an object was evicted, or deleted, and cannot be made again",
        "Keep fewer or smaller objects at once, or start Ray with more `--object-store-memory`: Ray before 1.3 evicts "
        "objects from a full store, and later versions spill them to disk.",
        _SPILLING,
    ),
    "look_at_each_rank": Remedy(
        "a collective operation of NCCL timed out",
        "Find the rank that was late or had ended: the first error of all ranks' logs (the `.err` files of their "
        "pids). If one was killed for memory, its node's kernel says so: `dmesg -T | grep -i 'killed process'`.",
        "https://docs.pytorch.org/docs/stable/distributed.html",
    ),
    "preempted": Remedy(
        "a node was preempted",
        "Run what must not be lost on nodes that are not preempted.",
        f"{_RAY}ray-core/fault_tolerance/nodes.html",
    ),
    "warning": Remedy(
        "a message warns of memory, and nothing ended",
        "See what uses memory now: `raymemprof usage`, or the whole of it with `raymemprof doctor`.",
        _PAGE,
    ),
    "low_node": Remedy(
        "a node was nearly out of memory, and nothing ended yet",
        "Run fewer at once there, or have each take less, before something is killed: `raymemprof usage` says what "
        "uses memory now, and `raymemprof advise` how many fit.",
        _OOM,
    ),
    "larger_shm": Remedy(
        "/dev/shm is too small for the object store",
        "Give the object store no more than /dev/shm has (`ray start --object-store-memory`, in bytes): Ray puts it on "
        "a disk otherwise, or makes it smaller. In a container, make /dev/shm larger: `docker run --shm-size`; "
        "Docker's default is 64 MB.",
        f"{_RAY}ray-core/scheduling/memory-management.html",
    ),
    "put_once": Remedy(
        "a function or an actor's class is too large, or nearly, to be sent to workers",
        "Find the large object that its code refers to. Put it with `ray.put()` once, and pass the reference as an "
        "argument; in Ray Tune, give it to `tune.with_parameters`.",
        f"{_RAY}ray-core/patterns/closure-capture-large-objects.html",
    ),
    "smaller_buffer": Remedy(
        "RLlib's replay buffer may become larger than memory",
        "Give the replay buffer less `capacity` (in `replay_buffer_config`), or observations of a smaller type; "
        "several trials, or workers with a buffer each, need it several times.",
        f"{_RAY}rllib/rllib-replay-buffers.html",
    ),
    "ask_for_less": Remedy(
        "a task or an actor waits for memory that it asks for, perhaps",
        "See what each node has free, `ray status -v`: `memory=` is in bytes, and counts against what Ray offers of a "
        "node, not against what is in use. Ask for less, or start nodes that have as much.",
        f"{_RAY}ray-core/scheduling/memory-management.html",
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
        f"{_RAY}ray-core/fault_tolerance/objects.html",
    ),
    "store_gone": Remedy(
        "a worker lost its connection to the object store",
        "See why the store ended: the end of `raylet.out` and `raylet.err` of that node (in old versions also "
        "`plasma_store.err`), and its kernel's log: `dmesg -T | grep -i 'killed process'`.",
        f"{_RAY}ray-observability/user-guides/configure-logging.html",
    ),
    "raylet_crashed": Remedy(
        "a raylet crashed",
        "Read the stack in `raylet.err` of that node, in the session's logs; a fault in Ray's own code is one to "
        "report to Ray, with its version.",
        f"{_RAY}ray-observability/user-guides/configure-logging.html",
    ),
    "gcs_crashed": Remedy(
        "the GCS server crashed",
        "Read the stack in `gcs_server.err` of the head node, in the session's logs; a fault in Ray's own code is one "
        "to report to Ray, with its version.",
        f"{_RAY}ray-observability/user-guides/configure-logging.html",
    ),
    "parquet_page": Remedy(
        "a reader of Parquet refused a page that is too large for it",
        "Write the file anew with smaller pages (`data_page_size=` of `pyarrow.parquet.write_table`), or read it with "
        "a newer Daft, or another reader.",
        "https://arrow.apache.org/docs/python/generated/pyarrow.parquet.write_table.html",
    ),
    "data_asks_for_none": Remedy(
        "Ray Data says that an operator uses more memory than Ray requests for it",
        "Say what the operator needs, a quarter more than it uses: `map_batches(…, memory={memory:_})`; or have Ray "
        "Data take a default for all that say nothing: `DataContext.get_current().default_map_logical_memory_enabled = "
        "True` (Ray 2.56 and later).",
        _DATA,
    ),
    "reserve_more": Remedy(
        "Ray says that its own parts use more than resource isolation reserves for them",
        "Reserve more for Ray's own processes: `ray start --enable-resource-isolation "
        "--system-reserved-memory={memory}`.",
        _ISOLATION,
    ),
    "crash": Remedy(
        "a process crashed",
        "Read the worker's log for the stack: the `.err` file of its pid in the session's logs, or `ray logs`.",
        f"{_RAY}ray-observability/user-guides/configure-logging.html",
    ),
    "aborted": Remedy(
        "a process ended as after SIGABRT",
        "Read what it wrote just before it ended, its `.err` file in the session's logs: an assertion or an exception "
        "that nothing caught says why, and `std::bad_alloc` means memory.",
        f"{_RAY}ray-observability/user-guides/configure-logging.html",
    ),
    "exit": Remedy(
        "a process ended by itself or was asked to",
        "Look for `sys.exit`, `exit_actor()`, or who sends SIGTERM: a batch system, or a container's stop.",
        f"{_RAY}ray-core/actors/terminating-actors.html",
    ),
    "serve_ended_it": Remedy(
        "`ray.kill` ended a replica of Ray Serve",
        "See why Ray Serve's controller ended it: `serve/controller_*.log` in the session's logs says whether it was "
        "scaled down, deployed anew, or failed its health check.",
        f"{_RAY}serve/production-guide/fault-tolerance.html",
    ),
    "ray_kill": Remedy(
        "`ray.kill` ended an actor",
        "Look for `ray.kill` in the code that holds the actor's handle.",
        f"{_RAY}ray-core/actors/terminating-actors.html",
    ),
    "node_died": Remedy(
        "a node died or cannot be reached",
        "See whether the machine is up, and its kernel's log: a raylet killed for memory ends the node.",
        f"{_RAY}ray-core/fault_tolerance/nodes.html",
    ),
    "list_references": Remedy(
        "the object store is full",
        "List what is referred to: `ray memory --stats-only`, then `ray memory`; drop references that are done with.",
        _PAGE,
    ),
    "return_less": Remedy(
        "the object store is full",
        "Return less at a time (yield pieces from a generator task), or start Ray with more `--object-store-memory`.",
        f"{_RAY}ray-core/patterns/generators.html",
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
        f"{_RAY}ray-core/scheduling/memory-management.html",
    ),
    "least_store": Remedy(
        "the object store was to be smaller than Ray takes",
        "Give the node, or its container or pod (`resources.limits.memory`), more memory: unless told otherwise, Ray "
        "takes 30 % of what is free for the object store. Where `--object-store-memory` was given, give more.",
        f"{_RAY}ray-core/scheduling/memory-management.html",
    ),
    "smaller_store": Remedy(
        "the object store was to have what the node does not have, or what tasks need",
        "Give the object store less: `ray start --object-store-memory`, or `ray.init(object_store_memory=…)`, in "
        "bytes; or give the node, or its container, more memory.",
        f"{_RAY}ray-core/scheduling/memory-management.html",
    ),
    "store_fits_shm": Remedy(
        "the object store was to be larger than /dev/shm",
        "Make /dev/shm as large as the object store: `docker run --shm-size`, in Kubernetes an `emptyDir` of `medium: "
        "Memory` at /dev/shm; or give the store less with `--object-store-memory`.",
        f"{_RAY}ray-core/scheduling/memory-management.html",
    ),
    "store_on_a_mac": Remedy(
        "the object store was to be larger than Ray takes on a Mac",
        "Give the object store less, with `ray.init(object_store_memory=…)`; or set "
        "RAY_ENABLE_MAC_LARGE_OBJECT_STORE=1, which is slow.",
        f"{_RAY}ray-core/scheduling/memory-management.html",
    ),
    "no_isolation": Remedy(
        "a node is too small for resource isolation",
        "Start Ray there without `--enable-resource-isolation`, or on a node, or in a container, with more memory.",
        _ISOLATION,
    ),
    "choose_reserve": Remedy(
        "what was to be reserved for Ray's own processes is more, or less, than can be",
        "Choose another `ray start --system-reserved-memory`, in bytes: between the least that Ray names and the "
        "node's memory; or leave it out, and Ray chooses.",
        _ISOLATION,
    ),
    "memory_error": Remedy(
        "an allocation failed",
        "Make the allocation that failed smaller: in pieces, of smaller types; the traceback has its line.",
        "https://docs.python.org/3/library/exceptions.html#MemoryError",
    ),
    "little": Remedy(
        "an allocation failed that was to be small",
        "So little is refused only where next to nothing is left, or at a limit of the process: see what fills the "
        "node with `raymemprof usage`, the container's or job's limit, and `ulimit -v`.",
        _MMAP,
    ),
    "nonsense": Remedy(
        "an allocation failed that no machine could have given",
        "No process can have so much: look for a size that was computed wrongly (a negative number, an overflow, a "
        "damaged file) where the allocation failed; more memory would not help.",
        _MMAP,
    ),
    "file_mapping": Remedy(
        "the kernel refused to map a file",
        "PyTorch maps the file as memory that it may write, which the kernel promises in full: see "
        "`vm.overcommit_memory` (1 promises anything), `ulimit -v`, and what else fills the node: `raymemprof usage`. "
        "Or have fewer processes load it at once.",
        _MMAP,
    ),
    "strings": Remedy(
        "NumPy could not allocate an array of strings of one length",
        "Give the strings `dtype=object` (or Arrow's string type): each then takes the room that it needs, not that of "
        "the longest.",
        "https://numpy.org/doc/stable/user/basics.strings.html",
    ),
    "mappings": Remedy(
        "the kernel refused to map a small piece of memory",
        "Raise the limit of a process's mappings, `sysctl -w vm.max_map_count=…` (65530 by default), or share fewer "
        "and larger tensors.",
        _MMAP,
    ),
    "duckdb": Remedy(
        "DuckDB reached its memory limit",
        "Let DuckDB put on disk what does not fit, `SET temp_directory='…'`; with fewer `threads` it needs less at a "
        "time. Raise `memory_limit` if the node has it: each process on a node has such a limit of its own.",
        "https://duckdb.org/docs/stable/guides/performance/how_to_tune_workloads.html",
    ),
    "duckdb_disk": Remedy(
        "DuckDB reached its limit of what it puts on disk",
        "Raise `max_temp_directory_size`, or name a larger disk: `SET temp_directory='…'`.",
        "https://duckdb.org/docs/stable/configuration/pragmas.html",
    ),
    "java_heap": Remedy(
        "a Java process's heap was full",
        "Give the Java process more heap: `-Xmx`; for Spark `spark.executor.memory` or `spark.driver.memory` (RayDP: "
        "`executor_memory`). Or have it take less at a time: more partitions, fewer cores for each executor.",
        _SPARK,
    ),
    "java_classes": Remedy(
        "a Java process had no more room for its classes",
        "Raise `-XX:MaxMetaspaceSize`, or see what loads ever more classes.",
        _SPARK,
    ),
    "java_buffers": Remedy(
        "a Java process had no more room for direct buffers",
        "Raise `-XX:MaxDirectMemorySize`, and for Spark `spark.executor.memoryOverhead`, which has room for them.",
        _SPARK,
    ),
    "java_node": Remedy(
        "the node had no more memory for a Java process",
        "See what fills the node: `raymemprof usage`. Lower `-Xmx`, or run fewer processes there.",
        _SPARK,
    ),
    "threads": Remedy(
        "one more thread or process could not be started",
        "See how many threads and processes there are, and how many there may be: `ulimit -u`, and the container's "
        "`pids.max`. Run fewer workers there, or fewer threads in each (`OMP_NUM_THREADS`).",
        f"{_RAY}ray-core/configure.html",
    ),
    "fork": Remedy(
        "the kernel had no memory for one more process",
        "Start fewer processes, and have the one that starts them hold less: fork asks for as much as it has. See what "
        "fills the node: `raymemprof usage`; the container's limit, and `vm.overcommit_memory`, which says how much "
        "the kernel promises.",
        _MMAP,
    ),
    "shm": Remedy(
        "shared memory, /dev/shm, was full",
        "Make /dev/shm larger: `docker run --shm-size`, in Kubernetes an `emptyDir` of `medium: Memory` mounted at "
        "/dev/shm. See how full it is: `df -h /dev/shm`; it is memory, not the disk that Ray spills to.",
        "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html",
    ),
    "java_mappings": Remedy(
        "a Java process was refused a small piece of memory",
        "Raise what limits a process: `sysctl -w vm.max_map_count=…` (65530 by default), `ulimit -u` and the "
        "container's `pids.max` for threads, `ulimit -v`; see `vm.overcommit_memory`, and the container's limit. A "
        "smaller -Xmx does not help where the node has memory.",
        _MMAP,
    ),
    "windows_commits": Remedy(
        "Windows refused a program memory, since it may promise no more",
        "Make Windows' paging file larger, or run fewer programs at once: what Windows may promise is RAM and paging "
        "files together.",
        "https://learn.microsoft.com/en-us/troubleshoot/windows-client/performance/introduction-to-the-page-file",
    ),
    "corruption": Remedy(
        "the C library found its lists of memory damaged",
        "Look for the library that wrote where it may not: `PYTHONFAULTHANDLER=1` shows where Python was, "
        "`MALLOC_CHECK_=3` or valgrind find it sooner. Two libraries that bring their own allocator, or versions that "
        "do not fit, are common causes; more memory does not help.",
        "https://docs.python.org/3/library/faulthandler.html",
    ),
    "descriptors": Remedy(
        "a process had as many files and sockets open as it may have",
        "Raise the limit before Ray starts, whose processes inherit it: `ulimit -n`, or `docker run --ulimit "
        "nofile=…`. A PyTorch DataLoader needs fewer with `torch.multiprocessing.set_sharing_strategy('file_system')`.",
        f"{_RAY}ray-core/configure.html",
    ),
    "nodejs": Remedy(
        "a Node.js process's heap was full",
        "Give the Node.js process more heap: `NODE_OPTIONS=--max-old-space-size=…`, in MiB.",
        "https://nodejs.org/api/cli.html",
    ),
    "redis": Remedy(
        "a Redis server reached its `maxmemory`",
        "Raise that server's `maxmemory`, or see what fills it; of a Redis that Ray 1.x itself starts, "
        "`ray start --redis-max-memory` sets it.",
        "https://redis.io/docs/latest/develop/reference/eviction/",
    ),
    "paging_file": Remedy(
        "Windows' paging file was too small",
        "Make Windows' paging file larger, or run fewer processes at once, by more `num_cpus` for each: every worker "
        "that imports PyTorch or TensorFlow needs room there.",
        "https://learn.microsoft.com/en-us/troubleshoot/windows-client/performance/introduction-to-the-page-file",
    ),
    "an_end": Remedy(
        "a process ended, and its parent does not say how",
        "See whether the node's kernel killed it for memory: `dmesg -T | grep -i 'killed process'`. Else its own last "
        "output says how it ended.",
        _OOM,
    ),
    "unknown": Remedy(
        "a process ended, and nobody says how",
        "See how the worker ended: `ray logs raylet.out`, its `.err` log, and `dmesg` for the kernel's killer.",
        _PAGE,
    ),
}
"""By key, in the order in which they stand beside each other."""
BY_CAUSE = {
    "container_limit": ("container_limit", "pod_events"),
    "object_store_full": ("list_references", "return_less"),
    **{
        cause: (cause,)
        for cause in (
            "evicted",
            "slurm_limit",
            "batch_limit",
            "systemd_oomd",
            "earlyoom",
            "gpu_memory",
            "bus_error",
            "owner_died",
            "object_lost",
            "preempted",
            "warning",
            "crash",
            "exit",
            "ray_kill",
            "node_died",
            "disk_full",
            "not_started",
            "memory_error",
            "unknown",
        )
    },
}
"""What is said of a cause by itself, whatever else is known."""
BY_LACK = {
    "room": ("more_room",),
    "collective": ("look_at_each_rank",),
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
    "parquet page": ("parquet_page",),
    "machine": ("low_machine",),
    "yarn": ("yarn_memory",),
    "yarn, virtual": ("yarn_virtual",),
    "google cloud": ("google_memory",),
    "aws": ("aws_memory",),
    "nomad": ("nomad_memory",),
    "flux": ("flux_memory",),
    "pressure": ("pressure",),
    "placement": ("placement",),
    "executor": ("executor_memory",),
    "vertex": ("vertex_memory",),
    "driver": ("driver_memory",),
    "lsf": ("lsf_memory",),
    "pbs": ("pbs_memory",),
    "grid engine": ("grid_engine_memory",),
    "htcondor": ("htcondor_memory",),
    "shm": ("shm",),
    "java mappings": ("java_mappings",),
    "windows commits": ("windows_commits",),
    "corruption": ("corruption", "crash"),
    "cgroup": ("cgroup",),
    "mac's swap": ("macs_swap",),
    "dask": ("dask",),
    "dask, ends all": ("dask_ends_all",),
    "memory cgroups": ("memory_cgroups",),
    "heroku": ("heroku",),
    "lambda": ("lambda",),
    "build": ("build",),
    "runner": ("runner",),
    "notebook": ("notebook",),
    "a kernel's end": ("kernels_end",),
    "told": ("told",),
    "quoted": ("only_quoted", "ask_the_doctor"),
    "grows": ("grows",),
    "slurm, asked": ("slurm_asked",),
    "enomem": ("enomem",),
    "ephemeral storage": ("ephemeral_storage",),
    "gpu, own limit": ("own_limit",),
    "tried": ("tried",),
    "gpu": ("gpu_memory",),
    "gpu, shared": ("gpu_memory", "gpu_shared"),
    "gpu, pieces": ("gpu_pieces", "gpu_memory"),
    "gpu, shared, pieces": ("gpu_pieces", "gpu_memory", "gpu_shared"),
    "npu": ("gpu_memory",),
    "npu, shared": ("gpu_memory", "gpu_shared"),
    "npu, pieces": ("npu_pieces", "gpu_memory"),
    "npu, shared, pieces": ("npu_pieces", "gpu_memory", "gpu_shared"),
    "mps": ("mps",),
    "rmm": ("rmm",),
    "taken at once": ("gpu_memory", "taken_at_once"),
    "pinned": ("pinned",),
    "xla": ("xla",),
    "tpu": ("tpu",),
    "free gpu": ("free_gpu",),
    "kv cache": ("kv_cache",),
    "swap space": ("swap_space",),
    "sglang": ("sglang_start",),
    "sglang, busy": ("sglang_busy",),
    "tensorrt": ("tensorrt",),
    "strings": ("strings",),
    "mappings": ("mappings",),
    "a file's mapping": ("file_mapping",),
    "little": ("little",),
    "nonsense": ("nonsense",),
    "descriptors": ("descriptors",),
    "an end": ("an_end",),
    "aborted": ("aborted",),
    "nccl": ("nccl",),
    "memory saver": ("memory_saver",),
    "duckdb": ("duckdb",),
    "duckdb disk": ("duckdb_disk",),
    "java heap": ("java_heap",),
    "java classes": ("java_classes",),
    "java buffers": ("java_buffers",),
    "java node": ("java_node",),
    "threads": ("threads",),
    "fork": ("fork",),
    "node.js": ("nodejs",),
    "redis": ("redis",),
    "paging file": ("paging_file",),
}
"""What is said instead where the message says what has too little (`Message.lacks`)."""
