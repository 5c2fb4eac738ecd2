"""A learned scale of no dimensions, such as CLIP's `logit_scale`, stays exact in calibration and training."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import wcodec

RNG = np.random.default_rng(0)
INPUTS, LABELS = RNG.standard_normal((200, 8)).astype(np.float32), RNG.integers(0, 3, 200)


@keras.saving.register_keras_serializable("tests")
class LearnedScale(keras.layers.Layer):
    """Multiplies by one weight."""

    def build(self, _: object) -> None:
        self.scale = self.add_weight(shape=(), initializer=keras.initializers.Constant(1.3), name="scale")

    def call(self, x: object) -> object:
        return x * self.scale


@pytest.mark.parametrize(
    "words",
    [{"max_kl": 0.05, "tune": 0}, {"finetune": 1, "max_drop": 60}, {"method": "binary", "finetune": 1}],
    ids=["calibrated", "trained", "method"],
)
def test_a_keras_network_keeps_scalar_weights(words: dict[str, object], tmp_path: Path) -> None:
    hidden = keras.layers.Dense(16, "relu")
    model = keras.Sequential([keras.Input((8,)), hidden, LearnedScale(name="scale"), keras.layers.Dense(3)])
    data = (INPUTS, LABELS) if "finetune" in words else INPUTS
    wcodec.encode(model, tmp_path / "m.wcz", data=data, **words)
    scale = wcodec.load(tmp_path / "m.wcz")["layers/learned_scale/vars/0"]
    assert scale.shape == ()
    assert scale == np.float32(1.3)
