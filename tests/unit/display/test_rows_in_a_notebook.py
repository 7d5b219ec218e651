"""Tables in a notebook's page, in a real browser: sorted and filtered with mouse and keys."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

pytest.importorskip("websocket")
import raymemprof
from raymemprof.display.record import Record
from raymemprof.display.rows import Rows
from raymemprof.display.text import show_bytes, show_seconds
from tests.programs.browser import Browser, Page, browser

pytestmark = pytest.mark.browser

MIB = 2**20
HOSTILE = "</script><script>document.title = 'run'</script>"
BODY = "[...document.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"


@dataclass(frozen=True)
class Thing(Record):
    name: str
    size: int | None
    seconds: float


class Things(Rows[Thing]):
    _columns: ClassVar[tuple[tuple[str, Any, bool], ...]] = (
        ("name", lambda thing: thing.name, False),
        ("size", lambda thing: show_bytes(thing.size), True),
        ("duration", lambda thing: show_seconds(thing.seconds), True),
    )
    _title = ("thing", "things")


class Opening(Things):
    """Things with a flame graph each, but for those without a size."""

    def _opens(self, row: Thing) -> str:
        return "" if row.size is None else f"/tmp/it's#1/{row.name}.bin#0-{row.size}"


class Newest(Things):
    _newest_last: ClassVar[bool] = True


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


def opened(things: Things, folder: Path, chromium: Browser, **how: Any) -> Page:
    path = folder / "page.html"
    path.write_text(f"<!DOCTYPE html><meta charset=utf-8>{things._repr_html_()}")
    return chromium.open(path, **how)


def few(kind: type[Things] = Things) -> Things:
    sizes = (900 * 1024, None, 3 * MIB // 2, 2**30, -MIB)
    seconds = (0.25, 59, 61, 3660, 0.001)
    names = ("load", "Cache.add", HOSTILE, "train", "load_all")
    return kind(map(Thing, names, sizes, seconds))


def test_a_click_sorts_by_what_is_meant_and_another_turns_it_round(tmp_path: Path, chromium: Browser) -> None:
    page = opened(few(), tmp_path, chromium)
    page.click("document.querySelectorAll('th')[1]")
    largest_first = [["1.0 GiB", "1.5 MiB", "900.0 KiB", "-1.0 MiB", ""]]
    assert [[row[1] for row in page.evaluate(BODY)]] == largest_first
    assert page.evaluate("document.querySelectorAll('th')[1].ariaSort") == "descending"
    page.click("document.querySelectorAll('th')[1]")
    assert [row[1] for row in page.evaluate(BODY)] == ["-1.0 MiB", "900.0 KiB", "1.5 MiB", "1.0 GiB", ""]
    page.evaluate("document.querySelectorAll('th')[2].focus()")
    page.press("Enter")
    assert [row[2] for row in page.evaluate(BODY)] == ["1 h 01 min", "1 min 01 s", "59.0 s", "250.0 ms", "1.0 ms"]
    page.click("document.querySelectorAll('th')[0]")
    assert [row[0] for row in page.evaluate(BODY)][1:] == ["Cache.add", "load", "load_all", "train"]
    assert page.errors == page.requests == []


def test_a_filter_finds_words_also_in_rows_that_are_not_shown(tmp_path: Path, chromium: Browser) -> None:
    page = opened(Newest(Thing(f"f{number}", number - 480, 1) for number in range(1_500)), tmp_path, chromium)
    assert [page.evaluate(BODY)[place][0] for place in (0, -1)] == ["f1440", "f1499"], "the latest are shown"
    page.click("document.querySelector('input')")
    for key in "f750":
        page.press(key)
    assert page.evaluate(BODY) == [["f750", "270 B", "1.0 s"]]
    assert page.evaluate("document.querySelector('output').textContent") == "1 of 1000 rows match"
    page.evaluate("document.querySelector('input').select()")
    page.press("5")
    matching = sum("5" in f"{number} {number - 480}" for number in range(500, 1_500))
    assert page.evaluate("document.querySelector('output').textContent") == f"{matching} of 1000 rows match, 60 shown"
    page.evaluate("document.querySelector('input').value = ''")
    page.click("document.querySelectorAll('th')[1]")
    assert [row[0] for row in page.evaluate(BODY)] == [f"f{number}" for number in range(1_499, 1_439, -1)]
    text = page.evaluate("document.body.innerText")
    assert "… and 1440 earlier ones, not shown" in text
    assert "Sorted and filtered are the latest 1,000." in text
    assert page.errors == page.requests == []


def test_names_are_text_and_without_scripts_it_is_a_table(tmp_path: Path, chromium: Browser) -> None:
    for how in ({}, {"scripts": False}):
        page = opened(few(), tmp_path, chromium, **how)
        if not how:
            page.click("document.querySelectorAll('th')[0]")
            assert page.evaluate("document.title") == ""
        assert "<script>" in few()._repr_html_()
        assert sum(row[0] == HOSTILE for row in page.evaluate(BODY)) == 1
        assert page.evaluate("document.querySelectorAll('input').length") == (0 if how else 1)


PRESSES = "[...document.querySelectorAll('[data-opens]')]"
SECTION = "document.querySelector('section')"


@pytest.mark.parametrize("count", [2, 5])
def test_a_click_on_a_row_says_what_draws_its_graph_where_no_kernel_listens(
    count: int, tmp_path: Path, chromium: Browser
) -> None:
    things = few(Opening)[:count]
    page = opened(things, tmp_path, chromium)
    assert page.evaluate("document.querySelectorAll('input').length") == int(count > 3)
    assert page.evaluate(f"{PRESSES}.map(one => one.textContent)") == [
        one.name for one in things if one.size is not None
    ]
    page.click("document.querySelectorAll('tbody td')[1]")
    code = f'raymemprof.flamegraph("/tmp/it\'s#1/load.bin#0-{900 * 1024}")'
    assert page.evaluate(f"{SECTION}.querySelector('code').textContent") == code
    assert "It is copied." in page.until(f"{SECTION}.innerText.includes('copied') && {SECTION}.innerText")
    assert page.evaluate("document.querySelector('tbody tr').ariaCurrent") == "true"
    page.click("document.querySelectorAll('tbody tr')[1].cells[0]")  # which has none
    assert page.evaluate(f"{SECTION}.querySelector('code').textContent") == code
    page.click(f"[...{SECTION}.querySelectorAll('button')].find(one => one.textContent == 'Close')")
    assert page.evaluate(f"{SECTION}") is None
    assert page.evaluate("document.querySelector('tbody tr').ariaCurrent") == "false"
    assert page.errors == page.requests == []


def test_keys_open_a_row_also_when_it_was_sorted(tmp_path: Path, chromium: Browser) -> None:
    page = opened(few(Opening), tmp_path, chromium)
    page.click("document.querySelectorAll('th')[1]")
    assert page.evaluate(f"{PRESSES}.filter(one => one.tabIndex == 0).length") == 1, "one stop for Tab"
    page.evaluate(f"{PRESSES}[0].focus()")
    page.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == HOSTILE
    page.press("Enter")
    code = page.until(f"{SECTION}?.querySelector('code').textContent")
    assert code.endswith(f'{HOSTILE}.bin#0-{3 * MIB // 2}")')
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    said = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if "role" in node]
    assert ("button", "load_all") in said
    assert any(role == "region" and name.startswith("Flame graph of ") for role, name in said)
    assert page.evaluate("document.title") == ""
    assert page.errors == page.requests == []


def test_the_page_is_the_same_in_each_run_and_a_short_table_has_no_script() -> None:
    assert few()._repr_html_() == few()._repr_html_()
    assert "<script>" not in few()[:2]._repr_html_().replace(HOSTILE, "")
    targets = (f"/tmp/ray/session/logs/raymemprof-load-{number % 8}.bin" for number in range(5_000))
    many = Opening(Thing(target, MIB, 1.0) for target in targets)
    assert len(many._repr_html_()) < 200_000
    assert len(Newest(Thing("load_shard", MIB, 1.0) for _ in range(5_000))._repr_html_()) < 100_000


JUPYTERLAB = """<style>
body { margin: 0; font: 14px/1.54 sans-serif } .output { width: 1017px; overflow: auto }
table { margin: 0 auto 1em; border-collapse: collapse; font-size: 12px } td, th { padding: .5em; line-height: normal }
</style>"""
"""How JupyterLab shows tables, in a window 1,200 pixels wide."""
RIGHT = "[...document.querySelectorAll('.output')].map(one => one.scrollWidth)"


def test_what_matters_is_in_view_in_a_narrow_window(tmp_path: Path, chromium: Browser) -> None:
    folder = tmp_path / "recorded"

    @raymemprof.profile_memory(directory=folder)
    def join_the_customers_with_their_orders_of_a_year(megabytes: int) -> int:
        texts = [bytearray(1_000_000) for _ in range(megabytes)]
        if megabytes == 3:
            raise ValueError(
                "there is no /data/customers/2026/11/part-0001-of-0128.parquet, so it cannot be " + "done " * 40
            )
        return len(texts)

    for megabytes in (2, 3, 4, 5):
        with contextlib.suppress(ValueError):
            join_the_customers_with_their_orders_of_a_year(megabytes)
    long = join_the_customers_with_their_orders_of_a_year
    for name in ("x" * 5_000, "load " * 1_000, " "):
        with raymemprof.profile_memory(name, directory=folder):
            long.__wrapped__(1)  # type: ignore[attr-defined]
    tables = [raymemprof.summary(folder), raymemprof.calls(folder), raymemprof.captures(folder)]
    path = tmp_path / "page.html"
    outputs = "".join(f"<div class=output>{one._repr_html_()}</div>" for one in tables)
    path.write_text(f"<!DOCTYPE html><meta charset=utf-8>{JUPYTERLAB}{outputs}")
    for how in ({}, {"scripts": False}):
        page = chromium.open(path, **how)
        assert page.evaluate(RIGHT) == [1017] * 3
        headings = page.evaluate("[...document.querySelectorAll('thead tr')].map(row => row.innerText)")
        for heading, wanted in zip(headings, ("line of the largest", "note", "first call"), strict=True):
            assert wanted in heading
        assert max(page.evaluate("[...document.querySelectorAll('tbody tr')].map(row => row.offsetHeight)")) < 200
        numbers = "[...document.querySelectorAll('td')].filter(one => one.style.textAlign == 'right')"
        assert max(page.evaluate(f"{numbers}.map(one => one.offsetHeight - one.parentNode.offsetHeight)")) <= 0
        assert page.evaluate("document.body.innerText").count("(no name)") == 2
    page_of_doctor = raymemprof.doctor(folder).save(tmp_path / "report.html")._repr_html_()
    path.write_text(f"<!DOCTYPE html><meta charset=utf-8>{JUPYTERLAB}<div class=output>{page_of_doctor}</div>")
    page = chromium.open(path)
    inner = "[...document.querySelectorAll('details div')]"
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    wide = page.evaluate(f"{inner}.map(one => [one.innerText.slice(0, 40), one.scrollWidth - one.clientWidth])")
    assert len(wide) >= 2
    assert {more for _, more in wide} == {0}, wide
    assert max(map(len, (repr(table) for table in tables))) < 6_000
    assert len(repr(raymemprof.heap(raymemprof.calls(folder)[-2]))) < 3_000
    blank = raymemprof.calls(folder)[-1]
    assert raymemprof.flamegraph(blank, tmp_path / "a.html").title.startswith("(no name), ")
