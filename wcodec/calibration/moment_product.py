"""A tensor with the second moments of its inputs: rounding, and the cost of rounding at the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.gptq import Float32, Float64, feedback_matrix, gptq_round
from wcodec.calibration.hessian import damp
from wcodec.errors import RecipeError
from wcodec.model import RowStepWeights, StepWeights, Tensor

DAMPING: Final = 0.1
MAX_INPUTS: Final = 4096
"""The largest number of inputs with feedback among them; more are divided into parts."""
DEAD_ZONE: Final = 0.1
"""Added to the rounding threshold of 0.5, for an input of mean power, because a non-zero level costs more bytes."""
UNSEEN: Final = 0.1
"""The minimum power of an input, as a fraction of the mean, for inputs that a sample does not show (Good 1953). Words
that 240 sentences do not contain were a tenth of the words of other sentences."""
FALL: Final = 0.25
"""The exponent with which the step of an input falls with its power. At high rates 1/2 has the least error; at one to
three bits a weight this value has half of that error (the word embeddings of MiniLM)."""
GRID: Final = 4
"""The number of different steps in an octave: few, so that they take few bytes."""


TOLERANCE: Final = 1e-2
"""The relative error of moments that were summed in short floats."""


def _are_moments(matrix: Float64) -> bool:
    """Whether a matrix is symmetric and |E[x y]|^2 <= E[x^2] E[y^2], up to TOLERANCE; a few rows at a time."""
    roots = np.sqrt(matrix.diagonal())
    for start in range(0, len(matrix), 256):
        rows = slice(start, start + 256)
        bound = roots[rows, None] * roots
        differ = np.abs(matrix[rows] - matrix[:, rows].T) > TOLERANCE * bound
        if differ.any() or (np.abs(matrix[rows]) > (1 + TOLERANCE) * bound).any():
            return False
    return True


@dataclass(frozen=True)
class Product:
    """A tensor and the second moments of the inputs that it multiplies.

    units_first: whether a square matrix is [outputs, inputs].
    Raises: RecipeError if the moments do not fit.
    """

    tensor: Tensor
    weights: Float32
    moments: Float64
    units_first: bool

    def __post_init__(self) -> None:
        tensor, moments = self.tensor, self.moments
        if moments.ndim not in (1, 2):
            raise RecipeError(f"{tensor.name}: expected moments of one or two dimensions, got {moments.shape}")
        square = moments.ndim == 2 and moments.shape[0] == moments.shape[1]
        if not (self._are_last or self._are_first) or not (square or moments.ndim == 1):
            raise RecipeError(f"{tensor.name}: expected moments of the inputs of {tensor.shape}, got {moments.shape}")
        if not np.isfinite(moments).all() or (moments if moments.ndim == 1 else moments.diagonal()).min() < 0:
            raise RecipeError(f"{tensor.name}: expected finite moments with powers of 0 or more")
        if square and not _are_moments(moments):
            raise RecipeError(
                f"{tensor.name}: expected moments E[x x'], a symmetric matrix without an entry above the roots of the "
                "powers, got another matrix"
            )

    @property
    def _are_last(self) -> bool:
        """Whether the last axis can be the outputs."""
        return int(np.prod(self.tensor.shape[:-1])) == len(self.moments)

    @property
    def _are_first(self) -> bool:
        """Whether the first axis can be the outputs."""
        return int(np.prod(self.tensor.shape[1:])) == len(self.moments)

    @property
    def _is_turned(self) -> bool:
        """Whether the first axis is the outputs."""
        return self._are_first and (self.units_first or not self._are_last)

    def matrix(self, weights: Float32) -> Float32:
        """float32[inputs, outputs]. Inverse: `restore_shape`."""
        return weights.reshape(weights.shape[0], -1).T if self._is_turned else weights.reshape(-1, weights.shape[-1])

    def restore_shape(self, matrix: Float32) -> Float32:
        """Inverse: `matrix`."""
        return np.ascontiguousarray(matrix.T if self._is_turned else matrix).reshape(self.tensor.shape)

    @cached_property
    def importance(self) -> Float64:
        """The moments. Powers without correlations have a minimum, for inputs that the sample does not show."""
        return np.maximum(self.moments, UNSEEN * self.moments.mean()) if self.moments.ndim == 1 else self.moments

    @cached_property
    def power(self) -> float:
        """The power of the outputs."""
        return _compute_output_power(self.matrix(self.weights).astype(np.float64), self.importance)

    @cached_property
    def usual_power(self) -> float:
        """The power of the outputs for uncorrelated inputs of the same mean power."""
        powers = self.importance if self.moments.ndim == 1 else self.moments.diagonal()
        return float(powers.mean() * np.square(self.weights, dtype=np.float64).sum())

    def measure_loss(self, weights: Float32) -> float:
        """The power of the output error with other weights."""
        error = self.matrix(weights).astype(np.float64) - self.matrix(self.weights)
        return _compute_output_power(error, self.importance)

    def round_at(self, step: float) -> tuple[StepWeights | RowStepWeights, float]:
        """The tensor in steps, and the power of its output error.

        If only powers are known, the inputs of a matrix have individual steps, finer for those with more power.
        """
        matrix = self.matrix(self.weights)
        if self.moments.ndim == 1 and len(self.tensor.shape) == 2:
            steps = _compute_row_steps(self.importance, step)
            shaped = self.restore_shape(_round_with_dead_zone(matrix / steps[:, None]) * steps[:, None])
            return RowStepWeights(shaped, steps, "last" if self._is_turned else "first"), self.measure_loss(shaped)
        scaled = np.ascontiguousarray(matrix / np.float32(step))
        if self.moments.ndim == 1:
            levels = _round_with_dead_zone(scaled)
        else:
            levels = _round_with_feedback(self.tensor.name, scaled, self.moments)
        shaped = self.restore_shape(levels * np.float32(step))
        return StepWeights(shaped, step), self.measure_loss(shaped)


def _round_with_feedback(name: str, scaled: Float32, moments: Float64) -> Float32:
    parts = []
    count = -(-len(scaled) // MAX_INPUTS)
    for rows in np.array_split(np.arange(len(scaled)), count):
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        try:
            feedback = feedback_matrix(damp(moments[part, part], DAMPING))
        except np.linalg.LinAlgError as exc:
            raise RecipeError(f"{name}: expected moments E[x x'], got a matrix that is not positive") from exc
        parts.append(np.rint(gptq_round(scaled[part], feedback)))
    return np.concatenate(parts)


def _round_with_dead_zone(scaled: Float32) -> Float32:
    levels: Float32 = np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(0.5 - DEAD_ZONE))
    return levels


def _compute_row_steps(powers: Float64, step: float) -> Float32:
    """float32[inputs] with eight bits of mantissa: `step` for an input of mean power."""
    share = powers / (powers.mean() or 1.0)
    falls = np.rint(GRID * FALL * np.log2(np.maximum(share, UNSEEN))) / GRID
    steps = (step * np.exp2(-falls)).astype(np.float32)
    return (steps.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def _compute_output_power(matrix: npt.NDArray[np.float64], moments: Float64) -> float:
    through = moments[:, None] * matrix if moments.ndim == 1 else moments @ matrix
    return float((matrix * through).sum())
