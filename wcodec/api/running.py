"""The verbs in Python that run a model: evaluate, sweep (with data), slim, load_model. They need a framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

from wcodec.api.encode_calibrated import request_codebooks
from wcodec.api.paths import StrPath, check_path, maybe_path
from wcodec.api.progress import ProgressEvent, make_listeners
from wcodec.api.request import EncodeRequest, parse_request, require_data
from wcodec.api.slimming import parse_coding, write_slimmed
from wcodec.api.sources import Coded, KerasModel, Source, TorchModule, open_source, refuse_existing
from wcodec.api.words import InputWords, Words, python_spelling
from wcodec.errors import RecipeError
from wcodec.planning.option_values import parse_float, parse_seconds
from wcodec.planning.options import OPTIONS

if TYPE_CHECKING:
    from wcodec.calibration.score_search import ScoreOracle
    from wcodec.calibration.sweep_judge import ModelOracle
    from wcodec.evaluation.evaluate import Evaluation
    from wcodec.evaluation.integer_layers import IntegerType
    from wcodec.evaluation.runner import Network
    from wcodec.planning.recipe import Recipe
    from wcodec.reporting.sweep_result import Sweep
    from wcodec.structure.request import Slimmed, SlimRequest

Told = bool | Callable[[ProgressEvent], object]


def load_model(
    source: Coded,
    *,
    architecture: object = None,
    imports: Sequence[str] = (),
    unsafe: bool = False,
    max_output: int | str | None = None,
    as_: IntegerType | None = None,
    log: Callable[[str], None] = lambda _: None,
    base: StrPath | None = None,
    compile: bool = True,
) -> Network:
    """The Keras model in a .wcz or in a model file (a path, bytes or a binary file), compiled if the file says how.

    architecture: for files of weights alone: a model file, or `module:function` that returns the network.
    imports:      modules that register custom layers; the user's code is run.
    unsafe:       allow the file to run its own code (Lambda layers).
    max_output:   the largest size to which a .wcz may decode, 10**9 or "1GB"; None for any size.
    as_:          "int8" or "int4": layers of a .wcz for which Keras has integers get its levels instead of floats.
    log:          called with the names of these layers.
    base:         the file against which the .wcz was coded, or a folder with it.
    Raises: ModelFileError if Keras cannot load it; UnsupportedError if it would run code; RecipeError if Keras or an
    argument is missing; errors of the container.
    """
    from wcodec.evaluation.model_loader import load_model as load

    if isinstance(source, str | PathLike) and not Path(source).exists():
        return load(Path(source))  # which says what is missing
    with python_spelling("architecture"), open_source(source, unknown=".wcz") as path:
        return load(
            path, architecture=architecture, imports=imports, unsafe=unsafe, max_output=max_output, as_=as_, log=log,
            base=maybe_path(base), compiled=compile,
        )  # fmt: skip


def evaluate(
    model: Source | Network,
    data: object,
    baseline: Source | Network | None = None,
    *,
    rescale: float | None = None,
    limit: int | None = None,
    architecture: object = None,
    imports: Sequence[str] = (),
    unsafe: bool = False,
    max_output: int | str | None = None,
) -> Evaluation:
    """Measure `model` on `data`, and compare it with `baseline` if there is one.

    model, baseline: a model as for `encode`, a .wcz (its path, bytes or a binary file), or a network.
    data: as in `encode`, with labels for accuracy and loss.
    architecture: for files of weights alone: a Keras model, an `nn.Module`, a file, or a function (or its name
        `module:function`) that returns a network. A measured `nn.Module` is its own architecture.
    rescale, limit, imports, unsafe: as in `encode`; max_output: as in `load_model`.

    Memory contains both networks, the examples and one batch.
    Raises: RecipeError, ModelFileError, errors of the container.
    """
    from wcodec.evaluation.evaluate import evaluate as measure
    from wcodec.evaluation.runner import is_runner

    given = (model, baseline)
    module = next((one for one in given if isinstance(one, TorchModule) and not isinstance(one, KerasModel)), None)
    with python_spelling("architecture"), ExitStack() as stack:
        opened = [
            check_path(one, word) if isinstance(one, str | PathLike)
            else one if is_runner(one) or isinstance(one, KerasModel)
            else stack.enter_context(open_source(cast("Source", one)))
            for word, one in zip(("model", "baseline"), given, strict=True) if one is not None
        ]  # fmt: skip
        return measure(
            opened[0], data, opened[1] if len(opened) > 1 else None, rescale=rescale, limit=limit,
            architecture=module if architecture is None else architecture, imports=imports, unsafe=unsafe,
            max_output=max_output,
        )  # fmt: skip


class SweepWords(InputWords, total=False):
    """Options of `sweep`: those of `encode` by these names."""

    data: object
    validation: object
    score: object
    score_name: str | None
    quantizer: str | None
    set: str | Sequence[str] | Mapping[str, str | Mapping[str, object]] | None
    include: str | Sequence[str] | None
    exclude: str | Sequence[str] | None
    effort: str | None
    seed: int | None
    threads: int


def sweep(
    source: Source,
    *,
    points: int = 8,
    time_limit: float | str = "5m",
    report: StrPath | None = None,
    force: bool = True,
    progress: Told = False,
    **words: Unpack[SweepWords],
) -> Sweep:
    """The size of a model against its loss: `points` encodings, and each tensor alone with a coarse step.

    report: an HTML page with charts, which is overwritten unless `force` is False.
    words:  `data` (and `validation`) or `score`, by which the loss is measured (without them it is the error of the
            weights), how data and model are read (limit, rescale, model, imports, unsafe), and quantizer, set, include,
            exclude, effort, seed and threads, all as in `encode`.

    >>> sweep("model.h5", data=(x, y)).points[0].file_bytes  # doctest: +SKIP

    Raises: RecipeError, ModelFileError, OSError.
    """
    from wcodec.planning.options import BY_WORD
    from wcodec.planning.parsing import parse_recipe
    from wcodec.reporting.html_report import write_report
    from wcodec.reporting.sweep import sweep as measure

    if report is not None:
        refuse_existing(check_path(report, "report"), force)
    with python_spelling(), open_source(source) as path:
        if isinstance(source, TorchModule) and words.get("data") is not None:
            words.setdefault("model", source)
        recipe = parse_recipe({word: value for word, value in words.items() if word in BY_WORD})
        asked = {word: value for word, value in words.items() if word not in BY_WORD}
        request, seconds = parse_request(asked, make_listeners(progress)), parse_seconds("time_limit", time_limit)
        require_data(request)
        oracle, log, draw = open_oracle(path, recipe, request), request.listeners.log, bool(report)
        found = measure(
            path, recipe, points=points, seconds=seconds, oracle=oracle, threads=request.threads, log=log, draw=draw
        )
        if report is not None:
            write_report(Path(report), path, found.balanced, found.histograms, sweep=found, command="sweep")
        return found


def open_oracle(source: Path, recipe: Recipe, request: EncodeRequest) -> ModelOracle | ScoreOracle | None:
    """The oracle that measures the files of a sweep: the network on data, or the user's score; None without either.

    Raises: RecipeError, ModelFileError.
    """
    if request.score_name is not None and request.score is None:
        raise RecipeError("--score-name: expected --score MODULE:F with it")
    if request.score is not None and request.data is not None:
        raise RecipeError("--score: cannot be combined with --data, which has its own measures")
    if request.score is not None:
        from wcodec.calibration.score_search import ScoreOracle
        from wcodec.evaluation.score import ScoreFunction

        score = ScoreFunction.named(request.score, request.score_name)
        request.listeners.log(f"the original scores {(before := score.measure(source)).value:.6g}")
        return ScoreOracle(score, before)
    if request.data is None:
        return None
    from wcodec.calibration.request import LearningRequest
    from wcodec.calibration.sweep_judge import open_oracle as judge

    learning = LearningRequest(
        request.data,
        validation=request.validation,
        **request.data_options(),
        seed=recipe.seed,
        codebooks=request_codebooks(recipe.options),
        recipe=recipe,
    )
    return judge(source, learning, request.sensitivity, request.listeners.log)


class SlimWords(InputWords, Words, total=False):
    """Options of `slim`, by the names of the command line, and for a target .wcz those of the recipe."""

    width: float
    params: float
    macs: float
    uniform: bool
    speedup: float
    low_rank: float | str
    student: str
    compact: bool
    criterion: str
    data: object
    validation: object
    finetune: int
    augment: str
    tune: int
    max_drop: float
    max_loss: float
    resume: bool
    seed: int
    time_limit: float | str


def slim(
    source: StrPath | KerasModel,
    target: StrPath | None = None,
    *,
    force: bool = True,
    progress: Told = False,
    **words: Unpack[SlimWords],
) -> Slimmed:
    """A smaller and faster network; its `.model` is a Keras model, which is written to `target` where one is given.

    words: those of `wcodec slim -h`: width, params or macs (the part of the units, parameters or multiply-adds that
           stays; uniform: the same of each layer), speedup, low_rank (the part of each layer's weights that stays,
           "auto" for what the outputs need), student, compact, criterion, data, validation, finetune, augment, tune,
           max_drop, max_loss, resume, seed, time_limit, for a .wcz the options of `encode` that say what is lost
           (without these, the data calibrate it), and how data and model are read.

    >>> slim(model, width=0.5, data=(x, y), finetune=5).model  # doctest: +SKIP

    Raises: RecipeError, UnsupportedError, BudgetError, ModelFileError, OSError.
    """
    from wcodec.structure.slim import slim as make

    if target is not None:
        refuse_existing(check_path(target, "target"), force)
    listeners, output = make_listeners(progress), None if target is None else Path(target)
    with python_spelling(), open_source(source) as path:
        if output is None:
            return make(path, _slim_request(words, listeners.log, None))
        given: dict[str, object] = {option.word: words.get(option.word) for option in OPTIONS}
        has_data, seed = words.get("data") is not None, words.get("seed", 0)
        recipe, calibrates = parse_coding(output, given, seed=seed, has_data=has_data)
        request = _slim_request(words, listeners.log, output.with_name(f".{output.name}.slimming"))
        found = make(path, request)
        write_slimmed(found, output, recipe, request, source=path, calibrates=calibrates, listeners=listeners)
    return found


def _slim_request(words: SlimWords, log: Callable[[str], None], state: Path | None) -> SlimRequest:
    from wcodec.structure.request import SlimRequest, chosen_amount, parse_rank

    if unknown := sorted(words.keys() - SlimWords.__annotations__.keys() - InputWords.__annotations__.keys()):
        raise RecipeError(f"option {unknown[0]!r}: expected one of {', '.join(sorted(SlimWords.__annotations__))}")
    read = parse_request({word: value for word, value in words.items() if word in InputWords.__annotations__})
    numbers = ("width", "params", "macs", "speedup", "max_drop", "max_loss")
    known = {word: parse_float(word, value) if (value := words.get(word)) is not None else None for word in numbers}
    parts = {word: known[word] for word in ("width", "params", "macs")}
    return SlimRequest(
        amount=chosen_amount(parts, words.get("uniform", False)),
        speedup=known["speedup"],
        low_rank=parse_rank(words.get("low_rank")),
        student=words.get("student"),
        compact=words.get("compact", False),
        criterion=words.get("criterion"),
        data=words.get("data"),
        validation=words.get("validation"),
        augment=words.get("augment"),
        epochs=words.get("finetune"),
        steps=words.get("tune"),
        max_drop=known["max_drop"],
        max_loss=known["max_loss"],
        **read.data_options(),
        seed=words.get("seed", 0),
        seconds=parse_seconds("time_limit", words["time_limit"]) if "time_limit" in words else float("inf"),
        state=state,
        resume=words.get("resume", False),
        log=log,
    )
