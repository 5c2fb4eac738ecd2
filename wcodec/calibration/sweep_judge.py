"""The quality oracle of sweeps: the network compared with its original, on held-out inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from wcodec.calibration.codebook_search import run_codebook_trial
from wcodec.calibration.gptq import Float32
from wcodec.calibration.request import MAX_FITTED, LearningRequest, open_session
from wcodec.calibration.sensitivity import default_kind, measure_costs
from wcodec.calibration.session import CalibrationSession
from wcodec.calibration.step_search import first_scale
from wcodec.calibration.time_limit import Deadline, OutOfTimeError
from wcodec.calibration.trial import run_trial
from wcodec.evaluation.evaluate import evaluate
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.keras_backend import keep_weights
from wcodec.evaluation.metrics import POINTS, Outputs
from wcodec.evaluation.output_kinds import measure_divergence
from wcodec.model import TunedTensor
from wcodec.reporting.quality_oracle import QualityLoss

FEW: Final = 500
"""The number of inputs that is enough to compare tensors with each other."""


@dataclass(frozen=True)
class ModelOracle:
    """A `sweep.QualityOracle`.

    few:         inputs by which tensors are compared.
    few_outputs: the original's outputs for them.
    costs:       nats for a unit of squared error, by index in the network's weights.
    accuracy:    the original's on the held-out examples in percent; None without labels.
    """

    request: LearningRequest
    session: CalibrationSession
    few: Examples
    few_outputs: tuple[Outputs, ...]
    accuracy: float | None
    costs: Mapping[int, float] = field(default_factory=dict)

    @property
    def values(self) -> Sequence[bool]:
        """Whether an output predicts values."""
        return [kind.values for kind in self.session.kinds]

    @property
    def examples(self) -> int:
        """The number of held-out examples."""
        return self.session.held_out.count

    def measure_file(self, coded: Path) -> QualityLoss:
        """The loss of the finished file."""
        model, session = self.request.load(coded), self.session
        found = evaluate(model, session.held_out, session.model)
        kl = measure_divergence(compute_outputs(model, session.held_out), session.outputs, session.kinds)
        return QualityLoss(kl, 100 * POINTS * kl, found.agreement, found.accuracy, found.accuracy_drop)

    def measure_tensor(self, name: str, values: Float32) -> QualityLoss | None:
        """The loss of the original with other values for one tensor; None if no weight has this name."""
        model, named = self.session.model, self.session.table.names.items()
        indices = [index for index, names in named if name in names]
        if not indices:
            return None
        with keep_weights(model):
            for index in indices:
                model.weights[index].assign(values)
            kl = measure_divergence(compute_outputs(model, self.few), self.few_outputs, self.session.kinds)
        return QualityLoss(kl, 100 * POINTS * kl, predicted=self._predict(indices[0], values))

    def _predict(self, index: int, values: Float32) -> float | None:
        if index not in self.costs:
            return None
        (kernel,) = [one for one in self.session.kernels if one.index == index]
        return self.costs[index] * float(np.square(values - kernel.original, dtype=np.float64).sum())

    def step_sizes(self, count: int) -> Sequence[float]:
        """Step scales around the one that calibration tries first, the nearest first."""
        start = first_scale(self.session)
        scales = [start * float(factor) for factor in np.geomspace(0.25, 2.0, count)]
        return sorted(scales, key=lambda scale: abs(np.log(scale / start)))

    def calibrate(self, size: float, until: float = float("inf")) -> Mapping[str, TunedTensor] | None:
        """The weights with this step scale, or by codebooks.

        Tensors without a name in the file are coded by the preset. until: a time of `time.monotonic`, after which
        rounding ends without a result.
        """
        session, codebooks = self.session, self.request.codebooks
        if codebooks:
            return session.table.by_name(run_codebook_trial(session, codebooks, size).tuned())
        late = Deadline(until).is_over
        with suppress(OutOfTimeError):
            return session.table.by_name(run_trial(session, size, session.config.dampings[0], is_late=late).tuned())
        return None


def open_oracle(
    source: Path,
    request: LearningRequest,
    sensitivity: str | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> ModelOracle:
    """Prepare the network of `source` for a sweep.

    sensitivity: predicts the loss of a tensor, one of `run_options.SENSITIVITIES`; None: `default_kind`.
    Raises: RecipeError, ModelFileError, UnsupportedError.
    """
    opened = open_session(source, request, log)
    session = opened.prepare(MAX_FITTED)
    held_out = session.held_out
    chosen = np.linspace(0, held_out.count - 1, min(FEW, held_out.count)).astype(np.intp)
    few = Examples(tuple(array[chosen] for array in held_out.inputs))
    accuracy = evaluate(opened.model, held_out).accuracy if held_out.is_labelled else None
    few_outputs = tuple(output[chosen] for output in session.outputs)
    costs = measure_costs(session, sensitivity or default_kind(session))
    return ModelOracle(request, session, few, few_outputs, accuracy, costs)
