"""All that a notebook shows, one of each kind: where scripts do not run, and as editors put it into their page."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("websocket")
import raymemprof
from raymemprof.diagnosis.usage.records import Nodes, NodeUsage, Processes, ProcessUsage, Usage
from raymemprof.reading.reports.notebook.listing import listing
from tests.programs.browser import Browser, browser
from tests.programs.sanitized import sanitized, text_of

pytestmark = pytest.mark.browser

MIB, GIB = 2**20, 2**30
NODE = "a" * 56
DEATH = f"""Task was killed due to the node running low on memory.
Memory on the node (IP: 10.0.62.231, ID: {NODE}) where the task (task ID: {"4" * 40}02000000, name=load, \
pid=11362, memory used=1.25GB) was running was 27.71GB / 28.80GB (0.962273), which exceeds the memory usage threshold \
of 0.95. Ray killed this worker (ID: {"6" * 56}) because it was the most recently scheduled task; to see more.
"""
PICTURES = {"flamegraph": 1, "timeline": 1, "page": 3}
"""How many pictures stand in each; none in the others."""
SAID = {
    "calls": ("5 calls", "load", "Cache.add", "finished"),
    "captures": ("1 capture", "raymemprof-", ".bin"),
    "heap": ("lines by memory held", "copies = [bytes(text) for text in texts]"),
    "summary": ("functions", "load", "Cache"),
    "flamegraph": ("load, 2 calls, ", "MiB on average", "A box is a line of code", "The whole report is in"),
    "table": ("load, 2 calls, ", "allocations", "test_shown_elsewhere.py:", "The whole report is in"),
    "speedscope": ("load, 2 calls, ", "with speedscope"),
    "timeline": ("load", "The whole report is in"),
    "explain": ("memory", "load", "1.2 GiB"),
    "usage": ("RSS", "actor", "Cache"),
    "doctor": ("What to do:", "Checked, as Ray's page does:", "unexpected"),
    "page": (
        "What to do:",
        "Memory of the nodes",
        "Kills and peaks",
        "Profiled calls",
        "unexpected",
        "Flame graph of what",
    ),
}
"""What each must still say."""
BACKGROUNDS = {"light": ("#ffffff", "#3b3b3b"), "dark": ("#1f1f1f", "#cccccc")}
"""Colours of VS Code's themes, of which its notebooks take theirs."""
AS_AN_EDITOR = """
<!DOCTYPE html><meta charset=utf-8><meta http-equiv=Content-Security-Policy content="default-src 'none';
script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:">
<style>body {{ background: {0}; color: {1}; font-family: sans-serif }}</style><body>
<script>
for (const [name, html] of Object.entries({2})) {{
    const cell = document.createElement("div");
    cell.id = name;
    cell.innerHTML = html;  // which runs no script: each is run by itself, and is gone then
    document.body.append(cell);
    for (const script of cell.querySelectorAll("script")) {{
        const again = document.createElement("script");
        again.text = script.innerText;
        cell.append(again);
        again.remove();
    }}
    cell.querySelector("div").tabIndex = 0;
}}
</script>
"""
"""How VS Code shows HTML in a trusted workspace, in a page for all outputs, with the strictest policy that it has."""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The HTML of one of each kind that a notebook shows."""
    folder = tmp_path_factory.mktemp("recorded")

    @raymemprof.profile_memory(directory=folder)
    def load(megabytes: int) -> int:
        texts = [bytearray(1_000_000) for _ in range(megabytes)]
        copies = [bytes(text) for text in texts]
        time.sleep(0.12)
        return len(copies)

    @raymemprof.profile_memory(directory=folder)
    class Cache:
        def __init__(self) -> None:
            self.kept: list[bytearray] = []

        def add(self, megabytes: int) -> None:
            self.kept.append(bytearray(megabytes * 1_000_000))

    load(4), load(6)
    cache = Cache()
    cache.add(3), cache.add(5)
    calls = raymemprof.calls(folder)
    loads = raymemprof.calls(folder, name="*load")
    figures = dict.fromkeys(NodeUsage.__dataclass_fields__, 0)
    processes = Processes([ProcessUsage(7, "actor", "Cache", 3 * GIB, 60 * MIB, 3 * GIB - 60 * MIB)])
    known = ("node_id", "node_ip", "is_head", "total", "used", "available", "threshold", "processes")
    node = NodeUsage(
        **{key: figures[key] for key in ("object_store_used", "object_store_primary", "object_store_held", "spilled")},
        **dict(zip(known, (NODE, "10.0.0.1", True, 32 * GIB, 4 * GIB, 28 * GIB, 30 * GIB, processes), strict=True)),
        object_store_capacity=9 * GIB,
    )
    usage = Usage(datetime.now(timezone.utc), Nodes([node]), ())
    finding = raymemprof.Finding(
        "warning", "copy", "It is unexpected.", "load", None, ("why",), ("do",), calls=tuple(loads)
    )
    found = replace(raymemprof.doctor(folder), findings=(finding,), usage=usage)
    things: dict[str, Any] = {
        "calls": calls,
        "captures": raymemprof.captures(folder),
        "heap": raymemprof.heap(loads),
        "summary": raymemprof.summary(folder),
        "flamegraph": raymemprof.flamegraph(loads, folder / "flames.html"),
        "table": raymemprof.table(loads, folder / "table.html"),
        "speedscope": raymemprof.speedscope(loads, folder / "scope.json"),
        "timeline": raymemprof.timeline(loads, folder / "timeline.html"),
        "explain": raymemprof.explain(DEATH),
        "usage": usage,
        "doctor": found,
        "page": found.save(folder / "report.html"),
    }
    return {name: one._repr_html_() for name, one in things.items()}


@pytest.mark.parametrize("name", SAID)
def test_where_html_is_sanitized_all_that_is_said_stays(
    name: str, shown: dict[str, str], chromium: Browser, tmp_path: Path
) -> None:
    kept = sanitized(shown[name])
    assert not re.search(r"<(script|style|iframe|svg|button|input)|style=| id=| on\w+=", kept)
    missing = [text for text in SAID[name] if text not in text_of(kept)]
    assert missing == [], text_of(kept)
    assert text_of(kept) == text_of(shown[name])
    page_file = tmp_path / "page.html"
    page_file.write_text(f"<!DOCTYPE html><meta charset=utf-8>{kept}")
    page = chromium.open(page_file)
    pictures = page.until(
        "[[...document.images].every(image => image.complete), [...document.images].map(image =>"
        " [image.alt, image.naturalWidth, image.naturalHeight])]"
    )[1]
    assert len(pictures) == PICTURES.get(name, 0)
    assert all(len(alt) > 10 and width >= 900 and height >= 60 for alt, width, height in pictures), pictures
    assert page.errors == page.requests == []


def test_each_is_small(shown: dict[str, str]) -> None:
    sizes = {name: len(html.encode()) for name, html in shown.items()}
    assert max(sizes.values()) < 60_000, sizes
    assert not any("<iframe" in html for html in shown.values())


CONTRAST = """
(() => {
    const numbers = (colour) => {
        const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
        return colour.startsWith("color(") ? parts.map((part) => 255 * part) : parts;
    };
    const light = (colour) => {
        const [r, g, b] = colour.map((part) => part / 255).map(
            (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = light(numbers(getComputedStyle(document.body).backgroundColor));
    return [...document.querySelectorAll("b, td, th, li, small, summary, output, input, button, div")]
        .filter((one) => one.checkVisibility() && !one.closest("[data-raymemprof], span"))
        .map((one) => light(numbers(getComputedStyle(one).color)))
        .map((text) => (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05));
})()
"""


@pytest.mark.parametrize("theme", BACKGROUNDS)
def test_an_editors_page_shows_all_in_its_theme(
    theme: str, shown: dict[str, str], chromium: Browser, tmp_path: Path
) -> None:
    page_file = tmp_path / "page.html"
    htmls = json.dumps(shown).replace("</", "<\\/")
    page_file.write_text(AS_AN_EDITOR.format(*BACKGROUNDS[theme], htmls))
    page = chromium.open(page_file, height=3000)
    page.until("document.querySelectorAll('.rmp-boxes [data-box]').length > 3")
    assert page.evaluate("document.querySelectorAll('[data-raymemprof] img').length") == 0
    themes = page.evaluate("[...document.querySelectorAll('svg')].map(svg => svg.dataset.theme)")
    assert themes == [theme] * (PICTURES["timeline"] + PICTURES["page"])
    grounds = page.evaluate("[...document.querySelectorAll('svg .ground')].map(one => getComputedStyle(one).fill)")
    assert all((int(re.findall(r"\d+", fill)[0]) > 128) == (theme == "light") for fill in grounds), grounds
    assert min(page.evaluate(CONTRAST)) > 4.5  # what the accessibility guidelines (WCAG) ask for
    page.click("document.querySelector('#calls th')")
    names = page.evaluate("[...document.querySelectorAll('#calls tbody tr')].map(row => row.cells[0].textContent)")
    assert names == sorted(names)
    heights = page.evaluate("[...document.body.children].map(one => one.scrollHeight - one.clientHeight)")
    assert set(heights) == {0}, "as high as what it shows"
    assert page.errors == page.requests == []


LEGEND = """
(() => {
    const colours = (element) => getComputedStyle(element).backgroundColor;
    const graph = document.querySelector("#flamegraph");
    const [own, library] = [...graph.querySelectorAll("small span")].map(colours);
    return [own, colours(graph.querySelector(".rmp-own")), library];
})()
"""


def test_a_theme_may_be_changed_while_all_is_shown(shown: dict[str, str], chromium: Browser, tmp_path: Path) -> None:
    page_file = tmp_path / "page.html"
    page_file.write_text(AS_AN_EDITOR.format(*BACKGROUNDS["light"], json.dumps(shown).replace("</", "<\\/")))
    page = chromium.open(page_file, height=3000)
    page.until("document.querySelectorAll('.rmp-boxes [data-box]').length > 3")
    own, box, library = page.evaluate(LEGEND)
    assert own == box != library, "the key has the colours of the boxes, which let the page's ground through"
    assert "0." in library
    count = PICTURES["timeline"] + PICTURES["page"]
    for theme in ("dark", "light"):
        ground, text = BACKGROUNDS[theme]
        page.evaluate(f"Object.assign(document.body.style, {{ background: '{ground}', color: '{text}' }})")
        page.until(f"document.querySelectorAll('svg[data-theme={theme}]').length == {count}")
    page.evaluate("document.querySelector('#timeline').hidden = true")
    page.evaluate("document.body.style.color = '#ccc'")
    page.until(f"document.querySelectorAll('svg[data-theme=dark]').length >= {count - 1}")
    page.evaluate("document.querySelector('#timeline').hidden = false")
    page.until(f"document.querySelectorAll('svg[data-theme=dark]').length == {count}")
    assert page.errors == page.requests == []


def test_a_table_of_lines_filters_and_sorts(shown: dict[str, str], chromium: Browser, tmp_path: Path) -> None:
    rows = [
        {
            "size": number * MIB,
            "n_allocations": number,
            "allocator": "malloc",
            "stack_trace": f"f at /a/steps.py:{number}",
        }
        for number in range(1, 301)
    ]
    report = replace(raymemprof.Report(tmp_path / "table.html", "table", "load, 300.0 MiB"), shown=listing(rows))
    page_file = tmp_path / "page.html"
    page_file.write_text(f"<!DOCTYPE html><meta charset=utf-8>{report._repr_html_()}")
    page = chromium.open(page_file)
    first = "document.querySelector('tbody tr').innerText"
    assert page.evaluate(first).startswith("300.0 MiB")
    page.click("document.querySelectorAll('th')[1]")
    page.click("document.querySelectorAll('th')[1]")
    assert page.evaluate(first).startswith("101.0 MiB"), "of the 200 largest"
    page.click("document.querySelector('input')")
    for key in ":142":
        page.press(key)
    assert page.evaluate("document.querySelectorAll('tbody tr').length") == 1
    assert "… and 100 more, with 4.9 GiB together: see the file." in page.evaluate("document.body.innerText")
    assert page.errors == page.requests == []


def test_of_nothing_a_sentence_is_shown(tmp_path: Path) -> None:
    with raymemprof.profile_memory("nothing", directory=tmp_path):
        pass
    (call,) = raymemprof.calls(tmp_path)
    for report in (raymemprof.flamegraph(call, tmp_path / "a.html"), raymemprof.table(call, tmp_path / "b.html")):
        assert "There is nothing to draw" in report._repr_html_()
        assert not re.search("<img|<script|<table", report._repr_html_())
    for empty in (raymemprof.summary(tmp_path, name="nosuch"), raymemprof.calls(tmp_path, name="nosuch")):
        said = f"No {empty._title[1]}.", f"in {tmp_path}: no call fits name='nosuch'; there are calls of nothing"
        assert "".join(repr(empty).split()) == "".join(said).replace(" ", "")  # the folder's name may be wrapped
        assert text_of(empty._repr_html_()) == " ".join(said)


def test_calls_that_are_alike_have_so_much_each(tmp_path: Path) -> None:
    @raymemprof.profile_memory(directory=tmp_path)
    def load(megabytes: int) -> list[bytearray]:
        return [bytearray(1_000_000) for _ in range(megabytes)]

    for megabytes in (5, 5, 20):
        load(megabytes)
    calls = raymemprof.calls(tmp_path)
    titles = [raymemprof.flamegraph(some, tmp_path / "a.html", overwrite=True).title for some in (calls[:2], calls)]
    ends = [raymemprof.flamegraph(calls, tmp_path / "a.html", view="leaks", overwrite=True).title]
    assert [re.sub(r"\d+\.\d", "N", title.partition("load, ")[2]) for title in titles + ends] == [
        "2 calls, N MiB each",
        "3 calls, N MiB on average",
        "3 calls, N MiB on average left at the end",
    ]
