"""The command line: parsing, defaults, sizes, exit codes, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Run

from wcodec import errors
from wcodec.cli import main
from wcodec.cli.errors import describe_error, find_exit_code
from wcodec.cli.output_paths import MODEL_SUFFIXES, check_target, derive_container_path, derive_model_path
from wcodec.cli.parser import VERBS, build_parser
from wcodec.cli.tables import _render_table
from wcodec.codec.plan import Prune
from wcodec.errors import RecipeError, WcodecError
from wcodec.modelfiles.registry import MODEL_FILES
from wcodec.planning.option_values import parse_size
from wcodec.planning.parsing import parse_recipe
from wcodec.planning.recipe import Options, Recipe, Rule
from wcodec.reporting.inspection_tables import Table
from wcodec.reporting.number_format import format_ratio, format_size
from wcodec.reporting.plain_text import count_columns, wrap


@pytest.mark.parametrize(
    ("text", "count"),
    [("2MB", 2_000_000), ("500kB", 500_000), ("1.5MiB", 3 << 19), ("17", 17), ("8 B", 8), ("1gb", 10**9), (".5k", 500)],
)
def test_sizes_are_read_in_powers_of_1000_and_1024(text: str, count: int) -> None:
    assert parse_size("target_size", text) == count


@pytest.mark.parametrize("text", ["", "MB", "2XB", "-3", "1e6", "2 M B", "1.2.3kB"])
def test_invalid_sizes_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="target_size: expected"):
        parse_size("target_size", text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (82_923, "82.9 kB"), (1_086_696, "1.09 MB"), (999_800, "1.00 MB")],
)
def test_sizes_are_printed_with_three_digits(count: int, text: str) -> None:
    assert format_size(count) == text


def test_ratios_with_a_size_of_0_are_printed_as_a_dash() -> None:
    assert [format_ratio(100, 10), format_ratio(12345, 10), format_ratio(0, 1), format_ratio(1, 0)] == [
        "10.0x",
        "1234x",
        "-",
        "-",
    ]


def test_options_without_values_give_the_default_recipe() -> None:
    assert parse_recipe({"bits": None, "set": None, "preset": None}) == Recipe()


def test_options_are_parsed_to_a_recipe() -> None:
    words = {"bits": "4", "threshold": "1.5std", "set": ["a:bits=8", "b:lossless"], "target_size": "2MB", "seed": 3}
    assert parse_recipe({**words, "include": ["k"], "effort": "best", "keep_optimizer": True}) == Recipe(
        options=Options(bits=4, prune=Prune("deviations", 1.5)),
        rules=(Rule("a", Options(bits=8)), Rule("b", Options(lossless=True))),
        include=("k",),
        effort="best",
        target_bytes=2_000_000,
        keep_optimizer=True,
        seed=3,
    )


def test_rules_can_be_a_mapping_in_python() -> None:
    rules = parse_recipe({"set": {"a": {"bits": 8}, "b:c": "sparsity=0.5"}}).rules
    assert rules == (Rule("a", Options(bits=8)), Rule("b:c", Options(prune=Prune("sparsity", 0.5))))


def test_the_command_line_overrides_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('bits = 4\nsparsity = 0.5\npreset = "safe"\nmax_error = 0.01\n[[set]]\npattern = "a"\nbits = 8\n')
    recipe = parse_recipe({"clusters": "10", "target_ratio": 20.0, "set": ["b:bits=2"]}, config)
    assert recipe.options == Options(clusters=10, prune=Prune("sparsity", 0.5))
    assert (recipe.preset, recipe.max_error, recipe.target_ratio) == ("safe", None, 20.0)
    assert [rule.pattern for rule in recipe.rules] == ["b", "a"]


@pytest.mark.parametrize(
    "text", ["bites = 4", "preset = 4", "include = [1]", 'seed = "x"', 'max_error = "x"', "keep_optimizer = 1", "a = ["]
)
def test_an_invalid_configuration_is_refused(tmp_path: Path, text: str) -> None:
    config = tmp_path / "c.toml"
    config.write_text(text)
    with pytest.raises(RecipeError):
        parse_recipe({}, config)


def test_the_names_of_outputs_derive_from_the_input() -> None:
    for name in ("m.h5", "m.hdf5", "m.weights.h5", "m.keras", "m.npz", "m.safetensors"):
        assert derive_model_path(derive_container_path(Path("d") / name), ".x") == Path("d") / name
    assert derive_model_path(Path("small.wcz"), ".keras") == Path("small.keras")
    assert derive_model_path(Path("m.pt.wcz"), ".safetensors") == Path("m.pt.safetensors")
    assert derive_model_path(Path("archive"), ".weights.h5") == Path("archive.weights.h5")
    assert {suffix for kind in MODEL_FILES.values() for suffix in kind.suffixes} <= MODEL_SUFFIXES | {".weights.h5"}


def test_targets_that_would_overwrite_a_file_are_refused(tmp_path: Path) -> None:
    source, taken = tmp_path / "a", tmp_path / "b"
    source.touch()
    taken.touch()
    (tmp_path / "link").symlink_to(source)
    for target, force in [(source, True), (tmp_path / "link", True), (taken, False), (tmp_path, True)]:
        with pytest.raises(WcodecError):
            check_target(source, target, force)
    with pytest.raises(WcodecError, match="does not exist"):
        check_target(source, tmp_path / "no" / "b", False)
    assert check_target(source, taken, True) == taken


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.WcodecError("x"), 1),
        (errors.RecipeError("x"), 2),
        (errors.ContainerError("x"), 3),
        (errors.CorruptError("x"), 3),
        (errors.TruncatedError("x"), 3),
        (errors.BudgetError("x"), 4),
        (errors.UnsupportedError("x"), 5),
        (errors.ModelFileError("x"), 5),
        (OSError(28, "No space left on device"), 1),
        (MemoryError(), 1),
        (ValueError("a\nb"), 1),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 141),
    ],
)
def test_every_error_has_an_exit_code_and_one_line(error: BaseException, code: int) -> None:
    assert find_exit_code(error) == code
    assert "\n" not in describe_error(error)


def test_the_help_of_every_verb_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        assert main([verb.name, "--help"]) == 0
        assert f"example:\n  {verb.module.EXAMPLE}" in capsys.readouterr().out


def test_a_narrow_table_wraps_names_and_not_numbers() -> None:
    table = Table(("tensor", "bytes"), (("層/" * 12, "1,000"), ("b", "7")))
    narrow = _render_table(table, 20).splitlines()
    assert max(map(count_columns, narrow)) == 20
    assert [line.endswith("1,000") for line in narrow] == [False, True, False, False, False]
    assert len(_render_table(table, 99).splitlines()) == 3


def test_a_narrow_table_omits_columns_for_numbers_and_not_for_long_names() -> None:
    long = Table(("tensor", "shape", "bytes"), (("層" * 30, "3x3", "1,000"),), 2, ("shape",))
    assert long.fit_width(40).head == ("tensor", "shape", "bytes")
    assert long.fit_width(30).head == ["tensor", "bytes"]
    assert max(map(count_columns, _render_table(long.fit_width(40), 40).splitlines())) == 40


def test_sentences_are_wrapped_at_spaces_only() -> None:
    assert wrap("12.5 MB -> 1.25 MB\nb  c", 10) == "12.5 MB ->\n1.25 MB\nb  c"
    assert wrap("層層層 1,234,567,890", 8) == "層層層\n1,234,567,890"


def test_usage_errors_have_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("nope", "encode", "encode a --bits 4 --clusters 3", "inspect a --bad", "encode a -q -v"):
        assert main(words.split()) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_abbreviated_options_are_refused() -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["encode", "a", "--loss"])


@pytest.mark.parametrize(
    ("words", "start", "end"),
    [
        (["--max-error", "7"], "--max-error: expected", "got 7"),
        (["--global"], "--global: expected", "got none"),
        (["--target-size", "0"], "--target-size: expected", "got 0"),
        (["--sparsity", "2"], "--sparsity: expected", "got 2"),
        (["--lossless", "--target-ratio", "4"], "--lossless: expected nothing that loses", "got --target-ratio"),
        (["--lossless", "--threshold", "1std"], "--lossless: expected nothing that loses", "got --threshold"),
        (["--set", "k:per_channel=x"], "--set 'k:per_channel=x': per_channel: expected", "got 'x'"),
        (["--target-size", "1TB"], "--target-size: expected", "got '1TB'"),
        (["--lossless", "--set", "kernel:bits=4"], "--lossless: expected nothing that loses", "lets it lose"),
        (
            ["--data", "d.npz", "--sparsity", "0.5"],
            "--data: expected no option that sets values",
            "--method gradual prunes",
        ),
        (
            ["--data", "d.npz", "--set", "k:bits=2"],
            "--data: expected no option that sets values",
            "that a rule can set",
        ),
        (
            ["--data", "d.npz", "--step", "0.1"],
            "--data: expected no option that sets values",
            "--method gradual prunes",
        ),
        (["--data", "d.npz", "--quantizer", "symmetric"], "--data: expected the quantizer auto", "got symmetric"),
        (
            ["--data", "d.npz", "--preset", "small"],
            "--data: expected a budget such as --max-drop",
            "got the preset small",
        ),
        (
            ["--data", "d.npz", "--finetune", "1", "--sparsity", "0.5"],
            "--data: expected no option that sets values",
            "--method gradual prunes",
        ),
        (["--data", "d.npz", "--finetune", "1", "--bits", "4"], "--finetune: expected it", "see --method quantized"),
        (["--data", "d.npz", "--finetune", "1", "--max-kl", "1"], "--max-kl: cannot be", "--max-drop or --max-loss"),
        (["--import", "json"], "--import: expected --data", "with it"),
        (["--unsafe"], "--unsafe: expected --data", "with it"),
        (["--data", "d.npz", "--resume"], "--resume: expected --finetune", "with it"),
        (["--data", "d.npz", "--max-drop", "-1"], "--max-drop: expected", "got -1"),
        (["--data", "d.npz", "--max-kl", "0"], "--max-kl: expected", "got 0"),
        (["--data", "d.npz", "--min-agreement", "101"], "--min-agreement: expected", "got 101"),
    ],
)
def test_errors_name_options_as_on_the_command_line(
    words: list[str], start: str, end: str, samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encode", str(samples / "lenet300.h5"), "--dry-run", *words]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"wcodec: {start}")
    assert line.endswith(end)


def test_an_error_of_a_configuration_names_its_file(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("bitz = 4", 'bits = "x"', "[[set]]\npattern = 'a'\nbits = 99"):
        (tmp_path / "r.toml").write_text(text)
        assert main(["encode", str(samples / "lenet300.h5"), "--dry-run", "--config", str(tmp_path / "r.toml")]) == 2
        assert capsys.readouterr().err.startswith(f"wcodec: {tmp_path}/r.toml: ")


def test_decode_refuses_an_output_named_as_a_container(wcodec: Run, samples: Path, tmp_path: Path) -> None:
    assert wcodec("encode", samples / "tutorial_cnn.h5", "-o", tmp_path / "a.wcz").returncode == 0
    done = wcodec("decode", tmp_path / "a.wcz", "-o", tmp_path / "b.wcz")
    assert (done.returncode, "as the model in it, got .wcz" in done.stderr) == (2, True)
    assert not (tmp_path / "b.wcz").exists()


def file_arguments() -> list[tuple[str, str]]:
    """The verbs with their arguments that name files, "" for the source."""
    words = {"data", "validation", "moments", "model", "student", "base", "score"}
    return [
        (verb, (action.option_strings or [""])[-1])
        for verb, parser in build_parser().verbs.items()
        for action in parser._actions
        if action.type is Path or (action.dest in words and action.option_strings)
    ]


@pytest.mark.parametrize(("verb", "flag"), file_arguments())
def test_an_empty_name_is_refused_and_is_not_the_current_folder(
    verb: str, flag: str, wcodec: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    done = wcodec(verb, "m.h5", flag, "") if flag else wcodec(verb, "")
    expected = "MODULE:F" if flag == "--score" else "a file"
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert flag in done.stderr
    assert f": expected {expected}, got an empty name" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
