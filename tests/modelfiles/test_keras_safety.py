"""Configurations that would run code or read files are refused by our own check, whatever version Keras has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attack.small_models import weights, write_hdf5, write_keras

from wcodec.errors import UnsupportedError
from wcodec.modelfiles.keras_safety import refuse_unsafe

LAMBDA = {"class_name": "__lambda__", "config": {"value": "gA==", "defaults": None}}
CODE = {
    "Lambda": {"class_name": "Lambda", "module": "keras.layers", "config": {"function": "f"}},
    "dotted": {"class_name": "layers.Lambda", "module": "keras", "config": {}},
    "registered": {"class_name": "mine>Lambda", "registered_name": "mine>Lambda", "config": {}},
    "lambda": {"class_name": "Dense", "config": {"activation": LAMBDA}},
    "Keras 2": {"class_name": "Thing", "config": {"function_type": "lambda", "function": ["x"]}},
    "SavedModel": {"class_name": "TFSMLayer", "config": {"filepath": "/tmp/x"}},
    "torch": {"class_name": "TorchModuleWrapper", "config": {}},
}
READS = {
    "StringLookup": {"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
    "TextVectorization": {"class_name": "TextVectorization", "config": {"vocabulary": "words.txt"}},
    "nested": {"class_name": "TimeDistributed", "config": {"layer": {"class_name": "A", "config": {"filepath": "/x"}}}},
}


def model(folder: Path, kind: str, layer: dict[str, object]) -> Path:
    """A file of a Sequential network with that layer, inside of a network inside."""
    inner = {"class_name": "Sequential", "config": {"name": "inner", "layers": [layer]}}
    config = json.dumps({"class_name": "Sequential", "config": {"name": "outer", "layers": [inner]}})
    arrays = {"layers/dense/vars/0": weights(1, 3, 3)}
    if kind == "keras":
        import zipfile

        path = write_keras(folder / "m.keras", arrays)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()} | {"config.json": config.encode()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    import h5py

    path = write_hdf5(folder / "m.h5", arrays)
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = config
    return path


@pytest.mark.parametrize("kind", ["keras", "h5"])
@pytest.mark.parametrize("name", CODE)
def test_code_in_a_configuration_is_refused(name: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="net: expected layers without code of their own; --unsafe runs it"):
        refuse_unsafe(model(tmp_path, kind, CODE[name]), "net")


@pytest.mark.parametrize("kind", ["keras", "h5"])
@pytest.mark.parametrize("name", READS)
def test_files_of_this_machine_are_refused(name: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"net: expected a model that is all in .* on this machine"):
        refuse_unsafe(model(tmp_path, kind, READS[name]), "net")


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_ordinary_layers_pass(kind: str, tmp_path: Path) -> None:
    words = {"class_name": "StringLookup", "config": {"vocabulary": ["a", "b"], "name": "Lambda"}}
    refuse_unsafe(model(tmp_path, kind, words), "net")


def test_the_loader_refuses_before_keras_sees_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wcodec.evaluation import model_loader
    from wcodec.evaluation.keras_backend import keras

    def load(*args: object, **words: object) -> None:
        raise AssertionError("Keras was asked")

    monkeypatch.setattr(keras().models, "load_model", load)
    for layer in (CODE["Lambda"], READS["StringLookup"]):
        with pytest.raises(UnsupportedError, match="--unsafe"):
            model_loader.load_model(model(tmp_path, "keras", layer))
