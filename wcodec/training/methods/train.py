"""From a model file and labelled examples to weights trained by a method of the literature: `encode --method`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wcodec.errors import RecipeError
from wcodec.evaluation.datasets import load_examples
from wcodec.evaluation.model_loader import load_model, model_inputs
from wcodec.evaluation.weight_mapping import tensor_names
from wcodec.model import TunedTensor
from wcodec.modelfiles import open_model
from wcodec.planning.allocation import options_of
from wcodec.planning.recipe import Recipe
from wcodec.training.finetune import (
    FEWEST,
    FinetuneRequest,
    FinetuneResult,
    prepare_training,
    prepare_validation,
    split_examples,
)
from wcodec.training.methods.registry import Amounts, parse_methods, train_by_methods


@dataclass(frozen=True)
class MethodResult:
    """A network on the bench, and by tensor name what to code in place of the file's own values."""

    bench: FinetuneResult
    tuned: Mapping[str, TunedTensor]


def train_by(
    source: Path, asked: FinetuneRequest, methods: str, recipe: Recipe, told: Callable[[str], None]
) -> MethodResult:
    """Train by the methods, one after another ("gradual,sharing"). Nothing is searched: they do as they are told.

    recipe: how far they go with each tensor; what is lossless by it is not trained.
    told: hears how it goes, a line an epoch.
    Raises: RecipeError, ModelFileError, UnsupportedError.
    """
    names = parse_methods(methods)
    if asked.epochs < 1:
        raise RecipeError(f"--finetune: expected 1 epoch or more, got {asked.epochs}")
    model = load_model(source, architecture=asked.architecture, imports=asked.imports, unsafe=asked.unsafe)
    examples = load_examples(asked.data, model_inputs(model), rescale=asked.rescale, limit=asked.limit)
    if examples.labels is None or examples.count < FEWEST:
        raise RecipeError(f"--data {asked.data}: expected {FEWEST} examples or more with labels (y) to train by")
    with open_model(source) as file:
        places = tensor_names(model, file)
        options = {tensor.name: options_of(tensor, recipe) for tensor in file.tensors}
    learning, held_out = split_examples(examples)
    validation, training = prepare_validation(model, held_out), prepare_training(model, learning, asked.seed)

    def tell(name: str, epoch: int, loss: float) -> None:
        told(f"epoch {epoch} of {asked.epochs}, {name}: loss in training {loss:.4f}")

    said_of = {index: options[place[0]] for index, place in places.items()}
    amounts = {index: Amounts.of(one) for index, one in said_of.items() if not one.lossless}
    found = train_by_methods(model, training, names, asked.epochs, amounts, tell)
    said = (*examples.notes, f"{held_out.count:,} of {examples.count:,} examples are held out to measure on")
    tuned = {name: one for index, one in found.items() for name in places.get(index, ())}
    return MethodResult(FinetuneResult(asked, model, held_out, validation, (), True, places, said), tuned)
