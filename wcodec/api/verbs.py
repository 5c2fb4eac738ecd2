"""The verbs in Python. Files are written atomically.

A file of the target's name is replaced, as by `numpy.save`; `force=False` refuses to, as the command does. A missing
source or base is FileNotFoundError.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack, overload

from wcodec.api.paths import StrPath, check_path, maybe_path, require_path
from wcodec.api.progress import make_listeners
from wcodec.api.request import check_request, parse_request
from wcodec.api.sources import Coded, Source, Target, TorchModule, open_source, open_target, refuse_existing
from wcodec.api.words import EncodeWords, RequestWords, document, python_spelling, refuse_unknown
from wcodec.errors import RecipeError
from wcodec.model.dataclass import replace
from wcodec.reporting.inspection import Inspection

if TYPE_CHECKING:
    from wcodec.evaluation.integer_layers import IntegerType


@overload
def encode(source: Source, target: None = None, *, dry_run: Literal[False] = False,
           **words: Unpack[EncodeWords]) -> bytes: ...  # fmt: skip


@overload
def encode(source: Source, target: Target, *, dry_run: Literal[False] = False,
           **words: Unpack[EncodeWords]) -> Inspection: ...  # fmt: skip


@overload
def encode(source: Source, target: Target | None = None, *, dry_run: Literal[True],
           **words: Unpack[EncodeWords]) -> Inspection: ...  # fmt: skip


@document
def encode(
    source: Source, target: Target | None = None, *, dry_run: bool = False, **words: Unpack[EncodeWords]
) -> Inspection | bytes:
    """Write the .wcz of a model and return its numbers; without a target return its bytes. Inverse: `decode`.

    source:  the path of a model file or folder, the bytes of a file, a binary file, a Keras model, a ModelProto of
             ONNX, an `nn.Module` (its state_dict is coded), or arrays by name (of numpy, with the types of ml_dtypes,
             or tensors of PyTorch: a state_dict).
    target:  a path, or a binary file. A model of several files (a folder, an index of shards) needs a path, which
             becomes a folder of .wcz files.
    dry_run: return the numbers and write nothing.

    An `nn.Module` is also the `model` that `data` goes through, unless another is given.
    `data` takes what --data does, arrays, (x, y), a tf.data.Dataset, a keras.utils.PyDataset, or a DataLoader of torch.

    >>> encode("model.h5", "model.wcz", bits=4, sparsity=0.9, set={"dense_1": {"bits": 8}})  # doctest: +SKIP
    >>> encode("model.keras", "model.wcz", data=(x, y), max_drop=0.5)  # doctest: +SKIP

    Raises: RecipeError, ModelFileError, BudgetError, OSError; WcodecError where `target` is what is read, or exists
    with `force=False`.
    """
    with python_spelling(), open_source(source) as path:
        if isinstance(source, TorchModule) and words.get("data") is not None:
            words.setdefault("model", source)
        return _encode(path, target, dry_run, words)


def _encode(source: Path, target: Target | None, dry_run: bool, words: EncodeWords) -> Inspection | bytes:
    from wcodec.api.encode_file import encode_file
    from wcodec.modelfiles.shards import folder_of
    from wcodec.planning.parsing import parse_recipe

    refuse_unknown(words)
    given: dict[str, object] = {**words}
    config, report = maybe_path(words.get("config"), "config"), words.get("report")
    force, executor = words.get("force", True), words.get("executor")
    for word in ("config", "report", "force", "executor", "progress"):
        given.pop(word, None)
    run = {word: given.pop(word) for word in RequestWords.__annotations__ if word in given}
    recipe = parse_recipe(given, config)
    request = replace(parse_request(run, make_listeners(words.get("progress", False))), executor=executor)
    maybe_path(request.base)
    if executor is not None and not hasattr(executor, "submit"):
        raise RecipeError(f"executor: expected one as in concurrent.futures, got {type(executor).__name__}")
    folder = folder_of(source, recipe.is_whole)
    check_request(request, recipe, source, folder is not None)
    if report is not None:
        refuse_existing(check_path(report, "report"), force)
    if folder is not None and report is not None:
        raise RecipeError(f"{source}: expected a single file with report, got a model of several files")
    if folder is not None and not dry_run and not isinstance(target, str | Path) and not hasattr(target, "__fspath__"):
        raise RecipeError(f"{source}: expected a path to write a model of several files to, got none")
    with open_target(None if dry_run else target, force or request.family, source, request.base) as made:
        result = encode_file(
            source, made, recipe, request, folder=folder, report=None if report is None else Path(report)
        )
        return made.read_bytes() if target is None and not dry_run else result.inspection


@overload
def decode(source: Coded, target: None = None, *, base: StrPath | None = None, max_output: int | str | None = None,
           threads: int = 0, force: bool = True, compact: bool = False,
           as_: IntegerType | None = None) -> bytes: ...  # fmt: skip


@overload
def decode(source: Coded, target: Target, *, base: StrPath | None = None, max_output: int | str | None = None,
           threads: int = 0, force: bool = True, compact: bool = False,
           as_: IntegerType | None = None) -> None: ...  # fmt: skip


def decode(
    source: Coded,
    target: Target | None = None,
    *,
    base: StrPath | None = None,
    max_output: int | str | None = None,
    threads: int = 0,
    force: bool = True,
    compact: bool = False,
    as_: IntegerType | None = None,
) -> bytes | None:
    """Write the model file of a .wcz; without a target return its bytes. Inverse: `encode`.

    base:       the file against which `source` was encoded.
    max_output: the largest size that is decoded, 10**9 or "1GB".
    compact:    leave out dead units of a Keras model (needs Keras).
    as_:        "int8" or "int4": a .keras file with the integer layers that Keras has (needs Keras).
    Raises: RecipeError where `target` names another kind of model file; ContainerError and its kinds, OSError.
    """
    from wcodec.api.decode_file import decode_compacted, decode_to_integers
    from wcodec.pipeline.decoded_suffix import decoded_kind, refuse_wrong_suffix
    from wcodec.pipeline.folder_decoder import decode as story
    from wcodec.pipeline.folder_decoder import index_of
    from wcodec.planning.option_values import parse_limit, parse_threads

    earlier, limit, threads = maybe_path(base), parse_limit(max_output), parse_threads("threads", threads)
    if as_ and compact:
        raise RecipeError("as_: expected one file to decode to .keras, got compact too")
    with python_spelling(), open_source(source, unknown=".wcz") as path:
        is_folder = index_of(path) is not None
        if is_folder and target is None:
            raise RecipeError(f"{path}: expected a path to write a model of several files to, got none")
        if is_folder and (as_ or compact):
            raise RecipeError(f"{'as_' if as_ else 'compact'}: expected one file to decode, got a folder")
        kind, exact = ("", False) if is_folder else decoded_kind(path, limit)
        if isinstance(target, str | PathLike) and not (is_folder or as_):
            refuse_wrong_suffix(path, check_path(target, "target"), kind, exact=exact)
        with open_target(target, force, path, earlier, suffix=".keras" if as_ else kind) as made:
            if as_:
                decode_to_integers(path, made, as_, base=earlier, max_output=limit)
            elif compact:
                decode_compacted(path, made, kind, base=earlier, max_output=limit, threads=threads)
            else:
                story(path, made, base=earlier, max_output=limit, threads=threads)
            return made.read_bytes() if target is None else None


def verify(
    source: Coded, *, base: StrPath | None = None, max_output: int | str | None = None, threads: int = 0
) -> None:
    """Decode everything and check every checksum.

    max_output: as in `decode`.
    Raises: ContainerError and its kinds.
    """
    from wcodec.pipeline.folder_decoder import verify as story
    from wcodec.planning.option_values import parse_limit, parse_threads

    earlier, limit, threads = maybe_path(base), parse_limit(max_output), parse_threads("threads", threads)
    with open_source(source, unknown=".wcz") as path:
        story(path, base=earlier, max_output=limit, threads=threads)


def inspect(source: Source, *, max_output: int | str | None = None) -> Inspection:
    """The use of the bytes of a .wcz or a model.

    max_output: as in `decode`.
    Raises: ContainerError and its kinds, ModelFileError.
    """
    from wcodec.planning.option_values import parse_limit
    from wcodec.reporting.inspection import inspect as numbers

    with open_source(source, unknown=".wcz") as path:
        return numbers(path, parse_limit(max_output))


def rebase(
    source: StrPath, target: StrPath, *, base: StrPath | None = None, onto: StrPath | None = None, threads: int = 0,
    force: bool = True,
) -> Inspection:  # fmt: skip
    """Write a .wcz of the decoded contents of `source`, without a base or with the base `onto`; it may be `source`
    itself.

    base: of `source`, or a folder with it; a .wcz in the same folder is found. Files that are coded against a lossless
          `source` can be decoded with `target` as well.
    Raises: RecipeError if a base is missing; ContainerError and its kinds, OSError.
    """
    from wcodec.pipeline.rebase import rebase as story
    from wcodec.planning.option_values import parse_threads
    from wcodec.reporting.inspection import inspect as numbers

    read, made = require_path(source), check_path(target, "target")
    refuse_existing(made, force)
    threads = parse_threads("threads", threads)
    story(read, made, base=maybe_path(base), onto=maybe_path(onto, "onto"), threads=threads)
    return numbers(Path(target))
