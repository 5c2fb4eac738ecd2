"""encode --data and --moments: the encoding of calibrated weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from wcodec.api.request import EncodeRequest
from wcodec.errors import BudgetError, RecipeError
from wcodec.model.dataclass import replace
from wcodec.planning.recipe import ALIGNED, Options, Preset, Recipe

if TYPE_CHECKING:
    from wcodec.calibration.codebook_weights import CodebookRequest
    from wcodec.calibration.file_size_estimate import FileSize
    from wcodec.calibration.request import SearchRequest
    from wcodec.evaluation.evaluate import Evaluation
    from wcodec.evaluation.output_scores import OutputScores
    from wcodec.model import TunedTensor
    from wcodec.pipeline.encoder import Encoded
    from wcodec.training.tune import TuningResult


def encode_calibrated(asked: EncodeRequest, source: Path, target: Path, recipe: Recipe) -> Encoded:
    """Encode calibrated weights, and print their loss on held-out inputs.

    Raises: RecipeError, BudgetError.
    """
    from wcodec.calibration.budget import AccuracyBudget
    from wcodec.calibration.progress import Interruptible
    from wcodec.calibration.request import LearningRequest
    from wcodec.files import whole_file
    from wcodec.pipeline.encoder import encode
    from wcodec.training.tune import tune

    if recipe.max_error is not None:
        raise RecipeError("--data: expected a budget of outputs (--max-drop, ...) or of bytes, got --max-error")
    refuse_tensor_options(recipe)
    if recipe.options.quantizer not in {None, "auto", "uniform", "kmeans", "product"}:
        raise RecipeError(
            f"--data: expected the quantizer auto, uniform, kmeans or product, got {recipe.options.quantizer}"
        )
    most, plain = find_target_bytes(source, recipe), replace(recipe, target_bytes=None, target_ratio=None)

    def code(path: Path, preset: Preset) -> int:
        return encode(source, path, replace(recipe, preset=preset), threads=asked.threads).file_bytes

    request = LearningRequest(
        asked.data,
        validation=asked.validation,
        augment=asked.augment,
        **asked.data_options(),
        budget=AccuracyBudget(asked.max_drop, asked.max_kl, asked.min_agreement, most, asked.max_loss),
        steps=asked.tune,
        seconds=asked.seconds,
        seed=recipe.seed,
        codebooks=request_codebooks(recipe.options),
        search=None if asked.search is None else _request_search(asked, source, target, recipe),
        sensitivity=asked.sensitivity,
        recipe=recipe,
    )
    log = asked.listeners.log
    with (patience := Interruptible(log)).hold():
        with asked.listeners.search() as watch:
            tuning = tune(source, request, watch, make_file_size(asked, source, plain), code, log, patience)
        patience.has_result = True
        for note in tuning.notes:
            log(note)
        with whole_file(target, source) as temporary:
            return _encode_best(asked, source, temporary, recipe, tuning)


def _encode_best(asked: EncodeRequest, source: Path, temporary: Path, recipe: Recipe, tuning: TuningResult) -> Encoded:
    """Encode the calibrated weights, or without data if that file is better within the budget.

    Raises: BudgetError if neither is within it.
    """
    from wcodec.pipeline.encoder import encode
    from wcodec.training.tune import measure_file

    log = asked.listeners.log
    if tuning.found is not None:
        plain = replace(recipe, target_bytes=None, target_ratio=None)
        encoded = encode(source, temporary, plain, tuned=tuning.tuned, threads=asked.threads)
        try:
            found = measure_file(tuning, temporary)
            _log_loss(found, tuning, log)
            return with_loss(encoded, found)
        except BudgetError:
            if tuning.plain is None:
                raise
    if tuning.plain is None:
        raise BudgetError(f"{source.name}: expected a file within the budget, found none")
    log(f"taken: the file without data (preset {tuning.plain.preset}), the best within the budget")
    encoded = encode(source, temporary, replace(recipe, preset=tuning.plain.preset), threads=asked.threads)
    found = measure_file(replace(tuning, found=None), temporary)
    _log_loss(found, tuning, log)
    return with_loss(encoded, found)


def _log_loss(found: Evaluation, tuning: TuningResult, log: Callable[[str], None]) -> None:
    """Log what the held-out examples lose, and why a file is written if that is more than the budget."""
    from wcodec.calibration.progress import describe_excess

    log(describe_loss(found))
    if excess := describe_excess(found.accuracy_drop, tuning.request.budget.drop, found.examples):
        log(excess)


def with_loss(encoded: Encoded, found: Evaluation, epochs: int | None = None) -> Encoded:
    """The encoding with the loss of its outputs, for the last line, JSON and the page. epochs: of training, if any."""
    outputs = describe_loss(found).partition(": ")[2]
    figures = {name: getattr(found, name) for name in MEASURED if getattr(found, name) is not None}
    figures |= {"epochs": epochs} if epochs else {}
    return replace(encoded, lost=outputs, measured=figures)


MEASURED: Final = (
    "examples", "accuracy", "baseline_accuracy", "accuracy_drop", "agreement", "loss", "baseline_loss", "r2",
    "baseline_r2", "output_error",
)  # fmt: skip
"""The figures of an evaluation that an encoding keeps."""


def _request_search(asked: EncodeRequest, source: Path, target: Path, recipe: Recipe) -> SearchRequest:
    from wcodec.calibration.request import SearchRequest, name_data
    from wcodec.files import sha256_of

    settings = {
        "model": sha256_of(source).hex(),
        "policy": ["scale", "damping", "group", "weights", "units"],
        "data": name_data(asked.data),
        "validation": None if asked.validation is None else name_data(asked.validation),
        "budget": [asked.max_drop, asked.max_kl, asked.min_agreement, asked.max_loss],
        "inputs": [asked.limit, asked.rescale],
        "tensors": [*recipe.include, *recipe.exclude, *(rule.pattern for rule in recipe.rules)],
    }
    return SearchRequest(
        asked.search or 0,
        target.with_name(f".{target.name}.search"),
        asked.resume,
        "cmaes" if asked.sampler == "cmaes" else "tpe",
        json.dumps(settings),
        asked.history,
        max(1, asked.threads),
        asked.executor,
    )


def describe_loss(found: Evaluation) -> str:
    """The figures of a finished file on one line."""
    outputs = [", ".join(_describe_output(one)) or "nothing to compare" for one in found.outputs]
    if len(outputs) > 1:
        outputs = [f"{one.name}: {text}" for one, text in zip(found.outputs, outputs, strict=True)]
    return f"measured on {found.examples:,} held-out examples: {'; '.join(outputs)}"


def _describe_output(one: OutputScores) -> Iterator[str]:
    if one.accuracy is not None:
        yield f"accuracy {one.accuracy:.2f} %"
    if one.accuracy_drop is not None:
        yield f"drop {one.accuracy_drop:+.2f} points"
    if one.agreement is not None:
        yield f"{one.agreement:.2f} % of the predictions agree with the original's"
        return
    if one.loss is not None and one.baseline_loss is not None:
        yield f"loss {one.baseline_loss:.4g} -> {one.loss:.4g} ({one.loss_rise:+.2f} %)"
    if one.r2 is not None and one.baseline_r2 is not None:
        yield f"R2 {one.baseline_r2:.4f} -> {one.r2:.4f}"
    if one.output_error is not None:
        yield f"output error {one.output_error:.2e}"


def encode_by_moments(asked: EncodeRequest, source: Path, target: Path, recipe: Recipe) -> Encoded:
    """Encode weights that are rounded by moments from a file, with the bytes that the recipe takes without them.

    Raises: WcodecError.
    """
    from wcodec.calibration.external_moments import fit_to_file
    from wcodec.files import whole_file
    from wcodec.pipeline.encoder import encode

    moments = asked.moments
    if moments is None:
        raise RecipeError("--moments: expected a file of moments, got none")
    if recipe.max_error is not None:
        raise RecipeError("--moments: expected a size or a preset, got --max-error, which bounds the error of weights")
    with whole_file(target, source) as temporary:
        without = encode(source, temporary, recipe, threads=asked.threads)
        rounded = fit_to_file(source, moments, temporary, recipe.keep_optimizer, without.plans)
        tuned, plans = rounded.tuned, without.plans
        encoded = encode(source, temporary, recipe, tuned=tuned, plans=plans, threads=asked.threads)
        if encoded.file_bytes > without.file_bytes:  # with --best other plans may give fewer bytes
            encoded = encode(source, temporary, recipe, threads=asked.threads)
            asked.listeners.log("taken: the file without moments, which has fewer bytes")
    log = asked.listeners.log
    for note in (*rounded.notes, f"outputs of these tensors: relative squared error {rounded.error:.2e}"):
        log(note)
    return encoded


def make_file_size(asked: EncodeRequest, source: Path, recipe: Recipe) -> FileSize:
    """The estimate of the file's bytes during calibration or training."""
    from wcodec.calibration.file_size_estimate import FileSize
    from wcodec.pipeline.encoder import encode

    def measure(tuned: Mapping[str, TunedTensor]) -> int:
        with TemporaryDirectory(prefix="wcodec-") as folder:
            return encode(source, Path(folder) / "try.wcz", recipe, tuned=tuned, threads=asked.threads).file_bytes

    return FileSize(other_bytes(source, recipe), measure)


def other_bytes(source: Path, recipe: Recipe) -> int:
    """The bytes of a file without the weights that are calibrated or trained, which hardly change."""
    from wcodec.modelfiles import open_model
    from wcodec.pipeline.encoder import encode
    from wcodec.planning.allocation import exact_names
    from wcodec.reporting.inspection import inspect

    with TemporaryDirectory(prefix="wcodec-") as folder:
        coded = Path(folder) / "model.wcz"
        encode(source, coded, replace(recipe, effort="fast"))
        numbers = inspect(coded)
    with open_model(source) as model:
        exact = exact_names(model, recipe)
    trained = sum(one.bytes - one.parts.index for one in numbers.tensors if one.name not in exact)
    return numbers.file_bytes - trained


def find_target_bytes(source: Path, recipe: Recipe) -> int | None:
    """The size that --target-size or --target-ratio allows; None without them."""
    from wcodec.modelfiles import open_model

    if recipe.target_ratio is None:
        return recipe.target_bytes
    with open_model(source) as model:
        return int(model.source_bytes / recipe.target_ratio)


def request_codebooks(options: Options) -> CodebookRequest | None:
    """The codebooks that the options request, by name or by size; None if they request steps."""
    from wcodec.calibration.codebook_weights import CodebookRequest

    clusters = options.clusters or (1 << options.bits if options.bits else None)
    clusters = ALIGNED if options.aligned and not clusters else clusters
    if options.quantizer == "product":
        return CodebookRequest("product", clusters, options.block)
    auto = options.quantizer in {None, "auto"}
    return CodebookRequest("kmeans", clusters) if options.quantizer == "kmeans" or (auto and clusters) else None


def refuse_tensor_options(recipe: Recipe) -> None:
    """Refuse options that calibration and training choose themselves.

    Raises: RecipeError.
    """
    for rule in recipe.rules:
        if any(getattr(rule.options, word) is not None for word in ("prune", "bits", "clusters", "step", "quantizer")):
            raise RecipeError(
                f"--data: expected no option that sets values, got a rule for {rule.pattern!r}: "
                "lossless and coder are the options that a rule can set"
            )
    options = recipe.options
    if options.prune or options.step is not None:
        word = "step" if not options.prune else "sparsity" if options.prune.rule == "sparsity" else "threshold"
        raise RecipeError(f"--data: expected no option that sets values, got {word}; --method gradual prunes")
    if recipe.preset != "balanced":
        raise RecipeError(f"--data: expected a budget such as --max-drop, got the preset {recipe.preset}")
