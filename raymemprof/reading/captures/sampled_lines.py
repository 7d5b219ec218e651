"""The line of code that calls were at between two marks, as the process's sampler saw it."""

from __future__ import annotations

from typing import Any

from ... import journal as contract
from .model import Stack
from .samples import Move, Sample, Samples
from .stacks import StackInfo, either, guilty

__all__ = ["SampledLines"]

_MAINLY = 0.9
"""A place counts as the one where something happened if it had this part of it."""


class SampledLines:
    """The lines that the samples saw the calls at, from the last mark to the next."""

    def __init__(self, samples: Samples, stacks: dict[Any, StackInfo]) -> None:
        self._samples = samples
        self._stacks = stacks
        self._sample: Sample | None = None
        self.coming = sorted(samples.by_mark, reverse=True)
        """The marks of the samples that are still to come, the next one last."""
        self.last_stack: Any = None
        """The stack of the last allocation that a call made on a thread with Python."""
        self._found: dict[Any, Stack | None] = {}
        """What `now` found last."""

    def pass_mark(self, mark: int) -> Sample | None:
        """Go on to a sample's mark, and return the sample; None where the journal has none."""
        while self.coming and self.coming[-1] <= mark:
            self.coming.pop()
        return self._samples.by_mark.get(mark)

    def take(self, sample: Sample) -> None:
        """Have a sample be the last one, once what it says of the time before it is accounted for."""
        self._sample = sample

    def now(self) -> Stack | None:
        """The line that calls were at between the last mark and the next; two, where it changed."""
        key = (self.coming[-1] if self.coming else None, self.last_stack)
        if key not in self._found:
            self._found = {key: self._find_line()}
        return self._found[key]

    def between(self, places: tuple[tuple[int, ...], tuple[int, ...]]) -> Stack | None:
        """Where the calls of one thread were; None where they were on several, or on none."""
        before, after = ([self._samples.places[one] for one in some if one in self._samples.places] for some in places)
        if len(before) > 1 or len(after) > 1:
            return None
        last = self._stacks.get(self.last_stack)
        if not before and last is not None and last.slots:
            before = [last.stack]  # it had just begun: nobody had looked yet
        found = [*before, *after]
        in_calls = [stack for stack in found if any(frame[1] == contract.FRAME_FILE for frame in stack)]
        found = in_calls or found  # what moved as a call began or ended is more likely the call's
        return self._narrowed(found) if found else None

    def _find_line(self) -> Stack | None:
        upcoming = self._samples.by_mark[self.coming[-1]] if self.coming else None
        moves = upcoming.moves if upcoming is not None else ()
        if not moves and self._sample is not None and self._sample.moves:
            last = self._sample.moves[-1]
            moves = (Move(last.after, last.after, 1, 0),)
        weights: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        for move in moves:
            weight = max(move.moved, 0) + max(move.pooled, 0)
            weights[move.before, move.after] = weights.get((move.before, move.after), 0) + weight
        ranked = sorted(weights, key=lambda places: -weights[places])
        stacks = [stack for stack in map(self.between, ranked) if stack is not None]
        if not stacks:
            return None
        if weights[ranked[0]] >= _MAINLY * sum(weights.values()):
            return stacks[0]
        return self._narrowed(stacks)

    def _narrowed(self, stacks: list[Stack]) -> Stack:
        """Where the code was of what it may have been at: where it allocated last, if that is one of them."""
        last = self._stacks.get(self.last_stack)
        if last is not None and last.slots and guilty(last.stack) in map(guilty, stacks):
            return last.stack
        return either(stacks)
