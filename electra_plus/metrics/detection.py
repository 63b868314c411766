"""Scores of replaced token detection, those that the original code logs: accuracy, precision, recall, AUC, and the rest."""

import torch
from torch import Tensor

# Histogram of sigmoid scores for the AUC; 2,000 bins keep its error below 0.001 (the original's tf.metrics.auc has 200).
NUM_BINS = 2000


class DetectionMetrics:
    r"""
    Running counts over batches of detector output, in constant memory and without waiting for the device.

    Precision and recall are of the class "replaced". A score whose denominator is zero is 0, the AUC then 0.5.

    Example:

    ```python
    >>> import torch
    >>> metrics = DetectionMetrics()
    >>> metrics.update(torch.tensor([[2.0, -1.0, 3.0, -2.0]]), torch.tensor([[1, 0, 0, -100]]))
    >>> scores = metrics.compute()
    >>> round(scores["accuracy"], 3), scores["precision"], scores["recall"], scores["auc"]
    (0.667, 0.5, 1.0, 0.5)

    ```
    """

    def __init__(self):
        self.histogram: Tensor | None = None  # (2, NUM_BINS): labels by score
        self.confusion: Tensor | None = None  # (2, 2): labels by prediction

    @torch.no_grad()
    def update(self, logits: Tensor, labels: Tensor) -> None:
        """
        Add a batch.

        Args:
            logits (`torch.FloatTensor` of any shape): > 0 predicts "replaced".
            labels (`torch.LongTensor` of that shape): 1 replaced, 0 original, anything else ignored.
        """
        logits, labels = logits.detach().float().flatten(), labels.flatten()
        counted = ((labels == 0) | (labels == 1)).long()
        labels = labels * counted
        bins = (logits.sigmoid() * NUM_BINS).long().clamp(0, NUM_BINS - 1)  # NaN becomes the lowest integer
        zeros = torch.zeros(2 * NUM_BINS, dtype=torch.long, device=logits.device)
        histogram = zeros.scatter_add(0, labels * NUM_BINS + bins, counted).view(2, NUM_BINS)
        zeros = torch.zeros(4, dtype=torch.long, device=logits.device)
        confusion = zeros.scatter_add(0, labels * 2 + (logits > 0).long(), counted).view(2, 2)
        self.histogram = histogram if self.histogram is None else self.histogram + histogram
        self.confusion = confusion if self.confusion is None else self.confusion + confusion

    def compute(self) -> dict[str, float]:
        """Return `accuracy`, `precision`, `recall`, `auc` and `replaced_rate` (fraction of tokens replaced)."""
        if self.confusion is None:
            raise ValueError("`compute` needs at least one batch. Call `update` first.")
        (true_negative, false_positive), (false_negative, true_positive) = self.confusion.tolist()
        total = true_negative + false_positive + false_negative + true_positive
        return {
            "accuracy": _ratio(true_negative + true_positive, total),
            "precision": _ratio(true_positive, true_positive + false_positive),
            "recall": _ratio(true_positive, true_positive + false_negative),
            "auc": _auc(self.histogram.cpu()),
            "replaced_rate": _ratio(true_positive + false_negative, total),
        }


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0


def _auc(histogram: Tensor) -> float:
    """Chance that a replaced token scores higher than an original one, ties counting half (Mann-Whitney U)."""
    originals, replaced = histogram.double()
    pairs = originals.sum() * replaced.sum()
    if pairs == 0:
        return 0.5
    originals_below = originals.cumsum(0) - originals
    return ((replaced * (originals_below + originals / 2)).sum() / pairs).item()


def detection_scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the scores of one set of logits and labels; see [`DetectionMetrics`]."""
    metrics = DetectionMetrics()
    metrics.update(logits, labels)
    return metrics.compute()


def compute_pretraining_metrics(prediction) -> dict[str, float]:
    r"""
    `compute_metrics` for the stock `Trainer` with [`ElectraPlusForPreTraining`].

    Args:
        prediction ([`~transformers.EvalPrediction`]): With `predictions = (logits, rtd_labels, generator_loss,
            discriminator_loss, generator_accuracy)`, the order of the model's output fields.

    Returns:
        `dict`: detection scores, mean losses in nats, and the generator's accuracy.
    """
    logits, rtd_labels, generator_loss, discriminator_loss, generator_accuracy = prediction.predictions[:5]
    return {
        **detection_scores(torch.as_tensor(logits), torch.as_tensor(rtd_labels)),
        "generator_loss": float(generator_loss.mean()),
        "discriminator_loss": float(discriminator_loss.mean()),
        "generator_accuracy": float(generator_accuracy.mean()),
    }
