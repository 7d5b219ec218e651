"""Serve, Train and Tune under the switch: calls are named as users know them, with route, rank and trial."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.paths import PROGRAMS
from tests.programs.several_nodes import free_port

COMMAND = Path(sys.executable).with_name("raymemprof")
MIB = 2**20
NEAR = 3
"""MiB by which a growth may differ from what is held: what else a call needs, and what was there to be used again."""


def run(port: int) -> tuple[dict[str, Any], str]:
    """Run the program; 0 for no Serve."""
    ran = subprocess.run(
        [COMMAND, "run", PROGRAMS / "ray_libraries_program.py", str(port)], capture_output=True, text=True, timeout=240
    )
    answers = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert answers, ran.stdout + ran.stderr
    return answers[-1], ran.stderr


def of(answer: dict[str, Any], *names: str) -> Counter[tuple[Any, ...]]:
    """Return name, kind, deployment and context of the calls whose class or function has one of these names."""
    return Counter(
        (name, kind, deployment, re.sub(r"trial \w+_(\d+)", r"trial \1", context or ""))
        for name, kind, status, deployment, context, _ in answer["calls"]
        if name.split(".")[-2 if kind != "task" else -1] in names and status == "finished"
    )


@pytest.fixture(scope="module")
def answer() -> dict[str, Any]:
    pytest.importorskip("ray.serve")
    answer, error = run(free_port())
    assert re.search(r"the driver, which is not in the table, had [\d.]+ MiB itself", error)
    return answer


@pytest.mark.timeout(300)
def test_results_are_what_they_would_be(answer: dict[str, Any]) -> None:
    sizes = [12, 12, 14, 13, 15, 16]
    assert answer["results"] == [*(size * MIB for size in sizes), True, True, True, 31 * MIB, 31 * MIB]


def test_deployments(answer: dict[str, Any]) -> None:
    """By name, application and route; a decorated one is recorded once. No call of Serve's own actors is there."""
    assert of(answer, "Model") == Counter(
        {
            ("Model.__init__", "actor", "default:Model", ""): 1,
            ("Model.__call__", "method", "default:Model", "route /model"): 1,
            ("Model.later", "method", "default:Model", ""): 1,
            ("Model.one", "method", "default:Model", ""): 2,
            ("Model.batch", "method", "default:Model", ""): 2,
            ("Model.__init__", "actor", "other:Model", ""): 1,
            ("Model.__call__", "method", "other:Model", "route /other"): 1,
        }
    )
    assert [name for name, *_ in answer["calls"] if re.search("Replica|Controller|Proxy", name)] == []


def test_routes_of_an_ingress(answer: dict[str, Any]) -> None:
    """The method is recorded by its name, not what Serve calls."""
    ((name, _, deployment, context),) = [one for one in of(answer, "Routes") if not one[0].endswith("__init__")]
    assert name.endswith("Routes.wide")
    assert deployment == "routes:Routes"
    assert context.startswith("route /routes")


def test_what_they_held(answer: dict[str, Any]) -> None:
    """The code runs in threads that are none of Ray's calls."""
    held = {
        (name.rpartition(".")[2], context): growth
        for name, _, _, deployment, context, growth in answer["calls"]
        if deployment == "default:Model" or name.endswith(".wide")
    }
    assert held["__init__", None] == pytest.approx(11, abs=NEAR)
    assert held["__call__", "route /model"] == pytest.approx(12, abs=NEAR)
    assert held["later", None] == pytest.approx(13, abs=NEAR)
    (wide,) = [growth for (name, _), growth in held.items() if name == "wide"]
    assert wide == pytest.approx(14, abs=NEAR)


def check_training(answer: dict[str, Any]) -> None:
    assert of(answer, "train_function", "with_data") == Counter(
        {
            ("train_function", "task", None, "rank 0"): 2,
            ("train_function", "task", None, "rank 1"): 2,
            ("with_data", "task", None, "trial 00000"): 1,
        }
    )
    trial = of(answer, "Trial")
    assert trial["Trial.train", "method", None, "trial 00000"] == 1
    assert trial["Trial.__init__", "actor", None, ""] == 1
    held = {(name, context): growth for name, _, _, _, context, growth in answer["calls"]}
    for rank in (0, 1):
        assert held["train_function", f"rank {rank}"] == pytest.approx(21 + rank, abs=NEAR)


def test_ranks_and_trials(answer: dict[str, Any]) -> None:
    check_training(answer)


@pytest.mark.rays
@pytest.mark.skipif("not __import__('ray').__version__.startswith('2.49')")
def test_ranks_and_trials_of_the_oldest_ray() -> None:
    """Its Serve does not run with today's protobuf."""
    answer, _ = run(0)
    assert answer["results"] == [True, True, 31 * MIB, 31 * MIB]
    check_training(answer)
