"""The switch, in a worker: what Ray loads to run is recorded, as if it were decorated."""

from __future__ import annotations

import inspect
import types

from ... import cluster
from .. import warn
from ..classes import record_methods
from ..current import current
from ..options import Options
from ..outcome import describe
from ..profile import Profile
from ..safety import interruptions
from ..wrappers import recorded
from . import shipped_texts
from .named import is_recorded_below, named
from .rays_own import Naming, is_rays, known_class, method_names, naming, own_name
from .selection import Selection
from .users_code import UsersCode

__all__ = ["arm", "problem"]

_problem: str | None = (
    "raymemprof.pth was not read when Python started on the worker, or raymemprof could not be imported then; "
    "install raymemprof with pip"
)
_NO_OPTIONS = Options()
"""The environment has them, as for a decorator without any."""


def arm() -> None:
    """Have everything recorded that Ray loads in this process from now on. Where that cannot be, log it, once."""
    global _problem
    if _problem is None:
        return
    unknown = cluster.unknown_names()
    if unknown:
        _problem = f"Ray {cluster.ray_version()} has no {', '.join(unknown)}, which raymemprof needs for that"
        warn.once("switch", f"what is not decorated is not recorded: {_problem}")
        return
    loaded = _Loaded(Selection.here())
    cluster.pass_through(loaded.function, loaded.actor_class)
    shipped_texts.take_along()
    cluster.pass_users_code(UsersCode(loaded.wants, is_recorded_below).recorded, _tell_unknown)
    cluster.hear_ray_data_peaks(_note_ray_data_peak, _tell_unheard)
    _problem = None


def _note_ray_data_peak(size: int) -> None:
    """Keep what Ray Data noted with the call of its operator: the outermost, whatever user code has open in it."""
    call, outermost = current.get(), None
    while call is not None:
        outermost, call = outermost if call.ended else call, call.enclosing
    if outermost is not None and size > outermost.ray_data_peak:
        outermost.ray_data_peak = size


def _tell_unheard(name: str) -> None:
    warn.once(name, f"what Ray Data notes of its tasks' memory is not kept: Ray {cluster.ray_version()} has no {name}")


def _tell_unknown(name: str) -> None:
    warn.once(name, f"what this library runs is not recorded: Ray {cluster.ray_version()} has no {name}")


def problem() -> str | None:
    """Return why this process does not record what is not decorated; None where it does."""
    return _problem


class _Loaded:
    """Has what Ray loads recorded. Never raises of its own accord."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection

    def function(self, function: types.FunctionType) -> types.FunctionType:
        """Return what is to run in place of a task's function."""
        try:
            return self._function(function)
        except Exception as error:
            self._note(error)
            return function

    def actor_class(self, modified: type, original: type) -> None:
        """Have the methods of an actor class recorded, in the class that Ray derived."""
        try:
            self._actor_class(modified, original)
        except Exception as error:
            self._note(error)

    def _function(self, function: types.FunctionType) -> types.FunctionType:
        shipped_texts.unpack(function)
        name, module = function.__qualname__, function.__module__ or ""
        if is_recorded_below(function) or cluster.is_ours(name):
            return function
        full_name = f"{module}.{name}"
        if is_rays(module):
            name_of = naming(full_name, "task")
            return function if name_of is None else self._named(function, full_name, name_of)
        return recorded(function, Profile(name, "task", _NO_OPTIONS)) if self.wants(full_name, name) else function

    def _actor_class(self, modified: type, original: type) -> None:
        shipped_texts.unpack(modified)
        original = known_class(original)
        name, full_name = original.__qualname__, f"{original.__module__}.{original.__qualname__}"
        names = method_names(original)
        for attribute, name_of in names.items():
            value = inspect.getattr_static(original, attribute, None)
            if name_of is not own_name and isinstance(value, types.FunctionType):
                type.__setattr__(modified, attribute, self._named(value, f"{full_name}.{attribute}", name_of))

        def wanted(attribute: str) -> bool:
            its_own = names.get(attribute) is own_name
            return its_own and self.wants(f"{full_name}.{attribute}", f"{name}.{attribute}")

        record_methods(modified, original, _NO_OPTIONS, wanted)

    def wants(self, *names: str) -> bool:
        """Whether something of these names is to be recorded."""
        return self._selection.wants(*names)

    def _named(self, function: types.FunctionType, full_name: str, name_of: Naming) -> types.FunctionType:
        return named(
            function,
            name_of,
            lambda name: Profile(name, "task", _NO_OPTIONS),
            lambda name: self.wants(full_name, name),
        )

    def _note(self, error: Exception) -> None:
        if interruptions.is_users(error):
            raise error
        warn.once("switch", f"something that is not decorated is not recorded: {describe(error)}")
