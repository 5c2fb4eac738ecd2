"""Second moments of the inputs of linear operations: the Hessian of the squared error of their outputs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from wcodec.calibration.activations import Float64, Rows
from wcodec.calibration.linear_ops import LinearOp

DEAD: Final = 1e-6
"""Inputs with less than this fraction of the mean power are treated as if they had the mean: they get no feedback."""


@dataclass(frozen=True)
class Hessian:
    """Moments of the rows x that a kernel multiplies, and of the rows x0 in the original network.

    h:     float64[inputs, inputs], E[x x'].
    cross: float64[inputs, inputs], E[x (x0 - x)']; None if both are equal.
    """

    h: Float64
    cross: Float64 | None


def accumulate_hessians(
    ops: Sequence[LinearOp], rows: Iterable[Rows], originals: Iterable[Rows] | None, max_inputs: int
) -> list[tuple[Hessian, ...]]:
    """The Hessian of the rows of each operation; with more than `max_inputs` inputs, several diagonal blocks of it.

    rows, originals: batch by batch, see `activations.Rows`.
    """
    parts = [split_inputs(op, max_inputs) for op in ops]
    sums = [[np.zeros((part.stop - part.start,) * 2) for part in cut] for cut in parts]
    crosses = [[np.zeros_like(h) for h in cut] for cut in sums]
    counts = [0] * len(ops)
    for now, before in zip(rows, itertools.repeat(None) if originals is None else originals, strict=False):
        for number, (x, cut) in enumerate(zip(now, parts, strict=True)):
            counts[number] += len(x)
            for h, cross, part in zip(sums[number], crosses[number], cut, strict=True):
                np.add(h, x[:, part].T @ x[:, part], out=h)
                if before is not None:
                    np.add(cross, x[:, part].T @ (before[number][:, part] - x[:, part]), out=cross)
    return [
        tuple(
            Hessian(h / max(count, 1), None if originals is None else cross / max(count, 1))
            for h, cross in zip(*both, strict=True)
        )
        for *both, count in zip(sums, crosses, counts, strict=True)
    ]


def split_inputs(op: LinearOp, max_inputs: int) -> list[slice]:
    """The inputs in equal parts of at most `max_inputs`."""
    parts = -(-op.inputs // max_inputs)
    return [slice(a, b) for a, b in itertools.pairwise(op.inputs * i // parts for i in range(parts + 1))]


def damp(power: Float64, damping: float) -> Float64:
    """Second moments `power[n, n]` plus `damping` times their mean diagonal.

    Without enough damping the feedback accumulates large weights in directions that the inputs hardly use.
    """
    diagonal = np.diagonal(power)
    mean = float(diagonal.mean()) or 1.0
    return power + np.diag(np.where(diagonal < DEAD * mean, mean, 0.0) + damping * mean)
