"""What reading knows of recording by name: a file that is renamed or moved must not change whose an allocation is."""

from __future__ import annotations

from pathlib import Path

import raymemprof
from raymemprof import journal
from raymemprof.reading.captures import reader
from raymemprof.recording import decorator, frames, wrappers
from raymemprof.recording.memory import children
from raymemprof.recording.safety import locks

RECORDING = Path(raymemprof.__file__).parent / "recording"


def test_every_file_of_recording_is_known_as_that() -> None:
    files = list(RECORDING.rglob("*.py"))
    assert {file.name for file in files if journal.recorder_of(str(file)) is None} == set()
    assert journal.recorder_of(str(locks.__file__)) == "locks.py"
    assert journal.recorder_of("/srv/job/recording/train.py") is None
    assert journal.recorder_of(str(RECORDING.parent / "reading" / "captures" / "stacks.py")) is None


def test_the_files_that_run_user_code_are_those_that_are_named() -> None:
    assert {Path(str(module.__file__)).name for module in (decorator, frames, wrappers)} == set(journal.RUN_USER_CODE)
    assert all((RECORDING / name).is_file() for name in journal.RUN_USER_CODE)


def test_the_readers_are_known_by_their_module() -> None:
    """They are children of whoever asks, and no call's."""
    assert reader.__name__ == children._READER


def test_a_users_folder_of_our_name_is_his() -> None:
    assert journal.is_own_code("/venv/lib/python3.11/site-packages/raymemprof/notebook/magic.py")
    assert not journal.is_own_code("/home/me/raymemprof/notebook/train.py")
