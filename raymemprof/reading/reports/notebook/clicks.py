"""Answers clicks on the rows of tables in a notebook: the kernel draws the flame graph that is asked for.

The tables' script asks, and what is displayed is the table alone: the widget that carries questions and answers has no
view, so a saved notebook has no trace of it. Without anywidget, the script says what to run.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from pathlib import Path
from typing import Any

from ....cells import shell
from ..render import flamegraph

__all__ = ["answer_clicks"]

_SCRIPT = Path(__file__).with_name("templates") / "clicks.js"
_shown: dict[str, frozenset[str]] = {}
"""What the rows of the tables open that this kernel showed. A page may hold those of other kernels."""


def answer_clicks(table: str, targets: frozenset[str]) -> None:
    """Have this kernel answer clicks on a table, if somebody sits before it and anywidget is there. Never raises."""
    if not _is_watched() or importlib.util.find_spec("anywidget") is None:
        return
    _shown[table] = targets
    try:
        _listener()
    except Exception as error:
        warnings.warn(f"clicks on the rows of tables are not answered: {error!r}", RuntimeWarning, stacklevel=2)


def _is_watched() -> bool:
    """Whether a person's notebook runs the cell: it says which one.

    What runs notebooks by itself would save the state of the widget, for which nbconvert's pages fetch scripts from the
    network.
    """
    kernel: Any = getattr(shell(), "kernel", None)
    parent = kernel.get_parent() if hasattr(kernel, "get_parent") else {}
    return "cellId" in ((parent or {}).get("metadata") or {})


@functools.cache
def _listener() -> Any:
    from anywidget import AnyWidget

    made: Any = type("Listener", (AnyWidget,), {"_esm": _SCRIPT.read_text()})()
    made.on_msg(lambda widget, content, _: _answer(widget, content))
    return made


def _answer(widget: Any, question: Any) -> None:
    if not isinstance(question, dict):
        return
    table, target = question.get("table"), question.get("target")
    if not (isinstance(table, str) and isinstance(target, str)) or target not in _shown.get(table, ()):
        return
    try:
        answer = {"html": flamegraph(target)._repr_html_()}
    except Exception as error:
        answer = {"error": f"There is no flame graph: {error}"}
    widget.send({"table": table, "target": target, **answer})
