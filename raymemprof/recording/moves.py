"""By how much memory changed from one observation to the next, and at which lines the calls were."""

from __future__ import annotations

from typing import Any

from .observation import LEAST_MOVE, Observation
from .places import RawStack

__all__ = ["LEAST_SAMPLE", "Moves"]

LEAST_SAMPLE = 2**20
"""Bytes of changes from which a sample is written."""
_MOST_MOVES = 256
"""Changes that are remembered with their lines until a sample may be written."""


class Moves:
    """The changes that no sample has said yet."""

    def __init__(self) -> None:
        self._moves: list[list[Any]] = []
        self.size = 0
        """Bytes of all of them."""
        self._at: tuple[RawStack, ...] = ()
        self.noted = Observation(0, (), 0, 0, (0, 0, 0), 0, 0, None, 0)
        """The observation that changes are counted from."""
        self.is_moving = False
        """Whether memory changes so that it is worth looking more often."""

    def note(self, now: Observation) -> int:
        """Note what has changed, and return by how much."""
        last = self.noted
        used, pooled, shared = now.in_use - last.in_use, now.pools - last.pools, now.shared - last.shared
        moved = max(abs(used), abs(pooled), abs(shared))
        if max(abs(used), abs(pooled)) >= LEAST_MOVE:
            self.size += abs(used) + abs(pooled)
            move = self._moves[-1] if self._moves else None
            if move is not None and move[0] == self._at and move[1] == now.at:
                move[2] += used
                move[3] += pooled
            elif len(self._moves) < _MOST_MOVES:
                self._moves.append([self._at, now.at, used, pooled])
            else:
                self._moves[-1][:2] = (), ()  # of no line, rather than of a wrong one
                self._moves[-1][2] += used
                self._moves[-1][3] += pooled
            self.noted = now
        elif abs(shared) >= LEAST_MOVE:
            self.noted = now._replace(private=last.private, free=last.free, pools=last.pools)
        self.is_moving = moved >= LEAST_SAMPLE
        self._at = now.at
        return moved

    def take(self) -> list[list[Any]]:
        """Return the changes, and forget them: each is the stacks before and after, and two figures of bytes."""
        moves, self._moves, self.size = self._moves, [], 0
        return moves
