"""Jobs that nobody decorated: by `runtime_env()`, by `raymemprof run`, by a variable; and what must not change."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import raymemprof
from tests.paths import PROGRAMS, ROOT
from tests.programs.several_nodes import free_port

PROGRAM = PROGRAMS / "switch_program.py"
COMMAND = Path(sys.executable).with_name("raymemprof")
RESULTS = [30_000_000, 5_000_000, 1, 8, "Cache", 7, 0, 1, 2, 1]
CALLS = Counter(
    {
        ("load", "task", "finished"): 2,
        ("Cache.__init__", "actor", "finished"): 1,
        ("Cache.add", "method", "finished"): 1,
        ("Cache.double", "method", "finished"): 1,
        ("Cache.name", "method", "finished"): 1,
        ("Slow.wait", "method", "finished"): 1,
        ("count", "task", "finished"): 1,
        ("fail", "task", "failed"): 1,
    }
)
SEEN = ("seen", "task", "finished")
"""The task that nothing decorates."""


class Job(NamedTuple):
    """A driver that has ended."""

    answer: dict[str, Any]
    output: str
    error: str
    status: int


class Cluster(NamedTuple):
    """A cluster that drivers connect to."""

    address: str
    dashboard: str
    logs: Path

    def calls(self, job: Job, **filters: Any) -> raymemprof.Calls:
        return raymemprof.calls(self.logs, job_id=job.answer["job"], **filters)


@pytest.fixture(scope="module")
def head(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    from ray.cluster_utils import Cluster as Started

    takes_jobs = any(item.name == "test_a_submitted_job" for item in request.session.items)
    ports = {"dashboard_port": free_port(), "dashboard_agent_listen_port": free_port()}
    started = Started(
        initialize_head=True,
        head_node_args={"num_cpus": 3, "include_dashboard": takes_jobs, "no_monitor": True, **ports},
    )
    try:
        node = started.head_node
        yield Cluster(started.address, f"http://{node.webui_url}", Path(node.get_logs_dir_path()))
    finally:
        started.shutdown()


def drive(head: Cluster | None, *command: object, **variables: str) -> Job:
    """Run a driver to its end."""
    where = {"RAY_ADDRESS": head.address} if head is not None else {}
    ran = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, **where, **variables},
    )
    answers = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    return Job(answers[-1] if answers else {}, ran.stdout, ran.stderr, ran.returncode)


def kinds(calls: raymemprof.Calls) -> Counter[tuple[str, str, str]]:
    return Counter((call.name, call.kind, call.status) for call in calls)


def guilty(calls: raymemprof.Calls) -> dict[str, tuple[str, int]]:
    """Return file and line of what each of some calls held most by."""
    found = {}
    for call in calls:
        if call.name in ("load", "Cache.add") and call.capture is not None:
            top = raymemprof.heap(call).top(1)[0]
            size = "large" if call.growth > 15_000_000 else "small"
            found[f"{call.name} {size}"] = (Path(str(top.file)).name, int(top.line))
    return found


@pytest.fixture(scope="module")
def decorated(head: Cluster) -> Job:
    return drive(head, sys.executable, PROGRAM, "decorated")


@pytest.fixture(scope="module")
def switched(head: Cluster) -> Job:
    return drive(head, sys.executable, PROGRAM, "env")


@pytest.mark.versions
def test_the_same_calls_as_decorated(head: Cluster, decorated: Job, switched: Job) -> None:
    plain = drive(head, sys.executable, PROGRAM, "plain")
    assert (plain.answer["results"], list(head.calls(plain))) == (RESULTS, [])
    assert decorated.answer["results"] == switched.answer["results"] == RESULTS
    assert kinds(head.calls(decorated)) == CALLS
    assert kinds(head.calls(switched)) == CALLS + Counter([SEEN])
    lines = guilty(head.calls(switched))
    assert lines == guilty(head.calls(decorated))
    assert {line for name, (file, line) in lines.items() if name.startswith("load")} == {line_of("block = bytearray")}
    assert switched.answer["seen"] == ["fast", None, True]
    assert "raymemprof" not in switched.error


def line_of(text: str) -> int:
    (line,) = (number for number, line in enumerate(PROGRAM.read_text().splitlines(), 1) if text in line)
    return line


def test_run_records_without_a_changed_line(head: Cluster, switched: Job) -> None:
    ran = drive(head, COMMAND, "run", PROGRAM, "plain")
    assert (ran.status, ran.answer["results"]) == (0, RESULTS)
    assert kinds(head.calls(ran)) == CALLS + Counter([SEEN])
    assert guilty(head.calls(ran)) == guilty(head.calls(switched))
    assert ran.output.count("\n") == 1  # the job's own line
    table = [line.split()[0] for line in ran.error.splitlines() if line.startswith(" ") and line.strip()]
    assert table.index("load") < table.index("count")  # the highest peak first
    assert f"{PROGRAM.name}:{line_of('block = bytearray')}" in ran.error
    assert "raymemprof flamegraph --name" in ran.error


def test_run_sums_up_what_goes_to_a_folder(head: Cluster, tmp_path: Path) -> None:
    """The options of the command that are not given are those of its environment, as with the variable alone."""
    folder = tmp_path / "kept"
    ran = drive(head, COMMAND, "run", PROGRAM, "plain", RAYMEMPROF_DIRECTORY=str(folder), RAYMEMPROF_HEAP="0")
    assert (ran.status, ran.answer["results"]) == (0, RESULTS)
    assert list(head.calls(ran)) == []
    calls = raymemprof.calls(folder)
    assert kinds(calls) == CALLS + Counter([SEEN])
    assert all(call.capture is None for call in calls)
    assert re.search(r"^ load +task +2 ", ran.error, re.MULTILINE), ran.error
    assert f"`raymemprof calls {folder} --name NAME`" in ran.error


def test_a_decorated_function_is_recorded_once(head: Cluster) -> None:
    both = drive(head, sys.executable, PROGRAM, "both")
    assert both.answer["results"] == RESULTS
    assert kinds(head.calls(both)) == CALLS + Counter([SEEN])


@pytest.mark.parametrize(("how", "seen"), [("hook", ["fast", "ran", True]), ("hook-name", ["fast", None, False])])
@pytest.mark.parametrize("is_shipped", [False, True], ids=["installed", "shipped"])
def test_a_hook_of_the_jobs_own_runs_too(head: Cluster, how: str, seen: list[Any], is_shipped: bool) -> None:
    """Also where raymemprof comes with the job, which takes a hook of ours."""
    shipped = [ROOT / "raymemprof"] if is_shipped else []
    job = drive(head, sys.executable, PROGRAM, how, *shipped)
    assert (job.answer["results"], job.answer["seen"]) == (RESULTS, seen)
    assert kinds(head.calls(job)) == CALLS + Counter([SEEN])


def test_single_tasks_and_actors(head: Cluster) -> None:
    job = drive(head, sys.executable, PROGRAM, "task")
    assert (job.answer["results"], job.answer["seen"]) == (RESULTS, ["fast", None, True])
    assert kinds(head.calls(job)) == CALLS + Counter([SEEN])


def test_some_functions_only(head: Cluster) -> None:
    job = drive(head, sys.executable, PROGRAM, "some")
    expected = {"load": 2, "Cache.__init__": 1, "Cache.double": 1, "Cache.name": 1}
    assert Counter(call.name for call in head.calls(job)) == expected
    assert all(call.capture is None for call in head.calls(job))


def test_a_variable_is_enough(head: Cluster) -> None:
    job = drive(head, sys.executable, PROGRAM, "plain", RAYMEMPROF_RECORD_ALL="1", RAYMEMPROF_EXCLUDE="*fail,seen")
    assert job.answer["results"] == RESULTS
    assert kinds(head.calls(job)) == CALLS - Counter({("fail", "task", "failed"): 1})


def test_what_the_script_says_goes_first(head: Cluster) -> None:
    """Who runs it, or its environment, turns the switch on; its own `env_vars` turn it off."""
    off = json.dumps({"env_vars": {"RAYMEMPROF_RECORD_ALL": "0"}})
    code = f"""
import json, ray
ray.init(logging_level="ERROR", runtime_env={off})
print(json.dumps({{"job": ray.get_runtime_context().get_job_id(), "results": ray.get(ray.remote(abs_of).remote(-3))}}))
"""
    code = "def abs_of(number):\n    return abs(number)\n" + code
    job = drive(head, sys.executable, "-c", code, RAYMEMPROF_RECORD_ALL="1")
    assert (job.answer["results"], list(head.calls(job))) == (3, []), job.error


def test_what_ray_init_is_given_stays_the_users(head: Cluster) -> None:
    """Also in a `job_config`, which is not changed; and code that names `init` is still pickled."""
    code = """
import json, os, ray
from ray import cloudpickle, init
from ray.job_config import JobConfig
def names_it(): return init
config = JobConfig(runtime_env={"env_vars": {"MINE": "1"}})
init(logging_level="ERROR", job_config=config, runtime_env={})
@ray.remote
def seen(): return os.environ.get("MINE"), os.environ.get("RAYMEMPROF_RECORD_ALL")
results = [ray.get(seen.remote()), config.runtime_env, cloudpickle.loads(cloudpickle.dumps(names_it))() is ray.init]
print(json.dumps({"results": results}), flush=True)
ray.shutdown()
print(json.dumps({"results": results, "is_connected": ray.is_initialized()}))
"""
    job = drive(head, sys.executable, "-c", code, RAYMEMPROF_RECORD_ALL="1")
    assert job.answer == {"results": [["1", "1"], {"env_vars": {"MINE": "1"}}, True], "is_connected": False}, job.error


def test_a_submitted_job(head: Cluster) -> None:
    """Its own environment turns the switch on, and so does its driver's `ray.init`: Ray refuses what is said twice."""
    from ray.job_submission import JobStatus, JobSubmissionClient

    printed = subprocess.run(
        [COMMAND, "runtime-env", "--no-heap", '{"env_vars": {"OF": "the job"}}'],
        capture_output=True,
        text=True,
        check=True,
    )
    client = JobSubmissionClient(head.dashboard)
    submitted = client.submit_job(entrypoint=f"{sys.executable} {PROGRAM} hook", runtime_env=json.loads(printed.stdout))
    deadline = time.monotonic() + 120
    while not client.get_job_status(submitted).is_terminal() and time.monotonic() < deadline:
        time.sleep(0.5)
    logs = client.get_job_logs(submitted)
    assert client.get_job_status(submitted) == JobStatus.SUCCEEDED, logs
    answer = next(json.loads(line) for line in logs.splitlines() if line.startswith("{"))
    assert (answer["results"], answer["seen"]) == (RESULTS, ["fast", "ran", True])
    calls = head.calls(Job(answer, logs, "", 0))
    assert kinds(calls) == CALLS + Counter([SEEN])
    assert all(call.capture is None for call in calls)  # as the job was submitted


@pytest.mark.rays
def test_libraries_name_their_work(head: Cluster, tmp_path: Path) -> None:
    """Ray Data's calls are named after its operators, whoever runs them; Ray's own actors are left out."""
    job = drive(head, COMMAND, "run", PROGRAMS / "switch_data_program.py", tmp_path)
    assert job.answer["results"] == [4_000, [1, 2, 3]]
    calls = head.calls(job)
    names = Counter(call.name for call in calls)
    assert names["MapBatches(Keep)"] >= 1, names  # of the one actor
    assert any("MapBatches(widen)" in name for name in names), names
    assert any("Read" in name for name in names), names
    assert any(name.endswith("Write") for name in names)
    assert names["PoolActor.run_batch"] >= 1
    assert not [name for name in names if re.search("stats|location|autoscal", name.lower())], names
    largest = max((call for call in calls if call.name == "MapBatches(Keep)"), key=lambda call: call.growth)
    top = raymemprof.heap(largest).top(1)[0]
    text = (PROGRAMS / "switch_data_program.py").read_text().splitlines()[int(top.line) - 1]
    assert "np.ones(5_000_000)" in text
    check_what_ray_data_says(calls, job.answer["noted"])


def check_what_ray_data_says(calls: raymemprof.Calls, noted: dict[str, float | None]) -> None:
    """It stands beside what was recorded, is what Ray Data itself has, and misses what is over between its looks."""
    said: dict[str, list[int]] = {}
    for call in calls:
        if call.ray_data_peak is not None:
            said.setdefault(call.name, []).append(call.ray_data_peak)
    assert {"MapBatches(widen)", "MapBatches(Keep)"} <= said.keys() <= noted.keys(), (said, noted)
    for name, peaks in said.items():
        theirs = noted[name]
        assert theirs is not None
        assert theirs == max(peaks) or min(peaks) <= theirs <= max(peaks), (name, noted, said)
    advised = {one.name: one for one in raymemprof.advise(calls)}
    assert {name: one.ray_data_peak for name, one in advised.items()} == {
        name: max(said[name]) if name in said else None for name in advised
    }
    assert "PoolActor" in advised
    missed = advised["MapBatches(widen)"]
    assert missed.max - (missed.ray_data_peak or 0) > 60_000_000, missed
    shown = " ".join(repr(raymemprof.advise(calls)).split())
    assert f"ask for it with map_batches(widen, memory={missed.memory:_})." in shown
    assert "max_uss_bytes" in shown


LACKING = "raise ModuleNotFoundError(\"No module named 'raymemprof'\")"
RENAMED = """
import wrapt
from wrapt import importer

def rename(module):
    manager = module.FunctionActorManager
    moved = manager._load_actor_class_from_local
    del manager._load_actor_class_from_local
    manager.__getattr__ = lambda self, name: (
        moved.__get__(self) if name == "_load_actor_class_from_local" else object.__getattribute__(self, name)
    )

wrapt.register_post_import_hook(rename, "ray._private.function_manager")
hooks = importer._post_import_hooks["ray._private.function_manager"]
hooks.insert(0, hooks.pop())
"""


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("raymemprof/__init__.py", LACKING, "raymemprof cannot be imported on a worker"),
        ("sitecustomize.py", RENAMED, "has no FunctionActorManager._load_actor_class_from_local"),
    ],
    ids=["lacking", "renamed"],
)
def test_workers_that_cannot_record_run_unharmed(head: Cluster, tmp_path: Path, file: str, text: str, why: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    job = drive(
        head, sys.executable, PROGRAM, "env", json.dumps({"env_vars": {"PYTHONPATH": str(tmp_path), "MODE": "x"}})
    )
    assert (job.status, job.answer["results"]) == (0, RESULTS)
    assert list(head.calls(job)) == []
    assert "Error processing" not in job.error
    said = [line for line in job.error.splitlines() if "are not recorded: " in line and "(pid=" not in line]
    assert len(said) == 1, job.error
    assert why in said[0]


def test_packages_that_ray_installs(head: Cluster, tmp_path: Path) -> None:
    """The job's own `pip`, variables and hook are kept, and the switch reaches the environment that Ray makes."""
    package = tmp_path / "theirs"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (package / "backend.py").write_text(
        "import zipfile\n"
        "def build_wheel(folder, *more):\n"
        "    name = 'theirs_only-1.0-py3-none-any.whl'\n"
        "    with zipfile.ZipFile(f'{folder}/{name}', 'w') as file:\n"
        "        file.writestr('theirs_only.py', 'VALUE = 5')\n"
        "        about = 'theirs_only-1.0.dist-info/'\n"
        "        file.writestr(about + 'METADATA', 'Metadata-Version: 2.1\\nName: theirs-only\\nVersion: 1.0\\n')\n"
        "        tag = 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'\n"
        "        file.writestr(about + 'WHEEL', tag)\n"
        "        file.writestr(about + 'RECORD', '')\n"
        "    return name\n"
    )
    code = f"""
import json, os, ray, raymemprof

def hook():
    import theirs_only
    os.environ["HOOKED"] = str(theirs_only.VALUE)

theirs = {{"pip": [{str(package)!r}], "env_vars": {{"MODE": "fast"}}, "worker_process_setup_hook": hook}}
ray.init(logging_level="ERROR", runtime_env=raymemprof.runtime_env(theirs))

@ray.remote
def value():
    import theirs_only
    return theirs_only.VALUE, os.environ["MODE"], os.environ["HOOKED"]

print(json.dumps({{"results": ray.get(value.remote()), "job": ray.get_runtime_context().get_job_id()}}))
"""
    job = drive(head, sys.executable, "-c", code)
    assert job.answer["results"] == [5, "fast", "5"], job.error
    assert [call.name for call in head.calls(job)] == ["value"]
