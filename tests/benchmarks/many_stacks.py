"""A call with 354,294 call stacks: how large its flame graph is, and how fast Chromium opens and zooms it."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
import raymemprof
from tests.programs.browser import SECONDS as BROWSER_SECONDS
from tests.programs.browser import Browser, browser, executable

FUNCTIONS, DEPTH, ROOTS = 9, 5, 6
STACKS = ROOTS * FUNCTIONS**DEPTH
SIZE = 600
"""Bytes that each stack holds."""
SECONDS = 3.0
"""How long opening, and a zoom, may take."""
_PAGE = "[...document.querySelectorAll('#chart g')]", "document.querySelectorAll('#chart .fade').length > 0"
_NOTEBOOK = "[...document.querySelectorAll('[data-box]')]", "!document.querySelector('.rmp-bar button').disabled"
"""Where the boxes are, and when one is zoomed to."""
MOST_BYTES = {"file": 7_000_000, "notebook": 300_000}


@dataclass(frozen=True)
class Drawn:
    """A form of the flame graph, and what Chromium took for it."""

    form: str
    size: int
    boxes: int
    opened: float
    zoomed: float


def record(folder: Path) -> raymemprof.Call:
    """Record a call that holds a piece by each of many paths."""
    held: list[bytearray] = []
    names: dict[str, Any] = {}

    def go(depth: int) -> None:
        if not depth:
            held.append(bytearray(SIZE))
            return
        for branch in branches:
            branch(depth - 1)

    names["go"] = go
    for number in range(FUNCTIONS):
        exec(f"def branch{number}(depth): go(depth)", names)
    for number in range(ROOTS):
        exec(f"def root{number}(): go({DEPTH})", names)
    branches = [names[f"branch{number}"] for number in range(FUNCTIONS)]
    with raymemprof.profile_memory("grow", directory=folder):
        for number in range(ROOTS):
            names[f"root{number}"]()
    assert len(held) == STACKS
    held.clear()
    return raymemprof.calls(folder)[0]


def measure(folder: Path) -> tuple[list[Drawn], str, str, float]:
    """Return both forms, what memray's page of the same is like, what was folded, and how many seconds drawing took."""
    folder.mkdir()
    call = record(folder)
    start = time.perf_counter()
    report = raymemprof.flamegraph(call, folder / "graph.html")
    drawing = time.perf_counter() - start
    inline, whole = folder / "inline.html", folder / "memray.html"
    inline.write_text(f"<!DOCTYPE html><meta charset=utf-8>{report._repr_html_()}")
    command = [sys.executable, "-m", "memray", "flamegraph", "--no-web", "-f", "-o", str(whole), str(call.capture)]
    subprocess.run(command, check=True, capture_output=True)
    with browser(folder) as chromium:
        forms = [_opened(chromium, "file", report.path, *_PAGE), _opened(chromium, "notebook", inline, *_NOTEBOOK)]
    theirs = f"memray's page: {whole.stat().st_size / 1e6:.0f} MB, "
    try:
        with browser(folder) as chromium:
            theirs += f"opens in {_opened(chromium, 'page', whole, *_PAGE).opened:.1f} s"
    except AssertionError:  # it was waited for in vain
        theirs += f"does not open within {BROWSER_SECONDS} s"
    return forms, theirs, " ".join(report.left_out), drawing


def _opened(chromium: Browser, form: str, path: Path, boxes: str, is_zoomed: str) -> Drawn:
    start = time.perf_counter()
    page = chromium.open(path)
    count = page.until(f"{boxes}.length")
    opened = time.perf_counter() - start
    start = time.perf_counter()
    page.click(f"{boxes}[4]")
    page.until(is_zoomed)
    zoomed = time.perf_counter() - start
    assert page.errors == page.requests == []
    return Drawn(form, path.stat().st_size, count, opened, zoomed)


def is_possible() -> bool:
    """Whether there is a browser."""
    return executable() is not None
