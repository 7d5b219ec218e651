"""What is to be said below a table of advice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...reading.catalog.records import RAY_DATA_SAYS
from .ray_data import about_operator
from .unrecorded import SEEN
from .workloads import RAY_DATA, workload_of

if TYPE_CHECKING:
    from .advise import Recommendation

__all__ = ["remarks"]

_MOST_NAMED = 5
"""Names in one sentence."""


def remarks(shown: Iterable[Recommendation]) -> list[str]:
    """Return what is to be said of some rows of a table, in sentences that begin with their names."""
    shown = list(shown)
    seen = [one.name for one in shown if SEEN in one.warnings]
    some = ", ".join([*seen[:_MOST_NAMED], *(["…"] if len(seen) > _MOST_NAMED else [])])
    found = [f"{some}: {SEEN}"] if seen else []
    for one in shown:
        found += [f"{one.name}: {text}" for text in one.warnings if text != SEEN]
        if _is_ray_datas(one):
            found += [f"{one.name}: {text}" for text in about_operator(one.name, one.memory)]
    return found + ([RAY_DATA_SAYS] if any(one.ray_data_peak is not None for one in shown) else [])


def _is_ray_datas(one: Recommendation) -> bool:
    return one.ray_data_peak is not None or workload_of(one.name).kind == RAY_DATA
