"""raymemprof: Ray's page "Debugging Memory Issues" as a library."""

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
    "Heap",
    "Report",
    "__version__",
    "calls",
    "captures",
    "flamegraph",
    "heap",
    "profile_memory",
    "speedscope",
    "table",
]
