"""How Ray is asked for memory, by what runs in a process: a plain task or actor, or one of Ray's libraries.

A library starts tasks and actors of its own, under names of its own, and has options of its own for what `@ray.remote`
says of a plain one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["RAY_DATA", "Workload", "is_rays_own", "workload_of"]


class Workload(NamedTuple):
    """What runs in a process, and the options that decide how much memory it takes."""

    kind: str
    """As a reader knows it: "Ray Data", say; "task" or "actor" for what the user's code made a remote function of."""
    names: re.Pattern[str]
    """Names of Ray's tasks and actors, or of processes, that show it."""
    ask: str
    """The code that asks Ray for memory; a format string that takes `memory`."""
    fewer: str
    """What else limits how many run at once."""
    smaller: str
    """What makes one of them take less."""
    restart: str
    """What starts it afresh where it grows."""
    documented: str
    """The page of its documentation."""

    @property
    def is_library(self) -> bool:
        """Whether a library made the task or actor, which nobody decorates, and not the user's code."""
        return self.kind not in ("task", "actor")


RAY_DATA = "Ray Data"
_READS = "Parquet|CSV|JSON|Text|Image|Images|Binary|Numpy|TFRecord|WebDataset|SQL|Range|Avro|Mongo|BigQuery|Lance"
_LIBRARIES: tuple[Workload, ...] = (
    Workload(
        RAY_DATA,
        re.compile(
            r"^MapWorker\(|->|^(Map|MapBatches|MapRows|FlatMap|Filter|Write)\(|^ListFiles\b|"
            rf"^Read(?:Files)?({_READS})(?:V\d+)?\b"
        ),
        "map_batches(…, memory={memory:_})",
        "lower its `concurrency=`",
        'Use smaller batches: batch_size="auto" (Ray 2.56 and later), or about 16 MiB each.',
        "A class's actors live as long as the dataset runs: have it keep nothing between batches.",
        "https://docs.ray.io/en/latest/data/how-to-avoid-ooms.html",
    ),
    Workload(
        "Ray Serve",
        re.compile(r"^ServeReplica\b|^SERVE_REPLICA\b"),
        '@serve.deployment(ray_actor_options={{"memory": {memory:_}}})',
        "lower `max_replicas_per_node=`, or `max_ongoing_requests=`, which limits the requests that a replica handles",
        "Have a replica handle fewer requests at once: lower `max_ongoing_requests=`.",
        "Have its `check_health` raise above a size: Serve then starts the replica afresh.",
        "https://docs.ray.io/en/latest/serve/resource-allocation.html",
    ),
    Workload(
        "Ray Train",
        re.compile(r"^_?RayTrainWorker(\b|__)|^TrainWorker\b"),
        'ScalingConfig(resources_per_worker={{"CPU": 1, "memory": {memory:_}}})',
        "lower `num_workers=` of the ScalingConfig",
        "Use a smaller batch, and fewer workers in its DataLoader (`num_workers=`).",
        "Save checkpoints, so that a run can go on after a restart: `RunConfig(failure_config=FailureConfig(…))`.",
        "https://docs.ray.io/en/latest/train/user-guides/using-gpus.html",
    ),
    Workload(
        "Ray Tune",
        re.compile(r"^ImplicitFunc\b|^WrappedTrainable\b"),
        'tune.with_resources(trainable, {{"cpu": 1, "memory": {memory:_}}})',
        "lower `max_concurrent_trials=` of the TuneConfig",
        "Have a trial load less, or share what all trials read: `tune.with_parameters`.",
        "Save checkpoints, so that a trial can go on after a restart: `RunConfig(failure_config=FailureConfig(…))`.",
        "https://docs.ray.io/en/latest/tune/tutorials/tune-resources.html",
    ),
)
_LIBRARIES += (
    Workload(
        "Dask on Ray",
        re.compile(r"^dask:"),
        'dask.annotate(ray_remote_args={{"memory": {memory:_}}})',
        "limit how many run: `num_cpus` in the same `ray_remote_args`",
        "Use smaller partitions: `df.repartition(partition_size=…)`, or smaller chunks of an array.",
        "Its tasks keep nothing between each other.",
        "https://docs.ray.io/en/latest/ray-more-libs/dask-on-ray.html",
    ),
    Workload(
        "Daft",
        re.compile(r"^[\w-]{1,100} \[Stage:\d"),
        "@daft.udf(memory_bytes={memory:_})",
        "limit how many run: `num_cpus=` of the UDF",
        "Use smaller partitions: `df.into_partitions(…)` with a larger number.",
        "Its tasks keep nothing between each other.",
        "https://docs.daft.ai/",
    ),
)
_RAYS_OWN = re.compile(
    r"^_ray_internal_|\b(?:JobSupervisor|ServeController|ProxyActor|HTTPProxyActor|SplitCoordinator|_?StatsActor|"
    r"_DatasetStatsActor|AutoscalingRequester|TrainController|_QueueActor|StateManagerActor|RuntimeEnvAgent)\b"
)
"""Actors that Ray and its libraries start for themselves."""
_TASK = Workload(
    "task",
    re.compile(""),
    "@ray.remote(memory={memory:_})",
    "raise its num_cpus",
    "Have it take less at a time.",
    "Have a worker end after so many calls: `@ray.remote(max_calls=…)`.",
    "https://docs.ray.io/en/latest/ray-core/scheduling/ray-oom-prevention.html",
)
_ACTOR = _TASK._replace(
    kind="actor",
    restart="have who calls it start it afresh after so many calls: `ray.kill(actor, no_restart=False)`, with "
    "`@ray.remote(max_restarts=-1, max_task_retries=-1)`",
)


def is_rays_own(name: str | None) -> bool:
    """Whether an actor is one that Ray starts for itself, so that there is no code of the user's to change."""
    return name is not None and _RAYS_OWN.search(name) is not None


def workload_of(*names: str | None, is_actor: bool = False) -> Workload:
    """Return what runs in a process of which these names are known: of its task or actor, or its title."""
    for name in names:
        for library in _LIBRARIES:
            if name and library.names.search(name.removeprefix("ray::")):
                return library
    return _ACTOR if is_actor else _TASK
