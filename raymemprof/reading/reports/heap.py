"""`heap()`: what calls allocated, in numbers and by line."""

from __future__ import annotations

from dataclasses import dataclass

from ...display.record import Record
from ...display.refusals import short_traceback
from ...display.text import first_few, in_html, printable, show_bytes, show_name
from .lines import WORTH_SHOWING, Lines, by_line
from .merged import HeapByName, Reading, read_target
from .targets import Target

__all__ = ["Heap", "heap"]


@dataclass(frozen=True, slots=True)
class Heap(Record):
    """What a call, a capture, or many of them together allocated.

    Figures are bytes of resident memory. A call that takes less than some hundredths of a second, or less than 4 MiB,
    may end before its process is inspected. Its figures are bytes of requested memory.

    Attributes:
        peak: what the call held when its process had most memory. With `follow_fork=True`, also what each forked child
            held at its own peak. For many calls, the sum of their peaks.
        in_children: the part of `peak` that forked children held. It is requested memory, because the resident part is
            not known. It does not include memory that they inherited from their parent, nor copies of it.
        children_count: how many of these children held anything.
        alive_at_end: what the call still held when it returned, including its result, or when it was killed. It
            includes what children held that outlived the call.
        reserved: memory that it had requested at the peak and that was not resident, because nothing had touched it.
        shared: resident memory of files and shared memory that it had mapped then, which RSS − SHR leaves out.
        grew: how much its own process's memory had grown then; None if the process was not inspected, or if other calls
            ran beside it.
        retained: the growth of the freed memory that allocators keep; negative if they reused memory that they had
            kept; None as for `grew`.
        retained_before: how much freed memory allocators kept when it began; None if this was not measured.
        retained_at_end: how much this had grown at the last inspection before its end.
        unseen: the rest of the growth: memory that memray cannot see, fragmentation, or memory that was mapped outside
            the call; None as for `grew`.
        released: memory from before the call that the process had freed by then, such as a cache that the call renews.
            So `grew` is `peak` - `in_children` + `retained` + `unseen` - `released`.
        notes: sentences on how sure the figures are.
        checked: whether each capture has the checksum that its process wrote when it closed the capture. There is no
            checksum if the process was killed, or if the journal is of an older version or not beside the capture. A
            different checksum raises a `CaptureError`.
        allocations: how many allocations were made in all.
        call_count: the number of calls, or whole captures, in this sum.
        title: what it is of.
        killed: whether the calls were killed.
        at_peak: every line, with what it held at the peak.
        at_end: every line, with the memory that was left at the end.
        by_name: what the calls of each name held.
        left_out: sentences on what is not in this: captures and nodes that could not be read, calls without a capture.
    """

    title: str
    peak: int
    alive_at_end: int
    allocations: int
    call_count: int
    killed: bool
    at_peak: Lines
    at_end: Lines
    by_name: tuple[HeapByName, ...] = ()
    left_out: tuple[str, ...] = ()
    reserved: int = 0
    shared: int = 0
    grew: int | None = None
    retained: int | None = None
    unseen: int | None = None
    released: int = 0
    retained_before: int | None = None
    retained_at_end: int | None = None
    notes: tuple[str, ...] = ()
    checked: bool = False
    in_children: int = 0
    children_count: int = 0

    def top(self, n: int = 10, *, view: str | None = None) -> Lines:
        """Return the `n` lines that held most at the peak, or, for killed calls, when they were killed.

        Memory counts for the user's line that requested it: the innermost line outside the standard library and
        site-packages, or the innermost line of all if there is none.

        Args:
            n: how many lines.
            view: "peak" or "leaks" (what was left at the end). By default "peak", or "leaks" for killed calls.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise ValueError(f"n={n!r} must be a number of lines, 0 or more.")
        if view not in (None, "peak", "leaks"):
            raise ValueError(f"view={view!r} is none of peak, leaks.")
        lines = self.at_end if view == "leaks" or (view is None and self.killed) else self.at_peak
        return lines[:n]

    @property
    def summary(self) -> str:
        """The figures in a line, then a line for each name where there are many calls, and for what is left out."""
        of = "the sum of each one's own peak is" if self.call_count > 1 else "peak"
        lines = [
            f"{self.title}: {of} {show_bytes(self.peak)}, {show_bytes(self.alive_at_end)} alive at the end, "
            f"{self.allocations:,} allocations"
        ]
        if self.call_count > 1:
            lines += [
                f"{show_name(one.name)}: {one.call_count} call{'s' * (one.call_count != 1)}, "
                f"{show_bytes(one.peak)} in all, {show_bytes(one.mean)} a call"
                for one in self.by_name
            ]
        return "\n".join(map(printable, (*lines, *first_few(self.left_out))))

    @property
    def balance(self) -> str:
        """How what it held, what was retained and what is not seen add up to what the process grew by; or empty."""
        lines = []
        if self.grew is not None and self.unseen is not None:
            whose = "The process grew by" if self.call_count == 1 else "Their processes grew by"
            held = f"{whose} {show_bytes(self.grew)}: {show_bytes(self.peak - self.in_children)} held"
            freed = f", minus {show_bytes(self.released)} that were there before and were freed"
            freed = freed if self.released >= WORTH_SHOWING else ""
            if self.retained is None:
                lines.append(f"{held}, {show_bytes(self.unseen)} retained by allocators or not seen{freed}.")
            else:
                kept = f"{show_bytes(self.retained)} retained by allocators"
                lines.append(f"{held}, {kept}, {show_bytes(self.unseen)} not seen{freed}.")
        if self.in_children:
            whose = "its" if self.call_count == 1 else "their"
            many = f"{self.children_count} forked children" if self.children_count > 1 else "forked child"
            peaks = "their own peaks" if self.children_count > 1 else "its own peak"
            lines.append(
                f"Beside that, {whose} {many} held {show_bytes(self.in_children)} at {peaks}, as asked for: what of it "
                "was resident is not known. What they copied of their parent's by writing to it is not in it."
            )
        if self.reserved >= WORTH_SHOWING:
            lines.append(f"Beside that it had reserved {show_bytes(self.reserved)} that nobody had touched.")
        if self.shared >= WORTH_SHOWING:
            lines.append(f"Beside that it had mapped {show_bytes(self.shared)} of files or shared memory.")
        lines += [f"{note[0].upper()}{note[1:]}." for note in self.notes]
        return "\n".join(map(printable, lines))

    def __repr__(self) -> str:
        balance = self.balance
        return f"{self.summary}\n{self.top()!r}" + (f"\n{balance}" if balance else "")

    def _repr_html_(self) -> str:
        """Return the figures and the lines as a notebook shows them."""
        lines = "".join(f"<div>{in_html(line)}</div>" for line in self.summary.splitlines())
        balance = "".join(f"<div>{in_html(line)}</div>" for line in self.balance.splitlines())
        return f"{lines}{self.top()._repr_html_()}{balance}"


@short_traceback
def heap(target: Target) -> Heap:
    """Return what a call allocated: its own peak, what was left at its end, and the lines that allocated it.

    Args:
        target: a `Call`; a `Capture` or its path, for all its calls and what was allocated between them, at the peak of
            the process; or several of these, summed, each at its own peak.

    Returns:
        A `Heap`, with the resident bytes of what was requested from `malloc`, `mmap` and similar functions.

    Raises:
        CaptureError: the capture is missing or damaged, or the call was not traced. The message gives the reason.
        FileNotFoundError: there is no such file.

    Example:
        >>> import raymemprof
        >>> with raymemprof.profile_memory("load", directory="/tmp/raymemprof-example"):
        ...     data = bytearray(1_000_000)
        >>> load = raymemprof.calls("/tmp/raymemprof-example", name="load")[-1]
        >>> 1_000_000 <= raymemprof.heap(load).peak < 1_100_000
        True
    """
    return _heap(read_target(target, ("peak", "leaks")))


def _heap(reading: Reading) -> Heap:
    return Heap(
        title=reading.title,
        peak=reading.peak,
        alive_at_end=reading.alive_at_end,
        allocations=reading.allocations,
        call_count=reading.count,
        killed=reading.killed,
        at_peak=by_line(reading, "peak"),
        at_end=by_line(reading, "leaks"),
        by_name=reading.names,
        left_out=reading.left_out,
        reserved=reading.reserved,
        shared=reading.shared,
        grew=reading.grew,
        retained=reading.retained,
        unseen=reading.unseen,
        released=reading.released,
        retained_before=reading.retained_before,
        retained_at_end=reading.retained_at_end,
        notes=reading.notes,
        checked=reading.checked,
        in_children=reading.in_children,
        children_count=reading.children,
    )
