"""Writing of a network to a file, atomically: a model file that Keras loads, or a .wcz of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from wcodec.errors import RecipeError
from wcodec.evaluation.keras_backend import silence_keras
from wcodec.evaluation.model_loader import load_model
from wcodec.evaluation.model_saver import save_model
from wcodec.files import whole_file
from wcodec.pipeline.encoder import encode
from wcodec.planning.parsing import parse_recipe
from wcodec.structure.compaction import compact

if TYPE_CHECKING:
    from keras import Model

SUFFIXES: Final = (".keras", ".h5", ".wcz")
"""Suffixes of files to which networks are written."""


def write_network(model: Model, target: Path, source: Path | None = None) -> int:
    """Write a .keras or .h5 file, or a .wcz of a .keras file, and return its size in bytes.

    source: the file whose permissions a new file gets.

    Raises: RecipeError for another suffix; OSError.
    """
    if target.suffix not in SUFFIXES:
        raise RecipeError(f"{target}: expected a name that ends in {', '.join(SUFFIXES)}, got {target.suffix}")
    with TemporaryDirectory(prefix="wcodec-") as folder:
        plain = Path(folder) / f"model{'.keras' if target.suffix == '.wcz' else target.suffix}"
        if plain.suffix == ".keras":
            save_model(model, Path(folder))
        else:
            with silence_keras():
                model.save(plain)
        with whole_file(target, source) as temporary:
            if target.suffix == ".wcz":
                encode(plain, temporary, parse_recipe({}))
            else:
                shutil.copyfile(plain, temporary)
    return target.stat().st_size


def compact_file(source: Path, target: Path, *, imports: Sequence[str] = (), unsafe: bool = False) -> tuple[int, int]:
    """Write the network in `source` without its dead units. Returns the number of removed and of removable units.

    Raises: RecipeError, ModelFileError, UnsupportedError; errors of the container.
    """
    found = compact(load_model(source, imports=imports, unsafe=unsafe))
    write_network(found.model, target, source)
    return found.removed, found.removable
