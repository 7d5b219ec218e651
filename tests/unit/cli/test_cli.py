"""The `raymemprof` command: tables, JSON, reports, and one sentence for what cannot be done."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from tests.programs import commands

MIB = 2**20
COMMAND = Path(sys.executable).with_name("raymemprof")
REPORTS = {"flamegraph": "html", "table": "html", "speedscope": "json"}

RECORD = """
import os, signal, sys
from raymemprof import profile_memory

@profile_memory(directory=sys.argv[1])
def load(size):
    return bytearray(size)

@profile_memory(directory=sys.argv[1], heap=False)
def sampled():
    return 1

@profile_memory(directory=sys.argv[1])
def dies():
    kept = bytearray(3 << 20)
    more = bytearray(1 << 20)
    os.kill(os.getpid(), signal.SIGKILL)

load(1 << 20)
load(2 << 20)
sampled()
dies()
"""


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process left that was killed in its last call."""
    folder = tmp_path_factory.mktemp("recorded")
    assert subprocess.run([sys.executable, "-c", RECORD, folder]).returncode == -signal.SIGKILL
    return folder


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    if not options:
        return commands.run(*arguments)
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60, **options)


def answer(*arguments: object) -> str:
    """What the command prints; fails the test where it complains."""
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def complaint(*arguments: object) -> str:
    """The one line that the command refuses with."""
    done = run(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("raymemprof: ")
    return line


@pytest.mark.versions
def test_tables(folder: Path) -> None:
    calls = answer("calls", folder)
    assert calls.splitlines()[0].strip() == "4 calls"
    assert "killed" in calls
    assert calls.count("load") == 2
    captures = answer("captures", folder)
    assert "killed" in captures
    assert len(captures.splitlines()) > 3
    heap = answer("heap", "--name", "dies", folder)
    assert "peak 4.0 MiB" in heap
    assert "alive at the end" in heap
    assert "dies" in heap


@pytest.mark.versions
def test_json(folder: Path) -> None:
    calls = json.loads(answer("calls", "--json", folder))
    assert [call["name"] for call in calls] == ["load", "load", "sampled", "dies"]
    (capture,) = json.loads(answer("captures", folder, "--json"))
    assert (capture["call_count"], capture["path"]) == (3, calls[0]["capture"])
    heap = json.loads(answer("heap", "--json", "--status", "killed", folder))
    assert 4 * MIB <= heap["peak"] < 4.1 * MIB
    assert heap["at_end"][0]["function"] == "dies"
    assert [line["bytes"] // MIB for line in heap["at_end"][:2]] == [3, 1]
    both = json.loads(answer("heap", "--json", "--name", "load", folder))
    assert both["call_count"] == 2
    assert both["peak"] >= 3 * MIB


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["--name", "load"], ["load", "load"]),
        (["--name", "l*d"], ["load", "load"]),
        (["--status", "killed"], ["dies"]),
        (["--kind", "task"], ["load", "load", "sampled", "dies"]),
        (["--kind", "actor"], []),
        (["--task-id", "a"], []),
        (["--actor-id", "a"], []),
        (["--job-id", "a"], []),
        (["--node-id", "a"], []),
    ],
    ids=str,
)
def test_filters(filters: list[str], names: list[str], folder: Path) -> None:
    assert [call["name"] for call in json.loads(answer("calls", folder, "--json", *filters))] == names


def test_heap_shows_as_many_lines_as_asked(folder: Path) -> None:
    shown = {count: answer("heap", "-n", count, folder, "--name", "dies") for count in (1, 2)}
    assert len(shown[2].splitlines()) == len(shown[1].splitlines()) + 1


LOADS = """
import sys
import raymemprof

kept = []

@raymemprof.profile_memory(directory=sys.argv[1], heap=False)
def load(size, keep):
    data = bytearray(b"1") * size
    if keep:
        kept.append(data)

for size, keep in ((60, True), (20, False), (30, False), (2, False)):
    load(size * 2**20, keep)
"""


def test_calls_are_sorted_by_what_they_added_and_not_by_what_was_there(tmp_path: Path) -> None:
    """A worker that another call has filled: the fullest process is not that of the largest call.

    It is a process of its own: the kernel tells of a peak that is soon over if it is the highest that there was.
    """
    subprocess.run([sys.executable, "-c", LOADS, tmp_path], check=True)
    listed = raymemprof.calls(tmp_path)
    rows = json.loads(answer("calls", tmp_path, "--json", "--sort", "growth"))
    assert [row["started_at"] for row in rows] == [listed[place].started_at.isoformat() for place in (3, 1, 2, 0)]
    assert [row["growth"] for row in rows] == pytest.approx([2 * MIB, 20 * MIB, 30 * MIB, 60 * MIB], abs=4 * MIB)
    assert listed[3].peak_memory > 60 * MIB, "what the first one left"
    fullest = json.loads(answer("calls", tmp_path, "--json", "--sort", "peak_memory"))[-1]
    assert fullest["started_at"] == listed[2].started_at.isoformat()
    assert " growth " in answer("calls", tmp_path)


@pytest.mark.parametrize("command", REPORTS)
def test_reports(command: str, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / f"out.{REPORTS[command]}"
    for arguments in (["--name", "dies", folder], [raymemprof.captures(folder)[0].path]):
        assert answer(command, *arguments, "-o", output, "--force").split() == ["Wrote", str(output)]
        text = output.read_text()
        assert "dies" in text
        assert json.loads(text) if command == "speedscope" else text.rstrip().endswith("</html>")
        output.unlink()
    for view in ("peak", "leaks", "temporary"):
        assert answer(command, "--name", "load", folder, "--view", view).startswith("Wrote ")
    assert len(list(tmp_path.glob("raymemprof-*"))) == 3


def test_other_ways_to_draw(folder: Path, tmp_path: Path) -> None:
    offline, web = tmp_path / "offline.html", tmp_path / "web.html"
    answer("flamegraph", "--name", "dies", folder, "-o", offline)
    answer("flamegraph", "--name", "dies", folder, "-o", web, "--web")
    assert web.stat().st_size < offline.stat().st_size / 4
    answer("flamegraph", "--name", "dies", folder, "--temporal", "-o", tmp_path / "temporal.html")
    assert "merge" in (tmp_path / "temporal.html").read_text()


@pytest.mark.parametrize("command", ["calls", "captures", "heap", *REPORTS])
def test_a_path_that_is_not_there(command: str) -> None:
    assert "missing" in complaint(command, "missing")


@pytest.mark.parametrize("command", ["heap", "flamegraph"])
def test_files_that_are_no_captures(command: str, folder: Path, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.bin"
    garbage.write_bytes(os.urandom(4096))
    assert "garbage.bin" in complaint(command, garbage)
    empty = tmp_path / "empty.bin"
    empty.touch()
    assert "empty" in complaint(command, empty)
    (journal,) = folder.glob("*.jsonl")
    assert "journal" in complaint(command, journal)
    damaged = tmp_path / "damaged.bin"
    damaged.write_bytes(raymemprof.captures(folder)[0].path.read_bytes()[:30])
    assert "damaged.bin" in complaint(command, damaged)
    (tmp_path / "nothing").mkdir()
    assert "no capture" in complaint(command, tmp_path / "nothing")
    assert list(tmp_path.glob("raymemprof-*")) == []


@pytest.mark.parametrize("command", REPORTS)
def test_an_output_that_exists_is_kept_without_force(command: str, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_text("mine")
    assert "--force" in complaint(command, "--name", "dies", folder, "-o", output)
    assert output.read_text() == "mine"
    answer(command, "--name", "dies", folder, "-o", output, "-f")
    assert "dies" in output.read_text()


@pytest.mark.parametrize("command", REPORTS)
def test_what_lies_under_the_default_name_is_kept_without_force_unless_it_is_a_report(
    command: str, folder: Path, tmp_path: Path
) -> None:
    written = Path(answer(command, "--name", "dies", folder).split()[-1])
    written.write_text("mine")
    assert "--force" in complaint(command, "--name", "dies", folder)
    assert written.read_text() == "mine"
    for again in (["--force"], []):  # at last an earlier report
        answer(command, "--name", "dies", folder, *again)
        assert "dies" in written.read_text()


@pytest.mark.parametrize("command", ["table", "speedscope"])
def test_outputs_that_cannot_be_written(command: str, folder: Path, tmp_path: Path) -> None:
    assert "missing" in complaint(command, "--name", "dies", folder, "-o", tmp_path / "missing" / "out")
    assert complaint(command, "--name", "dies", folder, "-o", "/dev/full/out")
    read_only = tmp_path / "read_only"
    read_only.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", read_only], capture_output=True).returncode:
        pytest.skip("this user may not mount")
    try:
        assert "read_only" in complaint(command, "--name", "dies", folder, "-o", read_only / "out")
    finally:
        subprocess.run(["umount", read_only], check=True)
    copy = shutil.copy(raymemprof.captures(folder)[0].path, tmp_path / "copy.bin")
    assert "itself" in complaint(command, copy, "-o", copy, "--force")


@pytest.mark.parametrize("command", ["heap", "flamegraph"])
def test_calls_that_cannot_be_shown(command: str, folder: Path) -> None:
    assert "nobody" in complaint(command, "--name", "nobody", folder)
    assert "sampled" in complaint(command, "--name", "sampled", folder)
    assert "--name" in complaint(command)
    assert complaint(command, "")
    assert complaint(command, folder, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["calls", "--colour"],
        ["calls", "--status", "dead"],
        ["calls", "--kind"],
        ["calls", "one", "two"],
        ["calls", ""],
        ["captures", ""],
        ["heap", "--lines", "0"],
        ["heap", "-n", "many"],
        ["flamegraph", "--view", "hour"],
        ["flamegraph", "-o"],
        ["table", "--temporal"],
        ["speedscope", "--web"],
        ["flame"],
        ["--json"],
    ],
    ids=" ".join,
)
def test_bad_usage(arguments: list[str]) -> None:
    complaint(*arguments)


@pytest.mark.parametrize("arguments", [["calls"], ["calls", "--json"], ["captures"], ["heap"]], ids=" ".join)
@pytest.mark.parametrize("lines", [0, 1])
def test_a_reader_that_has_had_enough(arguments: list[str], lines: int, folder: Path, tmp_path: Path) -> None:
    (journal,) = folder.glob("*.jsonl")
    many = shutil.copytree(folder, tmp_path / "many")
    for number in range(300):  # more than a pipe holds
        shutil.copy(journal, many / f"raymemprof-x-local-0-{number}-{number}.jsonl")
    with subprocess.Popen(
        [COMMAND, *arguments, many], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) in (0, -signal.SIGPIPE)


def test_help_and_version() -> None:
    text = answer("-h")
    for command in ("calls", "captures", "heap", *REPORTS):
        assert f"  {command} " in text
        assert "Usage:" in answer(command, "--help")
    assert raymemprof.__version__ in answer("--version")


def test_no_command_prints_the_help() -> None:
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == answer("--help")
    assert len(done.stdout.splitlines()) > 10


def test_no_source_is_what_was_recorded_last(folder: Path, tmp_path: Path) -> None:
    latest = shutil.copytree(folder, tmp_path / "latest")
    for path in latest.iterdir():
        os.utime(path, (9e9, 9e9))  # other sessions of this machine may be recorded to right now
    done = run("calls", "--json", env={**os.environ, "RAYMEMPROF_DIRECTORY": str(latest)})
    assert [call["name"] for call in json.loads(done.stdout)] == ["load", "load", "sampled", "dies"]
    done = run("heap", "--name", "dies", env={**os.environ, "RAYMEMPROF_DIRECTORY": str(latest)})
    assert "peak 4.0 MiB" in done.stdout


def test_calls_are_sorted_by_a_function_or_a_column(folder: Path) -> None:
    calls = raymemprof.calls(folder)
    for column in ("growth", "peak_memory", "name", "started_at"):
        by_function = calls.sorted(lambda call, column=column: getattr(call, column))
        assert list(calls.sorted(column)) == list(by_function), column
    assert type(calls.sorted("growth")) is raymemprof.Calls
    assert calls.sorted("capture")[0].name == "sampled", "the one that has none"
    assert list(raymemprof.calls(folder, name="nobody").sorted("growth")) == []


def test_calls_are_not_sorted_by_what_is_neither(folder: Path) -> None:
    with pytest.raises(TypeError, match=r"takes a column's name, or a function such as .*, and got 3"):
        raymemprof.calls(folder).sorted(3)
    with pytest.raises(ValueError, match=r"there is no column 'size'; there are name, .*growth"):
        raymemprof.calls(folder).sorted("size")
