"""Puts advice last that a person says has been tried in vain, and says so.

Only what somebody says they did counts: in the past, or with "even", and with no word that denies it, or says that it
helped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ...reading.logs.patterns import Form
from ...reading.logs.sentences import LONG, SENTENCE, is_advice, is_code, is_question, shortened

__all__ = ["tried_last"]

_CLAUSE = re.compile(r",\s(?=(?:how|what|why|is there|any)\b)")
_DID = Form(
    r"\b(?:I|[Ww]e|i)(?:['’]ve| have| had| (?:also|already|even|then|just))* "
    r"(?:tried|(?!need)\w{2,12}ed|set|put|cut|gave|ran|made)\b|"
    r"\b(?:[Tt]ried|[Tt]rying|[Aa]lready (?:tried|\w{3,12}ed|set)|[Ee]ven (?:with|after|when|if|though)|[Nn]o matter|"
    r"[Rr]egardless|[Dd]espite)\b"
)
"""Words of a sentence that tells what somebody did."""
_NOT_DONE = re.compile(
    r"\b(?:not|never|no|nor|cannot|must|have to|has to|need to|should|would|could|can|will|may|might|shall|want\w{0,3}|"
    r"going to|plan\w{0,4}|before|expect\w{0,3}|please|recommend\w{0,3}|suggest\w{0,3}|said|says|docs?|documentation|"
    r"told|asked|thought|if (?!i\b|we\b))\b|n['’]t\b",
    re.IGNORECASE,
)
"""Words before or behind what was done with which it was not done."""
_IN_VAIN = re.compile(
    r"[,;:.]?\s{0,2}(?:but |and |yet |still )*(?:\b(?:it|this|that|which|the \w{1,20}|I|we) )?"
    r"(?:(?:does|did|do)(?: not|n['’]t) (?:help|work|fix|solve|change|make)|still\b|to no avail|"
    r"no (?:effect|luck|change|difference)|"
    r"without (?:success|effect)|in vain|not helpful|n['’]t help)",
    re.IGNORECASE,
)
"""What says, with a "not" of its own, that it made no difference."""
_HELPED = re.compile(
    r"\b(?:(?:it|this|that|which|now|everything) (?:\w{1,8} )?"
    r"(?:works|worked|helps|helped|fixed|fixes|solved|solves|runs)|"
    r"works now|(?:fixed|solved|resolved|helped)\b)",
    re.IGNORECASE,
)
_MORE = r"(?:increas|rais|bump|doubl|enlarg|expand)(?:ed|ing)\b"
_LESS = r"(?:(?:reduc|decreas|halv)(?:ed|ing)|lower(?:ed|ing)|shr[au]nk|smaller)\b"
_TOPICS = (
    (
        rf"\b{_MORE}[^\n.;,]{{0,50}}?\bmem(?:ory)?\b(?! ?(?:usage|used|use|consum|foot|leak|press|fraction|util))|"
        r"\b(?:gave|given|giving) (?:[\w'-]{1,12} ){0,4}more (?:memory|ram)\b",
        r"Raise the container's memory limit|give the node(?:, or its container or pod [^,]{0,60},)? more "
        r"memory|`?--mem\b",
    ),
    (
        rf"\b{_LESS}[^\n.;,]{{0,40}}?\b(?:batch\w{{0,8}}|its size|chunk\w{{0,5}}|block\w{{0,5}}|resolution)\b|"
        r"\bbatch[_ ]?size\b[^\n.;\w]{0,4}(?:to|of|=|is)? ?1\b",
        r"batch|Make the allocation that failed smaller",
    ),
    (
        rf"\bnum_workers ?(?:=|to|:) ?[01]\b|\b{_LESS}[^\n.;,]{{0,40}}?\b(?:workers|concurrency|parallelism|"
        rf"processes)\b|\bfewer (?:workers|tasks|actors|processes)\b",
        r"num_workers|[Rr]un fewer|concurrency=",
    ),
    (rf"\bshm[-_ ]size\b[^\n.;,]{{0,30}}?\d|\b{_MORE}[^\n.;,]{{0,30}}?\bshm\b", r"--shm-size|larger /dev/shm"),
    (
        r"\b(?:RAY_memory_usage_threshold|RAY_memory_monitor_refresh_ms)\b[^\n.;,]{0,20}?\d",
        r"RAY_memory_usage_threshold moves",
    ),
    (
        r"\bgpu[-_]memory[-_]utilization\b[^\n.;,]{0,30}?0\.\d|\bmem[-_]fraction[-_]static\b[^\n.;,]{0,30}?0\.\d",
        r"gpu_memory_utilization|mem-fraction-static",
    ),
    (r"\bexpandable_segments\b", r"expandable_segments"),
    (
        rf"\b{_MORE}[^\n.;,]{{0,30}}?\bobject[ _-]store\b|\bobject_store_memory\b[^\n.;,]{{0,20}}?\d",
        r"object-store-memory|object_store_memory",
    ),
    (r"\bgc\.collect\b|\bempty_cache\b", r"empty_cache|gc\.collect"),
)
_FORMS = tuple((Form(said, re.IGNORECASE), re.compile(advice)) for said, advice in _TOPICS)
_SHORTENED = 200


def tried_last(advice: Iterable[str], text: str) -> tuple[str, ...]:
    """Return the advice with what a text says was tried at its end, each with the sentence that says so."""
    advice = list(advice)
    if len(text) >= LONG or not _DID.search(text):
        return tuple(advice)
    tried = list(_tried(text))
    first, last = [], []
    for one in advice:
        said = next((said for said, topic in tried if topic.search(one)), None)
        if said is None:
            first.append(one)
        else:
            last.append(f"{one} (The text says of this: “{said}”)")
    return (*first, *last)


def _tried(text: str) -> Iterator[tuple[str, re.Pattern[str]]]:
    sentences = [said for part in SENTENCE.split(text) for said in _CLAUSE.split(part)]
    for form, advice in _FORMS:
        if not form.search(text):
            continue
        for at, said in enumerate(sentences):
            follows = sentences[at + 1] if at + 1 < len(sentences) else ""
            if form.search(said) and _was_done(said) and not _HELPED.search(follows):
                yield shortened(said, _SHORTENED), advice
                break


def _was_done(said: str) -> bool:
    """Whether a sentence says that something was done, and not that it helped."""
    if not _DID.search(said) or is_question(said) or is_code(said) or is_advice(said) or _HELPED.search(said):
        return False
    return not _NOT_DONE.search(_IN_VAIN.sub(" ", said))
