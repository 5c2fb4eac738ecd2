"""Words in errors, spelt as whoever typed them spelt them: max_error was --max-error on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping

SPECIAL = {
    "global_sparsity": (("global_sparsity", "--global"),),
    "target_bytes": (("target_size", "--target-size"),),
    "prune": (("sparsity", "--sparsity"), ("threshold", "--threshold")),
}
"""Words whose options are not called after them: by the words that were said."""


def as_typed(text: str, words: Mapping[str, object]) -> str:
    """An error with the words of options that were on the command line as they are there.

    words: what the command line said, by the names of `recipe.WORDS`; what is None or False was not said.

    >>> as_typed("max_error: expected a number between 0 and 1, got 7", {"max_error": 7.0})
    '--max-error: expected a number between 0 and 1, got 7'
    """
    said = {word for word, value in words.items() if value is not None and value is not False}

    def spelt(found: re.Match[str]) -> str:
        word = found[0]
        own = ((word, "--" + word.replace("_", "-")),)
        return next((option for name, option in SPECIAL.get(word, own) if name in said), word)

    head, colon, rest = text.partition(":")
    if not re.fullmatch(r"\w+( and \w+| [\w-]+)*", head):
        return text
    rest = re.sub(r"\b[a-z]+(_[a-z]+)+\b|(?<=, got )[a-z]+$", spelt, rest)
    return re.sub(r"(?<![\w-])\w+", spelt, head) + colon + rest
