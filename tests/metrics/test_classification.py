"""Scores of classifiers equal those of scikit-learn and scipy, and are 0 where those are undefined."""

import warnings

import numpy as np
import pytest

from electra_plus.metrics.classification import (
    accuracy,
    f1,
    matthews_correlation,
    multilabel_accuracy,
    multilabel_f1,
    pearson_correlation,
    spearman_correlation,
)


@pytest.mark.parametrize("num_examples", [2, 63, 100])
def test_scores_equal_those_of_scikit_learn(num_examples):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(num_examples)
    labels = rng.integers(0, 2, num_examples)
    predictions = np.where(rng.random(num_examples) < 0.7, labels, 1 - labels)
    assert accuracy(predictions, labels) == pytest.approx(metrics.accuracy_score(labels, predictions))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns where a score is undefined
        assert f1(predictions, labels) == pytest.approx(metrics.f1_score(labels, predictions))
        assert matthews_correlation(predictions, labels) == pytest.approx(
            metrics.matthews_corrcoef(labels, predictions)
        )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("num_classes", [2, 3, 7])
@pytest.mark.parametrize(
    "num_examples", [1, 4, 63, 100]
)  # with 4 examples some classes are predicted and never a label
def test_scores_of_many_classes_equal_those_of_scikit_learn(num_examples, num_classes):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(num_examples)
    labels = rng.integers(0, num_classes, num_examples)
    predictions = np.where(rng.random(num_examples) < 0.6, labels, rng.integers(0, num_classes, num_examples))
    for average in ("macro", "weighted", "micro"):
        expected = metrics.f1_score(labels, predictions, average=average, zero_division=0)
        assert f1(predictions, labels, average) == pytest.approx(expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert matthews_correlation(predictions, labels) == pytest.approx(
            metrics.matthews_corrcoef(labels, predictions)
        )


def test_f1_of_two_classes_may_score_either():
    assert f1([2, 2, 5], [2, 5, 5], pos_label=5) == pytest.approx(2 / 3)
    assert f1([0, 0, 1], [0, 1, 1], pos_label=0) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="needs two classes, got 3. Choose 'macro'"):
        f1([0, 1, 2], [0, 1, 2])
    with pytest.raises(ValueError, match="`average` must be one of binary, macro"):
        f1([0, 1], [0, 1], average="samples")


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])  # 0: no label applies anywhere
@pytest.mark.parametrize("shape", [(1, 1), (63, 5), (100, 3)])
def test_multilabel_scores_equal_those_of_scikit_learn(shape, rate):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(shape[0])
    labels = (rng.random(shape) < rate).astype(int)
    predictions = np.where(rng.random(shape) < 0.8, labels, 1 - labels)
    assert multilabel_accuracy(predictions, labels) == pytest.approx(metrics.accuracy_score(labels, predictions))
    if shape[1] == 1:  # scikit-learn takes one column for two classes
        labels, predictions = np.pad(labels, ((0, 0), (0, 1))), np.pad(predictions, ((0, 0), (0, 1)))
    for average in ("micro", "macro", "weighted", "samples"):
        expected = metrics.f1_score(labels, predictions, average=average, zero_division=0)
        assert multilabel_f1(predictions, labels, average) == pytest.approx(expected)


def test_multilabel_scores_refuse_what_is_no_label():
    with pytest.raises(ValueError, match=r"must hold 0 and 1, got \[0.0, 0.3, 1.0\]. Apply a threshold"):
        multilabel_f1([[0.3, 1.0]], [[0, 1]])
    with pytest.raises(ValueError, match="rows that differ in length"):
        multilabel_accuracy([[0, 1], [1]], [[0, 1], [1]])
    with pytest.raises(ValueError, match=r"`\(num_examples, num_labels\)`"):
        multilabel_accuracy([0, 1], [0, 1])
    with pytest.raises(ValueError, match="`average` must be one of micro"):
        multilabel_f1([[0, 1]], [[0, 1]], average="binary")


@pytest.mark.parametrize("num_examples", [2, 63, 100])
def test_linear_correlation_equals_that_of_scipy(num_examples):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(num_examples)
    labels = rng.normal(size=num_examples)
    predictions = labels + rng.normal(size=num_examples)
    expected = stats.pearsonr(predictions, labels).statistic
    assert pearson_correlation(predictions, labels) == pytest.approx(expected)


@pytest.mark.parametrize("num_examples", [3, 63, 100])
def test_rank_correlation_with_ties_equals_that_of_scipy(num_examples):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(num_examples)
    labels = rng.integers(0, 6, num_examples)  # six values: many ties
    predictions = labels + rng.normal(size=num_examples).round(1)
    expected = stats.spearmanr(predictions, labels).statistic
    assert spearman_correlation(predictions, labels) == pytest.approx(expected)


def test_answer_that_never_changes_scores_zero_in_correlations():
    labels = [0, 1, 1, 0]
    assert matthews_correlation([1, 1, 1, 1], labels) == 0.0
    assert spearman_correlation([0.1, 0.1, 0.1, 0.1], labels) == 0.0
    assert pearson_correlation([0.1, 0.1, 0.1, 0.1], labels) == 0.0
    assert f1([0, 0], [0, 0]) == 0.0


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"got \(2,\) and \(3,\)"):
        accuracy([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="at least one example"):
        f1([], [])
