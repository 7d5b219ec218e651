"""Whom Ray's memory monitor says that it killed, or is about to kill, and whom it considered."""

from __future__ import annotations

from collections.abc import Iterator

from ..facts import Considered, Victim
from ..patterns import ANY_ID, COUNT, NAME, NUMBER, Form, gibibytes, pattern, whole

__all__ = ["CHOSEN_IDLE", "LATEST_KILLED", "OLD_KILL", "ONE_KILLED", "chosen_idle", "considered", "killed"]

_WORKER_DIGITS = 56
_TASK_DIGITS, _ACTOR_DIGITS = 48, 32
_NIL = Form(r"[f0]*")
ONE_KILLED = pattern(
    rf"\((?:actor ID: ({ANY_ID}?))?(?:, )?(?:task ID: ({ANY_ID}?))?(?:, )?"
    rf"(?:lease ID: {ANY_ID}?)?(?:, )?name=({NAME}), pid=({COUNT}), memory used=({NUMBER})GB\)"
)
"""From Ray 2.2 to 2.55; from 2.50 on both an actor's and a lease's id, without a comma between."""
LATEST_KILLED = pattern(
    rf"killing latest (?:task|actor) with name ({NAME}) and (task|actor) ID ({ANY_ID}) to avoid running out"
)
"""Ray 2.0."""
_DASK = Form("dask:")
"""What Dask on Ray names its tasks."""
_KILLED_WORKER = pattern(rf"Ray killed this worker \(ID: ({ANY_ID})\)")
_WORKER = pattern(
    rf"\((?:Task|Actor\(({ANY_ID})\)|Worker with no lease granted): "
    rf"(?:job ID={ANY_ID}, lease ID={ANY_ID}, task name=({NAME}), "
    rf"required resources=\{{([^\n]{{0,300}}?)\}}, )?"
    rf"pid=({COUNT}), actual memory used=({NUMBER})GB, worker ID=({ANY_ID})\)"
)
_WORKER_CUT = pattern(
    rf"\((?:Task|Actor\(({ANY_ID})\)): job ID={ANY_ID}, lease ID={ANY_ID}, task name=({NAME}), "
    rf"required resources=(?:\{{[^\n]{{0,300}}?\}}, pid=({COUNT}), (?:actual memory used=({NUMBER})GB)?)?"
    r"(?![^\n]{0,500}\bworker ID=[0-9a-f]{56}\))"
)
"""One of them whose end is missing: a figure is whole only where something follows it."""
OLD_KILL = pattern(
    rf"Killing worker with the latest task assigned time to free up memory[^\n]{{0,200}}?Task to be killed: ({ANY_ID})"
)
"""What a raylet of 2.0 logs."""
_WORKER_SHORTENED = pattern(
    rf"\((?:Task|Actor\(({ANY_ID})\)|Actor(?:\([^()\n]{{1,60}}\))?): [^()\n]{{0,80}}\.\.\.[^()\n]{{0,80}}?"
    rf"task name=({NAME}), [^()\n]{{0,300}}?pid=({COUNT}), (?:[^()\n]{{0,80}}?, )?actual memory used=({NUMBER})GB\b"
)
"""One of them, of which somebody left out fields: `(Task: ... task name=f, pid=8, actual memory used=1.5GB, ...)`."""
_ONE_CUT = pattern(
    rf"where the (?:task|lease|actor) \((?:actor ID: ({ANY_ID}?))?(?:, )?(?:task ID: ({ANY_ID}?))?(?:, )?"
    rf"(?:lease ID: {ANY_ID}?)?(?:, )?name=({NAME}), pid=(?:({COUNT}),[^\n]{{0,60}}|\d{{0,10}})\s{{0,9}}\Z"
)
"""The same of one that was killed, at the end of a text."""
_MEMORY_RESOURCE = pattern(r"(?<!\w)memory: (\d{1,18}(?:\.\d{1,12})?(?:e\+?\d{1,2})?)(?![\w.])")
"""In bytes, as C++ prints a double: of large figures six digits and an exponent."""
_SELECTED = pattern(r"Selected to kill: (?=\()")
_ONLY_SELECTED = pattern(r"based on the killing policy: \[")
"""Before those that Ray killed, in versions that do not name those that it spared."""
CHOSEN_IDLE = pattern(
    rf"Selecting idle worker to kill\. PID: ({COUNT}), Memory used: (\d{{1,18}}) bytes|"
    rf"Selected a worker that doesn't have any lease granted [^\0]{{0,250}}?\bworker_pid=({COUNT}) "
    r"worker_used_memory=(\d{1,18})(?!\d)"
)
"""What Ray says of idle workers just before it kills them."""


def killed(text: str) -> Iterator[Victim]:
    """Yield the workers that a text says were killed for memory."""
    starts = [found.end() for found in _SELECTED.finditer(text)]
    if not starts and (listed := _ONLY_SELECTED.search(text)):
        forms = (_WORKER, _WORKER_SHORTENED)
        starts = sorted({match.start() for form in forms for match in form.finditer(text, listed.end())})
    elif not starts:
        yield from _one_killed(text)
    for start in starts:
        found = _WORKER.match(text, start)
        if found is None and (cut := _WORKER_SHORTENED.match(text, start) or _WORKER_CUT.match(text, start)):
            pid, memory = cut[3], cut[4]
            actor_id = whole(cut[1], _ACTOR_DIGITS)
            yield Victim(cut[2], None, actor_id, None, int(pid) if pid else None, gibibytes(memory) if memory else None)
        if found:
            actor_id, name, _, pid, memory, worker_id = found.groups()
            actor_id, worker_id = whole(actor_id, _ACTOR_DIGITS), whole(worker_id, _WORKER_DIGITS)
            yield Victim(name, None, actor_id, worker_id, int(pid), gibibytes(memory))


def considered(text: str) -> Iterator[Considered]:
    """The workers that it considered to kill."""
    selected = {found.end() for found in _SELECTED.finditer(text)}
    for found in _WORKER.finditer(text):
        _, name, resources, pid, memory, _ = found.groups()
        asked = _MEMORY_RESOURCE.search(resources or "")
        requested = round(float(asked[1])) if asked else None
        yield Considered(name, int(pid), gibibytes(memory), requested, found.start() in selected)


def chosen_idle(text: str) -> Iterator[Considered]:
    """The idle workers that it is about to kill, which the lines before its message name."""
    for found in CHOSEN_IDLE.finditer(text):
        pid, memory = found[1] or found[3], found[2] or found[4]
        yield Considered(None, int(pid), int(memory), None, True)


def _one_killed(text: str) -> Iterator[Victim]:
    one, worker = ONE_KILLED.search(text), _KILLED_WORKER.search(text)
    worker_id = whole(worker[1], _WORKER_DIGITS) if worker else None
    if one:
        task_id, actor_id = whole(one[2], _TASK_DIGITS), whole(one[1], _ACTOR_DIGITS)
        task_id, actor_id = (None if found is None or _NIL.fullmatch(found) else found for found in (task_id, actor_id))
        yield Victim(one[3], task_id, actor_id, worker_id, int(one[4]), gibibytes(one[5]))
        return
    latest = LATEST_KILLED.search(text)
    if latest and not latest[1].strip():
        return
    if latest:
        task_id = whole(latest[3], _TASK_DIGITS) if latest[2] == "task" else None
        actor_id = whole(latest[3], _ACTOR_DIGITS) if latest[2] == "actor" else None
        yield Victim(
            latest[1] if _DASK.match(latest[1]) else latest[1].rpartition(":")[2],
            task_id,
            actor_id,
            worker_id,
            None,
            None,
        )
    elif cut := _ONE_CUT.search(text):
        task_id, actor_id = whole(cut[2], _TASK_DIGITS), whole(cut[1], _ACTOR_DIGITS)
        yield Victim(cut[3], task_id, actor_id, worker_id, int(cut[4]) if cut[4] else None, None)
    elif (old := OLD_KILL.search(text)) and (task_id := whole(old[1].rstrip("."), _TASK_DIGITS)):
        yield Victim(None, task_id, None, worker_id, None, None)
    elif worker_id:
        yield Victim(None, None, None, worker_id, None, None)
