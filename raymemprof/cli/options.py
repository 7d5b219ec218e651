"""The options and arguments that several commands share, and the connection that `--address` makes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from .. import cluster
from ..journal.events import STATUSES
from ..reading.catalog.filters import KINDS
from ..reading.reports import render
from .output import say

__all__ = [
    "Duration",
    "address_option",
    "connect",
    "filter_options",
    "json_option",
    "output_options",
    "page_option",
    "target_options",
    "together",
]

_SECONDS_IN = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

F = TypeVar("F", bound=Callable[..., Any])


def _connect_if_asked(context: click.Context, parameter: click.Parameter, address: str | None) -> None:
    """Connect to the cluster whose address is given, so that the command is about all its nodes."""
    if address is not None:
        connect(address)


def connect(address: str) -> None:
    """Connect; where several clusters run on this machine, say which one was chosen."""
    say(cluster.connect(address).chosen)


def address_option(function: F) -> F:
    """The option that asks a whole cluster."""
    return click.option(
        "--address",
        callback=_connect_if_asked,
        expose_value=False,
        is_eager=True,
        help="Connect to this Ray cluster (auto, host:port or ray://host:port) and read all its nodes.",
    )(function)


def json_option(function: F) -> F:
    """The option that prints JSON."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(function)


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Return one decorator that adds all of these, in the order in which the help lists them."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_FILTERS = (
    click.option("--name", help="Only calls of this name: task or Actor.method; * stands for anything."),
    click.option("--status", type=click.Choice(STATUSES), help="Only calls with this status."),
    click.option("--kind", type=click.Choice(KINDS), help="Only calls of this kind."),
    click.option("--task-id", help="Only this task's. For all ids, the beginning is enough."),
    click.option("--actor-id", help="Only this actor's."),
    click.option("--job-id", help="Only this job's."),
    click.option("--node-id", help="Only this node's."),
    click.option("--context", help="Only calls with this context, such as 'rank 3' or 'route /sum*'."),
)
"""The filters of `calls()`."""

filter_options: Callable[[F], F] = together(
    click.argument("source", required=False, type=click.Path()), address_option, *_FILTERS
)
"""The arguments of `calls()`."""

target_options: Callable[[F], F] = together(
    click.argument("captures", nargs=-1, type=click.Path()), address_option, *_FILTERS
)
"""The arguments that choose what a report is about: captures, or the calls that match, in them or in all there are."""

output_options: Callable[[F], F] = together(
    click.option("-o", "--output", type=click.Path(), help="File to write. Default: one in the current folder."),
    click.option("-f", "--force", is_flag=True, help="Overwrite the output file if it exists."),
    click.option(
        "--view",
        type=click.Choice(render.VIEWS),
        default="peak",
        show_default=True,
        help="Show memory that was held at the peak, was left at the end, or was freed again at once.",
    ),
)
"""The options of every report."""

page_option: Callable[[F], F] = click.option(
    "--offline/--web", default=True, show_default=True, help="Put all scripts into the file, or load them from the web."
)
"""The option of a report that is an HTML page."""


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A number with a unit of time, such as 7d, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", str(value).strip())
        if not found:
            self.fail(f"{value!r} is no duration with a unit, such as 7d, 12h, 30m or 45s.", param, ctx)
        return float(found[1]) * _SECONDS_IN[found[2]]
