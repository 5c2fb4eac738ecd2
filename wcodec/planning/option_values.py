"""The values of options, from text or from Python: parse_X(word, value) is the value; an error names the word."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from wcodec.codec.plan import Prune
from wcodec.errors import RecipeError
from wcodec.planning.recipe import StepSize

UNITS: Final = {"": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9,
                "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}  # fmt: skip
SECONDS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_bool(word: str, value: object) -> bool:
    """True, false, 1 or 0."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in {"true", "false", "1", "0"}:
        raise RecipeError(f"{word}: expected true or false, got {value!r}")
    return value.lower() in {"true", "1"}


def parse_int(word: str, value: object) -> int:
    """An integer."""
    try:
        return int(str(value))
    except ValueError as error:
        raise RecipeError(f"{word}: expected an integer, got {value!r}") from error


def parse_float(word: str, value: object) -> float:
    """A number."""
    try:
        return float(str(value))
    except ValueError as error:
        raise RecipeError(f"{word}: expected a number, got {value!r}") from error


def parse_text(word: str, value: object) -> str:
    """A word, which is checked where it is used."""
    return str(value)


def parse_step(word: str, value: object) -> StepSize:
    """0.01 in units of the weights, or "2x": twice the preset's step."""
    text = str(value)
    return StepSize(parse_float(word, text.removesuffix("x")), text.endswith("x"))


def parse_prune(word: str, value: object) -> Prune:
    """`sparsity` 0..1, or `threshold` as a number or in standard deviations, "1.5std"."""
    text = str(value)
    if word == "sparsity":
        return Prune("sparsity", parse_float(word, text))
    if text.endswith("std"):
        return Prune("deviations", parse_float(word, text[:-3]))
    return Prune("absolute", parse_float(word, text))


def parse_size(word: str, value: object) -> int:
    """Bytes of "2MB", "500kB" (powers of 1000), "1.5MiB" (of 1024) or a plain number."""
    found = re.fullmatch(r"(\d+|\d*\.\d+)\s*([a-z]*)", str(value).strip().lower())
    if not found or found[2] not in UNITS:
        raise RecipeError(f"{word}: expected a number with B, kB, MB, GB, kiB, MiB or GiB, got {value!r}")
    return int(float(found[1]) * UNITS[found[2]])


def parse_patterns(word: str, value: object) -> tuple[str, ...]:
    """One regular expression, or several."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(pattern, str) for pattern in value):
        return tuple(value)
    raise RecipeError(f"{word}: expected regular expressions, got {value!r}")


def parse_seconds(word: str, value: object) -> float:
    """Seconds from "90", "90s", "5m", "1.5h" or a number."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(value).strip().lower())
    if not found:
        raise RecipeError(f"{word}: expected a number with s, m or h, got {value!r}")
    return float(found[1]) * SECONDS[found[2]]


def parse_ratio(word: str, value: object) -> float:
    """A number, or a fraction such as 1/16."""
    over, slash, under = str(value).partition("/")
    divisor = parse_float(word, under) if slash else 1.0
    if not divisor:
        raise RecipeError(f"{word}: expected a number other than 0 under the line, got {value!r}")
    return parse_float(word, over) / divisor


def parse_threads(word: str, value: object) -> int:
    """0 to 1024 threads."""
    text = str(value)
    if not text.isdecimal() or int(text) > 1024:
        raise RecipeError(f"{word}: expected 0 to 1024 threads, got {text!r}")
    return int(text)


def parse_path(word: str, value: object) -> Path:
    """The path of a file."""
    return Path(_refuse_empty(word, str(value)))


def parse_data(word: str, value: object) -> object:
    """Any value; `evaluation.datasets.load_examples` checks it."""
    return _refuse_empty(word, str(value)) if isinstance(value, str | Path) else value


def parse_limit(value: object) -> int | None:
    """`max_output`: bytes as `parse_size` reads them; None means no limit."""
    return None if value is None else parse_size("max_output", value)


def parse_score(word: str, value: object) -> object:
    """`module:function`; in Python also the function itself."""
    return value if callable(value) else _refuse_empty(word, str(value), "MODULE:F")


def parse_network(word: str, value: object) -> object:
    """A model file or `module:function`; in Python also the function, a Keras model or an nn.Module."""
    return _refuse_empty(word, str(value)) if isinstance(value, str | Path) else value


def _refuse_empty(word: str, name: str, wanted: str = "a file") -> str:
    """The name, which is not empty: `Path("")` is the current folder."""
    if not name:
        raise RecipeError(f"{word}: expected {wanted}, got an empty name")
    return name
