# ruff: noqa: E501 (messages are as long as they are)
"""Texts of our own of builds, notebooks, pools, hosts, desktops and batch systems, older and newer wordings."""

from __future__ import annotations

from tests.texts.message_text import Text

MIB, GIB = 2**20, 2**30


def killed(name: str | None, pid: int | None = 4123, memory: int | None = None) -> tuple[tuple[object, ...], ...]:
    """One who was killed, whom a text names."""
    return ((name, None, None, None, pid, memory),)


BUILDS = {
    name: Text(text, "sigkill", says=(program,))
    for name, text, program in (
        ("gcc", "g++: fatal error: Killed signal terminated program cc1plus\ncompilation terminated.", "cc1plus"),
        (
            "gcc, older",
            "g++: internal compiler error: Killed (program cc1plus)\nPlease submit a full bug report,",
            "cc1plus",
        ),
        ("a linker", "collect2: fatal error: ld terminated with signal 9 [Killed]\ncompilation terminated.", "ld"),
        ("nvcc", "nvcc error   : 'cicc' died due to signal 9 (Kill signal)", "cicc"),
        ("clang", "clang++: error: unable to execute command: Killed", "clang++"),
        (
            "cargo",
            "error: could not compile `polars-core` (lib)\n\nCaused by:\n  process didn't exit successfully: `/opt/rust/bin/rustc --crate-name polars_core --edition=2021 src/lib.rs` (signal: 9, SIGKILL: kill)",
            "rustc",
        ),
        ("make", "make[2]: *** [CMakeFiles/core.dir/build.make:76: core.o] Killed", "core.o"),
        (
            "gradle",
            "Gradle build daemon disappeared unexpectedly (it may have been killed or may have crashed)",
            "guess",
        ),
        ("gitlab", "ERROR: Job failed: exit code 137", "CI job"),
        ("jenkins", "ERROR: script returned exit code 137", "CI job"),
        ("circleci", "Exited with code exit status 137", "CI job"),
    )
}
TEXTS: dict[str, Text] = {
    **BUILDS,
    "cc1plus without memory": Text(
        "cc1plus: out of memory allocating 65536 bytes after a total of 30284 bytes",
        "memory_error",
        says=("cc1plus", "65536 bytes", "30284 bytes"),
    ),
    "ld without memory": Text("/usr/bin/ld: final link failed: memory exhausted", "memory_error", says=("linker",)),
    "bitbucket": Text("Container 'docker' exceeded memory limit.", "container_limit", says=("docker", "Bitbucket")),
    "a hosted runner": Text(
        "The hosted runner: GitHub Actions 17 lost communication with the server. Anything in your workflow that terminates the runner process, starves it for CPU/Memory, or blocks its network access can cause this error.",
        "unknown",
        says=("GitHub Actions 17", "does not say which"),
    ),
    "azure's agent": Text(
        "We stopped hearing from agent Hosted Agent. Verify the agent machine is running and has a healthy network connection.",
        "unknown",
        says=("Hosted Agent",),
    ),
    "azure's memory": Text(
        "##[warning]Free memory is lower than 5%; Currently used: 96.31%", "warning", says=("96.31%", "less than 5%")
    ),
    # The shell
    "bash": Text(
        "./train.sh: line 7:  4123 Killed                  python train.py --epochs 3",
        "sigkill",
        killed("python"),
        says=("python (pid 4123)",),
    ),
    "bash on a Mac": Text(
        "./train.sh: line 7:  4123 Killed: 9               /opt/bin/python3 train.py", "sigkill", killed("python3")
    ),
    "bash's jobs": Text(
        "[1]+  Killed                  python train.py", "sigkill", says=("python ended as after SIGKILL",)
    ),
    "zsh": Text("zsh: killed     python train.py", "sigkill", says=("python ended as after SIGKILL",)),
    "fish": Text(
        "fish: Job 1, 'python train.py' terminated by signal SIGKILL (Forced quit)",
        "sigkill",
        says=("python ended as after SIGKILL",),
    ),
    "a Mac's terminal": Text("Killed: 9", "sigkill"),
    "bash, then a code": Text(
        "./train.sh: line 7:  4123 Killed                  pytest -x\nError: Process completed with exit code 137.",
        "sigkill",
        killed("pytest"),
        says=("pytest (pid 4123)",),
    ),
    "celery": Text(
        "[ERROR/MainProcess] Process 'ForkPoolWorker-148' pid:4123 exited with 'signal 9 (SIGKILL)'",
        "sigkill",
        killed("ForkPoolWorker-148"),
    ),
    # Crashes
    "a crash": Text("Segmentation fault (core dumped)", "crash", says=("Segmentation fault",)),
    "kernel, a crash": Text(
        "python[4123]: segfault at 7f0c3a5b1000 ip 00007f0c412ab3c5 sp 00007ffd8d2c1b90 error 4 in libtorch_cpu.so[7f0c3fa00000+12c00000]",
        "crash",
        says=("python (pid 4123)", "libtorch_cpu.so"),
    ),
    "glibc": Text(
        "malloc(): corrupted top size\nAborted (core dumped)",
        "crash",
        says=("malloc(): corrupted top size", "not a lack of memory"),
    ),
    "glibc, older": Text(
        "*** Error in `python': double free or corruption (!prev): 0x00000000023a4f10 ***",
        "crash",
        says=("python", "double free or corruption (!prev)"),
    ),
    "glibc, free": Text("free(): invalid pointer\nAborted (core dumped)", "crash", says=("free(): invalid pointer",)),
    "a code of a crash": Text(
        "Process finished with exit code 139 (interrupted by signal 11: SIGSEGV)", "crash", says=("exit code 139",)
    ),
    "a code of Python's": Text("the worker ended with exitcode: -11", "crash", says=("exit code -11",)),
    "a code of Windows": Text(
        "Process finished with exit code -1073741819 (0xC0000005)", "crash", says=("-1073741819",)
    ),
    "systemd, a crash": Text(
        "ray.service: Main process exited, code=dumped, status=11/SEGV", "crash", says=("11/SEGV",)
    ),
    "mpi, a crash": Text(
        "mpirun noticed that process rank 3 with PID 4123 on node n342 exited on signal 11 (Segmentation fault).",
        "crash",
        says=("4123", "n342", "signal 11"),
    ),
    "celery, a crash": Text(
        "WorkerLostError: Worker exited prematurely: signal 11 (SIGSEGV) Job: 5.",
        "crash",
        says=("signal 11 (SIGSEGV)",),
    ),
    "airflow, a crash": Text(
        "INFO - Task exited with return code Negsignal.SIGSEGV", "crash", says=("Negsignal.SIGSEGV",)
    ),
    "torchrun, a crash": Text("exitcode  : -11 (pid: 4123)", "crash", killed(None), says=("exit code -11",)),
    "srun": Text("srun: error: n342: task 0: Killed", "sigkill"),
    "srun, a crash": Text("srun: error: n342: task 0: Segmentation fault", "crash", says=("SIGSEGV",)),
    # Pools
    "loky, a crash": Text(
        "joblib.externals.loky.process_executor.TerminatedWorkerError: A worker process managed by the executor was unexpectedly terminated. This could be caused by a segmentation fault while calling the function or by an excessive memory usage causing the Operating System to kill the worker.\n\nThe exit codes of the workers are {SIGSEGV(-11), SIGSEGV(-11)}",
        "crash",
        says=("SIGSEGV(-11)", "loky"),
    ),
    "loky, another end": Text(
        "joblib.externals.loky.process_executor.TerminatedWorkerError: A worker process managed by the executor was unexpectedly terminated. This could be caused by a segmentation fault.\n\nThe exit codes of the workers are {EXIT(1)}",
        "unknown",
        says=("EXIT(1)", "does not say why"),
    ),
    "torch's spawn": Text(
        "torch.multiprocessing.spawn.ProcessExitedException: process 3 terminated with signal SIGKILL",
        "sigkill",
        says=("process 3",),
    ),
    "dask's nanny": Text(
        "distributed.nanny.memory - WARNING - Worker tls://192.168.204.84:34937 (pid=4123) exceeded 95% memory budget. Restarting...",
        "container_limit",
        says=("tls://192.168.204.84:34937", "pid 4123", "95%"),
    ),
    "dask's nanny, older": Text(
        "distributed.nanny - WARNING - Worker exceeded 95% memory budget.  Restarting\ndistributed.nanny - WARNING - Restarting worker",
        "container_limit",
        says=("95%",),
    ),
    "dask's worker": Text(
        "distributed.worker.memory - WARNING - Worker is at 81% memory usage. Pausing worker.  Process memory: 3.25 GiB -- Worker memory limit: 4.00 GiB",
        "warning",
        says=("81%", "3.25 GiB of 4.00 GiB"),
    ),
    "dask, unmanaged": Text(
        "distributed.worker.memory - WARNING - Unmanaged memory use is high. This may indicate a memory leak or the memory may not be released to the OS; see https://x.example/y for more information. -- Unmanaged memory: 1.25 GiB -- Worker memory limit: 2.33 GiB",
        "warning",
        says=("1.25 GiB", "2.33 GiB"),
    ),
    "dask gives up": Text(
        "distributed.scheduler.KilledWorker: Attempted to run task 'sum-aggregate-9' on 4 different workers, but all those workers died while running it.",
        "unknown",
        says=("'sum-aggregate-9'", "4 workers"),
    ),
    "dask's worker ended": Text(
        "distributed.nanny - INFO - Worker process 4123 was killed by unknown signal",
        "unknown",
        says=("pid 4123", "unknown signal"),
    ),
    "airflow 3": Text(
        'CRITICAL - Process terminated by signal. For more information, see https://x.example/troubleshooting.html#TaskRunner-killed: signal=-9: signal_name="SIGKILL": source="task"',
        "sigkill",
        says=("Airflow",),
    ),
    "airflow 2": Text(
        "INFO - Task exited with return code -9. For more information, see https://x.example/y",
        "sigkill",
        says=("Airflow",),
    ),
    # Notebooks
    "jupyter": Text(
        "The kernel for sweep.ipynb appears to have died. It will restart automatically.",
        "unknown",
        says=("sweep.ipynb", "does not say why"),
    ),
    "jupyter's log": Text(
        "[I 2026-01-05 10:00:00.123 ServerApp] AsyncIOLoopKernelRestarter: restarting kernel (1/5), keep random ports",
        "unknown",
        says=("notebook's kernel",),
    ),
    "vs code": Text(
        "The Kernel crashed while executing code in the current cell or a previous cell. \nPlease review the code in the cell(s) to identify a possible cause of the failure.",
        "unknown",
        says=("notebook's kernel",),
    ),
    "nbclient": Text("nbclient.exceptions.DeadKernelError: Kernel died", "unknown", says=("notebook's kernel",)),
    "colab": Text("Your session crashed after using all available RAM.", "container_limit", says=("Colab or Kaggle",)),
    "kaggle": Text(
        "Your notebook tried to allocate more memory than is available. It has restarted.",
        "container_limit",
        says=("Colab or Kaggle",),
    ),
    "colab's allocator": Text(
        "tcmalloc: large alloc 4294967296 bytes == 0x55f0c0ffe000 @  0x7f1c5a3d91e7 0x7f1c57e51f21",
        "warning",
        says=("4294967296 bytes",),
    ),
    # Hosts
    "heroku's limit": Text(
        "heroku[web.1]: Process running mem=1051M(205.3%)\nheroku[web.1]: Error R15 (Memory quota vastly exceeded)\nheroku[web.1]: Stopping process with SIGKILL",
        "container_limit",
        figures={"used": 1051 * MIB},
        says=("1051M",),
    ),
    "heroku's quota": Text(
        "heroku[worker.2]: Process running mem=541M(105.7%)\nheroku[worker.2]: Error R14 (Memory quota exceeded)",
        "warning",
        figures={"used": 541 * MIB},
        says=("worker.2", "541M"),
    ),
    "lambda": Text(
        "RequestId: 5c0ffee5-0000-4000-8000-00000000abcd Error: Runtime exited with error: signal: killed\nRuntime.ExitError\nREPORT RequestId: 5c0ffee5-0000-4000-8000-00000000abcd\tDuration: 4012.71 ms\tBilled Duration: 4013 ms\tMemory Size: 512 MB\tMax Memory Used: 511 MB",
        "sigkill",
        says=("511 MB of 512 MB", "Lambda"),
    ),
    "lambda, newer": Text(
        "REPORT RequestId: 5c0ffee5-0000-4000-8000-00000000abcd\tStatus: error\tError Type: Runtime.OutOfMemory",
        "container_limit",
        says=("Lambda",),
    ),
    "app engine": Text(
        "Exceeded soft memory limit of 512 MB with 547 MB after servicing 31 requests total. Consider setting a larger instance class in app.yaml.",
        "container_limit",
        figures={"used": 547 * MIB, "limit": 512 * MIB},
        says=("soft", "547 MB of 512 MB"),
    ),
    "cloud run, older": Text(
        "While handling this request, the container instance was found to be using too much memory and was terminated.",
        "container_limit",
        says=("Google Cloud",),
    ),
    "glue": Text("Command failed due to Out of Memory", "container_limit", says=("Glue",)),
    "azure machine learning": Text(
        "Job failed since the user script received system termination signal usually due to out-of-memory or segfault.",
        "sigkill",
        says=("Azure",),
    ),
    # Desktops
    "windows, an event": Text(
        "Windows successfully diagnosed a low virtual memory condition. The following programs consumed the most virtual memory: python.exe (4123) consumed 9641316352 bytes, chrome.exe (8468) consumed 2004099072 bytes, and node.exe (900) consumed 1904590848 bytes.",
        "warning",
        top=((4123, 9641316352, "python.exe"), (8468, 2004099072, "chrome.exe"), (900, 1904590848, "node.exe")),
        says=("python.exe (pid 4123) 9641316352 bytes",),
    ),
    "windows, an error": Text(
        "OSError: [WinError 8] Not enough memory resources are available to process this command",
        "memory_error",
        says=("error 8",),
    ),
    "macos, an older kernel": Text(
        "kernel: low swap: killing largest compressed process with pid 4123 (python3.11) and size 43350 MB",
        "kernel_oom",
        killed("python3.11", 4123, 43350 * MIB),
    ),
    "macos, its swap": Text(
        "kernel: low swap: failed to create swapfile\nkernel: vnode_setsize for swap files failed: 28\nkernel: low swap: triggering no paging space action",
        "kernel_oom",
        says=("no paging space action",),
    ),
    "macos, its disk": Text(
        "kernel: low swap: failed to create swapfile\nkernel: vnode_setsize for swap files failed: 28",
        "warning",
        says=("error 28",),
    ),
    "macos, a report": Text(
        '{"bug_type":"298","timestamp":"2026-01-05 10:00:00.00 +0100","os_version":"macOS 15.5 (24F74)"}\n{\n  "crashReporterKey" : "c0ffee",\n  "largestProcess" : "python3.11",\n  "memoryStatus" : {\n    "pageSize" : 16384\n  }\n}',
        "kernel_oom",
        says=("python3.11", "JetsamEvent"),
    ),
    # Daemons and kernels
    "nohang": Text(
        "Found the victim with highest badness:\n  Name:    ray::train\n  PID:     4123\n  UID:     1000\n  Badness: 621, oom_score: 621, oom_score_adj: 0\n  VmSize:  1719 MiB\n  VmRSS:   1624 MiB (Anon: 1618 MiB, File: 6 MiB, Shmem: 0 MiB)",
        "earlyoom",
        killed("ray::train", 4123, 1624 * MIB),
        says=("nohang",),
    ),
    "nohang, newer": Text(
        "Process with highest badness (found in 55 ms):\n  PID: 4123, Name: ray::train, badness: 121",
        "earlyoom",
        killed("ray::train"),
        says=("nohang",),
    ),
    "kernel, none to kill": Text(
        "kernel: Memory cgroup out of memory and no killable processes...",
        "kernel_oom",
        says=("A memory cgroup reached its limit", "no process that it may kill"),
    ),
    "kernel, in a cgroup": Text(
        "systemd invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=100\n mem_cgroup_out_of_memory+0xc2/0xd0\n try_charge_memcg+0x416/0x600",
        "kernel_oom",
        says=("systemd asked for memory when its memory cgroup had none left",),
    ),
    "kernel, somebody's commas": Text(
        "Out of memory: Killed process 4123 (ray::train) total-vm:26,184,840kB, anon-rss:15,370,088kB, file-rss:0kB",
        "kernel_oom",
        killed("ray::train", 4123, 15370088 * 1024),
    ),
    "kernel, an event and its table": Text(
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n"
        "[   4123]     0  4123  6546210  3842522 39899136  1039052             0 ray::train\n"
        "[  11794]  1000 11794      619      468    45056        0             0 init\n"
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/a.scope,task=ray::train,pid=4123,uid=0",
        "kernel_oom",
        killed("ray::train", 4123, 3842522 * 4096),
        top=((4123, 3842522 * 4096, "ray::train"), (11794, 468 * 4096, "init")),
    ),
    "kubelet, an event without a victim": Text(
        "Warning  SystemOOM  17m  kubelet, node-17  System OOM encountered", "kernel_oom", says=("SystemOOM",)
    ),
    "systemd, several units": Text(
        "user-1021.slice: A process of this unit has been killed by the OOM killer.\nsystem-postgresql.slice: A process of this unit has been killed by the OOM killer.",
        "kernel_oom",
        says=("user-1021.slice", "system-postgresql.slice"),
    ),
    # Containers
    "evicted for a disk": Text(
        "The node was low on resource: ephemeral-storage. Container executor was using 160Ki, which exceeds its request of 0.",
        "evicted",
        says=("not on memory", "executor was using 160Ki"),
    ),
    "evicted for its own disk limit": Text(
        "Pod ephemeral local storage usage exceeds the total limit of containers 2Gi.",
        "evicted",
        says=("2Gi", "ephemeral storage"),
    ),
    "evicted for a volume": Text(
        'Usage of EmptyDir volume "dshm" exceeds the limit "1Gi".', "evicted", says=("dshm", "1Gi")
    ),
    "containerd": Text(
        'level=info msg="TaskOOM event container_id:\\"4bcba7fc4369fee4d7d2e6263b58fce52cfc928c6a31cfac4d43c838708991ce\\""',
        "container_limit",
        says=("4bcba7fc4369", "does not say whether the container ended"),
    ),
    "containerd's events": Text('k8s.io /tasks/oom {"container_id":"train-17"}', "container_limit", says=("train-17",)),
    "runc": Text(
        "docker: Error response from daemon: failed to create task for container: OCI runtime create failed: runc create failed: unable to start container process: container init was OOM-killed (memory limit too low?): unknown.",
        "container_limit",
        says=("did not start",),
    ),
    # Batch systems
    "htcondor, a rule": Text(
        "4711.0   alice         1/5  23:48 Job in status 2 put on hold by SYSTEM_PERIODIC_HOLD due to memory usage 3000000.\n"
        "4712.0   alice         1/5  23:48 Job in status 2 put on hold by SYSTEM_PERIODIC_HOLD due to memory usage 3250000.",
        "batch_limit",
        says=("4711.0", "4712.0", "3000000", "3250000"),
    ),
    "htcondor, an expression": Text(
        "The job attribute PeriodicHold expression 'JobStatus == 2 && MemoryUsage > RequestMemory' evaluated to TRUE",
        "batch_limit",
        says=("HTCondor put a job on hold",),
    ),
    "htcondor, a hold": Text(
        "012 (4711.000.000) 2026-01-05 10:00:00 Job was held.\n\tmemory usage exceeded request_memory\n\tCode 34 Subcode 0",
        "batch_limit",
        says=("HTCondor put",),
    ),
    "htcondor's code": Text("HoldReasonCode = 34", "batch_limit", says=("HTCondor",)),
    "grid engine's accounting": Text(
        "qname        all.q\njobnumber    4711\nfailed       37  : qmaster enforced h_rt, h_cpu, or h_vmem limit\nexit_status  137\nmaxvmem      14.210G",
        "batch_limit",
        says=("the job 4711", "14.210G"),
    ),
    "grid engine, a signal": Text(
        "jobnumber    4711\nfailed       100 : assumedly after job\nexit_status  137\nmaxvmem      14.210G\ncategory     -l h_vmem=14G",
        "batch_limit",
        says=("the job 4711", "exit status 137", "h_vmem=14G"),
    ),
    "slurm's accounting": Text(
        "4711         sweep      main       lab          4 OUT_OF_ME+    0:125\n4711.batch   batch                 lab          4 OUT_OF_ME+    0:125",
        "slurm_limit",
        says=("The Slurm job 4711",),
    ),
    "slurm's accounting, parsable": Text(
        "4711|sweep|main|lab|4|OUT_OF_MEMORY|0:125", "slurm_limit", says=("The Slurm job 4711",)
    ),
    "slurm's letter": Text(
        "Slurm Job_id=4711 Name=sweep Failed, Run time 00:10:12, OUT_OF_MEMORY",
        "slurm_limit",
        says=("The Slurm job 4711",),
    ),
    "slurm, at some point": Text(
        "slurmstepd: error: Exceeded job memory limit at some point.", "slurm_limit", says=("at some point",)
    ),
    "yarn, virtual memory in Spark": Text(
        "ERROR YarnClusterScheduler: Lost executor 9 on node-17: Container killed by YARN for exceeding memory limits. 7.2 GB of 4.2 GB virtual memory used.",
        "container_limit",
        says=("virtual memory: 7.2 GB of 4.2 GB", "executor 9 of Spark on node-17"),
    ),
    # Runtimes
    "node.js, with its heap": Text(
        "[4123:0x103001a00]   123778 ms: Mark-sweep 1403.3 (1445.8) -> 1402.1 (1445.8) MB, 1624.3 / 0.0 ms  last resort GC in old space requested\n\n<--- JS stacktrace --->\n\nFATAL ERROR: CALL_AND_RETRY_LAST Allocation failed - JavaScript heap out of memory",
        "memory_error",
        says=("pid 4123", "1402.1 MB"),
    ),
    "go on windows": Text(
        "runtime: VirtualAlloc of 299704320 bytes failed with errno=1455\nfatal error: out of memory",
        "memory_error",
        says=("Go", "299704320 bytes", "1455"),
    ),
    "java, a small piece": Text(
        "# Native memory allocation (mmap) failed to map 12288 bytes for committing reserved memory.\n# An error report file with more information is saved as:\n# /opt/app/hs_err_pid4123.log",
        "memory_error",
        says=("12288 bytes", "pid 4123", "mappings"),
    ),
    "java, a large piece": Text(
        "# Native memory allocation (malloc) failed to allocate 1073741824 bytes for committing reserved memory.",
        "memory_error",
        says=("1073741824 bytes",),
    ),
    "fork in multiprocessing": Text(
        '  File "/usr/lib/python3.11/multiprocessing/popen_fork.py", line 66, in _launch\n    self.pid = os.fork()\nOSError: [Errno 12] Cannot allocate memory',
        "memory_error",
        says=("one more process",),
    ),
    "fork in an older multiprocessing": Text(
        '  File "/usr/lib64/python2.7/multiprocessing/forking.py", line 121, in __init__\n    self.pid = os.fork()\nOSError: [Errno 12] Cannot allocate memory',
        "memory_error",
        says=("one more process",),
    ),
    "nccl's shared memory": Text(
        "misc/shmutils.cc:88 NCCL WARN Error: failed to extend /dev/shm/nccl-WU88OE to 9637892 bytes, error: No space left on device (28)",
        "disk_full",
        says=("/dev/shm/nccl-WU88OE", "9637892 bytes"),
    ),
    # GPUs
    "torch, its own limit": Text(
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB of which 64.11 GiB is free. 15.83 GiB allowed; Of the allocated memory 14.20 GiB is allocated by PyTorch, and 2.99 GiB is reserved by PyTorch but unallocated.",
        "gpu_memory",
        says=("its own limit", "15.83 GiB", "64.11 GiB of it are free"),
    ),
    "torch, its own share": Text(
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.16 GiB. GPU 0 has a total capacity of 7.75 GiB of which 1.10 GiB is free. Including non-PyTorch memory, this process has 5.02 GiB memory in use. Of the allocated memory 4.81 GiB is allocated by PyTorch, and 18.97 MiB is reserved by PyTorch but unallocated.",
        "gpu_memory",
        says=("The process had 5.02 GiB of it",),
    ),
    "cupy, older": Text(
        "cupy.cuda.memory.OutOfMemoryError: out of memory to allocate 163840000 bytes (total 1673061376 bytes)",
        "gpu_memory",
        says=("163840000 bytes", "1673061376 bytes"),
    ),
    "cupy, its limit": Text(
        "cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 8,000,000,000 bytes (allocated so far: 1,024 bytes, limit set to: 4,294,967,296 bytes).",
        "gpu_memory",
        says=("8,000,000,000 bytes", "its own limit is 4,294,967,296 bytes"),
    ),
    "tensorflow, no failure": Text(
        "W tensorflow/core/common_runtime/bfc_allocator.cc:217] Allocator (GPU_0_bfc) ran out of memory trying to allocate 2.59GiB. The caller indicates that this is not a failure, but may mean that there could be performance gains if more memory is available.",
        "warning",
        says=("GPU 0", "2.59GiB", "Nothing failed"),
    ),
    "tensorflow, an older copy": Text(
        "InternalError: Dst tensor is not initialized.", "gpu_memory", says=("Dst tensor is not initialized",)
    ),
    "mxnet": Text(
        "mxnet.base.MXNetError: [10:11:12] src/storage/./pooled_storage_manager.h:161: cudaMalloc retry failed: out of memory",
        "gpu_memory",
        says=("cudaMalloc retry failed",),
    ),
    "theano": Text(
        "RuntimeError: Error allocating 1073741824 bytes of device memory (out of memory).",
        "gpu_memory",
        says=("1073741824 bytes",),
    ),
    "xla, a request": Text(
        "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Failed to allocate request for 2.0GiB (2147483648B) on device ordinal 0",
        "memory_error",
        says=("2.0GiB",),
    ),
    "xla, its account": Text(
        "jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4770354232 bytes.\nBufferAssignment OOM Debugging.\nBufferAssignment stats:\n             parameter allocation:  372.76MiB\n                 total allocation:   14.44GiB",
        "memory_error",
        says=("4770354232 bytes", "14.44GiB in all"),
    ),
    "vllm, what is left for its cache": Text(
        "INFO worker.py:267] the current vLLM instance can use total_gpu_memory (8.00GiB) x gpu_memory_utilization (0.70) = 5.60GiB\n"
        "INFO worker.py:267] model weights take 5.20GiB; non_torch_memory takes 0.03GiB; PyTorch activation peak memory takes 1.42GiB; the rest of the memory reserved for KV Cache is -1.05GiB.",
        "gpu_memory",
        says=("-1.05GiB", "5.20GiB", "1.42GiB"),
    ),
    "vllm, less than nothing for its cache": Text(
        "INFO gpu_worker.py:298] Available KV cache memory: -2.31 GiB",
        "gpu_memory",
        says=("-2.31 GiB",),
    ),
    "dask, two workers": Text(
        "2026-01-02 03:04:05 - Running the third step\n"
        "distributed.nanny - WARNING - Worker exceeded 95% memory budget. Restarting\n"
        "distributed.nanny - WARNING - Worker process 4123 was killed by unknown signal\n"
        "distributed.nanny - WARNING - Restarting worker\n"
        "distributed.nanny - WARNING - Worker process 4124 was killed by unknown signal",
        "container_limit",
        victims=((None, None, None, None, 4123, None), (None, None, None, None, 4124, None)),
    ),
    "dask, a budget of nothing": Text(
        "distributed.nanny.memory - WARNING - Worker tcp://10.20.30.40:40331 (pid=4123) exceeded 0% memory budget. Restarting...",
        "container_limit",
        says=("whatever it uses", "pid 4123", "tcp://10.20.30.40:40331"),
    ),
    "backend.ai": Text(
        "python-kernel: Out-of-memory detected!\n"
        "python-kernel: detected potentially oom-killed process:\n"
        "4123 (running for 61.2s, vm: 9120m, rss: 7433m): /usr/bin/python3.11 -m ipykernel_launcher",
        "container_limit",
        victims=killed("/usr/bin/python3.11"),
        says=("rss of 7433m", "potentially"),
    ),
    "shared memory in df": Text(
        "RuntimeError: DataLoader worker (pid 4123) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory. Please try to raise your shared memory limit.\n"
        "tmpfs            16G   12G  4.0G  75% /dev/shm\ntmpfs            16G   15G  1.0G  94% /dev/shm",
        "bus_error",
        victims=killed(None),
    ),
}
