"""Healthy jobs of Ray's libraries, named on the command line; prints what `doctor()` says of each, as JSON lines."""

import json
import sys
import tempfile
import time

import numpy as np
import ray
from several_nodes import init

import raymemprof
from raymemprof import profile_memory

MB = 10**6


def work(size: int) -> float:
    """Allocate, use and free, as a step of any job does."""
    batch = np.ones(size // 8)
    time.sleep(0.05)
    return float(batch.sum())


def data() -> None:
    @profile_memory
    def scale(batch):
        work(20 * MB)
        return {"id": batch["id"] * 2}

    @profile_memory
    class Model:
        def __init__(self):
            self.weights = np.ones(30 * MB // 8)

        def __call__(self, batch):
            return {"id": batch["id"] * self.weights[0]}

    result = ray.data.range(20_000).map_batches(scale, batch_size=1_000).map_batches(Model, concurrency=1)
    assert sum(row["id"] for row in result.take_all()) == 20_000 * 19_999


def serve() -> None:
    from ray import serve

    @serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.5})
    @profile_memory
    class Model:
        def __init__(self):
            self.weights = np.ones(30 * MB // 8)

        def predict(self, number: int) -> float:
            return work(5 * MB) * number

    handle = serve.run(Model.bind(), name="healthy", route_prefix=None)
    answers = [handle.predict.remote(number) for number in range(60)]
    assert len([answer.result(timeout_s=60) for answer in answers]) == 60


def train() -> None:
    from ray import train
    from ray.train import RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    @profile_memory
    def epoch():
        return work(40 * MB)

    def loop():
        for _ in range(3):
            epoch()
            train.report({"loss": 1.0})

    run = RunConfig(storage_path=tempfile.mkdtemp())
    scaling = ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1})
    DataParallelTrainer(loop, scaling_config=scaling, run_config=run).fit()


def tune() -> None:
    from ray import tune

    @profile_memory
    def step(size):
        return work(size)

    def trial(config):
        for _ in range(3):
            tune.report({"score": step(config["size"])})

    space = {"size": tune.grid_search([10 * MB, 20 * MB, 40 * MB])}
    config = tune.RunConfig(storage_path=tempfile.mkdtemp(), verbose=0)
    results = tune.Tuner(trial, param_space=space, run_config=config).fit()
    assert not results.errors


if __name__ == "__main__":
    init(num_cpus=4, logging_level="ERROR", log_to_driver=False, object_store_memory=10**8)
    jobs = {"data": data, "serve": serve, "train": train, "tune": tune}
    for name in sys.argv[1:]:
        jobs[name]()
        diagnosis = raymemprof.doctor()
        said = {"job": name, "healthy": diagnosis.healthy, "calls": len(raymemprof.calls()), "shown": str(diagnosis)}
        said["findings"] = [(one.illness, one.severity, one.title) for one in diagnosis.findings]
        print("doctor", json.dumps(said), flush=True)
    ray.shutdown()
