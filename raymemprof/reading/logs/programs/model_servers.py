"""What servers of models say that fill an accelerator's memory: vLLM, SGLang, TensorRT-LLM and others."""

from __future__ import annotations

from ..kinds import Kind
from ..patterns import SIZE, pattern

__all__ = ["SERVERS"]

_GIB = r"\d{1,7}(?:\.\d{1,4})?"

SERVERS = (
    Kind(
        "gpu_memory",
        pattern(
            rf"[Ff]ree memory on device (?:\w{{1,10}}:\d{{1,3}} )?\((?P<free>{_GIB})/(?P<all>{_GIB}) GiB\) on startup "
            rf"is less than desired GPU memory utilization \((?P<share>[\d.]{{1,6}}), (?P<wants>{_GIB}) GiB\)"
        ),
        "vLLM did not start: of the GPU's memory, not the node's, {free} of {all} GiB were free, and it was to take "
        "{wants} GiB (gpu_memory_utilization={share}).",
        lacks="free gpu",
    ),
    Kind(
        "gpu_memory",
        pattern(r"[Ff]ree memory on device [^\n]{0,100}? is less than desired GPU memory"),
        "vLLM did not start: less of the GPU's memory, not of the node's, was free than it was to take.",
        lacks="free gpu",
    ),
    Kind(
        "gpu_memory",
        pattern(
            r"\bmodel's max seq len \((?P<longest>\d{1,9})\) is larger than the maximum number of tokens that can be "
            r"stored in KV cache \((?P<room>\d{1,9})\)"
        ),
        "The GPU's memory, not the node's, leaves vLLM's KV cache too little: it has room for {room} tokens, and the "
        "model's longest sequence has {longest}.",
        lacks="kv cache",
    ),
    Kind(
        "gpu_memory",
        pattern(
            rf"\bmodel(?:'s|s's) max seq len \((?P<longest>\d{{1,9}})\), \((?P<wants>{SIZE}) KV cache is needed, which "
            rf"is larger than the available KV cache memory \((?P<has>{SIZE})\)(?:[^\n]{{0,60}}?the estimated maximum "
            r"model length is (?P<fits>\d{1,9}))?"
        ),
        "The GPU's memory, not the node's, leaves vLLM's KV cache too little: it has {has}, and needs {wants} for one "
        "sequence of {longest} tokens[; one of {fits} would fit].",
        lacks="kv cache",
    ),
    Kind(
        "gpu_memory",
        pattern(
            rf"(?:can use total_gpu_memory \((?P<all>{SIZE})\) x gpu_memory_utilization \((?P<share>[\d.]{{1,6}})\) = "
            rf"(?P<most>{SIZE})[^\0]{{0,200}}?)?\bmodel weights take (?P<weights>{SIZE}) ?;[^\n]{{0,200}}?\bpeak "
            rf"memory takes (?P<peak>{SIZE}) ?; the rest of the memory reserved for KV Cache is (?P<rest>-{SIZE})"
        ),
        "The GPU's memory, not the node's, leaves vLLM's KV cache nothing ({rest}): the model's weights take "
        "{weights}, and what it computes with at most {peak}[, of {most} that vLLM may use "
        "(gpu_memory_utilization={share} of {all})].",
        lacks="kv cache",
    ),
    Kind(
        "gpu_memory",
        pattern(rf"\bAvailable KV cache memory: (?P<rest>-{_GIB} GiB)"),
        "The GPU's memory, not the node's, leaves vLLM's KV cache nothing: {rest}.",
        lacks="kv cache",
    ),
    Kind(
        "gpu_memory",
        pattern(
            r"No available memory for the cache blocks|not enough GPU memory available to serve even a single token"
        ),
        "The GPU's memory, not the node's, leaves vLLM's KV cache nothing.",
        lacks="kv cache",
    ),
    Kind(
        "memory_error",
        pattern(
            rf"Too large swap space\. (?P<size>{SIZE}) out of the (?P<of>{SIZE}) total CPU memory is allocated for the "
            r"swap space"
        ),
        "vLLM did not start: its swap space would take {size} of the node's memory, which has {of}.",
        lacks="swap space",
    ),
    Kind(
        "gpu_memory",
        pattern(
            r"Not enough memory\. Please try to increase --mem-fraction-static"
            r"(?:[^\n]{0,60}?mem_fraction_static ?= ?(?P<share>[\d.]{1,8}\d))?"
        ),
        "SGLang did not start: the GPU's memory, not the node's, leaves its KV cache nothing[ "
        "(mem_fraction_static={share})].",
        lacks="sglang",
    ),
    Kind(
        "gpu_memory",
        pattern(
            r"(?:\b(?P<when>Prefill|Decode) out of memory\. Try to lower your batch size\.|"
            r"\bOut of memory\. Try to lower your batch size\.(?= ;? Try to allocate \d{1,9} tokens))"
            r"(?: ;? Try to allocate (?P<size>\d{1,9}) tokens\.)?"
        ),
        "SGLang's KV cache, in the GPU's memory and not the node's, has no more room[ ({when})][: {size} tokens were "
        "asked for].",
        lacks="sglang, busy",
    ),
    Kind(
        "gpu_memory",
        pattern(
            r"Executor creation failed due to insufficient GPU memory\.(?:[\s\S]{0,160}?The following component could "
            rf"not be created: (?P<what>[^\n]{{1,60}}) Total GPU memory \(GiB\): (?P<all>{_GIB}) Free GPU memory "
            rf"before component creation attempt \(GiB\): (?P<free>{_GIB}))?"
        ),
        "TensorRT-LLM did not start: the GPU's memory, not the node's, did not suffice[ for its part {what}, where "
        "{free} of {all} GiB were free].",
        lacks="tensorrt",
    ),
)
