"""The live view of usage in a real terminal (tmux's), on a real cluster."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.paths import PROGRAMS
from tests.programs.several_nodes import Nodes, free_port

PROGRAM = PROGRAMS / "usage_program.py"
needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Two nodes, with idle workers, so that there are more processes than fit: the second is asked by a task."""
    found = Nodes(monitors=True)
    try:
        found.start("one", "two", store=80_000_000, RAY_prestart_worker_first_driver="1")
        yield found
    finally:
        found.stop()


class Terminal:
    """A terminal in which a shell runs the live view; it prints how it ended, and the line settings."""

    def __init__(
        self, folder: Path, address: str, width: int = 150, height: int = 40, to: str = "", **environment: str
    ) -> None:
        self._is_closed = False
        self._socket = str(folder / "tmux")
        # What an exported size, of another terminal perhaps, says must not count.
        environment = {"COLUMNS": "30", "LINES": "10", **environment}
        variables = " ".join(f"{name}={value}" for name, value in environment.items())
        self.folder = folder
        view = f"env {variables} {sys.executable} {PROGRAM} live {address} {to}"
        # A shell must outlive Ctrl-C to say how its child ended.
        script = f"trap : INT; stty -g > before; {view}; echo ended with $?; stty -g > after; exec sleep 1000"
        self._tmux("new-session", "-d", "-x", str(width), "-y", str(height), "-c", str(folder), "sh", "-c", script)

    def _tmux(self, *command: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, "-f", "/dev/null", *command], capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def lines(self) -> list[str]:
        return self._tmux("capture-pane", "-p").splitlines()

    def state(self) -> str:
        """Whether the other screen is on, and the cursor shown."""
        return self._tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").strip()

    def view(self) -> psutil.Process:
        """The process that holds the terminal."""
        shell = psutil.Process(int(self._tmux("display-message", "-p", "#{pane_pid}")))
        (found,) = shell.children()
        return found

    def headings(self) -> list[str]:
        return next((line.split() for line in self.lines() if line.lstrip().startswith("PID ")), [])

    def rows(self) -> list[dict[str, str]]:
        """The processes shown."""
        lines = self.lines()
        start = next((n for n, line in enumerate(lines) if line.lstrip().startswith("PID ")), None)
        found = []
        for line in lines[start + 1 :] if start is not None else []:
            row = re.match(
                r" *(?P<pid>\d+) +(?P<address>\S+) \S{6} (?P<role>[a-z ]+?)  +(?P<memory>[\d.]+ \w+) .* (?P<name>\S*)$",
                line + " " * (not line.endswith(" ")),
            )
            if row:
                found.append(row.groupdict())
        return found

    def is_drawn(self) -> bool:
        """Whether all of the screen is there, to its last line."""
        return bool(self.rows()) and "q quit" in self.lines()[-1]

    def has_ended(self) -> str | None:
        """How the view ended."""
        found = re.search(r"ended with (\d+)", "\n".join(self.lines()))
        if not found or not (self.folder / "after").exists() or not (self.folder / "after").read_text():
            return None
        assert (self.folder / "after").read_text() == (self.folder / "before").read_text()
        assert self.state() == "0 1"
        return found[1]

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._tmux("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened = []

    def open_(*arguments: Any, **environment: Any) -> Terminal:
        opened.append(Terminal(tmp_path, *arguments, **environment))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


def size(text: str) -> float:
    number, unit = text.split()
    return float(number) * UNITS[unit]


def left_behind(nodes: Any, *feeds: psutil.Process) -> list[str]:
    """What a view that ended has left: its process that reads, or what it runs on the nodes."""
    found = [str(feed) for feed in feeds if feed.is_running() and feed.status() != psutil.STATUS_ZOMBIE]
    for process in (process for node in nodes.nodes for process in node.processes()):
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if "raymemprof" in title:
            found.append(title)
    return found


@needs_tmux
def test_sorts_filters_follows_the_window_and_quits(
    nodes: Any, terminal: Callable[..., Terminal], wait_for: Callable[..., Any]
) -> None:
    shown = terminal(nodes.address)
    wait_for(shown.is_drawn, 60)
    (feed,) = shown.view().children()
    assert shown.state() == "1 0"
    rows = shown.rows()
    sizes = [size(row["memory"]) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    roles = [row["role"] for row in rows]
    assert {"raylet", "gcs", "driver", "log monitor"} <= set(roles)
    assert roles.count("raylet") == 2
    lines = shown.lines()
    assert "2 nodes" in lines[0]
    assert "by memory" in lines[0]
    bars = [line for line in lines if re.search(r"\[.{20}\] [\d.]+ GiB of [\d.]+ GiB .*Ray kills at [\d.]+ GiB", line)]
    assert len(bars) == 2
    wait_for(lambda: any(re.search("[▁▂▃▄▅▆▇█]{3}", line) for line in shown.lines()[6:]), 30)  # three samples

    shown.press("p")
    wait_for(lambda: "by pid" in shown.lines()[0])
    pids = [int(row["pid"]) for row in shown.rows()]
    assert pids == sorted(pids)
    shown.press("i")
    wait_for(lambda: "by pid inverted" in shown.lines()[0])
    pids = [int(row["pid"]) for row in shown.rows()]
    assert pids == sorted(pids, reverse=True)
    shown.press("m")
    wait_for(lambda: "by memory" in shown.lines()[0])

    shown.press("/", "r", "a", "y", "l", "e", "t")
    wait_for(lambda: {row["role"] for row in shown.rows()} == {"raylet"} and len(shown.rows()) == 2)
    assert shown.lines()[-1].startswith("filter: raylet ")
    shown.press("q")  # typed, it is of the filter
    wait_for(lambda: not shown.rows())
    shown.press("BSpace", "Enter")
    wait_for(lambda: len(shown.rows()) == 2)
    shown.press("Escape")
    wait_for(lambda: len(shown.rows()) > 2)

    shown.resize(78, 14)
    wait_for(lambda: shown.headings() == ["PID", "NODE", "ROLE", "MEMORY", "NAME"])
    assert len(shown.lines()) <= 14  # tmux may have a line of its own
    assert len(shown.rows()) < len(rows)
    shown.press("p")  # an order that stays
    wait_for(lambda: "by pid" in shown.lines()[0] and shown.rows())
    first = shown.rows()[0]["pid"]
    shown.press("Down")
    wait_for(lambda: shown.rows()[0]["pid"] != first)
    shown.resize(160, 45)
    wait_for(lambda: "SHR" in shown.headings() and len(shown.rows()) >= len(rows) - 1)

    shown.press("C-\\", "C-z")  # either would leave the other screen on
    shown.press("n")
    wait_for(lambda: "by name" in shown.lines()[0])
    assert shown.has_ended() is None

    shown.press("q")
    assert wait_for(shown.has_ended, 30) == "0"
    wait_for(lambda: not left_behind(nodes, feed), 30)


@needs_tmux
@pytest.mark.parametrize(("how", "status"), [("C-c", "130"), (signal.SIGTERM, "143"), (signal.SIGHUP, "129")])
def test_a_signal_leaves_nothing(
    how: str | int, status: str, nodes: Any, terminal: Callable[..., Terminal], wait_for: Callable[..., Any]
) -> None:
    shown = terminal(nodes.address)
    wait_for(shown.is_drawn, 60)
    view = shown.view()
    (feed,) = view.children()
    shown.press(how) if isinstance(how, str) else view.send_signal(how)
    assert wait_for(shown.has_ended, 30) == status
    wait_for(lambda: not left_behind(nodes, feed), 30)


@needs_tmux
def test_windows_that_are_too_small(
    nodes: Any, terminal: Callable[..., Terminal], wait_for: Callable[..., Any]
) -> None:
    shown = terminal(nodes.address)
    wait_for(shown.is_drawn, 60)
    for width, height in ((1, 1), (40, 3), (20, 30), (150, 40)):
        shown.resize(width, height)
        shown.press("r", "PPage", "NPage", "Up", "m")
        time.sleep(0.5)
    wait_for(shown.is_drawn, 30)
    assert shown.has_ended() is None
    shown.press("q")
    assert wait_for(shown.has_ended, 30) == "0"


@needs_tmux
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGTSTP])
def test_a_view_that_was_stopped_goes_on(
    how: int, nodes: Any, terminal: Callable[..., Terminal], wait_for: Callable[..., Any]
) -> None:
    shown = terminal(nodes.address)
    wait_for(shown.is_drawn, 60)
    view = shown.view()
    view.send_signal(how)
    wait_for(lambda: view.status() == psutil.STATUS_STOPPED)
    view.send_signal(signal.SIGCONT)

    def sorts() -> bool:
        shown.press("n")  # what is typed before it has the terminal again is lost
        return "by name" in shown.lines()[0]

    wait_for(sorts)
    assert shown.state() == "1 0"
    assert shown.is_drawn()
    shown.press("q")
    assert wait_for(shown.has_ended, 30) == "0"


@needs_tmux
def test_a_terminal_that_goes_away(nodes: Any, terminal: Callable[..., Terminal], wait_for: Callable[..., Any]) -> None:
    shown = terminal(nodes.address)
    wait_for(shown.is_drawn, 60)
    view = shown.view()
    (feed,) = view.children()
    shown.close()
    wait_for(lambda: not left_behind(nodes, feed, view), 30)


@needs_tmux
def test_standard_error_may_be_a_file(
    nodes: Any, terminal: Callable[..., Terminal], wait_for: Callable[..., Any]
) -> None:
    shown = terminal(nodes.address, to="2>errors")
    wait_for(shown.is_drawn, 60)
    shown.view().children()[0].kill()
    assert wait_for(shown.has_ended, 30) == "1"
    (line,) = (shown.folder / "errors").read_text().splitlines()
    assert line.startswith("raymemprof: the connection to the cluster was lost")


@needs_tmux
def test_a_node_that_is_silent_is_told_of(
    nodes: Any, terminal: Callable[..., Terminal], wait_for: Callable[..., Any]
) -> None:
    shown = terminal(nodes.address)
    wait_for(shown.is_drawn, 60)
    (feed,) = shown.view().children()
    feed.suspend()
    wait_for(lambda: any(re.match(r"no answer for \d+ s", line) for line in shown.lines()), 30)
    feed.resume()
    wait_for(lambda: not any("no answer" in line for line in shown.lines()), 30)
    shown.press("q")
    assert wait_for(shown.has_ended, 30) == "0"


@needs_tmux
def test_a_mistake_of_ours_leaves_the_terminal_as_it_was(
    nodes: Any, terminal: Callable[..., Terminal], wait_for: Callable[..., Any]
) -> None:
    shown = terminal(nodes.address, FAILS_TO_SORT="1")
    wait_for(shown.is_drawn, 60)
    (feed,) = shown.view().children()
    shown.press("n")
    assert wait_for(shown.has_ended, 30) == "1"
    assert "it cannot be sorted" in "\n".join(shown.lines())
    wait_for(lambda: not left_behind(nodes, feed), 30)


@needs_tmux
def test_a_kill_of_the_view_leaves_nothing_on_the_cluster(
    nodes: Any, terminal: Callable[..., Terminal], wait_for: Callable[..., Any]
) -> None:
    shown = terminal(nodes.address)
    wait_for(shown.is_drawn, 60)
    view = shown.view()
    (feed,) = view.children()
    view.kill()
    wait_for(lambda: not left_behind(nodes, feed), 30)


@needs_tmux
def test_a_feed_that_is_killed_is_told(
    nodes: Any, terminal: Callable[..., Terminal], wait_for: Callable[..., Any]
) -> None:
    shown = terminal(nodes.address)
    wait_for(shown.is_drawn, 60)
    shown.view().children()[0].kill()
    assert wait_for(shown.has_ended, 30) == "1"
    assert "raymemprof: the connection to the cluster was lost" in "\n".join(shown.lines())


def plain_lines(text: str) -> list[str]:
    assert "\x1b" not in text
    lines = text.splitlines()
    assert any(re.match("2 nodes", line) for line in lines)
    first = next(number for number, line in enumerate(lines) if re.match(r"\d+ processes", line))
    ends = [number for number, line in enumerate(lines) if re.match(r"\d+ owners? of shared memory", line)]
    assert sum("raylet" in line for line in lines[first : min(ends, default=None)]) == 2
    return lines


def test_a_pipe_gets_a_table(nodes: Any) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "live", nodes.address], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    plain_lines(done.stdout)


@needs_tmux
def test_a_dumb_terminal_gets_a_table(
    nodes: Any, terminal: Callable[..., Terminal], wait_for: Callable[..., Any]
) -> None:
    shown = terminal(nodes.address, 150, 60, TERM="dumb", COLUMNS="150")
    assert wait_for(shown.has_ended, 90) == "0"
    plain_lines("\n".join(shown.lines()))


def test_no_cluster_is_one_sentence() -> None:
    address = f"127.0.0.1:{free_port()}"
    done = subprocess.run([sys.executable, str(PROGRAM), "live", address], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith(f"raymemprof: there is no Ray cluster to be reached at {address!r}: ")
    assert len(done.stderr.splitlines()) == 1


@needs_tmux
def test_a_locale_without_unicode(nodes: Any, terminal: Callable[..., Terminal], wait_for: Callable[..., Any]) -> None:
    shown = terminal(nodes.address, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    wait_for(shown.is_drawn, 60)
    assert "\n".join(shown.lines()).isascii()
    shown.press("q")
    assert wait_for(shown.has_ended, 30) == "0"


@needs_tmux
def test_the_clusters_end_is_told(nodes: Any, terminal: Callable[..., Terminal], wait_for: Callable[..., Any]) -> None:
    """The last of the tests: it ends the cluster."""
    shown = terminal(nodes.address)
    wait_for(shown.is_drawn, 60)
    (feed,) = shown.view().children()
    nodes.stop("two")
    wait_for(lambda: any("is missing here" in line for line in shown.lines()), 90)
    assert shown.state() == "1 0"
    nodes.stop("one")
    assert wait_for(shown.has_ended, 60) == "1"
    (sentence,) = (line for line in shown.lines() if line.startswith("raymemprof: "))
    assert re.search(r"the cluster at \S+ is gone\.|the connection to the cluster was lost", sentence)
    wait_for(lambda: not feed.is_running() or feed.status() == psutil.STATUS_ZOMBIE, 30)
    assert not nodes.folder.exists()
