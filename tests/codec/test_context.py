"""The context coder decodes every array of levels, takes about its entropy, and refuses damaged payloads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wcodec.codec.entropy import context
from wcodec.container.wire import MAX_LEVEL
from wcodec.errors import ContainerError, CorruptError, TruncatedError

RNG = np.random.default_rng(7)


def laplacian(shape: tuple[int, int, int], scale: float) -> np.ndarray:
    return np.rint(RNG.laplace(size=shape) * scale).astype(np.int32)


def image_like() -> np.ndarray:
    smooth = np.cumsum(RNG.normal(size=(40, 200)), axis=1)
    return np.rint(smooth - smooth.mean()).astype(np.int32)[:, :, None]


def with_one(shape: tuple[int, int, int], value: int) -> np.ndarray:
    levels = np.zeros(shape, np.int32)
    levels[shape[0] // 2, shape[1] // 2, shape[2] // 2] = value
    return levels


CASES = {
    "all zero": np.zeros((300, 784, 1), np.int32),
    "one non-zero": with_one((300, 784, 1), -1),
    "one of the largest": with_one((5, 7, 9), MAX_LEVEL),
    "all of the largest": np.full((4, 5, 1), -MAX_LEVEL, np.int32),
    "largest of both signs": (np.indices((30, 9)).sum(0) % 2 * 2 - 1).astype(np.int32)[:, :, None] * MAX_LEVEL,
    "alternating": (np.indices((50, 60)).sum(0) % 2 * 2 - 1).astype(np.int32)[:, :, None],
    "constant": np.full((64, 64, 1), 1000, np.int32),
    "one by one": np.array([[[5]]], np.int32),
    "a row": laplacian((1, 999, 1), 300),
    "a column": laplacian((999, 1, 1), 3),
    "no rows": np.zeros((0, 3, 1), np.int32),
    "no channels": np.zeros((3, 0, 9), np.int32),
    "low rate": laplacian((200, 300, 1), 0.2),
    "sparse": laplacian((200, 300, 1), 5) * (RNG.random((200, 300, 1)) < 0.05),
    "dense": laplacian((100, 150, 1), 3),
    "high rate": laplacian((100, 150, 1), 4000),
    "kernels": laplacian((60, 40, 9), 2) * np.arange(9, 0, -1),
    "large kernels": laplacian((8, 4, 49), 2),
    "huge kernels": laplacian((3, 4, 121), 2),
    "image-like": image_like(),
    "wide range": np.rint(np.exp(RNG.normal(size=(1, 500, 1)) * 4) * 10).clip(0, MAX_LEVEL).astype(np.int32),
}


@pytest.mark.parametrize("states", [0, 4, 8, 128])
@pytest.mark.parametrize("effort", ["fast", "normal", "best"])
@pytest.mark.parametrize("name", CASES)
def test_decoded_levels_equal_the_encoded_ones(name: str, effort: context.Effort, states: int) -> None:
    levels = CASES[name].astype(np.int32)
    payload = context.encode(levels, states, effort)
    assert np.array_equal(context.decode(payload, levels.shape, states), levels)


@given(
    hnp.arrays(
        np.int32,
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 10)),
        elements=st.integers(-MAX_LEVEL, MAX_LEVEL) | st.integers(-3, 3),
    ),
    st.sampled_from([0, 4, 8, 128]),
)
def test_any_levels_are_decoded(levels: np.ndarray, states: int) -> None:
    assert np.array_equal(context.decode(context.encode(levels, states), levels.shape, states), levels)


def test_zeros_take_no_bytes_and_one_level_takes_a_few() -> None:
    assert context.encode(CASES["all zero"]) == b""
    assert len(context.encode(CASES["one non-zero"])) <= 12


@pytest.mark.parametrize("scale", [0.3, 3.0, 300.0])
def test_identically_distributed_levels_take_their_entropy(scale: float) -> None:
    levels = laplacian((400, 500, 1), scale)
    _, counts = np.unique(levels, return_counts=True)
    entropy = -(counts * np.log2(counts / levels.size)).sum() / 8
    assert len(context.encode(levels)) <= entropy * 1.005 + 40


@pytest.mark.parametrize("scale", [100.0, 10000.0])
def test_a_bias_vector_takes_little_more_than_its_ideal_code(scale: float) -> None:
    levels = np.rint(RNG.normal(size=(1, 64, 1)) * scale).astype(np.int32)
    assert len(context.encode(levels)) * 8 <= 64 * (np.log2(scale) + 2.05) + 80


def test_prediction_from_neighbours_saves_bytes_for_smooth_rows() -> None:
    levels = image_like()
    shuffled = np.random.default_rng(1).permutation(levels.reshape(-1)).reshape(levels.shape)
    assert len(context.encode(levels)) < 0.6 * len(context.encode(shuffled))


@pytest.mark.parametrize("name", ["sparse", "kernels", "image-like", "one by one", "a row"])
def test_an_extended_payload_is_refused_and_a_truncated_one_gives_other_levels(name: str) -> None:
    # A truncated payload may decode to other levels. The checksum of the container detects it.
    levels = CASES[name].astype(np.int32)
    payload = context.encode(levels)
    for end in {0, 1, 2, 3, 5, len(payload) // 2, len(payload) - 9, len(payload) - 1} & set(range(len(payload))):
        try:
            short = context.decode(payload[:end], levels.shape)
        except ContainerError:
            continue
        assert not np.array_equal(short, levels), f"{end} of {len(payload)} bytes decoded alike"
    for more in (b"\0", b"\1", b"\xff" * 9):
        with pytest.raises(ContainerError):
            context.decode(payload + more, levels.shape)


@given(
    st.binary(min_size=1, max_size=80),
    st.sampled_from([(3, 5, 1), (40, 30, 1), (6, 5, 9), (1, 300, 1)]),
    st.sampled_from([0, 8]),
)
def test_arbitrary_payloads_are_decoded_or_refused(payload: bytes, shape: tuple[int, int, int], states: int) -> None:
    try:
        levels = context.decode(payload, shape, states)
    except ContainerError:
        return
    assert levels.shape == shape
    assert np.abs(levels.astype(np.int64)).max() <= MAX_LEVEL


def test_an_empty_stream_after_the_header_is_a_truncation_error() -> None:
    payload = context.encode(CASES["dense"].astype(np.int32))
    with pytest.raises(TruncatedError, match="ended early"):
        context.decode(payload[:20], (100, 150, 1))
    with pytest.raises(CorruptError, match="no bytes"):
        context.decode(payload, (0, 150, 1))
