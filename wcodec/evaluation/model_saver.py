"""Saving of a Keras model in memory to a file, with the same bytes every time."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wcodec.errors import ModelFileError
from wcodec.evaluation.keras_backend import keras, silence_keras

if TYPE_CHECKING:
    from keras import Model

METADATA: Final = "metadata.json"
EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def save_model(model: Model, folder: Path) -> Path:
    """Write a `.keras` file without the dates that Keras puts into it, and return its path.

    Raises: ModelFileError if Keras cannot save the model.
    """
    keras()
    saved, target = folder / "saved.keras", folder / "model.keras"
    try:
        with silence_keras():
            model.save(str(saved))
    except Exception as error:
        words = " ".join(str(error).split())[:200]
        raise ModelFileError(f"model: expected one that Keras can save, got {type(error).__name__}: {words}") from error
    with zipfile.ZipFile(saved) as before, zipfile.ZipFile(target, "w") as after:
        for member in before.infolist():
            content = before.read(member)
            if member.filename == METADATA:
                facts = json.loads(content) | {"date_saved": ""}
                content = json.dumps(facts).encode()
            after.writestr(zipfile.ZipInfo(member.filename, EPOCH), content, member.compress_type)
    saved.unlink()
    return target
