"""Element types as numbers: the bits of any float type to float32 and back, exactly as `formats/wcz.md` section 5 rounds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wcodec.model import Bits

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_NUMPY = {"float32": np.float32, "float16": np.float16, "float64": np.float64}


def to_float32(values: Bits, dtype: str) -> Float32:
    """The values as float32, rounded to nearest where they are float64."""
    if dtype == "bfloat16":
        return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False)


def from_float(values: Float32 | Float64, dtype: str) -> Bits:
    """float32 or float64 values as the bits of `dtype`, rounded to nearest even; bfloat16 by way of float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype != "bfloat16":
            return values.astype(_NUMPY[dtype], copy=False)
        bits = values.astype(np.float32, copy=False).view(np.uint32)
        return (bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype(np.uint16)
