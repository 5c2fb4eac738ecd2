"""From a model file and labelled examples to a smaller network: what `encode --finetune` does before it encodes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from wcodec.calibration.quantizable_weights import estimate_bytes, make_weight_table
from wcodec.errors import BudgetError, RecipeError
from wcodec.evaluation.datasets import load_examples
from wcodec.evaluation.evaluate import Evaluation, evaluate
from wcodec.evaluation.examples import Batches, Examples
from wcodec.evaluation.inference import compute_outputs
from wcodec.evaluation.metrics import read_labels
from wcodec.evaluation.model_loader import load_model, model_inputs
from wcodec.evaluation.weight_mapping import tensor_names
from wcodec.model import TunedTensor
from wcodec.modelfiles import open_model
from wcodec.planning.allocation import exact_names
from wcodec.planning.recipe import Recipe
from wcodec.training import checkpoint
from wcodec.training.candidate import Net, put, tuned, worth
from wcodec.training.epoch import School
from wcodec.training.initialization import begin_from, rounded_plainly, rounded_without_labels, trained_without_labels
from wcodec.training.lambda_control import Budget, Exam
from wcodec.training.losses import lesson
from wcodec.training.qat_state import pupil
from wcodec.training.training_loop import Search, Standing, begun, finetune
from wcodec.training.unit_pruning import ordered

if TYPE_CHECKING:
    from keras import Model


FEWEST: Final = 50
"""Examples."""
APART: Final = (0.15, 0.2, 1000, 5000)
"""Examples kept apart: this part of all; of few, this part, up to so many; at most so many."""
NORMALIZING: Final = 4000
"""Examples for the statistics of BatchNormalization, in batches of BATCH."""
BATCH: Final = 100
SURE: Final = 0.6
"""Part of the bytes of rounding without labels, over which training without labels is tried, too."""
ROUNDING: Final = 0.3
"""Part of the time for the rounding that training begins from."""

Told = Callable[[str], None]


@dataclass(frozen=True)
class Lessons:
    """What the user asked of an encoding by training.

    data:     where the examples are, see `data.load`; they need labels.
    budget:   what must be kept to on examples kept apart.
    resume:   go on where an earlier run was ended; state: the file where that stands.
    seconds:  for all of it: so many epochs are made as fit in.
    recipe:   what it codes exactly stays as it is.
    """

    data: str
    epochs: int
    budget: Budget
    state: Path
    resume: bool = False
    seconds: float = float("inf")
    limit: int | None = None
    rescale: float | None = None
    architecture: str | None = None
    imports: Sequence[str] = ()
    unsafe: bool = False
    seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True)
class Finetuned:
    """A network on the bench and what was found for it, best first. finished: training was not interrupted."""

    lessons: Lessons
    model: Model
    held_out: Examples
    exam: Exam
    nets: tuple[Net, ...]
    finished: bool
    names: Mapping[int, tuple[str, ...]]
    notes: tuple[str, ...]


def train(source: Path, asked: Lessons, told: Told) -> Finetuned:
    """The smallest networks that training found within the budget.

    told: hears how it goes, a line an epoch.
    Raises: RecipeError, ModelFileError, UnsupportedError; BudgetError where nothing found is within the budget.
    """
    started = time.monotonic()
    if asked.epochs < 1:
        raise RecipeError(f"--finetune: expected 1 epoch or more, got {asked.epochs}")
    model = load_model(source, architecture=asked.architecture, imports=asked.imports, unsafe=asked.unsafe)
    examples = load_examples(asked.data, model_inputs(model), rescale=asked.rescale, limit=asked.limit)
    if examples.labels is None:
        raise RecipeError(f"--data {asked.data}: expected labels (y) to train by, found none; --tune needs no labels")
    if examples.count < FEWEST:
        raise RecipeError(f"--data {asked.data}: expected {FEWEST} examples or more, got {examples.count}")
    with open_model(source) as file:
        table = make_weight_table(model, tensor_names(model, file), exact_names(file, asked.recipe))
    learning, held_out = apart(examples)
    exam = examined(model, held_out)
    school = schooled(model, learning, asked.seed)
    facts = facts_of(source, asked, table.exact)
    before = checkpoint.read(asked.state, facts) if asked.resume else None
    said = [*examples.notes, f"{held_out.count:,} of {examples.count:,} examples were kept apart to measure on"]
    if asked.resume:
        done = before.done if before else 0
        told(f"resumed after epoch {done}" if before else f"{asked.state.name}: not there, so the training begins anew")

    def tell(now: Standing, net: Net, loss: float) -> None:
        checkpoint.save(asked.state, now, facts)
        told(_line(asked, exam, now, net, loss))

    learner = pupil(model, school.lesson, table)
    search = Search(learner, school, exam, asked.budget, asked.epochs, tell, started + asked.seconds)
    original = model.get_weights()
    if before is None:
        rounded, first = rounded_without_labels(
            model, learning, exam, asked.budget, asked.seed, ROUNDING * asked.seconds, table
        )
        if not any(exam.allows(net, asked.budget) for net in rounded):
            rounded = (*rounded, *rounded_plainly(learner, school, exam))
        begin_from(learner, first, asked.epochs * (school.count // school.batch))
        before = begun(search, rounded)
        model.set_weights(original)
        told(_line(asked, exam, before, rounded[-1], None))
    nets, finished = finetune(search, before)
    if finished and nets and asked.budget.bytes is None and nets[0].bytes > SURE * before.size:
        nets = (*trained_without_labels(model, learning, exam, asked.budget, asked.seed, table), *nets)
        nets = search.best(nets)
    if not nets:
        asked.state.unlink(missing_ok=True)
        raise BudgetError(f"{source.name}: expected {_words(asked.budget)}, found no such network by training")
    return Finetuned(asked, model, held_out, exam, nets, finished, table.names, tuple(said))


def apart(examples: Examples) -> tuple[Examples, Examples]:
    """What may be learned, and what is kept apart, evenly spread."""
    part, most, few, many = APART
    count = min(max(round(part * examples.count), min(round(most * examples.count), few)), many)
    chosen = np.linspace(0, examples.count - 1, count).round().astype(np.intp)
    others = np.setdiff1d(np.arange(examples.count), chosen)
    return _rows(examples, others), _rows(examples, chosen)


def _rows(examples: Examples, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Examples:
    labels = None if examples.labels is None else examples.labels[rows]
    return Examples(tuple(array[rows] for array in examples.inputs), labels)


def schooled(model: Model, examples: Examples, seed: int) -> School:
    """The lessons that the network's own answers and the labels make. It must have its original weights."""
    answers = compute_outputs(model, examples)
    if examples.labels is None:
        raise RecipeError(f"{model.name}: expected labels to train by, got none")
    truth = read_labels(examples.labels, (examples.count, *answers[0].shape[1:]), answers[0])
    rows = np.linspace(0, examples.count - 1, min(NORMALIZING, examples.count)).round().astype(np.intp)
    parts: Batches = [
        tuple(array[part] for array in examples.inputs) for part in np.array_split(rows, -(-len(rows) // BATCH))
    ]
    return School(examples, lesson(answers, truth), parts, seed)


def examined(model: Model, held_out: Examples) -> Exam:
    """What is judged by, with the worth of the network as it is."""
    first = compute_outputs(model, held_out)[0]
    if held_out.labels is None:
        raise RecipeError(f"{model.name}: expected labels to judge by, got none")
    truth = read_labels(held_out.labels, (held_out.count, *first.shape[1:]), first)
    accuracy, loss = worth(model, held_out, truth)
    variance = max(float(np.var(truth.labels)), 1e-30) if truth.task == "values" else 1.0
    return Exam(held_out, truth, accuracy, loss, variance)


def choices(found: Finetuned) -> Iterator[Mapping[str, TunedTensor]]:
    """What to code in place of the file's own values, by tensor name: for each network, best first."""
    for net in found.nets:
        coded = tuned(_in_order(found, net))
        yield {name: one for index, one in coded.items() for name in found.names.get(index, ())}


def _in_order(found: Finetuned, net: Net) -> Net:
    """With the hidden units of a plain chain of layers in an order that costs fewer bytes, where there is one."""
    levels = {one.index: one.levels for one in net.rounded}
    if levels.keys() != set(range(len(found.model.weights))):
        return net
    order = ordered(found.model, [levels[index] for index in sorted(levels)])
    rounded = tuple(replace(one, levels=order[one.index]) for one in net.rounded)
    size = sum(estimate_bytes(one.levels) for one in rounded)
    if size >= net.bytes:
        return net
    before = found.model.get_weights()
    put(found.model, replace(net, rounded=rounded))
    accuracy, loss = worth(found.model, found.held_out, found.exam.truth)
    found.model.set_weights(before)
    sorted_net = Net(rounded, net.others, size, accuracy, loss)
    # Sums in another order may tip an example.
    return sorted_net if found.exam.allows(sorted_net, found.lessons.budget) else net


def measured(found: Finetuned, coded: Path) -> Evaluation:
    """What the finished .wcz loses on the examples kept apart.

    Raises: BudgetError where that is more than the budget allows.
    """
    asked = found.lessons
    restored: Model = load_model(coded, architecture=asked.architecture, imports=asked.imports, unsafe=asked.unsafe)
    accuracy, loss = worth(restored, found.held_out, found.exam.truth)
    drop = found.exam.drop(Net((), (), 0, accuracy, loss))
    if asked.budget.drop is not None and drop > asked.budget.drop:
        raise BudgetError(f"{coded.name}: expected a drop of at most {asked.budget.drop:g} points, got {drop:.2f}")
    return evaluate(restored, found.held_out, found.model)


def facts_of(source: Path, asked: Lessons, excluded: Sequence[str] = ()) -> checkpoint.Facts:
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    drop, size = asked.budget.drop, asked.budget.bytes
    return checkpoint.Facts(
        digest, asked.data, asked.epochs, drop, size, asked.seed, asked.limit, asked.rescale, list(excluded)
    )


def _line(asked: Lessons, exam: Exam, now: Standing, net: Net, loss: float | None) -> str:
    worth = f"loss {net.loss:.4g} (before {exam.loss:.4g})"
    if net.accuracy is not None:
        worth = f"{net.accuracy:.2f} % of those kept apart (before {exam.accuracy:.2f})"
    best = f"; best {now.found[0].bytes:,} bytes" if now.found else ""
    if loss is None:
        return f"rounded without labels: about {net.bytes:,} bytes, {worth}{best}"
    return f"epoch {now.done} of {asked.epochs}: about {net.bytes:,} bytes, {worth}, loss in training {loss:.4f}{best}"


def _words(budget: Budget) -> str:
    drop = None if budget.drop is None else f"a drop of at most {budget.drop:g} points"
    size = None if budget.bytes is None else f"at most {budget.bytes:,} bytes of weights"
    return " and ".join(words for words in (drop, size) if words)
