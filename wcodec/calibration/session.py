"""A calibration session: the network, its kernels in layer groups, the inputs, and the original outputs."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wcodec.calibration.activations import (
    Float32,
    RecordedLayer,
    Rows,
    count_calls,
    record_all_rows,
    record_rows,
)
from wcodec.calibration.batch_norm import reestimate
from wcodec.calibration.config import CalibrationConfig
from wcodec.calibration.linear_ops import LinearOp
from wcodec.calibration.quantizable_weights import Weight, WeightTable, make_weight_table
from wcodec.errors import RecipeError
from wcodec.evaluation.examples import MAX_HELD_OUT, Batches, Examples, spread_evenly
from wcodec.evaluation.inference import compute_outputs, count_predictions
from wcodec.evaluation.keras_backend import read_values
from wcodec.evaluation.metrics import Outputs
from wcodec.evaluation.network_loader import network_outputs, predicted_tasks
from wcodec.evaluation.output_kinds import OutputKind, measure_divergence, output_kinds
from wcodec.evaluation.runner import Network

if TYPE_CHECKING:
    from keras import Layer

Statistics = tuple[Float32, Float32]
"""Moving means and variances of a layer."""


@dataclass(frozen=True)
class LayerGroup:
    """Kernels that are rounded together: those of one layer, or one that is rounded without feedback.

    recorded: the layer whose inputs give the Hessians of the kernels; None without feedback.
    rows:     the number of rows that the kernels multiply for one example; 0 if it is unknown.
    """

    kernels: tuple[Weight, ...]
    recorded: RecordedLayer | None
    rows: float = 0.0


@dataclass(frozen=True)
class CalibrationSession:
    """The objects that every trial needs.

    fitting:           inputs for the Hessians.
    normalizing:       inputs for the statistics of BatchNormalization.
    held_out:          examples to measure on.
    predictions:       of one example: several of a sequence or a map, otherwise one.
    outputs:           of the original network for them; kinds: of these outputs.
    cached_rows:       rows that the kernels of some groups multiply in the original, by the group's number.
    file:              the name of the network's file; "" if it has none.
    cached_statistics: the original's BatchNormalization statistics on `normalizing`, once they are known.
    """

    model: Network
    table: WeightTable
    groups: tuple[LayerGroup, ...]
    fitting: Batches
    normalizing: Batches
    held_out: Examples
    outputs: tuple[Outputs, ...]
    kinds: tuple[OutputKind, ...]
    seed: int
    config: CalibrationConfig
    predictions: int = 1
    cached_rows: dict[int, list[Rows]] = field(default_factory=dict)
    cached_statistics: list[Statistics] = field(default_factory=list)
    file: str = ""

    @property
    def name(self) -> str:
        """The name of the file for messages, or that of the network if there is no file."""
        return self.file or str(self.model.name)

    @property
    def predicts_classes(self) -> bool:
        """Whether an output predicts classes."""
        return not all(kind.values for kind in self.kinds)

    def divergence(self) -> float:
        """The divergence of the network's outputs from the original's, see `measure_divergence`."""
        outputs = compute_outputs(self.model, self.held_out)
        return measure_divergence(outputs, self.outputs, self.kinds)

    def divergence_of_few(self) -> float:
        """The same for as few held-out examples as are enough to compare changes of the network with each other."""
        most = max(self.config.compared_examples, MAX_HELD_OUT // self.predictions)
        chosen = spread_evenly(np.arange(self.held_out.count), most)
        outputs = compute_outputs(self.model, self.held_out.take(chosen))
        return measure_divergence(outputs, [one[chosen] for one in self.outputs], self.kinds)

    @property
    def kernels(self) -> tuple[Weight, ...]:
        """The weights that are rounded."""
        return self.table.kernels


def prepare_session(
    model: Network,
    learning: Examples,
    held_out: Examples,
    *,
    most: int,
    seed: int = 0,
    table: WeightTable | None = None,
    config: CalibrationConfig | None = None,
) -> CalibrationSession:
    """Run the network once and build its session; it must have its original weights.

    learning, held_out: see `examples.hold_out`.
    most:               the largest number of examples of `learning` for the Hessians.
    table:              of its weights; weights that the table leaves out stay as they are.
    Raises: RecipeError for a network without kernels.
    """
    config = config or CalibrationConfig()
    table = table or make_weight_table(model)
    if not table.kernels:
        raise RecipeError(f"{model.name}: expected weights of two or more dimensions, found none")
    outputs = compute_outputs(model, held_out)
    numbers = sum(one[0].size for one in outputs)
    fitting = _make_batches(learning, most, numbers, config)
    predictions = count_predictions(outputs)
    names, tasks = [each[0] for each in network_outputs(model)], predicted_tasks(model)
    return CalibrationSession(
        model=model,
        table=table,
        groups=tuple(_make_groups(model, table.kernels, fitting, predictions, config)),
        fitting=fitting,
        normalizing=_make_batches(learning, config.batch_norm_examples, numbers, config),
        held_out=held_out,
        outputs=outputs,
        kinds=output_kinds(outputs, held_out.labels, held_out.count, names=names, tasks=tasks),
        seed=seed,
        config=config,
        predictions=predictions,
    )


def split_passes(session: CalibrationSession) -> list[list[int]]:
    """The numbers of the layer groups, divided into at most about `config.passes` runs of neighbours."""
    count = len(session.groups)
    size = -(-count // session.config.passes)
    return [list(range(start, min(start + size, count))) for start in range(0, count, size)]


def record_group(session: CalibrationSession, number: int) -> Iterator[Rows]:
    """The rows that the kernels of a group multiply, batch by batch, with the network's current weights."""
    recorded = session.groups[number].recorded
    if recorded is None:
        return iter(())
    return record_rows(session.model, recorded, session.fitting, session.seed, session.config)


def record_groups(session: CalibrationSession, numbers: Sequence[int]) -> dict[int, list[Rows]]:
    """The recorded rows of several groups by number, from one run; only for the first ones if memory is short."""
    known = {number: one for number in numbers if (one := session.groups[number].recorded)}
    config = session.config
    found = record_all_rows(
        session.model, list(known.values()), session.fitting, session.seed, config.cache_bytes, config
    )
    return dict(zip(known, found, strict=False))


def record_originals(session: CalibrationSession, number: int) -> list[Rows]:
    """The rows of a group in the original network, whose weights are assigned for the time of the call.

    One run records those of the groups that follow too, as many as memory allows, and replaces what was cached.
    """
    if number in session.cached_rows:
        return session.cached_rows[number]
    now = session.model.get_weights()
    session.table.restore_kernels()
    session.cached_rows.clear()
    session.cached_rows.update(record_groups(session, range(number, len(session.groups))))
    rows = session.cached_rows.get(number) or list(record_group(session, number))
    session.model.set_weights(now)
    return rows


def choose_batch_norm(session: CalibrationSession) -> None:
    """Choose the BatchNormalization statistics with which the outputs for held-out inputs are closest to the
    original's.

    The candidates are: the current ones; those changed as much as the batch statistics changed from the original
    weights; the batch statistics. The last are best if much was rounded, unless the original's statistics differ from
    those of the inputs.
    """
    model, layers = session.model, session.table.batch_norms
    if not layers:
        return
    kept = _read_statistics(layers)
    if not session.cached_statistics:
        now = model.get_weights()
        session.table.restore_kernels()
        reestimate(model, layers, session.normalizing)
        session.cached_statistics.extend(_read_statistics(layers))
        model.set_weights(now)
    reestimate(model, layers, session.normalizing)
    measured = _read_statistics(layers)
    shifted = [_shift(*three) for three in zip(kept, session.cached_statistics, measured, strict=True)]
    kls = []
    for statistics in (kept, shifted, measured):
        _assign_statistics(layers, statistics)
        kls.append(session.divergence())
    _assign_statistics(layers, (kept, shifted, measured)[int(np.argmin(kls))])


def _shift(kept: Statistics, before: Statistics, after: Statistics) -> Statistics:
    grown = np.divide(after[1], before[1], out=np.ones_like(kept[1]), where=before[1] > 0)
    return kept[0] + (after[0] - before[0]), np.where(before[1] > 0, kept[1] * grown, after[1])


def _assign_statistics(layers: Sequence[Layer], statistics: list[Statistics]) -> None:
    for layer, (mean, variance) in zip(layers, statistics, strict=True):
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)


def _read_statistics(layers: Sequence[Layer]) -> list[Statistics]:
    return [(read_values(layer.moving_mean), read_values(layer.moving_variance)) for layer in layers]


def _make_groups(
    model: Network, kernels: tuple[Weight, ...], fitting: Batches, predictions: int, config: CalibrationConfig
) -> Iterator[LayerGroup]:
    """The kernels of each layer together, in order. A layer that is not called has no feedback."""
    grouped: dict[int, list[Weight]] = {}
    for kernel in kernels:
        grouped.setdefault(id(kernel.layer) if kernel.layer is not None else -kernel.index - 1, []).append(kernel)
    layers = [members[0].layer for members in grouped.values()]
    calls = iter(count_calls(model, [layer for layer in layers if layer is not None], fitting[0]))
    for members, layer in zip(grouped.values(), layers, strict=True):
        recorded, rows = None, 0.0
        if layer is not None and (count := next(calls)):
            ops = tuple(kernel.op for kernel in members if kernel.op is not None)
            recorded = RecordedLayer(layer, ops, count, 1)
            rows = _count_rows(model, recorded, fitting, config)
            recorded = RecordedLayer(layer, ops, count, _count_batches(ops, rows, fitting, predictions, config))
        yield LayerGroup(tuple(members), recorded, rows)


def _count_rows(model: Network, one: RecordedLayer, fitting: Batches, config: CalibrationConfig) -> float:
    """The number of rows that a layer's kernels multiply for one example."""
    few = tuple(array[: config.probed_examples] for array in fitting[0])
    return len(record_all_rows(model, [one], [few], 0, sys.maxsize, config)[0][0][0]) / len(few[0])


def _count_batches(
    ops: Sequence[LinearOp], rows: float, fitting: Batches, predictions: int, config: CalibrationConfig
) -> int:
    """The number of batches that give a layer enough rows, from enough examples."""
    enough = max(config.compared_examples, config.min_examples / predictions)
    wanted = max(enough, config.rows_per_input * max(op.inputs for op in ops) / rows)
    return min(len(fitting), math.ceil(wanted / len(fitting[0][0])))


def _make_batches(examples: Examples, most: int, outputs: int, config: CalibrationConfig) -> Batches:
    """The inputs of at most `most` examples, evenly spaced, in equal batches. outputs: numbers of one example."""
    chosen = spread_evenly(np.arange(examples.count), most)
    numbers = max(1, outputs, sum(array[0].size for array in examples.inputs))
    fewest, largest = config.batch_examples
    size = min(max(config.batch_numbers // numbers, fewest), largest)
    parts: list[npt.NDArray[np.intp]] = np.array_split(chosen, -(-len(chosen) // size))
    return [tuple(array[part] for array in examples.inputs) for part in parts]
