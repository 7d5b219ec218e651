"""What was decorated, and with which options."""

from __future__ import annotations

from . import warn
from .options import Options, Settings, resolve
from .origin import Origin

__all__ = ["Profile"]


class Profile:
    """What was decorated and how: all that a wrapper takes along to the worker."""

    __slots__ = ("_origin", "_settings", "kind", "name", "options")

    def __init__(self, name: str, kind: str, options: Options, origin: Origin | None = None) -> None:
        self.name = name
        self.kind = kind
        self.options = options
        self._origin = origin
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

    def is_off(self) -> bool:
        """Whether it is known that nothing is recorded."""
        return self._settings is not None and not self._settings.enabled
