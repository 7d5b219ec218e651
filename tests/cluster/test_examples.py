"""The examples of Ray's libraries find the mistake that their source marks."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.paths import EXAMPLES


@pytest.mark.rays
@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("data", r".*MapBatches\(count_words\)"),
        ("serve", r"Search\.__call__"),
        ("train", r"fit_line, rank 1,"),
        ("tune", r"fit_polynomial, trial \w+_00002,"),
    ],
)
def test_it_names_its_mistake(name: str, what: str) -> None:
    example = EXAMPLES / f"{name}.py"
    lines = example.read_text().splitlines()
    assert len(lines) <= 55
    mistake = next(number for number, line in enumerate(lines, 1) if "# MISTAKE" in line) + 1
    done = subprocess.run(
        [sys.executable, str(example)],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "COLUMNS": "160"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(rf"^{what} held ([\d.]+) MiB by (.*):(\d+): (.*)$", done.stdout, re.MULTILINE)
    assert [(file, int(line), text) for _, file, line, text in found] == [
        (str(example), mistake, lines[mistake - 1].strip())
    ], done.stdout
    assert int(found[0][0]) >= 8
