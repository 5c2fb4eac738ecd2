"""Plans of the quantisers that runtimes know: integers of a few bits, signs, and shorter floats."""

from __future__ import annotations

from typing import Literal, get_args

from wcodec.model import Model
from wcodec.quantize.affine import Affine
from wcodec.recipe import Options, Plan, Prune, Recipe

_AFFINE: dict[str, Affine] = {how: how for how in get_args(Affine)}
_SHORTER: dict[str, tuple[Literal["float16", "bfloat16"], int, float]] = {
    "float16": ("float16", 10, 65504.0),
    "bfloat16": ("bfloat16", 7, 2.0**128 - 2.0**120),
}
"""By quantiser: the type, its bits of mantissa and its largest number."""
_OUTPUTS_FIRST = frozenset({"safetensors", "torch", "onnx"})
"""Kinds of model file whose weights have their outputs in front, as PyTorch has them; in Keras they come last."""


def plain_plan(model: Model, options: Options, recipe: Recipe, limit: float, prune: Prune | None) -> Plan | None:
    """The plan of a weight, where its quantiser is one of these.

    limit: larger magnitudes are kept exactly.
    """
    if options.quantizer in _SHORTER:
        return shorter_plan(options, recipe, limit, prune)
    if options.quantizer not in _AFFINE:
        return None
    return Plan(
        how=_AFFINE[options.quantizer],
        prune=prune,
        limit=limit,
        bits=options.bits or 8,
        outputs=("first" if model.kind in _OUTPUTS_FIRST else "last") if options.per_channel else "",
        coder=coder_of(options, recipe),
        effort=recipe.effort,
    )


def shorter_plan(options: Options, recipe: Recipe, limit: float, prune: Prune | None) -> Plan | None:
    """The same for vectors, too, which shorter floats suit; what the type has no number for is kept exactly."""
    if options.quantizer not in _SHORTER:
        return None
    kind, mantissa, most = _SHORTER[options.quantizer]
    return Plan(
        "float",
        prune=prune,
        limit=min(limit, most),
        mantissa=mantissa,
        kind=kind,
        coder=coder_of(options, recipe),
        effort=recipe.effort,
    )


def coder_of(options: Options, recipe: Recipe) -> str:
    """What was asked for; speed asks for Huffman codes."""
    coder = options.coder or "auto"
    return "huffman" if coder == "auto" and recipe.effort == "fast" else coder
