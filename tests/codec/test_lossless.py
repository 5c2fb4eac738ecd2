"""Values that are coded without loss, bit for bit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import reference_lossless
from conftest import THOROUGH
from hypothesis import given
from hypothesis import strategies as st
from twins import planes as twin

from wcodec.codec import lossless
from wcodec.codec.lossless import byte_plane_blocks as blocks
from wcodec.codec.lossless.payload import BLOCKS, PLANES
from wcodec.errors import ContainerError, CorruptError, UnsupportedError
from wcodec.kernels import planes as kernel
from wcodec.model import ITEM_BYTES

rng = np.random.default_rng(4)
weights = rng.normal(0, 0.05, 6000)
VALUES: dict[str, npt.NDArray[np.generic]] = {
    "nothing": np.zeros(0, np.float32),
    "bias": weights[:10].astype(np.float32),
    "zeros": np.zeros(64, np.float32),
    "float16": weights.astype(np.float16),
    "float32": weights.astype(np.float32),
    "float64": weights.astype(np.float64),
    "half in single": weights.astype(np.float16).astype(np.float32),
    "pruned": np.where(np.abs(weights) > 0.1, weights, 0).astype(np.float32),
    "counter": np.arange(3000, dtype=np.int64),
    "noise": rng.integers(0, 256, 5000).astype(np.uint8),
    "nan": np.array([np.nan, np.inf, -np.inf, -0.0] * 20, np.float32),
    "complex": weights.astype(np.complex128),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_are_decoded_and_take_at_most_one_byte_more(name: str) -> None:
    values = VALUES[name]
    raw = values.tobytes()
    payload = lossless.encode(raw, values.itemsize)
    assert lossless.decode(payload, len(raw), values.itemsize) == raw
    assert len(payload) <= len(raw) + 1
    assert lossless.encode(values, values.itemsize) == payload


@given(st.binary(max_size=600), st.sampled_from([1, 2, 3, 4, 8, 16]))
def test_any_bytes_are_decoded(raw: bytes, item: int) -> None:
    payload = lossless.encode(raw, item)
    assert lossless.decode(payload, len(raw), item) == raw
    assert len(payload) <= len(raw) + 1


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("dtype", ["", "float32", "float16", "float64", "int64"])
def test_blocks_of_planes_are_decoded_here_and_by_the_reference_decoder(name: str, dtype: str) -> None:
    raw = VALUES[name].tobytes()
    size = ITEM_BYTES[dtype] if dtype else VALUES[name].itemsize
    if len(raw) % size == 0:
        payload = lossless.encode(raw, size, dtype=dtype, fast=True)
        assert lossless.decode(payload, len(raw), size) == raw
        assert reference_lossless.lossless(payload, len(raw), size) == raw
        assert len(payload) <= len(raw) + 1


@pytest.mark.parametrize("rotated", [True, False])
@pytest.mark.parametrize("word", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_several_blocks_have_the_sizes_in_the_payload(
    word: type[np.unsignedinteger], rotated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BITS", 7)
    words = rng.integers(0, 500, 300).astype(word)
    words[130:140] = 7
    for part in (words, words[:128], words[130:140], words[:1]):
        payload = bytes((BLOCKS,)) + blocks.encode(part, rotated)
        assert lossless.decode(payload, part.nbytes, 3) == part.tobytes()
        assert reference_lossless.lossless(payload, part.nbytes, 3) == part.tobytes()
        for at in range(len(payload)):
            for bit in range(8) if THOROUGH else (at % 8,):
                flipped = bytearray(payload)
                flipped[at] ^= 1 << bit
                try:
                    assert len(lossless.decode(bytes(flipped), part.nbytes, 3)) == part.nbytes
                except ContainerError:
                    continue
            with pytest.raises(ContainerError):
                lossless.decode(payload[:at], part.nbytes, 3)
        with pytest.raises(ContainerError):
            lossless.decode(payload + b"\0", part.nbytes, 3)


def test_planes_of_noise_are_stored_and_rows_of_shorter_floats_are_compressed() -> None:
    values = rng.normal(0, 0.05, (400, 384)).astype(np.float32)
    whole = lossless.encode(values, 4, values.shape, "float32", fast=True)
    assert whole[0] == BLOCKS
    assert len(whole) < 0.84 * values.nbytes
    values[::10] = values[::10].astype(np.float16)
    assert len(lossless.encode(values, 4, values.shape, "float32", fast=True)) < len(whole) - 0.01 * values.nbytes


@pytest.mark.parametrize("name", VALUES)
def test_a_flipped_bit_or_an_early_end_raises_or_decodes_to_the_size(name: str) -> None:
    values = VALUES[name]
    payload = lossless.encode(values, values.itemsize)
    for at in {*range(min(len(payload), 40)), *range(0, len(payload), 211)}:
        for bit in range(8):
            flipped = bytearray(payload)
            flipped[at] ^= 1 << bit
            try:
                assert len(lossless.decode(bytes(flipped), values.nbytes, values.itemsize)) == values.nbytes
            except ContainerError:
                continue
        with pytest.raises(ContainerError):
            lossless.decode(payload[:at], values.nbytes, values.itemsize)
    with pytest.raises(ContainerError):
        lossless.decode(payload + b"\0", values.nbytes, values.itemsize)


@given(st.binary(max_size=60), st.sampled_from([1, 2, 3, 4, 8]))
def test_arbitrary_payloads_raise_or_decode(payload: bytes, item: int) -> None:
    for method in range(6):
        try:
            assert len(lossless.decode(bytes((method,)) + payload, 240, item)) == 240
        except ContainerError:
            continue


def test_the_exponents_of_floats_are_compressed() -> None:
    raw = VALUES["float32"].tobytes()
    assert lossless.encode(raw, 4)[0] == PLANES
    assert len(lossless.encode(raw, 4)) < 0.84 * len(raw)


def test_a_repeated_item_is_stored_once() -> None:
    assert lossless.encode(np.full(1000, 1.5, np.float32), 4) == b"\x01" + np.float32(1.5).tobytes()


def test_an_error_names_an_unknown_method_or_a_partial_item() -> None:
    with pytest.raises(UnsupportedError, match="got 9"):
        lossless.decode(b"\x09\x00", 8, 4)
    with pytest.raises(CorruptError, match="whole items"):
        lossless.decode(b"\x01\x00\x00\x00\x00", 7, 4)


@pytest.mark.parametrize("word", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_planes_equal_those_of_the_twin(word: type[np.unsignedinteger]) -> None:
    words = rng.integers(0, np.iinfo(word).max, 50, dtype=word, endpoint=True)
    planes = np.empty((words.itemsize, 50), np.uint8)
    kernel.split(words, planes)
    assert [plane.tobytes() for plane in planes] == twin.split(words.tolist(), words.itemsize)
    joined = np.empty_like(words)
    kernel.join(planes, joined)
    np.testing.assert_array_equal(joined, words)
    for rotated in (True, False):
        kernel.split(words, planes, rotated)
        assert [plane.tobytes() for plane in planes] == twin.split(words.tolist(), words.itemsize, rotated)
        kernel.weave(list(planes.copy()), joined, rotated)
        np.testing.assert_array_equal(joined, words)
