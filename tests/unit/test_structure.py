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
    {"cells", "host", "ownership"},
)
"""Rooms from top to bottom. A room imports what is below it, never what is beside or above it."""
UPWARDS = {
    ("raymemprof.cli.app", "raymemprof.__version__"): "the version stands in the public face",
    (
        "raymemprof.cluster.ask",
        "raymemprof.__version__",
    ): "the version stands in the public face; nodes must have the same",
    ("raymemprof.display.rows", "raymemprof.cluster.MissingNode"): "for type checking only",
    (
        "raymemprof.cluster.actors",
        "raymemprof.__version__",
    ): "the version stands in the public face; an actor's node must have the same",
}
"""Imports that run upwards, each with the reason why it is left."""
KNOWS_RAY: dict[str, str] = {}
"""Modules outside `cluster` that import Ray or look for it, each with the reason."""
LOOKS_FOR_A_MODULE = {"__import__", "find_spec", "get", "import_module"}
RAY = re.compile(r"ray(\.\w+)*")
IMPORTS_RAY = re.compile(r"^\s*(import|from) ray\b", re.MULTILINE)


class Import(NamedTuple):
    """What a module takes from this package: the full names of both."""

    module: str
    name: str

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
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == FACE:
                    yield Import(module, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module.split(".") if node.module else []
            if node.level:
                parts = module.split(".")
                base = parts[: len(parts) - node.level + (module in PACKAGES)] + base
            if base[:1] == [FACE]:
                for alias in node.names:
                    yield Import(module, ".".join((*base, alias.name)))


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
    assert sorted(found for found in wrong if found not in UPWARDS) == []
    assert sorted(found for found in UPWARDS if found not in wrong) == []  # an exception that is no longer needed


def test_no_circle_between_rooms() -> None:
    below: dict[str, set[str]] = {}
    for found in BETWEEN_ROOMS:
        if found not in UPWARDS:
            below.setdefault(found.rooms[0], set()).add(found.rooms[1])
    TopologicalSorter(below).prepare()  # raises `CycleError`, which names the circle


def test_no_circle_within_the_cluster() -> None:
    below: dict[str, set[str]] = {}
    for module, name in IMPORTS:
        other = name if name in MODULES else name.rpartition(".")[0]
        if {room_of(module), room_of(other)} == {"cluster"} and other != module:
            below.setdefault(module, set()).add(other)
    assert f"{FACE}.cluster.ask" in below
    TopologicalSorter(below).prepare()
