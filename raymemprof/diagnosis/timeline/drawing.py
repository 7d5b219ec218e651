"""The timeline as shapes: for each node the memory of its processes stacked, and below it their calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from ...display.text import counted, printable, show_bytes, show_name, show_seconds
from ...reading.catalog.series import Life, Point
from .areas import Area, Grid, stacked
from .bands import Band, bands_of, joined
from .scale import LEFT, RIGHT, WIDTH, Scale, Tick

__all__ = ["Drawing", "draw"]

_MOST_NODES = 6
_MOST_PROCESSES = 8
"""Processes of a node that are drawn, those with the highest peaks; the rest are stacked as one."""
_MOST_BANDS = 300
_MOST_KILLS = 40
_PARTS = 300
"""Parts of the time, of each of which the highest is drawn; of several nodes half as many."""
_TALL, _LOW = 190, 120
"""Pixels of a node's memory where it is the only one, and of one of several."""
_HEAD, _ROW, _GAP, _FOOT = 26, 17, 8, 44
_CHARACTER = 6.4
_FAR = 4
"""A kill threshold so many times above what is drawn is told of and not drawn: all else would be flat."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Something that is drawn, and what is said of it; `kind` is a class of the style."""

    kind: str
    told: str
    path: str = ""
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    label: str = ""
    side: str = "start"


@dataclass(frozen=True, slots=True)
class Panel:
    """A node."""

    title: str
    note: str
    top: float
    bottom: float
    """Of its memory; the bands are below."""
    ticks: tuple[Tick, ...]
    areas: tuple[Shape, ...]
    lines: tuple[Shape, ...]
    """The heap and the kill threshold."""
    bands: tuple[Shape, ...]
    rows: tuple[Shape, ...]
    """What stands left of the bands: which process they are of."""
    kills: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """All of it."""

    title: str
    description: str
    height: float
    panels: tuple[Panel, ...]
    ticks: tuple[Tick, ...]
    key: str
    kills: tuple[str, ...]
    """What was killed, in sentences."""
    left_out: tuple[str, ...]
    """What is not drawn, or not by itself, in sentences."""
    width: int = WIDTH
    left: int = LEFT
    right: int = WIDTH - RIGHT


def draw(lives: Sequence[Life], heap: Sequence[Point] = (), addresses: Mapping[str, str] | None = None) -> Drawing:
    """Return the drawing of processes.

    Args:
        lives: the processes.
        heap: what was allocated over time, where there is one process.
        addresses: the IP addresses of nodes, by id, where they are known.
    """
    nodes: dict[str | None, list[Life]] = {}
    for life in sorted(lives, key=lambda life: -life.peak):
        nodes.setdefault(life.node_id or life.host, []).append(life)
    left_out = _folded_nodes(nodes)
    shown = dict(list(nodes.items())[:_MOST_NODES])
    drawn = [life for theirs in shown.values() for life in theirs]
    first, last = min(life.start for life in drawn), max(life.end for life in drawn)
    across = Scale(first, max(last, first + 1e-3), LEFT, WIDTH - RIGHT)
    grid = Grid(first, across.last, _PARTS if len(shown) == 1 else _PARTS // 2)
    bands = _bands([life for theirs in shown.values() for life in theirs[:_MOST_PROCESSES]], across, left_out)
    panels: list[Panel] = []
    top = 4.0
    for name, theirs in shown.items():
        height = _TALL if len(shown) == 1 else _LOW
        panel, top = _panel(
            _node(name, theirs, addresses or {}), theirs, bands, grid, across, top, height, heap, left_out
        )
        panels.append(panel)
    kills = [_killed(life) for life in drawn if life.ended is not None]
    more = f"… and {len(kills) - _MOST_KILLS} more were killed."
    named = (*kills[:_MOST_KILLS], *([more] if len(kills) > _MOST_KILLS else []))
    return Drawing(
        title=_title(lives),
        description=_description(drawn, first, last, kills),
        height=top + _FOOT,
        panels=tuple(panels),
        ticks=across.times(),
        key=_key(drawn, bool(heap)),
        kills=named,
        left_out=tuple(dict.fromkeys(left_out)),
    )


def _bands(lives: list[Life], across: Scale, left_out: list[str]) -> dict[int, list[Band]]:
    """Return the bands of processes, by the process's identity; so many that they can be drawn."""
    found = {}
    for life in lives:
        found[id(life)], crowded = bands_of(life, across)
        if crowded:
            many = counted(crowded, "call", "calls")
            left_out.append(f"{many} of pid {life.pid} ran beside others, which they are drawn as one with.")
    gap = 2.0
    while sum(map(len, found.values())) > _MOST_BANDS and gap < WIDTH:
        found = {key: joined(bands, gap) for key, bands in found.items()}
        gap *= 2
    return found


def _panel(
    title: str,
    lives: list[Life],
    bands_by_life: dict[int, list[Band]],
    grid: Grid,
    across: Scale,
    top: float,
    height: int,
    heap: Sequence[Point],
    left_out: list[str],
) -> tuple[Panel, float]:
    shown, more = lives[:_MOST_PROCESSES], lives[_MOST_PROCESSES:]
    areas, sums = stacked(grid, [life.points for life in (*shown, *more)])
    threshold = next((life.threshold for life in lives if life.threshold is not None), None)
    most = max(*sums, *(point.memory for point in heap), 1)
    is_far = threshold is not None and threshold > _FAR * most
    up = Scale(0, max(most, 0 if is_far else threshold or 0) * 1.06, top + _HEAD + height, top + _HEAD)
    lines = [Shape("heap", "Heap, as memray saw it", _line([(one.time, one.memory) for one in heap], across, up))]
    if threshold is not None and not is_far:
        y = round(up(threshold), 1)
        label = f"Ray kills when the node uses {show_bytes(threshold)} in all"
        lines.append(Shape("limit", label, f"M{LEFT} {y}H{WIDTH - RIGHT}", WIDTH - RIGHT - 4, y - 4, 0, label, "end"))
    bottom = y = top + _HEAD + height
    bands: list[Shape] = []
    rows: list[Shape] = []
    for number, life in enumerate(shown):
        y += _GAP
        found = bands_by_life[id(life)]
        rows.append(Shape(f"p{number}", _who(life), x=4, y=y, label=f"pid {life.pid}"))
        bands += (_band(band, number, y) for band in found)
        y += _ROW * (1 + max(band.row for band in found))
    shapes = [_area(areas[at], f"p{at}", _who(life), across, up) for at, life in enumerate(shown)]
    if more:
        calls = sum(len(life.calls) for life in more)
        text = f"{counted(len(more), 'more process', 'more processes')}, {counted(calls, 'call', 'calls')}"
        shapes.append(_area(_joined(areas[_MOST_PROCESSES:]), "more", text, across, up))
        y += _GAP + _ROW
        rows.append(Shape("more", text, x=4, y=y - _ROW, label=text))
        left_out.append(f"{text} of {title} are drawn as one: those with the lowest peaks.")
    kills = tuple(_kills(lives, grid, sums, across, up, bottom))
    note = f"highest {show_bytes(max(sums))}"
    if is_far:
        note += f"; Ray kills when the node uses {show_bytes(threshold)} in all, far above what is drawn"
    panel = Panel(title, note, top, bottom, up.sizes(), tuple(shapes), tuple(lines), tuple(bands), tuple(rows), kills)
    return panel, y + 10


def _joined(areas: Sequence[Area]) -> Area:
    """Return processes that lie on each other as one area, from the lowest edge to the highest."""
    lower: dict[float, int] = {}
    upper: dict[float, int] = {}
    for area in areas:
        for (time, below), (_, above) in zip(area.lower, area.upper, strict=True):
            lower[time] = min(lower.get(time, below), below)
            upper[time] = max(upper.get(time, above), above)
    return Area(tuple(sorted(upper.items())), tuple(sorted(lower.items())))


def _area(area: Area, kind: str, told: str, across: Scale, up: Scale) -> Shape:
    return Shape(kind, told, f"{_line(area.upper, across, up)}L{_line(area.lower[::-1], across, up)[1:]}Z")


def _line(points: Sequence[tuple[float, int]], across: Scale, up: Scale) -> str:
    """Return a line, without the points that lie between two others at the same height."""
    places = [(round(across(time), 1), round(up(size), 1)) for time, size in points]
    kept = [
        place
        for at, place in enumerate(places)
        if not (0 < at < len(places) - 1 and places[at - 1][1] == place[1] == places[at + 1][1])
    ]
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in kept) if kept else ""


def _band(band: Band, number: int, top: float) -> Shape:
    width = max(band.right - band.left, 2.0)
    text = f"{band.sign}{band.label}"
    fitting = int((width - 6) / _CHARACTER)
    if len(text) > fitting:
        text = f"{text[: fitting - 1]}…" if fitting > 3 else band.sign.strip() if fitting > 0 else ""
    kind = f"p{number}" + (" bad" if band.status in ("killed", "failed") else "")
    return Shape(kind, band.told, x=round(band.left, 1), y=top + band.row * _ROW, width=round(width, 1), label=text)


def _kills(lives: list[Life], grid: Grid, sums: list[int], across: Scale, up: Scale, bottom: float) -> Iterator[Shape]:
    """A red mark for each process that was killed; it is named in words where there is room."""
    free = 0.0
    killed = sorted((life for life in lives if life.ended is not None), key=lambda life: life.ended or 0)
    for life in killed[:_MOST_KILLS]:
        assert life.ended is not None
        x, y = round(across(life.ended), 1), round(up(sums[grid.part_of(life.ended)]), 1)
        label = f"{show_name(_last(life))[:24]} killed"
        side = "end" if x > WIDTH / 2 else "start"
        width = len(label) * _CHARACTER + 12
        begin = x - width if side == "end" else x
        label = label if begin >= free else ""
        free = max(free, begin + width if label else 0.0)
        path = f"M{x} {y}V{bottom}M{x - 5} {y - 5}l10 10m0 -10l-10 10"
        yield Shape("kill", _killed(life), path, x + (-8 if side == "end" else 8), y - 6, 0, label, side)


def _last(life: Life) -> str:
    """The name of the call that was killed."""
    return [call for call in life.calls if call.status == "killed"][-1].name


def _killed(life: Life) -> str:
    call = [call for call in life.calls if call.status == "killed"][-1]
    when = datetime.fromtimestamp(life.ended or life.end, timezone.utc)
    attempt = f", attempt {call.attempt + 1}," if call.attempt else ""
    why = f": {printable(call.error)[:200]}" if call.error else ""
    had = show_bytes(life.points[-1].memory)
    return f"{show_name(call.name)}{attempt} (pid {life.pid}) was killed at {when:%H:%M:%S} UTC with {had}{why}"


def _who(life: Life) -> str:
    names = Counter(call.name for call in life.calls)
    listed = ", ".join(show_name(name) for name, _ in names.most_common(3)) + (", …" if len(names) > 3 else "")
    return f"pid {life.pid}: {counted(len(life.calls), 'call', 'calls')} of {listed}; highest {show_bytes(life.peak)}"


def _node(name: str | None, lives: list[Life], addresses: Mapping[str, str]) -> str:
    node_id = lives[0].node_id
    if node_id is not None:
        return f"node {addresses[node_id]} ({node_id[:8]}…)" if node_id in addresses else f"node {node_id[:8]}…"
    return f"on {printable(name)[:60]}" if name else "one process"


def _folded_nodes(nodes: dict[str | None, list[Life]]) -> list[str]:
    more = list(nodes.values())[_MOST_NODES:]
    if not more:
        return []
    count = sum(len(lives) for lives in more)
    return [f"{counted(len(more), 'node', 'nodes')} with {counted(count, 'process', 'processes')} are not drawn."]


def _title(lives: Sequence[Life]) -> str:
    """Say what it is of, as a person would."""
    calls = [call for life in lives for call in life.calls]
    names = Counter(call.name for call in calls)
    classes = {name.rpartition(".")[0] for name in names}
    (name, _), *others = names.most_common()
    if others and len(classes) == 1 and "" not in classes and all(call.actor_id for call in calls):
        name, others = classes.pop(), []
    subject = show_name(name) + (f" and {counted(len(others), 'other', 'others')}" if others else "")
    counts = f", {len(calls):,} calls" if len(calls) > 1 else ""
    return f"{subject}{counts}, highest {show_bytes(max(life.peak for life in lives))}"


def _description(drawn: Sequence[Life], first: float, last: float, kills: list[str]) -> str:
    calls = sum(len(life.calls) for life in drawn)
    begin = datetime.fromtimestamp(first, timezone.utc)
    return (
        f"Memory of {counted(len(drawn), 'process', 'processes')} that ran {counted(calls, 'call', 'calls')}, over "
        f"{show_seconds(last - first)} from {begin:%Y-%m-%d %H:%M:%S} UTC. {'. '.join(kills[:3]) or 'None was killed'}."
    )


def _key(lives: Sequence[Life], has_heap: bool) -> str:
    """Say what the marks mean, of those there are."""
    calls = [call for life in lives for call in life.calls]
    told = ["times are UTC", "areas: memory (RSS − SHR) of recorded processes"]
    told += ["line: heap, as memray saw it"] * has_heap
    told += ["✕ killed"] * any(call.status == "killed" for call in calls)
    told += ["! failed"] * any(call.status == "failed" for call in calls)
    told += ["↻ retried"] * any(call.attempt for call in calls)
    return " · ".join(told)
