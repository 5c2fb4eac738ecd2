"""The CRC-32 of a tensor in pieces equals that of zlib."""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from wcodec.codec.digest import PIECE, digest


@pytest.mark.parametrize("count", [0, 1, PIECE, PIECE + 1, 3 * PIECE + 12345])
def test_the_digest_of_pieces_equals_that_of_the_whole(count: int) -> None:
    values = np.random.default_rng(count).integers(0, 256, count, np.uint8)
    with ThreadPoolExecutor(2) as pool:
        assert digest(values, map) == digest(values, pool.map) == zlib.crc32(values.data)


@pytest.mark.parametrize("dtype", ["complex64", "bool", "float16", "<u2"])
def test_the_digest_is_that_of_the_bytes_in_row_major_order(dtype: str) -> None:
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    assert digest(values, map) == zlib.crc32(values.tobytes())
    assert digest(values.T, map) == zlib.crc32(values.T.tobytes())
    assert digest(values[0, 0, 0, ...], map) == zlib.crc32(values[0, 0, 0].tobytes())
