"""Connects a command's process to a cluster, and finds the one that is meant by an address or by "auto"."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from typing import NamedTuple

from . import authentication, local

__all__ = [
    "Connection",
    "connect",
    "disconnect",
    "locate",
]

_SECONDS_TO_CONNECT = 5.0
_ADDRESS = r"(?:ray://)?(?P<host>\[[^/]+\]|[^/:]+):(?P<port>\d+)"


class Connection(NamedTuple):
    """The cluster that a command connects to: its address, host and port, and the others that run on this machine.

    They are told only where none was named, so that it is of interest which was chosen.
    """

    address: str
    host: str
    port: int
    others: tuple[local.LocalCluster, ...] = ()

    @property
    def chosen(self) -> str:
        """Say which it is, where several could have been meant; else nothing."""
        if not self.others:
            return ""
        return (
            f"several Ray clusters run on this machine; this is {self.host}:{self.port}, as `auto` has it. "
            f"Others, for --address: {local.shown(self.others)}."
        )


def locate(address: str) -> Connection:
    """Return the cluster that an address means, which for "auto" is found on this machine.

    Raises:
        ValueError: that is no address, or no cluster runs here.
    """
    found = re.fullmatch(_ADDRESS, address)
    others: tuple[local.LocalCluster, ...] = ()
    if found is None and address != "auto":
        raise ValueError(
            f"{address!r} is not the address of a Ray cluster: give HOST:PORT (6379 is Ray's usual port), "
            "ray://HOST:PORT, or auto for the one that runs here."
        )
    if found is None:
        try:
            address, others = _address_here()
        except (OSError, ValueError, ImportError) as error:
            raise ValueError(f"there is no Ray cluster to be reached at 'auto': {error}") from None
        found = re.fullmatch(_ADDRESS, address)
        if found is None:
            raise ValueError(f"{address!r} (auto) is not the address of a Ray cluster; RAY_ADDRESS says so.")
    return Connection(address, found["host"].strip("[]"), int(found["port"]), others)


def _address_here() -> tuple[str, tuple[local.LocalCluster, ...]]:
    """Return the address of the cluster that Ray means by "auto", and the others that run on this machine.

    That is the one which `RAY_ADDRESS` names, else the one that was started last: with `ray start`, as far as any was
    that still runs. Raises `ConnectionError` where none runs here.
    """
    set_by_user = os.environ.get("RAY_ADDRESS", "auto")
    if set_by_user not in ("", "auto"):
        return set_by_user, ()
    services = importlib.import_module("ray._private.services")
    with _silent_logger(services.logger):  # who asked is told of the others by us
        address = str(services.canonicalize_bootstrap_address_or_die("auto"))
        started = services.find_bootstrap_address(None)
    running = local.running()
    meant = next((cluster for cluster in running if started and cluster.is_at(started)), next(iter(running), None))
    if meant is None:  # its raylet cannot be seen from here
        return address, ()
    return meant.address, tuple(cluster for cluster in running if cluster is not meant)


@contextlib.contextmanager
def _silent_logger(logger: logging.Logger) -> Iterator[None]:
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def connect(address: str) -> Connection:
    """Connect a command's process to the cluster at an address, with the authentication that it wants.

    Raises:
        ValueError: that is no address, or there is no cluster to be reached.
    """
    place = locate(address)
    named = repr(address)
    if address == "auto":
        named = f"{place.address} (auto{'; others here: ' * bool(place.others)}{local.shown(place.others)})"
    try:
        socket.create_connection((place.host, place.port), _SECONDS_TO_CONNECT).close()  # Ray would try for minutes
        host_and_port = place.address.removeprefix("ray://")
        authentication.choose_mode(host_and_port, client=place.address != host_and_port)
        import ray

        ray.init(address=place.address, logging_level="ERROR", log_to_driver=False)  # type: ignore[arg-type]
        _print_nothing()
        # Runs before Ray's own end, which Ctrl-C would have print a traceback: all is said by then.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)
    except PermissionError as error:
        raise ValueError(f"the Ray cluster at {named} cannot be connected to: {error}.") from None
    except OSError as error:
        raise ValueError(f"there is no Ray cluster to be reached at {named}: {_told(error)}.") from None
    except (RuntimeError, ValueError, AssertionError, ImportError, OverflowError) as error:
        raise ValueError(f"the Ray cluster at {named} cannot be connected to: {_told(error)}.") from None
    return place


def _told(error: Exception) -> str:
    """Return what an error says, in a line; where it holds a server's traceback, what that ends with."""
    text = str(error).strip()
    if "Traceback (most recent call last)" in text:
        text = text.splitlines()[-1]
    return " ".join(text.split()).rstrip(". ") or type(error).__name__


def _print_nothing() -> None:
    """Keep Ray from printing what its nodes have to say, a node's death say, between what a command prints.

    `log_to_driver=False` does not. Where Ray has no such switch any more, it prints.
    """
    worker = sys.modules["ray"]._private.worker
    if hasattr(worker, "_worker_logs_enabled"):
        worker._worker_logs_enabled = False


def disconnect() -> None:
    """Disconnect this process from its cluster, if it is connected to one."""
    ray = sys.modules.get("ray")
    if ray is not None:
        ray.shutdown()
