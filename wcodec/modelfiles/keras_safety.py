"""What a Keras configuration makes Keras do besides building layers: run code, or read files of this machine.

Keras refuses some of it, and each version refuses more. This check does not depend on the version.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from wcodec.errors import ModelFileError, UnsupportedError
from wcodec.modelfiles import zip_members as members
from wcodec.modelfiles.hdf5 import reader as hdf5_read
from wcodec.modelfiles.json_text import Json, parse_json

CODE: Final = frozenset({
    "Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TensorFlowOpLayer",
})  # fmt: skip
"""Classes whose configuration contains code, or names a file with code."""
FILES: Final = ("vocabulary", "filepath")
"""Settings of layers that are paths if they are strings."""
CONFIG: Final = "config.json"


def refuse_unsafe(path: Path, name: str) -> None:
    """Check the configuration of a `.keras` archive or an HDF5 file. name: the name of the file in messages.

    Raises: UnsupportedError if it runs code or reads other files; ModelFileError if it cannot be read.
    """
    text = _read_config(path, name)
    if text is None:
        return
    try:
        config = parse_json(text, f"{name}, configuration")
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{name}, configuration: expected JSON, got {error}") from error
    for one in _list_objects(config):
        names = re.split(r"[.>]", str(one.get("class_name")))
        said = one.get("config")
        settings = said if isinstance(said, dict) else {}
        if names[-1] in CODE or settings.get("function_type") == "lambda":
            raise UnsupportedError(
                f"{name}: expected layers without code of their own; --unsafe runs it (it is a {names[-1]})"
            )
        for word in FILES:
            if isinstance(place := settings.get(word), str):
                raise UnsupportedError(
                    f"{name}: expected a model that is all in its file, got a {names[-1]} whose {word} is "
                    f"{place[:200]!r} on this machine; --unsafe reads it"
                )


def _read_config(path: Path, name: str) -> str | None:
    if zipfile.is_zipfile(path):
        with members.translate_errors(name), members.open_archive(path) as archive:
            infos = members.check_members(archive, path, tuple(set(archive.namelist()) - {CONFIG}))
            held = any(info.filename == CONFIG for info in infos)
            raw = archive.read(CONFIG) if held else None
            # Keras reads UTF-16 and UTF-32, too, because json.loads does.
            return raw if raw is None else raw.decode(json.detect_encoding(raw), "replace")
    with hdf5_read.open_hdf5(path, name) as (file, _), hdf5_read.translate_errors(name):
        said = file.attrs.get("model_config")
        return said.decode("utf-8", "replace") if isinstance(said, bytes) else said if isinstance(said, str) else None


def _list_objects(config: Json) -> Iterator[dict[str, Json]]:
    """Every object inside, at any depth."""
    waiting = [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
