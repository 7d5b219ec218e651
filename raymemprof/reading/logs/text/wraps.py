"""Joins lines that a terminal, or `fold`, broke at one width, and leaves lines alone that only happen to be as wide.

A width alone proves nothing: rows of tables, padded log lines and plain sentences are as wide as each other, too. So
each place where two lines would be joined is looked at. It is torn where a line cannot end or begin so: in the middle
of a word, or beside a blank or a sign that stands within lines. It is a seam where lines do end and begin so.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from ..patterns import is_known
from .line_prefixes import PREFIX

__all__ = ["ROW", "USUAL_WIDTHS", "unwrapped"]

_WIDTHS = range(40, 251)
USUAL_WIDTHS = (72, 80, 100, 120, 132, 160, 200)
"""Widths of terminals, at which a place that may be torn is enough; at others one must be."""
_MOST_PLACES = 200
"""Places that are looked at to decide whether a text is wrapped."""
_MOST_READ = 50_000
"""Characters of a text whose words are known to be words."""
_ALIKE = 8
"""Characters at the beginning of two lines that tell two rows, or the same message again, from one that goes on."""
_DIGIT = re.compile(r"\d")
ROW = re.compile(
    r"[ \t]*\d{1,10}[ \t]+\d{1,6}\.\d{1,3}(?:Gi?B)?[ \t]+\S|"
    r"[a-z0-9][a-z0-9.-]{0,252}[ \t]{1,40}\d{1,3}/\d{1,3}[ \t]{1,40}[A-Z]|"
    r"(?:\d{2,12}|[\[<{][A-Za-z][\w-]{1,20}[\]>}])(?:[._][\w+\[\]-]{1,20})?[ \t]{2,40}[A-Za-z]|"
    r"(?:job(?:name|number)|failed|exit_status|(?:start|end)_time|ru_\w{3,12}|maxvmem|category)[ \t]{2,40}\S|"
    r"\[[ \t]{0,9}(?:pid|\d{1,10})[ \t]{0,9}\][ \t]{1,9}(?:uid|\d)|"
    r"mem avail:[ \t]|low memory! at or below|killing process \d|process \d{1,10} exited after"
)
"""A row of a table, of processes, pods or jobs, or a line of earlyoom's, which are all of the same width."""
_DATE = re.compile(r"\d{4}[-/]\d\d[-/]\d\d")
_BEGINNINGS = re.compile(
    r"\s*(?:Memory on the node|Ray killed|Selected to kill|Considered workers|Total non-sel|OOM kill reason|"
    r"To see more|Refer to the doc|Top \d|PID\s|Traceback|File \"|The actor |class_name:|actor_id:|pid:|namespace:|ip:|"
    r"Killed process|Memory cgroup |oom-kill:|oom_reaper: |[^\s:]{1,16} invoked oom-killer|[a-z_]\w{3,60}\+0x|"
    r"\S{0,60}(?:Error|Exception)\b|\[|\(|\]|[A-Z][\w ]{0,30}:\s|[\w@.-]{1,100}\.(?:service|scope|slice):\s)"
)
"""How lines begin that do not go on with the one before."""
_FIELD = re.compile(r"[\"']?[\w.-]{1,40}[\"']?:\s{1,40}\S{1,200},?$")
"""A field of YAML, whose value is one word."""
_ITEM, _NUMBERED_ITEM = re.compile(r"[-*+•‣][ \t]"), re.compile(r"\d{1,3}[.)][ \t]")
_BORDERS = frozenset("|│┃║┆┊+├┤┌┐└┘┏┓┗┛┠┨┡┩╇╋┳┻╔╗╚╝╠╣╭╮╯╰")
_CELL = re.compile(r"(?<=\s\s)\S+")
_FEWEST_CELLS = 2
"""Cells of a table that begin, or end, below each other."""
_LETTERS_BEFORE, _LETTERS_AFTER = re.compile(r"[^\W\d_]{1,40}$"), re.compile(r"[^\W\d_]{1,40}")
_TOKEN_BEFORE, _TOKEN_AFTER = re.compile(r"\S{1,40}$"), re.compile(r"\S{1,40}")
_SHORTEST_TOKEN = 6
_WORD = re.compile(r"[^\W\d_]{2,40}")
_WHOLE_BEFORE, _WHOLE_AFTER = (
    re.compile(r"(?:^|\s)[^\W\d_][a-z]{2,39}[.!?]?$"),
    re.compile(r"[^\W\d_]{3,40}(?=[\s.,;:!?)]|$)"),
)
_WITHIN_AFTER = re.compile(r"[,;:)%=_]|\.[\w ]")
"""What no line begins with."""
_WITHIN_BEFORE = re.compile(r"(?:[(\[{<=_/@$&~\\-]|::|\d\d-\d\dT)$")
"""What seldom ends a line."""
_NUMBER_BEFORE = re.compile(r"(?<![\d.,])\d{1,4}[.,:]$")
_FIGURE_BEFORE, _FIGURE_AFTER = re.compile(r"[=:(]\d{1,10}$"), re.compile(r"\d{1,10}[:,);](?!\d)")
_SIGNS = frozenset("*#=~+-")
_QUOTE_BEFORE, _QUOTE_AFTER = re.compile(r"(?:^|[\s(])([\"'`])\w{1,40}$"), re.compile(r"\w{1,40}([\"'`])(?=\W|$)")
_ENDS = tuple(".!?")
_STOP_BEFORE = re.compile(r"(?:[,;)]|(?:^|\s)[^\s:/=]{0,80}:)$")
_TORN, _OPEN, _SEAM, _ROW, _NEW = "torn", "open", "seam", "row", "new"


class _Wrap(NamedTuple):
    """The width at which a text may be wrapped, and what joins the lines that are so long: nothing, or a lost blank."""

    width: int
    glues: dict[int, str]
    is_padded: bool
    """Whether lines have blanks to the margin."""


class _Place(NamedTuple):
    """Where two lines may be joined."""

    before: str
    after: str
    glue: str
    has_blank: bool
    """Whether the blank at the margin is still there."""


def unwrapped(lines: list[str]) -> list[str]:
    """Join lines that a terminal broke at its width, also within words, with or without blanks to the margin."""
    wrap = _wrap(lines)
    if wrap is None:
        return lines
    places = list(itertools.islice(filter(None, _places(lines, wrap)), _MOST_PLACES))
    words = _words("\n".join(lines)[:_MOST_READ], places)
    votes = Counter(_kind(place, words) for place in places if not place.glue or place.has_blank)
    torn, seams = votes[_TORN], votes[_SEAM] + votes[_ROW]
    is_usual = wrap.width in USUAL_WIDTHS
    if torn < seams or (torn == seams and not (is_usual and places)):
        return [line.rstrip() if len(line) >= wrap.width else line for line in lines]
    is_whole = torn > max(seams, 1)
    is_sure = torn > 1 or is_usual
    joined: list[list[str]] = []
    for line, place in zip(lines, itertools.chain([None], _places(lines, wrap)), strict=True):
        shown = line.rstrip()
        if (
            place is not None
            and _is_joined(place, words, is_whole)
            and not ((place.glue or not is_sure) and _BEGINNINGS.match(line))
        ):
            joined[-1] += (place.glue, shown)
        else:
            joined.append([shown if len(line) >= wrap.width else line])
    return ["".join(parts) for parts in joined]


def _wrap(lines: list[str]) -> _Wrap | None:
    if len(lines) < 2:
        return None
    lengths = Counter([len(line.rstrip()) for line in lines])
    padded, width = max(map(len, lines)), max(lengths)
    is_padded = padded > width and sum(len(line) == padded for line in lines) > 1
    if is_padded:
        width = padded
    if width + 1 in USUAL_WIDTHS and lengths[width] == 1:  # the blank at its end is gone
        width += 1
    return _Wrap(width, {width: "", width - 1: " "}, is_padded) if width in _WIDTHS else None


def _places(lines: list[str], wrap: _Wrap) -> Iterator[_Place | None]:
    """Yield for each line but the first where it may go on with the one before; None where that is not full."""
    for before, after in itertools.pairwise(lines):
        shown = before.rstrip()
        glue = wrap.glues.get(len(shown))
        if glue is None or not shown or not after.strip():
            yield None
        else:
            yield _Place(shown, after, glue, len(before) == wrap.width > len(shown) and not wrap.is_padded)


def _words(text: str, places: list[_Place]) -> Counter[str]:
    """The words of a text, but for what stands beside the places where a word may be torn."""
    words = Counter(word.lower() for word in _WORD.findall(text))
    for place in places:
        for part in (_LETTERS_BEFORE.search(place.before), _LETTERS_AFTER.match(place.after)):
            if part is not None:
                words[part[0].lower()] -= 1
    return words


def _kind(place: _Place, words: Counter[str]) -> str:
    """Whether a line goes on in the next, by what stands where they would be joined."""
    before, after = place.before, place.after
    if _is_new(before, after):
        return _NEW
    if _is_row(before, after):
        return _ROW
    if after[0].isspace():
        return _OPEN if place.glue or before[0].isspace() else _TORN
    if _ITEM.match(after) or (_NUMBERED_ITEM.match(after) and _NUMBERED_ITEM.match(before)):
        return _SEAM
    if place.has_blank:
        return _TORN
    if place.glue:
        return _SEAM if before.endswith(_ENDS) and after[0].isupper() else _OPEN
    if _is_torn(before, after):
        return _TORN
    if after[0].isalpha() and (_STOP_BEFORE.search(before) or (before.endswith(_ENDS) and after[0].isupper())):
        return _SEAM
    return _letters(before, after, words)


def _is_joined(place: _Place, words: Counter[str], is_whole: bool) -> bool:
    """Whether a line goes on; where the whole text is wrapped, a seam may be one by chance."""
    if is_whole:
        return not (_is_new(place.before, place.after) or _is_row(place.before, place.after))
    return _kind(place, words) in (_TORN, _OPEN)


def _is_new(before: str, after: str) -> bool:
    """Whether a line begins as those of logs and tables do."""
    if ROW.match(after) or _DATE.match(after):
        return True
    found = PREFIX.match(after)
    is_other = after.startswith((" ", "[", "-")) or _WITHIN_BEFORE.search(before)
    return bool(found and found.end() and not is_other)


def _is_row(before: str, after: str) -> bool:
    """Whether two lines are as alike as those of a list or a table."""
    if after[:2].isspace() or _DIGIT.sub("0", before[:_ALIKE]) == _DIGIT.sub("0", after[:_ALIKE]):
        return True
    if before[-1] in _BORDERS and (after[0] in _BORDERS or before[-3:-1].isspace()):
        return True
    if _FIELD.match(before) and _FIELD.match(after):
        return True
    if "  " not in after or "  " not in before:
        return False
    first, second = ([found.span() for found in _CELL.finditer(line)] for line in (before, after))
    return any(len({one[side] for one in first} & {one[side] for one in second}) >= _FEWEST_CELLS for side in (0, 1))


def _is_torn(before: str, after: str) -> bool:
    """Whether no line ends, or begins, so, or both halves are one word of a message."""
    if _WITHIN_AFTER.match(after) or _WITHIN_BEFORE.search(before):
        return True
    if before[-1] == after[0] in _SIGNS or (after[0].isdigit() and _NUMBER_BEFORE.search(before)):
        return True
    if _FIGURE_BEFORE.search(before) and _FIGURE_AFTER.match(after):
        return True
    opened, closed = _QUOTE_BEFORE.search(before), _QUOTE_AFTER.match(after)
    if opened and closed and opened[1] == closed[1]:
        return True
    last, first = _TOKEN_BEFORE.search(before), _TOKEN_AFTER.match(after)
    token = f"{last[0]}{first[0]}" if last and first else ""
    return len(token) >= _SHORTEST_TOKEN and is_known(token)


def _letters(before: str, after: str, words: Counter[str]) -> str:
    """Whether letters at the end of a line and at the beginning of the next are one word or two."""
    last, first = _LETTERS_BEFORE.search(before.rstrip("".join(_ENDS))), _LETTERS_AFTER.match(after)
    if last is None or first is None:
        return _OPEN
    parts = (last[0].lower(), first[0].lower())
    is_joined, *are_known = (words[word] > 0 or is_known(word) for word in ("".join(parts), *parts))
    if is_joined:
        return _OPEN if all(are_known) else _TORN
    if before.endswith(_ENDS) and not _WHOLE_BEFORE.search(before):
        return _OPEN
    if all(are_known) or (last[0][-1].islower() and first[0][0].isupper()):
        return _SEAM
    are_whole = _WHOLE_BEFORE.search(before) and _WHOLE_AFTER.match(after)
    return _SEAM if any(are_known) and are_whole else _OPEN
