"""What an operating system says where it has no memory, no thread and no process more to give."""

from __future__ import annotations

import re

from ..kinds import Kind
from ..patterns import pattern

__all__ = ["LIMITS", "PAGING_FILE"]

_PAGING_FILE = (
    r"[Tt]he paging file is too small for this operation to complete",
    "Die Auslagerungsdatei ist zu klein",
    "Le fichier de pagination est insuffisant",
    "El archivo de paginación es demasiado pequeño",
    "O arquivo de paginação é muito pequeno",
    "Il file di paging è troppo piccolo",
    "Plik stronicowania jest za mały",
    "Het wisselbestand is te klein",
    "[Dd]isk belleği dosyası çok küçük",
    "Файл подкачки слишком мал",
    "页面文件太小",
    "(?:頁面|分頁)檔(?:案)?太小",
    "ページング ファイルが小さすぎる",
    "페이징 파일이 너무 작습니다",
)
"""Windows' words for its error 1455, in the languages in which they could be found."""
PAGING_FILE = Kind(
    "memory_error",
    pattern(rf"\[WinError 1455\]|\(os error 1455\)|\berrno ?= ?1455\b|{'|'.join(_PAGING_FILE)}"),
    "Windows could not provide more memory: the paging file is too small (error 1455).",
    lacks="paging file",
)
LIMITS = (
    PAGING_FILE,
    Kind(
        "memory_error",
        pattern(
            r"\bfork: (?:retry: )?Cannot allocate memory|"
            r"\bcould not fork [^\n]{1,60}?: Cannot allocate memory|, in (?:_execute_child|_launch)\s{0,80}"
            r"(?:[^\n]{0,200}\n\s{0,40}){0,2}OSError: \[Errno 12\] Cannot allocate memory|"
            r"\[Errno 12\] Cannot allocate memory[^\n;]{0,80}[\n;](?:[^\n;]{0,200}[\n;]){0,9}?[^\n]{0,60}"
            r"\b_?fork_exec\("
        ),
        "The kernel had no memory for one more process (fork failed with ENOMEM: Cannot allocate memory).",
        lacks="fork",
    ),
    Kind(
        "warning",
        pattern(
            r"\b(?:(?:unable|failed) to create (?:a )?(?:memory )?cgroup|mkdir)[ '\"]{1,3}"
            r"(?P<cgroup>/sys/fs/cgroup/[^\s'\"]{1,300})['\"]? ?: ?(?:Cannot allocate memory|No space left on device)",
            re.IGNORECASE,
        ),
        "A warning: the kernel did not make a control group, {cgroup}: it had no memory for it, or has as many memory "
        "cgroups as it can have. The text does not say that anything was killed.",
        lacks="memory cgroups",
    ),
    Kind(
        "memory_error",
        pattern(
            r"(?<!\bnot[ ])\b(?:OS|IO|Memory|Runtime|BlockingIO)Error\)?: \[Errno 12\]|"
            r"(?<!\bnot[ ])\[Errno 12\] Cannot allocate memory|"
            r"\b(?:fail\w{0,5}|error|cannot|could not)\b[^\n]{0,120}?\berrno ?= ?12\b|: Cannot allocate memory ?$|"
            r"\bCannot allocate memory \((?:os error |errno ?[:=]? ?)?12\)",
            re.MULTILINE,
        ),
        "The kernel refused to give a process more memory (ENOMEM: Cannot allocate memory).",
        lacks="enomem",
    ),
    Kind(
        "memory_error",
        pattern(r"\bcgroup: fork rejected by pids controller in (?P<cgroup>/[^\s\n]{0,300})"),
        "The kernel refused one more process or thread in {cgroup}: that control group has as many as it may have "
        "(pids.max), which is no lack of memory.",
        lacks="threads",
    ),
    Kind(
        "memory_error",
        pattern(r"\bOpenBLAS ?: Program is Terminated\. Because you tried to allocate too many memory regions"),
        "OpenBLAS had no more of its own regions of memory, and ended its process: more threads used it at once than "
        "it was built for.",
        lacks="threads",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\bpthread_create(?: failed for thread \d{1,6} of \d{1,6})?: Resource temporarily unavailable\s{1,9}"
            r"(?:OpenBLAS )?(?:blas_thread_init: )?RLIMIT_NPROC (?P<most>\d{1,12}) current"
        ),
        "OpenBLAS could not start one more thread: the user's processes and threads may be {most} (RLIMIT_NPROC), or "
        "another limit of their number was reached, or no memory was left for it.",
        lacks="threads",
    ),
    Kind(
        "memory_error",
        pattern(
            r"\b(?:fork(?:: retry)?|pthread_create(?:\(\))?(?: failed[^\n]{0,60}?)?|\bthread|\bwhat\(\)|"
            r"\bthread constructor failed|\b[Tt]hread creation failed): Resource temporarily unavailable|"
            r"\bfork: (?:retry: )?No child processes|"
            r"\b(?:fork|clone|pthread_create)(?:\(\))? failed[^\n]{0,20}?\((?:errno ?[:=]? ?)?(?:11\b|EAGAIN)|"
            r"\bOMP: Error #\d{1,4}: System unable to allocate necessary resources for OMP thread|"
            r"\bruntime: failed to create new OS thread \([^\n()]{0,60}errno=11\)|"
            r"\bfailed to (?:spawn|create|start) (?:a |the |new |OS )*thread[^\n]{0,120}?"
            r"(?:Resource temporarily unavailable|EAGAIN|WouldBlock)|"
            r"(?:creation via )?\bpthread_create\(\) failed\.|"
            r"\bRuntimeError: can't (?:start|allocate) new thread|, in (?:_execute_child|_launch)\s{0,80}"
            r"(?:[^\n]{0,200}\n\s{0,40}){0,2}BlockingIOError: \[Errno 11\]"
        ),
        "One more thread or process could not be started: their number reached a limit, or no memory was left for it.",
        lacks="threads",
    ),
)
