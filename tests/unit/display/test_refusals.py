"""What the traceback of a refusal shows: where it was asked for, and what is wrong; of a mistake of ours all."""

from __future__ import annotations

import inspect
import traceback
from pathlib import Path

import pytest

import raymemprof
from raymemprof.display.refusals import short_traceback


def frames(error: BaseException) -> list[str]:
    return [one.name for one in traceback.extract_tb(error.__traceback__)]


def test_a_refusal_shows_where_it_was_asked_for(tmp_path: Path) -> None:
    asked = (
        lambda: raymemprof.flamegraph("Cache.add"),
        lambda: raymemprof.table(raymemprof.calls(tmp_path, name="nosuch")),
        lambda: raymemprof.calls(tmp_path / "nosuch"),
        lambda: raymemprof.timeline(kind="nosuch"),
        lambda: raymemprof.profile_memory(interval_ms=0),
        lambda: raymemprof.heap([tmp_path / "nosuch.bin", tmp_path / "other.bin"]),
    )
    for ask in asked:
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            ask()
        name = inspect.currentframe().f_code.co_name  # type: ignore[union-attr]
        assert frames(caught.value) == [name, "<lambda>", "public"], caught.value
        assert caught.value.__cause__ is None


def test_all_public_functions_refuse_so() -> None:
    names = [name for name in raymemprof.__all__ if inspect.isfunction(getattr(raymemprof, name))]
    assert len(names) > 15
    assert [name for name in names if not hasattr(getattr(raymemprof, name), "__wrapped__")] == []


def test_a_mistake_keeps_its_frames() -> None:
    known: dict[str, int] = {}

    def mistaken() -> int:
        return known["missing"]

    def refuses() -> None:
        raise ValueError("of the user's code, which a recorded function calls")

    for function, error in ((mistaken, KeyError), (refuses, ValueError)):
        with pytest.raises(error) as caught:
            short_traceback(function)()
        assert frames(caught.value)[-1] == function.__name__
