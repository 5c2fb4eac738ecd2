"""The static coder: kernel and twin decode encoded levels; damaged payloads are refused."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins import static as twin
from twins.trellis import reconstruct

from wcodec.codec.entropy import static
from wcodec.codec.entropy.static_fit import fit_scales, tables_of
from wcodec.codec.quantizers.trellis import quantize_in_lanes
from wcodec.container.wire import MAX_LEVEL
from wcodec.errors import ContainerError
from wcodec.kernels.static import fit as fit_kernel
from wcodec.kernels.static import tables as kernel

RNG = np.random.default_rng(5)


def draw_scaled(shape: tuple[int, int, int], scale: float) -> np.ndarray:
    """Levels whose scale differs by row, by channel and by tap."""
    rows, channels, taps = shape
    scales = scale * 2.0 ** RNG.normal(size=(rows, 1, 1)) * 2.0 ** RNG.normal(size=(1, channels, 1))
    return np.rint(RNG.laplace(size=shape) * scales * np.linspace(2, 0.2, taps)).astype(np.int32)


CASES = {
    "matrix": draw_scaled((40, 60, 1), 2),
    "kernels": draw_scaled((24, 20, 9), 1.5),
    "rows that are no multiple of lanes": draw_scaled((19, 33, 1), 1),
    "fewer rows than lanes": draw_scaled((3, 70, 1), 1),
    "a vector": draw_scaled((1, 300, 1), 3),
    "one level": np.full((1, 1, 1), -3, np.int32),
    "one level a row": draw_scaled((50, 1, 1), 9),
    "large": draw_scaled((20, 30, 1), 300),
    "outliers": draw_scaled((20, 30, 1), 1) + (RNG.random((20, 30, 1)) < 0.02) * np.int32(MAX_LEVEL - 99),
    "zeros": np.zeros((9, 5, 1), np.int32),
    "nothing": np.zeros((0, 5, 1), np.int32),
    "sparse": draw_scaled((30, 50, 1), 2) * (RNG.random((30, 50, 1)) < 0.1),
    "constant": np.full((12, 11, 4), 5, np.int32),
    "more taps than others can have": draw_scaled((9, 2, 100), 2),
}


@pytest.mark.parametrize("states", [0, 4, 8, 128])
@pytest.mark.parametrize("name", CASES)
def test_levels_are_decoded_as_the_integers_that_they_represent(name: str, states: int) -> None:
    levels = CASES[name].astype(np.int32)
    values = static.values_of(levels, states)
    for effort in ("fast", "normal"):
        payload = static.encode(levels, states, effort)
        assert np.array_equal(static.decode(payload, levels.shape, states), values)
        assert np.array_equal(static.decode(payload, levels.shape, states, wide=False), values)
        assert twin.decode(payload, levels.shape, states) == values.reshape(-1).tolist()


@pytest.mark.parametrize("states", [0, 4, 8, 128])
def test_every_lane_has_its_own_trellis_path(states: int) -> None:
    levels = CASES["rows that are no multiple of lanes"]
    bounds = [i * len(levels) // 8 for i in range(9)]
    lanes = [levels[a:b].reshape(-1).tolist() for a, b in pairwise(bounds)]
    expected = [value for lane in lanes for value in (reconstruct(lane, states) if states else lane)]
    assert static.values_of(levels, states).reshape(-1).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 9), st.sampled_from([1, 2, 9])),
    st.sampled_from([0, 4, 8, 128]),
    st.sampled_from([1, 3, 40, 1000, MAX_LEVEL]),
    st.integers(0, 1000),
)
def test_any_levels_are_decoded_by_the_static_coder(
    shape: tuple[int, int, int], states: int, most: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    levels = (rng.integers(-most, most + 1, shape) * (rng.random(shape) < rng.random())).astype(np.int32)
    payload = static.encode(levels, states)
    assert np.array_equal(static.decode(payload, shape, states), static.values_of(levels, states))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 63), min_size=1, max_size=24), min_size=1, max_size=6))
def test_the_frequencies_of_any_hazards_have_the_sum_of_a_table(hazards: list[list[int]]) -> None:
    groups = np.array([len(own) for own in hazards], np.uint8)
    flat = np.array([hazard for own in hazards for hazard in own], np.uint8)
    found = np.empty((len(groups), 256), np.uint16)
    kernel.fill_frequencies(groups, flat, found)
    for own, frequencies in zip(hazards, found, strict=True):
        expected = twin.frequencies(own)
        assert frequencies[0] == expected.pop(None)
        assert {level: n for level, n in enumerate(frequencies[1:].tolist(), -127) if n} == expected
    differences, back = np.empty(len(flat), np.uint32), np.empty(len(flat), np.uint8)
    kernel.turn_differences(groups, 1, flat, differences)
    assert kernel.add_differences(groups, 1, differences, back)
    assert np.array_equal(back, flat)


def decode_or_none(payload: bytes, shape: tuple[int, int, int], states: int, wide: bool) -> np.ndarray | None:
    try:
        return static.decode(payload, shape, states, wide)
    except ContainerError:
        return None


@pytest.mark.parametrize("states", [0, 8, 128])
def test_a_damaged_payload_is_refused_or_gives_other_levels(states: int) -> None:
    levels = CASES["outliers"]
    payload = static.encode(levels, states)
    rng = np.random.default_rng(1)
    for _ in range(600):
        damaged = bytearray(payload)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(len(damaged) if rng.random() < 0.5 else 120)] = rng.integers(256)
        if rng.random() < 0.2:
            damaged = damaged[: rng.integers(len(damaged))]
        found = [decode_or_none(bytes(damaged), levels.shape, states, wide) for wide in (True, False)]
        assert (found[0] is None) == (found[1] is None)
        assert found[0] is None or np.array_equal(*found)


def test_a_truncated_or_extended_payload_is_refused() -> None:
    levels = CASES["matrix"]
    payload = static.encode(levels)
    for size in range(1, len(payload)):
        with pytest.raises(ContainerError):
            static.decode(payload[:size], levels.shape, 0)
    for more in (b"\0", b"\0\0", b"\1\2"):
        with pytest.raises(ContainerError):
            static.decode(payload + more, levels.shape, 0)
    with pytest.raises(ContainerError):
        static.decode(b"\1", (0, 5, 1), 0)


def test_scales_save_bytes_over_one_table_for_all_levels() -> None:
    levels = draw_scaled((400, 300, 1), 3)
    scales, tables = fit_scales(levels, 0)
    assert tables.classes > 8
    flat = np.abs(levels).reshape(-1)
    held = np.bincount(np.minimum(flat, 127))
    entropy = -(held[held > 0] * np.log2(held[held > 0] / flat.size)).sum() + np.count_nonzero(flat)
    assert len(static.encode(levels)) < 0.95 * entropy / 8
    codes = np.empty((400, 300), np.uint8)
    fit_kernel.fill_codes(levels.reshape(400, 300), 0, codes)
    assert tables_of(codes, scales, 0).classes == tables.classes


def test_the_trellis_of_lanes_has_a_lower_cost_than_rounding() -> None:
    values = (RNG.laplace(size=(200, 300, 1)) * 4 * 2.0 ** RNG.normal(size=(200, 1, 1))).astype(np.float32)
    costs = []
    for states, rate in ((0, 0.0), (0, 0.2), (128, 0.2)):
        part = values if not states else values / np.float32(0.617)
        levels = quantize_in_lanes(part, states, rate / (0.617**2 if states else 1), 3)
        error = float(((part - static.values_of(levels, states)) ** 2).sum()) * (0.617**2 if states else 1)
        costs.append(error + 0.2 * 8 * len(static.encode(levels, states)))
    assert costs == sorted(costs, reverse=True)
