"""`--lossless` of any folder: every file is restored, whatever its name, and no other file is changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attack.small_models import weights, write_npz
from conftest import Run
from round_trips import checkpoint, contents

import wcodec as package
from wcodec.errors import ModelFileError, WcodecError
from wcodec.modelfiles.shards import folder_of
from wcodec.pipeline.folder_encoder import encode_folder
from wcodec.pipeline.part_folder import LISTED, only_encoder
from wcodec.planning.parsing import parse_recipe


def list_paths(folder: Path) -> set[bytes]:
    """All paths of a folder, with those of its folders."""
    return {os.fsencode(path.relative_to(folder)) for path in folder.rglob("*")}


def round_trip(folder: Path) -> Path:
    """Encode a folder, decode it, and compare; return the folder of the containers."""
    packed, back = folder.with_name("m.wcz"), folder.with_name("back")
    package.encode(folder, packed, lossless=True)
    package.verify(packed)
    package.decode(packed, back)
    assert contents(back) == contents(folder)
    assert list_paths(back) == list_paths(folder)
    assert LISTED not in {path.name for path in packed.iterdir()}
    return packed


def test_a_saved_model_an_mlpackage_and_empty_folders_are_restored(tmp_path: Path) -> None:
    for name, files, empty in (
        ("saved", {"saved_model.pb": b"\x08\x01\x12\x04", "variables/variables.index": b"i" * 90}, ["assets"]),
        ("x.mlpackage", {"Manifest.json": b"{}", "Data/com.apple.CoreML/weights/weight.bin": bytes(900)}, []),
        ("empty", {}, []),
        ("folders", {}, ["a/b", "c"]),
    ):
        folder = tmp_path / name / "m"
        for inside, content in files.items():
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            (folder / inside).write_bytes(content)
        for inside in ["", *empty]:
            (folder / inside).mkdir(parents=True, exist_ok=True)
        round_trip(folder)
        with pytest.raises(ModelFileError, match="; lossless keeps any folder"):
            package.encode(folder, tmp_path / name / "lossy.wcz")


def test_files_with_unusual_names_are_restored(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    odd = [b"a:b", b"kernel:0", b"back\\slash", b"latin-\xe9", b"line\nbreak", b"index", b"x" * 250, b"a", b"a.wcz"]
    for name in odd[:-1]:
        folder.mkdir(exist_ok=True)
        (folder / os.fsdecode(name)).write_bytes(name)
    (folder / "a.wcz").mkdir()
    (folder / "a.wcz" / "b").write_text("b")
    write_npz(folder / "w.npz", {"w": weights(1, 20, 30)})
    packed = round_trip(folder)
    assert {path.name for path in packed.iterdir()} == {"index.wcz", *(f"{i}.wcz" for i in range(10))}
    weight = package.open(packed)["w"]
    assert weight.shape == (20, 30)


def test_the_command_accepts_unusual_names(wcodec: Run, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    write_npz(folder / os.fsdecode(b"\xe9:1.npz"), {"w": weights(1, 20, 30)})
    assert wcodec("encode", folder, "--lossless").returncode == 0
    for words in (["inspect"], ["inspect", "--json"], ["verify"], ["decode", "-o", tmp_path / "back"]):
        assert wcodec(words[0], tmp_path / "m.wcz", *words[1:]).returncode == 0
    assert contents(tmp_path / "back") == contents(folder)


def test_base_files_are_found_by_unusual_names(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name / "sub").mkdir(parents=True)
        write_npz(tmp_path / name / "sub" / "w:0.npz", {"w": weights(1, 200, 30)})
    package.encode(tmp_path / "new", tmp_path / "m.wcz", base=tmp_path / "old", lossless=True)
    opened = package.open(tmp_path / "m.wcz", base=tmp_path / "old")
    assert opened["w"].shape == (200, 30)
    package.decode(tmp_path / "m.wcz", tmp_path / "back", base=tmp_path / "old")
    assert contents(tmp_path / "back") == contents(tmp_path / "new")


def test_user_files_with_names_of_parts_are_not_removed(tmp_path: Path) -> None:
    checkpoint(tmp_path / "m")
    mine = tmp_path / "out" / "notes.0123456789abcdef.wcz"
    mine.parent.mkdir()
    mine.write_text("mine")
    (tmp_path / "out" / ".x.0123456789abcdef.wcz.1.part").write_text("mine too")
    before = contents(tmp_path / "out")
    package.encode(tmp_path / "m", tmp_path / "out", lossless=True)
    assert before.items() <= contents(tmp_path / "out").items()


def test_parts_of_earlier_attempts_are_removed_and_a_hostile_list_removes_no_other_file(tmp_path: Path) -> None:
    checkpoint(tmp_path / "m")
    outside, out = tmp_path / "x.0123456789abcdef.wcz", tmp_path / "out"
    out.mkdir()
    stale, begun = out / "config.json.0123456789abcdef.wcz", out / ".config.json.0123456789abcdef.wcz.12345678.part"
    for path in (outside, stale, begun, out / "mine.txt"):
        path.write_text("text")
    (out / LISTED).write_text(f"{stale.name}\n../{outside.name}\nmine.txt\n{outside}\n")
    package.encode(tmp_path / "m", out, lossless=True)
    assert (outside.exists(), stale.exists(), begun.exists(), (out / "mine.txt").exists()) == (True, False, False, True)
    package.verify(out)


def test_a_second_encoder_of_a_folder_is_refused(wcodec: Run, tmp_path: Path) -> None:
    checkpoint(tmp_path / "m")
    folder = folder_of(tmp_path / "m")
    assert folder
    with only_encoder(tmp_path / "m.wcz", 0o700):
        with pytest.raises(WcodecError, match=r"m\.wcz: another encoder is at work"):
            encode_folder(folder, tmp_path / "m.wcz", parse_recipe({}))
        done = wcodec("encode", tmp_path / "m", "-f")
        assert (done.returncode, "another encoder is at work" in done.stderr) == (1, True)
    assert not (tmp_path / "m.wcz").exists()
    assert wcodec("encode", tmp_path / "m").returncode == 0
