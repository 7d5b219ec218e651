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
    """What a text must have for a pattern to match: all of the words and of the other needs, or any of them."""

    words: tuple[str, ...] = ()
    """In lower case, without white space, with each digit as 0; the longest first, which are seldom there."""
    others: tuple[Needs, ...] = ()
    is_any: bool = False


class Words(dict[str, bool]):
    """The words of a text, each once: what stands between white space, in lower case, with each digit as 0.

    It maps each word that is asked for to whether the text has it.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        masked = text.translate(_DIGITS) if text.isascii() else _DIGIT.sub("0", text)
        words = "\n".join(set(masked.split()))
        self._words = words.lower() if words.isascii() else words.translate(_FOLDED).lower().translate(_FOLDED)

    def __missing__(self, word: str) -> bool:
        found = self[word] = word in self._words
        return found

    def meet(self, needs: Needs) -> bool:
        """Whether a text with these words has what is needed."""
        words, others, is_any = needs
        if is_any:
            return any(map(self.__getitem__, words)) or any(map(self.meet, others))
        return all(map(self.__getitem__, words)) and all(map(self.meet, others))


@lru_cache(maxsize=16)
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
        self.words: list[str] = []
        self.others: list[Needs] = []

    def read(self, parts: Iterable[tuple[Any, Any]]) -> Needs:
        self._take(parts)
        self._end_word()
        words = [word for word in self.words if not any(word in other and word != other for other in self.words)]
        return _needs(words, self.others)

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
            words, others, _ = _Sequence().read(repeated)
            self.words += words
            self.others += others

    def _branch(self, branches: list[Needs]) -> None:
        """Add that any is needed, if each needs something."""
        if all(branch.words or branch.others for branch in branches):
            alone = [branch for branch in branches if len(branch.words) + len(branch.others) == 1]
            words = [word for branch in alone for word in branch.words]
            others = [other for branch in alone for other in branch.others]
            others += [branch for branch in branches if branch not in alone]
            self.others.append(_needs(words, others, is_any=True))

    def _end_word(self) -> None:
        if self.word:
            self.words.append(self.word)
        self.word = ""


def _needs(words: list[str], others: list[Needs], *, is_any: bool = False) -> Needs:
    """Each once, and first what is the quickest to tell."""
    words = sorted(dict.fromkeys(words), key=len, reverse=not is_any)
    return Needs(tuple(words), tuple(sorted(dict.fromkeys(others), key=_count)), is_any)


def _count(needs: Needs) -> int:
    """How many words are looked for at most."""
    return len(needs.words) + sum(map(_count, needs.others))


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
