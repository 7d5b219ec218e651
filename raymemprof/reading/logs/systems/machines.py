"""Tells the machines apart whose logs a text has, as syslog, `pdsh`, a prompt or a heading names them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from ..facts import Message, Victim, called
from ..patterns import IPV4

__all__ = ["with_machine"]

_LONG = 50_000
"""Characters from which on a text is a log, whose lines name their machine as loggers do, if at all."""
_OF_MACHINE = ("kernel_oom", "systemd_oomd", "earlyoom")
_NAME = r"(?=[\w.-]{0,80}[A-Za-z.])[A-Za-z0-9][\w.-]{0,80}"
_TIME = (
    r"(?:[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d(?:\.\d{1,9})?|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S{0,20}|"
    r"\[ {0,9}\d{1,9}\.\d{6}\])"
)
_LOGGER = r"(?:kernel|systemd(?:-oomd)?|earlyoom|nohang)(?:\[\d{1,10}\])?"
_ADDRESS = rf"(?:{IPV4}|ip-\d[\w.-]{{5,80}}|[A-Za-z][\w-]{{0,60}}(?:\.[\w-]{{1,60}}){{2,6}})"
_NUMBERED = (
    r"(?:(?:[A-Za-z]{1,12}-)?(?:node|host|worker|head|master|server|machine|compute|gpu|cpu|slave|vm|cn|nid)[\w.-]{0,60}?"
    r"\d[\w.-]{0,40}|head|worker|master)"
)
_SHOWS = r"(?=[^\n]{0,300}(?:\bdmesg\b|\bjournalctl\b|/var/log/))"
_BEFORE_EACH = (
    r"[>| \t]{0,9}(?:"
    rf"(?:<\d{{1,3}}>)?(?:1 )?{_TIME} (?P<syslog>{_NAME}) {_LOGGER}(?::| -) |"
    rf"\[?(?!kernel\b|dmesg\b|std(?:out|err)\b)(?P<pdsh>{_NAME})(?:\]|\]?:)[ \t]{{1,9}}"
    rf"(?=\[ {{0,9}}\d{{1,9}}\.\d{{6}}\]|{_TIME} )"
)
_LINE_OF_LOG = re.compile(f"{_BEFORE_EACH})")
_LINE = re.compile(
    f"{_BEFORE_EACH}|"
    rf"[^\n]{{0,2000}}?[\"']_HOSTNAME[\"'] ?: ?[\"'](?P<journal>{_NAME})[\"']|"
    r"(?=[^\n]{0,2000}?(?:Killed process|oom-kill:|OOM encountered|earlyoom|systemd-oomd))[^\n]{0,1000}?"
    r"(?:(?<![\w/.-])node/|\b(?:kernel-monitor|kubelet), |"
    r"(?<![\w/.-])(?:host(?:name)?|node(?:_?[Nn]ame)?)[\"']?[=:] ?[\"']?)"
    rf"(?P<label>{_NAME})(?=[\s\"',}}])|"
    rf"[^\n]{{0,60}}?\bssh (?:-\S{{1,40}} (?:\d{{1,5}} )?){{0,5}}(?:[\w.-]{{1,40}}@)?(?P<ssh>{_NAME}) {_SHOWS}|"
    rf"\[?[\w.-]{{1,40}}@(?P<prompt>{_NAME})(?:\]|[: ])[^\n]{{0,80}}?[#$] "
    rf"(?![^\n]{{0,200}}\b(?:ssh|kubectl|exec)\b){_SHOWS}|"
    rf"(?P<ansible>{_NAME}) \| [A-Z]{{2,12}} \| rc=\d|"
    rf"[> \t]{{0,9}}Linux (?P<uname>{_NAME}) \d{{1,2}}\.\d{{1,3}}\.\d[\w.+~-]{{0,80}} #\d|"
    r"[=#*<>\[`( \t-]{0,12}(?i:(?:dmesg|journal(?:ctl)?|kernel|logs?|output|from|on|of|for|the|-[TxkH])[ :]{1,3}){0,6}"
    rf"(?:(?i:host(?:name)?|node|machine|server|worker)[ :=]{{1,3}}(?P<named>[\w.-]{{1,80}}?)|"
    rf"(?P<headed>{_ADDRESS}|{_NUMBERED}))[=#*<>\]`):, \t-]{{0,12}}$)"
)
"""The machine whose log a line is of, or, where it is a heading or a prompt, those below it are of."""
_PROMPT = re.compile(rf"^[\w.-]{{1,40}}@(?P<prompt>{_NAME}):[^\n]{{0,200}}?[#$][ \t]{{0,9}}$", re.MULTILINE)
_ELSEWHERE = re.compile(r"\b(?:ssh|kubectl|exec|oc|docker|podman|ansible|pdsh)\b")
_READ_HERE = re.compile(r"\b(?:dmesg|journalctl)\b")


def with_machine(message: Message, text: str, parse: Callable[[str], Message]) -> Message:
    """Add the machines that the lines of a log are of; of several, each kill is that of its own machine.

    `parse` reads a part of the text.
    """
    if message.cause not in _OF_MACHINE:
        return message
    parts = {machine: part for machine, part in _parts(text).items() if machine != "localhost"}
    read = {machine: parse(part) for machine, part in parts.items()} if len(parts) > 1 else {}
    read = {machine: one for machine, one in read.items() if one.cause in _OF_MACHINE}
    if len(read) > 1:
        return _of_several(message, read)
    machines = list(read or parts) or _at_prompts(text)
    known = " ".join(filter(None, (message.statement, message.reason, *message.also)))
    if len(machines) != 1 or machines[0] in known:
        return message
    return replace(message, also=(*message.also, f"It was on the machine {machines[0]}."))


def _parts(text: str) -> dict[str, str]:
    """The lines of each machine; what stands above the first name is of none."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    form = _LINE if len(text) < _LONG else _LINE_OF_LOG
    for line in text.split("\n"):
        named = form.match(line)
        if named is not None:
            machine = next(filter(None, named.groups())).rstrip(".:-")
            lines = found.setdefault(machine, [])
        lines.append(line)
    return {machine: "\n".join(of_it) for machine, of_it in found.items()}


def _at_prompts(text: str) -> list[str]:
    """The machines whose shell waits below the log that it was asked for, where it was asked for no other's."""
    if len(text) >= _LONG or _ELSEWHERE.search(text) or not _READ_HERE.search(text):
        return []
    return list(dict.fromkeys(found["prompt"] for found in _PROMPT.finditer(text)))


def _of_several(message: Message, read: dict[str, Message]) -> Message:
    """What happened on several machines: no figure of one stands for all."""
    messages = list(read.values())
    victims = tuple(victim for one in messages for victim in one.victims)
    reasons = {one.reason for one in messages}
    statements = [one.statement for one in messages]
    told = [f"On {machine}: {_told(one)}" for machine, one in read.items()]
    return replace(
        message,
        statement=" ".join(told) if any(statements) else None,
        node_id=None,
        node_ip=None,
        used=None,
        limit=None,
        victims=victims,
        killed=len(victims) or None,
        reason=reasons.pop() if len(reasons) == 1 else None,
        top_processes=tuple(dict.fromkeys(process for one in messages for process in one.top_processes)),
        nodes=len(read),
        places=tuple(read),
        also=tuple(dict.fromkeys([*(told if not any(statements) else []), *_alike(messages)])),
    )


def _told(message: Message) -> str:
    if message.statement is not None:
        return message.statement
    because = f", because {message.reason}" if message.reason else ""
    return f"{_listed(message.victims)}{because}."


def _listed(victims: Iterable[Victim]) -> str:
    return ", ".join(called(one.name, one.pid, "a process") for one in victims)


def _alike(messages: list[Message]) -> Iterable[str]:
    """What is said beside of each of them."""
    return (said for said in messages[0].also if all(said in one.also for one in messages))
