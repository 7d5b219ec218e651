"""What a text names, where lines of it may be wrapped in the middle of a name."""

from __future__ import annotations

import itertools
import re

from ..names import Name, names

__all__ = ["names_in"]

_HEX = re.compile(r"[0-9a-f]{32,}\Z")
_FIELD = r"[\"']?,?[ \t]*\r?\n[ \t]*[\w.-]{1,60}[\"']?\s?[:=]"
_WIDE = 60
"""Characters from which on a line may have been wrapped by a terminal."""
_MOST = 20
"""Names that only the text without wraps has, for which the wrap is looked for."""


def names_in(text: str, printed: str) -> tuple[Name, ...]:
    """Return what a text names; not the part of a name before a wrap, and nothing that the joining of lines made up.

    Args:
        text: as it was pasted.
        printed: the same with its wrapped lines joined, where it is a guess which are.
    """
    own, joined = names(text), names(printed)
    only_joined = tuple(one for one in joined if one not in own)
    kept = [one for one in own if not _is_cut(one, only_joined, text)]
    whole = [one for one in itertools.islice(only_joined, _MOST) if _HEX.match(one.value) or _is_wrapped(one, text)]
    return (*kept, *whole)


def _is_cut(name: Name, joined: tuple[Name, ...], text: str) -> bool:
    """Whether a name may go on behind its line's end, where no field begins."""
    is_longer = any(
        one.kind == name.kind and one.value != name.value and one.value.startswith(name.value) for one in joined
    )
    return is_longer and re.search(re.escape(name.value) + _FIELD, text) is None


def _is_wrapped(name: Name, text: str) -> bool:
    """Whether a wide line ends in the middle of a name, and the next goes on with it."""
    value = name.value
    for at in range(1, len(value)):
        start = text.find(f"{value[:at]}\n{value[at:]}")
        if start >= 0:
            return start + at - text.rfind("\n", 0, start) > _WIDE
    return False
