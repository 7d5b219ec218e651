"""What Ray Data notes of its memory is heard, without a change to it; where Ray has moved it, nothing is."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

PROGRAM = """
import sys, wrapt
from raymemprof import cluster

def move(module):
    if "moved" in sys.argv:
        module.MemoryProfiler.moved = module.MemoryProfiler.estimate_max_uss
        del module.MemoryProfiler.estimate_max_uss

wrapt.register_post_import_hook(move, "ray.data._internal.util")
heard = []
cluster.hear_ray_data_peaks(heard.append)
cluster.hear_ray_data_peaks(heard.append)
from ray.data._internal.util import MemoryProfiler

with MemoryProfiler(poll_interval_s=None) as profiler:
    said = profiler.moved() if "moved" in sys.argv else profiler.estimate_max_uss()
print((said, heard))
"""


@pytest.mark.versions
@pytest.mark.parametrize("how", ["", "moved"])
def test_what_it_notes_is_heard_once(how: str) -> None:
    pytest.importorskip("ray.data")
    out = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stderr
    said, heard = ast.literal_eval(out.stdout.splitlines()[-1])
    assert heard == ([] if how or said is None else [said])
    assert said is None or said > 2**20
