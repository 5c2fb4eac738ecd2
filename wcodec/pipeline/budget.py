"""Encodings within a budget of bytes or of error."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from wcodec.codec.parallel import map_tensors
from wcodec.codec.plan import CodebookPlan, Effort, Plan, ProductPlan, UniformPlan
from wcodec.codec.sampling import TensorSample, take_sample
from wcodec.codec.statistics import TensorScan, is_weight
from wcodec.container.records import pack_error, parse_error
from wcodec.model import Model
from wcodec.model.dataclass import dataclass, field, replace
from wcodec.pipeline.attempt import Attempt, Encoded, Encoding, find_twins, write_container
from wcodec.pipeline.coded_tensors import CodedTensors
from wcodec.planning.allocation import WeightTotals, plan_model
from wcodec.planning.budget_search import Amounts, EncodingMeasure, Sizes, meet_target
from wcodec.planning.rate_control import Target, find_step
from wcodec.planning.recipe import Recipe

VALUE_BYTES: Final = 1.2
"""The estimated bytes of a value without a step."""
FILE_BYTES: Final = 256.0
"""The estimated bytes of a file without its values."""


PlansByEffort: TypeAlias = Sequence[Sequence[Plan]]
"""One plan for each tensor, with the requested effort, and with each other one that is tried."""


def plans_by_effort(
    model: Model, looks: Sequence[TensorScan], recipe: Recipe, size: float, totals: WeightTotals | None
) -> PlansByEffort:
    """The plans of the recipe; with --best also those of lower effort, because no search is always better.

    size: a factor on the steps that the recipe leaves open; totals: as in `plan_model`. Raises: RecipeError.
    """
    surveys = [found.statistics for found in looks]
    cheaper: tuple[Effort, ...] = ("normal", "fast") if recipe.effort == "best" else ()
    recipes = [recipe, *(replace(recipe, effort=effort) for effort in cheaper)]
    return [plan_model(model, surveys, one, size, totals) for one in recipes]


def encode_within(goal: Target, job: Encoding, recipe: Recipe, size: float, target: Path) -> Encoded:
    """Write the container `target` that meets the goal: by samples if steps decide, otherwise by repeated encodings.

    size: the initial factor on the steps.
    Raises: BudgetError.
    """
    with tempfile.TemporaryFile(dir=target.parent) as file:
        tries = _Tries(replace(job, coded=CodedTensors(file)), goal, recipe, target)
        is_new = not job.tuned and job.base is None
        if is_new and not any(isinstance(plan, CodebookPlan | ProductPlan) for plan in job.plans):
            copies = count_copies(job)
            by_samples = _BySamples(tries, copies, take_samples(job, list(copies)))
            if by_samples.meet(size):
                return tries.made[-1].encoded
        sizes: list[float] = []

        def measure(size: float) -> float:
            sizes.append(size)
            return tries.value_of(tries.attempt(tries.plans_at(size)))

        best = find_step(measure, size, goal)
        return (tries.made[-1] if sizes[-1] == best else tries.attempt(tries.plans_at(best))).encoded


@dataclass(frozen=True)
class _Tries:
    """The encodings that are made until one meets the goal; `made` is the last one."""

    job: Encoding
    goal: Target
    recipe: Recipe
    target: Path
    made: list[Attempt] = field(default_factory=list)
    _plans: dict[float, PlansByEffort] = field(default_factory=dict)

    def plans_at(self, size: float) -> PlansByEffort:
        """The plans with the steps of the recipe times `size`."""
        if size not in self._plans:
            job = self.job
            self._plans[size] = plans_by_effort(job.model, job.looks, self.recipe, size, job.totals)
        return self._plans[size]

    def attempt(self, plans: PlansByEffort) -> Attempt:
        """Write the target by these plans."""
        self.made[:] = [write_container(replace(self.job, plans=plans[0], rivals=plans[1:]), self.target)]
        return self.made[0]

    def value_of(self, made: Attempt) -> float:
        """The measure of the goal: bytes, or the relative squared error, rounded up as the file stores it."""
        return parse_error(pack_error(made.encoded.error)) if self.goal.power > 0 else made.encoded.file_bytes


@dataclass(frozen=True)
class _BySamples:
    """The search by samples: of the first of equal tensors, with the number of `copies`."""

    tries: _Tries
    copies: Mapping[int, int]
    samples: Mapping[int, TensorSample]

    def meet(self, size: float) -> bool:
        """Whether the last encoding meets the goal."""
        tensors, goal = self.tries.job.model.tensors, self.tries.goal
        counts = {number: tensors[number].count for number in self.samples}
        others = sum(tensor.count for number, tensor in enumerate(tensors) if number not in counts)
        fixed = 0.0 if goal.power > 0 else VALUE_BYTES * others + FILE_BYTES
        return bool(counts) and meet_target(goal, counts, size, fixed, self.estimate, self.measure)

    def estimate(self, sizes: Sizes) -> Amounts:
        """By number of a tensor: its bytes, or its share of the relative error."""
        job, by_error = self.tries.job, self.tries.goal.power > 0
        plans = {number: self.tries.plans_at(size)[0][number] for number, size in sizes.items()}
        found = _estimate(job, self.samples, plans, by_error)
        if not by_error:
            return found
        every = zip(job.looks, job.model.tensors, strict=True)
        energy = sum(look.statistics.energy for look, tensor in every if look.statistics and is_weight(tensor))
        return {number: amount * self.copies[number] / energy for number, amount in found.items()}

    def measure(self, sizes: Sizes) -> EncodingMeasure:
        """An encoding with steps of these sizes."""
        every = [self.tries.job.plans, *self.tries.job.rivals]
        others = {number: self.tries.plans_at(size) for number, size in sizes.items()}
        made = self.tries.attempt(
            [
                [others[number][effort][number] if number in others else plan for number, plan in enumerate(plans)]
                for effort, plans in enumerate(every)
            ]
        )
        errors = {number: made.errors[number] * self.copies[number] / made.energy for number in sizes}
        amounts = errors if self.tries.goal.power > 0 else {number: made.nbytes[number] for number in sizes}
        return EncodingMeasure(self.tries.value_of(made), amounts, errors)


def count_copies(job: Encoding) -> dict[int, int]:
    """By number of the first of equal tensors with a step that count for errors: the number of equal ones."""
    copies: dict[int, int] = {}
    for number, (twin, plan) in enumerate(zip(find_twins(job), job.plans, strict=True)):
        if isinstance(plan, UniformPlan) and is_weight(job.model.tensors[number]):
            first = number if twin is None else twin
            copies[first] = copies.get(first, 0) + 1
    return copies


def take_samples(job: Encoding, numbers: Sequence[int]) -> dict[int, TensorSample]:
    """By number: the samples of the tensors that have a weight and a step."""
    plans = [job.plans[number] for number in numbers]
    tensors = [job.model.tensors[number] for number in numbers]

    def sample(i: int, _: object) -> TensorSample | None:
        plan = plans[i]
        return take_sample(tensors[i], plan) if isinstance(plan, UniformPlan) else None

    taken = zip(numbers, map_tensors(sample, tensors, job.threads), strict=True)
    return {number: found for number, found in taken if found}


def _estimate(
    job: Encoding, samples: Mapping[int, TensorSample], plans: Mapping[int, Plan], by_error: bool
) -> dict[int, float]:
    """By number: bytes or squared error of a tensor coded by its plan."""
    numbers = list(plans)

    def amount(i: int, _: object) -> float:
        plan = plans[numbers[i]]
        return samples[numbers[i]].measure(plan)[by_error] if isinstance(plan, UniformPlan) else 0.0

    tensors = [job.model.tensors[number] for number in numbers]
    return dict(zip(numbers, map_tensors(amount, tensors, job.threads), strict=True))
