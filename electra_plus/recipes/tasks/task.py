"""What a task is: from examples to rows for a model, from its scores to predictions, and how these are judged."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import ModelOutput

from electra_plus.data.example_files import Row
from electra_plus.recipes.evaluation.loading import quiet
from electra_plus.registration import load_model_classes

LOWER_IS_BETTER = ("loss", "mean_squared_error", "perplexity")


@dataclass
class Encoded:
    """
    Examples as rows for a model.

    Args:
        rows (`list[dict]`): `input_ids` and the like, without padding. An example may give several, in its order.
        notes (`list`): What [`Task.decode`] has to know about each row, such as the number of its example.
        remarks (`list[str]`, *optional*): What the user should hear, such as how much was cut off.
    """

    rows: list[dict[str, Any]]
    notes: list[Any]
    remarks: list[str] = field(default_factory=list)


@dataclass
class Task:
    r"""
    Base of the tasks. A new one is a class that fills in the methods below, and a row in [`electra_plus.recipes.tasks.TASKS`].

    The fields of the dataclass are the task's options, which the user may set by their names. What is learned from the training
    rows (names of classes and the like) goes into the model's configuration and is read from there by [`read_config`].

    Args:
        max_length (`int`, *optional*): Tokens of a row. `None` takes `default_length`, or what the model can read if that is less.

    Attributes:
        name (`str`): On the command line, and key of [`electra_plus.data.task_columns.TASK_COLUMNS`].
        model_class, auto_class (`str`): Of this package, and of transformers.
        head (`tuple[str, ...]`): How names of weights begin that are new where a pretrained model is taken.
        pipeline (`str` or `None`): Name for `pipeline`, and on model cards.
        own_pipeline (`str` or `None`): Pipeline of this package that a folder may carry; `None` where that of transformers does.
        metrics (`tuple[str, ...]`): What [`judge`] gives. The best checkpoint and the best seed are chosen by the first.
        training (`dict`): Training arguments that differ from those of other tasks.
        default_length (`int`): Of `max_length`.
        packs (`bool`): Whether short rows share one in training.
        writes (`bool`): Whether predictions are written token by token, by [`write`], instead of decoded from scores.
        in_float32 (`bool`): Whether predictions are made in float32 where training is in bfloat16, which has two or three digits.
    """

    max_length: int | None = None

    name: ClassVar[str]
    model_class: ClassVar[str]
    auto_class: ClassVar[str]
    head: ClassVar[tuple[str, ...]]
    pipeline: ClassVar[str | None] = None
    own_pipeline: ClassVar[str | None] = None
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    training: ClassVar[dict[str, Any]] = {}
    default_length: ClassVar[int] = 128
    packs: ClassVar[bool] = True
    writes: ClassVar[bool] = False
    in_float32: ClassVar[bool] = False

    # ---- what is learned from the rows, and kept in the configuration ----

    def learn(self, examples: Sequence[Row]) -> None:
        """Read what the labels are from all rows that may be trained on."""

    def check(self, examples: Sequence[Row]) -> None:
        """Raise a ValueError, with file and row, for an example that cannot be scored, such as one with an unknown label."""

    def config_fields(self) -> dict[str, Any]:
        """Return what the configuration must hold."""
        return {}

    def read_config(self, config: PretrainedConfig) -> None:
        """Take from a fine-tuned model's configuration what [`learn`] would have found."""

    def load(
        self, checkpoint: str, tokenizer: PreTrainedTokenizerBase, fields: dict[str, Any]
    ) -> tuple[PreTrainedModel, list[str]]:
        """Return the model to train and the names of its weights that the checkpoint lacks; arguments as for [`load_head`]."""
        return load_head(self.model_class, checkpoint, {**self.config_fields(), **fields})

    # ---- rows ----

    def encode(self, examples: Sequence[Row], tokenizer: PreTrainedTokenizerBase, with_targets: bool = True) -> Encoded:
        """Return rows for the model, in the order of the examples; `max_length` has been set."""
        raise NotImplementedError

    def pad(self, rows: Sequence[dict[str, Any]], pad_token_id: int) -> dict[str, Tensor]:
        """Return rows as a batch for the model."""
        return pad_rows(rows, pad_token_id)

    def class_weights(self, given: Sequence[str | float], rows: Sequence[dict[str, Any]]) -> Tensor:
        """Return one weight for each class; see [`weights_of_classes`]."""
        raise ValueError(f"`class_weights` is for text-classification and token-classification, not {self.name}.")

    def after_training(self, model: PreTrainedModel) -> None:
        """Change a model that is about to be saved, so that it stands on its own."""

    # ---- predictions ----

    def scores_of(self, outputs: ModelOutput) -> Tensor:
        """Return what a batch's predictions are made from, a row first."""
        return outputs["logits"]

    def decode(self, scores: Sequence[np.ndarray], encoded: Encoded, examples: Sequence[Row]) -> list[dict[str, Any]]:
        """
        Return a prediction for each example, in their order: `prediction`, and whatever says how sure it is.

        Args:
            scores (`Sequence[np.ndarray]`): Of each row, perhaps with padding behind its tokens.
            encoded ([`Encoded`]): The rows.
            examples (`Sequence[Row]`): What they came from.
        """
        raise NotImplementedError

    def write(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        examples: Sequence[Row],
        on_done: Callable[[int], Any] | None = None,
    ) -> list[dict[str, Any]]:
        """
        Return a prediction for each example, in their order, where `writes` is true.

        Args:
            model, tokenizer: Of one folder.
            examples (`Sequence[Row]`): What to go on from.
            on_done (`Callable`, *optional*): Gets the number of examples finished, again and again.
        """
        raise NotImplementedError

    def judge_loss(self, loss: float) -> dict[str, float] | None:
        """Return the scores where the mean loss (nats) says it all, so that no predictions are needed; else `None`."""
        return None

    def judge(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Row]) -> dict[str, float]:
        """Return the scores by the names in `metrics`."""
        raise NotImplementedError

    # ---- options ----

    def options(self) -> dict[str, Any]:
        """Return the options by name, as a fine-tuned model's folder keeps them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def make_task(task_class: type[Task], options: dict[str, Any]) -> Task:
    """
    Return a task with options.

    Raises:
        ValueError: An option that the task does not have.
    """
    known = [field.name for field in dataclasses.fields(task_class)]
    for name in options:
        if name not in known:
            raise ValueError(f"`{name}` is no option of {task_class.name}, which has {known}. Leave it out.")
    return task_class(**options)


def load_head(class_name: str, checkpoint: str, fields: dict[str, Any]) -> tuple[PreTrainedModel, list[str]]:
    """
    Open a checkpoint under a class of this package, in float32.

    Args:
        class_name (`str`): Of the table of heads.
        checkpoint (`str`): Folder or Hub name.
        fields (`dict`): Of the configuration, instead of the checkpoint's.

    Returns:
        `tuple`: the model, and the names of weights that are new because the checkpoint lacks them or has them in another shape.
    """
    with quiet():  # a head is new, and meant to be
        model, info = load_model_classes()[class_name].from_pretrained(
            checkpoint, dtype=torch.float32, ignore_mismatched_sizes=True, output_loading_info=True, **fields
        )
    for name in ("auto_map", "custom_pipelines"):  # they name files of the checkpoint's folder, which do not come along
        vars(model.config).pop(name, None)
    other_shape = [key[0] if isinstance(key, tuple) else key for key in info["mismatched_keys"]]
    return model, sorted([*info["missing_keys"], *other_shape])


def row_length(row: dict[str, Any]) -> int:
    """Return the tokens of a row, of all choices together where it holds several."""
    ids = row["input_ids"]
    return sum(map(len, ids)) if ids and isinstance(ids[0], list) else len(ids)


def pad_rows(rows: Sequence[dict[str, Any]], pad_token_id: int) -> dict[str, Tensor]:
    r"""
    Pad rows of tokens, or of choices of tokens, to the longest; numbers stay numbers.

    Transformers' own collators for choices take the labels out of the rows, which then lack them in the second epoch.

    Example:

    >>> batch = pad_rows([{"input_ids": [2, 7, 3], "labels": 1}, {"input_ids": [2, 3], "labels": 0}], pad_token_id=0)
    >>> batch["input_ids"].tolist(), batch["attention_mask"].tolist(), batch["labels"].tolist()
    ([[2, 7, 3], [2, 3, 0]], [[1, 1, 1], [1, 1, 0]], [1, 0])
    """
    if isinstance(rows[0]["input_ids"][0], list):
        tokens = [name for name, value in rows[0].items() if isinstance(value, list)]
        choices = [
            {name: row[name][index] for name in tokens} for row in rows for index in range(len(row["input_ids"]))
        ]
        padded = pad_rows(choices, pad_token_id)
        batch = {name: tensor.view(len(rows), -1, tensor.shape[-1]) for name, tensor in padded.items()}
        return batch | {name: torch.tensor([row[name] for row in rows]) for name in rows[0] if name not in tokens}
    width = max(len(row["input_ids"]) for row in rows)
    fillers = {"input_ids": pad_token_id, "labels": -100}
    batch = {}
    for name, value in rows[0].items():
        values = [row[name] for row in rows]
        if isinstance(value, list) and not isinstance(
            value[0], float
        ):  # of tokens; one float for each label is no such list
            values = [[*items, *[fillers.get(name, 0)] * (width - len(items))] for items in values]
        batch[name] = torch.tensor(values)
    batch["attention_mask"] = torch.tensor(
        [[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows]
    )
    return batch


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis, in float64."""
    scores = scores.astype(np.float64)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def weights_of_classes(given: Sequence[str | float], counts: np.ndarray, names: Sequence[str]) -> Tensor:
    r"""
    Return what each class's loss is multiplied by; the mean over the training labels is 1, so the learning rate keeps its sense.

    Args:
        given (`Sequence`): `["balanced"]`, which weighs every class alike however rare it is, or a number > 0 for each class.
        counts (`np.ndarray` of shape `(num_classes,)`): Labels of each class in the training rows.
        names (`Sequence[str]`): Of the classes, in the order of the numbers.

    Example:

    >>> weights_of_classes(["balanced"], np.array([30, 10]), ["O", "B-name"])
    tensor([0.6667, 2.0000])
    """
    if list(given) == ["balanced"]:
        weights = 1 / np.maximum(counts, 1)
    else:
        try:
            weights = np.array([float(weight) for weight in given])
        except ValueError:
            weights = np.array([])
        if len(weights) != len(names) or not (weights > 0).all():
            raise ValueError(
                f"`class_weights` must be balanced, or a number above 0 for each of the {len(names)} classes {list(names)}, got "
                f"{' '.join(map(str, given))}."
            )
    return torch.tensor(weights * counts.sum() / (weights * counts).sum(), dtype=torch.float32)


def weighted_loss(weights: Tensor) -> Callable[..., Tensor]:
    """Return a `compute_loss_func` for `Trainer`: cross-entropy of classes with a weight each, -100 ignored."""

    def loss(outputs: ModelOutput, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        logits = outputs["logits"].float()
        each = weights.to(logits.device)
        flat, labels = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
        if num_items_in_batch is None:
            return torch.nn.functional.cross_entropy(flat, labels, weight=each)
        # over all batches of the step; the weights' mean is 1, so the number of labels is the sum of their weights
        total = torch.nn.functional.cross_entropy(flat, labels, weight=each, reduction="sum")
        return total / num_items_in_batch

    return loss
