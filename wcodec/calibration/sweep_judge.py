"""A judge for sweeps: the network beside its original, on inputs kept apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wcodec.calibration.codebook_search import codebook_tensors, run_codebook_trial
from wcodec.calibration.gptq import Float32
from wcodec.calibration.request import MAX_FITTED, CalibrationRequest
from wcodec.calibration.session import CalibrationSession, prepare_session
from wcodec.calibration.step_search import DAMPINGS, START
from wcodec.calibration.trial import run_trial, tuned_tensors
from wcodec.evaluation.datasets import load_examples
from wcodec.evaluation.evaluate import evaluate
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.metrics import POINTS, Outputs, kl_divergence
from wcodec.evaluation.model_loader import load_model, model_inputs
from wcodec.evaluation.weight_mapping import exact_places, tensor_names
from wcodec.model import TunedTensor
from wcodec.modelfiles import open_model
from wcodec.reporting.sweep import QualityLoss

FEW = 500
"""Inputs that are enough to compare tensors with one another."""


@dataclass(frozen=True)
class ModelOracle:
    """A `sweep.QualityOracle`: a network on the bench.

    names:    of the file's tensors by places in `model.weights`.
    some:     inputs to compare tensors by, and the original's answers.
    accuracy: the original's on the inputs kept apart, percent; None without labels.
    """

    wish: CalibrationRequest
    session: CalibrationSession
    names: Mapping[int, tuple[str, ...]]
    some: Examples
    answers: tuple[Outputs, ...]
    accuracy: float | None
    notes: tuple[str, ...]

    @property
    def examples(self) -> int:
        """Inputs kept apart."""
        return self.session.held_out.count

    def measure_file(self, coded: Path) -> QualityLoss:
        """Of the finished file."""
        wish, session = self.wish, self.session
        model = load_model(coded, architecture=wish.architecture, imports=wish.imports, unsafe=wish.unsafe)
        found = evaluate(model, session.held_out, session.model)
        moved = kl_divergence(compute_outputs(model, session.held_out), session.outputs)
        return QualityLoss(moved, 100 * POINTS * moved, found.agreement, found.accuracy, found.accuracy_drop)

    def measure_tensor(self, name: str, values: Float32) -> QualityLoss | None:
        """Of the original with other values for one tensor."""
        model = self.session.model
        places = [place for place, names in self.names.items() if name in names]
        if not places:
            return None
        before = [np.asarray(model.weights[place]) for place in places]
        try:
            for place in places:
                model.weights[place].assign(values)
            moved = kl_divergence(compute_outputs(model, self.some), self.answers)
        finally:
            for place, kept in zip(places, before, strict=True):
                model.weights[place].assign(kept)
        return QualityLoss(moved, 100 * POINTS * moved)

    def step_sizes(self, count: int) -> Sequence[float]:
        """Around the size that calibration tries first, that one before the others."""
        start = min(START[0], START[1] / len(self.session.kernels))
        ladder = [start * float(factor) for factor in np.geomspace(0.25, 2.0, count)]
        return sorted(ladder, key=lambda size: abs(np.log(size / start)))

    def calibrate(self, size: float) -> Mapping[str, TunedTensor]:
        """Rounded by error feedback, or sharing values; what has no name in the file is coded by the preset."""
        if self.wish.sharing:
            return codebook_tensors(run_codebook_trial(self.session, self.wish.sharing, size), self.names)
        return tuned_tensors(run_trial(self.session, size, DAMPINGS[0]), self.names)


def open_oracle(source: Path, wish: CalibrationRequest) -> ModelOracle:
    """Put the network of `source` on the bench.

    Raises: RecipeError, ModelFileError, UnsupportedError.
    """
    model = load_model(source, architecture=wish.architecture, imports=wish.imports, unsafe=wish.unsafe)
    examples = load_examples(wish.data, model_inputs(model), rescale=wish.rescale, limit=wish.limit)
    with open_model(source) as file:
        names = tensor_names(model, file)
        exact = exact_places(names, file, wish.recipe)
    session = prepare_session(model, examples, most=MAX_FITTED, seed=wish.seed, exact=exact)
    chosen = np.linspace(0, session.held_out.count - 1, min(FEW, session.held_out.count)).astype(np.intp)
    some = Examples(tuple(array[chosen] for array in session.held_out.inputs))
    accuracy = evaluate(model, session.held_out).accuracy if session.held_out.labels is not None else None
    answers = tuple(output[chosen] for output in session.outputs)
    return ModelOracle(wish, session, names, some, answers, accuracy, tuple(examples.notes))
