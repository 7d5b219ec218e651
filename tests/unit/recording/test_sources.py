"""Source texts are kept beside the journal: small, each once, private, and only of code that recorded code may run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import raymemprof
from raymemprof import journal as contract
from raymemprof import profile_memory
from raymemprof.recording import disk_budget

STEPS = """
from . import deep


def build(size):
    return deep.allocate(size)
"""
DEEP = """
def allocate(size):
    return bytearray(size)  # {note}
"""
PROGRAM = """
import os
import sys

from raymemprof import profile_memory

sys.path.insert(0, {code!r})
import beside
from pkg.steps import build


class Proxy:
    @property
    def __class__(self):
        raise SystemExit("a proxy was asked what it is")


proxy = Proxy()


@profile_memory(directory={folder!r})
def load():
    kept = build(8_000_000)
    if {dies}:
        os.kill(os.getpid(), 9)
    return kept, proxy is None


load()
"""


def write_code(folder: Path, note: str = "here") -> Path:
    """Make a package of two modules, and a module beside it that nothing recorded refers to."""
    package = folder / "pkg"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / "steps.py").write_text(STEPS)
    (package / "deep.py").write_text(DEEP.format(note=note))
    (folder / "beside.py").write_text("WHO = 'nobody runs this'\n")
    return folder


def run(code: Path, folder: Path, dies: bool = False) -> raymemprof.Call:
    """Run the program with this code; returns the call that it recorded."""
    script = code / "main.py"
    script.write_text(PROGRAM.format(code=str(code), folder=str(folder), dies=dies).replace("import beside\n", ""))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == (-9 if dies else 0), done.stderr
    return raymemprof.calls(folder, name="load")[-1]


def texts(folder: Path) -> dict[str, Path]:
    """The texts in a folder, by what is in them."""
    return {path.read_text(): path for path in folder.iterdir() if contract.is_source(path.name)}


def held(*calls: raymemprof.Call) -> dict[str, str]:
    """The lines that hold most, and their text."""
    return {line.location: line.text for line in raymemprof.heap(calls).top() if line.bytes > 1_000_000}


@pytest.mark.parametrize("dies", [pytest.param(False, marks=pytest.mark.versions), True])
def test_a_line_is_shown_whose_file_is_gone(dies: bool, tmp_path: Path) -> None:
    code = write_code(tmp_path / "code")
    call = run(code, tmp_path / "records", dies)
    kept = texts(tmp_path / "records")
    assert set(kept) == {STEPS, DEEP.format(note="here"), (code / "main.py").read_text()}
    for path in (code / "main.py", *code.glob("pkg/*.py")):
        path.unlink()
    assert held(call) == {f"{code}/pkg/deep.py:3": "return bytearray(size)  # here"}
    assert "return bytearray(size)  # here" in raymemprof.flamegraph(call).path.read_text()
    assert "return build(8_000_000)" not in repr(raymemprof.heap(call))


def test_a_file_that_was_changed_since_is_shown_as_it_was(tmp_path: Path) -> None:
    code = write_code(tmp_path / "code", "before")
    call = run(code, tmp_path / "records")
    write_code(code, "after")
    assert list(held(call).values()) == ["return bytearray(size)  # before"]
    elsewhere = (tmp_path / "records").rename(tmp_path / "elsewhere")
    for path in texts(elsewhere).values():
        path.unlink()
    (call,) = raymemprof.calls(elsewhere)
    assert list(held(call).values()) == [""]  # the file has another line there by now
    assert "# after" not in raymemprof.table(call).path.read_text()


def test_each_content_is_there_once(tmp_path: Path) -> None:
    code, records = write_code(tmp_path / "code", "first"), tmp_path / "records"
    first = run(code, records)
    count = len(texts(records))
    again = run(code, records)
    assert len(texts(records)) == count
    write_code(code, "second")
    second = run(code, records)
    assert len(texts(records)) == count + 1
    assert list(held(first, again).values()) == ["return bytearray(size)  # first"]
    both = held(first, second)
    assert set(both.values()) == {""}, both  # it was one line, and then another: neither is all of it


def test_what_memray_holds_for_confidential_is_not_kept(tmp_path: Path) -> None:
    secret = tmp_path / "settings"
    word = "sword" + "fish"
    secret.write_text(f"def hold():\n    return bytearray(3_000_000)  # {word}\n")
    secret.chmod(0o600)
    names: dict[str, Callable[[], bytearray]] = {}
    exec(compile(secret.read_text(), str(secret), "exec"), names)
    profile_memory(directory=tmp_path / "records", linger=0)(names["hold"])()
    (call,) = raymemprof.calls(tmp_path / "records")
    assert held(call) == {f"{secret}:2": ""}
    assert not [text for text in texts(tmp_path / "records") if word in text]
    assert word not in raymemprof.flamegraph(call).path.read_text()
    secret.chmod(0o644)
    assert held(call) == {f"{secret}:2": f"return bytearray(3_000_000)  # {word}"}


def test_a_text_that_is_not_what_its_name_says_is_not_shown(tmp_path: Path) -> None:
    code, records = write_code(tmp_path / "code"), tmp_path / "records"
    call = run(code, records)
    (code / "pkg" / "deep.py").unlink()
    texts(records)[DEEP.format(note="here")].write_text(DEEP.format(note="a lie"))
    assert list(held(call).values()) == [""]


def test_texts_take_a_small_part_of_the_budget_and_the_oldest_go_first(tmp_path: Path) -> None:
    code, records = write_code(tmp_path / "code"), tmp_path / "records"
    records.mkdir()
    old = [records / contract.source_name(f"{number:032x}") for number in range(3)]
    for number, path in enumerate(old):
        path.write_bytes(bytes(40_000))
        os.utime(path, (10**9 + number, 10**9 + number))
    script = code / "main.py"
    program = PROGRAM.format(code=str(code), folder=str(records), dies=False).replace("import beside\n", "")
    script.write_text(program.replace("@profile_memory(", "@profile_memory(max_bytes=3_200_000, "))
    subprocess.run([sys.executable, str(script)], check=True)
    assert [path.exists() for path in old] == [False, True, True]
    assert sum(path.stat().st_size for path in records.glob("raymemprof-source-*")) <= 3_200_000 / 32


def test_they_count_in_the_budget(tmp_path: Path) -> None:
    call = run(write_code(tmp_path / "code"), tmp_path / "records")
    assert call.capture is not None
    size = call.capture.stat().st_size
    os.utime(call.capture, (10**9, 10**9))
    assert disk_budget.enforce(tmp_path / "records", size + 500_000, keep=0) == 0
    (tmp_path / "records" / contract.source_name("0" * 32)).write_bytes(bytes(500_000))
    assert disk_budget.enforce(tmp_path / "records", size + 500_000, keep=0) == 1


def test_they_go_with_the_last_journal_that_names_them(tmp_path: Path) -> None:
    code, records = write_code(tmp_path / "code"), tmp_path / "records"
    run(code, records)
    write_code(code, "another")
    run(code, records)
    first = min(records.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)
    process = first.stem.rpartition("-")[0]
    last_week = time.time() - 7 * 86400
    for path in (*records.glob(f"{process}-*"), *texts(records).values()):
        os.utime(path, (last_week, last_week))
    removed = raymemprof.clean(records, older_than=86400)
    assert first.name in {file.path.name for file in removed}
    assert DEEP.format(note="here") not in texts(records)
    assert {DEEP.format(note="another"), STEPS} <= set(texts(records))
    for path in records.iterdir():
        os.utime(path, (last_week, last_week))
    raymemprof.clean(records, all=True)
    assert list(records.iterdir()) == []


SHIPS = """
import sys

import ray.remote_function
from ray._private import function_manager

import raymemprof
from raymemprof.recording.undecorated import shipped_texts

shipped_texts.take_along()


def plain(size):
    return bytearray(size)  # nobody decorated it


class Holder:
    def hold(self, size):
        self.kept = plain(size)


def another(size):
    raise AssertionError("PASSWORD")


decorated = raymemprof.profile_memory(another)
for module, one in ((ray.remote_function, plain), (function_manager, Holder), (ray.remote_function, decorated)):
    print(module.pickle_dumps(one, "it cannot be pickled").hex())
    assert not any("raymemprof_texts" in name for name in vars(one))
"""
ARRIVES = """
import pickle
import sys
import zlib

sys.modules["raymemprof"] = None  # so that it cannot be imported
for text in sys.stdin.read().split()[:2]:
    shipped = pickle.loads(bytes.fromhex(text))
    (found,) = vars(shipped)["__raymemprof_texts__"]
    print(found[0].rpartition("/")[2], found[1], zlib.decompress(found[2]).decode().count("nobody decorated it"))
print(shipped().hold(5), shipped.hold.__globals__["plain"](3))
"""


@pytest.mark.versions
def test_texts_of_undecorated_code_travel_with_it_and_a_worker_without_raymemprof_runs_it(tmp_path: Path) -> None:
    script = tmp_path / "ships.py"
    script.write_text(SHIPS)
    shipped = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert shipped.returncode == 0, shipped.stderr
    assert b"__raymemprof_texts__" not in bytes.fromhex(shipped.stdout.split()[2]), "a decorated one has them anyway"
    code = [sys.executable, "-c", "import ray.cloudpickle\n" + ARRIVES]
    arrived = subprocess.run(code, input=shipped.stdout, capture_output=True, text=True)
    assert arrived.returncode == 0, arrived.stderr
    assert arrived.stdout.splitlines() == ["ships.py None 1"] * 2 + [f"None {bytearray(3)}"]
