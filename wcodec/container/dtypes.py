"""Element types in numpy, and conversion of floats to float32 and back, rounded as in `formats/wcz.md` section 5."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wcodec.model import AnyArray

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_NUMPY = {
    "bfloat16": "<u2",
    "float8_e4m3": "u1",
    "float8_e5m2": "u1",
    "bytes2": "<u2",
    "bytes1": "u1",
    "float16": "<f2",
    "float32": "<f4",
    "float64": "<f8",
    "complex64": "<c8",
    "complex128": "<c16",
    "bool": "?",
    "uint8": "u1",
    "int8": "i1",
    "uint16": "<u2",
    "int16": "<i2",
    "uint32": "<u4",
    "int32": "<i4",
    "uint64": "<u8",
    "int64": "<i8",
}
_NAMED = {"bfloat16", "float8_e4m3", "float8_e5m2", "bytes2", "bytes1"}
DTYPE_OF_CODE = {np.dtype(code).str[1:]: name for name, code in _NUMPY.items() if name not in _NAMED}
DTYPE_OF_CODE |= {"V1": "bytes1", "V2": "bytes2"}
"""The tensor type for numpy's code without byte order ("f4"), as in `.npy` and HDF5; V1 and V2 are opaque bytes."""


def numpy_type(dtype: str) -> np.dtype[np.generic]:
    """The numpy type of an element; unsigned integers if numpy has no such type."""
    return np.dtype(_NUMPY[dtype])


def to_float32(values: AnyArray, dtype: str) -> Float32:
    """The values as float32; float64 is rounded to nearest."""
    if dtype == "bfloat16":
        return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False)


def from_float(values: Float32 | Float64, dtype: str) -> AnyArray:
    """float32 or float64 values as the bits of `dtype`, rounded to nearest even; bfloat16 via float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype != "bfloat16":
            return values.astype(numpy_type(dtype), copy=False)
        bits = values.astype(np.float32, copy=False).view(np.uint32)
        return (bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype(np.uint16)


def mantissa_of(values: Float32) -> int:
    """The number of mantissa bits, 0..23, that all of the float32 values need."""
    bits = int(np.bitwise_or.reduce(np.ascontiguousarray(values).view(np.uint32), axis=None, initial=0)) & 0x7FFFFF
    return 23 - ((bits & -bits).bit_length() - 1) if bits else 0


def round_mantissa(values: Float32, bits: int = 7) -> Float32:
    """float32 with `bits` stored bits of mantissa, rounded, halves up.

    With 7 bits these are the three-byte numbers that a file has for weights that are not rounded to levels.
    """
    shift = 23 - bits
    raw = np.ascontiguousarray(values).view(np.uint32)
    return ((raw + np.uint32(1 << shift >> 1)) & np.uint32((0xFFFFFFFF << shift) & 0xFFFFFFFF)).view(np.float32)


def round_step(step: float) -> float:
    """The nearest positive step that takes three bytes: a float32 with 7 stored bits of mantissa."""
    rounded = min(max(int(np.float32(step).view(np.uint32)) + 0x8000 >> 16, 1), 0x7F7F) << 16
    return float(np.uint32(rounded).view(np.float32))
