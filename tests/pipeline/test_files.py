"""Files are written completely or not at all; permissions are kept."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from attack.small_models import weights, write_npz

import wcodec as package
from wcodec.files import whole_file
from wcodec.pipeline.folder_encoder import encode_any
from wcodec.planning.parsing import parse_recipe


def test_the_file_exists_after_a_block_without_an_error(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with whole_file(target) as temporary:
        temporary.write_bytes(b"whole")
        assert temporary.parent == tmp_path
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [target]


def write_half(target: Path, error: type[BaseException]) -> None:
    """Write as an interrupted writer does."""
    with whole_file(target) as temporary:
        temporary.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_block_with_an_error_leaves_the_old_file(error: type[BaseException], tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"before")
    with pytest.raises(error):
        write_half(target, error)
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_the_permissions_of_a_new_file_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "out") as temporary:
            temporary.write_bytes(b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def test_a_missing_folder_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"), whole_file(tmp_path / "nowhere" / "out"):
        pass


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o750])
def test_outputs_have_the_permissions_of_the_source(mode: int, tmp_path: Path) -> None:
    source = write_npz(tmp_path / "m.npz", {"w": weights(1, 30, 20)})
    source.chmod(mode)
    package.encode(source, tmp_path / "m.wcz", report=tmp_path / "m.html")
    package.decode(tmp_path / "m.wcz", tmp_path / "back.npz")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {mode}


def test_the_index_of_a_folder_has_the_strictest_permissions_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, mode in (("a.npz", 0o644), ("b.npz", 0o600), ("c.npz", 0o640)):
        write_npz(folder / name, {"w": weights(1, 30, 20)}).chmod(mode)
    package.encode(folder, tmp_path / "coded")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "coded").iterdir()}
    assert modes == {"a.npz.wcz": 0o644, "b.npz.wcz": 0o600, "c.npz.wcz": 0o640, "index.wcz": 0o600}


@pytest.mark.parametrize("words", [{}, {"lossless": True}, {"family": True}])
def test_permissions_of_executable_files_and_private_folders_are_kept(
    words: dict[str, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = {"run.npz": 0o755, "private/own.npz": 0o700, "open/all.npz": 0o644}
    for name, mode in modes.items():
        (tmp_path / "model" / name).parent.mkdir(mode, parents=True, exist_ok=True)
        write_npz(tmp_path / "model" / name, {"w": weights(1, 30, 20)}).chmod(mode)
    (tmp_path / "model/open").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(".")
    package.encode("model", "link/coded", **words)
    encode_any(Path("model"), Path("link/again"), parse_recipe({}))  # a relative path with a link
    assert (tmp_path / "again/private").stat().st_mode & 0o777 == 0o700
    package.decode("coded", "back")
    for name in (*modes, "private", "open"):
        for place in (tmp_path / "back" / name, tmp_path / "coded" / (f"{name}.wcz" if name in modes else name)):
            assert place.stat().st_mode & 0o777 == (tmp_path / "model" / name).stat().st_mode & 0o777


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "m.npz", {"w": weights(1, 30, 20)})
    (tmp_path / "m.wcz").write_bytes(b"old")
    (tmp_path / "m.wcz").chmod(0o660)
    package.encode(source, tmp_path / "m.wcz")
    assert (tmp_path / "m.wcz").stat().st_mode & 0o777 == 0o660


def test_a_pipe_is_never_replaced(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "m.npz", {"w": weights(1, 30, 20)})
    os.mkfifo(tmp_path / "m.wcz")
    with pytest.raises(package.WcodecError, match="expected a file to write"):
        package.encode(source, tmp_path / "m.wcz")
    assert (tmp_path / "m.wcz").is_fifo()
