"""The user's request: options for all tensors, and rules with options for some."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from wcodec.codec.plan import Effort, Prune, Start
from wcodec.errors import RecipeError
from wcodec.model.dataclass import dataclass

Preset = Literal["safe", "balanced", "small", "deep-compression"]
PRESETS = ("safe", "balanced", "small", "deep-compression")
CLASSIC: Final = "deep-compression"
"""The preset that is a method (`planning.classic`), not an amount of loss."""
SIZELESS = ("binary", "float16", "bfloat16", "none")
QUANTIZERS = ("auto", "kmeans", "uniform", "product", "symmetric", "asymmetric", *SIZELESS)
PER_CHANNEL = ("symmetric", "asymmetric", "binary")
LEVEL_CODERS = ("auto", "huffman", "context", "static", "fixed")
MEAN_BITS = (None, "auto", "uniform", "symmetric", "asymmetric")
"""Quantizers for which a mean of bits can be requested."""
STARTS = ("linear", "density", "kmeans++")
EFFORTS = ("fast", "normal", "best")
ALIGNED: Final = 256
"""The number of vectors with codes of one byte, if no number is requested."""


def _require_range(word: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise RecipeError(f"{word}: expected {low} to {high}, got {value}")


def _check_choice(word: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise RecipeError(f"{word}: expected one of {', '.join(choices)}, got {value!r}")


@dataclass(frozen=True)
class StepSize:
    """The distance of the uniform quantiser's levels.

    relative: `amount` is a multiple of the preset's step; otherwise it is in units of the weights.
    Raises: RecipeError for an amount that is not a positive float32.
    """

    amount: float
    relative: bool = False

    def __post_init__(self) -> None:
        if not 1e-30 <= self.amount <= 1e30:
            raise RecipeError(f"step: expected a positive number from 1e-30 to 1e30, got {self.amount:g}")


@dataclass(frozen=True)
class Options:
    """Options for coding a tensor; None means that an option was not given.

    bits, clusters: size of the codebook (level 0 included): 2**bits, or this many values.
    block:          the number of weights that share a code, for the product quantiser.
    start:          initial centroids of k-means.
    per_channel:    a separate step for every output, for the quantisers in `affine.py`.
    aligned:        codes of the product quantiser in whole bytes.
    """

    lossless: bool | None = None
    prune: Prune | None = None
    bits: int | None = None
    clusters: int | None = None
    block: int | None = None
    step: StepSize | None = None
    quantizer: str | None = None
    coder: str | None = None
    start: Start | None = None
    per_channel: bool | None = None
    aligned: bool | None = None

    def __post_init__(self) -> None:
        _require_range("bits", self.bits, 1, 16)
        _require_range("clusters", self.clusters, 2, 1 << 16)
        _require_range("block", self.block, 1, 256)
        if self.bits is not None and self.clusters is not None:
            raise RecipeError("bits and clusters: expected one of them, got both")
        _check_choice("quantizer", self.quantizer, QUANTIZERS)
        _check_choice("coder", self.coder, LEVEL_CODERS)
        _check_choice("start", self.start, STARTS)
        if self.quantizer in SIZELESS and (self.bits or self.clusters or self.step):
            raise RecipeError(f"quantizer {self.quantizer}: expected no bits, clusters or step with it")
        if self.quantizer in {"symmetric", "asymmetric"} and (self.bits == 1 or self.clusters or self.step):
            raise RecipeError(f"quantizer {self.quantizer}: expected 2 bits or more with it, no clusters or step")
        if self.quantizer == "uniform" and (self.bits == 1 or self.clusters == 2):
            raise RecipeError("quantizer uniform: expected 2 bits or 3 clusters or more with it")

    @property
    def is_for_weights(self) -> bool:
        """Whether an option is set that applies to tensors of two or more dimensions: for pruning or quantisation."""
        says = (self.prune, self.bits, self.clusters, self.block, self.step, self.start, self.per_channel, self.aligned)
        return any(word is not None for word in says) or self.quantizer not in {None, "auto", *SIZELESS[1:]}

    def merge_with(self, general: Options) -> Options:
        """These options, with those that are not set taken from `general`."""
        counted = self.bits is not None or self.clusters is not None
        size_said = counted or self.quantizer in SIZELESS or self.step is not None
        return Options(
            lossless=general.lossless if self.lossless is None else self.lossless,
            prune=self.prune or general.prune,
            bits=self.bits if size_said else general.bits,
            clusters=self.clusters if size_said or self.quantizer in PER_CHANNEL else general.clusters,
            block=self.block or general.block,
            step=self.step
            or (None if counted or self.quantizer in SIZELESS or self.quantizer in PER_CHANNEL else general.step),
            quantizer=self.quantizer or general.quantizer,
            coder=self.coder or general.coder,
            start=self.start or general.start,
            per_channel=general.per_channel if self.per_channel is None else self.per_channel,
            aligned=general.aligned if self.aligned is None else self.aligned,
        )


@dataclass(frozen=True)
class Rule:
    """Options for the tensors whose name or layer a regular expression finds."""

    pattern: str
    options: Options


@dataclass(frozen=True)
class Recipe:
    """The whole request.

    max_error:        bound on sum (w - w')^2 / sum w^2 over all float tensors of two or more dimensions.
    target_bytes:     an upper bound on the size of the file in bytes, which is closely met.
    target_ratio:     a lower bound on source bytes / file bytes, which is closely met.
    mean_bits:        bits a weight over the tensors whose precision is left open (`pipeline.precision`).
    global_sparsity:  `prune` by sparsity ranks the weights of all tensors together.
    include, exclude: tensors that are not included, or that are excluded, are coded losslessly.
    """

    options: Options = Options()
    rules: tuple[Rule, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    preset: Preset = "balanced"
    effort: Effort = "normal"
    max_error: float | None = None
    target_bytes: int | None = None
    target_ratio: float | None = None
    mean_bits: float | None = None
    global_sparsity: bool = False
    keep_optimizer: bool = False
    seed: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether the file is restored byte for byte, so that nothing may be lossy."""
        return bool(self.options.lossless) and all(rule.options.lossless is not False for rule in self.rules)

    @property
    def _every(self) -> list[Options]:
        return [self.options, *(rule.options for rule in self.rules)]

    def __post_init__(self) -> None:
        _check_choice("preset", self.preset, PRESETS)
        _check_choice("effort", self.effort, EFFORTS)
        targets = [n for n in ("max_error", "target_bytes", "target_ratio") if getattr(self, n) is not None]
        if len(targets) > 1:
            raise RecipeError(f"{' and '.join(targets)}: expected one of them")
        if self.preset == CLASSIC and (targets or self.mean_bits or any(options.step for options in self._every)):
            word = targets[0] if targets else "bits auto" if self.mean_bits else "step"
            raise RecipeError(f"preset {CLASSIC}: expected sparsity, bits or clusters, got {word}")
        if self.max_error is not None and not 0.0 < self.max_error < 1.0:
            raise RecipeError(f"max_error: expected a number between 0 and 1, got {self.max_error:g}")
        if self.target_ratio is not None and not 1.0 < self.target_ratio < float("inf"):
            raise RecipeError(f"target_ratio: expected a number over 1, got {self.target_ratio:g}")
        if self.target_bytes is not None and self.target_bytes < 1:
            raise RecipeError(f"target_bytes: expected a positive number, got {self.target_bytes}")
        asked = self.options
        lossy = targets + [w for w in ("prune", "bits", "clusters", "step") if getattr(asked, w) is not None]
        if asked.lossless and (lossy or self.preset != "balanced"):
            raise RecipeError(f"lossless: expected nothing that loses with it, got {(lossy or ['preset'])[0]}")
        if any(o.per_channel for o in self._every) and not any(o.quantizer in PER_CHANNEL for o in self._every):
            raise RecipeError(f"per_channel: expected a quantizer with it, {', '.join(PER_CHANNEL)}")
        self._check_mean_bits(targets)
        _require_range("seed", self.seed, 0, (1 << 32) - 1)
        for pattern in (*self.include, *self.exclude, *(rule.pattern for rule in self.rules)):
            if not pattern:
                raise RecipeError("pattern: expected a regular expression, got nothing")
            try:
                re.compile(pattern)
            except re.error as error:
                raise RecipeError(f"pattern {pattern!r}: expected a regular expression, got {error}") from error

    def _check_mean_bits(self, targets: Sequence[str]) -> None:
        """Raises: RecipeError if the mean is impossible, or if another option sets the precision."""
        if self.mean_bits is None:
            return
        asked, least = self.options, 2.0 if self.options.quantizer in {"symmetric", "asymmetric"} else 0.5
        if not least <= self.mean_bits <= 16.0:
            raise RecipeError(f"bits auto:{self.mean_bits:g}: expected a mean from {least:g} to 16")
        if asked.quantizer not in MEAN_BITS:
            known = ", ".join(str(one) for one in MEAN_BITS[1:])
            raise RecipeError(f"bits auto: expected a quantizer with steps, {known}, got {asked.quantizer}")
        given = [word for word in ("bits", "clusters", "step", "lossless") if getattr(asked, word)]
        if given := [*given, *targets, *(["preset"] if self.preset != "balanced" else [])]:
            raise RecipeError(f"bits auto: expected nothing else that sets the precision, got {given[0]}")
