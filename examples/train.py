"""Find the Ray Train worker that needs the most memory, and the line that causes it: `python examples/train.py`.

Two workers fit a line to points. Nothing is decorated. One line is a mistake.
"""

import os
import tempfile

os.environ["RAY_TRAIN_V2_ENABLED"] = "1"  # the newer Ray Train, which is not the default everywhere yet

import numpy as np
import ray
from ray import train
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

import raymemprof


def fit_line(config: dict) -> None:
    """Fit a line by gradient descent; workers of a higher rank have more points."""
    rank = train.get_context().get_world_rank()
    x = np.random.default_rng(rank).normal(size=200_000 * (rank + 1))
    y, slope, errors = 3 * x, 0.0, []
    for _ in range(config["epochs"]):
        # MISTAKE: keeps the errors of all points in every epoch; only the last ones are used.
        errors.append(slope * x - y)
        slope -= config["rate"] * float(np.mean(errors[-1] * x))
    train.report({"slope": slope})


if __name__ == "__main__":
    runtime_env = raymemprof.runtime_env({"env_vars": {"RAY_TRAIN_V2_ENABLED": "1"}})  # records every worker
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=runtime_env)
    with tempfile.TemporaryDirectory() as folder:
        trainer = DataParallelTrainer(
            fit_line,
            train_loop_config={"epochs": 20, "rate": 0.5},
            scaling_config=train.ScalingConfig(num_workers=2),
            run_config=train.RunConfig(storage_path=folder),
        )
        trainer.fit()

    print(raymemprof.calls())
    largest = max(raymemprof.calls(name="fit_line"), key=lambda call: call.growth)
    line = raymemprof.heap(largest).top(1)[0]
    print(f"{largest.name}, {largest.context}, held {line.bytes / 2**20:.0f} MiB by {line.location}: {line.text}")
