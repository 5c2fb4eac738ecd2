"""Where a training stands, in a file: after a kill it goes on as if nothing had happened."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypedDict

import numpy as np
import numpy.typing as npt

from wcodec.errors import ModelFileError, RecipeError
from wcodec.learning.examples import Array
from wcodec.learning.finetune import Standing
from wcodec.learning.net import Net, Rounded
from wcodec.learning.pupil import Frame
from wcodec.output import whole_file

VERSION: Final = 1
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


def save(path: Path, standing: Standing, facts: Facts) -> None:
    """Write it whole or not at all, over what was there. Inverse: `read`."""
    arrays: dict[str, Array] = {f"statistics/{i}": array for i, array in enumerate(standing.statistics)}
    _put_frame(arrays, "learner", standing.learner)
    if standing.inside is not None:
        _put_frame(arrays, "inside", standing.inside[1])
    nets = [*standing.found, *([standing.best] if standing.best else [])]
    for number, net in enumerate(nets):
        for one in net.rounded:
            arrays[f"net{number}/levels/{one.index}"] = _narrow(one.levels)
        for index, values in net.others:
            arrays[f"net{number}/others/{index}"] = values
    story: _Story = {
        "version": VERSION,
        "facts": asdict(facts),
        "stage": standing.stage,
        "done": standing.done,
        "price": standing.price,
        "inside": None if standing.inside is None else standing.inside[0],
        "outside": standing.outside,
        "idle": standing.idle,
        "best": standing.best is not None,
        "counts": [standing.learner.count, standing.inside[1].count if standing.inside else 0.0],
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
    stage: int
    done: int
    price: float
    inside: float | None
    outside: float | None
    idle: int
    best: bool
    counts: list[float]
    nets: list[_Worth]


def _standing(arrays: dict[str, Array], story: _Story) -> Standing:
    nets = [_net(arrays, f"net{number}", worth) for number, worth in enumerate(story["nets"])]
    found = tuple(nets[:-1] if story["best"] else nets)
    # The same network stays one: that a stage found nothing better is told by identity.
    best = next((net for net in found if _same(net, nets[-1])), nets[-1]) if story["best"] else None
    counts, price = story["counts"], story["inside"]
    statistics = [name for name in arrays if name.startswith("statistics/")]
    return Standing(
        stage=int(story["stage"]),
        done=int(story["done"]),
        price=float(story["price"]),
        learner=_frame(arrays, "learner", counts[0]),
        statistics=tuple(arrays[f"statistics/{i}"].astype(np.float32) for i in range(len(statistics))),
        found=found,
        inside=None if price is None else (price, _frame(arrays, "inside", counts[1])),
        outside=story["outside"],
        idle=story["idle"],
        best=best,
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


def _same(one: Net, other: Net) -> bool:
    return all(np.array_equal(a.levels, b.levels) for a, b in zip(one.rounded, other.rounded, strict=True))


def _put_frame(arrays: dict[str, Array], name: str, frame: Frame) -> None:
    for what, three in (("latents", frame.latents), ("steps", frame.steps)):
        for number, array in enumerate(three):
            arrays[f"{name}/{what}/{number}"] = array


def _frame(arrays: dict[str, Array], name: str, count: float) -> Frame:
    both = [
        tuple(arrays[f"{name}/{what}/{number}"].astype(np.float32) for number in range(3))
        for what in ("latents", "steps")
    ]
    return Frame((both[0][0], both[0][1], both[0][2]), (both[1][0], both[1][1], both[1][2]), count)
