"""A dataclass whose methods are made at the first instance behaves as one of the standard library."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, asdict, field, fields, is_dataclass, replace
from dataclasses import dataclass as standard_dataclass
from pathlib import Path
from threading import Barrier
from typing import ClassVar

import numpy as np
import pytest

from wcodec.model.dataclass import dataclass, field_names
from wcodec.model.dataclass import field as quick_field
from wcodec.model.dataclass import replace as quick_replace


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


def test_fields_of_the_standard_library_and_classes_of_it_are_understood() -> None:
    @standard_dataclass(frozen=True)
    class Last(Derived):
        count: int = 3

    @dataclass(frozen=True, eq=False)
    class Own:
        made: list[int] = quick_field(default_factory=list)
        hidden: int = quick_field(default=1, compare=False, repr=False)
        constant: ClassVar[int] = 5

    assert quick_replace(Last("a", (1,), 7), count=4) == Last("a", (1,), 4)
    one, other = Own(), Own()
    assert one != other
    assert one.made is not other.made
    assert quick_replace(one, hidden=2).made is one.made
    assert repr(one).endswith("Own(made=[])")
    assert field_names(Own) == ("made", "hidden")


@pytest.mark.parametrize(
    ("args", "words", "message"),
    [
        ((), {}, r"Base.__init__\(\) missing 1 required arguments: 'name'"),
        (("a", (), 3), {}, "takes 2 positional arguments but 3 were given"),
        (("a",), {"name": "b"}, "multiple values for argument 'name'"),
        (("a",), {"other": 1}, "unexpected keyword argument 'other'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    args: tuple[object, ...], words: dict[str, object], message: str
) -> None:
    make: Callable[..., Base] = Base
    with pytest.raises(TypeError, match=message):
        make(*args, **words)


def test_commands_start_without_the_standard_library_s_classes(tmp_path: Path) -> None:
    source, target = tmp_path / "a.npz", tmp_path / "a.wcz"
    np.savez(source, kernel=np.ones((8, 8), np.float32))
    script = "import sys; from wcodec.__main__ import main; main(); print('dataclasses' in sys.modules)"
    for words in ((["encode", source, target]), (["inspect", target])):
        done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
        assert done.stdout.endswith("False\n")
