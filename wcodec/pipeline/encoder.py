"""Encoding of a model file: weights -> prune, quantise -> levels -> sections -> container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import Final

from wcodec.codec.parallel import Map, map_tensors
from wcodec.codec.plan import Effort, ExactPlan, FloatPlan, Plan, UniformPlan
from wcodec.codec.statistics import TensorScan, is_weight, scan_tensors
from wcodec.codec.tensor_encoder import EncodedTensor, choose_smaller, encode_tensor
from wcodec.container.writer import Writer
from wcodec.files import unchanged, whole_file
from wcodec.model import Model, Progress, TunedTensor
from wcodec.modelfiles.shards import missing_data, opened
from wcodec.pipeline.base_chain import open_any_base
from wcodec.pipeline.base_file import BaseFile, difference
from wcodec.pipeline.lossless_encoder import encode_lossless
from wcodec.planning.allocation import VALUES_STEP, plan_model
from wcodec.planning.rate_control import find_step, target_of
from wcodec.planning.recipe import Recipe

NOTHING_TUNED: Mapping[str, TunedTensor] = MappingProxyType({})


VALUES_NOTE: Final = (
    f"the model predicts values, so the steps are {VALUES_STEP:g} times those of a classifier; --max-error or "
    "--target-size choose others"
)
PRUNED_NOTE: Final = (
    "weights were pruned without retraining, which may cost accuracy: 'wcodec evaluate' measures it, --data D with "
    "--finetune E retrains"
)


@dataclass(frozen=True)
class Encoded:
    """What an encoding came to.

    error:   relative squared error over all float tensors of two or more dimensions.
    dropped: tensors left out (optimizer state).
    notes:   sentences about what was done that the user may not expect.
    """

    file_bytes: int
    error: float
    dropped: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Encoding:
    """One encoding of a model: the scan and the plan of each of its tensors.

    rivals: other plans of the tensors; the smallest of what they give is taken.
    """

    model: Model
    looks: Sequence[TensorScan]
    plans: Sequence[Plan]
    tuned: Mapping[str, TunedTensor]
    threads: int
    progress: Progress | None
    base: BaseFile | None = None
    rivals: Sequence[Sequence[Plan]] = ()


def encode(
    source: Path,
    target: Path,
    recipe: Recipe,
    *,
    tuned: Mapping[str, TunedTensor] = NOTHING_TUNED,
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
    Raises: ModelFileError, RecipeError, BudgetError; OSError where `target` cannot be written; WcodecError where a file
    changes meanwhile.
    """
    with whole_file(target, source) as temporary, unchanged(source, beside, base):
        earlier = open_any_base(base) if base else None
        if recipe.is_whole and not tuned:
            made = encode_lossless(source, beside, earlier, temporary, recipe.effort, threads, progress)
            return Encoded(made, 0.0, (), missing_data(source))
        with opened(source, recipe.keep_optimizer or bool(recipe.options.lossless), beside) as model:
            looks = scan_tensors(model.tensors, threads)
            surveys = [found.statistics for found in looks]
            # A search by samples and estimates is not always as good as none: --best is not to be larger than others.
            cheaper: tuple[Effort, ...] = ("normal", "fast") if recipe.effort == "best" else ()

            def attempt(size: float) -> Encoded:
                plans = plan_model(model, surveys, recipe, size)
                rivals = [plan_model(model, surveys, replace(recipe, effort=effort), size) for effort in cheaper]
                job = Encoding(model, looks, plans, tuned, threads, progress, earlier, rivals)
                return write_container(job, temporary)

            goal = target_of(recipe, model.source_bytes)
            if goal is None:
                return attempt(size)
            last: list[tuple[float, Encoded]] = []

            def measure(size: float) -> float:
                last[:] = [(size, attempt(size))]
                return last[0][1].error if recipe.max_error else last[0][1].file_bytes

            best = find_step(measure, size, goal)
            return last[0][1] if last[0][0] == best else attempt(best)


def _keeps_survivors(plan: Plan) -> bool:
    """Whether values that are not pruned come back bit for bit."""
    return isinstance(plan, FloatPlan) and plan.keeps_bits and plan.prune is not None


def write_container(job: Encoding, target: Path) -> Encoded:
    """Code every tensor by its plan into the file `target`."""
    model, twins = job.model, _duplicates(job)

    def work(number: int, chunk_map: Map) -> EncodedTensor | None:
        if twins[number] is not None:
            return None
        tensor, plan = model.tensors[number], job.plans[number]
        plans = dict.fromkeys((plan, *(plans[number] for plans in job.rivals)))
        every = (encode_tensor(tensor, one, job.tuned.get(tensor.name), chunk_map) for one in plans)
        own = min(every, key=lambda coded: coded.nbytes)
        if job.base is None or tensor.name in job.tuned or isinstance(plan, ExactPlan) or _keeps_survivors(plan):
            return own
        less = difference(tensor, job.base)
        if less is None:
            return own
        return choose_smaller(own, encode_tensor(less, replace(plan, prune=None, limit=inf), None, chunk_map))

    sums: list[tuple[float, float]] = []
    with target.open("w+b") as file:
        writer = Writer(file)
        for number, encoded in enumerate(map_tensors(work, model.tensors, job.threads)):
            twin = twins[number]
            if encoded:
                writer.add(encoded.stored)
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
    return Encoded(length, error, model.dropped, _notes(job))


def _notes(job: Encoding) -> tuple[str, ...]:
    """What the user may not expect of weights that nothing was trained for."""
    if job.tuned:
        return ()
    gentle = job.model.predicts_values and any(isinstance(plan, UniformPlan) for plan in job.plans)
    pruned = any(not isinstance(plan, ExactPlan) and plan.prune for plan in job.plans)
    return (*((VALUES_NOTE,) if gentle else ()), *((PRUNED_NOTE,) if pruned else ()))


def _duplicates(job: Encoding) -> list[int | None]:
    """For each tensor the number of an earlier one with the same type, shape, bytes and plan, if there is one."""
    seen: dict[tuple[str, tuple[int, ...], bytes, Plan, int], int] = {}
    twins: list[int | None] = []
    for number, (tensor, found, plan) in enumerate(zip(job.model.tensors, job.looks, job.plans, strict=True)):
        tuned = job.tuned.get(tensor.name)
        key = (tensor.dtype, tensor.shape, found.fingerprint, plan, id(tuned.values) if tuned else 0)
        first = seen.setdefault(key, number)
        twins.append(None if first == number else first)
    return twins
