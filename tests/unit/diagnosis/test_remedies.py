"""What is advised fits what runs in the process, and how many of it ran; all advice has its fact and its source."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.diagnosis.advise.workloads import workload_of
from raymemprof.diagnosis.explain import advice
from raymemprof.diagnosis.explain.remedies import BY_CAUSE, BY_LACK, REMEDIES
from tests.paths import DATA

GIB = 2**30
NODE = "4" * 56


def kill(name: str, sizes: list[float], used: float = 30.0, memory: str = "") -> str:
    """As Ray 2.56 and later print it: the first of these processes was killed."""
    workers = "\n".join(
        f"{'Selected to kill: ' if number == 0 else ''}(Task: job ID=01000000, lease ID={number:056x}, "
        f"task name={name}, required resources={{CPU: 1{memory}}}, pid={400 + number}, "
        f"actual memory used={size:.2f}GB, worker ID={number:056x})"
        for number, size in enumerate(sizes)
    )
    top = "\n".join(f"{400 + number}\t{size:.2f}\tray::{name}" for number, size in enumerate(sizes))
    return (
        f"Task {name} failed due to oom. There are infinite oom retries remaining, so the task will be retried. Error: "
        f"1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.0.0.1, ID: {NODE}) "
        f"was {used:.2f}GB / 32.00GB ({used / 32:f})\n"
        "OOM kill reason: Memory usage 32212254720B exceeded threshold 30601641984B (0.95 x 34359738368B)\n"
        f"Ray killed 1 worker(s) based on the killing policy\nConsidered workers: [\n{workers}]\n"
        f"Total non-selected idle workers: 0\nTop 10 memory users: PID\tMEM(GB)\tCOMMAND\n{top}\n"
    )


LIBRARIES = {
    "ReadParquet->MapBatches(decode)": ("of the read", "map_batches(decode, memory=", "`concurrency=`", "batch_size="),
    "MapBatches(decode)": ("map_batches(decode, memory=", "`concurrency=`", "batch_size="),
    "MapWorker(MapBatches(Model)).submit": ("map_batches(Model, memory=", "`concurrency=`", "batch_size="),
    "ReadCSV": ("of the read", "memory=", "`concurrency=`", "batch_size="),
    "ServeReplica:default:Model.handle_request_with_rejection": (
        '@serve.deployment(ray_actor_options={"memory": ',
        "`max_replicas_per_node=`",
        "`max_ongoing_requests=`",
    ),
    "RayTrainWorker.execute": ("ScalingConfig(resources_per_worker=", "`num_workers=`", "DataLoader"),
    "_RayTrainWorker__execute.get_next": ("ScalingConfig(resources_per_worker=", "`num_workers=`", "DataLoader"),
    "ImplicitFunc.train": ("tune.with_resources(trainable, ", "`max_concurrent_trials=`", "tune.with_parameters"),
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_ray_s_libraries_have_options_of_their_own(name: str, tmp_path: Path) -> None:
    advice = " ".join(explain(kill(name, [4.0, 4.0, 4.0]), tmp_path).advice)
    assert all(words in advice for words in LIBRARIES[name]), advice
    assert f"{int(4 * GIB * 1.25):_}" in advice
    assert "@ray.remote" not in advice


@pytest.mark.parametrize("name", ["train", "pipeline.map_rows", "Reader.read", "MapStore", "ReadAhead.next", "serve"])
def test_what_the_user_named_is_the_user_s(name: str, tmp_path: Path) -> None:
    advice = " ".join(explain(kill(name, [4.0, 4.0, 4.0]), tmp_path).advice)
    assert f"`@ray.remote(memory={int(4 * GIB * 1.25):_})`" in advice


def test_where_one_process_is_the_problem_fewer_do_not_help(tmp_path: Path) -> None:
    found = explain(kill("load", [25.0]), tmp_path)
    advice = " ".join(found.advice)
    assert "@ray.remote(memory" not in advice
    assert "not one that needs 31.2 GiB fits" in advice  # Ray offers tasks 22.4 GiB of the 32
    alone = " ".join(explain(kill("load", [15.5]), tmp_path).advice)
    assert "One load alone had 15.5 GiB of the 30.0 GiB in use: to run fewer at once would not help." in alone
    assert "@ray.remote(memory" not in alone
    two = " ".join(explain(kill("load", [15.0, 14.0]), tmp_path).advice)
    assert "@ray.remote(memory" in two
    assert "alone" not in two


def test_who_asks_for_less_than_it_has(tmp_path: Path) -> None:
    summary = explain(kill("load", [4.0, 6.0], memory=f", memory: {2 * GIB}"), tmp_path).summary.splitlines()
    assert "load asks for 2.0 GiB and had 6.0 GiB: 4.0 GiB more." in summary


@pytest.mark.parametrize(
    ("text", "advised"),
    [
        (
            "Operator 'ReadParquet->MapBatches(decode)' uses 4.0GiB of memory per task on average, but Ray only "
            "requests 0.0B per task at the start of the pipeline.",
            "map_batches(…, memory=5_368_709_120)",
        ),
        (
            "ReadRange->MapBatches(big): {'average_num_outputs_per_task': 1.0, 'max_uss_bytes': {'num_samples': 2, "
            "'mean': 4193336422.4, 'variance': 26855731.8, 'min': 4193119744, 'max': 4294967296, 'p50': 4193418752.0}"
            "}",
            "map_batches(…, memory=5_368_709_120)",
        ),
        (
            "\n\nOperator 'ReadRange->MapBatches(decode)' uses 3.0GiB of memory per\nworker on average (up to 4.0GiB), "
            "but Ray only requests 0.0B per worker\nat the start of the pipeline.\n\nTo avoid out-of-memory errors, "
            "consider setting\n`memory=5368709120` (5.0GiB) in the appropriate function or method call.",
            "map_batches(…, memory=5_368_709_120)",
        ),
        (
            "\n\nOperator 'ReadRange->MapBatches(decode)' used up to 4.0GiB of memory\nper worker. The configured "
            "logical memory was 1.0GiB. To avoid out-of-\nmemory errors, set `memory=5368709120` (5.0GiB) in the "
            "appropriate\nfunction or method call.",
            "map_batches(…, memory=5_368_709_120)",
        ),
        (
            "System slice memory usage 3221225472 bytes has exceeded the reserved system memory of 2147483648 bytes. "
            "This can prevent Ray from being able to provide the proper protection to critical system processes",
            "--system-reserved-memory=4294967296`",
        ),
    ],
)
def test_a_warning_that_says_what_is_needed(text: str, advised: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert found.cause == "warning"
    assert advised in found.advice[0]


@pytest.mark.parametrize("before", ["", "2026-01-01 10:00:0{},123\tINFO streaming_executor.py:99 -- "])
def test_a_log_of_ray_data_s_figures(before: str, tmp_path: Path) -> None:
    """Lines that begin alike lose what stands before all of them, but not what they are about."""
    text = "\n".join(
        f"{before.format(n)}ReadRange->MapBatches(big): {{'average_num_outputs_per_task': {n}.0, 'max_uss_bytes': "
        f"{{'num_samples': {n}, 'mean': 4193336422.4, 'min': 4193119744, 'max': 4294967296, 'p50': 4193418752.0}}}}"
        for n in range(6)
    )
    found = explain(text, tmp_path)
    assert found.cause == "warning"
    assert "a task of ReadRange->MapBatches(big) held 4294967296 bytes" in found.summary.splitlines()[0]


def test_an_idle_worker_is_not_profiled_and_asks_for_nothing(tmp_path: Path) -> None:
    text = (DATA / "ray-2.60/idle-worker-oom.txt").read_text()
    found = explain(text, tmp_path)
    assert "killed an idle worker (pid 21645) and hog (pid 21644)" in found.summary.splitlines()[0]
    assert "put @profile_memory on it" in found.advice[0]
    alone = re.sub(r"Selected to kill: \(Task: .*\n", "", text)
    assert "Only idle workers" not in str(explain(alone, tmp_path))  # who was the second is not known
    alone = alone.replace("2 worker(s)", "1 worker(s)")
    said = str(explain(alone, tmp_path))
    assert "killed an idle worker (pid 21645) on" in said
    assert "Only idle workers were killed" in said
    assert "@profile_memory" not in said
    assert "@ray.remote" not in said


def test_resource_isolation_kills_before_the_kernel_does(tmp_path: Path) -> None:
    said = "Killed process 4123 ({}) total-vm:91234567kB, anon-rss:29876543kB, file-rss:0kB"
    assert "--enable-resource-isolation" in str(explain(said.format("ray::train"), tmp_path))
    assert "--enable-resource-isolation" not in str(explain(said.format("postgres"), tmp_path))
    assert str(explain(said.format("raylet"), tmp_path)).count("--enable-resource-isolation") == 1


def test_every_piece_of_advice_is_given_and_has_its_fact_and_its_source() -> None:
    source = ast.parse(Path(advice.__file__).read_text())
    said = {
        call.args[0].value: {one.arg for one in call.keywords}
        for call in ast.walk(source)
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", "") == "say"
        and isinstance(call.args[0], ast.Constant)
    }
    by_cause = {key: set() for keys in (*BY_CAUSE.values(), *BY_LACK.values()) for key in keys}
    assert {**by_cause, **said}.keys() == REMEDIES.keys()
    for key, figures in {**by_cause, **said}.items():
        fields = {name for _, name, _, _ in string.Formatter().parse(REMEDIES[key].text) if name}
        assert fields == figures, key
        assert REMEDIES[key].documented.startswith("https://"), key
        assert REMEDIES[key].fact, key


def test_names_that_mean_nothing() -> None:
    assert workload_of(None, "", is_actor=True).kind == "actor"
    assert workload_of().kind == "task"
    assert not re.search("[{}]", workload_of("load").ask.format(memory=1))


def test_an_object_that_is_larger_than_the_store(tmp_path: Path) -> None:
    said = (
        "Failed to put object 641e079764274441ffffffffffffffffffffffff0200000001000000 in object store because it is "
        "full. Object size is {} bytes.\nPlasma store status:\n\n(global lru) capacity: 78466815590\n"
        "(global lru) used: {}%"
    )
    text = str(explain(said.format(219375455268, 0), tmp_path))
    assert "219375455268 bytes is larger than the whole object store" in text
    assert "`--object-store-memory=219375455268` or more" in text
    assert "referred to" not in text
    assert "referred to" in str(explain(said.format(1000, 99), tmp_path))


def test_what_is_made_again(tmp_path: Path) -> None:
    said = "The object cannot be reconstructed because {}. Only the owner can."
    for why in ("it was created with ray.put()", "it crossed an ownership boundary"):
        text = str(explain(said.format(why), tmp_path))
        assert f"cannot make it again, because {why}." in text
        assert "not one of `ray.put()`" in text


def test_a_disk_that_is_nearly_full_is_to_be_freed(tmp_path: Path) -> None:
    said = "/tmp/ray/session_1 is over 95% full, available space: 0; capacity: 67108864. Object creation will fail if"
    text = str(explain(f"{said} spilling is required.", tmp_path))
    assert REMEDIES["warning"].text not in text
    assert REMEDIES["disk_full"].text.split("{")[0] in text


def test_the_gcs_server_is_rays_own(tmp_path: Path) -> None:
    said = "Memory cgroup out of memory: Killed process 3293402 (gcs_server) total-vm:999400kB, anon-rss:387784kB"
    text = str(explain(said, tmp_path))
    assert "its death ends the cluster" in text
    assert "@ray.remote" not in text
    assert "no task and no actor" not in text


def test_one_that_another_dwarfs_is_not_what_is_to_be_made_smaller(tmp_path: Path) -> None:
    said = (
        "Task was killed due to the node running low on memory.\nMemory on the node (IP: 10.0.0.1, ID: {}) where the "
        "task (task ID: {}, name=main_task, pid=2121529, memory used=0.63GB) was running was 482.39GB / 503.52GB "
        "(0.958038), which exceeds the memory usage threshold of 0.95. Ray killed this worker (ID: {}) because it was "
        "the most recently scheduled task. Top 10 memory users:\nPID\tMEM(GB)\tCOMMAND\n2122099\t{}\tray::Saver.save\n"
        "2121529\t0.63\tray::main_task\n"
    )
    ids = "95" * 28, "8c" * 24, "88" * 28
    advice = explain(said.format(*ids, "260.26"), tmp_path).advice
    assert "pid 2122099" in advice[0]
    assert not any("@ray.remote" in text or "@profile_memory" in text for text in advice)
    assert "@profile_memory" in explain(said.format(*ids, "2.26"), tmp_path).advice[0]
