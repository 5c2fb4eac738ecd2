"""A network with NaN or infinite weights, after a divergent training, is not trained or slimmed."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import Run


@pytest.mark.parametrize(("value", "found"), [(np.nan, "NaN"), (-np.inf, "infinity")])
@pytest.mark.parametrize("verb", ["slim --width 0.5", "encode --finetune 1", "encode --method binary --finetune 1"])
def test_training_refuses_weights_that_are_not_finite(
    verb: str, value: float, found: str, tmp_path: Path, wcodec: Run
) -> None:
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu", name="hidden"), keras.layers.Dense(3)])
    kernel = np.ones((8, 16), np.float32)
    kernel[2, 3] = value
    model.layers[0].kernel.assign(kernel)
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "d.npz", x=np.ones((60, 8), np.float32), y=np.arange(60) % 3)
    name, *words = verb.split()
    target = tmp_path / ("out.keras" if name == "slim" else "out.wcz")
    done = wcodec(name, tmp_path / "m.keras", "-o", target, "--data", tmp_path / "d.npz", *words, "-q")
    message = f"expected finite weights to train, got {found} in hidden/kernel"
    assert (done.returncode, done.stderr) == (5, f"wcodec: m.keras: {message}\n")
    assert not target.exists()
