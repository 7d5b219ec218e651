"""Whom what a driver prints before the lines of others names: a raylet, its node, or a worker that crashed."""

from __future__ import annotations

import itertools
from dataclasses import replace

from ..facts import Message, Victim
from ..patterns import ADDRESS, COUNT, SIZE, Form
from ..ray.raisers import PROCESS_NAME

__all__ = ["with_prefixes"]

_CRASHED_THERE = Form(
    rf"\((?:(?P<name>{PROCESS_NAME}) )?pid=(?P<pid>{COUNT})(?:, ip=(?P<ip>{ADDRESS}))?\)"
    r"(?:(?!pid=|\\n)[^\n]){0,150}?(?:\*\*\* SIG(?:SEGV|ABRT|ILL|FPE|BUS) received|"
    r"Fatal Python error: (?:Segm|Abort|Bus)|\bplasma_store_provider\.cc:\d{1,5}[\]:] [^\n]{0,120}?IOError: )"
)
"""A worker's line on the driver's screen."""
_RAYLET_THERE = Form(rf"\((?:raylet|pid=raylet), ip=({ADDRESS})\)")
_RAYLET_HERE = Form(r"(?<!\] )\(raylet\)")
"""What a driver prints before a raylet's line of its own node; a raylet's own log has it behind a bracket."""
_KILLS_THERE = Form(
    rf"\((?:raylet|pid=raylet),ip=({ADDRESS})\)(?:\[[^\[\]]{{1,100}}\])?(?:\(raylet\))?(?:[\w./]{{1,80}}\.cc:\d{{1,5}}:)?"
    r"\d{1,9}Workers\(tasks/actors\)killed"
)
_KILLS = Form(r"\d{1,9}Workers\(tasks/actors\)killed")
"""A raylet's count of kills, with its prefix and without: without white space, since it may be wrapped anywhere."""
_SPILLED_THERE = Form(
    rf"\((?:raylet|pid=raylet), ip=({ADDRESS})\)(?:(?!ip=|\\n)[^\n]){{0,100}}?\bSpilled ({SIZE}), \d{{1,12}} objects"
)
_RAYS_OWN = Form(
    r"\((?P<part>raylet|gcs_server)(?:\.exe)?\)logging\.cc:\d{1,5}:\*\*\*SIG(?P<signal>SEGV|ABRT|ILL|FPE|BUS)received"
)
"""A crash in the log of the raylet or the GCS server, without its white space: it may be wrapped anywhere."""
_OF_RAYLET = Form(
    rf"\((?:raylet|pid=raylet)(?:, ip=(?P<ip>{ADDRESS}))?\)(?:(?!\\n|\(raylet)[^\n]){{0,60}}?"
    r"\*\*\* SIG(?P<signal>SEGV|ABRT|ILL|FPE|BUS) received"
)
"""The same on the driver's screen, where it may be of a process that the raylet started."""
_BUS_ERROR = Form(r"\*\*\* SIGBUS received|Fatal Python error: Bus error|killed by signal: Bus")
_MOST_NODES = 10
"""Nodes whose figures are given."""


def with_prefixes(message: Message, text: str) -> Message:
    """Add what a driver prints before the lines of others, as `(raylet, ip=…)`, which a text as printed lacks."""
    names_nobody = not message.is_named and (
        (message.cause == "crash" and message.statement is None) or _is_bus_error_of_rays_own(message, text)
    )
    if names_nobody and (own := _crash_of_rays_own(text)) is not None:
        return replace(own, also=message.also)
    crashes = list(_CRASHED_THERE.finditer(text)) if message.cause in ("crash", "bus_error") and "pid=" in text else []
    if crashes and not any(victim.worker_id or victim.actor_id or victim.task_id for victim in message.victims):
        victims = {int(one["pid"]): Victim(one["name"], None, None, None, int(one["pid"]), None) for one in crashes}
        places = {one["ip"] for one in crashes}
        node_ip = message.node_ip or (places.pop() if len(places) == 1 else None)
        who = [f"{one.name or 'a worker'} (pid {pid})" for pid, one in victims.items()]
        also = (f"It was {who[0]}.",) if len(who) == 1 and message.statement is not None else ()
        return replace(
            message, victims=tuple(victims.values()), is_named=bool(who), node_ip=node_ip, also=(*also, *message.also)
        )
    if names_nobody and (shown := _crash_on_screen(text)) is not None:
        return replace(shown, also=message.also)
    is_summary = message.cause == "ray_memory_monitor" and message.statement is None and not message.victims
    if is_summary and message.killed and message.nodes == 1 and not (message.node_ip or message.node_id):
        return _with_node_of_kills(message, text)
    if message.is_of_raylet and message.node_ip is None and message.node_id is None and "raylet" in text:
        raylets = set(_RAYLET_THERE.findall(text))
        spilled = dict(_SPILLED_THERE.findall(text)) if " spilled " in (message.statement or "") else {}
        if len(spilled) > 1:
            each = ", ".join(f"{ip} {size}" for ip, size in itertools.islice(spilled.items(), _MOST_NODES))
            more = f", and {len(spilled) - _MOST_NODES} more" if len(spilled) > _MOST_NODES else ""
            return replace(message, statement=f"{message.statement} Nodes' last figures: {each}{more}.")
        if len(raylets) == 1 and not _RAYLET_HERE.search(text):
            return replace(message, node_ip=raylets.pop(), is_of_raylet=True)
    return message


def _with_node_of_kills(message: Message, text: str) -> Message:
    """Add the node of a raylet that counts its kills, where the prefix of that very line names it."""
    bare = "".join(text.split()) if "raylet" in text else ""
    nodes = _KILLS_THERE.findall(bare)
    if len(set(nodes)) != 1 or len(nodes) != len(_KILLS.findall(bare)):
        return message
    return replace(message, node_ip=nodes[0], is_of_raylet=True)


def _is_bus_error_of_rays_own(message: Message, text: str) -> bool:
    """Whether all that a text says of SIGBUS is said of a raylet or the GCS server, or of what a raylet started."""
    if message.cause != "bus_error" or message.victims:
        return False
    own = [*_OF_RAYLET.finditer(text), *_RAYS_OWN.finditer("".join(text.split()))]
    count = sum(1 for _ in _BUS_ERROR.finditer(text))
    return bool(own) and all(one["signal"] == "BUS" for one in own) and count <= len(own)


def _crash_of_rays_own(text: str) -> Message | None:
    """Return what a log of Ray's own parts says of a crash."""
    found = _RAYS_OWN.search("".join(text.split()))
    if found is None:
        return None
    is_gcs = found["part"] == "gcs_server"
    return _crashed("Ray's GCS server" if is_gcs else "A raylet", None, found["signal"], "gcs" if is_gcs else "raylet")


def _crash_on_screen(text: str) -> Message | None:
    """Return what a driver shows of a raylet's crash."""
    found = _OF_RAYLET.search(text)
    if found is None:
        return None
    return _crashed("A raylet, or a process that it started,", found["ip"], found["signal"], "raylet")


def _crashed(who: str, node_ip: str | None, signal: str, part: str) -> Message:
    where = f" on node {node_ip}" if node_ip else ""
    if signal == "BUS":
        said = f"{who} got SIGBUS{where}: memory that it had mapped was not there, as where /dev/shm is full in a "
        end = "A GCS server's end ends its cluster" if part == "gcs" else "A raylet's end ends its node"
        return Message("bus_error", f"{said}container. {end}.", node_ip=node_ip, is_of_raylet=True)
    said = f"{who} crashed{where} (SIG{signal}): a fault in native code; nothing says that memory was short."
    return Message(cause="crash", statement=said, node_ip=node_ip, lacks=part)
