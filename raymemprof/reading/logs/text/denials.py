"""Takes out of a text what a person says was not so, or is no longer: that it was no OOM kill, that an error went away.

This holds for whatever is denied: a message, the name of an error, a signal, an exit code, a kill or an eviction.
"""

from __future__ import annotations

import re

from ..patterns import Form
from ..sentences import LONG

__all__ = ["without_denials"]

_QUOTED = (
    "|".join(rf"{mark}(?=[^{mark}\s]{{1,99}} )[^{mark}\n]{{3,300}}{mark}" for mark in "`\"'") + r"|“[^”\n]{3,300}”"
)
"""A message of several words."""
_OWN_COLON = r"[\w.]{0,60}(?:Error|Exception)\b|(?i:out of memory)(?=: Killed)"
"""Names behind which a colon and the words of the message follow."""
_NAMED = (
    rf"(?:{_QUOTED}|{_OWN_COLON}|[`'\"]{{0,3}}(?:"
    r"(?i:\w{0,20}oom\w{0,10}|(?:CUDA |GPU )?out[- ]of[- ]memory|"
    r"memory (?:leak|limit|pressure|error|kill)\w{0,3}|"
    r"evict\w{1,3}|preempt(?:ed|ion)(?! victims)|killed|kill event|"
    r"segfault\w{0,3}|segmentation fault|bus error|low on (?:resource|memory))|"
    r"(?:[\w:]{0,20})?bad_alloc|(?:[Ee]xit(?:ed)? (?:with )?)?(?:code|status) -?\d{1,3}|137|"
    r"SIG[A-Z]{3,5}|signal \d{1,2}|"
    r"/dev/shm|[Nn]o space left|(?:[Uu]nable to|[Cc]annot) allocate))"
)
_AUXILIARY = r"(?:is|was|are|were|do|does|did|has|have|had|can|could|ai)"
_NOT = (
    rf"(?i:\b(?:no longer|no one|nobody|none|no|not|never|neither|nor|without|cannot|rul(?:e[sd]?|ing) out|excluded?|"
    rf"nothing (?:like|of))\b|\b{_AUXILIARY}n['’]?t\b)"
)
_OTHERWISE = (
    r"(?:why|how|what|where|when|which|whether|if|know|knows|understand|sure|certain|idea|clue|"
    r"enough|only|just|because|until|unless|fix\w{0,3}|prevent\w{0,3}|avoid\w{0,3}|solv\w{1,3}|solution|stop\w{0,4}|help\w{0,3}|reduc\w{1,3}|"
    r"resolv\w{1,3}|handl\w{1,3}|catch\w{0,3}|surviv\w{1,3}|recover\w{0,3}|expla\w{1,7}|reasons?|warnings?|matter|"
    r"respect\w{0,3}|I|we|it|they|but|and|yet|still|changed?|expect\w{0,3}|wait\w{0,3}|before|after|by|until)\b"
)
"""Words after a "not" that make it no denial: what is not known, or does not help, happened all the same."""
_WORDS = rf"(?:\s(?!{_OTHERWISE})[\w'’/-]{{1,20}})"
_REST = (
    r"(?:(?!(?:;|,? (?:but|however|yet|instead|only|rather|although|though|because|since|I|we|it)\b|[.!?]\s))[^\n:,]|"
    r"(?<=Error): |(?<=Exception): |(?<=emory): (?=Killed)|:(?=\S))"
)
"""What goes on with the same."""
_DENIED = Form(rf"{_NOT}{_WORDS}{{0,4}}?\s\(?{_NAMED}{_REST}{{0,300}}")
_SEES = (
    r"(?:sees?|saw|seen|seeing|get|got|getting|find|found|shows?|report(?:ed|s)?|have|had|hit|"
    r"prints?|printed|contains?|mentions?|logs?|says?|received?|observed?|encounter(?:ed)?|throws?|threw|raised?|has)"
)
_NOT_SEEN = Form(
    rf"{_NOT}(?:\s(?:ever|even|actually))?\s{_SEES}\s"
    rf"(?!(?:{_OTHERWISE}|any (?:reason|explanation)|the (?:reason|cause)))"
    r"(?:(?!\b(?:but|except|only|why|what|how|where|reasons?|causes?)\b)[^\n,;]){0,120}?"
    rf"{_NAMED}[^\n;]{{0,300}}?(?=[.!?]\s|;|$|\n)"
)
_ENDED = (
    r"(?:(?:went|goes|has gone|is going) away|(?:is|are|was|were)(?: now| all)? "
    r"(?:gone|fixed|solved|resolved|ruled out)|"
    r"(?:has|have|had) been (?:fixed|solved|resolved|ruled out)|disappear(?:s|ed)|vanish(?:es|ed)|"
    rf"(?:{_AUXILIARY} )?no longer|{_AUXILIARY}(?:n['’]t| not|nt| never) "
    r"(?:happen|occur|appear|come|show|seen|in\b|there\b|printed|logged|reported|raised|"
    r"the (?:cause|reason|problem|issue|case|culprit))|never (?:happen|occur|appear|show)\w{0,4}|"
    rf"but (?:it|that|this) {_AUXILIARY}(?:n['’]t| not)(?: so)?(?=[.!,]|$))"
)
_GONE = Form(
    rf"{_NAMED}[`'\"”)]{{0,3}}(?:[.:](?= [a-z]))?"
    rf"(?:\s(?!(?:and|but|so|then|which|because|until|when|after)\b)[^\s,;]{{1,40}}){{0,7}}?,?"
    rf"(?: (?:it|that|which|they))? {_ENDED}",
    re.MULTILINE,
)
"""It may stand at the end of a message, which is then taken out from the beginning of its clause."""
_CLAUSE_STARTS = ("\n", ". ", "! ", "? ", "; ", ", ")
_LONGEST = 200
"""Characters of a clause before what went away."""
_PAST = Form(
    r"(?<!not )(?<!n't )(?<!never )(?:\b[Uu]sed to (?:get|see|have|hit|be)|\b[Pp]reviously|\b[Gg]ot rid of|"
    r"\[?\b(?i:fixed|solved|resolved)\]?(?: (?:in|by|with|since) [^\n:]{1,40})?:?|"
    r"\b[Ss]topped (?:getting|seeing|hitting))"
    rf"{_WORDS}{{0,3}}?\s{_NAMED}[^\n;]{{0,300}}?(?=[.!?]\s[A-Z]|;|$|\n)"
)


def without_denials(text: str) -> str:
    """Return a text without what it denies. A log, in which nobody tells anything, stays as it is."""
    if len(text) >= LONG:
        return text
    text = _without_gone(_PAST.sub("", text))
    return _DENIED.sub("", _NOT_SEEN.sub("", text))


def _without_gone(text: str) -> str:
    left, position = [], 0
    for found in _GONE.finditer(text):
        least = max(position, found.start() - _LONGEST)
        start = max((text.rfind(mark, least, found.start()) + len(mark) for mark in _CLAUSE_STARTS), default=least)
        left.append(text[position : max(start, least)])
        position = found.end()
    return "".join([*left, text[position:]])
