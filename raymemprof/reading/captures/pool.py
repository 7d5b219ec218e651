"""Reads captures in processes of their own, several at a time: a damaged one ends its reader, never the caller."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeAlias

import psutil

from ... import cluster, helper_process, host, kill_threshold
from ... import journal as contract
from ...display.text import show_bytes
from .forked_children import children_of
from .model import Answer, Failure, Request
from .reader import IDLE_LIMIT, receive, send
from .reader_limit import turn
from .totals import Total

__all__ = ["read"]

_Popen: TypeAlias = "subprocess.Popen[bytes]"
_PACKAGE = __name__.partition(".")[0]
_START = f"""
import sys, types
package = types.ModuleType({_PACKAGE!r})  # without what its __init__ imports, which takes long
package.__path__ = [sys.argv[1]]
sys.modules[package.__name__] = package
from {receive.__module__} import main
main(int(sys.argv[2]), int(sys.argv[3]))
"""
_MOST_PROCESSES = 4
_MOST_ON_A_NODE = 2
"""The same on a node of a cluster, where others want something too."""
_SECONDS = 600
_SECONDS_PER_MEGABYTE = 100
"""How long one capture may take: a compressed megabyte can hold ten million allocations."""
_LEAST_MEMORY = 256 * 2**20
"""Bytes that a reader process needs to be of use."""
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(2**26), "MALLOC_MMAP_THRESHOLD_": str(2**22)}
"""Has glibc keep what one capture took for the next, instead of asking the system for it anew each time."""
_SECONDS_TO_END = 5
_LONGEST_SILENCE = 60.0
"""Seconds in which a reader process says something, or uses some CPU time; else it is stuck."""
_SECONDS_TO_LOOK = 1.0
"""After so long in silence a reader process is looked at."""
_NEARLY_FULL = 2 * 2**20
"""Who has less left than this may get no memory for the smallest object: Python asks for 1 MiB at a time."""
_MOST_AT_ONCE = 50
_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS")
_BYTES_AT_ONCE = 4_000_000
"""What one request to a reader process holds: so many captures, or so many bytes of them."""


def read(requests: Sequence[Request], done: Callable[[float], object] = lambda count: None) -> Answer:
    """Read captures in parallel, with those of the children that belong to them, and sum them up.

    Together the processes that read on a machine use half of the memory that is free below Ray's kill threshold, and no
    more, whoever asks them; where that is very little, one process uses 256 MiB at most.

    Args:
        requests: what to read.
        done: told of so many captures more that have been read, or parts of one; by one thread at a time.
    """
    total = Total()
    _read(requests, total, done)
    children, failures = children_of(requests, total.figures)
    total.add(Answer(None, tuple(failures)))
    if children:
        _read(children, total, lambda count: None)
    return total.answer()


def _read(requests: Sequence[Request], total: Total, done: Callable[[float], object]) -> None:
    sizes: dict[Request, int] = {}
    for request in requests:
        found = _size(Path(request.path))
        if isinstance(found, Failure):
            total.add(Answer(None, (found,)))
        else:
            sizes[request] = found
    memory = host.memory()
    if sizes and memory.available < _LEAST_MEMORY:
        little = f"only {show_bytes(memory.available)} of memory are free where it lies, too little to read it"
        reason = f"{little}; fetch it to a machine with more."
        total.add(Answer(None, tuple(Failure(request.path, reason) for request in sizes)))
        return
    chunks = list(_chunks(sizes))
    usable = max((kill_threshold.from_settings(memory.total) - memory.used) // 2, _LEAST_MEMORY)
    most = _MOST_ON_A_NODE if cluster.is_connected() else _MOST_PROCESSES
    most = max(min(os.cpu_count() or 1, most, usable // _LEAST_MEMORY), 1)
    work = _Work(sizes, usable // most, most, done)
    threads = ThreadPoolExecutor(min(most, len(chunks)) or 1)
    try:
        for future in [threads.submit(work.read, chunk) for chunk in chunks]:
            for answer in future.result():
                total.add(answer)
    except BaseException:  # Ctrl-C: what is being read is of no use any more
        work.stop()
        threads.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        threads.shutdown(wait=False)


def _size(path: Path) -> int | Failure:
    """Return a capture's size, or why it cannot be read."""
    try:
        if path.is_dir():
            return Failure(str(path), "it is a folder, not a capture.")
        descriptor = contract.open_plain(path, follow=True)
    except OSError as error:
        return Failure(str(path), f"it cannot be read: {error.strerror}.")
    size = os.fstat(descriptor).st_size
    os.close(descriptor)
    return size or Failure(str(path), "it is empty: the process that wrote it ended before memray started.")


def _chunks(sizes: dict[Request, int]) -> Iterator[list[Request]]:
    """Group what is small, so that a reader process is asked for many at once."""
    chunk: list[Request] = []
    total = 0
    for request, size in sizes.items():
        if chunk and (len(chunk) == _MOST_AT_ONCE or total + size > _BYTES_AT_ONCE):
            yield chunk
            chunk, total = [], 0
        chunk.append(request)
        total += size
    if chunk:
        yield chunk


class _Work:
    """The reading of what one question asks for, by several threads, each of which has a reader process do it."""

    def __init__(self, sizes: dict[Request, int], memory: int, most: int, done: Callable[[float], object]) -> None:
        self._sizes = sizes
        self._told = done
        self._tells = threading.Lock()
        self._memory = memory
        self._most = most
        self._busy: set[_Reader] = set()
        self._is_stopped = threading.Event()

    def stop(self) -> None:
        """Have nobody read any more."""
        self._is_stopped.set()
        for reader in list(self._busy):
            reader.kill()

    def _done(self, more: float) -> None:
        with self._tells:
            self._told(more)

    def read(self, requests: list[Request]) -> list[Answer]:
        """Return the answers to some requests."""
        done = 0.0

        def tell(part: float) -> None:
            nonlocal done
            self._done(part * len(requests) - done)
            done = part * len(requests)

        with turn(self._most, self._is_stopped, _SECONDS) as is_mine:
            if not is_mine:
                reason = f"others read on this machine for {_SECONDS} s, and took all memory that reading may use."
                return [Answer(None, tuple(Failure(request.path, reason) for request in requests))]
            limit = _SECONDS + sum(self._sizes[request] for request in requests) / 1e6 * _SECONDS_PER_MEGABYTE
            answer: Answer | str | None = None
            while answer is None:
                reader = _take(self._memory)
                self._busy.add(reader)
                if self._is_stopped.is_set():  # it was set before `_busy` was gone through, so no reader is missed
                    reader.kill()
                answer = reader.ask(requests, limit, tell)
                self._busy.discard(reader)
            if isinstance(answer, Answer):
                _give_back(reader)
        if isinstance(answer, Answer):
            tell(1 - len(answer.left) / len(requests))
            return [answer, *self.read(list(answer.left))] if answer.left else [answer]
        if len(requests) == 1 or self._is_stopped.is_set():
            tell(1.0)
            return [Answer(None, (Failure(requests[0].path, f"it cannot be read: {answer}"),))]
        tell(0.0)
        half = len(requests) // 2  # one of them ended the reader: find out which
        return [*self.read(requests[:half]), *self.read(requests[half:])]


class _Reader:
    """One reader process."""

    def __init__(self, memory: int) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # open for as long as the process is there
        self._process = _started(
            lambda: subprocess.Popen(
                [sys.executable, "-c", _START, sys.modules[_PACKAGE].__path__[0], str(memory), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=helper_process.environment(**_MALLOC),
                start_new_session=True,  # Ctrl-C in the terminal is for the caller
            )
        )
        self.memory = memory
        self.alive = True
        self.owner = os.getpid()
        self.idle_since = time.monotonic()

    def ask(self, requests: list[Request], limit: float, tell: Callable[[float], object]) -> Answer | str | None:
        """Return the answer, or why there is none; meanwhile tell which part of it is done.

        None where the process ended by itself just then, after a time without work: another is to be asked.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            send(self._process.stdin, (requests, limit))  # type: ignore[arg-type]
            poll = select.poll()  # `select` takes no descriptor above 1023
            poll.register(self._process.stdout, select.POLLIN)
            until = time.monotonic() + limit
            answer: object = 0.0
            while isinstance(answer, float):
                tell(answer)
                reason = self._why_silent(poll, limit, until)
                if reason is not None:
                    self._process.kill()
                    self.close()
                    return reason
                answer = receive(self._process.stdout)  # type: ignore[arg-type]
        except (EOFError, OSError):
            self.close()
            return None if self._process.returncode == 0 else self._epitaph()
        except BaseException:
            self._process.kill()
            self.close()
            raise
        assert isinstance(answer, Answer)
        return answer

    def _why_silent(self, poll: select.poll, limit: float, until: float) -> str | None:
        """Wait for what the process says: None; or why it says nothing any more."""
        used, next_look = -1.0, time.monotonic() + _LONGEST_SILENCE
        while not poll.poll(max(min(until - time.monotonic(), _SECONDS_TO_LOOK), 0) * 1e3):
            has_room = self._give_reserve()
            if time.monotonic() >= until:
                return f"reading it took more than {limit:.0f} s, so it was stopped."
            if time.monotonic() < next_look:
                continue
            if not has_room:
                return self._too_large()
            before, used = used, self._seconds_used()
            if used == before:
                return "its reader stopped working on it and was ended; try again."
            next_look += _LONGEST_SILENCE
        return None

    def _give_reserve(self) -> bool:
        """Let the process use its reserve where its memory is full; False where it has used that too.

        Python that has no memory for the number of the instruction at which a MemoryError was raised looks for its
        handler again and again, for ever (CPython 3.11 to 3.13): it goes on when it gets some.
        """
        if sys.platform != "linux":
            return True
        with contextlib.suppress(OSError, ValueError, psutil.Error):  # it is gone, which the next look shows
            pid = self._process.pid
            soft, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
            if soft != resource.RLIM_INFINITY and psutil.Process(pid).memory_info().data > soft - _NEARLY_FULL:
                resource.prlimit(pid, resource.RLIMIT_DATA, (hard, hard))
                return soft < hard
        return True

    def _seconds_used(self) -> float:
        """The CPU time that the process has used; of one that is stopped, or waits for a disk, the time that passes."""
        try:
            process = psutil.Process(self._process.pid)
            if process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_DISK_SLEEP):
                return time.monotonic()
            used = process.cpu_times()
        except psutil.Error:  # the next look at what it says shows that it is gone
            return time.monotonic()
        return float(used.user + used.system)

    def _epitaph(self) -> str:
        status = self._process.returncode
        if status is not None and status < 0:
            name = signal.Signals(-status).name
            if name in _CRASHES:
                return f"memray's reader crashed on it ({name}), so it is damaged."
            if name == "SIGXCPU":
                return "reading it took too long, so it was stopped."
            return f"the process that read it was killed ({name}), for want of memory perhaps; try again."
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        if last.startswith("MemoryError"):
            return self._too_large()
        return f"the reader process ended with status {status}: {last}".rstrip(" :.") + "."

    def _too_large(self) -> str:
        return f"reading it takes more than {show_bytes(self.memory)} of memory."

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
        is_fresh = time.monotonic() - self.idle_since < IDLE_LIMIT / 2  # else it may be about to end by itself
        return is_fresh and self.alive and self.owner == os.getpid() and self._process.poll() is None


_idle: list[_Reader] = []
_idle_lock = threading.Lock()
_starts: SimpleQueue[tuple[Future[_Popen], Callable[[], _Popen]]] | None = None


def _started(start: Callable[[], _Popen]) -> _Popen:
    """Start a reader process from a thread that lasts as long as this process: when that ends, the reader does.

    It is no executor's, which end while threads of the user's may still wait for an answer.
    """
    global _starts
    with _idle_lock:
        if _starts is None:
            _starts = SimpleQueue()
            threading.Thread(target=_start_for_ever, args=(_starts,), name="raymemprof-readers", daemon=True).start()
    future: Future[_Popen] = Future()
    _starts.put((future, start))
    return future.result()


def _start_for_ever(starts: SimpleQueue[tuple[Future[_Popen], Callable[[], _Popen]]]) -> None:
    while True:
        future, start = starts.get()
        try:
            future.set_result(start())
        except Exception as error:
            future.set_exception(error)


def _after_fork() -> None:
    """Start readers from a thread of this process's own: the parent's is not here, nor who may hold the lock."""
    global _idle_lock, _starts
    _idle_lock = threading.Lock()
    _starts = None


os.register_at_fork(after_in_child=_after_fork)


def _take(memory: int) -> _Reader:
    """Return a reader process that waits for work, or a new one; it may use `memory` bytes, or somewhat less."""
    memory -= memory % _LEAST_MEMORY
    with _idle_lock:
        found = None
        for reader in list(_idle):
            if found is None and reader.can_be_asked() and memory // 2 <= reader.memory <= memory:
                _idle.remove(reader)
                found = reader
            elif not (reader.can_be_asked() and reader.memory <= memory):
                _idle.remove(reader)  # it is gone, or may use more than is to be used now
                reader.close()
    return found or _Reader(memory)


def _give_back(reader: _Reader) -> None:
    """Keep a reader process for the next capture; it ends by itself when none comes."""
    reader.idle_since = time.monotonic()
    with _idle_lock:
        if len(_idle) < _MOST_PROCESSES:
            _idle.append(reader)
            return
    reader.close()
