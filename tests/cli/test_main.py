"""The command line: help that names every command, one line for every error, nothing written when refused."""

import re

import pytest
from transformers import AutoTokenizer

from electra_plus.cli.main import build_parser, main
from electra_plus.version import __version__

COMMANDS = ("quickstart", "prepare", "pretrain", "finetune", "evaluate", "predict", "convert", "export")


def test_help_names_every_command_with_an_example(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    for command in COMMANDS:
        assert f"electra-plus {command}" in text.partition("examples:")[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_explains_every_flag(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    capsys.readouterr()
    subparsers = next(action for action in build_parser()._actions if action.dest == "command")
    for action in subparsers.choices[command]._actions:
        assert action.help, f"{command} {action.option_strings}"


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "--input", "nowhere", "--output", "out"], "`nowhere` does not exist"),
        (["prepare", "--input", ".", "--output", "out"], "holds no text file"),
        (["prepare", "--input", "nowhere", "--output", "out", "--rule", "lines"], "`rule` must be one of ['documents'"),
        (["pretrain", "--config", "none.yaml"], "does not exist"),
        (["pretrain", "--train-files", "nowhere", "--output", "out"], "`nowhere` does not exist"),
        (["pretrain", "--train-files", "nowhere", "--output", "out", "--preset", "huge"], "must be one of ['tiny'"),
        (
            ["finetune", "--model", "nowhere", "--train-file", "none.csv", "--output", "out"],
            "`none.csv` does not exist",
        ),
        (["evaluate", "--model", "nowhere", "--suite", "rtd", "--data", "x"], "`--model nowhere` is no checkpoint"),
        (
            ["evaluate", "--model", "nowhere", "--suite", "blimp", "--data", "x", "--seeds", "1"],
            "`--seeds` belongs to the suite glue-small, not to blimp",
        ),
        (["evaluate", "--model", "m", "--suite", "rtd", "--data", "x", "--output", "."], "got the folder '.'"),
        (["quickstart", "--output", "out", "--steps", "1"], "`steps` must be at least 2, one for each stage, got 1"),
        (["convert", "--model", "nowhere", "--to", "stock", "--output", "out"], "'nowhere'"),
        (["export", "--model", "nowhere", "--output", "out"], "'nowhere'"),
    ],
)
def test_error_is_one_line_with_the_commands_name_and_nothing_is_written(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.splitlines()[-1].startswith(f"electra-plus {arguments[0]}: ") and message in error
    assert not list(tmp_path.iterdir())


def test_tokenizer_is_not_trained_for_a_folder_that_is_a_file(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("some words\n")
    (tmp_path / "out").write_text("precious")
    assert main(["prepare", "--input", str(tmp_path / "text.txt"), "--output", str(tmp_path / "out")]) == 2
    assert "`output_dir` must be a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "precious"


def test_prepare_says_what_it_wrote(tmp_path, capsys):
    documents = [f"the cat number {number} sat on the mat" for number in range(200)]
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("\n\n".join([*documents, documents[0]]))
    arguments = ["prepare", "--input", str(tmp_path / "texts"), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--vocab-size", "60", "--row-length", "64", "--held-out-fraction", "0.1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"60 tokens in the vocabulary, saved in {tmp_path / 'out'}"
    assert said[1] == "201 documents, 1 of them dropped as duplicates"
    assert said[2].startswith("train: ") and said[3].startswith("held_out: ")
    assert all(re.search(r"rows, \d+\.\d\d % padding, \d+\.\d\d % \[UNK\]$", line) for line in said[2:4])
    assert len(AutoTokenizer.from_pretrained(tmp_path / "out")) == 60
    assert main(arguments) == 2
    assert "`--overwrite`" in capsys.readouterr().err
    assert main([*arguments, "--overwrite", "--rule", "stream", "--tokenizer", str(tmp_path / "out")]) == 2
    assert "must stay" in capsys.readouterr().err


def test_prepare_names_the_line_of_a_broken_file(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"text": \n')
    assert main(["prepare", "--input", str(tmp_path / "a.jsonl"), "--output", str(tmp_path / "out")]) == 2
    assert "a.jsonl` line 2 is no JSON" in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
