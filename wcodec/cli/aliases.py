"""Aliases for users of zstd and gzip: `wcodec -d x.wcz`, `wcodec -9 model.h5`, `wcodec -l *.wcz`.

A group of single letters is split (`-dk`); the value of an option is never changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

VERB_LETTERS: Final = {"d": "decode", "t": "verify", "l": "inspect"}
DIGITS: Final = {digit: "--fast" if digit < "4" else "--best" if digit == "9" else "" for digit in "123456789"}
"""1 to 3 are fast, 4 to 8 the default, 9 is the smallest file."""
KEEP: Final = "k"
TO_STDOUT: Final = "c"
"""-k: the source is always kept; -c: the result goes to standard output."""
PASSED: Final = "fqvT"
"""Letters that are options of the verbs."""


def expand_aliases(words: Sequence[str], verbs: Mapping[str, argparse.ArgumentParser]) -> list[str]:
    """The words with a verb in front, and with the options of that verb.

    >>> expand_aliases(["-dk", "m.wcz"], {"decode": argparse.ArgumentParser()})
    ['decode', 'm.wcz']
    """
    named = bool(words) and words[0] in verbs
    verb, rest = (words[0], words[1:]) if named else (_find_verb(words), words)
    if verb not in verbs:
        return list(words)
    return [verb, *_translate_options(rest, verb, verbs[verb])]


def _find_verb(words: Sequence[str]) -> str:
    """The verb of the letters, or "encode" if files or its options come first; "" for anything else."""
    clusters = [word[1:] for word in words if _is_cluster(word)]
    for letter, verb in VERB_LETTERS.items():
        if any(letter in cluster for cluster in clusters):
            return verb
    first = words[0] if words else ""
    is_ours = bool(clusters) or first == "-" or (not first.startswith("-") and Path(first).exists())
    return "encode" if is_ours else ""


def _is_cluster(word: str) -> bool:
    letters = set(word[1:])
    known = {*VERB_LETTERS, *DIGITS, KEEP, TO_STDOUT, *PASSED.replace("T", "")}
    return word[:1] == "-" and bool(letters) and letters <= known


def _translate_options(words: Sequence[str], verb: str, parser: argparse.ArgumentParser) -> list[str]:
    """The options of zstd as options of the verb."""
    taking = {flag for action in parser._actions if action.nargs != 0 for flag in action.option_strings}
    own = {flag for action in parser._actions for flag in action.option_strings}
    made: list[str] = []
    for number, word in enumerate(words):
        if word == "--":
            return [*made, *words[number:]]
        is_value = number > 0 and words[number - 1] in taking
        if is_value or word in own or not _is_cluster(word):
            made.append(word)
        else:
            made += [option for letter in word[1:] for option in _translate_option(letter, verb)]
    return made


def _translate_option(letter: str, verb: str) -> list[str]:
    if letter in VERB_LETTERS or letter == KEEP:
        return []
    if letter in DIGITS:
        return [DIGITS[letter]] if verb == "encode" and DIGITS[letter] else []
    if letter == TO_STDOUT:
        return ["-o", "-"] if verb in {"encode", "decode"} else []
    return [f"-{letter}"]
