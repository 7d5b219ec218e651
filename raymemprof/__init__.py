"""raymemprof: Ray's page "Debugging Memory Issues" as a library."""

from .diagnosis.explain import Explanation, explain
from .diagnosis.ooms import Kill, Kills, ooms
from .errors import CaptureError
from .reading.catalog import Call, Calls, Capture, Captures, calls, captures
from .reading.heap import Heap, heap
from .reading.reports import Report, flamegraph, speedscope, table
from .recording.decorator import profile_memory

__version__ = "0.1.0"
__all__ = [
    "Call",
    "Calls",
    "Capture",
    "CaptureError",
    "Captures",
    "Explanation",
    "Heap",
    "Kill",
    "Kills",
    "Report",
    "__version__",
    "calls",
    "captures",
    "explain",
    "flamegraph",
    "heap",
    "ooms",
    "profile_memory",
    "speedscope",
    "table",
]
