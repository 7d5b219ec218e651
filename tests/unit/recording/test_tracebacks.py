"""What the traceback of a recorded call's exception shows: the user's code, as it would without recording."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raymemprof import profile_memory

OURS = str(Path(sys.modules["raymemprof"].__file__ or "").parent)


def raises() -> None:
    raise ValueError("as it should")


def plain() -> None:
    raises()


async def coroutine() -> None:
    raises()


def generator() -> Iterator[int]:
    yield 1
    raises()


async def async_generator() -> AsyncIterator[int]:
    yield 1
    raises()


async def exhausted(items: AsyncIterator[int]) -> None:
    async for _ in items:
        pass


class Actor:
    def method(self) -> None:
        raises()


CALLS: dict[str, tuple[Callable[..., Any], Callable[[Any], Any]]] = {
    "function": (plain, lambda function: function()),
    "coroutine": (coroutine, lambda function: asyncio.run(function())),
    "generator": (generator, lambda function: list(function())),
    "async generator": (async_generator, lambda function: asyncio.run(exhausted(function()))),
    "method": (Actor.method, lambda function: function(Actor())),
}


def places(call: Callable[[Any], Any], function: Any) -> list[tuple[str, str, int | None]]:
    """Return function, file and line of each frame that a traceback shows."""
    with pytest.raises(ValueError, match="as it should") as caught:
        call(function)
    return [(one.name, one.filename, one.lineno) for one in traceback.extract_tb(caught.value.__traceback__)]


@pytest.mark.versions
@pytest.mark.parametrize("kind", CALLS)
def test_it_is_the_users_alone(kind: str, tmp_path: Path) -> None:
    function, call = CALLS[kind]
    expected = places(call, function)
    found = places(call, profile_memory(function, directory=tmp_path))
    ours = [name for name, file, _ in found if file.startswith(OURS) or file == "<raymemprof>"]
    assert len(ours) == (0 if sys.version_info >= (3, 11) else 1)  # the handler's, which Python 3.10 keeps
    # A function that is asked whether to record is there twice: where it is defined, and where it runs.
    assert {one for one in found if one[0] not in ours} - set(expected) <= {
        (function.__name__, function.__code__.co_filename, function.__code__.co_firstlineno)
    }
    assert found[-2:] == expected[-2:]
    assert [one for one in found if one in expected] == expected


@dataclasses.dataclass(frozen=True)
class BadRowError(Exception):
    row: int


def test_an_exception_that_cannot_be_changed_stays_what_it_is(tmp_path: Path) -> None:
    """A frozen dataclass refuses to have its traceback set."""

    @profile_memory(directory=tmp_path)
    def load() -> None:
        raise BadRowError(7)

    with pytest.raises(BadRowError):
        load()
