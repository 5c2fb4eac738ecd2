"""The patches that a convolution's kernel meets, for any number of dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


def patches(
    images: Float32,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: str,
    most: int,
    rng: np.random.Generator,
) -> Float32:
    """Patches float32[places, prod(kernel) * channels] of `images[n, *space, channels]`, at most `most`, at random.

    Inside a patch the order is that of Keras' kernels: space, then channels.
    padding: "valid", "same" or "causal".
    """
    dims = len(kernel)
    reach = [(size - 1) * gap + 1 for size, gap in zip(kernel, dilations, strict=True)]
    margins = [
        _margin(length, extent, step, padding)
        for length, extent, step in zip(images.shape[1:-1], reach, strides, strict=True)
    ]
    padded = np.pad(images, ((0, 0), *margins, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(1, dims + 1)))
    skips = (slice(None), *(slice(None, None, step) for step in strides), slice(None))
    windows = windows[(*skips, *(slice(None, None, gap) for gap in dilations))]
    places = windows.shape[: dims + 1]
    count = int(np.prod(places))
    chosen = np.sort(rng.choice(count, most, replace=False)) if most < count else np.arange(count)
    found = windows[np.unravel_index(chosen, places)]
    return np.moveaxis(found, 1, -1).reshape(len(found), -1)


def _margin(length: int, extent: int, step: int, padding: str) -> tuple[int, int]:
    """Zeros before and behind an axis."""
    if padding == "causal":
        return extent - 1, 0
    if padding == "valid":
        return 0, 0
    total = max((-(-length // step) - 1) * step + extent - length, 0)
    return total // 2, total - total // 2
