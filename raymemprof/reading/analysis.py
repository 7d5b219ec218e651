"""Reads captures, and sorts what it allocated by the calls that did.

memray knows the peak of a process; a capture shared by many calls has one peak for each. So the records are followed
one by one: an allocation belongs to the calls whose frames are in its stack (`journal.py` says how those are named),
and each call has an account of what it holds, line by line, and held at its own peak. Runs in a reader process
(`processes.py`).
"""

from __future__ import annotations

import bisect
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import journal as contract

if TYPE_CHECKING:
    import memray

_MARK_DEPTH = 16
"""How deep in a stack a mark's frame may lie: with native frames there are some of C's above it."""

_RUN_USER_CODE = ("decorator.py", "frames.py")

_LEAST_NATIVE = 128 * 1024
"""Bytes from which an allocation on a thread without Python is put down to the call that runs: Ray's own such threads
allocate less at a time, and libraries that do a task's work on theirs (Arrow, BLAS) take it in large pieces."""

__all__ = [
    "Answer",
    "Failure",
    "Figures",
    "Place",
    "Request",
    "Row",
    "RowSum",
    "Snapshot",
    "Sum",
    "Total",
    "answer",
]

Frame = tuple[str, str, int]
"""Function, file, line."""
Stack = tuple[Frame, ...]
"""Innermost frame first, as memray has them."""
SMALLER: Stack = (("(places that hold less)", "", 0),)
"""Stands for the places in the code that are too many to tell one by one."""
_MOST_ROWS = 50_000
"""Places in the code that a sum tells one by one: some 30 MB of memory."""
Place = tuple[int, int]
"""A call's slot and turn in its capture."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to read: the calls at `places`, each by itself, or the whole capture where that is None."""

    path: str
    places: tuple[Place, ...] | None = None
    complete: frozenset[Place] = frozenset()
    """Those of them whose end the capture must hold; what it cuts off is left out of the sum."""
    views: tuple[str, ...] = ("peak",)
    """Of "peak", "leaks" and "temporary"; a temporal report is of the first."""
    with_snapshots: bool = False
    """Whether the process's memory over time is wanted: reports of a single capture show it."""
    temporal: bool = False
    window: tuple[float, float] | None = None
    """Seconds since the epoch between which a temporal report's allocations were made; memray has them to 10 ms."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one call stack allocated, by one allocator."""

    stack: Stack
    allocator: int
    bytes: int
    allocations: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole process at one moment, as memray saw it: milliseconds since the epoch, bytes."""

    time: int
    rss: int
    heap: int


@dataclass(frozen=True, slots=True)
class TemporalRow:
    """What one call stack allocated, and when: from one snapshot, to another or None, so many allocations and bytes."""

    stack: Stack
    allocator: int
    intervals: tuple[tuple[int, int | None, int, int], ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one call, or a whole capture where `place` is None, allocated."""

    path: str
    place: Place | None
    peak: int
    alive_at_end: int
    allocations: int
    ended: bool
    """Whether the capture holds the call's end."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A capture that could not be read, and why: one sentence."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sum:
    """What captures hold of what was asked for, summed."""

    figures: tuple[Figures, ...]
    rows: dict[str, tuple[Row, ...]]
    """By view."""
    pid: int
    native: bool
    python_allocators: bool
    allocator: str
    """Python's own for small objects, as memray names it."""
    started_at: datetime
    ended_at: datetime
    command: str
    foreign: bool
    """Whether raymemprof did not write this capture."""
    snapshots: tuple[Snapshot, ...] = ()
    """These and the rest are of a single capture; of several there are none."""
    temporal_rows: tuple[TemporalRow, ...] = ()
    high_water_marks: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What captures hold, and which of them could not be read; no sum where that is all of them."""

    sum: Sum | None
    failures: tuple[Failure, ...] = ()
    left: tuple[Request, ...] = ()
    """What was not read for want of memory, and may be where nothing else is held."""


class RowSum:
    """Rows summed by place in the code as they come; of very many places the smallest are summed into one."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._found: dict[tuple[Stack, int], list[int]] = {}
        self._frames: dict[Frame, Frame] = {}
        """Each frame once: it is in many stacks."""
        self.add(rows)

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows into the sum."""
        for row in rows:
            total = self._found.get((row.stack, row.allocator))
            if total is None:
                stack = tuple([self._frames.setdefault(frame, frame) for frame in row.stack])
                self._found[stack, row.allocator] = [row.bytes, row.allocations]
            else:
                total[0] += row.bytes
                total[1] += row.allocations
        if len(self._found) > 2 * _MOST_ROWS:
            self._cut()

    def _cut(self) -> None:
        """Keep the largest."""
        ranked = sorted(self._found.items(), key=lambda item: item[1][0], reverse=True)
        self._found, self._frames = {}, {}
        self.add(Row(stack, allocator, size, count) for (stack, allocator), (size, count) in ranked[:_MOST_ROWS])
        self.add(Row(SMALLER, allocator, size, count) for (_, allocator), (size, count) in ranked[_MOST_ROWS:])

    def rows(self) -> tuple[Row, ...]:
        """Return one row for each place."""
        return tuple(Row(stack, allocator, size, count) for (stack, allocator), (size, count) in self._found.items())


class Total:
    """A sum of answers that are added as they come, and not kept."""

    def __init__(self) -> None:
        self._sum: Sum | None = None
        self._figures: list[Figures] = []
        self._rows: dict[str, RowSum] = {}
        self._failures: list[Failure] = []

    def add(self, answer: Answer) -> None:
        """Take an answer into the sum."""
        self._failures += answer.failures
        new, before = answer.sum, self._sum
        if new is None:
            return
        self._figures += new.figures
        for view, rows in new.rows.items():
            self._rows.setdefault(view, RowSum()).add(rows)
        if before is None:
            self._sum = replace(new, figures=(), rows={})
            return
        self._sum = replace(
            before,
            native=before.native or new.native,
            started_at=min(before.started_at, new.started_at),
            ended_at=max(before.ended_at, new.ended_at),
            snapshots=(),
            temporal_rows=(),
            high_water_marks=None,
        )

    def answer(self) -> Answer:
        """Return what was added, as one answer."""
        failures = tuple(self._failures)
        if self._sum is None:
            return Answer(None, failures)
        rows = {view: rows.rows() for view, rows in self._rows.items()}
        return Answer(replace(self._sum, figures=tuple(self._figures), rows=rows), failures)


def answer(requests: Sequence[Request], memory_limit: int) -> Answer:
    """Read captures one after the other, and sum them up; where memory runs out, as far as it goes."""
    total = Total()
    for number, request in enumerate(requests):
        try:
            found = Answer(analyse(request))
        except MemoryError:
            if number:  # it may be the others' sum that fills it
                return replace(total.answer(), left=tuple(requests[number:]))
            most = f"{memory_limit / 2**20:,.0f} MiB"
            reason = f"it cannot be read: reading it takes more than {most} of memory."
            found = Answer(None, (Failure(request.path, reason),))
        except Exception as error:
            reason = (str(error) or type(error).__name__).rstrip(".")
            found = Answer(None, (Failure(request.path, f"it cannot be read: {reason}."),))
        total.add(found)
    return total.answer()


def analyse(request: Request) -> Sum:
    """Read a capture; raises what memray raises on a bad file (or takes the process down with it)."""
    import memray

    with contextlib.closing(memray.FileReader(request.path)) as reader:
        meta = reader.metadata
        native = meta.has_native_traces
        snapshots: tuple[Snapshot, ...] = ()
        if request.with_snapshots:
            snapshots = tuple(Snapshot(s.time, s.rss, s.heap) for s in reader.get_memory_snapshots())
        foreign = not _is_ours(Path(request.path), reader)
        ledger = None if foreign else _Ledger(request, native)
        if ledger is not None:
            ledger.follow(reader.get_allocation_records())
            foreign = not ledger.seen_calls and request.places is None
        if foreign:
            figures, rows = _whole(reader, request, native)
        else:
            assert ledger is not None
            figures, rows = ledger.figures(), ledger.rows()
        temporal_rows: tuple[TemporalRow, ...] = ()
        marks: tuple[int, ...] | None = None
        if request.temporal:
            first, last = _window(snapshots, request.window)
            temporal_rows, marks = _temporal(reader, request, native, None if foreign else ledger, first, last)
        return Sum(
            figures=figures,
            rows=rows,
            pid=meta.pid,
            native=native,
            python_allocators=meta.trace_python_allocators,
            allocator=meta.python_allocator,
            started_at=meta.start_time,
            ended_at=meta.end_time,
            command=meta.command_line,
            foreign=foreign,
            snapshots=snapshots,
            temporal_rows=temporal_rows,
            high_water_marks=marks,
        )


def _is_ours(path: Path, reader: memray.FileReader) -> bool:
    """Whether raymemprof wrote this capture, by its name or, if renamed, by the frames in it."""
    if reader.metadata.file_format.name == "AGGREGATED_ALLOCATIONS":  # raymemprof writes none, whatever its name
        return False
    if path.name.startswith(contract.PREFIX):
        return True
    records = reader.get_high_watermark_allocation_records(merge_threads=True)
    return any(frame[1] == contract.FRAME_FILE for record in records for frame in record.stack_trace())


def _whole(
    reader: memray.FileReader, request: Request, native: bool
) -> tuple[tuple[Figures, ...], dict[str, tuple[Row, ...]]]:
    """A capture that is none of ours, as memray itself reports it."""
    sources: dict[str, Callable[..., Iterable[Any]]] = {
        "peak": reader.get_high_watermark_allocation_records,
        "leaks": reader.get_leaked_allocation_records,
        "temporary": reader.get_temporary_allocation_records,
    }
    rows = {
        view: tuple(
            Row(_stack(record, native), record.allocator, record.size, record.n_allocations)
            for record in sources[view](merge_threads=True)
        )
        for view in dict.fromkeys((*request.views, "leaks"))
    }
    figures = Figures(
        path=request.path,
        place=None,
        peak=reader.metadata.peak_memory,
        alive_at_end=sum(row.bytes for row in rows["leaks"]),
        allocations=reader.metadata.total_allocations,
        ended=True,
    )
    return (figures,), {view: rows[view] for view in request.views}


def _stack(record: Any, native: bool) -> Stack:
    return tuple(record.hybrid_stack_trace() if native else record.stack_trace())


def _window(snapshots: tuple[Snapshot, ...], window: tuple[float, float] | None) -> tuple[int, int]:
    """The numbers of the first and last snapshot that allocations of this time can have been made before."""
    if window is None:
        return 0, len(snapshots)
    times = [snapshot.time / 1e3 for snapshot in snapshots]
    return bisect.bisect_left(times, window[0]), bisect.bisect_left(times, window[1])


def _temporal(
    reader: memray.FileReader, request: Request, native: bool, ledger: _Ledger | None, first: int, last: int
) -> tuple[tuple[TemporalRow, ...], tuple[int, ...] | None]:
    """The capture's allocations over time, cut to the calls asked for."""
    marks: tuple[int, ...] | None = None
    records: Iterable[Any]
    if request.views[0] == "leaks":
        records = reader.get_temporal_allocation_records(merge_threads=True)
    else:
        records, water = reader.get_temporal_high_water_mark_allocation_records(merge_threads=True)
        marks = tuple(water)
    rows = []
    for record in records:
        stack: Stack | None = _stack(record, native)
        if ledger is not None:
            stack = ledger.cut_for_request(stack or ())
        if stack is not None:
            intervals = tuple(
                (i.allocated_before_snapshot, i.deallocated_before_snapshot, i.n_allocations, i.n_bytes)
                for i in record.intervals
                if first <= i.allocated_before_snapshot <= last
            )
            if intervals:
                rows.append(TemporalRow(stack, record.allocator, intervals))
    return tuple(rows), marks


class _Account:
    """What a call, or the capture, holds by place in the code, and held at its peak.

    A place is a list: bytes and allocations now, the same at the peak numbered last, bytes and allocations that were
    temporary. What is numbered lower than the latest peak has not changed since, so what it has now it had then too.
    A new peak is numbered when it is over, which a removal shows. What is added is added in `_Ledger.follow`.
    """

    __slots__ = ("_places", "allocations", "closed", "current", "peak", "peak_id")

    def __init__(self) -> None:
        self.current = 0
        self.peak = 0
        self.allocations = 0
        self.closed = False
        self.peak_id = 0
        self._places: dict[Any, list[int]] = {}

    def place(self, key: Any) -> list[int]:
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = [0, 0, 0, 0, self.peak_id, 0, 0]
        return place

    def remove(self, place: list[int], size: int, count: int = 1) -> None:
        if self.closed:
            return
        current = self.current
        if current > self.peak:
            self.peak = current
            self.peak_id += 1
        peak_id = self.peak_id
        if place[4] != peak_id:
            place[2], place[3], place[4] = place[0], place[1], peak_id
        place[0] -= size
        place[1] -= count
        self.current = current - size

    def settle(self) -> None:
        """Number the peak that is not over."""
        if self.current > self.peak:
            self.peak = self.current
            self.peak_id += 1

    def rows(self, view: str) -> Iterator[tuple[Any, int, int]]:
        for key, (size, count, peak_size, peak_count, peak_id, brief_size, brief_count) in self._places.items():
            if view == "temporary":
                size, count = brief_size, brief_count
            elif view == "peak" and peak_id == self.peak_id:
                size, count = peak_size, peak_count
            if size:
                yield key, size, max(count, 1)


_Shares = tuple[tuple[_Account, list[int]], ...]
"""The accounts that an allocation is in, each with the allocation's place there."""
_Entry = tuple[int, _Shares]
"""A live allocation: its size, and where it is accounted for."""


@dataclass(eq=False, slots=True)
class _Call:
    slot: int
    turn: int
    account: _Account | None
    parent: _Call | None
    owner: tuple[str, str] | None = None
    """For a block: function and file of the frame it stands in."""
    children: list[_Call] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _StackInfo:
    stack: Stack
    slots: tuple[int, ...]
    """Outermost first."""
    marker: str | None
    """The file of the marking frame, where this is a mark."""
    marked_slot: int
    owners: frozenset[tuple[str, str]]
    stray: bool
    """Whether an allocation here may be a call's although no call's frame is in the stack: on a thread of its own."""


class _Ledger:
    """Follows a capture's records and keeps the accounts."""

    def __init__(self, request: Request, native: bool) -> None:
        self._request = request
        self._native = native
        self._stacks: dict[Any, _StackInfo] = {}
        self._running: dict[int, _Call] = {}
        self._turns: dict[int, int] = {}
        self._blocks: dict[int, list[_Call]] = {}
        self._sole: tuple[_Call, ...] = ()
        self._known_shares: dict[Any, _Shares] = {}
        """By stack and allocator, and where there are blocks by thread, until a call begins or ends."""
        self._wanted = set(request.places) if request.places is not None else None
        self._results: dict[Place, tuple[_Account, _Call]] = {}
        self._everything = _Account() if self._wanted is None else None
        self.seen_calls = False
        self._unended: frozenset[Place] = frozenset()

    def follow(self, records: Iterable[Any]) -> None:
        import memray

        types = memray.AllocatorType
        frees = {int(types.FREE), int(types.PYMALLOC_FREE)}
        mmap, munmap = int(types.MMAP), int(types.MUNMAP)
        live: dict[int, _Entry] = {}
        maps: dict[int, _Entry] = {}
        recent: dict[int, deque[tuple[int, _Entry]]] = {}
        temporary = "temporary" in self._request.views
        stacks, native = self._stacks, self._native
        known, blocks = self._known_shares, self._blocks
        # Of millions of records each takes as long as this: what `_Account.remove` does is written out.
        for record in records:
            allocator = record.allocator
            if allocator in frees:
                address = record.address
                entry = live.pop(address, None)
                if entry is not None:
                    size, shares = entry
                    for account, place in shares:
                        if account.closed:
                            continue
                        current = account.current
                        if current > account.peak:
                            account.peak = current
                            account.peak_id += 1
                        peak_id = account.peak_id
                        if place[4] != peak_id:
                            place[2], place[3], place[4] = place[0], place[1], peak_id
                        place[0] -= size
                        place[1] -= 1
                        account.current = current - size
                    if temporary:
                        _note_temporary(recent.get(record.tid), address)
                continue
            size, address = record.size, record.address
            if allocator == munmap:
                _unmap(maps, address, size)
                continue
            stack_id = (
                (record.stack_id, record.native_stack_id, record.native_segment_generation)
                if native
                else record.stack_id
            )
            key = (stack_id, allocator, record.tid) if blocks else (stack_id, allocator)
            found = known.get(key)
            if found is None:
                info = stacks.get(stack_id)
                if info is None:
                    info = stacks[stack_id] = _inspect(_stack(record, native))
                if info.marker is not None:
                    self._mark(info, record)
                    continue
                found = tuple([(account, account.place(key[:2])) for account in self._accounts(info, record.tid, size)])
                if not info.stray:  # else it depends on the size too
                    known[key] = found
            table = maps if allocator == mmap else live
            if address in table:  # its end was not recorded, and its address is in use again
                _drop(table, address)
            if found:
                for account, place in found:
                    peak_id = account.peak_id
                    if place[4] != peak_id:
                        place[2], place[3], place[4] = place[0], place[1], peak_id
                    place[0] += size
                    place[1] += 1
                    account.allocations += 1
                    account.current += size
                entry = table[address] = (size, found)
                if temporary:
                    recent.setdefault(record.tid, deque(maxlen=2)).append((address, entry))
        self._unended = frozenset((call.slot, call.turn) for call in self._running.values())
        for call in list(self._running.values()):
            self._end(call)
        for _, account, _ in self._accounts_asked_for():
            account.settle()

    def _accounts(self, info: _StackInfo, tid: int, size: int) -> list[_Account]:
        """The accounts that an allocation goes to."""
        slots = info.slots
        calls = [self._running[slot] for slot in slots if slot in self._running]
        for block in self._blocks.get(tid, ()):
            if block.owner in info.owners and (block.parent is None or block.parent in calls):
                calls.append(block)
        if not calls and info.stray and (info.stack or size >= _LEAST_NATIVE):
            calls.extend(self._sole)
        accounts = [call.account for call in calls if call.account is not None]
        if self._everything is not None and (calls or slots):
            accounts.append(self._everything)
        return accounts

    def _mark(self, info: _StackInfo, record: Any) -> None:
        slot = info.marked_slot
        if info.marker == contract.END_FILE:
            call = self._running.get(slot)
            if call is not None:
                self._end(call)
        else:
            stale = self._running.get(slot)
            if stale is not None:
                self._end(stale)
            turn = self._turns[slot] = contract.marked_turn(record.size, self._turns.get(slot, -1) + 1)
            self.seen_calls = True
            wanted = self._wanted is not None and (slot, turn) in self._wanted
            account = _Account() if wanted else None
            frames = [(name, file) for name, file, _ in reversed(info.stack)]
            slots = [contract.slot_of(name) for name, file in frames if file == contract.FRAME_FILE]
            parents = [self._running[s] for s in slots if s in self._running]
            parents += [block for block in self._blocks.get(record.tid, ()) if block.owner in frames]
            call = _Call(slot, turn, account, parents[-1] if parents else None)
            if call.parent is not None:
                call.parent.children.append(call)
            if info.marker == contract.BEGIN_BLOCK_FILE:
                call.owner = _block_owner(record.stack_trace())
                self._blocks.setdefault(record.tid, []).append(call)
            self._running[slot] = call
            if account is not None:
                self._results[slot, turn] = (account, call)
        self._sole = self._sole_chain()
        self._known_shares.clear()

    def _end(self, call: _Call) -> None:
        if call.account is not None:
            call.account.closed = True
        del self._running[call.slot]
        if call.parent is not None:
            call.parent.children.remove(call)
        for child in call.children:
            child.parent = call.parent
            if call.parent is not None:
                call.parent.children.append(child)
        if call.owner is not None:
            for tid, blocks in list(self._blocks.items()):
                if call in blocks:
                    blocks.remove(call)
                    if not blocks:
                        del self._blocks[tid]

    def _sole_chain(self) -> tuple[_Call, ...]:
        """The calls that run, if they are one within the other."""
        tops = [call for call in self._running.values() if call.parent is None]
        chain: list[_Call] = []
        while len(tops) == 1:
            chain.append(tops[0])
            tops = tops[0].children
        return () if tops else tuple(chain)

    def figures(self) -> tuple[Figures, ...]:
        """The accounts' totals."""
        return tuple(
            Figures(
                path=self._request.path,
                place=place,
                peak=account.peak,
                alive_at_end=account.current,
                allocations=account.allocations,
                ended=place not in self._unended,
            )
            for place, account, _ in self._accounts_asked_for()
        )

    def rows(self) -> dict[str, tuple[Row, ...]]:
        """The accounts by place in the code, all of them summed, for each view."""
        return {
            view: RowSum(
                Row(_cut(self._stacks[stack_id], call), allocator, size, count)
                for place, account, call in self._accounts_asked_for()
                if not (place in self._unended and place in self._request.complete)
                for (stack_id, allocator), size, count in account.rows(view)
            ).rows()
            for view in self._request.views
        }

    def _accounts_asked_for(self) -> Iterator[tuple[Place | None, _Account, _Call | None]]:
        for place, (account, call) in self._results.items():
            yield place, account, call
        if self._everything is not None:
            yield None, self._everything, None

    def cut_for_request(self, stack: Stack) -> Stack | None:
        """The stack from its call's frame on, or None where it is not in any call that was asked for."""
        info = _inspect(stack)
        if info.marker is not None:
            return None
        calls = [call for _, call in self._results.values()]
        if self._everything is not None:
            return _cut(info, None) if info.slots else None
        for call in calls:
            if call.slot in info.slots or (call.owner is not None and call.owner in info.owners):
                return _cut(info, call)
        return None


@lru_cache(maxsize=10_000)
def _inspect(stack: Stack) -> _StackInfo:
    """Sort a stack; captures that are read one after the other have many in common."""
    marker, marked_slot = None, -1
    for name, file, _ in stack[:_MARK_DEPTH]:
        if file in (contract.BEGIN_FILE, contract.BEGIN_BLOCK_FILE, contract.END_FILE):
            marker, marked_slot = file, contract.slot_of(name)
    slots = tuple(contract.slot_of(name) for name, file, _ in reversed(stack) if file == contract.FRAME_FILE)
    if _is_recording(stack):
        return _StackInfo(stack, (), marker, marked_slot, frozenset(), stray=False)
    stray = not slots and (not stack or _is_users_thread(stack))
    return _StackInfo(stack, slots, marker, marked_slot, frozenset((name, file) for name, file, _ in stack), stray)


def _is_recording(stack: Stack) -> bool:
    """Whether it is raymemprof's own code that allocates, and not code that it runs for the user."""
    for depth, (_, file, _) in enumerate(stack):
        if file == contract.FRAME_FILE:
            return False
        whose = _whose(file)
        if whose == "recording" or (whose == "wrapper" and depth == 0):
            return True
    return False


def _is_users_thread(stack: Stack) -> bool:
    """Whether a thread, or an event loop's task, does a user's work: not the main thread's, and none of Ray's."""
    if not stack[-1][0].endswith("_bootstrap"):
        return False
    owners = {_whose(file) for _, file, _ in stack}
    return "user" in owners and not owners & {"ray", "recording"}


@lru_cache(maxsize=100_000)
def _whose(file: str) -> str:
    """Whose code a file is: "recording" or "wrapper" (raymemprof's), "ray", "plumbing" (runs threads), or "user"."""
    parts = Path(file).parts
    if parts[-3:-1] == ("raymemprof", "recording"):
        return "wrapper" if parts[-1] in _RUN_USER_CODE else "recording"
    if any(parts[i : i + 2] == (folder, "ray") for i, folder in enumerate(parts) if folder.endswith("-packages")):
        return "ray"
    is_plumbing = (
        parts[-1:] == ("threading.py",)
        or "asyncio" in parts[-2:]
        or parts[-3:-1] == ("concurrent", "futures")
        or file.startswith("<frozen")
    )
    return "plumbing" if is_plumbing else "user"


def _block_owner(stack: Iterable[Frame]) -> tuple[str, str] | None:
    """The frame that a `with` block stands in: the first that is not of ours or of contextlib."""
    marked = False
    for name, file, _ in stack:
        marked = marked or file == contract.BEGIN_BLOCK_FILE
        is_ours = file == contract.BEGIN_BLOCK_FILE or _whose(file) in ("recording", "wrapper")
        if marked and not is_ours and Path(file).name != "contextlib.py":
            return name, file
    return None


def _cut(info: _StackInfo, call: _Call | None) -> Stack:
    """The stack from the call's own frame on, that frame not included; from the outermost call's for a capture."""
    stack = info.stack
    found = None
    for index, (name, file, _) in enumerate(stack):
        if file == contract.FRAME_FILE and (call is None or contract.slot_of(name) == call.slot):
            found = index
    if found is not None:
        return stack[:found] or ((stack[found][0].rpartition(" [slot")[0], "", 0),)
    if call is not None and call.owner is not None:
        for index in range(len(stack) - 1, -1, -1):
            if stack[index][:2] == call.owner:
                return stack[: index + 1]
    return stack


def _drop(table: dict[int, _Entry], address: int) -> None:
    """Account for the end of an allocation."""
    size, shares = table.pop(address)
    for account, place in shares:
        account.remove(place, size)


def _unmap(maps: dict[int, _Entry], address: int, size: int) -> None:
    """Take a range out of the mappings, which may be parts of several."""
    entry = maps.get(address)
    if entry is not None and entry[0] == size:
        _drop(maps, address)
        return
    end = address + size
    hit = [(start, entry) for start, entry in maps.items() if start < end and address < start + entry[0]]
    for start, (length, shares) in hit:
        del maps[start]
        kept = 0
        if start < address:
            maps[start] = (address - start, shares)
            kept += address - start
        if end < start + length:
            maps[end] = (start + length - end, shares)
            kept += start + length - end
        for account, place in shares:
            account.remove(place, length - kept, 0 if kept else 1)


def _note_temporary(recent: deque[tuple[int, _Entry]] | None, address: int) -> None:
    """Count an allocation as temporary that was freed before two more were made on its thread, as memray does."""
    for item in recent or ():
        if item[0] == address:
            size, shares = item[1]
            for account, place in shares:
                if not account.closed:
                    place[5] += size
                    place[6] += 1
            recent.remove(item)  # type: ignore[union-attr]
            return
