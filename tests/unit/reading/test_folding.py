"""Very many call stacks: the smallest are folded, nothing is lost, and what was folded is said."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from raymemprof.reading.captures.model import Frame, Row, Stack
from raymemprof.reading.captures.totals import SMALLER
from raymemprof.reading.reports.folding import fold
from raymemprof.reading.reports.notebook.graph import Graph, graph
from raymemprof.reading.reports.notebook.picture import picture


def row(*frames: str, size: int = 100, allocations: int = 1) -> Row:
    """What was held through frames, the outermost first."""
    return Row(tuple(reversed([(name, f"/app/{name}.py", 7) for name in frames])), 1, size, allocations)


def many(count: int, depth: int = 12) -> list[Row]:
    """Distinct stacks, most of them small."""
    chance = random.Random(count)
    found: dict[Stack, Row] = {}
    while len(found) < count:
        frames: list[Frame] = [
            (f"step{level}", f"/app/part{level}.py", int(chance.random() ** 2 * 9)) for level in range(depth)
        ]
        stack = tuple(reversed(frames))
        found[stack] = Row(stack, 1, int(100 * chance.paretovariate(0.9)), 1)
    return list(found.values())


def boxes_of(stacks: tuple[Stack, ...]) -> set[Stack]:
    """Every box of a graph of these: what is the same of them, from the outermost frame on."""
    return {stack[start:] for stack in stacks for start in range(len(stack))}


def test_few_stacks_stay_as_they_are() -> None:
    rows = [row("main", "load"), row("main", "parse"), row("main")]
    folded = fold([one.stack for one in rows], [one.bytes for one in rows], 100)
    assert folded.stacks == tuple(one.stack for one in rows)
    assert str(folded) == ""


def test_the_smallest_become_one_box_beside_those_that_are_kept() -> None:
    small = [row("main", "load", f"small{number}", size=10) for number in range(50)]
    rows = [row("main", "load", "large", size=5_000), *small, row("main", size=7)]
    folded = fold([one.stack for one in rows], [one.bytes for one in rows], 4)
    assert folded.stacks[0] == rows[0].stack
    together = ("(50 smaller call stacks)", "", 0)
    assert set(folded.stacks[1:51]) == {(together, *rows[0].stack[1:])}
    assert folded.stacks[51] == rows[51].stack  # nothing stands on it
    assert (folded.count, folded.size, folded.total) == (50, 500, 5_507)
    assert str(folded) == "The 50 smallest call stacks are drawn together; they held 500 B, 9.1% of all."


@pytest.mark.parametrize("most", [10, 100, 1_000])
def test_boxes_are_bounded_and_nothing_is_lost(most: int) -> None:
    rows = many(3_000)
    sizes = [one.bytes for one in rows]
    folded = fold([one.stack for one in rows], sizes, most)
    assert most / 2 < len(boxes_of(folded.stacks)) <= 2 * most
    assert len(folded.stacks) == len(rows)
    # A box that is kept stands where it stood, and holds what it held.
    for before, after in zip(rows, folded.stacks, strict=True):
        kept = after if after == before.stack else after[1:]
        assert before.stack[len(before.stack) - len(kept) :] == kept
    changed = [one for one, after in zip(rows, folded.stacks, strict=True) if after is not one.stack]
    assert (folded.count, folded.size) == (len(changed), sum(one.bytes for one in changed))


def test_what_was_folded_before_is_said_too() -> None:
    rows = [row("main"), Row(SMALLER, 1, 50, 9)]
    folded = fold([one.stack for one in rows], [one.bytes for one in rows], 100)
    assert folded.stacks == (rows[0].stack, SMALLER)
    assert str(folded) == "The smallest call stacks are drawn together; they held 50 B, 33.3% of all."


def test_a_graph_holds_what_the_rows_hold() -> None:
    rows = [
        row("main", "load", size=300, allocations=2),
        row("main", "parse", size=500),
        row("main", "load", "read", size=100),
        Row((("read", "/usr/lib/python3.11/codecs.py", 3), ("main", "/app/main.py", 7)), 2, 50, 1),
    ]
    boxes = graph(rows).boxes
    shown = [(box.depth, box.start, box.size, box.allocations, box.function, box.is_users) for box in boxes]
    assert shown == [
        (0, 0, 950, 5, "all", False),
        (1, 0, 950, 5, "main", True),
        (2, 0, 500, 1, "parse", True),
        (2, 500, 400, 3, "load", True),
        (3, 500, 100, 1, "read", True),
        (2, 900, 50, 1, "read", False),
    ]
    assert boxes[2].place == "/app/parse.py:7"


def test_a_box_shows_the_line_of_code(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("first = 1\n    second = bytes(2)\n")
    (box,) = graph([Row((("run", str(tmp_path / "code.py"), 2),), 1, 10, 1)]).boxes[1:]
    assert (box.label, box.function) == ("second = bytes(2)", "run")


@pytest.mark.parametrize("rows", [[], [row("main", size=0)]], ids=["nothing", "no bytes"])
def test_a_graph_of_nothing(rows: list[Row]) -> None:
    empty = graph(rows)
    assert empty.boxes[0].size == 0
    assert picture(empty).startswith("<svg")
    assert empty.packed()


def weight(found: Graph) -> int:
    return len(found.packed()) + len(picture(found)) * 4 // 3


def test_a_graph_in_a_notebook_is_bounded() -> None:
    assert weight(graph(many(20))) < 30_000
    assert weight(graph(many(20_000))) < 120_000
    # Names that do not compress, each of another function.
    chance = random.Random(1)
    letters = "".join(map(chr, range(0x4E00, 0x9000)))
    rows = [row(*("".join(chance.choices(letters, k=150)) for _ in range(9)), size=100 + n) for n in range(1_500)]
    assert weight(graph(rows)) < 250_000
    assert "smallest call stacks" in str(graph(rows).folded)
