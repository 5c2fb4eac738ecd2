"""Training after slimming: a plain Keras fit to the original's answers, to labels, or to both."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.evaluation.examples import Examples
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.keras_backend import keras, pack_inputs, silence_keras
from wcodec.evaluation.metrics import Outputs, Truth
from wcodec.evaluation.model_loader import predicts_values
from wcodec.evaluation.output_kinds import OutputKind, output_kinds

if TYPE_CHECKING:
    from keras import Model

Float32 = npt.NDArray[np.float32]
Progress = Callable[[int, float], None]
"""Is told the number of an epoch that ended, and its mean loss."""

BATCH: Final = 128
RATE: Final = 1e-3
"""Adam's rate at the start; it falls to zero on a cosine."""
ANSWERS: Final = 0.7
"""Weight of the original's answers beside labels (Hinton et al. 2015, at T = 1)."""


@dataclass(frozen=True)
class Target:
    """What one output is trained towards.

    wanted: float32[examples, ..., units], distributions or values.
    kind:   probabilities, logits or values, of the network's output.
    """

    wanted: Float32
    kind: str


def targets_of(original: Model, examples: Examples) -> list[Target]:
    """For each output the original's answers, mixed with the labels, where given.

    Raises: RecipeError where labels do not fit.
    """
    answers = compute_outputs(original, examples)
    kinds = output_kinds(answers, examples.labels, examples.count, predicts_values=predicts_values(original))
    return [_target(*both) for both in zip(answers, kinds, strict=True)]


def fit(model: Model, examples: Examples, targets: list[Target], epochs: int, *, versions: int = 1, seed: int = 0,
        rate: float = RATE, progress: Progress | None = None) -> None:  # fmt: skip
    """Train the network for so many epochs. It is changed; Ctrl-C ends the training, and what was learned stays.

    versions: of each example, one version of all after another; epochs take them in turn.
    """
    k = keras()
    k.utils.set_random_seed(seed)
    pupil = type(model).from_config(model.get_config())  # so that `model` has no optimizer, which would be saved
    pupil.set_weights(model.get_weights())
    steps = max(1, epochs * -(-examples.count // versions // BATCH))
    pupil.compile(
        k.optimizers.Adam(k.optimizers.schedules.CosineDecay(rate, steps)),
        [loss_of(one) for one in targets],
        jit_compile=False,
    )
    wanted, count = [one.wanted for one in targets], examples.count // versions
    told = (
        [] if progress is None else [k.callbacks.LambdaCallback(on_epoch_end=lambda n, logs: progress(n, logs["loss"]))]
    )
    with silence_keras(), suppress(KeyboardInterrupt):
        for epoch in range(epochs):
            rows = slice(epoch % versions * count, (epoch % versions + 1) * count)
            inputs = pack_inputs(pupil, tuple(array[rows] for array in examples.inputs))
            outputs = [array[rows] for array in wanted]
            given = outputs if len(outputs) > 1 else outputs[0]
            pupil.fit(inputs, given, BATCH, epoch + 1, initial_epoch=epoch, verbose=0, callbacks=told)
    model.set_weights(pupil.get_weights())


def _target(answers: Outputs, kind: OutputKind) -> Target:
    if kind.truth is not None:
        return _with_labels(answers, kind, kind.truth)
    if kind.probabilities or kind.values:
        several = "probability" if answers.shape[-1] == 1 else "probabilities"
        return Target(answers.astype(np.float32), "values" if kind.values else several)
    shifted = np.exp(answers - answers.max(axis=-1, keepdims=True))
    return Target((shifted / shifted.sum(axis=-1, keepdims=True)).astype(np.float32), "logits")


def _with_labels(answers: Outputs, kind: OutputKind, truth: Truth) -> Target:
    target = _target(answers, replace(kind, truth=None))
    labels = truth.labels.astype(np.float32)
    if truth.task == "classes":
        labels = np.eye(answers.shape[-1], dtype=np.float32)[truth.labels.astype(np.intp)]
    elif truth.task == "yes or no":
        labels = labels.reshape(answers.shape)
    word = "values" if truth.task == "values" else "several" if truth.task == "several of many" else target.kind
    answered = answers.astype(np.float32) if word in ("values", "several") else target.wanted
    return Target(ANSWERS * answered + (1 - ANSWERS) * labels.reshape(answered.shape), word)


def loss_of(target: Target) -> Callable[[object, object], object]:
    """(wanted, outputs) -> the mean loss: cross-entropy in nats, or squared error."""
    losses = keras().losses
    found: Callable[[object, object], object] = losses.BinaryCrossentropy()
    if target.kind in ("probabilities", "logits"):
        found = losses.CategoricalCrossentropy(from_logits=target.kind == "logits")
    elif target.kind == "values":
        found = losses.MeanSquaredError()
    return found
