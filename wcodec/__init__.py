"""wcodec: zstd for trained networks.

    wcodec.encode("model.h5", "model.wcz", bits=4)      wcodec.decode("model.wcz", "model.h5")
    wcodec.inspect("model.wcz").parts                   wcodec.open("model.wcz")["dense/kernel"]
    wcodec.verify("model.wcz")                          wcodec.load_model("model.wcz")
    wcodec.encode({"w": array}) -> bytes                wcodec.load("model.wcz") -> arrays by name

`wcodec.keras` and `wcodec.torch` have the functions of these frameworks.

Every name is imported from its module when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wcodec.api.progress import ProgressEvent
    from wcodec.api.running import evaluate, load_model, slim, sweep
    from wcodec.api.verbs import decode, encode, inspect, rebase, verify
    from wcodec.api.weights import Weights, load, open
    from wcodec.errors import (
        BudgetError,
        ContainerError,
        CorruptError,
        ModelFileError,
        RecipeError,
        TruncatedError,
        UnsupportedError,
        WcodecError,
    )
    from wcodec.reporting.inspection import Inspection

__version__ = "0.1.0"
__all__ = [
    "BudgetError", "ContainerError", "CorruptError", "Inspection", "ModelFileError", "ProgressEvent", "RecipeError",
    "TruncatedError", "UnsupportedError", "WcodecError", "Weights", "__version__", "decode", "encode", "evaluate",
    "inspect", "load", "load_model", "open", "rebase", "slim", "sweep", "verify",
]  # fmt: skip
_HOMES = {
    "Inspection": "wcodec.reporting.inspection",
    "ProgressEvent": "wcodec.api.progress",
    "Weights": "wcodec.api.weights",
    "evaluate": "wcodec.api.running",
    "load": "wcodec.api.weights",
    "load_model": "wcodec.api.running",
    "open": "wcodec.api.weights",
    "slim": "wcodec.api.running",
    "sweep": "wcodec.api.running",
}


def __getattr__(name: str) -> object:
    if name in {"keras", "torch"}:
        return import_module(f"wcodec.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'wcodec' has no attribute {name!r}")
    home = "wcodec.errors" if name.endswith("Error") else _HOMES.get(name, "wcodec.api.verbs")
    found: object = getattr(import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
