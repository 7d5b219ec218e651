"""Kills on several machines in one text: the same pid on two machines is two processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from raymemprof import explain

KILL = "Out of memory: Killed process 4123 ({}) total-vm:9000000kB, anon-rss:{}kB, file-rss:0kB, shmem-rss:0kB"
PYTHON, JAVA = KILL.format("python", 4 * 2**20), KILL.format("java", 2 * 2**20)
TIME = "[123.456789]"
TWO = {
    "syslog": "Jan  1 10:00:00 node7 kernel: {0}\nJan  1 10:00:01 node8 kernel: {1}",
    "quoted": "> Jan  1 10:00:00 node7 kernel: {0}\n> Jan  1 10:00:01 node8 kernel: {1}",
    "ISO times": "2026-01-01T10:00:00+0000 node7 kernel: {0}\n2026-01-01T10:00:01+0000 node8 kernel: {1}",
    "monotonic times": f"{TIME} node7 kernel: {{0}}\n{TIME} node8 kernel: {{1}}",
    "JSON of the journal": '{{"_HOSTNAME":"node7","MESSAGE":"{0}"}}\n{{"_HOSTNAME":"node8","MESSAGE":"{1}"}}',
    "pdsh": f"node7: {TIME} {{0}}\nnode8: {TIME} {{1}}",
    "ansible": f"node7 | CHANGED | rc=0 >>\n{TIME} {{0}}\nnode8 | CHANGED | rc=0 >>\n{TIME} {{1}}",
    "headings": f"=== node7 ===\n{TIME} {{0}}\n\n=== node8 ===\n{TIME} {{1}}",
    "headings in words": f"dmesg on node node7:\n{TIME} {{0}}\n\nOn host node8:\n{TIME} {{1}}",
    "Markdown": f"**node7**\n```\n{TIME} {{0}}\n```\n**node8**\n```\n{TIME} {{1}}\n```",
    "prompts": f"root@node7:~# dmesg | grep -i kill\n{TIME} {{0}}\nroot@node8:~# dmesg | grep -i kill\n{TIME} {{1}}",
    "events": "3m  Warning  OOMKilling  node/node7  {0}\n2m  Warning  OOMKilling  node/node8  {1}",
    "events, older": "OOMKilling  3m  kernel-monitor, node7  {0}\nOOMKilling  2m  kernel-monitor, node8  {1}",
    "labels": 'host="node7" level=warn msg="{0}"\nhost="node8" level=warn msg="{1}"',
    "JSON with a host": '{{"host": "node7", "log": "{0}"}}\n{{"host": "node8", "log": "{1}"}}',
    "ssh": f"me@laptop:~$ ssh node7 dmesg\n{TIME} {{0}}\nme@laptop:~$ ssh -p 22 me@node8 dmesg\n{TIME} {{1}}",
}


@pytest.mark.parametrize("layout", TWO)
def test_the_same_pid_on_two_machines(layout: str, tmp_path: Path) -> None:
    for other in (JAVA, PYTHON):
        found = explain(TWO[layout].format(PYTHON, other), tmp_path)
        name = "java" if other is JAVA else "python"
        assert [(one.name, one.pid) for one in found.victims] == [("python", 4123), (name, 4123)]
        assert found.summary.splitlines()[0].endswith(" on the nodes node7 and node8.")
        assert "On node7: python (pid 4123)." in found.summary
        assert f"On node8: {name} (pid 4123)." in found.summary
        assert (found.cause, found.node_id, found.node_ip) == ("kernel_oom", None, None)


@pytest.mark.parametrize("layout", TWO)
def test_of_two_machines_one_killed(layout: str, tmp_path: Path) -> None:
    found = explain(TWO[layout].format(PYTHON, "eth0: link is up"), tmp_path)
    assert [(one.name, one.pid) for one in found.victims] == [("python", 4123)]
    assert "It was on the machine node7." in found.summary
    assert "node8 " not in found.summary


def test_no_machine_is_named(tmp_path: Path) -> None:
    found = explain(f"{TIME} {PYTHON}\n{TIME} {JAVA}", tmp_path)
    assert [(one.name, one.memory) for one in found.victims] == [("python", 4 * 2**30), ("java", 2 * 2**30)]
    again = explain(f"{TIME} {PYTHON}\n[124.5] {PYTHON}", tmp_path)
    assert [(one.name, one.pid) for one in again.victims] == [("python", 4123)]


def test_a_limit_of_a_cgroup_is_that_of_its_machine(tmp_path: Path) -> None:
    text = (
        "Jan  1 10:00:00 node7 kernel: memory: usage 8388608kB, limit 8388608kB, failcnt 1\n"
        f"Jan  1 10:00:00 node7 kernel: Memory cgroup o{PYTHON[1:]}\nJan  1 10:00:01 node8 kernel: {JAVA}"
    )
    found = explain(text, tmp_path)
    assert (found.used, found.limit) == (None, None)
    lines = found.summary.splitlines()
    assert any(line.startswith("On node7: python (pid 4123), because its memory cgroup") for line in lines)
    assert "On node8: java (pid 4123)." in lines
    assert "cgroup" not in lines[0]


def test_daemons_on_two_machines(tmp_path: Path) -> None:
    line = 'Jan  1 10:00:00 {} earlyoom[99]: sending SIGTERM to process 4123 uid 1000 "{}": badness 800, VmRSS 4000 MiB'
    found = explain(f"{line.format('node7', 'python')}\n{line.format('node8', 'java')}", tmp_path)
    assert [(one.name, one.pid) for one in found.victims] == [("python", 4123), ("java", 4123)]
    assert "On node7: earlyoom killed python (pid 4123)" in found.summary
    assert "On node8: earlyoom killed java (pid 4123)" in found.summary
