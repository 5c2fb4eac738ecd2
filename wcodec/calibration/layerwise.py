"""One stage of a network rounded: with error feedback, aimed at what the original computed (GPTAQ, Li et al. 2025)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wcodec.calibration.gptq import Float32, aimed, damped, feedback_matrix, latents
from wcodec.calibration.hessian import Moments, moments, parts_of
from wcodec.calibration.session import Subject, groups, original_rows, rows_of, rows_of_all

Rows = tuple[Float32, ...]


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

    @property
    def weights(self) -> Float32:
        """What the kernel becomes."""
        return self.levels * np.float32(self.step)


def round_stage(
    subject: Subject, number: int, steps: Mapping[int, float], damping: float, rows: Iterable[Rows] | None = None
) -> tuple[Latents, ...]:
    """Put rounded weights into the network for one stage, given those that are rounded already.

    steps: by place in `model.weights`.
    rows:  that meet the stage's kernels now; None: those of the original, where nothing before it is rounded.
    """
    stage = subject.stages[number]
    moved = _moved(subject, number, steps, damping, rows)
    found = tuple(
        Latents(kernel.index, kernel.variable.path, steps[kernel.index], values)
        for kernel, values in zip(stage.kernels, moved, strict=True)
    )
    for kernel, one in zip(stage.kernels, found, strict=True):
        kernel.variable.assign(one.weights)
    return found


def round_all(subject: Subject, steps: Mapping[int, float], damping: float) -> list[Latents]:
    """The same for all stages in turn. Those of a group meet what the groups before them, rounded, give."""
    found: list[Latents] = []
    for numbers in groups(subject):
        now = rows_of_all(subject, numbers) if numbers[0] and len(numbers) > 1 else {}
        for number in numbers:
            stage, rows = subject.stages[number], now.pop(number, None)
            if rows is None and numbers[0] and stage.layer is not None:
                found += round_stage(subject, number, steps, damping, rows_of(subject, stage))
            else:
                found += round_stage(subject, number, steps, damping, rows)
    return found


def _moved(
    subject: Subject, number: int, steps: Mapping[int, float], damping: float, rows: Iterable[Rows] | None
) -> list[Float32]:
    """The latents of a stage's kernels, in their own shapes."""
    stage = subject.stages[number]
    if stage.layer is None:
        return [_in_steps(kernel.original, steps[kernel.index]) for kernel in stage.kernels]
    originals = original_rows(subject, number)
    seen = moments(stage.sites, originals, None) if rows is None else moments(stage.sites, rows, originals)
    found = []
    for kernel, site, parts in zip(stage.kernels, stage.sites, seen, strict=True):
        matrix = site.matrix(kernel.original)
        moved = [
            _fed_back(matrix[inputs], part, steps[kernel.index], damping)
            for inputs, part in zip(parts_of(site), parts, strict=True)
        ]
        found.append(site.kernel(np.concatenate(moved)))
    return found


def _fed_back(weights: Float32, seen: Moments, step: float, damping: float) -> Float32:
    power = damped(seen.power, damping)
    target = weights if seen.drift is None else aimed(weights, power, seen.drift)
    return latents(_in_steps(target, step), feedback_matrix(power))


def _in_steps(weights: Float32, step: float) -> Float32:
    return weights / np.float32(step) if step else np.zeros_like(weights)
