"""HTML templates: one environment for all, in which what is put into a template is escaped."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

from .text import in_html

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["templates"]

_LONG = 28
"""Characters above which a text may be broken elsewhere than at blanks. The script of tables does the same."""
_BREAKS = re.compile(r"(?<=[/_…])|(?<=\.)(?=[A-Za-z])")


@functools.cache
def templates(folder: Path) -> Environment:
    """Return the templates of a folder. In these, `text|coded` shows what stands between backticks as code.

    `text|breakable` may be broken after slashes, underscores and dots, if it is long.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    found.filters["coded"] = _coded
    found.filters["breakable"] = _breakable
    return found


def _coded(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(in_html(text))


def _breakable(text: str) -> Markup:
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(map(escape, _BREAKS.split(text) if len(text) > _LONG else [text]))
