"""Encoding of a model file: weights -> prune, quantise -> levels -> sections -> container."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from wcodec.codec.plan import Plan
from wcodec.codec.statistics import scan_tensors
from wcodec.files import guard_unchanged, whole_file
from wcodec.model import Progress, TunedTensor
from wcodec.model.dataclass import replace
from wcodec.modelfiles.shards import describe_missing_data, open_source
from wcodec.pipeline.attempt import Encoded, Encoding, write_container
from wcodec.pipeline.base_chain import open_any_base
from wcodec.pipeline.budget import encode_within, plans_by_effort
from wcodec.planning.allocation import WeightTotals
from wcodec.planning.rate_control import target_of
from wcodec.planning.recipe import Recipe

__all__ = ["Encoded", "encode"]

NOTHING_TUNED: Mapping[str, TunedTensor] = MappingProxyType({})


def encode(
    source: Path,
    target: Path,
    recipe: Recipe,
    *,
    tuned: Mapping[str, TunedTensor] = NOTHING_TUNED,
    size: float = 1.0,
    plans: Sequence[Plan] = (),
    beside: Path | None = None,
    base: Path | None = None,
    totals: WeightTotals | None = None,
    exact: Collection[str] = (),
    searches: bool = True,
    source_bytes: int | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> Encoded:
    """Write `target`, a .wcz of the model file `source`, atomically. Inverse: `decoder.decode`.

    tuned:        by tensor name, the weights to encode instead of the file's; errors are relative to the file's.
    size:         a factor on the steps that the recipe leaves open; a recipe with a budget starts its search from it.
    plans:        one for each tensor, instead of the recipe's: those of an earlier encoding.
    beside:       the ONNX model that keeps values in `source`, a file of its external data.
    base:         an earlier version of the file, which decoding will need.
    totals:       of the model of which `source` is a shard.
    exact:        as in `shards.open_source`.
    searches:     whether steps change until the budget of the recipe is met.
    source_bytes: of the file to which ratios refer, if `source` was made from another one.
    Raises: ModelFileError, RecipeError, BudgetError; OSError if `target` cannot be written; WcodecError if a file
    changes in the meantime.
    """
    with whole_file(target, source) as temporary, guard_unchanged(source, beside, base):
        earlier = open_any_base(base) if base else None
        if recipe.is_whole and not tuned:
            from wcodec.pipeline.lossless_encoder import encode_lossless

            made = encode_lossless(source, beside, earlier, temporary, recipe.effort, threads, progress)
            return Encoded(made, 0.0, (), describe_missing_data(source))
        with open_source(source, recipe.keep_optimizer or bool(recipe.options.lossless), beside, exact) as read:
            model = read if source_bytes is None else replace(read, source_bytes=source_bytes)
            looks = scan_tensors(model.tensors, threads)
            if plans:
                fixed = Encoding(model, looks, plans, tuned, threads, progress, earlier, totals=totals)
                return write_container(fixed, temporary).encoded
            plans, *rivals = plans_by_effort(model, looks, recipe, size, totals)
            job = Encoding(model, looks, plans, tuned, threads, progress, earlier, rivals, totals=totals)
            goal = target_of(recipe, model.source_bytes) if searches else None
            if goal is None:
                return write_container(job, temporary).encoded
            return encode_within(goal, job, recipe, size, temporary)
