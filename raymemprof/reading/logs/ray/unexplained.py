"""Ends that nobody explains, and limits that are not of memory but look like it."""

from __future__ import annotations

import re

from ..kinds import Kind
from ..patterns import COUNT, Form, pattern

__all__ = ["LOST_EXECUTOR", "OF_WHICH", "UNEXPLAINED"]

_WHY = "the text does not say why"
_KILLING = rf"(?<![a-z,][ ])\b[Kk]illing (?P<what>process|pid|worker|actor)\b:? (?:with pid )?(?P<ended>{COUNT})"
_OF_MEMORY = Form(r"memory|\bOOM|\b[Rr][Ss][Ss]\b|\bRAM\b|\bswap|\b[kKMGT]i?B\b", re.IGNORECASE)

OF_WHICH = (
    Kind(
        "unknown",
        Form(r"\bRayTaskError\(OutOfMemoryError\)"),
        "A task raised an OutOfMemoryError: PyTorch's, of a GPU's memory, or Ray's. The text does not have its "
        "message, which says which.",
    ),
    Kind(
        "unknown",
        Form(
            r"\bRayTaskError\(ResourceExhaustedError\)|"
            r"^[ \t]{0,40}(?:tensorflow\.[\w.]{1,80}\.)ResourceExhaustedError:",
            re.MULTILINE,
        ),
        "A ResourceExhaustedError was raised, as by TensorFlow where the memory of a GPU, or of the node, does not "
        "suffice. The text does not have the part of its message that says which.",
    ),
)
"""Errors that tell of memory, but not of whose."""
LOST_EXECUTOR = Kind(
    "unknown",
    pattern(
        r"\bLost executor (?P<executor>\w{1,10}) on (?P<host>[\w.-]{1,200}): (?P<why>[^\n`]{1,150}?)"
        r"(?=[\n`]|$|\.(?:\s|$))|"
        r"(?:\(TID \d{1,12}, (?P<host_1>[\w.-]{1,200}), executor \w{1,10}\): )?ExecutorLostFailure "
        r"\(executor (?P<executor_1>\w{1,10}) exited caused by one of the running tasks\) Reason: "
        r"(?P<why_1>[^\n`]{1,150}?)(?=[\n`]|$|\.(?:\s|$))"
    ),
    "Spark lost its executor {executor}[ on {host}] ({why}); the text does not say whether memory was the reason.",
    lacks="executor",
)
UNEXPLAINED = (
    Kind(
        "unknown",
        pattern(
            r"\[Errno 24\] Too many open files|: Too many open files \(24\)|: Too many open files ?$|"
            r"\bToo many open files (?:\[system:24\]|\((?:os error |errno ?[:=]? ?)24\))",
            re.MULTILINE,
        ),
        "A process had as many files and sockets open as it may have (Too many open files): that is a limit of "
        "descriptors, not of memory.",
        lacks="descriptors",
    ),
    Kind(
        "unknown",
        pattern(r"\bRuntimeError: received \d{1,6} items of ancdata"),
        "A process could not receive what another sent it with a file's descriptor, as where it has as many open as it "
        "may have: that is a limit of descriptors, not of memory.",
        lacks="descriptors",
    ),
    Kind(
        "unknown",
        pattern(rf"\bDataLoader worker \(pid\(s\) (?P<pids>{COUNT}(?:, {COUNT}){{0,99}})\) exited unexpectedly"),
        f"Workers of PyTorch's DataLoader (pids {{pids}}) ended; {_WHY}.",
        lacks="an end",
    ),
    Kind(
        "unknown",
        pattern(
            r"\bBrokenProcessPool: A (?:child )?process (?:in the process pool was )?terminated abruptly|"
            r"\bTerminatedWorkerError: A worker process managed by the executor was unexpectedly terminated"
            r"(?![^\0]{0,600}?exit codes of the workers are)"
        ),
        f"A process of a pool ended abruptly; {_WHY}.",
        lacks="an end",
    ),
    LOST_EXECUTOR,
    Kind(
        "unknown",
        pattern(r"\bLost connection with local raylet\. Error: (?P<error>[^\n]{1,80})"),
        "A process of Ray lost its connection to the raylet of its node ({error}), as where that ended, which ends the "
        f"node; {_WHY}: `raylet.out` of that node may.",
        lacks="an end",
    ),
    Kind(
        "unknown",
        pattern(rf"{_KILLING}(?P<why> for [^\n]{{1,60}})(?=\n|$)"),
        "A program says that it kills {what} {ended} itself {why}.",
        lacks="an end",
        not_beside=_OF_MEMORY,
    ),
    Kind(
        "unknown",
        pattern(rf"{_KILLING}(?=[.!]?[ \t]{{0,9}}(?:\n|$))"),
        "A program says that it kills {what} {ended} itself; that line does not say why.",
        lacks="an end",
        not_beside=_OF_MEMORY,
    ),
    Kind(
        "unknown",
        Form(rf"^[ \t]{{0,40}}(?P<line>[^\n]{{0,100}}?{_KILLING}[^\n]{{0,100}})$", re.MULTILINE),
        "The text says: “{line}”.",
        lacks="an end",
    ),
    Kind(
        "unknown",
        pattern(rf"\bKilling subprocess (?P<ended>{COUNT})"),
        f"DeepSpeed's launcher ended its subprocess {{ended}}, as it does where one of them failed; {_WHY}.",
        lacks="an end",
    ),
    Kind(
        "unknown",
        pattern(r"\b[Ee]ngine core proc(?:ess)? (?P<process>\w{1,60}) died unexpectedly"),
        f"vLLM's process {{process}} ended; {_WHY}.",
        lacks="an end",
    ),
)
"""What is told only where nothing else in the text says what happened."""
