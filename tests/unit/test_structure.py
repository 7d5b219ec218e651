"""The rooms of the package: only `cluster` knows Ray, imports run downwards, and no room imports itself by a detour."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import raymemprof

ROOT = Path(raymemprof.__file__).parent
FACE = "raymemprof"
"""The public face, `__init__.py`: all rooms are below it."""
FLOORS = (
    {FACE},
    {"cli", "notebook"},
    {"diagnosis"},
    {"reading", "recording"},
    {"cluster"},
    {"errors"},
    {"display"},
    {"journal"},
    {"_version", "cells", "command_line", "helper_process", "host", "kill_threshold", "ownership", "proc"},
)
"""Rooms from top to bottom. A room imports what is below it, never what is beside or above it."""
UPWARDS = {("raymemprof.display.rows", "raymemprof.cluster.MissingNode")}
"""Imports that run upwards: what they bring is there for type checkers only."""
KNOWS_RAY: dict[str, str] = {}
"""Modules outside `cluster` that import Ray or look for it, each with the reason."""
LOOKS_FOR_A_MODULE = {"__import__", "find_spec", "get", "import_module"}
RAY = re.compile(r"ray(\.\w+)*")
IMPORTS_RAY = re.compile(r"^\s*(import|from) ray\b", re.MULTILINE)


class Import(NamedTuple):
    """What a module takes from this package: the full names of both."""

    module: str
    name: str
    is_for_types: bool
    """Whether it stands under `if TYPE_CHECKING`."""

    @property
    def rooms(self) -> tuple[str, str]:
        """The room that imports, and the one imported from."""
        return room_of(self.module), room_of(self.name)


def module_of(path: Path) -> str:
    """Return the full name of the module in a file."""
    return ".".join((FACE, *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_of(path): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}
PACKAGES = {module_of(path) for path in ROOT.rglob("__init__.py")}
ROOMS = {module.split(".")[1] for module in MODULES if module != FACE}


def room_of(name: str) -> str:
    """Return the folder, or the file beside the folders, in which something of the package is."""
    room = name.split(".")[1] if "." in name else FACE
    return room if room in ROOMS else FACE


def imports_of(module: str) -> Iterator[Import]:
    """Yield what a module imports from this package, also within functions."""
    tree = MODULES[module]
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    for_types = {id(node) for block in blocks for statement in block.body for node in ast.walk(statement)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == FACE:
                    yield Import(module, alias.name, id(node) in for_types)
        elif isinstance(node, ast.ImportFrom):
            base = node.module.split(".") if node.module else []
            if node.level:
                parts = module.split(".")
                base = parts[: len(parts) - node.level + (module in PACKAGES)] + base
            if base[:1] == [FACE]:
                for alias in node.names:
                    yield Import(module, ".".join((*base, alias.name)), id(node) in for_types)


def touches_ray(tree: ast.AST) -> Iterator[int]:
    """Yield the lines on which Ray is imported, or looked for among the modules."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        elif isinstance(node, ast.Subscript):
            names = texts_of(node.slice)
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            names = [text for part in node.args[:1] for text in texts_of(part)] if called in LOOKS_FOR_A_MODULE else []
        elif isinstance(node, ast.Compare):
            names = texts_of(node.left)
        elif isinstance(node, ast.Constant) and IMPORTS_RAY.search(str(node.value)):
            names = ["ray"]
        if any(RAY.fullmatch(name) for name in names):
            yield getattr(node, "lineno", 0)


def texts_of(node: ast.AST) -> list[str]:
    """Return the text that an expression is, if it is one; of an f-string its beginning."""
    if isinstance(node, ast.JoinedStr) and node.values:
        return [text.rstrip(".") for text in texts_of(node.values[0])]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


IMPORTS = [found for module in MODULES for found in imports_of(module)]
BETWEEN_ROOMS = [found for found in IMPORTS if found.rooms[0] != found.rooms[1]]


@pytest.mark.parametrize(
    "code",
    [
        "import ray",
        "def late():\n    import ray.util as util",
        "from ray import remote",
        "from ray.util.metrics import Counter",
        'ray = sys.modules["ray"]',
        'ray = sys.modules.get("ray")',
        'raylet = sys.modules.get("ray._raylet")',
        'is_there = "ray" in sys.modules',
        'importlib.import_module("ray.util.state")',
        'importlib.import_module(f"ray.core.{name}")',
        'importlib.util.find_spec("ray")',
        'PROGRAM = """\nimport sys\nimport ray\n"""',
    ],
)
def test_each_way_to_ray_is_found(code: str) -> None:
    assert list(touches_ray(ast.parse(code)))


@pytest.mark.parametrize("code", ["import raymemprof", "from .ray import x", 'print("ray")', "import array"])
def test_what_only_looks_like_ray_is_not(code: str) -> None:
    assert not list(touches_ray(ast.parse(code)))


def test_only_the_cluster_knows_ray() -> None:
    found = {module: list(touches_ray(MODULES[module])) for module in MODULES if room_of(module) != "cluster"}
    assert {module: lines for module, lines in found.items() if lines and module not in KNOWS_RAY} == {}
    assert [module for module in KNOWS_RAY if not found.get(module)] == []  # an exception that is no longer needed


def test_each_room_has_a_floor() -> None:
    assert sorted(ROOMS | {FACE}) == sorted(room for floor in FLOORS for room in floor)


def test_imports_run_downwards() -> None:
    floors = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    wrong = {found for found in BETWEEN_ROOMS if floors[found.rooms[0]] >= floors[found.rooms[1]]}
    assert sorted(found for found in wrong if found[:2] not in UPWARDS or not found.is_for_types) == []
    assert {found[:2] for found in wrong} == UPWARDS  # an exception that is no longer needed


def test_no_module_imports_itself_by_a_detour() -> None:
    """Late imports count: they only hide a circle."""
    below: dict[str, set[str]] = {}
    for module, name, is_for_types in IMPORTS:
        other = name if name in MODULES else name.rpartition(".")[0]
        if other != module and not is_for_types:
            below.setdefault(module, set()).add(other)
    assert "raymemprof.recording.call" in below
    TopologicalSorter(below).prepare()  # raises `CycleError`, which names the circle


def test_what_another_module_imports_is_listed_as_public() -> None:
    unlisted = set()
    for module, name, _ in IMPORTS:
        other, _, what = name.rpartition(".")
        if name not in MODULES and other in MODULES and other != FACE and what not in listed_in(other):
            unlisted.add((module, name))
    assert unlisted == set()


def listed_in(module: str) -> set[str]:
    """Return the names in the `__all__` of a module."""
    for node in MODULES[module].body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()
