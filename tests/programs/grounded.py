"""Checks that an explanation says only what its text does: each word, name and number stands there or is derived.

A word may also be one of the package's own, in which its sentences are written. A number may also be a figure of the
text in another unit, a count, or what advice makes of a figure.
"""

from __future__ import annotations

import ast
import functools
import itertools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path

import raymemprof
from raymemprof import Explanation
from raymemprof.diagnosis.explain.remedies import REMEDIES, RESERVE_BUFFER
from raymemprof.reading.logs.text.escapes import without_marks

__all__ = ["invented"]

_WORD = re.compile(r"\b[A-Za-z]\w*")
_NUMBER = re.compile(r"\d[\d_,]*(?:\.\d+)*")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ([KMGT]iB|B)\b")
_SIZE_OF_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)(?:[iI]?[bB]|[iI])?(?![\w.])")
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_COUNTED = 200
"""What is counted in a text may be any number up to this one, or up to the number of its lines."""
_SHARES = (1.0, 1.25, 0.7, 0.95, 0.9, 0.8)
"""What is made of a figure: a quarter more, what is left beside the object store, Ray's thresholds."""
_FOLDERS = ("reading/logs", "diagnosis/explain", "diagnosis/advise", "display")


def invented(found: Explanation, text: str, *, also: str = "") -> list[str]:
    """Return the words, names and numbers of an explanation that neither `text` nor `also` accounts for."""
    known = "\n".join((text, also, without_marks(text), without_marks(also)))
    joined, bare, values = _joined(known), re.sub(r"[,_]", "", known), None
    wrong = [f"{name}: {value}" for name, value in _fields(found) if not _stands(value, known, joined)]
    for line in [*found.summary.splitlines(), *found.advice]:
        if line.startswith("Read: "):
            continue
        for size in _SIZE.finditer(line):
            if (
                size[1] not in bare
                and size[0] not in _own_numbers()
                and not _is_derived(size, values := values or _values(bare))
            ):
                wrong.append(f"size {size[0]} in: {line}")
        rest = _SIZE.sub(" ", line)
        for number in _NUMBER.findall(rest):
            digits = re.sub(r"[,_]", "", number)
            if digits not in bare and digits not in joined and digits not in _own_numbers():
                values = values or _values(bare)
                wrong += [] if _is_made(digits, values, known) else [f"number {number} in: {line}"]
        for word in _WORD.findall(rest):
            if word not in known and word not in joined and word.lower() not in _vocabulary():
                wrong.append(f"word {word} in: {line}")
    return wrong


def _fields(found: Explanation) -> Iterator[tuple[str, str]]:
    for name in ("node_id", "node_ip"):
        yield from ((name, value) for value in [getattr(found, name)] if value is not None)
    for victim in found.victims:
        for name in ("name", "task_id", "actor_id", "worker_id", "pid"):
            yield from ((name, str(value)) for value in [getattr(victim, name)] if value is not None)
    for process in found.top_processes:
        yield from (("pid", str(value)) for value in [process.pid] if value is not None)
        yield from (("command", word) for word in process.command.split())


def _stands(value: str, known: str, joined: str) -> bool:
    return value in known or _joined(value) in joined


def _joined(text: str) -> str:
    """A text without what wrapping, escapes and Markdown put into it."""
    return re.sub(r"[\s\\`*]+", "", text)


def _values(bare: str) -> list[float]:
    """The sizes in a text, in bytes, in each way in which their units may be meant."""
    found: set[float] = set()
    for figure, letter in itertools.islice(_SIZE_OF_TEXT.findall(bare), 400):
        value = float(figure[:18])
        found |= {value, *(value * base ** _POWERS[letter.upper()] for base in (1000, 1024))}
        if not letter:  # the unit stands elsewhere: in the head of a table, say
            found |= {value * unit for unit in (1024, 4096, 2**20, 2**30, 10**6, 10**9)}
    return sorted(found)


def _is_derived(size: re.Match[str], values: list[float]) -> bool:
    """Whether a size is one of a text, a part of it, the difference or the sum of two, or the sum of some in a row."""
    unit = 1024.0 ** _POWERS[size[2][0].replace("B", "")]
    by = 0.051 if "." in size[1] else 0.51
    low, high = unit * (float(size[1]) - by), unit * (float(size[1]) + by)

    def has(least: float, most: float) -> bool:
        return bisect_left(values, least) < bisect_right(values, most)

    large = [value for value in values if value >= 2**18][:200]
    sums = (sum(large[at:to]) for at in range(len(large)) for to in range(at + 1, min(at + 12, len(large))))
    return (
        any(has(low / share, high / share) for share in _SHARES)
        or any(has(one - high, one - low) or has(one + low, one + high) or has(low - one, high - one) for one in large)
        or any(
            low <= one * (1 - part) <= high or low <= one * part <= high
            for one in large
            for share in values
            if share <= 100
            for part in (share, share / 100)
        )
        or any(low <= one <= high for one in sums)
        or any(has(one - two - high, one - two - low) for one, two in itertools.permutations(large[:40], 2))
    )


def _is_made(digits: str, values: list[float], known: str) -> bool:
    """Whether a number is a count, a percentage, or what advice makes of a figure."""
    if digits.count(".") > 1:
        return False
    value = float(digits)
    if "." not in digits and value <= max(_COUNTED, known.count("\n")):
        return True

    def has(one: float) -> bool:
        return bisect_left(values, one * (1 - 1e-6) - 0.02) < bisect_right(values, one * (1 + 1e-6) + 0.02)

    return any(map(has, (value - RESERVE_BUFFER, value / 100, *(value / share for share in _SHARES))))


@functools.cache
def _own_numbers() -> frozenset[str]:
    """The numbers in the sentences of the package: defaults of Ray's, of the kernel's and of libraries."""
    texts = [remedy.text for remedy in REMEDIES.values()] + [text for text in _strings() if _is_sentence(text)]
    numbers = {re.sub("[,_]", "", number) for text in texts for number in _NUMBER.findall(text)}
    return frozenset(numbers | {size[0] for text in texts for size in _SIZE.finditer(text)})


def _is_sentence(text: str) -> bool:
    return text.count(" ") > 2 and not re.search(r"\\[bdswn]|\{\d|\(\?|\[\^", text)


@functools.cache
def _vocabulary() -> frozenset[str]:
    return frozenset(word.lower() for text in _strings() for word in _WORD.findall(text))


@functools.cache
def _strings() -> tuple[str, ...]:
    root = Path(raymemprof.__file__).parent
    trees = (ast.parse(path.read_text()) for folder in _FOLDERS for path in (root / folder).rglob("*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree))
    return tuple(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
