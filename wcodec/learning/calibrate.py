"""One-shot quantisation of a network by unlabelled inputs: the largest steps that keep its answers.

The kernels are rounded one after another with error feedback (GPTQ, Frantar et al. 2022), each for the inputs that it
meets once all before it are rounded; BatchNormalization statistics are taken anew; the divergence of the answers for
inputs kept apart tells what accuracy it costs. The sizes of the steps and the damping are searched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.errors import BudgetError, RecipeError
from wcodec.learning.divergence import POINTS, divergence, outputs_of
from wcodec.learning.examples import Examples
from wcodec.learning.feedback import feedback_matrix, latents
from wcodec.learning.kernels import Kernel, all_layers, entropy_bytes, kernels_of, steps_of, values_of
from wcodec.learning.moments import Batches, Float64, count_calls, moments
from wcodec.learning.normalization import normalizations, reestimate
from wcodec.learning.scores import Outputs

if TYPE_CHECKING:
    from keras import Layer, Model

Float32 = npt.NDArray[np.float32]

DAMPINGS: Final = (0.1, 0.01)
BATCH: Final = 100
NORMALIZING: Final = 40
"""Batches for the statistics of BatchNormalization."""
MOST_HELD_OUT: Final = 2000
SIZES: Final = 8
"""Attempts for one damping."""
CLOSE: Final = 1.1
"""Sizes this near to one another are not told apart."""
START: Final = (2.4, 8.0)
"""First steps tried, in rms of the largest kernel: at most the first number, and the second over the kernels."""


@dataclass(frozen=True)
class Latents:
    """A kernel in steps, moved by feedback, not rounded yet.

    index: place in `model.weights`; path: the variable's.
    values: float32[shape of the kernel].
    """

    index: int
    path: str
    step: float
    values: Float32

    @property
    def levels(self) -> npt.NDArray[np.int32]:
        """weight = step * level."""
        return np.rint(self.values).astype(np.int32)


@dataclass(frozen=True)
class Calibration:
    """One way to round a network.

    latents:    of the kernels, in the order of `model.weights`.
    statistics: other weights that change, by their index.
    divergence: from the original, in nats, of the answers for inputs kept apart.
    drop:       points of accuracy that this predicts.
    bytes:      estimated: entropies of the levels, and two bytes for every other weight.
    """

    size: float
    damping: float
    latents: tuple[Latents, ...]
    statistics: tuple[tuple[int, Float32], ...]
    divergence: float
    bytes: int
    said: tuple[str, ...] = ()

    @property
    def drop(self) -> float:
        return 100 * POINTS * self.divergence


@dataclass(frozen=True)
class Subject:
    """A network on the bench: what every attempt needs. Its weights are put back after each.

    stages:  kernels rounded together: those of one layer.
    calls:   of each stage's layer, for a batch.
    fitting: inputs for the moments; normalizing: for the statistics of BatchNormalization.
    first:   moments of the first stage by its number, which no rounding changes.
    """

    model: Model
    kernels: tuple[Kernel, ...]
    stages: tuple[tuple[Kernel, ...], ...]
    calls: tuple[int, ...]
    normalizations: list[Layer]
    fitting: Batches
    normalizing: Batches
    held_out: Examples
    originals: tuple[Outputs, ...]
    seed: int
    first: dict[int, list[list[Float64]]] = field(default_factory=dict)


def prepare(model: Model, examples: Examples, *, most: int = 1000, seed: int = 0) -> Subject:
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
    held_out = Examples(tuple(array[apart] for array in examples.inputs))
    fitting = _batches(examples, _spread(others, most))
    stages = tuple(_stages(kernels))
    watched = [stage[0].layer for stage in stages if stage[0].layer is not None]
    calls = iter(count_calls(model, watched, fitting[0]))
    return Subject(
        model=model,
        kernels=kernels,
        stages=stages,
        calls=tuple(next(calls) if stage[0].layer is not None else 0 for stage in stages),
        normalizations=normalizations(all_layers(model)),
        fitting=fitting,
        normalizing=_batches(examples, _spread(others, NORMALIZING * BATCH)),
        held_out=held_out,
        originals=outputs_of(model, held_out),
        seed=seed,
    )


def attempt(subject: Subject, size: float, damping: float) -> Calibration:
    """Round all kernels by steps of `size`, measure the answers, and put the weights back."""
    model = subject.model
    before = model.get_weights()
    steps = dict(zip((kernel.index for kernel in subject.kernels), steps_of(subject.kernels, size), strict=True))
    found: list[Latents] = []
    try:
        for number, (stage, calls) in enumerate(zip(subject.stages, subject.calls, strict=True)):
            moved = _moved(subject, number, stage, calls, steps, damping)
            for kernel, values in zip(stage, moved, strict=True):
                found.append(Latents(kernel.index, kernel.variable.path, steps[kernel.index], values))
                kernel.variable.assign(np.rint(values) * np.float32(steps[kernel.index]))
        if subject.normalizations:
            reestimate(model, subject.normalizations, subject.normalizing)
        distance = divergence(outputs_of(model, subject.held_out), subject.originals)
        statistics = {id(w) for layer in subject.normalizations for w in (layer.moving_mean, layer.moving_variance)}
        changed = tuple((i, values_of(w)) for i, w in enumerate(model.weights) if id(w) in statistics)
    finally:
        model.set_weights(before)
    others = sum(weight.size for weight in before) - sum(one.values.size for one in found)
    size_bytes = sum(entropy_bytes(one.levels) for one in found) + 2 * others
    return Calibration(size, damping, tuple(found), changed, distance, round(size_bytes))


def calibrate(
    model: Model,
    examples: Examples,
    budget: float,
    *,
    most: int = 1000,
    seed: int = 0,
    seconds: float = float("inf"),
    progress: Callable[[Calibration], None] | None = None,
) -> Calibration:
    """The smallest way to round `model` that is predicted to cost at most `budget` points of accuracy.

    examples: unlabelled; some are kept apart to measure on.
    seconds:  no attempt is begun after this time.
    progress: told of every attempt.

    Raises: RecipeError, see `prepare`; BudgetError where no attempt is within the budget.
    """
    deadline = time.monotonic() + seconds
    subject = prepare(model, examples, most=most, seed=seed)
    tried: list[Calibration] = []

    def fits(damping: float, size: float) -> bool:
        tried.append(attempt(subject, size, damping))
        if progress:
            progress(tried[-1])
        return tried[-1].drop <= budget

    cap, slope = START
    start = min(cap, slope / len(subject.kernels))
    for damping in DAMPINGS:
        start = _largest(partial(fits, damping), start, lambda: time.monotonic() < deadline)
    within = [one for one in tried if one.drop <= budget]
    if not within:
        least = min(one.drop for one in tried)
        raise BudgetError(f"{model.name}: expected a drop of at most {budget:g} points, {least:.2g} predicted at best")
    return min(within, key=lambda one: one.bytes)


def _largest(fits: Callable[[float], bool], start: float, in_time: Callable[[], bool]) -> float:
    """About the largest size that fits: up or down by doubling steps' areas, then between the last two."""
    size, factor = start, 2.0**0.5
    inside = outside = 0.0
    for _ in range(SIZES):
        if fits(size):
            inside = size
        else:
            outside = size
        if not in_time():
            break
        if inside and outside:
            if outside / inside < CLOSE:
                break
            size = (inside * outside) ** 0.5
        else:
            size = size * factor if inside else size / factor
            factor = min(factor * factor, 4.0) if outside else factor
    return inside or size


def _moved(
    subject: Subject, number: int, stage: tuple[Kernel, ...], calls: int, steps: dict[int, float], damping: float
) -> list[Float32]:
    """The latents of a stage's kernels, in their own shapes."""
    layer, sites = stage[0].layer, [kernel.site for kernel in stage if kernel.site is not None]
    if layer is None or not calls:
        return [_in_steps(kernel.original, steps[kernel.index]) for kernel in stage]
    watched: list[list[Float64]] | None = subject.first.get(number)
    if watched is None:
        watched = moments(subject.model, layer, sites, subject.fitting, calls, subject.seed)
        if number == 0:
            subject.first[number] = watched
    found = []
    for kernel, site, parts in zip(stage, sites, watched, strict=True):
        matrix = _in_steps(site.matrix(kernel.original), steps[kernel.index])
        ends = np.cumsum([len(part) for part in parts])[:-1]
        moved = [
            latents(rows, feedback_matrix(part, damping))
            for rows, part in zip(np.split(matrix, ends), parts, strict=True)
        ]
        found.append(site.kernel(np.concatenate(moved)))
    return found


def _in_steps(weights: Float32, step: float) -> Float32:
    return weights / np.float32(step) if step else np.zeros_like(weights)


def _stages(kernels: tuple[Kernel, ...]) -> Iterator[tuple[Kernel, ...]]:
    """Kernels of one layer together, in order; plain ones alone."""
    grouped: dict[int, list[Kernel]] = {}
    for kernel in kernels:
        grouped.setdefault(id(kernel.layer) if kernel.layer is not None else -kernel.index - 1, []).append(kernel)
    return (tuple(group) for group in grouped.values())


def _spread(numbers: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """At most `most` of `numbers`, evenly spread."""
    if most >= len(numbers):
        return numbers
    return numbers[np.linspace(0, len(numbers) - 1, most).round().astype(np.intp)]


def _batches(examples: Examples, chosen: npt.NDArray[np.intp]) -> Batches:
    """Equal batches of about BATCH of the chosen examples' inputs."""
    parts = np.array_split(chosen, -(-len(chosen) // BATCH))
    return [tuple(array[part] for array in examples.inputs) for part in parts]
