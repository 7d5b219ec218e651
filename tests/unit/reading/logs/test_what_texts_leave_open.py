# ruff: noqa: E501 (messages are as long as they are)
"""What of a kill stands between the lines of a report: whose memory ran out, how often, on which machine, and who ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.reading.logs.messages import parse

KILL = "Out of memory: Killed process 4123 (simulate) total-vm:9000000kB, anon-rss:4194304kB, file-rss:0kB, shmem-rss:0kB, UID:1000 oom_score_adj:0"
WHOLE = "Memory ran out on the whole machine: no limit of a container or a unit was reached."
EVENT = "oom-kill:constraint=CONSTRAINT_{},nodemask=(null){},task_memcg=/user.slice/user-1000.slice/session-3.scope,task=simulate,pid=4123,uid=1000"


@pytest.mark.parametrize(
    "text",
    [
        f"{EVENT.format('NONE', '')}\n{KILL}",
        f"{EVENT.format('NONE', ',cpuset=/,mems_allowed=0,global_oom')}\n{KILL}",
        f"`oom-kill: ... global_oom, task_memcg=/machine.slice/a.scope ... {KILL.partition(': ')[2]}`",
        f"Warning  SystemOOM   9s  kubelet  System OOM encountered, victim process: simulate, pid: 4123\nWarning  OOMKilling  9s  kernel-monitor  {KILL}",
    ],
)
def test_memory_of_the_whole_machine(text: str) -> None:
    assert WHOLE in parse(text).also


@pytest.mark.parametrize(
    "text", [KILL, f"{EVENT.format('MEMCG', '')}\nMemory cgroup out of memory{KILL[13:]}", EVENT.format("CPUSET", "")]
)
def test_memory_of_a_part_of_it_or_of_nothing_that_is_told(text: str) -> None:
    found = parse(text)
    assert found.cause == "kernel_oom"
    assert WHOLE not in found.also


def test_events_that_stand_for_several() -> None:
    similar = (
        f"Warning  OOMKilling  13s (x7 over 2m10s)  kernel-monitor  (combined from similar events): {KILL}\n"
        "Warning  BackOff  13s (x9 over 2m10s)  kubelet  Back-off restarting failed container"
    )
    assert "Kubernetes counts 7 such kills over 2m10s." in parse(similar).also


@pytest.mark.parametrize(
    ("text", "machine"),
    [
        (f"> Linux tower7 6.8.0-45-generic #45-Ubuntu SMP x86_64 GNU/Linux\n>\n> [ 1234.123456] {KILL}", "tower7"),
        (f"sudo dmesg -T | tail -n 9\n[Fri Nov 27 20:10:11 2026] {KILL}\nme@tower7:~/job$ ", "tower7"),
        (f"kubectl exec p -- dmesg | tail -n 9\n[Fri Nov 27 20:10:11 2026] {KILL}\nme@tower7:~/job$ ", None),
        (f"the log says:\n[Fri Nov 27 20:10:11 2026] {KILL}\nme@tower7:~/job$ ", None),
        (f"dmesg\n[Fri Nov 27 20:10:11 2026] {KILL}\nme@tower7:~/job$ \nme@tower8:~/job$ ", None),
    ],
)
def test_the_machine_of_a_log_whose_lines_do_not_name_it(text: str, machine: str | None, tmp_path: Path) -> None:
    told = [line for line in explain(text, tmp_path).summary.splitlines() if line.startswith("It was on the machine")]
    assert told == ([f"It was on the machine {machine}."] if machine else [])


LSF = """/home/a/.lsbatch/1700000000.{0}.shell: line 12: {1} Killed                  python fit.py
Sender: LSF System <lsf@n9>
Subject: Job {0}: <fit> in cluster <c> Exited
Job was executed on host(s) <n9>, in queue <q>, as user <a> in cluster <c> at Fri Nov 27 20:10:11 2026
TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.
Exited with exit code 137.
    Max Memory :                                 2048 MB
    Total Requested Memory :                     2048.00 MB
"""


def test_whom_the_shell_of_a_job_of_lsf_saw_end() -> None:
    found = parse(LSF.format(12, 4123))
    assert [(one.name, one.pid) for one in found.victims] == [("python", 4123)]
    assert "By the shell's word, python (pid 4123) got SIGKILL." in (found.statement or "")
    assert not parse(LSF.format(12, 4123) + LSF.format(13, 4124)).victims  # of which job they are is not known


def test_slurm_does_not_say_whose_memory_ran_out() -> None:
    for text in (
        "slurmstepd: error: Detected 1 oom_kill event in StepId=113.0. Some of the step tasks have been OOM Killed.",
        "srun: error: n7: task 1: Out Of Memory",
    ):
        assert "Either the job reached its memory limit, or its node had no memory left" in (
            parse(text).statement or ""
        )


def test_what_arrow_asked_for_below_its_frames() -> None:
    text = (
        '  File "pyarrow/error.pxi", line 92, in pyarrow.lib.check_status\n'
        "pyarrow.lib.ArrowMemoryError: realloc of size 734003200 failed"
    )
    assert "734003200 bytes" in (parse(text).statement or "")


def test_a_gpu_whose_number_was_left_out() -> None:
    text = (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 512.00 MiB.\n"
        "GPU has a total capacity of 23.60 GiB of which 310.25 MiB is free."
    )
    said = parse(text).statement or ""
    assert "failed on a GPU, which has 23.60 GiB (310.25 MiB free)" in said


def test_duckdb_without_a_folder_for_its_blocks(tmp_path: Path) -> None:
    text = (
        "Killed\nOur server has 96 GiB of RAM, and in the second run:\nError: Out of Memory Error: could not allocate block of 262144 bytes\n"
        "Database is launched in in-memory mode and no temporary directory is specified.\n"
        "Unused blocks cannot be offloaded to disk."
    )
    found = explain(text, tmp_path)
    assert found.cause == "memory_error"
    assert "262144 bytes of memory; it had no temporary directory" in found.summary
    assert "a process ended as after SIGKILL" in found.summary
    assert "96 GiB" in found.summary
    assert "temp_directory" in found.advice[0]


def test_what_kernels_print_for_no_limit_is_no_figure(tmp_path: Path) -> None:
    text = (
        "memory: usage 125952kB, limit 125952kB, failcnt 3632\n"
        "memory+swap: usage 0kB, limit 9007199254740988kB, failcnt 0\n"
        "Memory cgroup out of memory: Kill process 4123 (simulate) score 1718 or sacrifice child"
    )
    assert "9007199254740988" not in explain(text, tmp_path).summary


def test_a_page_file_is_memory(tmp_path: Path) -> None:
    text = (
        "OSError: The paging file is too small for this operation to complete. (os error 1455)\n"
        "| Page file (CurrentUsage) | 3,021 MB |"
    )
    assert "3,021 MB" in explain(text, tmp_path).summary
