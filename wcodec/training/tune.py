"""From a model file and inputs to weights that cost fewer bits and answer alike: rounded by feedback, then trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wcodec.calibration.budget import SAFETY, AccuracyBudget
from wcodec.calibration.codebook_search import CodebookResult, codebook_tensors, search_codebooks
from wcodec.calibration.progress import Interruptible, ProgressCallback, SearchProgress
from wcodec.calibration.quality import SPREAD, measure_quality
from wcodec.calibration.request import MAX_FITTED, CalibrationRequest
from wcodec.calibration.session import CalibrationSession, prepare_session
from wcodec.calibration.step_search import search_steps
from wcodec.calibration.trial import CalibrationResult, tuned_tensors
from wcodec.calibration.vector_steps import quantize_vectors, reserve_for_vectors
from wcodec.errors import BudgetError, RecipeError
from wcodec.evaluation.datasets import load_examples
from wcodec.evaluation.evaluate import Evaluation, evaluate
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.metrics import are_probabilities
from wcodec.evaluation.model_loader import load_model, model_inputs
from wcodec.evaluation.weight_mapping import exact_places, tensor_names
from wcodec.model import TunedTensor
from wcodec.modelfiles import open_model
from wcodec.training.distillation import distill

if TYPE_CHECKING:
    from keras import Model

TRAINABLE: Final = 2000
"""Fewest inputs worth training on."""
SHARE: Final = 0.35
"""Part of the time limit for rounding; the rest is for training."""
TRIES: Final = 4
"""For files of a size that is asked."""


@dataclass(frozen=True)
class Tuning:
    """A network on the bench and what was found for it; `tuned` goes to `encoder.encode`."""

    wish: CalibrationRequest
    session: CalibrationSession
    found: CalibrationResult | CodebookResult
    tuned: Mapping[str, TunedTensor]
    notes: tuple[str, ...]


Measure = Callable[[Mapping[str, TunedTensor]], int]
"""Bytes of the file that weights make."""


def tune(source: Path, wish: CalibrationRequest, watch: ProgressCallback, measure: Measure | None = None) -> Tuning:
    """The best weights for `source` that are predicted to stay within what is wished for.

    watch:   is told how the search stands.
    measure: wanted where `most_bytes` is wished for.

    An interrupt (KeyboardInterrupt) ends the search: the result is the best that was found until then.
    Raises: RecipeError, ModelFileError, UnsupportedError; BudgetError where nothing found is within the budget.
    """
    begun = time.monotonic()
    model = load_model(source, architecture=wish.architecture, imports=wish.imports, unsafe=wish.unsafe)
    examples = load_examples(wish.data, model_inputs(model), rescale=wish.rescale, limit=wish.limit)
    with open_model(source) as file:
        names = tensor_names(model, file)
        exact = exact_places(names, file, wish.recipe)
    session = prepare_session(model, examples, most=MAX_FITTED, seed=wish.seed, exact=exact)
    if wish.sharing:
        shared = _shared(session, wish, watch)
        return Tuning(wish, session, shared, codebook_tensors(shared, names), tuple(examples.notes))
    bench = _Bench(session, wish, begun, watch, Interruptible())
    budget = _budget(wish)
    if wish.min_agreement is not None and all(y.shape[-1] == 1 and not are_probabilities(y) for y in session.outputs):
        raise RecipeError("--min-agreement: expected a network that chooses classes, its outputs are values")
    if wish.most_bytes is not None and measure is not None:
        found = _within(bench, examples, budget, lambda one: measure(tuned_tensors(one, names)))
    else:
        kernels = budget.less(reserve_for_vectors(session))
        found = _trained(bench, examples, _rounded(bench, kernels), kernels)
        found = quantize_vectors(session, found, budget)
    lost = [one.path for one in found.latents if one.index not in names]
    said = [*examples.notes, f"{session.held_out.count:,} of {examples.count:,} inputs were kept apart to measure on"]
    if found.quality.lost is not None and wish.max_drop is not None:
        said.append("of the accuracy lost by their labels one standard error is forgiven: so much may be chance")
    if bench.patience.over:
        said.append("interrupted: this is the best that was found until then")
    least, most = (part * found.drop for part in SPREAD)
    predicted = f"{found.drop:.2f} points predicted ({least:.2f} to {most:.2f} likely)"
    said.append(f"chosen: about {found.bytes:,} bytes, {found.kl:.4f} nats, {predicted}")
    if lost:
        said.append(
            f"{len(lost)} tensors look otherwise in the file and are coded by the preset: {', '.join(lost[:3])}"
        )
    return Tuning(wish, session, found, tuned_tensors(found, names), tuple(said))


def _shared(session: CalibrationSession, wish: CalibrationRequest, watch: ProgressCallback) -> CodebookResult:
    """Codebooks in place of steps; nothing is trained."""
    if wish.sharing is None or wish.most_bytes is not None:
        raise RecipeError("codebooks with --data: expected a budget of answers (--max-drop, ...), got one of bytes")
    budget = _budget(wish)

    def sharing(one: CodebookResult) -> None:
        watch(SearchProgress("sharing", None, one.bytes, one.kl, budget.allows(one)))

    return search_codebooks(session, wish.sharing, budget, seconds=wish.seconds, progress=sharing)


@dataclass(frozen=True)
class _Bench:
    session: CalibrationSession
    wish: CalibrationRequest
    begun: float
    watch: ProgressCallback
    patience: Interruptible


def _budget(wish: CalibrationRequest, caution: float = SAFETY) -> AccuracyBudget:
    drop = None if wish.max_drop is None else caution * wish.max_drop
    return AccuracyBudget(drop=drop, kl=wish.max_kl, agreement=wish.min_agreement)


def _rounded(bench: _Bench, budget: AccuracyBudget, near: CalibrationResult | None = None) -> CalibrationResult:
    seconds = float("inf") if bench.wish.steps is not None else SHARE * bench.wish.seconds

    def rounding(one: CalibrationResult) -> None:
        bench.watch(SearchProgress("rounding", None, one.bytes, one.kl, budget.allows(one)))

    return search_steps(bench.session, budget, seconds=seconds, progress=rounding, patience=bench.patience, near=near)


def _within(
    bench: _Bench, examples: Examples, budget: AccuracyBudget, measure: Callable[[CalibrationResult], int]
) -> CalibrationResult:
    """The best weights whose file has the bytes wished for at most.

    Estimates are of weights alone: what a file has besides them is measured on the first.
    """
    most = float(bench.wish.most_bytes or 0)
    near = _rounded(bench, replace(budget, bytes=most))
    beside = measure(quantize_vectors(bench.session, near, budget)) - near.bytes
    for attempt in range(TRIES):
        goal = replace(budget, bytes=most - beside)
        found = near = _rounded(bench, goal, near)
        if not attempt:
            found = _trained(bench, examples, found, goal)
        found = quantize_vectors(bench.session, found, budget)
        excess = measure(found) - most
        if excess <= 0:
            return found
        beside += round(excess + 0.003 * most)
    raise BudgetError(f"{bench.session.model.name}: expected a file of {most:,.0f} bytes, {excess:,.0f} more at best")


def _trained(bench: _Bench, examples: Examples, found: CalibrationResult, budget: AccuracyBudget) -> CalibrationResult:
    """`found`, or what training makes of it where there are inputs enough and steps are wished for."""
    wish = bench.wish
    few = examples.count - bench.session.held_out.count < TRAINABLE
    if wish.steps == 0 or few or bench.patience.over:
        return found
    model, exact = bench.session.model, bench.session.exact
    pupil = prepare_session(model, examples, most=examples.count, seed=wish.seed, exact=exact)
    left = None if wish.steps else max(1.0, wish.seconds - (time.monotonic() - bench.begun))

    def training(step: int, steps: int, size: int, moved: float) -> None:
        allowed = (budget.target is None or moved <= budget.target) and (budget.bytes is None or size <= budget.bytes)
        bench.watch(SearchProgress("training", step / max(steps, 1), size, moved, allowed))

    return distill(
        pupil,
        found,
        budget,
        steps=wish.steps,
        seconds=left,
        seed=wish.seed,
        progress=training,
        patience=bench.patience,
    )


def measured(tuning: Tuning, coded: Path) -> Evaluation:
    """What the finished .wcz loses on the inputs kept apart.

    Raises: BudgetError where the answers have moved further than the budget allows.
    """
    wish, session = tuning.wish, tuning.session
    restored: Model = load_model(coded, architecture=wish.architecture, imports=wish.imports, unsafe=wish.unsafe)
    held = replace(tuning.found, quality=measure_quality(session, restored))
    budget = _budget(wish, caution=1.0)
    if not budget.allows(held):
        raise BudgetError(f"{coded.name}: {budget.refusal([held])}")
    return evaluate(restored, session.held_out, session.model)
