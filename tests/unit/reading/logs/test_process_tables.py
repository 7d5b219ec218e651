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
        (DOCKER, "`docker stats` shows the container head with 7.5 GiB of 8.0 GiB."),
        (KUBECTL, "`kubectl top` shows train-worker-0 with 29.4 GiB, train-head-abcde with 1.0 GiB."),
        (FREE, "`free` shows 3.3Gi available of 125Gi, 118Gi used, 4.0Gi shared."),
    ],
)
def test_a_table_is_read(table: str, said: str, tmp_path: Path) -> None:
    found = explain(table, tmp_path)
    assert found.summary.splitlines()[0].startswith(said)
    assert not found.victims
    beside = explain(f"slurmstepd: error: Detected 1 oom_kill event in StepId=113.0.\n{table}", tmp_path)
    assert beside.cause == "slurm_limit"
    assert said in beside.summary


def test_rows_without_their_head_are_not_read(tmp_path: Path) -> None:
    rows = TOP.partition("\n")[2]
    assert "`top`" not in explain(rows, tmp_path).summary


PS_HEAD = "USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND\n"
PS_ROW = "{:<8} {:>7}  9.0  1.2 99887766 {} ?   Sl   03:04  17:07 {}\n"


def test_all_rows_are_looked_at(tmp_path: Path) -> None:
    rows = [PS_ROW.format("ray", 4000 + n, 10240, "sh") for n in range(300)]
    large = PS_ROW.format("root", 1, 32 * 2**20, "/usr/bin/server --all")
    summary = explain("".join([PS_HEAD, *rows, large]), tmp_path).summary
    assert summary.startswith("`ps` shows server … (pid 1) with 32.0 GiB, sh (pid 4")
    assert "and 298 more." in summary


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("python train.py --api-key=sk-live-1234567890", "python train.py …"),
        ("/opt/bin/python3 -u -m pkg.main --password hunter2 --user joe@example.com", "python3 -m pkg.main …"),
        ("mysql -phunter2 -u root", "mysql …"),
        ("curl https://joe:hunter2@example.com/a", "curl …"),
        ("TOKEN=hunter2 python a.py", "…"),
        ("ray::Trainer.step", "ray::Trainer.step"),
        ("/usr/lib/raylet/raylet --redis-password=hunter2", "raylet …"),
    ],
)
def test_arguments_are_not_repeated(command: str, said: str, tmp_path: Path) -> None:
    for table in (
        PS_HEAD + PS_ROW.format("ray", 4123, 2**20, command),
        TOP.splitlines()[0] + f"\n 4123 ray 20 0 2000000 1048576 10240 R 99.9 6.5 11:07.11 {command}\n",
    ):
        found = explain(f"{table}", tmp_path)
        assert f"shows {said} (pid 4123) with 1.0 GiB." in found.summary
        for secret in ("hunter2", "sk-live", "joe"):
            assert secret not in str(found)


def test_columns_have_the_order_of_their_head(tmp_path: Path) -> None:
    table = (
        "  PID USER      PR  NI    VIRT    SWAP    RES S  %CPU  %MEM     TIME+ COMMAND\n"
        " 4123 ray       20   0   30.1g    1.5g   4.0g S   0.3  40.1   3:07.11 python a.py\n"
    )
    assert explain(table, tmp_path).summary.splitlines()[0] == "`top` shows python a.py (pid 4123) with 4.0 GiB."


def test_a_process_of_two_snapshots_is_named_once(tmp_path: Path) -> None:
    rows = [PS_HEAD, PS_ROW.format("ray", 4123, 2**20, "python a.py")]
    later = [PS_HEAD, PS_ROW.format("ray", 4123, 2**21, "python a.py")]
    summary = explain("".join([*rows, "\n", *later]), tmp_path).summary
    assert summary.splitlines()[0] == "`ps` shows python a.py (pid 4123) with 2.0 GiB."


@pytest.mark.parametrize("rest", ["", "                     ________     ________\n"])
def test_a_sum_is_no_pod(rest: str, tmp_path: Path) -> None:
    summary = explain(f"{KUBECTL}{rest}             913m         31147Mi\ntotal  913m  31147Mi\n", tmp_path).summary
    assert "and" not in summary
    assert "total" not in summary
    assert "`kubectl" not in explain(f"MEMORY(bytes) is high\n{KUBECTL.partition(chr(10))[2]}", tmp_path).summary


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            "       total   used   free   shared   buffers   cache   available\nMem:   31Gi  20Gi  1Gi   3Gi   4Gi  6Gi   7Gi",
            "`free` shows 7Gi available of 31Gi, 20Gi used, 3Gi shared.",
        ),
        (
            "       total   used   free   shared   buffers   cached\nMem:   32000  20000  1000  300  400  600",
            "`free` shows 1000 free of 32000, 20000 used, 300 shared, in a unit that the table does not name.",
        ),
        (
            f"{FREE}\nlater\n{FREE.replace('3.3Gi', '0.3Gi')}",
            "The text has 2 tables of `free`: the first shows 3.3Gi available of 125Gi, 118Gi used, 4.0Gi shared; "
            "the last 0.3Gi available of 125Gi, 118Gi used, 4.0Gi shared.",
        ),
    ],
)
def test_every_form_of_free(table: str, said: str, tmp_path: Path) -> None:
    assert explain(table, tmp_path).summary.splitlines()[0] == said


@pytest.mark.parametrize("table", [TOP, FREE, NVIDIA])
def test_a_table_alone_is_no_leak(table: str, tmp_path: Path) -> None:
    assert "leaks" not in " ".join(explain(table, tmp_path).advice)


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
