"""Which folders a source stands for; and where none is named, which session is read, or why none is chosen."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ... import journal as contract
from ...cluster import local, logs_directory
from ...ownership import UntrustedError, absolute, check_own_folder, own_folder, refuse_foreign_link, user_name

__all__ = ["Folders", "SeveralClustersError", "Source", "find"]

Source = str | os.PathLike[str] | None


class Folders(NamedTuple):
    """Folders to read, and how they came to be chosen."""

    paths: list[Path]
    chosen: str = ""
    """What was chosen where no source was named, in a sentence without its full stop; empty where one was named."""


class SeveralClustersError(ValueError):
    """No source is named, and several clusters run here: which is meant is not guessed."""


def find(source: Source, only_recorded: bool = True) -> Folders:
    """Return the folders that a source stands for.

    With None that is the log folder of the node that this process is connected to. Without a connection, the folder
    that `RAYMEMPROF_DIRECTORY` names, else the cluster of this user's that runs on this machine, else what this user
    recorded to last.

    Args:
        source: a folder, or a file in one, or None.
        only_recorded: False for what is to be told of Ray's own logs: all sessions count, and only sessions do.

    Raises:
        FileNotFoundError: `source` does not exist.
        UntrustedError: the way there leads through a folder or link that somebody else may have made.
        ValueError: `source` is empty; or it is None, and several clusters run here.
    """
    if source is not None:
        return Folders(_named(source))
    connected = logs_directory()
    if connected is not None:
        return Folders([connected])
    set_by_user = os.environ.get("RAYMEMPROF_DIRECTORY")
    if set_by_user and only_recorded:
        folder = absolute(set_by_user)
        _check_way(folder)
        where = f"{folder}, which RAYMEMPROF_DIRECTORY names"
        return Folders([folder], f"Read: {where}") if folder.is_dir() else Folders([], f"There is no {where}")
    return _running(only_recorded) or _newest(only_recorded)


def _named(source: str | os.PathLike[str]) -> list[Path]:
    if not os.fspath(source):
        raise ValueError("the source is empty; give a folder that was recorded to, or a capture in one.")
    path = absolute(source)
    _check_way(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path} does not exist; give a folder that was recorded to, or a capture in one.")
    if not path.is_dir():
        return [path.parent]
    logs = path / "logs"  # of a Ray session, whose folder people name as well
    refuse_foreign_link(logs)
    return [logs if logs.is_dir() and not any(map(contract.is_journal, os.listdir(path))) else path]


def _check_way(path: Path) -> None:
    """Raise `UntrustedError` where the way to a path leads through what somebody else may have made."""
    refuse_foreign_link(path)
    path = Path(os.path.abspath(path))
    if own_folder() in (path, path.parent):
        check_own_folder()


def _running(only_recorded: bool) -> Folders | None:
    """Return what the one cluster of this user's writes to that runs here; None where none does."""
    own = [cluster for cluster in local.running() if cluster.is_own]
    meant = [cluster for cluster in own if cluster.is_at(os.environ.get("RAY_ADDRESS", ""))]
    if not own:
        return None
    if len(meant or own) > 1:
        raise SeveralClustersError(
            f"{len(own)} Ray clusters run on this machine, and none is named: {local.shown(own)}; connect to "
            "one (ray.init, or --address HOST:PORT), or name a session's folder."
        )
    (cluster,) = meant or own
    if not cluster.logs:
        return Folders([], f"The Ray cluster {cluster} runs here; connect to it: --address {cluster.address}")
    for folder in cluster.logs:
        refuse_foreign_link(folder)
    chosen = f"Read: the Ray cluster that runs here at {cluster.address}, in {', '.join(map(str, cluster.logs))}"
    if only_recorded and not any(_last_written(folder, only_recorded) for folder in cluster.logs):
        chosen += "; nothing was recorded there"
        other = _newest(only_recorded).paths
        chosen += f"; what was recorded last lies in {other[0]}" if other else ""
    return Folders(list(cluster.logs), chosen)


def _newest(only_recorded: bool) -> Folders:
    """Return where this user recorded last: in a session that has ended, or in the folder that is used without Ray."""
    notes: list[str] = []
    others: set[str] = set()
    candidates: list[Path] = []
    for logs in (path for root in local.session_roots() for path in root.glob("session_2*/logs")):
        owner = _owner(logs)
        if owner == os.geteuid():
            candidates.append(logs)
        elif owner is not None:
            others.add(user_name(owner))
    if only_recorded:
        try:
            check_own_folder()
        except UntrustedError as error:
            notes.append(str(error).rstrip("."))
        else:
            candidates.append(own_folder())
    foreign = [cluster for cluster in local.running() if not cluster.is_own]
    if foreign:
        notes.append(f"clusters of other users run here: {local.shown(foreign)}; --address asks one")
    newest = max(candidates, key=lambda folder: _last_written(folder, only_recorded), default=None)
    if newest is None or not _last_written(newest, only_recorded):
        newest, chosen = None, f"No {'recording' if only_recorded else 'session'} of yours was found on this machine"
        if others:
            chosen += f"; there are sessions of {', '.join(sorted(others))}: name one's folder to read it"
    elif newest == own_folder():
        chosen = f"Read: what was recorded last, outside Ray, in {newest}"
    else:
        last = "that was recorded to" if only_recorded else "on this machine"
        chosen = f"Read: the latest Ray session {last}, in {newest}; no cluster of yours was found running"
    return Folders([newest] if newest is not None else [], "; ".join([chosen, *notes]))


def _owner(logs: Path) -> int | None:
    """Return the user whose session a log folder is; None where it is no folder, or there by a link."""
    try:
        found = [os.lstat(path) for path in (logs.parent, logs)]
    except OSError:
        return None
    owners = {status.st_uid for status in found}
    return owners.pop() if all(stat.S_ISDIR(status.st_mode) for status in found) and len(owners) == 1 else None


def _last_written(folder: Path, only_recorded: bool) -> float:
    """When a folder was recorded to, or written to at all, last; 0 where it never was."""
    try:
        entries: Iterable[os.DirEntry[str]] = os.scandir(folder)
        return max(
            (
                entry.stat(follow_symlinks=False).st_mtime
                for entry in entries
                if contract.is_journal(entry.name) or not only_recorded
            ),
            default=0.0,
        )
    except OSError:
        return 0.0
