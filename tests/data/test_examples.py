"""Rows of every kind of source, each with its place; splits, labels, and what a broken file says."""

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from electra_plus.data import examples as examples_module
from electra_plus.data.example_files import READERS, Row
from electra_plus.data.examples import check_labels, find_splits, hold_out, label_names, label_range, read_examples
from electra_plus.data.task_columns import SPAN_FIELDS, TASK_COLUMNS
from electra_plus.data.task_examples import task_examples

ROWS = [{"text": 'a, "b"', "label": "good"}, {"text": "书", "label": "bad"}]


def write(file, content) -> str:
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return str(file)


def json_lines(rows) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def squad_file() -> str:
    answered = {"id": "q1", "question": "Where?", "answers": [{"text": "Rome", "answer_start": 3}]}
    unanswered = {"id": "q2", "question": "Why?", "answers": [], "is_impossible": True, "plausible_answers": []}
    paragraph = {"context": "In Rome.", "qas": [answered, unanswered]}
    return json.dumps({"version": "v2.0", "data": [{"title": "Italy", "paragraphs": [paragraph]}]})


TEXTS = {
    ".jsonl": json_lines(ROWS),
    ".json": json.dumps(ROWS, indent=1),
    ".csv": 'text,label\n"a, ""b""",good\n书,bad\n',
    ".tsv": 'text\tlabel\na, "b"\tgood\n书\tbad\n',
}


@pytest.mark.parametrize("suffix", TEXTS)
def test_every_text_file_gives_the_same_rows_plain_and_compressed(suffix, tmp_path):
    assert read_examples(write(tmp_path / f"a{suffix}", TEXTS[suffix])) == ROWS
    assert read_examples(write(tmp_path / f"a{suffix}.gz", gzip.compress(TEXTS[suffix].encode()))) == ROWS
    assert read_examples(tmp_path / f"a{suffix}", limit=1) == ROWS[:1]


def test_parquet_gives_the_same_rows(tmp_path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    rows = read_examples(tmp_path / "a.parquet")
    assert rows == ROWS and rows[1].where.endswith("a.parquet` row 2")


@pytest.mark.parametrize("content", [json_lines(ROWS), json.dumps({"data": ROWS})])
def test_json_may_hold_lines_or_a_list_under_data(content, tmp_path):
    assert read_examples(write(tmp_path / "a.json", content)) == ROWS


def test_rows_know_their_place(tmp_path):
    rows = read_examples(write(tmp_path / "a.csv", 'text,label\n"two\nlines",good\n\nb,bad\n'))
    assert [row.where for row in rows] == [f"`{tmp_path}/a.csv` line {number}" for number in (2, 5)]
    train, validation = hold_out(rows)
    assert {row.where for row in train + validation} == {row.where for row in rows}


def test_nested_squad_file_is_flattened(tmp_path):
    rows = read_examples(write(tmp_path / "dev.json", squad_file()))
    assert [row["id"] for row in rows] == ["q1", "q2"]
    assert rows[0]["context"] == "In Rome." and rows[1]["title"] == "Italy"
    assert rows[1].where.endswith("dev.json` item 1 paragraph 1 question 2")


def test_nested_c3_file_is_flattened(tmp_path):
    question = {"question": "谁?", "choice": ["我", "他"], "answer": "他"}
    rows = read_examples(write(tmp_path / "c3.json", json.dumps([[["甲", "乙"], [question], "7-1"]])))
    assert rows == [{"id": "7-1", "context": "甲\n乙", **question}]


def test_conll_file_gives_sentences(tmp_path):
    text = "-DOCSTART- -X- O\n\n# id 3\nNew NNP B-city\nYork NNP I-city\n\n\n# NN O\n"
    rows = read_examples(write(tmp_path / "a.conll", text))
    assert rows == [{"tokens": ["New", "York"], "tags": ["B-city", "I-city"]}, {"tokens": ["#"], "tags": ["O"]}]
    assert [row.where[-6:] for row in rows] == ["line 4", "line 8"]
    assert read_examples(write(tmp_path / "b.bio", "New\nYork\n")) == [{"tokens": ["New", "York"]}]


def test_text_file_gives_a_row_a_line(tmp_path):
    assert read_examples(write(tmp_path / "a.txt", "one\r\n\n two\n")) == [{"text": "one"}, {"text": "two"}]


def test_folder_is_read_by_split(tmp_path):
    write(tmp_path / "train.csv", "text,label\na,1\n")
    write(tmp_path / "train_more.csv", "text,label\nb,1\n")
    write(tmp_path / "dev_first_half.jsonl.gz", gzip.compress(b'{"text": "c"}\n'))
    write(tmp_path / "developers.csv", "text,label\nd,1\n")
    assert find_splits(tmp_path) == ["train", "validation"]
    assert read_examples(tmp_path) == read_examples(tmp_path, split="train") == [{"text": "a", "label": "1"}]
    assert read_examples(tmp_path, split="validation") == [{"text": "c"}]
    with pytest.raises(FileNotFoundError, match=r"no file for the split test. Name one test.jsonl"):
        read_examples(tmp_path, split="test")
    with pytest.raises(ValueError, match=r"`split` must be one of .*got 'all'"):
        read_examples(tmp_path, split="all")
    write(tmp_path / "train.json", "[]")
    with pytest.raises(ValueError, match=r"\['train.csv', 'train.json'\] for the split train. Name one file"):
        read_examples(tmp_path)


def dataset(labels):
    from datasets import ClassLabel, Dataset, Features, List, Value

    names = ["weak", "fine"]  # not in the order of the alphabet
    features = {"text": Value("string"), "label": ClassLabel(names=names), "tags": List(ClassLabel(names=["O", "B-x"]))}
    rows = {"text": ["a"] * len(labels), "label": labels, "tags": [[0, 1]] * len(labels)}
    return Dataset.from_dict(rows, features=Features(features))


def test_saved_dataset_gives_the_names_of_its_classes(tmp_path):
    from datasets import DatasetDict

    dataset([0, 1, -1]).save_to_disk(tmp_path / "one")
    rows = read_examples(tmp_path / "one")
    assert [row["label"] for row in rows] == ["weak", "fine", None]
    assert rows[0]["tags"] == ["O", "B-x"] and label_names(rows) == ["weak", "fine"]
    DatasetDict(train=dataset([0]), extra=dataset([1])).save_to_disk(tmp_path / "two")
    assert find_splits(tmp_path / "one") == [] and find_splits(tmp_path / "two") == ["train", "extra"]
    assert read_examples(tmp_path / "two", split="extra")[0]["label"] == "fine"
    with pytest.raises(ValueError, match=r"`split` must be one of \['train', 'extra'\]"):
        read_examples(tmp_path / "two", split="test")
    dataset([0, 1]).to_parquet(tmp_path / "three.parquet")
    assert label_names(read_examples(tmp_path / "three.parquet")) == ["weak", "fine"]


def test_dataset_of_the_hub_is_opened_by_name_configuration_and_split(monkeypatch):
    opened = []
    monkeypatch.setattr(examples_module, "open_dataset", lambda source: opened.append(source) or dataset([0, 1]))
    rows = read_examples("owner/name", split="test", config="small", limit=1)
    assert [(source.name, source.config, source.split) for source in opened] == [("owner/name", "small", "test")]
    assert [row.where for row in rows] == ["`owner/name` test row 1"]
    examples, _ = task_examples(rows, "text-classification", {"text": "text", "label": "label"})
    assert label_names(examples) == ["weak", "fine"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "line 2 is no JSON"),
        ("a.jsonl", '{"text": "a"}\n[1]\n', "line 2 must be a JSON object, got list"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', "line 2 cannot be read as UTF-8"),
        ("a.jsonl", '{"text": "a"}\n{"text": "b\\ud83d"}\n', r"line 2: `text` holds '\\ud83d', half of a character"),
        ("a.jsonl", "[" * 100_000, "line 1 is no JSON"),
        ("a.json", '[{"text": ["\\uDC00"]}]', r"item 1: `text` holds '\\udc00'"),
        ("a.json", '[{"text": "a"},\n {"text" "b"}]', "is no JSON: .* line 2 column 10"),
        ("a.json", '{"text": "a"}\n{"text" "b"}', "line 2 is no JSON"),
        ("a.json", "[1]", "item 1 must be a JSON object, got int"),
        (
            "a.json",
            '[{"paragraphs": [{"context": "a"}]}]',
            "item 1 paragraph 1 `qas` must be a JSON list, got NoneType",
        ),
        ("a.json", "3", "must be a JSON list, got int"),
        ("a.csv", "text,label\na,1\nb\n", r"line 3 has 1 fields, .* 2 columns: \['text', 'label'\]"),
        ("a.csv", "text,label\na,1,2\n", "line 2 has 3 fields"),
        ("a.csv", "text,label,text\na,1,b\n", r"columns \['text'\] more than once"),
        ("a.csv", 'text,label\n"a,1\nb,2\n', "line 2 is no CSV"),
        ("a.csv", "text,label\n", "holds no rows"),
        ("a.jsonl", "", "holds no rows"),
        ("a.json", "", "holds no rows"),
        ("a.conll", "a O\nb X O\n", "line 2 has 3 columns, the line before it 2"),
        ("a.parquet", b"PAR1 and no more", "is no parquet file"),
        ("a.csv.gz", b"text,label\na,1\n", "is a broken gzip file"),
        ("a.parquet.gz", b"", r"must end in .jsonl or .csv"),
        ("a.xlsx", b"", r"must end in .jsonl or .csv \(or .json, .tsv"),
    ],
)
def test_broken_file_is_refused_by_name_and_place(name, content, message, tmp_path):
    file = write(tmp_path / name, content)
    with pytest.raises(ValueError, match=message) as refused:
        read_examples(file)
    assert str(refused.value).startswith(f"`{file}`") and "\n" not in str(refused.value)


def test_options_that_do_not_fit_the_source_are_refused(tmp_path):
    file = write(tmp_path / "a.jsonl", json_lines(ROWS))
    with pytest.raises(ValueError, match=r"`split` \('test'\) is for folders and datasets"):
        read_examples(file, split="test")
    with pytest.raises(ValueError, match=r"`config` \('small'\) is for datasets of the Hub"):
        read_examples(file, config="small")
    with pytest.raises(ValueError, match="`limit` must be at least 1"):
        read_examples(file, limit=0)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_examples(tmp_path / "nothing.csv")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_examples("missing/train.jsonl")  # no name of a dataset
    with pytest.raises(FileNotFoundError, match="has no file for the split train"):
        (tmp_path / "empty").mkdir()
        read_examples(tmp_path / "empty")


def test_rows_held_out_are_a_random_tenth_always_the_same():
    rows = [{"text": str(index), "label": index % 10} for index in range(500)]  # classes in turn
    train, validation = hold_out(rows)
    assert len(validation) == 50 and sorted(train + validation, key=lambda row: int(row["text"])) == rows
    assert len({row["label"] for row in validation}) == 10
    assert hold_out(rows) == (train, validation)
    assert [len(part) for part in hold_out(rows[:2])] == [1, 1]
    with pytest.raises(ValueError, match="`train_file` has 1 row"):
        hold_out(rows[:1])


def test_labels_are_in_order_and_those_of_training():
    rows = [Row({"label": label, "labels": [label, "x"]}, "`a.csv` line 2") for label in ("neutral", "bad", "good")]
    assert label_names(rows) == ["bad", "good", "neutral"]
    assert label_names(rows, "labels") == ["bad", "good", "neutral", "x"]
    check_labels(rows, ["bad", "good", "neutral"])
    with pytest.raises(ValueError, match=r"`a.csv` line 2: `label` is 'good', which no training row has"):
        check_labels(rows, ["bad", "neutral"])


def test_range_of_numbers_needs_two():
    assert label_range([Row({"label": number}, "") for number in (2.5, 0.0, 5.0)]) == (0.0, 5.0)
    with pytest.raises(ValueError, match="`label` is 1.0 in all 2 rows"):
        label_range([Row({"label": 1.0}, "")] * 2)


def read_for_every_task(file) -> None:
    """Read a file for every task; whatever is wrong with it, the error is one line that the command line can print."""
    for task in TASK_COLUMNS:
        try:
            examples, _ = task_examples(read_examples(file), task, convert_tags=True)
            assert examples
        except (ValueError, FileNotFoundError) as error:
            assert "\n" not in str(error) and "\r" not in str(error), repr(str(error))


quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(suffix=st.sampled_from(sorted(READERS)), content=st.binary(max_size=80))
def test_no_bytes_are_read_as_anything_but_rows_or_an_error(suffix, content, tmp_path):
    read_for_every_task(write(tmp_path / f"a{suffix}", content))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [field.name for fields in (*TASK_COLUMNS.values(), SPAN_FIELDS) for field in fields]
    + ["sentence1", "sentence2", "choice0", "choice1", "translation", "en", "de", "paragraphs", "qas", "data"]
)


@settings(quick, max_examples=200)
@given(
    rows=st.lists(st.dictionaries(NAMES, JSON, max_size=5) | JSON, max_size=3),
    suffix=st.sampled_from((".json", ".jsonl")),
)
def test_no_json_is_read_as_anything_but_examples_or_an_error(rows, suffix, tmp_path):
    content = json.dumps(rows) if suffix == ".json" else "\n".join(map(json.dumps, rows))
    read_for_every_task(write(tmp_path / f"a{suffix}", content))
