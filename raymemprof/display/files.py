"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

__all__ = ["check_output", "written_whole"]


def check_output(path: Path, overwrite: bool) -> None:
    """Raise `FileExistsError` for a file that may not be overwritten, `FileNotFoundError` where there is no folder."""
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(f"{path} exists already; overwrite=True, or --force in a shell, replaces it.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist, so no report can be written there.")


@contextlib.contextmanager
def written_whole(path: Path, errors: str = "strict") -> Iterator[TextIO]:
    """Give a text file to write to, which takes the place of `path` at the end; after an error `path` is as before.

    Until then the text is in a hidden file in the same folder. `errors` says what becomes of text that is no Unicode.
    """
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
