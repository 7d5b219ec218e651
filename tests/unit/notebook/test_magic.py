"""`%%profile_memory` in IPython's shell, without a cluster: what it runs, what it says, and whose lines it shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof.reading.reports.cell_stacks import timed

CELLS = (
    "%load_ext raymemprof",
    "%%profile_memory --name timed --directory recorded\n%time a = [bytearray(1_000_000) for _ in range(5)]",
    "%%profile_memory --name statements --directory recorded\n"
    "%%time\n\nb = bytearray(3_000_000)\nc = bytearray(4_000_000)",
    "%%profile_memory --name repeated --directory recorded\n"
    "%%timeit -n 1 -r 1\n[bytearray(1_000_000) for _ in range(7)]",
    "%%profile_memory --name outer --directory recorded\n%%profile_memory --name inner --directory recorded\n"
    "d = bytearray(6_000_000)",
    "%%profile_memory --directory again\nkept = bytearray(8_000_000)",
    "%%profile_memory --directory again\nkept = bytearray(8_000_000)",
    "%%profile_memory --help",
    "%%profile_memory --help\nran = True",
    "'ran' in globals()",
    "%%profile_memory --nosuch\n1",
    "%%profile_memory",
    "%%profile_memory --directory recorded\n4 * 4;",
    "%%profile_memory --directory recorded\nkept = 1\nfor x in",
    "%%profile_memory --directory /dev/null\nprint('it ran')",
    "import os\nos.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')",
    "%%profile_memory --directory relative\nprint('the cell ran')",
)
(
    _,
    TIMED,
    STATEMENTS,
    REPEATED,
    NESTED,
    ONCE,
    AGAIN,
    HELP,
    HELP_WITH_CELL,
    ASKS,
    UNKNOWN,
    EMPTY,
    QUIET,
    BROKEN,
    NO_FOLDER,
    _,
    GONE,
) = range(1, len(CELLS) + 1)
SHELL = """
import contextlib, io, json, sys
from IPython.core.interactiveshell import InteractiveShell
from ipykernel.compiler import XCachingCompiler  # it names files as a kernel does

shell = InteractiveShell.instance(compiler_class=XCachingCompiler)
shell.colors = "NoColor"
said = []
for cell in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        shell.run_cell(cell, store_history=True)
    said.append(out.getvalue())
print(json.dumps(said))
"""


def in_a_shell(cells: Sequence[str], folder: Path) -> list[str]:
    """Run cells in a shell of their own; what each said."""
    pytest.importorskip("ipykernel")
    done = subprocess.run(
        [sys.executable, "-c", SHELL, json.dumps(cells)], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shell")


@pytest.fixture(scope="module")
def said(folder: Path) -> list[str]:
    """What the cells above said in a shell, the first under 1."""
    return ["", *in_a_shell(CELLS, folder)]


@pytest.fixture
def recorded(said: list[str], folder: Path) -> Path:
    return folder / "recorded"


def lines(recorded: Path, name: str) -> dict[str, str]:
    (call,) = raymemprof.calls(recorded, name=name)
    return {line.location: line.text for line in raymemprof.heap(call).top() if line.bytes > 500_000}


def test_what_magics_time_is_a_line_of_the_cell(recorded: Path) -> None:
    timed = "%time a = [bytearray(1_000_000) for _ in range(5)]"
    assert lines(recorded, "timed") == {f"In [{TIMED}], line 2": timed}
    assert lines(recorded, "statements") == {
        f"In [{STATEMENTS}], line 4": "b = bytearray(3_000_000)",
        f"In [{STATEMENTS}], line 5": "c = bytearray(4_000_000)",
    }
    assert lines(recorded, "repeated") == {f"In [{REPEATED}], line 3": "[bytearray(1_000_000) for _ in range(7)]"}


@pytest.mark.parametrize("name", ["timed", "repeated", "outer", "inner"])
def test_what_runs_a_cell_is_not_shown(name: str, recorded: Path, tmp_path: Path) -> None:
    (call,) = raymemprof.calls(recorded, name=name)
    page: Any = json.loads(raymemprof.speedscope(call, tmp_path / "stacks.json").path.read_text())
    frames = page["shared"]["frames"]
    # Where a cell reads what another recorded, as "outer" does, that is its own memory.
    ours = "(recording|notebook)/" if name == "outer" else ""
    assert not [frame for frame in frames if re.search(rf"/raymemprof/{ours}|<timed|<magic", frame.get("file", ""))]
    profile = page["profiles"][0]
    largest = profile["samples"][max(range(len(profile["weights"])), key=profile["weights"].__getitem__)]
    assert frames[largest[0]]["file"].startswith("In [")
    assert name == "outer" or not [number for number in largest if "IPython" in frames[number]["file"]]


def test_a_cell_that_is_run_again_leaves_the_first_its_number(folder: Path, said: list[str]) -> None:
    rows = {row.name: row.guilty_line for row in raymemprof.summary(folder / "again")}
    assert {name: line and line.location for name, line in rows.items()} == {
        f"In [{ONCE}]": f"In [{ONCE}], line 2",
        f"In [{AGAIN}]": f"In [{AGAIN}], line 2",
    }


def test_a_cell_of_another_kernel_is_not_taken_for_one_of_this(said: list[str], folder: Path) -> None:
    ask = "import raymemprof\nprint(raymemprof.heap(raymemprof.calls('recorded', name='repeated')).top(1)[0].location)"
    assert in_a_shell([ask], folder)[-1] == f"In [{REPEATED}] of another kernel, line 3\n"
    own = "%%profile_memory --directory own --name own\nkept = bytearray(8_000_000)"
    ask = "print(raymemprof.heap(raymemprof.calls('own')).top(1)[0].location)"
    assert in_a_shell(["%load_ext raymemprof", own, "import raymemprof", ask], folder)[-1] == "In [2], line 2\n"


def test_a_cell_that_runs_again_in_a_kernel_after_is_that_cell(tmp_path: Path) -> None:
    define = (
        "@profile_memory(directory='recorded')\ndef fill():\n    return bytearray(8_000_000)\n\n"
        "size = len(fill()) # runs where it is defined"
    )
    in_a_shell(["from raymemprof import *", define], tmp_path)
    ask = "print([(one.location, one.allocations) for one in heap(calls('recorded')).top() if one.bytes > 2**20])"
    said = in_a_shell(["from raymemprof import *", "'another cell'", define, ask], tmp_path)
    assert said[-1] == "[('In [3], line 3', 2)]\n", "one line, with the number that the notebook shows now"


def test_help_is_given_and_a_cell_that_is_not_run_is_named(said: list[str]) -> None:
    assert "--native" in said[HELP]
    assert "Error" not in said[HELP]
    assert "--native" in said[HELP_WITH_CELL]
    assert said[HELP_WITH_CELL].rstrip().endswith("The cell was not run. Remove --help to run and record it.")
    assert "False" in said[ASKS]


def test_what_is_wrong_names_the_options(said: list[str]) -> None:
    assert said[UNKNOWN].startswith("UsageError: %%profile_memory: No such option '--nosuch'. Its options are --name, ")
    assert said[UNKNOWN].rstrip().endswith("--directory; %%profile_memory --help describes them.")
    assert "write the code to record below it" in said[EMPTY]


def test_a_semicolon_at_the_end_hides_the_value(said: list[str]) -> None:
    assert f"Out[{QUIET}]" not in said[QUIET]
    assert "Flame graph in" in said[QUIET]


def test_a_cell_that_is_no_python_says_so_and_no_more(said: list[str]) -> None:
    assert "for x in\n" in said[BROKEN]
    assert f'File "In [{BROKEN}]", line 3' in said[BROKEN]
    assert "SyntaxError: invalid syntax" in said[BROKEN]
    assert "Traceback" not in said[BROKEN]


def test_what_is_no_folder_is_named(said: list[str]) -> None:
    assert "it ran" in said[NO_FOLDER]
    assert "Nothing was recorded to /dev/null: it is no folder" in said[NO_FOLDER]


def test_a_cell_runs_where_the_current_folder_is_gone(said: list[str]) -> None:
    assert "the cell ran\n" in said[GONE]
    assert "the current folder is gone, so the folder relative cannot be found. Give --directory" in said[GONE]
    assert "Traceback" not in said[GONE]


def test_the_extension_is_for_a_shell() -> None:
    with pytest.raises(TypeError, match="takes IPython's shell, and got None: run `%load_ext raymemprof`"):
        raymemprof.load_ipython_extension(None)


@pytest.mark.parametrize(("options", "is_certain"), [("-n 1 -r 1", True), ("-n1 -r1 data = bytearray(10**8)", False)])
def test_the_setup_of_timeit_is_not_taken_for_its_first_line(options: str, is_certain: bool) -> None:
    """Both count from 1."""
    text = f"get_ipython().run_cell_magic('timeit', {options!r}, 'len(data)\\n')"
    found = timed(("inner", "<magic-timeit>", 1), ("<module>", "In [3]", 1), text)
    assert (found is not None) is is_certain
