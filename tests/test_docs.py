"""The guide: its commands run, its pages are those of the program, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import HANG, ROOT, THOROUGH, command

from wcodec.cli import main

PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(sh|sh slow|python|python slow)\n(.*?)^```$", re.M | re.S)

PLAIN = re.compile(r"wcodec ([^'|<>;&$`*~#]|'[^']*')*")
"""A command that the shell only splits into words."""
SCRIPT = re.compile(r"python -c '[^']*'")
"""The same, of Python."""


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of the commands that run; those called slow only in the thorough run."""
    for kind, text in BLOCK.findall(page.read_text("utf-8")):
        language, _, slow = kind.partition(" ")
        if THOROUGH or not slow:
            yield language, text


@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page))], ids=lambda page: page.stem)
def test_the_commands_of_a_page_run_one_after_another(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    (tmp_path / "bin").mkdir()
    program = " ".join(f"'{word}'" for word in command())
    for name, words in (("wcodec", program), ("python", f"'{sys.executable}'")):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n', "utf-8")
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    monkeypatch.chdir(tmp_path)
    for language, text in blocks(page):
        lines = text.replace("\\\n", " ").splitlines()
        if not THOROUGH and language == "python":
            exec(compile(text, page.name, "exec"), {"__name__": "__main__"})
        elif not THOROUGH and all(PLAIN.fullmatch(line) or SCRIPT.fullmatch(line) for line in lines):
            for line in lines:  # in this process, for each start takes seconds with Keras
                program, *words = shlex.split(line)
                if program == "python":
                    exec(compile(words[1], page.name, "exec"), {"__name__": "__main__"})
                else:
                    assert main(words) == 0, line
        else:
            words = ["sh", "-euc", text] if language == "sh" else [sys.executable, "-c", text]
            done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=HANG, check=False)
            assert done.returncode == 0, f"{text}\n{done.stderr}"


def test_the_pages_that_are_made_are_those_of_the_program() -> None:
    text = "import build; import sys; sys.exit(any(page.read_text('utf-8') != text for page, text in build.pages()))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "docs"), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", text], env=environment, timeout=HANG, check=False)
    assert done.returncode == 0, "run: python docs/build.py"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target
