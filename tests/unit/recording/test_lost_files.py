"""What becomes of calls whose capture or journal is deleted, renamed, replaced or cannot grow while it is written."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import profile_memory

MIB = 2**20
ANOTHERS = b"another's " * 100_000


def one(folder: Path, ending: str) -> Path:
    (path,) = folder.glob(f"raymemprof-*{ending}")
    return path


def replace(path: Path) -> None:
    path.unlink()
    path.write_bytes(ANOTHERS)


def replace_folder(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.mkdir()
    (folder / "own").touch()


def delete_folder(folder: Path) -> None:
    """Delete a folder that files come to meanwhile."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


HAPPENINGS: dict[str, Callable[[Path], object]] = {
    "capture deleted": lambda folder: one(folder, ".bin").unlink(),
    "capture renamed": lambda folder: one(folder, ".bin").rename(folder / "mine.bin"),
    "capture replaced": lambda folder: replace(one(folder, ".bin")),
    "capture replaced by a link": lambda folder: (
        one(folder, ".bin").rename(folder / "mine.bin"),
        (folder / one(folder, ".jsonl").with_suffix(".bin").name).symlink_to("mine.bin"),
    ),
    "journal deleted": lambda folder: one(folder, ".jsonl").unlink(),
    "journal renamed": lambda folder: one(folder, ".jsonl").rename(folder / "mine"),
    "journal replaced": lambda folder: replace(one(folder, ".jsonl")),
    "folder deleted": delete_folder,
    "folder renamed": lambda folder: folder.rename(folder.with_name("moved")),
    "folder replaced": replace_folder,
}


@pytest.mark.parametrize("what", HAPPENINGS)
def test_calls_say_what_happened_and_the_next_is_traced(
    what: str, tmp_path: Path, wait_for: Callable[..., Any]
) -> None:
    folder = tmp_path / "records"
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before is not there to be used again
    with profile_memory("long", directory=folder, linger=600):
        before = one(folder, ".bin")
        HAPPENINGS[what](folder)
        wait_for(lambda: not is_open(tmp_path, before.name), 10)  # and so takes no room that nobody can give back
        kept = [bytearray(40 * MIB)]
    with profile_memory("next", directory=folder, linger=0):
        kept.append(bytearray(5 * MIB))
    long, following = sorted(raymemprof.calls(folder), key=lambda call: call.name)
    assert (long.name, long.status) == ("long", "finished")
    assert what.split()[0].replace("folder", "capture|journal").split("|")[-1] in (long.note or "")
    assert "deleted, renamed or replaced" in (long.note or "")
    assert long.memory_before + 38 * MIB < long.peak_memory
    assert (following.name, following.status, following.note) == ("next", "finished", None)
    assert raymemprof.heap(following).peak >= 5 * MIB
    if what == "capture replaced":
        assert before.read_bytes() == ANOTHERS


def is_open(root: Path, name: str) -> bool:
    """Whether this process has the file open, or what it was renamed to."""
    numbers = os.listdir("/proc/self/fd")
    links = []
    for number in numbers:
        with contextlib.suppress(FileNotFoundError):  # another thread closed it meanwhile
            links.append(os.readlink(f"/proc/self/fd/{number}"))
    return any(link.startswith(str(root)) and (name in link or ".bin" in link) for link in links)


LIMITED = """
import resource, signal, sys
from raymemprof import profile_memory

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def allocate():
    for _ in range(3):
        [bytes(size) for size in range(600, 20_000)]
    return len(bytearray(5 * 2**20))
"""


def run(code: str, tmp_path: Path) -> list[raymemprof.Call]:
    """Run code in a process of its own, with no limit inherited."""
    done = subprocess.run([sys.executable, "-c", LIMITED + code, "records"], cwd=tmp_path, timeout=60)
    assert done.returncode == 0
    return list(raymemprof.calls(tmp_path / "records"))


def test_a_limit_of_the_size_of_files_that_a_capture_reaches(tmp_path: Path) -> None:
    first, second, last = run(
        """
with profile_memory("first", directory=sys.argv[1], linger=600):
    limit(100_000)
    allocate()
with profile_memory("second", directory=sys.argv[1], linger=600):
    pass
limit(resource.RLIM_INFINITY)
from raymemprof.recording.tracker import tracker
tracker.close("another begins")
with profile_memory("last", directory=sys.argv[1], linger=0):
    allocate()
""",
        tmp_path,
    )
    assert [call.status for call in (first, second, last)] == ["finished"] * 3
    assert "could not write" in (first.note or "")
    assert second.capture != first.capture or second.note is not None
    assert last.note is None
    assert raymemprof.heap(last).peak >= 5 * MIB


def test_a_limit_that_a_signal_enforces(tmp_path: Path) -> None:
    """Python ignores the signal, but code may have it end the process: what we write must not."""
    first, second, last = run(
        """
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
with profile_memory("first", directory=sys.argv[1], linger=0):
    pass
from raymemprof.recording import tracker
tracker.tracker.close("a limit follows")
limit(100_000)
with profile_memory("second", directory=sys.argv[1], linger=0):
    allocate()
limit(1)
for _ in range(2):
    with profile_memory("not recorded", directory=sys.argv[1], linger=0):
        allocate()
limit(resource.RLIM_INFINITY)
import time
time.sleep(tracker._BACKOFF)
with profile_memory("last", directory=sys.argv[1], linger=0):
    allocate()
""",
        tmp_path,
    )
    assert [call.name for call in (first, second, last)] == ["first", "second", "last"]
    assert (first.note, last.note) == (None, None)
    assert "RLIMIT_FSIZE" in (second.note or "")
    assert second.capture is None
    assert raymemprof.heap(last).peak >= 5 * MIB


def test_an_end_that_finds_no_room_is_written_later(tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    code = """
with profile_memory("call", directory=sys.argv[1], heap=False):
    limit(1)
print("ended", flush=True)
sys.stdin.readline()
limit(resource.RLIM_INFINITY)
print("has room", flush=True)
sys.stdin.readline()
"""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", LIMITED + code, tmp_path / "records"]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ended\n"
            (call,) = raymemprof.calls(tmp_path / "records")
            assert call.status == "running"
            process.stdin.write("\n")
            assert process.stdout.readline() == "has room\n"
            wait_for(lambda: raymemprof.calls(tmp_path / "records")[0].status == "finished", 10)
        finally:
            process.stdin.close()
            process.wait(30)


def test_ends_are_written_at_the_end_of_the_process(tmp_path: Path) -> None:
    (call,) = run(
        """
with profile_memory("call", directory=sys.argv[1], heap=False):
    limit(1)
limit(resource.RLIM_INFINITY)
""",
        tmp_path,
    )
    assert call.status == "finished"
    journal = one(tmp_path / "records", ".jsonl").stat()
    assert journal.st_blocks * 512 < journal.st_size + 8192, "what was reserved is given back"


def test_many_folders_take_few_descriptors(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        with profile_memory("call", directory=tmp_path / str(number), heap=False):
            pass
    assert len(os.listdir("/proc/self/fd")) < before + 15
    deadline = time.monotonic() + 30
    assert all(raymemprof.calls(tmp_path / str(number))[0].status == "finished" for number in range(50))
    assert time.monotonic() < deadline
