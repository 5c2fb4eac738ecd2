"""What the static coder would pay for any level of a tensor: the rates that a quantiser weighs against the error."""

from __future__ import annotations

import numpy as np

from wcodec.codec.entropy.context_rates import RateTables
from wcodec.codec.entropy.static_fit import prices_of
from wcodec.codec.entropy.static_model import Scales, Tables
from wcodec.kernels.context.coder import STATE_COUNT

_PRICED = 32
"""Magnitudes that the trellis' kernel has prices for; all above cost what the last of them does."""


def rates_of(scales: Scales, tables: Tables, rate: float) -> RateTables:
    """The prices of the tables, times a rate, as the trellis wants them; classes of all weights as their contexts."""
    prices = prices_of(tables).reshape(tables.classes, 128, 2)[:, :_PRICED].transpose(0, 2, 1) / 256.0
    bits = np.zeros((STATE_COUNT, 2), np.float32)
    sizes = np.zeros((64, 5, 2, _PRICED), np.float32)
    zero = np.zeros((64, 8, 2, 2), np.float32)
    zero[: tables.classes, 0, :, 0] = prices[:, :, 0]
    bits[: zero.size // 2] = zero.reshape(-1, 2)
    sizes[: tables.classes, 2, :, 1:] = prices[:, :, 1:] - 1
    width = np.zeros((1024, _PRICED), np.float32)
    width[:640] = sizes.reshape(640, _PRICED)
    classes = tables.class_of_scale(scales.largest + 1).astype(np.uint16)
    contexts = classes[scales.rows[:, None].astype(np.uint16) + scales.columns[None]]
    pairs = np.stack((contexts, contexts), 2)
    return RateTables(
        False,
        pairs.reshape(-1, 2),
        np.zeros(0, np.int32),
        bits * np.float32(rate),
        width * np.float32(rate),
        np.zeros(64, np.float32),
    )
