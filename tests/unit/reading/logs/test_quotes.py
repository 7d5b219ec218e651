# ruff: noqa: E501 (messages are as long as they are)
"""What no pattern reads is quoted: no figure of it is lost in any layout, and nothing is concluded from it."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.reading.logs.messages import parse
from raymemprof.reading.logs.quotes import quotes
from raymemprof.reading.logs.text.layouts import as_printed
from tests.texts.message_texts import TEXTS
from tests.unit.reading.logs.test_layouts import LAYOUTS

UNKNOWN = {
    "a database": (
        "FooDB engine[w7]: error: memory budget exhausted, 37.5 GiB of 40 GiB in use by query 4123",
        ("37.5 GiB", "40 GiB", "4123"),
    ),
    "a runtime": (
        "zigrt: fatal: out of memory: arena 9 wanted 6291456 bytes\nzigrt: arena 9 has 1073741824 bytes",
        ("6291456 bytes",),
    ),
    "a scheduler": (
        "acmesched: ERROR node n17 drained: resident set 61.3 GB exceeded the memory quota of 60 GB for tenant blue",
        ("61.3 GB", "60 GB", "n17"),
    ),
    "figures without a unit": (
        "guard: ERROR task 77 killed, memory too high\nguard: task 77 had RSS: 8633852, maxRSS: 6041600",
        ("8633852", "6041600"),
    ),
    "somebody's words": (
        "We ran it on two machines, and then the driver got OOM killed at 29.10GB / 30.59GB while its RSS was about 9.31 GB.",
        ("29.10GB", "30.59GB", "9.31 GB"),
    ),
}
"""Texts of programs that nobody wrote, with what of them has to stand in the answer."""


@pytest.mark.parametrize("name", UNKNOWN)
def test_no_figure_of_unknown_words_is_lost_in_any_layout(name: str, tmp_path: Path) -> None:
    text, figures = UNKNOWN[name]
    lost = []
    for layout, lay_out in LAYOUTS.items():
        found = explain(lay_out(text), tmp_path)
        if found.victims or found.used or found.limit or found.cause not in ("unknown", "kernel_oom", "warning"):
            lost.append(f"{layout}: {found.cause} {found.victims}")
        lost += [f"{layout}: {figure}" for figure in figures if figure not in " ".join(found.summary.split())]
    assert not lost, "\n".join(lost)


def test_nothing_is_concluded(tmp_path: Path) -> None:
    found = explain(UNKNOWN["a scheduler"][0], tmp_path)
    assert found.cause == "unknown"
    assert "so this only quotes what it says of memory" in found.summary.splitlines()[0]
    assert found.advice[0].startswith("See what the quoted lines name")


@pytest.mark.parametrize("name", TEXTS)
def test_quotes_are_the_text_s_own_words(name: str) -> None:
    """Whatever somebody did to the text: letters that are gone are gone from the quote too."""
    choice = random.Random(name)
    for _ in range(3):
        text = list(TEXTS[name].text)
        for _ in range(choice.randrange(6)):
            at = choice.randrange(len(text))
            text[at : at + choice.randrange(4)] = choice.choice(["", "\n", "9", "memory "])
        printed = [as_printed("".join(text))]
        printed.append(as_printed("\n".join(reversed("".join(text).splitlines()))))
        words = [re.sub(r"[\s*#>`~|│•-]+", " ", re.sub(r"[\u2580-\u259f]{2,}\s*\|?", "", one)) for one in printed]
        for quote in parse("".join(text)).quotes:
            said = re.sub(r"[\s*#>`~|│•-]+", " ", quote.words.removeprefix("… ").removesuffix(" …")).strip()
            assert any(said in one for one in words), said


def test_what_is_said_is_not_said_again(tmp_path: Path) -> None:
    for name in ("ray 2.60", "ray 2.2", "kernel"):
        if name in TEXTS:
            assert "The text also says" not in explain(TEXTS[name].text, tmp_path).summary


def test_what_is_beside_a_known_message_is_quoted(tmp_path: Path) -> None:
    text = "#SBATCH --mem=64Gb\nslurmstepd: error: Detected 1 oom_kill event in StepId=113.0."
    found = explain(text, tmp_path)
    assert found.cause == "slurm_limit"
    assert "The text also says: “SBATCH --mem=64Gb”" in found.summary


def test_lines_that_differ_in_figures_only_are_one(tmp_path: Path) -> None:
    """Which of them a reader wants is not known; where one is understood, so are the others."""
    lines = [f"tool: ERROR heap exhausted in shard {n}: {n}.5 GiB" + " of it" * n for n in range(2, 9)]
    found = explain("\n".join(lines), tmp_path)
    assert found.summary.count("heap exhausted") == 1
    assert "8.5 GiB" in found.summary
    known = "slurmstepd: error: Detected 1 oom_kill event in StepId=113.0."
    assert "GiB" not in explain("\n".join([known, *lines]), tmp_path).summary


@pytest.mark.parametrize(
    "text",
    [
        "Set --memory 8g so that the container does not run out of memory.",
        "The OOM killer ends processes when the machine is out of memory. Swap of 4 GiB helps.",
        "resources:\n  limits:\n    memory: 8Gi\n  requests:\n    memory: 4Gi",
        "0.00/326.351 GiB memory\n0.01/143.856 GiB object_store_memory",
        "Allowing the Plasma store to use up to 108.145GB of memory.",
        "We had CUDA out of memory errors last week.",
        "if rss > 40 * GiB: raise OutOfMemory('heap of 40 GiB exhausted')",
        "Kernel OOM: none on any rank; weights take 88.73 GiB of memory",
        "How do I find out whether my job ran out of memory with 16 GB?",
    ],
)
def test_what_reports_nothing_is_not_quoted(text: str, tmp_path: Path) -> None:
    assert explain(text, tmp_path).summary == "I do not recognise this as a message about memory."


def test_a_title_is_what_happened(tmp_path: Path) -> None:
    found = explain("# Training ends with out of memory\n\nSee the screenshot.", tmp_path)
    assert "“Training ends with out of memory”" in found.summary
    assert found.cause == "unknown"


def test_who_ended_by_words_that_are_not_known(tmp_path: Path) -> None:
    found = explain("LOG:  server process (PID 315) was terminated by signal 9: Killed", tmp_path)
    assert found.cause == "sigkill"
    assert "server process (PID 315) was terminated by signal 9" in found.summary


def test_a_person_s_reason_beside_a_signal(tmp_path: Path) -> None:
    """ "The text does not say whether memory was the reason" would be false."""
    found = explain("Exit Code:    137\nI think it is terminated because the pod ran out of memory.", tmp_path)
    assert found.cause == "sigkill"
    assert "no log here shows whether memory was the reason" in found.summary
    assert "ran out of memory" in found.summary
    guess = "There are some potential root causes. (1) The process is killed by SIGKILL by OOM killer due to high memory usage."
    assert "The text also says" not in explain(f"Exit Code:    137\n{guess}", tmp_path).summary


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("--password hunter2", "--password …"),
        ("--api-key=sk-live-123456", "--api-key=…"),
        ("HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz", "HF_TOKEN=…"),
        ("postgres://joe:hunter2@example.com/a", "postgres://…@example.com/a"),
        ("joe@example.com", "…@…"),
        ("Bearer abcdef123456", "Bearer …"),
        ("max_tokens: 4096", "max_tokens: 4096"),
        ("--max-num-batched-tokens 8192", "--max-num-batched-tokens 8192"),
    ],
)
def test_no_secret_is_repeated(secret: str, shown: str, tmp_path: Path) -> None:
    said = f"We ran it with {secret} here, and our worker ran out of memory."
    assert explain(said, tmp_path).summary == f"The text says of memory: “{said.replace(secret, shown)}”"


FILLED = (
    "The memory of the host was not enough for it, and the second run was worse than that: it had 61.5\n"
    "GiB when it was last seen, which is more than what the machine has left for all of its services."
)


def test_a_sentence_that_an_editor_broke_is_quoted_whole() -> None:
    whole = [quote.words for quote in quotes(FILLED)]
    assert " ".join(FILLED.split()) in whole


@pytest.mark.parametrize(
    "second",
    [
        "- rss of the server was 12.5 GiB at that time, which is what it always has when it is idle.",
        "server: rss is 12.5 GiB now, which is more than the quota of the tenant, who asked for 8 GiB.",
        "Total resident memory of it: 12.5 GiB, which is what the server always has when it is idle.",
        "| rss of the server | 12.5 GiB | 11.5 GiB | 10.5 GiB | 9.5 GiB | 8.5 GiB | 7.5 GiB | 6.5 GiB |",
    ],
)
def test_items_rows_and_lines_of_programs_stay_apart(second: str) -> None:
    first = "the memory of the worker was 31.5 GiB when it was last seen and it grew all the time since"
    assert first in [quote.words for quote in quotes(f"{first}\n{second}")]
