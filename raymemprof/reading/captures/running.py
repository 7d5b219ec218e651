"""The calls that run at a point of a capture: which are within which, and to which an allocation belongs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ... import journal as contract
from .accounts import Account
from .stacks import StackInfo, block_owner

__all__ = ["RunningCall", "RunningCalls"]

_LEAST_NATIVE = 128 * 1024
"""Bytes from which an allocation on a thread without Python is put down to the call that runs, where nobody saw at
which line it was: Ray's own such threads allocate less at a time."""


@dataclass(eq=False, slots=True)
class RunningCall:
    """A call between its marks."""

    slot: int
    turn: int
    account: Account | None
    parent: RunningCall | None
    owner: tuple[str, str] | None = None
    """For a block: function and file of the frame it stands in."""
    children: list[RunningCall] = field(default_factory=list)
    since: int = 0
    """The mark that followed its beginning."""
    is_overlapped: bool = False
    """Whether a call that is not within it, nor it within that, ran at any time while it did."""


class RunningCalls:
    """The calls that run, by their slots; and blocks by their threads as well."""

    def __init__(self) -> None:
        self.by_slot: dict[int, RunningCall] = {}
        self.blocks: dict[int, list[RunningCall]] = {}
        self._sole: tuple[RunningCall, ...] | None = ()

    def begin(
        self, info: StackInfo, record: Any, slot: int, turn: int, account: Account | None, mark: int
    ) -> RunningCall:
        """Note that a call begins, at a marking record whose stack is `info`."""
        frames = [(name, file) for name, file, _ in reversed(info.stack)]
        slots = [contract.slot_of(name) for name, file in frames if file == contract.FRAME_FILE]
        parents = self.in_slots(slots)
        parents += [block for block in self.blocks.get(record.tid, ()) if block.owner in frames]
        call = RunningCall(slot, turn, account, parents[-1] if parents else None, since=mark)
        if call.parent is not None:
            call.parent.children.append(call)
        if info.marker == contract.BEGIN_BLOCK_FILE:
            call.owner = block_owner(record.stack_trace())
            self.blocks.setdefault(record.tid, []).append(call)
        for other in self.by_slot.values():
            if other not in parents:
                call.is_overlapped = other.is_overlapped = True
        self.by_slot[slot] = call
        self._sole = None
        return call

    def end(self, call: RunningCall) -> None:
        """Note that a call ends."""
        del self.by_slot[call.slot]
        self._sole = None
        if call.parent is not None:
            call.parent.children.remove(call)
        for child in call.children:
            child.parent = call.parent
            if call.parent is not None:
                call.parent.children.append(child)
        if call.owner is not None:
            for tid, blocks in list(self.blocks.items()):
                if call in blocks:
                    blocks.remove(call)
                    if not blocks:
                        del self.blocks[tid]

    def in_slots(self, slots: Iterable[int]) -> list[RunningCall]:
        """Return those whose frames a stack has."""
        return [self.by_slot[slot] for slot in slots if slot in self.by_slot]

    def at(self, info: StackInfo) -> list[RunningCall]:
        """Return those that were at a stack, whichever thread it is of."""
        calls = self.in_slots(info.slots)
        for blocks in self.blocks.values():
            calls += [block for block in blocks if block.owner in info.owners and block not in calls]
        return calls

    def of(self, info: StackInfo, tid: int, size: int) -> list[RunningCall]:
        """Return those that an allocation of a thread belongs to."""
        calls = self.in_slots(info.slots)
        for block in self.blocks.get(tid, ()):
            if block.owner in info.owners and (block.parent is None or block.parent in calls):
                calls.append(block)
        if not calls and (info.stray or info.is_native) and (not info.is_native or size >= _LEAST_NATIVE):
            calls.extend(self._sole_chain())
        return calls

    def _sole_chain(self) -> tuple[RunningCall, ...]:
        """The calls that run, if they are one within the other."""
        if self._sole is None:
            tops = [call for call in self.by_slot.values() if call.parent is None]
            chain: list[RunningCall] = []
            while len(tops) == 1:
                chain.append(tops[0])
                tops = tops[0].children
            self._sole = () if tops else tuple(chain)
        return self._sole
