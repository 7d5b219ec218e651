"""Which processes a watcher looks at, behind whatever launches them, and what it says where descriptors run out."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from raymemprof.diagnosis.watch.connections import Connections
from raymemprof.diagnosis.watch.worker_samples import Looks, _Below

NODE = "c" * 56
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="names processes, and opens files of /proc")
WORKER = """
import subprocess, time
child = subprocess.Popen(["ray::load", "-c", "import time; time.sleep(60)"], executable="/proc/self/exe")
print(child.pid, flush=True)
time.sleep(60)
"""
STARTING = """
import os, subprocess, sys
child = subprocess.Popen(["ray::load", "-c", "import time; time.sleep(60)"], executable=sys.executable)
print(child.pid, flush=True)
sys.stdin.readline()
os.execv(sys.executable, ["ray::load", "-c", "print(flush=True); import time; time.sleep(60)"])
"""
CHAIN = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True); import time; time.sleep(60)"
SHORT_OF_DESCRIPTORS = """
import os, resource, subprocess, sys
import psutil
from raymemprof.diagnosis.watch.worker_samples import Looks

code = "import time; print(flush=True); time.sleep(60)"
workers = [
    subprocess.Popen(["ray::load", "-c", code], executable=sys.executable, stdout=subprocess.PIPE) for _ in range(12)
]
for worker in workers:
    worker.stdout.readline()
pids = {worker.pid for worker in workers}
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, 1024))
looks = Looks(psutil.Process())
few = {one.pid for one in looks.take()}
held = []
while True:
    try:
        held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        break
os.close(held.pop())
none, trouble = {one.pid for one in looks.take()}, looks.trouble
for descriptor in held:
    os.close(descriptor)
again, trouble_then = {one.pid for one in looks.take()}, looks.trouble
for worker in workers:
    worker.kill()
print([few == pids, int(trouble.split()[0]) == 12 - len(none) > 5, trouble, again == pids, trouble_then])
"""

HELD = """
import os, resource, subprocess, sys
import psutil
from raymemprof.diagnosis.watch.worker_samples import Looks

held = []
def hold_all():
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, 1024))
    while True:
        try:
            held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            break

def free():
    while held:
        os.close(held.pop())

"""
LAUNCHED_WITHOUT_DESCRIPTORS = (
    HELD
    + """
worker = 'exec -a ray::load "$0" -c "print(flush=True); import time; time.sleep(60)"'
launcher = subprocess.Popen(
    ["bash", "-c", f"({worker}); true", sys.executable], stdout=subprocess.PIPE, start_new_session=True
)
launcher.stdout.readline()
looks = Looks(psutil.Process())
hold_all()
os.close(held.pop())
seen, trouble = [one.name for one in looks.take()], looks.trouble
free()
then, trouble_then = [one.name for one in looks.take()], looks.trouble
os.killpg(launcher.pid, 9)
print((seen, trouble.split()[0] != "", then, trouble_then))
"""
)
WITHOUT_DESCRIPTORS = (
    HELD
    + """
raylet = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
looks = Looks(psutil.Process(raylet.pid))
hold_all()
without = looks.is_over()
free()
before = looks.is_over()
raylet.kill()
raylet.wait()
print((without, before, looks.is_over()))
"""
)


@pytest.fixture
def start() -> Iterator[Callable[..., psutil.Popen]]:
    """Starts processes as a raylet does, and ends them and theirs."""
    started: list[psutil.Popen] = []

    def start(command: list[str], **options: Any) -> psutil.Popen:
        process = psutil.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@ON_LINUX
@pytest.mark.parametrize(
    ("script", "launchers"),
    [
        ('bash -c \'(exec -a "ray::load" "$0" -c "$1"); true\' "$0" "$1"; true', 2),
        ('exec -a "ray::load" "$0" -c "$1"', 0),
    ],
)
def test_a_worker_behind_launchers_is_seen_and_what_it_starts_is_not(start: Any, script: str, launchers: int) -> None:
    launcher = start(["bash", "-c", script, sys.executable, WORKER])
    forked = int(launcher.stdout.readline())
    worker = psutil.Process(forked).parent()
    assert worker is not None
    assert len({process.pid for process in worker.parents()} & {launcher.pid}) == bool(launchers)
    looks = Looks(psutil.Process())
    for _ in range(2):
        seen = {one.pid: one.name for one in looks.take()}
        assert seen.get(worker.pid) == "load"
        assert not seen.keys() & ({forked, launcher.pid} - {worker.pid})


@ON_LINUX
def test_what_a_starting_worker_starts_is_left_out_when_it_has_its_title(start: Any) -> None:
    """Before that it looks as a launcher does."""
    worker = start([sys.executable, "-c", STARTING], stdin=subprocess.PIPE)
    child = int(worker.stdout.readline())
    looks = Looks(psutil.Process())
    assert child in {one.pid for one in looks.take()}
    worker.stdin.write("\n")
    worker.stdin.flush()
    worker.stdout.readline()
    seen = {one.pid for one in looks.take()}
    assert worker.pid in seen
    assert child not in seen


@ON_LINUX
def test_too_few_descriptors_are_told_of_and_nothing_is_lost_by_them() -> None:
    """With few, files are opened at each look; with one, a look fails, and the next one does not."""
    out = subprocess.run([sys.executable, "-c", SHORT_OF_DESCRIPTORS], capture_output=True, text=True, timeout=60)
    assert re.fullmatch(
        r"\[True, True, '\d+ processes there cannot be looked at: Too many open files', True, ''\]", out.stdout.strip()
    ), out.stdout + out.stderr


@ON_LINUX
def test_what_a_launcher_starts_is_found_after_the_launcher_was_missed() -> None:
    """Its two files need two descriptors, and there was one; it is no worker, but its child is."""
    out = subprocess.run(
        [sys.executable, "-c", LAUNCHED_WITHOUT_DESCRIPTORS], capture_output=True, text=True, timeout=60
    )
    assert out.stdout.strip() == str(([], True, ["load"], "")), out.stdout + out.stderr


@ON_LINUX
def test_the_session_is_not_over_for_want_of_a_descriptor() -> None:
    out = subprocess.run([sys.executable, "-c", WITHOUT_DESCRIPTORS], capture_output=True, text=True, timeout=60)
    assert out.stdout.strip() == str((False, False, True)), out.stdout + out.stderr


@ON_LINUX
def test_an_ended_worker_is_dropped_and_its_number_is_not_read_as_it(start: Any) -> None:
    worker = start([sys.executable, "-c", WORKER])
    forked = int(worker.stdout.readline())
    launched = start(["ray::load", "-c", "import time; print(flush=True); time.sleep(60)"], executable=sys.executable)
    launched.stdout.readline()
    looks = Looks(psutil.Process())
    assert launched.pid in {one.pid for one in looks.take()}
    kept = looks._below[launched.pid]
    ended = psutil.Process(launched.pid)
    launched.kill()
    launched.wait()
    with pytest.raises(psutil.NoSuchProcess):
        kept.look()
    reused = _Below(forked, os.getpid(), keeps_open=False)
    ended._pid = forked
    reused._process = ended
    looks._below[forked] = reused
    assert not {one.pid for one in looks.take()} & {forked, launched.pid}
    assert not looks._below.keys() & {forked, launched.pid}


@ON_LINUX
def test_what_a_worker_started_is_left_out_with_what_that_started(start: Any) -> None:
    launching = STARTING.replace('"ray::load", "-c", "import time; time.sleep(60)"', f'"launch", "-c", "{CHAIN}"', 1)
    worker = start([sys.executable, "-c", launching], stdin=subprocess.PIPE)
    child, below = sorted(int(worker.stdout.readline()) for _ in range(2))
    looks = Looks(psutil.Process())
    list(looks.take())
    assert {worker.pid, child, below} <= looks._below.keys()
    worker.stdin.write("\n")
    worker.stdin.flush()
    worker.stdout.readline()
    assert {one.pid for one in looks.take()} & {worker.pid, child, below} == {worker.pid}
    assert looks._below.keys() & {worker.pid, child, below} == {worker.pid}


@ON_LINUX
@pytest.mark.parametrize(
    ("number", "trouble"),
    [(errno.ENOMEM, "1 process there cannot be looked at: Cannot allocate memory"), (errno.ESRCH, "")],
)
def test_an_error_that_may_pass_is_told_and_tried_again(
    number: int, trouble: str, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start(["ray::load", "-c", "import time; print(flush=True); time.sleep(60)"], executable=sys.executable)
    worker.stdout.readline()

    def fail(self: _Below) -> list[int]:
        raise OSError(number, os.strerror(number)) if self._process.pid == worker.pid else psutil.NoSuchProcess(0)

    looks = Looks(psutil.Process())
    with monkeypatch.context() as patched:
        patched.setattr(_Below, "_open", fail)
        assert list(looks.take()) == []
        assert looks.trouble == trouble
    assert worker.pid in {one.pid for one in looks.take()}
    assert looks.trouble == ""


def test_a_watcher_without_descriptors_says_so(wait_for: Callable[..., Any]) -> None:
    connections = Connections("127.0.0.1")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as caller:
        caller.settimeout(10)
        lowest = os.open(os.devnull, os.O_RDONLY)
        os.close(lowest)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))  # the next would have this number
            caller.connect(("127.0.0.1", connections.port))
            wait_for(lambda: connections.shortage)
            said = connections.shortage
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert said == "its connection cannot be taken: Too many open files in the process that watches"
        caller.sendall(json.dumps([connections.secret, NODE]).encode() + b"\n")
        assert caller.recv(3) == b"ok\n"
        assert (connections.shortage, connections.node_ids) == ("", {NODE})
    connections.end(1)
