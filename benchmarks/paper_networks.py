"""The networks of the starting paper's experiment: the CNN of TensorFlow's tutorials, by its protocol.

Baseline: 4 epochs, the last 10 % of the training images kept apart. Pruned: 2 more epochs in batches of 128, the last
30 % kept apart, sparsity rising from 50 % by the cubic schedule until the end, as in TensorFlow Model Optimization.
That tool does not work with Keras 3; wcodec's method `gradual` takes its place, asked for the labels alone.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "samples")]

import keras
import numpy as np
import train

from wcodec.codec.plan import Prune
from wcodec.evaluation.examples import Examples
from wcodec.training.finetune import prepare_training
from wcodec.training.methods.masked_pruning import start_pruning
from wcodec.training.methods.sparsity_schedules import gradual_schedule
from wcodec.training.methods.trainer import MethodRun, assign_tuned, run_method

SEED = 1


def images() -> tuple[np.ndarray, np.ndarray]:
    """The training images, 0 to 1, and their labels."""
    with np.load(train.MNIST, allow_pickle=False) as mnist:
        return mnist["x_train"] / np.float32(255), mnist["y_train"]


def baseline(folder: Path) -> Path:
    """The network before anything is done to it."""
    keras.utils.set_random_seed(SEED)
    x, y = images()
    model = train.tutorial_cnn()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, epochs=4, validation_split=0.1, verbose=0)
    return save_weights(model.get_weights(), folder / "baseline.h5")


def pruned_network(source: Path, sparsity: float, folder: Path) -> Path:
    """The same with this part of each kernel at zero."""
    model = keras.models.load_model(source, compile=False)
    x, y = images()
    learned = len(x) * 7 // 10
    training = prepare_training(model, Examples((x[:learned],), (y[:learned],)), SEED)
    training = replace(training, targets=replace(training.targets, weight=0.0))
    schedule = gradual_schedule(Prune("sparsity", sparsity), 0.5, "cubic", span=(0.0, 1.0))
    begin = partial(start_pruning, schedule=schedule, forget=False)
    run = MethodRun(dict.fromkeys(range(len(model.weights)), begin), epochs=2)
    assign_tuned(model, run_method(model, training, run, lambda epoch, loss: None)[0])
    return save_weights(model.get_weights(), folder / f"pruned-{round(100 * sparsity)}.h5")


def save_weights(weights: list[np.ndarray], path: Path) -> Path:
    """A model file of these weights, without any state of training."""
    bare = train.tutorial_cnn()
    bare.set_weights(weights)
    bare.save(path)
    return path
