"""Finds the lines of a text that tell of memory, to quote what no pattern reads: a quote is never false.

A line counts where it names memory and has a size, or says that memory did not suffice. Nothing is concluded from it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from .patterns import Form, gibibytes, size
from .sentences import DECORATION, LONG, PARTS, is_advice, is_code, shortened, tells
from .text.denials import without_denials
from .text.mentions import without_mentions

__all__ = ["NO_TROUBLE", "Quote", "quotes"]

_FIGURE = Form(
    r"(?<![\w.,:/-])~?(?P<figure>\d{1,6}(?:,\d{3}){1,4}|\d{1,20}(?:\.\d{1,12})?)\s?"
    r"(?P<unit>[KMGT]i?[Bb]|[kmgt]i?b|[KMG]i|[GTgt](?!\w)|bytes|B)\b|"
    r"\b(?:max_?)?(?:rss|uss|pss|vsize|vmem|mem(?:ory)?)\s?[:=]\s?(?P<without_unit>\d{4,18})\b",
    re.IGNORECASE,
)
_SHARE = Form(r"(?<![\w.])\d{1,3}(?:\.\d{1,4})?\s?%")
_MEMORY = Form(
    r"(?<![a-z])(?:memory|mem(?=[ =:_-]|total|available)|ram(?![a-z])|(?:max)?rss|uss|pss|vms|vsize|(?:max)?vmem|vram|"
    r"hbm|heap|swap|page ?file|paging file|shm|resident|footprint|oom|object[ _-]store|plasma|spill|cgroup|anon|"
    r"objects\b)(?!_map\b)|"
    r"内存|显存|記憶體|メモリ|메모리|памят|(?<![a-z])(?:Arbeitsspeicher|mémoire|memoria)",
    re.IGNORECASE,
)
_TROUBLE = Form(
    r"\bout[ -]of[ -](?:\w{1,20}[ -])?memory|(?<![a-z])(?<!early )oom(?:s|ed|ing)?(?![a-z_])|"
    r"\boom[ -]?kill|\boutofmemory|"
    r"\b(?:insufficient|not enough|no (?:more|free|available)|lacks?|lack of|too little) (?:\w{1,20} )?"
    r"(?:memory|ram)\b|"
    r"\b(?:memory|ram)\b[^\n]{0,30}?\b(?:is|was|are|were) (?:not|never) enough|"
    r"\b(?:fail|failed|failure|unable|cannot|can't|couldn't|could not) ?(?:to |in )?(?:\w{1,20} )?"
    r"(?:allocat|mmap|malloc|map\b|reserve|commit|alloc\b)|"
    r"\b(?:m?alloc|mmap|allocation|cudaMalloc)\w{0,20}\(?\)? failed|"
    r"\b(?:memory|heap|ram|(?:max)?rss|swap|cgroup)\b[^\n]{0,60}?\b(?:exceed|exhaust|exceeded|full|limit reached|"
    r"pressure|leak|overcommit|grow|grew|(?:too |still |very )?high\b|kill)|"
    r"\b(?:exceed|exceeds|exceeded|exceeding|exhausted|ran out of|run out of|running out of|low on|used up|high|"
    r"too much|kill\w*)\b[^\n]{0,60}?\b(?:memory|ram|(?:max)?rss|swap|heap)\b|"
    r"\bneeds? (?:a lot |much |some )?more (?:memory|ram)\b|"
    r"\b(?:memory|ram) (?:was|is) the (?:key|problem|issue|reason|cause|culprit|bottleneck)\b|"
    r"\brelated to ['\"]?(?:memory|ram)\b|\bmemory[- ](?:related|issue|problem)s?\b|"
    r"\b(?:fail|crash|die|end|exit|kill)\w{0,3} (?:with|by|of|from|on) (?:an? |the )?(?:SIGBUS|bus error)|"
    r"\bspill\w{0,3} (?:fail|error)|\bfailed to spill|"
    r"(?:内存|显存)[^\n。，]{0,20}?(?:不足|溢出|爆|耗尽|用完|满|超|泄漏|不够)|(?:爆|超|耗尽)了?(?:内存|显存)|"
    r"メモリー?不足|메모리 ?부족|"
    r"(?:не хватает|нехватк\w{1,3}|недостаточно) памяти|"
    r"(?:nicht genug|zu wenig) (?:Arbeits)?[Ss]peicher|mémoire insuffisante|memoria insuficiente|sin memoria",
    re.IGNORECASE,
)
"""Words of memory that did not suffice."""
_END = Form(
    r"\b(?:PID|pid|[Pp]rocess|[Cc]hild|[Ww]orker)\b[ \t:=(#]{1,3}\d{1,10}\b[^\n]{0,80}?\b(?:killed|died|terminated|"
    r"exited|crashed|aborted|signal)\b|\bSIG[A-Z]{2,6}\b[^\n]{0,40}?\breceived by PID \d{1,10}\b|"
    r"\bline \d{1,9}:\s{1,9}\d{1,10} (?:Aborted|Segmentation fault|Bus error)|"
    r"\b(?:killed|died|terminated|crashed)\b[^\n]{0,60}?\bpid\b[ :=]{1,3}\d{1,10}\b"
)
"""Words of a process's end, with its pid."""
_TITLE = Form(r"\A\s{0,40}#[ \t]{1,9}([^\n]{1,500})\n[ \t]{0,40}\n")
NO_TROUBLE = Form(
    r"\b(?:no|not an?|never|without|0|any|isn't|wasn't)[ \t](?:sign of[ \t])?(?:oom|out[ -]of[ -]memory|"
    r"memory[ -](?:leak|pressure|issue|error|problem)s?)\b|\boom\b\W{1,9}(?:none|no|0|false)\b|"
    r"\b(?:excludes?|rules? out|ruled out)\b|\bpotential root causes\b|\bcommon causes include\b|"
    r"\bmay have exceeded K8s pod\b|\b(?:could|may|might) be caused by\b|"
    r"\bkilled by SIGKILL by OOM killer due to high memory usage|\bray-oom-prevention\b|"
    r"\bConsider provisioning more memory\b|\braylet crashes unexpectedly \(OOM|\bPossible reasons include\b",
    re.IGNORECASE,
)
"""What says that there was none, or guesses, as Ray does in each message of a death."""
_DENIAL = Form(
    r"\b(?:memory|ram)\b[^\n.;]{0,60}?\b(?:stable|fine|plenty|sufficient|enough|normal|constant|(?:not|isn't|"
    r"n't) (?:an? |the )?"
    r"(?:issue|problem|full|exhausted|high|reason)|low)\b|\b(?:enough|plenty of|sufficient|lots of) (?:\w{1,12} "
    r")?(?:memory|ram)\b|"
    r"\bno (?:obvious |sign of |apparent )?(?:memory (?:constraint|pressure|issue|problem|leak)|oom)",
    re.IGNORECASE,
)
"""Words of memory that did suffice."""
_REPORT = Form(
    r"^\W{0,9}[\w.]{0,80}(?:Error|Exception|Exit)\b[^\n]{0,9}?:|\b(?:ERROR|FATAL|CRITICAL|PANIC|SEVERE)\b|"
    r"\b(?:error|fatal|panic|critical):|\b[\w/]{2,60}\.(?:cc|cpp|cu|cuh|c|rs|go):\d{1,6}\b|\b[Ee]rrno[ :=]|\bkernel:|"
    r"\bpid[ :=]{1,3}\d"
)
"""How programs report errors."""
_ENDED = Form(
    r"\b(?:kill\w{0,6}|d(?:ies|ied|eath)|crash(?:es|ed|ing)?|terminated|exit code|exited|SIG[A-Z]{3,4})\b",
    re.IGNORECASE,
)
"""Words of an end."""
_TOLD = Form(r"\b(?:according to (?:the |its |my )?logs?|[Ll]ooks like|it looks)\b")
"""How else people tell what happened to them, as no documentation does."""
_BAR = re.compile(r"[\u2580-\u259f]{2,}\s{0,200}\|?")
"""A bar of progress."""
_FEWEST = 1024
"""Bytes from which on a number with a B is a size."""
_PROSE = re.compile(
    r"[ ]{0,4}(?:[*>-] |\d[.)] )?[\"'`*(~]{0,3}\w(?![^\n]{0,12}(?:\d\d:\d\d|\])|[^\n]{0,200} =)[^\n|{}<>\[\]]{1,200}$"
)
"""A line that may be of a person's paragraph: it has no signs of tables, code or logs."""
_BEGINS = re.compile(r"[ ]{0,8}(?:[*>-] |\d{1,2}[.)] |[\w./-]{1,60}(?:\[\w+\])?: |[A-Z][\w ./-]{1,60}: )")
"""What begins an item of a list, or a program's line."""
_STOPS = frozenset(".:;!?")
_WIDTHS = (66, 120)
_NO_LIMIT = 2**62
"""Bytes from which on a figure is what a kernel prints for no limit."""
_FEWEST_WORDS = 2
"""Blanks that a quote without figures has at least."""
_MOST, _LONGEST = 100, 280
_MOST_LINES = 4_000
_BEFORE = 60
"""Characters that a quote has before what makes it one, where the line is too long."""


class Quote(NamedTuple):
    """A line, or a sentence, that tells of memory."""

    words: str
    sizes: tuple[tuple[str, tuple[int, ...]], ...]
    """Its figures, as they stand there, each with the bytes that it may mean."""
    is_trouble: bool
    """Whether it says that memory did not suffice."""
    is_report: bool
    """Whether it has the form, or a figure, of a program's report."""
    is_told: bool
    """Whether somebody tells in the text what happened to them."""
    is_end_told: bool
    """Whether somebody tells in it of an end."""
    is_title: bool
    is_end: bool
    """Whether it says that a process ended, and has its pid."""
    is_denial: bool = False
    """Whether somebody says that memory sufficed."""


def quotes(text: str) -> tuple[Quote, ...]:
    """Return the lines that tell of memory, each once, in the order of a text as printed."""
    if not any(form.search(text) for form in (_MEMORY, _TROUBLE, _END)):
        return ()
    title, text = _TITLE.match(text), text[-LONG:]
    told = _quotes(
        without_mentions(text, with_denials=True), tells(text) or bool(_TOLD.search(text)), title[1] if title else ""
    )
    return tuple({quote.words: quote for quote in itertools.islice(told, _MOST)}.values())


def _quotes(text: str, is_told: bool, title: str) -> Iterator[Quote]:
    lines = text.split("\n")[-_MOST_LINES:]
    for line in _whole(lines) if len(text) < LONG else lines:
        if not any(form.search(line) for form in (_MEMORY, _TROUBLE, _END)):
            continue
        for part in PARTS.split(_BAR.sub("", line)):
            end = _END.search(part)
            left = without_denials(part)
            trouble = _TROUBLE.search(left) if not NO_TROUBLE.search(part) else None
            if not (trouble or end or _MEMORY.search(part)) or _states_nothing(part):
                continue
            figures = [found for found in _FIGURE.finditer(part) if _is_size(found)]
            is_denial = left != part or (
                (is_told or _ENDED.search(part) is not None) and _DENIAL.search(part) is not None
            )
            if not (figures or trouble or end or is_denial) or (part.count(" ") < _FEWEST_WORDS and not figures):
                continue
            at = min((found.start() for found in (trouble, end, *figures) if found is not None), default=0)
            sizes = tuple((_figure(found), _bytes(found)) for found in figures)
            is_report = bool(figures or _REPORT.search(line) or _SHARE.search(part))
            is_title = bool(title) and part.strip() in title
            is_end, is_trouble = end is not None, trouble is not None
            is_end_told = is_told and _ENDED.search(part) is not None
            words = _shortened(part, at)
            yield Quote(words, sizes, is_trouble, is_report, is_told, is_end_told, is_title, is_end, is_denial)


def _whole(lines: list[str]) -> Iterator[str]:
    """Join the lines of paragraphs that an editor filled to one width: no word fitted into the line before its own."""
    for is_prose, paragraph in itertools.groupby(lines, lambda line: _PROSE.match(line) is not None):
        if is_prose:
            yield from _filled(list(paragraph))
        else:
            yield from paragraph


def _filled(paragraph: list[str]) -> Iterator[str]:
    width = max(map(len, paragraph))
    joined = paragraph[0]
    for before, line in itertools.pairwise(paragraph):
        is_full = width < len(before.rstrip()) + 1 + len(line.split()[0])
        if (
            _WIDTHS[0] <= width <= _WIDTHS[1]
            and is_full
            and not _BEGINS.match(line)
            and before.rstrip()[-1] not in _STOPS
        ):
            joined += f" {line.strip()}"
        else:
            yield joined
            joined = line
    yield joined


def _states_nothing(part: str) -> bool:
    return is_code(part) or is_advice(part) or part.rstrip().endswith("?")


def _is_size(found: re.Match[str]) -> bool:
    """Whether it is one, and neither 0 nor what stands for no limit; 7B is the size of a model."""
    if found["without_unit"]:
        return True
    figure = found["figure"].replace(",", "")
    return (
        float(figure) > 0
        and max(_bytes(found)) < _NO_LIMIT
        and (found["unit"].upper() != "B" or (figure.isdigit() and int(figure) >= _FEWEST))
    )


def _figure(found: re.Match[str]) -> str:
    return str(found["without_unit"] or found[0].lstrip("~"))


def _bytes(found: re.Match[str]) -> tuple[int, ...]:
    """What a figure may be in bytes: many write GB and mean GiB."""
    if found["without_unit"]:
        return ()
    number, unit = found["figure"].replace(",", ""), found["unit"]
    if unit.upper() in ("B", "BYTES"):
        return (round(float(number)),)
    letter = unit[0].upper()
    powers = {"K": 1, "M": 2, "G": 3, "T": 4}
    decimal = size(f"{number}{letter}B")
    return tuple(dict.fromkeys((decimal or 0, round(gibibytes(number) * 1024 ** (powers[letter] - 3)))))


def _shortened(part: str, at: int) -> str:
    if len(part.strip(DECORATION)) <= _LONGEST:
        return shortened(part.strip(DECORATION), _LONGEST)
    start = max(0, min(at - _BEFORE, len(part) - _LONGEST))
    start = start if start == 0 else part.find(" ", start) + 1
    end = start + _LONGEST
    cut = part[start:end]
    if end < len(part):
        cut = cut.rpartition(" ")[0] or cut
    return ("… " if start else "") + " ".join(cut.strip(DECORATION).split()) + (" …" if end < len(part) else "")
