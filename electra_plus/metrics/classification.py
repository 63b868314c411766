"""
Scores of classifiers and regressors on whole arrays: accuracy, F1, Matthews, Pearson and Spearman correlation.

The library `evaluate` has them too, but fetches each from the Hub; these run without a network and without scikit-learn.
"""

import numpy as np
from numpy.typing import ArrayLike


def accuracy(predictions: ArrayLike, labels: ArrayLike) -> float:
    """Return the fraction of predictions that equal the labels; both of shape `(num_examples,)`."""
    predictions, labels = _pair(predictions, labels)
    return float((predictions == labels).mean())


def multilabel_accuracy(predictions: ArrayLike, labels: ArrayLike) -> float:
    r"""
    Return the fraction of examples whose labels are all right.

    Args:
        predictions, labels (arrays of shape `(num_examples, num_labels)`): 1 where a label applies, 0 elsewhere.

    Raises:
        ValueError: The shapes are wrong, or a value is neither 0 nor 1.

    Example:

    >>> multilabel_accuracy([[1, 0, 1], [0, 1, 0]], [[1, 0, 1], [0, 1, 1]])
    0.5
    """
    predictions, labels = _pair_of_zeros_and_ones(predictions, labels)
    return float((predictions == labels).all(axis=1).mean())


def f1(predictions: ArrayLike, labels: ArrayLike, average: str = "binary", pos_label: int = 1) -> float:
    r"""
    Return the harmonic mean of precision and recall; 0 for a class that is neither a label nor a prediction.

    Args:
        predictions, labels (arrays of shape `(num_examples,)`): Classes.
        average (`str`, *optional*, defaults to `"binary"`):
            `"binary"`: of the class `pos_label` alone. Over the classes that occur: `"macro"`, their mean; `"weighted"`,
            their mean weighted by their number of labels; `"micro"`, of the counts of all (equal to the accuracy).
        pos_label (`int`, *optional*, defaults to 1): The class that `"binary"` scores.

    Raises:
        ValueError: The shapes are wrong, there is no such average, or `"binary"` meets more than two classes.

    Example:

    >>> f1([1, 1, 0, 0], [1, 0, 0, 1])
    0.5
    >>> f1([0, 2, 2], [0, 1, 2], average="macro")  # 1, 0 and 2/3
    0.5555555555555555
    """
    predictions, labels = _pair(predictions, labels)
    _check_average(average, ("binary", "macro", "weighted", "micro"))
    classes = np.union1d(predictions, labels)
    if average == "binary":
        if len(classes) > 2:
            raise ValueError(
                f"`average='binary'` needs two classes, got {len(classes)}. Choose 'macro', 'weighted' or 'micro'."
            )
        return float(_f1_of_columns(predictions[:, None] == pos_label, labels[:, None] == pos_label)[0])
    return _average_f1(predictions[:, None] == classes, labels[:, None] == classes, average)


def multilabel_f1(predictions: ArrayLike, labels: ArrayLike, average: str = "micro") -> float:
    r"""
    Return the harmonic mean of precision and recall where an example may have several labels, or none.

    Args:
        predictions, labels (arrays of shape `(num_examples, num_labels)`): 1 where a label applies, 0 elsewhere.
        average (`str`, *optional*, defaults to `"micro"`):
            `"micro"`: of the counts of all labels. `"macro"`: mean over labels. `"weighted"`: that mean weighted by how
            often each label applies. `"samples"`: mean over examples. A label or example without any 1 counts as 0.

    Raises:
        ValueError: The shapes are wrong, a value is neither 0 nor 1, or there is no such average.

    Example:

    >>> multilabel_f1([[1, 0, 1], [0, 1, 0]], [[1, 0, 1], [0, 1, 1]], average="samples")  # 1 and 2/3
    0.8333333333333333
    """
    predictions, labels = _pair_of_zeros_and_ones(predictions, labels)
    _check_average(average, ("micro", "macro", "weighted", "samples"))
    if average == "samples":
        return float(_f1_of_columns(predictions.T, labels.T).mean())
    return _average_f1(predictions, labels, average)


def matthews_correlation(predictions: ArrayLike, labels: ArrayLike) -> float:
    r"""
    Return Matthews' correlation of two or more classes, in [-1, 1]; 0 if either side has one class only.

    Args:
        predictions, labels (arrays of shape `(num_examples,)`): Classes.

    Example:

    >>> matthews_correlation([1, 0, 1, 0], [1, 0, 1, 0])
    1.0

    Source: Matthews 1975, the Pearson correlation of two 0/1 variables; for more classes Gorodkin 2004, which sums the
    covariances of one such pair of variables for each class.
    """
    predictions, labels = _pair(predictions, labels)
    classes = np.union1d(predictions, labels)
    return _correlation(predictions[:, None] == classes, labels[:, None] == classes)


def pearson_correlation(predictions: ArrayLike, labels: ArrayLike) -> float:
    r"""
    Return Pearson's linear correlation, in [-1, 1]; 0 if either side is constant.

    Args:
        predictions, labels (arrays of shape `(num_examples,)`): Any numbers.

    Example:

    >>> round(pearson_correlation([1, 2, 3], [1, 2, 4]), 3)
    0.982
    """
    predictions, labels = _pair(predictions, labels)
    return _correlation(predictions[:, None], labels[:, None])


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
    return _correlation(_ranks(predictions)[:, None], _ranks(labels)[:, None])


def _pair(predictions: ArrayLike, labels: ArrayLike, num_axes: int = 1) -> tuple[np.ndarray, np.ndarray]:
    shape = "(num_examples,)" if num_axes == 1 else "(num_examples, num_labels)"
    try:
        predictions, labels = np.asarray(predictions), np.asarray(labels)
    except ValueError as error:
        raise ValueError(
            f"`predictions` and `labels` must have the shape `{shape}`, got rows that differ in length."
        ) from error
    if predictions.shape != labels.shape or predictions.ndim != num_axes or not labels.size:
        raise ValueError(
            f"`predictions` and `labels` must have one shape `{shape}` with at least one example, "
            f"got {predictions.shape} and {labels.shape}."
        )
    return predictions, labels


def _pair_of_zeros_and_ones(predictions: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The arrays of shape `(num_examples, num_labels)` as booleans."""
    predictions, labels = _pair(predictions, labels, num_axes=2)
    values = np.union1d(predictions, labels)
    if not np.isin(values, (0, 1)).all():
        raise ValueError(
            f"`predictions` and `labels` must hold 0 and 1, got {values[:4].tolist()}. Apply a threshold first."
        )
    return predictions == 1, labels == 1


def _check_average(average: str, known: tuple[str, ...]) -> None:
    if average not in known:
        raise ValueError(f"`average` must be one of {', '.join(known)}, got {average!r}.")


def _f1_of_columns(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """F1 of each column of two boolean arrays of shape `(num_examples, num_columns)`."""
    found = (predictions & labels).sum(axis=0)
    either = predictions.sum(axis=0) + labels.sum(axis=0)
    return 2 * found / np.maximum(either, 1)


def _average_f1(predictions: np.ndarray, labels: np.ndarray, average: str) -> float:
    if average == "micro":
        return float(_f1_of_columns(predictions.reshape(-1, 1), labels.reshape(-1, 1))[0])
    scores = _f1_of_columns(predictions, labels)
    if average == "macro":
        return float(scores.mean())
    num_labels = labels.sum(axis=0)
    return float((scores * num_labels).sum() / max(num_labels.sum(), 1))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Covariance summed over columns, divided by both deviations; arrays of shape `(num_examples, num_columns)`."""
    # asked first: rounding leaves the mean of equal numbers a little beside them
    if (first == first[0]).all() or (second == second[0]).all():
        return 0.0
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    return float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum()))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[places]
