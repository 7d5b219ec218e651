"""What a watcher holds of each node's process: a connection. Where one ends, the other does within seconds."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import socket
import threading
import time
import weakref
from typing import Any

from .process import OK, keep_alive
from .shortages import SHORTAGES

__all__ = ["Connections"]

_TICK = 0.2
_LONGEST_WORD = 4_096
_SECONDS_TO_SAY_WHO = 5.0
_STRANGERS = 256
"""Connections that have not said the secret; of more, the oldest goes."""
_ENDED = "its process was killed, or cannot be reached any more"


class _Caller:
    """A connection, whose node is known once it has said the secret."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.since = time.monotonic()
        self.node_id: str | None = None
        self.unread = b""


class Connections:
    """Listens at this process's address in the cluster, and keeps the connections of those who know the secret."""

    def __init__(self, host: str) -> None:
        """Raises `OSError` where the address is none of this machine's."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=512)
        self._listener.setblocking(False)
        self.host, self.port = host, int(self._listener.getsockname()[1])
        self.secret = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._callers: set[_Caller] = set()
        self.ended: dict[str, str] = {}
        """Why the connection of a node ended, by node id, where none has come since."""
        self.troubles: dict[str, str] = {}
        self.shortage = ""
        """Why connections cannot be taken at the moment."""
        self._is_over = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        _all.add(self)
        self._thread = threading.Thread(target=self._run, name="raymemprof-watch", daemon=True)
        self._thread.start()

    @property
    def node_ids(self) -> set[str]:
        """The nodes that are watched now."""
        with self._lock:
            return {caller.node_id for caller in self._callers if caller.node_id is not None}

    def end(self, seconds: float) -> None:
        """Have all processes end, and wait for that so long at most: what they saw is written then."""
        with self._lock:
            for caller in self._callers:
                with contextlib.suppress(OSError):
                    caller.connection.shutdown(socket.SHUT_WR)
        until = time.monotonic() + seconds
        while self.node_ids and time.monotonic() < until:
            time.sleep(0.02)
        self._is_over.set()
        self._thread.join(_TICK * 10)

    def _run(self) -> None:
        try:
            while not self._is_over.is_set():
                for key, _ in self._selector.select(_TICK):
                    if key.data is None:
                        self._accept()
                    else:
                        self._hear(key.data)
                for caller in [one for one in self._callers if one.node_id is None]:
                    if time.monotonic() - caller.since > _SECONDS_TO_SAY_WHO:
                        self._drop(caller)
        finally:
            for caller in list(self._callers):
                self._drop(caller)
            self._selector.close()
            self._listener.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:  # who called has gone again, or there is no descriptor left
            if error.errno in SHORTAGES:
                self.shortage = f"its connection cannot be taken: {error.strerror} in the process that watches"
            self._is_over.wait(_TICK)
            return
        self.shortage = ""
        with contextlib.suppress(OSError):
            connection.setblocking(False)
            keep_alive(connection)
            caller = _Caller(connection)
            strangers = [one for one in self._callers if one.node_id is None]
            if len(strangers) >= _STRANGERS:
                self._drop(min(strangers, key=lambda one: one.since))
            with self._lock:
                self._callers.add(caller)
            self._selector.register(connection, selectors.EVENT_READ, caller)

    def _hear(self, caller: _Caller) -> None:
        try:
            data = caller.connection.recv(_LONGEST_WORD)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *words, caller.unread = (caller.unread + data).split(b"\n")
        try:
            for word in words:
                self._understand(caller, json.loads(word))
        except (ValueError, TypeError, LookupError, AttributeError, OSError, RecursionError):
            data = b""
        if not data or len(caller.unread) > _LONGEST_WORD:
            self._drop(caller)

    def _understand(self, caller: _Caller, said: Any) -> None:
        if caller.node_id is None:
            secret, node_id = said
            if not secrets.compare_digest(str(secret), self.secret):
                raise ValueError("a stranger")
            with self._lock:
                caller.node_id = str(node_id)
                self.ended.pop(caller.node_id, None)
                self.troubles.pop(caller.node_id, None)
            caller.connection.sendall(OK)  # last: then the node says that it is watched
        elif "ended" in said:
            self.ended[caller.node_id] = str(said["ended"])
        elif said["trouble"]:
            self.troubles[caller.node_id] = str(said["trouble"])
        else:
            self.troubles.pop(caller.node_id, None)

    def _drop(self, caller: _Caller) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(caller.connection)
        caller.connection.close()
        with self._lock:
            self._callers.discard(caller)
            if caller.node_id is not None:
                self.ended.setdefault(caller.node_id, _ENDED)

    def leave(self) -> None:
        """Close what a forked child has of it: the connections are the parent's."""
        self._listener.close()
        for caller in self._callers:
            caller.connection.close()


_all: weakref.WeakSet[Connections] = weakref.WeakSet()


def _after_fork() -> None:
    for one in list(_all):
        with contextlib.suppress(OSError):
            one.leave()


os.register_at_fork(after_in_child=_after_fork)
