"""Encoding of one tensor into sections: outliers, pruning, quantisation, level coding; or exact if that is as small."""

from __future__ import annotations

import zlib
from math import inf
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.codec import lossless
from wcodec.codec.chunk_levels import quantize_chunk
from wcodec.codec.coder_choice import choose_coder
from wcodec.codec.delta import DIFFERENCE
from wcodec.codec.dequantization import ProductDequantizer
from wcodec.codec.entropy.level_coders import FAMILIES, as_decoded, encode_chunk
from wcodec.codec.layout import VECTOR, count_units, scatter_rows, unit_slicer
from wcodec.codec.magnitude_pruning import prune_weights
from wcodec.codec.parallel import Map
from wcodec.codec.plan import (
    AffinePlan,
    CodebookPlan,
    Effort,
    ExactPlan,
    FloatPlan,
    GroupPlan,
    HashedPlan,
    LossyPlan,
    Plan,
    ProductPlan,
    UniformPlan,
)
from wcodec.codec.quantization import choose_dequantizer, has_float_levels
from wcodec.codec.quantizers.product import join_blocks
from wcodec.codec.statistics import find_outliers, is_weight, sum_of_squares
from wcodec.codec.tensor_header import NO_POSITIONS, TensorHeader, pack_header
from wcodec.container.dtypes import Float32, Float64, from_float, mantissa_of, to_float32
from wcodec.container.wire import CHUNK_WEIGHTS
from wcodec.container.writer import EncodedSections
from wcodec.kernels.statistics import distance
from wcodec.model import (
    ITEM_BYTES,
    AnyArray,
    FloatWeights,
    GroupWeights,
    HashedWeights,
    RowStepWeights,
    SignWeights,
    StepWeights,
    TableWeights,
    Tensor,
    TunedTensor,
    VectorWeights,
)
from wcodec.model.dataclass import dataclass, replace

SMALL: Final = 4096
"""Below this number of weights, a tensor with few values may be as small if it is exact."""
NEGLIGIBLE: Final = 2.0**-32
"""Rounding to float32 changes a larger relative squared error by less than its stored form can tell."""


@dataclass(frozen=True)
class EncodedTensor:
    """A tensor's bytes, with its squared error and energy (sums over its elements).

    change: the energy of its difference from the base, if it is coded as that.
    """

    stored: EncodedSections
    squared_error: float = 0.0
    energy: float = 0.0
    change: float = 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of all sections."""
        return sum(map(len, self.stored.sections))


def choose_smaller(own: EncodedTensor, less: EncodedTensor) -> EncodedTensor:
    """The tensor coded as the difference from a base if that is smaller; its error is relative to the tensor."""
    if less.stored.error is None or less.nbytes >= own.nbytes:
        return own
    error = less.squared_error / own.energy if own.energy else 0.0
    stored = replace(less.stored, error=error, delta_mode=DIFFERENCE)
    return EncodedTensor(stored, less.squared_error, own.energy, less.energy)


def encode_tensor(tensor: Tensor, plan: Plan, tuned: TunedTensor | None, chunk_map: Map) -> EncodedTensor:
    """The sections of one tensor. Inverse: `decode_tensor`."""
    values = _read_writable(tensor)
    if isinstance(plan, ExactPlan):
        if tuned is None or type(tuned) is FloatWeights:
            chosen = from_float(tuned.values, tensor.dtype) if tuned else None
            return _encode_exact(tensor, values, plan.effort, chunk_map, chosen)
        plan = FloatPlan(effort=plan.effort)
    if tuned:
        plan = _make_plan_for_tuned(tuned, plan)
    weights = to_float32(values, tensor.dtype)
    positions = find_outliers(weights, plan.limit)
    raw = values.reshape(-1).view(np.uint8).reshape(values.size, -1)
    outlier_bytes = raw[positions]
    weights.reshape(-1)[positions] = 0.0
    kept = tuned.values if tuned else weights
    if plan.prune:
        kept = prune_weights(kept, plan.prune)
    if isinstance(plan, FloatPlan) and plan.keeps_bits and plan.prune and not tuned:
        return _encode_pruned(tensor, _Prepared(weights, kept, positions, outlier_bytes), plan, chunk_map)
    least = _estimate_exact_bytes(weights)
    lossy = _encode_lossy(tensor, values, _Prepared(weights, kept, positions, outlier_bytes), plan, chunk_map)
    if not tuned and (lossy.nbytes >= least or 2 * lossy.nbytes > tensor.nbytes):
        exact = _encode_exact(tensor, tensor.read(), plan.effort, chunk_map)
        if exact.nbytes <= lossy.nbytes:
            return EncodedTensor(exact.stored, 0.0, lossy.energy)
    return lossy


def _estimate_exact_bytes(weights: Float32) -> float:
    """A lower estimate of the bytes of exact float32 weights: the mantissas of the different ones.

    Infinite for many weights.
    """
    if weights.size >= SMALL:
        return inf
    ordered = np.sort(weights, axis=None)
    different = 1 + np.count_nonzero(ordered[1:] != ordered[:-1])
    return different * mantissa_of(weights) / 8


def _read_writable(tensor: Tensor) -> AnyArray:
    """The tensor's values, which may be overwritten."""
    values = tensor.read()
    return values if values.flags.writeable and values.flags.c_contiguous else values.copy("C")


def _make_plan_for_tuned(tuned: TunedTensor, plan: LossyPlan) -> LossyPlan:
    """The plan that codes tuned weights unchanged: integers by their step, short floats with the bits they have."""
    coder, effort = plan.coder, plan.effort
    match tuned:
        case StepWeights() if tuned.step:
            return UniformPlan(step=tuned.step, transform=False, coder=coder, effort=effort)
        case TableWeights():
            return CodebookPlan(coder=coder, effort=effort)
        case SignWeights():
            return AffinePlan(how="binary", outputs="last", coder=coder, effort=effort)
        case RowStepWeights() | GroupWeights() | VectorWeights() | HashedWeights():
            given = _make_plan_for_given(tuned, coder, effort)
            aligned = isinstance(plan, ProductPlan) and plan.aligned
            return replace(given, aligned=aligned) if isinstance(given, ProductPlan) else given
    if isinstance(plan, FloatPlan):
        return replace(plan, mantissa=min(plan.mantissa, mantissa_of(tuned.values)), limit=float("inf"))
    return plan


def _make_plan_for_given(
    tuned: RowStepWeights | GroupWeights | VectorWeights | HashedWeights, coder: str, effort: Effort
) -> LossyPlan:
    if isinstance(tuned, RowStepWeights):
        return AffinePlan(outputs=tuned.axis, given=tuned, coder=coder, effort=effort)
    if isinstance(tuned, GroupWeights):
        return GroupPlan(given=tuned, coder=coder, effort=effort)
    if isinstance(tuned, HashedWeights):
        return HashedPlan(given=tuned, coder=coder, effort=effort)
    return ProductPlan(given=tuned.codebook, coder=coder, effort=effort)


@dataclass(frozen=True)
class _Prepared:
    """Weights float32[shape] with outliers as 0.0: the original ones, and those that are coded.

    positions:     of the outliers.
    outlier_bytes: uint8[positions, item bytes].
    """

    original: Float32
    kept: Float32
    positions: npt.NDArray[np.int64]
    outlier_bytes: npt.NDArray[np.uint8]


def _encode_lossy(
    tensor: Tensor, values: AnyArray, prepared: _Prepared, plan: LossyPlan, chunk_map: Map
) -> EncodedTensor:
    """The tensor's sections; `values` are overwritten by the decoded values."""
    original, kept, positions = prepared.original, prepared.kept, prepared.positions
    layout, dequantizer = choose_dequantizer(kept, plan, chunk_map)
    plan = choose_coder(kept, layout, dequantizer, plan)
    size = _count_chunk_units(tensor.count, count_units(tensor.shape, layout))
    whole = unit_slicer(original, layout)
    pruned = whole if kept is original else unit_slicer(kept, layout)
    # Decoded values overwrite the tensor's own: each chunk its weights, which are not needed again.
    restored = values

    def chunk(start: int) -> tuple[bytes, float, float, int]:
        own = dequantizer if layout == VECTOR else dequantizer.for_rows(start, size)
        before = whole(start, size)
        weights = before if pruned is whole else pruned(start, size)
        levels = quantize_chunk(weights, own, plan)
        coders = FAMILIES[plan.coder]
        payload = encode_chunk(levels, dequantizer.states, coders, plan.effort)
        integers, replayed = as_decoded(levels, dequantizer.states, coders)
        replaying = replace(own, states=0) if replayed else own
        values = replaying.dequantize(integers, tensor.dtype in {"float32", "bfloat16"})
        decoded = from_float(join_blocks(values, weights.shape), tensor.dtype)
        energy = sum_of_squares(before)
        error = distance(before.reshape(-1), to_float32(decoded, tensor.dtype).reshape(-1))
        if layout == VECTOR:
            restored.reshape(-1)[start : start + size] = decoded.reshape(-1)
        else:
            scatter_rows(decoded, restored, start, layout)
        kept = decoded if isinstance(dequantizer, ProductDequantizer) else levels
        return payload, error, energy, int(np.count_nonzero(kept))

    parts = list(chunk_map(chunk, range(0, count_units(tensor.shape, layout), size)))
    # Values coded at the positions of outliers are not decoded: they have no error.
    overwritten = sum_of_squares(to_float32(restored.reshape(-1)[positions], tensor.dtype))
    restored.reshape(-1).view(np.uint8).reshape(restored.size, -1)[positions] = prepared.outlier_bytes
    header = pack_header(tensor, TensorHeader(dequantizer, layout, size, positions, prepared.outlier_bytes), len(parts))
    energy = sum(part[2] for part in parts)
    squared_error = _add_rounding(tensor, restored, max(0.0, sum(part[1] for part in parts) - overwritten), energy)
    return EncodedTensor(
        EncodedSections(
            sections=(header + parts[0][0], *(part[0] for part in parts[1:])),
            digest=zlib.crc32(restored.data),
            error=squared_error / energy if energy else 0.0,
            kept=min(sum(part[3] for part in parts) + int(positions.size), tensor.count),
        ),
        squared_error,
        energy,
    )


def _encode_pruned(tensor: Tensor, prepared: _Prepared, plan: FloatPlan, chunk_map: Map) -> EncodedTensor:
    """The tensor with zeros for pruned values and all others exact.

    It is coded as levels. It is coded as exact values if levels cannot represent it, or are larger and no coder was
    requested.
    """
    values, shorter = tensor.read(), _read_writable(tensor)
    pruned = (prepared.kept.reshape(-1) == 0.0) & (prepared.original.reshape(-1) != 0.0)
    shorter.reshape(-1)[pruned] = 0
    fits = tensor.dtype != "float64" and has_float_levels(prepared.kept)
    levels = replace(plan, mantissa=mantissa_of(prepared.kept))
    lossy = _encode_lossy(tensor, _read_writable(tensor), prepared, levels, chunk_map) if fits else None
    if lossy and plan.coder not in {"auto", "fast"}:
        return lossy
    exact = _encode_exact(tensor, values, plan.effort, chunk_map, shorter)
    return lossy if lossy and lossy.nbytes <= exact.nbytes else exact


def _encode_exact(
    tensor: Tensor, values: AnyArray, effort: Effort, chunk_map: Map, chosen: AnyArray | None = None
) -> EncodedTensor:
    """The values, or others chosen instead of them, coded exactly; chosen ones count as lossy."""
    raw = np.ascontiguousarray(values if chosen is None else chosen).reshape(-1).view(np.uint8)
    item = ITEM_BYTES[tensor.dtype]
    pieces = list(lossless.split_pieces(tensor.shape, lossless.FAST if effort == "fast" else lossless.MOST))

    def chunk(piece: tuple[int, int, tuple[int, ...]]) -> bytes:
        start, stop, shape = piece
        return lossless.encode(raw[start * item : stop * item], item, shape, tensor.dtype, effort == "fast")

    parts = list(chunk_map(chunk, pieces))
    header = pack_header(
        tensor, TensorHeader(None, VECTOR, pieces[0][1], NO_POSITIONS, np.empty((0, 0), np.uint8)), len(parts)
    )
    weights = to_float32(values, tensor.dtype).reshape(-1) if is_weight(tensor) else np.empty(0, np.float32)
    energy = sum_of_squares(weights)
    stored = EncodedSections((header + parts[0], *parts[1:]), zlib.crc32(raw.data))
    if chosen is None:
        return EncodedTensor(stored, 0.0, energy)
    original, others = (to_float32(one, tensor.dtype).reshape(-1) for one in (values, chosen))
    is_finite = np.isfinite(original) & np.isfinite(others)
    error, own = distance(original[is_finite], others[is_finite]), sum_of_squares(original[is_finite])
    error = _add_rounding(tensor, chosen, error, own)
    stored = replace(stored, error=error / own if own else 0.0, kept=int(np.count_nonzero(others)))
    return EncodedTensor(stored, error, own)


def _add_rounding(tensor: Tensor, decoded: AnyArray, squared_error: float, energy: float) -> float:
    """The squared error, for float64 with that of their rounding to float32, where it is not negligible."""
    if tensor.dtype != "float64" or squared_error > NEGLIGIBLE * energy:
        return squared_error
    with np.errstate(invalid="ignore", over="ignore"):
        change: Float64 = np.subtract(tensor.read(), decoded, dtype=np.float64).reshape(-1)
    return float(np.square(change[np.isfinite(change)]).sum())


def _count_chunk_units(elements: int, count: int) -> int:
    """Units of a chunk, so that a chunk has about CHUNK_WEIGHTS weights and all have nearly the same size."""
    chunks = -(-elements // CHUNK_WEIGHTS)
    return max(1, -(-count // max(1, chunks)))
