"""What Heroku, AWS Lambda, App Engine, Cloud Functions, SageMaker, Glue and Azure say of memory that ran out."""

from __future__ import annotations

from ..kinds import Kind
from ..patterns import SIZE, pattern
from .launchers import WHY_UNKNOWN

__all__ = ["HOSTED", "HOSTED_KILLS", "HOSTED_WARNINGS"]

_DYNO = r"(?:heroku\[(?P<dyno>[\w.]{1,40})\]: )?"
_MEMORY = r"(?:Process running mem=(?P<used>\d{1,9}M)\(\d{1,5}(?:\.\d{1,3})?%\)[^\0]{0,400}?)?"
HOSTED = (
    Kind(
        "container_limit",
        pattern(rf"{_MEMORY}{_DYNO}Error R15 \(Memory quota vastly exceeded\)"),
        "Heroku ended a dyno[, {dyno}], because it used far more than its memory quota (R15)[: {used}].",
        lacks="heroku",
        is_binary=True,
    ),
    Kind(
        "container_limit",
        pattern(
            r"\bRuntime\.OutOfMemory\b(?:[^\0]{0,600}?Memory Size: (?P<limit>\d{1,9} MB)\s{1,20}Max Memory Used: "
            r"(?P<used>\d{1,9} MB))?"
        ),
        "AWS Lambda ended a function's process, because it used all memory that the function has[: {used} of {limit}].",
        lacks="lambda",
        is_binary=True,
    ),
    Kind(
        "container_limit",
        pattern(
            rf"\bExceeded (?P<kind>soft|hard) (?:private )?memory limit of (?P<limit>{SIZE}) with (?P<used>{SIZE})"
        ),
        "Google App Engine ended an instance, because it reached its {kind} memory limit: {used} of {limit}.",
        lacks="google cloud",
        is_binary=True,
    ),
    Kind(
        "container_limit",
        pattern(
            r"\bError: memory limit exceeded\. Function (?:killed|invocation)|\bFunction invocation was interrupted\. "
            r"Error: memory "
            r"limit exceeded|\bcontainer instance was found to be using too much memory and was terminated"
        ),
        "Google Cloud ended a container or a function, because it reached its memory limit.",
        lacks="google cloud",
    ),
    Kind(
        "container_limit",
        pattern(r"\bCommand [Ff]ailed due to [Oo]ut of [Mm]emory\b"),
        "AWS Glue says that a job failed, because its driver or an executor ran out of memory.",
        lacks="executor",
    ),
)
"""Ends at a limit of memory, as the host says."""
HOSTED_KILLS = (
    Kind(
        "sigkill",
        pattern(
            r"\bRuntime exited with error: signal: killed\b(?:[^\0]{0,600}?Memory Size: (?P<most>\d{1,9} "
            r"MB)\s{1,20}Max Memory "
            r"Used: (?P<is>\d{1,9} MB))?"
        ),
        "A process of AWS Lambda's was killed by SIGKILL, as where a function uses all memory that it has[: it used "
        f"{{is}} of {{most}} at most]; {WHY_UNKNOWN}.",
        lacks="lambda",
    ),
    Kind(
        "sigkill",
        pattern(
            r"\bUserProcessKilledBySystemSignal\b|\buser script received system termination signal usually due to "
            r"out-of-memory or segfault"
        ),
        "Azure Machine Learning says that a job's process was ended by a signal; that memory was the reason is at most "
        "its guess.",
    ),
)
HOSTED_WARNINGS = (
    Kind(
        "warning",
        pattern(rf"{_MEMORY}{_DYNO}Error R14 \(Memory quota exceeded\)"),
        "A warning of Heroku: a dyno[, {dyno},] uses more than its memory quota[: {used}], and swaps (R14). The text "
        "does not say that anything was ended.",
        lacks="heroku",
        is_binary=True,
    ),
)
