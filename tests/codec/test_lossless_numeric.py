"""The context coder of numbers: the kernel and the reference decoder restore every bit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import reference_lossless
from hypothesis import given
from hypothesis import strategies as st
from twins import numbers as twin

from wcodec.codec import lossless
from wcodec.codec.lossless import numeric as numbers
from wcodec.codec.lossless.payload import NUMBERS
from wcodec.codec.lossless.views import View, kernel_view, kind_of, matrix_view, split_pieces
from wcodec.errors import ContainerError, CorruptError, TruncatedError, UnsupportedError
from wcodec.kernels.numeric import coder as kernel
from wcodec.model import AnyArray

rng = np.random.default_rng(8)


def normal(*shape: int) -> npt.NDArray[np.float32]:
    return (rng.normal(0, 0.05, shape)).astype(np.float32)


def smooth(*shape: int) -> npt.NDArray[np.float32]:
    return np.cumsum(np.cumsum(normal(*shape), 0), 1).astype(np.float32)


def bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def prune(*shape: int) -> npt.NDArray[np.float32]:
    values = normal(*shape)
    return np.where(np.abs(values) > 0.1, values, 0).astype(np.float32)


def strange(*shape: int) -> npt.NDArray[np.float32]:
    """NaN with payloads, infinities, subnormal numbers, negative zeros."""
    values = normal(*shape)
    odd = np.array([0x7FC00001, 0xFFFFFFFF, 0x7F800000, 0xFF800000, 1, 0x80000000, 0x007FFFFF, 0x80000001], np.uint32)
    values.reshape(-1).view(np.uint32)[::7] = odd[np.arange(len(values.reshape(-1)[::7])) % len(odd)]
    return values


def mixed_rows(*shape: int) -> npt.NDArray[np.float32]:
    values = normal(*shape)
    values[::3] = values[::3].astype(np.float16)
    return values


VALUES: dict[str, tuple[AnyArray, str]] = {
    "one": (normal(1), "float32"),
    "vector": (normal(300), "float32"),
    "matrix": (normal(40, 50), "float32"),
    "kernel, taps first": (smooth(3, 3, 8, 24), "float32"),
    "kernel, taps last": (np.ascontiguousarray(smooth(3, 3, 8, 24).T), "float32"),
    "depthwise": (normal(3, 3, 40, 1), "float32"),
    "tall": (np.ascontiguousarray(np.cumsum(normal(560, 33), 1).astype(np.float32)), "float32"),
    "rows alike": (np.cumsum(normal(60, 30), 0).astype(np.float32), "float32"),
    "float16": (normal(40, 50).astype(np.float16), "float16"),
    "bfloat16": (bfloat16(normal(40, 50)), "bfloat16"),
    "float64": (normal(20, 30).astype(np.float64) * 1.1, "float64"),
    "float8 e4m3": (rng.integers(0, 256, (30, 40)).clip(50, 90).astype(np.uint8), "float8_e4m3"),
    "float8 e5m2": ((normal(40, 40).astype(np.float16).view(np.uint16) >> 8).astype(np.uint8), "float8_e5m2"),
    "complex": (normal(20, 60).view(np.complex64), "complex64"),
    "int8": (np.rint(normal(40, 50) * 400).astype(np.int8), "int8"),
    "int8 kernel": (np.rint(smooth(3, 3, 8, 24) * 100).clip(-128, 127).astype(np.int8), "int8"),
    "uint8": (np.rint(normal(40, 50) * 400 + 128).astype(np.uint8), "uint8"),
    "int32": (rng.normal(0, 1e5, (30, 30)).astype(np.int32), "int32"),
    "uint64": (rng.integers(2**63 - 500, 2**63 + 500, (30, 30), dtype=np.uint64), "uint64"),
    "int64 least": (np.array([-(2**63), 2**63 - 1, 0, -1] * 30), "int64"),
    "pruned": (prune(60, 50), "float32"),
    "pruned kernel": (prune(3, 3, 8, 24), "float32"),
    "pruned int8": (np.rint(prune(60, 50) * 300).astype(np.int8), "int8"),
    "strange": (strange(40, 50), "float32"),
    "strange kernel": (strange(3, 3, 8, 24), "float32"),
    "rows of float16": (mixed_rows(60, 40), "float32"),
    "half in single": (normal(3, 3, 8, 24).astype(np.float16).astype(np.float32), "float32"),
    "grid": ((np.rint(normal(40, 50) * 2000) / 4096).astype(np.float32), "float32"),
    "nan only": (np.full(40, np.nan, np.float32), "float32"),
    "negative zeros": (np.tile(np.array([-0.0, 0.0, -0.0], np.float32), 40), "float32"),
    "noise": (rng.integers(0, 2**32, 1000, dtype=np.uint32).view(np.float32), "float32"),
}


TYPES = ("float32", "float16", "bfloat16", "float8_e4m3", "int8", "uint16", "float64", "int64")


def words_of(values: AnyArray, dtype: str) -> tuple[numbers.Words, numbers.Kind, tuple[int, ...]]:
    kind = kind_of(dtype)
    assert kind
    shape = (*values.shape, 2) if dtype.startswith("complex") else values.shape
    return values.reshape(-1).view(f"u{kind.item_bytes}"), kind, shape


def pack(values: AnyArray, dtype: str) -> bytes:
    """Encode numbers with contexts even if another method is smaller."""
    payload = numbers.encode(*words_of(values, dtype), limit=2 * values.nbytes + 4096)
    assert payload is not None
    return bytes((NUMBERS,)) + payload


@pytest.mark.parametrize("name", VALUES)
def test_numbers_are_decoded_bit_for_bit_here_and_by_the_reference_decoder(name: str) -> None:
    values, dtype = VALUES[name]
    payload = pack(values, dtype)
    assert lossless.decode(payload, values.nbytes, values.itemsize) == values.tobytes()
    assert reference_lossless.lossless(payload, values.nbytes, values.itemsize) == values.tobytes()
    best = lossless.encode(values, values.itemsize, values.shape, dtype)
    assert lossless.decode(best, values.nbytes, values.itemsize) == values.tobytes()
    assert len(best) <= min(len(payload), values.nbytes + 1)


def test_the_cases_use_every_part_of_the_coder() -> None:
    flags = {name: pack(*VALUES[name])[2] for name in VALUES}
    for bit in range(5):
        assert {flag >> bit & 1 for flag in flags.values()} == {0, 1}, bit
    assert flags["kernel, taps first"] & 3 == 3
    assert flags["kernel, taps last"] & 3 == 2
    assert flags["tall"] & flags["rows alike"] & 2
    assert flags["pruned"] & flags["pruned kernel"] & flags["pruned int8"] & 4
    assert flags["rows of float16"] & flags["half in single"] & 8
    assert flags["grid"] & 16


@given(st.data(), st.sampled_from(TYPES))
def test_any_words_of_any_shape_are_decoded(data: st.DataObject, dtype: str) -> None:
    kind = kind_of(dtype)
    assert kind
    shape = tuple(data.draw(st.lists(st.integers(1, 5), max_size=4)))
    size = int(np.prod(shape)) * kind.item_bytes
    content = st.binary(min_size=size, max_size=size) | st.sampled_from([bytes(size), b"\xff" * size])
    words = np.frombuffer(data.draw(content), f"u{kind.item_bytes}").reshape(shape)
    payload = pack(words, dtype)
    assert lossless.decode(payload, words.nbytes, kind.item_bytes) == words.tobytes()
    assert reference_lossless.lossless(payload, words.nbytes, kind.item_bytes) == words.tobytes()


@pytest.mark.parametrize("name", VALUES)
def test_a_flipped_bit_or_an_early_end_raises_or_decodes_to_the_size(name: str) -> None:
    values, dtype = VALUES[name]
    payload = pack(values, dtype)
    for at in {*range(min(len(payload), 40)), *range(0, len(payload), max(331, len(payload) // 16)), len(payload) - 1}:
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


@given(st.binary(max_size=80), st.integers(0, 6), st.integers(0, 31), st.sampled_from([1, 2, 4, 8]))
def test_arbitrary_payloads_raise_or_decode(rest: bytes, kind: int, flags: int, item: int) -> None:
    for design in (b"", bytes((1, 240 // item, 1, 100)), bytes((2, 2, 60 // item, 3))):
        try:
            assert len(lossless.decode(bytes((NUMBERS, kind, flags)) + design + rest, 240, item)) == 240
        except ContainerError:
            continue


def test_an_error_names_parameters_that_do_not_fit() -> None:
    values = normal(40, 50)
    payload = bytearray(pack(values, "float32"))
    cases: list[tuple[int, int, type[ContainerError]]] = [
        (1, 7, UnsupportedError), (2, 32, UnsupportedError), (1, 1, CorruptError), (3, 41, CorruptError),
    ]  # fmt: skip
    for at, value, error in cases:
        broken = payload.copy()
        broken[at] = value
        with pytest.raises(error):
            lossless.decode(bytes(broken), values.nbytes, 4)
    with pytest.raises(TruncatedError):
        lossless.decode(bytes(payload[:2]), values.nbytes, 4)


def test_the_structure_of_weights_saves_bytes() -> None:
    def share(values: AnyArray, dtype: str) -> float:
        return len(lossless.encode(values, values.itemsize, values.shape, dtype)) / values.nbytes

    plain = normal(64, 64, 9).reshape(64, 64, 3, 3)
    scales = np.exp(normal(64, 1, 1, 1) * 20).astype(np.float32)
    assert share(plain, "float32") < 0.84
    assert share(plain * scales, "float32") < 0.84, "a scale for each row is followed"
    assert share(smooth(3, 3, 64, 64), "float32") < share(plain, "float32") - 0.02
    assert share(mixed_rows(300, 64), "float32") < share(normal(300, 64), "float32") - 0.1
    assert share(prune(300, 200), "float32") < 0.05
    assert share(bfloat16(normal(200, 200)), "bfloat16") < 0.68


def test_views_keep_the_taps_of_a_kernel_together() -> None:
    assert kernel_view((3, 3, 64, 128)) == View(64, 128, 9, outermost=True)
    assert kernel_view((128, 64, 3, 3)) == View(128, 64, 9)
    assert kernel_view((3, 3, 64, 1)) == View(64, 1, 9, outermost=True)
    assert kernel_view((64, 1, 3, 3)) == View(64, 1, 9)
    assert kernel_view((1, 1, 64, 128)) is kernel_view((128, 64, 1, 1)) is kernel_view((64, 128)) is None
    assert matrix_view((128, 64, 1, 1)) == View(128, 64, 1)
    assert matrix_view(()) == View(1, 1, 1)


@given(st.lists(st.integers(1, 6), max_size=4), st.integers(1, 60))
def test_the_pieces_of_a_tensor_are_the_whole_in_order(shape: list[int], most: int) -> None:
    found = list(split_pieces(tuple(shape), most))
    assert found[0][0] == 0
    assert found[-1][1] == np.prod(shape)
    assert all(before[1] == after[0] for before, after in pairwise(found))
    assert all(stop - start == np.prod(part) for start, stop, part in found)
    assert all(start == number * found[0][1] for number, (start, _, _) in enumerate(found))
    assert max(stop - start for start, stop, _ in found) <= most


def test_statistics_of_numbers_equal_those_of_the_twin() -> None:
    values = strange(20, 30).reshape(-1)[:599]
    words, kind, shape = words_of(values, "float32")
    design = numbers.NumericParams(kind, View(1, 599, 1), 120)
    finite = np.isfinite(values)
    seen = np.empty(599, np.int16)
    kernel.scale(words, design.for_kernel(), seen)
    assert seen[finite].tolist() == twin.scaled(values[finite].astype(np.float64), 120, 127)
    counts, zeros = np.zeros((256, 24), np.int64), np.empty(1, np.uint8)
    kernel.look(words, design.for_kernel(), 599, counts, zeros)
    assert {(int(e), int(t)): int(counts[e, t]) for e, t in np.argwhere(counts)} == twin.counts(words.tolist(), 8, 23)
    assert shape == (599,)
