"""Leaves out of what is repeated of a text what may be secret: keys, passwords, addresses of mail, arguments."""

from __future__ import annotations

import re

__all__ = ["is_secret", "program", "without_secrets"]

_WORD = (
    r"(?:pass(?:word|wd|phrase)|pwd|secret|token(?!s|iz)(?!\W{1,6}\d{1,7}\b)|credentials?|api[-_]?key|access[-_]?key|secret[-_]?key|private[-_]?key|"
    r"auth[-_]?key|authorization|connection[-_]?string)"
)
_KEY = (
    r"(?:\b(?:sk|pk|rk)[-_](?:live|test|proj|ant|or|svcacct)\b[\w-]{0,300}|\bsk-[A-Za-z0-9]{16,300}|"
    r"\bgh[pousr]_\w{16,255}|\bgithub_pat_\w{20,255}|\bglpat-[\w-]{16,255}|\bhf_[A-Za-z]{16,255}|"
    r"\bxox[abeoprs]-[\w-]{10,255}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,60}|\beyJ[\w-]{10,2000}(?:\.[\w-]{1,2000}){0,2})"
)
_SECRETS = (
    # -----BEGIN PRIVATE KEY-----
    (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.{0,8000}", re.DOTALL), "…"),
    # scheme://user:password@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://)[^\s/@]{1,300}@"), r"\1…@"),
    (re.compile(r"\b((?:Bearer|Basic) )[\w.~+/=-]{8,2000}"), r"\1…"),
    # --password hunter2, --api-key=…, HF_TOKEN=…, "secret": "…"
    (
        re.compile(
            rf"((?<![\w-])-{{1,2}}[\w-]{{0,40}}{_WORD}[\w-]{{0,20}}(?:\s{{1,3}}|=))(?![-=])(?:\"[^\"\n]{{1,300}}\"|'[^'\n]{{1,300}}'|[^\s,;\"']{{1,300}})",
            re.IGNORECASE,
        ),
        r"\1…",
    ),
    (
        re.compile(
            rf"(\b[\w-]{{0,40}}(?<!no[-_]){_WORD}\\?[\"']?\s{{0,2}}[=:]\s{{0,2}}\\?[\"']?)(?!\s)[^\s,;\"'”…\\]{{3,300}}",
            re.IGNORECASE,
        ),
        r"\1…",
    ),
    (re.compile(_KEY), "…"),
    # addresses of mail; systemd's units, HTCondor's slots and versions look alike
    (
        re.compile(
            r"(?<![\w.+-])(?!slot\d)[\w.+-]{1,64}@(?![\w-]{1,63}\.(?:service|scope|slice|socket|timer)\b)"
            r"[\w-]{1,63}(?:\.[\w-]{1,63}){0,5}\.[A-Za-z]{2,24}\b"
        ),
        "…@…",
    ),
)
_IN_A_NAME = re.compile(rf"{_WORD}|{_KEY}", re.IGNORECASE)
_SCRIPT = re.compile(r"[\w./+-]{1,300}\.(?:py|pyc|sh|jar|js|mjs|R|jl|pl|rb)")
_MODULE = re.compile(r"[A-Za-z_][\w.]{0,100}")
_OPTIONS = ("-u", "-B", "-O", "-OO", "-E", "-s", "-S", "-I", "-i", "-v")
"""Options of Python without a value."""
_NOT_A_PROGRAM = re.compile(r"[=@\"'`$]|://")


def without_secrets(text: str) -> str:
    """Return a text with "…" for what looks like a key, a password or an address of mail."""
    for form, new in _SECRETS:
        text = form.sub(new, text)
    return text


def is_secret(name: str) -> bool:
    """Whether a name may be a password, or a key."""
    return _IN_A_NAME.search(name) is not None


def program(command: str) -> str:
    """Return the program of a command, and its script or module; "…" stands for all other arguments."""
    words = command.split()
    if not words or _NOT_A_PROGRAM.search(words[0]) or is_secret(words[0]):
        return "…"
    shown = [words[0] if words[0].startswith(("ray::", "[")) else words[0].rstrip("/").rpartition("/")[2]]
    at = 1
    while at < len(words) and words[at] in _OPTIONS:
        at += 1
    if words[at : at + 1] == ["-m"] and len(words) > at + 1 and _MODULE.fullmatch(words[at + 1]):
        shown, at = [*shown, "-m", words[at + 1]], at + 2
    elif at < len(words) and _SCRIPT.fullmatch(words[at]) and not is_secret(words[at]):
        shown, at = [*shown, words[at].rpartition("/")[2]], at + 1
    return " ".join(shown) + (" …" if at < len(words) else "")
