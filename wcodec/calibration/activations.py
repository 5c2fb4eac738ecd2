"""The inputs that the kernels of a layer multiply (rows), recorded by hooks while the network runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wcodec.calibration.config import CalibrationConfig
from wcodec.calibration.linear_ops import LinearOp
from wcodec.evaluation.examples import Array, Batches
from wcodec.evaluation.keras_backend import Arguments
from wcodec.evaluation.runner import Network, as_runner

if TYPE_CHECKING:
    from keras import Layer


Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Rows = tuple[Float32, ...]
"""For each linear operation of a layer, the rows float32[rows, inputs] that its kernel multiplies."""


class _AllRecorded(BaseException):
    """Ends a run of the network after the last recorded call. Not an error."""


@dataclass(frozen=True)
class RecordedLayer:
    """A layer to record. calls: its number of calls for a batch; batches: the number of batches that it needs."""

    layer: Layer
    ops: Sequence[LinearOp]
    calls: int
    batches: int

    def rows_per_call(self, batches: int, config: CalibrationConfig) -> int:
        """The rows to keep of each call, so that all batches together give enough."""
        most = min(config.max_rows, config.max_elements // max(op.inputs for op in self.ops))
        return max(1, most // (min(self.batches, batches) * self.calls))


def record_rows(
    model: Network, one: RecordedLayer, batches: Batches, seed: int, config: CalibrationConfig
) -> Iterator[Rows]:
    """The rows of one layer, batch by batch. `seed` draws the same rows for any weights."""
    for number, batch in enumerate(batches[: one.batches]):
        yield _run(model, [one], batch, number, len(batches), seed, config)[0]


def record_all_rows(
    model: Network,
    layers: Sequence[RecordedLayer],
    batches: Batches,
    seed: int,
    most: int,
    config: CalibrationConfig,
) -> list[list[Rows]]:
    """The rows of all these layers from one run for each batch.

    The last layers are left out if `most` bytes are exceeded.
    """
    found: list[list[Rows]] = [[] for _ in layers]
    room = most
    for number, batch in enumerate(batches):
        needed = [(one, kept) for one, kept in zip(layers, found, strict=False) if number < one.batches]
        if not needed:
            break
        recorded = _run(model, [one for one, _ in needed], batch, number, len(batches), seed, config)
        for (_, kept), rows in zip(needed, recorded, strict=True):
            kept.append(rows)
            room -= sum(array.nbytes for array in rows)
        while room < 0:
            room += sum(array.nbytes for arrays in found.pop() for array in arrays)
    return found


def _run(
    model: Network,
    layers: Sequence[RecordedLayer],
    batch: tuple[Array, ...],
    number: int,
    batches: int,
    seed: int,
    config: CalibrationConfig,
) -> list[Rows]:
    """The rows of one batch. number: the position of the batch."""
    found: list[list[list[Float32]]] = [[[] for _ in one.ops] for one in layers]
    left = [sum(one.calls for one in layers)]
    rngs = [np.random.default_rng((seed, number)) for _ in layers]

    def record(which: int, given: Arguments) -> None:
        """Record one call of a layer; after the last expected call the run ends."""
        one = layers[which]
        for op, rows in zip(one.ops, found[which], strict=True):
            rows.append(op.input_rows(given, one.rows_per_call(batches, config), rngs[which]))
        left[0] -= 1
        if left[0] == 0:
            raise _AllRecorded

    with suppress(_AllRecorded):
        as_runner(model).activations([one.layer for one in layers], batch, record)
    return [tuple(np.concatenate(parts) for parts in rows) for rows in found]


def count_calls(model: Network, layers: Sequence[Layer], batch: tuple[Array, ...]) -> list[int]:
    """The number of calls of each layer for a batch: more than one for shared layers, and for steps of a sequence."""
    counts = [0] * len(layers)

    def count(number: int, given: Arguments) -> None:
        counts[number] += 1

    as_runner(model).activations(layers, batch, count)
    return counts
