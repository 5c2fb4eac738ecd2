"""Models of random shapes, types and values, for hypothesis."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Array = npt.NDArray[np.generic]
FLOATS = ("float32", "float16", "float64")
OTHERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool", "complex64", "complex128")
SPECIAL = (np.nan, np.inf, -np.inf, 1e30, -1e30, 3.4028235e38, 1e-40, -1e-45, -0.0, 65504.0)
FLAVOURS = ("normal", "heavy", "few", "constant", "zero", "sparse", "tiny", "huge", "positive")


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, ...]:
    """Shapes of 0 to 5 dimensions, some of them 0 or 1, with at most some thousand elements."""
    dims = draw(st.integers(0, 5))
    most = {0: 1, 1: 3000, 2: 64, 3: 14, 4: 8, 5: 5}[dims]
    return tuple(draw(st.lists(st.integers(1, most) | st.sampled_from([0, 1, 3]), min_size=dims, max_size=dims)))


@st.composite
def arrays(draw: st.DrawFn, dtypes: tuple[str, ...] = FLOATS + OTHERS) -> Array:
    """Arrays of typical and of unusual values."""
    shape, dtype = draw(shapes()), np.dtype(draw(st.sampled_from(dtypes)))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    if dtype.kind in "iub":
        return rng.integers(0, draw(st.sampled_from([2, 200])), shape).astype(dtype)
    if dtype.kind == "c":
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
    return _special(draw, _values(rng, draw(st.sampled_from(FLAVOURS)), shape), dtype)


def _values(rng: np.random.Generator, flavour: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    normal = np.asarray(rng.normal(size=shape) * 0.1)
    values = {
        "normal": normal,
        "heavy": normal * np.exp(rng.normal(size=shape) * 2),
        "few": np.round(normal * 20) / 8,
        "constant": np.full(shape, 0.3),
        "zero": np.zeros(shape),
        "sparse": normal * (rng.random(shape) < 0.05),
        "tiny": normal * 1e-38,
        "huge": normal * 1e37,
        "positive": np.abs(normal) + 1.0,
    }[flavour]
    return np.asarray(values, np.float64)


def _special(draw: st.DrawFn, values: npt.NDArray[np.float64], dtype: np.dtype[np.generic]) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        array = np.ascontiguousarray(values.astype(dtype)).reshape(values.shape)
        flat = array.reshape(-1)
        if flat.size and draw(st.booleans()):
            for special in draw(st.lists(st.sampled_from(SPECIAL), max_size=4)):
                flat[draw(st.integers(0, flat.size - 1))] = np.float64(special).astype(dtype)
    return array


def models(dtypes: tuple[str, ...] = FLOATS + OTHERS) -> st.SearchStrategy[dict[str, Array]]:
    """Models of one to four tensors by name."""
    names = st.text("abcdé/_0", min_size=1, max_size=8)
    return st.dictionaries(names, arrays(dtypes), min_size=1, max_size=4)
