"""Documents into rows: nothing lost, nothing over the budget, labels where they belong."""

import random

import pytest
import torch

from electra_plus.data.packing import DataCollatorForPacking, first_fit


class Tokenizer:
    pad_token_id = 7


def test_first_fit_keeps_every_document_once_and_within_the_budget():
    rng = random.Random(0)
    lengths = [rng.randint(1, 60) for _ in range(200)]
    rows = first_fit(lengths, row_length=64)
    assert sorted(index for row in rows for index in row) == list(range(200))
    assert all(sum(lengths[index] for index in row) <= 64 for row in rows)
    # two rows at most half full would have been one
    assert sum(sum(lengths[index] for index in row) <= 32 for row in rows) <= 1


def test_a_document_longer_than_a_row_stands_alone():
    assert first_fit([100, 3, 4], row_length=10) == [[0], [2, 1]]


def test_batch_holds_every_token_with_its_position_and_document():
    rng = random.Random(0)
    features = [{"input_ids": [10 * index + token for token in range(rng.randint(1, 9))]} for index in range(20)]
    batch = DataCollatorForPacking(Tokenizer(), row_length=16)(features)
    assert batch["input_ids"].shape[1] <= 16
    for index, feature in enumerate(features):
        here = batch["document_ids"] == index
        assert batch["input_ids"][here].tolist() == feature["input_ids"]
        assert batch["position_ids"][here].tolist() == list(range(len(feature["input_ids"])))
        assert here.any(dim=1).sum() == 1
    padding = batch["document_ids"] == -1
    assert (batch["input_ids"][padding] == 7).all() and torch.equal(batch["attention_mask"] == 0, padding)


def test_labels_of_tokens_are_packed_and_those_of_documents_kept():
    features = [{"input_ids": [1, 2, 3], "token_type_ids": [0, 1, 1]}, {"input_ids": [4, 5], "token_type_ids": [0, 0]}]
    collate = DataCollatorForPacking(Tokenizer(), row_length=6, pad_to_multiple_of=8)
    tags = collate([{**feature, "labels": feature["input_ids"]} for feature in features])
    assert tags["labels"].tolist() == [[1, 2, 3, 4, 5, -100, -100, -100]]
    assert tags["token_type_ids"].tolist() == [[0, 1, 1, 0, 0, 0, 0, 0]]
    classes = collate([{**feature, "label": label} for feature, label in zip(features, (1, 0), strict=True)])
    assert classes["labels"].tolist() == [1, 0] and "label" not in classes
    answers = collate([{**feature, "start_positions": 1} for feature in features])
    assert answers["start_positions"].tolist() == [1, 1]
    several = collate([{**feature, "labels": [1.0, 0.0, 1.0, 1.0]} for feature in features])
    assert several["labels"].tolist() == [[1.0, 0.0, 1.0, 1.0]] * 2


def test_one_float_for_each_class_is_not_packed_as_tokens_are():
    collate = DataCollatorForPacking(Tokenizer(), row_length=8)
    batch = collate([{"input_ids": [2, 3], "labels": [1.0, 0.0]}, {"input_ids": [2, 3], "labels": [0.0, 1.0]}])
    assert batch["labels"].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_budget_below_one_token_is_refused():
    with pytest.raises(ValueError, match="`row_length` must be at least 1 token, got 0"):
        DataCollatorForPacking(Tokenizer(), row_length=0)


def test_stock_trainer_fine_tunes_and_evaluates_on_packed_rows(tmp_path):
    from transformers import Trainer, TrainingArguments

    from electra_plus import ElectraPlusConfig, ElectraPlusForSequenceClassification

    rng = random.Random(0)
    rows = []
    for _ in range(192):  # class 1 has a token 9 somewhere
        ids = [rng.randint(10, 40) for _ in range(rng.randint(3, 12))]
        label = rng.randint(0, 1)
        if label:
            ids[rng.randrange(len(ids))] = 9
        rows.append({"input_ids": ids, "labels": label})
    torch.manual_seed(0)
    config = ElectraPlusConfig.preset("modern-tiny", vocab_size=50, num_labels=2)
    trainer = Trainer(
        model=ElectraPlusForSequenceClassification(config),
        args=TrainingArguments(
            str(tmp_path), num_train_epochs=6, per_device_train_batch_size=32, per_device_eval_batch_size=50,
            learning_rate=3e-3, report_to="none", save_strategy="no", disable_tqdm=True, use_cpu=True,
        ),
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=DataCollatorForPacking(Tokenizer(), row_length=64),
        compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())},
    )  # fmt: skip
    trainer.train()
    assert trainer.evaluate()["eval_accuracy"] > 0.9
    assert trainer.predict(rows).predictions.shape == (192, 2)


def test_choices_are_documents():
    questions = [{"input_ids": [[2, 5, 3], [2, 6, 7, 3]], "label": 1}, {"input_ids": [[2, 3], [2, 8, 3]], "label": 0}]
    batch = DataCollatorForPacking(Tokenizer(), row_length=8)(questions)
    assert batch["num_choices"] == 2 and batch["labels"].tolist() == [1, 0]
    choices = [choice for question in questions for choice in question["input_ids"]]
    for number, choice in enumerate(choices):
        assert batch["input_ids"][batch["document_ids"] == number].tolist() == choice
    with pytest.raises(ValueError, match="`features` must have as many choices each, got \\[1, 2\\]"):
        DataCollatorForPacking(Tokenizer(), row_length=8)([questions[0], {"input_ids": [[2, 3]], "label": 0}])
