"""Folders that `electra-plus prepare` wrote: their rows for training, as a model's collator takes them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from torch.utils.data import Dataset, IterableDataset
from transformers import PreTrainedTokenizerBase

from electra_plus.data.row_rules import RULES, document_numbers
from electra_plus.data.sources import Source
from electra_plus.data.streaming import StreamingRows
from electra_plus.data.tokenization import load_tokenizer

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1


class PreparedRows(Dataset):
    """
    Rows of a memory-mapped dataset, for [`DataCollatorForReplacedTokenDetection`].

    An item holds `input_ids`, `token_type_ids` if the rows have them, and for rows of several documents `document_ids`: the
    number of each token's document within the row, from 0. Models take a field of that name, so the stock `Trainer`, which
    drops what its model does not take, leaves it to the collator.

    Args:
        rows (`datasets.Dataset`): With `input_ids` and, if documents share rows, `document_lengths`.
    """

    def __init__(self, rows):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return self._item(self.rows[index])

    def __getitems__(self, indices: list[int]) -> list[dict[str, list[int]]]:
        """Return the rows of a batch, which torch's data loader asks for at once; twice as fast as one by one."""
        columns = self.rows[indices]
        return [self._item(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]

    @staticmethod
    def _item(row: dict[str, list[int]]) -> dict[str, list[int]]:
        if "document_lengths" not in row:
            return row
        return {"input_ids": row["input_ids"], "document_ids": document_numbers(row["document_lengths"])}


class Prepared(NamedTuple):
    """
    What a prepared folder holds.

    Args:
        train ([`PreparedRows`] or [`StreamingRows`]): Rows to train on.
        held_out ([`PreparedRows`] or [`StreamingRows`]): Rows to evaluate on, maybe none.
        tokenizer ([`PreTrainedTokenizerBase`]): The one that made them.
        manifest (`dict`): What `manifest.json` says.
    """

    train: Dataset | IterableDataset
    held_out: Dataset | IterableDataset
    tokenizer: PreTrainedTokenizerBase
    manifest: dict[str, Any]


def load_prepared(folder: str | Path, rank: int | None = None, world_size: int | None = None) -> Prepared:
    """
    Open a folder that `electra-plus prepare` wrote.

    Rows stay on disk and are read as they are asked for. For the rule `"stream"` there are none: both parts read the sources
    that the manifest names, and the held-out part reads past all other documents each time.

    Args:
        folder (`str` or `Path`): The output folder.
        rank, world_size (`int`, *optional*):
            Which share of a stream's documents this process reads. `None` asks the launcher's variables. Give 0 and 1 to the
            stock `Trainer`, which shares out a stream's batches itself. Rows on disk are not shared out here: samplers do.

    Returns:
        [`Prepared`]: `(train, held_out, tokenizer, manifest)`.

    Raises:
        FileNotFoundError: There is no manifest, or a source to stream from is gone.
        ValueError: The manifest is of another version of this package, or no JSON.

    Example:

    ```python
    train, held_out, tokenizer, manifest = load_prepared("prepared")
    collator = DataCollatorForReplacedTokenDetection(tokenizer)
    batch = collator([train[0], train[1]])  # position_ids and document_ids keep the documents of a row apart
    ```
    """
    folder = Path(folder)
    file = folder / MANIFEST
    if not file.is_file():
        raise FileNotFoundError(
            f"`folder` must be one that `electra-plus prepare` wrote, got `{folder}`, which has no {MANIFEST}."
        )
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"`{file}` is no JSON ({error}). Prepare the folder again.") from error
    if manifest.get("format") != MANIFEST_FORMAT:
        raise ValueError(
            f"`{file}` must have the format {MANIFEST_FORMAT}, got {manifest.get('format')}. Prepare the folder again."
        )
    tokenizer = load_tokenizer(folder)
    if not RULES[manifest["rule"]].prepared:
        train, held_out = (_stream(manifest, tokenizer, part, rank, world_size) for part in ("train", "held_out"))
    else:
        from datasets import load_from_disk

        train, held_out = (PreparedRows(load_from_disk(str(folder / part))) for part in ("train", "held_out"))
    return Prepared(train, held_out, tokenizer, manifest)


def _stream(
    manifest: dict[str, Any], tokenizer: PreTrainedTokenizerBase, part: str, rank: int | None, world_size: int | None
) -> StreamingRows:
    sources = []
    for described in manifest["sources"]:
        if "dataset" in described:
            sources.append(Source(described["dataset"], "dataset", described["config"], described["split"]))
        elif Path(described["path"]).is_file():
            sources.append(Source(described["path"], described["kind"]))
        else:
            raise FileNotFoundError(f"`{described['path']}` is gone, which {MANIFEST} names as a source of the stream.")
    return StreamingRows(
        sources,
        tokenizer,
        manifest["row_length"],
        part=part,
        held_out_fraction=manifest["held_out_fraction"],
        text_column=manifest["text_column"],
        seed=manifest["seed"],
        rank=rank,
        world_size=world_size,
    )
