"""Batches by length give every row the scores it has alone, for every task."""

import numpy as np
import pytest
import torch
from model_helpers import small_config

from electra_plus.recipes.finetuning_run import collator
from electra_plus.recipes.tasks import TASKS
from electra_plus.recipes.tasks.running import judged, predictions_of, scores_of_rows
from electra_plus.recipes.tasks.task import pad_rows
from electra_plus.registration import load_model_classes

EXAMPLES = {
    "text-classification": [{"text": "a cat", "label": "x"}, {"text": "the mat sat on a cat", "label": "y"}, {"text": "on", "label": "x"}],
    "multi-label-classification": [{"text": "a cat", "labels": ["x"]}, {"text": "the mat sat on", "labels": []}, {"text": "on", "labels": ["y", "z"]}],
    "regression": [{"text": "a cat", "label": 1.5}, {"text": "the mat sat on", "label": 2.0}, {"text": "on", "label": 9.0}],
    "token-classification": [
        {"tokens": ["cats", "sat"], "tags": ["B-x", "O"]},
        {"tokens": ["a", "mat", "sat", "on", "我"], "tags": ["O", "B-x", "I-x", "O", "O"]},
        {"tokens": ["a"], "tags": ["O"]},
    ],
    "question-answering": [
        {"context": "the cat sat", "question": "who?", "answers": {"text": ["cat"], "answer_start": [4]}},
        {"context": "a mat on the mat on the mat on the mat on the mat", "question": "who?", "answers": {"text": ["mat"], "answer_start": [2]}},
        {"context": "我在北京", "question": "who who?", "answers": {"text": ["北京"], "answer_start": [2]}},
    ],
    "multiple-choice": [
        {"context": "the cat", "choices": ["a", "mat on the mat"], "label": 0},
        {"context": "a cat sat on a mat", "choices": ["sat", "on", "a"], "label": 2},
    ],
    "text-generation": [{"text": "a cat sat on the mat"}, {"text": "the mat"}],
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_row_has_the_same_scores_alone_and_in_any_batch(name, words, examples):
    rows = examples(*EXAMPLES[name])
    task = TASKS[name](max_length=16)
    task.learn(rows)
    task.check(rows)
    torch.manual_seed(0)
    config = small_config("modern", vocab_size=len(words), **task.config_fields())
    model = load_model_classes()[task.model_class](config)
    task.read_config(model.config)
    encoded = task.encode(rows, words)
    figures, predictions = judged(task, model, words, rows, encoded)
    assert set(task.metrics) <= set(figures) and np.isfinite(figures["loss"])
    if name == "text-generation":
        return
    together, _ = scores_of_rows(task, model, words, encoded.rows)
    for row, scores in zip(encoded.rows, together, strict=True):
        alone = scores_of_rows(task, model, words, [row])[0][0]
        np.testing.assert_allclose(scores[: len(alone)], alone, atol=1e-5)
    assert len(predictions) == len(rows) and predictions_of(task, model, words, rows)[0] == predictions


@pytest.mark.parametrize("name", [name for name in TASKS if TASKS[name].packs])
def test_rows_that_share_one_have_the_loss_and_gradients_of_padded_ones(name, words, examples):
    rows = examples(*EXAMPLES[name])
    task = TASKS[name](max_length=16)
    task.learn(rows)
    torch.manual_seed(0)
    model = load_model_classes()[task.model_class](
        small_config("modern", vocab_size=len(words), **task.config_fields())
    )
    model.eval()
    encoded = task.encode(rows, words).rows
    found = []
    # the padding of a padded batch may be an answer, as in stock models: these rows are compared with each alone
    alone = [[row] for row in encoded] if name == "question-answering" else [encoded]
    for batches in ([collator(task, words)(encoded)], [pad_rows(each, words.pad_token_id) for each in alone]):
        model.zero_grad()
        loss = sum(model(**batch).loss for batch in batches) / len(batches)
        loss.backward()
        found.append((loss.item(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-5)
    for ours, expected in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)  # sums in another order


def test_one_label_for_each_class_is_not_taken_for_one_a_token():
    batch = pad_rows([{"input_ids": [2, 3], "labels": [1.0, 0.0]}, {"input_ids": [2, 7, 3], "labels": [0.0, 1.0]}], 0)
    assert batch["labels"].tolist() == [[1.0, 0.0], [0.0, 1.0]] and batch["input_ids"].shape == (2, 3)
