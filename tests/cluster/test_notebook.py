"""What a notebook shows: a real kernel runs it, a real browser opens it."""

from __future__ import annotations

import base64
import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import raymemprof
from raymemprof.reading.reports.notebook.picture import picture

websocket = pytest.importorskip("websocket")
from tests.programs.browser import Browser, Page, browser
from tests.programs.sanitized import sanitized

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
    'flamegraph(calls(name="load"))',
    'flamegraph(captures(name="Keeper.keep")[0], view="leaks")',
)
STARTS = (
    """
%load_ext raymemprof
import json, os
import raymemprof

def fill(megabytes):
    return [bytearray(1_000_000) for _ in range(megabytes)]

@ray.remote(max_calls=100, num_returns=2)
def plain(megabytes):
    kept = fill(megabytes)
    return len(kept), ray.get_runtime_context().get_task_name()

@ray.remote
def outer(megabytes):
    return ray.get(plain.options(name="inner").remote(megabytes))

@ray.remote
def stream(megabytes):
    for number in range(3):
        yield len(fill(megabytes))

@ray.remote(num_cpus=0)
class Holder:
    def __init__(self, megabytes=1):
        self.kept = fill(megabytes)

    async def hold(self, megabytes):
        self.kept += fill(megabytes)
        return len(self.kept), os.environ.get("RAYMEMPROF_RECORD_ALL")

holder = Holder.remote()
ray.get([*plain.remote(3), holder.hold.remote(2)])
before = len(calls())
""",
    """%%profile_memory --name started --interval-ms 5
created = Holder.options(name="named").remote(9)
results = [
    ray.get(plain.remote(12)),
    ray.get(plain.options(name="mine", num_cpus=0.5).remote(2)),
    ray.get(outer.remote(4)),
    [ray.get(one) for one in stream.remote(5)],
    ray.get([created.hold.remote(7), holder.hold.remote(1)]),
    ray.get(load.remote(3)),
]
""",
    """%%profile_memory --name fails --interval-ms 5
[ray.get(one) for one in stream.remote(1)]
raise KeyboardInterrupt
""",
    """
def ours():
    of_ray = vars(ray.remote_function.RemoteFunction)["_remote"], vars(ray.actor.ActorClass)["_remote"]
    return [one.__code__.co_filename for one in of_ray if "raymemprof" in one.__code__.co_filename]

since = len(calls())
results += [ray.get(plain.remote(12)), ray.get(created.hold.remote(1))]
told = [call.name for call in calls()[since:]]
line = {name: raymemprof.heap(calls(name=name)[0]).top(1)[0] for name in ("plain", "Holder.hold")}
logs = ray._private.worker.global_worker.node.get_logs_dir_path()
lines = {name: [one.location, one.bytes] for name, one in line.items()}
print(json.dumps([before, results, told, ours(), lines, logs]))
""",
    """%%profile_memory --name leaves
ray.shutdown()
""",
)
"""Cells that start what nobody decorated: before, while a cell is recorded, while one fails, and after."""
DRAWN = "[...document.querySelectorAll('[data-box]')]"
MOST_BYTES = 300_000
"""What any report may take in a notebook."""


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A notebook of all cells above, executed."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    folder = tmp_path_factory.mktemp("notebook")
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source.strip()) for source in CELLS + STARTS])
    made.cells[-3].metadata["tags"] = ["raises-exception"]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(folder / name.lower()))
        nbclient.NotebookClient(
            made, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        ).execute()
    return made


@pytest.fixture(scope="module")
def notebook(executed: Any) -> Any:
    """The notebook with the reports of what is decorated, and without what shows the progress of others."""
    return type(executed)({**executed, "cells": executed.cells[: len(CELLS)], "metadata": {}})


@pytest.fixture(scope="module", params=["light", "dark"])
def page_file(notebook: Any, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The notebook as HTML that needs nothing from the network by itself."""
    nbconvert = pytest.importorskip("nbconvert")
    exporter = nbconvert.HTMLExporter(
        require_js_url="", mathjax_url="", jquery_url="", mermaid_js_url="", theme=request.param
    )
    path = tmp_path_factory.mktemp("page") / f"{request.param}.html"
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


def reports_of(notebook: Any) -> list[str]:
    """The HTML of the reports in a notebook, in its order."""
    htmls = [output.data.get("text/html", "") for cell in notebook.cells for output in cell.outputs if "data" in output]
    return [html for html in htmls if "The whole report is in" in html]


def test_a_result_is_shown_once_and_also_as_text(notebook: Any) -> None:
    shown = [cell.outputs for cell in notebook.cells[3:8]]
    assert [len(outputs) for outputs in shown] == [1] * 5
    assert "Keeper.keep" in shown[0][0].data["text/plain"]


def test_a_recorded_cell_has_what_it_starts_that_nobody_decorated(executed: Any) -> None:
    _, recorded, fails, after, leaves = executed.cells[len(CELLS) :]
    table = re.sub(r"\x1b\[[0-9;]*m", "", recorded.outputs[0].data["text/plain"])
    # The column of kinds is there where the table is wide enough.
    rows = {name: int(count) for name, count in re.findall(r"^ (\w+) +(?:[a-z]+ +)?(\d+) ", table, re.M)}
    assert rows == {
        "started": 1,
        "plain": 3,  # one of them of another task
        "outer": 1,
        "stream": 1,
        "Holder": 2,  # of the new actor
        "load": 1,  # which is decorated
    }, table
    before, results, after_it, patched, lines, logs = json.loads(after.outputs[-1].text)
    assert before == len(("load", "load", "keep", "keep", "__init__"))
    assert results == [
        [12, "plain"],
        [2, "mine"],
        [4, "inner"],
        [5, 5, 5],
        [[16, "1"], [4, None]],
        7_500_000 - 3_000_000,
        [12, "plain"],
        [17, "1"],
    ]
    assert after_it == ["Holder.hold"], "the actor of the cell alone"
    assert patched == []
    for name, megabytes in (("plain", 12), ("Holder.hold", 7)):
        where, size = lines[name]
        assert where == f"In [{len(CELLS) + 1}], line 6", name
        assert 0.9 * megabytes * 1_000_000 < size < 1.3 * megabytes * 1_000_000, (name, size)
    line = raymemprof.heap(raymemprof.calls(logs, name="outer")[0]).top(1)[0]  # the kernel is gone
    assert (line.location, line.text) == (
        f"In [{len(CELLS) + 1}], line 15",
        'return ray.get(plain.options(name="inner").remote(megabytes))',
    )
    assert leaves.outputs[-1].text.startswith("The cell disconnected from Ray.")
    assert fails.outputs[-1].ename == "KeyboardInterrupt"
    assert "stream" in fails.outputs[0].data["text/plain"]


def test_reports_are_small(notebook: Any) -> None:
    flames, listing, together, process = [len(html.encode()) for html in reports_of(notebook)]
    assert max(flames, together) < 30_000
    assert max(listing, process) < 150_000 < MOST_BYTES  # all that a worker has
    assert not any(word in html for html in reports_of(notebook) for word in ("<iframe", "src=http", 'src="http'))


def test_titles_are_those_a_person_would_give(notebook: Any) -> None:
    titles = [re.findall("<b>(.*?)</b>", html)[0] for html in reports_of(notebook)]
    size = r"\d+\.\d MiB"
    for title, expected in zip(
        titles,
        (
            rf"load, {size}",
            rf"actor Keeper, process \d+, {size}",
            rf"load, 2 calls, {size} on average",
            rf"actor Keeper, process \d+, {size} left at the end",
        ),
        strict=True,
    ):
        assert re.fullmatch(expected, title), (title, expected)


@pytest.mark.browser
def test_a_notebook_shows_tables_and_reports(page_file: Path, chromium: Browser) -> None:
    page = chromium.open(page_file)
    page.until("document.querySelectorAll('.rmp-boxes').length == 3")
    cells = page.evaluate("[...document.querySelectorAll('td')].map(e => e.innerText)")
    assert {"load", "Keeper.__init__", "Keeper.keep"} <= set(cells)
    assert "7.6 MiB" in cells  # what the two calls of keep() left: 3 and 5 MB
    assert "copies = [bytes(text) for text in texts]" in page.evaluate(f"{DRAWN}.map(box => box.textContent)")
    assert page.evaluate("document.querySelectorAll('[data-raymemprof] img').length") == 0
    assert page.requests == []
    assert page.errors == []


CONTRAST = """
(() => {
    const numbers = (colour) => { const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
    const over = (above, below) => above.slice(0, 3).map((part, i) => part * above[3] + below[i] * (1 - above[3]));
    const light = (colour) => {
        const [r, g, b] = colour.slice(0, 3).map((part) => part / 255).map(
            (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const page = numbers(getComputedStyle(document.body).backgroundColor);
    return [...document.querySelectorAll("[data-box]")].map((box) => {
        const style = getComputedStyle(box);
        const pair = [light(numbers(style.color)), light(over(numbers(style.backgroundColor), page))];
        return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    });
})()
"""


@pytest.mark.browser
def test_a_flame_graph_fits_into_a_notebook(page_file: Path, chromium: Browser) -> None:
    page = chromium.open(page_file)
    page.until("document.querySelectorAll('.rmp-boxes').length == 3")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((part) => part > 128)")
    assert light == (page_file.stem == "light")
    assert min(page.evaluate(CONTRAST)) > 4.5  # what the accessibility guidelines (WCAG) ask for
    heights = page.evaluate(
        "[...document.querySelectorAll('[data-raymemprof]')].map(place => [place.getBoundingClientRect().height,"
        " 1 + Math.max(...[...place.querySelectorAll('[data-box]')].map(box => Number(box.ariaLevel)))])"
    )
    # What the actor's process still had, beside its calls, is deeper than a screen is high: it scrolls.
    assert all(min(20 * rows, 480) <= height < min(20 * rows, 480) + 90 for height, rows in heights), heights
    middles = page.evaluate(
        "[...document.querySelector('.rmp-bar').children].filter(e => e.textContent || e.placeholder)"
        ".map(e => { const box = e.getBoundingClientRect(); return box.y + box.height / 2; })"
    )
    assert len(middles) == 2
    assert max(middles) - min(middles) < 2  # one row
    assert page.evaluate("[...document.querySelectorAll('.rmp-bar button')].every(button => button.innerText)")


@pytest.mark.browser
def test_a_click_zooms_and_a_search_finds(page_file: Path, chromium: Browser) -> None:
    page = chromium.open(page_file)
    page.until("document.querySelectorAll('.rmp-boxes').length == 3")
    place = "document.querySelector('[data-raymemprof]')"
    boxes = f"[...{place}.querySelectorAll('[data-box]')]"
    copies = f"{boxes}.find(box => box.textContent.startsWith('copies ='))"
    width = f"Math.round({copies}.getBoundingClientRect().width)"
    before, whole = page.evaluate(width), page.evaluate(f"Math.round({boxes}[0].getBoundingClientRect().width)")
    assert before < whole * 0.8
    page.click(copies)
    page.until(f"{width} == {whole}")
    assert "MiB" in page.evaluate(f"{place}.querySelector('.rmp-told').textContent")
    page.click(f"{place}.querySelector('button')")
    page.until(f"{width} == {before}")

    page.click(f"{place}.querySelector('input')")
    for character in "bytes(text)":
        page.press(character)
    hits = f"{boxes}.filter(box => box.classList.contains('rmp-hit')).map(box => box.textContent)"
    assert set(page.until(hits)) == {"copies = [bytes(text) for text in texts]"}
    assert "MiB" in page.evaluate(f"{place}.querySelector('output').textContent")
    page.press("Enter")  # zooms to it
    page.until(f"{width} == {whole}")
    page.press("Escape")  # and back
    page.until(f"{width} == {before}")
    assert page.errors == page.requests == []


@pytest.mark.browser
def test_keys_and_a_screen_reader_can_use_a_flame_graph(page_file: Path, chromium: Browser) -> None:
    page = chromium.open(page_file)
    page.until("document.querySelectorAll('.rmp-boxes').length == 3")
    page.evaluate("document.querySelector('[data-box]').focus()")
    label = "document.activeElement.ariaLabel"
    assert page.evaluate(label).startswith("all · ")
    page.press("ArrowDown")
    first = page.evaluate(label)
    assert "load" in first
    page.press("ArrowRight")
    assert page.evaluate(label) != first
    page.press("ArrowLeft")
    assert page.evaluate(label) == first
    page.press("Enter")
    assert page.evaluate("document.activeElement.style.width") == "100%"
    page.press("ArrowUp")
    assert page.evaluate(label).startswith("all · ")

    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    said = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if "role" in node]
    assert any(role == "tree" and name.startswith("Flame graph: load, ") for role, name in said)
    assert any(role == "treeitem" and "copies = [bytes(text)" in name and "MiB" in name for role, name in said)
    assert {"searchbox", "button"} <= {role for role, name in said if name}


@pytest.mark.browser
@pytest.mark.parametrize("how", ["no scripts", "sanitized"])
def test_where_scripts_do_not_run_a_picture_is_shown(
    notebook: Any, how: str, tmp_path: Path, chromium: Browser
) -> None:
    html = "".join(reports_of(notebook))
    page_file = tmp_path / "page.html"
    page_file.write_text(f"<!DOCTYPE html><meta charset=utf-8>{sanitized(html) if how == 'sanitized' else html}")
    page = chromium.open(page_file, scripts=how == "sanitized")
    pictures = page.until(
        "[...document.images].filter(image => image.complete)"
        ".map(image => [image.alt, image.naturalWidth, image.naturalHeight, image.checkVisibility()])"
    )
    assert [alt.split(",")[0] for alt, *_ in pictures] == ["Flame graph: load"] * 2 + ["Flame graph: actor Keeper"]
    assert all(width == 960 and 60 <= height <= 660 and visible for _, width, height, visible in pictures)
    assert "keep at" in page.evaluate("document.body.innerText")
    assert page.errors == page.requests == []

    source = page.evaluate("document.images[0].src").partition(",")[2]
    svg = ElementTree.fromstring(base64.b64decode(source))
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith("copies = [") for text in texts)


@pytest.mark.browser
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


@pytest.mark.browser
def test_very_many_call_stacks_are_folded_and_a_browser_shows_them(tmp_path: Path, chromium: Browser) -> None:
    held: list[bytearray] = []

    def grow(depth: int) -> None:
        """Hold 3 ** depth pieces, each by another path."""
        if depth == 0:
            held.append(bytearray(600 + len(held) % 7 * 100))
        else:
            grow(depth - 1)
            grow(depth - 1)
            grow(depth - 1)

    with raymemprof.profile_memory("grow", directory=tmp_path):
        grow(9)
    assert len(held) == 19_683
    held.clear()
    report = raymemprof.flamegraph(raymemprof.calls(tmp_path)[0])
    (said,) = report.left_out
    assert re.fullmatch(
        r"The .*smallest call stacks.* are drawn together; they held [\d.]+ MiB, \d+\.\d% of all\.", said
    )
    assert report.path.stat().st_size < 7_000_000  # of which 4.5 MB are memray's scripts
    inline = report._repr_html_()
    assert said in inline
    assert len(inline) < MOST_BYTES

    click_zooms_at_all(chromium.open(report.path))
    (tmp_path / "inline.html").write_text(f"<!DOCTYPE html><meta charset=utf-8>{inline}")
    page = chromium.open(tmp_path / "inline.html")
    assert 100 < page.until(f"{DRAWN}.length") < 6_000
    page.click(f"{DRAWN}[4]")
    page.until("!document.querySelector('.rmp-bar button').disabled")
    assert page.errors == page.requests == []


def click_zooms_at_all(page: Page) -> None:
    """Assert that memray's page draws, and that a click there zooms."""
    assert page.until(f"{BOXES}.length") > 50
    page.click(f"{BOXES}[3]")
    page.until("document.querySelectorAll('#chart .fade').length > 0")
    assert page.errors == page.requests == []


@pytest.mark.browser
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
        assert HOSTILE in page.evaluate("document.querySelector('b').innerText")
        assert page.errors == page.requests == []

        page.until("document.querySelectorAll('.rmp-boxes').length == 1")
        assert HOSTILE in page.evaluate("document.querySelector('.rmp-boxes').ariaLabel")
        boxes = page.evaluate(f"{DRAWN}.map(box => box.ariaLabel)")
        assert any(HOSTILE in text for text in boxes)
        assert page.evaluate("document.querySelectorAll('[data-raymemprof] img, img[src=x]').length") == 0
        assert page.errors == page.requests == []
        (tmp_path / "picture.svg").write_text(picture(flames.shown))
        page = chromium.open(tmp_path / "picture.svg")
        assert HOSTILE[:20] in page.evaluate("document.documentElement.textContent")
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
