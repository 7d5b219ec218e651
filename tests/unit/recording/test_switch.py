"""The switch without Ray: which modules it waits for, what its patterns select, and whose functions are whose."""

from __future__ import annotations

import ast
import copy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raymemprof import calls, cluster, profile_memory
from raymemprof.recording.options import Options
from raymemprof.recording.undecorated import record_all, started, startup
from raymemprof.recording.undecorated.rays_own import is_rays, naming
from raymemprof.recording.undecorated.runtime_env import runtime_env
from raymemprof.recording.undecorated.selection import Selection, is_on

PTH = Path(startup.__file__).with_name("raymemprof.pth")


def test_the_file_that_python_reads_waits_for_the_modules_that_are_known() -> None:
    (line,) = PTH.read_text().splitlines()  # Python runs each line by itself, if it begins so
    assert line.startswith("import ")
    named = {node.value for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Constant)}
    (code,) = (text for text in named if isinstance(text, str) and "wrapt" in text)
    texts = {node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)}
    assert texts == set(startup.BEGINS)


@pytest.mark.parametrize(("value", "is_known"), [("1", True), ("", False)])
def test_nothing_is_imported_before_ray_is(value: str, is_known: bool) -> None:
    code = f"""
import os, sys
os.environ["RAYMEMPROF_RECORD_ALL"] = {value!r}
exec(open({str(PTH)!r}).read())
print("wrapt" in sys.modules, any(name.startswith("raymemprof") for name in sys.modules))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [str(is_known), "False"]


def test_what_lacks_raymemprof_is_left_alone(tmp_path: Path) -> None:
    """Neither a traceback at each start of Python, nor a module of Ray's that cannot be imported."""
    (tmp_path / "wrapt.py").write_text("raise ModuleNotFoundError('wrapt')")
    code = f"""
import os, sys
sys.path.insert(0, {str(tmp_path)!r})
os.environ["RAYMEMPROF_RECORD_ALL"] = "1"
exec(open({str(PTH)!r}).read())
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("text", "expected"), [("1", True), ("true", True), ("0", False), ("off", False), ("", False), ("what", True)]
)
def test_the_variable_is_read_as_the_others_are(text: str, expected: bool) -> None:
    assert is_on({"RAYMEMPROF_RECORD_ALL": text}) is expected


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ((), (), True),
        (("pkg.*",), (), True),
        (("load",), (), True),
        (("Load",), (), False),
        (("other.*", "*.load"), (), True),
        ((), ("pkg.load",), False),
        (("pkg.*",), ("lo?d",), False),
    ],
)
def test_patterns(include: tuple[str, ...], exclude: tuple[str, ...], expected: bool) -> None:
    assert Selection(include, exclude).wants("pkg.load", "load") is expected


def test_whose_a_function_is() -> None:
    assert is_rays("ray.data")
    assert is_rays("raymemprof.cluster")
    assert not is_rays("rays")
    assert not is_rays("__main__")
    assert naming("ray.data._internal.execution.operators.map_operator._map_task", "task") is not None
    assert naming("ray.serve._private.controller.ServeController.get_deployment_info", "method") is None
    assert naming("ray.serve._private.replica.ReplicaActor.handle_request", "method") is None
    assert naming("ray.rllib.env.single_agent_env_runner.SingleAgentEnvRunner.sample", "method") is not None
    assert naming("ray.data._internal.stats._StatsActor.record_start", "method") is None


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: runtime_env([]), "must be a dictionary"),
        (lambda: runtime_env(heep=True), "runtime_env has no option 'heep'"),
        (lambda: runtime_env(every=0), "runtime_env(every=0)"),
        (lambda: runtime_env(include=[""]), "must not be empty"),
        (lambda: runtime_env(exclude=3), "exclude=3"),
    ],
)
def test_bad_input_gets_one_sentence(call: object, said: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        call()  # type: ignore[operator]
    assert said in str(caught.value)


def test_what_is_the_jobs_stays() -> None:
    base = {"env_vars": {"MODE": "fast"}, "pip": ["polars"]}
    made = runtime_env(base, heap=False, include=["a.*", "b"])
    assert base == {"env_vars": {"MODE": "fast"}, "pip": ["polars"]}
    assert made["pip"] == ["polars"]
    assert made["env_vars"] == {
        "MODE": "fast",
        "RAYMEMPROF_RECORD_ALL": "1",
        "RAYMEMPROF_HEAP": "False",
        "RAYMEMPROF_INCLUDE": "a.*,b",
    }
    assert runtime_env(base, enabled=False) == base


class Plain:
    def __init__(self) -> None: ...

    def method(self) -> None: ...


class InPart(Plain):
    @profile_memory
    def method(self) -> None: ...


@profile_memory
class Decorated(InPart): ...


def plain() -> None: ...


def of_ray_data() -> None: ...


def ours() -> None: ...


of_ray_data.__module__ = "ray.data._internal.planner"
RaysActor = type("StatsActor", (), {"__module__": "ray.data._internal.stats", "note": lambda self: None})
MINE = {"pip": ["polars"], "env_vars": {"MINE": "1"}}
ON = {"RAYMEMPROF_RECORD_ALL": "1", "RAYMEMPROF_HEAP": "False"}


@pytest.mark.parametrize(
    ("target", "given", "is_detached", "expected"),
    [
        (plain, {}, False, {"env_vars": ON}),
        (plain, MINE, False, {"pip": ["polars"], "env_vars": {"MINE": "1", **ON}}),
        (plain, {"env_vars": {"RAYMEMPROF_RECORD_ALL": "0"}}, False, None),
        (profile_memory(plain), {}, False, None),
        (cluster.by_value(ours), {}, False, None),
        (cluster.on_nodes, {}, False, None),
        (of_ray_data, {}, False, {"env_vars": ON}),
        (Plain, {}, False, {"env_vars": ON}),
        (Plain, {}, True, {"env_vars": ON}),
        (InPart, {}, False, {"env_vars": ON}),
        (Decorated, {}, False, None),
        (RaysActor, {}, False, {"env_vars": ON}),
        (RaysActor, {}, True, None),
    ],
)
def test_what_a_process_starts_gets_the_switch(
    target: object, given: dict[str, object], is_detached: bool, expected: object
) -> None:
    kept = copy.deepcopy(given)
    submission = cluster.Submission(target, given, is_detached, is_exported=False)
    with started._Started(Options(heap=False)).submitted(submission) as runtime_env:
        assert runtime_env == expected
    assert given == kept


def test_what_ray_data_notes_is_its_operator_s_whatever_is_open_in_that(tmp_path: Path) -> None:
    """A block over a `yield` is the call that runs when Ray Data looks, after the block of rows that was yielded."""

    def batches() -> Iterator[int]:
        with profile_memory("inner", heap=False, directory=tmp_path):
            yield 1

    with profile_memory("operator", heap=False, directory=tmp_path):
        rows = batches()
        next(rows)
        record_all._note_ray_data_peak(500)
        rows.close()
        record_all._note_ray_data_peak(400)
    record_all._note_ray_data_peak(600)  # of no call
    assert {call.name: call.ray_data_peak for call in calls(tmp_path)} == {"operator": 500, "inner": None}
