"""How text is written, and files that are written whole or not at all."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

import raymemprof
from raymemprof import profile_memory
from raymemprof.display.files import check_output, written_whole
from raymemprof.display.text import counted, first_few, in_html, printable, show_bytes, show_name, show_seconds


def test_text() -> None:
    assert [show_bytes(size) for size in (None, 0, 1023, 1536, -(2**30))] == [
        "",
        "0 B",
        "1023 B",
        "1.5 KiB",
        "-1.0 GiB",
    ]
    assert [show_seconds(seconds) for seconds in (None, 0.25, 59, 61, 3660)] == [
        "",
        "250.0 ms",
        "59.0 s",
        "1 min 01 s",
        "1 h 01 min",
    ]
    assert [counted(count, "call", "calls") for count in (0, 1, 2)] == ["0 calls", "1 call", "2 calls"]
    assert first_few("abc") == ["a", "b", "c"]
    assert first_few("abcde") == ["a", "b", "c", "… and 2 more are missing here"]
    assert show_name("Cache.add") == "Cache.add"
    assert show_name("  ") == "(no name)"
    assert show_name("x" * 80) == "x" * 80
    assert show_name("a" * 50 + "b" * 5_000) == "a" * 39 + "…" + "b" * 40
    assert printable("a\nb\x1b[2Jé") == "a�b�[2Jé"


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")
    with written_whole(path) as file:
        file.write("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert path.stat().st_mode & 0o777 == 0o644
    with written_whole(path, errors="replace") as file:
        file.write("\udcff")
    assert path.read_text() == "?"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_file_is_not_written_at_all(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")

    def fail() -> None:
        with written_whole(path) as file:
            file.write("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_where_a_file_may_be_written(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    check_output(path, overwrite=False)
    path.symlink_to("nowhere")
    with pytest.raises(FileExistsError, match="--force"):
        check_output(path, overwrite=False)
    check_output(path, overwrite=True)
    with pytest.raises(FileNotFoundError, match="folder"):
        check_output(tmp_path / "missing" / "page.html", overwrite=False)


@pytest.mark.parametrize("kind", ["fifo", "socket", "folder", "link"])
def test_what_is_no_plain_file_is_not_replaced(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "page.html"
    with profile_memory("load", directory=tmp_path / "recorded", linger=0):
        data = bytearray(1_000_000)
    del data
    call = raymemprof.calls(tmp_path / "recorded")[0]
    diagnosis = raymemprof.doctor(tmp_path / "recorded")
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "socket":
            server.bind("page.html")  # a path of this length is not too long for a socket
        elif kind == "folder":
            path.mkdir()
        else:
            os.mkfifo("fifo" if kind == "link" else "page.html")
        if kind == "link":
            path.symlink_to("fifo")
        before = os.lstat(path)
        for write in (raymemprof.flamegraph, raymemprof.table, raymemprof.speedscope, raymemprof.timeline):
            if kind != "folder":  # in which a report is written under its default name
                with pytest.raises(FileExistsError, match=r"page\.html is no plain file, so it is not replaced"):
                    write(call, path, overwrite=True)
        with pytest.raises((FileExistsError, ValueError), match=r"page\.html is (no plain file|a folder)"):
            diagnosis.save(path, overwrite=True)
        with pytest.raises(FileExistsError, match="plain file"):
            check_output(path, overwrite=True)
        assert (os.lstat(path).st_ino, os.lstat(path).st_mode) == (before.st_ino, before.st_mode)
    if kind not in ("folder", "link"):  # nor under the default name, nor a folder to fetch to
        default = raymemprof.flamegraph(call).path
        default.unlink()
        os.mkfifo(default)
        with pytest.raises(FileExistsError, match="plain file"):
            raymemprof.flamegraph(call)
        with pytest.raises(NotADirectoryError, match="is no folder; give one to fetch to"):
            raymemprof.fetch(call, path)


def test_where_no_file_can_be_written_the_one_that_was_asked_for_is_named(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        check_output(path, overwrite=True)
        with written_whole(path) as file:
            file.write("page")

    for path in (tmp_path / ("x" * 300 + ".html"), Path("/proc/self/page.html")):
        with pytest.raises(OSError, match=rf"^{re.escape(str(path))}: a file cannot be written there: [^:]+\.$"):
            write(path)


def test_where_the_current_folder_is_gone_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with profile_memory("load", directory=tmp_path / "recorded", linger=0):
        data = bytearray(1_000_000)
    del data
    calls = raymemprof.calls(tmp_path / "recorded")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for show in (raymemprof.flamegraph, raymemprof.timeline, raymemprof.table):
        with pytest.raises(FileNotFoundError, match=r"the current folder is gone, .*: give output="):
            show(calls)
        assert show(calls, tmp_path / "page.html", overwrite=True).path.exists()
    for ask in (raymemprof.calls, raymemprof.captures, raymemprof.summary, raymemprof.heap):
        with pytest.raises(FileNotFoundError, match=r"the current folder is gone, so recorded.* cannot be found"):
            ask("recorded" if ask is not raymemprof.heap else "recorded.bin")
    assert profile_memory(lambda: 5, directory="relative")() == 5  # it runs, unrecorded


def test_a_report_is_refused_before_captures_are_read(tmp_path: Path) -> None:
    (tmp_path / "damaged.bin").write_bytes(b"no capture")
    for show in (raymemprof.flamegraph, raymemprof.table, raymemprof.speedscope):
        with pytest.raises(FileNotFoundError, match="missing"):
            show(tmp_path / "damaged.bin", tmp_path / "missing" / "page.html")


def test_what_stands_between_backticks_is_code_in_a_notebook() -> None:
    text = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    explanation = raymemprof.explain(text)
    assert "`" in str(explanation)
    page = explanation._repr_html_()
    assert "`" not in page
    assert "<code>" in page
    assert in_html("`a<b` and \x1b`c`") == "<code>a&lt;b</code> and \ufffd<code>c</code>"
