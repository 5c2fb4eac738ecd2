"""What each byte buys: a model coded at a ladder of steps, and each tensor alone coded coarsely.

Without data the loss is that of the weights. An oracle that can run the model, adds what it costs in answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal, Protocol, cast

import numpy as np

from wcodec.codec.statistics import is_weight
from wcodec.container.dtypes import Float32, to_float32
from wcodec.errors import RecipeError
from wcodec.model import TunedTensor
from wcodec.modelfiles import open_model
from wcodec.pipeline.decoder import open_container
from wcodec.pipeline.encoder import NOTHING_TUNED, encode
from wcodec.planning.recipe import Preset, Recipe
from wcodec.reporting.inspection import Inspection, inspect

Method = Literal["preset", "step", "calibrated"]
NAMED: Final[tuple[Preset, ...]] = ("balanced", "small", "safe")
SCHEMA_VERSION: Final = 1
LADDER: Final = (0.25, 6.0)
"""Ends of the ladder, by the step of `balanced`."""
COARSE: Final = 4.0
"""Steps by which a tensor's sensitivity is measured, by those of `balanced`."""
MOST_POINTS: Final = 100


@dataclass(frozen=True)
class QualityLoss:
    """How far answers moved from the original's, on inputs kept apart; None of what is not known.

    divergence: nats (of values: relative squared error); predicted_drop: points of accuracy that it stands for.
    accuracy, agreement: percent; accuracy_drop: points, by labels.
    """

    divergence: float
    predicted_drop: float
    agreement: float | None = None
    accuracy: float | None = None
    accuracy_drop: float | None = None


class QualityOracle(Protocol):
    """Who can run the model.

    examples: inputs judged by; accuracy: the original's on them, percent.
    """

    @property
    def examples(self) -> int: ...
    @property
    def accuracy(self) -> float | None: ...
    def measure_file(self, coded: Path) -> QualityLoss:
        """Of a .wcz."""
        ...

    def measure_tensor(self, name: str, values: Float32) -> QualityLoss | None:
        """Of the original with other values for one tensor of its file; None where that is no weight of the model."""
        ...

    def step_sizes(self, count: int) -> Sequence[float]:
        """Sizes of steps worth calibrating with, the most useful first."""
        ...

    def calibrate(self, size: float) -> Mapping[str, TunedTensor]:
        """The weights calibrated by error feedback for steps of this size."""
        ...


@dataclass(frozen=True)
class Point:
    """One coding of the whole model. `size` multiplies the steps of the preset or of calibration."""

    method: Method
    name: str
    size: float
    file_bytes: int
    weight_bytes: int
    relative_error: float
    judged: QualityLoss | None


@dataclass(frozen=True)
class Sensitivity:
    """One tensor coded coarsely while all others stay as they were.

    fine_bytes, coarse_bytes: its bytes by the steps of `balanced`, and by COARSE times as large ones.
    relative_error: of the tensor; share: what that adds to the relative error of the whole model.
    """

    name: str
    layer: str
    weights: int
    fine_bytes: int
    coarse_bytes: int
    relative_error: float
    share: float
    judged: QualityLoss | None

    @property
    def saved(self) -> int:
        """Bytes."""
        return self.fine_bytes - self.coarse_bytes

    @property
    def cost(self) -> float:
        """Loss by 1,000 bytes saved: divergence where it was judged, else the share; 0 where nothing is saved."""
        lost = self.judged.divergence if self.judged else self.share
        return 1000 * lost / self.saved if self.saved > 0 else 0.0


@dataclass(frozen=True)
class Sweep:
    """All that was measured. `complete` is False where the time was over before."""

    source_bytes: int
    tensor_bytes: int
    points: tuple[Point, ...]
    sensitivities: tuple[Sensitivity, ...]
    complete: bool
    examples: int | None = None
    accuracy: float | None = None

    def to_json(self) -> dict[str, object]:
        """The keys of `sweep --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "source_bytes": self.source_bytes,
            "tensor_bytes": self.tensor_bytes,
            "complete": self.complete,
            "examples": self.examples,
            "accuracy": self.accuracy,
            "points": [asdict(point) | {"ratio": self.source_bytes / point.file_bytes} for point in self.points],
            "sensitivities": [
                asdict(one) | {"bytes_saved": one.saved, "cost_by_kilobyte": one.cost} for one in self.sensitivities
            ],
        }


def sweep(
    source: Path,
    recipe: Recipe,
    *,
    points: int = 8,
    seconds: float = float("inf"),
    oracle: QualityOracle | None = None,
    threads: int = 0,
    log: Callable[[str], None] = lambda _: None,
    show: Callable[[Path, Inspection], None] | None = None,
) -> Sweep:
    """Code `source` in at most `points` ways (with an oracle as many again, calibrated), and each tensor coarsely.

    seconds: nothing is begun after them but the first point. log: hears of each measurement.
    show:    is given the .wcz of the first point, by `balanced`, while it exists.
    Raises: RecipeError, ModelFileError; what the oracle raises.
    """
    if not 1 <= points <= MOST_POINTS:
        raise RecipeError(f"points: expected 1 to {MOST_POINTS}, got {points}")
    if recipe.max_error or recipe.target_bytes or recipe.target_ratio or recipe.options.lossless:
        raise RecipeError("sweep: expected no budget and nothing lossless: it is the steps that it varies")
    deadline = time.monotonic() + seconds
    with TemporaryDirectory(prefix="wcodec-") as folder:
        run = _Run(source, recipe, Path(folder), oracle, threads, log)
        found = [run.point("preset", "balanced", 1.0)]
        if show:
            show(run.file("balanced"), inspect(run.file("balanced")))
        left = _ladder(points)
        while left and time.monotonic() < deadline:
            found.append(run.point(*left.pop(0)))
        sensitivities: list[Sensitivity] = []
        whole = True
        if time.monotonic() < deadline:
            sensitivities, whole = _sensitivities(run, deadline)
        sizes = list(oracle.step_sizes(points)) if oracle else []
        while sizes and time.monotonic() < deadline:
            found.append(run.point("calibrated", "", sizes.pop(0)))
        base = inspect(run.file("balanced"))
    return Sweep(
        source_bytes=base.source_bytes,
        tensor_bytes=base.tensor_bytes,
        points=tuple(sorted(found, key=lambda one: (one.method == "calibrated", -one.file_bytes))),
        sensitivities=tuple(sorted(sensitivities, key=lambda one: -one.cost)),
        complete=whole and not left and not sizes and bool(sensitivities or not _weights(base)),
        examples=oracle.examples if oracle else None,
        accuracy=oracle.accuracy if oracle else None,
    )


def _ladder(points: int) -> list[tuple[Method, str, float]]:
    """What follows `balanced`: the other presets, then steps from coarse to fine."""
    named: list[tuple[Method, str, float]] = [("preset", name, 1.0) for name in NAMED[1:points]]
    sizes = np.geomspace(LADDER[1], LADDER[0], points - 3).tolist() if points > 4 else [COARSE][: points - 3]
    return [*named, *(("step", "", float(size)) for size in sizes if points > 3)]


@dataclass(frozen=True)
class _Run:
    """What all measurements have in common."""

    source: Path
    recipe: Recipe
    folder: Path
    oracle: QualityOracle | None
    threads: int
    log: Callable[[str], None]

    def file(self, name: str) -> Path:
        return self.folder / f"{name or 'point'}.wcz"

    def point(self, method: Method, name: str, size: float) -> Point:
        """Coded, measured, judged."""
        file = self.file(name)
        recipe = replace(self.recipe, preset=cast(Preset, name)) if method == "preset" else self.recipe
        tuned = self.oracle.calibrate(size) if self.oracle and method == "calibrated" else NOTHING_TUNED
        steps = 1.0 if method == "calibrated" else size
        encode(self.source, file, recipe, tuned=tuned, size=steps, threads=self.threads)
        numbers = inspect(file)
        judged = self.oracle.measure_file(file) if self.oracle else None
        error = numbers.relative_error
        found = Point(method, name, size, numbers.file_bytes, numbers.weight_bytes, error, judged)
        lost = f", {judged.divergence:.4f} nats" if judged else ""
        self.log(f"{method} {name or f'{size:.3g}'}: {numbers.file_bytes:,} bytes, relative error {error:.1e}{lost}")
        return found


def _weights(numbers: Inspection) -> list[int]:
    """Places of the tensors that were quantised and count."""
    return [i for i, one in enumerate(numbers.tensors) if one.error is not None and len(one.shape) > 1]


def _sensitivities(run: _Run, deadline: float) -> tuple[list[Sensitivity], bool]:
    """Of each tensor, as far as the time goes; and whether it went for all."""
    file = run.file("coarse")
    encode(run.source, file, run.recipe, size=COARSE, threads=run.threads)
    fine, coarse = inspect(run.file("balanced")), inspect(file)
    energies = _energies(run)
    total = sum(energies.values()) or 1.0
    found: list[Sensitivity] = []
    with open_container(file) as opened:
        for place in _weights(fine):
            if time.monotonic() >= deadline:
                return found, False
            before, after = fine.tensors[place], coarse.tensors[place]
            judged = None
            if run.oracle:
                judged = run.oracle.measure_tensor(after.name, to_float32(opened.values(place), after.dtype))
            error = after.error or 0.0
            share = error * energies[after.name] / total
            sizes = before.bytes, after.bytes
            one = Sensitivity(after.name, after.layer, after.weights, *sizes, error, share, judged)
            found.append(one)
            run.log(f"alone {one.name}: {one.saved:,} bytes saved, {one.cost:.2e} lost for each 1,000")
    return found, True


def _energies(run: _Run) -> dict[str, float]:
    """Sums of squares of the finite weights, by tensor."""
    energies = {}
    with open_model(run.source, run.recipe.keep_optimizer) as model:
        for tensor in filter(is_weight, model.tensors):
            weights = to_float32(tensor.read(), tensor.dtype)
            energies[tensor.name] = float(np.square(weights[np.isfinite(weights)], dtype=np.float64).sum())
    return energies
