"""The plan of a tensor: how it is pruned, quantised and coded. `planning` makes plans, `codec` carries them out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from wcodec.errors import RecipeError
from wcodec.model import GroupWeights, HashedWeights, RowStepWeights, VectorCodebook

Effort = Literal["fast", "normal", "best"]
Start = Literal["linear", "density", "kmeans++"]
Affine: TypeAlias = Literal["symmetric", "asymmetric", "binary"]


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
class ExactPlan:
    """The values come back bit for bit."""

    effort: Effort = "normal"


@dataclass(frozen=True)
class _Lossy:
    """What every plan that loses something has.

    prune: None prunes nothing.
    limit: larger magnitudes, and what is not finite, are stored exactly as outliers.
    coder: "auto" or a name of `level_coders.FAMILIES`.
    """

    prune: Prune | None = None
    limit: float = float("inf")
    coder: str = "auto"
    effort: Effort = "normal"


@dataclass(frozen=True)
class FloatPlan(_Lossy):
    """Mantissa bits are dropped.

    mantissa: bits that are kept; dtype: the type that values are rounded to before that.
    """

    mantissa: int = 23
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"

    @property
    def keeps_bits(self) -> bool:
        """Whether values of up to float32 that are not pruned come back bit for bit."""
        return self.mantissa == 23 and self.dtype == "float32"


@dataclass(frozen=True)
class UniformPlan(_Lossy):
    """Integers times a step, plain or by a trellis, of the weights or of a transform of them.

    step:      in units of the weights; plain rounding by it has the error that is wanted.
    lambda_:   squared error, in units of step^2, that a bit is worth; 0: plain rounding.
    states:    of the trellis; 0: none.
    few:       whether a codebook may stand in where the tensor has few different values.
    transform: whether a transform may be tried.
    zeros:     whether zeros stay zeros; a transform would move them.
    """

    step: float = 0.0
    lambda_: float = 0.0
    states: Literal[0, 4, 8, 128] = 0
    few: bool = False
    transform: bool = True
    zeros: bool = False


@dataclass(frozen=True)
class CodebookPlan(_Lossy):
    """A codebook of single weights by k-means; without `clusters` and `step`: of all values that the tensor has.

    clusters: entries of the codebook, level 0 included; None where `step` and `lambda_` (as in `UniformPlan`) decide.
    start:    the first centroids; seed: of random ones.
    """

    clusters: int | None = None
    step: float = 0.0
    lambda_: float = 0.0
    start: Start = "linear"
    seed: int = 0


@dataclass(frozen=True)
class ProductPlan(_Lossy):
    """A codebook of blocks of weights (product quantisation); a tensor without rows is coded by `step` alone.

    clusters, step, lambda_: as in `CodebookPlan`.
    block: weights that share a code; None: chosen by the shape.
    aligned: whether a code is whole bytes, for programs that look vectors up.
    given: the codebook that training chose, in place of one that is learned.
    """

    clusters: int | None = None
    step: float = 0.0
    lambda_: float = 0.0
    block: int | None = None
    aligned: bool = False
    given: VectorCodebook | None = field(default=None, compare=False)


@dataclass(frozen=True)
class AffinePlan(_Lossy):
    """Integers of a few bits (`quantizers.affine`).

    outputs: the axis of the tensor's outputs where each has a step of its own; "": one step for all weights.
    given:   steps that calibration chose, and integers of any number of bits.
    """

    how: Affine = "symmetric"
    bits: int = 8
    outputs: Literal["", "first", "last"] = ""
    given: RowStepWeights | None = field(default=None, kw_only=True, compare=False)


@dataclass(frozen=True)
class GroupPlan(_Lossy):
    """Points times the steps of groups that training chose.

    given: the points and the steps.
    """

    given: GroupWeights = field(kw_only=True, compare=False)


@dataclass(frozen=True)
class HashedPlan(_Lossy):
    """Values that the weights share by a hash, as training chose them. given: the values, the step and the seed."""

    given: HashedWeights = field(kw_only=True, compare=False)


Plan: TypeAlias = ExactPlan | FloatPlan | UniformPlan | CodebookPlan | ProductPlan | AffinePlan | GroupPlan | HashedPlan
"""What one tensor gets, with every choice made that does not need its values a second time."""
LossyPlan: TypeAlias = FloatPlan | UniformPlan | CodebookPlan | ProductPlan | AffinePlan | GroupPlan | HashedPlan
