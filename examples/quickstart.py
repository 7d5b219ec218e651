"""Find the lines that cost memory in a Ray job: `python examples/quickstart.py`.

The job surveys the Python sources of this machine. Tasks parse them and count their parts, and an actor indexes where
each name is defined. The job has two mistakes that are easy to make. The answers are right, but with more input Ray
would raise `OutOfMemoryError` one day. raymemprof finds the lines to change.
"""

import ast
import linecache
import sysconfig
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path

import ray

import raymemprof
from raymemprof import profile_memory


@ray.remote
@profile_memory  # all it takes to profile a task
def survey(paths: list[Path]) -> tuple[Counter, Counter]:
    """Count what the sources are made of, and the modules they import."""
    trees = []
    for path in paths:
        with suppress(SyntaxError, ValueError, RecursionError):  # some files exist to test these errors
            # MISTAKE: keeps all trees of the batch, much larger than the text; one tree at a time would do.
            trees.append(ast.parse(path.read_bytes()))
    kinds, modules = Counter(), Counter()
    for tree in trees:
        for node in ast.walk(tree):
            kinds[type(node).__name__] += 1
            if isinstance(node, ast.Import):
                modules.update(alias.name for alias in node.names)
    return kinds, modules


@ray.remote
@profile_memory  # and an actor, with each of its methods
class Index:
    """Knows in which files a name is defined."""

    def __init__(self) -> None:
        self.files = defaultdict(set)
        self.lines = {}

    def add(self, paths: list[Path]) -> None:
        """Index more files."""
        for path in paths:
            text = path.read_text(encoding="utf-8", errors="replace")
            # MISTAKE: keeps every text "for later", but nothing ever uses it; the actor grows with each call.
            self.lines[path] = text.splitlines()
            for line in self.lines[path]:
                if line.lstrip().startswith(("def ", "class ")):
                    self.files[line.split("(")[0].split()[-1].rstrip(":")].add(path)

    def most_defined(self) -> list[str]:
        """Return the names that are defined in most files."""
        return sorted(self.files, key=lambda name: -len(self.files[name]))[:5]


def sources(limit: int = 8_000_000) -> list[Path]:
    """Return paths of Python sources: up to `limit` bytes of the standard library, and as much of site-packages."""
    found = []
    for root in (Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib"))):
        left = limit
        for path in sorted(root.rglob("*.py")):
            if "site-packages" not in path.relative_to(root).parts and path.is_file() and path.stat().st_size <= left:
                left -= path.stat().st_size
                found.append(path)
    return found


def print_guilty_line(what: str, target: raymemprof.Call | raymemprof.Capture) -> None:
    """Say in one sentence which line held most memory when `target` held most."""
    heap = raymemprof.heap(target)
    line = heap.top(1)[0]
    sizes = f"{line.bytes / 2**20:.1f} MiB of the {heap.peak / 2**20:.1f} MiB"
    print(f"\n{sizes} that {what} held at its peak came from {line.file}:{line.line}")
    print("    " + linecache.getline(line.file, line.line).strip())


if __name__ == "__main__":
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")

    # The job. Profiling changes nothing in how tasks and actors are called.
    paths = sources()
    batches = [paths[start::6] for start in range(6)]
    index = Index.remote()
    ray.get([index.add.remote(batch) for batch in batches])
    counts = ray.get([survey.remote(batch) for batch in batches])
    kinds, modules = (sum(counters, Counter()) for counters in zip(*counts, strict=True))
    print(f"{len(paths)} files define {kinds['FunctionDef']} functions and {kinds['ClassDef']} classes.")
    print("Imported most:", ", ".join(name for name, _ in modules.most_common(5)))
    print("Defined most:", ", ".join(ray.get(index.most_defined.remote())), end="\n\n")

    # Which calls used memory? The memory of each one's process before it, at its peak and after it.
    print(raymemprof.calls())

    # Which lines? Look at the task's call that grew most, and at the actor's capture, which holds all its calls.
    largest = max(raymemprof.calls(name="survey"), key=lambda call: call.growth)
    actor = raymemprof.captures(name="Index.add")[0]
    print_guilty_line("the largest call of survey", largest)
    print_guilty_line("the actor Index", actor)

    # The same as pictures: HTML files that need no network. A notebook shows them.
    print("\nFlame graphs:", raymemprof.flamegraph(largest, "survey-memory.html", overwrite=True).path)
    print("             ", raymemprof.flamegraph(actor, "index-memory.html", overwrite=True).path)
