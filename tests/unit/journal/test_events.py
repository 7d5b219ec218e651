"""What a journal's lines are read as, one by one and many at once, and which are called damaged."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any, get_args

import pytest

from raymemprof import journal
from raymemprof.journal.events import Begin, Close, End, Memory, Sample, decode, decode_lines

BEGIN = {"event": "begin", "call": 3, "time": 1.5, "name": "load", "kind": "task", "memory": 7}
IDS = {"task_id": "ab", "attempt": 0, "actor_id": None, "job_id": "01"}
CLOSE = b'{"event":"close","capture":"a.bin","time":1}'


def line(**changed: Any) -> bytes:
    return json.dumps({**BEGIN, **IDS, **changed}).encode()


def test_a_line_is_its_event() -> None:
    found = decode(line(slot=1, turn=2, capture="a.bin"))
    assert isinstance(found, Begin)
    assert (found.call, found.time, found.name, found.task_id, found.slot, found.turn) == (3, 1.5, "load", "ab", 1, 2)
    assert (found.children, found.note, found.free) == (0, None, None)
    assert isinstance(decode(CLOSE), Close)


def test_memory_over_time_has_a_figure_for_each_moment() -> None:
    found = decode(b'{"event":"memory","time":1.5,"after":[0,50],"memory":[7,8]}')
    assert isinstance(found, Memory)
    assert (found.time, found.after, found.memory, found.children) == (1.5, [0, 50], [7, 8], None)
    with pytest.raises(ValueError, match="a time and a figure"):
        decode(b'{"event":"memory","time":1.5,"after":[0],"memory":[7],"children":[1,2]}')


def test_keys_in_another_order_and_keys_of_a_newer_version() -> None:
    turned = json.dumps(dict(reversed({**BEGIN, **IDS, "new": [1]}.items()))).encode()
    assert decode(turned) == decode(line())


@pytest.mark.parametrize("text", [b'{"event":"new","a":1}', b'{"a":"\\ud800","event":"new"}', b'{"event":"\\ud800"}'])
def test_an_event_of_a_newer_version_is_no_damage(text: bytes) -> None:
    assert decode(text) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"begin"',
        b'{"event":"begin"}',
        b'{"event":7}',
        CLOSE + CLOSE,
        CLOSE[:-1],
        CLOSE + b" x",
        CLOSE.replace(b"1", b"NaN"),
        CLOSE.replace(b"1", b"-1"),
        CLOSE.replace(b"1", b"1e400"),
        CLOSE.replace(b"a.bin", b"\xed\xa0\x80"),
        CLOSE.replace(b'"a.bin"', b"[" * 100_000),
        b'{"event":"close","capture":"\\ud800","time":' + b"[" * 100_000,
        line(memory=2**62 + 1),
        line(memory=True),
        line(memory=7.5),
        line(slot=1),
        line(task_id="a/b"),
        line(task_id="a" * 201),
        line(job_id="é"),
    ],
)
def test_what_is_damaged_is_so_alone_and_beside_others(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        decode(text)
    with pytest.raises(ValueError, match=r".*"):
        decode_lines(b"\n".join([CLOSE, text, CLOSE]))


def test_many_lines_are_each_what_they_are_alone() -> None:
    texts = [CLOSE, line(), line(name="größer"), CLOSE]
    assert decode_lines(b"\n".join(texts)) == [decode(text) for text in texts]


def test_half_a_surrogate_pair_is_a_question_mark() -> None:
    found = decode(line(name="a\ud800b"))
    assert isinstance(found, Begin)
    assert found.name == "a?b"


def test_what_is_missing_has_its_default() -> None:
    end = decode(b'{"event":"end","call":1,"duration":2,"status":"failed","error":null,"memory":3,"peak":4}')
    assert isinstance(end, End)
    assert (end.highest, end.total, end.left) == (None, 0, [])
    sample = decode(b'{"event":"sample","capture":"a.bin","mark":1,"time":2,"memory":3,"shared":4}')
    assert isinstance(sample, Sample)
    assert (sample.arenas, sample.pools, sample.moves, sample.segments) == (0, 0, [], None)


def test_lines_that_are_added_while_it_is_read_are_read_once(tmp_path: Path) -> None:
    path = tmp_path / "raymemprof-a-local-0-1-1.jsonl"
    path.touch()
    count = 20_000

    def write() -> None:
        for number in range(count):
            journal.append(path, {"event": "peak", "calls": [number], "memory": number})

    writer = threading.Thread(target=write)
    writer.start()
    found: list[int] = []
    end = left_out = 0
    while writer.is_alive() or end < path.stat().st_size:
        lines = journal.read_lines(path, start=end)
        found.extend(line.memory for line in lines if isinstance(line, journal.Peak))
        end, left_out = lines.end, left_out + lines.left_out
    writer.join()
    assert left_out == 0
    assert found == list(range(count))


@pytest.mark.parametrize("event", [one for one in get_args(journal.Event) if one is not Sample])
def test_each_field_is_described(event: Any) -> None:
    """Of a sample they are in `SAMPLE_KEYS`."""
    tag = event.__struct_config__.tag
    told = re.search(rf"^- `{tag}`:? (.*?)(?=^- |\n\n)", journal.__doc__ or "", re.MULTILINE | re.DOTALL)
    assert told is not None
    assert not [field for field in event.__struct_fields__ if f"`{field}`" not in told[1]]
