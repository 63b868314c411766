"""Examples for fine-tuning, evaluation and prediction: rows with their place, the splits of a source, the labels there are."""

import random
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from electra_plus.data.example_files import Row, class_names_of, read_rows, row_of_dataset, shown, suffix_of
from electra_plus.data.sources import DATASET_FILES, HUB_NAME, Source, open_dataset

# What a file of a folder may be called for each split, before the suffix or before a further word, as in dev_first_half.jsonl.
SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}


def read_examples(
    source: str | Path, split: str | None = None, config: str | None = None, limit: int | None = None
) -> list[Row]:
    """
    Read rows of a file, of a folder with a file for each split, or of a dataset.

    Args:
        source (`str` or `Path`):
            A file with a suffix of [`electra_plus.data.example_files.READERS`]; a folder with train and validation files of
            those kinds; a folder of `Dataset.save_to_disk`; or a dataset of the Hub, `owner/name`.
        split (`str`, *optional*):
            Of a folder `"train"`, `"validation"` or `"test"`, of a dataset any that it has. `None` means `"train"`. A file has
            no splits.
        config (`str`, *optional*): Of a dataset of the Hub that has several.
        limit (`int`, *optional*): Rows at most, from the start. `None` reads all.

    Returns:
        `list[Row]`: dicts that know where they were read. Columns whose classes the dataset names hold those names.

    Raises:
        FileNotFoundError: There is no such file, folder or dataset, or the folder has no file for the split.
        ValueError: A row cannot be read, there are none, or an option does not fit the source.

    Example:

    ```python
    rows = read_examples("reviews/", split="validation")  # reviews/dev.csv
    rows = read_examples("nyu-mll/glue", config="mrpc", split="train", limit=1000)
    ```
    """
    if limit is not None and limit < 1:
        raise ValueError(f"`limit` must be at least 1 row, got {limit}.")
    path, is_dataset = Path(source), _is_dataset(source)
    if config is not None and (path.exists() or not is_dataset):
        raise ValueError(f"`config` ({config!r}) is for datasets of the Hub, and `{path}` is none. Leave it out.")
    if is_dataset:
        rows = _dataset_rows(str(source), split or "train", config)
    elif path.is_dir():
        rows = read_rows(_file_of_split(path, split or "train"))
    elif not path.is_file():
        raise FileNotFoundError(
            f"`{path}` does not exist. Give a file, a folder with train and validation files, or a dataset of the Hub as "
            "`owner/name`."
        )
    elif split is not None:
        raise ValueError(f"`split` ({split!r}) is for folders and datasets, and `{path}` is a file. Leave it out.")
    else:
        rows = read_rows(path)
    if not (found := list(islice(rows, limit))):
        raise ValueError(f"`{path}` holds no rows{f' of the split {split}' if split else ''}. Give a file with some.")
    return found


def find_splits(source: str | Path, config: str | None = None) -> list[str]:
    """
    Return the splits that [`read_examples`] can read of a folder or a dataset; of a file, and of one saved split, none.

    Raises:
        FileNotFoundError: There is no such dataset, or the Hub cannot be reached.
    """
    path = Path(source)
    if not _is_dataset(source):
        return [split for split in SPLITS if path.is_dir() and _files_of_split(path, split)]
    from datasets import Dataset, get_dataset_split_names, load_from_disk

    if path.is_dir():
        saved = load_from_disk(str(path))
        return [] if isinstance(saved, Dataset) else list(saved)
    try:
        return list(get_dataset_split_names(str(source), config))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FileNotFoundError(
            f"`{source}` has no splits to be read ({reason}). Check name and configuration."
        ) from error


def _is_dataset(source: str | Path) -> bool:
    path = Path(source)
    if path.is_dir():
        return any((path / file).is_file() for file in DATASET_FILES)
    # a file that is missing must not be looked up on the Hub
    return not path.exists() and bool(HUB_NAME.fullmatch(str(source))) and suffix_of(path) is None


def _dataset_rows(source: str, split: str, config: str | None) -> Iterator[Row]:
    dataset = open_dataset(Source(source, "dataset", config, split))
    class_names = class_names_of(dataset.features)
    for number, values in enumerate(dataset.with_format(None), start=1):
        yield row_of_dataset(values, f"`{source}` {split} row {number}", class_names)


def _files_of_split(folder: Path, split: str) -> list[Path]:
    """Return the files named as a split is, those with nothing but the name if there are any."""
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and suffix_of(file) is not None]
    stems = {file: file.name.removesuffix(".gz").removesuffix(suffix_of(file)) for file in files}
    plain = [file for file in files if stems[file] in SPLITS[split]]
    return plain or [file for file in files if re.match(rf"({'|'.join(SPLITS[split])})(?![a-z])", stems[file])]


def _file_of_split(folder: Path, split: str) -> Path:
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {list(SPLITS)} for the folder `{folder}`, got {split!r}.")
    found = _files_of_split(folder, split)
    if len(found) > 1:
        raise ValueError(
            f"`{folder}` has {[file.name for file in found]} for the split {split}. Name one file instead."
        )
    if not found:
        names = " or ".join(f"{name}.jsonl" for name in SPLITS[split])
        raise FileNotFoundError(f"`{folder}` has no file for the split {split}. Name one {names} (or another suffix).")
    return found[0]


def hold_out(rows: list[dict], fraction: float = 0.1) -> tuple[list[dict], list[dict]]:
    """
    Split rows into those for training and a fraction for validation, in their order, at least one each.

    The draw is at random, since files often have their classes in turn or in blocks, and always the same.

    Raises:
        ValueError: There are fewer than two rows.
    """
    if len(rows) < 2:
        raise ValueError(f"`train_file` has {len(rows)} row; training and validation need one each. Give more rows.")
    held = set(random.Random(0).sample(range(len(rows)), max(1, round(fraction * len(rows)))))
    train = [row for index, row in enumerate(rows) if index not in held]
    return train, [rows[index] for index in sorted(held)]


def label_names(rows: Sequence[Row], column: str = "label") -> list[str]:
    """
    Return the labels in the order that their ids get: as the dataset names them, else numbers by value, then names.

    Args:
        rows (`Sequence[Row]`): Of the training split.
        column (`str`, *optional*, defaults to `"label"`): Holds a label, or a list of labels or tags.

    Example:

    >>> label_names([Row({"label": name}, "") for name in ("10", "9", "9", "0")])
    ['0', '9', '10']
    >>> label_names([Row({"tags": ["O", "B-name"]}, ""), Row({"tags": ["O"]}, "")], "tags")
    ['B-name', 'O']
    """
    if column in rows[0].class_names:
        return rows[0].class_names[column]
    found = {str(label) for row in rows for label in _listed(row[column])}
    return sorted(found, key=lambda name: (not name.isdecimal(), len(name) if name.isdecimal() else 0, name))


def label_range(rows: Sequence[Row], column: str = "label") -> tuple[float, float]:
    """
    Return the lowest and the highest number to predict.

    Raises:
        ValueError: All rows have the same number, from which nothing can be learned.
    """
    lowest, highest = min(row[column] for row in rows), max(row[column] for row in rows)
    if lowest == highest:
        raise ValueError(f"`{column}` is {lowest} in all {len(rows)} rows. Regression needs at least two values.")
    return lowest, highest


def check_labels(rows: Sequence[Row], names: Sequence[str], column: str = "label") -> None:
    """
    Check that rows have no label (or tag) besides those of the training rows.

    Args:
        rows (`Sequence[Row]`): Of the validation or test split.
        names (`Sequence[str]`): What [`label_names`] returned for the training split.

    Raises:
        ValueError: A label that is not in `names`.
    """
    known = set(names)
    for row in rows:
        for label in _listed(row[column]):
            if str(label) not in known:
                raise ValueError(
                    f"{row.where}: `{column}` is {shown(label)}, which no training row has; those have "
                    f"{shown(list(names), longest=400)}. "
                    "Correct it, or leave the row out."
                )


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]
