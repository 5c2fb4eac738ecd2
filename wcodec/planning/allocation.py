"""Bit allocation: from a recipe and the statistics of every tensor to one plan for each tensor."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final, Literal, get_args

from wcodec.codec.magnitude_pruning import global_threshold
from wcodec.codec.plan import (
    Affine,
    AffinePlan,
    CodebookPlan,
    ExactPlan,
    FloatPlan,
    Plan,
    ProductPlan,
    Prune,
    UniformPlan,
)
from wcodec.codec.statistics import LEAST_NORMAL, TensorStatistics, is_weight
from wcodec.container.dtypes import to_float32
from wcodec.errors import RecipeError
from wcodec.model import Model, Tensor, is_vector
from wcodec.model.dataclass import dataclass
from wcodec.planning.patterns import options_by_tensor
from wcodec.planning.recipe import ALIGNED, CLASSIC, Options, Preset, Recipe
from wcodec.planning.vectors import EXACT_BITS, Vectors

_STEP: dict[Preset, float] = {"safe": 0.3, "balanced": 0.63, "small": 1.0, CLASSIC: 0.63}
"""The step of a single large tensor, divided by its rms; `_compute_step_factor` reduces it."""
VALUES_STEP = 0.2
"""A factor on these steps for a model that predicts values, because every error changes its outputs."""
_MANTISSA: dict[Preset, int] = {"safe": 23, "balanced": 7, "small": 5, CLASSIC: 23}
_STATES: Literal[128] = 128
_FINEST, _TURNED = 2.0**26, 2.0**22
"""The largest level: beyond it floats are as short as integers, and transformed integers overflow."""
_PRUNED = 0.25
"""A tensor with at least this fraction of zeros was pruned; its zeros are kept."""
_LAMBDA = {0: 0.1, 128: 0.25}
"""Lambda of the rate-distortion decisions: the squared error, in squared steps, that a bit is worth."""


@dataclass(frozen=True)
class WeightTotals:
    """Facts about all weights on which the step of each tensor depends: number, elements, most elements and energy."""

    tensors: int
    regular: int
    largest: int
    energy: float

    def __add__(self, other: WeightTotals) -> WeightTotals:
        """The totals of two files of one model."""
        largest = max(self.largest, other.largest)
        energy = self.energy + other.energy
        return WeightTotals(self.tensors + other.tensors, self.regular + other.regular, largest, energy)


def plan_model(
    model: Model,
    surveys: Sequence[TensorStatistics | None],
    recipe: Recipe,
    size: float = 1.0,
    totals: WeightTotals | None = None,
) -> tuple[Plan, ...]:
    """One plan for each tensor.

    Without `max_error` steps rise with a tensor's rms and number of weights, and fall with the number of tensors. With
    it all weights have one step, which at high rate gives the least squared error for the bytes.

    surveys: statistics of the tensors that may be quantised, None for the others.
    size:    a factor on all steps, which a search varies.
    totals:  of the whole model, if this is one of its shards.
    Raises: RecipeError for a pattern that finds nothing.
    """
    asked = options_by_tensor(model.tensors, recipe)
    requests = [asked[tensor.name] for tensor in model.tensors]
    weights = _list_weights(model.tensors, surveys, requests)
    totals = totals or _sum_totals(weights)
    relative = size * _STEP[recipe.preset] * _compute_step_factor(totals.tensors, totals.regular)
    relative *= VALUES_STEP if model.predicts_values else 1.0
    # Plain rounding by this step has the error that max_error allows.
    step = size * (12.0 * (recipe.max_error or 0.0) * totals.energy / max(1, totals.regular)) ** 0.5
    shared = _find_shared_threshold([tensor for tensor, _ in weights], recipe)
    names = [tensor.name for tensor in model.tensors]
    vectors = Vectors(dict(zip(names, model.tensors, strict=True)), dict(zip(names, surveys, strict=True)))
    factors = vectors.step_factors()
    plans: list[Plan] = []
    for tensor, found, (options, named) in zip(model.tensors, surveys, requests, strict=True):
        factor, plain = factors.get(tensor.name, 1.0), _is_plain(options, named)
        exact = options.lossless or (plain and (not factor or (is_vector(tensor) and len(tensor.shape) != 1)))
        if found is None or not found.in_range or exact:
            plans.append(_make_exact_plan(recipe))
        elif is_weight(tensor) or named:
            own = relative * found.rms * (found.in_range / totals.largest) ** 0.25
            own = (step or own) * (factor or 1.0)
            affine = plain_plan(tensor, model.kind, options, recipe, found.limit, shared or options.prune)
            plans.append(affine or _plan_weight(tensor, options, named, found, recipe, own, shared))
        else:
            shorter = shorter_plan(options, recipe, found.limit, None)
            plans.append(
                shorter or _plan_vector(vectors.mantissa_bits(tensor, _choose_mantissa(recipe)), found, recipe)
            )
    return tuple(plans)


def weight_totals(model: Model, surveys: Sequence[TensorStatistics | None], recipe: Recipe) -> WeightTotals:
    """The totals of one file. Raises: RecipeError for a pattern that finds nothing."""
    asked = options_by_tensor(model.tensors, recipe)
    return _sum_totals(_list_weights(model.tensors, surveys, [asked[tensor.name] for tensor in model.tensors]))


def lossy_weights(tensors: Sequence[Tensor], recipe: Recipe) -> list[Tensor]:
    """The weights that may be quantised. Raises: RecipeError for a pattern that finds nothing."""
    asked = options_by_tensor(tensors, recipe)
    return [one for one in tensors if is_weight(one) and not one.exact and not asked[one.name][0].lossless]


def _list_weights(
    tensors: Sequence[Tensor], surveys: Sequence[TensorStatistics | None], requests: Sequence[tuple[Options, bool]]
) -> list[tuple[Tensor, TensorStatistics]]:
    """The weights that may be quantised."""
    return [
        (tensor, found)
        for tensor, found, (options, _) in zip(tensors, surveys, requests, strict=True)
        if found and is_weight(tensor) and not options.lossless
    ]


def _sum_totals(weights: Sequence[tuple[Tensor, TensorStatistics]]) -> WeightTotals:
    counts = [found.in_range for _, found in weights]
    return WeightTotals(len(weights), sum(counts), max(counts, default=1), sum(found.energy for _, found in weights))


def _is_plain(options: Options, named: bool) -> bool:
    """Whether only the preset, or a multiple of its step, determines how this tensor is coded."""
    step = options.step and not options.step.relative
    return not (named or options.quantizer or options.bits or options.clusters or step or options.prune)


def _make_exact_plan(recipe: Recipe) -> ExactPlan:
    """Deep Compression has no context coder, by which the other efforts code exact values."""
    return ExactPlan("fast" if recipe.preset == CLASSIC else recipe.effort)


def _plan_vector(mantissa: int, found: TensorStatistics, recipe: Recipe) -> Plan:
    if mantissa >= EXACT_BITS:
        return _make_exact_plan(recipe)
    return FloatPlan(limit=found.limit, mantissa=mantissa, effort=recipe.effort)


def _plan_weight(
    tensor: Tensor,
    options: Options,
    named: bool,
    found: TensorStatistics,
    recipe: Recipe,
    step: float,
    shared: Prune | None,
) -> Plan:
    clusters = options.clusters or (1 << options.bits if options.bits else None)
    quantizer = options.quantizer or "auto"
    given = options.step if options.step and not options.step.relative else None
    few = quantizer == "auto" and not clusters and not given
    if quantizer == "auto":
        quantizer = "kmeans" if clusters else "uniform"
    if options.block and quantizer != "product":
        raise RecipeError(f"block: expected the product quantizer with it, got {quantizer} for {tensor.name}")
    # A trellis has more values than the integers of one step, so it is not used with a number of values.
    is_counted = quantizer == "uniform" and bool(clusters) and not given
    if clusters and not named and recipe.preset != CLASSIC and _is_fragile(tensor, clusters):
        quantizer, clusters = "uniform", 256
    peak, pruned = max(-found.low, found.high), shared or options.prune
    if given:
        step = given.amount
    elif clusters and quantizer == "uniform":
        step, clusters = peak / max(1, (clusters - 1) // 2), None
    elif options.step:
        step *= options.step.amount
    if step <= 0.0:  # a tensor of zeros, which training may have changed
        return FloatPlan(limit=found.limit, coder=coder_of(options, recipe), effort=recipe.effort)
    if 0.0 < peak < LEAST_NORMAL:
        return _make_exact_plan(recipe)
    if quantizer == "uniform" and peak > step * _FINEST:
        if not pruned:
            return _make_exact_plan(recipe)
        step = peak / _FINEST
    coder = coder_of(options, recipe)
    huffman = coder in {"huffman", "fast", "fixed", "classic"}
    trellis = quantizer == "uniform" and not is_counted and not huffman and not options.prune
    states = _STATES if trellis else 0
    lambda_ = 0.0 if options.prune or recipe.effort == "fast" else _LAMBDA[states]
    common = pruned, found.limit, coder, recipe.effort
    if quantizer == "kmeans":
        return CodebookPlan(*common, clusters, step, lambda_, options.start or "linear", recipe.seed)
    if quantizer == "product":
        whole = bool(options.aligned)  # bits have no price then, so all codes of a byte are used
        return ProductPlan(*common, clusters or (ALIGNED if whole else None), step, lambda_, options.block, whole)
    zeros = found.zeros >= _PRUNED * tensor.count
    return UniformPlan(*common, step, lambda_, states, few, peak <= step * _TURNED and not zeros, zeros)


def _choose_mantissa(recipe: Recipe) -> int:
    """Mantissa bits of vectors: of the preset, or enough to keep their error far below that of the weights."""
    if recipe.max_error is None:
        return _MANTISSA[recipe.preset]
    return min(23, max(5, math.ceil(-0.5 * math.log2(recipe.max_error)) + 3))


def _compute_step_factor(tensors: int, weights: int) -> float:
    """The factor by which steps are smaller in deep networks, whose errors add up, and in small ones.

    Fitted on eleven networks of nine kinds (`benchmarks/zoo.py`); `balanced` loses at most 0.3 points on each.
    """
    return float(max(1, tensors) ** -0.35 * min(1.0, weights / 250_000) ** 0.25)


def _is_fragile(tensor: Tensor, clusters: int) -> bool:
    """Depthwise kernels, and tensors with too few weights for a codebook to make them smaller."""
    return tensor.count < 4 * clusters or (len(tensor.shape) >= 3 and tensor.shape[-1] == 1)


def exact_names(model: Model, recipe: Recipe) -> set[str]:
    """The tensors that the recipe codes exactly.

    Raises: RecipeError for a pattern that finds nothing.
    """
    return {name for name, (options, _) in options_by_tensor(model.tensors, recipe).items() if options.lossless}


def _find_shared_threshold(weights: Sequence[Tensor], recipe: Recipe) -> Prune | None:
    """The threshold that gives the requested sparsity over all weights together."""
    prune = recipe.options.prune
    if not recipe.global_sparsity or prune is None or prune.rule == "deviations":
        return None
    if prune.rule == "absolute":  # of all shards, found before
        return prune
    return Prune("absolute", global_threshold(lambda: (to_float32(t.read(), t.dtype) for t in weights), prune.amount))


_AFFINE: dict[str, Affine] = {how: how for how in get_args(Affine)}
_SHORTER: dict[str, tuple[Literal["float16", "bfloat16"], int, float]] = {
    "float16": ("float16", 10, 65504.0),
    "bfloat16": ("bfloat16", 7, 2.0**128 - 2.0**120),
}
"""By quantiser: the type, its bits of mantissa and its largest number."""
_OUTPUTS_FIRST = frozenset({"safetensors", "torch", "onnx"})
"""Kinds of model file whose weights have their outputs in front, as PyTorch has them; in Keras they come last."""
_TABLE: Final = re.compile(r"(^|/)embeddings(:0)?$")
"""Names of embedding tables in Keras, whose channels are their rows."""


def plain_plan(
    tensor: Tensor, kind: str, options: Options, recipe: Recipe, limit: float, prune: Prune | None
) -> Plan | None:
    """The plan of a weight for the quantisers that need no statistics; None for others.

    kind:  of the model file.
    limit: larger magnitudes are kept exactly.
    """
    if options.quantizer in _SHORTER or options.quantizer == "none":
        return shorter_plan(options, recipe, limit, prune)
    if options.quantizer not in _AFFINE:
        return None
    first = kind in _OUTPUTS_FIRST or _TABLE.search(tensor.user_name or tensor.name)
    outputs: Literal["first", "last"] = "first" if first else "last"
    return AffinePlan(
        prune,
        limit,
        coder_of(options, recipe),
        recipe.effort,
        _AFFINE[options.quantizer],
        options.bits or 8,
        outputs if options.per_channel else "",
    )


def shorter_plan(options: Options, recipe: Recipe, limit: float, prune: Prune | None) -> ExactPlan | FloatPlan | None:
    """The plan for a shorter float type, also for vectors; values out of its range are kept exactly."""
    if options.quantizer == "none":
        return FloatPlan(prune, limit, coder_of(options, recipe), recipe.effort) if prune else _make_exact_plan(recipe)
    if options.quantizer not in _SHORTER:
        return None
    kind, mantissa, most = _SHORTER[options.quantizer]
    return FloatPlan(prune, min(limit, most), coder_of(options, recipe), recipe.effort, mantissa, kind)


def coder_of(options: Options, recipe: Recipe) -> str:
    """The requested coder; otherwise "fast" if speed was requested, or "classic" for that preset."""
    if not options.coder and recipe.preset == CLASSIC:
        return "classic"
    coder = options.coder or "auto"
    return "fast" if coder == "auto" and recipe.effort == "fast" else coder
