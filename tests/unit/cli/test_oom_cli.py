"""`raymemprof explain` and `raymemprof ooms`: the figures of the texts and logs given, as text and as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from tests.paths import DATA
from tests.programs import commands

COMMAND = Path(sys.executable).with_name("raymemprof")
TEXT = DATA / "ray-2.60" / "task-oom.txt"
LOGS = DATA / "ray-2.60" / "logs"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    if not options:
        return commands.run(*arguments)
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60, **options)


def answer(*arguments: object, **options: Any) -> str:
    """What the command prints; fails the test where it complains."""
    done = run(*arguments, **options)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def complaint(*arguments: object, **options: Any) -> str:
    """The one line that the command refuses with."""
    done = run(*arguments, **options)
    assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("raymemprof: ")
    return line


def test_explain_a_file_a_text_and_standard_input(tmp_path: Path) -> None:
    source = ("--source", tmp_path)
    expected = str(raymemprof.explain(TEXT.read_text(), tmp_path))
    assert "allocate_memory (pid 12989)" in expected
    assert answer("explain", TEXT, *source).strip() == expected
    assert answer("explain", TEXT.read_text(), *source).strip() == expected
    assert answer("explain", *source, input=TEXT.read_text()).strip() == expected
    assert answer("explain", "-", *source, input=TEXT.read_text()).strip() == expected


def test_explain_a_pipe(tmp_path: Path) -> None:
    """As a shell has it for `raymemprof explain <(cat error.txt)`."""
    command = f"exec {COMMAND} explain <(cat {TEXT}) --source {tmp_path}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(raymemprof.explain(TEXT.read_text(), tmp_path))


def test_explain_a_folder_or_nothing_that_is_there(tmp_path: Path) -> None:
    assert str(tmp_path) in complaint("explain", tmp_path)
    assert "is a folder" in complaint("explain", tmp_path)
    assert "errr" in complaint("explain", "errr")
    assert "raised MemoryError" in answer("explain", "MemoryError")
    assert "--source" in complaint("explain", TEXT, tmp_path)


def test_explain_words_without_quotes(tmp_path: Path) -> None:
    words = "Task train failed due to oom. There are infinite oom retries remaining, so the task will be retried."
    assert "train" in answer("explain", *words.split(), "--source", tmp_path)


def test_explain_as_json(tmp_path: Path) -> None:
    found = json.loads(answer("explain", TEXT, "--source", tmp_path, "--json"))
    assert found["cause"] == "ray_memory_monitor"
    assert (found["used"], found["limit"], found["threshold"]) == (4154372096, 25276514304, 4140847104)
    (victim,) = found["victims"]
    assert (victim["name"], victim["pid"]) == ("allocate_memory", 12989)
    assert len(found["top_processes"]) == 10
    assert found["top_processes"][0] == {
        "pid": 12989,
        "memory": round(2.91 * 2**30),
        "command": "ray::allocate_memory",
    }
    assert found["calls"] == []
    assert all(isinstance(sentence, str) for sentence in found["advice"])


@pytest.mark.parametrize("text", [b"", b"\xff\xfe\x00 nothing", b"all is well"])
def test_explain_what_says_nothing(text: bytes, tmp_path: Path) -> None:
    done = subprocess.run([COMMAND, "explain", "--source", tmp_path], input=text, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"do not recognise" in done.stdout


def test_ooms(tmp_path: Path) -> None:
    table = answer("ooms", LOGS)
    assert table.strip() == repr(raymemprof.ooms(LOGS)).strip()
    assert "4 processes" in table
    rows = json.loads(answer("ooms", LOGS, "--json"))
    assert [row["pid"] for row in rows] == [851, 850, 1417, 1416]
    assert {row["cause"] for row in rows} == {"ray_memory_monitor"}
    assert rows[0]["when"] == "2026-11-23T02:53:25+00:00"
    assert json.loads(answer("ooms", tmp_path, "--json")) == []


def test_bad_input(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert str(missing) in complaint("ooms", missing)
    assert str(missing) in complaint("ooms", missing, "--json")
    assert str(missing) in complaint("explain", TEXT, "--source", missing)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0)
    assert str(secret) in complaint("explain", secret)


def test_explain_without_a_text_at_a_terminal() -> None:
    """It does not sit there and wait."""
    ours, theirs = os.openpty()
    try:
        assert "give the error's text" in complaint("explain", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
