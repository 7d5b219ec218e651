"""Ray's metrics: makes them, and finds where a node exports them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

__all__ = [
    "counter",
    "histogram",
    "metrics_address",
]


def counter(name: str, description: str, tag_keys: tuple[str, ...]) -> Any:
    """Make a counter of Ray's."""
    from ray.util.metrics import Counter

    return Counter(name, description, tag_keys=tag_keys)


def histogram(name: str, description: str, boundaries: Sequence[float], tag_keys: tuple[str, ...]) -> Any:
    """Make a histogram of Ray's."""
    from ray.util.metrics import Histogram

    return Histogram(name, description, boundaries=list(boundaries), tag_keys=tag_keys)


def metrics_address(node_id: str) -> tuple[str, int] | None:
    """Return where a node's agent exports metrics, if it runs: that takes `ray[default]`."""
    for node in sys.modules["ray"].nodes():
        if node["NodeID"] == node_id and node.get("MetricsExportPort"):
            return node["NodeManagerAddress"], int(node["MetricsExportPort"])
    return None
