"""Which session is read where none is named: the one that runs, wherever it lies, and named; of several none."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import PROGRAMS
from tests.programs.apart_program import can_be_apart, run_apart

NO_SOURCE = [
    "calls",
    "captures",
    "ooms",
    "advise",
    "doctor",
    "heap --name load",
    "flamegraph --name load",
    "table --name load",
    "speedscope --name load",
    "fetch --name load --to fetched",
]
DIED = "ray.exceptions.WorkerCrashedError: The worker died unexpectedly while executing this task."
OOM = (
    "Task was killed due to the node running low on memory.\nMemory on the node (IP: 192.0.2.9, ID: 7a) where the task "
    "(task ID: 5b, name=load, pid=4100, memory used=1.00GB) was running was 9.5GB / 10GB (0.95), which exceeds the "
    "memory usage threshold of 0.95. Ray killed this worker (ID: 3c) because it was the most recently scheduled task."
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, as Ray's sockets need it."""
    folder = Path(tempfile.mkdtemp(prefix="ra-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def test_what_runs_is_read_and_not_what_has_ended(folder: Path) -> None:
    code = f"""
Cluster("{folder}/ray", calls=3).stop()  # where Ray has its sessions by default
ended = ask_here("calls")
cluster = Cluster("{folder}/own")
import raymemprof
answers = {{
    "ended": ended,
    "calls": ask_here("calls"),
    "json": ask_here("calls", "--json"),
    "repr": repr(raymemprof.calls()),
    "html": raymemprof.calls()._repr_html_(),
    "sorted": repr(raymemprof.calls().sorted(lambda call: call.pid)[:1]),
    "ooms": ask_here("ooms"),
    "doctor": ask_here("doctor", "--json"),
    "advise": ask_here("advise", "--json"),
    "heap": ask_here("heap", "--json", "--name", "load"),
    "flamegraph": ask_here("flamegraph", "--name", "load"),
    "explain": ask_here("explain", {OOM!r}),
    "error": ask_here("heap", "--name", "nobody"),
}}
cluster.stop()
again = ask_here("calls")
print(json.dumps([answers, cluster.address, cluster.session, again]))
"""
    answers, address, session, again = run_apart(code, folder)
    status, out, err = answers["ended"]
    assert (status, err) == (0, "")
    assert out.startswith("Read: the latest Ray session")
    assert out.count(" load ") == 3
    assert f"{folder}/ray/session_" in out.splitlines()[0]
    for name in ("calls", "ooms"):
        status, out, err = answers[name]
        assert (status, err) == (0, "")
        first = out.splitlines()[0]
        assert address in first
        assert session in first
    assert answers["calls"][1].count(" load ") == 1
    for name in ("repr", "sorted"):
        assert answers[name].startswith("Read: ")
        assert session in answers[name]
    assert answers["html"].index(session) < answers["html"].index("<table")
    for name in ("json", "doctor", "advise", "heap"):
        status, out, err = answers[name]
        assert status == 0
        assert out[0] in "[{"  # nothing but data
        (line,) = err.splitlines()
        assert address in line
        assert session in line
    assert session in answers["flamegraph"][2]
    assert answers["flamegraph"][0] == 0
    assert session in answers["explain"][1]
    status, out, err = answers["error"]
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert session in err
    assert again[1].count(" load ") == 3
    assert "no cluster of yours was found running" in again[1]


def test_of_several_none_is_guessed(folder: Path) -> None:
    code = f"""
first, second = Cluster("{folder}/one", calls=2), Cluster("{folder}/two")
import raymemprof

def refusal(function):
    try:
        return repr(function())
    except ValueError as error:
        return str(error)

answers = {{command: ask_here(*command.split()) for command in {NO_SOURCE!r}}}
refusals = [refusal(ask) for ask in (raymemprof.calls, raymemprof.captures, raymemprof.ooms, raymemprof.doctor,
                                     raymemprof.advise)]
died, oom = ask_here("explain", {DIED!r}), ask_here("explain", {OOM!r})
meant = ask("calls", RAY_ADDRESS=first.address)
named = ask_here("calls", first.session)
auto = ask("calls", "--address", "auto")
error = ask("heap", "--name", "nobody", "--address", "auto")
live = ask("usage", "--live")
first.stop()
second.stop()
print(json.dumps([[first.address, first.session, second.address, second.session], answers, refusals, died, oom, meant,
                  named, auto, error, live]))
"""
    clusters, answers, refusals, died, oom, meant, named, auto, error, live = run_apart(code, folder)
    for status, out, err in answers.values():
        assert (status, out) == (2, "")
        (line,) = err.splitlines()
        assert all(word in line for word in clusters)
        assert "--address" in line
    assert len(refusals) == 5
    for text in refusals:
        assert all(word in text for word in clusters)
        assert "\n" not in text
    for status, out, _ in (died, oom):  # what the text says is said; no cluster is looked into
        assert status == 0
        assert all(word in " ".join(out.split()) for word in clusters)
    assert "killed load (pid 4100)" in oom[1]
    assert [answer[1].count(" load ") for answer in (meant, named, auto)] == [2, 2, 1]
    assert clusters[0] in meant[1].splitlines()[0]
    for status, _, err in (auto, live):  # started last
        assert status == 0
        assert f"this is {clusters[2]}" in err
        assert clusters[0] in err
    assert error[0] == 2
    assert clusters[2] in error[2].splitlines()[-1]


DIES = f"""
import json, os, signal, sys
sys.path.insert(0, {str(PROGRAMS)!r})
import ray, raymemprof
from several_nodes import init
init(num_cpus=1, logging_level="ERROR", log_to_driver=False, _temp_dir=sys.argv[1],
     object_store_memory=100_000_000)

@ray.remote
@raymemprof.profile_memory
class Shop:
    def pid(self):
        return os.getpid()
    def fill(self):
        self.held = bytearray(b"1") * 50_000_000
        os.kill(os.getpid(), signal.SIGKILL)

def told(error):
    explanation = raymemprof.explain(error)
    return [str(explanation), [call.pid for call in explanation.calls]]

shop = Shop.remote()
pid = ray.get(shop.pid.remote())
try:
    ray.get(shop.fill.remote())
except ray.exceptions.RayError as error:
    print(json.dumps([pid, str(error), told(error)]), flush=True)
others = json.loads(sys.stdin.readline())
print(json.dumps(told(others)), flush=True)
sys.stdin.read()
"""


def test_an_error_of_one_cluster_names_no_call_of_another(folder: Path) -> None:
    code = f"""
drivers = [subprocess.Popen([sys.executable, "-c", {DIES!r}, f"{folder}/{{name}}"], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True) for name in ("one", "two")]

def said(driver):
    # Ray prints warnings, too.
    return json.loads(next(line for line in driver.stdout if line.startswith("[")))

died = [said(driver) for driver in drivers]
for driver, (_, error, _) in zip(drivers, reversed(died)):
    print(json.dumps(error), file=driver.stdin, flush=True)
others = [said(driver) for driver in drivers]
for driver in drivers:
    driver.communicate()
print(json.dumps([died, others]))
"""
    died, others = run_apart(code, folder)
    pids = [pid for pid, _, _ in died]
    for (pid, error, (text, calls)), other in zip(died, reversed(pids), strict=True):
        assert f"pid: {pid}\n" in error
        assert calls == [pid]
        assert f"(pid {pid})" in text
        assert f"(pid {other})" not in text
    for (text, calls), pid, own in zip(others, reversed(pids), pids, strict=True):
        assert calls == []
        assert f"(pid {pid})" in text, "the text itself says who died"
        assert f"(pid {own})" not in text


@pytest.mark.skipif(not can_be_apart(), reason="only root can start another user's cluster")
def test_another_users_cluster_is_read_only_where_it_is_named(folder: Path) -> None:
    code = f"""
theirs = Cluster("{folder}/theirs", uid=54321)
alone = ask_here("calls")
own = Cluster("{folder}/own", calls=2)
both, named = ask_here("calls"), ask_here("calls", theirs.session)
own.stop()
theirs.stop()
print(json.dumps([theirs.address, alone, both, named]))
"""
    address, alone, both, named = run_apart(code, folder)
    assert f"of other users run here: {address} of user 54321" in " ".join(alone[1].split())
    assert not alone[1].startswith(f"Read: the Ray cluster that runs here at {address}")
    assert both[1].count(" load ") == 2
    assert named[1].count(" load ") == 1
