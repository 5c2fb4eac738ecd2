"""The time that a network takes, measured on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.evaluation.examples import Array
from wcodec.evaluation.keras_backend import pack_inputs, silence_keras

if TYPE_CHECKING:
    from keras import Model

BATCHES: Final = (1, 256)
"""Batch sizes."""
RUNS: Final = 200
SECONDS: Final = 1.0
"""The largest number of seconds of a measurement, unless three runs take longer."""


def seconds_of(models: Sequence[Model], batch: int) -> list[float]:
    """Seconds of `predict_on_batch` for zeros: for each network the minimum of several runs, which alternate.

    Axes of unknown length are 32 long.
    """
    inputs = [pack_inputs(model, _make_zeros(model, batch)) for model in models]
    best, began = [float("inf")] * len(models), time.perf_counter()
    with silence_keras():
        for run in range(RUNS):
            for number, (model, given) in enumerate(zip(models, inputs, strict=True)):
                model.jit_compile = False
                start = time.perf_counter()
                model.predict_on_batch(given)
                best[number] = min(best[number], time.perf_counter() - start)
            if run > 1 and time.perf_counter() - began > SECONDS:
                break
    return best


def _make_zeros(model: Model, batch: int) -> tuple[Array, ...]:
    shapes = [(batch, *(size or 32 for size in x.shape[1:])) for x in model.inputs]
    return tuple(np.zeros(shape, str(x.dtype)) for shape, x in zip(shapes, model.inputs, strict=True))
