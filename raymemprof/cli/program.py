"""Runs a script or module as Python would: as `__main__`, with its arguments, path, traceback and exit status."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

__all__ = ["run_module", "run_script"]


def run_script(path: str, arguments: tuple[str, ...]) -> int:
    """Run a file. Raises `OSError` where it cannot be read."""
    with io.open_code(os.path.abspath(path)) as file:
        source = file.read()
    main = _main(str(Path(path)))
    sys.path[0] = str(Path(path).resolve().parent)
    return _run(main, [path, *arguments], lambda: compile(source, path, "exec"))


def run_module(name: str, arguments: tuple[str, ...]) -> int:
    """Run a module, or a package's `__main__`. Raises `ModuleNotFoundError`, or `ImportError` where it has no code."""
    sys.path[0] = os.getcwd()
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
    if spec is None:
        raise ModuleNotFoundError(f"there is no module {name} to run, or it is a package without __main__.")
    code = getattr(spec.loader, "get_code", lambda name: None)(spec.name)
    if code is None:
        raise ImportError(f"the module {name} has no code that could be run.")
    main = _main(str(spec.origin))
    main.__spec__, main.__package__, main.__loader__ = spec, spec.parent, spec.loader
    return _run(main, [str(spec.origin), *arguments], lambda: code)


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
        sys.excepthook(type(error), error, trace)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0
