"""Tasks that Ray kills for memory and retries again and again, so that the job seems to hang."""

from __future__ import annotations

from collections.abc import Iterator

from ....display.text import show_seconds
from ....reading.catalog.records import Calls
from ..concurrency import is_bystander
from ..findings import Finding
from ..kill_sentences import about_fit, about_kills, ask_for_memory, make_smaller
from ..observed import KillGroup, Observed
from ..sentences import about_lines, guilty_lines, warnings_of

__all__ = ["find"]


def find(observed: Observed, groups: list[KillGroup], crowded: set[str | None]) -> Iterator[Finding]:
    """Yield a finding for each function whose tasks are retried; `crowded` are the nodes that others filled."""
    for group in groups:
        retries = [retry for retry in observed.kills.retries if retry.name == group.name and not group.is_actor]
        if not retries:
            continue
        retry = max(retries, key=lambda retry: (not retry.is_over, retry.kill_count))
        lines = guilty_lines(observed, observed.holders(group)[:1], "leaks")
        waits = f", after a pause that doubles each time up to a minute (now {show_seconds(retry.pause)})"
        does = (
            "retried it each time, until its job ended" if retry.is_over else f"retries it{waits * bool(retry.pause)}"
        )
        is_victim = group.last.node_id in crowded and is_bystander(observed, group)
        yield Finding(
            severity="warning" if is_victim else "critical",
            illness="endless_retries",
            title=f"{group.name} was killed for memory and retried without end, until its job ended."
            if retry.is_over
            else f"{group.name} is killed for memory and retried without end; its job seems to hang.",
            name=group.name,
            node_id=group.last.node_id,
            evidence=(
                f"One task of it was killed {retry.kill_count} times since {retry.since:%H:%M:%S} UTC, and Ray {does}.",
                *about_kills(observed, group),
                *about_lines(observed, lines),
                *about_fit(observed, group),
                *warnings_of(observed.recommendation_for(group.name, group.is_actor)),
            ),
            next_steps=(
                "Have it fail instead: `RAY_task_oom_retries=3` in the environment of the driver (and of "
                "ray.init(runtime_env) for tasks that start tasks); that of `ray start` does not count.",
                *make_smaller(observed, group, lines),
                *ask_for_memory(observed, group),
            ),
            kill_count=len(group.kills),
            lines=lines,
            calls=Calls(group.calls[:1]),
        )
