"""Promise 1: whatever goes wrong in recording, user code gets its own result, and the trouble is noted."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import profile_memory

MIB = 2**20


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a tmpfs with the options given; skips the test where this user may not."""
    folders: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"mount{len(folders)}"
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True)
        if done.returncode:
            pytest.skip("this user may not mount")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def in_worker(cluster: Path, wait_for: Callable[..., Any]) -> Callable[..., tuple[Any, list[str]]]:
    """Run a function as a task in a worker of its own: its result, and what raymemprof said on the worker's stderr."""
    import ray

    def run(function: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, list[str]]:
        result, pid = ray.get(ray.remote(max_calls=1, **options)(function).remote(*args), timeout=120)
        (log,) = wait_for(lambda: list(cluster.glob(f"worker-*-{pid}.err")))
        return result, [line for line in log.read_text().splitlines() if line.startswith("raymemprof (pid ")]

    return run


def fill(folder: Path, leave: int = 0) -> None:
    """Fill a file system but for so many bytes."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            file.truncate(max(0, file.tell() - leave))


def broken_directory(kind: str, mounted: Callable[[str], Path], tmp_path: Path) -> Path:
    if kind == "read-only":
        return mounted("ro")
    if kind == "below a file":
        (tmp_path / "file").write_text("")
        return tmp_path / "file" / "records"
    folder = mounted("size=1m")
    fill(folder)
    return folder


@pytest.mark.parametrize("kind", ["read-only", "below a file", "full"])
def test_a_task_runs_though_nothing_can_be_written(
    kind: str, mounted: Callable[[str], Path], tmp_path: Path, in_worker: Callable[..., Any]
) -> None:
    @profile_memory(directory=broken_directory(kind, mounted, tmp_path))
    def work(numbers: list[int]) -> int:
        return sum(numbers)

    def task() -> tuple[Any, int]:
        return [work([n, 1]) for n in range(5)], os.getpid()

    result, said = in_worker(task)
    assert result == [1, 2, 3, 4, 5]
    assert len(said) == 1
    assert "calls are not recorded" in said[0]


def test_calls_on_a_full_disk_take_no_file_descriptors(mounted: Callable[[str], Path]) -> None:
    folder = mounted("size=1m")
    fill(folder)

    @profile_memory(directory=folder)
    def work() -> int:
        return 1

    work()
    before = len(os.listdir("/proc/self/fd"))
    assert sum(work() for _ in range(50)) == 50
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert len(os.listdir(folder)) <= 2  # the filler, and at most one journal that came to nothing


def test_a_nearly_full_disk_is_sampled_and_not_traced(
    mounted: Callable[[str], Path], in_worker: Callable[..., Any]
) -> None:
    folder = mounted("size=1m")
    fill(folder, leave=32 * 1024)

    @profile_memory(directory=folder)
    def work() -> tuple[str, int]:
        return "done", os.getpid()

    result, said = in_worker(work)
    assert result == "done"
    assert len(said) == 1
    (call,) = raymemprof.calls(folder)
    assert (call.status, call.capture) == ("finished", None)
    assert call.note is not None
    assert "% of the disk" in call.note
    assert list(raymemprof.captures(folder)) == []


def test_a_disk_that_fills_in_mid_call_and_is_emptied(
    mounted: Callable[[str], Path], wait_for: Callable[..., Any]
) -> None:
    folder = mounted("size=40m")

    @profile_memory(directory=folder, python_allocators=True, linger=60)
    def work(*, fills: bool = False) -> int:
        if fills:
            fill(folder, leave=4096)
        kept = [bytearray(600) for _ in range(100_000)]  # more records than fit what is left of the disk
        late = bytearray(50 * MIB)
        return len(kept) + len(late)

    assert work(fills=True) == 100_000 + 50 * MIB
    (call,) = raymemprof.calls(folder)
    assert call.status == "finished"  # there was room for its end
    assert call.peak_memory >= 50 * MIB
    assert re.search("could not write|of the disk", call.note or "")
    assert work() == 100_000 + 50 * MIB  # which may not be recorded, for want of room, as the log says
    (folder / "filler").unlink()

    def traced() -> raymemprof.Call | None:
        assert work() == 100_000 + 50 * MIB
        call = raymemprof.calls(folder)[-1]
        assert (call.capture is None) == (call.note is not None)
        return call if call.capture is not None else None

    later = wait_for(traced)
    assert later.capture != call.capture
    assert raymemprof.heap(later).peak >= 50 * MIB


def test_another_tracker_that_is_active(tmp_path: Path, in_worker: Callable[..., Any]) -> None:
    folder = tmp_path / "records"

    @profile_memory(directory=folder)
    def work(n: int) -> int:
        return n * 2

    def task(own: str) -> tuple[Any, int]:
        import memray

        with memray.Tracker(own):
            return [work(n) for n in range(3)], os.getpid()

    result, said = in_worker(task, str(tmp_path / "own.bin"))
    assert result == [0, 2, 4]
    assert len(said) == 1
    calls = raymemprof.calls(folder)
    assert [call.status for call in calls] == ["finished"] * 3
    assert {call.note for call in calls} == {"another memray tracker is active in this process"}
    assert all(call.memory_before > MIB for call in calls)
    assert raymemprof.heap(tmp_path / "own.bin").allocations > 0  # the user's own capture is whole


@pytest.mark.versions
def test_a_tracker_of_the_users_own_inside_a_call(tmp_path: Path, in_worker: Callable[..., Any]) -> None:
    folder = tmp_path / "records"

    @profile_memory(directory=folder)
    def work(own: str) -> tuple[Any, int]:
        import memray

        with memray.Tracker(own):
            kept = bytearray(3 * MIB)
        return len(kept), os.getpid()

    result, _ = in_worker(work, str(tmp_path / "own.bin"))
    assert result == 3 * MIB
    assert raymemprof.heap(tmp_path / "own.bin").peak >= 3 * MIB
    (call,) = raymemprof.calls(folder)
    assert call.status == "finished"
    assert "tracker" in (call.note or "")


def test_a_worker_without_memray(tmp_path: Path, in_worker: Callable[..., Any]) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "memray.py").write_text("raise ImportError('no memray here')")
    folder = tmp_path / "records"

    @profile_memory(directory=folder)
    def work(n: int) -> int:
        return n * 2

    def task() -> tuple[Any, int]:
        return [work(n) for n in range(3)], os.getpid()

    result, said = in_worker(task, runtime_env={"env_vars": {"PYTHONPATH": str(modules)}})
    assert result == [0, 2, 4]
    assert len(said) == 1
    assert "no memray here" in said[0]
    calls = raymemprof.calls(folder)
    assert len(calls) == 3
    for call in calls:
        assert call.capture is None
        assert "memray cannot be imported" in (call.note or "")
        assert call.peak_memory > MIB


def test_a_task_that_deletes_what_is_recorded(tmp_path: Path, in_worker: Callable[..., Any]) -> None:
    folder = tmp_path / "records"

    @profile_memory(directory=folder, linger=0)
    def work(n: int) -> int:
        shutil.rmtree(folder, ignore_errors=True)
        return len(bytearray(MIB)) + n

    def task() -> tuple[Any, int]:
        return [work(n) for n in range(3)], os.getpid()

    result, said = in_worker(task)
    assert result == [MIB, MIB + 1, MIB + 2]
    assert len(said) <= 2  # a capture that could not be closed, calls that could not be traced


@pytest.mark.parametrize("way", ["os.fork", "multiprocessing"])
def test_a_forked_child_records_for_itself(way: str, tmp_path: Path, in_worker: Callable[..., Any]) -> None:
    folder = tmp_path / "records"

    @profile_memory(directory=folder, linger=0)
    def child(n: int) -> int:
        return len(bytearray(n))

    @profile_memory(directory=folder, linger=0)
    def parent() -> tuple[Any, int]:
        kept = bytearray(3 * MIB)
        if way == "os.fork":
            pid = os.fork()
            if not pid:
                os._exit(0 if child(MIB) == MIB else 1)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        else:
            import multiprocessing

            process = multiprocessing.get_context("fork").Process(target=child, args=(MIB,))
            process.start()
            process.join()
            code = process.exitcode
        return (code, len(kept)), os.getpid()

    result, _ = in_worker(parent)
    assert result == (0, 3 * MIB)
    of_parent, of_child = raymemprof.calls(folder)
    assert (of_parent.name.split(".")[-1], of_child.name.split(".")[-1]) == ("parent", "child")
    assert of_parent.pid != of_child.pid
    assert (of_parent.status, of_child.status) == ("finished", "finished")
    assert len(list(folder.glob("*.jsonl"))) == 2
    arena = MIB  # which Python takes where an import of small objects needs one
    assert 3 * MIB <= raymemprof.heap(of_parent).peak < 3.5 * MIB + arena
    if of_child.capture is None:  # memray may refuse to start in a fork of a traced process
        assert re.search(r"memray.* \w+", of_child.note or "")
        assert not (of_child.note or "").endswith(": ")
    else:
        assert of_child.capture != of_parent.capture


@pytest.fixture
def recorded(tmp_path: Path, wait_for: Callable[..., Any]) -> Path:
    """A folder with the record of three calls of this process: its journal, and its closed captures."""
    folder = tmp_path / "recorded"

    @profile_memory(directory=folder, linger=0)
    def work(size: int) -> int:
        return len([bytearray(size + n) for n in range(20)])

    for size in (1000, 50_000, 100_000):
        work(size)
    wait_for(lambda: all(capture.status == "closed" for capture in raymemprof.captures(folder)))
    return folder


def test_a_journal_cut_at_every_byte(recorded: Path) -> None:
    (journal,) = recorded.glob("*.jsonl")
    whole = journal.read_bytes()
    lines = set(whole.splitlines())
    all_calls = list(raymemprof.calls(recorded))
    assert len(all_calls) == 3
    for length in range(len(whole) + 1):
        journal.write_bytes(whole[:length])
        left = [line for line in whole[:length].split(b"\n") if line in lines]
        begun = sum(b'"event":"begin"' in line for line in left)
        ended = sum(b'"event":"end"' in line for line in left)
        found = list(raymemprof.calls(recorded))
        assert len(found) == begun
        assert found[:ended] == all_calls[:ended]
        assert all(call.status == "running" for call in found[ended:])  # this process is alive
        raymemprof.captures(recorded)


GARBAGE = [
    b"\x00\xff\xfe garbage",
    b"null",
    b"[]",
    b"{}",
    b'"begin"',
    b"{" * 40,
    b"[" * 100_000,
    b"9" * 10_000,
    b'{"event":"begin"}',
    b'{"event":"begin","call":[1],"capture":{}}',
    b'{"event":"begin","call":999997,"capture":["a"]}',
    b'{"event":"begin","call":999998,"time":1e999,"name":"x"}',
    *(
        b'{"event":"begin","call":999999,"time":%b,"name":"x","kind":"task","task_id":null,"attempt":null,"actor_id":null,'
        b'"job_id":null,"memory":1}' % moment
        for moment in (b'"noon"', b"1e12", b"1e17", b"1e18", b"1e19", b"1e300", b"null")
    ),
    b'{"event":"end"}',
    b'{"event":"end","call":999997}',
    b'{"event":"peak","calls":7,"memory":1}',
    b'{"event":"peak","calls":[0],"memory":"much"}',
    b'{"event":"open"}',
    b'{"event":"open","capture":5,"time":1}',
    b'{"event":"open","capture":"a\\u0000b","time":1}',
    b'{"event":"open","capture":"raymemprof-foreign.bin","time":"noon"}',
    b'{"event":"open","capture":"raymemprof-foreign.bin","time":1e300}',
    b'{"event":"close","capture":"raymemprof-foreign.bin","time":"noon"}',
    b'{"event":"close","capture":[],"time":1}',
    b"\x00" * 5000,
    b"[" * 10_000 + b"]" * 10_000,
    b'{"event":' * 10_000 + b"1" + b"}" * 10_000,
    b'{"event":"place","capture":"raymemprof-foreign.bin","place":0,"stack":' + b"[" * 500 + b"]" * 500 + b"}",
    b'{"event":"begin","event":7}',
    b'{"event":"end","call":999997,"duration":1,"status":"finished","error":null,"memory":1,"peak":1}',
    b'{"event":"a newer one","memory":NaN}',
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda line: repr(line[:64]))
def test_a_line_of_garbage_in_a_journal(recorded: Path, garbage: bytes) -> None:
    (recorded / "raymemprof-foreign.bin").write_bytes(b"")
    (journal,) = recorded.glob("*.jsonl")
    before, captures = list(raymemprof.calls(recorded)), set(raymemprof.captures(recorded))
    first, *rest = journal.read_bytes().splitlines()
    journal.write_bytes(b"\n".join([first, garbage, *rest, garbage, b""]))
    assert list(raymemprof.calls(recorded)) == before
    assert list(raymemprof.calls(recorded, name="*")) == before
    assert {capture.path for capture in raymemprof.captures(recorded)} == {capture.path for capture in captures}


def test_a_journal_with_flipped_bytes(recorded: Path) -> None:
    (journal,) = recorded.glob("*.jsonl")
    whole = journal.read_bytes()
    chance = random.Random(20)
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        journal.write_bytes(damaged)
        found = raymemprof.calls(recorded, name="*")
        assert len(found) <= 4  # a line cut in two gives nothing new
        raymemprof.captures(recorded)
    repr(found)


KILLED = """
import os, signal, sys
from raymemprof import profile_memory

@profile_memory(directory=sys.argv[1])
def work():
    kept = [bytearray(1000 + size) for size in range(2000)]
    os.kill(os.getpid(), signal.SIGKILL)

work()
"""


@pytest.mark.parametrize("state", ["closed", "killed"])
def test_damaged_captures(state: str, recorded: Path, tmp_path: Path) -> None:
    if state == "killed":
        done = subprocess.run([sys.executable, "-c", KILLED, recorded])
        assert done.returncode == -signal.SIGKILL
    path = next(capture.path for capture in raymemprof.captures(recorded) if capture.status == state)
    whole, damaged = path.read_bytes(), tmp_path / "damaged.bin"
    chance = random.Random(7)
    refusals: list[raymemprof.CaptureError] = []
    for turn in range(300):
        data = bytearray(whole)
        if turn < 200:
            for _ in range(chance.randrange(1, 8)):
                data[chance.randrange(len(data))] = chance.randrange(256)
        else:
            del data[chance.randrange(len(data)) :]
        damaged.write_bytes(data)
        try:
            found = raymemprof.heap(damaged)
            repr(found)
            raymemprof.speedscope(damaged, tmp_path / "out.json", overwrite=True)
        except raymemprof.CaptureError as error:
            refusals.append(error)
    assert refusals  # the damage was real
    assert {Path(error.path) for error in refusals} == {damaged}
    assert all(error.reason for error in refusals)
    assert raymemprof.heap(path).allocations >= 20  # and the next good capture is read


def test_the_journal_has_the_checksum_of_each_closed_capture(recorded: Path) -> None:
    (journal,) = recorded.glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    closes = [line for line in lines if line["event"] == "close"]
    assert closes
    for line in closes:
        data = (recorded / line["capture"]).read_bytes()
        assert (line["bytes"], line["crc32"]) == (len(data), zlib.crc32(data))
        assert raymemprof.heap(recorded / line["capture"]).checked


def test_any_flipped_bit_of_a_closed_capture_is_noticed(recorded: Path) -> None:
    """Of those that can still be read, one in five or so gave a wrong peak."""
    call = raymemprof.calls(recorded)[-1]
    assert call.capture is not None
    whole = call.capture.read_bytes()
    chance = random.Random(12)
    for turn in range(60):
        data = bytearray(whole)
        if turn < 50:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        elif turn < 55:
            del data[chance.randrange(len(data)) :]
        else:
            data += bytes(turn)
        call.capture.write_bytes(data)
        with pytest.raises(raymemprof.CaptureError, match=r"checksum|empty"):
            raymemprof.heap(call)
    call.capture.write_bytes(whole)
    assert 2_000_000 <= raymemprof.heap(call).peak < 2_200_000


def test_a_capture_without_its_journal_is_not_checked(recorded: Path, tmp_path: Path) -> None:
    """Nor is a fetched one less checked than where it lay, nor does a capture without a checksum nag."""
    call = raymemprof.calls(recorded)[-1]
    assert call.capture is not None
    before = raymemprof.heap(call)
    assert before.checked
    (tmp_path / "copy").mkdir()
    copy = raymemprof.heap(shutil.copy(call.capture, tmp_path / "copy"))
    assert not copy.checked
    assert copy.peak == pytest.approx(before.peak, abs=4096)  # of the capture, to which Python itself adds a little
    assert not any("checksum" in note for note in copy.notes)
    (fetched,) = raymemprof.fetch(call, tmp_path / "fetched")
    assert raymemprof.heap(fetched).checked
    (journal,) = recorded.glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    older = [{key: line[key] for key in line if key not in ("bytes", "crc32")} for line in lines]
    journal.write_text("".join(json.dumps(line) + "\n" for line in older))
    unchecked = raymemprof.heap(call)
    assert (unchecked.checked, unchecked.peak, unchecked.notes) == (False, before.peak, before.notes)


def test_damage_to_the_capture_of_a_killed_process(tmp_path: Path) -> None:
    """It has no checksum, which is said; what cannot be in a capture is noticed all the same."""
    size = 123_456_788
    code = KILLED.replace("os.kill", f"large = bytearray({size})\n    os.kill")
    done = subprocess.run([sys.executable, "-c", code, tmp_path])
    assert done.returncode == -signal.SIGKILL
    (call,) = raymemprof.calls(tmp_path)
    assert call.capture is not None
    found = raymemprof.heap(call)
    assert not found.checked
    assert any("checksum" in note for note in found.notes)
    assert any("checksum" in note for note in raymemprof.heap(raymemprof.captures(tmp_path)).notes)
    whole = call.capture.read_bytes().rstrip(b"\0")
    noticed = 0
    for start in range(len(whole) // 4, len(whole) - 64, len(whole) // 12):
        call.capture.write_bytes(whole[:start] + bytes(64) + whole[start + 64 :])  # a page that was lost, say
        with contextlib.suppress(raymemprof.CaptureError):
            raymemprof.heap(call)
            continue
        noticed += 1
    assert noticed >= 4, "but for where it falls in a name, say"
    assert whole.count(varint(size + 1)) == 1
    call.capture.write_bytes(whole.replace(varint(size + 1), varint(2**56)))
    with pytest.raises(raymemprof.CaptureError, match="cannot be"):
        raymemprof.heap(call)


def test_the_capture_of_a_killed_process_that_was_cut(tmp_path: Path) -> None:
    """memray reads what is left of it as if that were all; the journal knows of more."""
    code = KILLED.replace(
        "    os.kill",
        """
    for number in range(4):
        kept.append(bytearray(20_000_000))
        seen = time.monotonic() + 0.3
        while time.monotonic() < seen or journal.read_bytes().count(b'"event":"sample"') <= number:
            time.sleep(0.01)
            (journal,) = pathlib.Path(sys.argv[1]).glob("*.jsonl")
    os.kill""",
    ).replace("import os", "import os, pathlib, time")
    done = subprocess.run([sys.executable, "-c", code, tmp_path], timeout=120)
    assert done.returncode == -signal.SIGKILL
    (call,) = raymemprof.calls(tmp_path)
    assert call.capture is not None
    assert raymemprof.heap(call).peak >= 80_000_000
    assert raymemprof.heap(call).left_out == ()
    whole = call.capture.read_bytes().rstrip(b"\0")
    # The last pieces are asked for one after the other: what was written from the third on is cut.
    third = [at for at in range(len(whole)) if whole.startswith(varint(20_000_001), at)][2]
    call.capture.write_bytes(whole[:third])
    found = raymemprof.heap(call)
    assert found.peak < 80_000_000
    assert any("cut off" in part for part in found.left_out)


def varint(number: int) -> bytes:
    """A number as memray writes it: seven bits a byte, the least first."""
    parts = [number >> shift & 0x7F | 0x80 for shift in range(0, number.bit_length(), 7)]
    return bytes([*parts[:-1], parts[-1] & 0x7F])


def test_a_capture_that_is_closed_as_the_process_ends_has_a_checksum(
    run_script: Callable[..., str], tmp_path: Path
) -> None:
    run_script(
        f"""
from raymemprof import profile_memory
with profile_memory("load", directory={str(tmp_path / "records")!r}, linger=600):
    kept = bytearray(3_000_000)
"""
    )
    assert raymemprof.heap(raymemprof.calls(tmp_path / "records")).checked


def test_a_forked_childs_capture_has_no_checksum(run_script: Callable[..., str], tmp_path: Path) -> None:
    """That in the journal is its parent's."""
    run_script(
        f"""
import os
from raymemprof import profile_memory
with profile_memory("load", directory={str(tmp_path / "records")!r}, follow_fork=True):
    pid = os.fork()
    if not pid:
        kept = bytearray(2_000_000)
        os._exit(0)
    os.waitpid(pid, 0)
"""
    )
    parents, childs = sorted(raymemprof.captures(tmp_path / "records"), key=lambda capture: len(capture.path.name))
    assert raymemprof.heap(parents).checked
    found = raymemprof.heap(childs)
    assert not found.checked
    assert not any("samples" in note for note in found.notes)
    assert 2_000_000 <= found.peak < 3_000_000


NONSENSE = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(message)s")
import raymemprof
from raymemprof import profile_memory

@profile_memory(directory="records")
def first(n):
    return len(bytearray(1_000_000 + n))

@profile_memory(directory="records")
def second(n):
    return n

print([first(n) for n in range(3)], [second(n) for n in range(3)])
for call in raymemprof.calls("records"):
    print(call.name, call.status, call.note, call.capture is not None)
"""


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("enabled", "perhaps"),
        ("heap", "2"),
        ("native", "C++"),
        ("python_allocators", "None"),
        ("follow_fork", "spoon"),
        ("interval_ms", "-5"),
        ("linger", "a while"),
        ("every", "inf"),
        ("every", "2.5"),
        ("keep", "0"),
        ("max_bytes", "1.2.3 GB"),
        ("max_bytes", "9e999"),
    ],
)
def test_a_variable_that_makes_no_sense(option: str, value: str, run_script: Callable[..., str]) -> None:
    variable = f"RAYMEMPROF_{option.upper()}"
    said, results, *calls = run_script(NONSENSE, **{variable: value}).splitlines()
    assert f"{variable}={value!r}" in said  # once for all six calls
    assert results == "[1000000, 1000001, 1000002] [0, 1, 2]"
    assert calls == ["first finished None True"] * 3 + ["second finished None True"] * 3


def test_a_variable_that_names_an_unusable_directory(run_script: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code = NONSENSE.replace('directory="records"', "").replace('raymemprof.calls("records")', "()")
    said, results = run_script(code, RAYMEMPROF_DIRECTORY=str(tmp_path / "file" / "below")).splitlines()
    assert "calls are not recorded" in said
    assert results == "[1000000, 1000001, 1000002] [0, 1, 2]"


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_exception_that_cannot_be_printed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    error = UnprintableError()

    @profile_memory(directory=tmp_path)
    def work() -> None:
        raise error

    with caplog.at_level(logging.WARNING), pytest.raises(UnprintableError) as caught:
        work()
    assert caught.value is error
    assert caplog.messages == []
    (call,) = raymemprof.calls(tmp_path)
    assert call.status == "failed"
    assert "UnprintableError" in (call.error or "")


WITHOUT_MEMORY = """
import resource, sys
from raymemprof.recording import journals
{imports}

{before}
mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + 50_000_000, resource.getrlimit(resource.RLIMIT_AS)[1]))
kept = []
for size in (4_000_000, 60_000, 4_000, 1_100, 500, 200, 60, 30):
    try:
        while True:
            kept.append(b"x" * size)
    except MemoryError:
        pass
try:
    {after}
except MemoryError:
    kept.clear()
    print("memory")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not enforce the limit")
@pytest.mark.parametrize("size", [3_000, 20_000])
def test_a_long_line_of_a_journal_raises_where_there_is_no_memory(
    size: int, tmp_path: Path, run_script: Callable[..., str]
) -> None:
    """The name of a function may be long, and msgspec's `encode` ended the process."""
    code = WITHOUT_MEMORY.format(
        imports="from pathlib import Path",
        before=f"journal = journals.Journal(Path('journal')); line = dict(event='place', function='f' * {size})",
        after="print(journal.write(line))",
    )
    assert run_script(code).strip() == "memory"


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not enforce the limit")
@pytest.mark.parametrize("heap", [True, False])
def test_a_call_that_holds_all_the_memory_it_may_have_fails_and_the_next_runs(
    heap: bool, tmp_path: Path, run_script: Callable[..., str]
) -> None:
    printed = run_script(f"""
import resource
from raymemprof import profile_memory

@profile_memory(directory="here", heap={heap})
def fill():
    kept = []
    for size in (4_000_000, 60_000, 4_000, 500, 60):
        try:
            while True:
                kept.append(b"x" * size)
        except MemoryError:
            pass
    kept.append(bytearray(4_000_000))

@profile_memory(directory="here", heap={heap})
def small():
    return 5

small()
mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (mapped + 200_000_000, limits[1]))
for _ in range(2):
    try:
        fill()
    except MemoryError:
        print("memory")
    print(small())
resource.setrlimit(resource.RLIMIT_AS, limits)  # glibc needs some to end threads
""")
    assert printed.split() == ["memory", "5"] * 2
    found = [(call.name, call.status) for call in raymemprof.calls(tmp_path / "here")]
    assert found == [("small", "finished"), *[("fill", "failed"), ("small", "finished")] * 2]


def test_a_handler_of_the_users_that_raises_ends_nothing(run_script: Callable[..., str]) -> None:
    """It is asked to log what could not be recorded, on the call's own thread and on the sampler's."""
    printed = run_script("""
import logging, pathlib, time
from raymemprof import profile_memory
from raymemprof.recording.sampler import Sampler, sampler

class Strict(logging.Handler):
    def emit(self, record):
        raise AssertionError(record.getMessage())

logging.getLogger().addHandler(Strict())
pathlib.Path("file").write_text("")

@profile_memory(directory="file/within")
def unrecorded():
    return "fine"

@profile_memory(directory="here", heap=False)
def recorded():
    time.sleep(0.3)
    kept = bytearray(b"1") * 60_000_000
    time.sleep(0.3)
    return len(kept)

real = Sampler._sample
def once(self, calls):
    Sampler._sample = real
    raise OSError("it fails once")
Sampler._sample = once
print(unrecorded(), recorded(), [sampler._thread.is_alive()])
""")
    assert printed.split() == ["fine", "60000000", "[True]"]


def test_a_keyboard_interrupt_in_a_call(tmp_path: Path) -> None:
    @profile_memory(directory=tmp_path)
    def work() -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        work()
    (call,) = raymemprof.calls(tmp_path)
    assert (call.status, call.error) == ("cancelled", None)


@pytest.mark.parametrize("report", [raymemprof.flamegraph, raymemprof.table, raymemprof.speedscope])
def test_a_report_that_cannot_be_written(
    report: Callable[..., Any], recorded: Path, mounted: Callable[[str], Path]
) -> None:
    call = raymemprof.calls(recorded)[0]
    folder = mounted("ro")
    with pytest.raises(OSError, match="Read-only"):
        report(call, folder / "out.html")
    full = mounted("size=1m")
    fill(full)
    with pytest.raises(OSError, match="No space left"):
        report(call, full / "out.html")
    assert [path.name for path in full.iterdir()] == ["filler"]


@pytest.mark.parametrize("leaving", ["return", "raise SystemExit(0)", "signal.raise_signal(signal.SIGTERM)"])
def test_an_exit_in_the_middle_of_linger(leaving: str, run_script: Callable[..., str], tmp_path: Path) -> None:
    code = f"""
import signal, sys, time
from raymemprof import profile_memory

@profile_memory(directory="records", linger=600)
def work():
    return len(bytearray(1_000_000))

def main():
    assert work() == 1_000_000
    print(time.time(), flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    {leaving}

main()
"""
    asked = float(run_script(code, timeout=60))
    assert time.time() - asked < 3
    (capture,) = raymemprof.captures(tmp_path / "records")
    assert capture.status == "closed"
    assert 1_000_000 <= raymemprof.heap(capture).peak < 1_100_000


@pytest.mark.versions
def test_no_other_thread_runs_while_memray_goes_through_the_threads(
    run_script: Callable[..., str], tmp_path: Path
) -> None:
    """Where an audit hook in Python lets another run there, and that thread ends, Python crashes.

    Once for each capture another may run, before memray's last step.
    """
    printed = run_script(
        f"""
import sys, threading, time
from raymemprof import profile_memory

turns, seen, gone_through, interrupted, theirs = [0], [None], 0, 0, set()
stop, done = threading.Event(), threading.Event()

def hook(event, arguments):
    global gone_through, interrupted
    if event == "sys.setprofile" and threading.get_ident() not in theirs:
        gone_through += 1
        interrupted += seen[0] not in (None, turns[0])
        seen[0] = turns[0]
        begun = time.perf_counter()
        while time.perf_counter() < begun + 0.00015:  # as long as a few of other people's hooks
            pass
    elif event != "sys.setprofile":
        seen[0] = None

def work():
    while not stop.is_set():
        turns[0] += 1

sys.addaudithook(hook)
threads = [threading.Thread(target=done.wait) for _ in range(60)]
threads += [threading.Thread(target=work)]
for thread in threads:
    thread.start()
theirs.update(thread.ident for thread in (threading.main_thread(), *threads))
before = sys.getswitchinterval()
for number in range(3):
    with profile_memory("block", directory={str(tmp_path)!r}, follow_fork=number % 2 == 0):  # a capture each
        seen[0] = None
stop.set(), done.set()
for thread in threads:
    thread.join()
print(gone_through > 3 * 60, interrupted <= 3, sys.getswitchinterval() == before)
"""
    )
    assert printed.split() == ["True"] * 3


@pytest.mark.parametrize("way", ["SystemExit", "ValueError", "return"])
def test_a_fork_within_a_call_does_not_end_it(way: str, run_script: Callable[..., str], tmp_path: Path) -> None:
    """It leaves the call in its own process only: the call is its parent's."""
    run_script(
        f"""
import os, sys
from raymemprof import profile_memory

@profile_memory(directory={str(tmp_path)!r})
def work():
    pid = os.fork()
    if pid == 0:
        if {way!r} == "return":
            return "child"
        raise {{"SystemExit": SystemExit(3), "ValueError": ValueError("mine"), "return": None}}[{way!r}]
    os.waitpid(pid, 0)
    kept = bytearray(5_000_000)
    return "parent"

parent = os.getpid()
try:
    told = work()
except BaseException as error:
    assert os.getpid() != parent, error
    os._exit(0)
if os.getpid() != parent:
    os._exit(0)
assert told == "parent"
"""
    )
    (call,) = raymemprof.calls(tmp_path)
    assert (call.status, call.error) == ("finished", None)
    (journal,) = tmp_path.glob("*.jsonl")
    assert journal.read_text().count('"event":"end"') == 1
    assert raymemprof.heap(call).peak >= 5_000_000
