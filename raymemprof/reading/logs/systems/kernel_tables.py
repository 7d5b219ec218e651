"""The table of processes, and the figures of a memory cgroup, in a report of the kernel's out-of-memory killer."""

from __future__ import annotations

import itertools

from ....display.text import show_bytes
from ..facts import TopProcess, called
from ..patterns import Form, pattern

__all__ = ["has_rows", "kib", "processes", "ram_and_swap", "stats", "swapped"]

_HEAD = pattern(r"\[ pid \]\s{1,9}uid\s{1,9}tgid\s{1,9}total_vm\s{1,9}rss\b[^\n]{1,200}?oom_score_adj name")
_ROW = Form(
    r"\[ {0,9}(\d{1,10})\] {0,9}\s{1,40}(?:\d{1,10}\s{1,40}){2}\d{1,15}\s{1,40}(\d{1,15})\s{1,40}"
    r"((?:-?\d{1,15}\s{1,40}){2,7}?)(?!-?\d{1,15}\s)([^\s\d`][^\n`]{0,63}?)(?=\s*$|\s*\n|;|`)"
)
"""Of a process: its pid, its resident pages, what else is counted of it, and its name."""
_SURE_ROW = Form(
    r"\[ {0,9}(?P<pid>\d{1,10})\]\s{1,40}\d{1,10}\s{1,40}(?P=pid)(?:\s{1,40}\d{1,15}){4,6}\s{1,40}-?\d{1,4}\s{1,40}"
    r"[A-Za-z(/]"
)
"""A row that no other table has: the pid in brackets is the thread group's too."""
_FEWEST = 3
"""Rows from which on they are a table's."""
_OTHER_PAGES = Form(r"aarch64|arm64|ppc64|-64k\b")
"""Kernels whose pages may be larger than 4 KiB."""
_PAGE = 4096
_MOST_ROWS, _MOST = 5000, 10
_FREE_SWAP, _TOTAL_SWAP = Form(r"\bFree swap {1,3}= (\d{1,15})kB"), Form(r"\bTotal swap = (\d{1,15})kB")
_PAGES = Form(r"\b(\d{1,12}) pages (?:of )?RAM\b")
_STATS = Form(
    r"Memory cgroup stats for \S{1,400}: ?(?:cache:\d{1,15}KB )?rss:(\d{1,15})KB(?:[^\n]{0,200}?\bswap:(\d{1,15})KB)?"
)


def kib(figure: str) -> int:
    """Return the bytes of a figure in KiB, in which somebody may have put commas."""
    return int(figure.replace(",", "")) * 1024


def has_rows(text: str) -> bool:
    """Whether a text has rows of the kernel's table, with or without its head: only its killer prints them."""
    return sum(1 for _ in itertools.islice(_SURE_ROW.finditer(text), _FEWEST)) == _FEWEST


def processes(text: str) -> tuple[TopProcess, ...]:
    """Return the largest processes of the kernel's table, by what they had resident, the largest first."""
    is_report = _HEAD.search(text) or "oom-kill:" in text or "Killed process" in text or has_rows(text)
    if not is_report or _OTHER_PAGES.search(text):
        return ()
    found: dict[int, TopProcess] = {}
    for row in itertools.islice(_ROW.finditer(text), _MOST_ROWS):
        if int(row[2]):
            found.setdefault(int(row[1]), TopProcess(int(row[1]), int(row[2]) * _PAGE, row[4]))
    return tuple(sorted(found.values(), key=lambda one: one.memory, reverse=True)[:_MOST])


def swapped(text: str, pids: frozenset[int | None]) -> tuple[str, ...]:
    """Say what those who were killed had in swap, by the table's last column but one before the name."""
    if _OTHER_PAGES.search(text) or "oom-kill" not in text:
        return ()
    rows = itertools.islice(_ROW.finditer(text), _MOST_ROWS)
    found = {called(row[4], int(row[1])): int(row[3].split()[-2]) for row in rows if int(row[1]) in pids}
    return tuple(f"{name} had {show_bytes(pages * _PAGE)} in swap, too." for name, pages in found.items() if pages)


def ram_and_swap(text: str) -> tuple[str, ...]:
    """Say what the machine had, where the report counts it: free swap of all swap."""
    free, total = ({one[1] for one in form.finditer(text)} for form in (_FREE_SWAP, _TOTAL_SWAP))
    pages = {one[1] for one in _PAGES.finditer(text)}
    said = []
    if len(pages) == 1 and not _OTHER_PAGES.search(text):
        said.append(f"The machine had {show_bytes(int(pages.pop()) * _PAGE)} of RAM")
    if len(free) == len(total) == 1:
        all_of_it, left = kib(total.pop()), kib(free.pop())
        swap = "no swap" if all_of_it == 0 else f"{show_bytes(left)} of {show_bytes(all_of_it)} of swap left"
        said.append(f"{'and ' if said else 'The machine had '}{swap}")
    return (f"{' '.join(said)}.",) if said else ()


def stats(text: str) -> tuple[str, ...]:
    """Say what the kernel counts in a memory cgroup that reached its limit, where the text has one such count."""
    counts = set(_STATS.findall(text))
    if len(counts) != 1:
        return ()
    resident, swapped = counts.pop()
    swap = f", and {show_bytes(kib(swapped))} in swap" if swapped and int(swapped) else ""
    return (f"The processes of the cgroup had {show_bytes(kib(resident))} resident{swap}.",)
