"""Ray's own counter of kills, as a node's agent exports it: read over HTTP, from an agent that answers or does not."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from raymemprof.diagnosis.kill_counter import count

KILLS = """# HELP ray_memory_manager_worker_eviction_total Number of tasks and actors killed by Ray Out of Memory killer
# TYPE ray_memory_manager_worker_eviction_total counter
ray_memory_manager_worker_eviction_total{Component="raylet",Name="hog",Type="MemoryManager.TaskEviction.Total"} 3.0
ray_memory_manager_worker_eviction_total{Component="raylet",Name="Big",Type="MemoryManager.ActorEviction.Total"} 1.0
ray_node_mem_used{ip="192.0.2.2"} 1.5e+09
"""
OTHERS = 'ray_node_mem_used{ip="192.0.2.2"} 1.5e+09\n'


@contextlib.contextmanager
def agent(text: str, status: int = 200) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("text", "status", "counted"),
    [
        (KILLS, 200, 4),
        (OTHERS, 200, 0),  # nothing was killed, and the counter is not there yet
        (KILLS, 500, None),
        ("<html>another server</html>", 200, None),
        ("", 200, None),
        (OTHERS + "ray_memory_manager_worker_eviction_total{} what\n", 200, None),
        (OTHERS + "ray_memory_manager_worker_eviction_total{} inf\n", 200, None),
    ],
)
def test_what_an_agent_says(text: str, status: int, counted: int | None) -> None:
    with agent(text, status) as port:
        assert count("127.0.0.1", port) == counted


def test_nobody_is_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert count("127.0.0.1", free.getsockname()[1]) is None


def test_one_that_does_not_answer() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert count("127.0.0.1", silent.getsockname()[1]) is None
