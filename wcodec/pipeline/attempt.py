"""One encoding of a model by given plans: every tensor is coded and written, and its size and error are returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Final

from wcodec.codec.parallel import Map, map_tensors
from wcodec.codec.plan import ExactPlan, FloatPlan, Plan, UniformPlan
from wcodec.codec.statistics import TensorScan, is_weight
from wcodec.codec.tensor_encoder import EncodedTensor, choose_smaller, encode_tensor
from wcodec.container.writer import Writer
from wcodec.model import Model, Progress, TunedTensor
from wcodec.model.dataclass import dataclass, field, replace
from wcodec.pipeline.base_file import BaseFile, difference
from wcodec.pipeline.coded_tensors import CodedTensors
from wcodec.planning.allocation import VALUES_STEP, WeightTotals

VALUES_NOTE: Final = (
    f"the model predicts values, so the steps are {VALUES_STEP:g} times those of a classifier; --max-error or "
    "--target-size choose others"
)
PRUNED_NOTE: Final = (
    "weights were pruned without retraining, which may cost accuracy: 'wcodec evaluate' measures it, --data D with "
    "--finetune E retrains"
)
LARGE_ERROR: Final = 0.1
LARGE_NOTE: Final = (
    f"a relative error above {LARGE_ERROR:g} costs most networks accuracy: 'wcodec evaluate' measures it, and --data D "
    "loses less at the same size"
)
LOST_CHANGE: Final = 0.1
"""The fraction of the squared difference from a base whose loss the user is told."""


@dataclass(frozen=True)
class Encoded:
    """The result of an encoding.

    error:    relative squared error over all float tensors of two or more dimensions.
    dropped:  the number of tensors left out (optimizer state).
    notes:    sentences about actions that the user may not expect.
    lost:     the loss of the outputs in words, if it was measured.
    measured: the same figures by name.
    tried:    the measurements of a search, one row of texts each: name, bytes, losses, within the budget or the bound
              exceeded.
    messages: the messages of the encoding: the budget, epochs, the choice.
    plans:    the plan of each tensor.
    """

    file_bytes: int
    error: float
    dropped: tuple[str, ...]
    notes: tuple[str, ...] = ()
    lost: str = ""
    measured: Mapping[str, float] = field(default_factory=dict)
    tried: tuple[tuple[str, ...], ...] = ()
    messages: tuple[str, ...] = ()
    plans: tuple[Plan, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Attempt:
    """An encoding that was written.

    nbytes: of each tensor's sections, 0 for a tensor that equals an earlier one.
    errors: the squared error of each tensor.
    energy: sum of squares of all tensors that count for the relative error.
    """

    encoded: Encoded
    nbytes: Sequence[int]
    errors: Sequence[float]
    energy: float


@dataclass(frozen=True)
class Encoding:
    """One encoding of a model: the scan and the plan of each of its tensors.

    rivals: other plans of the tensors; the smallest result is used.
    coded:  a cache of coded tensors for further attempts with the same plans; None for a single attempt.
    totals: of the model of which this is a shard; None for a model of one file.
    """

    model: Model
    looks: Sequence[TensorScan]
    plans: Sequence[Plan]
    tuned: Mapping[str, TunedTensor]
    threads: int
    progress: Progress | None
    base: BaseFile | None = None
    rivals: Sequence[Sequence[Plan]] = ()
    coded: CodedTensors | None = None
    totals: WeightTotals | None = None


def _keeps_survivors(plan: Plan) -> bool:
    """Whether values that are not pruned are exact."""
    return isinstance(plan, FloatPlan) and plan.keeps_bits and plan.prune is not None


def write_container(job: Encoding, target: Path) -> Attempt:
    """Code every tensor by its plan into the file `target`."""
    model, twins = job.model, find_twins(job)

    def work(number: int, chunk_map: Map) -> EncodedTensor | None:
        if twins[number] is not None:
            return None
        tensor, plan = model.tensors[number], job.plans[number]
        if job.coded and (coded := job.coded[number, plan]):
            return coded
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
    nbytes: list[int] = []
    changed: list[tuple[float, float]] = []
    with target.open("w+b") as file:
        writer = Writer(file)
        for number, encoded in enumerate(map_tensors(work, model.tensors, job.threads, kept=0.25)):
            twin = twins[number]
            if encoded:
                writer.add(encoded.stored)
                sums.append((encoded.squared_error, encoded.energy))
                changed.append((encoded.squared_error if encoded.change else 0.0, encoded.change))
                if job.coded:
                    job.coded[number, job.plans[number]] = encoded
            elif twin is not None:
                writer.add_duplicate(twin)
                sums.append(sums[twin])
            nbytes.append(sum(map(len, encoded.stored.sections)) if encoded else 0)
            if job.progress:
                job.progress(model.tensors[number])
        counted = [pair for pair, tensor in zip(sums, model.tensors, strict=True) if is_weight(tensor)]
        energy = sum(pair[1] for pair in counted)
        error = sum(pair[0] for pair in counted) / energy if energy > 0.0 else 0.0
        needed = job.base.digest if job.base else None
        length = writer.finish(model.kind, model.tensors, model.skeleton, model.source_bytes, error, needed)
    encoded_as = Encoded(
        length, error, model.dropped, _list_notes(job, error) + _note_lost_change(changed), plans=tuple(job.plans)
    )
    return Attempt(encoded_as, nbytes, [pair[0] for pair in sums], energy)


def _list_notes(job: Encoding, error: float) -> tuple[str, ...]:
    """Notes for the user about properties of weights that were not trained for this recipe. error: relative."""
    if job.tuned:
        return ()
    gentle = job.model.predicts_values and any(isinstance(plan, UniformPlan) for plan in job.plans)
    pruned = any(not isinstance(plan, ExactPlan) and plan.prune for plan in job.plans)
    large = not pruned and error > LARGE_ERROR
    notes = {VALUES_NOTE: gentle, PRUNED_NOTE: pruned, LARGE_NOTE: large}
    return tuple(note for note, holds in notes.items() if holds)


def _note_lost_change(changed: Sequence[tuple[float, float]]) -> tuple[str, ...]:
    """A note if much of the difference from the base is below the steps, which follow from the weights themselves.

    changed: of each tensor the squared error and the energy of its difference, 0 if it is coded by itself.
    """
    change = sum(energy for _, energy in changed)
    lost = sum(error for error, _ in changed) / change if change else 0.0
    if lost < LOST_CHANGE:
        return ()
    return (
        f"{100 * min(lost, 1.0):.0f} % of the squared difference from the base is lost, as the steps follow from the "
        "weights and not from the difference; a smaller --max-error, or --lossless, keeps it",
    )


def find_twins(job: Encoding) -> list[int | None]:
    """For each tensor the number of an earlier one with the same type, shape, bytes and plan, or None."""
    seen: dict[tuple[str, tuple[int, ...], bytes, Plan, int], int] = {}
    twins: list[int | None] = []
    for number, (tensor, found, plan) in enumerate(zip(job.model.tensors, job.looks, job.plans, strict=True)):
        tuned = job.tuned.get(tensor.name)
        key = (tensor.dtype, tensor.shape, found.fingerprint, plan, id(tuned.values) if tuned else 0)
        first = seen.setdefault(key, number)
        twins.append(None if first == number else first)
    return twins
