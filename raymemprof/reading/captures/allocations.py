"""Allocations that are live, and the accounts that they are in: takes them out as they end."""

from __future__ import annotations

from collections import deque

from .accounts import Account

__all__ = ["LiveAllocation", "Shares", "drop", "forget", "note_temporary", "unmap"]

Shares = tuple[tuple[Account, list[int]], ...]
"""The accounts that an allocation is in, each with the allocation's place there."""
LiveAllocation = tuple[int, Shares]
"""A live allocation: its size, and where it is accounted for."""


def forget(address: int, shares: Shares) -> None:
    """Take a large allocation out of those that its accounts know by their addresses."""
    for account, _ in shares:
        if not account.closed:
            account.large.pop(address, None)


def drop(table: dict[int, LiveAllocation], address: int) -> None:
    """Account for the end of an allocation."""
    size, shares = table.pop(address)
    forget(address, shares)
    for account, place in shares:
        account.remove(place, size)


def unmap(maps: dict[int, LiveAllocation], address: int, size: int) -> None:
    """Take a range out of the mappings, which may be parts of several."""
    entry = maps.get(address)
    if entry is not None and entry[0] == size:
        drop(maps, address)
        return
    end = address + size
    hit = [(start, entry) for start, entry in maps.items() if start < end and address < start + entry[0]]
    for start, (length, shares) in hit:
        del maps[start]
        before = {id(account): account.large.get(start) for account, _ in shares}
        forget(start, shares)
        kept = parts = 0
        if start < address:
            maps[start] = (address - start, shares)
            kept += address - start
            parts += 1
        if end < start + length:
            maps[end] = (start + length - end, shares)
            kept += start + length - end
            parts += 1
        for account, place in shares:
            account.remove(place, length - kept, 1 - parts)  # each part that is left is an allocation, and ends as one
            was_large = before[id(account)]
            if was_large is not None and not account.closed:
                if start < address:
                    account.large[start] = (place, address - start, was_large[2])
                if end < start + length:
                    account.large[end] = (place, start + length - end, was_large[2])


def note_temporary(recent: deque[tuple[int, LiveAllocation]] | None, address: int) -> None:
    """Count an allocation as temporary that was freed before two more were made on its thread, as memray does."""
    for item in recent or ():
        if item[0] == address:
            size, shares = item[1]
            for account, place in shares:
                if not account.closed:
                    place[5] += size
                    place[6] += 1
            recent.remove(item)  # type: ignore[union-attr]
            return
