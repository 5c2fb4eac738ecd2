"""More inputs to train on: mixtures of two inputs, new ones in every step, and moved or warped images."""

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
"""Warped copies of an image, at most."""
MOST_BYTES: Final = 1 << 28
"""Bytes of all of them, at most."""


@dataclass(frozen=True)
class MixupInputs:
    """Inputs to fit to.

    inputs: one array per input of the network, examples first.
    mixed:  whether to mix pairs of them (mixup, Zhang et al. 2018), so that few inputs are not overfitted. Integers,
            such as token numbers, are not mixed.
    """

    inputs: tuple[Array, ...]
    mixed: bool

    @property
    def count(self) -> int:
        """Inputs."""
        return len(self.inputs[0])


def augment(session: CalibrationSession, rng: np.random.Generator, *, moved: bool = False) -> MixupInputs:
    """The inputs of `session.fitting`; for what are images for sure also warped copies.

    moved: `augment_images` in their place, which raises RecipeError where there are no images.
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
    """Whether the inputs are quantities, and not the numbers of words."""
    declared = all(str(one.dtype).startswith(("float", "bfloat")) for one in getattr(model, "inputs", None) or ())
    return declared and all(array.dtype.kind == "f" and bool((array != np.rint(array)).any()) for array in inputs)


def draw_mixtures(given: MixupInputs, size: int, rng: np.random.Generator) -> Iterator[tuple[Array, ...]]:
    """Batches, for ever: all inputs in random order, then all again in another.

    Each is at least half of its mixture; the rest is any other.
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
            yield tuple(_mixed(array[rows], array[others], part) for array in given.inputs)


def _mixed(first: Array, second: Array, part: Float32) -> Array:
    share = part.reshape(-1, *(1,) * (first.ndim - 1))
    mixture = share * first.astype(np.float32, copy=False) + (1 - share) * second.astype(np.float32, copy=False)
    found: Array = mixture.astype(first.dtype, copy=False)
    return found
