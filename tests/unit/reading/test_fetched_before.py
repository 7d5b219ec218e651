"""What was fetched stays whole: a journal that was compacted since does not take the place of its copy."""

from __future__ import annotations

import time
from pathlib import Path

import raymemprof
from raymemprof import journal as contract


def test_a_compacted_journal_does_not_replace_a_copy_that_tells_more(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded"
    for name in ("first", "second"):
        with raymemprof.profile_memory(name, directory=recorded, linger=0):
            data = bytearray(3_000_000)
        del data
        deadline = time.monotonic() + 60
        while raymemprof.captures(recorded)[-1].status != "closed":
            assert time.monotonic() < deadline
            time.sleep(0.05)
    first, second = raymemprof.captures(recorded)
    raymemprof.fetch(first, to=tmp_path / "copies")
    (journal,) = (tmp_path / "copies").glob("*.jsonl")
    copied = journal.read_bytes()
    first.path.unlink()
    (origin,) = recorded.glob("*.jsonl")
    lines = origin.read_bytes().splitlines(keepends=True)
    origin.write_bytes(b"".join(line for line in lines if first.path.name.encode() not in line))
    fetched = raymemprof.fetch(second, to=tmp_path / "copies")
    (said,) = fetched.left_out
    assert f"does not tell of {first.path.name} any more" in str(said)
    assert journal.read_bytes() == copied
    assert raymemprof.heap(tmp_path / "copies" / first.path.name).peak > 2_500_000
    raymemprof.fetch(second, to=tmp_path / "others")
    assert [call.name for call in raymemprof.calls(tmp_path / "others" / second.path.name)] == ["second"]


def test_it_is_said_where_a_copy_lists_fewer_calls(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded"
    with raymemprof.profile_memory("traced", directory=recorded, linger=0):
        pass
    for _ in range(400):
        with raymemprof.profile_memory("sampled", directory=recorded, heap=False):
            pass
    deadline = time.monotonic() + 60
    while raymemprof.captures(recorded)[-1].status != "closed":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (capture,) = raymemprof.captures(recorded)
    assert raymemprof.fetch(capture, to=tmp_path / "copies").left_out == ()
    (origin,) = recorded.glob("*.jsonl")
    data, kept = origin.read_bytes(), bytearray()
    contract.compact(
        lambda at: data[at : at + 2**16], lambda name: (recorded / name).exists(), kept.extend, recent=5, pause=int
    )
    origin.write_bytes(kept)
    fewer = 401 - len(raymemprof.calls(recorded))
    assert fewer > 0
    fetched = raymemprof.fetch(capture, to=tmp_path / "copies")
    (said,) = fetched.notes
    assert f"{fewer} calls that it listed are only in sums now" in said
    assert (len(fetched), fetched.left_out) == (1, ())
