"""A job of Ray Data with a copy and a leak in it, plain and then profiled: `ray_data_program.py FOLDER`."""

import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import ray
from several_nodes import init

import raymemprof

LEAKED = 400_000


def widen(batch):
    copy = {name: values.copy() for name, values in batch.items()}  # planted copy
    batch["d"] = copy["c0"] * 2
    time.sleep(0.02)
    return batch


class Score:
    def __init__(self):
        self.seen = []

    def __call__(self, batch):
        self.seen.append(np.ones(LEAKED))  # planted leak
        batch["e"] = batch["d"] + 1
        return batch


def run(decorate, folder: Path, out: Path) -> None:
    """Run the job, and print how many rows came of it and their sums."""
    data = ray.data.read_parquet(str(folder)).map_batches(decorate(widen), batch_size=20_000)
    data.map_batches(decorate(Score), batch_size=20_000, concurrency=1).write_parquet(str(out))
    table = pa.dataset.dataset(out).to_table(columns=["d", "e"])
    print("sum", table.num_rows, *(repr(round(float(np.sort(column.to_numpy()).sum()), 6)) for column in table.columns))


def main(folder: Path) -> None:
    source = folder / "in"
    source.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part in range(4):
        pq.write_table(pa.table({f"c{n}": rng.random(200_000) for n in range(8)}), source / f"{part}.parquet")
    init(num_cpus=2, logging_level="ERROR", log_to_driver=False, object_store_memory=10**9)
    ray.data.DataContext.get_current().enable_progress_bars = False
    run(lambda target: target, source, folder / "plain")
    assert list(raymemprof.calls()) == []
    run(raymemprof.profile_memory, source, folder / "profiled")
    calls = raymemprof.calls(name="widen")
    largest = raymemprof.heap(max(calls, key=lambda call: call.peak_memory - call.memory_before))
    diagnosis = raymemprof.doctor()
    scores = raymemprof.calls(name="Score.__call__")
    held = raymemprof.heap(scores[-1].capture).top(1)
    found = {
        "copy": largest.top(1)[0].line,
        "findings": [(one.illness, one.name, one.lines[0].line if one.lines else None) for one in diagnosis.findings],
        "held": held[0].bytes,
        "leaked": len(scores) * LEAKED * 8,
    }
    print("found", found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
