"""What is read back: calls and captures found and filtered, what they allocated, and reports of it."""

from __future__ import annotations

import dataclasses
import html
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import profile_memory

MIB = 2**20

RECORD = """
import os, signal, sys
from raymemprof import profile_memory

@profile_memory(directory=sys.argv[1])
class Store:
    def __init__(self, size):
        self.kept = bytearray(size)
    def add(self, size):
        self.kept += bytearray(size)
        return len(self.kept)

@profile_memory(directory=sys.argv[1])
def load(size):
    return bytearray(size)

@profile_memory(directory=sys.argv[1], heap=False)
def sampled():
    return 1

@profile_memory(directory=sys.argv[1])
def fails():
    raise ValueError("no <b>luck</b>")

@profile_memory(directory=sys.argv[1])
def hangs():
    kept = bytearray(4 << 20)
    print("hangs", flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)

load(1 << 20)
load(2 << 20)
sampled()
store = Store(3 << 20)
store.add(1 << 20)
with profile_memory("<script>alert(1)</script>", directory=sys.argv[1]):
    block = bytearray(1 << 20)
try:
    fails()
except ValueError:
    hangs()
"""
NAMES = ["load", "load", "sampled", "Store.__init__", "Store.add", "<script>alert(1)</script>", "fails", "hangs"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process left that was killed in its last call: all on one capture."""
    folder = tmp_path_factory.mktemp("recorded")
    done = subprocess.run([sys.executable, "-c", RECORD, folder], stdin=subprocess.DEVNULL)
    assert done.returncode == -signal.SIGKILL
    return folder


@pytest.fixture
def big(folder: Path) -> raymemprof.Call:
    """A call that returned 2 MiB."""
    return raymemprof.calls(folder, name="load")[1]


@pytest.mark.versions
def test_calls_in_order_with_their_outcome(folder: Path) -> None:
    calls = raymemprof.calls(folder)
    assert [call.name for call in calls] == NAMES
    assert [call.status for call in calls] == ["finished"] * 6 + ["failed", "killed"]
    kinds = ["task", "task", "task", "actor", "method", "block", "task", "task"]
    assert [call.kind for call in calls] == kinds
    assert calls[6].error == "ValueError: no <b>luck</b>"
    assert len({call.pid for call in calls}) == 1
    killed = calls[-1]
    assert (killed.duration, killed.memory_after, killed.task_id) == (None, None, None)
    now = datetime.now(timezone.utc)
    for call in calls:
        assert 0 <= (now - call.started_at).total_seconds() < 600
        assert MIB < call.memory_before <= call.peak_memory
    assert all(0 <= call.duration < 60 for call in calls[:-1])


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"name": "load"}, ["load", "load"]),
        ({"name": "add"}, ["Store.add"]),
        ({"name": "Store.add"}, ["Store.add"]),
        ({"name": "Store.*"}, ["Store.__init__", "Store.add"]),
        ({"name": "*a?"}, ["load", "load"]),
        ({"name": "[hf]a*"}, ["fails", "hangs"]),
        ({"name": "ad"}, []),
        ({"name": ""}, []),
        ({"status": "killed"}, ["hangs"]),
        ({"status": "failed"}, ["fails"]),
        ({"status": "running"}, []),
        ({"kind": "actor"}, ["Store.__init__"]),
        ({"kind": "block"}, ["<script>alert(1)</script>"]),
        ({"kind": "task", "status": "finished"}, ["load", "load", "sampled"]),
        ({"task_id": "ab"}, []),
        ({"actor_id": "ab", "name": "load"}, []),
    ],
    ids=str,
)
def test_filters(filters: dict[str, str], names: list[str], folder: Path) -> None:
    assert [call.name for call in raymemprof.calls(folder, **filters)] == names
    assert len(raymemprof.captures(folder, **filters)) == (1 if set(names) - {"sampled"} else 0)


def test_filters_that_cannot_be(folder: Path) -> None:
    for read in (raymemprof.calls, raymemprof.captures):
        with pytest.raises(ValueError, match="status='dead' is none of running, finished"):
            read(folder, status="dead")
        with pytest.raises(ValueError, match="kind='thread'"):
            read(folder, kind="thread")
        with pytest.raises(TypeError):
            read(folder, color="red")


def test_sources(folder: Path) -> None:
    (capture,) = raymemprof.captures(folder)
    (journal,) = folder.glob("*.jsonl")
    assert raymemprof.calls(str(folder)) == raymemprof.calls(folder)
    assert raymemprof.calls(journal) == raymemprof.calls(folder)
    assert raymemprof.captures(journal) == [capture]
    traced = [call for call in raymemprof.calls(folder) if call.capture]
    assert [call.name for call in traced] == [name for name in NAMES if name != "sampled"]
    assert raymemprof.calls(capture) == traced
    assert raymemprof.captures(capture.path) == [capture]
    assert (capture.status, capture.call_count, capture.pid) == ("killed", 7, traced[0].pid)
    assert capture.size == capture.path.stat().st_size
    assert os.fspath(capture) == str(capture.path)
    for read in (raymemprof.calls, raymemprof.captures):
        with pytest.raises(FileNotFoundError, match="missing"):
            read(folder / "missing")


def test_an_empty_folder(tmp_path: Path) -> None:
    calls = raymemprof.calls(tmp_path)
    assert (len(calls), list(calls), calls.to_json()) == (0, [], "[]")
    assert repr(calls).startswith("No calls.")
    assert repr(raymemprof.captures(tmp_path)).startswith("No captures.")


def test_a_folder_of_two_processes(folder: Path, tmp_path: Path) -> None:
    @profile_memory(directory=tmp_path, linger=0)
    def mine() -> None:
        pass

    mine()
    for path in folder.iterdir():
        shutil.copy(path, tmp_path)
    *names, last = [call.name for call in raymemprof.calls(tmp_path)]
    assert names == NAMES
    assert last.endswith(".mine")
    assert len(raymemprof.captures(tmp_path)) == 2


def test_ids_of_tasks_and_actors(cluster: Path) -> None:
    import ray

    @ray.remote
    @profile_memory
    def task() -> str:
        return ray.get_runtime_context().get_task_id()

    @ray.remote
    @profile_memory
    class Actor:
        def method(self) -> tuple[str, str]:
            context = ray.get_runtime_context()
            return context.get_actor_id(), context.get_node_id()

    task_ids = ray.get([task.remote() for _ in range(3)])
    actor = Actor.remote()
    actor_id, node_id = ray.get(actor.method.remote())
    assert raymemprof.calls() == raymemprof.calls(cluster)  # None is the cluster this process is connected to
    assert {call.task_id for call in raymemprof.calls(kind="task")} == set(task_ids)
    for task_id in task_ids:
        (call,) = raymemprof.calls(task_id=task_id[:24])
        assert (call.task_id, call.attempt, call.actor_id) == (task_id, 0, None)
        (capture,) = raymemprof.captures(task_id=task_id)
        assert capture.path == call.capture
    assert [call.kind for call in raymemprof.calls(actor_id=actor_id[:10])][-1] == "method"
    job_id = ray.get_runtime_context().get_job_id()
    assert len(raymemprof.calls(job_id=job_id, node_id=node_id)) == len(raymemprof.calls())
    assert len(raymemprof.calls(job_id="ffffffff")) == len(raymemprof.calls(node_id="x")) == 0


def test_no_source_and_no_cluster_is_what_was_recorded_last(folder: Path, tmp_path: Path, run_script: Any) -> None:
    latest = tmp_path / "latest"
    shutil.copytree(folder, latest)
    later = time.time() + 3600  # other sessions of this machine may be recorded to right now
    for path in latest.iterdir():
        os.utime(path, (later, later))
    code = "import raymemprof; print([call.name for call in raymemprof.calls()]); print(raymemprof.calls())"
    names, *table = run_script(code, RAYMEMPROF_DIRECTORY=str(latest)).splitlines()
    assert names == str(NAMES)
    assert str(latest) in "".join(table)


def test_a_table_in_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = repr(raymemprof.calls(folder))
    assert text.splitlines()[0].startswith("8 calls")
    for word in ("Store.add", "killed", "MiB", "heap tracing is off", str(folder)):
        assert word in text
    assert max(map(len, text.splitlines())) <= 200
    assert "1 capture " in repr(raymemprof.captures(folder))
    assert "hangs" in repr(raymemprof.calls(folder)[-1])


def test_a_table_in_a_notebook_escapes_what_users_name(folder: Path) -> None:
    page = raymemprof.calls(folder)._repr_html_()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "no &lt;b&gt;luck" in page
    block = raymemprof.calls(folder, kind="block")[0]
    for shown in (raymemprof.heap(block), raymemprof.heap(block).top(3), raymemprof.captures(folder)):
        assert "<script>alert" not in shown._repr_html_()
    report = raymemprof.flamegraph(block)
    assert "<script>alert(1)</script>" not in report.path.read_text()
    assert "<script>alert(1)</script>" not in report._repr_html_()


def test_a_long_table_says_what_it_leaves_out(folder: Path) -> None:
    calls = raymemprof.Calls(list(raymemprof.calls(folder)) * 10)
    assert len(calls) == 80
    assert "… and 20 earlier ones, not shown" in repr(calls)
    assert "… and 20 earlier ones, not shown" in calls._repr_html_()


def test_rows_are_a_sequence(folder: Path) -> None:
    calls = raymemprof.calls(folder)
    for part in (calls[:2], calls[::-1], calls[100:]):
        assert type(part) is raymemprof.Calls
    assert type(raymemprof.captures(folder)[:1]) is raymemprof.Captures
    assert calls[:2] == list(calls)[:2]
    assert calls[-1].name == "hangs"
    assert calls[0] in calls
    assert [call.name for call in reversed(calls)] == NAMES[::-1]
    with pytest.raises(IndexError):
        calls[8]
    with pytest.raises(dataclasses.FrozenInstanceError):
        calls[0].name = "other"


def test_pandas(folder: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = raymemprof.calls(folder).to_pandas()
    assert list(frame["name"]) == NAMES
    assert pandas.api.types.is_datetime64_any_dtype(frame["started_at"])
    assert str(frame["started_at"].dt.tz) == "UTC"
    for column in ("memory_before", "peak_memory", "pid"):
        assert pandas.api.types.is_integer_dtype(frame[column])
    assert pandas.api.types.is_float_dtype(frame["duration"])
    assert frame["duration"].isna().sum() == 1
    assert isinstance(frame["capture"][0], str)
    assert frame["peak_memory"].max() == max(call.peak_memory for call in raymemprof.calls(folder))
    assert (frame["growth"] == frame["peak_memory"] - frame["memory_before"]).all()
    assert raymemprof.captures(folder).to_pandas()["call_count"][0] == 7
    assert len(raymemprof.calls(folder, name="none").to_pandas()) == 0


def test_json(folder: Path) -> None:
    rows = json.loads(raymemprof.calls(folder).to_json())
    assert [row["name"] for row in rows] == NAMES
    assert datetime.fromisoformat(rows[0]["started_at"]).tzinfo is not None
    assert rows[0]["capture"] == str(raymemprof.calls(folder)[0].capture)
    assert all(row["growth"] == row["peak_memory"] - row["memory_before"] for row in rows)
    assert json.loads(raymemprof.captures(folder).to_json())[0]["status"] == "killed"


def test_a_pid_that_is_another_process_by_now(folder: Path, tmp_path: Path) -> None:
    (journal,) = folder.glob("*.jsonl")
    first, *rest = journal.read_text().splitlines()
    process = json.loads(first)
    import psutil

    created = psutil.Process().create_time()
    for started, status in ((created, "running"), (created - 1000, "killed")):
        line = json.dumps(process | {"pid": os.getpid(), "created": started})
        (tmp_path / journal.name).write_text("\n".join([line, *rest, ""]))
        assert raymemprof.calls(tmp_path)[-1].status == status


def test_a_call_that_runs(tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", RECORD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "hangs\n"
        call = raymemprof.calls(tmp_path)[-1]
        assert (call.name, call.status, call.duration) == ("hangs", "running", None)
        assert raymemprof.captures(tmp_path)[0].status == "open"
        earlier = raymemprof.calls(tmp_path, name="load")[1]
        assert 2 * MIB <= raymemprof.heap(earlier).peak < 2.1 * MIB  # while the capture is open
    finally:
        process.communicate("")
    assert process.returncode == -signal.SIGKILL
    call = raymemprof.calls(tmp_path)[-1]
    assert call.status == "killed"
    assert 4 * MIB <= raymemprof.heap(call).alive_at_end < 4.1 * MIB


def test_a_thousand_journals(folder: Path, tmp_path: Path) -> None:
    (journal,) = folder.glob("*.jsonl")
    text = journal.read_text()
    for number in range(1000):
        (tmp_path / f"raymemprof-x-local-0-{number}-{number}.jsonl").write_text(text)
    started = time.monotonic()
    assert len(raymemprof.calls(tmp_path)) == 8000
    assert time.monotonic() - started < 20  # seconds, on a busy machine; the benchmarks measure


def test_a_call_in_the_capture_of_another_folder(tmp_path: Path) -> None:
    """A process has one capture at a time: a call that records elsewhere joins it, and is found where it recorded."""
    with (
        profile_memory("outer", directory=tmp_path / "one", linger=0),
        profile_memory("inner", directory=tmp_path / "two"),
    ):
        kept = bytearray(3 * MIB)
    (outer,), inners = raymemprof.calls(tmp_path / "one"), raymemprof.calls(tmp_path / "two")
    assert ([call.name for call in inners], inners.left_out) == (["inner"], ())
    assert inners[0].capture == outer.capture
    assert len(kept) <= raymemprof.heap(inners[0]).peak < 3.5 * MIB


def test_heap_of_a_call(folder: Path, big: raymemprof.Call) -> None:
    found = raymemprof.heap(big)
    assert 2 * MIB <= found.peak < 2.1 * MIB
    assert 2 * MIB <= found.alive_at_end < 2.1 * MIB  # what it returned
    assert found.call_count == 1
    (line,) = found.top(1)
    assert (line.function, line.line) == ("load", 15)
    assert line.bytes >= 2 * MIB
    assert raymemprof.heap(raymemprof.calls(folder, name="fails")[0]).peak < MIB


def test_heap_of_a_capture_a_path_and_several(folder: Path, big: raymemprof.Call) -> None:
    (capture,) = raymemprof.captures(folder)
    whole = raymemprof.heap(capture)
    assert raymemprof.heap(capture.path) == raymemprof.heap(str(capture.path)) == whole
    assert whole.peak >= 8 * MIB  # the store, the block and the hanging call's, held together
    loads = raymemprof.calls(folder, name="load")
    both = raymemprof.heap(loads)
    assert both.call_count == 2
    assert both.peak == sum(raymemprof.heap(call).peak for call in loads)
    assert both.top(1)[0].bytes >= 3 * MIB
    assert raymemprof.heap(iter([big])).peak == raymemprof.heap(big).peak
    assert raymemprof.heap([capture]).peak == whole.peak


def test_what_cannot_be_read_is_refused(folder: Path, tmp_path: Path) -> None:
    (sampled,) = raymemprof.calls(folder, name="sampled")
    (journal,) = folder.glob("*.jsonl")
    (tmp_path / "text.bin").write_text("no capture")
    (tmp_path / "empty.bin").write_text("")
    for read in (raymemprof.heap, raymemprof.flamegraph, raymemprof.table, raymemprof.speedscope):
        with pytest.raises(raymemprof.CaptureError, match="heap tracing is off"):
            read(sampled)
        with pytest.raises(raymemprof.CaptureError, match="journal"):
            read(journal)
        with pytest.raises(raymemprof.CaptureError, match=r"text\.bin"):
            read(tmp_path / "text.bin")
        with pytest.raises(raymemprof.CaptureError, match="empty"):
            read(tmp_path / "empty.bin")
        for nothing in ([], [sampled]):
            with pytest.raises(ValueError, match=r"nothing to read|has a capture"):
                read(nothing)
        with pytest.raises(
            ValueError,
            match=rf"nothing to read: no call, no capture \(in {folder}: no call fits name='none'; there are calls of ",
        ):
            read(raymemprof.calls(folder, name="none"))
        with pytest.raises(FileNotFoundError, match=r"give calls\(name='Cache.add'\)"):
            read("Cache.add")
        with pytest.raises(ValueError, match="folder"):
            read(folder)
        with pytest.raises(FileNotFoundError):
            read(folder / "missing.bin")
        with pytest.raises(TypeError):
            read(5)
        with pytest.raises(TypeError):
            read([None])
    assert list(tmp_path.glob("raymemprof-*")) == []


def test_a_capture_that_breaks_off_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    with profile_memory("load", directory=tmp_path / "recorded", linger=0):
        kept = [bytearray(size) for size in range(1_000, 40_000)]
    del kept
    call = raymemprof.calls(tmp_path / "recorded")[0]
    whole = call.capture.read_bytes()
    while raymemprof.captures(tmp_path / "recorded")[0].status != "closed":
        time.sleep(0.05)
    whole = call.capture.read_bytes()
    journal = next((tmp_path / "recorded").glob("*.jsonl"))
    for size in (len(whole), len(whole) - 1, len(whole) - 5, len(whole) * 2 // 3, 40):
        copy = tmp_path / f"copy{size}.bin"
        copy.write_bytes(whole[:size])
        try:
            said = " ".join(raymemprof.table(copy).left_out)
            assert ("(not complete)" in raymemprof.flamegraph(copy).title) == bool(said)
        except raymemprof.CaptureError as error:
            said = error.reason
        assert ("breaks off before its end" in said) == (size < len(whole)), (size, said)
        if size < len(whole):  # and where there is a journal, its checksum tells
            moved = tmp_path / str(size)
            moved.mkdir()
            shutil.copy(journal, moved)
            (moved / call.capture.name).write_bytes(whole[:size])
            with pytest.raises(raymemprof.CaptureError, match="its checksum is not the one in its journal"):
                raymemprof.flamegraph(raymemprof.calls(moved))


def test_errors_are_sentences_of_their_own(
    tmp_path: Path, big: raymemprof.Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.bin").write_text("no capture\n" * 100)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(raymemprof.CaptureError, match="it is no capture that memray wrote") as caught:
        raymemprof.flamegraph("text.bin")
    assert "iostream" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"does not exist; raymemprof.captures\(\) lists"):
        raymemprof.flamegraph("nosuch.bin")
    with pytest.raises(FileNotFoundError, match=r"give calls\(name='Cache.add'\)"):
        raymemprof.flamegraph("Cache.add")
    report = raymemprof.flamegraph(big)
    assert str(report) == repr(report) == f"Flame graph in {report.path}: load, 2.0 MiB"


def test_what_was_sought_is_said_where_nothing_fits(tmp_path: Path) -> None:
    for label in [*(f"In [{number}], line 1" for number in range(12)), "train", "zeal", "load_shard"]:
        with profile_memory(label, directory=tmp_path, heap=False):
            pass
    sought = "no call fits name='Pipeline.load_shards', kind='block'; there are calls of load_shard, train, zeal, In "
    found = raymemprof.calls(tmp_path, name="Pipeline.load_shards", kind="block")
    assert sought in " ".join(repr(found).split())
    assert sought in " ".join(repr(raymemprof.summary(tmp_path, name="Pipeline.load_shards", kind="block")).split())
    for show in (raymemprof.flamegraph, raymemprof.table, raymemprof.heap, raymemprof.timeline):
        with pytest.raises(ValueError, match=re.escape(sought)):
            show(found)
    with pytest.raises(ValueError, match=re.escape(sought)):
        raymemprof.timeline(tmp_path, name="Pipeline.load_shards", kind="block")
    with pytest.raises(ValueError, match=re.escape("no call fits name='nosuch'")):
        raymemprof.flamegraph(raymemprof.captures(tmp_path, name="nosuch"))
    with pytest.raises(IndexError, match=re.escape(f"-1: No captures (in {tmp_path}: no call fits name='nosuch'")):
        raymemprof.captures(tmp_path, name="nosuch")[-1]
    with pytest.raises(IndexError, match=rf"there is no row 99: \d+ calls \(in {tmp_path}\)\."):
        raymemprof.calls(tmp_path)[99]


def test_of_many_what_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    loads = raymemprof.calls(folder, name="load")
    (tmp_path / "text.bin").write_text("no capture")
    (tmp_path / "empty.bin").write_text("")
    several = raymemprof.heap([*loads, tmp_path / "text.bin", tmp_path / "empty.bin"])
    assert several.peak == raymemprof.heap(loads).peak
    assert several.call_count == len(loads) == several.by_name[0].call_count
    assert several.by_name[0].mean == round(several.peak / len(loads))
    assert [line.mean for line in several.top()] == [round(line.bytes / len(loads)) for line in several.top()]
    of_two = raymemprof.heap(raymemprof.calls(folder, status="finished"))
    assert len(of_two.by_name) > 1
    assert {line.mean for line in of_two.top()} == {None}  # of which function's calls would it be?
    assert "a call" not in repr(of_two.top())
    for lines in ("3", -1, True):
        with pytest.raises(ValueError, match="number of lines"):
            of_two.top(lines)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="task_id=5 must be text"):
        raymemprof.calls(folder, task_id=5)  # type: ignore[arg-type]
    assert sorted(Path(text.partition(":")[0]).name for text in several.left_out) == ["empty.bin", "text.bin"]
    assert all(text in several.summary for text in several.left_out)
    report = raymemprof.flamegraph([*loads, tmp_path / "text.bin"])
    assert len(report.left_out) == 1
    assert report.title.endswith("(not complete)")
    assert html.escape(report.left_out[0]) in report._repr_html_()
    with pytest.raises(raymemprof.CaptureError, match=r"text\.bin|empty\.bin"):
        raymemprof.heap([tmp_path / "text.bin", tmp_path / "empty.bin"])


def test_of_many_what_was_not_traced_is_named(folder: Path) -> None:
    calls = raymemprof.calls(folder, kind="task", status="finished")
    several = raymemprof.heap(calls)
    assert several.call_count == 2
    assert several.left_out == ("1 call of sampled has no capture: heap tracing is off (heap=False).",)
    with pytest.raises(ValueError, match="none of the 1 calls has a capture: heap tracing is off"):
        raymemprof.heap(raymemprof.calls(folder, name="sampled"))


def test_a_call_that_was_listed_twice_counts_once(big: raymemprof.Call) -> None:
    """As where it ran yet when it was listed first."""
    before = dataclasses.replace(big, status="running", duration=None, memory_after=None)
    once, twice = raymemprof.heap(big), raymemprof.heap([before, big, big])
    assert (twice.call_count, twice.peak, twice.top(1)) == (1, once.peak, once.top(1))


def test_names_that_a_terminal_obeys_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    name = "x\x1b]0;owned\x07\nload: peak 1 B, 2 B alive at the end"
    with profile_memory(name, directory=tmp_path):
        kept = bytearray(MIB)
    calls = raymemprof.calls(tmp_path)
    assert calls[0].name == name
    assert len(kept) == MIB
    heap = raymemprof.heap(calls)
    shown = [repr(heap), repr(calls), repr(raymemprof.calls(tmp_path, name="other")), str(raymemprof.advise(calls))]
    assert all("owned" in text for text in shown)
    assert not any(character in text for text in shown for character in "\x1b\x07")
    assert len(heap.summary.splitlines()) == 1


def test_a_capture_that_is_gone(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    stale = raymemprof.calls(copy, name="load")[0]
    raymemprof.captures(copy)[0].path.unlink()
    call = raymemprof.calls(copy, name="load")[0]
    assert (call.status, call.capture) == ("finished", None)
    with pytest.raises(raymemprof.CaptureError, match="gone"):
        raymemprof.heap(call)
    with pytest.raises(raymemprof.CaptureError, match="cannot be read"):
        raymemprof.heap(stale)


FOREIGN = """
import memray, sys
options = {"file_format": getattr(memray.FileFormat, sys.argv[2])}
with memray.Tracker(destination=memray.FileDestination(sys.argv[1]), **options):
    def load():
        return bytearray(5 << 20)
    def drop():
        return len(bytearray(9 << 20))
    drop()
    kept = load()
"""


@pytest.mark.parametrize("file_format", ["ALL_ALLOCATIONS", "AGGREGATED_ALLOCATIONS"])
@pytest.mark.parametrize("name", ["foreign.bin", "raymemprof-foreign.bin"])
def test_a_capture_of_memrays_own(file_format: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    subprocess.run([sys.executable, "-c", FOREIGN, path, file_format], check=True)
    found = raymemprof.heap(path)
    assert 9 * MIB <= found.peak < 10 * MIB
    assert found.top(1)[0].function == "drop"
    report = raymemprof.flamegraph(path)
    assert "drop" in report.path.read_text()
    assert re.fullmatch(rf"{name}, 9\.\d MiB", report.title), (
        "it may be of any program: its file is what a person knows"
    )
    assert re.fullmatch(rf"{name} \(-c .*\)", found.title)
    leaks = raymemprof.table(path, view="leaks").path.read_text()
    assert "load" in leaks
    for options in ({"temporal": True}, {"view": "temporary"}):
        if file_format == "ALL_ALLOCATIONS":
            assert "drop" in raymemprof.flamegraph(path, **options).path.read_text()
        else:  # memray has not kept what that takes
            with pytest.raises(raymemprof.CaptureError, match="aggregated"):
                raymemprof.flamegraph(path, **options)


def test_captures_have_the_names_of_their_actors(tmp_path: Path) -> None:
    for program in (KEEPS, KEEPS):
        subprocess.run([sys.executable, "-c", program, tmp_path], check=True)
    found = raymemprof.captures(tmp_path)
    titles = [raymemprof.heap(one).title for one in (found[0], found)]
    assert titles == [f"actor Keeper, process {found[0].pid} ({found[0].path.name})", "2 captures: actor Keeper"]
    shown = [raymemprof.table(one, tmp_path / "a.html", overwrite=True).title for one in (found[0], found)]
    assert re.fullmatch(rf"actor Keeper, process {found[0].pid}, 5\.\d MiB", shown[0])
    assert re.fullmatch(r"actor Keeper, 2 captures, 5\.\d MiB each", shown[1])


KEEPS = """
import raymemprof, sys
@raymemprof.profile_memory(directory=sys.argv[1])
class Keeper:
    def __init__(self):
        self.kept = bytearray(5 << 20)
kept = Keeper()
"""


def test_a_capture_that_was_renamed(folder: Path, tmp_path: Path) -> None:
    (capture,) = raymemprof.captures(folder)
    renamed = shutil.copy(capture, tmp_path / "renamed")
    original, found = raymemprof.heap(capture), raymemprof.heap(renamed)
    assert (found.peak, found.alive_at_end, found.allocations) == (
        original.peak,
        original.alive_at_end,
        original.allocations,
    )
    assert found.top(100) == original.top(100)


@pytest.fixture
def views(tmp_path: Path) -> raymemprof.Call:
    """A call that keeps 3 MiB, held 11 MiB at its peak, and took 5 MiB for a moment four times after that."""

    @profile_memory(directory=tmp_path / "views", linger=0)
    def work() -> bytearray:
        def keep() -> bytearray:
            return bytearray(3 * MIB)

        def hold() -> list[bytearray]:
            return [bytearray(MIB) for _ in range(8)]

        def drop() -> None:
            bytearray(5 * MIB)

        kept = keep()
        held = hold()
        held.clear()
        for _ in range(4):
            drop()
        return kept

    assert len(work()) == 3 * MIB
    return raymemprof.calls(tmp_path / "views")[0]


def held_by(call: raymemprof.Call, view: str) -> dict[str, int]:
    """Bytes by function, as the speedscope file of a view has them."""
    document = json.loads(raymemprof.speedscope(call, view=view).path.read_text())
    frames = [frame["name"] for frame in document["shared"]["frames"]]
    (profile,) = (p for p in document["profiles"] if p["unit"] == "bytes")
    held: dict[str, int] = {}
    for stack, weight in zip(profile["samples"], profile["weights"], strict=True):
        for name in {frames[index].split(".")[-1] for index in stack}:
            held[name] = held.get(name, 0) + weight
    return held


def test_views(views: raymemprof.Call) -> None:
    found = raymemprof.heap(views)
    assert 11 * MIB <= found.peak < 11.2 * MIB
    assert 3 * MIB <= found.alive_at_end < 3.2 * MIB

    peak = held_by(views, "peak")
    assert peak["keep"] >= 3 * MIB
    assert peak["hold"] >= 8 * MIB
    assert "drop" not in peak
    leaks = held_by(views, "leaks")
    assert 3 * MIB <= leaks["keep"] < 3.2 * MIB
    assert "drop" not in leaks
    assert leaks.get("hold", 0) < MIB
    temporary = held_by(views, "temporary")
    assert 20 * MIB <= temporary["drop"] < 20.2 * MIB
    assert temporary.get("keep", 0) < MIB

    with pytest.raises(ValueError, match="view='hour' is none of peak, leaks, temporary"):
        raymemprof.table(views, view="hour")


def test_temporal_flamegraphs(views: raymemprof.Call, folder: Path) -> None:
    for view in ("peak", "leaks"):
        report = raymemprof.flamegraph(views, view=view, temporal=True)
        page = report.path.read_text()
        assert page.rstrip().endswith("</html>")
        assert "keep" in page
    with pytest.raises(ValueError, match="temporary"):
        raymemprof.flamegraph(views, view="temporary", temporal=True)
    with pytest.raises(ValueError, match="single"):
        raymemprof.flamegraph(raymemprof.calls(folder, name="load"), temporal=True)


class References(HTMLParser):
    """Collects what a page would fetch as it is shown, and what it has inline."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        address = dict(attrs).get("href" if tag == "link" else "src")
        if tag in ("script", "link", "img", "iframe") and address and not address.startswith("data:"):
            self.fetched.append(address)


@pytest.mark.parametrize("report", [pytest.param(raymemprof.flamegraph, marks=pytest.mark.versions), raymemprof.table])
def test_an_offline_report_fetches_nothing(report: Callable[..., Any], big: raymemprof.Call) -> None:
    pages = {}
    for offline in (True, False):
        pages[offline] = References()
        written = report(big, f"{offline}.html", offline=offline)
        pages[offline].feed(written.path.read_text())
        assert pages[offline].scripts
    assert pages[True].fetched == []
    assert any(address.startswith("https://") for address in pages[False].fetched)


@pytest.mark.parametrize("report", [raymemprof.flamegraph, raymemprof.table, raymemprof.speedscope])
def test_where_a_report_goes(report: Callable[..., Any], folder: Path, big: raymemprof.Call, tmp_path: Path) -> None:
    kind = report.__name__
    default = report(big)
    assert default.path.parent == tmp_path  # the current folder
    assert default.path.name.startswith(f"raymemprof-{kind}-load")
    assert os.fspath(default) == str(default.path)
    assert default.kind == kind
    assert "load" in default.title

    below = tmp_path / "below"
    below.mkdir()
    assert report(big, below).path == below / default.path.name
    assert report(big, str(below / "named.x")).path == below / "named.x"
    assert report(big, "relative.x").path == tmp_path / "relative.x"
    Path("relative.x").write_text("precious")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        report(big, "relative.x")
    assert Path("relative.x").read_text() == "precious"
    assert report(big, "relative.x", overwrite=True).path.stat().st_mode & 0o777 == 0o644
    assert "load" in Path("relative.x").read_text()
    with pytest.raises(FileNotFoundError, match="missing"):
        report(big, tmp_path / "missing" / "out.html")

    content = big.capture.read_bytes()
    link = tmp_path / "link.bin"
    link.symlink_to(big.capture)
    for same in (big.capture, link):
        with pytest.raises(ValueError, match="the capture itself"):
            report(big, same)
    assert big.capture.read_bytes() == content
    assert [path.name for path in tmp_path.rglob(".*")] == []


def test_reports_of_several_captures(folder: Path, views: raymemprof.Call, big: raymemprof.Call) -> None:
    page = raymemprof.flamegraph([big, views]).path.read_text()
    assert "load" in page
    assert "hold" in page
    assert page.rstrip().endswith("</html>")
    assert raymemprof.heap([big, views]).call_count == 2


def test_a_report_in_a_notebook(big: raymemprof.Call) -> None:
    flames, listing, file = (
        report(big)._repr_html_() for report in (raymemprof.flamegraph, raymemprof.table, raymemprof.speedscope)
    )
    assert flames.count("<script") == flames.count("<img ") == 1
    assert "<script" not in listing + file
    assert len(flames) < 30_000
    assert "<td" in listing
    assert "with speedscope" in file
    Path(raymemprof.flamegraph(big).path).unlink()
    assert raymemprof.flamegraph(big)._repr_html_() == flames  # the same in each run: a notebook in git does not change


RENDER = """
import sys, raymemprof
call = raymemprof.calls(sys.argv[1], name="load")[0]
while True:
    raymemprof.flamegraph(call, "out.html", overwrite=True)
    print("written", flush=True)
"""


def test_a_report_is_written_whole_or_not_at_all(folder: Path, tmp_path: Path) -> None:
    chance = random.Random(4)
    for turn in range(5):
        process = subprocess.Popen([sys.executable, "-c", RENDER, folder], stdout=subprocess.PIPE, text=True)
        try:
            for _ in range(1 + turn):
                assert process.stdout.readline() == "written\n"
            time.sleep(chance.random() / 10)  # somewhere in the next
        finally:
            process.kill()
            process.communicate()
        assert (tmp_path / "out.html").read_text().rstrip().endswith("</html>")
        (tmp_path / "out.html").unlink()


def test_a_name_stands_for_one_call_of_a_capture(folder: Path) -> None:
    calls = raymemprof.calls(folder)
    traced = [call for call in calls if call.capture is not None]
    assert len({call.capture for call in traced}) < len(traced), "some share a capture"
    for call in traced:
        name = "{}#{}-{}".format(call.capture, *call.place)
        assert calls._opens(call) == name
        assert raymemprof.heap(name) == raymemprof.heap(call)
    with pytest.raises(raymemprof.CaptureError, match="this call is not in it"):
        raymemprof.heap(f"{traced[0].capture}#9-99")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        raymemprof.heap(f"{folder}/nosuch.bin#0-1")
    odd = folder / "odd#0-1"
    shutil.copy(traced[0].capture, odd)
    try:
        assert raymemprof.heap(odd).call_count == 1, "a file of such a name is that file"
    finally:
        odd.unlink()


def test_names_of_files_leave_the_other_columns_of_captures_in_view(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captures = raymemprof.captures(folder)
    monkeypatch.setenv("COLUMNS", "80")
    heading, row = (line for line in repr(captures).splitlines() if "status" in line or "killed" in line)
    assert heading.split() == ["first", "call", "status", "opened", "(UTC)", "size", "calls", "pid", "file"]
    (capture,) = captures
    for text in ("killed", f"{capture.opened_at:%H:%M:%S}", "7", str(capture.pid)):
        assert f" {text} " in f" {row} ", "whole, and on the first line"
    html = captures._repr_html_()
    headings = re.findall("<th [^>]*>(.*?)</th>", html)
    assert headings == ["first call", "status", "opened (UTC)", "size", "calls", "pid", "file"]
    assert str(capture.path.parent) not in re.findall("<td [^>]*>(.*?)</td>", html)[-1]


def test_where_the_current_folder_is_read_only_a_report_is_in_ours(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = raymemprof.calls(folder, name="load")[0]
    (tmp_path / "closed").mkdir(0o555)
    closed = next((one for one in (tmp_path / "closed", Path("/proc/sys")) if not os.access(one, os.W_OK)), None)
    if closed is None:
        pytest.skip("this user may write everywhere")
    monkeypatch.chdir(closed)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for show in (raymemprof.flamegraph, raymemprof.table, raymemprof.speedscope, raymemprof.timeline):
        path = show(call).path
        assert path.is_file()
        assert path.parent.parent == tmp_path
        assert path.parent.name.startswith("raymemprof-")
