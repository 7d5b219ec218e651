"""Makes the pictures of the documentation: `python docs/make_images.py`, where the extra `jupyterlab` is installed.

It runs a notebook of `examples/` in a kernel, opens what nbconvert makes of it and the doctor's page in Chromium, and
drives a live JupyterLab.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbconvert
import nbformat

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.programs.browser import Browser, Page, browser
from tests.programs.jupyterlab import jupyterlab, shards

IMAGES = ROOT / "docs" / "images"
TRIES = 5
OUTPUTS = "[...document.querySelectorAll('.jp-OutputArea-output')].filter(one => one.querySelector({!r}))"
EXPLAINED, TIMELINE = OUTPUTS.format("ol"), OUTPUTS.format("svg.rmt")
REPORT = "report.html"
LAB = "window.jupyterapp"
NOTEBOOK = f"{LAB}.shell.currentWidget"
CELLS = "[...document.querySelectorAll('.jp-CodeCell')]"
BOXES = "[...document.querySelectorAll('[data-box]')]"
GRAPH, CALLS = f"{CELLS}.find(one => one.innerText.includes('A box is a line'))", f"{CELLS}.at(-1)"


def run(name: str, folder: Path) -> Any:
    """Return a notebook of `examples/` when it was run; the doctor's page is in the folder."""
    where = {"metadata": {"path": str(folder)}}
    for attempt in range(1, TRIES + 1):
        notebook = nbformat.read(ROOT / "examples" / f"{name}.ipynb", 4)
        saves = nbformat.v4.new_code_cell(f'raymemprof.doctor().save("{REPORT}", overwrite=True)')
        notebook.cells.insert(-1, saves)  # before it leaves the cluster
        try:
            nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
        except nbclient.exceptions.CellExecutionError as error:
            print(f"try {attempt}: {error.ename}, as where other programs take or free much memory meanwhile")
        else:
            return notebook
    raise SystemExit(f"{name}.ipynb cannot be run: see above.")


def page_of(notebook: Any, path: Path) -> Path:
    """Write a notebook as HTML that needs no network."""
    exporter = nbconvert.HTMLExporter(require_js_url="", mathjax_url="", jquery_url="", mermaid_js_url="")
    path.write_text(exporter.from_notebook_node(notebook)[0])
    return path


def picture(page: Page, first: str, last: str, name: str) -> None:
    """Take a picture from the top of one element to the bottom of another, which are JavaScript expressions."""
    box = page.evaluate(
        f"""(() => {{
            const [one, other] = [{first}, {last}].map(element => element.getBoundingClientRect());
            const left = Math.min(one.left, other.left);
            return [left, one.top + scrollY, Math.max(one.right, other.right) - left, other.bottom - one.top];
        }})()"""
    )
    left, top, width, height = box
    (IMAGES / name).write_bytes(page.screenshot(left, top, width, height))
    print(IMAGES / name, (IMAGES / name).stat().st_size, "bytes")


def of_a_kill(chromium: Browser, folder: Path) -> None:
    """Make the pictures of the job that is killed."""
    notebook = run("oom_killed", folder)
    page = chromium.open(page_of(notebook, folder / "oom_killed.html"), height=4000)
    page.until(f"{TIMELINE}.length")
    shown = f"{TIMELINE}[0].querySelector('svg.rmt')"
    picture(page, f"{EXPLAINED}[0]", shown, "notebook.png")
    picture(page, shown, shown, "timeline.png")
    page = chromium.open(folder / REPORT, height=4000)
    title = "[...document.querySelectorAll('section')].find(one => one.innerText.startsWith('In figures'))"
    picture(page, "document.body", f"{title}.previousElementSibling", "doctor.png")


def of_jupyterlab(chromium: Browser, folder: Path) -> None:
    """Make the pictures of JupyterLab: a notebook that is not trusted, and then run in a dark theme."""
    name = shards(folder).name
    with jupyterlab(folder) as address:
        page = chromium.open(address.format(f"doc/tree/{name}"), height=1900)
        page.until(f"Boolean({LAB}) && document.querySelectorAll('.jp-OutputArea-output td').length > 3")
        picture(page, GRAPH, GRAPH, "flamegraph-untrusted.png")

        page.evaluate(f"{LAB}.commands.execute('apputils:change-theme', {{theme: 'JupyterLab Dark'}})")
        page.until("document.body.dataset.jpThemeName == 'JupyterLab Dark'")
        page.until(f"{NOTEBOOK}.sessionContext.session?.kernel?.status == 'idle'")
        page.evaluate(f"{LAB}.commands.execute('notebook:run-all-cells')")
        page.until(f"{BOXES}.length > 3")
        page.until(f"{NOTEBOOK}.content.widgets.at(-1).model.executionCount")
        page.until(f"{CALLS}.querySelectorAll('[data-opens]').length")
        page.click(f"{GRAPH}.querySelector('.rmp-bar input')")
        for key in "bytes(":
            page.press(key)
        page.until(f"{GRAPH}.querySelector('output').textContent")
        picture(page, GRAPH, GRAPH, "flamegraph-dark.png")

        growth = f"[...{CALLS}.querySelectorAll('th')].find(one => one.innerText.startsWith('growth'))"
        page.click(growth)
        page.click(f"{CALLS}.querySelectorAll('tbody tr')[1]")
        page.until(f"{CALLS}.querySelectorAll('section [data-box]').length > 3")
        picture(page, CALLS, CALLS, "calls-opened.png")


def main() -> None:
    """Make them."""
    with tempfile.TemporaryDirectory(prefix="example-", dir="/tmp") as folder, browser(Path(folder)) as chromium:
        of_jupyterlab(chromium, Path(folder))
        of_a_kill(chromium, Path(folder))


if __name__ == "__main__":
    main()
