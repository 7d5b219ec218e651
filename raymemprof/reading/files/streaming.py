"""Whole files over a connection from the node that they lie on: several times faster than in pieces through Ray.

The node connects to whoever asks, who told it by Ray where to and a secret to say. Where no connection comes about (a
firewall, Ray Client, a cluster that encrypts what it sends), nothing has arrived, and `pieces` brings it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import secrets
import selectors
import socket
import time
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from io import BufferedWriter
from typing import Any, cast

from ... import cluster
from ...errors import CaptureError
from ..catalog import offered
from .arrivals import Arrival, State, lose, state_of

__all__ = ["receive", "send"]

_BUFFER = 2**20
_TURN = 0.1
"""Seconds for which one node's bytes are taken before it is the next one's turn."""
_NODES_AT_ONCE = 32
_STRANGERS = 32
"""Connections that are kept before they have said the secret."""
_SECONDS_TO_CONNECT = 5.0
_SECRET = 32
"""Bytes of what a node says first."""
_LONGEST_WORD = 2**16

# What is sent of each file: how many bytes are to come, these, then a word on them, which is JSON after its length.
# The word has the checksum, and what the file was like after it was read; or what was wrong with it.
_NUMBER = 8
"""Bytes of a number, the most significant first."""
_log = logging.getLogger(__name__)


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
        descriptor = offered.open_file(name)
    except CaptureError as error:
        _send_number(out, 0)
        _send_word(out, error=error.reason)
        return
    _send_number(out, size)
    try:
        checksum, is_all = _send_bytes(out, descriptor, size)
        state = state_of(descriptor) if is_all else State(0, 0, 0)  # no longer what it was
    finally:
        os.close(descriptor)
    _send_word(out, checksum=checksum, state=[state.size, state.changed, state.inode])


def _send_bytes(out: BufferedWriter, descriptor: int, size: int) -> tuple[int, bool]:
    """Send so many bytes, which were announced: zeros where the file has become shorter.

    Returns their checksum, and whether all of them are the file's.
    """
    checksum = offset = 0
    is_all = True
    with memoryview(bytearray(min(_BUFFER, size))) as buffer:
        while offset < size:
            part = buffer[: size - offset]
            read = os.preadv(descriptor, [part], offset)
            if read:
                part = part[:read]
            else:
                part[:] = bytes(len(part))
                is_all = False
            checksum = zlib.crc32(part, checksum)
            out.write(part)
            offset += len(part)
    return checksum, is_all


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
    host = cluster.ip_address()
    return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


@dataclass(eq=False)
class _Transfer:
    """What one node sends."""

    node_id: str
    arrivals: list[Arrival]
    secret: bytes
    reference: Any
    silence: int = 0
    """How many looks ago it gave a sign of life. Not seconds: where this process did not look, nobody was heard."""
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
            self.transfer.silence = 0
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
    try:
        said = json.loads(word)
        error = said.get("error")
        is_right, state = said.get("checksum") == checksum, State(*said.get("state", ()))
    except (ValueError, TypeError, AttributeError):
        arrival.spoil()
        return
    if error is not None:
        arrival.fail(error)
    elif is_right:
        arrival.settle(state)
    else:
        arrival.spoil()


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
        self._has_come = False
        """Whether any connection of a node's has come about."""
        self._strangers: list[_Caller] = []
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
            for key, _ in self._selector.select(cluster.LOOK):
                if key.data is None:
                    self._accept()
                elif key.data.connection.fileno() >= 0:  # else it was hung up on meanwhile
                    self._take(key.data)
            if time.monotonic() - looked > cluster.LOOK:
                self._look()
                looked = time.monotonic()
        return self._lost

    def close(self) -> None:
        """Leave nothing running, also after Ctrl-C: who sends finds that nobody listens any more."""
        for key in list(self._selector.get_map().values()):
            _close(key.fileobj)  # type: ignore[arg-type]  # all of them are sockets
        self._selector.close()

    def _begin(self, node_id: str, arrivals: list[Arrival]) -> None:
        secret = secrets.token_bytes(_SECRET)
        files = [(arrival.file.name, arrival.file.state.size) for arrival in arrivals]
        address = self._listener.getsockname()[:2]
        reference = cluster.ask(node_id, send, files, address, secret, longest=math.inf)  # it ends with the connection
        transfer = _Transfer(node_id, arrivals, secret, reference)
        self._expected[secret] = transfer
        self._transfers.append(transfer)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):  # who called has gone again
            return
        except OSError as error:  # there are no descriptors left: `pieces` needs none
            _log.debug("files come through the object store: %s", error)
            self._waiting.clear()
            for transfer in list(self._transfers):
                self._end(transfer)
            return
        connection.setblocking(False)
        caller = _Caller(connection, self._expected, self._done)
        self._selector.register(connection, selectors.EVENT_READ, caller)
        self._strangers.append(caller)
        if len(self._strangers) > _STRANGERS:
            self._hang_up(self._strangers.pop(0).connection)

    def _take(self, caller: _Caller) -> None:
        until = time.monotonic() + _TURN
        read = 1
        while read and caller.wanted and time.monotonic() < until:
            try:
                read = caller.connection.recv_into(self._buffer[: min(caller.wanted, _BUFFER)])
            except BlockingIOError:
                break
            except OSError:
                read = 0
            if read:
                caller.hear(self._buffer[:read])
        if caller in self._strangers and (caller.transfer or not read or not caller.wanted):
            self._strangers.remove(caller)
            self._has_come = self._has_come or caller.transfer is not None
        if not read or not caller.wanted:
            if caller.transfer is not None:
                self._end(caller.transfer)
            else:
                self._hang_up(caller.connection)

    def _look(self) -> None:
        """End what does not come about, and what has come to a standstill."""
        by_reference = {transfer.reference: transfer for transfer in self._transfers}
        for reference in cluster.ended(list(by_reference), len(by_reference), 0):
            transfer = by_reference[reference]
            try:
                trouble = cluster.answer(reference)
            except cluster.NoAnswerError:  # which `pieces` will meet too, and tell
                self._end(transfer)
                continue
            # What was sent may be on its way yet; a connection that breaks is heard of by itself.
            if transfer.connection is None and (trouble or transfer.silence > _SECONDS_TO_CONNECT / cluster.LOOK):
                why = trouble or "what it sent did not arrive"
                _log.debug("files of node %s come through the object store: %s", transfer.node_id, why)
                if not self._has_come:
                    self._waiting.clear()  # as it was for this node it will be for the others
                self._end(transfer)
        for transfer in list(self._transfers):
            transfer.silence += 1
            if transfer.silence > cluster.LIMIT / cluster.LOOK:
                why = f"it handed nothing over for {cluster.LIMIT:.0f} s"
                self._lost[transfer.node_id] = lose(transfer.node_id, transfer.arrivals, why)
                self._end(transfer)

    def _end(self, transfer: _Transfer) -> None:
        self._expected.pop(transfer.secret, None)
        self._transfers.remove(transfer)
        if transfer.connection is not None:
            self._hang_up(transfer.connection)
        left = [arrival for arrival in transfer.arrivals if not arrival.is_settled]
        for arrival in left:  # they are begun anew
            self._done(-arrival.written)
            arrival.drop()

    def _hang_up(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        _close(connection)


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)  # a fork of this process may hold it too
    connection.close()
