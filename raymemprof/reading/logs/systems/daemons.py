"""What the daemons say that kill for memory before the kernel does: systemd-oomd, earlyoom and nohang."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from ....display.text import listed
from ..facts import Message, Victim
from ..kinds import Kind, first_of
from ..patterns import COUNT, SIZE, Form, pattern, size

__all__ = ["daemons"]

_SWAP_USED = (
    r"(?: and swap used \((?P<swap>\d{1,18})\) / total \((?P<all>\d{1,18})\)"
    r"(?: being more than (?P<most>\d{1,3}(?:\.\d{1,4})?%))?)?"
)
_NEARLY = "memory and swap were nearly used up[: {swap} of {all} bytes of swap][, where {most} is the limit of both]"
_DAEMONS = (
    Kind(
        "systemd_oomd",
        pattern(
            r"Marked (?P<whole>(?:/|…|\.{3})[^\s\n]{1,300}) for killing due to memory used "
            rf"\((?P<used>\d{{1,18}})\) / total \((?P<limit>\d{{1,18}})\){_SWAP_USED}"
        ),
        f"systemd-oomd set out to kill all processes of {{whole}}, because {_NEARLY}.",
    ),
    Kind(
        "systemd_oomd",
        pattern(
            r"Marked (?P<whole>/[^\s\n]{1,300}) for killing due to memory pressure for (?P<of>/[^\s\n]{1,300}?) being "
            r"(?P<is>\d{1,12}\.\d{1,4}%) > (?P<most>\d{1,12}\.\d{1,4}%)(?: for > (?P<time>\w{1,10}))?"
        ),
        "systemd-oomd set out to kill all processes of {whole}, because the memory pressure of {of} was {is}, above "
        "{most}[ for more than {time}].",
    ),
    Kind(
        "systemd_oomd",
        pattern(
            r"Killed (?P<whole>(?:/|…|\.{3})[^\s\n]{1,300}) due to memory used \((?P<used>\d{1,18})\) / total "
            rf"\((?P<limit>\d{{1,18}})\){_SWAP_USED}"
        ),
        f"systemd-oomd killed all processes of {{whole}}, because {_NEARLY}.",
    ),
    Kind(
        "systemd_oomd",
        pattern(
            r"Killed (?P<whole>/[^\s\n]{1,300}) due to memory pressure for (?P<of>/[^\s\n]{1,300}?) being "
            r"(?P<is>\d{1,12}\.\d{1,4}%) > (?P<most>\d{1,12}\.\d{1,4}%)(?: for > (?P<time>\w{1,10}))?"
        ),
        "systemd-oomd killed all processes of {whole}, because the memory pressure of {of} was {is}, above {most}[ for "
        "more than {time}].",
    ),
    Kind(
        "systemd_oomd",
        pattern(r"(?:(?P<whole>[\w@.\\-]{1,100}): )?systemd-oomd killed 1 process"),
        "systemd-oomd killed a process[ of {whole}] for memory; the text does not name it.",
    ),
    Kind(
        "systemd_oomd",
        pattern(r"(?:(?P<whole>[\w@.\\-]{1,100}): )?systemd-oomd killed (?:(?P<count>\d{1,9}|some) )?process"),
        "systemd-oomd killed[ {count}] processes[ of {whole}] for memory; the text does not name them.",
    ),
    Kind(
        "systemd_oomd",
        pattern(
            r"\A(?=[^\0]{0,20000}?\bMemory pressure for (?P<of>/[^\s\n]{1,300}) is (?P<is>\d{1,12}\.\d{1,4}%) > "
            r"(?P<most>\d{1,12}\.\d{1,4}%)(?: for > (?P<time>\w{1,10}))?)"
            r"[^\0]{0,20000}?\boomd attempting to kill (?P<one>\d{1,10}) with KILL"
        ),
        "systemd-oomd set out to kill processes, among them the one with pid {one}, because the memory pressure of "
        "{of} was {is}, above {most}[ for more than {time}].",
    ),
    Kind(
        "systemd_oomd",
        pattern(r"\boomd attempting to kill (?P<one>\d{1,10}) with KILL"),
        "systemd-oomd set out to kill processes, among them the one with pid {one}.",
    ),
    Kind(
        "systemd_oomd",
        pattern(
            r"\bsystemd-oomd\[\d{1,10}\]: Killed (?P<whole>/[^\s\n]{1,300})[ \t]{0,9}(?:\n|\Z)"
        ),  # the rest is cut off
        "systemd-oomd killed all processes of {whole}.",
    ),
    Kind(
        "systemd_oomd",
        pattern(r"Killed (?P<whole>/[^\s\n]{1,300}) due to memory pressure"),
        "systemd-oomd killed all processes of {whole}, because of memory pressure.",
    ),
    Kind(
        "warning",
        pattern(
            r"\bRule '(?P<rule>[^'\n]{1,100})' conditions met for cgroup (?P<of>/[^\s\n,(]{1,300})"
            r"(?: \(lasting (?P<time>\w{1,10})\))?, taking action (?P<action>[\w-]{1,40})"
            r"(?:[^\0]{0,300}?\btop candidates were:[^\0]{0,200}?\bPath: (?P<first>/[^\s\n]{1,300}))?"
        ),
        "systemd-oomd's rule {rule} applied to {of}[ for {time}], and its action is {action}[; the first candidate to "
        "be killed was {first}]. The text does not say that anything was killed.",
        lacks="machine",
    ),
)
_OOMD_KILLS = pattern(rf"\boomd attempting to kill ({COUNT}) with KILL")
_OOMD_PRESSURE = pattern(
    r"\bMemory pressure for (?P<of>/[^\s\n]{1,300}) is (?P<is>\d{1,12}\.\d{1,4}%) > (?P<most>\d{1,12}\.\d{1,4}%)"
    r"(?: for > (?P<time>\w{1,10}))?"
)
_OF_UNIT = pattern(r"(?P<whole>[\w@.\\-]{1,200}): systemd-oomd killed (?P<count>\d{1,9}|some) process")
_KILLED_UNIT = Form(r"\bKilled (/[^\s\n]{1,300}\.(?:scope|service|slice))(?: due to memory |[ \t]{0,9}$)", re.MULTILINE)
_MOST_PIDS, _MOST_UNITS = 10, 10
_UNNAMED = Form(r"; the text does not name (?:it|them)\.$")
_EARLIER = tuple(
    Kind("earlyoom", form, "earlyoom killed {victims}, because the machine was low on memory.")
    for form in (
        pattern(
            rf"killing process (?P<pid>{COUNT}) \"(?P<name>[^\"\n]{{1,64}})\" with signal (?:15|9): badness \d{{1,6}}"
            rf"(?:, VmRSS (?P<memory>{SIZE}))?"
        ),
        pattern(
            rf"Killing process '(?P<name>[^'\n]{{1,64}})' with signal (?:15|9), pid: (?P<pid>{COUNT}), badness: "
            rf"\d{{1,6}}(?:, VmRSS: (?P<memory>{SIZE}))?"
        ),
    )
)
"""How versions of earlyoom before 1.3 say it."""
_EARLYOOM = Kind(
    "earlyoom",
    pattern(
        rf"sending SIG(?:TERM|KILL) to process (?:(?P<pid>{COUNT})|…|\\u2026|\.{{3}}|<\w{{1,20}}>)(?: uid \d{{1,10}})? "
        rf"\"(?P<name>[^\"\n]{{1,64}})\":"
        rf"(?: (?:oom_score|badness) \d{{1,6}})?(?:, (?:oom_score_adj -?\d{{1,5}}, )?VmRSS (?P<memory>\d{{1,9}} MiB))?"
    ),
    "earlyoom killed {victims}, because the machine was low on memory.",
)
_AVAILABLE = pattern(r"\bmem avail: (\d{1,9}) of (\d{1,9}) MiB")
_SENDING = pattern(r"sending SIG(?:TERM|KILL) to process|[Kk]illing process (?:\d{1,10} \"|')[^\n]{1,80}? with signal")
_LIMITS_OF_EARLYOOM = pattern(
    r"low memory! at or below SIG(?:TERM|KILL) limits: mem (?P<mem>\d{1,3}(?:\.\d{1,2})?) ?%, swap "
    r"(?P<swap>\d{1,3}(?:\.\d{1,2})?) ?%",
    re.IGNORECASE,
)
_NOHANG = pattern(
    rf"[Ff]ound the victim with highest badness: Name: (?P<name>[^\n]{{1,64}}?)\s{{1,40}}PID: (?P<pid>{COUNT})"
    rf"(?:[^\0]{{0,300}}?\bVmRSS: (?P<memory>\d{{1,9}} MiB))?|"
    rf"[Pp]rocess with highest badness \(found in [^\n()]{{1,30}}\):[^\0]{{0,120}}?\bPID: (?P<pid_1>{COUNT}), Name: "
    rf"(?P<name_1>[^\n]{{1,64}}?), badness:"
)
"""What nohang, a daemon like earlyoom, says of its choice."""
_DID_NOT_END = pattern(r"(process \d{1,10} did not exit|kill failed: Timer expired)|exited after \d")
_MOST_RUNS = 1000
"""Choices of a daemon that are looked at."""
_MOST_TOLD = 3
_RAY = Form(r"ray(?:::|let$)|gcs_server$")
"""How processes of Ray's are named in the kernel's lists."""


def daemons(text: str) -> Message | None:
    """Return what the daemons say that kill before the kernel does."""
    message = first_of((_EARLYOOM, *_EARLIER), text)
    if message is None:
        return _nohang(text) or _oomd(text)
    message = _survived(message, text)
    limits = next(reversed(list(itertools.islice(_LIMITS_OF_EARLYOOM.finditer(text), _MOST_RUNS))), None)
    if limits is not None:
        said = f"Its limits: {limits['mem']} % of memory available, and {limits['swap']} % of swap free."
        message = replace(message, also=(said,))
    before = list(_AVAILABLE.finditer(text[: next(_SENDING.finditer(text)).start()]))
    if before and message.killed == 1:
        available, total = (int(figure) * 2**20 for figure in before[-1].groups())
        if available <= total:
            message = replace(message, used=total - available, limit=total)
    is_of_ray = any(_RAY.match(victim.name or "") for victim in message.victims)
    return message if is_of_ray else replace(message, lacks="machine")


def _survived(message: Message, text: str) -> Message:
    """Say of whom earlyoom could not end, as far as the text goes, that it did not."""
    last = next(reversed(list(itertools.islice(_DID_NOT_END.finditer(text), _MOST_RUNS))), None)
    if last is None or last[1] is None or len({victim.pid for victim in message.victims}) != 1:
        return message
    victim = message.victims[0]
    held = f", which had {victim.memory // 2**20} MiB" if victim.memory else ""
    said = f"earlyoom set out to end {victim.name} (pid {victim.pid}){held}, because the machine was low on memory; as "
    return replace(message, statement=f"{said}far as the text goes, it did not end.", victims=())


def _oomd(text: str) -> Message | None:
    """Return what systemd-oomd says, with the pids and the pressure of which its older versions have lines."""
    message = first_of(_DAEMONS, text)
    if message is None or message.statement is None:
        return message
    said = message.statement
    units = {one["whole"]: one["count"] or "1" for one in _OF_UNIT.finditer(text)}
    if units and len(units) <= _MOST_UNITS and not all(unit in said for unit in units):
        each = [f"{count} process{'es' * (count != '1')} of {unit}" for unit, count in units.items()]
        message = replace(message, also=(f"systemd-oomd killed {listed(each)}.",))
    killed = dict.fromkeys(one[1] for one in itertools.islice(_KILLED_UNIT.finditer(text), _MOST_RUNS))
    others = [unit for unit in killed if unit not in said]
    if others and len(others) <= _MOST_UNITS:
        message = replace(message, also=(*message.also, f"It killed all processes of {listed(others)}, too."))
    pids = list(dict.fromkeys(one[1] for one in itertools.islice(_OOMD_KILLS.finditer(text), _MOST_RUNS)))
    pressure, also = _OOMD_PRESSURE.search(text), []
    if pressure and pressure["is"] not in said:
        time = f" for more than {pressure['time']}" if pressure["time"] else ""
        also.append(f"The memory pressure of {pressure['of']} was {pressure['is']}, above {pressure['most']}{time}.")
    if pids and any(f"pid {pid}." not in said for pid in pids):
        more = ", and more" if len(pids) > _MOST_PIDS else ""
        also.append(f"The pids that it set out to kill: {', '.join(pids[:_MOST_PIDS])}{more}.")
        message = replace(message, statement=_UNNAMED.sub(".", said))
    return replace(message, also=(*message.also, *also))


def _nohang(text: str) -> Message | None:
    """Return whom nohang chose."""
    victims = tuple(
        dict.fromkeys(
            Victim(
                one["name"] or one["name_1"],
                None,
                None,
                None,
                int(one["pid"] or one["pid_1"]),
                size(one["memory"] or ""),
            )
            for one in itertools.islice(_NOHANG.finditer(text), _MOST_RUNS)
        )
    )
    if not victims:
        return None
    named = " and ".join(f"{victim.name} (pid {victim.pid})" for victim in victims[:_MOST_TOLD])
    more = " and others" if len(victims) > _MOST_TOLD else ""
    said = f"nohang, a daemon like earlyoom, chose {named}{more} to end, because the machine was low on memory."
    is_of_ray = any(_RAY.match(victim.name or "") for victim in victims)
    lacks = None if is_of_ray else "machine"
    return Message("earlyoom", said, victims=victims, killed=len(victims), is_named=True, lacks=lacks)
