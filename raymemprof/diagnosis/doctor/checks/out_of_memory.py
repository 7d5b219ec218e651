"""Tasks and actors that were killed for memory, for no other reason that is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ....display.text import show_bytes
from ....reading.catalog.records import Calls
from ....reading.reports.lines import Lines
from ...explain.families import is_mainly, largest_family
from ..concurrency import is_bystander
from ..findings import Finding
from ..kill_sentences import about_fit, about_kills, about_parallel, ask_for_memory, make_smaller, runs_in
from ..observed import KillGroup, Observed
from ..sentences import about_lines, guilty_lines, warnings_of

__all__ = ["find", "find_past"]


def find(observed: Observed, groups: Iterable[KillGroup]) -> Iterator[Finding]:
    """Yield a finding for each of these groups, the largest first."""
    for group in sorted(groups, key=lambda group: -(group.memory or 0)):
        if is_bystander(observed, group):
            yield _bystander(observed, group)
            continue
        family = largest_family(group.calls)
        lines = Lines(()) if is_mainly(family) else guilty_lines(observed, observed.holders(group)[:1], "leaks")
        up_to = "up to " * (len(group.kills) > 1)  # the largest was not always the last
        size = f" with {up_to}{show_bytes(group.memory)}" if group.memory else ""
        size += f", its child processes with {show_bytes(family.children_peak)}," if family is not None else ""
        yield Finding(
            severity="critical",
            illness="out_of_memory",
            title=f"{group.name} was killed for memory{size} on {observed.where(group.last.node_id)}.",
            name=group.name,
            node_id=group.last.node_id,
            evidence=(
                *about_kills(observed, group),
                *about_parallel(observed, group),
                *about_lines(observed, lines),
                *about_fit(observed, group),
                *warnings_of(observed.recommendation_for(group.name, group.is_actor)),
            ),
            next_steps=(*make_smaller(observed, group, lines), *ask_for_memory(observed, group)),
            kill_count=len(group.kills),
            lines=lines,
            calls=Calls(group.calls[:1]),
        )


def find_past(observed: Observed) -> Iterator[Finding]:
    """Yield a finding for each group of kills in jobs that are over, or long ago: they matter no more."""
    for group in observed.groups(past=True):
        where = observed.where(group.last.node_id)
        yield Finding(
            severity="info",
            illness="out_of_memory",
            title=f"{group.name} was killed for memory on {where} at {observed.moment(group.last.when)}, not since.",
            name=group.name,
            node_id=group.last.node_id,
            evidence=tuple(about_kills(observed, group)),
            next_steps=tuple(
                make_smaller(observed, group, guilty_lines(observed, observed.holders(group)[:1], "leaks"))
            ),
            kill_count=len(group.kills),
            calls=Calls(group.calls[:1]),
        )


def _bystander(observed: Observed, group: KillGroup) -> Finding:
    where = observed.where(group.last.node_id)
    return Finding(
        severity="warning" if len({(kill.name, kill.actor_id) for kill in observed.kills}) > 1 else "critical",
        illness="out_of_memory",
        title=f"{group.name} was killed for memory on {where}, though it used only {show_bytes(group.memory)}.",
        name=group.name,
        node_id=group.last.node_id,
        evidence=tuple(about_kills(observed, group)),
        next_steps=(
            f"Look for what filled the node: the other findings, or `raymemprof usage{observed.arguments}` "
            "while it runs.",
            *_have_it_killed_last(group),
        ),
        kill_count=len(group.kills),
        calls=Calls(group.calls[:1]),
    )


def _have_it_killed_last(group: KillGroup) -> Iterator[str]:
    if group.is_named and not runs_in(group).is_library:
        option = "max_restarts=0, max_task_retries=0" if group.is_actor else "max_retries=0"
        yield (
            "Have Ray kill it last: what can be retried goes first, and of that the newest, so "
            f"`@ray.remote({option})` on {group.name} if it must not die."
        )
