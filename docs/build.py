"""Build the pages that follow from the program and the benchmarks: python docs/build.py

docs/options.md has every option with its help and default; README's figures and the pictures are those of
benchmarks/results.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import figures

from wcodec.cli.parser import VERBS, build_parser
from wcodec.planning.idle_options import WITHOUT_EFFECT
from wcodec.planning.options import spell

FOLDER = Path(__file__).parent


def options_page() -> str:
    """Markdown: a table of options for each verb, by the groups of the help."""
    parsers = build_parser(["completion"]).verbs
    lines = [
        "# Every option", "",
        "`python docs/build.py` makes this page from the program. `wcodec VERB --help-all` prints the same.", "",
    ]  # fmt: skip
    for verb in VERBS:
        does = f"{verb.does[0].upper()}{verb.does[1:]}."
        lines += [f"## wcodec {verb.name}", "", does, "", "```", verb.module.EXAMPLE, "```"]
        for group in parsers[verb.name]._action_groups:
            rows = [row(action) for action in group._group_actions if action.help != argparse.SUPPRESS]
            if rows:
                lines += ["", "| " + (group.title or "options") + " | |", "|---|---|", *rows]
        lines.append("")
    return "\n".join([*lines, *without_effect(), ""])


FLAGS = {"effort": "`--fast`, `--best`", "": "most"}
"""The text of words that are not flags."""
METHOD_ROWS = (
    "| `--coder`, `--fast`, `--best` | `--method` | the default coder may be the same |",
    "| `--max-drop`, `--max-loss` | `--method` | bounds: if one does not hold, no file is written (exit code 4) |",
)


def without_effect() -> Iterator[str]:
    """Markdown: the options that may have no effect with others, and why."""
    yield "## Accepted without effect"
    yield "\nOptions without effect are refused, with a reason. These are accepted although they may have none:"
    yield "\n| option | with | reason |\n|---|---|---|"
    for (word, other), why in WITHOUT_EFFECT.items():
        first, second = (FLAGS.get(one, f"`{spell(one)}`") for one in (word, other))
        yield f"| {first} | {second} | {why} |"
    yield from METHOD_ROWS


def row(action: argparse.Action) -> str:
    """One option: its syntax and its help."""
    value = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else "")
    if isinstance(value, tuple):
        value = " ".join(value)
    takes = action.nargs != 0
    flags = [f"`{flag} {value}`" if takes and value else f"`{flag}`" for flag in action.option_strings]
    name = ", ".join(flags) or f"`{value or action.dest}`"
    text = (action.help or "").replace("%%", "%")
    return f"| {name.replace('|', '/')} | {text.replace('|', '/')} |"


def pages() -> Iterator[tuple[Path, str]]:
    """Every page that is built, with its text."""
    yield FOLDER / "options.md", options_page()
    yield FOLDER / "embeddings.svg", figures.embeddings()
    yield FOLDER / "budgets.svg", figures.kept_budgets()
    yield FOLDER / "slim.svg", figures.slim_curves()
    readme = FOLDER.parent / "README.md"
    yield readme, figures.readme(readme.read_text("utf-8"))


if __name__ == "__main__":
    for path, text in pages():
        path.write_text(text, "utf-8")
        print(path)
