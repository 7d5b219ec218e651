"""What is said where a cluster cannot be connected to."""

from __future__ import annotations

import pytest

from raymemprof.cluster.connect import _told

SERVERS = """Initialization failure from server:
Traceback (most recent call last):
  File "site-packages/ray/util/client/server/proxier.py", line 772, in Datapath
    raise RuntimeError(
RuntimeError: Starting Ray client server failed. See ray_client_server_23001.err for detailed logs.

"""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            ConnectionError(SERVERS),
            "RuntimeError: Starting Ray client server failed. See ray_client_server_23001.err for detailed logs",
        ),
        (ConnectionRefusedError(111, "Connection refused"), "[Errno 111] Connection refused"),
        (RuntimeError("Version mismatch:\n  the cluster\n  has another."), "Version mismatch: the cluster has another"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_it_is_one_line_without_a_traceback(error: Exception, told: str) -> None:
    assert _told(error) == told
