"""What files are called where people read it."""

from __future__ import annotations

import pytest

from raymemprof.reading.captures.model import Row, SourceFile
from raymemprof.reading.captures.source_lines import merged
from raymemprof.reading.captures.stacks import EITHER_FILE, is_users
from raymemprof.reading.reports.source_names import SourceNames

BROUGHT = "/tmp/ray/session_2026/runtime_resources/working_dir_files/_ray_pkg_{}/pkg/steps.py"
MODULE = "/tmp/ray/session_2026/runtime_resources/py_modules_files/_ray_pkg_{}/tools/io.py"


def cell(number: int, digest: str, **lines: str) -> SourceFile:
    return SourceFile(f"In [{number}]", digest, {int(line[1:]): text for line, text in lines.items()})


def shown(sources: dict[str, SourceFile], *files: str) -> list[str]:
    names = SourceNames(sources, [(("f", file, 3),) for file in files])
    return [names.frame(("f", file, 3))[1] for file in files]


def test_cells_have_their_number() -> None:
    assert shown({"/tmp/ipykernel_9/1.py": cell(7, "abc")}, "/tmp/ipykernel_9/1.py") == ["In [7]"]


def test_the_same_cell_of_two_kernels_is_one_and_another_is_not() -> None:
    files = ["/tmp/ipykernel_9/1.py", "/tmp/ipykernel_10/1.py"]  # a kernel names them for the text
    for digest in ("abcdefgh", "of its definitions alone"):
        assert shown({files[0]: cell(7, "abcdefgh"), files[1]: cell(7, digest)}, *files) == ["In [7]", "In [7]"]
    files[1] = "/tmp/ipykernel_10/2.py"
    assert shown({files[0]: cell(7, "abcdefgh"), files[1]: cell(7, "12345678")}, *files) == [
        "In [7] (abcdef)",
        "In [7] (123456)",
    ]


@pytest.mark.parametrize(("file", "name"), [(BROUGHT, "pkg/steps.py"), (MODULE, "tools/io.py")])
def test_what_ray_brought_is_named_from_its_folder(file: str, name: str) -> None:
    assert shown({}, file.format("1"), file.format("2")) == [name, name]
    same = {file.format("1"): SourceFile(None, "a", {3: "x"}), file.format("2"): SourceFile(None, "b", {3: "x"})}
    assert shown(same, *same) == [name, name]
    others = {file.format("1"): SourceFile(None, "a", {3: "x"}), file.format("2"): SourceFile(None, "b", {3: "y"})}
    assert shown(others, *others) == [f"{name} (a)", f"{name} (b)"]


def test_other_files_stay_as_they_are() -> None:
    other = "/home/me/runtime_resources.py"
    assert shown({other: SourceFile(None, "a", {3: "x"})}, other) == [other]


def test_rows_that_become_the_same_are_one() -> None:
    files = [BROUGHT.format("1"), BROUGHT.format("2")]
    rows = tuple(Row((("f", file, 3),), 1, 100, 2) for file in files)
    assert SourceNames({}, [row.stack for row in rows]).rows(rows) == (Row((("f", "pkg/steps.py", 3),), 1, 200, 4),)


def test_a_line_that_may_be_one_of_several_is_named_too() -> None:
    file = "/tmp/ipykernel_9/4048929233.py"
    either = ("f (4048929233.py:3) or g (steps.py:4)", EITHER_FILE, 0)
    names = SourceNames({file: cell(7, "abc")}, [(either, ("f", file, 3))])
    assert names.frame(either)[0] == "f (In [7], line 3) or g (steps.py:4)"


def test_a_line_that_is_not_the_same_in_all_captures_has_no_text() -> None:
    before = {"/a.py": SourceFile(None, "1", {3: "x", 4: "y"})}
    both = merged(before, {"/a.py": SourceFile(None, "2", {3: "x", 4: "z", 5: "w"})})
    assert both["/a.py"].lines == {3: "x", 4: "", 5: "w"}
    assert before["/a.py"].lines == {3: "x", 4: "y"}


@pytest.mark.parametrize(
    "file",
    [
        "/home/me/raymemprof/raymemprof/notebook/magic.py",
        "/env/lib/python3.12/site-packages/raymemprof/cluster/ray_data.py",
        "/env/lib/python3.12/site-packages/raymemprof/reading/reports/render.py",
    ],
)
def test_our_own_frames_are_not_shown_nor_the_users(file: str) -> None:
    users, library = ("load", "/steps.py", 3), ("map", "/env/lib/python3.12/site-packages/ray/data/map.py", 4)
    rows = (Row((library, ("ours", file, 5), users), 1, 100, 2), Row((("ours", file, 5),), 1, 10, 1))
    shown_rows = SourceNames({}, [row.stack for row in rows]).rows(rows)
    assert [row.stack for row in shown_rows] == [(library, users), (("raymemprof", "", 0),)]
    assert not is_users(file)
    assert is_users("/home/me/raymemprof/examples/steps.py")
    assert is_users("/home/me/raymemprof/train.py")


def test_a_function_of_a_cell_that_calls_itself_is_there_each_time() -> None:
    deep, module = ("walk", "/tmp/ipykernel_9/1.py", 2), ("<module>", "/tmp/ipykernel_9/1.py", 3)
    stack = (deep, deep, deep, module)
    shown_stack = SourceNames({deep[1]: cell(7, "abc")}, [stack]).stack(stack)
    assert shown_stack == (("walk", "In [7]", 2),) * 3 + (("<module>", "In [7]", 3),)
