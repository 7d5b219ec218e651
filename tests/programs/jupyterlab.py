"""A live JupyterLab for tests: a server of its own, whose pages a browser opens."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from .browser import SECONDS, until


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
