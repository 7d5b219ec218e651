"""Which of the moments at which a process was sampled stands best for a call's peak."""

from __future__ import annotations

from .accounts import Account
from .samples import Look, Sample

__all__ = ["growth_of_retained", "is_peak", "is_sure", "released_at"]

_PEAK_TOLERANCE = 8 * 2**20
_PEAK_TOLERANCE_PART = 0.05
"""A sample stands for a call's peak where its memory is lower by no more than this, or this part of the growth."""
_MAINLY = 0.9
"""A moment counts as good as another if this part of what that one had was held then."""


def growth_of_retained(account: Account, sample: Sample, look: Look | None) -> int | None:
    """By how much what allocators keep of freed memory has grown since a call began; None where it is not known."""
    retained = sample.retained(look)
    before = account.baseline.retained if account.baseline is not None else None
    return None if retained is None or before is None else retained - before


def released_at(account: Account, sample: Sample, look: Look | None) -> int:
    """How much of what the process had before a call began it has given back at a sample."""
    return account.released(growth_of_retained(account, sample, look))


def is_sure(account: Account, sample: Sample, look: Look | None) -> bool:
    """Whether the process's memory shows that a sample was taken at a call's peak."""
    facts, base = account.facts, account.baseline
    if base is None:
        return False
    growth = sample.memory - base.memory + released_at(account, sample, look)
    if facts is not None and facts.peak is not None:
        most = facts.peak - base.memory
        if growth < most - max(min(_PEAK_TOLERANCE, most // 2), most * _PEAK_TOLERANCE_PART):
            return False
    retained = sample.retained(look)
    if retained is None or base.retained is None:  # it may be memory that was freed and stays with malloc
        return growth >= _PEAK_TOLERANCE and account.current >= growth // 2
    return growth - (retained - base.retained) >= _PEAK_TOLERANCE


def is_peak(account: Account, sample: Sample, look: Look | None, sure: bool) -> bool:
    """Whether a sample stands better for an account's peak than what did so far."""
    base, before = account.baseline, account.at_peak
    if base is None:
        return False
    if before is None or before.sample is None:
        return True
    if not sure or not before.is_sure:
        if sure or before.is_sure:
            return sure
        if sample.look is not None:  # the later one counts: what it had asked for it may have touched meanwhile
            return account.current >= before.current * _MAINLY
        return before.sample.look is None and account.current >= before.current
    gain = sample.memory + released_at(account, sample, look) - before.sample.memory - before.released
    kept, kept_before = sample.retained(look), before.sample.retained(before.look)
    if kept is not None:  # what allocators keep of freed memory nobody holds
        if kept_before is None:
            kept_before = (base.retained or 0) + max(before.sample.memory - base.memory - before.current, 0)
        gain -= kept - kept_before
    step = max(sample.memory + before.released - base.memory, 0) // 50 + 2**20
    better = _quality(sample, look) - _quality(before.sample, before.look)
    if better > 0:
        # What was freed since may be with malloc still: then the process has as much, and the call does not.
        return gain >= -step and account.current >= _MAINLY * before.current
    if abs(gain) <= step and better == 0:
        # The process has as much as before: what it uses, or shares, of that may have grown.
        return account.current > before.current + step or sample.shared > before.sample.shared + step
    return gain > step


def _quality(sample: Sample, look: Look | None) -> int:
    """How much is known of a moment."""
    return 2 if sample.look is not None else 1 if sample.retained(look) is not None else 0
