"""The story: model file -> weights -> prune, quantize -> levels -> sections -> container."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from wcodec import lossless
from wcodec.allocation import energy_of, irregular, is_weight, plan_model
from wcodec.coded import EncodedTensor, smaller
from wcodec.container.write import Coded, Writer
from wcodec.floats import Float32, from_float, mantissa_of, to_float32
from wcodec.head import NO_POSITIONS, Head, pack_head
from wcodec.identical import encode_identical
from wcodec.kernels.survey import distance
from wcodec.layout import VECTOR, by_units, place, units
from wcodec.levels import encode_chunk
from wcodec.looks import Look, look_at
from wcodec.model import Bits, Model, Tensor, TensorFacts, Tuned
from wcodec.modelfiles.shards import opened
from wcodec.output import whole_file
from wcodec.parallel import Map, tensor_by_tensor
from wcodec.prune import prune_by
from wcodec.quantization import choose, coders_of, quantized
from wcodec.recipe import Effort, Plan, Recipe
from wcodec.rules import Product, in_shape, rule_of_rows
from wcodec.search import goal_of, largest_step
from wcodec.versions import Base, difference, open_base
from wcodec.wire import CHUNK_WEIGHTS, ITEM_BYTES

Progress = Callable[[TensorFacts], None]
NOTHING_TUNED: Mapping[str, Tuned] = MappingProxyType({})


@dataclass(frozen=True)
class Encoded:
    """What an encoding came to.

    error:   relative squared error over all float tensors of two or more dimensions.
    dropped: tensors left out (optimizer state).
    """

    file_bytes: int
    error: float
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """One encoding: a look and a plan for each of the model's tensors."""

    model: Model
    looks: Sequence[Look]
    plans: Sequence[Plan]
    tuned: Mapping[str, Tuned]
    threads: int
    progress: Progress | None
    base: Base | None = None


def encode(
    source: Path,
    target: Path,
    recipe: Recipe,
    *,
    tuned: Mapping[str, Tuned] = NOTHING_TUNED,
    size: float = 1.0,
    beside: Path | None = None,
    base: Path | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> Encoded:
    """Write `target`, a .wcz of the model file `source`, whole or not at all. Inverse: `decoder.decode`.

    tuned: by tensor name, what to code in place of the file's weights; errors are told against the file's.
    size:  multiplies the steps that the recipe leaves open; a recipe with a budget searches it from here.
    beside: the ONNX model that says which values lie in `source`, a file of its external data.
    base:  an earlier version of the file, which decoding will need.
    Raises: ModelFileError, RecipeError, BudgetError; OSError where `target` cannot be written.
    """
    earlier = open_base(base) if base else None
    if recipe.is_whole and not tuned:
        with whole_file(target) as temporary:
            made = encode_identical(source, beside, earlier, temporary, recipe.effort, threads, progress)
            return Encoded(made, 0.0, ())
    with opened(source, recipe.keep_optimizer or bool(recipe.options.lossless), beside) as model:
        looks = look_at(model.tensors, threads)
        surveys = [found.survey for found in looks]
        with whole_file(target) as temporary:

            def attempt(size: float) -> Encoded:
                plans = plan_model(model, surveys, recipe, size)
                return write_container(Job(model, looks, plans, tuned, threads, progress, earlier), temporary)

            goal = goal_of(recipe, model.source_bytes)
            if goal is None:
                return attempt(size)
            last: list[tuple[float, Encoded]] = []

            def measure(size: float) -> float:
                last[:] = [(size, attempt(size))]
                return last[0][1].error if recipe.max_error else last[0][1].file_bytes

            best = largest_step(measure, size, goal)
            return last[0][1] if last[0][0] == best else attempt(best)


def write_container(job: Job, target: Path) -> Encoded:
    """Code every tensor by its plan into the file `target`."""
    model, twins = job.model, _duplicates(job)

    def work(number: int, chunk_map: Map) -> EncodedTensor | None:
        if twins[number] is not None:
            return None
        tensor, plan = model.tensors[number], job.plans[number]
        own = encode_tensor(tensor, plan, job.tuned.get(tensor.name), chunk_map)
        based = job.base if plan.how != "exact" and tensor.name not in job.tuned else None
        less = difference(tensor, based) if based else None
        if less is None:
            return own
        return smaller(own, encode_tensor(less, replace(plan, prune=None, limit=inf), None, chunk_map))

    sums: list[tuple[float, float]] = []
    with target.open("w+b") as file:
        writer = Writer(file)
        for number, encoded in enumerate(tensor_by_tensor(work, model.tensors, job.threads)):
            twin = twins[number]
            if encoded:
                writer.add(encoded.coded)
                sums.append((encoded.squared_error, encoded.energy))
            elif twin is not None:
                writer.add_duplicate(twin)
                sums.append(sums[twin])
            if job.progress:
                job.progress(model.tensors[number])
        counted = [pair for pair, tensor in zip(sums, model.tensors, strict=True) if is_weight(tensor)]
        energy = sum(pair[1] for pair in counted)
        error = sum(pair[0] for pair in counted) / energy if energy > 0.0 else 0.0
        needed = job.base.digest if job.base else None
        length = writer.finish(model.kind, model.tensors, model.skeleton, model.source_bytes, error, needed)
    return Encoded(length, error, model.dropped)


def encode_tensor(tensor: Tensor, plan: Plan, tuned: Tuned | None, chunk_map: Map) -> EncodedTensor:
    """One tensor's sections. Inverse: `decoder.decode_tensor`."""
    values = _fresh(tensor)
    if plan.how == "exact":
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


def _fresh(tensor: Tensor) -> Bits:
    """The tensor's values, which may be overwritten."""
    values = tensor.read()
    return values if values.flags.writeable and values.flags.c_contiguous else values.copy("C")


def _plan_of(tuned: Tuned, plan: Plan) -> Plan:
    """What learning chose is coded as it is: integers by their step, short numbers with the bits that they have."""
    if tuned.step:
        return Plan("uniform", step=tuned.step, coder=plan.coder, effort=plan.effort, transform=False)
    if tuned.how == "table":
        return Plan("table", coder=plan.coder, effort=plan.effort)
    if tuned.how == "signs":
        return Plan("binary", outputs="last", coder=plan.coder, effort=plan.effort)
    if tuned.shared:
        return Plan("product", given=tuned.shared, coder=plan.coder, effort=plan.effort)
    if plan.how != "float":
        return plan
    return replace(plan, mantissa=min(plan.mantissa, mantissa_of(tuned.values)), limit=float("inf"))


@dataclass(frozen=True)
class _Prepared:
    """Weights float32[shape], irregular ones 0.0: as they were, and as they are coded.

    positions: where the irregular ones are; patches: uint8[positions, item bytes], their bytes.
    """

    original: Float32
    kept: Float32
    positions: npt.NDArray[np.int64]
    patches: npt.NDArray[np.uint8]


def _lossy(tensor: Tensor, values: Bits, prepared: _Prepared, plan: Plan, chunk_map: Map) -> EncodedTensor:
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


def _exact(tensor: Tensor, values: Bits, effort: Effort, chunk_map: Map) -> EncodedTensor:
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


def _duplicates(job: Job) -> list[int | None]:
    """For each tensor the number of an earlier one with the same type, shape, bytes and plan, if there is one."""
    seen: dict[tuple[str, tuple[int, ...], bytes, Plan, int], int] = {}
    twins: list[int | None] = []
    for number, (tensor, found, plan) in enumerate(zip(job.model.tensors, job.looks, job.plans, strict=True)):
        tuned = job.tuned.get(tensor.name)
        key = (tensor.dtype, tensor.shape, found.fingerprint, plan, id(tuned.values) if tuned else 0)
        first = seen.setdefault(key, number)
        twins.append(None if first == number else first)
    return twins
