"""Memory that Python takes to import modules: it belongs to the line that began the import, and is told apart."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

import raymemprof
from raymemprof.reading.captures.stacks import guilty, is_import
from raymemprof.reading.reports.notebook.graph import Graph
from raymemprof.reading.reports.notebook.listing import Listing
from raymemprof.reading.reports.shown_lines import shown_place

MIB = 2**20
IMPORTS = ("_find_and_load", "<frozen importlib._bootstrap>", 1176)
LIBRARY = ("<module>", "/env/lib/python3.11/site-packages/heavy/__init__.py", 3)
TASK, MODULE = ("load", "/job/task.py", 5), ("<module>", "/job/steps.py", 1)


@pytest.mark.parametrize(
    ("stack", "line", "imports"),
    [
        ((LIBRARY, IMPORTS, TASK), TASK, True),
        ((LIBRARY, IMPORTS, MODULE, IMPORTS, TASK), TASK, True),
        ((MODULE, IMPORTS, TASK), MODULE, False),
        ((LIBRARY, IMPORTS, ("lazy", "/job/steps.py", 9), TASK), ("lazy", "/job/steps.py", 9), True),
        ((LIBRARY, TASK), TASK, False),
        ((LIBRARY, IMPORTS), LIBRARY, True),
    ],
    ids=["a library", "a module that imports a library", "what a module makes", "a function", "no import", "no user"],
)
def test_whose_line_it_is(stack: tuple[tuple[str, str, int], ...], line: tuple[str, str, int], imports: bool) -> None:
    assert guilty(stack) == line
    assert is_import(stack) is imports


def test_an_import_does_not_hide_the_line_that_holds_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "site-packages" / "heavy_19.py"
    library.parent.mkdir()
    library.write_text("DATA = bytearray(20_000_000)\n")
    (tmp_path / "steps_19.py").write_text("import heavy_19\nTABLE = bytearray(4_000_000)\n")
    monkeypatch.syspath_prepend(library.parent)
    monkeypatch.syspath_prepend(tmp_path)

    @raymemprof.profile_memory(directory=tmp_path / "recorded")
    def load() -> int:
        importlib.import_module("steps_19")
        return len(bytearray(6_000_000))

    load()
    for name in ("steps_19", "heavy_19"):
        del sys.modules[name]
    top = raymemprof.heap(raymemprof.calls(tmp_path / "recorded")).top(3)
    assert [(line.text, round(line.bytes / 10**6), line.is_import) for line in top] == [
        ('importlib.import_module("steps_19")', 20, True),
        ("return len(bytearray(6_000_000))", 6, False),
        ("TABLE = bytearray(4_000_000)", 4, False),
    ]
    assert " import " in repr(top).splitlines()[4]
    (row,) = raymemprof.summary(tmp_path / "recorded")
    assert row.guilty_line == top[1]

    (call,) = raymemprof.calls(tmp_path / "recorded")
    listed = raymemprof.table(call, tmp_path / "table.html").shown
    assert isinstance(listed, Listing)
    assert [re.sub(r"(?<= at |for )\S+/", "", place.place) for place in listed[:2]] == [
        f"<module> at heavy_19.py:1, for test_imports.py:{top[0].line}: {top[0].text}",
        f"load at test_imports.py:{top[1].line}: {top[1].text}",
    ]
    graph = raymemprof.flamegraph(call, tmp_path / "flames.html").shown
    assert isinstance(graph, Graph)
    assert not [box for box in graph.boxes if "importlib._bootstrap" in box.place]
    above = [box.label for box in graph.boxes if box.depth == 2 and box.size > 10_000_000]
    assert above == ["return _bootstrap._gcd_import(name[level:], package, level)"], "what an import runs is there"


def test_a_table_names_the_line_that_a_librarys_code_works_for() -> None:
    texts = {(TASK[1], TASK[2]): "table = heavy.load()"}
    native = ("native thread", "<native thread>", 0)
    for stack, place in (
        ((LIBRARY, TASK), f"<module> at {LIBRARY[1]}:3, for /job/task.py:5: table = heavy.load()"),
        ((native, LIBRARY, TASK), "native thread, for /job/task.py:5: table = heavy.load()"),
        ((TASK, MODULE), "load at /job/task.py:5: table = heavy.load()"),
        ((LIBRARY,), f"<module> at {LIBRARY[1]}:3"),
        ((native,), "native thread"),
        ((), "???"),
    ):
        assert shown_place(stack, texts) == place
