"""The contract between recording and reading: how files are named and what the journal's lines say.

A process that records has one journal, `raymemprof-….jsonl`: JSON objects, one a line, each appended with a single
`write`, so that a kill tears at most the last one. Beside it lie its captures, `raymemprof-….bin`, written by memray,
and the source texts of the code in them, each content once for all processes that record to the folder.

Lines, by their `event`, and what else they hold (times are seconds since the epoch, sizes bytes):

- `process`: `version`, `pid`, `created` (the process's start), `host`, `machine` (of which boot and container the pid
  is), `node_id`, `worker_id`, `logs` (the node's Ray logs), `python`, `ray`
- `open`: `capture`, `time`, `native`
- `begin`: `call` (its number in this process), `time`, `name`, `kind`, `task_id`, `attempt`, `actor_id`, `job_id`,
  `memory`, `children` (what child processes that were there before add, if any), `within` (the name of the outermost
  call of its task that it runs in and the journal tells of, if any), `deployment` and `context` (what a library of
  Ray's says of it, if any); and `capture`, `slot`, `turn` if it is traced (with `pools`, `free`, `used`, as in a
  sample, where they are known), else `note`
- `peak`: `calls` (their numbers), `memory`, `time`: the process's memory rose by a tenth or more while they ran
- `memory`: `time`, `after` (milliseconds since then), `memory` and `children` (what child processes added, if any) of
  each point: the process's memory over time while calls ran, `recording/series.py` says which points
- `children`: `calls`, `memory` (what child processes added to the process's own), `total` (the process with them: it
  rose by a tenth or more), `time`, `copied` (about how much of it is copies of pages that forks had from their
  parents), `count`, `largest` (pid, name, bytes of some)
- `place`: `capture`, `place` (its number in what is said of that), `stack`: a call stack as memray has them, innermost
  frame first, each `[function, file, line]`
- `sample`: `capture`, `mark`, `time`, `memory`, what moved since the sample before, and where wanted what was resident;
  `SAMPLE_KEYS` says how
- `source`: `file` (as code objects have it), `text` (the checksum of what was in it, which lies beside the journal as
  `raymemprof-source-<checksum>.txt`), and `name` of a notebook's cell
- `fork`: `capture`, `pid` (a child's, whose capture is this one's with its pid at the end), `parent` (the pid of who
  forked it), `calls` (the numbers of those that it belongs to), `time`, `stack` (where it was forked, as in `place`);
  written by the child, where memray follows forks
- `end`: `call`, `duration`, `status`, `error`, `memory`, `peak`, `highest` (what it cannot have been above at any
  moment), `children` and `total` (the most that child processes added, and had with it), `left` and `count` (those that
  are still there), `ray_data_peak` (the most that Ray Data noted in it, if it did), and `note` if tracing stopped
  before
- `close`: `capture`, `time`, and `bytes` and `crc32` of the whole file, where reading it did not take too long
- `sum`: `name`, `kind`, `job_id`, `actor_id`, `deployment`, `within`, `first` and `last` (when they began), `statuses`
  (how many ended so), `peaks` (how many were in a bucket), `peak`, `ray_data_peak`, `kept` (what they left in the
  process), `traced` (how many were): calls that ended, whose own lines are gone, as their captures are
  (`compaction.py`)
- `fetched`: `time`, `status`, `error`: only in a copy on another machine, where some of its calls or captures had not
  ended: what had become of the process by then

A traced call runs in a frame whose file is `FRAME_FILE` and whose name ends in `[slot N]`. Slots are numbered from 0,
taken by a call while it runs and used again after it, so a capture of ten thousand calls has no more call stacks than
a capture of one. `turn` counts how often the slot was taken in this capture. Where in the capture a call begins and
ends is marked by an allocation made from a frame whose file is one of the `*_FILE` names below.
"""

from __future__ import annotations

from .compaction import RECENT, Compacted, compact
from .events import (
    SAMPLE_KEYS,
    VERSION,
    Begin,
    Children,
    Close,
    End,
    Event,
    Fetched,
    Fork,
    Memory,
    Open,
    Peak,
    Place,
    Process,
    Sample,
    Source,
    Sum,
    decode,
    is_figure,
    well_formed,
)
from .file_names import (
    LEFT_OVER,
    PREFIX,
    beside,
    file_stem,
    is_beside,
    is_capture,
    is_journal,
    is_ours,
    is_source,
    named_for,
)
from .files import checksum, open_plain
from .line_io import Lines, append, read_lines
from .marks import (
    BEGIN_BLOCK_FILE,
    BEGIN_FILE,
    END_FILE,
    FRAME_FILE,
    RUN_USER_CODE,
    SAMPLE_FILE,
    frame_name,
    is_own_code,
    marked_turn,
    marker_size,
    recorder_of,
    slot_of,
)
from .selection import LATE
from .sources import MOST_TEXT, digest_of, is_confidential, named_sources, read_text, read_text_at, source_name
from .sums import BUCKET, OTHER_NAMES, add_calls, add_sum, bucket_of, peak_of, was_told_to_end
from .writer_alive import is_alive, machine

__all__ = [
    "BEGIN_BLOCK_FILE",
    "BEGIN_FILE",
    "BUCKET",
    "END_FILE",
    "FRAME_FILE",
    "LATE",
    "LEFT_OVER",
    "MOST_TEXT",
    "OTHER_NAMES",
    "PREFIX",
    "RECENT",
    "RUN_USER_CODE",
    "SAMPLE_FILE",
    "SAMPLE_KEYS",
    "VERSION",
    "Begin",
    "Children",
    "Close",
    "Compacted",
    "End",
    "Event",
    "Fetched",
    "Fork",
    "Lines",
    "Memory",
    "Open",
    "Peak",
    "Place",
    "Process",
    "Sample",
    "Source",
    "Sum",
    "add_calls",
    "add_sum",
    "append",
    "beside",
    "bucket_of",
    "checksum",
    "compact",
    "decode",
    "digest_of",
    "file_stem",
    "frame_name",
    "is_alive",
    "is_beside",
    "is_capture",
    "is_confidential",
    "is_figure",
    "is_journal",
    "is_ours",
    "is_own_code",
    "is_source",
    "machine",
    "marked_turn",
    "marker_size",
    "named_for",
    "named_sources",
    "open_plain",
    "peak_of",
    "read_lines",
    "read_text",
    "read_text_at",
    "recorder_of",
    "slot_of",
    "source_name",
    "was_told_to_end",
    "well_formed",
]
