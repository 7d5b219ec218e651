"""How many kills Ray's own counter knows of, as a node's agent exports it for Prometheus (`ray[default]`)."""

from __future__ import annotations

import http.client
import math
import re

__all__ = ["METRIC", "count"]

METRIC = "ray_memory_manager_worker_eviction_total"
_SECONDS = 1.0
"""How long the agent may take to answer."""
_MOST_READ = 32 * 2**20
"""Bytes of the agent's answer that are read."""
_SAMPLE = re.compile(rf"^{METRIC}(?:\{{[^\n]*\}})? (\S+)", re.MULTILINE)


def count(address: str, port: int) -> int | None:
    """Return how many workers Ray's monitor has killed on a node since it began; None where its agent does not say.

    The agent hears of a kill up to ten seconds later. A node where nothing was killed has no such counter: that is 0.
    """
    connection = http.client.HTTPConnection(address, port, timeout=_SECONDS)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read(_MOST_READ).decode(errors="replace")
        if answer.status != http.HTTPStatus.OK or "\nray_" not in f"\n{text}":
            return None
        found = [float(value) for value in _SAMPLE.findall(text)]
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return round(sum(found)) if all(map(math.isfinite, found)) else None
