"""`parse()`: what a text says about memory, of whatever kind it is, however it was pasted."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from .beside import beside
from .complaints import complained
from .facts import Message, Victim
from .kinds import first_of
from .patterns import ADDRESS, Form
from .programs.accelerators import DUMPED, TRIED, accelerator
from .programs.builds import BUILDS, NO_MEMORY, RUNNERS, RUNNERS_LOST, RUNNERS_LOW
from .programs.libraries import LIBRARIES, MEMORY_ERROR
from .programs.notebooks import LARGE, NOTEBOOKS, OUT_OF_MEMORY
from .programs.platforms import DRIVER_STOPPED, EXITS, REPLICAS, mac
from .programs.pools import CRASHED, KILLED, POOLS, WARNED, dask
from .programs.runtimes import RUNTIMES, SHM
from .prose import quoted_messages, told
from .quotes import quotes
from .ray.objects import LOST, STORE
from .ray.raisers import Raiser, headers, last_header, named, names_of, raisers, speakers
from .ray.raylet import is_kill, kills
from .ray.starting import NOT_STARTED
from .ray.state_api import states
from .ray.unexplained import LOST_EXECUTOR, OF_WHICH, UNEXPLAINED
from .ray.warnings import warned
from .ray.workers import TELLS_OF_DEATH, actors, completed, death, died, with_the_dead
from .secrets import without_secrets
from .systems.batch_systems import batch, refused, slurm
from .systems.containers import container
from .systems.crashes import CRASHES
from .systems.desktops import DESKTOP_CRASHES, DESKTOP_ERRORS, DESKTOP_WARNINGS, diagnosed, of_macs
from .systems.df import with_shared_memory
from .systems.evictions import PRESSURE, evicted, waiting
from .systems.exit_codes import EXIT_CODES
from .systems.hosted import HOSTED, HOSTED_KILLS, HOSTED_WARNINGS
from .systems.kernel import kernel
from .systems.launchers import BY_NAME, CLOUDS, DRIVERS, SHELL_ALONE, SIGKILL, YARN
from .systems.machines import with_machine
from .systems.oom_killed import oom_kills
from .systems.process_tables import with_tables
from .systems.whereabouts import with_whereabouts
from .text.driver_prefixes import with_prefixes
from .text.escapes import without_marks
from .text.layouts import as_printed
from .text.mentions import without_code, without_examples, without_mentions
from .text.rejoined_names import names_in

__all__ = ["parse", "read"]

_LONG = 50_000
"""Characters from which on a text is a log, whose lines are taken to stand in their order."""
_END = 10_000
"""Characters at the end of a log in which an exit code is looked for."""
_RAISED = Form(
    r"^[ \t]{0,40}ray\.exceptions\.OutOfMemoryError[ \t]*:|"
    r"(?<!except )(?<!import )\bray\.exceptions\.OutOfMemoryError: ",
    re.MULTILINE,
)
_NOTHING_ENDED = Form(r" The text does not say that anything (?:was killed|has failed)\.")
"""What is not said where something else in the text ended, or failed."""
_NOTHING_SHORT = Form(r"; nothing says that memory was short")
"""What is not said where lines of the text tell of memory, which are quoted."""
_OF_HOSTS = (*HOSTED_WARNINGS, *DESKTOP_WARNINGS, *RUNNERS_LOW)
_WARNINGS = (*DRIVERS, *DRIVER_STOPPED, *PRESSURE, TRIED, *WARNED, *_OF_HOSTS, *LARGE)
_OTHER_LIMIT = Form(r"\bTERM_[A-Z]{3,20}: job killed")
"""What LSF says of the limit that ended a job; that of memory is read before."""
_OLD_HEADER = Form(r"^[ \t]{0,40}Remote function (\S{1,200}) failed with: ?$", re.MULTILINE)
"""What Ray before 0.6 prints above a traceback."""
_FAILED = ("gpu_memory", "memory_error", "disk_full", "object_store_full", "owner_died", "object_lost")
"""Causes that an exception tells of, which goes on from the process that raised it."""

_OF_WHICH = {kind.sentence for kind in OF_WHICH}
_TOO_LITTLE = Form(r"(?:OutOfMemory|ResourceExhausted)Error")
_HEADER_THEN_ERROR = Form(r"\(pid=\d{1,10}[^\n]{0,300}\n\s{0,40}[\w.]{0,100}(?:Error|Exception)\b")
"""A header whose lines, if they stood in the other order, would be below an error of another."""
_ERROR = Form(r"^\s*[\w.]{0,100}(?:Error|Exception|Exit|Interrupt)\b")
_REPEATED = Form(r"^([^\n]{1,3000}?)[ \t]{0,9}\[repeated (\d{1,9})x across cluster\]", re.MULTILINE)
_BY_RAYLET = Form(rf"\((?:pid=)?raylet, ip=({ADDRESS})\)[ \t]{{0,9}}([^\n]{{1,1000}})")
_MOST_LINES = 50
"""Lines of raylets, or that Ray repeated, that are looked at."""
_MOST_NODES = 10


def parse(text: str) -> Message:
    """Return what a text says. Never raises: what cannot be made out is None, and the cause "unknown"."""
    return read(text)[0]


def read(text: str) -> tuple[Message, str]:
    """Return what a text says, and the text as it was printed; nothing of it holds a secret that the text had."""
    text = without_examples(text)
    plain = without_marks(text)
    printed = without_secrets(as_printed(plain))
    return states(text) or _read(without_secrets(plain), printed), printed


def _read(text: str, printed: str) -> Message:
    found = _parse(printed)
    if found.cause == "unknown" and "\n" in text and len(text) < _LONG:  # its lines may stand in the other order
        found = max(found, _parse(as_printed("\n".join(reversed(text.splitlines())))), key=_is_known)
    found = _with_prose(_with_exit_code(found, printed), printed)
    found = _with_names(with_prefixes(found, text), text)
    found = with_shared_memory(with_machine(with_whereabouts(found, printed), text, _parse_part), printed)
    found = with_tables(found, text) if len(text) < _LONG else found
    if found.cause in _FAILED:
        found = _with_place(found, text, printed)
        found = _with_tracebacks(found, printed)
    elif found.statement in _OF_WHICH:
        found = _with_last_traceback(found, printed)
    found = _with_repeats(_with_raylets(found, text), text)
    found = _with_quotes(found, printed)
    return replace(found, names=names_in(text, printed)) if len(text) < _LONG else found


def _with_quotes(message: Message, printed: str) -> Message:
    """Add the lines that tell of memory; of a log, only where it is not known what it tells of."""
    if len(printed) >= _LONG and _is_known(message):
        return message
    found = quotes(printed[-_LONG:])
    said = message.statement
    return replace(message, quotes=found, statement=_NOTHING_SHORT.sub("", said) if said and found else said)


def _with_prose(message: Message, printed: str) -> Message:
    """Add what somebody tells in sentences, where no message says what ended."""
    if _is_known(message) or len(printed) >= _LONG:
        return message
    prose = without_mentions(printed)
    is_open = message.statement is None and not message.victims and message.crashed is None
    if is_open or message.cause == "warning":
        quoted = (_parse(words) for words in quoted_messages(prose))
        if (said := next(filter(_is_known, quoted), None)) is not None:
            return _with(said, message)
    said = told(prose, printed) or (
        complained(without_code(printed), printed) if is_open and _says_nothing(message, prose) else None
    )
    if said is None:
        return message
    if is_open and message.exit_detail is None:
        return replace(said, node_ip=message.node_ip, node_id=message.node_id)
    return _with(*sorted((message, said), key=_is_warning))


def _says_nothing(message: Message, text: str) -> bool:
    return message.cause == "unknown" and message.exit_detail is None and not TELLS_OF_DEATH.search(text)


def _is_warning(message: Message) -> bool:
    return message.cause == "warning"


def _with_names(message: Message, text: str) -> Message:
    """Add the names of those who ended that stand only in what a driver prints before their lines."""
    if all(victim.name or victim.pid is None for victim in message.victims):
        return message
    names = names_of(text)
    victims = [
        replace(victim, name=name)
        if victim.name is None and (name := _name(names, victim, message.node_ip))
        else victim
        for victim in message.victims
    ]
    return replace(message, victims=tuple(victims))


def _name(names: dict[int, set[Raiser]], victim: Victim, node_ip: str | None) -> str | None:
    """What one process is called: None where pids of several nodes may be meant."""
    them = names.get(victim.pid or 0, set())
    places = {who.ip for who in them if who.ip} | ({node_ip} if node_ip else set())
    called = {who.name for who in them}
    return called.pop() if len(called) == 1 and len(places) < 2 else None


def _with_raylets(message: Message, text: str) -> Message:
    """Add the nodes of the raylets that say the same, where there are several."""
    if not message.is_of_raylet or message.node_ip is not None or "raylet, ip=" not in text:
        return message
    lines = {found[1]: found[2] for found in itertools.islice(_BY_RAYLET.finditer(text), _MOST_LINES)}
    nodes = [ip for ip, line in lines.items() if _is_same(message, as_printed(line))]
    if len(nodes) < 2 or all(ip in (message.statement or "") for ip in nodes):
        return message
    more = f", and {len(nodes) - _MOST_NODES} more" if len(nodes) > _MOST_NODES else ""
    said = f"The raylets of {len(nodes)} nodes say so: {', '.join(nodes[:_MOST_NODES])}{more}."
    return replace(message, nodes=len(nodes), also=(said, *message.also))


def _with_last_traceback(message: Message, printed: str) -> Message:
    """Add whose the last traceback is, which may have caused those before it."""
    who = last_header(printed, _TOO_LITTLE)
    if who is None:
        return message
    said = f"The last traceback of it is that of {named([who])}."
    return replace(message, node_ip=message.node_ip or who.ip, also=(said, *message.also))


def _with_repeats(message: Message, text: str) -> Message:
    """Add how often Ray left out the same message of this process or of others."""
    if not _is_known(message) or "x across cluster]" not in text:
        return message
    lines = itertools.islice(_REPEATED.finditer(text), _MOST_LINES)
    counts = [int(line[2]) for line in lines if _is_same(message, as_printed(line[1]))]
    if not counts:
        return message
    said = f"The same message came {max(counts)} more times, from this process or others, and Ray printed it once."
    return replace(message, also=(*message.also, said))


def _with_place(message: Message, text: str, printed: str) -> Message:
    """Add in which tasks or actors an allocation failed, by the headers of their tracebacks, else by their prefixes."""
    # Of a header whose second line begins as what a driver prints before a process's lines, only the text has all.
    raised = list(raisers(without_mentions(printed))) or list(raisers(without_mentions(text)))
    is_newest_first = len(printed) < _LONG and "ray::" in printed and not _HEADER_THEN_ERROR.search(printed)
    if not raised and is_newest_first:  # its lines may stand in the other order
        raised += raisers(without_mentions("\n".join(reversed(printed.splitlines()))))
    there = [who for who, line in raised if _is_same(message, line)]
    if not there:
        addresses = {who.pid: who.ip for who, _ in raised}
        there = [
            who if who.ip else who._replace(ip=addresses.get(who.pid))
            for who, lines in speakers(text).items()
            if _is_same(message, lines)
        ]
    if not there and not message.victims and len(functions := set(_OLD_HEADER.findall(printed))) == 1:
        return replace(message, also=(f"It happened in {functions.pop()}.", *message.also))
    if not there or message.victims:
        return message
    there = list(dict.fromkeys(there))
    places = {who.ip for who in there}
    node_ip = message.node_ip or (there[0].ip if len(places) == 1 else None)
    return replace(message, node_ip=node_ip, also=(f"It happened in {named(there)}.", *message.also))


def _with_tracebacks(message: Message, printed: str) -> Message:
    """Add whose tracebacks a text has, where it is not told in which process it happened: nothing more is known."""
    others = {one for one, line in raisers(printed) if _ERROR.search(line) and not _is_same(message, line)}
    who = [one for one in dict.fromkeys(headers(printed)) if one not in others]
    known = " ".join(filter(None, (message.statement, *message.also)))
    if not who or message.victims or any(str(one.pid) in known for one in who) or "It happened in " in known:
        return message
    return replace(message, also=(*message.also, f"The text has a traceback of {named(who)}."))


def _is_same(message: Message, text: str) -> bool:
    """Whether a part of a text tells of what the text as a whole tells of."""
    return _parse(text).cause == message.cause


def _is_known(message: Message) -> bool:
    return message.cause not in ("unknown", "warning")


def _parse_part(text: str) -> Message:
    return _parse(as_printed(text))


def _parse(text: str) -> Message:
    text = without_mentions(text)
    if is_kill(text):
        killed_by_ray = _killed_by_ray(text)
        return _with(killed_by_ray, beside(killed_by_ray, text))
    for found in (
        kernel(text),
        mac(text) or of_macs(text),
        slurm(text),
        batch(text),
        first_of((*YARN, *CLOUDS, *HOSTED, *REPLICAS), text) or dask(text) or first_of(OUT_OF_MEMORY, text),
        evicted(text),
        first_of((*BUILDS, *KILLED, *HOSTED_KILLS, *RUNNERS), text) if not oom_kills(text) else None,
        container(text),
        first_of(EXITS, text),
        first_of(NOT_STARTED, text),
        accelerator(text),
        first_of((*SHM, *NO_MEMORY, *RUNTIMES, *LIBRARIES, *DESKTOP_ERRORS), text),
    ):
        if found is not None:
            killed = (
                first_of((*BY_NAME, SHELL_ALONE), text) if found.cause == "memory_error" and not found.victims else None
            )
            if killed is None and found.cause == "memory_error" and "java." in text:
                killed = _without_reason(first_of((LOST_EXECUTOR,), text))
            return _with(_with(with_the_dead(found, text), killed), beside(found, text))
    if _RAISED.search(text):
        return _killed_by_ray(text)
    for found in (first_of(STORE, text), first_of(LOST, text)):
        if found is not None:
            if found.cause == "owner_died":
                found = replace(found, victims=tuple(dict.fromkeys(actors(text))))
            return _with(found, warned(text))
    ended = death(text)
    warning = warned(text) or diagnosed(text) or refused(text) or first_of(_WARNINGS, text) or waiting(text)
    if ended is not None and ended.cause != "unknown":
        killed = first_of(SIGKILL, text) if ended.cause in ("node_died", "preempted") else None
        return _with(_with(ended, warning), killed)
    said = first_of((*MEMORY_ERROR, *SIGKILL, *CRASHED, *CRASHES, *DESKTOP_CRASHES), text)
    if said is not None:
        return with_the_dead(_with(said, warning), text)
    if warning is not None and ended is not None and ended.victims and TELLS_OF_DEATH.search(text):
        return _with(ended, warning)
    said = first_of((*OF_WHICH, *POOLS, *UNEXPLAINED, *DUMPED, *NOTEBOOKS, *RUNNERS_LOST), text)
    if ended is not None and warning is None:
        return _with(ended, said)
    return warning or said or Message("unknown")


def _without_reason(message: Message | None) -> Message | None:
    """Leave out that a text does not say why, where it says why beside."""
    if message is None or message.statement is None:
        return None
    return replace(message, statement=f"{message.statement.partition(';')[0]}.")


def _with_exit_code(message: Message, text: str) -> Message:
    """Add what an exit code says, where nothing else in a text says how a process ended, in whatever order.

    Of a log, only the end is looked at.
    """
    text = text if len(text) < _LONG else text[-_END:]
    if message.cause != "unknown" or message.statement is not None or _OTHER_LIMIT.search(text):
        return message
    if not any(kind.form.search(text) for kind in EXIT_CODES):
        return message
    told = without_mentions(text)
    found = [coded for kind in EXIT_CODES if (coded := kind.read(told)) is not None]
    if not found:
        return message
    coded = replace(found[0], also=tuple(other.statement for other in found[1:] if other.statement))
    if message == Message("unknown"):
        return coded
    if coded.victims and message.exit_detail is None:
        return replace(coded, node_id=message.node_id, node_ip=message.node_ip)
    return _with(message, coded)


def _with(message: Message, other: Message | None) -> Message:
    """Add what a text says beside what it tells of: what it lacks, where only that says so, and the sentence."""
    if other is None or other.statement is None:
        return message
    sentence = _NOTHING_ENDED.sub("", other.statement)
    if message.lacks == other.lacks == "disk":
        return message
    lacks = message.lacks
    if (
        (other.lacks == "collective" and message.cause in ("crash", "unknown"))
        or (other.lacks == "shared memory" and message.lacks == "room")
        or (other.lacks == "paging file" and message.cause == "memory_error")
    ):
        lacks = other.lacks
    return replace(message, also=(*message.also, sentence), lacks=lacks)


def _killed_by_ray(text: str) -> Message:
    message = kills(text)
    if not message.victims and message.statement is None:  # a worker's end, of this type
        message = replace(message, victims=tuple(dict.fromkeys(died(text))))
        if message.victims and message.node_ip is None and message.node_id is None and (ended := death(text)):
            message = replace(message, node_ip=ended.node_ip, node_id=ended.node_id)
    return replace(message, victims=completed(message.victims, text), is_named=bool(message.victims))
