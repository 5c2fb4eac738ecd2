"""Training after slimming: a plain Keras fit to the original's outputs, to labels, or to both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.time_limit import NO_DEADLINE, Deadline, OutOfTimeError
from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.keras_backend import keras, pack_inputs, silence_keras
from wcodec.evaluation.metrics import Outputs, Truth
from wcodec.evaluation.model_loader import predicted_tasks
from wcodec.evaluation.output_kinds import OutputKind, output_kinds
from wcodec.structure.training_state import Array, FitState, StateFile

if TYPE_CHECKING:
    from keras import Model, Variable

Float32 = npt.NDArray[np.float32]
Progress = Callable[[int, float], None]
"""Called with the number of an epoch, and its mean loss or the fraction that is done."""

BATCH: Final = 128
RATE: Final = 1e-3
"""The initial learning rate of Adam; it falls to zero on a cosine."""
ANSWERS: Final = 0.7
"""The share of the original's outputs in targets with labels (Hinton et al. 2015, at T = 1)."""


@dataclass(frozen=True)
class OutputTarget:
    """The training target of one output.

    wanted: float32[examples, ..., units], distributions or values.
    kind:   of the network's output: "probabilities" or "logits" of classes, "probability" or "logit" of each decision,
            or "values".
    """

    wanted: Float32
    kind: str


def targets_of(original: Model, examples: Examples, answers: tuple[Outputs, ...] | None = None) -> list[OutputTarget]:
    """For each output the original's outputs (computed unless they are given), mixed with labels, if any.

    Raises: RecipeError if labels do not fit.
    """
    answers = compute_outputs(original, examples) if answers is None else answers
    kinds = output_kinds(answers, examples.labels, examples.count, tasks=predicted_tasks(original))
    return [_make_target(*both) for both in zip(answers, kinds, strict=True)]


@dataclass(frozen=True)
class TrainingObserver:
    """The observer of a training.

    epoch:    called with the number of a finished epoch and its mean loss.
    batch:    called with the number of the epoch and the fraction that is done.
    apart:    examples and targets; the result is then the best network on these, instead of the last.
    deadline: at which training ends as by Ctrl-C.
    file:     for the state after each epoch.
    state:    to continue from.
    """

    epoch: Progress = lambda *_: None
    batch: Progress = lambda *_: None
    apart: tuple[Examples, list[OutputTarget]] | None = None
    deadline: Deadline = NO_DEADLINE
    file: StateFile | None = None
    state: FitState | None = None


def fit(
    model: Model,
    examples: Examples,
    targets: list[OutputTarget],
    epochs: int,
    *,
    versions: int = 1,
    seed: int = 0,
    rate: float = RATE,
    watch: TrainingObserver = TrainingObserver(),
) -> bool:
    """Train the network, which is changed. Returns whether the training was not interrupted.

    Ctrl-C and the deadline end it; the result is the best network after an epoch, or at the end.
    versions: of each example, one version of all after another; epochs use them in turn.
    """
    k = keras()
    k.utils.set_random_seed(seed)
    pupil = _compile_copy(model, targets, rate, max(1, epochs * -(-examples.count // versions // BATCH)))
    best, lowest, first = model.get_weights(), float("inf"), 0
    with silence_keras(), suppress(KeyboardInterrupt, OutOfTimeError):
        if watch.state is not None:
            first, lowest, best = watch.state.epochs, watch.state.loss, list(watch.state.best)
            _restore(pupil, watch.state)
        elif watch.apart is not None:
            lowest = _measure_loss(pupil, *watch.apart)
        count = examples.count // versions
        for epoch in range(first, epochs):
            k.utils.set_random_seed(seed + epoch)
            heard = k.callbacks.LambdaCallback(
                on_train_batch_end=_make_batch_end(watch, epoch, -(-examples.count // versions // BATCH))
            )
            rows = slice(epoch % versions * count, (epoch % versions + 1) * count)
            given = _gather_rows(pupil, examples, targets, rows)
            found = pupil.fit(*given, BATCH, epoch + 1, verbose=0, callbacks=[heard], initial_epoch=epoch)
            loss = _measure_loss(pupil, *watch.apart) if watch.apart is not None else -float(epoch)
            if loss < lowest:
                best, lowest = pupil.get_weights(), loss
            if watch.file is not None:
                now, inner = map(_copy_values, (pupil.variables, pupil.optimizer.variables))
                watch.file.save(FitState(epoch + 1, lowest, now, inner, best))
            watch.epoch(epoch, found.history["loss"][-1])
            first = epoch + 1
    if first < epochs and watch.apart is not None and _measure_loss(pupil, *watch.apart) < lowest:
        best = pupil.get_weights()
    model.set_weights(best)
    return first >= epochs


def _compile_copy(model: Model, targets: list[OutputTarget], rate: float, steps: int) -> Model:
    """A copy for training, because the optimizer of `model` would be saved."""
    k = keras()
    pupil = type(model).from_config(model.get_config())
    pupil.set_weights(model.get_weights())
    pupil.compile(
        k.optimizers.Adam(k.optimizers.schedules.CosineDecay(rate, steps)),
        [loss_of(one) for one in targets],
        jit_compile=False,
    )
    return pupil


def _make_batch_end(watch: TrainingObserver, epoch: int, batches: int) -> Callable[[int, object], None]:
    def heard(batch: int, logs: object = None) -> None:
        watch.batch(epoch, (batch + 1) / max(1, batches))
        if watch.deadline.is_over():
            raise OutOfTimeError

    return heard


def _copy_values(variables: Sequence[Variable]) -> list[Array]:
    return [np.asarray(one) for one in variables]


def _gather_rows(pupil: Model, examples: Examples, targets: list[OutputTarget], rows: slice) -> tuple[object, object]:
    inputs = pack_inputs(pupil, tuple(array[rows] for array in examples.inputs))
    return inputs, _pack_targets([replace(one, wanted=one.wanted[rows]) for one in targets])


def _pack_targets(targets: list[OutputTarget]) -> list[Float32] | Float32:
    wanted = [one.wanted for one in targets]
    return wanted if len(wanted) > 1 else wanted[0]


def _measure_loss(pupil: Model, examples: Examples, targets: list[OutputTarget]) -> float:
    found = pupil.evaluate(pack_inputs(pupil, examples.inputs), _pack_targets(targets), BATCH, verbose=0)
    return float(found[0] if isinstance(found, list) else found)


def _restore(pupil: Model, state: FitState) -> None:
    """Raises: RecipeError if the state belongs to another network."""
    pupil.optimizer.build(pupil.trainable_variables)
    for variables, values in ((pupil.variables, state.variables), (pupil.optimizer.variables, state.optimizer)):
        if [tuple(one.shape) for one in variables] != [one.shape for one in values]:
            raise RecipeError("--resume: expected the state of this network's training, got that of another network")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


def _make_target(answers: Outputs, kind: OutputKind) -> OutputTarget:
    if kind.truth is not None:
        return _make_labelled_target(answers, kind, kind.truth)
    alone = answers.shape[-1] == 1 or kind.multilabel
    if kind.probabilities or kind.values or kind.uncertain:
        several = "probability" if alone else "probabilities"
        return OutputTarget(answers.astype(np.float32), several if kind.probabilities else "values")
    if alone:
        return OutputTarget((1 / (1 + np.exp(-answers))).astype(np.float32), "logit")
    shifted = np.exp(answers - answers.max(axis=-1, keepdims=True))
    return OutputTarget((shifted / shifted.sum(axis=-1, keepdims=True)).astype(np.float32), "logits")


def _make_labelled_target(answers: Outputs, kind: OutputKind, truth: Truth) -> OutputTarget:
    target = _make_target(answers, replace(kind, truth=None))
    labels = truth.labels.astype(np.float32)
    if truth.task == "classes":
        labels = np.eye(answers.shape[-1], dtype=np.float32)[truth.labels.astype(np.intp)]
    elif truth.task == "yes or no":
        labels = labels.reshape(answers.shape)
    return OutputTarget(ANSWERS * target.wanted + (1 - ANSWERS) * labels.reshape(target.wanted.shape), target.kind)


def loss_of(target: OutputTarget) -> Callable[[object, object], object]:
    """(wanted, outputs) -> the mean loss: cross-entropy in nats, or squared error."""
    losses = keras().losses
    found: Callable[[object, object], object] = losses.BinaryCrossentropy(from_logits=target.kind == "logit")
    if target.kind in ("probabilities", "logits"):
        found = losses.CategoricalCrossentropy(from_logits=target.kind == "logits")
    elif target.kind == "values":
        found = losses.MeanSquaredError()
    return found
