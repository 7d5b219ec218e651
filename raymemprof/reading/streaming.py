"""Whole files over a connection from the node that they lie on: several times faster than in pieces through Ray.

The node connects to whoever asks, who told it by Ray where to and a secret to say. Where no connection comes about (a
firewall, Ray Client, a cluster that encrypts what it sends), nothing has arrived, and `pieces` brings it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import socket
import sys
import time
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from io import BufferedWriter
from typing import Any, cast

from .. import cluster
from ..errors import CaptureError
from . import serving
from .arrivals import Arrival, State, state_of

__all__ = ["receive", "send"]

_BUFFER = 2**20
_MOST_AT_ONCE = 16 * _BUFFER
"""Bytes of one node that are taken before it is the next one's turn."""
_NODES_AT_ONCE = 8
_LOOK = 0.5
"""Seconds between looks at who is silent."""
_SECONDS_TO_CONNECT = 5.0
_SECRET = 32
"""Bytes of what a node says first."""
_LONGEST_WORD = 2**16

# What is sent of each file: how many bytes are to come, these, then a word on them, which is JSON after its length.
# The word has the checksum, and what the file was like after it was read; or what was wrong with it.
_NUMBER = 8
"""Bytes of a number, the most significant first."""


def send(files: list[tuple[str, int]], to: tuple[str, int], secret: bytes) -> str | None:
    """Send the beginnings of files that may be had: names and how many bytes of each; return why that failed."""
    try:
        with socket.create_connection(to, _SECONDS_TO_CONNECT) as connection:
            connection.settimeout(cluster.LIMIT)
            with cast("BufferedWriter", connection.makefile("wb", _BUFFER)) as out:
                out.write(secret)
                for name, size in files:
                    _send_file(out, name, size)
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    return None


def _send_file(out: BufferedWriter, name: str, size: int) -> None:
    try:
        descriptor = serving.open_file(name)
    except CaptureError as error:
        _send_number(out, 0)
        _send_word(out, error=error.reason)
        return
    _send_number(out, size)
    try:
        checksum = _send_bytes(out, descriptor, size)
        state = state_of(descriptor)
    finally:
        os.close(descriptor)
    _send_word(out, checksum=checksum, state=[state.size, state.changed, state.inode])


def _send_bytes(out: BufferedWriter, descriptor: int, size: int) -> int:
    """Send so many bytes, which were announced: zeros where the file has become shorter. Returns their checksum."""
    checksum = offset = 0
    with memoryview(bytearray(min(_BUFFER, size))) as buffer:
        while offset < size:
            part = buffer[: size - offset]
            read = os.preadv(descriptor, [part], offset)
            if read:
                part = part[:read]
            else:
                part[:] = bytes(len(part))
            checksum = zlib.crc32(part, checksum)
            out.write(part)
            offset += len(part)
    return checksum


def _send_number(out: BufferedWriter, number: int) -> None:
    out.write(number.to_bytes(_NUMBER, "big"))


def _send_word(out: BufferedWriter, **word: Any) -> None:
    data = json.dumps(word).encode()
    _send_number(out, len(data))
    out.write(data)


def receive(by_node: dict[str, list[Arrival]], done: Callable[[int], object]) -> dict[str, cluster.MissingNode]:
    """Have nodes send files; returns the nodes that were lost meanwhile. What is not settled then did not come."""
    if cluster.here() is None or os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        return {}  # this process is no part of the cluster, or its nodes do not talk in the clear
    try:
        listener = _listen()
    except OSError:  # the address that the cluster knows this node by is none of its own
        return {}
    reception = _Reception(listener, by_node, done)
    try:
        return reception.run()
    finally:
        reception.close()


def _listen() -> socket.socket:
    host = sys.modules["ray"].util.get_node_ip_address()
    return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


@dataclass(eq=False)
class _Transfer:
    """What one node sends."""

    node_id: str
    arrivals: list[Arrival]
    reference: Any
    heard: float
    """When it gave a sign of life last."""
    connection: socket.socket | None = None


class _Caller:
    """A connection, and what is to come over it next."""

    def __init__(
        self, connection: socket.socket, expected: dict[bytes, _Transfer], done: Callable[[int], object]
    ) -> None:
        self.connection = connection
        self.transfer: _Transfer | None = None
        """What comes over it, once that is known."""
        self._expected = expected
        self._done = done
        self._steps = self._take()
        self.wanted = next(self._steps)
        """Bytes that are wanted at most; 0 where nothing more is."""

    def hear(self, data: memoryview) -> None:
        """Take no more than is wanted."""
        if self.transfer is not None:
            self.transfer.heard = time.monotonic()
        try:
            self.wanted = self._steps.send(data)
        except StopIteration:
            self.wanted = 0

    def _take(self) -> Generator[int, memoryview, None]:
        """Yield how much is wanted, be sent what there is of it; end where nobody knows what to make of it."""
        self.transfer = self._expected.pop((yield from _exactly(_SECRET)), None)
        if self.transfer is None:
            return
        self.transfer.connection = self.connection
        for arrival in self.transfer.arrivals:
            size = int.from_bytes((yield from _exactly(_NUMBER)), "big")
            if size not in (0, arrival.file.state.size):
                return
            checksum = 0
            while arrival.written < size:
                data = yield size - arrival.written
                checksum = zlib.crc32(data, checksum)
                self._done(len(data))
                arrival.write(data, arrival.written)
            length = int.from_bytes((yield from _exactly(_NUMBER)), "big")
            if length > _LONGEST_WORD:
                return
            _settle(arrival, (yield from _exactly(length)), checksum)


def _exactly(size: int) -> Generator[int, memoryview, bytes]:
    found = b""
    while len(found) < size:
        found += yield size - len(found)
    return found


def _settle(arrival: Arrival, word: bytes, checksum: int) -> None:
    said = json.loads(word)
    if "error" in said:
        arrival.fail(said["error"])
    elif said["checksum"] != checksum:
        arrival.spoil()
    else:
        arrival.settle(State(*said["state"]))


class _Reception:
    """Several nodes that send at a time."""

    def __init__(
        self, listener: socket.socket, by_node: dict[str, list[Arrival]], done: Callable[[int], object]
    ) -> None:
        self._listener = listener
        self._waiting = list(by_node.items())
        self._done = done
        self._transfers: list[_Transfer] = []
        self._expected: dict[bytes, _Transfer] = {}
        """By the secret that a node says, which is good for once."""
        self._lost: dict[str, cluster.MissingNode] = {}
        self._buffer = memoryview(bytearray(_BUFFER))
        self._selector = selectors.DefaultSelector()
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def run(self) -> dict[str, cluster.MissingNode]:
        """Take what comes until nothing more is to come."""
        looked = time.monotonic()
        while self._waiting or self._transfers:
            while self._waiting and len(self._transfers) < _NODES_AT_ONCE:
                self._begin(*self._waiting.pop())
            for key, _ in self._selector.select(_LOOK):
                if key.data is None:
                    self._accept()
                else:
                    self._take(key.data)
            if time.monotonic() - looked > _LOOK:
                self._look()
                looked = time.monotonic()
        return self._lost

    def close(self) -> None:
        """Leave nothing running, also after Ctrl-C."""
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # all of them are sockets
        self._selector.close()
        for transfer in self._transfers:
            cluster.cancel(transfer.reference)

    def _begin(self, node_id: str, arrivals: list[Arrival]) -> None:
        secret = secrets.token_bytes(_SECRET)
        files = [(arrival.file.name, arrival.file.state.size) for arrival in arrivals]
        reference = cluster.ask(node_id, send, files, self._listener.getsockname()[:2], secret)
        transfer = _Transfer(node_id, arrivals, reference, time.monotonic())
        self._expected[secret] = transfer
        self._transfers.append(transfer)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # who called has gone again
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ, _Caller(connection, self._expected, self._done))

    def _take(self, caller: _Caller) -> None:
        taken = 0
        while caller.wanted and taken < _MOST_AT_ONCE:
            try:
                read = caller.connection.recv_into(self._buffer[: min(caller.wanted, _BUFFER)])
            except BlockingIOError:
                return
            except OSError:
                read = 0
            if not read:
                break
            taken += read
            caller.hear(self._buffer[:read])
        if taken < _MOST_AT_ONCE or not caller.wanted:
            if caller.transfer is not None:
                self._end(caller.transfer)
            else:
                self._hang_up(caller.connection)

    def _look(self) -> None:
        """End what does not come about, and what has come to a standstill."""
        ray = sys.modules["ray"]
        by_reference = {transfer.reference: transfer for transfer in self._transfers}
        ended, _ = ray.wait(list(by_reference), num_returns=len(by_reference), timeout=0) if by_reference else ((), ())
        for reference in ended:
            transfer = by_reference[reference]
            try:
                trouble = ray.get(reference, timeout=cluster.LIMIT)
            except ray.exceptions.RayError as error:
                trouble = error
            # What was sent whole may be on its way yet; a connection that breaks is heard of by itself.
            if (trouble is not None and transfer.connection is None) or isinstance(trouble, Exception):
                self._end(transfer)
        for transfer in list(self._transfers):
            if time.monotonic() - transfer.heard > cluster.LIMIT:
                self._lose(transfer, f"it handed nothing over for {cluster.LIMIT:.0f} s")

    def _lose(self, transfer: _Transfer, why: str) -> None:
        node = self._lost[transfer.node_id] = cluster.missing(transfer.node_id, why)
        for arrival in transfer.arrivals:
            if not arrival.is_settled:
                arrival.fail(f"it cannot be fetched: {node}.")
        cluster.cancel(transfer.reference)
        self._end(transfer)

    def _end(self, transfer: _Transfer) -> None:
        self._transfers.remove(transfer)
        if transfer.connection is not None:
            self._hang_up(transfer.connection)
        for arrival in transfer.arrivals:
            if not arrival.is_settled:  # it is begun anew
                self._done(-arrival.written)
                arrival.drop()

    def _hang_up(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()
