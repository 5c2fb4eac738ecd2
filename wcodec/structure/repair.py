"""Repair without labels: the layers after removed units are fitted to the pre-activations of the original network.

Each layer's kernel and bias are the ridge least-squares fit of the original pre-activations from the smaller network's
inputs of the layer (as in channel pruning, He et al. 2017), one layer after the other. The statistics of
BatchNormalization change by the difference that the same inputs make between the two networks. They are not replaced
by those of the inputs, which may be few or unlike the ones that the network was trained on.

A layer runs both networks up to it. Where the time is too short for a batch of each layer, all layers are fitted at
once, from the kept inputs of the original network, which runs once for each batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from wcodec.calibration.activations import RecordedLayer, count_calls, record_all_rows
from wcodec.calibration.batch_norm import find_batch_norms, reestimate
from wcodec.calibration.config import CalibrationConfig
from wcodec.calibration.time_limit import NO_DEADLINE, Deadline
from wcodec.evaluation.examples import Array, Batches, Examples
from wcodec.evaluation.keras_backend import list_layers
from wcodec.structure.graph import Graph, Mask
from wcodec.structure.least_squares import RowSums, kept_columns, kept_rows
from wcodec.structure.observations import Reader, batches_of, readers_of, rows_of
from wcodec.structure.rebuild import keeps, part_of

if TYPE_CHECKING:
    from keras import Layer, Model, Variable

SHARE: Final = 1 / 2
"""The fraction of a network that runs for one of its layers, on average."""
MEMORY: Final = 1 << 29
"""Bytes of the rows of all layers that are fitted at once; the last layers keep their weights if this is too little."""

Fits: TypeAlias = Mapping[int, tuple[Reader, Reader]]
"""By the number of a layer, its kernels in the original and in the smaller network."""


@dataclass(frozen=True)
class _Repair:
    """The two networks of a repair, and the examples.

    moving: by the number of a layer of BatchNormalization, the layer in both networks and its calls for a batch.
    """

    graph: Graph
    kept: Mask
    small: Model
    examples: Examples
    seed: int
    fits: Fits
    moving: Mapping[int, tuple[Layer, Layer, int]]


def repair(
    graph: Graph, kept: Mask, small: Model, examples: Examples, seed: int = 0, deadline: Deadline = NO_DEADLINE
) -> None:
    """Fit `small`, which is `without(graph, kept)` and is changed, to the graph's network, from inputs alone.

    deadline: for reading examples; at least one batch is read.
    """
    whole = {one.number: one for one in readers_of(graph.model, examples)}
    fitted = {one.number: one for one in readers_of(small, examples)}
    rescaled = {id(variable) for variable, units in graph.rescaled if not keeps(units, kept).all()}
    fits = {
        number: (one, fitted[number])
        for number, one in whole.items()
        if number in fitted and not any(id(op.variable) in rescaled for op in one.ops)
    }
    norms = set(map(id, find_batch_norms(small)))
    both = list(zip(list_layers(graph.model), list_layers(small), strict=True))
    numbers = [number for number, (_, new) in enumerate(both) if id(new) in norms]
    began = time.monotonic()
    calls = count_calls(graph.model, [both[number][0] for number in numbers], batches_of(examples)[0])
    seconds = 2 * SHARE * (time.monotonic() - began) * (len(numbers) + len(fits))
    moving = {number: (*both[number], count) for number, count in zip(numbers, calls, strict=True)}
    job = _Repair(graph, kept, small, examples, seed, fits, moving)
    if seconds > deadline.seconds_left():
        _fit_at_once(job, deadline)
    else:
        _fit_in_turn(job, deadline)


def _fit_in_turn(job: _Repair, deadline: Deadline) -> None:
    """Fit the layers in the order of the network, each to the inputs that the layers before it have now."""
    turns = deadline.turns(len(job.moving) + len(job.fits))
    for number in sorted(job.moving.keys() | job.fits.keys()):
        if number in job.moving:
            _move_statistics(job, [number], batches_of(job.examples), next(turns))
        if number not in job.fits:
            continue
        (before, after), until = job.fits[number], next(turns)
        sums = [RowSums(a, b) for a, b in zip(before.ops, after.ops, strict=True)]
        both = zip(
            rows_of(job.graph.model, before, job.examples, job.seed),
            rows_of(job.small, after, job.examples, job.seed),
            strict=True,
        )
        for originals, rows in until.within(both):
            for one, x0, x in zip(sums, originals, rows, strict=True):
                one.add(x0, x)
        _fit(job, after, sums)


def _fit_at_once(job: _Repair, deadline: Deadline) -> None:
    """Fit all layers from the inputs of the original network that the smaller one has."""
    readers = [before for before, _ in job.fits.values()]
    sums = [[RowSums(a, b) for a, b in zip(*(one.ops for one in both), strict=True)] for both in job.fits.values()]
    batches = batches_of(job.examples)
    recorded = [RecordedLayer(one.layer, one.ops, one.calls, len(batches)) for one in readers]
    for batch in deadline.part(1 / 2).within(batches):
        every = record_all_rows(job.graph.model, recorded, [batch], job.seed, MEMORY, CalibrationConfig())
        for layer, rows in zip(sums, every, strict=False):
            for one, x0 in zip(layer, rows[0], strict=True):
                one.add(x0, x0[:, kept_rows(job.graph, one.before, job.kept)])
    for (_, after), layer in zip(job.fits.values(), sums, strict=True):
        if layer[0].count:
            _fit(job, after, layer)
    if job.moving:
        _move_statistics(job, list(job.moving), batches, deadline)


def _fit(job: _Repair, reader: Reader, sums: Sequence[RowSums]) -> None:
    for one in sums:
        one.fit(reader.layer if len(sums) == 1 else None, kept_columns(job.graph, one.before, job.kept))


def _move_statistics(job: _Repair, numbers: Sequence[int], batches: Batches, deadline: Deadline) -> None:
    """Move the statistics of these layers by what the examples' own differ between the two networks."""
    read: list[tuple[Array, ...]] = []

    def reading() -> Iterator[tuple[Array, ...]]:
        for batch in deadline.part(1 / 2).within(batches):
            read.append(batch)
            yield batch

    both = [job.moving[number] for number in numbers]
    calls = sum(count for _, _, count in both)
    own = [[np.asarray(one) for one in _find_statistics(old)] for old, _, _ in both]
    given = [[np.asarray(one) for one in _find_statistics(new)] for _, new, _ in both]
    reestimate(job.graph.model, [old for old, _, _ in both], reading(), calls)
    reestimate(job.small, [new for _, new, _ in both], read, calls)
    for (old, new, _), kept_own, (mean, variance) in zip(both, own, given, strict=True):
        before = [part_of(job.graph, one, job.kept) for one in _find_statistics(old)]
        after = [np.asarray(one) for one in _find_statistics(new)]
        for variable, value in zip(_find_statistics(old), kept_own, strict=True):
            variable.assign(value)
        new.moving_mean.assign(mean + after[0] - before[0])
        ratio = (after[1] + new.epsilon) / (before[1] + new.epsilon)
        new.moving_variance.assign(np.maximum((variance + new.epsilon) * ratio - new.epsilon, 0))


def _find_statistics(norm: Layer) -> tuple[Variable, Variable]:
    return norm.moving_mean, norm.moving_variance
