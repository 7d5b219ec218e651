"""A minute of `abuse.py`, or less: it runs, cleans up behind itself, and what it says holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.paths import TESTS


@pytest.mark.skipif(not os.environ.get("RAYMEMPROF_ABUSE"), reason="set RAYMEMPROF_ABUSE=1 to run it")
def test_some_of_a_day() -> None:
    command = [sys.executable, TESTS / "abuse.py", "--minutes", "0.3", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=290)
    table = json.loads(done.stdout.splitlines()[-1])
    assert [row for row in table if not row["holds"]] == []
    assert done.returncode == 0
