"""A tensor coded against its earlier version (`--base`): by XOR, by ULP distance, or by a float residual."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from wcodec.container.dtypes import Float32, Float64, from_float, numpy_type, to_float32
from wcodec.errors import CorruptError
from wcodec.model import FLOATS, AnyArray, TensorSpec

OWN, BY_CHUNK, DIFFERENCE = range(3)
"""Delta mode of a tensor: coded by itself; exact, with a mode for each chunk; the lossy difference from the base."""
ALONE, XOR, ULPS, RESIDUAL = range(4)
"""Delta mode of a chunk: coded by itself; the XOR of the bits; the ULP distance from the base; a float residual (its
magnitude depends less on the weight's) followed by the ULP distance from base + residual to the value."""
_SIGNED = FLOATS | {"float8_e4m3", "float8_e5m2"}
Words = npt.NDArray[np.unsignedinteger]


class BaseValues(Protocol):
    """The tensors of an earlier version, by name; `pipeline.base_file` reads them from a model file."""

    def has(self, facts: TensorSpec) -> bool:
        """Whether there is a tensor with this name, shape and element size."""

    def part(self, facts: TensorSpec, start: int, count: int) -> AnyArray:
        """Values `start` to `start + count` of the tensor with this name."""


def encode_delta(way: int, values: AnyArray, base: AnyArray, dtype: str) -> Words:
    """The difference between the values and the base's, by XOR or ULPS, as words. Inverse: `decode_delta`."""
    new, old = _as_words(values), _as_words(base)
    if way == XOR:
        return new ^ old
    return _measure_ulp_distance(new, old, dtype)


def decode_delta(way: int, words: AnyArray, base: AnyArray, dtype: str) -> AnyArray:
    """The values of a chunk. Inverse: `encode_delta`.

    Raises: CorruptError for an unknown mode.
    """
    coded, old = _as_words(words), _as_words(base)
    one = coded.dtype.type(1)
    if way == XOR:
        new = coded ^ old
    elif way == ULPS:
        steps = (coded >> one) ^ (coded.dtype.type(0) - (coded & one))
        new = _from_ordered(_to_ordered(old, dtype) + steps, dtype)
    else:
        raise CorruptError(f"chunk: expected delta mode 0 to 3, got {way}")
    return new.view(numpy_type(dtype))


def encode_residual(values: AnyArray, base: AnyArray, dtype: str) -> tuple[AnyArray, Words]:
    """The residual (floats of the same type), and the ULP distance from base + residual to the values.

    Inverse: `decode_residual`.
    """
    new, old = _to_floats(values, dtype), _to_floats(base, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        more = from_float(new - old, dtype)
    usual = np.isfinite(_to_floats(more, dtype)) & np.isfinite(old)
    more = np.where(usual, _as_words(more), 0).astype(_as_words(more).dtype).view(numpy_type(dtype))
    return more, _measure_ulp_distance(_as_words(values), _add_residual(base, more, dtype), dtype)


def decode_residual(more: AnyArray, steps: Words, base: AnyArray, dtype: str) -> AnyArray:
    """The values of a chunk of floats. Inverse: `encode_residual`."""
    return decode_delta(ULPS, steps, _add_residual(base, more, dtype).view(numpy_type(dtype)), dtype)


def _add_residual(base: AnyArray, more: AnyArray, dtype: str) -> Words:
    """One addition for each value, rounded to the type; the base's own bits where the residual is zero."""
    added = _to_floats(more, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        total = from_float(_to_floats(base, dtype) + added, dtype)
    return np.where(added == 0, _as_words(base), _as_words(total))


def _to_floats(values: AnyArray, dtype: str) -> Float32 | Float64:
    return values.astype(np.float64, copy=False) if dtype == "float64" else to_float32(values, dtype)


def _as_words(values: AnyArray) -> Words:
    size = min(values.itemsize, 8)
    words: Words = np.ascontiguousarray(values).reshape(-1).view(np.dtype(f"<u{size}"))
    return words


def _measure_ulp_distance(new: Words, old: Words, dtype: str) -> Words:
    """The signed distance from old to new in the order of the floats, as zigzag words."""
    steps = _to_ordered(new, dtype) - _to_ordered(old, dtype)
    top = new.dtype.type(8 * new.itemsize - 1)
    return (steps << new.dtype.type(1)) ^ (new.dtype.type(0) - (steps >> top))


def _to_ordered(words: Words, dtype: str) -> Words:
    """Integers in the order of the floats that have these bits; integers are unchanged. Inverse: `_from_ordered`."""
    if dtype not in _SIGNED:
        return words
    sign = words.dtype.type(1 << 8 * words.itemsize - 1)
    return np.where(words & sign, ~words, words | sign)


def _from_ordered(words: Words, dtype: str) -> Words:
    """Inverse: `_to_ordered`."""
    if dtype not in _SIGNED:
        return words
    sign = words.dtype.type(1 << 8 * words.itemsize - 1)
    return np.where(words & sign, words & ~sign, ~words)
