"""A network of one dense layer, and examples for it."""
from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from wcodec.errors import ModelFileError, RecipeError, UnsupportedError
from wcodec.learning import user_code
from wcodec.learning.backend import hushed, keras
from wcodec.learning.evaluate import evaluate
from wcodec.learning.examples import Examples
from wcodec.learning.load import load_model, model_inputs

if TYPE_CHECKING:
    from keras import Model

COUNT = 100
RNG = np.random.default_rng(7)
ROWS = RNG.normal(size=(COUNT, 6)).astype(np.float32)
CLASSES = RNG.integers(0, 4, COUNT)


def dense(units: int, activation: str | None = None, inputs: tuple[int, ...] = (6,)) -> Model:
    keras().utils.set_random_seed(units)
    layers = keras().layers
    return keras().Sequential([layers.Input(inputs), layers.Dense(units, activation, name="head")], name="net")
