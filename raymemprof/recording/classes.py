"""A class of the user's, as it is recorded: the class itself, with its methods recorded.

Nothing is derived from it, so what the class has its own mind about (its metaclass, `__init_subclass__`, a registry,
`__slots__`) happens as often as it would without.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from .options import Options
from .origin import Origin
from .profile import Profile
from .wrappers import is_recorded, recorded

__all__ = ["is_in_use", "record_methods", "recorded_class", "records_all"]

_DUNDERS = ("__init__", "__call__")
"""The special methods that Ray runs as calls of an actor; the others run within those."""
_ABOUT_CLASSES = ("abc", "enum", "typing", "typing_extensions")
"""Modules whose classes have methods that make classes, which no actor is asked to run."""


def recorded_class(cls: type, options: Options, wanted: Callable[[str], bool] = lambda attribute: True) -> type:
    """Return `cls` with its methods recorded, or where it has its name already, a subclass that has them recorded.

    `wanted` is asked about each by its name.

    A class that others may know by its name is not ours to change. It would not help in a worker either: what is
    pickled by its name is there as its module defines it.
    """
    profiled = _subclass(cls) if is_in_use(cls, cls) else cls
    record_methods(profiled, cls, options, wanted)
    return profiled


def _subclass(cls: type) -> type:
    """Return a class of the same name, with nothing of its own, as Ray itself makes one of an actor's class."""
    body: dict[str, Any] = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    }
    if "__slots__" in vars(cls) and not cls.__dictoffset__:
        body["__slots__"] = ()
    if "__orig_bases__" in vars(cls):
        body["__orig_bases__"] = vars(cls)["__orig_bases__"]  # a generic class stays one
    try:
        return types.new_class(cls.__name__, (cls,), {}, lambda namespace: namespace.update(body))
    except TypeError as error:
        raise TypeError(
            f"profile_memory cannot decorate {cls!r}, which is in use under its name and so is not changed, and from "
            f"which none can be derived ({error}). Put @profile_memory above its definition, if it is yours."
        ) from error


def is_in_use(thing: object, cls: type) -> bool:
    """Whether `thing`, made of `cls`, has a name in the module of `cls`; what is being defined has none yet."""
    found: Any = sys.modules.get(cls.__module__)
    names = vars(found).values() if found is not None else ()
    if any(value is thing for value in list(names)):
        return True
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is thing


def record_methods(
    cls: type, defined: type, options: Options, wanted: Callable[[str], bool] = lambda attribute: True
) -> None:
    """Have `cls` record the methods of `defined`, which is the class itself or its base, and those that it inherits.

    Its bases stay as they are. `wanted` is asked about each by its name.
    """
    origin = Origin(defined)
    for attribute, value in _unrecorded(defined):
        if not wanted(attribute):
            continue
        kind = "actor" if attribute == "__init__" else "method"
        profile = Profile(f"{defined.__qualname__}.{attribute}", kind, options, origin)
        new: Any
        if attribute in vars(cls):
            new = _recorded(value, profile)
        elif attribute == "__init__" and cls is defined and _may_be_given_one(cls):
            attribute, new = "__init_subclass__", _AskedByRay(vars(cls).get("__init_subclass__"), profile)
        else:
            new = (_InheritedStatic if isinstance(value, staticmethod) else _Inherited)(attribute, profile)
        type.__setattr__(cls, attribute, new)  # whatever its metaclass has to say about attributes


def records_all(cls: type, defined: type) -> bool:
    """Whether `cls` records all methods of `defined`, which is the class itself or its base."""
    return not any(_is_method(inspect.getattr_static(cls, attribute)) for attribute, _ in _unrecorded(defined))


def _unrecorded(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the methods of a class that are calls of an actor and not recorded yet."""
    for attribute, value in _attributes(cls):
        is_special = attribute.startswith("__") and attribute.endswith("__")
        if _is_method(value) and (not is_special or attribute in _DUNDERS):
            yield attribute, value


def _may_be_given_one(cls: type) -> bool:
    """Whether a decorator above may write this class an `__init__`, which it does not where there is one: dataclass."""
    has_one = "__dataclass_fields__" in vars(cls) or "__attrs_attrs__" in vars(cls)
    has_fields = bool(inspect.get_annotations(cls)) or any(
        type(value).__module__.startswith("attr.") for value in vars(cls).values()
    )
    return has_fields and not has_one


def _attributes(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a class as they stand in its body or the nearest base's."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base is cls or base.__module__ not in _ABOUT_CLASSES:
            found.update(vars(base))
    return iter(found.items())


def _is_method(value: Any) -> bool:
    """Whether an attribute of a class, as it stands there, is a method that is not recorded yet."""
    function = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
    return isinstance(function, types.FunctionType) and not is_recorded(function)


def _recorded(value: Any, profile: Profile) -> Any:
    if isinstance(value, (staticmethod, classmethod)):
        return type(value)(recorded(value.__func__, profile, bound=isinstance(value, classmethod)))  # type: ignore[arg-type]
    return recorded(value, profile, bound=True)


class _Inherited:
    """A method that a recorded class inherits: it is looked up when it is used, as it would be without.

    A class that derives from this one, and from another, may get it from there.
    """

    def __init__(self, name: str, profile: Profile) -> None:
        self._name = name
        self._profile = profile
        self._recorded: dict[Any, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._name, self._profile)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        owner = type(instance) if owner is None else owner
        value = self._next(owner, instance)
        if _is_method(value):
            made = self._recorded.get(value)
            value = self._recorded.setdefault(value, _recorded(value, self._profile)) if made is None else made
        return value.__get__(instance, owner) if hasattr(value, "__get__") else value

    def _next(self, *owners: Any) -> Any:
        """Return what would be found if this were not there: inspect asks with the class in the instance's place."""
        for owner in owners:
            bases = iter(getattr(owner, "__mro__", ()))
            for base in bases:
                if vars(base).get(self._name) is self:
                    break
            for base in bases:
                if self._name in vars(base):
                    return vars(base)[self._name]
        raise AttributeError(f"{owners[0].__name__!r} has no attribute {self._name!r}")


class _InheritedStatic(_Inherited, staticmethod):  # type: ignore[type-arg]
    """A static method, which Ray tells by its type."""


class _AskedByRay(_Inherited):
    """Has `__init__` recorded in the class that Ray derives, of a class that must not have one of its own."""

    def __init__(self, own: Any, profile: Profile) -> None:
        super().__init__("__init_subclass__", profile)
        self._own = own

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._own, self._profile)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        owner = type(instance) if owner is None else owner
        return types.MethodType(self._derived, owner)

    def _derived(self, cls: type, **more: Any) -> None:
        (self._own or self._next(cls)).__get__(None, cls)(**more)
        if "__ray_actor_class__" in vars(cls):
            type.__setattr__(cls, "__init__", _Inherited("__init__", self._profile))
