"""Calls to Ray's own servers, the GCS and a node's raylet, in Ray's own protocol."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

from .identity import ray_worker

__all__ = [
    "channel",
    "generated",
    "hex_id",
    "raylet_address",
]


def raylet_address(node_id: str) -> str:
    """Return host and port of a node's raylet; of this process's own node where Ray knows it without asking."""
    try:
        node = ray_worker().node
        return f"{node.node_ip_address}:{int(node.node_manager_port)}"
    except (AttributeError, TypeError, ValueError):
        (found,) = (node for node in sys.modules["ray"].nodes() if node["NodeID"] == node_id)
        return f"{found['NodeManagerAddress']}:{found['NodeManagerPort']}"


def generated(name: str) -> Any:
    """Import a module of Ray's protocol, which has no types."""
    return importlib.import_module(f"ray.core.generated.{name}")


@contextlib.contextmanager
def channel(address: str | None) -> Iterator[Any]:
    """Open a gRPC channel to one of Ray's servers."""
    try:
        utilities = importlib.import_module("ray._private.grpc_utils")
    except ImportError:  # Ray 2.49
        utilities = importlib.import_module("ray._private.utils")
    opened = utilities.init_grpc_channel(address, options=[("grpc.max_receive_message_length", -1)])
    try:
        yield opened
    finally:
        opened.close()


def hex_id(value: bytes) -> str | None:
    """Write an id as Ray shows it; None for one that is nil."""
    return value.hex() if value.strip(b"\xff") else None
