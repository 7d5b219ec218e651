"""What people's libraries do with memory, one function each; the line that does it is marked `planted`.

Each holds what it made for a moment, as real work does, until its memory was looked at from outside. They get the
folder with the files that `prepare` makes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

MIB = 2**20
HOLD = 0.15
"""Seconds for which what was made is held at least."""
LONGEST_HOLD = 10
LOOKS = "looks"
"""A file in that folder: how often all processes were looked at from outside, as an integer of eight bytes."""
MANY_LOOKS = 60

MOST_UNSEEN = {
    "numpy": (8, "what the interpreter allocates beside the call"),
    "pandas": (24, "pages of Arrow's old pool that reading Parquet, on threads, leaves and takes between two looks"),
    "arrow": (24, "the same"),
    "duckdb": (16, "pages of jemalloc that it has not given back"),
    "polars": (16, "pages of jemalloc that it has not given back"),
    "torch": (16, "stacks and arenas of OpenMP's threads"),
    "sklearn": (16, "stacks and arenas of OpenMP's threads"),
    "pillow": (8, "what the interpreter allocates beside the call"),
    "opencv": (8, "stacks of its threads"),
    "lightgbm": (16, "stacks and arenas of OpenMP's threads"),
    "lxml": (16, "free parts of malloc's pages, which mallinfo2 counts between two looks"),
    "h5py": (8, "what the interpreter allocates beside the call"),
    "plain": (8, "free blocks in pages of Python's own allocator"),
    "freed": (8, "what the interpreter allocates beside the call"),
    "shared": (8, "what the interpreter allocates beside the call"),
    "memmap": (8, "what the interpreter allocates beside the call"),
}
"""MiB that may be unseen of a library's cases beside what the heap's notes explain, and what they are as a rule."""


def hold(folder: str) -> None:
    """Wait for a moment, and for whoever looks from outside."""
    with open(os.path.join(folder, LOOKS), "rb", buffering=0) as file:

        def looks() -> int:
            return int.from_bytes(os.pread(file.fileno(), 8, 0), "little")

        start, first = time.monotonic(), looks()
        time.sleep(HOLD)
        while looks() < first + MANY_LOOKS and time.monotonic() < start + LONGEST_HOLD:
            time.sleep(0.01)


def prepare(folder: Path) -> None:
    """Make the files that the cases read."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    numbers = pa.table({f"c{i}": rng.random(2_500_000) for i in range(8)})
    pq.write_table(numbers, folder / "numbers.parquet", row_group_size=250_000)
    (folder / "set").mkdir()
    for part in range(4):
        pq.write_table(numbers.slice(part * 600_000, 600_000), folder / "set" / f"{part}.parquet")
    words = pa.table({"key": [f"key {i % 997}" for i in range(600_000)], "text": [f"text {i}" for i in range(600_000)]})
    pq.write_table(words, folder / "words.parquet")
    with open(folder / "numbers.csv", "w") as file:
        file.write("a,b,c,d\n")
        for i in range(2_000_000):
            file.write(f"{i},{i * 0.5},{i % 7},{i * 3}\n")
    np.random.default_rng(1).random(20_000_000).tofile(folder / "plain.bin")
    with pa.OSFile(str(folder / "numbers.arrow"), "wb") as sink, pa.ipc.new_file(sink, numbers.schema) as writer:
        writer.write_table(numbers)


def numpy_touched(folder):
    import numpy as np

    kept = np.ones(25_000_000)  # planted
    hold(folder)
    return len(kept)


def numpy_untouched(folder):
    import numpy as np

    kept = np.zeros(200_000_000)  # planted
    hold(folder)
    return len(kept)


def numpy_a_fifth(folder):
    import numpy as np

    kept = np.zeros(100_000_000)  # planted
    kept[:20_000_000] = 1
    hold(folder)
    return len(kept)


def numpy_read_only(folder):
    import numpy as np

    kept = np.zeros(50_000_000)  # planted
    total = kept.sum()
    hold(folder)
    return total


def numpy_temporaries(folder):
    import numpy as np

    kept = np.ones(10_000_000)
    total = (kept * 2 + 1 + kept * 3).sum()  # planted
    hold(folder)
    return total


def pandas_numbers(folder):
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame(np.ones((5_000_000, 4)))  # planted
    hold(folder)
    return len(frame)


def pandas_strings(folder):
    import pandas as pd

    frame = pd.DataFrame({"a": [f"text number {i}" for i in range(500_000)]})  # planted
    hold(folder)
    return len(frame)


def pandas_concat(folder):
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame(np.ones((1_000_000, 4)))
    whole = pd.concat([frame] * 5)  # planted
    hold(folder)
    return len(whole)


def pandas_read_parquet(folder):
    import pandas as pd

    frame = pd.read_parquet(f"{folder}/numbers.parquet")  # planted
    hold(folder)
    return len(frame)


def pandas_read_csv(folder):
    import pandas as pd

    frame = pd.read_csv(f"{folder}/numbers.csv")  # planted
    hold(folder)
    return len(frame)


def arrow_array(folder):
    import numpy as np
    import pyarrow as pa

    numbers = np.arange(100)
    kept = pa.array(list(range(3_000_000)))  # planted
    hold(folder)
    return len(kept) + len(numbers)


def arrow_cast(folder):
    import numpy as np
    import pyarrow as pa

    kept = pa.array(np.arange(8_000_000)).cast(pa.string())  # planted
    hold(folder)
    return len(kept)


def arrow_concat_tables(folder):
    import numpy as np
    import pyarrow as pa

    table = pa.table({"a": np.arange(4_000_000)})
    whole = pa.concat_tables([table] * 4).combine_chunks()  # planted
    hold(folder)
    return whole.num_rows


def arrow_group_by(folder):
    import numpy as np
    import pyarrow as pa

    table = pa.table({"k": np.arange(2_000_000), "v": np.ones(2_000_000)})
    sums = [("v", how) for how in ("sum", "mean", "max", "min", "count")]
    grouped = table.group_by("k").aggregate(sums)  # planted
    hold(folder)
    return grouped.num_rows


def arrow_read_table(folder):
    import pyarrow.parquet as pq

    table = pq.read_table(f"{folder}/numbers.parquet")  # planted
    hold(folder)
    return table.num_rows


def arrow_read_strings(folder):
    import pyarrow.parquet as pq

    table = pq.read_table(f"{folder}/words.parquet")  # planted
    hold(folder)
    return table.num_rows


def arrow_memory_map(folder):
    import pyarrow as pa
    import pyarrow.compute

    with pa.memory_map(f"{folder}/numbers.arrow") as source:
        table = pa.ipc.open_file(source).read_all()
        kept = table.column("c0").combine_chunks()
        products = [pyarrow.compute.multiply(kept, factor) for factor in (2.0, 3.0, 4.0)]  # planted
        hold(folder)
        return len(products)


def arrow_dataset(folder):
    import pyarrow.dataset as ds

    table = ds.dataset(f"{folder}/set").to_table()  # planted
    hold(folder)
    return table.num_rows


def duckdb_table(folder):
    import duckdb

    connection = duckdb.connect()
    connection.execute("create table t as select range a, range * 2.5 b, range % 7 c from range(6000000)")  # planted
    hold(folder)
    count = connection.execute("select count(*) from t").fetchone()
    connection.close()
    return count


def polars_frame(folder):
    import polars as pl

    frame = pl.read_parquet(f"{folder}/numbers.parquet")  # planted
    hold(folder)
    return frame.height


def polars_strings(folder):
    import polars as pl

    numbers = pl.DataFrame({"a": range(1_000_000)})
    frame = numbers.with_columns(b=pl.format("text {}", "a"), c=pl.col("a") * 2.5)  # planted
    hold(folder)
    return frame.height


def torch_tensor(folder):
    import torch

    kept = torch.ones(25_000_000)  # planted
    hold(folder)
    return len(kept)


def torch_training(folder):
    import torch

    layer = torch.nn.Linear(2_000, 4_000)
    out = layer(torch.ones(8_000, 2_000)).relu()  # planted
    hold(folder)
    return out.shape[0]


def sklearn_forest(folder):
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(0)
    x, y = rng.random((20_000, 8)), rng.random(20_000)
    model = RandomForestRegressor(n_estimators=60, n_jobs=2).fit(x, y)  # planted
    hold(folder)
    return len(model.estimators_)


def sklearn_scaler(folder):
    import numpy as np
    from sklearn.preprocessing import StandardScaler

    x = np.ones((2_000_000, 8), np.float32)
    scaled = StandardScaler().fit_transform(x).astype(np.float64)  # planted
    hold(folder)
    return len(scaled)


def pillow_images(folder):
    from PIL import Image

    kept = [Image.new("RGB", (3_000, 3_000), (1, 2, n)) for n in range(5)]  # planted
    hold(folder)
    return len(kept)


def opencv_resize(folder):
    import cv2
    import numpy as np

    image = np.full((2_000, 2_000, 3), 7, np.uint8)
    large = cv2.resize(image, (8_000, 8_000))  # planted
    hold(folder)
    return large.shape[0]


def lightgbm_train(folder):
    import lightgbm
    import numpy as np

    rng = np.random.default_rng(0)
    x, y = rng.random((600_000, 20)), rng.random(600_000)  # planted
    data = lightgbm.Dataset(x, y).construct()
    hold(folder)
    return data.num_data()


def lxml_tree(folder):
    from lxml import etree

    text = b"<root>" + b"<row a='1'>text</row>" * 300_000 + b"</root>"
    tree = etree.fromstring(text)  # planted
    hold(folder)
    return len(tree)


def h5py_data(folder):
    import h5py
    import numpy as np

    with h5py.File(f"{folder}/x.h5", "w", driver="core", backing_store=False) as file:
        file["a"] = np.ones(12_000_000)  # planted
        hold(folder)
        return file["a"].shape[0]


def plain_objects(folder):
    kept = [{"n": n, "text": str(n)} for n in range(400_000)]  # planted
    hold(folder)
    return len(kept)


def plain_bytes(folder):
    kept = [bytes(2_000) for _ in range(60_000)]  # planted
    hold(folder)
    return len(kept)


def freed_again(folder):
    kept = [bytes(2_000) for _ in range(100_000)]  # planted
    last = kept[-1]
    del kept
    hold(folder)
    more = bytearray(b"1") * (50 * MIB)
    hold(folder)
    return len(last) + len(more)


def shared_memory(folder):
    from multiprocessing import shared_memory as module

    block = module.SharedMemory(create=True, size=120 * MIB)  # planted
    block.buf[:] = bytes(len(block.buf))
    hold(folder)
    block.close()
    block.unlink()


def memmap(folder):
    import numpy as np

    mapped = np.memmap(f"{folder}/plain.bin", np.float64)  # planted
    total = float(mapped.sum())
    hold(folder)
    return total


CASES = [
    numpy_touched,
    numpy_untouched,
    numpy_a_fifth,
    numpy_read_only,
    numpy_temporaries,
    pandas_numbers,
    pandas_strings,
    pandas_concat,
    pandas_read_parquet,
    pandas_read_csv,
    arrow_array,
    arrow_cast,
    arrow_concat_tables,
    arrow_group_by,
    arrow_read_table,
    arrow_read_strings,
    arrow_memory_map,
    arrow_dataset,
    duckdb_table,
    polars_frame,
    polars_strings,
    torch_tensor,
    torch_training,
    sklearn_forest,
    sklearn_scaler,
    pillow_images,
    opencv_resize,
    lightgbm_train,
    lxml_tree,
    h5py_data,
    plain_objects,
    plain_bytes,
    freed_again,
    shared_memory,
    memmap,
]
