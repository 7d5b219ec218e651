"""What refers to the objects that fill an object store, as `ray memory` would tell it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.paths import PROGRAMS

PROGRAM = f"""
import json, os, sys, time
sys.path.insert(0, {str(PROGRAMS)!r})
import numpy as np
import ray, raymemprof
from several_nodes import init

init(num_cpus=1, log_to_driver=False, object_store_memory=100_000_000)

@ray.remote(num_cpus=0)
class Holder:
    def hold(self, references):
        self.value = ray.get(references[0])
        return os.getpid()

kept = [ray.put(np.ones(2_000_000)) for _ in range(4)]  # 64 MB
last = ray.put(np.ones(3_000_000))
holder = Holder.remote()
pid = ray.get(holder.hold.remote([last]))
deadline = time.monotonic() + 30
while time.monotonic() < deadline:  # one report: while Ray spills, the store is neither full nor has it spilled
    report = raymemprof.doctor()
    (node,) = report.usage.nodes
    full = [one for one in report.findings if one.illness == "object_store"]
    if full and any(one.pid == pid for one in node.references):
        break
    time.sleep(0.1)
found = [[one.pid, one.kind, one.call_site, one.object_count, one.size] for one in node.references]
(full,) = full
print(json.dumps([os.getpid(), pid, found, full.evidence, full.next_steps]))
"""


@pytest.mark.parametrize("has_sites", [False, True])
def test_who_refers_to_what(has_sites: bool, run_script: Callable[..., str]) -> None:
    variables = {"RAY_record_ref_creation_sites": "1"} if has_sites else {}
    driver, actor, found, evidence, steps = json.loads(run_script(PROGRAM, **variables).splitlines()[-1])
    of_driver = [one for one in found if one[0] == driver]
    assert sum(count for _, _, _, count, _ in of_driver) == 5
    assert 88_000_000 <= sum(size for *_, size in of_driver) < 90_000_000
    assert of_driver[0] == found[0]
    ((_, why, _, count, _),) = [one for one in found if one[0] == actor]
    assert (why, count) == ("pinned in memory", 1)
    lines = [line for line, text in enumerate(("", *PROGRAM.splitlines())) if "ray.put" in text]
    sites = [site for _, _, site, _, _ in of_driver]
    if has_sites:
        assert {int(site.rpartition(":")[2]) for site in sites} == set(lines), sites
        assert all("script.py" in site for site in sites)
        assert any("made at" in text and "script.py" in text for text in evidence)
        assert not any("RAY_record_ref_creation_sites" in step for step in steps)
    else:
        assert set(sites) == {None}
        assert any("RAY_record_ref_creation_sites=1" in step for step in steps)
    assert any(f"(pid {driver}) refers to " in text for text in evidence)
