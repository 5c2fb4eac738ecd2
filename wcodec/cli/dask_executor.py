"""Dask's workers as an executor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from wcodec.errors import RecipeError, WcodecError

if TYPE_CHECKING:
    from concurrent.futures import Executor

ANSWER_SECONDS: Final = 20
"""How long a scheduler may take to answer."""


@contextmanager
def connect_workers(url: str | None) -> Iterator[Executor | None]:
    """The workers of a scheduler as an executor; None without a `url`.

    Raises: RecipeError if Dask is not installed, WcodecError if the scheduler does not answer.
    """
    if url is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise RecipeError("--scheduler: expected Dask, found none; pip install 'wcodec[dask]'") from error
    try:
        client = Client(url, timeout=ANSWER_SECONDS)
    except (OSError, ValueError, ImportError) as error:
        raise WcodecError(f"--scheduler {url}: does not answer: {error}") from error
    with client:
        executor: Executor = client.get_executor(pure=False, retries=3)
        yield executor
