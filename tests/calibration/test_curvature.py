"""Sensitivity by curvature: three estimates agree, and files have their precision from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.sensitivity import measure_costs
from wcodec.calibration.session import prepare_session
from wcodec.calibration.step_search import search_steps
from wcodec.calibration.trial import factors_by_costs
from wcodec.evaluation.examples import Examples, hold_out
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.keras_backend import keep_weights, keras, silence_keras
from wcodec.evaluation.output_kinds import measure_divergence

if TYPE_CHECKING:
    from conftest import Run
    from keras import Model

RNG = np.random.default_rng(8)
INPUTS = RNG.normal(size=(600, 8, 8, 2)).astype(np.float32)


def network() -> Model:
    """Layers of very different scales, so that their sensitivities differ by orders of magnitude."""
    keras().utils.set_random_seed(4)
    of = keras().layers
    model = keras().Sequential(
        [
            of.Input((8, 8, 2)),
            of.Conv2D(6, 3, activation="relu", name="conv"),
            of.BatchNormalization(),
            of.Flatten(),
            of.Dense(24, "tanh", name="wide"),
            of.Dense(5, name="head"),
        ]
    )
    head = model.get_layer("head")
    head.set_weights([6 * head.get_weights()[0], head.get_weights()[1]])
    return model


def test_fisher_hessian_and_measured_divergences_agree() -> None:
    model = network()
    session = prepare_session(model, *hold_out(Examples((INPUTS,))), most=400, seed=1)
    every = {kind: measure_costs(session, kind) for kind in ("fisher", "hessian", "kl")}
    assert every["fisher"].keys() == every["kl"].keys() == {kernel.index for kernel in session.kernels}
    for index, cost in every["fisher"].items():
        assert every["hessian"][index] == pytest.approx(cost, rel=0.4)
    # What they mean: nats for the error of a kernel in no particular direction.
    for kernel in session.kernels:
        scale, ratios = 0.02 * np.abs(kernel.original).mean(), []
        for _ in range(8):
            error = RNG.normal(0, scale, kernel.original.shape).astype(np.float32)
            with keep_weights(model):
                kernel.variable.assign(kernel.original + error)
                kl = measure_divergence(compute_outputs(model, session.held_out), session.outputs, session.kinds)
            ratios.append(kl / float(np.square(error).sum()))
        assert every["fisher"][kernel.index] == pytest.approx(np.mean(ratios), rel=0.5)
    assert measure_costs(session, "none") == {}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The network, and inputs for it."""
    folder = tmp_path_factory.mktemp("curvature")
    with silence_keras():
        network().save(folder / "net.keras")
    np.savez(folder / "x.npz", x=INPUTS)
    return folder / "net.keras", folder / "x.npz"


@pytest.mark.parametrize("quantizer", ["symmetric", "uniform"])
def test_the_choice_has_the_least_measured_divergence(
    files: tuple[Path, Path], wcodec: Run, tmp_path: Path, quantizer: str
) -> None:
    words = ("--bits", "auto:3", "--quantizer", quantizer, "--data", files[1], "--threads", 1)
    done = wcodec("encode", files[0], "-o", tmp_path / "out.wcz", *words)
    assert done.returncode == 0, done.stderr
    found = {line.split(":")[0]: float(line.split()[-2]) for line in done.stderr.splitlines() if line.endswith(" nats")}
    assert "without" in found
    assert any(name.startswith("fisher") for name in found)
    (chosen,) = [line.removeprefix("chosen: ") for line in done.stderr.splitlines() if line.startswith("chosen")]
    assert found[chosen] == min(found.values())
    assert wcodec("inspect", tmp_path / "out.wcz").stdout.count("kernel") == 3


def test_calibration_starts_from_the_curvature_if_that_measures_better() -> None:
    session = prepare_session(network(), *hold_out(Examples((INPUTS,))), most=200, seed=1)
    budget, costs = AccuracyBudget(kl=0.003), measure_costs(session, "fisher")
    plain, curved = search_steps(session, budget), search_steps(session, budget, costs=costs)
    assert curved.bytes <= 1.02 * plain.bytes
    assert all(1 / 8 <= factor <= 8 for factor in factors_by_costs(session, costs))
    assert factors_by_costs(session, {}) == (1.0, 1.0, 1.0)


def test_a_sweep_has_the_predicted_and_the_measured_divergence(files: tuple[Path, Path], wcodec: Run) -> None:
    done = wcodec("sweep", files[0], "--data", files[1], "--points", 1, "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "own error  predicted" in done.stdout
    assert "rank correlation of" in done.stdout


def test_unusable_options_of_sensitivity_are_refused_in_one_line(
    files: tuple[Path, Path], wcodec: Run, tmp_path: Path
) -> None:
    words = ("--sensitivity", "fisher", "--data", files[1], "--finetune", 1)
    done = wcodec("encode", files[0], "-o", tmp_path / "no.wcz", *words)
    assert done.returncode == 2
    assert done.stderr == "wcodec: --sensitivity: expected --bits auto:N or calibration, got --finetune\n"
    done = wcodec("encode", files[0], "-o", tmp_path / "no.wcz", "--bits", "auto:1", "--quantizer", "symmetric")
    assert (done.returncode, done.stderr) == (2, "wcodec: --bits auto:1: expected a mean from 2 to 16\n")
    assert not list(tmp_path.iterdir())
