"""What the machine had left while tests ran: told with a failure, and in a run's summary, where it explains one."""

from __future__ import annotations

import itertools
import os
import threading
import time

import psutil

_GIB = 2**30
_PERIOD = 2.0
"""Seconds between two looks."""
_MINUTE = 60.0


class Machine(threading.Thread):
    """Looks at the machine's memory and CPUs every two seconds."""

    def __init__(self) -> None:
        super().__init__(name="machine", daemon=True)
        self._looks: list[tuple[float, int, float, float]] = []
        """When; bytes available; seconds of all CPUs idle; seconds that another machine took."""
        self._look()

    def run(self) -> None:
        while True:
            time.sleep(_PERIOD)
            self._look()

    def lately(self) -> str:
        """Say what the machine had during the last minute."""
        since = time.monotonic() - _MINUTE
        return self._said([look for look in self._looks if look[0] >= since] or self._looks[-1:])

    def in_all(self) -> str:
        """Say what it had since this was made."""
        return self._said(self._looks)

    def _look(self) -> None:
        cpus = psutil.cpu_times()
        self._looks.append(
            (time.monotonic(), psutil.virtual_memory().available, cpus.idle, float(getattr(cpus, "steal", 0.0)))
        )

    def _said(self, looks: list[tuple[float, int, float, float]]) -> str:
        first, last = looks[0], looks[-1]
        seconds = max((last[0] - first[0]) * (os.cpu_count() or 1), 1e-3)
        least, most = min(look[1] for look in looks), psutil.virtual_memory().total
        slowest = max((after[0] - before[0] for before, after in itertools.pairwise(looks)), default=0.0)
        return (
            f"the machine: {os.cpu_count()} CPUs, {(last[2] - first[2]) / seconds:.0%} idle, "
            f"{(last[3] - first[3]) / seconds:.0%} taken by others; {least / _GIB:.1f} of {most / _GIB:.1f} GiB "
            f"of memory available at least; a sleep of {_PERIOD:.0f} s took up to {slowest:.1f} s"
        )
