"""Parsing of the options of a command line, a TOML file or Python into a Recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from wcodec.errors import RecipeError, suggest
from wcodec.planning.idle_options import refuse_idle, refuse_rivals
from wcodec.planning.option_values import parse_float
from wcodec.planning.options import BY_WORD, build, parse_options, parse_rules
from wcodec.planning.recipe import Options, Recipe, Rule

_TARGETS = frozenset({"max_error", "target_bytes", "target_ratio"})
_Parsed = tuple[Options, tuple[Rule, ...], dict[str, object]]
"""The options of all tensors, the rules, and the other fields of the recipe by name."""


def parse_recipe(words: Mapping[str, object], config: Path | None = None) -> Recipe:
    """The recipe of `words`, which take precedence over those of the TOML file; None means that an option was not
    given.

    words: those of `options.OPTIONS`. The rules of `set` precede those of the file, where they are `[[set]]` tables
           with a `pattern`.
    Raises: RecipeError for an unknown word or a value that does not fit.
    """
    options, rules, whole = _parse(words)
    if config:
        general, more_rules, base = _parse_config(config)
        base = {field: value for field, value in base.items() if field not in _TARGETS or not whole.keys() & _TARGETS}
        options, rules, whole = options.merge_with(general), rules + more_rules, base | whole
    _refuse_lossy_rules(options, rules)
    refuse_idle(options, rules, whole)
    return build(Recipe, whole | {"options": options, "rules": rules})


def _parse(words: Mapping[str, object]) -> _Parsed:
    given = {word: value for word, value in words.items() if value is not None}
    if unknown := sorted(given.keys() - BY_WORD.keys()):
        known = ", ".join(sorted(BY_WORD))
        raise RecipeError(f"option {unknown[0]!r}: expected one of {known}{suggest(unknown[0], BY_WORD)}")
    refuse_rivals(given)
    rules = parse_rules("set", given.pop("set", ()))
    mean = given.pop("bits") if str(given.get("bits", "")).startswith("auto") else None
    of_tensor = {word: given.pop(word) for word in list(given) if BY_WORD[word].is_of_tensor}
    whole = {BY_WORD[w].target: BY_WORD[w].parse(w, value) for w, value in given.items()}
    if mean is not None:
        whole["mean_bits"] = parse_float("bits", str(mean).removeprefix("auto").removeprefix(":"))
    return parse_options(of_tensor), rules, whole


def _parse_config(path: Path) -> _Parsed:
    """The contents of a TOML file. Raises: RecipeError with the name of the file."""
    import tomllib  # noqa: PLC0415 - few commands have a configuration, and this is a third of their start-up

    try:
        with path.open("rb") as file:
            return _parse(tomllib.load(file))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: expected a TOML file, got {getattr(error, 'strerror', error)}") from error
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error


def _refuse_lossy_rules(general: Options, rules: Iterable[Rule]) -> None:
    """Raises: RecipeError for a rule with lossy options in a lossless recipe, unless it has lossless=false."""
    for rule in rules:
        if general.lossless and rule.options.lossless is None:
            for word in ("prune", "bits", "clusters", "step", "quantizer"):
                if getattr(rule.options, word) is not None:
                    raise RecipeError(
                        f"lossless: expected nothing that loses with it, got a rule for {rule.pattern!r}; "
                        "lossless=false in it lets it lose"
                    )
