"""What a text or a log does not say gets into no sentence: not as "None", as "0 B", as a blank or as empty brackets."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from raymemprof import explain
from raymemprof.diagnosis.explain.advice import advise_on
from raymemprof.diagnosis.explain.explain import _summary
from raymemprof.diagnosis.explain.findings import Finding, Suspect
from raymemprof.diagnosis.explain.named import also_named
from raymemprof.diagnosis.explain.quoted import unsaid
from raymemprof.reading.logs.facts import Message, Victim
from raymemprof.reading.logs.messages import parse
from tests.paths import DATA
from tests.texts.message_texts import TEXTS

EMPTY = re.compile(
    r"\bNone\b|\bnan\b|\binf\b|\b0 B of 0|\bused 0 B\b|\bpid 0\b|\(pid\)|"
    r"  | [.,;:](?![\w/])|(?<!\w)\(\)|``|“”|,,|\(of \)|"
    r"(?<!\.)\.\.(?![./])|\bnode \.|^\s|\s$|^$"
)
ALL = {name: known.text for name, known in TEXTS.items()}
ALL |= {str(path.relative_to(DATA)): path.read_text() for path in sorted(DATA.glob("*/*.txt"))}
WITH_WORDS = (
    "ray_memory_monitor",
    "kernel_oom",
    "sigkill",
    "crash",
    "exit",
    "ray_kill",
    "node_died",
    "preempted",
    "unknown",
)
"""Causes that have words of their own: a message of another cause has a statement."""
TOKEN = re.compile(r"[A-Za-z_][\w.:-]*|\d[\d.]*\w*")


def lacking(record: Any) -> Iterator[Any]:
    """A record without each of its optional fields, and without each of those of the records in it."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if value is None or isinstance(value, bool) or field.name == "cause":
            continue
        if field.name == "statement" and record.cause not in WITH_WORDS:
            continue
        nothing = {str: [""] * (field.name != "statement"), int: [0], tuple: [()]}.get(type(value), [])
        for instead in [None, *nothing] if "None" in str(field.type) else nothing:
            yield dataclasses.replace(record, **{field.name: instead})
        if isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            for one in lacking(value[0]):
                yield dataclasses.replace(record, **{field.name: (one, *value[1:])})


def said(finding: Finding) -> list[str]:
    summary, _ = unsaid(finding.message, list(_summary(finding)))
    named = also_named(finding.message, summary)
    return [*summary, *([named] if named else []), *advise_on(finding)]


@pytest.mark.parametrize("name", ALL)
def test_no_sentence_has_what_is_missing(name: str) -> None:
    whole, choice = parse(ALL[name]), random.Random(name)
    messages = [whole, *lacking(whole)]
    for _ in range(10):
        message = whole
        for _ in range(choice.randint(2, 5)):
            message = choice.choice([message, *lacking(message)])
        messages.append(message)
    for message in messages:
        for words in said(Finding(message)):
            assert not EMPTY.search(words.replace(" ./", " /")), (words, message)


@pytest.mark.parametrize("cause", WITH_WORDS)
def test_nothing_is_known(cause: str) -> None:
    nobody = Victim(None, None, None, None, None, None)
    when = datetime(2026, 1, 1, tzinfo=timezone.utc)
    for victims in ((), (nobody,), (nobody, nobody), (Victim("", "", "", "", 0, 0),)):
        message = Message(cause, victims=victims, killed=0, retries=0, nodes=0)
        for finding in (
            Finding(message),
            Finding(message, tells_of_death=False),
            Finding(message, fitting=2, suspects=(Suspect(nobody, cause, None, when),)),
            Finding(message, fitting=1, suspects=(Suspect(nobody, "exit", "", when),), kernel_kills=0, said=""),
        ):
            assert not [words for words in said(finding) if EMPTY.search(words)]


@pytest.mark.parametrize("name", list(ALL)[::4])
def test_words_that_a_text_lacks(name: str, tmp_path: Path) -> None:
    """Of what is explained, a few words are left out, or are 0 instead."""
    choice = random.Random(name)
    for _ in range(2 if len(ALL[name]) < 3000 else 1):
        text = ALL[name]
        for _ in range(choice.randint(1, 4)):
            start, end = choice.choice([found.span() for found in TOKEN.finditer(text)] or [(0, 0)])
            text = text[:start] + choice.choice(["", "", "0"]) + text[end:]
        found = explain(text, tmp_path)
        for words in [*found.summary.splitlines(), *found.advice]:
            is_quoted = "“" in words or words.startswith(("Ray says:", "Read:"))
            empty = None if is_quoted else EMPTY.search(words.replace(" ./", " /"))
            assert empty is None or empty[0] in text, (words, text)
