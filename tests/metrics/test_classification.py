"""Scores of classifiers equal those of scikit-learn and scipy, and are 0 where those are undefined."""

import warnings

import numpy as np
import pytest

from electra_plus.metrics.classification import accuracy, f1, matthews_correlation, spearman_correlation


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
    assert f1([0, 0], [0, 0]) == 0.0


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"got \(2,\) and \(3,\)"):
        accuracy([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="at least one example"):
        f1([], [])
