"""Captures and journals that an earlier version recorded are read as that version read them."""

from __future__ import annotations

import json
from pathlib import Path

import raymemprof
from tests.paths import DATA

RECORDED = DATA / "recorded-0.1.0"


def test_every_call_is_listed_and_holds_what_it_held() -> None:
    expected = json.loads((RECORDED / "expected.json").read_text())
    calls = sorted(raymemprof.calls(RECORDED), key=lambda call: call.started_at)
    assert len(calls) == len(expected) == 20
    for call, row in zip(calls, expected, strict=True):
        assert {key: getattr(call, key) for key in ("name", "kind", "status", "peak_memory", "error")} == {
            key: row[key] for key in ("name", "kind", "status", "peak_memory", "error")
        }
        assert (call.capture is not None) == ("peak" in row), call.name
        assert call.growth == row["peak_memory"] - call.memory_before
        if call.capture is not None:
            heap = raymemprof.heap(call)
            assert {key: getattr(heap, key) for key in ("peak", "alive_at_end", "allocations")} == {
                key: row[key] for key in ("peak", "alive_at_end", "allocations")
            }, call.name
            assert [[line.function, line.line, line.bytes] for line in heap.top(1)] == row["top"], call.name


def test_whole_captures_and_the_fork_s(tmp_path: Path) -> None:
    captures = raymemprof.captures(RECORDED)
    assert len(captures) == len(list(RECORDED.glob("*.bin*")))
    for capture in captures:
        assert raymemprof.heap(capture).allocations > 0
    report = raymemprof.flamegraph(raymemprof.calls(RECORDED), tmp_path / "all.html")
    assert "load" in report.path.read_text()
