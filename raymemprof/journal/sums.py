"""Sums of calls that have ended, which can be added up: over hours, processes and nodes."""

from __future__ import annotations

import math
from collections import Counter
from itertools import repeat
from operator import add, sub, truediv

from .events import Begin, Children, End, Sum

__all__ = ["BUCKET", "OTHER_NAMES", "add_call", "add_calls", "add_sum", "bucket_of", "peak_of", "was_told_to_end"]

BUCKET = 1.02
"""Peaks are counted in buckets. Each is so many times as large as the one before, so a percentile is within 1 %."""
_LOG_BUCKET = math.log(BUCKET)
OTHER_NAMES = "(other names)"
"""What a sum is of where a process made up so many names that they are not told apart."""


def add_call(to: Sum, begin: Begin, end: End, family: Children | None) -> int:
    """Count a call that has ended, and return by how much it grew. A million calls go through here."""
    before = begin.memory + begin.children
    if family is not None or end.total:  # else the same in less time
        _, peak, _ = peak_of(begin, end, family, 0)
    else:
        peak = end.peak if end.peak > before else before
    statuses, peaks, status, bucket = to.statuses, to.peaks, end.status, bucket_of(peak)
    statuses[status] = statuses.get(status, 0) + 1
    peaks[bucket] = peaks.get(bucket, 0) + 1
    if peak > to.peak:
        to.peak = peak
    to.kept += end.memory - begin.memory
    if begin.time < to.first:
        to.first = begin.time
    if begin.time > to.last:
        to.last = begin.time
    if begin.slot is not None:
        to.traced += 1
    if end.ray_data_peak > to.ray_data_peak:
        to.ray_data_peak = end.ray_data_peak
    return peak - before


def add_calls(to: Sum, calls: list[tuple[Begin, End, Children | None]]) -> tuple[list[int], list[int], list[int]]:
    """Count calls that have ended alike, the same as one by one in half the time.

    Returns the peak of each, by how much it grew, and what it left in its process.
    """
    begins, ends, families = zip(*calls, strict=True)
    memory = [begin.memory for begin in begins]
    before = list(map(add, memory, [begin.children for begin in begins]))
    if any(families) or any([end.total for end in ends]):
        peaks = [peak_of(*call, 0)[1] for call in calls]
    else:  # the same in less time
        peaks = [end.peak if end.peak > least else least for end, least in zip(ends, before, strict=True)]
    grown = list(map(sub, peaks, before))
    kept = list(map(sub, [end.memory for end in ends], memory))
    times = [begin.time for begin in begins]
    status = calls[0][1].status
    to.statuses[status] = to.statuses.get(status, 0) + len(calls)
    if min(peaks) > 0:  # as in `bucket_of`
        buckets = list(map(round, map(truediv, map(math.log, peaks), repeat(_LOG_BUCKET))))
    else:
        buckets = list(map(bucket_of, peaks))
    for bucket, count in Counter(buckets).items():
        to.peaks[bucket] = to.peaks.get(bucket, 0) + count
    to.peak = max(to.peak, *peaks)
    to.ray_data_peak = max(to.ray_data_peak, *[end.ray_data_peak for end in ends])
    to.kept += sum(kept)
    to.first, to.last = min(to.first, *times), max(to.last, *times)
    to.traced += len(calls) - [begin.slot for begin in begins].count(None)
    return peaks, grown, kept


def add_sum(to: Sum, other: Sum) -> None:
    """Add what is known of other calls."""
    for status, count in other.statuses.items():
        to.statuses[status] = to.statuses.get(status, 0) + count
    for bucket, count in other.peaks.items():
        to.peaks[bucket] = to.peaks.get(bucket, 0) + count
    to.peak = max(to.peak, other.peak)
    to.ray_data_peak = max(to.ray_data_peak, other.ray_data_peak)
    to.kept += other.kept
    to.traced += other.traced
    to.first, to.last = min(to.first, other.first), max(to.last, other.last)


def peak_of(begin: Begin, end: End | None, family: Children | None, seen: int) -> tuple[int, int, int]:
    """Return a call's peak: of its process alone, with its children, and what they added when they had most. Bytes.

    `seen` is the most that a call which has not ended was seen to have.
    """
    own = end.peak if end is not None else max(seen, begin.memory)
    # Those that were there when it began may have gone before they were looked at again.
    total, children = begin.memory + begin.children, begin.children
    if family is not None:
        total, children = max(total, family.total), max(children, family.memory)
    if end is not None:
        total, children = max(total, end.total), max(children, end.children)
    return own, max(own, total), children


def bucket_of(size: int) -> int:
    """Return the bucket that a size is counted in."""
    return round(math.log(size) / _LOG_BUCKET) if size > 0 else -1


def was_told_to_end(end: End) -> bool:
    """Whether a SIGTERM may have ended it."""
    return end.status == "failed" and (end.error or "").startswith("SystemExit")
