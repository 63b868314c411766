"""Splits, columns and tasks of what the user named, and what is said of them."""

import json

import pytest

from electra_plus.data.example_files import Row
from electra_plus.recipes import task_data
from electra_plus.recipes.task_data import limited, read_task_data


def write(file, *rows: dict) -> str:
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def reviews(count: int) -> list[dict]:
    return [{"sentence": f"text {index}", "label": index % 2} for index in range(count)]


def test_tenth_of_a_file_is_held_out_and_all_guesses_are_said(tmp_path, caplog):
    file = write(tmp_path / "train.jsonl", *reviews(30))
    data = read_task_data(file)
    assert (data.task, data.columns, data.held_out) == (
        "text-classification",
        {"text": "sentence", "label": "label"},
        True,
    )
    assert (len(data.train.rows), len(data.validation.rows), data.test) == (27, 3, None)
    assert data.train.examples[0] == {"text": data.train.rows[0]["sentence"], "label": str(data.train.rows[0]["label"])}
    assert caplog.messages == [
        "task: text-classification, by the columns (--task says otherwise)",
        f"validation: 3 of the 30 rows of {file}, drawn at random",
        "columns: text=sentence,label=label (--columns says otherwise)",
        "rows: 27 for training, 3 for validation",
    ]


def test_splits_of_a_folder_are_taken_and_may_be_named(tmp_path, caplog):
    for name, count in (("train", 6), ("dev", 4), ("test", 5)):
        write(tmp_path / "folder" / f"{name}.jsonl", *reviews(count))
    data = read_task_data(str(tmp_path / "folder"), test_file="test")
    assert [len(split.rows) for split in (data.train, data.validation, data.test)] == [6, 4, 5] and not data.held_out
    assert data.validation.source == "validation of folder"
    assert "validation: the split of that name" in caplog.text
    other = write(tmp_path / "other.jsonl", *reviews(3))
    assert len(read_task_data(str(tmp_path / "folder"), validation_file=other).validation.rows) == 3
    assert len(read_task_data(other, validation_file=str(tmp_path / "folder")).validation.rows) == 4


def test_saved_datasets_are_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    one = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, 1]}, features=features)
    one.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": one, "validation": one}).save_to_disk(tmp_path / "two")
    assert read_task_data(str(tmp_path / "one")).held_out
    data = read_task_data(str(tmp_path / "two"))
    assert not data.held_out and data.train.examples[0]["label"] == "good"


def test_splits_of_a_dataset_of_the_hub_are_taken(monkeypatch):
    asked = []

    def read(source, split, config):
        asked.append((source, split, config))
        return [Row({"sentence1": "a", "sentence2": "b", "label": label}, f"`{source}` {split}") for label in (0, 1, 1)]

    monkeypatch.setattr(task_data, "find_splits", lambda source, config: ["train", "validation", "extra"])
    monkeypatch.setattr(task_data, "read_examples", read)
    data = read_task_data("owner/name", test_file="extra", dataset_config="mrpc")
    assert asked == [("owner/name", split, "mrpc") for split in ("train", "validation", "extra")]
    assert data.columns["text_pair"] == "sentence2" and data.test.source == "extra of name" and not data.held_out


def test_limit_draws_rows_of_every_part_always_the_same():
    rows = list(range(100))
    drawn = limited(rows, 10)
    assert drawn == sorted(drawn) == limited(rows, 10) and drawn != rows[:10] and limited(rows, None) == rows


def test_fingerprint_tells_examples_apart(tmp_path):
    file = write(tmp_path / "train.jsonl", *reviews(30))
    before = read_task_data(file).fingerprint()
    assert read_task_data(file).fingerprint() == before
    write(tmp_path / "train.jsonl", *reviews(29), {"sentence": "text 29", "label": 0})
    assert read_task_data(file).fingerprint() != before
