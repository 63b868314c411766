"""Texts and pairs of them: rows by hand, predictions by hand, and labels that cannot be learned."""

import numpy as np
import pytest
import torch

from electra_plus.recipes.tasks.classification import (
    Classification,
    MultiLabelClassification,
    Regression,
    names_of_classes,
)
from electra_plus.recipes.tasks.task import weighted_loss, weights_of_classes


def test_single_text_is_encoded_without_segments(words, examples):
    task = Classification(max_length=8)
    task.learn(rows := examples({"text": "a cats", "label": "no"}, {"text": "the mat", "label": "yes"}))
    assert task.encode(rows, words).rows == [
        {"input_ids": [2, 5, 6, 8, 3], "labels": 0},
        {"input_ids": [2, 10, 11, 3], "labels": 1},
    ]
    assert task.encode(rows, words, with_targets=False).rows[0] == {"input_ids": [2, 5, 6, 8, 3]}
    assert task.config_fields() == {
        "num_labels": 2,
        "problem_type": "single_label_classification",
        "id2label": {0: "no", 1: "yes"},
        "label2id": {"no": 0, "yes": 1},
    }


def test_longer_text_of_a_pair_is_cut_and_that_is_said(words, examples):
    task = Classification(max_length=6)
    task.learn(
        rows := examples(
            {"text": "a cat sat on", "text_pair": "mat", "label": 0}, {"text": "a", "text_pair": "mat", "label": 1}
        )
    )
    encoded = task.encode(rows, words)
    assert encoded.rows[0] == {"input_ids": [2, 5, 6, 3, 11, 3], "token_type_ids": [0, 0, 0, 0, 1, 1], "labels": 0}
    assert encoded.rows[1] == {"input_ids": [2, 5, 3, 11, 3], "token_type_ids": [0, 0, 0, 1, 1], "labels": 1}
    assert encoded.remarks == ["1 of 2 rows are longer than 6 tokens and were cut, by 2 tokens in all (--max-length)"]


def test_predictions_name_the_label_and_are_scored(words, examples):
    task = Classification(max_length=8)
    rows = examples({"text": "a", "label": "no"}, {"text": "cat", "label": "yes"}, {"text": "mat", "label": "yes"})
    task.learn(rows)
    scores = [np.array([0.0, 0.0]) + [np.log(3), 0], np.array([0.0, np.log(4)]), np.array([np.log(1.5), 0.0])]
    found = task.decode(scores, task.encode(rows, words), rows)
    assert found == [
        {"prediction": "no", "probabilities": {"no": 0.75, "yes": 0.25}},
        {"prediction": "yes", "probabilities": {"no": 0.2, "yes": 0.8}},
        {"prediction": "no", "probabilities": {"no": 0.6, "yes": 0.4}},
    ]
    scores = task.judge(found, rows)  # of the class yes: precision 1, recall 1/2
    assert scores["accuracy"] == pytest.approx(2 / 3) and scores["f1"] == pytest.approx(2 / 3)
    assert set(scores) == set(task.metrics)


def test_labels_that_cannot_be_learned_or_scored_are_told_with_their_row(examples):
    task = Classification()
    with pytest.raises(ValueError, match="`a.jsonl` line 1: `label` is '1' here and in all 2 rows for training"):
        task.learn(examples({"text": "a", "label": "1"}, {"text": "b", "label": "1"}))
    task.learn(examples({"text": "a", "label": "1"}, {"text": "b", "label": "0"}))
    with pytest.raises(ValueError, match="`a.jsonl` line 1: `label` is 'x', which no training row has"):
        task.check(examples({"text": "a", "label": "x"}))


def test_stock_names_of_labels_stand_for_numbers():
    class Config:
        num_labels, id2label = 2, {0: "LABEL_0", 1: "LABEL_1"}

    assert names_of_classes(Config()) == ["0", "1"]
    Config.id2label = {0: "bad", 1: "good"}
    assert names_of_classes(Config()) == ["bad", "good"]


def test_several_labels_and_none(words, examples):
    task = MultiLabelClassification(max_length=8)
    rows = examples(
        {"text": "a", "labels": ["x", "y"]}, {"text": "cat", "labels": []}, {"text": "mat", "labels": ["z"]}
    )
    task.learn(rows)
    assert [row["labels"] for row in task.encode(rows, words).rows] == [
        [1.0, 1.0, 0.0],
        [0.0, 0.0, 0.0],
        [0.0, 0.0, 1.0],
    ]
    found = task.decode([np.array([2.0, -2.0, -2.0]), np.array([-1.0, -1.0, -1.0]), np.array([-1.0, -1.0, 0.0])],
                        task.encode(rows, words), rows)  # fmt: skip
    assert [one["prediction"] for one in found] == [["x"], [], ["z"]]
    scores = task.judge(found, rows)  # 2 of 2 predicted are right, 2 of 3 labels found
    assert scores == {"f1_micro": 0.8, "f1_macro": pytest.approx(2 / 3), "accuracy": pytest.approx(2 / 3)}
    with pytest.raises(ValueError, match="`labels` is empty, here and in all 1 rows"):
        task.learn(examples({"text": "a", "labels": []}))


def test_numbers_are_standardised_and_come_back(words, examples):
    task = Regression(max_length=8)
    rows = examples({"text": "a", "label": 100.0}, {"text": "cat", "label": 300.0})
    task.learn(rows)
    encoded = task.encode(rows, words)
    assert [row["labels"] for row in encoded.rows] == [-1.0, 1.0]
    found = task.decode([np.array([-1.0]), np.array([0.5])], encoded, rows)
    assert found == [{"prediction": 100.0}, {"prediction": 250.0}]
    assert task.judge(found, rows) == {"spearmanr": 1.0, "pearsonr": 1.0, "mean_squared_error": 1250.0}
    layer = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(layer.weight, 2.0)
    torch.nn.init.constant_(layer.bias, 0.5)
    model = torch.nn.Module()
    model.classifier = torch.nn.Module()
    model.classifier.out_proj = layer
    task.after_training(model)  # 100 (2 x + 0.5) + 200
    assert layer(torch.tensor([1.0])).item() == 450.0
    assert task.decode([np.array([450.0])], encoded.__class__([{}], [0]), rows[:1]) == [{"prediction": 450.0}]


def test_class_weights_have_the_mean_one():
    assert weights_of_classes(["balanced"], np.array([30, 10]), ["a", "b"]).tolist() == pytest.approx([2 / 3, 2.0])
    assert weights_of_classes(["1", "3"], np.array([10, 10]), ["a", "b"]).tolist() == [0.5, 1.5]
    for wrong in (["1"], ["1", "0"], ["heavy", "light"]):
        with pytest.raises(
            ValueError, match=r"`class_weights` must be balanced, or a number above 0 for each of the 2 classes"
        ):
            weights_of_classes(wrong, np.array([1, 1]), ["a", "b"])


def test_weighted_loss_is_a_weighted_mean_and_adds_up_over_batches():
    logits = torch.tensor([[[2.0, 0.0], [0.0, 1.0], [3.0, 3.0]]])
    labels = torch.tensor([[0, 1, -100]])
    loss = weighted_loss(torch.tensor([0.5, 1.5]))
    each = -torch.log_softmax(logits[0], dim=-1)
    expected = 0.5 * each[0, 0] + 1.5 * each[1, 1]
    assert loss({"logits": logits}, labels).item() == pytest.approx(expected.item() / 2)
    assert loss({"logits": logits}, labels, num_items_in_batch=4).item() == pytest.approx(expected.item() / 4)
