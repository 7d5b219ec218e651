"""How much of a CPU looks at what is resident may take, and how many samples of a capture may be written."""

from __future__ import annotations

import time

__all__ = ["LookBudget"]

_MOST_WRITTEN = 4 * 2**20
"""Bytes of samples of a capture after which only what calls hold at new peaks is written, and that seldom."""
_SELDOM = 0.1
"""Samples a second that are written then: some 25 MB a day."""
_SHARE = 0.004
"""The part of a CPU that looking takes in the long run; to note where calls are, at each tick, takes about as much."""
_MOST_SAVED = 0.05
"""Seconds of looking that may be saved up."""
_UNKNOWN_COST = 0.001
"""Seconds that a look is taken to cost until one has shown it."""
_SAMPLES_A_SECOND = 5.0
_MOST_SAMPLES_AT_ONCE = 50.0


class LookBudget:
    """What is left for looks and samples of one capture."""

    def __init__(self) -> None:
        self._saved = _MOST_SAVED
        self.earned_at = time.monotonic()
        """When `earn` was called last."""
        self._cost = _UNKNOWN_COST
        self._samples = _MOST_SAMPLES_AT_ONCE
        self._written = 0

    @property
    def is_much_written(self) -> bool:
        """Whether so much has been written that samples are to be seldom from now on."""
        return self._written >= _MOST_WRITTEN

    def earn(self) -> None:
        """Add what has come since the last time."""
        now = time.monotonic()
        passed = now - self.earned_at
        self._saved = min(self._saved + passed * _SHARE, max(_MOST_SAVED, self._cost))
        rate = _SELDOM if self.is_much_written else _SAMPLES_A_SECOND
        self._samples = min(self._samples + passed * rate, _MOST_SAMPLES_AT_ONCE)
        self.earned_at = now

    def allows_sample(self) -> bool:
        """Whether a sample without a look may be written."""
        return self._samples >= 1

    def allows_look(self) -> bool:
        """Whether there is time for a look, and room for what it says."""
        return (not self.is_much_written or self.allows_sample()) and self._saved >= self._cost

    def has_plenty(self) -> bool:
        """Whether there is time for less than a look: what looks may take is spared for them."""
        return self._saved >= _MOST_SAVED / 2

    def take_sample(self) -> None:
        """Count a sample that is about to be written."""
        self._samples -= 1

    def spend(self, cost: float, is_look: bool) -> None:
        """Count the seconds that a sample took; a look shows what the next one will cost."""
        self._saved -= cost
        if is_look:
            self._cost = cost

    def wrote(self, size: int) -> None:
        """Count the bytes of a sample."""
        self._written += size

    def start(self) -> None:
        """Forget the first look: it is part of starting, and takes ten times as long as others will."""
        self._saved, self._cost = _MOST_SAVED, _UNKNOWN_COST
