"""The program of a command line."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from raymemprof.command_line import Program, program_of
from raymemprof.diagnosis.usage.processes import program

JOB = Program("python", None, "job.py")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python job.py --epochs 3", JOB),
        ("/usr/bin/python3.11 -u /home/me/job.py", Program("python3.11", None, "/home/me/job.py")),
        ("python -W ignore job.py", JOB),
        ("python -Wignore job.py", JOB),
        ("python -uW ignore -X dev job.py", JOB),
        ("python --check-hash-based-pycs always job.py", JOB),
        ("python -X dev -m pkg.main --flag", Program("python", "-m", "pkg.main")),
        ("python -um pkg.main", Program("python", "-m", "pkg.main")),
        ("python -c 'import job' job.py", Program("python", "-c", "import job")),
        ("python -c''import", Program("python", "-c", "import")),
        ("env A=b python job.py", JOB),
        ("/usr/bin/env -i -u HOME A=b python -O job.py", JOB),
        ("env", Program("env")),
        ("python3.11 -u", Program("python3.11")),
        ("python -", Program("python")),
        ("python -m", Program("python")),
        ("java -W ignore job.py", Program("java")),
        ("python '' job.py", Program("python")),
        ("", None),
        ("''", None),
    ],
)
def test_the_program_of_a_command_line(command: str, expected: Program | None) -> None:
    assert program_of(shlex.split(command)) == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python -W ignore /jobs/job.py", "job.py"),
        ("python -X dev -m pkg", "pkg"),
        ("python3 -c 'import job'", "python3 -c"),
        ("python3.11 -u", "python3.11"),
        ("env A=b python x.py", "x.py"),
        ("/bin/bash run.sh", "bash"),
        ("", None),
    ],
)
def test_how_usage_calls_it(command: str, expected: str | None) -> None:
    assert program(tuple(shlex.split(command))) == expected


@pytest.mark.parametrize("options", [["-W", "ignore"], ["-uXdev"], ["-I", "-X", "utf8"]])
def test_python_reads_its_options_in_the_same_way(tmp_path: Path, options: list[str]) -> None:
    script = tmp_path / "job.py"
    script.write_text("import sys; print(sys.argv[0], flush=True); input()")
    with subprocess.Popen([sys.executable, *options, script], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        ran = process.stdout.readline().strip()
        found = program_of(psutil.Process(process.pid).cmdline())
        process.communicate("\n")
    assert found == Program(os.path.basename(sys.executable), None, ran)
