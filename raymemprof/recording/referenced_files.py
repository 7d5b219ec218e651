"""Which files recorded code may run: its own, and those of the functions, classes and modules that it refers to.

They are found by the names in code and in modules. A function that code is given as an argument is not.
"""

from __future__ import annotations

import functools
import sys
import types
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from .. import journal as contract
from ..cells import cell_of
from .places import is_library

__all__ = [
    "MAIN",
    "count_recorded",
    "files_of_recorded",
    "has_block",
    "is_users_file",
    "note_block",
    "note_function",
    "reached",
]

MAIN = "__main__"
"""The module whose functions Ray ships whole: that of a notebook's cells, and of a script."""
_MOST_SEEN = 20_000
"""Functions, classes, modules and other values that are looked at."""
_MOST_BLOCKS = 1_000
_OURS = str(Path(contract.__file__).parents[1])
"""Where raymemprof itself lies."""

_functions: dict[int, weakref.ref[types.FunctionType]] = {}
"""Those that are recorded, in this process."""
_blocks: dict[tuple[types.CodeType, str], str] = {}
"""Code that blocks stand in with its file, and the name of its module: code is equal to that of another file."""


def note_function(function: types.FunctionType) -> None:
    """Take note that a function is recorded."""
    number = id(function)
    _functions[number] = weakref.ref(function, lambda _: _functions.pop(number, None))


def note_block(code: types.CodeType, names: dict[str, Any]) -> None:
    """Take note that a block in this code is recorded; `names` are the globals of its module."""
    key = code, code.co_filename
    if key not in _blocks and len(_blocks) < _MOST_BLOCKS:
        _blocks[key] = str(names.get("__name__"))


def has_block(file: str) -> bool:
    """Whether a block stands in a file."""
    return any(block_file == file for _, block_file in list(_blocks))


def count_recorded() -> int:
    """Return how many functions and blocks there are."""
    return len(_functions) + len(_blocks)


def files_of_recorded() -> Iterator[str]:
    """Yield the user's files that what is recorded in this process may run, nearest first; some more than once."""
    blocks = dict(_blocks)
    functions = [function for function in [known() for known in list(_functions.values())] if function is not None]
    yield from (file for _, file in blocks)
    yield from (function.__code__.co_filename for function in functions)
    users = functools.cache(_is_users)
    modules = [sys.modules.get(name) for name in dict.fromkeys(blocks.values()) if users(name)]
    yield from reached([*functions, *modules], users, through_modules=True)


def reached(roots: Collection[object], follows: Callable[[str], bool], *, through_modules: bool) -> Iterator[str]:
    """Yield the files of code that some functions, classes and modules refer to, nearest first; some more than once.

    Args:
        roots: where to begin.
        follows: whether what is in a module of this name counts.
        through_modules: whether all of a module counts of which anything does.
    """
    first = {id(root) for root in roots}
    seen: dict[int, object] = {}
    todo = deque(roots)
    while todo and len(seen) < _MOST_SEEN:
        one: Any = todo.popleft()
        if one is None or id(one) in seen:
            continue
        seen[id(one)] = one
        if id(one) not in first and not follows(_module_of(one)):
            continue
        kind = type(one)
        if issubclass(kind, types.ModuleType):
            members = object.__getattribute__(one, "__dict__")  # a lazy module stays as it is
            if through_modules:
                yield from [file for file in [members.get("__file__")] if isinstance(file, str)]
                todo += [value for value in list(members.values()) if issubclass(type(value), _LEADING)]
            continue
        if issubclass(kind, types.FunctionType):
            yield one.__code__.co_filename
        used = _used(one) if issubclass(kind, types.FunctionType) else [*list(vars(one).values()), *one.__bases__]
        todo += [code for value in used for code in _code_of(value)]
        todo.append(sys.modules.get(_module_of(one)))


_LEADING = (types.ModuleType, types.FunctionType, type)


def _code_of(value: Any) -> Iterator[object]:
    """Yield the functions, classes and modules that a value stands for; nothing else is held while this goes on."""
    kind = type(value)  # to ask a proxy what it is would have it fetch that
    if issubclass(kind, _LEADING):
        yield value
    elif issubclass(kind, (staticmethod, classmethod, types.MethodType)):
        yield from _code_of(value.__func__)
    elif issubclass(kind, property):
        for one in (value.fget, value.fset, value.fdel):
            yield from _code_of(one)
    elif issubclass(kind, functools.partial):
        for one in (value.func, *value.args):
            yield from _code_of(one)
    else:
        yield kind


def _module_of(one: object) -> str:
    is_module = issubclass(type(one), types.ModuleType)
    name = object.__getattribute__(one, "__dict__").get("__name__") if is_module else getattr(one, "__module__", None)
    return name if isinstance(name, str) else ""


def _used(function: types.FunctionType) -> Iterator[object]:
    """Yield what a function refers to: globals, modules that it imports, values of outer functions, defaults."""
    yield getattr(function, "__wrapped__", None)
    yield from function.__defaults__ or ()
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # it is empty still
            continue
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        for name in code.co_names:
            yield function.__globals__.get(name)
            yield sys.modules.get(name)


def _is_users(name: str) -> bool:
    """Whether a module is the user's own: not the standard library's, an installed package's, or raymemprof's."""
    module = sys.modules.get(name)
    if module is None:
        return False
    try:
        file = object.__getattribute__(module, "__dict__").get("__file__")
    except AttributeError:
        return False
    return is_users_file(file) if isinstance(file, str) else name == MAIN


def is_users_file(file: str) -> bool:
    """Whether a file is the user's own, or stands for a cell."""
    return cell_of(file) is not None or not (is_library(file) or file.startswith((_OURS, "<")))
