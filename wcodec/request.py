"""From words, as they are written on a command line, in a TOML file or in Python, to a Recipe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TypeVar, cast

from wcodec.errors import RecipeError
from wcodec.recipe import WORDS, Effort, Options, Preset, Recipe, Rule, options_from, parse_config, parse_rule

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


def recipe_from(words: Mapping[str, object], config: Path | None = None) -> Recipe:
    """The recipe that `words` ask for, over those of the TOML file; None stands for a word that was not said.

    words: `recipe.WORDS`, the Recipe's own fields, `target_size` ("2MB") and `set`, rules in order, which come before
           those of the file: texts "RE:bits=8", or a mapping from pattern to options.

    Raises: RecipeError for a word nobody knows or a value that does not fit.
    """
    said = {word: value for word, value in words.items() if value is not None}
    general, rules, whole = _configured(config) if config else (Options(), (), {})
    own = options_from({word: said.pop(word) for word in WORDS if word in said})
    rules = (*_rules(said.pop("set", ())), *rules)
    for word in said.keys() & {"max_error", "target_size", "target_bytes", "target_ratio"}:
        whole = {w: v for w, v in whole.items() if w == word or w not in _TARGETS}
    whole |= said
    if unknown := sorted(whole.keys() - WHOLE):
        raise RecipeError(f"option {unknown[0]!r}: expected one of {', '.join(sorted(WHOLE | {*WORDS, 'set'}))}")
    general = own.over(general)
    _refuse_lossy_rules(general, rules)
    _refuse_idle([general, *(rule.options.over(general) for rule in rules)], bool(whole.get("global_sparsity")))
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
            Rule(str(pattern), options_from(said)) if isinstance(said, Mapping) else _rule(f"{pattern}:{said}")
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
