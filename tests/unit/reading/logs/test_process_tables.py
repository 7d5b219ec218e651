# ruff: noqa: E501 (rows are as long as they are)
"""Tables that people paste: `top`, `ps`, `nvidia-smi`, `docker stats`, `kubectl top` and `free`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.reading.logs.messages import parse

TOP = """\
    PID USER      PR  NI    VIRT    RES    SHR S  %CPU  %MEM     TIME+ COMMAND
   4123 ray       20   0   30.1g  12.5g  12.1g S   0.3  40.1   3:07.11 ray::IDLE
   4124 ray       20   0 9000000 2097152  10240 R  99.9   6.5  11:07.11 ray::load
     77 root      20   0    4640    908    840 S   0.0   0.0   0:00.01 sh
"""
PS = """\
USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND
ray         4123 99.0 61.2 99887766 20971520 ?   Sl   03:04  17:07 python train.py
"""
NVIDIA = """\
|  GPU   GI   CI        PID   Type   Process name                            GPU Memory |
|    3   N/A  N/A      4123      C   ray::Trainer.step                        61234MiB |
"""
DOCKER = """\
CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT     MEM %     NET I/O   BLOCK I/O   PIDS
0123456789ab   head      1.20%     7.5GiB / 8GiB         93.75%    1kB / 0B  0B / 0B     31
"""
KUBECTL = """\
NAME                 CPU(cores)   MEMORY(bytes)
train-worker-0       901m         30123Mi
train-head-abcde     12m          1024Mi
"""
FREE = """\
              total        used        free      shared  buff/cache   available
Mem:           125Gi       118Gi       1.2Gi       4.0Gi       6.1Gi       3.3Gi
Swap:             0B          0B          0B
"""


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            TOP,
            "`top` shows ray::IDLE (pid 4123) with 12.5 GiB, of which 12.1 GiB is shared, ray::load (pid 4124) with 2.0 GiB.",
        ),
        (PS, "`ps` shows python train.py (pid 4123) with 20.0 GiB."),
        (NVIDIA, "`nvidia-smi` shows ray::Trainer.step (pid 4123 on GPU 3) with 59.8 GiB of GPU memory."),
        (DOCKER, "`docker stats` shows the container head with 7.5 GiB of 8GiB."),
        (KUBECTL, "`kubectl top` shows train-worker-0 with 29.4 GiB, train-head-abcde with 1.0 GiB."),
        (FREE, "`free` shows 3.3Gi available of 125Gi: 118Gi used, 4.0Gi shared."),
    ],
)
def test_a_table_is_read(table: str, said: str, tmp_path: Path) -> None:
    found = explain(table, tmp_path)
    assert found.summary.splitlines()[0].startswith(said)
    assert not found.victims
    beside = explain(f"slurmstepd: error: Detected 1 oom_kill event in StepId=113.0.\n{table}", tmp_path)
    assert beside.cause == "slurm_limit"
    assert said in beside.summary


def test_rows_without_their_head(tmp_path: Path) -> None:
    rows = TOP.partition("\n")[2]
    assert "ray::IDLE (pid 4123) with 12.5 GiB" in explain(rows, tmp_path).summary


def test_shared_memory_is_not_counted_twice(tmp_path: Path) -> None:
    assert "counts in each process that uses it" in explain(TOP, tmp_path).summary
    assert "counts in each" not in explain(PS, tmp_path).summary


@pytest.mark.parametrize("text", ["4123 ray 20 0 1 2", "NAME MEMORY(bytes)\nrows", "Mem: 1 2 3", "| 3 4123 C |"])
def test_other_rows_are_no_tables(text: str, tmp_path: Path) -> None:
    assert explain(text, tmp_path).summary == "I do not recognise this as a message about memory."


@pytest.mark.parametrize(
    "piece", ["4123 ray 20 0 ", "ray 4123 9.9 6.1 ", "|  3  ", "0123456789ab ", "a-b 7m ", "total used "]
)
def test_no_row_makes_it_slow(piece: str) -> None:
    start = time.process_time()
    parse((piece * 20 + "\n") * (49_000 // (20 * len(piece))))
    assert time.process_time() - start < 3
