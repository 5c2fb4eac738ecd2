"""Fine-tuning of codebooks without labels: the centroids are trained until the outputs match those of the original
network.

"And the bit goes down" (Stock et al. 2020), section 3.3: a centroid moves by the mean of the gradients of its members.
In the paper the codes are fixed; here the codes of vectors are trained too, in the first part of the training
(`vector_group`). The statistics of BatchNormalization are computed again whenever the network is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.codebook_search import CodebookResult
from wcodec.calibration.progress import Interruptible
from wcodec.calibration.session import CalibrationSession
from wcodec.calibration.trial import finish_trial
from wcodec.calibration.work import batch_size
from wcodec.evaluation.keras_backend import keep_weights, tensorflow
from wcodec.model import FloatWeights, TableWeights, TunedTensor, VectorWeights
from wcodec.training.augmentation import augment, draw_mixtures
from wcodec.training.distill_state import FLOAT_RATE, ask_original
from wcodec.training.engine import Batch, FloatGroup, ParameterGroup, Step, compile_step
from wcodec.training.flat_adam import Adam, Float32, flatten, unflatten
from wcodec.training.losses import build_targets
from wcodec.training.methods.trained_codebooks import start_codebook
from wcodec.training.methods.trainer import MethodGroup
from wcodec.training.vector_group import OWN_RATE, VectorGroup, start_vectors

if TYPE_CHECKING:
    from keras import Variable as Weight

RATE: Final = 0.016
"""The initial learning rate of centroids, as a fraction of the root mean square of their kernel."""
LAST: Final = 0.02
"""Factor on the learning rates at the end of the training; they fall linearly."""
TICKS: Final = 20
"""How many times the network is measured."""
EVERY: Final = 10
"""The number of steps between two assignments of blocks to their nearest vectors."""
SETTLED: Final = 0.8
"""The fraction of the training after which codes are fixed."""


@dataclass(frozen=True)
class _State:
    """The parts of a network in training.

    kernels: one group for each kernel.
    others:  biases and gains, trained without quantization.
    fixed:   weights that are not trained.
    """

    kernels: tuple[MethodGroup | VectorGroup, ...]
    others: FloatGroup | None
    fixed: Mapping[int, TunedTensor]
    step: Step

    def reassign(self) -> None:
        """Assign all blocks to their nearest vectors."""
        for group in self.kernels:
            if isinstance(group, VectorGroup):
                group.reassign()


def distill_codebooks(
    session: CalibrationSession,
    start: CodebookResult,
    *,
    steps: int,
    seconds: float,
    seed: int,
    moved: bool,
    progress: Callable[[CodebookResult, float], None],
    patience: Interruptible,
) -> CodebookResult:
    """Train the centroids of `start`. Returns the network with the smallest divergence, of the same size, or `start`
    itself.

    session:         has the original's weights, before and after the call; `fitting` has the training inputs.
    steps, seconds:  the length of the training; it ends at the first limit that is reached.
    progress:        called with the network and the fraction of the training that is done, 0 to 1.
    moved, patience: as in `distill`.
    """
    best = start
    with keep_weights(session.model), patience:
        rng = np.random.default_rng(seed)
        batches = draw_mixtures(augment(session, rng, moved=moved), batch_size(session), rng)
        state, tf, tick = _start(session, start), tensorflow(), 0
        for (done, factor, number), inputs in zip(_make_schedule(steps, seconds), batches, strict=False):
            state.step(Batch(inputs), tf.constant(0.0), tf.constant(factor, tf.float32), False)
            if number % EVERY == 0 and done < SETTLED:
                state.reassign()
            if int(done * TICKS) > tick:
                tick = int(done * TICKS)
                found = _measure(session, state, start)
                progress(found, done)
                best = min(best, found, key=lambda one: one.kl)
    return best


def _make_schedule(steps: int, seconds: float) -> Iterator[tuple[float, float, int]]:
    """For each step: the fraction of the training that is done after it, the factor on the learning rates, and the
    number of the step, from 1.
    """
    began, done, step = time.monotonic(), 0.0, 0
    while done < 1:
        factor, step = 1 - (1 - LAST) * done, step + 1
        done = min(1.0, max(step / steps, (time.monotonic() - began) / seconds))
        yield done, factor, step


def _start(session: CalibrationSession, start: CodebookResult) -> _State:
    """Assign `start` to the network, which must have its original weights."""
    model = session.model
    learned = [one for one in session.table.weights if one.trainable and one.index in session.table.mantissas]
    kernels = tuple(
        _start_kernel(model.weights[index], index, tuned)
        for index, tuned in start.weights.items()
        if isinstance(tuned, VectorWeights | TableWeights) and tuned.values.any()
    )
    coded = {one.index for one in kernels}
    learned = [one for one in learned if one.index not in coded]
    floats = tuple(one.variable for one in learned)
    fixed = {index: one for index, one in start.weights.items() if index not in coded}
    trained = [*(group.weights[0] for group in kernels), *floats]
    targets = build_targets(session.outputs, tuple(replace(kind, truth=None) for kind in session.kinds))
    others = None
    if floats:
        values = [fixed[one.index].values if one.index in fixed else one.original for one in learned]
        others = FloatGroup(floats, Adam.start(flatten(values)), FLOAT_RATE)
    ask = ask_original(model, trained, [(index, one.values) for index, one in fixed.items()])
    for index, one in start.weights.items():
        model.weights[index].assign(one.values)
    groups: list[ParameterGroup] = [*kernels, *([others] if others else [])]
    return _State(kernels, others, fixed, compile_step(model, groups, targets, ask_original=ask))


def _start_kernel(weight: Weight, index: int, tuned: VectorWeights | TableWeights) -> MethodGroup | VectorGroup:
    spread = _compute_rms(tuned.values)
    if isinstance(tuned, VectorWeights):
        return start_vectors(index, weight, tuned, RATE * spread, OWN_RATE * spread)
    return MethodGroup(index, (weight,), start_codebook(tuned), RATE * spread)


def _measure(session: CalibrationSession, state: _State, start: CodebookResult) -> CodebookResult:
    """The network as the file would contain it now."""
    model = session.model
    found = {group.index: group.export() for group in state.kernels}
    for index, one in (*state.fixed.items(), *found.items()):
        model.weights[index].assign(one.values)
    if state.others:
        learned = unflatten(state.others.adam.values.numpy(), state.others.weights)
        for weight, values in zip(state.others.weights, learned, strict=True):
            weight.assign(values)
    statistics, quality = finish_trial(session)
    rest = {index: FloatWeights(values) for index, values in statistics}
    return CodebookResult(start.scale, dict(state.fixed) | found | rest, quality, start.bytes)


def _compute_rms(values: Float32) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
