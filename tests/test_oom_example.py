"""The example in `examples/oom.py` gets a task killed by Ray and names the line that its source marks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "oom.py"
TRIES = 3


def run(folder: Path) -> str:
    """What the example prints; others on this machine may free so much memory meanwhile that Ray kills nobody."""
    for _ in range(TRIES):
        done = subprocess.run(
            [sys.executable, str(EXAMPLE)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=folder,
            env={**os.environ, "COLUMNS": "160"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        if "Counted" not in done.stdout:
            return done.stdout
    pytest.fail(f"in {TRIES} tries Ray killed nobody")


@pytest.mark.versions
@pytest.mark.timeout(200)
def test_it_names_its_mistake(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text().splitlines()
    assert len(lines) <= 60
    mistake = next(number for number, line in enumerate(lines, 1) if "# MISTAKE" in line) + 1

    printed = run(tmp_path)
    wall, _, rest = printed.partition("raymemprof says:")
    assert "low on memory" in wall
    assert len(wall.splitlines()) < 8
    explanation, _, table = rest.partition("\n\n")
    (killed,) = re.findall(r"killed count_bytes \(pid (\d+)\)", explanation)
    held, file, line, code = re.findall(
        r"It held ([\d.]+) .iB allocated at (.*):(\d+) in count_bytes: (.*)", explanation
    )[0]
    assert (Path(file), int(line), code) == (EXAMPLE, mistake, lines[mistake - 1].strip())
    assert float(held) > 0
    assert f"oom.py:{mistake}" in explanation.partition("What to do:")[2].splitlines()[1]
    assert f" {killed} " in table
    assert list(tmp_path.iterdir()) == []
    for folder in re.findall(r"in (/.*)/logs$", table, re.MULTILINE):
        shutil.rmtree(folder, ignore_errors=True)
