"""TFLite's files of a network: their size, and their accuracy where TFLite runs."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import tensorflow as tf

KINDS = ("float32", "float16", "int8")


def flat(source: Path, kind: str) -> bytes | None:
    """The .tflite file of a Keras model, None where TFLite does not run; int8: weights alone, as in the tutorial."""
    model = keras.models.load_model(source, compile=False)
    try:
        return _convert(model, kind)
    except Exception as error:  # whatever a converter that is being retired may raise
        print(f"TFLite does not run here: {error}", file=sys.stderr)
        return None


def _convert(model: keras.Model, kind: str) -> bytes:
    with TemporaryDirectory() as folder, quiet():
        model.export(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if kind != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if kind == "float16":
            converter.target_spec.supported_types = [tf.float16]
        return bytes(converter.convert())


def outputs(content: bytes, inputs: np.ndarray) -> np.ndarray:
    """What the first output answers to a batch."""
    with quiet():
        interpreter = tf.lite.Interpreter(model_content=content)
    place = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(place, inputs.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, inputs)
    interpreter.invoke()
    answers: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return answers


def accuracy(content: bytes, images: np.ndarray, labels: np.ndarray) -> float:
    """Percent of images whose largest output is at their label."""
    return 100 * float(np.mean(outputs(content, images).argmax(axis=1) == labels))


@contextlib.contextmanager
def quiet():
    """Without what the converter writes from Python and from C++."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
