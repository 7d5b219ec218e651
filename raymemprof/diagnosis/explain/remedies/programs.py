"""Advice on what libraries and programs say: Java, Spark, Dask, DuckDB, and allocations that failed."""

from __future__ import annotations

from .remedy import MMAP, OOM, RAYS_DOCS, Remedy

__all__ = ["PROGRAMS", "PROGRAMS_BY_LACK"]

_SPARK = "https://spark.apache.org/docs/latest/configuration.html"
PROGRAMS = {
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
    "build": Remedy(
        "a part of a compiler was killed, or had no memory",
        "If it was memory: compile less at once (`make -j1`, `MAX_JOBS=1`, `CMAKE_BUILD_PARALLEL_LEVEL=1`, `cargo "
        "build -j 1`), or give the machine more memory or swap; a wheel that is built already needs neither.",
        "https://gcc.gnu.org/onlinedocs/gcc/Optimize-Options.html",
    ),
    "notebook": Remedy(
        "a hosted notebook used all its memory",
        "Load less at once (columns, chunks, smaller types), delete what is no longer used, or take a runtime with "
        "more memory.",
        "https://research.google.com/colaboratory/faq.html",
    ),
    "driver_memory": Remedy(
        "Spark's driver, or a notebook's process beside it, does not respond or was ended",
        "Bring less to the driver (`collect()`, `toPandas()`), or give it more memory; its Java heap is not what Ray "
        "counts for tasks.",
        "https://docs.databricks.com/",
    ),
    "executor_memory": Remedy(
        "an executor of Spark's was killed",
        "If it was memory: give the executor more beside its Java heap (`spark.executor.memoryOverhead`), as for what "
        "Python and Ray use in it, or run fewer at once (`spark.executor.cores`).",
        "https://spark.apache.org/docs/latest/configuration.html",
    ),
    "bus_error": Remedy(
        "a process ended by SIGBUS",
        "See how full shared memory is: `df -h /dev/shm`; give the container more (`docker run --shm-size`).",
        f"{RAYS_DOCS}ray-core/scheduling/memory-management.html",
    ),
    "parquet_page": Remedy(
        "a reader of Parquet refused a page that is too large for it",
        "Write the file anew with smaller pages (`data_page_size=` of `pyarrow.parquet.write_table`), or read it with "
        "a newer Daft, or another reader.",
        "https://arrow.apache.org/docs/python/generated/pyarrow.parquet.write_table.html",
    ),
    "aborted": Remedy(
        "a process ended as after SIGABRT",
        "Read what it wrote just before it ended, its `.err` file in the session's logs: an assertion or an exception "
        "that nothing caught says why, and `std::bad_alloc` means memory.",
        f"{RAYS_DOCS}ray-observability/user-guides/configure-logging.html",
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
        MMAP,
    ),
    "nonsense": Remedy(
        "an allocation failed that no machine could have given",
        "No process can have so much: look for a size that was computed wrongly (a negative number, an overflow, a "
        "damaged file) where the allocation failed; more memory would not help.",
        MMAP,
    ),
    "file_mapping": Remedy(
        "the kernel refused to map a file",
        "PyTorch maps the file as memory that it may write, which the kernel promises in full: see "
        "`vm.overcommit_memory` (1 promises anything), `ulimit -v`, and what else fills the node: `raymemprof usage`. "
        "Or have fewer processes load it at once.",
        MMAP,
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
        MMAP,
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
        f"{RAYS_DOCS}ray-core/configure.html",
    ),
    "fork": Remedy(
        "the kernel had no memory for one more process",
        "Start fewer processes, and have the one that starts them hold less: fork asks for as much as it has. See what "
        "fills the node: `raymemprof usage`; the container's limit, and `vm.overcommit_memory`, which says how much "
        "the kernel promises.",
        MMAP,
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
        MMAP,
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
        f"{RAYS_DOCS}ray-core/configure.html",
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
        OOM,
    ),
}
PROGRAMS_BY_LACK = {
    "parquet page": ("parquet_page",),
    "executor": ("executor_memory",),
    "driver": ("driver_memory",),
    "shm": ("shm",),
    "java mappings": ("java_mappings",),
    "windows commits": ("windows_commits",),
    "corruption": ("corruption", "crash"),
    "dask": ("dask",),
    "dask, ends all": ("dask_ends_all",),
    "build": ("build",),
    "notebook": ("notebook",),
    "strings": ("strings",),
    "mappings": ("mappings",),
    "a file's mapping": ("file_mapping",),
    "little": ("little",),
    "nonsense": ("nonsense",),
    "descriptors": ("descriptors",),
    "an end": ("an_end",),
    "aborted": ("aborted",),
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
"""What is said where a message says that this has too little (`Message.lacks`)."""
