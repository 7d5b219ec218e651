"""The commands that say what is wrong with memory: usage, explain, ooms, advise and doctor."""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path

import click

from .. import cluster
from ..diagnosis import ooms as kills
from ..diagnosis.advise import advise as sizing
from ..diagnosis.doctor import doctor as doctors
from ..diagnosis.explain import explain as explanations
from ..diagnosis.live import view
from ..diagnosis.timeline import timeline as pictures
from ..diagnosis.usage import usage as memory
from ..reading.catalog import listing
from ..reading.logs.messages import parse
from .options import address_option, connect, filter_options, json_option
from .output import print_path, print_report, print_rows, print_shown, say

__all__ = ["advise", "doctor", "explain", "ooms", "timeline", "usage"]


@click.command()
@click.argument("text", nargs=-1)
@click.option(
    "--source",
    type=click.Path(),
    help="The session's log directory. Default: that of your cluster that runs here, else of your latest session.",
)
@address_option
@json_option
def explain(text: tuple[str, ...], source: str | None, as_json: bool) -> None:
    """Explain a Ray error: what was killed, why, and what to do.

    TEXT is the text of the error, a file with the text, or - for standard input, which is also the default. The answer
    says which lines held the memory, if the calls were recorded.
    """
    found = explanations.explain(_text(text), source)
    if as_json:
        click.echo(found.to_json())
    else:
        click.echo(str(found))


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


@click.command()
@click.argument("source", required=False, type=click.Path())
@address_option
@json_option
def ooms(source: str | None, as_json: bool) -> None:
    """List every process that was killed for memory.

    SOURCE is a session's log directory. The default is the cluster at --address, else the cluster that runs on this
    machine, else your latest session.
    """
    print_rows(kills.ooms(source), as_json)


@click.command()
@click.option(
    "--address",
    default="auto",
    show_default=True,
    help="The cluster: auto, host:port, or (without --live) ray://host:port.",
)
@click.option("--live", "is_live", is_flag=True, help="Show a live view, sorted and filtered with keys; q quits.")
@json_option
def usage(address: str, is_live: bool, as_json: bool) -> None:
    """Show what uses memory now, by node and Ray process.

    If the output is not a terminal, or is a dumb one, --live shows one table instead.
    """
    if is_live and as_json:
        raise click.UsageError("--live shows a terminal view; leave it out for --json.")
    if is_live:
        place = cluster.locate(address)
        say(place.chosen)
        raise SystemExit(view.run(place.address))
    connect(address)
    now = memory.usage()
    if as_json:
        click.echo(now.to_json())
    else:
        for rows in now.tables:
            print_rows(rows, as_json=False)


@click.command()
@filter_options
@json_option
def advise(source: str | None, as_json: bool, **filters: str | None) -> None:
    """Say which memory= and num_cpus= each function needs.

    The table has each function and actor class that was recorded, or that `raymemprof watch` saw, and how many of its
    calls fit on a node. SOURCE is the same as for `raymemprof calls`.
    """
    print_rows(sizing.advise_all(source, **filters), as_json)


@click.command()
@click.argument("source", required=False, type=click.Path())
@address_option
@click.option("-o", "--output", type=click.Path(), help="Also write one HTML page, with flame graphs beside it.")
@click.option("-f", "--force", is_flag=True, help="Overwrite the output file if it exists.")
@json_option
def doctor(source: str | None, output: str | None, force: bool, as_json: bool) -> None:
    """Check for all known memory problems, and say what to do.

    SOURCE is a session's log directory. The default is the cluster at --address, else the cluster that runs on this
    machine, else your latest session. Without --address, the doctor does not know what uses memory now.
    """
    found = doctors.doctor(source)
    if as_json:
        say(found.chosen)
        click.echo(found.to_json())
    else:
        print_shown(found, soft_wrap=True)
    if output is not None:
        report = found.save(output, overwrite=force)
        print_path("Wrote", report.path, err=as_json)


@click.command()
@filter_options
@click.option(
    "-o", "--output", type=click.Path(), help="File to write, .html or .svg. Default: one in the current folder."
)
@click.option("-f", "--force", is_flag=True, help="Overwrite the output file if it exists.")
def timeline(source: str | None, output: str | None, force: bool, **filters: str | None) -> None:
    """Draw memory over time, with calls and kills, as one file.

    SOURCE is the same as for `raymemprof calls`.
    """
    calls = listing.calls(source, **filters)
    say(calls.chosen)
    print_report(pictures.timeline(calls, output, overwrite=force))
