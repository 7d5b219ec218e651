# ruff: noqa: E501 (messages are as long as they are)
"""Texts of our own of libraries that tasks use, and of the limits that look like memory's."""

from __future__ import annotations

from tests.texts.message_text import Text

TEXTS: dict[str, Text] = {
    # allocations that failed
    "arrow, without a figure": Text(
        '  File "pyarrow/table.pxi", line 971, in pyarrow.lib.table_to_blocks\n  File "pyarrow/error.pxi", line 85, in pyarrow.lib.check_status\npyarrow.lib.ArrowMemoryError',
        "memory_error",
        says=("Arrow could not",),
    ),
    "opencv": Text(
        "cv2.error: OpenCV(4.10.0) /io/opencv/modules/core/src/alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 41472000 bytes in function 'OutOfMemoryError'",
        "memory_error",
        says=("OpenCV could not allocate 41472000 bytes",),
    ),
    "opencv 4, a small image": Text(
        "error: OpenCV(4.5.5) /build/opencv/modules/core/src/alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 49152 bytes in function 'cv::OutOfMemoryError'",
        "memory_error",
        says=("49152 bytes",),
    ),
    "opencv 2": Text(
        "OpenCV Error: Insufficient memory (Failed to allocate 41472004 bytes) in cv::OutOfMemoryError, file alloc.cpp, line 52",
        "memory_error",
        says=("OpenCV could not allocate 41472004 bytes",),
    ),
    "opencv 3": Text(
        "cv2.error: /opt/opencv/modules/core/src/alloc.cpp:55: error: (-4) Failed to allocate 41472000 bytes in function OutOfMemoryError",
        "memory_error",
        says=("OpenCV could not allocate 41472000 bytes",),
    ),
    "ffmpeg": Text(
        "[libx264 @ 0x5581c0ffee40] malloc of size 73728000 failed",
        "memory_error",
        says=("FFmpeg's", "73728000 bytes"),
    ),
    "bad allocation": Text("lightgbm.basic.LightGBMError: bad allocation", "memory_error", says=("bad allocation",)),
    "bad allocation, by Spark": Text(
        "java.lang.Exception: Dataset create call failed in LightGBM with error: bad allocation",
        "memory_error",
        says=("bad allocation",),
    ),
    "xgboost": Text(
        "xgboost.core.XGBoostError: bad_malloc: Failed to allocate 6442450944 bytes.",
        "memory_error",
        says=("XGBoost could not allocate 6442450944 bytes",),
    ),
    "macos": Text(
        "python(4123,0x1f0a2b240) malloc: *** mach_vm_map(size=8589934592) failed (error code=3)\n*** error: can't allocate region",
        "memory_error",
        says=("macOS", "8589934592 bytes", "python (pid 4123)"),
    ),
    "rust, a size that cannot be": Text(
        "memory allocation of 18446744073709551000 bytes failed",
        "memory_error",
        says=("18446744073709551000 bytes",),
    ),
    "pytorch, a file that is mapped": Text(
        "[rank3]: RuntimeError: unable to mmap 4976698672 bytes from file </models/my-7b/model-00001-of-00004.safetensors>: Cannot allocate memory (12)",
        "memory_error",
        says=("4976698672 bytes",),
    ),
    "fork, told of": Text(
        "OSError: [Errno 12] Cannot allocate memory\n  node.start_head_processes(...)\n  subprocess.Popen(...)\n  _fork_exec(...)",
        "memory_error",
        says=("one more process",),
    ),
    # a GPU's
    "xgboost on a GPU": Text(
        "xgboost.core.XGBoostError: [10:11:12] /workspace/src/common/device_helpers.cuh:428: Memory allocation error on worker 0: bad_alloc: cudaErrorMemoryAllocation: out of memory\n- Free memory: 104857600\n- Requested memory: 4294967296",
        "gpu_memory",
        says=("4294967296 bytes", "where 104857600 bytes were free"),
    ),
    "xgboost 3 on a GPU": Text(
        "xgboost.core.XGBoostError: [10:11:12] /workspace/src/common/device_vector.cu:23: Memory allocation error on worker 0: std::bad_alloc: cudaErrorMemoryAllocation: out of memory\n- Free memory: 104.5MB\n- Requested memory: 4.2GB",
        "gpu_memory",
        says=("could not have 4.2GB", "where 104.5MB were free"),
    ),
    "lightgbm on a GPU": Text(
        "[LightGBM] [Fatal] [CUDA] out of memory /tmp/build/src/io/cuda/cuda_column_data.cpp 128",
        "gpu_memory",
        says=("LightGBM",),
    ),
    "pytorch, cuda's driver": Text("RuntimeError: CUDA driver error: out of memory", "gpu_memory", says=("GPU",)),
    "torch_memory_saver": Text(
        "[torch_memory_saver.cpp] CUresult error: 2 (out of memory)  file=csrc/utils.h func=cu_mem_create line=104",
        "gpu_memory",
        says=("torch_memory_saver",),
    ),
    "nccl": Text(
        "node7:4123:4170 [3] include/alloc.h:178 NCCL WARN Cuda failure 'out of memory'\nnode7:4123:4170 [3] include/alloc.h:185 NCCL WARN Failed to CUDA calloc 10485760 bytes",
        "gpu_memory",
        says=("NCCL could not allocate 10485760 bytes",),
    ),
    "nccl, by pytorch": Text(
        "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nFailed to CUDA calloc async 2097152 bytes",
        "gpu_memory",
        says=("NCCL could not allocate 2097152 bytes",),
    ),
    "tensorflow, without its message": Text(
        "ray.exceptions.RayTaskError(ResourceExhaustedError): ray::PPO.train() (pid=16781, ip=10.20.30.40)",
        "unknown",
        figures={"node_ip": "10.20.30.40"},
        says=("ResourceExhaustedError",),
    ),
    # deaths
    "torchrun, with the host": Text(
        "Root Cause (first observed failure):\n[0]:\n  time      : 2026-01-02_03:04:05\n  host      : gpu-box-3\n  rank      : 2 (local_rank: 2)\n  exitcode  : -9 (pid: 4123)\n  error_file: <N/A>\n  traceback : Signal 9 (SIGKILL) received by PID 4123",
        "sigkill",
        victims=((None, None, None, None, 4123, None),),
        says=("pid 4123",),
    ),
    "torch's spawn": Text(
        "torch.multiprocessing.spawn.ProcessExitedException: process 2 terminated with signal SIGKILL",
        "sigkill",
        says=("SIGKILL",),
    ),
    "vllm's worker": Text(
        "ERROR 01-02 03:04:05 [multiproc_worker_utils.py:120] Worker VllmWorkerProcess pid 4123 died, exit code: -9",
        "sigkill",
        victims=((None, None, None, None, 4123, None),),
        says=("pid 4123",),
    ),
    "data loader's workers that ended": Text(
        "RuntimeError: DataLoader worker (pid(s) 4123, 4124) exited unexpectedly",
        "unknown",
        says=("pids 4123, 4124", "the text does not say why"),
    ),
    "a pool's process": Text(
        "concurrent.futures.process.BrokenProcessPool: A process in the process pool was terminated abruptly while the future was running or pending.",
        "unknown",
        says=("the text does not say why",),
    ),
    "joblib's process": Text(
        "joblib.externals.loky.process_executor.TerminatedWorkerError: A worker process managed by the executor was unexpectedly terminated. This could be caused by a segmentation fault while calling the function or by an excessive memory usage causing the Operating System to kill the worker.",
        "unknown",
        says=("the text does not say why",),
    ),
    "vllm's engine": Text(
        "ERROR 01-02 03:04:05 [core_client.py:564] Engine core proc EngineCore_DP0 died unexpectedly, shutting down client.",
        "unknown",
        says=("EngineCore_DP0", "the text does not say why"),
    ),
    # limits that are not of memory
    "descriptors": Text(
        "OSError: [Errno 24] Too many open files: '/tmp/ray/session_latest/logs/worker.out'",
        "unknown",
        says=("a limit of descriptors, not of memory",),
    ),
    "descriptors of shared memory": Text(
        "RuntimeError: unable to open shared memory object </torch_4123_302018467_3> in read-write mode: Too many open files (24)",
        "unknown",
        says=("a limit of descriptors, not of memory",),
    ),
    "descriptors that were sent": Text(
        "RuntimeError: received 0 items of ancdata", "unknown", says=("a limit of descriptors, not of memory",)
    ),
    "openblas's threads, with their limit": Text(
        "OpenBLAS blas_thread_init: pthread_create failed for thread 30 of 64: Resource temporarily unavailable\nOpenBLAS blas_thread_init: RLIMIT_NPROC 4096 current, 513046 max",
        "memory_error",
        says=("more thread",),
    ),
    "c++'s threads": Text(
        "terminate called after throwing an instance of 'std::system_error'\n  what():  Resource temporarily unavailable",
        "memory_error",
        says=("thread or process",),
    ),
    "mac's threads": Text(
        "libc++abi: terminating due to uncaught exception of type std::__1::system_error: thread constructor failed: Resource temporarily unavailable",
        "memory_error",
        says=("thread or process",),
    ),
    "plasma, in /tmp": Text(
        "W0102 03:04:05.678901 4123 store.cc:1166] System memory request exceeds memory available in /tmp. The request is for 32000000000 bytes, and the amount available is 8663801446 bytes. You may be able to free up space by deleting files in /dev/shm.",
        "warning",
        says=("32000000000 bytes", "/tmp has 8663801446 bytes"),
    ),
    "the end of tensorflow's report": Text(
        "2026-01-02 03:04:05.678901: I tensorflow/core/common_runtime/bfc_allocator.cc:1107] Sum Total of in-use chunks: 3.41GiB\n"
        "2026-01-02 03:04:05.678911: I tensorflow/core/common_runtime/bfc_allocator.cc:1115] Stats: \n"
        "Limit:                      8123456789\nInUse:                      3661234567",
        "unknown",
        says=("3.41GiB in use",),
    ),
}
