"""What people's sentences are made of: where one ends, who tells, what is code or advice, and how one is shortened."""

from __future__ import annotations

import re

from .patterns import Form

__all__ = ["DECORATION", "LONG", "PARTS", "SENTENCE", "is_advice", "is_code", "is_question", "shortened", "tells"]

LONG = 50_000
"""Characters from which on a text is a log, in which nobody tells anything; of such a text only its end is quoted."""
DECORATION = " \t|│*#>-•`~"
"""What stands around a sentence in Markdown, and in what programs print."""
_MARKS = ("**", "`")
PARTS = re.compile(r"(?<=[.!?])\s{1,9}(?=[\"'`*(]?[A-Z])")
"""Between the sentences of a line."""
SENTENCE = re.compile(rf"{PARTS.pattern}|\n|(?<=[。！？])")
_TELLS = Form(r"(?<![\w/.])(?:I|[Ww]e|[Mm]y|[Oo]ur|[Mm]e|[Uu]s)(?:['’]\w{1,2})? ")
_CODE = re.compile(
    r"^\W{0,9}(?:import|from|def|class|return|if|elif|else|for|while|assert|except|try|with|const|let|var|export|"
    r"File \"|@)(?=\W)|[{;]\s*$|^\s*[\w.\[\]]{1,60} ?[+]?= ?[\w.]{1,60}\(|^\W{0,9}(?:\$|>>>|#include|//)"
)
_ADVICE = re.compile(
    r"^\W{0,9}(?:Set|Use|Increase|Reduce|Decrease|Lower|Raise|Try|Consider|Add|Make|Ensure|Check|Give|Avoid|See|To)\b"
)
_QUESTION = re.compile(r"[?？]\W{0,5}$")


def tells(text: str) -> bool:
    """Whether somebody tells in it what happened to them, as no documentation does."""
    return _TELLS.search(text) is not None


def is_code(line: str) -> bool:
    """Whether it is source code, which states nothing."""
    return _CODE.search(line) is not None


def is_advice(sentence: str) -> bool:
    """Whether it says what to do."""
    return _ADVICE.match(sentence) is not None


def is_question(sentence: str) -> bool:
    """Whether it asks."""
    return _QUESTION.search(sentence) is not None


def shortened(sentence: str, most: int) -> str:
    """Return a sentence in one line without what stands around it, cut at a blank."""
    words = " ".join(sentence.strip(DECORATION).split())
    for mark in _MARKS:  # one whose other half was stripped
        words = words.replace(mark, "") if words.count(mark) % 2 else words
    return words if len(words) <= most else f"{words[:most].rpartition(' ')[0] or words[:most]} …"
