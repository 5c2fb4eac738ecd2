"""Sensitivity: the cost of a squared error of each kernel in nats of the outputs, by Fisher information, Hessian or
measurement.

To second order the KL divergence of the outputs is d' F d / 2 for an error d of the weights. F is the Fisher
information, which is the Hessian of the cross-entropy with the network's own predictions. Rounding errors have no
preferred direction, so the mean is trace(F_t) / n_t |d_t|^2 / 2 for a kernel of n_t weights (HAWQ-V2, Dong et al.
2020).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import numpy.typing as npt

from wcodec.calibration.session import CalibrationSession
from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Array, Examples, spread_evenly
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.keras_backend import (
    keep_weights,
    keras,
    loss_and_gradients,
    pack_inputs,
    silence_keras,
    tensorflow,
)
from wcodec.evaluation.metrics import Outputs, log_probabilities, value_variance
from wcodec.evaluation.output_kinds import OutputKind, measure_divergence
from wcodec.evaluation.runner import is_runner

if TYPE_CHECKING:
    from types import ModuleType

    from keras import Model, Variable
    from tensorflow import Tensor

Batch = tuple[Array, ...]

FISHER_EXAMPLES, FISHER_BATCH = 1024, 4
"""The number of examples whose gradients are computed, and the batch size. With labels drawn for each example, the
gradients of a batch are independent with mean 0, so the mean of their squared sum is that of the sum of squares."""
PROBED_EXAMPLES, PROBED_BATCH, PROBES = 512, 64, 16
"""Of Hutchinson's estimate: examples, batch size, and vectors for each kernel. One vector for all kernels would add
products of different kernels, whose mean is 0, but whose variance is large for a small kernel."""
MEASURED_EXAMPLES: Final = 500
MEASURED_STEP: Final = 2.0**-1.95
"""The step of a kernel that is rounded alone, divided by its rms: about four bits a weight."""


def default_kind(session: CalibrationSession) -> str:
    """The Fisher information if there are gradients, otherwise measured divergences."""
    return "kl" if is_runner(session.model) else "fisher"


def measure_costs(session: CalibrationSession, kind: str) -> dict[int, float]:
    """Nats for a unit of squared error of each kernel, by index in `model.weights`; empty for "none".

    Raises: RecipeError if the network has no gradients of this kind.
    """
    if kind == "none":
        return {}
    if kind == "kl":
        return _measure_by_divergence(session)
    if is_runner(session.model):
        raise RecipeError(f"--sensitivity {kind}: expected a network of Keras, got {session.model.name}; kl needs none")
    traces = _estimate_fisher(session) if kind == "fisher" else _estimate_hutchinson(session)
    least = max(*traces, 0.0) * 1e-9 + 1e-30
    pairs = zip(session.kernels, traces, strict=True)
    return {one.index: max(trace, least) / (2.0 * one.original.size) for one, trace in pairs}


def _measure_by_divergence(session: CalibrationSession) -> dict[int, float]:
    """The divergence that rounding a kernel alone causes, divided by its squared error."""
    held_out = session.held_out
    chosen = spread_evenly(np.arange(held_out.count), MEASURED_EXAMPLES)
    few = Examples(tuple(array[chosen] for array in held_out.inputs))
    outputs = tuple(output[chosen] for output in session.outputs)
    costs = {}
    for one in session.kernels:
        step = MEASURED_STEP * float(np.sqrt(np.square(one.original, dtype=np.float64).mean()))
        if step <= 0.0:
            continue
        rounded = (np.rint(one.original / step) * step).astype(np.float32)
        with keep_weights(session.model):
            one.variable.assign(rounded)
            kl = measure_divergence(compute_outputs(session.model, few), outputs, session.kinds)
        error = float(np.square(rounded - one.original, dtype=np.float64).sum())
        costs[one.index] = max(kl, 1e-12) / max(error, 1e-30)
    return costs


def _draw_batches(session: CalibrationSession, most: int, size: int) -> Iterator[Batch]:
    """At most `most` fitting inputs, in equal batches of `size`."""
    inputs = tuple(np.concatenate(parts) for parts in zip(*session.fitting, strict=True))
    chosen = spread_evenly(np.arange(len(inputs[0])), most)
    for start in range(0, max(1, len(chosen) - size + 1), size):
        yield tuple(array[chosen[start : start + size]] for array in inputs)


def _estimate(
    session: CalibrationSession, step: Callable[[list[Tensor], Tensor, Tensor], Tensor], batches: Iterable[Batch]
) -> npt.NDArray[np.float64]:
    """The mean over the batches of the result of a graph for each batch, a seed and its own number."""
    tf = tensorflow()
    graph, total, count = tf.function(step, reduce_retracing=True, autograph=False), 0.0, 0
    try:
        for count, batch in enumerate(batches, 1):
            seed = tf.constant([session.seed, 1000 * count], tf.int32)
            with silence_keras():
                total = total + graph([tf.constant(array) for array in batch], seed, tf.constant(count)).numpy()
    except (tf.errors.OpError, LookupError, TypeError, ValueError) as exc:
        words = " ".join(str(exc).split())[:160]
        raise RecipeError(f"--sensitivity: expected gradients, got {type(exc).__name__}: {words}") from exc
    return np.asarray(total, np.float64) / max(1, count)


def _run(session: CalibrationSession, inputs: list[Tensor]) -> list[Tensor]:
    model = cast("Model", session.model)
    outputs = keras().tree.flatten(model(pack_inputs(model, tuple(inputs)), training=False))
    tf = tensorflow()
    return [tf.cast(one if one.shape.rank > 1 else one[:, None], "float32") for one in outputs]


def _sum_losses(session: CalibrationSession, inputs: list[Tensor], seed: Tensor | None) -> Tensor:
    """The sum of `_measure_loss` over the outputs of the network."""
    tf = tensorflow()
    every = zip(_run(session, inputs), session.outputs, session.kinds, strict=True)
    seeds = (None if seed is None else seed + number for number in itertools.count())
    return tf.add_n([_measure_loss(tf, *one, own) for one, own in zip(every, seeds, strict=False)])


def _estimate_fisher(session: CalibrationSession) -> list[float]:
    """The trace of each kernel's block, from gradients for labels that are drawn from the predictions."""
    tf = tensorflow()
    variables = [cast("Variable", one.variable) for one in session.kernels]
    values = [one._value for one in variables]

    def step(inputs: list[Tensor], seed: Tensor, _: Tensor) -> Tensor:
        _, gradients = loss_and_gradients(lambda: _sum_losses(session, inputs, seed), variables)
        pairs = zip(gradients, values, strict=True)
        return tf.stack([tf.reduce_sum(tf.square(_to_dense(tf, *pair))) for pair in pairs])

    found = _estimate(session, step, _draw_batches(session, FISHER_EXAMPLES, FISHER_BATCH))
    return [float(one) for one in found]


def _estimate_hutchinson(session: CalibrationSession) -> list[float]:
    """The traces as the mean of v' H v over random sign vectors v (Hutchinson 1990), by differentiating twice."""
    tf = tensorflow()
    variables = [cast("Variable", one.variable) for one in session.kernels]
    values = [one._value for one in variables]

    def step(inputs: list[Tensor], seed: Tensor, number: Tensor) -> Tensor:
        chosen = tf.one_hot(number % len(values), len(values))
        signs = [
            chosen[place] * (2.0 * tf.floor(2.0 * tf.random.stateless_uniform(one.shape, seed + place)) - 1.0)
            for place, one in enumerate(values)
        ]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            _, gradients = loss_and_gradients(lambda: _sum_losses(session, inputs, None), variables)
            dense = [_to_dense(tf, *pair) for pair in zip(gradients, values, strict=True)]
            along = tf.add_n([tf.reduce_sum(g * v) for g, v in zip(dense, signs, strict=True)])
        turned = [_to_dense(tf, *pair) for pair in zip(tape.gradient(along, values), values, strict=True)]
        return len(values) * tf.stack([tf.reduce_sum(h * v) for h, v in zip(turned, signs, strict=True)])

    batches = list(_draw_batches(session, PROBED_EXAMPLES, PROBED_BATCH))
    found = _estimate(session, step, (batches[probe % len(batches)] for probe in range(PROBES) for _ in values))
    return [float(one) for one in found]


def _to_dense(tf: ModuleType, gradient: Tensor | None, like: Tensor) -> Tensor:
    return tf.zeros(like.shape) if gradient is None else tf.cast(tf.convert_to_tensor(gradient), "float32")


def _find_sensitive(kind: OutputKind, originals: Outputs) -> OutputKind:
    """The kind by which an uncertain output diverges more: small errors of variance v in every unit have an output
    error of v / variance, and a divergence of classes of v / 2 sum p (1 - p) nats.
    """
    if not kind.uncertain:
        return kind
    shares = np.exp(log_probabilities(originals, probabilities=False))
    of_classes = float((shares * (1 - shares)).sum(axis=-1).mean()) / 2
    return replace(kind, values=1 / value_variance(originals) > of_classes)


def _measure_loss(tf: ModuleType, outputs: Tensor, originals: Outputs, kind: OutputKind, seed: Tensor | None) -> Tensor:
    """A loss whose Hessian in the outputs is twice that of `measure_divergence` at the original, up to its gradient.

    seed: -log q of labels drawn from the predictions, scaled so that squared gradients have the mean of one row's;
          None: the mean cross-entropy with the predictions themselves. Values get noise of their variance instead of
          labels.
    """
    kind = _find_sensitive(kind, originals)
    if kind.values:
        scale = float((2.0 / value_variance(originals)) ** 0.5)
        if seed is None:
            return tf.reduce_mean(tf.square(scale * (outputs - tf.stop_gradient(outputs)))) / 2.0
        noise = tf.random.stateless_normal(tf.shape(outputs), seed)
        return scale * tf.reduce_sum(noise * outputs) / tf.sqrt(tf.cast(tf.size(outputs), "float32"))
    logs = tf.nn.log_softmax(kind.logits(tf, outputs))
    logs = tf.reshape(logs, [-1, logs.shape[-1]])
    if seed is None:
        return -tf.reduce_mean(tf.reduce_sum(tf.stop_gradient(tf.exp(logs)) * logs, -1))
    labels = tf.random.stateless_categorical(logs, 1, seed)
    rows = tf.cast(tf.shape(logs)[0], "float32")
    return -tf.reduce_sum(tf.gather(logs, labels, batch_dims=1)) / tf.sqrt(rows)
