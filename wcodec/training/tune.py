"""`encode --data`: rounding with error feedback (GPTQ), followed by training without labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wcodec.calibration.codebook_search import CodebookResult
from wcodec.calibration.file_size_estimate import FileSize
from wcodec.calibration.progress import Interruptible, ProgressCallback, SamplingNote, say_drop
from wcodec.calibration.quality import describe_divergence, measure_quality
from wcodec.calibration.request import MAX_FITTED, LearningRequest, open_session
from wcodec.calibration.session import CalibrationSession
from wcodec.calibration.trial import CalibrationResult
from wcodec.errors import BudgetError, RecipeError
from wcodec.evaluation.evaluate import Evaluation, evaluate
from wcodec.evaluation.runner import is_runner
from wcodec.model import TunedTensor
from wcodec.training.plain_file import Code, PlainFile, plain_file, round_missed
from wcodec.training.tuning_run import TuningRun, search_codebook_weights, search_weights


@dataclass(frozen=True)
class TuningResult:
    """The result of a search; `tuned` is passed to `encoder.encode`.

    found: None if no search met the budget.
    plain: None if the file without data exceeds the budget.
    """

    request: LearningRequest
    session: CalibrationSession
    found: CalibrationResult | CodebookResult | None
    tuned: Mapping[str, TunedTensor]
    notes: tuple[str, ...]
    plain: PlainFile | None = None


def tune(
    source: Path,
    request: LearningRequest,
    progress: ProgressCallback,
    size: FileSize | None = None,
    code: Code | None = None,
    log: Callable[[str], None] = lambda _: None,
    patience: Interruptible | None = None,
) -> TuningResult:
    """Find the smallest weights of `source` whose predicted loss is within the budget of the request.

    progress: called with every point of the search.
    size:     estimates the bytes of the file; it measures them if the budget limits bytes.
    code:     encodes the file without data, which is then a candidate.
    log:      called with sentences about the data and the budget, as soon as they are known.
    patience: remembers an interrupt, see `Interruptible.hold`.
    An interrupt (KeyboardInterrupt) ends the search with the best result so far.
    Raises: RecipeError, ModelFileError, UnsupportedError; BudgetError if nothing within the budget is found.
    """
    started = time.monotonic()
    opened = open_session(source, request, log)
    if request.steps and is_runner(opened.model):
        raise RecipeError(f"--tune: expected a Keras model to train, got {opened.model.name}")
    session, table = opened.prepare(MAX_FITTED), opened.table
    request = replace(request, budget=request.budget.for_session(session))
    opened, budget = replace(opened, request=request), request.budget.of_outputs()
    if request.search and (request.codebooks or request.budget.bytes is not None):
        raise RecipeError("--search: expected a budget of outputs (--max-drop, ...) and steps left open, got neither")
    log(f"budget: {request.budget}")
    if unsure := [kind.name for kind in session.kinds if kind.uncertain]:
        log(f"{', '.join(unsure)}: logits or features? Classes and values are kept; labels or a compiled loss tell")
    plain = plain_file(opened, session, code) if code else None
    size = size or FileSize()
    sampling = SamplingNote(log, session.held_out.count, request.budget)
    sampling.tell(plain.quality if plain else None)
    run = TuningRun(opened, session, started, progress, patience or Interruptible(), size, plain is None, sampling)
    try:
        with round_missed(opened, session, code):
            if request.codebooks:
                shared = search_codebook_weights(run)
                return TuningResult(request, session, shared, table.by_name(shared.tuned()), (), plain)
            found = search_weights(run, source, budget)
    except BudgetError:
        if plain is None:
            raise
        return TuningResult(request, session, None, {}, (), plain)
    described = (*run.notes, *_describe(run, found))
    return TuningResult(request, session, found, table.by_name(found.tuned()), described, plain)


def _describe(run: TuningRun, found: CalibrationResult) -> Iterator[str]:
    """Sentences about the result."""
    quality = found.quality
    if quality.lost is not None and run.opened.request.budget.drop is not None:
        yield "the drop that the labels show counts reduced by one standard error, since that much may be chance"
    if run.patience.over:
        yield "interrupted: this is the best that was found until then"
    size = f"chosen: about {run.file_bytes(found, near=0.0):,} bytes"
    words = [size, describe_divergence(quality.kl, quality.values)]
    if not quality.values:
        words.append(say_drop(quality))
    if quality.loss_rise is not None and (quality.values or run.opened.request.budget.loss is not None):
        words.append(f"loss {quality.loss_rise:+.2f} % on held-out examples")
    yield ", ".join(words)
    if unnamed := [one.path for one in found.rounded if one.index not in run.opened.table.names]:
        names = ", ".join(unnamed[:3])
        yield f"{len(unnamed)} tensors are different in the file and are coded by the preset: {names}"


def measure_file(tuning: TuningResult, coded: Path) -> Evaluation:
    """Measure what the finished .wcz loses on the held-out inputs.

    Raises: BudgetError if the outputs change more than the budget allows, or if the file without data is better.
    """
    session, budget = tuning.session, tuning.request.budget.of_outputs(1.0)
    restored = tuning.request.load(coded)
    held = PlainFile("balanced", measure_quality(session, restored), coded.stat().st_size)
    if not budget.allows(held):
        raise BudgetError(f"{coded.name}: {budget.refusal([held])}")
    if tuning.plain and tuning.found:
        by_bytes = tuning.request.budget.bytes is None
        one, other = (each.bytes if by_bytes else each.quality.kl for each in (held, tuning.plain))
        if one > other:
            raise BudgetError(f"{coded.name}: expected a better file than without data, got {one:g} to {other:g}")
    return evaluate(restored, session.held_out, session.model)
