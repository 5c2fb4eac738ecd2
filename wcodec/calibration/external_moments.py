"""`--moments`: rounding with error feedback by second moments from a file. No framework is needed.

Only the inputs that multiply a tensor must be known, not the network. This works for models of every framework.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from wcodec.calibration.gptq import Float64
from wcodec.calibration.moment_product import Product
from wcodec.codec.plan import Plan, UniformPlan
from wcodec.codec.statistics import is_weight, scan_tensor, scan_tensors
from wcodec.codec.tensor_encoder import encode_tensor
from wcodec.container.dtypes import round_step, to_float32
from wcodec.errors import RecipeError
from wcodec.evaluation.datasets import open_npz
from wcodec.evaluation.examples import Array
from wcodec.model import Model, RowStepWeights, StepWeights, TunedTensor
from wcodec.modelfiles import open_model
from wcodec.pipeline.decoder import open_container
from wcodec.planning.allocation import plan_model
from wcodec.planning.recipe import Recipe

TRIES: Final = 6
"""The number of steps that are tried for the bytes of a tensor, and the ratio of two steps that ends the search."""
CLOSE: Final = 1.01
UNITS_FIRST: Final = frozenset({"torch", "safetensors", "onnx"})
"""Kinds of file in which square matrices are taken as [outputs, inputs]."""
MOST_MOVED: Final = 2.0
"""The largest change of the bytes of a tensor, in bits a weight."""
LEAST_MOVED: Final = 0.05
"""The smallest change, in bits a weight."""


@dataclass(frozen=True)
class MomentRounding:
    """The tensors to encode instead of the file's own values, by name.

    error: trace((W - W^)' H (W - W^)) / trace(W' H W), over all tensors with moments.
    said:  sentences about tensors without moments.
    """

    tuned: Mapping[str, TunedTensor]
    error: float
    notes: tuple[str, ...]


def round_by_moments(source: Path, moments: Path, recipe: Recipe, size: float = 1.0) -> MomentRounding:
    """Round each tensor of `source` that has an array in `moments`, with the steps of the recipe times `size`.

    moments: an .npz of E[x x'] (matrix) or E[x^2] (vector) by the tensors' names or their ends; x are the inputs in the
             order of the tensor's axes, all but the last (Keras) or all but the first (PyTorch).
    Raises: RecipeError if the arrays do not fit; ModelFileError.
    """
    with open_model(source, recipe.keep_optimizer) as model:
        surveys = [scan_tensor(tensor).statistics for tensor in model.tensors]
        plans = plan_model(model, surveys, _open_ended(recipe), size)
        found = _Roundings()
        for product, plan, _ in _read_products(model, moments, plans, found):
            rounded, error = product.round_at(round_step(plan.step))
            found.add([product.tensor.name], rounded, error, product.power)
    return found.result()


def _open_ended(recipe: Recipe) -> Recipe:
    return replace(recipe, target_bytes=None, target_ratio=None)


def fit_to_file(
    source: Path, moments: Path, plain: Path, keep_optimizer: bool, plans: tuple[Plan, ...]
) -> MomentRounding:
    """Round each tensor of `source` that has an array in `moments`, so that all take the bytes of `plain` together.

    Every other tensor keeps its bytes and its error. Tensors whose outputs improve may pass bytes to others, but the
    outputs of a tensor never change more than in `plain`; a tensor whose outputs do not improve stays as it is.

    plain:   a file encoded by these plans, one for each tensor.
    moments: see `round_by_moments`.
    """
    with open_model(source, keep_optimizer) as model, open_container(plain) as coded:
        keys = [
            (look.fingerprint, tensor.dtype, tensor.shape)
            for look, tensor in zip(scan_tensors(model.tensors, 0), model.tensors, strict=True)
        ]
        found, fits = _Roundings(), list[_Fit]()
        for product, plan, number in _read_products(model, moments, plans, found):
            before = product.measure_loss(to_float32(coded.values(number), product.tensor.dtype))
            nbytes = encode_tensor(product.tensor, plan, None, map).nbytes
            twins = [tensor.name for tensor, key in zip(model.tensors, keys, strict=True) if key == keys[number]]
            fit = _fit_bytes(_Fit(product, plan, twins, before, nbytes, plan.step))
            if fit is None or fit.error >= before:
                found.leave(product.tensor.name, before, product.power)
            else:
                fits.append(fit)
        for fit in _exchange(fits):
            found.add(fit.names, fit.round_tensor(), fit.error, fit.product.power)
    return found.result()


@dataclass(frozen=True)
class _Fit:
    """A tensor that is rounded with the step `step`.

    names:  of equal tensors.
    before: the power of the output error without moments.
    nbytes: the bytes that it may take.
    """

    product: Product
    plan: UniformPlan
    names: Sequence[str]
    before: float
    nbytes: float
    step: float
    error: float = math.inf

    def round_tensor(self) -> StepWeights | RowStepWeights:
        """The rounded tensor."""
        return self.product.round_at(round_step(self.step))[0]


def _exchange(fits: Sequence[_Fit]) -> list[_Fit]:
    """Move bytes between the tensors, with the same total, so that the error decreases.

    The error of a tensor counts relative to the power of its outputs for uncorrelated inputs. In this measure errors
    cost MiniLM's embeddings about the same in all tensors. One more bit a weight divides it by four; at equal slopes
    all tensors have the same error a weight (Shoham and Gersho 1988).
    """
    counts = np.array([fit.product.tensor.count for fit in fits], np.float64)
    errors = np.array([fit.error / (fit.product.usual_power or 1.0) for fit in fits])
    room = np.array([0.5 * math.log2(fit.before / max(fit.error, 1e-300)) for fit in fits])
    wanted = 0.5 * np.log2(np.maximum(errors, 1e-300) / counts)
    low, high = np.maximum(-room, -MOST_MOVED), np.full(len(fits), MOST_MOVED)
    middle = [wanted.min(initial=0.0) - MOST_MOVED, wanted.max(initial=0.0) + MOST_MOVED]
    for _ in range(50):  # bisection: a lower level gives more bits
        level = sum(middle) / 2
        moved = np.clip(wanted - level, low, high)
        middle[0 if (moved * counts).sum() > 0 else 1] = level
    moved = np.clip(wanted - middle[1], low, high)
    extra = moved * counts / 8
    made, freed = list(fits), 0.0
    for number in np.flatnonzero(moved < -LEAST_MOVED).tolist():
        fit = _fit_moved(fits[number], extra[number])
        if fit.error < fit.before:
            made[number] = fit
            freed -= extra[number]
    takers = np.flatnonzero(moved > LEAST_MOVED).tolist()
    part = min(1.0, freed / max(1.0, sum(extra[number] for number in takers)))
    for number in takers:
        fit = _fit_moved(fits[number], part * extra[number])
        made[number] = fit if fit.error < fits[number].error else fits[number]
    return made


def _fit_moved(fit: _Fit, extra: float) -> _Fit:
    """The tensor with this number of extra bytes; its error is infinite if they are too few."""
    bits = 8 * extra / fit.product.tensor.count
    return _fit_bytes(replace(fit, nbytes=fit.nbytes + extra, step=fit.step * 2.0**-bits)) or replace(
        fit, error=math.inf
    )


@dataclass
class _Roundings:
    """The rounded tensors, those with moments that were left, and the power of the outputs and of their error."""

    tuned: dict[str, TunedTensor] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    lost: float = 0.0
    power: float = 0.0

    def add(self, names: Sequence[str], one: StepWeights | RowStepWeights, lost: float, power: float) -> None:
        """Add equal tensors that were rounded."""
        self.tuned |= dict.fromkeys(names, one)
        self.lost, self.power = self.lost + lost, self.power + power

    def leave(self, name: str, lost: float = 0.0, power: float = 0.0) -> None:
        """Record a tensor that is coded as without moments."""
        self.left.append(name)
        self.lost, self.power = self.lost + lost, self.power + power

    def result(self) -> MomentRounding:
        """The result with its notes."""
        notes = [f"{len(self.tuned)} tensors rounded for their moments"]
        if self.left:
            notes.append(f"{len(self.left)} with moments are coded as without: {', '.join(self.left[:3])}")
        return MomentRounding(self.tuned, self.lost / self.power if self.power else 0.0, tuple(notes))


def _read_products(
    model: Model, moments: Path, plans: tuple[Plan, ...], found: _Roundings
) -> Iterator[tuple[Product, UniformPlan, int]]:
    """Each tensor that has moments and can be rounded, with its plan and its number; `found` collects the others.

    Raises: RecipeError if there is none, because the moments would have no effect.
    """
    with open_npz(moments) as archive:
        given = {name: _check_real(moments.name, name, archive[name]) for name in archive}
    count = 0
    for name, plan, number in _match_names(moments.name, model, given, plans):
        tensor = model.tensors[number]
        weights = to_float32(tensor.read(), tensor.dtype)
        if is_weight(tensor) and isinstance(plan, UniformPlan) and not plan.prune and np.isfinite(weights).all():
            count += 1
            yield Product(tensor, weights, given[name], model.kind in UNITS_FIRST), plan, number
        else:
            found.leave(tensor.name)
    if not count:
        raise RecipeError(
            f"{moments.name}: expected a tensor that is rounded to steps, found none: what is pruned, or has shared "
            "values, integers or short floats, is coded as without moments"
        )


def _check_real(where: str, name: str, array: Array) -> Float64:
    if array.dtype.kind not in "fiub":
        raise RecipeError(f"{where}: {name}: expected real numbers, got {array.dtype}")
    return array.astype(np.float64)


def _fit_bytes(fit: _Fit) -> _Fit | None:
    """The tensor with the smallest tried step that does not exceed its bytes, from the step of `fit` on."""
    step, best, inside, outside = fit.step, None, 0.0, 0.0
    for _ in range(TRIES):
        rounded, error = fit.product.round_at(round_step(step))
        excess = encode_tensor(fit.product.tensor, fit.plan, rounded, map).nbytes - fit.nbytes
        if excess <= 0:
            inside = step
            best = replace(fit, step=step, error=error) if best is None or error < best.error else best
        else:
            outside = step
        if inside and outside and inside / outside < CLOSE:
            break
        bits = 8.1 * excess / fit.product.tensor.count
        step = (inside * outside) ** 0.5 if inside and outside else step * 2.0**bits
    return best


def _match_names(
    where: str, model: Model, given: Mapping[str, Float64], plans: tuple[Plan, ...]
) -> list[tuple[str, Plan, int]]:
    """Names of moments, each with the plan and the number of its tensor."""
    found = []
    for name in given:
        ends = [i for i, tensor in enumerate(model.tensors) if tensor.name == name]
        ends = ends or [i for i, tensor in enumerate(model.tensors) if tensor.name.endswith((f"/{name}", f".{name}"))]
        if len(ends) != 1:
            known = ", ".join(tensor.name for tensor in model.tensors[:4])
            raise RecipeError(f"{where}: {name}: expected the name of one tensor, found {len(ends)} among {known}, ...")
        found.append((name, plans[ends[0]], ends[0]))
    return found
