# ruff: noqa: E501 (messages are as long as they are)
"""What `explain()` says of texts that users paste in parts: who else ended, on which device and node, and why."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.reading.logs.messages import parse
from raymemprof.reading.logs.text.layouts import as_printed
from tests.texts.message_texts import ACTOR
from tests.texts.texts_of_users import NODE, OBJECT, OTHER_NODE, STORE, TASK, TEXTS, WORKER

GPU = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 1 has a total capacity of 79.10 GiB of which 1.10 GiB is free."
)
PERIODIC = "{} Workers (tasks / actors) killed due to memory pressure (OOM), 0 Workers crashed due to other reasons at node (ID: {}, IP: 10.20.30.40) over the last time period."
DEATH = (
    f"A worker died or was killed while executing a task by an unexpected system error. RayTask ID: {TASK} Worker ID: {WORKER} "
    f"Node ID: {NODE} Worker IP address: 10.20.30.40 Worker port: 10011 Worker PID: 16781 Worker exit type: SYSTEM_ERROR "
    "Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file."
)
MULTIPLE = (
    "ray.exceptions.RayTaskError(OutOfMemoryError): ray::Runner.run() (pid=4100, ip=10.20.30.40, actor_id=7a8b7a8b7a8b7a8b7a8b7a8b7a8b7a8b)\n"
    '  File "/opt/a.py", line 94, in run\n    trainer.fit()\n'
    "ray.exceptions.RayTaskError(OutOfMemoryError): ray::Trainer.step() (pid=4123, ip=10.20.30.40, actor_id=9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a9a)\n"
    '  File "/opt/b.py", line 432, in step\n    return self.up'
)


@pytest.mark.parametrize(
    ("needs", "advised", "not_advised"),
    [
        (61000000000, "`--object-store-memory=61000000000` or more", "ray memory"),
        (9000000000, "`ray memory --stats-only`", "--object-store-memory=9000000000"),
    ],
)
def test_what_is_advised_of_a_store_fits_its_figures(
    needs: int, advised: str, not_advised: str, tmp_path: Path
) -> None:
    advice = " ".join(explain(STORE.format(needs), tmp_path).advice)
    assert advised in advice
    assert not_advised not in advice


def test_a_node_whose_address_is_hidden(tmp_path: Path) -> None:
    text = f"Memory on the node ( ID: {NODE}) where the task (task ID: {TASK}, name=load, pid=4123, memory used=1.20GB) was running was 30.10GB / 31.00GB (0.970968), which exceeds the memory usage threshold of 0.95."
    found = explain(text, tmp_path)
    assert (found.node_id, found.node_ip) == (NODE, None)


def test_several_workers_of_a_data_loader(tmp_path: Path) -> None:
    text = "RuntimeError: DataLoader worker (pid {}) is killed by signal: Killed. "
    found = explain(text.format(4123), tmp_path)
    assert [(one.name, one.pid) for one in found.victims] == [("DataLoader worker", 4123)]
    assert found.summary.startswith("A process DataLoader worker (pid 4123) was killed by SIGKILL")
    both = explain(f"{text.format(4123)}\n{text.format(4124)}", tmp_path)
    assert both.summary.startswith(
        "2 processes, DataLoader worker (pid 4123) and DataLoader worker (pid 4124), were killed by SIGKILL"
    )


def test_the_number_of_an_error_alone(tmp_path: Path) -> None:
    """A title seldom has its words."""
    found = explain("# OSError: [Errno 12] from ray.init()\n\n`free -h` has 900G.", tmp_path)
    assert found.cause == "memory_error"
    assert "vm.overcommit_memory" in " ".join(found.advice)


def test_the_node_of_a_summary_without_one(tmp_path: Path) -> None:
    text = "(raylet, ip=10.20.30.40) 2 Workers (tasks / actors) killed due to memory pressure (OOM), 0 Workers crashed due to other reasons at node"
    assert explain(text, tmp_path).node_ip == "10.20.30.40"
    other = f"{text}\n(raylet, ip=10.20.30.41) Spilled 2067 MiB, 8 objects"
    assert explain(other, tmp_path).node_ip == "10.20.30.40"


def test_a_process_that_a_program_ended_itself(tmp_path: Path) -> None:
    text = (
        f"Killing process: 4123 for actor rank 2\nA worker died or was killed while executing task {'f' * 16}{ACTOR}."
    )
    found = explain(text, tmp_path)
    assert "A program says that it kills process 4123 itself for actor rank 2" in found.summary
    assert [one.actor_id for one in found.victims] == [ACTOR]


def test_workers_of_an_old_version(tmp_path: Path) -> None:
    tasks = [TASK, f"{'f' * 16}{ACTOR}"]
    text = "WARNING worker.py:1134 -- A worker died or was killed while executing task {}."
    found = explain("\n".join(text.format(task) for task in tasks), tmp_path)
    assert [(one.task_id, one.actor_id) for one in found.victims] == [(TASK, None), (tasks[1], ACTOR)]
    assert f"2 workers (of the task {TASK} and the actor {ACTOR})" in found.summary
    assert [one.task_id for one in explain(text.format(TASK), tmp_path).victims] == [TASK]


def test_what_slurm_does_not_take(tmp_path: Path) -> None:
    summary = explain(TEXTS["a job that Slurm did not take"].text, tmp_path).summary
    assert "--mem=40G" in summary
    assert "has 32000 MiB (RealMemory)" in summary


def test_where_python_in_java_lacked_memory(tmp_path: Path) -> None:
    found = explain(TEXTS["an error of Python's in Java"].text, tmp_path)
    assert "in load.read (load.py:17)" in found.summary


def test_all_demands_that_wait(tmp_path: Path) -> None:
    summary = explain(TEXTS["demands for memory that wait"].text, tmp_path).summary
    assert "2 such demands, of 5 or more that wait: each asks for 100.0 MiB to 200.0 MiB of memory" in summary


def test_how_late_a_heartbeat_was(tmp_path: Path) -> None:
    assert (
        "the last heartbeat was sent 8123 ms ago"
        in explain(TEXTS["a node that was marked as dead"].text, tmp_path).summary
    )


def test_a_raylet_s_own_exception(tmp_path: Path) -> None:
    text = "# LocalRayletDiedError: The task's local raylet died. Check raylet.out for more information.\n\n[2026-01-02 03:04:05,678 E 212 230] (raylet.exe) node_manager.cc:1481: NodeManager::DisconnectClient, disconnect_type=0\n[2026-01-02 03:04:05,679 E 212 230] (raylet.exe) logging.cc:108: Unhandled exception: class std::out_of_range. what(): invalid map key"
    found = explain(text, tmp_path)
    assert found.cause == "node_died"
    assert "an exception of its own, which ends its node: class std::out_of_range: invalid map key" in found.summary
    assert "does not say why" not in found.summary


def test_where_an_actor_was_that_ray_killed(tmp_path: Path) -> None:
    text = f"RayActorError: The actor died unexpectedly before finishing this task.\n\tclass_name: Pool\n\tactor_id: {ACTOR}\n\tpid: 4123\n\tnamespace: default\n\tip: 10.20.30.40\nThe actor is dead because its worker process has died. Worker exit type: NODE_OUT_OF_MEMORY Worker exit detail: Task was killed due to the node running low on memory."
    found = explain(text, tmp_path)
    assert (found.cause, found.node_ip) == ("ray_memory_monitor", "10.20.30.40")


def test_blanks_with_which_a_terminal_filled_its_lines(tmp_path: Path) -> None:
    fill = " " * 60
    lines = [
        f"[2059991.491436] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,me{fill}ms_allowed=0,global_oom,task=train_,pid=41234,uid=0",
        f"[2059991.491542] Out of memory: Killed process 41234 (train_) total-vm:533122440{fill}kB, anon-rss:31451456kB, file-rss:0kB",
    ]
    assert [line.index(fill) for line in lines] == [80, 80]
    found = explain("\n".join(lines), tmp_path)
    assert [(one.name, one.pid, one.memory) for one in found.victims] == [("train_", 41234, 31451456 * 1024)]


def test_a_signal_s_number_and_a_person_s_reason(tmp_path: Path) -> None:
    found = explain(
        "work-horse terminated unexpectedly; waitpid returned 9\nIt turned out that my job needs more memory.", tmp_path
    )
    assert found.cause == "sigkill"
    assert "no log here shows whether memory was the reason" in found.summary
    assert "my job needs more memory" in found.summary


def test_what_speaks_against_memory_is_quoted(tmp_path: Path) -> None:
    text = f"{DEATH}\nI watched it: the memory utilization is stable at 40 %."
    assert "the memory utilization is stable" in explain(text, tmp_path).summary


def test_rows_behind_the_prefix_of_vllm(tmp_path: Path) -> None:
    text = (
        f"Memory on the node (IP: 10.20.30.40, ID: {NODE}) where the task (task ID: {TASK}, name=load, pid=4123, memory used=1.20GB) was running was 30.10GB / 31.00GB (0.970968), which exceeds the memory usage threshold of 0.95. Top 10 memory users:\n"
        "PID  MEM(GB) COMMAND\n4124        28.10   ray::Actor.step\n4123        1.20    ray::load\n"
    )
    prefixed = "\n".join(f"ERROR 03-21 17:27:44 [core.py:340] {line}" for line in text.splitlines())
    assert [one.pid for one in explain(prefixed, tmp_path).top_processes] == [4124, 4123]


def test_all_that_had_more_than_what_was_killed(tmp_path: Path) -> None:
    text = (
        f"Memory on the node (IP: 10.20.30.40, ID: {NODE}) where the task (task ID: {TASK}, name=load, pid=4123, memory used=1.20GB) was running was 30.10GB / 31.00GB (0.970968), which exceeds the memory usage threshold of 0.95. Top 10 memory users:\n"
        "PID\tMEM(GB)\tCOMMAND\n4124\t12.00\tray::Actor\n4125\t11.00\tray::Critic\n4126\t2.00\tray::Reward\n"
    )
    advice = " ".join(explain(text, tmp_path).advice)
    assert "`ray::Actor` (pid 4124) should use 12.0 GiB, more than what was killed." in advice
    assert "killed. `ray::Critic` (pid 4125) had 11.0 GiB, more than that, too." in advice
    assert "4126" not in advice


def test_who_could_not_put_an_object(tmp_path: Path) -> None:
    text = "\n".join(f"(load pid=4123, ip=10.20.30.40) {line}" for line in STORE.format(9000000000).splitlines())
    found = explain(text, tmp_path)
    assert found.node_ip == "10.20.30.40"
    assert "It happened in load (pid 4123) on node 10.20.30.40." in found.summary.splitlines()


@pytest.mark.parametrize(("share", "said"), [("0.9", "90%"), ("0.955", "95.5%"), ("95", "95%"), ("1", "1%")])
def test_a_disk_s_share(share: str, said: str, tmp_path: Path) -> None:
    text = f"(raylet, ip=10.20.30.40) [2026-01-02 03:04:05,678 E 95 95] (raylet) file_system_monitor.cc:105: /mnt/ray is over {share}% full, available space: 4000. Object creation will fail if spilling is required."
    found = explain(text, tmp_path)
    assert f"is over {said} full; available: 4000 bytes" in found.summary.splitlines()[0]
    assert found.node_ip == "10.20.30.40"


def test_disks_of_two_nodes(tmp_path: Path) -> None:
    text = "(raylet, ip={}) file_system_monitor.cc:105: /mnt/ray is over 95% full, available space: 4000\n"
    found = explain(text.format("10.20.30.40") + text.format("10.20.30.41") + "(raylet, ip=10.9.9.9) started", tmp_path)
    assert "The raylets of 2 nodes say so: 10.20.30.40, 10.20.30.41." in found.summary.splitlines()
    assert found.node_ip is None


def test_what_a_store_logs_of_an_object_that_never_fits(tmp_path: Path) -> None:
    text = "Allowing the Plasma store to use up to 3.25GB of memory.\nNot enough memory to create the object {}, data_size={}"
    large = explain(text.format(OBJECT, 9000000000), tmp_path)
    assert (
        "9000000000 bytes is larger than the whole object store, which may have 3.25GB" in large.summary.splitlines()[0]
    )
    assert "`--object-store-memory=9000000000` or more" in large.advice[0]
    small = explain(text.format(OBJECT, 1000), tmp_path)
    assert "had no room for an object of 1000 bytes" in small.summary.splitlines()[0]
    assert "`ray memory --stats-only`" in small.advice[0]


@pytest.mark.parametrize("escape", ["\x1b", "#033", "^[", "\\x1b", "\\033", "\\u001b", "\\e", "ESC", "␛", "\\\\x1b"])
def test_colours_however_they_are_written(escape: str) -> None:
    text = f"{escape}[2m{escape}[33m(raylet){escape}[0m " + PERIODIC.format(2, NODE)
    assert as_printed(text) == PERIODIC.format(2, NODE)


def test_a_log_of_rsyslog() -> None:
    rows = "PID#011MEM(GB)#011COMMAND#01216781#0117.25#011ray::f#012902#0110.31#011python"
    found = parse(
        f"Memory on the node (IP: 10.20.30.40, ID: {NODE}) was 30.11GB / 31.50GB (0.955873), which exceeds the memory usage threshold of 0.95.#012{rows}"
    )
    assert [process.pid for process in found.top_processes] == [16781, 902]


@pytest.mark.parametrize("at", [1, 20, 55])
def test_a_node_s_id_that_is_broken(at: int) -> None:
    text = f"A sentence that is longer than all others, so that no width can be told from it, by anybody at all, ever.\n{PERIODIC}"
    found = parse(text.format(2, f"{NODE[:at]}\n{NODE[at:]}"))
    assert (found.node_id, found.node_ip) == (NODE, "10.20.30.40")


def test_two_addresses_are_no_id() -> None:
    dump = "0123456789abcdef\nfedcba9876543210"
    assert as_printed(dump) == dump


def test_a_name_that_stands_only_before_a_process_s_lines(tmp_path: Path) -> None:
    found = explain(f"(Trainer pid=16781) step 12\n(raylet) {DEATH}", tmp_path)
    assert [(victim.name, victim.pid) for victim in found.victims] == [("Trainer", 16781)]
    for other in ("(Trainer pid=16781, ip=10.9.9.9) step", "(Trainer pid=16781) a\n(Loader pid=16781) b"):
        assert [victim.name for victim in explain(f"{other}\n(raylet) {DEATH}", tmp_path).victims] == [None]


def test_the_same_message_of_others(tmp_path: Path) -> None:
    said = "came 6 more times"
    assert said in str(explain(f"(Worker pid=4123) {GPU} [repeated 6x across cluster]", tmp_path))
    assert said not in str(explain(f"(Worker pid=4123) {GPU}\nstep 1 [repeated 6x across cluster]", tmp_path))


def test_a_gpu_and_an_actor_that_was_ended(tmp_path: Path) -> None:
    text = (
        f"{GPU} Process 4123 has 384.00 MiB memory in use. Including non-PyTorch memory, this process has 22.14 GiB memory in use. Process 4124 has 516.00 MiB memory in use.\n"
        "The actor died unexpectedly before finishing this task.\n\tclass_name: Rollout\n\tactor_id: 7a8b7a8b7a8b7a8b7a8b7a8b7a8b7a8b\n\tpid: 16781\n\tname: g:0\n\tnamespace: n\n\tip: 10.20.30.40\n"
        "The actor is dead because it was killed by `ray.kill`."
    )
    found = explain(text, tmp_path)
    assert found.cause == "gpu_memory"
    assert not found.victims
    assert "process 4124 (516.00 MiB), process 4123 (384.00 MiB)" in found.summary
    assert "the end of the actor Rollout (pid 16781) on node 10.20.30.40: it was ended by `ray.kill`" in found.summary


def test_who_ended_is_named_beside_any_sentence(tmp_path: Path) -> None:
    text = "The actor died unexpectedly before finishing this task.\n\tclass_name: Rollout\n\tactor_id: 7a8b7a8b7a8b7a8b7a8b7a8b7a8b7a8b\n\tnamespace: n\nThe actor is dead because its owner has died. Owner Id: 01000000ff"
    found = explain(text, tmp_path)
    assert found.cause == "owner_died"
    assert "It was Rollout." in found.summary


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (", 0B reserved, and 3.33G reservable.", "6.78G were free, of which 3.33G could be reserved."),
        (
            ". Due to fragmentation, the largest contiguous region of free memory is 30.56M.; (0x0x0_HBM0)",
            "in pieces of which the largest has 30.56M.",
        ),
        (".", "6.78G were free."),
    ],
)
def test_what_a_tpu_could_not_give(rest: str, said: str, tmp_path: Path) -> None:
    text = f"RuntimeError: RESOURCE_EXHAUSTED: Attempting to reserve 6.48G at the bottom of memory. That was not possible. There are 6.78G free{rest}"
    assert explain(text, tmp_path).summary.splitlines()[0].endswith(said)


def test_an_owner_that_was_a_driver(tmp_path: Path) -> None:
    text = f"The actor is dead because its owner has died. Owner Id: 01000000{'f' * 48} Owner Ip address: 10.20.30.40 Owner worker exit type: SYSTEM_ERROR Worker exit detail: Owner's node has crashed."
    found = explain(text, tmp_path)
    assert (found.cause, found.node_ip) == ("owner_died", "10.20.30.40")
    assert "the driver of job 01000000, at 10.20.30.40, had ended: Owner's node has crashed." in found.summary


def test_what_somebody_says_of_a_worker_s_death_is_quoted(tmp_path: Path) -> None:
    found = explain(f"The node's memory usage grows and there is an OOM.\n(raylet) {DEATH}", tmp_path)
    assert "there is an OOM" in found.summary
    guess = "There are some potential root causes. (1) The process is killed by SIGKILL by OOM killer due to high memory usage."
    assert "The text also says" not in explain(f"(raylet) {DEATH} {guess}", tmp_path).summary


def test_what_a_whole_cluster_spilled(tmp_path: Path) -> None:
    text = "--- Aggregate object store stats across all nodes ---\nPlasma memory usage 50 MiB, 1 objects, 50.0% full\nSpilled 200 MiB, 4 objects, avg write throughput 570 MiB/s"
    found = explain(text, tmp_path)
    assert "object stores of the cluster have spilled 4 objects (200 MiB)" in found.summary
    assert "A raylet" not in found.summary


def test_what_is_available_is_quoted_as_it_was_last(tmp_path: Path) -> None:
    lines = [
        f"Jan 02 03:0{n % 7}:05 node7 foo[9]: mem avail: {n:>5} of 15881 MiB ({n / 158.81:.2f}%)"
        for n in (15342, 9001, 56)
    ]
    found = explain("I just ran out of memory, and foo did nothing.\n" + "\n".join(lines), tmp_path)
    assert "mem avail: 56 of 15881 MiB (0.35%)" in found.summary
    assert "15342" not in found.summary


def test_of_several_kills_one_is_named(tmp_path: Path) -> None:
    found = explain(TEXTS["several killed, one named"].text, tmp_path)
    assert "killed 3 workers on node 10.20.30.40" in found.summary.splitlines()[0]
    assert "The text names only shuffle (pid 16781)." in found.summary.splitlines()[0]
    assert "shuffle used 7.2 GiB." in found.summary.splitlines()
    killed = TEXTS["the address only in ray's command"].text
    assert "killed 4 workers" in explain(f"{killed}\n{PERIODIC.format(4, NODE)}", tmp_path).summary.splitlines()[0]
    assert (
        "killed shuffle (pid 16781)"
        in explain(f"{killed}\n{PERIODIC.format(1, NODE)}", tmp_path).summary.splitlines()[0]
    )


def test_figures_that_are_cut_are_not_taken() -> None:
    text = TEXTS["several killed, one named"].text
    end = text.index("pid=16781") + len("pid=16")
    assert [(victim.name, victim.pid) for victim in parse(text[:end]).victims] == [("shuffle", None)]
    text = TEXTS["the address only in ray's command"].text
    for cut, name, pid in (
        ("name=shuf", None, None),
        ("pid=167", "shuffle", None),
        ("memory used=7", "shuffle", 16781),
    ):
        (victim,) = parse(text[: text.index(cut) + len(cut)]).victims
        assert (victim.name, victim.pid, victim.memory, victim.task_id) == (name, pid, None, TASK)


def test_a_name_in_which_a_text_breaks_off(tmp_path: Path) -> None:
    text = TEXTS["the address only in ray's command"].text
    found = explain(text[: text.index("name=shuf") + len("name=shuf")] + "\n", tmp_path)
    assert "The text breaks off in the name of what was killed: shuf…" in found.summary.splitlines()


def test_two_nodes_that_raylets_ended_on(tmp_path: Path) -> None:
    ended = "Raylet is terminated: ip={}, id={}. Termination is unexpected. Possible reasons include: (1) SIGKILL"
    text = f"{ended.format('10.20.30.40', NODE)}\n{ended.format('10.20.30.41', OTHER_NODE)}"
    found = explain(text, tmp_path)
    assert "2 nodes died or cannot be reached: 10.20.30.40, 10.20.30.41" in found.summary.splitlines()[0]
    assert (found.node_ip, found.node_id) == (None, None)


def test_a_raylet_that_ended_need_not_be_of_the_node_that_died(tmp_path: Path) -> None:
    found = explain(TEXTS["a dead node beside a raylet that ended"].text, tmp_path)
    assert found.summary.splitlines()[0] == "The node 10.20.30.40 died or cannot be reached."
    assert "The raylet of a node ended unexpectedly" in found.summary.splitlines()[1]


def test_another_node_that_was_given_up(tmp_path: Path) -> None:
    dead = f"The node with node id: {NODE} and address: 10.20.30.40 and node name: a has been marked dead because the detector has missed too many heartbeats from it."
    found = explain(f"{dead}\n{TEXTS['a file of Ray' + chr(39) + 's events that is cut'].text}", tmp_path)
    assert found.node_id == NODE
    assert f"The node {OTHER_NODE} (minion-1) did not answer in time" in str(found)


@pytest.mark.parametrize(
    ("text", "said", "node_ip"),
    [
        (
            "(raylet, ip=10.20.30.40) *** SIGBUS received at time=17 on cpu 1 ***",
            "a process that it started, got SIGBUS on node",
            "10.20.30.40",
        ),
        (
            "[2026-01-02 03:04:05,678 E 95 95] (gcs_server) logging.cc:440: *** SIGBUS received at time=17 on cpu 1 ***",
            "Ray's GCS server got SIGBUS",
            None,
        ),
        ("(train pid=16781) *** SIGBUS received at time=17 on cpu 1 ***", "A process got SIGBUS", None),
        ("(raylet, ip=10.20.30.40) *** SIGBUS received\n*** SIGBUS received", "A process got SIGBUS", None),
    ],
)
def test_who_got_sigbus(text: str, said: str, node_ip: str | None, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert (found.cause, found.node_ip) == ("bus_error", node_ip)
    assert said in found.summary.splitlines()[0]


def test_where_an_error_was_raised_whose_message_is_cut(tmp_path: Path) -> None:
    found = explain(MULTIPLE, tmp_path)
    assert (
        "The last traceback of it is that of Trainer.step (pid 4123) on node 10.20.30.40." in found.summary.splitlines()
    )
    assert found.node_ip == "10.20.30.40"
    found = explain(MULTIPLE.replace("OutOfMemoryError", "MemoryError"), tmp_path)
    assert "It happened in Trainer.step (pid 4123) on node 10.20.30.40." in found.summary.splitlines()
    old = 'Remote function sample failed with:\nTraceback (most recent call last):\n  File "a.py", line 3, in f\nMemoryError'
    assert "It happened in sample." in explain(old, tmp_path).summary.splitlines()


def test_of_whom_a_limit_of_threads_is_told(tmp_path: Path) -> None:
    text = (
        "(pid=4123) libgomp: Thread creation failed: Resource temporarily unavailable\n2026-01-02 03:04:05,678 WARNING "
        "worker.py:1072 -- A worker died or was killed while executing task ffffffffffffffff7a8b7a8b0100."
    )
    found = explain(text, tmp_path)
    assert "It happened in process 4123." in found.summary.splitlines()
    assert "a worker died that ran the task ffffffffffffffff7a8b7a8b0100." in str(found)
    assert "`ulimit -u`" in found.advice[0]


@pytest.mark.parametrize(
    "text",
    [
        "exit code 1",
        "Exit code 139 means a segmentation fault.",
        "a task with code 139",
        "version 1.39",
        "exit code 1390",
    ],
)
def test_what_is_no_signal_s_exit_code(text: str, tmp_path: Path) -> None:
    assert explain(text, tmp_path).cause == "unknown"
    assert "do not recognise" in explain(text, tmp_path).summary.splitlines()[0]


def test_what_else_tells_of_an_end_goes_before_an_exit_code(tmp_path: Path) -> None:
    text = "terminate called after throwing an instance of 'std::bad_alloc'\nexited with code 134"
    assert explain(text, tmp_path).cause == "memory_error"
    newest_first = (
        "[1]    4123 abort (core dumped)  python a.py\nmemory allocation of 8589934592 bytes failed\n$ python a.py"
    )
    assert explain(newest_first, tmp_path).cause == "memory_error"
    assert explain("Reason: OOMKilled\nexited with code 139", tmp_path).cause == "container_limit"


@pytest.mark.parametrize(
    ("text", "cause", "signal", "pid"),
    [
        ("zsh: segmentation fault  python train.py", "crash", "SIGSEGV", None),
        ("zsh: killed     python train.py", "sigkill", "SIGKILL", None),
        ("[1]    4123 abort      python train.py", "crash", "SIGABRT", 4123),
        ("[1]+  Killed                  python train.py", "sigkill", "SIGKILL", None),
        ("Command terminated by signal 11", "crash", "SIGSEGV", None),
        ("process rank 0 with PID 4123 on node n1 exited on signal 6 (Aborted).", "crash", "SIGABRT", 4123),
        ("=   KILLED BY SIGNAL: 11 (Segmentation fault)", "crash", "SIGSEGV", None),
        ("srun: error: n1: task 3: Segmentation fault (core dumped)", "crash", "SIGSEGV", None),
        ("Task exited with return code Negsignal.SIGABRT", "crash", "SIGABRT", None),
        ("RuntimeError: DataLoader worker (pid 4123) is killed by signal: Aborted.", "crash", "SIGABRT", 4123),
        ("Job entrypoint command failed with exit code 139, last available logs", "crash", "SIGSEGV", None),
    ],
)
def test_how_shells_and_launchers_tell_of_a_signal(
    text: str, cause: str, signal: str, pid: int | None, tmp_path: Path
) -> None:
    found = explain(text, tmp_path)
    assert (found.cause, [victim.pid for victim in found.victims]) == (cause, [] if pid is None else [pid])
    assert f"as after {signal}" in found.summary.splitlines()[0]


def test_two_exit_codes(tmp_path: Path) -> None:
    found = explain("rank 0: exit code 139\nrank 1: exit code 134", tmp_path)
    assert "exit code 139" in found.summary.splitlines()[0]
    assert "exit code 134" in found.summary.splitlines()[1]


def test_whose_health_check_a_kill_failed(tmp_path: Path) -> None:
    text = "Health check for Replica(id='ab3x', deployment='Model', app='default') failed:\n14 worker(s) were killed due to the node running low on memory."
    assert "the replica ab3x of the deployment Model failed its health check" in str(explain(text, tmp_path))


def test_what_ray_before_1_measures(tmp_path: Path) -> None:
    rows = "PID    MEM    COMMAND\n41    {}GB    python a.py\n42    4.2GB    ray_worker\n\nIn addition, ~4.24 GB of shared memory is currently being used by the Ray object store."
    text = f"ray.memory_monitor.RayOutOfMemoryError: More than 95% of the memory on node n1 is used (95.5 / 100.0 GB). The top 5 memory consumers are:\n\n{rows}"
    found = explain(text.format("7.5"), tmp_path)
    assert "something else fills the node" in " ".join(found.advice[:2])
    assert "The object store had 4.24 GB of that in shared memory." in found.summary.splitlines()
    assert "See whether `python a.py` (pid 41)" in explain(text.format("70.5"), tmp_path).advice[0]


@pytest.mark.parametrize(("threshold", "said"), [("0.95", "0.95 by default"), ("0.7", "0.7 here")])
def test_the_threshold_is_that_of_the_text(threshold: str, said: str, tmp_path: Path) -> None:
    text = TEXTS["the address only in ray's command"].text.replace("threshold of 0.95", f"threshold of {threshold}")
    assert said in explain(text, tmp_path).advice[-1]


def test_what_is_advised_of_an_npu(tmp_path: Path) -> None:
    figures = "Tried to allocate 30.00 MiB ({} 3; 60.96 GiB total capacity; 60.34 GiB already allocated; 14.24 MiB free; 60.60 GiB reserved in total by PyTorch)"
    assert "PYTORCH_NPU_ALLOC_CONF" in explain(f"NPU out of memory. {figures.format('NPU')}", tmp_path).advice[0]
    assert "NPU" not in str(explain(f"CUDA out of memory. {figures.format('GPU')}", tmp_path))


def test_a_device_is_told_only_where_one_is_named(tmp_path: Path) -> None:
    text = "CUDA out of memory while copying from cuda:1 to cuda:2. Tried to allocate 2.00 GiB."
    assert "It was" not in str(explain(text, tmp_path))
    assert "It was" not in str(explain(f"cuda:1 is fine\n{GPU}", tmp_path))


def test_whose_cgroup_it_was(tmp_path: Path) -> None:
    killed = "Memory cgroup out of memory: Killed process 4123 (python) total-vm:99kB, anon-rss:88kB, file-rss:0kB\n"
    job = explain(
        f"{killed}Tasks in /slurm/uid_1000/job_8812/step_0 are going to be killed due to memory.oom.group set", tmp_path
    )
    assert "(that of the Slurm job 8812)" in job.summary.splitlines()[0]
    box = explain(f"{killed}oom_memcg=/docker/{'9c' * 32}", tmp_path)
    assert "(that of the Docker container 9c9c9c9c9c9c)" in box.summary.splitlines()[0]
    assert "(a container, a batch job or a unit of systemd)" in explain(killed, tmp_path).summary.splitlines()[0]
    both = explain(killed + TEXTS["a pod whose processes are killed together"].text.replace("4123", "4124"), tmp_path)
    assert "together (memory.oom.group)" in str(both)


@pytest.mark.parametrize(
    "piece",
    [
        "exited with code ",
        "ResourceExhaustedError ",
        "Killing subprocess 4123 ",
        f"{STORE.format(1)}",
        "#033[",
        "\\\\\\\\",
        f"{OBJECT}\n",
        "(f(a)(b)(c pid=1",
        "where the task (task ID: a, name=",
        "RayTaskError(OutOfMemoryError): ray::f ",
        '{"custom_fields":{"node_id":"',
        "[repeated 6x across cluster] ",
        "Node memory usage above threshold, used: 1, total: ",
    ],
)
def test_no_text_makes_it_slow(piece: str) -> None:
    text = piece * (300_000 // len(piece))
    start = time.process_time()
    parse(text)
    assert time.process_time() - start < 3


@pytest.mark.parametrize("name", ["W.f()", "W"])
@pytest.mark.parametrize("before", ["ray.exceptions.RayTaskError(ValueError): ", "(main pid=17) ", "Unhandled error: "])
def test_who_raised_an_error_has_not_ended(name: str, before: str, tmp_path: Path) -> None:
    header = f"{before}ray::{name} (pid=4100, ip=10.20.30.40, actor_id={'7a8b' * 8}, repr=<x.W object at 0x15>)"
    text = f'{header}\n  File "/opt/a.py", line 3, in f\n    raise ValueError("bad shape")\nValueError: bad shape'
    explanation = explain(text, tmp_path)
    assert (explanation.cause, explanation.victims) == ("unknown", ())
    assert explanation.summary == "I do not recognise this as a message about memory."


def test_an_error_of_a_trainable_names_it(tmp_path: Path) -> None:
    text = (
        "ray.exceptions.RayTaskError(MemoryError): ray::PPO (pid=4100, ip=10.20.30.40)\n"
        '  File "/opt/a.py", line 3, in f\n    x = bytearray(n)\nMemoryError'
    )
    said = explain(text, tmp_path).summary
    assert "PPO (pid 4100)" in said
    assert "10.20.30.40" in said


def test_a_task_that_failed_ended_no_worker(tmp_path: Path) -> None:
    text = f"task_manager.cc:507: Task failed: SchedulingCancelled: Actor creation cancelled.: task_id={TASK}, job_id=01000000"
    assert "ended" not in explain(text, tmp_path).summary
    died = explain(f"A worker died while executing the task, task_id={TASK}", tmp_path)
    assert [victim.task_id for victim in died.victims] == [TASK]


def test_who_raised_an_unhandled_error_has_not_ended(tmp_path: Path) -> None:
    text = (
        "worker.py:1074 -- Possible unhandled error from worker: ray::f() (pid=16781, ip=10.20.30.40)\n"
        '  File "job.py", line 3, in f\nValueError: bad x'
    )
    assert explain(text, tmp_path).victims == ()


def test_numbers_of_lines_in_place_of_line_ends() -> None:
    fields = ("class_name: Store", f"actor_id: {ACTOR}", "pid: 832", "name: store_6", "namespace: n", "ip: 10.20.30.37")
    text = "The actor died unexpectedly before finishing this task."
    glued = "".join(f"{number}\t{field}" for number, field in enumerate(fields, 2))
    found = parse(f"{text}{glued}8The actor is dead because its worker process has died.")
    assert [(one.name, one.actor_id, one.pid) for one in found.victims] == [("Store", ACTOR, 832)]
    assert found.node_ip == "10.20.30.37"
    other = f"{text}{glued.replace('5', '7')}"
    assert as_printed(other) == other


def test_how_full_shared_memory_was(tmp_path: Path) -> None:
    rows = "tmpfs 16G 12G 4.0G 75% /dev/shm\ntmpfs 16G 15G 1.0G 94% /dev/shm\ntmpfs 16G 2G 14G 13% /dev/shm\n"
    said = explain(
        f"{rows}RuntimeError: DataLoader worker (pid 4123) is killed by signal: Bus error.", tmp_path
    ).summary
    assert "`df` shows /dev/shm 94% full: 15G of 16G." in said
    assert "df" not in explain(f"{rows}CUDA out of memory. Tried to allocate 2.00 GiB.", tmp_path).summary


def test_several_of_a_pool_in_one_sentence(tmp_path: Path) -> None:
    one = "ERROR/MainProcess: Process 'ForkPoolWorker-{}' pid:{} exited with 'signal 9 (SIGKILL)'\n"
    said = explain(one.format(3, 4123) + one.format(4, 4124), tmp_path).summary
    assert said.startswith(
        "SIGKILL ended ForkPoolWorker-3 (pid 4123) and ForkPoolWorker-4 (pid 4124) of Celery's pool;"
    )


def test_two_workers_that_ended_differently(tmp_path: Path) -> None:
    other = DEATH.replace("16781", "16790").partition(" Worker exit detail: ")[0].replace(WORKER, "ef56" * 14)
    other += " Worker exit detail: The leased worker has unrecoverable failure."
    said = explain(f"{DEATH}\n{other}", tmp_path).summary
    assert "Ray says of the worker with pid 16781: Worker unexpectedly exits" in said
    assert "Ray says of the worker with pid 16790: The leased worker has unrecoverable failure." in said
    same = explain(f"{DEATH}\n{DEATH.replace('16781', '16790').replace(WORKER, 'ef56' * 14)}", tmp_path).summary
    assert "Ray says: Worker unexpectedly exits" in same


def test_events_of_pods_whose_names_are_replaced(tmp_path: Path) -> None:
    text = (
        "4m  Warning  Evicted  pod/rc-<id>  The node was low on resource: memory. Container ray was using 5053216Ki, which exceeds its request of 0.\n"
        "3m  Warning  Evicted  pod/rc-<id2>  The node had condition: [MemoryPressure]."
    )
    said = explain(text, tmp_path).summary
    assert "evicted the pod rc-<id>," in said
    assert "did not let the pod rc-<id2> run" in said


def test_arguments_of_the_largest_processes_are_not_repeated(tmp_path: Path) -> None:
    text = (
        f"Memory on the node (IP: 10.20.30.40, ID: {NODE}) where the task (task ID: {TASK}, name=load, pid=4123, memory used=1.20GB) was running was 30.10GB / 31.00GB (0.970968), which exceeds the memory usage threshold of 0.95. Top 10 memory users:\n"
        "PID\tMEM(GB)\tCOMMAND\n4124\t12.00\tpython serve.py --api-key=hunter2\n4125\t11.00\tmysqld -phunter2\n"
    )
    found = str(explain(text, tmp_path))
    assert "`python serve.py …` (pid 4124)" in found
    assert "`mysqld …` (pid 4125)" in found
    assert "hunter2" not in found


def test_a_path_of_windows_has_no_tabs() -> None:
    line = r"MemoryError: Unable to allocate 7.5 GiB for an array in D:\work\new_code\train\runs.py"
    assert line in as_printed(line)
    assert as_printed(r"one line\nthe next\tbehind a tab") == "one line\nthe next\tbehind a tab"


def test_a_list_of_processes_without_line_ends(tmp_path: Path) -> None:
    rows = r"31 5.5GiB C:\tools\Studio 2020\studio.exe C:\data 32 0.5GiB python.exe train.py --seed 7 33 0.25GiB ray::f"
    text = (
        "ray.memory_monitor.RayOutOfMemoryError: More than 95% of the memory on node pc is used (7.7 / 8.0 GB). The top "
        f"10 memory consumers are: PID MEM COMMAND {rows} In addition, up to 0.1 GiB of shared memory is currently "
        "being used by the Ray object store."
    )
    found = explain(text, tmp_path).top_processes
    assert [(one.pid, one.command) for one in found] == [
        (31, r"C:\tools\Studio 2020\studio.exe C:\data"),
        (32, "python.exe train.py --seed 7"),
        (33, "ray::f"),
    ]


def test_what_comments_show_of_a_command(tmp_path: Path) -> None:
    printed = "# Events:\n#   0/5 nodes are available:\n#   1 node(s) had untolerated taint {a: }, \n#   4 Insufficient memory."
    block = f"```bash\nkubectl describe pod web-0\n\n{printed}\n```\n"
    assert "4 of 5 nodes" in str(explain(f"What I see:\n{block}and so on", tmp_path))
    assert "4 of 5 nodes" not in str(explain(f"What I see:\n{block.replace('bash', 'python')}and so on", tmp_path))


def test_a_text_that_is_one_comment(tmp_path: Path) -> None:
    text = (
        "# The tuner died once.\n#\n#   The actor is dead because its worker process has died.\n#\n"
        "# It was not memory: dmesg shows no OOM, and the host had 300 GB free.\n"
    )
    assert "dmesg shows no OOM, and the host had 300 GB free" in str(explain(text, tmp_path))


def test_the_process_of_an_actor_that_has_a_name(tmp_path: Path) -> None:
    text = (
        f"ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n\tclass_name: Runner\n"
        f"\tactor_id: {ACTOR}\n\tpid: 4123\n\tname: group_0:1\n\tnamespace: default\n\tip: 10.0.0.9\n"
    )
    assert "the actor group_0:1 (pid 4123)" in str(explain(text, tmp_path))


@pytest.mark.parametrize(
    ("signal", "said"), [("SIGABRT", "native code aborted it (SIGABRT)"), ("SIGSEGV", "a fault in native code")]
)
def test_an_abort_is_told_apart_from_a_fault(signal: str, said: str, tmp_path: Path) -> None:
    assert said in str(explain(f"(f pid=33) *** {signal} received at time=1 on cpu 3 ***", tmp_path))


@pytest.mark.parametrize(
    "command", ["nice -n 19 python job.py", "nohup env A=1 /usr/bin/python job.py", "python job.py", "envoy job.py"]
)
def test_a_program_that_starts_another_is_not_what_was_killed(command: str, tmp_path: Path) -> None:
    found = explain(f"./run.sh: line 32: 4123 Killed                  {command}", tmp_path)
    assert f"{'envoy' if 'envoy' in command else 'python'} (pid 4123)" in str(found)


def test_what_an_old_version_s_errors_name(tmp_path: Path) -> None:
    text = (
        "2019-04-16 08:40:00 ERROR worker.py:1717 -- Possible unhandled error from worker: ray_Trainer:restore() "
        "(pid=4123, host=darwin)\nray.exceptions.RayActorError: The actor died unexpectedly before finishing this task."
    )
    found = str(explain(f"{text}\n{text.replace('4123', '4124')}", tmp_path))
    assert "the processes 4123 (Trainer:restore) and 4124 (Trainer:restore)" in found
    assert "the node darwin" in found


def test_an_object_whose_owner_ray_killed(tmp_path: Path) -> None:
    text = (
        f"ray.exceptions.OwnerDiedError: Failed to retrieve object {OBJECT}. The object's owner has exited.\n"
        f"Memory on the node (IP: 10.20.30.40, ID: {NODE}) where the task (task ID: {TASK}, name=load, pid=4123, memory "
        "used=1.20GB) was running was 30.10GB / 31.00GB (0.970968), which exceeds the memory usage threshold of 0.95."
    )
    assert OBJECT in str(explain(text, tmp_path))
