"""`encode --method`: from a model file and labelled examples to weights trained by methods of the literature."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wcodec.calibration.pace import measure_pace
from wcodec.calibration.request import LearningRequest, OpenedSession
from wcodec.errors import RecipeError
from wcodec.model import TunedTensor
from wcodec.modelfiles import open_model
from wcodec.planning.patterns import options_by_tensor
from wcodec.planning.recipe import Recipe
from wcodec.training import checkpoint
from wcodec.training.epoch import limit_by_time
from wcodec.training.finetune import FinetuneResult, open_labelled, prepare_training, settings_of
from wcodec.training.methods.registry import (
    PAPERS,
    Amounts,
    Checkpointing,
    MethodOptions,
    parse_methods,
    refuse_idle_options,
    train_by_methods,
)
from wcodec.training.methods.trainer import GRACE, MethodState
from wcodec.training.methods.weight_groups import make_groups
from wcodec.training.validation import ValidationSet


@dataclass(frozen=True)
class MethodResult:
    """The network with its data, and the tensors to encode instead of the file's own values, by name.

    finished: whether the training was not interrupted.
    """

    bench: FinetuneResult
    tuned: Mapping[str, TunedTensor]
    finished: bool = True


def train_by(
    source: Path,
    request: LearningRequest,
    methods: str,
    recipe: Recipe,
    log: Callable[[str], None],
    more: MethodOptions = PAPERS,
) -> MethodResult:
    """Train by the methods, one after another, such as "gradual,sharing". There is no search.

    recipe: sets the amounts for each tensor; tensors that it makes lossless are not trained.
    more:   the options of the methods.
    log:    called with notes on the data, and with a line for every epoch.
    Raises: RecipeError, ModelFileError, UnsupportedError.
    """
    started, processor = time.monotonic(), time.process_time()
    names = parse_methods(methods)
    refuse_idle_options(more, names)
    opened = open_labelled(source, request, log)
    with open_model(source) as file:
        options = {name: options for name, (options, _) in options_by_tensor(file.tensors, recipe).items()}
    opened, trains = _limit_to_time(opened, request.seconds, (started, processor), log)
    validation = ValidationSet.of(opened.model, opened.held_out)
    data = prepare_training(opened.model, opened.learning, request.seed, augmented=request.augment is not None)

    def report(name: str, epoch: int, loss: float) -> None:
        log(f"epoch {epoch} of {request.epochs}, {name}: loss in training {loss:.4f}")

    chosen = {index: options[tensors[0]] for index, tensors in opened.table.names.items()}
    shapes = [one.original.shape for one in opened.table.kernels]
    most = max((make_groups(shape, None, per_channel=True).size for shape in shapes), default=0)
    if more.bucket and more.bucket > most:
        raise RecipeError(
            f"--bucket: expected up to {most:,} weights, as many as an output of a kernel has, got {more.bucket:,}"
        )
    amounts = {
        index: Amounts.of(one, more, request.seed * 65_537 + index) for index, one in chosen.items() if not one.lossless
    }
    chosen_for = json.dumps([names, [[index, repr(one)] for index, one in sorted(amounts.items())]])
    settings = replace(settings_of(source, request, opened.table.exact), methods=chosen_for)
    saved = replace(_prepare_checkpoints(request, settings, started, log), trains=trains)
    found, finished = train_by_methods(opened.model, data, names, request.epochs, amounts, report, saved)
    return MethodResult(FinetuneResult(opened, validation, (), finished), opened.table.by_name(found), finished)


def _limit_to_time(
    opened: OpenedSession, seconds: float, began: tuple[float, float], log: Callable[[str], None]
) -> tuple[OpenedSession, bool]:
    """The network with as many examples as there is time for, and whether a step of training is compiled in time.

    seconds: the time limit. began: its start by `time.monotonic` and by `time.process_time`.
    """
    if math.isinf(seconds):
        return opened, True
    pace = measure_pace(opened.model, opened.held_out)
    learning = limit_by_time(opened.learning, pace.example, began[0] + seconds - pace.compiling, log)
    trains = time.process_time() + pace.compiling < began[1] + seconds + GRACE
    if not trains:
        log("not trained: a step of training cannot be compiled within the time limit")
    return replace(opened, learning=learning), trains


def _prepare_checkpoints(
    request: LearningRequest, settings: checkpoint.RunSettings, started: float, log: Callable[[str], None]
) -> Checkpointing:
    """How to save the training, with the state of an earlier one if the request resumes it."""
    path = request.state
    state = checkpoint.read(path, settings, MethodState) if request.resume and path else None
    if request.resume and path:
        missing = f"{path.name}: not found, so the training starts again"
        log(f"resumed after epoch {state.epoch} of method {state.method + 1}" if state else missing)

    def save(now: MethodState) -> None:
        if path:
            checkpoint.save(path, now, settings)

    return Checkpointing(save, state, started + request.seconds)
