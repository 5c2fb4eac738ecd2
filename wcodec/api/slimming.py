"""Writing of a slimmed network: a model file, or a .wcz that is encoded as by `encode`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from wcodec.api.encode_calibrated import describe_loss, with_loss
from wcodec.api.encode_file import encode_file
from wcodec.api.request import EncodeRequest, Listeners, check_request
from wcodec.errors import RecipeError
from wcodec.model.lazy import replace
from wcodec.planning.options import OPTIONS
from wcodec.planning.parsing import parse_recipe

if TYPE_CHECKING:
    from wcodec.api.encode_file import EncodeResult
    from wcodec.planning.recipe import Recipe
    from wcodec.structure.request import Slimmed, SlimRequest

PLAIN: Final = (".keras", ".h5")
KINDS: Final = (*PLAIN, ".wcz")
CODING: Final = tuple(option for option in OPTIONS if option.word != "seed")
"""Options of encode that slim also has, for an output that is a .wcz."""


def parse_coding(target: Path, words: Mapping[str, object], *, seed: int, has_data: bool) -> tuple[Recipe, bool]:
    """The recipe of a .wcz, and whether it is calibrated by the data, which is the case without lossy options.

    words: those of CODING; None means that an option was not given.
    Raises: RecipeError for a target of another kind, and for options of encode if it is not a .wcz.
    """
    given = {option.word: words.get(option.word) for option in CODING if words.get(option.word) is not None}
    if target.suffix not in KINDS:
        got = target.suffix or "none"
        raise RecipeError(f"{target}: expected a name that ends in {', '.join(KINDS)}, got {got}")
    if given and target.suffix in PLAIN:
        flag = next(option.flag for option in CODING if option.word in given)
        raise RecipeError(f"{flag}: expected OUT.wcz, which it encodes, got {target.name}")
    recipe = parse_recipe({**given, "seed": seed})
    says = any(option.word in given for option in CODING if option.group != "how")
    check_request(EncodeRequest(), recipe, Path("model.keras"), several=False)
    return recipe, has_data and not says


def write_slimmed(
    found: Slimmed,
    target: Path,
    recipe: Recipe,
    request: SlimRequest,
    *,
    source: Path,
    calibrates: bool,
    listeners: Listeners,
) -> EncodeResult | None:
    """Write `target` atomically; returns the result of the encoding if it is a .wcz.

    Its measured loss is that of slimming and encoding together, against the original network.
    calibrates: by the examples of the request, within the rest of its budget after slimming.
    Raises: RecipeError, BudgetError, OSError.
    """
    from wcodec.structure.output import write_network

    if target.suffix in PLAIN:
        write_network(found.model, target)
        return None
    asked = EncodeRequest(listeners=listeners)
    if calibrates:
        before, after = found.before, found.after
        lost = 0.0 if before.accuracy is None or after.accuracy is None else before.accuracy - after.accuracy
        left = None if request.max_drop is None else max(0.0, request.max_drop - max(0.0, lost))
        if left is not None:
            listeners.log(
                f"slimming lost {lost:.2f} of the {request.max_drop:g} points of --max-drop, {left:.2f} are left for "
                "the encoding of the smaller network"
            )
        asked = replace(
            asked,
            data=request.data,
            validation=request.validation,
            limit=request.limit,
            rescale=request.rescale,
            max_drop=left,
            time_limit=None if math.isinf(found.deadline.end) else found.deadline.seconds_left(),
            imports=request.imports,
            unsafe=request.unsafe,
        )
    with TemporaryDirectory(prefix="wcodec-") as folder:
        plain = Path(folder) / f"{source.stem}.keras"
        write_network(found.model, plain)
        made = encode_file(plain, target, recipe, asked)
    return _with_total(made, found, target, request, listeners)


def _with_total(
    made: EncodeResult, found: Slimmed, target: Path, request: SlimRequest, listeners: Listeners
) -> EncodeResult:
    """The result with the loss of slimming and encoding together, on the examples that slimming held out, if any."""
    from wcodec.evaluation.evaluate import evaluate
    from wcodec.evaluation.network_loader import load_network

    if found.apart is None or found.original is None:
        return made
    restored = load_network(target, imports=request.imports, unsafe=request.unsafe)
    total = evaluate(restored, found.apart, found.original)
    listeners.log(f"slimming and encoding together, against the original: {describe_loss(total)}")
    if request.max_drop is not None and total.accuracy_drop is not None and total.accuracy_drop > request.max_drop:
        listeners.log(
            f"this drop is over --max-drop {request.max_drop:g} on these examples, others than the encoding's"
        )
    return replace(made, encoded=with_loss(made.encoded, total))
