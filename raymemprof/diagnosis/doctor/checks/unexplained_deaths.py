"""Calls whose processes ended without a known reason."""

from __future__ import annotations

from collections.abc import Iterator

from ....display.text import show_bytes
from ....reading.catalog.records import Call, Calls
from ....reading.logs.endings import WITHOUT_A_TRACE
from ...advise.growth import process_of
from ..findings import Finding
from ..observed import Observed

__all__ = ["find"]


def find(observed: Observed) -> Iterator[Finding]:
    """Yield a finding for each function; the kernel's message may be where this process cannot read it.

    Only of jobs that go on: where a job or a session ends, Ray ends what it ran, and does not log that either.
    """
    by_name: dict[str, list[Call]] = {}
    for call in observed.calls:
        if call.status == "killed" and WITHOUT_A_TRACE in (call.error or "") and call.job_id in (observed.jobs or ()):
            by_name.setdefault(call.name, []).append(call)
    for name, calls in sorted(by_name.items(), key=lambda item: -max(call.peak_memory for call in item[1])):
        largest = max(calls, key=lambda call: call.peak_memory)
        processes = len({process_of(call) for call in calls})
        many = f"{processes} processes" if processes > 1 else "A process"
        yield Finding(
            severity="info",
            illness="unexplained_death",
            title=f"{many} of {name} exited without a trace: perhaps killed by the kernel for memory.",
            name=name,
            node_id=largest.node_id,
            evidence=(
                f"The largest, pid {largest.pid} on {observed.where(largest.node_id)}, had used "
                f"{show_bytes(largest.peak_memory)}, and ran since {observed.moment(largest.started_at)}. No log of "
                "Ray's, nor the kernel's where that can be read, says what ended it, as after a SIGKILL or `os._exit`.",
            ),
            next_steps=(
                'On that node `sudo dmesg -T | grep -i "killed process"` says whether it was the kernel; in Kubernetes '
                "`kubectl describe pod` says OOMKilled.",
            ),
            calls=Calls([largest]),
        )
