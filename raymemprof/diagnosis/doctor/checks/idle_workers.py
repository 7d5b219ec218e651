"""Workers that run nothing and keep memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ....display.text import show_bytes
from ....reading.catalog.records import Call, Calls
from ...advise.growth import kept_by
from ...usage.records import ProcessUsage
from ..findings import Finding
from ..observed import Observed
from ..sentences import guilty_lines
from ..shared_thresholds import MAINLY, PLAIN_WORKER
from .retained_memory import KEEP_LESS

__all__ = ["KEPT", "find", "kept_by_idle"]

_MIB = 2**20
KEPT = 256 * _MIB
"""What one of them may keep beyond a plain worker, or beyond what most of them have: about two more plain workers."""
_PART = 0.2
"""If no single worker keeps as much, all together may keep this part of the memory that is left on the node."""
_MOST_OF_THEM = 3
"""With at least so many idle workers, the median shows what they have imported."""


def find(observed: Observed) -> Iterator[Finding]:
    """Yield a finding for each node whose idle workers keep much; Ray keeps one worker for each CPU."""
    for node in observed.nodes:
        every = sorted(process.memory for process in node.processes if process.role == "idle worker")
        idle = [
            process for process in node.processes if process.role == "idle worker" and process.memory > PLAIN_WORKER
        ]
        kept = kept_by_idle([process.memory for process in idle])
        most = max(idle, key=lambda process: process.memory, default=None)
        # What most of them use is what they have imported.
        plain = max(PLAIN_WORKER, every[len(every) // 2]) if len(every) >= _MOST_OF_THEM else PLAIN_WORKER
        left_over = node.left
        if most is None or (most.memory - plain < KEPT and kept < max(KEPT, _PART * left_over)):
            continue
        left = _left_by(observed, most)
        lines = guilty_lines(observed, (left,), "leaks")
        function = left.name if left is not None else "the function that fills it"
        count = f"{len(idle)} idle workers keep" if len(idle) > 1 else "An idle worker keeps"
        total = sum(process.memory for process in idle)
        evidence = [f"The largest, pid {most.pid}, has {show_bytes(most.memory)}; one that keeps nothing some 50 MiB."]
        if left is not None:
            evidence.append(f"{left.name} left {show_bytes(kept_by(left))} behind in it (pid {most.pid}).")
        evidence += [f"Of that {observed.held(line)}" for line in lines[:1]]
        whole = observed.heaps.of((left.capture,)) if left is not None and left.capture is not None else None
        freed = (whole.retained_before or 0) + (whole.retained_at_end or 0) if whole is not None else 0
        is_freed = freed >= MAINLY * (most.memory - plain)
        if is_freed:
            evidence.append(
                f"Allocators retained {show_bytes(freed)} of it: memory that was freed but not returned to the system."
            )
        yield Finding(
            severity="warning",
            illness="idle_workers",
            title=f"{count} {show_bytes(total)} on {observed.where(node.node_id)}, for nothing that runs.",
            name=left.name if left is not None else None,
            node_id=node.node_id,
            evidence=tuple(evidence),
            next_steps=(
                *(f"Let go of it before the call ends: see {line.location}." for line in lines[:1]),
                *([f"{KEEP_LESS[0].upper()}{KEEP_LESS[1:]}"] if is_freed else []),
                f"End the worker after each call: `@ray.remote(max_calls=1)` on {function}.",
                "Or have Ray end idle workers after a second, where it keeps one for each CPU: "
                "`RAY_num_workers_soft_limit=0` in the environment of `ray start`, or of what calls ray.init().",
                "Ray 2.56 and later kills them first when memory is low, and those that never ran anything above "
                "`RAY_idle_worker_killing_memory_threshold_bytes` (1 GiB).",
            ),
            lines=lines,
            calls=Calls([left] if left is not None else []),
        )


def kept_by_idle(sizes: Iterable[int]) -> int:
    """Return what idle workers of these sizes use, in all, beyond plain workers."""
    return sum(max(size - PLAIN_WORKER, 0) for size in sizes)


def _left_by(observed: Observed, idle: ProcessUsage) -> Call | None:
    """Return the call that left most behind in a worker, if that is most of what the worker keeps."""
    there = [
        call
        for call in observed.calls
        if call.pid == idle.pid and call.node_id == idle.node_id and call.worker_id in (idle.worker_id, None)
    ]
    left = max(there, key=kept_by, default=None)
    return left if left is not None and kept_by(left) >= MAINLY * (idle.memory - PLAIN_WORKER) else None
