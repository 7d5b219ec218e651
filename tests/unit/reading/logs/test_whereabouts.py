"""Which pod, container, executor, job or machine it was: told where that stands near what tells of the end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from raymemprof import explain
from raymemprof.reading.logs.messages import parse
from tests.texts.message_texts import TEXTS

UID = "95387fa4-da9c-11e7-9d36-5254b24cbf5e"
HASH = "6895a3e13439535852d3184ac2aadd26d7363cc035f171545ec7d4ce74073b0b"
KILL = "Killed process 4123 (java) total-vm:20255636kB, anon-rss:466160kB, file-rss:13684kB"
EVENT = (
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=cri-containerd-{1}.scope,mems_allowed=0-1,oom_memcg="
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{0}.slice,task_memcg=/kubepods.slice/"
    "kubepods-burstable.slice/kubepods-burstable-pod{0}.slice/cri-containerd-{1}.scope,task=java,pid=4123,uid=0"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            f"Memory cgroup stats for /kubepods/pod{UID}/{HASH}: cache:32KB rss:524188KB rss_huge:370688KB "
            f"mapped_file:0KB swap:524356KB\n{KILL}",
            f"It was in the container {HASH[:12]}.",
        ),
        (
            EVENT.format(UID.replace("-", "_"), HASH),
            f"It was in the container {HASH[:12]}.",
        ),
        (
            f"container oom {HASH} (annotation.io.kubernetes.pod.terminationGracePeriod=30, image=sha256:{HASH}, "
            "io.kubernetes.container.name=notebook, io.kubernetes.pod.name=jupyter-alice, "
            "io.kubernetes.pod.namespace=hub)",
            "It was in the pod jupyter-alice in the namespace hub.",
        ),
        (
            "Task fit.5 failed in pod jobs/fit-bvma68of.\nPod phase: Failed, reason: None, container_name: base,\n"
            "container_state: terminated, container_reason: OOMKilled, exit_code: 137",
            "It was in the container base of the pod jobs/fit-bvma68of.",
        ),
        (
            '"train": {\n    "state": {\n        "termination": {\n            "exitCode": 137,\n            "reason": '
            '"OOM Killed"\n        }\n    }\n},',
            "It was in the container train.",
        ),
        (
            "ERROR TaskSchedulerImpl: Lost executor 3 on 10.1.2.3:\nThe executor with id 3 exited with exit code 137.\n"
            "Reason: OOMKilled",
            "It was the executor 3 of Spark on 10.1.2.3.",
        ),
        (
            "WARN TaskSetManager: Lost task 5.0 in stage 0.0 (TID 5, 10.1.2.3, executor 4): "
            "ExecutorLostFailure (executor 4 exited caused by one of the running tasks) Reason:\n"
            "The executor with id 4 exited with exit code -1.\n"
            "The API gave the following brief reason: Evicted\nThe API gave the following message: The node was low on "
            "resource: ephemeral-storage. Container executor was using 160Ki, which exceeds its request of 0.",
            "It was the executor 4 of Spark on 10.1.2.3.",
        ),
        ("Warning  SystemOOM  17m  kubelet, node-17  System OOM encountered", "It was on the node node-17."),
        (
            f"Kind:Node\nName:cn-north.10.68.68.84.161d4864605be234\nReason:OOMKilling\nMessage:{KILL}",
            "It was on the node cn-north.10.68.68.84.",
        ),
        (
            f'E0105 10:00:00.000000 1 kuberuntime.go:99] "OOMKilled" pod="ml/train-17" containerName="main"\n{KILL}',
            "It was in the container main of the pod ml/train-17.",
        ),
        (
            'reason{container="main",namespace="ml",pod="train-17",reason="OOMKilled"} 1',
            "It was in the container main of the pod train-17.",
        ),
        (
            '{"reason":"OOMKilled","kubernetes":{"pod_name":"train-17","namespace_name":"ml","host":"node-3"}}',
            "It was in the pod train-17 in the namespace ml.",
        ),
        (f"12m Warning OOMKilling node/pool-a-17 {KILL}", "It was on the node pool-a-17."),
        ("main: OOMKilled (exit code 137)", "It was in the container main."),
        ("Pod ml/train-17: a container was OOMKilled", "It was in the pod ml/train-17."),
        (
            "Pod train-17 returned a failure: {'name': 'base', 'state': {'terminated': {'reason': 'OOMKilled'}}}",
            "It was in the container base of the pod train-17.",
        ),
        (f"2026-02-08T00:40:07.136582+00:00 web2 kernel: {KILL}", "It was on the machine web2."),
        (f"Jan  5 10:00:00 web2 kernel: {KILL}", "It was on the machine web2."),
        (
            "Jan  5 10:00:00 web2 systemd[1]: a.slice: A process of this unit has been killed by the OOM killer.",
            "It was on the machine web2.",
        ),
    ],
)
def test_where_it_was(text: str, said: str) -> None:
    assert said in parse(text).also


@pytest.mark.parametrize("event", ["die {} (exitCode=137, image=ray:2.40, ", "died {} (containerExitCode=137, "])
def test_an_event_of_docker_or_podman(event: str) -> None:
    said = parse(f"container {event.format(HASH)}name=ray-worker-1)").statement or ""
    assert "The main process of the container ray-worker-1 ended with exit code 137" in said


def test_an_address_in_a_name() -> None:
    text = f"Kind:Node\nName:cn-north.10.68.68.84.161d4864605be234\nReason:OOMKilling\nMessage:{KILL}"
    assert parse(text).node_ip == "10.68.68.84"
    assert parse("Lost executor 3 on 10.1.2.3:\nexecutor with id 3 exited with exit code 137").node_ip == "10.1.2.3"


@pytest.mark.parametrize(
    "text",
    [
        # of two, none
        f"{EVENT.format(UID.replace('-', '_'), HASH)}\n{EVENT.format('1' + UID.replace('-', '_')[1:], HASH[::-1])}",
        # far from what ended
        "pod_name=other container_name=sidecar\n" + "all is well\n" * 20 + KILL,
        # another program's log
        f"Jan  5 10:00:00 web2 nginx[3]: hi\n{KILL}",
        f"Jan  5 10:00:00 web2 kernel: {KILL}\nJan  5 10:00:00 web3 kernel: {KILL}",
    ],
)
def test_what_is_not_known_to_be_its_own(text: str) -> None:
    assert not [words for words in parse(text).also if words.startswith("It was")]


def test_the_figures_of_a_cgroup_and_a_second_run() -> None:
    text = (
        f"Memory cgroup stats for /a: cache:32KB rss:524188KB rss_huge:370688KB mapped_file:0KB swap:524356KB "
        f"inactive_anon:267804KB active_anon:256384KB\n{KILL}\n"
        "[Thu Dec  7 00:13:22 2017] java invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=-998"
    )
    also = parse(text).also
    assert "The processes of the cgroup had 511.9 MiB resident, and 512.1 MiB in swap." in also
    assert "Then it ran again, for java; the text does not say which process that killed." in also
    assert not parse(f"java invoked oom-killer: gfp_mask=0xd0\n{KILL}").also


def test_pages_of_another_size() -> None:
    known = TEXTS["kernel, an event and its table"].text
    assert parse(known).top_processes
    assert not parse(f"{known}\nCPU: 1 PID: 4123 Comm: a Not tainted 6.8.0-64k #1 aarch64").top_processes


def test_a_pod_that_mounts_a_config_map(tmp_path: Path) -> None:
    text = (
        "Name:           pool-598947fd8f-vzvkq\nNamespace:      db\nNode:           pool-a-17/\nStatus:   Failed\n"
        "Reason:         Evicted\nMessage:        The node was low on resource: memory. Container pool was using "
        "1275700Ki, which exceeds its request of 0.\nIP:\nVolumes:\n  pool-config:\n    Type:      ConfigMap\n"
        "    Name:      pool-config\n"
    )
    assert (
        "evicted the pod pool-598947fd8f-vzvkq, because its node pool-a-17"
        in explain(text, tmp_path).summary.splitlines()[0]
    )
    without = (
        "  message: 'The node was low on resource: memory. Container node was using 35505620Ki,\n    which exceeds its "
        "request of 12Gi. '\n  phase: Failed\n  podIP: 10.7.0.103\n  reason: Evicted\n"
    )
    assert "the pod at 10.7.0.103" in explain(without, tmp_path).summary.splitlines()[0]


@pytest.mark.parametrize(
    "text",
    [
        "Successfully completed.\n    Max Memory :  49 MB\nNormally LSF terminates such jobs and emits the "
        "`TERM_MEMLIMIT: job killed after reaching LSF memory usage limit` message.",
        "The job does not fail with the expected error (`failed: 37 : qmaster enforced h_rt, h_cpu, or h_vmem limit`).",
        "I would have expected that it would print `CUDA out of memory. Tried to allocate 2.00 GiB` instead.",
    ],
)
def test_what_would_be_printed_was_not(text: str, tmp_path: Path) -> None:
    assert explain(text, tmp_path).cause == "unknown"


@pytest.mark.parametrize(
    "text",
    [
        "Normally it works, but now I get `CUDA out of memory. Tried to allocate 2.00 GiB`.",
        "As expected, I got `CUDA out of memory. Tried to allocate 2.00 GiB`.",
        "What should I do about `CUDA out of memory. Tried to allocate 2.00 GiB`?",
    ],
)
def test_what_was_printed_is_read(text: str, tmp_path: Path) -> None:
    assert explain(text, tmp_path).cause == "gpu_memory"


def test_only_other_words_say_that_xla_s_device_is_a_gpu(tmp_path: Path) -> None:
    known = TEXTS["xla, its account"].text
    assert explain(known, tmp_path).cause == "memory_error"
    assert explain(f"{known}\nI have an RTX 3080 Ti GPU.", tmp_path).cause == "gpu_memory"
    assert explain(f"No GPU/TPU found, falling back to CPU.\n{known}", tmp_path).cause == "memory_error"


def test_what_others_have_of_a_gpu(tmp_path: Path) -> None:
    said = str(explain(TEXTS["torch, its own share"].text, tmp_path))
    assert "The process had 5.02 GiB of it." in said
    assert "Other processes, or the driver, had the rest of that GPU, 1.6 GiB." in said


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("MAX_JOBS=1", "gcc"),
        ("Gradle", "gradle"),
        ("medium: Memory", "nccl's shared memory"),
        ("vm.max_map_count", "java, a small piece"),
        ("Windows' paging file", "go on windows"),
        ("Start fewer processes", "fork in multiprocessing"),
        ("set_per_process_memory_fraction", "torch, its own limit"),
        ("vmem-pmem-ratio", "yarn, virtual memory in Spark"),
        ("Memory makes no difference", "evicted for a disk"),
        ("distributed.worker.memory.terminate", "dask's nanny"),
        ("Max Memory Used", "lambda"),
        ("Nothing needs to be done", "tensorflow, no failure"),
        ("MemoryMax", "kernel, none to kill"),
        ("more memory does not help", "glibc"),
        ("how PyTorch names a process", "pt_main_thread"),
    ],
)
def test_advice_fits_what_failed(words: str, name: str, tmp_path: Path) -> None:
    text = KILL.replace("java", name) if name == "pt_main_thread" else TEXTS[name].text
    found = explain(text, tmp_path)
    assert words in " ".join(found.advice) if name != "gradle" else "@profile_memory" not in " ".join(found.advice)


@pytest.mark.parametrize(
    "part",
    [
        f"container oom {HASH} (io.kubernetes.pod.name=a, ",
        f"/kubepods/pod{UID}/",
        "oom-kill:constraint=CONSTRAINT_MEMCG,task=a,pid=1 ",
        "[    1]     0     1     1     1     1     1     0 a ",
        "Kind:Node Name:a OOMKilling ",
        "Job in status 2 put on hold by 1.0 alice ",
        "4711 sweep main lab 4 ",
        "[1:0x1] Mark-sweep 1 (1) -> 1 (1) MB ",
        "would print `a ",
        "TerminatedWorkerError: a ",
        "Found the victim with highest badness: Name: a PID: 1 ",
        "process didn't exit successfully: `rustc ",
        "Segmentation fault line 1: 1 ",
        "a (1) consumed 1 bytes, Windows successfully diagnosed a low virtual memory condition ",
        "Process running mem=1M(1%) ",
    ],
)
def test_no_text_makes_matching_slow(part: str) -> None:
    text = part * (2**18 // len(part))
    start = time.monotonic()
    parse(text)
    assert time.monotonic() - start < 10, part


DESCRIBED = """Name:             {pod}
Namespace:        ml
{node}Status:           Running
IP:               {ip}
Containers:
  ray-worker:
    State:          Running
    Last State:     Terminated
      Reason:       {reason}
      Exit Code:    137
"""
STATUS = """metadata:
  name: rc-worker-a
spec:
  nodeName: ip-10-0-1-5
status:
  containerStatuses:
  - name: ray-worker
    lastState:
      terminated:
        exitCode: 137
        reason: OOMKilled
  hostIP: 10.0.1.5
  podIP: 10.1.2.3
"""
OF_NODE = "It was on the node ip-10-0-1-5 (10.0.1.5).\nThe pod's address is 10.1.2.3."


@pytest.mark.parametrize(
    ("text", "node_ip", "said"),
    [
        (
            DESCRIBED.format(pod="rc-a", ip="10.1.2.3", node="Node: ip-10-0-1-5/10.0.1.5\n", reason="OOMKilled"),
            "10.0.1.5",
            OF_NODE,
        ),
        (
            DESCRIBED.format(pod="rc-a", ip="10.1.2.3", node="Node:    ip-10-0-1-5/10.0.1.5\n", reason="Error"),
            "10.0.1.5",
            OF_NODE,
        ),
        (STATUS, "10.0.1.5", OF_NODE),
        (
            DESCRIBED.format(pod="rc-a", ip="10.0.1.5", node="Node: ip-10-0-1-5/10.0.1.5\n", reason="OOMKilled"),
            "10.0.1.5",
            "It was on the node ip-10-0-1-5 (10.0.1.5).",
        ),
        (
            DESCRIBED.format(pod="rc-a", ip="10.1.2.3", node="", reason="OOMKilled"),
            "10.1.2.3",
            "The pod's address is 10.1.2.3.",
        ),
        (
            "rc-worker-x2   0/1   OOMKilled   3 (2m ago)   5m   10.1.2.3   ip-10-0-1-5.ec2.internal   <none>",
            None,
            "It was on the node ip-10-0-1-5.ec2.internal.",
        ),
    ],
)
def test_the_address_is_the_node_s_not_the_pod_s(text: str, node_ip: str | None, said: str, tmp_path: Path) -> None:
    found = explain(text, tmp_path)
    assert found.node_ip == node_ip
    assert said in found.summary
    assert "also names" not in found.summary


def test_the_node_is_that_of_the_pod_that_ended(tmp_path: Path) -> None:
    pods = [
        DESCRIBED.format(pod=f"rc-{n}", ip=f"10.1.2.{n}", node=f"Node: node-{n}/10.0.1.{n}\n", reason="OOMKilled")
        for n in (5, 6)
    ]
    fine = pods[1].replace("OOMKilled", "Completed").replace("137", "0")
    for text in (pods[0] + fine, fine + pods[0]):
        found = explain(text, tmp_path)
        assert found.node_ip == "10.0.1.5"
        assert "It was on the node node-5 (10.0.1.5)." in found.summary
    both = explain("".join(pods), tmp_path)
    assert both.node_ip is None
    assert "It was on the node" not in both.summary
