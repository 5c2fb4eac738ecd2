"""The encoding of a file or a folder: by training, calibration, a score, moments, or weights alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from wcodec.api.encode_by_method import encode_by_method
from wcodec.api.encode_calibrated import encode_by_moments, encode_calibrated
from wcodec.api.encode_finetuned import encode_finetuned
from wcodec.api.encode_precise import encode_precise
from wcodec.api.encode_scored import encode_scored
from wcodec.api.request import EncodeRequest
from wcodec.calibration.time_limit import Stopwatch
from wcodec.model.dataclass import dataclass, replace
from wcodec.planning.classic import METHODS, for_training
from wcodec.planning.idle_options import PRUNING_METHODS
from wcodec.planning.recipe import CLASSIC

if TYPE_CHECKING:
    from wcodec.calibration.progress import ProgressCallback, SearchProgress
    from wcodec.modelfiles.shards import Folder
    from wcodec.pipeline.encoder import Encoded
    from wcodec.planning.recipe import Recipe
    from wcodec.reporting.inspection import Inspection


@dataclass(frozen=True)
class EncodeResult:
    """The result of an encoding, and the numbers of the file."""

    encoded: Encoded
    inspection: Inspection
    seconds: float


def encode_file(
    source: Path,
    target: Path,
    recipe: Recipe,
    request: EncodeRequest,
    *,
    folder: Folder | None = None,
    report: Path | None = None,
) -> EncodeResult:
    """Write the .wcz `target` of a model file, or a folder of them; with `report` an HTML page too.

    folder: the files of the model, if there are several.
    Raises: RecipeError, ModelFileError, BudgetError, OSError.
    """
    from wcodec.reporting.inspection import inspect

    if report and request.search is not None:
        request = replace(request, history=report.with_suffix(".search.html"))
    start = time.perf_counter()
    with ExitStack() as stack:
        plain = _compact(source, request, stack) if request.compact else source
        if request.data is not None:
            request.listeners.log(
                f"{source.name}: loading the network and the data, for which a framework has to start"
            )
        encoded = _encode_and_watch(plain, target, recipe, request, folder)
        seconds = time.perf_counter() - start
        inspection = inspect(target)
        if report:
            from wcodec.reporting.html_report import write_report
            from wcodec.reporting.weight_histograms import make_histograms

            histograms = make_histograms(plain, target, request.base)
            write_report(
                report,
                source,
                inspection,
                histograms,
                command="encode",
                seconds=seconds,
                made=encoded,
                base=request.base,
            )
    return EncodeResult(encoded, inspection, seconds)


def _encode_and_watch(
    source: Path, target: Path, recipe: Recipe, request: EncodeRequest, folder: Folder | None
) -> Encoded:
    """Encode, record all messages, and report the step that exceeded the time limit."""
    tried: list[SearchProgress] = []
    messages: list[str] = []
    watch = Stopwatch()
    encoded = _encode(source, target, recipe, _with_listeners(request, tried, messages, watch), folder)
    watch.ends("coding and measuring the file" if watch.steps else "loading, and the file without data")
    if request.data is not None and (late := watch.overrun(request.seconds)):
        request.listeners.log(late)
        messages.append(late)
    return replace(encoded, tried=tuple(map(_make_row, tried)), messages=tuple(messages))


def _with_listeners(
    request: EncodeRequest, tried: list[SearchProgress], messages: list[str], clock: Stopwatch
) -> EncodeRequest:
    """The request with listeners that also record messages and trials. Training is one row, which is updated."""

    def log(line: str) -> None:
        messages.append(line)
        if request.finetune is not None:
            clock.ends("training" if clock.steps else "loading and the first rounding")
        request.listeners.log(line)

    @contextmanager
    def search() -> Iterator[ProgressCallback]:
        with request.listeners.search() as watch:

            def both(now: SearchProgress) -> None:
                clock.ends(now.doing if clock.steps else f"loading and the first {now.doing}")
                if tried and tried[-1].done is not None and now.done is not None:
                    tried.pop()
                tried.append(now)
                watch(now)

            yield both

    return replace(request, listeners=replace(request.listeners, log=log, search=search))


def _make_row(now: SearchProgress) -> tuple[str, ...]:
    return now.doing, f"{now.bytes:,}", f"{now.kl:.4g}", f"{now.drop:.2f}", now.answer


def _compact(source: Path, request: EncodeRequest, stack: ExitStack) -> Path:
    """A temporary file of the same name with the network without its dead units."""
    from wcodec.structure.output import compact_file

    compacted = Path(stack.enter_context(TemporaryDirectory(prefix="wcodec-"))) / source.name
    removed, removable = compact_file(source, compacted, imports=request.imports, unsafe=request.unsafe)
    request.listeners.log(f"{removed} of {removable} units were dead, and were taken out")
    return compacted


def _encode(source: Path, target: Path, recipe: Recipe, request: EncodeRequest, folder: Folder | None) -> Encoded:
    if recipe.mean_bits is not None:
        return encode_precise(request, source, target, recipe)
    if recipe.preset == CLASSIC and request.data is not None:
        request = replace(request, method=METHODS) if request.method in {None, "auto"} else request
        recipe = for_training(recipe) if set((request.method or "").split(",")) & set(PRUNING_METHODS) else recipe
    if request.data is not None and request.method not in {None, "auto"}:
        return encode_by_method(request, source, target, recipe)
    if request.data is not None and request.finetune is not None:
        return encode_finetuned(request, source, target, recipe)
    if request.data is not None:
        return encode_calibrated(request, source, target, recipe)
    if request.score is not None or request.moments is not None:
        by = encode_scored if request.score is not None else encode_by_moments
        return by(request, source, target, recipe)
    return _by_weights(source, target, recipe, request, folder)


def _by_weights(source: Path, target: Path, recipe: Recipe, request: EncodeRequest, folder: Folder | None) -> Encoded:
    if folder and request.family:
        from wcodec.pipeline.family_encoder import encode_family

        return encode_family(folder, target, recipe, threads=request.threads, executor=request.executor)
    from wcodec.pipeline.folder_encoder import encode_any

    with request.listeners.tensors() as progress:
        return encode_any(
            source,
            target,
            recipe,
            folder=folder,
            base=request.base,
            threads=request.threads,
            executor=request.executor,
            progress=progress,
        )
