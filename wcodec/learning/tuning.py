"""From a model file and inputs to weights that cost fewer bits and answer alike: rounded by feedback, then trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wcodec.errors import BudgetError
from wcodec.learning.attempt import Calibration
from wcodec.learning.calibrate import calibrate_subject
from wcodec.learning.data import load
from wcodec.learning.distill import distill
from wcodec.learning.divergence import POINTS, divergence, outputs_of
from wcodec.learning.evaluate import Evaluation, evaluate
from wcodec.learning.load import load_model, model_inputs
from wcodec.learning.subject import Subject, prepare
from wcodec.learning.tensor_names import tensor_names, tuned_tensors
from wcodec.learning.vectors import with_vectors
from wcodec.model import Tuned
from wcodec.modelfiles import open_model

if TYPE_CHECKING:
    from keras import Model

CAUTION: Final = 0.85
"""Part of the budget that is aimed at: the search takes the luckiest of its tries, and inputs kept apart are few."""
MOMENTS: Final = 2000
"""Inputs for rounding with feedback: more do not change its result."""
TRAINABLE: Final = 2000
"""Fewest inputs worth training on."""
SHARE: Final = 0.35
"""Part of the time limit for rounding; the rest is for training."""


@dataclass(frozen=True)
class Wish:
    """What the user asked of a calibrated encoding.

    data:     where the inputs are, see `data.load`; labels are used to measure only.
    max_drop: points of accuracy that may be lost.
    steps:    of training; None: as many as fit into `seconds`, 0: none.
    """

    data: str
    max_drop: float = 0.5
    steps: int | None = None
    seconds: float = 120.0
    limit: int | None = None
    rescale: float | None = None
    architecture: str | None = None
    imports: Sequence[str] = ()
    unsafe: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Tuning:
    """A network on the bench and what was found for it; `tuned` goes to `encoder.encode`."""

    wish: Wish
    subject: Subject
    found: Calibration
    tuned: Mapping[str, Tuned]
    said: tuple[str, ...]


Told = Callable[[str], None]


def tune(source: Path, wish: Wish, told: Told) -> Tuning:
    """The smallest weights for `source` that are predicted to stay within the budget.

    told: hears how the search goes, a line at a time.
    Raises: RecipeError, ModelFileError, UnsupportedError; BudgetError where nothing found is within the budget.
    """
    begun = time.monotonic()
    model = load_model(source, architecture=wish.architecture, imports=wish.imports, unsafe=wish.unsafe)
    examples = load(wish.data, model_inputs(model), rescale=wish.rescale, limit=wish.limit)
    with open_model(source) as file:
        names = tensor_names(model, file)
    subject = prepare(model, examples, most=MOMENTS, seed=wish.seed)
    aim = CAUTION * wish.max_drop
    rounding = float("inf") if wish.steps is not None else SHARE * wish.seconds
    found = calibrate_subject(subject, aim, seconds=rounding, progress=lambda one: told(_line("rounding", one)))
    if wish.steps != 0 and examples.count - subject.held_out.count >= TRAINABLE:
        pupil = prepare(model, examples, most=examples.count, seed=wish.seed)
        left = None if wish.steps else max(1.0, wish.seconds - (time.monotonic() - begun))
        target = aim / (100 * POINTS)

        def training(step: int, steps: int, size: int, moved: float) -> None:
            told(f"training {step:,} of {steps:,}: about {size:,} bytes, {moved:.4f} nats")

        found = distill(pupil, found, target, steps=wish.steps, seconds=left, seed=wish.seed, progress=training)
    found = with_vectors(subject, found, aim / (100 * POINTS))
    told(_line("chosen", found))
    lost = [one.path for one in found.latents if one.index not in names]
    said = [*examples.said, f"{subject.held_out.count:,} of {examples.count:,} inputs were kept apart to measure on"]
    if lost:
        said.append(
            f"{len(lost)} tensors look otherwise in the file and are coded by the preset: {', '.join(lost[:3])}"
        )
    return Tuning(wish, subject, found, tuned_tensors(found, names), tuple(said))


def measured(tuning: Tuning, coded: Path) -> Evaluation:
    """What the finished .wcz loses on the inputs kept apart.

    Raises: BudgetError where the answers have moved further than the budget allows.
    """
    wish, subject = tuning.wish, tuning.subject
    restored: Model = load_model(coded, architecture=wish.architecture, imports=wish.imports, unsafe=wish.unsafe)
    moved = divergence(outputs_of(restored, subject.held_out), subject.outputs)
    drop = 100 * POINTS * moved
    if drop > wish.max_drop:
        raise BudgetError(f"{coded.name}: expected a drop of at most {wish.max_drop:g} points, {drop:.2g} predicted")
    return evaluate(restored, subject.held_out, subject.model)


def _line(what: str, one: Calibration) -> str:
    return f"{what}: about {one.bytes:,} bytes, {one.divergence:.4f} nats, {one.drop:.2f} points predicted"
