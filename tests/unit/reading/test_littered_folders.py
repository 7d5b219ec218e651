"""A folder with things in it that look like recordings and are none: all else in it is listed, and they are named."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import CaptureError, kill_threshold, profile_memory
from raymemprof.cli import app

MIB = 2**20


@pytest.fixture
def folder(tmp_path: Path, wait_for: Callable[..., Any]) -> Path:
    with profile_memory("load", directory=tmp_path / "here", linger=0):
        kept = bytearray(MIB)
    assert len(kept) == MIB
    wait_for(lambda: raymemprof.captures(tmp_path / "here")[0].status == "closed")
    return tmp_path / "here"


def test_journals_that_are_no_files(folder: Path) -> None:
    """A pipe would keep its reader waiting for ever."""
    os.mkfifo(folder / "raymemprof-pipe.jsonl")
    (folder / "raymemprof-folder.jsonl").mkdir()
    (folder / "raymemprof-link.jsonl").symlink_to("/etc/passwd")
    calls, captures = raymemprof.calls(folder), raymemprof.captures(folder)
    assert [call.name for call in calls] == ["load"]
    assert len(captures) == 1
    for shown in (repr(calls), repr(captures)):
        text = " ".join(shown.split())
        for name in ("pipe", "folder", "link"):
            assert f"raymemprof-{name}.jsonl cannot be read" in text
    with pytest.raises(CaptureError, match="plain file"):
        raymemprof.calls(folder / "raymemprof-pipe.jsonl")
    with profile_memory("load", directory=folder, linger=0, max_bytes=1):  # the budget looks at them as well
        pass
    assert len(raymemprof.calls(folder)) == 2


def special(path: Path, kind: str) -> None:
    """Put something that is no plain file where a capture or journal would be."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as place:
            place.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path.name)
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "loop", "folder"])
@pytest.mark.parametrize("suffix", ["bin", "jsonl"])
def test_what_bears_the_name_of_a_capture_and_is_no_file(
    folder: Path, kind: str, suffix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)  # a socket's name may not be long
    path = Path(f"raymemprof-x-local-0-1-1.{suffix}")
    special(path, kind)
    began = time.monotonic()
    for report in (raymemprof.heap, raymemprof.flamegraph, raymemprof.table, raymemprof.speedscope):
        with pytest.raises((CaptureError, ValueError, FileNotFoundError)) as refused:
            report(path)
        assert path.name in str(refused.value)
        assert len(str(refused.value)) < 300
    for command in ("heap", "flamegraph"):
        with pytest.raises(SystemExit) as ended:
            app.main([command, str(path)])
        assert ended.value.code == 2
        assert len(capsys.readouterr()[1].splitlines()) == 1
    assert [call.name for call in raymemprof.calls(folder)] == ["load"]
    assert [one.path.name for one in raymemprof.captures(folder) if one.call_count] == [
        one.name for one in folder.glob("raymemprof-load*.bin")
    ]
    assert raymemprof.heap([*raymemprof.captures(folder)]).peak >= MIB
    raymemprof.fetch(raymemprof.calls(folder), folder / "fetched")
    raymemprof.doctor(folder)
    raymemprof.clean(folder, all=True)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("kind", ["zeros", "hole", "magic and zeros"])
def test_a_capture_of_zeros(folder: Path, kind: str) -> None:
    path = folder / "raymemprof-x-local-0-1-1.bin"
    with path.open("wb") as file:
        file.write(b"memray\0" if kind == "magic and zeros" else b"")
        if kind == "hole":
            file.truncate(2**34)
        else:
            file.writelines([bytes(MIB)] * 64)
    began = time.monotonic()
    with pytest.raises(CaptureError) as refused:
        raymemprof.heap(path)
    assert time.monotonic() - began < 10  # a second a megabyte before
    if kind != "magic and zeros":
        assert "nothing but zeros" in refused.value.reason


def test_the_zeros_that_the_capture_of_a_killed_process_ends_in(folder: Path, tmp_path: Path) -> None:
    """They are left unread, and it is read as without them."""
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "killed"])
    assert done.returncode == -signal.SIGKILL
    (call,) = raymemprof.calls(tmp_path / "killed")
    assert call.capture is not None
    before = raymemprof.heap(call)
    with call.capture.open("ab") as file:
        file.writelines([bytes(MIB)] * 32)
    began = time.monotonic()
    after = raymemprof.heap(call)
    assert time.monotonic() - began < 10
    assert (after.peak, after.allocations) == (before.peak, before.allocations)
    assert after.peak >= 5 * MIB
    assert len(list(call.capture.parent.iterdir())) == 2


def test_lines_that_were_damaged_into_other_words(folder: Path) -> None:
    (journal,) = folder.glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    begin = next(line for line in lines if line["event"] == "begin")
    for number, (key, value) in enumerate(
        [("name", None), ("name", 5), ("time", "now"), ("memory", None), ("slot", "0"), ("kind", []), ("call", {})]
    ):
        lines.append({**begin, "call": 100 + number, key: value})
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    calls = raymemprof.calls(folder)
    assert [call.name for call in calls] == ["load"]
    assert len(raymemprof.calls(folder, name="load")) == 1
    assert "load" in repr(calls)
    assert len(raymemprof.advise(calls)) == 1


KILLED = """
import os, signal, sys
from raymemprof import profile_memory

with profile_memory("killed", directory=sys.argv[1]):
    kept = bytearray(5 * 2**20)
    os.kill(os.getpid(), signal.SIGKILL)
"""
BEGIN = {
    "event": "begin",
    "time": 1.0,
    "name": "bad",
    "kind": "task",
    "task_id": None,
    "attempt": 0,
    "actor_id": None,
    "job_id": None,
    "memory": 1,
}
END = {"event": "end", "duration": 1.0, "status": "failed", "error": None, "memory": 1, "peak": 1}
HUGE = 10**400
DAMAGED: list[dict[str, Any]] = [
    *({**BEGIN, "memory": value} for value in (HUGE, -1, 1.5, "1", True, None, float("nan"), float("inf"))),
    *({**BEGIN, "time": value} for value in (HUGE, 3e16, -1e30, float("inf"), float("nan"), "1", False, None)),
    *({**BEGIN, "attempt": value} for value in (HUGE, -1, "0", 0.5)),
    *({**BEGIN, "task_id": value} for value in ("../../x", "\x00", "\x1b[31m", "\ud800", "**/x", 5, "f" * 10_000)),
    *({**BEGIN, "slot": value, "turn": 0} for value in (HUGE, -1, "0", None)),
    {**BEGIN, "slot": 0},
    *({**BEGIN, "capture": value} for value in ("../raymemprof-a.bin", "raymemprof-a.jsonl", "\x00", 5, "\ud800")),
    *({**BEGIN, "name": value} for value in (None, 5, ["x"])),
    *({**END, "duration": value} for value in (HUGE, -1, float("inf"), float("nan"), "1", True)),
    *({**END, "status": value} for value in ("\x1b[31m", "done", None, ["x"])),
    *({**END, "peak": value} for value in (HUGE, -1, "1")),
    *({**END, "highest": value} for value in (HUGE, -1)),
    *({"event": "peak", "calls": value, "memory": 1} for value in ([[1]], [HUGE], ["1"], {}, None)),
    {"event": "peak", "calls": [100], "memory": HUGE},
    *({"event": "memory", "time": 1.0, "after": value, "memory": [1, 2]} for value in ([0], [0, -1], [0, HUGE], None)),
    {"event": "memory", "time": 1.0, "after": [0], "memory": [1], "children": []},
    {"event": "children", "calls": [0], "memory": 1, "total": HUGE, "count": 1, "largest": []},
    *({"event": "open", "capture": "raymemprof-x-local-0-1-1.bin", "time": value} for value in (HUGE, 3e16, "1")),
    *({"event": "close", "capture": "raymemprof-x-local-0-1-1.bin", "time": value} for value in (HUGE, "1")),
    {"event": "fetched", "time": HUGE, "status": "killed", "error": None},
    *({"event": "process", "pid": value} for value in (HUGE, -1, "1", 2**40)),
    *({"event": "process", "created": value} for value in (HUGE, "1", float("inf"))),
    *({"event": "process", "worker_id": value} for value in ("**/x", "\x00", 5)),
    *({"event": "process", "logs": value} for value in ("\x00", 5)),
]


def damage(journal: Path, between: list[str]) -> None:
    """Put lines into a journal, as a second half that is no longer written to."""
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([*lines[:-1], *between, lines[-1], ""]))


def test_one_damaged_line_spoils_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All else is listed in every table, and each says how many were left out."""
    (journal,) = folder.glob("*.jsonl")
    before = list(raymemprof.calls(folder))
    damage(journal, [json.dumps({"call": 100 + number, **line}) for number, line in enumerate(DAMAGED)])
    said = f"{journal.name}: {len(DAMAGED)} damaged lines left out"
    calls, captures = raymemprof.calls(folder), raymemprof.captures(folder)
    assert list(calls) == before
    assert [capture.call_count for capture in captures] == [1]
    advice, diagnosis = raymemprof.advise(calls), raymemprof.doctor(folder)
    for table in (raymemprof.ooms(folder), raymemprof.clean(folder, all=True, dry_run=True)):
        assert said in " ".join(repr(table).split())
    for table in (calls, captures, advice):
        assert said in " ".join(repr(table).split())
        assert said in table._repr_html_()
        assert said in table[:0].left_out
        assert json.loads(table.to_json())
        assert len(table.to_pandas()) == 1
    assert said in str(diagnosis)
    diagnosis.to_json()
    heap = raymemprof.heap(calls[0])
    assert MIB <= heap.peak < 2 * MIB
    assert any("damaged lines of the journal left out" in note for note in heap.notes)
    for command in ("calls", "captures", "advise"):
        with pytest.raises(SystemExit) as ended:
            app.main([command, str(folder), "--json"])
        assert ended.value.code == 0
        out, errors = capsys.readouterr()
        assert len(json.loads(out)) == 1
        assert said in errors


def test_a_line_that_was_torn_by_a_kill_is_not_called_damaged(folder: Path) -> None:
    (journal,) = folder.glob("*.jsonl")
    with journal.open("ab") as file:
        file.write(b'{"event":"begin","call":7')
    assert raymemprof.calls(folder).left_out == ()
    with journal.open("ab") as file:
        file.write(b'\n{"event":"begin","ca')
    assert raymemprof.calls(folder).left_out == (f"{journal.name}: 1 damaged line left out",)


@pytest.mark.parametrize("filling", ["hole", "one line", "line of zeros"])
def test_a_journal_that_is_huge(folder: Path, filling: str) -> None:
    """What is no line is passed over, in little memory, and what comes after it is read."""
    (journal,) = folder.glob("*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    (begin,) = [json.loads(line) for line in lines if b'"event":"begin"' in line]
    folder = folder.with_name("there")  # where no thread of this process looks after the disk budget
    folder.mkdir()
    with (folder / journal.name).open("wb") as file:
        file.writelines(lines)
        if filling == "hole":
            file.seek(2**33, os.SEEK_CUR)
        else:
            for _ in range(64):
                file.write((b"\0" if filling == "line of zeros" else b"[") * MIB)
        file.write(b"\n" + json.dumps({**begin, "call": 10**6, "name": "late"}).encode() + b"\n")
    began = time.monotonic()
    tracemalloc.start()
    try:
        calls = raymemprof.calls(folder)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()
    assert [call.name for call in calls] == ["load", "late"]
    assert calls.left_out == (f"{journal.name}: 1 damaged line left out",)
    assert time.monotonic() - began < 20


def test_an_end_before_its_beginning(folder: Path) -> None:
    (journal,) = folder.glob("*.jsonl")
    (before,) = raymemprof.calls(folder)
    first, *rest = journal.read_text().splitlines()
    journal.write_text("\n".join([first, *reversed(rest), ""]))
    assert raymemprof.calls(folder) == [before]
    assert raymemprof.calls(folder).left_out == ()


def test_what_process_it_was_is_damaged(folder: Path) -> None:
    """Whether it still runs cannot be known, so it is not called killed."""
    (journal,) = folder.glob("*.jsonl")
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join(["{}", *(line for line in lines[1:] if '"event":"end"' not in line), ""]))
    (call,) = raymemprof.calls(folder)
    assert call.status == "running"
    assert "not known" in (call.note or "")


def test_a_call_without_memory(folder: Path) -> None:
    """Advice on it divides by nothing."""
    (journal,) = folder.glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for number in range(1, 4):
        nothing = {"memory": 0, "peak": 0, "total": 0}
        others = [{**line, **({"pid": number} if "pid" in line else nothing)} for line in lines]
        journal.with_name(f"raymemprof-other-local-0-{number}-1.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in others if line["event"] in ("process", "begin", "end"))
        )
    (advice,) = raymemprof.advise(raymemprof.calls(folder))
    assert (advice.call_count, advice.p50) == (4, 0)
    raymemprof.doctor(folder)


def test_what_cannot_be_removed_is_said_and_what_was_is_told(folder: Path) -> None:
    (folder / "raymemprof-folder-local-0-1-1.bin").mkdir()
    (capture,) = raymemprof.captures(folder)
    old = 10**9
    os.utime(capture.path, (old, old))
    removed = raymemprof.clean(folder, all=True)
    assert capture.path in {file.path for file in removed}
    assert not capture.path.exists()
    text = " ".join(repr(removed).split())
    assert "raymemprof-folder-local-0-1-1.bin (It is a folder)" in text
    assert "1 could not be removed" in text


@pytest.mark.parametrize(
    "name",
    [
        "raymemprof-x-local-0-\u00b2-1.bin",
        "raymemprof-x-local-0-99999999999999999999-99999999999999999999.bin",
        "raymemprof-x-local-0-1-1.bin.99999999999999999999",
        f"raymemprof-{'9' * 200}.bin",
        "raymemprof-.bin",
        "raymemprof-x-local-0-99999999999999999999-1.jsonl",
        ".raymemprof-x.1.vm.99999999999999999999.part",
        os.fsdecode(b"raymemprof-\xff.bin"),
        os.fsdecode(b"raymemprof-\xff.jsonl"),
    ],
)
def test_names_that_recording_never_gives(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / name).write_bytes(b"no capture")
    assert [call.name for call in raymemprof.calls(folder)] == ["load"]
    captures = raymemprof.captures(folder)
    assert "load" in repr(captures)
    captures.to_json(), captures._repr_html_(), captures.to_pandas()
    assert raymemprof.heap(captures).peak >= MIB
    raymemprof.fetch(raymemprof.calls(folder), folder)
    with pytest.raises((CaptureError, ValueError, FileNotFoundError)):  # fetch() sweeps what is a part of a file
        raymemprof.heap(folder / name)
    with pytest.raises(SystemExit) as ended:
        app.main(["heap", str(folder / name)])
    assert ended.value.code == 2
    assert len(capsys.readouterr()[1].splitlines()) == 1
    raymemprof.doctor(folder)
    raymemprof.clean(folder, all=True)


def test_logs_of_rays_that_are_none(folder: Path) -> None:
    """Pipes keep nobody waiting, and times that there are not are no times."""
    (journal,) = folder.glob("*.jsonl")
    lines = [line for line in journal.read_text().splitlines() if '"event":"end"' not in line]
    worker = "f" * 56
    process = {**json.loads(lines[0]), "pid": 2**31 - 1, "worker_id": worker}
    journal.write_text("\n".join([json.dumps(process), *lines[1:], ""]))
    (folder / "events").mkdir()
    owners = "python-core-driver-01000000ffffffffffffffffffffffffffffffffffffffffffffffff_9999999999.log"
    for name in (
        "events/event_RAYLET.log",
        "raylet.out",
        f"python-core-worker-{worker}_{2**31 - 1}.log",
        f"worker-{worker}-01000000-{2**31 - 1}.err",
        "raylet.out.1",
        owners,
    ):
        os.mkfifo(folder / name)
    began = time.monotonic()
    for _ in range(2):
        (call,) = raymemprof.calls(folder)
        assert call.status == "killed"
        assert list(raymemprof.ooms(folder)) == []
        raymemprof.doctor(folder)
        raymemprof.explain("Task was killed due to the node running low on memory.", folder)
        for name in ("raylet.out", owners):
            (folder / name).unlink()
        when = "[9999-99-99 99:99:99,044 I 445 445]"
        killed = "Selected to kill: (task ID f, worker PID 7)"
        (folder / "raylet.out").write_text(f"{when} (raylet) node_manager.cc:1: {killed}\n" * 2)
        (folder / owners).write_text(
            f"{when} task_manager.cc:1: task ab retries left: 3, oom retries left: -1, task failed due to oom: 1\n"
        )
    assert time.monotonic() - began < 30


def test_a_threshold_that_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for threshold in ("inf", "nan", "-1", "1e400", "much", ""):
        monkeypatch.setenv("RAY_memory_usage_threshold", threshold)
        assert kill_threshold.from_settings(100) == 95
        assert raymemprof.heap(raymemprof.calls(folder)).peak >= MIB
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.5")
    assert kill_threshold.from_settings(100) == 50
    for free, above in (("20", 80), ("70", 50), ("0", 100), ("-1", 50), ("200", 50), ("some", 50)):
        monkeypatch.setenv("RAY_min_memory_free_bytes", free)
        assert kill_threshold.from_settings(100) == above


EVIL = "a\x1b]0;owned\x07\x1b[2J\u202egnp\nb\x85\u2028c"
"""Sets a terminal's title, clears it, turns what follows around, and goes to other lines."""


def assert_tame(text: str) -> None:
    """Nothing in it is obeyed by a terminal, but for line ends of ours."""
    assert [c for c in text if not c.isprintable() and c != "\n"] == []


def test_names_that_a_terminal_would_obey(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (capture,) = [one.path for one in raymemprof.captures(folder)]
    bad = tmp_path / f"{EVIL}.bin"
    bad.write_bytes(b"no capture")
    good = tmp_path / f"raymemprof-{EVIL}.bin"
    os.link(capture, good)
    with pytest.raises(CaptureError) as refused:
        raymemprof.heap(bad)
    assert refused.value.path == bad
    assert_tame(str(refused.value))
    assert_tame(str(CaptureError("x", f"an {EVIL} in the reason")))
    monkeypatch.chdir(tmp_path)
    for command, target in (("heap", bad), ("heap", good), ("flamegraph", good), ("heap", tmp_path / f"{EVIL}no")):
        with pytest.raises(SystemExit):
            app.main([command, str(target)])
        out, errors = capsys.readouterr()
        assert_tame(out + errors)
        assert out + errors
    (report,) = tmp_path.glob("*.html")
    assert report.name.isprintable()
    assert_tame(repr(raymemprof.heap([bad, good])))


def test_contents_that_a_terminal_would_obey(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a call: its name, its error, and why it was not traced; of a journal that somebody else may have written."""
    (journal,) = folder.glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    untraced = {**BEGIN, "name": EVIL, "note": EVIL, "time": lines[0]["created"]}
    more = [{**untraced, "call": 10**6 + n} for n in range(2)] + [{**END, "call": 10**6, "error": EVIL}]
    journal.write_text("".join(json.dumps(line) + "\n" for line in [*lines, *more]))
    calls = raymemprof.calls(folder)
    assert [call.name for call in calls if call.name != "load"] == [EVIL] * 2
    for table in (calls, raymemprof.advise(calls), raymemprof.doctor(folder), raymemprof.heap(calls)):
        assert_tame(str(table))
        assert_tame(table._repr_html_())
    with pytest.raises(CaptureError) as refused:
        raymemprof.heap(next(call for call in calls if call.capture is None))
    assert_tame(str(refused.value))
    with pytest.raises(ValueError, match="none of the 2 calls") as none:
        raymemprof.heap([call for call in calls if call.capture is None])
    assert_tame(str(none.value))
    assert_tame("\n".join(raymemprof.heap(calls).left_out))
    for arguments in (["calls"], ["advise"], ["doctor"], ["heap", "--status", "failed"], ["heap", "--name", "nothing"]):
        with pytest.raises(SystemExit):
            app.main([arguments[0], str(folder), *arguments[1:]])
        out, errors = capsys.readouterr()
        assert_tame(out + errors)
        assert out + errors


def test_a_label_that_is_no_text(tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    """Half of a surrogate pair: memray cannot write it, and loses nothing by that."""
    label = "half \ud83d of a pair"
    with profile_memory(label, directory=tmp_path / "here", linger=0):
        kept = bytearray(3 * MIB)
    (call,) = raymemprof.calls(tmp_path / "here", name=label)
    assert (call.name, call.note, len(kept)) == ("half ? of a pair", None, 3 * MIB)
    wait_for(lambda: raymemprof.captures(tmp_path / "here")[0].status == "closed")
    assert 3 * MIB <= raymemprof.heap(call).peak < 3.5 * MIB
    assert "half" in repr(raymemprof.heap(call))
    for report in (raymemprof.flamegraph, raymemprof.table, raymemprof.speedscope):
        assert "half" in report(call, tmp_path).title
    assert raymemprof.calls(tmp_path / "here").to_pandas()["name"][0] == call.name
