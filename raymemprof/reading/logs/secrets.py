"""Leaves out of a text what is secret, before anything of it is kept: keys, passwords, tokens, arguments of programs.

A secret is told by its own form, or by the name before it: `HF_TOKEN=…`, `--password …`, `"secret": "…"`. What only
looks alike stays: `--num-tokens 5`, `pad_token="<pad>"`, `PWD=/home/me`, the hash of an object.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from .patterns import Form

__all__ = ["program", "without_addresses", "without_secrets"]

_KEY = (
    r"(?:\b[prs]k[-_](?:live|test|proj|ant|or|svcacct|admin)[-_](?=[\w-]{0,300}\d)[\w-]{8,300}|"
    r"\bsk-(?=\w{0,300}\d)\w{16,300}|\bgh[pousr]_[A-Za-z0-9]{16,255}|\bgithub_pat_\w{20,255}|\bglpat-[\w-]{16,255}|"
    r"\bhf_[A-Za-z0-9]{16,255}\b|\bxox[abeoprs]-[\w-]{10,255}|\bxapp-\d-[\w-]{10,255}|"
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,60}|"
    r"\bya29\.[\w-]{20,2000}|\beyJ[\w-]{10,2000}(?:\.[\w-]{1,2000}){0,4}|\bdapi[0-9a-f]{32}\b|"
    r"\bgsk_[A-Za-z0-9]{20,255}|\bnvapi-[\w-]{20,255}|\bnpm_[A-Za-z0-9]{36}\b|\bpypi-[\w-]{20,255}|"
    r"\bdckr_pat_[\w-]{20,100}|\bhvs\.[\w-]{20,255}|\bSG\.[\w-]{16,64}\.[\w-]{16,64})"
)
"""The forms of keys and tokens that those who give them out have chosen."""
_PASSWORD = r"(?:pass(?:word|wd|phrase)|(?<=[_-])pass|(?<![A-Za-z])pwd(?![\"']?[ \t]?[=:][ \t]?[\"']?[/~]))"
_OTHER = (
    r"(?:secret|(?<!(?:pad|eos|bos|unk|sep|cls|eot|img|max|per|num)[_-])(?<!(?:mask|stop|next|prev|last|each)[_-])token|"
    r"credentials?|(?:api|access|secret|private|account|auth|signing|encryption|shared|license)[-_]?(?:access[-_]?)?key"
    r"(?:[-_]?id)?|connection[-_]?string)"
)
"""The ends of names whose values are secret."""
_NO_VALUE = (
    r"(?!\\?[\"']?(?:[<\[({$…*=/~-]|(?:None|null|nil|true|false|str|int|bool|bytes|float|Any|Optional|required|missing|"
    r"invalid|expired|empty|redacted|unset|not|is|was|of|the|an?|to|for|and|or)\b))"
)
"""What stands where a value may stand, and is none."""
_NUMBER = r"(?!\\?[\"']?\+?\d[\d.,_]{0,20}[ ]?(?:[KMGTkmgt]i?[Bb]?|[Bb]ytes|%|m?s)?\\?[\"']?(?![\w.+/=-]))"
"""How many tokens, not which."""
_VALUE = r"(?:\\?\"[^\"\n\\]{1,2000}|\\?'[^'\n\\]{1,2000}|[^\s,;&\"'`|\\)\]}>]{1,2000})"
_SECRET = rf"(?:(?P<password>{_PASSWORD})|{_OTHER})"
_FOLLOWS = rf"{_NO_VALUE}(?(password)|{_NUMBER})(?P<value>{_VALUE})"
_QUOTE = re.compile(r"\A\\?[\"']?")
_FORMS = (
    # -----BEGIN PRIVATE KEY-----, to its end, or as far as its lines go
    Form(
        r"(?<=-----BEGIN )(?P<value>[A-Z0-9 ]{0,40}PRIVATE KEY-----(?:[\s\S]{0,10000}?-----END [A-Z0-9 ]{0,40}KEY-----|"
        r"[^\n]{0,5000}(?:\n[^\n]{0,100}?[\w+/=]{40,80}[^\w\n]{0,9}$){0,100}))",
        re.MULTILINE,
    ),
    # scheme://user:password@host
    Form(r"://(?!git@)(?P<value>[^\s/@\"']{1,300}(?:@[^\s/@\"']{1,100}(?=@))*)@"),
    # Authorization: Bearer …
    Form(r"\b(?:Bearer|Basic) (?P<value>(?=[\w.~+/-]{0,300}[\d=.])[\w.~+/=-]{8,3000})"),
    Form(
        r"\b[Aa]uthorization\\?[\"']?[ \t]?[=:][ \t]?\\?[\"']?(?!(?:Bearer|Basic|AWS4)\b)(?:[\w-]{1,20} )?"
        r"(?P<value>(?=[^\s\"',;\\]{0,300}\d)[^\s\"',;\\]{8,3000})"
    ),
    Form(
        r"\b(?:[Ss]et-)?[Cc]ookie\\?[\"']?: ?\\?[\"']?"
        r"(?P<value>[^\s=\"':]{1,100}=[^\s\"'\\]{3,3000}(?:; ?[^\s=\"']{1,100}=[^\s\"'\\]{0,3000}){0,50})"
    ),
    # --password hunter2, '--api-key', 'hunter2'
    Form(
        rf"-(?<![\w-]-)-?(?:[a-z]\w{{0,20}}-){{0,3}}(?:{_SECRET}|[a-z]{{0,20}}auth)"
        rf"(?:[ \t]{{1,3}}|=|\\?[\"'],[ \t]{{0,3}}){_FOLLOWS}",
        re.IGNORECASE,
    ),
    Form(
        r"\b[A-Z][A-Z0-9_]{0,60}_KEY ?[=:] ?[\"']?(?P<value>(?=\S{0,200}[A-Z])(?=\S{0,200}[a-z])(?=\S{0,200}\d)"
        r"[\w+/=-]{20,300})"
    ),
    # of signed addresses
    Form(r"hooks\.slack\.com/(?P<value>\w{1,20}/[\w/]{10,100})"),
    Form(r"[Ss](?<!\w[Ss])ig(?:nature)?(?:=|%3[Dd])(?P<value>(?=[^\s&]{0,100}[\d%])[\w%+/=-]{16,2000})"),
    # curl -u user:password, mysql -ppassword
    Form(
        r"\bcurl\b[^\n|;]{0,200}?[\s\"'](?:-u|--user|-U|--proxy-user)(?:[ \t=]{0,3}|[\"'],[ \t]?)[\"']?"
        r"[^\s:\"']{1,100}:(?P<value>[^\s\"']{1,300})"
    ),
    Form(r"\b(?:mysql|mariadb)\w{0,10}\b[^\n|;]{0,300}?[\s\"']-p[\"']?(?P<value>[^\s\"',]{1,300})"),
    Form(
        r"\b(?:sshpass\b[^\n|;]{0,100}?[\s\"']-p|(?:docker|podman|az) login\b[^\n|;]{0,300}?[\s\"']-p|"
        rf"redis-cli\b[^\n|;]{{0,300}}?[\s\"']-a)(?:[ \t]{{0,3}}|[\"'],[ \t]?)(?P<value>{_VALUE})"
    ),
)
_ASSIGNED = re.compile(rf"{_SECRET}\\?[\"']?[ \t]{{0,2}}[=:][ \t]{{0,2}}{_FOLLOWS}", re.IGNORECASE)
"""HF_TOKEN=…, "secret": "…"."""
_NAMES = (
    *("pass", "pwd", "secret", "token", "credential", "connection"),
    *("api", "access", "private", "account", "auth", "signing", "encryption", "shared", "license"),
)
"""What stands at the beginning of each match of it, in lower case."""
_KEYS = re.compile(rf"(?P<value>{_KEY})")
_BEGINNINGS = (
    *("sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "hf_"),
    *("xox", "xapp-", "AKIA", "ASIA", "AIza", "ya29.", "eyJ", "dapi", "gsk_", "nvapi-", "npm_", "pypi-", "dckr_pat_"),
    *("hvs.", "SG."),
)
"""The same of the keys that have a form of their own."""
_ADDRESS_OF_MAIL = Form(
    r"(?<![\w.+-])(?!slot\d)[\w.+-]{1,64}@(?![\w-]{1,63}\.(?:service|scope|slice|socket|timer)\b)"
    r"[\w-]{1,63}(?:\.[\w-]{1,63}){0,5}\.[A-Za-z]{2,24}\b"
)
"""Units of systemd, slots of HTCondor and versions look alike."""
_SCRIPT = re.compile(r"[\w./+-]{1,300}\.(?:py|pyc|sh|jar|js|mjs|R|jl|pl|rb)")
_MODULE = re.compile(r"[A-Za-z_][\w.]{0,100}")
_OPTIONS = ("-u", "-B", "-O", "-OO", "-E", "-s", "-S", "-I", "-i", "-v")
"""Options of Python without a value."""
_NOT_A_PROGRAM = re.compile(r"[=@\"'`$]|://")


@lru_cache(maxsize=2)
def without_secrets(text: str) -> str:
    """Return a text with "…" for what is a key, a password or a token."""
    for form in _FORMS:
        text = form.sub(_hidden, text)
    lowered = text.lower()
    text = _replaced(_ASSIGNED, _places(_NAMES, lowered if len(lowered) == len(text) else text), text)
    return _replaced(_KEYS, _places(_BEGINNINGS, text), text)


def _places(words: Iterable[str], text: str) -> list[int]:
    """Where any of these words stands: to find them is many times faster than a pattern is."""
    found: set[int] = set()
    for word in words:
        at = text.find(word)
        while at >= 0:
            found.add(at)
            at = text.find(word, at + 1)
    return sorted(found)


def _replaced(form: re.Pattern[str], places: Iterable[int], text: str) -> str:
    """Return a text with what is secret hidden where a form matches at one of these places."""
    parts, done = [], 0
    for at in places:
        if at >= done and (found := form.match(text, at)) is not None:
            parts += [text[done:at], _hidden(found)]
            done = found.end()
    return "".join([*parts, text[done:]]) if parts else text


def _hidden(found: re.Match[str]) -> str:
    start, end = (at - found.start() for at in found.span("value"))
    quote = _QUOTE.match(found["value"])
    return f"{found[0][:start]}{quote[0] if quote else ''}…{found[0][end:]}"


def without_addresses(text: str) -> str:
    """Return a text with "…@…" for addresses of mail."""
    return _ADDRESS_OF_MAIL.sub("…@…", text)


def program(command: str) -> str:
    """Return the program of a command, and its script or module; "…" stands for all other arguments."""
    words = command.split()
    if not words or _NOT_A_PROGRAM.search(words[0]) or without_secrets(words[0]) != words[0]:
        return "…"
    shown = [words[0] if words[0].startswith(("ray::", "[")) else words[0].rstrip("/").rpartition("/")[2]]
    at = 1
    while at < len(words) and words[at] in _OPTIONS:
        at += 1
    if words[at : at + 1] == ["-m"] and len(words) > at + 1 and _MODULE.fullmatch(words[at + 1]):
        shown, at = [*shown, "-m", words[at + 1]], at + 2
    elif at < len(words) and _SCRIPT.fullmatch(words[at]) and without_secrets(words[at]) == words[at]:
        shown, at = [*shown, words[at].rpartition("/")[2]], at + 1
    return " ".join(shown) + (" …" if at < len(words) else "")
