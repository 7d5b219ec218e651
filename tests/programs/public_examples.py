"""Runs examples that nobody here wrote, as Python does and by `raymemprof run`, and shows what differs.

    python tests/programs/public_examples.py FILE... [--cpus 4] [--address HOST:PORT] [--timeout 300]

A FILE is a Python file, for example from `doc/source/*/doc_code` of a checkout of Ray, or a text with `testcode`
blocks: a page of Ray's documentation, or a module of the installed Ray, whose docstrings have such blocks. FILE:LINE is
the block at a line. Each example runs twice as it is: what differs between these two runs, such as times, is not
compared. A recorded driver ends a little later, so it may print more of what workers log.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

COMMAND = Path(sys.executable).with_name("raymemprof")
BLOCK = re.compile(r"^( *)\.\. testcode::.*\n((?:\1 +.*\n|\s*\n)+)", re.MULTILINE)
OURS = re.compile(r"(?m)^(?=(?:No|[\d,]+) functions? (?:and|or) actor class|raymemprof: )")
"""Where what the command prints at its end begins."""
_VARIES = re.compile(r"0x[0-9a-f]+|[0-9a-f.]*\d[0-9a-f.]*")


def examples(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the code of each example in some files."""
    for word in words:
        path, _, wanted = word.partition(":")
        text = Path(path).read_text()
        blocks = list(BLOCK.finditer(text))
        if not blocks:
            yield path, text
        for block in blocks:
            line = text.count("\n", 0, block.start()) + 1
            if wanted in ("", str(line)):
                code = re.sub(r"^ *:\w+:.*\n", "", block[2], flags=re.MULTILINE)
                yield f"{path}:{line}", textwrap.dedent(code)


def lines(text: str) -> Counter[str]:
    """Count the lines of an output, without colors and without the process that a line is from."""
    text = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", text)
    return Counter(re.sub(r"\(pid=\d+\)|pid=\d+", "pid", line).rstrip() for line in re.split(r"[\n\r]", text))


def news(plain: list[Counter[str]], recorded: Counter[str]) -> list[str]:
    """Return the lines that only the recorded run has, or only the plain ones, apart from what varies."""
    stable = plain[0] & plain[1]
    known = {_VARIES.sub("#", line) for one in plain for line in one}
    found = [f"- {line}" for line in stable - recorded]
    return found + [f"+ {line}" for line in recorded - stable if _VARIES.sub("#", line) not in known]


def compare(name: str, code: str, variables: dict[str, str], timeout: float) -> bool:
    """Run one example three times, print what differs and what was recorded, and return whether nothing differs."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "example.py")
        script.write_text(code)
        plain = [sys.executable, str(script)]
        ran = [
            subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=timeout,
                cwd=folder,
                env={**os.environ, **variables},
            )
            for command in (plain, plain, [str(COMMAND), "run", str(script)])
        ]
        error, *table = OURS.split(ran[2].stderr, maxsplit=1)
        output = news([lines(one.stdout) for one in ran[:2]], lines(ran[2].stdout))
        errors = news([lines(one.stderr) for one in ran[:2]], lines(error))
        is_same = len({one.returncode for one in ran}) == 1 and not output
        print(f"\n==== {name}: exit statuses {[one.returncode for one in ran]}: {'same' if is_same else 'DIFFERS'}")
        print("\n".join([*output, *(f"stderr {line}" for line in errors), *table]))
    return is_same


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+")
    parser.add_argument("--cpus", type=int, default=4, help="of each cluster that is started")
    parser.add_argument("--address", default="local", help="of a cluster to use instead of one for each run")
    parser.add_argument("--timeout", type=float, default=300)
    given = parser.parse_args()
    variables = {"RAY_OVERRIDE_RESOURCES": f'{{"CPU": {given.cpus}}}', "RAY_ADDRESS": given.address}
    results = [  # on a busy machine Ray does not always start
        any(compare(name, code, variables, given.timeout) for _ in range(2)) for name, code in examples(given.files)
    ]
    print(f"{sum(results)} of {len(results)} examples are the same")
    sys.exit(not all(results))
