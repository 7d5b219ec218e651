"""Resource isolation (Ray 2.51 and later): what the two cgroups of a node say, and what follows of it.

The cgroups are files that a test lays out as the kernel has them; where the machine has cgroup v2, Ray makes its own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from raymemprof import host

GIB = 2**30
NODE = "b9e4de7636296bc3e8a75f5e345eebfc4c423bb4c99706a64196ec04"


class Machine:
    """Files of /proc and /sys/fs/cgroup."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.cgroups = folder / "proc", folder / "cgroup"

    def process(self, pid: int, path: str) -> None:
        (self.proc / str(pid)).mkdir(parents=True)
        (self.proc / str(pid) / "cgroup").write_text(f"1:name=systemd:/\n0::{path}\n")

    def group(self, path: str, current: int, cached: int = 0, shmem: int = 0, **bounds: int | str) -> None:
        folder = self.cgroups / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.current").write_text(f"{current}\n")
        stat = f"anon {current}\nfile {cached + shmem}\nshmem {shmem}\ninactive_file {cached // 2}\n"
        (folder / "memory.stat").write_text(f"{stat}active_file {cached - cached // 2}\nunevictable 0\n")
        for name, bound in {"min": 0, "low": 0, "high": "max", "max": "max", **bounds}.items():
            (folder / f"memory.{name}").write_text(f"{bound}\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine(tmp_path)
    monkeypatch.setattr(host, "_PROC", found.proc)
    monkeypatch.setattr(host, "_CGROUPS", found.cgroups)
    return found


@pytest.mark.parametrize("base", ["", "kubepods.slice/pod7/", "ray/"])
def test_what_both_cgroups_use_and_may_use(machine: Machine, base: str) -> None:
    """As Ray 2.56 and later set it up, below the base cgroup that `--cgroup-path` names."""
    path = f"{base}ray-node_{NODE}"
    machine.process(7, f"/{path}/system/leaf")
    machine.group(f"{path}/user", 9 * GIB, cached=2 * GIB, shmem=1 * GIB, high=28 * GIB, max=29 * GIB)
    machine.group(f"{path}/system", 5 * GIB, cached=1 * GIB, shmem=2 * GIB, low=4 * GIB)
    assert host.isolation(7) == host.ResourceIsolation(6 * GIB, 28 * GIB, 2 * GIB, 4 * GIB, shared=3 * GIB)


def test_before_ray_2_56_workers_have_no_limit(machine: Machine) -> None:
    machine.process(7, f"/ray-node_{NODE}/system/leaf")
    machine.group(f"ray-node_{NODE}/user", 9 * GIB)
    machine.group(f"ray-node_{NODE}/system", 3 * GIB, min=25 * GIB)
    assert host.isolation(7) == host.ResourceIsolation(9 * GIB, None, 3 * GIB, 25 * GIB)


@pytest.mark.parametrize("path", ["/", "/ray/leaf", "/user.slice/session-2.scope", f"/ray-node_{NODE}/system/leaf"])
def test_where_there_is_none_or_it_cannot_be_read(machine: Machine, path: str) -> None:
    machine.process(7, path)
    assert host.isolation(7) is None
    assert host.isolation(8) is None


@pytest.mark.parametrize("damage", ["memory.current", "memory.stat"])
def test_files_that_make_no_sense(machine: Machine, damage: str) -> None:
    machine.process(7, f"/ray-node_{NODE}/system/leaf")
    machine.group(f"ray-node_{NODE}/user", 9 * GIB)
    machine.group(f"ray-node_{NODE}/system", 3 * GIB)
    (machine.cgroups / f"ray-node_{NODE}/user/{damage}").write_text("what\n")
    assert host.isolation(7) is None


LIVE = """
import ray, raymemprof
ray.init(num_cpus=1, include_dashboard=False, enable_resource_isolation=True, _cgroup_path={base!r},
         system_reserved_memory=2 * 2**30, object_store_memory=200_000_000)

@ray.remote
class Holder:
    def __init__(self):
        self.data = bytearray(b"1") * (300 * 2**20)
    def ready(self):
        return True

holder = Holder.remote()
ray.get(holder.ready.remote())
(node,) = raymemprof.usage().nodes
assert node.isolation.user_used > 300 * 2**20, node.isolation
assert node.kill_limit < node.total, node
assert node.left == node.kill_limit - node.counted
print("seen")
"""


def test_live(tmp_path: Path) -> None:
    """Ray makes the cgroups itself, where only cgroup v2 is mounted and may be written to."""
    root = Path("/sys/fs/cgroup")
    base = root / f"raymemprof-test-{os.getpid()}"
    if not (root / "cgroup.controllers").exists() or not os.access(root, os.W_OK):
        pytest.skip("needs cgroup v2 alone, and the right to make cgroups")
    base.mkdir()
    try:
        code = f"open('{base}/cgroup.procs', 'w').write('0')\n{LIVE.format(base=str(base))}"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path)
        assert "seen" in done.stdout, done.stderr
    finally:
        for folder in sorted(base.rglob("*/"), key=lambda one: -len(one.parts)):
            with contextlib.suppress(OSError):
                folder.rmdir()
        with contextlib.suppress(OSError):
            base.rmdir()


def test_a_container_s_limit_is_read_from_the_same_files(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.process(7, "/box")
    machine.group("box", 3 * GIB, cached=GIB, max=8 * GIB)
    monkeypatch.setattr(host.psutil, "virtual_memory", lambda: type("M", (), {"total": 64 * GIB, "available": GIB})())
    found = host.memory(7)
    assert (found.total, found.used, found.group is not None) == (8 * GIB, 2 * GIB, True)
