"""The trellis chooses levels with a smaller sum of error and bits than rounding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from twins import trellis as twin

from wcodec.codec.entropy import context
from wcodec.codec.entropy.context_params import ContextTrace, encode_levels
from wcodec.codec.entropy.context_rates import measure_rates
from wcodec.codec.entropy.context_search import plain_params
from wcodec.codec.quantizers import trellis
from wcodec.codec.quantizers.states import reconstruct
from wcodec.kernels.context.coder import SIGN_AT, SIZE_AT, SPARSE_SIGN_AT, SPARSE_SIZE_AT, STATE_COUNT

RNG = np.random.default_rng(3)
GAUSSIAN = RNG.normal(size=(120, 250, 1)).astype(np.float32)


def gap(step: float, states: trellis.States, rate: float, passes: int = 2) -> float:
    """Bits a weight, less the rate-distortion bound of a Gaussian source for the measured error."""
    levels = trellis.quantize(GAUSSIAN / np.float32(step), states, rate, passes)
    error = float(np.mean((reconstruct(levels, states) * step - GAUSSIAN) ** 2))
    return len(context.encode(levels, states)) * 8 / levels.size + 0.5 * np.log2(error)


def test_one_state_without_a_rate_equals_rounding() -> None:
    assert np.array_equal(trellis.quantize(GAUSSIAN * 7, 0), np.rint(GAUSSIAN * 7))


def test_more_states_are_closer_to_the_rate_distortion_bound() -> None:
    scalar, four, eight, most = gap(0.1, 0, 0.0), gap(0.062, 4, 0.0), gap(0.062, 8, 0.0), gap(0.062, 128, 0.0)
    assert scalar > 0.25
    assert four < scalar - 0.11
    assert eight < four
    assert most < eight - 0.03


@pytest.mark.parametrize("states", [0, 4, 8, 128])
def test_prices_of_bits_lower_the_cost_at_low_rates(states: trellis.States) -> None:
    assert gap(1.5, states, 0.15) < gap(1.5, states, 0.0) - 0.02


@pytest.mark.parametrize("scale", [0.3, 3.0, 300.0])
def test_prices_of_few_estimators_equal_those_of_all(scale: float) -> None:
    """A price is computed only for estimators that changed. A single level changes few; the others start equal."""
    levels = np.rint(np.random.default_rng(0).laplace(0, scale, (40, 30, 1))).astype(np.int32)
    params = plain_params(levels)
    found = measure_rates(levels, 128, params, 0.25)
    learnt = np.empty(STATE_COUNT, np.uint32)
    encode_levels(levels, params, 128, ContextTrace(learnt=learnt))
    ones = (learnt >> np.uint32(10)) / 4194304.0
    bits = np.round(np.stack((-np.log2(1 - ones), -np.log2(ones)), 1) * 4096) / 4096 * 0.25
    np.testing.assert_array_equal(found.bits, bits.astype(np.float32))
    every = np.concatenate((ones[SIZE_AT:SIGN_AT], ones[SPARSE_SIZE_AT:SPARSE_SIGN_AT])).reshape(-1, 16)
    larger, not_larger = -np.log2(every), -np.log2(1 - every)
    for magnitude in (1, 2, 13, 14, 20):
        price = larger[:, : min(13, magnitude - 1)].sum(1)
        price += not_larger[:, magnitude - 1] if magnitude < 14 else 1 + 2 * np.floor(np.log2(magnitude - 13))
        np.testing.assert_allclose(found.sizes[:, magnitude], price * 0.25, atol=1e-4)


def test_initial_prices_suffice_for_few_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, 4, (12, 20, 1)).astype(np.float32) for _ in range(20)]

    def cost() -> float:
        """Bits a weight at the same error; a factor of four in the error is worth one bit."""
        levels = [trellis.quantize(part, 128, 0.25) for part in parts]
        error = sum(
            float(np.square(reconstruct(own, 128) - part).sum()) for own, part in zip(levels, parts, strict=True)
        )
        return 8 * sum(len(context.encode(own, 128)) for own in levels) / (20 * 240) + 0.5 * np.log2(error)

    few = cost()
    monkeypatch.setattr(trellis, "FEW", 0)
    assert few < 1.003 * cost()


def test_prices_of_the_first_rows_suffice_for_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few of many weights suffice; at low rates a second update of the prices saves a twentieth of a bit."""
    monkeypatch.setattr(trellis, "LEARN", GAUSSIAN.size)
    every, once = gap(1.0, 128, 0.25, 3), gap(1.0, 128, 0.25, 1)
    monkeypatch.setattr(trellis, "LEARN", GAUSSIAN.size // 3)
    assert gap(1.0, 128, 0.25, 3) < every + 0.01 < once - 0.03


@pytest.mark.parametrize("states", [4, 8, 128])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_values_are_within_two_steps_of_the_reconstruction(states: trellis.States, rate: float) -> None:
    values = (GAUSSIAN * 20).astype(np.float32)
    kept = reconstruct(trellis.quantize(values, states, rate), states)
    assert np.abs(kept - values).max() <= 6
    assert np.sqrt(np.mean((kept - values) ** 2)) < 0.6


@given(
    hnp.arrays(
        np.float32, st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 9)), elements=st.floats(width=32)
    ),
    st.sampled_from([0, 4, 8, 128]),
    st.sampled_from([0.0, 0.2]),
)
def test_any_values_give_levels_within_the_range_of_the_coder(
    values: np.ndarray, states: trellis.States, rate: float
) -> None:
    levels = trellis.quantize(values, states, rate)
    assert levels.shape == values.shape
    assert levels.dtype == np.int32
    assert np.array_equal(context.decode(context.encode(levels, states), levels.shape, states), levels)


@given(hnp.arrays(np.int32, st.integers(0, 60), elements=st.integers(-9, 9)), st.sampled_from([4, 8, 128]))
def test_reconstruction_equals_that_of_the_twin(levels: np.ndarray, states: trellis.States) -> None:
    assert reconstruct(levels.reshape(1, -1, 1), states).reshape(-1).tolist() == twin.reconstruct(
        levels.tolist(), states
    )


@pytest.mark.parametrize("states", [4, 8, 128])
def test_the_path_has_the_least_cost_of_all_paths(states: trellis.States) -> None:
    values = (RNG.normal(size=7) * 3).astype(np.float32)
    kept = reconstruct(trellis.quantize(values.reshape(1, -1, 1), states), states).reshape(-1)
    assert np.sum((kept - values) ** 2) == pytest.approx(twin.least_error(values.tolist(), states), rel=1e-5)


@pytest.mark.parametrize("sizes", [(1, 1), (1, 63), (1, 64), (1, 65), (5, 129)])
def test_avx2_and_plain_steps_choose_the_same_levels(sizes: tuple[int, int]) -> None:
    values = (RNG.laplace(size=sizes).reshape(-1) * 4).astype(np.float32)
    free = trellis._make_zero_rates(values.size)
    prices = RNG.random(free.sizes.shape).astype(np.float32) * 3
    contexts = RNG.integers(0, 64, (values.size, 2)).astype(np.uint16)
    found = []
    for wide in (True, False):
        levels = np.empty(values.size, np.int32)
        tables = free.predictions, free.bits, prices, free.slopes
        trellis.kernel.choose(values, 128, 0.3, False, False, contexts, *tables, levels, wide)
        found.append(levels)
    assert np.array_equal(*found)


@pytest.mark.parametrize("states", [0, 4, 8, 128])
@pytest.mark.parametrize("by", [trellis.quantize, trellis.quantize_in_lanes])
@pytest.mark.parametrize("zeros", [0.5, 0.9])
def test_kept_zeros_hardly_increase_the_error(
    states: trellis.States, by: Callable[..., trellis.Levels], zeros: float
) -> None:
    rng = np.random.default_rng(7)
    values = (3 * rng.standard_t(4, size=(400, 40, 1))).astype(np.float32)
    values[rng.random(values.shape) < zeros] = 0
    free, kept = (reconstruct(by(values, states, 0.25, 3, keep), states) for keep in (False, True))
    assert not kept[values == 0].any()
    assert np.square(kept - values).mean() < 1.05 * np.square(free - values).mean()
    assert np.count_nonzero(kept) <= np.count_nonzero(values)


def test_zeros_are_kept_with_predictions() -> None:
    """The prediction of a zero may be another level, which the trellis must not choose."""
    rng, count = np.random.default_rng(1), 3000
    values = rng.normal(0, 4, count).astype(np.float32)
    values[::3] = 0
    contexts, bits = np.zeros((count, 2), np.uint16), rng.uniform(0, 1, (STATE_COUNT, 2)).astype(np.float32)
    predictions = (256 * rng.normal(0, 4, count)).astype(np.int32)
    tables = bits, rng.uniform(0, 1, (1024, 32)).astype(np.float32), np.zeros(64, np.float32)
    for states in (0, 4, 8, 128):
        levels = np.empty(count, np.int32)
        for zeros in (False, True):
            trellis.kernel.choose(values, states, 0.3, False, True, contexts, predictions, *tables, levels, zeros=zeros)
            assert bool(levels[::3].any()) != zeros


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("states", [0, 4, 8, 128])
def test_avx2_and_plain_steps_choose_the_same_levels_of_lanes(states: trellis.States, zeros: bool) -> None:
    rng = np.random.default_rng(7)
    for rows, columns, scale in ((19, 33, 3), (3, 70, 0.4), (40, 64, 30000), (11, 1, 2)):
        values = (rng.laplace(0, scale, (rows, columns)) * (rng.random((rows, columns)) < 0.9)).astype(np.float32)
        own, across = rng.integers(0, 20, rows).astype(np.uint8), rng.integers(0, 20, columns).astype(np.uint16)
        classes = np.sort(rng.integers(0, 64, 39)).astype(np.uint8)
        bits, sizes = rng.random((STATE_COUNT, 2), np.float32), rng.random((1024, 32), np.float32).cumsum(1)
        found = []
        for wide in (True, False):
            levels = np.empty((rows, columns), np.int32)
            trellis.kernel.choose_in_lanes(
                values, states, 0.3, own, across, classes, bits, sizes, levels, wide=wide, zeros=zeros
            )
            found.append(levels)
        assert np.array_equal(*found)
        assert not zeros or states or not found[0][values == 0].any()


def test_every_lane_is_searched_separately() -> None:
    """The levels equal those of `choose` for one lane after another, with explicit contexts."""
    rng = np.random.default_rng(8)
    values = rng.laplace(0, 4, (19, 30)).astype(np.float32)
    own, across = rng.integers(0, 9, 19).astype(np.uint8), rng.integers(0, 9, 30).astype(np.uint16)
    classes = np.sort(rng.integers(0, 30, 17)).astype(np.uint8)
    bits, sizes = rng.random((STATE_COUNT, 2), np.float32), rng.random((1024, 32), np.float32).cumsum(1)
    together, apart = np.empty((19, 30), np.int32), np.empty((19, 30), np.int32)
    trellis.kernel.choose_in_lanes(values, 128, 0.3, own, across, classes, bits, sizes, together)
    contexts = classes[own[:, None] + across[None]].astype(np.uint16)
    none, slopes = np.zeros(0, np.int32), np.zeros(64, np.float32)
    for lane in range(8):
        part = slice(19 * lane // 8, 19 * (lane + 1) // 8)
        pairs = np.ascontiguousarray(np.stack((contexts[part], contexts[part]), 2).reshape(-1, 2))
        flat = apart[part].reshape(-1)
        trellis.kernel.choose(values[part].reshape(-1), 128, 0.3, False, False, pairs, none, bits, sizes, slopes, flat)
    assert np.array_equal(together, apart)
