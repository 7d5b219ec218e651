"""Short texts that every process of the cluster can read: the key-value store of the GCS. Nothing queues there."""

from __future__ import annotations

import importlib
import json
from typing import Any

from .identity import ray_worker

__all__ = ["KEY_SPACE", "delete_value", "get_value", "put_value"]

KEY_SPACE = b"raymemprof"
"""Where our keys are, apart from those of others."""
_LIMIT = 1.0
"""Seconds that the GCS has to answer in."""


def put_value(key: str, value: Any) -> None:
    """Keep a value, as JSON, in place of what was there. Raises what Ray raises where the GCS does not answer."""
    data, worker = json.dumps(value).encode(), ray_worker()
    if worker is not None:
        worker.gcs_client.internal_kv_put(key.encode(), data, True, KEY_SPACE, _LIMIT)
    else:
        _through_client()._internal_kv_put(key, data, True, namespace=KEY_SPACE)


def get_value(key: str) -> Any:
    """Return what is kept; None where nothing is. Raises what Ray raises where the GCS does not answer."""
    worker = ray_worker()
    if worker is not None:
        data = worker.gcs_client.internal_kv_get(key.encode(), KEY_SPACE, _LIMIT)
    else:
        data = _through_client()._internal_kv_get(key, namespace=KEY_SPACE)
    return None if data is None else json.loads(data)


def delete_value(key: str) -> None:
    """Keep nothing under a key. Raises what Ray raises where the GCS does not answer."""
    worker = ray_worker()
    if worker is not None:
        worker.gcs_client.internal_kv_del(key.encode(), False, KEY_SPACE, _LIMIT)
    else:
        _through_client()._internal_kv_del(key, namespace=KEY_SPACE)


def _through_client() -> Any:
    return importlib.import_module("ray.experimental.internal_kv")
