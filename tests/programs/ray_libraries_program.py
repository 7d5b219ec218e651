"""Serve, Train and Tune under the switch: which calls there are, and how much each of them holds."""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
import urllib.request

import numpy as np

os.environ["RAY_TRAIN_V2_ENABLED"] = "0"  # version 2 is what examples/train.py uses

import ray
from ray import train, tune
from ray.train.data_parallel_trainer import DataParallelTrainer

import raymemprof
from raymemprof import profile_memory

MIB = 2**20


def ones(megabytes):
    return np.ones(megabytes * MIB, dtype=np.int8).nbytes


class Model:
    def __init__(self):
        self.kept = np.ones(11 * MIB, dtype=np.int8)

    def __call__(self, request):
        return ones(12)

    async def later(self, megabytes):
        return ones(megabytes)

    async def batch(self, all_megabytes):  # Serve is not imported where it cannot be
        return [ones(megabytes) for megabytes in all_megabytes]

    async def one(self, megabytes):
        return await self.in_batches(megabytes)


def serving(port):
    from fastapi import FastAPI
    from ray import serve

    routes = FastAPI()

    @serve.ingress(routes)
    class Routes:
        @routes.get("/wide/{megabytes}")
        def wide(self, megabytes: int):
            return ones(megabytes)

    Model.in_batches = serve.batch(Model.batch, max_batch_size=4, batch_wait_timeout_s=0.01)
    serve.start(http_options={"port": port})
    make = functools.partial(serve.deployment, ray_actor_options={"num_cpus": 0.1})
    handle = serve.run(make(Model).bind(), name="default", route_prefix="/model")
    serve.run(make(profile_memory(Model)).bind(), name="other", route_prefix="/other")
    serve.run(make(Routes).bind(), name="routes", route_prefix="/routes")
    answers = [
        int(urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=60).read())
        for path in ("model", "other", "routes/wide/14")
    ]
    answers.append(handle.later.remote(13).result(timeout_s=60))
    answers += [handle.one.remote(megabytes).result(timeout_s=60) for megabytes in (15, 16)]
    answers.append("ProxyActor" in {one.name for one in raymemprof.usage().processes if one.memory > MIB})
    return answers


def train_function(config):
    ones(config["megabytes"] + train.get_context().get_world_rank())
    train.report({"loss": 0})


class Trial(tune.Trainable):
    def setup(self, config):
        self.megabytes = config["megabytes"]

    def step(self):
        return {"score": ones(self.megabytes), "done": True}

    def save_checkpoint(self, folder):
        pass


def with_data(config, data=None):
    tune.report({"score": ones(config["megabytes"])})


def training(folder):
    run_config = train.RunConfig(storage_path=folder)
    for function in (train_function, profile_memory(train_function)):
        scaling = train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.1}, trainer_resources={"CPU": 0})
        trainer = DataParallelTrainer(
            function, train_loop_config={"megabytes": 21}, scaling_config=scaling, run_config=run_config
        )
        yield trainer.fit().error is None
    for trainable in (tune.with_resources(Trial, {"CPU": 0.1}), tune.with_parameters(with_data, data=[1])):
        config = tune.RunConfig(storage_path=folder, verbose=0)
        results = tune.Tuner(trainable, param_space={"megabytes": 31}, run_config=config).fit()
        yield results[0].metrics["score"]


def main(port):
    ray.init("local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        results = [*(serving(port) if port else []), *training(folder)]
    calls = [
        (call.name, call.kind, call.status, call.deployment, call.context, round(call.growth / MIB))
        for call in raymemprof.calls()
    ]
    print(json.dumps({"results": results, "calls": calls}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
