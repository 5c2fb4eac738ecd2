"""After training: the file without the units that training emptied, if it is not larger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.api.request import EncodeRequest
from wcodec.codec.plan import Prune
from wcodec.errors import UnsupportedError
from wcodec.model import FloatWeights, SignWeights, StepWeights, TableWeights
from wcodec.model.dataclass import replace
from wcodec.planning.recipe import Options, Recipe, Rule

if TYPE_CHECKING:
    from wcodec.evaluation.examples import Examples
    from wcodec.evaluation.runner import Network
    from wcodec.model import TunedTensor
    from wcodec.pipeline.encoder import Encoded
    from wcodec.structure.compaction import Compacted
    from wcodec.training.finetune import FinetuneResult

Float32 = npt.NDArray[np.float32]

WHOLE: Final = (".keras", ".h5")
"""Files that contain a whole Keras model."""
SAME: Final = 1e-5
"""The largest difference of an output, divided by the largest output or 1."""
COMPARED: Final = 2000
"""The largest number of held-out examples whose outputs are compared."""
FINE: Final = 2.0**-19
"""The step of biases to which constants were added."""


def compact_trained(
    asked: EncodeRequest,
    source: Path,
    target: Path,
    recipe: Recipe,
    found: FinetuneResult,
    tuned: Mapping[str, TunedTensor],
    whole: Encoded,
) -> Encoded:
    """Write the finished .wcz `target` again without dead units, if it does not become larger.

    tuned: the tensors of the file, by name.
    whole: the result of its encoding. Returns the result for the file that is kept.
    """
    from wcodec.pipeline.encoder import encode
    from wcodec.structure.compaction import compact

    if not _can_be_compact(asked, source):
        return whole
    request, inputs = found.opened.request, found.opened.held_out
    model, best, smallest = request.load(target), whole, None
    with TemporaryDirectory(prefix="wcodec-") as folder:
        for folds in (True, False):
            try:
                small = compact(model, folds=folds)
            except UnsupportedError:
                return whole
            if not small.removed or _changes_exact(found, small):
                continue
            plain, coded = Path(folder) / source.name, Path(folder) / f"compact-{folds}.wcz"
            shorter = _write_uncoded(found, small, plain, tuned)
            size = source.stat().st_size
            made = encode(plain, coded, recipe, tuned=shorter, source_bytes=size, threads=asked.threads)
            if made.file_bytes <= best.file_bytes and _has_same_outputs(model, request.load(coded), inputs):
                best, smallest = made, small
                target.write_bytes(coded.read_bytes())
    if smallest is None:
        return whole
    note = _describe_removed(sum(int(one.size) for one in model.get_weights()), smallest)
    return replace(best, error=whole.error, notes=(*whole.notes, note))


def compact_by_method(
    asked: EncodeRequest,
    source: Path,
    target: Path,
    recipe: Recipe,
    found: FinetuneResult,
    tuned: Mapping[str, TunedTensor],
    whole: Encoded,
) -> Encoded:
    """Write `target` again without dead units after training by methods; units are removed before values are quantised.

    found: its network has the original's values.
    """
    from wcodec.pipeline.encoder import encode

    if not _can_be_compact(asked, source):
        return whole
    model = found.opened.model
    try:
        small = _without_dead(found, tuned)
        if small is None:
            return whole
        with TemporaryDirectory(prefix="wcodec-") as folder:
            plain, coded = Path(folder) / source.name, Path(folder) / "compact.wcz"
            shorter, size = _write_uncoded(found, small, plain, tuned), source.stat().st_size
            made = encode(plain, coded, _as_pruned(recipe), tuned=shorter, source_bytes=size, threads=asked.threads)
            if made.file_bytes > whole.file_bytes:
                return whole
            target.write_bytes(coded.read_bytes())
    except UnsupportedError:
        return whole
    before = sum(int(one.size) for one in model.get_weights())
    return replace(made, error=whole.error, notes=(*whole.notes, _describe_removed(before, small)))


def _without_dead(found: FinetuneResult, tuned: Mapping[str, TunedTensor]) -> Compacted | None:
    """The trained network without dead units; None if there are none, or if its outputs would change.

    Raises: UnsupportedError if none of its units can be followed.
    """
    from wcodec.evaluation.keras_backend import keep_weights
    from wcodec.structure.compaction import compact

    model = found.opened.model
    with keep_weights(model):
        for index, names in found.opened.table.names.items():
            if names[0] in tuned:
                model.weights[index].assign(tuned[names[0]].values)
        small = compact(model)
        is_same = bool(small.removed) and _has_same_outputs(model, small.model, found.opened.held_out)
    return small if is_same and not _changes_exact(found, small) else None


def _changes_exact(found: FinetuneResult, small: Compacted) -> bool:
    """Whether a tensor that stays as it is (`--exclude`) would lose units, or get their constants."""
    model, table = found.opened.model, found.opened.table
    fixed = {index for index, names in table.names.items() if not set(table.exact).isdisjoint(names)}
    before = {model.weights[index].path: np.asarray(model.weights[index]) for index in fixed}
    pairs = zip(small.graph.model.weights, small.model.get_weights(), strict=True)
    return any(one.path in before and not np.array_equal(now, before[one.path]) for one, now in pairs)


def _can_be_compact(asked: EncodeRequest, source: Path) -> bool:
    return asked.compact is not False and asked.model is None and source.suffix in WHOLE


def _as_pruned(recipe: Recipe) -> Recipe:
    """The recipe for kernels that were pruned as it requests, and had more zeros before units were removed."""

    def done(options: Options) -> Options:
        return replace(options, prune=Prune("absolute", 0.0)) if options.prune else options

    rules = tuple(Rule(rule.pattern, done(rule.options)) for rule in recipe.rules)
    return replace(recipe, options=done(recipe.options), rules=rules)


def _describe_removed(before: int, small: Compacted) -> str:
    return (
        f"{small.removed:,} of {small.removable:,} units died in training and are not in the file: decode gives a "
        f"network of {small.model.count_params():,} parameters in place of {before:,}, with the same outputs; "
        "--no-compact keeps them"
    )


def _has_same_outputs(model: Network, small: Network, inputs: Examples) -> bool:
    from wcodec.evaluation.inference import compute_outputs

    few = inputs.take(np.arange(min(inputs.count, COMPARED)))
    pairs = zip(compute_outputs(model, few), compute_outputs(small, few), strict=True)
    return all(np.abs(one - other).max() <= SAME * max(1.0, float(np.abs(one).max())) for one, other in pairs)


def _write_uncoded(
    found: FinetuneResult, small: Compacted, target: Path, tuned: Mapping[str, TunedTensor]
) -> dict[str, TunedTensor]:
    """Write the network before training with only the units of `small`, and return the tensors to encode instead."""
    from wcodec.evaluation.weight_mapping import tensor_names
    from wcodec.modelfiles import open_model
    from wcodec.structure.output import write_network
    from wcodec.structure.rebuild import part_of

    opened = found.opened
    values = [np.asarray(one) for one in small.model.get_weights()]
    coded = {i: tuned[names[0]] for i, names in opened.table.names.items() if names[0] in tuned}
    places = {one.path: index for index, one in enumerate(opened.model.weights)}
    indices = [places.get(one.path, -1) for one in small.graph.model.weights]
    originals = opened.model.get_weights()
    before = [
        value if index < 0 else part_of(small.graph, variable, small.kept, originals[index])
        for value, index, variable in zip(values, indices, small.graph.model.weights, strict=True)
    ]
    small.model.set_weights(before)
    write_network(small.model, target)
    with open_model(target, keep_optimizer=False) as file:
        names = tensor_names(small.model, file)
    small.model.set_weights(values)
    made = [_code_as_before(value, coded.get(index)) for value, index in zip(values, indices, strict=True)]
    return {name: one for number, of in names.items() for name in of if (one := made[number]) is not None}


def _code_as_before(value: Float32, before: TunedTensor | None) -> TunedTensor | None:
    """A weight, or a part of one, coded as before; with constants added, at a step that keeps the outputs.

    Raises: UnsupportedError if only the whole weight can be coded so: groups, vectors and hashes depend on positions.
    """
    if before is None and not value.any():
        return None
    if isinstance(before, TableWeights | SignWeights) and np.isin(value, before.values).all():
        return type(before)(value)
    if before is not None and type(before) not in {FloatWeights, StepWeights, TableWeights, SignWeights}:
        if not np.array_equal(value, before.values):
            raise UnsupportedError(f"a part of {type(before).__name__} cannot be coded")
        return before
    step = np.float32(before.step if isinstance(before, StepWeights) else 0)
    if not step:
        return FloatWeights(value)
    if np.array_equal(np.rint(value / step) * step, value):
        return StepWeights(value, float(step))
    return StepWeights((np.rint(value / np.float32(FINE)) * np.float32(FINE)).astype(np.float32), FINE)
