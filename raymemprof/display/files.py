"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

__all__ = ["check_output", "is_folder", "written_whole"]

_DEVICES = Path("/dev")


def is_folder(path: Path) -> bool:
    """Whether a path is a folder. Of one that cannot be looked at, `check_output` says why."""
    try:
        return path.is_dir()
    except OSError:
        return False


def check_output(path: Path, overwrite: bool) -> None:
    """Refuse a path that no file may be written to.

    Raises:
        FileExistsError: it exists and may not be overwritten, or is no plain file: a device, a FIFO, a socket, a
            folder.
        FileNotFoundError: there is no folder for it.
        OSError: the path cannot be looked at; it is too long, for example.
    """
    try:
        is_there = stat.S_IFMT(os.lstat(path).st_mode)
        leads_to = stat.S_IFMT(path.stat().st_mode) if os.path.exists(path) else stat.S_IFREG
    except (FileNotFoundError, NotADirectoryError):
        is_there = leads_to = 0
    except OSError as error:
        raise _unwritable(path, error) from None
    is_device = is_there == stat.S_IFLNK and path.parent == _DEVICES  # /dev/stdout may lead to a plain file
    if is_there and (leads_to != stat.S_IFREG or is_device):
        raise FileExistsError(f"{path} is no plain file, so it is not replaced; name another file to write.")
    if is_there and not overwrite:
        raise FileExistsError(f"{path} exists already; overwrite=True, or --force in a shell, replaces it.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist, so no report can be written there.")


@contextlib.contextmanager
def written_whole(path: Path, errors: str = "strict") -> Iterator[TextIO]:
    """Give a text file to write to, which takes the place of `path` at the end; after an error `path` is as before.

    Until then the text is in a hidden file in the same folder. `errors` says what becomes of text that is no Unicode.
    Where the folder cannot be written to, `OSError` names `path`.
    """
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors=errors, dir=path.parent, prefix=f".{path.name[:100]}-", delete=False
        ) as file:
            try:
                yield file  # type: ignore[misc]
                file.flush()
                os.chmod(file.name, 0o644)
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        # What was to be written may not have been there: of another file the error is not this one's.
        is_of_this = error.filename is None or Path(error.filename).name.startswith(f".{path.name[:100]}-")
        if is_of_this and error.strerror is not None:
            raise _unwritable(path, error) from error
        raise


def _unwritable(path: Path, error: OSError) -> OSError:
    """Return an error as `error` is one, which names the file that was asked for."""
    named = type(error)(f"{path}: a file cannot be written there: {error.strerror}.")
    named.errno = error.errno
    return named
