"""A job of Ray Data's, and a pool, of which nothing is decorated. The planted mistake: an operator keeps its blocks."""

from __future__ import annotations

import json
import sys

import numpy as np
import ray


def widen(batch):
    return {"id": batch["id"], "wide": np.ones((len(batch["id"]), 100))}


class Keep:
    def __init__(self):
        self.kept = []

    def __call__(self, batch):
        self.kept.append(np.ones(5_000_000))
        return {"id": batch["id"]}


def main(folder):
    ray.init(logging_level="ERROR", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.data.range(4_000, override_num_blocks=2).write_parquet(folder)
    widened = ray.data.read_parquet(folder, override_num_blocks=2).map_batches(widen, batch_size=2_000, num_cpus=0.5)
    count = widened.map_batches(Keep, concurrency=1, batch_size=2_000, num_cpus=0.25).count()

    from ray.util.multiprocessing import Pool

    with Pool(1) as pool:
        results = [count, pool.map(abs, [-1, -2, 3])]
    print(json.dumps({"job": ray.get_runtime_context().get_job_id(), "results": results}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
