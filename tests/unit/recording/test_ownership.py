"""Others may write where we do: what they planted is not read, followed, written through or removed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import CaptureError, profile_memory
from raymemprof.reading.captures import reader_limit
from raymemprof.reading.files import incoming_file

MIB = 2**20
SOMEBODY = 54321
"""A user that is none of this machine's."""
COMMAND = Path(sys.executable).with_name("raymemprof")
RECORD = """
import os
from raymemprof import profile_memory
os.umask(0)
with profile_memory("load", linger=0, {options}):
    kept = bytearray(1 << 20)
    if {forks}:
        child = os.fork()
        if not child:
            more = bytearray(1 << 20)
            os._exit(0)
        os.waitpid(child, 0)
    print(sorted((entry.name.partition(".")[2].partition(".")[0], oct(entry.stat().st_mode & 0o777))
                 for entry in os.scandir({folder!r})) if os.path.isdir({folder!r}) else "none")
print("done")
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's files")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory as /tmp is: anybody may write to it."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    monkeypatch.setenv("TMPDIR", str(shared))
    monkeypatch.setenv("RAY_TMPDIR", str(shared))
    return shared


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder of this user's, with a file that is named like a capture."""
    home = tmp_path / "home"
    home.mkdir(0o700)
    (home / "raymemprof-precious-local-0-1-1.bin").write_text("precious")
    return home


@pytest.fixture
def recorded(tmp_path: Path, wait_for: Callable[..., Any]) -> Path:
    """A folder like the logs of Ray's sessions, which anybody may write to, with one call."""
    folder = tmp_path / "logs"
    with profile_memory("load", directory=folder, linger=0):
        kept = bytearray(MIB)
    assert len(kept) == MIB
    wait_for(lambda: raymemprof.captures(folder)[0].status == "closed")
    folder.chmod(0o777)
    return folder


def own_folder(shared: Path) -> Path:
    import pwd

    return shared / f"raymemprof-{pwd.getpwuid(os.geteuid()).pw_name}"


def give_away(path: Path) -> None:
    os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)


@pytest.mark.parametrize(
    ("is_named", "forks"),
    [(False, False), pytest.param(False, True, marks=pytest.mark.versions), (True, False), (True, True)],
)
def test_what_is_recorded_outside_ray_is_private(
    is_named: bool, forks: bool, shared: Path, run_script: Callable[..., str]
) -> None:
    folder = shared / "named" if is_named else own_folder(shared)
    options = f"follow_fork={forks}" + (f", directory={str(folder)!r}" if is_named else "")
    seen, done = run_script(RECORD.format(options=options, forks=forks, folder=str(folder))).splitlines()
    assert done == "done"
    assert eval(seen) == [("bin", "0o600")] * (1 + forks) + [("jsonl", "0o600"), ("txt", "0o600")]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def plant(how: str, shared: Path, home: Path) -> Path:
    folder = own_folder(shared)
    if how == "link":
        folder.symlink_to(home)
    elif how == "file":
        folder.write_text("")
    else:
        shutil.copytree(home, folder)
        folder.chmod(0o777 if how == "open" else 0o755)
        if how == "somebody's":
            give_away(folder)
    return folder


@pytest.mark.parametrize("how", ["link", "open", "file", pytest.param("somebody's", marks=needs_root)])
def test_a_folder_that_somebody_else_made_is_not_used(how: str, shared: Path, home: Path) -> None:
    folder = plant(how, shared, home)
    before = sorted(home.iterdir()), sorted(folder.iterdir()) if folder.is_dir() else []
    script = shared.parent / "script.py"
    script.write_text(RECORD.format(options="", forks=False, folder="none"))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, ["none", "done"])
    assert done.stderr.count("is not used") == 1
    assert str(folder) in done.stderr
    for function in (raymemprof.calls, raymemprof.captures, lambda source: raymemprof.clean(source, all=True)):
        with pytest.raises((PermissionError, ValueError), match=r"is not used|is a file"):
            function(folder)
        with pytest.raises((PermissionError, ValueError), match=r"is not used|is a file"):
            function(folder.parent / ".." / folder.parent.name / folder.name)
    for arguments in (["calls", folder], ["clean", folder, "--all", "--yes"]):
        done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert f"{folder} is not used" in line or f"{folder} is a file" in line
    assert before == (sorted(home.iterdir()), sorted(folder.iterdir()) if folder.is_dir() else [])


@needs_root
def test_what_others_put_into_a_shared_folder_is_left_alone(recorded: Path, home: Path, tmp_path: Path) -> None:
    (journal,) = recorded.glob("*.jsonl")
    (capture,) = recorded.glob("*.bin")
    planted = {
        "raymemprof-theirs-local-0-2-2.jsonl": journal,
        "raymemprof-theirs-local-0-2-2.bin": capture,
        f"{capture.name}.77777": capture,
    }
    for name, original in planted.items():
        shutil.copy(original, recorded / name)
        give_away(recorded / name)
    hard = recorded / "raymemprof-hard-local-0-3-3.bin"
    hard.hardlink_to(home / "raymemprof-precious-local-0-1-1.bin")
    soft = recorded / "raymemprof-soft-local-0-4-4.bin"
    soft.symlink_to(home / "raymemprof-precious-local-0-1-1.bin")
    for path in recorded.iterdir():
        if not path.is_symlink():
            os.utime(path, (10**9, 10**9))
    calls, captures = raymemprof.calls(recorded), raymemprof.captures(recorded)
    assert [call.capture for call in calls] == [capture]
    assert [one.path for one in captures] == [capture]
    assert f"it belongs to user {SOMEBODY}" in " ".join(repr(calls).split())
    fetched = raymemprof.fetch(calls, tmp_path / "fetched")
    assert [path.name for path in fetched] == [capture.name]
    removed = raymemprof.clean(recorded, all=True)
    assert {file.path for file in removed} == {capture}  # this process still has its journal
    texts = {path.name for path in recorded.glob("raymemprof-source-*")}
    assert {path.name for path in recorded.iterdir()} == {*planted, hard.name, soft.name, journal.name, *texts}
    assert "could not be removed" in repr(removed)
    # Who names a journal itself gets what is in it.
    assert len(raymemprof.calls(recorded / "raymemprof-theirs-local-0-2-2.jsonl")) == 1


@needs_root
def test_a_file_in_the_place_of_a_capture(recorded: Path) -> None:
    (capture,) = recorded.glob("*.bin")
    give_away(capture)
    (call,) = raymemprof.calls(recorded)
    assert call.capture is None
    assert f"it belongs to user {SOMEBODY}" in call.note
    with pytest.raises(CaptureError, match="belongs to"):
        raymemprof.heap(call)
    recorded.chmod(0o755)  # nobody else can have put it there
    (call,) = raymemprof.calls(recorded)
    assert call.capture == capture


@needs_root
def test_the_way_to_a_source(recorded: Path, shared: Path) -> None:
    link = shared / "link"
    link.symlink_to(recorded)
    assert len(raymemprof.calls(link)) == 1  # one's own
    give_away(link)
    (capture,) = recorded.glob("*.bin")
    for function in (raymemprof.calls, raymemprof.ooms, raymemprof.doctor, lambda at: raymemprof.clean(at, all=True)):
        with pytest.raises(PermissionError, match=f"user {SOMEBODY} made this link"):
            function(link)
    with pytest.raises(CaptureError, match="made this link"):
        raymemprof.heap(link / capture.name)
    assert capture.exists()


@needs_root
def test_fetch_writes_through_no_link(recorded: Path, shared: Path, home: Path) -> None:
    precious = home / "raymemprof-precious-local-0-1-1.bin"
    call = raymemprof.calls(recorded)[0]
    (shared / "to").symlink_to(home)
    give_away(shared / "to")
    with pytest.raises(PermissionError, match="made this link"):
        raymemprof.fetch(call, shared / "to")
    assert list(home.iterdir()) == [precious]
    # The name under which a file arrives can be known before.
    for path in (call.capture, next(recorded.glob("*.jsonl"))):
        on_its_way = incoming_file.Arrival(
            incoming_file.File(path.name, incoming_file.state_of(path), False), incoming_file.Source(path, None), shared
        )
        on_its_way._part.symlink_to(precious)
        (shared / path.name).symlink_to(precious)
    (path,) = raymemprof.fetch(call, shared)
    assert path == shared / call.capture.name
    assert path.read_bytes() == call.capture.read_bytes()
    assert not path.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert precious.read_text() == "precious"
    # And what somebody put there with the same size and time is not what was asked for.
    path.unlink()
    path.write_bytes(bytes(call.capture.stat().st_size))
    os.utime(path, ns=(call.capture.stat().st_mtime_ns,) * 2)
    give_away(path)
    assert raymemprof.fetch(call, shared)[0].read_bytes() == call.capture.read_bytes()
    (shared / "new").mkdir()
    raymemprof.fetch(call, shared / "new" / "below")
    assert (shared / "new" / "below").stat().st_mode & 0o777 == 0o700


@needs_root
def test_reports_are_written_through_no_link(recorded: Path, shared: Path, home: Path) -> None:
    call = raymemprof.calls(recorded)[0]
    target = home / "target.html"
    target.write_text("precious")
    output = shared / "out.html"
    for to in (target, home / "nothing"):  # also where the link leads nowhere
        output.symlink_to(to)
        give_away(output)
        with pytest.raises(FileExistsError):
            raymemprof.table(call, output)
        raymemprof.table(call, output, overwrite=True)
        assert not output.is_symlink()
        output.unlink()
    (shared / "folder").symlink_to(home)
    give_away(shared / "folder")
    diagnosis = raymemprof.doctor(recorded)
    for write in (
        lambda at: raymemprof.flamegraph(call, at),
        lambda at: raymemprof.table(call, at / "x.html"),
        lambda at: diagnosis.save(at / "x.html"),
    ):
        with pytest.raises(PermissionError, match="made this link"):
            write(shared / "folder")
    assert sorted(path.name for path in home.iterdir()) == ["raymemprof-precious-local-0-1-1.bin", "target.html"]
    assert target.read_text() == "precious"


def has_turn(most: int) -> bool:
    """Whether this thread may read within some seconds."""
    enough = threading.Event()
    timer = threading.Timer(5, enough.set)
    timer.start()
    try:
        with reader_limit.turn(most, enough, 600) as is_mine:
            return is_mine
    finally:
        timer.cancel()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names without a file")
@pytest.mark.parametrize("is_own_folder_taken", [False, True])
def test_nobody_keeps_others_from_reading(is_own_folder_taken: bool, recorded: Path, shared: Path, home: Path) -> None:
    if is_own_folder_taken:
        plant("link", shared, home)
    taken = [socket.socket(socket.AF_UNIX) for _ in range(8)]
    try:
        for number, one in enumerate(taken):
            one.bind(f"\0raymemprof-reading-{number}")
        assert has_turn(2)
        assert raymemprof.heap(raymemprof.calls(recorded)).peak >= MIB
    finally:
        for one in taken:
            one.close()
    assert [path.name for path in home.iterdir()] == ["raymemprof-precious-local-0-1-1.bin"]


def test_a_fork_does_not_keep_the_place_of_its_parent(shared: Path) -> None:
    """One that reads captures may be forked meanwhile, by a thread that starts a pool, say."""
    with reader_limit.turn(1, threading.Event(), 600) as is_mine:
        assert is_mine
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        assert has_turn(1)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
