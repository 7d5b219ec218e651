"""What is parsed of `/proc`, beside what psutil and the kernel say."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from raymemprof import proc

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def test_memory_is_rss_less_shr() -> None:
    assert proc.memory_in(b"900 70 30 4 0 500 0\n") == (40 * _PAGE, 30 * _PAGE, 900 * _PAGE)


@pytest.mark.parametrize("other", [b"", b"70 30", b"a b c d"])
def test_what_is_no_statm_has_no_memory(other: bytes) -> None:
    """Somebody may have put another file in the place of the descriptor that it is read from."""
    with pytest.raises(ValueError, match=r"unpack|invalid literal"):
        proc.memory_in(other)


@needs_proc
def test_a_process_is_read_as_psutil_reads_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert proc.memory(child.pid) == proc.psutils_memory(psutil.Process(child.pid))
        found = proc.stat(child.pid)
        assert found is not None
        assert (found.parent, found.is_fork, found.is_zombie, found.is_exiting) == (os.getpid(), False, False, False)
        assert found.touched > 0
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        found = proc.stat(child.pid)
        assert found is not None
        assert (found.is_zombie, found.is_exiting) == (True, True)
        assert proc.memory(child.pid) == (0, 0, 0)
        assert proc.has_process(child.pid)
    finally:
        child.communicate()
    assert proc.stat(child.pid) is None
    assert proc.memory(child.pid) is None
    assert not proc.has_process(child.pid)


@needs_proc
def test_a_fork_is_told_from_a_program() -> None:
    there, here = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(here)
        os.read(there, 1)  # until the test is over
        os._exit(0)
    try:
        found = proc.stat(pid)
        assert found is not None
        assert found.is_fork
    finally:
        os.close(here)
        os.close(there)
        os.waitpid(pid, 0)
