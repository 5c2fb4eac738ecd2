"""The table of encoding options, one row each, used by the command line, Python, TOML and `--set`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, TypeVar

from wcodec.errors import RecipeError, suggest
from wcodec.model.dataclass import dataclass, field_names
from wcodec.planning.option_values import (
    parse_bool,
    parse_float,
    parse_int,
    parse_patterns,
    parse_prune,
    parse_size,
    parse_step,
    parse_text,
)
from wcodec.planning.recipe import LEVEL_CODERS, PRESETS, QUANTIZERS, STARTS, Options, Rule

T = TypeVar("T")
Group = Literal["loss", "where", "how", "learning", "run"]


def parse_rule(text: str) -> Rule:
    """A rule RE:word=value,word=value; the pattern ends at the last colon that is followed by word=.

    >>> parse_rule("dense/.*:bits=4,sparsity=0.5").options.bits
    4
    """
    pattern, colon, settings = text.rpartition(":")
    if not colon or (settings != "lossless" and "=" not in settings):
        raise RecipeError(f"--set {text!r}: expected RE:word=value,..., for example 'dense/.*:bits=4,sparsity=0.5'")
    pairs = [item.partition("=") for item in settings.split(",")]
    try:
        return Rule(pattern, parse_options({word.strip(): value.strip() or "true" for word, _, value in pairs}))
    except RecipeError as error:
        raise RecipeError(f"--set {text!r}: {error}") from error


def parse_rules(word: str, value: object) -> tuple[Rule, ...]:
    """Rules in order: texts "RE:bits=8", tables with a `pattern`, or a mapping from pattern to options."""
    if isinstance(value, str):
        return (parse_rule(value),)
    if isinstance(value, Mapping):
        pairs = value.items()
        return tuple(
            Rule(str(pattern), parse_options(said)) if isinstance(said, Mapping) else parse_rule(f"{pattern}:{said}")
            for pattern, said in pairs
        )
    if not isinstance(value, Iterable):
        raise RecipeError(f"{word}: expected rules such as 'dense:bits=4', got {value!r}")
    return tuple(_parse_table(one) if isinstance(one, Mapping) else parse_rule(str(one)) for one in value)


def _parse_table(table: Mapping[str, object]) -> Rule:
    if "pattern" not in table:
        raise RecipeError("set: expected a table with a pattern")
    return Rule(str(table["pattern"]), parse_options({k: v for k, v in table.items() if k != "pattern"}))


@dataclass(frozen=True)
class Option:
    """One option.

    word:     its name in Python, in TOML and in `--set`.
    parse:    (word, value as it was written) -> the value of `field`. Raises: RecipeError.
    help:     for the command line.
    metavar:  the placeholder of the value in the help; "": one of `choices`, or `switches`: flag, value and help of
              each.
    group:    the heading of the command line's help.
    field:    of `Options` (also for single tensors) or of `Recipe`; "": the word.
    rivals:   of the options with the same rivals at most one may be given on the command line.
    spelling: on the command line, if it is not `--word`.
    """

    word: str
    parse: Callable[[str, object], object]
    help: str = ""
    metavar: str = ""
    group: Group = "loss"
    choices: tuple[str, ...] = ()
    switches: tuple[tuple[str, bool | str, str], ...] = ()
    field: str = ""
    rivals: str = ""
    repeats: bool = False
    spelling: str = ""

    @property
    def target(self) -> str:
        """The field that it sets."""
        return self.field or self.word

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return self.switches[0][0] if self.switches else self.spelling or spell(self.word)

    @property
    def is_of_tensor(self) -> bool:
        """Whether it may be given for single tensors."""
        return self.target in field_names(Options)


def spell(word: str) -> str:
    """An option as a flag of the command line."""
    return "--" + word.replace("_", "-")


def switch(word: str, text: str, group: Group = "loss", flag: str = "") -> Option:
    """An option without a value."""
    return Option(word, parse_bool, group=group, switches=((flag or spell(word), True, text),))


_STEP = "the distance between values in units of the weights: 0.01; or 2x: twice the preset's"
_PRESET = "how much is lost unless another option sets it (default: balanced), or the steps of Deep Compression"
_BITS = "2^N values for each tensor, 0 among them; auto:4: four bits a weight on average, more for sensitive tensors"
_SET = "options for these tensors, the first match wins: 'conv:bits=8'; for a vector RE must be its full name"
OPTIONS: Final = (
    switch("lossless", "decoding returns the identical file"),
    Option("preset", parse_text, _PRESET, choices=PRESETS),
    Option(
        "sparsity",
        parse_prune,
        "set this fraction of the weights to zero, the smallest ones: 0.9",
        "S",
        field="prune",
        rivals="0",
    ),
    Option(
        "threshold",
        parse_prune,
        "set weights up to this magnitude to zero: 0.02, or 1.5std",
        "T",
        field="prune",
        rivals="0",
    ),
    Option("bits", parse_int, _BITS, "N", rivals="values"),
    Option("clusters", parse_int, "K values for each tensor, 0 among them", "K", rivals="values"),
    Option("block", parse_int, "number of weights in a codebook vector of --quantizer product", "N"),
    switch("global_sparsity", "apply --sparsity to all tensors together", flag="--global"),
    Option("step", parse_step, _STEP, "S"),
    Option("start", parse_text, "the initial codebook of k-means (default: linear)", choices=STARTS),
    Option("quantizer", parse_text, "the method that chooses the values (default: auto)", choices=QUANTIZERS),
    switch("per_channel", "one scale for each output channel"),
    switch("aligned", "codes of --quantizer product in whole bytes, for direct look-up"),
    Option("max_error", parse_float, "largest relative error of the weights: 1e-4", "E", rivals="budget"),
    Option(
        "target_size",
        parse_size,
        "largest size of the file: 2MB, 500kB, 1.5MiB",
        "BYTES",
        field="target_bytes",
        rivals="budget",
    ),
    Option("target_ratio", parse_float, "smallest ratio of source to file: 20", "R", rivals="budget"),
    Option("set", parse_rules, _SET, "RE:...", "where", field="rules", repeats=True),
    Option("include", parse_patterns, "encode all other tensors exactly", "RE", "where", repeats=True),
    Option("exclude", parse_patterns, "encode these tensors exactly", "RE", "where", repeats=True),
    Option(
        "effort",
        parse_text,
        group="how",
        switches=(("--fast", "fast", "encode fast, with the same loss"), ("--best", "best", "smallest file, slow")),
        rivals="effort",
    ),
    Option("coder", parse_text, "the entropy coder (default: auto)", group="how", choices=LEVEL_CODERS),
    switch("keep_optimizer", "keep the state of the optimizer", "how"),
    Option("seed", parse_int, "seed of the random numbers (default: 0)", "N", "how"),
)
"""The options in the order of the command line's help."""
BY_WORD: Final = {option.word: option for option in OPTIONS}


def parse_options(words: Mapping[str, object]) -> Options:
    """The options of a tensor, from words and values of `--set`, TOML or Python.

    Raises: RecipeError for an unknown word or a value of the wrong kind.
    """
    known = [option.word for option in OPTIONS if option.is_of_tensor]
    for word in words:
        if word not in known:
            raise RecipeError(f"option {word!r}: expected one of {', '.join(sorted(known))}{suggest(word, known)}")
    return build(Options, {BY_WORD[word].target: BY_WORD[word].parse(word, value) for word, value in words.items()})


def build(kind: Callable[..., T], values: Mapping[str, object]) -> T:
    """A dataclass from the values of its fields, as the table has parsed them."""
    return kind(**values)
