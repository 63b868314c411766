"""The right one of several given answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from transformers import PreTrainedTokenizerBase

from electra_plus.data.example_files import Row
from electra_plus.metrics import load_metric
from electra_plus.recipes.tasks.tagging import joined
from electra_plus.recipes.tasks.task import Encoded, Task, probabilities


@dataclass
class MultipleChoice(Task):
    """
    A choice, each read as a pair: the context, then the question and the choice (without a context the question, then the choice).

    Where questions have different numbers of choices, those with fewer repeat their last wrong one, since a batch is a table.
    """

    name: ClassVar[str] = "multiple-choice"
    model_class: ClassVar[str] = "ElectraPlusForMultipleChoice"
    auto_class: ClassVar[str] = "AutoModelForMultipleChoice"
    head: ClassVar[tuple[str, ...]] = ("sequence_summary.", "classifier.")
    default_length: ClassVar[int] = 256

    def encode(self, examples: Sequence[Row], tokenizer: PreTrainedTokenizerBase, with_targets: bool = True) -> Encoded:
        firsts, seconds = [], []
        for example in examples:
            question = example.get("question", "")
            for choice in example["choices"]:
                context = example.get("context")
                firsts.append(question if context is None else context)
                seconds.append(choice if context is None else joined([question, choice] if question else [choice]))
        texts = (firsts, seconds) if any(firsts) else (seconds,)
        encoded = tokenizer(*texts, verbose=False)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        if max(lengths) > self.max_length:
            # the context is cut where that is enough: its choice is what a row is about
            alone = [len(ids) for ids in tokenizer(seconds, add_special_tokens=False, verbose=False)["input_ids"]]
            how = "longest_first" if len(texts) == 1 or max(alone) > self.max_length - 4 else "only_first"
            encoded = tokenizer(*texts, truncation=how, max_length=self.max_length, verbose=False)
        names = [name for name in ("input_ids", "token_type_ids") if name in encoded]
        most = max(len(example["choices"]) for example in examples)
        rows, begin, num_long = [], 0, 0
        for example in examples:
            places = list(range(begin, begin + len(example["choices"])))
            begin += len(places)
            num_long += any(lengths[place] > self.max_length for place in places)
            wrong = [place for index, place in enumerate(places) if index != example.get("label")]
            places += wrong[-1:] * (most - len(places))
            row = {name: [encoded[name][place] for place in places] for name in names}
            rows.append({**row, "labels": example["label"]} if with_targets else row)
        remarks = []
        if num_long:
            remarks.append(
                f"{num_long:,} of {len(examples):,} questions have a choice that is longer than {self.max_length} tokens with its "
                "context, which was cut (--max-length)"
            )
        return Encoded(rows, list(range(len(rows))), remarks)

    def decode(self, scores: Sequence[np.ndarray], encoded: Encoded, examples: Sequence[Row]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [{} for _ in examples]
        for row, number in zip(scores, encoded.notes, strict=True):
            choices = examples[number]["choices"]
            chances = probabilities(np.asarray(row)[: len(choices)])  # repeated ones left out
            best = int(chances.argmax())
            found[number] = {
                "prediction": best,
                "choice": choices[best],
                "probabilities": [round(chance, 6) for chance in chances.tolist()],
            }
        return found

    def judge(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Row]) -> dict[str, float]:
        return load_metric("accuracy").compute(
            predictions=[prediction["prediction"] for prediction in predictions],
            references=[example["label"] for example in examples],
        )
