"""What is read from each kind of file, and what a broken one says."""

import csv
import gzip
import json
import logging

import pytest

from electra_plus.data import sources as sources_module
from electra_plus.data.sources import Source, choose_text_column, describe_source, find_sources, read_source

DOCUMENTS = [["one", "two"], ["书。"], ["three"]]


def write_text(path, documents=DOCUMENTS):
    path.write_text("\n\n\n".join("\n".join(document) for document in documents) + "\n", encoding="utf-8")


def write_jsonl(path, documents=DOCUMENTS, column="text"):
    rows = [{"id": number, column: "\n".join(document)} for number, document in enumerate(documents)]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


def write_csv(path, documents=DOCUMENTS, column="text"):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", column])
        writer.writerows([number, "\n".join(document)] for number, document in enumerate(documents))


def write_parquet(path, documents=DOCUMENTS, column="text"):
    import pyarrow
    from pyarrow import parquet

    texts = ["\n".join(document) for document in documents]
    parquet.write_table(pyarrow.table({"id": [*range(len(texts))], column: texts}), path)


def write_dataset(path, documents=DOCUMENTS, column="text"):
    from datasets import Dataset

    Dataset.from_dict({column: ["\n".join(document) for document in documents]}).save_to_disk(path)


def documents_of(*paths, **arguments):
    return [document for source in find_sources(paths) for document in read_source(source, **arguments)]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.txt", write_text),
        ("a.jsonl", write_jsonl),
        ("a.csv", write_csv),
        ("a.parquet", write_parquet),
        ("saved", write_dataset),
    ],
)
def test_every_kind_gives_the_same_documents(name, write, tmp_path):
    write(tmp_path / name)
    assert documents_of(tmp_path / name) == DOCUMENTS
    if name.endswith(("txt", "jsonl", "csv")):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
        assert documents_of(tmp_path / f"{name}.gz") == DOCUMENTS


def test_folder_of_a_local_dataset_is_read_by_the_datasets_library(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    write_jsonl(tmp_path / "set" / "train.jsonl")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    source = Source(str(tmp_path / "set"), "dataset")
    for streaming in (False, True):
        assert list(read_source(source, streaming=streaming)) == DOCUMENTS
    described = describe_source(source)
    assert described["rows"] == 3 and described["split"] == "train"
    with pytest.raises(ValueError, match=r"Unknown split .*`--split`"):
        list(read_source(Source(str(tmp_path / "set"), "dataset", split="test")))


def test_split_of_a_saved_dataset_is_chosen(tmp_path):
    from datasets import Dataset, DatasetDict

    parts = {name: Dataset.from_dict({"text": [name]}) for name in ("train", "test")}
    DatasetDict(parts).save_to_disk(tmp_path / "saved")
    assert list(read_source(find_sources([tmp_path / "saved"], split="test")[0])) == [["test"]]
    with pytest.raises(ValueError, match=r"`split` must be one of \['train', 'test'\] .*got 'validation'"):
        list(read_source(find_sources([tmp_path / "saved"], split="validation")[0]))


def test_dataset_that_cannot_be_reached_is_refused_in_one_line(monkeypatch):
    def offline(*arguments, **options):
        raise ConnectionError("Couldn't reach\nthe Hub")

    monkeypatch.setattr("datasets.load_dataset", offline)
    with pytest.raises(FileNotFoundError, match=r"`someone/texts` does not exist here.*Couldn't reach the Hub"):
        describe_source(find_sources(["someone/texts"])[0])


def test_folder_is_searched_in_sorted_order_and_text_comes_before_tables(tmp_path, caplog):
    (tmp_path / "deeper").mkdir()
    write_jsonl(tmp_path / "index.jsonl")
    assert [source.kind for source in find_sources([tmp_path])] == ["jsonl"]
    write_text(tmp_path / "b.txt")
    write_text(tmp_path / "deeper" / "a.txt")
    (tmp_path / "notes.md").write_text("not read")
    with caplog.at_level(logging.WARNING):
        found = find_sources([tmp_path])
    assert [source.name.removeprefix(str(tmp_path)) for source in found] == ["/b.txt", "/deeper/a.txt"]
    assert "2 text files are read, 1 tables beside them are not" in caplog.text


def test_what_is_not_there_or_of_no_known_kind_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="`.*nowhere.txt` does not exist"):
        find_sources([tmp_path / "nowhere.txt"])
    with pytest.raises(FileNotFoundError, match="holds no text file"):
        find_sources([tmp_path])
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(ValueError, match=r"`input` must be files that end in .*a.pdf"):
        find_sources([tmp_path / "a.pdf"])


def test_file_is_described_by_size_and_hash(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"abc")
    described = describe_source(find_sources([tmp_path / "a.txt"])[0])
    assert described["bytes"] == 3
    assert described["sha256"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1


@pytest.mark.parametrize(
    ("columns", "given", "chosen"),
    [
        (["id", "text", "body"], None, "text"),
        (["title", "content"], None, "content"),
        (["strange"], None, "strange"),
        (["text", "strange"], "strange", "strange"),
    ],
)
def test_text_column_is_guessed_where_it_is_clear(columns, given, chosen):
    assert choose_text_column(columns, given, "a.csv") == chosen


def test_text_column_that_is_not_clear_or_not_there_is_refused():
    with pytest.raises(ValueError, match=r"`a.csv` has the columns \['content', 'body'\].*`--text-column`"):
        choose_text_column(["content", "body"], None, "a.csv")
    with pytest.raises(ValueError, match=r"`text_column` must be a column of `a.csv`, one of \['text'\], got 'txt'"):
        choose_text_column(["text"], "txt", "a.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "café\n".encode() * 5000 + "café".encode("latin-1"), r"a.txt` line 5001 cannot be read as UTF-8"),
        ("a.txt.gz", gzip.compress(b"some words\n" * 1000, mtime=0)[:60], r"a.txt.gz` is a broken gzip file"),
        ("b.txt.gz", b"plain text", r"b.txt.gz` is a broken gzip file"),
        ("a.jsonl", b'{"text": "x"}\n\n{"text": \n', r"a.jsonl` line 3 is no JSON"),
        ("a.jsonl", b'{"text": "x"}\n["y"]\n', r"a.jsonl` line 2 must be a JSON object, got list"),
        ("a.jsonl", b'{"text": "x"}\n{"txt": "y"}\n', r"a.jsonl` line 2 has no 'text', only \['txt'\]"),
        ("a.jsonl", b'{"text": 5}\n', r"a.jsonl` line 1: 'text' must be text, got 5"),
        ("a.csv", b'text\nfine\n"open\n', r"a.csv` line 3 is no CSV"),
        ("a.parquet", b"PAR1 and no more", r"a.parquet` is no parquet file"),
    ],
)
def test_broken_file_is_refused_with_its_line(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        documents_of(tmp_path / name)
    assert "\n" not in str(refused.value)


def test_missing_texts_byte_order_marks_and_halves_of_characters_do_no_harm(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(
        b'\xef\xbb\xbf{"text": "a"}\n{"text": null}\n{"text": "\\ud800b \\ud83d\\ude00"}\n'
    )
    assert documents_of(tmp_path / "a.jsonl") == [["a"], ["\ufffdb 😀"]]


def test_long_text_without_blank_lines_is_cut_at_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sources_module, "MAX_DOCUMENT_CHARACTERS", 10)
    write_text(tmp_path / "a.txt", [["aaaa", "bbbb", "cccc"], ["d"]])
    assert documents_of(tmp_path / "a.txt") == [["aaaa", "bbbb"], ["cccc"], ["d"]]


def test_long_fields_of_a_table_are_read(tmp_path):
    write_csv(tmp_path / "a.csv", [["x" * 200_000]])
    assert documents_of(tmp_path / "a.csv") == [["x" * 200_000]]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.parquet"])
def test_position_grows_to_the_size_of_the_file(name, tmp_path):
    if name == "a.parquet":
        write_parquet(tmp_path / name)
    else:
        content = b"word\n\n" * 100
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    positions = []
    documents_of(tmp_path / name, on_position=positions.append)
    assert positions == sorted(positions) and positions[-1] == (tmp_path / name).stat().st_size
