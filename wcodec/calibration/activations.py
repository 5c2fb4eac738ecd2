"""Second moments of what a layer's kernels meet, watched while the network runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.hooks import intercept_calls
from wcodec.calibration.linear_ops import Arguments, LinearOp, count_inputs
from wcodec.evaluation.examples import Batches
from wcodec.evaluation.inference import pack_inputs
from wcodec.evaluation.keras_backend import silence_keras

if TYPE_CHECKING:
    from keras import Layer, Model


Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

ROWS: Final = 40_000
"""Rows of inputs that are enough for moments."""
ELEMENTS: Final = 1 << 27
"""Numbers in the rows of one site, at most."""


class _SeenAll(BaseException):
    """Ends a run of the network once the layer that is watched has had all its calls. Not an error."""


def record_rows(
    model: Model, layer: Layer, ops: Sequence[LinearOp], batches: Batches, calls: int, seed: int
) -> Iterator[tuple[Float32, ...]]:
    """For each batch and site the rows float32[rows, inputs] that meet the kernel, the same places for any weights.

    batches: inputs of the network.
    calls:   of the layer, a batch. Each gives its share of ROWS at most, drawn at random by `seed`.
    """
    share = _rows_per_call(ops, len(batches), calls)
    for number, batch in enumerate(batches):
        rng = np.random.default_rng((seed, number))
        met: list[list[Float32]] = [[] for _ in ops]
        with (
            intercept_calls(layer, partial(_record_call, ops, met, [calls], share, rng)),
            silence_keras(),
            suppress(_SeenAll),
        ):
            model(pack_inputs(model, batch), training=False)
        yield tuple(np.concatenate(rows) for rows in met)


@dataclass(frozen=True)
class RecordedLayer:
    """A layer to watch, its sites, how often it is called for a batch, and for how many batches."""

    layer: Layer
    ops: Sequence[LinearOp]
    calls: int
    batches: int


def record_all_rows(
    model: Model, recorded: Sequence[RecordedLayer], batches: Batches, seed: int, most: int
) -> list[list[tuple[Float32, ...]]]:
    """What `rows_met` gives of each of these, from one run of the network; of the first only where `most` bytes end."""
    found: list[list[tuple[Float32, ...]]] = [[] for _ in recorded]
    room = most
    for number, batch in enumerate(batches):
        seen = [(one, kept) for one, kept in zip(recorded, found, strict=False) if number < one.batches]
        if not seen:
            break
        met: list[list[list[Float32]]] = [[[] for _ in one.ops] for one, _ in seen]
        with ExitStack() as stack, silence_keras():
            left = [sum(one.calls for one, _ in seen)]
            for (one, _), rows in zip(seen, met, strict=True):
                share = _rows_per_call(one.ops, min(one.batches, len(batches)), one.calls)
                watch = partial(_record_call, one.ops, rows, left, share, np.random.default_rng((seed, number)))
                stack.enter_context(intercept_calls(one.layer, watch))
            stack.enter_context(suppress(_SeenAll))
            model(pack_inputs(model, batch), training=False)
        for (_, kept), rows in zip(seen, met, strict=True):
            kept.append(tuple(np.concatenate(parts) for parts in rows))
            room -= sum(array.nbytes for array in kept[-1])
        while room < 0:
            room += sum(array.nbytes for arrays in found.pop() for array in arrays)
    return found


def _rows_per_call(ops: Sequence[LinearOp], batches: int, calls: int) -> int:
    """Rows of a call."""
    most = min(ROWS, ELEMENTS // max(count_inputs(op) for op in ops))
    return max(1, most // (batches * calls))


def _record_call(
    ops: Sequence[LinearOp],
    met: list[list[Float32]],
    left: list[int],
    share: int,
    rng: np.random.Generator,
    own: Callable[..., object],
    given: Arguments,
    named: dict[str, object],
) -> object:
    """One call of a layer that is watched; the last of those left, of all layers that are watched, ends the run."""
    for op, rows in zip(ops, met, strict=True):
        rows.append(op.rows((*given, *named.values()), share, rng))
    left[0] -= 1
    if left[0] == 0:
        raise _SeenAll
    return own(*given, **named)
