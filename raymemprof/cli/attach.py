"""The command that records actors which run already: `attach`."""

from __future__ import annotations

import contextlib
import fnmatch
import time
from typing import Any

import click

from .. import cluster
from ..reading.catalog.filters import Filters
from ..reading.reports.summary import summary_of
from ..recording.undecorated.attach import Attached, Attachment, attach_each, end_each
from ..recording.undecorated.rays_own import runs_user_code
from .options import address_option, connect, together
from .output import print_shown, say
from .run import HOW_OPTIONS, say_next

__all__ = ["attach"]

_LIMIT = 15.0
"""Seconds after the end for an actor to say what came of it."""
_LEAST_OF_AN_ID = 8
"""Characters from which on a text may be the beginning of an id."""


@click.command()
@click.argument("actor", required=False)
@click.option("--namespace", help="Namespace of the actor, if several actors have the name.")
@click.option("--all", "everything", is_flag=True, help="Record every running actor except Ray's own.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=30.0, show_default=True, help="How long to record."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds to wait for the calls that are queued in an actor.",
)
@together(*HOW_OPTIONS)
@address_option
def attach(
    actor: str | None,
    namespace: str | None,
    everything: bool,
    seconds: float,
    timeout: float,
    **options: Any,
) -> None:
    """Record an actor that is running, without restarting it.

    ACTOR is the actor's name, or the beginning of its id, which `ray list actors` shows. Ctrl-C ends the recording
    sooner. At the end, the command prints a table of the recorded calls. By default, it connects to the cluster that
    runs here.
    """
    if (actor is None) != everything:
        raise ValueError("Name an actor, by its name or id, or give --all.")
    if not cluster.is_connected():
        connect("auto")
    handles = _all_handles() if actor is None else [_handle(actor, namespace)]
    if not handles:
        raise ValueError("No actor runs that could be recorded.")
    begun, errors = attach_each(handles, seconds, timeout, options, say)
    for error in errors if begun else ():
        say(error)
    if not begun:
        raise errors[0]
    what = str(begun[0]) if len(begun) == 1 else f"{len(begun)} actors"
    say(f"recording {what} for {seconds:g} s; Ctrl-C ends it sooner.")
    _show(_until_ended(begun, seconds), actor is None, options["directory"])


def _until_ended(begun: list[Attachment], seconds: float) -> list[Attached]:
    """Wait until they have ended; say which do not answer. Raises `AttachError` where none does."""
    until = time.monotonic() + seconds + _LIMIT
    with contextlib.suppress(KeyboardInterrupt):
        for one in begun:
            with contextlib.suppress(TimeoutError):
                one.wait(max(until - time.monotonic(), 0))
    results, errors = end_each(begun)
    if not results:
        raise errors[0]
    for error in errors:
        say(error)
    return results


def _show(results: list[Attached], everything: bool, directory: str | None) -> None:
    for result in results:
        click.echo(str(result), err=True)
    started = min(result.started_at for result in results).timestamp()
    actor_id = None if everything else results[0].actor_id
    table = summary_of([(directory, Filters(kind="actor", since=started, actor_id=actor_id))])
    print_shown(table)
    if table:
        say_next(directory)


def _handle(actor: str, namespace: str | None) -> Any:
    """Return a handle to the one actor that is meant. Raises `ValueError` where none is, or several."""
    if cluster.gcs_address() is None:  # Ray Client, which lists none
        return cluster.named_actor(actor, namespace)
    living = cluster.living_actors()
    found = [one for one in living if one.name == actor and namespace in (None, one.namespace)]
    if not found and len(actor) >= _LEAST_OF_AN_ID and namespace is None:
        found = [one for one in living if one.actor_id.startswith(actor.lower())]
    if not found:
        names = sorted({one.name for one in living if one.name})
        near = [name for name in names if fnmatch.fnmatch(name.lower(), f"*{actor.lower()}*")] or names
        known = f" Named actors: {', '.join(near[:5])}{', …' if len(near) > 5 else ''}." if near else ""
        raise ValueError(f"No living actor has the name or id {actor!r}.{known}")
    if len(found) > 1:
        raise ValueError(
            f"{actor!r} means {len(found)} actors: {', '.join(map(str, found[:5]))}. Give --namespace or an id."
        )
    return cluster.actor_handle(found[0])


def _all_handles() -> list[Any]:
    handles = []
    for one in cluster.living_actors():
        if runs_user_code(one.module, one.class_name):
            try:
                handles.append(cluster.actor_handle(one))
            except cluster.NoHandleError as error:
                say(error)
    return handles
