import pytest
import torch

from electra_plus.metrics.detection import DetectionMetrics, compute_pretraining_metrics, detection_scores


def test_scores_of_five_tokens_worked_by_hand():
    logits = torch.tensor([[3.0, -2.0, 1.0, -1.0, 9.0, 0.5]])
    labels = torch.tensor([[1, 0, 0, 1, -100, 0]])
    scores = detection_scores(logits, labels)
    # predicted replaced: 3.0 (right), 1.0 and 0.5 (wrong); missed: -1.0
    assert scores["accuracy"] == pytest.approx(2 / 5)
    assert scores["precision"] == pytest.approx(1 / 3)
    assert scores["recall"] == pytest.approx(1 / 2)
    assert scores["replaced_rate"] == pytest.approx(2 / 5)
    # pairs (replaced, original): 3.0 beats all three, -1.0 beats one of three
    assert scores["auc"] == pytest.approx(4 / 6)


def test_scores_equal_scikit_learn():
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    rng = torch.Generator().manual_seed(0)
    labels = (torch.rand(5000, generator=rng) < 0.15).long()
    logits = torch.randn(5000, generator=rng) + labels - 1
    scores = detection_scores(logits, labels)
    predicted = (logits > 0).long()
    assert scores["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(labels, logits), abs=1e-3)
    assert scores["precision"] == pytest.approx(sklearn_metrics.precision_score(labels, predicted))
    assert scores["recall"] == pytest.approx(sklearn_metrics.recall_score(labels, predicted))
    assert scores["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))


def test_batches_add_up():
    rng = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(4, 50, generator=rng), torch.randint(-1, 2, (4, 50), generator=rng)
    metrics = DetectionMetrics()
    for row in range(4):
        metrics.update(logits[row], labels[row])
    assert metrics.compute() == detection_scores(logits, labels)


def test_scores_without_a_replaced_token_are_defined():
    assert detection_scores(torch.tensor([-1.0, 2.0]), torch.tensor([0, 0])) == {
        "accuracy": 0.5, "precision": 0.0, "recall": 0.0, "auc": 0.5, "replaced_rate": 0.0
    }  # fmt: skip
    with pytest.raises(ValueError, match="at least one batch"):
        DetectionMetrics().compute()


def test_trainer_metrics_read_the_models_output_order():
    import numpy as np
    from transformers import EvalPrediction

    predictions = (np.array([[2.0, -2.0]]), np.array([[1, 0]]), np.array([3.0, 5.0]), np.array([0.5]), np.array([0.25]))
    scores = compute_pretraining_metrics(EvalPrediction(predictions=predictions, label_ids=None))
    assert scores["auc"] == 1.0
    assert scores["generator_loss"] == 4.0
    assert scores["generator_accuracy"] == 0.25
