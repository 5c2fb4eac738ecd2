"""A network on the bench: its kernels in stages, the inputs that show what they do, and the answers to keep."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.activations import Float32, RecordedLayer, record_all_rows, record_rows
from wcodec.calibration.batch_norm import find_batch_norms, reestimate
from wcodec.calibration.hooks import count_calls
from wcodec.calibration.linear_ops import LinearOp, count_inputs
from wcodec.calibration.quantizable_weights import Kernel, find_kernels, read_values
from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Batches, Examples
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.metrics import Outputs, kl_divergence
from wcodec.evaluation.weight_mapping import Places

if TYPE_CHECKING:
    from keras import Layer, Model


BATCH: Final = (4, 500)
"""Fewest and most examples in a batch: layers that are watched run one by one, and take nearly as long for few."""
NUMBERS: Final = 400_000
"""Numbers in the inputs of a batch, between those bounds."""
NORMALIZING: Final = 4000
"""Examples for the statistics of BatchNormalization."""
MAX_HELD_OUT: Final = 2000
PASSES: Final = 24
"""Runs of the network for one attempt: stages of deeper ones are looked at together, in groups."""
ROWS_EACH: Final = 40
"""Rows for an input of a kernel that are enough for its moments, and"""
EXAMPLES: Final = 1000
"""examples that they should come from: with half of them inverted_residual (zoo) is 10 % further from the original."""
PROBED: Final = 8
"""Examples by which rows are counted."""
REMEMBERED: Final = 1 << 29
"""Bytes of original rows that are kept from one attempt to the next."""


@dataclass(frozen=True)
class LayerGroup:
    """Kernels that are rounded together: those of one layer, or one that has no feedback (no layer, no sites).

    calls:   of the layer, for a batch; batches: how many of those fitted to show enough rows.
    """

    kernels: tuple[Kernel, ...]
    layer: Layer | None
    ops: tuple[LinearOp, ...]
    calls: int
    batches: int

    @property
    def recorded(self) -> list[RecordedLayer]:
        """What to watch for its rows, if anything."""
        return [RecordedLayer(self.layer, self.ops, self.calls, self.batches)] if self.layer else []


@dataclass(frozen=True)
class CalibrationSession:
    """What every attempt needs.

    fitting:     inputs for the moments; normalizing: for the statistics of BatchNormalization.
    held_out:    inputs to judge by, and the original's outputs for them.
    exact:       places of weights that stay as they are.
    remembered:  rows that meet a stage's kernels in the original, by its number.
    usual:       statistics taken anew of the original, by the number of batches; see `settle`.
    """

    model: Model
    kernels: tuple[Kernel, ...]
    groups: tuple[LayerGroup, ...]
    batch_norms: list[Layer]
    fitting: Batches
    normalizing: Batches
    held_out: Examples
    outputs: tuple[Outputs, ...]
    seed: int
    exact: Places = frozenset()
    remembered: dict[int, list[tuple[Float32, ...]]] = field(default_factory=dict)
    usual: dict[int, list[tuple[Float32, Float32]]] = field(default_factory=dict)


def prepare_session(
    model: Model, examples: Examples, *, most: int, seed: int = 0, exact: Places = frozenset()
) -> CalibrationSession:
    """Split the examples (a fifth, at most 2,000, is kept apart) and look at the network once.

    most: examples for the moments; exact: places of weights that stay as they are.
    Raises: RecipeError for fewer than ten examples, or a network without kernels.
    """
    if examples.count < 10:
        raise RecipeError(f"calibration: expected 10 examples or more, got {examples.count}")
    kernels = find_kernels(model, exact)
    if not kernels:
        raise RecipeError(f"{model.name}: expected weights of two or more dimensions, found none")
    apart = _spread_evenly(np.arange(examples.count), min(examples.count // 5, MAX_HELD_OUT))
    others = np.setdiff1d(np.arange(examples.count), apart)
    labels = None if examples.labels is None else examples.labels[apart]
    held_out = Examples(tuple(array[apart] for array in examples.inputs), labels)
    fitting = _make_batches(examples, _spread_evenly(others, most))
    return CalibrationSession(
        model=model,
        kernels=kernels,
        groups=tuple(_make_groups(model, kernels, fitting)),
        batch_norms=find_batch_norms(model, exact),
        fitting=fitting,
        normalizing=_make_batches(examples, _spread_evenly(others, NORMALIZING)),
        held_out=held_out,
        outputs=compute_outputs(model, held_out),
        seed=seed,
        exact=exact,
    )


def split_passes(session: CalibrationSession) -> list[list[int]]:
    """The stages by number, in at most about PASSES groups of neighbours."""
    size = -(-len(session.groups) // PASSES)
    return [list(range(start, min(start + size, len(session.groups)))) for start in range(0, len(session.groups), size)]


def record_group(session: CalibrationSession, group: LayerGroup) -> Iterator[tuple[Float32, ...]]:
    """The rows that meet a stage's kernels, batch by batch, with the network's weights as they are now."""
    batches = session.fitting[: group.batches]
    return record_rows(session.model, group.layer, group.ops, batches, group.calls, session.seed)


def record_groups(session: CalibrationSession, numbers: Sequence[int]) -> dict[int, list[tuple[Float32, ...]]]:
    """The same of several stages by number, from one run of the network; of the first ones where there is no room."""
    groups = [number for number in numbers if session.groups[number].layer]
    recorded = [one for number in groups for one in session.groups[number].recorded]
    found = record_all_rows(session.model, recorded, session.fitting, session.seed, REMEMBERED)
    return dict(zip(groups, found, strict=False))


def record_originals(session: CalibrationSession, number: int) -> list[tuple[Float32, ...]]:
    """The same with the weights of the original, which are put in for the time; remembered where there is room."""
    if number in session.remembered:
        return session.remembered[number]
    model, now = session.model, session.model.get_weights()
    for kernel in session.kernels:
        kernel.variable.assign(kernel.original)
    if not session.remembered:
        session.remembered.update(record_groups(session, range(len(session.groups))))
        session.remembered[-1] = []  # so that this is tried once
    rows = session.remembered.get(number) or list(record_group(session, session.groups[number]))
    model.set_weights(now)
    return rows


def choose_batch_norm(session: CalibrationSession, batches: Batches) -> None:
    """Give BatchNormalization the statistics with which inputs kept apart are answered best.

    Those it has; those moved as far as the batches' own move from the original's weights; the batches' own. The last
    are the best where much was rounded, unless what the original kept in training is other than what inputs show.
    """
    model, layers = session.model, session.batch_norms
    if not layers:
        return
    kept = _read_statistics(layers)
    if len(batches) not in session.usual:
        now = model.get_weights()
        for kernel in session.kernels:
            kernel.variable.assign(kernel.original)
        reestimate(model, layers, batches)
        session.usual[len(batches)] = _read_statistics(layers)
        model.set_weights(now)
    reestimate(model, layers, batches)
    anew = _read_statistics(layers)
    moved = [_shift(*three) for three in zip(kept, session.usual[len(batches)], anew, strict=True)]
    ranked = []
    for statistics in (kept, moved, anew):
        _assign_statistics(layers, statistics)
        ranked.append(kl_divergence(compute_outputs(model, session.held_out), session.outputs))
    _assign_statistics(layers, (kept, moved, anew)[int(np.argmin(ranked))])


Statistics = tuple[Float32, Float32]
"""Means and variances of a layer."""


def _shift(kept: Statistics, usual: Statistics, anew: Statistics) -> Statistics:
    grown = np.divide(anew[1], usual[1], out=np.ones_like(kept[1]), where=usual[1] > 0)
    return kept[0] + (anew[0] - usual[0]), np.where(usual[1] > 0, kept[1] * grown, anew[1])


def _assign_statistics(layers: list[Layer], statistics: list[Statistics]) -> None:
    for layer, (mean, variance) in zip(layers, statistics, strict=True):
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)


def _read_statistics(layers: list[Layer]) -> list[Statistics]:
    return [(read_values(layer.moving_mean), read_values(layer.moving_variance)) for layer in layers]


def _make_groups(model: Model, kernels: tuple[Kernel, ...], fitting: Batches) -> Iterator[LayerGroup]:
    """Kernels of one layer together, in order. A layer that is not called has no feedback."""
    grouped: dict[int, list[Kernel]] = {}
    for kernel in kernels:
        grouped.setdefault(id(kernel.layer) if kernel.layer is not None else -kernel.index - 1, []).append(kernel)
    layers = [group[0].layer for group in grouped.values()]
    calls = iter(count_calls(model, [layer for layer in layers if layer is not None], fitting[0]))
    for group, layer in zip(grouped.values(), layers, strict=True):
        count = 0 if layer is None else next(calls)
        ops = tuple(kernel.op for kernel in group if kernel.op is not None)
        if count:
            yield LayerGroup(
                tuple(group), layer, ops, count, _count_batches(model, RecordedLayer(layer, ops, count, 1), fitting)
            )
        else:
            yield LayerGroup(tuple(group), None, (), 0, 0)


def _count_batches(model: Model, one: RecordedLayer, fitting: Batches) -> int:
    """Batches that show a layer ROWS_EACH rows for an input of its kernels, and EXAMPLES examples."""
    few = tuple(array[:PROBED] for array in fitting[0])
    rows = len(record_all_rows(model, [one], [few], 0, sys.maxsize)[0][0][0]) / len(few[0])
    wanted = max(EXAMPLES, ROWS_EACH * max(map(count_inputs, one.ops)) / rows)
    return min(len(fitting), math.ceil(wanted / len(fitting[0][0])))


def _spread_evenly(numbers: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """At most `most` of `numbers`, evenly spread."""
    if most >= len(numbers):
        return numbers
    return numbers[np.linspace(0, len(numbers) - 1, most).round().astype(np.intp)]


def _make_batches(examples: Examples, chosen: npt.NDArray[np.intp]) -> Batches:
    """The chosen examples' inputs in equal batches."""
    numbers = sum(array[0].size for array in examples.inputs)
    size = min(max(NUMBERS // max(numbers, 1), BATCH[0]), BATCH[1])
    parts = np.array_split(chosen, -(-len(chosen) // size))
    return [tuple(array[part] for array in examples.inputs) for part in parts]
