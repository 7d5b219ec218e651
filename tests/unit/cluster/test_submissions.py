"""What is submitted meanwhile gets another runtime environment, and Ray's methods are its own again after it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

PROGRAM = """
import contextlib, threading
from raymemprof import cluster

asked = []

@contextlib.contextmanager
def change(submission):
    target = cluster.class_before_ray(submission.target) or submission.target
    name, given = target.__qualname__, dict(submission.runtime_env.get("env_vars") or {})
    asked.append((name, given, submission.is_detached, submission.is_exported))
    yield None if "SWITCH" in given else {**submission.runtime_env, "env_vars": {**given, "SWITCH": "1"}}

@contextlib.contextmanager
def inner(submission):
    asked.append("inner")
    yield None

def submit(remote, **options):
    "No cluster runs, so Ray refuses; what it was about to submit is known by then."
    with contextlib.suppress(ray.exceptions.RaySystemError):
        (remote.options(**options) if options else remote).remote()

def of_ray():
    from ray.util.client import common
    return [
        ray.remote_function.RemoteFunction._remote, ray.actor.ActorClass._remote, common.ClientRemoteFunc.remote,
        common.ClientActorClass.remote, common.OptionWrapper.remote, common.ActorOptionWrapper.remote,
    ]

with cluster.around_submissions(change):
    import ray  # it takes effect as soon as Ray is there

    @ray.remote(max_calls=3, num_returns=2)
    def task(): ...

    @ray.remote(concurrency_groups={"io": 2}, runtime_env={"env_vars": {"MINE": "1"}})
    class Actor:
        def method(self): ...

    submit(task)
    submit(task, num_cpus=0.5, runtime_env={"env_vars": {"MINE": "2"}})
    submit(Actor)
    submit(Actor, name="kept", lifetime="detached")
    submit(ray.cross_language.java_function("Class", "method"))
    submit(ray.cross_language.java_actor_class("Class"))
    seen = list(asked)
    asked.clear()
    with cluster.around_submissions(inner):
        submit(task)
        thread = threading.Thread(target=submit, args=(task,))
        thread.start()
        thread.join()
    submit(task)
    nested = list(asked)
    replaced = of_ray()

plain = of_ray()
asked.clear()
for error in (ZeroDivisionError, KeyboardInterrupt):
    with contextlib.suppress(error), cluster.around_submissions(change):
        assert of_ray() != plain
        raise error
    assert of_ray() == plain
submit(task)
assert not asked

theirs = lambda self, *args, **kwargs: "theirs"
with cluster.around_submissions(change):
    ray.actor.ActorClass._remote = theirs  # somebody else patches, and does not put it back
assert ray.actor.ActorClass._remote is theirs
ray.actor.ActorClass._remote = plain[1]
del ray.remote_function.RemoteFunction._remote  # and Ray has moved something
with cluster.around_submissions(change):
    submit(Actor)
assert not hasattr(ray.remote_function.RemoteFunction, "_remote")
assert asked

of_client = [function.__module__ for function in plain]
print((seen, nested, [one is other for one, other in zip(replaced, plain)], of_client))
"""


@pytest.mark.versions
def test_submissions_are_changed_meanwhile_and_only_then() -> None:
    pytest.importorskip("ray")
    environment = {**os.environ, "RAY_ENABLE_AUTO_CONNECT": "0"}
    out = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, env=environment)
    assert out.returncode == 0, out.stderr
    seen, nested, unchanged, modules = ast.literal_eval(out.stdout.splitlines()[-1])
    assert seen == [
        ("task", {}, False, False),
        ("task", {"SWITCH": "1"}, False, False),  # submitted with it
        ("task", {"MINE": "2"}, False, False),
        ("task", {"MINE": "2", "SWITCH": "1"}, False, False),
        ("Actor", {"MINE": "1"}, False, False),
        ("Actor", {"MINE": "1", "SWITCH": "1"}, False, False),
        ("Actor", {"MINE": "1"}, True, False),
        ("Actor", {"MINE": "1", "SWITCH": "1"}, True, False),
    ]
    assert nested == ["inner", "inner", ("task", {}, False, False), ("task", {"SWITCH": "1"}, False, False)]
    assert unchanged == [False] * 6
    assert modules == ["ray.remote_function", "ray.actor"] + ["ray.util.client.common"] * 4
