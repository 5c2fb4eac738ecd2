"""The state of a training in a file: after a kill it goes on as if nothing had happened."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Final, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Array
from wcodec.files import whole_file
from wcodec.structure.training_state import open_state

State = TypeVar("State")
VERSION: Final = 6


@dataclass(frozen=True)
class RunSettings:
    """What must be the same for a training to go on: all that its course follows from."""

    source: str
    data: str
    validation: str | None
    epochs: int
    max_drop: float | None
    max_loss: float | None
    target_bytes: float | None
    augment: str | None
    seed: int
    limit: int | None
    rescale: float | None
    excluded: list[str]
    methods: str = ""


def save(path: Path, state: object, settings: RunSettings) -> None:
    """Write a state, a dataclass of numbers and arrays, whole or not at all, over what was there. Inverse: `read`."""
    arrays: dict[str, Array] = {}
    story = {"version": VERSION, "settings": asdict(settings), "state": _pack(state, arrays)}
    arrays["story"] = np.frombuffer(json.dumps(story).encode(), np.uint8)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read(path: Path, settings: RunSettings, kind: type[State]) -> State | None:
    """The state, of type `kind`, of the training of `settings`; None where there is no file. Inverse: `save`.

    Raises: RecipeError where the file is of another training; ModelFileError where it is damaged.
    """
    if not path.exists():
        return None
    with open_state(path) as (story, arrays):
        known = story["settings"] if story["version"] == VERSION else {}
        if known.keys() != asdict(settings).keys():
            raise RecipeError(f"{path.name}: expected the state of a training by this version of wcodec; remove it")
        for word, value in asdict(settings).items():
            if known[word] != value:
                raise RecipeError(f"--resume: expected {word.replace('_', ' ')} {known[word]} as it began, got {value}")
        state = _unpack(kind, story["state"], arrays)
        return state if isinstance(state, kind) else None


def _pack(value: object, arrays: dict[str, Array]) -> object:
    """What JSON holds of dataclasses, tuples and numbers; arrays go among `arrays`. Inverse: `_unpack`."""
    if isinstance(value, np.ndarray):
        arrays[name := f"array{len(arrays)}"] = _narrow(value)
        return name
    if is_dataclass(value):
        return {one.name: _pack(getattr(value, one.name), arrays) for one in fields(value)}
    return [_pack(one, arrays) for one in value] if isinstance(value, tuple) else value


def _unpack(kind: object, value: object, arrays: dict[str, Array]) -> object:
    """A value of a type. Raises: what a value of another type makes Python raise. Inverse: `_pack`."""
    origin, inner = get_origin(kind), get_args(kind)
    if type(None) in inner:
        return None if value is None else _unpack(inner[0], value, arrays)
    if origin is np.ndarray and isinstance(value, str):
        return arrays[value].astype(get_args(inner[1])[0])
    if origin is tuple and isinstance(value, list):
        kinds = inner[:1] * len(value) if inner[1] is ... else inner
        return tuple(_unpack(one, each, arrays) for one, each in zip(kinds, value, strict=True))
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        hints = get_type_hints(kind)
        return kind(**{one.name: _unpack(hints[one.name], value[one.name], arrays) for one in fields(kind)})
    if kind not in (int, float) or not isinstance(value, int | float):
        raise TypeError(kind)
    return kind(value)


def _narrow(values: Array) -> Array:
    """Integers in as few bytes as hold them; floats as they are."""
    if values.dtype.kind != "i":
        return values
    most = int(np.abs(values).max(initial=0))
    return values.astype(np.int8 if most < 1 << 7 else np.int16 if most < 1 << 15 else np.int32)
