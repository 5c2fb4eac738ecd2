"""The request of an encoding that runs the model, and the opened model with its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.codebook_weights import CodebookRequest
from wcodec.calibration.network_table import make_network_table
from wcodec.calibration.quantizable_weights import WeightTable
from wcodec.calibration.session import CalibrationSession, prepare_session
from wcodec.codec.plan import FloatPlan
from wcodec.codec.statistics import scan_tensors
from wcodec.evaluation.datasets import check_spec, load_split
from wcodec.evaluation.examples import MAX_HELD_OUT, Examples, hold_out
from wcodec.evaluation.inference import BATCH, count_predictions, predict
from wcodec.evaluation.network_loader import find_outputs, load_network, network_inputs
from wcodec.evaluation.runner import Network
from wcodec.model import Model as ModelFile
from wcodec.modelfiles import open_model
from wcodec.planning.allocation import exact_names, plan_model
from wcodec.planning.recipe import Recipe

Sampler: TypeAlias = Literal["tpe", "cmaes"]


@dataclass(frozen=True)
class SearchRequest:
    """The request of a search, see `policy_search`.

    trials:   the number of real encodings, including those of an earlier search that is continued.
    journal:  the file of Optuna's journal.
    resume:   whether trials that are in it count.
    settings: JSON that must be the same to resume.
    page:     the HTML file of the history, if any.
    workers:  the number of processes.
    executor: runs the workers on other machines, which see the same files.
    """

    trials: int
    journal: Path
    resume: bool = False
    sampler: Sampler = "tpe"
    settings: str = "{}"
    page: Path | None = None
    workers: int = 1
    executor: Executor | None = None


MAX_FITTED: Final = 2000
"""The largest number of inputs for rounding with feedback; more do not change its result."""


def name_data(data: object) -> str:
    """The name of the data in errors: the text of the user, or the type of a Python object."""
    return str(data) if isinstance(data, str | Path) else type(data).__name__


@dataclass(frozen=True)
class LearningRequest:
    """The options of calibration, of training with and without labels, of the methods, and of sweeps.

    data:      where the examples are, see `datasets.load_examples`. Calibration uses labels to measure only.
    validation: likewise, the held-out examples; None: a part of `data`.
    budget:    what may be lost on held-out examples; its bytes are of the file; where nothing is said the default.
    steps:     of training without labels; None: as many as `work.planned_steps` counts, 0: none.
    epochs:    of training with labels; augment: "images" to train on moved copies of images too.
    seconds:   after which all of it ends early.
    resume:    continue where an earlier training was ended; state: the file that holds it.
    search:    for a better policy, from what calibration finds; then nothing is trained.
    sensitivity: by which steps begin, see `sensitivity.measure_costs`; None: not at all.
    codebooks: in place of steps; then nothing is trained.
    recipe:    what it codes exactly stays as it is.
    limit, rescale: see `load_examples`; architecture, imports, unsafe: see `load_network`.
    """

    data: object
    validation: object = None
    budget: AccuracyBudget = field(default_factory=AccuracyBudget)
    steps: int | None = None
    epochs: int = 0
    augment: str | None = None
    seconds: float = float("inf")
    resume: bool = False
    state: Path | None = None
    codebooks: CodebookRequest | None = None
    search: SearchRequest | None = None
    sensitivity: str | None = None
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    limit: int | None = None
    rescale: float | None = None
    architecture: object = None
    imports: Sequence[str] = ()
    unsafe: bool = False

    @property
    def data_name(self) -> str:
        """See `name_data`."""
        return name_data(self.data)

    def load(self, path: Path) -> Network:
        """The network in a file; one of Keras is uncompiled.

        Raises: RecipeError where the data are not there, before a framework is imported.
        """
        check_spec(self.data)
        check_spec(self.validation, "--validation")
        return load_network(path, architecture=self.architecture, imports=self.imports, unsafe=self.unsafe)


@dataclass(frozen=True)
class OpenedSession:
    """A network with its data. learning: the examples that are not held out; file: its name; predictions: of one
    example, see `count_predictions`.
    """

    request: LearningRequest
    model: Network
    table: WeightTable
    learning: Examples
    held_out: Examples
    file: str = ""
    predictions: int = 1

    def prepare(self, most: int) -> CalibrationSession:
        """A session for calibration on at most this number of examples."""
        session = prepare_session(
            self.model, self.learning, self.held_out, most=most, seed=self.request.seed, table=self.table
        )
        return replace(session, file=self.file)


def _find_mantissas(file: ModelFile, recipe: Recipe) -> dict[str, int]:
    """The mantissa bits in the file of each tensor that is coded as floats of fewer bits."""
    surveys = [found.statistics for found in scan_tensors(file.tensors, 0)]
    plain = replace(recipe, target_bytes=None, target_ratio=None, max_error=None)
    plans = zip(file.tensors, plan_model(file, surveys, plain), strict=True)
    return {tensor.name: plan.mantissa for tensor, plan in plans if isinstance(plan, FloatPlan)}


def open_session(
    source: Path, request: LearningRequest, log: Callable[[str], None] = lambda _: None, most: int = MAX_HELD_OUT
) -> OpenedSession:
    """Load the network of `source` and the data, find the tensor name of each weight, and hold out examples.

    most: of the examples, see `hold_out`.
    log: called with sentences about the examples as soon as they are known.
    Raises: RecipeError, ModelFileError, UnsupportedError.
    """
    model = request.load(source)
    wanted = network_inputs(model), find_outputs(model)
    examples, others = load_split(
        request.data, request.validation, *wanted, rescale=request.rescale, limit=request.limit
    )
    for note in examples.notes:
        log(note)
    count = count_predictions(predict(model, examples, slice(0, min(BATCH, examples.count))))
    if others is None:
        learning, held_out = hold_out(examples, count, most)
        each = f", each with {count:,} predictions" if count > 1 else ""
        log(f"{held_out.count:,} of {examples.count:,} examples are held out to measure on{each}")
    else:
        learning, held_out = examples, others
        log(f"{held_out.count:,} examples of --validation choose and measure")
    with open_model(source) as file:
        exact = exact_names(file, request.recipe) | {tensor.name for tensor in file.tensors if tensor.exact}
        table = make_network_table(model, file, exact, examples.inputs)
        bits = _find_mantissas(file, request.recipe)
    known = {index: [bits[name] for name in names if name in bits] for index, names in table.names.items()}
    table = replace(table, mantissas={index: min(some) for index, some in known.items() if some})
    if table.missed:
        few = ", ".join(table.missed[:3]) + (", ..." if len(table.missed) > 3 else "")
        log(f"{len(table.missed):,} tensors are not followed and are coded as without data: {few}")
    return OpenedSession(request, model, table, learning, held_out, source.name, count)
