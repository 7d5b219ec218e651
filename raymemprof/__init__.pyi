from .cluster import MissingNode, ObjectReferences
from .diagnosis.advise.advise import Recommendation, Recommendations, advise
from .diagnosis.doctor.diagnosis import Diagnosis
from .diagnosis.doctor.doctor import doctor
from .diagnosis.doctor.findings import Check, Finding
from .diagnosis.explain.explain import Explanation, explain
from .diagnosis.ooms import Kill, Kills, Retry, ooms
from .diagnosis.timeline.timeline import timeline
from .diagnosis.usage.records import Nodes, NodeUsage, Processes, ProcessUsage, Usage
from .diagnosis.usage.shared_memory import SharedMemoryOwner, SharedMemoryOwners
from .diagnosis.usage.usage import usage
from .diagnosis.watch.peaks import SeenPeak, SeenPeaks
from .diagnosis.watch.watch import Watch, watch
from .display.rows import Rows
from .errors import AttachError, CaptureError
from .host import ResourceIsolation
from .reading.catalog.listing import calls, captures
from .reading.catalog.records import Call, Calls, Capture, Captures, ChildProcess
from .reading.catalog.sources import Source
from .reading.files.clean import RemovedFile, RemovedFiles, clean
from .reading.files.fetch import Fetched, fetch
from .reading.logs.facts import TopProcess, Victim
from .reading.reports.heap import Heap, heap
from .reading.reports.lines import Line, Lines
from .reading.reports.merged import HeapByName
from .reading.reports.render import flamegraph, speedscope, table
from .reading.reports.report import Report
from .reading.reports.summary import FunctionSummary, Summary, summary
from .reading.reports.targets import Target
from .recording.decorator import ProfileMemory, profile_memory
from .recording.undecorated.attach import Attached, Attachment, attach
from .recording.undecorated.runtime_env import runtime_env

__version__: str
__all__ = [
    "AttachError",
    "Attached",
    "Attachment",
    "Call",
    "Calls",
    "Capture",
    "CaptureError",
    "Captures",
    "Check",
    "ChildProcess",
    "Diagnosis",
    "Explanation",
    "Fetched",
    "Finding",
    "FunctionSummary",
    "Heap",
    "HeapByName",
    "Kill",
    "Kills",
    "Line",
    "Lines",
    "MissingNode",
    "NodeUsage",
    "Nodes",
    "ObjectReferences",
    "ProcessUsage",
    "Processes",
    "ProfileMemory",
    "Recommendation",
    "Recommendations",
    "RemovedFile",
    "RemovedFiles",
    "Report",
    "ResourceIsolation",
    "Retry",
    "Rows",
    "SeenPeak",
    "SeenPeaks",
    "SharedMemoryOwner",
    "SharedMemoryOwners",
    "Source",
    "Summary",
    "Target",
    "TopProcess",
    "Usage",
    "Victim",
    "Watch",
    "__version__",
    "advise",
    "attach",
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
    "runtime_env",
    "speedscope",
    "summary",
    "table",
    "timeline",
    "usage",
    "watch",
]
