"""Takes out of a text what only mentions messages: source code, and sentences that ask or explain."""

from __future__ import annotations

import re

from ..patterns import Form
from .denials import without_denials

__all__ = ["without_code", "without_examples", "without_mentions"]

_TRACEBACK_CODE = Form(
    r"(^[ \t]{0,40}File \"[^\n]{1,400}\", line \d{1,9}(?:, in [^\n]{1,200})?\n)"
    r"(?![ \t]{1,60}File \")[ \t]{1,60}[^\n]*$",
    re.MULTILINE,
)
"""A line of a traceback's code, which may have any words; a frame of Cython's has none, and the next follows."""
_PRINTED = (
    r"[ \t]{0,8}(?=[^\n]{0,1000}\d)(?!(?:e\.g\.|[Ee]xample|[Nn]ote|TODO|FIXME)\b)(?:[\w./-]{2,60}(?:\[\d{1,10}\])?: "
    r"(?:error|fatal|warning|critical|panic)\b|\(\w[^()\n]{0,60}\bpid=\d|\(raylet\b|kernel: [A-Z]|"
    r"[\[(]?\d{4}-\d\d-\d\d[ T]\d\d:|\[ {0,9}\d{1,9}\.\d{6}\]|[\w.]{0,80}\.\w{1,60}(?:Error|Exception): "
    r"(?!(?:is |are |gets )?(?:raised|thrown|when|if|[Ii]ndicates|means)\b)|[A-Z][\w ]{2,40}: \d)"
)
"""How a line begins that a program printed: with a time, its name and a level, an exception with its module."""
_TALK = Form(
    r"^[ \t]{0,40}(?:[\w./-]{1,200}\.\w{1,4}:\d{1,7}:[ \t]{0,40})?(?:[+-][ \t]{1,40})?(?:"
    # source code
    rf"(?://(?!{_PRINTED})|/\*|#[ \t]"
    r"(?!(?:\[\w{1,20}\] )?exits with return code = -9$)(?![^\n]{1,400}\bavailable space: \d)"
    rf"(?!Native memory allocation \(|\S{{0,200}}/hs_err_pid)(?!{_PRINTED}))|"
    r"(?:except|catch|elif|else if|if|while|for|with|def|async def|class)\b[^\n]{0,500}[:{][ \t]{0,9}$|"
    r"(?:except|if|elif|return|raise|throw|assert|print|catch)[ \t]?[\"'(][^\n]*$|"
    r"(?:if|elif|return|assert|raise|throw|in)[ \t][\"'][^\n]*$|"
    r"(?:raise|throw)[ \t][\w. ]{1,100}\(|"
    r"[\w.>:-]{1,80}\.(?:log|debug|info|warn|warning|error|critical|exception|append|write|match|search|compile)"
    r"\([frb]{0,2}[\"']|"
    r"RAY_(?:LOG|CHECK)\w{0,20}\(|"
    r"[\w. \[\]*&:<>-]{1,100} ?[+]?= ?[^\n]{0,80}\"[^\n]{0,500};[ \t]{0,9}$|"
    # a definition: Error: raised when ...
    r"[-*` \t]{0,9}[\w.]{1,100}(?:Error|Exception)\b[`\"']{0,3}(?::|[ \t]-)?[ \t](?:is |are |gets )?"
    r"(?:raised|thrown|[Ii]ndicates|means)\b|"
    # a question or an explanation, without figures of its own
    r"(?:How|What|Why|Does|Do|Is|Are|Can|Could|Should|When|Whenever|If|To (?:avoid|prevent|fix|debug|solve))\b(?!')"
    r"(?![^\n]{0,500}(?:Error|Exception)\)?: )"
    r"(?=[^\d\n?]{0,500}(?:137[^\d\n?]{0,500})?\??[ \t]{0,9}$)"
    r")[^\n]*",
    re.MULTILINE,
)
_TITLE = Form(r"\A\s{0,40}#[ \t]{1,9}(?=[^\n]{1,500}\n[ \t]{0,40}\n)")
"""What makes the first line of a text its title, in Markdown; other lines that begin so are comments."""
_COMMENT = Form(r"^([ \t]{0,40}[\w. =]{1,100}\([^\n]{0,200}\))[ \t]{1,9}#[ \t][^\n]*$", re.MULTILINE)
_SUPPOSED = Form(
    r"(\b(?:[Nn]ormally|[Uu]sually|[Tt]ypically|(?<!as )[Ee]xpect(?:ed|s)?|supposed to|does not fail with|instead of|"
    r"(?:would|should)(?: have)? (?:be|been|emit|print|say|report|give|show|raise|log)(?:ted|ed|n)?)\b"
    r"(?:(?!\b(?:but|now|yet|however|I|we|got|gets?)\b)[^\n`.;]){0,250}?)`[^`\n]{1,400}`?"
)
"""A message that is quoted as what would be printed, or was expected."""
_EXAMPLE = Form(
    r"(\b(?:An?|[Tt]ypical|[Ss]uch an?)\b"
    r"(?:(?!\b(?:I|[Ww]e|[Mm]y|[Oo]ur|[Gg]ot|[Gg]ets?|[Ss]aw|[Ss]ees?)\b)[^\n.:;]){1,120}?"
    r"\blooks? (?:\w{1,20} )?like(?: this| the following)?:)[ \t]{0,9}\n"
    r"(?:[ \t]{0,40}(?:\.\. [\w-]{1,20}::[^\n]{0,80}|```\w{0,20}|~~~\w{0,20})?[ \t]{0,9}\n){0,4}"
    r"[^\n]{1,2000}(?:\n[ \t]{0,80}\S[^\n]{0,2000}){0,60}"
)
"""What documentation shows a message by: "A worker's error looks like:", and the paragraph or block after it."""
_QUERIES = (
    Form(
        r"(?:^|[|;&(][ \t]{0,3}|[$#>%❯] |^[ \t]{0,9}\d{1,6}[ \t]{1,4}|\bsudo )(?:[efz]?grep|jq|awk)[ \t][^\n]{1,500}",
        re.MULTILINE,
    ),
    Form(r"(?:\|=|\|~|=~|==|!=) ?(?:\"[^\"\n]{1,300}\"|'[^'\n]{1,300}'|`[^`\n]{1,300}`)"),
    Form(r"\{(?<=\w\{)\s?\w{1,60}(?:=~?|!=|!~)\"[^{}\n]{0,500}\}(?! 1(?:\.0)?\s{0,9}$)", re.MULTILINE),
)
"""What a command, a comparison or a query of Prometheus looks for; a metric whose value is 1 tells that it is so."""
_COMMIT = Form(
    r"^[ \t]{0,9}(?:[0-9a-f]{7,40} )?(?:feat|fix|chore|docs|refactor|tests?|ci|build|perf|style)"
    r"(?:\([^()\n]{1,40}\))?!?: "
    r"[^\n]{1,300}$",
    re.MULTILINE,
)
"""The title of a commit, which says what it changes."""
_IN_GENERAL = Form(
    r"^(?:[^\w\n]{0,9}(?:OOMKilled|Evicted)[\"'`*]{0,4} ?(?:[-–—(]{0,2} ?[Ee]xit [Cc]ode 137\)?)? ?"
    r"(?::(?=\s*[A-Za-z])(?! ?(?:[Tt]rue|[Ff]alse|null)\b)|[-–—] )|"
    r"(?![^\n]*\b(?:I|[Ww]e|[Mm]y|[Oo]ur|was|were|got|has|have|keeps?)\b)[^\n]{0,200}?"
    r"\b(?:marks?|is|are|gets?|shows?|reports?|returns?|exits?|ends?)\b[^\n]{0,60}?\b(?:OOMKilled|(?:exit )?code 137)\b"
    r"[^\n]{0,100}?\b(?:when|if|whenever|as soon as) (?:it|its|the|an?|they|memory|any)\b)[^\n]*$",
    re.MULTILINE,
)
"""What is true in general: a status that is defined, or explained with when it comes."""
_TEMPLATE = Form(r"^[^\n]{0,500}\{\{ ?\$[^\n]*$", re.MULTILINE)
"""The template of an alert."""


def without_mentions(text: str, *, with_denials: bool = False) -> str:
    """Return a text without what is no message: a name or a message that is quoted there is no evidence."""
    text = without_code(text)
    text = text if with_denials else without_denials(text)
    text = _IN_GENERAL.sub("", _COMMIT.sub("", text))
    text = _SUPPOSED.sub(r"\1", text)
    return _TALK.sub("", text)


def without_examples(text: str) -> str:
    """Return a text without the messages by which documentation shows what a message looks like."""
    return _EXAMPLE.sub(r"\1\n", text)


def without_code(text: str) -> str:
    """Return a text without the lines of code in tracebacks, comments behind code, templates and queries."""
    title = _TITLE.match(text)
    text = text[title.end() :] if title else text
    text = _TEMPLATE.sub("", _TRACEBACK_CODE.sub(r"\1", text))
    for query in _QUERIES:
        text = query.sub("", text)
    return _COMMENT.sub(r"\1", text)
