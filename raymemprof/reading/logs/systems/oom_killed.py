"""Where a text says that a container was killed for memory: in its status, an event, or a person's words.

The word alone says nothing. Rules of alerts, queries, code, commands, labels and documentation have it, too.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

from ..patterns import Form
from ..sentences import is_code

__all__ = ["oom_kills"]

_STATUS = "OOMKilled"
_OOM_KILLED = Form(
    r"(?<![\w.-])OOMKilled(?![\w-])"
    r"(?![\"'`]{0,3}(?:\s{0,9}[:=]| (?:is|was|shows?|says?))\s{0,9}[\"'`]?(?:false|null|no|none|0)\b)"
    r"(?![`\"']? (?:parameter|field|flag|key|label|attribute|property|metric|alert)s?\b(?!:))|"
    r"\.OOMKilled ?\}\}[^\n]{0,200}\n\s{0,9}true\b|"
    r"\bcontainer oom [0-9a-f]{12,64}\b|"
    r"\b(?:[Pp]od|[Cc]ontainer)\b(?:(?!\b(?:not|never|no|may|might|can|could|would|if|when|be|is|are|gets?)\b|n't)[^\n.])"
    r"{0,40}?"
    r"(?<![\w./-])(?:oom|OOM)[- _]?[Kk]illed(?![\w-]|\.\w)"
)
_SUPPOSED = Form(
    r"\b(?:doubt\w{0,3}|alert\w{0,3}|docs?|documentation|"
    r"in case|unless|whether|suppos\w{1,3}|imagin\w{1,3}|hypothetical\w{0,2}|"
    r"(?:fix(?:e[sd])?|solved|resolved|closed)\b[^\n]{0,60}?\b(?:bug|issue|problem|where|that|when)|"
    r"(?:bug|issue|problem) (?:where|in which)|avoid\w{0,3}|prevent\w{0,3}|what (?:is|are|does)|why (?:is|are|does)|"
    r"(?:may|might|could|would|should|can)(?= (?:be|get)\b))\b|"
    r"^\W{0,9}(?:if|when|whenever)\b(?![^\n]{0,200}\b(?:I|we)\b)",
    re.IGNORECASE,
)
"""Words of a sentence, before an end, that suppose it."""
_LINK = Form(r"(?:https?://|\bwww\.|\b[\w-]{1,60}(?:\.[a-z][\w-]{1,60}){1,4}/)[^\s<>\"')]{1,400}")
_EXPLAINED = Form(
    r"\bOOMKilled[\"'`]{0,3} (?:if|means?|indicates|stands for|(?:is|as) (?:an?|the|what|how))\b|"
    r"^\W{0,9}OOMKilled[\"'`*]{0,4} (?:is|are|shows?|appears?|happens?|occurs?|pods?|containers?)\b|"
    r"\b(?:an?|any|every|each) (?:[a-z]{1,12} )?(?:pod|container) (?:is|gets|will be) OOMKilled (?:when|if|as soon)\b"
)
"""What explains the word, or when it happens."""
_PLACEHOLDER = re.compile(r"\{\{|\$\{|\{\w{1,40}\}|%[sdv]\b")
"""What is filled in later, in templates."""
_QUOTED_BEFORE, _QUOTED_AFTER = re.compile(r"\\{0,3}[\"']\Z"), re.compile(r"\\{0,3}[\"']")
_TOLD_BEFORE = re.compile(
    r"(?i:\b(?:with|as|is|was|were|got|says?|shows?|showed|sees?|saw|reason|state|status)[,:]? )\Z"
)
_REASON = re.compile(
    r"(?<![\w-])(?i:\w{0,20}(?:reason|state|status|error|cause|message))\\{0,3}[\"']?\s{0,40}[:=]\s{0,40}\\{0,3}[\"']?\Z"
)
"""What stands before it in what Kubernetes prints, where no words around deny it."""
_IS_TRUE = re.compile(r"\\{0,3}[\"']?\s{0,9}[:=]\s{0,9}[Tt]rue\b")
_KEY = re.compile(r"^[ \t]*(?:- )?[\"']?[\w.-]{1,60}[\"']?:[ \t]{1,9}[\"']?\Z")
_ASSIGNED = re.compile(r"\s=\s?[\"']\Z")
_SELECTORS = re.compile(r"(?:\w{0,20}[lL]abels|\w{0,20}[sS]elector|annotations|match\w{0,20})[\"']?:")
_STATE = re.compile(r"(?:- )?[\"']?(?:terminated|\w{0,20}[sS]tat(?:e|us)\w{0,2})[\"']?:")
_NEAR, _MOST_LINES = 3_000, 30
"""Characters and lines around a field among which the one is looked for that it belongs to."""
_LISTED = (re.compile(r"(?:\[|\[[^\[\]\n]{0,200}, ?|\w\|)\Z"), re.compile(r"\s?(?:,|\]|\|\w)"))
_CELL = re.compile(r"(?:\||^)[^\w|]{0,9}OOMKilled[^\w|]{0,9}\||\|[^\w|]{0,9}OOMKilled[^\w|]{0,9}$")
_ROW_OF_POD = re.compile(r"\b\d{1,3}/\d{1,3}\b|\|\W{0,5}[a-z0-9]{1,60}(?:-[a-z0-9]{1,60}){1,9}\W{0,5}\|")
_COMMAND = re.compile(
    r"\W{0,9}(?:\d{1,6}\s{1,4})?(?:[$#>%] ?)?(?:sudo )?"
    r"(?:kubectl|oc|docker|podman|nerdctl|crictl|helm|stern|aws|gcloud)\s"
)
_ARGUMENT = re.compile(r"[=\"'.]\Z")
_SENTENCE_ENDS = re.compile(r"[.!?;]\s|\n")
_BEFORE, _AFTER = 300, 200
"""Characters before and behind an end in which the beginning and the end of its line and sentence are looked for."""
_MOST_TOLD = 500
"""Places where a text may tell of such an end that are looked at."""


def oom_kills(text: str) -> list[re.Match[str]]:
    """Return where a text says that a container was killed for memory."""
    found = list(itertools.islice(_OOM_KILLED.finditer(text), _MOST_TOLD))
    links = [one.span() for one in _LINK.finditer(text)] if found else []
    return [one for one in found if not any(start <= one.start() < end for start, end in links) and _is_told(one)]


def _is_told(found: re.Match[str]) -> bool:
    text, start = found.string, found.end() - len(_STATUS) if found[0].endswith(_STATUS) else found.start()
    before, after = text[max(start - _BEFORE, 0) : start], text[found.end() : found.end() + _AFTER]
    if found[0].startswith((".", "container oom")) or _IS_TRUE.match(after):
        return True
    line = before[before.rfind("\n") + 1 :]
    rest = after.partition("\n")[0]
    if _is_value(line, rest) or _PLACEHOLDER.search(line + rest):
        return False
    if _REASON.search(before):
        return not _is_label(text, start - len(line))
    if _KEY.search(line) or is_code(line + text[start : found.end()] + rest):
        return False
    said = _SENTENCE_ENDS.split(before)[-1] + text[start : found.end()]
    sentence = said + _SENTENCE_ENDS.split(after)[0]
    return not (_SUPPOSED.search(said) or _EXPLAINED.search(sentence))


def _is_value(line: str, rest: str) -> bool:
    """Whether the word is one of a list, a literal of code, an argument of a command, or a cell of a page's table."""
    if _COMMAND.match(line) and _ARGUMENT.search(line):
        return True
    if all(part.search(side) for part, side in zip(_LISTED, (line, rest[:3]), strict=True)):
        return True
    if _CELL.search(whole := f"{line}{_STATUS}{rest}"):
        return not _ROW_OF_POD.search(whole)
    if not (_QUOTED_BEFORE.search(line) and _QUOTED_AFTER.match(rest)):
        return False
    if _ASSIGNED.search(line):
        return True
    return not (_REASON.search(line) or _TOLD_BEFORE.search(line.rstrip("\\\"'")))


def _is_label(text: str, start: int) -> bool:
    """Whether a field is a label, or what a selector asks for.

    The field that it belongs to tells that; it stands below where the lines are in the other order.
    """
    end = text.find("\n", start)
    indent = _indent(text[start : start + _NEAR])
    above = _parent(reversed(text[max(start - _NEAR, 0) : start].split("\n")[-_MOST_LINES:]), indent)
    below = _parent(text[end : end + _NEAR].split("\n")[:_MOST_LINES] if end > 0 else [], indent)
    return bool(_SELECTORS.match(above) or (_SELECTORS.match(below) and not _STATE.match(above)))


def _parent(lines: Iterable[str], indent: int) -> str:
    return next((line.strip() for line in lines if line.strip() and _indent(line) < indent), "")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))
