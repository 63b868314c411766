"""
Fast, exact inference for pipelines: texts of like length share a batch, and batches share the processor.

Inputs are read in windows. A window is tokenised in one call while the model still runs on the one before. Its rows are sorted by
length and cut into batches by a budget of tokens, so that hardly any of a batch is padding; on processors each batch runs on one
thread and as many run at a time as torch has threads, which wastes no time on joining threads after each small product. Where
padding is left, models of this package get several texts in a row. Results come back in the order of the inputs.
"""

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from threading import Barrier
from typing import Any

import torch
from torch import Tensor
from transformers.pipelines.base import ChunkPipeline

from electra_plus.data.packing import DataCollatorForPacking
from electra_plus.models.packing_electra_plus import unpack_documents

TOKENS_PER_BATCH = {
    "cpu": 512
}  # so that a layer's states stay in the cache; ELECTRA-small: 256 and 1024 are 5 % slower
TOKENS_PER_BATCH_ELSEWHERE = 16384
SMALLEST_WINDOW, LARGEST_WINDOW = 16, 512  # inputs; windows double, so that a stream's first results come soon
WINDOW_CHARACTERS = 2**20  # that end a window, so that long texts do not pile up
PACKED_ROW = 64  # tokens: the scores of a packed row grow with its square
MOST_PADDING = 0.1  # fraction of a batch, above which rows are packed

Row = dict[str, Any]  # token lists for the model, by their names in its `forward`, and whatever `postprocess` wants


def batches_by_length(lengths: Sequence[int], tokens_per_batch: int, batch_size: int | None = None) -> list[list[int]]:
    """
    Put rows of like length together, the longest first.

    Args:
        lengths (`Sequence[int]`): Tokens of each row.
        tokens_per_batch (`int`): Most tokens of a batch, padding included. A longer row is a batch of its own.
        batch_size (`int`, *optional*): Most rows of a batch; then the tokens do not count.

    Returns:
        `list[list[int]]`: Indices of the rows in each batch.

    Example:

    >>> batches_by_length([3, 9, 2, 4, 4], tokens_per_batch=8)
    [[1], [3, 4], [0, 2]]
    >>> batches_by_length([3, 9, 2, 4, 4], tokens_per_batch=8, batch_size=3)
    [[1, 3, 4], [0, 2]]
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        most = batch_size or (tokens_per_batch // max(1, lengths[batches[-1][0]]) if batches else 0)
        if batches and len(batches[-1]) < most:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def windows(inputs: Iterable[Any], one_by_one: bool = False) -> Iterator[tuple[list[Any], Exception | None]]:
    """Yield inputs in windows, those of a stream doubling; with the last one the error at which reading stopped, if any."""
    stream, size = iter(inputs), 1 if one_by_one else LARGEST_WINDOW if isinstance(inputs, list) else SMALLEST_WINDOW
    while True:
        window: list[Any] = []
        characters = 0
        error = None
        try:
            for one in islice(stream, size):
                window.append(one)
                characters += len(one) if isinstance(one, str) else len(str(one)) if isinstance(one, dict) else 0
                if characters > WINDOW_CHARACTERS:
                    break
        except Exception as raised:  # raised again by the reader, after the results of what came before
            error = raised
        if window or error:
            yield window, error
        if error or not window:
            return
        size = 1 if one_by_one else min(2 * size, LARGEST_WINDOW)


@dataclass
class _InOrder:
    """Results of a dataset that knows how many there will be."""

    results: Callable[[], Iterator[Any]]
    length: int

    def __iter__(self) -> Iterator[Any]:
        return self.results()

    def __len__(self) -> int:
        return self.length


class TokenBudgetPipeline(ChunkPipeline):
    """
    Base of pipelines whose rows are batched by length.

    A subclass's `preprocess` yields rows, the last of an input with `is_last`. What a row holds under a name of
    `tokenizer.model_input_names` (or `chunk_ids`) goes to the model, as a list of numbers or a tensor of one row; the rest waits for
    `postprocess`, which gets the rows of an input with the model's outputs, each with a batch dimension of 1 and without padding.

    Two arguments of a call, or of the construction, are those of the stock pipelines with another default:

    - `batch_size` (`int`, *optional*): Rows in a batch. `None` batches by tokens: 512 on processors, else 16,384. 1 also reads a
      stream one by one, nothing ahead.
    - `num_workers` (`int`, *optional*): Threads that run batches. `None` is one for each thread of torch on a processor, else 1;
      0 runs everything in the caller's thread.
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True

    row_outputs: tuple[str, ...] = ()  # of the model: one vector a row
    token_outputs: tuple[str, ...] = ()  # one vector or number a token
    kind_of_input = "a text (`str`)"

    def __call__(self, inputs: Any, *, num_workers: int | None = None, batch_size: int | None = None, **kwargs) -> Any:
        """
        Return the result of an input, a list for a list, an iterator for anything else that can be iterated.

        Raises:
            TypeError: `inputs`, or one of them, is of another kind than the pipeline reads.
            ValueError: `batch_size` or `num_workers` is out of range.
        """
        num_workers = self._num_workers if num_workers is None else num_workers
        batch_size = self._batch_size if batch_size is None else batch_size
        for name, value, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0)):
            if value is not None and (not isinstance(value, int) or value < least):
                raise ValueError(f"`{name}` must be an integer of at least {least}, got {value!r}. Or leave it out.")
        given = self._sanitize_parameters(**kwargs)
        defaults = (self._preprocess_params, self._forward_params, self._postprocess_params)
        parameters = [{**default, **one} for default, one in zip(defaults, given, strict=True)]
        arguments = (num_workers, batch_size, *parameters)
        self.call_count += 1
        if self._is_single(inputs, parameters[0]):
            return next(self._results([self._checked(inputs, parameters[0])], *arguments))
        if isinstance(inputs, (list, tuple)):
            checked = [self._checked(one, parameters[0]) for one in inputs]  # before any of them costs time
            return list(self._results(checked, *arguments))
        if isinstance(inputs, (bytes, bytearray)) or not (
            hasattr(inputs, "__iter__") or hasattr(inputs, "__getitem__")
        ):
            self._checked(inputs, parameters[0])
        return self.get_iterator(inputs, *arguments)

    def _is_single(self, inputs: Any, parameters: dict) -> bool:
        return isinstance(inputs, (str, dict))

    def _checked(self, one: Any, parameters: dict) -> Any:
        """Return an input if the pipeline can read it."""
        if not isinstance(one, str):
            raise TypeError(
                f"`inputs` must be {self.kind_of_input} or several, got {type(one).__name__}: {shortened(one)}. "
                "Leave it out or convert it."
            )
        return one

    def get_iterator(self, inputs, num_workers, batch_size, preprocess_params, forward_params, postprocess_params):
        arguments = (num_workers, batch_size, preprocess_params, forward_params, postprocess_params)

        def results() -> Iterator[Any]:
            # torch's datasets may have no `__iter__`, and end by their length
            stream = inputs if hasattr(inputs, "__iter__") else (inputs[index] for index in range(len(inputs)))
            return self._results((self._checked(one, preprocess_params) for one in stream), *arguments)

        return _InOrder(results, len(inputs)) if isinstance(inputs, Sized) else results()

    def _results(self, inputs, num_workers, batch_size, preprocess_params, forward_params, postprocess_params):
        one_by_one = batch_size == 1 and not isinstance(inputs, list)
        with _Threads(self._num_threads(num_workers)) as threads:
            waiting: deque[tuple[list[list[Row]], list[tuple[list[Row], Future]]]] = deque()

            def finished() -> Iterator[Any]:
                rows_of_inputs, batches = waiting.popleft()
                for rows, future in batches:
                    for row, outputs in zip(rows, future.result(), strict=True):
                        row.update(outputs)
                for rows in rows_of_inputs:
                    yield self.postprocess(rows, **postprocess_params)

            for window, error in windows(inputs, one_by_one):
                try:
                    rows_of_inputs = self.rows_of(window, preprocess_params)
                except Exception:
                    while waiting:
                        yield from finished()
                    raise
                rows = [row for rows in rows_of_inputs for row in rows]
                batches = [[rows[index] for index in batch] for batch in self._batches(rows, batch_size)]
                run = partial(self._run_batch, forward_params=forward_params)
                alone = len(batches) == 1 and not waiting  # all threads for its products
                futures = [threads.submit(run, batch, here=alone) for batch in batches]
                waiting.append((rows_of_inputs, list(zip(batches, futures, strict=True))))
                while len(waiting) > (0 if one_by_one else 1):
                    yield from finished()
                if error is not None:
                    while waiting:
                        yield from finished()
                    raise error
            while waiting:
                yield from finished()

    def rows_of(self, window: list[Any], preprocess_params: dict[str, Any]) -> list[list[Row]]:
        """Return the rows of each input of a window. A subclass may tokenise the window in one call."""
        return [list(self.preprocess(one, **preprocess_params)) for one in window]

    def _num_threads(self, num_workers: int | None) -> int:
        if num_workers is not None:
            return num_workers
        if self.device.type != "cpu":
            return 1
        return torch.get_num_threads() if torch.get_num_threads() > 1 else 0

    def _batches(self, rows: list[Row], batch_size: int | None) -> list[list[int]]:
        tokens = TOKENS_PER_BATCH.get(self.device.type, TOKENS_PER_BATCH_ELSEWHERE)
        if self.tokenizer.pad_token_id is None:
            batch_size = 1
        return batches_by_length([_length(row) for row in rows], tokens, batch_size)

    # ---- a batch ----

    def _names_for_model(self) -> set[str]:
        return {*self.tokenizer.model_input_names, "chunk_ids"}

    def _run_batch(self, rows: list[Row], forward_params: dict[str, Any]) -> list[dict[str, Tensor]]:
        """Return what the model says of each row, without padding."""
        names = self._names_for_model()
        lists = [{name: _as_list(value) for name, value in row.items() if name in names} for row in rows]
        lengths = [len(row["input_ids"]) for row in lists]
        # a caller who asked the tokenizer for padding has zeros in the mask
        hidden = any(0 in row.get("attention_mask", ()) for row in lists)
        packs = self._takes_packed_rows and not hidden and "chunk_ids" not in lists[0]
        packs = packs and sum(lengths) < (1 - MOST_PADDING) * max(lengths) * len(lengths)
        batch = self._packed(lists, max(lengths)) if packs else self._padded(lists, max(lengths))
        outputs = self.forward(batch, **forward_params)
        if packs:
            outputs = self._unpacked(outputs, batch["document_ids"].cpu())
        found = []
        for index, length in enumerate(lengths):
            of_row = {name: outputs[name][index : index + 1] for name in self.row_outputs if name in outputs}
            of_tokens = {name: outputs[name][index : index + 1, :length] for name in self.token_outputs}
            found.append(of_row | of_tokens)
        return found

    def _model_takes(self, argument: str) -> bool:
        forward = self.model.forward
        function = getattr(forward, "__func__", forward)
        if self._arguments_of[0] is not function:  # to look takes as long as a layer of a small model
            self._arguments_of = (function, frozenset(inspect.signature(forward).parameters))
        return argument in self._arguments_of[1]

    _arguments_of: tuple[Any, frozenset[str]] = (None, frozenset())

    @property
    def _takes_packed_rows(self) -> bool:
        return self._model_takes("document_ids")

    def _padded(self, rows: list[dict[str, list[int]]], width: int) -> dict[str, Tensor]:
        fillers = {"input_ids": self.tokenizer.pad_token_id or 0, "token_type_ids": self.tokenizer.pad_token_type_id}
        masks = [row.get("attention_mask", [1] * len(row["input_ids"])) for row in rows]
        columns = {name: [row[name] for row in rows] for name in rows[0] if name != "attention_mask"}
        if "attention_mask" in self._names_for_model() or "chunk_ids" in columns:
            columns["attention_mask"] = masks
        batch = {}
        for name, lists in columns.items():
            filler = fillers.get(name, 0)
            batch[name] = torch.tensor([[*values, *[filler] * (width - len(values))] for values in lists])
        return batch

    def _packed(self, rows: list[dict[str, list[int]]], longest: int) -> dict[str, Tensor]:
        names = ("input_ids", "token_type_ids")
        features = [{name: row[name] for name in names if name in row} for row in rows]
        return DataCollatorForPacking(self.tokenizer, max(PACKED_ROW, longest))(features)

    def _unpacked(self, outputs: dict[str, Tensor], document_ids: Tensor) -> dict[str, Tensor]:
        """Give each text a row of its own where the model left tokens in their packed rows."""
        outputs = dict(outputs)
        for name in self.token_outputs:
            if outputs[name].shape[:2] == document_ids.shape and not self.model_unpacks:
                states = outputs[name].reshape(*document_ids.shape, -1)
                outputs[name] = unpack_documents(states, document_ids)[0].flatten(2).squeeze(-1)
        return outputs

    model_unpacks = False  # the model's token outputs have a row for each text, as in question answering

    def _forward(self, model_inputs: dict[str, Any], **forward_params) -> dict[str, Any]:
        names = {*self._names_for_model(), "document_ids", "position_ids"}
        for_model = {name: value for name, value in model_inputs.items() if name in names}
        kept = {name: value for name, value in model_inputs.items() if name not in names}
        if self._model_takes("use_cache"):
            for_model["use_cache"] = False
        outputs = self.model(**for_model, **forward_params)
        wanted = (*self.row_outputs, *self.token_outputs)
        return {**{name: outputs[name] for name in wanted if name in outputs}, **kept}


def shortened(value: Any) -> str:
    """Return what a value looks like, in a few characters for an error message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _as_list(value: Any) -> list[int]:
    if not isinstance(value, Tensor):
        return value
    if value.dim() != 2 or value.shape[0] != 1:
        raise ValueError(
            f"A row must be of shape (1, tokens), got {tuple(value.shape)}. Leave tensors to the pipeline."
        )
    return value[0].tolist()


def _length(row: Row) -> int:
    return row["input_ids"].shape[-1] if isinstance(row["input_ids"], Tensor) else len(row["input_ids"])


class _Threads:
    """
    Threads that run batches, started when the first batch comes that is not alone; 0 threads run it where it is given.

    Each computes on one thread of torch, the caller's number stays: torch keeps it by thread, and a new thread takes the last
    number that was set anywhere.
    """

    def __init__(self, number: int):
        self.number = number
        self.pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> "_Threads":
        return self

    def __exit__(self, *raised) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def _start(self) -> ThreadPoolExecutor:
        pool = ThreadPoolExecutor(self.number, thread_name_prefix="electra_plus_pipeline")
        if self.number > 1:
            number, all_started = torch.get_num_threads(), Barrier(self.number)

            def compute_alone():
                torch.get_num_threads()  # a thread's first look at its number sets it, and must not come later
                torch.set_num_threads(max(1, number // self.number))
                all_started.wait()

            for started in [pool.submit(compute_alone) for _ in range(self.number)]:
                started.result()
            torch.set_num_threads(number)
        return pool

    def submit(self, run: Callable, batch: list[Row], here: bool = False) -> Future:
        """Run a batch, in this thread if `here`."""
        if self.number == 0 or (here and self.pool is None):
            done: Future = Future()
            done.set_result(run(batch))
            return done
        if self.pool is None:
            self.pool = self._start()
        return self.pool.submit(_under(_autocast_of_this_thread(), run), batch)


def _autocast_of_this_thread() -> Callable:
    device = "cuda" if torch.is_autocast_enabled("cuda") else "cpu"
    enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    return partial(torch.autocast, device, dtype=dtype, enabled=enabled)


def _under(context: Callable, run: Callable) -> Callable:
    def with_context(batch):
        with context():
            return run(batch)

    return with_context
