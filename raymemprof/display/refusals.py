"""How it is shown that a public function refuses what it is given."""

from __future__ import annotations

import functools
import opcode
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

__all__ = ["short_traceback"]

P = ParamSpec("P")
T = TypeVar("T")
_PACKAGE = __name__.partition(".")[0]
_RAISE = opcode.opmap["RAISE_VARARGS"]


def short_traceback(function: Callable[P, T]) -> Callable[P, T]:
    """Have the traceback of what a public function refuses end where it was called: the message says what is wrong.

    An error that no `raise` of raymemprof's made keeps its frames.
    """

    @functools.wraps(function)
    def public(*args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True  # pytest leaves this frame out
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if not _is_refusal(error.__traceback__):
                raise
            refusal = error.with_traceback(None)
        try:
            raise refusal from None
        finally:
            del refusal  # which refers to this frame

    return public


def _is_refusal(trace: TracebackType | None) -> bool:
    """Whether the innermost frame is in raymemprof, at a `raise`."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] != _PACKAGE:
        return False
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] == _RAISE
