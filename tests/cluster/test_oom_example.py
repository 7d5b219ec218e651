"""The example in `examples/oom.py` gets a task killed by Ray and names the line that its source marks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import EXAMPLES
from tests.programs.browser import browser

EXAMPLE = EXAMPLES / "oom.py"
TRIES = 3


def run(folder: Path) -> str:
    """What the example prints; others on this machine may free so much memory meanwhile that Ray kills nobody."""
    for _ in range(TRIES):
        done = subprocess.run(
            [sys.executable, str(EXAMPLE)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=folder,
            env={**os.environ, "COLUMNS": "160"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        if "Counted" not in done.stdout and "It held" in done.stdout:
            return done.stdout
    pytest.fail(f"in {TRIES} tries Ray killed nobody, or before it had much: others had the memory")


@pytest.mark.timeout(200)
def test_it_names_its_mistake(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text().splitlines()
    assert len(lines) <= 60
    mistake = next(number for number, line in enumerate(lines, 1) if "# MISTAKE" in line) + 1

    printed = run(tmp_path)
    wall, _, rest = printed.partition("raymemprof says:")
    assert "low on memory" in wall
    assert len(wall.splitlines()) < 8
    explanation, _, table = rest.partition("\n\n")
    (killed,) = re.findall(r"killed count_bytes \(pid (\d+)\)", explanation)
    held, file, line, code = re.findall(
        r"It held ([\d.]+) .iB allocated at (.*):(\d+) in count_bytes: (.*)", explanation
    )[0]
    assert (Path(file), int(line), code) == (EXAMPLE, mistake, lines[mistake - 1].strip())
    assert float(held) > 0
    assert f"oom.py:{mistake}" in explanation.partition("What to do:")[2].splitlines()[1]
    assert f" {killed} " in table
    assert list(tmp_path.iterdir()) == []
    for folder in re.findall(r"in (/.*)/logs$", table, re.MULTILINE):
        shutil.rmtree(folder, ignore_errors=True)


CELLS = (
    EXAMPLE.read_text().partition("if __name__")[0],
    """
ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
logs = ray._private.worker.global_worker.node.get_session_dir_path()
error = None
try:
    ray.get(count_bytes.remote(50))
except ray.exceptions.OutOfMemoryError as caught:
    error = caught
""",
    "raymemprof.explain(error) if error else None",
    "ray.shutdown(); print(logs)",
)


@pytest.mark.browser
@pytest.mark.timeout(200)
def test_in_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real kernel runs it, a real browser shows it: what happened in five lines, then what to do."""
    nbclient, nbformat, nbconvert = map(pytest.importorskip, ("nbclient", "nbformat", "nbconvert"))
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    for _ in range(TRIES):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source.strip()) for source in CELLS])
        nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
        shutil.rmtree(notebook.cells[3].outputs[0].text.strip(), ignore_errors=True)
        if notebook.cells[2].outputs and "seen.append" in notebook.cells[2].outputs[0].data["text/plain"]:
            break  # or others had the memory, and Ray killed before it had much
    (output,) = notebook.cells[2].outputs
    assert output.data["text/plain"].startswith("Ray's memory monitor killed count_bytes (pid ")
    page_file = tmp_path / "notebook.html"
    exporter = nbconvert.HTMLExporter(require_js_url="", mathjax_url="", jquery_url="", mermaid_js_url="")
    page_file.write_text(exporter.from_notebook_node(notebook)[0])
    with browser(tmp_path) as running:
        page = running.open(page_file)
        shown = page.evaluate("document.querySelector('.jp-OutputArea-output ol').parentElement.innerText")
        happened, _, steps = shown.partition("What to do:")
        lines = [line for line in happened.splitlines() if line.strip()]
        assert len(lines) <= 6
        assert re.match(r"Ray's memory monitor killed count_bytes \(pid \d+\) on node .*low on memory\.$", lines[0])
        assert "seen.append(bytearray(b" in lines[-2]
        assert lines[-1].startswith("Read: session session_")
        assert page.evaluate("getComputedStyle(document.querySelector('.jp-OutputArea-output b')).fontWeight") >= "600"
        assert len(steps.strip().splitlines()) == page.evaluate("document.querySelectorAll('ol > li').length") >= 3
        assert "Top 10" not in shown
        assert page.errors == page.requests == []
