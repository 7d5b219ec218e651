"""The notebook's face: `%load_ext raymemprof` makes `%%profile_memory` known to IPython."""

from __future__ import annotations

from typing import Any

__all__ = ["load_ipython_extension"]


def load_ipython_extension(ipython: Any) -> None:
    """Make `%%profile_memory` known to a notebook, or to IPython; called by `%load_ext raymemprof`.

    The magic records a cell as a block, and the tasks and actors that the cell starts, decorated or not. Then it shows
    a summary of the block and of the task and actor calls that began while it ran, and a flame graph of the call that
    grew most. An exception in the cell is shown as well. Its options, `--name`, `--no-heap` and others, are those of
    `profile_memory`, for the block and for what is not decorated; `%%profile_memory --help` lists them.

    Args:
        ipython: IPython's shell.

    Raises:
        TypeError: this is no shell of IPython's.

    Example:
        >>> from IPython.core.interactiveshell import InteractiveShell
        >>> load_ipython_extension(InteractiveShell.instance())
    """
    if not hasattr(ipython, "register_magic_function"):
        raise TypeError(
            f"load_ipython_extension() takes IPython's shell, and got {ipython!r}: run `%load_ext raymemprof` "
            "in a notebook."
        )
    from .magic import register  # with what it needs, which workers do not

    register(ipython)
