"""`raymemprof usage --live`: the cluster's processes in a terminal, in htop's manner."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

from ... import helper_process
from ...reading.captures.reader import receive
from ..usage.records import Usage
from . import usage_process
from .usage_process import End

__all__ = ["run"]

_INTERVAL = 2.0
_SECONDS_TO_END = 8.0


def run(address: str | None = None, interval: float = _INTERVAL) -> int:
    """Show the cluster's memory until the user quits; without a terminal that can, print it once as tables.

    Args:
        address: the cluster's, as `ray.init` takes it; None for the one that this process is connected to, else "auto".
        interval: seconds between samples.

    Returns:
        The exit status: 0 where the user quit, 1 where the cluster went away, 128 + n after signal n.

    Raises:
        ValueError: there is no cluster to be reached.
        KeyboardInterrupt: the user pressed Ctrl-C.
    """
    with _feed(address or _own_address() or "auto", interval) as messages:
        first = messages.get()
        if isinstance(first, End):
            raise ValueError(first)
        if not _is_terminal():
            print(first)  # noqa: T201
            return 0
        result = _show(first, messages)
    if result == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if isinstance(result, str):
        print(f"raymemprof: {result}", file=sys.stderr)  # noqa: T201
        return 1
    return result


def _own_address() -> str | None:
    from ... import cluster

    return cluster.gcs_address()


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


def _show(first: Usage, messages: queue.Queue[Usage | End]) -> str | int:
    """Run the view; return why there are no more samples, or the exit status."""
    from .screen import LiveView

    for name in ("COLUMNS", "LINES"):  # textual would believe them rather than the terminal
        os.environ.pop(name, None)
    view = LiveView(first, messages, is_ascii=not sys.stdout.encoding.lower().startswith("utf"))
    return view.run(mouse=False) or view.return_code or 0  # to select text is the terminal's affair


@contextlib.contextmanager
def _feed(address: str, interval: float) -> Iterator[queue.Queue[Usage | End]]:
    """Start the process that reads usage; what it sends comes in a queue, an `End` last."""
    process = subprocess.Popen(
        [sys.executable, "-m", usage_process.__name__, address, str(interval)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=helper_process.environment(),
        start_new_session=True,  # Ctrl-C is for the view, which ends it
    )
    messages: queue.Queue[Usage | End] = queue.Queue()

    def read() -> None:
        try:
            while True:
                messages.put(receive(process.stdout))  # type: ignore[arg-type]
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):  # Ray ended it, or somebody did
            messages.put(End("the connection to the cluster was lost: it has ended, or cannot be reached any more."))

    threading.Thread(target=read, daemon=True).start()
    try:
        yield messages
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            process.wait()
