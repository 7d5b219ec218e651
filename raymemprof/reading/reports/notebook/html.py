"""The HTML of a report in a notebook: each kind of report has its template."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from ....display.html import templates
from ....display.text import printable
from .drawn import Drawn
from .graph import Graph
from .listing import Listing
from .picture import TEMPLATES, WIDTH, picture
from .written import Written

__all__ = ["html_of"]


def html_of(
    shown: Graph | Listing | Drawn | Written | None, title: str, path: Path, left_out: tuple[str, ...], kind: str
) -> str:
    """Return what a notebook shows of a report that was written to a file."""
    known = {"title": title, "file": printable(str(path)), "left_out": left_out}
    if _is_empty(shown):
        return _render("empty.html", **known)
    if isinstance(shown, Graph):
        return _flamegraph(shown, known, left_out)
    if isinstance(shown, Drawn):
        return _render("drawn.html", **known, drawn=shown)
    if isinstance(shown, Listing):
        return _render("table.html", **known, listing=shown._repr_html_())
    if isinstance(shown, Written):
        return _render("written.html", **known, written=shown)
    return _render("file.html", **known, kind=kind)


def _flamegraph(shown: Graph, known: dict[str, Any], left_out: tuple[str, ...]) -> str:
    packed, folded = shown.packed(), str(shown.folded)
    svg = picture(shown).encode(errors="replace")
    return _render(
        "flamegraph.html",
        **known,
        folded="" if folded in left_out else folded,
        note=shown.note,
        packed=packed,
        id=hashlib.sha256(packed.encode()).hexdigest()[:16],
        picture=base64.b64encode(svg).decode(),
        width=WIDTH,
    )


def _render(template: str, **known: Any) -> str:
    return templates(TEMPLATES).get_template(template).render(**known)


def _is_empty(shown: object) -> bool:
    """Whether nothing was held of what there is to show."""
    return not shown.boxes[0].size if isinstance(shown, Graph) else isinstance(shown, Listing) and not shown
