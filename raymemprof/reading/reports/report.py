"""A report that was written to a file, and how a notebook shows it."""

from __future__ import annotations

import base64
import hashlib
import webbrowser
from dataclasses import dataclass, field
from pathlib import Path

from ...display.html import templates
from ...display.record import Record
from ...display.text import first_few, printable
from .notebook.drawn import Drawn
from .notebook.graph import Graph
from .notebook.listing import Listing
from .notebook.picture import TEMPLATES, WIDTH, picture
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
        title: what it is of.
        left_out: sentences on what is not in this: captures and nodes that could not be read, calls without a capture,
            call stacks and processes that are too many to draw.
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
        notebook = templates(TEMPLATES)
        known = {"title": self.title, "file": printable(str(self.path)), "left_out": self.left_out}
        if _is_empty(self.shown):
            return notebook.get_template("empty.html").render(**known)
        if isinstance(self.shown, Graph):
            packed, folded = self.shown.packed(), str(self.shown.folded)
            svg = picture(self.shown).encode(errors="replace")
            return notebook.get_template("flamegraph.html").render(
                **known,
                folded="" if folded in self.left_out else folded,
                note=self.shown.note,
                packed=packed,
                id=hashlib.sha256(packed.encode()).hexdigest()[:16],
                picture=base64.b64encode(svg).decode(),
                width=WIDTH,
            )
        if isinstance(self.shown, Drawn):
            return notebook.get_template("drawn.html").render(**known, drawn=self.shown)
        if isinstance(self.shown, Listing):
            return notebook.get_template("table.html").render(**known, listing=self.shown._repr_html_())
        if isinstance(self.shown, Written):
            return notebook.get_template("written.html").render(**known, written=self.shown)
        return notebook.get_template("file.html").render(**known, kind=self.kind)


def _is_empty(shown: object) -> bool:
    """Whether nothing was held of what there is to show."""
    return not shown.boxes[0].size if isinstance(shown, Graph) else isinstance(shown, Listing) and not shown
