"""`--moments`: rounding with error feedback for second moments that were measured elsewhere, without any framework.

What multiplies a tensor must be known to aim at its outputs; not which network it is in. So models of every framework,
in every file that is read here, profit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.gptq import Float32, Float64, damp, feedback_matrix, gptq_round
from wcodec.codec.plan import Plan, UniformPlan
from wcodec.codec.statistics import is_weight, scan_tensor, scan_tensors
from wcodec.codec.tensor_encoder import encode_tensor
from wcodec.container.dtypes import round_step, to_float32
from wcodec.errors import RecipeError
from wcodec.evaluation.datasets import open_npz
from wcodec.model import Model, StepWeights, Tensor, TunedTensor
from wcodec.modelfiles import open_model
from wcodec.pipeline.decoder import open_container
from wcodec.planning.allocation import plan_model
from wcodec.planning.recipe import Recipe

DAMPING: Final = 0.1
TRIES: Final = 6
"""Steps that are tried for the bytes of a tensor, and ratio of the nearest two that is close enough."""
CLOSE: Final = 1.01
MAX_INPUTS: Final = 4096
"""Inputs that have feedback among them; more are cut."""
UNITS_FIRST: Final = frozenset({"torch", "safetensors", "onnx"})
"""Kinds of file where square matrices are taken for [outputs, inputs]."""
DEAD_ZONES: Final = (0.1, 0.06, 0.03)
"""Added to the rounding threshold of 0.5 for an input of mean power, where only the powers are known; all are tried
where the bytes are given, else the first."""


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
    with open_model(source, recipe.keep_optimizer) as model:
        surveys = [scan_tensor(tensor).statistics for tensor in model.tensors]
        plans = plan_model(model, surveys, _open_ended(recipe), size)
        found = _Roundings()
        for product, plan, _ in _products(model, moments, plans, found):
            rounded, error = product.rounded(round_step(plan.step))
            found.add([product.tensor.name], rounded, error, product.power)
    return found.result()


def _open_ended(recipe: Recipe) -> Recipe:
    return replace(recipe, target_bytes=None, target_ratio=None)


def fit_to_file(
    source: Path, moments: Path, plain: Path, keep_optimizer: bool, plans: tuple[Plan, ...]
) -> MomentRounding:
    """Round each tensor of `source` for which `moments` has an array, so that it takes the bytes it has in `plain`.

    Every other tensor then has the same bytes and error, and outputs never move more than by `plain`: a tensor whose
    outputs do not move less is left as it is there.

    plain: a file that was made by these plans, one a tensor; moments: see `round_by_moments`.
    """
    with open_model(source, keep_optimizer) as model, open_container(plain) as coded:
        keys = [
            (look.fingerprint, tensor.dtype, tensor.shape)
            for look, tensor in zip(scan_tensors(model.tensors, 0), model.tensors, strict=True)
        ]
        found = _Roundings()
        for product, plan, number in _products(model, moments, plans, found):
            before = product.lost(to_float32(coded.values(number), product.tensor.dtype))
            zones = DEAD_ZONES if product.moments.ndim == 1 else DEAD_ZONES[:1]
            fits = [fit for zone in zones if (fit := _fit_bytes(product, plan, zone))]
            one = min(fits, key=lambda fit: fit[1], default=None)
            if one is None or one[1] >= before:
                found.leave(product.tensor.name, before, product.power)
                continue
            twins = [tensor.name for tensor, key in zip(model.tensors, keys, strict=True) if key == keys[number]]
            found.add(twins, *one, product.power)
    return found.result()


@dataclass
class _Roundings:
    """What was rounded, which tensors with moments were left, and the power of the outputs and of their error."""

    tuned: dict[str, TunedTensor] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    lost: float = 0.0
    power: float = 0.0

    def add(self, names: Sequence[str], one: StepWeights, lost: float, power: float) -> None:
        """Equal tensors that were rounded."""
        self.tuned |= dict.fromkeys(names, one)
        self.lost, self.power = self.lost + lost, self.power + power

    def leave(self, name: str, lost: float = 0.0, power: float = 0.0) -> None:
        """A tensor that is coded as without moments."""
        self.left.append(name)
        self.lost, self.power = self.lost + lost, self.power + power

    def result(self) -> MomentRounding:
        """With its notes."""
        notes = [f"{len(self.tuned)} tensors rounded for their moments"]
        if self.left:
            notes.append(f"{len(self.left)} with moments are coded as without: {', '.join(self.left[:3])}")
        return MomentRounding(self.tuned, self.lost / self.power if self.power else 0.0, tuple(notes))


def _products(
    model: Model, moments: Path, plans: tuple[Plan, ...], found: _Roundings
) -> Iterator[tuple[_Product, UniformPlan, int]]:
    """Each tensor that has moments and can be rounded, with its plan and its number; `found` gets the others.

    Raises: RecipeError where there is none, so that the moments would do nothing.
    """
    with open_npz(moments) as archive:
        given = {name: np.asarray(archive[name], np.float64) for name in archive}
    count = 0
    for name, plan, number in _match_names(moments.name, model, given, plans):
        tensor = model.tensors[number]
        weights = to_float32(tensor.read(), tensor.dtype)
        if is_weight(tensor) and isinstance(plan, UniformPlan) and not plan.prune and np.isfinite(weights).all():
            count += 1
            yield _Product(tensor, weights, given[name], model.kind in UNITS_FIRST), plan, number
        else:
            found.leave(tensor.name)
    if not count:
        raise RecipeError(
            f"{moments.name}: expected a tensor that is rounded to steps, found none: what is pruned, or has shared "
            "values, integers or short floats, is coded as without moments"
        )


def _fit_bytes(product: _Product, plan: UniformPlan, dead_zone: float) -> tuple[StepWeights, float] | None:
    """The tensor by the smallest step tried at which it takes no more bytes than without moments, and its error."""
    most = encode_tensor(product.tensor, plan, None, map).nbytes
    step, best, inside, outside = plan.step, None, 0.0, 0.0
    for _ in range(TRIES):
        rounded, error = product.rounded(round_step(step), dead_zone)
        excess = encode_tensor(product.tensor, plan, rounded, map).nbytes - most
        if excess <= 0:
            inside = step
            best = (rounded, error) if best is None or error < best[1] else best
        else:
            outside = step
        if inside and outside and inside / outside < CLOSE:
            break
        step = (inside * outside) ** 0.5 if inside and outside else step * 2.0 ** (8.1 * excess / product.tensor.count)
    return best


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


@dataclass(frozen=True)
class _Product:
    """A tensor and the second moments of what it multiplies.

    units_first: whether a square matrix is [outputs, inputs].
    Raises: RecipeError where the moments do not fit.
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

    @property
    def _are_last(self) -> bool:
        """Whether the last axis can be the outputs; `_are_first`: the first one."""
        return int(np.prod(self.tensor.shape[:-1])) == len(self.moments)

    @property
    def _are_first(self) -> bool:
        return int(np.prod(self.tensor.shape[1:])) == len(self.moments)

    def matrix(self, weights: Float32) -> Float32:
        """float32[inputs, outputs]. Inverse: `shaped`."""
        turned = self._are_first and (self.units_first or not self._are_last)
        return weights.reshape(weights.shape[0], -1).T if turned else weights.reshape(-1, weights.shape[-1])

    def shaped(self, matrix: Float32) -> Float32:
        """Inverse: `matrix`."""
        turned = self._are_first and (self.units_first or not self._are_last)
        return np.ascontiguousarray(matrix.T if turned else matrix).reshape(self.tensor.shape)

    @property
    def power(self) -> float:
        """Of the outputs."""
        return _output_power(self.matrix(self.weights).astype(np.float64), self.moments)

    def lost(self, weights: Float32) -> float:
        """Power of the error of the outputs with other weights."""
        error = self.matrix(weights).astype(np.float64) - self.matrix(self.weights)
        return _output_power(error, self.moments)

    def rounded(self, step: float, dead_zone: float = DEAD_ZONES[0]) -> tuple[StepWeights, float]:
        """The tensor in steps, and the power of its outputs' error."""
        scaled = np.ascontiguousarray(self.matrix(self.weights) / np.float32(step))
        levels = (
            _round_with_dead_zone(scaled, self.moments, dead_zone)
            if self.moments.ndim == 1
            else _round_with_feedback(self.tensor.name, scaled, self.moments)
        )
        shaped = self.shaped(levels * np.float32(step))
        return StepWeights(shaped, step), self.lost(shaped)


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


def _round_with_dead_zone(scaled: Float32, powers: Float64, dead_zone: float) -> Float32:
    """Rounded towards 0 the more the less an input matters: a level there costs as much and brings less."""
    share = powers / (powers.mean() or 1.0)
    dull = (dead_zone / np.maximum(share, 1e-9)).astype(np.float32)[:, None]
    levels: Float32 = np.sign(scaled) * np.maximum(np.floor(np.abs(scaled) + 0.5 - dull), 0)
    return levels


def _output_power(matrix: npt.NDArray[np.float64], moments: Float64) -> float:
    through = moments[:, None] * matrix if moments.ndim == 1 else moments @ matrix
    return float((matrix * through).sum())
