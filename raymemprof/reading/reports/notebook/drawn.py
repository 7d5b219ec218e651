"""A report that is a picture as a whole, as a notebook holds it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

__all__ = ["Drawn"]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture that depends on nothing, and what is to be said of it where it cannot be seen."""

    svg: str
    description: str

    @property
    def encoded(self) -> str:
        """The picture as it stands in an address."""
        return base64.b64encode(self.svg.encode(errors="replace")).decode()

    @property
    def id(self) -> str:
        """What tells it from others of the notebook."""
        return hashlib.sha256(self.svg.encode(errors="replace")).hexdigest()[:16]
