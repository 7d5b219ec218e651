"""How the commands print: tables and JSON to standard output, sentences to standard error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..display.rows import Rows
from ..display.text import first_few, printable
from ..reading.reports.report import Report

__all__ = ["print_path", "print_report", "print_rows", "print_shown", "say"]


def say(what: object) -> None:
    """Write a sentence to standard error, without control characters; nothing where it is empty."""
    if str(what):
        click.echo(f"raymemprof: {printable(str(what))}", err=True)


def print_rows(rows: Rows[Any], as_json: bool) -> None:
    """Print a sequence as a table; or as JSON, and what is missing to standard error."""
    if as_json:
        say(rows.chosen)
        click.echo(rows.to_json())
        for text in (*first_few(rows.left_out), *rows.missing):
            say(text)
    else:
        print_shown(rows)


def print_shown(record: object, soft_wrap: bool = False) -> None:
    """Print what shows itself: in colours on a terminal, else as plain text."""
    from rich.console import Console

    console = Console()
    console.print(record, soft_wrap=soft_wrap) if console.is_terminal else click.echo(str(record))


def print_report(report: Report) -> None:
    """Say where a report was written, and what is not in it."""
    print_path("Wrote", report.path)
    for text in report.left_out:
        say(text)


def print_path(verb: str, path: Path, err: bool = False) -> None:
    """Say what was done to a file."""
    click.echo(f"{verb} {printable(str(path))}", err=err)
