"""`encode --finetune`: from a model file and labelled examples to a smaller network, which is then encoded."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.file_size_estimate import FileSize
from wcodec.calibration.quality import Z
from wcodec.calibration.quantizable_weights import estimate_bytes
from wcodec.calibration.request import LearningRequest, OpenedSession, name_data, open_session
from wcodec.calibration.time_limit import Deadline
from wcodec.errors import BudgetError, RecipeError
from wcodec.evaluation.evaluate import Evaluation, evaluate
from wcodec.evaluation.examples import MAX_HELD_OUT, MAX_LABELLED, MIN_HELD_OUT, Batches, Examples, spread_evenly
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.keras_backend import keep_weights
from wcodec.evaluation.moved_images import augment_images, change_slightly
from wcodec.evaluation.runner import is_runner
from wcodec.evaluation.stored_weights import refuse_infinite_weights
from wcodec.model import TunedTensor
from wcodec.training import checkpoint
from wcodec.training.candidate import Candidate, assign_weights, tuned_weights
from wcodec.training.epoch import TrainingData, limit_by_time
from wcodec.training.epoch_log import EpochLog
from wcodec.training.initialization import (
    initialize_from_calibration,
    initialize_from_rounding,
    round_plainly,
    round_without_labels,
    train_without_labels,
)
from wcodec.training.losses import build_targets
from wcodec.training.qat_state import build_qat_state
from wcodec.training.training_loop import TrainingLoop, TrainingState, finetune, start
from wcodec.training.unit_sorting import sort_units
from wcodec.training.validation import ValidationSet, label_outputs, limit_held_out

if TYPE_CHECKING:
    from keras import Model


FEWEST: Final = 50
"""The smallest number of examples."""
NORMALIZING: Final = 4000
"""Examples for the statistics of BatchNormalization, in batches of BATCH."""
BATCH: Final = 100
SURE: Final = 0.6
"""Training without labels is tried too if the result has more than this fraction of the bytes of plain rounding."""
ROUNDING: Final = 0.3
"""The fraction of the time for the rounding from which training starts."""
MADE_WITHOUT_LABELS: Final = (
    "no network that was trained with labels is within the budget and smaller, so the file is made without them. More "
    "epochs, more held-out examples (--validation) or a larger budget may change that; without --finetune the same "
    "command judges by the outputs, and its file may be smaller"
)

Log = Callable[[str], None]


@dataclass(frozen=True)
class FinetuneResult:
    """The networks that training found, best first. finished: whether the training was not interrupted."""

    opened: OpenedSession
    validation: ValidationSet
    candidates: tuple[Candidate, ...]
    finished: bool = True


def open_labelled(
    source: Path, request: LearningRequest, log: Log = lambda _: None, most: int = MAX_HELD_OUT
) -> OpenedSession:
    """Open the network with its data, see `open_session`.

    Raises: RecipeError if labels, examples or epochs are missing, or if the model is not a Keras model.
    """
    if request.epochs < 1:
        raise RecipeError(f"--finetune: expected 1 epoch or more, got {request.epochs}")
    opened = open_session(source, request, log, most)
    if is_runner(opened.model):
        raise RecipeError(f"--finetune: expected a Keras model to train, got {opened.model.name}; --data calibrates it")
    refuse_infinite_weights(opened.model, source.name)
    count = opened.learning.count + opened.held_out.count
    where = f"--data {request.data_name}"
    if not opened.learning.is_labelled:
        raise RecipeError(f"{where}: expected labels (y) to train by, found none; --tune needs no labels")
    if count < FEWEST:
        raise RecipeError(f"{where}: expected {FEWEST} examples or more, got {count}")
    return opened


def train(source: Path, request: LearningRequest, log: Log, size: FileSize | None = None) -> FinetuneResult:
    """Train, and return the smallest networks within the budget. Their `bytes` are those of the weights.

    log:  called with notes on the data, with the budget, and with a line for every epoch.
    size: estimates the bytes of the file for these lines.
    Raises: RecipeError, ModelFileError, UnsupportedError; BudgetError if no network within the budget is found.
    """
    started = time.monotonic()
    opened, validation = _open_in_time(source, request, log, started + request.seconds)
    request = opened.request
    log(f"budget: {request.budget}")
    epoch_log = EpochLog(opened, validation, size or FileSize())
    data = prepare_training(opened.model, opened.learning, request.seed, augmented=request.augment is not None)
    settings = settings_of(source, request, opened.table.exact)
    state = request.state
    before = checkpoint.read(state, settings, TrainingState) if request.resume and state else None
    if request.resume and state:
        missing = f"{state.name}: not found, so the training starts again"
        log(f"resumed after epoch {before.epochs}" if before else missing)

    def report(now: TrainingState, candidate: Candidate, loss: float) -> None:
        if state:
            checkpoint.save(state, now, settings)
        log(epoch_log.describe(now, candidate, loss))

    qat = build_qat_state(opened.model, data.targets, opened.table)
    loop = TrainingLoop(qat, data, validation, request.budget, request.epochs, report, started + request.seconds)
    before = before or _start(opened, loop, lambda *state: log(epoch_log.describe(*state)))
    candidates, finished = finetune(loop, before)
    unlabelled = before.best if before.epochs == 0 else ()
    if finished and candidates and request.budget.bytes is None and candidates[0].bytes > SURE * before.initial_bytes:
        more = train_without_labels(opened, validation, request.budget, loop.deadline - time.monotonic())
        candidates, unlabelled = loop.best((*more, *candidates)), (*unlabelled, *more)
    if finished and candidates and any(candidates[0] is one for one in unlabelled):
        log(MADE_WITHOUT_LABELS)
    if not candidates:
        if state:
            state.unlink(missing_ok=True)
        raise BudgetError(
            f"{source.name}: expected {request.budget}, found no such network by training, counting {Z:.2f} standard "
            f"errors of {opened.held_out.count:,} held-out examples"
        )
    return FinetuneResult(opened, validation, candidates, finished)


def _open_in_time(
    source: Path, request: LearningRequest, log: Log, deadline: float
) -> tuple[OpenedSession, ValidationSet]:
    """The network with as many examples as there is time for, and the measured original."""
    opened = open_labelled(source, request, log, MAX_LABELLED)
    model, held_out = opened.model, opened.held_out
    if request.validation is None:
        least = max(MIN_HELD_OUT, MAX_HELD_OUT // opened.predictions)
        held_out = limit_held_out(model, held_out, least, request.seconds, log)
    started = time.monotonic()
    validation = ValidationSet.of(model, held_out)
    pace = (time.monotonic() - started) / held_out.count
    budget = request.budget.complete(validation.kinds)
    budget.check(validation.kinds)
    learning = limit_by_time(opened.learning, pace, deadline, log)
    return replace(opened, request=replace(request, budget=budget), learning=learning, held_out=held_out), validation


def _start(
    opened: OpenedSession, loop: TrainingLoop, tell: Callable[[TrainingState, Candidate, None], None]
) -> TrainingState:
    """The state before the first epoch, from networks that are rounded without labels."""
    request, original = opened.request, opened.model.get_weights()
    rounded, first = round_without_labels(opened, loop.validation, request.budget, ROUNDING * request.seconds)
    plain: tuple[Candidate, ...] = ()
    if not any(loop.validation.allows(candidate, request.budget) for candidate in rounded):
        plain = round_plainly(loop.state, loop.data, loop.validation, Deadline(loop.deadline).part(ROUNDING))
    if first is None:
        initialize_from_rounding(loop.state, plain, loop.validation, request.budget)
    else:
        initialize_from_calibration(loop.state, first, request.epochs * loop.data.steps)
    rounded = (*rounded, *plain)
    begun = start(loop, rounded)
    opened.model.set_weights(original)
    tell(begun, rounded[-1], None)
    return begun


def prepare_training(model: Model, examples: Examples, seed: int, *, augmented: bool = False) -> TrainingData:
    """The examples with two targets: the labels and the outputs of the network, which must have its original weights.

    augmented: train on moved copies of images too, see `augment_images`.
    """
    count, versions = examples.count, 1
    if augmented:
        examples, versions = augment_images(examples, seed)
    answers = compute_outputs(model, examples)
    kinds = label_outputs(model, examples, answers)
    rows = np.linspace(0, count - 1, min(NORMALIZING, count)).round().astype(np.intp)
    parts: Batches = [
        tuple(array[part] for array in examples.inputs) for part in np.array_split(rows, -(-len(rows) // BATCH))
    ]
    return TrainingData(examples, build_targets(answers, kinds), parts, seed, versions)


def weights_to_code(found: FinetuneResult) -> Iterator[Mapping[str, TunedTensor]]:
    """For each network, best first: the weights to encode instead of the file's own values, by tensor name."""
    for candidate in found.candidates:
        coded = tuned_weights(_sort_candidate(found, candidate))
        yield {name: one for index, one in coded.items() for name in found.opened.table.names.get(index, ())}


def _sort_candidate(found: FinetuneResult, candidate: Candidate) -> Candidate:
    """The candidate with its hidden units sorted, if the network is a plain chain of layers and sorting makes it
    smaller.
    """
    levels = {one.index: one.levels for one in candidate.rounded}
    if levels.keys() != set(range(len(found.opened.model.weights))):
        return candidate
    order = sort_units(found.opened.model, [levels[index] for index in sorted(levels)])
    rounded = tuple(replace(one, levels=order[one.index]) for one in candidate.rounded)
    size = sum(estimate_bytes(one.levels) for one in rounded)
    if size >= candidate.bytes:
        return candidate
    with keep_weights(found.opened.model):
        assign_weights(found.opened.model, replace(candidate, rounded=rounded))
        scores = found.validation.score(found.opened.model)
    sorted_net = replace(candidate, rounded=rounded, bytes=size, scores=scores)
    # The order of sums may change the prediction of an example.
    return sorted_net if found.validation.allows(sorted_net, found.opened.request.budget) else candidate


def measure_file(
    found: FinetuneResult, coded: Path, log: Log = lambda _: None, *, is_predicted: bool = False
) -> Evaluation:
    """Measure what the finished .wcz loses on the held-out examples.

    is_predicted: see `Candidate`.
    log: called with the loss on slightly changed copies of some, which shows whether the network was trained on them.
    Raises: BudgetError if the loss exceeds the budget.
    """
    request = found.opened.request
    restored = request.load(coded)
    held = Candidate((), (), 0, found.validation.score(restored), is_predicted)
    if not found.validation.allows(held, replace(request.budget, bytes=None)):
        lost = ", ".join(map(str, found.validation.losses(held, request.budget)))
        raise BudgetError(f"{coded.name}: expected {replace(request.budget, bytes=None)}, got {lost}")
    measured = evaluate(restored, found.opened.held_out, found.opened.model)
    if request.validation is None and measured.accuracy_drop is not None:
        _log_gap(found, restored, measured, log)
    return measured


def _log_gap(found: FinetuneResult, restored: Model, measured: Evaluation, log: Log) -> None:
    """Log the accuracy on changed copies and on the examples. The figures decide nothing: see benchmarks/NOTES.md."""
    some = spread_evenly(np.arange(found.opened.held_out.count), MAX_HELD_OUT)
    copies = change_slightly(found.opened.held_out.take(some), found.opened.request.seed)
    if copies is None:
        return
    changed = evaluate(restored, copies, found.opened.model)
    log(
        f"held-out examples: {measured.baseline_accuracy:.2f} -> {measured.accuracy:.2f} %, slightly changed copies of "
        f"{len(some):,} of them: {changed.baseline_accuracy:.2f} -> {changed.accuracy:.2f} %. If the network was "
        "trained on the held-out examples, new ones may lose as much as the copies; --validation V names examples to "
        "measure on"
    )


def settings_of(source: Path, request: LearningRequest, excluded: Sequence[str] = ()) -> checkpoint.RunSettings:
    """The settings that a checkpoint of this request must agree with."""
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    budget = request.budget
    return checkpoint.RunSettings(
        source=digest,
        data=request.data_name,
        validation=None if request.validation is None else name_data(request.validation),
        epochs=request.epochs,
        max_drop=budget.drop,
        max_loss=budget.loss,
        target_bytes=budget.bytes,
        augment=request.augment,
        seed=request.seed,
        limit=request.limit,
        rescale=request.rescale,
        excluded=list(excluded),
    )
