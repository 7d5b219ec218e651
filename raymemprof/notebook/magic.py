"""`%%profile_memory`: records a cell with the tasks and actor calls that it starts, and shows what they used."""

from __future__ import annotations

import ast
import inspect
import shlex
import sys
import time
import traceback
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import click

from .. import cluster
from ..cells import cell_of
from ..errors import CaptureError
from ..ownership import own_folder
from ..reading.catalog.filters import Filters
from ..reading.catalog.sources import Source
from ..reading.reports.render import flamegraph
from ..reading.reports.summary import Summary, summary_of
from ..recording.decorator import profile_memory
from ..recording.options import Options, resolve
from ..recording.referenced_files import note_block
from ..recording.undecorated.started import record_started

__all__ = ["register"]

_MAGIC = "profile_memory"
_AWAITS = (
    "a cell that awaits at its top level cannot be recorded: it runs in the notebook's event loop. Put it into "
    "`async def main()`, decorate that with @profile_memory, and await it in a cell of its own."
)
_NO_CELL = (
    f"%%{_MAGIC} records the cell that it stands in: write the code to record below it. %%{_MAGIC} --help lists its "
    "options."
)
_NOT_RUN = "The cell was not run. Remove --help to run and record it."
_GONE = (
    "Nothing was recorded: the current folder is gone, so the folder {folder} cannot be found. Give --directory with a "
    "whole path, from / on, or change to another folder."
)
_NO_FOLDER = "Nothing was recorded to {folder}: it is no folder, or cannot be made."
_LEFT = "The cell disconnected from Ray. What was recorded is in the session's logs: raymemprof.summary() shows it."
_OFF = "Nothing was recorded: recording is off (RAYMEMPROF_ENABLED)."


def register(ipython: Any) -> None:
    """Make the magic known to IPython's shell."""
    from IPython.core.error import UsageError

    def record_cell(line: str, cell: str | None = None) -> None:
        """Record a cell, and show what it used."""
        __tracebackhide__ = True  # nothing between the cell and IPython is of interest in a traceback
        options = _options(line)
        if options is None and cell is not None:
            print(_NOT_RUN, file=sys.stderr)  # noqa: T201
        elif options is not None:
            if cell is None:
                raise UsageError(_NO_CELL)
            name, number = _running_cell(ipython)
            codes = _compiled(ipython, line, cell, number)
            _record(ipython, codes, {**options, "name": options["name"] or name})

    ipython.register_magic_function(record_cell, magic_kind="line_cell", magic_name=_MAGIC)
    if _as_line_magic not in ipython.input_transformers_cleanup:
        ipython.input_transformers_cleanup.append(_as_line_magic)


def _as_line_magic(lines: list[str]) -> list[str]:
    """Make a cell of nothing but the magic a line, which can answer: IPython refuses a magic of a cell without one."""
    first = lines[0].split() if lines else []
    is_alone = first[:1] == [f"%%{_MAGIC}"] and not any(line.strip() for line in lines[1:])
    return [lines[0].replace("%%", "%", 1)] if is_alone else lines


@click.command()
@click.option("--name", help="Name of the cell in tables; by default its number, such as In [7].")
@click.option("--heap/--no-heap", default=None, help="Trace allocations, or sample memory only.")
@click.option("--native/--no-native", default=None, help="Record C and C++ frames too.")
@click.option("--python-allocators/--no-python-allocators", default=None, help="Record every small Python object.")
@click.option("--follow-fork/--no-follow-fork", default=None, help="Trace forked child processes too.")
@click.option("--switch-allocators/--no-switch-allocators", default=None, help="Make Arrow use malloc while tracing.")
@click.option("--interval-ms", type=float, help="Milliseconds between two samples of memory.")
@click.option("--directory", type=click.Path(), help="The folder to record the cell itself to.")
def _command(**_: Any) -> None:
    """Record a cell, and the tasks and actors that it starts; then show a summary, and a flame graph.

    The options are for the cell itself, and for tasks and actors that are not decorated.
    """


def _options(line: str) -> dict[str, Any] | None:
    """Return the options that a line gives; None where it asks for help, which is shown."""
    from IPython.core.error import UsageError

    try:
        found = dict(_command.make_context(f"%%{_MAGIC}", shlex.split(line)).params)
        Options.checked({name: value for name, value in found.items() if name != "name"})
    except click.exceptions.Exit:
        return None
    except click.ClickException as error:
        raise UsageError(f"%%{_MAGIC}: {error.format_message().rstrip('.')}. {_hint()}") from None
    except ValueError as error:
        raise UsageError(f"%%{_MAGIC} {line}: {error}") from None
    return found


def _hint() -> str:
    options = ", ".join(option for one in _command.params for option in one.opts)
    return f"Its options are {options}; %%{_MAGIC} --help describes them."


def _running_cell(ipython: Any) -> tuple[str, int]:
    """Return the name and number of the cell that the magic stands in; IPython may count on before it runs one."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        cell = cell_of(frame.f_code.co_filename)
        if cell is not None:
            return cell.name, cell.number
        frame = frame.f_back
    return f"In [{ipython.execution_count}]", ipython.execution_count


def _compiled(ipython: Any, line: str, cell: str, number: int) -> list[CodeType]:
    """Compile a cell as IPython does, so that tracebacks and reports show its lines by their numbers.

    The last expression is by itself: its value is shown.
    """
    from IPython.core.error import UsageError

    is_magic = cell.lstrip().startswith("%%")  # which must stand first
    above = f"# %%{_MAGIC} {line}\n"
    text = above + cell
    code = above + ipython.transform_cell(cell) if is_magic else ipython.transform_cell(text)
    # A kernel names the file for its text: a cell that is run again would take this one's lines over.
    file = ipython.compile.cache(code, number, raw_code=f"{text}\n# In [{number}]")
    flags = ipython.compile.flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    is_silent = getattr(ipython.displayhook, "semicolon_at_end_of_expression", lambda code: False)
    try:
        tree = ipython.transform_ast(ipython.compile.ast_parse(code, filename=file))
        parts: list[tuple[ast.Module | ast.Interactive, str]] = [(tree, "exec")]
        if tree.body and isinstance(tree.body[-1], ast.Expr) and not is_silent(code):
            parts.append((ast.Interactive([tree.body.pop()]), "single"))
        codes: list[CodeType] = [compile(part, file, how, flags, dont_inherit=True) for part, how in parts]
    except SyntaxError as error:
        error.filename = f"In [{number}]"
        said = "".join(traceback.format_exception_only(error))
        raise UsageError(f"%%{_MAGIC}: the cell cannot be run.\n{said}") from None
    if any(code.co_flags & inspect.CO_COROUTINE for code in codes):
        raise UsageError(f"%%{_MAGIC}: {_AWAITS}")
    return codes


def _record(ipython: Any, codes: list[CodeType], options: dict[str, Any]) -> None:
    """Run a cell, recorded, and show what was recorded, also where it raises."""
    __tracebackhide__ = True
    name = options.pop("name")
    checked = Options.checked(options)
    settings, _ = resolve(checked)
    folder = settings.directory or (None if cluster.is_connected() else own_folder())
    since = time.time()
    for code in codes:  # the block's own frame is here, and not in the cell
        note_block(code, ipython.user_global_ns)
    # The table covers all nodes, so tasks and actors are recorded to the log directory of each.
    started = record_started(replace(checked, directory=None)) if settings.enabled else nullcontext()
    try:
        with started, profile_memory(name, **options):
            for code in codes:
                exec(code, ipython.user_global_ns, ipython.user_ns)
    finally:
        if settings.enabled and folder is not None and not Path(folder).is_absolute():
            print(_GONE.format(folder=folder), file=sys.stderr)  # noqa: T201
        elif settings.enabled:
            _show(since, folder)
        else:
            print(_OFF, file=sys.stderr)  # noqa: T201


def _show(since: float, folder: str | Path | None) -> None:
    """Show what was recorded since a time; where that cannot be had, say why."""
    from IPython import display

    show: Any = display.display
    wanted: list[tuple[Source, Filters]] = []
    if cluster.is_connected():
        wanted.append((None, Filters(job_id=cluster.task_identity().job_id, since=since)))
    if folder is not None and not Path(folder).is_dir():
        print(_NO_FOLDER.format(folder=folder), file=sys.stderr)  # noqa: T201
    elif folder is not None:
        wanted.append((folder, Filters(since=since)))
    if not wanted:
        if folder is None:
            print(_LEFT, file=sys.stderr)  # noqa: T201
        return
    try:
        found: Summary = summary_of(wanted)
        show(found)
        traced = [one.largest for one in found if one.largest is not None and one.largest.capture is not None]
        if traced:
            show(flamegraph(max(traced, key=lambda call: call.growth)))
    except (CaptureError, OSError, ValueError) as error:
        print(f"What was recorded cannot be shown: {error}", file=sys.stderr)  # noqa: T201
