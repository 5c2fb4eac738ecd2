"""Links inside of a folder are read; links out of it and devices are refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attack.small_models import weights, write_npz
from round_trips import checkpoint

import wcodec
from wcodec.errors import ModelFileError
from wcodec.modelfiles.folder_tree import walk


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a model, and a secret beside it."""
    (tmp_path / "model" / "sub").mkdir(parents=True)
    write_npz(tmp_path / "model" / "w.npz", {"w": weights(1, 8, 8)})
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("key")
    return tmp_path / "model"


def test_links_inside_of_the_folder_are_read_as_files(model: Path) -> None:
    (model / "again.npz").symlink_to("w.npz")
    (model / "sub" / "up.npz").symlink_to("../w.npz")
    (model / "other").symlink_to("sub", target_is_directory=True)
    assert walk(model).files == ("again.npz", "other/up.npz", "sub/up.npz", "w.npz")


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize(
    ("name", "to"),
    [("key", "../secret/key"), ("sub/key", "../../secret/key"), ("folder", "../secret"), ("absolute", "/etc/hosts")],
)
def test_links_out_of_the_folder_are_refused_by_name(name: str, to: str, lossless: bool, model: Path) -> None:
    (model / name).symlink_to(to)
    with pytest.raises(ModelFileError, match=rf"model/{name}: .* link out of it, to "):
        wcodec.encode(model, model.with_name("m.wcz"), lossless=lossless)
    assert not model.with_name("m.wcz").exists()


def test_pipes_and_broken_links_are_refused_by_name(model: Path) -> None:
    (model / "circle").symlink_to("circle")
    with pytest.raises(ModelFileError, match=r"model/circle: .* leads nowhere"):
        walk(model)
    (model / "circle").unlink()
    (model / "sub" / "back").symlink_to("..", target_is_directory=True)
    with pytest.raises(ModelFileError, match=r"sub/back: .* a folder that it is in"):
        walk(model)
    (model / "sub" / "back").unlink()
    (model / "gone").symlink_to("nothing")
    with pytest.raises(ModelFileError, match=r"model/gone: expected a file, found a link that leads nowhere"):
        walk(model)
    (model / "gone").unlink()
    os.mkfifo(model / "pipe")
    with pytest.raises(ModelFileError, match=r"model/pipe: expected a file, found a device, a pipe"):
        walk(model)


def test_links_to_blobs_of_the_same_repository_are_read(tmp_path: Path) -> None:
    repository = tmp_path / "models--a--b"
    snapshot = repository / "snapshots" / "1"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "x").write_text("x")
    (snapshot / "x").symlink_to("../../blobs/x")
    (snapshot / "deep").mkdir()
    (snapshot / "deep" / "x").symlink_to("../../../blobs/x")
    assert walk(snapshot).files == ("deep/x", "x")
    assert walk(snapshot / "deep").files == ("x",)
    (tmp_path / "secret").write_text("key")
    (repository / "blobs" / "y").symlink_to("../../secret")
    (snapshot / "y").symlink_to("../../blobs/y")
    with pytest.raises(ModelFileError, match=r"1/y: .*link out of it"):
        walk(snapshot)
    (snapshot / "y").unlink()
    other = tmp_path / "models--c--d" / "blobs"
    other.mkdir(parents=True)
    (other / "z").write_text("z")
    (snapshot / "z").symlink_to("../../../models--c--d/blobs/z")
    with pytest.raises(ModelFileError, match=r"1/z: .*link out of it"):
        walk(snapshot)
    (snapshot / "z").unlink()
    (repository / "blobs").rename(repository / "real")
    (repository / "blobs").symlink_to("real")
    with pytest.raises(ModelFileError, match="link out of it"):
        walk(snapshot)


def test_a_shard_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    index = checkpoint(tmp_path / "m")
    first = tmp_path / "m" / "model-00001-of-00003.safetensors"
    first.rename(tmp_path / "outside.safetensors")
    first.symlink_to("../outside.safetensors")
    with pytest.raises(ModelFileError, match=r"model-00001-of-00003.safetensors: .* link out of it"):
        wcodec.encode(index, tmp_path / "m.wcz")
