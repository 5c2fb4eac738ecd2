"""Weights to levels: which rule and layout a tensor gets, and the levels of a chunk under them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from wcodec.entropy import context
from wcodec.floats import Float32
from wcodec.layout import VECTOR, WITH_TAPS, candidates, spatial, spread, view_shape
from wcodec.quantize.kmeans import assign, cluster
from wcodec.quantize.transform import MAX_SIDE, MAX_TAPS, dct_basis, forward, klt_basis
from wcodec.quantize.trellis import quantize
from wcodec.recipe import Plan
from wcodec.rules import Float, Levels, Rule, Step, Table, Transform, pack_rule, round_step
from wcodec.wire import CHUNK_WEIGHTS

MIN_TAPS = 9
_SAMPLE = 1 << 16
_SPACING = {0: 1.0, 4: 0.6, 8: 0.6}
"""Distance of a trellis quantiser's integers, in steps of the plain quantiser with the same error."""


def choose(weights: Float32, plan: Plan) -> tuple[int, Rule]:
    """The layout and the rule with the smallest cost on a sample of the weights."""
    if plan.how == "float":
        return VECTOR, _float_rule(weights, plan.mantissa)
    layouts = [layout for layout in candidates(weights.shape) if _row(weights.shape, layout) <= CHUNK_WEIGHTS]
    if plan.how == "kmeans":
        layout = layouts[0] if layouts else VECTOR
        return layout, _table_rule(weights, plan)
    step = round_step(plan.step * _SPACING[plan.states])
    choices = [choice for layout in layouts or [VECTOR] for choice in _uniform_choices(weights, layout, step, plan)]
    if len(choices) == 1 or plan.effort == "fast":
        return choices[0]
    samples = {layout: _sample(spread(weights, layout)) for layout, _ in choices}
    return min(choices, key=lambda choice: _cost(samples[choice[0]], choice[1], plan))


def quantized(part: Float32, rule: Rule, plan: Plan) -> Levels:
    """levels int32[rows, channels, taps] of weights float32[rows, channels, taps] under the rule."""
    match rule:
        case Table():
            return assign(part, rule.codebook)
        case Step():
            return quantize(part / np.float32(rule.step), rule.states, plan.rate)
        case Transform():
            return quantize(forward(part, rule.basis) / np.float32(rule.step), rule.states, plan.rate)
        case Float():
            bits = part.view(np.int32)
            magnitude = (bits & 0x7FFFFFFF).astype(np.int64) + ((1 << rule.shift) >> 1) >> rule.shift
            return (np.where(bits < 0, -magnitude, magnitude) - rule.offset).astype(np.int32)


def _uniform_choices(weights: Float32, layout: int, step: float, plan: Plan) -> Iterator[tuple[int, Rule]]:
    taps = view_shape(weights.shape, layout)[2]
    if (
        plan.transform
        and layout in WITH_TAPS
        and MIN_TAPS <= taps <= MAX_TAPS
        and max(spatial(weights.shape, layout)) <= MAX_SIDE
    ):
        yield layout, Transform(step, dct_basis(*spatial(weights.shape, layout)), plan.states)
        if plan.effort != "fast":
            yield layout, Transform(step, klt_basis(spread(weights, layout)), plan.states)
    yield layout, Step(step, plan.states)


def _table_rule(weights: Float32, plan: Plan) -> Table:
    survivors = weights.reshape(-1)
    spread_of_values = float(survivors.max()) - float(survivors.min())
    if plan.clusters:
        return Table(cluster(survivors, plan.clusters - 1, seed=plan.seed))
    clusters = int(np.clip(round(spread_of_values / plan.step), 2, 1 << 12))
    return Table(cluster(survivors, clusters, rate=plan.rate * plan.step**2, seed=plan.seed))


def _float_rule(weights: Float32, mantissa: int) -> Float:
    """The offset is the middle of the magnitudes, so that levels are small; signs differing, it is 0."""
    shift = 23 - mantissa
    bits = weights.view(np.int32)
    if not bits.size or bool(np.any(bits < 0)):
        return Float(shift, 0)
    return Float(shift, int(np.median(bits)) >> shift)


def _cost(sample: Float32, rule: Rule, plan: Plan) -> float:
    """Bits of the sample and the rule's tables, with the scalar quantiser in place of the trellis."""
    plain = replace(rule, states=0) if not isinstance(rule, Table | Float) else rule
    levels = quantized(sample, plain, plan)
    tables = bytearray()
    pack_rule(tables, plain)
    return 8.0 * (len(context.encode(levels, 0, "fast")) + len(tables))


def _row(shape: tuple[int, ...], layout: int) -> int:
    _, channels, taps = view_shape(shape, layout)
    return channels * taps


def _sample(view: Float32) -> Float32:
    """About _SAMPLE weights: whole rows from the middle."""
    rows = max(1, _SAMPLE // max(1, view[0].size))
    start = max(0, (view.shape[0] - rows) // 2)
    return view[start : start + rows]
