"""encode --bits auto:N: bits or steps for each tensor by the cost of its errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.api.encode_calibrated import describe_loss
from wcodec.api.request import EncodeRequest

if TYPE_CHECKING:
    from wcodec.calibration.curvature import PrecisionTrial
    from wcodec.pipeline.encoder import Encoded
    from wcodec.planning.recipe import Recipe


def encode_precise(asked: EncodeRequest, source: Path, target: Path, recipe: Recipe) -> Encoded:
    """Encode with a mean of bits a weight, by curvature with data, and by the rule of the presets without.

    Raises: RecipeError, BudgetError.
    """
    from wcodec.files import whole_file
    from wcodec.pipeline.precision import allocate, encode_mean, measure_rates, rule_costs

    log = asked.listeners.log
    if asked.data is None:
        rates = measure_rates(source, recipe, asked.threads)
        chosen = allocate(rates, rule_costs(rates), recipe.mean_bits or 0.0)
        with whole_file(target, source) as temporary:
            return encode_mean(source, temporary, recipe, chosen, asked.threads)
    from wcodec.calibration.curvature import encode_by_curvature
    from wcodec.calibration.request import LearningRequest
    from wcodec.evaluation.evaluate import evaluate

    def report(one: PrecisionTrial) -> None:
        log(f"{one.name}: {one.file_bytes:,} bytes, {one.kl:.5f} nats")

    request = LearningRequest(
        asked.data,
        validation=asked.validation,
        **asked.data_options(),
        seconds=asked.seconds,
        seed=recipe.seed,
        recipe=recipe,
    )
    kind = asked.sensitivity
    found = encode_by_curvature(source, target, recipe, request, kind, threads=asked.threads, report=report, log=log)
    log(f"chosen: {found.best.name}")
    log(describe_loss(evaluate(request.load(target), found.session.held_out, found.session.model)))
    return found.encoded
