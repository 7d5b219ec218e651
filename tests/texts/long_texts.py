"""Long texts, each of another kind of which some pattern or step might be slow; the same for the same length."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from itertools import count

from tests.paths import DATA

__all__ = ["LONG_TEXTS"]

_WORDS = re.findall(
    r"\w+",
    "the of memory worker task was killed node Ray process error actor pid log in to we is not on GPU and with object "
    "store usage threshold container limit",
)
_KILL = (DATA / "ray-2.60" / "task-oom.txt").read_text()


def _until(length: int, parts: Iterator[str]) -> str:
    taken: list[str] = []
    while length > 0:
        taken.append(next(parts))
        length -= len(taken[-1])
    return "".join(taken)


def _raylet(length: int) -> str:
    rnd = random.Random(1)
    return _until(
        length,
        (
            f"[2026-11-22 19:0{n % 10}:{n % 60:02},{n % 1000:03} I {n} {n}] (raylet) worker_pool.cc:{n % 900}: Started "
            f"worker process with pid {rnd.randrange(99999)}, the token is {n}\n"
            for n in count(1000)
        ),
    )


def _ten_kills(length: int) -> str:
    kills = f"{_KILL}\n" * 10
    return _raylet(max(length - len(kills), 0)) + kills


def _random_words(length: int, ends: tuple[str, ...]) -> str:
    rnd = random.Random(2)
    return _until(length, (rnd.choice(_WORDS) + rnd.choice(ends) for _ in count()))


def _edited(length: int) -> str:
    """Messages of Ray's, with a letter in sixty exchanged, taken out, or put in."""
    texts, rnd = [path.read_text() for path in sorted(DATA.glob("*/*.txt"))], random.Random(3)

    def edited(text: str) -> str:
        letters = list(text)
        for _ in range(len(letters) // 60):
            at = rnd.randrange(len(letters))
            letters[at] = rnd.choice(("", letters[at] * 2, *"abc019 \n[](){}:;,.\"'\\"))
        return "".join(letters)

    return _until(length, (edited(rnd.choice(texts)) for _ in count()))


def _wrapped(length: int) -> str:
    text = _random_words(length, (" ",))
    return "\n".join(text[start : start + 80] for start in range(0, length, 80))[:length]


LONG_TEXTS: dict[str, Callable[[int], str]] = {
    "a raylet's log": _raylet,
    "a raylet's log with a kill that is told ten times": _ten_kills,
    "the same kill again and again": lambda length: _until(length, (f"{_KILL}\n" for _ in count())),
    "dmesg": lambda length: _until(length, (f"[{n}.123456] eth{n % 9}: link is up, {n} Mbps\n" for n in count())),
    "the kernel's kills": lambda length: _until(
        length, (f"[{n}.5] Out of memory: Killed process {n} (python) anon-rss:{n}kB, file-rss:0kB\n" for n in count())
    ),
    "prose": lambda length: _until(
        length,
        ("The quick brown fox jumps over lazy dogs, and memory of workers was fine in task f.\n" for _ in count()),
    ),
    "prose of the words of messages": lambda length: _random_words(length, (" ",) * 9 + (".\n",)),
    "one line of the words of messages": lambda length: _random_words(length, (" ",)),
    "such a line that a terminal wrapped": _wrapped,
    "one line of one letter": lambda length: "a" * length,
    "one line of digits": lambda length: "1234567890" * (length // 10),
    "one line of brackets": lambda length: "[(" * (length // 2),
    "one line of JSON": lambda length: f'{{"message": "{_random_words(length, (" ",))}"}}',
    "one line in colours": lambda length: "\x1b[33mkilled\x1b[0m " * (length // 16),
    "random edits of messages": _edited,
}
