"""From a model file and labelled examples to a smaller network: what `encode --finetune` does before it encodes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.quantizable_weights import estimate_bytes, make_weight_table
from wcodec.errors import BudgetError, RecipeError
from wcodec.evaluation.datasets import load_examples
from wcodec.evaluation.evaluate import Evaluation, evaluate
from wcodec.evaluation.examples import Batches, Examples
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.metrics import read_labels
from wcodec.evaluation.model_loader import load_model, model_inputs
from wcodec.evaluation.weight_mapping import tensor_names
from wcodec.model import TunedTensor
from wcodec.modelfiles import open_model
from wcodec.planning.allocation import exact_names
from wcodec.planning.recipe import Recipe
from wcodec.training import checkpoint
from wcodec.training.candidate import Candidate, assign_weights, score, tuned_weights
from wcodec.training.epoch import TrainingData
from wcodec.training.initialization import (
    initialize_from_calibration,
    round_plainly,
    round_without_labels,
    train_without_labels,
)
from wcodec.training.lambda_control import ValidationSet
from wcodec.training.losses import build_targets
from wcodec.training.qat_state import build_qat_state
from wcodec.training.training_loop import TrainingLoop, TrainingState, finetune, start
from wcodec.training.unit_pruning import sort_units

if TYPE_CHECKING:
    from keras import Model


FEWEST: Final = 50
"""Examples."""
APART: Final = (0.15, 0.2, 1000, 5000)
"""Held-out examples: this share of all; of few examples this share, up to a count; at most a count."""
NORMALIZING: Final = 4000
"""Examples for the statistics of BatchNormalization, in batches of BATCH."""
BATCH: Final = 100
SURE: Final = 0.6
"""Part of the bytes of rounding without labels, over which training without labels is tried, too."""
ROUNDING: Final = 0.3
"""Part of the time for the rounding that training begins from."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class FinetuneRequest:
    """What the user request of an encoding by training.

    data:     where the examples are, see `data.load`; they need labels.
    budget:   what may be lost on the held-out examples.
    resume:   go on where an earlier run was ended; state: the file where that stands.
    seconds:  for all of it: so many epochs are made as fit in.
    recipe:   what it codes exactly stays as it is.
    """

    data: str
    epochs: int
    budget: AccuracyBudget
    state: Path
    resume: bool = False
    seconds: float = float("inf")
    limit: int | None = None
    rescale: float | None = None
    architecture: str | None = None
    imports: Sequence[str] = ()
    unsafe: bool = False
    seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True)
class FinetuneResult:
    """A network on the bench and what was found for it, best first. finished: training was not interrupted."""

    request: FinetuneRequest
    model: Model
    held_out: Examples
    validation: ValidationSet
    candidates: tuple[Candidate, ...]
    finished: bool
    names: Mapping[int, tuple[str, ...]]
    notes: tuple[str, ...]


def train(source: Path, request: FinetuneRequest, log: Log) -> FinetuneResult:
    """The smallest networks that training found within the budget.

    log: hears how it goes, a line an epoch.
    Raises: RecipeError, ModelFileError, UnsupportedError; BudgetError where nothing found is within the budget.
    """
    started = time.monotonic()
    if request.epochs < 1:
        raise RecipeError(f"--finetune: expected 1 epoch or more, got {request.epochs}")
    model = load_model(source, architecture=request.architecture, imports=request.imports, unsafe=request.unsafe)
    examples = load_examples(request.data, model_inputs(model), rescale=request.rescale, limit=request.limit)
    if examples.labels is None:
        raise RecipeError(f"--data {request.data}: expected labels (y) to train by, found none; --tune needs no labels")
    if examples.count < FEWEST:
        raise RecipeError(f"--data {request.data}: expected {FEWEST} examples or more, got {examples.count}")
    with open_model(source) as file:
        table = make_weight_table(model, tensor_names(model, file), exact_names(file, request.recipe))
    learning, held_out = split_examples(examples)
    validation, training = prepare_validation(model, held_out), prepare_training(model, learning, request.seed)
    settings = settings_of(source, request, table.exact)
    before = checkpoint.read(request.state, settings) if request.resume else None
    notes = [*examples.notes, f"{held_out.count:,} of {examples.count:,} examples are held out to measure on"]
    if request.resume:
        fresh = f"{request.state.name}: not found, so the training starts anew"
        log(f"resumed after epoch {before.epochs}" if before else fresh)

    def tell(now: TrainingState, candidate: Candidate, loss: float) -> None:
        checkpoint.save(request.state, now, settings)
        log(_line(request, validation, now, candidate, loss))

    state, original = build_qat_state(model, training.targets, table), model.get_weights()
    loop = TrainingLoop(state, training, validation, request.budget, request.epochs, tell, started + request.seconds)
    if before is None:
        rounded, first = round_without_labels(
            model, learning, validation, request.budget, request.seed, ROUNDING * request.seconds, table
        )
        if not any(validation.allows(candidate, request.budget) for candidate in rounded):
            rounded = (*rounded, *round_plainly(state, training, validation))
        initialize_from_calibration(state, first, request.epochs * training.steps)
        before = start(loop, rounded)
        model.set_weights(original)
        log(_line(request, validation, before, rounded[-1], None))
    candidates, finished = finetune(loop, before)
    if finished and candidates and request.budget.bytes is None and candidates[0].bytes > SURE * before.initial_bytes:
        more = train_without_labels(model, learning, validation, request.budget, request.seed, table)
        candidates = loop.best((*more, *candidates))
    if not candidates:
        request.state.unlink(missing_ok=True)
        raise BudgetError(f"{source.name}: expected {_words(request.budget)}, found no such network by training")
    return FinetuneResult(request, model, held_out, validation, candidates, finished, table.names, tuple(notes))


def split_examples(examples: Examples) -> tuple[Examples, Examples]:
    """The examples to train on and the held-out ones, which are evenly spread."""
    part, most, few, many = APART
    count = min(max(round(part * examples.count), min(round(most * examples.count), few)), many)
    chosen = np.linspace(0, examples.count - 1, count).round().astype(np.intp)
    others = np.setdiff1d(np.arange(examples.count), chosen)
    return _rows(examples, others), _rows(examples, chosen)


def _rows(examples: Examples, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Examples:
    labels = None if examples.labels is None else examples.labels[rows]
    return Examples(tuple(array[rows] for array in examples.inputs), labels)


def prepare_training(model: Model, examples: Examples, seed: int) -> TrainingData:
    """The lessons that the network's own answers and the labels make. It must have its original weights."""
    answers = compute_outputs(model, examples)
    if examples.labels is None:
        raise RecipeError(f"{model.name}: expected labels to train by, got none")
    truth = read_labels(examples.labels, (examples.count, *answers[0].shape[1:]), answers[0])
    rows = np.linspace(0, examples.count - 1, min(NORMALIZING, examples.count)).round().astype(np.intp)
    parts: Batches = [
        tuple(array[part] for array in examples.inputs) for part in np.array_split(rows, -(-len(rows) // BATCH))
    ]
    return TrainingData(examples, build_targets(answers, truth), parts, seed)


def prepare_validation(model: Model, held_out: Examples) -> ValidationSet:
    """What is judged by, with the score of the network as it is."""
    first = compute_outputs(model, held_out)[0]
    if held_out.labels is None:
        raise RecipeError(f"{model.name}: expected labels to judge by, got none")
    truth = read_labels(held_out.labels, (held_out.count, *first.shape[1:]), first)
    accuracy, loss = score(model, held_out, truth)
    variance = max(float(np.var(truth.labels)), 1e-30) if truth.task == "values" else 1.0
    return ValidationSet(held_out, truth, accuracy, loss, variance)


def weights_to_code(found: FinetuneResult) -> Iterator[Mapping[str, TunedTensor]]:
    """What to code in place of the file's own values, by tensor name: for each network, best first."""
    for candidate in found.candidates:
        coded = tuned_weights(_in_order(found, candidate))
        yield {name: one for index, one in coded.items() for name in found.names.get(index, ())}


def _in_order(found: FinetuneResult, candidate: Candidate) -> Candidate:
    """With the hidden units of a plain chain of layers in an order that costs fewer bytes, where there is one."""
    levels = {one.index: one.levels for one in candidate.rounded}
    if levels.keys() != set(range(len(found.model.weights))):
        return candidate
    order = sort_units(found.model, [levels[index] for index in sorted(levels)])
    rounded = tuple(replace(one, levels=order[one.index]) for one in candidate.rounded)
    size = sum(estimate_bytes(one.levels) for one in rounded)
    if size >= candidate.bytes:
        return candidate
    before = found.model.get_weights()
    assign_weights(found.model, replace(candidate, rounded=rounded))
    accuracy, loss = score(found.model, found.held_out, found.validation.truth)
    found.model.set_weights(before)
    sorted_net = Candidate(rounded, candidate.others, size, accuracy, loss)
    # Sums in another order may tip an example.
    return sorted_net if found.validation.allows(sorted_net, found.request.budget) else candidate


def measure_file(found: FinetuneResult, coded: Path) -> Evaluation:
    """What the finished .wcz loses on the held-out examples.

    Raises: BudgetError where that is more than the budget allows.
    """
    request = found.request
    restored: Model = load_model(
        coded, architecture=request.architecture, imports=request.imports, unsafe=request.unsafe
    )
    accuracy, loss = score(restored, found.held_out, found.validation.truth)
    drop = found.validation.drop(Candidate((), (), 0, accuracy, loss))
    if request.budget.drop is not None and drop > request.budget.drop:
        raise BudgetError(f"{coded.name}: expected a drop of at most {request.budget.drop:g} points, got {drop:.2f}")
    return evaluate(restored, found.held_out, found.model)


def settings_of(source: Path, request: FinetuneRequest, excluded: Sequence[str] = ()) -> checkpoint.RunSettings:
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    drop, size = request.budget.drop, request.budget.bytes
    return checkpoint.RunSettings(
        digest, request.data, request.epochs, drop, size, request.seed, request.limit, request.rescale, list(excluded)
    )


def _line(
    request: FinetuneRequest, validation: ValidationSet, now: TrainingState, candidate: Candidate, loss: float | None
) -> str:
    score = f"loss {candidate.loss:.4g} (before {validation.loss:.4g})"
    if candidate.accuracy is not None:
        score = f"{candidate.accuracy:.2f} % on the held-out examples (before {validation.accuracy:.2f})"
    best = f"; best {now.best[0].bytes:,} bytes" if now.best else ""
    if loss is None:
        return f"rounded without labels: about {candidate.bytes:,} bytes, {score}{best}"
    epoch = f"epoch {now.epochs} of {request.epochs}"
    return f"{epoch}: about {candidate.bytes:,} bytes, {score}, loss in training {loss:.4f}{best}"


def _words(budget: AccuracyBudget) -> str:
    drop = None if budget.drop is None else f"a drop of at most {budget.drop:g} points"
    size = None if budget.bytes is None else f"at most {budget.bytes:,.0f} bytes of weights"
    return " and ".join(words for words in (drop, size) if words)
