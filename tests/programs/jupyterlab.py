"""A live JupyterLab for tests: a server of its own, whose pages a browser opens, and a notebook for it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat

from .browser import SECONDS, until

_SHARDS = (
    """
import base64
import json
import raymemprof
""",
    """
@raymemprof.profile_memory(directory="recorded")
def load_shard(megabytes):
    texts = [bytearray(1_000_000) for _ in range(megabytes)]
    rows = json.loads(json.dumps([{"number": number, "text": "x" * 50} for number in range(20_000)]))
    copies = [bytes(text) for text in texts]
    encoded = base64.b64encode(b"".join(copies))
    return len(rows) + len(encoded)


for megabytes in range(1, 8):
    load_shard(megabytes)
""",
    'raymemprof.flamegraph(raymemprof.calls("recorded", name="load_shard"), "shards.html", overwrite=True)',
    'raymemprof.table(raymemprof.calls("recorded", name="load_shard"), "table.html", overwrite=True)',
    'raymemprof.calls("recorded")',
)


def shards(folder: Path) -> Path:
    """Return a notebook of a few recorded calls, whose cells a program has run: JupyterLab does not trust it."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in _SHARDS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    where: dict[str, Any] = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=where).execute()
    path = folder / "shards.ipynb"
    nbformat.write(notebook, path)
    return path


@contextlib.contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """Run JupyterLab on the notebooks of a folder, with settings of its own; yields an address with `{}` for a path."""
    own = folder / ".jupyter-of-the-test"
    settings = own / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "notification.jupyterlab-settings").write_text(
        json.dumps({"fetchNews": "false", "checkForUpdates": False})
    )
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(own / "config"),
        "JUPYTER_DATA_DIR": str(own / "data"),
        "JUPYTER_RUNTIME_DIR": str(own / "runtime"),
        "IPYTHONDIR": str(own / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(own / "config" / "lab" / "user-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(own / "config" / "lab" / "workspaces"),
    }
    options = (
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        "--port=0",
        "--expose-app-in-browser",
    )
    with (folder / "jupyterlab.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={folder}"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    try:
        told = until(lambda: next((own / "runtime").glob("jpserver-*.json"), None), "JupyterLab starts")
        known = until(lambda: told.read_text() and json.loads(told.read_text()), "JupyterLab has an address")
        address = f"{known['url']}{{}}?token={known['token']}"
        until(lambda: _answers(address.format("api")), "JupyterLab answers")
        yield address
    finally:
        server.terminate()  # its kernels end with it
        try:
            server.wait(SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError):
        urllib.request.urlopen(url, timeout=5).close()
        return True
    return False
