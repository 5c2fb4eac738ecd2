"""A class that is made late behaves as one that the standard library makes at once."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, asdict, field, fields, is_dataclass, replace
from threading import Barrier

import pytest

from wcodec.model.lazy import dataclass


@dataclass(frozen=True)
class Base:
    """What others begin with."""

    name: str
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Derived(Base):
    scale: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        if self.scale < 0:
            raise ValueError("below 0")


@dataclass(frozen=True)
class Pickled:
    value: int


def test_it_is_a_frozen_class_with_equality_order_of_fields_and_a_text() -> None:
    one = Derived("a", (1, 2), scale=2.0)
    assert one == Derived("a", (1, 2), scale=2.0) != replace(one, scale=3.0)
    assert hash(one) == hash(Derived("a", (1, 2), scale=2.0))
    assert repr(one) == "Derived(name='a', numbers=(1, 2), scale=2.0)"
    assert asdict(one) == {"name": "a", "numbers": (1, 2), "scale": 2.0}
    with pytest.raises(FrozenInstanceError):
        setattr(one, "name", "b")  # noqa: B010 - a type checker refuses the assignment
    with pytest.raises(ValueError, match="below"):
        Derived("a", scale=-1)


def test_fields_are_known_before_there_is_an_instance() -> None:
    @dataclass(frozen=True)
    class Own(Base):
        last: int = 0

    assert is_dataclass(Own)
    assert [one.name for one in fields(Own)] == ["name", "numbers", "last"]


def test_what_was_pickled_elsewhere_makes_the_class() -> None:
    text = pickle.dumps(Pickled(3))
    assert pickle.loads(text) == Pickled(3)


def test_threads_that_are_first_together_all_get_whole_instances() -> None:
    for _ in range(50):

        @dataclass(frozen=True)
        class Own:
            value: int

        barrier = Barrier(4)

        def make(value: int, barrier: Barrier = barrier, own: type = Own) -> int:
            barrier.wait()
            return hash(own(value))

        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(make, [7] * 4))) == 1
