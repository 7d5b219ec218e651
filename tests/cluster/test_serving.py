"""What a node gives to others, and what it refuses: functions and files may be named anything."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof import CaptureError, cluster, profile_memory
from raymemprof import journal as contract
from raymemprof.reading.captures.model import Request
from raymemprof.reading.files import fetch, object_store_transfer, socket_transfer
from raymemprof.reading.reports import requests, targets
from tests.programs.several_nodes import Nodes

MIB = 2**20
SECRET = "known to nobody but the node"
NAMES = {
    "folders": "../../../escape",
    "absolute": "/etc/passwd",
    "lines": "new\nline\r\x1b[31m",
    "quotes": "quo\"te'`$(id);",
    "long": "long" * 125,
    "html": "</script><script>alert(1)</script><img src=x onerror=alert(2)>",
    "unicode": "größe_名前_🙂",
    "dots": "..",
    "nul": "nul\0nul",
}
REFUSED = {
    "absolute": "/etc/passwd",
    "folders": "../../etc/passwd",
    "ours but for folders": "../../raymemprof-x-local-0-1-1.bin",
    "below": "raymemprof-x/../../../etc/passwd.bin",
    "escaped": "..%2f..%2fetc%2fpasswd",
    "escaped and ours": "raymemprof-..%2f..%2fetc%2fpasswd.bin",
    "empty": "",
    "dot": ".",
    "nul": "raymemprof-\0.bin",
    "nul at the end": "raymemprof-x-local-0-1-1.bin\0/etc/passwd",
    "line": "raymemprof-x-local-0-1-1.bin\n",
    "long": "raymemprof-" + "x" * 5000 + ".bin",
    "somebody's": "raylet.out",
    "another ending": "raymemprof-secret.txt",
    "symlink": "raymemprof-link-local-0-1-1.bin",
    "symlink of a journal": "raymemprof-link-local-0-1-1.jsonl",
    "folder": "raymemprof-folder-local-0-1-1.bin",
    "fifo": "raymemprof-fifo-local-0-1-1.bin",
    "somebody else's": "raymemprof-theirs-local-0-1-1.bin",
    "a journal of somebody else's": "raymemprof-theirs-local-0-1-1.jsonl",
    "hard link": "raymemprof-hard-local-0-1-1.bin",
    "not there": "raymemprof-missing-local-0-1-1.bin",
}


@pytest.fixture(scope="module")
def calls(nodes: Nodes) -> dict[str, raymemprof.Call]:
    """Calls on node "two" of functions with such names."""
    import ray

    def named(name: str) -> Any:
        def function(size: int) -> int:
            return len(bytearray(size))

        function.__qualname__ = function.__name__ = name
        profiled = profile_memory(linger=0)(function)

        def run(size: int) -> int:
            return profiled(size)

        return ray.remote(num_cpus=1)(run).options(resources={"two": 1})

    ray.get([named(name).remote(3 * MIB) for name in NAMES.values()])
    deadline = time.monotonic() + 60
    while any(capture.status != "closed" for capture in raymemprof.captures()):
        assert time.monotonic() < deadline
    found = {call.name: call for call in raymemprof.calls()}
    assert sorted(found) == sorted(NAMES.values())
    return {key: found[name] for key, name in NAMES.items()}


@pytest.fixture(scope="module")
def _traps(nodes: Nodes, calls: dict[str, raymemprof.Call]) -> Iterator[None]:
    """Files in the log directory of "two" that are not what their names say."""
    logs = nodes["two"].logs
    secret = logs.parent / "secret"
    secret.write_text(SECRET * 100)
    (logs / "raymemprof-secret.txt").write_text(SECRET)
    (logs / "raylet.out").touch()
    made = [logs / REFUSED[key] for key in ("symlink", "symlink of a journal")]
    for path in made:
        path.symlink_to("../secret")
    (logs / REFUSED["folder"]).mkdir()
    os.mkfifo(logs / REFUSED["fifo"])
    # Ray lets anybody write to the logs of its sessions.
    (logs / REFUSED["hard link"]).hardlink_to(secret)
    made += [logs / REFUSED[key] for key in ("hard link", "somebody else's", "a journal of somebody else's")]
    if os.geteuid() == 0:
        journal = next(path for path in logs.glob("*.jsonl") if not path.is_symlink())
        for path in made[-2:]:
            path.write_bytes(journal.read_bytes())
            os.chown(path, 54321, 54321)
    yield
    for path in (*made, logs / REFUSED["fifo"], logs / "raymemprof-secret.txt", secret):
        path.unlink(missing_ok=True)
    (logs / REFUSED["folder"]).rmdir()


@pytest.mark.parametrize("key", NAMES)
def test_a_function_may_have_any_name(
    key: str, nodes: Nodes, calls: dict[str, raymemprof.Call], tmp_path: Path
) -> None:
    call = calls[key]
    assert (call.name, call.status, call.node_id) == (NAMES[key], "finished", nodes["two"].node_id)
    assert contract.is_ours(call.capture.name)
    assert nodes["two"].seen(call.capture).parent == nodes["two"].logs
    (again,) = raymemprof.calls(name=call.name)
    assert again == call
    row = raymemprof.Calls([call])
    assert json.loads(row.to_json())[0]["name"] == NAMES[key]
    heap = raymemprof.heap(call)
    assert 3 * MIB <= heap.peak < 3.2 * MIB
    for shown in (row, heap, heap.top(), raymemprof.captures(name=call.name)):
        assert not any(c in repr(shown) for c in "\r\0\x1b")
        page = shown._repr_html_()
        assert not re.search(r"<script[^>]*>\s*alert|</script><script", page)
        assert "<img" not in page
    reports = [draw(call) for draw in (raymemprof.flamegraph, raymemprof.table, raymemprof.speedscope)]
    for report in reports:
        assert report.path.parent == tmp_path
        assert report.path.stat().st_size > 500
        assert not set(report.path.name) & set("/\0\n\r\x1b\"'<>")
        assert "<script>alert" not in report.path.read_text() or report.kind == "speedscope"
        assert "<img src=x" not in report.path.read_text() or report.kind == "speedscope"
        assert "<script>alert" not in report._repr_html_()
    to = tmp_path / "to"
    (path,) = raymemprof.fetch(call, to)
    assert path.parent == to
    assert path.read_bytes() == nodes["two"].seen(call.capture).read_bytes()
    assert [one.name for one in raymemprof.calls(to) if one.task_id == call.task_id] == [NAMES[key]]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["to", *(report.path.name for report in reports)])
    assert all(contract.is_ours(path.name) for path in to.iterdir())


@pytest.mark.usefixtures("_traps")
@pytest.mark.parametrize("key", REFUSED)
def test_a_node_refuses_what_is_not_ours(key: str, nodes: Nodes) -> None:
    import ray

    name, two = REFUSED[key], nodes["two"].node_id
    answers = cluster.on_nodes(fetch._look_there, {two: ([name],)})
    assert answers.missing == ()
    (answer,) = answers.by_node[two]
    assert isinstance(answer, CaptureError)
    assert "\n" not in answer.reason
    assert answer.reason.endswith(".")
    data, _, (error,) = ray.get(cluster.ask(two, object_store_transfer.give, [(name, 0, 4096)]), timeout=60)
    assert not any(bytes(data))
    assert isinstance(error, CaptureError)
    with socket.create_server((ray.util.get_node_ip_address(), 0)) as listener:
        sending = cluster.ask(two, socket_transfer.send, [(name, 4096)], listener.getsockname()[:2], b"?")
        with listener.accept()[0] as connection, connection.makefile("rb") as sent:
            said = sent.read()
        assert ray.get(sending, timeout=60) is None
    assert said[:9] == b"?" + bytes(8)  # none of its bytes
    assert json.loads(said[17:]) == {"error": error.reason}
    answer = cluster.on_nodes(requests._read_there, {two: ([Request(name)],)}).by_node[two]
    assert answer.sum is None
    (failure,) = answer.failures
    assert SECRET not in failure.reason
    assert cluster.on_nodes(targets._have, {two: ({name},)}).by_node[two] == set()


@pytest.mark.usefixtures("_traps")
@pytest.mark.parametrize("key", REFUSED)
def test_what_is_not_ours_cannot_be_asked_for(
    key: str, nodes: Nodes, calls: dict[str, raymemprof.Call], tmp_path: Path
) -> None:
    name = REFUSED[key]
    call = dataclasses.replace(calls["dots"], capture=Path(name))
    capture = dataclasses.replace(raymemprof.captures(name=NAMES["dots"])[0], path=Path(name))
    to = tmp_path / "to"
    for target in (call, capture):
        with pytest.raises(CaptureError):
            raymemprof.fetch(target, to)
        with pytest.raises(CaptureError):
            raymemprof.heap(target)
        with pytest.raises(CaptureError):
            raymemprof.flamegraph(target)
    if key == "absolute":
        return  # it is here as well
    for read in (raymemprof.fetch, raymemprof.heap, raymemprof.flamegraph):
        with pytest.raises((CaptureError, FileNotFoundError, ValueError, OSError)) as caught:
            read(name)
        assert len(str(caught.value).splitlines()) <= 2
    assert [path.name for path in tmp_path.iterdir()] in ([], ["to"])
    assert not to.exists() or list(to.iterdir()) == []


@pytest.mark.usefixtures("_traps")
def test_traps_do_not_spoil_a_listing(nodes: Nodes, calls: dict[str, raymemprof.Call]) -> None:
    listed = raymemprof.calls()
    assert (len(listed), listed.missing) == (len(NAMES), ())
    captures = raymemprof.captures()
    assert captures.missing == ()
    if os.geteuid() == 0:
        assert "it belongs to user 54321" in " ".join(repr(listed).split())
        assert not {capture.path.name for capture in captures} & set(REFUSED.values())
    assert {call.capture for call in listed} <= {capture.path for capture in captures}


def test_questions_leave_nothing_behind(nodes: Nodes, run_script: Any) -> None:
    code = f"""
import ray, raymemprof
from ray.experimental.internal_kv import _internal_kv_list
for address in ({nodes.address!r}, "ray://127.0.0.1:{nodes.client_port}", {nodes.address!r}):
    for attempt in range(4):  # on a busy machine Ray Client's server takes longer to start than Ray waits
        try:
            ray.init(address=address, logging_level="ERROR", log_to_driver=False)
            break
        except ConnectionAbortedError:
            if attempt == 3:
                raise
    functions = lambda: len(_internal_kv_list(b"RemoteFunction", namespace=b"fun"))
    assert len(raymemprof.captures().missing) == 0
    if "ray://" not in address:
        before = functions()
        for _ in range(5):
            raymemprof.calls()
        assert functions() == before > 0, (functions(), before)
    ray.shutdown()
"""
    run_script(code)


def test_a_journal_that_names_files_elsewhere(nodes: Nodes, calls: dict[str, raymemprof.Call], tmp_path: Path) -> None:
    logs = nodes["two"].logs
    victim = logs.parent / "victim.bin"
    victim.write_text(SECRET)
    process = {"event": "process", "pid": 2**22 + 1, "created": 0.0, "host": "elsewhere", "node_id": None}
    lines: list[dict[str, Any]] = [process]
    for number, capture in enumerate(
        ["../victim.bin", str(nodes["two"].folder / victim.relative_to(nodes["two"].store))]
    ):
        names = {"name": "evil", "kind": "task", "task_id": None, "attempt": 0, "actor_id": None, "job_id": None}
        begin = {"event": "begin", "call": number, "time": 1.0 + number, "memory": 1, "slot": 0, "turn": 0}
        lines.append({"event": "open", "capture": capture, "time": 1.0, "native": False})
        lines.append({**begin, **names, "capture": capture})
        lines.append({"event": "close", "capture": capture, "time": 2.0})
    journal = logs / "raymemprof-evil-local-0-1-1.jsonl"
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    os.utime(journal, (1, 1))
    try:
        for call in raymemprof.calls(name="evil"):
            with pytest.raises(CaptureError):
                raymemprof.heap(call)
            with pytest.raises(CaptureError):
                raymemprof.fetch(call, tmp_path)
        assert list(tmp_path.iterdir()) == []
        raymemprof.clean(name="evil")
        assert victim.read_text() == SECRET
    finally:
        victim.unlink(missing_ok=True)
        journal.unlink(missing_ok=True)
