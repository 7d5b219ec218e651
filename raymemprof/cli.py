"""The `raymemprof` command: each public call under its own name."""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from . import __version__, cluster
from .diagnosis import advise as sizing
from .diagnosis import doctor as doctors
from .diagnosis import explain as explanations
from .diagnosis import live
from .diagnosis import ooms as kills
from .diagnosis import usage as memory
from .errors import CaptureError
from .events import STATUSES
from .ownership import UntrustedError
from .reading import catalog, cleaning, fetching, reports
from .reading import heap as heaps
from .reading.logs.messages import parse
from .rows import Rows, first_few, plain, printable

__all__ = ["main"]

_SECONDS_IN = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

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
        except click.exceptions.Abort:  # Ctrl-C
            _say("stopped.")
            raise SystemExit(130) from None
        except click.ClickException as error:
            text = error.format_message()
        except UntrustedError as error:
            text = str(error)
        except OSError as error:
            text = f"{error.filename}: {error.strerror}." if error.filename and error.strerror else str(error)
        except (CaptureError, ValueError, TypeError) as error:
            text = str(error)
        else:
            raise SystemExit(status if isinstance(status, int) else 0)
        _say(" ".join(text.split()))
        raise SystemExit(2)


def _connect_if_asked(context: click.Context, parameter: click.Parameter, address: str | None) -> None:
    """Connect to the cluster whose address is given, so that the command is of all its nodes."""
    if address is not None:
        _connect(address)


def _connect(address: str) -> None:
    """Connect, and where several clusters run here say which one it is."""
    _say(cluster.connect(address).chosen)


def _say(what: object) -> None:
    """Write what is no data, a sentence or nothing, to standard error; a terminal obeys none of the names in it."""
    if str(what):
        click.echo(f"raymemprof: {printable(str(what))}", err=True)


def _address(function: F) -> F:
    """The option that makes a command one of the whole cluster."""
    return click.option(
        "--address",
        callback=_connect_if_asked,
        expose_value=False,
        is_eager=True,
        help="Connect to this Ray cluster (auto, host:port or ray://host:port) and ask all its nodes.",
    )(function)


def _filters(function: F) -> F:
    """The arguments of `calls()`."""
    for option in reversed(
        [
            click.argument("source", required=False, type=click.Path()),
            _address,
            click.option("--name", help="Only calls of this name: task, Actor.method, or with *."),
            click.option("--status", type=click.Choice(STATUSES), help="Only calls that ended so."),
            click.option("--kind", type=click.Choice(catalog.KINDS), help="Only calls of this kind."),
            click.option("--task-id", help="Only this task's; the beginning of the id is enough, as for all ids."),
            click.option("--actor-id", help="Only this actor's."),
            click.option("--job-id", help="Only this job's."),
            click.option("--node-id", help="Only this node's."),
        ]
    ):
        function = option(function)
    return function


class _Duration(click.ParamType):  # type: ignore[type-arg]
    """A number with a unit of time."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", str(value).strip())
        if not found:
            self.fail(f"{value!r} is no duration with a unit, such as 7d, 12h, 30m or 45s.", param, ctx)
        return float(found[1]) * _SECONDS_IN[found[2]]


def _as_json(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(function)


def _target(function: F) -> F:
    """The arguments that say what a report is of: captures, or the calls that fit."""
    for option in reversed(
        [
            click.argument("captures", nargs=-1, type=click.Path()),
            _address,
            click.option("--name", help="The calls of this name, in the captures given or in all there are."),
            click.option("--task-id", help="The calls of this task; the beginning of the id is enough."),
            click.option("--actor-id", help="The calls of this actor."),
            click.option("--job-id", help="The calls of this job."),
            click.option("--node-id", help="The calls on this node."),
            click.option("--kind", type=click.Choice(catalog.KINDS), help="The calls of this kind."),
            click.option("--status", type=click.Choice(STATUSES), help="The calls that ended so."),
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
        listings = [catalog.calls(source, **filters) for source in sources]
        chosen = "; ".join(dict.fromkeys(listing.source for listing in listings if listing.source))
        missing = dict.fromkeys(node for listing in listings for node in listing.missing)
        fitting = [call for listing in listings for call in listing]
        found = [call for call in fitting if call.capture]
        if not found:
            for node in missing:
                _say(node)
        if fitting and not found:
            raise ValueError(f"{fitting[0].name} was not traced: {fitting[0].note or 'its capture is gone'}.")
        if not found:
            wanted = ", ".join(f"{key.replace('_', '-')} {value}" for key, value in filters.items() if value)
            where = ", ".join(captures)
            if cluster.is_connected() and not captures:
                where = f"the Ray cluster at {cluster.address()}"
            of = f"no call in {where} fits {wanted}" if where else f"no call fits {wanted} ({chosen})"
            raise ValueError(f"{of}; `raymemprof calls` lists those there are.")
        _say(chosen)
        return catalog.Calls(fitting, missing=missing)
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
        _say(rows.source)
        click.echo(rows.to_json())
        for text in (*first_few(rows.left_out), *rows.missing):
            _say(text)
    else:
        from rich.console import Console

        console = Console()
        console.print(rows) if console.is_terminal else click.echo(repr(rows))


def _print_report(report: reports.Report) -> None:
    click.echo(f"Wrote {printable(str(report.path))}")
    for text in report.missing:
        _say(text)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(__version__, prog_name="raymemprof")
@click.pass_context
def main(context: click.Context) -> None:
    """Debug the memory of Ray tasks and actors."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@main.command()
@_filters
@click.option(
    "--sort",
    type=click.Choice(("started", "duration", "peak", "growth")),
    default="started",
    show_default=True,
    help="Order of the rows, the latest, longest or largest last; growth is the peak less what was there before.",
)
@_as_json
def calls(source: str | None, sort: str, as_json: bool, **filters: str | None) -> None:
    """List the calls that were recorded.

    SOURCE is a folder, or a capture or journal in one; by default the cluster at --address, else the one that runs
    on this machine, else what you recorded last. What was chosen is named first; where several clusters run, none is.
    """
    orders: dict[str, Callable[[catalog.Call], Any]] = {
        "started": lambda call: call.started_at,
        "duration": lambda call: call.duration or 0,
        "peak": lambda call: call.peak_memory,
        "growth": lambda call: call.growth,
    }
    _print_rows(catalog.calls(source, **filters).sorted(orders[sort]), as_json)


@main.command()
@_filters
@_as_json
def captures(source: str | None, as_json: bool, **filters: str | None) -> None:
    """List the capture files, or those that hold a call that fits.

    SOURCE is a folder, or a capture or journal in one; by default the cluster at --address, else the one that runs
    on this machine, else what you recorded last. What was chosen is named first; where several clusters run, none is.
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
@_target
@click.option("--to", type=click.Path(), default=".", show_default=True, help="Folder to bring them to.")
def fetch(captures: tuple[str, ...], to: str, **filters: str | None) -> int:
    """Bring captures from the nodes they lie on, with the journals that tell of them.

    CAPTURES are names or paths, as `raymemprof captures --address auto` lists them. What can be had is brought; the
    exit status is 1 where that is not all.
    """
    fetched = fetching.fetch(_chosen(captures, **filters), to)
    for path in fetched:
        click.echo(f"Fetched {printable(str(path))}")
    for text in fetched.missing:
        _say(text)
    return 1 if fetched.missing else 0


@main.command()
@click.argument("source", required=False, type=click.Path())
@_address
@click.option("--older-than", type=_Duration(), help="Only what was last written to so long ago: 7d, 12h, 30m or 45s.")
@click.option("--name", help="Only calls of this name: task, Actor.method, or with *.")
@click.option("--job-id", help="Only this job's.")
@click.option("--all", "everything", is_flag=True, help="Everything.")
@click.option("--dry-run", is_flag=True, help="Remove nothing, and list what would be.")
@click.option("--yes", is_flag=True, help="Do not ask, as is done on a terminal.")
@_as_json
def clean(
    source: str | None,
    older_than: float | None,
    name: str | None,
    job_id: str | None,
    everything: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove captures, and the journals of which nothing else is left, and list what was removed.

    Left is what is still written to, and with --name or --job-id what holds other calls too: a worker records all that
    it runs to the same capture, an actor all its methods, so --name 'Cache.*' is an actor's.

    SOURCE is a folder, or --address names a cluster. On a terminal you are shown what would go, and asked.
    """
    remove = functools.partial(cleaning.clean, source, older_than=older_than, name=name, job_id=job_id, all=everything)
    if not dry_run and not yes and sys.stdin.isatty():
        would = remove(dry_run=True)
        _print_rows(would, as_json=False)
        if would and not click.confirm("Remove them?", err=True):
            return
        if not would:
            return
    _print_rows(remove(dry_run=dry_run), as_json)


@main.command()
@click.argument("text", nargs=-1)
@click.option(
    "--source",
    type=click.Path(),
    help="The session's log directory; by default that of the cluster that runs here, or your latest one.",
)
@_address
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
    if len(words) > 1 and os.path.isfile(words[0]):
        raise ValueError(
            f"give one file; {words[1]!r} after it is one too many: a session's folder is given by --source."
        )
    if len(words) == 1 and os.path.isdir(words[0]):  # unlike Path's, takes a text that is no path at all
        raise IsADirectoryError(errno.EISDIR, "is a folder; give a file that holds the error's text", words[0])
    if len(words) == 1 and os.path.exists(words[0]):  # a pipe, too
        return Path(words[0]).read_bytes().decode(errors="replace")
    if len(words) == 1 and re.fullmatch(r"\S+", words[0]) and parse(words[0]).cause == "unknown":
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), words[0])
    return " ".join(words)


@main.command()
@click.argument("source", required=False, type=click.Path())
@_address
@_as_json
def ooms(source: str | None, as_json: bool) -> None:
    """List every process that was killed for memory, by Ray's memory monitor or by the kernel.

    SOURCE is a session's log directory; by default the cluster at --address, else the one that runs on this
    machine, else the latest session of yours.
    """
    _print_rows(kills.ooms(source), as_json)


@main.command()
@click.option(
    "--address",
    default="auto",
    show_default=True,
    help="The cluster: auto, host:port, or without --live ray://host:port.",
)
@click.option("--live", "is_live", is_flag=True, help="Keep showing it, sorted and filtered with keys; q quits.")
@_as_json
def usage(address: str, is_live: bool, as_json: bool) -> None:
    """Show what memory is used for now, on each node and in each process of Ray's.

    With --live where the output is no terminal, or a dumb one, it is shown once, as a table.
    """
    if is_live and as_json:
        raise click.UsageError("--live shows a terminal view; leave it out for --json.")
    if is_live:
        place = cluster.locate(address)
        _say(place.chosen)
        raise SystemExit(live.run(place.address))
    _connect(address)
    now = memory.usage()
    if as_json:
        click.echo(now.to_json())
    else:
        for rows in now.tables:
            _print_rows(rows, as_json=False)


@main.command()
@_filters
@_as_json
def advise(source: str | None, as_json: bool, **filters: str | None) -> None:
    """Say how much memory= and num_cpus= to ask for, per function and actor class, and how many fit each node.

    SOURCE is a folder, or a capture or journal in one; by default the cluster at --address, else the one that runs
    on this machine, else what you recorded last. What was chosen is named first; where several clusters run, none is.
    """
    _print_rows(sizing.advise(catalog.calls(source, **filters)), as_json)


@main.command()
@click.argument("source", required=False, type=click.Path())
@_address
@click.option("-o", "--output", type=click.Path(), help="Write one HTML page too, with flame graphs beside it.")
@click.option("-f", "--force", is_flag=True, help="Overwrite the output file if it exists.")
@_as_json
def doctor(source: str | None, output: str | None, force: bool, as_json: bool) -> None:
    """Look for all that can be wrong with memory, and say what matters most and what to do.

    SOURCE is a session's log directory; by default the cluster at --address, else the one that runs on this
    machine, else the latest session of yours; without --address it is not known what memory is used for now.
    """
    found = doctors.doctor(source)
    if as_json:
        _say(found.chosen)
        click.echo(found.to_json())
    else:
        from rich.console import Console

        console = Console()
        console.print(found, soft_wrap=True) if console.is_terminal else click.echo(str(found))
    if output is not None:
        report = found.save(output, overwrite=force)
        click.echo(f"Wrote {printable(str(report.path))}", err=as_json)
