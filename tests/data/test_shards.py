"""Shards: what they hold, that finished ones are left alone, and that joined they are one dataset."""

import json
from collections import Counter
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest
from datasets import load_from_disk

from electra_plus.data import shards as shards_module
from electra_plus.data.documents import document_key
from electra_plus.data.shards import PARTS, ShardSettings, gather_shards, join_shards, row_features, write_shards

DOCUMENTS = [[f"the cat sat on the mat {number}", "the dog slept"] for number in range(60)]


@pytest.fixture
def settings(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    for name in (*PARTS, "finished"):
        (tmp_path / name).mkdir()
    schema = row_features("documents", 99).arrow_schema
    return ShardSettings(
        "documents", 16, 0, str(tmp_path / "tokenizer"), str(tmp_path), str(tmp_path / "finished"), schema
    )


def gathered(documents=DOCUMENTS, held_out_fraction=0.2):
    return list(gather_shards(documents, held_out_fraction, Counter(), shard_characters=500))


def rows_on_disk(folder):
    for part in PARTS:
        join_shards(folder / part, "documents", 99, "fingerprint")
    return {part: load_from_disk(str(folder / part)).to_list() for part in PARTS}


def test_documents_are_gathered_once_each_in_order_with_the_held_out_ones_apart():
    counts = Counter()
    documents = [*DOCUMENTS, *DOCUMENTS[:7], ["new"]]
    shards = list(gather_shards(documents, 0.2, counts, shard_characters=500))
    assert counts == {"documents": 68, "duplicates": 7}
    assert [shard.number for shard in shards] == list(range(len(shards))) and len(shards) > 3
    for part, expected in (("train", False), ("held_out", True)):
        found = [document for shard in shards for document in shard.documents[part]]
        assert found == [
            one for one in documents[:60] + [["new"]] if (document_key(one).held_out_draw < 0.2) == expected
        ]
    for shard in shards[:-1]:
        # one document is 36 characters at most
        size = sum(len(text) for documents in shard.documents.values() for document in documents for text in document)
        assert 500 <= size < 536


def test_joined_shards_are_one_dataset_of_the_rows_counted(settings, tmp_path, tokenizer):
    figures = write_shards(gathered(), settings, tokenizer)
    rows = rows_on_disk(tmp_path)
    for part in PARTS:
        assert sum(one[part]["rows"] for one in figures) == len(rows[part]) > 0
        assert sum(one[part]["tokens"] for one in figures) == sum(len(row["input_ids"]) for row in rows[part])
        assert load_from_disk(str(tmp_path / part)).features == row_features("documents", 99)
    assert {type(token) for row in rows["train"] for token in row["input_ids"]} == {int}


def test_part_without_rows_is_an_empty_dataset(settings, tmp_path, tokenizer):
    write_shards(gathered(held_out_fraction=0.0), settings, tokenizer)
    assert rows_on_disk(tmp_path)["held_out"] == []
    assert load_from_disk(str(tmp_path / "held_out")).column_names == ["input_ids", "document_lengths"]


def test_token_ids_take_two_bytes_up_to_65536_tokens():
    assert row_features("documents", 65536)["input_ids"].feature.dtype == "uint16"
    assert row_features("sentences", 65537)["input_ids"].feature.dtype == "int32"


def test_finished_shards_are_not_written_again_and_unfinished_ones_are(settings, tmp_path, tokenizer, monkeypatch):
    whole = write_shards(gathered(), settings, tokenizer)
    expected = rows_on_disk(tmp_path)
    (tmp_path / "finished" / "00001.json").unlink()
    (tmp_path / "train" / "data-00001.arrow").write_bytes(b"half of it")
    written = []
    write = shards_module.write_shard
    monkeypatch.setattr(
        shards_module, "write_shard", lambda shard, *rest: written.append(shard.number) or write(shard, *rest)
    )
    assert write_shards(gathered(), settings, tokenizer) == whole
    assert written == [1]
    assert rows_on_disk(tmp_path) == expected
    assert json.loads((tmp_path / "finished" / "00001.json").read_text()) == whole[1]


@pytest.mark.multiprocess
def test_number_of_processes_changes_nothing(settings, tmp_path, tokenizer):
    alone = write_shards(gathered(), settings, tokenizer)
    expected = rows_on_disk(tmp_path)
    for marker in (tmp_path / "finished").iterdir():
        marker.unlink()
    assert write_shards(gathered(), settings, tokenizer, num_proc=2) == alone
    assert rows_on_disk(tmp_path) == expected


def test_process_that_is_ended_from_outside_is_said_in_one_line(settings, tokenizer, monkeypatch):
    class Pool:
        """Workers that are no more."""

        def submit(self, *arguments):
            gone = Future()
            gone.set_exception(BrokenProcessPool())
            return gone

        def shutdown(self, cancel_futures):
            assert cancel_futures

    monkeypatch.setattr(shards_module, "ProcessPoolExecutor", lambda *arguments: Pool())
    with pytest.raises(ChildProcessError, match="One of the 2 processes of `num_proc` was ended from outside"):
        write_shards(gathered(), settings, tokenizer, num_proc=2)
