"""The choice of dequantizer and layout for a tensor, by the cost of a sample of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial, reduce
from math import prod
from typing import Final

import numpy as np

from wcodec.codec.chunk_levels import find_code_range, quantize_chunk
from wcodec.codec.dequantization import (
    CodebookDequantizer,
    Dequantizer,
    HashedDequantizer,
    ProductDequantizer,
    TransformDequantizer,
    TruncatedFloatDequantizer,
    UniformDequantizer,
)
from wcodec.codec.entropy.level_coders import FAMILIES, encode_chunk
from wcodec.codec.layout import (
    DENSE,
    KERNEL,
    KERNEL_BY_INPUT,
    KERNEL_FIRST,
    MATRIX,
    TAPS_FIRST,
    VECTOR,
    WITH_TAPS,
    kernel_size,
    layout_families,
    slice_rows,
    to_rows,
    unit_slicer,
    view_shape,
)
from wcodec.codec.parallel import Map
from wcodec.codec.plan import (
    AffinePlan,
    CodebookPlan,
    FloatPlan,
    GroupPlan,
    HashedPlan,
    LossyPlan,
    ProductPlan,
    UniformPlan,
)
from wcodec.codec.quantizers import product
from wcodec.codec.quantizers.affine import compute_row_steps
from wcodec.codec.quantizers.few_values import find_few_values
from wcodec.codec.quantizers.kmeans import cluster, make_codebook, share_one
from wcodec.codec.quantizers.transform import (
    MAX_SIDE,
    Basis,
    compute_moments,
    make_dct_basis,
    make_klt_basis,
)
from wcodec.codec.quantizers.transform import MAX_TAPS as MAX_CHANNELS
from wcodec.codec.quantizers.trellis import FEW
from wcodec.codec.row_dequantizers import GroupDequantizer, PerRowDequantizer
from wcodec.container.dtypes import Float32, round_step
from wcodec.container.wire import CHUNK_WEIGHTS, MAX_LEVEL
from wcodec.model.dataclass import dataclass, field, replace

MIN_TAPS, MAX_TAPS = 9, 64
_TALL = 16
_FEWEST, _BLOCK, _VECTORS = 4, 4, 256
_SAMPLE = 1 << 16
_ABOUT_AS_MANY = 1.05
"""An exact codebook is preferred if it costs at most this many times the bytes of the lossy quantiser."""
SPACING: Final = {0: 1.0, 4: 0.6, 8: 0.6, 128: 0.617}
"""Distance of a trellis quantiser's integers, in steps of the plain quantiser with the same error."""


def choose_dequantizer(weights: Float32, plan: LossyPlan, chunk_map: Map = map) -> tuple[int, Dequantizer]:
    """The layout and the dequantizer with the smallest cost on a sample of the weights."""
    layouts = [
        family for family in map(partial(_list_scannable, weights.shape), layout_families(weights.shape)) if family
    ]
    layouts = layouts or [(VECTOR,)]
    first = layouts[0][0]
    match plan:
        case FloatPlan():
            return VECTOR, _fit_float(weights, plan)
        case AffinePlan():
            return _choose_affine(weights, plan)
        case CodebookPlan():
            return first, _fit_table(weights, plan)
        case GroupPlan() | HashedPlan():
            return _use_given(weights.shape, plan)
        case ProductPlan():
            return _choose_product(weights, first, plan)
        case UniformPlan():
            return _choose_uniform_or_table(weights, layouts, plan, chunk_map)


def _use_given(shape: tuple[int, ...], plan: GroupPlan | HashedPlan) -> tuple[int, Dequantizer]:
    layout = outputs_as_rows(shape, "last")
    if isinstance(plan, GroupPlan):
        return layout, GroupDequantizer(plan.given.group, make_codebook(plan.given.points), plan.given.steps)
    rows, channels, taps = view_shape(shape, layout)
    return layout, HashedDequantizer(plan.given.step, plan.given.seed, plan.given.levels.size, rows, channels * taps)


def _choose_product(weights: Float32, layout: int, plan: ProductPlan) -> tuple[int, Dequantizer]:
    if plan.given:
        return plan.given.layout, ProductDequantizer(product.ProductCodebook(plan.given.entries, plan.given.step))
    if layout == VECTOR:  # there are no rows to divide into blocks
        return layout, UniformDequantizer(round_step(plan.step))
    return layout, _fit_product(weights, layout, plan)


def _choose_uniform_or_table(
    weights: Float32, layouts: Sequence[tuple[int, ...]], plan: UniformPlan, chunk_map: Map
) -> tuple[int, Dequantizer]:
    """The uniform choice, or a table of the tensor's values if they are few and it costs about as much."""
    layout, dequantizer = _choose_uniform(weights, layouts, plan, chunk_map)
    values = find_few_values(weights) if plan.few else None
    if values is None:
        return layout, dequantizer
    table = CodebookDequantizer(make_codebook(values))
    every = [layout for family in layouts for layout in family]
    costs = _Costs(weights)
    own = min(every, key=lambda layout: costs.of(layout, table)) if every[1:] else layouts[0][0]
    most = _ABOUT_AS_MANY * _measure_cost(weights, layout, dequantizer, plan)
    return (own, table) if _measure_cost(weights, own, table, plan) <= most else (layout, dequantizer)


def _choose_uniform(
    weights: Float32, layouts: Sequence[tuple[int, ...]], plan: UniformPlan, chunk_map: Map
) -> tuple[int, Dequantizer]:
    step = round_step(plan.step * SPACING[plan.states])
    choices = [
        (family, dequantizer)
        for family in layouts
        for dequantizer in _list_uniform_rules(weights, family[0], step, plan, chunk_map)
    ]
    if plan.effort == "fast":
        return choices[0][0][0], choices[0][1]
    costs = _Costs(weights)
    family, dequantizer = (
        min(choices, key=lambda choice: costs.of(choice[0][0], choice[1])) if choices[1:] else choices[0]
    )
    if family[0] not in WITH_TAPS and isinstance(
        dequantizer, TransformDequantizer
    ):  # a basis for the rows in this layout
        return family[0], dequantizer
    if weights.size < FEW or not family[1:]:
        return family[0], dequantizer
    return min(family, key=lambda layout: costs.of(layout, dequantizer)), dequantizer


def _list_scannable(shape: tuple[int, ...], family: tuple[int, ...]) -> tuple[int, ...]:
    """The layouts of a family whose rows fit into a chunk."""
    return tuple(layout for layout in family if prod(view_shape(shape, layout)[1:]) <= CHUNK_WEIGHTS)


def _list_uniform_rules(
    weights: Float32, layout: int, step: float, plan: UniformPlan, chunk_map: Map
) -> Iterator[Dequantizer]:
    """The dequantizers to try.

    A transform of the rows of a matrix pays if there are many for each entry of the basis.
    """
    rows, channels, _ = view_shape(weights.shape, layout)
    height, width = kernel_size(weights.shape, layout) if layout in WITH_TAPS else (1, 1)
    if plan.transform and MIN_TAPS <= height * width <= MAX_TAPS and max(height, width) <= MAX_SIDE:
        yield TransformDequantizer(step, make_dct_basis(height, width), plan.states)
        if plan.effort != "fast":
            yield TransformDequantizer(step, _compute_klt(weights, layout, height * width, chunk_map), plan.states)
    elif plan.transform and height * width == 1 and MIN_TAPS <= channels <= MAX_CHANNELS and rows >= _TALL * channels:
        yield TransformDequantizer(step, _compute_klt(weights, layout, channels, chunk_map), plan.states)
    yield UniformDequantizer(step, plan.states)


def _compute_klt(weights: Float32, layout: int, taps: int, chunk_map: Map) -> Basis:
    """The principal axes of parts of `taps` weights of the rows, computed chunk by chunk."""
    if layout in TAPS_FIRST:
        flat = weights.reshape(taps, -1)
        size = max(1, CHUNK_WEIGHTS // taps)
        starts = range(0, flat.shape[1], size)
        every = chunk_map(lambda start: compute_moments(flat[:, start : start + size].T), starts)
    else:
        rows, channels, inner = view_shape(weights.shape, layout)
        size = max(1, CHUNK_WEIGHTS // (channels * inner))
        part = unit_slicer(weights, layout)
        every = chunk_map(lambda start: compute_moments(part(start, size).reshape(-1, taps)), range(0, rows, size))
    return make_klt_basis(reduce(np.add, every))  # in order; only one sum is held


def _fit_table(weights: Float32, plan: CodebookPlan) -> CodebookDequantizer:
    survivors = weights.reshape(-1)
    if plan.clusters == 2:
        return CodebookDequantizer(share_one(survivors))
    if plan.clusters:
        return CodebookDequantizer(cluster(survivors, plan.clusters - 1, plan.start, plan.seed))
    if not plan.step:
        return CodebookDequantizer(make_codebook(survivors))
    spread_of_values = float(survivors.max()) - float(survivors.min())
    clusters = int(np.clip(round(spread_of_values / plan.step), 2, 1 << 12))
    return CodebookDequantizer(cluster(survivors, clusters, plan.start, plan.seed, rate=plan.lambda_ * plan.step**2))


def _fit_product(weights: Float32, layout: int, plan: ProductPlan) -> ProductDequantizer:
    """Blocks are a kernel's taps if they are few, otherwise four weights of a row."""
    rows, channels, taps = view_shape(weights.shape, layout)
    block = plan.block or (taps if _FEWEST <= taps <= MAX_TAPS else _BLOCK)
    vectors = product.split_blocks(to_rows(weights, layout).reshape(rows, -1), min(block, channels * taps))
    rate = 0.0 if plan.clusters else plan.lambda_ * plan.step**2
    return ProductDequantizer(product.fit_vectors(vectors, plan.clusters or _VECTORS, rate * vectors.shape[1]))


def _choose_affine(weights: Float32, plan: AffinePlan) -> tuple[int, Dequantizer]:
    """One step for every output if requested, otherwise one for all weights."""
    layout = outputs_as_rows(weights.shape, plan.outputs) if plan.outputs else VECTOR
    if layout != VECTOR and (plan.given or _list_scannable(weights.shape, (layout,))):
        own = plan.given.steps if plan.given else compute_row_steps(to_rows(weights, layout), plan.how, plan.bits)
        return layout, PerRowDequantizer(own)
    dequantizer = UniformDequantizer(float(compute_row_steps(weights.reshape(1, -1), plan.how, plan.bits)[0]))
    layouts = [layout for family in layout_families(weights.shape) for layout in _list_scannable(weights.shape, family)]
    if plan.effort == "fast" or not layouts:
        return (layouts or [VECTOR])[0], dequantizer
    costs = _Costs(weights)
    return min(layouts, key=lambda layout: costs.of(layout, dequantizer)), dequantizer


def outputs_as_rows(shape: tuple[int, ...], where: str) -> int:
    """The layout whose rows are the outputs; depthwise kernels (height, width, in, 1) have their inputs as rows."""
    if len(shape) < 2:
        return VECTOR
    if where == "first":
        return KERNEL_FIRST if len(shape) > 2 else MATRIX
    if len(shape) > 2:
        return KERNEL if shape[-1] > 1 else KERNEL_BY_INPUT
    return DENSE


def _fit_float(weights: Float32, plan: FloatPlan) -> TruncatedFloatDequantizer:
    shift = 23 - plan.mantissa
    return TruncatedFloatDequantizer(shift, find_code_range(weights, shift, plan)[0] - 1)


def has_float_levels(weights: Float32) -> bool:
    """Whether all float32 bits of the weights fit into the levels of one `TruncatedFloatDequantizer`."""
    least, most = find_code_range(weights, 0)
    return most - least < MAX_LEVEL


@dataclass
class _Costs:
    """Bytes of some weights by layout and dequantizer, and of its tables: the middle rows, rounded plainly, tell them.

    Each sample is taken once, and each cost found once.
    """

    weights: Float32
    _samples: dict[int, Float32] = field(default_factory=dict)
    _found: dict[tuple[int, int], float] = field(default_factory=dict)

    def of(self, layout: int, dequantizer: Dequantizer) -> float:
        """The bytes. The dequantizer, whose rows are all alike, has to live as long as these costs."""
        key = layout, id(dequantizer)
        if key not in self._found:
            if layout not in self._samples:
                self._samples[layout] = _take_middle_rows(self.weights, layout, _SAMPLE)[1]
            plain, every = UniformPlan(effort="fast", coder="context"), view_shape(self.weights.shape, layout)[0]
            self._found[key] = _estimate_cost(self._samples[layout], every, replace(dequantizer, states=0), plain)
        return self._found[key]


def _measure_cost(weights: Float32, layout: int, dequantizer: Dequantizer, plan: LossyPlan) -> float:
    """The cost of one dequantizer, quantised and coded as planned, on four times the rows."""
    start, sample = _take_middle_rows(weights, layout, 4 * _SAMPLE)
    every = view_shape(weights.shape, layout)[0]
    return _estimate_cost(sample, every, dequantizer.for_rows(start, len(sample)), plan)


def _estimate_cost(sample: Float32, every: int, dequantizer: Dequantizer, plan: LossyPlan) -> float:
    """Bytes of `every` rows like those of the sample, and of the dequantizer's tables."""
    tables = bytearray()
    dequantizer.pack(tables)
    levels = quantize_chunk(sample, dequantizer, plan)
    payload = encode_chunk(levels, dequantizer.states, FAMILIES[plan.coder], plan.effort)
    return (len(payload) - 1) * every / len(levels) + len(tables)


def _take_middle_rows(weights: Float32, layout: int, count: int) -> tuple[int, Float32]:
    """The first of the middle rows, and these, with about `count` weights."""
    every, channels, taps = view_shape(weights.shape, layout)
    rows = max(1, count // max(1, channels * taps))
    start = max(0, (every - rows) // 2)
    return start, slice_rows(weights, layout, start, rows)
