"""The lossless number coder's view of a tensor: rows of channels of taps, and the meaning of its words."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Final

import numpy as np

from wcodec.model.dataclass import dataclass

MOST: Final = 1 << 22
"""The largest number of elements of a piece; a large kernel's taps stay together."""
FAST: Final = 1 << 18
"""The same for blocks of planes: pieces this small stay in the cache."""
MOST_TAPS: Final = 512
KERNEL_TAPS: Final = 49
"""The largest product of small dimensions that are taken as the taps of a kernel."""


@dataclass(frozen=True)
class Kind:
    """The number format of a word. exponent_bits is 0 for integers; mantissa_bits are those stored."""

    id: int
    item_bytes: int
    exponent_bits: int = 0
    mantissa_bits: int = 0
    signed: bool = True

    @property
    def exponents(self) -> int:
        """The number of exponents; the exponent of an integer is the length of its magnitude."""
        return 1 << self.exponent_bits if self.exponent_bits else 8 * self.item_bytes + 1

    @property
    def digits(self) -> int:
        """Bits of the longest mantissa."""
        return self.mantissa_bits if self.exponent_bits else 8 * self.item_bytes - 1


FLOAT_KINDS: Final = (
    Kind(0, 4, 8, 23), Kind(1, 2, 5, 10), Kind(2, 2, 8, 7), Kind(3, 8, 11, 52), Kind(4, 1, 4, 3), Kind(5, 1, 5, 2),
)  # fmt: skip
WORDS: Final[dict[int, np.dtype[np.unsignedinteger]]] = {
    1: np.dtype(np.uint8), 2: np.dtype(np.uint16), 4: np.dtype(np.uint32), 8: np.dtype(np.uint64),
}  # fmt: skip
"""The unsigned integer of each size; wcodec runs on little-endian machines."""
INTEGER: Final = 6
"""The id of integers of any size."""
_FLOATS: Final = {
    "float32": 0, "complex64": 0, "float16": 1, "bfloat16": 2, "float64": 3, "complex128": 3,
    "float8_e4m3": 4, "float8_e5m2": 5,
}  # fmt: skip
_INTEGERS: Final = {
    f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)
} | {"bool": 1}  # fmt: skip


@dataclass(frozen=True)
class View:
    """words[row, channel, tap], or words[tap, row, channel] if the taps are `outermost`."""

    rows: int
    channels: int
    taps: int
    outermost: bool = False

    @property
    def run(self) -> int:
        """Words of one row that are contiguous."""
        return self.channels if self.outermost else self.channels * self.taps


def kind_of(dtype: str) -> Kind | None:
    """The number format of a tensor of `dtype`; None if it is neither a float nor an integer type."""
    if dtype in _FLOATS:
        return FLOAT_KINDS[_FLOATS[dtype]]
    return Kind(INTEGER, _INTEGERS[dtype], signed=dtype[0] == "i") if dtype in _INTEGERS else None


def kernel_view(shape: tuple[int, ...]) -> View | None:
    """The view of a convolution's kernel, with taps first (Keras) or last (PyTorch); None for another `shape`."""
    spatial = len(shape) - 2
    if spatial < 1:
        return None
    first, last = prod(shape[:spatial]), prod(shape[2:])
    views = [
        View(shape[-2], shape[-1], first, outermost=True),
        View(shape[0], shape[1], last),
    ]
    fitting = [view for view in views if 1 < view.taps <= min(KERNEL_TAPS, view.rows * view.channels)]
    return min(fitting, key=lambda view: view.taps, default=None)


def matrix_view(shape: tuple[int, ...]) -> View:
    """Rows of the last dimension that is not 1."""
    columns = next((size for size in reversed(shape) if size > 1), 1)
    return View(prod(shape) // columns, columns, 1)


def split_pieces(shape: tuple[int, ...], most: int = MOST) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """(first element, end, shape) of pieces of at most `most` elements that cover a tensor.

    All but the last have the same size. They are as few as possible, nearly equal, and consist of whole rows if rows
    fit.
    """
    count = prod(shape)
    if count <= most:
        yield 0, count, shape
        return
    axis = next((i for i in range(len(shape)) if prod(shape[i + 1 :]) <= most), len(shape) - 1)
    inner = prod(shape[axis + 1 :])
    rows = count // inner
    least = -(-rows // (most // inner))
    height = -(-rows // least)
    for start in range(0, rows, height):
        stop = min(start + height, rows)
        yield start * inner, stop * inner, (stop - start, *shape[axis + 1 :])
