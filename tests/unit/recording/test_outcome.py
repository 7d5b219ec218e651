"""How a call ended: an end that Ray wishes for is no failure, one of the user's is."""

from __future__ import annotations

import queue
import sys
import threading
from types import SimpleNamespace

import pytest
from ray.exceptions import RayTaskError

from raymemprof.recording.outcome import outcome


def test_an_exit_of_the_users_is_a_failure() -> None:
    with pytest.raises(SystemExit) as caught:
        sys.exit(0)
    assert outcome(caught.value) == ("failed", "SystemExit: 0")


def test_a_trial_that_tune_ends_is_finished() -> None:
    """As its session ends it: when a result is reported, in the thread of the user's function."""
    sessions = pytest.importorskip("ray.train._internal.session")
    session = object.__new__(sessions._TrainSession)
    session.result_queue, session.continue_lock = queue.Queue(), threading.Semaphore(1)
    session.stop_event = threading.Event()
    session.stop_event.set()
    with pytest.raises(SystemExit) as caught:
        session._report_training_result(SimpleNamespace(checkpoint=None))
    assert outcome(caught.value) == ("finished", None)


def test_an_error_of_another_task_has_no_colours() -> None:
    """Ray colours the name of the task in it."""
    error = RayTaskError("load", "\x1b[36mray::load()\x1b[39m (pid=7, ip=10.0.0.1)\nTypeError: no", TypeError("no"))
    assert "\x1b" in str(error)
    assert outcome(error) == ("failed", "RayTaskError: ray::load() (pid=7, ip=10.0.0.1)\nTypeError: no")
