"""A diagnosis as HTML: one page that needs no script and no network, and the short form for a notebook."""

from __future__ import annotations

import contextlib
import html
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import CaptureError
from ..ownership import refuse_foreign_folder, refuse_foreign_link
from ..reading.catalog import Call, Calls
from ..reading.reports import Report, flamegraph
from ..rows import Rows, printable, show_bytes, show_seconds

if TYPE_CHECKING:
    from .findings import Check, Diagnosis, Finding
    from .usage import NodeUsage

__all__ = ["fragment", "save"]

_MOST_FLAMEGRAPHS = 5
"""4.5 MB each."""
_MOST_ROWS = 40
_LONG = 36
"""Characters from which on a cell's text is folded."""
_WRAPS = ' class="long"'
_MOST_CALLS = 400
"""Calls in the timeline: the largest, and all that were killed."""
_WIDTH, _HEIGHT = 960, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 16, 14, 34
"""Pixels of the timeline around what it shows."""
_TICKS = 4
_VERDICTS = {"ill": "✗", "maybe": "!", "well": "✓", "unknown": "?", "info": "·"}
_LEAKS = ("leaking_actor", "idle_workers", "out_of_memory", "endless_retries")
"""Illnesses of which what was left shows more than the peak does."""

_PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<header>
<p class="kicker">raymemprof doctor</p>
<h1 class="$verdict">$summary</h1>
<p class="muted">$of · $when UTC</p>
</header>
$body
</main>
</body>
</html>
"""
)
_STYLE = """
:root { color-scheme: light dark; --ground: #fbfbfc; --card: #fff; --text: #1d2129; --muted: #5d6675; --line: #dfe3e8;
  --code: #f0f2f5; --critical: #b3261e; --warning: #8f5b00; --info: #1559b5; --well: #1b7a3d;
  --workers: #3b74d9; --store: #7c53c3; --system: #2a9a8f; --shared: #c8803a; --rest: #aab2bd; --free: #eceff3; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171c; --card: #1c2027; --text: #e5e8ed; --muted: #9aa4b2;
  --line: #323843; --code: #272c35; --critical: #ff8a80; --warning: #f2b84b; --info: #85b7ff; --well: #6fd08c;
  --workers: #6c9bf0; --store: #a685e2; --system: #4fc0b4; --shared: #dfa566; --rest: #697382; --free: #2a2f38; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 28px 24px 64px; }
h1 { font-size: 25px; line-height: 1.3; margin: 2px 0 6px; overflow-wrap: anywhere; }
h1.ill { color: var(--critical); } h1.unwell { color: var(--warning); } h1.well { color: var(--well); }
h2 { font-size: 18px; margin: 38px 0 12px; } h3 { font-size: 16px; margin: 0; overflow-wrap: anywhere; }
p { margin: 4px 0; } a { color: var(--info); }
.kicker { font-weight: 600; color: var(--muted); letter-spacing: .02em; } .muted { color: var(--muted); }
code { background: var(--code); border-radius: 4px; padding: 1px 5px; font: 13px/1.5 ui-monospace, "SF Mono", Menlo,
  Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
article { background: var(--card); border: 1px solid var(--line); border-left: 5px solid var(--tone);
  border-radius: 8px; padding: 16px 20px; margin: 14px 0; }
.critical { --tone: var(--critical); } .warning { --tone: var(--warning); } .info { --tone: var(--info); }
.badge { display: inline-block; color: var(--tone); border: 1px solid var(--tone); border-radius: 99px; padding: 0 10px;
  font-size: 12.5px; font-weight: 600; margin: 0 10px 6px 0; }
article ul, article ol { margin: 8px 0; padding-left: 22px; } article li { margin: 3px 0; overflow-wrap: anywhere; }
article h4 { margin: 12px 0 0; font-size: 14px; }
.checks { list-style: none; padding: 0; } .checks li { display: flex; gap: 10px; padding: 7px 0;
  border-bottom: 1px solid var(--line); } .checks b { font-weight: 600; }
.sign { width: 1.2em; font-weight: 700; } .sign.ill { color: var(--critical); } .sign.well { color: var(--well); }
.sign.maybe, .sign.unknown, .sign.info { color: var(--muted); }
figure { margin: 12px 0 20px; } figcaption { margin-bottom: 6px; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--muted); font: 12px system-ui, sans-serif; }
.key span { display: inline-flex; align-items: center; gap: 6px; margin-right: 16px; font-size: 13px; }
.key i { width: 11px; height: 11px; border-radius: 3px; display: inline-block; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 13.5px; min-width: 100%; }
caption { text-align: left; color: var(--muted); padding-bottom: 4px; }
th, td { text-align: left; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--muted); font-weight: 600; } th, td { white-space: nowrap; }
td.long { white-space: normal; overflow-wrap: anywhere; min-width: 16em; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
footer { margin-top: 44px; color: var(--muted); font-size: 13px; }
@media print { body { background: #fff; font-size: 12px; } main { max-width: none; padding: 0; }
  article, figure, tr { break-inside: avoid; } }
"""
_PARTS: tuple[tuple[str, str, Callable[[NodeUsage], int]], ...] = (
    ("workers", "Tasks, actors, drivers", lambda node: node.workers),
    ("store", "Object store", lambda node: node.object_store),
    ("system", "Ray itself", lambda node: node.system),
    ("shared", "Other shared memory", lambda node: node.shared_memory or 0),
    ("rest", "All else", lambda node: node.unexplained),
)


def save(diagnosis: Diagnosis, output: str | os.PathLike[str], overwrite: bool) -> Report:
    """Write the page, and flame graphs beside it; `Diagnosis.save` says how."""
    path = Path(output).absolute()
    refuse_foreign_link(path.parent)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name the file to write, {path / 'report.html'} say.")
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(f"{path} exists already, and is not overwritten unless that is asked for (--force).")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist, so no report can be written there.")
    links = _flamegraphs(diagnosis, path)
    page = _page(diagnosis, links)
    with tempfile.NamedTemporaryFile(
        # A name of the user's may hold what is no Unicode.
        "w",
        encoding="utf-8",
        errors="replace",
        dir=path.parent,
        prefix=f".{path.name[:100]}-",
        delete=False,
    ) as file:
        try:
            file.write(page)
            file.flush()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    return Report(path, "diagnosis", diagnosis.summary, diagnosis.unchecked)


def fragment(diagnosis: Diagnosis) -> str:
    """Return findings and checks as a notebook shows them, in its own colours."""
    parts = [f"<div>{_text(diagnosis.chosen)}</div>"] if diagnosis.chosen else []
    parts.append(f"<div><b>{_text(diagnosis.summary)}</b></div>")
    for finding in diagnosis.findings:
        colour = {"critical": "#c5221f", "warning": "#b06000", "info": "#1967d2"}[finding.severity]
        parts.append(
            f'<div style="border-left:4px solid {colour};padding:2px 0 2px 12px;margin:10px 0">'
            f'<div><b style="color:{colour}">{finding.severity}</b> · <code>{finding.illness}</code> · '
            f"<b>{_text(finding.title)}</b></div>{_items('ul', finding.evidence)}<div>What to do:</div>"
            f"{_items('ol', finding.next_steps)}</div>"
        )
    checks = (f"{_VERDICTS[check.verdict]} {check.question} {check.answer}" for check in diagnosis.checks)
    parts += ["<div>Checked, as Ray's page does:</div>", *(f"<div>{_text(text)}</div>" for text in checks)]
    if diagnosis.unchecked:
        parts += ["<div>Could not be checked:</div>", _items("ul", diagnosis.unchecked)]
    return "".join(parts)


def _flamegraphs(diagnosis: Diagnosis, path: Path) -> dict[int, str]:
    """Draw a flame graph of each finding's calls, and return by the finding's place what the page has for it."""
    folder = path.with_name(f"{path.stem}-files")
    found: dict[int, str] = {}
    drawn: dict[tuple[Any, ...], str] = {}
    for number, finding in enumerate(diagnosis.findings):
        call = next((call for call in finding.calls if call.capture is not None), None)
        if call is None:
            continue
        view = "leaks" if finding.illness in _LEAKS else "peak"
        key = (call.worker_id, call.pid, call.place, view)
        if key not in drawn and len(drawn) < _MOST_FLAMEGRAPHS:
            name = f"{len(drawn) + 1}-{re.sub(r'[^A-Za-z0-9_.]+', '_', call.name)[:60]}-{view}.html"
            drawn[key] = _flamegraph(call, folder, name, view)
        if key in drawn:
            found[number] = drawn[key]
    return found


def _flamegraph(call: Call, folder: Path, name: str, view: str) -> str:
    try:
        refuse_foreign_folder(folder)
        folder.mkdir(exist_ok=True)
        report = flamegraph(call, folder / name, view=view)
    except (CaptureError, OSError, ValueError, ImportError) as error:
        with contextlib.suppress(OSError):
            folder.rmdir()  # if nothing is in it
        return f'<p class="muted">No flame graph: {_text(str(error))}</p>'
    what = "left" if view == "leaks" else "held at its peak"
    href = html.escape(quote(f"{folder.name}/{report.path.name}"), quote=True)
    return f'<p><a href="{href}">Flame graph of what {_text(call.name)} {what}</a></p>'


def _page(diagnosis: Diagnosis, links: dict[int, str]) -> str:
    verdict = "well" if diagnosis.healthy else "unwell"
    if any(finding.severity == "critical" for finding in diagnosis.findings):
        verdict = "ill"
    of = diagnosis.source or _of_cluster(diagnosis)
    return _PAGE.substitute(
        title=_text(f"raymemprof doctor: {diagnosis.summary}"),
        style=_STYLE,
        verdict=verdict,
        summary=_text(diagnosis.summary),
        of=_text(of),
        when=f"{diagnosis.when:%Y-%m-%d %H:%M:%S}",
        body="\n".join(_sections(diagnosis, links)),
    )


def _of_cluster(diagnosis: Diagnosis) -> str:
    count = len(diagnosis.usage.nodes) if diagnosis.usage is not None else 0
    return f"a cluster of {count} node{'s' * (count != 1)}"


def _sections(diagnosis: Diagnosis, links: dict[int, str]) -> Iterator[str]:
    if diagnosis.findings:
        yield "<section><h2>Findings</h2>"
        yield from (_finding(finding, links.get(number, "")) for number, finding in enumerate(diagnosis.findings))
        yield "</section>"
    checks = "".join(map(_check, diagnosis.checks))
    yield f'<section><h2>What was checked</h2><ul class="checks">{checks}</ul></section>'
    if diagnosis.unchecked:
        yield f"<section><h2>What could not be checked</h2>{_items('ul', diagnosis.unchecked)}</section>"
    if diagnosis.usage is not None and len(diagnosis.usage.nodes):
        yield f"<section><h2>Memory of the nodes now</h2>{_key()}"
        yield from map(_bar, diagnosis.usage.nodes)
        yield "</section>"
    timeline = _timeline(diagnosis)
    if timeline:
        yield f"<section><h2>Kills and peaks</h2>{timeline}</section>"
    yield "<section><h2>In figures</h2>"
    yield _table("Processes killed for memory", diagnosis.kills[-_MOST_ROWS:], len(diagnosis.kills))
    yield _table("What functions and actor classes need", diagnosis.advice[:_MOST_ROWS], len(diagnosis.advice))
    yield _items(
        "ul", [f"{advice.name}: {text}" for advice in diagnosis.advice[:_MOST_ROWS] for text in advice.warnings]
    )
    largest = diagnosis.calls.sorted(lambda call: -call.growth)
    yield _table("Profiled calls, those that grew most first", largest[:_MOST_ROWS], len(largest))
    if diagnosis.usage is not None:
        processes = diagnosis.usage.processes
        yield _table("Processes of Ray's now, the largest first", processes[:_MOST_ROWS], len(processes))
        shared = diagnosis.usage.shared_memory
        yield _table("Shared memory beside the object stores, the largest first", shared[:_MOST_ROWS], len(shared))
    yield "</section>"
    yield (
        "<footer>Memory of a process is RSS − SHR: what it shares, the object store above all, is not counted. Written "
        "by raymemprof; this page needs no network.</footer>"
    )


def _finding(finding: Finding, link: str) -> str:
    return (
        f'<article class="{finding.severity}"><span class="badge">{finding.severity}</span>'
        f"<code>{finding.illness}</code><h3>{_text(finding.title)}</h3>{_items('ul', finding.evidence)}"
        f"<h4>What to do</h4>{_items('ol', finding.next_steps)}{link}</article>"
    )


def _check(check: Check) -> str:
    return (
        f'<li><span class="sign {check.verdict}" title="{check.verdict}">{_VERDICTS[check.verdict]}</span>'
        f"<span><b>{_text(check.question)}</b> {_text(check.answer)}</span></li>"
    )


def _items(kind: str, texts: Iterable[str]) -> str:
    items = "".join(f"<li>{_text(text)}</li>" for text in texts)
    return f"<{kind}>{items}</{kind}>" if items else ""


_CODE = re.compile(r"`([^`]+)`")


def _text(text: str) -> str:
    """Escape a text; what stands between backticks is code."""
    return _CODE.sub(r"<code>\1</code>", html.escape(printable(text)))


def _table(caption: str, rows: Rows[Any], total: int) -> str:
    """Write a sequence as a table: its columns that say something."""
    columns = [(heading, [write(row) for row in rows], is_number) for heading, write, is_number in rows.columns]
    columns = [column for column in columns if any(column[1])]
    if not columns:
        return ""
    sides = [' class="number"' if is_number else "" for _, _, is_number in columns]
    head = "".join(
        f'<th scope="col"{side}>{_text(heading)}</th>' for side, (heading, _, _) in zip(sides, columns, strict=True)
    )
    lines = (
        "".join(
            f"<td{_WRAPS if len(cell) > _LONG else side}>{_text(cell)}</td>"
            for side, cell in zip(sides, cells, strict=True)
        )
        for cells in zip(*(cells for _, cells, _ in columns), strict=True)
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    count = f" ({len(rows)} of {total})" if len(rows) < total else ""
    return (
        f'<div class="scroll"><table><caption>{_text(caption)}{count}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div><br>"
    )


def _key() -> str:
    parts = [f'<span><i style="background:var(--{part})"></i>{name}</span>' for part, name, _ in _PARTS]
    free = '<span><i style="background:var(--free)"></i>Free</span>'
    return f'<p class="key">{"".join(parts)}{free}</p>'


def _bar(node: NodeUsage) -> str:
    """Draw what a node's memory is used for, with the mark above which processes are killed."""
    name = f"{node.address} ({node.node_id[:8]}…){', the head' if node.is_head else ''}"
    if node.threshold is None:
        kills = "Ray never kills"
    else:
        kills = f"{'Ray' if node.threshold == node.limit else 'the kernel'} kills above {show_bytes(node.limit)}"
    told = f"{show_bytes(node.used)} of {show_bytes(node.total)} used; {kills}"
    scale = _WIDTH / max(node.total, node.explained, 1)
    x, shapes = 0.0, []
    for part, label, size in _PARTS:
        width = size(node) * scale
        shapes.append(
            f'<rect x="{x:.1f}" y="6" width="{width:.1f}" height="26" style="fill:var(--{part})">'
            f"<title>{_text(f'{label}: {show_bytes(size(node))}')}</title></rect>"
        )
        x += width
    if node.threshold is not None:
        at = node.limit * scale
        side = "end" if at > _WIDTH / 2 else "start"
        shapes.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="38" style="stroke:var(--critical);stroke-width:2.5"/>'
            f'<text x="{at:.1f}" y="51" text-anchor="{side}" style="fill:var(--critical)">{_text(kills)}</text>'
        )
    parts = ", ".join(f"{label.lower()} {show_bytes(size(node))}" for _, label, size in _PARTS)
    return (
        f"<figure><figcaption><b>{_text(name)}</b> {_text(told)}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} 56" role="img"><title>{_text(f"{name}: {told}: {parts}")}</title>'
        f'<rect x="0" y="6" width="{_WIDTH}" height="26" style="fill:var(--free)"/>{"".join(shapes)}</svg></figure>'
    )


def _timeline(diagnosis: Diagnosis) -> str:
    """Draw each call as a bar at the height of its peak, and each kill as a cross at what was used."""
    calls = _shown(diagnosis.calls)
    kills = [kill for kill in diagnosis.kills if not (kill.name or "").startswith("raymemprof.")]
    if not calls and not kills:
        return ""
    begins = [call.started_at for call in calls] + [kill.when for kill in kills]
    ends = [_end(call, diagnosis) for call in calls] + [kill.when for kill in kills]
    first, last = min(begins), max(ends)
    most = max([call.peak_memory for call in calls] + [kill.memory or 0 for kill in kills]) * 1.08 or 1
    seconds = max((last - first).total_seconds(), 1.0)

    def across(when: datetime) -> float:
        return _LEFT + (when - first).total_seconds() / seconds * (_WIDTH - _LEFT - _RIGHT)

    def up(size: float) -> float:
        return _HEIGHT - _BOTTOM - size / most * (_HEIGHT - _TOP - _BOTTOM)

    shapes = []
    for tick in range(_TICKS + 1):
        y, x = up(most * tick / _TICKS), across(first + timedelta(seconds=seconds * tick / _TICKS))
        when = first + timedelta(seconds=seconds * tick / _TICKS)
        side = ("start", "middle", "end")[(tick > 0) + (tick == _TICKS)]
        tenths = f".{when.microsecond // 100_000}" if seconds < 2 * _TICKS else ""
        shapes.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" style="stroke:var(--line)"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{show_bytes(round(most * tick / _TICKS))}</text>'
            f'<text x="{x:.1f}" y="{_HEIGHT - 10}" text-anchor="{side}">{when:%H:%M:%S}{tenths}</text>'
        )
    for call in calls:
        x, width = across(call.started_at), across(_end(call, diagnosis)) - across(call.started_at)
        told = f"{call.name}, {call.status}: peak {show_bytes(call.peak_memory)}, {show_seconds(call.duration)}"
        shapes.append(
            f'<rect x="{x:.1f}" y="{up(call.peak_memory) - 3:.1f}" width="{max(width, 3):.1f}" height="6" rx="3" '
            f'style="fill:var(--workers);fill-opacity:.6"><title>{_text(told.rstrip(", "))}</title></rect>'
        )
    for kill in kills:
        x, y = across(kill.when), up(kill.memory or 0)
        had = f" with {show_bytes(kill.memory)}" if kill.memory is not None else ""
        told = f"{kill.name or 'a worker'} killed at {kill.when:%H:%M:%S}{had}"
        shapes.append(
            f'<path d="M{x - 6:.1f} {y - 6:.1f}l12 12m0 -12l-12 12" '
            f'style="stroke:var(--critical);stroke-width:3;fill:none"><title>{_text(told)}</title></path>'
        )
    hidden = len(diagnosis.calls) - len(calls)
    more = f"; {hidden} smaller calls are not shown" if hidden else ""
    return (
        '<figure><figcaption class="key">'
        '<span><i style="background:var(--workers)"></i>A profiled call, at its peak</span>'
        f'<span><i style="background:var(--critical)"></i>Killed for memory</span><span>UTC{more}</span></figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{len(calls)} calls and {len(kills)} kills between '
        f"{first:%H:%M:%S} and {last:%H:%M:%S} UTC</title>{''.join(shapes)}</svg></figure>"
    )


def _shown(calls: Calls) -> list[Call]:
    return sorted(calls, key=lambda call: (call.status != "killed", -call.peak_memory))[:_MOST_CALLS]


def _end(call: Call, diagnosis: Diagnosis) -> datetime:
    if call.duration is not None:
        return call.started_at + timedelta(seconds=call.duration)
    if call.status == "running":
        return max(diagnosis.when, call.started_at)
    died = next((kill.when for kill in diagnosis.kills if kill.call == call), call.started_at)
    return max(died, call.started_at)
