"""The commands about what was recorded: calls, captures, their heap and reports, fetch and clean."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import click

from .. import cluster
from ..reading.catalog import listing
from ..reading.catalog.filters import KINDS
from ..reading.catalog.records import Calls
from ..reading.files import clean as cleaning
from ..reading.files import fetch as fetching
from ..reading.reports import heap as heaps
from ..reading.reports import render
from ..reading.reports import summary as summaries
from .options import Duration, address_option, filter_options, json_option, output_options, page_option, target_options
from .output import print_path, print_report, print_rows, say

__all__ = ["calls", "captures", "clean", "fetch", "flamegraph", "heap", "speedscope", "summary", "table"]

_ORDERS = ("started_at", "duration", "peak_memory", "growth")
"""What `calls --sort` takes."""


@click.command()
@filter_options
@click.option(
    "--sort",
    type=click.Choice(_ORDERS),
    default="started_at",
    show_default=True,
    help="Column to sort by, the largest last. growth is the peak minus the memory before.",
)
@json_option
def calls(source: str | None, sort: str, as_json: bool, **filters: str | None) -> None:
    """List the calls that were recorded.

    SOURCE is a folder, or a capture or journal in one. The default is the cluster at --address, else your cluster that
    runs on this machine, else what you recorded last. The command first prints what it reads. If several of your
    clusters run, it lists them and ends.
    """
    print_rows(listing.calls(source, **filters).sorted(sort), as_json)


@click.command()
@click.argument("source", required=False, type=click.Path())
@address_option
@click.option("--name", help="Only calls of this name: task or Actor.method; * stands for anything.")
@click.option("--kind", type=click.Choice(KINDS), help="Only calls of this kind.")
@click.option("--job-id", help="Only this job's; the beginning of the id is enough, as for all ids.")
@click.option("--node-id", help="Only this node's.")
@click.option("--lines/--no-lines", default=True, show_default=True, help="Show the line that held most.")
@json_option
def summary(source: str | None, lines: bool, as_json: bool, **filters: str | None) -> None:
    """Sum up the recorded calls by function and actor class.

    The table shows how many calls there are, how they ended, their peaks (median, 95th percentile, maximum), and the
    line that held most in the largest call. SOURCE is the same as for `raymemprof calls`.
    """
    print_rows(summaries.summary(source, lines=lines, **filters), as_json)


@click.command()
@filter_options
@json_option
def captures(source: str | None, as_json: bool, **filters: str | None) -> None:
    """List the capture files.

    With a filter, only those that hold a matching call. SOURCE is the same as for `raymemprof calls`.
    """
    print_rows(listing.captures(source, **filters), as_json)


@click.command()
@target_options
@click.option("-n", "--lines", "count", type=click.IntRange(1), default=10, show_default=True, help="Lines to show.")
@json_option
def heap(captures: tuple[str, ...], count: int, as_json: bool, **filters: str | None) -> None:
    """Show what calls held, and which lines allocated it."""
    found = heaps.heap(_chosen(captures, **filters))
    if as_json:
        click.echo(found.to_json())
    else:
        click.echo(found.summary)
        print_rows(found.top(count), as_json=False)


@click.command()
@target_options
@output_options
@page_option
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
    print_report(render.flamegraph(target, output, view=view, temporal=temporal, offline=offline, overwrite=force))


@click.command()
@target_options
@output_options
@page_option
def table(
    captures: tuple[str, ...], output: str | None, force: bool, view: str, offline: bool, **filters: str | None
) -> None:
    """Write a table of what each line held, as one HTML file."""
    target = _chosen(captures, **filters)
    print_report(render.table(target, output, view=view, offline=offline, overwrite=force))


@click.command()
@target_options
@output_options
def speedscope(captures: tuple[str, ...], output: str | None, force: bool, view: str, **filters: str | None) -> None:
    """Write what calls held as a JSON file for speedscope."""
    target = _chosen(captures, **filters)
    print_report(render.speedscope(target, output, view=view, overwrite=force))


@click.command()
@target_options
@click.option("--to", type=click.Path(), default=".", show_default=True, help="Folder to copy them to.")
def fetch(captures: tuple[str, ...], to: str, **filters: str | None) -> int:
    """Copy captures and journals from all nodes to this machine.

    CAPTURES are names or paths, as `raymemprof captures --address auto` lists them. If something cannot be copied, the
    command says so, copies the rest, and exits with status 1.
    """
    fetched = fetching.fetch(_chosen(captures, **filters), to)
    for path in fetched:
        print_path("Fetched", path)
    for text in (*fetched.left_out, *fetched.notes):
        say(text)
    return 1 if fetched.left_out else 0


@click.command()
@filter_options
@click.option("--older-than", type=Duration(), help="Only files unchanged for this long: 7d, 12h, 30m or 45s.")
@click.option("--all", "everything", is_flag=True, help="Remove everything.")
@click.option("--dry-run", is_flag=True, help="Remove nothing, and list what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation on a terminal.")
@json_option
def clean(
    source: str | None,
    older_than: float | None,
    everything: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """Remove captures, and the journals that are no longer needed.

    Files that are still in use are kept. With a filter, files that also hold other calls are kept too. One capture
    holds all methods of an actor, so use --name 'Cache.*' for an actor.

    Name a folder as SOURCE, or a cluster with --address. On a terminal, the command shows what it would remove, and
    asks.
    """
    remove = functools.partial(cleaning.clean, source, **filters, older_than=older_than, all=everything)
    if not dry_run and not yes and sys.stdin.isatty():
        would = remove(dry_run=True)
        print_rows(would, as_json=False)
        if would and not click.confirm("Remove them?", err=True):
            return
        if not would:
            return
    print_rows(remove(dry_run=dry_run), as_json)


def _chosen(captures: tuple[str, ...], **filters: str | None) -> Any:
    """Return what a report is about: captures, or the calls in them that match."""
    if "" in captures:
        raise ValueError("a path is empty; `raymemprof captures` lists the captures there are.")
    if any(filters.values()):
        return _matching(captures, **filters)
    if not captures:
        raise ValueError(
            "name a capture, or calls with --name, --task-id, --actor-id or --status; `raymemprof calls` lists them."
        )
    paths = [Path(capture) for capture in captures]
    expanded: list[Any] = []
    for path in paths:
        expanded.extend(listing.captures(path) if path.is_dir() else [path])
    if not expanded:
        raise ValueError(f"there is no capture in {', '.join(map(str, paths))}.")
    return expanded[0] if len(expanded) == 1 else expanded


def _matching(captures: tuple[str, ...], **filters: str | None) -> Calls:
    """Return the calls that match; raises `ValueError` where none of them has a capture."""
    sources: tuple[str | None, ...] = captures or (None,)
    read = [listing.calls(source, **filters) for source in sources]
    chosen = "; ".join(dict.fromkeys(calls.chosen for calls in read if calls.chosen))
    missing = dict.fromkeys(node for calls in read for node in calls.missing)
    matching = [call for calls in read for call in calls]
    if any(call.capture for call in matching):
        say(chosen)
        return Calls(matching, missing=missing)
    for node in missing:
        say(node)
    if matching:
        raise ValueError(f"{matching[0].name} was not traced: {matching[0].note or 'its capture is gone'}.")
    wanted = ", ".join(f"{key.replace('_', '-')} {value}" for key, value in filters.items() if value)
    where = ", ".join(captures)
    if cluster.is_connected() and not captures:
        where = f"the Ray cluster at {cluster.address()}"
    no_call = f"no call in {where} fits {wanted}" if where else f"no call fits {wanted} ({chosen})"
    raise ValueError(f"{no_call}; `raymemprof calls` lists those there are.")
