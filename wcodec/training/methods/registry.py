"""The table of training methods, and training by one or several of them in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

from wcodec.codec.plan import Prune
from wcodec.errors import RecipeError
from wcodec.model import TunedTensor
from wcodec.planning.idle_options import PRUNING_METHODS
from wcodec.planning.options import spell
from wcodec.planning.recipe import Options
from wcodec.training.epoch import TrainingData
from wcodec.training.flat_adam import Float32
from wcodec.training.methods.binary import start_binary
from wcodec.training.methods.hashed import start_hashed
from wcodec.training.methods.masked_pruning import Criterion, start_pruning
from wcodec.training.methods.parametrization import Parametrization
from wcodec.training.methods.sparsity_schedules import gradual_schedule, schedule_by_rounds
from wcodec.training.methods.trained_codebooks import start_points, start_sharing
from wcodec.training.methods.trainer import MethodRun, MethodState, run_method
from wcodec.training.methods.uniform_qat import UniformQuantization, start_uniform
from wcodec.training.methods.weight_groups import Range

if TYPE_CHECKING:
    from keras import Model


@dataclass(frozen=True)
class MethodOptions:
    """The options of the methods. The defaults are those of the papers.

    rounds: of `magnitude`: the number of rounds of pruning and retraining.
    initial_sparsity, prune_begin, prune_end: of `gradual`: the initial sparsity, and the fractions of the training at
        which it starts to rise and reaches its end.
    prune_every: the number of steps between two changes of the mask.
    criterion: "magnitude", or "obd": w^2 F / 2 (Le Cun, Denker and Solla 1990), with the Fisher diagonal F estimated by
        the mean square of the batch gradients.
    bucket: of `quantized` and `points`: the number of weights of an output that share a scale.
    learn_range: of `quantized`: whether the steps are trained.
    ratio: of `hashed`: values divided by weights.
    all_layers: of `binary`: whether the first and the last kernel are binary too; by default they stay in floating
        point.
    """

    rounds: int = 4
    initial_sparsity: float = 0.0
    prune_begin: float = 0.0
    prune_end: float = 0.75
    prune_every: int = 100
    criterion: Literal["magnitude", "obd"] = "magnitude"
    bucket: int | None = None
    learn_range: bool = False
    ratio: float = 1 / 16
    all_layers: bool = False

    def __post_init__(self) -> None:
        for word, least in (("rounds", 1), ("prune_every", 1), ("bucket", 1)):
            value = getattr(self, word)
            if value is not None and value < least:
                raise RecipeError(f"{spell(word)}: expected {least} or more, got {value}")
        if not 0 <= self.initial_sparsity < 1:
            raise RecipeError(f"--initial-sparsity: expected 0 to 1, got {self.initial_sparsity:g}")
        if not 0 < self.ratio < 1:
            raise RecipeError(f"--ratio: expected over 0 to less than 1, got {self.ratio:g}")
        if not 0 <= self.prune_begin < self.prune_end <= 1:
            raise RecipeError(
                "--prune-begin, --prune-end: expected parts of the training in order, "
                f"got {self.prune_begin:g} and {self.prune_end:g}"
            )
        if self.criterion not in CRITERIA:
            raise RecipeError(f"--criterion: expected {' or '.join(CRITERIA)}, got {self.criterion!r}")


@dataclass(frozen=True)
class Checkpointing:
    """Functions that save and resume the state of a training, and its time limit.

    save:     called with the state after every epoch.
    state:    the state to continue from, or None.
    deadline: a time of `time.monotonic`; the time is divided among the methods by their epochs.
    trains:   False if there is no time to train: the methods convert the weights.
    """

    save: Callable[[MethodState], None] = lambda _: None
    state: MethodState | None = None
    deadline: float = float("inf")
    trains: bool = True

    def deadline_of(self, first: int, last: int, epochs: int) -> float:
        """The deadline of the method that trains the epochs `first` to `last` - 1, computed now."""
        now = time.monotonic()
        return now + (self.deadline - now) * (last - first) / max(epochs - first, 1)


CRITERIA: Final = ("magnitude", "obd")
PAPERS: Final = MethodOptions()
"""The options of the papers."""


@dataclass(frozen=True)
class Amounts:
    """The bits, sparsity and values for one kernel.

    bits:             2^bits values in all, 0 among them.
    clusters:         the number of values of `sharing` and `points`; None: 2^bits.
    how, per_channel: the integers of `quantized`.
    seed:             of the hash of `hashed`.
    """

    prune: Prune | None = None
    bits: int = 4
    clusters: int | None = None
    how: Range = "symmetric"
    per_channel: bool = False
    options: MethodOptions = PAPERS
    seed: int = 0

    @staticmethod
    def of(options: Options, more: MethodOptions, seed: int = 0) -> Amounts:
        """The amounts that a recipe sets for a tensor."""
        how: Range = "asymmetric" if options.quantizer == "asymmetric" else "symmetric"
        bits = options.bits or Amounts.bits
        return Amounts(options.prune, bits, options.clusters, how, bool(options.per_channel), more, seed % 2**32)

    @property
    def pruning(self) -> Prune:
        """How to prune; no pruning if the recipe sets none."""
        return self.prune or Prune("sparsity", 0.0)

    @property
    def values(self) -> int:
        """The number of shared values besides 0."""
        return (self.clusters or 1 << self.bits) - 1


def _start_by_rounds(amounts: Amounts) -> Callable[[Float32], Parametrization]:
    schedule = schedule_by_rounds(amounts.pruning, amounts.options.rounds)
    return partial(start_pruning, schedule=schedule, forget=True, criterion=_choose_criterion(amounts))


def _start_gradual(shape: Literal["cubic", "linear"], amounts: Amounts) -> Callable[[Float32], Parametrization]:
    if amounts.pruning.rule != "sparsity":
        raise RecipeError("--method gradual: expected --sparsity, got --threshold")
    options = amounts.options
    span = (options.prune_begin, options.prune_end)
    schedule = gradual_schedule(amounts.pruning, options.initial_sparsity, shape, span)
    return partial(start_pruning, schedule=schedule, forget=False, criterion=_choose_criterion(amounts))


def _choose_criterion(amounts: Amounts) -> Criterion:
    if amounts.options.criterion == "obd" and amounts.pruning.rule != "sparsity":
        raise RecipeError("--criterion obd: expected --sparsity, got --threshold, which is of magnitudes")
    return amounts.options.criterion


def _start_quantized(amounts: Amounts) -> Callable[[Float32], Parametrization]:
    if amounts.bits < 2:
        raise RecipeError(f"--method quantized: expected 2 bits or more, got {amounts.bits}")
    options = amounts.options
    asked = UniformQuantization(
        amounts.bits, amounts.how, options.bucket, amounts.per_channel, learn_range=options.learn_range
    )
    return partial(start_uniform, asked=asked)


def _start_shared(
    method: str, begin: Callable[..., Parametrization], amounts: Amounts, **more: object
) -> Callable[[Float32], Parametrization]:
    if amounts.values < 2:
        raise RecipeError(f"--method {method}: expected 2 bits or more, or 3 values, got {amounts.values + 1} values")
    return partial(begin, clusters=amounts.values, **more)


METHODS: Final[dict[str, Callable[[Amounts], Callable[[Float32], Parametrization]]]] = {
    "magnitude": _start_by_rounds,
    "gradual": lambda a: _start_gradual("cubic", a),
    "gradual-linear": lambda a: _start_gradual("linear", a),
    "sharing": lambda a: _start_shared("sharing", start_sharing, a, moved="sum"),
    "sharing-mean": lambda a: _start_shared("sharing-mean", start_sharing, a, moved="mean"),
    "quantized": _start_quantized,
    "points": lambda a: _start_shared("points", start_points, a, bucket=a.options.bucket),
    "binary": lambda a: start_binary,
    "hashed": lambda a: partial(start_hashed, ratio=a.options.ratio, seed=a.seed),
}
SHARES: Final = {"magnitude": 3}
"""Shares of the epochs by method, 1 for the others. Rounds of pruning need more epochs than the values that remain."""


METHODS_OF: Final[dict[str, tuple[str, ...]]] = {
    "rounds": ("magnitude",),
    **dict.fromkeys(("initial_sparsity", "prune_begin", "prune_end"), PRUNING_METHODS[1:]),
    **dict.fromkeys(("prune_every", "criterion"), PRUNING_METHODS),
    "bucket": ("quantized", "points"),
    "learn_range": ("quantized",),
    "all_layers": ("binary",),
    "ratio": ("hashed",),
}
"""The methods that use an option."""


def refuse_idle_options(options: MethodOptions, methods: Sequence[str]) -> None:
    """Raises: RecipeError for an option that none of the methods uses."""
    for word, those in METHODS_OF.items():
        if getattr(options, word) != getattr(PAPERS, word) and not set(those) & set(methods):
            raise RecipeError(f"{spell(word)}: expected --method {' or '.join(those)} with it")


def parse_methods(text: str) -> tuple[str, ...]:
    """Names of methods in the order in which they are applied, from a text such as "gradual,sharing".

    Raises: RecipeError for an unknown name.
    """
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in METHODS:
            raise RecipeError(f"--method: expected auto, or names among {', '.join(METHODS)}, got {name!r}")
    if "hashed" in names and names[1:]:
        raise RecipeError("--method hashed: expected no other method with it, because it would undo it")
    return names


def train_by_methods(
    model: Model,
    training: TrainingData,
    methods: Sequence[str],
    epochs: int,
    amounts: Mapping[int, Amounts],
    progress: Callable[[str, int, float], None],
    checkpoints: Checkpointing | None = None,
) -> tuple[dict[int, TunedTensor], bool]:
    """Train. Returns the tensors to encode, by position in `model.weights`, and whether the training was finished.

    The network has its original weights again after the call.

    methods:  divide the epochs by `SHARES`; each starts from the result of the one before and keeps its zeros.
    amounts:  by position in `model.weights`; other weights keep their values.
    progress: called after every epoch with the method, the number of the epoch among all, and the mean loss.
    An interrupt ends the training: the remaining methods convert the weights without training them.
    Raises: RecipeError for amounts that a method lacks, or for fewer epochs than methods.
    """
    if epochs < len(methods):
        raise RecipeError(f"--finetune: expected an epoch for each of {len(methods)} methods, got {epochs}")
    if set(methods) & set(PRUNING_METHODS) and not any(one.prune for one in amounts.values()):
        raise RecipeError("--method: expected --sparsity or --threshold with it, to prune by")
    ways = [{index: METHODS[name](one) for index, one in _choose_kernels(model, name, amounts)} for name in methods]
    saved = checkpoints or Checkpointing()
    before = model.get_weights()
    found: dict[int, TunedTensor] = {}
    finished = saved.trains
    try:
        parts = zip(methods, ways, _divide_epochs(epochs, methods), strict=True)
        for number, (name, begin, (first, last)) in enumerate(parts):

            def tell(epoch: int, loss: float, name: str = name, first: int = first) -> None:
                progress(name, first + epoch, loss)

            if saved.state and number < saved.state.method:
                continue
            every = _choose_interval(name, amounts, (last - first) * training.steps)
            many, ends = last - first if finished else 0, saved.deadline_of(first, last, epochs)
            run = MethodRun(begin, many, number, every, dropout=name == "magnitude", deadline=ends)
            state = saved.state if saved.state and saved.state.method == number else None
            found, whole = run_method(model, training, run, tell, saved.save, state)
            finished = finished and whole
    finally:
        model.set_weights(before)
    return found, finished


def _divide_epochs(epochs: int, methods: Sequence[str]) -> list[tuple[int, int]]:
    """For each method its first epoch and the end of its epochs (exclusive); each has at least one."""
    shares = [SHARES.get(name, 1) for name in methods]
    ends = [0]
    for number in range(1, len(methods) + 1):
        wanted = epochs * sum(shares[:number]) // sum(shares)
        ends.append(min(max(wanted, ends[-1] + 1), epochs - len(methods) + number))
    return list(pairwise(ends))


def _choose_kernels(model: Model, name: str, amounts: Mapping[int, Amounts]) -> list[tuple[int, Amounts]]:
    """The kernels that a method trains: all, or all but the first and the last one for `binary`."""
    kernels = [index for index in sorted(amounts) if len(model.weights[index].shape) > 1]
    real = {kernels[0], kernels[-1]} if name == "binary" and kernels else set()
    return [(index, one) for index, one in amounts.items() if index not in real or one.options.all_layers]


def _choose_interval(name: str, amounts: Mapping[int, Amounts], steps: int) -> int | None:
    """The requested interval, but at most a twentieth of the training; None if nothing is pruned."""
    if name not in PRUNING_METHODS or not amounts:
        return None
    return min(next(iter(amounts.values())).options.prune_every, max(1, steps // 20))
