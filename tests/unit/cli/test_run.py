"""`raymemprof run` runs a script as Python does: the same arguments, path, output, traceback and exit status."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("raymemprof")
NOT_CONNECTED = "raymemprof: the job did not connect to Ray, so nothing was recorded."
SCRIPT = """
import atexit, pickle, sys, __main__
from neighbour import VALUE

class Kept: pass

def annotated(number: int) -> str: ...

atexit.register(lambda: print("at the end", Kept.__name__))
print(annotated.__annotations__)
print(__name__, __file__, sys.argv, VALUE, __main__.Kept is Kept, type(pickle.loads(pickle.dumps(Kept()))) is Kept)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "neighbour.py").write_text("VALUE = 7\n")
    (folder / "script.py").write_text(SCRIPT)
    return folder / "script.py"


def both(*command: object) -> list[subprocess.CompletedProcess[str]]:
    """Run as Python does, and as the command does."""
    words = [str(word) for word in command]
    return [
        subprocess.run([*start, *words], capture_output=True, text=True)
        for start in ([sys.executable], [str(COMMAND), "run"])
    ]


def test_a_script_sees_what_it_would(script: Path) -> None:
    plain, ran = both(script, "--heap", "-m", "x y")
    assert plain.returncode == ran.returncode == 0
    assert ran.stdout == plain.stdout
    assert ran.stdout.endswith("at the end Kept\n")
    assert ran.stderr == f"{NOT_CONNECTED}\n"


def test_a_module(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(script.parent)
    package = script.parent / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("import sys; print(__name__, __package__, __spec__.name, sys.argv)")
    (package / "part.py").write_text("import sys; print(__name__, __package__, __spec__.name, sys.argv, sys.path[0])")
    for name in ("package", "package.part"):
        plain, ran = both("-m", name, "one", "--two")
        assert (ran.returncode, ran.stdout) == (0, plain.stdout), ran.stderr


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import sys; sys.exit(3)", 3),
        ("raise SystemExit", 0),
        ("import sys; sys.exit('as it should')", 1),
        ("def f():\n    raise ValueError('as it should')\nf()", 1),
        ("import atexit\natexit.register(print, 'last')\nraise KeyboardInterrupt", -signal.SIGINT),
        ("this is no Python", 1),
        ("x = '\\xe9'  # unfinished\n(", 1),
    ],
)
def test_it_ends_as_it_would(tmp_path: Path, code: str, status: int) -> None:
    (tmp_path / "script.py").write_text(code)
    plain, ran = both(tmp_path / "script.py")
    assert plain.returncode == ran.returncode == status
    assert ran.stdout == plain.stdout
    assert ran.stderr == f"{plain.stderr}{NOT_CONNECTED}\n"


def test_the_table_waits_for_the_threads_of_the_job(tmp_path: Path) -> None:
    """But not for those of a pool, which end with the interpreter."""
    (tmp_path / "script.py").write_text(
        "import threading, time\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "ThreadPoolExecutor().submit(print, 'pool', flush=True).result()\n"
        "threading.Thread(target=lambda: (time.sleep(0.5), print('thread', flush=True))).start()\n"
    )
    command = [COMMAND, "run", tmp_path / "script.py"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, f"pool\nthread\n{NOT_CONNECTED}\n")


def test_a_job_that_closes_its_output(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import sys\nprint('last')\nsys.stdout.close()")
    plain, ran = both(tmp_path / "script.py")
    assert (ran.returncode, ran.stdout) == (plain.returncode, plain.stdout) == (0, "last\n")
    assert ran.stderr == f"{NOT_CONNECTED}\n"


def test_a_child_that_the_job_forks_prints_no_table(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import os, sys\nif os.fork() == 0:\n    sys.exit(3)\nprint(os.wait()[1] >> 8)")
    plain, ran = both(tmp_path / "script.py")
    assert (ran.returncode, ran.stdout) == (plain.returncode, plain.stdout) == (0, "3\n")
    assert ran.stderr == f"{NOT_CONNECTED}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch.py"], "nosuch.py: No such file or directory."),
        (["."], ": Is a directory."),
        (["-m", "nosuch.module"], "nosuch"),
        (["-m", "json.decoder.nosuch"], "nosuch"),
        (["--include", "", "script.py"], "a pattern must not be empty"),
        (["--every", "0", "script.py"], "--every"),
        (["--nosuch", "script.py"], "--nosuch"),
        ([], "SCRIPT"),
    ],
)
def test_bad_input_gets_one_sentence(words: list[str], said: str) -> None:
    ran = subprocess.run([COMMAND, "run", *words], capture_output=True, text=True)
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [(["{"], "is not a runtime environment in JSON"), (["nosuch.json"], "No such file"), (["[1]"], "No such file")],
)
def test_a_runtime_environment_that_is_none(words: list[str], said: str) -> None:
    ran = subprocess.run([COMMAND, "runtime-env", *words], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
