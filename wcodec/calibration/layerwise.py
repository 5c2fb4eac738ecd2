"""Layer-wise rounding with error feedback, towards the outputs of the original network (GPTAQ, Li et al. 2025)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wcodec.calibration.activations import Rows
from wcodec.calibration.gptq import Float32, correct_for_drift, feedback_matrix, gptq_round
from wcodec.calibration.hessian import Hessian, accumulate_hessians, damp, split_inputs
from wcodec.calibration.kept_parts import KeptParts, Mask, make_mask
from wcodec.calibration.session import CalibrationSession, record_group, record_groups, record_originals, split_passes
from wcodec.calibration.time_limit import OutOfTimeError, never


@dataclass(frozen=True)
class RoundedWeight:
    """A weight in steps, after error feedback and before rounding.

    index:  its position in `model.weights`.
    path:   its name in Keras.
    values: float32[shape of the weight].
    """

    index: int
    path: str
    step: float
    values: Float32

    @property
    def levels(self) -> npt.NDArray[np.int32]:
        """The levels: weight = step * level."""
        return np.rint(self.values).astype(np.int32)

    @property
    def weights(self) -> Float32:
        """The rounded weight."""
        return self.levels * np.float32(self.step)


def round_all(
    session: CalibrationSession,
    steps: Mapping[int, float],
    damping: float,
    is_late: Callable[[], bool] = never,
    kept: Mapping[int, KeptParts] | None = None,
) -> list[RoundedWeight]:
    """Put rounded weights into the network, one layer group after another, and return them.

    The groups of one pass meet the outputs of the earlier passes, rounded.
    steps, kept: by index in `model.weights`. Raises: OutOfTimeError where it is late before one of them.
    """
    found: list[RoundedWeight] = []
    for numbers in split_passes(session):
        rows = record_groups(session, numbers) if numbers[0] and len(numbers) > 1 else {}
        for number in numbers:
            if is_late():
                raise OutOfTimeError
            now: Iterable[Rows] | None = rows.pop(number, None)
            if now is None and numbers[0] and session.groups[number].recorded:
                now = record_group(session, number)
            found += round_group(session, number, steps, damping, now, kept)
    return found


def round_group(
    session: CalibrationSession,
    number: int,
    steps: Mapping[int, float],
    damping: float,
    rows: Iterable[Rows] | None = None,
    kept: Mapping[int, KeptParts] | None = None,
) -> list[RoundedWeight]:
    """Round one layer group, after the groups before it were rounded.

    rows: the rows that the kernels multiply now; None: those of the original network, if no weight before them is
          rounded.
    """
    group, most = session.groups[number], session.config.max_inputs
    if group.recorded is None:
        values = [_in_steps(kernel.original, steps[kernel.index]) for kernel in group.kernels]
    else:
        originals = record_originals(session, number)
        now, before = (originals, None) if rows is None else (rows, originals)
        values = []
        hessians = accumulate_hessians(group.recorded.ops, now, before, most)
        for kernel, op, parts in zip(group.kernels, group.recorded.ops, hessians, strict=True):
            matrix, step, inputs = op.as_matrix(kernel.original), steps[kernel.index], split_inputs(op, most)
            mask = make_mask(matrix, inputs, [part.h for part in parts], (kept or {}).get(kernel.index, KeptParts()))
            rounded = [
                _round_matrix(matrix[rows], part, step, damping, None if mask is None else mask[rows])
                for rows, part in zip(inputs, parts, strict=True)
            ]
            values.append(op.as_kernel(np.concatenate(rounded)))
    found = [
        RoundedWeight(kernel.index, kernel.path, steps[kernel.index], array)
        for kernel, array in zip(group.kernels, values, strict=True)
    ]
    for kernel, one in zip(group.kernels, found, strict=True):
        kernel.variable.assign(one.weights)
    return found


def _round_matrix(weights: Float32, hessian: Hessian, step: float, damping: float, mask: Mask | None = None) -> Float32:
    h = damp(hessian.h, damping)
    target = weights if hessian.cross is None else correct_for_drift(weights, h, hessian.cross)
    return gptq_round(_in_steps(target, step), feedback_matrix(h), mask)


def _in_steps(weights: Float32, step: float) -> Float32:
    return weights / np.float32(step) if step else np.zeros_like(weights)
