"""A function's code with a question in front: is this a call to record, or part of one that is recorded already?

A wrapper takes a frame of its own on every level of a recursion. A question asked before the first instruction does
not: its frame is gone when the function's own code begins. Nothing else about the code changes, neither its lines nor
its names; what it asks is among its constants.
"""

from __future__ import annotations

import dis
import inspect
import opcode
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

__all__ = ["has_more", "has_rest", "with_question"]

_VERSION = sys.version_info[:2]
_NEWEST = (3, 13)
"""The newest Python whose code is known; functions of a newer one are wrapped."""
_NOT_PLAIN = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_MOST_OF_A_JUMP = 0xFFFF


_Handler: TypeAlias = tuple[int, int, int, int]
"""Start, length, target (in units of code), depth of the stack."""


def has_rest(code: types.CodeType) -> bool:
    """Whether a function takes `*args`."""
    return bool(code.co_flags & inspect.CO_VARARGS)


def has_more(code: types.CodeType) -> bool:
    """Whether a function takes `**kwargs`."""
    return bool(code.co_flags & inspect.CO_VARKEYWORDS)


def with_question(
    code: types.CodeType, inside: Callable[..., bool], run: Callable[..., Any], asks_first: bool
) -> types.CodeType | None:
    """Return `code` with `if not inside(): return run(*<all parameters>)` in front; None where that cannot be done.

    `asks_first` gives `inside` the first parameter. `inside` has to return True or False, and `run` the generator or
    coroutine where `code` is one's.
    """
    if _VERSION > _NEWEST or (_VERSION == (3, 10) and code.co_flags & _NOT_PLAIN):
        return None
    number = len(code.co_consts)
    asked = _callable(number) + (_load(code, 0) if asks_first else b"") + _call(int(asks_first))
    parameters = range(code.co_argcount + code.co_kwonlyargcount + has_rest(code) + has_more(code))
    answer = _callable(number + 1) + b"".join(_load(code, slot) for slot in parameters) + _call(len(parameters))
    changes = _before_3_11(code, asked, answer) if _VERSION == (3, 10) else _from_3_11(code, asked, answer)
    if changes is None:
        return None
    return code.replace(
        co_consts=(*code.co_consts, inside, run, None),
        co_stacksize=max(code.co_stacksize, len(parameters) + 4),
        **changes,
    )


def _instruction(name: str, argument: int = 0) -> bytes:
    operation = opcode.opmap[name]
    prefixes = [shift for shift in (24, 16, 8) if argument >> shift]
    text = b"".join(bytes((opcode.EXTENDED_ARG, argument >> shift & 0xFF)) for shift in prefixes)
    return text + bytes((operation, argument & 0xFF)) + bytes(2 * _caches(name))


def _caches(name: str) -> int:
    """How many units of cache follow an instruction."""
    caches: Any = getattr(opcode, "_inline_cache_entries", {})
    return int(caches.get(name, 0) if isinstance(caches, dict) else caches[opcode.opmap[name]])


def _callable(constant: int) -> bytes:
    load = _instruction("LOAD_CONST", constant)
    if _VERSION == (3, 10):
        return load
    null = _instruction("PUSH_NULL")
    return null + load if _VERSION < (3, 13) else load + null


def _load(code: types.CodeType, slot: int) -> bytes:
    name = code.co_varnames[slot]
    if name not in code.co_cellvars:
        return _instruction("LOAD_FAST", slot)
    return _instruction("LOAD_DEREF", code.co_cellvars.index(name) if _VERSION == (3, 10) else slot)


def _call(count: int) -> bytes:
    if _VERSION == (3, 10):
        return _instruction("CALL_FUNCTION", count)
    precall = _instruction("PRECALL", count) if _VERSION == (3, 11) else b""
    return precall + _instruction("CALL", count)


# From Python 3.11 on jumps are relative, so what stands behind the question moves as a whole. It is asked before the
# instruction that makes a generator of the frame, and before the one at which tracers see the call begin. A coroutine
# is asked later, when it begins to run: it may do so as a task of its own, after the call that it was made in.


async def _awaits() -> Any:
    return await None  # type: ignore[misc]  # not run: its instructions are those of an `await`


def _from_3_11(code: types.CodeType, asked: bytes, answer: bytes) -> dict[str, Any] | None:
    text = code.co_code
    is_coroutine = bool(code.co_flags & inspect.CO_COROUTINE)
    at = _find(text, "RESUME") if is_coroutine else min(_find(text, "RESUME"), _find(text, "RETURN_GENERATOR"))
    at += 2 * is_coroutine
    body = text[at:]
    jump = "POP_JUMP_FORWARD_IF_FALSE" if _VERSION == (3, 11) else "POP_JUMP_IF_FALSE"
    question = asked + _instruction(jump, len(body) // 2)
    handlers = [_moved(handler, at // 2, len(question) // 2) for handler in _handlers(code)]
    if is_coroutine:
        template = _awaits.__code__.co_code
        first, last = _find(template, "SEND"), _find(template, "CALL_INTRINSIC_1")
        reply = answer + _instruction("GET_AWAITABLE") + _instruction("LOAD_CONST", len(code.co_consts) + 2)
        moved = (at + len(question) + len(body) + len(reply) - first) // 2
        of_await = [handler for handler in _handlers(_awaits.__code__) if first <= 2 * handler[2] < last]
        handlers += [(start + moved, length, target + moved, depth) for start, length, target, depth in of_await]
        reply += template[first:last]
    else:
        reply = _instruction("RESUME") + answer + _instruction("RETURN_VALUE")
    lines = code.co_linetable
    split = _end_of_lines(lines, at // 2)
    last_lines = [line for _, _, line in code.co_lines() if line is not None]
    back = code.co_firstlineno - last_lines[-1] if last_lines else 0
    return {
        "co_code": text[:at] + question + body + reply,
        "co_linetable": b"".join(
            (lines[:split], _lines(len(question) // 2, 0), lines[split:], _lines(len(reply) // 2, back))
        ),
        "co_exceptiontable": b"".join(map(_encoded, handlers)),
    }


def _find(text: bytes, name: str) -> int:
    """Return where the first instruction of that name is, or where the code ends; what caches hold is zero in it."""
    wanted = opcode.opmap.get(name)
    return next((place for place in range(0, len(text), 2) if text[place] == wanted), len(text))


def _end_of_lines(lines: bytes, units: int) -> int:
    """Return where in a table of lines the entries of the first `units` units of code end."""
    place = seen = 0
    while seen < units:
        seen += (lines[place] & 7) + 1
        place += 1
        while place < len(lines) and not lines[place] & 0x80:
            place += 1
    return place


def _lines(units: int, step: int) -> bytes:
    """Return entries that put code on the line that is `step` further than the one before."""
    table = bytearray()
    while units > 0:
        length = min(units, 8)
        table.append(0x80 | 13 << 3 | length - 1)  # a line without columns
        value = -step << 1 | 1 if step < 0 else step << 1
        while value >= 0x40:
            table.append(0x40 | value & 0x3F)
            value >>= 6
        table.append(value)
        units -= length
        step = 0
    return bytes(table)


def _moved(handler: _Handler, at: int, units: int) -> _Handler:
    """Return an entry of the table of exception handlers for code that has got some units more in one place."""
    start, length, target, depth = handler
    begins_behind = start >= at
    length += units if not begins_behind and start + length > at else 0
    return start + units * begins_behind, length, target + units * (target >= at), depth


def _handlers(code: types.CodeType) -> list[_Handler]:
    numbers = _numbers(code.co_exceptiontable)  # type: ignore[attr-defined]
    return list(zip(numbers, numbers, numbers, numbers, strict=True))


def _encoded(handler: _Handler) -> bytes:
    text = bytearray()
    for number in handler:
        parts = [number >> shift & 0x3F for shift in range(24, -1, -6) if number >> shift or not shift]
        text += bytes((*(part | 0x40 for part in parts[:-1]), parts[-1]))
    text[0] |= 0x80
    return bytes(text)


def _numbers(table: bytes) -> Iterator[int]:
    value = 0
    for byte in table:
        value = value << 6 | byte & 0x3F
        if not byte & 0x40:
            yield value
            value = 0


# Python 3.10 has absolute jumps, each of which is written anew, with room for where it goes now. It makes a generator
# before the code begins, so the question of one would come too late.


def _before_3_11(code: types.CodeType, asked: bytes, answer: bytes) -> dict[str, Any] | None:
    answer += _instruction("RETURN_VALUE")
    instructions = list(_instructions(code.co_code))
    jumps = {*dis.hasjabs, *dis.hasjrel}
    to_body = _room_to_jump("POP_JUMP_IF_TRUE", 0)
    question = len(asked) + len(to_body) + len(answer)
    place = question
    places: dict[int, int] = {}
    for start, end, operation, _ in instructions:
        places[start] = place
        place += 4 if operation in jumps else end - start
    places[len(code.co_code)] = place
    if place // 2 > _MOST_OF_A_JUMP:
        return None
    text = bytearray(asked + _room_to_jump("POP_JUMP_IF_TRUE", question // 2) + answer)
    for start, end, operation, argument in instructions:
        if operation in dis.hasjabs:
            text += _room_to_jump(opcode.opname[operation], places[argument * 2] // 2)
        elif operation in dis.hasjrel:
            distance = places[end + argument * 2] - (places[start] + 4)
            text += _room_to_jump(opcode.opname[operation], distance // 2)
        else:
            text += code.co_code[start:end]
    ranges = [(places[start], places[end], line) for start, end, line in code.co_lines() if end > start]
    table = _old_lines([(0, question, code.co_firstlineno), *ranges], code.co_firstlineno)
    return {"co_code": bytes(text), "co_linetable": table}


def _room_to_jump(name: str, argument: int) -> bytes:
    return bytes((opcode.EXTENDED_ARG, argument >> 8, opcode.opmap[name], argument & 0xFF))


def _instructions(text: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield where each instruction begins, with what extends its argument, where it ends, what it is, its argument."""
    start = argument = 0
    for place in range(0, len(text), 2):
        operation, argument = text[place], argument << 8 | text[place + 1]
        if operation != opcode.EXTENDED_ARG:
            yield start, place + 2, operation, argument
            start, argument = place + 2, 0


def _old_lines(ranges: Iterable[tuple[int, int, int | None]], first: int) -> bytes:
    table = bytearray()
    current = first
    for start, end, line in ranges:
        length = end - start
        step = -128 if line is None else line - current
        current = current if line is None else line
        while line is not None and not -127 <= step <= 127:
            part = max(-127, min(step, 127))
            table += bytes((0, part & 0xFF))
            step -= part
        while length > 254:
            table += bytes((254, step & 0xFF))
            length, step = length - 254, -128 if line is None else 0
        table += bytes((length, step & 0xFF))
    return bytes(table)
