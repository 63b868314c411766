"""Rows for fine-tuning and evaluation: the splits of what the user named, a task guessed, columns chosen, labels checked."""

import hashlib
import json
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electra_plus.data.example_files import Row
from electra_plus.data.examples import find_splits, hold_out, read_examples
from electra_plus.data.task_columns import Columns, describe_columns, parse_columns
from electra_plus.data.task_examples import task_examples
from electra_plus.recipes.tasks import guess_task, task_class

logger = logging.getLogger(__name__)


@dataclass
class Split:
    """
    Rows as they were read, and as examples of the task, one for each.

    Args:
        rows, examples (`list[Row]`)
        source (`str`): Where they are from, in words.
    """

    rows: list[Row]
    examples: list[Row]
    source: str


@dataclass
class TaskData:
    """
    What is trained on, what chooses the best checkpoint, and what is scored at the end.

    Args:
        task (`str`): Key of [`electra_plus.recipes.tasks.TASKS`].
        columns (`dict`): Field and column.
        train, validation, test (`Split`): `None` for no test.
        held_out (`bool`): Whether validation is a part of what `train_file` holds.
    """

    task: str
    columns: Columns
    train: Split
    validation: Split
    test: Split | None
    held_out: bool

    def fingerprint(self) -> str:
        """Return a hash of all examples, to tell whether a run that goes on has the same."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            for example in split.examples if split is not None else ():
                digest.update(json.dumps(example, sort_keys=True, default=str).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]


def read_task_data(
    train_file: str,
    validation_file: str | None = None,
    test_file: str | None = None,
    task: str | None = None,
    columns: str | dict[str, Any] | None = None,
    dataset_config: str | None = None,
    limit: int | None = None,
    convert_tags: bool = False,
) -> TaskData:
    """
    Read what is to be learned, and say what was guessed.

    Args:
        train_file (`str`): A file, a folder with a file for each split, or a dataset of the Hub; see [`read_examples`].
        validation_file, test_file (`str`, *optional*):
            The same, or the name of a split of `train_file`. Without a validation file the split of that name is taken, else a
            tenth of the training rows.
        task (`str`, *optional*): `None` guesses.
        columns (`str` or `dict`, *optional*): As [`parse_columns`] reads them. Others are guessed.
        dataset_config (`str`, *optional*): Of a dataset of the Hub that has several.
        limit (`int`, *optional*): Rows of each split at most, drawn at random, always the same.
        convert_tags (`bool`, *optional*, defaults to `False`): See [`task_examples`].

    Raises:
        FileNotFoundError, ValueError: A file is missing, a row cannot be read, or the columns do not fit the task.
    """
    if limit is not None and limit < 2:
        raise ValueError(f"`limit` must be at least 2 rows, got {limit}. Training and validation need one each.")
    named = parse_columns(columns) if isinstance(columns, str) else columns or {}
    if task is not None:
        task_class(task)  # a wrong name is told before anything is read
    splits = find_splits(train_file, dataset_config)
    train_rows = read_rows_of(train_file, "train", dataset_config)
    validation_rows, test_rows = None, None
    if validation_file is None and "validation" in splits:
        validation_file = "validation"
        validation_rows = read_examples(train_file, "validation", dataset_config)
        logger.warning("validation: the split of that name of %s", train_file)
    elif validation_file is not None:
        validation_rows = _split_or_file(validation_file, "validation", train_file, splits, dataset_config)
    if test_file is not None:
        test_rows = _split_or_file(test_file, "test", train_file, splits, dataset_config)
    if task is None:
        task = guess_task(train_rows, named)
        logger.warning("task: %s, by the columns (--task says otherwise)", task)
    held_out = validation_rows is None
    if held_out:
        if len(train_rows) < 2:
            raise ValueError(
                f"`{train_file}` has 1 row; training and validation need one each. Give more rows, or a `validation_file`."
            )
        train_rows, validation_rows = hold_out(limited(train_rows, limit))
        logger.warning(
            "validation: %s of the %s rows of %s, drawn at random",
            f"{len(validation_rows):,}", f"{len(train_rows) + len(validation_rows):,}", train_file,
        )  # fmt: skip
    chosen: Columns = {}

    def split(rows: Sequence[Row], source: str) -> Split:
        rows = limited(rows, limit)
        examples, found = task_examples(rows, task, named, convert_tags=convert_tags)
        chosen.update(found)
        return Split(rows, examples, source)

    def named_source(source: str) -> str:
        return f"{source} of {Path(train_file).name}" if source in splits else source

    train = split(train_rows, train_file)
    validation = split(validation_rows, "held out of the training rows" if held_out else named_source(validation_file))
    test = split(test_rows, named_source(test_file)) if test_rows is not None else None
    logger.warning("columns: %s (--columns says otherwise)", describe_columns(chosen))
    sizes = f"{len(train.rows):,} for training, {len(validation.rows):,} for validation"
    logger.warning("rows: %s", sizes + (f", {len(test.rows):,} for the test" if test else ""))
    return TaskData(task, chosen, train, validation, test, held_out)


def limited(rows: Sequence[Row], limit: int | None) -> list[Row]:
    """Return so many rows in their order, drawn at random since files often have their classes in blocks."""
    if limit is None or len(rows) <= limit:
        return list(rows)
    return [rows[index] for index in sorted(random.Random(0).sample(range(len(rows)), limit))]


def read_rows_of(source: str, split: str, dataset_config: str | None = None) -> list[Row]:
    """Return the rows of a file or a saved split, or of the split of a folder or a dataset."""
    has_splits = bool(find_splits(source, dataset_config)) or Path(source).is_dir()
    saved_split = Path(source, "state.json").is_file()  # of `Dataset.save_to_disk`
    return read_examples(source, split if has_splits and not saved_split else None, dataset_config)


def _split_or_file(
    name: str, split: str, train_file: str, splits: Sequence[str], dataset_config: str | None
) -> list[Row]:
    if name in splits and not Path(name).exists():
        return read_examples(train_file, name, dataset_config)
    return read_rows_of(name, split, None if Path(name).exists() else dataset_config)
