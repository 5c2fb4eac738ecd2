"""The kernel and a slow decoder, written from the specification, decode the same levels."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import pairs_of
from hypothesis import given
from hypothesis import strategies as st
from twins import context as twin

from wcodec.codec.entropy import context
from wcodec.codec.entropy.context_params import OFFSET, ContextParams, encode_levels, pack

RNG = np.random.default_rng(11)


def smooth(rows: int, columns: int, scale: float) -> np.ndarray:
    walk = np.cumsum(RNG.normal(size=(rows, columns)), axis=1)
    return np.rint((walk - walk.mean()) * scale).astype(np.int32)[:, :, None]


def random(shape: tuple[int, int, int], scale: float) -> np.ndarray:
    return np.rint(RNG.laplace(size=shape) * scale * np.linspace(2, 0.2, shape[2])).astype(np.int32)


CASES = {
    "dense": random((40, 120, 1), 2),
    "long columns": random((300, 12, 1), 1),
    "long rows": random((2, 700, 1), 3),
    "high": random((20, 60, 1), 90),
    "vector": random((1, 400, 1), 5000) + 40000,
    "sparse": random((60, 80, 1), 3) * (RNG.random((60, 80, 1)) < 0.1) * (RNG.random((60, 1, 1)) < 0.7),
    "kernels": random((24, 20, 9), 2),
    "fitted kernels": random((60, 50, 9), 1.5),
    "sparse kernels": random((40, 30, 9), 0.2),
    "huge kernels": random((3, 2, 70), 1),
    "predicted": smooth(40, 150, 1),
    "predicted and sparse": smooth(40, 150, 0.1),
    "sixteen digits": random((30, 10, 1), 1e7),
}


@pytest.mark.parametrize(("name", "states"), pairs_of(CASES, [0, 4, 8, 128]))
def test_the_twin_decodes_the_payload_of_the_encoder(name: str, states: int) -> None:
    levels = CASES[name].astype(np.int32)
    for effort in ("fast", "normal"):
        payload = context.encode(levels, states, effort)
        assert twin.decode(payload, levels.shape, states) == levels.reshape(-1).tolist()


@given(
    st.integers(1, 6),
    st.integers(1, 12),
    st.sampled_from([1, 2, 9]),
    st.sampled_from([0, 4, 8, 128]),
    st.booleans(),
    st.integers(0, 60),
    st.integers(0, 2),
    st.integers(0, 2**32 - 1),
    st.floats(0.1, 50),
)
def test_the_twin_decodes_any_parameters(
    rows: int, channels: int, taps: int, states: int, sparse: bool, start: int, predictor: int, seed: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    levels = np.rint(rng.laplace(size=(rows, channels, taps)) * scale).astype(np.int32)
    weights = rng.integers(0, 256, (int(rng.choice([1, taps])), 13)).astype(np.int32) if seed % 2 else None
    design = ContextParams(sparse, min(start, 48) if sparse else start, weights, near=(int(rng.integers(1, 257)), 3))
    if weights is None:
        design = ContextParams(sparse, design.start)
    if predictor == 1 and taps == 1:
        design = ContextParams(
            sparse,
            design.start,
            weights,
            design.near,
            1,
            0,
            (0, 1, 2),
            (int(rng.integers(1, 20)), int(rng.integers(-9, 9)), 0),
            rng.integers(-127, 128, 3).astype(np.int32),
        )
    elif predictor == 2:
        design = ContextParams(sparse, design.start, weights, design.near, OFFSET, int(rng.integers(-300, 300)))
    payload = pack(design, levels.shape) + encode_levels(levels, design, states)[0]
    assert twin.decode(payload, levels.shape, states) == levels.reshape(-1).tolist()
    assert np.array_equal(context.decode(payload, levels.shape, states), levels)
