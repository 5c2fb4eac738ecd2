"""Inputs for training without labels: mixtures of two inputs, new ones in every step, and warped images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.session import CalibrationSession
from wcodec.evaluation.examples import Array

if TYPE_CHECKING:
    from keras import Model


Float32 = npt.NDArray[np.float32]

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


def augment(session: CalibrationSession, rng: np.random.Generator) -> MixupInputs:
    """The inputs of `session.fitting`; for images also warped copies."""
    inputs = tuple(np.concatenate(column) for column in zip(*session.fitting, strict=True))
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


BENT: Final = 0.15
"""Most that an image is turned and sheared (radians), and scaled by."""
SHIFTED: Final = 0.07
"""Most that it is shifted by, of its length."""
AT_ONCE: Final = 512


def are_images(array: npt.NDArray[np.generic]) -> bool:
    """Whether [n, height, width, channels] are images, and not features: at least 16 x 16, of one or three channels."""
    return array.dtype == np.float32 and array.ndim == 4 and min(array.shape[1:3]) >= 16 and array.shape[3] in (1, 3)


def warp(images: Float32, rng: np.random.Generator) -> Float32:
    """Each of `images[n, height, width, channels]` bent in a way of its own; what enters continues the edge."""
    parts = range(0, len(images), AT_ONCE)
    return np.concatenate([_bent(images[start : start + AT_ONCE], rng) for start in parts])


def _bent(images: Float32, rng: np.random.Generator) -> Float32:
    count, height, width, _ = images.shape
    turn, shear, scale, down, right = rng.uniform(-1, 1, (5, count, 1, 1)).astype(np.float32)
    cos, sin = (f(BENT * turn) / (1 + BENT * scale) for f in (np.cos, np.sin))
    y = np.arange(height, dtype=np.float32)[:, None] - (height - 1) / 2
    x = np.arange(width, dtype=np.float32) - (width - 1) / 2
    rows = cos * y + (sin + BENT * shear) * x + (height - 1) / 2 + SHIFTED * height * down
    columns = -sin * y + cos * x + (width - 1) / 2 + SHIFTED * width * right
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    above, left = rows.astype(np.intp), columns.astype(np.intp)
    below, beside = np.minimum(above + 1, height - 1), np.minimum(left + 1, width - 1)
    low, far = (rows - above)[..., None], (columns - left)[..., None]
    which = np.arange(count)[:, None, None]
    upper = (1 - far) * images[which, above, left] + far * images[which, above, beside]
    lower = (1 - far) * images[which, below, left] + far * images[which, below, beside]
    bent: Float32 = ((1 - low) * upper + low * lower).astype(np.float32)
    return bent
