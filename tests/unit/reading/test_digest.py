"""What a journal says is the same however many of its calls are summed up at once, and a damaged line costs itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import raymemprof
from raymemprof import journal
from raymemprof.journal import line_io
from raymemprof.reading.catalog.digest import Digest

COUNT = 300


def lines() -> list[dict[str, object]]:
    """Calls of two functions, whose peaks rise, with a sample each; every tenth has child processes."""
    found: list[dict[str, object]] = []
    for number in range(COUNT):
        ids = {"task_id": f"{number:032x}", "attempt": 0, "actor_id": None, "job_id": "01"}
        place = {"capture": f"raymemprof-step-local-0-1-{number // 100}.bin", "slot": 0, "turn": number}
        name, kind = ("load", "task") if number % 2 else ("Cache.get", "method")
        begin = {"event": "begin", "call": number, "time": 1e9 + number, "name": name, "kind": kind, "memory": 100}
        found.append({**begin, **ids, **place})
        if number % 10 == 0:
            family = {"calls": [number], "memory": 5, "total": 1000 + number, "count": 1, "largest": []}
            found.append({"event": "children", **family})
        found.append({"event": "sample", "capture": "a.bin", "mark": 1, "time": 1e9, "memory": 1, "shared": 1})
        end = {"event": "end", "call": number, "duration": 1.0, "status": "finished", "error": None}
        found.append({**end, "memory": 100 + number, "peak": 200 + number})
    return found


def written(folder: Path, texts: list[str]) -> Path:
    path = folder / "raymemprof-step-local-0-1-1.jsonl"
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def encoded(found: list[dict[str, object]]) -> list[str]:
    return [json.dumps(line, separators=(",", ":")) for line in found]


def read(path: Path) -> Digest:
    found = Digest(sums={})
    found.read(journal.read_lines(path))
    found.settle()
    return found


AT_ONCE = pytest.mark.parametrize("bytes_at_once", [100, 1500])


@AT_ONCE
def test_how_many_are_summed_up_at_once_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_at_once: int
) -> None:
    path = written(tmp_path, encoded(lines()))
    whole = read(path)
    monkeypatch.setattr(line_io, "_BLOCK", bytes_at_once)
    assert read(path) == whole


FILTERS = [
    {"name": "load"},
    {"name": "Cache.*"},
    {"name": "nothing"},
    {"kind": "method"},
    {"task_id": f"{17:032x}"},
    {"job_id": "02"},
    {"name": "load", "status": "failed"},
]


@AT_ONCE
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_those_asked_for_are_the_same_among_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: dict[str, str], bytes_at_once: int
) -> None:
    monkeypatch.setattr(line_io, "_BLOCK", bytes_at_once)
    texts = encoded(lines())
    damaged = next(number for number, text in enumerate(texts) if '"call":171,' in text)
    texts[damaged] = texts[damaged][:-9] + "}"
    texts.insert(40, '{"event":"of a newer version"}')
    texts.remove(next(text for text in texts if '"event":"end","call":201,' in text))  # it was killed
    path = written(tmp_path, texts)
    found = raymemprof.calls(path, **filters)
    assert list(found) == [
        call
        for call in raymemprof.calls(path)
        if all(
            call.name.startswith("Cache.") if value == "Cache.*" else getattr(call, key) == value
            for key, value in filters.items()
        )
    ]
    assert found.left_out == (f"{path.name}: 1 damaged line left out",)
    if not found:
        said = str(found).rpartition("there are")[2]
        assert "Cache.get" in said
        assert "load" in said


def test_of_others_only_what_tells_them_apart_is_looked_at(tmp_path: Path) -> None:
    sound, damaged = '"memory":100,"task_id"', '"memory":-1,"task_id"'
    path = written(tmp_path, [text.replace(sound, damaged) for text in encoded(lines())])
    assert not raymemprof.calls(path)
    assert raymemprof.calls(path).left_out == (f"{path.name}: {COUNT} damaged lines left out",)
    assert raymemprof.calls(path, name="load").left_out == (f"{path.name}: {COUNT // 2} damaged lines left out",)


def test_sums_are_those_of_the_calls(tmp_path: Path) -> None:
    sums = {one.name: one for one in (read(written(tmp_path, encoded(lines()))).sums or {}).values()}
    load, get = sums["load"], sums["Cache.get"]
    assert (load.count, get.count) == (COUNT // 2, COUNT // 2)
    assert load.peak == 200 + COUNT - 1
    assert get.peak == 1000 + COUNT - 10  # with its children
    assert load.kept == sum(range(1, COUNT, 2))
    assert load.growth == 100 + COUNT - 1
    assert load.highest is not None
    assert load.highest[0].call == COUNT - 1
    assert load.earliest is not None
    assert load.earliest[0].call == 1
    assert [one.count for one in load.captures.values()] == [50, 50, 50]


@pytest.mark.parametrize("value", ["", "a/b", "é", "x" * 201, "a\\u0000"])
def test_a_damaged_id_costs_its_line(tmp_path: Path, value: str) -> None:
    texts = encoded(lines())
    which = next(number for number, text in enumerate(texts) if '"call":151,' in text)
    texts[which] = texts[which].replace(f"{151:032x}", value)
    found = read(written(tmp_path, texts))
    assert found.left_out == 1
    assert sum(one.count for one in (found.sums or {}).values()) == COUNT - 1


def test_samples_are_passed_over_unless_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, encoded(lines()))
    assert not [line for line in journal.read_lines(path) if isinstance(line, journal.Sample)]
    samples = [line for line in journal.read_lines(path, with_samples=True) if isinstance(line, journal.Sample)]
    assert len(samples) == COUNT
