"""Checkpoints of a training after slimming, from which an interrupted training continues with the same result."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wcodec.errors import ModelFileError, RecipeError
from wcodec.files import PRIVATE, whole_file

Array = npt.NDArray[np.generic]
VERSION: Final = 1
LISTS: Final = ("variables", "optimizer", "best")


@dataclass(frozen=True)
class FitState:
    """The state of a training after an epoch.

    epochs:    the number of epochs made.
    loss:      of the best network so far.
    variables: of the network.
    optimizer: the variables of the optimizer.
    best:      weights of the best network.
    """

    epochs: int
    loss: float
    variables: Sequence[Array]
    optimizer: Sequence[Array]
    best: Sequence[Array]


@dataclass(frozen=True)
class StateFile:
    """The file of the state.

    settings: the settings that determine the training, as JSON values.
    kept:     bool[units] of the network that is trained; empty if it was not made from another network's units.
    """

    path: Path
    settings: Mapping[str, object]
    kept: npt.NDArray[np.bool_]

    def save(self, state: FitState) -> None:
        """Write it atomically, replacing an earlier one. Inverse: `read`."""
        story = {"version": VERSION, "settings": self.settings, "epochs": state.epochs, "loss": state.loss}
        arrays: dict[str, Array] = {"story": np.frombuffer(json.dumps(story).encode(), np.uint8), "kept": self.kept}
        for word in LISTS:
            arrays |= {f"{word}{number}": np.asarray(one) for number, one in enumerate(getattr(state, word))}
        with whole_file(self.path, mode=PRIVATE) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)


@contextmanager
def open_state(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Array]]]:
    """The metadata (JSON) and the arrays of a state file.

    Raises: ModelFileError for a damaged file, also if later reading of its contents fails.
    """
    try:
        with path.open("rb") as file:
            arrays = dict(np.load(file, allow_pickle=False))
        yield json.loads(arrays["story"].tobytes()), arrays
    except (RecipeError, MemoryError):
        raise
    except Exception as exc:  # a modified state can make numpy, zipfile and json raise anything
        raise ModelFileError(
            f"{path.name}: expected the state of a training, got {type(exc).__name__}; remove it to start again"
        ) from exc


def read(path: Path, settings: Mapping[str, object]) -> tuple[StateFile, FitState] | None:
    """The state of the training with these settings; None if there is no file. Inverse: `StateFile.save`.

    Raises: RecipeError if the file belongs to another training; ModelFileError if it is damaged.
    """
    if not path.exists():
        return None
    with open_state(path) as (story, arrays):
        if story["version"] != VERSION:
            raise RecipeError(f"{path.name}: expected the state of a training by this version of wcodec; remove it")
        for word, value in json.loads(json.dumps(settings)).items():
            if story["settings"].get(word) != value:
                got = story["settings"].get(word)
                raise RecipeError(f"--resume: expected {word.replace('_', ' ')} {got} as it began, got {value}")
        now, inner, best = (
            [arrays[f"{word}{n}"] for n in range(sum(key.startswith(word) for key in arrays))] for word in LISTS
        )
        state = FitState(int(story["epochs"]), float(story["loss"]), now, inner, best)
        return StateFile(path, settings, arrays["kept"].astype(bool)), state
