# ruff: noqa: E501, W291 (messages are as they are)
"""Texts of our own in the forms of public reports: what people paste with what they say of it, deny, quote and ask."""

from __future__ import annotations

from tests.texts.message_text import Text

NODE, WORKER, ACTOR = "ab12" * 14, "cd34" * 14, "7a8b" * 8
CONTAINER = "0f1e2d3c" * 8

TEXTS: dict[str, Text] = {
    "a container that docker says was not killed for memory": Text(
        """# Exit code 137 although OOMKilled is false

We run the head of our cluster in Docker on a VM with 62 GiB, and every second night the container is gone. The strange thing is that even docker inspect does not mention any OOM:

```
"State": {
    "Status": "exited",
    "Running": false,
    "OOMKilled": false,
    "Dead": false,
    "Pid": 0,
    "ExitCode": 137,
    "Error": "",
    "FinishedAt": "2026-02-01T21:50:51.171492914Z"
},
```

dmesg has nothing either.""",
        "sigkill",
        says=("exit code 137", "OOMKilled is false"),
    ),
    "a probe that failed": Text(
        """The ray-worker containers restart every few hours with exit code 137, but memory is fine: `kubectl top` shows 3Gi of 16Gi. It is not an OOM. The events say

```
Warning  Unhealthy  12m (x3 over 14m)  kubelet  Liveness probe failed: command "wget -T 2 -q -O- http://localhost:52365/api/local_raylet_healthz" timed out
Normal   Killing    12m                kubelet  Container ray-worker failed liveness probe, will be restarted
```""",
        "sigkill",
        says=("exit code 137",),
    ),
    "a rule of an alert": Text(
        """Is there a way to get told when a Ray pod runs out of memory? I have this rule, but it stays active for days:

```yaml
- alert: RayPodOutOfMemory
  expr: |
    (kube_pod_container_status_last_terminated_reason{reason="OOMKilled", namespace="ray"} == 1)
    and on (namespace, pod) increase(kube_pod_container_status_restarts_total[10m]) > 0
  for: 10s
  labels:
    severity: critical
  annotations:
    description: "Pod {{ $labels.namespace }}/{{ $labels.pod }} was OOMKilled."
```""",
        "unknown",
    ),
    "a pull request on an alert": Text(
        """fix: alert on OOMKilled pods

Adds a check to the exporter:

```python
REASONS = ("Error", "OOMKilled", "ContainerCannotRun")

def is_memory(status):
    return status.last_state.terminated is not None and status.last_state.terminated.reason == "OOMKilled"
```

The dashboard counts `sum by (pod) (kube_pod_container_status_terminated_reason{reason="OOMKilled"})`.""",
        "unknown",
    ),
    "a guide": Text(
        """OOMKilled (exit code 137): what it means and how to fix it

Kubernetes marks a container as OOMKilled with exit code 137 when it exceeds its memory limit. To confirm it, run

```
kubectl get pods -A | grep OOMKilled
kubectl get pod <pod> -o json | jq '.status.containerStatuses[].lastState.terminated | select(.reason=="OOMKilled")'
docker inspect -f '{{.State.OOMKilled}}' <container>
```

| Reason | Exit code | Meaning |
|---|---|---|
| OOMKilled | 137 | The container reached its limit |
| Error | 1 | The program failed |""",
        "unknown",
    ),
    "yq of a head's status": Text(
        """# Head pod of the sample cluster is OOMKilled when it starts

```bash
$ RAY_HEAD=$(kubectl get pods --selector=ray.io/node-type=head -o custom-columns=POD:metadata.name --no-headers)
$ kubectl get pod ${RAY_HEAD} -o yaml | yq '.status.containerStatuses[0].lastState.terminated'
containerID: containerd://"""
        + CONTAINER
        + """
exitCode: 137
finishedAt: "2026-02-17T10:56:44Z"
reason: OOMKilled
startedAt: "2026-02-17T10:56:35Z"
```""",
        "container_limit",
        says=("OOMKilled",),
    ),
    "a search that found a pod": Text(
        """$ kubectl get pods -n ray | grep -E 'NAME|OOMKilled'
NAME                                      READY   STATUS      RESTARTS      AGE
raycluster-a-worker-small-group-9zx2k     0/1     OOMKilled   4 (51s ago)   11m""",
        "container_limit",
        says=("raycluster-a-worker-small-group-9zx2k", "OOMKilled"),
    ),
    "a search that found nothing": Text(
        """My actors die now and then. I do not think that it is memory:

$ kubectl get pods -A | grep OOMKilled
$ kubectl get events -A | grep -i -E 'evicted|oom'
$ dmesg -T | grep -i 'killed process'
$""",
        "unknown",
    ),
    "a limit that the operator has": Text(
        """The cluster has lots of free memory, but the operator's pod keeps restarting:

```
$ kubectl describe pod -n ray-system kuberay-operator-6d57f5fd7-gfnxw
...
    Last State:     Terminated
      Reason:       OOMKilled
      Exit Code:    137
      Started:      Mon, 31 Aug 2026 16:32:42 -0500
      Finished:     Mon, 31 Aug 2026 16:33:08 -0500
    Ready:          True
    Restart Count:  1
    Limits:
      cpu:     100m
      memory:  512Mi
    Requests:
      cpu:        100m
      memory:     60Mi
```

After raising the limit it works.""",
        "container_limit",
        figures={"limit": 512 * 2**20},
        says=("OOMKilled",),
    ),
    "an actor that died, and a person who guesses": Text(
        f"""# Actor died

I set TRAIN_BATCH_SIZE=8 on a 48 GB card, so it may not be a memory problem. What could it be?

The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file. There are some potential root causes. (1) The process is killed by SIGKILL by OOM killer due to high memory usage. (2) ray stop --force is called. (3) The worker is crashed unexpectedly due to SIGSEGV or other unexpected errors.
ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.
        class_name: create_colocated_worker_cls.<locals>.WorkerDict
        actor_id: {ACTOR}
        pid: 71876
        namespace: 8d979521-e26c-4252-adaf-f108de8340f3
        ip: 10.20.30.40""",
        "unknown",
        victims=(("create_colocated_worker_cls.<locals>.WorkerDict", None, ACTOR, None, 71876, None),),
        figures={"node_ip": "10.20.30.40"},
    ),
    "two troubles, of which one is of the GPU": Text(
        """[Question] CUDA out of memory | actor died unexpectedly

**1. CUDA out of memory in training**
After the data was generated I ran `python train.py`, and kept meeting

RuntimeError: CUDA out of memory. Tried to allocate 150.00 MiB (GPU 0; 14.58 GiB total capacity; 13.94 GiB already allocated; 17.31 MiB free; 13.94 GiB reserved in total by PyTorch)

**2.** I sometimes meet "actor died unexpectedly", but have not found out why.""",
        "gpu_memory",
        says=("150.00 MiB",),
    ),
    "an error that went away": Text(
        """Thanks, the torch.OutOfMemoryError is gone since we set gpu_memory_utilization=0.8. What remains is that the engine hangs when it starts: no error, no CUDA OOM, no exit code 137, just `Waiting for the placement group`. Any idea?""",
        "unknown",
    ),
    "bad_alloc on a machine with much memory": Text(
        """It was competing, but over 300 GB of RAM was free, and dmesg did not have any messages about the oom-killer.

```
terminate called after throwing an instance of 'std::bad_alloc'
  what():  std::bad_alloc
/bin/sh: line 1: 69311 Aborted                 ./loader --shards 94 > log.txt
```""",
        "memory_error",
        says=("std::bad_alloc",),
    ),
    "bad_alloc that was fixed": Text(
        "Closing this: the std::bad_alloc is fixed in the nightly. It did not come from Ray, and no node was out of memory.",
        "unknown",
    ),
    "Slurm, in a sentence": Text(
        """Hello, I have difficulty with a calculation, it gives me the error slurmstepd: error: Detected 1 oom_kill event in StepId=11300781.0. Some of the step tasks have been OOM Killed. srun: error: node6156: task 0: Out Of Memory, how do I remove it? My script:
#!/bin/bash
#SBATCH --nodes=4
#SBATCH --mem=64Gb
#SBATCH --time=744:00:00""",
        "slurm_limit",
        says=("11300781.0",),
    ),
    "Slurm, older, below a traceback": Text(
        """  File "/home/user/.local/lib/python3.6/site-packages/ray/tune/tune.py", line 272, in run
    raise TuneError("Trials did not complete", errored_trials)
ray.tune.error.TuneError: ('Trials did not complete', [seed:5591])
slurmstepd: error: Detected 8 oom-kill event(s) in step 59137890.batch cgroup. Some of your processes may have been killed by the cgroup out-of-memory handler.""",
        "slurm_limit",
        says=("59137890.batch",),
    ),
    "a job that Slurm cancelled for its time": Text(
        """Slurm killed the job, but not for memory: seff says 12 GB of 64 GB. There was no oom_kill event either.
slurmstepd: error: *** JOB 4711 ON node7 CANCELLED AT 2026-02-01T10:00:00 DUE TO TIME LIMIT ***""",
        "unknown",
    ),
    "a terminal of 100 columns": Text(
        """(raylet) [2026-02-07 09:57:19,206 E 393463 393463] (raylet) node_manager.cc:3277: 2 Workers (tasks /
 actors) killed due to memory pressure (OOM), 0 Workers crashed due to other reasons at node (ID: ab
12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12, IP: 10.20.30.40) over the last time period. 
To see more information about the Workers killed on this node, use `ray logs raylet.out -ip 10.20.30
.40`""",
        "ray_memory_monitor",
        figures={"node_id": NODE, "node_ip": "10.20.30.40"},
        says=("2 workers",),
    ),
    "an old monitor's table": Text(
        """It should at least tell me which task it is. I get

ray.memory_monitor.RayOutOfMemoryError: More than 95% of the memory on node thinkpad is used (11.8 / 12.3 GB). The top 5 memory consumers are:

PID	MEM	COMMAND
28442	5.0GB	ray_X:alloc()
15294	0.4GB	/opt/google/chrome/chrome --type=renderer

In addition, ~4.12 GB of shared memory is currently being used by the Ray object store.""",
        "ray_memory_monitor",
        figures={"used": 11_800_000_000, "limit": 12_300_000_000, "threshold": 11_685_000_000},
        top=(
            (28442, 5_000_000_000, "ray_X:alloc()"),
            (15294, 400_000_000, "/opt/google/chrome/chrome --type=renderer"),
        ),
    ),
    "a pod that was evicted": Text(
        """Name:             raycluster-a-head-ldg9f
Namespace:        default
Node:             k3d-default-agent-0/192.168.128.4
Labels:           app.kubernetes.io/name=kuberay
                  ray.io/node-type=head
Status:           Failed
Reason:           Evicted
Message:          The node was low on resource: memory. Threshold quantity: 1Gi, available: 991045Ki. 
IP:               10.42.0.2""",
        "evicted",
        figures={"node_ip": "192.168.128.4"},
        says=("raycluster-a-head-ldg9f", "991045Ki"),
    ),
    "a pod that was not evicted": Text(
        "The worker was neither evicted nor OOMKilled. It ends with exit code 1 because the image has another Python.",
        "unknown",
    ),
    "kills in a cgroup, from dmesg": Text(
        """I did some digging, and found this in dmesg:

```
[1318952.007948] Memory cgroup out of memory: Killed process 3293402 (gcs_server) total-vm:999400kB, anon-rss:387784kB, file-rss:16384kB, shmem-rss:0kB, UID:1000 pgtables:1116kB oom_score_adj:-997
[1318952.008140] Tasks in /kubelet.slice/kubelet-kubepods-pod88ca15f8.slice/cri-containerd-38da.scope are going to be killed due to memory.oom.group set
```""",
        "kernel_oom",
        victims=(("gcs_server", None, None, None, 3293402, 387784 * 1024),),
    ),
    "a metric that says so": Text(
        'kube_pod_container_status_last_terminated_reason{namespace="ray",pod="rc-worker-gpu-7x2kq",container="ray-worker",reason="OOMKilled"} 1',
        "container_limit",
        says=("rc-worker-gpu-7x2kq",),
    ),
    "an event's labels": Text(
        """apiVersion: v1
kind: ConfigMap
metadata:
  name: runbooks
  labels:
    reason: OOMKilled
    team: ray
data:
  exit-codes: "137, 143\"""",
        "unknown",
    ),
    "who thought so, and found otherwise": Text(
        """I thought the pod was OOMKilled, but it was not. The preStop hook ran into its 600 s, and then the kubelet sent SIGKILL:

Exit Code: 137
Reason: Error""",
        "sigkill",
        says=("no log here shows whether memory was the reason", "I thought the pod was OOMKilled, but it was not."),
    ),
    "a table of workers as wide as each other": Text(
        """All workers print a line as wide as each other, and worker 3 is the one that dies:
worker-1 has loaded its part of the table in 12 s, ok
worker-2 has loaded its part of the table in 14 s, ok
worker-3 torch.OutOfMemoryError: CUDA out of memory.  
worker-4 has loaded its part of the table in 11 s, ok""",
        "gpu_memory",
    ),
}
