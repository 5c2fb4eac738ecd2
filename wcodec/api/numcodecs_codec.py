"""The codec `wcodec` of numcodecs, and so of Zarr: float arrays, lossless or within a relative error.

Wcodec(max_error=1e-4).encode(array)        # numcodecs.get_codec({"id": "wcodec", "max_error": 1e-4})
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wcodec.api.verbs import encode
from wcodec.api.weights import load
from wcodec.errors import RecipeError

try:
    from numcodecs.abc import Codec
    from numcodecs.compat import ensure_contiguous_ndarray, ndarray_copy
except ImportError as error:
    raise RecipeError("codec wcodec: expected numcodecs, it is missing: pip install numcodecs") from error

NAME = "a"


class Wcodec(Codec):
    """Each chunk is a .wcz of one array.

    max_error: the largest relative squared error of the values, sum (w - w')^2 / sum w^2; None is lossless. Chunks of
               integers, or of one dimension, are always lossless.
    """

    codec_id = "wcodec"

    def __init__(self, max_error: float | None = None) -> None:
        self.max_error = max_error

    def encode(self, buf: npt.ArrayLike) -> bytes:
        """The bytes of a .wcz. Raises: RecipeError."""
        array = np.asarray(buf) if isinstance(buf, np.ndarray) else ensure_contiguous_ndarray(buf)
        if self.max_error is None or array.dtype.kind != "f" or array.ndim < 2:
            return encode({NAME: array}, lossless=True, threads=1)
        return encode({NAME: array}, max_error=self.max_error, threads=1)

    def decode(self, buf: npt.ArrayLike, out: npt.ArrayLike | None = None) -> npt.ArrayLike:
        """The array. Raises: ContainerError and its kinds."""
        array = load(memoryview(ensure_contiguous_ndarray(buf)).cast("B"), threads=1)[NAME]
        return array if out is None else ndarray_copy(array, out)
