"""Runs a script or module as Python would: as `__main__`, with its arguments, path, traceback and exit status."""

from __future__ import annotations

import concurrent.futures.thread
import importlib.util
import io
import os
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path

__all__ = ["InterruptedProgram", "run_module", "run_script", "wait_for_threads"]


class InterruptedProgram(BaseException):
    """Ctrl-C ended what ran, and its traceback was shown."""


def run_script(path: str, arguments: tuple[str, ...]) -> int:
    """Run a file. Raises `OSError` where it cannot be read, and `InterruptedProgram`."""
    file = os.path.abspath(path)
    with io.open_code(file) as opened:
        source = opened.read()
    _look_first_in(str(Path(path).resolve().parent))
    return _run(_main(file), [path, *arguments], lambda: compile(source, file, "exec", dont_inherit=True))


def run_module(name: str, arguments: tuple[str, ...]) -> int:
    """Run a module, or a package's `__main__`.

    Raises `ValueError` where there is none, or it has no code, and `InterruptedProgram`.
    """
    _look_first_in(os.getcwd())
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except ImportError as error:
        raise ValueError(f"the module {name} cannot be run: {error}.") from error
    code = getattr(spec.loader, "get_code", lambda name: None)(spec.name) if spec is not None else None
    if spec is None or code is None:
        raise ValueError(f"there is no module {name} that can be run, or it is a package without __main__.")
    main = _main(str(spec.origin))
    main.__spec__, main.__package__, main.__loader__ = spec, spec.parent, spec.loader
    return _run(main, [str(spec.origin), *arguments], lambda: code)


def wait_for_threads() -> None:
    """Wait for the threads that Python would wait for now, but for those of pools, which may have nothing to do."""
    pooled = getattr(concurrent.futures.thread, "_threads_queues", None)
    if pooled is not None:
        for thread in threading.enumerate():
            if not thread.daemon and thread not in pooled and thread is not threading.current_thread():
                thread.join()


def _look_first_in(folder: str) -> None:
    """Put a folder where Python puts the script's, in place of that of the `raymemprof` command."""
    if not getattr(sys.flags, "safe_path", False):  # as of `python -P`
        sys.path[0] = folder


def _main(file: str) -> types.ModuleType:
    main = types.ModuleType("__main__")
    main.__file__ = file
    main.__dict__["__builtins__"] = __builtins__
    main.__dict__["__cached__"] = None
    return main


def _run(main: types.ModuleType, arguments: list[str], code: Callable[[], types.CodeType]) -> int:
    """Run code as `__main__` and return its exit status; an exception is shown as Python shows it."""
    sys.argv[:] = arguments
    sys.modules["__main__"] = main  # it stays, for what runs when the interpreter ends
    try:
        exec(code(), main.__dict__)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)  # noqa: T201  # as Python does
        return 1
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        if isinstance(error, KeyboardInterrupt):
            raise InterruptedProgram from None
        return 1
    return 0
