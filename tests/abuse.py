"""A day's worth of abuse in minutes: `python tests/abuse.py --minutes 10 --seed 1`.

Tasks and actors run beside their undecorated twins while workers are killed, children are forked, disks are full, the
log folder fills with hostile files, and somebody lists, fetches and cleans all the time. The table at the end says
what must hold; the exit status is 1 where anything does not.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ |= {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_IGNORE_UNHANDLED_ERRORS": "1"}

MB = 10**6
TASKS_A_DAY = 20_000
MINUTES_A_DAY = 10
BATCH = 200
SECONDS_BETWEEN_KILLS = 3.0
MOST_OURS = 20 * MB
"""How much more memory a worker may have than its undecorated twin."""
PATIENCE = 60
"""Seconds for what is still to be answered when the time is over."""

READER = """
import sys, time, raymemprof
logs, cleaned, to, until = sys.argv[1:4] + [float(sys.argv[4])]
rounds = 0
while time.time() < until:
    raymemprof.calls(logs), raymemprof.captures(logs), repr(raymemprof.calls(logs))
    raymemprof.calls(cleaned), raymemprof.captures(cleaned)
    found = raymemprof.captures(logs)
    for capture in [*found[:1], *found[-1:]]:
        try:
            raymemprof.heap(capture)
        except (raymemprof.CaptureError, FileNotFoundError):
            pass
    raymemprof.summary(logs) if hasattr(raymemprof, "summary") else raymemprof.advise(raymemprof.calls(logs))
    raymemprof.clean(cleaned, older_than=5)
    rounds += 1
    time.sleep(0.5)  # two cores are there for all
print("rounds", rounds)
"""

FETCHER = """
import sys, time, ray, raymemprof
address, to, until = sys.argv[1:3] + [float(sys.argv[3])]
ray.init(address, logging_level="ERROR", log_to_driver=False)
rounds = 0
while time.time() < until:
    try:
        raymemprof.fetch(raymemprof.captures()[-3:], to)
    except (raymemprof.CaptureError, FileNotFoundError, ValueError):
        pass
    raymemprof.doctor()
    rounds += 1
    time.sleep(0.5)
print("rounds", rounds)
"""

LISTER = """
import json, sys, raymemprof
found = raymemprof.calls(sys.argv[1], name="work")
print(json.dumps([[call.task_id, str(call.pid), call.status] for call in found]))
"""

STRANGER = """
import os, sys
os.setgid(65534); os.setuid(65534)
sys.dont_write_bytecode = True
try:
    import wave
except ImportError:
    print("not tried: other users cannot read this Python")
    sys.exit(0)
import raymemprof
from raymemprof import profile_memory
with profile_memory("theirs"):
    total = sum(bytearray(b"1") * 1000)
assert total == 49000
try:
    raymemprof.calls(sys.argv[1])
except (OSError, raymemprof.CaptureError) as error:
    print("refused:", type(error).__name__)
"""


class Row(NamedTuple):
    """One promise, and whether it held."""

    promise: str
    found: str
    holds: bool


def work(kind: str, seed: int, begun: str | None) -> Any:
    """What a task does; notes that it began where it is profiled. The same for the same seed."""
    if begun is not None:
        import ray

        line = f"{ray.get_runtime_context().get_task_id()} {os.getpid()}\n".encode()
        descriptor = os.open(begun, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line)
        os.close(descriptor)
    rng = random.Random(seed)
    data = [bytes(rng.randrange(100, 20_000)) for _ in range(rng.randrange(1, 60))]
    if kind == "fails":
        raise ValueError(f"{seed} {len(data)}")
    if kind == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "forks":
        child = os.fork()
        if child == 0:
            os._exit(len(data) % 50)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if kind == "starts":
        return subprocess.run([sys.executable, "-S", "-c", f"print({seed})"], capture_output=True).stdout
    if kind == "threads":
        sizes: list[int] = []
        threads = [threading.Thread(target=lambda: sizes.append(len(bytearray(seed % 9999)))) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        return sizes
    return sum(map(len, data)), hashlib.sha256(b"".join(data)).hexdigest()


KINDS = {"computes": 60, "fails": 12, "threads": 12, "forks": 6, "starts": 4, "dies": 1}
"""How often each is had."""


class Abuse:
    """The cluster, what is done to it, and what was seen."""

    def __init__(self, folder: Path, minutes: float, seed: int) -> None:
        import ray

        self.ray, self.folder, self.rng = ray, folder, random.Random(seed)
        self.until = time.time() + 60 * minutes
        self.most = round(TASKS_A_DAY * minutes / MINUTES_A_DAY)  # and as many twins
        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        self.logs = Path(ray._private.worker.global_worker.node.get_logs_dir_path())
        self.begun, self.cleaned, self.small = folder / "begun", folder / "cleaned", folder / "small"
        self.begun.touch()
        self.cleaned.mkdir()
        self.small.mkdir()
        self.tasks = self.different = self.killed = self.unanswered = self.unanswered_plain = 0
        self.examples: list[str] = []
        self.foreign: dict[Path, str] = {}
        self.readers: dict[str, subprocess.Popen[str]] = {}
        self.is_mounted = self._mount()

    def _mount(self) -> bool:
        """A disk of 2 MB, where we may make one."""
        command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(self.small)]
        return shutil.which("mount") is not None and subprocess.run(command, capture_output=True).returncode == 0

    def hostile_files(self) -> None:
        """Put into the folders what is not ours, with names that look as if it were."""
        outside = self.folder / "outside"
        outside.write_text("mine")
        self.foreign[outside] = digest(outside)
        for folder in (self.logs, self.cleaned):
            torn = '{"event": "process", "pid": 1}\n{"event": "begin", "call": 0, "ti'
            texts = {"notes.txt": "mine", "model.bin": "mine", "events.jsonl": "{}\n", "raymemprof-notes.txt": "mine"}
            for name, text in texts.items():
                (folder / name).write_text(text)
                self.foreign[folder / name] = digest(folder / name)
            (folder / "raymemprof-torn-x-0-1-1.jsonl").write_text(torn)
            (folder / "raymemprof-zeros-x-0-1-2.jsonl").write_bytes(bytes(MB))
            (folder / "raymemprof-zeros-x-0-1-2.bin").write_bytes(bytes(MB))
            with (folder / "raymemprof-sparse-x-0-1-3.jsonl").open("wb") as file:
                file.truncate(64 * 10**9)
            with contextlib.suppress(FileExistsError):
                os.mkfifo(folder / "raymemprof-fifo-x-0-1-4.jsonl")
                os.mkfifo(folder / "raymemprof-fifo-x-0-1-4.bin")
                (folder / "raymemprof-folder-x-0-1-5.bin").mkdir()
                (folder / "raymemprof-link-x-0-1-6.bin").symlink_to(outside)
                (folder / "raymemprof-link-x-0-1-7.jsonl").symlink_to(folder / "raymemprof-link-x-0-1-7.jsonl")

    def start_readers(self) -> None:
        """Have others list, fetch and clean all the time."""
        address = self.ray.get_runtime_context().gcs_address
        for name, code, arguments in (
            ("lists and cleans", READER, (self.logs, self.cleaned, self.folder / "fetched", self.until)),
            ("fetches and asks", FETCHER, (address, self.folder / "fetched", self.until)),
        ):
            output = (self.folder / f"{name}.log").open("w")
            command = [sys.executable, "-c", code, *map(str, arguments)]
            self.readers[name] = subprocess.Popen(command, stdout=output, stderr=output, text=True)

    def kill_workers(self, done: threading.Event) -> None:
        """Kill a worker at random now and then: one of those that said they began something of ours."""
        import psutil

        while not done.wait(self.rng.uniform(0.5, 2) * SECONDS_BETWEEN_KILLS):
            lines = self.begun.read_text().splitlines()[-50:]
            with contextlib.suppress(psutil.Error, IndexError):
                process = psutil.Process(int(self.rng.choice(lines).split()[1]))
                if "ray::" in " ".join(process.cmdline()):
                    process.kill()
                    self.killed += 1

    def run(self) -> None:
        """Run batch after batch, each beside its twin."""
        from raymemprof import profile_memory

        ray = self.ray
        options: list[dict[str, Any]] = [{}, {"heap": False}, {"directory": str(self.cleaned)}]
        if self.is_mounted:
            options.append({"directory": str(self.small)})
        plain = ray.remote(max_retries=5)(work)
        profiled = [ray.remote(max_retries=5)(profile_memory(**one)(work)) for one in options]
        kinds, weights = list(KINDS), list(KINDS.values())
        while time.time() < self.until and self.tasks < self.most:
            batch = [
                (kind, self.rng.randrange(10**9), self.rng.randrange(len(options)))
                for kind in self.rng.choices(kinds, weights, k=BATCH)
            ]
            asked = []
            for kind, seed, which in batch:
                retries = {"max_retries": 0} if kind == "dies" else {}
                begun = str(self.begun) if which < 2 else None
                twin = plain.options(**retries).remote(kind, seed, None)
                asked.append((kind, seed, twin, profiled[which].options(**retries).remote(kind, seed, begun)))
            for kind, seed, twin, ours in asked:
                expected, found = self._outcome(twin), self._outcome(ours)
                if None in (expected, found):
                    self.unanswered += found is None
                    self.unanswered_plain += expected is None
                    continue
                self.tasks += 1
                if expected != found:
                    self.different += 1
                    self.examples.append(f"{kind} {seed}: {expected!r} is {found!r}"[:200])

    def _outcome(self, reference: Any) -> Any:
        """What came of a task, so that it can be compared; None where it has not answered when all should have."""
        try:
            return self.ray.get(reference, timeout=max(self.until + PATIENCE - time.time(), 0.01))
        except self.ray.exceptions.GetTimeoutError:
            return None
        except self.ray.exceptions.RayTaskError as error:
            return str(error.cause)
        except Exception as error:
            return type(error).__name__


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def taken_by_ours(ray: Any) -> int:
    """How much more memory an actor has after 10,000 profiled calls than one whose calls are not profiled.

    Ray itself takes 30 MB in the first thousands, not at an even rate, so levels are compared and not what was added.
    """
    from raymemprof import profile_memory

    class Twin:
        def own(self) -> int:
            from raymemprof.recording.memory import process_memory

            return process_memory.now()[0]

        def call(self) -> int:
            return len(bytearray(1000))

    def level(made: Any) -> int:
        actor = ray.remote(made).options(num_cpus=0).remote()
        for _ in range(10):
            ray.get([actor.call.remote() for _ in range(1_000)], timeout=PATIENCE)
        memory = ray.get(actor.own.remote(), timeout=PATIENCE)
        ray.kill(actor)
        return int(memory)

    return level(profile_memory(type("Profiled", (), dict(Twin.__dict__)))) - level(Twin)


def accounted(abuse: Abuse) -> Iterator[Row]:
    """Hold the calls that began against those that are listed.

    A worker may be killed after the call was noted and before its code ran: that is a killed call.
    """
    promise = "calls begun are accounted for"
    command = [sys.executable, "-c", LISTER, str(abuse.logs)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        calls = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        yield Row(promise, f"calls() did not answer within {PATIENCE} s", False)
        return
    except ValueError:
        yield Row(promise, f"calls(): {(done.stderr.strip().splitlines() or ['nothing'])[-1][:80]}", False)
        return
    began = Counter(tuple(line.split()) for line in abuse.begun.read_text().splitlines())
    listed = Counter((task, pid) for task, pid, _ in calls)
    status = {(task, pid): status for task, pid, status in calls}
    found = sum(1 for one in began if listed[one])
    yield Row(promise, f"{found:,} of {len(began):,}", found == len(began))
    twice = sum(count - 1 for one, count in listed.items() if count > max(began[one], 1))
    yield Row("no call is listed twice", f"{twice:,} are", not twice)
    invented = sum(1 for one in listed if one not in began and status[one] not in ("killed", "running"))
    yield Row("no call is listed that never began", f"{invented:,} are", not invented)


def stranger(abuse: Abuse) -> Row:
    """Another user records beside us, and looks at what is ours."""
    if os.getuid() != 0:
        return Row("a second user works beside us", "not tried: needs root", True)
    command = [sys.executable, "-c", STRANGER, str(abuse.logs)]
    try:
        home = {**os.environ, "HOME": "/"}  # not that of who started it
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd="/", env=home)
    except subprocess.TimeoutExpired:
        return Row("a second user works beside us", f"did not end within {PATIENCE} s", False)
    last = (done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ["ran"])[-1]
    return Row("a second user works beside us", last[:80], done.returncode == 0)


def rows(abuse: Abuse) -> Iterator[Row]:
    for name, process in abuse.readers.items():
        try:
            status: Any = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            status = f"still ran {PATIENCE} s later"
        said = ((abuse.folder / f"{name}.log").read_text().strip().splitlines() or [""])[-1]
        yield Row(f"no reader died: {name}", f"{said[:60]}, exit status {status}", status == 0)
    ran = f"{2 * abuse.tasks:,}, half of them twins, and {abuse.killed} workers were killed"
    yield Row("tasks ran", ran, abuse.tasks > 0)
    yield Row(
        "every task answered",
        f"{abuse.unanswered:,} did not, {abuse.unanswered_plain:,} of the twins",
        not abuse.unanswered,
    )
    same = abuse.tasks - abuse.different
    yield Row("results are those of the undecorated twin", f"{same:,} of {abuse.tasks:,}", not abuse.different)
    yield from accounted(abuse)
    promise = "no worker grew by more than 20 MB of ours"
    try:
        ours = taken_by_ours(abuse.ray)
        yield Row(promise, f"{ours / MB:.1f} MB after 10,000 calls", ours <= MOST_OURS)
    except abuse.ray.exceptions.RayError as error:
        yield Row(promise, f"not known: {type(error).__name__}", False)
    lost = [path.name for path, known in abuse.foreign.items() if not path.exists() or digest(path) != known]
    yield Row("nothing was deleted or changed that is not ours", ", ".join(lost) or "nothing", not lost)
    yield stranger(abuse)
    if not abuse.is_mounted:
        yield Row("a full disk", "not tried: no tmpfs could be mounted", True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=MINUTES_A_DAY)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the table as JSON, too")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind
    folder = Path(tempfile.mkdtemp(prefix="rmp-", dir="/tmp"))
    os.environ["RAY_TMPDIR"] = str(folder)
    abuse, done = None, threading.Event()
    try:
        abuse = Abuse(folder, chosen.minutes, chosen.seed)
        abuse.hostile_files()
        abuse.start_readers()
        killer = threading.Thread(target=abuse.kill_workers, args=(done,), daemon=True)
        killer.start()
        abuse.run()
        done.set()
        killer.join()
        table = list(rows(abuse))
    finally:
        done.set()
        for process in abuse.readers.values() if abuse else ():
            process.kill()
            process.wait()
        import ray

        ray.shutdown()
        if abuse is not None and abuse.is_mounted:
            subprocess.run(["umount", "-l", str(abuse.small)], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
    for row in table:
        print(f"{'ok   ' if row.holds else 'FAILS'} {row.promise:<50} {row.found}")
    for example in abuse.examples[:10]:
        print("     ", example)
    if chosen.json:
        print(json.dumps([row._asdict() for row in table]))
    return 0 if all(row.holds for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
