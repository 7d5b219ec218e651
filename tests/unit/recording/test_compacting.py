"""Journals are made small while they are written, and after: no line is lost by it, whoever dies at whatever moment."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import raymemprof
from raymemprof import journal as contract
from raymemprof.recording import compacting, disk_budget
from raymemprof.recording.journals import Journal

PROGRAM = """
import os, sys, threading
from raymemprof import profile_memory
from raymemprof.recording import compacting
compacting.LARGE = 150_000
folder, threads, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

@profile_memory(directory=folder, heap=False)
def work(number):
    return number

def run():
    for number in range(count):
        work(number)
        os.write(1, b".")

started = [threading.Thread(target=run) for _ in range(threads)]
for thread in started:
    thread.start()
for thread in started:
    thread.join()
"""


def start(folder: Path, threads: int, count: int, output: int) -> subprocess.Popen[bytes]:
    folder.mkdir()
    arguments = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(folder), str(threads), str(count)]
    return subprocess.Popen(arguments, stdout=output)


def only_journal(folder: Path) -> Path:
    (path,) = folder.glob("*.jsonl")
    return path


def sum_count(path: Path) -> int:
    return sum(line.count for line in contract.read_lines(path) if isinstance(line, contract.Sum))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_journal_stays_small_and_counts_all(tmp_path: Path, threads: int) -> None:
    with (tmp_path / "out").open("wb") as output:
        assert start(tmp_path / "a", threads, 12_000 // threads, output.fileno()).wait(120) == 0
    (work,) = raymemprof.summary(tmp_path / "a", lines=False)
    assert (work.call_count, work.finished_count) == (12_000, 12_000)
    assert sum_count(only_journal(tmp_path / "a")) > 3_000
    assert only_journal(tmp_path / "a").stat().st_size < 12_000 * 300
    assert [path.name for path in (tmp_path / "a").iterdir()] == [only_journal(tmp_path / "a").name]


def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    """What had ended is told by the program itself, on another way; what ran may or may not have."""
    chance = random.Random(7)
    compacted = 0
    for number in range(6):
        folder = tmp_path / str(number)
        with (tmp_path / "out").open("wb") as output:
            process = start(folder, 2, 10**6, output.fileno())
            while (tmp_path / "out").stat().st_size < 3_000:
                time.sleep(0.01)
            time.sleep(chance.random())
            process.send_signal(signal.SIGKILL)
            process.wait()
        ended = (tmp_path / "out").stat().st_size
        (work,) = raymemprof.summary(folder, lines=False)
        assert ended <= work.finished_count <= ended + 2
        assert work.killed_count <= 2
        compacted += sum_count(only_journal(folder)) > 0
    assert compacted


def test_what_others_append_meanwhile_is_there(tmp_path: Path) -> None:
    """Threads write, a child of a traced process adds lines of its own by the name, and the journal is made small."""
    journal = Journal(tmp_path / "raymemprof-a-local-0-1-1.jsonl")
    journal.write({"event": "process", "pid": os.getpid(), "created": 1.0, "host": socket.gethostname()})
    stop = threading.Event()
    written = [0, 0]
    forks = 0

    def write(which: int) -> None:
        while not stop.is_set():
            number = 2 * written[which] + which
            begin = {"event": "begin", "call": number, "time": 1.0, "name": "a", "kind": "block", "memory": 1}
            journal.write({**begin, "task_id": None, "attempt": None, "actor_id": None, "job_id": None})
            figures = {"duration": 0.0, "status": "finished", "error": None, "memory": 1, "peak": 1}
            journal.write({"event": "end", "call": number, **figures}, is_needed=True)
            written[which] += 1
            time.sleep(0.0003)

    journal._large_at = math.inf  # that is done here
    threads = [threading.Thread(target=write, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 3
    replaced = 0
    inodes = {journal.path.stat().st_ino}
    while time.monotonic() < deadline or replaced < 2:
        compacting.compact(journal.path, journal._replace, lambda: True)
        replaced += journal.path.stat().st_ino not in inodes
        inodes.add(journal.path.stat().st_ino)
        contract.append(journal.path, {"event": "new", "fork": forks})
        forks += 1
    stop.set()
    for thread in threads:
        thread.join()
    assert not journal.is_lost()
    (a,) = raymemprof.summary(tmp_path, lines=False)
    assert (a.call_count, a.finished_count) == (sum(written), sum(written))
    added = [line for line in map(json.loads, journal.path.read_bytes().splitlines()) if line["event"] == "new"]
    assert [line["fork"] for line in added] == list(range(forks))
    journal.close()


def test_a_journal_that_was_deleted_does_not_come_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "raymemprof-a-local-0-1-1.jsonl")
    for number in range(2_000):
        journal.write({"event": "place", "capture": "gone.bin", "place": number, "stack": []})
    journal.write({"event": "open", "capture": "raymemprof-b.bin", "time": 1.0})

    def replace(new: compacting.Replacement) -> bool:
        journal.path.unlink()
        return journal._replace(new)

    compacting.compact(journal.path, replace, lambda: True)
    assert list(tmp_path.iterdir()) == []
    assert journal.is_lost()
    journal.close()


def ended_journal(folder: Path, number: int, calls: int, **process: Any) -> Path:
    path = folder / f"raymemprof-a-local-0-1-{number}.jsonl"
    lines: list[dict[str, Any]] = [
        {"event": "process", "pid": 2**22 + number, "created": 1.0, "host": socket.gethostname(), **process}
    ]
    for call in range(calls):
        begin = {"event": "begin", "call": call, "time": 1.0, "name": "a", "kind": "block", "memory": 1}
        lines.append({**begin, "task_id": None, "attempt": None, "actor_id": None, "job_id": None})
        figures = {"duration": 0.0, "status": "finished", "error": None, "memory": 1, "peak": 1}
        lines.append({"event": "end", "call": call, **figures})
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    os.utime(path, (number, number))
    return path


def test_journals_count_in_the_budget_and_those_that_have_ended_are_made_small(tmp_path: Path) -> None:
    living = ended_journal(tmp_path, 1, 3_000, pid=os.getpid(), created=psutil.Process().create_time())
    elsewhere = ended_journal(tmp_path, 2, 3_000, host="elsewhere")
    ended = [ended_journal(tmp_path, number, 3_000) for number in (3, 4)]
    left_over = tmp_path / contract.beside(ended[0].name)
    left_over.write_bytes(b"1")
    os.utime(left_over, (1, 1))
    sizes = {path: path.stat().st_size for path in (living, elsewhere, *ended)}
    total = sum(sizes.values())
    disk_budget.enforce(tmp_path, 4 * total, 1)
    assert {path: path.stat().st_size for path in sizes} == sizes  # there is room for all
    captures = [tmp_path / f"raymemprof-a-local-0-1-{number}.bin" for number in range(10)]
    for number, path in enumerate(captures):
        path.write_bytes(bytes(total // 10))
        os.utime(path, (number, number))
    disk_budget.enforce(tmp_path, total, 1)
    assert {path: path.stat().st_size for path in (living, elsewhere)} == {
        living: sizes[living],
        elsewhere: sizes[elsewhere],
    }
    for number, path in zip((3, 4), ended, strict=True):
        assert path.stat().st_size < sizes[path] / 5
        assert path.stat().st_mtime == number  # nobody has written to it
    assert not left_over.exists()
    left = sum(path.stat().st_size for path in captures if path.exists())
    assert 0 < left <= total / 2
    (a,) = raymemprof.summary(tmp_path, lines=False)
    assert a.call_count == 12_000
    assert len(raymemprof.calls(tmp_path)) < 7_000
    small = {path: path.stat().st_mtime_ns for path in ended}
    disk_budget.enforce(tmp_path, total // 2, 1)
    assert {path: path.stat().st_mtime_ns for path in ended} == small
