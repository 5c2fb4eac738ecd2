"""The plan of a tensor: how it is pruned, quantized and coded. `planning` makes plans, `codec` carries them out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from wcodec.errors import RecipeError
from wcodec.model import VectorCodebook

Effort = Literal["fast", "normal", "best"]
Start = Literal["linear", "density", "kmeans++"]


@dataclass(frozen=True)
class Prune:
    """Zero the weights of small magnitude.

    rule:   "absolute": |w| <= amount; "deviations": |w| <= amount * standard deviation of the tensor (Han et al. 2015);
            "sparsity": the smallest `amount` part (0..1) of the weights.
    Raises: RecipeError for an amount out of range.
    """

    rule: Literal["absolute", "deviations", "sparsity"]
    amount: float

    def __post_init__(self) -> None:
        top = 1.0 if self.rule == "sparsity" else float("inf")
        if not 0.0 <= self.amount <= top:
            raise RecipeError(f"{'sparsity' if top == 1 else 'threshold'}: expected 0 to {top:g}, got {self.amount:g}")


@dataclass(frozen=True)
class Plan:
    """What one tensor gets, with every choice made that does not need its values a second time.

    how:       "exact"; "float": drop mantissa bits; "table": a codebook of all values; the others: see `quantize`.
    prune:     None prunes nothing.
    limit:     larger magnitudes, and what is not finite, are kept exactly beside the levels.
    step:      distance of levels at which plain rounding has the error that is wanted, in units of the weights.
    clusters:  size of the codebook, level 0 included; None where `step` decides. `start` and `block` as in Options.
    few:       whether a codebook may stand in for "uniform" where values are few; transform: a rotated basis for taps.
    bits:      of "symmetric" and "asymmetric"; outputs: where a tensor has them, if each has a step of its own.
    mantissa:  bits of mantissa kept by "float"; kind: what values are rounded to before that.
    given:     what learning chose in place of a codebook of `clusters`.
    rate:      squared error, in units of the step, that a bit is worth; 0: plain rounding.
    states:    of the trellis quantiser: 0, 4, 8 or 128.
    """

    how: Literal["exact", "float", "uniform", "kmeans", "table", "product", "symmetric", "asymmetric", "binary"]
    prune: Prune | None = None
    limit: float = float("inf")
    step: float = 0.0
    clusters: int | None = None
    block: int | None = None
    given: VectorCodebook | None = field(default=None, compare=False)
    start: Start = "linear"
    bits: int = 8
    outputs: Literal["", "first", "last"] = ""
    mantissa: int = 23
    kind: Literal["float32", "float16", "bfloat16"] = "float32"
    rate: float = 0.0
    states: Literal[0, 4, 8, 128] = 0
    few: bool = False
    transform: bool = True
    coder: str = "auto"
    effort: Effort = "normal"
    seed: int = 0
