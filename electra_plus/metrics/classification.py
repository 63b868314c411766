"""
Scores of classifiers and regressors on whole arrays: accuracy, F1, Matthews and Spearman correlation.

The library `evaluate` has them too, but fetches each from the Hub; these run without a network and without scikit-learn.
"""

import numpy as np
from numpy.typing import ArrayLike


def accuracy(predictions: ArrayLike, labels: ArrayLike) -> float:
    """Return the fraction of predictions that equal the labels; both of shape `(num_examples,)`."""
    predictions, labels = _pair(predictions, labels)
    return float((predictions == labels).mean())


def f1(predictions: ArrayLike, labels: ArrayLike) -> float:
    r"""
    Return the harmonic mean of precision and recall of class 1; 0 if there is no such label and no such prediction.

    Args:
        predictions, labels (arrays of shape `(num_examples,)`): Classes 0 and 1.

    Example:

    >>> f1([1, 1, 0, 0], [1, 0, 0, 1])
    0.5
    """
    predictions, labels = _pair(predictions, labels)
    found = int(((predictions == 1) & (labels == 1)).sum())
    either = int((predictions == 1).sum() + (labels == 1).sum())
    return 2 * found / either if either else 0.0


def matthews_correlation(predictions: ArrayLike, labels: ArrayLike) -> float:
    r"""
    Return Matthews' correlation of two classes, in [-1, 1]; 0 if either side has one class only.

    Args:
        predictions, labels (arrays of shape `(num_examples,)`): Classes 0 and 1.

    Example:

    >>> matthews_correlation([1, 0, 1, 0], [1, 0, 1, 0])
    1.0

    Source: Matthews 1975; it is the Pearson correlation of the two 0/1 variables.
    """
    return _pearson(*_pair(predictions, labels))


def spearman_correlation(predictions: ArrayLike, labels: ArrayLike) -> float:
    r"""
    Return Spearman's rank correlation, in [-1, 1], equal values sharing their mean rank; 0 if either side is constant.

    Args:
        predictions, labels (arrays of shape `(num_examples,)`): Any numbers.

    Example:

    >>> spearman_correlation([0.1, 0.2, 0.9], [1, 4, 5])
    1.0
    """
    predictions, labels = _pair(predictions, labels)
    return _pearson(_ranks(predictions), _ranks(labels))


def _pair(predictions: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if predictions.shape != labels.shape or predictions.ndim != 1 or not len(labels):
        raise ValueError(
            "`predictions` and `labels` must have one shape `(num_examples,)` with at least one example, "
            f"got {predictions.shape} and {labels.shape}."
        )
    return predictions, labels


def _pearson(first: np.ndarray, second: np.ndarray) -> float:
    if (first == first[0]).all() or (second == second[0]).all():
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    return float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum()))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[places]
