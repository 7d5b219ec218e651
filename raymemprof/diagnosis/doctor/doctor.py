"""`doctor()`: Ray's page on memory, walked in its order: what is wrong, what says so, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator

from ...display.refusals import short_traceback
from ...display.text import first_few
from ...reading.catalog.listing import is_about_sums
from ...reading.catalog.sources import Source
from ..advise.advise import merged
from .checks import (
    copies,
    endless_retries,
    head_node,
    idle_workers,
    leaking_actors,
    low_memory,
    object_stores,
    out_of_memory,
    retained_memory,
    small_reserve,
    too_parallel,
    unexplained_deaths,
)
from .diagnosis import Diagnosis
from .findings import Finding, Unclear, rank
from .observed import KillGroup, Observed, look_around
from .questions import answers

__all__ = ["diagnose", "doctor"]


@short_traceback
def doctor(source: Source = None) -> Diagnosis:
    """Check for all known memory problems, and say what matters most, with the evidence and what to do.

    The doctor follows Ray's page "Debugging Memory Issues". Was anything killed for memory? Which tasks and actors use
    most? Is it the head node? Do too many run at once? Does an actor grow, or a call copy its data? It also finds
    tasks that are retried without end, idle workers that keep memory, and a full object store. It uses `ooms()`,
    `calls()`, `usage()` and `advise()`, and `heap()` of the guilty calls.

    Args:
        source: a session's log directory, or a folder that was recorded to. None for all nodes of the cluster that this
            process is connected to; without a connection, for your cluster that runs on this machine; if none runs,
            for your latest session. Without a connection, the doctor does not know what uses memory now, and says so.

    Returns:
        A `Diagnosis`, with `.findings` (the most important first), `.healthy`, and the data behind them. It prints as
        text, shows itself in a notebook, and has `to_json()` and `save("report.html")`.

    Raises:
        FileNotFoundError: `source` does not exist.
        ValueError: you name no source, and several of your clusters run here.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> raymemprof.doctor("/tmp/raymemprof-example").healthy
        True
    """
    return diagnose(look_around(source))


def diagnose(observed: Observed) -> Diagnosis:
    """Return the diagnosis of what was observed."""
    groups = observed.groups()
    looked = list(_findings(observed, groups))
    findings = sorted((one for one in looked if isinstance(one, Finding)), key=rank)
    unclear = [one for one in looked if isinstance(one, Unclear)]
    return Diagnosis(
        when=observed.when,
        source=observed.source,
        findings=tuple(findings),
        checks=tuple(answers(observed, groups, findings, unclear)),
        unchecked=tuple(_unchecked(observed)),
        kills=observed.kills,
        calls=observed.calls,
        usage=observed.usage,
        recommendations=merged(observed.recommendations, observed.advised_by_seen),
        missing=observed.missing,
        silent=observed.silent,
        chosen=observed.chosen,
    )


def _findings(observed: Observed, groups: list[KillGroup]) -> Iterator[Finding | Unclear]:
    """Walk the checks: what explains a kill comes first, and `out_of_memory` is for those that nothing explains."""
    crowded = list(head_node.find(observed, groups))
    about_to_kill = {finding.node_id for finding in crowded if finding.severity == "critical"}
    endless = list(endless_retries.find(observed, groups, about_to_kill))
    causes = [*endless, *leaking_actors.find(observed, groups), *too_parallel.find(observed, groups)]
    yield from crowded
    yield from causes
    found = [one for one in causes if isinstance(one, Finding)]
    explained = {finding.name for finding in found if finding.severity == "critical" or finding in endless}
    yield from out_of_memory.find(observed, [group for group in groups if group.name not in explained])
    yield from out_of_memory.find_past(observed)
    yield from low_memory.find(observed, {finding.node_id for finding in crowded})
    yield from small_reserve.find(observed)
    yield from idle_workers.find(observed)
    yield from object_stores.find(observed)
    yield from unexplained_deaths.find(observed)
    yield from copies.find(observed)
    yield from retained_memory.find(observed)


def _unchecked(observed: Observed) -> Iterator[str]:
    yield from map(str, observed.missing)
    sums: list[str] = []
    unread: list[str] = []
    for text in observed.calls.left_out:
        (sums if is_about_sums(text) else unread).append(text)
    yield from (f"Each call by itself: {text}." for text in sums)
    yield from (f"What it cannot read: {text}." for text in first_few(unread))
    if observed.usage is None:
        yield (
            f"What memory is used for now: this is of {observed.source}. In a process that is connected to the cluster "
            "(ray.init, or `--address auto`) the doctor looks at that too."
        )
    if not observed.calls and observed.advised_by_seen:
        yield (
            "What lines hold: no call was profiled, and peaks were seen from the outside only, once a second. Put "
            "@profile_memory on what you suspect."
        )
    elif not observed.calls:
        yield (
            "What lines hold, and how much calls need: no call was profiled. Put @profile_memory on what you suspect; "
            "`raymemprof watch` sees peaks of a job as it is."
        )
    elif not any(call.capture for call in observed.calls):
        yield f"What lines hold: no call has a capture ({observed.calls[-1].note or 'removed, or only sampled'})."
    yield from observed.heaps.failed
