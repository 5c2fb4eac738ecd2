"""A network with fewer units: chosen, removed, repaired or merged, trained; and the narrowest within a budget."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.errors import BudgetError, RecipeError
from wcodec.evaluation.evaluate import evaluate
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.metrics import kl_divergence
from wcodec.evaluation.model_loader import predicts_values
from wcodec.evaluation.moved_images import augment_images
from wcodec.evaluation.output_kinds import output_kinds
from wcodec.evaluation.output_scores import worst_rise
from wcodec.structure import fitting
from wcodec.structure.assumed_moments import repair_without_data
from wcodec.structure.bench import Bench
from wcodec.structure.cost import cost_of
from wcodec.structure.criteria import Float64
from wcodec.structure.graph import Graph, Mask
from wcodec.structure.rebuild import without
from wcodec.structure.repair import repair
from wcodec.structure.request import SlimRequest, is_one_training
from wcodec.structure.selection import Amount, select
from wcodec.structure.speed import BATCHES, seconds_of
from wcodec.structure.training_state import FitState, StateFile, read

if TYPE_CHECKING:
    from keras import Model

TRIES: Final = 6
"""Widths that are tried for the narrowest within a budget."""


@dataclass(frozen=True)
class Made:
    """A smaller network.

    kept:     bool[units] where it is the original with some of its units.
    ranks:    of layers that were factored, by name: before and after.
    finished: that its training was not interrupted.
    """

    model: Model
    kept: Mask | None = None
    ranks: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    finished: bool = True


def narrowed(bench: Bench, graph: Graph, kept: Mask) -> Made:
    """The network with those units, repaired by inputs or merged without, and trained."""
    bench.request.watch("the layers behind what is removed are fitted", 0.0)
    if bench.seen is None:
        return Made(without(graph, kept, repair_without_data(graph, kept)), kept)
    small = without(graph, kept)
    repair(graph, kept, small, bench.seen, bench.request.seed)
    return Made(small, kept, finished=train(bench, small, kept))


def resumed(bench: Bench) -> tuple[StateFile, FitState] | None:
    """Where an interrupted training goes on; None where nothing of it is there, or none was asked for.

    Raises: RecipeError where it was another one; ModelFileError where the file is damaged.
    """
    request = bench.request
    if not request.resume or request.state is None:
        return None
    found = read(request.state, settings_of(bench))
    missing = f"{request.state.name}: not found, so the training starts anew"
    request.told(f"resumed after epoch {found[1].epochs}" if found else missing)
    return found


def settings_of(bench: Bench) -> dict[str, object]:
    """All that a training follows from."""
    request, amount = bench.request, bench.request.amount
    with bench.source.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    examples = 0 if bench.learning is None else bench.learning.count
    words = ("speedup", "low_rank", "student", "criterion", "epochs", "steps", "seed", "rescale", "augment")
    found: dict[str, object] = {word: getattr(request, word) for word in words}
    return found | {
        "source": digest,
        "examples": examples,
        "amount": None if amount is None else [amount.of, amount.part, amount.uniform],
    }


def train(bench: Bench, small: Model, kept: Mask | None = None, going_on: FitState | None = None) -> bool:
    """Train a network as it was asked for, and it is changed; whether the training ended as it should.

    kept: bool[units] of the original that it has. going_on: where an earlier training of it ended.
    """
    request = bench.request
    if bench.learning is None or bench.apart is None or (request.epochs is None and request.steps is None):
        return True
    examples, apart, epochs = bench.learning, bench.apart, request.epochs
    if epochs is None:
        examples, apart = Examples(examples.inputs), Examples(apart.inputs)
        wanted = (request.steps or 1) * fitting.BATCH
        if wanted < examples.count:
            examples = examples.take(np.linspace(0, examples.count - 1, wanted).round().astype(np.intp))
        epochs = max(1, round(wanted / examples.count))

    def progress(number: int, loss: float) -> None:
        request.told(f"epoch {number + 1} of {epochs}: loss {loss:.4f}")

    versions = 1
    if request.augment is not None:
        examples, versions = augment_images(examples, request.seed)
    targets = fitting.targets_of(bench.model, examples)
    file = None
    if request.state is not None and is_one_training(request):
        file = StateFile(request.state, settings_of(bench), np.zeros(0, bool) if kept is None else kept)
    watch = fitting.Watch(
        epoch=progress,
        batch=lambda number, part: request.watch(f"epoch {number + 1} of {epochs}", part),
        apart=(apart, fitting.targets_of(bench.model, apart)),
        file=file,
        state=going_on,
    )
    return fitting.fit(small, examples, targets, epochs, versions=versions, seed=request.seed, watch=watch)


def fast_enough(bench: Bench, graph: Graph, scores: Float64) -> Amount:
    """The widest network that is so many times faster, by bisection over the multiply-adds.

    Raises: BudgetError where none is.
    """
    wanted, batch = bench.request.speedup or 1.0, BATCHES[-1]

    def ratio(part: float) -> float:
        small = without(graph, select(graph, scores, Amount("macs", part)))
        before, after = seconds_of((bench.model, small), batch)
        return before / after

    low, high = _least(graph, scores), 1.0
    if (most := ratio(low)) < wanted:
        raise BudgetError(
            f"{bench.model.name}: expected {wanted:g} times the speed at a batch of {batch}, the most is {most:.2f}"
        )
    for _ in range(TRIES):
        middle = (low + high) / 2
        low, high = (middle, high) if ratio(middle) >= wanted else (low, middle)
    bench.request.told(f"{wanted:g} times as fast at a batch of {batch}: {low:.3f} of the multiply-adds")
    return Amount("macs", low)


def _least(graph: Graph, scores: Float64) -> float:
    """The least part of the multiply-adds that can be asked for."""
    kept = select(graph, scores, Amount("width", 1e-9))
    whole = cost_of(graph, np.ones(graph.count, bool)).macs
    return cost_of(graph, kept).macs / max(whole, 1.0) + 1e-6


def narrowest(bench: Bench, graph: Graph, scores: Float64) -> Made:
    """The narrowest network within the budget, by bisection over the width, each repaired and trained as asked.

    Ctrl-C in a training ends the search, and the narrowest so far is it.

    Raises: BudgetError where none is.
    """
    best: Made | None = None
    low, high = 0.0, 1.0
    for number in range(TRIES):
        middle = (low + high) / 2
        bench.request.watch(f"width {middle:.3f}", number / TRIES)
        kept = select(graph, scores, Amount("width", middle))
        if kept.all():
            break
        made = narrowed(bench, graph, kept)
        drop, loss = _lost(bench, made.model)
        bench.request.told(f"width {middle:.3f}: {drop:.2f} points, {loss:.2f} % of the loss")
        if _is_within(bench.request, drop, loss):
            high, best = middle, made
        else:
            low = middle
        if not made.finished:
            best = best and replace(best, finished=False)
            break
    if best is None:
        raise BudgetError(f"{bench.model.name}: expected {_words(bench.request)}, no width below 1 met it")
    return best


def _lost(bench: Bench, small: Model) -> tuple[float, float]:
    """What the worst output loses: points of accuracy, and percent by which the loss rises, see `worst_rise`.

    Without labels percent of choices that changed, and the divergence of the answers in hundredths.
    """
    apart = bench.apart
    if apart is None:
        raise RecipeError("slim: expected --data D to measure on")
    found = evaluate(small, apart, bench.model)
    changed = 100 - (100.0 if found.agreement is None else found.agreement)
    drop = changed if found.accuracy_drop is None else found.accuracy_drop
    now, before = compute_outputs(small, apart), compute_outputs(bench.model, apart)
    kinds = output_kinds(before, apart.labels, apart.count, predicts_values=predicts_values(bench.model))
    if apart.is_labelled:
        return drop, max(worst_rise(*one) for one in zip(kinds, now, before, strict=True))
    return drop, 100 * kl_divergence(now, before, [kind.values for kind in kinds])


def _is_within(request: SlimRequest, drop: float, loss: float) -> bool:
    return (request.max_drop is None or drop <= request.max_drop) and (
        request.max_loss is None or loss <= request.max_loss
    )


def _words(request: SlimRequest) -> str:
    said = [] if request.max_drop is None else [f"at most {request.max_drop:g} points lost"]
    said += [] if request.max_loss is None else [f"a loss that rises by at most {request.max_loss:g} %"]
    return " and ".join(said)


def refuse_over_budget(bench: Bench, small: Model) -> None:
    """Raises: BudgetError where the network loses more than was allowed."""
    request = bench.request
    if request.max_drop is None and request.max_loss is None:
        return
    drop, loss = _lost(bench, small)
    if not _is_within(request, drop, loss):
        got = f"{drop:.2f} points, {loss:.2f} % of the loss"
        raise BudgetError(f"{bench.model.name}: expected {_words(request)}, got {got}")
