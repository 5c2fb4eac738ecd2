"""How good a network is, and how near to another it stays, measured on examples from `predict` alone.

Keras' own `evaluate` is not used: after reloading a file it has reported chance level for a good network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wcodec.errors import RecipeError
from wcodec.evaluation.datasets import load_examples
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.inference import batches, predict
from wcodec.evaluation.metrics import Outputs, Truth, are_probabilities, choose_class, hits_and_loss, read_labels
from wcodec.evaluation.network_loader import load_network, network_inputs
from wcodec.evaluation.runner import Network


@dataclass(frozen=True)
class Evaluation:
    """What was measured; None where it is not known.

    accuracy, baseline_accuracy, agreement: percent; agreement is of the largest outputs with the baseline's.
    accuracy_drop: points, baseline less network.
    loss:          mean cross-entropy in nats, or mean squared error.
    output_error:  sum (y - y0)^2 / sum y0^2 over all outputs, y0 the baseline's.
    ratio:         source_bytes / file_bytes.
    notes:         sentences on the examples.
    """

    examples: int
    accuracy: float | None
    loss: float | None
    baseline_accuracy: float | None
    accuracy_drop: float | None
    agreement: float | None
    output_error: float | None
    file_bytes: int | None
    source_bytes: int | None
    ratio: float | None
    notes: tuple[str, ...] = ()


def evaluate(
    model: str | Path | Network,
    data: object,
    baseline: str | Path | Network | None = None,
    *,
    rescale: float | None = None,
    limit: int | None = None,
    architecture: str | None = None,
    imports: Sequence[str] = (),
    unsafe: bool = False,
) -> Evaluation:
    """Measure `model` on `data`, and against `baseline` where one is given.

    model, baseline: networks, or files that `load_network` reads with `architecture`, `imports` and `unsafe`.
    data:            `Examples`, or what `datasets.load_examples` reads with `rescale` and `limit`.

    Labels are those of the first output. Memory holds both networks, the examples and one batch.
    Raises: RecipeError, ModelFileError, errors of the container.
    """
    opened = [
        load_network(one, architecture=architecture, imports=imports, unsafe=unsafe)
        if isinstance(one, str | Path)
        else one
        for one in (model, baseline)
        if one is not None
    ]
    examples = (
        data
        if isinstance(data, Examples)
        else load_examples(data, network_inputs(opened[0]), rescale=rescale, limit=limit)
    )
    batched = _measured(opened[0], opened[1] if len(opened) > 1 else None, examples)
    accuracy = _percent(batched, [one.hits for one in batched])
    baseline_accuracy = _percent(batched, [one.baseline_hits for one in batched])
    loss = _mean(batched, [one.loss for one in batched])
    power = sum(one.power for one in batched)
    file_bytes, source_bytes = _size(model), _size(baseline)
    return Evaluation(
        examples=examples.count,
        accuracy=accuracy,
        loss=loss,
        baseline_accuracy=baseline_accuracy,
        accuracy_drop=None if accuracy is None or baseline_accuracy is None else baseline_accuracy - accuracy,
        agreement=_percent(batched, [one.agreement for one in batched]),
        output_error=sum(one.error for one in batched) / power if power else None,
        file_bytes=file_bytes,
        source_bytes=source_bytes,
        ratio=source_bytes / file_bytes if source_bytes and file_bytes else None,
        notes=examples.notes,
    )


@dataclass(frozen=True)
class _Batch:
    """Means over the examples of one batch (hits, agreement: 0..1), and sums of squares (error, power)."""

    count: int
    hits: float | None
    loss: float | None
    baseline_hits: float | None
    agreement: float | None
    error: float
    power: float


def _measured(model: Network, baseline: Network | None, examples: Examples) -> list[_Batch]:
    """Every batch through both networks. The first one shows what the outputs are."""
    found: list[_Batch] = []
    truth: Truth | None = None
    kinds: tuple[bool, ...] = ()
    for at in batches(examples.count):
        outputs = predict(model, examples, at)
        if not kinds:
            kinds = tuple(are_probabilities(output) for output in outputs)
            if examples.labels is not None:
                truth = read_labels(examples.labels, (examples.count, *outputs[0].shape[1:]), outputs[0])
        originals = None if baseline is None else predict(baseline, examples, at)
        hits, loss = hits_and_loss(outputs[0], truth, at, probabilities=kinds[0]) if truth else (None, None)
        if originals is None:
            found.append(_Batch(at.stop - at.start, hits, loss, None, None, 0.0, 0.0))
            continue
        if [a.shape for a in originals] != [a.shape for a in outputs]:
            shapes = [a.shape[1:] for a in outputs], [a.shape[1:] for a in originals]
            raise RecipeError(f"baseline: expected outputs of shape {shapes[0]} as of the model, got {shapes[1]}")
        found.append(
            _Batch(
                count=at.stop - at.start,
                hits=hits,
                loss=loss,
                baseline_hits=hits_and_loss(originals[0], truth, at, probabilities=kinds[0])[0] if truth else None,
                agreement=_agreement(outputs, originals, kinds, truth),
                error=float(sum(np.square(y - y0).sum() for y, y0 in zip(outputs, originals, strict=True))),
                power=float(sum(np.square(y0).sum() for y0 in originals)),
            )
        )
    return found


def _agreement(
    outputs: tuple[Outputs, ...], originals: tuple[Outputs, ...], kinds: tuple[bool, ...], truth: Truth | None
) -> float | None:
    """Share of rows with the same choice, over all outputs that choose; None where none does."""
    if truth is not None and truth.task == "values":
        return None
    same = [
        float((choose_class(y, probabilities=kind) == choose_class(y0, probabilities=kind)).mean())
        for y, y0, kind in zip(outputs, originals, kinds, strict=True)
        if y.shape[-1] > 1 or kind or truth is not None
    ]
    return sum(same) / len(same) if same else None


def _mean(batched: list[_Batch], values: list[float | None]) -> float | None:
    known = [one.count * value for one, value in zip(batched, values, strict=True) if value is not None]
    return sum(known) / sum(one.count for one in batched) if len(known) == len(batched) else None


def _percent(batched: list[_Batch], values: list[float | None]) -> float | None:
    mean = _mean(batched, values)
    return None if mean is None else 100 * mean


def _size(model: str | Path | Network | None) -> int | None:
    """Bytes of a file, or of all files in a folder."""
    if not isinstance(model, str | Path):
        return None
    path = Path(model)
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
