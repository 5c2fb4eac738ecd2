"""Writing of a slimmed network: a model file, or a .wcz that is encoded as by `encode`."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from wcodec.api.encode_calibrated import describe_loss, with_loss
from wcodec.api.encode_file import encode_file
from wcodec.api.request import EncodeRequest, Listeners, check_request
from wcodec.errors import BudgetError, RecipeError
from wcodec.files import whole_file
from wcodec.model.dataclass import dataclass, replace
from wcodec.planning.options import OPTIONS
from wcodec.planning.parsing import parse_recipe

if TYPE_CHECKING:
    from wcodec.api.encode_file import EncodeResult
    from wcodec.planning.recipe import Recipe
    from wcodec.structure.request import Slimmed, SlimRequest

PLAIN: Final = (".keras", ".h5")
KINDS: Final = (*PLAIN, ".wcz")
TRIED: Final = (1.0, 0.5)
"""The fractions of what is left of a budget that the encoding gets, one after the other."""
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

    Its measured loss is that of slimming and encoding together, against the original network, which is within the
    budget of the request.
    calibrates: by the examples of the request, within what slimming left of its budget.
    Raises: RecipeError, BudgetError, OSError.
    """
    from wcodec.structure.output import write_network

    if target.suffix in PLAIN:
        write_network(found.model, target, source)
        return None
    with TemporaryDirectory(prefix="wcodec-") as folder:
        plain, coded = Path(folder) / f"{source.stem}.keras", Path(folder) / target.name
        write_network(found.model, plain)
        made = _encode_within_budget(
            found, plain, coded, _list_attempts(found, recipe, request, listeners, calibrates), request
        )
        with whole_file(target, source) as temporary:
            shutil.copyfile(coded, temporary)
    return made


def _encode_within_budget(
    found: Slimmed,
    plain: Path,
    coded: Path,
    attempts: Iterable[tuple[Recipe, EncodeRequest]],
    request: SlimRequest,
) -> EncodeResult:
    """Write `coded` by the first of the attempts that keeps the budget, together with slimming.

    Raises: BudgetError if none does.
    """
    from wcodec.evaluation.network_loader import load_network
    from wcodec.structure.narrowing import budget_words, is_within

    refused = BudgetError(f"{coded.name}: expected {budget_words(request)}, got no encoding that keeps it")
    for recipe, asked in attempts:
        log = asked.listeners.log
        try:
            made = encode_file(plain, coded, recipe, asked)
        except BudgetError as error:
            log(str(error))
            refused = error
            continue
        total = found.compare(load_network(coded, imports=request.imports, unsafe=request.unsafe))
        if total is None:
            return made
        log(f"slimming and encoding together, against the original: {describe_loss(total.evaluation)}")
        if is_within(request, total):
            return replace(made, encoded=with_loss(made.encoded, total.evaluation))
        got = f"slimming and encoding together lose {total}"
        refused = BudgetError(f"{coded.name}: expected {budget_words(request)}, got more: {got}")
        log(f"{got}: over the budget")
    raise refused


def _list_attempts(
    found: Slimmed, recipe: Recipe, request: SlimRequest, listeners: Listeners, calibrates: bool
) -> Iterator[tuple[Recipe, EncodeRequest]]:
    """Recipes and requests of the encoding, which lose less and less; the last one loses nothing."""
    plain = EncodeRequest(listeners=listeners)
    if not calibrates:
        yield recipe, plain
        return
    asked = replace(
        plain,
        data=request.data,
        validation=request.validation,
        limit=request.limit,
        rescale=request.rescale,
        imports=request.imports,
        unsafe=request.unsafe,
    )
    has_budget = request.max_drop is not None or request.max_loss is not None
    budget = left_of_budget(found, request)
    for line in _describe_bounds(found, request, budget):
        listeners.log(line)
    for part in TRIED if has_budget else TRIED[:1]:
        left = found.deadline.seconds_left()
        if left > 0 and budget.is_open:
            now = budget.times(part)
            yield (
                recipe,
                replace(
                    asked,
                    max_drop=now.drop,
                    max_loss=now.loss,
                    max_kl=now.kl,
                    time_limit=None if math.isinf(left) else left,
                ),
            )
    yield recipe, plain
    listeners.log("the weights of the smaller network are kept as they are, without loss")
    yield replace(recipe, options=replace(recipe.options, lossless=True)), plain


@dataclass(frozen=True)
class Left:
    """What the encoding may lose after slimming; None: no bound. drop: points; loss: percent; kl: a divergence."""

    drop: float | None = None
    loss: float | None = None
    kl: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether anything may be lost."""
        return all(bound is None or bound > 0 for bound in (self.drop, self.loss, self.kl))

    def times(self, part: float) -> Left:
        """This fraction of it."""
        return Left(*(None if bound is None else part * bound for bound in (self.drop, self.loss, self.kl)))


def left_of_budget(found: Slimmed, request: SlimRequest) -> Left:
    """What slimming left of the budget.

    The loss of the original may rise by `max_loss` percent in all, so the encoding may raise that of the smaller
    network by the quotient. Without labels, what slimming loses is a divergence.
    """
    lost, rise = (max(0.0, one) for one in found.lost)
    drop = None if request.max_drop is None else max(0.0, request.max_drop - lost)
    if request.max_loss is None:
        return Left(drop)
    if found.before.loss is None:
        return Left(drop, kl=max(0.0, (request.max_loss - rise) / 100))
    return Left(drop, max(0.0, 100 * ((100 + request.max_loss) / (100 + rise) - 1)))


def _describe_bounds(found: Slimmed, request: SlimRequest, left: Left) -> Iterator[str]:
    """A line for each bound: what slimming took of it."""
    lost, rise = found.lost
    rest = "left for the encoding of the smaller network"
    if request.max_drop is not None:
        yield f"slimming lost {lost:.2f} of the {request.max_drop:g} points of --max-drop, {left.drop:.2f} are {rest}"
    if request.max_loss is not None:
        most = f"{left.kl:.2g} nats or squared error are" if left.loss is None else f"{left.loss:.2f} % are"
        yield f"slimming raised the loss by {rise:.2f} of the {request.max_loss:g} % of --max-loss, {most} {rest}"
