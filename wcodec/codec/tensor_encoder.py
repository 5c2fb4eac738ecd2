"""A tensor after coding, by itself or as its difference from a base: the smaller is kept."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from wcodec.codec import lossless
from wcodec.codec.delta import DIFFERENCE
from wcodec.codec.dequantization import Product, in_shape, rule_of_rows
from wcodec.codec.entropy.level_coders import encode_chunk
from wcodec.codec.layout import VECTOR, by_units, place, units
from wcodec.codec.parallel import Map
from wcodec.codec.plan import (
    AffinePlan,
    CodebookPlan,
    Effort,
    ExactPlan,
    FloatPlan,
    LossyPlan,
    Plan,
    ProductPlan,
    UniformPlan,
)
from wcodec.codec.pruning import prune_by
from wcodec.codec.quantization import choose, coders_of, quantized
from wcodec.codec.statistics import energy_of, irregular, is_weight
from wcodec.codec.tensor_header import NO_POSITIONS, Head, pack_head
from wcodec.container.dtypes import Float32, from_float, mantissa_of, to_float32
from wcodec.container.wire import CHUNK_WEIGHTS
from wcodec.container.writer import Coded
from wcodec.kernels.statistics import distance
from wcodec.model import (
    ITEM_BYTES,
    AnyArray,
    SignWeights,
    StepWeights,
    TableWeights,
    Tensor,
    TunedTensor,
    VectorWeights,
)


@dataclass(frozen=True)
class EncodedTensor:
    """A tensor's bytes, with its squared error and energy (sums over its elements)."""

    coded: Coded
    squared_error: float = 0.0
    energy: float = 0.0


def smaller(own: EncodedTensor, less: EncodedTensor) -> EncodedTensor:
    """The difference from a base where it takes fewer bytes, its error told against the tensor's own energy."""
    if less.coded.error is None or sum(map(len, less.coded.sections)) >= sum(map(len, own.coded.sections)):
        return own
    error = less.squared_error / own.energy if own.energy else 0.0
    return EncodedTensor(replace(less.coded, error=error, way=DIFFERENCE), less.squared_error, own.energy)


def encode_tensor(tensor: Tensor, plan: Plan, tuned: TunedTensor | None, chunk_map: Map) -> EncodedTensor:
    """One tensor's sections. Inverse: `decoder.decode_tensor`."""
    values = _fresh(tensor)
    if isinstance(plan, ExactPlan):
        return _exact(tensor, values, plan.effort, chunk_map)
    if tuned:
        plan = _plan_of(tuned, plan)
    weights = to_float32(values, tensor.dtype)
    positions = irregular(weights, plan.limit)
    raw = values.reshape(-1).view(np.uint8).reshape(values.size, -1)
    patches = raw[positions]
    weights.reshape(-1)[positions] = 0.0
    kept = tuned.values if tuned else weights
    if plan.prune:
        kept = prune_by(kept, plan.prune)
    lossy = _lossy(tensor, values, _Prepared(weights, kept, positions, patches), plan, chunk_map)
    if 2 * sum(map(len, lossy.coded.sections)) > tensor.nbytes or tensor.count < 4096:
        exact = _exact(tensor, tensor.read(), plan.effort, chunk_map)
        if not tuned and sum(map(len, exact.coded.sections)) <= sum(map(len, lossy.coded.sections)):
            return EncodedTensor(exact.coded, 0.0, lossy.energy)
    return lossy


def _fresh(tensor: Tensor) -> AnyArray:
    """The tensor's values, which may be overwritten."""
    values = tensor.read()
    return values if values.flags.writeable and values.flags.c_contiguous else values.copy("C")


def _plan_of(tuned: TunedTensor, plan: LossyPlan) -> LossyPlan:
    """The plan that codes tuned weights as they are: integers by their step, short numbers with the bits they have."""
    coder, effort = plan.coder, plan.effort
    match tuned:
        case StepWeights() if tuned.step:
            return UniformPlan(step=tuned.step, transform=False, coder=coder, effort=effort)
        case TableWeights():
            return CodebookPlan(coder=coder, effort=effort)
        case SignWeights():
            return AffinePlan(how="binary", outputs="last", coder=coder, effort=effort)
        case VectorWeights():
            return ProductPlan(given=tuned.codebook, coder=coder, effort=effort)
    if isinstance(plan, FloatPlan):
        return replace(plan, mantissa=min(plan.mantissa, mantissa_of(tuned.values)), limit=float("inf"))
    return plan


@dataclass(frozen=True)
class _Prepared:
    """Weights float32[shape], irregular ones 0.0: as they were, and as they are coded.

    positions: where the irregular ones are; patches: uint8[positions, item bytes], their bytes.
    """

    original: Float32
    kept: Float32
    positions: npt.NDArray[np.int64]
    patches: npt.NDArray[np.uint8]


def _lossy(tensor: Tensor, values: AnyArray, prepared: _Prepared, plan: LossyPlan, chunk_map: Map) -> EncodedTensor:
    """The tensor's sections; `values` are overwritten by what they decode to."""
    original, kept, positions, patches = prepared.original, prepared.kept, prepared.positions, prepared.patches
    layout, rule = choose(kept, plan)
    size = _chunk_units(tensor.count, units(tensor.shape, layout))
    whole = by_units(original, layout)
    pruned = whole if kept is original else by_units(kept, layout)
    # Decoded values take the place of the tensor's own: each chunk that of its weights, which are not needed again.
    restored = values

    def chunk(start: int) -> tuple[bytes, float, float, int]:
        own = rule if layout == VECTOR else rule_of_rows(rule, start, size)
        before, weights = whole(start, size), pruned(start, size)
        levels = quantized(weights, own, plan)
        payload = encode_chunk(levels, rule.states, coders_of(rule, plan), plan.effort)
        values = own.weights(levels, tensor.dtype in {"float32", "bfloat16"})
        decoded = from_float(in_shape(values, weights.shape), tensor.dtype)
        energy, error = energy_of(before), distance(before.reshape(-1), to_float32(decoded, tensor.dtype).reshape(-1))
        if layout == VECTOR:
            restored.reshape(-1)[start : start + size] = decoded.reshape(-1)
        else:
            place(decoded, restored, start, layout)
        kept = decoded if isinstance(rule, Product) else levels
        return payload, error, energy, int(np.count_nonzero(kept))

    parts = list(chunk_map(chunk, range(0, units(tensor.shape, layout), size)))
    # What was coded at the irregular ones' places is not decoded: it has no error.
    overwritten = energy_of(to_float32(restored.reshape(-1)[positions], tensor.dtype))
    restored.reshape(-1).view(np.uint8).reshape(restored.size, -1)[positions] = patches
    head = pack_head(tensor, Head(rule, layout, size, positions, patches), len(parts))
    squared_error = max(0.0, sum(part[1] for part in parts) - overwritten)
    energy = sum(part[2] for part in parts)
    return EncodedTensor(
        Coded(
            sections=(head + parts[0][0], *(part[0] for part in parts[1:])),
            digest=zlib.crc32(restored.data),
            error=squared_error / energy if energy else 0.0,
            kept=min(sum(part[3] for part in parts) + int(positions.size), tensor.count),
        ),
        squared_error,
        energy,
    )


def _exact(tensor: Tensor, values: AnyArray, effort: Effort, chunk_map: Map) -> EncodedTensor:
    raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    item = ITEM_BYTES[tensor.dtype]
    pieces = list(lossless.pieces(tensor.shape, lossless.FAST if effort == "fast" else lossless.MOST))

    def chunk(piece: tuple[int, int, tuple[int, ...]]) -> bytes:
        start, stop, shape = piece
        return lossless.encode(raw[start * item : stop * item], item, shape, tensor.dtype, effort == "fast")

    parts = list(chunk_map(chunk, pieces))
    head = pack_head(tensor, Head(None, VECTOR, pieces[0][1], NO_POSITIONS, np.empty((0, 0), np.uint8)), len(parts))
    weights = to_float32(values, tensor.dtype).reshape(-1) if is_weight(tensor) else np.empty(0, np.float32)
    energy = energy_of(weights)
    return EncodedTensor(Coded((head + parts[0], *parts[1:]), zlib.crc32(raw.data)), 0.0, energy)


def _chunk_units(elements: int, count: int) -> int:
    """Units a chunk, so that a chunk has about CHUNK_WEIGHTS weights and all have nearly the same."""
    chunks = -(-elements // CHUNK_WEIGHTS)
    return max(1, -(-count // max(1, chunks)))
