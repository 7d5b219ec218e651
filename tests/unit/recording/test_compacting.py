"""Journals are compacted while they are written, and after: no line is lost by it, whoever dies at whatever moment."""

from __future__ import annotations

import contextlib
import errno
import fcntl
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import raymemprof
from raymemprof import journal as contract
from raymemprof.recording import compacting, disk_budget, replacement, warn
from raymemprof.recording.journals import Journal

PROGRAM = """
import os, sys, threading
from raymemprof import profile_memory
from raymemprof.recording import compacting
compacting.LARGE = 50_000
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
NEVER = 2**22 + 1
"""A pid that no process has."""


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
        assert start(tmp_path / "a", threads, 4_200 // threads, output.fileno()).wait(120) == 0
    (work,) = raymemprof.summary(tmp_path / "a", lines=False)
    assert (work.call_count, work.finished_count) == (4_200, 4_200)
    assert sum_count(only_journal(tmp_path / "a")) > 400  # how many is a matter of when the writer was idle
    assert only_journal(tmp_path / "a").stat().st_size < 4_200 * 300
    assert [path.name for path in (tmp_path / "a").iterdir()] == [only_journal(tmp_path / "a").name]


def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    """What had ended is told by the program itself, on another way; what ran may or may not have."""
    chance = random.Random(7)
    compacted = 0
    for number in range(6):
        folder = tmp_path / str(number)
        with (tmp_path / "out").open("wb") as output:
            process = start(folder, 2, 10**6, output.fileno())
            least, is_compacted = chance.randrange(500, 3_000), number % 2
            while (tmp_path / "out").stat().st_size < least or (is_compacted and not sum_count(only_journal(folder))):
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            process.wait()
        ended = (tmp_path / "out").stat().st_size
        (work,) = raymemprof.summary(folder, lines=False)
        assert ended <= work.finished_count <= ended + 2
        assert work.killed_count <= 2
        compacted += sum_count(only_journal(folder)) > 0
    assert compacted >= 3


def lines_of(number: int) -> Iterator[dict[str, Any]]:
    begin = {"event": "begin", "call": number, "time": 1.0, "name": "a", "kind": "block", "memory": 1}
    yield {**begin, "task_id": None, "attempt": None, "actor_id": None, "job_id": None}
    yield {"event": "end", "call": number, "duration": 0.0, "status": "finished", "error": None, "memory": 1, "peak": 1}


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another test may have had the same inode and size; and why it was not compacted is said each time."""
    monkeypatch.setattr(compacting, "_fruitless", {})
    monkeypatch.setattr(warn, "once", lambda _, message: print(message))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal of this process that is compacted only when a test says so."""
    journal = Journal(tmp_path / "raymemprof-a-local-0-1-1.jsonl")
    journal._due_at = math.inf
    journal.write({"event": "process", "pid": os.getpid(), "created": 1.0, "host": socket.gethostname()})
    yield journal
    journal.close()


def compact(journal: Journal) -> bool:
    """Compact a journal now; return whether another file took its place."""
    before = journal.path.stat().st_ino if journal.path.exists() else 0
    journal._worth_at = 0
    journal._compact(journal.path.stat().st_size if journal.path.exists() else 0)
    journal._due_at = math.inf
    return journal.path.exists() and journal.path.stat().st_ino != before


def write_calls(journal: Journal, numbers: range) -> None:
    for number in numbers:
        for line in lines_of(number):
            journal.write(line, is_needed=line["event"] == "end")


def test_what_is_written_meanwhile_is_there(tmp_path: Path, journal: Journal) -> None:
    stop = threading.Event()
    written = [0, 0]

    def write(which: int) -> None:
        while not stop.is_set():
            number = 2 * written[which] + which
            write_calls(journal, range(number, number + 1))
            written[which] += 1
            assert not journal.is_lost()
            time.sleep(0.0003)

    threads = [threading.Thread(target=write, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 3
    replaced = 0
    while time.monotonic() < deadline or replaced < 2:
        replaced += compact(journal)
    stop.set()
    for thread in threads:
        thread.join()
    assert not journal.is_lost()
    (a,) = raymemprof.summary(tmp_path, lines=False)
    assert (a.call_count, a.finished_count) == (sum(written), sum(written))


def test_lines_wait_where_a_replacement_takes_long(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are neither lost nor written to the file that is replaced, keep their order, and the calls go on."""
    write_calls(journal, range(4_000))
    is_replacing, done = threading.Event(), threading.Event()
    take_its_place = replacement.Replacement.take_its_place

    def slowly(new: replacement.Replacement) -> None:
        is_replacing.set()
        assert done.wait(10)
        take_its_place(new)

    monkeypatch.setattr(replacement.Replacement, "take_its_place", slowly)
    thread = threading.Thread(target=compact, args=(journal,))
    thread.start()
    assert is_replacing.wait(10)
    size, number = journal.path.stat().st_size, journal.path.stat().st_ino
    began = time.monotonic()
    write_calls(journal, range(4_000, 4_100))
    assert time.monotonic() - began < 0.5
    assert not journal.is_lost()
    assert journal.path.stat().st_size == size
    done.set()
    thread.join()
    assert journal.path.stat().st_ino != number
    assert not journal.is_lost()
    lines = [line for line in contract.read_lines(journal.path) if isinstance(line, (contract.Begin, contract.End))]
    last = [(line.call, type(line).__name__) for line in lines if line.call >= 4_000]
    assert last == [(number, name) for number in range(4_000, 4_100) for name in ("Begin", "End")]


def test_a_write_that_takes_long_holds_nobody_else_up(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor a file that takes the journal's place: that waits until it is done, and gives up."""
    write_calls(journal, range(4_000))
    is_slow, done = threading.Event(), threading.Event()
    write = os.write

    def slowly(number: int, data: bytes) -> int:
        if data.startswith(b'{"event":"begin","call":4000,'):
            is_slow.set()
            assert done.wait(30)
        return write(number, data)

    monkeypatch.setattr(os, "write", slowly)
    thread = threading.Thread(target=write_calls, args=(journal, range(4_000, 4_001)))
    thread.start()
    assert is_slow.wait(10)
    began = time.monotonic()
    write_calls(journal, range(4_001, 4_101))
    assert time.monotonic() - began < 0.5
    assert not compact(journal)
    done.set()
    thread.join()
    assert compact(journal)
    (a,) = raymemprof.summary(tmp_path, lines=False)
    assert (a.call_count, a.finished_count) == (4_101, 4_101)


def test_a_journal_that_forked_children_write_to_is_not_replaced(journal: Journal) -> None:
    write_calls(journal, range(4_000))
    journal.is_shared = True
    assert not compact(journal)
    journal.is_shared = False
    assert compact(journal)


def test_a_journal_that_was_deleted_does_not_come_back(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_calls(journal, range(4_000))
    fill = replacement.Replacement.fill

    def then_deleted(new: replacement.Replacement, *options: Any, **more: Any) -> contract.Compacted:
        try:
            return fill(new, *options, **more)
        finally:
            journal.path.unlink()

    monkeypatch.setattr(replacement.Replacement, "fill", then_deleted)
    compact(journal)
    assert list(tmp_path.iterdir()) == []
    assert journal.is_lost()


def test_a_descriptor_that_the_user_takes_is_left_alone(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of them becomes another file's while a journal is compacted: that is neither read on, nor written."""
    write_calls(journal, range(4_000))
    before = journal.path.read_bytes()
    (tmp_path / "user").write_bytes(b"x" * 100)
    user = os.open(tmp_path / "user", os.O_RDWR)
    os.lseek(user, 7, os.SEEK_SET)
    for which in ("old", "kept"):
        made: list[replacement.Replacement] = []

        def taken(new: replacement.Replacement, data: bytes, which: str = which, made: Any = made) -> None:
            if not made:
                made.append(new)
                number = getattr(new, which).number
                os.dup2(user, number) if which == "kept" else _c_dup2(user, number)
            new._buffer += data
            if len(new._buffer) >= 2**16:
                new._flush()

        monkeypatch.setattr(replacement.Replacement, "_write", taken)
        assert not compact(journal)
        assert made
        os.close(getattr(made[0], which).number)  # the user's, from then on
    assert os.lseek(user, 0, os.SEEK_CUR) == 7
    os.close(user)
    assert (tmp_path / "user").read_bytes() == b"x" * 100
    assert journal.path.read_bytes() == before
    monkeypatch.undo()
    assert compact(journal)


def _c_dup2(old: int, new: int) -> None:
    import ctypes

    assert ctypes.CDLL(None).dup2(old, new) == new


def test_what_is_read_is_of_one_file(tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another takes its place just then: `summary()` must not count calls twice."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for first in (0, 8_000):
        write_calls(journal, range(first, first + 6_000))
        assert raymemprof.summary(tmp_path, lines=False)[0].call_count == first + 6_000  # which is remembered
        write_calls(journal, range(first + 6_000, first + 8_000))
        opened, open_plain = [], contract.open_plain

        def then_replaced(path: Path, opened: list[Path] = opened, open_plain: Any = open_plain) -> int:
            descriptor: int = open_plain(path)
            if path == journal.path and not opened:
                opened.append(path)
                assert compact(journal)
            return descriptor

        monkeypatch.setattr(contract, "open_plain", then_replaced)
        counts = [raymemprof.summary(tmp_path, lines=False)[0].call_count for _ in range(2)]
        monkeypatch.setattr(contract, "open_plain", open_plain)
        assert opened
        assert counts == [first + 8_000] * 2


def ended_journal(folder: Path, number: int, calls: int = 3_000, **process: Any) -> Path:
    path = folder / f"raymemprof-a-local-0-1-{number}.jsonl"
    first = {"event": "process", "pid": NEVER + number, "created": 1.0, "host": socket.gethostname()}
    lines = [{**first, "machine": contract.machine(), **process}]
    for call in range(calls):
        lines.extend(lines_of(call))
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    os.utime(path, (number, number))
    return path


def test_journals_of_processes_that_are_gone_are_compacted(tmp_path: Path) -> None:
    ended = [ended_journal(tmp_path, number) for number in (1, 2)]
    sizes = {path: path.stat().st_size for path in ended}
    left_over = tmp_path / f".{ended[0].name}.1-1.new"
    left_over.write_bytes(b"1")
    os.utime(left_over, (1, 1))
    strange = tmp_path / f".{ended[0].name}.2-2.new"
    strange.mkdir()
    os.utime(strange, (1, 1))
    assert compacting.compact_ended(tmp_path, sum(sizes.values())) == 0  # there is room for all
    assert compacting.compact_ended(tmp_path, 0) == 2
    for number, path in enumerate(ended, 1):
        assert path.stat().st_size < sizes[path] / 5
        assert path.stat().st_mtime == number  # nobody has written to it
    assert not left_over.exists()
    assert strange.is_dir()
    (a,) = raymemprof.summary(tmp_path, lines=False)
    assert a.call_count == 6_000
    small = {path: path.stat().st_mtime_ns for path in ended}
    assert compacting.compact_ended(tmp_path, 0) == 0
    assert {path: path.stat().st_mtime_ns for path in ended} == small


@pytest.mark.parametrize(
    "process",
    [
        pytest.param({"pid": os.getpid(), "created": psutil.Process().create_time()}, id="it lives"),
        pytest.param({"pid": os.getpid()}, id="another has its pid"),
        pytest.param({"pid": None}, id="its pid is not known"),
        pytest.param({"host": "elsewhere"}, id="it ran on another machine"),
        pytest.param({"machine": f"{contract.machine()}1"}, id="its pid is of another container"),
        pytest.param({"machine": None}, id="version 0.1.0 does not say which"),
        pytest.param({"logs": "/"}, id="somebody fetched it"),
        pytest.param({"event": "open"}, id="its first line is damaged"),
    ],
)
def test_the_journal_of_what_may_still_write_is_left(tmp_path: Path, process: dict[str, Any]) -> None:
    path = ended_journal(tmp_path, 1, **process)
    before = path.read_bytes()
    assert compacting.compact_ended(tmp_path, 0) == 0
    assert path.read_bytes() == before


def test_a_journal_that_is_written_or_is_anothers_is_left(tmp_path: Path) -> None:
    path = ended_journal(tmp_path, 1)
    before = path.read_bytes()
    os.utime(path)
    assert compacting.compact_ended(tmp_path, 0) == 0
    os.utime(path, (1, 1))
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
        assert compacting.compact_ended(tmp_path, 0) == 0
        os.chown(path, 0, -1)
    os.link(path, tmp_path / "elsewhere")
    assert compacting.compact_ended(tmp_path, 0) == 0
    os.unlink(tmp_path / "elsewhere")
    assert path.read_bytes() == before
    assert compacting.compact_ended(tmp_path, 0) == 1


def test_journals_count_in_the_budget(tmp_path: Path) -> None:
    """As half of it at most, and whatever is wrong with what lies beside them."""
    journals = [ended_journal(tmp_path, number) for number in (1, 2)]
    (tmp_path / f".{journals[0].name}.2-2.new").mkdir()
    total = sum(path.stat().st_size for path in journals)
    captures = [tmp_path / f"raymemprof-a-local-0-1-{number}.bin" for number in range(10)]
    for number, path in enumerate(captures):
        path.write_bytes(bytes(total // 10))
        os.utime(path, (number, number))
    disk_budget.enforce(tmp_path, 2 * total + 10**5, 1)
    assert all(path.exists() for path in captures)
    disk_budget.enforce(tmp_path, total, 1)
    left = sum(path.stat().st_size for path in captures if path.exists())
    assert 0 < left <= total / 2
    assert sum(path.stat().st_size for path in journals) == total


def test_a_forked_child_does_not_keep_the_folder(tmp_path: Path) -> None:
    """It would keep the budget of all workers from being seen to, for as long as it lives."""
    with disk_budget._one_at_a_time(tmp_path) as is_mine:
        assert is_mine
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    try:
        folder = os.open(tmp_path, os.O_RDONLY)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, folder)
            deadline = time.monotonic() + 5
            while True:
                try:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_what_is_to_take_a_journals_place_drives_out_no_capture(tmp_path: Path) -> None:
    """It lies there for a moment; captures that went for it would be gone for good."""
    journal = ended_journal(tmp_path, 1)
    captures = [tmp_path / f"raymemprof-a-local-0-1-{number}.bin" for number in range(4)]
    for number, path in enumerate(captures):
        path.write_bytes(bytes(journal.stat().st_size))
        os.utime(path, (number, number))
    budget = 5 * journal.stat().st_size + 1_000
    new = replacement.Replacement(journal)
    os.write(new.kept.number if new.kept else -1, bytes(journal.stat().st_size))
    assert disk_budget.enforce(tmp_path, budget, 1) == 0
    assert not disk_budget.has_to_end(captures[0], 0, budget)
    new.close()


def test_no_more_is_written_than_is_worth_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a journal of which all stays, nor is it gone through each time anew."""
    journal = ended_journal(tmp_path, 1, 10)
    capture = "raymemprof-a-local-0-1-1.bin"
    (tmp_path / capture).write_bytes(b"1")
    with journal.open("a") as file:
        for number in range(10, 8_000):
            begin, end = lines_of(number)
            file.writelines(json.dumps(line) + "\n" for line in ({**begin, "capture": capture}, end))
    os.utime(journal, (1, 1))
    written, write = [0], os.write

    def counted(number: int, data: bytes) -> int:
        written[0] += len(data)
        return write(number, data)

    monkeypatch.setattr(os, "write", counted)
    for _ in range(3):
        assert compacting.compact_ended(tmp_path, 0) == 0
    assert 0 < written[0] <= 0.75 * journal.stat().st_size


def test_a_nearly_full_disk_is_left_to_captures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = ended_journal(tmp_path, 1)
    before = journal.read_bytes()
    monkeypatch.setattr(replacement, "_LEAST_FREE", 1.0)
    assert compacting.compact_ended(tmp_path, 0) == 0
    assert journal.read_bytes() == before
    monkeypatch.undo()
    assert compacting.compact_ended(tmp_path, 0) == 1


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_journal_that_is_removed_in_the_last_moment_stays_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    ended_journal(tmp_path, 1)
    take_name, function = replacement._take_name, replacement._renameat2()

    def then_cleaned(*names: Any) -> None:
        assert len(raymemprof.clean(tmp_path, all=True)) == 1
        take_name(*names)

    monkeypatch.setattr(replacement, "_take_name", then_cleaned)
    monkeypatch.setattr(replacement, "_renameat2", lambda: function if can_exchange else None)
    assert compacting.compact_ended(tmp_path, 0) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_cannot_exchange_names_and_loses_answers(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS does: the name was changed, and that is asked for again."""
    write_calls(journal, range(4_000))
    rename = os.rename

    def twice(old: Any, new: Any) -> None:
        rename(old, new)
        rename(old, new)

    monkeypatch.setattr(replacement, "_renameat2", lambda: None)
    monkeypatch.setattr(os, "rename", twice)
    assert compact(journal)
    monkeypatch.undo()
    assert not journal.is_lost()
    write_calls(journal, range(4_000, 4_010))
    (a,) = raymemprof.summary(tmp_path, lines=False)
    assert (a.call_count, a.finished_count) == (4_010, 4_010)


def test_who_needs_a_number_does_not_wait(tmp_path: Path) -> None:
    from raymemprof.recording.safety import descriptors

    descriptors.guard()
    new = replacement.Replacement(ended_journal(tmp_path, 1))
    assert new.kept is not None
    for kept in (new.kept, new.old):
        began = time.monotonic()
        os.dup2(2, kept.number)
        assert time.monotonic() - began < 0.5
        os.close(kept.number)
    new.close()


def test_captures_that_go_one_by_one_do_not_have_all_copied_each_time(tmp_path: Path, journal: Journal) -> None:
    captures = [f"raymemprof-a-local-0-1-{number}.bin" for number in range(40)]
    for number, name in enumerate(captures):
        (tmp_path / name).write_bytes(b"1")
        for call in range(100 * number, 100 * (number + 1)):
            begin, end = lines_of(call)
            journal.write({**begin, "capture": name})
            journal.write(end)
    journal._compact(journal.path.stat().st_size)
    fills, fill = [], replacement.Replacement.fill
    with pytest.MonkeyPatch.context() as patch:

        def counted(*options: Any, **more: Any) -> contract.Compacted:
            fills.append(1)
            return fill(*options, **more)

        patch.setattr(replacement.Replacement, "fill", counted)
        for name in captures:
            (tmp_path / name).unlink()
            journal._compact(journal.path.stat().st_size)
    assert 0 < len(fills) < 20


def test_a_fork_in_another_container_knows_that_it_is_there(tmp_path: Path) -> None:
    """Where pids are others, it must not take the journals of its parent's processes for those of the gone."""
    import ctypes

    here = contract.machine()
    child = os.fork()
    if child == 0:
        if ctypes.CDLL(None).unshare(0x20000000) and ctypes.CDLL(None).unshare(0x30000000):
            os._exit(2)
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(contract.machine() == here)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 2:
        pytest.skip("there can be no other containers here")
    assert status == 0


def test_a_journal_that_cannot_be_replaced_is_not_copied_again_at_once(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    fills, fill = [], replacement.Replacement.fill

    def counted(*options: Any, **more: Any) -> contract.Compacted:
        fills.append(1)
        return fill(*options, **more)

    monkeypatch.setattr(replacement.Replacement, "fill", counted)
    write_calls(journal, range(3_000))
    journal._writing.add("a thread that hangs")
    for _ in range(5):
        journal._compact(journal.path.stat().st_size)
    assert len(fills) == 1
    assert journal._due_at > journal.path.stat().st_size
    journal._writing.clear()
    assert compact(journal)


def test_what_was_written_fast_is_waited_for(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    write_calls(journal, range(3_000))
    take_its_place, tries = replacement.Replacement.take_its_place, []

    def busy_at_first(new: replacement.Replacement) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise OSError(errno.EBUSY, "It is written faster than it is compacted")
        take_its_place(new)

    monkeypatch.setattr(replacement.Replacement, "take_its_place", busy_at_first)
    assert compact(journal)
    write_calls(journal, range(3_000, 3_010))
    (a,) = raymemprof.summary(journal.path.parent, lines=False)
    assert a.finished_count == 3_010


def test_a_forked_child_does_not_hold_a_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended_journal(tmp_path, 1)
    children = []

    def forked(*_: Any, **__: Any) -> contract.Compacted:
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        children.append(child)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    try:
        with monkeypatch.context() as patch:
            patch.setattr(replacement.Replacement, "fill", forked)
            assert compacting.compact_ended(tmp_path, 0) == 0
        deadline = time.monotonic() + 30
        while not compacting.compact_ended(tmp_path, 0):  # until the child has got so far as to let go of it
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_a_journal_that_cannot_be_compacted_is_not_read_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = ended_journal(tmp_path, 1)
    with journal.open("a") as file:  # another process wrote to it
        file.write('{"event":"fork","capture":"a","parent":1,"pid":2,"calls":[],"time":1.0,"stack":[]}\n')
    os.utime(journal, (1, 1))
    fills, fill = [], replacement.Replacement.fill

    def counted(*options: Any, **more: Any) -> contract.Compacted:
        fills.append(1)
        return fill(*options, **more)

    monkeypatch.setattr(replacement.Replacement, "fill", counted)
    for _ in range(3):
        assert compacting.compact_ended(tmp_path, 0) == 0
    assert len(fills) == 1


def test_clean_removes_what_was_left_unfinished(tmp_path: Path) -> None:
    left, begun = (tmp_path / contract.beside(f"raymemprof-a-local-0-1-{number}.jsonl") for number in (1, 2))
    for path in (left, begun):
        path.write_bytes(bytes(1000))
    os.utime(left, (1, 1))
    assert [file.path for file in raymemprof.clean(tmp_path, all=True)] == [left]
    assert (left.exists(), begun.exists()) == (False, True)
