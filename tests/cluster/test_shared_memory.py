"""usage() of a node whose processes share memory in every way that Linux has, beside what the kernel says of it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray import cloudpickle

import raymemprof
from raymemprof.diagnosis.live import drawing
from raymemprof.diagnosis.usage.records import NodeUsage
from raymemprof.display.text import show_bytes
from tests.programs.several_nodes import Nodes

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

pytestmark = [pytest.mark.usefixtures("cluster"), pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")]
MIB = 2**20
FORKS, ALL, PART = 20, 300 * MIB, 4 * MIB
BLOCK, MEMFD, FILE, MAPPING, SEGMENT, CACHED = 150 * MIB, 60 * MIB, 45 * MIB, 33 * MIB, 22 * MIB, 400 * MIB


def of_proc(path: str) -> dict[str, int]:
    """The figures of one of /proc's tables, in bytes."""
    lines = Path(path).read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines if ": " in line)
    return {name: int(rest.split()[0]) * 1024 for name, rest in pairs if rest.split()[-1] == "kB"}


def anonymous(pid: int) -> int:
    """A process's part of anonymous memory, what it shares divided among those that do."""
    return of_proc(f"/proc/{pid}/smaps_rollup").get("Pss_Anon", 0)


@ray.remote
class Sharer:
    """Has memory that is shared in each of the ways, and forks."""

    def share(self, folder: str) -> dict[str, Any]:
        from multiprocessing import shared_memory

        self.data = bytearray(b"1") * ALL
        self.block = shared_memory.SharedMemory(create=True, size=BLOCK)
        self.block.buf[:] = b"1" * BLOCK
        self.memfd = os.memfd_create("of-the-test")
        os.write(self.memfd, b"1" * MEMFD)  # never mapped
        descriptor, name = tempfile.mkstemp(prefix="raymemprof-test-", dir="/dev/shm")
        self.file = Path(name)
        os.write(descriptor, b"1" * FILE)
        os.close(descriptor)  # from here on it is nobody's
        self.mapping = mmap.mmap(-1, MAPPING)
        self.mapping.write(b"1" * MAPPING)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        self.segment = libc.shmget(0, SEGMENT, 0o600 | 0o1000)
        ctypes.memset(libc.shmat(self.segment, None, 0), 1, SEGMENT)
        cached = Path(folder, "cached")
        cached.write_bytes(bytes(CACHED))
        assert len(cached.read_bytes()) == CACHED
        ready, written = os.pipe()
        self.pids = [self._fork(number, written) for number in range(FORKS)]
        os.close(written)
        assert sum(iter(lambda: len(os.read(ready, FORKS)), 0)) == FORKS
        os.close(ready)
        names = {"block": f"/dev/shm/{self.block.name}", "file": name, "segment": str(self.segment)}
        return {"pid": os.getpid(), "pids": self.pids, **names}

    def _fork(self, number: int, written: int) -> int:
        pid = os.fork()
        if pid == 0:
            for start in range(number * PART, (number + 1) * PART, 4096):
                self.data[start] = 2  # copied; the rest stays shared
            os.write(written, b"1")
            os.close(written)
            while True:
                signal.pause()
        return pid

    def end(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.block.close()
        self.block.unlink()
        self.file.unlink()
        ctypes.CDLL(None).shmctl(self.segment, 0, None)


@dataclass
class Shared:
    """What the actor has, and what was said and true when."""

    has: dict[str, Any]
    before: NodeUsage
    usage: raymemprof.Usage
    earlier: dict[str, int]
    later: dict[str, int]
    parts: dict[int, int]
    """Pss_Anon of each of the node's processes."""

    @property
    def node(self) -> NodeUsage:
        return self.usage.nodes[0]

    def was(self, size: int, *names: str, but: str = "") -> bool:
        """Whether a size is, within a tenth, what /proc/meminfo had of these before or after, or between the two."""
        truths = [sum(figures[name] for name in names) - figures.get(but, 0) for figures in (self.earlier, self.later)]
        return 0.9 * min(truths) - 8 * MIB <= size <= 1.1 * max(truths) + 8 * MIB


@pytest.fixture(scope="module")
def shared(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """One actor that shares; others use this machine too, so a look is taken in which they did not much."""
    raymemprof.usage()  # the worker that it asks with is there from now on
    sharer = Sharer.remote()
    ray.get(sharer.__ray_ready__.remote())
    before = raymemprof.usage().nodes[0]
    has = ray.get(sharer.share.remote(str(tmp_path_factory.mktemp("cached"))), timeout=120)
    try:
        for _ in range(10):
            earlier = of_proc("/proc/meminfo")
            now = raymemprof.usage()
            parts = {process.pid: anonymous(process.pid) for process in now.processes}
            later = of_proc("/proc/meminfo")
            if all(abs(earlier[name] - later[name]) < 20 * MIB for name in ("Shmem", "AnonPages")):
                break
        yield Shared(has, before, now, earlier, later, parts)
    finally:
        ray.get(sharer.end.remote())
        ray.kill(sharer)


def near(size: int) -> Any:
    return pytest.approx(size, rel=0.1, abs=8 * MIB)


def test_each_part_is_what_the_kernel_has(shared: Shared) -> None:
    node = shared.node
    assert shared.was(node.used, "MemTotal", but="MemAvailable")
    family = [process for process in node.processes if process.pid in (shared.has["pid"], *shared.has["pids"])]
    assert len(family) == 1 + FORKS
    assert sum(process.counted for process in family) == near(sum(shared.parts[process.pid] for process in family))
    assert node.workers + node.system == near(sum(shared.parts.values()))
    (alone,) = [process.counted for process in shared.before.processes if process.pid == shared.has["pid"]]
    grown = sum(process.counted for process in family) - alone
    assert ALL + FORKS * PART <= grown <= ALL + FORKS * (PART + 4 * MIB), "and what Python writes in each child"
    assert shared.was(node.object_store + (node.shared_memory or 0), "Shmem")
    kernels = ("SUnreclaim", "KernelStack", "PageTables", "Percpu")
    assert shared.was(node.kernel or 0, *kernels)
    assert node.explained + node.unexplained == node.used
    # The rest is what other programs have, what the kernel has, and what it keeps free for itself.
    others = min(shared.earlier["AnonPages"], shared.later["AnonPages"]) - sum(shared.parts.values())
    assert node.unexplained >= 0.9 * (others + (node.kernel or 0)) > 0


def owner(shared: Shared, name: str) -> raymemprof.SharedMemoryOwner:
    (found,) = [one for one in shared.node.shared_memory_owners if one.name == name]
    return found


@pytest.mark.parametrize(
    ("what", "kind", "size"),
    [
        ("block", "tmpfs", BLOCK),
        ("memfd:of-the-test", "memfd", MEMFD),
        ("mapping", "anonymous", MAPPING),
        ("segment", "System V", SEGMENT),
    ],
)
def test_shared_memory_has_an_owner(shared: Shared, what: str, kind: str, size: int) -> None:
    one = owner(shared, shared.has.get(what, what))
    assert (one.kind, one.pid, one.role, one.process_name) == (kind, shared.has["pid"], "actor", "Sharer")
    assert one.memory == pytest.approx(size, rel=0.02)
    assert one.actor_id
    if kind in ("tmpfs", "memfd"):  # a child that has not touched what it maps cannot be seen to have it
        assert one.sharer_count == FORKS


def test_a_file_that_nobody_has_open(shared: Shared) -> None:
    one = owner(shared, shared.has["file"])
    assert (one.kind, one.pid, one.user) == ("tmpfs", None, psutil.Process().username())
    assert one.memory >= FILE


def test_owners_add_up(shared: Shared) -> None:
    owners = shared.node.shared_memory_owners
    assert sum(one.memory for one in owners) == near(shared.node.shared_memory or 0)
    assert all(one.memory > 0 for one in owners)
    assert [one.kind for one in owners if one.pid is None and one.user is None] in ([], ["the rest"])
    text = repr(shared.usage)
    assert shared.has["block"] in text
    (line,) = drawing.node_lines(shared.usage, drawing.Charts(), most=1)
    assert f"other shared {show_bytes(shared.node.shared_memory)}" in line.plain
    assert "owners of shared memory" in text
    assert "owners of shared memory" in shared.usage._repr_html_()
    (node,) = json.loads(shared.usage.to_json())["nodes"]
    assert [one["memory"] for one in node["shared_memory_owners"]] == [one.memory for one in owners]


def test_a_user_who_may_not_read_all_is_told_so(shared: Shared, run_script: Any) -> None:
    """Nothing is put down to nobody, or to somebody else, because others' processes may not be looked at."""
    if os.geteuid() != 0:
        pytest.skip("takes a second user")
    code = f"""
import json, os
from raymemprof import host, proc
from raymemprof.diagnosis.usage import processes, shared_memory_search
os.setuid(65534)
found = shared_memory_search.find_owners({shared.later["Shmem"]}, processes.table(), [], frozenset())
print(json.dumps([[str(one), one.kind, one.name, one.pid, one.memory] for one in found]))
print(json.dumps([proc.stat({shared.has["pids"][0]}).is_fork, host.shares({shared.has["pids"][0]})]))
"""
    owners, fork = map(json.loads, run_script(code).splitlines())
    assert fork == [True, [None, None, None]]
    by_name = {name: (text, pid) for text, _, name, pid, _ in owners}
    text, pid = by_name[shared.has["file"]]
    assert pid is None
    assert "which no process is known to have open" in text
    assert "memfd:of-the-test" not in by_name, "that is in the rest"
    (rest,) = [one for one in owners if one[1] == "the rest"]
    assert rest[2].startswith("processes that may not be read: ")


def test_huge_pages_are_no_shared_memory(cluster: Path) -> None:
    """The machine's pool of them is taken, whether somebody uses it or not; the kernel counts it apart."""
    pool, count = Path("/proc/sys/vm/nr_hugepages"), 16
    size = of_proc("/proc/meminfo").get("Hugepagesize", 0)
    was = int(pool.read_text())
    try:
        pool.write_text(str(was + count))
    except OSError as error:
        pytest.skip(f"the pool cannot be changed: {error}")
    try:
        if int(pool.read_text()) != was + count:
            pytest.skip("there is no room for huge pages")
        descriptor = os.memfd_create("of-huge-pages", 4)  # MFD_HUGETLB
        os.ftruncate(descriptor, count * size)
        with mmap.mmap(descriptor, count * size) as mapping:
            mapping[::4096] = b"1" * (count * size // 4096)
            node = raymemprof.usage().nodes[0]
        os.close(descriptor)
    finally:
        pool.write_text(str(was))
    assert node.huge_pages == (was + count) * size
    assert node.unexplained >= node.huge_pages
    assert not [one for one in node.shared_memory_owners if one.name == "memfd:of-huge-pages"]


def test_processes_that_come_and_go_meanwhile(cluster: Path, tmp_path: Path) -> None:
    @ray.remote
    def forks(go: str) -> int:
        data = bytearray(b"1") * (100 * MIB)
        while not os.path.exists(go):
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        return len(data)

    go = tmp_path / "go"
    reference = forks.remote(str(go))
    try:
        nodes = [raymemprof.usage().nodes[0] for _ in range(5)]
    finally:
        go.touch()
        assert ray.get(reference)
    for node in nodes:
        sizes = (node.workers, node.system, node.object_store, node.shared_memory, node.kernel, node.unexplained)
        assert all(size is not None and size >= 0 for size in sizes)
        assert node.explained + node.unexplained == node.used


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A node whose object store is in files on a disk, as Ray has it where /dev/shm is too small."""
    folder = tmp_path_factory.mktemp("plasma")
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True).stdout.strip()
    if kind == "tmpfs":
        pytest.skip("the temporary folder is in memory")
    nodes = Nodes()
    try:
        nodes.start("disk", store=300_000_000, within=("sh", "-c", f'exec "$@" --plasma-directory={folder}', "sh"))
        yield nodes
    finally:
        nodes.stop()


def test_an_object_store_on_a_disk_is_page_cache(on_disk: Nodes, run_script: Any) -> None:
    """The kernel can take it back: it is in no figure of what is used, so it must be in no part of that."""
    out = run_script(
        f"""
import numpy, ray
import raymemprof
ray.init({on_disk.address!r}, logging_level="ERROR", log_to_driver=False)
kept = ray.put(numpy.ones({200 * MIB}, dtype=numpy.uint8))
print(raymemprof.usage().to_json())
"""
    )
    (node,) = json.loads(out)["nodes"]
    assert node["object_store_used"] >= 200 * MIB
    assert node["object_store_held"] == 0
    assert node["explained"] == node["workers"] + node["system"] + node["shared_memory"]


def test_drivers_that_were_forked_from_one_process(on_disk: Nodes, run_script: Any) -> None:
    """As those of a server that forks its workers: what they share counts once."""
    out = run_script(
        f"""
import json, os, signal
from pathlib import Path
data = bytearray(b"1") * {300 * MIB}
read, write = os.pipe()
pids = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        import ray
        ray.init({on_disk.address!r}, logging_level="ERROR", log_to_driver=False)
        os.write(write, b"1")
        while True:
            signal.pause()
    pids.append(pid)
try:
    for _ in pids:
        os.read(read, 1)
    import ray, raymemprof
    ray.init({on_disk.address!r}, logging_level="ERROR", log_to_driver=False)
    node = raymemprof.usage().nodes[0]
    def part(pid):
        lines = Path(f"/proc/{{pid}}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon"))
    family = [one for one in node.processes if one.pid in (os.getpid(), *pids)]
    counted, truth = sum(one.counted for one in family), sum(map(part, [os.getpid(), *pids]))
    print(json.dumps([[one.role for one in family], counted, truth]))
finally:
    for pid in pids:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
"""
    )
    roles, counted, truth = json.loads(out)
    assert roles == ["driver"] * 4
    assert counted == near(truth)
    assert counted < 2 * 300 * MIB


@ray.remote(num_cpus=0.1)
def waits(pid_file: str, go: str, size: int) -> int:
    kept = bytearray(b"1" * size)
    Path(pid_file).write_text(str(os.getpid()))
    while not os.path.exists(go):
        time.sleep(0.05)
    return len(kept)


def test_the_sum_grows_as_the_host_does(tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    """Others use this machine too: what their processes wrote is subtracted, and one of five looks must be right.

    The host's figure is of memory that is written to. What is available also moves with what the kernel, or a virtual
    machine's balloon, takes and gives back.
    """

    def of_others(node: NodeUsage) -> int:
        ours = {process.pid for process in node.processes}
        found = 0
        for pid in psutil.pids():
            with contextlib.suppress(OSError):
                found += 0 if pid in ours else anonymous(pid)
        return found

    def written() -> int:
        figures = of_proc("/proc/meminfo")
        return figures["AnonPages"] + figures["Shmem"]

    def settled() -> tuple[Any, int]:
        """A kernel may count for a second what was freed."""
        last = [written()]

        def is_settled() -> bool:
            time.sleep(0.2)
            last.append(written())
            return len(last) > 5 and max(last[-5:]) - min(last[-5:]) < 20 * MIB

        wait_for(is_settled, 60)
        now = raymemprof.usage().nodes[0]
        return now, written() - of_others(now)

    off = []
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        go = str(folder / "go")
        before, used_before = settled()
        tasks = [waits.remote(str(folder / f"{n}"), go, 500_000_000) for n in range(4)]
        try:
            wait_for(lambda folder=folder: len(list(folder.iterdir())) == 4, 120)
            after, used = settled()
        finally:
            Path(go).touch()
            assert ray.get(tasks) == [500_000_000] * 4
        grown = after.explained - before.explained
        assert grown > 1.9e9
        off.append(abs(grown - (used - used_before)) / (used - used_before))
        if off[-1] < 0.1:
            return
    raise AssertionError(off)
