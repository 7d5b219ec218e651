"""A kind of message in one row: how it is recognised, its cause, and the sentence that its words and figures make."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ...display.text import listed
from .facts import Message, Victim
from .patterns import Form, size

__all__ = ["Kind", "first_of"]

_OPTIONAL = Form(r"\[([^\[\]]*)\]")
_FIELD = Form(r"\{(\w+)\}")
_UNIT = Form(r"\s?([kKmMgGtT])(?:[iI]?[bB]|egabytes)?$")
_BYTES = Form(r"(\d{1,20}) bytes")
_PIDS = ("pid", "process")
_SIZES = ("used", "limit", "threshold", "needs", "memory")
_LITTLE, _TOO_MUCH = 16 * 2**20, 2**48
"""Bytes up to which an allocation is not what takes much, and from which on no process can have so many addresses."""
_MOST_NAMED = 10
"""Those who were killed whom a sentence names."""
_PLURALS = (
    (" was killed", " were killed"),
    ("its own code aborted it", "their own code aborted them"),
    ("that it had mapped", "that they had mapped"),
    ("it was asked to end", "they were asked to end"),
)
_MOST_AGAIN = 3
"""Further messages of a kind that are told one by one."""
_SENTENCES = re.compile(r"(?<=[.!?]) (?=[A-Z])")
_LINE = 1_000
"""Characters of a line that are looked at beside a match."""
_NUMBERED = Form(r"\A([a-z]\w*?)_\d{1,2}\Z")
_OF_ONE = re.compile(r"\AA process\[ \{victims\}\]")
_TWO_STOPS = Form(r"(?<!\.)\.\.(?=\s|$)")
"""What is quoted may end with a full stop, as the sentence does."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of message.

    Attributes:
        cause: as `raymemprof.Explanation` has it.
        form: what it looks like. Of its groups, `used`, `limit`, `threshold` and `memory` are sizes, `name`, `pid` and
            `memory` are of a process that was killed, `node_ip` and `node_id` of the node; any may be in the sentence.
            `pid_1`, `size_2` ... are a pid and a size in other forms of the message.
            `unit` is that of the node's sizes where they stand without. `threshold_share` is a part of `limit`, and
            `fraction` a part of 1, which the sentence gets as a percentage.
        sentence: what it says, with `{group}` for a group's text and `{victims}` for all who were killed; a part in
            brackets is left out without its groups.
    """

    cause: str
    form: Form
    sentence: str
    lacks: str = ""
    """What has too little, as `Message.lacks` has it: a key of the advice; the group `needs` has what it needs."""
    most: str = ""
    """The group, a size, of which the largest speaks where a text says it several times: for figures that add up."""
    is_latest: bool = False
    """Whether the last speaks where a text says it several times: for figures that fall."""
    asked: str = ""
    """The words for how much was asked for: other advice fits where it is very little, or more than can be."""
    only_with: str = ""
    """Words without which a text is of another kind, though the form matches."""
    is_binary: bool = False
    """Whether those who print it mean KiB, MiB and GiB by kb, MB and GB."""
    is_of_raylet: bool = False
    """Whether a raylet says it, of its own node."""
    not_beside: Form | None = None
    """Words that make it of another kind where its line, or one beside it, has them."""
    larger: tuple[str, str] | None = None
    """Two groups, sizes in bytes: it is of this kind only where the first is larger than the second."""

    def read(self, text: str) -> Message | None:
        """Return what a text of this kind says, None if it is of another."""
        found = list(filter(self._fits, self.form.finditer(text))) if self.only_with in text else []
        if not found:
            return None
        if self.most:
            found.sort(key=lambda one: size(one[self.most] or "") or 0, reverse=True)
        if self.is_latest:
            found.reverse()
        groups = {name: value for one in reversed(found) for name, value in _groups(one).items()}
        victims = _different(victim for one in found for victim in _victim(_groups(one)))
        if victims:
            groups["victims"] = _told(victims)
        unit = groups.get("unit", "")
        used, limit, threshold = (
            size(self._unit(groups.get(name, "") + unit)) for name in ("used", "limit", "threshold")
        )
        if threshold is None and limit is not None and "threshold_share" in groups:
            threshold = round(float(groups["threshold_share"]) * limit)
        return Message(
            cause=self.cause,
            statement=_filled(_of_several(self.sentence, victims), groups),
            node_id=groups.get("node_id"),
            node_ip=groups.get("node_ip"),
            used=used,
            limit=limit,
            threshold=threshold,
            victims=victims,
            also=() if victims or self.most or self.is_latest else self._again(found, groups),
            killed=len(victims) or None,
            is_named=bool(victims),
            lacks=self.lacks or _amount(_filled(self.asked, groups)),
            needs=size(groups.get("needs", "")),
            is_of_raylet=self.is_of_raylet,
        )

    def _again(self, found: list[re.Match[str]], groups: dict[str, str]) -> tuple[str, ...]:
        """What the text says of this kind once more, with other figures or names."""
        if self.cause == "warning" or len(found) < 2:
            return ()
        told = _SENTENCES.split(_filled(self.sentence, groups))
        others = [other for one in found[1:] if _differ(other := _groups(one), groups)]
        said = [_SENTENCES.split(_filled(self.sentence, other)) for other in others]
        again = tuple(dict.fromkeys(" ".join(part for part in parts if part not in told) for parts in said))
        if len(again) > _MOST_AGAIN:
            return (f"The text has {len(again)} more such messages, with other figures.",)
        return again

    def _fits(self, found: re.Match[str]) -> bool:
        if self.not_beside is not None and self.not_beside.search(_beside(found)):
            return False
        if self.larger is None:
            return True
        first, second = (size(found[name] or "") for name in self.larger)
        return first is not None and second is not None and first > second

    def _unit(self, figure: str) -> str:
        return _UNIT.sub(lambda unit: f"{unit[1].upper()}iB", figure) if self.is_binary else figure


def _differ(other: dict[str, str], groups: dict[str, str]) -> bool:
    return any("".join(value.split()) != "".join(groups[name].split()) for name, value in other.items())


def _beside(found: re.Match[str]) -> str:
    """The lines that a match is in, and those before and after them."""
    text, start, end = found.string, found.start(), found.end()
    for _ in range(2):
        start = max(text.rfind("\n", max(start - _LINE, 0), max(start, 0)), start - _LINE)
        stop = text.find("\n", end, end + _LINE)
        end = stop + 1 if stop >= 0 else end + _LINE
    return text[max(start, 0) : end]


def _amount(asked: str) -> str | None:
    """What it says of an allocation that failed how much it was to be."""
    digits = _BYTES.fullmatch(asked)
    wanted = int(digits[1]) if digits else size(asked)
    if wanted is None or _LITTLE <= wanted < _TOO_MUCH:
        return None
    return "little" if wanted < _LITTLE else "nonsense"


def first_of(kinds: tuple[Kind, ...], text: str) -> Message | None:
    """Return what a text says by the first of these kinds that it is of."""
    return next((message for kind in kinds if (message := kind.read(text)) is not None), None)


def _groups(found: re.Match[str]) -> dict[str, str]:
    """What the groups of a match have, those of other forms of the message under the same name."""
    groups = {
        _NUMBERED.sub(r"\1", name): value
        for name, value in found.groupdict().items()
        if value and value.strip() and not (value[-1].isdigit() and _is_cut(found, name))
    }
    for name in _PIDS:
        if groups.get(name) == "0":  # no process has it
            del groups[name]
    if "fraction" in groups:
        groups["fraction"] = f"{100 * float(groups['fraction']):g}"
    return groups


def _is_cut(found: re.Match[str], name: str) -> bool:
    """Whether a figure goes on behind where a match has its end, or breaks off, so that it is another, or none."""
    end = found.end(name)
    following = found.string[end : end + 3]
    return following.startswith(("...", "…")) or (name in _SIZES and end == found.end() and following[:1].isalnum())


def _victim(groups: dict[str, str]) -> list[Victim]:
    pid, name = groups.get("pid"), groups.get("name")
    if pid is None and name is None:
        return []
    return [Victim(name, None, None, None, int(pid) if pid else None, size(groups.get("memory", "")))]


def _different(victims: Iterable[Victim]) -> tuple[Victim, ...]:
    """Those who were killed, each once: one that did not end is sent a second signal."""
    found: dict[object, Victim] = {}
    for victim in victims:
        found.setdefault((victim.pid, victim.name), victim)
    return tuple(found.values())


def _told(victims: tuple[Victim, ...]) -> str:
    named = [_named(victim, is_one=len(victims) == 1) for victim in victims[:_MOST_NAMED]]
    named += ["others"] * (len(victims) > _MOST_NAMED)
    return listed(named)


def _named(victim: Victim, *, is_one: bool) -> str:
    if victim.name is None and not is_one:
        return f"pid {victim.pid}"
    return " ".join(filter(None, (victim.name, f"(pid {victim.pid})" if victim.pid is not None else "")))


def _of_several(sentence: str, victims: tuple[Victim, ...]) -> str:
    """Put a sentence on one process into the plural."""
    if len(victims) < 2 or not _OF_ONE.match(sentence):
        return sentence
    count = f"{len(victims)} processes, {_told(victims)},"
    return _OF_ONE.sub(lambda _: count, _in_plural(sentence))


def _in_plural(sentence: str) -> str:
    for one, several in _PLURALS:
        sentence = sentence.replace(one, several, 1)
    return sentence


def _filled(sentence: str, groups: dict[str, str]) -> str:
    def optional(part: re.Match[str]) -> str:
        return part[1] if all(name in groups for name in _FIELD.findall(part[1])) else ""

    words = _OPTIONAL.sub(optional, sentence)
    filled = _FIELD.sub(lambda name: re.sub(r"\s+", " ", groups.get(name[1], "…")).strip(), words)
    return _TWO_STOPS.sub(".", filled)
