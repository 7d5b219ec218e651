"""The file descriptors that recording keeps open in the user's process, held against code that closes what it finds.

Code that becomes a daemon closes every descriptor it has, whoever opened it, and the numbers go to the files that it
opens next: what memray or a journal wrote then would go into those. So from when the first is kept,

- `os.close`, `os.closerange` and `os.dup2` find the numbers that are kept as if they were not open;
- whoever keeps one asks before each use whether it is still his: C code, or a function that somebody took from `os`
  before, can close it all the same;
- `lent` has a number be memray's own again while memray closes it, where it has become another file's.
"""

from .finding import find, is_own_pipe
from .folders import scan
from .guards import guard
from .kept import Kept, above_standard, close, is_named, keep, open_kept, reading, release
from .lending import lent

__all__ = [
    "Kept",
    "above_standard",
    "close",
    "find",
    "guard",
    "is_named",
    "is_own_pipe",
    "keep",
    "lent",
    "open_kept",
    "reading",
    "release",
    "scan",
]
