"""Where an allocation failed, how much was asked for, and the limits that are not of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from raymemprof import explain
from tests.texts.texts_of_libraries import TEXTS

CUDA = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB"
FRAME = '  File "/opt/job/train.py", line 12, in step\n    loss.backward()'
OUTER = "ray.exceptions.RayTaskError(OutOfMemoryError): ray::main_task() (pid=4001, ip=10.1.1.1)\n" + FRAME
INNER = (
    "ray.exceptions.RayTaskError(OutOfMemoryError): ray::WorkerDict.update_actor() (pid=4123, ip=10.20.30.40, "
    f"actor_id={'7a8b' * 8}, repr=<verl.WorkerDict object at 0x7b8aac2e25c0>)\n{FRAME}"
)


def said(text: str, tmp_path: Path) -> tuple[str | None, str]:
    found = explain(text, tmp_path)
    assert not found.victims  # nobody was killed
    lines = [line for line in found.summary.splitlines() if not line.startswith("The text also names")]
    return found.node_ip, " ".join(lines)


@pytest.mark.parametrize("error", [CUDA, "MemoryError", "OSError: [Errno 12] Cannot allocate memory"])
def test_the_task_whose_allocation_failed(error: str, tmp_path: Path) -> None:
    """Of tasks that wait for each other, the innermost raised it."""
    error_of = OUTER.replace("(OutOfMemoryError)", f"({error.split(':')[0].split('.')[-1]})")
    text = f"{error_of}\n{INNER}\n{error}"
    first = explain(error, tmp_path).summary.splitlines()[0]
    assert said(text, tmp_path) == (
        "10.20.30.40",
        f"{first} It happened in WorkerDict.update_actor (pid 4123) on node 10.20.30.40.",
    )


@pytest.mark.parametrize("prefix", ["(main_task pid=4001) ", "> ", "    "])
def test_a_traceback_that_another_process_prints(prefix: str, tmp_path: Path) -> None:
    text = "\n".join(prefix + line for line in f"{OUTER}\n{INNER}\n{CUDA}".splitlines())
    node_ip, summary = said(text, tmp_path)
    assert node_ip in (None, "10.20.30.40")
    assert "main_task" not in summary


def test_an_exception(tmp_path: Path) -> None:
    from ray import exceptions

    trace = f"ray::Store.put() (pid=4123, ip=10.20.30.40)\n{FRAME}\nMemoryError: too much"
    error = exceptions.RayTaskError("f", trace, MemoryError("too much")).as_instanceof_cause()
    found = explain(error, tmp_path)
    assert (found.cause, found.node_ip) == ("memory_error", "10.20.30.40")
    assert "It happened in Store.put (pid 4123) on node 10.20.30.40." in found.summary.splitlines()


def test_several_tasks(tmp_path: Path) -> None:
    one = INNER.partition("\n")[0].partition("ray::")[2]
    texts = [f"ray::{one}\n{FRAME}\n{CUDA}".replace("4123", str(pid)) for pid in (5000, 5001, 5002, 5003)]
    assert said("\n".join(texts), tmp_path)[1].endswith(
        "It happened in WorkerDict.update_actor (pid 5000), WorkerDict.update_actor (pid 5001), "
        "WorkerDict.update_actor (pid 5002) and 1 more on node 10.20.30.40."
    )
    texts[1] = texts[1].replace("10.20.30.40", "10.20.30.41")
    node_ip, summary = said("\n".join(texts[:2]), tmp_path)
    assert node_ip is None
    assert "(pid 5000) on node 10.20.30.40 and WorkerDict.update_actor (pid 5001) on node 10.20.30.41." in summary


def test_a_task_that_failed_of_something_else(tmp_path: Path) -> None:
    text = f"ray::f() (pid=4123, ip=10.20.30.40)\n{FRAME}\nValueError: no\n\n{CUDA}"
    node_ip, summary = said(text, tmp_path)
    assert node_ip is None
    assert "4123" not in summary
    newest_first = "\n".join(reversed(f"ray::f() (pid=4123, ip=10.20.30.40)\n{FRAME}\nMemoryError\n".splitlines()))
    again = f"{newest_first}\nMemoryError"
    assert said(again, tmp_path)[0] is None


def test_lines_of_processes(tmp_path: Path) -> None:
    text = (
        "(RayWorkerWrapper pid=4123, ip=10.20.30.40) ValueError: No available memory for the cache blocks.\n"
        "(RayWorkerWrapper pid=4200, ip=10.20.30.41) INFO all is well"
    )
    node_ip, summary = said(text, tmp_path)
    assert node_ip == "10.20.30.40"
    assert "It happened in RayWorkerWrapper (pid 4123) on node 10.20.30.40." in summary
    allocator = "Allocator (GPU_0_bfc) ran out of memory trying to allocate 22.0KiB"
    text = f"(pid=4123) {allocator}\n(pid=4124) {allocator}\n(pid=4125) hi"
    assert "It happened in process 4123 and process 4124." in said(text, tmp_path)[1]


def test_a_process_that_prints_through_another(tmp_path: Path) -> None:
    text = f"(Server pid=4001, ip=10.20.30.40) (EngineCore_DP0 pid=4123) {CUDA}\n(Server pid=4001, ip=10.20.30.40) hi"
    node_ip, summary = said(text, tmp_path)
    assert node_ip == "10.20.30.40"
    assert "EngineCore_DP0 (pid 4123)" in summary
    assert "Server" not in summary


def test_the_address_of_an_actor_that_could_not_be_created(tmp_path: Path) -> None:
    text = (
        "(Model pid=4123) Allocator (GPU_0_bfc) ran out of memory trying to allocate 22.0KiB\n"
        "(Model pid=4123) ERROR worker.py:451 -- Exception raised in creation task: The actor died because of an error "
        f"raised in its creation task, ray::Model.__init__() (pid=4123, ip=10.20.30.40)\n(Model pid=4123) {FRAME}"
    )
    assert said(text, tmp_path)[0] == "10.20.30.40"


@pytest.mark.parametrize(
    ("advice", "text"),
    [
        ("So little", "memory allocation of 65536 bytes failed"),
        ("So little", "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.00 MiB for an array"),
        ("So little", "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes."),
        ("Make the allocation", "memory allocation of 16777216 bytes failed"),
        ("Make the allocation", "Unable to allocate 94.9 MiB for an array with shape (2160, 3840, 3)"),
        ("No process can have so much", "pyarrow.lib.ArrowMemoryError: malloc of size 9223372036854775000 failed"),
        ("No process can have", "DefaultCPUAllocator: not enough memory: you tried to allocate 281474976710656 bytes"),
    ],
)  # fmt: skip
def test_how_much_was_asked_for(advice: str, text: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert found.cause == "memory_error"
    assert found.advice[0].startswith(advice)


def test_hosts_of_torchrun(tmp_path: Path) -> None:
    def failed(host: str, pid: int) -> str:
        return (
            f"  host      : {host}\n  rank      : 2 (local_rank: 2)\n  exitcode  : -9 (pid: {pid})\n  error_file: <N/A>"
        )

    one = "A process (pid 4123) on gpu-box-3 was killed by SIGKILL"
    assert explain(failed("gpu-box-3", 4123), tmp_path).summary.splitlines()[0].startswith(one)
    both = explain(f"{failed('gpu-box-3', 4123)}\n[1]:\n{failed('gpu-box-3', 4124)}", tmp_path)
    assert "pid 4123 and pid 4124, on gpu-box-3" in both.summary.splitlines()[0]
    elsewhere = explain(f"{failed('gpu-box-3', 4123)}\n[1]:\n{failed('gpu-box-4', 4124)}", tmp_path)
    assert "gpu-box-3" not in elsewhere.summary.splitlines()[0]
    assert [victim.pid for victim in elsewhere.victims] == [4123, 4124]


def test_the_limit_of_threads(tmp_path: Path) -> None:
    text = "OpenBLAS blas_thread_init: pthread_create failed for thread 30 of 64: Resource temporarily unavailable\n"
    of_user = explain(text + "OpenBLAS blas_thread_init: RLIMIT_NPROC 4096 current, 513046 max", tmp_path)
    assert "may be 4096 (RLIMIT_NPROC)" in of_user.summary.splitlines()[0]
    assert "RLIMIT" not in str(explain(text + "OpenBLAS blas_thread_init: RLIMIT_NPROC -1 current, -1 max", tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "I think you have too many open files.",
        "Too many open files can be a reason, see the FAQ.",
        "what does BrokenProcessPool mean?",
        "The C++ standard calls it a bad allocation.",
        "except BrokenProcessPool:",
    ],
)
def test_talk_of_limits(text: str, tmp_path: Path) -> None:
    assert explain(text, tmp_path).summary == "I do not recognise this as a message about memory."


def test_joblib_says_how_its_processes_ended(tmp_path: Path) -> None:
    text = (
        "TerminatedWorkerError: A worker process managed by the executor was unexpectedly terminated. This could be "
        "caused by a segmentation fault. The exit codes of the workers are {SIGKILL(-9)}"
    )
    assert explain(text, tmp_path).cause == "sigkill"
    other = explain(text.replace("SIGKILL(-9)", "EXIT(1)"), tmp_path)
    assert (other.cause, "(exit codes: EXIT(1))" in str(other)) == ("unknown", True)


def test_descriptors_beside_memory(tmp_path: Path) -> None:
    found = explain("OSError: [Errno 24] Too many open files\nMemoryError", tmp_path)
    assert found.cause == "memory_error"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("opencv", "Make the allocation that failed smaller"),
        ("macos", "Make the allocation that failed smaller"),
        ("opencv 4, a small image", "So little is refused only where"),
        ("rust, a size that cannot be", "look for a size that was computed wrongly"),
        ("pytorch, a file that is mapped", "vm.overcommit_memory"),
        ("fork, told of", "fork asks for as much as it has"),
        ("torch_memory_saver", "--mem-fraction-static"),
        ("nccl", "torch.cuda.empty_cache()"),
        ("a pool's process", "killed process"),
        ("descriptors", "ulimit -n"),
        ("descriptors of shared memory", "set_sharing_strategy"),
    ],
)
def test_what_to_do(name: str, advice: str, tmp_path: Path) -> None:
    assert advice in "\n".join(explain(TEXTS[name].text, tmp_path).advice)
