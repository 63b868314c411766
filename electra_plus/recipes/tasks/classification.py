"""Classes, several labels, or a number, for a text or a pair of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from electra_plus.data.example_files import Row
from electra_plus.data.examples import check_labels, label_names, label_range
from electra_plus.metrics import load_metric
from electra_plus.recipes.tasks.task import Encoded, Task, probabilities, weights_of_classes


def names_of_classes(config: PretrainedConfig) -> list[str]:
    """Return the classes as rows call them; numbers where the configuration has none but transformers' `LABEL_0`."""
    names = [config.id2label[index] for index in range(config.num_labels)]
    unnamed = all(name == f"LABEL_{index}" for index, name in enumerate(names))
    return [str(index) for index in range(len(names))] if unnamed else names


@dataclass
class TextTask(Task):
    """Base of what answers once for a text or a pair of texts, of which the longer one is cut."""

    model_class: ClassVar[str] = "ElectraPlusForSequenceClassification"
    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    head: ClassVar[tuple[str, ...]] = ("classifier.",)
    pipeline: ClassVar[str | None] = "text-classification"
    problem_type: ClassVar[str]

    def target(self, example: Row) -> Any:
        """Return what the model's `labels` are for an example."""
        raise NotImplementedError

    def encode(self, examples: Sequence[Row], tokenizer: PreTrainedTokenizerBase, with_targets: bool = True) -> Encoded:
        pair = "text_pair" in examples[0]
        names = ("text", "text_pair") if pair else ("text",)

        def tokens_of(some: Sequence[Row], **cut) -> Any:
            return tokenizer(*([example[name] for example in some] for name in names), verbose=False, **cut)

        encoded = tokens_of(examples)
        long = [index for index, ids in enumerate(encoded["input_ids"]) if len(ids) > self.max_length]
        remarks = []
        if long:
            num_cut = sum(len(encoded["input_ids"][index]) - self.max_length for index in long)
            remarks.append(
                f"{len(long):,} of {len(examples):,} rows are longer than {self.max_length} tokens and were cut, by {num_cut:,} "
                "tokens in all (--max-length)"
            )
            short = tokens_of([examples[index] for index in long], truncation=True, max_length=self.max_length)
            for name, values in short.items():
                for index, value in zip(long, values, strict=True):
                    encoded[name][index] = value
        # a single text is segment 0, as models take it without being told
        kept = ["input_ids", "token_type_ids"] if pair and "token_type_ids" in encoded else ["input_ids"]
        rows = [{name: encoded[name][index] for name in kept} for index in range(len(examples))]
        if with_targets:
            rows = [{**row, "labels": self.target(example)} for row, example in zip(rows, examples, strict=True)]
        return Encoded(rows, list(range(len(rows))), remarks)

    def in_order(self, scores: Sequence[np.ndarray], encoded: Encoded) -> np.ndarray:
        """Return the scores `(num_examples, num_labels)` in the order of the examples."""
        array = np.asarray(scores, dtype=np.float32).reshape(len(encoded.notes), -1)
        return array[np.argsort(encoded.notes)]


@dataclass
class Classification(TextTask):
    """One of several classes, such as a sentiment, a topic, or whether two sentences mean the same."""

    name: ClassVar[str] = "text-classification"
    own_pipeline: ClassVar[str | None] = "long-text-classification"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "f1", "f1_macro", "matthews_correlation")
    problem_type: ClassVar[str] = "single_label_classification"

    def learn(self, examples: Sequence[Row]) -> None:
        self.names = label_names(examples)
        self.ids = {name: index for index, name in enumerate(self.names)}
        found = {str(example["label"]) for example in examples}
        if len(found) < 2:
            raise ValueError(
                f"{examples[0].where}: `label` is {next(iter(found))!r} here and in all {len(examples)} rows for training. "
                "Give rows of two classes at least."
            )

    def check(self, examples: Sequence[Row]) -> None:
        check_labels(examples, self.names)

    def config_fields(self) -> dict[str, Any]:
        labels = {"id2label": dict(enumerate(self.names)), "label2id": self.ids}
        return {"num_labels": len(self.names), "problem_type": self.problem_type, **labels}

    def read_config(self, config: PretrainedConfig) -> None:
        self.names = names_of_classes(config)
        self.ids = {name: index for index, name in enumerate(self.names)}

    def target(self, example: Row) -> int:
        return self.ids[str(example["label"])]

    def class_weights(self, given: Sequence[str | float], rows: Sequence[dict[str, Any]]) -> Tensor:
        counts = np.bincount([row["labels"] for row in rows], minlength=len(self.names))
        return weights_of_classes(given, counts, self.names)

    def decode(self, scores: Sequence[np.ndarray], encoded: Encoded, examples: Sequence[Row]) -> list[dict[str, Any]]:
        chances = probabilities(self.in_order(scores, encoded))
        return [{"prediction": self.names[row.argmax()], "probabilities": _rounded(self.names, row)} for row in chances]

    def judge(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Row]) -> dict[str, float]:
        pairs = {
            "predictions": [self.ids[prediction["prediction"]] for prediction in predictions],
            "references": [self.ids[str(example["label"])] for example in examples],
        }
        found = load_metric("accuracy").compute(**pairs)
        if len(self.names) == 2:  # of the second class, as GLUE has it
            found |= load_metric("f1").compute(**pairs)
        found["f1_macro"] = load_metric("f1", average="macro").compute(**pairs)["f1"]
        return found | load_metric("matthews_correlation").compute(**pairs)


@dataclass
class MultiLabelClassification(TextTask):
    """
    Any number of labels, none included.

    Args:
        threshold (`float`, *optional*, defaults to 0.5): Probability from which a label is predicted.
    """

    threshold: float = 0.5

    name: ClassVar[str] = "multi-label-classification"
    problem_type: ClassVar[str] = "multi_label_classification"
    own_pipeline: ClassVar[str | None] = "long-text-classification"
    metrics: ClassVar[tuple[str, ...]] = ("f1_micro", "f1_macro", "accuracy")

    def learn(self, examples: Sequence[Row]) -> None:
        self.names = label_names(examples, "labels")
        if not self.names:
            raise ValueError(
                f"{examples[0].where}: `labels` is empty, here and in all {len(examples)} rows. Give some."
            )

    def check(self, examples: Sequence[Row]) -> None:
        check_labels(examples, self.names, "labels")

    def config_fields(self) -> dict[str, Any]:
        labels = {"id2label": dict(enumerate(self.names)), "label2id": {name: i for i, name in enumerate(self.names)}}
        return {"num_labels": len(self.names), "problem_type": self.problem_type, **labels}

    def read_config(self, config: PretrainedConfig) -> None:
        self.names = names_of_classes(config)

    def target(self, example: Row) -> list[float]:
        return [float(name in example["labels"]) for name in self.names]

    def decode(self, scores: Sequence[np.ndarray], encoded: Encoded, examples: Sequence[Row]) -> list[dict[str, Any]]:
        chances = 1 / (1 + np.exp(-self.in_order(scores, encoded).astype(np.float64)))
        return [
            {
                "prediction": [name for name, chance in zip(self.names, row, strict=True) if chance >= self.threshold],
                "probabilities": _rounded(self.names, row),
            }
            for row in chances
        ]

    def judge(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Row]) -> dict[str, float]:
        pairs = {
            "predictions": [[float(name in one["prediction"]) for name in self.names] for one in predictions],
            "references": [self.target(example) for example in examples],
        }
        found = {
            f"f1_{average}": load_metric("f1", config_name="multilabel", average=average).compute(**pairs)["f1"]
            for average in ("micro", "macro")
        }
        return found | load_metric("accuracy", config_name="multilabel").compute(**pairs)


@dataclass
class Regression(TextTask):
    """
    A number, such as a rating or how alike two sentences are.

    The model is trained on numbers of mean 0 and deviation 1, whatever theirs are; the last layer undoes that when it is saved.
    """

    name: ClassVar[str] = "regression"
    problem_type: ClassVar[str] = "regression"
    metrics: ClassVar[tuple[str, ...]] = ("spearmanr", "pearsonr", "mean_squared_error")
    training: ClassVar[dict[str, Any]] = {"num_train_epochs": 10}  # the paper's for STS-B
    in_float32: ClassVar[bool] = True

    def __post_init__(self):
        self.center, self.spread = 0.0, 1.0

    def learn(self, examples: Sequence[Row]) -> None:
        label_range(examples)
        numbers = np.array([example["label"] for example in examples])
        self.center, self.spread = float(numbers.mean()), float(numbers.std())

    def config_fields(self) -> dict[str, Any]:
        return {"num_labels": 1, "problem_type": self.problem_type}

    def target(self, example: Row) -> float:
        return (example["label"] - self.center) / self.spread

    def after_training(self, model: PreTrainedModel) -> None:
        layer = model.classifier.out_proj
        layer.weight.data *= self.spread
        layer.bias.data = layer.bias.data * self.spread + self.center
        self.center, self.spread = 0.0, 1.0

    def decode(self, scores: Sequence[np.ndarray], encoded: Encoded, examples: Sequence[Row]) -> list[dict[str, Any]]:
        numbers = self.in_order(scores, encoded)[:, 0].astype(np.float64) * self.spread + self.center
        return [{"prediction": round(number, 6)} for number in numbers.tolist()]

    def judge(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Row]) -> dict[str, float]:
        pairs = {
            "predictions": [prediction["prediction"] for prediction in predictions],
            "references": [example["label"] for example in examples],
        }
        found = load_metric("spearmanr").compute(**pairs) | load_metric("pearsonr").compute(**pairs)
        differences = np.subtract(pairs["predictions"], pairs["references"])
        return found | {"mean_squared_error": float((differences**2).mean())}


def _rounded(names: Sequence[str], chances: np.ndarray) -> dict[str, float]:
    return {name: round(chance, 6) for name, chance in zip(names, chances.tolist(), strict=True)}
