"""A reader process: takes lists of requests on its standard input, and answers each on its standard output.

memray's reader can crash on a damaged file, and take the process with it. This is the process it may take.
"""

from __future__ import annotations

import gc
import os
import pickle
import select
import struct
import sys
import threading
from typing import BinaryIO

__all__ = ["IDLE_LIMIT", "main", "receive", "send"]

_HEADER = struct.Struct("!Q")
IDLE_LIMIT = 20.0
"""Seconds without a request after which the process ends."""


def send(stream: BinaryIO, message: object) -> None:
    """Write one message."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_HEADER.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: BinaryIO) -> object:
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


def main(memory_limit: int) -> None:
    """Serve until the other side goes away or falls silent, using `memory_limit` bytes of memory at most."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that memray prints may come between the answers
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory_limit, memory_limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from .analysis import answer

    gc.disable()  # it would look through millions of live allocations again and again: a fifth of the time
    threading.Thread(target=_end_with_the_other_side, daemon=True).start()
    questions = os.fdopen(0, "rb", buffering=0)
    while select.select([questions], [], [], IDLE_LIMIT)[0]:
        try:
            requests = receive(questions)
        except EOFError:
            return
        send(answers, answer(requests, memory_limit))  # type: ignore[arg-type]
        del requests
        gc.collect()


def _end_with_the_other_side() -> None:
    """End at once when nobody waits for an answer any more: who asked may have been killed to give memory back."""
    poll = select.poll()
    poll.register(0, 0)  # nothing but that the other side is gone
    poll.poll()
    os._exit(0)
