"""What collectors of logs, test runners and syslog put before each line."""

from __future__ import annotations

import re

__all__ = ["PREFIX", "without_prefixes"]

_STAMP = r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"
PREFIX = re.compile(
    r"^(?:[ \t]*(?:"
    r"\((?:raylet|autoscaler|gcs_server|dashboard)\b[^()\n]{0,200}\)"  # what a driver puts before others' lines
    r"|\([^\n]{0,200}?\bpid=\d{1,10}(?:, ip=[^()\n]{1,60})?\)"
    r"|E(?=[ \t])(?: {2})?"  # pytest
    r"|(?:[>|│┃║]+(?=[ \t]|$))"  # quotes, boxes
    rf"|(?:{_STAMP}),?:?(?=[\s\[]|$)"
    rf"|\[{_STAMP}[^\]\n]{{0,60}}\]"
    r"|(?:DEBUG|INFO|WARNING|ERROR) \d\d-\d\d \d\d:\d\d:\d\d \[[\w./-]{1,80}:\d{1,6}\]"  # vLLM
    r"|\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?=[ \t])"
    r"|(?:stdout|stderr)[ \t][FP](?=[ \t])"  # containerd
    r"|[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d(?=[ \t])"  # syslog
    r"|[\w.-]{1,80} (?:kernel|[\w./@-]{1,60}\[\d{1,10}\]):(?=[ \t])"
    # [pod/name/container], [logger][LEVEL] -
    r"|\[(?!Errno|WinError)[A-Za-z][\w./:@ -]{0,150}\](?! terminated with exit code|\.\w)(?:[ \t]-(?=[ \t]))?"
    r"|\[ {0,9}\d{1,9}\.\d{6}\]"  # the kernel's clock
    r"|(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\b:?(?=[ \t]|$)"
    r"|<\d{1,3}>"
    r"|##\[\w{1,20}\]"  # CI
    r"|[a-z][\w.-]{0,100}(?:@[\w.-]{1,100})?[ \t]{1,40}\|(?=[ \t]|$)"  # docker compose, docker service logs
    r"|-(?=[ \t]\[)|-(?=[ \t]?$)"
    r")[ \t]?){1,8}"
)
_CELLS = re.compile(r"[ \t]*[|│┃║][^|│┃║\n]{1,300}[|│┃║][^\n]{1,2000}[|│┃║][ \t]*$")
"""A row of a table, with its sides."""


def without_prefixes(lines: list[str]) -> list[str]:
    """Take them off, but for what stands in the first cells of a table."""
    return [
        line if _CELLS.match(line) else line[found.end() :] if (found := PREFIX.match(line)) else line for line in lines
    ]
