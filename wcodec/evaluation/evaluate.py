"""How good a network is, and how near to another it stays, measured on examples from `predict` alone.

Keras' own `evaluate` is not used: after reloading a file it has reported chance level for a good network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from wcodec.errors import RecipeError
from wcodec.evaluation.datasets import check_spec, load_examples
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.inference import batches, predict
from wcodec.evaluation.metrics import Outputs
from wcodec.evaluation.network_loader import (
    find_outputs,
    load_network,
    network_inputs,
    network_outputs,
    predicted_tasks,
)
from wcodec.evaluation.output_kinds import OutputKind, output_kinds
from wcodec.evaluation.output_scores import BatchSums, OutputScores, measure_batch, score_output
from wcodec.evaluation.runner import Network

OutputBatch: TypeAlias = tuple[slice, tuple[Outputs, ...], tuple[Outputs, ...] | None]
"""Which examples, the outputs for them, and those of the baseline."""


@dataclass(frozen=True)
class Evaluation:
    """The figures of a measured network; None for an unknown one. See `OutputScores` for the figures of an output.

    accuracy, baseline_accuracy, accuracy_drop: of the output whose accuracy drops most.
    loss, baseline_loss: of the output whose loss rises most; mae, baseline_mae, r2, baseline_r2: of that of values.
    agreement, output_error: of the worst output.
    ratio:               source_bytes / file_bytes.
    outputs:             the figures of each output.
    notes:               sentences on the examples.
    """

    examples: int
    accuracy: float | None
    loss: float | None
    baseline_accuracy: float | None
    baseline_loss: float | None
    accuracy_drop: float | None
    agreement: float | None
    mae: float | None
    baseline_mae: float | None
    r2: float | None
    baseline_r2: float | None
    output_error: float | None
    file_bytes: int | None
    source_bytes: int | None
    ratio: float | None
    outputs: tuple[OutputScores, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def loss_rise(self) -> float | None:
        """Percent by which the loss of an output rises, at most."""
        return max((one.loss_rise for one in self.outputs if one.loss_rise is not None), default=None)


def evaluate(
    model: str | Path | Network,
    data: object,
    baseline: str | Path | Network | None = None,
    *,
    rescale: float | None = None,
    limit: int | None = None,
    architecture: object = None,
    imports: Sequence[str] = (),
    unsafe: bool = False,
    max_output: int | str | None = None,
) -> Evaluation:
    """Measure `model` on `data`, and against `baseline` where one is given.

    model, baseline: networks, or files that `load_network` reads with architecture, imports, unsafe and max_output.
    data:            `Examples`, or what `datasets.load_examples` reads with `rescale` and `limit`.

    Memory holds both networks, the examples and one batch.
    Raises: RecipeError, ModelFileError, errors of the container.
    """
    check_spec(data)
    opened = [
        load_network(one, architecture=architecture, imports=imports, unsafe=unsafe, max_output=max_output)
        if isinstance(one, str | Path)
        else one
        for one in (model, baseline)
        if one is not None
    ]
    examples = (
        data
        if isinstance(data, Examples)
        else load_examples(data, network_inputs(opened[0]), find_outputs(opened[0]), rescale=rescale, limit=limit)
    )
    original = opened[1] if len(opened) > 1 else None
    outputs = _measure_outputs(opened[0], original, examples, _run(opened[0], original, examples))
    return summarize(outputs, examples, _measure_size(model), _measure_size(baseline))


def compare_outputs(
    model: Network, baseline: Network, examples: Examples, outputs: tuple[Outputs, ...], originals: tuple[Outputs, ...]
) -> Evaluation:
    """The evaluation of a network against another from the outputs of both, see `inference.compute_outputs`."""
    run = ((at, tuple(y[at] for y in outputs), tuple(y[at] for y in originals)) for at in batches(examples.count))
    return summarize(_measure_outputs(model, baseline, examples, run), examples, None, None)


def summarize(
    outputs: tuple[OutputScores, ...], examples: Examples, file_bytes: int | None, source_bytes: int | None
) -> Evaluation:
    """The evaluation of a network from the figures of its outputs."""
    unknown, worst = OutputScores(""), float("-inf")
    classes = [one for one in outputs if one.accuracy is not None]
    labelled = [one for one in outputs if one.loss is not None]
    values = [one for one in labelled if one.mae is not None]

    def rise(one: OutputScores) -> float:
        return worst if one.loss_rise is None else one.loss_rise

    most = max(classes, key=lambda one: worst if one.accuracy_drop is None else one.accuracy_drop, default=unknown)
    risen, missed = max(labelled, key=rise, default=unknown), max(values, key=rise, default=unknown)
    return Evaluation(
        examples=examples.count,
        accuracy=most.accuracy,
        loss=risen.loss,
        baseline_accuracy=most.baseline_accuracy,
        baseline_loss=risen.baseline_loss,
        accuracy_drop=most.accuracy_drop,
        agreement=min((one.agreement for one in outputs if one.agreement is not None), default=None),
        mae=missed.mae,
        baseline_mae=missed.baseline_mae,
        r2=missed.r2,
        baseline_r2=missed.baseline_r2,
        output_error=max((one.output_error for one in outputs if one.output_error is not None), default=None),
        file_bytes=file_bytes,
        source_bytes=source_bytes,
        ratio=source_bytes / file_bytes if source_bytes and file_bytes else None,
        outputs=outputs,
        notes=examples.notes,
    )


def _run(model: Network, baseline: Network | None, examples: Examples) -> Iterator[OutputBatch]:
    """Every batch through both networks."""
    for at in batches(examples.count):
        yield at, predict(model, examples, at), None if baseline is None else predict(baseline, examples, at)


def _measure_outputs(
    model: Network, baseline: Network | None, examples: Examples, run: Iterable[OutputBatch]
) -> tuple[OutputScores, ...]:
    """The figures of each output. The first batch shows what the outputs are."""
    found: list[list[BatchSums]] = []
    kinds: tuple[OutputKind, ...] = ()
    centres = []
    for at, outputs, originals in run:
        if originals is not None and [a.shape for a in originals] != [a.shape for a in outputs]:
            shapes = [a.shape[1:] for a in outputs], [a.shape[1:] for a in originals]
            raise RecipeError(f"baseline: expected outputs of shape {shapes[0]} as of the model, got {shapes[1]}")
        if not kinds:
            first = outputs if originals is None else originals
            names = [names[0] for names in network_outputs(model)]
            said = [predicted_tasks(one) for one in (model, baseline) if one is not None]
            tasks = next((one for one in said if set(one) != {"unknown"}), said[0])
            kinds = output_kinds(first, examples.labels, examples.count, names=names, tasks=tasks)
            centres = [one.reshape(-1, one.shape[-1]).mean(axis=0) for one in first]
            found = [[] for _ in kinds]
        for number, kind in enumerate(kinds):
            original = None if originals is None else originals[number]
            found[number].append(measure_batch(kind, outputs[number], original, at, centres[number]))
    return tuple(score_output(kind, some) for kind, some in zip(kinds, found, strict=True))


def _measure_size(model: str | Path | Network | None) -> int | None:
    """Bytes of a file, or of all files in a folder."""
    if not isinstance(model, str | Path):
        return None
    path = Path(model)
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
