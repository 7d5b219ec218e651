"""What Python, its libraries and other runtimes say when they cannot have the memory that they ask for."""

from __future__ import annotations

import re

from ..kinds import Kind
from ..patterns import COUNT, IPV4, SIZE, Form, pattern
from ..systems.limits import LIMITS

__all__ = ["CANNOT_ALLOCATE", "LIBRARIES", "MEMORY_ERROR"]

_RAISED = r"^[ \t]{0,40}(?:ray\.exceptions\.RayTaskError\()?(?:[\w.]{1,100}\.)?"
"""An exception's name where it is raised: at the beginning of a line, so that it is no name in code or prose."""

_ROOM = rf"(?:{SIZE}|\d{{1,18}}\b)"
"""A size as DuckDB prints it; old versions print bytes without their unit."""
CANNOT_ALLOCATE = "Python, or code that it called, could not have the memory that it asked for, and raised MemoryError."
_EXECUTOR = (
    rf"(?:[(,] (?:(?=(?P<node_ip>{IPV4}),? ))?(?P<host>[\w.-]{{1,100}}),? executor (?P<executor>\w{{1,10}})\): )?"
)
"""Where Spark says which of its executors failed, and on which node."""
_JAVA = rf"{_EXECUTOR}\bjava\.lang\.OutOfMemoryError: "
_OF_JAVA = "A Java process[, Spark's executor {executor} on {host},] "
LIBRARIES = (
    Kind(
        "memory_error",
        pattern(
            r"Unable to allocate (?P<size>\d{1,4}(?:\.\d{1,2})?)\.? (?P<in>bytes|[KMGTPE]iB) for an array with shape "
            r"(?P<shape>\([\d,\s]{1,100}\)) and data type (?P<type>[<>=|]?[US]\d{1,12})\b"
        ),
        "NumPy could not allocate {size} {in} for an array of shape {shape}: its type {type} gives each string the "
        "room of the longest.",
        lacks="strings",
    ),
    Kind(
        "memory_error",
        pattern(
            r"Unable to allocate (?P<size>\d{1,4}(?:\.\d{1,2})?)\.? (?P<in>bytes|[KMGTPE]iB)\b(?: for an array with "
            r"shape (?P<shape>\([\d,\s]{1,100}\)))?(?: and data type (?P<type>[\w<>|=.-]{1,30}))?"
        ),
        "NumPy could not allocate {size} {in}[ for an array of shape {shape}][ and type {type}] in one piece.",
        asked="{size} {in}",
    ),
    Kind(
        "memory_error",
        pattern(
            r"DefaultCPUAllocator: (?:can't allocate memory|not enough memory): "
            r"you tried to allocate (?P<size>\d{1,18} bytes)"
        ),
        "PyTorch could not allocate {size} of the node's memory in one piece.",
        asked="{size}",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\bunable to mmap (?P<size>\d{1,6}) bytes from file <(?P<file>[^<>\n]{1,200})>: Cannot allocate memory"
        ),
        "The kernel would not map {size} bytes of {file} for PyTorch (ENOMEM): so little is seldom what memory lacks; "
        "a process that shares many tensors has as many mappings as it may have.",
        lacks="mappings",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\bunable to mmap (?P<size>\d{7,18}) bytes from file <(?P<file>(?!/torch_)[^<>\n]{1,200})>: "
            r"Cannot allocate memory"
        ),
        "The kernel would not map {size} bytes of {file} for PyTorch (ENOMEM).",
        lacks="a file's mapping",
    ),
    Kind(
        "memory_error",
        pattern(r"\bunable to mmap (?P<size>\d{7,18}) bytes from file <(?P<file>/torch_[^<>\n]{1,200})>: Cannot alloc"),
        "The kernel would not map {size} bytes of shared memory ({file}) for PyTorch (ENOMEM).",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\bunable to (?:write to|allocate shared memory\(shm\) for|resize) file <(?P<file>/torch_[^<>\n]{1,200})>"
            r"[^\n]{0,60}?: No space left on device"
        ),
        "PyTorch could not put a tensor into shared memory ({file}): /dev/shm is full.",
        lacks="shm",
    ),
    Kind(
        "memory_error",
        pattern(r"(?:\bArrowMemoryError: )?\b(?:malloc|realloc|calloc) of size (?P<size>\d{1,20}) failed"),
        "Arrow could not have the memory that it asked for: {size} bytes in one piece.",
        asked="{size} bytes",
        only_with="ArrowMemoryError: ",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\bArrowMemoryError: (?:(?:malloc|realloc|calloc) of size (?P<size_1>\d{1,20}) failed)?|"
            r"\bOut of memory: (?:malloc|realloc|calloc) of size (?P<size>\d{1,20}) failed|"
            r"\bArrowBuffer: failed to allocate (?P<bytes>\d{1,20}) bytes|"
            r"\bpyarrow\.lib\.check_status[\s;]{1,200}(?=[^\n]{0,100}?\bpyarrow\.lib\.ArrowMemoryError\b)"
        ),
        "Arrow could not have the memory that it asked for[: {size} bytes in one piece][: {bytes} bytes in one piece].",
        asked="[{size} bytes][{bytes} bytes]",
    ),
    Kind(
        "memory_error",
        pattern(r"\b(?:malloc|realloc|calloc) of size (?P<size>\d{1,20}) failed"),
        "Native code, such as Arrow's or FFmpeg's, could not allocate {size} bytes of the node's memory in one piece.",
        asked="{size} bytes",
    ),
    Kind(
        "memory_error",
        pattern(r"\bmemory allocation of (?P<size>\d{1,20}) bytes failed"),
        "Native code (Rust) could not allocate {size} bytes, and aborted its process.",
        asked="{size} bytes",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\b(?:Insufficient memory(?:\) | \(| ))?Failed to allocate (?P<size>\d{1,20}) bytes\)? in (?:function )?'?"
            r"(?:void ?\* ?)?(?:cv::)?OutOfMemoryError\b"
        ),
        "OpenCV could not allocate {size} bytes of the node's memory.",
        asked="{size} bytes",
    ),
    Kind(
        "memory_error",
        pattern(r"\bbad_malloc: Failed to allocate (?P<size>\d{1,20}) bytes"),
        "XGBoost could not allocate {size} bytes of the node's memory.",
        asked="{size} bytes",
    ),
    Kind(
        "memory_error",
        pattern(
            rf"(?:(?P<program>[\w.+-]{{1,60}}) ?\((?P<process>{COUNT})(?:, ?0x[0-9a-f]{{1,16}})?\) )?"
            r"malloc: \*\*\* (?:mach_vm_map|mmap)\(size=(?P<size>\d{1,20})"
            r"(?:, [^\n()]{1,40})?\) failed \(error code=\d{1,3}\)"
        ),
        "macOS did not give a process[, {program}][ (pid {process}),] the {size} bytes of memory that it asked for.",
        asked="{size} bytes",
    ),
    Kind(
        "disk_full",
        pattern(
            rf"\bOut of Memory Error: failed to offload data block of size (?P<size>{_ROOM}) \((?P<is>{_ROOM})/"
            rf"(?P<most>{_ROOM}) used\)\.;?\s{{0,40}}[^\n]{{0,80}}?This limit was set by the 'max_temp_directory_size'"
        ),
        "DuckDB reached its limit of what it puts on disk (max_temp_directory_size): {is} of {most} were used, and "
        "{size} were asked for.",
        lacks="duckdb disk",
    ),
    Kind(
        "memory_error",
        pattern(
            rf"\bOut of Memory Error: (?:[Ff]ailed to |[Cc]ould not )(?:allocate|pin|offload)[^\n]{{0,40}}?"
            rf"(?: of size (?P<size>{_ROOM}))? \((?P<is>{_ROOM})/(?P<most>{_ROOM}) used\)"
        ),
        "DuckDB reached its own memory limit: {is} of {most} were used[, and {size} were asked for].",
        lacks="duckdb",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\bOut of Memory Error: (?:[Ff]ailed to|[Cc]ould not) allocate block of (?P<size>\d{1,18}) bytes\b"
            r"(?: \(bad allocation\))?(?: Database is launched in in-memory mode and (?P<no_disk>no temporary "
            r"directory) is specified)?"
        ),
        "DuckDB could not allocate {size} bytes of memory[; it had {no_disk}, to which it could have moved what it "
        "holds].",
        lacks="duckdb",
    ),
    Kind(
        "memory_error",
        Form(r"\b(?:St9bad_alloc|std::bad_alloc)\b"),
        "C++ code asked for memory that it could not have, and raised std::bad_alloc.",
    ),
    Kind(
        "memory_error",
        pattern(r"(?:\b[\w.]{0,60}(?:[Ee]rror|Exception)|\bwhat\(\)|\[Fatal\]):? (?:std::)?bad allocation\b"),
        "C++ code asked for memory that it could not have (bad allocation).",
    ),
    Kind(
        "memory_error",
        pattern(r"\b[Cc]annot allocate (?:memory for thread-local data|TLS data structures for initial thread)"),
        "The C library had no memory for the own data of a thread, and aborted its process.",
        lacks="threads",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\b(?:DaftError|DaftCoreException|ArrowError)\b[^\n]{0,120}?Operation would exceed memory use threshold"
        ),
        "Daft's reader of Parquet refused a page of a file that is larger than it takes: that is a limit of its own, "
        "not the node's memory.",
        "parquet page",
    ),
    # Java
    Kind(
        "memory_error",
        pattern(rf"{_JAVA}(?P<what>Java heap space|GC overhead limit exceeded|Requested array size exceeds VM limit)"),
        _OF_JAVA + "ran out of its own memory, the heap: {what}.",
        lacks="java heap",
    ),
    Kind(
        "memory_error",
        pattern(rf"{_EXECUTOR}[\w.]{{0,80}}SparkOutOfMemoryError: [^\n]{{0,60}}?acquire (?P<size>\d{{1,18}}) bytes"),
        "Spark[, in executor {executor} on {host},] could not have {size} bytes of the heap of its process.",
        lacks="java heap",
    ),
    Kind(
        "memory_error",
        pattern(rf"{_JAVA}(?P<what>Metaspace|Compressed class space|PermGen space)"),
        _OF_JAVA + "ran out of its own memory, that of its classes: {what}.",
        lacks="java classes",
    ),
    Kind(
        "memory_error",
        pattern(
            rf"{_JAVA}(?:Cannot reserve (?P<size>\d{{1,18}}) bytes of direct buffer memory \(allocated: "
            r"(?P<is>\d{1,18}), limit: (?P<most>\d{1,18})\)|Direct buffer memory)"
        ),
        _OF_JAVA + "ran out of its own memory, that of direct buffers[: {size} bytes "
        "were asked for, where {is} of {most} were used].",
        lacks="java buffers",
    ),
    Kind(
        "memory_error",
        pattern(rf"{_JAVA}unable to create (?:new )?native thread"),
        _OF_JAVA + "could not start one more thread: it reached a limit of their "
        "number, or no memory was left for one.",
        lacks="threads",
    ),
    Kind(
        "memory_error",
        pattern(rf"{_JAVA}(?P<what>[^\n.;\"']{{1,80}})"),
        _OF_JAVA + "ran out of memory: {what}.",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\bos::commit_memory\(0x[0-9a-fA-F]{1,16}, (?P<size>\d{1,18}), \d\) failed; error='[^'\n]{1,200}' "
            r"\((?:DOS error/)?errno=(?P<errno>12|1455)\)"
        ),
        "A Java process could not have {size} bytes of the node's memory (error {errno}).",
        lacks="java node",
    ),
    # Other runtimes
    Kind(
        "memory_error",
        pattern(r"libgomp: Out of memory allocating (?P<size>\d{1,18}) bytes"),
        "OpenMP could not allocate {size} bytes.",
    ),
    Kind(
        "memory_error",
        pattern(r"could not create a (?:primitive|memory object): out of memory"),
        "oneDNN could not allocate memory.",
    ),
    Kind(
        "memory_error",
        pattern(r"JavaScript heap out of memory"),
        "A Node.js process ran out of its own heap.",
        lacks="node.js",
    ),
    Kind(
        "memory_error",
        pattern(r"\bcannot allocate vector of (?:size (?P<size>\d{1,9}(?:\.\d{1,2})? [KMGT]b)|length \d{1,18})"),
        "R could not allocate a vector[ of {size}].",
    ),
    Kind(
        "memory_error",
        Form(r"(?:^[ \t]{0,40}|\bERROR: |\bLoadError: )OutOfMemoryError\(\)", re.MULTILINE),
        "Julia could not have the memory that it asked for.",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\bruntime: out of memory: cannot allocate (?P<size>\d{1,18})-byte block \((?P<is>\d{1,18}) in use\)|"
            r"\bfatal error: runtime: (?:out of memory|cannot allocate memory)"
        ),
        "A program in Go could not have the memory that it asked for[: {size} bytes, where it had {is}].",
    ),
    Kind(
        "memory_error",
        pattern(r"\bGLib[^\n]{0,60}?: failed to allocate (?P<size>\d{1,18}) bytes"),
        "Native code (GLib) could not allocate {size} bytes, and aborted its process.",
    ),
    Kind(
        "memory_error",
        pattern(r"\bOOM command not allowed when used memory > 'maxmemory'"),
        "A Redis server, such as the one in which Ray may keep its state, used more than its `maxmemory`, and refused "
        "a command.",
        lacks="redis",
    ),
    *LIMITS,
    Kind(
        "bus_error",
        pattern(rf"(?:\bworker \(pid (?P<pid>{COUNT})\) is )?killed by signal: Bus error"),
        "A data loader's worker[ {victims}] got SIGBUS: memory that it had mapped was not there, as where /dev/shm is "
        "full.",
    ),
    Kind(
        "bus_error",
        pattern(
            r"\*\*\* SIGBUS received|Fatal Python error: Bus error|"
            r"\b(?:received|[Ff]atal|killed by|(?:terminated|exited|died|stopped) (?:by|with|on|due to)|[Ee]xit|got|"
            r"[Cc]aught) signal(?: number)? ?(?:=|:)? ?(?:7|SIGBUS)\b(?! times)|"
            r"\bsignal(?: number)? ?(?:=|:) ?(?:7|SIGBUS)\b|\bsignal 7 \(SIGBUS|^Bus error(?: \(core dumped\))?",
            re.MULTILINE,
        ),
        "A process got SIGBUS: memory that it had mapped was not there, as where /dev/shm is full in a container.",
    ),
)
MEMORY_ERROR = (
    Kind(
        "memory_error",
        pattern(
            r"\b[\w.]{0,80}PyException: _?(?:Array)?MemoryError(?::|(?=[ \t]{0,9}(?:\n|$|<python>)))"
            r"(?:[^\0]{0,200}?<python>\.(?P<where>[\w.<>]{1,80})\((?P<line>[\w./-]{1,80}\.py:\d{1,7})\))?"
        ),
        "Python code that Java called could not allocate the memory that it asked for[, in {where} ({line})].",
    ),
    Kind(
        "memory_error",
        pattern(r"\bshared_memory\.cc:\d{1,5}[\]:] (?:Check failed: [^\n]{0,80}? )?mmap failed"),
        "A process of Ray could not map the object store's shared memory (mmap failed), and ended itself.",
        lacks="shared memory",
    ),
    Kind(
        "memory_error",
        pattern(
            rf"(?<!(?:Error|ption)\n){_RAISED}ArrowMemoryError\)?(?=:|[ \t]{{0,9}}$(?!\n[\w.]{{1,100}}Error$))",
            re.MULTILINE,
        ),
        "Arrow could not have the memory that it asked for.",
    ),
    Kind(
        "memory_error",
        pattern(
            rf"(?<!(?:Error|ption)\n){_RAISED}_?(?:Array)?MemoryError\)?"
            r"(?=:|[ \t]{0,9}$(?!\n[\w.]{1,100}Error$)|\()",
            re.MULTILINE,
        ),
        CANNOT_ALLOCATE,
    ),
)
