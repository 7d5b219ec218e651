"""Names that are no Unicode text, which memray cannot write: that call is untraced, and says why; others are traced."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import raymemprof
from raymemprof import profile_memory

RUN = """
import sys
from raymemprof import profile_memory

which, folder = sys.argv[1:]
record = profile_memory(directory=folder, linger=0)
load = lambda size: len(bytearray(size))
if which == "function":
    named = lambda size: len(bytearray(size))
    named.__code__ = named.__code__.replace(co_name="lo\\ud800ad")
    named.__name__ = "named"
    assert record(named)(3_000_000) == 3_000_000
else:
    names = {"load": record(load)}
    exec(compile("def caller(size): return load(size)", "/steps/lo\\udcffad.py", "exec"), names)
    assert names["caller"](3_000_000) == 3_000_000
load.__name__ = load.__qualname__ = "after"
assert record(load)(3_000_000) == 3_000_000  # at once
"""


@pytest.mark.parametrize("which", ["function", "file"])
def test_other_calls_are_traced(which: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", RUN, which, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, after = raymemprof.calls(tmp_path)
    assert first.capture is None
    assert first.note is not None
    assert first.note.startswith("the name of a function or file that runs, '")
    assert first.note.endswith("is not valid Unicode, which memray needs")
    assert (after.name, after.note) == ("after", None)
    assert raymemprof.heap(after).peak >= 3_000_000
    assert "compress" not in done.stderr  # what memray says at the end where it stopped half way


def test_a_folder_of_such_a_name_has_calls_without_captures(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/shards\xff"
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this file system has no such names")

    def load() -> int:
        return len(bytearray(3_000_000))

    assert profile_memory(load, directory=os.fsdecode(folder), linger=0)() == 3_000_000
    assert profile_memory(load, directory=tmp_path / "other", linger=0)() == 3_000_000  # at once
    (call,) = raymemprof.calls(os.fsdecode(folder))
    assert call.note is not None
    assert call.note.startswith("the name of the folder to record to, '")
    assert raymemprof.heap(raymemprof.calls(tmp_path / "other")[0]).peak >= 3_000_000


THREAD = """
import sys
from concurrent.futures import ThreadPoolExecutor
from raymemprof import profile_memory

@profile_memory(directory=sys.argv[1], linger=0)
def load(name):
    kept = bytearray(3_000_000)
    with ThreadPoolExecutor(1, thread_name_prefix=name) as pool:
        return pool.submit(len, kept).result()

print(load("/data/m\\udcfcller.csv"))
"""


def test_a_thread_of_such_a_name_starts(tmp_path: Path) -> None:
    """With memray alone its starter waits for ever."""
    done = subprocess.run([sys.executable, "-c", THREAD, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("3000000\n", 0), done.stderr
    (call,) = raymemprof.calls(tmp_path)
    assert raymemprof.heap(call).peak >= 3_000_000
