"""Puts advice last that a person says has been tried, and says so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ...reading.logs.patterns import Form

__all__ = ["tried_last"]

_LONG = 50_000
"""Characters from which on a text is a log, in which nobody tells what was tried."""
_SENTENCE = re.compile(r"(?<=[.!?])\s{1,9}(?=[\"'`*(]?[A-Z])|\n|,\s(?=(?:how|what|why|is there|any)\b)")
_TELLS = Form(
    r"\b(?:I|[Ww]e|i|tried|trying|already|even (?:with|after|when|if|though)|still|did(?:n't| not)|does(?:n't| "
    r"not)|no effect|"
    r"regardless|no matter|despite)\b"
)
"""Words of a sentence that tells what somebody did."""
_ASKS = re.compile(
    r"\?\W{0,3}$|\bexpect\w{0,3}\b|\bwould\b|\b(?:should|could|would|can) (?:I|we|you)\b|\b(?:please|"
    r"recommend\w{0,3}|suggest\w{0,3})\b",
    re.IGNORECASE,
)
_MORE = r"(?:increas|rais|bump|doubl|enlarg|expand)(?:e|es|ed|ing)?d?\b"
_LESS = r"(?:(?:reduc|decreas|halv)(?:e|es|ed|ing)|lower(?:ed|ing)?|shr[aiu]nk|smaller)\b"
_TOPICS = (
    (
        rf"\b{_MORE}[^\n.;,]{{0,50}}?\bmem(?:ory)?\b(?! ?(?:usage|used|use|consum|foot|leak|press))|\bmore "
        rf"(?:memory|ram)\b|"
        r"\blimits?\b[^\n.;,]{0,30}?(?:→|->|\bto\b)[^\n.;,]{0,20}?\d ?G",
        r"Raise the container's memory limit|give the node(?:, or its container or pod [^,]{0,60},)? more "
        r"memory|`?--mem\b",
    ),
    (
        rf"\b{_LESS}[^\n.;,]{{0,40}}?\b(?:batch\w{{0,8}}|its size|sizes?|chunk\w{{0,5}}|block\w{{0,5}}|resolution)\b|"
        r"\bbatch[_ ]?size\b[^\n.;\w]{0,4}(?:to|of|=|is)? ?1\b",
        r"batch|Make the allocation that failed smaller",
    ),
    (
        rf"\bnum_workers ?(?:=|to|:) ?[01]\b|\b{_LESS}[^\n.;,]{{0,40}}?\b(?:workers?|concurrency|parallelism|"
        rf"processes)\b|"
        r"\bfewer (?:workers|tasks|actors|processes)\b",
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
    if len(text) >= _LONG or not _TELLS.search(text):
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
    for form, advice in _FORMS:
        if not form.search(text):
            continue
        for said in _SENTENCE.split(text):
            if form.search(said) and _TELLS.search(said) and not _ASKS.search(said):
                words = " ".join(said.strip(" \t│|*#>-•~").split())
                yield (words if len(words) <= _SHORTENED else f"{words[:_SHORTENED].rpartition(' ')[0]} …"), advice
                break
