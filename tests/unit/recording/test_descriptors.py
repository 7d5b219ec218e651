"""Code that closes descriptors which it did not open, as daemons do, while it is recorded."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof.recording.safety import descriptors

MIB = 2**20

CLOSES = """
import ctypes, errno, os, posix, sys
from os import closerange as taken_before
from raymemprof.recording.safety import descriptors
from raymemprof import profile_memory

def loop():
    for number in range(3, 256):
        try:
            os.close(number)
        except OSError as error:
            assert error.errno == errno.EBADF

def loop_of_posix():
    for number in range(3, 256):
        try:
            posix.close(fd=number)
        except OSError as error:
            assert error.errno == errno.EBADF

def replace():
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3, 32):
        if number != null:
            assert os.dup2(null, number) == number
    for number in range(3, 32):
        os.close(number)

def recorded():
    # What memray and the journal write to. Were the one closed that memray reads from, it would end the process.
    return [n for n in range(3, 256) if "raymemprof-" in os.path.realpath(f"/proc/self/fd/{n}")]

WAYS = {
    "closerange": lambda: os.closerange(3, 256),
    "from 0": lambda: (os.closerange(0, 256), [os.open(os.devnull, os.O_RDWR) for _ in range(3)]),
    "posix": lambda: posix.closerange(3, 256),
    "loop": loop,
    "loop of posix": loop_of_posix,
    "dup2": replace,
    "taken before": lambda: [taken_before(number, number + 1) for number in recorded()],
    "C": lambda: [ctypes.CDLL(None).close(number) for number in recorded()],
}

def work(way, folder):
    WAYS[way]()
    files = [open(f"{folder}/user{number}", mode) for number, mode in enumerate(["w+b"] * 6 + ["wb"] * 6)]
    for file in files:
        file.write(b"the user's")
        file.flush()
    return files

def main(way, folder, records):
    for turn in range(2):
        with profile_memory("block", directory=records, linger=0):
            files = work(way, folder)
            kept = bytearray(3 * 2**20)
            some = [bytes(600 + 7919 * number % 1500) for number in range(40_000)]
            del some
        with profile_memory("next", directory=records, linger=0):
            kept = bytearray(5 * 2**20)
        for number, file in enumerate(files):
            file.write(b" own")
            file.close()
            assert open(f"{folder}/user{number}", "rb").read(4096) == b"the user's own", number
    print("done", file=sys.__stdout__)
"""


def run(way: str, tmp_path: Path, code: str = "") -> list[raymemprof.Call]:
    """Run the program above; the calls of its turns."""
    program = tmp_path / "program.py"
    program.write_text(CLOSES + (code or f"main({way!r}, {str(tmp_path)!r}, {str(tmp_path / 'records')!r})\n"))
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        done = subprocess.run([sys.executable, program], stdout=out, stderr=err, timeout=60)
    assert done.returncode == 0, (tmp_path / "err").read_text()
    return list(raymemprof.calls(tmp_path / "records"))


@pytest.mark.parametrize("way", ["closerange", "from 0", "posix", "loop", "loop of posix"])
def test_what_python_closes_leaves_ours_open(way: str, tmp_path: Path) -> None:
    calls = run(way, tmp_path)
    assert [(call.name, call.status, call.note) for call in calls] == [
        ("block", "finished", None),
        ("next", "finished", None),
    ] * 2
    for call, held in zip(calls, (3, 5, 3, 5), strict=True):
        assert raymemprof.heap(call).peak >= 0.95 * held * MIB


def test_the_numbers_of_standard_descriptors_stay_free(tmp_path: Path) -> None:
    """Who closed one opens another there."""
    code = f"""
import time
os.close(0)
with profile_memory("block", directory={str(tmp_path / "records")!r}, linger=0):
    kept = bytearray(3 * 2**20)
    deadline = time.monotonic() + 10
    while (number := os.open(os.devnull, os.O_RDONLY)) != 0:  # taken for a moment, so that nothing else gets it
        os.close(number)
        assert time.monotonic() < deadline
        time.sleep(0.01)
assert os.path.samefile("/proc/self/fd/0", os.devnull)
"""
    (block,) = run("", tmp_path, code)
    assert (block.status, block.note) == ("finished", None)
    assert raymemprof.heap(block).peak >= 3 * MIB


def test_a_number_that_is_needed_for_another_file_is_given_up(tmp_path: Path) -> None:
    calls = run("dup2", tmp_path)
    assert [call.status for call in calls] == ["finished"] * 4
    assert all("descriptor" in (call.note or "") for call in calls[::2])
    assert [call.note for call in calls[1::2]] == [None, None]
    assert all(raymemprof.heap(call).peak >= 5 * MIB for call in calls[1::2])


@pytest.mark.parametrize("way", ["taken before", "C"])
def test_a_descriptor_closed_unseen_is_noticed_and_never_closed_again(way: str, tmp_path: Path) -> None:
    """The user's files have the numbers by then, and stay the user's; one may have grown by then."""
    code = f"""
import threading, time
folder, records = {str(tmp_path)!r}, {str(tmp_path / "records")!r}
with profile_memory("block", directory=records, linger=0):
    files = work({way!r}, folder)
    inodes = [os.fstat(file.fileno()).st_ino for file in files]
    threading.Event().wait(0.5)
with profile_memory("next", directory=records, linger=0):
    kept = bytearray(5 * 2**20)
assert [os.fstat(file.fileno()).st_ino for file in files] == inodes
for number, file in enumerate(files):
    file.write(b" own")
    file.close()
    assert open(f"{{folder}}/user{{number}}", "rb").read(14) == b"the user's own", number
"""
    block, following = run(way, tmp_path, code)
    assert (block.status, following.status) == ("finished", "finished")
    assert "descriptor" in (block.note or "")
    assert following.note is None
    assert raymemprof.heap(following).peak >= 5 * MIB


def test_a_daemon_in_a_forked_child_may_close_all_it_has(tmp_path: Path) -> None:
    code = f"""
records = {str(tmp_path / "records")!r}
with profile_memory("block", directory=records, linger=0):
    pid = os.fork()
    if not pid:
        os.closerange(3, 256)
        left = [number for number in range(3, 256) if os.path.exists(f"/proc/self/fd/{{number}}")]
        os._exit(len(left) > 1)  # what this process itself reads its memory from may have been opened again
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    kept = bytearray(3 * 2**20)
"""
    (block,) = run("closerange", tmp_path, code)
    assert (block.status, block.note) == ("finished", None)
    assert raymemprof.heap(block).peak >= 3 * MIB


def test_a_task_that_makes_itself_a_daemon(cluster: Path, tmp_path: Path) -> None:
    """Ray's own descriptors lie among those that are closed, so it spares them, as it would without us."""
    import ray

    @ray.remote(max_calls=1)
    @raymemprof.profile_memory(directory=tmp_path / "records", linger=0)
    def work(folder: str) -> list[bytes]:
        ours = [n for n in range(3, 256) if "raymemprof-" in os.path.realpath(f"/proc/self/fd/{n}")]
        assert ours
        for number in ours:
            os.closerange(number, number + 1)
        paths = [f"{folder}/user{number}" for number in range(5)]
        files = [open(path, "w+b") for path in paths]  # noqa: SIM115
        for file in files:
            file.write(b"the user's")
            file.flush()
        assert [bytes(size) for size in range(600, 20_000)]
        for file in files:
            file.close()
        return [Path(path).read_bytes()[:100] for path in paths]

    assert ray.get(work.remote(str(tmp_path)), timeout=60) == [b"the user's"] * 5
    (call,) = raymemprof.calls(tmp_path / "records")
    assert (call.status, call.note) == ("finished", None)


def test_what_stands_for_os_close_goes_to_other_processes_as_the_real_one(run_script: Callable[..., Any]) -> None:
    printed = run_script("""
import os, pickle, subprocess, sys
from raymemprof.recording.safety import descriptors
from raymemprof import profile_memory
with profile_memory("block", directory="records"):
    data = [pickle.dumps(function) for function in (os.close, os.closerange, os.dup2)]
    assert [pickle.loads(one) for one in data] == [os.close, os.closerange, os.dup2]
    for wrong in (lambda: os.close("3"), lambda: os.closerange("3", 4), lambda: os.close(), lambda: os.dup2(0, "3")):
        try:
            wrong()
        except TypeError:
            continue
        raise AssertionError
    code = f"import pickle; print([pickle.loads(one) for one in {data!r}])"
    subprocess.run([sys.executable, "-S", "-c", code], check=True)
""")
    assert printed.strip() == "[<built-in function close>, <built-in function closerange>, <built-in function dup2>]"


def test_the_user_may_close_his_own_descriptor_of_a_folder_that_is_gone_through(tmp_path: Path) -> None:
    """`shutil.rmtree` does, while the budget looks at what lies there."""
    for name in ("first", "second"):
        (tmp_path / name).touch()
    descriptors.guard()
    entries = descriptors.scan(tmp_path)
    seen = [next(entries).name]
    mine = os.open(tmp_path, os.O_RDONLY)
    os.close(mine)
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(mine)
    assert sorted([*seen, *(entry.name for entry in entries)]) == ["first", "second"]


def test_a_folder_that_the_user_opens_while_it_is_gone_through_is_his_to_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `shutil.rmtree` in another thread does: it may get the number that was free just before."""
    (tmp_path / "file").touch()
    scandir, his = os.scandir, []

    def scandir_after_him(folder: Any) -> Any:
        his.append(os.open(folder, os.O_RDONLY))
        return scandir(folder)

    descriptors.guard()
    entries = descriptors.scan(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scandir_after_him)
        assert next(entries).name == "file"
    os.close(his[0])
    assert list(entries) == []


def test_the_number_is_his_as_soon_as_the_last_entry_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end closes the folder: `shutil.rmtree` in another thread may open it then, and get the same number."""
    (tmp_path / "file").touch()
    failed: list[OSError] = []

    def remove() -> None:
        mine = os.open(tmp_path, os.O_RDONLY)
        try:
            os.close(mine)
        except OSError as error:
            failed.append(error)

    class Watched:
        """Has another thread open and close the folder when it was gone through."""

        def __init__(self, folder: Any) -> None:
            self.entries = scandir(folder)
            self.close = self.entries.close
            self.thread = threading.Thread(target=remove)

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            try:
                return next(self.entries)
            except StopIteration:
                self.thread.start()
                self.thread.join(0.3)
                raise

    scandir, made = os.scandir, []
    descriptors.guard()
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", lambda folder: made.append(Watched(folder)) or made[0])
        assert [entry.name for entry in descriptors.scan(tmp_path)] == ["file"]
    made[0].thread.join()
    assert failed == []


def test_a_folder_whose_number_the_user_took_is_gone_through_no_further(tmp_path: Path) -> None:
    """Its end would close his file."""
    (tmp_path / "file").touch()
    entries = descriptors.scan(tmp_path)
    next(entries)
    (number,) = [n for n, (kept, _) in descriptors.kept.held.items() if kept.inode == tmp_path.stat().st_ino]
    other = os.open(tmp_path / "file", os.O_RDONLY)
    descriptors.guards._dup2(other, number)  # as a library does that is not Python's
    with pytest.raises(OSError, match="descriptor"):
        list(entries)
    assert os.path.samestat(os.fstat(number), os.fstat(other))
    os.close(number)
    os.close(other)


def test_a_new_file_with_the_number_and_the_inode_of_one_of_ours_that_is_gone_is_the_user_s(tmp_path: Path) -> None:
    """ext4 gives a removed file's inode to the next that is made: `shutil.rmtree` may open a folder that has it."""
    descriptors.guard()
    for name in map(str, range(100)):
        kept = descriptors.open_kept(tmp_path / name, os.O_CREAT | os.O_RDWR)
        descriptors.kept.real_close(kept.number)  # as C code does
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
        mine = os.open(tmp_path / name, os.O_RDONLY)
        is_alike = (mine, os.fstat(mine).st_ino) == (kept.number, kept.inode)
        assert kept.status() is None
        os.close(mine)
        descriptors.release(kept)
        if is_alike:
            return
    pytest.skip("the file system gives no inode a second time so soon")
