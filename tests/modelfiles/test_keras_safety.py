"""Configurations that would run code or read files are refused before Keras loads them, whatever its version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attack.small_models import weights, write_hdf5, write_keras

from wcodec.errors import ModelFileError, UnsupportedError
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


def model(folder: Path, kind: str, layer: dict[str, object], encoding: str = "utf-8") -> Path:
    """A file of a Sequential network with that layer in a nested network."""
    inner = {"class_name": "Sequential", "config": {"name": "inner", "layers": [layer]}}
    config = json.dumps({"class_name": "Sequential", "config": {"name": "outer", "layers": [inner]}})
    arrays = {"layers/dense/vars/0": weights(1, 3, 3)}
    if kind == "keras":
        import zipfile

        path = write_keras(folder / "m.keras", arrays)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()} | {
                "config.json": config.encode(encoding)
            }
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
def test_configurations_that_read_files_are_refused(name: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"net: expected a model that is all in .* on this machine"):
        refuse_unsafe(model(tmp_path, kind, READS[name]), "net")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-le"])
def test_configurations_in_every_encoding_of_json_are_checked(encoding: str, tmp_path: Path) -> None:
    path = model(tmp_path, "keras", READS["StringLookup"], encoding)
    with pytest.raises(UnsupportedError, match=r"net: expected a model that is all in .* on this machine"):
        refuse_unsafe(path, "net")


def test_a_configuration_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="net, configuration: expected JSON, got Expecting value"):
        refuse_unsafe(model(tmp_path, "keras", READS["StringLookup"], "cp500"), "net")


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_layers_without_code_or_files_are_accepted(kind: str, tmp_path: Path) -> None:
    words = {"class_name": "StringLookup", "config": {"vocabulary": ["a", "b"], "name": "Lambda"}}
    refuse_unsafe(model(tmp_path, kind, words), "net")


def test_the_loader_refuses_unsafe_layers_before_keras_reads_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wcodec.evaluation import model_loader
    from wcodec.evaluation.keras_backend import keras

    def load(*args: object, **words: object) -> None:
        raise AssertionError("Keras was asked")

    monkeypatch.setattr(keras().models, "load_model", load)
    for layer in (CODE["Lambda"], READS["StringLookup"]):
        with pytest.raises(UnsupportedError, match="--unsafe"):
            model_loader.load_model(model(tmp_path, "keras", layer))


def test_values_in_other_files_are_refused_before_keras_reads_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras before 3.13.2 reads them (CVE-2026-1669)."""
    import h5py

    from wcodec.evaluation import model_loader
    from wcodec.evaluation.keras_backend import keras

    def load(*args: object, **words: object) -> None:
        raise AssertionError("Keras was asked")

    monkeypatch.setattr(keras().models, "load_model", load)
    monkeypatch.setattr(keras().Model, "load_weights", load)
    dense = {"class_name": "Dense", "config": {"units": 3}}
    whole, alone = model(tmp_path, "h5", dense), write_hdf5(tmp_path / "m.weights.h5", {"vars/1": weights(1, 3, 3)})
    for path in (whole, alone):
        with h5py.File(path, "a") as file:
            file.create_dataset("vars/0", (4,), "f4", external=[("/etc/passwd", 0, 16)])
        with pytest.raises(ModelFileError, match=rf"^{path.name}, /vars/0: keeps its values in another file"):
            model_loader.load_model(path, architecture=keras().Sequential())
