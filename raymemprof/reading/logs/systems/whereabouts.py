"""Adds which pod, container, executor, job or node it was, by what stands near the words that tell of an end."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from ..facts import Message
from ..patterns import IPV4, Form

__all__ = ["with_whereabouts"]

_OF = ("container_limit", "sigkill", "evicted", "kernel_oom")
_ENDS = Form(
    r"OOM[ -]?[Kk]illed|\bcontainer oom\b|\bTaskOOM\b|/tasks/oom\b|[Ee]xit(?:ed)?[ _]?[Cc]ode\b[^\n]{0,20}?\b137\b|"
    r"\bEvicted\b|[Tt]he node was low on resource|\boom-kill:|Memory cgroup (?:stats for|out of memory)|"
    r"\bKilled process\b|\bSystem OOM encountered|\bOOMKilling\b|\bTask in /\S{1,300} killed as a result|"
    r"\bContainer killed by YARN\b"
)
"""Words that tell of an end for memory, or by SIGKILL."""
_MOST_ENDS, _LINES_BEFORE, _LINES_AFTER = 20, 8, 8
_BEFORE, _AFTER = 1500, 3000
"""Characters at most that are near."""
_IS = r"[\"']?\s{0,3}[=:]\s{0,3}\\?[\"']?"
_NAME = r"[a-z0-9](?:[a-z0-9._*-]{0,250}[a-z0-9*])?"
_OF_KUBERNETES = r"(?:io\.kubernetes\.|k8s\.|kubernetes[._]|K8S_)?"
_POD = (
    Form(rf"\b{_OF_KUBERNETES}(?:pod[._-]?[Nn]ame|POD_NAME)\b{_IS}({_NAME}(?:/{_NAME})?)(?![\w*.-])"),
    Form(rf"(?:\bpod=|[\"']pod[\"']:\s?)\\?[\"']?({_NAME}(?:/{_NAME})?)(?![\w*.-])"),
    Form(rf"\b(?:failed|ended|killed|terminated|running|OOMKilled) in pod ({_NAME}/{_NAME})(?![\w*-])"),
    Form(rf"[`'\"]({_NAME})[`'\"] pods? (?:ha(?:s|ve) been|was|were|is|got|gets) OOM"),
    Form(rf"\b[Pp]od ({_NAME}/{_NAME})(?![\w*.-])|\bPod ({_NAME}) (?:returned a failure|failed)\b"),
    Form(rf"\bobject=\\?\"({_NAME}/{_NAME})\\?\" (?:\w{{1,20}}=\S{{0,60}} ){{0,3}}kind=\\?\"Pod\b"),
    Form(rf"\s({_NAME}-\d{{5,12}})[ \t]{{1,20}}\d{{1,4}}[smhd]\w{{0,6}}[ \t]{{1,20}}OOMKilled\b"),
    Form(rf"\bk8s_[\w.-]{{1,63}}?_({_NAME})_[a-z0-9-]{{1,63}}_[0-9a-f-]{{36}}_\d{{1,6}}\b"),
    Form(rf"\bBack-off restarting failed container {_NAME} in pod ({_NAME})(?=[_\s])"),
    Form(rf"^\s{{0,9}}({_NAME})[ \t]{{1,40}}\d{{1,3}}/\d{{1,3}}[ \t]{{1,40}}OOMKilled\b", re.MULTILINE),
)
_DESCRIBED = Form(
    rf"\bdescribe (?:pods?|po)(?:/|[ \t]{{1,9}})(?:-n[ \t]?{_NAME}[ \t]{{1,9}})?"
    rf"((?=[a-z.]{{0,100}}[\d-]){_NAME}|{_NAME}(?=[ \t]{{0,9}}(?:\n|\Z|[`'\"])))(?![\w*/.-])"
)
"""A word of a sentence may follow."""
_EVENT_OF_POD = Form(
    r"(?:\b|\\n)Kind:\s?Pod\b[\s\S]{0,200}?(?:\b|\\n)Name:\s?([a-z0-9][a-z0-9-]{0,250})(?:\.[0-9a-f]{14,16}|(?=\s|\\n))"
)
"""What an event of Kubernetes is of."""
_NODE_OF_POD = (
    Form(rf"^[ \t]{{0,40}}Node:[ \t]{{1,40}}([a-z0-9][\w.-]{{0,252}})(?:/({IPV4})?)?[ \t]{{0,9}}$", re.MULTILINE),
    Form(rf"^[ \t]{{0,40}}[\"']?hostIP[\"']?:[ \t]{{1,40}}[\"']?()({IPV4})[\"']?,?[ \t]{{0,9}}$", re.MULTILINE),
    Form(
        r"^[ \t]{0,40}[\"']?nodeName[\"']?:[ \t]{1,40}[\"']?([a-z0-9][\w.-]{0,252})()[\"']?,?[ \t]{0,9}$", re.MULTILINE
    ),
    Form(
        rf"\bOOMKilled[ \t]{{1,40}}\d{{1,6}}(?:[ \t]\([^()\n]{{1,20}}\))?[ \t]{{1,40}}\w{{1,20}}[ \t]{{1,40}}"
        rf"(?:{IPV4}|<none>)[ \t]{{1,40}}([a-z0-9][\w.-]{{0,252}})()(?![\w.-])"
    ),
)
"""The name and the address of the machine of a pod: in `kubectl describe`, a pod's status, `kubectl get -o wide`."""
_NEXT_POD = Form(r"^Name:[ \t]", re.MULTILINE)
_NAMESPACE = (
    Form(rf"\b{_OF_KUBERNETES}(?:pod[._-]?namespace|namespace[._]name|POD_NAMESPACE)\b{_IS}({_NAME})(?![\w*-])"),
    Form(rf"\bk8s_[\w.-]{{1,63}}?_{_NAME}_([a-z0-9-]{{1,63}})_[0-9a-f-]{{36}}_\d{{1,6}}\b"),
)
_CONTAINER = (
    Form(rf"\b{_OF_KUBERNETES}container[._ -]?[Nn]ame\b{_IS}({_NAME})(?![\w*-])"),
    Form(rf"\bcontainer=\\?[\"']?({_NAME})(?![\w*-])"),
    Form(rf"\bBack-off restarting failed container ({_NAME}) in pod\b"),
    Form(rf"['\"]name['\"]: ?['\"]({_NAME})['\"], ?['\"](?:state|lastState|last_state)['\"]: ?\{{"),
    Form(rf"(?<![\w./-])({_NAME}): (?:OOMKilled|Error) \(exit code 137\)"),
    Form(rf"\bContainerStatus\(containerID=[^\n]{{0,2000}}?, name=({_NAME}), ready="),
    Form(
        rf"[\"'](?!(?:status|spec|properties|data|job|task|result|response)[\"'])({_NAME})[\"']:\s{{0,9}}\{{\s{{0,80}}"
        r"[\"'](?:state|lastState)[\"']:\s{0,9}\{"
    ),
)
_DOCKER_EVENT = Form(
    rf"\bcontainer (?:die|died|oom) ([0-9a-f]{{12}})[0-9a-f]{{0,52}} \([^()\n]{{0,1500}}?"
    rf"(?<![\w.])name=({_NAME})(?![\w*-])"
)
"""The id and the name of a container: the kernel's log beside may be of another."""
_UID = Form(r"(?:\bkubepods|/kubepods)\S{0,200}?[-/]pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})\b")
_CONTAINER_ID = Form(
    r"(?:\b(?:cri-containerd|crio|docker|libpod)-|/(?:docker|ecs/[\w-]{1,80}|kubepods\S{0,200}?/pod[0-9a-f-]{36})/)"
    r"([0-9a-f]{12})[0-9a-f]{0,52}\b"
)
_JOB = Form(r"/slurm(?:stepd\.scope|_[\w-]{1,60})?(?:/uid_\d{1,10})?/job_(\d{1,12})\b")
_EXECUTOR = (
    Form(r"\b[Ee]xecutor with id (\w{1,10}) (?:exited|was)\b"),
    Form(r"\bLost executor (\w{1,10}) on\b"),
    Form(r"\bexecutor (\w{1,10})(?=\): ExecutorLost| exited caused by)"),
)
_EXECUTOR_HOST = (
    Form(r"\bLost executor \w{1,10} on ([\w.-]{1,200}?)(?=[:,]|\s)"),
    Form(r"\(TID \d{1,12}\)? ?[(,] ?([\w.-]{1,200}?),? executor \w{1,10}\): ExecutorLost"),
)
_NODE = (
    Form(r"\b[Kk]ubelet, ([a-z0-9][\w.-]{0,252})"),
    Form(rf"\bSuccessfully assigned {_NAME}/{_NAME} to ([a-z0-9][\w.-]{{0,252}})"),
    Form(rf"\bnode[Nn]ame\b{_IS}([a-z0-9][\w.-]{{0,252}})"),
    Form(r"\bKind:\s?Node\b[\s\S]{0,200}?\bName:\s?([\w.-]{1,252}?)(?:\.[0-9a-f]{16})?(?=\s)"),
    Form(r"[\"']component[\"']:\s?[\"']kubelet[\"'],\s{0,20}[\"']host[\"']:\s?[\"']([\w.-]{1,252})[\"']"),
    Form(r"(?<![\w/])node/([a-z0-9][\w.-]{0,252})"),
    Form(r"[\"']kubernetes[\"']:\s?\{[^{}]{0,600}?[\"']host[\"']:\s?[\"']([\w.-]{1,252})[\"']"),
)
_IP_IN_NAME = Form(rf"(?<!\d)(?<!\d\.)({IPV4})(?!\.?\d)")


def with_whereabouts(message: Message, text: str) -> Message:
    """Add the pod, container, executor, job and node that stand near what tells of the end, each if it is but one."""
    if message.cause not in _OF:
        return message
    near = [_near(text, end) for end in itertools.islice(_ENDS.finditer(text), _MOST_ENDS)]
    known = " ".join(filter(None, (message.statement, message.reason, *message.also)))

    def only(*forms: Form) -> str | None:
        for form in forms:
            every = {one for part in near for one in form.findall(part)}
            found = {"".join(one) if isinstance(one, tuple) else one for one in every}
            if found:
                return str(found.pop()) if len(found) == 1 else None
        return None

    described = set(_DESCRIBED.findall(text)) or set(_EVENT_OF_POD.findall(text))
    pod = only(*_POD) or (described.pop() if len(described) == 1 else None)
    events = {one[2] for one in _DOCKER_EVENT.finditer(text) if message.cause != "kernel_oom" or text.count(one[1]) > 1}
    container = events.pop() if len(events) == 1 else only(*_CONTAINER)
    of_pod, node_ip = _node_of_pod(text)
    node = only(*_NODE) or of_pod
    named = None
    if pod and pod not in known:
        namespace = only(*_NAMESPACE)
        named = f"the pod {pod}" + (f" in the namespace {namespace}" if namespace and "/" not in pod else "")
    if container and f"container {container}" not in known:
        named = f"the container {container}" + (f" of {named}" if named else "")
    if named is None and not pod:
        uid, identity = only(_UID), only(_CONTAINER_ID)
        uid = uid.replace("_", "-") if uid else None
        uid = f"the pod with the uid {uid}" if uid and uid not in known else None
        identity = f"the container {identity}" if identity and identity not in known else None
        named = " of ".join(filter(None, (identity, uid))) or None
    sentences = [f"It was in {named}."] if named else []
    executor, host = only(*_EXECUTOR), only(*_EXECUTOR_HOST)
    if executor and (f"executor {executor}" not in known or (host and host not in known)):
        sentences.append(f"It was the executor {executor} of Spark{f' on {host}' if host else ''}.")
    job = only(_JOB)
    if job and job not in known:
        sentences.append(f"It was in the job {job} of Slurm.")
    if (node and node not in known) or (node_ip and node_ip not in known):
        address = f" ({node_ip})" if node and node_ip else ""
        sentences.append(f"It was on the node {node or node_ip}{address}.")
    if message.node_ip and message.node_ip != node_ip and message.node_ip not in known:
        sentences.append(f"The pod's address is {message.node_ip}.")
    ips = [found[1] for name in (node, executor and host) if name and (found := _IP_IN_NAME.search(name))]
    ip = node_ip or message.node_ip or (ips[0] if ips else None)
    return replace(message, also=(*message.also, *sentences), node_ip=ip) if sentences else message


def _node_of_pod(text: str) -> tuple[str | None, str | None]:
    """The name and the address of the machine that the pod ran on that ended; None where there were several."""
    borders = [0, *(found.start() for found in _NEXT_POD.finditer(text)), len(text)]
    ends = [end.start() for end in itertools.islice(_ENDS.finditer(text), _MOST_ENDS)]
    pods = [text[start:stop] for start, stop in itertools.pairwise(borders) if any(start <= end < stop for end in ends)]
    found = [one for form in _NODE_OF_POD for pod in pods for one in form.findall(pod)]
    names, addresses = ({one[part] for one in found if one[part]} for part in (0, 1))
    if len(names) > 1 or len(addresses) > 1:
        return None, None
    return next(iter(names), None), next(iter(addresses), None)


def _near(text: str, end: re.Match[str]) -> str:
    """The lines around what tells of an end."""
    start = stop = end.start()
    for _ in range(_LINES_BEFORE + 1):
        start = text.rfind("\n", 0, start) if start > 0 else -1
        if start < 0:
            break
    stop = end.end()
    for _ in range(_LINES_AFTER + 1):
        following = text.find("\n", stop + 1)
        if following < 0:
            stop = len(text)
            break
        stop = following
    return text[max(start, end.start() - _BEFORE, 0) : min(stop, end.end() + _AFTER)]
