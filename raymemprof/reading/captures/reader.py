"""A reader process: takes lists of requests on its standard input, and answers each on its standard output.

Before an answer comes, now and then, which part of the work is done: a number from 0 to 1.

memray's reader can crash on a damaged file, and take the process with it. This is the process it may take.
"""

from __future__ import annotations

import gc
import math
import os
import pickle
import resource
import select
import signal
import struct
import sys
import threading
import time
from typing import Any, BinaryIO

__all__ = ["IDLE_LIMIT", "main", "receive", "send"]

_HEADER = struct.Struct("!Q")
_PR_SET_PDEATHSIG = 1
_SECONDS_TO_TELL = 0.25
"""How often it says how far it is."""
_RESERVE = 4 * 2**20
"""Bytes of its memory that the process gets only when the rest is full, from who asked it (`pool.py`)."""
IDLE_LIMIT = 20.0
"""Seconds without a request after which the process ends."""


def send(stream: BinaryIO, message: object) -> None:
    """Write one message."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_HEADER.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read one message; raises `EOFError` where the other side is gone."""
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise EOFError
    (length,) = _HEADER.unpack(header)
    data = bytearray()
    while len(data) < length:  # a pipe hands over what it holds, which may be less
        piece = stream.read(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return pickle.loads(data)


def main(memory_limit: int, asker: int) -> None:
    """Serve the process `asker` until it ends or falls silent, using `memory_limit` bytes of memory at most."""
    _end_with(asker)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that memray prints may come between the answers
    _limit_memory(memory_limit)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from .analysis import answer

    gc.disable()  # it would look through millions of live allocations again and again: a fifth of the time
    questions = os.fdopen(0, "rb", buffering=0)
    next_time = 0.0

    def tell(part: float) -> None:
        nonlocal next_time
        if time.monotonic() >= next_time:
            send(answers, part)
            next_time = time.monotonic() + _SECONDS_TO_TELL

    while select.select([questions], [], [], IDLE_LIMIT)[0]:
        try:
            requests, seconds = receive(questions)
        except EOFError:
            return
        _limit_memory(memory_limit)
        _limit_time(seconds)
        next_time = time.monotonic() + _SECONDS_TO_TELL
        send(answers, answer(requests, memory_limit, tell))
        del requests
        gc.collect()


def _end_with(asker: int) -> None:
    """Have this process end at once when who asks is gone, which may have been killed to give memory back.

    memray's reader holds the interpreter's lock for minutes, so only the kernel can see to it; where it does not, as on
    macOS, a thread does when it comes to run.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != asker:  # it ended before
            os._exit(0)
    else:
        threading.Thread(target=_wait_for_the_other_side, daemon=True).start()


def _wait_for_the_other_side() -> None:
    poll = select.poll()
    poll.register(0, 0)  # nothing but that the other side is gone
    poll.poll()
    os._exit(0)


def _limit_memory(most: int) -> None:
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (most - _RESERVE, most))


def _limit_time(seconds: float) -> None:
    """Have the kernel end this process where it computes for longer, should nobody else."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    until = math.ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (until if most == resource.RLIM_INFINITY else min(until, most), most))
