"""Makes pictures of the documentation from the notebooks in `examples/`: `python docs/make_images.py`.

It runs a notebook in a kernel, opens what nbconvert makes of it in Chromium, and takes the outputs' pictures.
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

from tests.programs.browser import Page, browser

IMAGES = ROOT / "docs" / "images"
TRIES = 5
OUTPUTS = "[...document.querySelectorAll('.jp-OutputArea-output')].filter(one => one.querySelector({!r}))"
EXPLAINED, TIMELINE = OUTPUTS.format("ol"), OUTPUTS.format("svg.rmt")


def run(name: str, folder: Path) -> Any:
    """Return a notebook of `examples/` when it was run."""
    where = {"metadata": {"path": str(folder)}}
    for attempt in range(1, TRIES + 1):
        notebook = nbformat.read(ROOT / "examples" / f"{name}.ipynb", 4)
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


def main() -> None:
    """Make them."""
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder)) as chromium:
        notebook = run("oom_killed", Path(folder))
        page = chromium.open(page_of(notebook, Path(folder, "oom_killed.html")), height=4000)
        page.until(f"{TIMELINE}.length")
        shown = f"{TIMELINE}[0].querySelector('svg.rmt')"
        picture(page, f"{EXPLAINED}[0]", shown, "notebook.png")
        picture(page, shown, shown, "timeline.png")


if __name__ == "__main__":
    main()
