"""How the processes that recorded to a folder ended, by what Ray's and the kernel's logs say."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...journal import Process
from .records import Call

if TYPE_CHECKING:  # its patterns take a third of a second to compile, and most calls end well
    from ..logs import endings

__all__ = ["Evidence"]


class Evidence:
    """What is known of how the processes that recorded to a folder ended; read when it is first asked for."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs

    @cached_property
    def raylet(self) -> dict[tuple[int, str | None], endings.Death]:
        """The raylet's word, by pid and worker."""
        from ..logs import endings

        said: dict[tuple[int, str | None], endings.Death] = {}
        for death in endings.raylet_deaths(self._logs):
            known = said.get((death.pid, death.worker_id))
            if known is None or known.cause != "ray_memory_monitor":
                said[death.pid, death.worker_id] = death
        return said

    @cached_property
    def kernel(self) -> dict[int, endings.Death] | None:
        """The kernel's word, by pid; None where its log may not be read."""
        from ..logs import endings

        return endings.kernel_kills()

    def of_call(self, call: Call) -> tuple[str, str | None, endings.Death | None]:
        """Return cause, sentence and the raylet's or kernel's word for a call that was killed."""
        return self.of_worker(call.worker_id, call.pid, call.started_at)

    def of_worker(
        self, worker_id: str | None, pid: int, since: datetime
    ) -> tuple[str, str | None, endings.Death | None]:
        """Return the same for a worker that was seen alive at `since`."""
        from ..logs import endings

        return endings.how_it_ended(self._logs, worker_id, pid, since, self.raylet, self.kernel)

    def of(self, process: Process) -> tuple[str, str | None, endings.Death | None]:
        """Return cause, sentence and the raylet's or kernel's word for a journal's `process` line."""
        if process.created is None or process.pid is None:
            return "unknown", None, None
        since = datetime.fromtimestamp(process.created, timezone.utc)
        return self.of_worker(process.worker_id, process.pid, since)
