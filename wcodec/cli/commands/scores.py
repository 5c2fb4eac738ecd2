"""--score of evaluate and sweep."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.cli import stdio
from wcodec.cli.errors import BUDGET, OK
from wcodec.errors import RecipeError, escape_name
from wcodec.reporting.json_numbers import format_json

if TYPE_CHECKING:
    from wcodec.evaluation.score import ScoreFunction


def read_score(args: argparse.Namespace) -> ScoreFunction | None:
    """The function that --score names; None without it.

    Raises: RecipeError if an option applies to --data only, or if --score-name is given alone.
    """
    if args.score is None:
        if args.score_name is not None:
            raise RecipeError("--score-name: expected --score MODULE:F with it")
        return None
    if args.data:
        raise RecipeError("--score: cannot be combined with --data, which has its own measures")
    from wcodec.evaluation.score import ScoreFunction

    return ScoreFunction.named(args.score, args.score_name)


def evaluate_score(args: argparse.Namespace, source: Path, baseline: Path | None, score: ScoreFunction) -> int:
    """Print the scores of a file and of the baseline, and compare the drop with --max-drop.

    Raises: RecipeError; errors of the files.
    """
    from wcodec.reporting.number_format import format_ratio, format_size

    found = score.measure(source, args.max_output)
    before = score.measure(baseline, args.max_output) if baseline else None
    drop = before.value - found.value if before else None
    file_bytes, source_bytes = _measure_size(source), _measure_size(baseline)
    numbers = {
        "score": found.value,
        "baseline_score": before.value if before else None,
        "score_drop": drop,
        "scores": dict(found.figures),
        "baseline_scores": dict(before.figures) if before else None,
        "file_bytes": file_bytes,
        "source_bytes": source_bytes,
        "ratio": source_bytes / file_bytes if source_bytes and file_bytes else None,
    }
    rows = [("score", f"{found.value:.6g}")]
    if before:
        rows.append(("baseline score", f"{before.value:.6g} (drop {drop:+.4g})"))
    rows += [(name, f"{value:.6g}") for name, value in found.figures.items() if len(found.figures) > 1]
    if source_bytes and file_bytes:
        sizes = f"{format_size(source_bytes)} -> {format_size(file_bytes)} ({format_ratio(source_bytes, file_bytes)})"
        rows.append(("bytes", sizes))
    stdio.write_data(format_json(numbers) if args.json else "\n".join(f"{a:18}{b}" for a, b in rows))
    if args.max_drop is not None and (drop is None or drop > args.max_drop):
        stdio.write_note(
            f"wcodec: {escape_name(source)}: expected a score lower by at most {args.max_drop:g}, got {drop:.4g}"
        )
        return BUDGET
    return OK


def _measure_size(path: Path | None) -> int | None:
    if path is None:
        return None
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
