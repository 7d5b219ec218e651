"""What raymemprof 0.1.0 recorded for the files beside this one, which later versions must still read.

Run with that version, it puts its captures and journals into the folder that it is given.
"""

import asyncio
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import ray

from raymemprof import profile_memory

MIB = 2**20


@ray.remote(max_retries=0)
@profile_memory(linger=0)
def load(size):
    kept = [bytearray(size) for _ in range(3)]  # the line of `load`
    return len(kept)


@ray.remote(max_retries=0)
@profile_memory(linger=0)
def fail():
    kept = bytearray(2 * MIB)
    raise ValueError(f"after {len(kept)} bytes")


@ray.remote(max_retries=0)
@profile_memory(linger=0)
def die():
    kept = bytearray(b"1") * (5 * MIB)  # the line of `die`
    os.kill(os.getpid(), signal.SIGKILL)
    return len(kept)


@ray.remote(max_retries=0)
@profile_memory(linger=0, native=True)
def native():
    return len(bytearray(3 * MIB))


@ray.remote(max_retries=0)
@profile_memory(linger=0, python_allocators=True)
def objects():
    return len([str(n) for n in range(20_000)])


@ray.remote(max_retries=0)
@profile_memory(heap=False)
def sampled():
    return len(bytearray(3 * MIB))


@ray.remote(num_returns="streaming", max_retries=0)
@profile_memory(linger=0)
def stream():
    for number in range(3):
        yield len(bytearray((number + 1) * MIB))


@ray.remote(max_retries=0)
@profile_memory(linger=0, follow_fork=True)
def fork():
    child = os.fork()
    if child == 0:
        bytearray(4 * MIB)
        os._exit(0)
    os.waitpid(child, 0)


@ray.remote
@profile_memory(linger=0)
class Cache:
    def __init__(self):
        self.kept = [bytearray(MIB)]

    def add(self, size):
        self.kept.append(bytearray(size))  # the line of `Cache.add`
        return len(self.kept)


@ray.remote
@profile_memory(linger=0)
class Async:
    async def wait(self, size):
        kept = bytearray(size)
        await asyncio.sleep(0.2)
        return len(kept)


def blocks(folder):
    def hold(label, size):
        with profile_memory(label, directory=folder, linger=0):
            kept = bytearray(size)
            time.sleep(0.2)
            return len(kept)

    with profile_memory("outer", directory=folder, linger=0):
        kept = bytearray(MIB)
        threads = [threading.Thread(target=hold, args=(f"inner {n}", n * MIB)) for n in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        del kept


if __name__ == "__main__":
    to = Path(sys.argv[1])
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    logs = Path(ray._private.worker.global_worker.node.get_logs_dir_path())
    ray.get(
        [load.remote(MIB), load.remote(2 * MIB), native.remote(), objects.remote(), sampled.remote(), fork.remote()]
    )
    for one in fail, die:
        try:
            ray.get(one.remote())
        except Exception as error:
            print(type(error).__name__)
    ray.get(list(stream.remote()))
    cache, waits = Cache.remote(), Async.remote()
    ray.get([cache.add.remote(MIB) for _ in range(5)])
    ray.get([waits.wait.remote(MIB), waits.wait.remote(2 * MIB)])
    blocks(to)
    time.sleep(2)
    ray.kill(cache)
    ray.kill(waits)
    time.sleep(2)
    for file in logs.glob("raymemprof-*"):
        shutil.copy(file, to)
