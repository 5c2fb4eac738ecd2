"""`--moments`: rounding with error feedback for second moments that were measured elsewhere, without any framework.

What multiplies a tensor must be known to aim at its outputs; not which network it is in. So models of every framework,
in every file that is read here, profit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.gptq import Float32, Float64, damp, feedback_matrix, gptq_round
from wcodec.codec.plan import Plan, UniformPlan
from wcodec.codec.statistics import is_weight, scan_tensor
from wcodec.container.dtypes import round_step, to_float32
from wcodec.errors import RecipeError
from wcodec.evaluation.datasets import open_npz
from wcodec.model import Model, StepWeights, Tensor, TunedTensor
from wcodec.modelfiles import open_model
from wcodec.planning.allocation import plan_model
from wcodec.planning.recipe import Recipe

DAMPING: Final = 0.1
MAX_INPUTS: Final = 4096
"""Inputs that have feedback among them; more are cut."""
UNITS_FIRST: Final = frozenset({"torch", "safetensors", "onnx"})
"""Kinds of file where square matrices are taken for [outputs, inputs]."""
DEAD_ZONE: Final = 0.1
"""Added to the rounding threshold of 0.5 for an input of mean power, where only the powers are known."""


@dataclass(frozen=True)
class MomentRounding:
    """What to code in place of the file's own values, by tensor name.

    error: trace((W - W^)' H (W - W^)) / trace(W' H W), over all tensors with moments.
    said:  sentences on what had none.
    """

    tuned: Mapping[str, TunedTensor]
    error: float
    notes: tuple[str, ...]


def round_by_moments(source: Path, moments: Path, recipe: Recipe, size: float = 1.0) -> MomentRounding:
    """Round each tensor of `source` for which `moments` has an array, by the steps of the recipe times `size`.

    moments: .npz of E[x x'] (matrix) or of E[x^2] (vector) by the tensors' names, or ends of them; x are the inputs in
             the order of the tensor's axes, all but the last (Keras) or all but the first (PyTorch).

    Raises: RecipeError where they do not fit; ModelFileError.
    """
    with open_npz(moments) as archive:
        given = {name: np.asarray(archive[name], np.float64) for name in archive}
    with open_model(source, recipe.keep_optimizer) as model:
        surveys = [scan_tensor(tensor).statistics for tensor in model.tensors]
        plans = plan_model(model, surveys, replace(recipe, target_bytes=None, target_ratio=None), size)
        plain: list[str] = []
        tuned: dict[str, TunedTensor] = {}
        lost = power = 0.0
        for name, plan, number in _match_names(moments.name, model, given, plans):
            tensor = model.tensors[number]
            weights = to_float32(tensor.read(), tensor.dtype)
            if (
                not is_weight(tensor)
                or not isinstance(plan, UniformPlan)
                or plan.prune
                or not np.isfinite(weights).all()
            ):
                plain.append(tensor.name)
                continue
            one = _round_tensor(tensor, weights, given[name], round_step(plan.step), model.kind in UNITS_FIRST)
            tuned[tensor.name] = one[0]
            lost, power = lost + one[1], power + one[2]
    notes = [f"{len(tuned)} tensors rounded for their moments"]
    if plain:
        notes.append(f"{len(plain)} with moments are coded as without: {', '.join(plain[:3])}")
    return MomentRounding(tuned, lost / power if power else 0.0, tuple(notes))


def _match_names(
    where: str, model: Model, given: Mapping[str, Float64], plans: tuple[Plan, ...]
) -> list[tuple[str, Plan, int]]:
    """Names of moments with the plan and the number of the tensor that each is for."""
    found = []
    for name in given:
        ends = [i for i, tensor in enumerate(model.tensors) if tensor.name == name]
        ends = ends or [i for i, tensor in enumerate(model.tensors) if tensor.name.endswith((f"/{name}", f".{name}"))]
        if len(ends) != 1:
            known = ", ".join(tensor.name for tensor in model.tensors[:4])
            raise RecipeError(f"{where}: {name}: expected the name of one tensor, found {len(ends)} among {known}, ...")
        found.append((name, plans[ends[0]], ends[0]))
    return found


def _round_tensor(
    tensor: Tensor, weights: Float32, moments: Float64, step: float, units_first: bool
) -> tuple[TunedTensor, float, float]:
    """The tensor in steps, the power of its outputs' error, and that of its outputs."""
    if moments.ndim not in (1, 2):
        raise RecipeError(f"{tensor.name}: expected moments of one or two dimensions, got {moments.shape}")
    units_last = int(np.prod(tensor.shape[:-1])) == len(moments)
    first = int(np.prod(tensor.shape[1:])) == len(moments)
    square = moments.ndim == 2 and moments.shape[0] == moments.shape[1]
    if not (units_last or first) or not (square or moments.ndim == 1):
        raise RecipeError(f"{tensor.name}: expected moments of the inputs of {tensor.shape}, got {moments.shape}")
    if not np.isfinite(moments).all() or (moments if moments.ndim == 1 else moments.diagonal()).min() < 0:
        raise RecipeError(f"{tensor.name}: expected finite moments with powers of 0 or more")
    turned = first and (units_first or not units_last)
    matrix = weights.reshape(weights.shape[0], -1).T if turned else weights.reshape(-1, weights.shape[-1])
    scaled = np.ascontiguousarray(matrix / np.float32(step))
    levels = (
        _round_with_dead_zone(scaled, moments)
        if moments.ndim == 1
        else _round_with_feedback(tensor.name, scaled, moments)
    )
    values = levels * np.float32(step)
    error = (values - matrix).astype(np.float64)
    shaped = np.ascontiguousarray(values.T if turned else values).reshape(tensor.shape)
    return StepWeights(shaped, step), _output_power(error, moments), _output_power(matrix.astype(np.float64), moments)


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


def _round_with_dead_zone(scaled: Float32, powers: Float64) -> Float32:
    """Rounded towards 0 the more the less an input matters: a level there costs as much and brings less."""
    share = powers / (powers.mean() or 1.0)
    dull = (DEAD_ZONE / np.maximum(share, 1e-9)).astype(np.float32)[:, None]
    levels: Float32 = np.sign(scaled) * np.maximum(np.floor(np.abs(scaled) + 0.5 - dull), 0)
    return levels


def _output_power(matrix: npt.NDArray[np.float64], moments: Float64) -> float:
    through = moments[:, None] * matrix if moments.ndim == 1 else moments @ matrix
    return float((matrix * through).sum())
