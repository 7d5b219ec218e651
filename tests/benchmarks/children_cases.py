"""What the cases of `children.py` run: a module of its own, since children that are started anew import it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 2**20
SIZE = 500 * MIB
WORKERS = 4
SETTLE = 3.0
"""Seconds for which each child holds what it has, so that there is a moment to look at."""


def numbers(size: int = SIZE) -> Any:
    """A data set that is only read."""
    import numpy as np

    return np.ones(size // 8)


def objects(size: int = SIZE) -> Any:
    """One of Python objects, whose reference counts change as they are read: some 160 bytes each."""
    return [b"%120d" % number for number in range(size // 160)]


class Shards:
    """A data set for a DataLoader: each item is a hundredth of the data, every part of which is looked at."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return 100

    def __getitem__(self, number: int) -> float:
        size = len(self.data) // 100
        total = sum(map(_use, self.data[number * size : (number + 1) * size : 8]))
        time.sleep(SETTLE * WORKERS / 100)
        return float(total)


def _use(item: object) -> int:
    return 1


def iterate(pid_file: str, method: str, make: Callable[..., Any], size: int = SIZE) -> None:
    """Iterate over a DataLoader as a training loop does."""
    import torch.utils.data

    Path(pid_file).write_text(str(os.getpid()))
    shards: Any = Shards(make(size))
    for _ in torch.utils.data.DataLoader(shards, num_workers=WORKERS, multiprocessing_context=method):
        pass


def fill(size: int) -> int:
    """What a pool's worker does."""
    data = bytearray(b"1") * size
    time.sleep(SETTLE)
    return len(data)


def pool(pid_file: str, method: str, size: int = 100 * MIB) -> None:
    """Use a ProcessPoolExecutor."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    Path(pid_file).write_text(str(os.getpid()))
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context(method)) as executor:
        list(executor.map(fill, [size] * WORKERS))


class Filling:
    """A data set whose items take memory while they are made."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> int:
        return fill(30 * MIB)
