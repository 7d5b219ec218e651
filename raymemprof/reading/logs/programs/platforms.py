"""What Spark, Databricks and Google's Vertex AI say of processes that ended, and macOS of those that it killed."""

from __future__ import annotations

from ..facts import Message, Victim
from ..kinds import Kind
from ..patterns import COUNT, pattern, size

__all__ = ["DRIVER_STOPPED", "EXITS", "REPLICAS", "mac"]

_WHY_UNKNOWN = "the text does not say whether memory was the reason"
EXITS = (
    Kind(
        "sigkill",
        pattern(r"Python process exited with exit code 137 \(SIGKILL: Killed\)"),
        "Databricks says that a notebook's Python process ended with exit code 137, as after SIGKILL; that memory was "
        "the reason is at most its guess.",
        lacks="driver",
    ),
    Kind(
        "sigkill",
        pattern(r"Driver down cause: driver state change \(exit code: 137\)"),
        f"Databricks says that Spark's driver ended with exit code 137, as after SIGKILL; {_WHY_UNKNOWN}.",
        lacks="driver",
    ),
    Kind(
        "sigkill",
        pattern(r"[Ee]xecutor with id (?P<executor>\d{1,9}) exited with exit code 137\b"),
        "The executor {executor} of Spark ended with exit code 137, as after SIGKILL; that its container ran out of "
        "memory is at most Spark's guess.",
        lacks="executor",
    ),
    Kind(
        "sigkill",
        pattern(
            r"(?:executor (?P<executor>\d{1,9}) exited caused by one of the running tasks\) Reason: )?"
            r"Container (?:from a bad node|marked as failed): (?P<container>\w{1,100}) on host: "
            r"(?P<host>[\w.-]{1,200})\. Exit status: 137\b"
        ),
        "The container {container} of YARN on {host}[, executor {executor} of Spark,] ended with exit code 137, as "
        f"after SIGKILL; {_WHY_UNKNOWN}.",
        lacks="executor",
    ),
)
"""Ends with exit code 137 of which more is told than of any other container."""
DRIVER_STOPPED = (
    Kind(
        "unknown",
        pattern(r"The spark driver has stopped unexpectedly and is restarting"),
        f"Databricks says that Spark's driver stopped and is started again; {_WHY_UNKNOWN}.",
        lacks="driver",
    ),
)
REPLICAS = (
    Kind(
        "container_limit",
        pattern(
            r"The replica (?P<replica>[\w-]{1,60}(?: \d{1,6})?) ran out-of-memory and exited with a non-zero status of "
            r"(?P<status>\d{1,3})"
        ),
        "Google Cloud says that the replica {replica} of a training job ran out of memory, and ended with status "
        "{status}.",
        lacks="vertex",
    ),
    Kind(
        "container_limit",
        pattern(r"Replicas low on memory: (?P<replicas>[\w-]{1,60}(?:, [\w-]{1,60}){0,20})"),
        "Google Cloud says that replicas of a training job were low on memory: {replicas}.",
        lacks="vertex",
    ),
)
_COMPRESSED = pattern(
    rf"memorystatus: killing largest compressed process (?P<name>[^\n\[]{{1,64}}?) \[(?P<pid>{COUNT})\] "
    r"(?P<memory>\d{1,9}) MB"
)
_BY_PID = pattern(
    rf"memorystatus: killing_(?:specific|top|highwater)_process(?:_elevated\d)?(?: pid (?P<pid>{COUNT}))? "
    r"\[(?P<name>[^\]\n]{1,64})\](?: \((?P<cause>[a-z][\w-]{1,40})[^)\n]{0,100}\) ?(?:(?P<memory>\d{1,12})KB)?)?"
)
_LIMITS = ("per-process-limit", "highwater")
"""Why macOS kills one process: what that used, and not what the machine has left."""


def mac(text: str) -> Message | None:
    """Return what macOS says of processes that it killed for memory."""
    found: dict[object, Victim] = {}
    reason = "macOS had no room left for compressed memory and swap"
    for kill in _COMPRESSED.finditer(text):
        memory = size(f"{kill['memory']}MiB")
        found.setdefault(kill["pid"], Victim(kill["name"], None, None, None, int(kill["pid"]), memory))
    for kill in _BY_PID.finditer(text):
        pid, memory = kill["pid"], size(f"{kill['memory']}kB") if kill["memory"] else None
        is_own = kill["cause"] in _LIMITS
        reason = "macOS holds it to a limit of its own" if is_own and not found else "macOS was low on memory"
        found.setdefault(pid or kill["name"], Victim(kill["name"], None, None, None, int(pid) if pid else None, memory))
    victims = tuple(found.values())
    if not victims:
        return None
    return Message("kernel_oom", victims=victims, killed=len(victims), reason=reason, is_named=True)
