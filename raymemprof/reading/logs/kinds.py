"""A kind of message in one row: how it is recognised, its cause, and the sentence that its words and figures make."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .facts import Message, Victim
from .patterns import size

__all__ = ["Kind", "first_of"]

_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of message.

    Attributes:
        cause: as `raymemprof.Explanation` has it.
        form: what it looks like. Of its groups, `used`, `limit`, `threshold` and `memory` are sizes, `name`, `pid` and
            `memory` are of a process that was killed, `node_ip` and `node_id` of the node; any may be in the sentence.
        sentence: what it says, with `{group}` for a group's text; a part in brackets is left out without its groups.
    """

    cause: str
    form: re.Pattern[str]
    sentence: str
    word: str = ""
    """What every text of this kind has, where looking for it is much faster than the form."""

    def read(self, text: str) -> Message | None:
        """Return what a text of this kind says, None if it is of another."""
        found = list(self.form.finditer(text)) if self.word in text else []
        if not found:
            return None
        groups = {name: value for one in reversed(found) for name, value in one.groupdict().items() if value}
        victims = dict.fromkeys(victim for one in found for victim in _victim(one.groupdict()))
        used, limit, threshold = (size(groups.get(name, "")) for name in ("used", "limit", "threshold"))
        return Message(
            cause=self.cause,
            statement=_filled(self.sentence, groups),
            node_id=groups.get("node_id"),
            node_ip=groups.get("node_ip"),
            used=used,
            limit=limit,
            threshold=threshold,
            victims=tuple(victims),
            killed=len(victims) or None,
            is_named=bool(victims),
        )


def first_of(kinds: tuple[Kind, ...], text: str) -> Message | None:
    """Return what a text says by the first of these kinds that it is of."""
    return next((message for kind in kinds if (message := kind.read(text)) is not None), None)


def _victim(groups: dict[str, str | None]) -> list[Victim]:
    pid = groups.get("pid")
    if pid is None:
        return []
    return [Victim(groups.get("name"), None, None, None, int(pid), size(groups.get("memory") or ""))]


def _filled(sentence: str, groups: dict[str, str]) -> str:
    def optional(part: re.Match[str]) -> str:
        return part[1] if all(name in groups for name in _FIELD.findall(part[1])) else ""

    words = _OPTIONAL.sub(optional, sentence)
    return _FIELD.sub(lambda name: re.sub(r"\s+", " ", groups.get(name[1], "…")).strip(), words)
