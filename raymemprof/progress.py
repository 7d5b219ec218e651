"""A progress bar for work that takes long: on a terminal only, on standard error, and not for what is done at once."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

__all__ = ["progress"]

_SECONDS = 1.0
"""How long work takes before a bar is shown for it."""


@contextlib.contextmanager
def progress(what: str, total: int, in_bytes: bool = False) -> Iterator[Callable[[int], None]]:
    """Give a function to be told how much more of `total` has been done, by one thread at a time.

    What is to be done again counts as less than nothing.
    """
    if not sys.stderr.isatty():
        yield lambda more: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn(what),
        BarColumn(),
        DownloadColumn() if in_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(what, total=total)
    start = time.monotonic()

    def advance(more: int) -> None:
        bar.update(task, advance=more)  # unlike `advance`, takes no speed from what goes back
        if not bar.live.is_started and time.monotonic() - start > _SECONDS:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()
