"""Runs the `raymemprof` command in this process, which has Ray imported already."""

from __future__ import annotations

import contextlib
import io
import subprocess

from raymemprof.cli import main


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Return what the command printed, and its exit status."""
    words = [str(argument) for argument in arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words, prog_name="raymemprof")
            status = 0
        except SystemExit as end:
            status = end.code
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())
