"""Follows a capture's records one by one, and keeps the accounts of the calls that were asked for.

memray knows the peak of a process; a capture shared by many calls has one peak for each. An allocation belongs to the
calls whose frames are in its stack (named as in `journal/marks.py`). What a thread without Python allocated belongs to
the line that the calls were at then, by the journal's samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from ... import journal as contract
from .accounts import LARGE, OPAQUE, POOL, Account, Moment, Place, account_of_call, account_of_capture
from .allocations import LiveAllocation, Shares, drop, forget, note_temporary, unmap
from .model import Request, Stack
from .peaks import growth_of_retained, is_peak, is_sure, released_at
from .results import Results
from .running import RunningCall, RunningCalls
from .sampled_lines import SampledLines
from .samples import Look, Move, Sample, Samples
from .stacks import ESTIMATED_FILE, NATIVE_FILE, SAMPLED_FILE, StackInfo, inspect, stack_of

__all__ = ["Ledger"]

_LEAST_NATIVE_AT_LINE = 32 * 1024
"""Bytes from which an allocation on a thread without Python is put down to the line that calls were at."""
_POOL_ALLOCATOR = 6
"""memray's number for malloc: its reports name an allocator for each row."""
_NOWHERE: Shares = (None, ())
_MOST_BYTES = 1 << 48
"""No process has an allocation that is larger: processors have no more addresses."""


class Ledger:
    """Follows a capture's records and keeps the accounts."""

    def __init__(self, request: Request, native: bool, samples: Samples) -> None:
        import memray

        types = memray.AllocatorType
        self._frees = {int(types.FREE), int(types.PYMALLOC_FREE)}
        self._mmap, self._munmap = int(types.MMAP), int(types.MUNMAP)
        self._request = request
        self._native = native
        self._samples = samples
        self._stacks: dict[Any, StackInfo] = {}
        self._running = RunningCalls()
        self._lines = SampledLines(samples, self._stacks)
        self._turns: dict[int, int] = {}
        self._known_shares: dict[tuple[int, int], dict[Any, Shares]] = {}
        """By allocator, and where there are blocks by thread, and by stack, until a call begins or ends."""
        self._wanted = set(request.places) if request.places is not None else None
        self._live: dict[int, LiveAllocation] = {}
        """What is allocated and not freed, by address."""
        self._maps: dict[int, LiveAllocation] = {}
        """The same of what was mapped."""
        self._recent: dict[int, deque[tuple[int, LiveAllocation]]] = {}
        """The last two allocations of each thread, if it is asked what was temporary."""
        self._next_mark = 0
        self._look: Look | None = None
        self._asked_at: Sample | None = None
        """The last sample at which allocators were asked what they keep."""
        self._is_idle = False
        """Whether no call has run since."""
        self._clock = 0
        """How many calls have begun."""
        self._born: dict[int, tuple[int, int, int]] = {}
        """Of each large allocation: its size, the clock and the mark after which it was made."""
        self._pooled: list[tuple[list[Place], int]] = []
        """What was taken from pools that are sampled, and not given back yet, latest last."""
        self.seen_calls = False
        self.results = Results(request, self._stacks)
        if self._wanted is None:
            self.results.everything = account_of_capture(samples)

    def account_for(self, records: Iterable[Any], later: Iterable[Any] = ()) -> None:
        """Take all records of the capture into account, and what later ones of its process show to have been freed."""
        self._take(records)
        for record in later:
            if record.allocator in (self._mmap, self._munmap):
                unmap(self._maps, record.address, record.size)
            elif record.address in self._live:  # it is freed, or in use again
                drop(self._live, record.address)
        self._close_accounts()

    def _take(self, records: Iterable[Any]) -> None:
        """Take records into account. Of millions each takes as long as this, so what `Account` does is written out."""
        live, maps, recent, born = self._live, self._maps, self._recent, self._born
        blocks, arenas, known_shares = self._running.blocks, self._samples.arenas, self._known_shares
        is_native, take_free = self._native, self._take_free
        frees, mmap, munmap = self._frees, self._mmap, self._munmap
        is_temporary_wanted = "temporary" in self._request.views
        last_stack = last_allocator = None
        for record in records:
            allocator = record.allocator
            if allocator in frees:
                entry = live.pop(record.address, None)
                if entry is not None:
                    take_free(record, entry)
                continue
            size, address = record.size, record.address
            if allocator == munmap:
                if address in born:
                    self._note_freed(address)
                unmap(maps, address, size)
                continue
            if arenas and allocator == mmap and any([address <= start < address + size for start in arenas]):
                continue  # what is in it is sampled
            if allocator != last_allocator or blocks:
                last_allocator = allocator
                table = maps if allocator == mmap else live
                known = known_shares.setdefault((allocator, record.tid if blocks else 0), {})
            stack_id = record.stack_id
            if is_native:
                stack_id = stack_id, record.native_stack_id, record.native_segment_generation
            is_line = True
            try:
                place, more = known[stack_id]
            except KeyError:
                info = self._info(record, stack_id)
                self._lines.last_stack = last_stack
                if info.marker is not None:
                    self._mark(info, record)
                    last_stack = last_allocator = None
                    continue
                found = place, more = self._shares(info, record, (stack_id, allocator))
                is_line = bool(info.slots)
                if not info.is_native and not info.stray:  # else it depends on the size and the moment, too
                    known[stack_id] = found
            if address in table:  # its end was not recorded, and its address is in use again
                drop(table, address)
            if size >= LARGE:
                self._note_large(record, place, more)
                if place is None and table is live:
                    live[address] = (size, None, ())
            if place is None:
                continue
            if is_line:
                last_stack = stack_id
            account = place.account
            if place.peak_id != account.peak_id:
                place.number(account.peak_id)
            place.bytes += size
            place.made += 1
            account.current += size
            for other in more:
                other.account.add(other, size)
            entry = table[address] = (size, place, more)
            if is_temporary_wanted:
                recent.setdefault(record.tid, deque(maxlen=2)).append((address, entry))

    def _take_free(self, record: Any, entry: LiveAllocation) -> None:
        """Take into account that an allocation was freed; what `Account.remove` does is written out."""
        size, place, more = entry
        if size >= LARGE:
            self._note_freed(record.address)
            forget(record.address, entry)
        if place is None:
            return
        account = place.account
        if not account.closed:
            current = account.current
            if current > account.peak:
                account.peak = current
                account.peak_id += 1
            if place.peak_id != account.peak_id:
                place.number(account.peak_id)
            place.bytes -= size
            place.ended += 1
            account.current = current - size
        for other in more:
            other.account.remove(other, size)
        if self._recent:
            note_temporary(self._recent.get(record.tid), record.address)

    def _info(self, record: Any, stack_id: Any) -> StackInfo:
        """Return what is to be known of a record's stack."""
        info = self._stacks.get(stack_id)
        if info is None:
            info = self._stacks[stack_id] = inspect(stack_of(record, self._native))
        return info

    def _note_large(self, record: Any, place: Place | None, more: tuple[Place, ...]) -> None:
        """Note a large allocation: looks tell what of it is resident."""
        address, size = record.address, record.size
        if size > _MOST_BYTES:
            raise ValueError(f"an allocation of {size:,} bytes cannot be: it is damaged")
        self._born[address] = (size, self._clock, self._next_mark)
        for one in (place, *more) if place is not None else ():
            one.account.large[address] = (one, size, self._next_mark)

    def _close_accounts(self) -> None:
        """End the calls that run on where the capture ends."""
        self.results.unended = frozenset((call.slot, call.turn) for call in self._running.by_slot.values())
        for call in list(self._running.by_slot.values()):
            self._end(call)
        for _, account, _ in self.results:
            account.settle()
        everything = self.results.everything
        if everything is not None:
            everything.at_end = Moment(self._asked_at, self._look, dict(everything.large), 0, [])

    @property
    def lost_samples(self) -> int:
        """How many samples that the journal has were not marked in the capture, up to its end."""
        return len(self._lines.coming)

    def _note_freed(self, address: int) -> None:
        """Note for the calls before which a large allocation was made that it was freed."""
        size, clock, mark = self._born.pop(address)
        for call in self._running.by_slot.values():
            account = call.account
            if account is not None and clock < account.clock:
                is_known = self._look is not None and mark <= self._look.mark
                account.freed += self._look.of(address, size)[0] if is_known else size  # type: ignore[union-attr]

    def _shares(self, info: StackInfo, record: Any, key: tuple[Any, int]) -> Shares:
        """Where an allocation is accounted for."""
        size = record.size
        places = None
        if (info.is_native and size >= _LEAST_NATIVE_AT_LINE) or info.is_librarys_thread:
            at_line = self._native_at_line(info, record)
            if at_line is not None:
                places = self._at(at_line, key[1])
        if places is None:
            calls = self._running.of(info, record.tid, size)
            accounts = self._accounts(calls, with_everything=not info.is_recording)
            places = [account.place(key) for account in accounts]
        return (places[0], tuple(places[1:])) if places else _NOWHERE

    def _accounts(self, calls: list[RunningCall], with_everything: bool = True) -> list[Account]:
        """The accounts of calls, and the whole capture's."""
        accounts = [call.account for call in calls if call.account is not None]
        if self.results.everything is not None and with_everything:
            accounts.append(self.results.everything)
        return accounts

    def _at(self, key: tuple[str, str, Stack], allocator: int) -> list[Place]:
        """Where something is accounted for that the sampler saw and memray did not."""
        info = self._stacks.get(key)
        if info is None:
            info = self._stacks[key] = inspect(key[2])
        accounts = self._accounts(self._running.at(info))
        return [account.place((key, allocator)) for account in accounts]

    def _native_at_line(self, info: StackInfo, record: Any) -> tuple[str, str, Stack] | None:
        """The place that calls were at when a thread without Python allocated; None where nobody saw."""
        stack = self._lines.now()
        if stack is None:
            return None
        title = record.thread_name or "native thread"
        name = title if "hread" in title else f"native thread {title}"
        return ("native", name, ((name, NATIVE_FILE, 0), *info.stack, *stack))

    def _mark(self, info: StackInfo, record: Any) -> None:
        if info.marker == contract.SAMPLE_FILE:
            self._take_sample(contract.marked_turn(record.size, self._next_mark))
            return
        slot = info.marked_slot
        if info.marker == contract.END_FILE:
            call = self._running.by_slot.get(slot)
            if call is not None:
                self._end(call)
        else:
            stale = self._running.by_slot.get(slot)
            if stale is not None:
                self._end(stale)
            self._begin(info, record, slot)
        self._known_shares.clear()

    def _begin(self, info: StackInfo, record: Any, slot: int) -> None:
        self._is_idle = self._is_idle and not self._running.by_slot
        self._clock += 1
        turn = self._turns[slot] = contract.marked_turn(record.size, self._turns.get(slot, -1) + 1)
        self.seen_calls = True
        wanted = self._wanted is not None and (slot, turn) in self._wanted
        facts = self._samples.calls.get((slot, turn)) if wanted else None
        account = account_of_call(facts, self._look, self._asked_at, self._is_idle, self._clock) if wanted else None
        call = self._running.begin(info, record, slot, turn, account, self._next_mark)
        self._is_idle = False
        if account is not None:
            self.results.by_place[slot, turn] = (account, call)

    def _take_sample(self, mark: int) -> None:
        """Take account of what a sample says of the time since the last one."""
        self._next_mark = mark + 1
        sample = self._lines.pass_mark(mark)
        if sample is None:
            return
        calls = self._running.by_slot.values()
        accounts = [(call.account, call.is_overlapped) for call in calls if call.account is not None]
        if self.results.everything is not None:
            accounts.append((self.results.everything, False))
        if (sample.look or self._look) is not None and (sample.look or self._look).opaque:  # type: ignore[union-attr]
            for account, _ in accounts:
                self._weigh(account, sample)
        for move in sample.moves:
            self._take_pools(move)
        self._lines.take(sample)
        if sample.look is not None:
            self._look = sample.look
        for account, _ in accounts:
            account.take_memory(sample, growth_of_retained(account, sample, self._look))
        if sample.look is not None:
            for account, _ in accounts if sample.look.has_shared else ():
                account.take_shared(sample.look)
        retained = sample.retained(self._look)
        if retained is not None:
            self._asked_at = sample
            self._is_idle = not self._running.by_slot
        for account, is_overlapped in accounts:
            sure = not is_overlapped and is_sure(account, sample, self._look)
            if is_peak(account, sample, self._look, sure):
                account.at_peak = Moment(
                    sample,
                    self._look,
                    dict(account.large),
                    int(is_overlapped),
                    list(account.weights),
                    account.current,
                    sure,
                    tuple(account.rows("leaks")) if sure else (),
                    released_at(account, sample, self._look),
                )

    def _take_pools(self, move: Move) -> None:
        """Put what went on in sampled pools down to the line that the calls were at."""
        size = move.pooled
        if size > 0:
            stack = self._lines.between((move.before, move.after))
            if stack is None:  # it goes to nobody, and nor does it come from anybody when it is given back
                self._pooled.append(([], size))
                return
            key = (POOL, "Arrow", (("Arrow's own memory pool", SAMPLED_FILE, 0), *stack))
            places = self._at(key, _POOL_ALLOCATOR)
            for place in places:
                place.account.add(place, size)
            self._pooled.append((places, size))
        while size < 0 and self._pooled:
            places, held = self._pooled.pop()
            part = min(held, -size)
            for place in places:
                place.account.remove(place, part, 1 if part == held else 0)
            if part < held:
                self._pooled.append((places, held - part))
            size += part

    def _weigh(self, account: Account, sample: Sample) -> None:
        """Note where the process grew beyond what was seen: of use where an allocator is known not to be seen."""
        grown = [(move, move.moved - move.pooled) for move in sample.moves]
        unseen = sum(size for _, size in grown) - (account.current - account.last_current)
        rises = sum(size for _, size in grown if size > 0)
        for move, size in grown if unseen > 0 else ():
            stack = self._lines.between((move.before, move.after))
            if size > 0 and stack is not None:
                names = ", ".join((sample.look or self._look).opaque)  # type: ignore[union-attr]
                key = (OPAQUE, names, ((names, ESTIMATED_FILE, 0), *stack))
                if any(place.account is account for place in self._at(key, _POOL_ALLOCATOR)):
                    account.weights.append(((key, _POOL_ALLOCATOR), round(unseen * size / rises)))
        while unseen < 0 and account.weights:
            key, amount = account.weights.pop()
            if amount + unseen > 0:
                account.weights.append((key, amount + unseen))
            unseen += amount

    def _end(self, call: RunningCall) -> None:
        if call.account is not None:
            asked = self._asked_at if self._asked_at is not None and self._asked_at.mark >= call.since else None
            call.account.at_end = Moment(asked, self._look, call.account.large, int(call.is_overlapped), [])
            call.account.closed = True
        self._running.end(call)
