"""Takes out of a text what a terminal would not show: colours, however they are written, and invisible characters."""

from __future__ import annotations

import re

__all__ = ["without_marks"]

_COLOURS = re.compile(
    r"\x1b\[[0-9;?]{0,20}[A-Za-z]|\[(?<!\w\[)\d{1,3}(?:;\d{1,3}){0,4}m|\x1b\][^\x07\x1b\n]{0,200}\x07"
)
"""Each part begins with a character of its own: `re` is quick then."""
_WRITTEN = re.compile(
    r"(?:\u241b|#033|\^\[|E(?<!\wE)SC|<(?:0x1[bB]|ESC)>|\\\\{0,3}(?:0?33|x1[bB]|u001[bB]|u\{1[bB]\}|e))\["
    r"(?=[0-9;?]{0,20}[A-Za-z])"
)
"""How syslog, `cat -v`, `less`, JSON and Python show what begins a colour."""
_SIGNS_OF_WRITTEN = ("033[", "33[", "^[[", "ESC", "1b[", "1B[", "1b}[", "1B}[", "0x1", "\\e[", "\u241b")
"""One of these is in each of them."""
_OF_SYSLOG = {"#011": "\t", "#012": "\n", "#015": ""}
"""Control characters as rsyslog writes them."""
_FEWEST_OF_SYSLOG = 3
_INVISIBLE = re.compile("[\u200b-\u200d\ufeff\u00ad]")
_TYPOGRAPHIC = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")
"""What editors and web pages make of quotes."""
_SPACES = re.compile("[\u00a0\u2000-\u200a\u202f\u3000]")


def without_marks(text: str) -> str:
    """Take out colours, what cannot be seen, and the line ends of other systems."""
    if "#033[" in text or text.count("#011") + text.count("#012") >= _FEWEST_OF_SYSLOG:
        for written, meant in _OF_SYSLOG.items():
            text = text.replace(written, meant)
    text = text.replace("\x9b", "\x1b[")
    if any(sign in text for sign in _SIGNS_OF_WRITTEN):
        text = _WRITTEN.sub("\x1b[", text)
    if "[" in text:
        text = _COLOURS.sub("", text)
    if not text.isascii():
        text = _SPACES.sub(" ", _INVISIBLE.sub("", text)).translate(_TYPOGRAPHIC)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
