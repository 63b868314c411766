"""A whole preparation: what it writes, that it goes on where it stopped, and what it refuses."""

import hashlib
import logging
import random
from itertools import islice

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from electra_plus.data import shards as shards_module
from electra_plus.data.corpus import read_documents
from electra_plus.data.documents import document_key
from electra_plus.data.prepared import load_prepared
from electra_plus.recipes.preparation import PreparationSettings, prepare
from electra_plus.samples import sample_path

DOCUMENTS = [[f"the cat number {number} sat on the mat", "the dog slept " * (number % 9)] for number in range(120)]
DOCUMENTS = [[text.strip() for text in document if text.strip()] for document in DOCUMENTS]


def write(path, documents=DOCUMENTS):
    path.write_text("\n\n".join("\n".join(document) for document in documents), encoding="utf-8")
    return path


@pytest.fixture
def settings(tmp_path, tokenizer, monkeypatch):
    """A function that makes the settings of a small preparation in several shards."""
    monkeypatch.setattr(shards_module, "SHARD_CHARACTERS", 1500)
    tokenizer.save_pretrained(tmp_path / "given")
    write(tmp_path / "text.txt")

    def make(**changes):
        values = {
            "input": [str(tmp_path / "text.txt")],
            "output_dir": str(tmp_path / "out"),
            "tokenizer": str(tmp_path / "given"),
            "row_length": 32,
            "held_out_fraction": 0.2,
        }
        return PreparationSettings(**{**values, **changes})

    return make


def content_of(folder):
    """Every file of a folder by its path."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def tokens_of(rows, tokenizer):
    special = {tokenizer.cls_token_id, tokenizer.sep_token_id}
    return sorted(token for row in rows for token in row["input_ids"] if token not in special)


@pytest.mark.parametrize("rule", ["documents", "stream"])
def test_text_comes_from_an_address_too(rule, settings, tmp_path, tokenizer):
    address = f"file://{tmp_path}/*.txt"
    prepare(settings(input=[address], rule=rule, held_out_fraction=0.0))
    train, _, _, manifest = load_prepared(tmp_path / "out")
    texts = [text for document in DOCUMENTS for text in document]
    expected = sorted(token for text in texts for token in tokenizer(text, add_special_tokens=False)["input_ids"])
    assert tokens_of(train, tokenizer) == expected
    assert manifest["sources"][0]["dataset"] == address


def test_folder_holds_rows_of_every_document_and_a_manifest_that_counts_them(settings, tmp_path, tokenizer):
    write(tmp_path / "text.txt", [*DOCUMENTS, *DOCUMENTS[:10]])
    manifest = prepare(settings())
    train, held_out, opened, loaded = load_prepared(tmp_path / "out")
    assert loaded == manifest
    assert opened.get_vocab() == AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab() == tokenizer.get_vocab()
    assert manifest["documents_read"] == 130 and manifest["duplicates_dropped"] == 10
    for part, rows in (("train", train), ("held_out", held_out)):
        chosen = [one for one in DOCUMENTS if (document_key(one).held_out_draw < 0.2) == (part == "held_out")]
        texts = [text for document in chosen for text in document]
        expected = [token for ids in tokenizer(texts, add_special_tokens=False)["input_ids"] for token in ids]
        assert tokens_of(rows, tokenizer) == sorted(expected)
        figures = manifest[part]
        assert figures["documents"] == len(chosen) and figures["rows"] == len(rows)
        assert figures["tokens"] == sum(len(row["input_ids"]) for row in rows)
        assert figures["padding_fraction"] == pytest.approx(1 - figures["tokens"] / (32 * len(rows)), abs=1e-6)
    source = manifest["sources"][0]
    content = (tmp_path / "text.txt").read_bytes()
    assert source["bytes"] == len(content) and source["sha256"] == hashlib.sha256(content).hexdigest()
    assert manifest["vocab_size"] == 99 and manifest["row_length"] == 32 and manifest["rule"] == "documents"
    assert set(manifest["versions"]) >= {"electra-plus", "tokenizers", "datasets"}
    assert not (tmp_path / ".out.unfinished").exists()


def test_tokenizer_is_trained_where_none_is_given(settings, tmp_path):
    manifest = prepare(settings(tokenizer=None, vocab_size=60, row_length=600))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert len(tokenizer) == manifest["vocab_size"] <= 60
    assert tokenizer.model_max_length == 600
    cased = prepare(settings(tokenizer=None, lowercase=False, max_length=40, output_dir=str(tmp_path / "cased")))
    assert cased["tokenizer"] == "trained"
    assert AutoTokenizer.from_pretrained(tmp_path / "cased").model_max_length == 40


@pytest.mark.parametrize("num_proc", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_the_tokenizer_does_not_know_is_counted_and_said(num_proc, settings, tmp_path, tokenizer, caplog):
    words = ["the", "cat", "sat", "on", "the", "mat"]
    long_word = "a" * 101  # one [UNK], as a line without spaces is
    documents = [words * 12 + ["☃"] * 3 + [long_word] for _ in range(50)]
    write(tmp_path / "text.txt", [[f"{'the ' * number}{' '.join(words)}"] for number, words in enumerate(documents)])
    manifest = prepare(settings(held_out_fraction=0.0, num_proc=num_proc))
    train = load_prepared(tmp_path / "out").train
    ids = [token for row in train for token in row["input_ids"]]
    assert ids.count(tokenizer.unk_token_id) == 50 * 4
    assert manifest["train"]["unknown_fraction"] == pytest.approx(200 / len(ids), abs=1e-6)
    text = sum(len(word) for document in documents for word in document) + 3 * sum(range(50))
    assert manifest["train"]["unknown_text_fraction"] == pytest.approx(50 * 104 / text, abs=1e-6)
    assert "unknown_tokens" not in manifest["train"] and "sampled_characters" not in manifest["train"]
    shares = f"[UNK] is {100 * 200 / len(ids):.2f} % of the tokens and hides {100 * 50 * 104 / text:.1f} % of the text"
    assert shares in caplog.text and "spaces between words" in caplog.text and "`vocab_size`" in caplog.text


def test_a_line_without_spaces_is_told_though_it_is_few_tokens(settings, tmp_path, caplog):
    thai = "ผมชอบแมวตัวนี้ " * 200 + "ที่บ้าน" * 100  # of 3,500 characters 700 are one token
    write(tmp_path / "text.txt", [[thai], ["ผมชอบแมว"]])
    manifest = prepare(settings(tokenizer=None, vocab_size=40, held_out_fraction=0.0))
    assert manifest["train"]["unknown_fraction"] < 0.01 < 0.15 < manifest["train"]["unknown_text_fraction"]
    assert "of the text: a larger `vocab_size`" in caplog.text


def test_nothing_is_said_of_a_snowman(settings, tmp_path, caplog):
    write(tmp_path / "text.txt", [["the cat sat on the mat " * 100, "☃"]])
    manifest = prepare(settings(held_out_fraction=0.0))
    assert 0 < manifest["train"]["unknown_fraction"] < 0.01 and 0 < manifest["train"]["unknown_text_fraction"] < 0.01
    assert "[UNK]" not in caplog.text


@pytest.mark.parametrize("rule", ["documents", "sentences"])
def test_stopped_run_goes_on_and_ends_with_the_same_files(rule, settings, tmp_path, monkeypatch, caplog):
    prepare(settings(rule=rule, output_dir=str(tmp_path / "whole")))
    written = []
    write_shard = shards_module.write_shard

    def stops(shard, *rest):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(shard.number)
        return write_shard(shard, *rest)

    monkeypatch.setattr(shards_module, "write_shard", stops)
    with pytest.raises(KeyboardInterrupt):
        prepare(settings(rule=rule))
    assert written == [0, 1] and not (tmp_path / "out").exists()
    monkeypatch.setattr(
        shards_module, "write_shard", lambda shard, *rest: written.append(shard.number) or write_shard(shard, *rest)
    )
    with caplog.at_level(logging.WARNING):
        prepare(settings(rule=rule))
    assert "goes on" in caplog.text and len(written) > 3 and sorted(set(written)) == written
    assert content_of(tmp_path / "out") == content_of(tmp_path / "whole")
    assert not (tmp_path / ".out.unfinished").exists()


def test_stopped_run_goes_on_with_the_tokenizer_it_has_trained(settings, tmp_path, monkeypatch):
    own = settings(tokenizer=None, vocab_size=60)

    def stops(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shards_module, "write_shard", stops)
        prepare(own)
    trained = (tmp_path / ".out.unfinished" / "tokenizer" / "tokenizer.json").read_bytes()
    prepare(own)
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == trained


@pytest.mark.parametrize("change", ["setting", "source"])
def test_other_settings_or_sources_start_anew(change, settings, tmp_path, monkeypatch):
    write_shard = shards_module.write_shard

    def stops(shard, *rest):
        if shard.number == 2:
            raise KeyboardInterrupt
        return write_shard(shard, *rest)

    monkeypatch.setattr(shards_module, "write_shard", stops)
    with pytest.raises(KeyboardInterrupt):
        prepare(settings())
    monkeypatch.setattr(shards_module, "write_shard", write_shard)
    changed = settings(row_length=16) if change == "setting" else settings()
    if change == "source":
        write(tmp_path / "text.txt", [["another beginning"], *DOCUMENTS])
    prepare(changed)
    changed.output_dir = str(tmp_path / "fresh")
    prepare(changed)
    assert content_of(tmp_path / "out") == content_of(tmp_path / "fresh")


def test_held_out_documents_do_not_depend_on_order_or_files(settings, tmp_path, tokenizer):
    prepare(settings())
    shuffled = random.Random(0).sample(DOCUMENTS, len(DOCUMENTS))
    files = [str(write(tmp_path / f"{name}.txt", part)) for name, part in (("a", shuffled[:30]), ("b", shuffled[30:]))]
    prepare(settings(input=files, output_dir=str(tmp_path / "shuffled")))
    held_out = [tokens_of(load_prepared(tmp_path / name).held_out, tokenizer) for name in ("out", "shuffled")]
    assert held_out[0] == held_out[1]


def test_stream_prepares_a_tokenizer_and_no_rows(settings, tmp_path, tokenizer):
    manifest = prepare(settings(rule="stream"))
    assert "train" not in manifest
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == []
    prepare(settings(output_dir=str(tmp_path / "written")))
    for part in ("train", "held_out"):
        one, other = (getattr(load_prepared(tmp_path / name), part) for name in ("out", "written"))
        assert tokens_of(one, tokenizer) == tokens_of(other, tokenizer)


def test_real_text_is_packed_with_at_most_two_percent_padding(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(shards_module, "SHARD_CHARACTERS", 400_000)
    documents = islice(read_documents([sample_path("reviews.txt.gz")]), 300)
    manifest = prepare(settings(input=[str(write(tmp_path / "reviews.txt", documents))], row_length=128))
    assert manifest["train"]["padding_fraction"] <= 0.02
    assert manifest["train"]["documents_cut"] <= 0.1 * manifest["train"]["documents"]


def test_existing_folder_is_replaced_only_if_asked(settings, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    with pytest.raises(ValueError, match="`output_dir` must be new or empty"):
        prepare(settings())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]
    prepare(settings(overwrite=True))
    assert not (tmp_path / "out" / "precious").exists() and (tmp_path / "out" / "manifest.json").exists()
    with pytest.raises(ValueError, match="must stay"):
        prepare(settings(overwrite=True, output_dir=str(tmp_path)))


def test_nothing_held_out_is_said(settings, tmp_path, caplog):
    write(tmp_path / "text.txt", DOCUMENTS[:2])
    with caplog.at_level(logging.WARNING):
        prepare(settings(held_out_fraction=0.001))
    assert "no document is held out" in caplog.text
    assert len(load_prepared(tmp_path / "out").held_out) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": "lines"}, r"`rule` must be one of \['documents', 'sentences', 'stream'\], got 'lines'"),
        ({"row_length": 2}, "`row_length` must be at least 3 tokens for `documents`, got 2"),
        ({"row_length": 4, "rule": "sentences"}, "`row_length` must be at least 5 tokens for `sentences`, got 4"),
        ({"held_out_fraction": 1.0}, r"`held_out_fraction` must be in \[0, 1\), got 1.0"),
        ({"num_proc": 0}, "`num_proc` must be at least 1, got 0"),
        ({"num_proc": 2, "rule": "stream"}, "`num_proc` must be 1 for `stream`, which writes no rows, got 2"),
        ({"split": "test"}, "`dataset_config` and `split` need a dataset, got files only"),
        ({"vocab_size": 99}, r"\['vocab_size'\] are for a tokenizer that is trained, but `tokenizer` is given"),
        ({"text_column": "text"}, "`text_column` needs tables or datasets, got text files only"),
        (
            {"held_out_fraction": 0.9999999},
            "`input` gives no rows to train on: 120 different documents, 120 of them held out",
        ),
    ],
)
def test_wrong_settings_are_refused_and_leave_no_folder(changes, message, settings, tmp_path):
    with pytest.raises(ValueError, match=message):
        prepare(settings(**changes))
    assert not (tmp_path / "out").exists()


def test_tokenizer_without_the_tokens_around_a_piece_is_refused(settings, tmp_path):
    bare = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "given" / "tokenizer.json"))
    bare.save_pretrained(tmp_path / "bare")
    with pytest.raises(ValueError, match=r"`tokenizer` must have a \[CLS\] and a \[SEP\] token"):
        prepare(settings(tokenizer=str(tmp_path / "bare")))
