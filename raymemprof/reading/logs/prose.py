"""What people tell in their own words: messages that they quote in a sentence, and ends for memory without a log."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from .facts import Message
from .patterns import Form
from .sentences import DECORATION, SENTENCE, shortened

__all__ = ["quoted_messages", "told"]

_TELLS = Form(
    r"(?<![\w/.])(?:I|[Ww]e|[Mm]y|[Oo]ur)(?:'\w{1,2})? |"
    r"\b(?:according to (?:the |its |my )?logs?|[Ll]ooks like|it looks|yesterday|last night|this morning)\b"
)
"""How people tell what happened to them, as no documentation does."""
_HAPPENED = (
    r"(?:g[eo]t(?:s|ting)?|see(?:s|ing)?|saw|hit(?:s|ting)?|errors?(?: messages?)?(?: is| was| of| like| saying)?|"
    r"fail(?:s|ed|ing)?(?: with)?|crash(?:es|ed|ing)?(?: with)?|sa(?:ys?|id|ying)|shows?|shown|appears?|appeared|"
    r"prints?|printed|outputs?|throws?|threw|raised|die[sd]? with|end(?:s|ed)? with|exit(?:s|ed)? with|"
    r"message(?: is| was)?|exception)"
)
_QUOTED = Form(
    rf"\b{_HAPPENED}\b[^\n.`\"“'*?]{{0,40}}?(?:\"(?P<a>[^\"\n]{{8,400}})\"|“(?P<b>[^”\n]{{8,400}})”|"
    r"`{1,3}(?P<c>[^`\n]{8,400})`|\*{1,2}(?P<d>[^*\n]{8,400})\*|"
    r"(?<!\w)_(?P<e>(?:[^_\n]|(?<=\w)_(?=\w)){8,400})_(?!\w))",
    re.IGNORECASE,
)
_NAMED = Form(
    r"\b(?:g[eo]t(?:s|ting)?|see(?:s|ing)?|saw|hit(?:s|ting)?|raises?|throws?|fails with) (?:an? |the |this )?"
    r"(?:[a-z]{1,12} )?"
    r"[`\"']{0,3}((?:numpy\.\w{1,20}\.)?_?(?:Array)?MemoryError|std::bad_alloc|java\.lang\.OutOfMemoryError)[`\"']{0,3}"
    r"(?: exception| error|s\b|[.,;\n])",
)
"""Errors whose names say all that they tell."""
_MOST = 20
_LONGEST_SENTENCE = 600
_SHORTENED = 200
_NOT_HAPPENED = Form(
    r"\b(?:can|could|may|might|would|should|must|will|if|whether|unless|likely|probably|maybe|perhaps|possibl[ey]|"
    r"suspect\w{0,3}|think|guess\w{0,3}|assum\w{1,4}|wonder\w{0,3}|seems?|avoid\w{0,3}|prevent\w{0,3}|instead|before|"
    r"until|in case|doubt\w{0,3}|bug where|bug in which|suppose|imagine|"
    r"not|never|no|none|nobody|nothing|without|rather|expect\w{0,3}|supposed|simulat\w{0,4}|detect\w{0,3}|alerts?|causes?|"
    r"reasons?|include|means?|usually|typically|sometimes|often|any|every|each|when(?:ever)?|fix(?:e[ds]|ing)?|e\.g|"
    r"example|how|why|cannot|test\w{0,4})\b|n't\b|\?",
    re.IGNORECASE,
)
"""Words of a sentence that tells what may happen, what did not, or what was asked."""
_PROPOSED = Form(
    r"\b(?:can|could|may|might|would|should|instead|expect\w{0,3}|avoid\w{0,3}|fix(?:e[ds]|ing)?|not|never|no longer|"
    r"rather|previously|used to)\b|n't\b",
    re.IGNORECASE,
)
"""The same before a message that is quoted: there, people say when they got it."""
_PAST = Form(r"\b(?:was|were|got|(?:ha[sd]|have) been)\b", re.IGNORECASE)
_OOM = r"(?:oom|out[- ]of[- ]memory)"
_IS = r"\b(?:is|was|are|were|being|been|gets?|got|getting|keeps?)\b"
_KILLS = r"(?:killed|terminated|killing|(?:has )?kicked in|to (?:kill|terminate))\b"
_BY_KERNEL = Form(
    r"\b(?:killed|terminated|reaped|stopped|taken down) by (?:the |an? )?(?:linux|kernel)(?:'s)?\b|"
    rf"\b(?:linux|kernel)(?:'s)? (?:{_OOM}[- _]?killer\b)?[^\n.]{{0,30}}?\b{_KILLS}",
    re.IGNORECASE,
)
_BY_KILLER = Form(
    rf"\b(?:killed|terminated|reaped|stopped|taken down) by (?:the |an? )?(?:system |host )?{_OOM}[- _]?killer\b|"
    rf"\b{_OOM}[- _]?killer\b[^\n.]{{0,30}}?\b{_KILLS}",
    re.IGNORECASE,
)
_BY_RAY = Form(
    r"\b[Rr]ay(?:'s (?:memory |OOM )?(?:monitor|killer))? (?:has |had )?killed\b[^\n.]{0,40}?"
    r"\b(?:workers?|tasks?|actors?|process(?:es)?)\b[^\n.]{0,120}?\b(?:memory|oom)\b",
    re.IGNORECASE,
)
_RAY = Form(r"\b(?:Kube)?[Rr]ay(?:let)?(?![a-z])|\bkuberay\b")
"""Ray's memory monitor is called an OOM killer, too."""
_CLAUSE = re.compile(r"[:;,] ")
_DENIED = re.compile(r"[\"'\s]{0,3}[:=]\s{0,3}(?:0|false|no|none|null)\b", re.IGNORECASE)
"""What stands behind the name of what did not happen."""
_BY_THE_KERNEL = ("kernel_oom", "the kernel's out-of-memory killer killed")
_BY_ONE_OF_THEM = ("unknown", "an out-of-memory killer, the kernel's or Ray's, killed")
_OF_CONTAINER = Form(
    rf"\b(?:pods?|containers?)\b[^\n.]{{0,40}}?{_IS}[^\n.]{{0,30}}?"
    rf"\b(?:{_OOM}[- _]?kill(?:ed|ing)|killed (?:by|due to|because of|for|with) (?:an? |the )?{_OOM})\b",
    re.IGNORECASE,
)
_BUS_ERROR = Form(
    r"\b(?:workers?|tasks?|actors?|process(?:es)?|jobs?|raylets?|training|loaders?|it)\b[^\n.]{0,60}?\b(?:fail(?:s|ed)?|"
    r"crash(?:es|ed)?|die[sd]?) (?:with|on|by|due to|from) (?:an? |the )?(?:SIGBUS|bus errors?)\b",
    re.IGNORECASE,
)
_FOR_MEMORY = Form(
    rf"{_IS}[^\n.]{{0,30}}?\b(?:{_OOM}[- _']?(?:kill(?:ed|ing)|ed)|"
    r"(?:killed|terminated|evicted|restarted|reaped) (?:by|due to|because of|for|from|with|as) [^\n.]{0,20}?"
    rf"\b(?:{_OOM}|memory pressure|lack of memory|(?:high|excessive) memory|running out of (?:memory|ram)))\b|"
    r"\b(?:crash(?:es|ed|ing)?|die[sd]|failed|exit(?:s|ed)|ended|goes down|went down) (?:by|due to|because of|from|"
    rf"with|on) (?:an? |the )?{_OOM}(?:[- ]?kill(?:ed|er)?|s)?\b",
    re.IGNORECASE,
)


def quoted_messages(text: str) -> Iterator[str]:
    """Yield the messages of which a person says in a sentence that they got them: no bare names."""
    if not _TELLS.search(text):
        return
    for found in itertools.islice(_QUOTED.finditer(text), _MOST):
        quoted = next(filter(None, found.groups())).strip()
        if " " in quoted and not _PROPOSED.search(_before(text, found)):
            yield f"Error: {quoted}"
    for found in itertools.islice(_NAMED.finditer(text), _MOST):
        if not _PROPOSED.search(_before(text, found)):
            yield found[1]


def _before(text: str, found: re.Match[str]) -> str:
    """What stands of the sentence before a match."""
    return SENTENCE.split(text[text.rfind("\n", 0, found.start()) + 1 : found.start()])[-1]


def told(text: str, printed: str) -> Message | None:
    """Return what a person tells of an end for memory; None where no sentence tells of one that happened.

    Args:
        text: without mentions and denials.
        printed: with them, which is quoted.
    """
    is_told = bool(_TELLS.search(text))
    for form, cause, what in (
        (_BY_RAY, "ray_memory_monitor", "Ray killed for memory"),
        (_BY_KERNEL, *_BY_THE_KERNEL),
        (_BY_KILLER, *(_BY_ONE_OF_THEM if _RAY.search(text) else _BY_THE_KERNEL)),
        (_OF_CONTAINER, "container_limit", "a container was killed for memory"),
        (_BUS_ERROR, "bus_error", "a process got SIGBUS"),
        (_FOR_MEMORY, "unknown", "something was killed, or ended, for lack of memory"),
    ):
        for found in itertools.islice(form.finditer(text), _MOST):
            said = _sentence(text, *found.span())
            if not (is_told or form is _BY_RAY or _PAST.search(said)) or _DENIED.match(text, found.end()):
                continue
            clause = _CLAUSE.split(_before(text, found))[-1] + found[0] if form is _BY_RAY else said
            if len(said) <= _LONGEST_SENTENCE and not _NOT_HAPPENED.search(clause):
                at = printed.find(found[0])
                whole = _sentence(printed, at, at + len(found[0])) if at >= 0 else said
                statement = f"The text says, without a log of it, that {what}: “{shortened(whole, _SHORTENED)}”"
                return Message(cause, statement, lacks="told" if cause == "unknown" else None, is_told=True)
    return None


def _sentence(text: str, first: int, last: int) -> str:
    """The sentence, of one line, that a part of a text is in."""
    start = text.rfind("\n", 0, first) + 1
    end = text.find("\n", last)
    line, at = text[start : end if end >= 0 else len(text)], first - start
    for part in SENTENCE.split(line):
        stop = line.find(part) + len(part)
        if stop > at:
            return part.strip(DECORATION)
    return line.strip()
