"""With RAYMEMPROF_METRICS=1 Ray's Prometheus endpoint tells of each call; without one, no call is harmed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

MIB = 2**20
AGENT = ("opencensus", "opentelemetry", "prometheus_client", "aiohttp", "aiohttp_cors", "grpc")
"""What `ray[default]` brings, and a node's metrics agent needs."""

JOB = textwrap.dedent(
    """
    import json, os, sys, time
    import ray
    from raymemprof import profile_memory

    ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", object_store_memory=10**8)

    @ray.remote(max_retries=0)
    @profile_memory(heap=False)
    def hold(size):
        data = bytearray(b"1") * size
        time.sleep(0.1)  # a few samples
        return len(data)

    @ray.remote(max_retries=0)
    @profile_memory(heap=False)
    def fails():
        raise KeyError("as it was raised")

    @ray.remote
    @profile_memory(heap=False)
    class Keeper:
        def keep(self):
            return os.getpid()

    keeper = Keeper.options(num_cpus=0).remote()
    held = ray.get([hold.remote(size) for size in (20_000_000, 200_000_000, 200_000_000)])
    ray.get(keeper.keep.remote())
    try:
        ray.get(fails.remote())
    except KeyError as error:
        raised = str(error.cause)
    (node,) = ray.nodes()
    print(json.dumps({
        "held": held,
        "raised": raised,
        "endpoint": f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics",
        "has_port": node["MetricsExportPort"] > 0,
        "loaded": ray.get(ray.remote(lambda: "ray.util.metrics" in sys.modules).remote()),
    }), flush=True)
    sys.stdin.read()  # the endpoint is there until we are told to end
    ray.shutdown()
    """
)


class Job:
    """A driver that has run its calls and waits, so that its cluster's metrics can be read."""

    def __init__(self, **env: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", JOB],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "RAY_metrics_report_interval_ms": "200", **env},
        )

    def __enter__(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                record: dict[str, Any] = json.loads(line)
                return record
        raise AssertionError(self._process.communicate(timeout=30)[1])

    def __exit__(self, *exception: object) -> None:
        self.errors = self._process.communicate(timeout=60)[1]
        assert self._process.returncode == 0, self.errors


def assert_unharmed(record: dict[str, Any]) -> None:
    assert record["held"] == [20_000_000, 200_000_000, 200_000_000]
    assert record["raised"] == "'as it was raised'"


def samples(endpoint: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What the endpoint says of ours: value by metric and those labels that are not of Ray's own making."""
    with urllib.request.urlopen(endpoint, timeout=5) as answer:
        text = answer.read().decode()
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for metric, labels, value in re.findall(r"^(ray_raymemprof_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
        ours = [
            pair for pair in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels) if pair[0] in ("Name", "Status", "le")
        ]
        key = metric, tuple(sorted(ours))
        found[key] = found.get(key, 0) + float(value)
    return found


@pytest.mark.skipif(
    not all(importlib.util.find_spec(module) for module in AGENT), reason="the metrics agent needs ray[default]"
)
@pytest.mark.versions
def test_prometheus_has_each_call(wait_for: Callable[..., Any]) -> None:
    with Job(RAYMEMPROF_METRICS="1") as record:
        assert_unharmed(record)

        def calls(name: str, status: str = "finished") -> float:
            key = "ray_raymemprof_calls_total", (("Name", name), ("Status", status))
            return samples(record["endpoint"]).get(key, 0)

        def exported() -> bool:
            try:
                return calls("hold") == 3 and calls("fails", "failed") == 1 and calls("Keeper.keep") == 1
            except OSError:  # the agent is still starting
                return False

        wait_for(exported, 60)
        found = samples(record["endpoint"])

    def up_to(mebibytes: int) -> float:
        metric = "ray_raymemprof_call_peak_memory_bytes_bucket"
        return found[metric, (("Name", "hold"), ("le", f"{float(mebibytes * MIB)}"))]

    assert calls_of(found) == {("hold", "finished"): 3, ("fails", "failed"): 1, ("Keeper.keep", "finished"): 1}
    assert (up_to(128), up_to(512)) == (1, 3), "20 and 200 MB, and what a worker has before"


def calls_of(found: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> dict[tuple[str, str], float]:
    named = {key[1]: value for key, value in found.items() if key[0] == "ray_raymemprof_calls_total"}
    return {(dict(labels)["Name"], dict(labels)["Status"]): value for labels, value in named.items()}


@pytest.mark.versions
def test_without_an_agent_calls_are_unharmed() -> None:
    """Metrics are asked for, and nobody is there who would export them: also where ray[default] is installed."""
    with Job(RAYMEMPROF_METRICS="1", RAY_enable_metrics_collection="0") as record:
        assert_unharmed(record)
        assert record["loaded"]


def test_unset_or_off_nothing_is_imported() -> None:
    for value in ("", "0"):
        with Job(RAYMEMPROF_METRICS=value) as record:
            assert_unharmed(record)
            assert not record["loaded"]


def test_a_value_that_makes_no_sense_is_noted_once() -> None:
    job = Job(RAYMEMPROF_METRICS="perhaps")
    with job as record:
        assert_unharmed(record)
        assert not record["loaded"]
    assert "RAYMEMPROF_METRICS='perhaps' was passed over: it must be true or false" in job.errors


BROKEN = """
import os, sys
import ray
from raymemprof import profile_memory, calls

@profile_memory(heap=False)
def counted():
    return 1

assert counted() == 1 and "ray.util.metrics" not in sys.modules, "nothing is sent outside Ray"
ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False, object_store_memory=10**8)
{trouble}
for _ in range(5):
    assert counted() == 1
assert [call.status for call in calls(name="counted")] == ["finished"] * 5
child = os.fork()
if child == 0:  # a lock of Ray's may be held by a thread that is not here
    os._exit(counted() - 1)
assert os.waitpid(child, 0)[1] == 0
ray.shutdown()
assert counted() == 1
"""


@pytest.mark.parametrize(
    ("trouble", "note"),
    [
        ("", ""),
        ("sys.modules['ray.util.metrics'] = None", "calls are not sent to Ray's metrics: ModuleNotFoundError"),
        (
            "import ray.util.metrics as metrics; del metrics.Counter.inc",
            "a call was not sent to Ray's metrics: AttributeError",
        ),
    ],
)
def test_what_goes_wrong_is_noted_once(run_script: Callable[..., str], trouble: str, note: str) -> None:
    code = "import sys; sys.stderr = sys.stdout\n" + BROKEN.format(trouble=trouble)
    printed = run_script(code, RAYMEMPROF_METRICS="1")
    assert printed.count("to Ray's metrics") == bool(note)
    assert note in printed
