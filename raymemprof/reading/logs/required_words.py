"""Tells in one pass over a text which patterns cannot match in it: those that need a word which it has not."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = ["Needs", "Words", "needs_of", "words_in"]

_DIGIT = re.compile(r"\d")
_FOLDED = str.maketrans({"İ": "i", "ı": "i", "ſ": "s", "µ": "μ", "ς": "σ"})
"""Letters that a pattern takes for others where case does not matter, and `lower` does not."""
_DIGITS = str.maketrans("123456789", "000000000")
_ZERO_WIDTH = ("AT", "ASSERT", "ASSERT_NOT")
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_FIRST_DIGIT, _LAST_DIGIT = 48, 57


class Needs(NamedTuple):
    """What a text must have for a pattern to match: all of its parts, or any of them."""

    parts: tuple[Needs | str, ...] = ()
    """Words in lower case, without white space, with each digit as 0; and other needs."""
    is_any: bool = False

    def shortest(self) -> int:
        """Return how long its shortest word is: long ones are seldom there, and are looked for first."""
        return min(map(_length, self.parts), default=0)


class Words:
    """The words of a text, each once: what stands between white space, in lower case, with each digit as 0."""

    def __init__(self, text: str) -> None:
        masked = text.translate(_DIGITS) if text.isascii() else _DIGIT.sub("0", text)
        words = "\n".join(set(masked.split()))
        self._words = words.lower() if words.isascii() else words.translate(_FOLDED).lower().translate(_FOLDED)
        self._has: dict[str, bool] = {}

    def meet(self, needs: Needs) -> bool:
        """Whether a text with these words has what is needed."""
        return (any if needs.is_any else all)(
            self._have(part) if isinstance(part, str) else self.meet(part) for part in needs.parts
        )

    def _have(self, word: str) -> bool:
        found = self._has.get(word)
        if found is None:
            found = self._has[word] = word in self._words
        return found


@lru_cache(maxsize=3)
def words_in(text: str) -> Words:
    """Return the words of a text: for many patterns, it is looked through once."""
    return Words(text)


def needs_of(form: re.Pattern[str]) -> Needs:
    """Return what every text has that a pattern matches, as far as it can be told."""
    try:
        parser = importlib.import_module("re._parser" if hasattr(re, "_parser") else "sre_parse")
        return _Sequence().read(parser.parse(form.pattern, form.flags))
    except (ImportError, AttributeError, TypeError, ValueError, RecursionError):  # the parser is Python's own business
        return Needs()


class _Sequence:
    """What things that follow each other need: all of it, and what stands side by side as one word."""

    def __init__(self) -> None:
        self.word = ""
        self.parts: list[Needs | str] = []

    def read(self, parts: Iterable[tuple[Any, Any]]) -> Needs:
        self._take(parts)
        self._end_word()
        found = list(dict.fromkeys(self.parts))
        words = [part for part in found if isinstance(part, str)]
        within = {part for part in words if any(part in word and part != word for word in words)}
        kept = (part for part in found if part not in within)
        return Needs(tuple(sorted(kept, key=_length, reverse=True)))

    def _take(self, parts: Iterable[tuple[Any, Any]]) -> None:
        for kind, value in parts:
            name = str(kind)
            if name in _ZERO_WIDTH:
                continue
            character = _character(name, value)
            if character:
                self.word += character
            elif name == "SUBPATTERN":
                self._take(value[-1])
            elif name == "ATOMIC_GROUP":
                self._take(value)
            elif name in _REPEATS and value[0] > 0:
                self._repeat(*value)
            else:
                self._end_word()
                if name == "BRANCH":
                    self._branch([_Sequence().read(branch) for branch in value[1]])

    def _repeat(self, least: int, most: int, repeated: Any) -> None:
        one = _character(str(repeated[0][0]), repeated[0][1]) if len(repeated) == 1 else ""
        if one:
            self.word += one * least
            if most != least:
                self._end_word()
                self.word = one  # the last of them stands before what follows
        else:
            self._end_word()
            self.parts += _Sequence().read(repeated).parts

    def _branch(self, branches: list[Needs]) -> None:
        if all(branch.parts for branch in branches):
            each = (branch.parts[0] if len(branch.parts) == 1 else branch for branch in branches)
            self.parts.append(Needs(tuple(dict.fromkeys(each)), is_any=True))

    def _end_word(self) -> None:
        if self.word:
            self.parts.append(self.word)
        self.word = ""


def _length(part: Needs | str) -> int:
    return len(part) if isinstance(part, str) else part.shortest()


def _character(kind: str, value: Any) -> str:
    """The one character that a part of a pattern matches, as `Words` has it; "" where it matches several."""
    if kind == "LITERAL":
        character = chr(value).translate(_FOLDED).lower().translate(_FOLDED)
        return "" if character.isspace() else _DIGIT.sub("0", character)
    if kind == "IN":
        found = {_character(str(one), inner) for one, inner in value}
        return found.pop() if len(found) == 1 else ""
    is_digit = (kind == "CATEGORY" and str(value) == "CATEGORY_DIGIT") or (
        kind == "RANGE" and value[0] >= _FIRST_DIGIT and value[1] <= _LAST_DIGIT
    )
    return "0" if is_digit else ""
