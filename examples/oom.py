"""Find out what happened, and where, when Ray raises OutOfMemoryError: `python examples/oom.py`.

A task keeps everything that it reads, until Ray's memory monitor kills it. raymemprof says which line to change.
"""

import os
import time

import psutil

# Ray kills a worker when 95 % of the machine's memory is used. To run on any machine, this example makes Ray kill at
# the current use plus 1.25 GiB, check every 50 ms, and not retry the task.
memory = psutil.virtual_memory()
threshold = (memory.total - memory.available + 1.25 * 2**30) / memory.total
os.environ["RAY_memory_usage_threshold"] = f"{min(threshold, 0.95):.4f}"
os.environ["RAY_memory_monitor_refresh_ms"] = "50"

import ray  # after setting the variables, because Ray reads them

import raymemprof
from raymemprof import profile_memory


@ray.remote(max_retries=0)
@profile_memory  # this is all that is needed
def count_bytes(batches: int) -> int:
    """Count the bytes of the data: here, batches of 50 MB that contain only ones."""
    seen = []
    for _ in range(batches):
        # MISTAKE: keeps every batch until the last one has come; it could count them one by one.
        seen.append(bytearray(b"1") * 50_000_000)
        time.sleep(0.05)  # as if it took a while to read
    return sum(map(len, seen))


if __name__ == "__main__":
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        # 50 batches are 2.5 GB, more than Ray allows here.
        print("Counted", ray.get(count_bytes.remote(50)))
    except ray.exceptions.OutOfMemoryError as error:
        print("Ray says:")
        print("\n".join(line[:110] for line in str(error).splitlines()[:3]), "\n…")

        print("\nraymemprof says:")
        print(raymemprof.explain(error))

        print()
        print(raymemprof.ooms())  # every kill of the session, even while the job runs or after it has ended
