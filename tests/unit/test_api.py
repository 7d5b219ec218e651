"""The shape of the public API: the parameters of functions, the attributes of types, and the rules that names keep."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from click import Command, Group

import raymemprof
from raymemprof.cli import main
from raymemprof.display.record import Record, names
from raymemprof.reading.catalog.filters import Filters
from raymemprof.recording.options import Options
from tests.paths import ROOT

FUNCTIONS = """
advise(calls: Iterable[Call] | None = None) -> Recommendations
attach(actor: Any, *, seconds: float | None = None, timeout: float = 60.0, **options: Any) -> Attachment
calls(source: Source = None, *, name: str | None = None, status: str | None = None, kind: str | None = None, task_id:
        str | None = None, actor_id: str | None = None, job_id: str | None = None, node_id: str | None = None, context:
        str | None = None) -> Calls
captures(source: Source = None, *, name: str | None = None, status: str | None = None, kind: str | None = None,
        task_id: str | None = None, actor_id: str | None = None, job_id: str | None = None, node_id: str | None =
        None, context: str | None = None) -> Captures
clean(source: Source = None, *, name: str | None = None, status: str | None = None, kind: str | None = None, task_id:
        str | None = None, actor_id: str | None = None, job_id: str | None = None, node_id: str | None = None,
        context: str | None = None, older_than: float | timedelta | None = None, all: bool = False, dry_run: bool =
        False) -> RemovedFiles
doctor(source: Source = None) -> Diagnosis
explain(error_or_text: BaseException | str, source: Source = None) -> Explanation
fetch(target: Target, to: str | PathLike[str] = '.') -> Fetched
flamegraph(target: Target, output: str | PathLike[str] | None = None, *, view: str = 'peak', temporal: bool = False,
        offline: bool = True, overwrite: bool = False) -> Report
heap(target: Target) -> Heap
ooms(source: Source = None) -> Kills
profile_memory(target: Any = None, /, **options: Any) -> Any
runtime_env(base: Mapping[str, Any] | None = None, *, include: str | Sequence[str] = (), exclude: str | Sequence[str] =
        (), **options: Any) -> dict[str, Any]
speedscope(target: Target, output: str | PathLike[str] | None = None, *, view: str = 'peak', overwrite: bool = False)
        -> Report
summary(source: Source = None, *, name: str | None = None, kind: str | None = None, job_id: str | None = None, node_id:
        str | None = None, lines: bool = True) -> Summary
table(target: Target, output: str | PathLike[str] | None = None, *, view: str = 'peak', offline: bool = True,
        overwrite: bool = False) -> Report
timeline(what: Target | None = None, output: str | PathLike[str] | None = None, *, name: str | None = None, status:
        str | None = None, kind: str | None = None, task_id: str | None = None, actor_id: str | None = None, job_id: str
        | None = None, node_id: str | None = None, overwrite: bool = False) -> Report
usage() -> Usage
watch(seconds: float = 3600.0) -> Watch
"""
"""Every public function."""

OPTIONS = """
enabled: bool | None
heap: bool | None
native: bool | None
python_allocators: bool | None
follow_fork: bool | None
switch_allocators: bool | None
interval_ms: float | None
linger: float | None
every: int | None
keep: int | None
max_bytes: int | None
directory: str | None
"""
"""What `profile_memory` takes by name."""

TYPES = """
class AttachError(Exception)
    reason: str
class Attached
    name: str
    actor_id: str
    node_id: str | None
    pid: int
    started_at: datetime
    waited: float
    duration: float | None
    ended_by: str
    call_count: int | None
    memory_before: int
    memory_after: int | None
    kept: int | None
    notes: tuple[str, ...]
    grew: int | None
class Attachment
    waited: float
    notes: tuple[str, ...]
    result: Attached | None
    def wait(timeout: float | None = None) -> Attached
    def end() -> Attached
class Call
    name: str
    kind: str
    task_id: str | None
    attempt: int | None
    actor_id: str | None
    job_id: str | None
    node_id: str | None
    worker_id: str | None
    pid: int
    started_at: datetime
    duration: float | None
    status: str
    error: str | None
    memory_before: int
    peak_memory: int
    memory_after: int | None
    capture: Path | None
    note: str | None
    children_peak: int
    children: tuple[ChildProcess, ...]
    children_left: tuple[ChildProcess, ...]
    children_count: int
    children_before: int
    own_peak: int
    children_copied: int | None
    deployment: str | None
    context: str | None
    ray_data_peak: int | None
    growth: int
class Calls(Rows[Call])
class Capture
    path: Path
    size: int
    status: str
    opened_at: datetime | None
    closed_at: datetime | None
    native: bool
    pid: int | None
    node_id: str | None
    worker_id: str | None
    call_count: int
class CaptureError(Exception)
    path: Path
    reason: str
class Captures(Rows[Capture])
class Check
    question: str
    verdict: str
    answer: str
class ChildProcess
    pid: int
    name: str
    memory: int
class Diagnosis
    when: datetime
    source: str | None
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    unchecked: tuple[str, ...]
    kills: Kills
    calls: Calls
    usage: Usage | None
    recommendations: Recommendations
    missing: tuple[MissingNode, ...]
    silent: tuple[MissingNode, ...]
    chosen: str
    healthy: bool | None
    summary: str
    def save(output: str | PathLike[str] = 'report.html', *, overwrite: bool = False) -> Report
class Explanation
    cause: str
    node_id: str | None
    node_ip: str | None
    used: int | None
    limit: int | None
    threshold: int | None
    victims: tuple[Victim, ...]
    top_processes: tuple[TopProcess, ...]
    calls: Calls
    lines: Lines
    advice: tuple[str, ...]
    summary: str
class Fetched(list[Path])
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    def to_json() -> str
class Finding
    severity: str
    illness: str
    title: str
    name: str | None
    node_id: str | None
    evidence: tuple[str, ...]
    next_steps: tuple[str, ...]
    kill_count: int
    lines: Lines
    calls: Calls
class FunctionSummary
    name: str
    kind: str
    call_count: int
    finished_count: int
    failed_count: int
    cancelled_count: int
    killed_count: int
    running_count: int
    p50: int
    p95: int
    peak_memory: int
    growth: int
    kept: int
    traced_count: int
    capture_bytes: int
    first_started_at: datetime
    last_started_at: datetime
    node_ids: tuple[str, ...]
    largest: Call | None
    guilty_line: Line | None
    deployment: str | None
    ray_data_peak: int | None
class Heap
    title: str
    peak: int
    alive_at_end: int
    allocations: int
    call_count: int
    killed: bool
    at_peak: Lines
    at_end: Lines
    by_name: tuple[HeapByName, ...]
    left_out: tuple[str, ...]
    reserved: int
    shared: int
    grew: int | None
    retained: int | None
    unseen: int | None
    released: int
    retained_before: int | None
    retained_at_end: int | None
    notes: tuple[str, ...]
    checked: bool
    in_children: int
    children_count: int
    summary: str
    balance: str
    def top(n: int = 10, *, view: str | None = None) -> Lines
class HeapByName
    name: str
    call_count: int
    peak: int
    mean: int
class Kill
    when: datetime
    node_id: str | None
    name: str | None
    task_id: str | None
    attempt: int | None
    actor_id: str | None
    worker_id: str | None
    pid: int
    memory: int | None
    cause: str
    call: Call | None
    top_processes: tuple[TopProcess, ...]
class Kills(Rows[Kill])
    retries: tuple[Retry, ...]
    kill_counter: int | None
class Line
    function: str
    file: str
    line: int
    bytes: int
    allocations: int
    mean: int | None
    reserved: int
    shared: int
    basis: str
    text: str
    is_import: bool
    location: str
class Lines(Rows[Line])
class MissingNode
    node_id: str
    node_ip: str
    reason: str
class NodeUsage
    node_id: str
    node_ip: str
    is_head: bool
    total: int
    used: int
    available: int
    threshold: int | None
    object_store_used: int | None
    object_store_primary: int | None
    object_store_capacity: int | None
    object_store_held: int | None
    spilled: int | None
    processes: Processes
    shared_memory: int | None
    shared_memory_owners: SharedMemoryOwners
    kernel: int | None
    huge_pages: int
    isolation: ResourceIsolation | None
    references: tuple[ObjectReferences, ...]
    object_store_kept: int | None
    is_store_full: bool
    ray_kill_limit: int | None
    kill_limit: int
    counted: int
    left: int
    reserve: tuple[int, int] | None
    killer: str
    object_store: int
    workers: int
    system: int
    explained: int
    unexplained: int
class Nodes(Rows[NodeUsage])
class ObjectReferences
    pid: int
    kind: str
    call_site: str | None
    object_count: int
    size: int
class ProcessUsage
    pid: int
    role: str
    name: str | None
    rss: int
    shared: int
    memory: int
    task_id: str | None
    actor_id: str | None
    job_id: str | None
    worker_id: str | None
    node_id: str
    node_ip: str
    pss: int | None
    parent_pid: int | None
    why_uncounted: str | None
    counted: int
class Processes(Rows[ProcessUsage])
class ProfileMemory
class Recommendation
    name: str
    kind: str
    call_count: int
    peak_count: int
    p50: int
    p95: int
    max: int
    needs: int
    memory: int
    num_cpus: float
    fits: Mapping[str, int]
    admits: Mapping[str, int | None]
    warnings: tuple[str, ...]
    basis: str
    ray_data_peak: int | None
class Recommendations(Rows[Recommendation])
class RemovedFile
    path: Path
    size: int
    node_id: str | None
    written_at: datetime
class RemovedFiles(Rows[RemovedFile])
    dry_run: bool
class Report
    path: Path
    kind: str
    title: str
    left_out: tuple[str, ...]
    def open() -> None
class ResourceIsolation
    user_used: int
    user_limit: int | None
    system_used: int
    system_reserved: int
    shared: int
class Retry
    name: str | None
    task_id: str
    kill_count: int
    since: datetime
    pause: float | None
    is_over: bool
class Rows
    missing: tuple[MissingNode, ...]
    left_out: tuple[str, ...]
    chosen: str
    def sorted(key: Callable[[T], Any] | str) -> Self
    def to_pandas() -> DataFrame
    def to_json() -> str
class SeenPeak
    name: str
    kind: str
    node_id: str
    memory: int
    at_once: int
    together: int
    process_count: int
    memory_by_process: Mapping[int, int]
    first_at: datetime
    last_at: datetime
class SeenPeaks(Rows[SeenPeak])
class SharedMemoryOwner
    kind: str
    name: str | None
    piece_count: int
    memory: int
    pid: int | None
    role: str | None
    process_name: str | None
    sharer_count: int
    user: str | None
    task_id: str | None
    actor_id: str | None
    node_id: str
    node_ip: str
class SharedMemoryOwners(Rows[SharedMemoryOwner])
class Summary(Rows[FunctionSummary])
class TopProcess
    pid: int | None
    memory: int
    command: str
class Usage
    when: datetime
    nodes: Nodes
    missing: tuple[MissingNode, ...]
    processes: Processes
    shared_memory_owners: SharedMemoryOwners
    tables: tuple[Rows[Any], ...]
    def to_pandas() -> DataFrame
class Victim
    name: str | None
    task_id: str | None
    actor_id: str | None
    worker_id: str | None
    pid: int | None
    memory: int | None
class Watch
    started_at: datetime
    node_ids: tuple[str, ...]
    missing: tuple[MissingNode, ...]
    is_cut_off: bool
    def peaks() -> SeenPeaks
    def wait() -> None
    def end() -> None
"""
"""Every public type, with its attributes and methods. A record has `to_json()` too, and a table what `Rows` has."""

INTERNAL = {
    "Call.place",
    "Call.within",
    "Call.lies_on",
    "Call.journal",
    "Capture.lies_on",
    "Report.shown",
    "Victim.node_id",
}
"""Fields that only raymemprof itself uses: they are in no repr, table or JSON."""
ALIASES = {"Source", "Target"}
"""Public names of types that parameters take."""
FROM_ELSEWHERE = {
    "Any",
    "BaseException",
    "Callable",
    "DataFrame",
    "Exception",
    "Iterable",
    "Mapping",
    "Path",
    "PathLike",
    "Self",
    "Sequence",
    "T",
}
"""Types in annotations that are Python's or pandas'."""
REPEATED = {"Usage": {"processes", "shared_memory_owners", "tables"}}
"""Attributes that are not in JSON, since they repeat what others hold."""
IN_A_SHELL = {
    "target": "captures",
    "calls": "source",
    "what": "source",
    "error_or_text": "text",
    "overwrite": "force",
    "all": "everything",
}
"""Parameters that commands have under another name."""
RECORDING = (raymemprof.attach, raymemprof.profile_memory, raymemprof.runtime_env, raymemprof.watch)
"""Functions that return what records or watches, or what is Ray's."""
FILTERS = ("name", "status", "kind", "task_id", "actor_id", "job_id", "node_id", "context")


def public() -> dict[str, Any]:
    """Return what is exported, by name."""
    return {name: getattr(raymemprof, name) for name in raymemprof.__all__ if name != "__version__"}


def classes() -> dict[str, type]:
    return {name: found for name, found in public().items() if isinstance(found, type)}


def functions() -> dict[str, Any]:
    return {name: found for name, found in public().items() if inspect.isfunction(found)}


def annotation(text: Any) -> str:
    """Write an annotation as its author did, without the names of modules."""
    if text is inspect.Parameter.empty:
        return ""
    return re.sub(r"\b[a-z_]+\.(?=[A-Za-z])", "", text if isinstance(text, str) else text.__name__)


def signature(function: Any) -> str:
    """Write a function's parameters and what it returns."""
    parts: list[str] = []
    found = list(inspect.signature(function).parameters.values())
    for number, one in enumerate(found):
        before = found[number - 1].kind if number else None
        if one.kind is one.KEYWORD_ONLY and before not in (one.KEYWORD_ONLY, one.VAR_POSITIONAL):
            parts.append("*")
        if before is one.POSITIONAL_ONLY and one.kind is not one.POSITIONAL_ONLY:
            parts.append("/")
        if one.name != "self":
            stars = {one.VAR_KEYWORD: "**", one.VAR_POSITIONAL: "*"}.get(one.kind, "")
            default = "" if one.default is one.empty else f" = {one.default!r}"
            parts.append(f"{stars}{one.name}: {annotation(one.annotation)}{default}")
    return f"({', '.join(parts)}) -> {annotation(inspect.signature(function).return_annotation)}"


def own_classes(kind: type) -> list[type]:
    """Return a public type and the private ones that it is made of, those first."""
    private = [base for base in kind.__mro__[1:] if base.__module__.startswith("raymemprof") and base is not Record]
    return [base for base in reversed(private) if base.__name__ not in raymemprof.__all__] + [kind]


def attributes(kind: type) -> dict[str, str]:
    """Return the public attributes that a type adds, with their types: fields first, then properties."""
    hidden = {one.name for one in dataclasses.fields(kind) if not one.repr} if dataclasses.is_dataclass(kind) else set()
    found: dict[str, str] = {}
    for base in own_classes(kind):
        for name, written in vars(base).get("__annotations__", {}).items():
            if name[0] != "_" and name not in hidden:
                found[name] = annotation(written)
    for base in own_classes(kind):
        for name, value in vars(base).items():
            if isinstance(value, property) and name[0] != "_":
                assert value.fget is not None
                found[name] = annotation(value.fget.__annotations__["return"])
    return found


def methods(kind: type) -> Iterator[str]:
    for name, value in vars(kind).items():
        if inspect.isfunction(value) and name[0] != "_":
            yield f"def {name}{signature(value)}"


def base_of(kind: type) -> str:
    """Write what a table is a table of, or what else a type derives from that is not ours alone."""
    (base,) = getattr(kind, "__orig_bases__", kind.__bases__)[:1]
    row = getattr(base, "__args__", ())
    if issubclass(kind, raymemprof.Rows) and kind is not raymemprof.Rows:
        return f"(Rows[{row[0].__name__}])"
    if issubclass(kind, list):
        return f"(list[{row[0].__name__}])"
    return "(Exception)" if issubclass(kind, Exception) else ""


def shape_of_types() -> list[str]:
    lines: list[str] = []
    for name, kind in sorted(classes().items()):
        lines.append(f"class {name}{base_of(kind)}")
        lines += [f"    {attribute}: {written}" for attribute, written in attributes(kind).items()]
        lines += [f"    {method}" for method in methods(kind)]
    return lines


def lines_of(text: str) -> list[str]:
    """Return the entries of a table; a line that is indented by eight continues the one before."""
    return text.replace("\n        ", " ").strip("\n").splitlines()


def test_functions() -> None:
    assert [f"{name}{signature(found)}" for name, found in sorted(functions().items())] == lines_of(FUNCTIONS)
    assert [f"{one.name}: {one.type}" for one in dataclasses.fields(Options)] == lines_of(OPTIONS)


def test_types() -> None:
    assert shape_of_types() == lines_of(TYPES)


def test_names() -> None:
    assert raymemprof.__all__ == sorted(set(raymemprof.__all__))
    assert public().keys() == functions().keys() | classes().keys() | ALIASES
    assert {
        f"{name}.{one.name}"
        for name, kind in classes().items()
        if dataclasses.is_dataclass(kind)
        for one in dataclasses.fields(kind)
        if not one.repr
    } == INTERNAL


def test_every_type_that_is_named_is_exported() -> None:
    named = set(re.findall(r"\b[A-Z]\w*", re.sub(r"'[^']*'|None|True|False", "", "\n".join((FUNCTIONS, TYPES)))))
    assert named - FROM_ELSEWHERE - set(raymemprof.__all__) == set()


def test_each_name_is_in_the_reference_once() -> None:
    listed = re.findall(r"^::: raymemprof\.(\w+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(public())


def test_what_is_returned_has_json() -> None:
    for name, function in functions().items():
        returned = re.match(r"\w+", annotation(inspect.signature(function).return_annotation))
        if function not in RECORDING:
            assert returned is not None
            assert hasattr(getattr(raymemprof, returned[0]), "to_json"), name
    rows = dict(re.findall(r"^class (\w+)\(Rows\[(\w+)\]\)", TYPES, re.MULTILINE))
    assert rows.keys() == {name for name, kind in classes().items() if issubclass(kind, raymemprof.Rows)} - {"Rows"}
    assert all(issubclass(getattr(raymemprof, row), Record) for row in rows.values())
    without = {name for name, kind in classes().items() if not hasattr(kind, "to_json")}
    assert without == {"AttachError", "Attachment", "CaptureError", "ProfileMemory", "ResourceIsolation", "Watch"}


def test_json_has_the_names_of_the_attributes() -> None:
    for name, kind in classes().items():
        if issubclass(kind, Record):
            assert set(names(kind)) == attributes(kind).keys() - REPEATED.get(name, set()), name


def test_a_name_has_one_type() -> None:
    """A value that may be unknown has the same type as one that is known."""
    types: dict[str, set[str]] = {}
    for kind in classes().values():
        for name, written in attributes(kind).items():
            types.setdefault(name, set()).add(written.removesuffix(" | None"))
    assert {name: found for name, found in types.items() if len(found) > 1} == {}


def test_what_names_end_in_says_what_they_are() -> None:
    for kind in classes().values():
        for name, written in attributes(kind).items():
            known = written.removesuffix(" | None")
            for ending, expected in (("_count", "int"), ("_at", "datetime"), ("_id", "str"), ("pid", "int")):
                assert not name.endswith(ending) or known == expected, (kind, name)
            assert not name.startswith("is_") or written == "bool", (kind, name)
            assert known != "datetime" or name.endswith("_at") or name in ("when", "since"), (kind, name)


def test_a_parameter_is_the_same_everywhere() -> None:
    found: dict[str, set[tuple[str, Any]]] = {}
    for function in functions().values():
        for one in inspect.signature(function).parameters.values():
            if function not in RECORDING:
                found.setdefault(one.name, set()).add((annotation(one.annotation), one.default))
    assert {name: kinds for name, kinds in found.items() if len(kinds) > 1} == {}
    assert found["overwrite"] == {("bool", False)}


def test_filters_are_the_same_everywhere() -> None:
    assert tuple(one.name for one in dataclasses.fields(Filters)) == (*FILTERS, "since")  # which the magic uses alone
    for function in (raymemprof.calls, raymemprof.captures, raymemprof.clean):
        assert tuple(inspect.signature(function).parameters)[1 : 1 + len(FILTERS)] == FILTERS, function
    filtered = {}
    for name, command in commands().items():
        options = [one.name for one in command.params]
        if "task_id" in options:
            start = options.index("name")
            filtered[name] = tuple(options[start : start + len(FILTERS)])
    assert filtered == dict.fromkeys(
        ("calls", "captures", "heap", "flamegraph", "table", "speedscope", "fetch", "clean", "advise", "timeline"),
        FILTERS,
    )


def test_what_functions_take_commands_take() -> None:
    assert commands().keys() - {"run"} == functions().keys() - {"profile_memory"}
    for name, command in commands().items():
        if name == "run":  # there is no such function: a job that runs already cannot be run
            continue
        parameters = inspect.signature(getattr(raymemprof, name)).parameters.keys() - {"options"}
        assert {IN_A_SHELL.get(one, one) for one in parameters} <= {one.name for one in command.params}, name


def commands() -> dict[str, Command]:
    assert isinstance(main, Group)
    return {name.replace("-", "_"): command for name, command in main.commands.items()}


def test_what_came_of_attaching_is_read_as_a_sentence() -> None:
    when = datetime.now(timezone.utc)
    ended = raymemprof.Attached("Cache", "ab" * 16, None, 7, when, 0.1, 30.0, "seconds", 5, 2**20, 3 * 2**20, None, ())
    assert repr(ended) == str(ended)
    assert repr(ended).startswith("Cache (pid 7): 5 calls recorded in 30.0 s")
