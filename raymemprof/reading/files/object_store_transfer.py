"""Files in pieces through Ray's object store, from any node to whoever asks, also through Ray Client."""

from __future__ import annotations

import os
import pickle
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ... import cluster
from ... import journal as contract
from ...errors import CaptureError
from ..catalog import fetchable
from .incoming_file import Arrival, State, lose, state_of

__all__ = ["copy", "give", "receive"]

_PIECE = 16 * 2**20
"""Bytes of a large file, or of many small ones, that a node hands out at a time: with less or more Ray is slower."""
_MOST_FILES = 500
"""Files of which a piece may be."""
_BYTES_AT_ONCE = 4 * _PIECE
"""How much is on its way: so much lies in the object store, and little more."""
_PIECES_AT_ONCE = 32
_PIECES_OF_A_NODE = 4

_Piece = list[tuple[Arrival, int, int]]
"""Parts of files that are handed out together: of which, from where, and how many bytes."""


def _pieces(arrivals: Iterable[Arrival]) -> Iterator[_Piece]:
    """Cut files into pieces: many small files are one."""
    piece: _Piece = []
    size = 0
    for arrival in arrivals:
        offset = 0
        while True:
            length = min(_PIECE - size, arrival.file.state.size - offset)
            piece.append((arrival, offset, length))
            size += length
            offset += length
            if size == _PIECE or len(piece) == _MOST_FILES:
                yield piece
                piece, size = [], 0
            if offset == arrival.file.state.size:
                break
    if piece:
        yield piece


def copy(arrivals: list[Arrival], done: Callable[[int], object]) -> None:
    """Bring what lies on this machine."""
    for piece in _pieces(arrivals):
        parts = [
            (arrival.source.path.with_name(arrival.file.name), offset, length) for arrival, offset, length in piece
        ]
        data, answers = _read(_open_here, parts)
        _take(piece, memoryview(data), answers)
        done(len(data))


def _open_here(path: Path) -> int:
    try:
        return contract.open_plain(path, follow=True)
    except OSError as error:
        raise CaptureError(path, f"it cannot be read: {error.strerror}.") from None


def _take(piece: _Piece, data: memoryview, answers: list[State | CaptureError]) -> None:
    start = 0
    for (arrival, offset, length), answer in zip(piece, answers, strict=True):
        if arrival.is_settled:
            pass
        elif isinstance(answer, CaptureError):
            arrival.fail(answer.reason)
        else:
            arrival.write(data[start : start + length], offset)
            arrival.settle(answer)
        start += length


def receive(by_node: dict[str, list[Arrival]], done: Callable[[int], object]) -> dict[str, cluster.MissingNode]:
    """Bring files from nodes, a few pieces under way at a time; returns the nodes that were lost meanwhile."""
    is_client = cluster.here() is None
    queues = {node_id: _pieces(arrivals) for node_id, arrivals in by_node.items()}
    turns = deque(by_node)
    under_way: dict[Any, tuple[str, _Piece, int]] = {}
    heard: dict[str, float] = {}
    lost: dict[str, cluster.MissingNode] = {}

    def give_up(node_id: str, why: str) -> None:
        lost[node_id] = lose(node_id, by_node[node_id], why)
        queues.pop(node_id, None)
        for reference in [one for one, (of_node, _, _) in under_way.items() if of_node == node_id]:
            del under_way[reference]

    while queues or under_way:
        for _ in range(len(turns)):  # each node in its turn, as long as more may be under way
            node_id = turns[0]
            turns.rotate(-1)
            at_work = sum(of_node == node_id for of_node, _, _ in under_way.values())
            is_full = sum(size for _, _, size in under_way.values()) >= _BYTES_AT_ONCE
            if node_id not in queues or at_work >= _PIECES_OF_A_NODE:
                continue
            if is_full or len(under_way) >= _PIECES_AT_ONCE:
                break
            piece = next(queues[node_id], None)
            if piece is None:
                del queues[node_id]
                continue
            parts = [(arrival.file.name, offset, length) for arrival, offset, length in piece]
            size = sum(length for _, _, length in parts)
            under_way[cluster.ask(node_id, give, parts, is_client)] = (node_id, piece, size)
            if at_work == 0:
                heard[node_id] = time.monotonic()
        if not under_way:
            continue
        for reference in cluster.ended(list(under_way), 1, cluster.LOOK):
            node_id, piece, size = under_way.pop(reference)
            try:
                data, checksum, answers = cluster.answer(reference)
            except cluster.NoAnswerError as error:
                give_up(node_id, str(error))
                continue
            heard[node_id] = time.monotonic()
            with memoryview(data) as view:
                if len(view) != size or zlib.crc32(view) != checksum:
                    for arrival, _, _ in piece:
                        arrival.spoil()
                else:
                    _take(piece, view, answers)
            del data
            done(size)
        now = time.monotonic()
        for node_id in {of_node for of_node, _, _ in under_way.values()}:
            if now - heard[node_id] > cluster.LIMIT:
                give_up(node_id, f"it handed nothing over for {cluster.LIMIT:.0f} s")
    return lost


def give(parts: list[tuple[str, int, int]], to_client: bool = False) -> tuple[Any, int, list[State | CaptureError]]:
    """Read parts of files that may be had: names, offsets and lengths.

    Returns them one after the other, their checksum, and what each file was like after that.
    """
    data, answers = _read(fetchable.open_file, parts)
    # As a buffer it goes to the object store and from there to a file without a copy; Ray Client's server takes none.
    return bytes(data) if to_client else pickle.PickleBuffer(data), zlib.crc32(data), answers


def _read(
    open_file: Callable[[Any], int], parts: list[tuple[Any, int, int]]
) -> tuple[bytearray, list[State | CaptureError]]:
    data = bytearray(sum(length for _, _, length in parts))
    answers: list[State | CaptureError] = []
    start = 0
    with memoryview(data) as view:
        for name, offset, length in parts:
            try:
                descriptor = open_file(name)
            except CaptureError as error:
                answers.append(error)
            else:
                try:
                    answers.append(_read_part(descriptor, offset, view[start : start + length]))
                except OSError as error:
                    answers.append(CaptureError(name, f"it cannot be read: {error.strerror}."))
                finally:
                    os.close(descriptor)
            start += length
    return data, answers


def _read_part(descriptor: int, offset: int, into: memoryview) -> State:
    """Fill a buffer from a file, and return what that is like afterwards."""
    while len(into):
        read = os.preadv(descriptor, [into], offset)
        if not read:
            return State(0, 0, 0)  # it has become shorter: no longer what it was
        into, offset = into[read:], offset + read
    return state_of(descriptor)
