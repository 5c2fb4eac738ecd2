"""The statistics of the encoder of numbers, in slow Python. (The coder's twin is `formats/reference_numbers.py`.)"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def scaled(values: npt.NDArray[np.floating], middle: int, bias: int) -> list[int]:
    """Floats as the predictor sees them: of 10 bits at the middle exponent."""
    out = []
    for value in values.tolist():
        exact = min(abs(value) * 2.0 ** (bias + 9 - middle), 16383.0)
        out.append(-int(exact) if np.signbit(value) else int(exact))
    return out


def trailing_zeros(mantissa: int, digits: int) -> int:
    return next((i for i in range(digits) if mantissa >> i & 1), digits)


def counts(words: list[int], exponent_bits: int, digits: int) -> dict[tuple[int, int], int]:
    """Floats by exponent and zeros at the end of the mantissa."""
    found: dict[tuple[int, int], int] = {}
    for word in words:
        key = (word >> digits & ((1 << exponent_bits) - 1), trailing_zeros(word & ((1 << digits) - 1), digits))
        found[key] = found.get(key, 0) + 1
    return found
