"""What was decorated, and with which options."""

from __future__ import annotations

import threading
from dataclasses import replace

from . import warn
from .options import Options, Settings, resolve
from .origin import Origin

__all__ = ["EndedCalls", "Profile"]


class EndedCalls:
    """How many calls have ended, and what they kept: memory after less memory before, in bytes."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.count = self.kept = 0

    def add(self, kept: int) -> None:
        """Count a call."""
        with self._lock:
            self.count += 1
            self.kept += kept


class Profile:
    """What was decorated and how: all that a wrapper takes along to the worker."""

    __slots__ = ("_origin", "_settings", "ended", "kind", "name", "options")

    def __init__(
        self, name: str, kind: str, options: Options, origin: Origin | None = None, ended: EndedCalls | None = None
    ) -> None:
        self.name = name
        self.kind = kind
        self.options = options
        self._origin = origin
        self.ended = ended
        """Counts the calls that end in this process; it does not travel."""
        self._settings: Settings | None = None

    def __reduce__(self) -> tuple[type[Profile], tuple[str, str, Options, Origin | None]]:
        return Profile, (self.name, self.kind, self.options, self._origin)

    def settings(self) -> Settings:
        """Return what holds in this process; its environment is read once."""
        settings = self._settings
        if settings is None:
            settings, complaints = resolve(self.options)
            for complaint in complaints:
                warn.once(complaint, complaint)
            self._settings = settings
        return settings

    def turn_off(self) -> None:
        """Have nothing more recorded in this process; calls that run are recorded on."""
        self._settings = replace(self.settings(), enabled=False)

    def is_off(self) -> bool:
        """Whether it is known that nothing is recorded."""
        return self._settings is not None and not self._settings.enabled
