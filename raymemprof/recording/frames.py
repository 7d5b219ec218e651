"""The frames that user code runs through while it is traced, each named for its call.

memray records them as part of every stack, which is how an allocation is known to be a call's. They are made from the
templates below by renaming their code; `journal.py` says how they are named. One is kept for each function and slot.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any

from .. import journal as contract

if TYPE_CHECKING:
    from .running_call import RunningCall

__all__ = ["marker", "plain", "renamed", "step_async_generator", "step_generator", "wait"]


def plain(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a function."""
    return function(*args, **kwargs)


async def wait(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a coroutine function."""
    return await function(*args, **kwargs)


# What a generator yields is handed on in a list that is emptied at once: a local variable would keep it alive for as
# long as the generator is suspended, which the generator by itself does not.


def step_generator(
    generator: Generator[Any, Any, Any], call: RunningCall, sent: Any, thrown: BaseException | None, out: list[Any]
) -> bool:
    """Run a generator to its next item, or to its end: put what it yields, or returns, into `out`."""
    call.enter()
    try:
        out.append(generator.send(sent) if thrown is None else generator.throw(thrown))
    except StopIteration as stop:
        out.append(stop.value)
        return False
    finally:
        call.leave()
    return True


async def step_async_generator(
    generator: AsyncGenerator[Any, Any],
    call: RunningCall | None,
    sent: Any,
    thrown: BaseException | None,
    out: list[Any],
) -> bool:
    """Run an async generator to its next item, which is put into `out`, or to its end."""
    if call is not None:
        call.enter()
    try:
        out.append(await (generator.asend(sent) if thrown is None else generator.athrow(thrown)))
    except StopAsyncIteration:
        return False
    finally:
        if call is not None:
            call.leave()
    return True


def _mark(size: int) -> None:
    """Make the allocation that marks a moment in the capture."""
    bytes(size)


@functools.lru_cache(maxsize=4096)
def renamed(template: Callable[..., Any], name: str, slot: int, file: str) -> Callable[..., Any]:
    """Return `template` with its frame named for a call of `name` in `slot`, as if it stood in `file`."""
    title = contract.frame_name(name, slot)
    names = {"co_name": title, "co_filename": file}
    if sys.version_info >= (3, 11):
        names["co_qualname"] = title
    return types.FunctionType(template.__code__.replace(**names), template.__globals__, title)  # type: ignore[arg-type]


@functools.lru_cache(maxsize=4096)
def marker(name: str, slot: int, file: str) -> Callable[[int], None]:
    """Return what makes a mark of this size, in a frame named for a call of `name` in `slot`, as if it stood in `file`.

    It is run once, for no mark: CPython 3.11 makes a table when a function is first traced, and where there is no
    memory for it the thread is never traced again (see `safety/spare_memory.py`).
    """
    made = renamed(_mark, name, slot, file)
    made(0)
    return made
