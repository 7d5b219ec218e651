"""raymemprof: Ray's page "Debugging Memory Issues" as a library."""

from .diagnosis.advise.advise import Advice, Advices, advise
from .diagnosis.doctor.diagnosis import Diagnosis
from .diagnosis.doctor.doctor import doctor
from .diagnosis.doctor.findings import Check, Finding
from .diagnosis.explain.explain import Explanation, explain
from .diagnosis.ooms import Kill, Kills, ooms
from .diagnosis.usage.records import Usage
from .diagnosis.usage.usage import usage
from .errors import CaptureError
from .reading.catalog.listing import calls, captures
from .reading.catalog.records import Call, Calls, Capture, Captures, ChildProcess
from .reading.files.clean import Removed, clean
from .reading.files.fetch import fetch
from .reading.reports.heap import Heap, heap
from .reading.reports.render import Report, flamegraph, speedscope, table
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
