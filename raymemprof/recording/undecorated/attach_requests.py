"""What this driver wants of actors, where they all can read it: which attachments, and a sign of life every second."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import uuid

from ... import cluster
from ..safety.threads import HiddenThread

__all__ = ["not_wanted", "wanted"]

_BEAT = 1.0
"""Seconds between signs of life."""
_IDLE_BEATS = 5
"""How many of them nothing is wanted in before nothing is kept: until then actors are told that it was ended."""


class _Wishes:
    """One value in the GCS, kept for as long as anything is wanted."""

    def __init__(self) -> None:
        self.key = f"attach/{uuid.uuid4().hex}"
        self._lock = threading.Lock()
        self._wanted: list[str] = []
        self._beat = 0
        self._thread: HiddenThread | None = None
        self._is_over = threading.Event()

    def add(self, attachment: str) -> None:
        """Want an attachment. Raises what Ray raises where the GCS does not answer."""
        with self._lock:
            self._wanted.append(attachment)
            self._put()
            if self._thread is None or not self._thread.is_alive():
                self._is_over.clear()
                self._thread = HiddenThread(self._run)
                self._thread.start()

    def remove(self, attachment: str) -> None:
        """Want an attachment no more. Raises what Ray raises where the GCS does not answer."""
        with self._lock:
            if attachment in self._wanted:
                self._wanted.remove(attachment)
                self._put()

    def remove_all(self) -> None:
        """Want nothing more, and keep nothing in the GCS. Never raises of its own accord."""
        self._is_over.set()
        with self._lock, contextlib.suppress(Exception):  # the GCS may be gone: then nothing is kept there
            if self._thread is not None and cluster.is_connected():
                cluster.delete_value(self.key)
            self._wanted.clear()

    def _put(self) -> None:
        self._beat += 1
        cluster.put_value(self.key, {"beat": self._beat, "wanted": self._wanted})

    def _run(self) -> None:
        idle_beats = 0
        while not self._is_over.wait(_BEAT):
            with self._lock, contextlib.suppress(Exception):  # it is tried again
                idle_beats = 0 if self._wanted else idle_beats + 1
                if idle_beats >= _IDLE_BEATS:
                    self._thread = None
                    if cluster.is_connected():
                        cluster.delete_value(self.key)
                    return
                if cluster.is_connected():
                    self._put()


_wishes = _Wishes()


def wanted(attachment: str) -> str:
    """Want an attachment until `not_wanted`, or until this process ends; return the key of what this process wants."""
    _wishes.add(attachment)
    return _wishes.key


def not_wanted(attachment: str) -> None:
    """Want an attachment no more, also one whose call still waits. Raises what Ray raises where the GCS is silent."""
    _wishes.remove(attachment)


def _end() -> None:
    _wishes.remove_all()


def _after_fork() -> None:
    """Leave what the parent wants to the parent."""
    global _wishes
    _wishes = _Wishes()


atexit.register(_end)
os.register_at_fork(after_in_child=_after_fork)
