"""What Python, its libraries and other runtimes say when they cannot have the memory that they ask for."""

from __future__ import annotations

import re

from .kinds import Kind
from .patterns import SIZE, pattern

__all__ = ["CANNOT_ALLOCATE", "LIBRARIES", "MEMORY_ERROR"]

_RAISED = r"^[ \t]{0,40}(?:ray\.exceptions\.RayTaskError\()?(?:[\w.]{1,100}\.)?"
"""An exception's name where it is raised: at the beginning of a line, so that it is no name in code or prose."""

CANNOT_ALLOCATE = "Python, or code that it called, could not have the memory that it asked for, and raised MemoryError."
LIBRARIES = (
    Kind(
        "gpu_memory",
        pattern(
            rf"\b(?P<device>CUDA|HIP|XPU|MPS|GPU|NPU)(?: error: | backend | |: )out of memory"
            rf"(?:\.? ?[^\n]{{0,200}}?Tried to allocate (?P<size>{SIZE}))?"
            rf"(?:[^\n]{{0,80}}?GPU (?P<gpu>\d{{1,3}}) has a total capac\w{{1,5}} of (?P<of>{SIZE}))?",
            re.IGNORECASE,
        ),
        "The GPU's memory, not the node's, did not suffice ({device} out of memory)[: an allocation of {size} failed]"
        "[ on GPU {gpu}][, which has {of}].",
    ),
    Kind(
        "gpu_memory",
        pattern(
            r"(?P<code>cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED|"
            r"CUDNN_STATUS_ALLOC_FAILED|Cuda failure (?:\d{1,3} )?'out of memory')"
        ),
        "An allocation in the GPU's memory, not the node's, failed ({code}).",
    ),
    Kind(
        "gpu_memory",
        pattern(r"OOM when allocating tensor with shape(?P<shape>\[[\d,\s]{1,60}\])[^\n]{0,200}?\bby allocator GPU_\d"),
        "The GPU's memory, not the node's, was used up: a tensor of shape {shape} could not be allocated.",
    ),
    Kind(
        "gpu_memory",
        pattern(
            r"No available memory for the cache blocks|Free memory on device [^\n]{0,100}? is less than desired "
            r"GPU memory"
        ),
        "A model server found too little of the GPU's memory, not of the node's, free.",
    ),
    Kind(
        "memory_error",
        pattern(
            r"RESOURCE_EXHAUSTED: Out of memory (?:while trying to allocate|allocating) (?P<size>\d{1,18} ?(?:bytes)?)"
        ),
        "XLA could not allocate {size} of the memory of its device; the text does not say whether that is a GPU's.",
    ),
    Kind(
        "memory_error",
        pattern(
            rf"Unable to allocate (?P<size>{SIZE})(?: for an array with shape (?P<shape>\([\d,\s]{{1,100}}\)))?"
            r"(?: and data type (?P<type>[\w<>|=.-]{1,30}))?"
        ),
        "NumPy could not allocate {size}[ for an array of shape {shape}][ and type {type}] in one piece.",
    ),
    Kind(
        "memory_error",
        pattern(
            r"DefaultCPUAllocator: (?:can't allocate memory|not enough memory): "
            r"you tried to allocate (?P<size>\d{1,18} bytes)"
        ),
        "PyTorch could not allocate {size} of the node's memory in one piece.",
    ),
    Kind(
        "memory_error",
        pattern(
            r"(?:ArrowMemoryError: |\bmalloc of size (?=\d{1,18} failed))[^\n]{0,60}?(?P<size>\d{1,18})?(?: failed|\b)"
        ),
        "Arrow could not allocate[ {size} bytes] in one piece.",
    ),
    Kind(
        "memory_error",
        pattern(r"\bmemory allocation of (?P<size>\d{1,18}) bytes failed"),
        "Native code (Rust) could not allocate {size} bytes, and aborted its process.",
    ),
    Kind(
        "memory_error",
        pattern(
            rf"\bOut of Memory Error: (?:failed to |could not )(?P<what>allocate|pin|offload)[^\n]{{0,60}}?"
            rf"\((?P<is>{SIZE})/(?P<most>{SIZE}) used\)"
        ),
        "DuckDB reached its own memory limit: {is} of {most} were used.",
    ),
    Kind(
        "memory_error",
        re.compile(r"\b(?:St9bad_alloc|std::bad_alloc)\b"),
        "C++ code asked for memory that it could not have, and raised std::bad_alloc.",
    ),
    Kind(
        "memory_error",
        pattern(r"\bjava\.lang\.OutOfMemoryError: (?P<what>[^\n]{1,80})"),
        "A Java process ran out of its own memory: {what}.",
    ),
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
    Kind("memory_error", pattern(r"JavaScript heap out of memory"), "A Node.js process ran out of its own heap."),
    Kind(
        "memory_error",
        pattern(r"\[WinError 1455\]|[Tt]he paging file is too small for this operation to complete"),
        "Windows could not provide more memory: the paging file is too small (error 1455).",
    ),
    Kind(
        "memory_error",
        pattern(r"\[Errno 12\] Cannot allocate memory|\berrno ?= ?12\b|: Cannot allocate memory ?$", re.MULTILINE),
        "The kernel refused to give a process more memory (ENOMEM: Cannot allocate memory).",
    ),
    Kind(
        "bus_error",
        pattern(r"killed by signal: Bus error"),
        "A data loader's worker got SIGBUS: memory that it had mapped was not there, as where /dev/shm is full.",
    ),
    Kind(
        "bus_error",
        pattern(
            r"\*\*\* SIGBUS received|Fatal Python error: Bus error|"
            r"\bsignal(?: number)? ?(?:=|:)? ?(?:7|SIGBUS)\b|^Bus error(?: \(core dumped\))?",
            re.MULTILINE,
        ),
        "A process got SIGBUS: memory that it had mapped was not there, as where /dev/shm is full in a container.",
    ),
)
MEMORY_ERROR = (
    Kind(
        "memory_error",
        pattern(_RAISED + r"_?(?:Array)?MemoryError\)?(?=:|[ \t]{0,9}$|\()", re.MULTILINE),
        CANNOT_ALLOCATE,
    ),
)
