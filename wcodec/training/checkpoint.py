"""Where a training stands, in a file: after a kill it goes on as if nothing had happened."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypedDict

import numpy as np
import numpy.typing as npt

from wcodec.errors import ModelFileError, RecipeError
from wcodec.evaluation.examples import Array
from wcodec.files import whole_file
from wcodec.training.candidate import Net, Rounded
from wcodec.training.qat_state import Frame
from wcodec.training.training_loop import Place, Standing

VERSION: Final = 3
DIGITS: Final = 6


@dataclass(frozen=True)
class Facts:
    """What must be the same for a training to go on: all that its course follows from."""

    source: str
    data: str
    epochs: int
    max_drop: float | None
    target_bytes: int | None
    seed: int
    limit: int | None
    rescale: float | None
    excluded: list[str]


def save(path: Path, standing: Standing, facts: Facts) -> None:
    """Write it whole or not at all, over what was there. Inverse: `read`."""
    arrays: dict[str, Array] = {}
    places = [standing.place, *([standing.inside] if standing.inside else [])]
    for number, place in enumerate(places):
        _put_place(arrays, f"place{number}", place)
    nets = standing.found
    for number, net in enumerate(nets):
        for one in net.rounded:
            arrays[f"net{number}/levels/{one.index}"] = _narrow(one.levels)
        for index, values in net.others:
            arrays[f"net{number}/others/{index}"] = values
    story: _Story = {
        "version": VERSION,
        "facts": asdict(facts),
        "done": standing.done,
        "over": standing.over,
        "size": standing.size,
        "prices": [place.price for place in places],
        "sizes": [place.bytes for place in places],
        "counts": [place.learner.count for place in places],
        "outside": standing.outside,
        "idle": standing.idle,
        "nets": [
            {"steps": [one.step for one in net.rounded], "bytes": net.bytes, "accuracy": net.accuracy, "loss": net.loss}
            for net in nets
        ],
    }
    arrays["story"] = np.frombuffer(json.dumps(story).encode(), np.uint8)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read(path: Path, facts: Facts) -> Standing | None:
    """Where the training of `facts` stood; None where there is no file. Inverse: `save`.

    Raises: RecipeError where the file is of another training; ModelFileError where it is damaged.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file:
            arrays = dict(np.load(file, allow_pickle=False))
        story: _Story = json.loads(arrays["story"].tobytes())
        known = story["facts"]
        if story["version"] != VERSION or known.keys() != asdict(facts).keys():
            raise RecipeError(f"{path.name}: expected the state of a training by this version of wcodec; remove it")
        for word, value in asdict(facts).items():
            if known[word] != value:
                raise RecipeError(f"--resume: expected {word.replace('_', ' ')} {known[word]} as it began, got {value}")
        return _standing(arrays, story)
    except (RecipeError, MemoryError):
        raise
    except Exception as exc:  # whatever a state that somebody changed makes numpy, zipfile and json raise
        raise ModelFileError(
            f"{path.name}: expected the state of a training, got {type(exc).__name__}; remove it to begin anew"
        ) from exc


class _Worth(TypedDict):
    steps: list[float]
    bytes: int
    accuracy: float | None
    loss: float


class _Story(TypedDict):
    version: int
    facts: dict[str, object]
    done: int
    over: float
    size: int
    prices: list[float]
    sizes: list[int]
    counts: list[float]
    outside: int
    idle: int
    nets: list[_Worth]


def _standing(arrays: dict[str, Array], story: _Story) -> Standing:
    places = [
        _place(arrays, f"place{number}", price, size, count)
        for number, (price, size, count) in enumerate(
            zip(story["prices"], story["sizes"], story["counts"], strict=True)
        )
    ]
    return Standing(
        done=int(story["done"]),
        over=float(story["over"]),
        size=int(story["size"]),
        place=places[0],
        inside=places[1] if len(places) > 1 else None,
        outside=int(story["outside"]),
        found=tuple(_net(arrays, f"net{number}", worth) for number, worth in enumerate(story["nets"])),
        idle=int(story["idle"]),
    )


def _net(arrays: dict[str, Array], name: str, worth: _Worth) -> Net:
    levels = {int(key.rpartition("/")[2]): array for key, array in arrays.items() if key.startswith(f"{name}/levels/")}
    others = {int(key.rpartition("/")[2]): array for key, array in arrays.items() if key.startswith(f"{name}/others/")}
    rounded = [
        Rounded(index, array.astype(np.int32), step)
        for (index, array), step in zip(levels.items(), worth["steps"], strict=True)
    ]
    kept = tuple((index, array.astype(np.float32)) for index, array in others.items())
    return Net(tuple(rounded), kept, worth["bytes"], worth["accuracy"], worth["loss"])


def _narrow(levels: npt.NDArray[np.int32]) -> Array:
    """The same levels in as few bytes as hold them."""
    most = int(np.abs(levels).max(initial=0))
    return levels.astype(np.int8 if most < 1 << 7 else np.int16 if most < 1 << 15 else np.int32)


def _put_place(arrays: dict[str, Array], name: str, place: Place) -> None:
    for what, three in (("latents", place.learner.latents), ("steps", place.learner.steps)):
        for number, array in enumerate(three):
            arrays[f"{name}/{what}/{number}"] = array
    for what, kept in (("average", place.learner.average), ("speeds", place.learner.speeds)):
        if kept is not None:
            arrays[f"{name}/{what}"] = kept
    for number, array in enumerate(place.statistics):
        arrays[f"{name}/statistics/{number}"] = array


def _place(arrays: dict[str, Array], name: str, price: float, size: int, count: float) -> Place:
    """Inverse: `_put_place`."""

    def floats(what: str) -> tuple[npt.NDArray[np.float32], ...]:
        known = [key for key in arrays if key.startswith(f"{name}/{what}")]
        return tuple(arrays[key].astype(np.float32) for key in sorted(known, key=lambda key: (len(key), key)))

    latents, steps = floats("latents"), floats("steps")
    frame = Frame(
        (latents[0], latents[1], latents[2]),
        (steps[0], steps[1], steps[2]),
        count,
        next(iter(floats("average")), None),
        next(iter(floats("speeds")), None),
    )
    return Place(frame, floats("statistics"), price, size)
