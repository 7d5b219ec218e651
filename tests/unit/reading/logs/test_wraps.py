# ruff: noqa: E501 (lines are as long as they are)
"""Lines that only happen to be as wide as each other are not joined, and lines that a terminal broke are."""

from __future__ import annotations

import pytest

from raymemprof import explain
from raymemprof.reading.logs.messages import parse
from raymemprof.reading.logs.text.layouts import as_printed

AS_WIDE = {
    "squeue": (
        "             JOBID PARTITION     NAME     USER ST       TIME  NODES NODELIST(REASON)\n"
        "              4711       gpu train.sh    alice PD       0:00      4 (Resources)     \n"
        "              4712       gpu train.sh      bob  R    1:02:03      4 node[01-04]     "
    ),
    "two equal sentences": (
        "My worker was killed by the out of memory killer\n"
        "Before that I saw that the memory went up a lot.\n"
        "Then nothing."
    ),
    "log lines": (
        "INFO loading the table partsupp from the bucket foo\n"
        "Bar loader ready for the table lineitem in bucket a\n"
        "Baz loader ready for the table customer in bucket b\n"
        "done"
    ),
    "lines of workers": (
        "worker-1 has finished its part of table 1 in 1 s, all good\n"
        "worker-2 has finished its part of table 2 in 2 s, all good\n"
        "worker-3 has finished its part of table 3 in 3 s, all good\n"
        "worker-4 has finished its part of table 4 in 4 s, all good\n"
        "worker-5 has finished its part of table 5 in 5 s, all good"
    ),
    "sentences with full stops": (
        "loaded the model from the bucket in four seconds now.\n"
        "warmed up the cache of all the tokenizers for a while\n"
        "trained one epoch on the small data set of examples..\n"
        "killed by someone else, that is what I have seen now."
    ),
    "a padded log": (
        "10:01 foo                                                                      |\n"
        "10:02 Bar memory is full                                                       |\n"
        "10:03 worker killed                                                            |"
    ),
    "ps aux": (
        "USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND\n"
        "root           1  0.0  0.0 169316 13120 ?        Ss   Nov01   0:11 /sbin/init sp\n"
        "ray         4123 99.0 45.2 98231232 31231232 ?   Rl   Nov01  90:11 ray::train_fn\n"
        "systemd+     812  0.0  0.0  16128  6528 ?        Ss   Nov01   0:01 /lib/systemd/\n"
        "ubuntu      9012  1.0  2.1 816128 96528 pts/0    Sl+  Nov01   1:01 python driver\n"
        "root        9999  0.0  0.0   6412   712 pts/0    S+   10:00   0:00 grep --color="
    ),
    "nvidia-smi": (
        "+-----------------------------------------------------------------------------+\n"
        "| NVIDIA-SMI 525.85.12    Driver Version: 525.85.12    CUDA Version: 12.0     |\n"
        "|-------------------------------+----------------------+----------------------+\n"
        "| GPU  Name        Persistence-M| Bus-Id        Disp.A | Volatile Uncorr. ECC |\n"
        "| Fan  Temp  Perf  Pwr:Usage/Cap|         Memory-Usage | GPU-Util  Compute M. |\n"
        "|===============================+======================+======================|\n"
        "|   0  Tesla T4            Off  | 00000000:00:1E.0 Off |                    0 |\n"
        "| N/A   45C    P0    27W /  70W |  14921MiB / 15360MiB |      0%      Default |\n"
        "+-------------------------------+----------------------+----------------------+"
    ),
    "a table of rich": (
        "┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┓\n"
        "┃ name                       ┃ memory            ┃\n"
        "┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━┩\n"
        "│ train                      │ 12 GiB            │\n"
        "│ load                       │ 1 GiB             │\n"
        "└────────────────────────────┴───────────────────┘"
    ),
    "a table of signs": (
        "+--------------+----------------+-----------------+\n"
        "| name         | memory         | status          |\n"
        "+--------------+----------------+-----------------+\n"
        "| rc-worker-a  | 12Gi           | OOMKilled       |\n"
        "| rc-worker-b  | 12Gi           | Running         |\n"
        "+--------------+----------------+-----------------+\n"
        "Both were started at the same time."
    ),
    "the kernel's tasks": (
        "[ pid ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n"
        "[ 4123]  1000  4123   912345   812345  7123456        0             0 python3\n"
        "[ 4124]  1000  4124   912345   812345  7123456        0             0 python3\n"
        "[ 4125]  1000  4125   912345   812345  7123456        0             0 python3\n"
        "[ 4126]  1000  4126   912345   812345  7123456        0             0 python3\n"
        "[ 4127]  1000  4127   912345   812345  7123456        0             0 python3\n"
        "[ 4128]  1000  4128   912345   812345  7123456        0             0 python3"
    ),
    "YAML": (
        "containerID: containerd://0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
        "exitCode: 137\n"
        'finishedAt: "2026-01-01T00:00:00Z"\n'
        "reason: OOMKilled\n"
        "imageID: docker://sha256://0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n"
        "restartCount: 3"
    ),
    "JSON": (
        "{\n"
        '  "containerID": "containerd://0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",\n'
        '  "exitCode": 137,\n'
        '  "lastContainerID": "containerd://0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab",\n'
        '  "reason": "OOMKilled"\n'
        "}"
    ),
    "kubectl get": (
        "NAME                           READY   STATUS      RESTARTS      AGE     NODE\n"
        "raycluster-head-abcde          1/1     Running     0             5d12h   node1\n"
        "raycluster-worker-small-x2x9z  0/1     OOMKilled   3 (2m ago)    5d12h   node2\n"
        "redis-0                        0/1     Evicted     3 (2m ago)    5d12h   node3"
    ),
    "free": (
        "              total        used        free      shared  buff/cache   available\n"
        "Mem:       32780123    30123456      123456      512345     2533211     1234567\n"
        "Swap:             0           0           0"
    ),
    "df": (
        "Filesystem      Size  Used Avail Use% Mounted on                       \n"
        "overlay         100G   95G    5G  95% /                                \n"
        "shm              64M   64M     0 100% /dev/shm                         \n"
        "tmpfs            32G     0   32G   0% /sys/firmware                    "
    ),
    "pip freeze": (
        "ray==2.9.0\n"
        "torch==2.1.0+cu121\n"
        "nvidia-cublas-cu12==12.1.3.1-manylinux1-x86-64-whl\n"
        "nvidia-cudnn-cuda1==8.9.2.26-manylinux1-x86-64-whl\n"
        "numpy==1.26"
    ),
    "a sentence of 80 characters": (
        "The worker was killed by the kernel because the memory of the node was exhausted\n"
        "and I do not know why. Please help.\n"
        "Thanks"
    ),
    "each line one longer": (
        "I use Ray 2.9 on a machine with 64 GiB of memory in k8s\n"
        "My actor died with an OutOfMemoryError after ten minutes\n"
        "The dashboard shows nothing of it, so I am at my wits end"
    ),
    "lines of one form": (
        "Rank 0 allocated 12345.12 MB reserved 23456.12 MB at step 000 of the run\n"
        "Rank 1 allocated 12345.12 MB reserved 23456.12 MB at step 100 of the run\n"
        "Rank 2 allocated 12345.12 MB reserved 23456.12 MB at step 200 of the run\n"
        "Rank 3 allocated 12345.12 MB reserved 23456.12 MB at step 300 of the run\n"
        "Rank 4 allocated 12345.12 MB reserved 23456.12 MB at step 400 of the run\n"
        "Rank 5 allocated 12345.12 MB reserved 23456.12 MB at step 500 of the run"
    ),
    "sacct": (
        "JobID           JobName  Partition    Account  AllocCPUS      State ExitCode \n"
        "------------ ---------- ---------- ---------- ---------- ---------- -------- \n"
        "113            train.sh        gpu     lab_ml          8 OUT_OF_ME+    0:125 \n"
        "113.batch         batch                lab_ml          8 OUT_OF_ME+    0:125 "
    ),
    "a list": (
        "- first the node has 64 GiB and four workers, all good\n"
        "- then one of the workers takes all of it in one minute\n"
        "- and the others are killed with it, which is too much!"
    ),
    "chat": (
        "alice: my pod is killed by the kernel when I load it\n"
        "bobby: how much memory do you have? what does it say?\n"
        "alice: it has 64 GiB, and it says that it is too much"
    ),
}


def words(text: str) -> list[str]:
    return text.replace("|", " ").split()


@pytest.mark.parametrize("name", AS_WIDE)
def test_lines_that_are_as_wide_as_each_other_are_not_joined(name: str) -> None:
    """Where each line begins a word does, and no word is made of two."""
    printed = as_printed(AS_WIDE[name])
    assert printed.count("\n") == AS_WIDE[name].count("\n")
    assert set(words(printed)) <= set(words(AS_WIDE[name]))


SENTENCES = {
    50: [
        "My worker was killed while it loaded a large table",
        "Then the driver waited for an answer that is lost.",
        "Memory was at 97 % on the node where this happened",
        "loading the next table starts all of it once again",
        "Nothing else runs there, and the disk is half full",
    ],
    80: [
        "The first of the workers was killed while it was loading a table with all users.",
        "Then memory went up to 97 % on the node, and the driver waited for the result of",
        "another worker that was on the same node, which has 64 GiB of memory and no swap",
        "Before that we saw the same on a machine that has more memory and a faster disk,",
        "so the size of the machine is not the reason for it, as far as I can see it here",
    ],
}


@pytest.mark.parametrize("width", SENTENCES)
@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("others", [(), ("Thanks.",), ("Hello all,", "what do you think?")])
def test_sentences_of_one_width(width: int, count: int, others: tuple[str, ...]) -> None:
    lines = [*SENTENCES[width][:count], *others]
    assert {len(line) for line in lines[:count]} == {width}
    assert as_printed("\n".join(lines)).split("\n") == lines


def test_what_is_complained_of_in_one_of_them_is_quoted() -> None:
    """What stood behind a line of its own was lost when it was glued to the line before."""
    lines = [
        "INFO loading the table partsupp from the bucket foo",
        "Bar worker is killed for running out of memory here",
        "INFO loading the table lineitem from the bucket foo",
    ]
    assert {len(line) for line in lines} == {51}
    message = parse("\n".join(lines))
    assert [quote.words for quote in message.quotes] == [lines[1]]
    assert "fooBar" not in str(explain("\n".join(lines)))


LOG = """2026-01-02 03:04:05,678 INFO worker.py:1841 -- Connected to the cluster at 10.20.30.40:6379, view the dashboard at http://127.0.0.1:8265 while it runs
loading the table
(raylet) A worker died or was killed while executing a task by an unexpected system error. To troubleshoot the problem, check the logs for the dead worker.
done"""


@pytest.mark.parametrize("width", [64, 72, 80, 97, 100, 111, 120])
def test_lines_that_a_terminal_broke_are_joined(width: int) -> None:
    parts = [line[start : start + width] for line in LOG.split("\n") for start in range(0, len(line), width)]
    assert " ".join(as_printed("\n".join(parts)).split()) == " ".join(as_printed(LOG).split())
