"""Find the Ray Serve deployment that needs the most memory, and the line that causes it: `python examples/serve.py`.

Two deployments search Python's own sources and rank what they find. Nothing is decorated. One line is a mistake.
"""

import sysconfig
from pathlib import Path

import ray
from ray import serve

import raymemprof


@serve.deployment(ray_actor_options={"num_cpus": 0.5})
class Search:
    """Finds lines in the sources."""

    def __init__(self) -> None:
        self.texts = [path.read_text(errors="replace") for path in Path(sysconfig.get_path("stdlib")).glob("*.py")]

    def __call__(self, word: str) -> list[str]:
        """Return all lines with a word."""
        # MISTAKE: splits all texts into lines at once, for each request; one text at a time would do.
        lines = [line for text in self.texts for line in text.splitlines()]
        return [line for line in lines if word in line]


@serve.deployment(ray_actor_options={"num_cpus": 0.5})
class Rank:
    """Ranks the lines that were found."""

    def __init__(self, search: serve.handle.DeploymentHandle) -> None:
        self.search = search

    async def __call__(self, word: str) -> str:
        """Return the shortest line with a word."""
        return min(await self.search.remote(word), key=len)


if __name__ == "__main__":
    runtime_env = raymemprof.runtime_env()  # records every replica
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=runtime_env)
    serve.start(proxy_location="Disabled")
    app = serve.run(Rank.bind(Search.bind()), route_prefix=None)
    print([app.remote(word).result() for word in ("yield from", "nonlocal", "lambda")])

    print(raymemprof.summary())
    largest = max(raymemprof.calls(name="__call__"), key=lambda call: call.growth)
    line = raymemprof.heap(largest).top(1)[0]
    print(f"{largest.name} held {line.bytes / 2**20:.0f} MiB by {line.location}: {line.text}")
