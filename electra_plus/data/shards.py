"""Rows on disk, shard by shard: documents gathered into shards, each written by one process, all of them one dataset."""

import json
import os
import random
import signal
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from electra_plus.data.documents import SeenDocuments, document_key
from electra_plus.data.row_rules import RULES, count_unknown, encode_documents
from electra_plus.data.tokenization import load_tokenizer

# Text of a shard: some two million tokens of English. It bounds the memory, and it is the window in which rows are packed.
SHARD_CHARACTERS = 8_000_000
ROWS_PER_BATCH = 1000
PARTS = ("train", "held_out")


@dataclass
class Shard:
    """
    Documents to be written together.

    Args:
        number (`int`): From 0.
        documents (`dict`): Documents of each part, `"train"` and `"held_out"`.
    """

    number: int
    documents: dict[str, list[list[str]]] = field(default_factory=lambda: {part: [] for part in PARTS})


@dataclass(frozen=True)
class ShardSettings:
    """
    What is the same for all shards.

    Args:
        rule (`str`): A key of [`RULES`].
        row_length (`int`): Tokens in a row.
        seed (`int`): Of the rule's draws, which also depend on the number of the shard.
        tokenizer (`str`): Its folder.
        output (`str`): Where the folders `train` and `held_out` are.
        finished (`str`): Folder of what was counted in finished shards.
        schema (`pyarrow.Schema`): Of the rows, made here once: a worker can then do without the datasets library and its 60 MB.
    """

    rule: str
    row_length: int
    seed: int
    tokenizer: str
    output: str
    finished: str
    schema: Any


def gather_shards(
    documents: Iterable[list[str]], held_out_fraction: float, counts: Counter, shard_characters: int | None = None
) -> Iterator[Shard]:
    """
    Drop documents seen before, choose the held-out ones, and cut what is left into shards.

    Args:
        documents: In any number.
        held_out_fraction (`float`): In [0, 1), of the documents.
        counts (`collections.Counter`): `"documents"` (all that came) and `"duplicates"` grow.
        shard_characters (`int`, *optional*): A shard ends with the document that reaches it.
    """
    shard_characters = shard_characters or SHARD_CHARACTERS
    seen = SeenDocuments()
    shard, size = Shard(0), 0
    for document in documents:
        counts["documents"] += 1
        key = document_key(document)
        if not seen.add(key.identity):
            counts["duplicates"] += 1
            continue
        shard.documents["held_out" if key.held_out_draw < held_out_fraction else "train"].append(document)
        size += sum(map(len, document))
        if size >= shard_characters:
            yield shard
            shard, size = Shard(shard.number + 1), 0
    if size:
        yield shard


def write_shards(
    shards: Iterable[Shard], settings: ShardSettings, tokenizer: PreTrainedTokenizerBase, num_proc: int = 1
) -> list[dict[str, Any]]:
    """
    Write the shards that are not finished yet.

    Args:
        shards: In order. No more than `num_proc + 1` are held in memory.
        settings ([`ShardSettings`]): The same as for the finished ones.
        tokenizer ([`PreTrainedTokenizerBase`]): The one in `settings.tokenizer`.
        num_proc (`int`, *optional*, defaults to 1): Processes. One is this process, where the tokenizer uses every core.

    Returns:
        `list[dict]`: what [`write_shard`] returned for each, finished ones included.

    Raises:
        ChildProcessError: A process was ended from outside, most likely for lack of memory.
    """
    figures: list[dict[str, Any]] = []
    if num_proc == 1:
        for shard in shards:
            figures.append(finished_figures(shard.number, settings) or write_shard(shard, settings, tokenizer))
        return figures
    # spawn: a tokenizer that has used its threads may hang in a forked process
    pool = ProcessPoolExecutor(num_proc, get_context("spawn"), _begin_worker)
    try:
        running: deque = deque()
        for shard in shards:
            finished = finished_figures(shard.number, settings)
            running.append(finished or pool.submit(_write_in_worker, shard, settings))
            while len(running) > num_proc:
                figures.append(_result(running.popleft()))
        figures += [_result(one) for one in running]
    except BrokenProcessPool as error:
        raise ChildProcessError(
            f"One of the {num_proc} processes of `num_proc` was ended from outside, most likely for lack of memory. Start again "
            "with fewer: finished shards are kept."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
    return figures


def _result(figures_or_future: Any) -> dict[str, Any]:
    return figures_or_future if isinstance(figures_or_future, dict) else figures_or_future.result()


def _begin_worker() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Ctrl-C reaches every process of the group: workers finish their shard, and only the first process stops
    signal.signal(signal.SIGINT, signal.SIG_IGN)


_load_once = lru_cache(maxsize=1)(load_tokenizer)  # for workers, which open one folder in their life


def _write_in_worker(shard: Shard, settings: ShardSettings) -> dict[str, Any]:
    return write_shard(shard, settings, _load_once(settings.tokenizer))


def finished_figures(number: int, settings: ShardSettings) -> dict[str, Any] | None:
    """Return the figures of a shard that is written already, else `None`."""
    marker = _marker(number, settings)
    return json.loads(marker.read_text(encoding="utf-8")) if marker.is_file() else None


def _marker(number: int, settings: ShardSettings) -> Path:
    return Path(settings.finished, f"{number:05d}.json")


def write_shard(shard: Shard, settings: ShardSettings, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """
    Tokenise a shard, make its rows, and write `<part>/data-<number>.arrow` for each part that has any.

    Returns:
        `dict`: for each part `documents`, `rows`, `tokens` (special ones included), `unknown_tokens`, `unknown_characters` and
        `sampled_characters` (see [`count_unknown`]), and what the rule counts.
    """
    rule = RULES[settings.rule]
    figures: dict[str, Any] = {}
    for part, documents in shard.documents.items():
        counts = Counter(documents=len(documents), rows=0, tokens=0, unknown_tokens=0)
        counts["unknown_characters"], counts["sampled_characters"] = count_unknown(documents, tokenizer)
        rows = rule.make_rows(
            encode_documents(documents, tokenizer, rule.by_sentence),
            settings.row_length,
            tokenizer.cls_token_id,
            tokenizer.sep_token_id,
            random.Random(f"{settings.seed},{shard.number},{part}"),
            counts,
        )
        file = Path(settings.output, part, f"data-{shard.number:05d}.arrow")
        _write_rows(rows, file, settings.schema, counts, tokenizer.unk_token_id)
        figures[part] = dict(counts)
    # the marker comes last, and whole: a shard without one is written again
    marker = _marker(shard.number, settings)
    unfinished = marker.with_suffix(".part")
    unfinished.write_text(json.dumps(figures), encoding="utf-8")
    unfinished.replace(marker)
    return figures


def row_features(rule: str, vocab_size: int):
    """Return the `datasets.Features` of a rule's rows; token ids take two bytes where the vocabulary allows."""
    from datasets import Features, Sequence, Value

    columns = {"input_ids": "uint16" if vocab_size <= 2**16 else "int32", **RULES[rule].columns}
    return Features({name: Sequence(Value(dtype)) for name, dtype in columns.items()})


def _write_rows(
    rows: Iterator[dict[str, Any]], file: Path, schema: Any, counts: Counter, unknown_id: int | None
) -> None:
    import pyarrow

    batch: list[dict[str, Any]] = []
    writer = None

    def flush() -> None:
        nonlocal writer
        if batch:
            writer = writer or pyarrow.ipc.new_stream(file, schema)
            columns = [pyarrow.array([row[field.name] for row in batch], field.type) for field in schema]
            writer.write_batch(pyarrow.record_batch(columns, schema=schema))
            counts["rows"] += len(batch)
            counts["tokens"] += sum(len(row["input_ids"]) for row in batch)
            if unknown_id is not None:
                counts["unknown_tokens"] += sum(int((row["input_ids"] == unknown_id).sum()) for row in batch)
            batch.clear()

    for row in rows:
        batch.append(row)
        if len(batch) == ROWS_PER_BATCH:
            flush()
    flush()
    if writer is not None:
        writer.close()


def join_shards(folder: Path, rule: str, vocab_size: int, fingerprint: str) -> None:
    """
    Make the shards in a folder a dataset that `datasets.load_from_disk` opens, without copying them.

    Args:
        folder (`Path`): With `data-*.arrow` files, or none for an empty dataset.
        rule (`str`): Of the rows.
        vocab_size (`int`): Of the tokenizer.
        fingerprint (`str`): What the datasets library caches by.

    Source: datasets 5.2, `Dataset.save_to_disk`, which would copy every row.
    """
    import pyarrow

    features = row_features(rule, vocab_size)
    if not any(folder.glob("data-*.arrow")):
        pyarrow.ipc.new_stream(folder / "data-00000.arrow", features.arrow_schema).close()
    state = {
        "_data_files": [{"filename": file.name} for file in sorted(folder.glob("data-*.arrow"))],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    for name, content in (("state.json", state), ("dataset_info.json", {"features": features.to_dict()})):
        (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
