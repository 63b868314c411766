"""Scores. They read numbers and texts and know nothing of models."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from electra_plus.metrics.evaluate_metrics import OfflineMetric


def load_metric(name: str, **config) -> "OfflineMetric":
    r"""
    Return a metric of the library `evaluate` without a network; it stands where `evaluate.load(name)` stood.

    Args:
        name (`str`):
            `accuracy`, `f1`, `matthews_correlation`, `pearsonr`, `spearmanr`, `seqeval`, `squad`, `squad_v2`, `cmrc2018`,
            `sacrebleu`, `chrf` or `replaced_token_detection`.
        config:
            `config_name="multilabel"` for `accuracy` and `f1`; defaults for the options of `compute`, for instance
            `average="macro"`; `experiment_id`, `num_process`, `process_id`, `cache_dir` if several processes add examples.

    Returns:
        [`~evaluate.Metric`]: With `add_batch`, `add` and `compute`. `evaluate.combine` and `evaluate.evaluator` take it.

    Raises:
        ValueError: There is no such metric or option.
        ImportError: `sacrebleu` or `chrf` without the extra `metrics`.

    Example:

    >>> metric = load_metric("f1", average="macro")
    >>> metric.add_batch(predictions=[0, 2], references=[0, 1])
    >>> metric.add_batch(predictions=[2], references=[2])
    >>> metric.compute()  # mean of 1, 0 and 2/3
    {'f1': 0.5555555555555555}
    """
    from electra_plus.metrics.evaluate_metrics import METRICS

    if name not in METRICS:
        raise ValueError(f"`name` must be one of {', '.join(METRICS)}, got {name!r}.")
    return METRICS[name](**config)
