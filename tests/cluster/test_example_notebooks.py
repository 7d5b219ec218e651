"""The notebooks in `examples/` run in a real kernel, and name the line that their source marks."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest

from tests.paths import EXAMPLES

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

TRIES = 3
MISTAKE = "# MISTAKE"
MOST_BYTES = 400_000
"""What a notebook may have when it was run."""


@pytest.fixture(autouse=True)
def _own_jupyter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


def run(name: str, folder: Path) -> Any:
    """Return a notebook when it was run; stored it has no outputs."""
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", 4)
    assert not any(cell.outputs or cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    folder.mkdir(exist_ok=True)
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=where).execute()
    assert len(nbformat.writes(notebook)) < MOST_BYTES
    return notebook


def output_of(notebook: Any, code: str, kind: str = "text/plain") -> str:
    """What the cell shows that begins so."""
    (cell,) = [cell for cell in notebook.cells if cell.cell_type == "code" and code in cell.source.splitlines()[-1]]
    return "".join(output.data[kind] for output in cell.outputs if "data" in output)


def mistake_of(notebook: Any) -> tuple[str, str]:
    """The place that the marked line has in the notebook, and its text."""
    for cell in notebook.cells:
        for number, line in enumerate(cell.source.splitlines(), 1):
            if MISTAKE in line:
                return f"In [{cell.execution_count}], line {number}", line.strip()
    raise AssertionError("no line is marked")


@pytest.mark.timeout(300)
def test_a_job_that_was_killed(tmp_path: Path, memory_to_itself: Any) -> None:
    explained = ""
    with memory_to_itself():
        for attempt in range(TRIES):
            with contextlib.suppress(nbclient.exceptions.CellExecutionError):
                notebook = run("oom_killed", tmp_path / str(attempt))
                explained = output_of(notebook, "raymemprof.explain(")
            if "It held" in explained:
                break  # or others took the memory, or freed some, and Ray killed before it had much, or never
    place, line = mistake_of(notebook)
    assert re.search(r"Ray's memory monitor killed .*count_bytes \(pid \d+\)", explained)
    assert f"allocated at {place} in count_bytes: {line}" in explained
    timeline = output_of(notebook, "raymemprof.timeline(", "text/html")
    assert "count_bytes" in timeline
    assert "was killed at" in timeline
    assert "count_bytes, killed" in output_of(notebook, "raymemprof.flamegraph(", "text/html")
    assert re.search(r"count_one_by_one +1 ", output_of(notebook, "raymemprof.summary("))


@pytest.mark.timeout(200)
def test_an_actor_that_grows(tmp_path: Path) -> None:
    notebook = run("growing_actor", tmp_path)
    place, line = mistake_of(notebook)
    said = output_of(notebook, "raymemprof.doctor(")
    assert said.startswith("FeatureCache grows with each call")
    assert f"allocated at {place} in lookup: `{line}`" in said
    assert "FeatureCache, 15 calls" in output_of(notebook, "raymemprof.timeline(", "text/html")
    assert "left at the end" in output_of(notebook, "raymemprof.flamegraph(", "text/html")
