"""Functions of the user's own modules, named `module:function`; the only place that runs them."""

from __future__ import annotations

import importlib
import os
import re
import sys
from types import ModuleType

from wcodec.errors import RecipeError

NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def is_function_name(spec: str) -> bool:
    """Whether `spec` reads as `module:function`."""
    return NAME.fullmatch(spec) is not None


def import_module(module: str) -> ModuleType:
    """The module, found on the Python path or in the working directory.

    Raises: RecipeError where it is missing or fails.
    """
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        return importlib.import_module(module)
    except Exception as exc:
        raise RecipeError(f"module {module}: expected it to import, got {type(exc).__name__}: {exc}") from exc
    finally:
        sys.path.remove(here)


def call_function(spec: str) -> object:
    """What the function named `module:function` returns, called without arguments.

    Raises: RecipeError where there is none, or it fails.
    """
    module, _, name = spec.partition(":")
    function: object = import_module(module)
    for part in name.split("."):
        if not hasattr(function, part):
            raise RecipeError(f"{spec}: expected a function {name} in {module}, found none")
        function = getattr(function, part)
    if not callable(function):
        raise RecipeError(f"{spec}: expected a function, got {type(function).__name__}")
    try:
        returned: object = function()
        return returned
    except Exception as exc:
        raise RecipeError(f"{spec}: expected examples or a model, it raised {type(exc).__name__}: {exc}") from exc
