"""A class stays what it is: what `@ray.remote` does with it, it does with the recorded one too."""

from __future__ import annotations

import abc
import dataclasses
import enum
import inspect
import pickle
import sys
import typing
import warnings
import weakref
from dataclasses import dataclass

import pytest

from raymemprof import calls, profile_memory


@pytest.fixture
def profiled(tmp_path):
    """The decorator, recording to the test's own folder."""
    return profile_memory(directory=tmp_path)


def names(folder):
    return [call.name for call in calls(folder)]


class Item:
    """Something that can be referred to weakly."""


def bare(cls):
    import ray

    return ray.remote(cls)


def below(cls):
    import ray

    return ray.remote(profile_memory(cls))


def above(cls):
    import ray

    return profile_memory(ray.remote(cls))


orders = pytest.mark.parametrize("order", [below, above])


# What runs when a class is made, runs as often as without. Each of these says what `make` led to.


def a_registry(make):
    registered = []

    class Base:
        def __init_subclass__(cls, *, tag="none", **more):
            super().__init_subclass__(**more)
            registered.append((cls.__name__, tag))

    class Actor(Base, tag="mine"):
        def method(self):
            return 1

    make(Actor)
    return registered


def a_counting_metaclass(make):
    made = []

    class Meta(type):
        def __new__(cls, name, bases, body, **more):
            made.append(name)
            return super().__new__(cls, name, bases, body)

        def __setattr__(cls, name, value):
            made.append(f"{name} set")
            super().__setattr__(name, value)

    class Actor(metaclass=Meta):
        def method(self):
            return 1

    make(Actor)
    return made


def a_required_keyword(make):
    class Base:
        def __init_subclass__(cls, *, tag, **more):
            super().__init_subclass__(**more)

    class Actor(Base, tag="mine"):
        def method(self):
            return 1

    return make(Actor)


def a_final_class(make):
    class Actor:
        def __init_subclass__(cls):
            raise TypeError("Actor is final")

        def method(self):
            return 1

    return make(Actor)


def an_enum(make):
    class Colour(enum.Enum):
        RED = 1

        def method(self):
            return self.value

    return make(Colour)


def a_protocol(make):
    class Sized(typing.Protocol):
        size: int

        def method(self) -> int: ...

    class Actor(Sized):
        def method(self):
            return 1

    make(Sized)
    make(Actor)
    return typing.get_type_hints(Sized)


def outcome(case, make):
    try:
        return case(make)
    except Exception as error:
        return type(error), str(error)


MACHINERY = [
    a_registry,
    pytest.param(a_counting_metaclass, marks=pytest.mark.versions),
    a_required_keyword,
    a_final_class,
    pytest.param(an_enum, marks=pytest.mark.versions),
    pytest.param(a_protocol, marks=pytest.mark.versions),
]


@orders
@pytest.mark.parametrize("case", MACHINERY)
def test_the_classs_own_machinery_runs_as_without(case, order):
    undecorated = outcome(case, bare)
    assert outcome(case, order) == undecorated
    is_refused = case in (a_required_keyword, a_final_class, an_enum)
    assert isinstance(undecorated, tuple) == is_refused


@pytest.mark.parametrize("case", [a_required_keyword, a_final_class, an_enum])
def test_what_ray_refuses_can_be_used_without_ray(case, profiled, tmp_path):
    cls = case(profiled)
    (next(iter(cls)) if case is an_enum else cls()).method()
    assert [name.rpartition(".")[2] for name in names(tmp_path)] == ["method"]


# In an actor


def everything(order):
    """An actor class in which each kind of attribute has a part, and what it inherits."""
    T = typing.TypeVar("T")

    class Base(abc.ABC, typing.Generic[T]):
        __slots__ = ("start", "text")

        def __init__(self, start: T, text: str = "text") -> None:
            self.start = start
            self.text = text

        @abc.abstractmethod
        def total(self, *numbers): ...

        def inherited(self):
            return [type(self).__name__, self.total(1)]

        @staticmethod
        def inherited_static(n):
            return n, "static"

        @classmethod
        def inherited_class(cls, n):
            return n, cls.__name__

        def overridden(self):
            return ["base"]

    class Actor(Base[int]):
        __slots__ = ()
        limit: int = 5

        def total(self, *numbers, times: int = 2, **more):
            return (self.start + sum(numbers)) * times + len(more)

        def overridden(self):
            return [*super().overridden(), "actor"]

        @property
        def doubled(self):
            return self.start * 2

        def __call__(self, n):
            return n + self.doubled

        def stream(self, n):
            for i in range(n):
                yield i + self.start

        @staticmethod
        def static(n):
            return n, "own static"

        @classmethod
        def of_class(cls):
            return cls.limit, cls.__name__

        def closed(self):
            return hasattr(self, "__dict__")

        def depth(self, n):
            return 1 + self.depth(n - 1) if n else 0

    return order(Actor)


def use(actor_class):
    import ray

    actor = actor_class.options(num_cpus=0).remote(3)
    found = ray.get(
        [
            actor.total.remote(1, 2, times=3, other=4),
            actor.overridden.remote(),
            actor.inherited.remote(),
            actor.inherited_static.remote(1),
            actor.inherited_class.remote(2),
            actor.__call__.remote(4),
            actor.static.remote(5),
            actor.of_class.remote(),
            actor.closed.remote(),
            actor.depth.remote(300),
        ]
    )
    found.append([ray.get(item) for item in actor.stream.remote(2)])
    recorded = [call.name.rpartition(".")[2] for call in calls(actor_id=actor._actor_id.hex())]
    ray.kill(actor)
    return found, recorded


@pytest.fixture(scope="module")
def without(cluster):
    return use(everything(bare))


@orders
def test_an_actor_does_what_it_does_without(order, without, cluster):
    undecorated, nothing = without
    assert nothing == []
    found, recorded = use(everything(order))
    assert found == undecorated
    own = ["__init__", "total", "overridden", "__call__", "static", "of_class", "closed", "depth", "stream"]
    assert sorted(recorded) == sorted([*own, "inherited", "inherited_static", "inherited_class"])


class Shared:
    """Has its name already when it is decorated."""

    def method(self):
        return "shared"


@pytest.fixture
def by_value():
    """Have what this module defines pickled by value: workers cannot import a test module."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_a_class_that_is_in_use_is_left_as_it_is(profiled, tmp_path):
    before = dict(vars(Shared))
    decorated = profiled(Shared)
    assert issubclass(decorated, Shared)
    assert dict(vars(Shared)) == before
    assert decorated().method() == Shared().method() == "shared"
    assert names(tmp_path) == ["Shared.method"]


def test_a_class_that_is_in_use_and_final_is_refused_with_the_reason(profiled, monkeypatch):
    class Final:
        def __init_subclass__(cls):
            raise TypeError("Final is final")

    Final.__qualname__ = "Final"
    monkeypatch.setattr(sys.modules[__name__], "Final", Final, raising=False)
    with pytest.raises(TypeError, match=r"cannot decorate .*in use.*Final is final.*above its definition"):
        profiled(Final)


def test_an_actor_class_that_is_in_use_is_left_as_it_is(cluster, by_value):
    import ray

    first = ray.remote(num_cpus=0)(everything(lambda cls: cls))
    actor = first.remote(1)
    ray.get(actor.static.remote(1))
    second = profile_memory(first)
    assert second is not first
    for actor_class, expected in ((first, 0), (second, 2)):
        actor = actor_class.remote(1)
        assert ray.get(actor.static.remote(1)) == (1, "own static")
        assert len(calls(actor_id=actor._actor_id.hex())) == expected
        ray.kill(actor)


def test_an_object_in_another_actor(cluster, by_value):
    """As Serve has it: the class travels to an actor of its own kind, which makes one and calls it."""
    import ray

    @ray.remote(num_cpus=0)
    class Replica:
        def __init__(self, cls):
            self.inner = cls(3)

        def call(self, name, *args):
            return getattr(self.inner, name)(*args)

    class Base:
        def __init__(self, start):
            self.start = start

    @profile_memory
    class Model(Base):
        def __call__(self, n):
            return self.start + n

    replica = Replica.remote(Model)
    assert ray.get(replica.call.remote("__call__", 1)) == 4
    found = calls(actor_id=replica._actor_id.hex())
    assert [call.name.rpartition(".")[2] for call in found] == ["__init__", "__call__"]
    ray.kill(replica)


# A class and its bases


def test_a_base_stays_as_it_is_for_others(profiled, tmp_path):
    class Base:
        def method(self):
            return "base"

    class Other(Base):
        pass

    function = Base.method

    @profiled
    class Actor(Base):
        pass

    assert Base.method is Other.method is function
    assert (Base().method(), Other().method()) == ("base", "base")
    assert names(tmp_path) == []
    assert Actor().method() == "base"
    assert [name.rpartition("<locals>.")[2] for name in names(tmp_path)] == ["Actor.method"]


def test_python_decides_which_base_a_method_is_of(profiled):
    class Base:
        def method(self):
            return "base"

        @staticmethod
        def static():
            return "base"

        @classmethod
        def of_class(cls):
            return f"base of {cls.__name__}"

    @profiled
    class Left(Base):
        pass

    class Right(Base):
        def method(self):
            return "right, " + super().method()

        @staticmethod
        def static():
            return "right"

        @classmethod
        def of_class(cls):
            return "right, " + super().of_class()

    class Both(Left, Right):
        pass

    assert (Both().method(), Left().method()) == ("right, base", "base")
    assert (Both.static(), Both().static(), Left.static()) == ("right", "right", "base")
    assert (Both.of_class(), Left().of_class()) == ("right, base of Both", "base of Left")
    del Right.method
    assert Both().method() == "base"
    del Base.method
    with pytest.raises(AttributeError, match="method"):
        Both().method()


def test_children_of_a_recorded_class(profiled, tmp_path):
    @profiled
    class Base:
        def method(self):
            return ["base"]

        def other(self):
            return "other"

    class Plain(Base):
        def method(self):
            return [*super().method(), "plain"]

    @profiled
    class Recorded(Base):
        def method(self):
            return [*super().method(), "recorded"]

    assert Plain().method() == ["base", "plain"]
    assert Recorded().method() == ["base", "recorded"]
    assert Recorded().other() == "other"
    last_two = [name.rpartition("<locals>.")[2] for name in names(tmp_path)]
    assert last_two == ["Base.method", "Recorded.method", "Base.other"]


# A class by itself


@pytest.mark.versions
def test_nothing_of_the_class_changes_but_its_methods(profiled):
    class Base:
        def __init__(self, first, *, second=2):
            self.first = first

        def inherited(self, n: int = 1) -> int:
            return n

    class Actor(Base):
        """What it is for."""

        limit: int = 5

        def method(self, a: int, b: str = "b", *, key: float = 1.0) -> list[int]:
            """What it does."""
            return [a]

    def seen():
        of_class = [Actor.__bases__, Actor.__mro__, typing.get_type_hints(Actor), inspect.signature(Actor)]
        of_methods = [
            [method.__name__, method.__doc__, method.__defaults__, method.__kwdefaults__, method.__annotations__]
            for method in (Actor.method, Actor.inherited)
        ]
        questions = (inspect.signature, inspect.getsource, inspect.getfullargspec)
        return of_class, of_methods, [(ask(Actor.method), ask(Actor.inherited)) for ask in questions]

    before = seen()
    assert profiled(Actor) is Actor
    assert seen() == before


@pytest.mark.parametrize("slots", [False, pytest.param(True, marks=pytest.mark.versions)])
def test_a_dataclass_above(slots, profiled, tmp_path):
    @dataclass(slots=slots)
    @profiled
    class Point:
        x: int
        y: int = 2

        def total(self):
            return self.x + self.y

    @dataclass(slots=slots)
    @profiled
    class Deep(Point):
        z: int = 3

        def volume(self):
            return self.x * self.y * self.z

    assert [field.name for field in dataclasses.fields(Deep)] == ["x", "y", "z"]
    assert Deep(1) == Deep(1, 2, 3) != Deep(2)
    assert (Deep(4).total(), Deep(4).volume()) == (6, 24)
    assert [name.rpartition("<locals>.")[2] for name in names(tmp_path)] == ["Point.total", "Deep.volume"]


@pytest.mark.parametrize("order", ["above", "below"])
def test_a_class_of_attrs(order, profiled, tmp_path):
    attrs = pytest.importorskip("attrs")
    first, second = (attrs.define, profiled) if order == "below" else (profiled, attrs.define)

    @second
    @first
    class Base:
        x: int

        def described(self):
            return super().__repr__().startswith("<") + self.x

    @second
    @first
    class Point(Base):
        y = attrs.field(default=2, type=int)

        def total(self):
            return self.described() + self.y

    assert Point(1).total() == 4
    assert repr(Point(1)).endswith("Point(x=1, y=2)")
    assert "total" in {name.rpartition(".")[2] for name in names(tmp_path)}


def test_an_inherited_init_is_recorded(profiled, tmp_path):
    class Base:
        def __init__(self, size, *, fill=b"1"):
            self.data = fill * size

    @profiled
    class Actor(Base):
        def size(self):
            return len(self.data)

    assert str(inspect.signature(Actor)) == "(size, *, fill=b'1')"
    assert Actor(3).size() == 3
    found = [(call.name.rpartition("<locals>.")[2], call.kind) for call in calls(tmp_path)]
    assert found == [("Actor.__init__", "actor"), ("Actor.size", "method")]


def test_a_warning_names_the_line_that_called(profiled):
    @profiled
    class Actor:
        def outer(self):
            self.inner()

        def inner(self):
            warnings.warn("old", DeprecationWarning, stacklevel=2)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Actor().outer()
    (warning,) = caught
    assert warning.filename == __file__
    assert warning.lineno == inspect.getsourcelines(Actor.outer)[1] + 1


def test_local_variables_of_a_method_are_its_own(profiled):
    @profiled
    class Actor:
        def outer(self):
            return self.inner(1)

        def inner(self, a, *, b=2):
            return sorted(locals())

    assert Actor().outer() == ["a", "b", "self"]


@pytest.mark.versions
def test_a_class_that_is_defined_in_a_function_is_pickled_by_value(monkeypatch):
    from ray import cloudpickle

    monkeypatch.setenv("RAYMEMPROF_ENABLED", "0")
    copy = pickle.loads(cloudpickle.dumps(everything(profile_memory)))
    actor = copy(1)
    assert (actor.inherited(), actor.static(1), list(actor.stream(1))) == (["Actor", 4], (1, "own static"), [1])
    assert inspect.isgeneratorfunction(copy.stream)


@pytest.mark.versions
def test_a_class_stays_what_it_is(profiled):
    class Actor:
        """What it is for."""

        limit = 5

        def __init__(self, start: int, *, step: int = 1) -> None:
            self.value = start

    decorated = profiled(Actor)
    assert issubclass(decorated, Actor)
    assert (decorated.__name__, decorated.__qualname__) == (Actor.__name__, Actor.__qualname__)
    assert (decorated.__module__, decorated.__doc__) == (Actor.__module__, Actor.__doc__)
    assert inspect.signature(decorated) == inspect.signature(Actor)
    assert decorated.limit == 5
    assert decorated(3).value == 3


def test_slots_stay_closed(profiled):
    @profiled
    class Point:
        __slots__ = ("x",)

        def __init__(self, x):
            self.x = x

    point = Point(1)
    assert point.x == 1
    assert not hasattr(point, "__dict__")
    with pytest.raises(AttributeError):
        point.y = 2


def test_slots_with_a_weak_reference(profiled):
    @profiled
    class Point:
        __slots__ = ("__weakref__", "x")

    assert weakref.ref(Point()) is not None
    assert not hasattr(Point(), "__dict__")


def test_a_class_whose_base_is_told_of_subclasses(profiled):
    told = []

    class Base:
        def __init_subclass__(cls, *, tag="untagged", **more):
            super().__init_subclass__(**more)
            told.append(tag)

    @profiled
    class Actor(Base, tag="mine"):
        def method(self):
            return 1

    class Child(Actor, tag="child"):
        pass

    assert Actor().method() == Child().method() == 1
    assert (told[0], told[-1]) == ("mine", "child")


def test_a_class_with_a_metaclass(profiled):
    class Meta(type):
        def __call__(cls, *args):
            made = super().__call__(*args)
            made.by_meta = True
            return made

    @profiled
    class Actor(metaclass=Meta):
        def method(self):
            return self.by_meta

    assert type(Actor) is Meta
    assert Actor().method() is True


@pytest.mark.parametrize("slots", [False, True])
def test_a_dataclass(slots, profiled, tmp_path):
    @profiled
    @dataclass(slots=slots)
    class Point:
        x: int
        y: int = 2

        def total(self):
            return self.x + self.y

    point = Point(1)
    assert point == Point(1, 2)
    assert repr(point).endswith("Point(x=1, y=2)")
    assert point.total() == 3
    assert [call.kind for call in calls(tmp_path)] == ["actor", "actor", "method"]


def test_an_abstract_class_stays_abstract_until_it_is_complete(profiled, tmp_path):
    @profiled
    class Base(abc.ABC):
        @abc.abstractmethod
        def method(self): ...

        def call(self):
            return self.method()

    with pytest.raises(TypeError, match="abstract"):
        Base()

    @profiled
    class Complete(Base):
        def method(self):
            return "complete"

    assert Complete().call() == "complete"
    assert len(calls(tmp_path)) == 1


def test_properties_super_and_call(profiled, tmp_path):
    class Base:
        def __init__(self, value):
            self._value = value

        def method(self):
            return ["base"]

    @profiled
    class Actor(Base):
        def __init__(self, value):
            super().__init__(value)

        @property
        def value(self):
            return self._value

        @value.setter
        def value(self, value):
            self._value = value

        def method(self):
            return [*super().method(), "actor"]

        def __call__(self, n):
            return n + self._value

        def __len__(self):
            return 7

    actor = Actor(1)
    actor.value += 1
    assert (actor.value, actor(3), len(actor), actor.method()) == (2, 5, 7, ["base", "actor"])
    assert [name.rpartition(".")[2] for name in names(tmp_path)] == ["__init__", "__call__", "method"]


def test_static_and_class_methods(profiled, tmp_path):
    class Base:
        @classmethod
        def made(cls, n):
            return cls.__name__, n

    @profiled
    class Actor(Base):
        @staticmethod
        def static(n):
            return n

    assert Actor.static(1) == Actor().static(1) == 1
    assert Actor.made(2) == Actor().made(2) == ("Actor", 2)
    assert [name.rpartition(".")[2] for name in names(tmp_path)] == ["static", "static", "made", "made"]


def test_a_class_that_lives_in_a_class_attribute_is_left_alone(profiled, tmp_path):
    @profiled
    class Actor:
        Part = Item

        def method(self):
            return self.Part()

    assert Actor.Part is Item
    assert type(Actor().method()) is Item
    assert len(calls(tmp_path)) == 1
