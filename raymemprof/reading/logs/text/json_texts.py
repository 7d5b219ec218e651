"""Takes messages out of what JSON or Python wrote: whole texts, and lines that are JSON objects."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

__all__ = ["out_of_json"]

_MOST_JSON = 2**20
_LONG = 100
_OPENING, _CLOSING = ("'", '"', "b", "{", "["), ("'", '"', "}", "]")
_CALL = re.compile(r"((?:[A-Za-z_]\w{0,60}\.){0,8}_?[A-Z]\w{0,100})\(((?:'|\").{0,1000000}(?:'|\")),?\)", re.DOTALL)
"""How Python shows an exception: its name, and its text in quotes."""

_SAID = ("message", "msg", "log", "MESSAGE", "textPayload", "text", "line", "body", "content", "@message")
"""The keys of a JSON log line under which its message is, in this order."""
_CUT_EVENT = re.compile(
    r'"custom_fields": ?\{[^{}]{0,200}?"node_id": ?"([0-9a-f]{56})"[^{}]{0,200}\}'
    r'(?:[^\n]{0,300}?"host_name": ?"([^"]{1,200})")?'
    r'[^\n]{0,200}?"message": ?"((?:[^"\\\n]|\\.){1,4000})'
)
"""One of Ray's events whose end is missing."""


def out_of_json(text: str) -> str:
    """Take a message out of what JSON or Python wrote, as a whole, and out of lines that are JSON objects."""
    stripped = text.strip()
    if stripped[:1] in _OPENING and stripped[-1:] in _CLOSING and len(stripped) < _MOST_JSON:
        return _out_of_literal(stripped) or _lines_out_of_json(text)
    if (found := _CALL.fullmatch(stripped)) and (said := _out_of_literal(found[2])):
        return f"{found[1]}: {said}"
    return _lines_out_of_json(text)


def _lines_out_of_json(text: str) -> str:
    if '{"' not in text:
        return text
    return "\n".join(_message_of(line) if '{"' in line else line for line in text.split("\n"))


def _out_of_literal(literal: str) -> str | None:
    """Return the long strings in what JSON or Python wrote, after the rest of it; None where it has none."""
    value: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(literal, strict=False)
    if value is None:
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = ast.literal_eval(literal)
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return value
    strings: list[str] = []
    rest = _without_long_strings(value, strings)
    return "\n".join([json.dumps(rest, indent=1, default=str), *strings]) if strings else None


def _without_long_strings(value: Any, strings: list[str]) -> Any:
    if isinstance(value, str) and ("\n" in value or len(value) > _LONG):
        strings.append(value)
        return ""
    if isinstance(value, dict):
        return {str(key): _without_long_strings(inner, strings) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_long_strings(inner, strings) for inner in value]
    return value


def _message_of(line: str) -> str:
    start = line.find('{"')
    with contextlib.suppress(ValueError, RecursionError):
        record = json.loads(line[start:], strict=False)
        said = next(_said(record), "").strip("\n") if isinstance(record, dict) else ""
        if said and "OOMKilled" not in line:
            return line[:start] + said + _place_of_event(record, said)
    cut = _CUT_EVENT.search(line, start) if "custom_fields" in line and not line.rstrip().endswith("}") else None
    if cut is not None:
        record = {"custom_fields": {"node_id": cut[1]}, "host_name": cut[2]}
        return line[:start] + cut[3] + _place_of_event(record, cut[3])
    return line


def _place_of_event(record: dict[str, Any], said: str) -> str:
    """The node of one of Ray's events, which stands beside its message."""
    fields = record.get("custom_fields")
    node_id = fields.get("node_id") if isinstance(fields, dict) else None
    if not isinstance(node_id, str) or not node_id or node_id in said:
        return ""
    host = record.get("host_name")
    return f" (node ID: {node_id}{f', host: {host}' if isinstance(host, str) and host else ''})"


def _said(record: dict[str, Any]) -> Iterator[str]:
    for key in _SAID:
        if isinstance(record.get(key), str) and record[key].strip():
            yield record[key]
    for value in record.values():
        if isinstance(value, dict):
            yield from _said(value)
