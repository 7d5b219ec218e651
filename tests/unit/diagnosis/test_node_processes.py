"""Which processes below a raylet are workers, behind whatever launches them, and what they started."""

from __future__ import annotations

import pytest

from raymemprof.cluster import NodeStats, RegisteredProcess
from raymemprof.diagnosis.usage.processes import Entry, Process, of_node

RAYLET, LAUNCHER, INNER, WORKER, FORKED, STARTED = range(10_000_001, 10_000_007)  # above what Linux gives
WORKER_SCRIPT = "/ray/_private/workers/default_worker.py"
ENTRIES = {
    pid: Entry(pid, parent, command, 0.0)
    for pid, parent, command in (
        (RAYLET, 1, ("/ray/raylet", "--raylet_socket_name=/s", "--node_id=n")),
        (LAUNCHER, RAYLET, ("/bin/sh", "/opt/launch", WORKER_SCRIPT)),
        (INNER, LAUNCHER, ("uv", "run", "python", WORKER_SCRIPT)),
        (WORKER, INNER, ("ray::load",)),
        (FORKED, WORKER, ("ray::load",)),
        (STARTED, FORKED, ("/bin/gzip", "file")),
    )
}
ANSWERS = {
    "raylet": NodeStats((RegisteredProcess(WORKER, "worker", "w", None, "j", is_busy=True),), is_complete=True),
    "gcs": NodeStats((), is_complete=False),
    "nobody": NodeStats(),
}


@pytest.mark.parametrize(("who", "role"), [("raylet", "task"), ("gcs", "task"), ("nobody", "worker")])
@pytest.mark.parametrize("launchers", [0, 1, 2])
def test_a_worker_behind_launchers(who: str, role: str, launchers: int) -> None:
    entries = dict(ENTRIES)
    for skipped, below, above in [(INNER, WORKER, LAUNCHER), (LAUNCHER, WORKER, RAYLET)][: 2 - launchers]:
        del entries[skipped]
        entries[below] = Entry(below, above, entries[below].command, 0.0)
    known = who == "raylet"
    expected = [
        Process(RAYLET, "raylet"),
        Process(LAUNCHER, "subprocess", "sh"),
        Process(INNER, "subprocess", "uv"),
        Process(WORKER, role, "load", None, "j" if known else None, "w" if known else None),
        Process(FORKED, "subprocess", "load", parent=WORKER),
        Process(STARTED, "subprocess", "gzip", parent=FORKED),
    ]
    found = of_node(entries, entries[RAYLET], ANSWERS[who])
    assert sorted(found, key=lambda process: process.pid) == [one for one in expected if one.pid in entries]


@pytest.mark.parametrize("command", [("/bin/sh", "/opt/launch", WORKER_SCRIPT), ("python", WORKER_SCRIPT)])
def test_what_has_no_worker_below_it_is_no_launcher(command: tuple[str, ...]) -> None:
    """It starts: its worker has not begun yet."""
    entries = {RAYLET: ENTRIES[RAYLET], LAUNCHER: Entry(LAUNCHER, RAYLET, command, 0.0)}
    (found,) = (one for one in of_node(entries, entries[RAYLET], ANSWERS["raylet"]) if one.pid == LAUNCHER)
    assert (found.role, found.name) == ("idle worker", None)
