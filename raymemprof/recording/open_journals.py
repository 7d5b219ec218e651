"""The journals of this process: one in each folder that it records to."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import psutil

from .. import cluster
from .. import journal as contract
from ..ownership import make_folder, own_folder
from .journals import IN_LOGS, Journal
from .safety import descriptors, locks

__all__ = ["journal_for"]

_MOST_JOURNALS = 8
"""Journals that are open at once: a process that records to ever more folders must not run out of descriptors."""
_LONGEST_LOCK = 1.0
"""Seconds for which a call waits for another thread that makes a journal."""


def journal_for(directory: str | None, name: str, who: cluster.TaskIdentity) -> Journal:
    """Return this process's journal in a folder, making it, with its first line, where there is none yet."""
    ray_logs = None if directory is not None else cluster.logs_directory()
    key = directory or str(ray_logs or "")
    journal = _journals.get(key)
    if journal is not None and not journal.is_lost():
        return journal
    global _is_making
    try:
        if not _lock.acquire(timeout=_LONGEST_LOCK) or _is_making:
            raise OSError("another journal is made in the same thread")  # this is a finalizer that interrupted it
        _is_making = True
        try:
            return _made_journal(journal, key, ray_logs, directory, name, who)
        finally:
            _is_making = False
    finally:
        try:
            _lock.release()
        except RuntimeError as error:
            locks.was_not_taken(error)


def _made_journal(
    journal: Journal | None,
    key: str,
    ray_logs: Path | None,
    directory: str | None,
    name: str,
    who: cluster.TaskIdentity,
) -> Journal:
    made_meanwhile = _journals.get(key)
    if made_meanwhile is not None and made_meanwhile is not journal:
        return made_meanwhile
    descriptors.guard()
    stem = contract.file_stem(name, who.task_id, who.attempt)
    if ray_logs is not None:
        ray_logs.mkdir(parents=True, exist_ok=True)
        made = Journal(ray_logs / f"{stem}.jsonl", IN_LOGS)
    else:
        folder = own_folder() if directory is None else Path(directory)
        make_folder(folder)
        made = Journal(folder / f"{stem}.jsonl")
    try:
        made.write(_process_line())
    except BaseException:  # or every call would leave an open file behind
        made.close()
        made.path.unlink(missing_ok=True)
        raise
    _journals.pop(key, None)  # it closes when no running call has it any more
    _journals[key] = made
    while len(_journals) > _MOST_JOURNALS:
        del _journals[next(iter(_journals))]
    return made


def _process_line() -> dict[str, Any]:
    process = psutil.Process()
    who = cluster.process_identity()
    return {
        "event": "process",
        "version": contract.VERSION,
        "pid": process.pid,
        "created": process.create_time(),
        "host": socket.gethostname(),
        "machine": contract.machine(),
        "node_id": who.node_id,
        "worker_id": who.worker_id,
        "logs": str(cluster.logs_directory() or "") or None,
        "python": sys.version.split()[0],
        "ray": cluster.ray_version(),
    }


_journals: dict[str, Journal] = {}
_lock = threading.RLock()
_is_making = False


def _after_fork() -> None:
    """Give a forked child journals of its own."""
    global _is_making, _lock
    _journals.clear()
    _lock, _is_making = threading.RLock(), False


os.register_at_fork(after_in_child=_after_fork)
