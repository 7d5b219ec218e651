"""Where to look for recordings, and the processes that recorded there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ... import cluster
from ... import journal as contract
from ...errors import CaptureError
from ...ownership import Believed
from . import fetchable
from .digest import Digest
from .evidence import Evidence
from .filters import EVERY_CALL, Filters
from .process import RecordedProcess
from .sources import Source

__all__ = ["Place", "only_capture", "place_here", "processes", "read_digest", "read_summed"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look, and for whose recordings: nodes may share a folder, and each tells of its own."""

    source: Source
    folders: tuple[Path, ...]
    node_id: str | None = None
    """The node that looks, where the cluster was asked."""
    others: frozenset[str] = frozenset()
    """The nodes that are asked as well."""

    def is_told_here(self, recorded_on: str | None) -> bool:
        """Whether what a node recorded is told of here: its own tells, or where that is gone, any that can."""
        return recorded_on not in self.others or recorded_on == self.node_id


def place_here(living: frozenset[str]) -> Place:
    """What a node tells of when it is asked together with all that live."""
    return Place(None, tuple(fetchable.folders()), cluster.here(), living)


def read_digest(path: Path, filters: Filters = EVERY_CALL) -> Digest:
    """Read a journal; of calls, those that may fit are kept."""
    digest = Digest()
    digest.read(contract.read_lines(path, only=filters.of_begin()), filters)
    return digest


def read_summed(path: Path, filters: Filters) -> Digest:
    """Read a journal; of calls that have ended, those that may fit are summed up."""
    digest = Digest(sums={})
    digest.read(contract.read_lines(path, only=filters.of_begin()), filters)
    return digest


def processes(
    place: Place, skipped: list[str], read: Callable[[Path], Digest] = read_digest
) -> Iterator[RecordedProcess]:
    """Yield the processes by the journals of the folders, or by the one journal that the source names.

    A few words are added to `skipped` for each that cannot be read; of the one that the source names it is raised.
    """
    is_named = place.source is not None and contract.is_journal(Path(place.source).name)
    if place.source is not None and is_named:
        paths: Iterable[Path] = [Path(place.source).absolute()]
    else:
        paths = (
            folder / name
            for folder in place.folders
            for name in sorted(os.listdir(folder))
            if contract.is_journal(name)
        )
    evidence = cache(Evidence)
    known: dict[Path, Believed] = {}
    for path in paths:
        try:
            believed = known.get(path.parent) or known.setdefault(path.parent, Believed(path.parent))
            doubt = None if is_named else believed.foreign(path.lstat())
            if doubt is not None:
                skipped.append(f"{path.name} is not read: {doubt}")
                continue
            process = RecordedProcess(path, read(path), evidence, place.node_id, believed)
        except FileNotFoundError:
            continue  # removed since the folder was listed
        except OSError as error:
            if is_named:
                raise CaptureError(path, f"it cannot be read: {error.strerror}.") from None
            skipped.append(f"{path.name} cannot be read: {error.strerror}")
            continue
        if place.is_told_here(process.node_id):
            yield process


def only_capture(source: Source) -> Path | None:
    """Return the capture, where that is what the source names."""
    if source is None:
        return None
    path = Path(source).absolute()
    return path if path.is_file() and not contract.is_journal(path.name) else None
