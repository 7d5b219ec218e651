"""`doctor()` on real clusters, each made sick in one way, and on a healthy one; and its page in a real browser."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import raymemprof
from raymemprof.diagnosis.advise.growth import _floors, _rises
from raymemprof.diagnosis.doctor.doctor import doctor
from raymemprof.diagnosis.doctor.findings import ILLNESSES, SEVERITIES
from tests.paths import PROGRAMS
from tests.programs.browser import Browser, browser

PROGRAM = PROGRAMS / "doctor_program.py"
LINES = {
    found[1]: number
    for number, text in enumerate(PROGRAM.read_text().splitlines(), 1)
    if (found := re.search(r"  # (the hog's line|the load's line|the cache's line|what outlives the call)$", text))
}
MIB = 2**20
SECONDS = 200
QUIET = ("leak", "idle", "healthy")
"""Scenes in which nothing is killed: they leave each other alone, and are played at once."""

Record = dict[str, Any]


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory, memory_to_itself: Any) -> Iterator[Callable[..., Record]]:
    """Have a cluster fall ill, once for each way, and give what the doctor said."""
    played: dict[str, Record] = {}
    started: list[subprocess.Popen[bytes]] = []

    def start(scene: str) -> tuple[Path, subprocess.Popen[bytes]]:
        folder = tmp_path_factory.mktemp(scene)
        command = [sys.executable, str(PROGRAM), scene]
        with (folder / "output").open("w") as output:
            return folder, subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)

    def run(scene: str) -> Record:
        if scene not in played:
            with contextlib.nullcontext() if scene in QUIET else memory_to_itself():
                begun = {one: start(one) for one in (QUIET if scene in QUIET else (scene,))}
                started.extend(process for _, process in begun.values())
                for _, process in begun.values():
                    process.wait(SECONDS)
            for one, (folder, _) in begun.items():
                assert (folder / "record.json").exists(), (folder / "output").read_text()[-4000:]
                played[one] = json.loads((folder / "record.json").read_text()) | {"folder": str(folder)}
        if "skip" in played[scene]:
            pytest.skip(played[scene]["skip"])
        return played[scene]

    yield run
    for process in started:
        process.kill()
        process.wait()
    for record in played.values():
        if "logs" in record:
            shutil.rmtree(Path(record["logs"]).parent, ignore_errors=True)


def first(record: Record, illness: str, severity: str) -> Record:
    """The finding that matters most, which must be of this illness; all findings must be in order."""
    findings = record["diagnosis"]["findings"]
    assert findings, record["shown"]
    found = findings[0]
    assert (found["illness"], found["severity"]) == (illness, severity), record["shown"]
    ranks = [
        (SEVERITIES.index(one["severity"]), one["kill_count"] == 0, ILLNESSES.index(one["illness"])) for one in findings
    ]
    assert ranks == sorted(ranks)
    assert all(one["evidence"] and one["next_steps"] for one in findings)
    assert record["diagnosis"]["healthy"] is False
    for text in (found["title"], *found["evidence"], *found["next_steps"]):
        assert text in record["shown"]
    return found  # type: ignore[no-any-return]


def check(record: Record, words: str) -> tuple[str, str]:
    """Verdict and answer of a question."""
    (found,) = (one for one in record["diagnosis"]["checks"] if words in one["question"])
    return found["verdict"], found["answer"]


def text_of(finding: Record) -> str:
    return "\n".join((finding["title"], *finding["evidence"], *finding["next_steps"]))


def test_a_task_that_was_killed(play: Callable[..., Record]) -> None:
    record = play("killed")
    found = first(record, "out_of_memory", "critical")
    kills = record["diagnosis"]["kills"]
    assert found["kill_count"] == len(kills) >= 1
    assert {kill["name"] for kill in kills} == {"hog"}
    assert found["name"] == "hog"
    assert found["node_id"] == kills[0]["node_id"]
    assert Path(found["lines"][0]["file"]) == PROGRAM
    assert found["lines"][0]["line"] == LINES["the hog's line"]
    line = LINES["the hog's line"]
    assert f"{PROGRAM}:{line} in hog: `kept.append(" in text_of(found)
    (asked,) = re.findall(r"@ray\.remote\(memory=([\d_]+)\)", text_of(found))
    largest = max(kill["memory"] for kill in kills)
    assert largest < int(asked) < 1.4 * largest
    assert found["calls"][0]["status"] == "killed"
    assert check(record, "killed for memory")[0] == "ill"
    assert check(record, "retried without end")[0] == "well"


def test_a_crowded_head(play: Callable[..., Record]) -> None:
    record = play("head")
    found = first(record, "head_node", "warning")
    head, _ = record["diagnosis"]["usage"]["nodes"]
    assert head["is_head"]
    assert found["node_id"] == head["node_id"]
    assert head["used"] >= 0.8 * head["threshold"]
    assert "ray start --head --num-cpus=0" in found["next_steps"][0]
    assert "Holder" in text_of(found)
    (driver,) = (process for process in head["processes"] if process["pid"] == record["driver"])
    assert driver["memory"] > 570 * MIB
    assert f"pid {record['driver']}" in text_of(found)
    assert check(record, "head node")[0] == "ill"
    assert check(record, "too many")[0] == "unknown"
    assert "profile_memory" in record["diagnosis"]["unchecked"][0]


def test_too_many_at_once(play: Callable[..., Record]) -> None:
    record = play("parallel")
    found = first(record, "too_parallel", "critical")
    (advice,) = record["diagnosis"]["recommendations"]
    (fits,) = advice["fits"].values()
    assert found["name"] == "load"
    assert 1 <= fits < 6
    assert "6 calls of it ran at once" in text_of(found)
    assert f"6 on the head node {record['diagnosis']['usage']['nodes'][0]['node_ip']}" in found["title"]
    assert f"`@ray.remote(num_cpus={advice['num_cpus']:g})` on load" in text_of(found)
    assert f"memory={advice['memory']:_}" in text_of(found)
    assert found["lines"][0]["line"] == LINES["the load's line"]
    assert all(one["illness"] != "out_of_memory" for one in record["diagnosis"]["findings"]), "told once"


def test_an_actor_that_grows(play: Callable[..., Record]) -> None:
    """One that loaded once, and takes memory in each call that it gives back, is not one."""
    record = play("leak")
    found = first(record, "leaking_actor", "critical")
    assert found["name"] == "Cache"
    assert [one["name"] for one in record["diagnosis"]["findings"] if one["illness"] == "leaking_actor"] == ["Cache"]
    assert found["lines"][0]["line"] == LINES["the cache's line"]
    assert found["lines"][0]["bytes"] == pytest.approx(8 * 30_000_000, rel=0.05)
    assert "most in Cache.add" in text_of(found)
    grown = float(re.search(r"grew from [\d.]+ MiB to [\d.]+ MiB, ([\d.]+) MiB a call", text_of(found))[1])
    assert grown * MIB * 15 == pytest.approx(7 * 30_000_000, rel=0.25)
    assert "`ray.kill(actor, no_restart=False)`" in text_of(found)
    assert record["kept_after"] == 0, "that starts it afresh"
    assert record["pasted"] == [0, ""], "what it says to run does as it stands"


def test_an_idle_worker_that_keeps_memory(play: Callable[..., Record]) -> None:
    record = play("idle")
    found = first(record, "idle_workers", "warning")
    assert found["name"].startswith("keeps<")
    assert found["lines"][0]["line"] == LINES["what outlives the call"]
    assert "`@ray.remote(max_calls=1)` on keeps<" in text_of(found)
    (idle,) = (
        process
        for process in record["diagnosis"]["usage"]["nodes"][0]["processes"]
        if process["role"] == "idle worker" and process["memory"] > 400 * MIB
    )
    assert f"pid {idle['pid']}" in text_of(found)
    assert check(record, "idle workers")[0] == "ill"


def test_endless_retries(play: Callable[..., Record]) -> None:
    record = play("endless")
    # The one that waits is killed too where others fill the machine before.
    found = next(one for one in record["diagnosis"]["findings"] if one["name"] == "hog")
    assert (found["illness"], found["severity"]) == ("endless_retries", "critical")
    assert "RAY_task_oom_retries=3" in found["next_steps"][0]
    hogs = [kill for kill in record["diagnosis"]["kills"] if kill["name"] == "hog"]
    assert f"killed {len(hogs)} times" in text_of(found)
    assert found["lines"][0]["line"] == LINES["the hog's line"]
    assert check(record, "retried without end")[0] == "ill"
    others = [one for one in record["diagnosis"]["findings"] if one["name"] == "hog"]
    assert [one["illness"] for one in others] == ["endless_retries"], "told once"


def test_retries_that_end(play: Callable[..., Record], tmp_path: Path) -> None:
    """The owner's log says how often a task may be retried yet."""
    logs = tmp_path / "logs"
    shutil.copytree(play("endless")["logs"], logs, ignore=shutil.ignore_patterns("*.sock"))
    assert doctor(logs).findings[0].illness == "endless_retries"
    for path in logs.glob("python-core-driver-*.log"):
        text = path.read_text(errors="replace")
        assert "oom retries left: -1" in text
        path.write_text(text.replace("oom retries left: -1", "oom retries left: 0"))
    assert [finding.illness for finding in doctor(logs).findings[:1]] == ["out_of_memory"]


def test_nothing_wrong(play: Callable[..., Record]) -> None:
    record = play("healthy")
    diagnosis = record["diagnosis"]
    assert diagnosis["healthy"] is True, record["shown"]
    assert diagnosis["findings"] == []
    assert diagnosis["unchecked"] == []
    assert record["shown"].startswith("Nothing wrong was found.")
    verdicts = {one["question"]: one["verdict"] for one in diagnosis["checks"]}
    assert verdicts.pop("Which tasks and actors use most?") == "info"
    assert set(verdicts.values()) == {"well"}, record["shown"]
    assert len(verdicts) == 10
    assert all(one["question"] in record["shown"] for one in diagnosis["checks"])
    assert "Nothing wrong was found." in record["html"]


def test_of_a_folder(play: Callable[..., Record], tmp_path: Path) -> None:
    """After the cluster is gone its logs tell of the kill; what is used now cannot be known, and that is said."""
    found = doctor(play("killed")["logs"])
    assert found.findings[0].illness == "out_of_memory"
    assert found.findings[0].lines[0].line == LINES["the hog's line"]
    assert found.usage is None
    verdicts = {one.question: one.verdict for one in found.checks}
    assert verdicts["Is it the head node?"] == verdicts["Is the object store full?"] == "unknown"
    assert verdicts["Was anything killed for memory?"] == "ill"
    assert play("killed")["logs"] in found.unchecked[0]
    with pytest.raises(FileNotFoundError, match="does not exist"):
        doctor(tmp_path / "missing")


def test_too_many_at_once_by_the_logs(play: Callable[..., Record]) -> None:
    """How many fit is not known then, but that several ran at once when one was killed."""
    assert doctor(play("parallel")["logs"]).findings[0].illness == "too_parallel"


def test_of_nothing(tmp_path: Path) -> None:
    found = doctor(tmp_path)
    assert found.healthy
    assert found.findings == ()
    assert len(found.unchecked) == 2
    assert {one.verdict for one in found.checks if "head" in one.question or "once" in one.question} == {"unknown"}


@pytest.mark.parametrize(
    ("memory", "grows"),
    [
        ([100, 150, 200, 250], True),
        ([100, 130, 160, 150, 190, 220, 250, 240, 280], True),
        ([100 + n for n in range(1000)], True),
        ([100, 110, 120, 130], False),  # little
        ([100, 400, 400, 400, 400], False),  # loaded once
        ([100, 300, 400, 420, 425, 426, 426, 426], False),  # a cache that is full
        ([100, 300, 100, 300, 100, 300, 100, 300], False),  # given back
        ([500, 400, 300, 200], False),
        ([100] * 10 + [400] * 10, False),
    ],
)
def test_what_grows(memory: list[int], grows: bool) -> None:
    assert _rises(_floors([size * MIB for size in memory])) is grows


def test_code_that_was_changed_since(tmp_path: Path, run_script: Callable[..., str]) -> None:
    """The line's number and its text are those of what ran."""
    code = (
        "from raymemprof import profile_memory\n"
        "@profile_memory(directory='recorded')\ndef twice():\n"
        "    rows = bytearray(b'1') * 80_000_000\n    copy = bytes(rows)\ntwice()\n"
    )
    run_script(code)
    (found,) = doctor(tmp_path / "recorded").findings
    assert found.illness == "copy"
    assert doctor(tmp_path / "recorded").healthy
    assert [line.line for line in found.lines] in ([4, 5], [5, 4])
    assert any("`copy = bytes(rows)`" in text for text in found.evidence)
    (tmp_path / "script.py").write_text("#\n" + code.replace("copy", "other"))
    (found,) = doctor(tmp_path / "recorded").findings
    assert any("script.py:5 in twice" in text for text in found.evidence)
    assert any("`copy = bytes(rows)`" in text for text in found.evidence)
    assert "other = bytes(rows)" not in " ".join(found.evidence)


class TestSave:
    def test_files(self, play: Callable[..., Record]) -> None:
        record = play("killed")
        folder = Path(record["folder"])
        (drawn,) = (folder / "report-files").iterdir()
        assert f'href="report-files/{drawn.name}"' in (folder / "report.html").read_text()
        assert not [name for name in os.listdir(folder) if name.startswith(".")]

    def test_a_flame_graph_that_cannot_be_drawn(self, play: Callable[..., Record], tmp_path: Path) -> None:
        logs = tmp_path / "logs"
        shutil.copytree(play("killed")["logs"], logs, ignore=shutil.ignore_patterns("*.sock"))
        for path in logs.glob("raymemprof-*.bin"):
            path.write_bytes(path.read_bytes()[:50])
        found = doctor(logs)
        assert found.findings[0].illness == "out_of_memory"
        assert any(".bin: " in text for text in found.unchecked)
        report = found.save(tmp_path / "report.html")
        assert "No flame graph" in report.path.read_text()
        assert not (tmp_path / "report-files").exists()
        assert "profile_memory" not in text_of(json.loads(found.findings[0].to_json())), "it is profiled"

    def test_refusals(self, tmp_path: Path) -> None:
        found = doctor(tmp_path)
        found.save("report.html")
        before = Path("report.html").read_bytes()
        with pytest.raises(FileExistsError, match="overwrite=True"):
            found.save("report.html")
        with pytest.raises(FileNotFoundError, match="missing"):
            found.save("missing/report.html")
        with pytest.raises(ValueError, match="is a folder"):
            found.save(tmp_path)
        assert Path("report.html").read_bytes() == before
        report = found.save("report.html", overwrite=True)
        assert report.path == Path("report.html").absolute()
        assert "<iframe" not in report._repr_html_()

    def test_a_flame_graph_that_exists_is_not_replaced_either(self, tmp_path: Path) -> None:
        with raymemprof.profile_memory("load", directory=tmp_path / "records"):
            bytearray(1_000_000)
        calls = raymemprof.calls(tmp_path / "records")
        finding = raymemprof.Finding("info", "copy", "It copies.", "load", None, (), (), calls=calls)
        found = replace(doctor(tmp_path / "records"), findings=(finding,))
        found.save("report.html").path.unlink()
        (graph,) = Path("report-files").iterdir()
        graph.write_text("precious")
        with pytest.raises(FileExistsError, match=f"{graph.name} exists already; overwrite=True"):
            found.save("report.html")
        assert (graph.read_text(), os.listdir(graph.parent)) == ("precious", [graph.name])
        assert not Path("report.html").exists()
        found.save("report.html", overwrite=True)
        assert "</html>" in graph.read_text()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.mark.browser
def test_the_page(play: Callable[..., Record], chromium: Browser) -> None:
    record = play("parallel")
    page = chromium.open(Path(record["folder"]) / "report.html")
    finding = record["diagnosis"]["findings"][0]
    assert page.evaluate("document.querySelector('article h3').innerText") == finding["title"]
    texts = page.evaluate("[...document.querySelectorAll('article li')].map(one => one.innerText)")
    assert texts[: len(finding["evidence"])] == [text.replace("`", "") for text in finding["evidence"]]
    assert "6 calls of it ran at once" in texts[0]
    # The bar's parts are as long as they are large, and the mark is where Ray kills.
    (node,) = record["diagnosis"]["usage"]["nodes"]
    bar = "document.querySelectorAll('figure svg')[0]"
    whole, *parts = page.evaluate(f"[...{bar}.querySelectorAll('rect')].map(one => one.getBoundingClientRect().width)")
    names = ("workers", "object_store_held", "system", "shared_memory", "unexplained")
    sizes = [node[name] for name in names]
    assert parts == pytest.approx([size / node["total"] * whole for size in sizes], abs=1)
    left = page.evaluate(f"{bar}.querySelector('line').getBoundingClientRect().x - {bar}.getBoundingClientRect().x")
    assert left == pytest.approx(node["threshold"] / node["total"] * whole, abs=3)
    # Each kill is a cross in the timeline, each call a bar.
    timeline = "document.querySelectorAll('figure svg')[1]"
    assert page.evaluate(f"{timeline}.querySelectorAll('path').length") == len(record["diagnosis"]["kills"])
    assert page.evaluate(f"{timeline}.querySelectorAll('rect').length") == len(record["diagnosis"]["calls"])
    # Beside the finding its calls are drawn over time, those that were killed in red.
    over_time = "document.querySelector('article svg')"
    told = page.evaluate(f"[...{over_time}.querySelectorAll('.band title')].map(one => one.textContent)")
    assert len(told) > 2
    assert any(": killed" in text for text in told)
    assert page.evaluate(f"{over_time}.querySelectorAll('.kill').length") > 0
    # For those who hear it.
    assert page.evaluate("[...document.querySelectorAll('svg')].every(one => one.querySelector('title'))")
    assert page.evaluate("[...document.querySelectorAll('th')].every(one => one.scope == 'col')")
    assert page.evaluate("[...document.querySelectorAll('table')].every(one => one.caption.innerText)")
    # The flame graph beside it opens.
    link = page.evaluate("document.querySelector('article a').href")
    assert page.errors == page.requests == []
    flames = chromium.open(Path(link.removeprefix("file://")))
    assert "kept.append(bytearray" in flames.until("document.getElementById('chart').textContent")
    assert flames.errors == flames.requests == []


@pytest.mark.browser
def test_the_page_in_the_dark(play: Callable[..., Record], chromium: Browser) -> None:
    page = chromium.open(Path(play("parallel")["folder"]) / "report.html")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert page.evaluate(ground) != light


@pytest.mark.browser
def test_hostile_names_are_shown_as_text_and_run_nothing(
    play: Callable[..., Record], chromium: Browser, tmp_path: Path
) -> None:
    record = play("idle")
    found = first(record, "idle_workers", "warning")
    assert "<script>alert(1)</script>" in found["name"]
    inline = tmp_path / "inline.html"
    inline.write_text(f"<!DOCTYPE html><meta charset=utf-8>{record['html']}")
    for path in (Path(record["folder"]) / "report.html", inline):
        page = chromium.open(path)
        assert found["name"] in page.evaluate("document.body.innerText")
        assert page.evaluate("document.querySelectorAll('script, img').length") == 0
        assert page.errors == page.requests == []
        if path is not inline:
            assert any(
                found["name"] in text
                for text in page.evaluate("[...document.querySelectorAll('svg title')].map(one => one.textContent)")
            )
            link = page.evaluate("document.querySelector('article a').href")
            assert Path(link.removeprefix("file://")).exists()
