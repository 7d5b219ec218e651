"""raymemprof: Ray's page "Debugging Memory Issues" as a library."""

from .diagnosis.advise import Advice, Advices, advise
from .diagnosis.doctor import doctor
from .diagnosis.explain import Explanation, explain
from .diagnosis.findings import Check, Diagnosis, Finding
from .diagnosis.ooms import Kill, Kills, ooms
from .diagnosis.usage import Usage, usage
from .errors import CaptureError
from .reading.catalog import Call, Calls, Capture, Captures, ChildProcess, calls, captures
from .reading.cleaning import Removed, clean
from .reading.fetching import fetch
from .reading.heap import Heap, heap
from .reading.reports import Report, flamegraph, speedscope, table
from .recording.decorator import profile_memory

__version__ = "0.1.0"
__all__ = [
    "Advice",
    "Advices",
    "Call",
    "Calls",
    "Capture",
    "CaptureError",
    "Captures",
    "Check",
    "ChildProcess",
    "Diagnosis",
    "Explanation",
    "Finding",
    "Heap",
    "Kill",
    "Kills",
    "Removed",
    "Report",
    "Usage",
    "__version__",
    "advise",
    "calls",
    "captures",
    "clean",
    "doctor",
    "explain",
    "fetch",
    "flamegraph",
    "heap",
    "ooms",
    "profile_memory",
    "speedscope",
    "table",
    "usage",
]
