"""Functions and actor classes that run more often at once than a node has memory for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from ....display.text import show_bytes
from ....reading.catalog.function_names import actor_class
from ....reading.catalog.records import Calls
from ...advise.advise import Recommendation, advise_killed
from ...advise.ray_data import asking
from ...advise.workloads import workload_of
from ..concurrency import crowd_now, filling, is_bystander, most_at_once, running_now
from ..findings import Finding, Unclear
from ..observed import KillGroup, Observed, users
from ..sentences import guilty_lines, memory_used, warnings_of
from ..shared_thresholds import MOST_OF_MEMORY, NEARLY_FULL

__all__ = ["find"]

_MINUTE = timedelta(minutes=1)
"""What was seen is kept for each minute."""
_LATELY = timedelta(minutes=5)
"""What a watcher saw before that is over, where nothing was killed by it."""


def find(observed: Observed, groups: list[KillGroup]) -> Iterator[Finding | Unclear]:
    """Yield a finding for each function or class of which more run at once than fit, though one alone fits."""
    if observed.usage is None:
        yield Unclear("too_parallel", "how many fit a node is not known without a connection to the cluster")
    yield from _profiled_too_parallel(observed, groups)
    watched = list(_watched_too_parallel(observed, groups))
    yield from watched
    yield from _seen_too_parallel(observed, groups, {finding.name for finding in watched})


def _profiled_too_parallel(observed: Observed, groups: list[KillGroup]) -> Iterator[Finding | Unclear]:
    running = running_now(observed)
    for advised in observed.recommendations:
        is_actor = advised.kind == "actor"
        if advised.kind == "block":
            continue
        group = next((one for one in groups if (one.name, one.is_actor) == (advised.name, is_actor)), None)
        node_ids = (group.nodes if group else set()) | {node.node_id for node in observed.nodes}
        there = Counter(kill.node_id for kill in group.kills) if group else Counter()
        for node_id in sorted(node_ids, key=lambda node_id: (-there[node_id], node_id)):
            killed = [kill for kill in group.kills if kill.node_id == node_id] if group else []
            if killed:
                until = killed[-1].when + timedelta(seconds=1)
                at_once = most_at_once(observed, advised.name, is_actor, node_id, until)
            else:
                at_once = running[advised.name, is_actor, node_id]
            fits = advised.fits.get(node_id) if observed.usage is not None else None
            if at_once > 1 and fits == 0:
                what = f"{at_once} of {advised.name} {'ran' if killed else 'run'} at once on {observed.where(node_id)}"
                yield Unclear("too_parallel", f"{what}, where not a single one fits now")
            if at_once < 2 or (fits is None and not killed) or (fits is not None and not 1 <= fits < at_once):
                continue
            yield _too_parallel(observed, advised, node_id, len(killed), str(at_once), fits)
            break  # one node is enough: that with most kills


def _watched_too_parallel(observed: Observed, groups: list[KillGroup]) -> Iterator[Finding]:
    """Yield the same for what a watcher saw and nobody profiled: killed there, or lately most of a node's memory."""
    for advised in observed.advised_by_seen:
        there = [one for one in observed.seen if (one.name, one.kind) == (advised.name, advised.kind)]
        for one in sorted(there, key=lambda one: -one.together):
            kills = [
                (kill, group)
                for group in groups
                if (group.name, group.is_actor) == (one.name, one.kind == "actor") and not is_bystander(observed, group)
                for kill in group.kills
                if kill.node_id == one.node_id and one.first_at <= kill.when <= one.last_at + _MINUTE
            ]
            killed = len(kills)
            node = observed.node(one.node_id)
            fits = advised.fits.get(one.node_id) if node is not None else None
            is_full = node is not None and one.together >= MOST_OF_MEMORY * node.kill_limit
            is_late = observed.when - one.last_at < _LATELY
            if one.at_once < 2 or not (killed or (is_full and is_late)):
                continue
            has_filled = any(len(filling(kill, group)) > 1 for kill, group in kills)
            if has_filled if fits is None else 1 <= fits < one.at_once:
                yield _too_parallel(observed, advised, one.node_id, killed, str(one.at_once), fits)
                break


def _seen_too_parallel(observed: Observed, groups: list[KillGroup], told: set[str | None]) -> Iterator[Finding]:
    """Yield the same for what was not profiled, if processes of one name fill a node, or filled it at a kill."""
    crowds: dict[tuple[str, bool], list[tuple[int, str, dict[tuple[str, int], int]]]] = {}
    full = set()  # Ray prints ten processes: if all have one name, there may have been more
    for group in groups:
        for node_id in sorted(group.nodes):
            killed = [kill for kill in group.kills if kill.node_id == node_id]
            kill = max(killed, key=lambda kill: sum(filling(kill, group).values()))
            then = filling(kill, group)
            crowds.setdefault((group.name, group.is_actor), []).append((len(killed), node_id, then))
            if then and len(then) == len(kill.top_processes):
                full.add((group.name, group.is_actor, node_id))
    for node in observed.nodes:
        if node.counted < NEARLY_FULL * node.kill_limit:
            continue
        names = {(actor_class(one.name), True) for one in users(node, "actor") if one.name}
        names |= {(one.name, False) for one in users(node, "task") if one.name}
        for name, is_actor in sorted(names):
            now = crowd_now(observed, name, is_actor, node.node_id)
            if sum(now.values()) >= MOST_OF_MEMORY * node.counted:
                crowds.setdefault((name, is_actor), []).append((0, node.node_id, now))
    for (name, is_actor), found in crowds.items():
        kills, node_id, sizes = max(found, key=lambda crowd: (len(crowd[2]) > 1, crowd[0], len(crowd[2])))
        is_recorded = any((one.name, one.kind == "actor") == (name, is_actor) for one in observed.recommendations)
        if len(sizes) < 2 or is_recorded or name in told:
            continue
        advised = advise_killed(name, "actor" if is_actor else "task", sizes, observed.usage)
        fits = advised.fits.get(node_id) if observed.usage is not None else None
        if (name, is_actor, node_id) in full and fits:
            yield _too_parallel(observed, advised, node_id, kills, f"{len(sizes)} or more", fits)
        elif fits is None or 1 <= fits < len(sizes):
            yield _too_parallel(observed, advised, node_id, kills, str(len(sizes)), fits)


def _too_parallel(
    observed: Observed, advised: Recommendation, node_id: str, killed: int, at_once: str, fits: int | None
) -> Finding:
    what, one = ("actors", "actor") if advised.kind == "actor" else ("calls", "call")
    where, node = observed.where(node_id), observed.node(node_id)
    theirs = [call for call in observed.calls if call.name == advised.name or actor_class(call.name) == advised.name]
    largest = max((call for call in theirs if call.capture), key=lambda call: call.growth, default=None)
    admits = advised.admits.get(node_id) if fits is not None else None
    admitted = f"; its CPUs admit {admits}" if admits is not None else ""
    evidence = [f"{at_once} {what} of it {'ran' if killed else 'run'} at once on {where}{admitted}."]
    if killed:
        count = f"{killed} {what}" if killed > 1 else f"One {one}"
        evidence.append(f"{count} of it {'were' if killed > 1 else 'was'} killed for memory there.")
    fitting = f"{fits} fit" if fits != 1 else "one fits"
    measured = "its largest peak" if advised.call_count else f"the largest of {advised.peak_count} that were seen"
    if fits is not None and node is not None:
        evidence.append(
            f"{fitting.capitalize()}: a {one} takes {show_bytes(advised.needs)} ({measured} is "
            f"{show_bytes(advised.max)}{f', of {advised.peak_count}' if advised.call_count else ''}; a quarter is "
            f"margin), and the node uses {memory_used(node)}."
        )
    else:
        evidence.append(f"A {one} takes {show_bytes(advised.needs)}: {measured}, and a quarter as margin.")
    evidence += warnings_of(advised)
    lines = guilty_lines(observed, (largest,), "peak")
    steps = []
    if fits is not None and (advised.num_cpus > 1 or advised.kind == "actor"):
        by_default = "; by default an actor holds no CPU once it lives" if advised.kind == "actor" else ""
        limit = f"`@ray.remote(num_cpus={advised.num_cpus:g})` on {advised.name}"
        steps.append(f"Run no more than fit: {limit}{by_default}.")
    runs = workload_of(advised.name, is_actor=advised.kind == "actor")
    ask = asking(runs, advised.memory, advised.name)
    if steps:
        steps.append(f"Or {ask}, which Ray holds against the memory of each node.")
    else:
        steps.append(
            f"Say what a {one} needs, which Ray holds against the memory of each node: {ask} on {advised.name}."
        )
    if advised.kind == "actor":
        steps.append("Or start fewer of them, and have each do more.")
    else:
        steps.append("Or start fewer: wait for one with `ray.wait` before the next is started, once so many run.")
    if lines:
        steps.append(f"Or make a {one} smaller: at its peak it holds {observed.held(lines[0])}")
    elif not advised.call_count:
        steps.append(f"Or make a {one} smaller: @profile_memory on {advised.name} tells the lines that hold most.")
    return Finding(
        severity="critical" if killed else "warning",
        illness="too_parallel",
        title=f"Too many {what} of {advised.name} run at once: {at_once} on {where}"
        + (f", where {fitting}." if fits is not None else "."),
        name=advised.name,
        node_id=node_id,
        evidence=tuple(evidence),
        next_steps=tuple(steps),
        kill_count=killed,
        lines=lines,
        calls=Calls([largest] if largest else []),
    )
