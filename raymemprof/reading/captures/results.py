"""What the accounts come to: figures of each call that was asked for, and sums by place in the code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .accounts import Account, Baseline
from .model import CallPlace, Figures, Request, Row, Stack
from .resident import Held, held
from .running import RunningCall
from .stacks import StackInfo, cut, inspect
from .totals import RowSum

__all__ = ["Results"]

_WORTH_SAYING = 2**20


class Results:
    """The accounts of the calls that were asked for, or of the whole capture."""

    def __init__(self, request: Request, stacks: dict[Any, StackInfo]) -> None:
        self._request = request
        self._stacks = stacks
        self._held: dict[tuple[int, str], Held] = {}
        self.by_place: dict[CallPlace, tuple[Account, RunningCall]] = {}
        self.everything: Account | None = None
        """The account of the whole capture."""
        self.unended: frozenset[CallPlace] = frozenset()
        """The calls that had not ended where the capture ends."""

    def __iter__(self) -> Iterator[tuple[CallPlace | None, Account, RunningCall | None]]:
        for place, (account, call) in self.by_place.items():
            yield place, account, call
        if self.everything is not None:
            yield None, self.everything, None

    def figures(self) -> tuple[Figures, ...]:
        """The accounts' totals."""
        return tuple(self._figures(place, account, call) for place, account, call in self)

    def rows(self) -> dict[str, tuple[Row, ...]]:
        """The accounts by place in the code, all of them summed, for each view."""
        return {
            view: RowSum(
                Row(
                    cut(self._stacks[key[0]], call),
                    key[1],
                    entry.bytes,
                    entry.allocations,
                    entry.reserved,
                    entry.shared,
                )
                for place, account, call in self
                if not (place in self.unended and place in self._request.complete)
                for key, entry in self._of(account, view).entries.items()
                if entry.bytes or entry.reserved or entry.shared
            ).rows()
            for view in self._request.views
        }

    def cut(self, stack: Stack) -> Stack | None:
        """The stack from its call's frame on, or None where it is not in any call that was asked for."""
        info = inspect(stack)
        if info.marker is not None:
            return None
        calls = [call for _, call in self.by_place.values()]
        if self.everything is not None:
            return cut(info, None) if info.slots else None
        for call in calls:
            if call.slot in info.slots or (call.owner is not None and call.owner in info.owners):
                return cut(info, call)
        return None

    def _of(self, account: Account, view: str) -> Held:
        """What an account held, worked out once."""
        known = self._held.get((id(account), view))
        if known is None:
            known = self._held[id(account), view] = held(account, view)
        return known

    def _figures(self, place: CallPlace | None, account: Account, call: RunningCall | None) -> Figures:
        peak = self._of(account, "peak")
        notes = []
        if call is not None and call.is_overlapped:
            notes.append("other calls ran in its process beside it, so what the process grew by is not its alone")
        libraries = peak.unseen_libraries
        if libraries >= _WORTH_SAYING:
            notes.append(f"{libraries / 2**20:,.1f} MiB of what is not seen is the data of loaded libraries")
        if peak.in_malloc >= _WORTH_SAYING:
            what = "was allocated outside of the call, by Ray's own threads say, or while libraries were loaded"
            notes.append(f"{peak.in_malloc / 2**20:,.1f} MiB of what is not seen {what}")
        if place is None and account.baseline is not None:
            notes.append(_before(account.baseline))
        if peak.opaque:
            notes.append(f"memray cannot see into {' and '.join(peak.opaque)}: that is estimated")
        return Figures(
            path=self._request.path,
            place=place,
            peak=peak.bytes,
            alive_at_end=self._of(account, "leaks").bytes,
            allocations=account.allocations,
            ended=place not in self.unended,
            reserved=peak.reserved,
            shared=peak.shared,
            grew=peak.grew,
            retained=peak.retained,
            unseen=peak.unseen,
            released=peak.released,
            retained_before=account.baseline.retained if account.baseline is not None else None,
            retained_at_end=self._of(account, "leaks").retained,
            notes=tuple(notes),
            owner=call.owner if call is not None else None,
        )


def _before(base: Baseline) -> str:
    """What a capture's process had when it began, which no record tells of."""
    parts = []
    if base.retained is not None and base.retained >= _WORTH_SAYING:
        parts.append(f"allocators retained {base.retained / 2**20:,.1f} MiB")
    if base.pools >= _WORTH_SAYING:
        parts.append(f"Arrow's memory pool held {base.pools / 2**20:,.1f} MiB")
    of_these = f", of which {' and '.join(parts)}" if parts else ""
    return f"the process had {base.memory / 2**20:,.1f} MiB before tracing began{of_these}"
