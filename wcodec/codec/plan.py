"""The plan of a tensor: how it is pruned, quantised and coded. `planning` makes plans, `codec` executes them."""

from __future__ import annotations

from typing import Literal, TypeAlias

from wcodec.errors import RecipeError
from wcodec.model import GroupWeights, HashedWeights, RowStepWeights, VectorCodebook
from wcodec.model.dataclass import dataclass, field

Effort = Literal["fast", "normal", "best"]
Start = Literal["linear", "density", "kmeans++"]
Affine: TypeAlias = Literal["symmetric", "asymmetric", "binary"]


@dataclass(frozen=True)
class Prune:
    """Set weights of small magnitude to zero.

    rule: "absolute": |w| <= amount; "deviations": |w| <= amount * standard deviation of the tensor (Han et al. 2015);
          "sparsity": the smallest weights, `amount` (0..1) of all.
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
    """The values are stored exactly."""

    effort: Effort = "normal"


@dataclass(frozen=True)
class _Lossy:
    """The fields of every lossy plan.

    prune: None prunes nothing.
    limit: larger magnitudes, and values that are not finite, are stored exactly as outliers.
    coder: "auto" or a name of `level_coders.FAMILIES`.
    """

    prune: Prune | None = None
    limit: float = float("inf")
    coder: str = "auto"
    effort: Effort = "normal"


@dataclass(frozen=True)
class FloatPlan(_Lossy):
    """Floats with fewer mantissa bits.

    mantissa: the number of mantissa bits.
    dtype:    the type to which values are rounded before that.
    """

    mantissa: int = 23
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"

    @property
    def keeps_bits(self) -> bool:
        """Whether values of up to float32 that are not pruned are stored exactly."""
        return self.mantissa == 23 and self.dtype == "float32"


@dataclass(frozen=True)
class UniformPlan(_Lossy):
    """Integers times a step, by plain rounding or by a trellis, of the weights or of their transform.

    step:      in units of the weights; plain rounding with it has the requested error.
    lambda_:   the squared error, in units of step^2, that a bit is worth; 0: plain rounding.
    states:    of the trellis; 0: none.
    few:       whether a codebook may be used if the tensor has few different values.
    transform: whether a transform may be tried.
    zeros:     whether zeros stay zeros; a transform would change them.
    """

    step: float = 0.0
    lambda_: float = 0.0
    states: Literal[0, 4, 8, 128] = 0
    few: bool = False
    transform: bool = True
    zeros: bool = False


@dataclass(frozen=True)
class CodebookPlan(_Lossy):
    """A codebook of single weights by k-means; without `clusters` and `step`, of all values of the tensor.

    clusters: entries of the codebook, level 0 included; None if `step` and `lambda_` (as in `UniformPlan`) decide.
    start:    the initial centroids.
    seed:     of random ones.
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
    block:                   the number of weights that share a code; None: chosen by the shape.
    aligned:                 whether a code has whole bytes, for programs that look vectors up.
    given:                   the codebook from training, instead of one from k-means.
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

    outputs: the axis of the tensor's outputs if each has its own step; "": one step for all weights.
    given:   the steps from calibration, with integers of any number of bits.
    """

    how: Affine = "symmetric"
    bits: int = 8
    outputs: Literal["", "first", "last"] = ""
    given: RowStepWeights | None = field(default=None, kw_only=True, compare=False)


@dataclass(frozen=True)
class GroupPlan(_Lossy):
    """Codebook points times the steps of groups. given: the points and the steps from training."""

    given: GroupWeights = field(kw_only=True, compare=False)


@dataclass(frozen=True)
class HashedPlan(_Lossy):
    """Values that weights share by a hash. given: the values, the step and the seed from training."""

    given: HashedWeights = field(kw_only=True, compare=False)


Plan: TypeAlias = ExactPlan | FloatPlan | UniformPlan | CodebookPlan | ProductPlan | AffinePlan | GroupPlan | HashedPlan
"""The plan of one tensor, with all choices that do not need its values again."""
LossyPlan: TypeAlias = FloatPlan | UniformPlan | CodebookPlan | ProductPlan | AffinePlan | GroupPlan | HashedPlan
