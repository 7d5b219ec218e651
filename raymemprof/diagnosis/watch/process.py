"""The process that watches one node: it looks once a second for as long as its watcher holds the connection to it.

It needs no Ray, is no child of any worker, and touches none of the processes that it looks at. It ends with the
connection, which the system closes when the watcher dies however it dies, with the raylet, and when its time is over.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from .minute_peaks import Minutes
from .minutes_file import MinutesFile, lock, path_of, read_minutes
from .worker_samples import Looks

__all__ = ["EVERY", "NO_CONNECTION", "OK", "Request", "keep_alive", "main"]

EVERY = 1.0
"""Seconds between looks."""
OK = b"ok\n"
"""What a watcher answers to the secret."""
NO_CONNECTION = "it cannot connect to the watcher at"
"""How a process begins to say that it has no connection."""
_SECONDS_TO_CONNECT = 5.0
_MANY_FILES = 16_384


class Request(NamedTuple):
    """What the process is to do."""

    node_id: str
    raylet: int
    """Its pid."""
    folder: str
    host: str
    """Where its watcher listens."""
    port: int
    secret: str
    seconds: float


def keep_alive(connection: socket.socket) -> None:
    """Have a connection end within some ten seconds where the other side's machine, or the way there, is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 4), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def main() -> None:
    """Leave the process that started this one, and watch as standard input says; "ready" says that it has begun."""
    request = Request(*json.loads(sys.stdin.read()))
    if os.fork():  # who started this is not its parent: a worker's children end with it
        os._exit(0)
    try:
        connection = _connected(request)
    except OSError as error:
        print(f"{NO_CONNECTION} {request.host}:{request.port} ({error}): a firewall?")  # noqa: T201
        return
    print("ready", flush=True)  # noqa: T201
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # two for each worker
        wanted = _MANY_FILES if most == resource.RLIM_INFINITY else min(most, _MANY_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    with connection:
        ended = _Watching(request, connection).run()
        with contextlib.suppress(OSError):
            connection.sendall(json.dumps({"ended": ended}).encode() + b"\n")


def _connected(request: Request) -> socket.socket:
    connection = socket.create_connection((request.host, request.port), _SECONDS_TO_CONNECT)
    try:
        connection.sendall(json.dumps([request.secret, request.node_id]).encode() + b"\n")
        if connection.recv(len(OK)) != OK:
            raise ConnectionError("it does not answer as a watcher does")
        keep_alive(connection)
        connection.settimeout(_SECONDS_TO_CONNECT)
    except OSError:
        connection.close()
        raise
    return connection


class _Watching:
    """Looks, and keeps what was seen, from when no other watcher does so on this node."""

    def __init__(self, request: Request, connection: socket.socket) -> None:
        self._folder, self._node_id = Path(request.folder), request.node_id
        self._until = time.monotonic() + request.seconds
        self._connection = connection
        self._looks = Looks(psutil.Process(request.raylet))
        self._minutes = Minutes()
        self._file = MinutesFile(path_of(self._folder, self._node_id))
        self._lock: int | None = None
        self._minute = 0
        self._trouble = ""

    def run(self) -> str:
        """Watch until the end, and return what has ended it."""
        try:
            return self._run()
        finally:
            if self._lock is not None:
                with contextlib.suppress(OSError):
                    self._file.rewrite(self._minutes)

    def _run(self) -> str:
        following = time.monotonic()
        while True:
            if self._looks.is_over():
                return "the session has ended"
            try:
                self._look()
                self._tell(self._looks.trouble)
            except OSError as error:
                self._minute = 0  # all is written anew once that can be done
                self._tell(f"what it sees is not written: {error}")
            now = time.monotonic()
            if now >= self._until:
                return "the time is over"
            following = max(following + EVERY, now)
            if select.select([self._connection], [], [], min(following, self._until) - now)[0]:
                return "its watcher has ended"

    def _look(self) -> None:
        if self._lock is None:
            self._lock = lock(self._folder, self._node_id)
            if self._lock is None:  # another watcher's process looks: this one goes on where that ends
                return
            self._minutes = self._kept()
        minute = int(time.time() // 60)
        news = self._minutes.take(minute, self._looks.take())
        if minute != self._minute:
            self._file.rewrite(self._minutes)
            self._minute = minute
        else:
            self._file.append(news)

    def _kept(self) -> Minutes:
        """What others wrote before, if the file is this user's: this process goes on from there."""
        path = path_of(self._folder, self._node_id)
        try:
            return read_minutes(path) if path.lstat().st_uid == os.geteuid() else Minutes()
        except FileNotFoundError:
            return Minutes()
        except OSError:
            if self._lock is not None:
                os.close(self._lock)
            self._lock = None  # it is tried again
            raise

    def _tell(self, trouble: str) -> None:
        """Tell the watcher, once."""
        if trouble != self._trouble:
            self._trouble = trouble
            with contextlib.suppress(OSError):
                self._connection.sendall(json.dumps({"trouble": trouble}).encode() + b"\n")


if __name__ == "__main__":
    main()
