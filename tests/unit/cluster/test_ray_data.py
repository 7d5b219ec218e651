"""What Ray Data notes of its memory is heard, without a change to it; where Ray has moved it, that is told."""

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
    if "broken" in sys.argv:
        module.MemoryProfiler = Broken()

class Broken:
    def __getattr__(self, name):
        raise RuntimeError(name)

wrapt.register_post_import_hook(move, "ray.data._internal.util")
heard, unknown = [], []
cluster.hear_ray_data_peaks(heard.append, unknown.append)
from ray.data._internal.util import MemoryProfiler

if "broken" in sys.argv:
    print((None, heard, unknown))
    sys.exit()
with MemoryProfiler(poll_interval_s=None) as profiler:
    said = profiler.moved() if "moved" in sys.argv else profiler.estimate_max_uss()
print((said, heard, unknown))
"""


@pytest.mark.versions
@pytest.mark.parametrize("how", ["", "moved", "broken"])
def test_what_it_notes_is_heard_and_what_has_moved_is_told(how: str) -> None:
    pytest.importorskip("ray.data")
    out = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stderr
    said, heard, unknown = ast.literal_eval(out.stdout.splitlines()[-1])
    assert heard == ([] if how or said is None else [said])
    assert unknown == (["MemoryProfiler.estimate_max_uss() of Ray Data"] if how else [])
    assert said is None or said > 2**20
