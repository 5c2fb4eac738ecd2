"""The tensors that a pattern of --set, --include or --exclude finds, and the options of each tensor.

A pattern is a regular expression that is searched in the user's names of tensors and layers (`dense_1/kernel`). If it
finds nothing there, it is searched in the names of the file (`layers/dense/vars/0`), which may number layers
differently.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from wcodec.codec.statistics import is_weight
from wcodec.errors import RecipeError
from wcodec.model import Tensor
from wcodec.modelfiles.names import SEPARATORS, find_tensor, suggest_names
from wcodec.planning.classic import classic_options
from wcodec.planning.recipe import CLASSIC, Options, Recipe, Rule

Asked = tuple[Options, bool]
"""The options of a tensor, and whether a rule names it, so that it is quantised even if it is a vector."""


def find_tensors(pattern: str, tensors: Sequence[Tensor]) -> frozenset[str]:
    """The names (in the file) of the tensors that a pattern finds, or of the tensor whose name it is literally."""
    known = [one for one in tensors if re.search(pattern, one.user_name or one.name) or re.search(pattern, one.layer)]
    found = known or [one for one in tensors if re.search(pattern, one.name)]
    return frozenset(one.name for one in found) or _find_named(pattern, tensors)


def _find_named(pattern: str, tensors: Sequence[Tensor]) -> frozenset[str]:
    """The tensor whose full name the pattern is or matches, or whose name ends with it, starting at the layer."""
    literal = re.sub(r"\\(.)", r"\1", pattern.removeprefix("^").removesuffix("$"))
    found: set[str] = set()
    for asked in {pattern, literal}:
        try:
            name = find_tensor(asked, _list_names(tensors))
        except KeyError:
            continue
        whole = asked in {name, *(one.user_name for one in tensors)}
        found |= {name} if whole or any(mark in asked for mark in SEPARATORS) else set()
    return frozenset(found)


def _list_names(tensors: Sequence[Tensor]) -> dict[str, str]:
    return {one.name: one.user_name for one in tensors}


def options_by_tensor(tensors: Sequence[Tensor], recipe: Recipe) -> dict[str, Asked]:
    """The options of each tensor, by its name in the file; `lossless` if it is excluded.

    Raises: RecipeError for a pattern that finds nothing, or only vectors for options that do not apply to them.
    """
    check_patterns(tensors, recipe)
    out = frozenset[str]().union(*(find_tensors(pattern, tensors) for pattern in recipe.exclude))
    if recipe.include:
        kept = frozenset[str]().union(*(find_tensors(pattern, tensors) for pattern in recipe.include))
        out |= {one.name for one in tensors} - kept
    asked: dict[str, Asked] = dict.fromkeys(out, (Options(lossless=True), True))
    for rule in recipe.rules:
        found, named = find_tensors(rule.pattern, tensors), _find_named(rule.pattern, tensors)
        for one in tensors:
            if one.name in found:
                options = rule.options.merge_with(_find_general_options(one, recipe))
                asked.setdefault(one.name, (options, len(one.shape) >= 2 or one.name in named))
    return {one.name: asked.get(one.name, (_find_general_options(one, recipe), False)) for one in tensors}


def _find_general_options(tensor: Tensor, recipe: Recipe) -> Options:
    """The options of a tensor that no rule finds."""
    if recipe.preset == CLASSIC and is_weight(tensor):
        return recipe.options.merge_with(classic_options(tensor))
    return recipe.options


def is_used(rule: Rule, tensors: Sequence[Tensor]) -> bool:
    """Whether a rule finds a tensor to which its options apply: vectors are quantised only by their full names, scalars
    never.
    """
    found, named = find_tensors(rule.pattern, tensors), _find_named(rule.pattern, tensors)
    every = [one for one in tensors if one.name in found]
    return any(not rule.options.is_for_weights or len(one.shape) >= (1 if one.name in named else 2) for one in every)


def check_patterns(tensors: Sequence[Tensor], recipe: Recipe) -> None:
    """Raises: RecipeError for a pattern that finds nothing, or only vectors for options that do not apply to them."""
    for pattern in (*recipe.include, *recipe.exclude, *(rule.pattern for rule in recipe.rules)):
        if not find_tensors(pattern, tensors):
            known = suggest_names(pattern, _list_names(tensors))
            raise RecipeError(f"pattern {pattern!r}: expected to find a tensor, found none; {known}")
    for rule in recipe.rules:
        if not is_used(rule, tensors):
            raise RecipeError(
                f"pattern {rule.pattern!r}: expected a tensor of two or more dimensions, or the full name of a vector"
            )
