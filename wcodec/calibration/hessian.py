"""Second moments of the inputs of linear operations: the Hessian of the squared error of their outputs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from wcodec.calibration.activations import Float32, Float64
from wcodec.calibration.linear_ops import LinearOp, count_inputs

MAX_INPUTS: Final = 4096
"""Inputs of one matrix of moments; wider kernels get several, and no feedback between them."""


@dataclass(frozen=True)
class Hessian:
    """Of rows x that meet a kernel, and rows x0 that met it in the original network; float64[inputs, inputs].

    power: E[x x'].
    drift: E[x (x0 - x)'], None where both are the same.
    """

    power: Float64
    drift: Float64 | None


def accumulate_hessians(
    ops: Sequence[LinearOp], met: Iterable[tuple[Float32, ...]], originals: Iterable[tuple[Float32, ...]] | None
) -> list[tuple[Hessian, ...]]:
    """For each site the moments of its rows; several, side by side, for a kernel of more than WIDEST inputs.

    met, originals: of `rows_met`.
    """
    parts = [split_inputs(op) for op in ops]
    powers = [[np.zeros((part.stop - part.start,) * 2) for part in cut] for cut in parts]
    drifts = [[np.zeros_like(power) for power in cut] for cut in powers]
    counts = [0] * len(ops)
    for rows, before in zip(met, itertools.repeat(None) if originals is None else originals, strict=False):
        for number, (x, cut) in enumerate(zip(rows, parts, strict=True)):
            counts[number] += len(x)
            for power, drift, part in zip(powers[number], drifts[number], cut, strict=True):
                np.add(power, x[:, part].T @ x[:, part], out=power)
                if before is not None:
                    np.add(drift, x[:, part].T @ (before[number][:, part] - x[:, part]), out=drift)
    return [
        tuple(
            Hessian(a / max(count, 1), None if originals is None else b / max(count, 1))
            for a, b in zip(p, d, strict=True)
        )
        for p, d, count in zip(powers, drifts, counts, strict=True)
    ]


def split_inputs(op: LinearOp) -> list[slice]:
    """The inputs in equal parts of at most WIDEST."""
    inputs = count_inputs(op)
    parts = -(-inputs // MAX_INPUTS)
    return [slice(a, b) for a, b in itertools.pairwise(inputs * i // parts for i in range(parts + 1))]
