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
from collections.abc import Callable, Sequence
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

    @profile_memory(heap=False)
    def here():
        return "ray.util.metrics" in sys.modules

    os.environ["RAYMEMPROF_METRICS"] = "1"
    assert not here() and not here(), "nothing is sent outside Ray"
    del os.environ["RAYMEMPROF_METRICS"]
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

    @ray.remote
    @profile_memory(heap=False)
    def who():
        return os.getpid()

    @ray.remote
    def loaded():
        return os.getpid(), "ray.util.metrics" in sys.modules

    def trouble(code):
        \"\"\"Calls in a worker where metrics are broken, and in a child of it; what was noted.\"\"\"
        import io
        from raymemprof import calls
        sys.stderr = io.StringIO()
        exec(code)

        @profile_memory(heap=False)
        def counted():
            return 1

        assert [counted() for _ in range(5)] == [1] * 5
        name = counted.__qualname__
        found = [call.status for call in calls(os.environ["RAY_LOGS"], name=name) if call.pid == os.getpid()]
        assert found == ["finished"] * 5, found
        child = os.fork()
        if child == 0:  # a lock of Ray's may be held by a thread that is not here
            os._exit(counted() - 1)
        assert os.waitpid(child, 0)[1] == 0
        return sys.stderr.getvalue()

    def sending(value, **more):
        return {"runtime_env": {"env_vars": {"RAYMEMPROF_METRICS": value, **more}}}

    keeper = Keeper.options(num_cpus=0, **sending("1")).remote()
    held = ray.get([hold.options(**sending("1")).remote(size) for size in (20_000_000, 200_000_000, 200_000_000)])
    ray.get(keeper.keep.remote())
    try:
        ray.get(fails.options(**sending("1")).remote())
    except KeyError as error:
        raised = str(error.cause)
    found = {}
    for value in json.loads(sys.argv[1]):
        pid = ray.get(who.options(**sending(value)).remote())
        same, found[value] = ray.get(loaded.options(**sending(value)).remote())
        assert same == pid, "asked of another worker"
    logs = ray._private.worker.global_worker.node.get_logs_dir_path()
    broken = ray.remote(max_calls=1, **sending("1", RAY_LOGS=logs))(trouble)
    noted = [ray.get(broken.remote(code)) for code in json.loads(sys.argv[2])]
    (node,) = ray.nodes()
    print(json.dumps({
        "held": held,
        "raised": raised,
        "endpoint": f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics",
        "loaded": found,
        "noted": noted,
    }), flush=True)
    sys.stdin.read()  # the endpoint is there until we are told to end
    ray.shutdown()
    os.environ["RAYMEMPROF_METRICS"] = "1"
    here()
    """
)


class Job:
    """A driver that has run its calls and waits, so that its cluster's metrics can be read."""

    def __init__(self, values: Sequence[str] = (), troubles: Sequence[str] = (), **env: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", JOB, json.dumps(values), json.dumps(troubles)],
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
@pytest.mark.rays
def test_prometheus_has_each_call(wait_for: Callable[..., Any]) -> None:
    with Job() as record:
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


def test_without_an_agent_calls_are_unharmed() -> None:
    """Metrics are asked for, and nobody is there who would export them: also where ray[default] is installed.

    Where they are not asked for nothing is imported, and what is no answer, or goes wrong, is noted once.
    """
    troubles = {
        "": "",
        "sys.modules['ray.util.metrics'] = None": "calls are not sent to Ray's metrics: ModuleNotFoundError",
        "import ray.util.metrics as metrics; del metrics.Counter.inc": (
            "a call was not sent to Ray's metrics: AttributeError"
        ),
    }
    job = Job(("1", "", "0", "perhaps"), list(troubles), RAY_enable_metrics_collection="0")
    with job as record:
        assert_unharmed(record)
        assert record["loaded"] == {"1": True, "": False, "0": False, "perhaps": False}
        for printed, note in zip(record["noted"], troubles.values(), strict=True):
            assert printed.count("to Ray's metrics") == bool(note), printed
            assert note in printed
    assert job.errors.count("RAYMEMPROF_METRICS='perhaps' was passed over: it must be true or false") == 1
