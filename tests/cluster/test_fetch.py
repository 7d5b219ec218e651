"""`fetch()`: captures come from the nodes they lie on, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import json
import os
import pty
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import raymemprof
from raymemprof import CaptureError, cluster, profile_memory
from raymemprof.reading.files import object_store_transfer, socket_transfer
from raymemprof.reading.files.incoming_file import Arrival
from tests.programs.several_nodes import Nodes, free_port

asking = importlib.import_module("raymemprof.cluster.ask")
"""The module: `cluster.ask` is the function."""
MIB = 2**20
BIG = "raymemprof-big-local-0-1-1.bin"
BIG_SIZE = 150 * 10**6
NAMES = ("one", "two", "three")
COMMAND = Path(sys.executable).with_name("raymemprof")


@pytest.fixture(scope="module")
def calls(nodes: Nodes) -> raymemprof.Calls:
    """Two calls on each node."""
    import ray

    @ray.remote(num_cpus=1)
    @profile_memory(linger=0)
    def load(size: int) -> int:
        return len(bytearray(size))

    ray.get([load.options(resources={name: 1}).remote(MIB) for name in NAMES for _ in range(2)])
    deadline = time.monotonic() + 60
    while any(capture.status != "closed" for capture in raymemprof.captures()):
        assert time.monotonic() < deadline
    return raymemprof.calls(name="load")


@pytest.fixture(scope="module")
def big(nodes: Nodes) -> Iterator[Path]:
    """A large file of a capture's name on node "two", as this process sees it."""
    path = nodes["two"].logs / BIG
    piece = random.Random(0).randbytes(10**6)
    with path.open("wb") as file:
        for number in range(BIG_SIZE // len(piece)):
            file.write(number.to_bytes(8, "big") + piece[8:])
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that nodes are asked to run from here on."""
    names: list[str] = []
    ask = cluster.ask

    def note(node_id: str, function: Callable[..., Any], *rest: Any, **more: Any) -> Any:
        names.append(function.__name__)
        return ask(node_id, function, *rest, **more)

    for module in (cluster, asking):
        monkeypatch.setattr(module, "ask", note)
    return names


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has files come through the object store from here on: as where this process cannot be connected to."""

    def refuse(_: Any) -> None:
        raise OSError("Cannot assign requested address")

    return lambda: monkeypatch.setattr(socket_transfer._Reception, "server_bind", refuse)


SLOWLY = """
import time
from raymemprof.reading.files.incoming_file import Arrival
write = Arrival.write
def write_slowly(*arguments):
    write(*arguments)
    time.sleep(0.003)
Arrival.write = write_slowly
"""
"""Has a script take what comes so slowly that there is time to interrupt it."""


def checksum(path: os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:
    found = hashlib.sha256()
    while piece := file.read(MIB):
        found.update(piece)
    return found.hexdigest()


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_arrive_as_they_are_with_their_journals(
    nodes: Nodes, calls: raymemprof.Calls, tmp_path: Path, run_script: Any
) -> None:
    to = tmp_path / "made" / "for it"
    fetched = raymemprof.fetch(calls, to)
    assert fetched == list(dict.fromkeys(to / call.capture.name for call in calls))
    there = {path.name: path for node in nodes.nodes for path in node.logs.glob("raymemprof-*.bin")}
    assert {path.name for path in fetched} == set(there)
    for path in fetched:
        assert checksum(path) == checksum(there[path.name])
        assert path.stat().st_mtime_ns == there[path.name].stat().st_mtime_ns
    journals = {path.name: path for node in nodes.nodes for path in node.logs.glob("raymemprof-*.jsonl")}
    texts = {name for name in files_in(to) if name.startswith("raymemprof-source-")}
    assert texts
    assert files_in(to) == sorted([*there, *journals, *texts])
    for name, path in journals.items():
        assert (to / name).read_text() == path.read_text()
    code = f"""
import json, raymemprof
calls = raymemprof.calls({str(to)!r}, name="load")
print(json.dumps([[[call.node_id, call.task_id] for call in calls], raymemprof.heap(calls).peak]))
"""
    listed, peak = json.loads(run_script(code))  # without a cluster
    assert listed == [[call.node_id, call.task_id] for call in calls]
    assert MIB * len(calls) <= peak < MIB * len(calls) * 1.2


def test_what_is_there_is_not_brought_again(
    nodes: Nodes, calls: raymemprof.Calls, tmp_path: Path, asked: list[str]
) -> None:
    first = raymemprof.fetch(calls, tmp_path)
    assert asked.count("send") > 0
    asked.clear()
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in first}
    assert raymemprof.fetch(calls, tmp_path) == first
    captures = {capture.path.name for capture in raymemprof.captures(name="load")}
    assert {path.name for path in first} == captures
    assert before == {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in first}
    assert asked.count("send") == 0
    first[-1].write_bytes(b"x" * first[-1].stat().st_size)  # same size, another time of change
    raymemprof.fetch(calls, tmp_path)
    there = {path.name: path for node in nodes.nodes for path in node.logs.glob("raymemprof-*.bin")}
    assert checksum(first[-1]) == checksum(there[first[-1].name])


def test_a_file_that_is_large(nodes: Nodes, big: Path, tmp_path: Path, run_script: Any) -> None:
    code = f"""
import json, threading, time, psutil, ray, raymemprof
ray.init(address={nodes.address!r}, logging_level="ERROR", log_to_driver=False)
raymemprof.calls()
process = psutil.Process()

def memory():
    info = process.memory_info()
    return info.rss - info.shared

before = most = memory()
done = threading.Event()
def watch():
    global most
    while not done.wait(0.005):
        most = max(most, memory())
thread = threading.Thread(target=watch)
thread.start()
start = time.monotonic()
(path,) = raymemprof.fetch({BIG!r}, {str(tmp_path)!r})
seconds = time.monotonic() - start
done.set()
thread.join()
print(json.dumps([str(path), most - before, seconds]))
"""
    path, grown, seconds = json.loads(run_script(code))
    print(f"fetching {BIG_SIZE / 1e6:.0f} MB took {seconds:.1f} s and {grown / 1e6:.0f} MB of memory")
    assert path == str(tmp_path / BIG)
    assert checksum(path) == checksum(big)
    assert grown < 100e6
    assert files_in(tmp_path) == [BIG, "script.py"]


def test_a_fetch_that_is_killed(nodes: Nodes, big: Path, tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    code = f"""{SLOWLY}
import ray, raymemprof
ray.init(address={nodes.address!r}, logging_level="ERROR", log_to_driver=False)
raymemprof.fetch({BIG!r}, {str(tmp_path)!r})
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd="/")
    try:

        def begun() -> bool:
            assert process.poll() is None, "it ended before it was killed"
            return any(path.name.endswith(".part") and path.stat().st_size for path in tmp_path.iterdir())

        wait_for(begun, 60)
    finally:
        process.kill()
        process.wait()
    (left,) = files_in(tmp_path)
    assert left.startswith(f".{BIG}")
    assert left.endswith(f".{process.pid}.part")
    others = tmp_path / left.replace(f".{process.pid}.", f".{os.getpid()}.")
    others.touch()  # of a process that lives: it may be at work
    raymemprof.fetch(BIG, tmp_path)
    assert not (tmp_path / left).exists()
    assert checksum(tmp_path / BIG) == checksum(big)


@pytest.mark.parametrize("how", ["a bit", "short"])
def test_a_piece_that_goes_wrong(
    how: str, nodes: Nodes, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_pieces: Callable[[], None]
) -> None:
    in_pieces()
    whole, piece = object_store_transfer.give, object_store_transfer._PIECE

    def damaged(parts: list[tuple[str, int, int]], to_client: bool = False) -> tuple[Any, int, Any]:
        """On the node: what it reads goes wrong."""
        data, checksum, answers = whole(parts, to_client)
        if parts[0][1] != 2 * piece:
            return data, checksum, answers
        read = bytes(data)
        if how == "short":
            return read[:-1], zlib.crc32(read[:-1]), answers
        return bytes([read[0] ^ 1]) + read[1:], checksum, answers

    with monkeypatch.context() as during:
        during.setattr(object_store_transfer, "give", damaged)
        with pytest.raises(CaptureError, match="what arrived is not what was sent") as caught:
            raymemprof.fetch(BIG, tmp_path)
    assert Path(caught.value.path).name == BIG
    assert files_in(tmp_path) == []
    raymemprof.fetch(BIG, tmp_path)
    assert checksum(tmp_path / BIG) == checksum(big)


def sending(what: str, once: Path) -> Callable[..., str | None]:
    """A `send` to which something happens after 100 MB, on the node that it runs on, as long as the file is there."""

    def send(*arguments: Any) -> str | None:
        from raymemprof.reading.files import socket_transfer

        def send_bytes(out: Any, descriptor: int, size: int) -> Any:
            class Out:
                sent = 0

                def write(self, data: memoryview) -> None:
                    if self.sent < 10**8 <= self.sent + len(data):
                        once.unlink()
                        if what == "a bit":
                            data = memoryview(bytes([data[0] ^ 1]) + bytes(data[1:]))
                        elif what == "cut":
                            out.flush()
                            raise OSError("it is cut")
                        elif what == "killed":
                            out.flush()
                            os.kill(os.getpid(), signal.SIGKILL)
                        elif what == "stopped":
                            once.with_name("pid").write_text(str(os.getpid()))
                            os.kill(os.getpid(), signal.SIGSTOP)
                    self.sent += len(data)
                    out.write(data)

            return whole(Out(), descriptor, size)  # type: ignore[arg-type]

        whole = socket_transfer._send_bytes
        if once.exists():
            socket_transfer._send_bytes = send_bytes  # type: ignore[assignment]
        try:
            return socket_transfer.send(*arguments)
        finally:
            socket_transfer._send_bytes = whole

    return send


def test_a_bit_that_goes_wrong_on_the_way(
    nodes: Nodes, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, to = tmp_path / "once", tmp_path / "to"
    once.touch()
    monkeypatch.setattr(socket_transfer, "send", sending("a bit", once))
    with pytest.raises(CaptureError, match="what arrived is not what was sent") as caught:
        raymemprof.fetch(BIG, to)
    assert not once.exists()
    assert Path(caught.value.path).name == BIG
    assert files_in(to) == []
    raymemprof.fetch(BIG, to)
    assert checksum(to / BIG) == checksum(big)


@pytest.mark.parametrize("what", ["cut", "killed"])
def test_a_connection_that_breaks(
    what: str, nodes: Nodes, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    """The rest comes in pieces."""
    once, to = tmp_path / "once", tmp_path / "to"
    once.touch()
    monkeypatch.setattr(socket_transfer, "send", sending(what, once))
    raymemprof.fetch(BIG, to)
    assert not once.exists()
    assert asked.count("send") == 1
    assert asked.count("give") >= BIG_SIZE // object_store_transfer._PIECE
    assert checksum(to / BIG) == checksum(big)
    assert files_in(to) == [BIG]


def test_a_worker_that_stops_while_it_sends(
    nodes: Nodes, calls: raymemprof.Calls, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, to = tmp_path / "once", tmp_path / "to"
    once.touch()
    monkeypatch.setattr(socket_transfer, "send", sending("stopped", once))
    for module in (cluster, asking):
        monkeypatch.setattr(module, "LIMIT", 3.0)
    here = [call for call in calls if call.node_id == nodes["one"].node_id]
    started = time.monotonic()
    try:
        fetched = raymemprof.fetch([BIG, *here], to)
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGCONT)
    assert time.monotonic() - started < 30
    assert {path.name for path in fetched} == {call.capture.name for call in here}
    (sentence,) = fetched.left_out
    assert nodes["two"].node_id[:8] in sentence
    assert "it handed nothing over for 3 s" in sentence
    assert not any(BIG in name for name in files_in(to))


def test_a_node_that_cannot_connect(
    nodes: Nodes, calls: raymemprof.Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    activate = socket_transfer._Reception.server_activate

    def activate_and_be_elsewhere(reception: Any) -> None:
        activate(reception)
        reception.server_address = ("127.0.0.1", free_port())

    monkeypatch.setattr(socket_transfer._Reception, "server_activate", activate_and_be_elsewhere)
    fetched = raymemprof.fetch(calls, tmp_path)
    assert {path.name for path in fetched} == {call.capture.name for call in calls}
    assert fetched.left_out == ()
    assert asked.count("send") == asked.count("give") == 2


def test_strangers_get_and_give_nothing(
    nodes: Nodes, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    """Who connects without the secret, says half of it, or says it again after the node did."""
    activate, begin = socket_transfer._Reception.server_activate, socket_transfer._Reception._begin
    strangers: list[socket.socket] = []
    address: list[tuple[str, int]] = []
    said: list[bytes] = []

    def activate_and_be_called(reception: Any) -> None:
        activate(reception)
        address.append(reception.server_address[:2])
        for word in (b"x" * 1000, b"x", b""):
            strangers.append(socket.create_connection(address[0]))
            strangers[-1].sendall(word)

    def begin_and_leak(reception: Any, *arguments: Any) -> None:
        begin(reception, *arguments)
        said.extend(reception._expected)

    write = Arrival.write

    def write_and_say_it_again(*arguments: Any) -> None:
        if len(strangers) == 3:
            strangers.append(socket.create_connection(address[0]))
            strangers[-1].sendall(said[0] + BIG_SIZE.to_bytes(8, "big") + b"x" * 1000)
        write(*arguments)

    monkeypatch.setattr(socket_transfer._Reception, "server_activate", activate_and_be_called)
    monkeypatch.setattr(socket_transfer._Reception, "_begin", begin_and_leak)
    monkeypatch.setattr(Arrival, "write", write_and_say_it_again)
    raymemprof.fetch(BIG, tmp_path)
    assert len(strangers) == 4
    assert asked.count("give") == 0
    assert checksum(tmp_path / BIG) == checksum(big)
    for stranger in strangers:
        stranger.settimeout(10)
        with contextlib.suppress(ConnectionError):
            assert stranger.recv(1) == b""
        stranger.close()


def test_callers_that_say_nothing_are_hung_up_on(
    nodes: Nodes, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    activate, write = socket_transfer._Reception.server_activate, Arrival.write
    strangers: list[socket.socket] = []
    first: list[bytes] = []

    def activate_and_be_called(reception: Any) -> None:
        activate(reception)
        strangers.extend(socket.create_connection(reception.server_address[:2]) for _ in range(5))

    def write_and_ask_the_first(*arguments: Any) -> None:
        if not first:
            strangers[0].settimeout(10)
            first.append(strangers[0].recv(1))
        write(*arguments)

    monkeypatch.setattr(socket_transfer._Reception, "server_activate", activate_and_be_called)
    monkeypatch.setattr(socket_transfer, "_STRANGERS", 3)
    monkeypatch.setattr(Arrival, "write", write_and_ask_the_first)
    raymemprof.fetch(BIG, tmp_path)
    assert first == [b""]
    for stranger in strangers:
        stranger.close()


def test_where_no_descriptor_is_left_for_a_connection(
    nodes: Nodes, calls: raymemprof.Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    class Full(socket.socket):
        def accept(self) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

    activate = socket_transfer._Reception.server_activate

    def activate_and_be_full(reception: Any) -> None:
        activate(reception)
        reception.socket = Full(fileno=reception.socket.detach())

    monkeypatch.setattr(socket_transfer._Reception, "server_activate", activate_and_be_full)
    assert len(raymemprof.fetch(calls, tmp_path)) == len({call.capture for call in calls})
    assert asked.count("give") == 2


def test_what_is_encrypted_elsewhere_is_not_sent_in_the_clear(
    nodes: Nodes, calls: raymemprof.Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    assert len(raymemprof.fetch(calls, tmp_path)) == len({call.capture for call in calls})
    assert (asked.count("send"), asked.count("give")) == (0, 2)


def test_a_node_that_connects_when_it_was_given_up(
    nodes: Nodes, calls: raymemprof.Calls, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a stranger then; and what another sends, which takes longer, arrives."""
    late, send, write = nodes["three"].node_id, socket_transfer.send, Arrival.write

    def send_late(*arguments: Any) -> str | None:  # on the node
        import ray

        if ray.get_runtime_context().get_node_id() == late:
            time.sleep(3)
        return send(*arguments)

    def write_slowly(*arguments: Any) -> None:
        write(*arguments)
        time.sleep(0.04)

    monkeypatch.setattr(socket_transfer, "send", send_late)
    monkeypatch.setattr(Arrival, "write", write_slowly)
    for module in (cluster, asking):
        monkeypatch.setattr(module, "LIMIT", 1.5)
    started = time.monotonic()
    fetched = raymemprof.fetch([BIG, *(call for call in calls if call.node_id == late)], tmp_path)
    assert time.monotonic() - started > 4
    assert [path.name for path in fetched] == [BIG]
    assert checksum(tmp_path / BIG) == checksum(big)
    (sentence,) = fetched.left_out
    assert late[:8] in sentence
    assert files_in(tmp_path) == [BIG]


def test_a_disk_that_stalls_is_not_the_nodes_silence(
    nodes: Nodes, calls: raymemprof.Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    write = Arrival.write
    stalls = iter([4.0])

    def write_and_stall(*arguments: Any) -> None:
        write(*arguments)
        time.sleep(next(stalls, 0))

    monkeypatch.setattr(Arrival, "write", write_and_stall)
    for module in (cluster, asking):
        monkeypatch.setattr(module, "LIMIT", 1.5)
    fetched = raymemprof.fetch(calls, tmp_path)
    assert fetched.left_out == ()
    assert len(fetched) == len({call.capture for call in calls})
    assert asked.count("give") == 0


@pytest.mark.parametrize("word", [b"", b"{", b"[]", b"{}", b'{"checksum": 1, "state": 2}', b"\xff"])
def test_a_word_that_is_damaged(
    word: bytes, nodes: Nodes, calls: raymemprof.Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = socket_transfer.send

    def send_nonsense(*arguments: Any) -> str | None:  # on the node
        from raymemprof.reading.files import socket_transfer

        def nonsense(out: Any, **_: Any) -> None:
            socket_transfer._send_number(out, len(word))
            out.write(word)

        right, socket_transfer._send_word = socket_transfer._send_word, nonsense
        try:
            return send(*arguments)
        finally:
            socket_transfer._send_word = right

    (call,) = [call for call in calls if call.node_id == nodes["two"].node_id][-1:]
    with monkeypatch.context() as during:
        during.setattr(socket_transfer, "send", send_nonsense)
        with pytest.raises(CaptureError, match="what arrived is not what was sent"):
            raymemprof.fetch(call, tmp_path)
    assert files_in(tmp_path) == []


def test_more_than_was_asked_for_is_not_taken(
    nodes: Nodes, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    send = socket_transfer.send

    def send_more(files: list[tuple[str, int]], *rest: Any) -> str | None:  # on the node
        return send([(name, size + 1) for name, size in files], *rest)

    monkeypatch.setattr(socket_transfer, "send", send_more)
    raymemprof.fetch(BIG, tmp_path)
    assert asked.count("give") >= BIG_SIZE // object_store_transfer._PIECE
    assert checksum(tmp_path / BIG) == checksum(big)


def test_what_a_file_lacks_is_zeros_and_said(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x" * 1000)
    with (tmp_path / "short").open("rb") as short, (tmp_path / "out").open("wb") as out:
        sent, is_all = socket_transfer._send_bytes(out, short.fileno(), 3 * MIB)
    expected = b"x" * 1000 + bytes(3 * MIB - 1000)
    assert (tmp_path / "out").read_bytes() == expected
    assert (sent, is_all) == (zlib.crc32(expected), False)


def test_a_folder_in_a_captures_place(nodes: Nodes, calls: raymemprof.Calls, tmp_path: Path) -> None:
    (tmp_path / calls[0].capture.name).mkdir()
    with pytest.raises(raymemprof.CaptureError, match="no plain file"):
        raymemprof.fetch(calls[0], tmp_path)
    assert not any(name.endswith(".part") for name in files_in(tmp_path))


@pytest.mark.parametrize("way", ["at once", "in pieces"])
def test_a_file_that_changes_meanwhile(
    way: str, nodes: Nodes, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_pieces: Callable[[], None]
) -> None:
    changes = tmp_path / "changes"  # one byte for each change that is still to come
    to = tmp_path / "to"
    give, piece, send = object_store_transfer.give, object_store_transfer._PIECE, socket_transfer.send

    def change(file: str | Path) -> None:
        if changes.stat().st_size:
            os.truncate(changes, changes.stat().st_size - 1)
            with open(file, "r+b") as opened:
                opened.write(os.urandom(8))

    def change_and_give(parts: list[tuple[str, int, int]], to_client: bool = False) -> Any:  # on the node
        from raymemprof.reading.catalog import fetchable

        if parts[0][1] == 2 * piece:
            change(fetchable.path_of(parts[0][0]))
        return give(parts, to_client)

    def send_and_change(*arguments: Any) -> Any:  # on the node
        from raymemprof.reading.files import socket_transfer

        def send_bytes(out: Any, descriptor: int, size: int) -> Any:
            sent = whole(out, descriptor, size)
            change(f"/proc/self/fd/{descriptor}")
            return sent

        whole, socket_transfer._send_bytes = socket_transfer._send_bytes, send_bytes
        try:
            return send(*arguments)
        finally:
            socket_transfer._send_bytes = whole

    monkeypatch.setattr(object_store_transfer, "give", change_and_give)
    monkeypatch.setattr(socket_transfer, "send", send_and_change)
    if way == "in pieces":
        in_pieces()
    changes.write_bytes(b"1")
    raymemprof.fetch(BIG, to)
    assert changes.stat().st_size == 0
    assert checksum(to / BIG) == checksum(big)
    (to / BIG).unlink()
    changes.write_bytes(b"1" * 100)
    with pytest.raises(CaptureError, match="it changed each of the 3 times"):
        raymemprof.fetch(BIG, to)
    assert changes.stat().st_size == 97
    assert files_in(to) == []


def test_a_capture_that_is_open(nodes: Nodes, tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    import ray

    @ray.remote(num_cpus=0, resources={"three": 1})
    @profile_memory
    class Store:
        def __init__(self) -> None:
            self.kept: list[bytearray] = []

        def add(self, size: int) -> int:
            self.kept.append(bytearray(size))
            return len(self.kept)

    store = Store.remote()
    assert ray.get(store.add.remote(5 * MIB)) == 1
    (capture,) = raymemprof.captures(name="Store.add")
    assert capture.status == "open"
    (path,) = raymemprof.fetch(capture, tmp_path)
    (call,) = raymemprof.calls(tmp_path, name="Store.add")
    assert call.capture == path
    assert 5 * MIB <= raymemprof.heap(call).peak < 5.2 * MIB
    assert ray.get(store.add.remote(7 * MIB)) == 2
    raymemprof.fetch(capture, tmp_path)  # what came since is brought
    assert len(raymemprof.calls(tmp_path, name="Store.add")) == 2
    kept = next(line for line in raymemprof.heap(path).top(100) if line.function == "add")
    assert 12 * MIB * 0.99 <= kept.bytes + kept.reserved < 12.5 * MIB, "with what Ray's threads took meanwhile"
    assert {file.path.suffix for file in raymemprof.clean(tmp_path, all=True)} == {".bin", ".jsonl", ".txt"}
    assert list(tmp_path.iterdir()) == []  # the actor does not write to copies
    with contextlib.suppress(ray.exceptions.ActorDiedError):  # that is how it says that it did
        ray.get(store.__ray_terminate__.remote())
    wait_for(lambda: raymemprof.captures(name="Store.add")[0].status == "closed", 60)
    (closed,) = raymemprof.fetch(raymemprof.captures(name="Store.add"), tmp_path)
    assert closed == path
    assert checksum(closed) == checksum(nodes["three"].seen(capture.path))
    assert raymemprof.captures(tmp_path)[0].status == "closed"
    kept = next(line for line in raymemprof.heap(path).top(100) if line.function == "add")
    assert 12 * MIB * 0.99 <= kept.bytes + kept.reserved < 12.5 * MIB, "with what Ray's threads took meanwhile"


def test_what_was_running_when_it_was_fetched(nodes: Nodes, tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    import ray

    @ray.remote(num_cpus=1, max_retries=0)
    @profile_memory
    def wait(path: str, size: int) -> None:
        kept = bytearray(size)
        while kept and not os.path.exists(path):
            time.sleep(0.05)

    def elsewhere(folder: Path) -> Any:  # as another machine has it
        code = f"""
import json, raymemprof
calls, captures = (ask({str(folder)!r}, name="*wait") for ask in (raymemprof.calls, raymemprof.captures))
print(json.dumps([[[call.status, call.error, call.note] for call in calls], [one.status for one in captures]]))
"""
        command = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh", sys.executable, "-c", code]
        return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)

    if subprocess.run(["unshare", "--uts", "hostname", "elsewhere"], capture_output=True).returncode:
        pytest.skip("this user may not rename a machine")
    task = wait.options(resources={"two": 0.1}).remote("/nowhere", MIB)
    (call,) = wait_for(lambda: [*raymemprof.calls(name="wait", status="running")])
    raymemprof.fetch(call, tmp_path / "to")
    ((status, error, note),), captures = elsewhere(tmp_path / "to")
    assert (status, error, captures) == ("running", None, ["open"])
    assert note.startswith("as of 20")
    os.kill(call.pid, signal.SIGKILL)
    with pytest.raises(ray.exceptions.RayError):
        ray.get(task)
    (call,) = wait_for(lambda: [*raymemprof.calls(name="wait", status="killed")])
    raymemprof.fetch(call, tmp_path / "to")
    ((status, error, _),), captures = elsewhere(tmp_path / "to")
    assert (status, captures) == ("killed", ["killed"])
    assert error == call.error
    assert error is not None


def test_what_can_be_brought_is(nodes: Nodes, calls: raymemprof.Calls, tmp_path: Path) -> None:
    """Where one capture is gone and a name is nobody's, the others arrive with their journals, and those are named."""
    gone = next(call for call in calls if call.node_id == nodes["two"].node_id)
    path = nodes["two"].seen(gone.capture)
    path.rename(tmp_path / "away")
    try:
        fetched = raymemprof.fetch([*calls, "raymemprof-nobody-local-0-1-1.bin"], tmp_path / "to")
        there = next(call.capture.name for call in calls if call.capture != gone.capture)
        command = [COMMAND, "fetch", "--address", nodes.address, "--to", tmp_path / "by command"]
        done = subprocess.run([*command, there, path.name], capture_output=True, text=True, timeout=120, cwd="/")
    finally:
        (tmp_path / "away").rename(path)
    others = {call.capture.name for call in calls} - {gone.capture.name}
    assert {path.name for path in fetched} == others
    assert sorted("gone" in text for text in fetched.left_out) == [False, True]
    assert any("raymemprof-nobody-local-0-1-1.bin" in text for text in fetched.left_out)
    arrived = [call for call in raymemprof.calls(tmp_path / "to", name="load") if call.capture]
    assert {call.task_id for call in arrived} == {call.task_id for call in calls} - {gone.task_id}
    assert (done.returncode, done.stdout) == (1, f"Fetched {tmp_path / 'by command' / there}\n"), done.stderr
    (line,) = done.stderr.splitlines()
    assert path.name in line


def test_many_small_captures(nodes: Nodes, tmp_path: Path, asked: list[str]) -> None:
    """They come many at a time: what is asked of the node does not grow with them."""
    import ray

    @ray.remote(num_cpus=0, resources={"three": 1})
    def record(captures: int) -> None:
        from raymemprof.recording.tracker import tracker

        for number in range(captures):
            with profile_memory("small", linger=0):
                bytearray(10_000 + number)
            tracker.close("one is done")

    ray.get(record.remote(40))
    captures = raymemprof.captures(name="small")
    asked.clear()
    start = time.monotonic()
    fetched = raymemprof.fetch(captures, tmp_path)
    first = time.monotonic() - start
    assert len(fetched) == 40
    assert len(asked) <= 10
    start = time.monotonic()
    assert raymemprof.fetch(captures, tmp_path) == fetched
    print(f"40 small captures took {first:.2f} s, and again {time.monotonic() - start:.2f} s")
    assert len([call for call in raymemprof.calls(tmp_path, name="small") if call.capture]) == 40


def test_two_files_of_one_name(tmp_path: Path) -> None:
    """Neither takes the place of the other unsaid."""
    for folder, size in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "raymemprof-x-local-0-1-1.bin").write_bytes(b"x" * size)
    one, other = (tmp_path / folder / "raymemprof-x-local-0-1-1.bin" for folder in "ab")
    fetched = raymemprof.fetch([one, other], tmp_path / "to")
    assert [path.read_bytes() for path in fetched] == [b"x"]
    assert [str(other) in text and "same name" in text for text in fetched.left_out] == [True]


def test_a_capture_that_is_gone(nodes: Nodes, calls: raymemprof.Calls, tmp_path: Path) -> None:
    (call,) = [call for call in calls if call.node_id == nodes["two"].node_id][-1:]
    path = nodes["two"].seen(call.capture)
    path.rename(tmp_path / "away")
    try:
        with pytest.raises(CaptureError, match="it is gone") as caught:
            raymemprof.fetch(call, tmp_path / "to")
        assert caught.value.path == call.capture
        with pytest.raises(CaptureError, match="it is gone"):
            raymemprof.heap(call)
    finally:
        (tmp_path / "away").rename(path)
    assert files_in(tmp_path / "to") == []


def test_nothing_to_fetch_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to read"):
        raymemprof.fetch([], tmp_path / "to")
    assert files_in(tmp_path) == []


def test_folders_that_cannot_be_written_to(nodes: Nodes, calls: raymemprof.Calls, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for to in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere"), Path("/dev/full")):
        with pytest.raises(OSError) as caught:  # noqa: PT011  # which of several, the system says
            raymemprof.fetch(calls, to)
        assert str(to) in str(caught.value)
    read_only = tmp_path / "read only"
    read_only.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", read_only], capture_output=True).returncode:
        pytest.skip("this user may not mount")
    try:
        with pytest.raises(OSError, match="Read-only"):
            raymemprof.fetch(calls, read_only)
    finally:
        subprocess.run(["umount", read_only], check=True)


def test_a_disk_that_is_full(nodes: Nodes, big: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("this user may not mount")
    try:
        with pytest.raises(OSError, match="No space left"):
            raymemprof.fetch(BIG, small)
        assert files_in(small) == []
    finally:
        subprocess.run(["umount", small], check=True)


PROGRESS = """
import sys, ray, raymemprof, raymemprof.display.progress
raymemprof.display.progress._SECONDS = 0.1
ray.init(address=ADDRESS, logging_level="ERROR", log_to_driver=False)
sys.stderr.write("begin.")
raymemprof.fetch(NAME, TO)
sys.stderr.write("end.")
"""


def test_progress_is_for_terminals(nodes: Nodes, big: Path, tmp_path: Path) -> None:
    def command(to: str) -> list[str]:
        code = SLOWLY + PROGRESS.replace("ADDRESS", repr(nodes.address)).replace("NAME", repr(BIG))
        return [sys.executable, "-c", code.replace("TO", repr(str(tmp_path / to)))]

    done = subprocess.run(command("quiet"), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert done.stdout == ""
    assert done.stderr.partition("begin.")[2] == "end."
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command("shown"), stdout=theirs, stderr=theirs, stdin=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that the other side has closed it
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    assert process.wait(60) == 0
    text = shown.decode().partition("begin.")[2]
    assert "fetching" in text
    assert "150.0 MB" in text
    assert (tmp_path / "shown" / BIG).stat().st_size == BIG_SIZE


def test_ctrl_c(nodes: Nodes, big: Path, tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    """It ends at once, though the other node could go on to send for minutes."""
    code = f"""{SLOWLY.replace("0.003", "0.05")}
import ray, raymemprof
ray.init(address={nodes.address!r}, logging_level="ERROR", log_to_driver=False)
try:
    raymemprof.fetch({BIG!r}, {str(tmp_path)!r})
except KeyboardInterrupt:
    print("interrupted")
input()
"""

    def senders() -> list[Any]:
        found = []
        for process in nodes["two"].processes():
            with contextlib.suppress(psutil.Error):
                if "raymemprof.send" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    wait_for(lambda: process.poll() is not None or files_in(tmp_path), 60)
    assert len(senders()) == 1
    process.send_signal(signal.SIGINT)
    wait_for(lambda: not senders(), 20)
    assert process.poll() is None
    out, _ = process.communicate("\n", timeout=60)
    assert out == "interrupted\n"
    assert files_in(tmp_path) == []


def test_offline_folders_are_fetched_from_too(nodes: Nodes, calls: raymemprof.Calls, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    raymemprof.fetch(calls, first)
    raymemprof.fetch(raymemprof.captures(first), second)
    assert files_in(first) == files_in(second)
    raymemprof.fetch(raymemprof.captures(first), first)  # onto itself
    assert len(raymemprof.calls(first, name="load")) == len(calls)
    shutil.rmtree(first)
    assert raymemprof.heap(raymemprof.calls(second, name="load")).call_count == len(calls)
