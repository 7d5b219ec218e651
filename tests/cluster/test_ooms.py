"""Whoever kills a Ray worker, raymemprof names him, the worker and, where it was traced, the line: real kills."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import ray

import raymemprof
from raymemprof.reading.catalog.places import Place
from raymemprof.reading.logs import endings
from raymemprof.reading.logs.owners import oom_retries
from tests.paths import DATA, PROGRAMS

oom_kills = importlib.import_module("raymemprof.diagnosis.ooms")  # `raymemprof.ooms` is the function
NOW = datetime(2026, 11, 24, tzinfo=timezone.utc)
PROGRAM = PROGRAMS / "kills_program.py"
MIB, GIB = 2**20, 2**30
SECONDS = 200
HOGS_LINE, WAITS_LINE = (
    number for number, text in enumerate(PROGRAM.read_text().splitlines(), 1) if "# the guilty line" in text
)
VERSION = tuple(map(int, ray.__version__.split(".")[:2]))

needs_grpc = pytest.mark.skipif(
    importlib.util.find_spec("grpc") is None,
    reason="without it Ray says in no way where a task failed",
)
Record = dict[str, Any]


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory, memory_to_itself: Any) -> Iterator[Callable[..., Record]]:
    """Play scenes of the program, each set in a Ray session of its own that is played once."""
    played: dict[tuple[str, ...], Record] = {}

    def run(*scenes: str) -> Record:
        if scenes not in played:
            command = [sys.executable, str(PROGRAM), *scenes]
            for _ in range(2):  # others may have had the memory
                folder = tmp_path_factory.mktemp("kills")
                with memory_to_itself() if "others" not in scenes else contextlib.nullcontext():
                    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
                if "others had the memory" not in done.stderr:
                    break
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr
            played[scenes] = json.loads((folder / "records.json").read_text())
        return played[scenes]

    yield run
    for records in played.values():
        shutil.rmtree(Path(records["folder"]).parent, ignore_errors=True)


@pytest.fixture(scope="module")
def monitor(play: Callable[..., Record]) -> Record:
    return play("monitor")


@pytest.fixture(scope="module")
def others(play: Callable[..., Record]) -> Record:
    return play("others", "cgroup")


def printed(text: str) -> dict[int, int]:
    """What Ray printed that its workers used, in bytes, by pid: those it killed, and those it spared."""
    found = re.findall(r"pid=(\d+), (?:actual )?memory used=([\d.]+)GB", text)
    return {int(pid): round(float(figure) * GIB) for pid, figure in found}


def victim_of(record: Record) -> Record:
    (victim,) = record["explained"]["victims"]
    return victim


def processes_of(record: Any) -> list[Record]:
    return record.get("processes", []) if isinstance(record, dict) else []


def rows_of(records: Record, record: Record) -> list[Record]:
    """The kills in `ooms()` of the processes that wrote that they ran in this scene."""
    pids = {process["pid"] for process in record["processes"]}
    return [row for row in records["ooms"] if row["pid"] in pids]


def assert_line(record: Record, line: int = HOGS_LINE) -> None:
    """What was alive when the call died was allocated where it was."""
    for heap in record["heaps"]:
        assert Path(heap["top"]["file"]) == PROGRAM
        assert heap["top"]["line"] == line
        assert heap["top"]["bytes"] >= 0.95 * heap["alive"]
    (held,) = [heap["alive"] for heap in record["heaps"]]
    last = record["processes"][-1]
    assert held == pytest.approx(last["held"], rel=0.1, abs=60 * MIB), "one more piece at most"
    assert f"{PROGRAM}:{line}" in record["shown"]


def assert_killed_by_ray(records: Record, record: Record) -> None:
    explained, last = record["explained"], record["processes"][-1]
    ray_said = printed(record["text"])[last["pid"]]
    assert record["error"] == "OutOfMemoryError"
    assert explained["cause"] == "ray_memory_monitor"
    assert explained["used"] > explained["threshold"] * 0.99
    assert explained["limit"] > explained["threshold"]
    assert explained["node_ip"] in record["text"]
    victim = victim_of(record)
    assert victim["pid"] == last["pid"]
    assert victim["memory"] == pytest.approx(ray_said, rel=0.1)
    assert victim["memory"] == pytest.approx(last["memory"], rel=0.1)
    assert any(process["pid"] == last["pid"] for process in explained["top_processes"])
    row = rows_of(records, record)[-1]
    assert row["cause"] == "ray_memory_monitor"
    assert row["memory"] == pytest.approx(ray_said, rel=0.1)
    assert row["node_id"] == explained["node_id"]


def assert_profiled(record: Record, attempt: int = 0) -> None:
    """The call that died is found, with its task, attempt and memory."""
    (call,) = record["explained"]["calls"]
    assert call["status"] == "killed"
    assert call["pid"] == record["processes"][-1]["pid"]
    assert (call["task_id"], call["attempt"]) == (record["task_id"], attempt)
    assert call["capture"] is not None


@pytest.mark.rays
class TestMemoryMonitor:
    def test_a_task(self, monitor: Record) -> None:
        record = monitor["task"]
        assert_killed_by_ray(monitor, record)
        assert_profiled(record, attempt=1)
        assert_line(record)
        (call,) = record["explained"]["calls"]
        assert call["error"] == "killed by Ray's memory monitor"
        assert call["peak_memory"] == pytest.approx(victim_of(record)["memory"], rel=0.2), "noted when it rises by 10 %"

    def test_each_attempt_is_a_kill(self, monitor: Record) -> None:
        record = monitor["task"]
        rows = rows_of(monitor, record)
        assert [row["attempt"] for row in rows] == [0, 1]
        assert [row["pid"] for row in rows] == [process["pid"] for process in record["processes"]]
        assert {row["task_id"] for row in rows} == {record["task_id"]}
        assert {row["name"] for row in rows} == {"hog"}
        assert rows[0]["when"] < rows[1]["when"]
        for row, process in zip(rows, record["processes"], strict=True):
            assert row["memory"] == pytest.approx(process["memory"], rel=0.1)
            assert row["call"]["attempt"] == row["attempt"]
        assert all(str(row["pid"]) in monitor["table"] for row in rows)

    def test_an_actor(self, monitor: Record) -> None:
        record = monitor["actor"]
        assert_killed_by_ray(monitor, record)
        assert_profiled(record)
        assert_line(record)
        (call,) = record["explained"]["calls"]
        assert call["name"] == "Hog.grow"
        (row,) = rows_of(monitor, record)
        assert (row["name"], row["task_id"], row["attempt"]) == ("Hog.grow", record["task_id"], 0)
        assert row["actor_id"] == call["actor_id"] == victim_of(record)["actor_id"]

    def test_an_undecorated_task(self, monitor: Record) -> None:
        record = monitor["bare"]
        assert_killed_by_ray(monitor, record)
        assert victim_of(record)["name"] == "a task, with a name"
        assert record["explained"]["calls"] == []
        assert "profile_memory" in record["shown"]
        (row,) = rows_of(monitor, record)
        assert (row["name"], row["call"]) == ("a task, with a name", None)

    @pytest.mark.parametrize("source", ["gcs", "state api"])
    def test_what_ray_recorded(self, monitor: Record, source: str) -> None:
        """Which task was killed in which worker: by the GCS, or by the State API where that does not answer."""
        if source not in monitor["asked"]:
            pytest.skip("gRPC, or what a dashboard needs, is not installed")
        said, record = monitor["asked"][source], monitor["bare"]
        (worker,) = (worker for worker, task in said["killed"].items() if task["task_id"] == record["task_id"])
        assert worker == victim_of(record)["worker_id"]
        (attempt,) = said["attempts"]
        assert attempt == said["killed"][worker]
        assert (attempt["attempt"], attempt["name"], attempt["state"]) == (0, "a task, with a name", "FAILED")

    def test_nobody_else_was_killed(self, monitor: Record) -> None:
        ours = [process["pid"] for name in ("task", "bare", "actor") for process in monitor[name]["processes"]]
        assert {row["pid"] for row in monitor["ooms"]} >= set(ours)
        pids = [row["pid"] for row in monitor["ooms"]]
        assert len(pids) == len(set(pids)), "event log and raylet.out tell of the same kills"

    def test_what_it_says(self, monitor: Record) -> None:
        record = monitor["task"]
        lines = record["shown"].splitlines()
        assert "killed hog" in lines[0]
        assert "What to do:" in lines[:6]
        assert "--name hog" in record["shown"]
        assert "--name hog --status killed --address auto`" in record["shown"]
        had, used = victim_of(record)["memory"], record["explained"]["used"]
        asked = re.search(r"@ray.remote\(memory=([\d_]+)\)", record["shown"])
        if asked is None:  # nothing else ran, so fewer at once would not help
            assert had >= used / 2
            assert "One hog alone had " in record["shown"]
        else:
            assert had < int(asked[1].replace("_", "")) < 1.5 * had
        assert record["html"].startswith("<div><b>Ray&#39;s memory monitor killed hog")
        assert record["html"].count("<li>") == len(record["explained"]["advice"])


@pytest.mark.skipif(VERSION < (2, 56), reason="up to 2.55 Ray kills one worker at a time")
def test_two_workers_killed_in_one_event(play: Callable[..., Record]) -> None:
    records = play("several")
    told = [record for record in records["several"] if len(record["explained"]["victims"]) > 1]
    if not told:
        pytest.skip("in three tries Ray killed them one after the other")
    tasks = {process["pid"]: record["task_id"] for record in records["several"] for process in record["processes"]}
    names = {process["pid"]: record["name"] for record in records["several"] for process in record["processes"]}
    for record in told:
        explained = record["explained"]
        victims = {victim["pid"]: victim for victim in explained["victims"]}
        assert record["processes"][0]["pid"] in victims
        assert set(victims) <= set(tasks)
        assert f"{len(victims)} worker(s) were killed" in record["text"]
        assert len({names[pid] for pid in victims}) == len(victims)
        for pid, victim in victims.items():
            assert victim["memory"] == printed(record["text"])[pid]
            assert victim["name"] == names[pid]
            assert f"{names[pid]} (pid {pid})" in record["shown"].splitlines()[0]
        largest = max(victims.values(), key=lambda victim: victim["memory"])
        assert f"than {largest['name']} had when it was killed" in record["shown"]
        assert explained["cause"] == "ray_memory_monitor"
        assert {call["pid"]: call["task_id"] for call in explained["calls"]} == {pid: tasks[pid] for pid in victims}
        for heap in record["heaps"]:
            assert heap["top"]["line"] == HOGS_LINE
            assert heap["top"]["bytes"] >= 0.95 * heap["alive"]
        rows = [row for row in records["ooms"] if row["pid"] in victims]
        assert len(rows) == len(victims)
        assert len({row["when"] for row in rows}) == 1


def test_endless_retries(play: Callable[..., Record]) -> None:
    record = play("endless")["endless"]
    (retry,) = record["retries"]
    assert (retry["name"], retry["task_id"]) == ("hog", record["task_id"])
    assert retry["kill_count"] == len(record["kills"]) >= 3
    assert retry["since"] == record["kills"][0]["when"]
    assert retry["pause"] == record["pauses"][retry["kill_count"] - 1], "what Ray's driver wrote that it waits"
    assert retry["is_over"] is False
    assert record["of two"] == record["sorted"] == record["retries"]
    assert [row["attempt"] for row in record["kills"]] == list(range(retry["kill_count"]))
    assert f"hog was killed for memory {retry['kill_count']} times since" in record["shown"]
    assert "RAY_task_oom_retries" in record["shown"]


def test_a_task_that_was_retried_and_then_finished(play: Callable[..., Record]) -> None:
    """Nobody profiled it: its owner's log tells of the retries, and Ray that it has ended."""
    records = play("endless")
    (owner,) = (owner for owner in records["endless"]["owners"] if owner["name"] == "recovers")
    assert (owner["kills"], owner["left"], owner["is_over"]) == (3, None, False)
    assert "recovers was killed" not in records["table"]


def test_retries_of_a_session_that_is_over(play: Callable[..., Record]) -> None:
    records = play("endless")
    kills = raymemprof.ooms(records["folder"])
    assert [(retry.name, retry.is_over) for retry in kills.retries] == [("hog", True)]
    assert "and Ray retried it each time, until its job ended" in " ".join(repr(kills).split())
    assert "retries it without end" not in repr(kills)


@pytest.mark.rays
class TestOtherDeaths:
    @pytest.mark.parametrize(
        ("name", "cause"),
        [
            ("sigkill", "sigkill"),
            ("actor sigkill", "sigkill"),
            ("crash", "crash"),
            ("actor crash", "crash"),
            ("ray_kill", "ray_kill"),
        ],
    )
    def test_profiled(self, others: Record, name: str, cause: str) -> None:
        record = others[name]
        assert record["explained"]["cause"] == cause
        assert victim_of(record)["pid"] == record["processes"][-1]["pid"]
        assert_profiled(record)
        assert_line(record, WAITS_LINE)
        assert "memory monitor" not in record["shown"]

    @needs_grpc
    @pytest.mark.parametrize("name", ["sigkill", "crash"])
    def test_undecorated(self, others: Record, name: str) -> None:
        """Ray's `WorkerCrashedError` names nobody; where it was raised, and Ray's record of the task, do."""
        record = others[f"bare {name}"]
        assert record["error"] == "WorkerCrashedError"
        assert record["explained"]["cause"] == name
        victim = victim_of(record)
        assert (victim["pid"], victim["name"]) == (record["processes"][-1]["pid"], "waits")
        assert record["explained"]["calls"] == []

    @needs_grpc
    @pytest.mark.parametrize("name", ["sigkill", "bare sigkill", "crash", "bare crash", "bare exit", "bare _exit"])
    def test_told_later_it_is_the_same(self, others: Record, name: str) -> None:
        """Also when others have died since."""
        record = others[name]
        assert record["later by error"]["cause"] == record["explained"]["cause"]
        assert [one["pid"] for one in record["later by error"]["victims"]] == [record["processes"][-1]["pid"]]

    @pytest.mark.parametrize("name", ["sigkill", "bare sigkill", "crash", "bare crash"])
    def test_a_text_that_names_nobody(self, others: Record, name: str) -> None:
        """Several deaths fit: none is claimed, and the latest are named as what it may be."""
        found = others[name]["later by text"]
        assert (found["cause"], found["victims"], found["calls"]) == ("unknown", [], [])
        assert "it is not known which" in found["summary"].splitlines()[0]
        pids = [process["pid"] for record in others.values() for process in processes_of(record)]
        candidates = [int(pid) for pid in re.findall(r"It may be .* \(pid (\d+)\), which died at", found["shown"])]
        assert len(candidates) == 3
        assert set(candidates) <= set(pids)

    @pytest.mark.parametrize("name", ["bare sigkill", "bare crash", "actor sigkill", "bare _exit"])
    def test_the_raylets_word_names_the_process(self, others: Record, name: str) -> None:
        record = others[name]
        assert record["raylet's"]["cause"] == ("crash" if "crash" in name else "sigkill")
        assert [one["pid"] for one in record["raylet's"]["victims"]] == [record["processes"][-1]["pid"]]

    def test_os_exit_is_told_as_what_it_may_be(self, others: Record) -> None:
        found = others["bare _exit"]["raylet's"]
        assert "SIGKILL or os._exit; no log says which" in found["summary"].splitlines()[0]

    @pytest.mark.parametrize(
        ("name", "word"), [("exit", "exit code 3"), ("term", "SIGTERM"), ("actor", "exit_actor() is called")]
    )
    def test_what_ray_says_itself(self, others: Record, name: str, word: str) -> None:
        record = others["exit_actor" if name == "actor" else f"bare {name}"]
        found = record["later by text"] if name == "actor" else record["raylet's"]
        assert found["cause"] == "exit"
        assert [one["pid"] for one in found["victims"]] == [record["processes"][-1]["pid"]]
        assert word in found["summary"]

    def test_none_is_called_out_of_memory(self, others: Record) -> None:
        names = [f"{who}{how}" for how in ("sigkill", "crash") for who in ("", "bare ", "actor ")] + ["ray_kill"]
        assert [row for name in names for row in rows_of(others, others[name])] == []

    @pytest.mark.parametrize(
        ("name", "reason"), [("sigkill", "SIGKILL"), ("crash", "SIGSEGV"), ("ray_kill", "`ray.kill`")]
    )
    def test_calls_say_why(self, others: Record, name: str, reason: str) -> None:
        (call,) = [call for call in others["calls"] if call["pid"] == others[name]["processes"][-1]["pid"]]
        assert call["status"] == "killed"
        assert reason in call["error"]

    def test_the_doctor_names_what_nobody_explains(self, others: Record) -> None:
        assert others["doctor"]["healthy"] is True
        found = [one for one in others["doctor"]["findings"] if one["illness"] == "unexplained_death"]
        assert {one["name"]: [call["pid"] for call in one["calls"]] for one in found} == {
            "waits": [others["sigkill"]["processes"][-1]["pid"]],
            "Waits.wait": [others["actor sigkill"]["processes"][-1]["pid"]],
        }
        assert all(one["title"].startswith("A process of ") for one in found)

    def test_a_memory_error_is_no_kill(self, others: Record) -> None:
        record = others["raised"]
        assert record["error"] == "RayTaskError(MemoryError)"
        assert record["explained"]["cause"] == "memory_error"
        assert record["explained"]["victims"] == []

    def test_the_kernel(self, others: Record) -> None:
        """A worker in a memory cgroup of its own, which is smaller than what its task wants."""
        if "skip" in others:
            pytest.skip(others["skip"])
        record = others["cgroup"]
        (process,) = record["processes"]
        assert record["explained"]["cause"] == "kernel_oom"
        assert_profiled(record)
        assert_line(record)
        (row,) = rows_of(others, record)
        assert (row["cause"], row["task_id"], row["attempt"]) == ("kernel_oom", record["task_id"], 0)
        assert row["memory"] == victim_of(record)["memory"]
        assert process["memory"] < row["memory"] < process["memory"] + 60 * MIB, "it died of the next piece"


# Logs as they are found.

KILL, *FAILURES = (DATA / "ray-2.60" / "event_RAYLET.log").read_text().splitlines()
OTHER = json.dumps(
    {"label": "RAYLET_NOTE", "message": "all is well " * 20, "severity": "INFO", "timestamp": 1795374131}
)


def kill(pid: int, seconds: int = 0) -> str:
    """A line of the event log: the real one, of another process."""
    line = KILL.replace("pid=12988", f"pid={pid}")
    return re.sub(r'"timestamp":\d+', f'"timestamp":{1795374124 + seconds}', line) + "\n"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "logs" / "events").mkdir(parents=True)
    return tmp_path / "logs"


@pytest.fixture
def event_log(logs: Path) -> Path:
    return logs / "events" / "event_RAYLET.log"


def pids(folder: Path) -> list[int]:
    return [row.pid for row in raymemprof.ooms(folder)]


@pytest.mark.parametrize(
    ("version", "killed"),
    [
        ("2.49", [("hog", 14018), ("a task, with a name", 14019), ("Hog.__init__", 14273)]),
        ("2.60", [("hog", 851), ("hog", 850), ("a task, with a name", 1417), ("Hog.__init__", 1416)]),
    ],
)
def test_event_log_and_raylet_out_tell_of_the_same_kills(version: str, killed: list[tuple[str, int]]) -> None:
    """Logs of a real session: the event log has two of the kills, the raylet's own log has all."""
    folder = DATA / f"ray-{version}" / "logs"
    found = raymemprof.ooms(folder)
    assert [(row.name, row.pid) for row in found] == killed
    assert len((folder / "events" / "event_RAYLET.log").read_text().splitlines()) == 2
    assert all(row.memory and row.memory > GIB and row.node_id for row in found)
    assert found.retries == ()


def test_without_an_event_log(tmp_path: Path) -> None:
    shutil.copy(DATA / "ray-2.60" / "logs" / "raylet.out", tmp_path)
    assert pids(tmp_path) == [851, 850, 1417, 1416]
    (tmp_path / "raylet.out").unlink()
    assert pids(tmp_path) == []
    assert "No processes killed for memory." in repr(raymemprof.ooms(tmp_path))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        raymemprof.ooms(tmp_path / "missing")


def test_rotated_logs(logs: Path, event_log: Path) -> None:
    (event_log.with_name("event_RAYLET.2.log")).write_text(kill(1001) + OTHER + "\n")
    (event_log.with_name("event_RAYLET.1.log")).write_text(kill(1002, 1))
    event_log.write_text(kill(1003, 2))
    raylet = (DATA / "ray-2.60" / "logs" / "raylet.out").read_text()
    records = re.split(r"(?m)^(?=\[2026)", raylet)
    (logs / "raylet.out.1").write_text("".join(records[: len(records) // 2]))
    (logs / "raylet.out").write_text("".join(records[len(records) // 2 :]))
    assert set(pids(logs)) == {1001, 1002, 1003, 851, 850, 1417, 1416}
    assert [pid for pid in pids(logs) if pid in (1001, 1002, 1003)] == [1001, 1002, 1003]


def test_a_rotation_while_it_is_read(logs: Path, event_log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log moves between two looks at its folder, and again while it is read: each kill is listed, once."""
    event_log.write_text(kill(1001) + kill(1002, 1))
    listed = endings.oldest_first
    moves = iter(range(1, 3))

    def rotate(folder: Path, pattern: str) -> list[Path]:
        found = listed(folder, pattern)
        if pattern.startswith("event") and (number := next(moves, None)):
            event_log.rename(event_log.with_name(f"event_RAYLET.{3 - number}.log"))
            event_log.write_text(kill(1002 + number, 1 + number))
        return found

    monkeypatch.setattr(endings, "oldest_first", rotate)
    assert pids(logs) == [1001, 1002, 1003, 1004]
    monkeypatch.undo()
    lines = endings._lines(event_log.parent, "event_RAYLET*.log*")
    first = next(lines)
    event_log.rename(event_log.with_name("event_RAYLET.0.log"))
    event_log.write_text(kill(1005))
    assert [first, *lines][-1].startswith(kill(1004, 3).encode()[:50])


def test_one_name_is_not_one_task(event_log: Path, logs: Path) -> None:
    """Six workers of one name, each killed once; nobody wrote that one was retried."""
    event_log.write_text("".join(kill(1000 + number, number) for number in range(6)))
    kills = raymemprof.ooms(logs)
    assert len({row.name for row in kills}) == 1
    assert kills.retries == ()
    assert "without end" not in repr(kills)


def test_the_same_number_on_two_nodes() -> None:
    """In one second; and one kill that nodes tell which share a folder."""
    (row,) = raymemprof.ooms(DATA / "ray-2.60" / "logs")[:1]
    other = dataclasses.replace(row, node_id="f" * 56, worker_id="e" * 56)
    assert oom_kills._once([row, other, row]) == [row, other]


OWNER = (
    "[2026-11-24 21:49:{0:02d},559 I 3 4] task_manager.cc:1557: task {task} retries left: 3, oom retries left: {left}, "
    "task failed due to oom: 1\n"
    "[2026-11-24 21:49:{0:02d},559 I 3 4] core_worker.cc:5147: Will resubmit task after a {pause}ms delay: "
    "Type=NORMAL_TASK, task_id={task}, task_name=a, with commas, job_id=01000000\n"
)
ENDED = (
    "[2026-11-24 21:50:00,559 I 3 4] task_manager.cc:1649: Task failed: Socket closed: Type=NORMAL_TASK, "
    "task_id={task}, task_name=a, with commas, job_id=01000000\n"
)
GONE = "[2026-11-24 21:50:01,559 I 3 4] core_worker.cc:585: Disconnected from the local raylet.\n"


@pytest.mark.parametrize(
    ("end", "is_running", "is_over"),
    [("", True, False), ("", False, True), (ENDED, True, True), (GONE, True, True)],
    ids=["goes on", "session over", "given up", "owner gone"],
)
def test_what_an_owner_wrote(logs: Path, end: str, is_running: bool, is_over: bool) -> None:
    task = "16310a0f0a45af5cffffffffffffffffffffffff01000000"
    log = logs / f"python-core-driver-01_{os.getpid()}.log"
    text = "".join(OWNER.format(n, task=task, left=-1, pause=100 * 2**n) for n in range(4))
    half = text.index("\n", len(text) // 2) + 1
    log.with_name(log.name.replace(".log", ".1.log")).write_text(text[:half])
    log.write_text(text[half:] + end.format(task=task))
    (retry,) = oom_retries([logs], is_running=is_running)
    assert (retry.task_id, retry.name, retry.kills, retry.left) == (task, "a, with commas", 4, None)
    assert (retry.pause, retry.is_over) == (0.8, is_over)
    assert retry.since.second == 0
    assert raymemprof.ooms(logs).retries == (), "nothing runs here, and nobody was profiled: it may have finished"


def test_the_kernels_word_of_another_time() -> None:
    """Numbers are used again: what the kernel said an hour after the raylet saw the death is of somebody else."""
    began = NOW - timedelta(hours=2)
    raylet = {(7, "a" * 56): endings.Death(NOW, "unknown", 7, worker_id="a" * 56)}
    for late, cause in (timedelta(seconds=5), "kernel_oom"), (timedelta(hours=1), "sigkill"):
        for when in NOW + late, NOW - late:
            kernel = {7: endings.Death(when, "kernel_oom", 7, "f", memory=GIB)}
            assert endings.how_it_ended(DATA, "a" * 56, 7, began, raylet, kernel)[0] == cause


@pytest.mark.parametrize(
    ("cgroup", "files", "count"),
    [
        ("0::/a/b\n", {"a/memory.events": "oom 9\noom_kill 3\n", "a/b/memory.events": "oom_kill 1\n"}, 3),
        ("3:cpu:/x\n4:memory:/a\n", {"memory/a/memory.oom_control": "under_oom 0\noom_kill 2\n"}, 2),
        ("0::/a\n", {}, None),
    ],
    ids=["v2", "v1", "none"],
)
def test_the_kernels_counters(
    cgroup: str, files: dict[str, str], count: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel writes them; of a container that has killed more than its log names, the table says so."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text(cgroup)
    monkeypatch.setattr(endings, "CGROUPS", tmp_path)
    monkeypatch.setattr(endings, "OWN_CGROUPS", tmp_path / "own")
    assert endings.cgroup_oom_kills() == count
    place = Place(None, ())
    if count:
        assert f"has killed {count} processes" in (oom_kills._uncounted(place, count - 1) or "")
    assert oom_kills._uncounted(place, count or 0) is None
    assert oom_kills._uncounted(Place(tmp_path, ()), 0) is None, "the logs may be of another machine"


def test_damaged_lines_are_passed_over(logs: Path, event_log: Path) -> None:
    line = kill(1001)
    damaged = [line[:200], "{}", "[]", "null", '{"label":"Out of Memory"}', '"Out of Memory"', "Out of Memory \x00\xff"]
    damaged += [
        line.replace('"timestamp":', '"timestamp":"soon","x":'),
        line.replace('"timestamp":', '"timestamp":1e99,"x":'),
    ]
    event_log.write_bytes(("\n".join(damaged) + "\n" + kill(1002)).encode("latin-1"))
    assert pids(logs) == [1002]


def test_while_ray_writes(logs: Path, event_log: Path) -> None:
    """Each line comes in two pieces, and is read in between."""
    lines = [kill(1000 + number, number) for number in range(40)]
    for number, line in enumerate(lines):
        with event_log.open("a") as log:
            log.write(line[: len(line) // 2 + number * 10])
            log.flush()
            assert pids(logs) == [1000 + before for before in range(number)]
            log.write(line[len(line) // 2 + number * 10 :])
    assert pids(logs) == [1000 + number for number in range(40)]


APPEND = """
import sys
for line in open(sys.argv[1]):
    with open(sys.argv[2], "a", buffering=1) as log:
        for start in range(0, len(line), 1000):
            log.write(line[start : start + 1000])
            log.flush()
"""


def test_while_another_process_writes(logs: Path, event_log: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    lines.write_text("".join(kill(1000 + number, number) for number in range(1500)))
    event_log.touch()
    seen: list[int] = []
    with subprocess.Popen([sys.executable, "-c", APPEND, str(lines), str(event_log)]) as writer:
        while writer.poll() is None:
            found = pids(logs)
            assert found[: len(seen)] == seen
            assert found == [1000 + number for number in range(len(found))]
            seen = found
    assert writer.returncode == 0
    kills = raymemprof.ooms(logs)
    assert [row.pid for row in kills] == [1000 + number for number in range(1500)]
    assert kills.retries == (), "many kills of one name are no retries"


READ = """
import resource, sys, time
import raymemprof
raymemprof.ooms(sys.argv[1])
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
kills = raymemprof.ooms(sys.argv[2])
print(len(kills), time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_log_of_200_000_events(
    logs: Path, event_log: Path, tmp_path: Path, run_python: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Read, and not into memory. The benchmark has how long it takes."""
    with event_log.open("w") as log:
        for number in range(200_000):
            if number % 1000 == 0:
                log.write(kill(1_000_000 + number, number))
            elif number % 4 == 0:
                log.write(FAILURES[0].replace("Worker PID: 13110", f"Worker PID: {number}") + "\n")
            else:
                log.write(OTHER + "\n")
    size = event_log.stat().st_size
    (tmp_path / "empty").mkdir()
    count, seconds, kilobytes = run_python(READ, str(tmp_path / "empty"), str(logs)).split()
    event_log.unlink()
    with capsys.disabled():
        print(f" [{size / MIB:.0f} MiB: {float(seconds):.2f} s, {int(kilobytes) / 1024:.0f} MiB more memory]", end="")
    assert int(count) == 200
    assert int(kilobytes) * 1024 < size / 3


@pytest.fixture
def run_python() -> Callable[..., str]:
    def run(code: str, *arguments: str) -> str:
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
