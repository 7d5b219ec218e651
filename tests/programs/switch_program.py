"""A job as somebody else wrote it: it knows nothing of raymemprof, unless it is told to by its first argument.

Prints one line of JSON: the job's id, what it computed, and what its workers saw of their environment.
"""

from __future__ import annotations

import json
import os
import sys

import ray


def plain(thing):
    return thing


def their_hook():
    os.environ["THEIRS"] = "ran"


how, *more = sys.argv[1:]
recorded, environment, of_task = plain, None, {}
THEIRS = {"env_vars": {"MODE": "fast"}}
SHIPPED = {"py_modules": more} if more else {}
if how == "decorated":
    import raymemprof

    recorded = raymemprof.profile_memory
if how == "both":
    import raymemprof

    recorded, environment = raymemprof.profile_memory, raymemprof.runtime_env(THEIRS)
if how == "env":
    import raymemprof

    environment = raymemprof.runtime_env({**THEIRS, **json.loads((more or ["{}"])[0])})
if how == "some":
    import raymemprof

    environment = raymemprof.runtime_env(include=["*load", "Cache.*"], exclude="Cache.add", heap=False)
if how == "hook":
    import raymemprof

    environment = raymemprof.runtime_env({**THEIRS, **SHIPPED, "worker_process_setup_hook": their_hook})
if how == "hook-name":
    import raymemprof

    environment = raymemprof.runtime_env({**THEIRS, **SHIPPED, "worker_process_setup_hook": "faulthandler.disable"})


@ray.remote
@recorded
def load(megabytes):
    block = bytearray(megabytes * 1_000_000)
    return len(block)


@ray.remote
@recorded
class Cache:
    def __init__(self):
        self.kept = []

    def add(self, megabytes):
        self.kept.append(bytearray(megabytes * 1_000_000))
        return len(self.kept)

    @staticmethod
    def double(number):
        return 2 * number

    @classmethod
    def name(cls):
        return cls.__name__


@ray.remote
class Slow:
    async def wait(self, number):
        return number


if recorded is not plain:
    Slow = recorded(Slow)


@ray.remote(num_returns="streaming")
@recorded
def count(last):
    for number in range(last):  # noqa: UP028  # Ray sends to it, which a range does not take
        yield number


@ray.remote
@recorded
def fail():
    raise ValueError("as it should")


@ray.remote(num_cpus=0)
def seen():
    import faulthandler

    return os.environ.get("MODE"), os.environ.get("THEIRS"), faulthandler.is_enabled()


def main():
    ray.init(
        logging_level="ERROR",
        **({"num_cpus": 2, "include_dashboard": False} if "RAY_ADDRESS" not in os.environ else {}),
        **({"runtime_env": environment} if environment is not None else {}),
    )
    of_one = {}
    if how == "task":
        import raymemprof

        of_one = {"runtime_env": raymemprof.runtime_env(THEIRS)}
    cache, slow = Cache.options(**of_one).remote(), Slow.options(**of_one).remote()
    results = ray.get([load.options(**of_one).remote(30), load.options(name="other", **of_one).remote(5)])
    results += ray.get([cache.add.remote(10), cache.double.remote(4), cache.name.remote(), slow.wait.remote(7)])
    results += [ray.get(one) for one in count.options(**of_one).remote(3)]
    try:
        ray.get(fail.options(**of_one).remote())
    except ValueError as error:
        results.append(str(error.args or error).count("as it should"))
    answer = {
        "job": ray.get_runtime_context().get_job_id(),
        "results": results,
        "seen": ray.get(seen.options(**of_one).remote()),
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
