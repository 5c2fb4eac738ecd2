"""A network on the bench: its kernels in stages, the inputs that show what they do, and the answers to keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.errors import RecipeError
from wcodec.learning.divergence import outputs_of
from wcodec.learning.examples import Examples
from wcodec.learning.kernels import Kernel, all_layers, kernels_of, values_of
from wcodec.learning.moments import Batches, Float32, count_calls, rows_met
from wcodec.learning.normalization import normalizations, reestimate
from wcodec.learning.scores import Outputs
from wcodec.learning.sites import Site

if TYPE_CHECKING:
    from keras import Layer, Model

BATCH: Final = 100
NORMALIZING: Final = 40
"""Batches for the statistics of BatchNormalization."""
MOST_HELD_OUT: Final = 2000
REMEMBERED: Final = 1 << 29
"""Bytes of original rows that are kept from one attempt to the next."""


@dataclass(frozen=True)
class Stage:
    """Kernels that are rounded together: those of one layer, or one that has no feedback (no layer, no sites).

    calls: of the layer, for a batch.
    """

    kernels: tuple[Kernel, ...]
    layer: Layer | None
    sites: tuple[Site, ...]
    calls: int


@dataclass(frozen=True)
class Subject:
    """What every attempt needs.

    fitting:     inputs for the moments; normalizing: for the statistics of BatchNormalization.
    held_out:    inputs to judge by, and the original's outputs for them.
    remembered:  rows that meet a stage's kernels in the original, by its number.
    usual:       statistics taken anew of the original, by the number of batches; see `settle`.
    """

    model: Model
    kernels: tuple[Kernel, ...]
    stages: tuple[Stage, ...]
    normalizations: list[Layer]
    fitting: Batches
    normalizing: Batches
    held_out: Examples
    outputs: tuple[Outputs, ...]
    seed: int
    remembered: dict[int, list[tuple[Float32, ...]]] = field(default_factory=dict)
    usual: dict[int, list[tuple[Float32, Float32]]] = field(default_factory=dict)


def prepare(model: Model, examples: Examples, *, most: int, seed: int = 0) -> Subject:
    """Split the examples (a fifth, at most 2,000, is kept apart) and look at the network once.

    most: examples for the moments.
    Raises: RecipeError for fewer than ten examples, or a network without kernels.
    """
    if examples.count < 10:
        raise RecipeError(f"calibration: expected 10 examples or more, got {examples.count}")
    kernels = kernels_of(model)
    if not kernels:
        raise RecipeError(f"{model.name}: expected weights of two or more dimensions, found none")
    apart = _spread(np.arange(examples.count), min(examples.count // 5, MOST_HELD_OUT))
    others = np.setdiff1d(np.arange(examples.count), apart)
    labels = None if examples.labels is None else examples.labels[apart]
    held_out = Examples(tuple(array[apart] for array in examples.inputs), labels)
    fitting = _batches(examples, _spread(others, most))
    return Subject(
        model=model,
        kernels=kernels,
        stages=tuple(_stages(model, kernels, fitting)),
        normalizations=normalizations(all_layers(model)),
        fitting=fitting,
        normalizing=_batches(examples, _spread(others, NORMALIZING * BATCH)),
        held_out=held_out,
        outputs=outputs_of(model, held_out),
        seed=seed,
    )


def rows_of(subject: Subject, stage: Stage) -> Iterator[tuple[Float32, ...]]:
    """The rows that meet a stage's kernels, batch by batch, with the network's weights as they are now."""
    return rows_met(subject.model, stage.layer, stage.sites, subject.fitting, stage.calls, subject.seed)


def original_rows(subject: Subject, number: int) -> list[tuple[Float32, ...]]:
    """The same with the weights of the original, which are put in for the time; remembered where there is room."""
    if number in subject.remembered:
        return subject.remembered[number]
    now = subject.model.get_weights()
    for kernel in subject.kernels:
        kernel.variable.assign(kernel.original)
    rows = list(rows_of(subject, subject.stages[number]))
    subject.model.set_weights(now)
    kept = [*subject.remembered.values(), rows]
    if sum(array.nbytes for batches in kept for batch in batches for array in batch) <= REMEMBERED:
        subject.remembered[number] = rows
    return rows


def settle(subject: Subject, batches: Batches) -> None:
    """Move the statistics of BatchNormalization as far as those of these batches move from the original's weights.

    Not to the batches' own: what the original kept in training may be other, and its answers are what is to stay.
    """
    model, layers = subject.model, subject.normalizations
    if not layers:
        return
    kept = _statistics(layers)
    if len(batches) not in subject.usual:
        now = model.get_weights()
        for kernel in subject.kernels:
            kernel.variable.assign(kernel.original)
        reestimate(model, layers, batches)
        subject.usual[len(batches)] = _statistics(layers)
        model.set_weights(now)
    reestimate(model, layers, batches)
    found = zip(layers, kept, subject.usual[len(batches)], _statistics(layers), strict=True)
    for layer, (mean, variance), (usual_mean, usual_variance), (new_mean, new_variance) in found:
        layer.moving_mean.assign(mean + (new_mean - usual_mean))
        grown = np.divide(new_variance, usual_variance, out=np.ones_like(variance), where=usual_variance > 0)
        layer.moving_variance.assign(np.where(usual_variance > 0, variance * grown, new_variance))


def _statistics(layers: list[Layer]) -> list[tuple[Float32, Float32]]:
    return [(values_of(layer.moving_mean), values_of(layer.moving_variance)) for layer in layers]


def _stages(model: Model, kernels: tuple[Kernel, ...], fitting: Batches) -> Iterator[Stage]:
    """Kernels of one layer together, in order. A layer that is not called has no feedback."""
    grouped: dict[int, list[Kernel]] = {}
    for kernel in kernels:
        grouped.setdefault(id(kernel.layer) if kernel.layer is not None else -kernel.index - 1, []).append(kernel)
    layers = [group[0].layer for group in grouped.values()]
    calls = iter(count_calls(model, [layer for layer in layers if layer is not None], fitting[0]))
    for group, layer in zip(grouped.values(), layers, strict=True):
        count = 0 if layer is None else next(calls)
        sites = tuple(kernel.site for kernel in group if kernel.site is not None)
        yield Stage(tuple(group), layer, sites, count) if count else Stage(tuple(group), None, (), 0)


def _spread(numbers: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """At most `most` of `numbers`, evenly spread."""
    if most >= len(numbers):
        return numbers
    return numbers[np.linspace(0, len(numbers) - 1, most).round().astype(np.intp)]


def _batches(examples: Examples, chosen: npt.NDArray[np.intp]) -> Batches:
    """Equal batches of about BATCH of the chosen examples' inputs."""
    parts = np.array_split(chosen, -(-len(chosen) // BATCH))
    return [tuple(array[part] for array in examples.inputs) for part in parts]
