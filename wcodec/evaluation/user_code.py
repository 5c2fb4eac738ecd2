"""Functions in the user's own modules, named `module:function`; the only module that runs them."""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from wcodec.errors import RecipeError, WcodecError

NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
PACKAGE = Path(__file__).resolve().parent.parent


def is_function_name(spec: str) -> bool:
    """Whether `spec` has the form `module:function`."""
    return NAME.fullmatch(spec) is not None


def import_module(module: str) -> ModuleType:
    """The module, found on the Python path or in the working directory.

    Raises: RecipeError if it is missing or fails.
    """
    if module.endswith(".py") or "/" in module or os.sep in module:
        raise RecipeError(
            f"module {module}: expected the name of a module, got a path; {Path(module).stem} is its name, and modules "
            "are found in the working directory and on PYTHONPATH"
        )
    with _search_here():
        try:
            return importlib.import_module(module)
        except Exception as exc:
            raise RecipeError(f"module {module}: expected it to import, got {describe_failure(exc)}") from exc


@contextmanager
def _search_here() -> Iterator[None]:
    """A context in which modules are also found in the working directory."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def find_function(spec: str) -> Callable[..., object]:
    """The function named `module:function`.

    Raises: RecipeError if there is none.
    """
    if not is_function_name(spec):
        raise RecipeError(f"{spec}: expected module:function")
    module, _, name = spec.partition(":")
    function: object = import_module(module)
    for part in name.split("."):
        if not hasattr(function, part):
            raise RecipeError(f"{spec}: expected a function {name} in {module}, found none")
        function = getattr(function, part)
    if not callable(function):
        raise RecipeError(f"{spec}: expected a function, got {type(function).__name__}")
    return function


def call_function(spec: str) -> object:
    """The return value of the function named `module:function`, called without arguments.

    Raises: RecipeError if there is none, or if it fails.
    """
    return run_function(spec, find_function(spec), wanted="examples or a model")


def run_function(spec: str, function: Callable[..., object], *given: object, wanted: str) -> object:
    """The return value of the function for these arguments. wanted: the expected return value, for errors.

    Raises: RecipeError if it fails.
    """
    try:
        with _search_here():
            return function(*given)
    except WcodecError:
        raise
    except (Exception, SystemExit) as exc:
        raise RecipeError(f"{spec}: expected {wanted}, it raised {describe_failure(exc)}") from exc


def describe_failure(error: BaseException) -> str:
    """An error of the user's code in one line, with its innermost file and line in the user's own files."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if not _is_foreign(one.filename)]
    where = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    return f"{where}{type(error).__name__}: {error}"


def _is_foreign(file: str) -> bool:
    path = Path(file)
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    own = path.resolve().is_relative_to(PACKAGE)
    return own or bool(installed) or file.startswith("<") or path.is_relative_to(os.path.dirname(os.__file__))
