"""The commands finetune, predict and evaluate: a way through them, and one line for whatever is wrong with a file."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_helpers import joint_config

from electra_plus import ElectraPlusForPreTraining
from electra_plus.cli.main import build_parser, main
from electra_plus.cli.tasks import OPTION_FLAGS, RECIPES, TASK_NAMES, TRAINING_FLAGS
from electra_plus.recipes.settings import recipe_file
from electra_plus.recipes.tasks import TASKS, make_task
from electra_plus.training.arguments import ElectraPlusTrainingArguments

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tokenizer) -> str:
    folder = tmp_path_factory.mktemp("pretrained") / "joint"
    ElectraPlusForPreTraining(joint_config("modern")).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def last_line(capsys) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_help_knows_the_tasks_recipes_and_arguments_there_are():
    assert set(TASK_NAMES) == set(TASKS)
    folder = recipe_file("ner-en", "finetuning").parent
    assert set(RECIPES.split(", ")) == {file.stem for file in folder.glob("*.yaml")}
    assert set(TRAINING_FLAGS) <= set(ElectraPlusTrainingArguments.__dataclass_fields__)
    fields = {field for task in TASKS.values() for field in task.__dataclass_fields__}
    assert set(OPTION_FLAGS) <= fields
    for name, (kind, _) in OPTION_FLAGS.items():
        owner = next(task for task in TASKS.values() if name in task.__dataclass_fields__)
        default = getattr(make_task(owner, {}), name)
        assert default is None or isinstance(default, kind)


def test_way_from_rows_to_predictions(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"{text} {index},{label}" for index in range(12) for text, label in (("I love it", 1), ("terrible", 0))]
    Path("reviews.csv").write_text("\n".join(["review,stars", *rows]))
    Path("own.yaml").write_text(
        "training: {disable_tqdm: true, use_cpu: true, num_train_epochs: 9, eval_strategy: 'no', save_strategy: 'no'}\nseeds: [0, 1]"
    )
    command = [
        "finetune",
        "--config",
        "own.yaml",
        "--recipe",
        "sentiment-en",
        "--model",
        checkpoint,
        "--train-file",
        "reviews.csv",
    ]
    flags = [
        "--columns",
        "label=stars",
        "--output",
        "out",
        "--num-train-epochs",
        "12",
        "--learning-rate",
        "5e-3",
        "--max-length",
        "16",
    ]
    assert main([*command, *flags, "--per-device-train-batch-size", "8", "--layerwise-lr-decay", "1"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].split() == ["seed", "0", "seed", "1", "mean", "std"]
    assert "saved in out (the weights are those of seed " in said
    assert json.loads(Path("out/seed-1/finetuning.json").read_text())["training"]["num_train_epochs"] == 12

    assert main(["predict", "--model", "out", "--text", "I love it 3", "terrible 我很喜欢"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["prediction"] for one in found] == ["1", "0"] and found[1]["text"] == "terrible 我很喜欢"
    assert main(["predict", "--model", "out", "--input", "reviews.csv", "--output", "p.jsonl", "--limit", "5"]) == 0
    assert capsys.readouterr().out == "5 rows saved in p.jsonl\n" and len(Path("p.jsonl").read_text().splitlines()) == 5
    assert (
        main(["evaluate", "--model", "out", "--data", "reviews.csv", "--columns", "label=stars", "--output", "e.json"])
        == 0
    )
    assert (
        "accuracy" in capsys.readouterr().out and json.loads(Path("e.json").read_text())["figures"]["accuracy"] == 1.0
    )


BAD_FILES = {
    "no json": ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": \n', "`a.jsonl` line 2 is no JSON"),
    "no object": ("a.jsonl", "[1]\n", "`a.jsonl` line 1"),
    "empty": ("a.jsonl", "", "`a.jsonl` holds no rows. Give a file with some."),
    "header only": ("a.csv", "text,label\n", "`a.csv` holds no rows"),
    "ragged": ("a.csv", "text,label\na,b,c\n", "`a.csv` line 2 has 3 fields"),
    "wrong columns": ("a.csv", "words,verdict\na,b\n", "`a.csv` line 2: no task is made for the columns ['words', 'verdict']"),
    "label is missing": ("a.csv", "text,label\na,x\nb,\n", "`a.csv` line 3: `label` is missing ('')"),
    "label is NaN": ("a.jsonl", '{"text": "a", "label": 1.5}\n{"text": "a", "label": NaN}\n', "`a.jsonl` line 2: `label` is missing (nan)"),
    "label is null": ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "a", "label": null}\n', "`a.jsonl` line 2: `label` is missing (None)"),
    "text is no text": ("a.jsonl", '{"text": 3, "label": "x"}\n' * 2, "`a.jsonl` line 1: `text` must be text, got 3"),
    "one row": ("a.jsonl", '{"text": "a", "label": "x"}\n', "`a.jsonl` has 1 row; training and validation need one each"),
    "one label": ("a.jsonl", '{"text": "a", "label": "x"}\n' * 4, "`label` is 'x' here and in all 4 rows for training"),
    "tags too few": ("a.jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}\n' * 2, "`a.jsonl` line 1: `tags` has 1 items and `tokens` 2"),
    "answer elsewhere": (
        "a.jsonl",
        '{"context": "a cat", "question": "?", "answers": {"text": ["cat"], "answer_start": [0]}}\n' * 2,
        "`a.jsonl` line 1: `answers`: at 0 stands 'a c', not 'cat'. It stands at 2.",
    ),
    "no such choice": ("a.jsonl", '{"choices": ["a", "b"], "label": 7}\n' * 2, "`a.jsonl` line 1: `label` must be the number of a choice"),
    "another suffix": ("a.doc", "x", "must end in .jsonl or .csv"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file_is_one_line_with_file_row_and_cure(case, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name, content, message = BAD_FILES[case]
    Path(name).write_text(content)
    assert main(["finetune", "--model", checkpoint, "--train-file", name, "--output", "out"]) == 2
    error = last_line(capsys)
    assert error.startswith("electra-plus finetune: ") and message in error
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_label_of_validation_that_training_has_not_is_told(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text("text,label\na,x\nb,y\n")
    Path("dev.csv").write_text("text,label\na,x\nb,z\n")
    arguments = ["--model", checkpoint, "--train-file", "train.csv", "--output", "out"]
    assert main(["finetune", *arguments, "--validation-file", "dev.csv"]) == 2
    assert "`dev.csv` line 3: `label` is 'z', which no training row has; those have ['x', 'y']" in last_line(capsys)
    assert main(["finetune", *arguments, "--test-file", "dev.csv"]) == 2
    assert "`dev.csv` line 3" in last_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finetune", "--recipe", "ner"], "`--recipe` must be one of ['generation', 'multiple-choice', 'ner-en'"),
        (["finetune", "--model", "m"], "Missing setting ['train_file', 'output_dir']"),
        (["finetune", "--model", "m", "--train-file", "t", "--output", "o", "--columns", "text"], "`--columns` must be like text=review"),
        (["predict", "--model", "nowhere", "--text", "a"], "`--model nowhere` is no checkpoint"),
        (["predict", "--model", "m"], "`--input` or `--text` must be given, got neither"),
        (["predict", "--model", "m", "--input", "none.csv"], "`none.csv` does not exist"),
        (["evaluate", "--model", "m", "--data", "a", "b"], "`--data` must be one file, folder or dataset without --suite"),
        (["evaluate", "--model", "m", "--data", "a", "--seeds", "1"], "`--seeds` belongs to a suite"),
        (["evaluate", "--model", "m", "--suite", "rtd", "--data", "a", "--split", "x"], "`--split` is for fine-tuned models"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_one_line_and_nothing_is_written(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in last_line(capsys) and not list(tmp_path.iterdir())


def test_flags_explain_themselves():
    subparsers = next(action for action in build_parser()._actions if action.dest == "command")
    assert "examples:" in subparsers.choices["finetune"].format_help()
    assert subparsers.choices["finetune"].get_default("swap_pairs") is None  # a file may say it


values = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 9), st.floats(), st.text(max_size=8), st.lists(st.text(max_size=3), max_size=3),
    st.dictionaries(st.sampled_from(["text", "answer_start", "x"]), st.lists(st.one_of(st.text(max_size=3), st.integers(0, 5)), max_size=2), max_size=2),
)  # fmt: skip
names = st.sampled_from(["text", "sentence1", "sentence2", "label", "labels", "tokens", "tags", "context", "question", "answers",
                         "choices", "spans", "score"])  # fmt: skip
tables = st.lists(st.dictionaries(names, values, max_size=4), max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(tables, st.binary(max_size=40)),
    suffix=st.sampled_from([".jsonl", ".json", ".csv", ".tsv", ".conll"]),
)
def test_whatever_a_file_holds_it_is_read_or_refused_in_one_line(
    content, suffix, checkpoint, tmp_path, monkeypatch, capsys
):
    """Reading, guessing and checking run as they are; what would be trained is not."""
    from electra_plus.recipes import finetuning_run

    class Reached(ValueError):
        pass

    def stop(*args):
        raise Reached("read")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(finetuning_run, "run_seed", stop)
    file = Path(f"rows{suffix}")
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif suffix == ".json":
        file.write_text(json.dumps(content))
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in content))
    capsys.readouterr()
    assert main(["finetune", "--model", checkpoint, "--train-file", str(file), "--output", "out"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("electra-plus finetune: ")]
    assert len(errors) == 1
    assert errors[0] == "electra-plus finetune: read" or "rows" in errors[0] or "column" in errors[0]
