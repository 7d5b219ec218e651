"""What `explain()` says of the words of machines and clusters: whose figures they are, and what is no memory's."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.reading.logs.messages import parse
from tests.texts.message_texts import TEXTS

GIB = 2**30
LSF_USAGE = (
    "\n\nResource usage summary:\n\n    CPU time :               5534.83 sec.\n    Max Memory :             {} GB\n"
    "    Total Requested Memory : {:.2f} GB\n    Max Swap :               -\n\n"
)
SEFF = (
    "Job ID: {}\nState: {} (exit code 0)\nNodes: 1\nCores per node: 4\nMemory Utilized: {:.2f} GB\n"
    "Memory Efficiency: 50.00% of {:.2f} GB\n"
)


def test_of_several_jobs_of_lsf_the_one_that_reached_its_limit() -> None:
    ended = "Job was executed on host(s) <n1>, in queue <a>\n\nExited with exit code 139." + LSF_USAGE.format(51, 64)
    killed = (
        "Job was executed on host(s) <n2>, in queue <a>\n\nTERM_MEMLIMIT: job killed after reaching LSF memory usage "
        "limit.\nExited with exit code 130." + LSF_USAGE.format(7, 150)
    )
    done = "Job was executed on host(s) <n3>, in queue <a>\n\nSuccessfully completed." + LSF_USAGE.format(33, 96)
    for text in (killed, ended + killed, killed + done, ended + killed + done):
        found = parse(text)
        assert (found.cause, found.used, found.limit) == ("batch_limit", 7 * GIB, None)
        assert "on n2," in (found.statement or "")
        assert "7 GB at most, and had requested 150.00 GB. LSF measures now and then" in (found.statement or "")


def test_of_several_jobs_of_torque_the_one_that_exceeded_its_memory() -> None:
    other = "PBS Job Id: 11.m\nExec host:  a1/0\nJob deleted\nresources_used.mem=1kb\nresources_used.vmem=2kb\n"
    said = parse(other + TEXTS["torque"].text + "\n" + other.replace("11.m", "12.m")).statement or ""
    assert "the job 75730004.master on node450/0-19" in said
    assert "37290000kb of memory and 286700000kb of virtual memory" in said


def test_of_several_reports_of_seff_no_figures_are_mixed(tmp_path: Path) -> None:
    text = SEFF.format(11, "OUT_OF_MEMORY", 3, 4) + SEFF.format(12, "COMPLETED", 31, 32)
    found = explain(text, tmp_path)
    assert (found.cause, found.used, found.limit) == ("slurm_limit", None, None)
    assert "31" not in str(found)
    one = explain(SEFF.format(11, "OUT_OF_MEMORY", 3, 4), tmp_path)
    assert (one.used, one.limit) == (3 * GIB, 4 * GIB)
    assert "The node" not in str(one)
    unmeasured = explain(SEFF.format(11, "OUT_OF_MEMORY", 0, 4), tmp_path)
    assert (unmeasured.used, unmeasured.limit) == (None, 4 * GIB)
    assert "The job 11 had 4.00 GB" in str(unmeasured)


def test_several_pods_that_were_evicted(tmp_path: Path) -> None:
    event = (
        "Warning  Evicted  pod/{}  The node was low on resource: memory. Container w was using {}Gi, request is 1Gi.\n"
    )
    said = explain("".join(event.format(f"w-{name}", n + 3) for n, name in enumerate("abcde")), tmp_path)
    assert said.cause == "evicted"
    assert "the pods w-a, w-b, w-c and others" in str(said)
    assert "Gi" not in str(said)


def test_a_pod_whose_name_was_replaced_is_called_as_the_text_has_it() -> None:
    said = parse("Evicted  pod/w-<id here>  The node was low on resource: memory. Container w was using 5Gi.").statement
    assert said == (
        "Kubernetes evicted the pod w-<id here>, because its node was low on memory; the container w was using 5Gi."
    )


def test_what_says_oomkilled_is_more_than_an_exit_code() -> None:
    text = "The executor with id 3 exited with exit code 137(SIGKILL, possible container OOM).\n"
    assert parse(text).cause == "sigkill"
    assert parse(text + "    Reason:   OOMKilled").cause == "container_limit"


def test_why_macos_killed() -> None:
    line = (
        "kernel: memorystatus: killing_specific_process pid 915 [ray::f] ({}) 1024KB - memorystatus_available_pages: 12"
    )
    assert "limit of its own" in (parse(line.format("per-process-limit 14")).reason or "")
    assert "low on memory" in (parse(line.format("vm-pageshortage 2")).reason or "")


def test_lines_of_the_same_width_are_no_broken_ones() -> None:
    line = "mem avail:  {} of 13855 MiB (13 %), swap free:    0 of    0 MiB ( 0 %)\n"
    text = "".join(line.format(1860 - n) for n in range(4)) + TEXTS["earlyoom, older"].text.split("\n", 2)[2]
    padded = "\n".join(one.ljust(72, ".") if one.startswith("killing") else one for one in text.split("\n"))
    assert [victim.memory for victim in parse(padded).victims] == [7609 * 2**20]
    assert parse(padded).used == (13855 - 1857) * 2**20


@pytest.mark.parametrize(
    "before",
    [
        "systemd[1]: earlyoom.service: Killing process 77 (earlyoom) with signal SIGKILL.\n",
        "earlyoom[454]: Will avoid killing process names that match regex '(^|/)(init|sshd)$'\n",
    ],
)
def test_what_was_available_is_what_earlyoom_says_just_before_it_kills(before: str) -> None:
    found = parse(before + TEXTS["earlyoom, what was available"].text)
    assert (found.used, found.limit) == ((7721 - 554) * 2**20, 7721 * 2**20)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("among the last to be evicted", "a node under pressure"),
        ("resources.requests.memory", "a pod without a place"),
        ("machine_spec", "vertex"),
        ("spark.executor.memoryOverhead", "spark on kubernetes"),
        ("who runs the cluster set the limit", "flux"),
        ("Ask PBS for more memory", "torque"),
    ],
)
def test_advice_fits_who_set_the_limit(words: str, name: str, tmp_path: Path) -> None:
    assert words in " ".join(explain(TEXTS[name].text, tmp_path).advice)


@pytest.mark.parametrize(
    "text",
    [
        "  MemoryPressure   False   06 Jan 2026   06 Jan 2026   KubeletHasSufficientMemory   kubelet has sufficient",
        "Normal  NodeHasSufficientMemory  3m  kubelet  Node n1 status is now: NodeHasSufficientMemory",
        "Tolerations:  node.kubernetes.io/memory-pressure:NoSchedule op=Exists",
        "Warning  FailedScheduling  2m  default-scheduler  0/3 nodes are available: 3 Insufficient cpu.",
        'eviction_manager.go:387] "Eviction manager: must evict pod(s) to reclaim" resourceName="ephemeral-storage"',
        "TERM_THREADLIMIT: job killed after reaching LSF thread limit.\nExited with exit code 143.\nMax Memory : 59 MB",
        "Job 1435.site-pbs killed due to exceeding jobfs quota. Quota: 15.0GB, Used: 15.0GB, Host: n1\n"
        "Memory Requested:   2.0TB                 Memory Used: 327.6GB",
        "kernel: memorystatus: killing_idle_process pid 386 [wallpaperd] jetsam_reason->osr_code: 9",
        "systemd-oomd[659]: Considered 19 cgroups for killing, top candidates were:",
        SEFF.format(12, "COMPLETED", 31, 32),
        "In 2026 we added OUT_OF_MEMORY handling to the profile.",
        "4711|sweep|main|lab|4|COMPLETED|0:0",
        "PBS Job Id: 75730004.master\nExec host:  n1/0\nJob deleted at request of root\nresources_used.mem=37290000kb",
    ],
)
def test_what_is_no_lack_of_memory(text: str, tmp_path: Path) -> None:
    assert explain(text, tmp_path).cause == "unknown"


@pytest.mark.parametrize(
    "part",
    [
        "The node was low on resource: memory. Container a was using 1Ki",
        "pod/a-b Name: a\n",
        "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit. Exited with exit code 1.\n",
        "PBS Job Id: a\nJob exceeded a memory resource limit (vmem, pvmem, etc.).",
        "0/1 nodes are available: 1 ",
        "MemoryPressure True ",
        "Marked /a for killing due to memory pressure for /a being ",
        "memorystatus: killing_top_process pid 1 [a] (",
        'killing process 1 "a" with signal 15: badness 1\n',
        "State: OUT_OF_MEMORY (exit code Memory Utilized: 1 GB ",
        "The executor with id 1 exited with exit code 137 Container from a bad node: a on host: ",
    ],
)
def test_no_text_makes_matching_slow(part: str) -> None:
    text = part * (2**18 // len(part))
    start = time.monotonic()
    parse(text)
    assert time.monotonic() - start < 10, part


def test_a_line_of_systemd_oomd_that_is_cut_off() -> None:
    found = parse("avril 16 21:08:50 systemd-oomd[93234]: Killed /user.slice/user-1000.slice/app-x.slice/tmux")
    assert found.cause == "systemd_oomd"
    assert "/user.slice/user-1000.slice/app-x.slice/tmux" in (found.statement or "")
