"""The functions of Keras for .wcz files. Needs `wcodec[keras]`.

wcodec.keras.save_model(model, "model.wcz")                     # exact
wcodec.keras.save_model(model, "model.wcz", preset="balanced")  # with any option of `wcodec.encode`, as that codes
model = wcodec.keras.load_model("model.wcz")                    # compiled, as the model was
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Unpack

from wcodec.api.front_doors import words_or_lossless
from wcodec.api.running import load_model as load
from wcodec.api.verbs import encode
from wcodec.api.words import EncodeWords
from wcodec.evaluation.keras_backend import keras

if TYPE_CHECKING:
    from keras import Model

    from wcodec.reporting.inspection import Inspection

_keras = keras()


def save_model(
    keras_model: Model, filepath: str | PathLike[str], overwrite: bool = True, **words: Unpack[EncodeWords]
) -> Inspection:
    """Write the .wcz of a model and return its numbers. Inverse: `load_model`.

    words: options of `wcodec.encode`; without any that loses something, all is exact, the optimizer's state too.

    Raises: WcodecError where the file exists and `overwrite` is False; as `wcodec.encode`.
    """
    return encode(keras_model, filepath, **words_or_lossless({**words, "force": overwrite}))


def load_model(
    filepath: str | PathLike[str] | bytes,
    custom_objects: Mapping[str, object] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
    *,
    base: str | PathLike[str] | None = None,
) -> Model:
    """The model in a .wcz or a model file, compiled where the file says how.

    custom_objects: layers, losses and functions of the user's own by name; base: see `wcodec.load_model`.
    Raises: as `wcodec.load_model`.
    """
    with _keras.utils.custom_object_scope(dict(custom_objects or {})):
        return load(filepath, unsafe=not safe_mode, base=base, compile=compile)
