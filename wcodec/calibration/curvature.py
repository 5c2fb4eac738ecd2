"""`--bits auto:N --data D`: bit allocation by curvature, which is used only if the measured outputs are better.

Below about three bits, errors leave the region in which the quadratic approximation holds (a network may fall to 46 %).
The bits are therefore allocated with several minimums, and the best of the files is kept. A file without allocation is
among them.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from wcodec.calibration.progress import Interruptible
from wcodec.calibration.request import MAX_FITTED, LearningRequest, open_session
from wcodec.calibration.sensitivity import default_kind, measure_costs
from wcodec.calibration.session import CalibrationSession
from wcodec.container.dtypes import to_float32
from wcodec.errors import BudgetError
from wcodec.evaluation.keras_backend import keep_weights
from wcodec.files import whole_file
from wcodec.pipeline.decoder import open_container
from wcodec.pipeline.encoder import Encoded
from wcodec.pipeline.precision import TensorRates, allocate, encode_mean, equal_options, measure_rates, rule_costs
from wcodec.planning.recipe import Options, Recipe

FLOORS: Final = (0.5, 0.75, 0.0)
"""The minimum bits of a tensor, as fractions of the mean, tried in turn. Integers have at least two bits."""


@dataclass(frozen=True)
class PrecisionTrial:
    """One file. name: how its bits were allocated; kl: divergence of the outputs for held-out inputs, in nats."""

    name: str
    file_bytes: int
    kl: float


@dataclass(frozen=True)
class PrecisionResult:
    """The best file. session: the network with which it was measured; trials: all files."""

    encoded: Encoded
    session: CalibrationSession
    trials: tuple[PrecisionTrial, ...]
    best: PrecisionTrial


def encode_by_curvature(
    source: Path,
    target: Path,
    recipe: Recipe,
    request: LearningRequest,
    sensitivity: str | None,
    *,
    threads: int = 0,
    report: Callable[[PrecisionTrial], None] = lambda _: None,
    log: Callable[[str], None] = lambda _: None,
) -> PrecisionResult:
    """Write the file of `recipe.mean_bits` bits a weight with the best outputs. An interrupt ends the search.

    sensitivity: one of `run_options.SENSITIVITIES`; None: "fisher", or "kl" if there are no gradients.
    Raises: RecipeError, ModelFileError, UnsupportedError, BudgetError.
    """
    deadline = time.monotonic() + request.seconds
    rates = measure_rates(source, recipe, threads)
    allocate(rates, {}, recipe.mean_bits or 0.0)  # an unreachable mean is refused before the data is read
    opened = open_session(source, request, log)
    session = opened.prepare(MAX_FITTED)
    trials: list[tuple[PrecisionTrial, Encoded]] = []
    with whole_file(target, source) as kept, TemporaryDirectory(prefix="wcodec-") as folder:
        tried, best_file = Path(folder) / "try.wcz", Path(folder) / "best.wcz"
        with Interruptible():
            for name, chosen in _list_choices(session, rates, recipe, sensitivity or default_kind(session)):
                if len(trials) > 1 and time.monotonic() >= deadline:
                    break
                with suppress(BudgetError):
                    encoded = encode_mean(source, tried, recipe, chosen, threads)
                    one = PrecisionTrial(name, encoded.file_bytes, measure_container(session, tried))
                    report(one)
                    if not trials or one.kl < min(each.kl for each, _ in trials):
                        tried.replace(best_file)
                    trials.append((one, encoded))
        if not trials:
            raise BudgetError(f"bits auto:{recipe.mean_bits:g}: expected a file of so many bits a weight, found none")
        shutil.copyfile(best_file, kept)
    best, encoded = min(trials, key=lambda pair: pair[0].kl)
    return PrecisionResult(encoded, session, tuple(one for one, _ in trials), best)


def _list_choices(
    session: CalibrationSession, rates: tuple[TensorRates, ...], recipe: Recipe, kind: str
) -> Iterator[tuple[str, Mapping[str, Options]]]:
    """The options of every tensor for each trial, with a name: without allocation, and with several allocations."""
    mean, names = recipe.mean_bits or 0.0, session.table.names
    yield "without", equal_options(rates, recipe)
    by_index = measure_costs(session, kind)
    costs = {name: cost for index, cost in by_index.items() for name in names.get(index, ())} or rule_costs(rates)
    seen: list[Mapping[str, Options]] = []
    for part in FLOORS:
        chosen = allocate(rates, costs, mean, part * mean)
        if chosen not in seen:
            yield f"{kind}, {part * mean:.2g} bits or more", chosen
        seen.append(chosen)


def measure_container(session: CalibrationSession, coded: Path) -> float:
    """The divergence of the outputs for held-out inputs, with the weights of a .wcz.

    The network keeps its own weights.
    """
    model = session.model
    with keep_weights(model), open_container(coded) as opened:
        places = {name: number for number, name in enumerate(opened.names())}
        for index, names in session.table.names.items():
            number = places[names[0]]
            facts = opened.container.tensors[number]
            if facts.dtype in {"float32", "float16", "bfloat16", "float64"}:
                model.weights[index].assign(to_float32(opened.values(number), facts.dtype))
        return session.divergence()
