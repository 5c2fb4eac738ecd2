"""A small chain of layers, its inputs, and the command on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.structure.generated_graphs import answers
from wcodec.cli import main
from wcodec.evaluation.keras_backend import keras

INPUTS = np.random.default_rng(5).normal(size=(400, 12)).astype("float32")
Slim = Callable[..., int]


def chain(*widths: int) -> object:
    """Dense layers with relu, then one of four units; weights drawn with a fixed seed."""
    keras().utils.set_random_seed(7)
    layers = keras().layers
    hidden = [layers.Dense(width, "relu", bias_initializer="normal") for width in widths]
    return keras().Sequential([layers.Input((12,)), *hidden, layers.Dense(4)], name="chain")


@pytest.fixture(name="slim")
def slim_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slim:
    """Run the command on a small network; slim("--width", 0.5) -> its exit code. The output is small.keras.

    Three runs are timed of each network, which are enough for a figure that nothing is claimed of.
    """
    monkeypatch.setattr("wcodec.structure.speed.SECONDS", 0.0)
    model = chain(16, 16)
    model.save(tmp_path / "model.keras")
    labels = answers(model, [INPUTS])[0].argmax(axis=1)
    np.savez(tmp_path / "data.npz", x=INPUTS, y=labels, x_bare=INPUTS)

    def run(*words: object) -> int:
        named = [str(word).replace("DATA", str(tmp_path / "data.npz")) for word in words]
        return main(["slim", str(tmp_path / "model.keras"), "-o", str(tmp_path / "small.keras"), *named])

    return run
