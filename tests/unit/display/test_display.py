"""How text is written, and files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

import raymemprof
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


def test_what_stands_between_backticks_is_code_in_a_notebook() -> None:
    text = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    explanation = raymemprof.explain(text)
    assert "`" in str(explanation)
    page = explanation._repr_html_()
    assert "`" not in page
    assert "<code>" in page
    assert in_html("`a<b` and \x1b`c`") == "<code>a&lt;b</code> and \ufffd<code>c</code>"
