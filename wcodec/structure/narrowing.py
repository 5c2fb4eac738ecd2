"""A network with fewer units: chosen, removed, repaired or merged, and trained; and the narrowest one within a
budget.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.pace import measure_pace
from wcodec.errors import BudgetError
from wcodec.evaluation.evaluate import compare_outputs
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.inference import BATCH, compute_outputs
from wcodec.evaluation.moved_images import MOVED_COPIES, augment_images
from wcodec.evaluation.output_kinds import measure_divergence
from wcodec.evaluation.output_scores import worst_rise
from wcodec.structure import fitting
from wcodec.structure.assumed_moments import repair_without_data
from wcodec.structure.bench import SCORING, Bench
from wcodec.structure.cost import cost_of
from wcodec.structure.criteria import Float64
from wcodec.structure.graph import Graph, Mask
from wcodec.structure.rebuild import without
from wcodec.structure.repair import repair
from wcodec.structure.request import Comparison, SlimRequest, is_one_training
from wcodec.structure.selection import Amount, select
from wcodec.structure.speed import BATCHES, seconds_of
from wcodec.structure.training_state import FitState, StateFile, read

if TYPE_CHECKING:
    from keras import Model

REPAIRING: Final = 1 / 2
"""The fraction of a time limit for fitting the next layers if training follows."""
TARGETS: Final = 1 / 4
"""The fraction of the remaining time for computing the original's outputs of the training examples."""
TRIES: Final = 6
"""The number of widths that are tried for the narrowest network within a budget."""


@dataclass(frozen=True)
class SmallerNetwork:
    """A smaller network.

    kept:     bool[units] if it is the original with some of its units.
    ranks:    of layers that were factored, by name: before and after.
    finished: whether its training was not interrupted.
    """

    model: Model
    kept: Mask | None = None
    ranks: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    finished: bool = True


def narrow(bench: Bench, graph: Graph, kept: Mask) -> SmallerNetwork:
    """The network with these units, repaired by inputs or merged without, and trained."""
    bench.request.watch("the layers behind what is removed are fitted", 0.0)
    if bench.seen is None:
        return SmallerNetwork(without(graph, kept, repair_without_data(graph, kept)), kept)
    small = without(graph, kept)
    trains = bench.request.epochs is not None or bench.request.steps is not None
    repair(graph, kept, small, bench.seen, bench.request.seed, bench.deadline.part(REPAIRING if trains else 1.0))
    return SmallerNetwork(small, kept, finished=train(bench, small, kept))


def find_checkpoint(bench: Bench) -> tuple[StateFile, FitState] | None:
    """The state from which an interrupted training continues; None if there is none, or if it was not requested.

    Raises: RecipeError if it belongs to another training; ModelFileError if the file is damaged.
    """
    request = bench.request
    if not request.resume or request.state is None:
        return None
    found = read(request.state, settings_of(bench))
    missing = f"{request.state.name}: not found, so the training starts again"
    request.log(f"resumed after epoch {found[1].epochs}" if found else missing)
    return found


def settings_of(bench: Bench) -> dict[str, object]:
    """The settings that determine a training."""
    request, amount = bench.request, bench.request.amount
    with bench.source.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    examples = 0 if bench.learning is None else bench.learning.count
    words = ("speedup", "low_rank", "student", "criterion", "epochs", "steps", "seed", "rescale", "augment")
    found: dict[str, object] = {word: getattr(request, word) for word in words}
    return found | {
        "source": digest,
        "examples": examples,
        "amount": None if amount is None else f"--{amount.of} {amount.part:g}{' --uniform' * amount.uniform}",
    }


def train(bench: Bench, small: Model, kept: Mask | None = None, going_on: FitState | None = None) -> bool:
    """Train a network as requested, which changes it. Returns whether the training was not interrupted.

    kept:     bool[units] of the original that it has.
    going_on: the state of an earlier training of it, or None.
    """
    request = bench.request
    if bench.learning is None or bench.apart is None or (request.epochs is None and request.steps is None):
        return True
    if bench.deadline.is_over():
        return False
    examples, apart, epochs = bench.learning, bench.apart, request.epochs
    if epochs is None:
        examples, apart = Examples(examples.inputs), Examples(apart.inputs)
        wanted = (request.steps or 1) * fitting.BATCH
        if wanted < examples.count:
            examples = examples.take(np.linspace(0, examples.count - 1, wanted).round().astype(np.intp))
        epochs = max(1, round(wanted / examples.count))

    def progress(number: int, loss: float) -> None:
        request.log(f"epoch {number + 1} of {epochs}: loss {loss:.4f}")

    versions, fitting_in = 1, _limit_by_time(bench, examples, MOVED_COPIES + 1 if request.augment else 1)
    if fitting_in is None:
        request.log("not trained: a step of training cannot be compiled within the time limit")
        return False
    examples = fitting_in
    if request.augment is not None:
        examples, versions = augment_images(examples, request.seed)
    targets = fitting.targets_of(bench.model, examples)
    file = None
    if request.state is not None and is_one_training(request):
        file = StateFile(request.state, settings_of(bench), np.zeros(0, bool) if kept is None else kept)
    watch = fitting.TrainingObserver(
        epoch=progress,
        batch=lambda number, part: request.watch(f"epoch {number + 1} of {epochs}", part),
        apart=(apart, fitting.targets_of(bench.model, apart, bench.answers())),
        deadline=bench.deadline,
        file=file,
        state=going_on,
    )
    return fitting.fit(small, examples, targets, epochs, versions=versions, seed=request.seed, watch=watch)


def _limit_by_time(bench: Bench, examples: Examples, versions: int) -> Examples | None:
    """The examples whose original outputs take the fraction TARGETS of the remaining time; an epoch takes the rest.

    None if compiling a step of training alone takes longer.
    """
    if math.isinf(bench.deadline.seconds_left()):
        return examples
    pace = measure_pace(bench.model, examples)
    left = bench.deadline.seconds_left() - pace.compiling
    if left <= 0:
        return None
    most, seconds = TARGETS * left, pace.example * versions
    if seconds * examples.count <= most:
        return examples
    count = max(min(examples.count, 2 * BATCH), int(most / seconds))
    bench.request.log(f"trained on {count:,} of {examples.count:,} examples, for more do not fit into the time limit")
    return examples.take(np.linspace(0, examples.count - 1, count).round().astype(np.intp))


def fast_enough(bench: Bench, graph: Graph, scores: Float64) -> Amount:
    """The widest network with the requested factor of speed, by bisection over the multiply-adds.

    Layers keep whole blocks of channels, because parts of blocks take the time of whole ones.

    Raises: BudgetError if there is none.
    """
    wanted, batch, until = bench.request.speedup or 1.0, BATCHES[-1], bench.deadline.part(SCORING)

    def ratio(part: float) -> float:
        small = without(graph, select(graph, scores, Amount("macs", part, blocks=True)))
        before, after = seconds_of((bench.model, small), batch)
        return before / after

    low, high = _find_smallest(graph, scores), 1.0
    if (most := ratio(low)) < wanted:
        raise BudgetError(
            f"{bench.model.name}: expected {wanted:g} times the speed at a batch of {batch}, the most is {most:.2f}"
        )
    for _ in range(TRIES):
        if until.is_over():
            break
        middle = (low + high) / 2
        low, high = (middle, high) if ratio(middle) >= wanted else (low, middle)
    bench.request.log(f"{wanted:g} times as fast at a batch of {batch}: {low:.3f} of the multiply-adds")
    return Amount("macs", low, blocks=True)


def _find_smallest(graph: Graph, scores: Float64) -> float:
    """The smallest fraction of the multiply-adds that can be requested."""
    kept = select(graph, scores, Amount("width", 1e-9, blocks=True))
    whole = cost_of(graph, np.ones(graph.count, bool)).macs
    return cost_of(graph, kept).macs / max(whole, 1.0) + 1e-6


def narrowest(bench: Bench, graph: Graph, scores: Float64) -> SmallerNetwork:
    """The narrowest network within the budget, by bisection over the width; each is repaired and trained as requested.

    Ctrl-C in a training ends the search with the narrowest network so far.
    Raises: BudgetError if there is none.
    """
    best: SmallerNetwork | None = None
    low, high = 0.0, 1.0
    for number in range(TRIES):
        if bench.deadline.is_over():
            bench.request.log(f"the time limit ended the search after {number} of {TRIES} widths")
            break
        middle = (low + high) / 2
        bench.request.watch(f"width {middle:.3f}", number / TRIES)
        kept = select(graph, scores, Amount("width", middle))
        if kept.all():
            break
        part = bench.deadline.part(1 / (TRIES - number))
        made = narrow(replace(bench, deadline=part), graph, kept)
        found = compare(bench, made.model)
        bench.request.log(f"width {middle:.3f}: {found}")
        if found and is_within(bench.request, found):
            high, best = middle, made
        else:
            low = middle
        if not made.finished and not part.is_over():
            best = best and replace(best, finished=False)
            break
    if best is None:
        raise BudgetError(f"{bench.model.name}: expected {budget_words(bench.request)}, no width that was tried met it")
    return best


def compare(bench: Bench, small: Model) -> Comparison | None:
    """A smaller network compared with the original on the held-out examples; None without any."""
    apart = bench.apart
    if apart is None:
        return None
    now, before = compute_outputs(small, apart), bench.answers()
    found = compare_outputs(small, bench.model, apart, now, before)
    kinds = bench.kinds()
    kl = measure_divergence(now, before, kinds)
    changed = 100 - (100.0 if found.agreement is None else found.agreement)
    drop = changed if found.accuracy_drop is None else found.accuracy_drop
    rises = (worst_rise(*one) for one in zip(kinds, now, before, strict=True))
    return Comparison(found, kl, drop, max(rises) if apart.is_labelled else 100 * kl)


def is_within(request: SlimRequest, found: Comparison) -> bool:
    """Whether the budget of a request holds."""
    return (request.max_drop is None or found.drop <= request.max_drop) and (
        request.max_loss is None or found.loss <= request.max_loss
    )


def budget_words(request: SlimRequest) -> str:
    """The budget of a request in words; "" without one."""
    said = [] if request.max_drop is None else [f"at most {request.max_drop:g} points lost"]
    said += [] if request.max_loss is None else [f"a loss that rises by at most {request.max_loss:g} %"]
    return " and ".join(said)


def refuse_over_budget(bench: Bench, found: Comparison | None) -> None:
    """Raises: BudgetError if the network loses more than the budget allows."""
    request = bench.request
    if found is not None and not is_within(request, found):
        raise BudgetError(f"{bench.model.name}: expected {budget_words(request)}, got {found}")
