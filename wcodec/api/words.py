"""The keywords of `encode`, with their types; their descriptions come from the tables of options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from os import PathLike
from typing import TypedDict, TypeVar

from wcodec.api.progress import ProgressEvent
from wcodec.errors import RecipeError, WcodecError, suggest
from wcodec.planning.options import OPTIONS, Option
from wcodec.planning.run_options import FLAGS, REQUEST_OPTIONS

Function = TypeVar("Function", bound=Callable[..., object])


class Words(TypedDict, total=False):
    """The options of the recipe: those of `planning.options`, as on the command line; see `wcodec encode -h`."""

    lossless: bool
    preset: str
    effort: str
    sparsity: float
    threshold: float | str
    bits: int | str
    clusters: int
    block: int
    start: str
    step: float | str
    quantizer: str
    per_channel: bool
    aligned: bool
    coder: str
    set: str | Sequence[str] | Mapping[str, str | Mapping[str, object]]
    include: str | Sequence[str]
    exclude: str | Sequence[str]
    max_error: float
    target_size: int | str
    target_ratio: float
    global_sparsity: bool
    keep_optimizer: bool
    seed: int


class RequestWords(TypedDict, total=False):
    """The options of `planning.run_options`."""

    data: object
    validation: object
    max_drop: float
    max_loss: float
    max_kl: float
    min_agreement: float
    sensitivity: str
    tune: int
    search: int
    sampler: str
    finetune: int
    augment: str
    method: str
    rounds: int
    initial_sparsity: float
    prune_begin: float
    prune_end: float
    prune_every: int
    criterion: str
    bucket: int
    learn_range: bool
    ratio: float | str
    all_layers: bool
    resume: bool
    time_limit: float | str
    moments: str | PathLike[str]
    score: str | Callable[..., object]
    score_name: str
    limit: int
    rescale: float
    model: str | Callable[[], object] | object
    imports: Sequence[str]
    unsafe: bool
    threads: int
    compact: bool
    base: str | PathLike[str] | None
    family: bool


class InputWords(TypedDict, total=False):
    """Options for reading data and a model, as in `encode`."""

    limit: int | None
    rescale: float | None
    model: object
    imports: Sequence[str]
    unsafe: bool


class PythonWords(TypedDict, total=False):
    """Options with a special form in Python."""

    config: str | PathLike[str] | None
    executor: Executor | None
    force: bool
    report: str | PathLike[str] | None
    progress: bool | Callable[[ProgressEvent], object]


class EncodeWords(Words, RequestWords, PythonWords, total=False):
    """All keywords of `encode`."""


_DEFAULTS = {"force": True, "progress": False}
"""The defaults; other keywords are None if they are not given."""
PYTHON_HELP = {
    "config": "a TOML file with more options; what is given here takes precedence",
    "executor": "encodes a model of several files: any pool, or `Client(...).get_executor()` of Dask",
    "force": "overwrite the output, and the report; False refuses to, as the command does",
    "report": "also write an HTML page with charts to this file",
    "progress": "True writes lines to standard error; a function gets each `ProgressEvent`, `print` will do",
}


def refuse_unknown(words: EncodeWords) -> None:
    """Raises: RecipeError for a keyword that `encode` does not have, with a similar one."""
    known = {option.word for option in (*OPTIONS, *REQUEST_OPTIONS)} | PYTHON_HELP.keys()
    for word in words:
        if word not in known:
            raise RecipeError(f"option {word!r}: expected an option of encode{suggest(word, sorted(known))}")


def document(function: Function) -> Function:
    """`function` with all keywords of `EncodeWords` in its signature and its docstring."""
    kinds: dict[str, str] = {}
    for words in (Words, RequestWords, PythonWords):
        kinds |= {word: _spell_type(kind) for word, kind in words.__annotations__.items()}
    options = {option.word: _describe(option) for option in (*OPTIONS, *REQUEST_OPTIONS)} | PYTHON_HELP
    own = inspect.signature(function)
    fixed = [one for one in own.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter(word, keyword, default=_DEFAULTS.get(word), annotation=kinds[word]) for word in options]
    rows = [f"{word} ({kinds[word]}): {_spell(text)}" for word, text in options.items()]
    function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\nOptions:\n    " + "\n    ".join(rows)
    object.__setattr__(function, "__signature__", own.replace(parameters=[*fixed, *added]))
    return function


def _spell_type(kind: object) -> str:
    """An annotation as in the source."""
    return str(getattr(kind, "__forward_arg__", kind))


def _describe(option: Option) -> str:
    if option.word == "effort":
        return "; ".join(f'"{value}": {text}' for _, value, text in option.switches)
    if option.switches:
        return option.switches[0][2]
    return option.help + (f"; one of {', '.join(option.choices)}" if option.choices else "")


def _spell(text: str) -> str:
    """A text with options spelled as in Python: max_drop, not --max-drop."""
    return re.sub(r"(?<![\w-])--[a-z][a-z-]*", lambda found: FLAGS.get(found[0], found[0][2:].replace("-", "_")), text)


@contextmanager
def python_spelling(model: str = "model") -> Iterator[None]:
    """A context whose errors name options as Python does. model: the keyword for --model."""
    try:
        yield
    except WcodecError as error:
        said = re.sub(r"--model (ARCH\.keras|module:function)", rf'{model}="\1"', str(error))
        for flag, word in (("--model", model), ("--unsafe", "unsafe=True"), ("--as", "as_")):
            said = re.sub(rf"(?<![\w-]){flag}\b", word, said)
        error.args = (_spell(said),)
        raise
