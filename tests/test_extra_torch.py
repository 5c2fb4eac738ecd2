"""PyTorch checkpoints; collected where the extra `torch` is installed."""

from __future__ import annotations

from pathlib import Path

import torch
from attack.small_models import weights
from test_identical import assert_identical

from wcodec.decoder import open_container


def test_a_torch_archive_has_its_storages_coded_as_numbers_without_unpickling(tmp_path: Path) -> None:
    state = {"w": torch.from_numpy(weights(1, 300, 200)), "h": torch.ones(50, 3).half(), "n": torch.tensor(3)}
    torch.save({"state": state}, tmp_path / "m.pth")
    packed = assert_identical(tmp_path / "m.pth", "data/0", "data/1")
    with open_container(packed) as opened:
        assert [facts.dtype for facts in opened.container.tensors] == ["float32", "float16", "int64"]
        assert opened["data/0"].tobytes() == state["w"].numpy().tobytes()


