"""A reader process: takes requests on its standard input, and answers on its standard output, one after the other.

memray's reader can crash on a damaged file, and take the process with it. This is the process it may take.
"""

from __future__ import annotations

import os
import pickle
import select
import struct
import sys
from typing import BinaryIO

__all__ = ["main", "receive", "send"]

_HEADER = struct.Struct("!Q")
_IDLE_LIMIT = 20.0
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
    """Serve until the other side goes away or falls silent, using `memory_limit` bytes of address space at most."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that memray prints may come between the answers
    if memory_limit and sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_limit, memory_limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from .analysis import analyse

    requests = os.fdopen(0, "rb", buffering=0)
    while select.select([requests], [], [], _IDLE_LIMIT)[0]:
        try:
            request = receive(requests)
        except EOFError:
            return
        answer: object
        try:
            answer = analyse(request)  # type: ignore[arg-type]
        except MemoryError:
            answer = f"reading it takes more than {memory_limit / 2**30:.1f} GiB of memory"
        except Exception as error:
            answer = f"{error}" or type(error).__name__
        send(answers, answer)
