"""Whose files are believed: other users of a machine may write to /tmp, and to the log folders of Ray's sessions.

A folder of our own must be as ssh wants its own: no link, this user's, and writable for no one else. In a folder that
anybody may write to, files count that belong to this user, to root or to the folder's owner. A link that somebody else
made in such a folder is not followed, as the kernel does not where `fs.protected_symlinks` is set.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

__all__ = [
    "Believed",
    "UntrustedError",
    "absolute",
    "check_own_folder",
    "make_folder",
    "own_folder",
    "refuse_foreign_folder",
    "refuse_foreign_link",
    "user_name",
]

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_ANYBODY = "in a folder that anybody may write to"


class UntrustedError(PermissionError):
    """A folder or link that somebody else may have made is in the way; the text says which, why, and what to do."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(errno.EPERM, why, str(path))

    def __reduce__(self) -> tuple[type[UntrustedError], tuple[Path, str]]:
        return UntrustedError, (Path(self.filename), self.strerror or "")

    def __str__(self) -> str:
        return f"{self.filename} {self.strerror}."


def _me() -> int:
    return os.geteuid()


def user_name(uid: int) -> str:
    """Return a user's name; the number where it has none, as in many containers."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def own_folder() -> Path:
    """Return the folder that is recorded to outside Ray, where no `directory` is given. It may not exist yet."""
    return Path(tempfile.gettempdir(), f"raymemprof-{user_name(_me()).replace(' ', '-').replace('/', '-')}")


def check_own_folder() -> None:
    """Raise `UntrustedError` where somebody else made `own_folder()`, or may write to it; nothing where there is none.

    The error's text is one sentence on why, and what to do.
    """
    folder = own_folder()
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode):
        why = "it is a link, and may lead anywhere: remove it"
    elif not stat.S_ISDIR(status.st_mode):
        why = "it is no folder: remove it"
    elif status.st_uid != _me():
        why = f"it belongs to {user_name(status.st_uid)}: have it removed"
    elif status.st_mode & _OTHERS_WRITE:
        mode = stat.S_IMODE(status.st_mode)
        why = f"others may write to it (mode {mode:o}): remove it, or `chmod 700 {folder}` if all in it is yours"
    else:
        return
    raise UntrustedError(folder, f"is not used, since {why}; RAYMEMPROF_DIRECTORY names another")


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, if it is not there; no other user can look into it.

    Raises `OSError` where that cannot be done, or where somebody else's link would be followed.
    """
    if folder == own_folder():
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            check_own_folder()
        return
    refuse_foreign_link(folder)
    folder.mkdir(0o700, parents=True, exist_ok=True)


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return a path from the root on; `FileNotFoundError` says where there is no current folder any more."""
    try:
        return Path(path).absolute()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"the current folder is gone, so {os.fspath(path)} cannot be found: give a whole path, from / on, or "
            "change to another folder."
        ) from None


def refuse_foreign_link(path: Path) -> None:
    """Raise `UntrustedError` where the way to a path leads through a link that somebody else may have planted."""
    path = Path(os.path.abspath(absolute(path)))
    for step in (path, *path.parents):
        try:
            status, folder = os.lstat(step), os.stat(step.parent)
        except OSError:
            continue  # it is not there, or who opens it is told
        is_shared = folder.st_mode & stat.S_IWOTH
        if stat.S_ISLNK(status.st_mode) and is_shared and status.st_uid not in (_me(), folder.st_uid):
            why = f"is not followed: {user_name(status.st_uid)} made this link, {_ANYBODY}"
            raise UntrustedError(step, why)


def refuse_foreign_folder(path: Path) -> None:
    """Raise `UntrustedError` where somebody else made a folder, or a link to one, where anybody may make one."""
    refuse_foreign_link(path)
    try:
        status, folder = os.stat(path), os.stat(path.parent)
    except OSError:
        return
    if folder.st_mode & stat.S_IWOTH and status.st_uid != _me():
        raise UntrustedError(path, f"is not written to: it belongs to {user_name(status.st_uid)}, {_ANYBODY}")


class Believed:
    """Which files in a folder are taken for what their names say."""

    def __init__(self, folder: Path) -> None:
        """Look at the folder; raises `OSError` where that cannot be done."""
        status = os.stat(folder)
        self.owners: frozenset[int] | None = None
        """The users whose files count; None for all."""
        if status.st_mode & stat.S_IWOTH:
            self.owners = frozenset((_me(), 0, status.st_uid))

    def doubt(self, path: Path) -> str | None:
        """Say in a few words why a file is to be left out; None where it is not. Raises `OSError` where it is gone."""
        return self.doubt_of(os.lstat(path))

    def doubt_of(self, status: os.stat_result) -> str | None:
        """Say the same of a file that was looked at, or that is open."""
        return self.foreign(status) if stat.S_ISREG(status.st_mode) else "it is no plain file"

    def foreign(self, status: os.stat_result) -> str | None:
        """Say only why a file counts as somebody else's."""
        if self.owners is None:
            return None
        if status.st_uid not in self.owners:
            return f"it belongs to {user_name(status.st_uid)}, {_ANYBODY}"
        if status.st_nlink > 1:
            return f"it is a file that lies elsewhere too (a hard link), {_ANYBODY}"
        return None
