"""The functions of Keras for .wcz files. Needs `wcodec[keras]`.

wcodec.keras.save_model(model, "model.wcz")                     # exact
wcodec.keras.save_model(model, "model.wcz", preset="balanced")  # with any option of `wcodec.encode`, as that codes
model = wcodec.keras.load_model("model.wcz")                    # compiled, as the model was
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from wcodec.api.front_doors import words_or_lossless
from wcodec.api.running import load_model as load
from wcodec.api.verbs import encode, rebase
from wcodec.api.words import EncodeWords
from wcodec.errors import RecipeError
from wcodec.evaluation.keras_backend import keras

_keras = keras()  # without output on the terminal, and with an error that names missing packages

from keras.callbacks import Callback

if TYPE_CHECKING:
    from keras import Model

    from wcodec.reporting.inspection import Inspection


def save_model(
    keras_model: Model, filepath: str | PathLike[str], overwrite: bool = True, **words: Unpack[EncodeWords]
) -> Inspection:
    """Write the .wcz of a model and return its numbers. Inverse: `load_model`.

    words: options of `wcodec.encode`; without a lossy one, everything is exact, with the optimizer's state.
    Raises: WcodecError if the file exists and `overwrite` is False; errors of `wcodec.encode`.
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
    """The model in a .wcz or a model file, compiled if the file says how.

    custom_objects: custom layers, losses and functions by name.
    base:           see `wcodec.load_model`.
    Raises: errors of `wcodec.load_model`.
    """
    with _keras.utils.custom_object_scope(dict(custom_objects or {})):
        return load(filepath, unsafe=not safe_mode, base=base, compile=compile)


class ModelCheckpoint(Callback):
    """Writes a .wcz after epochs, exact or within a budget; the names are those of Keras' own callback.

        model.fit(x, y, epochs=50, callbacks=[wcodec.keras.ModelCheckpoint("run/{epoch:03d}.wcz", keep=5)])

    filepath: with `{epoch}` and the names of the logs, `{val_loss:.3f}`.
    every:    epochs between two files.
    keep:     how many files stay; the oldest that stays is made self-contained when the one before it goes. None: all.
    words:    options of `wcodec.encode`, such as a budget (`max_error=1e-4`, `data=`, `max_drop=`): files are
              then self-contained. Without any that loses something all is exact, the optimizer's state too, and each
              file is coded against the last one in its folder, unless `base` is None.
    """

    def __init__(
        self,
        filepath: str | PathLike[str],
        *,
        every: int = 1,
        keep: int | None = 5,
        **words: Unpack[EncodeWords],
    ) -> None:
        super().__init__()
        if every < 1 or (keep is not None and keep < 1):
            raise RecipeError(f"ModelCheckpoint: expected every and keep of 1 or more, got {every} and {keep}")
        self.filepath, self.every, self.keep = os.fspath(filepath), every, keep
        self.words = words_or_lossless(words)
        self.is_chain = self.words.pop("base", "last") == "last" and bool(self.words.get("lossless"))
        self.files: list[Path] = []

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write the file of this epoch, counted from 1 in its name."""
        if (epoch + 1) % self.every:
            return
        path = Path(self.filepath.format(epoch=epoch + 1, **(logs or {})))
        path.parent.mkdir(parents=True, exist_ok=True)
        last = self.files[-1] if self.is_chain and self.files and self.files[-1] != path else None
        words: EncodeWords = {**self.words} if last is None else {**self.words, "base": last}
        encode(self.model, path, **words)
        self.files = [*(file for file in self.files if file != path), path]
        while self.keep is not None and len(self.files) > self.keep:
            oldest = self.files.pop(0)
            if self.is_chain and self.files:
                rebase(self.files[0], self.files[0])
            oldest.unlink(missing_ok=True)
