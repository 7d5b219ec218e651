"""A report that was written to a file, and how a notebook shows it."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass, field
from pathlib import Path

from ...display.record import Record
from ...display.text import first_few, printable
from .notebook.drawn import Drawn
from .notebook.graph import Graph
from .notebook.html import html_of
from .notebook.listing import Listing
from .notebook.written import Written

__all__ = ["Report"]


_KINDS = {
    "flamegraph": "Flame graph",
    "table": "Table",
    "speedscope": "speedscope file",
    "timeline": "Timeline",
    "diagnosis": "Diagnosis",
}


@dataclass(frozen=True, slots=True)
class Report(Record):
    """A report that was written to a file.

    Attributes:
        path: the file.
        kind: "flamegraph", "table", "speedscope", "timeline" or "diagnosis".
        title: the calls or processes that it shows.
        left_out: sentences on what it does not show: captures and nodes that could not be read, calls without a
            capture, and what was merged.
    """

    path: Path
    kind: str
    title: str
    left_out: tuple[str, ...] = ()
    shown: Graph | Listing | Drawn | Written | None = field(default=None, repr=False, compare=False)
    """What a notebook shows of it."""

    def open(self) -> None:
        """Show the report in a web browser."""
        webbrowser.open(self.path.absolute().as_uri())

    def __repr__(self) -> str:
        lines = [f"{_KINDS.get(self.kind, self.kind)} in {self.path}: {self.title}", *first_few(self.left_out)]
        return "\n".join(map(printable, lines))

    def __fspath__(self) -> str:
        return str(self.path)

    def _repr_html_(self) -> str:
        """Return the report as a notebook shows it: all of it, inline, needing no file beside the notebook."""
        return html_of(self.shown, self.title, self.path, self.left_out, self.kind)
