"""The recipe of `electra-plus finetune`: columns and labels as the rows have them, a folder that pipelines open."""

import gzip
import json

import pytest
import transformers
from model_helpers import joint_config

from electra_plus import ElectraPlusForPreTraining
from electra_plus.recipes.finetuning import FineTuningSettings, choose_column, finetune

ROWS = [
    {"review": f"{text} {index}", "label": label}
    for index in range(15)
    for text, label in (("I love this book", "good"), ("terrible phone", "bad"))
]


@pytest.fixture
def checkpoint(tmp_path, tokenizer):
    ElectraPlusForPreTraining(joint_config("modern")).save_pretrained(tmp_path / "joint")
    tokenizer.save_pretrained(tmp_path / "joint")
    return str(tmp_path / "joint")


def write_jsonl(file, rows) -> str:
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return str(file)


def settings(checkpoint, train_file, output, **overrides) -> FineTuningSettings:
    training = {"num_train_epochs": 30, "learning_rate": 3e-3, "disable_tqdm": True, "use_cpu": True}
    fields = {"model": checkpoint, "train_file": train_file, "output_dir": str(output), "training": training}
    return FineTuningSettings(**fields | overrides)


def test_classifier_learns_and_answers_with_the_rows_labels(checkpoint, tmp_path):
    train_file = write_jsonl(tmp_path / "train.jsonl.gz", ROWS)
    figures = finetune(settings(checkpoint, train_file, tmp_path / "out"))
    assert figures["eval_accuracy"] == 1.0  # one word tells the classes apart
    assert json.loads((tmp_path / "out" / "eval_results.json").read_text())["eval_accuracy"] == 1.0
    classify = transformers.pipeline("text-classification", model=str(tmp_path / "out"))
    assert [answer["label"] for answer in classify(["I love this book 99", "terrible phone 99"])] == ["good", "bad"]


def test_pairs_are_read_and_numbers_stay_in_order(checkpoint, tmp_path):
    rows = [{"premise": "a cat", "hypothesis": "a dog", "label": str(index % 11)} for index in range(44)]
    train_file = write_jsonl(tmp_path / "train.jsonl", rows)
    validation_file = write_jsonl(tmp_path / "validation.jsonl", rows[:11])
    training = {"max_steps": 1, "disable_tqdm": True, "use_cpu": True, "eval_strategy": "no"}
    finetune(settings(checkpoint, train_file, tmp_path / "out", validation_file=validation_file, training=training))
    config = transformers.AutoConfig.from_pretrained(tmp_path / "out")
    assert list(config.id2label.values()) == [str(number) for number in range(11)]


@pytest.mark.parametrize(
    ("rows", "overrides", "message"),
    [
        ([{"text": "a", "label": 1}] * 12, {}, r"`label` has one value \(\['1'\]\)"),
        ([{"words": "a", "label": 1}] * 12, {}, r"No text column found in \['words', 'label'\].*--text-column"),
        (ROWS, {"label_column": "stars"}, r"`label_column` is 'stars', but the rows have \['review', 'label'\]"),
    ],
)
def test_rows_that_cannot_be_learned_are_refused(rows, overrides, message, checkpoint, tmp_path):
    train_file = write_jsonl(tmp_path / "train.jsonl", rows)
    with pytest.raises(ValueError, match=message):
        finetune(settings(checkpoint, train_file, tmp_path / "out", **overrides))
    assert not (tmp_path / "out").exists()


def test_label_that_training_never_saw_is_refused(checkpoint, tmp_path):
    train_file = write_jsonl(tmp_path / "train.jsonl", ROWS)
    validation_file = write_jsonl(tmp_path / "validation.jsonl", [{"review": "a", "label": "middling"}])
    with pytest.raises(ValueError, match=r"`validation_file` has labels \['middling'\]"):
        finetune(settings(checkpoint, train_file, tmp_path / "out", validation_file=validation_file))


def test_first_usual_column_is_taken():
    rows = [{"id": 1, "sentence": "a", "text": "b"}]
    assert choose_column(rows, None, ("text", "sentence"), "text") == "text"
    assert choose_column(rows, "sentence", ("text",), "text") == "sentence"
    assert choose_column(rows, None, ("pair",), "pair", required=False) is None
