"""The request of slimming, and its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from wcodec.calibration.time_limit import NO_DEADLINE, Deadline
from wcodec.errors import RecipeError
from wcodec.evaluation.datasets import check_spec
from wcodec.evaluation.label_check import is_unlabelled
from wcodec.evaluation.user_code import is_function_name
from wcodec.reporting.slim_report import LayerWidth, NetworkFacts, SlimReport
from wcodec.structure.criteria import BY_WEIGHTS
from wcodec.structure.selection import Amount

if TYPE_CHECKING:
    from keras import Model

    from wcodec.evaluation.evaluate import Evaluation

CRITERIA: Final = (*BY_WEIGHTS, "bn-scale", "taylor", "fisher", "obs", "random")
WITH_DATA: Final = ("taylor", "fisher")
"""Criteria that need data."""
UNMEASURED: Final = (
    "what the smaller network loses is unknown without data: 'wcodec evaluate' measures it; --data D chooses and "
    "repairs units by inputs and measures, with --finetune E it retrains"
)
UNLABELLED: Final = "--finetune: expected labels to train by, got none; --tune N trains by the original's outputs"


@dataclass(frozen=True)
class SlimRequest:
    """How a network becomes smaller. Without an amount the narrowest network within the budget is searched.

    amount:     the number of units that are kept.
    speedup:    the factor by which `predict` must be faster at a batch of 256; instead of an amount.
    low_rank:   the fraction of the weights of each layer that is kept, or 0 for the rank that the layers' outputs need.
    student:    a network to train instead: a model file or `module:function`.
    compact:    remove only dead units; the outputs stay.
    criterion:  of CRITERIA; None means obs, with measured moments, or assumed ones without data.
    data:       see `datasets.load_examples`.
    validation: the same, for measuring, instead of a part of `data`.
    augment:    "images" to train on moved copies of images too.
    epochs:     of training with labels and the original's outputs.
    steps:      of training with its outputs alone.
    max_drop:   the largest drop in points of accuracy (without labels: percent of changed predictions).
    max_loss:   the largest rise of the loss in percent (without labels: the divergence in hundredths of a nat, for
                values in percent of their variance).
    seconds:    the time after which no width is tried, and training ends early; measurements use as many inputs as fit
                in.
    state:      the file for the state of a training after each epoch.
    resume:     continue from it.
    log:        called with lines of text.
    watch:      called with the current action and the fraction that is done.
    """

    amount: Amount | None = None
    speedup: float | None = None
    low_rank: float | None = None
    student: str | None = None
    compact: bool = False
    criterion: str | None = None
    data: object = None
    augment: str | None = None
    validation: object = None
    epochs: int | None = None
    steps: int | None = None
    max_drop: float | None = None
    max_loss: float | None = None
    limit: int | None = None
    rescale: float | None = None
    architecture: object = None
    imports: Sequence[str] = ()
    unsafe: bool = False
    seed: int = 0
    seconds: float = float("inf")
    state: Path | None = None
    resume: bool = False
    log: Callable[[str], None] = field(default=lambda _: None)
    watch: Callable[[str, float], None] = field(default=lambda *_: None)


@dataclass(frozen=True)
class Comparison:
    """A smaller network compared with the original.

    divergence: of the outputs, in nats or squared error / variance.
    drop, loss: of the worst output: points of accuracy, and the percentage by which the loss rises, see `worst_rise`;
                without labels the percentage of changed predictions, and the divergence in hundredths.
    """

    evaluation: Evaluation
    divergence: float
    drop: float
    loss: float

    def __str__(self) -> str:
        return f"{self.drop:.2f} points, {self.loss:.2f} % of the loss"


@dataclass(frozen=True)
class Slimmed:
    """The smaller network, and its comparison with the original.

    examples:   the number on which both were measured; none of them was trained on.
    agreement:  the percentage of equal predictions.
    divergence: of the outputs, in nats or relative squared error.
    finished:   whether the training was not interrupted.
    deadline:   of the whole request.
    lost:       what the worst output lost on them, see `Comparison`: points, and percent of the loss.
    compare:    the loss of another network against the original on the held-out examples; None without any.
    """

    model: Model
    before: NetworkFacts
    after: NetworkFacts
    layers: tuple[LayerWidth, ...]
    examples: int
    agreement: float | None
    divergence: float | None
    finished: bool = True
    deadline: Deadline = NO_DEADLINE
    lost: tuple[float, float] = (0.0, 0.0)
    compare: Callable[[Model], Comparison | None] = field(default=lambda _: None)

    def report(self, source: Path, target: Path) -> SlimReport:
        """The report on both networks, once they are written."""
        size = source.stat().st_size if source.is_file() else None
        numbers = self.examples, self.agreement, self.divergence, size, target.stat().st_size
        return SlimReport(self.before, self.after, self.layers, *numbers)


def parse_rank(value: object) -> float | None:
    """The fraction of the weights of each layer; 0, as "auto" is, for the rank that the layers' outputs need."""
    if value is None or value == "auto":
        return None if value is None else 0.0
    try:
        return float(str(value))
    except ValueError as error:
        raise RecipeError(f"--low-rank: expected a number over 0 to 1, or auto, got {value}") from error


def chosen_amount(parts: Mapping[str, float | None], uniform: bool) -> Amount | None:
    """The one amount that is given, by its name: width, params or macs.

    Raises: RecipeError for several, or `uniform` without one.
    """
    ways: tuple[Literal["width", "params", "macs"], ...] = ("width", "params", "macs")
    amounts = [Amount(of, part, uniform) for of in ways if (part := parts.get(of)) is not None]
    if len(amounts) > 1:
        raise RecipeError(f"--{amounts[1].of}: expected one way of saying how much, got --{amounts[0].of} too")
    if uniform and not amounts:
        raise RecipeError("--uniform: expected --width, --params or --macs with it")
    return amounts[0] if amounts else None


def is_one_training(request: SlimRequest) -> bool:
    """Whether one network is trained, and not one for each width that is tried."""
    is_said = (request.amount, request.speedup, request.low_rank, request.student) != (None, None, None, None)
    return is_said and (request.epochs is not None or request.steps is not None)


def check(request: SlimRequest) -> None:
    """Raises: RecipeError for a request that contradicts itself, or that has no effect."""
    ways = {
        "--width, --params or --macs": request.amount is not None,
        "--speedup": request.speedup is not None,
        "--low-rank": request.low_rank is not None,
        "--student": request.student is not None,
        "--compact": request.compact,
    }
    said = [way for way, is_said in ways.items() if is_said]
    has_budget = request.max_drop is not None or request.max_loss is not None
    if len(said) > 1:
        raise RecipeError(f"{said[1]}: expected one way of saying how much, got {said[0]} too")
    if not said and not has_budget:
        raise RecipeError("slim: expected how much: --width, --params, --macs, --speedup, --low-rank, --student, "
                          "--compact, --max-drop or --max-loss")  # fmt: skip
    if request.amount is not None and not 0 < request.amount.part <= 1:
        raise RecipeError(f"--{request.amount.of}: expected over 0 to 1, got {request.amount.part:g}")
    if request.low_rank is not None and not 0 <= request.low_rank <= 1:
        raise RecipeError(f"--low-rank: expected over 0 to 1, or auto, got {request.low_rank:g}")
    if request.speedup is not None and not 1 <= request.speedup < 1000:
        raise RecipeError(f"--speedup: expected 1 to 1000, got {request.speedup:g}")
    for word, value in (("--max-drop", request.max_drop), ("--max-loss", request.max_loss)):
        if value is not None and not 0 <= value < float("inf"):
            raise RecipeError(f"{word}: expected a number from 0 on, got {value:g}")
    for word, count in (("--finetune", request.epochs), ("--tune", request.steps)):
        if count is not None and count < 1:
            raise RecipeError(f"{word}: expected 1 or more, got {count}")
    if request.epochs is not None and request.steps is not None:
        raise RecipeError("--tune: expected one way of training, got --finetune too")
    if request.criterion is not None and request.criterion not in CRITERIA:
        raise RecipeError(f"--criterion: expected one of {', '.join(CRITERIA)}, got {request.criterion}")
    if request.augment is not None and request.epochs is None and request.steps is None:
        raise RecipeError("--augment: expected training with it, by --finetune EPOCHS or --tune STEPS")
    _check_training(request)
    _check_data(request)


def _check_training(request: SlimRequest) -> None:
    """Refuse training without a network to train, and resuming without a state."""
    if request.resume and (request.state is None or not is_one_training(request)):
        raise RecipeError("--resume: expected an output, how much (not a budget alone), and --finetune or --tune")
    if request.compact and (request.epochs is not None or request.steps is not None):
        raise RecipeError("--compact: expected nothing else, got a training; --width 1 with --finetune E trains")


def _check_data(request: SlimRequest) -> None:
    if request.data is not None:
        _check_examples(request)
        return
    wanted = {
        "--finetune": request.epochs is not None,
        "--tune": request.steps is not None,
        "--max-drop": request.max_drop is not None,
        "--max-loss": request.max_loss is not None,
        "--student": request.student is not None,
        f"--criterion {request.criterion}": request.criterion in WITH_DATA,
        "--validation": request.validation is not None,
        "--limit": request.limit is not None,
        "--rescale": request.rescale is not None,
    }
    for word, is_said in wanted.items():
        if is_said:
            raise RecipeError(f"{word}: expected --data D with it")


def _check_examples(request: SlimRequest) -> None:
    """The checks of data and of a student that need no framework."""
    for spec, word in ((request.data, "--data"), (request.validation, "--validation")):
        check_spec(spec, word)
    if request.epochs is not None and is_unlabelled(request.data):
        raise RecipeError(UNLABELLED)
    spec = request.student
    if spec is not None and not Path(spec).exists() and not is_function_name(spec):
        raise RecipeError(f"--student {spec}: expected a model file or module:function, found neither")
