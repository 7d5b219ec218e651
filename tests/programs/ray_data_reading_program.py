"""Ray Data reads Parquet, and its workers keep what they freed: `ray_data_reading_program.py FOLDER [NAME=VALUE ...]`.

The variables are those of the workers.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from several_nodes import init

import raymemprof
from raymemprof import profile_memory

FILES, ROWS = 6, 500_000


@profile_memory
def identity(batch):
    return batch


@ray.remote(num_cpus=0)
def read_once(folder):
    """Have the workers read everything once: from then on they keep what allocators do not give back."""
    for _ in ray.data.read_parquet(folder).map_batches(identity, batch_size=50_000).iter_batches(batch_size=50_000):
        pass


def private(process):
    """RSS − SHR of a process."""
    memory = process.memory_info()
    return memory.rss - memory.shared


def told(heap):
    """What a heap says, as JSON."""
    top = heap.top(1)
    return {
        "line": top[0].line if top else None,
        "peak": heap.peak,
        "grew": heap.grew,
        "rest": (heap.retained or 0) + (heap.unseen or 0) - heap.released,
        "retained_before": heap.retained_before,
        "notes": heap.notes,
    }


def main(folder, variables):
    if not folder.exists():
        folder.mkdir()
        for part in range(FILES):
            rng = np.random.default_rng(part)
            pq.write_table(pa.table({f"c{n}": rng.random(ROWS) for n in range(8)}), folder / f"{part}.parquet")
    os.environ["RAY_kill_idle_workers_interval_ms"] = "0"  # those that have read are to read again
    init(
        num_cpus=2,
        logging_level="ERROR",
        log_to_driver=False,
        object_store_memory=10**9,
        runtime_env={"env_vars": variables},
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.get(read_once.remote(str(folder)))
    deadline = time.monotonic() + 30
    while {capture.status for capture in raymemprof.captures(name="identity")} != {"closed"}:
        assert time.monotonic() < deadline  # the next ones are to begin in used workers
        time.sleep(0.05)
    data = ray.data.read_parquet(str(folder)).map_batches(identity, batch_size=50_000)
    rows, before = 0, private(psutil.Process())
    with profile_memory("consume"):
        for batch in data.iter_batches(batch_size=50_000):  # planted
            rows += len(batch["c0"])
    assert rows == FILES * ROWS
    consume = raymemprof.calls(name="consume")[-1]
    last_of = {call.pid: call for call in raymemprof.calls(name="identity") if call.started_at >= consume.started_at}
    heaps = {pid: raymemprof.heap(call.capture) for pid, call in last_of.items()}
    most = max(heaps, key=lambda pid: heaps[pid].retained_before or 0)
    print(
        json.dumps(
            {
                "driver": told(raymemprof.heap(consume)),
                "driver_grew": consume.peak_memory - before,
                "worker": told(heaps[most]),
                "worker_has": last_of[most].memory_after,
                "doctor": [(one.illness, one.next_steps[0]) for one in raymemprof.doctor().findings],
            }
        )
    )
    ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), dict(part.split("=", 1) for part in sys.argv[2:]))
