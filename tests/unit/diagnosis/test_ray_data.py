"""How Ray Data is asked for memory, by the name of an operator."""

from __future__ import annotations

import pytest

from raymemprof import Recommendation
from raymemprof.diagnosis.advise.ray_data import about_operator, asking
from raymemprof.diagnosis.advise.remarks import remarks
from raymemprof.diagnosis.advise.workloads import workload_of

READ = 'memory=2_000_000 of the read (of an older Ray, ray_remote_args={"memory": 2_000_000})'
WRITE = 'ray_remote_args={"memory": 2_000_000} of the write'
FUSED = ": Ray Data runs only operators that ask for the same as one task."
LEFT_OUT = "That leaves out {}: it then runs as a task of its own."


@pytest.mark.parametrize(
    ("operator", "asked"),
    [
        ("MapBatches(widen)", "map_batches(widen, memory=2_000_000)."),
        ("Map(Outer.one)", "map(Outer.one, memory=2_000_000)."),
        ("FlatMap(<lambda>)", "flat_map(lambda …, memory=2_000_000)."),
        ("Filter((col('a') > 5) & (col('b') < 3))", "filter(expr=…, memory=2_000_000)."),
        ("Filter(Outer.<locals>.is_odd)", "filter(Outer.<locals>.is_odd, memory=2_000_000)."),
        ("MapBatches(add_column)", "add_column(…, memory=2_000_000)."),
        ("MapBatches(random_sample)", None),
        ("MapWorker(MapBatches(Model)).submit", "map_batches(Model, memory=2_000_000)."),
        (
            "MapWorker(MapBatches(a)->MapBatches(b))",
            f"map_batches(a, memory=2_000_000) and map_batches(b, memory=2_000_000){FUSED}",
        ),
        ("MapWorker(MapBatches(a)->MapBatches(b", None),
        (
            "MapBatches(a)->MapBatches(b)",
            f"map_batches(a, memory=2_000_000) and map_batches(b, memory=2_000_000){FUSED}",
        ),
        ("Map(<lambda>)->Map(<lambda>)", "each map(lambda …, memory=2_000_000)."),
        ("ReadParquet", f"{READ}."),
        ("ReadParquet->SplitBlocks(4)", f"{READ}."),
        (
            "ReadFilesParquet->MapBatches(widen)->Filter(is_odd)->Write",
            f"{READ} and map_batches(widen, memory=2_000_000) and filter(is_odd, memory=2_000_000) and {WRITE}{FUSED}",
        ),
        ("ReadRange->MapBatches(widen)", f"map_batches(widen, memory=2_000_000). {LEFT_OUT.format('ReadRange')}"),
        ("ReadParquet->MapBatches(sco", f"{READ}. {LEFT_OUT.format('MapBatches(sco')}"),
        (
            "ReadParquet->Project->MapBatches(widen)->StandardScaler",
            f"{READ} and map_batches(widen, memory=2_000_000). That leaves out Project and StandardScaler: they then "
            "run as tasks of their own.",
        ),
        (
            "MapBatches(widen)->StreamingRepartition[num_rows_per_block=5,strict=False]",
            "map_batches(widen, memory=2_000_000). "
            + LEFT_OUT.format("StreamingRepartition[num_rows_per_block=5,strict=False]"),
        ),
        ("Readjust->x", None),
        ("Writer(x)->y", None),
        ("Aggregate", None),
        ("", None),
        ("->".join(f"MapBatches(f{number})" for number in range(50)), None),
    ],
)
def test_what_asks_for_memory(operator: str, asked: str | None) -> None:
    assert list(about_operator(operator, 2_000_000)) == ([] if asked is None else [f"ask for it with {asked}"])


@pytest.mark.parametrize(
    ("names", "memory", "asked"),
    [
        (("ray::MapBatches(widen)",), 2_000_000, "`map_batches(widen, memory=2_000_000)`"),
        ((None, "MapWorker(MapBatches(Model)).submit"), None, "`map_batches(Model, memory=…)`"),
        (("ReadRange->Map(one)",), 2_000_000, "`map(one, memory=2_000_000)` (without ReadRange)"),
        (
            ("ReadParquet->Map(one)",),
            2_000_000,
            "`memory=2_000_000` of the read (of an older Ray, "
            '`ray_remote_args={"memory": 2_000_000}`) and `map(one, memory=2_000_000)`',
        ),
        (("ListFiles",), 2_000_000, "`map_batches(…, memory=2_000_000)`"),
        (("RayTrainWorker",), None, '`ScalingConfig(resources_per_worker={"CPU": 1, "memory": …})`'),
        (("load",), 2_000_000, "`@ray.remote(memory=2_000_000)`"),
    ],
)
def test_what_asks_for_memory_is_said_the_same_everywhere(
    names: tuple[str | None, ...], memory: int | None, asked: str
) -> None:
    assert asking(workload_of(*names), memory, *names) == asked


@pytest.mark.parametrize(
    ("name", "noted", "is_told"),
    [("ReadDelta", 1_000_000, True), ("ReadDelta", None, False), ("ReadCSV", None, True), ("Readjust->x", None, False)],
)
def test_what_ray_data_noted_is_ray_data_s_whatever_its_name(name: str, noted: int | None, is_told: bool) -> None:
    row = Recommendation(name, "task", 1, 1, 1, 1, 1, 1, 2_000_000, 1.0, {}, {}, (), ray_data_peak=noted)
    assert (f"{name}: ask for it with {READ}." in remarks([row])) is is_told
