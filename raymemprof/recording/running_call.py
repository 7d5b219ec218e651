"""One profiled call: its identity in Ray, the frame it runs in, its outcome."""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from .. import cluster
from .. import journal as contract
from . import frames, metrics, warn
from .current import current
from .memory import process_memory
from .memory.children import children
from .open_journals import journal_for
from .options import Settings
from .outcome import describe, outcome
from .profile import Profile
from .safety import interruptions
from .safety.spare_memory import keep_spare
from .sampler import sampler
from .tracker import Lease, RefusedError, tracker
from .watch import TOUCHED

__all__ = ["LINGER", "RunningCall"]

_MOST_COUNTED = 10_000
_JOURNAL_GONE = "the journal was deleted, renamed or replaced while the call ran, and with it what was noted until then"
_OF_THE_BEGINNING = (
    *("event", "call", "time", "name", "kind", "task_id", "attempt", "actor_id", "job_id", "memory"),
    *("deployment", "context", "within"),
)
"""Keys of a call's `begin` line that hold whatever became of its capture and its journal."""
LINGER = 0.25
_LEAST_FORK = 0.0002
"""Seconds: a call that took less has started no child."""


class RunningCall:
    """A call between its beginning and its end."""

    __slots__ = (
        "_begin_line",
        "_begun",
        "_entered",
        "_first_peak_rss",
        "_highest",
        "_last",
        "_last_shared",
        "_least_shared",
        "_outer",
        "_peak_rss",
        "_pid",
        "_started",
        "_steps_left",
        "_who",
        "began",
        "children_peak",
        "enclosing",
        "ended",
        "first",
        "function",
        "instance",
        "journal",
        "lease",
        "looked",
        "looked_reserved",
        "looked_shared",
        "looked_tick",
        "mapped",
        "number",
        "peak",
        "profile",
        "ray_data_peak",
        "settings",
        "slow_rise_due",
        "thread",
        "ticks",
        "total",
        "touched",
        "touched_step",
        "written_children",
        "written_peak",
        "written_total",
    )

    def __init__(self, profile: Profile, settings: Settings, function: object, instance: object) -> None:
        self.profile = profile
        self.settings = settings
        self.function = function
        self.instance = instance
        self.enclosing: RunningCall | None = None
        self.lease: Lease | None = None
        self.ended = False
        self.number = -1
        self.thread = threading.get_ident()
        """The thread that its code ran on last."""
        self.ticks = self.looked_tick = self.looked_reserved = 0
        """How often the sampler has looked at it."""
        self.touched_step = TOUCHED
        self.ray_data_peak = 0
        self._begun = False
        self._entered = False
        self._pid = os.getpid()
        self._steps_left = ["look", "mark", "sampler", "journal", "release"]

    def enter(self) -> None:
        """Make this the call that the running code belongs to."""
        self._outer = current.get()
        self._entered = True
        self.thread = threading.get_ident()
        current.set(self)

    def leave(self) -> None:
        """Undo `enter`."""
        if self._entered:
            current.set(self._outer)
            self._entered = False
            self._outer = None

    def is_current(self) -> bool:
        """Whether the running code belongs to this call, and to none within it."""
        return current.get() is self

    def start(self, block: bool = False) -> None:
        """Begin to record; where that fails the call runs unrecorded. Never raises of its own accord."""
        try:
            self._start(block)
        except Exception as error:
            if interruptions.is_users(error):
                raise
            warn.once("begin", f"calls are not recorded: {describe(error)}")
            if not self._begun:
                tracker.release(self)
                self.lease = None

    def _start(self, block: bool) -> None:
        keep_spare()
        settings, profile = self.settings, self.profile
        who = cluster.task_identity()
        self._who = who
        self.journal = journal_for(settings.directory, profile.name, who)
        self.number = next(_numbers)
        note = self._lease(who)
        private, shared, self.mapped = process_memory.now()
        sampler.saw(private, shared)
        self.first = self.peak = self.written_peak = self.looked = private
        added = children.look(private)
        self.total = self.written_total = private + added
        self.children_peak = self.written_children = 0
        self.began = self.slow_rise_due = math.inf
        self._last_shared = self._least_shared = self.looked_shared = shared
        self._first_peak_rss, self.touched = process_memory.ever()
        self._peak_rss = self._first_peak_rss
        self._highest = 0
        line: dict[str, Any] = {
            "event": "begin",
            "call": self.number,
            "time": time.time(),
            "name": profile.name,
            "kind": profile.kind,
            "task_id": who.task_id,
            "attempt": who.attempt,
            "actor_id": who.actor_id,
            "job_id": who.job_id,
            "memory": private,
            **cluster.library_context(self.instance),
            **({"within": outermost} if (outermost := self._outermost()) else {}),
            **({"children": added} if added else {}),
        }
        if self.lease is not None:
            capture = self.lease.capture
            line["capture"] = capture.name if capture.folder == self.journal.folder else str(capture.path)
            line["slot"] = self.lease.slot
            line["turn"] = self.lease.turn
            frames.marker(profile.name, self.lease.slot, contract.END_FILE)  # while there is memory
            if capture.watch is not None:
                capture.watch.before(line)
        else:
            line["note"] = note
        self._started = time.perf_counter()
        self.journal.write(line)
        self._begin_line = line
        self._begun = True
        self._mark(contract.BEGIN_BLOCK_FILE if block else contract.BEGIN_FILE)
        sampler.add(self)
        self._started = time.perf_counter()

    def _outermost(self) -> str | None:
        """Return the name of the outermost call of its task that it runs in and its journal tells of."""
        name, outer = None, self.enclosing if self._who.task_id is not None else None
        while outer is not None and outer._begun and outer.journal is self.journal:
            name, outer = outer.profile.name, outer.enclosing
        return name

    def _lease(self, who: cluster.TaskIdentity) -> str | None:
        """Join the tracker, or return why not."""
        settings, profile = self.settings, self.profile
        if not settings.heap:
            return "heap tracing is off (heap=False)"
        if settings.every > 1:
            if len(_counts) > _MOST_COUNTED:  # names of blocks may be made up as it goes
                _counts.clear()
            count = _counts[profile.name] = _counts.get(profile.name, -1) + 1
            if count % settings.every:
                return f"one call in {settings.every} is traced (every={settings.every})"
        linger = settings.linger
        if linger is None:
            is_of_actor = profile.kind in ("actor", "method") and who.actor_id is not None
            linger = math.inf if is_of_actor else LINGER
        try:
            self.lease = tracker.acquire(
                self, settings, self.journal, lambda: contract.file_stem(profile.name, who.task_id, who.attempt), linger
            )
        except RefusedError as refusal:
            reason = str(refusal)
            warn.once("tracker", f"calls are not traced: {reason}")
            return reason
        return None

    def saw(self, private: int, shared: int) -> None:
        """Take a reading of the process's memory into account."""
        if private > self.peak:
            self.peak = private
        peak_rss, _ = process_memory.ever()
        if peak_rss > self._peak_rss:  # since the last reading: the kernel saw a peak that this one may not have met
            self._peak_rss = peak_rss
            low, high = min(shared, self._last_shared), max(shared, self._last_shared)
            self.peak = max(self.peak, peak_rss - high)
            self._highest = max(self._highest, peak_rss - low)
        self._last_shared = shared
        self._least_shared = min(self._least_shared, shared)

    def saw_children(self, private: int, added: int) -> bool:
        """Take what children add to the process's memory into account; return whether they add anything."""
        self.total = max(self.total, private + added)
        self.children_peak = max(self.children_peak, added)
        return added > 0

    def finish(self, error: BaseException | None) -> None:
        """Write the call's end. May be called again after it was interrupted.

        A fork within the call may leave it too, by an exception say: it is the parent's, and runs on there.
        """
        if self._pid != os.getpid():
            self.leave()
            self.ended = True
            return
        steps = self._steps_left
        while steps:
            step = steps[0]
            if step == "look":
                self._note_end()
            elif step == "mark":
                self.leave()
                self._mark(contract.END_FILE)
                self.ended = True
            elif step == "sampler":
                sampler.remove(self)
            elif step == "release":
                tracker.release(self)
            elif self._begun:
                self._write_end(error)
            del steps[0]

    def _write_end(self, error: BaseException | None) -> None:
        duration = time.perf_counter() - self._started
        private, shared, _ = self._last
        self.saw(private, shared)
        sampler.saw(private, shared)
        peak_rss = self._peak_rss
        is_new_peak = peak_rss > self._first_peak_rss
        highest = max(self.peak, self._highest) if is_new_peak else peak_rss - self._least_shared
        added = children.look(private, at_once=duration >= max(children.pause, _LEAST_FORK))
        self.saw_children(private, added)
        status, text = outcome(error)
        note = self._renewed_journal() or (self.lease.lost() if self.lease is not None else None)
        self.journal.write(
            {
                "event": "end",
                "call": self.number,
                "duration": duration,
                "status": status,
                "error": text,
                "memory": private,
                "peak": self.peak,
                **({"children": self.children_peak, "total": self.total} if self.children_peak else {}),
                **({"left": children.largest(), "count": children.count()} if added else {}),
                **({"highest": highest} if peak_rss and self.lease is not None else {}),
                **({"ray_data_peak": self.ray_data_peak} if self.ray_data_peak else {}),
                **({"note": note} if note else {}),
            },
            is_needed=True,
        )
        if self.profile.ended is not None:
            self.profile.ended.add(private - self.first)
        metrics.send(self.profile.name, max(self.peak, self.total), status)

    def _renewed_journal(self) -> str | None:
        """Where the journal is gone, have the call in another; return what to note of that."""
        if not self.journal.is_lost():
            return None
        self.journal = journal_for(self.settings.directory, self.profile.name, self._who)
        line = self._begin_line
        self.journal.write({key: line[key] for key in _OF_THE_BEGINNING if key in line}, is_needed=True)
        return _JOURNAL_GONE

    def _note_end(self) -> None:
        """Have what is the call's at its end noted, while it is."""
        self._last = process_memory.now()
        lease = self.lease
        if lease is not None and self._begun and lease.capture.watch is not None:
            lease.capture.watch.end(self, self._last)

    def frame(self, template: Callable[..., Any]) -> Callable[..., Any]:
        """Return what to run user code through: `template`, in a frame of the call's own where it is traced."""
        if self.lease is None:
            return template
        return frames.renamed(template, self.profile.name, self.lease.slot, contract.FRAME_FILE)

    def _mark(self, file: str) -> None:
        if self.lease is not None:
            size = contract.marker_size(self.lease.turn)
            frames.marker(self.profile.name, self.lease.slot, file)(size)


_counts: dict[str, int] = {}
_numbers = itertools.count()


def _after_fork() -> None:
    """Number the calls of a forked child anew, and have none run in it."""
    global _numbers
    _numbers = itertools.count()
    current.set(None)


os.register_at_fork(after_in_child=_after_fork)
