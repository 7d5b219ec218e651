# ruff: noqa: E501 (messages are as long as they are)
"""What a text tells of beside the first matter: other failures, other units, and the rest of a list."""

from __future__ import annotations

from pathlib import Path

import pytest

from raymemprof import explain

KILL = "Memory on the node (IP: 10.0.0.5, ID: " + "ab12" * 14 + ") where the task (task ID: " + "5e6f" * 12
KILL += ", name=load, pid=4242, memory used=2.00GB) was running was 60.25GB / 62.50GB (0.964), which exceeds the memory usage threshold of 0.95. Ray killed this worker (ID: "
KILL += "cd34" * 14 + ") because it was the most recently scheduled task"
USERS = "{}. Top 10 memory users:\nPID\tMEM(GB)\tCOMMAND\n"
KERNEL = "Out of memory: Killed process 77 (python) total-vm:900000kB, anon-rss:800000kB, file-rss:0kB"
IN_CGROUP = "Memory cgroup out of memory: Killed process 78 (java) total-vm:900000kB, anon-rss:700000kB, file-rss:0kB"
CUDA = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {} GiB. GPU {} has a total capacity of 23.57 GiB of which 1.00 GiB is free."


def summary(text: str, folder: Path) -> str:
    return explain(text, folder).summary


@pytest.mark.parametrize(
    ("text", "cause", "says"),
    [
        (f"{KERNEL}\n{CUDA.format('2.00', 0)}", "kernel_oom", "an allocation of 2.00 GiB failed on GPU 0"),
        (
            f"numpy._core._exceptions._ArrayMemoryError: Unable to allocate 3.00 GiB for an array with shape (3, 4) and data type float64\n{KERNEL}",
            "kernel_oom",
            "NumPy could not allocate 3.00 GiB",
        ),
        (f"{KILL}\n{CUDA.format('2.00', 0)}", "ray_memory_monitor", "an allocation of 2.00 GiB failed on GPU 0"),
        (
            "Reason: OOMKilled\nExit Code: 137\njava.lang.OutOfMemoryError: Java heap space",
            "container_limit",
            "A Java process ran out of its own memory, the heap",
        ),
        (
            f"{CUDA.format('2.00', 0)}\n[0]:\n  host      : gpu-7\n  rank      : 0 (local_rank: 0)\n  exitcode  : -9 (pid: 8158)",
            "gpu_memory",
            "A process (pid 8158) on gpu-7 was killed by SIGKILL.",
        ),
        (
            "os::commit_memory(0x0000000600000000, 750780416, 0) failed; error='The paging file is too small for this operation to complete' (DOS error/errno=1455)\n# Native memory allocation (mmap) failed to map 750780416 bytes.",
            "memory_error",
            "the paging file is too small (error 1455)",
        ),
    ],
    ids=["kernel, GPU", "kernel, NumPy", "Ray, GPU", "container, Java", "GPU, SIGKILL", "Java, paging file"],
)
def test_a_second_failure_is_told_too(text: str, cause: str, says: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert found.cause == cause
    assert says in found.summary


def test_windows_paging_file_is_what_to_change(tmp_path: Path) -> None:
    text = "os::commit_memory(0x0000000600000000, 750780416, 0) failed; error='The paging file is too small for this operation to complete' (DOS error/errno=1455)"
    assert "paging file larger" in explain(text, tmp_path).advice[0]


@pytest.mark.parametrize(
    ("text", "more"),
    [
        (
            "slurmstepd: error: Detected 4 oom-kill event(s) in StepId=91.batch.\nslurmstepd: error: Detected 35 oom-kill event(s) in StepId=92.batch.",
            "step 92.batch of a Slurm job: Slurm counts 35 oom-kill event(s).",
        ),
        (
            "pyarrow.lib.ArrowMemoryError: malloc of size 477551936 failed\nthen: malloc of size 361423552 failed",
            "361423552 bytes in one piece.",
        ),
        (f"{CUDA.format('2.00', 0)}\n{CUDA.format('4.00', 0)}", "An allocation of 4.00 GiB failed on GPU 0, too"),
        (
            "a.scope: systemd-oomd killed 12 process(es) in this unit.\nb.scope: systemd-oomd killed 1 process(es) in this unit.",
            "12 processes of a.scope and 1 process of b.scope",
        ),
    ],
    ids=["Slurm", "Arrow", "PyTorch", "systemd-oomd"],
)
def test_the_same_again_with_other_figures(text: str, more: str, tmp_path: Path) -> None:
    assert more in summary(text, tmp_path)


def test_the_same_again_in_short_is_no_second_one(tmp_path: Path) -> None:
    text = f"{CUDA.format('2.00', 0)}\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    assert summary(text, tmp_path).count("2.00 GiB") == 1


def test_many_of_a_kind_are_counted(tmp_path: Path) -> None:
    text = "\n".join(f"malloc of size {1 + n}00000000 failed" for n in range(9))
    assert "The text has 8 more such messages, with other figures." in summary(text, tmp_path)


def test_processes_of_one_name_are_summed_up(tmp_path: Path) -> None:
    rows = "".join(f"{500 + n}\t9.00\tray::load\n" for n in range(5))
    said = summary(f"{USERS.format(KILL)}{rows}600\t1.00\tpython -m http.server\n", tmp_path)
    assert (
        "The largest processes: ray::load (5 of them, 45.0 GiB together) and python -m http.server (1.0 GiB)." in said
    )
    assert "less than half" not in said


def test_a_list_that_begins_with_who_was_killed(tmp_path: Path) -> None:
    said = summary(f"{USERS.format(KILL)}4242\t40.00\tray::load\n600\t1.00\tpython serve.py --password=x\n", tmp_path)
    assert "largest" not in said


def test_arguments_of_the_largest_are_left_out(tmp_path: Path) -> None:
    rows = "500\t40.00\tpython serve.py --words hunter2\n600\t1.00\tray::load\n"
    said = summary(f"{USERS.format(KILL)}{rows}", tmp_path)
    assert "The largest processes: python serve.py" in said
    assert "hunter2" not in said


def test_a_list_that_leaves_most_open(tmp_path: Path) -> None:
    said = summary(f"{USERS.format(KILL)}500\t4.00\tray::load\n600\t1.00\tray::IDLE\n", tmp_path)
    assert "Together these 2 had 5.0 GiB, less than half of what was used." in said


@pytest.mark.parametrize("between", [", ", "; "])
def test_rows_joined_to_one_line(between: str, tmp_path: Path) -> None:
    rows = between.join(
        [
            "PID        MEM(GB) COMMAND",
            "2936   4.10    ",
            "2938  4.02    ray::Map(f, 3)",
            "2421       0.05    ray::Agent",
        ]
    )
    found = explain(f"{KILL}. Top 10 memory users: {rows}{between}Refer to the documentation on how", tmp_path)
    assert [(one.pid, one.command) for one in found.top_processes] == [
        (2936, ""),
        (2938, "ray::Map(f, 3)"),
        (2421, "ray::Agent"),
    ]


def test_who_reached_a_limit_and_who_did_not(tmp_path: Path) -> None:
    said = summary(f"{KERNEL}\n{IN_CGROUP}", tmp_path)
    assert "java (pid 78): because a memory cgroup reached its limit. The others: because the machine had no" in said


def test_ram_and_swap_of_the_machine(tmp_path: Path) -> None:
    report = "Free swap  = 0kB\nTotal swap = 875532kB\n130672 pages of RAM\n"
    assert "The machine had 510.4 MiB of RAM and 0 B of 855.0 MiB of swap left." in summary(report + KERNEL, tmp_path)


def test_what_the_killed_had_in_swap(tmp_path: Path) -> None:
    row = "[   3352]  1000  3352  5796921  3855985 37031936   721456             0 python\n"
    event = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=python,pid=3352,uid=1000\n"
    said = summary(row + event + KERNEL.replace("77", "3352"), tmp_path)
    assert "python (pid 3352) had 2.8 GiB in swap, too." in said


def test_a_fault_on_a_gpu_is_no_lack_of_memory(tmp_path: Path) -> None:
    found = explain("RuntimeError: CUDA error: an illegal memory access was encountered", tmp_path)
    assert found.cause == "crash"
    assert "no lack of memory" in found.summary
    assert "CUDA_LAUNCH_BLOCKING=1" in found.advice[0]


def test_the_worker_of_a_kill_has_the_pid_of_its_end(tmp_path: Path) -> None:
    head = f"Task ID: {'5e6f' * 12} Worker ID: {'cd34' * 14} Node ID: {'ab12' * 14} Worker IP address: 10.0.0.5 Worker port: 10003 Worker PID: 69161 Worker exit type: SYSTEM_ERROR Worker exit detail: Task was killed due to the node running low on memory.\n"
    text = head + KILL.replace(KILL[KILL.index("(task ID") : KILL.index("was running")], "")
    victim = explain(text, tmp_path).victims[0]
    assert (victim.pid, victim.task_id, victim.worker_id) == (69161, "5e6f" * 12, "cd34" * 14)


@pytest.mark.parametrize(
    ("words", "threshold"),
    [
        ("60.25GB / 62.50GB (0.9640), above Ray's `0.95` threshold", 0.95),
        ("60.25GB / 62.50GB (0.9640); the kill threshold is 0.9", 0.9),
        ("60.25GB / 62.50GB (0.9640).\nWe then set a threshold of 0.99", None),
    ],
)
def test_a_threshold_in_somebody_s_words(words: str, threshold: float | None, tmp_path: Path) -> None:
    said = "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory, at "
    found = explain(said + words, tmp_path)
    assert found.threshold == (None if threshold is None else pytest.approx(threshold * 62.5 * 2**30))


@pytest.mark.parametrize("end", ["", "\nthen it hung\n"])
def test_a_summary_without_its_second_half(end: str, tmp_path: Path) -> None:
    text = f"it says:\n40 Workers (tasks / actors) killed due to memory pressure (OOM){end}"
    assert "killed 40 workers" in summary(text, tmp_path)


def test_a_summary_that_is_quoted_as_an_example(tmp_path: Path) -> None:
    text = "You may see `5 Workers (tasks / actors) killed due to memory pressure (OOM)` in the logs."
    assert explain(text, tmp_path).cause == "unknown"


@pytest.mark.parametrize(
    ("comment", "cause"),
    [
        ("# slurmstepd: error: Detected 4 oom-kill event(s) in StepId=91.batch.", "slurm_limit"),
        ("# Memory usage on this node: 15.5/15.8 GiB: ***LOW MEMORY***", "warning"),
        ("# torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "gpu_memory"),
        ("// 2026-01-02 03:04:05 ERROR java.lang.OutOfMemoryError: Java heap space", "memory_error"),
        ("#   kernel: Out of memory: Killed process 1571 (java) total-vm:13500628kB, anon-rss:2243952kB", "kernel_oom"),
        ("# e.g. torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "unknown"),
        ("# If it says CUDA out of memory. Tried to allocate 2.00 GiB, take a batch of 8", "unknown"),
        ("# ray.exceptions.OutOfMemoryError: raised when more than 95% is used", "unknown"),
        ("# Memory limit: 16 GB", "unknown"),
    ],
)
def test_comments_that_keep_what_a_program_printed(comment: str, cause: str, tmp_path: Path) -> None:
    assert explain(f"batch = 16\n{comment}\nrun(batch)\n", tmp_path).cause == cause


def test_units_that_systemd_oomd_killed(tmp_path: Path) -> None:
    pressure = "due to memory pressure for /user.slice being 27925460729.27% > 50.00% for > 20s with reclaim activity"
    text = f"oomd[9]: Killed /user.slice/a.scope due to memory p>\noomd[9]: Killed /user.slice/b.scope {pressure}"
    said = summary(text, tmp_path)
    assert (
        "all processes of /user.slice/b.scope, because the memory pressure of /user.slice was 27925460729.27%" in said
    )
    assert "It killed all processes of /user.slice/a.scope, too." in said


def test_what_systemd_oomd_says_was_used(tmp_path: Path) -> None:
    text = "Marked …a.scope for killing due to memory used (16260780032) / total (16419115008) and swap used (29560922112) / total (32838500352) being more than 90.00%"
    found = explain(text, tmp_path)
    assert (found.used, found.limit) == (16260780032, 16419115008)
    assert "29560922112 of 32838500352 bytes of swap, where 90.00% is the limit of both" in found.summary


@pytest.mark.parametrize(
    ("path", "whose"),
    [
        ("/system.slice/lab_oom.scope", "that of systemd's unit lab_oom.scope"),
        (f"/docker/{'3fa1' * 16}", "that of the Docker container 3fa13fa13fa1"),
        ("/syz1", "a container, a batch job or a unit of systemd"),
    ],
)
def test_whose_cgroup_reached_its_limit(path: str, whose: str, tmp_path: Path) -> None:
    event = (
        f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg={path},task_memcg={path},task=java,pid=78\n"
    )
    assert f"its memory cgroup ({whose}) reached its limit" in summary(event + IN_CGROUP, tmp_path)


def test_a_figure_that_breaks_off_is_none(tmp_path: Path) -> None:
    said = summary("/tmp/ray/s is over 95% full, available space: 22462230528; capacity: 4701711155...", tmp_path)
    assert "95% full" in said
    assert "4701711155" not in said


def test_an_executor_that_spark_lost(tmp_path: Path) -> None:
    text = "Lost task 1.3 in stage 5.0 (TID 230, 10.0.0.7, executor 0): \nExecutorLostFailure (executor 0 exited caused by one of the running tasks) \nReason: Remote RPC client disassociated. Likely due to containers exceeding thresholds, or network issues."
    said = summary(text, tmp_path)
    assert said.startswith("Spark lost its executor 0 on 10.0.0.7 (Remote RPC client disassociated)")


def test_lists_of_two_kills_are_not_summed_up(tmp_path: Path) -> None:
    rows = "500\t4.00\tray::load\n600\t1.00\tray::load\n"
    other = KILL.replace("cd34" * 14, "cd56" * 14).replace("pid=4242", "pid=4343")
    assert "largest" not in summary(f"{USERS.format(KILL)}{rows}\n{USERS.format(other)}{rows}", tmp_path)


def test_a_name_alone_is_no_second_failure(tmp_path: Path) -> None:
    assert "GPU" not in summary(f"CUDA out of memory is not our problem.\n{KERNEL}", tmp_path)


def test_an_owner_that_died_beside_a_kill(tmp_path: Path) -> None:
    lost = f"ray.exceptions.OwnerDiedError: Failed to retrieve object {'9c' * 28}. The object's owner has exited. "
    said = summary(f"{KILL}\n{lost}", tmp_path)
    assert "The worker that owned an object ended, or its node did" in said


@pytest.mark.parametrize(
    "form", ["low 0\nmax 29\noom 6\noom_kill 3\n", "cgroup memory.events: max 29, oom 6, oom_kill 3"]
)
def test_kills_that_a_cgroup_counts(form: str, tmp_path: Path) -> None:
    found = explain(form, tmp_path)
    assert found.cause == "kernel_oom"
    assert "A memory cgroup counts 3 of its processes" in found.summary
    assert explain(form.replace("oom_kill 3", "oom_kill 0"), tmp_path).cause == "unknown"
    assert "killed (oom_kill, memory.events)." in summary(f"{form}\n{IN_CGROUP}", tmp_path)
