"""What the live view shows comes from here: a process of its own, connected to Ray, that reads usage over and over.

Ray ends a process whose cluster is gone, and writes to its terminal: the one that holds the terminal is not connected.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from typing import BinaryIO, NoReturn

from ... import cluster
from ...reading.captures.reader import send

__all__ = ["End", "main"]

_SECONDS_GONE = 4.0
"""How long nobody may answer at the cluster's address before it counts as gone."""
_SECONDS_TO_LEAVE = 5.0
_MOST_FAILURES = 3


class End(str):
    """The last message: why there are no more."""


class _Samples:
    """The stream of messages, which two threads write to."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def put(self, message: object) -> None:
        with self._lock:
            send(self._stream, message)

    def end(self, reason: str) -> NoReturn:
        """Say why, and end the process as it stands: Ray may not answer any more."""
        with contextlib.suppress(OSError):
            self.put(End(reason))
        os._exit(1)


def main(address: str, interval: float) -> None:
    """Send a `Usage` every `interval` seconds to standard output, until standard input ends."""
    samples = _Samples(os.fdopen(os.dup(1), "wb"))
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # nothing that Ray prints may come between
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_leave_with_the_view, daemon=True).start()
    try:
        place = _connect(address, samples)
        threading.Thread(target=_watch, args=(place, samples), daemon=True).start()
        _sample(interval, samples)
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    finally:
        cluster.disconnect()


def _connect(address: str, samples: _Samples) -> cluster.Connection:
    """Connect, and return where it can be seen whether the cluster is there."""
    try:
        return cluster.connect(address)
    except ValueError as error:
        samples.end(str(error))


def _watch(place: cluster.Connection, samples: _Samples) -> None:
    """End where nobody has answered at the cluster's address for a while."""
    heard = time.monotonic()
    while True:
        time.sleep(1)
        try:
            socket.create_connection((place.host, place.port), _SECONDS_GONE).close()
            heard = time.monotonic()
        except OSError:
            if time.monotonic() - heard > _SECONDS_GONE:
                samples.end(f"the cluster at {place.host}:{place.port} is gone.")


def _sample(interval: float, samples: _Samples) -> None:
    from ..usage.usage import usage

    failures = 0
    while True:
        start = time.monotonic()
        try:
            samples.put(usage())
            failures = 0
        except BrokenPipeError:
            raise
        except Exception as error:  # a node that goes while it is asked; the cluster's end is seen by the other thread
            failures += 1
            if failures == _MOST_FAILURES:
                first = next(iter(str(error).strip().splitlines()), type(error).__name__)
                samples.end(f"the cluster does not say any more how its memory is used: {first}")
        took = time.monotonic() - start
        time.sleep(max(interval - took, took))  # at most half of the time is spent asking


def _leave_with_the_view() -> None:
    """End when the view does, however it does; what still runs for it on the nodes is cancelled."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_SECONDS_TO_LEAVE)
    os._exit(1)


if __name__ == "__main__":
    # Not from here: the other side could not tell what a class of `__main__` is.
    from . import usage_process

    usage_process.main(sys.argv[1], float(sys.argv[2]))
