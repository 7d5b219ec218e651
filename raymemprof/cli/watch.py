"""The command that looks at the cluster from the outside: `watch`."""

from __future__ import annotations

import click

from .. import cluster
from ..diagnosis.watch.watch import HOUR
from ..diagnosis.watch.watch import watch as begin
from ..display.text import counted, show_seconds
from .options import address_option, connect
from .output import print_shown, say

__all__ = ["watch"]

_NEXT = "`raymemprof advise` and `raymemprof doctor` with `--address {address}` make use of it."


@click.command()
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=HOUR, show_default=True, help="How long to watch."
)
@address_option
def watch(seconds: float) -> None:
    """Measure the peaks of a job that is not profiled.

    The command reads the memory of every Ray worker once a second, from the outside. The job needs no change. For the
    last hour, it keeps the peak of each task and actor, and how many ran at once, in the session's log directory, where
    advise and doctor find them. At the end, it prints a table of the peaks. By default, it connects to the cluster that
    runs here.
    """
    if not cluster.is_connected():
        connect("auto")
    watching = begin(seconds)
    for missing in watching.missing:
        say(missing)
    if not watching.node_ids:
        raise ValueError("No node can be watched.")
    many = counted(len(watching.node_ids), "node", "nodes")
    say(f"watching {many} for {show_seconds(seconds)}; Ctrl-C ends it sooner.")
    told = set(watching.missing)
    try:
        watching.wait()
    except KeyboardInterrupt:
        watching.end()
    for missing in watching.missing:
        if missing not in told:
            say(missing)
    if watching.is_cut_off:
        say("the session has ended; what was seen is in its log directory: `raymemprof advise DIRECTORY` reads it.")
        return
    print_shown(watching.peaks())
    say(_NEXT.format(address=cluster.gcs_address() or "auto"))
