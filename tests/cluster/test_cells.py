"""Lines of notebook cells, of a working_dir and of a driver elsewhere: named as people know them, with their text."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import journal as contract

RAISES = {"tags": ["raises-exception"]}
CELLS = (
    """
import json, os
import ray
import raymemprof
from raymemprof import calls, explain, heap, profile_memory

%load_ext raymemprof
ray.init("local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False,
         runtime_env=raymemprof.runtime_env())
""",
    """
def fill(megabytes):
    return [bytearray(1_000_000) for _ in range(megabytes)]  # in a cell of its own
""",
    """
PASSWORD = "swordfish"  # which no worker runs


@ray.remote(max_retries=0)
@profile_memory
def load(megabytes, dies=False):
    kept = fill(megabytes)
    kept += fill(1)
    if dies:
        os.kill(os.getpid(), 9)
    return len(kept)


@ray.remote
@profile_memory
def apply(make):
    return len(make())


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
for _ in range(24):
    ray.get(keeper.keep.remote(5))
ray.get(load.remote(20))
try:
    ray.get(load.remote(30, dies=True))
except ray.exceptions.RayError as error:
    print(explain(error))
""",
    """
ray.get(apply.remote(lambda: bytearray(9_000_000)))
heap(calls(name="apply")[-1])
""",
    """%%profile_memory --name largest

mine = bytearray(3_000_000)
ray.get([load.remote(40), load.remote(4)])
""",
    """%%profile_memory --no-heap
ray.get(load.remote(2))
{}["missing"]
""",
    "%%profile_memory --nosuch\n1",
    "%%profile_memory --interval-ms 0\n1",
    "%%profile_memory\nimport asyncio\nawait asyncio.sleep(0)",
    """
with profile_memory():
    block = fill(6)
""",
    """
@ray.remote
def plain(megabytes):
    return len(fill(megabytes))


@ray.remote
class Holder:
    def hold(self, megabytes):
        self.kept = bytearray(megabytes * 1_000_000)  # nobody decorated it


@ray.remote
def outer():
    return ray.get(plain.remote(12))


ray.get([plain.remote(25), Holder.remote().hold.remote(7), outer.remote()])
shipped = plain._function, Holder.__ray_metadata__.modified_class
print([name for one in shipped for name in vars(one) if "mem" in name])
call = calls(name="Holder.hold")[-1]  # by its name, as a click on its row says it, on the node that has it
print(heap("/elsewhere/{}#{}-{}".format(call.capture.name, *call.place)) == heap(call), end="")
""",
    """
print(json.dumps([ray._private.worker.global_worker.node.get_logs_dir_path(), calls(kind="block")[-1].name]))
""",
)
(STARTS, _, DEFINES, RUNS, GIVES, RECORDS, FAILS, UNKNOWN, ABSURD, AWAITS, BLOCK, PLAIN, TELLS) = range(
    1, len(CELLS) + 1
)
"""The numbers of cells."""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A notebook of the cells above, executed, its kernel gone."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    folder = tmp_path_factory.mktemp("notebook")
    metadata = {FAILS: RAISES, UNKNOWN: RAISES, ABSURD: RAISES, AWAITS: RAISES}
    cells = [
        nbformat.v4.new_code_cell(source.strip(), metadata=metadata.get(number, {}))
        for number, source in enumerate(CELLS, 1)
    ]
    made = nbformat.v4.new_notebook(cells=cells)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(folder / name.lower()))
        patch.setenv("COLUMNS", "200")
        nbclient.NotebookClient(
            made, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        ).execute()
    made.metadata["folder"] = str(folder)
    assert [cell.execution_count for cell in made.cells] == list(range(1, len(CELLS) + 1))
    return made


@pytest.fixture(scope="module")
def recorded(notebook: Any) -> Path:
    """Where it recorded to."""
    return Path(json.loads(printed(notebook, TELLS))[0])


def printed(notebook: Any, number: int) -> str:
    """What a cell printed, and the text of what it displayed."""
    outputs = notebook.cells[number - 1].outputs
    texts = [one.get("text") or one.get("data", {}).get("text/plain", "") for one in outputs]
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(texts))


def places(lines: raymemprof.Lines) -> dict[str, str]:
    return {line.location: line.text for line in lines}


FILL = "return [bytearray(1_000_000) for _ in range(megabytes)]  # in a cell of its own"


def test_lines_of_cells_are_shown_after_the_kernel_is_gone(recorded: Path) -> None:
    call = max(raymemprof.calls(recorded, name="load", status="finished"), key=lambda call: call.growth)
    line = raymemprof.heap(call).top(1)[0]
    assert (line.file, line.line, line.location) == ("In [2]", 2, "In [2], line 2")
    assert line.text == FILL
    assert str(line).startswith("In [2], line 2 in ")
    shown = repr(raymemprof.heap(call).top())
    assert "In [2], line 2" in shown
    assert "return [bytearray(1_000_000)" in shown
    assert "ipykernel" not in shown


def test_calls_of_a_function_are_one_place(recorded: Path) -> None:
    held = raymemprof.heap(raymemprof.calls(recorded, name="load")).top()
    assert places(held) == {"In [2], line 2": FILL}


def test_a_killed_workers_line_is_named(notebook: Any, recorded: Path) -> None:
    (call,) = raymemprof.calls(recorded, name="load", status="killed")
    assert places(raymemprof.heap(call).top(1)) == {"In [2], line 2": FILL}
    assert "allocated at In [2], line 2 in" in printed(notebook, RUNS)
    assert FILL in printed(notebook, RUNS)


def test_reports_show_cells(recorded: Path, tmp_path: Path) -> None:
    call = raymemprof.calls(recorded, name="load", status="finished")[0]
    flames, listing, scope = raymemprof.flamegraph(call), raymemprof.table(call), raymemprof.speedscope(call)
    page = flames.path.read_text()
    assert '"kept = fill(megabytes)"' in page
    assert '"In [3]"' in page
    assert f"In [2], line 2: {FILL}" in listing.path.read_text()
    assert '"file": "In [2]"' in scope.path.read_text()
    for report in (flames, listing, scope):
        assert "ipykernel" not in report.path.read_text()


def test_the_summary_and_the_doctor_name_cells(recorded: Path) -> None:
    rows = {row.name: row for row in raymemprof.summary(recorded)}
    line = rows["Keeper"].guilty_line
    assert line is not None
    assert line.location == f"In [{DEFINES}], line 27"
    (finding,) = [one for one in raymemprof.doctor(recorded).findings if one.illness == "leaking_actor"]
    said = " ".join(finding.evidence)
    assert f"In [{DEFINES}], line 27 in keep: `self.kept.append(bytearray(megabytes * 1_000_000))`" in said
    assert f"what In [{DEFINES}], line 27 keeps" in " ".join(finding.next_steps)


def test_a_function_that_is_an_argument_is_named_while_its_kernel_lives(notebook: Any) -> None:
    assert f"In [{GIVES}], line 1" in printed(notebook, GIVES)
    assert "bytearray(9_000_000)" in printed(notebook, GIVES)


def test_the_magic_shows_the_cell_and_what_it_started(notebook: Any) -> None:
    outputs = notebook.cells[RECORDS - 1].outputs
    result, table, flames = outputs
    assert result.data["text/plain"] == "[41, 5]"
    said = table.data["text/plain"]
    assert "2 functions and actor classes" in said
    assert re.search(r"largest\s+block\s+1\s", re.sub(r"\x1b\[[0-9;]*m", "", said))
    assert re.search(r"load\s+task\s+2\s", re.sub(r"\x1b\[[0-9;]*m", "", said))  # and none of those before
    assert "Keeper" not in said
    assert "text/html" in flames.data
    (name,) = re.findall(r"raymemprof-flamegraph-load-\w+-0\.html", flames.data["text/plain"])  # which grew most
    assert FILL in Path(notebook.metadata["folder"], name).read_text()


def test_the_cell_that_the_magic_recorded_has_its_lines(recorded: Path) -> None:
    (call,) = raymemprof.calls(recorded, name="largest")
    held = places(raymemprof.heap(call).top())
    assert held[f"In [{RECORDS}], line 3"] == "mine = bytearray(3_000_000)"


def test_an_exception_in_a_recorded_cell_is_shown_and_so_is_the_table(notebook: Any) -> None:
    table, *_, error = notebook.cells[FAILS - 1].outputs
    assert "failed" in table.data["text/plain"]
    assert f"In [{FAILS}]" in table.data["text/plain"]
    assert error.ename == "KeyError"
    traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    assert '----> 3 {}["missing"]' in traceback  # numbered as in the notebook
    assert "magic.py" not in traceback


def test_bad_arguments_get_one_sentence(notebook: Any) -> None:
    assert printed(notebook, UNKNOWN).startswith(
        "UsageError: %%profile_memory: No such option '--nosuch'. Its options are"
    )
    assert "interval_ms must be a number of milliseconds" in printed(notebook, ABSURD)
    assert len(printed(notebook, ABSURD).strip().splitlines()) == 1
    assert "awaits at its top level" in printed(notebook, AWAITS)


def test_a_block_is_named_for_its_cell(notebook: Any, recorded: Path) -> None:
    assert json.loads(printed(notebook, TELLS))[1] == f"In [{BLOCK}], line 1"
    (call,) = raymemprof.calls(recorded, name=f"In [[]{BLOCK}], line 1")
    assert places(raymemprof.heap(call).top(1)) == {"In [2], line 2": FILL}


def test_functions_that_are_not_decorated_have_their_lines(notebook: Any, recorded: Path) -> None:
    assert printed(notebook, PLAIN).split() == ["[]", "True"], "they stay as they are, and a name finds its call"
    calls = raymemprof.calls(recorded, name="plain")
    assert len(calls) == 2, "one of a task, and one of a task that it submitted"
    for call in calls:
        assert places(raymemprof.heap(call).top(1)) == {"In [2], line 2": FILL}
    (call,) = raymemprof.calls(recorded, name="Holder.hold")
    line = "self.kept = bytearray(megabytes * 1_000_000)  # nobody decorated it"
    assert places(raymemprof.heap(call).top(1)) == {f"In [{PLAIN}], line 9": line}


def test_texts_are_small_each_there_once_and_as_private_as_captures(recorded: Path) -> None:
    texts = [path for path in recorded.iterdir() if contract.is_source(path.name)]
    assert 0 < sum(path.stat().st_size for path in texts) < 10_000
    contents = [path.read_text() for path in texts]
    assert len(set(contents)) == len(contents)
    assert not any("Keeper.remote()" in text or "swordfish" in text for text in contents)  # it runs on no worker
    assert {path.stat().st_mode & 0o777 for path in texts} == {0o600}


def test_fetched_captures_bring_the_texts_along(recorded: Path, tmp_path: Path) -> None:
    call = raymemprof.calls(recorded, name="load", status="finished")[0]
    raymemprof.fetch(call, tmp_path / "here")
    moved = (tmp_path / "here").rename(tmp_path / "there")
    (fetched,) = [one for one in raymemprof.calls(moved, name="load") if one.task_id == call.task_id]
    assert places(raymemprof.heap(fetched).top(1)) == {"In [2], line 2": FILL}


STEPS = """
def build(megabytes):
    return bytearray(megabytes * 1_000_000)  # {note}
"""
DRIVER = """
import pathlib
import re
import sys
import time

import ray
from raymemprof import profile_memory


def helper(megabytes):
    return [bytearray(2_000_000) for _ in range(megabytes // 2)]  # of the driver


@ray.remote
@profile_memory
def load(megabytes):
    from pkg.steps import build

    built = build(megabytes)
    return len(built) + len(helper(4))


NAMES_IT = re.compile('"event":"source","file":"[^"]*pkg/steps.py"')
for folder in sys.argv[1:]:
    ray.init("local", num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False,
             runtime_env={"working_dir": folder})
    ray.get(load.remote(8))
    logs = ray._private.worker.global_worker.node.get_logs_dir_path()
    while not any(NAMES_IT.search(path.read_text()) for path in pathlib.Path(logs).glob("*.jsonl")):
        time.sleep(0.02)  # the worker would be killed at once
    print(logs)
    ray.shutdown()
"""


def test_code_that_ray_brought_is_named_as_in_its_folder(run_script: Callable[..., str], tmp_path: Path) -> None:
    folders = []
    for number, note in enumerate(["the same", "the same", "another"]):
        package = tmp_path / f"job{number}" / "pkg"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "steps.py").write_text(STEPS.format(note=note))
        (package / "number.py").write_text(f"NUMBER = {number}")  # so that the packages are not the same
        folders.append(str(package.parent))
    logs = run_script(DRIVER.replace("sys.argv[1:]", repr(folders))).split()
    for folder in map(Path, logs):  # as after the jobs, on another machine
        shutil.rmtree(folder.parent / "runtime_resources")
    (tmp_path / "script.py").unlink()

    calls = [call for folder in logs for call in raymemprof.calls(folder, name="load")]
    assert len(calls) == 3
    same = raymemprof.heap(calls[:2]).top()
    built, helped = same[:2]
    assert (built.location, built.allocations) == ("pkg/steps.py:3", 2)
    assert built.text == "return bytearray(megabytes * 1_000_000)  # the same"
    assert helped.location.endswith("script.py:12")
    assert helped.text == "return [bytearray(2_000_000) for _ in range(megabytes // 2)]  # of the driver"
    held = [line for line in raymemprof.heap(calls).top() if line.file.startswith("pkg/steps.py")]
    assert {line.text.rpartition("# ")[2]: line.allocations for line in held} == {"the same": 2, "another": 1}
    assert all(re.fullmatch(r"pkg/steps\.py \([0-9a-f]{6}\):3", line.location) for line in held)
