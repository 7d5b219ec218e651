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
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .. import host
from ..rows import show_bytes
from .analysis import Answer, Failure, Request, add_answers
from .worker import IDLE_LIMIT, receive, send

__all__ = ["MOST_ON_A_NODE", "read"]

_PACKAGE = Path(__file__).parent.parent
_START = f"""
import sys, types
package = types.ModuleType({__package__.partition(".")[0]!r})  # without what its __init__ imports, which takes long
package.__path__ = [sys.argv[1]]
sys.modules[package.__name__] = package
from {__package__}.worker import main
main(int(sys.argv[2]))
"""
_MOST_PROCESSES = 4
MOST_ON_A_NODE = 2
"""Reader processes on a node of which others want something."""
_SECONDS = 600
_SECONDS_PER_MEGABYTE = 100
"""How long one capture may take: a compressed megabyte can hold ten million allocations."""
_LEAST_MEMORY = 256 * 2**20
"""Bytes that a reader process needs to be of use."""
_SECONDS_TO_END = 5
_LONGEST_POLL = 2**31 - 1
_MOST_AT_ONCE = 50
_BYTES_AT_ONCE = 4_000_000
"""What one request to a reader process holds: so many captures, or so many bytes of them."""


def read(
    requests: Sequence[Request], processes: int = _MOST_PROCESSES, done: Callable[[int], object] = lambda count: None
) -> Answer:
    """Read captures in parallel, and sum them up.

    Together the processes use half of the memory that is free below Ray's kill threshold, and no more; where that is
    very little, one process uses 256 MiB at most.

    Args:
        requests: what to read.
        processes: how many processes to use, at most.
        done: told of so many captures when they have been read.
    """
    answers: list[Answer] = []
    sizes: dict[Request, int] = {}
    for request in requests:
        found = _size(Path(request.path))
        if isinstance(found, Failure):
            answers.append(Answer(None, (found,)))
        else:
            sizes[request] = found
    memory = host.memory()
    if sizes and memory.available < _LEAST_MEMORY:
        little = f"only {show_bytes(memory.available)} of memory are free where it lies, too little to read it"
        reason = f"{little}; fetch it to a machine with more."
        return add_answers([*answers, Answer(None, tuple(Failure(request.path, reason) for request in sizes))])
    chunks = list(_chunks(sizes))
    usable = max((host.kill_threshold(memory.total) - memory.used) // 2, _LEAST_MEMORY)
    count = max(min(len(chunks), os.cpu_count() or 1, processes, usable // _LEAST_MEMORY), 1)
    busy: set[_Reader] = set()
    stop = threading.Event()
    threads = ThreadPoolExecutor(count)
    try:
        for chunk, answer in zip(
            chunks, threads.map(lambda chunk: _read(chunk, sizes, usable // count, busy, stop), chunks), strict=True
        ):
            answers.append(answer)
            done(len(chunk))
    except BaseException:  # Ctrl-C: what is being read is of no use any more
        stop.set()
        threads.shutdown(wait=False, cancel_futures=True)
        for reader in list(busy):
            reader.kill()
        raise
    finally:
        threads.shutdown(wait=False)
    return add_answers(answers)


def _size(path: Path) -> int | Failure:
    """Return a capture's size, or why it cannot be read."""
    try:
        if path.is_dir():
            return Failure(str(path), "it is a folder, not a capture.")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        return Failure(str(path), f"it cannot be read: {error.strerror}.")
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


def _read(
    requests: list[Request], sizes: dict[Request, int], memory: int, busy: set[_Reader], stop: threading.Event
) -> Answer:
    reader = _take(memory)
    busy.add(reader)
    if stop.is_set():  # it was set before `busy` was gone through, so no reader is missed
        reader.kill()
    limit = _SECONDS + sum(sizes[request] for request in requests) / 1e6 * _SECONDS_PER_MEGABYTE
    answer = reader.ask(requests, limit)
    busy.discard(reader)
    if isinstance(answer, Answer):
        _give_back(reader)
        return answer
    if len(requests) == 1 or stop.is_set():
        return Answer(None, (Failure(requests[0].path, f"it cannot be read: {answer}"),))
    half = len(requests) // 2  # one of them ended the reader: find out which
    return add_answers([_read(part, sizes, memory, busy, stop) for part in (requests[:half], requests[half:])])


class _Reader:
    """One reader process."""

    def __init__(self, memory: int) -> None:
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
        environment["PYTHONSAFEPATH"] = "1"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # open for as long as the process is there
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(_PACKAGE), str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            start_new_session=True,  # Ctrl-C in the terminal is for the caller
        )
        self.memory = memory
        self.alive = True
        self.owner = os.getpid()
        self.idle_since = time.monotonic()

    def ask(self, requests: list[Request], limit: float) -> Answer | str:
        """Return the answer, or why there is none."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            send(self._process.stdin, requests)  # type: ignore[arg-type]
            poll = select.poll()  # `select` takes no descriptor above 1023
            poll.register(self._process.stdout, select.POLLIN)
            if not poll.poll(min(limit * 1e3, _LONGEST_POLL)):
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
        assert isinstance(answer, Answer)
        return answer

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
        is_fresh = time.monotonic() - self.idle_since < IDLE_LIMIT / 2  # else it may be about to end by itself
        return is_fresh and self.alive and self.owner == os.getpid() and self._process.poll() is None


_idle: list[_Reader] = []
_idle_lock = threading.Lock()


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
