"""Images seen a little otherwise: turned, scaled, sheared and shifted at random."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

BENT: Final = 0.15
"""Most that an image is turned and sheared (radians), and scaled by."""
SHIFTED: Final = 0.07
"""Most that it is shifted by, of its length."""
AT_ONCE: Final = 512


def are_images(array: npt.NDArray[np.generic]) -> bool:
    """Whether [n, height, width, channels] are images, and not features: at least 16 x 16, of one or three channels."""
    return array.dtype == np.float32 and array.ndim == 4 and min(array.shape[1:3]) >= 16 and array.shape[3] in (1, 3)


def warped(images: Float32, rng: np.random.Generator) -> Float32:
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
