"""Reading a text takes work in proportion to its length, whatever stands in it."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator

import pytest

from raymemprof.reading import logs
from raymemprof.reading.logs.kinds import Kind
from raymemprof.reading.logs.messages import parse
from raymemprof.reading.logs.patterns import Form
from raymemprof.reading.logs.required_words import Words, needs_of
from tests.texts.long_texts import LONG_TEXTS
from tests.texts.message_texts import TEXTS


def _forms() -> Iterator[Form]:
    for _, name, _ in pkgutil.walk_packages(logs.__path__, f"{logs.__name__}."):
        for value in vars(importlib.import_module(name)).values():
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, (Form, Kind)):
                    yield one.form if isinstance(one, Kind) else one


NEEDS = {form.regex: needs_of(form.regex) for form in _forms()}


def test_what_is_passed_over_matches_nothing() -> None:
    """A pattern is looked for only where all words stand that it needs."""
    assert len(NEEDS) > 300
    texts = [known.text for known in TEXTS.values()] + ["", "nothing of memory"]
    passed_over = 0
    for text in texts:
        words = Words(text)
        for regex, needs in NEEDS.items():
            if not words.meet(needs):
                passed_over += 1
                assert not regex.search(text), (regex.pattern, text)
    assert passed_over > 0.9 * len(NEEDS) * len(texts)


@pytest.mark.parametrize(
    ("form", "fits", "fits_not"),
    [
        ("a(?:bcd|efg)+h?|longer", ["xaefg", "a longer one"], ["a", "bcd", "aeffg", "long er"]),
        ("[ab]c?", ["", "x"], []),
        ("(?i:WORD) [Oo]ther", ["Word\nother"], ["Words"]),
        (r"pid=(?P<pid>\d{1,9}): (?!\d)end", ["pid=17: end", "pid=٣: end"], ["pid=: end", "pid= 17: end", "17: end"]),
        (r"x\d{3}y|z{2,5}\b!", ["x123y", "zz!"], ["x12y", "z!"]),
        (r"\bthe\s{0,9}Kill(?=ed)", ["THE KILLER"], ["the ill", "then"]),
        ("(?:never|)always?", ["alway"], ["never"]),
    ],
)
def test_words_that_a_pattern_needs(form: str, fits: list[str], fits_not: list[str]) -> None:
    needs = needs_of(re.compile(form))
    assert [text for text in fits if not Words(text).meet(needs)] == []
    assert [text for text in fits_not if Words(text).meet(needs)] == []


def _work(text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """How many functions are called to read a text, and how many characters patterns look at."""
    calls, characters = 0, 0
    may_match = Form.may_match

    def counted(form: Form, searched: str) -> bool:
        nonlocal characters
        found = may_match(form, searched)
        characters += len(searched) if found else 0
        return found

    def called(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    with monkeypatch.context() as patch:
        patch.setattr(Form, "may_match", counted)
        sys.setprofile(called)
        try:
            parse(text)
        finally:
            sys.setprofile(None)
    return calls, characters


@pytest.mark.parametrize("kind", LONG_TEXTS)
def test_twice_as_long_is_twice_the_work(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the length from which a text is taken for a log; below, more is looked at."""
    length = 60_000
    parse(LONG_TEXTS[kind](length))  # what patterns need is found out once
    calls, characters = _work(LONG_TEXTS[kind](length), monkeypatch)
    more_calls, more_characters = _work(LONG_TEXTS[kind](2 * length), monkeypatch)
    assert more_calls < 2.3 * calls + 1000
    assert more_characters < 2.3 * characters + 2 * length
