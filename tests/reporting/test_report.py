"""The page of --report is complete, needs no other files, and escapes names."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights, write_npz
from conftest import HANG

from wcodec.cli import main
from wcodec.reporting.inspection import inspect
from wcodec.reporting.svg import Axis, make_log_axis
from wcodec.reporting.weight_histograms import BINS, make_file_histograms, make_histograms

VOID = {"meta", "img", "br"}
HOSTILE = (
    "<script>alert(1)</script>", "\"'><img src=x onerror=alert(2)>", "</title></svg></script><script>alert(3)</script>",
    "a & b/größe\x01/kernel", "]]><!--", "javascript:alert(4)",
)  # fmt: skip
BROWSERS = [path for name in ("chromium", "google-chrome", "chromium-browser") if (path := shutil.which(name))]


class Strict(HTMLParser):
    """A parser that asserts that elements are closed in order, and collects attributes and texts."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)


def examine(path: Path) -> tuple[Strict, dict[str, object]]:
    """Assert that the page is well formed and loads no other files; return the parser and the JSON of the page."""
    text = path.read_text("utf-8")
    parser = Strict()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    assert len(parser.texts["script"]) == 1
    for tag, name, value in parser.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in {"href", "srcset", "action", "xlink:href"}, (tag, name)
        assert name != "src" or value.startswith("data:image/png;base64,"), value[:40]
        assert name != "type" or value == "application/json"
    drawn = text[: text.index('<script type="application/json"')]
    assert not re.findall(r"https?://|@import|url\(|\bNaN\b|\bnan\b|\binf\b", drawn)
    named = {("svg", "aria-label"), ("img", "alt")}
    pictures = [value for tag, name, value in parser.attributes if (tag, name) in named]
    assert len(pictures) >= 2
    assert all(pictures)
    numbers = json.loads(parser.texts["script"][0])
    return parser, numbers


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arrays = {name: weights(i, 20 + i, 30) for i, name in enumerate(HOSTILE)}
    arrays["none"], arrays["zeros"] = np.empty((0, 3), np.float32), np.zeros((9, 9), np.float32)
    arrays["mad"], arrays["kernel"] = np.full((20, 9), np.nan, np.float32), weights(8, 3, 3, 8, 40)
    return write_npz(tmp_path_factory.mktemp("hostile") / "m.npz", arrays)


@pytest.fixture(scope="module", params=["encode", "inspect", "inspect-model", "sweep"])
def written(request: pytest.FixtureRequest, hostile: Path) -> Path:
    """A report of each kind of a model whose tensors have hostile names."""
    page = hostile.with_name(f"{request.param}.html")
    coded = hostile.with_name(f"{request.param}.wcz")
    lines = {
        "encode": [["encode", hostile, "-o", coded, "--report", page, "-q"]],
        "inspect": [["encode", hostile, "-o", coded, "-q", "--bits", "4"], ["inspect", coded, "--report", page]],
        "inspect-model": [["inspect", hostile, "--report", page]],
        "sweep": [["sweep", hostile, "--points", "3", "--report", page, "-q"]],
    }
    for line in lines[request.param]:
        assert main([str(word) for word in line]) == 0
    return page


def test_a_page_is_well_formed_and_self_contained_and_escapes_names(written: Path) -> None:
    parser, numbers = examine(written)
    assert numbers["command"] == written.stem.partition("-")[0]
    inspection, drawn = numbers["inspection"], numbers["portraits"]
    assert isinstance(inspection, dict)
    assert isinstance(drawn, list)
    names = {tensor["name"] for tensor in inspection["tensors"]}
    assert set(HOSTILE) <= names
    cells = set(parser.texts["td"])
    assert {name.replace("\x01", "\ufffd") for name in HOSTILE} <= cells
    assert {portrait["name"] for portrait in drawn} <= names
    assert ("sweep" in numbers) == (numbers["command"] == "sweep")


def test_installed_browsers_render_the_page_without_running_scripts_of_names(hostile: Path, tmp_path: Path) -> None:
    page, shot = tmp_path / "r.html", tmp_path / "r.png"
    assert main(["sweep", str(hostile), "--points", "3", "--report", str(page), "-q"]) == 0
    for browser in BROWSERS:
        line = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,3000"]
        found, _ = (
            subprocess.run([*line, word, f"file://{page}"], capture_output=True, text=True, timeout=HANG, check=True)
            for word in ("--dump-dom", f"--screenshot={shot}")
        )
        assert found.stdout.count("<script") == 1
        assert "<title>m.npz - wcodec</title>" in found.stdout
        assert shot.stat().st_size > 30_000


def test_a_report_does_not_overwrite_a_file_or_the_output(hostile: Path, tmp_path: Path) -> None:
    page, coded = tmp_path / "r.html", tmp_path / "m.wcz"
    page.write_text("mine")
    for line in (
        ["encode", hostile, "-o", coded, "--report", page], ["inspect", hostile, "--report", page],
        ["sweep", hostile, "--report", page], ["encode", hostile, "-o", coded, "--report", coded],
        ["encode", hostile, "-o", coded, "--report", hostile, "-f"], ["inspect", hostile, "--report", tmp_path],
        ["sweep", hostile, "--report", tmp_path / "none" / "r.html"],
    ):  # fmt: skip
        assert main([*map(str, line), "-q"]) == 1, line
        assert page.read_text() == "mine"
        assert not coded.exists()
    assert main(["inspect", str(hostile), "--report", str(page), "-f", "-q"]) == 0
    examine(page)
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]


def test_a_dry_run_has_a_report_and_no_container(hostile: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    assert main(["encode", str(hostile), "--dry-run", "--report", str(page), "-q"]) == 0
    examine(page)
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]


def test_a_page_has_the_json_of_inspect(hostile: Path, tmp_path: Path) -> None:
    page, coded = tmp_path / "r.html", tmp_path / "m.wcz"
    assert main(["encode", str(hostile), "-o", str(coded), "--report", str(page), "-q"]) == 0
    assert examine(page)[1]["inspection"] == json.loads(json.dumps(inspect(coded).to_json()))


def test_histograms_count_weights_before_and_after(hostile: Path, tmp_path: Path) -> None:
    coded = tmp_path / "m.wcz"
    line = ["encode", str(hostile), "-o", str(coded), "--clusters", "8", "--sparsity", "0.5", "--set", "mad:lossless"]
    assert main([*line, "-q"]) == 0
    both = {histogram.name: histogram for histogram in make_histograms(hostile, coded)}
    kernel = both["kernel"]
    assert kernel.before is not None
    assert kernel.after is not None
    assert len(kernel.before) == len(kernel.after) == BINS
    assert 0.998 * 2880 <= sum(kernel.before) <= 2880
    assert len(kernel.values) == 8
    assert sum(count for _, count in kernel.values) == 2880
    assert kernel.kept == pytest.approx(0.5, abs=0.01)
    assert kernel.pattern.mean() / 255 == pytest.approx(kernel.kept, abs=0.01)
    assert make_file_histograms(coded)[0].before is None
    assert make_file_histograms(hostile)[0].after is None


@pytest.mark.parametrize(("low", "high"), [(1, 2), (1, 1.3), (3, 70), (1e-9, 1e6), (95_000, 140_000)])
def test_logarithmic_axes_have_three_to_nine_ticks_inside(low: float, high: float) -> None:
    axis = make_log_axis("", [low, high], str)
    ticks = axis.ticks()
    assert 3 <= len(ticks) <= 9
    assert all(axis.low * 0.99 <= tick <= axis.high * 1.01 for tick in ticks)
    assert axis.position(axis.low) == 0.0 <= axis.position(low) < axis.position(high) <= axis.position(axis.high) == 1.0
    assert axis.position(0.0) == 0.0


def test_linear_axes_have_round_ticks() -> None:
    assert Axis("", 98.7, 99.6, str, False).ticks() == pytest.approx([98.8, 99.0, 99.2, 99.4, 99.6])
