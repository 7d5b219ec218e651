"""The quickstart in `examples/` finds the mistakes that its source marks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import EXAMPLES

EXAMPLE = EXAMPLES / "quickstart.py"


def mistakes() -> dict[int, str]:
    """The lines below the comments that say MISTAKE: number and text."""
    lines = EXAMPLE.read_text().splitlines()
    return {number + 2: lines[number + 1].strip() for number, line in enumerate(lines) if "# MISTAKE" in line}


@pytest.mark.timeout(150)
def test_it_finds_its_mistakes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "160"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""

    found = re.findall(r"([\d.]+) MiB of the ([\d.]+) MiB that .* came from (.*):(\d+)\n +(.*)", done.stdout)
    assert {int(line): text for *_, line, text in found} == mistakes()
    assert len(found) == 2
    for held, peak, file, _, _ in found:
        assert Path(file) == EXAMPLE
        assert float(peak) / 2 < float(held) <= float(peak), "the guilty line is not most of the peak"

    table = done.stdout.partition(" calls")[2]
    assert "survey" in table
    assert "Index.add" in table
    for name in ("survey-memory.html", "index-memory.html"):
        assert str(tmp_path / name) in done.stdout
        assert "d3-flame-graph" in (tmp_path / name).read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index-memory.html", "survey-memory.html"]
