"""Advice on the memory of GPUs and TPUs."""

from __future__ import annotations

from .remedy import RAYS_DOCS, Remedy

__all__ = ["ACCELERATORS", "ACCELERATORS_BY_LACK"]

_TORCH_CUDA = "https://docs.pytorch.org/docs/stable/notes/cuda.html"
_JAX = "https://docs.jax.dev/en/latest/gpu_memory_allocation.html"
_VLLM = "https://docs.vllm.ai/en/latest/configuration/conserving_memory/"
_SGLANG = "https://docs.sglang.ai/advanced_features/hyperparameter_tuning.html"
ACCELERATORS = {
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
        f"{RAYS_DOCS}ray-core/scheduling/accelerators.html",
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
    "gpu_fault": Remedy(
        "code on a GPU faulted, by CUDA's or HIP's word",
        "Run it once with `CUDA_LAUNCH_BLOCKING=1` in the workers' environment: then the traceback has the call that "
        "faulted. More memory does not help.",
        "https://docs.pytorch.org/docs/stable/notes/cuda.html#asynchronous-execution",
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
    "look_at_each_rank": Remedy(
        "a collective operation of NCCL timed out",
        "Find the rank that was late or had ended: the first error of all ranks' logs (the `.err` files of their "
        "pids). If one was killed for memory, its node's kernel says so: `dmesg -T | grep -i 'killed process'`.",
        "https://docs.pytorch.org/docs/stable/distributed.html",
    ),
}
ACCELERATORS_BY_LACK = {
    "collective": ("look_at_each_rank",),
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
    "gpu fault": ("gpu_fault",),
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
    "nccl": ("nccl",),
    "memory saver": ("memory_saver",),
}
"""What is said where a message says that this has too little (`Message.lacks`)."""
