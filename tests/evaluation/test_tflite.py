"""`--quantizer symmetric --bits 8` gives the integers of the converter of TFLite, per tensor and per channel."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import Run


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_channel", [False, True])
def test_integers_equal_those_of_the_converter(per_channel: bool, tmp_path: Path, wcodec: Run) -> None:
    keras.utils.set_random_seed(4)
    layer = keras.layers.Conv2D(24, 5, name="c") if per_channel else keras.layers.Dense(80, name="d")
    model = keras.Sequential([keras.Input((9, 9, 12) if per_channel else (60,)), layer])
    model.save(tmp_path / "m.keras")
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter._experimental_disable_per_channel = not per_channel
    converter._experimental_disable_per_channel_quantization_for_dense_layers = not per_channel
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    details = [d for d in interpreter.get_tensor_details() if d["dtype"] == np.int8 and len(d["shape"]) > 1]
    integers = max((interpreter.get_tensor(d["index"]) for d in details), key=np.size)
    words = ["--per-channel"] if per_channel else []
    done = wcodec("encode", tmp_path / "m.keras", "--quantizer", "symmetric", "--bits", "8", *words)
    assert done.returncode == 0
    wcodec("decode", tmp_path / "m.keras.wcz", "-o", tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as back:
        weights = max((back[name] for name in back.files), key=np.size)
    ours = np.moveaxis(weights, -1, 0)
    axes = tuple(range(1, ours.ndim)) if per_channel else None
    step = np.abs(ours).max(axis=axes, keepdims=per_channel) / 127
    assert np.array_equal(np.rint(ours / step), integers.reshape(ours.shape))
