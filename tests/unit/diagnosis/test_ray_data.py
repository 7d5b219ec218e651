"""How Ray Data is asked for memory, by the name of an operator."""

from __future__ import annotations

import pytest

from raymemprof.diagnosis.advise.ray_data import about_operator

READ = 'memory=2_000_000 of the read (of an older Ray, ray_remote_args={"memory": 2_000_000})'
WRITE = 'ray_remote_args={"memory": 2_000_000} of the write'


@pytest.mark.parametrize(
    ("operator", "asked"),
    [
        ("MapBatches(widen)", "map_batches(widen, memory=2_000_000)."),
        ("Map(Outer.one)", "map(Outer.one, memory=2_000_000)."),
        ("FlatMap(<lambda>)", "flat_map(<lambda>, memory=2_000_000)."),
        ("ReadParquet", f"{READ}."),
        ("ReadParquet->SplitBlocks(4)", f"{READ}."),
        (
            "ReadFilesParquet->MapBatches(widen)->Filter(is_odd)->Write",
            f"{READ} and map_batches(widen, memory=2_000_000) and filter(is_odd, memory=2_000_000) and {WRITE}: Ray "
            "Data runs only operators that ask for the same as one task.",
        ),
        ("ReadRange->MapBatches(widen)", "map_batches(widen, memory=2_000_000)."),
        ("Aggregate", None),
        ("", None),
        ("->".join(f"MapBatches(f{number})" for number in range(50)), None),
    ],
)
def test_what_asks_for_memory(operator: str, asked: str | None) -> None:
    assert list(about_operator(operator, 2_000_000)) == ([] if asked is None else [f"ask for it with {asked}"])
