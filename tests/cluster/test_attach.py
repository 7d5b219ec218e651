"""Actors that run already, and are recorded for a while: what is recorded, what must not change, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import ray
from click.testing import CliRunner
from ray import cloudpickle

import raymemprof
from raymemprof import AttachError, profile_memory
from raymemprof.cli import attach as attach_command
from raymemprof.cli import main
from raymemprof.recording.undecorated import attach as attaching

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

COMMAND = Path(sys.executable).with_name("raymemprof")
MB = 1_000_000
SLACK = timedelta(seconds=0.5)
"""Between a call's beginning and what surrounds it: clocks are of one machine, but calls take time to be noted."""


class Base:
    def __init__(self) -> None:
        self.kept: list[bytearray] = []

    def inherited(self) -> str:
        return type(self).__name__


class Cache(Base):
    def add(self, number: int) -> int:
        self.kept.append(bytearray(MB // 4))
        return number

    def keep(self, megabytes: int) -> int:
        block = bytearray(megabytes * MB)  # the planted line
        self.kept.append(block)
        return self.count()

    def count(self) -> int:
        return len(self.kept)

    def numbers(self, last: int) -> Iterator[int]:
        for number in range(last):  # noqa: UP028  # Ray sends to it, which a range does not take
            yield number

    def wait(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    def fail(self) -> None:
        raise ValueError("as it should")

    @staticmethod
    def double(number: int) -> int:
        return 2 * number

    @classmethod
    def name(cls) -> str:
        return cls.__name__


class GroupedCache(Cache):
    @ray.method(concurrency_group="io")
    def keep(self, megabytes: int) -> int:
        block = bytearray(megabytes * MB)  # the planted line of the group
        self.kept.append(block)
        return len(self.kept)


class AsyncCache(Base):
    async def add(self, number: int) -> int:
        self.kept.append(bytearray(MB // 4))
        await asyncio.sleep(0.002)
        return number

    async def keep(self, megabytes: int) -> int:
        block = bytearray(megabytes * MB)  # the planted line of the coroutine
        await asyncio.sleep(0)
        self.kept.append(block)
        return len(self.kept)

    async def numbers(self, last: int) -> Any:
        for number in range(last):
            yield number


def actor_of(cls: type, **options: Any) -> Any:
    return ray.remote(num_cpus=0, **options)(cls).remote()


def line_of(text: str) -> int:
    (line,) = (n for n, line in enumerate(Path(__file__).read_text().splitlines(), 1) if line.endswith(f"# {text}"))
    return line


def calls_of(folder: Path, actor: Any, **filters: Any) -> raymemprof.Calls:
    return raymemprof.calls(folder, actor_id=actor._actor_id.hex(), **filters)


def is_as_it_was(actor: Any) -> tuple[bool, bool]:
    """Whether Ray calls the class's own methods in its actor, and whether memray is off there."""

    def look(actor: Any) -> tuple[bool, bool]:
        from raymemprof.recording.tracker import tracker

        manager = ray._private.worker.global_worker.function_actor_manager
        infos = [*manager.execution_infos.values(), *manager._function_execution_info.values()]
        own = [one for one in infos if hasattr(one.function, "method")]
        are_own = [getattr(type(actor), one.function.name) == one.function.method for one in own]
        capture = tracker._latest
        return all(are_own), capture is None or capture.closed.is_set()

    return ray.get(actor.__ray_call__.remote(look))


class Load:
    """Calls an actor without a pause, on a thread; a call that fails, or answers wrongly, is remembered."""

    def __init__(self, actor: Any, at_once: int) -> None:
        self.actor, self.at_once = actor, at_once
        self.done, self.wrong = 0, []
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self) -> Load:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.is_over.set()
        self.thread.join()

    def run(self) -> None:
        number = 0
        while not self.is_over.is_set():
            numbers = range(number, number + self.at_once)
            number += self.at_once
            try:
                answers = ray.get([self.actor.add.remote(one) for one in numbers])
            except Exception as error:
                self.wrong.append(error)
                continue
            self.done += len(answers)
            if answers != list(numbers):
                self.wrong.append(answers)
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("cls", "options", "at_once", "planted"),
    [
        (Cache, {}, 2, "the planted line"),
        (GroupedCache, {"max_concurrency": 4, "concurrency_groups": {"io": 2}}, 4, "the planted line of the group"),
        pytest.param(AsyncCache, {}, 10, "the planted line of the coroutine", marks=pytest.mark.versions),
    ],
    ids=["sync", "threaded", "async"],
)
def test_under_load(
    cluster: Path, wait_for: Any, cls: type, options: dict[str, Any], at_once: int, planted: str
) -> None:
    """Calls within are recorded with their lines, calls before and after are not, and none fails."""
    actor = actor_of(cls, **options)
    with Load(actor, at_once) as load:
        wait_for(lambda: load.done > 3 * at_once)
        with raymemprof.attach(actor) as attachment:
            before = load.done
            ray.get(actor.keep.remote(20))
            wait_for(lambda: load.done > before + 3 * at_once)
        after = load.done
        wait_for(lambda: load.done > after + 3 * at_once)
    result = attachment.result
    assert result is not None
    assert (load.wrong, result.name, result.notes) == ([], cls.__name__, ())
    wait_for(lambda: is_as_it_was(actor) == (True, True), 3)  # a call that just began may have opened a capture
    recorded = calls_of(cluster, actor)
    assert {call.status for call in recorded} == {"finished"}
    assert 3 * at_once < result.call_count <= len(recorded) < load.done
    assert len(recorded) - result.call_count <= at_once  # those that ran when it ended
    ended_at = result.started_at + timedelta(seconds=result.duration)
    assert all(result.started_at <= call.started_at <= ended_at + SLACK for call in recorded)
    (kept,) = (call for call in recorded if call.name == f"{cls.__name__}.keep")
    top = raymemprof.heap(kept).top(1)[0]
    assert (Path(top.file).name, top.line) == (Path(__file__).name, line_of(planted))
    assert result.grew >= 20 * MB


@pytest.mark.versions
def test_every_kind_of_method(cluster: Path) -> None:
    plain, coroutines = actor_of(Cache), actor_of(AsyncCache)

    def results() -> list[Any]:
        streams = [one.numbers.options(num_returns="streaming").remote(3) for one in (plain, coroutines)]
        found = [[ray.get(reference) for reference in stream] for stream in streams]
        asked = [plain.double.remote(4), plain.name.remote(), plain.inherited.remote(), coroutines.inherited.remote()]
        with pytest.raises(ValueError, match="as it should"):
            ray.get(plain.fail.remote())
        return found + ray.get(asked)

    expected = [[0, 1, 2], [0, 1, 2], 8, "Cache", "Cache", "AsyncCache"]
    assert results() == expected
    with raymemprof.attach(plain), raymemprof.attach(coroutines):
        assert results() == expected
    assert results() == expected
    names = Counter(
        (call.name, call.status) for actor in (plain, coroutines) for call in calls_of(cluster, actor, kind="method")
    )
    finished = ("AsyncCache.inherited", "AsyncCache.numbers", "Cache.double", "Cache.inherited", "Cache.name")
    assert names == {("Cache.fail", "failed"): 1, ("Cache.numbers", "finished"): 1} | {
        (name, "finished"): 1 for name in finished
    }


def test_calls_that_run_are_untouched(cluster: Path) -> None:
    """One that began before is not recorded; one that runs on when it has ended is, for as long as it lasted."""
    actor = actor_of(Cache, max_concurrency=3)
    before = actor.wait.remote(1.5)
    ray.get(actor.double.remote(1))
    with raymemprof.attach(actor) as attachment:
        within = actor.wait.remote(2)
        ray.get(actor.keep.remote(1))
        began = time.monotonic()
    assert time.monotonic() - began < 1.8  # while the call takes two
    assert attachment.result.call_count == 1
    assert ray.get([before, within]) == [1.5, 2]
    (call,) = calls_of(cluster, actor, name="Cache.wait")
    assert call.status == "finished"
    assert call.duration == pytest.approx(2, abs=0.5)
    assert "attachment ended" in call.note
    assert is_as_it_was(actor) == (True, True)


def test_it_ends_by_itself_and_not_behind_the_queue(cluster: Path) -> None:
    actor = actor_of(Cache)
    attachment = raymemprof.attach(actor, seconds=1, heap=False)
    assert repr(attachment).endswith("recording)")
    queued = [actor.wait.remote(1.5) for _ in range(2)]
    began = time.monotonic()
    result = attachment.wait()
    assert time.monotonic() - began < 2.5  # while the queue takes three
    assert result.ended_by == "1 s were over"
    assert 1 <= result.duration < 1.5
    assert attachment.end() is result
    assert "0 calls recorded in 1.0 s" in str(result)
    assert "What was allocated before is in no capture" in str(result)
    assert json.loads(result.to_json())["grew"] == result.grew
    ray.get(queued)
    (call,) = calls_of(cluster, actor)
    assert call.capture is None
    attachment = raymemprof.attach(actor)
    with pytest.raises(TimeoutError, match="has not ended within"):
        attachment.wait(0.2)
    assert attachment.end().ended_by == "it was ended"


def test_the_wait_is_reported_and_has_a_limit(
    cluster: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attaching, "_PATIENCE", 0.3)
    actor = actor_of(Cache)
    ray.get(actor.double.remote(1))
    calls = [actor.wait.remote(1)]
    with pytest.raises(AttachError, match=r"has not come to it within 0\.5 s"):
        raymemprof.attach(actor, timeout=0.5, heap=False)
    assert len([record for record in caplog.records if "waiting behind what is queued" in record.message]) == 1
    calls += [actor.wait.remote(0.1) for _ in range(12)]  # behind the request that was given up
    attachment = raymemprof.attach(actor)
    assert 1 < attachment.waited < 5
    attachment.end()
    ray.get([*calls, actor.double.remote(2)])
    assert list(calls_of(cluster, actor)) == []
    assert is_as_it_was(actor) == (True, True)


DRIVER = """
import sys, time
import ray, raymemprof
ray.init(address=sys.argv[1], logging_level="ERROR", namespace="attached")
attachment = raymemprof.attach(ray.get_actor("theirs"))
print("attached", flush=True)
time.sleep(60)
"""


def test_the_driver_is_killed(cluster: Path, wait_for: Any) -> None:
    """The actor goes on, and recording ends within 5 s."""
    actor = actor_of(Cache, name="theirs", namespace="attached", lifetime="detached", max_concurrency=2)
    address = ray.get_runtime_context().gcs_address
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, address], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout.readline() == "attached\n"
        with Load(actor, 1) as load:
            wait_for(lambda: load.done > 3)
            time.sleep(3.5)  # longer than it takes to notice that it is dead
            assert is_as_it_was(actor) == (False, False)
            driver.kill()
            driver.wait()
            killed = time.monotonic()
            wait_for(lambda: is_as_it_was(actor) == (True, True), 10)
            seconds = time.monotonic() - killed
            done = load.done
            wait_for(lambda: load.done > done + 3)
        assert seconds < 5
        assert load.wrong == []
        assert len(calls_of(cluster, actor)) < load.done
    finally:
        driver.kill()
        driver.stdout.close()
        ray.kill(actor)


def test_the_actor_dies(cluster: Path) -> None:
    actor = actor_of(Cache)
    attachment = raymemprof.attach(actor)
    ray.get(actor.double.remote(1))
    ray.kill(actor)
    result = attachment.wait(10)
    assert (result.ended_by, result.call_count, result.grew) == ("its process has died", None, None)
    assert len(calls_of(cluster, actor)) == 1
    with pytest.raises(AttachError, match="it has died"):
        raymemprof.attach(actor)


def test_what_is_recorded_already_is_not_recorded_twice(cluster: Path) -> None:
    class Partly:
        @profile_memory
        def decorated(self) -> int:
            return 1

        def plain(self) -> int:
            return 2

    actor = actor_of(Partly)
    with raymemprof.attach(actor) as attachment, raymemprof.attach(actor) as second:
        assert ray.get([actor.decorated.remote(), actor.plain.remote()]) == [1, 2]
    (note,) = attachment.notes
    assert "Partly.decorated: recorded already" in note
    assert "Partly.decorated, Partly.plain: recorded already" in second.notes[0]
    assert (attachment.result.call_count, second.result.call_count) == (1, 0)
    names = Counter(call.name.rpartition(".")[2] for call in calls_of(cluster, actor))
    assert names == {"decorated": 1, "plain": 1}


MISSING = "raise ModuleNotFoundError(\"No module named 'raymemprof'\")"


def test_what_keeps_an_actor_from_being_recorded(cluster: Path, tmp_path: Path) -> None:
    """Each is one sentence in the driver, and the actor runs on."""
    actor = actor_of(Cache)

    def refused(why: str, **options: Any) -> None:
        with pytest.raises(AttachError, match=why):
            raymemprof.attach(actor, **options)
        assert ray.get(actor.double.remote(4)) == 8

    def move(actor: Any, there: str, to: str) -> None:
        kind = type(ray._private.worker.global_worker.function_actor_manager)
        setattr(kind, to, getattr(kind, there))
        delattr(kind, there)

    def put_before(actor: Any, folder: str) -> None:
        sys.path.insert(0, folder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "raymemprof"]:
            del sys.modules[name]

    refused("recording is off there", enabled=False)
    ray.get(actor.__ray_call__.remote(move, "_make_actor_method_executor", "_moved"))
    refused(r"Ray .+ has no _make_actor_method_executor, which raymemprof needs")
    ray.get(actor.__ray_call__.remote(move, "_moved", "_make_actor_method_executor"))
    for number, (text, why) in enumerate(
        (
            (MISSING, "raymemprof cannot be imported in its process"),
            ("__version__ = '0.0.9'", "its node has raymemprof 0.0.9, and yours is"),
        )
    ):
        package = tmp_path / str(number) / "raymemprof"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(text)
        ray.get(actor.__ray_call__.remote(put_before, str(package.parent)))
        refused(why)


def test_bad_input(cluster: Path) -> None:
    for given, options, error, said in (
        ("cache", {}, TypeError, r"attach\('cache'\): it takes the handle of an actor"),
        (None, {"seconds": 0}, ValueError, "seconds must be a number of seconds, more than 0"),
        (None, {"timeout": "x"}, ValueError, "timeout must be a number of seconds"),
        (None, {"hep": True}, TypeError, "attach has no option 'hep'"),
    ):
        with pytest.raises(error, match=said):
            raymemprof.attach(given, **options)


def test_from_a_terminal(cluster: Path, tmp_path: Path) -> None:
    """By name and by id, and all that run; Ctrl-C ends it, and a table follows."""
    named = actor_of(Cache, name="cache", namespace="terminal")
    nameless = actor_of(Cache)
    ray.get([named.double.remote(1), nameless.double.remote(1)])
    table, said = in_process("cache", "--seconds", "1", actors=[named])
    row = next(line.split() for line in table.splitlines() if line.strip().startswith("Cache"))
    assert row[1] == "1"
    assert f"{Path(__file__).name}:{line_of('the planted line')}" in table
    assert re.search(r"^Cache \(pid \d+\): 1 call recorded in \d\.\d s, until 1 s were over\.", said, re.MULTILINE)
    in_process(nameless._actor_id.hex()[:20], "--seconds", "1", "--no-heap", actors=[nameless])
    assert [call.capture for call in calls_of(cluster, nameless)] == [None]
    table, said = in_process("cache", "--seconds", "1", "--directory", str(tmp_path), actors=[named])
    assert (table.count(" Cache "), len(raymemprof.calls(tmp_path)), len(calls_of(cluster, named))) == (1, 1, 1)
    assert f"`raymemprof calls {tmp_path} --name NAME`" in said
    in_process("--all", "--seconds", "2", actors=[named, nameless])
    assert (len(calls_of(cluster, named)), len(calls_of(cluster, nameless))) == (2, 2)
    refused = CliRunner().invoke(main, ["attach", "nosuch"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("raymemprof: No living actor has the name or id 'nosuch'. Named actors: cache")


def in_process(*words: str, actors: list[Any]) -> tuple[str, str]:
    """Run the command here, where it is connected, and call the actors once they record; return what it prints."""

    def call() -> None:
        while any(is_as_it_was(actor)[0] for actor in actors):
            time.sleep(0.05)
        ray.get([actor.keep.remote(5) for actor in actors])

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    ran = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["attach", *words])
    assert ran.exit_code == 0, ran.output
    caller.join(10)
    return ran.stdout, ran.stderr


def test_a_process_that_does_not_run_keeps_nobody_waiting(
    cluster: Path, wait_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others' calls are shown, and it ends there once the process runs again."""
    monkeypatch.setattr(attach_command, "_LIMIT", 0.5)
    monkeypatch.setattr(attaching, "_LIMIT_TO_END", 1)
    stopped, other = actor_of(Cache), actor_of(Cache)
    pid = ray.get(stopped.__ray_call__.remote(lambda _: os.getpid()))

    def stop() -> None:
        wait_for(lambda: not is_as_it_was(stopped)[0] and not is_as_it_was(other)[0])
        os.kill(pid, signal.SIGSTOP)
        ray.get(other.keep.remote(5))

    stopper = threading.Thread(target=stop, daemon=True)
    stopper.start()
    try:
        ran = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["attach", "--all", "--seconds", "3"])
        stopper.join(10)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert ran.exit_code == 0, ran.output
    assert ran.stderr.count("has not said within 1 s that recording has ended") == 1
    assert re.search(r"^Cache \(pid \d+\): 1 call recorded in", ran.stderr, re.MULTILINE), ran.stderr
    assert " Cache " in ran.stdout
    wait_for(lambda: is_as_it_was(stopped) == (True, True))


def test_ctrl_c_ends_it(cluster: Path) -> None:
    actor = actor_of(Cache, name="interrupted", namespace="terminal")
    ray.get(actor.double.remote(1))
    address = ray.get_runtime_context().gcs_address
    command = [COMMAND, "attach", "interrupted", "--address", address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = process.stderr.readline()
    assert said.endswith("for 30 s; Ctrl-C ends it sooner.\n"), said
    ray.get(actor.double.remote(2))
    process.send_signal(signal.SIGINT)
    table, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert "1 call recorded" in said
    assert "Cache" in table
    assert is_as_it_was(actor) == (True, True)


def test_two_that_begin_at_once(cluster: Path) -> None:
    """One of them records, and the other says so."""
    actor = actor_of(Cache)
    ray.get(actor.double.remote(1))
    begun, errors = attaching.attach_each([actor, actor], None, 60, {}, lambda text: None)
    ray.get(actor.double.remote(2))
    results, more = attaching.end_each(begun)
    assert errors + more == []
    idle, recording = sorted(results, key=lambda result: result.call_count)
    assert (idle.call_count, recording.call_count) == (0, 1)
    assert "Cache.double" in idle.notes[0]
    assert "recorded already" in idle.notes[0]
    assert recording.notes == ()
    assert is_as_it_was(actor) == (True, True)
