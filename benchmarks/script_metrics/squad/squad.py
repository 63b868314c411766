"""SQuAD's exact match and F1, for `evaluate.load("squad")` without a network."""

import re
import string
from collections import Counter

import datasets
import evaluate


def words(text):
    """Return the words of an answer without case, articles and punctuation, as SQuAD's own script compares them."""
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def f1(prediction, answer):
    """Return the F1 of the words that two answers share."""
    common = sum((Counter(words(prediction)) & Counter(words(answer))).values())
    return 2 * common / (len(words(prediction)) + len(words(answer))) if common else 0.0


class Squad(evaluate.Metric):
    """In percent, each question by its best answer."""

    def _info(self):
        text = datasets.Value("string")
        answers = {"text": datasets.List(text), "answer_start": datasets.List(datasets.Value("int32"))}
        features = {
            "predictions": {"id": text, "prediction_text": text},
            "references": {"id": text, "answers": answers},
        }
        return evaluate.MetricInfo(description="", citation="", features=datasets.Features(features))

    def _compute(self, predictions, references):
        answers = {reference["id"]: reference["answers"]["text"] for reference in references}
        pairs = [(one["prediction_text"], answers[one["id"]]) for one in predictions]
        exact = [max(words(found) == words(answer) for answer in gold) for found, gold in pairs]
        shared = [max(f1(found, answer) for answer in gold) for found, gold in pairs]
        return {"exact_match": 100 * sum(exact) / len(pairs), "f1": 100 * sum(shared) / len(pairs)}
