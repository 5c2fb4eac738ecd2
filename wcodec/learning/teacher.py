"""What a network in training is taught: inputs, mixed with one another, and the original's answers to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.learning.divergence import outputs_of
from wcodec.learning.examples import Array, Examples
from wcodec.learning.subject import Subject

if TYPE_CHECKING:
    from keras import Model

Float32 = npt.NDArray[np.float32]

MIXED: Final = 40_000
"""Mixtures that are made, at most."""
COPIES: Final = 4
"""Mixtures for one input, at most."""
ASKED: Final = 4096
"""Mixtures that exist at one time while the original answers."""


@dataclass(frozen=True)
class Lessons:
    """Inputs x = part * first + (1 - part) * second, mixed only when they are asked for, and answers.

    inputs:        one array per input of the network, examples first.
    first, second: intp[lessons], examples; part: float32[lessons].
    answers:       float32[lessons, ..., units] for each output of the network.
    """

    inputs: tuple[Array, ...]
    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    part: Float32
    answers: tuple[Float32, ...]

    @property
    def count(self) -> int:
        """Lessons."""
        return len(self.first)


def lessons(subject: Subject, rng: np.random.Generator) -> Lessons:
    """The inputs that may be fitted to as they are, and mixtures of two (Zhang et al. 2018), which keep a network from
    learning few inputs by heart. Integers are not mixed.

    The network must have its original weights.
    """
    inputs = tuple(np.concatenate(column) for column in zip(*subject.fitting, strict=True))
    count = len(inputs[0])
    copies = min(COPIES, round(MIXED / count)) if can_be_mixed(subject.model, inputs) else 0
    first = np.tile(np.arange(count), copies + 1)
    second, part = rng.integers(0, count, len(first)), rng.uniform(0.5, 1.0, len(first)).astype(np.float32)
    part[:count] = 1.0
    answers = []
    for start in range(0, len(first), ASKED):
        chosen = slice(start, start + ASKED)
        asked = Examples(mixed(inputs, first[chosen], second[chosen], part[chosen]))
        answers.append([output.astype(np.float32) for output in outputs_of(subject.model, asked)])
    return Lessons(inputs, first, second, part, tuple(np.concatenate(column) for column in zip(*answers, strict=True)))


def can_be_mixed(model: Model, inputs: tuple[Array, ...]) -> bool:
    """Whether the inputs are quantities, and not the numbers of words."""
    declared = all(str(one.dtype).startswith(("float", "bfloat")) for one in model.inputs)
    return declared and all(array.dtype.kind == "f" and bool((array != np.rint(array)).any()) for array in inputs)


def mixed(
    inputs: tuple[Array, ...], first: npt.NDArray[np.intp], second: npt.NDArray[np.intp], part: Float32
) -> tuple[Array, ...]:
    """Each row of `first` with one of `second`."""
    if bool((part == 1).all()):
        return tuple(array[first] for array in inputs)
    found = []
    for array in inputs:
        share = part.reshape(-1, *(1,) * (array.ndim - 1))
        found.append((share * _float(array[first]) + (1 - share) * _float(array[second])).astype(array.dtype))
    return tuple(found)


def _float(array: Array) -> Float32:
    return array.astype(np.float32, copy=False)


def drawn(
    given: Lessons, size: int, rng: np.random.Generator
) -> Iterator[tuple[tuple[Array, ...], tuple[Float32, ...]]]:
    """Batches of inputs and answers, for ever: all lessons in random order, then all again in another."""
    size = min(size, given.count)
    while True:
        order = rng.permutation(given.count)
        for start in range(0, given.count - size + 1, size):
            rows = order[start : start + size]
            inputs = mixed(given.inputs, given.first[rows], given.second[rows], given.part[rows])
            yield inputs, tuple(answer[rows] for answer in given.answers)
