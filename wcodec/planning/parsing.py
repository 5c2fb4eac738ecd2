"""From words, as they are written on a command line, in a TOML file or in Python, to a Recipe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar, cast

from wcodec.codec.plan import Effort, Prune, Start
from wcodec.errors import RecipeError
from wcodec.planning.recipe import WORDS, Options, Preset, Recipe, Rule


def parse_options(settings: Mapping[str, object]) -> Options:
    """Options from words as written in --set or a configuration: `sparsity`, `threshold` ("0.02", "1.5std"), `bits`...

    Raises: RecipeError for an unknown word or a value of the wrong kind.
    """
    options = Options()
    for word, value in settings.items():
        text = str(value)
        if word in {"sparsity", "threshold"}:
            options = replace(options, prune=parse_prune(word, text))
        elif word == "bits":
            options = replace(options, bits=int(_number(word, text, int)))
        elif word == "clusters":
            options = replace(options, clusters=int(_number(word, text, int)))
        elif word == "block":
            options = replace(options, block=int(_number(word, text, int)))
        elif word == "step":
            options = replace(options, step=_number(word, text, float))
        elif word == "quantizer":
            options = replace(options, quantizer=text)
        elif word == "coder":
            options = replace(options, coder=text)
        elif word == "start":
            options = replace(options, start=cast(Start, text))
        elif word == "lossless":
            options = replace(options, lossless=_truth(word, text))
        elif word == "per_channel":
            options = replace(options, per_channel=_truth(word, text))
        else:
            raise RecipeError(f"option {word!r}: expected one of {', '.join(WORDS)}")
    return options


def _truth(word: str, text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise RecipeError(f"{word}: expected true or false, got {text!r}")
    return text.lower() in {"true", "1"}


def parse_prune(word: str, text: str) -> Prune:
    """`sparsity` 0..1, or `threshold` as a number or with "std" behind it."""
    if word == "sparsity":
        return Prune("sparsity", _number(word, text, float))
    if text.endswith("std"):
        return Prune("deviations", _number(word, text[:-3], float))
    return Prune("absolute", _number(word, text, float))


def parse_rule(text: str) -> Rule:
    """A rule written RE:word=value,word=value; the last colon with a word= behind it ends the pattern.

    >>> parse_rule("dense/.*:bits=4,sparsity=0.5").options.bits
    4
    """
    pattern, colon, settings = text.rpartition(":")
    if not colon or (settings != "lossless" and "=" not in settings):
        raise RecipeError(f"--set {text!r}: expected RE:word=value,..., for example 'dense/.*:bits=4,sparsity=0.5'")
    pairs = [item.partition("=") for item in settings.split(",")]
    return Rule(pattern, parse_options({word.strip(): value.strip() or "true" for word, _, value in pairs}))


def parse_config(path: Path) -> tuple[Options, tuple[Rule, ...], dict[str, object]]:
    """A TOML file: words of `parse_options` at the top, `[[set]]` tables with `pattern`, and the Recipe's own fields.

    Raises: RecipeError where it cannot be read or has a word nobody knows.
    """
    import tomllib  # noqa: PLC0415 - few commands have a configuration, and this is a third of their start-up

    try:
        with path.open("rb") as file:
            config = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: expected a TOML file, got {getattr(error, 'strerror', error)}") from error
    tables = config.pop("set", [])
    if not (isinstance(tables, list) and all(isinstance(t, dict) and "pattern" in t for t in tables)):
        raise RecipeError(f"{path}: expected [[set]] tables with a pattern")
    rules = tuple(
        Rule(str(t["pattern"]), parse_options({k: v for k, v in t.items() if k != "pattern"})) for t in tables
    )
    own = {f.name for f in fields(Recipe)} - {"options", "rules"}
    whole = {word: config.pop(word) for word in list(config) if word in own}
    return parse_options(config), rules, whole


def _number(word: str, text: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(text)
    except ValueError as error:
        raise RecipeError(f"{word}: expected {'an integer' if kind is int else 'a number'}, got {text!r}") from error


T = TypeVar("T")
UNITS = {"": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9}
UNITS |= {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
WHOLE = frozenset(field.name for field in fields(Recipe)) - {"options", "rules"} | {"target_size"}
"""The words of the whole request; those of `recipe.WORDS` are for single tensors too."""


def parse_size(text: str) -> int:
    """Bytes of "2MB", "500kB" (powers of 1000), "1.5MiB" (of 1024) or a plain number.

    Raises: RecipeError.
    """
    found = re.fullmatch(r"(\d+|\d*\.\d+)\s*([a-z]*)", text.strip().lower())
    if not found or found[2] not in UNITS:
        raise RecipeError(f"target_size: expected a number with B, kB, MB, GB, kiB, MiB or GiB, got {text!r}")
    return int(float(found[1]) * UNITS[found[2]])


def parse_recipe(words: Mapping[str, object], config: Path | None = None) -> Recipe:
    """The recipe that `words` ask for, over those of the TOML file; None stands for a word that was not said.

    words: `recipe.WORDS`, the Recipe's own fields, `target_size` ("2MB") and `set`, rules in order, which come before
           those of the file: texts "RE:bits=8", or a mapping from pattern to options.

    Raises: RecipeError for a word nobody knows or a value that does not fit.
    """
    said = {word: value for word, value in words.items() if value is not None}
    general, rules, whole = _configured(config) if config else (Options(), (), {})
    own = parse_options({word: said.pop(word) for word in WORDS if word in said})
    rules = (*_rules(said.pop("set", ())), *rules)
    for word in said.keys() & {"max_error", "target_size", "target_bytes", "target_ratio"}:
        whole = {w: v for w, v in whole.items() if w == word or w not in _TARGETS}
    whole |= said
    if unknown := sorted(whole.keys() - WHOLE):
        raise RecipeError(f"option {unknown[0]!r}: expected one of {', '.join(sorted(WHOLE | {*WORDS, 'set'}))}")
    general = own.merged_with(general)
    _refuse_lossy_rules(general, rules)
    _refuse_idle([general, *(rule.options.merged_with(general) for rule in rules)], bool(whole.get("global_sparsity")))
    if "target_size" in whole:
        whole["target_bytes"] = parse_size(str(whole.pop("target_size")))
    return Recipe(
        options=general,
        rules=rules,
        include=_patterns(whole, "include"),
        exclude=_patterns(whole, "exclude"),
        preset=cast(Preset, _typed(whole, "preset", str) or Recipe.preset),
        effort=cast(Effort, _typed(whole, "effort", str) or Recipe.effort),
        max_error=_typed(whole, "max_error", float),
        target_bytes=_typed(whole, "target_bytes", int),
        target_ratio=_typed(whole, "target_ratio", float),
        global_sparsity=_typed(whole, "global_sparsity", bool) or False,
        keep_optimizer=_typed(whole, "keep_optimizer", bool) or False,
        seed=_typed(whole, "seed", int) or 0,
    )


def _configured(config: Path) -> tuple[Options, tuple[Rule, ...], dict[str, object]]:
    """What the file says. Raises: RecipeError that names the file."""
    try:
        return parse_config(config)
    except RecipeError as error:
        raise RecipeError(str(error) if str(error).startswith(f"{config}: ") else f"{config}: {error}") from error


def _refuse_lossy_rules(general: Options, rules: Iterable[Rule]) -> None:
    """Raises: RecipeError for a rule that asks for loss where nothing may be lost, and does not take that back."""
    for rule in rules:
        if general.lossless and rule.options.lossless is None:
            for word in ("prune", "bits", "clusters", "step", "quantizer"):
                if getattr(rule.options, word) is not None:
                    raise RecipeError(
                        f"lossless: expected nothing that loses beside it, got a rule for {rule.pattern!r}; "
                        "lossless=false in it lets it lose"
                    )


def _refuse_idle(every: Iterable[Options], ranked: bool) -> None:
    """Raises: RecipeError for a word that does nothing without another one."""
    every = list(every)
    if ranked and not any(options.prune and options.prune.rule == "sparsity" for options in every):
        raise RecipeError("global_sparsity: expected sparsity beside it, got none")
    started = [options for options in every if options.start]
    if started and not any(o.bits or o.clusters or o.quantizer == "kmeans" for o in started):
        raise RecipeError("start: expected bits, clusters or quantizer kmeans beside it, got none")


_TARGETS = frozenset({"max_error", "target_size", "target_bytes", "target_ratio"})


def _rules(rules: object) -> tuple[Rule, ...]:
    if isinstance(rules, str):
        return (_rule(rules),)
    if isinstance(rules, Mapping):
        return tuple(
            Rule(str(pattern), parse_options(said)) if isinstance(said, Mapping) else _rule(f"{pattern}:{said}")
            for pattern, said in rules.items()
        )
    if isinstance(rules, Iterable):
        return tuple(_rule(str(rule)) for rule in rules)
    raise RecipeError(f"set: expected rules such as 'dense:bits=4', got {rules!r}")


def _rule(text: str) -> Rule:
    """`parse_rule`. Raises: RecipeError that names the rule."""
    try:
        return parse_rule(text)
    except RecipeError as error:
        raise RecipeError(str(error) if str(error).startswith("--set") else f"--set {text!r}: {error}") from error


def _patterns(whole: Mapping[str, object], word: str) -> tuple[str, ...]:
    value = whole.get(word, ())
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(pattern, str) for pattern in value):
        return tuple(value)
    raise RecipeError(f"{word}: expected regular expressions, got {value!r}")


def _typed(whole: Mapping[str, object], word: str, kind: type[T]) -> T | None:
    """The value of a word, None where it was not said; an integer may stand for a float."""
    value = whole.get(word)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if value is None or type(value) is kind:
        return value
    raise RecipeError(f"{word}: expected {kind.__name__}, got {value!r}")
