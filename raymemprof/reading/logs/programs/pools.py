"""What Dask, loky, multiprocessing and Airflow say of the processes of their pools that ended."""

from __future__ import annotations

import itertools
from dataclasses import replace

from ..facts import Message, Victim
from ..kinds import Kind, first_of
from ..patterns import COUNT, SIZE, pattern
from ..systems.launchers import WHY_UNKNOWN

__all__ = ["CRASHED", "KILLED", "POOLS", "WARNED", "dask"]

_WORKER = rf"(?:(?P<address>[a-z]{{2,5}}://[\w.\[\]:-]{{3,60}}) )?(?:\(pid=(?P<process>{COUNT})\) )?"
_ENDED = pattern(rf"\bWorker process ({COUNT}) was killed by")
_MOST = 20
_DASK = (
    Kind(
        "container_limit",
        pattern(
            rf"\bWorker {_WORKER}exceeded 0% memory budget\. Restarting"
            rf"(?:(?: |\.){{0,9}}[^\n]{{0,60}}?\bWorker process (?P<pid>{COUNT}) was killed by)?"
        ),
        "Dask's nanny ended a worker[, {address}][ (pid {process})], and started it again: by its settings a "
        "worker may use 0% of its memory limit, so that it is ended whatever it uses.[ It ended {victims}.]",
        lacks="dask, ends all",
    ),
    Kind(
        "container_limit",
        pattern(
            rf"\bWorker {_WORKER}exceeded (?P<share>\d{{1,3}})% memory budget\. Restarting"
            rf"(?:(?: |\.){{0,9}}[^\n]{{0,60}}?\bWorker process (?P<pid>{COUNT}) was killed by)?"
        ),
        "Dask's nanny ended a worker[, {address}][ (pid {process})], and started it again, because it used more than "
        "{share}% of the worker's memory limit; that limit is Dask's own, not the node's memory.[ It ended {victims}.]",
        lacks="dask",
    ),
)


def dask(text: str) -> Message | None:
    """Return what Dask's nanny says of workers that it ended, with all whose end it tells of."""
    message = first_of(_DASK, text)
    if message is None:
        return None
    known = {victim.pid for victim in message.victims}
    ended = dict.fromkeys(int(one[1]) for one in itertools.islice(_ENDED.finditer(text), _MOST))
    others = [pid for pid in ended if pid not in known]
    if not others:
        return message
    victims = tuple(Victim(None, None, None, None, pid, None) for pid in sorted({*ended, *filter(None, known)}))
    also = f"The text has the ends of workers with the pids {', '.join(map(str, sorted(ended)))}."
    return replace(message, victims=victims, killed=len(victims), is_named=True, also=(*message.also, also))


KILLED = (
    Kind(
        "sigkill",
        pattern(
            r"\bTerminatedWorkerError: [^\0]{0,600}?exit codes of the workers are \{(?P<codes>[^{}\n]{0,200}?"
            r"(?:SIGKILL\(-9\)|EXIT\(137\))[^{}\n]{0,200})\}"
        ),
        f"A worker of joblib's pool (loky) was killed by SIGKILL (exit codes: {{codes}}); {WHY_UNKNOWN}.",
    ),
    Kind(
        "sigkill",
        pattern(
            r"\bProcess terminated by signal\.[^\n]{0,300}?\bsignal[=:] ?-9\b|\bTask exited with return code "
            r"(?:-9|137)\b|"
            r"\bLikely out of memory error \(OOM\)|\bwas killed before it finished \(likely due to running out of "
            r"memory\)"
        ),
        "Airflow says that a task's process was killed by SIGKILL; that memory was the reason is at most its guess.",
    ),
    Kind(
        "sigkill",
        pattern(rf"\bWorker process (?P<pid>{COUNT}) was killed by signal 9\b"),
        f"Dask's nanny says that a worker {{victims}} was killed by SIGKILL; {WHY_UNKNOWN}.",
        lacks="an end",
    ),
    Kind(
        "sigkill",
        pattern(r"\b[Pp]rocess (?P<rank>\d{1,6}) terminated with (?:signal SIGKILL|exit code 137)\b"),
        f"The process {{rank}} that PyTorch had started was killed by SIGKILL; {WHY_UNKNOWN}.",
    ),
)
"""Processes of pools that got SIGKILL."""
CRASHED = (
    Kind(
        "crash",
        pattern(
            r"\bTerminatedWorkerError: [^\0]{0,600}?exit codes of the workers are \{(?P<codes>[^{}\n]{0,200}?"
            r"(?:SIG(?:SEGV|ABRT|BUS|ILL|FPE)\(-\d{1,2}\)|EXIT\(13[2-9]\))[^{}\n]{0,200})\}"
        ),
        "A worker of joblib's pool (loky) crashed (exit codes: {codes}): a fault in native code; the out-of-memory "
        "killer would have used SIGKILL.",
    ),
    Kind(
        "crash",
        pattern(r"\b[Pp]rocess (?P<rank>\d{1,6}) terminated with (?P<how>signal SIG(?:SEGV|ABRT|ILL|FPE))\b"),
        "The process {rank} that PyTorch had started crashed ({how}): a fault in native code; nothing says that memory "
        "was short.",
    ),
)
POOLS = (
    Kind(
        "unknown",
        pattern(r"\bTerminatedWorkerError: [^\0]{0,600}?exit codes of the workers are \{(?P<codes>[^{}\n]{0,200})\}"),
        "A worker of joblib's pool (loky) ended (exit codes: {codes}); the text does not say why.",
        lacks="an end",
    ),
    Kind(
        "unknown",
        pattern(
            r"\bKilledWorker: (?:Attempted to run task (?P<task>[^\n]{1,150}?) on (?P<count>\d{1,3}) different workers|"
            r"\(['\"(](?P<key>[^\n]{1,150}?)['\")]?, ?<Worker)"
        ),
        "Dask gave a task up[, {task}][, {key}], because [{count} ]workers that ran it ended one after the other, as "
        "where it needs more memory than a worker may have; the text does not say how they ended.",
        lacks="dask",
    ),
    Kind(
        "unknown",
        pattern(rf"\bWorker process (?P<process>{COUNT}) was killed by (?P<how>unknown signal|signal \d{{1,2}})\b"),
        "A worker of Dask's (pid {process}) was ended ({how}); the text does not say why.",
        lacks="dask",
    ),
)
"""Ends of which it is not said how."""
WARNED = (
    Kind(
        "warning",
        pattern(
            rf"\bWorker is at (?P<share>\d{{1,3}})% memory usage\. Pausing worker\. Process memory: (?P<is>{SIZE}) -- "
            rf"Worker memory limit: (?P<most>{SIZE})"
        ),
        "A warning of Dask: a worker uses {share}% of its memory limit, {is} of {most}, and takes no more tasks "
        "until it has less. The text does not say that anything was killed.",
        lacks="dask",
    ),
    Kind(
        "warning",
        pattern(
            r"\b(?:Unmanaged memory use is high|Memory use is high but worker has no data to store to "
            r"disk)\b[^\0]{0,400}?"
            rf"\b(?:Unmanaged|Process) memory: (?P<is>{SIZE}) -- Worker memory limit: (?P<most>{SIZE})"
        ),
        "A warning of Dask: a worker has {is}, of {most} that it may have, that Dask cannot put on disk: no results, "
        "but what the tasks or their libraries hold. The text does not say that anything was killed.",
        lacks="dask",
    ),
)
