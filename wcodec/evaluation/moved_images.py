"""Moved, rotated and sheared images, and mixtures: training data and changed copies for measurements."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Array, Examples

Float32 = npt.NDArray[np.float32]

BENT: Final = 0.15
"""The largest rotation and shear in radians, and the largest change of scale."""
SHIFTED: Final = 0.07
"""The largest shift, as a fraction of the length of an axis."""
AT_ONCE: Final = 512
GENTLE: Final = 1 / 3
"""A factor on both for copies that are trained on with labels."""
COPIES: Final = 3
"""The number of changed versions of an example, for measurements."""
MIXED: Final = np.float32(0.1)
"""The share of another example in a changed version."""
MOVED_COPIES: Final = 4
"""The largest number of moved copies of an image with labels."""
MOVED_BYTES: Final = 1 << 30
"""The largest number of bytes of all copies if there is more than one."""


def augment_images(examples: Examples, seed: int) -> tuple[Examples, int]:
    """`--augment images`: the examples and moved copies of them, one version of all after another, and the number of
    versions.

    Every other copy is shifted by up to one pixel along both axes; the others are rotated, sheared, scaled and shifted
    by fractions of a pixel, a third as far as by `warp`. Labels are repeated.
    Raises: RecipeError if the input is not an image.
    """
    if len(examples.inputs) != 1 or not may_be_images(examples.inputs[0]):
        shapes = ", ".join(str(array.shape[1:]) for array in examples.inputs)
        raise RecipeError(f"--augment images: expected one input of images (height, width, channels), got {shapes}")
    images = examples.inputs[0].astype(np.float32, copy=False)
    rng = np.random.default_rng((seed, images.size))
    count = max(1, min(MOVED_COPIES, MOVED_BYTES // max(1, images.nbytes)))
    copies = [warp(images, rng, GENTLE) if number % 2 else shift(images, rng) for number in range(count)]
    labels = tuple(None if one is None else np.concatenate([one] * (1 + count)) for one in examples.labels)
    return Examples((np.concatenate([images, *copies]),), labels), 1 + count


def change_slightly(examples: Examples, seed: int) -> Examples | None:
    """COPIES changed versions of the examples, to measure how well a network generalizes.

    Images are blended with a warped copy (see `warp`), other quantities with a little of another example. None if
    inputs are not quantities (token numbers, for example).
    """
    quantities = [array.dtype.kind == "f" and bool((array != np.rint(array)).any()) for array in examples.inputs]
    if not all(quantities):
        return None
    rng = np.random.default_rng((seed, examples.count))
    versions = [
        tuple(_change(array, rng.permutation(examples.count), rng) for array in examples.inputs) for _ in range(COPIES)
    ]
    inputs = tuple(np.concatenate(column) for column in zip(*versions, strict=True))
    return Examples(inputs, tuple(None if one is None else np.concatenate([one] * COPIES) for one in examples.labels))


def _change(array: Array, others: npt.NDArray[np.intp], rng: np.random.Generator) -> Float32:
    values = array.astype(np.float32, copy=False)
    if are_images(values):
        return (values + warp(values, rng)) / np.float32(2)
    mixed: Float32 = (1 - MIXED) * values + MIXED * values[others]
    return mixed


def may_be_images(array: npt.NDArray[np.generic]) -> bool:
    """Whether [n, height, width] or [n, height, width, channels] can be images if the user says so: 8 x 8 floats or
    more.
    """
    return array.dtype.kind == "f" and array.ndim in (3, 4) and min(array.shape[1:3]) >= 8


def are_images(array: npt.NDArray[np.generic]) -> bool:
    """Whether [n, height, width, channels] are images, not features: at least 16 x 16, with one or three channels."""
    return array.dtype == np.float32 and array.ndim == 4 and min(array.shape[1:3]) >= 16 and array.shape[3] in (1, 3)


def warp(images: Float32, rng: np.random.Generator, most: float = 1.0) -> Float32:
    """Each of `images[n, height, width, ...]` with a random affine warp of its own; the edge is continued.

    most: a factor on BENT and SHIFTED.
    """
    channels = images.reshape(*images.shape[:3], -1)
    parts = range(0, len(images), AT_ONCE)
    bent = [_bend(channels[start : start + AT_ONCE], rng, most) for start in parts]
    return np.concatenate(bent).reshape(images.shape)


def shift(images: Float32, rng: np.random.Generator) -> Float32:
    """Each of `images[n, height, width, ...]` moved by -1, 0 or 1 pixels along both axes; the edge is repeated."""
    around = np.pad(images, ((0, 0), (1, 1), (1, 1), *((0, 0),) * (images.ndim - 3)), "edge")
    which = np.arange(len(images))[:, None, None]
    down, right = rng.integers(0, 3, (2, len(images), 1, 1))
    rows, columns = np.arange(images.shape[1])[:, None] + down, np.arange(images.shape[2]) + right
    moved: Float32 = around[which, rows, columns]
    return moved


def _bend(images: Float32, rng: np.random.Generator, most: float) -> Float32:
    count, height, width, _ = images.shape
    turn, shear, scale, down, right = (most * rng.uniform(-1, 1, (5, count, 1, 1))).astype(np.float32)
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
