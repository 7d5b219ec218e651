"""What `doctor()` answers with: what it found, and how that shows itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...display.refusals import short_traceback
from ...display.text import printable
from ...reading.reports.report import Report
from .findings import Examination
from .html_report import fragment, save

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

__all__ = ["Diagnosis"]

_SIGNS = {
    "ill": ("✗", "red"),
    "maybe": ("!", "blue"),
    "well": ("✓", "green"),
    "unknown": ("?", "dim"),
    "info": ("·", "dim"),
}
_STYLES = {"critical": "bold red", "warning": "bold yellow", "info": "bold blue"}


@dataclass(frozen=True, slots=True, repr=False)
class Diagnosis(Examination):
    """What `doctor()` found. It prints as text, shows itself in a notebook, and can be saved as a page.

    Attributes:
        when: when it was made, UTC.
        source: the folder that was read; None for the connected cluster.
        findings: what is wrong, the most important first.
        checks: the questions of Ray's page, with the answers.
        unchecked: what could not be checked, and why, in sentences.
        kills: every process that was killed for memory.
        calls: the profiled calls; if there are more than 10,000, only the informative ones.
        usage: what uses memory now; None without a connection.
        recommendations: what each function and actor class needs.
        missing: the nodes that did not answer.
        silent: the nodes in `missing` that are alive, but did not answer for an unknown reason.
        chosen: what was read, in words, if no source was named; else empty.
    """

    def __str__(self) -> str:
        return "\n".join(printable(line) for line, _ in self._lines())

    __repr__ = __str__

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Show as text, with colours, where rich prints."""
        from rich.text import Text

        for line, style in self._lines():
            yield Text(printable(line), style)

    def _lines(self) -> Iterator[tuple[str, str]]:
        """The text's lines, each with a style."""
        if self.chosen:
            yield printable(self.chosen), "dim"
        yield self.summary, "bold"
        for finding in self.findings:
            yield "", ""
            yield f"{finding.severity.upper()}  {finding.illness}: {finding.title}", _STYLES[finding.severity]
            yield from ((f"    {text}", "") for text in finding.evidence)
            yield "  What to do:", ""
            yield from ((f"    {number}. {text}", "") for number, text in enumerate(finding.next_steps, 1))
        yield "", ""
        yield "Checked, as Ray's page does:", "bold"
        for check in self.checks:
            sign, style = _SIGNS[check.verdict]
            yield f"  {sign} {check.question} {check.answer}", style
        if self.unchecked:
            yield "Could not be checked:", "bold"
            yield from ((f"  - {text}", "") for text in self.unchecked)

    def _repr_html_(self) -> str:
        """Return the diagnosis as a notebook shows it."""
        return fragment(self)

    @short_traceback
    def save(self, output: str | os.PathLike[str] = "report.html", *, overwrite: bool = False) -> Report:
        """Write the diagnosis as one HTML page, which needs no network.

        Flame graphs of the guilty calls are written to a folder beside it, `report-files` for `report.html`: at most
        five, about 4.5 MB each.

        Args:
            output: the file to write. An incomplete file never appears.
            overwrite: replace the file, and flame graphs in that folder, if they exist.

        Returns:
            A `Report`, which a notebook shows inline and which has `.path` and `.open()`.

        Raises:
            FileExistsError: the output, or a flame graph beside it, exists, and `overwrite` is not set.
            FileNotFoundError: there is no such folder to write to.
            ValueError: `output` is a folder.

        Example:
            >>> import raymemprof
            >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
            ...     data = bytearray(1_000_000)
            >>> diagnosis = raymemprof.doctor("/tmp/raymemprof-example")
            >>> diagnosis.save("/tmp/raymemprof-example/report.html", overwrite=True).path.name
            'report.html'
        """
        return save(self, output, overwrite)
