"""Scores of entities by the package seqeval, for `evaluate.load("seqeval")` without a network."""

import datasets
import evaluate
from seqeval import metrics


class Seqeval(evaluate.Metric):
    """Precision, recall and F1 over all entities, and the accuracy of tags."""

    def _info(self):
        tags = datasets.List(datasets.Value("string"))
        return evaluate.MetricInfo(
            description="", citation="", features=datasets.Features(predictions=tags, references=tags)
        )

    def _compute(self, predictions, references):
        return {
            "overall_precision": float(metrics.precision_score(references, predictions)),
            "overall_recall": float(metrics.recall_score(references, predictions)),
            "overall_f1": float(metrics.f1_score(references, predictions)),
            "overall_accuracy": float(metrics.accuracy_score(references, predictions)),
        }
