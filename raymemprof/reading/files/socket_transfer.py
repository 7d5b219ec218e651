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
import socket
import socketserver
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedWriter
from typing import Any, cast

from ... import cluster
from ...errors import CaptureError
from ..catalog import fetchable
from .incoming_file import Arrival, State, lose, state_of

__all__ = ["receive", "send"]

_BUFFER = 2**20
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
        descriptor = fetchable.open_file(name)
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
    if cluster.here() is None or cluster.uses_tls():
        return {}  # this process is no part of the cluster, or its nodes do not talk in the clear
    try:
        reception = _Reception(by_node, done)
    except OSError:  # the address that the cluster knows this node by is none of its own
        return {}
    with reception:
        return reception.run()


@dataclass(eq=False)
class _Transfer:
    """What one node sends."""

    node_id: str
    arrivals: list[Arrival]
    secret: bytes
    reference: Any
    silence: int = 0
    """How many looks ago it gave a sign of life. Not seconds: where this process did not look, nobody was heard."""
    caller: _Caller | None = None
    """The connection that it comes over, once there is one."""


class _Caller(socketserver.BaseRequestHandler):
    """A connection, and the thread that takes what comes over it."""

    server: _Reception
    request: socket.socket

    def setup(self) -> None:
        """Nobody knows yet who calls."""
        self.transfer: _Transfer | None = None
        self.is_waiting = False
        """Whether it waits for the other side, and not for a disk here."""
        self.has_ended = threading.Event()
        self.is_unwanted = False
        self.trouble: Exception | None = None
        """What went wrong here, and is the asker's to know."""

    def handle(self) -> None:
        """Take what comes, until all is there, or it is not what was asked for."""
        try:
            self.transfer = self.server.identify(self._read(_SECRET), self)
            if self.transfer is not None:
                self._take(self.transfer.arrivals)
        except EOFError:  # the rest is for `pieces`
            pass
        except Exception as error:
            self.trouble = error
        finally:
            self.has_ended.set()

    def _take(self, arrivals: list[Arrival]) -> None:
        buffer = memoryview(bytearray(_BUFFER))
        for arrival in arrivals:
            size = self._read_number()
            if size not in (0, arrival.file.state.size):
                return
            checksum = 0
            while arrival.written < size:
                data = buffer[: self._read_into(buffer[: size - arrival.written])]
                checksum = zlib.crc32(data, checksum)
                self.server.count(len(data))
                arrival.write(data, arrival.written)
            length = self._read_number()
            if length > _LONGEST_WORD:
                return
            _settle(arrival, self._read(length), checksum)

    def _read_number(self) -> int:
        return int.from_bytes(self._read(_NUMBER), "big")

    def _read(self, size: int) -> bytes:
        found = memoryview(bytearray(size))
        read = 0
        while read < size:
            read += self._read_into(found[read:])
        return bytes(found)

    def _read_into(self, buffer: memoryview) -> int:
        """Wait for bytes, and return how many came; raises `EOFError` where no more come, or are wanted."""
        if self.is_unwanted:  # Linux goes on to hand over what comes after a shutdown, as long as it does not run dry
            raise EOFError
        self.is_waiting = True
        try:
            read = self.request.recv_into(buffer)
        except OSError:
            read = 0
        self.is_waiting = False
        if not read:
            raise EOFError
        if self.transfer is not None:
            self.transfer.silence = 0
        return read

    def hang_up(self) -> None:
        """Have the thread end."""
        self.is_unwanted = True
        _shut_down(self.request)


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


class _Reception(socketserver.ThreadingTCPServer):
    """Several nodes that send at a time, each to a thread of its own; the asker's thread lets them in and watches."""

    timeout = 0.05
    """Seconds to wait for one that calls before it is seen who has ended."""
    request_queue_size = 128

    def __init__(self, by_node: dict[str, list[Arrival]], done: Callable[[int], object]) -> None:
        self._waiting = list(by_node.items())
        self._done = done
        self._transfers: list[_Transfer] = []
        self._expected: dict[bytes, _Transfer] = {}
        """By the secret that a node says, which is good for once."""
        self._has_come = False
        """Whether any connection of a node's has come about."""
        self._is_full = False
        """Whether there are no descriptors left for connections."""
        self._strangers: list[socket.socket] = []
        self._lost: dict[str, cluster.MissingNode] = {}
        self._lock = threading.Lock()
        host = cluster.ip_address()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), _Caller)
        self.socket.settimeout(self.timeout)  # who calls may have gone again before it is let in

    def run(self) -> dict[str, cluster.MissingNode]:
        """Take what comes until nothing more is to come."""
        looked = time.monotonic()
        while self._waiting or self._transfers:
            while self._waiting and len(self._transfers) < _NODES_AT_ONCE:
                self._begin(*self._waiting.pop())
            self.handle_request()
            for transfer in list(self._transfers):
                if self._is_full or (transfer.caller is not None and transfer.caller.has_ended.is_set()):
                    self._end(transfer)
            if time.monotonic() - looked > cluster.LOOK:
                self._look()
                looked = time.monotonic()
        return self._lost

    def server_close(self) -> None:
        """Leave nothing running, also after Ctrl-C: who sends finds that nobody listens any more."""
        with self._lock:
            self._expected.clear()
            strangers = list(self._strangers)
            callers = [one.caller for one in self._transfers if one.caller is not None]
        for connection in strangers:
            _shut_down(connection)
        for caller in callers:
            caller.hang_up()
        super().server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Let one in that calls."""
        try:
            return super().get_request()
        except (TimeoutError, ConnectionError):  # it has gone again
            raise
        except OSError as error:  # there are no descriptors left: `pieces` needs none
            _log.debug("files come through the object store: %s", error)
            self._waiting.clear()
            self._is_full = True
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for one that calls; of those that have not said who they are only the latest are kept."""
        with self._lock:
            self._strangers.append(request)
            if len(self._strangers) > _STRANGERS:
                _shut_down(self._strangers.pop(0))
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection whose thread ends."""
        with self._lock:
            if request in self._strangers:
                self._strangers.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where no thread can be started: the connection is closed, and `pieces` needs none."""
        _log.debug("a connection was closed", exc_info=True)

    def identify(self, secret: bytes, caller: _Caller) -> _Transfer | None:
        """Return what is to come from who says a secret; None where that is nothing, or came before."""
        with self._lock:
            transfer = self._expected.pop(secret, None)
            if transfer is not None:
                transfer.caller = caller
                self._has_come = True
                if caller.request in self._strangers:
                    self._strangers.remove(caller.request)
        return transfer

    def count(self, size: int) -> None:
        """Tell of bytes that have come."""
        with self._lock:
            self._done(size)

    def _begin(self, node_id: str, arrivals: list[Arrival]) -> None:
        secret = secrets.token_bytes(_SECRET)
        files = [(arrival.file.name, arrival.file.state.size) for arrival in arrivals]
        address = self.server_address[:2]
        reference = cluster.ask(node_id, send, files, address, secret, longest=math.inf)  # it ends with the connection
        transfer = _Transfer(node_id, arrivals, secret, reference)
        self._expected[secret] = transfer
        self._transfers.append(transfer)

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
            if transfer.caller is None and (trouble or transfer.silence > _SECONDS_TO_CONNECT / cluster.LOOK):
                why = trouble or "what it sent did not arrive"
                _log.debug("files of node %s come through the object store: %s", transfer.node_id, why)
                if not self._has_come:
                    self._waiting.clear()  # as it was for this node it will be for the others
                self._end(transfer)
        for transfer in list(self._transfers):
            if transfer.caller is None or transfer.caller.is_waiting:
                transfer.silence += 1
            if transfer.silence > cluster.LIMIT / cluster.LOOK:
                self._end(transfer, f"it handed nothing over for {cluster.LIMIT:.0f} s")

    def _end(self, transfer: _Transfer, why_lost: str | None = None) -> None:
        with self._lock:
            self._expected.pop(transfer.secret, None)
        self._transfers.remove(transfer)
        if transfer.caller is not None:
            transfer.caller.hang_up()
            transfer.caller.has_ended.wait()
            if transfer.caller.trouble is not None:
                raise transfer.caller.trouble
        if why_lost is not None:
            self._lost[transfer.node_id] = lose(transfer.node_id, transfer.arrivals, why_lost)
        for arrival in transfer.arrivals:
            if not arrival.is_settled:  # it is begun anew
                self.count(-arrival.written)
                arrival.drop()


def _shut_down(connection: socket.socket) -> None:
    """End a connection at once, also where a fork of this process holds it too; its thread closes it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
