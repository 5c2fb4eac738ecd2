"""Refusal of options that would have no effect in combination with others, before any work is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from wcodec.errors import RecipeError
from wcodec.planning.options import BY_WORD
from wcodec.planning.recipe import CLASSIC, Options, Rule

OF_LOSS: Final = ("quantizer", "block", "start", "per_channel", "aligned", "coder")
"""Options of a tensor about loss or about the coding of levels, which do not apply to a lossless file."""
CODEBOOKS: Final = (None, "auto", "kmeans")
"""Quantisers that have a codebook if bits or clusters are given."""
WITHOUT_EFFECT: Final = {
    ("keep_optimizer", "lossless"): "a lossless file always has the state of the optimizer",
    ("preset", "quantizer"): "float16, bfloat16, none and binary determine the loss",
    ("max_error", "quantizer"): "float16 and none always meet the bound",
    ("target_size", "quantizer"): "binary may meet the bound anyway",
    ("target_ratio", "quantizer"): "binary may meet the bound anyway",
    ("include", "quantizer"): "none keeps all values as they are",
    ("exclude", "quantizer"): "none keeps all values as they are",
    ("coder", "quantizer"): "none has no levels to code",
    ("step", "quantizer"): "product chooses its vectors by their number in small tensors",
    ("step", "block"): "as with product",
    ("step", "aligned"): "as with product",
    ("effort", ""): "the loss is the same by definition, and small tensors may have the same bytes",
    ("seed", ""): "affects only random choices: --start kmeans++, and training",
    ("keep_optimizer", ""): "affects only files that have such a state",
}
"""Options that are accepted without effect: the option, the one with which it has none ("": most), and the reason."""


def refuse_rivals(words: Iterable[str]) -> None:
    """Raises: RecipeError for two options that exclude each other, such as sparsity and threshold."""
    first: dict[str, str] = {}
    for word in words:
        rivals = BY_WORD[word].rivals
        if rivals and first.setdefault(rivals, word) != word:
            raise RecipeError(f"{first[rivals]} and {word}: expected one of them, got both")


def refuse_idle(general: Options, rules: Sequence[Rule], whole: Mapping[str, object]) -> None:
    """Refuse options that have no effect in combination with the others.

    whole: the fields of the recipe that do not belong to single tensors.
    Raises: RecipeError with the option and what it needs.
    """
    every = [general, *(rule.options.merge_with(general) for rule in rules)]
    if whole.get("global_sparsity") and not any(one.prune and one.prune.rule == "sparsity" for one in every):
        raise RecipeError("global_sparsity: expected sparsity with it, got none")
    if general.lossless and all(rule.options.lossless is not False for rule in rules):
        said = [word for word in OF_LOSS if getattr(general, word) not in {None, False, "auto"}]
        said += [word for word in ("include", "exclude") if whole.get(word)]
        if said:
            raise RecipeError(f"lossless: expected nothing that loses with it, got {said[0]}")
    if any(one.start for one in every) and not any(one.start and _has_codebook(one, whole) for one in every):
        raise RecipeError("start: expected bits, clusters or quantizer kmeans with it, got none")
    if any(one.block for one in every) and not any(one.block and one.quantizer == "product" for one in every):
        raise RecipeError("block: expected the quantizer product with it, got none")
    if any(one.aligned for one in every):
        if not any(one.aligned and one.quantizer == "product" for one in every):
            raise RecipeError("aligned: expected the quantizer product with it, got none")
        if all(one.coder not in {None, "auto"} for one in every if one.aligned):
            raise RecipeError("aligned: expected no coder with it, got both")
    for one in (general, *(rule.options for rule in rules)):
        if one.step and (one.bits or one.clusters):
            raise RecipeError(f"{'bits' if one.bits else 'clusters'} and step: expected one of them, got both")
    if whole.get("max_error") and whole.get("preset", "balanced") not in {"balanced", CLASSIC}:
        raise RecipeError("preset: expected no max_error with it, which says how much is lost")


def _has_codebook(options: Options, whole: Mapping[str, object]) -> bool:
    sized = options.bits or options.clusters or options.quantizer == "kmeans" or whole.get("preset") == CLASSIC
    return bool(sized) and options.quantizer in CODEBOOKS


METHOD_QUANTIZERS: Final[dict[str, tuple[str, ...]]] = {
    "sharing": ("kmeans",),
    "sharing-mean": ("kmeans",),
    "points": ("kmeans",),
    "quantized": ("uniform", "symmetric", "asymmetric"),
    "binary": ("binary",),
    "hashed": (),
}
"""Training methods that choose the values, and the quantisers that mean the same."""
PRUNING_METHODS: Final = ("magnitude", "gradual", "gradual-linear")
"""Training methods that set weights to zero."""


def refuse_idle_of_method(options: Options, methods: Sequence[str]) -> None:
    """Refuse options that training methods would ignore, because these choose the values of kernels themselves.

    Raises: RecipeError with the method and the option.
    """
    last = methods[-1]
    if options.prune and not set(methods) & set(PRUNING_METHODS):
        word = "sparsity" if options.prune.rule == "sparsity" else "threshold"
        raise RecipeError(f"--method {last}: expected gradual or magnitude among the methods with {word}, which prune")
    if last not in METHOD_QUANTIZERS:
        return
    allowed = METHOD_QUANTIZERS[last]
    if options.quantizer not in {None, "auto", *allowed}:
        wanted = f"the quantizer {' or '.join(allowed)}, as it trains" if allowed else "no quantizer with it"
        raise RecipeError(f"--method {last}: expected {wanted}, got {options.quantizer}")
    for word in ("per_channel", "block", "step", "start"):
        value = getattr(options, word)
        if value and (last, word) != ("quantized", "per_channel") and (word, value) != ("start", "linear"):
            raise RecipeError(f"--method {last}: expected no {word} with it, it chooses the values of kernels itself")
    if last in {"binary", "hashed"} and (options.bits or options.clusters):
        why = "a kernel gets two values" if last == "binary" else "--ratio says how many values there are"
        raise RecipeError(f"--method {last}: expected no bits and no clusters with it, {why}")
    if last == "quantized" and options.clusters:
        raise RecipeError("--method quantized: expected bits, which say how many values there are, got clusters")
