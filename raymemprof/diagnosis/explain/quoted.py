"""Quotes what a text says of memory beyond what was understood of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...display.text import show_bytes
from ...reading.logs.facts import Message
from ...reading.logs.quotes import Quote

__all__ = ["unsaid"]

_NO_LETTERS = re.compile(r"[\W\d_]+")
_SAME = 40
"""Letters at their beginning by which lines are of one kind, whatever their figures."""
_NOT_SAID = re.compile(r"the text does not say (?=whether memory was the reason|why\b)")
_REASON = re.compile(r"\bwhether memory was the reason\b")
_NOTHING_SAID = re.compile(r"This does not say (what ended the worker, or whether memory was the reason)")
"""What is not so where a person writes that it was."""
_AVAILABLE = re.compile(r"\b(?:avail\w{0,5}|free|left|remaining)\b", re.IGNORECASE)
"""What falls: the last of such lines tells most, and of others that with the largest figure."""
_NOT_NAMED = re.compile(r"\bdoes not say which process it killed")
_WITHOUT_REASON = ("node_died", "owner_died", "object_lost", "crash")
"""Causes behind which there may be another, of which a person may tell."""
_MOST_QUOTED = 5
_ALIKE = 0.006
"""By how much two figures may differ that are the same one, rounded."""


def unsaid(message: Message, summary: list[str]) -> tuple[list[str], list[str]]:
    """Return a summary that fits what the text says of memory, and the lines of which it has no figure.

    A line of which one figure was understood is taken to be understood, and so are lines that differ from it in figures
    only. Where the reason is not understood, lines without figures count too.
    """
    words, told = "\n".join(summary), {value for value in _figures(message) if value}
    kinds: dict[str, list[Quote]] = {}
    for quote in message.quotes:
        kinds.setdefault(_NO_LETTERS.sub(" ", quote.words).strip()[:_SAME], []).append(quote)
    kinds = {key: alike for key, alike in kinds.items() if not any(_is_told(one, words, told) for one in alike)}
    left = [alike[-1] if _AVAILABLE.search(alike[0].words) else max(alike, key=_largest) for alike in kinds.values()]
    troubles = [one for one in left if one.is_trouble]
    kinds_of_denial = [one for one in left if one.is_denial]
    if message.cause == "unknown" and message.statement is None:
        is_about_an_end = bool(message.victims or _NOTHING_SAID.search(words))
        if is_about_an_end and not _is_reported(left):
            left = troubles
        elif not _is_reported(left):
            left = []
        denials = [one for one in kinds_of_denial if is_about_an_end and one not in left]
        left += denials
        if left:
            summary = [_NOTHING_SAID.sub(r"No log here shows \1", line) for line in summary]
    elif message.is_told:
        left = [one for one in left if one.is_trouble or one.sizes]
    elif _REASON.search(words) or (troubles and _NOT_SAID.search(words)) or _NOT_NAMED.search(words):
        left = [one for one in left if one.is_trouble or one.is_denial or (one.is_end and not message.victims)]
        if any(one.is_trouble or one.is_denial for one in left):
            summary = [_NOT_SAID.sub("no log here shows ", line) for line in summary]
    elif message.cause in _WITHOUT_REASON:
        single = [alike[0] for alike in kinds.values() if len(alike) == 1 and alike[0].sizes]
        left = [one for one in left if one.is_trouble or one.is_denial or one in single]
    else:  # which of several alike is meant is not known
        single = [alike[0] for alike in kinds.values() if len(alike) == 1]
        left = [one for one in single if one.sizes or (one.is_end and not message.victims)]
    first = sorted(left, key=lambda quote: (not quote.is_trouble, not quote.is_report))[:_MOST_QUOTED]
    return summary, [quote.words for quote in left if quote in first]


def _is_reported(quotes: list[Quote]) -> bool:
    """Whether they report that memory did not suffice: by a program, by a title, or by a person who has figures."""
    troubles = [one for one in quotes if one.is_trouble]
    has_figures = any(one.is_told and one.sizes for one in quotes)
    return any(one.is_report or one.is_title or one.is_end_told for one in troubles) or (bool(troubles) and has_figures)


def _largest(quote: Quote) -> int:
    return max((value for _, values in quote.sizes for value in values), default=0)


def _figures(message: Message) -> Iterator[int | None]:
    yield from (message.used, message.limit, message.threshold, message.idle_memory, message.needs)
    yield from (victim.memory for victim in message.victims)
    yield from (process.memory for process in message.top_processes)
    for one in message.considered:
        yield from (one.memory, one.requested)


def _is_told(quote: Quote, summary: str, told: set[int]) -> bool:
    if quote.words in summary:
        return True
    return any(
        figure in summary or any(show_bytes(value) in summary or _is_near(value, told) for value in values if value)
        for figure, values in quote.sizes
    )


def _is_near(value: int, told: set[int]) -> bool:
    return any(abs(value - other) <= _ALIKE * other for other in told)
