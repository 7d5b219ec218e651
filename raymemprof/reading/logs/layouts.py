"""Undoes what terminals, log collectors, test runners and web pages do to a text, so that a message reads as printed.

Each step undoes one kind of layout and leaves other texts alone. They run until nothing changes, since layouts stack: a
log line may be JSON whose message has the driver's prefix.
"""

from __future__ import annotations

import ast
import contextlib
import html
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

__all__ = ["as_printed"]

_ROUNDS = 3
_WIDTHS = range(40, 251)
_USUAL_WIDTHS = (80, 100, 120, 132, 160, 200)
"""Widths at which one full line is enough to take the text for wrapped there; at others it takes two."""
_MOST_JSON = 2**20
_QUOTES = ("'", '"')
_CALL = re.compile(r"([A-Za-z_][\w.]{0,100})\(((?:'|\").{0,1000000}(?:'|\")),?\)", re.DOTALL)
"""How Python shows an exception: its name, and its text in quotes."""

_COLOURS = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]|(?<!\w)\[\d{1,3}(?:;\d{1,3}){0,4}m|\x1b\][^\x07\x1b\n]{0,200}\x07")
_INVISIBLE = re.compile("[\u200b-\u200d\ufeff\u00ad]")
_SPACES = re.compile("[\u00a0\u2000-\u200a\u202f\u3000]")
_ESCAPES = re.compile(r"""(?<!\\)\\{1,8}([nrt"'])""")
_ESCAPED = {"n": "\n", "r": "\n", "t": "\t"}
_TAGS = re.compile(
    r"</?(?:a|b|br|code|div|em|i|li|ol|p|pre|span|strong|table|tbody|td|th|thead|tr|tt|u|ul)(?:\s[^<>\n]{0,300})?/?>",
    re.IGNORECASE,
)
_BREAKS = re.compile(r"<br\s?/?>|</(?:p|div|li|tr)>", re.IGNORECASE)
_LINK = re.compile(r"\[([^\[\]\n]{1,300})\]\((?:https?|mailto|ftp)[^()\s]{0,500}\)")
_CHAT_LINK = re.compile(r"<(?:https?|mailto):[^<>|\n]{1,500}\|([^<>|\n]{1,300})>|<(https?:[^<>|\s]{1,500})>")
_MARKUP = re.compile(r"\\([_*`~#<>\[\]().!-])")
_REPEATED = re.compile(r"[ \t]{0,9}\[repeated \d{1,9}x across cluster\](?: \(Ray deduplicates logs[^\n]{0,300}\))?")
_LEFT_OUT = re.compile(
    r"^[ \t]*(?:\.{3,}|…|\[(?:\.{3}|…)\]|<(?:snip|\.{3})>|\(\.{3}\)|--+ ?8<[- ]*)[ \t]*\n?", re.MULTILINE
)
_STAMP = r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"
_PREFIX = re.compile(
    r"^(?:[ \t]*(?:"
    r"\((?:raylet|autoscaler|gcs_server|dashboard)\b[^()\n]{0,200}\)"  # what a driver puts before others' lines
    r"|\([^\n]{1,200}?\bpid=\d{1,10}(?:, ip=[^()\n]{1,60})?\)"
    r"|E(?=[ \t])"  # pytest
    r"|(?:[>|│┃║]+(?=[ \t]|$))"  # quotes, boxes
    rf"|(?:{_STAMP}),?:?(?=[\s\[]|$)"
    rf"|\[{_STAMP}[^\]\n]{{0,60}}\]"
    r"|\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?=[ \t])"
    r"|(?:stdout|stderr)[ \t][FP](?=[ \t])"  # containerd
    r"|[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d(?=[ \t])"  # syslog
    r"|[\w.-]{1,80} (?:kernel|[\w./@-]{1,60}\[\d{1,10}\]):(?=[ \t])"
    r"|\[[A-Za-z][\w./:@ -]{0,150}\](?:[ \t]-(?=[ \t]))?"  # [pod/name/container], [logger][LEVEL] -
    r"|\[ {0,9}\d{1,9}\.\d{6}\]"  # the kernel's clock
    r"|(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\b:?(?=[ \t]|$)"
    r"|<\d{1,3}>"
    r"|##\[\w{1,20}\]"  # CI
    r"|[a-z][\w.-]{0,60}[ \t]{1,20}\|(?=[ \t]|$)"  # docker compose
    r"|-(?=[ \t]\[)|-(?=[ \t]?$)"
    r")[ \t]?){1,8}"
)
_ROW = re.compile(r"[ \t]*\d{1,10}[ \t]+\d{1,6}\.\d{1,3}(?:Gi?B)?[ \t]+\S")
_MANY_JOINED = 4
"""Semicolons in one line from which on they stand for line ends, as in some versions' raylet.out."""
_BEGINNINGS = re.compile(
    r"\s*(?:Memory on the node|Ray killed|Selected to kill|Considered workers|Total non-sel|OOM kill reason|"
    r"To see more|Refer to the doc|Top \d|PID\s|Traceback|File \"|The actor |class_name:|actor_id:|pid:|namespace:|ip:|"
    r"\S{0,60}(?:Error|Exception)\b|\[|\(|\]|[A-Z][\w ]{0,30}:\s)"
)
"""How lines begin that do not go on with the one before."""
_SAID = ("message", "msg", "log", "MESSAGE", "textPayload", "text", "line", "body", "content", "@message")
"""The keys of a JSON log line under which its message is, in this order."""
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
    ("Last State:", "Exit Code:"),
    ("Reason:", "Exit Code:"),
)
"""Words of messages that stand on lines of their own, in this order."""


def as_printed(text: str) -> str:
    """Return a text without what the ways it went did to it. Never raises."""
    for _ in range(_ROUNDS):
        before, text = text, _undone(text)
        if text == before:
            break
    return text


def _undone(text: str) -> str:
    text = _without_marks(text)
    text = _out_of_json(text)
    text = _out_of_html(text)
    text = _CHAT_LINK.sub(lambda found: found[1] or found[2], _LINK.sub(r"\1", text))
    if "\\" in text:
        text = _ESCAPES.sub(lambda found: _ESCAPED.get(found[1], found[1]), text)
        text = _MARKUP.sub(r"\1", text)
    text = _REPEATED.sub("", text)
    text = _LEFT_OUT.sub("", text)
    if text.count(";") >= _MANY_JOINED and text.count("\n") < 2:
        text = text.replace(";", "\n")
    lines = _without_common_prefix(text.split("\n"))
    lines = _unwrapped(lines)
    lines = _unwrapped([_without_prefix(line) for line in lines])
    return "\n".join(reversed(lines) if _is_newest_first(lines) else lines)


def _without_marks(text: str) -> str:
    """Take out colours, what cannot be seen, and the line ends of other systems."""
    if "[" in text:
        text = _COLOURS.sub("", text)
    if not text.isascii():
        text = _SPACES.sub(" ", _INVISIBLE.sub("", text))
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _out_of_json(text: str) -> str:
    """Take a message out of one JSON string, and of lines that are JSON objects."""
    stripped = text.strip()
    if stripped[-1:] in _QUOTES and stripped[:1] in _QUOTES and len(stripped) < _MOST_JSON:
        return _out_of_quotes(stripped) or text
    if (found := _CALL.fullmatch(stripped)) and (said := _out_of_quotes(found[2])):
        return f"{found[1]}: {said}"
    if '{"' not in text:
        return text
    return "\n".join(_message_of(line) if '{"' in line else line for line in text.split("\n"))


def _out_of_quotes(literal: str) -> str | None:
    """Return the string of a literal of JSON or Python; None where it is none."""
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(literal, strict=False)
        return said if isinstance(said, str) else None
    with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = ast.literal_eval(literal)
        return said if isinstance(said, str) else None
    return None


def _message_of(line: str) -> str:
    start = line.find('{"')
    with contextlib.suppress(ValueError, RecursionError):
        record = json.loads(line[start:], strict=False)
        said = next(_said(record), "").strip("\n") if isinstance(record, dict) else ""
        if said and "OOMKilled" not in line:
            return line[:start] + said
    return line


def _said(record: dict[str, Any]) -> Iterator[str]:
    for key in _SAID:
        if isinstance(record.get(key), str) and record[key].strip():
            yield record[key]
    for value in record.values():
        if isinstance(value, dict):
            yield from _said(value)


def _out_of_html(text: str) -> str:
    if "&" in text and ";" in text:
        text = html.unescape(text)
    if "<" in text:
        text = _TAGS.sub("", _BREAKS.sub("\n", text))
    return text


def _without_prefix(line: str) -> str:
    found = _PREFIX.match(line)
    return line[found.end() :] if found and found.end() else line


def _without_common_prefix(lines: list[str]) -> list[str]:
    """Take off what all lines begin with but for its digits, up to the last blank or bracket of it."""
    said = [line for line in lines if line.strip()]
    if len(said) < 3 or not said[0][:1].strip():
        return lines
    masked = [re.sub(r"\d", "0", line[:200]) for line in said]
    common = masked[0]
    for line in masked:
        while not line.startswith(common):
            common = common[:-1]
    end = max(common.rfind(end) for end in (" ", "\t", "]", ")", "|", ">")) + 1
    common = common[:end]
    if not re.search(r"[^\s\d.]", common) or _ROW.match(said[0]) or common.startswith(("Selected to", "File ")):
        return lines
    return [line[end:] if line.strip() else line for line in lines]


def _unwrapped(lines: list[str]) -> list[str]:
    """Join lines that a terminal broke at its width, also within words, with or without blanks to the margin."""
    lengths = Counter(len(line.rstrip()) for line in lines)
    padded = max(map(len, lines))
    width = max(lengths)
    if padded in _WIDTHS and padded > width and sum(len(line) == padded for line in lines) > 1:
        width = padded
    enough = lengths[width] > 1 or lengths[width - 1] > 1 or width in _USUAL_WIDTHS
    if width not in _WIDTHS or not enough or len(lines) < 2:
        return lines
    joined: list[str] = []
    goes_on = ""
    for line in lines:
        said = line.rstrip() if len(line) > 1 else line
        if joined and goes_on and line.strip() and not _begins(line, goes_on):
            joined[-1] += ("" if goes_on == "full" else " ") + line.rstrip()
        else:
            joined.append(line.rstrip() if len(line) >= width else line)
        goes_on = {width: "full", width - 1: "nearly"}.get(len(said), "")
    return joined


def _begins(line: str, goes_on: str) -> bool:
    """Whether a line after a full one, or one that lacks a blank to be full, is a new one all the same."""
    if _ROW.match(line):
        return True
    if goes_on == "nearly":
        return bool(_BEGINNINGS.match(line))
    found = _PREFIX.match(line)
    return bool(found and found.end() and not line.startswith((" [", "[", "-", " -")))


def _is_newest_first(lines: list[str]) -> bool:
    """Whether lines stand in the wrong order: each part of a message only below those that follow it."""
    text = "\n".join(lines)
    votes = 0
    for first, then in _FIRST_THEN:
        starts, ends = (text.find(first), text.rfind(first)), (text.find(then), text.rfind(then))
        if min(*starts, *ends) < 0 or text.find("\n", min(starts[0], ends[0]), max(starts[0], ends[0])) < 0:
            continue
        votes += 1 if ends[1] < starts[0] else -1 if starts[0] < ends[0] else 0
    return votes > 0
