"""A progress bar for work that takes long: on a terminal only, on standard error, and not for what is done at once."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

__all__ = ["progress"]

_SECONDS = 1.0
"""How long work takes before a bar is shown for it."""


@contextlib.contextmanager
def progress(what: str, total: int, in_bytes: bool = False) -> Iterator[Callable[[float], None]]:
    """Give a function to be told how much more of `total` has been done, by one thread at a time.

    What is to be done again counts as less than nothing.
    """
    if not sys.stderr.isatty():
        yield lambda more: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        SpinnerColumn(),
        TextColumn(what),
        BarColumn(),
        DownloadColumn() if in_bytes else MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(what, total=total)
    shown = threading.Timer(_SECONDS, bar.start)  # a single large capture is done all at once, at the end
    shown.daemon = True
    shown.start()
    try:
        # Unlike `advance`, `update` takes no speed from what goes back.
        yield lambda more: bar.update(task, advance=more)
    finally:
        shown.cancel()
        shown.join()
        bar.stop()
