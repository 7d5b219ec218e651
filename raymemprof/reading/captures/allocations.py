"""Allocations that are live, and the accounts that they are in: takes them out as they end."""

from __future__ import annotations

from collections import deque

from .accounts import Place

__all__ = ["LiveAllocation", "Shares", "drop", "forget", "note_temporary", "unmap"]

Shares = tuple[Place | None, tuple[Place, ...]]
"""Where an allocation is accounted for: nearly always at one place, or at none; else at more."""
LiveAllocation = tuple[int, Place | None, tuple[Place, ...]]
"""A live allocation: its size, and where it is accounted for."""


def _places(allocation: LiveAllocation) -> tuple[Place, ...]:
    _, place, more = allocation
    return (place, *more) if place is not None else ()


def forget(address: int, allocation: LiveAllocation) -> None:
    """Take a large allocation out of those that its accounts know by their addresses."""
    for place in _places(allocation):
        if not place.account.closed:
            place.account.large.pop(address, None)


def drop(table: dict[int, LiveAllocation], address: int) -> None:
    """Account for the end of an allocation."""
    allocation = table.pop(address)
    forget(address, allocation)
    for place in _places(allocation):
        place.account.remove(place, allocation[0])


def unmap(maps: dict[int, LiveAllocation], address: int, size: int) -> None:
    """Take a range out of the mappings, which may be parts of several."""
    entry = maps.get(address)
    if entry is not None and entry[0] == size:
        drop(maps, address)
        return
    end = address + size
    hit = [(start, entry) for start, entry in maps.items() if start < end and address < start + entry[0]]
    for start, entry in hit:
        length, place, more = entry
        del maps[start]
        before = {one: one.account.large.get(start) for one in _places(entry)}
        forget(start, entry)
        kept = parts = 0
        if start < address:
            maps[start] = (address - start, place, more)
            kept += address - start
            parts += 1
        if end < start + length:
            maps[end] = (start + length - end, place, more)
            kept += start + length - end
            parts += 1
        for one, was_large in before.items():
            account = one.account
            account.remove(one, length - kept, 1 - parts)  # each part that is left is an allocation, and ends as one
            if was_large is not None and not account.closed:
                if start < address:
                    account.large[start] = (one, address - start, was_large[2])
                if end < start + length:
                    account.large[end] = (one, start + length - end, was_large[2])


def note_temporary(recent: deque[tuple[int, LiveAllocation]] | None, address: int) -> None:
    """Count an allocation as temporary that was freed before two more were made on its thread, as memray does."""
    for item in recent or ():
        if item[0] == address:
            for place in _places(item[1]):
                if not place.account.closed:
                    place.brief_bytes += item[1][0]
                    place.brief_allocations += 1
            recent.remove(item)  # type: ignore[union-attr]
            return
