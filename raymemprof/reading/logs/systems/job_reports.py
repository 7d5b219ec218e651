"""What HTCondor says of jobs on hold, Grid Engine's `qacct` and Slurm's `sacct` of jobs that ended for memory."""

from __future__ import annotations

import itertools

from ....display.text import listed
from ..facts import Message
from ..patterns import pattern

__all__ = ["condor", "grid_engine", "sacct"]

_MOST, _MOST_NAMED = 1000, 3
_JOB = (
    r"(?:(?<![\d.])(?<!\d\d:)(?P<job>\d{1,9}\.\d{1,6}) [^\n]{0,80}?|"
    r"\((?P<job_1>\d{1,9}\.\d{1,6}(?:\.\d{1,6})?)\)[^\n]{0,80}?Job was held\.\s{0,9})?"
)
_HOLDS = (
    pattern(
        rf"{_JOB}Job in status \d{{1,2}} put on hold by SYSTEM_PERIODIC_HOLD due to memory usage (?P<used>\d{{1,15}})\b"
    ),
    pattern(
        rf"{_JOB}The (?:job attribute PeriodicHold|system macro SYSTEM_PERIODIC_HOLD|(?:job attribute |system macro )?"
        r"(?:SYSTEM_)?PERIODIC_(?:HOLD|REMOVE)(?:_\w{1,30})?|job attribute PeriodicRemove) expression '[^'\n]{0,600}?"
        r"(?:MemoryUsage|ResidentSetSize|ImageSize|RequestMemory)[^'\n]{0,600}' evaluated to TRUE"
    ),
    pattern(
        r"(?:(?<![\d.])(?<!\d\d:)(?P<job>\d{1,9}\.\d{1,6}) [^\n|]{0,80}?|"
        r"\b[Hh]old ?[Rr]eason[:=] ?\"?|\bJob was held\.\s{1,20})"
        r"(?:[Mm]emory usage exceeded (?:the )?(?:request_memory|requested memory|a memory limit)|"
        r"[Jj]ob (?:has )?exceeded (?:its )?(?:requested|request) memory)\b"
    ),
    pattern(r"\bHold ?Reason ?Code ?= ?34\b|\bJob was held\.[^\0]{0,300}?Code 34 Subcode \d{1,4}\b"),
)
"""How HTCondor says that it put a job on hold for its memory; hold reason 34 is that a job used too much."""


def condor(text: str) -> Message | None:
    """Return what HTCondor says of jobs that it put on hold, or removed, by a rule about their memory."""
    for form in _HOLDS:
        found = list(itertools.islice(form.finditer(text), _MOST))
        if not found:
            continue
        groups = [one.groupdict() for one in found]
        jobs = list(dict.fromkeys(filter(None, (one.get("job") or one.get("job_1") for one in groups))))
        used = list(dict.fromkeys(filter(None, (one.get("used") for one in groups))))
        what = f"the job{'s' * (len(jobs) > 1)} {_list(jobs)}" if jobs else "a job"
        said = f"HTCondor put {what} on hold, by a rule about memory"
        if used:
            said += f": memory usage {_list(used)}, in the unit that the rule has"
        return Message("batch_limit", f"{said}.", lacks="htcondor", is_named=bool(jobs))
    return None


_FAILED_37 = pattern(
    r"\bfailed(?: :)? ?37 ?: ?qmaster enforced h_rt, ?h_cpu,? or h_vmem limit|"
    r"\benforced h_vmem limit because\b|\bdied through signal (?:XCPU \(24\)|KILL \(9\))[^\0]{0,400}?\bh_vmem\b"
)
_FAILED_100 = pattern(r"\bfailed:? ?100 ?: ?assumedly after job\b")
_STATUS = pattern(r"\bexit_status:?[ \t]{0,30}(?P<code>137|140|152|158)\b")
_ASKED = pattern(r"\b(?P<what>[hs]_vmem|[hs]_rss|[hs]_data)=(?P<limit>\d{1,9}(?:\.\d{1,3})?[kKmMgGtT]?)\b")
_MOST_USED = pattern(r"\b(?:maxvmem|Max vmem)[ \t:=]{1,30}(?P<used>\d{1,12}(?:\.\d{1,4})?[kKmMgGtT]?B?)\b")
_NUMBER = pattern(
    r"\bjobnumber[ \t:]{1,20}(?P<job>\d{1,12})\b|\bJob (?P<job_1>\d{1,12}) \([^\n()]{1,200}\) Aborted\b|"
    r"\bjob (?P<job_2>\d{1,12}(?:\.\d{1,9})?) died through signal\b"
)


def grid_engine(text: str) -> Message | None:
    """Return what Grid Engine's accounting says of a job that it ended at a limit."""
    is_limit = _FAILED_37.search(text)
    asked, code = _ASKED.search(text), _STATUS.search(text)
    if is_limit is None and not (_FAILED_100.search(text) and asked and code):
        return None
    number, most = _NUMBER.search(text), _MOST_USED.search(text)
    which = f"the job {number['job'] or number['job_1'] or number['job_2']}" if number else "a job"
    if is_limit is not None:
        said = f"Grid Engine ended {which}, because it reached one of its limits (h_rt and h_cpu of time, h_vmem of "
        said += "virtual memory)"
    else:
        said = f"Grid Engine ended {which} by a signal{f' (exit status {code[1]})' if code else ''}, as at a limit"
    if asked:
        said += f"; its limit of memory was {asked['what']}={asked['limit']}"
    if most:
        said += f", and it had {most['used']} of virtual memory at most"
    return Message("batch_limit", f"{said}.", lacks="grid engine", is_named=number is not None)


_STATE = r"(?=[A-Za-z_])[^\n;]{0,200}?\bOUT_OF_ME(?:MORY|\+)"
_ROW = pattern(
    r"(?<![\w.,/-])(?P<job>(?:\d{3,12}|[\[<{][A-Za-z][\w-]{1,20}[\]>}])(?:[_.][\w+\[\]-]{1,20})?)(?:"
    rf"[ |\t`]{{1,20}}{_STATE}(?=[ |\t`]{{1,20}}\d{{1,3}}:\d{{1,3}}\b)|(?:\||[ \t]{{3,20}}){_STATE}(?=[\s|`]))"
)
"""A row of a table: a sentence may have a year and the name of the state. Who pastes it may replace the job's id."""
_LETTER = pattern(
    r"\bSlurm Job_id=(?P<job>\d{1,12}) Name=(?P<name_of>[^\n]{1,100}?) (?:Failed|Ended)[^\n]{0,80}?, OUT_OF_MEMORY\b"
)
_EARLIER = pattern(
    r"\b(?:[Ss]tep|[Jj]ob) (?P<job>[\d.]{1,30}) hit memory(?:\+swap)? limit at least once during execution|"
    r"\bExceeded (?:job|step|virtual) memory limit at some point"
)


def sacct(text: str) -> Message | None:
    """Return what Slurm's accounting, or its letter, says of a job that ran out of memory."""
    hit = _EARLIER.search(text)
    if hit is not None:
        which = f"the step {hit['job']} of a Slurm job" if hit["job"] else "a Slurm job"
        said = f"Slurm says that {which} reached its memory limit at some point, which need not have ended it."
        return Message("slurm_limit", said, is_named=hit["job"] is not None)
    jobs = list(dict.fromkeys(found["job"] for form in (_LETTER, _ROW) for found in form.finditer(text)))
    if not jobs:
        return None
    whole = [job for job in jobs if "." not in job]
    told = whole or jobs
    which = (
        f"The Slurm jobs {_list(told)} ran out of the memory that each may use"
        if len(told) > 1
        else (f"The Slurm job {told[0]} ran out of the memory that it may use")
    )
    return Message("slurm_limit", f"{which} (OUT_OF_MEMORY), and processes of it may have been killed.", is_named=True)


def _list(words: list[str]) -> str:
    named = words[:_MOST_NAMED] + ["others"] * (len(words) > _MOST_NAMED)
    return listed(named)
