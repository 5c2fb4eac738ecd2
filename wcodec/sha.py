"""SHA-256 of whole files: what a container says of a file outside of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from wcodec.errors import ModelFileError


def sha256_of(path: Path) -> bytes:
    """SHA-256 of a file.

    Raises: ModelFileError where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
