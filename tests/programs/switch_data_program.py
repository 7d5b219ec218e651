"""A job of Ray Data's, and a pool, of which nothing is decorated. The planted mistake: an operator keeps its blocks."""

from __future__ import annotations

import json
import sys

import numpy as np
import ray

SPIKE = 120_000_000


def widen(batch):
    np.ones(SPIKE // 8)  # gone before Ray Data looks
    return {"id": batch["id"], "wide": np.ones((len(batch["id"]), 100))}


def note_metrics(noted):
    """Note what Ray Data itself says of the memory of its operators, from where it keeps it in the driver."""
    from ray.data._internal.execution.streaming_executor import StreamingExecutor

    def shutdown(self, *args, **kwargs):
        for operator in self._topology or ():
            metrics = operator.metrics
            if hasattr(metrics, "max_uss_bytes"):
                noted[operator.name] = metrics.max_uss_bytes.max
            else:  # Ray 2.49 has the mean of all blocks
                noted[operator.name] = metrics.average_max_uss_per_task
        return original(self, *args, **kwargs)

    original, StreamingExecutor.shutdown = StreamingExecutor.shutdown, shutdown


class Keep:
    def __init__(self):
        self.kept = []

    def __call__(self, batch):
        self.kept.append(np.ones(5_000_000))
        return {"id": batch["id"]}


def main(folder):
    ray.init(logging_level="ERROR", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    # It looks only after each block then: once a second, it would meet the spike on a slow machine.
    ray.data.DataContext.get_current().memory_usage_poll_interval_s = None
    noted = {}
    note_metrics(noted)
    ray.data.range(4_000, override_num_blocks=2).write_parquet(folder)
    widened = ray.data.read_parquet(folder, override_num_blocks=2).map_batches(widen, batch_size=2_000, num_cpus=0.5)
    count = widened.map_batches(Keep, concurrency=1, batch_size=2_000, num_cpus=0.25).count()

    from ray.util.multiprocessing import Pool

    with Pool(1) as pool:
        results = [count, pool.map(abs, [-1, -2, 3])]
    print(json.dumps({"job": ray.get_runtime_context().get_job_id(), "results": results, "noted": noted}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
