# ruff: noqa: E501 (messages are as long as they are)
"""What else `explain()` says of Ray's and its libraries' messages: whom it names, what it advises, what is no evidence."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.reading.logs.messages import parse
from tests.texts.message_texts import NODE, TASK, WORKER

OBJECT = "9c" * 28
DIED = (
    "2026-01-02 03:04:05,678\tWARNING worker.py:1986 -- A worker died or was killed while executing a task by an unexpected "
    f"system error. To troubleshoot the problem, check the logs for the dead worker. RayTask ID: {TASK} Worker ID: {WORKER} "
    f"Node ID: {NODE} Worker IP address: 10.20.30.40 Worker port: 10011 Worker PID: 16781 Worker exit type: SYSTEM_ERROR "
    "Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file.\n"
)
RAYLET = (
    "[2026-01-02 03:04:05,678 E 95 95] (raylet) logging.cc:440: *** SIGSEGV received at time=1767323045 on cpu 1 ***"
)
GCS = RAYLET.replace("raylet", "gcs_server").replace("SIGSEGV", "SIGABRT")
SHM = "WARNING: The object store is using /tmp instead of /dev/shm because /dev/shm has only 402257592320 bytes available."


@pytest.mark.parametrize(
    "allocation",
    [
        "(train pid=16781) cannot allocate memory for thread-local data: ABORT",
        "(train pid=16781) terminate called after throwing an instance of 'std::bad_alloc'",
        "(train pid=16781) memory allocation of 4096 bytes failed",
    ],
)
def test_the_worker_that_died_of_an_allocation_that_failed(allocation: str, tmp_path: Path) -> None:
    found = explain(f"{DIED}{allocation}", tmp_path)
    assert (found.cause, found.node_ip, found.node_id) == ("memory_error", "10.20.30.40", NODE)
    assert [victim.pid for victim in found.victims] == [16781]
    assert "Ray says that a worker (pid 16781) died on node 10.20.30.40." in str(found)


def test_of_two_workers_that_died_neither_is_taken_for_it(tmp_path: Path) -> None:
    other = DIED.replace("16781", "16790").replace(WORKER, "9a9a" * 14)
    found = explain(f"{DIED}{other}cannot allocate memory for thread-local data: ABORT", tmp_path)
    assert (found.cause, found.victims, found.node_ip) == ("memory_error", (), None)


def test_a_library_that_cannot_be_loaded_does_not_lack_memory(tmp_path: Path) -> None:
    text = "ImportError: /usr/lib/libgomp.so.1: cannot allocate memory in static TLS block"
    assert explain(text, tmp_path).cause == "unknown"


@pytest.mark.parametrize(
    ("text", "said", "advised", "node_ip"),
    [
        (RAYLET, "A raylet crashed (SIGSEGV)", "`raylet.err`", None),
        (GCS, "Ray's GCS server crashed (SIGABRT)", "`gcs_server.err`", None),
        (
            f"\x1b[33m(raylet, ip=10.20.30.40)\x1b[0m {RAYLET[RAYLET.index('***') :]}",
            "A raylet, or a process that it started, crashed on node 10.20.30.40 (SIGSEGV)",
            "`raylet.err`",
            "10.20.30.40",
        ),
    ],
)
@pytest.mark.parametrize("width", [60, 80, 400])
def test_a_crash_of_ray_s_own_parts_is_not_a_worker_s(
    text: str, said: str, advised: str, node_ip: str | None, width: int, tmp_path: Path
) -> None:
    if node_ip is None:
        text = "\n".join(text[start : start + width] for start in range(0, len(text), width))
    found = explain(text, tmp_path)
    assert (found.cause, found.node_ip) == ("crash", node_ip)
    assert said in found.summary.splitlines()[0]
    assert "worker" not in str(found)
    assert advised in str(found)


def test_a_worker_s_crash_stays_a_worker_s(tmp_path: Path) -> None:
    found = explain("(train pid=16781, ip=10.20.30.40) *** SIGSEGV received at time=1767323045 on cpu 1 ***", tmp_path)
    assert [victim.pid for victim in found.victims] == [16781]
    assert "raylet" not in str(found)


def test_the_object_store_of_a_machine_without_a_container(tmp_path: Path) -> None:
    found = explain(f"{SHM}\nStarting the Plasma object store with 482.0 GB memory using /tmp.", tmp_path)
    assert "the object store, of 482.0 GB, is in /tmp" in found.summary.splitlines()[0]
    assert found.advice[0].startswith("Give the object store no more than /dev/shm has")
    assert "In a container, make /dev/shm larger: `docker run --shm-size`" in found.advice[0]


def test_an_old_store_that_did_not_start(tmp_path: Path) -> None:
    text = (
        "0710 15:49:31.496636  6943 store.cc:1160] System memory request exceeds memory available in /dev/shm. The request "
        "is for 10000000000 bytes, and the amount available is 3579969945 bytes."
    )
    assert explain(f"W{text}", tmp_path).cause == "warning"
    assert explain(f"F{text}", tmp_path).cause == "not_started"


def test_a_fetch_that_timed_out_in_a_full_store(tmp_path: Path) -> None:
    found = explain(
        f"[2026-01-02 03:04:05,678 W 95 95] (raylet) pull_manager.cc:540: Object neither in memory nor external storage {OBJECT}\n"
        f"[2026-01-02 03:14:05,678 I 95 95] (raylet) pull_manager.cc:554: Object time out {OBJECT}\n"
        f"[2026-01-02 03:14:06,678 I 95 95] (raylet) object_buffer_pool.cc:153: Not enough memory to create requested object {OBJECT}, aborting",
        tmp_path,
    )
    assert found.cause == "object_lost"
    assert f"could not fetch the object {OBJECT} in time" in found.summary.splitlines()[0]
    assert "The object store had no room for an object" in str(found)


@pytest.mark.parametrize(
    ("text", "advised"),
    [
        (
            "An unexpected internal error occurred while the IO worker was spilling objects: no such key",
            "`io-worker-*`",
        ),
        (
            "DaftError::ArrowError External format error: Operation would exceed memory use threshold",
            "`data_page_size=`",
        ),
        ("ValueError: The actor F is too large (114 MiB > FUNCTION_SIZE_ERROR_THRESHOLD=95 MiB).", "`ray.put()`"),
        ("Warning: The remote function f is very large (83887895 bytes). Check", "`tune.with_parameters`"),
        (" {'memory': 42949672960.0}: 3+ pending tasks/actors", "`ray status -v`"),
        (
            "Estimated max memory usage for replay buffer is 84.672 GB (1000000 batches of size 1, 84672 bytes each), "
            "available system memory is 67.42 GB",
            "`capacity`",
        ),
        (
            "plasma_store_provider.cc:43]  Check failed: _s.ok() Bad status: IOError: Broken pipe",
            "`raylet.out`",
        ),
    ],
)
def test_what_is_advised(text: str, advised: str, tmp_path: Path) -> None:
    assert advised in " ".join(explain(text, tmp_path).advice)


def test_what_waits_for_other_things_than_memory(tmp_path: Path) -> None:
    for text in (
        " {'CPU': 1.0, 'GPU': 1.0}: 1+ pending tasks/actors",
        "Error: No available node types can fulfill resource request {'CPU': 1.0, 'GPU': 1.0}. Add suitable node types.",
        " {'object_store_memory': 1000.0}: 1+ pending tasks/actors",
        "0B/6.32GiB memory\n 412.90MiB/3.16GiB object_store_memory\n\nDemands:\n (no resource demands)",
    ):
        assert explain(text, tmp_path).cause == "unknown", text


def test_an_old_store_that_makes_room_is_not_called_full_for_good(tmp_path: Path) -> None:
    text = "There is not enough space to create this object, so evicting 7 objects to free up 512 bytes."
    found = explain(text, tmp_path)
    assert found.cause == "warning"
    assert "evicted 7 objects (512 bytes)" in found.summary.splitlines()[0]


def test_a_task_that_cannot_be_scheduled(tmp_path: Path) -> None:
    text = (
        f"The actor or task with ID {TASK} is pending and cannot currently be scheduled. It requires {{CPU: 1.000000}}, "
        "{memory: 4.000000 GiB} for execution and {CPU: 1.000000} for placement, but this node only has remaining "
        "{1.000000/2.000000 CPU, 1.562500 GiB/3.000000 GiB memory}."
    )
    found = explain(text, tmp_path)
    assert found.cause == "warning"
    assert (
        "waits for a node that has free what it asks for: {CPU: 1.000000}, {memory: 4.000000 GiB}."
        in found.summary.splitlines()[0]
    )


@pytest.mark.parametrize(
    "piece",
    [
        "{'memory': 1",
        "{'memory': 1.0}",
        "{",
        "object store is using /tmp instead of /dev/shm because /dev/shm has only 1 bytes ",
        "The actor or task with ID " + "a" * 56 + " cannot be scheduled right now. It requires {memory: ",
        "(raylet) *** SIG",
        "plasma_store_provider.cc:1] Check failed: ",
        "Estimated max memory usage for replay buffer is 1 GB (",
    ],
)
def test_no_text_makes_it_slow(piece: str) -> None:
    text = piece * (300_000 // len(piece))
    start = time.process_time()
    parse(text)
    assert time.process_time() - start < 3


def test_the_end_of_the_monitor_s_message() -> None:
    """Its beginning, and the heading of its table, scrolled away."""
    found = parse(
        "71 40.25 python train.py\n8805 8.80 ray::Actor\n"
        "Refer to the documentation on how to address the out of memory issue: "
        "https://docs.ray.io/en/latest/ray-core/scheduling/ray-oom-prevention.html. Consider provisioning more memory"
    )
    assert found.cause == "ray_memory_monitor"
    assert [(one.pid, one.command) for one in found.top_processes] == [(71, "python train.py"), (8805, "ray::Actor")]
    assert found.victims == ()


def test_an_address_that_a_terminal_broke() -> None:
    text = (
        "(raylet) A worker died or was killed while executing a task by an unexpected system error. To troubleshoot the "
        f"problem, check the logs for the dead worker. RayTask ID: {TASK} Worker ID: {WORKER} Node ID: {NODE} Worker IP "
        "address: 172.31.137\n"
        ".112 Worker port: 10023 Worker PID: 59378 Worker exit type: SYSTEM_ERROR Worker exit detail: Worker "
        "unexpectedly exits with a connection error code 2. End of file."
    )
    assert parse(text).node_ip == "172.31.137.112"


def test_where_duckdb_or_a_lost_object_was_met() -> None:
    """Also where the lines of the traceback were left out."""
    header = "ray::Sink.run() (pid=4642, ip=192.0.2.7)\n             ^^^^^^^^^^^^\n"
    for raised in (
        "duckdb.OutOfMemoryException: Out of Memory Error: could not allocate block of size 2.0 GiB (10.2 GiB/10.8 GiB used)",
        "ray.exceptions.ObjectLostError: Failed to retrieve object 00ff. All copies of 00ff have been lost due to node failure.",
    ):
        assert "It happened in Sink.run (pid 4642) on node 192.0.2.7." in parse(header + raised).also


def test_spilling_that_failed_on_a_disk_that_filled(tmp_path: Path) -> None:
    line = (
        "(raylet) file_system_monitor.cc:105: /tmp/ray/session_a is over 95% full, available space: {}; capacity: "
        "270475862016. Object creation will fail if spilling is required.\n"
    )
    trace = 'Traceback (most recent call last):\n  File "python/ray/_raylet.pyx", line 908, in {}'
    warned = line.format(13307080704) + line.format(5092540416)
    found = explain(warned + trace.format("ray._raylet.spill_objects_handler"), tmp_path)
    assert "raised an error while it wrote" in found.summary
    assert "available: 5092540416 of 270475862016 bytes" in found.summary
    assert "13307080704" not in found.summary
    assert "has failed" not in found.summary
    assert "raised an error" not in explain(warned + trace.format("train"), tmp_path).summary


def test_an_actor_and_another_worker_that_died(tmp_path: Path) -> None:
    actor = (
        "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n\tclass_name: Trainer\n\t"
        f"actor_id: {'7a8b' * 8}\n\tpid: 4123\n\tip: 10.20.30.40\nThe actor is dead because its worker process has died.\n"
    )
    found = explain(actor + DIED, tmp_path)
    assert {(victim.name, victim.pid) for victim in found.victims} == {(None, 16781), ("Trainer", 4123)}
    assert "a worker (pid 16781) and Trainer (pid 4123)" in found.summary


def test_a_worker_s_death_beside_a_batch_system_s_words(tmp_path: Path) -> None:
    found = explain(f"Some of the step tasks have been OOM Killed.\n{DIED}", tmp_path)
    assert (found.cause, found.node_id) == ("slurm_limit", NODE)
    assert [victim.pid for victim in found.victims] == [16781]
    assert "Ray says that a worker (pid 16781) died on node 10.20.30.40." in found.summary


def test_a_name_of_brackets_in_brackets(tmp_path: Path) -> None:
    found = explain("(MapWorker(MapBatches(Actor)) pid=13986) Fatal Python error: Segmentation fault", tmp_path)
    assert [(victim.name, victim.pid) for victim in found.victims] == [("MapWorker(MapBatches(Actor))", 13986)]


def test_the_traceback_that_a_text_has(tmp_path: Path) -> None:
    """An error in a title may be another process's: whose traceback stands there is all that is said."""
    title = "# cuda error: out of memory at cumem_allocator.cpp:62\n\n"
    header = 'ray::Worker.run() (pid=4123, ip=10.20.30.40)\n  File "a.py", line 3, in run\n'
    found = explain(f"{title}{header}", tmp_path)
    assert "The text has a traceback of Worker.run (pid 4123) on node 10.20.30.40." in found.summary
    assert found.node_ip is None
    *said, named = explain(f"{title}{header}ValueError: bad shape", tmp_path).summary.splitlines()
    assert "4123" not in " ".join(said)
    assert named == "The text also names the process 4123 (Worker.run) and the node 10.20.30.40."


def test_what_ray_guesses_of_each_death_is_not_quoted_when_cut(tmp_path: Path) -> None:
    found = explain(f"{DIED.strip()} There are som", tmp_path)
    assert "Ray says: Worker unexpectedly exits with a connection error code 2. End of file.\n" in found.summary


def test_a_list_of_kills_of_which_somebody_left_out_fields(tmp_path: Path) -> None:
    text = (
        "ray.exceptions.OutOfMemoryError: 2 worker(s) were killed due to the node running low on memory.\n"
        "Memory on the node (IP: 10.0.0.7) was 57.08GB / 60.00GB (0.951333)\n  ...\n"
        "Ray killed 2 worker(s) based on the killing policy:\n"
        "[(Task: ... task name=ReadParquet->Map(f)(7), pid=478, actual memory used=12.17GB, ...), "
        f"(Actor({'ab' * 16}): ..., task name=Store.add, ..., pid=479, actual memory used=2.50GB, ...)]\n"
    )
    first, second = explain(text, tmp_path).victims
    assert (first.name, first.pid, first.memory) == ("ReadParquet->Map(f)(7)", 478, round(12.17 * 2**30))
    assert (second.name, second.pid, second.actor_id) == ("Store.add", 479, "ab" * 16)


@pytest.mark.parametrize(("raised", "is_told"), [("torch.OutOfMemoryError", True), ("ValueError", False)])
def test_a_header_whose_exception_follows_without_frames(raised: str, is_told: bool, tmp_path: Path) -> None:
    """The header names the exception, so it is that task's."""
    text = (
        "ray.exceptions.RayTaskError(OutOfMemoryError):\n  ray::Policy.train()\n  (pid=3900, ip=10.6.2.1, actor_id=ab)\n\n"
        f"{raised}: no luck\n\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 320.00 MiB.\n"
    )
    found = explain(text.replace(": no luck\n\ntorch.OutOfMemoryError", "") if is_told else text, tmp_path)
    assert found.cause == "gpu_memory"
    assert ("It happened in Policy.train (pid 3900) on node 10.6.2.1" in found.summary) is is_told
