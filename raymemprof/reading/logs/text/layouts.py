"""Undoes what terminals, log collectors, test runners and web pages do to a text, so that a message reads as printed.

Each step undoes one kind of layout and leaves other texts alone. They run until nothing changes, since layouts stack: a
log line may be JSON whose message has the driver's prefix.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections import Counter

from .escapes import without_marks
from .json_texts import out_of_json
from .line_prefixes import without_prefixes
from .wraps import ROW, USUAL_WIDTHS, unwrapped

__all__ = ["as_printed"]

_ROUNDS = 3
_LONG_PADDING = " " * 20
_PADDING = re.compile(r"(?<=\S) {20,}(?=\S)")
_ESCAPES = re.compile(r""":(?<=(?<![\w\\])[A-Z]:)(?:\\[\w-]{1,100}){2,20}|\\(?<!\\\\)\\{0,7}([nrt"'])""")
"""Ways to write a line end, a tab or a quote; a path of Windows has none."""
_ESCAPED = {"n": "\n", "r": "\n", "t": "\t"}
_TAGS = re.compile(
    r"</?(?:a|b|br|code|div|em|i|li|ol|p|pre|span|strong|table|tbody|td|th|thead|tr|tt|u|ul)(?:\s[^<>\n]{0,300})?/?>",
    re.IGNORECASE,
)
_BREAKS = re.compile(r"<br\s?/?>|</(?:p|div|li|tr)>", re.IGNORECASE)
_LINK = re.compile(r"\[([^\[\]\n]{1,300})\]\((?:https?|mailto|ftp)[^()\s]{0,500}\)")
_OF_ARTICLE = re.compile(r"OOMKilled|[Oo]ut[ -][Oo]f[ -][Mm]emory")
"""What is no message in the label of a link, which may be the title of an article."""
_CHAT_LINK = re.compile(r"<(?:https?|mailto):[^<>|\n]{1,500}\|([^<>|\n]{1,300})>|<(https?:[^<>|\s]{1,500})>")
_MARKUP = re.compile(r"\\([_*`~#<>\[\]().!-])")
_REPEATED = re.compile(r"[ \t]{0,9}\[repeated \d{1,9}x across cluster\](?: \(Ray deduplicates logs[^\n]{0,300}\))?")
_LEFT_OUT = re.compile(
    r"^[ \t]*(?:\.{3,}|…|\[(?:\.{3}|…)\]|<(?:snip|\.{3})>|\(\.{3}\)|--+ ?8<[- ]*)[ \t]*\n?", re.MULTILINE
)
_SIGNS_OF_LEFT_OUT = ("...", "…", "<snip>", "8<")
"""One of these is in each of them."""
_BROKEN_ID = re.compile(r"(?<![0-9a-zA-Z])([0-9a-f]{1,55})[ \t]{0,9}\n[ \t]{0,9}([0-9a-f]{1,55})(?![0-9a-zA-Z])")
_BROKEN_ADDRESS = re.compile(
    r"(?<![\d.])(\d{1,3}(?:\.\d{1,3}){1,2})[ \t]{0,9}\n[ \t]{0,9}(?=\.\d{1,3}(?:\.\d{1,3})?(?![\d.]))"
)
"""The beginning of an IP address at a line's end, and the rest, with its dot, at the next line's beginning."""
_ID_DIGITS = (32, 48, 56)
"""Digits of the ids of actors, of tasks, of workers and nodes."""
_ADDRESSES = (16, 16)
"""Digits of two addresses, which follow each other in dumps."""
_QUOTES = ("E   ", "> ", "# ")
_SHELL = re.compile(
    r"^```(?:bash|console|sh|shell|zsh)[ \t]{0,9}\n(?P<code>(?:(?!```)[^\n]{0,2000}\n){1,200})", re.MULTILINE
)
_OUTPUT = re.compile(r"(?<=\n)(?:#(?:[ \t][^\n]*)?\n){2,200}\Z")
"""Comments that end a block of shell code: they show what its commands printed."""
_SIDES = ("│", "┃", "║", "|")
_NUMBERED = re.compile(r"(?:[\w./-]{1,200}:)??[ \t]{0,9}(\d{1,9})(?:[:|.)][ \t]?|\t|[ \t]{1,4}\|[ \t]?|[ \t]?$)")
_FEWEST_NUMBERED = 3
_GLUED = re.compile(r"(?<!\d)(\d{1,3})\t")
_SAYING = re.compile(
    r"(?i:kill|memory|\boom\b|out of|exceed|died|fail|select|dead|lost|alloc|full|spill|sending |exhaust|heap|\brss\b)|"
    r"SIG|Segmentation|Aborted|core dumped|Error|Exception|File |\bTask |\bpid\b|\bID\b|\bnode id\b|_uss_bytes"
)
"""Words of messages: what all lines begin with is no prefix where it has them, but the same message again and again."""
_DIGIT = re.compile(r"\d")
_PROCESS_ROW = re.compile(r"\[ {0,9}0{1,10}\][ \t]{1,40}0{1,10}[ \t]{1,40}0")
"""How a row of the kernel's table of processes begins, where digits are masked."""
_LINE_END = re.compile(r";(?! \S)")
"""A semicolon that may stand for a line end: not one between words, as in PyTorch's figures of a GPU."""
_MANY_JOINED = 4
"""Semicolons in one line from which on they stand for line ends, as in some versions' raylet.out."""
_TITLE = re.compile(r"\A\s{0,40}#[ \t][^\n]{1,500}\n[ \t]{0,40}\n")
"""The title of an issue, which often has the last line of what follows."""
_FIRST_THEN = (
    ("Memory on the node", "Refer to the documentation"),
    ("Memory on the node", "COMMAND"),
    ("running low on memory", "Considered workers"),
    ("Considered workers", "Total non-selected"),
    ("COMMAND", "Refer to the documentation"),
    ("memory consumers are", "COMMAND"),
    ("Traceback (most recent call last)", "Error: "),
    ("Failed to retrieve object", "Owner worker ID"),
    ("class_name:", "actor_id:"),
    ("actor_id:", "The actor is dead"),
    ("Kill process", "Killed process"),
    ("oom-kill:constraint", "Killed process"),
    ("at or below SIGTERM limits", "sending SIG"),
    ("at or below SIGTERM limits", '" with signal'),
    ("or below sigterm limits", "' with signal"),
    ("PBS Job Id:", "exceeded a memory resource limit"),
    ("TERM_MEMLIMIT", "Resource usage summary"),
    ("Plasma store at capacity", "Current usage:"),
    ("in object store because it is full", "(global lru) capacity"),
    ("Killing subprocess", "exits with return code"),
    ("Last State:", "Exit Code:"),
    ("Out-of-memory detected!", "(running for "),
    ("Reason:", "Exit Code:"),
    ("Allocation on device", "Device limit"),
    ("insufficient GPU memory", "Free GPU memory before"),
    ("Try to lower your batch size", "Try to allocate"),
    ("failed to offload data block", "max_temp_directory_size"),
    ("Cuda failure", "Failed to CUDA"),
    ("Last error:", "Failed to CUDA"),
    ("- Free memory:", "- Requested memory:"),
    ("Errno 12] Cannot allocate memory", "_fork_exec("),
    ("multiprocessing/", "OSError: [Errno 12]"),
    ("was unexpectedly terminated", "exit codes of the workers are"),
    ("Process running mem=", "(Memory quota"),
    ("Runtime exited with error", "Max Memory Used"),
    ("Native memory allocation", "hs_err_pid"),
    ("Mark-", "JavaScript heap out of memory"),
)
"""Words of messages that stand on lines of their own, in this order."""


def as_printed(text: str) -> str:
    """Return a text without what the ways it went did to it. Never raises."""
    is_wrapped = True  # a text that was joined once has lines that were never broken
    for _ in range(_ROUNDS):
        before, text = text, out_of_json(without_marks(text))
        text = _undone(text, is_wrapped or text.count("\n") > before.count("\n"))
        is_wrapped = False
        if text == before:
            break
    return _BROKEN_ADDRESS.sub(r"\1", _BROKEN_ID.sub(_joined_id, text))


def _label(link: re.Match[str]) -> str:
    return "" if _OF_ARTICLE.search(link[1]) else link[1]


def _undone(text: str, is_wrapped: bool) -> str:
    text = _out_of_html(text)
    text = _CHAT_LINK.sub(lambda found: found[1] or found[2], _LINK.sub(_label, text))
    if "\\" in text:
        text = _ESCAPES.sub(lambda found: _ESCAPED.get(found[1], found[1] or found[0]), text)
        text = _MARKUP.sub(r"\1", text)
    if "[repeated " in text:
        text = _REPEATED.sub("", text)
    if any(sign in text for sign in _SIGNS_OF_LEFT_OUT):
        text = _LEFT_OUT.sub("", text)
    if text.count("\n") < 2 and len(_LINE_END.findall(text)) >= _MANY_JOINED:
        text = _LINE_END.sub("\n", text)
    if "```" in text:
        text = _SHELL.sub(lambda found: _OUTPUT.sub(_uncommented, found[0]), text)
    lines = _without_padding(textwrap.dedent(text).split("\n"))
    if text.count("\t") >= _FEWEST_NUMBERED:
        lines = [part for line in lines for part in _unglued(line)]
    lines = _without_common_prefix(_without_quotes(_without_numbers(_without_box(lines))))
    for step in (unwrapped, without_prefixes, unwrapped) if is_wrapped else (without_prefixes,):
        lines = step(lines[::-1] if _is_newest_first(lines) else lines)
    return "\n".join(lines)


def _without_padding(lines: list[str]) -> list[str]:
    """Take out the blanks with which a terminal filled its lines, where what was copied goes on behind them."""
    found = [_PADDING.search(line) if _LONG_PADDING in line else None for line in lines]
    starts = Counter(one.start() for one in found if one)
    return [
        _PADDING.sub("", line) if one and one.start() in USUAL_WIDTHS and starts[one.start()] > 1 else line
        for line, one in zip(lines, found, strict=True)
    ]


def _joined_id(found: re.Match[str]) -> str:
    first, second = map(len, found.groups())
    return found[1] + found[2] if first + second in _ID_DIGITS and (first, second) != _ADDRESSES else found[0]


def _uncommented(found: re.Match[str]) -> str:
    return re.sub(r"^# ?", "", found[0], flags=re.MULTILINE)


def _out_of_html(text: str) -> str:
    if "&" in text and ";" in text:
        text = html.unescape(text)
    if "<" in text:
        text = _TAGS.sub("", _BREAKS.sub("\n", text))
    return text


def _without_box(lines: list[str]) -> list[str]:
    """Take off the sides of a box around all lines."""
    said = [line.strip() for line in lines if line.strip()]
    if len(said) < 2 or not all(len(line) > 1 and line[0] in _SIDES and line[-1] in _SIDES for line in said):
        return lines
    return [line.strip()[1:-1].removeprefix(" ").removesuffix(" ") for line in lines]


def _without_numbers(lines: list[str]) -> list[str]:
    """Take off the numbers of lines, one higher each, where something stands between them and the text."""
    first = _NUMBERED.match(lines[0])
    if len(lines) < _FEWEST_NUMBERED or first is None:
        return lines
    left: list[str] = []
    for number, line in enumerate(lines, int(first[1])):
        found = _NUMBERED.match(line)
        if found is None or int(found[1]) != number:
            return lines
        left.append(line[found.end() :])
    return left


def _unglued(line: str) -> list[str]:
    """Break a line where numbers of lines, one higher each, stand in place of line ends, before tabs or a sentence."""
    first = _GLUED.search(line) if line.count("\t") >= _FEWEST_NUMBERED else None
    if first is None:
        return [line]
    parts: list[str] = []
    left, number = line, int(first[1])
    while (at := left.find(f"{number}\t")) >= 0 and left.find("\t") == at + len(str(number)):
        parts.append(left[:at])
        left, number = left[at + len(str(number)) + 1 :], number + 1
    if len(parts) < _FEWEST_NUMBERED or "\t" in left:
        return [line]
    last = re.search(rf"{number}(?=[A-Z])", left)
    return [*parts, *([left[: last.start()], left[last.end() :]] if last else [left])]


def _without_quotes(lines: list[str]) -> list[str]:
    """Take off what pytest, who quotes, or a comment puts before all lines, so that they are as wide as they were."""
    said = [line if " " in line else f"{line} " for line in lines if line.strip()]
    mark = next((mark for mark in _QUOTES if len(said) > 1 and all(line.startswith(mark) for line in said)), "")
    return [line.removeprefix(mark) if line.strip() != mark.strip() else "" for line in lines] if mark else lines


def _without_common_prefix(lines: list[str]) -> list[str]:
    """Take off what all lines begin with but for its digits, up to the last blank or bracket of it."""
    said = [line for line in lines if line.strip()]
    if len(said) < 3 or not said[0][:1].strip():
        return lines
    first = common = _DIGIT.sub("0", said[0][:200])
    for line in said:
        masked = _DIGIT.sub("0", line[: len(common)])
        while not masked.startswith(common):
            common = common[:-1]
    end = max(common.rfind(end) for end in (" ", "\t", "]", ")", "|", ">")) + 1
    row = _PROCESS_ROW.search(first)
    end = min(end, row.start()) if row else end
    if ROW.match(said[0]) or _SAYING.search(common[:end]):
        return lines
    if said[0][end : end + 1] in (".", "_"):  # what stands in brackets is the beginning of a word
        end = common.rfind(" ", 0, end) + 1
    if not re.search(r"[^\s\d.]", common[:end]):
        return lines
    return [line[end:] if line.strip() else line for line in lines]


def _is_newest_first(lines: list[str]) -> bool:
    """Whether lines stand in the wrong order: each part of a message only below those that follow it."""
    text = "\n".join(lines)
    title = _TITLE.match(text)
    text = text[title.end() :] if title else text
    votes = 0
    for first, then in _FIRST_THEN:
        if first not in text or then not in text:
            continue
        starts, ends = (text.find(first), text.rfind(first)), (text.find(then), text.rfind(then))
        if text.find("\n", min(starts[0], ends[0]), max(starts[0], ends[0])) < 0:
            continue
        votes += 1 if ends[1] < starts[0] else -1 if starts[0] < ends[0] else 0
    return votes > 0
