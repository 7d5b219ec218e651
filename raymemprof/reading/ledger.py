"""Follows a capture's records one by one, and keeps the accounts of the calls that were asked for.

memray knows the peak of a process; a capture shared by many calls has one peak for each. An allocation belongs to the
calls whose frames are in its stack (`journal.py` says how those are named); what a thread without Python allocated
belongs to the line that the calls were at then, which the journal's samples say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from .. import journal as contract
from .accounts import LARGE, OPAQUE, POOL, Account, Baseline, Held, Moment
from .model import Figures, Place, Request, Row, Stack
from .samples import CallFacts, Look, Move, Sample, Samples
from .stacks import (
    ESTIMATED_FILE,
    NATIVE_FILE,
    SAMPLED_FILE,
    StackInfo,
    block_owner,
    cut,
    either,
    guilty,
    inspect,
    stack_of,
)
from .totals import RowSum

__all__ = ["Ledger"]

_LEAST_NATIVE = 128 * 1024
"""Bytes from which an allocation on a thread without Python is put down to the call that runs, where nobody saw at
which line it was: Ray's own such threads allocate less at a time."""
_LEAST_NATIVE_AT_LINE = 32 * 1024
"""The same where its line is known."""
_PEAK_TOLERANCE = 8 * 2**20
_PEAK_TOLERANCE_PART = 0.05
"""A sample stands for a call's peak where its memory is lower by no more than this, or this part of the growth."""
_WORTH_SAYING = 2**20
_MOST_BYTES = 1 << 48
"""No process has an allocation that is larger: processors have no more addresses."""
_MAINLY = 0.9
"""A place counts as the one where something happened if it had this part of it."""

_Shares = tuple[tuple[Account, list[int]], ...]
"""The accounts that an allocation is in, each with the allocation's place there."""
_Entry = tuple[int, _Shares]
"""A live allocation: its size, and where it is accounted for."""


@dataclass(eq=False, slots=True)
class _Call:
    slot: int
    turn: int
    account: Account | None
    parent: _Call | None
    owner: tuple[str, str] | None = None
    """For a block: function and file of the frame it stands in."""
    children: list[_Call] = field(default_factory=list)
    since: int = 0
    """The mark that followed its beginning."""
    is_overlapped: bool = False
    """Whether a call that is not within it, nor it within that, ran at any time while it did."""


class Ledger:
    """Follows a capture's records and keeps the accounts."""

    def __init__(self, request: Request, native: bool, samples: Samples) -> None:
        self._request = request
        self._native = native
        self._samples = samples
        self._stacks: dict[Any, StackInfo] = {}
        self._running: dict[int, _Call] = {}
        self._turns: dict[int, int] = {}
        self._blocks: dict[int, list[_Call]] = {}
        self._sole: tuple[_Call, ...] = ()
        self._known_shares: dict[Any, _Shares] = {}
        """By stack and allocator, and where there are blocks by thread, until a call begins or ends."""
        self._wanted = set(request.places) if request.places is not None else None
        self._results: dict[Place, tuple[Account, _Call]] = {}
        self._sample: Sample | None = None
        self._next_mark = 0
        self._coming = sorted(samples.by_mark, reverse=True)
        """The marks of the samples that are still to come, the next one last."""
        self._lines: dict[Any, Stack | None] = {}
        """What `_line_now` found last."""
        self._last_stack: Any = None
        """The stack of the last allocation that a call made on a thread with Python."""
        self._look: Look | None = None
        self._asked_at: Sample | None = None
        """The last sample at which allocators were asked what they keep."""
        self._is_idle = False
        """Whether no call has run since."""
        self._clock = 0
        """How many calls have begun."""
        self._born: dict[int, tuple[int, int, int]] = {}
        """Of each large allocation: its size, the clock and the mark after which it was made."""
        self._pooled: list[tuple[_Shares, int]] = []
        """What was taken from pools that are sampled, and not given back yet, latest last."""
        self._everything = self._whole_account() if self._wanted is None else None
        self.seen_calls = False
        self._unended: frozenset[Place] = frozenset()
        self._held: dict[tuple[int, str], Held] = {}

    def _whole_account(self) -> Account:
        """The account of a whole capture; it began when the first sample was taken."""
        samples = self._samples.by_mark
        if not samples:
            return Account()
        first = samples[min(samples)]
        look = first.look
        libraries = look.libraries if look is not None else 0
        calls = self._samples.calls.values()
        peak = max([call.peak for call in calls if call.peak is not None], default=None)
        facts = CallFacts(first.memory, first.pools, peak=peak)  # it may have been higher between calls
        return Account(facts, Baseline(first.memory, first.retained(look), libraries, first.used, first.pools))

    def follow(self, records: Iterable[Any], later: Iterable[Any] = ()) -> None:
        """Take all records of the capture into account, and what later ones of its process show to have been freed."""
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
        arenas, born = self._samples.arenas, self._born
        last_stack = None
        # Of millions of records each takes as long as this: what `Account.remove` does is written out.
        for record in records:
            allocator = record.allocator
            if allocator in frees:
                address = record.address
                entry = live.pop(address, None)
                if address in born:
                    self._free(address)
                if entry is not None:
                    size, shares = entry
                    if size >= LARGE:
                        _forget(address, shares)
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
                if address in born:
                    self._free(address)
                _unmap(maps, address, size)
                continue
            if allocator == mmap and arenas and any([address <= start < address + size for start in arenas]):
                continue  # what is in it is sampled
            stack_id = (
                (record.stack_id, record.native_stack_id, record.native_segment_generation)
                if native
                else record.stack_id
            )
            key = (stack_id, allocator, record.tid) if blocks else (stack_id, allocator)
            found = known.get(key)
            is_line = True
            if found is None:
                info = stacks.get(stack_id)
                if info is None:
                    info = stacks[stack_id] = inspect(stack_of(record, native))
                if info.marker is not None:
                    self._last_stack = last_stack
                    self._mark(info, record)
                    last_stack = None
                    continue
                self._last_stack = last_stack
                found = self._shares(info, record, key)
                is_line = bool(info.slots)
                if not info.is_native and not info.stray:  # else it depends on the size and the moment, too
                    known[key] = found
            table = maps if allocator == mmap else live
            if address in table:  # its end was not recorded, and its address is in use again
                _drop(table, address)
            if size >= LARGE:
                if size > _MOST_BYTES:
                    raise ValueError(f"an allocation of {size:,} bytes cannot be: it is damaged")
                born[address] = (size, self._clock, self._next_mark)
            if found:
                if is_line:
                    last_stack = stack_id
                for account, place in found:
                    peak_id = account.peak_id
                    if place[4] != peak_id:
                        place[2], place[3], place[4] = place[0], place[1], peak_id
                    place[0] += size
                    place[1] += 1
                    account.allocations += 1
                    account.current += size
                entry = table[address] = (size, found)
                if size >= LARGE:
                    for account, place in found:
                        account.large[address] = (place, size, self._next_mark)
                if temporary:
                    recent.setdefault(record.tid, deque(maxlen=2)).append((address, entry))
        for record in later:
            if record.allocator in (mmap, munmap):
                _unmap(maps, record.address, record.size)
            elif record.address in live:  # it is freed, or in use again
                _drop(live, record.address)
        self._unended = frozenset((call.slot, call.turn) for call in self._running.values())
        for call in list(self._running.values()):
            self._end(call)
        for _, account, _ in self._accounts_asked_for():
            account.settle()
        if self._everything is not None:
            self._everything.at_end = Moment(self._asked_at, self._look, dict(self._everything.large), 0, [])

    @property
    def lost_samples(self) -> int:
        """How many samples that the journal has were not marked in the capture, up to its end."""
        return len(self._coming)

    def _free(self, address: int) -> None:
        """Note for the calls before which a large allocation was made that it was freed."""
        size, clock, mark = self._born.pop(address)
        for call in self._running.values():
            account = call.account
            if account is not None and clock < account.clock:
                is_known = self._look is not None and mark <= self._look.mark
                account.freed += self._look.of(address, size)[0] if is_known else size  # type: ignore[union-attr]

    def _shares(self, info: StackInfo, record: Any, key: tuple[Any, ...]) -> _Shares:
        """The accounts that an allocation goes to, with its place in each."""
        size = record.size
        if (info.is_native and size >= _LEAST_NATIVE_AT_LINE) or info.is_librarys_thread:
            at_line = self._native_at_line(info, record)
            if at_line is not None:
                return self._at(at_line, key[1])
        return tuple([(account, account.place(key[:2])) for account in self._accounts(info, record.tid, size)])

    def _at(self, key: tuple[str, str, Stack], allocator: int) -> _Shares:
        """The accounts that something at a place belongs to, which the sampler saw and memray did not."""
        info = self._stacks.get(key)
        if info is None:
            info = self._stacks[key] = inspect(key[2])
        calls = [self._running[slot] for slot in info.slots if slot in self._running]
        for blocks in self._blocks.values():
            calls += [block for block in blocks if block.owner in info.owners and block not in calls]
        accounts = [call.account for call in calls if call.account is not None]
        if self._everything is not None:
            accounts.append(self._everything)
        return tuple([(account, account.place((key, allocator))) for account in accounts])

    def _native_at_line(self, info: StackInfo, record: Any) -> tuple[str, str, Stack] | None:
        """The place that calls were at when a thread without Python allocated; None where nobody saw."""
        stack = self._line_now()
        if stack is None:
            return None
        title = record.thread_name or "native thread"
        name = title if "hread" in title else f"native thread {title}"
        return ("native", name, ((name, NATIVE_FILE, 0), *info.stack, *stack))

    def _line_now(self) -> Stack | None:
        """The line that calls were at between the last mark and the next; two, where it changed."""
        key = (self._coming[-1] if self._coming else None, self._last_stack)
        if key not in self._lines:
            self._lines = {key: self._find_line()}
        return self._lines[key]

    def _find_line(self) -> Stack | None:
        upcoming = self._samples.by_mark[self._coming[-1]] if self._coming else None
        moves = upcoming.moves if upcoming is not None else ()
        if not moves and self._sample is not None and self._sample.moves:
            last = self._sample.moves[-1]
            moves = (Move(last.after, last.after, 1, 0),)
        weights: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        for move in moves:
            weight = max(move.moved, 0) + max(move.pooled, 0)
            weights[move.before, move.after] = weights.get((move.before, move.after), 0) + weight
        ranked = sorted(weights, key=lambda places: -weights[places])
        stacks = [stack for stack in map(self._stack_between, ranked) if stack is not None]
        if not stacks:
            return None
        if weights[ranked[0]] >= _MAINLY * sum(weights.values()):
            return stacks[0]
        return self._narrowed(stacks)

    def _narrowed(self, stacks: list[Stack]) -> Stack:
        """Where the code was of what it may have been at: where it allocated last, if that is one of them."""
        last = self._stacks.get(self._last_stack)
        if last is not None and last.slots and guilty(last.stack) in map(guilty, stacks):
            return last.stack
        return either(stacks)

    def _stack_between(self, places: tuple[tuple[int, ...], tuple[int, ...]]) -> Stack | None:
        """Where the calls of one thread were; None where they were on several, or on none."""
        before, after = ([self._samples.places[one] for one in some if one in self._samples.places] for some in places)
        if len(before) > 1 or len(after) > 1:
            return None
        last = self._stacks.get(self._last_stack)
        if not before and last is not None and last.slots:
            before = [last.stack]  # it had just begun: nobody had looked yet
        found = [*before, *after]
        in_calls = [stack for stack in found if any(frame[1] == contract.FRAME_FILE for frame in stack)]
        found = in_calls or found  # what moved as a call began or ended is more likely the call's
        return self._narrowed(found) if found else None

    def _accounts(self, info: StackInfo, tid: int, size: int) -> list[Account]:
        """The accounts that an allocation goes to."""
        slots = info.slots
        calls = [self._running[slot] for slot in slots if slot in self._running]
        for block in self._blocks.get(tid, ()):
            if block.owner in info.owners and (block.parent is None or block.parent in calls):
                calls.append(block)
        if not calls and (info.stray or info.is_native) and (not info.is_native or size >= _LEAST_NATIVE):
            calls.extend(self._sole)
        accounts = [call.account for call in calls if call.account is not None]
        if self._everything is not None and not info.is_recording:
            accounts.append(self._everything)
        return accounts

    def _mark(self, info: StackInfo, record: Any) -> None:
        if info.marker == contract.SAMPLE_FILE:
            self._take_sample(contract.marked_turn(record.size, self._next_mark))
            return
        slot = info.marked_slot
        if info.marker == contract.END_FILE:
            call = self._running.get(slot)
            if call is not None:
                self._end(call)
        else:
            stale = self._running.get(slot)
            if stale is not None:
                self._end(stale)
            self._begin(info, record, slot)
        self._sole = self._sole_chain()
        self._known_shares.clear()

    def _begin(self, info: StackInfo, record: Any, slot: int) -> None:
        self._is_idle = self._is_idle and not self._running
        self._clock += 1
        turn = self._turns[slot] = contract.marked_turn(record.size, self._turns.get(slot, -1) + 1)
        self.seen_calls = True
        wanted = self._wanted is not None and (slot, turn) in self._wanted
        account = self._account(slot, turn) if wanted else None
        frames = [(name, file) for name, file, _ in reversed(info.stack)]
        slots = [contract.slot_of(name) for name, file in frames if file == contract.FRAME_FILE]
        parents = [self._running[s] for s in slots if s in self._running]
        parents += [block for block in self._blocks.get(record.tid, ()) if block.owner in frames]
        call = _Call(slot, turn, account, parents[-1] if parents else None, since=self._next_mark)
        if call.parent is not None:
            call.parent.children.append(call)
        if info.marker == contract.BEGIN_BLOCK_FILE:
            call.owner = block_owner(record.stack_trace())
            self._blocks.setdefault(record.tid, []).append(call)
        for other in self._running.values():
            if other not in parents:
                call.is_overlapped = other.is_overlapped = True
        self._running[slot] = call
        self._is_idle = False
        if account is not None:
            self._results[slot, turn] = (account, call)

    def _account(self, slot: int, turn: int) -> Account:
        """A call's account, with what is known of the process when it begins."""
        facts = self._samples.calls.get((slot, turn))
        if facts is None:
            return Account()
        look, asked = self._look, self._asked_at
        libraries = look.libraries if look is not None else 0
        if facts.free is not None and asked is not None:
            now = replace(asked, free=facts.free, pools=facts.pools)  # pools are slow to give memory back
            base = Baseline(facts.memory, now.retained(look), libraries, facts.used, facts.pools)
        elif asked is not None and self._is_idle:
            base = Baseline(facts.memory, asked.retained(look), libraries, asked.used, facts.pools)
        else:
            base = Baseline(facts.memory, None, libraries, None, facts.pools)
        return Account(facts, base, self._clock)

    def _take_sample(self, mark: int) -> None:
        """Take account of what a sample says of the time since the last one."""
        self._next_mark = mark + 1
        while self._coming and self._coming[-1] <= mark:
            self._coming.pop()
        sample = self._samples.by_mark.get(mark)
        if sample is None:
            return
        accounts = [(call.account, call.is_overlapped) for call in self._running.values() if call.account is not None]
        if self._everything is not None:
            accounts.append((self._everything, False))
        if (sample.look or self._look) is not None and (sample.look or self._look).opaque:  # type: ignore[union-attr]
            for account, _ in accounts:
                self._weigh(account, sample)
        for move in sample.moves:
            self._take_pools(move)
        for account, _ in accounts:
            account.last_current = account.current
            account.lowest = min(account.lowest, sample.memory)
        self._sample = sample
        if sample.look is not None:
            self._look = sample.look
            for account, _ in accounts if sample.look.has_shared else ():
                account.take_shared(sample.look)
        retained = sample.retained(self._look)
        if retained is not None:
            self._asked_at = sample
            self._is_idle = not self._running
        for account, is_overlapped in accounts:
            is_sure = not is_overlapped and _is_sure(account, sample, self._look)
            if _is_peak(account, sample, self._look, is_sure):
                account.at_peak = Moment(
                    sample,
                    self._look,
                    dict(account.large),
                    int(is_overlapped),
                    list(account.weights),
                    account.current,
                    is_sure,
                    tuple(account.rows("leaks")) if is_sure else (),
                    _released(account, sample, self._look),
                )

    def _take_pools(self, move: Move) -> None:
        """Put what went on in sampled pools down to the line that the calls were at."""
        size = move.pooled
        if size > 0:
            stack = self._stack_between((move.before, move.after))
            if stack is None:  # it goes to nobody, and nor does it come from anybody when it is given back
                self._pooled.append(((), size))
                return
            key = (POOL, "Arrow", (("Arrow's own memory pool", SAMPLED_FILE, 0), *stack))
            shares = self._at(key, _POOL_ALLOCATOR)
            for account, place in shares:
                account.add(place, size)
            self._pooled.append((shares, size))
        while size < 0 and self._pooled:
            shares, held = self._pooled.pop()
            part = min(held, -size)
            for account, place in shares:
                account.remove(place, part, 1 if part == held else 0)
            if part < held:
                self._pooled.append((shares, held - part))
            size += part

    def _weigh(self, account: Account, sample: Sample) -> None:
        """Note where the process grew beyond what was seen: of use where an allocator is known not to be seen."""
        grown = [(move, move.moved - move.pooled) for move in sample.moves]
        unseen = sum(size for _, size in grown) - (account.current - account.last_current)
        rises = sum(size for _, size in grown if size > 0)
        for move, size in grown if unseen > 0 else ():
            stack = self._stack_between((move.before, move.after))
            if size > 0 and stack is not None:
                names = ", ".join((sample.look or self._look).opaque)  # type: ignore[union-attr]
                key = (OPAQUE, names, ((names, ESTIMATED_FILE, 0), *stack))
                if any(one is account for one, _ in self._at(key, _POOL_ALLOCATOR)):
                    account.weights.append(((key, _POOL_ALLOCATOR), round(unseen * size / rises)))
        while unseen < 0 and account.weights:
            key, amount = account.weights.pop()
            if amount + unseen > 0:
                account.weights.append((key, amount + unseen))
            unseen += amount

    def _end(self, call: _Call) -> None:
        if call.account is not None:
            asked = self._asked_at if self._asked_at is not None and self._asked_at.mark >= call.since else None
            call.account.at_end = Moment(asked, self._look, call.account.large, int(call.is_overlapped), [])
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

    def _of(self, account: Account, view: str) -> Held:
        """What an account held, worked out once."""
        held = self._held.get((id(account), view))
        if held is None:
            held = self._held[id(account), view] = account.held(view)
        return held

    def figures(self) -> tuple[Figures, ...]:
        """The accounts' totals."""
        return tuple(self._figures(place, account, call) for place, account, call in self._accounts_asked_for())

    def _figures(self, place: Place | None, account: Account, call: _Call | None) -> Figures:
        held = self._of(account, "peak")
        notes = []
        if call is not None and call.is_overlapped:
            notes.append("other calls ran in its process beside it, so what the process grew by is not its alone")
        if held.libraries >= _WORTH_SAYING:
            notes.append(f"{held.libraries / 2**20:,.1f} MiB of what is not seen is the data of loaded libraries")
        if held.in_malloc >= _WORTH_SAYING:
            what = "was allocated outside of the call, by Ray's own threads say, or while libraries were loaded"
            notes.append(f"{held.in_malloc / 2**20:,.1f} MiB of what is not seen {what}")
        if place is None and account.baseline is not None:
            notes.append(_before(account.baseline))
        if held.opaque:
            notes.append(f"memray cannot see into {' and '.join(held.opaque)}: that is estimated")
        return Figures(
            path=self._request.path,
            place=place,
            peak=held.bytes,
            alive_at_end=self._of(account, "leaks").bytes,
            allocations=account.allocations,
            ended=place not in self._unended,
            reserved=held.reserved,
            shared=held.shared,
            grew=held.grew,
            retained=held.retained,
            unseen=held.unseen,
            released=held.released,
            retained_before=account.baseline.retained if account.baseline is not None else None,
            retained_at_end=self._of(account, "leaks").retained,
            notes=tuple(notes),
            owner=call.owner if call is not None else None,
        )

    def rows(self) -> dict[str, tuple[Row, ...]]:
        """The accounts by place in the code, all of them summed, for each view."""
        return {
            view: RowSum(
                Row(
                    cut(self._stacks[key[0]], call),
                    key[1],
                    entry.bytes,
                    entry.allocations,
                    entry.reserved,
                    entry.shared,
                )
                for place, account, call in self._accounts_asked_for()
                if not (place in self._unended and place in self._request.complete)
                for key, entry in self._of(account, view).entries.items()
                if entry.bytes or entry.reserved or entry.shared
            ).rows()
            for view in self._request.views
        }

    def _accounts_asked_for(self) -> Iterator[tuple[Place | None, Account, _Call | None]]:
        for place, (account, call) in self._results.items():
            yield place, account, call
        if self._everything is not None:
            yield None, self._everything, None

    def cut_for_request(self, stack: Stack) -> Stack | None:
        """The stack from its call's frame on, or None where it is not in any call that was asked for."""
        info = inspect(stack)
        if info.marker is not None:
            return None
        calls = [call for _, call in self._results.values()]
        if self._everything is not None:
            return cut(info, None) if info.slots else None
        for call in calls:
            if call.slot in info.slots or (call.owner is not None and call.owner in info.owners):
                return cut(info, call)
        return None


def _before(base: Baseline) -> str:
    """What a capture's process had when it began, which no record tells of."""
    parts = []
    if base.retained is not None and base.retained >= _WORTH_SAYING:
        parts.append(f"allocators retained {base.retained / 2**20:,.1f} MiB")
    if base.pools >= _WORTH_SAYING:
        parts.append(f"Arrow's memory pool held {base.pools / 2**20:,.1f} MiB")
    of_these = f", of which {' and '.join(parts)}" if parts else ""
    return f"the process had {base.memory / 2**20:,.1f} MiB before tracing began{of_these}"


_POOL_ALLOCATOR = 6
"""memray's number for malloc: its reports name an allocator for each row."""


def _released(account: Account, sample: Sample, look: Look | None) -> int:
    """How much of what the process had before a call began it has given back at a sample."""
    retained = sample.retained(look)
    before = account.baseline.retained if account.baseline is not None else None
    return account.released(None if retained is None or before is None else retained - before)


def _is_sure(account: Account, sample: Sample, look: Look | None) -> bool:
    """Whether the process's memory shows that a sample was taken at a call's peak."""
    facts, base = account.facts, account.baseline
    if base is None:
        return False
    growth = sample.memory - base.memory + _released(account, sample, look)
    if facts is not None and facts.peak is not None:
        most = facts.peak - base.memory
        if growth < most - max(min(_PEAK_TOLERANCE, most // 2), most * _PEAK_TOLERANCE_PART):
            return False
    retained = sample.retained(look)
    if retained is None or base.retained is None:  # it may be memory that was freed and stays with malloc
        return growth >= _PEAK_TOLERANCE and account.current >= growth // 2
    return growth - (retained - base.retained) >= _PEAK_TOLERANCE


def _is_peak(account: Account, sample: Sample, look: Look | None, is_sure: bool) -> bool:
    """Whether a sample stands better for an account's peak than what did so far."""
    base, before = account.baseline, account.at_peak
    if base is None:
        return False
    if before is None or before.sample is None:
        return True
    if not is_sure or not before.is_sure:
        if is_sure or before.is_sure:
            return is_sure
        if sample.look is not None:  # the later one counts: what it had asked for it may have touched meanwhile
            return account.current >= before.current * _MAINLY
        return before.sample.look is None and account.current >= before.current
    gain = sample.memory + _released(account, sample, look) - before.sample.memory - before.released
    kept, kept_before = sample.retained(look), before.sample.retained(before.look)
    if kept is not None:  # what allocators keep of freed memory nobody holds
        if kept_before is None:
            kept_before = (base.retained or 0) + max(before.sample.memory - base.memory - before.current, 0)
        gain -= kept - kept_before
    step = max(sample.memory + before.released - base.memory, 0) // 50 + 2**20
    better = _quality(sample, look) - _quality(before.sample, before.look)
    if better > 0:
        # What was freed since may be with malloc still: then the process has as much, and the call does not.
        return gain >= -step and account.current >= _MAINLY * before.current
    if abs(gain) <= step and better == 0:
        # The process has as much as before: what it uses, or shares, of that may have grown.
        return account.current > before.current + step or sample.shared > before.sample.shared + step
    return gain > step


def _quality(sample: Sample, look: Look | None) -> int:
    """How much is known of a moment."""
    return 2 if sample.look is not None else 1 if sample.retained(look) is not None else 0


def _forget(address: int, shares: _Shares) -> None:
    for account, _ in shares:
        if not account.closed:
            account.large.pop(address, None)


def _drop(table: dict[int, _Entry], address: int) -> None:
    """Account for the end of an allocation."""
    size, shares = table.pop(address)
    _forget(address, shares)
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
        before = {id(account): account.large.get(start) for account, _ in shares}
        _forget(start, shares)
        kept = 0
        if start < address:
            maps[start] = (address - start, shares)
            kept += address - start
        if end < start + length:
            maps[end] = (start + length - end, shares)
            kept += start + length - end
        for account, place in shares:
            account.remove(place, length - kept, 0 if kept else 1)
            was_large = before[id(account)]
            if was_large is not None and not account.closed:
                if start < address:
                    account.large[start] = (place, address - start, was_large[2])
                if end < start + length:
                    account.large[end] = (place, start + length - end, was_large[2])


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
