"""Tasks of the suite `glue-small`: which columns they have, how they are scored, and where their files lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from electra_plus.data.example_files import Row
from electra_plus.data.examples import read_examples
from electra_plus.metrics.classification import accuracy, f1, matthews_correlation, spearman_correlation


@dataclass(frozen=True)
class Task:
    """
    One task of the suite.

    Args:
        name (`str`): As on the command line, and its folder in the data.
        metrics (`dict`): Names to functions of predictions and labels, both of shape `(num_examples,)`; the first one counts.
        pair (`bool`, *optional*, defaults to `True`): Two texts (`sentence1`, `sentence2`) or one (`sentence`).
        num_labels (`int`, *optional*, defaults to 2): Classes 0, 1, …; 1 means a number to predict.
        epochs (`int`, *optional*, defaults to 3): Passes over the training rows.
        train_rows (`int`, *optional*): The first so many training rows. `None` takes all.
    """

    name: str
    metrics: dict[str, Callable]
    pair: bool = True
    num_labels: int = 2
    epochs: int = 3
    train_rows: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the texts in a row."""
        return ("sentence1", "sentence2") if self.pair else ("sentence",)

    @property
    def metric(self) -> str:
        """Name of the metric that counts."""
        return next(iter(self.metrics))


# Epochs are those of ELECTRA's paper, table 7. SST-2 is cut so that the suite stays small.
TASKS = {
    task.name: task
    for task in (
        Task("cola", {"matthews": matthews_correlation}, pair=False),
        Task("rte", {"accuracy": accuracy}, epochs=10),
        Task("mrpc", {"f1": f1, "accuracy": accuracy}),
        Task("sst2", {"accuracy": accuracy}, pair=False, train_rows=10_000),
        Task("stsb", {"spearman": spearman_correlation}, num_labels=1, epochs=10),
    )
}


def rows_of_split(folder: Path, split: str) -> list[Row]:
    """
    Return the rows of `train.jsonl`, else of `train.en.jsonl` (or either with `.gz`), else of the only file of that split.

    Raises:
        FileNotFoundError: There is none.
        ValueError: There are several, and none has a preferred name.
    """
    files = {
        name: [folder / f"{name}{ending}" for ending in (".jsonl", ".jsonl.gz")] for name in (split, f"{split}.en")
    }
    found = [file for name in files for file in files[name] if file.is_file()]
    return read_examples(found[0]) if found else read_examples(folder, split)


def read_task(data: str | Path, task: Task, limit: int | None = None) -> tuple[list[Row], list[Row]]:
    """
    Read the rows of a task from its folder in `data`.

    Args:
        data (`str` or `Path`): Folder that holds the task's folder.
        task ([`Task`]): The task.
        limit (`int`, *optional*): The first so many training rows. `None` takes the task's own number.

    Returns:
        `tuple`: training rows and validation rows.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A row lacks a column, or has a label that is no class of the task.
    """
    splits = []
    for split in ("train", "validation"):
        folder = Path(data) / task.name
        if not folder.is_dir():
            raise FileNotFoundError(
                f"`--data` needs {folder}/{split}.jsonl (or .jsonl.gz), and there is no such folder."
            )
        rows = rows_of_split(folder, split)
        if split == "train":
            rows = rows[: task.train_rows if limit is None else limit]
        _check(rows, task)
        splits.append(rows)
    return splits[0], splits[1]


def _check(rows: Sequence[Row], task: Task) -> None:
    wanted = "a number" if task.num_labels == 1 else f"a class from 0 to {task.num_labels - 1}"
    for row in rows:
        missing = [column for column in (*task.columns, "label") if column not in row]
        if missing:
            raise ValueError(f"{row.where} lacks {missing}: {task.name} has {[*task.columns, 'label']}.")
        label = row["label"]
        is_number = isinstance(label, int | float) and not isinstance(label, bool)
        if not is_number or (task.num_labels > 1 and label not in range(task.num_labels)):
            raise ValueError(f"{row.where}: `label` must be {wanted}, got {label!r}.")
