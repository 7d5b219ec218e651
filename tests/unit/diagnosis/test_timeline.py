"""timeline(): what is drawn is what the journals say, it is small, and it says what it leaves out."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof.diagnosis.timeline.areas import Grid, stacked
from raymemprof.diagnosis.timeline.scale import Scale
from raymemprof.reading.catalog.series import Point, lives_of, thinned
from tests.paths import DATA

MIB, GIB = 2**20, 2**30
COMMAND = Path(sys.executable).with_name("raymemprof")
SVG = "{http://www.w3.org/2000/svg}"
EVIL = '<script>alert(1)</script>"&\x1b\ud800'
WORST = 400_000
"""Bytes of a page, whatever is in it."""


def write(folder: Path, pid: int, lines: Iterable[dict[str, Any]], node: str = "a", **process: Any) -> None:
    """Write the journal of a process that is gone."""
    folder.mkdir(exist_ok=True)
    first = {"event": "process", "version": 1, "pid": pid, "created": 1e9, "node_id": node * 56, **process}
    path = folder / f"raymemprof-load-local-0-{pid}-{pid}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in [first, *lines]))


def call(
    number: int, start: float, duration: float | None, memory: int, peak: int, name: str = "load", **more: Any
) -> list[dict[str, Any]]:
    """A call that began so many seconds after the first, and ended unless it was killed."""
    begin = {"event": "begin", "call": number, "time": 1e9 + start, "name": name, "kind": "task", "memory": memory}
    ids = {"task_id": f"{number:048x}", "attempt": 0, "actor_id": None, "job_id": "01000000", "note": "sampled"}
    end = {"event": "end", "call": number, "duration": duration, "status": "finished", "error": None, "memory": memory}
    return [{**begin, **ids, **more}, *([{**end, "peak": peak}] if duration is not None else [])]


def series(start: float, step: float, *memory: int, **more: Any) -> dict[str, Any]:
    after = [round(number * step * 1e3) for number in range(len(memory))]
    return {"event": "memory", "time": 1e9 + start, "after": after, "memory": memory, **more}


def drawn(path: Path) -> ElementTree.Element:
    """Return the picture in a page, which must be well-formed as it stands."""
    found = re.search(r"<svg.*</svg>", path.read_text(), re.DOTALL)
    assert found is not None
    return ElementTree.fromstring(found[0])


def told(picture: ElementTree.Element, kind: str) -> list[str]:
    """What is said of the shapes of a kind."""
    return [
        title.text or ""
        for shape in picture.iter()
        if kind in shape.get("class", "").split()
        for title in shape.findall(f"{SVG}title")
    ]


def test_a_short_call_has_its_memory_over_time(tmp_path: Path) -> None:
    with raymemprof.profile_memory("short", directory=tmp_path):
        kept = bytearray(b"1") * 20_000_000
    (call,) = raymemprof.calls(tmp_path)
    assert call.duration is not None
    assert len(kept) / call.duration > 0
    report = raymemprof.timeline(call, tmp_path / "short.svg")
    areas = [
        one.get("d") for one in ElementTree.parse(report.path).iter(f"{SVG}path") if "area" in one.get("class", "")
    ]
    assert areas
    points = [tuple(map(float, point)) for point in re.findall(r"(-?[\d.]+)[ ,](-?[\d.]+)", areas[0])]
    assert max(x for x, _ in points) - min(x for x, _ in points) > 500, "as wide as the picture"
    assert max(y for _, y in points) - min(y for _, y in points) > 30


def test_the_highest_of_neighbours_is_kept() -> None:
    points = [Point(number / 10, number % 7 + 1000 * (number == 4321)) for number in range(10_000)]
    found = thinned(points, 100)
    assert len(found) <= 100
    assert (found[0], found[-1]) == (points[0], points[-1])
    assert points[4321] in found
    assert list(found) == sorted(found)
    assert thinned(points[:50], 100) == tuple(points[:50])


def test_processes_are_stacked() -> None:
    """Two rise at different times: together they have the sum where both are there, and else their own."""
    grid = Grid(0, 100, 100)
    one = [Point(0, 100), Point(60, 100)]
    other = [Point(40, 10), Point(70, 10), Point(70.001, 50), Point(100, 50)]
    (lower, upper), sums = stacked(grid, [one, other])
    assert (sums[10], sums[50], sums[65], sums[90]) == (100, 110, 10, 50)
    assert {height for _, height in lower.upper} == {100}
    assert upper.lower[0] == (40, 100)
    assert upper.lower[-1] == (100, 0)
    assert stacked(grid, [[Point(5, 7)]])[1][5] == 7, "a single moment has a height"


def test_a_series_is_that_of_its_calls(tmp_path: Path) -> None:
    """Children count, a look at the process alone does not beside them, and calls that were not chosen are left out."""
    first = [*call(0, 0, 1, 100, 100), *call(1, 2, 3, 100, 900, "other")]
    children = {"event": "children", "calls": [1], "memory": 500, "total": 900, "count": 1, "largest": []}
    peak = {"event": "peak", "calls": [1], "memory": 300, "time": 1e9 + 3.5}
    memory = series(2.5, 0.5, 200, 300, 400, children=[0, 500, 0])
    write(tmp_path, 7, [*first, {**children, "time": 1e9 + 3}, peak, memory])
    (life,) = lives_of(raymemprof.calls(tmp_path, name="other")).lives
    assert [(round(point.time - 1e9, 1), point.memory) for point in life.points] == [
        (2.0, 100),
        (2.5, 200),
        (3.0, 800),
        (3.0, 900),
        (3.5, 400),
        (5.0, 100),
    ]
    assert (life.pid, life.peak, life.ended) == (7, 900, None)
    (life,) = lives_of(raymemprof.calls(tmp_path, name="load")).lives
    assert {point.memory for point in life.points} == {100}


def test_the_peak_of_a_call_is_drawn_and_said_though_no_reading_met_it(tmp_path: Path) -> None:
    """The kernel knows it, and not when it was: the highest reading takes its place. Another call is as it was."""
    calls = [*call(0, 0, 2, 100 * MIB, 186 * MIB), *call(1, 3, 2, 100 * MIB, 120 * MIB, "other")]
    write(tmp_path, 7, [*calls, series(0.5, 0.5, 90 * MIB, 180 * MIB, 110 * MIB), series(4, 0.5, 120 * MIB)])
    (life,) = lives_of(raymemprof.calls(tmp_path)).lives
    assert [round(point.memory / MIB) for point in life.points] == [100, 90, 186, 110, 100, 100, 120, 100]
    report = raymemprof.timeline(tmp_path, tmp_path / "peak.svg")
    assert report.title.endswith("highest 186.0 MiB")
    assert "highest 186.0 MiB" in report.path.read_text()


@pytest.mark.parametrize("seconds", [0.001, 0.0109, 0.05, 0.9, 3, 90, 4_000, 90_000, 3_000_000])
def test_moments_are_told_apart_and_their_steps_are_even(seconds: float) -> None:
    first = 1_764_261_381.5137
    ticks = Scale(first, first + seconds, 92, 944).times()
    named = [tick.text for tick in ticks]
    assert 2 <= len(set(named)) == len(named) <= 8
    steps = [after.at - before.at for before, after in pairwise(ticks[:-1])]
    assert max(steps, default=0) - min(steps, default=0) < 1
    if seconds < 3600:
        clock = [
            sum(float(part) * unit for part, unit in zip(text.split(":"), (3600, 60, 1), strict=True)) for text in named
        ]
        drawn_at = [92 + (time - (first % 86_400)) / seconds * 852 for time in clock]
        assert all(
            abs(at - min(there, 916)) < 1 for at, there in zip((tick.at for tick in ticks), drawn_at, strict=True)
        )


def test_an_old_journal_has_a_timeline(tmp_path: Path) -> None:
    """It has samples of traced calls, and what calls began and ended with."""
    calls = raymemprof.calls(DATA / "recorded-0.1.0")
    report = raymemprof.timeline(calls, tmp_path / "old.html")
    assert told(drawn(report.path), "band")
    assert lives_of(calls).lives


def test_kills_and_retries_are_marked_in_words(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    write(logs, 1, [*call(0, 0, None, 50 * MIB, 0), series(0.5, 1, 100 * MIB, 900 * MIB)], logs=str(logs))
    write(logs, 2, call(0, 3, 1, 50 * MIB, 60 * MIB, attempt=1), logs=str(logs))
    report = raymemprof.timeline(raymemprof.calls(logs), tmp_path / "kill.html")
    picture = drawn(report.path)
    assert told(picture, "kill") == [
        "load (pid 1) was killed at 01:46:41 UTC with 900.0 MiB: exited without a trace, as after SIGKILL or os._exit"
    ]
    assert told(picture, "kill")[0] in report.path.read_text().split("</svg>")[1], "in words below"
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert {"load killed", "✕ load", "↻ load"} <= set(texts)
    (killed, retried) = told(picture, "band")
    assert killed.startswith("load: killed (exited without a trace")
    assert retried == "load, attempt 2: finished, peak 60.0 MiB, 1.0 s"
    assert "✕ killed" in texts[-1]
    assert "↻ retried" in texts[-1]
    # Where nothing was, nothing is said of it.
    quiet = raymemprof.timeline(raymemprof.calls(logs, status="finished"), tmp_path / "quiet.html")
    assert told(drawn(quiet.path), "kill") == []
    assert "✕" not in quiet.path.read_text()


@pytest.mark.parametrize(("threshold", "is_drawn"), [(1 * GIB, True), (64 * GIB, False), (None, False)])
def test_the_kill_threshold(threshold: int | None, is_drawn: bool, tmp_path: Path) -> None:
    """A dashed line where the raylet's log says it; words alone where the line would press all else to the ground."""
    logs = tmp_path / "logs"
    write(logs, 1, [*call(0, 0, 2, 50 * MIB, 0), series(0.5, 1, 100 * MIB, 900 * MIB)], logs=str(logs))
    if threshold is not None:
        said = "[2026-11-26 17:35:31,832 I 12 12] (raylet) memory_monitor.cc:1: MemoryMonitor initialized with "
        (logs / "raylet.out").write_text(f"{said}usage threshold at {threshold} bytes (0.95 system memory)\n")
    picture = drawn(raymemprof.timeline(logs, tmp_path / "threshold.html").path)
    assert told(picture, "limit") == (["Ray kills when the node uses 1.0 GiB in all"] if is_drawn else [])
    (note,) = [span.text or "" for span in picture.iter(f"{SVG}tspan")]
    assert ("uses 64.0 GiB in all, far above" in note) is (threshold == 64 * GIB)
    assert ("kill" in note) is (threshold == 64 * GIB)


def test_names_are_text_everywhere(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    write(logs, 1, [*call(0, 0, None, MIB, 0, EVIL), series(0.5, 1, 5 * MIB, 9 * MIB)], host=EVIL, logs=str(logs))
    write(logs, 2, call(0, 3, 1, MIB, MIB, EVIL), logs=str(logs))
    report = raymemprof.timeline(logs, tmp_path / "evil.html")
    picture = drawn(report.path)
    assert any("<script>" in text for text in told(picture, "band"))
    assert "<script" not in report.path.read_text()
    shown = report._repr_html_()
    assert shown.count("<script") == 1
    assert "alert(1)" not in shown.replace("&lt;script&gt;alert(1)&lt;/script&gt;", "")
    raymemprof.timeline(logs, tmp_path / "evil.svg")
    ElementTree.parse(tmp_path / "evil.svg")


def test_it_is_small_however_much_there_is(tmp_path: Path) -> None:
    """Ten nodes with twelve processes of 200 calls each, a third of which overlap, and 120 kills."""
    logs = tmp_path / "logs"
    for pid in range(120):
        lines: list[dict[str, Any]] = []
        for number in range(200):
            start = number * 1.0 + pid / 120
            name = f"a_function_with_a_long_name_{number % 3}"
            lines += call(number, start, 15.5 if number % 3 == 0 else 0.9, 50 * MIB, (60 + pid) * MIB, name)
            lines.append(series(start, 0.2, *((50 + number % 7 * 10 + part + pid) * MIB for part in range(5))))
        lines += call(200, 210, None, 50 * MIB, 0)
        write(logs, pid + 1, lines, node="abcdefghij"[pid % 10], logs=str(logs))
    report = raymemprof.timeline(logs, tmp_path / "many.html")
    assert report.path.stat().st_size < WORST
    assert len(report._repr_html_()) < WORST
    picture = drawn(report.path)
    assert len([shape for shape in picture.iter() if "band" in shape.get("class", "")]) <= 300
    said = " ".join(report.left_out)
    assert "4 nodes with 48 processes are not drawn." in said
    assert said.count("4 more processes, 804 calls of node") == 6
    assert "ran beside others" in said
    page = report.path.read_text()
    assert all(text in page for text in report.left_out)
    assert "24,120 calls" in report.title


def test_a_notebook_shows_it_where_scripts_run_and_where_not(tmp_path: Path) -> None:
    write(tmp_path / "logs", 1, [*call(0, 0, 2, MIB, 9 * MIB), series(0.5, 1, 5 * MIB, 9 * MIB)])
    report = raymemprof.timeline(tmp_path / "logs", tmp_path / "load.html")
    shown = report._repr_html_()
    (image,) = re.findall(r'<img src="data:image/svg\+xml;base64,([^"]+)"', shown)
    assert ElementTree.fromstring(base64.b64decode(image)).tag == f"{SVG}svg"
    assert 'alt="Memory of 1 process that ran 1 call' in shown
    assert report.title in shown
    assert len(shown) < 15_000
    assert not re.search(r"(src|href)=\"(?!data:)", shown + report.path.read_text())


def test_which_calls(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    write(logs, 1, [*call(0, 0, 1, MIB, MIB), *call(1, 2, 1, MIB, MIB, "Cache.add", actor_id="ab" * 16)])
    calls = raymemprof.calls(logs)
    for what, name, count in (
        (logs, None, 2),
        (str(logs), "load", 1),
        (calls, None, 2),
        (calls[0], None, 1),
        (list(calls), "Cache.*", 1),
        (next(logs.glob("*.jsonl")), "Cache.add", 1),
        ([logs, calls[0]], "load", 2),
    ):
        report = raymemprof.timeline(what, tmp_path / "which.html", name=name, overwrite=True)
        assert sum(len(re.findall(r"finished", text)) for text in told(drawn(report.path), "band")) == count, what
    with pytest.raises(
        ValueError, match=r"nothing to draw: .*no call fits name='nobody'; there are calls of Cache.add, load"
    ):
        raymemprof.timeline(logs, name="nobody")
    with pytest.raises(ValueError, match="status='dead' is none of"):
        raymemprof.timeline(logs, status="dead")
    with pytest.raises(TypeError, match="3 is no path, Call or Capture"):
        raymemprof.timeline(3)
    with pytest.raises(FileNotFoundError):
        raymemprof.timeline(tmp_path / "nowhere")
    for path in logs.glob("*.jsonl"):
        path.unlink()
    with pytest.raises(ValueError, match=r"nothing to draw: raymemprof-load.* cannot be read"):
        raymemprof.timeline(calls, tmp_path / "gone.html")


def test_files_are_replaced_where_that_is_wanted(tmp_path: Path) -> None:
    write(tmp_path / "logs", 1, call(0, 0, 1, MIB, MIB))
    report = raymemprof.timeline(tmp_path / "logs")
    assert report.path == Path.cwd() / "raymemprof-timeline-load.html"
    raymemprof.timeline(tmp_path / "logs")
    with pytest.raises(FileExistsError):
        raymemprof.timeline(tmp_path / "logs", report.path)
    report.path.write_text("mine")
    with pytest.raises(FileExistsError):
        raymemprof.timeline(tmp_path / "logs")


def test_the_command(tmp_path: Path) -> None:
    write(tmp_path / "logs", 1, call(0, 0, 1, MIB, MIB))

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([COMMAND, "timeline", *map(str, arguments)], capture_output=True, text=True, cwd=tmp_path)

    done = run("logs", "--name", "load")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Wrote {tmp_path / 'raymemprof-timeline-load.html'}\n"
    assert run("logs", "-o", "a.svg").stdout == f"Wrote {tmp_path / 'a.svg'}\n"
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag == f"{SVG}svg"
    for arguments in (("logs", "-o", "a.svg"), ("logs", "--name", "nobody"), ("nowhere",), ("logs", "--status", "x")):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert done.stderr.count("\n") == 1


def test_the_doctor_shows_it_beside_a_finding(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    kept = [100 * MIB + number * 20 * MIB for number in range(20)]
    lines: list[dict[str, Any]] = []
    for number, memory in enumerate(kept):
        begin, end = call(number, number, 0.8, memory, memory + 20 * MIB, "Cache.add", actor_id="ab" * 16)
        lines += [{**begin, "kind": "method"}, {**end, "memory": memory + 20 * MIB}]
    write(logs, 1, lines, logs=str(logs), worker_id="cd" * 28)
    diagnosis = raymemprof.doctor(logs)
    assert diagnosis.findings[0].illness == "leaking_actor"
    page = diagnosis.save(tmp_path / "report.html").path.read_text()
    article = page.split("<article")[1].split("</article>")[0]
    (picture,) = re.findall(r"<svg.*?</svg>", article, re.DOTALL)
    assert len(told(ElementTree.fromstring(picture), "band")) == 20


@pytest.mark.browser
def test_in_a_browser(tmp_path: Path) -> None:
    """The page, and twice in a notebook of each theme: nothing fails or is fetched, and a shape says what it is."""
    pytest.importorskip("websocket")
    from tests.programs.browser import browser

    write(tmp_path / "logs", 1, [*call(0, 0, 2, MIB, 9 * MIB, EVIL), series(0.5, 1, 5 * MIB, 9 * MIB)])
    report = raymemprof.timeline(tmp_path / "logs", tmp_path / "page.html")
    with browser(tmp_path) as running:
        page = running.open(report.path)
        assert "<script>" in page.evaluate("document.querySelector('.band title').textContent")
        box = "document.querySelector('.area').getBoundingClientRect()"
        assert page.evaluate(f"{box}.width") > 500
        assert page.errors == page.requests == []
        for theme, style in (("dark", "background:#111;color:#eee"), ("light", "background:#fff;color:#111")):
            notebook = tmp_path / f"{theme}.html"
            shown = report._repr_html_().encode(errors="replace").decode()
            notebook.write_text(f"<!DOCTYPE html><meta charset=utf-8><body style='{style}'>{shown}{shown}")
            page = running.open(notebook)
            themes = page.evaluate("[...document.querySelectorAll('svg.rmt')].map(svg => svg.dataset.theme)")
            assert themes == [theme, theme]
            assert page.evaluate("document.images.length") == 0
            ground = page.evaluate("getComputedStyle(document.querySelector('.rmt .ground')).fill")
            assert (max(map(int, re.findall(r"\d+", ground))) < 64) is (theme == "dark")
            assert page.errors == page.requests == []
        page = running.open(tmp_path / "dark.html", scripts=False)
        assert page.errors == page.requests == []
