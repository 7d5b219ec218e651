# ruff: noqa: E501 (texts are as long as they are)
"""OOMKilled, Evicted and exit codes in code, rules, queries, commands, labels and pages are no ends of containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.reading.logs.messages import parse


@pytest.mark.parametrize(
    "text",
    [
        'kube_pod_container_status_last_terminated_reason{reason="OOMKilled"}',
        '- alert: PodOOMKilled\n  expr: kube_pod_container_status_last_terminated_reason{reason="OOMKilled"} == 1\n  for: 1m\n  labels:\n    severity: critical\n  annotations:\n    summary: "Pod {{ $labels.pod }} was OOMKilled"',
        'sum by (pod) (kube_pod_container_status_terminated_reason{namespace="ray", reason="OOMKilled"}) > 0',
        "kubectl get pods -A | grep OOMKilled",
        "kubectl get events | grep -i OOMKilled",
        "$ kubectl get pods -A | grep OOMKilled\n$ echo $?\n1",
        "  501  kubectl get pods | grep OOMKilled\n  502  kubectl describe pod x | grep -A3 'Last State'\n  503  history",
        "https://example.com/docs/oomkilled?reason=OOMKilled&exit=137",
        "See https://komodor.com/learn/how-to-fix-OOMKilled-exit-code-137/ for more",
        'if pod.status.container_statuses[0].last_state.terminated.reason == "OOMKilled":\n    restart()',
        "if state.terminated and state.terminated.reason == 'OOMKilled':",
        "const REASON = 'OOMKilled'",
        'REASON_OOM = "OOMKilled"',
        'switch (reason) { case "OOMKilled": return Red }',
        "reasons = ['OOMKilled', 'Evicted', 'Error']",
        "enum: [Completed, Error, OOMKilled, Evicted]",
        "podFailurePolicy:\n  rules:\n  - action: FailJob\n    onExitCodes:\n      operator: In\n      values: [137]",
        "labels:\n  reason: OOMKilled\n  team: ray",
        "metadata:\n  labels:\n    alert-reason: OOMKilled",
        "matchLabels:\n  reason: OOMKilled",
        "docker inspect -f '{{.State.OOMKilled}}' web",
        "docker inspect -f '{{.State.OOMKilled}}' web\nfalse",
        "docker ps -a --filter exited=137",
        "jq '.items[] | select(.status.containerStatuses[].lastState.terminated.reason==\"OOMKilled\")' pods.json",
        "kubectl get pods -o json | jq -r '.items[] | select(.status.containerStatuses[]?.lastState.terminated.reason == \"OOMKilled\") | .metadata.name'",
        "// OOMKilled: the container exceeded its memory limit",
        "# OOMKilled pods are restarted",
        "| Reason | Meaning |\n|---|---|\n| OOMKilled | The container used more memory than its limit |\n| Evicted | The node was low on resources |",
        "OOMKilled: the container exceeded its memory limit. Exit code 137.",
        "OOMKilled - Exit code 137 - container used too much memory",
        "| 137 | SIGKILL | OOMKilled |\n| 143 | SIGTERM | graceful |",
        "* OOMKilled (exit code 137): the kernel killed the container",
        "`OOMKilled` is shown in the column STATUS.",
        "Kubernetes marks the pod as OOMKilled with exit code 137 when it exceeds its limit.",
        "def is_oom(c): return c.reason == 'OOMKilled' or c.exit_code == 137",
        "assert container.reason != 'OOMKilled'",
        "feat: alert on OOMKilled pods (#1234)",
        "fix(worker): handle exit code 137",
        "EXIT_OOM=137",
        "kubectl delete pods --field-selector=status.phase=Failed | grep Evicted",
        "kubectl get pods | grep Evicted | awk '{print $1}' | xargs kubectl delete pod",
        "kubectl get pod -o jsonpath='{.items[*].status.containerStatuses[*].lastState.terminated.reason}' | grep OOMKilled",
        'count_over_time({app="ray"} |= "OOMKilled" [5m])',
        '{app="ray"} |= "exit code 137"',
        "grep -r 'exit code 137' /var/log",
        "grep -c 'CUDA out of memory' train.log",
        "grep -i 'out of memory: killed process' /var/log/syslog",
        "dmesg -T | grep -E 'Out of memory|oom-kill'",
        "journalctl -k | grep -i 'Killed process'",
        '{"OOMKilled": false}',
        "OOMKilled=false",
        "OOMKilled: 0",
        "container_oom_events_total 0",
        "when: exit_code == 137",
        "retry:\n  when:\n    - exit_codes: 137",
        "retry: { exit_codes: [137, 143] }",
    ],
)
def test_the_word_alone_is_no_end(text: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert (found.cause, found.victims, found.limit) == ("unknown", (), None)
    assert "out-of-memory killer" not in found.summary
    assert "SIGKILL;" not in found.summary


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        ("container_limit", "Last State:     Terminated\n  Reason:       OOMKilled\n  Exit Code:    137"),
        (
            "container_limit",
            "lastState:\n  terminated:\n    containerID: containerd://abc\n    exitCode: 137\n    reason: OOMKilled",
        ),
        ("container_limit", '{"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}}'),
        ("container_limit", '"State": {"Status": "exited", "OOMKilled": true, "ExitCode": 137}'),
        ("container_limit", "NAME READY STATUS RESTARTS AGE\nrc-worker-a 0/1 OOMKilled 3 5m"),
        ("container_limit", "Our pod rc-worker-a was OOMKilled last night."),
        ("container_limit", "My container was OOMKilled with exit code 137."),
        ("container_limit", "$ kubectl get pods | grep OOMKilled\nrc-worker-a   0/1     OOMKilled   3 (2m ago)   5m"),
        ("container_limit", "$ docker inspect -f '{{.State.OOMKilled}}' web\ntrue"),
        ("container_limit", "Warning  OOMKilled  2m  kubelet  Container ray-worker was OOMKilled"),
        ("container_limit", "The pod terminated with OOMKilled."),
        ("container_limit", "Pod status: OOMKilled"),
        ("container_limit", "It is not CUDA OOM: kubectl says Reason: OOMKilled, Exit Code: 137."),
        ("container_limit", "The head is not the problem. The worker pod was OOMKilled."),
        ("sigkill", "Container exited with code 137"),
        ("sigkill", "The job failed with exit code 137."),
        ("sigkill", "I get exit code 137 and I do not know why."),
        ("gpu_memory", "I get torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. Not sure why."),
        ("gpu_memory", "Not enough? torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
        ("memory_error", "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc"),
        (
            "evicted",
            "Status: Failed\nReason: Evicted\nMessage: The node was low on resource: memory. Threshold quantity: 100Mi, available: 51Mi.",
        ),
        (
            "container_limit",
            "containerStatuses:\n- lastState:\n    terminated:\n      exitCode: 137\n      reason: OOMKilled\nlabels:\n  app: ray",
        ),
        ("container_limit", "&ContainerStateTerminated{ExitCode:137,Signal:0,Reason:OOMKilled,Message:,}"),
        ("container_limit", 'level=info msg="container died" reason="OOMKilled" container=ray-worker'),
        ("container_limit", "| rc-worker-a | 0/1 | OOMKilled | 3 |"),
        ("container_limit", 'kube_pod_container_status_last_terminated_reason{pod="rc-worker-a",reason="OOMKilled"} 1'),
    ],
)
def test_a_status_or_an_event_is_one(cause: str, text: str) -> None:
    assert parse(text).cause == cause


def test_of_a_metric_only_what_is_1_is_so() -> None:
    metric = 'kube_pod_container_status_last_terminated_reason{pod="rc-worker-a",reason="OOMKilled"}'
    assert parse(f"{metric} 0").cause == "unknown"
    assert parse(f"{metric} > 0").cause == "unknown"
