"""`--data`: examples from the place that the user names, fitted to the network.

- D.npz: x (x0, x1 or x_<input> for several inputs) and, for labels, y (y0, y1 or y_<output> for several)
- D.npz:test: x_test and y_test (x0_test, x_<input>_test, ...), as in Keras' own files; likewise with any other word
- folder: images, with one sub-folder for each class (sorted: 0, 1, ...), or images alone, without labels
- module:function: arrays, or batches of them (generator, tf.data, PyDataset); the user's own code is run
- in Python, the return values of such a function: arrays, (x, y), tf.data, PyDataset, a DataLoader of torch
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from wcodec.errors import RecipeError
from wcodec.evaluation import image_folder as images
from wcodec.evaluation import user_code
from wcodec.evaluation.batches import FEW, ONE_OUTPUT, FindOutputs, Names, gather
from wcodec.evaluation.examples import Array, Examples, ModelInput, RawExamples, fit_examples
from wcodec.modelfiles.zip_members import ZIP_ERRORS

NPZ = re.compile(r"(?P<path>.+\.npz)(:(?P<split>\w+))?", re.IGNORECASE)


def load_examples(
    spec: object,
    wanted: Sequence[ModelInput],
    outputs: Sequence[Names] | FindOutputs = ONE_OUTPUT,
    *,
    rescale: float | None = None,
    limit: int | None = None,
    split: str = "test",
) -> Examples:
    """The examples that `spec` names, for a network with inputs `wanted`.

    outputs: the names of each output, which its labels may have, or a function that finds them.
    rescale: a factor for the inputs; None divides uint8 by 255 and leaves other numbers unchanged.
    limit:   the largest number of examples, spread evenly (of a stream: the first).
    split:   of an .npz file with several, where `spec` names none: "test" to measure on, "train" to fit to.
    Raises: RecipeError with the place, what was expected and what was found.
    """
    if limit is not None and limit < 1:
        raise RecipeError(f"--limit: expected 1 or more, got {limit}")
    wants = tuple(wanted)
    known = _fit_before(outputs, wants, rescale) if callable(outputs) else tuple(outputs)
    if isinstance(spec, str | Path):
        found = _read(str(spec), wants, known, limit, split)
    else:
        found = gather("data", spec, wants, limit, known)
    return fit_examples(found, wants, rescale, limit)


def _fit_before(find: FindOutputs, wanted: tuple[ModelInput, ...], rescale: float | None) -> FindOutputs:
    """A function that fits a few of the examples to the network before it calls `find`, once for all batches."""
    found: list[tuple[Names, ...]] = []

    def fit_and_find(inputs: tuple[Array, ...]) -> tuple[Names, ...]:
        if not found and len(inputs) == len(wanted) and all(map(len, inputs)):
            names = tuple(want.name for want in wanted)
            few = tuple(one[np.minimum(np.arange(FEW), len(one) - 1)] for one in inputs)
            found.append(find(fit_examples(RawExamples("data", names, few), wanted, rescale, None).inputs))
        return found[0] if found else ONE_OUTPUT

    return fit_and_find


def load_split(
    spec: object,
    validation: object,
    wanted: Sequence[ModelInput],
    outputs: Sequence[Names] | FindOutputs = ONE_OUTPUT,
    *,
    rescale: float | None = None,
    limit: int | None = None,
) -> tuple[Examples, Examples | None]:
    """The examples to fit weights to, and the validation examples that `validation` names; None if it names none.

    Where no split is named, the first are the split "train", and the others "test".
    limit: of the first. Raises: RecipeError, also if only the first have labels.
    """
    examples = load_examples(spec, wanted, outputs, rescale=rescale, limit=limit, split="train")
    if validation is None:
        return examples, None
    try:
        others = load_examples(validation, wanted, outputs, rescale=rescale)
    except RecipeError as error:
        raise RecipeError(f"--validation: {str(error).removeprefix('--data ')}") from error
    if examples.is_labelled and not others.is_labelled:
        raise RecipeError("--validation: expected labels (y), as --data has them, found none")
    return examples, others


def check_spec(spec: object, word: str = "--data") -> None:
    """Refuse data that cannot be read, before any network is loaded. word: the option that names them.

    Raises: RecipeError if a text names neither an existing file with the split, nor a folder, nor a function.
    """
    if not isinstance(spec, str | Path) or (str(spec) and Path(spec).is_dir()):
        return
    if npz := NPZ.fullmatch(str(spec)):
        if not Path(npz["path"]).is_file():
            raise RecipeError(f"{word} {npz['path']}: expected a file, found none")
        with open_npz(path := Path(npz["path"])) as archive:
            split = npz["split"]
            if split and not any(re.fullmatch(rf"x(\d*|_.+)_{split}", key) for key in archive):
                found = ", ".join(archive) or "nothing"
                several = f"x0_{split}, x1_{split} or x_NAME_{split}"
                raise RecipeError(f"{path.name}: expected x_{split}, found {found} (of several inputs: {several})")
    elif not user_code.is_function_name(str(spec)):
        raise RecipeError(f"{word} {spec}: expected FILE.npz, FILE.npz:test, an image folder or module:function")


def _read(
    spec: str, wanted: tuple[ModelInput, ...], outputs: tuple[Names, ...] | FindOutputs, limit: int | None, split: str
) -> RawExamples:
    check_spec(spec)
    if Path(spec).is_dir():
        return images.read(Path(spec), wanted, limit)
    if npz := NPZ.fullmatch(spec):
        return _read_npz(Path(npz["path"]), npz["split"], split, wanted, outputs)
    return gather(spec, user_code.call_function(spec), wanted, limit, outputs)


def _read_npz(
    path: Path, split: str | None, default: str, wanted: tuple[ModelInput, ...], known: tuple[Names, ...] | FindOutputs
) -> RawExamples:
    """The arrays of one split. Objects are never unpickled."""
    with open_npz(path) as archive:
        keys = list(archive)
        inputs, ending, notes = _choose_inputs(path.name, keys, split, default, wanted)
        arrays = tuple(_check_array(path.name, name, archive[name]) for name in inputs)
        outputs = known if isinstance(known, tuple) else known(arrays)
        labels = _choose_labels(keys, ending, outputs)
        notes += tuple(_describe_labels(path.name, keys, {*inputs, *labels}, ending, outputs))
        found = tuple(_check_array(path.name, name, archive[name]) if name else None for name in labels)
        return RawExamples(path.name, inputs, arrays, found, notes)


@contextmanager
def open_npz(path: Path) -> Iterator[Mapping[str, Array]]:
    """The arrays of an `.npz` file by name. Each is read when it is looked up in the block; nothing is unpickled.

    Raises: RecipeError if the file is not an archive of arrays, or if an array cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(6)
            if not head.startswith((b"PK", b"\x93NUMPY")):
                raise RecipeError(f"{path.name}: expected an .npz archive of plain arrays, got bytes {head.hex(' ')}")
            file.seek(0)
            archive: Mapping[str, Array] = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("a single array")
            yield archive
    except (FileNotFoundError, IsADirectoryError) as exc:
        got = "a folder" if path.is_dir() else "none"
        raise RecipeError(f"{path}: expected an .npz file, found {got}") from exc
    except (*ZIP_ERRORS, TypeError, AttributeError, MemoryError) as exc:
        why = "objects, which are never unpickled" if "bject" in str(exc) else f"{type(exc).__name__}: {exc}"
        raise RecipeError(f"{path.name}: expected an .npz archive of plain arrays, got {why}") from exc


def _check_array(where: str, name: str, array: Array) -> Array:
    if array.ndim == 0:
        raise RecipeError(f"{where}: {name}: expected an array with examples first, got a single number")
    return array


def _choose_inputs(
    where: str, keys: list[str], split: str | None, default: str, wanted: tuple[ModelInput, ...]
) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """The keys of the inputs, their suffix, which the labels share ("" or "_test"), and notes on assumptions."""
    several = [[f"x{i}" for i in range(len(wanted))], [f"x_{want.name}" for want in wanted]]
    named = f"_{default if split is None else split}"
    notes: tuple[str, ...] = (f"{where}: no split named, took {default}",) if split is None else ()
    options: list[tuple[tuple[str, ...], str, tuple[str, ...]]] = []
    if split is None:
        options = [(("x",), "", ()), *((tuple(names), "", ()) for names in several)]
    options.append(((f"x{named}",), named, notes))
    if len(wanted) > 1:
        options += [(tuple(f"{name}{named}" for name in names), named, notes) for names in several]
    for names, ending, notes in options:
        if len(names) == len(wanted) and set(names) <= set(keys):
            return names, ending, notes
    expected = " or ".join("+".join(names) for names, _, _ in options if len(names) == len(wanted)) or "one input"
    raise RecipeError(f"{where}: expected {expected}, found {', '.join(keys) or 'nothing'}")


def _choose_labels(keys: list[str], ending: str, outputs: tuple[Names, ...]) -> tuple[str | None, ...]:
    """The key of the labels of each output: y_<output>, y0, y1, ..., or y, which belongs to the first output."""
    chosen: list[str | None] = []
    for number, names in enumerate(outputs):
        known = [f"y_{name}" for name in names] + [f"y{number}"]
        several = [place for name in known for place in (f"{name}{ending}", f"y{ending}_{name[2:]}")]
        candidates = several if number else [*several, f"y{ending}"]
        chosen.append(next((name for name in candidates if name in keys), None))
    return tuple(chosen)


SPLIT = re.compile(r"[xy]\d*(?:_.+)?_([^\W_]+)")
"""A key of a split, with its last word."""


def _describe_labels(
    where: str, keys: list[str], used: set[str | None], ending: str, outputs: tuple[Names, ...]
) -> Iterator[str]:
    """Notes: the output to which ambiguous labels belong, and unused arrays (without those of other splits)."""
    if len(outputs) > 1 and f"y{ending}" in used:
        yield f"{where}: y{ending} are labels of the first output, {outputs[0][0]}"
    splits = {word[1] for key in keys if (word := SPLIT.fullmatch(key)) and key[0] == "x" and key not in used}
    splits -= {ending.rpartition("_")[2]}
    others = [key for key in keys if key not in used and not ((at := SPLIT.fullmatch(key)) and at[1] in splits)]
    if others:
        yield f"{where}: not used: {', '.join(others)}"
