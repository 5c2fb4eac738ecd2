"""Pages in a browser, wide and narrow, light and dark: no element overflows, and the page makes no requests."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from conftest import BROWSER, HANG, Run

PROBE = """<script>
addEventListener("load", () => {
  const frame = document.getElementById("page"), seen = frame.contentDocument, root = seen.documentElement;
  const inside = (one) => one.closest(".scroll");
  const over = [...seen.querySelectorAll("body *")].filter((one) => !inside(one) && !one.closest("svg")
    && one.getBoundingClientRect().right > root.clientWidth + 1).map((one) => one.tagName);
  const requests = frame.contentWindow.performance.getEntriesByType("resource").map((one) => one.name);
  document.getElementById("found").textContent = JSON.stringify({
    over, requests, wide: root.scrollWidth - root.clientWidth, text: seen.body.innerText.length});
});
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Path:
    from wcodec.cli import main

    folder = tmp_path_factory.mktemp("pages")
    model, packed, report = samples / "tutorial_cnn.h5", folder / "m.wcz", folder / "report.html"
    words = ["--preset", "deep-compression", "-q"]
    assert main(["encode", str(model), "-o", str(packed), *words]) == 0
    assert main(["inspect", str(packed), "--report", str(report), "--baseline", str(model), "-q"]) == 0
    return report


def probe_in_browser(folder: Path, page: Path, width: int, dark: bool) -> dict[str, object]:
    """Return the results of the probe for a page of this width in a browser."""
    frame = folder / "frame.html"
    style = f"width:{width}px;height:900px;border:0;color-scheme:{'dark' if dark else 'light'}"
    frame.write_text(f'{PROBE}<iframe id="page" style="{style}" src="{page.as_uri()}"></iframe><pre id="found"></pre>')
    words = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    words += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=4000", "--dump-dom", frame.as_uri()]
    words += ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(words, capture_output=True, text=True, timeout=HANG, check=True)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr
    numbers: dict[str, object] = json.loads(found[1].replace("&amp;", "&"))
    return numbers


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (400, True)])
def test_no_element_overflows_and_no_request_is_made(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    found = probe_in_browser(tmp_path, page, width, dark)
    assert found["text"] > 500
    assert (found["over"], found["wide"]) == ([], 0)
    assert found["requests"] == []


def test_a_page_with_a_baseline_has_the_weights_before_and_after(page: Path, wcodec: Run, coded: Path) -> None:
    assert "The grey area shows the weights before encoding" in page.read_text("utf-8")
    refused = wcodec("inspect", coded, "--baseline", coded)
    assert (refused.returncode, "--baseline: expected --report" in refused.stderr) == (2, True)


def test_a_page_has_codebooks_code_words_and_a_legend(page: Path) -> None:
    text = page.read_text("utf-8")
    assert [title for title in ("Stages", "Codebooks", "Gaps") if f"<h2>{title}</h2>" not in text] == []
    assert re.search(r"used [\d,]+ times \([\d.]+ %\), code word [01]+, \d+ bits", text)
    for part in ("codes", "gaps", "codebooks", "skeleton"):
        assert re.search(rf"</i>{part}: [a-z]", text), part
