"""What a piece of advice is, and the pages that several pieces come from."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DATA", "ISOLATION", "MMAP", "OOM", "PAGE", "RAYS_DOCS", "Remedy"]

RAYS_DOCS = "https://docs.ray.io/en/latest/"
OOM = f"{RAYS_DOCS}ray-core/scheduling/ray-oom-prevention.html"
PAGE = f"{RAYS_DOCS}ray-observability/user-guides/debug-apps/debug-memory.html"
DATA = f"{RAYS_DOCS}data/how-to-avoid-ooms.html"
ISOLATION = f"{RAYS_DOCS}ray-core/resource-isolation-with-cgroupv2.html"
MMAP = "https://docs.kernel.org/admin-guide/sysctl/vm.html"


class Remedy(NamedTuple):
    """A piece of advice."""

    fact: str
    """What must be known for it to be given."""
    text: str
    """What it says; a format string."""
    documented: str
