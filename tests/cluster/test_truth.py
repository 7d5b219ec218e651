"""Known amounts of memory, allocated at known lines, are what is reported: no more, no less, and no other line."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import ray
from ray import cloudpickle

from raymemprof import calls, captures, flamegraph, heap, profile_memory, speedscope, table

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

pytestmark = pytest.mark.usefixtures("cluster")
SIZE = 20_000_000
ARENA = 2**20
"""Python takes memory for small objects in pieces of this size, which fall to the call that needs the next one."""
LINES = Path(__file__).read_text().splitlines()


def line_of(marker):
    """The number of the line that ends in this comment."""
    (number,) = [number for number, line in enumerate(LINES, 1) if line.endswith(f"# line: {marker}")]
    return number


def the_call(reference, **filters):
    """Wait for a task, and return the one call that it was."""
    ray.get(reference, timeout=60)
    (call,) = calls(task_id=reference.task_id().hex(), **filters)
    assert (call.status, call.note) == ("finished", None)
    return call


def near(size):
    return pytest.approx(size, rel=0.05, abs=ARENA + 65_536)


def assert_held(target, size, marker):
    """The peak is of this size, and this line is the one that made it."""
    held = heap(target)
    (line,) = held.top(1)
    assert held.peak == near(size)
    assert (line.file, line.line) == (__file__, line_of(marker))
    assert line.bytes == near(size)
    return line


@pytest.mark.parametrize("size", [5_000_000, SIZE])
def test_a_bytearray(size):
    @ray.remote
    @profile_memory
    def task(size):
        return len(bytearray(size))  # line: bytearray

    assert assert_held(the_call(task.remote(size)), size, "bytearray").function == "task"


@pytest.mark.parametrize("size", [pytest.param(100_000, marks=pytest.mark.versions), 1_000_000])
def test_to_the_kibibyte_where_python_takes_no_arenas(size, tmp_path, run_script):
    run_script(
        f"""
from raymemprof import profile_memory

@profile_memory(directory={str(tmp_path)!r})
def task():
    return len(bytearray({size}))

task()
""",
        PYTHONMALLOC="malloc",
    )
    (call,) = calls(tmp_path)
    assert heap(call).peak == pytest.approx(size, abs=1024)
    assert heap(call).alive_at_end == pytest.approx(0, abs=1024)


def test_many_small_pieces():
    @ray.remote
    @profile_memory
    def task():
        return len([bytes(10_000) for _ in range(1_000)])  # line: pieces

    assert assert_held(the_call(task.remote()), 10_000_000, "pieces").allocations >= 1_000


def test_what_was_freed_before_is_not_in_the_peak():
    @ray.remote
    @profile_memory
    def task():
        for _ in range(5):
            data = bytearray(SIZE)  # line: freed
            del data

    assert_held(the_call(task.remote()), SIZE, "freed")


def test_the_peak_is_the_highest_and_not_the_last():
    @ray.remote
    @profile_memory
    def task():
        low = bytearray(SIZE // 10)
        high = bytearray(SIZE)  # line: highest
        del low, high
        return len(bytearray(SIZE // 2))

    held = heap(the_call(task.remote()))
    assert held.peak == near(SIZE * 1.1)
    assert held.top(1)[0].line == line_of("highest")
    assert held.top(1)[0].bytes == near(SIZE)


def test_a_numpy_array():
    numpy = pytest.importorskip("numpy")

    @ray.remote
    @profile_memory
    def task():
        return len(numpy.ones(SIZE // 8))  # line: numpy

    assert_held(the_call(task.remote()), SIZE, "numpy")


def test_a_pandas_copy_is_put_down_to_the_line_that_asked_for_it():
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")

    @ray.remote
    @profile_memory
    def task(frame):
        return len(frame.copy())  # line: pandas

    frame = pandas.DataFrame({"a": numpy.ones(SIZE // 8)})
    assert_held(the_call(task.remote(frame)), SIZE, "pandas")


def test_a_thread_that_the_task_starts():
    @ray.remote
    @profile_memory
    def task():
        def work():
            done.append(len(bytearray(SIZE)))  # line: thread

        done = []
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return done

    assert_held(the_call(task.remote()), SIZE, "thread")


def test_a_nested_function():
    @ray.remote
    @profile_memory
    def task():
        def outer():
            def inner():
                return bytearray(SIZE)  # line: nested

            return inner()

        return len(outer())

    assert assert_held(the_call(task.remote()), SIZE, "nested").function == "inner"


def test_two_lines_in_their_order():
    @ray.remote
    @profile_memory
    def task():
        small = bytearray(SIZE // 4)  # line: second
        large = bytearray(SIZE)  # line: first
        return len(small) + len(large)

    top = heap(the_call(task.remote())).top(2)
    assert [(line.line, line.bytes) for line in top] == [
        (line_of("first"), near(SIZE)),
        (line_of("second"), near(SIZE // 4)),
    ]


def test_native_frames_leave_the_figures_as_they_are():
    @ray.remote
    @profile_memory(native=True)
    def task():
        return len(bytearray(SIZE))  # line: native

    assert_held(the_call(task.remote()), SIZE, "native")


@ray.remote(num_cpus=0)
@profile_memory
class Keeper:
    def __init__(self):
        self.kept = []

    def import_numpy(self):
        import numpy  # noqa: F401  # else the first array that is unpickled would do it, within that call

    def keep(self, size):
        self.kept.append(bytearray(size))  # line: keep
        other = bytearray(size)  # line: other
        time.sleep(0.2)  # it is looked at while it is there, and not just while it is filled
        del other

    def drop(self):
        self.kept.clear()

    def hold(self, size, seconds):
        data = bytearray(size)
        time.sleep(seconds)
        return len(data)

    def read(self, references):
        before = self.private()
        array = ray.get(references[0])
        total = float(array.sum())  # reads every page of the object store's memory
        mapped = psutil.Process().memory_info().shared
        return total, mapped, self.private() - before

    def private(self):
        memory = psutil.Process().memory_info()
        return memory.rss - memory.shared

    def pid(self):
        return psutil.Process().pid


class Watcher(threading.Thread):
    """Reads another process's RSS − SHR from outside, every few milliseconds."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.statm = Path(f"/proc/{pid}/statm")
        self.peak = 0
        self.stop = threading.Event()

    def run(self):
        page = 4096
        while not self.stop.wait(0.002):
            _, resident, shared, *_ = map(int, self.statm.read_text().split())
            self.peak = max(self.peak, (resident - shared) * page)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("seconds", [0.0, 0.1])
def test_peak_memory_is_what_another_process_sees(seconds):
    actor = Keeper.remote()
    watcher = Watcher(ray.get(actor.pid.remote()))
    watcher.start()
    call = the_call(actor.hold.remote(200_000_000, seconds))
    watcher.stop.set()
    watcher.join()
    assert watcher.peak > 200_000_000
    assert call.peak_memory == pytest.approx(watcher.peak, rel=0.1)
    assert call.peak_memory - call.memory_before == pytest.approx(200_000_000, rel=0.1)
    assert call.memory_after < call.memory_before + 20_000_000


def test_what_ray_allocates_to_send_a_result_is_not_the_tasks_but_the_captures():
    @ray.remote
    @profile_memory(linger=5)  # the first result that a worker sends has Ray import much
    def task():
        return {"data": b"1" * 50_000_000}  # line: sent

    for _ in range(5):  # Ray is done with its copy so soon that the sampler may miss it
        call = the_call(task.options(runtime_env={"env_vars": {"ANEW": str(time.time())}}).remote())
        assert_held(call, 50_000_000, "sent")
        assert heap(call).alive_at_end == near(50_000_000)
        whole = heap(call.capture)
        if whole.peak > 95_000_000:
            break
    held = {(line.file, line.line): line.bytes for line in whole.top(100)}
    assert held[__file__, line_of("sent")] == near(50_000_000)
    others = [size for place, size in held.items() if place != (__file__, line_of("sent"))]
    assert max(others) == near(50_000_000), "Ray copies it to send it"
    assert whole.peak == pytest.approx(sum(held.values()), rel=0.1)


def test_an_object_read_from_the_store_is_neither_memory_nor_heap():
    numpy = pytest.importorskip("numpy")
    actor = Keeper.remote()
    ray.get(actor.import_numpy.remote())
    reference = actor.read.remote([ray.put(numpy.ones(100_000_000 // 8))])
    total, mapped, grown = ray.get(reference, timeout=60)
    call = the_call(reference)
    assert total == 100_000_000 // 8
    assert mapped > 100_000_000
    assert heap(call).peak < 5_000_000
    assert call.peak_memory - call.memory_before == pytest.approx(grown, abs=10_000_000)
    assert call.peak_memory - call.memory_before < 20_000_000


def test_what_a_task_returns_is_alive_at_its_end():
    @ray.remote
    @profile_memory
    def task(size):
        bytearray(SIZE)
        return bytearray(size)

    assert heap(the_call(task.remote(SIZE // 2))).alive_at_end == near(SIZE // 2)
    assert heap(the_call(task.remote(0))).alive_at_end == near(0)


def test_what_an_actor_keeps_is_alive_at_the_end_of_the_method_that_kept_it():
    actor = Keeper.remote()
    sizes = [10_000_000, 40_000_000, 20_000_000]
    kept = [the_call(actor.keep.remote(size)) for size in sizes]
    dropped = the_call(actor.drop.remote())
    assert [heap(call).alive_at_end for call in kept] == [near(size) for size in sizes]
    assert [heap(call).peak for call in kept] == [near(2 * size) for size in sizes]
    assert heap(dropped).alive_at_end == near(0)
    lines = line_of("keep"), line_of("other")  # they held as much
    assert sorted(line.line for line in heap(kept[0]).top(2)) == list(lines)


def test_a_block_in_the_driver(cluster):
    with profile_memory("in the driver"):
        data = bytearray(SIZE)  # line: driver
    (call,) = calls(name="in the driver")
    assert len(data) == SIZE
    assert (call.kind, call.task_id, call.capture.parent) == ("block", None, cluster)
    assert_held(call, SIZE, "driver")
    assert heap(call).alive_at_end == near(SIZE)


def test_a_block_in_a_task():
    @ray.remote
    @profile_memory
    def task():
        first = bytearray(SIZE // 2)
        with profile_memory("in a task"):
            second = bytearray(SIZE)  # line: block
        return len(first) + len(second)

    reference = task.remote()
    ray.get(reference, timeout=60)
    block, whole = (the_call(reference, kind=kind) for kind in ("block", "task"))
    assert block.name == "in a task"
    assert_held(block, SIZE, "block")
    assert heap(whole).peak == near(1.5 * SIZE)


def test_a_block_in_a_task_that_is_not_decorated():
    @ray.remote
    def task():
        before = bytearray(SIZE // 2)
        with profile_memory("alone"):
            data = bytearray(SIZE)  # line: alone
        return len(before) + len(data)

    assert_held(the_call(task.remote(), kind="block"), SIZE, "alone")


def test_a_block_does_not_take_what_other_threads_allocate_in_calls_of_their_own():
    @profile_memory
    def elsewhere():
        with profile_memory("of the thread"):
            data = bytearray(SIZE // 2)
            ready.set()
            finish.wait(10)
        return data

    ready, finish = threading.Event(), threading.Event()
    thread = threading.Thread(target=elsewhere)
    with profile_memory("of the main thread"):
        thread.start()
        ready.wait(10)
        data = bytearray(SIZE)
        finish.set()
        thread.join()
    (of_thread,) = calls(name="of the thread")
    (of_main,) = calls(name="of the main thread")
    assert len(data) == SIZE
    assert heap(of_thread).peak == near(SIZE // 2)
    assert heap(of_main).peak == near(SIZE)


@pytest.fixture(scope="module")
def drawn(cluster):
    """A call whose allocation is made two functions deep."""

    @ray.remote
    @profile_memory
    def drawn_task():
        def drawn_helper():
            return bytearray(SIZE)  # line: drawn

        return len(drawn_helper())

    return the_call(drawn_task.remote())


def test_a_flame_graph_shows_the_users_frames_and_no_others(drawn, tmp_path):
    text = flamegraph(drawn, tmp_path / "flame.html").path.read_text()
    assert "drawn_helper" in text
    assert "drawn_task" in text
    assert f'"{__file__}"' in text
    assert f",{line_of('drawn')}" in text.replace(" ", "")
    assert "return bytearray(SIZE)" in text
    assert "default_worker.py" not in text
    assert "main_loop" not in text


def test_a_table_names_the_line(drawn, tmp_path):
    text = table(drawn, tmp_path / "table.html").path.read_text()
    assert f"drawn_helper at {__file__}:{line_of('drawn')}" in text
    assert "default_worker.py" not in text


def test_a_speedscope_file_has_the_line_with_its_bytes(drawn, tmp_path):
    scope = json.loads(speedscope(drawn, tmp_path / "scope.json").path.read_text())
    frames = scope["shared"]["frames"]
    (index,) = [n for n, frame in enumerate(frames) if (frame["file"], frame["line"]) == (__file__, line_of("drawn"))]
    assert frames[index]["name"] == "drawn_helper"
    assert not [frame for frame in frames if "default_worker" in frame["file"] or "raymemprof" in frame["file"]]
    weights = {
        profile["name"]: sum(
            weight for stack, weight in zip(profile["samples"], profile["weights"], strict=True) if index in stack
        )
        for profile in scope["profiles"]
    }
    assert near(SIZE) in weights.values()


def test_many_calls_together_are_the_sum_of_each():
    @ray.remote
    @profile_memory
    def many(size):
        return len(bytearray(size))  # line: many

    references = [many.remote(10_000_000 * n) for n in range(1, 9)]
    found = [the_call(reference) for reference in references]
    for number, call in enumerate(found, 1):
        assert heap(call).peak == near(10_000_000 * number), f"{call}\n{heap(call)!r}"
    together = heap(found)
    assert together.call_count == 8
    assert together.peak == sum(heap(call).peak for call in found) == near(360_000_000)
    assert together.allocations == sum(heap(call).allocations for call in found)
    assert_held(calls(name="*many"), 360_000_000, "many")


def test_calls_that_follow_each_other_share_a_capture():
    actor = Keeper.remote()
    for size in (10_000_000, 20_000_000):
        the_call(actor.keep.remote(size))
    (capture,) = captures(actor_id=actor._actor_id.hex())
    assert capture.call_count == 3
    kept = [line.bytes for line in heap(capture).top(100, view="leaks") if line.file == __file__]
    assert sum(kept) == near(30_000_000)


def test_shared_memory_that_goes_meanwhile_does_not_hide_what_is_allocated(tmp_path, run_script):
    """Between two samples the kernel knows the highest RSS, but not what of it was shared."""
    run_script(
        f"""
import mmap
from raymemprof import profile_memory

@profile_memory(directory={str(tmp_path)!r})
def task(shared, size):
    shared.close()
    return len(bytearray(size * 1_000_000))

for size in range(34, 98, 4):  # each is a new peak of RSS
    shared = mmap.mmap(-1, (size - 4) * 1_000_000)
    for _ in range(size - 4):
        shared.write(b"1" * 1_000_000)
    task(shared, size)
"""
    )
    peaks = [heap(call).peak for call in calls(tmp_path)]
    right = [peak == near(size * 1_000_000) for peak, size in zip(peaks, range(34, 98, 4), strict=True)]
    assert sum(right) >= 11, peaks  # a look may fall into one that is being filled: nobody knows then


def test_what_is_taken_of_freed_memory_after_the_last_look_is_held(tmp_path, run_script):
    """The process does not grow by it, so a look before it seems to be at the peak."""
    run_script(
        f"""
import time
from raymemprof import profile_memory

bytearray(30_000_000)  # from now on malloc does not map what is smaller by itself
freed, above = [bytearray(15_000_000) for _ in range(4)], bytearray(200_000)
del freed  # malloc keeps it, since something lies above it

@profile_memory(directory={str(tmp_path)!r})
def task():
    kept = bytearray(b"1") * 20_000_000
    time.sleep(0.3)
    return len(kept) + len(bytearray(b"1") * 15_000_000)

task()
"""
    )
    (call,) = calls(tmp_path)
    assert heap(call).peak == near(35_000_000)


@pytest.mark.parametrize(("size", "pieces"), [(40_000_000, 1), (100_000_000, 4)])
def test_what_is_taken_of_freed_memory_after_a_rise_is_held(size, pieces, tmp_path, run_script):
    """The process was as large before; what is told of the whole capture is what is told of its call."""
    run_script(
        f"""
import time
from raymemprof import profile_memory

bytearray(30_000_000)
freed, above = [bytearray(15_000_000) for _ in range(4)], bytearray(200_000)
del freed

@profile_memory(directory={str(tmp_path)!r})
def task():
    kept = bytearray(b"1") * {size}
    time.sleep(0.3)
    return len(kept) + len([bytearray(b"1") * 15_000_000 for _ in range({pieces})])

task()
"""
    )
    (call,) = calls(tmp_path)
    assert heap(call).peak == near(size + pieces * 15_000_000)
    assert heap(call.capture).peak == near(size + pieces * 15_000_000)


def test_a_capture_held_no_less_than_its_call():
    """Both are of one process, also where the peak is over before the sampler looks."""

    @ray.remote
    @profile_memory
    def brief():
        kept = [json.dumps([{"id": n, "name": "x" * 50} for n in range(200_000)])]
        kept.append(json.loads(kept[0]))
        return len(kept)

    call = the_call(brief.remote())
    assert heap(call).peak > 50_000_000
    assert heap(call.capture).peak >= heap(call).peak * 0.98


@pytest.mark.parametrize("wait", [0, 0.3])
@pytest.mark.parametrize("is_all_traced", [True, False])
def test_what_a_call_renews_is_its_own(is_all_traced, wait):
    """It frees what was there before and takes as much: the process does not grow, and the call holds it."""

    class Cache:
        def __init__(self):
            self.data = bytearray(b"1") * 200_000_000

        def renew(self, wait):
            self.data = None
            self.data = bytearray(b"2") * 200_000_000  # line: renew
            time.sleep(wait)

    if is_all_traced:
        actor = ray.remote(profile_memory(Cache)).remote()
    else:  # what is freed was there before anything was traced
        Cache.renew = profile_memory(Cache.renew)
        actor = ray.remote(Cache).remote()
    call = the_call(actor.renew.remote(wait))
    assert_held(call, 200_000_000, "renew")
    found = heap(call)
    assert found.alive_at_end == near(200_000_000)
    if found.grew is not None:
        assert abs(found.grew) < 20_000_000
        assert found.released == pytest.approx(200_000_000, rel=0.1)
        assert found.grew == found.peak + (found.retained or 0) + found.unseen - found.released
    ray.kill(actor)


def test_what_was_reserved_before_was_not_given_back_when_it_is_freed():
    """Pages that were never touched are no memory that a call could have used again."""
    numpy = pytest.importorskip("numpy")

    @ray.remote
    @profile_memory
    class Renewing:
        def __init__(self):
            self.data = numpy.zeros(50_000_000)
            time.sleep(0.3)

        def renew(self):
            self.data = None
            self.data = numpy.zeros(50_000_000)
            self.more = bytearray(b"1") * 100_000_000  # line: renewed
            time.sleep(0.3)

    actor = Renewing.remote()
    call = the_call(actor.renew.remote())
    assert_held(call, 100_000_000, "renewed")
    assert heap(call).released < 10_000_000
    assert heap(call).reserved == near(400_000_000)
    ray.kill(actor)


def test_no_more_of_what_is_not_seen_is_libraries_than_is_not_seen() -> None:
    """Where the sum says that nothing is unseen, no note says what some of that is."""
    from raymemprof.reading.captures.resident import Held

    assert Held(grew=50 * 2**20, unseen=0, libraries=5 * 2**20).unseen_libraries == 0
    assert Held(grew=50 * 2**20, unseen=2 * 2**20, libraries=5 * 2**20).unseen_libraries == 2 * 2**20
    assert Held(libraries=5 * 2**20).unseen_libraries == 5 * 2**20


def test_one_line_or_the_other_is_one_place_and_names_each_once() -> None:
    from raymemprof.reading.captures.stacks import either, guilty

    outer = ("job", "job.py", 9)
    first, second, *others = [(("work", "job.py", line), outer) for line in range(1, 6)]
    one, other = either([first, second]), either([second, first])
    assert one == other
    assert guilty(one)[0] == "work (job.py:1) or work (job.py:2)"
    assert either([one, second]) == either([one, other, first]) == one
    many = either([first, second, *others])
    assert guilty(many)[0] == "work (job.py:1) or work (job.py:2) or work (job.py:3) or 2 more"
    assert guilty(either([many, first])) == guilty(many)
