"""A job of Ray Data with a copy and a leak in it: `ray_data_program.py plain|profiled FOLDER`."""

import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import ray

import raymemprof

LEAKED = 400_000
decorate = (lambda target: target) if sys.argv[1] == "plain" else raymemprof.profile_memory


@decorate
def widen(batch):
    copy = {name: values.copy() for name, values in batch.items()}  # planted copy
    batch["d"] = copy["c0"] * 2
    time.sleep(0.02)
    return batch


@decorate
class Score:
    def __init__(self):
        self.seen = []

    def __call__(self, batch):
        self.seen.append(np.ones(LEAKED))  # planted leak
        batch["e"] = batch["d"] + 1
        return batch


def main(folder: Path) -> None:
    source, out = folder / "in", folder / "out"
    source.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part in range(4):
        pq.write_table(pa.table({f"c{n}": rng.random(200_000) for n in range(8)}), source / f"{part}.parquet")
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False, object_store_memory=10**9)
    ray.data.DataContext.get_current().enable_progress_bars = False
    data = ray.data.read_parquet(str(source)).map_batches(widen, batch_size=20_000)
    data.map_batches(Score, batch_size=20_000, concurrency=1).write_parquet(str(out))
    table = pa.dataset.dataset(out).to_table(columns=["d", "e"])
    print("sum", table.num_rows, *(repr(round(float(np.sort(column.to_numpy()).sum()), 6)) for column in table.columns))
    if sys.argv[1] == "plain":
        return
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
    main(Path(sys.argv[2]))
