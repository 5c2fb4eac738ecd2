"""Re-encoding of a .wcz by itself or against another base. Its decoded contents stay the same."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from wcodec.errors import RecipeError
from wcodec.model import Progress
from wcodec.pipeline.decoder import decode
from wcodec.pipeline.encoder import Encoded, encode
from wcodec.pipeline.folder_decoder import index_of
from wcodec.planning.recipe import Options, Recipe


def rebase(
    source: Path,
    target: Path,
    *,
    base: Path | None = None,
    onto: Path | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> Encoded:
    """Write `target`, a .wcz of the decoded contents of `source`, byte for byte; it may be `source` itself.

    Files that are coded against a lossless `source` can be decoded with `target` as well. The values of a lossy one are
    kept exactly, which takes more bytes.
    base: of `source`, or a folder with it, see `decoder.decode`.
    onto: the base of `target`; None makes it self-contained.
    Raises: RecipeError if a base is missing, and for a folder; ContainerError and its kinds; OSError.
    """
    if index_of(source):
        raise RecipeError(f"{source}: expected one .wcz file to encode again, got a folder of them")
    with TemporaryDirectory(prefix="wcodec-") as folder:
        plain = Path(folder) / "plain"
        decode(source, plain, base=base, threads=threads)
        recipe = Recipe(options=Options(lossless=True))
        return encode(plain, target, recipe, base=onto, threads=threads, progress=progress)
