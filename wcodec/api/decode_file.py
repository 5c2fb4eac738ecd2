"""Decoding of one .wcz to a Keras model that is not the encoded one: with integer layers, or without dead units."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wcodec.errors import RecipeError

if TYPE_CHECKING:
    from wcodec.evaluation.integer_layers import IntegerType

COMPACTED: Final = (".keras", ".h5")
"""Files that hold a whole Keras model."""


def decode_to_integers(
    source: Path,
    target: Path,
    as_: IntegerType,
    *,
    base: Path | None = None,
    max_output: int | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> int:
    """Write a Keras model whose layers have the integers of the file; return its bytes.

    Raises: RecipeError if it cannot be written as one .keras file; ModelFileError, UnsupportedError, OSError.
    """
    from wcodec.evaluation.model_loader import load_model
    from wcodec.structure.output import write_network

    if target.suffix != ".keras":
        raise RecipeError(f"{target}: expected .keras, which has the integer layers of --as {as_}")
    return write_network(load_model(source, as_=as_, base=base, max_output=max_output, log=log), target, source)


def decode_compacted(
    source: Path, target: Path, kind: str, *, base: Path | None, max_output: int | None, threads: int
) -> tuple[int, int]:
    """Write the network without its dead units; return the number of removed and of removable units.

    kind: the suffix of the encoded model.
    Raises: RecipeError if the file has no network, or if the output is not a model file.
    """
    from tempfile import TemporaryDirectory

    from wcodec.pipeline.decoder import decode
    from wcodec.structure.output import compact_file

    if kind not in COMPACTED or target.suffix not in COMPACTED:
        raise RecipeError(
            f"--compact: expected a Keras model to .keras or .h5, got {kind or 'a file'} to {target.name}"
        )
    with TemporaryDirectory(prefix="wcodec-") as folder:
        whole = Path(folder) / f"model{kind}"
        decode(source, whole, base=base, max_output=max_output, threads=threads)
        return compact_file(whole, target)
