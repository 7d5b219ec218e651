"""Which nodes a watch says are missing, and why; the nodes' processes and the cluster are stood in for by the test."""

from __future__ import annotations

import importlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from raymemprof import cluster
from raymemprof.diagnosis.watch.process import NO_CONNECTION
from raymemprof.diagnosis.watch.watch import Watch

watching = importlib.import_module("raymemprof.diagnosis.watch.watch")
"""The module: `watch.watch` is the function."""
ONE, OTHER = "1" * 56, "2" * 56
SHORTAGE = "its connection cannot be taken: Too many open files in the process that watches"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Why a process cannot be started on each node, by node id; a test changes it."""
    answers: dict[str, str | None] = {ONE: None, OTHER: None}
    nodes = {node_id: SimpleNamespace(node_id=node_id, node_ip="127.0.0.1") for node_id in answers}
    monkeypatch.setattr(cluster, "living_nodes", lambda: nodes)
    monkeypatch.setattr(cluster, "gcs_address", lambda: None)
    monkeypatch.setattr(cluster, "ip_address", lambda: "127.0.0.1")
    return answers


@pytest.fixture
def watch(answers: dict[str, str | None], monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """A watch that starts processes as often as it is asked to; `started` has the nodes of each time."""

    def on_nodes(function: Any, arguments: dict[str, Any], longest: float) -> cluster.Answers:
        started.append(sorted(arguments))
        return cluster.Answers({one: answers[one] for one in arguments}, ())

    started: list[list[str]] = []
    monkeypatch.setattr(cluster, "on_nodes", on_nodes)
    watch = Watch(60)
    watch.started = started  # type: ignore[attr-defined]
    yield watch
    watch.end()


def connected(watch: Watch, node_id: str) -> socket.socket:
    """Connect as a node's process does."""
    caller = socket.create_connection(("127.0.0.1", watch._connections.port), 10)
    caller.sendall(json.dumps([watch._connections.secret, node_id]).encode() + b"\n")
    assert caller.recv(3) == b"ok\n"
    return caller


def reasons(watch: Watch) -> dict[str, str]:
    return {one.node_id: one.reason for one in watch.missing}


def test_a_trouble_that_is_over_does_not_come_back_when_the_watch_ends(
    watch: Watch, wait_for: Callable[..., Any]
) -> None:
    with connected(watch, ONE) as caller:
        caller.sendall(b'{"trouble": "the disk is full"}\n')
        wait_for(lambda: watch._connections.troubles)
        watch._begin()
        assert reasons(watch) == {ONE: "the disk is full"}
        caller.sendall(b'{"trouble": ""}\n')
        wait_for(lambda: not watch._connections.troubles)
        assert reasons(watch) == {}
        threading.Thread(target=lambda: caller.recv(1) or caller.close()).start()  # as the process does
        watch.end()
    assert watch.node_ids == ()
    assert reasons(watch) == {}


def test_a_shortage_here_hides_no_node_s_own_reason_and_is_not_tried_every_few_seconds(
    watch: Watch, answers: dict[str, str | None]
) -> None:
    watch._connections.shortage = SHORTAGE
    answers |= {ONE: "its raylet cannot be seen from its workers", OTHER: f"{NO_CONNECTION} 127.0.0.1:1 (timed out)"}
    watch._begin()
    assert reasons(watch) == {ONE: answers[ONE], OTHER: SHORTAGE}
    tries = len(watch.started)  # type: ignore[attr-defined]
    for _ in range(5):
        watch._begin()
    assert len(watch.started) == tries  # type: ignore[attr-defined]
    for _ in range(5):
        watch._next_try = 0.0
        watch._begin()
    assert watch.started[-1] == [OTHER]  # type: ignore[attr-defined]
    watch._connections.shortage = ""
    answers[OTHER], watch._next_try = None, 0.0
    watch._begin()
    assert OTHER not in reasons(watch)


@pytest.mark.parametrize("is_session", [False, True])
def test_a_node_that_dies_does_not_end_the_session(
    watch: Watch, wait_for: Callable[..., Any], is_session: bool
) -> None:
    """Its process cannot tell the one from the other."""

    def end(caller: socket.socket, why: str) -> None:
        left = len(watch.node_ids) - 1
        with caller:
            caller.sendall(json.dumps({"ended": why}).encode() + b"\n")
        wait_for(lambda: len(watch.node_ids) == left)

    one, other = connected(watch, ONE), connected(watch, OTHER)
    end(other, "the session has ended")
    assert not watch.is_cut_off
    end(one, "the session has ended" if is_session else "the time is over")
    assert watch.is_cut_off is is_session
