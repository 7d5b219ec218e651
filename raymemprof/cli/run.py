"""The commands that record a Ray job without a changed line: `run`, and `runtime-env` for a job that is submitted."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from .. import cluster
from ..display.text import show_bytes
from ..reading.reports.summary import Summary, summary
from ..recording.memory import process_memory
from ..recording.undecorated.runtime_env import record_job
from ..recording.undecorated.runtime_env import runtime_env as environment
from .options import together
from .output import say
from .program import InterruptedProgram, run_module, run_script, wait_for_threads

__all__ = ["HOW_OPTIONS", "run", "runtime_env", "say_next"]


def say_next(directory: str | None) -> None:
    """Say which commands tell more of what a table sums up."""
    words = "" if directory is None else f" {shlex.quote(directory)}"
    say(
        f"next: `raymemprof flamegraph{words} --name NAME` draws what a function of this table allocated, `raymemprof "
        f"calls{words} --name NAME` lists its calls, `raymemprof doctor{words}` looks for what is wrong."
    )


HOW_OPTIONS = (
    click.option("--heap/--no-heap", default=None, help="Trace allocations, or sample memory only. Default: trace."),
    click.option("--native", is_flag=True, default=None, help="Record C and C++ frames too."),
    click.option("--every", type=click.IntRange(1), help="Trace one in this many calls of each function."),
    click.option(
        "--directory", type=click.Path(), help="Folder on each node to record to. Default: Ray's log directory."
    ),
)
"""How to record: those options of `profile_memory` that are asked for most."""
_OPTIONS = (
    click.option(
        "--include",
        multiple=True,
        metavar="PATTERN",
        help="Record only functions whose full name (package.module.Class.method) or name matches; can be repeated.",
    ),
    click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out matching functions; can be repeated."),
    *HOW_OPTIONS,
)
"""What to record, and how."""


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("-m", "is_module", is_flag=True, help="SCRIPT is the name of a module, as for python -m.")
@together(*_OPTIONS)
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(script: str, arguments: tuple[str, ...], is_module: bool, **options: Any) -> int:
    """Run a Ray job, and record all its task and actor calls.

    The job runs as `python SCRIPT ARGUMENTS` would, with the same output and exit status. When it ends, raymemprof
    prints a table of its functions to standard error, the highest peak first. Put options of this command before
    SCRIPT.
    """
    tables = _Tables(record_job(**options))
    cluster.before_shutdown(tables.add)
    try:
        status = run_module(script, arguments) if is_module else run_script(script, arguments)
    except InterruptedProgram:
        tables.end()
        raise
    wait_for_threads()
    tables.end()
    return status


@click.command("runtime-env")
@click.argument("base", default="{}")
@together(*_OPTIONS)
def runtime_env(base: str, **options: Any) -> None:
    """Print a runtime environment for recording a submitted job.

    With it, every task and actor call of the job is recorded: ray job submit --runtime-env-json "$(raymemprof
    runtime-env)". BASE is the job's own runtime environment, as JSON or as a JSON file.
    """
    text = Path(base).read_text() if not base.lstrip().startswith("{") else base
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ValueError(f"BASE is not a runtime environment in JSON: {error}.") from None
    click.echo(json.dumps(environment(given, **options)))


def _memory_here() -> tuple[int, int]:
    """Return this process's memory now, and at its peak as far as the kernel tells. Bytes of RSS − SHR."""
    private, shared, _ = process_memory.now()
    highest, _ = process_memory.ever()
    return private, max(private, highest - shared)


class _Tables:
    """What each cluster that the job connected to says of its calls, asked before the job leaves it."""

    def __init__(self, directory: str | None) -> None:
        """The folder is that of `directory=`, where the calls are recorded to one."""
        self._directory = directory
        self._process = os.getpid()
        self._found: list[Summary | str] = []
        self._driver = 0, 0

    def add(self) -> None:
        """Sum up the calls of the job that this process is connected for, if it is. Never raises."""
        try:
            if cluster.is_connected() and self._is_here():
                self._driver = _memory_here()
                self._found.append(summary(self._directory, job_id=cluster.job_id()))
        except Exception as error:  # `ray.shutdown` and the job's exit status must not suffer
            self._found.append(f"the calls of this job could not be summed up: {error}")

    def end(self) -> None:
        """Sum up what is left, and print all."""
        if self._is_here():
            self.add()
            is_closed = contextlib.suppress(OSError, ValueError, AttributeError)  # of the job's own output
            with is_closed:
                sys.stdout.flush()
            with is_closed:
                self._show()

    def _is_here(self) -> bool:
        """Whether this is the process that ran the job, not one that the job forked: Ray does not answer that."""
        return os.getpid() == self._process

    def _show(self) -> None:
        """Print the tables to standard error, which is not the job's output."""
        for found in self._found:
            if isinstance(found, str):
                say(found)
            else:
                click.echo(str(found), err=True)
                if found:
                    say_next(self._directory)
        if self._found:
            now, peak = map(show_bytes, self._driver)
            say(f"the driver, which is not in the table, had {now} itself at its end, and about {peak} at its peak.")
        else:
            say("the job did not connect to Ray, so nothing was recorded.")
