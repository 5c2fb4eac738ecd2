"""The codec of numcodecs."""

from __future__ import annotations

import numcodecs
import numpy as np

SEED = 4


def test_numcodecs_finds_the_codec_and_arrays_are_decoded_exactly() -> None:
    codec = numcodecs.get_codec({"id": "wcodec"})
    for array in (np.random.default_rng(SEED).normal(size=(50, 40)).astype("<f4"), np.arange(100), np.ones(7, "u1")):
        decoded = codec.decode(codec.encode(array))
        np.testing.assert_array_equal(decoded, array)
        out = np.empty_like(array)
        codec.decode(codec.encode(array), out)
        np.testing.assert_array_equal(out, array)
    assert numcodecs.get_codec(codec.get_config()) == codec


def test_the_error_of_an_array_is_within_the_bound() -> None:
    array = np.random.default_rng(SEED).normal(size=(200, 100)).astype(np.float32)
    codec = numcodecs.get_codec({"id": "wcodec", "max_error": 1e-3})
    coded = codec.encode(array)
    decoded = codec.decode(coded)
    assert np.square(decoded - array).sum() <= 1e-3 * np.square(array).sum()
    assert len(coded) < 0.3 * array.nbytes
