"""`raymemprof usage --live`: the cluster's processes in a terminal, in htop's manner."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...display.text import printable, show_bytes
from ...reading.captures.reader import receive
from ..usage.usage import NodeUsage, ProcessUsage, Usage
from .feed import End

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["run"]

_INTERVAL = 2.0
_TICK = 0.1
"""Seconds between looks at the keyboard, the feed and the window's size."""
_WINDOW = 60.0
"""Seconds that a trend covers."""
_TREND = 15
"""Characters of a trend."""
_BAR = 10
_USUAL_SIZE = 80, 24
"""Of a terminal that does not say its own."""
_SECONDS_TO_END = 8.0
_STALE = 10.0
"""Seconds without a sample from which on the view says so."""
_MOST_NODES = 0.4
"""The part of the window that the nodes' lines may take."""
_SPARKS = "▁▂▃▄▅▆▇█"
_PARTS = " ▏▎▍▌▋▊▉"
_NOTICEABLE = 0.1
"""A change of this part of a process's memory fills the height of its trend; smaller ones are drawn smaller."""

_Order = Callable[[ProcessUsage], Any]
_ORDERS: dict[str, tuple[str, _Order]] = {
    "m": ("memory", lambda process: -process.memory),
    "r": ("RSS", lambda process: -process.rss),
    "s": ("SHR", lambda process: -process.shared),
    "p": ("pid", lambda process: (process.pid, process.node_id)),
    "n": ("name", lambda process: (process.name or "~", -process.memory)),
    "o": ("role", lambda process: (process.role, -process.memory)),
    "a": ("node", lambda process: (process.node_ip, process.node_id, -process.memory)),
}
_HELP = "q quit  / filter  ↑↓ scroll │ sort: m memory  r RSS  s SHR  p pid  n name  o role  a node  i invert"


def run(address: str | None = None, interval: float = _INTERVAL) -> int:
    """Show the cluster's memory until the user quits; without a terminal that can, print it once as tables.

    Args:
        address: the cluster's, as `ray.init` takes it; None for the one that this process is connected to, else "auto".
        interval: seconds between samples.

    Returns:
        The exit status: 0 where the user quit, 1 where the cluster went away.

    Raises:
        ValueError: there is no cluster to be reached.
    """
    with _feed(address or _own_address() or "auto", interval) as messages:
        first = messages.get()
        if isinstance(first, End):
            raise ValueError(first)
        if not _is_terminal():
            print(first)  # noqa: T201
            return 0
        reason = _show(first, messages)
    if reason is not None:
        print(f"raymemprof: {reason}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _own_address() -> str | None:
    from ... import cluster

    return cluster.gcs_address()


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


@contextlib.contextmanager
def _feed(address: str, interval: float) -> Iterator[queue.Queue[Usage | End]]:
    """Start the process that reads usage; what it sends comes in a queue, an `End` last."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    process = subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.feed", address, str(interval)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
        start_new_session=True,  # Ctrl-C is for the view, which ends it
    )
    messages: queue.Queue[Usage | End] = queue.Queue()

    def read() -> None:
        try:
            while True:
                messages.put(receive(process.stdout))  # type: ignore[arg-type]
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):  # Ray ended it, or somebody did
            messages.put(End("the connection to the cluster was lost: it has ended, or cannot be reached any more."))

    threading.Thread(target=read, daemon=True).start()
    try:
        yield messages
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            process.wait()


def _show(first: Usage, messages: queue.Queue[Usage | End]) -> str | None:
    """Run the view; return why it ended, None where the user wanted it."""
    from rich.console import Console, ConsoleDimensions

    console = Console()
    view = _View(ascii_only=console.options.ascii_only)
    view.take(first)
    drawn: object = None
    with _keyboard() as keys, console.screen(hide_cursor=True) as screen:
        while True:
            with contextlib.suppress(queue.Empty):
                while True:
                    message = messages.get_nowait()
                    if isinstance(message, End):
                        return str(message)
                    view.take(message)
            size = os.get_terminal_size(sys.stdout.fileno())  # rich would believe COLUMNS and LINES rather
            state = (view.version, size, view.is_stale())
            if state != drawn:
                console.size = ConsoleDimensions(size.columns or _USUAL_SIZE[0], size.lines or _USUAL_SIZE[1])
                screen.update(*_frame(view, console))
                drawn = state
            for key in keys():
                if not view.press(key):
                    return None


@contextlib.contextmanager
def _keyboard() -> Iterator[Callable[[], list[str]]]:
    """Read single keys, unechoed; leave the terminal as it was, also after SIGTERM and SIGHUP."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    after = termios.tcgetattr(descriptor)
    after[3] &= ~(termios.ICANON | termios.ECHO)
    after[6][termios.VMIN], after[6][termios.VTIME] = 0, 0
    for character in (termios.VSUSP, termios.VQUIT):  # Ctrl-Z and Ctrl-\ would leave it so
        after[6][character] = os.fpathconf(descriptor, "PC_VDISABLE").to_bytes(1, "big")
    handlers = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}

    def keys() -> list[str]:
        if not select.select([descriptor], [], [], _TICK)[0]:
            return []
        read = os.read(descriptor, 1024)
        if not read:  # the terminal is gone
            raise SystemExit(1)
        return _keys(read.decode(errors="ignore"))

    try:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, after)
        yield keys
    finally:
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


_SEQUENCES = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
}


def _keys(text: str) -> list[str]:
    """Split what was typed into keys; the sequences of keys that mean nothing here are dropped."""
    found = []
    while text:
        sequence = next((known for known in _SEQUENCES if text.startswith(known)), None)
        if sequence is not None:
            found.append(_SEQUENCES[sequence])
            text = text[len(sequence) :]
        elif text.startswith(("\x1b[", "\x1bO")):
            end = next(
                (index for index, letter in enumerate(text[2:], 2) if letter.isalpha() or letter == "~"), len(text)
            )
            text = text[end + 1 :]
        else:
            found.append(text[0])
            text = text[1:]
    return found


_Key = tuple[str, int]


@dataclass
class _View:
    """What is shown, and how: the latest sample, the last minute of each process, order, filter, place."""

    ascii_only: bool = False
    usage: Usage | None = None
    order: str = "m"
    is_inverted: bool = False
    filter: str = ""
    is_typing: bool = False
    first: int = 0
    page: int = 1
    version: int = 0
    received: float = 0.0
    trends: dict[_Key, deque[tuple[float, int]]] = field(default_factory=dict)

    def take(self, usage: Usage) -> None:
        """Show a new sample."""
        self.usage, self.received = usage, time.monotonic()
        trends: dict[_Key, deque[tuple[float, int]]] = {}
        values = {(node.node_id, 0): node.used for node in usage.nodes}
        values.update({(process.node_id, process.pid): process.memory for process in usage.processes})
        for key, value in values.items():
            trend = trends[key] = self.trends.get(key) or deque()
            trend.append((self.received, value))
            while trend[0][0] < self.received - _WINDOW:
                trend.popleft()
        self.trends = trends
        self.version += 1

    def is_stale(self) -> int:
        """Seconds since the last sample, where they are many."""
        silence = time.monotonic() - self.received
        return int(silence) if silence > _STALE else 0

    def press(self, key: str) -> bool:
        """Do what a key says; False to quit."""
        self.version += 1
        if self.is_typing:
            self._type(key)
        elif key in ("q", "Q"):
            return False
        elif key in _ORDERS:
            self.order, self.is_inverted, self.first = key, False, 0
        elif key == "i":
            self.is_inverted = not self.is_inverted
        elif key == "/":
            self.is_typing = True
        elif key == "\x1b":
            self.filter = ""
        elif key in ("up", "down", "page up", "page down"):
            step = self.page if key.startswith("page") else 1
            self.first = max(self.first + (step if key.endswith("down") else -step), 0)
        return True

    def _type(self, key: str) -> None:
        if key in ("\r", "\n"):
            self.is_typing = False
        elif key == "\x1b":
            self.is_typing, self.filter = False, ""
        elif key in ("\x7f", "\b"):
            self.filter = self.filter[:-1]
        elif len(key) == 1 and key.isprintable():
            self.filter += key
        self.first = 0

    def rows(self) -> list[ProcessUsage]:
        """The processes that fit the filter, in order."""
        assert self.usage is not None
        wanted = self.filter.lower()
        rows = [process for process in self.usage.processes if wanted in _searched(process)]
        return sorted(rows, key=_ORDERS[self.order][1], reverse=self.is_inverted)


def _searched(process: ProcessUsage) -> str:
    ids = (process.task_id, process.actor_id, process.node_id)
    words = (str(process.pid), process.role, process.name, process.node_ip, *ids)
    return " ".join(word for word in words if word).lower()


def _frame(view: _View, console: Console) -> list[Text]:
    """Return the lines of the screen."""
    from rich.text import Text

    width, height = console.size
    usage = view.usage
    assert usage is not None
    rows = view.rows()
    title = f"raymemprof usage  {usage.when.astimezone():%H:%M:%S}  "
    title += f"{len(usage.nodes)} node{'s' * (len(usage.nodes) != 1)}  {len(rows)} processes"
    if view.filter:
        title += f" of {len(usage.processes)}"
    title += f"  by {_ORDERS[view.order][0]}{' inverted' * view.is_inverted}"
    lines = [Text(title, style="bold")]
    if view.is_stale():
        lines.append(Text(f"no answer for {view.is_stale()} s", style="bold red"))
    lines.extend(_node_lines(view, usage, width, max(int(height * _MOST_NODES), 1)))
    lines.append(Text(""))
    columns = _columns(view, usage, width)
    lines.append(Text("".join(column.heading_cell() for column in columns), style="reverse"))
    view.page = max(height - len(lines) - 1, 1)
    view.first = min(view.first, max(len(rows) - view.page, 0))
    shown = rows[view.first : view.first + view.page]
    for process in shown:
        line = Text()
        for column in columns:
            line.append(column.cell(process), style=column.style)
        lines.append(line)
    lines.extend(Text("") for _ in range(height - len(lines) - 1))
    if view.is_typing or view.filter:
        lines.append(
            Text(f"filter: {view.filter}{'_' * view.is_typing}   (Enter keeps it, Esc clears it)", style="bold")
        )
    else:
        lines.append(Text(_HELP if not view.ascii_only else _HELP.encode("ascii", "replace").decode(), style="dim"))
    for line in lines:
        line.no_wrap, line.overflow = True, "crop"
        line.truncate(width, overflow="crop", pad=True)
    return lines[:height]


def _node_lines(view: _View, usage: Usage, width: int, most: int) -> Iterator[Text]:
    from rich.text import Text

    nodes = (
        sorted(usage.nodes, key=lambda node: (-_fill(node), node.node_id)) if len(usage.nodes) > most else usage.nodes
    )
    for node in nodes[: most if len(nodes) <= most else most - 1]:
        part = _fill(node)
        line = Text(f"{node.node_ip} {node.node_id[:6]} {'head' if node.is_head else '    '} ")
        line.append(f"[{_bar(part, 2 * _BAR, view.ascii_only)}]", style=_colour(part))
        line.append(f" {show_bytes(node.used)} of {show_bytes(node.total)} ")
        line.append(f"{_spark(view, (node.node_id, 0))} ", style="cyan")
        kills_at = node.ray_kill_limit
        line.append("Ray never kills" if kills_at is None else f"Ray kills at {show_bytes(kills_at)}")
        line.append(f", object store {show_bytes(node.object_store)}")
        if node.shared_memory:
            line.append(f", other shared {show_bytes(node.shared_memory)}")
        if node.spilled:
            line.append(f", spilled {show_bytes(node.spilled)}", style="yellow")
        yield line
    if len(nodes) > most:
        yield Text(f"... and {len(nodes) - most + 1} nodes that are less full", style="dim")
    for missing in usage.missing[:1]:
        more = len(usage.missing) - 1
        yield Text(f"{missing}{f', and {more} more' if more else ''}", style="red")


def _fill(node: NodeUsage) -> float:
    return node.counted / node.kill_limit if node.kill_limit else 0.0


def _colour(part: float) -> str:
    return "red" if part >= 0.9 else "yellow" if part >= 0.7 else "green"


@dataclass(frozen=True)
class _Column:
    heading: str
    width: int
    write: Callable[[ProcessUsage], str]
    is_number: bool = False
    style: str = ""

    def heading_cell(self) -> str:
        return self._padded(self.heading)

    def cell(self, process: ProcessUsage) -> str:
        return self._padded(self.write(process))

    def _padded(self, text: str) -> str:
        text = printable(text)[: self.width]
        return (text.rjust(self.width) if self.is_number else text.ljust(self.width)) + " "


def _columns(view: _View, usage: Usage, width: int) -> list[_Column]:
    """The columns that fit; the name has what they leave."""
    limits = {node.node_id: node.kill_limit for node in usage.nodes}
    node_width = max((len(f"{node.node_ip} {node.node_id[:6]}") for node in usage.nodes), default=0)
    several = len(usage.nodes) > 1
    columns = [
        _Column("PID", 8, lambda process: str(process.pid), True),
        *([_Column("NODE", node_width, lambda process: f"{process.node_ip} {process.node_id[:6]}")] if several else ()),
        _Column("ROLE", 17, lambda process: process.role),
        _Column("MEMORY", 10, lambda process: show_bytes(process.memory), True, "bold"),
        _Column("RSS", 10, lambda process: show_bytes(process.rss), True),
        _Column("SHR", 10, lambda process: show_bytes(process.shared), True),
        _Column(
            "OF LIMIT",
            _BAR,
            lambda process: _bar(process.memory / limits[process.node_id], _BAR, view.ascii_only),
            style="green",
        ),
        _Column("LAST MINUTE", _TREND, lambda process: _spark(view, (process.node_id, process.pid)), style="cyan"),
    ]
    if view.ascii_only:
        columns = [column for column in columns if column.heading != "LAST MINUTE"]
    least = 20
    for expendable in ("OF LIMIT", "SHR", "LAST MINUTE", "RSS", "NODE"):
        if sum(column.width + 1 for column in columns) + least <= width:
            break
        columns = [column for column in columns if column.heading != expendable]
    left = max(width - sum(column.width + 1 for column in columns) - 1, 1)
    return [*columns, _Column("NAME", left, lambda process: process.name or "")]


def _bar(part: float, width: int, ascii_only: bool) -> str:
    eighths = round(min(max(part, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    if ascii_only:
        return ("#" * full).ljust(width)
    return ("█" * full + (_PARTS[rest] if rest else "")).ljust(width)


def _spark(view: _View, key: _Key) -> str:
    """Draw the last minute: each character is the most of its part of it, blank before there is anything."""
    trend = view.trends.get(key)
    if not trend or view.ascii_only:
        return ""
    most: list[int | None] = [None] * _TREND
    for when, value in trend:
        place = min(int((when - view.received + _WINDOW) / _WINDOW * _TREND), _TREND - 1)
        most[place] = max(value, most[place] or 0)
    values = [value for _, value in trend]
    low, high = min(values), max(values)
    span = max(high - low, high * _NOTICEABLE, 1)
    drawn = " "
    for highest in most:  # where no sample fell, what was before still holds
        level = None if highest is None else int((highest - low) / span * len(_SPARKS))
        drawn += drawn[-1] if level is None else _SPARKS[min(level, len(_SPARKS) - 1)]
    return drawn[1:]
