"""Rows made while training: documents read, packed and shuffled on the fly, nothing written."""

import os
import random
from collections.abc import Iterator, Sequence
from itertools import islice

from torch.utils.data import IterableDataset, get_worker_info
from transformers import PreTrainedTokenizerBase

from electra_plus.data.documents import document_key
from electra_plus.data.row_rules import document_numbers, encode_documents, pack_documents
from electra_plus.data.sources import Source, deals_itself, read_source

# Text packed at a time, at least: some 250,000 tokens of English. Longer rows take more, for as little padding.
WINDOW_CHARACTERS = 2**20
WINDOW_ROWS = 512


class StreamingRows(IterableDataset):
    r"""
    Rows of documents, for [`DataCollatorForReplacedTokenDetection`]; items are those of [`PreparedRows`].

    Documents are dealt out in turn to the processes of a distributed run and, in each, to the workers of its data loader. Each
    of these reads all text but tokenises only its own documents, packs them window by window by the rule of
    [`pack_documents`], and shuffles the rows of a window. Duplicates are not dropped, and documents keep their order from
    window to window: shuffle the files beforehand if they are sorted.

    Datasets of the Hub and addresses (`s3://...`) are dealt out file by file instead, so that a process reads no more than its
    own: give at least as many files as there are processes times workers, and a number that processes divide.

    accelerate, and so the stock `Trainer`, lets one process read an iterable dataset and hands out its batches: give `rank=0` and
    `world_size=1` there, or the documents of all other processes are never read.

    Args:
        sources (`Sequence[Source]`): What to read.
        tokenizer ([`PreTrainedTokenizerBase`]): With `[CLS]` and `[SEP]`.
        row_length (`int`): Tokens in a row, at least 3.
        part (`str`, *optional*, defaults to `"train"`): `"held_out"` gives the held-out documents instead.
        held_out_fraction (`float`, *optional*, defaults to 0.0): Of the documents, in [0, 1), chosen by their hash.
        text_column (`str`, *optional*): Of tables.
        seed (`int`, *optional*, defaults to 0): Of the shuffling.
        rank, world_size (`int`, *optional*): `None` asks the launcher's variables `RANK` and `WORLD_SIZE`, else 0 and 1.
        window_characters (`int`, *optional*): Text packed at a time. `None` means 2**20, or 512 times `row_length` if more.

    Raises:
        ValueError: `row_length`, `part`, `rank` or `world_size` is out of range.

    Example:

    ```python
    >>> from electra_plus.data.sources import find_sources
    >>> from electra_plus.data.tokenization import train_wordpiece_tokenizer
    >>> from electra_plus.samples import sample_path
    >>> tokenizer = train_wordpiece_tokenizer(["good food", "bad food"] * 9, vocab_size=60)
    >>> rows = StreamingRows(find_sources([sample_path("reviews.txt.gz")]), tokenizer, row_length=64)
    >>> len(next(iter(rows))["input_ids"])
    64

    ```
    """

    def __init__(
        self,
        sources: Sequence[Source],
        tokenizer: PreTrainedTokenizerBase,
        row_length: int,
        part: str = "train",
        held_out_fraction: float = 0.0,
        text_column: str | None = None,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        window_characters: int | None = None,
    ):
        if row_length < 3:
            raise ValueError(f"`row_length` must be at least 3 tokens, got {row_length}.")
        if part not in ("train", "held_out"):
            raise ValueError(f"`part` must be 'train' or 'held_out', got {part!r}.")
        self.rank = int(os.environ.get("RANK", 0)) if rank is None else rank
        self.world_size = int(os.environ.get("WORLD_SIZE", 1)) if world_size is None else world_size
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"`rank` must be in [0, {self.world_size}), the `world_size`, got {self.rank}.")
        self.sources = list(sources)
        self.tokenizer = tokenizer
        self.row_length = row_length
        self.part = part
        self.held_out_fraction = held_out_fraction
        self.text_column = text_column
        self.seed = seed
        self.window_characters = window_characters or max(WINDOW_CHARACTERS, WINDOW_ROWS * row_length)
        self.epoch = 0
        self._start: tuple[int, int, int] | None = None
        self._loaded: dict[str, int] | None = None
        self._state = {"epoch": 0, "document": 0, "row": 0}

    def set_epoch(self, epoch: int) -> None:
        """Shuffle the next passes as those of this epoch, from 0."""
        self.epoch = epoch

    def start_at(self, batch: int, batch_size: int) -> None:
        """
        Let passes of the present epoch begin with the batch of this number, from 0, as a data loader of this process counts.

        The rows before are made and dropped: as slow as tokenising them, and right for any number of workers, as long as it
        is the same as before. Where there is one consumer of the rows, [`load_state_dict`] is faster.

        Args:
            batch (`int`): Batches made before.
            batch_size (`int`): Rows in each.
        """
        self._start = (self.epoch, batch, batch_size)

    def state_dict(self) -> dict[str, int]:
        """Return where the pass that goes on in this process stands; for `num_workers=0`, or loaders that ask each worker."""
        return dict(self._state)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next pass go on at a state; documents before it are read but not tokenised, except those of its window."""
        self.epoch = state["epoch"]
        self._loaded = dict(state)

    def __iter__(self) -> Iterator[dict[str, list[int]]]:
        worker = get_worker_info()
        number, num_workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        skipped = 0
        if self._start is not None and self._start[0] == self.epoch:
            _, batch, batch_size = self._start
            # batches come from the workers in turn, and the first worker has the next turn again
            number = (number + batch) % num_workers
            skipped = batch_size * len(range(number, batch, num_workers))
        return islice(self._rows(self.rank * num_workers + number, self.world_size * num_workers), skipped, None)

    def _rows(self, consumer: int, num_consumers: int) -> Iterator[dict[str, list[int]]]:
        state = self._loaded or {"epoch": self.epoch, "document": 0, "row": 0}
        self._loaded = None
        for following, documents in self._windows(consumer, num_consumers, state["document"]):
            rows = list(
                pack_documents(
                    encode_documents(documents, self.tokenizer),
                    self.row_length,
                    self.tokenizer.cls_token_id,
                    self.tokenizer.sep_token_id,
                )
            )
            random.Random(f"{self.seed},{state['epoch']},{state['document']},{consumer}").shuffle(rows)
            for index in range(state["row"], len(rows)):
                self._state = {**state, "row": index + 1}
                row = rows[index]
                yield {
                    "input_ids": row["input_ids"].tolist(),
                    "document_ids": document_numbers(row["document_lengths"]),
                }
            state = {**state, "document": following, "row": 0}

    def _windows(self, consumer: int, num_consumers: int, first: int) -> Iterator[tuple[int, list[list[str]]]]:
        """Yield the documents of each window, with the number of the document after it."""
        window: list[list[str]] = []
        size = number = 0
        for number, (is_ours, document) in enumerate(self._documents(consumer, num_consumers)):
            if number < first or not is_ours:
                continue
            held_out = self.held_out_fraction and document_key(document).held_out_draw < self.held_out_fraction
            if bool(held_out) != (self.part == "held_out"):
                continue
            window.append(document)
            size += sum(map(len, document))
            if size >= self.window_characters:
                yield number + 1, window
                window, size = [], 0
        if window:
            yield number + 1, window

    def _documents(self, consumer: int, num_consumers: int) -> Iterator[tuple[bool, list[str]]]:
        """Yield what is read, with whether it is this consumer's."""
        num_dealt = 0
        for source in self.sources:
            if deals_itself(source):
                share = (self.rank, self.world_size)
                for document in read_source(source, self.text_column, streaming=True, share=share):
                    yield True, document
                continue
            for document in read_source(source, self.text_column):
                yield num_dealt % num_consumers == consumer, document
                num_dealt += 1
