"""Whether data certainly have no labels, by names alone, before a framework is imported."""

from __future__ import annotations

from pathlib import Path

from wcodec.errors import RecipeError
from wcodec.evaluation.datasets import NPZ, open_npz


def is_unlabelled(spec: object) -> bool:
    """True for an `.npz` without arrays y of the split, and for a folder of images without sub-folders.

    False if only reading the data can decide, or if they do not exist; `load_examples` then raises the error.
    """
    if not isinstance(spec, str | Path):
        return False
    if str(spec) and Path(spec).is_dir():
        return not any(one.is_dir() for one in Path(spec).iterdir())
    found = NPZ.fullmatch(str(spec))
    if not found or not Path(found["path"]).is_file():
        return False
    try:
        with open_npz(Path(found["path"])) as archive:
            labels = [name for name in archive if name.startswith("y")]
    except RecipeError:
        return False
    split = found["split"]
    return not any(split is None or f"_{split}" in name for name in labels)
