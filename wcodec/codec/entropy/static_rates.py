"""Rates of the static coder: the cost in bits of any level of a tensor, which a quantiser adds to the error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wcodec.codec.entropy.static_fit import prices_of
from wcodec.codec.entropy.static_model import Codes, Scales, Tables
from wcodec.kernels.context.coder import STATE_COUNT
from wcodec.model.dataclass import dataclass

_PRICED = 32
"""The number of magnitudes with their own price in the trellis' kernel; larger ones have the price of the last."""


@dataclass(frozen=True)
class LaneRates:
    """Prices of every level in every class, in bits times a rate, laid out as those of contexts are (`RateTables`).

    classes: uint8, of scales 0, 1, ...; bits: float32[estimators, 2]; sizes: float32[contexts, 32].
    """

    scales: Scales
    classes: Codes
    bits: npt.NDArray[np.float32]
    sizes: npt.NDArray[np.float32]


def rates_of(scales: Scales, tables: Tables, rate: float) -> LaneRates:
    """The prices of the tables, times a rate, in the form of the trellis; the classes of weights are its contexts."""
    prices = prices_of(tables).reshape(tables.classes, 128, 2)[:, :_PRICED].transpose(0, 2, 1) / 256.0
    bits = np.zeros((STATE_COUNT, 2), np.float32)
    sizes = np.zeros((64, 5, 2, _PRICED), np.float32)
    zero = np.zeros((64, 8, 2, 2), np.float32)
    zero[: tables.classes, 0, :, 0] = prices[:, :, 0]
    bits[: zero.size // 2] = zero.reshape(-1, 2)
    sizes[: tables.classes, 2, :, 1:] = prices[:, :, 1:] - 1
    width = np.zeros((1024, _PRICED), np.float32)
    width[:640] = sizes.reshape(640, _PRICED)
    classes = tables.class_of_scale(scales.largest + 1)
    return LaneRates(scales, classes, bits * np.float32(rate), width * np.float32(rate))


def no_rates(shape: tuple[int, ...]) -> LaneRates:
    """Those of a quantiser that does not ask for them, of weights[rows, channels, taps]."""
    rows, channels, taps = (np.zeros(n, np.uint8) for n in shape)
    bits, sizes = np.zeros((STATE_COUNT, 2), np.float32), np.zeros((1024, _PRICED), np.float32)
    return LaneRates(Scales(rows, channels, taps), np.zeros(1, np.uint8), bits, sizes)
