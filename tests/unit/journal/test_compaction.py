"""A journal that was made small says the same of all calls together, and of those that tell something all it said."""

from __future__ import annotations

import json
import socket
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import journal as contract
from raymemprof.diagnosis.advise.growth import about_captures, growths
from raymemprof.reading.catalog.records import compacted_of

CALLS = 8_000
CAPTURE = "raymemprof-load-local-0-1-1.bin"
GONE = "raymemprof-load-local-0-1-2.bin"
PROCESS = {"event": "process", "version": 1, "pid": 1, "created": 1e9, "host": "elsewhere"}
OPEN = [{"event": "open", "capture": name, "time": 1e9, "native": False} for name in (GONE, CAPTURE)]
CLOSED = [{"event": "close", "capture": name, "time": 1e9} for name in (GONE, CAPTURE)]


def call(number: int, *, ends: bool = True, **changed: Any) -> Iterator[dict[str, Any]]:
    """A call of `load`, one a second: its process grows by a kilobyte each time, and for a while by up to 2 MB."""
    memory = 10**7 + 1000 * number
    ids = {"task_id": f"{number:048x}", "attempt": 0, "actor_id": None, "job_id": "01000000"}
    begin = {"event": "begin", "call": number, "time": 1e9 + number, "name": "load", "kind": "task", "memory": memory}
    yield {**begin, **ids, "capture": GONE, "slot": 0, "turn": number, **changed}
    if ends:
        status, error = ("failed", "ValueError: 1") if number % 1000 == 500 else ("finished", None)
        peak = memory + 1000 + number * 7919 % 2_000_000
        figures = {"memory": memory + 1000, "peak": peak, "duration": 0.25, "ray_data_peak": peak - 500}
        yield {"event": "end", "call": number, "status": status, "error": error, **figures}


def write(path: Path, lines: Iterable[dict[str, Any]], mode: str = "w") -> Path:
    with path.open(mode) as file:
        file.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    return path


def compact(path: Path, **options: Any) -> contract.Compacted:
    parts: list[bytes] = []
    before = path.read_bytes()

    def read_at(position: int) -> bytes:
        return before[position : position + 2**16]

    done = contract.compact(read_at, lambda name: (path.parent / name).exists(), parts.append, pause=int, **options)
    data = b"".join(parts)
    assert done.written == len(data)
    path.write_bytes(data)
    return done


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal of many calls, the last of which was killed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / CAPTURE).write_bytes(b"1")
    calls = [line for number in range(CALLS) for line in call(number)]
    last = call(CALLS, ends=False, capture=CAPTURE)
    peak = {"event": "peak", "calls": [CALLS], "memory": 10**9}
    return write(
        tmp_path / "here" / "raymemprof-load-local-0-1-1.jsonl", [PROCESS, *OPEN, *calls, *last, peak, *CLOSED]
    )


def figures(one: raymemprof.FunctionSummary) -> dict[str, Any]:
    """What `summary()` says, without what a listed call must be read for."""
    return {name: getattr(one, name) for name in one.__dataclass_fields__ if name != "capture_bytes"}


def test_the_sums_are_those_of_all_calls(journal: Path) -> None:
    before = raymemprof.summary(journal.parent, lines=False)
    size = journal.stat().st_size
    done = compact(journal)
    assert done.read == size
    assert done.written < 1_300 * 400 < size / 5
    after = raymemprof.summary(journal.parent, lines=False)
    assert [figures(one) for one in after] == [figures(one) for one in before]
    (load,) = after
    assert (load.call_count, load.failed_count, load.running_count) == (CALLS + 1, CALLS // 1000, 1)
    highest = max(10**7 + 1000 * number + 500 + number * 7919 % 2_000_000 for number in range(CALLS))
    assert load.ray_data_peak == highest


def test_of_calls_those_stay_that_tell_something(journal: Path) -> None:
    before = {call.started_at: call for call in raymemprof.calls(journal.parent)}
    compact(journal)
    after = raymemprof.calls(journal.parent)
    assert all(before[call.started_at] == call for call in after)
    numbers = {call.started_at.timestamp() - 1e9 for call in after}
    assert numbers >= set(range(CALLS - contract.RECENT, CALLS + 1))
    assert {call.started_at for call in before.values() if call.status == "failed"} <= {c.started_at for c in after}
    largest = sorted(before.values(), key=lambda call: -call.growth)[:20]
    assert {call.started_at for call in largest} <= {call.started_at for call in after}
    assert after[-1].status == "running"
    assert after[-1].peak_memory == 10**9
    assert len(numbers - set(range(CALLS - contract.RECENT, CALLS))) > 64
    assert max(later - earlier for earlier, later in pairwise(sorted(numbers))) < CALLS / 30


def test_what_is_not_listed_is_said(journal: Path) -> None:
    compact(journal)
    calls = raymemprof.calls(journal.parent)
    missing = CALLS + 1 - len(calls)
    assert calls.left_out == (
        f"{missing:,} earlier calls are not listed: the journal has only sums of them, which summary() counts",
    )
    assert calls.left_out[0] in repr(calls)
    assert raymemprof.calls(journal.parent, name="other").left_out == ()
    assert raymemprof.calls(journal.parent, status="killed").left_out == ()
    assert raymemprof.calls(journal.parent, status="failed").left_out == ()
    (said,) = raymemprof.calls(journal.parent, status="finished").left_out
    assert said.startswith(f"{missing:,} earlier finished calls are not listed")
    (said,) = raymemprof.calls(journal.parent, task_id="0").left_out
    assert said.startswith(f"more may be among {missing:,} earlier calls that are not listed")


def test_advice_counts_all(journal: Path) -> None:
    (before,) = raymemprof.advise(raymemprof.calls(journal.parent))
    compact(journal)
    (after,) = raymemprof.advise(raymemprof.calls(journal.parent))
    assert (after.call_count, after.peak_count) == (before.call_count, before.peak_count) == (CALLS + 1, CALLS + 1)
    assert after.p50 == pytest.approx(before.p50, rel=0.01)
    assert after.p95 == pytest.approx(before.p95, rel=0.01)
    assert after.max == pytest.approx(before.max, rel=0.01)


def test_made_small_again_it_is_the_same(journal: Path) -> None:
    compact(journal)
    data = journal.read_bytes()
    compact(journal)
    assert sorted(journal.read_bytes().splitlines()) == sorted(data.splitlines())
    write(journal, (line for number in range(CALLS + 1, 2 * CALLS + 1) for line in call(number)), "a")
    before = raymemprof.summary(journal.parent, lines=False)
    compact(journal)
    assert [figures(one) for one in raymemprof.summary(journal.parent, lines=False)] == [figures(one) for one in before]
    assert journal.stat().st_size < 1.2 * len(data)


def test_lines_of_captures_that_are_gone_go_and_others_stay(journal: Path) -> None:
    sample = {"event": "sample", "mark": 1, "time": 1e9, "memory": 1, "shared": 1}
    place = {"event": "place", "place": 0, "stack": [["load", "a.py", 1]]}
    write(journal, [{**line, "capture": name} for name in (CAPTURE, GONE) for line in (sample, place)], "a")
    compact(journal)
    found = list(contract.read_lines(journal, with_samples=True))
    named = Counter(type(line).__name__ for line in found if getattr(line, "capture", None) == CAPTURE)
    assert named == {"Open": 1, "Close": 1, "Sample": 1, "Place": 1, "Begin": 1}
    assert not [line for line in found if isinstance(line, (contract.Open, contract.Sample)) and line.capture == GONE]
    (capture,) = raymemprof.captures(journal.parent)
    assert capture.call_count == 1


def test_of_captures_that_are_there_all_calls_stay(journal: Path) -> None:
    """Reading a capture needs them, and so does whoever asks which calls are in it: to remove it, say."""
    (journal.parent / GONE).write_bytes(b"1")
    before = journal.read_bytes()
    done = compact(journal)
    assert done.held_by == {GONE, CAPTURE}
    assert journal.read_bytes() == before


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_capture_that_is_not_closed_counts_as_there(tmp_path: Path, is_closed: bool) -> None:
    """memray gives it another name for a moment."""
    lines = [line for number in range(3_000) for line in call(number)]
    path = write(tmp_path / "raymemprof-load-local-0-1-1.jsonl", [PROCESS, OPEN[0], *lines, *CLOSED[: int(is_closed)]])
    before = path.read_bytes()
    compact(path)
    assert (path.read_bytes() == before) is not is_closed
    compact(path, has_ended=True)
    assert path.read_bytes() != before


@pytest.mark.parametrize("line", ["fork", "fetched"])
def test_what_others_write_to_is_left(journal: Path, line: str) -> None:
    fork = {"capture": CAPTURE, "pid": 1, "parent": 1, "calls": [], "stack": []}
    write(
        journal,
        [{"event": line, "time": 1e9, **(fork if line == "fork" else {"status": "running", "error": None})}],
        "a",
    )
    before = journal.read_bytes()
    with pytest.raises(OSError, match="Others write"):
        compact(journal)
    assert journal.read_bytes() == before


def test_clean_with_a_filter_removes_no_capture_of_others(tmp_path: Path) -> None:
    """Nor a journal that has sums of other calls."""
    process = {**PROCESS, "host": socket.gethostname(), "pid": 2**22 + 1}
    (tmp_path / CAPTURE).write_bytes(b"1")
    others = [line for number in range(2_000) for line in call(number, name="other", capture=CAPTURE)]
    gone = [line for number in range(2_000, 5_000) for line in call(number, name="other")]
    mine = [line for number in range(5_000, 5_010) for line in call(number, capture=CAPTURE)]
    path = write(tmp_path / "raymemprof-load-local-0-1-1.jsonl", [process, *OPEN, *others, *gone, *mine, *CLOSED])
    compact(path, recent=0)
    assert len(path.read_bytes()) < 5_000 * 500
    for filters in ({"name": "load"}, {"status": "failed"}, {"task_id": f"{5_001:048x}"}):
        assert list(raymemprof.clean(tmp_path, **filters)) == []
    only_sums = write(tmp_path / "raymemprof-load-local-0-1-2.jsonl", [process, *gone, *mine[-2:]])
    compact(only_sums, recent=0)
    assert list(raymemprof.clean(tmp_path, name="load")) == []
    others = {"event": "sum", "name": "other", "kind": "task", "statuses": {"finished": 3}}
    has_others = write(tmp_path / "raymemprof-load-local-0-1-3.jsonl", [process, *mine[-2:], others])
    assert list(raymemprof.clean(tmp_path, name="load")) == []
    has_others.unlink()
    assert {file.path for file in raymemprof.clean(tmp_path, name="other")} == set()  # CAPTURE holds `load` too
    assert {file.path for file in raymemprof.clean(tmp_path, kind="task")} == {tmp_path / CAPTURE, path, only_sums}


def test_sums_of_before_are_not_counted_since(journal: Path) -> None:
    from raymemprof.reading.catalog.filters import Filters
    from raymemprof.reading.reports.summary import summary_of

    compact(journal)
    since = 1e9 + 4_000  # within an hour of which there are sums
    found = summary_of([(journal.parent, Filters(since=since))], lines=False)
    (load,) = found
    (said,) = [text for text in found.left_out if "more may be among" in text]
    uncertain = int(said.split("among ")[1].split()[0].replace(",", ""))
    assert load.call_count <= CALLS + 1 - 4_000 <= load.call_count + uncertain
    assert load.first_started_at.timestamp() >= since
    assert raymemprof.summary(journal.parent / CAPTURE, lines=False)[0].call_count == 1


def test_an_actors_peak_is_that_of_all_its_calls(tmp_path: Path) -> None:
    actor = {"name": "Cache.add", "kind": "method", "actor_id": "ab"}
    lines = [line for number in range(5_000) for line in call(number, **actor)]
    lines[2 * 1234]["memory"], lines[2 * 1234 + 1]["memory"] = 9 * 10**8, 10**7
    lines[2 * 1234 + 1]["peak"] = 9 * 10**8  # the highest, and it grew by nothing
    sums = {"first": 1e9, "last": 1e9, "statuses": {"finished": 3}, "peaks": {}, "peak": 2 * 10**9}
    path = write(tmp_path / "raymemprof-load-local-0-1-1.jsonl", [PROCESS, *lines])
    compact(path)
    (advice,) = raymemprof.advise(raymemprof.calls(tmp_path))
    assert (advice.max, advice.call_count, advice.peak_count) == (9 * 10**8, 5_000, 1)
    write(path, [{"event": "sum", "name": "Cache.get", "kind": "method", "actor_id": "ab", **sums}], "a")
    (advice,) = raymemprof.advise(raymemprof.calls(tmp_path))
    assert (advice.max, advice.call_count, advice.peak_count) == (2 * 10**9, 5_003, 1)


def test_damaged_lines_and_those_of_a_newer_version_stay(journal: Path) -> None:
    strange = [b'{"event":"new","x":1}', b'{"event":"end","call":"x"}', b"\x00\xff", b'{"event":"sum","name":7}']
    with journal.open("ab") as file:
        file.write(b"\n".join(strange) + b"\n" + b'{"event":"torn')
    compact(journal)
    kept = journal.read_bytes().splitlines()
    assert all(line in kept for line in strange)
    assert b'{"event":"torn' not in kept  # its writer goes on behind what was read
    assert any("3 damaged lines" in text for text in raymemprof.calls(journal.parent).left_out)


@pytest.mark.parametrize(
    "damaged",
    [
        {"statuses": {"eaten": 1}},
        {"statuses": {"finished": -1}},
        {"peaks": {"99999": 1}},
        {"peaks": {"x": 1}},
        {"first": -5},
        {"job_id": "../x"},
    ],
)
def test_a_damaged_sum_costs_that_line(journal: Path, damaged: dict[str, Any]) -> None:
    compact(journal)
    before = raymemprof.summary(journal.parent, lines=False)
    write(journal, [{"event": "sum", "name": "load", "kind": "task", **damaged}], "a")
    after = raymemprof.summary(journal.parent, lines=False)
    assert [figures(one) for one in after] == [figures(one) for one in before]
    assert after.left_out == (f"{journal.name}: 1 damaged line left out",)


def test_names_that_are_made_up_as_it_goes_take_no_more_room(tmp_path: Path) -> None:
    lines = [line for number in range(CALLS) for line in call(number, name=f"block {number}", kind="block")]
    path = write(tmp_path / "raymemprof-load-local-0-1-1.jsonl", [PROCESS, *lines])
    compact(path)
    assert path.stat().st_size < 2_000_000
    assert sum(one.call_count for one in raymemprof.summary(tmp_path, lines=False)) == CALLS


def test_calls_of_years_are_summed_up_by_longer_times(tmp_path: Path) -> None:
    lines = [line for number in range(CALLS) for line in call(number, time=1e9 + 3600 * number)]
    path = write(tmp_path / "raymemprof-load-local-0-1-1.jsonl", [PROCESS, *lines])
    compact(path)
    sums = [line for line in contract.read_lines(path) if isinstance(line, contract.Sum)]
    assert 10 < len(sums) < 1_000
    (load,) = raymemprof.summary(tmp_path, lines=False)
    assert (load.call_count, load.failed_count) == (CALLS, CALLS // 1000)
    assert load.last_started_at.timestamp() == 1e9 + 3600 * (CALLS - 1)


def test_what_was_told_to_end_stays(tmp_path: Path) -> None:
    """Ray's logs say later whether the memory monitor did that."""
    lines = [line for number in range(5_000) for line in call(number)]
    for line in lines[100:102]:
        line.update({"status": "failed", "error": "SystemExit: 15"} if line["event"] == "end" else {})
    failed = [{**line, "status": "failed", "error": "1"} if line["event"] == "end" else line for line in lines[400:]]
    path = write(tmp_path / "raymemprof-load-local-0-1-1.jsonl", [PROCESS, *lines[:400], *failed])
    compact(path, recent=0)
    assert "SystemExit: 15" in {call.error for call in raymemprof.calls(tmp_path)}
    (load,) = raymemprof.summary(tmp_path, lines=False)
    assert (load.call_count, load.failed_count) == (5_000, 4_801)


def test_an_actor_that_grows_is_still_found(tmp_path: Path) -> None:
    """Over all its calls, of which the listed ones are most of them the latest."""
    actor = {"name": "Cache.add", "kind": "method", "actor_id": "ab"}
    lines = [line for number in range(CALLS) for line in call(number, **actor)]
    for line in lines:
        line["memory"] = 10**8 + 10_000 * line["call"]
    path = write(tmp_path / "raymemprof-load-local-0-1-1.jsonl", [PROCESS, *lines])
    before = raymemprof.calls(tmp_path)
    compact(path)
    after = raymemprof.calls(tmp_path)
    assert len(after) < 2_000
    for calls in (before, after):
        (growth,) = growths(calls, compacted_of(calls))
        assert growth.call_count == CALLS
        assert 0.8 * 10_000 * CALLS < growth.size <= 10_000 * CALLS
    (advice,) = raymemprof.advise(after)
    assert any(f"over {CALLS:,} calls so far" in text for text in advice.warnings)
    for line in lines:
        line["memory"] = 10**8
    write(path, [PROCESS, *lines])
    compact(path)
    after = raymemprof.calls(tmp_path)
    assert not list(growths(after, compacted_of(after)))


def test_an_end_that_was_written_twice_counts_once(tmp_path: Path) -> None:
    """Its writer was interrupted after it wrote, and wrote again."""
    lines = [line for number in range(4_000) for line in call(number, capture=None, slot=None, turn=None)]
    lines = [one for line in lines for one in [line] * (2 if line["event"] == "end" and line["call"] % 2 else 1)]
    path = write(tmp_path / "raymemprof-load-local-0-1-1.jsonl", [PROCESS, *lines])
    for _ in range(2):
        compact(path)
        (load,) = raymemprof.summary(tmp_path, lines=False)
        assert (load.call_count, load.finished_count + load.failed_count) == (4_000, 4_000)
    assert path.stat().st_size < 1_300 * 400


def test_the_method_that_grows_is_named_not_the_one_called_after(tmp_path: Path) -> None:
    actor = {"kind": "method", "actor_id": "ab"}
    lines: list[dict[str, Any]] = []
    memory = 10**8
    for number in range(CALLS):
        name = "Cache.add" if number * 7919 % 10 < 4 else "Cache.get"
        begin, end = call(number, **actor, name=name, memory=memory)
        memory += 50_000 * (name == "Cache.add")
        lines += [begin, {**end, "memory": memory, "peak": memory}]
    path = write(tmp_path / "raymemprof-load-local-0-1-1.jsonl", [PROCESS, *lines])
    compact(path)
    calls = raymemprof.calls(tmp_path)
    (growth,) = growths(calls, compacted_of(calls))
    assert growth.method == "Cache.add"
    (said,) = about_captures(growth.calls, growth.compacted)
    assert f"{CALLS:,} of its {CALLS:,} calls" in said


def test_what_ran_within_others_is_no_row_of_its_own(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = []
    for number in range(0, CALLS, 2):
        outer, outer_end = call(number)
        inner, inner_end = call(number + 1, name="parse", kind="block", task_id=outer["task_id"], slot=1, within="load")
        inner["time"] = outer["time"] + 0.01
        lines += [outer, inner, {**inner_end, "duration": 0.1}, outer_end]
    path = write(tmp_path / "raymemprof-load-local-0-1-1.jsonl", [PROCESS, *lines])
    for _ in range(2):
        (advice,) = raymemprof.advise(raymemprof.calls(tmp_path))
        assert (advice.name, advice.call_count) == ("load", CALLS // 2)
        (parse,) = raymemprof.advise(raymemprof.calls(tmp_path, name="parse"))
        assert (parse.name, parse.call_count) == ("parse", CALLS // 2)
        compact(path, recent=50)


def test_a_worker_that_made_very_many_calls_is_compacted_like_others(tmp_path: Path) -> None:
    """Their numbers begin at 0 in each process and go on for as long as it lives."""
    first = 10**10
    lines = [line for number in range(2_000) for line in call(number)]
    for line in lines:
        line["call"] += first
    journal = write(tmp_path / "raymemprof-load-local-0-1-1.jsonl", [PROCESS, *lines])
    tracemalloc.start()
    compact(journal, recent=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20
    (load,) = raymemprof.summary(tmp_path, lines=False)
    assert load.call_count == 2_000


def test_the_call_that_left_most_behind_stays(tmp_path: Path) -> None:
    """Also where many others grew more, and gave it back."""
    left, mib = 777, 2**20
    lines = [PROCESS]
    for number in range(3_000):
        begin, end = call(number)
        begin["memory"] = (100 if number <= left else 500) * mib
        end["memory"] = (100 if number < left else 500) * mib
        end["peak"] = end["memory"] + (900 if number % 50 == 0 else 10) * mib
        lines += [begin, end]
    compact(write(tmp_path / "raymemprof-load-local-0-1-1.jsonl", lines), recent=10)
    assert max(one.memory_after - one.memory_before for one in raymemprof.calls(tmp_path)) == 400 * mib


def grown(folder: Path) -> tuple[str | None, str]:
    """The method in which the actor there grows, and what is said of what is in no capture."""
    calls = raymemprof.calls(folder)
    (growth,) = growths(calls, compacted_of(calls))
    (said,) = about_captures(growth.calls, growth.compacted)
    return growth.method, said


def test_where_calls_overlap_the_method_that_grows_is_named(tmp_path: Path) -> None:
    """Each of those that wait leaves more than it found: what ran beside it is not its own."""
    moments: list[tuple[float, int, str, int]] = []
    for number in range(2_500):
        moments += [(0.02 * number, 1, "A.leak", 2 * number), (0.02 * number + 0.01, 0, "A.leak", 2 * number)]
        moments += [
            (0.02 * number + 0.001, 1, "A.wait", 2 * number + 1),
            (0.02 * number + 1, 0, "A.wait", 2 * number + 1),
        ]
    memory, lines = 10**8, [PROCESS]
    for time, is_begin, name, number in sorted(moments):
        begin, end = call(number, kind="method", actor_id="ab", name=name, memory=memory)
        begin["time"] += time - number
        memory += 100_000 * (name == "A.leak" and not is_begin)
        duration = 0.01 if name == "A.leak" else 0.999
        lines.append(begin if is_begin else {**end, "memory": memory, "peak": memory, "duration": duration})
    path = write(tmp_path / "raymemprof-load-local-0-1-1.jsonl", lines)
    assert grown(tmp_path)[0] == "A.leak"
    compact(path, recent=300)
    assert grown(tmp_path)[0] == "A.leak"


def test_what_was_never_traced_is_not_said_to_have_been_removed(tmp_path: Path) -> None:
    memory, lines = 10**8, [PROCESS]
    for number in range(CALLS):
        traced = (
            {}
            if number % 10 == 0
            else {"note": "one call in 10 is traced (every=10)", "slot": None, "turn": None, "capture": None}
        )
        begin, end = call(number, kind="method", actor_id="ab", name="A.add", memory=memory, **traced)
        memory += 20_000
        lines += [begin, {**end, "status": "finished", "error": None, "memory": memory, "peak": memory}]
    path = write(tmp_path / "raymemprof-load-local-0-1-1.jsonl", lines)
    before = grown(tmp_path)
    compact(path)
    assert grown(tmp_path) == before
    assert "(one call in 10 is traced (every=10))" in before[1]


def test_what_ran_within_a_call_that_was_not_asked_for_has_its_row(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [PROCESS]
    for number in range(0, CALLS, 4):
        outer, outer_end = call(number, name="step")
        inner, inner_end = call(number + 1, name="load_part", task_id=outer["task_id"], slot=1, within="step")
        inner["time"] = outer["time"] + 0.01
        lines += [outer, inner, {**inner_end, "duration": 0.1}, outer_end, *call(number + 2, name="load_all")]
    path = write(tmp_path / "raymemprof-load-local-0-1-1.jsonl", lines)
    for _ in range(2):
        advised = raymemprof.advise(raymemprof.calls(tmp_path, name="load*"))
        assert {(one.name, one.call_count) for one in advised} == {("load_part", CALLS // 4), ("load_all", CALLS // 4)}
        assert {one.name for one in raymemprof.advise(raymemprof.calls(tmp_path))} == {"step", "load_all"}
        compact(path, recent=50)
