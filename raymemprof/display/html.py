"""HTML templates: one environment for all, in which what is put into a template is escaped."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from .text import in_html

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["templates"]


@functools.cache
def templates(folder: Path) -> Environment:
    """Return the templates of a folder. In these, `text|coded` shows what stands between backticks as code."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    found.filters["coded"] = _coded
    return found


def _coded(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(in_html(text))
