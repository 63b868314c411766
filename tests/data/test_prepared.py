"""A prepared folder opens as rows that the collator, the models and the stock `Trainer` take."""

import json
from collections import Counter

import pytest
import torch

from electra_plus import DataCollatorForReplacedTokenDetection, ElectraPlusConfig, ElectraPlusForPreTraining
from electra_plus.data.prepared import load_prepared
from electra_plus.data.shards import PARTS, ShardSettings, gather_shards, join_shards, row_features, write_shards
from electra_plus.data.sources import describe_source, find_sources
from electra_plus.data.streaming import StreamingRows

DOCUMENTS = [["the cat sat on the mat " * (1 + number % 5), f"the dog slept {number}"] for number in range(60)]


@pytest.fixture
def prepare(tmp_path, tokenizer):
    """A function that writes a prepared folder of sixty documents."""
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join("\n".join(document) for document in DOCUMENTS), encoding="utf-8")

    def write(rule="documents"):
        folder = tmp_path / rule
        tokenizer.save_pretrained(folder)
        manifest = {
            "format": 1, "rule": rule, "row_length": 32, "seed": 0, "held_out_fraction": 0.2, "text_column": None,
            "sources": [describe_source(source) for source in find_sources([text])],
        }  # fmt: skip
        (folder / "manifest.json").write_text(json.dumps(manifest))
        if rule != "stream":
            for name in (*PARTS, "finished"):
                (folder / name).mkdir()
            schema = row_features(rule, len(tokenizer)).arrow_schema
            settings = ShardSettings(rule, 32, 0, str(folder), str(folder), str(folder / "finished"), schema)
            write_shards(gather_shards(DOCUMENTS, 0.2, Counter()), settings, tokenizer)
            for part in PARTS:
                join_shards(folder / part, rule, len(tokenizer), f"fingerprint-{part}")
        return folder

    return write


def test_folder_holds_rows_tokenizer_and_manifest(prepare, tokenizer):
    train, held_out, opened, manifest = load_prepared(prepare())
    assert opened.get_vocab() == tokenizer.get_vocab()
    assert manifest["rule"] == "documents"
    assert len(train) > len(held_out) > 0
    row = train[len(train) - 1]
    assert set(row) == {"input_ids", "document_ids"} and len(row["input_ids"]) == len(row["document_ids"])
    assert row["document_ids"][0] == 0 and row["input_ids"][0] == tokenizer.cls_token_id
    begins = [index for index, token in enumerate(row["input_ids"]) if token == tokenizer.cls_token_id]
    assert [row["document_ids"][index] for index in begins] == list(range(len(begins)))
    assert train.__getitems__([3, 0, 1]) == [train[3], train[0], train[1]]


def test_rows_of_pairs_have_token_types(prepare, tokenizer):
    train = load_prepared(prepare("sentences")).train
    batch = DataCollatorForReplacedTokenDetection(tokenizer)([train[index] for index in range(len(train))])
    assert set(batch) == {"input_ids", "attention_mask", "labels", "token_type_ids"}
    assert batch["token_type_ids"].unique().tolist() == [0, 1]
    assert batch["input_ids"].shape[1] <= 32


def test_stream_reads_the_sources_of_the_manifest(prepare, tmp_path):
    folder = prepare("stream")
    train, held_out, _, _ = load_prepared(folder)
    assert isinstance(train, StreamingRows) and isinstance(held_out, StreamingRows)
    tokens = sum(len(row["input_ids"]) for part in (train, held_out) for row in part)
    packed = load_prepared(prepare())
    special = sum(len({*row["document_ids"]}) for part in packed[:2] for row in part)
    streamed = sum(len({*row["document_ids"]}) for part in (train, held_out) for row in part)
    assert tokens - 2 * streamed == sum(len(row["input_ids"]) for part in packed[:2] for row in part) - 2 * special
    shares = [load_prepared(folder, rank=rank, world_size=2).train for rank in range(2)]
    assert [share.rank for share in shares] == [0, 1]
    (tmp_path / "text.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"text.txt` is gone"):
        load_prepared(folder)


def test_documents_of_a_row_do_not_see_each_other(prepare, tokenizer):
    train = load_prepared(prepare()).train
    row = next(row for row in train if row["document_ids"][-1] >= 1)
    config = ElectraPlusConfig.preset("modern-tiny", vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    model = ElectraPlusForPreTraining(config).eval()
    batch = DataCollatorForReplacedTokenDetection(tokenizer)([row])
    batch.pop("labels")
    with torch.no_grad():
        packed = model(**batch).logits[0]
        for number in range(row["document_ids"][-1] + 1):
            here = batch["document_ids"][0] == number
            alone = model(batch["input_ids"][:, here]).logits[0]
            # float32 sums in another order
            torch.testing.assert_close(packed[here], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rule", ["documents", "stream"])
def test_stock_trainer_keeps_the_documents(rule, prepare, tmp_path, tokenizer):
    from transformers import Trainer, TrainingArguments

    train, held_out, _, _ = load_prepared(prepare(rule))
    config = ElectraPlusConfig.preset("modern-tiny", vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    model = ElectraPlusForPreTraining(config)
    seen = []
    model.register_forward_pre_hook(lambda module, _, given: seen.append(given["document_ids"]), with_kwargs=True)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            str(tmp_path / "run"), max_steps=2, per_device_train_batch_size=4, report_to="none", save_strategy="no",
            disable_tqdm=True, use_cpu=True,
        ),
        train_dataset=train,
        eval_dataset=held_out,
        data_collator=DataCollatorForReplacedTokenDetection(tokenizer),
    )  # fmt: skip
    trainer.train()
    trainer.evaluate()
    assert any((ids.max(dim=1).values > ids[:, 0]).any() for ids in seen)


def test_folder_that_was_not_prepared_is_refused(tmp_path, prepare):
    with pytest.raises(FileNotFoundError, match="`folder` must be one that `electra-plus prepare` wrote"):
        load_prepared(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest.json` is no JSON"):
        load_prepared(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="must have the format 1, got 99"):
        load_prepared(tmp_path)
