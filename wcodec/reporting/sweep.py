"""Size against loss: a model encoded with a range of steps, and each tensor alone with a coarse step.

Without data the loss is the error of the weights. An oracle that runs the model adds the loss of its outputs.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, cast

import numpy as np

from wcodec.codec.statistics import is_weight
from wcodec.container.dtypes import to_float32
from wcodec.errors import RecipeError
from wcodec.model import TunedTensor
from wcodec.model.dataclass import dataclass, replace
from wcodec.modelfiles import open_model
from wcodec.pipeline.decoder import open_container
from wcodec.pipeline.encoder import NOTHING_TUNED, encode
from wcodec.planning.recipe import PER_CHANNEL, SIZELESS, Preset, Recipe, StepSize
from wcodec.reporting.inspection import Inspection, inspect
from wcodec.reporting.quality_oracle import QualityOracle
from wcodec.reporting.sweep_result import COARSE, Method, Point, Sensitivity, Sweep
from wcodec.reporting.weight_histograms import make_histograms

NAMED: Final[tuple[Preset, ...]] = ("balanced", "small", "safe")
LADDER: Final = (0.25, 6.0)
"""The finest and the coarsest step, relative to that of `balanced`."""
MOST_POINTS: Final = 100


@dataclass(frozen=True)
class Commands:
    """The commands of a sweep: "wcodec encode MODEL OPTIONS", and the additional options of calibration."""

    plain: str
    data: str = ""


def sweep(
    source: Path,
    recipe: Recipe,
    *,
    points: int = 8,
    seconds: float = float("inf"),
    oracle: QualityOracle | None = None,
    threads: int = 0,
    log: Callable[[str], None] = lambda _: None,
    draw: bool = False,
    commands: Commands | None = None,
) -> Sweep:
    """Encode `source` in at most `points` ways (with an oracle as many again, calibrated), and each tensor coarsely.

    seconds: after them no measurement starts, except the first. log: receives a line for each measurement.
    draw:    whether histograms of the weights are made. commands: those that make the files.
    Raises: RecipeError, ModelFileError; the errors of the oracle.
    """
    _check_request(points, recipe)
    deadline = time.monotonic() + seconds
    with TemporaryDirectory(prefix="wcodec-") as folder:
        typed = commands or Commands(shlex.join(["wcodec", "encode", source.name]))
        run = _SweepRun(source, recipe, Path(folder), oracle, threads, log, typed)
        found = [run.point("preset", "balanced", 1.0)]
        base = inspect(run.file("balanced"))
        histograms = make_histograms(source, run.file("balanced")) if draw else ()
        left = _list_points(points)
        while left and time.monotonic() < deadline:
            found.append(run.point(*left.pop(0)))
        sensitivities, whole = list[Sensitivity](), True
        if time.monotonic() < deadline:
            sensitivities, whole = _measure_sensitivities(run, deadline)
        sizes = list(oracle.step_sizes(points)) if oracle else []
        while sizes and time.monotonic() < deadline:
            if (point := run.calibrate_point(sizes[0], deadline)) is None:
                break
            found, sizes = [*found, point], sizes[1:]
        if (late := time.monotonic() - deadline) >= 1:
            log(f"the time limit was overrun by {late:.0f} s, by the measurement that was at work, the last one above")
    return Sweep(
        source_bytes=base.source_bytes,
        tensor_bytes=base.tensor_bytes,
        points=tuple(sorted(found, key=lambda one: (one.method == "calibrated", -one.file_bytes))),
        sensitivities=tuple(sorted(sensitivities, key=lambda one: -one.cost)),
        complete=whole and not left and not sizes and bool(sensitivities or not _find_weights(base)),
        balanced=base,
        histograms=histograms,
        examples=(oracle.examples or None) if oracle else None,
        accuracy=oracle.accuracy if oracle else None,
    )


def _check_request(points: int, recipe: Recipe) -> None:
    """Raises: RecipeError for a recipe without a step to vary."""
    if not 1 <= points <= MOST_POINTS:
        raise RecipeError(f"points: expected 1 to {MOST_POINTS}, got {points}")
    if recipe.max_error or recipe.target_bytes or recipe.target_ratio or recipe.options.lossless:
        raise RecipeError("sweep: expected no budget and nothing lossless, because it varies the steps")
    if recipe.options.quantizer in {*PER_CHANNEL, *SIZELESS}:
        raise RecipeError(f"sweep: expected a quantizer that has steps to vary, got {recipe.options.quantizer}")


def _list_points(points: int) -> list[tuple[Method, str, float]]:
    """The points after `balanced`: the other presets, then steps from coarse to fine."""
    named: list[tuple[Method, str, float]] = [("preset", name, 1.0) for name in NAMED[1:points]]
    sizes = np.geomspace(LADDER[1], LADDER[0], points - 3).tolist() if points > 4 else [COARSE][: points - 3]
    return [*named, *(("step", "", float(f"{size:.3g}")) for size in sizes if points > 3)]


@dataclass(frozen=True)
class _SweepRun:
    """The arguments of every measurement."""

    source: Path
    recipe: Recipe
    folder: Path
    oracle: QualityOracle | None
    threads: int
    log: Callable[[str], None]
    commands: Commands

    def file(self, name: str) -> Path:
        return self.folder / f"{name or 'point'}.wcz"

    def point(self, method: Method, name: str, size: float) -> Point:
        """Encode the model, and measure size and loss."""
        recipe, tuned = self.recipe, NOTHING_TUNED
        if method == "preset":
            recipe = replace(recipe, preset=cast(Preset, name))
        elif method == "step":
            recipe = replace(recipe, options=replace(recipe.options, step=StepSize(size, relative=True)))
        return self.measure_point(method, name, size, recipe, tuned)

    def calibrate_point(self, size: float, deadline: float) -> Point | None:
        """The point with calibrated weights; None if there was no time for them."""
        tuned = self.oracle.calibrate(size, deadline) if self.oracle else None
        return None if tuned is None else self.measure_point("calibrated", "", size, self.recipe, tuned)

    def measure_point(
        self, method: Method, name: str, size: float, recipe: Recipe, tuned: Mapping[str, TunedTensor]
    ) -> Point:
        """Encode by this recipe, and measure size and loss."""
        file = self.file(name)
        encode(self.source, file, recipe, tuned=tuned, threads=self.threads)
        numbers = inspect(file)
        judged = self.oracle.measure_file(file) if self.oracle else None
        error = numbers.relative_error
        found = Point(method, name, size, numbers.file_bytes, numbers.weight_bytes, error, judged)
        typed = self.commands.plain + (self.commands.data if method == "calibrated" else "")
        found = replace(found, command=f"{typed} {found.option}")
        lost = f", {judged}" if judged else ""
        self.log(f"{found.option}: {numbers.file_bytes:,} bytes, relative error {error:.1e}{lost}")
        return found


def _find_weights(numbers: Inspection) -> list[int]:
    """Positions of the tensors of two or more dimensions that were quantised."""
    return [i for i, one in enumerate(numbers.tensors) if one.error is not None and len(one.shape) > 1]


def _measure_sensitivities(run: _SweepRun, deadline: float) -> tuple[list[Sensitivity], bool]:
    """The sensitivity of each tensor until the deadline, and whether all were measured."""
    file = run.file("coarse")
    encode(run.source, file, run.recipe, size=COARSE, threads=run.threads)
    fine, coarse = inspect(run.file("balanced")), inspect(file)
    energies = _measure_energies(run)
    total = sum(energies.values()) or 1.0
    found: list[Sensitivity] = []
    with open_container(file) as opened:
        for place in _find_weights(fine):
            if time.monotonic() >= deadline:
                return found, False
            before, after = fine.tensors[place], coarse.tensors[place]
            judged = None
            if run.oracle:
                judged = run.oracle.measure_tensor(after.name, to_float32(opened.values(place), after.dtype))
            error = after.error or 0.0
            share = error * energies[after.name] / total
            sizes = before.bytes, after.bytes
            one = Sensitivity(
                after.name, after.layer, after.weights, *sizes, error, share, judged, user_name=after.user_name
            )
            found.append(one)
            run.log(f"{one.shown} alone: {one.saved:,} bytes saved, {one.cost:.2e} lost for each 1,000")
    return found, True


def _measure_energies(run: _SweepRun) -> dict[str, float]:
    """Sums of squares of the finite weights, by tensor."""
    energies = {}
    with open_model(run.source, run.recipe.keep_optimizer) as model:
        for tensor in filter(is_weight, model.tensors):
            weights = to_float32(tensor.read(), tensor.dtype)
            energies[tensor.name] = float(np.square(weights[np.isfinite(weights)], dtype=np.float64).sum())
    return energies
