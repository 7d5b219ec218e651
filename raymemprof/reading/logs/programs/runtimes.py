"""Allocations that runtimes were refused, where the words say of what: maps, forks, /dev/shm, a runtime's heap."""

from __future__ import annotations

from ..kinds import Kind
from ..patterns import pattern

__all__ = ["RUNTIMES", "SHM"]

_NO_ROOM = r"No space left on device(?: \(28\))?"
SHM = (
    Kind(
        "disk_full",
        pattern(
            r"\bfailed to extend (?P<path>/dev/shm/[\w.-]{1,100}) to (?P<size>\d{1,18}) bytes(?:, error: "
            rf"(?:{_NO_ROOM}|Cannot allocate memory)[^\n]{{0,10}})?|"
            r"\bError while creating shared memory segment (?P<path_1>/dev/shm/[\w.-]{1,100}) \(size "
            r"(?P<size_1>\d{1,18})\)|"
            r"\b(?:posix_fallocate|ftruncate|shm_open)\b[^\n]{0,120}?(?P<path_2>/dev/shm/[\w.-]{1,100})[^\n]{0,60}?: "
            rf"{_NO_ROOM}"
        ),
        "NCCL, or another library, could not have[ {size} bytes of] shared memory ({path}): /dev/shm is full, or too "
        "small.",
        lacks="shm",
    ),
    Kind(
        "disk_full",
        pattern(
            r"(?:\[[Ee]rrno 28\] |: )No space left on device(?: \(28\))?: ['\"]?(?P<path>/dev/shm(?:/[\w./-]{0,150})?)|"
            r"(?P<path_1>/dev/shm(?:/[\w./-]{0,150})?)['\"]?: (?:write (?:error|failed)[^\n]{0,20}: )?No space left "
            r"on device|"
            r"multiprocessing/(?:shared_memory|heap|synchronize)\.py\", line \d{1,6}, in "
            r"\w{1,60}\s{0,80}(?:[^\n]{0,200}\n\s{0,40})"
            r"{0,2}OSError: \[Errno 28\] No space left on device"
        ),
        "A file system in memory, /dev/shm, is full, or too small[: {path}].",
        lacks="shm",
    ),
)
"""Shared memory, which is no disk."""
RUNTIMES = (
    Kind(
        "memory_error",
        pattern(
            r"\[(?P<process>\d{1,10}):0x[0-9a-f]{1,16}\][^\n]{0,50}?(?:Mark-[sS]weep|Mark-Compact|Scavenge)"
            r"[^\n]{0,60}? -> (?P<is>\d{1,7}(?:\.\d)?) \([\d.]{1,9}\) MB(?:(?!Mark-[sS]weep |Mark-Compact "
            r")[^\0]){0,2500}?"
            r"JavaScript heap out of memory"
        ),
        "A Node.js process (pid {process}) ran out of its own heap, which held {is} MB after its last collection.",
        lacks="node.js",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\bruntime: VirtualAlloc of (?P<size>\d{1,18}) bytes failed with errno=(?P<errno>\d{1,5})|"
            r"\bfatal error: out of memory(?=[^\0]{0,300}?\bruntime\.throw\()"
        ),
        "A program in Go could not have the memory that it asked for[: {size} bytes][ (Windows' error {errno})].",
        lacks="windows commits",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\b(?:os::commit_memory\(0x[0-9a-fA-F]{1,16}, (?P<size>\d{1,7}), \d\) failed|Native memory allocation "
            r"\((?:mmap|malloc)\) "
            r"failed to (?:map|allocate) (?P<bytes>\d{1,7}) "
            r"bytes)(?:[^\0]{0,1200}?\bhs_err_pid(?P<process>\d{1,10})\.log)?"
        ),
        "A Java process[ (pid {process})] could not have [{size} bytes][{bytes} bytes]: so little is seldom what "
        "memory lacks; a process has as many mappings or threads as it may have, or its limit was reached.",
        lacks="java mappings",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\bNative memory allocation \((?:mmap|malloc)\) failed to (?:map|allocate) (?P<size>\d{8,18}) bytes"
            r"(?:[^\0]{0,1200}?\bhs_err_pid(?P<process>\d{1,10})\.log)?"
        ),
        "A Java process[ (pid {process})] could not have {size} bytes of the node's memory.",
        lacks="java node",
    ),
    Kind(
        "memory_error",
        pattern(
            r"(?:multiprocessing/(?:forking|popen_\w{4,20}|process|context)\.py|/pty\.py|/os\.py)\", line \d{1,6}, in "
            r"\w{1,40}[\s;]{0,80}"
            r"(?:[^\n;]{0,200}[\n;]\s{0,40}){0,2}OSError: \[Errno 12\] Cannot allocate memory|"
            r"\bos\.fork\(\)\s{0,40}OSError: \[Errno 12\] Cannot allocate memory|"
            r"\b(?:vfork|clone|posix_spawn(?:p)?|spawn)(?:\(\))?(?: failed)?: Cannot allocate memory|\bspawn ENOMEM\b|"
            r"\bdid not complete successfully: cannot allocate memory\b"
        ),
        "The kernel had no memory for one more process (fork failed with ENOMEM: Cannot allocate memory).",
        lacks="fork",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\bggml_aligned_malloc: insufficient memory \(attempted to allocate (?P<size>[\d.]{1,12} MB)\)|"
            r"\bFailed to allocate memory for requested buffer of size (?P<bytes>\d{1,18})"
        ),
        "Native code (llama.cpp or ONNX Runtime) could not allocate [{size}][{bytes} bytes]; the text does not say "
        "whether of the node's memory or of a GPU's.",
        asked="[{size}][{bytes} bytes]",
    ),
)
"""What runtimes say where they were refused memory."""
