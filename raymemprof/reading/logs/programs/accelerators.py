"""What is said where the memory of a GPU, an NPU or a TPU does not suffice."""

from __future__ import annotations

from dataclasses import replace

from ..facts import Message
from ..kinds import Kind
from ..patterns import NUMBER, SIZE, Form, pattern
from .devices import TALK, with_device
from .model_servers import SERVERS
from .pytorch import torch

__all__ = ["DUMPED", "TRIED", "accelerator"]

_SHORT = r"\d[\d.]{0,11} ?(?:bytes|[KMGTP]i?B?|B)\b"
"""A size as XLA prints it: "15.65G", "30.85GiB", "0B"."""
_TOTAL = pattern(rf"\btotal allocation: ({_SHORT})")
_SPEAKS_OF_GPU = Form(r"\bGPUs?\b|\bGPU_|\bcuda\b|\bCUDA|\bNVIDIA\b|\bGeForce\b|\bRTX\b|\bROCm\b")
_WITHOUT_GPU = Form(r"\bNo GPU|falling back to (?:cpu|CPU)|\bCpuDevice\b|\bTPU\b")
_EXHAUSTED = (
    r"(?:\bResourceExhaustedError\b|\bOOM when allocating tensor\b|"
    r"\{\{function_node(?=[^\n]{0,300}failed to allocate memory))[^\n]{0,300}?/device:(?:XLA_)?"
)
_OPERATION = r"(?:[^\n]{0,100}?\[Op:(?P<op>\w{1,60})\])?"


_NO_FAILURE = r"(?: with freed_by_count=\d{1,9})?\. ?The caller indicates that this is not a failure"
DUMPED = (
    Kind(
        "unknown",
        pattern(
            rf"\bbfc_allocator\.cc:\d{{1,6}}\] Sum Total of in-use chunks: (?P<is>{NUMBER} ?[KMGT]?i?B)"
            r"(?:[^\0]{0,200}?\bLimit: (?P<most>\d{1,18})\b)?"
        ),
        "TensorFlow's allocator listed what it holds, as it does where an allocation failed: {is} in use[, of {most} "
        "bytes at most]. The text does not say of which device's memory that is.",
    ),
)
"""The end of a report whose beginning is not in the text."""
TRIED = Kind(
    "warning",
    pattern(
        rf"\bAllocator \(GPU_(?P<gpu>\d{{1,3}})_bfc\) ran out of memory trying to allocate "
        rf"(?P<size>{_SHORT}){_NO_FAILURE}"
    ),
    "A warning of TensorFlow: GPU {gpu} had no {size} for an allocation that TensorFlow can do without, as it says; "
    "with more memory it would be faster. Nothing failed by that.",
    lacks="tried",
)
_KINDS = (
    Kind(
        "gpu_memory",
        pattern(
            rf"\bMPS(?: error: | backend | |: )out of memory{TALK}(?: \(MPS allocated: (?P<is>{SIZE}), other "
            rf"allocations: (?P<other>{SIZE}), max allowed: (?P<most>{SIZE})\))?(?:\. Tried to allocate "
            rf"(?P<size>{SIZE}))?"
        ),
        "PyTorch reached its limit of the memory that it takes for the Mac's GPU (MPS), which is the machine's own[: "
        "{is} allocated and {other} of others, where {most} are allowed][; an allocation of {size} failed].",
        lacks="mps",
    ),
    Kind(
        "gpu_memory",
        pattern(
            rf"\bAllocation on device (?P<gpu>\d{{1,3}}) would exceed allowed memory(?:\. \(out of memory\) Currently "
            rf"allocated ?: (?P<is>{SIZE}) Requested ?: (?P<size>{SIZE}) Device limit ?: (?P<has>{SIZE}))?"
        ),
        "The GPU's memory, not the node's, did not suffice on GPU {gpu}[: an allocation of {size} failed, where {is} "
        "of {has} were allocated].",
    ),
    Kind(
        "gpu_memory",
        pattern(
            r"\bOut of memory error on GPU (?P<gpu>\d{1,3})\. Cannot allocate (?P<size>[\d.]{1,20} ?[KMGT]?i?B) memory "
            r"on GPU \d{1,3}, (?P<is>[\d.]{1,20} ?[KMGT]?i?B) memory has been allocated"
        ),
        "The GPU's memory, not the node's, did not suffice: Paddle could not allocate {size} on GPU {gpu}, where {is} "
        "were allocated.",
    ),
    Kind(
        "gpu_memory",
        pattern(
            r"\bOutOfMemoryError: Out of memory allocating (?P<size>[\d,]{1,25}) bytes \(allocated so far: "
            r"(?P<is>[\d,]{1,25}) bytes(?:, limit set to: (?P<most>[\d,]{1,25}) bytes)?|"
            r"\bout of memory to allocate (?P<asked>\d{1,20}) bytes \(total (?P<all>\d{1,20}) bytes\)"
        ),
        "The GPU's memory, not the node's, did not suffice: CuPy could not allocate [{size} bytes, and had {is} "
        "bytes][, where its own limit is {most} bytes][{asked} bytes, and would have had {all} bytes with them].",
    ),
    Kind(
        "gpu_memory",
        pattern(
            rf"\b(?:out_of_memory|bad_alloc): (?:CUDA error|RMM failure)(?: \(failed to allocate (?P<size>{SIZE})\))? "
            r"at: ?[^\n]{0,300}?rmm/mr/(?:device/)?cuda_(?:async_)?(?:view_)?memory_resource\.hpp"
        ),
        "RMM, which RAPIDS (cuDF) allocates with, could not have more of the GPU's memory, not the node's[: an "
        "allocation of {size} failed].",
        lacks="rmm",
    ),
    Kind(
        "gpu_memory",
        pattern(
            r"\b(?:out_of_memory|bad_alloc): RMM failure at: ?[^\n]{0,300}?rmm/mr/(?:device/)?\w{1,30}_memory_resource"
            rf"\.hpp[^\n]{{0,20}}?: Maximum pool size exceeded(?: \(failed to allocate (?P<size>{SIZE})\))?"
        ),
        "RMM, which RAPIDS (cuDF) allocates with, could not make its pool for the GPU larger[: an allocation of {size} "
        "failed].",
        lacks="rmm",
    ),
    Kind(
        "gpu_memory",
        pattern(
            rf"\bMemory allocation error on worker \d{{1,6}}: [^\n]{{1,300}}?[\s;]{{0,20}}- Free memory: "
            rf"(?:(?P<free>\d{{1,18}})|(?P<left>{SIZE}))[\s;]{{0,20}}- Requested memory: (?:(?P<much>{SIZE})|"
            r"(?P<size>\d{1,18})(?![\d.]))"
        ),
        "XGBoost could not have [{size} bytes][{much}] of the GPU's memory, not the node's, where [{free} "
        "bytes][{left}] were free.",
    ),
    Kind(
        "gpu_memory",
        pattern(r"\bout of memory /\S{1,200}?/cuda/\w{1,60}\.(?:cu|cpp|hpp) \d{1,6}\b"),
        "Native code on a GPU, such as LightGBM's, could not have more of the GPU's memory, not the node's.",
    ),
    Kind(
        "gpu_memory",
        pattern(r"\bCUresult error(?:: | result=)2\b(?: \(out of memory\))?"),
        "torch_memory_saver, which gives the GPU's memory back and takes it again between rollout and training, could "
        "not have what it asked for of the GPU's memory, not the node's (CUresult 2).",
        lacks="memory saver",
    ),
    Kind(
        "gpu_memory",
        pattern(
            r"\bCuda failure (?:2 )?'out of memory'[^\0]{0,600}?\bFailed to CUDA "
            r"(?:calloc|malloc)(?: async)? (?P<size>\d{1,18}) bytes|"
            r"\bLast error:[\s;]{1,9}Failed to CUDA (?:calloc|malloc)(?: async)? (?P<bytes>\d{1,18}) bytes"
        ),
        "NCCL could not allocate [{size} bytes][{bytes} bytes] of the GPU's memory, not the node's.",
        lacks="nccl",
    ),
    # TensorFlow and XLA
    Kind(
        "gpu_memory",
        pattern(
            rf"failed to allocate (?P<size>{_SHORT}) \((?P<bytes>\d{{1,18}}) bytes\) from device: "
            r"(?:RESOURCE_EXHAUSTED: ?:? ?)?(?P<code>(?:CUDA_ERROR|hipError)_?\w{1,30})"
        ),
        "TensorFlow or XLA could not have {size} ({bytes} bytes) of the GPU's memory, not the node's ({code}).",
        lacks="taken at once",
        most="bytes",
    ),
    Kind(
        "gpu_memory",
        pattern(
            rf"\bAllocator \(GPU_(?P<gpu>\d{{1,3}})_bfc\) ran out of memory trying to allocate "
            rf"(?P<size>{_SHORT})(?!{_NO_FAILURE})"
        ),
        "The GPU's memory, not the node's, was used up: TensorFlow or XLA could not allocate {size} on GPU {gpu}.",
        lacks="taken at once",
    ),
    Kind(
        "gpu_memory",
        pattern(
            r"OOM when allocating tensor with shape(?P<shape>\[[\d,\s]{1,60}\])[^\n]{0,200}?\bby allocator "
            r"GPU_(?P<gpu>\d{1,3})(?: \[\[\{\{node (?P<op>[\w./-]{1,150})\}\}\]\])?"
        ),
        "The GPU's memory, not the node's, was used up: a tensor of shape {shape} could not be allocated on GPU {gpu}"
        "[ for the operation {op}].",
        lacks="taken at once",
    ),
    Kind(
        "memory_error",
        pattern(
            r"OOM when allocating tensor with shape(?P<shape>\[[\d,\s]{1,60}\])(?: and type (?P<type>\w{1,20}))?"
            r"[^\n]{0,200}?\bby allocator (?P<allocator>(?:mkl)?cpu|\w{0,20}host\w{0,20})\b"
        ),
        "The node's memory, not a GPU's, did not suffice: TensorFlow could not allocate a tensor of shape {shape}[ and "
        "type {type}] (allocator {allocator}).",
    ),
    Kind(
        "gpu_memory",
        pattern(rf"{_EXHAUSTED}GPU:(?P<gpu>\d{{1,3}})\b{_OPERATION}"),
        "The GPU's memory, not the node's, was used up: TensorFlow could not allocate memory on GPU {gpu}[ for the "
        "operation {op}].",
        lacks="taken at once",
    ),
    Kind(
        "memory_error",
        pattern(rf"{_EXHAUSTED}CPU:\d{{1,3}}\b{_OPERATION}"),
        "The node's memory, not a GPU's, did not suffice: TensorFlow could not allocate memory[ for the operation "
        "{op}].",
    ),
    Kind(
        "gpu_memory",
        pattern(
            rf"\bRESOURCE_EXHAUSTED: [^\n]{{0,200}}?Attempting to (?:allocate|reserve) (?P<size>{_SHORT})"
            rf"[^\n]{{0,40}}?\. That was not possible\. There are (?P<free>{_SHORT}) free"
            rf"(?:, {_SHORT} reserved, and (?P<most>{_SHORT}) reservable)?"
            rf"(?:\. Due to fragmentation, the largest contiguous region of free memory is (?P<largest>{_SHORT}))?"
        ),
        "The memory of the TPU, not of the node, did not suffice: {size} were asked for, and {free} were free[, of "
        "which {most} could be reserved][, in pieces of which the largest has {largest}].",
        lacks="tpu",
    ),
    Kind(
        "gpu_memory",
        pattern(
            rf"\bRan out of memory in memory space (?P<space>\w{{1,12}})\. Used (?P<wants>{_SHORT}) of "
            rf"(?P<has>{_SHORT}) \w{{1,12}}\."
        ),
        "The memory of the TPU, not of the node, does not suffice for the program: it needs {wants} of {space}, where "
        "there are {has}.",
        lacks="tpu",
    ),
    *SERVERS,
    # All others
    Kind(
        "gpu_memory",
        pattern(
            r"(?<!host:\s)(?P<code>\b(?:cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY|"
            r"RMM_ERROR_OUT_OF_MEMORY|CL_MEM_OBJECT_ALLOCATION_FAILURE|"
            r"(?:CUBLAS|CUDNN|CUSOLVER|CUSPARSE|HIPBLAS)_STATUS_ALLOC_FAILED|CUFFT_ALLOC_FAILED|hipErrorOutOfMemory|"
            r"(?:UR|ZE)_RESULT_ERROR_OUT_OF_DEVICE_MEMORY|Cuda failure (?:\d{1,3} )?'out of memory'|"
            r"(?:cuda|hip)Malloc(?:Async|Managed)?(?: retry)? failed: out of memory|"
            r"Error allocating \d{1,18} bytes of device memory|Dst tensor is not initialized|"
            r"Error out of memory at line \d{1,6} in file [^\n]{1,200}?\.(?:cu|cpp)\b))"
        ),
        "An allocation in the GPU's memory, not the node's, failed ({code}).",
    ),
    Kind(
        "memory_error",
        pattern(
            r"(?:failed to alloc (?=\d{1,18} bytes on host)|\bAllocator \(\w{0,20}host\w{0,20}\) ran out of memory "
            rf"trying to allocate )(?P<size>{_SHORT})"
        ),
        "TensorFlow or XLA could not pin {size} of the node's memory, not of the GPU's, for copies to the GPU.",
        lacks="pinned",
        most="size",
    ),
    Kind(
        "memory_error",
        pattern(r"could not allocate pinned host memory of size: (?P<size>\d{1,18})"),
        "TensorFlow or XLA could not pin {size} bytes of the node's memory, not of the GPU's, for copies to the GPU.",
        lacks="pinned",
        most="size",
    ),
    Kind(
        "gpu_memory",
        pattern(
            r"(?:RESOURCE_EXHAUSTED|Resource exhausted): Out of memory (?:while trying to allocate|allocating) "
            rf"(?P<size>\d{{1,18}} bytes|{_SHORT}|\d{{1,18}}\b)[^\n]{{0,200}}?\b(?i:gpu|cuda):(?P<gpu>\d{{1,3}})\b"
        ),
        "The GPU's memory, not the node's, was used up: XLA could not allocate {size} on GPU {gpu}.",
        lacks="taken at once",
    ),
    Kind(
        "memory_error",
        pattern(
            r"(?:RESOURCE_EXHAUSTED|Resource exhausted): "
            r"(?:Out of memory (?:while trying to allocate|allocating)|Failed to allocate request for) "
            rf"(?P<size>\d{{1,18}} bytes|{_SHORT}|\d{{1,18}}\b)"
        ),
        "XLA could not allocate {size} of the memory of its device; the text does not say whether that is a GPU's.",
        lacks="xla",
    ),
)


def accelerator(text: str) -> Message | None:
    """Return what a text says of an accelerator's memory, or of the node's that an accelerator is to copy from."""
    said = torch(text) or next(filter(None, (_read(kind, text) for kind in _KINDS)), None)
    return _of_xla(said, text) if said is not None and said.lacks == "xla" else said


def _of_xla(said: Message, text: str) -> Message:
    """Add what XLA's own account says, and that the device is a GPU where only other words of the text say that."""
    total = _TOTAL.search(text)
    statement = said.statement or ""
    if _SPEAKS_OF_GPU.search(text) and not _WITHOUT_GPU.search(text):
        statement = statement.replace(
            "its device; the text does not say whether that is a GPU's.", "its device, by the rest of the text a GPU."
        )
        said = replace(said, cause="gpu_memory", lacks="taken at once")
    if total is not None:
        statement += f" The program needs {' '.join(total[1].split())} in all."
    return replace(said, statement=statement)


def _read(kind: Kind, text: str) -> Message | None:
    message = kind.read(text)
    found = kind.form.search(text) if message is not None and message.cause == "gpu_memory" else None
    return message if found is None or message is None else with_device(message, text, found.start(), found.end())
