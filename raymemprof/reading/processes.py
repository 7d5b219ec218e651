"""Reads captures in processes of their own, several at a time: a damaged one ends its reader, never the caller."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from ..errors import CaptureError
from .analysis import Request, Result
from .worker import receive, send

__all__ = ["read", "read_one"]

_MOST_PROCESSES = 4
_SECONDS = 600
_SECONDS_PER_MEGABYTE = 100
"""How long one capture may take: a compressed megabyte can hold ten million allocations."""
_LEAST_MEMORY = 2 * 2**30
_SECONDS_TO_END = 5


def read_one(request: Request) -> Result:
    """Read one capture; raises `CaptureError`."""
    (answer,) = read([request])
    if isinstance(answer, CaptureError):
        raise answer
    return answer


def read(requests: Sequence[Request]) -> list[Result | CaptureError]:
    """Read captures in parallel; each answer is a result, or the error that reading it ended in."""
    count = min(len(requests), os.cpu_count() or 1, _MOST_PROCESSES)
    busy: set[_Reader] = set()
    threads = ThreadPoolExecutor(max(count, 1))
    try:
        return list(threads.map(lambda request: _read(request, count, busy), requests))
    except BaseException:  # Ctrl-C: what is being read is of no use any more
        threads.shutdown(wait=False, cancel_futures=True)
        for reader in list(busy):
            reader.kill()
        raise
    finally:
        threads.shutdown(wait=False)


def _read(request: Request, count: int, busy: set[_Reader]) -> Result | CaptureError:
    path = Path(request.path)
    try:
        size = path.stat().st_size
    except OSError as error:
        return CaptureError(path, f"it cannot be read: {error.strerror}.")
    if path.is_dir():
        return CaptureError(path, "it is a folder, not a capture.")
    if size == 0:
        return CaptureError(path, "it is empty: the process that wrote it ended before memray started.")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        return CaptureError(path, f"it cannot be read: {error.strerror}.")
    reader = _take(count)
    busy.add(reader)
    answer = reader.ask(request, _SECONDS + size / 1e6 * _SECONDS_PER_MEGABYTE)
    busy.discard(reader)
    if isinstance(answer, Result):
        _give_back(reader)
        return answer
    if reader.alive:
        _give_back(reader)
    return CaptureError(path, f"it cannot be read: {answer}")


class _Reader:
    """One reader process."""

    def __init__(self, count: int) -> None:
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
        environment["PYTHONSAFEPATH"] = "1"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # open for as long as the process is there
        limit = max(_LEAST_MEMORY, psutil.virtual_memory().available // 2 // count)
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from raymemprof.reading.worker import main; main({limit})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            start_new_session=True,  # Ctrl-C in the terminal is for the caller
        )
        self.alive = True
        self.owner = os.getpid()

    def ask(self, request: Request, limit: float) -> Result | str:
        """Return the answer, or why there is none."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            send(self._process.stdin, request)  # type: ignore[arg-type]
            if not select.select([self._process.stdout], [], [], limit)[0]:
                self._process.kill()
                self.close()
                return f"reading it took more than {limit:.0f} s, so it was stopped."
            answer = receive(self._process.stdout)  # type: ignore[arg-type]
        except (EOFError, OSError):
            self.close()
            return self._epitaph()
        except BaseException:
            self._process.kill()
            self.close()
            raise
        return answer if isinstance(answer, Result) else f"{str(answer).rstrip('.')}."

    def _epitaph(self) -> str:
        status = self._process.returncode
        if status is not None and status < 0:
            return f"memray's reader crashed on it ({signal.Signals(-status).name}), so it is damaged."
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        return f"the reader process ended with status {status}: {last}".rstrip(" :.") + "."

    def kill(self) -> None:
        """End the process at once; who waits for its answer learns that it ended."""
        self._process.kill()

    def close(self) -> None:
        """End the process, if it has not ended by itself, and wait for it."""
        self.alive = False
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was left to write has no reader any more
                stream.close()  # type: ignore[union-attr]
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def can_be_asked(self) -> bool:
        """Whether the process is there, and this process's own."""
        return self.alive and self.owner == os.getpid() and self._process.poll() is None


_idle: list[_Reader] = []
_idle_lock = threading.Lock()


def _take(count: int) -> _Reader:
    """Return a reader process that waits for work, or a new one; `count` of them share the memory there is."""
    with _idle_lock:
        while _idle:
            reader = _idle.pop()
            if reader.can_be_asked():
                return reader
    return _Reader(count)


def _give_back(reader: _Reader) -> None:
    """Keep a reader process for the next capture; it ends by itself when none comes."""
    with _idle_lock:
        if len(_idle) < _MOST_PROCESSES:
            _idle.append(reader)
            return
    reader.close()
