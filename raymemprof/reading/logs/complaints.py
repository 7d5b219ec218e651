"""What people complain of in their own words, without a log: memory that did not suffice, or that grows."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from .facts import Message
from .patterns import Form
from .quotes import NO_TROUBLE

__all__ = ["complained"]

_TELLS = Form(
    r"(?<![\w/.])(?:I|[Ww]e|[Mm]y|[Oo]ur|[Mm]e|[Uu]s)(?:'\w{1,2})? |\A\s{0,40}#[ \t]|\b(?:What happened|Describe the "
    r"(?:bug|problem)|Bug description|To [Rr]eproduce|[Rr]eproduction|Actual behavior|yesterday|last night)\b|"
    r" · (?:description|comment) · |\bVersions / Dependencies\b|\bIssue Severity\b|我|遇到|求助|请问"
)
"""How people tell what happened to them: as no documentation does."""
_SENTENCE = re.compile(r"(?<=[.!?])\s{1,9}(?=[\"'`*(]?[A-Z])|\n|(?<=[。！？])")
_ASKS = re.compile(
    r"[?？]\W{0,5}$|^\W{0,9}(?:how|what|why|is|are|does|do|can|could|should|would|when will)\b", re.IGNORECASE
)
_NOT_SO = Form(
    r"\b(?:can|could|may|might|would|should|must|will|if|whether|unless|likely|probably|maybe|perhaps|possibl[ey]|"
    r"suspect\w{0,3}|think|thought|guess\w{0,3}|assum\w{1,4}|wonder\w{0,3}|seems?|avoid\w{0,3}|prevent\w{0,3}|"
    r"fix(?:e[ds]|ing)?|want|alerts?|propos\w{1,4}|feature|simulat\w{0,4}|detect\w{0,3}|e\.g|example|to test|tests?|"
    r"instead|expect\w{0,3}|support\w{0,3}|handl\w{1,3}|recover\w{0,3}|last (?:week|month|year)|used to|previously|"
    r"documentation|docs|false|spurious|no longer|reduce\w?|limit\w{0,3}|protect\w{0,4}|Set|Use|Increase|Reduce|"
    r"Try|Make sure|Ensure|Note)\b",
    re.IGNORECASE,
)
"""What a sentence has before the words of trouble where it tells of none that happened."""
_LONG_AGO = Form(r"\b(?:last (?:week|month|year)|used to|previously|no longer|any ?more)\b", re.IGNORECASE)
_NOT = Form(
    r"(?:\b(?:no|not|never|without|any|rather than|neither|nor|0|isn't|wasn't|aren't)|n't)(?: \w{1,12}){0,3}\s*$",
    re.IGNORECASE,
)
"""The same right before them."""
_DENIED = re.compile(
    r"[\"'\s`]{0,3}[:=]\s{0,3}(?:0|false|no|none|null)\b|[- ](?:killer|score|adj|prevention)\b", re.IGNORECASE
)
"""What stands behind the name of what did not happen."""
_OOM = (
    r"(?:OOM(?:s|ed|'d|'ed|ing|[- ]?[Kk]ill(?:ed|s|ing)?)?(?![\w-])|out[- ]of[- ]memory|oom(?:ed|ing|[- "
    r"]?killed)?(?![\w-]))"
)
_MEMORY = r"(?:memory|RAM|ram|内存)"
_FEW = r"(?:[\w'()/-]{1,20} ){0,4}?"
_GETS = (
    r"(?:g[eo]t(?:s|ting)?|hit(?:s|ting)?|encounter(?:s|ed|ing)?|fac(?:e|es|ed|ing)|see(?:s|ing)?|saw|experienc\w{1,3}|"
    r"ha(?:s|ve|ving)|r[au]n(?:s|ning)? into|le(?:ads?|d|ading) to|caus(?:e|es|ed|ing)|result\w{0,3} in|ends? up|"
    r"(?:crash|fail|di|exit|end)\w{0,3} (?:with|due to|because of|from|by|on|in)|throws?|threw|rais(?:es|ed)|"
    r"report(?:s|ed|ing)?|always|after|due to|because of|caused by|until|till|then|met|suffer\w{0,3} from|"
    r"observ(?:e|ed|ing)|occur\w{0,4}|trigger\w{0,3}|keeps?|goes|went|go|遇到|出现|报|导致)"
)
_TOO_LITTLE = (
    rf"\b{_GETS} ?{_FEW}(?:{_OOM}|{_MEMORY} (?:overflow|exhaust\w{{1,4}}|explo\w{{1,5}}|shortage|pressure)|"
    rf"insufficient {_MEMORY}|内存溢出)|"
    rf"\b(?:ran|runs?|running) out of {_FEW}{_MEMORY}\b|\b(?:is|are|was|were|gets?|got|being|been|keeps?) "
    rf"(?:\w{{1,12}} )?"
    rf"{_OOM}|\b(?:OOMs|OOMed|OOM'd|OOMing|OOMKilled)\b|(?:爆|超|耗尽|用完|占满|撑爆)了?{_MEMORY}|内存(?:溢出|不足|爆|耗尽|不够)|"
    rf"\bwill OOM\b|\b[a-z]{{3,20}} OOMs?(?= (?:when|after|while|during|on|with|in|at|and)\b)|"
    rf"\b(?:lack|shortage) of {_MEMORY}\b|\bneeds? (?:a lot |much )?more {_MEMORY}\b|"
    rf"\b{_OOM} (?:errors?|crash\w{{0,3}}|issues?|problems?|happen\w{{0,3}}|occur\w{{0,4}}|kill\w{{0,3}})\b|"
    rf"\b(?:exhaust|eat|consum|fill|tak|us)\w{{0,3}} (?:up )?(?:all|the whole|the entire|up)(?: "
    rf"[\w'’]{{1,12}}){{0,4}}? "
    rf"{_MEMORY}\b|\bnot (?:have )?enough {_MEMORY}\b|"
    rf"\b{_MEMORY}\b[^\n.;]{{0,60}}?\b(?:gets?|got|is|was|are|were|being) (?:\w{{1,12}} )?(?:killed|terminated|"
    rf"evicted)\b|"
    rf"\b(?:killed|died|crashed|failed|error|terminated)\b[^\n.\w]{{0,9}}[\"'(]?{_OOM}|"
    r"\bメモリー?不足|메모리 ?부족|(?:не хватает|нехватк\w{{1,3}}) памяти"
)
_GPU = r"(?:CUDA|GPU|VRAM|cuda|gpu|vram|显存|HBM|NPU|device)"
_GROWS = (
    rf"\b{_MEMORY}\b[^\n.;]{{0,60}}?\b(?:grow(?:s|ing)?|grew|increas(?:es|ed|ing)|ris(?:es|ing)|rose|climb(?:s|ed|ing)?|"
    r"accumulat(?:es|ed|ing)|leak(?:s|ed|ing)?|builds? up|piles? up|balloons?|explod\w{1,3}|blow\w{0,3} up|"
    r"(?:does(?:n't| not)|(?:is|are|was|were)(?: \w{1,9})? ?(?:n't|not)|never|not)(?: get| be| been| being)? "
    r"(?:releas|free|go(?:es)? down|decreas|drop|reclaim|return|clean|clear|recover)\w{0,3})|"
    rf"\b{_MEMORY}[ -]leak\w{{0,4}}\b|\bleak(?:s|ed|ing)? {_MEMORY}\b|"
    rf"\b(?:increas|grow)\w{{1,3}} (?:in )?{_MEMORY}\b|内存(?:泄[漏露]|一直(?:涨|增长)|持续(?:增长|上涨))|显存泄[漏露]|"
    rf"\b(?:high|huge|excessive|abnormal|unexpected|large) {_MEMORY} (?:usage|consumption|use|footprint)\b|"
    rf"\bnot respect\w{{0,3}} (?:the |my |any )?{_MEMORY} (?:limit|request|setting)\w{{0,7}}|"
    rf"\b(?:us|tak|consum|need|eat)\w{{1,3}} (?:too much|a lot of|huge amounts? of|lots of|so much) {_MEMORY}\b"
)
_OF_POD = (
    r"\b(?:pods?|containers?)\b(?:(?!\b(?:node|system|host|machine)\b)[^\n.;,]){0,40}?"
    r"\b(?:will OOM\b|OOM(?:ed|'d|'ed|s|[- ]?[Kk]illed)|oom(?:ed|[- ]?killed))\b"
)


class _Kind(NamedTuple):
    form: Form
    cause: str
    what: str
    lacks: str | None
    also_in: Form | None = None
    """What the sentence has as well."""


_KINDS = (
    _Kind(
        Form(
            r"\b(?:[Ss]lurm|SLURM)(?:stepd)?\b(?: \w{1,9}){0,2}? (?:kill|cancel|terminat|end)\w{0,3}\b|"
            r"\b(?:killed|cancell?ed|terminated) by (?:the )?(?:[Ss]lurm|SLURM)\b"
        ),
        "slurm_limit",
        "Slurm ended a job for memory",
        None,
        Form(r"\bmemory\b|\bOOM\b|\boom\b", re.IGNORECASE),
    ),
    _Kind(
        Form(
            rf"{_GPU}(?:'s)? ?(?:memory )?(?:{_OOM}|errors?: {_OOM})|\b[Oo]ut of (?:GPU|CUDA|device|video|VRAM)\b|"
            rf"\b{_OOM} (?:errors? )?(?:on|of|in) (?:the |each |all |one |my )?(?:\w{{1,12}} )?{_GPU}s?\b|"
            r"爆显存|显存(?:不足|溢出|爆|不够|耗尽)|显存OOM"
        ),
        "gpu_memory",
        "a GPU's, or another device's, memory did not suffice",
        "gpu",
    ),
    _Kind(
        Form(
            r"\b(?:receiv|caus|trigger)\w{1,4} (?:a |the )?(?:SIGBUS|[Bb]us error)|\b(?:g[eo]t|hit|see|saw) "
            r"(?:a |the )?(?:SIGBUS|[Bb]us error)"
        ),
        "bus_error",
        "a process got SIGBUS, as where /dev/shm is full",
        None,
    ),
    _Kind(Form(_OF_POD), "container_limit", "a pod or a container ran out of memory", None),
    _Kind(Form(_TOO_LITTLE, re.IGNORECASE), "unknown", "memory did not suffice", "told"),
    _Kind(Form(_GROWS, re.IGNORECASE), "warning", "memory grows, stays in use, or is more than it should be", "grows"),
)
_MOST = 20
_LONGEST, _SHORTENED = 1_500, 320
_ENDED = Form(r"\b(?:kill(?:s|ed)|crash(?:es|ed)|die[sd]|OOM\w{0,7}|evicted|exit code)\b", re.IGNORECASE)
_OWN = Form(r"(?<![\w/.])(?:I|[Ww]e|[Mm]y|[Oo]ur)(?:'\w{1,2})? ")
_CODE = re.compile(
    r"^\s*(?:[\w.\[\]]{1,60} ?[+]?= ?\S|@|def |class |import |from \w+ import|[-+]{3} |File \")|[{};]\s*$"
)
"""Source code, which states nothing."""


def complained(text: str, printed: str) -> Message | None:
    """Return what a person complains of; None where no sentence does. `printed` is the text with all its mentions."""
    if not _TELLS.search(printed):
        return None
    for kind in _KINDS:
        found = [said for said in itertools.islice(_sentences(kind, text), _MOST)]
        if not found:
            continue
        quote = " ".join(min(found, key=_is_of_others).strip(" \t│|*#>-•~").split())
        words = quote if len(quote) <= _SHORTENED else f"{quote[:_SHORTENED].rpartition(' ')[0]} …"
        cause = "unknown" if kind.cause == "warning" and _ENDED.search(text) else kind.cause
        return Message(cause, f"The text says, without a log of it, that {kind.what}: “{words}”", lacks=kind.lacks)
    return None


def _is_of_others(said: str) -> bool:
    return not _OWN.search(said)


def _sentences(kind: _Kind, text: str) -> Iterator[str]:
    """Yield the sentences that tell of something of a kind that happened."""
    if not kind.form.search(text):
        return
    for said in _SENTENCE.split(text):
        if len(said) > _LONGEST or _CODE.search(said) or NO_TROUBLE.search(said):
            continue
        found = kind.form.search(said)
        if found and (kind.also_in is None or kind.also_in.search(said)) and _happened(said, found):
            yield said


def _happened(said: str, found: re.Match[str]) -> bool:
    before = said[: found.start()]
    if (
        _ASKS.search(said)
        or _LONG_AGO.search(said)
        or _NOT_SO.search(
            re.split(
                (
                    r"[;:] |, (?:but|and|so|"
                    r"then) "
                ),
                before,
            )[-1]
        )
    ):
        return False
    return not (_NOT.search(before) or _DENIED.match(said, found.end()))
