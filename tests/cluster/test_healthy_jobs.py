"""`doctor()` on healthy jobs of Ray's libraries, one after the other in one cluster: it accuses nobody."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from tests.paths import PROGRAMS

PROGRAM = PROGRAMS / "healthy_jobs_program.py"
NEEDS = {"data": "pyarrow", "serve": "grpc_reflection", "train": "tensorboardX", "tune": "tensorboardX"}
"""What each of Ray's libraries is not installed without."""
CALLS = {"data": 21, "serve": 62, "train": 6, "tune": 9}


def test_nothing_is_wrong_with_them(tmp_path: Path) -> None:
    jobs = [name for name, module in NEEDS.items() if importlib.util.find_spec(module)]
    done = subprocess.run([sys.executable, PROGRAM, *jobs], cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    told = [json.loads(line.partition(" ")[2]) for line in done.stdout.splitlines() if line.startswith("doctor {")]
    assert [one["job"] for one in told] == jobs
    calls = 0
    for one in told:
        calls += CALLS[one["job"]]
        assert one["calls"] >= calls, "it did not see the job's calls"
        assert one["healthy"] is True, one["shown"]
        assert one["findings"] == [], one["shown"]
