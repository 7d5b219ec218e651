"""What the patterns of messages are made of. Repetitions are bounded, so that no text makes matching slow."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from typing import Any

from .required_words import Needs, needs_of, words_in

__all__ = [
    "ADDRESS",
    "ANY_ID",
    "COUNT",
    "HEX",
    "ID",
    "IPV4",
    "NAME",
    "NUMBER",
    "SIZE",
    "Form",
    "gibibytes",
    "is_known",
    "pattern",
    "size",
    "whole",
]

HEX = r"[0-9a-f]"
ID = rf"(?<!{HEX}){HEX}{{56}}(?!{HEX})"
"""The id of a node or a worker."""
ANY_ID = r"[\w.…*<>?-]{1,80}"
"""An id, also one that somebody shortened or replaced. Only for places where an id must stand: it matches any word."""
COUNT = r"(?<!\d)\d{1,10}(?!\d)"
NUMBER = r"(?<![\d.])\d{1,12}(?:\.\d{1,12})?(?!\d)"
SIZE = rf"{NUMBER}\s?(?:[kKMGTP]i?B?|B|bytes)\b"
ADDRESS = r"[0-9a-fA-F]{1,4}[0-9a-fA-F.:]{2,40}"
IPV4 = r"\d{1,3}(?:\.\d{1,3}){3}"
NAME = r"[^\n]{1,300}?"

_PARTS = re.compile(r"\[(?:\\.|[^\]\\])*\]|\\.| \??", re.DOTALL)
"""Classes of characters and escaped ones, which stay what they are, and spaces."""
_WORD_OF_PATTERN = re.compile(r"(?<!\w)(?:(?<![\\(|?:])|\\b|(?=[A-Za-z]{7}))([A-Za-z]{2,40})(?![\w?*+{])")
"""A word in a pattern: not a short one behind a bar or a bracket, which may be the end of a word."""
_PATTERNS: list[str] = []
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}


class Form:
    """A regular expression; it is looked for only in texts that have all words that every match has."""

    def __init__(self, text: str, flags: int = 0) -> None:
        self.regex = re.compile(text, flags)
        _PATTERNS.append(text)

    def search(self, text: str, start: int = 0, end: int = sys.maxsize) -> re.Match[str] | None:
        """Return the first match, if there is one. All these are methods of `re.Pattern`."""
        return self.regex.search(text, start, end) if self.may_match(text) else None

    def finditer(self, text: str, start: int = 0, end: int = sys.maxsize) -> Iterator[re.Match[str]]:
        """Yield each match."""
        return self.regex.finditer(text, start, end) if self.may_match(text) else iter(())

    def findall(self, text: str) -> list[Any]:
        """Return what each match has in its groups."""
        return self.regex.findall(text) if self.may_match(text) else []

    def sub(self, new: str | Callable[[re.Match[str]], str], text: str) -> str:
        """Return the text with each match replaced."""
        return self.regex.sub(new, text) if self.may_match(text) else text

    def match(self, text: str, start: int = 0) -> re.Match[str] | None:
        """Match at a place."""
        return self.regex.match(text, start)

    def fullmatch(self, text: str) -> re.Match[str] | None:
        """Match the whole text."""
        return self.regex.fullmatch(text)

    def may_match(self, text: str) -> bool:
        """Return False only where no match can be: the text lacks a word that every match has."""
        return words_in(text).meet(self._needs)  # many times faster than the pattern

    @cached_property
    def _needs(self) -> Needs:
        return needs_of(self.regex)


def pattern(text: str, flags: int = 0) -> Form:
    """Compile a pattern in which a space is any white space, or none: a text may be wrapped between two words."""
    return Form(_PARTS.sub(lambda part: r"\s{0,40}" if part[0][0] == " " else part[0], text), flags)


def is_known(word: str) -> bool:
    """Whether a word, or what else stands between blanks, is one of a message whose pattern is there."""
    words, text = _known(len(_PATTERNS))
    return word.lower() in words or (not word.isalpha() and word.lower() in text)


@lru_cache(maxsize=1)
def _known(count: int) -> tuple[frozenset[str], str]:
    text = "\n".join(_PATTERNS[:count])
    return frozenset(word.lower() for word in _WORD_OF_PATTERN.findall(text)), text.replace("\\", "").lower()


def whole(found: str | None, *lengths: int) -> str | None:
    """Return an id if it has as many hexadecimal digits as it should, else None."""
    return found if found and len(found) in lengths and re.fullmatch(f"{HEX}+", found) else None


def gibibytes(figure: str) -> int:
    """Return bytes. Ray writes GB and means GiB: its own byte figures in the same messages say so."""
    return round(float(figure) * 2**30)


def size(text: str) -> int | None:
    """Return the bytes of a figure with its unit, such as "2.00 GiB" or the kernel's "4kB"; None where it is none."""
    found = re.fullmatch(rf"\s*({NUMBER})\s?([kKMGTP]?)(i?)(B|bytes)?\s*", text)
    if found is None:
        return None
    base = 1024 if found[3] or found[2] + (found[4] or "") == "kB" else 1000
    return round(float(found[1]) * float(base) ** _UNITS[found[2].upper()])
