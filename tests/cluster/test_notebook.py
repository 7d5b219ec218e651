"""What a notebook shows: a real kernel runs it, a real browser opens it."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import raymemprof

websocket = pytest.importorskip("websocket")
from tests.programs.browser import Browser, Page, browser, executable

needs_browser = pytest.mark.skipif(executable() is None, reason="Chromium is not installed")

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
BOXES = "[...document.querySelectorAll('#chart g.frame')]"
CELLS = (
    """
import ray
from raymemprof import calls, captures, flamegraph, profile_memory, table

ray.init("local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
""",
    """
@ray.remote
@profile_memory
def load(megabytes):
    texts = [bytearray(1_000_000) for _ in range(megabytes)]
    head = bytearray(500_000 * megabytes)
    copies = [bytes(text) for text in texts]
    return len(head) + sum(map(len, copies))


@ray.remote
@profile_memory
class Keeper:
    def __init__(self):
        self.kept = []

    def keep(self, megabytes):
        self.kept.append(bytearray(megabytes * 1_000_000))
""",
    """
keeper = Keeper.remote()
ray.get([load.remote(4), load.remote(6), keeper.keep.remote(3), keeper.keep.remote(5)])
""",
    "calls()",
    'flamegraph(max(calls(name="load"), key=lambda call: call.peak_memory))',
    'table(captures(name="Keeper.keep")[0])',
    "ray.shutdown()",
)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A notebook of the cells above, executed."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    folder = tmp_path_factory.mktemp("notebook")
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source.strip()) for source in CELLS])
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(folder / name.lower()))
        nbclient.NotebookClient(
            made, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        ).execute()
    return made


@pytest.fixture(scope="module")
def page_file(notebook: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebook as HTML that needs nothing from the network by itself."""
    nbconvert = pytest.importorskip("nbconvert")
    exporter = nbconvert.HTMLExporter(require_js_url="", mathjax_url="", jquery_url="", mermaid_js_url="")
    path = tmp_path_factory.mktemp("page") / "notebook.html"
    path.write_text(exporter.from_notebook_node(notebook)[0])
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A running browser."""
    with browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


def click_zooms(page: Page, frame: str | None = None) -> None:
    """Assert that a flame graph is drawn, that a click on its narrowest box fills its row, and a reset undoes it."""
    page.until(f"{BOXES}.length > 2", frame)
    widths = f"{BOXES}.map(box => Math.round(box.getBoundingClientRect().width))"
    before = page.evaluate(widths, frame)
    smallest = min(range(len(before)), key=lambda index: before[index])
    assert 20 < before[smallest] < max(before) / 2
    number = page.evaluate(f"{BOXES}[{smallest}].__data__.id", frame)
    page.click(f"{BOXES}[{smallest}]", frame)
    clicked = f"{BOXES}.find(box => box.__data__.id == {number})"
    page.until(f"Math.abs({clicked}.getBoundingClientRect().width - {max(before)}) < 3", frame)
    assert page.evaluate("document.querySelectorAll('#chart .fade').length", frame) > 0
    page.click("document.getElementById('resetZoomButton')", frame)
    page.until(f"Math.abs({clicked}.getBoundingClientRect().width - {before[smallest]}) < 3", frame)


def test_a_result_is_shown_once_and_also_as_text(notebook: Any) -> None:
    calls, flames, listing = (cell.outputs for cell in notebook.cells[3:6])
    assert [len(calls), len(flames), len(listing)] == [1, 1, 1]
    assert "Keeper.keep" in calls[0].data["text/plain"]


@needs_browser
def test_a_notebook_shows_tables_and_reports(page_file: Path, chromium: Browser) -> None:
    page = chromium.open(page_file)
    flames, listing = page.frames()

    calls = page.evaluate("[...document.querySelectorAll('td')].filter(e => e.checkVisibility()).map(e => e.innerText)")
    assert {"load", "Keeper.__init__", "Keeper.keep"} <= set(calls)

    assert "copies = [bytes(text) for text in texts]" in page.until(
        "document.getElementById('chart').textContent", flames
    )
    click_zooms(page, flames)

    rows = page.until("[...document.querySelectorAll('#the_table tbody tr')].map(row => row.innerText)", listing)
    sizes = {row.split("\t")[0] for row in rows if "keep at" in row}
    assert sizes <= {"7.9 MB", "8.0 MB"}, rows  # a page at the end need not be resident
    assert sizes

    assert page.requests == []
    assert page.errors == []


@needs_browser
def test_a_flame_graph_is_a_page_by_itself(tmp_path: Path, chromium: Browser) -> None:
    with raymemprof.profile_memory("load", directory=tmp_path):
        held = [bytearray(3_000_000)]
        held.append(bytearray(1_000_000))
    (call,) = raymemprof.calls(tmp_path)
    for report in (raymemprof.flamegraph(call), raymemprof.flamegraph(call, "leaks.html", view="leaks")):
        page = chromium.open(report.path)
        click_zooms(page)
        assert page.requests == []
        assert page.errors == []


@needs_browser
def test_hostile_names_are_shown_as_text_and_run_nothing(tmp_path: Path, chromium: Browser) -> None:
    def hold() -> list[bytearray]:
        return [bytearray(3_000_000)]

    hostile = types.FunctionType(hold.__code__.replace(co_name=HOSTILE, co_filename=HOSTILE), {})
    hostile.__qualname__ = HOSTILE
    with raymemprof.profile_memory(HOSTILE, directory=tmp_path):
        held = [hostile(), hostile()]
    raymemprof.profile_memory(directory=tmp_path)(hostile)()
    assert len(held) == 2
    calls = raymemprof.calls(tmp_path, name=HOSTILE)
    assert len(calls) == 2

    for number, call in enumerate(calls):
        flames, listing = raymemprof.flamegraph(call), raymemprof.table(call)
        parts = (calls, raymemprof.captures(tmp_path), raymemprof.heap(call), flames, listing)
        inline = tmp_path / f"inline{number}.html"
        inline.write_text("<!DOCTYPE html><meta charset=utf-8>" + "".join(part._repr_html_() for part in parts))
        page = chromium.open(inline)
        assert page.evaluate("[...document.querySelectorAll('td')].map(e => e.innerText)").count(HOSTILE) >= 2
        assert page.evaluate("document.querySelector('iframe').title").startswith(HOSTILE)
        assert page.errors == page.requests == []

        for report in (flames, listing):
            page = chromium.open(report.path)
            assert HOSTILE in page.until("document.getElementById('statsModal').textContent")
            if report is flames:
                page.until(f"{BOXES}.length > 1")
                page.move_to(f"{BOXES}.at(-1)")
                page.until(f"document.querySelector('.d3-flame-graph-tip').textContent.includes({HOSTILE!r})")
            else:
                page.until(f"document.getElementById('the_table').textContent.includes({HOSTILE!r})")
            assert page.errors == page.requests == []
