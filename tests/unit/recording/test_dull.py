"""Which captures stay of calls that tell nothing, and which calls tell something."""

from __future__ import annotations

from pathlib import Path

import pytest

from raymemprof.recording import dull
from raymemprof.recording.dull import LARGE, Content, DullCaptures

BASE = 10**8


def content(*names: str, left: int = 0, since: int = BASE) -> Content:
    found = Content()
    found.open()
    for name in names or ("get",):
        found.begin(name, since)
        found.end("finished", 0, since + left)
    return found


def capture(folder: Path, number: int, size: int = LARGE // 2 + 1) -> Path:
    path = folder / f"{number}.bin"
    path.write_bytes(bytes(size))
    return path


def left(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.iterdir())


def test_the_latest_stay(tmp_path: Path) -> None:
    captures = DullCaptures()
    for number in range(5):
        captures.closed(capture(tmp_path, number), content())
    assert left(tmp_path) == ["4"]
    captures.closed(capture(tmp_path, 5, 100), content())
    captures.closed(capture(tmp_path, 6, 100), content())
    assert left(tmp_path) == ["4", "5", "6"]  # so many bytes of them


def test_the_last_one_of_each_function_stays(tmp_path: Path) -> None:
    captures = DullCaptures()
    captures.closed(capture(tmp_path, 0), content("once", "get"))
    for number in range(1, 5):
        captures.closed(capture(tmp_path, number), content("get"))
    assert left(tmp_path) == ["0", "4"]
    captures.closed(capture(tmp_path, 5), content("get", "once"))
    assert left(tmp_path) == ["5"]


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_what_did_not_finish_tells_something(tmp_path: Path, status: str) -> None:
    captures = DullCaptures()
    telling = content()
    telling.begin("get", BASE)
    telling.end(status, 0, BASE)
    captures.closed(capture(tmp_path, 0), telling)
    for number in range(1, 4):
        captures.closed(capture(tmp_path, number), content())
    assert left(tmp_path) == ["0", "3"]


def test_what_grew_tells_something(tmp_path: Path) -> None:
    captures = DullCaptures()
    telling = content()
    telling.begin("get", BASE)
    telling.end("finished", 2 * 2**20, BASE)
    captures.closed(capture(tmp_path, 0), telling)
    slow = dull._LEFT_IN_ALL // 4
    for number in range(1, 5):
        captures.closed(capture(tmp_path, number), content(left=slow, since=BASE + (number - 1) * slow))
    captures.closed(capture(tmp_path, 5), content(since=BASE + 4 * slow))
    assert left(tmp_path) == ["0", "4", "5"]  # together, 1 to 4 grew by as much


def test_an_object_left_with_each_call_tells_something() -> None:
    found = Content()
    found.open()
    kept = []
    for number in range(2_000):
        found.begin("add", BASE)
        kept.append(bytearray(100))
        found.end("finished", 0, BASE)
        if number == 1_000:
            found.look()
            assert found.is_telling
    del kept
    found = Content()
    found.open()
    for _ in range(2_000):
        found.begin("get", BASE)
        bytearray(100)
        found.end("finished", 0, BASE)
    found.look()
    assert not found.is_telling


def test_captures_become_longer_while_they_tell_something(tmp_path: Path) -> None:
    captures = DullCaptures()
    sizes = []
    for number in range(8):
        sizes.append(captures.large(2 * 2**30))
        telling = content()
        telling.is_telling = True
        captures.closed(capture(tmp_path, number, 1), telling)
    assert sizes == [min(LARGE * 2**number, 2**28) for number in range(8)]
    captures.closed(capture(tmp_path, 9, 1), content())
    assert captures.large(2 * 2**30) == LARGE
    assert captures.large(1000) == LARGE


def test_one_that_is_gone_is_no_trouble(tmp_path: Path) -> None:
    captures = DullCaptures()
    for number in range(3):
        path = capture(tmp_path, number)
        captures.closed(path, content())
        if number == 0:
            path.unlink()
    assert left(tmp_path) == ["2"]
