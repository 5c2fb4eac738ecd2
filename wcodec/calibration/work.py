"""The work of calibration, counted from the network and not by the clock, so that a busy machine does the same work.

Seconds are nominal: about those of one core that other programs use too. They are computed from multiply-adds, weights
and calls, with factors fitted on the networks of `benchmarks/calibrated.py` (`benchmarks/NOTES.md`).
"""

from __future__ import annotations

import math
from typing import Final

from wcodec.calibration.session import CalibrationSession

ROUNDING: Final = 20.0
"""Nominal seconds of trials that round the whole network."""
TRAINING: Final = 70.0
"""Nominal seconds of training."""
TRIALS: Final = (4, 24)
"""The fewest and the most trials of a plan."""
MAC: Final = (7e-11, 3e-11, 5.7e-11)
"""Seconds of a multiply-add for one example: in a training step (two networks, and the gradients of one), in
inference or for a Hessian, and in a training step if an answer of the original serves four steps."""
OUTPUT: Final = (6e-9, 3e-9, 4.9e-9)
"""The same for an output of a kernel."""
WEIGHT: Final = 1.2e-8
"""Seconds of a weight in a training step, for any batch size."""
TENSOR: Final = 1.5e-4
"""Seconds of a tensor of weights in a training step."""
CALL: Final = 2e-4
"""Seconds of a call of a layer with kernels in a training step."""
RECORDED: Final = 2e-3
"""Seconds of a call of a recorded layer, for each batch."""
BATCHES: Final = (128, 32)
"""The number of examples in a training step; the second if a step of the first would take longer than SLOW."""
SLOW: Final = 0.06
"""Nominal seconds."""


def batch_size(session: CalibrationSession) -> int:
    """The number of examples in a training step."""
    return BATCHES[step_seconds(session, BATCHES[0]) > SLOW]


def planned_steps(session: CalibrationSession, kept: frozenset[int] = frozenset()) -> int:
    """The default number of training steps. kept: see `step_seconds`."""
    return math.ceil(TRAINING / step_seconds(session, batch_size(session), kept))


def planned_trials(session: CalibrationSession) -> int:
    """The default number of rounding trials, without those of single layer groups."""
    return int(min(max(ROUNDING / trial_seconds(session), TRIALS[0]), TRIALS[1]))


def step_seconds(session: CalibrationSession, batch: int, kept: frozenset[int] = frozenset()) -> float:
    """Nominal seconds of one training step on `batch` examples. kept: ids of kernels before those that are trained."""
    weights = sum(kernel.original.size for kernel in session.kernels)
    macs, outputs, calls = _count(session, kept)
    fixed = WEIGHT * weights + TENSOR * len(session.model.weights) + CALL * calls
    kind = 2 if kept else 0
    return fixed + batch * (MAC[kind] * macs + OUTPUT[kind] * outputs)


def trial_seconds(session: CalibrationSession) -> float:
    """Nominal seconds of rounding and measuring the whole network once."""
    groups = [group for group in session.groups if group.recorded]
    used = max((group.recorded.batches for group in groups if group.recorded), default=0)
    fitted = sum(len(batch[0]) for batch in session.fitting[:used])
    runs = min(len(groups), session.config.passes) * fitted + 2 * session.held_out.count
    rows = ((group.recorded, min(group.rows * fitted, session.config.max_rows)) for group in groups)
    hessians = sum(count * op.inputs**2 for one, count in rows if one for op in one.ops)
    macs, outputs, calls = _count(session)
    hooks = calls * len(session.fitting) * len(groups) / 2
    return MAC[1] * (runs * macs + hessians) + OUTPUT[1] * runs * outputs + RECORDED * hooks


def _count(session: CalibrationSession, kept: frozenset[int] = frozenset()) -> tuple[float, float, int]:
    """The work of one example: the multiply-adds and outputs of the followed kernels, and the calls of their layers.

    kept: ids of kernels that do not count.
    """
    macs, outputs, calls = 0.0, 0.0, 0
    for group in session.groups:
        if group.recorded:
            calls += group.recorded.calls
            for kernel, op in zip(group.kernels, group.recorded.ops, strict=True):
                if id(kernel.variable) in kept:
                    continue
                macs += group.rows * kernel.original.size
                outputs += group.rows * kernel.original.size / max(op.inputs, 1)
    return macs, outputs, calls
