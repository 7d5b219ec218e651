"""What Ray Data notes of the memory of its own tasks, as it notes it.

In each of its tasks Ray Data reads RSS − SHR of the process: once a second, and after each block. The highest travels
with the block to the driver, as `max_uss_bytes`. Ray has no interface for it in the worker. Where it has moved what is
patched here, nothing is patched, and the caller is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wrapt

__all__ = ["hear_ray_data_peaks"]

_MODULE = "ray.data._internal.util"
_CLASS, _METHOD = "MemoryProfiler", "estimate_max_uss"
"""A task calls it for each block."""


def hear_ray_data_peaks(callback: Callable[[int], None], unknown: Callable[[str], None]) -> None:
    """Have `callback` called in this process with each peak that Ray Data notes, in its task.

    `unknown` is called with a few words where Ray has moved what is patched. Neither may raise.
    """

    def patch(module: Any) -> None:
        try:
            wrapt.wrap_function_wrapper(module, f"{_CLASS}.{_METHOD}", estimate)
        except Exception:  # whatever it is, the user's import of Ray Data goes on
            unknown(f"{_CLASS}.{_METHOD}() of Ray Data")

    def estimate(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        peak = wrapped(*args, **kwargs)
        if isinstance(peak, int):  # None on macOS
            callback(peak)
        return peak

    wrapt.register_post_import_hook(patch, _MODULE)
