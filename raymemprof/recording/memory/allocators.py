"""Libraries that bring an allocator of their own, which memray cannot look into, and what is done about each.

| library                  | while heap tracing is on                                                                  |
|--------------------------|-------------------------------------------------------------------------------------------|
| pyarrow, imported later  | `ARROW_DEFAULT_MEMORY_POOL=system` before it is: malloc, for the life of the process      |
| pyarrow, imported before | `set_memory_pool(system_memory_pool())`; what its old pool still gets is sampled by size  |
| DuckDB, Polars           | nothing can be switched: what the process grows by beyond what memray sees is put to them |

A variable or a pool that the user chose is left alone. When tracing ends, all is as it was.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from .. import warn

__all__ = ["Allocators"]

_VARIABLE = "ARROW_DEFAULT_MEMORY_POOL"
_OPAQUE = {"duckdb": "DuckDB's jemalloc", "polars": "Polars' jemalloc"}


def _is_plain(pool: Any) -> bool:
    """Whether it is one of Arrow's own that memray cannot see; a proxy is somebody's choice."""
    return pool.backend_name != "system" and type(pool).__name__ == "MemoryPool"


class Allocators:
    """What was switched in this process while a capture is open, and what stays to be sampled."""

    def __init__(self) -> None:
        self._set_variable = False
        self._before: Any = None
        self._system: Any = None
        self._pools: tuple[Any, ...] | None = None

    def switch(self) -> None:
        """Have libraries use malloc from now on, where they let themselves be told. Never raises."""
        try:
            self._switch()
        except Exception as error:
            warn.once("allocators", f"Arrow's memory pool was not switched to malloc: {error!r}")

    def _switch(self) -> None:
        if _VARIABLE in os.environ:
            return
        arrow = sys.modules.get("pyarrow")
        if arrow is None:
            os.environ[_VARIABLE] = "system"
            self._set_variable = True
        elif hasattr(arrow, "set_memory_pool") and _is_plain(arrow.default_memory_pool()):
            self._before, self._system = arrow.default_memory_pool(), arrow.system_memory_pool()
            arrow.set_memory_pool(self._system)

    def restore(self) -> None:
        """Undo what was switched, where nobody else has switched it since. Never raises."""
        try:
            if self._set_variable and os.environ.get(_VARIABLE) == "system":
                del os.environ[_VARIABLE]
            if self._before is not None:
                arrow = sys.modules["pyarrow"]
                if arrow.default_memory_pool().backend_name == "system":
                    arrow.set_memory_pool(self._before)
        except Exception as error:
            warn.once("allocators", f"Arrow's memory pool was not switched back: {error!r}")
        self._set_variable, self._before = False, None

    def sampled(self) -> int:
        """Return the bytes in pools that memray does not see. About a tenth of a microsecond."""
        pools = self._pools
        if pools is None:
            if "pyarrow" not in sys.modules:
                return 0
            pools = self._find_pools()
        total = 0
        for pool in pools:
            total += pool.bytes_allocated()
        return total

    def _find_pools(self) -> tuple[Any, ...]:
        arrow = sys.modules["pyarrow"]
        backends = getattr(arrow, "supported_memory_backends", None)
        if backends is None:  # it is just being imported
            return ()
        self._pools = tuple(getattr(arrow, f"{name}_memory_pool")() for name in backends() if name != "system")
        return self._pools

    def addresses(self) -> tuple[int, ...] | None:
        """Return an address in the memory of each sampled pool that was ever used; None where none was.

        A small buffer is taken from it, which lies where the pool's other memory lies.
        """
        arrow = sys.modules.get("pyarrow")
        used = [pool for pool in self._pools or () if (pool.max_memory() or 0) > 0]
        if arrow is None or not used:
            return None
        return tuple([arrow.allocate_buffer(64, memory_pool=pool).address for pool in used])

    @staticmethod
    def opaque() -> list[str]:
        """Return the names of allocators here that can be neither switched nor asked."""
        return [name for module, name in _OPAQUE.items() if module in sys.modules]
