"""Augmentation of unlabelled training inputs: mixtures of two inputs (mixup), and moved or warped images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.session import CalibrationSession
from wcodec.evaluation.examples import Array, Examples
from wcodec.evaluation.moved_images import Float32, are_images, augment_images, warp

if TYPE_CHECKING:
    from keras import Model


COPIES: Final = 6
"""The largest number of warped copies of an image."""
MOST_BYTES: Final = 1 << 28
"""The largest number of bytes that all copies take."""


@dataclass(frozen=True)
class MixupInputs:
    """The inputs that are trained on.

    inputs: one array for each input of the network, examples along the first axis.
    mixed:  whether pairs of inputs are mixed (mixup, Zhang et al. 2018), which prevents overfitting to few inputs.
            Integers, such as token numbers, are not mixed.
    """

    inputs: tuple[Array, ...]
    mixed: bool

    @property
    def count(self) -> int:
        """The number of inputs."""
        return len(self.inputs[0])


def augment(session: CalibrationSession, rng: np.random.Generator, *, moved: bool = False) -> MixupInputs:
    """The inputs of `session.fitting`. If they are certainly images, warped copies are added.

    moved: return the moved copies of `augment_images` instead.
    Raises: RecipeError if `moved` is set and the inputs are not images.
    """
    inputs = tuple(np.concatenate(column) for column in zip(*session.fitting, strict=True))
    if moved:
        return MixupInputs(
            augment_images(Examples(inputs), session.seed)[0].inputs, _can_be_mixed(session.model, inputs)
        )
    mixed = _can_be_mixed(session.model, inputs)
    if mixed and len(inputs) == 1 and are_images(inputs[0]):
        images = inputs[0].astype(np.float32, copy=False)
        copies = min(COPIES, MOST_BYTES // images.nbytes)
        inputs = (np.concatenate([images, *(warp(images, rng) for _ in range(copies))]),)
    return MixupInputs(inputs, mixed)


def _can_be_mixed(model: Model, inputs: tuple[Array, ...]) -> bool:
    """Whether the inputs are quantities. Token numbers are not."""
    declared = all(str(one.dtype).startswith(("float", "bfloat")) for one in getattr(model, "inputs", None) or ())
    return declared and all(array.dtype.kind == "f" and bool((array != np.rint(array)).any()) for array in inputs)


def draw_mixtures(given: MixupInputs, size: int, rng: np.random.Generator) -> Iterator[tuple[Array, ...]]:
    """Yield batches without end: all inputs in random order, then all of them in another order.

    An input has a share of at least one half in its mixture; the rest is another input, drawn at random.
    """
    size = min(size, given.count)
    while True:
        order = rng.permutation(given.count)
        for start in range(0, given.count - size + 1, size):
            rows = order[start : start + size]
            if not given.mixed:
                yield tuple(array[rows] for array in given.inputs)
                continue
            others, part = rng.integers(0, given.count, size), rng.uniform(0.5, 1.0, size).astype(np.float32)
            yield tuple(_mix(array[rows], array[others], part) for array in given.inputs)


def _mix(first: Array, second: Array, part: Float32) -> Array:
    share = part.reshape(-1, *(1,) * (first.ndim - 1))
    mixture = share * first.astype(np.float32, copy=False) + (1 - share) * second.astype(np.float32, copy=False)
    found: Array = mixture.astype(first.dtype, copy=False)
    return found
