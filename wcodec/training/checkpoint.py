"""Checkpoints: the state of a training in a file, from which an interrupted training continues with the same result."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Final, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Array
from wcodec.files import PRIVATE, whole_file
from wcodec.structure.training_state import open_state

State = TypeVar("State")
VERSION: Final = 7


@dataclass(frozen=True)
class RunSettings:
    """The settings that determine the course of a training. A training is resumed only with the same ones."""

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
    """Write a state (a dataclass of numbers and arrays) atomically, replacing an earlier one. Inverse: `read`."""
    arrays: dict[str, Array] = {}
    story = {"version": VERSION, "settings": asdict(settings), "state": _pack(state, arrays)}
    arrays["story"] = np.frombuffer(json.dumps(story).encode(), np.uint8)
    with whole_file(path, mode=PRIVATE) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read(path: Path, settings: RunSettings, kind: type[State]) -> State | None:
    """Read the state, of type `kind`, of a training with these settings; None if there is no file. Inverse: `save`.

    Raises: RecipeError if the file belongs to another training; ModelFileError if it is damaged.
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
    """Convert dataclasses, tuples and numbers to JSON; arrays are appended to `arrays`. Inverse: `_unpack`."""
    if isinstance(value, np.ndarray):
        arrays[name := f"array{len(arrays)}"] = _use_small_type(value)
        return name
    if is_dataclass(value):
        return {one.name: _pack(getattr(value, one.name), arrays) for one in fields(value)}
    return [_pack(one, arrays) for one in value] if isinstance(value, tuple) else value


def _unpack(kind: object, value: object, arrays: dict[str, Array]) -> object:
    """Build a value of type `kind` from JSON. Raises: any Python error that a value of another type causes."""
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
    if kind not in (bool, int, float) or not isinstance(value, int | float):
        raise TypeError(kind)
    return kind(value)


def _use_small_type(values: Array) -> Array:
    """Integers in the smallest type that holds them; floats unchanged."""
    if values.dtype.kind != "i":
        return values
    most = int(np.abs(values).max(initial=0))
    return values.astype(np.int8 if most < 1 << 7 else np.int16 if most < 1 << 15 else np.int32)
