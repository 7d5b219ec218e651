"""Wakes a thread, also from code that runs at any moment: the end of a call that the garbage collector finalizes."""

from __future__ import annotations

import contextlib
import queue

__all__ = ["Wakeup"]


class Wakeup:
    """An event that one thread waits for. `threading.Event` may hang where its own thread sets it while it waits."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_set = False

    def set(self) -> None:
        """Wake the thread, now or when it waits next."""
        if not self._is_set:
            self._is_set = True
            self._queue.put(None)

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def wait(self, timeout: float | None) -> bool:
        """Wait until it is set, or for so many seconds; return whether it is. It may return sooner."""
        if not self._is_set:
            with contextlib.suppress(queue.Empty):
                self._queue.get(timeout=timeout)
        return self._is_set

    def clear(self) -> None:
        """Have `wait` wait again."""
        self._is_set = False
