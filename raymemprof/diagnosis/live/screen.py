"""The screen of the live view and its keys, a textual application."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Footer, Input, Label, Static

from ...display.text import counted
from ..usage.records import ProcessUsage, Usage
from .drawing import ORDERS, Charts, Column, columns, is_wanted, node_lines
from .usage_process import End

__all__ = ["LiveView"]

_TICK = 0.2
"""Seconds between looks at what the feed has sent."""
_STALE = 10.0
"""Seconds without a sample from which on the view says so."""
_MOST_NODES = 0.4
"""The part of the window that the nodes' lines may take."""


class _Driver(LinuxDriver):
    """Writes to standard output, as standard error may be no terminal, and replaces what that cannot show."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        descriptor, encoding = sys.stdout.fileno(), sys.stdout.encoding
        self._file = open(descriptor, "w", encoding=encoding, errors="replace", closefd=False)  # noqa: SIM115


class _Table(ScrollView, can_focus=True):
    """The processes, of which only those in view are written."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("up", "scroll_up", "scroll", key_display="up/down")]
    _columns: Sequence[Column] = ()
    _rows: Sequence[ProcessUsage] = ()

    def show(self, shown: list[Column], rows: list[ProcessUsage]) -> None:
        self._columns, self._rows = shown, rows
        self.virtual_size = Size(self.size.width, len(rows))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        style = self.rich_style
        cells = [
            Segment(column.pad(column.write(process)), style + Style.parse(column.style))
            for process in self._rows[y + self.scroll_offset.y :][:1]
            for column in self._columns
        ]
        return Strip(cells).adjust_cell_length(self.size.width, style)


class LiveView(App[str | int]):
    """Shows each `Usage` that comes; its result is None where the user quit, an `End`, or 128 + n after signal n."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: auto; }
    _Table { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    _Table.-ascii { scrollbar-size-vertical: 0; }
    #filter { dock: bottom; height: 1; display: none; text-style: bold; }
    #filter Label { width: auto; }
    #filter Input, #filter Input:focus { width: 1fr; height: 1; border: none; padding: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,Q", "quit", "quit"),
        Binding("ctrl+c", f"leave({signal.SIGINT:d})", show=False, priority=True),
        Binding("slash", "filter", "filter", key_display="/", priority=True),  # what is typed next is of the filter
        Binding("escape", "clear_filter", show=False),
        Binding("i", "invert", "invert"),
        *(Binding(key, f"sort('{key}')", f"by {name}") for key, (name, _) in ORDERS.items()),
    ]

    def __init__(self, first: Usage, messages: queue.Queue[Usage | End], is_ascii: bool = False) -> None:
        super().__init__(driver_class=_Driver)
        self.animation_level = "none"
        self._messages = messages
        self._charts = Charts(is_ascii)
        self._order, self._is_inverted = "m", False
        self._take(first)

    def compose(self) -> ComposeResult:
        """Lay out the screen."""
        yield Static(id="head")
        yield _Table(classes="-ascii" if self._charts.is_ascii else "")
        with Horizontal(id="filter"):
            yield Label("filter: ")
            yield Input(select_on_focus=False)
            yield Label("(Enter keeps it, Esc clears it)")
        yield Footer()

    def on_mount(self) -> None:
        """Look for samples from here on, and leave in order at a signal."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.action_leave, number)
        # textual's own handlers: that of SIGTSTP hangs where it interrupts a write, and after a SIGSTOP that of SIGCONT
        # takes the settings that textual made for those to restore.
        loop.add_signal_handler(signal.SIGTSTP, self._stop)
        loop.add_signal_handler(signal.SIGCONT, self._take_the_terminal)
        self.set_interval(_TICK, self._look)

    def _stop(self) -> None:
        with self.suspend():
            os.kill(os.getpid(), signal.SIGSTOP)

    def _take_the_terminal(self) -> None:
        with self.suspend():
            pass

    def _take(self, usage: Usage) -> None:
        self._usage, self._received = usage, time.monotonic()
        self._charts.add(usage)

    def _look(self) -> None:
        """Show what the feed has sent, or that it is silent."""
        if not self.is_headless and not os.isatty(sys.stdin.fileno()):  # it is gone, and no key can come any more
            self.action_leave(signal.SIGHUP)
        is_new = self._silence() > _STALE
        while not self._messages.empty():
            message = self._messages.get()
            if isinstance(message, End):
                self.exit(message)
                return
            self._take(message)
            is_new = True
        if is_new:
            self._draw()

    def _silence(self) -> float:
        return time.monotonic() - self._received

    def _draw(self) -> None:
        usage, wanted, table = self._usage, self.query_one(Input).value, self.query_one(_Table)
        order, sort_key = ORDERS[self._order]
        rows = [process for process in usage.processes if is_wanted(process, wanted)]
        rows.sort(key=sort_key, reverse=self._is_inverted)
        shown = columns(usage, self._charts, self.size.width - table.scrollbar_gutter.width)
        title = f"raymemprof usage  {usage.when.astimezone():%H:%M:%S}  {counted(len(usage.nodes), 'node', 'nodes')}  "
        title += f"{len(rows)} processes{f' of {len(usage.processes)}' * bool(wanted)}"
        lines = [Text(f"{title}  by {order}{' inverted' * self._is_inverted}", "bold white on blue")]
        if self._silence() > _STALE:
            lines.append(Text(f"no answer for {self._silence():.0f} s", "bold red"))
        lines.extend(node_lines(usage, self._charts, max(int(self.size.height * _MOST_NODES), 1)))
        lines.extend((Text(""), Text("".join(column.pad(column.heading) for column in shown), "reverse")))
        for line in lines:
            line.truncate(self.size.width, overflow="crop", pad=True)
        self.query_one("#head", Static).update(Text("\n").join(lines))
        table.show(shown, rows)

    def _draw_from_the_top(self) -> None:
        self.query_one(_Table).scroll_to(y=0)
        self._draw()

    def on_resize(self) -> None:
        """Follow the window."""
        self.call_after_refresh(self._draw)

    def action_leave(self, number: int) -> None:
        """End as after a signal."""
        self.exit(128 + number)

    def action_sort(self, key: str) -> None:
        """Sort by another column."""
        self._order, self._is_inverted = key, False
        self._draw_from_the_top()

    def action_invert(self) -> None:
        """Turn the order round."""
        self._is_inverted = not self._is_inverted
        self._draw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Let a slash be typed in a filter."""
        return action != "filter" or self.focused is not self.query_one(Input)

    def action_filter(self) -> None:
        """Have the user type a filter, in the place of the keys' help."""
        self._show_filter(True)
        self.screen.set_focus(self.query_one(Input))

    def action_clear_filter(self) -> None:
        """Show all processes again."""
        self.query_one(Input).value = ""
        self.on_input_submitted()

    def on_input_changed(self) -> None:
        """Filter while the user types."""
        self._draw_from_the_top()

    def on_input_submitted(self) -> None:
        """Give the keys back to the table."""
        self._show_filter(bool(self.query_one(Input).value))
        self.screen.set_focus(self.query_one(_Table))

    def _show_filter(self, is_shown: bool) -> None:
        self.query_one("#filter").display = is_shown
        self.query_one(Footer).display = not is_shown
