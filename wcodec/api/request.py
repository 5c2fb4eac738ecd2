"""The request of an encoding besides its recipe, and the listeners of its progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

from wcodec.errors import RecipeError
from wcodec.model.dataclass import dataclass
from wcodec.planning.options import build
from wcodec.planning.recipe import CLASSIC
from wcodec.planning.run_options import INPUT_OPTIONS, METHOD_OPTIONS, REQUEST_WORDS, SENSITIVITIES

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from wcodec.calibration.progress import ProgressCallback
    from wcodec.model import Progress
    from wcodec.planning.recipe import Recipe


BUDGETS: Final = ("max_drop", "max_loss", "max_kl", "min_agreement")
NEED_DATA: Final = (
    *BUDGETS,
    *(
        "validation",
        "sensitivity",
        "tune",
        "search",
        "sampler",
        "finetune",
        "augment",
        "method",
        "resume",
        "time_limit",
    ),
)
"""Options that need data, in addition to those for reading it."""


MOST_TRIALS: Final = 100_000
"""The largest number of trials of a search."""


def _ignore(_: object) -> None:
    """Does nothing."""


@dataclass(frozen=True)
class Listeners:
    """The listeners of the progress of an encoding.

    log:     called with lines about results.
    search:  opens a callback for every point of a search.
    tensors: opens a callback for every finished tensor, or None.
    """

    log: Callable[[str], None] = _ignore
    search: Callable[[], AbstractContextManager[ProgressCallback]] = lambda: nullcontext(_ignore)
    tensors: Callable[[], AbstractContextManager[Progress | None]] = lambda: nullcontext(None)


class DataOptions(TypedDict):
    """The options for reading a model file and the data given to it."""

    limit: int | None
    rescale: float | None
    architecture: object
    imports: Sequence[str]
    unsafe: bool


@dataclass(frozen=True)
class EncodeRequest:
    """The options of `planning.run_options`, by their words; None and False mean that an option was not given.

    executor:  encodes a model of several files, or runs the trials of a search.
    history:   the page of a search.
    listeners: of the progress.
    """

    data: object = None
    validation: object = None
    max_drop: float | None = None
    max_loss: float | None = None
    max_kl: float | None = None
    min_agreement: float | None = None
    sensitivity: str | None = None
    tune: int | None = None
    search: int | None = None
    sampler: str | None = None
    finetune: int | None = None
    augment: str | None = None
    method: str | None = None
    rounds: int | None = None
    initial_sparsity: float | None = None
    prune_begin: float | None = None
    prune_end: float | None = None
    prune_every: int | None = None
    criterion: str | None = None
    bucket: int | None = None
    learn_range: bool = False
    ratio: float | None = None
    all_layers: bool = False
    resume: bool = False
    time_limit: float | None = None
    moments: Path | None = None
    score: object = None
    score_name: str | None = None
    limit: int | None = None
    rescale: float | None = None
    model: object = None
    imports: Sequence[str] = ()
    unsafe: bool = False
    threads: int = 0
    compact: bool | None = None
    base: Path | None = None
    family: bool = False
    executor: Executor | None = None
    history: Path | None = None
    listeners: Listeners = Listeners()

    @property
    def seconds(self) -> float:
        """The time limit of a search; infinity without one, because work is then counted."""
        return float("inf") if self.time_limit is None else self.time_limit

    def data_options(self) -> DataOptions:
        """The options for reading the model and the data."""
        return {
            "limit": self.limit,
            "rescale": self.rescale,
            "architecture": self.model,
            "imports": self.imports,
            "unsafe": self.unsafe,
        }


def parse_request(words: Mapping[str, object], listeners: Listeners | None = None) -> EncodeRequest:
    """The request of these words; None means that an option was not given.

    Raises: RecipeError for a value of the wrong kind.
    """
    if unknown := sorted(words.keys() - REQUEST_WORDS.keys()):
        raise RecipeError(f"option {unknown[0]!r}: expected one of {', '.join(sorted(REQUEST_WORDS))}")
    given = {word: REQUEST_WORDS[word].parse(word, value) for word, value in words.items() if value is not None}
    return build(EncodeRequest, {**given, "listeners": listeners or Listeners()})


def check_request(request: EncodeRequest, recipe: Recipe, source: Path, several: bool) -> None:
    """Refuse options that exclude each other, before any work is done. several: the model has several files.

    Raises: RecipeError with the option.
    """
    lossless = bool(recipe.options.lossless)
    learns = "--data" if request.data is not None else "--moments" if request.moments is not None else None
    if learns and (request.base or (request.executor and request.search is None)):
        raise RecipeError(f"{'--base' if request.base else '--scheduler'}: cannot be combined with {learns}")
    if learns and lossless:
        raise RecipeError(f"lossless: cannot be combined with {learns}, which is lossy")
    if several and learns:
        raise RecipeError(f"{source}: expected a single file with {learns}, got a model of several files")
    if request.family and (request.base or not several):
        got = "--base" if request.base else f"one file, {source}"
        raise RecipeError(f"--family: expected a folder of model files and no base, got {got}")
    if request.data is not None and request.moments is not None:
        raise RecipeError("--moments: cannot be combined with --data, which measures the moments itself")
    if request.data is not None and request.finetune is None and request.method is not None:
        raise RecipeError("--method: expected --finetune EPOCHS with it")
    if recipe.preset == CLASSIC and request.moments is not None:
        raise RecipeError(f"--moments: cannot be combined with the preset {CLASSIC}, which rounds to shared values")
    if recipe.preset == CLASSIC and request.data is not None and request.finetune is None:
        raise RecipeError(f"preset {CLASSIC}: expected --finetune EPOCHS with --data, which it retrains by")
    if request.method in {None, "auto"} and recipe.preset != CLASSIC:
        for option in METHOD_OPTIONS:
            if getattr(request, option.word) not in (None, False):
                raise RecipeError(f"{option.flag}: expected --method M with it")
    _check_compact(request, recipe, source)
    _check_precision(request, recipe, several)
    _check_score(request, several)
    _check_augment(request, recipe)
    _check_budgets(request)
    require_data(request)


def _check_compact(request: EncodeRequest, recipe: Recipe, source: Path) -> None:
    """Refuse files without dead units to remove or to keep."""
    if request.compact and (
        recipe.options.lossless or request.base or recipe.keep_optimizer or source.suffix not in {".keras", ".h5"}
    ):
        raise RecipeError("--compact: expected a .keras or .h5 model, and no --lossless, --base or --keep-optimizer")
    if request.compact is False and request.finetune is None:
        raise RecipeError("--no-compact: expected --finetune EPOCHS with it")


def _check_precision(request: EncodeRequest, recipe: Recipe, several: bool) -> None:
    """Refuse options that a mean of bits cannot be combined with, and a sensitivity without effect."""
    if request.sensitivity not in (None, *SENSITIVITIES):
        raise RecipeError(f"--sensitivity: expected one of {', '.join(SENSITIVITIES)}, got {request.sensitivity!r}")
    if recipe.mean_bits is None:
        if request.sensitivity is not None and request.finetune is not None:
            raise RecipeError("--sensitivity: expected --bits auto:N or calibration, got --finetune")
        return
    words = (*BUDGETS, "tune", "finetune", "method", "moments", "score", "base")
    given = [REQUEST_WORDS[word].flag for word in words if getattr(request, word)]
    if given or several:
        got = given[0] if given else "a model of several files"
        raise RecipeError(f"--bits auto: expected one file, and nothing else that sets the precision, got {got}")


def _check_score(request: EncodeRequest, several: bool) -> None:
    """Refuse options that a score cannot be combined with."""
    if request.score is None:
        if request.score_name is not None:
            raise RecipeError("--score-name: expected --score MODULE:F with it")
        return
    given = {"--data": request.data, "--base": request.base, "--scheduler": request.executor}
    if rivals := [flag for flag, value in given.items() if value is not None]:
        raise RecipeError(f"--score: cannot be combined with {rivals[0]}")
    if several:
        raise RecipeError("--score: expected a model of one file, got one of several")
    if request.max_drop is None:
        raise RecipeError("--score: expected --max-drop with it, in the units of the score")


def _check_budgets(request: EncodeRequest) -> None:
    """Refuse budgets that no encoding, or every encoding, can meet."""
    if request.data is None:
        return
    if request.resume and request.finetune is None and request.search is None:
        raise RecipeError("--resume: expected --finetune EPOCHS or --search N with it")
    _check_search(request)
    if request.max_drop is not None and not 0 <= request.max_drop < float("inf"):
        raise RecipeError(f"--max-drop: expected 0 points or more, got {request.max_drop:g}")
    if request.max_loss is not None and not 0 <= request.max_loss < float("inf"):
        raise RecipeError(f"--max-loss: expected 0 % or more, got {request.max_loss:g}")
    if request.max_kl is not None and not 0 < request.max_kl < float("inf"):
        raise RecipeError(f"--max-kl: expected a positive number of nats, got {request.max_kl:g}")
    if request.min_agreement is not None and not 0 < request.min_agreement <= 100:
        raise RecipeError(f"--min-agreement: expected a percentage over 0 and up to 100, got {request.min_agreement:g}")


def _check_augment(request: EncodeRequest, recipe: Recipe) -> None:
    """Refuse augmentation without training."""
    if request.augment is None:
        return
    if request.augment != "images":
        raise RecipeError(f"--augment: expected images, got {request.augment!r}")
    trains = request.finetune is not None or (request.tune != 0 and request.search is None)
    if not trains or (request.finetune is None and recipe.mean_bits is not None):
        raise RecipeError("--augment: expected training with it, by --finetune EPOCHS or --tune STEPS")


def _check_search(request: EncodeRequest) -> None:
    """Refuse options of a search without one, and a search with training."""
    if request.search is None:
        if request.sampler is not None:
            raise RecipeError("--sampler: expected --search N with it")
        return
    if not 1 <= request.search <= MOST_TRIALS:
        raise RecipeError(f"--search: expected 1 to {MOST_TRIALS:,} trials, got {request.search}")
    if request.sampler not in (None, "tpe", "cmaes"):
        raise RecipeError(f"--sampler: expected tpe or cmaes, got {request.sampler!r}")
    for flag, value in (("--tune", request.tune), ("--finetune", request.finetune), ("--method", request.method)):
        if value:
            raise RecipeError(f"--search: cannot be combined with {flag}, which trains")


def require_data(request: EncodeRequest) -> None:
    """Refuse the options that need data if there is none.

    Raises: RecipeError with the option.
    """
    compacted = ("imports", "unsafe") if request.compact else ()
    allowed = (*compacted, "max_drop") if request.score is not None else compacted
    words = [word for word in (*NEED_DATA, *(option.word for option in INPUT_OPTIONS)) if word not in allowed]
    for word in () if request.data is not None else words:
        if getattr(request, word) not in (None, False, ()):
            raise RecipeError(f"{REQUEST_WORDS[word].flag}: expected --data D with it")
