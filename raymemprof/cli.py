"""The `raymemprof` command: each public call under its own name."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from . import __version__
from .diagnosis import explain as explanations
from .diagnosis import ooms as kills
from .errors import CaptureError
from .reading import catalog, reports
from .reading import heap as heaps
from .rows import Rows, plain

__all__ = ["main"]

F = TypeVar("F", bound=Callable[..., Any])


class _Commands(click.Group):
    """Answers bad input, click's own complaints too, with one sentence and exit status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # who reads our output, `head` say, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            status = super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.exceptions.Abort:
            raise SystemExit(130) from None
        except click.ClickException as error:
            text = error.format_message()
        except OSError as error:
            text = f"{error.filename}: {error.strerror}." if error.filename and error.strerror else str(error)
        except (CaptureError, ValueError, TypeError) as error:
            text = str(error)
        else:
            raise SystemExit(status if isinstance(status, int) else 0)
        click.echo(f"raymemprof: {' '.join(text.split())}", err=True)
        raise SystemExit(2)


def _filters(function: F) -> F:
    """The arguments of `calls()`."""
    for option in reversed(
        [
            click.argument("source", required=False, type=click.Path()),
            click.option("--name", help="Only calls of this name: task, Actor.method, or with *."),
            click.option("--status", type=click.Choice(catalog.STATUSES), help="Only calls that ended so."),
            click.option("--kind", type=click.Choice(catalog.KINDS), help="Only calls of this kind."),
            click.option("--task-id", help="Only this task's; the beginning of the id is enough, as for all ids."),
            click.option("--actor-id", help="Only this actor's."),
            click.option("--job-id", help="Only this job's."),
            click.option("--node-id", help="Only this node's."),
        ]
    ):
        function = option(function)
    return function


def _as_json(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(function)


def _target(function: F) -> F:
    """The arguments that say what a report is of: captures, or the calls that fit."""
    for option in reversed(
        [
            click.argument("captures", nargs=-1, type=click.Path()),
            click.option("--name", help="The calls of this name, in the captures given or in all there are."),
            click.option("--task-id", help="The calls of this task; the beginning of the id is enough."),
            click.option("--actor-id", help="The calls of this actor."),
            click.option("--status", type=click.Choice(catalog.STATUSES), help="The calls that ended so."),
        ]
    ):
        function = option(function)
    return function


def _chosen(captures: tuple[str, ...], **filters: str | None) -> Any:
    """Return what a report is to be of."""
    if "" in captures:
        raise ValueError("a path is empty; `raymemprof captures` lists the captures there are.")
    if any(filters.values()):
        sources: tuple[str | None, ...] = captures or (None,)
        fitting = [call for source in sources for call in catalog.calls(source, **filters)]
        found = [call for call in fitting if call.capture]
        if fitting and not found:
            raise ValueError(f"{fitting[0].name} was not traced: {fitting[0].note or 'its capture is gone'}.")
        if not found:
            wanted = ", ".join(f"{key.replace('_', '-')} {value}" for key, value in filters.items() if value)
            where = (
                ", ".join(str(folder) for source in sources for folder in catalog.folders_of(source)) or "any folder"
            )
            raise ValueError(f"no call in {where} fits {wanted}; `raymemprof calls` lists those there are.")
        return found[0] if len(found) == 1 else found
    if not captures:
        raise ValueError(
            "name a capture, or calls with --name, --task-id, --actor-id or --status; `raymemprof calls` lists them."
        )
    paths = [Path(capture) for capture in captures]
    expanded: list[Any] = []
    for path in paths:
        expanded.extend(catalog.captures(path) if path.is_dir() else [path])
    if not expanded:
        raise ValueError(f"there is no capture in {', '.join(map(str, paths))}.")
    return expanded[0] if len(expanded) == 1 else expanded


def _report_options(view: bool = True, offline: bool = True) -> Callable[[F], F]:
    options = [
        click.option("-o", "--output", type=click.Path(), help="File to write; by default one in the current folder."),
        click.option("-f", "--force", is_flag=True, help="Overwrite the output file if it exists."),
    ]
    if view:
        options.append(
            click.option(
                "--view",
                type=click.Choice(reports.VIEWS),
                default="peak",
                show_default=True,
                help="Memory held at the peak, left at the end, or freed again at once.",
            )
        )
    if offline:
        options.append(
            click.option(
                "--offline/--web",
                default=True,
                show_default=True,
                help="Put all scripts into the file, or have it fetch them.",
            )
        )

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _print_rows(rows: Rows[Any], as_json: bool) -> None:
    if as_json:
        click.echo(rows.to_json())
    else:
        from rich.console import Console

        console = Console()
        console.print(rows) if console.is_terminal else click.echo(repr(rows))


def _print_report(report: reports.Report) -> None:
    click.echo(f"Wrote {report.path}")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="raymemprof")
def main() -> None:
    """Debug the memory of Ray tasks and actors."""


@main.command()
@_filters
@click.option(
    "--sort",
    type=click.Choice(("started", "duration", "peak")),
    default="started",
    show_default=True,
    help="Order of the rows, the latest, longest or largest last.",
)
@_as_json
def calls(source: str | None, sort: str, as_json: bool, **filters: str | None) -> None:
    """List the calls that were recorded.

    SOURCE is a folder, or a capture or journal in one; by default the Ray session on this machine that was recorded to
    last.
    """
    orders: dict[str, Callable[[catalog.Call], Any]] = {
        "started": lambda call: call.started_at,
        "duration": lambda call: call.duration or 0,
        "peak": lambda call: call.peak_memory,
    }
    _print_rows(catalog.calls(source, **filters).sorted(orders[sort]), as_json)


@main.command()
@_filters
@_as_json
def captures(source: str | None, as_json: bool, **filters: str | None) -> None:
    """List the capture files, or those that hold a call that fits.

    SOURCE is a folder, or a capture or journal in one; by default the Ray session on this machine that was recorded to
    last.
    """
    _print_rows(catalog.captures(source, **filters), as_json)


@main.command()
@_target
@click.option("-n", "--lines", "count", type=click.IntRange(1), default=10, show_default=True, help="Lines to show.")
@_as_json
def heap(captures: tuple[str, ...], count: int, as_json: bool, **filters: str | None) -> None:
    """Show what calls allocated: their peak, what was left at their end, and the lines that did it."""
    found = heaps.heap(_chosen(captures, **filters))
    if as_json:
        click.echo(json.dumps(plain(found), indent=2))
    else:
        click.echo(found.summary())
        _print_rows(found.top(count), as_json=False)


@main.command()
@_target
@_report_options()
@click.option("--temporal", is_flag=True, help="Show the heap over time, with a range to select.")
def flamegraph(
    captures: tuple[str, ...],
    output: str | None,
    force: bool,
    view: str,
    offline: bool,
    temporal: bool,
    **filters: str | None,
) -> None:
    """Draw a flame graph, as one HTML file."""
    target = _chosen(captures, **filters)
    _print_report(reports.flamegraph(target, output, view=view, temporal=temporal, offline=offline, overwrite=force))


@main.command()
@_target
@_report_options()
def table(
    captures: tuple[str, ...], output: str | None, force: bool, view: str, offline: bool, **filters: str | None
) -> None:
    """Write a table of what each line held, as one HTML file."""
    target = _chosen(captures, **filters)
    _print_report(reports.table(target, output, view=view, offline=offline, overwrite=force))


@main.command()
@_target
@_report_options(offline=False)
def speedscope(captures: tuple[str, ...], output: str | None, force: bool, view: str, **filters: str | None) -> None:
    """Write what calls held as a JSON file for speedscope."""
    target = _chosen(captures, **filters)
    _print_report(reports.speedscope(target, output, view=view, overwrite=force))


@main.command()
@click.argument("text", nargs=-1)
@click.option("--source", type=click.Path(), help="The session's log directory; by default the latest on this machine.")
@_as_json
def explain(text: tuple[str, ...], source: str | None, as_json: bool) -> None:
    """Say what an error of Ray's means: who was killed, why, what it held and where, and what to change.

    TEXT is the error's text, a file that holds it, or - for standard input, which is also read where TEXT is missing.
    """
    found = explanations.explain(_text(text), source)
    click.echo(json.dumps(plain(found), indent=2) if as_json else str(found))


def _text(words: tuple[str, ...]) -> str:
    if words in ((), ("-",)):
        if sys.stdin.isatty():
            raise ValueError("give the error's text, a file that holds it, or pipe it in.")
        return sys.stdin.buffer.read().decode(errors="replace")
    if len(words) == 1 and re.fullmatch(r"\S+(/\S+|\.(txt|log|err|out))", words[0]) and not os.path.exists(words[0]):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), words[0])
    if len(words) == 1 and os.path.isfile(words[0]):  # unlike Path's, takes a text that is no path at all
        return Path(words[0]).read_text(errors="replace")
    return " ".join(words)


@main.command()
@click.argument("source", required=False, type=click.Path())
@_as_json
def ooms(source: str | None, as_json: bool) -> None:
    """List every process that was killed for memory, by Ray's memory monitor or by the kernel.

    SOURCE is a session's log directory; by default the latest on this machine.
    """
    _print_rows(kills.ooms(source), as_json)
