"""Reports in a live JupyterLab: opened untrusted, run, used with mouse and keys, saved and opened again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupyterlab")
pytest.importorskip("websocket")
from tests.programs.browser import Browser, Page, browser
from tests.programs.jupyterlab import jupyterlab, shards

pytestmark = pytest.mark.browser

BOXES = "[...document.querySelectorAll('[data-box]')]"
COPIES = f"{BOXES}.find(box => box.textContent.startsWith('copies ='))"
FILTER = (
    "[...document.querySelectorAll('input[aria-label=\"Filter rows\"]')]"
    ".find(one => one.closest('.jp-OutputArea-output').innerText.includes('duration'))"
)
"""That of the table of calls."""
TABLE = f"{FILTER}.closest('.jp-OutputArea-output').querySelector('table')"
PEAKS = f"[...{TABLE}.tBodies[0].rows].map(row => parseFloat(row.cells[6].innerText))"
COUNT = "window.jupyterapp.shell.currentWidget.content.widgets.length"
KERNEL = "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status"


class Lab(NamedTuple):
    """A JupyterLab with a notebook that was run by another user, and a browser."""

    address: str
    notebook: Path
    chromium: Browser

    def open(self) -> Page:
        """Open the notebook, and scroll to its first output."""
        page = self.chromium.open(self.address.format(f"doc/tree/{self.notebook.name}"))
        page.until("document.querySelectorAll('.jp-OutputArea-output td').length > 3 && Boolean(window.jupyterapp)")
        page.evaluate("document.querySelector('.jp-OutputArea-output').scrollIntoView()")
        return page


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    path = shards(folder)
    with jupyterlab(folder) as address, browser(folder) as chromium:
        yield Lab(address, path, chromium)


def requests_elsewhere(lab: Lab, page: Page) -> list[str]:
    """What a page asked of another machine."""
    own = urlsplit(lab.address).netloc
    return [url for url in page.requests if urlsplit(url).netloc != own]


def test_a_notebook_that_is_not_trusted_shows_the_picture(lab: Lab) -> None:
    page = lab.open()
    (width,) = page.until("[...document.querySelectorAll('.jp-OutputArea-output img')].map(e => e.naturalWidth)")
    assert width == 960
    assert page.evaluate(f"{BOXES}.length") == 0
    assert "load_shard, 7 calls, " in page.evaluate("document.querySelector('.jp-OutputArea-output').innerText")
    assert page.errors == requests_elsewhere(lab, page) == []


def test_a_flame_graph_in_jupyterlab(lab: Lab) -> None:
    page = lab.open()
    page.until(f"{KERNEL} == 'idle'")  # cells that are run before it is there are not run
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.until(f"{BOXES}.length > 3")
    cells = page.evaluate(COUNT)

    page.click("document.querySelector('.rmp-bar input')")
    for key in "ddbytes(":  # where the notebook has the focus, "d" "d" deletes a cell
        page.press(key)
    assert page.evaluate("document.querySelector('.rmp-bar input').value") == "ddbytes("
    assert "Nothing found" in page.evaluate("document.querySelector('.rmp-bar output').textContent")
    page.evaluate("document.querySelector('.rmp-bar input').select()")
    for key in "bytes(":
        page.press(key)
    # Calls that another kernel recorded before have the boxes of this one's.
    assert "2 found: " in page.until("document.querySelector('.rmp-bar output').textContent")

    page.press("Enter")
    page.until(f"{COPIES}.style.width == '100%'")
    for key in ("d", "d", "Escape", "ArrowDown", "d", "d"):
        page.press(key)
    page.until(f"{COPIES}.style.width != '100%'")
    assert "load_shard" in page.evaluate("document.activeElement.ariaLabel")
    assert page.evaluate(COUNT) == cells
    page.click(COPIES)
    page.until(f"{COPIES}.style.width == '100%'")
    assert page.errors == requests_elsewhere(lab, page) == []

    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    assert lab.notebook.stat().st_size < 100_000


def test_a_table_of_calls_in_jupyterlab(lab: Lab) -> None:
    page = lab.open()
    page.until(f"{KERNEL} == 'idle'")
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.until(f"Boolean({FILTER})")
    cells = page.evaluate(COUNT)
    page.click(f"{TABLE}.tHead.rows[0].cells[6]")
    assert "peak" in page.evaluate(f"{TABLE}.tHead.rows[0].cells[6].innerText")
    peaks = page.evaluate(PEAKS)
    assert len(peaks) >= 7
    assert peaks == sorted(peaks, reverse=True)
    page.click(FILTER)
    for key in "ddload":  # where the notebook has the focus, "d" "d" deletes a cell
        page.press(key)
    assert page.evaluate(PEAKS) == []
    page.evaluate(f"{FILTER}.select()")
    for key in "load":
        page.press(key)
    assert page.evaluate(PEAKS) == peaks
    assert page.evaluate(COUNT) == cells
    assert page.errors == requests_elsewhere(lab, page) == []


PRESSES = f"[...{TABLE}.querySelectorAll('[data-opens]')]"
OPENED = f"{TABLE}.parentElement.querySelector('section')"
DRAWN = f"[...{OPENED}.querySelectorAll('[data-box]')]"


def test_a_click_on_a_row_has_the_kernel_draw_its_graph(lab: Lab) -> None:
    pytest.importorskip("anywidget")
    page = lab.open()
    page.until(f"{KERNEL} == 'idle'")
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.until(f"Boolean({FILTER}) && {PRESSES}.length >= 7")
    page.until(
        f"{KERNEL} == 'idle' && window.jupyterapp.shell.currentWidget.content.widgets.at(-1).model.executionCount"
    )
    cells = page.evaluate(COUNT)
    page.click(f"{TABLE}.tHead.rows[0].cells[7]")  # the largest growth first: it is that of 7 MB
    page.click(f"{TABLE}.tBodies[0].rows[0].cells[2]")
    page.until(f"{OPENED} && {DRAWN}.length > 3")
    first = page.evaluate(f"{OPENED}.querySelector('b').innerText")
    assert first.startswith("load_shard, ")
    assert "copies = [bytes(text) for text in texts]" in page.evaluate(f"{DRAWN}.map(box => box.textContent)")
    page.click(f"{DRAWN}.find(box => box.textContent.startsWith('copies ='))")
    page.until(f"{DRAWN}.find(box => box.textContent.startsWith('copies =')).style.width == '100%'")

    page.evaluate(f"{PRESSES}[0].focus()")
    for key in ("d", "d", "ArrowDown", "Enter"):  # where the notebook has the focus, "d" "d" deletes a cell
        page.press(key)
    page.until(f"{TABLE}.tBodies[0].rows[1].ariaCurrent == 'true'")  # calls of one size have one title
    page.until(f"{DRAWN}.length > 3")
    assert page.evaluate(COUNT) == cells
    for capture in Path(lab.notebook.parent, "recorded").glob("*.bin"):
        capture.write_bytes(os.urandom(10_000))
    page.click(f"{TABLE}.tBodies[0].rows[2].cells[2]")
    page.until(f"{OPENED}.innerText.includes('There is no flame graph: ')")
    assert page.evaluate(KERNEL) in ("idle", "busy"), "what damages a capture ends no kernel"
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.click(f"{TABLE}.tBodies[0].rows[3].cells[2]")
    page.until(f"{OPENED}.innerText.includes('Run this to see its flame graph:')")
    assert "raymemprof.flamegraph(" in page.evaluate(f"{OPENED}.innerText")
    assert page.errors == requests_elsewhere(lab, page) == []

    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.until("!window.jupyterapp.shell.currentWidget.context.model.dirty")
    saved = nbformat.read(lab.notebook, 4)
    assert "widgets" not in saved.metadata
    assert not any(
        "widget" in kind for cell in saved.cells for output in cell.outputs for kind in output.get("data", ())
    )


def test_a_saved_notebook_is_as_good(lab: Lab) -> None:
    page = lab.open()
    page.until(f"{BOXES}.length > 3")
    page.click(COPIES)
    page.until(f"{COPIES}.style.width == '100%'")
    for theme in ("Light", "Dark"):
        page.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})")
        page.until(f"document.body.dataset.jpThemeName == 'JupyterLab {theme}'")
        is_light = f"getComputedStyle({COPIES}).color.match(/\\d+/g).every(part => part > 128)"
        page.until(f"String({is_light}) == '{str(theme == 'Dark').lower()}'")
    assert page.errors == requests_elsewhere(lab, page) == []
