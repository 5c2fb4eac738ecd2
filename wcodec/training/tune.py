"""From a model file and inputs to weights that cost fewer bits and answer alike: rounded by feedback, then trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wcodec.calibration.budget import CAUTION, Budget
from wcodec.calibration.codebook_search import SharedNet, share_within, shared_tensors
from wcodec.calibration.progress import Patience, Standing, Watch
from wcodec.calibration.quality import SPREAD, judged
from wcodec.calibration.request import MOMENTS, Wish
from wcodec.calibration.session import Subject, prepare
from wcodec.calibration.step_search import calibrate_subject
from wcodec.calibration.trial import Calibration, tuned_tensors
from wcodec.calibration.vector_steps import room_for_vectors, with_vectors
from wcodec.errors import BudgetError, RecipeError
from wcodec.evaluation.datasets import load
from wcodec.evaluation.evaluate import Evaluation, evaluate
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.metrics import are_probabilities
from wcodec.evaluation.model_loader import load_model, model_inputs
from wcodec.evaluation.weight_mapping import exact_places, tensor_names
from wcodec.model import Tuned
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

    wish: Wish
    subject: Subject
    found: Calibration | SharedNet
    tuned: Mapping[str, Tuned]
    said: tuple[str, ...]


Measure = Callable[[Mapping[str, Tuned]], int]
"""Bytes of the file that weights make."""


def tune(source: Path, wish: Wish, watch: Watch, measure: Measure | None = None) -> Tuning:
    """The best weights for `source` that are predicted to stay within what is wished for.

    watch:   is told how the search stands.
    measure: wanted where `most_bytes` is wished for.

    An interrupt (KeyboardInterrupt) ends the search: the result is the best that was found until then.
    Raises: RecipeError, ModelFileError, UnsupportedError; BudgetError where nothing found is within the budget.
    """
    begun = time.monotonic()
    model = load_model(source, architecture=wish.architecture, imports=wish.imports, unsafe=wish.unsafe)
    examples = load(wish.data, model_inputs(model), rescale=wish.rescale, limit=wish.limit)
    with open_model(source) as file:
        names = tensor_names(model, file)
        exact = exact_places(names, file, wish.recipe)
    subject = prepare(model, examples, most=MOMENTS, seed=wish.seed, exact=exact)
    if wish.sharing:
        shared = _shared(subject, wish, watch)
        return Tuning(wish, subject, shared, shared_tensors(shared, names), tuple(examples.said))
    bench = _Bench(subject, wish, begun, watch, Patience())
    budget = _budget(wish)
    if wish.min_agreement is not None and all(y.shape[-1] == 1 and not are_probabilities(y) for y in subject.outputs):
        raise RecipeError("--min-agreement: expected a network that chooses classes, its outputs are values")
    if wish.most_bytes is not None and measure is not None:
        found = _within(bench, examples, budget, lambda one: measure(tuned_tensors(one, names)))
    else:
        kernels = budget.less(room_for_vectors(subject))
        found = _trained(bench, examples, _rounded(bench, kernels), kernels)
        found = with_vectors(subject, found, budget)
    lost = [one.path for one in found.latents if one.index not in names]
    said = [*examples.said, f"{subject.held_out.count:,} of {examples.count:,} inputs were kept apart to measure on"]
    if found.verdict.lost is not None and wish.max_drop is not None:
        said.append("of the accuracy lost by their labels one standard error is forgiven: so much may be chance")
    if bench.patience.over:
        said.append("interrupted: this is the best that was found until then")
    least, most = (part * found.drop for part in SPREAD)
    predicted = f"{found.drop:.2f} points predicted ({least:.2f} to {most:.2f} likely)"
    said.append(f"chosen: about {found.bytes:,} bytes, {found.divergence:.4f} nats, {predicted}")
    if lost:
        said.append(
            f"{len(lost)} tensors look otherwise in the file and are coded by the preset: {', '.join(lost[:3])}"
        )
    return Tuning(wish, subject, found, tuned_tensors(found, names), tuple(said))


def _shared(subject: Subject, wish: Wish, watch: Watch) -> SharedNet:
    """Codebooks in place of steps; nothing is trained."""
    if wish.sharing is None or wish.most_bytes is not None:
        raise RecipeError("codebooks with --data: expected a budget of answers (--max-drop, ...), got one of bytes")
    budget = _budget(wish)

    def sharing(one: SharedNet) -> None:
        watch(Standing("sharing", None, one.bytes, one.divergence, budget.allows(one)))

    return share_within(subject, wish.sharing, budget, seconds=wish.seconds, progress=sharing)


@dataclass(frozen=True)
class _Bench:
    subject: Subject
    wish: Wish
    begun: float
    watch: Watch
    patience: Patience


def _budget(wish: Wish, caution: float = CAUTION) -> Budget:
    drop = None if wish.max_drop is None else caution * wish.max_drop
    return Budget(drop=drop, kl=wish.max_kl, agreement=wish.min_agreement)


def _rounded(bench: _Bench, budget: Budget, near: Calibration | None = None) -> Calibration:
    seconds = float("inf") if bench.wish.steps is not None else SHARE * bench.wish.seconds

    def rounding(one: Calibration) -> None:
        bench.watch(Standing("rounding", None, one.bytes, one.divergence, budget.allows(one)))

    return calibrate_subject(
        bench.subject, budget, seconds=seconds, progress=rounding, patience=bench.patience, near=near
    )


def _within(bench: _Bench, examples: Examples, budget: Budget, measure: Callable[[Calibration], int]) -> Calibration:
    """The best weights whose file has the bytes wished for at most.

    Estimates are of weights alone: what a file has besides them is measured on the first.
    """
    most = float(bench.wish.most_bytes or 0)
    near = _rounded(bench, replace(budget, bytes=most))
    beside = measure(with_vectors(bench.subject, near, budget)) - near.bytes
    for attempt in range(TRIES):
        goal = replace(budget, bytes=most - beside)
        found = near = _rounded(bench, goal, near)
        if not attempt:
            found = _trained(bench, examples, found, goal)
        found = with_vectors(bench.subject, found, budget)
        excess = measure(found) - most
        if excess <= 0:
            return found
        beside += round(excess + 0.003 * most)
    raise BudgetError(f"{bench.subject.model.name}: expected a file of {most:,.0f} bytes, {excess:,.0f} more at best")


def _trained(bench: _Bench, examples: Examples, found: Calibration, budget: Budget) -> Calibration:
    """`found`, or what training makes of it where there are inputs enough and steps are wished for."""
    wish = bench.wish
    few = examples.count - bench.subject.held_out.count < TRAINABLE
    if wish.steps == 0 or few or bench.patience.over:
        return found
    model, exact = bench.subject.model, bench.subject.exact
    pupil = prepare(model, examples, most=examples.count, seed=wish.seed, exact=exact)
    left = None if wish.steps else max(1.0, wish.seconds - (time.monotonic() - bench.begun))

    def training(step: int, steps: int, size: int, moved: float) -> None:
        allowed = (budget.target is None or moved <= budget.target) and (budget.bytes is None or size <= budget.bytes)
        bench.watch(Standing("training", step / max(steps, 1), size, moved, allowed))

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
    wish, subject = tuning.wish, tuning.subject
    restored: Model = load_model(coded, architecture=wish.architecture, imports=wish.imports, unsafe=wish.unsafe)
    held = replace(tuning.found, verdict=judged(subject, restored))
    budget = _budget(wish, caution=1.0)
    if not budget.allows(held):
        raise BudgetError(f"{coded.name}: {budget.refusal([held])}")
    return evaluate(restored, subject.held_out, subject.model)
