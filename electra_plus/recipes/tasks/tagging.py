"""A tag for each word: entities in IOB2, parts of speech and the like."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from electra_plus.data.example_files import Row
from electra_plus.data.examples import check_labels, label_names
from electra_plus.data.tagged_tokens import CJK, has_scheme
from electra_plus.metrics import load_metric
from electra_plus.metrics.entities import entity_spans
from electra_plus.recipes.tasks.classification import names_of_classes
from electra_plus.recipes.tasks.task import Encoded, Task, probabilities, weights_of_classes

IGNORED = -100  # what the loss leaves out


@dataclass
class TokenClassification(Task):
    """
    Tags of words, each learned and read at the first token of its word.

    A sentence longer than `max_length` is read in pieces, so that every word gets a tag.
    """

    name: ClassVar[str] = "token-classification"
    model_class: ClassVar[str] = "ElectraPlusForTokenClassification"
    auto_class: ClassVar[str] = "AutoModelForTokenClassification"
    head: ClassVar[tuple[str, ...]] = ("classifier.",)
    pipeline: ClassVar[str | None] = "token-classification"

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("f1", "precision", "recall", "accuracy") if has_scheme(self.names) else ("accuracy",)

    def learn(self, examples: Sequence[Row]) -> None:
        self.names = label_names(examples, "tags")
        if "O" in self.names and len(self.names) == 1:
            raise ValueError(
                f"{examples[0].where}: `tags` is O for every word, here and in all {len(examples)} rows. Give some others."
            )
        self.ids = {name: index for index, name in enumerate(self.names)}

    def check(self, examples: Sequence[Row]) -> None:
        check_labels(examples, self.names, "tags")

    def config_fields(self) -> dict[str, Any]:
        return {"num_labels": len(self.names), "id2label": dict(enumerate(self.names)), "label2id": self.ids}

    def read_config(self, config: PretrainedConfig) -> None:
        self.names = names_of_classes(config)
        self.ids = {name: index for index, name in enumerate(self.names)}

    def class_weights(self, given: Sequence[str | float], rows: Sequence[dict[str, Any]]) -> Tensor:
        labels = np.concatenate([row["labels"] for row in rows])
        return weights_of_classes(given, np.bincount(labels[labels >= 0], minlength=len(self.names)), self.names)

    def encode(self, examples: Sequence[Row], tokenizer: PreTrainedTokenizerBase, with_targets: bool = True) -> Encoded:
        """Return rows, and for each the number of its example, of the words whose tags it tells, and of their tokens."""
        if not tokenizer.is_fast:
            raise ValueError("`tokenizer` must be a fast one: others do not say which word a token belongs to.")
        encoded = tokenizer(
            [example["tokens"] for example in examples],
            is_split_into_words=True,
            add_special_tokens=False,
            verbose=False,
        )
        room = self.max_length - 2
        rows, notes = [], []
        num_long = num_cut = 0
        for number, example in enumerate(examples):
            ids = encoded["input_ids"][number]
            words = [
                (word, [token for token, _ in tokens])
                for word, tokens in groupby(zip(ids, encoded.word_ids(number), strict=True), key=lambda pair: pair[1])
            ]
            pieces: list[list[tuple[int, list[int]]]] = [[]]
            length = 0
            for word, tokens in words:
                num_cut += len(tokens) > room
                tokens = tokens[:room]
                if length + len(tokens) > room:
                    pieces.append([])
                    length = 0
                pieces[-1].append((word, tokens))
                length += len(tokens)
            num_long += len(pieces) > 1
            for piece in pieces:
                row = {"input_ids": [tokenizer.cls_token_id]}
                labels, places = [IGNORED], []
                for word, tokens in piece:
                    places.append(len(labels))
                    label = self.ids[str(example["tags"][word])] if with_targets else IGNORED
                    labels += [label, *[IGNORED] * (len(tokens) - 1)]
                    row["input_ids"] += tokens
                row["input_ids"].append(tokenizer.sep_token_id)
                if with_targets:
                    row["labels"] = [*labels, IGNORED]
                rows.append(row)
                notes.append((number, [word for word, _ in piece], places))
        remarks = []
        if num_long:
            remarks.append(
                f"{num_long:,} of {len(examples):,} rows are longer than {self.max_length} tokens and are read in pieces, which "
                "may cut an entity in two (--max-length)"
            )
        if num_cut:
            remarks.append(f"{num_cut:,} words have more than {room} tokens, of which only the first {room} are read")
        return Encoded(rows, notes, remarks)

    def decode(self, scores: Sequence[np.ndarray], encoded: Encoded, examples: Sequence[Row]) -> list[dict[str, Any]]:
        # a word without a token, such as a lone control character, keeps what is most likely for it
        nothing = "O" if "O" in self.names else self.names[0]
        tags = [[nothing] * len(example["tokens"]) for example in examples]
        chances = [[1.0] * len(example["tokens"]) for example in examples]
        for row, (number, words, places) in zip(scores, encoded.notes, strict=True):
            each = probabilities(np.asarray(row, dtype=np.float32)[places]) if places else []
            for word, chance in zip(words, each, strict=True):
                tags[number][word] = self.names[chance.argmax()]
                chances[number][word] = round(float(chance.max()), 6)
        found = []
        for example, names, certain in zip(examples, tags, chances, strict=True):
            prediction = {"prediction": names, "probabilities": certain}
            if has_scheme(self.names):
                prediction["entities"] = entities(example["tokens"], names)
            found.append(prediction)
        return found

    def judge(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Row]) -> dict[str, float]:
        predicted = [prediction["prediction"] for prediction in predictions]
        expected = [[str(tag) for tag in example["tags"]] for example in examples]
        if has_scheme(self.names):
            scores = load_metric("seqeval").compute(predictions=predicted, references=expected)
            return {name: scores[f"overall_{name}"] for name in self.metrics}
        pairs = {
            "predictions": [self.ids[tag] for tags in predicted for tag in tags],
            "references": [self.ids[tag] for tags in expected for tag in tags],
        }
        return load_metric("accuracy").compute(**pairs)


def entities(tokens: Sequence[str], tags: Sequence[str]) -> list[dict[str, Any]]:
    """
    Return the entities that tags name: label, first token and the one after the last, and their text.

    >>> entities(["我", "在", "New", "York", "。"], ["O", "O", "B-city", "I-city", "O"])
    [{'label': 'city', 'start': 2, 'end': 4, 'text': 'New York'}]
    """
    spans = sorted(entity_spans(tags), key=lambda span: span[1:])
    return [
        {"label": label, "start": start, "end": end, "text": joined(tokens[start:end])} for label, start, end in spans
    ]


def joined(tokens: Sequence[str]) -> str:
    """
    Return words as a text, with a space between them except beside Chinese and Japanese characters.

    >>> joined(["北", "京", "Olympic", "Games"])
    '北京Olympic Games'
    """
    text = ""
    for token in tokens:
        apart = text and token and not _is_cjk(text[-1]) and not _is_cjk(token[0])
        text += f" {token}" if apart else token
    return text


def _is_cjk(character: str) -> bool:
    return any(first <= character <= last for first, last in CJK_RANGES)


# the ranges that CJK holds as the inside of a regular expression
CJK_RANGES = [tuple(pair.split("-")) for pair in (CJK[i : i + 3] for i in range(0, len(CJK), 3))]
