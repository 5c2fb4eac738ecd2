"""The methods by name, and a network trained by one of them, or by several in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from wcodec.codec.plan import Prune
from wcodec.errors import RecipeError
from wcodec.model import TunedTensor
from wcodec.planning.recipe import Options
from wcodec.training.epoch import TrainingData
from wcodec.training.flat_adam import Float32
from wcodec.training.methods.binary import start_binary
from wcodec.training.methods.masked_pruning import start_pruning
from wcodec.training.methods.parametrization import Parametrization
from wcodec.training.methods.sparsity_schedules import gradual_schedule, schedule_by_rounds
from wcodec.training.methods.trained_codebooks import start_points, start_sharing
from wcodec.training.methods.trainer import MethodRun, run_method
from wcodec.training.methods.uniform_qat import start_uniform

if TYPE_CHECKING:
    from keras import Model


INITIAL: Final = 0.5
"""Sparsity with which gradual pruning begins."""


@dataclass(frozen=True)
class Amounts:
    """How far the methods go.

    bits:     2^bits values in all, 0 among them.
    clusters: the same for `sharing` and `points`; None: 2^bits.
    """

    prune: Prune | None = None
    bits: int = 4
    clusters: int | None = None

    @staticmethod
    def of(options: Options) -> Amounts:
        """As a recipe has them."""
        return Amounts(options.prune, options.bits or Amounts.bits, options.clusters)

    @property
    def pruning(self) -> Prune:
        """Nothing, where nothing was said of this kernel."""
        return self.prune or Prune("sparsity", 0.0)

    @property
    def values(self) -> int:
        """Shared values of a kernel besides 0, so that there are `clusters` in all."""
        return (self.clusters or 1 << self.bits) - 1


def _gradual(shape: str, amounts: Amounts) -> Callable[[Float32], Parametrization]:
    if amounts.pruning.rule != "sparsity":
        raise RecipeError("--method gradual: expected --sparsity, got --threshold")
    schedule = gradual_schedule(amounts.pruning, INITIAL, "linear" if shape == "linear" else "cubic")
    return partial(start_pruning, schedule=schedule, forget=False)


def _quantized(bits: int) -> Callable[[Float32], Parametrization]:
    if bits < 2:
        raise RecipeError(f"--method quantized: expected 2 bits or more, got {bits}")
    return partial(start_uniform, bits=bits)


METHODS: Final[dict[str, Callable[[Amounts], Callable[[Float32], Parametrization]]]] = {
    "magnitude": lambda a: partial(start_pruning, schedule=schedule_by_rounds(a.pruning), forget=True),
    "gradual": lambda a: _gradual("cubic", a),
    "gradual-linear": lambda a: _gradual("linear", a),
    "sharing": lambda a: partial(start_sharing, clusters=a.values, moved="sum"),
    "sharing-mean": lambda a: partial(start_sharing, clusters=a.values, moved="mean"),
    "quantized": lambda a: _quantized(a.bits),
    "points": lambda a: partial(start_points, clusters=a.values),
    "binary": lambda a: start_binary,
}
PRUNING: Final = ("magnitude", "gradual", "gradual-linear")
SHARES: Final = {"magnitude": 3}
"""Parts of the epochs, where others have one: rounds of pruning need more of them than the values that are left."""


def parse_methods(text: str) -> tuple[str, ...]:
    """Names in the order in which they follow one another: "gradual,sharing".

    Raises: RecipeError for a name that nobody knows.
    """
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in METHODS:
            raise RecipeError(f"--method: expected auto, or names among {', '.join(METHODS)}, got {name!r}")
    return names


def train_by_methods(
    model: Model,
    training: TrainingData,
    methods: Sequence[str],
    epochs: int,
    amounts: Mapping[int, Amounts],
    progress: Callable[[str, int, float], None],
) -> dict[int, TunedTensor]:
    """What to code, by places in `model.weights`; the network gets its weights back.

    methods: share the epochs by `SHARES`; each goes on from what the one before it left, and keeps its zeros.
    amounts: by places in `model.weights`; what is not among them keeps its values.
    progress: told after every epoch the method, the number of the epoch among all, and its mean loss.
    Raises: RecipeError for amounts that a method lacks, or fewer epochs than methods.
    """
    if epochs < len(methods):
        raise RecipeError(f"--finetune: expected an epoch for each of {len(methods)} methods, got {epochs}")
    if set(methods) & set(PRUNING) and not any(one.prune for one in amounts.values()):
        raise RecipeError("--method: expected --sparsity or --threshold with it, to prune by")
    ways = [{index: METHODS[name](one) for index, one in amounts.items()} for name in methods]
    before = model.get_weights()
    found: dict[int, TunedTensor] = {}
    try:
        parts = zip(methods, ways, _divide_epochs(epochs, methods), strict=True)
        for number, (name, begin, (first, last)) in enumerate(parts):

            def tell(epoch: int, loss: float, name: str = name, first: int = first) -> None:
                progress(name, first + epoch, loss)

            found = run_method(model, training, MethodRun(begin, last - first, number), tell)
    finally:
        model.set_weights(before)
    return found


def _divide_epochs(epochs: int, methods: Sequence[str]) -> list[tuple[int, int]]:
    """The first epoch of each method and the one behind its last; each has one at least."""
    shares = [SHARES.get(name, 1) for name in methods]
    ends = [0]
    for number in range(1, len(methods) + 1):
        wanted = epochs * sum(shares[:number]) // sum(shares)
        ends.append(min(max(wanted, ends[-1] + 1), epochs - len(methods) + number))
    return list(pairwise(ends))
