"""`--score`: the user's own score of a model file, a number that is higher for a better model."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from wcodec.container.dtypes import to_float32
from wcodec.container.reader import is_container
from wcodec.errors import RecipeError
from wcodec.evaluation import user_code
from wcodec.model import AnyArray
from wcodec.modelfiles import open_model
from wcodec.modelfiles.shards import folder_of
from wcodec.pipeline.folder_decoder import INDEX, decode

PATH_NAMES: Final = frozenset({"path", "file", "filename", "model_path", "folder"})
"""Names of a first parameter for which the path of the file is passed."""
TORCH: Final = frozenset({".pt", ".pth", ".bin", ".ckpt"})
"""Names of PyTorch checkpoints, which are decoded to safetensors."""


@dataclass(frozen=True)
class Score:
    """The result of a scoring function. figures: all its numbers by name; value: the one that is used."""

    value: float
    figures: Mapping[str, float]


@dataclass(frozen=True)
class ScoreFunction:
    """The user's function. spec: its name for messages, or `module:function`.

    It is called with the tensors of a model file as a dict of arrays by name (bfloat16 as float32). If its first
    parameter is annotated as Path or str, or named `path`, `file` or similar, it is called with the path of the model
    file instead. It returns a number, or a dict of numbers, of which `name` selects one.
    """

    spec: str
    function: Callable[..., object]
    name: str | None = None

    @classmethod
    def named(cls, given: object, name: str | None = None) -> ScoreFunction:
        """The function `given`, or the one that it names as `module:function`.

        Raises: RecipeError if there is none.
        """
        if callable(given):
            return cls(getattr(given, "__qualname__", type(given).__name__), given, name)
        return cls(str(given), user_code.find_function(str(given)), name)

    def measure(self, path: Path, max_output: int | None = None) -> Score:
        """The score of a model file, or of a .wcz that decodes to at most `max_output` bytes, None for any number.

        Raises: RecipeError if the function fails, or returns no finite number; errors of the file.
        """
        with _unpack(path, max_output) as file:
            given: object = file if _wants_path(self.function) else _read_tensors(file)
            return self._read(user_code.run_function(self.spec, self.function, given, wanted="a score"))

    def _read(self, returned: object) -> Score:
        if isinstance(returned, Mapping):
            figures = {str(key): self._read_number(value, f"{key}: ") for key, value in returned.items()}
            known = ", ".join(figures) or "nothing"
            if self.name is None and len(figures) != 1:
                raise RecipeError(f"{self.spec}: expected --score-name to choose one of {known}")
            name = self.name if self.name is not None else next(iter(figures))
            if name not in figures:
                raise RecipeError(f"{self.spec}: expected a score named {name}, it returned {known}")
            return Score(figures[name], figures)
        if self.name is not None:
            raise RecipeError(f"{self.spec}: expected a dict with {self.name}, it returned {type(returned).__name__}")
        value = self._read_number(returned, "")
        return Score(value, {"score": value})

    def _read_number(self, value: object, what: str) -> float:
        """Raises: RecipeError if it is not one finite number."""
        expected = f"{self.spec}: {what}expected one finite number"
        if hasattr(value, "detach"):
            value = value.detach()
        try:
            array = np.asarray(value)
            number = float(array.reshape(())) if array.dtype.kind in "biuf" and array.size == 1 else None
        except (TypeError, ValueError):
            array, number = np.asarray(None), None
        if number is None:
            shape = f" of shape {array.shape}" if array.shape else ""
            raise RecipeError(f"{expected}, it returned {type(value).__name__}{shape}")
        if not math.isfinite(number):
            raise RecipeError(f"{expected}, it returned {number}")
        return number + 0.0  # not -0.0


def _wants_path(function: Callable[..., object]) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    if not parameters:
        return False
    first = parameters[0]
    named = first.annotation if isinstance(first.annotation, str) else getattr(first.annotation, "__name__", "")
    return first.name in PATH_NAMES or named.rpartition(".")[2] in ("Path", "str", "PathLike")


@contextmanager
def _unpack(path: Path, max_output: int | None) -> Iterator[Path]:
    """The model file that `path` is or contains, under its own name."""
    packed = (path / INDEX).is_file() if path.is_dir() else is_container(path)
    if not packed:
        yield path
        return
    with TemporaryDirectory(prefix="wcodec-") as folder:
        decoded = Path(folder) / path.name.removesuffix(".wcz")
        if decoded.suffix in TORCH:
            decoded = decoded.with_name(f"{decoded.name}.safetensors")
        decode(path, decoded, max_output=max_output)
        yield decoded


def _read_tensors(path: Path) -> dict[str, AnyArray]:
    """All tensors by name."""
    tensors: dict[str, AnyArray] = {}
    if folder_of(path):
        raise RecipeError(f"{path}: expected a model of one file; a score of several takes a parameter `path`")
    with open_model(path, keep_optimizer=True) as model:
        for one in model.tensors:
            values = one.read()
            tensors[one.name] = to_float32(values, one.dtype) if one.dtype == "bfloat16" else np.array(values)
    return tensors
