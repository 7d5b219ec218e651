"""Find the Ray Data operator that needs the most memory, and the line that causes it: `python examples/data.py`.

The job counts the words in Python's own sources. Nothing in it is decorated. One line is a mistake.
"""

import sysconfig
from collections import Counter
from pathlib import Path

import ray

import raymemprof


def count_words(batch: dict) -> dict:
    """Count the words of a batch of files."""
    # MISTAKE: makes one list of all words in the batch; counting file by file would do.
    words = [word for text in batch["bytes"] for word in text.split()]
    counts = Counter(words).most_common(100)
    return {"word": [word for word, _ in counts], "count": [count for _, count in counts]}


if __name__ == "__main__":
    runtime_env = raymemprof.runtime_env()  # records every operator
    ray.init("local", num_cpus=2, include_dashboard=False, logging_level="ERROR", runtime_env=runtime_env)
    ray.data.DataContext.get_current().enable_progress_bars = False

    paths = [str(path) for path in Path(sysconfig.get_path("stdlib")).glob("*/*.py")]
    sources = ray.data.read_binary_files(paths, override_num_blocks=2)
    rows = sources.map_batches(count_words, batch_size=10_000).take_all()
    total: Counter[bytes] = Counter()
    for row in rows:
        total[row["word"]] += row["count"]
    print("Most frequent:", b" ".join(word for word, _ in total.most_common(5)).decode())

    print(raymemprof.summary())
    largest = max(raymemprof.calls(name="*count_words*"), key=lambda call: call.growth)
    line = raymemprof.heap(largest).top(1)[0]
    print(f"{largest.name} held {line.bytes / 2**20:.0f} MiB by {line.location}: {line.text}")
