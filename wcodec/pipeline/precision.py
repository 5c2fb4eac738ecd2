"""Bits or steps for each tensor with a mean of bits a weight, from the cost of its errors and its real size.

`--bits auto:4`: with the quantiser symmetric or asymmetric every tensor gets integers with a number of bits whose mean
is four; otherwise every tensor gets its own step, and four is the mean of the coded bits. The loss of a tensor is
estimated as its cost times its squared error (HAWQ-V2, Dong et al. 2020, where the cost is the mean of the trace of the
Hessian).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from wcodec.codec.parallel import Map, map_tensors
from wcodec.codec.plan import Plan
from wcodec.codec.statistics import TensorStatistics, is_weight, scan_tensors
from wcodec.codec.tensor_encoder import EncodedTensor, encode_tensor
from wcodec.errors import RecipeError
from wcodec.model import Model, Tensor
from wcodec.model.dataclass import dataclass, replace
from wcodec.modelfiles import open_model
from wcodec.pipeline.decoder import open_container
from wcodec.pipeline.encoder import Encoded, encode
from wcodec.planning.allocation import plan_model
from wcodec.planning.patterns import options_by_tensor
from wcodec.planning.rate_control import Target, find_step
from wcodec.planning.recipe import Options, Recipe, Rule, StepSize
from wcodec.planning.slopes import Curve, choose_ways

FIXED: Final = ("symmetric", "asymmetric")
"""Quantisers whose integers have a number of bits; the others have a step, and their bits are known after coding."""
MORE_BITS: Final = 4
"""The largest number of bits above the mean that a tensor may get."""
CODED: Final = (0.15, 0.3, 0.45, 0.6, 0.8, 1.0, 1.25, 1.6, 2.1)
"""The coded bits that the steps tried for each tensor aim at, as fractions of the mean."""
NORMAL_BITS: Final = 2.05
"""The entropy in bits of normal weights whose step is their standard deviation."""


@dataclass(frozen=True)
class TensorRates:
    """One tensor coded in several ways, as in a file.

    energy:  the sum of its squares.
    options: of each way.
    curve:   bits and squared errors of the ways, of the whole tensor.
    """

    name: str
    weights: int
    energy: float
    options: tuple[Options, ...]
    curve: Curve


def is_fixed(recipe: Recipe) -> bool:
    """Whether tensors get integers with a number of bits, rather than steps."""
    return recipe.options.quantizer in FIXED


def measure_rates(source: Path, recipe: Recipe, threads: int = 0) -> tuple[TensorRates, ...]:
    """Every tensor whose precision the recipe leaves open, coded in the ways that a mean of `recipe.mean_bits` needs.

    Raises: ModelFileError; RecipeError if no tensor's precision is open.
    """
    plain = replace(recipe, mean_bits=None, effort="fast" if is_fixed(recipe) else recipe.effort)
    with open_model(source, recipe.keep_optimizer) as model:
        surveys = [one.statistics for one in scan_tensors(model.tensors, threads)]
        asked = options_by_tensor(model.tensors, plain)
        some = [at for at, one in enumerate(model.tensors) if _is_open(one, surveys[at], asked[one.name][0], recipe)]
        if not some:
            raise RecipeError("bits auto: expected a tensor whose precision is left open, found none")
        ways = [_list_options(asked[model.tensors[at].name][0], surveys[at], recipe) for at in some]
        coded: list[list[EncodedTensor]] = []
        for number in range(len(ways[0])):
            chosen = {model.tensors[at].name: one[number] for at, one in zip(some, ways, strict=True)}
            plans = plan_model(model, surveys, with_rules(plain, chosen))
            coded.append(_encode_some(model, plans, some, threads))
        return tuple(
            _collect(model.tensors[at], surveys[at], options, [one[place] for one in coded])
            for place, (at, options) in enumerate(zip(some, ways, strict=True))
        )


def _is_open(tensor: Tensor, survey: TensorStatistics | None, options: Options, recipe: Recipe) -> bool:
    """Whether a tensor is quantised, and no option sets its precision."""
    said = options.lossless or options.bits or options.clusters or options.step
    allowed = options.quantizer in ((recipe.options.quantizer,) if is_fixed(recipe) else (None, "auto", "uniform"))
    return is_weight(tensor) and not said and allowed and survey is not None and survey.energy > 0


def _list_options(own: Options, survey: TensorStatistics | None, recipe: Recipe) -> tuple[Options, ...]:
    mean = recipe.mean_bits or 0.0
    if is_fixed(recipe):
        return tuple(replace(own, bits=bits) for bits in range(2, min(16, int(mean) + MORE_BITS) + 1))
    rms = survey.rms if survey else 1.0
    steps = (StepSize(rms * 2.0 ** (NORMAL_BITS - part * mean)) for part in CODED)
    return tuple(replace(own, quantizer="uniform", step=step) for step in steps)


def _encode_some(model: Model, plans: Sequence[Plan], numbers: Sequence[int], threads: int) -> list[EncodedTensor]:
    def work(place: int, chunk_map: Map) -> EncodedTensor:
        return encode_tensor(model.tensors[numbers[place]], plans[numbers[place]], None, chunk_map)

    return list(map_tensors(work, [model.tensors[number] for number in numbers], threads))


def _collect(
    tensor: Tensor, survey: TensorStatistics | None, options: tuple[Options, ...], coded: Sequence[EncodedTensor]
) -> TensorRates:
    bits = [8.0 * sum(map(len, one.stored.sections)) for one in coded]
    if options[0].bits:
        bits = [float(tensor.count * (one.bits or 0)) for one in options]
    curve = Curve(np.array(bits), np.array([one.squared_error for one in coded]))
    return TensorRates(tensor.name, tensor.count, survey.energy if survey else 0.0, options, curve)


def rule_costs(rates: Sequence[TensorRates]) -> dict[str, float]:
    """Costs without data: those for which the steps of the presets, rms * n^(1/4), are optimal."""
    return {one.name: one.weights**0.5 / one.energy for one in rates}


def allocate(
    rates: Sequence[TensorRates], costs: Mapping[str, float], mean: float, floor: float = 0.0
) -> dict[str, Options]:
    """The options of each tensor: the least sum of costs times squared errors with a mean of `mean` bits a weight.

    costs: of a unit of squared error, by tensor; a tensor without one gets the median of the others.
    floor: no tensor gets fewer bits a weight, if it has a way with as many.
    Raises: RecipeError if the mean cannot be reached.
    """
    known = [costs[one.name] for one in rates if one.name in costs]
    usual = float(np.median(known)) if known else 1.0
    curves, sources = [], []
    for one in rates:
        each = one.curve.bits / one.weights
        enough = np.flatnonzero(each >= min(floor, float(each.max())) - 1e-9)
        sources.append(enough)
        curves.append(Curve(one.curve.bits[enough], one.curve.losses[enough] * costs.get(one.name, usual)))
    weights = sum(one.weights for one in rates)
    picked = choose_ways(curves, mean * weights * (1 + 1e-12))
    if picked is None:
        least = sum(float(curve.bits.min()) for curve in curves) / weights
        raise RecipeError(f"bits auto:{mean:g}: expected a mean of {least:.2f} or more, which these tensors need")
    return {one.name: one.options[int(enough[way])] for one, enough, way in zip(rates, sources, picked, strict=True)}


def with_rules(recipe: Recipe, chosen: Mapping[str, Options], scale: float = 1.0) -> Recipe:
    """The recipe with these options of tensors before its rules; `scale` multiplies their steps."""
    scaled = (
        replace(one, step=StepSize(one.step.amount * scale, one.step.relative)) if one.step else one
        for one in chosen.values()
    )
    rules = (Rule(f"^{re.escape(name)}$", one) for name, one in zip(chosen, scaled, strict=True))
    return replace(recipe, mean_bits=None, rules=(*rules, *recipe.rules))


def encode_mean(source: Path, target: Path, recipe: Recipe, chosen: Mapping[str, Options], threads: int = 0) -> Encoded:
    """Write `target` with these options; steps are scaled until the mean of the coded bits is that of the recipe.

    Raises: BudgetError if no scale gives it; the errors of `encode`.
    """
    if is_fixed(recipe):
        return encode(source, target, with_rules(recipe, chosen), threads=threads)
    made: list[tuple[float, Encoded]] = []

    def measure(scale: float) -> float:
        made[:] = [(scale, encode(source, target, with_rules(recipe, chosen, scale), threads=threads))]
        return mean_bits(target, chosen)

    goal = Target("mean bits", recipe.mean_bits or 0.0, close=0.985, power=-0.3)
    best = find_step(measure, 1.0, goal)
    if made[0][0] != best:
        measure(best)
    return made[0][1]


def mean_bits(coded: Path, names: Collection[str]) -> float:
    """Coded bits a weight of these tensors; a tensor that equals an earlier one takes none."""
    with open_container(coded) as opened:
        container = opened.container
        some = [at for at, one in enumerate(container.tensors) if one.name in names]
        spent = sum(container.records[at].nbytes for at in some if container.records[at].duplicate_of is None)
        return 8.0 * spent / max(1, sum(container.tensors[at].count for at in some))


def equal_options(rates: Sequence[TensorRates], recipe: Recipe) -> dict[str, Options]:
    """The options without costs: the same bits for all tensors, or the steps of the preset."""
    bits = int(recipe.mean_bits or 0)
    if is_fixed(recipe):
        return {one.name: replace(one.options[0], bits=bits) for one in rates}
    return {one.name: replace(one.options[0], step=StepSize(1.0, relative=True)) for one in rates}
