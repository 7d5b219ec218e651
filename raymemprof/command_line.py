"""Which program a command line runs, as Python itself reads it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Program", "program_of"]

_WITH_A_VALUE = "WX"
"""Python's options of one letter that take a value, beside those that end its own options."""
_LAST = "cm"
"""What follows is the code or the module to run."""
_LONG_WITH_A_VALUE = "--check-hash-based-pycs"
_ENV = "env"
_OF_ENV_WITH_A_VALUE = ("-u", "--unset", "-C", "--chdir")


class Program(NamedTuple):
    """What a command line runs."""

    executable: str
    """Its name, without folders."""
    option: str | None = None
    """Of Python's `-c` and `-m` the one that is used."""
    argument: str | None = None
    """Of Python: the script, or the code or the module that the option names."""


def program_of(command: Sequence[str]) -> Program | None:
    """Return what a command line runs; None for an empty one."""
    words = _without_env(list(command))
    if not words or not words[0]:
        return None
    executable = os.path.basename(words.pop(0))
    if not executable.startswith("python"):
        return Program(executable)
    while words and (word := words.pop(0)):
        if not word.startswith("-"):
            return Program(executable, None, word)
        if word == "-":  # code from its standard input
            break
        if word == _LONG_WITH_A_VALUE:
            del words[:1]
        elif not word.startswith("--"):
            letter, value = _valued(word)
            if letter and not value:
                value = words.pop(0) if words else ""
            if letter and letter in _LAST:
                return Program(executable, f"-{letter}", value) if value else Program(executable)
    return Program(executable)


def _valued(word: str) -> tuple[str, str]:
    """Return which of the options in a word takes a value, and what of it stands in the word: `-uW` is `-u -W`."""
    for number, letter in enumerate(word[1:], 1):
        if letter in _WITH_A_VALUE + _LAST:
            return letter, word[number + 1 :]
    return "", ""


def _without_env(words: list[str]) -> list[str]:
    """Leave out `env` before a program, with its options and the variables that it sets."""
    if not words or os.path.basename(words[0]) != _ENV:
        return words
    rest = words[1:]
    while rest and (rest[0].startswith("-") or "=" in rest[0]):
        del rest[: 2 if rest[0] in _OF_ENV_WITH_A_VALUE else 1]
    return rest or words
