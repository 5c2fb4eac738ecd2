"""Budgets of models in shards: step sizes from samples of all files, then encodings of those that change.

It is the same search as in `budget`, with a shard instead of a tensor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from wcodec.codec.parallel import map_ordered
from wcodec.codec.plan import CodebookPlan, ProductPlan, UniformPlan
from wcodec.codec.sampling import TensorSample
from wcodec.codec.statistics import scan_tensors
from wcodec.container.records import pack_error, parse_error
from wcodec.model.dataclass import dataclass, replace
from wcodec.modelfiles.shards import Folder
from wcodec.pipeline.attempt import Encoding
from wcodec.pipeline.budget import FILE_BYTES, VALUE_BYTES, count_copies, plans_by_effort, take_samples
from wcodec.pipeline.folder_jobs import EncodeJob, JobResult, run_all
from wcodec.planning.allocation import WeightTotals
from wcodec.planning.budget_search import Amounts, EncodingMeasure, Sizes, meet_target
from wcodec.planning.rate_control import Target, find_step, target_of

if TYPE_CHECKING:
    from concurrent.futures import Executor

EncodeAll = Callable[[Sequence[EncodeJob]], tuple[list[EncodeJob], list[JobResult]]]
"""Encodes the files of jobs. Returns the jobs with the names of their parts, and the results."""


@dataclass(frozen=True)
class FileSamples:
    """The samples of one file.

    each:   a sample of each tensor that has a step, its plan, and the number of equal tensors in the file.
    counts: the number of weights that have a step.
    others: the number of values that have none.
    """

    each: tuple[tuple[TensorSample, UniformPlan, int], ...]
    counts: int
    others: int


def sample_file(job: EncodeJob) -> FileSamples | None:
    """The samples of one file; None if it has a tensor whose bytes cannot be estimated from a sample.

    Raises: ModelFileError, RecipeError.
    """
    with job.opened() as model:
        looks = scan_tensors(model.tensors, job.threads)
        once, twice = (plans_by_effort(model, looks, job.recipe, size, job.totals)[0] for size in (1.0, 2.0))
        if any(isinstance(plan, CodebookPlan | ProductPlan) for plan in once):
            return None
        encoding = Encoding(model, looks, once, {}, job.threads, None)
        copies = {number: count for number, count in count_copies(encoding).items() if once[number] != twice[number]}
        taken = take_samples(encoding, list(copies))
        each = [(one, plan, copies[n]) for n, one in taken.items() if isinstance(plan := once[n], UniformPlan)]
        counts = sum(model.tensors[number].count for number in taken)
        return FileSamples(tuple(each), counts, sum(tensor.count for tensor in model.tensors) - counts)


@dataclass
class _Search:
    """The search of the sizes of some jobs; `named` and `done` are those of the last attempt.

    energies: of the weights of each.
    overhead: bytes in addition to those of these parts, from their results.
    """

    goal: Target
    jobs: Sequence[EncodeJob]
    energies: Sequence[float]
    overhead: Callable[[Sequence[JobResult]], int]
    encode_all: EncodeAll
    samples: Sequence[FileSamples | None]
    named: Sequence[EncodeJob] = ()
    done: Sequence[JobResult] = ()

    def meet(self) -> None:
        """Raises: BudgetError if no sizes meet the goal."""
        counts = {number: found.counts for number, found in enumerate(self.samples) if found and found.counts}
        if counts and None not in self.samples and not any(job.base for job in self.jobs):
            others = sum(found.others for found in self.samples if found)
            beside = VALUE_BYTES * others + FILE_BYTES * len(self.jobs) + self.overhead(())
            if meet_target(self.goal, counts, 1.0, 0.0 if self.goal.power > 0 else beside, self.estimate, self.measure):
                return
        sizes: list[float] = []

        def measure(size: float) -> float:
            sizes.append(size)
            return self.measure(dict.fromkeys(range(len(self.jobs)), size)).value

        best = find_step(measure, 1.0, self.goal)
        if sizes[-1] != best:
            measure(best)

    def estimate(self, sizes: Sizes) -> Amounts:
        """By number of a job: its bytes, or its share of the relative error."""
        by_error = self.goal.power > 0
        every = [
            (number, sample, replace(plan, step=plan.step * size), copies if by_error else 1)
            for number, size in sizes.items()
            if (found := self.samples[number])
            for sample, plan, copies in found.each
        ]

        def amount(one: tuple[int, TensorSample, UniformPlan, int]) -> float:
            return one[1].measure(one[2])[by_error] * one[3]

        totals = dict.fromkeys(sizes, 0.0)
        amounts = map_ordered(amount, every, self.jobs[0].threads, lambda one: one[1].rows.nbytes)
        for one, value in zip(every, amounts, strict=True):
            totals[one[0]] += value / (sum(self.energies) or 1.0) if by_error else value
        return totals

    def measure(self, sizes: Sizes) -> EncodingMeasure:
        """Encodings with steps of these sizes."""
        sized = [replace(job, size=sizes.get(number, 1.0)) for number, job in enumerate(self.jobs)]
        self.named, self.done = self.encode_all(sized)
        whole = sum(self.energies) or 1.0
        pairs = zip(self.done, self.energies, strict=True)
        errors = {n: one.error * energy / whole for n, (one, energy) in enumerate(pairs)}
        if self.goal.power > 0:
            return EncodingMeasure(parse_error(pack_error(sum(errors.values()))), errors, errors)
        amounts = {number: float(one.file_bytes) for number, one in enumerate(self.done)}
        return EncodingMeasure(sum(amounts.values()) + self.overhead(self.done), amounts, errors)


def _group_files(folder: Folder, jobs: Sequence[EncodeJob]) -> list[tuple[Target, list[int]]]:
    """The goal, and the numbers of the files whose steps are searched together.

    For bytes these are all files, for an error those of each model; a model of one file has its own search.
    """
    lossy = [number for number, file in enumerate(folder.files) if file.is_model]
    goal = target_of(jobs[lossy[0]].recipe, sum(job.source.stat().st_size for job in jobs)) if lossy else None
    if goal is None or goal.power < 0:
        return [(goal, lossy)] if goal else []
    models: dict[str, list[int]] = defaultdict(list)
    for number in lossy:
        models[folder.files[number].model].append(number)
    return [(goal, numbers) for numbers in models.values() if len(numbers) > 1]


def encode_within_budget(
    folder: Folder,
    jobs: Sequence[EncodeJob],
    surveys: Sequence[WeightTotals | None],
    encode_all: EncodeAll,
    index_bytes: Callable[[Sequence[JobResult]], int],
    executor: Executor | None,
) -> tuple[list[EncodeJob], list[JobResult]]:
    """The jobs within the budget of their recipes, and their results.

    Bytes are those of all parts and of the index; the error is that of each model.
    index_bytes: of the index of these parts, estimated for missing ones.
    Raises: BudgetError; the errors of `encode_all`.
    """
    groups = _group_files(folder, jobs)
    searched = {number for _, group in groups for number in group}
    fixed = [number for number in range(len(jobs)) if number not in searched]
    found = {n: (job, one) for n, job, one in zip(fixed, *encode_all([jobs[number] for number in fixed]), strict=True)}
    for goal, group in groups:
        others = [one for _, one in found.values()]

        def overhead(done: Sequence[JobResult], others: Sequence[JobResult] = others) -> int:
            return sum(one.file_bytes for one in others) + index_bytes([*others, *done])

        own = [jobs[number] for number in group]
        energies = [survey.energy if survey else 0.0 for survey in (surveys[number] for number in group)]
        search = _Search(goal, own, energies, overhead, encode_all, run_all(sample_file, own, executor))
        search.meet()
        found |= {number: (job, one) for number, job, one in zip(group, search.named, search.done, strict=True)}
    return [found[number][0] for number in range(len(jobs))], [found[number][1] for number in range(len(jobs))]
