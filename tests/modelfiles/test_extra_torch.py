"""PyTorch checkpoints; the tests need the extra `torch`."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
import torch
from attack.small_models import weights
from round_trips import assert_identical
from safetensors.torch import load_file

from wcodec.errors import ModelFileError
from wcodec.modelfiles import open_model
from wcodec.pipeline.decoder import decode, open_container
from wcodec.pipeline.encoder import encode
from wcodec.planning.parsing import parse_recipe


def test_the_storages_of_a_torch_archive_are_coded_as_numbers_without_unpickling(tmp_path: Path) -> None:
    state = {"w": torch.from_numpy(weights(1, 300, 200)), "h": torch.ones(50, 3).half(), "n": torch.tensor(3)}
    torch.save({"state": state}, tmp_path / "m.pth")
    packed = assert_identical(tmp_path / "m.pth", "data/0", "data/1")
    with open_container(packed) as opened:
        assert [facts.dtype for facts in opened.container.tensors] == ["float32", "float16", "int64"]
        assert opened["data/0"].tobytes() == state["w"].numpy().tobytes()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_is_decoded_to_safetensors(zipped: bool, tmp_path: Path) -> None:
    shared = torch.from_numpy(weights(1, 90, 70))
    state = {
        "model": {"a.weight": shared, "a.bias": torch.zeros(70), "half": torch.ones(5, 4).bfloat16(), "tied": shared},
        "turned": shared.T, "step": 3, "optimizer": {"state": [torch.ones(9)]},
    }  # fmt: skip
    torch.save(state, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    for words in ({"exclude": "."}, {}, {"keep_optimizer": True, "bits": 5}):
        encode(tmp_path / "m.pt", tmp_path / "m.pt.wcz", parse_recipe(words))
        decode(tmp_path / "m.pt.wcz", tmp_path / "m.safetensors")
        back = load_file(tmp_path / "m.safetensors")
        names = {"model.a.weight", "model.a.bias", "model.half", "model.tied", "turned"}
        assert set(back) == names | ({"optimizer.state.0"} if "bits" in words else set())
        assert back["model.half"].dtype == torch.bfloat16
        assert torch.equal(back["turned"].T, back["model.a.weight"]) or "exclude" not in words
        assert ("exclude" in words) == torch.equal(back["model.a.weight"], shared)


def test_a_pickle_with_code_is_refused_and_its_code_does_not_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    for zipped in (True, False):
        torch.save({"w": Hostile()}, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(ModelFileError, match="weights_only"), open_model(tmp_path / "m.pt"):
            pass
        assert_identical(tmp_path / "m.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("payload", [b"cos\nsystem\n(S'\x1b[2J'\ntR.", b"c\x1b[2J\n\x1b]0;x\x07\n."])
def test_messages_of_torch_are_printed_without_escape_sequences(
    payload: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from wcodec.cli.main import main

    torch.save({"w": torch.ones(3, 3)}, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(tmp_path / "m\x1b[2J.pt", "w") as bad:
        for name in good.namelist():
            bad.writestr(name, b"\x80\x02" + payload if name.endswith("data.pkl") else good.read(name))
    assert main(["encode", str(tmp_path / "m\x1b[2J.pt")]) == 5
    messages = "".join(capfd.readouterr())
    assert not {"\x1b", "\x07"} & set(messages)
    assert len(messages.splitlines()) == 1


def test_a_pickled_module_is_refused_with_one_line_that_recommends_its_state_dict(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from wcodec.cli.main import main

    torch.save(torch.nn.Sequential(torch.nn.Linear(3, 4)), tmp_path / "m.pt")
    assert main(["encode", str(tmp_path / "m.pt")]) == 5
    messages = capfd.readouterr().err
    assert messages.splitlines()[-1].endswith(
        "m.pt: torch.load(weights_only=True) refuses it: it has pickled objects (a whole module, or "
        "torch.nn.modules.container.Sequential), whose code would run; save model.state_dict() in place of the model"
    )
    assert "\ufffd" not in messages
    assert "two options" not in messages


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_a_lossy_checkpoint_is_not_decoded_to_a_name_of_pytorch(
    suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from wcodec.cli.main import main

    source, target = tmp_path / f"m{suffix}", tmp_path / f"back{suffix}"
    torch.save({"w": torch.from_numpy(weights(1, 90, 70))}, source)
    packed = f"{source}.wcz"
    assert main(["encode", str(source), "-q"]) == 0
    source.rename(tmp_path / "kept.pt")
    for name in (target, source):
        assert main(["decode", packed, "-o", str(name)]) == 2
        messages = capfd.readouterr().err
        assert (
            f"{name}: expected .safetensors or .npz, as the model in it, got {suffix}; a PyTorch checkpoint is"
            in messages
        )
        assert not name.exists()
    assert main(["encode", str(tmp_path / "kept.pt"), "-o", packed, "-f", "-q", "--lossless"]) == 0
    assert main(["decode", packed, "-o", str(target)]) == 0
    assert target.read_bytes() == (tmp_path / "kept.pt").read_bytes()
