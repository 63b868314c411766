"""Settings come from a file and from flags; what is wrong is said with its name, before any work."""

from dataclasses import dataclass, field

import pytest
import torch
from transformers import TrainingArguments

from electra_plus.recipes.settings import keep_settings, load_settings, same_run, training_arguments


@dataclass
class Settings:
    train_files: list[str]
    output_dir: str
    rate: float = 0.5
    rows: int = 3
    name: str | None = None
    fields: dict = field(default_factory=dict)
    whole: bool = False


def write(folder, text: str):
    file = folder / "settings.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_file_and_flags_fill_the_settings_and_flags_win(tmp_path):
    file = write(tmp_path, "train_files: a.txt\noutput_dir: out\nrate: 5e-4\nrows: 7\nfields: {a: 1}\nname: null\n")
    settings = load_settings(Settings, file, {"rows": 9, "name": None, "whole": True})
    assert settings == Settings(["a.txt"], "out", rate=5e-4, rows=9, fields={"a": 1}, whole=True)


def test_flags_alone_are_enough():
    assert load_settings(Settings, None, {"train_files": ["a"], "output_dir": "o"}) == Settings(["a"], "o")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train_files: a\noutput_dir: o\nrows: many\n", r"`rows` must be int, got 'many'"),
        ("train_files: a\noutput_dir: o\nrows: true\n", r"`rows` must be int, got True"),
        ("train_files: a\noutput_dir: o\nname: 3\n", r"`name` must be str or null, got 3"),
        ("train_files: a\noutput_dir: o\nrats: 3\n", r"Unknown setting \['rats'\]. Known: .*rate"),
        ("train_files: a\n", r"Missing setting \['output_dir'\]"),
        ("- a\n", "must hold `key: value` lines, got list"),
        ("a: [1\n", "is no YAML"),
    ],
)
def test_wrong_files_are_refused_by_name(text, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_settings(Settings, write(tmp_path, text), {})


def test_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="--config .*does not exist"):
        load_settings(Settings, tmp_path / "none.yaml", {})


def test_mappings_of_recipe_file_and_flags_are_joined(tmp_path):
    (tmp_path / "recipe.yaml").write_text("fields: {a: 1, b: 1, c: 1}\nrows: 5")
    file = write(tmp_path, "train_files: a\noutput_dir: o\nfields: {b: 2, c: 2}\n")
    settings = load_settings(Settings, file, {"fields": {"c": 3}}, tmp_path / "recipe.yaml")
    assert settings.fields == {"a": 1, "b": 2, "c": 3} and settings.rows == 5


def test_run_is_the_same_by_its_settings_and_by_what_it_read(tmp_path):
    @dataclass
    class Run:
        rate: float
        training: dict
        output_dir: str = "here"

    file = tmp_path / "run" / "settings.json"
    assert same_run(Run(0.1, {}), file, ()) == ["settings"]  # there is none
    keep_settings(Run(0.1, {"seed": 1, "log": 2}), file, {"data": "abc"})
    moved = Run(0.1, {"seed": 1, "log": 9}, output_dir="there")
    assert same_run(moved, file, {"log"}, {"data": "abc"}) is True
    assert same_run(moved, file, (), {"data": "xyz"}) == ["data", "training.log"]
    assert same_run(Run(0.2, {"seed": 1}), file, {"log"}, {"data": "abc"}) == ["rate"]


def test_training_arguments_take_yaml_numbers_and_replace_the_recipes(tmp_path):
    defaults = {"learning_rate": 1e-3, "max_steps": 5, "report_to": "none"}
    arguments = training_arguments(
        TrainingArguments, str(tmp_path), defaults, {"learning_rate": "5e-4", "warmup_steps": 0.1}
    )
    assert (arguments.learning_rate, arguments.max_steps, arguments.warmup_steps) == (5e-4, 5, 0.1)
    assert arguments.dataloader_pin_memory == torch.accelerator.is_available()


def test_unknown_training_argument_and_a_file_as_output_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\['learning_rat'\], which TrainingArguments"):
        training_arguments(TrainingArguments, str(tmp_path), {}, {"learning_rat": 1})
    file = write(tmp_path, "precious")
    with pytest.raises(ValueError, match="`output_dir` must be a folder, got .*, which is a file"):
        training_arguments(TrainingArguments, str(file), {}, {})
    assert file.read_text() == "precious"
