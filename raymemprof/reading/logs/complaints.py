"""What people complain of in their own words, without a log: memory that did not suffice, or that grows.

Their sentence is quoted, and nothing is concluded from it. Only where somebody says of what is theirs what happened to
it, and the sentence has no word that denies, doubts or supposes, there is a cause.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .facts import Message
from .patterns import Form
from .quotes import NO_TROUBLE
from .sentences import SENTENCE, is_advice, is_code, is_question, shortened, tells
from .text.denials import without_denials

__all__ = ["complained"]

_TELLS = Form(
    r"\b(?:What happened|Describe the (?:bug|problem)|Bug description|To [Rr]eproduce|[Rr]eproduction|Actual behavior|"
    r"yesterday|last night)\b| · (?:description|comment) · |\bVersions / Dependencies\b|\bIssue Severity\b|"
    r"我|遇到|求助|请问"
)
"""How else people tell what happened to them: as no documentation does."""
_ASKS = re.compile(
    r"^\W{0,9}(?:note|fix|revert|suppose|imagine|how|what|why|is|are|does|do|can|could|should|would|when will)\b",
    re.IGNORECASE,
)
_IN_GENERAL = re.compile(r"\W{0,9}when(?:ever)? ", re.IGNORECASE)
"""How a sentence begins that, without an "I" or "my", is true in general."""
_NOT_SO = Form(
    r"\b(?:can|could|may|might|would|should|must|will|if|whether|unless|likely|probably|maybe|perhaps|possibl[ey]|"
    r"suspect\w{0,3}|think|thought|guess\w{0,3}|assum\w{1,4}|wonder\w{0,3}|seems?|avoid\w{0,3}|prevent\w{0,3}|"
    r"fix(?:e[ds]|ing)?|want|alerts?|propos\w{1,4}|feature|simulat\w{0,4}|detect\w{0,3}|e\.g|example|to test|tests?|"
    r"instead|expect\w{0,3}|support\w{0,3}|handl\w{1,3}|recover\w{0,3}|last (?:week|month|year)|used to|previously|"
    r"documentation|docs|false|spurious|no longer|reduce\w?|limit\w{0,3}|protect\w{0,4}|make sure|ensure|catch|"
    r"where|other|improve\w?)\b",
    re.IGNORECASE,
)
"""What a sentence has before the words of trouble where it tells of none that happened."""
_DOUBTS = Form(
    r"\b(?:last (?:week|month|year)|used to|previously|no longer|any ?more|doubt\w{0,3}|surpris\w{1,4}|suppos\w{1,4}|"
    r"imagine|in case|ChatGPT|was told|told me|wrong|nothing in|nobody|no problem|not (?:my|our|a) |cannot be|"
    r"revert\w{0,3}|changelog|detectors?|foam|tickets?|alerts?|rely|went back|(?:is|was|gets) (?:then )?released)\b|"
    r"没有|没遇到|不是|从未|未遇",
    re.IGNORECASE,
)
"""What it has nowhere."""
_NOT_INSIDE = re.compile(
    r"(?:\b(?:not|never|no|nor|cannot)\b|n't\b)(?! (?:get |be |been |being |have )?(?:enough|respect|"
    r"releas|free|go(?:es)? down|decreas|drop|reclaim|return|clean|clear|recover))",
    re.IGNORECASE,
)
"""What denies among these words; what denies all of them is taken out before."""
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
    rf"\b{_MEMORY}[ -]leak\w{{0,4}}\b(?! (?:detect|test|check|tool)\w{{0,5}})|\bleak(?:s|ed|ing)? {_MEMORY}\b|"
    rf"\b(?:increas|grow)\w{{1,3}} in {_MEMORY}\b|内存(?:泄[漏露]|一直(?:涨|增长)|持续(?:增长|上涨))|显存泄[漏露]|"
    rf"\b(?:high|huge|excessive|abnormal|unexpected|large) {_MEMORY} (?:usage|consumption|use|footprint)\b|"
    rf"\bnot respect\w{{0,3}} (?:the |my |any )?{_MEMORY} (?:limit|request|setting)\w{{0,7}}|"
    rf"\b(?:us|tak|consum|need|eat)\w{{1,3}} (?:too much|a lot of|huge amounts? of|lots of|so much) {_MEMORY}\b"
)
_OWN = re.compile(r"(?<![\w/.])(?:I|[Ww]e|[Mm]y|[Oo]ur)\b")
_THEIRS = (
    r"(?:[\w/-]{1,20} ){0,2}(?:workers?|jobs?|tasks?|actors?|train(?:ing|ers?)|scripts?|runs?|process(?:es)?|"
    r"programs?|code|models?|drivers?|nodes?|pods?|containers?|clusters?|notebooks?|trials?|GPUs?|servers?|engines?|replicas?)"
)
_HAD = (
    r"(?:got|hit|saw|ran|had|received|failed|crashed|died|threw|raised|triggered|encountered|met|OOMed|was|were|"
    r"(?:have|has) been)\b"
)
_OWN_PAST = re.compile(
    rf"(?<![\w/.])(?:I|[Ww]e)(?: [^.;,]{{0,40}} and)?(?: (?:also|then|always|just|still))? {_HAD}|"
    rf"\b(?:[Mm]y|[Oo]ur) {_THEIRS} (?:[a-z]{{1,12}} )?{_HAD}|"
    rf"\b(?:killed|cancell?ed|terminated) (?:my|our) {_THEIRS}\b|\b(?:my|our) {_THEIRS} (?:was|were) "
    r"(?:killed|cancell?ed|terminated) by\b"
)
"""Words with which somebody says what happened to what is theirs."""
_UNSURE = Form(
    r"\b(?:no|not|never|none|nor|neither|without|cannot|hardly|nothing|nobody|rather|instead|only|if|whenever|once|until|"
    r"unless|in case|would|could|may|might|should|must|will|can|maybe|perhaps|probably|likely|think|thought|"
    r"suspect\w{0,3}|guess\w{0,3}|seem\w{0,2}|looks?|expect\w{0,3}|hope\w{0,3}|avoid\w{0,3}|prevent\w{0,3}|fix\w{0,3}|solved|"
    r"tests?|testing|simulat\w{0,4}|on purpose|mock\w{0,3}|time limit|disk|gone|longer|since|before|"
    r"docs?|documentation|tutorials?|joke|zero|friend\w{0,2}|colleague\w{0,2}|article|blog|book|years?|20\d\d|"
    r"tool|claims?|said|says|read|heard|asked|question|wonder\w{0,3})\b|n't\b|"
    r"\bwhen (?!I |we |my |our |running|training|loading|it )",
    re.IGNORECASE,
)
"""What a sentence that has a cause has nowhere."""
_CLAUSE = re.compile(r"[;:,] | (?:but|while|although|though|because|since|as|and then) ")


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
            r"\b(?:[Ss]lurm|SLURM)(?:stepd)?\b(?: (?:has|had|just|then))? (?:killed|cancell?ed|terminated)\b|"
            r"\b(?:killed|cancell?ed|terminated) by (?:the )?(?:[Ss]lurm|SLURM)\b"
        ),
        "slurm_limit",
        "Slurm ended a job for memory",
        None,
        Form(
            r"\bout[- ]of[- ]memory\b|\bOOM\b|\b(?:exceed\w{0,3}|over|above|beyond|reached|more|too much) "
            r"(?:[\w'-]{1,12} ){0,3}memory\b|\bfor memory\b|"
            r"(?:for|hit\w{0,4}|reach\w{0,4}|due to|because of) (?:[\w'-]{1,12} ){0,3}memory limit\b",
            re.IGNORECASE,
        ),
    ),
    _Kind(
        Form(
            rf"{_GPU}(?:'s)? ?(?:memory )?(?:{_OOM}|errors?: {_OOM})|\b[Oo]ut of (?:GPU|CUDA|device|video|VRAM)\b|"
            rf"\b{_OOM} (?:errors? )?(?:on|of|in) (?:the |each |all |one |my )?(?:\w{{1,12}} )?{_GPU}s?\b"
        ),
        "gpu_memory",
        "a GPU's, or another device's, memory did not suffice",
        "gpu",
    ),
    _Kind(
        Form(
            r"\b(?:received|got|hit|saw|(?:failed|crashed|died|ended|killed) (?:with|by|from)) (?:a |the )?"
            r"(?:SIGBUS|[Bb]us error)s?(?=[.,;)!]|\s*$|\s(?:in|on|when|after|from|at|again|and|during|with)\b)"
        ),
        "bus_error",
        "a process got SIGBUS, as where /dev/shm is full",
        None,
    ),
    _Kind(
        Form(
            r"\b(?:[Mm]y|[Oo]ur) (?:[\w'/-]{1,20} ){0,3}(?:pods?|containers?) (?:(?:was|were|got|has been|have been) "
            r"(?:[a-z]{1,12} )?(?:OOM(?:'?ed|[- ]?[Kk]illed)|oom(?:ed|[- ]?killed))|OOMed)\b"
        ),
        "container_limit",
        "a pod or a container ran out of memory",
        None,
    ),
)
_QUOTED = (
    *(kind.form for kind in _KINDS if kind.also_in is None),
    Form(r"爆显存|显存(?:不足|溢出|爆|不够|耗尽)|显存OOM"),
    Form(
        r"\b(?:pods?|containers?)\b(?:(?!\b(?:node|system|host|machine)\b)[^\n.;,]){0,40}?"
        r"\b(?:will OOM\b|OOM(?:ed|'d|'ed|s|[- ]?[Kk]illed)|oom(?:ed|[- ]?killed))\b"
    ),
    Form(_TOO_LITTLE, re.IGNORECASE),
    Form(_GROWS, re.IGNORECASE),
)
"""What is quoted, and nothing concluded from it."""
_LONGEST, _SHORTENED = 1_500, 320


def complained(text: str, printed: str) -> Message | None:
    """Return what a person complains of; None where no sentence does. `printed` is the text with all its mentions."""
    if not (tells(printed) or _TELLS.search(printed)):
        return None
    for kind in _KINDS:
        if (said := next(filter(lambda said: _is_certain(kind, said), _sentences(kind.form, text)), None)) is not None:
            statement = f"The text says, without a log of it, that {kind.what}: “{shortened(said, _SHORTENED)}”"
            return Message(kind.cause, statement, lacks=kind.lacks, is_told=True)
    for form in _QUOTED:
        found = list(_sentences(form, text))
        if found:
            quote = shortened(min(found, key=lambda said: not _OWN.search(said)), _SHORTENED)
            return Message("unknown", f"The text says of memory: “{quote}”", lacks="quoted", is_told=True)
    return None


def _is_certain(kind: _Kind, said: str) -> bool:
    """Whether somebody says of what is theirs that it happened, and nothing in the sentence makes it uncertain."""
    if _UNSURE.search(said) or (kind.also_in is not None and not kind.also_in.search(said)):
        return False
    return any(kind.form.search(part) and _OWN_PAST.search(part) for part in _CLAUSE.split(said))


def _sentences(form: Form, text: str) -> Iterator[str]:
    """Yield the sentences that tell of something that happened."""
    if not form.search(text):
        return
    for said in SENTENCE.split(text):
        if len(said) > _LONGEST or is_code(said) or is_advice(said) or is_question(said) or _is_comment(said):
            continue
        if NO_TROUBLE.search(said) or _ASKS.search(said) or (_IN_GENERAL.match(said) and not _OWN.search(said)):
            continue
        left = without_denials(said)
        found = form.search(left)
        if found and _happened(left, found):
            yield said


def _is_comment(said: str) -> bool:
    return said.lstrip().startswith("# ")


def _happened(said: str, found: re.Match[str]) -> bool:
    before = said[: found.start()]
    if _DOUBTS.search(said) or _NOT_SO.search(re.split(r"[;:] |, (?:but|and|so|then) ", before)[-1]):
        return False
    return not _NOT_INSIDE.search(found[0])
