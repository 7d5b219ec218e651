"""Which authentication a cluster wants of who connects to it: a token, or none.

Ray reads `RAY_AUTH_MODE` when it connects, and chooses by itself only for a cluster that it finds itself. With the
wrong mode it tries for half a minute and then says that there is no cluster, or connects to one whose workers it then
does not answer. So both modes are tried first, each in a short-lived process.
"""

from __future__ import annotations

import importlib.util
import os
import select
import subprocess
import sys
import time

__all__ = ["choose_mode", "uses_tls"]

_MODE = "RAY_AUTH_MODE"
_SECONDS = 5.0
_SECONDS_TO_START = 30.0
_HOW = (
    "put the cluster's, which `ray get-auth-token` prints on its nodes, into ~/.ray/auth_token or the variable "
    "RAY_AUTH_TOKEN"
)
_REFUSED = 3
_TRY_GCS = f"""
import sys
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
print("asks", flush=True)
try:
    GcsClient(address=sys.argv[1])
except AuthenticationError:
    sys.exit({_REFUSED})
"""
_TRY_CLIENT = f"""
import sys
import grpc
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated import ray_client_pb2, ray_client_pb2_grpc
print("asks", flush=True)
ping = ray_client_pb2.ClusterInfoRequest(type=ray_client_pb2.ClusterInfoType.PING)
try:
    ray_client_pb2_grpc.RayletDriverStub(init_grpc_channel(sys.argv[1])).ClusterInfo(ping, timeout={_SECONDS})
except grpc.RpcError as error:
    sys.exit({_REFUSED} if error.code() == grpc.StatusCode.UNAUTHENTICATED else 1)
"""


def uses_tls() -> bool:
    """Whether Ray encrypts what goes between nodes."""
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def choose_mode(address: str, *, client: bool) -> None:
    """Set `RAY_AUTH_MODE` in this process's environment to what the cluster at an address accepts.

    Takes half a second, and five at most where nobody answers, beside what a busy machine takes to start two processes.
    An older Ray, which knows no tokens, is left alone.

    Args:
        address: host and port.
        client: whether Ray Client's server is there, and not the GCS.

    Raises:
        PermissionError: the cluster wants a token, and there is none here or another one.
        TimeoutError: no Ray cluster answers there.
    """
    if importlib.util.find_spec("ray._private.authentication") is None:
        return
    tries = {mode: _try(_TRY_CLIENT if client else _TRY_GCS, address, mode) for mode in ("disabled", "token")}
    for process in tries.values():  # until it asks, or has ended
        select.select([process.stdout], [], [], _SECONDS_TO_START)  # type: ignore[type-var]
    deadline = time.monotonic() + _SECONDS
    statuses = {mode: _status(process, deadline) for mode, process in tries.items()}
    for mode, status in statuses.items():
        if status == 0:
            _use(mode)
            return
    if _REFUSED in statuses.values() and None not in statuses.values():
        raise PermissionError(f"it wants a token, and there is none here that it accepts: {_HOW}")
    raise TimeoutError(f"no Ray cluster answered there within {_SECONDS:.0f} s; if it wants a token, {_HOW}")


def _try(code: str, address: str, mode: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code, address],
        env={**os.environ, _MODE: mode},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _status(process: subprocess.Popen[bytes], deadline: float) -> int | None:
    with process:
        try:
            return process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            process.kill()
            return None


def _use(mode: str) -> None:
    os.environ[_MODE] = mode
    raylet = sys.modules.get("ray._raylet")
    if raylet is not None:  # it has read the variable already
        raylet.Config.initialize("")
