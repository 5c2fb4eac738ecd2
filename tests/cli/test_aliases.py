"""Options of zstd and gzip, several files at once, the short and the long help, and suggestions for misspelt words."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Run

from wcodec.cli.aliases import expand_aliases
from wcodec.cli.help import NO_DEFAULT, SHORT
from wcodec.cli.parser import VERBS, build_parser


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.npz"
    np.savez(path, kernel=np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32))
    return path


@pytest.mark.parametrize(
    ("typed", "expanded"),
    [
        ("-d m.wcz", "decode m.wcz"),
        ("-t m.wcz", "verify m.wcz"),
        ("-l m.wcz", "inspect m.wcz"),
        ("-dkf m.wcz", "decode -f m.wcz"),
        ("m.wcz -d", "decode m.wcz"),
        ("-1 m.h5", "encode --fast m.h5"),
        ("-3q m.h5", "encode --fast -q m.h5"),
        ("-5 m.h5", "encode m.h5"),
        ("-9 -k m.h5 -o x", "encode --best m.h5 -o x"),
        ("encode -9 m.h5", "encode --best m.h5"),
        ("decode -kc m.wcz", "decode -o - m.wcz"),
        ("-c m.h5", "encode -o - m.h5"),
        ("encode m.h5 --seed -1", "encode m.h5 --seed -1"),
        ("encode m.h5 -T 3", "encode m.h5 -T 3"),
        ("encode -- -9", "encode -- -9"),
        ("--version", "--version"),
        ("nope", "nope"),
        ("-x m.h5", "-x m.h5"),
    ],
)
def test_options_of_zstd_and_gzip_expand_to_verbs_and_options(typed: str, expanded: str) -> None:
    assert expand_aliases(typed.split(), build_parser().verbs) == expanded.split()


def test_a_file_without_a_verb_is_encoded_and_minus_d_decodes_it(wcodec: Run, model: Path) -> None:
    packed = model.with_name("model.npz.wcz")
    assert wcodec("-9k", model).returncode == 0
    assert wcodec(model, "-1f").returncode == 0
    assert "kernel" in wcodec("-l", packed).stdout
    assert "all checksums match" in wcodec("-t", packed).stderr
    assert wcodec("-d", packed).returncode == 1
    assert wcodec("-df", packed).returncode == 0
    assert packed.exists()
    assert np.load(model)["kernel"].shape == (50, 40)


def test_a_file_that_fails_does_not_stop_the_files_after_it(wcodec: Run, model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    shutil.copyfile(model, other)
    done = wcodec("encode", model, tmp_path / "absent.npz", other)
    assert done.returncode == 1
    assert "absent.npz: expected a file, found none" in done.stderr
    packed = [tmp_path / "model.npz.wcz", tmp_path / "other.npz.wcz"]
    assert all(path.exists() for path in packed)
    assert wcodec("-t", *packed).returncode == 0
    shown = wcodec("-l", *packed).stdout
    assert all(f"{path}:" in shown for path in packed)
    refused = wcodec("encode", model, other, "-f", "-o", tmp_path / "x.wcz")
    assert (refused.returncode, "--output: expected one file with it, got 2" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("encod m.h5", "expected a verb or a file, got 'encod'; did you mean encode?"),
        ("encode m.h5 --sparsty 0.5", "unrecognized arguments: --sparsty 0.5; did you mean --sparsity?"),
        ("encode m.h5 --per-chanel", "--per-chanel; did you mean --per-channel?"),
        ("decode m.wcz --tensors x", "--tensors x; did you mean --tensor?"),
        ("encode m.h5 --preset smal", "choose from"),
    ],
)
def test_an_error_of_a_misspelt_word_suggests_the_nearest_word(wcodec: Run, typed: str, message: str) -> None:
    done = wcodec(*typed.split())
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_command_without_arguments_and_help_print_the_help(wcodec: Run) -> None:
    bare, of_encode = wcodec(), wcodec("help", "encode")
    assert (bare.returncode, bare.stderr) == (0, "")
    assert all(verb.name in bare.stdout for verb in VERBS)
    assert of_encode.stdout == wcodec("encode", "-h").stdout == wcodec("encode", "--help").stdout
    assert wcodec("help").stdout == bare.stdout


@pytest.mark.parametrize("verb", SHORT)
def test_the_short_help_has_ten_options_and_the_long_help_all_with_their_defaults(wcodec: Run, verb: str) -> None:
    parser = build_parser().verbs[verb]
    short, whole = wcodec(verb, "-h").stdout, wcodec(verb, "-h", "all").stdout
    assert whole == wcodec(verb, "--help-all").stdout == wcodec("help", verb, "all").stdout
    assert {action.dest for action in parser._actions} >= set(SHORT[verb])
    assert len(set(SHORT[verb])) == 10
    shown = [action for action in parser._actions if action.option_strings and action.option_strings[-1] in short]
    assert len({action.dest for action in shown} - {*NO_DEFAULT}) <= 11
    text = " ".join(whole.split())
    for action in parser._actions:
        if action.option_strings and action.dest not in NO_DEFAULT:
            assert action.option_strings[-1] in whole
            assert action.help is not None
            assert " ".join(action.help.split()).split(" (default")[0].split("; ")[0][:40] in text
    assert whole.count("(default") + whole.count("default:") >= len(parser._actions) // 2


def test_the_help_does_not_change_the_parser() -> None:
    parser = build_parser().verbs["encode"]
    before = [(action.dest, action.help) for action in parser._actions]
    with pytest.raises(SystemExit):
        parser.parse_args(["-h"])
    assert [(action.dest, action.help) for action in parser._actions] == before
    assert argparse.SUPPRESS not in {text for _, text in before}
