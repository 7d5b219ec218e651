# ruff: noqa: E501 (messages are as long as they are)
"""Which pod, container and node a text tells of, and pods that only wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from raymemprof import explain

WAITS = "  Warning  FailedScheduling  46m (x18 over 132m)  default-scheduler  0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod..\n"
CONTAINER = "3fa1b2c3d4e5" + "07" * 26
PLACED = "  Normal   Scheduled         17m  default-scheduler  Successfully assigned ml/train-0 to node-7\n"
DESCRIBED = """Name: train-0
Containers:
  app:
    State:          Running
    Last State:     Terminated
      Reason:       OOMKilled
      Exit Code:    137
    Ready:          True
    Restart Count:  36
  sidecar:
    State:          Running
    Ready:          True
    Restart Count:  2
"""


def test_a_pod_that_waits(tmp_path: Path) -> None:
    found = explain(f"Name: train-0\nEvents:\n{WAITS}", tmp_path)
    assert found.cause == "warning"
    assert found.summary.startswith(
        "Kubernetes finds no place for the pod train-0: 2 of 2 nodes have less memory left than it requests, and 2 too few CPUs. The scheduler tried 18 times over 132m."
    )


def test_a_pod_that_waited_until_there_was_room(tmp_path: Path) -> None:
    said = explain(f"Name: train-0\nEvents:\n{WAITS}{PLACED}", tmp_path).summary
    assert said.startswith("Kubernetes found no place for the pod train-0 at first: 2 of 2 nodes had less memory left")
    assert "Then it was placed on node-7." in said


def test_another_pod_that_was_placed(tmp_path: Path) -> None:
    waits = WAITS.replace("default-scheduler", "pod/other-1")
    said = explain(f"{waits}{PLACED}", tmp_path).summary
    assert said.startswith("Kubernetes finds no place for the pod other-1:")
    assert "placed" not in said


def test_how_often_the_container_was_restarted_that_ended(tmp_path: Path) -> None:
    assert "Kubernetes has restarted it 36 times." in explain(DESCRIBED, tmp_path).summary


@pytest.mark.parametrize("name", ["pod-oomkilled.md", "job-oomkilled-demo-m8sl8"])
def test_the_word_in_a_name_is_no_second_end(name: str, tmp_path: Path) -> None:
    said = explain(f"Annotations: runbook: pod {name}\n{DESCRIBED}", tmp_path).summary
    assert said.startswith("The kernel's out-of-memory killer killed the container app of the pod train-0 (OOMKilled)")


def test_the_pod_container_and_node_of_events(tmp_path: Path) -> None:
    text = f"      Reason:       OOMKilled\n      Exit Code:    137\n{PLACED}  Warning  BackOff  kubelet  Back-off restarting failed container app in pod train-0_ml(837f1b14-9cec-4f6f-8f5b-c89f5b397ca5)\n"
    said = explain(text, tmp_path).summary
    assert "It was in the container app of the pod train-0." in said
    assert "It was on the node node-7." in said


def test_a_limit_that_the_kernel_s_word_tells_of(tmp_path: Path) -> None:
    text = (
        "train-0  0/1  OOMKilled  0  5s\n  Normal  Killing  5s  kubelet  Memory cgroup out of memory: Killed process\n"
    )
    assert "(OOMKilled): it reached its memory limit." in explain(text, tmp_path).summary


def test_an_event_of_docker_beside_the_kernel_s_log(tmp_path: Path) -> None:
    event = f"container die {CONTAINER} (exitCode=137, image=app, name=train)\n"
    kill = (
        "Memory cgroup out of memory: Killed process 46433 (python) total-vm:536552kB, anon-rss:12012kB, file-rss:0kB\n"
    )
    assert "container train" not in explain(event + kill, tmp_path).summary.partition("also names")[0]
    of_it = f"oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/docker/{CONTAINER},task=python,pid=46433,uid=0\n"
    assert "It was in the container train." in explain(event + of_it + kill, tmp_path).summary
