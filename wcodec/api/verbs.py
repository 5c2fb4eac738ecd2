"""The verbs in Python. Paths may be texts; files appear whole or not at all, over what was there.

What is written replaces a file of that name without a question, as `numpy.save` does; only the command asks for -f. A
source or a base that is missing is FileNotFoundError.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from wcodec.api.paths import StrPath, found_path, maybe_path, refuse_same
from wcodec.api.words import Words
from wcodec.reporting.inspection import Inspection

if TYPE_CHECKING:
    from concurrent.futures import Executor


def encode(
    source: StrPath,
    target: StrPath,
    *,
    base: StrPath | None = None,
    threads: int = 0,
    executor: Executor | None = None,
    **words: Unpack[Words],
) -> Inspection:
    """Write the .wcz `target` of a model file and return its numbers. Inverse: `decode`.

    A model of several files (a folder, an index of shards) becomes a folder of .wcz files.
    base:     an earlier version of the file; what is the same takes no bytes, and decoding needs it.
    executor: encodes them: a pool of threads or processes, or `dask.distributed.Client(...).get_executor()`, whose
              workers open the files themselves.

    >>> encode("model.h5", "model.wcz", bits=4, sparsity=0.9, set={"dense_1": {"bits": 8}})  # doctest: +SKIP

    Raises: RecipeError, ModelFileError, BudgetError, OSError; WcodecError where `target` is what is read.
    """
    from wcodec.pipeline.folder_encoder import encode_any as story
    from wcodec.planning.parsing import parse_recipe
    from wcodec.reporting.inspection import inspect as numbers

    recipe = parse_recipe(words)
    there, earlier = found_path(source), maybe_path(base)
    refuse_same(Path(target), there, earlier)
    story(there, Path(target), recipe, base=earlier, threads=threads, executor=executor)
    return numbers(Path(target))


def decode(
    source: StrPath,
    target: StrPath,
    *,
    base: StrPath | None = None,
    max_output: int | str | None = None,
    threads: int = 0,
) -> None:
    """Write the model file that a .wcz holds. Inverse: `encode`.

    max_output: the most bytes that it may decode to, 10**9 or "1GB", for files of unknown origin; `UnsupportedError`
                refuses what is larger before anything large is allocated.
    Raises: ContainerError and its kinds, OSError; WcodecError where `target` is what is read.
    """
    from wcodec.pipeline.folder_decoder import decode as story
    from wcodec.planning.run_options import parse_limit

    there, earlier = found_path(source), maybe_path(base)
    refuse_same(Path(target), there, earlier)
    story(there, Path(target), base=earlier, max_output=parse_limit(max_output), threads=threads)


def verify(
    source: StrPath, *, base: StrPath | None = None, max_output: int | str | None = None, threads: int = 0
) -> None:
    """Decode everything and check every checksum.

    max_output: as in `decode`.
    Raises: ContainerError and its kinds.
    """
    from wcodec.pipeline.folder_decoder import verify as story
    from wcodec.planning.run_options import parse_limit

    story(found_path(source), base=maybe_path(base), max_output=parse_limit(max_output), threads=threads)


def inspect(source: StrPath) -> Inspection:
    """Where the bytes of a .wcz or a model file go.

    Raises: ContainerError and its kinds, ModelFileError.
    """
    from wcodec.reporting.inspection import inspect as numbers

    return numbers(found_path(source))
