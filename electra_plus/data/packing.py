"""Several documents in one row, so that a batch holds text instead of padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase


def first_fit(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """
    Put documents into rows, the longest first, each into the first row with room for it.

    Args:
        lengths (`Sequence[int]`): Tokens of each document.
        row_length (`int`): Tokens in a row. A longer document gets a row of its own.

    Returns:
        `list[list[int]]`: Indices of the documents in each row.

    Example:

    >>> first_fit([3, 7, 2, 5], row_length=8)
    [[1], [3, 0], [2]]
    """
    rows: list[list[int]] = []
    rooms: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        length = lengths[index]
        row = next((row for row, room in enumerate(rooms) if length <= room), None)
        if row is None:
            rows.append([])
            rooms.append(row_length)
            row = len(rows) - 1
        rows[row].append(index)
        rooms[row] -= length
    return rows


def labels_of_documents(features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Return `{"labels": tensor}` where documents have one label each, by either usual name, else nothing."""
    name = next((name for name in ("labels", "label") if name in features[0]), None)
    return {} if name is None else {"labels": torch.as_tensor([feature[name] for feature in features])}


@dataclass
class DataCollatorForPacking:
    r"""
    Packs the documents of a batch first-fit into rows of a token budget, for the models of this package.

    The batch holds `input_ids`, `attention_mask`, `position_ids` (from 0 in each document), `document_ids` (the index of each
    token's document in the batch given, -1 for padding), and `token_type_ids` and `labels` if the documents have them. Labels
    of tokens are packed as the tokens are; one label for a document stays one, in the order given, which is the order of
    the logits too. Any other field holds one value for each document. Where `input_ids` are lists of choices, as for multiple
    choice, each choice is a document, and the batch also holds `num_choices` (`int`).

    Args:
        tokenizer ([`PreTrainedTokenizerBase`]): Its `pad_token_id` fills up rows.
        row_length (`int`): Tokens in a row. A longer document gets a row of its own, as long as it needs.
        pad_to_multiple_of (`int`, *optional*): Round the width of the batch up, for static shapes.

    Raises:
        ValueError: `row_length` is below 1, or questions have different numbers of choices.

    Example:

    ```python
    >>> from types import SimpleNamespace
    >>> collate = DataCollatorForPacking(SimpleNamespace(pad_token_id=0), row_length=8)
    >>> batch = collate([{"input_ids": [2, 7, 3], "labels": 1}, {"input_ids": [2, 8, 9, 9, 3], "labels": 0}, {"input_ids": [2, 3], "labels": 1}])
    >>> batch["input_ids"].tolist()
    [[2, 8, 9, 9, 3, 2, 7, 3], [2, 3, 0, 0, 0, 0, 0, 0]]
    >>> batch["document_ids"].tolist()
    [[1, 1, 1, 1, 1, 0, 0, 0], [2, 2, -1, -1, -1, -1, -1, -1]]
    >>> batch["labels"].tolist()
    [1, 0, 1]

    ```
    """

    tokenizer: PreTrainedTokenizerBase
    row_length: int
    pad_to_multiple_of: int | None = None

    def __post_init__(self):
        if self.row_length < 1:
            raise ValueError(f"`row_length` must be at least 1 token, got {self.row_length}.")

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor | int]:
        if isinstance(features[0]["input_ids"][0], Sequence):
            return self._packed_choices(features)
        lengths = [len(feature["input_ids"]) for feature in features]
        rows = first_fit(lengths, self.row_length)
        width = max(sum(lengths[index] for index in row) for row in rows)
        if self.pad_to_multiple_of:
            width += -width % self.pad_to_multiple_of

        def packed(values: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
            table = torch.full((len(rows), width), filler)
            for number, row in enumerate(rows):
                tokens = [token for index in row for token in values[index]]
                table[number, : len(tokens)] = torch.as_tensor(tokens)
            return table

        document_ids = packed([[index] * length for index, length in enumerate(lengths)], -1)
        batch = {
            "input_ids": packed([feature["input_ids"] for feature in features], self.tokenizer.pad_token_id),
            "attention_mask": (document_ids >= 0).long(),
            "position_ids": packed([range(length) for length in lengths], 0),
            "document_ids": document_ids,
        }
        for name in features[0]:
            if name in batch:
                continue
            values = [feature[name] for feature in features]
            # floats are one for each class, even where there are as many as tokens
            of_tokens = all(
                hasattr(value, "__len__") and len(value) == length and not isinstance(value[0], float)
                for value, length in zip(values, lengths, strict=True)
            )
            if of_tokens and name in ("labels", "token_type_ids", "special_tokens_mask"):
                batch[name] = packed(values, {"labels": -100, "special_tokens_mask": 1}.get(name, 0))
            else:
                batch[name] = torch.as_tensor(values)
        if "label" in batch:
            batch["labels"] = batch.pop("label")
        return batch

    def _packed_choices(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor | int]:
        """Pack every choice of every question, in their order."""
        numbers = sorted({len(feature["input_ids"]) for feature in features})
        if len(numbers) > 1:
            raise ValueError(
                f"`features` must have as many choices each, got {numbers}. Put questions of a kind together."
            )
        of_choices = [name for name in features[0] if name not in ("label", "labels")]
        choices = [{name: feature[name][i] for name in of_choices} for feature in features for i in range(numbers[0])]
        return {**self(choices), "num_choices": numbers[0], **labels_of_documents(features)}
