"""The illnesses that `doctor()` knows: what shows each of them, and what helps.

Each function looks for one, and yields a finding for each that it sees. The figures from which on something counts as
ill stand at the top, each with its reason.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from ..cluster import KILLED
from ..reading.catalog import Call, Calls
from ..reading.deaths import WITHOUT_A_WORD
from ..reading.heap import Heap, Line
from ..rows import show_bytes, show_seconds
from .advise import MARGIN, Advice, advise_seen
from .families import is_mainly, largest_family
from .families import steps as children_steps
from .families import told as children_told
from .findings import Finding, Unclear
from .growth import (
    Growth,
    about_captures,
    actor_class,
    captures_of,
    end_of,
    growths,
    kept_by,
    lives,
    process_of,
    too_few,
)
from .ooms import Kill
from .seen import Group, Seen, crowd_then, is_ours, users
from .shared_memory import SharedMemory
from .usage import NodeUsage, ProcessUsage

__all__ = [
    "KEPT",
    "copies",
    "endless_retries",
    "head_node",
    "idle_workers",
    "kept_by_idle",
    "leaking_actors",
    "low_memory",
    "must_keep",
    "object_stores",
    "out_of_memory",
    "past_kills",
    "retained_memory",
    "too_parallel",
    "unexplained_deaths",
]

_MIB = 2**20
_MAINLY = 0.5
"""Of what a process grew by, so much must be with allocators, or held, for that to be what it is."""
_EXPLAINED = 0.25
"""Lines are named where they hold this part of the growth or more."""
_RETAINED = 100 * _MIB
"""What a task's process keeps beyond what it had before, from which it is worth telling."""
_SOON = 3600.0
"""Seconds until a node is full, at the pace so far, that leave no time to wait and see."""
_STILL = timedelta(minutes=10)
"""An actor that was not called for as long does not grow on."""
_CROWDED = 0.8
"""Part of the limit above which a head node is crowded: what `advise()` leaves as a margin is used up."""
_LITTLE = 0.05
"""Part of the limit below which those of whom one was killed, together, are not what filled the node."""
_MOST = 0.5
"""Part of what was used from which on the processes of one name are what fills a node."""
_LOW = 0.9
"""The same above which any node is about to kill: a task that allocates 1 GB/s is there within seconds."""
_OWN = 0.25
"""Part of the limit that drivers and Ray's own parts may take before they are what crowds the node: with an
equal node for tasks, a job has room there for a third more."""
_PLAIN = 150 * _MIB
"""What an idle worker holds that keeps nothing: 40 to 150 MiB, with what it has imported."""
KEPT = 256 * _MIB
"""What one of them may keep beyond that, or beyond what most of them have: about two more plain workers."""
_PART = 0.2
"""Where no worker keeps as much by itself, all of them together may keep this part of what is left on the node."""
_MOST_OF_THEM = 3
"""Idle workers from which on the middle one shows what they have imported."""
_SPILLS = 0.8
"""Part of the object store's capacity from which on Ray spills (object_spilling_threshold)."""
_COPIED = 100 * _MIB
"""Peak of a call below which a copy is not worth a look."""
_ALIKE = 0.8
"""The second of two lines holds at least this part of the first where one may be the other's copy."""
_MOST_OF = 0.75
"""And both together hold this part of the peak."""
_MUCH_SHARED = 0.1
"""Part of what a node uses from which on an owner of shared memory is told."""
_LARGEST = 3
"""Functions whose largest call is looked at for copies."""
_MOST_TOLD = 3


def endless_retries(seen: Seen, groups: list[Group], crowded: set[str | None]) -> Iterator[Finding]:
    """Tasks that Ray kills for memory and retries again and again, so that the job seems to hang."""
    for group in groups:
        retries = [retry for retry in seen.kills.retries if retry.name == group.name and not group.is_actor]
        if not retries:
            continue
        retry = max(retries, key=lambda retry: (not retry.is_over, retry.kills))
        lines = _lines(seen, seen.holders(group)[:1], "leaks")
        waits = f", after a pause that doubles each time up to a minute (now {show_seconds(retry.pause)})"
        does = (
            "retried it each time, until its job ended" if retry.is_over else f"retries it{waits * bool(retry.pause)}"
        )
        is_victim = group.last.node_id in crowded and _is_bystander(seen, group)
        yield Finding(
            severity="warning" if is_victim else "critical",
            illness="endless_retries",
            title=f"{group.name} was killed for memory and retried without end, until its job ended."
            if retry.is_over
            else f"{group.name} is killed for memory and retried without end; its job seems to hang.",
            name=group.name,
            node_id=group.last.node_id,
            evidence=(
                f"One task of it was killed {retry.kills} times since {retry.since:%H:%M:%S} UTC, and Ray {does}.",
                *_about_kills(seen, group),
                *_about_lines(seen, lines),
                *_about_fit(seen, group),
                *_mind(seen.advice_for(group.name, group.is_actor)),
            ),
            next_steps=(
                "Have it fail instead: `RAY_task_oom_retries=3` in the environment of the driver (and of "
                "ray.init(runtime_env) for tasks that start tasks); that of `ray start` does not count.",
                *_make_smaller(seen, group, lines),
                *_ask_for_memory(seen, group),
            ),
            kills=len(group.kills),
            lines=lines,
            calls=Calls(group.calls[:1]),
        )


def out_of_memory(seen: Seen, groups: Iterable[Group]) -> Iterator[Finding]:
    """Tasks and actors that were killed for memory, for no other reason that is known, the largest first."""
    for group in sorted(groups, key=lambda group: -(group.memory or 0)):
        if _is_bystander(seen, group):
            yield _bystander(seen, group)
            continue
        family = largest_family(group.calls)
        lines = () if is_mainly(family) else _lines(seen, seen.holders(group)[:1], "leaks")
        up_to = "up to " * (len(group.kills) > 1)  # the largest of them need not be the last
        size = f" with {up_to}{show_bytes(group.memory)}" if group.memory else ""
        size += f", its child processes with {show_bytes(family.children_peak)}," if family is not None else ""
        yield Finding(
            severity="critical",
            illness="out_of_memory",
            title=f"{group.name} was killed for memory{size} on {seen.where(group.last.node_id)}.",
            name=group.name,
            node_id=group.last.node_id,
            evidence=(
                *_about_kills(seen, group),
                *_about_parallel(seen, group),
                *_about_lines(seen, lines),
                *_about_fit(seen, group),
                *_mind(seen.advice_for(group.name, group.is_actor)),
            ),
            next_steps=(*_make_smaller(seen, group, lines), *_ask_for_memory(seen, group)),
            kills=len(group.kills),
            lines=lines,
            calls=Calls(group.calls[:1]),
        )


def past_kills(seen: Seen) -> Iterator[Finding]:
    """Kills that ail the cluster no more: of jobs that are over, or long ago."""
    for group in seen.groups(past=True):
        where = seen.where(group.last.node_id)
        yield Finding(
            severity="info",
            illness="out_of_memory",
            title=f"{group.name} was killed for memory on {where} at {seen.moment(group.last.when)}, not since.",
            name=group.name,
            node_id=group.last.node_id,
            evidence=tuple(_about_kills(seen, group)),
            next_steps=tuple(_make_smaller(seen, group, _lines(seen, seen.holders(group)[:1], "leaks"))),
            kills=len(group.kills),
            calls=Calls(group.calls[:1]),
        )


def _is_bystander(seen: Seen, group: Group) -> bool:
    """Whether what was killed was not what filled the node, not even all of its name together."""
    node = seen.node(group.last.node_id)
    limit = node.limit if node is not None else 0
    if (
        group.memory is None
        or largest_family(group.calls) is not None
        or any(_filling(kill, group) for kill in group.kills)
    ):
        return False
    return seen.together(group) < max(_LITTLE * limit, _PLAIN)


def _filling(kill: Kill, group: Group) -> dict[tuple[str, int], int]:
    """Return the sizes of several processes of its name that were most of what Ray printed when it killed one."""
    then = crowd_then(kill, group.name, group.is_actor)
    printed = sum(process.memory for process in kill.top_processes)
    return then if len(then) > 1 and sum(then.values()) >= _MOST * printed else {}


def _bystander(seen: Seen, group: Group) -> Finding:
    where = seen.where(group.last.node_id)
    return Finding(
        severity="warning" if len({(kill.name, kill.actor_id) for kill in seen.kills}) > 1 else "critical",
        illness="out_of_memory",
        title=f"{group.name} was killed for memory on {where}, though it used only {show_bytes(group.memory)}.",
        name=group.name,
        node_id=group.last.node_id,
        evidence=tuple(_about_kills(seen, group)),
        next_steps=(
            f"Look for what filled the node: the other findings, or `raymemprof usage{seen.arguments}` while it runs.",
            *_have_it_killed_last(group),
        ),
        kills=len(group.kills),
        calls=Calls(group.calls[:1]),
    )


def _have_it_killed_last(group: Group) -> Iterator[str]:
    if group.is_named:
        option = "max_restarts=0, max_task_retries=0" if group.is_actor else "max_retries=0"
        yield (
            "Have Ray kill it last: what can be retried goes first, and of that the newest, so "
            f"`@ray.remote({option})` on {group.name} if it must not die."
        )


def _about_kills(seen: Seen, group: Group) -> Iterator[str]:
    who = {"kernel_oom": "The kernel's out-of-memory killer"}.get(group.last.cause, "Ray's memory monitor")
    count = len(group.kills)
    often = f"{count} processes of it, the last" if count > 1 else "it"
    had = f", when it used {show_bytes(group.last.memory)}" if group.last.memory else ""
    yield f"{who} killed {often} at {seen.moment(group.last.when)} on {seen.where(group.last.node_id)}{had}."
    family = largest_family(group.calls)
    if family is not None:
        yield children_told(family)


def _about_parallel(seen: Seen, group: Group) -> Iterator[str]:
    if group.last.node_id is not None:
        at_once = seen.at_once(group.name, group.is_actor, group.last.node_id, group.last.when + timedelta(seconds=1))
        if at_once > 1:
            yield f"{at_once} of it ran at once there."


def _about_lines(seen: Seen, lines: tuple[Line, ...]) -> Iterator[str]:
    if lines:
        yield f"It held {seen.held(lines[0])}"


def _about_fit(seen: Seen, group: Group) -> Iterator[str]:
    advice = seen.advice_for(group.name, group.is_actor)
    node = seen.node(group.last.node_id)
    if node is None:
        return
    if advice is not None and advice.fits.get(node.node_id) == 0:
        free = max(node.limit - node.used, 0)
        yield (
            f"Not a single one fits {seen.where(node.node_id)} now: it takes {show_bytes(advice.needs)}, and "
            f"{show_bytes(free)} are left below the {show_bytes(node.limit)} above which {_killer(node)} kills there."
        )
    else:
        yield f"{seen.where(node.node_id).capitalize()} now uses {_used(node)}."


def _make_smaller(seen: Seen, group: Group, lines: tuple[Line, ...]) -> Iterator[str]:
    if not group.is_named:
        yield "Find out what ran there: with @profile_memory on the job's tasks and actors the next kill has a name."
    family = largest_family(group.calls)
    if family is not None:
        yield from children_steps(family)
    if not group.is_named or is_mainly(family):
        return
    if lines:
        command = _flamegraph(seen, group.name, group.is_actor)
        yield f"Change what {lines[0].place} keeps; {command} shows all."
    elif group.calls:
        why = group.calls[0].note or "its capture is gone or cannot be read"
        yield f"Find the line: it was profiled, but what it held is not known ({why})."
    else:
        yield f"Find the line: put @profile_memory on {group.name}, and the next kill comes with what it held."


def _flamegraph(seen: Seen, name: str, is_actor: bool, view: str = "") -> str:
    pattern = f"{name}.*" if is_actor else name
    return f"`raymemprof flamegraph --name {shlex.quote(pattern)}{view}{seen.arguments}`"


def _ask_for_memory(seen: Seen, group: Group) -> Iterator[str]:
    if not group.is_named:
        return
    advice = seen.advice_for(group.name, group.is_actor)
    if advice is not None:
        memory = advice.memory
    elif group.memory is not None:
        memory = int(group.memory * MARGIN)
    else:
        yield f"Say what {group.name} needs: memory=… or more num_cpus in @ray.remote."
        return
    yield f"Say what it needs, so that no more start than fit: `@ray.remote(memory={memory:_})` on {group.name}."
    if advice is None or any(advice.fits.values()):
        yield "Where that does not fit, give it a larger node."


def _mind(advice: Advice | None) -> Iterator[str]:
    """What `advise()` says to know before relying on its figures."""
    if advice is not None:
        yield from (f"Mind: {text}" for text in advice.warnings)


def too_parallel(seen: Seen, groups: list[Group]) -> Iterator[Finding | Unclear]:
    """Functions of which more run at once than a node has memory for, though one alone fits."""
    if seen.usage is None:
        yield Unclear("too_parallel", "how many fit a node is not known without a connection to the cluster")
    yield from _profiled_too_parallel(seen, groups)
    yield from _seen_too_parallel(seen, groups)


def _profiled_too_parallel(seen: Seen, groups: list[Group]) -> Iterator[Finding | Unclear]:
    running = _running(seen)
    for advice in seen.advice:
        is_actor = advice.kind == "actor"
        if advice.kind == "block":
            continue
        group = next((one for one in groups if (one.name, one.is_actor) == (advice.name, is_actor)), None)
        node_ids = (group.nodes if group else set()) | {node.node_id for node in seen.nodes}
        there = Counter(kill.node_id for kill in group.kills) if group else Counter()
        for node_id in sorted(node_ids, key=lambda node_id: (-there[node_id], node_id)):
            killed = [kill for kill in group.kills if kill.node_id == node_id] if group else []
            if killed:
                at_once = seen.at_once(advice.name, is_actor, node_id, killed[-1].when + timedelta(seconds=1))
            else:
                at_once = running[advice.name, is_actor, node_id]
            fits = advice.fits.get(node_id) if seen.usage is not None else None
            if at_once > 1 and fits == 0:
                what = f"{at_once} of {advice.name} {'ran' if killed else 'run'} at once on {seen.where(node_id)}"
                yield Unclear("too_parallel", f"{what}, where not a single one fits now")
            if at_once < 2 or (fits is None and not killed) or (fits is not None and not 1 <= fits < at_once):
                continue
            yield _too_parallel(seen, advice, node_id, len(killed), str(at_once), fits)
            break  # one node says it: that with most kills


def _seen_too_parallel(seen: Seen, groups: list[Group]) -> Iterator[Finding]:
    """The same of what nobody profiled, where many processes of one name fill a node, or filled it at a kill."""
    crowds: dict[tuple[str, bool], list[tuple[int, str, dict[tuple[str, int], int]]]] = {}
    full = set()  # where all that Ray printed was of one name, there may have been more than it prints
    for group in groups:
        for node_id in sorted(group.nodes):
            killed = [kill for kill in group.kills if kill.node_id == node_id]
            kill = max(killed, key=lambda kill: sum(_filling(kill, group).values()))
            then = _filling(kill, group)
            crowds.setdefault((group.name, group.is_actor), []).append((len(killed), node_id, then))
            if then and len(then) == len(kill.top_processes):
                full.add((group.name, group.is_actor, node_id))
    for node in seen.nodes:
        if node.used < _LOW * node.limit:
            continue
        names = {(actor_class(one.name), True) for one in users(node, "actor") if one.name}
        names |= {(one.name, False) for one in users(node, "task") if one.name}
        for name, is_actor in sorted(names):
            now = seen.crowd(name, is_actor, node.node_id)
            if sum(now.values()) >= _MOST * node.used:
                crowds.setdefault((name, is_actor), []).append((0, node.node_id, now))
    for (name, is_actor), found in crowds.items():
        kills, node_id, sizes = max(found, key=lambda crowd: (len(crowd[2]) > 1, crowd[0], len(crowd[2])))
        if len(sizes) < 2 or seen.advice_for(name, is_actor) is not None:
            continue
        advice = advise_seen(name, "actor" if is_actor else "task", sizes, seen.usage)
        fits = advice.fits.get(node_id) if seen.usage is not None else None
        if (name, is_actor, node_id) in full and fits:
            yield _too_parallel(seen, advice, node_id, kills, f"{len(sizes)} or more", fits)
        elif fits is None or 1 <= fits < len(sizes):
            yield _too_parallel(seen, advice, node_id, kills, str(len(sizes)), fits)


def _running(seen: Seen) -> Counter[tuple[str, bool, str | None]]:
    """Count what runs now: calls by function, actors by class, by node."""
    alive = {(node.node_id, process.pid) for node in seen.nodes for process in node.processes}
    found: Counter[tuple[str, bool, str | None]] = Counter()
    actors = set()
    for call in seen.calls:
        if call.kind == "task" and call.status == "running":
            found[call.name, False, call.node_id] += 1
        elif call.kind in ("actor", "method") and (call.node_id, call.pid) in alive:
            actors.add((actor_class(call.name), process_of(call), call.node_id))
    found.update((name, True, node_id) for name, _, node_id in actors)
    return found


def _too_parallel(seen: Seen, advice: Advice, node_id: str, killed: int, at_once: str, fits: int | None) -> Finding:
    what, one = ("actors", "actor") if advice.kind == "actor" else ("calls", "call")
    where, node = seen.where(node_id), seen.node(node_id)
    theirs = [call for call in seen.calls if call.name == advice.name or actor_class(call.name) == advice.name]
    largest = max((call for call in theirs if call.capture), key=lambda call: call.growth, default=None)
    admits = advice.admits.get(node_id) if fits is not None else None
    admitted = f"; its CPUs admit {admits}" if admits is not None else ""
    evidence = [f"{at_once} {what} of it {'ran' if killed else 'run'} at once on {where}{admitted}."]
    if killed:
        count = f"{killed} {what}" if killed > 1 else f"One {one}"
        evidence.append(f"{count} of it {'were' if killed > 1 else 'was'} killed for memory there.")
    fitting = f"{fits} fit" if fits != 1 else "one fits"
    measured = "its largest peak" if advice.calls else f"the largest of {advice.peaks} that were seen"
    if fits is not None and node is not None:
        evidence.append(
            f"{fitting.capitalize()}: a {one} takes {show_bytes(advice.needs)} ({measured} is {show_bytes(advice.max)}"
            f"{f', of {advice.peaks}' if advice.calls else ''}; a fifth is margin), and the node uses {_used(node)}."
        )
    else:
        evidence.append(f"A {one} takes {show_bytes(advice.needs)}: {measured}, and a fifth as margin.")
    evidence += _mind(advice)
    lines = _lines(seen, (largest,), "peak")
    steps = []
    if fits is not None and (advice.num_cpus > 1 or advice.kind == "actor"):
        by_default = "; by default an actor holds no CPU once it lives" if advice.kind == "actor" else ""
        steps.append(f"Run no more than fit: `@ray.remote(num_cpus={advice.num_cpus:g})` on {advice.name}{by_default}.")
    ask = f"@ray.remote(memory={advice.memory:_})"
    if steps:
        steps.append(f"Or `{ask}`, which Ray holds against the memory of each node.")
    else:
        steps.append(
            f"Say what a {one} needs, which Ray holds against the memory of each node: `{ask}` on {advice.name}."
        )
    if advice.kind == "actor":
        steps.append("Or start fewer of them, and have each do more.")
    else:
        steps.append("Or start fewer: wait for one with `ray.wait` before the next is started, once so many run.")
    if lines:
        steps.append(f"Or make a {one} smaller: at its peak it holds {seen.held(lines[0])}")
    elif not advice.calls:
        steps.append(f"Or make a {one} smaller: @profile_memory on {advice.name} tells the lines that hold most.")
    return Finding(
        severity="critical" if killed else "warning",
        illness="too_parallel",
        title=f"Too many {what} of {advice.name} run at once: {at_once} on {where}"
        + (f", where {fitting}." if fits is not None else "."),
        name=advice.name,
        node_id=node_id,
        evidence=tuple(evidence),
        next_steps=tuple(steps),
        kills=killed,
        lines=lines,
        calls=Calls([largest] if largest else []),
    )


def leaking_actors(seen: Seen, groups: list[Group]) -> Iterator[Finding | Unclear]:
    """Actors whose memory grows from call to call, and does not fall again."""
    if seen.calls and not lives(seen.calls):
        yield Unclear("leaking_actor", "no actor was profiled")
    for name, count in sorted(too_few(seen.calls).items()):
        ended = f"{count} call{'s' * (count != 1)} ended" if count else "no call ended"
        yield Unclear(
            "leaking_actor",
            f"in no actor of {name} more than {ended}, too few to tell"
            if count > 1
            else f"of {name} {ended}, too few to tell",
        )
    growing: dict[str, list[Growth]] = {}
    for growth in growths(seen.calls):
        growing.setdefault(growth.name, []).append(growth)
    for name, found in growing.items():
        killed = next((group for group in groups if group.is_actor and group.name == name), None)
        largest = max(found, key=lambda growth: growth.size)
        whole = seen.heaps.of(captures_of(seen.life(largest.calls[-1])))
        if whole is not None and (whole.retained_at_end or 0) >= _MAINLY * largest.size:
            yield _retained(seen, largest.calls[-1], largest.name, whole, largest.size)
        else:
            yield _leaking(seen, largest, found, killed, whole)
            if whole is None or whole.retained_at_end is None:
                grown = show_bytes(largest.size)
                yield Unclear(
                    "retained_memory", f"what allocators kept of the {grown} that {name} grew by is not known"
                )


def retained_memory(seen: Seen) -> Iterator[Finding | Unclear]:
    """Tasks that let go of what they held, and whose process keeps it all the same: allocators do not give it back."""
    keeping = (call for call in seen.calls if call.kind == "task" and kept_by(call) >= _RETAINED)
    most_first = _largest_each(keeping, kept_by)
    for call in most_first[:_LARGEST]:
        found = seen.heaps.of(call)
        if found is None:
            yield _untraced("retained_memory", call, f"which left {show_bytes(kept_by(call))}")
        elif found.retained_at_end is None:
            why = f"what allocators kept of the {show_bytes(kept_by(call))} that {call.name} left is not known"
            yield Unclear("retained_memory", why)
        elif found.retained_at_end >= _MAINLY * kept_by(call):
            yield _retained(seen, call, call.name, found, kept_by(call))
    yield from _not_looked_at("retained_memory", most_first)


def _largest_each(calls: Iterable[Call], size: Callable[[Call], int]) -> list[Call]:
    """Return the largest call of each function, one that was traced where there is any; the largest first."""
    found: dict[str, Call] = {}
    for call in calls:
        known = found.get(call.name)
        if not is_ours(call.name) and (
            known is None or (call.capture is not None, size(call)) > (known.capture is not None, size(known))
        ):
            found[call.name] = call
    return sorted(found.values(), key=lambda call: -size(call))


def _untraced(illness: str, call: Call, what: str) -> Unclear:
    """Say that it is not known what a call allocated."""
    why = "its capture cannot be read" if call.capture is not None else call.note or "its capture is gone"
    return Unclear(illness, f"what the call of {call.name} {what} held is not known ({why})")


def _not_looked_at(illness: str, most_first: list[Call]) -> Iterator[Unclear]:
    rest = most_first[_LARGEST:]
    if rest:
        more = f" and {len(rest) - 1} more" if len(rest) > 1 else ""
        yield Unclear(illness, f"only {_LARGEST} functions were looked into, not {rest[0].name}{more}")


_KEEP_LESS = (
    "have allocators return more of it, at some cost in time: `runtime_env={'env_vars': "
    "{'ARROW_DEFAULT_MEMORY_POOL': 'system', 'MALLOC_MMAP_THRESHOLD_': '65536', 'MALLOC_TRIM_THRESHOLD_': '65536'}}`."
)


def _retained(seen: Seen, call: Call, name: str, found: Heap, kept: int) -> Finding:
    """What was freed and stays with the allocator: no line of code holds it."""
    steps = (
        "Have glibc give it back: `ctypes.CDLL(None).malloc_trim(0)` after the work, in the same process.",
        f"Or {_KEEP_LESS}",
        "Where Arrow holds it: `pyarrow.default_memory_pool().release_unused()`.",
    )
    return Finding(
        severity="info",
        illness="retained_memory",
        title=f"{name} freed memory that its process keeps: {show_bytes(found.retained_at_end or 0)}.",
        name=name,
        node_id=call.node_id,
        evidence=(
            f"Its process (pid {call.pid} on {seen.where(call.node_id)}) had grown by {show_bytes(kept)} at the end: "
            f"{show_bytes(found.retained_at_end or 0)} are free in allocators, {show_bytes(found.alive_at_end)} held.",
            "What comes next in that process uses it again; for others on the node it is gone.",
        ),
        next_steps=steps,
        calls=Calls([call]),
    )


def _leaking(seen: Seen, growth: Growth, alike: list[Growth], killed: Group | None, whole: Heap | None) -> Finding:
    """An actor that grows; `alike` are all processes of its class that do, of which it is the largest."""
    last = growth.calls[-1]
    life = seen.life(last)
    node = seen.node(last.node_id)
    is_alive = node is not None and any(process.pid == last.pid for process in node.processes)
    lines = _what_stays(growth, whole)
    per_call = growth.size / (len(growth.calls) - 1)
    evidence = [
        f"Over {len(growth.calls)} calls it grew from {show_bytes(growth.first)} to {show_bytes(growth.last)}, "
        f"{show_bytes(round(per_call))} a call, and did not fall again; most in {growth.method} "
        f"(pid {last.pid} on {seen.where(last.node_id)})."
    ]
    if len(alike) > 1:
        actors = len({one.calls[-1].actor_id for one in alike})
        restarted = f" in {len(alike)} processes, since some were restarted" if len(alike) > actors else ""
        whose = f"{actors} actors of its class grow" if actors > 1 else "It grows"
        evidence.append(f"{whose}{restarted}; these figures are of the one that grew most.")
    evidence += _about_lines(seen, lines)
    evidence += [*about_captures(life), *(whole.missing if whole is not None else ())]
    left = None
    if node is not None and is_alive and seen.when - end_of(last) < _STILL:
        free = max(node.limit - node.used, 0)
        seconds = (seen.when - end_of(growth.calls[0])).total_seconds()  # a pause now is of its pace, too
        left = seconds * free / growth.size
        evidence.append(
            f"After {round(free / per_call):,} more such calls, {show_seconds(left)} at the pace so far, the node is "
            f"above the {show_bytes(node.limit)} at which {_killer(node)} kills."
        )
    if killed is not None:
        evidence += _about_kills(seen, killed)
    steps = []
    if lines:
        steps.append(f"Let go of what {lines[0].place} keeps, or bound it (deque(maxlen=…), an LRU).")
    elif sum(kept_by(call) for call in life if call.capture is None) >= _MAINLY * growth.size:
        steps.append(
            f"Find the line: what {growth.name} grew by is in no capture that is there. Record it again with a larger "
            "disk budget (`RAYMEMPROF_MAX_BYTES`, or max_bytes= of @profile_memory), and with heap tracing on."
        )
    else:
        command = f"raymemprof heap --name '{growth.name}.*'{seen.arguments}"
        steps.append(f"No line that was traced holds as much; `{command}` says what else there is.")
    steps.append(f"{_flamegraph(seen, growth.name, True, ' --view leaks')} shows all that its calls left.")
    steps.append(
        "Until then have who calls it start it afresh after so many calls: `ray.kill(actor, no_restart=False)`, with "
        f"`@ray.remote(max_restarts=-1, max_task_retries=-1)` on {growth.name}; what it keeps is lost."
    )
    severity = "critical" if killed is not None or (left is not None and left < _SOON) else "warning"
    is_sure = growth.is_sure or (killed is not None and growth.size > (killed.memory or 0) / 2)
    is_past = killed is None and not is_alive and seen.is_past(last.job_id, end_of(last))
    if not is_sure or is_past:
        severity = "info"
    by = f"by {show_bytes(growth.size)} over {len(growth.calls)} calls"
    if not is_sure:
        title = f"{growth.name} may grow with each call: it grew {by}, too few to be sure."
    else:
        title = f"{growth.name} {'grew' if is_past else 'grows'} with each call: {by}."
    return Finding(
        severity=severity,
        illness="leaking_actor",
        title=title,
        name=growth.name,
        node_id=last.node_id,
        evidence=tuple(evidence),
        next_steps=tuple(steps),
        kills=len(killed.kills) if killed is not None else 0,
        lines=lines,
        calls=Calls([max(growth.calls, key=lambda call: (call.memory_after or 0) - call.memory_before)]),
    )


def _what_stays(growth: Growth, whole: Heap | None) -> tuple[Line, ...]:
    """The lines that hold what an actor grew by, where their figures add up with its; none where they do not.

    An actor that let go of all on its way out is judged by what it held when it held most.
    """
    if whole is None:
        return ()
    view = "leaks" if whole.alive_at_end >= _MAINLY * growth.size else "peak"
    most = max(call.peak_memory for call in growth.calls)
    lines = [line for line in whole.top(_MOST_TOLD, view) if line.bytes <= most]
    return tuple(lines) if sum(line.bytes for line in lines) >= _EXPLAINED * growth.size else ()


def head_node(seen: Seen, groups: list[Group]) -> Iterator[Finding]:
    """A head node that runs tasks or actors beside the driver and Ray's own parts, and has too little left for them."""
    head = next((node for node in seen.nodes if node.is_head), None)
    if head is None:
        return
    limit = head.limit
    drivers = list(users(head, "driver"))
    own = head.system + sum(process.counted for process in drivers)
    working = sorted(users(head, "task", "actor", "worker"), key=lambda process: -process.memory)
    killed = [group for group in groups if head.node_id in group.nodes]
    others = [node_id for node_id, cpus in seen.cpus.items() if node_id != head.node_id and cpus > 0]
    is_full, is_own = head.used >= _CROWDED * limit, own >= _OWN * limit
    runs = seen.cpus.get(head.node_id, 0) > 0 and (bool(working) or bool(killed))
    # Where there is room for all there is nothing to mend. With no other node there is nowhere else to run: it is the
    # head's fault only where its own part is what is large.
    if not runs or not (is_full or killed) or not (is_own or (is_full and others)):
        return
    evidence = [
        f"It uses {_used(head)}.",
        f"Drivers take {show_bytes(own - head.system)} of it ({_names(drivers)}), Ray's own parts "
        f"{show_bytes(head.system)} ({_names(process for process in head.processes if process.role in _HEADS)}).",
    ]
    if working:
        memory = sum(process.counted for process in working)
        evidence.append(f"Beside them, tasks and actors take {show_bytes(memory)} ({_names(working)}).")
    for group in killed:
        evidence += _about_kills(seen, group)
    steps = [
        'Keep tasks and actors off it: `ray start --head --num-cpus=0` (in KubeRay rayStartParams: num-cpus: "0").'
    ]
    if others:
        steps.append(
            f"They then run elsewhere: the cluster has {sum(seen.cpus[one] for one in others):g} CPUs besides."
        )
    else:
        steps.append("It is the only node: add one for the work, `ray start --address=<head>:6379` there.")
    largest = max(drivers, key=lambda process: process.memory, default=None)
    if largest is not None and largest.memory > _PLAIN:
        steps.append(
            f"Have the driver {largest.name or ''} (pid {largest.pid}) hold less: keep references, not results, "
            "or run it elsewhere with `ray job submit --entrypoint-num-cpus=1`."
        )
    yield Finding(
        severity="critical" if killed and is_own else "warning",
        illness="head_node",
        title=f"The head node {head.address} is crowded: tasks and actors run beside the driver and Ray's own parts.",
        name=None,
        node_id=head.node_id,
        evidence=tuple(evidence),
        next_steps=tuple(steps),
        kills=sum(kill.node_id == head.node_id for group in killed for kill in group.kills),
    )


_HEADS = ("gcs", "dashboard", "raylet", "agent")


def _names(processes: Iterable[ProcessUsage]) -> str:
    """Name the largest of some processes, with their sizes."""
    largest = sorted((one for one in processes if one.memory > _MIB), key=lambda process: -process.memory)
    told = ", ".join(f"{process.name or process.role} {show_bytes(process.memory)}" for process in largest[:_MOST_TOLD])
    return f"{told}, …" if len(largest) > _MOST_TOLD else told or "none"


def _much_shared(node: NodeUsage) -> list[SharedMemory]:
    """The largest owners of shared memory, where they have a good part of what is used."""
    return [one for one in node.shared_memory_owners if one.memory >= _MUCH_SHARED * node.used][:_MOST_TOLD]


def _used(node: NodeUsage) -> str:
    limit = f"; Ray kills above {show_bytes(node.threshold)}" if node.threshold == node.limit else ""
    return f"{show_bytes(node.used)} of {show_bytes(node.total)}{limit}"


def _killer(node: NodeUsage) -> str:
    """Who kills when the node's limit is reached."""
    return "Ray" if node.threshold == node.limit else "the kernel"


def low_memory(seen: Seen, crowded: set[str | None]) -> Iterator[Finding]:
    """Nodes that are about to kill, beside those of which it is told already."""
    for silent in seen.silent:
        if silent.reason == KILLED:
            yield Finding(
                severity="critical",
                illness="low_memory",
                title=f"Node {silent.address} ({silent.node_id[:8]}…) has no memory left, not even to be looked at.",
                name=None,
                node_id=silent.node_id,
                evidence=(f"{silent.reason}: it was above its limit just then.",),
                next_steps=(
                    "See on that machine what fills it: `ps aux --sort=-rss | head`, then end what is not needed.",
                    f"Ask again then: `raymemprof doctor{seen.arguments}`.",
                    "Have fewer run there at once: memory=… or more num_cpus in @ray.remote.",
                ),
            )
    for node in seen.nodes:
        limit = node.limit
        if node.used < _LOW * limit or node.node_id in crowded:
            continue
        largest = sorted(users(node), key=lambda process: -process.memory)
        steps = []
        forgotten = [one for one in _much_shared(node) if one.user is not None]
        if forgotten:
            names = " and ".join(one.name or "" for one in forgotten)
            steps.append(
                f"See whether {names} is still needed: a file in /dev/shm, or another tmpfs, takes memory until it is "
                "deleted, also when the process that made it was killed."
            )
        if node.unexplained > max(node.workers, node.object_store):
            steps.append("Most of it is not this cluster's: see with `ps aux --sort=-rss | head` whose it is.")
        if largest and largest[0].memory > _PLAIN:
            name = largest[0].name or largest[0].role
            known = {name for call in seen.calls for name in (call.name, actor_class(call.name))}
            profile = "" if name in known else "put @profile_memory on it, then "
            command = f"raymemprof heap --name {shlex.quote(f'*{name}*')}{seen.arguments}"
            steps.append(f"Find what {name} holds: {profile}`{command}`.")
        steps.append("Or add a node: tasks with memory=… in @ray.remote then go where there is room.")
        yield Finding(
            severity="warning",
            illness="low_memory",
            title=f"{seen.where(node.node_id).capitalize()} is about to run out of memory: {node.used / limit:.0%} of "
            f"what it may use.",
            name=None,
            node_id=node.node_id,
            evidence=(
                f"It uses {_used(node)}.",
                f"Tasks, actors and drivers take {show_bytes(node.workers)} ({_names(largest)}), the object store "
                f"{show_bytes(node.object_store)}, Ray itself {show_bytes(node.system)}, other shared memory "
                f"{show_bytes(node.shared_memory or 0)}, all else {show_bytes(node.unexplained)}.",
                *(f"Of the shared memory, {one}." for one in _much_shared(node)),
            ),
            next_steps=tuple(steps),
        )


def idle_workers(seen: Seen) -> Iterator[Finding]:
    """Workers that run nothing and keep memory, which Ray leaves to them: it keeps one for each CPU."""
    for node in seen.nodes:
        every = sorted(process.memory for process in node.processes if process.role == "idle worker")
        idle = [process for process in node.processes if process.role == "idle worker" and process.memory > _PLAIN]
        kept = kept_by_idle([process.memory for process in idle])
        most = max(idle, key=lambda process: process.memory, default=None)
        # What most of them have alike is what they have imported.
        plain = max(_PLAIN, every[len(every) // 2]) if len(every) >= _MOST_OF_THEM else _PLAIN
        left_over = max(node.limit - node.used, 0)
        if most is None or (most.memory - plain < KEPT and kept < max(KEPT, _PART * left_over)):
            continue
        left = _left_by(seen, most)
        lines = _lines(seen, (left,), "leaks")
        function = left.name if left is not None else "the function that fills it"
        count = f"{len(idle)} idle workers keep" if len(idle) > 1 else "An idle worker keeps"
        total = sum(process.memory for process in idle)
        evidence = [f"The largest, pid {most.pid}, has {show_bytes(most.memory)}; one that keeps nothing some 50 MiB."]
        if left is not None:
            evidence.append(f"{left.name} left {show_bytes(kept_by(left))} behind in it (pid {most.pid}).")
        evidence += [f"Of that {seen.held(line)}" for line in lines[:1]]
        whole = seen.heaps.of((left.capture,)) if left is not None and left.capture is not None else None
        freed = (whole.retained_before or 0) + (whole.retained_at_end or 0) if whole is not None else 0
        is_freed = freed >= _MAINLY * (most.memory - plain)
        if is_freed:
            evidence.append(
                f"Allocators retained {show_bytes(freed)} of it: memory that was freed but not returned to the system."
            )
        yield Finding(
            severity="warning",
            illness="idle_workers",
            title=f"{count} {show_bytes(total)} on {seen.where(node.node_id)}, for nothing that runs.",
            name=left.name if left is not None else None,
            node_id=node.node_id,
            evidence=tuple(evidence),
            next_steps=(
                *(f"Let go of it before the call ends: see {line.place}." for line in lines[:1]),
                *([f"{_KEEP_LESS[0].upper()}{_KEEP_LESS[1:]}"] if is_freed else []),
                f"End the worker after each call: `@ray.remote(max_calls=1)` on {function}.",
                "Or have Ray end idle workers after a second, where it keeps one for each CPU: "
                "`RAY_num_workers_soft_limit=0` in the environment of `ray start`, or of what calls ray.init().",
                "Ray 2.56 and later kills them first when memory is low, and those that never ran anything above "
                "`RAY_idle_worker_killing_memory_threshold_bytes` (1 GiB).",
            ),
            lines=lines,
            calls=Calls([left] if left is not None else []),
        )


def kept_by_idle(sizes: Iterable[int]) -> int:
    """Return what idle workers of these sizes have beyond what each has that keeps nothing."""
    return sum(max(size - _PLAIN, 0) for size in sizes)


def _left_by(seen: Seen, idle: ProcessUsage) -> Call | None:
    """Return the call that left most behind in a worker, where that is what it keeps: not what was there before."""
    there = [
        call
        for call in seen.calls
        if call.pid == idle.pid and call.node_id == idle.node_id and call.worker_id in (idle.worker_id, None)
    ]
    left = max(there, key=kept_by, default=None)
    return left if left is not None and kept_by(left) >= _MAINLY * (idle.memory - _PLAIN) else None


def object_stores(seen: Seen) -> Iterator[Finding | Unclear]:
    """Object stores that are full, or have written objects to disk."""
    for node in seen.nodes:
        # Not what is used: copies of other nodes' objects fill a store too, and are dropped when it needs the room.
        used, capacity, spilled = must_keep(node), node.object_store_capacity, node.spilled or 0
        if used is None or not capacity:
            yield Unclear("object_store", f"what objects take on {seen.where(node.node_id)} is not known")
            continue
        is_full = used >= _SPILLS * capacity
        if not is_full and not spilled:
            continue
        where = seen.where(node.node_id)
        evidence = [f"Objects take {show_bytes(used)} of {show_bytes(capacity)}; above {_SPILLS:.0%} Ray spills."]
        if spilled:
            evidence.append(f"{show_bytes(spilled)} were written to disk since the node started.")
        yield Finding(
            # Spilling once is what the store is made for; more than all of it, or one that is full now, costs time.
            severity="warning" if is_full or spilled >= capacity else "info",
            illness="object_store",
            title=f"The object store of {where} is nearly full."
            if is_full
            else f"The object store of {where} spilled.",
            name=None,
            node_id=node.node_id,
            evidence=tuple(evidence),
            next_steps=(
                "See who refers to what: `ray memory --stats-only`, then `ray memory`; del what is done with.",
                "Return less at a time: yield pieces from a generator task, and take them as they come.",
                f"Or start Ray there with `--object-store-memory={2 * capacity}`, if the node has memory to spare.",
            ),
        )


def must_keep(node: NodeUsage) -> int | None:
    """Return what a node's object store must keep or spill; None where that is not known, and may be much."""
    used, capacity = node.object_store_used, node.object_store_capacity
    if node.object_store_primary is None and used is not None and used < _SPILLS * (capacity or 0):
        return used  # no more than that
    return node.object_store_primary


def unexplained_deaths(seen: Seen) -> Iterator[Finding]:
    """Calls whose processes ended and nobody said why; the kernel's word may be where this process cannot read it.

    Only those of jobs that go on: where a job or a session ends, Ray ends what it ran, and does not say so either.
    """
    by_name: dict[str, list[Call]] = {}
    for call in seen.calls:
        if call.status == "killed" and WITHOUT_A_WORD in (call.error or "") and call.job_id in (seen.jobs or ()):
            by_name.setdefault(call.name, []).append(call)
    for name, calls in sorted(by_name.items(), key=lambda item: -max(call.peak_memory for call in item[1])):
        largest = max(calls, key=lambda call: call.peak_memory)
        processes = len({process_of(call) for call in calls})
        many = f"{processes} processes" if processes > 1 else "A process"
        yield Finding(
            severity="info",
            illness="unexplained_death",
            title=f"{many} of {name} ended without a word: killed by the kernel for memory, maybe.",
            name=name,
            node_id=largest.node_id,
            evidence=(
                f"The largest, pid {largest.pid} on {seen.where(largest.node_id)}, had used "
                f"{show_bytes(largest.peak_memory)}, and ran since {seen.moment(largest.started_at)}. No log of Ray's, "
                "nor the kernel's where that can be read, says what ended it, as after a SIGKILL or `os._exit`.",
            ),
            next_steps=(
                'On that node `sudo dmesg -T | grep -i "killed process"` says whether it was the kernel; in Kubernetes '
                "`kubectl describe pod` says OOMKilled.",
            ),
            calls=Calls([largest]),
        )


def copies(seen: Seen) -> Iterator[Finding | Unclear]:
    """Calls that may hold their data twice: two lines hold about as much, and together most of the peak."""
    # What it held may be memory that its process had kept: then its growth does not show it, but its peak does.
    most_first = _largest_each((call for call in seen.calls if call.peak_memory >= _COPIED), lambda call: call.growth)
    for call in most_first[:_LARGEST]:
        found = seen.heaps.of(call)
        if found is None:
            yield _untraced("copy", call, f"whose process had {show_bytes(call.peak_memory)}")
            continue
        pair = _pair(found)
        if pair is None:
            continue
        yield Finding(
            severity="info",
            illness="copy",
            title=f"{call.name} may hold its data twice: two lines hold about as much.",
            name=call.name,
            node_id=call.node_id,
            evidence=(
                f"Of the {show_bytes(found.peak)} at the peak of its largest call,",
                *(seen.held(line) for line in pair),
            ),
            next_steps=(
                "If one is made of the other, let go of the first, or go through the data in pieces, with a generator.",
                f"{_flamegraph(seen, call.name, False)} shows both.",
            ),
            lines=pair,
            calls=Calls([call]),
        )
    yield from _not_looked_at("copy", most_first)


def _pair(found: Heap) -> tuple[Line, ...] | None:
    pair = tuple(found.top(2, "peak"))
    if found.peak < _COPIED or len(pair) < 2:
        return None
    first, second = pair
    alike = second.bytes >= _ALIKE * first.bytes and first.bytes + second.bytes >= _MOST_OF * found.peak
    return pair if alike else None


def _lines(seen: Seen, holders: Iterable[Call | tuple[Path, ...] | None], view: str) -> tuple[Line, ...]:
    """Return the lines that held most, of the first call, or process over its captures, that can be read."""
    for holder in holders:
        found = seen.heaps.of(holder)
        if found is not None:
            return tuple(found.top(_MOST_TOLD, view))
    return ()
