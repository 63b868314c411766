"""The tasks that can be fine-tuned: one class each, and the table of them. A new task is a class and a row here."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PretrainedConfig

from electra_plus.data.example_files import Row
from electra_plus.data.task_columns import choose_columns
from electra_plus.data.task_examples import unnested_translation
from electra_plus.recipes.tasks.classification import Classification, MultiLabelClassification, Regression
from electra_plus.recipes.tasks.generation import TextGeneration
from electra_plus.recipes.tasks.multiple_choice import MultipleChoice
from electra_plus.recipes.tasks.question_answering import QuestionAnswering
from electra_plus.recipes.tasks.tagging import TokenClassification
from electra_plus.recipes.tasks.task import Task, make_task
from electra_plus.recipes.tasks.translation import Translation

# In the order of a guess by columns: a table of questions and answers has texts as well, and no table has nothing.
TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        QuestionAnswering,
        MultipleChoice,
        TokenClassification,
        Classification,
        MultiLabelClassification,
        Regression,
        Translation,
        TextGeneration,
    )
}
TEXT_TASKS = (Classification.name, MultiLabelClassification.name, Regression.name)


def task_class(name: str) -> type[Task]:
    """
    Return the class of a task.

    Raises:
        ValueError: There is none of that name.
    """
    if name not in TASKS:
        raise ValueError(f"`--task` must be one of {list(TASKS)}, got {name!r}.")
    return TASKS[name]


def guess_task(rows: Sequence[Row], columns: Mapping[str, Any] | None = None) -> str:
    r"""
    Return the task that a table is for, by its columns and the values of its labels.

    Args:
        rows (`Sequence[Row]`): From [`read_examples`].
        columns (`Mapping`, *optional*): Fields and columns that the user named.

    Raises:
        ValueError: The columns fit none.

    Example:

    >>> guess_task([Row({"sentence": "Good.", "label": 1}, "")]), guess_task([Row({"sentence": "Good.", "label": 3.8}, "")])
    ('text-classification', 'regression')
    >>> guess_task([Row({"tokens": ["Wu"], "ner_tags": ["B-name"]}, "")])
    'token-classification'
    """
    present = list(unnested_translation(rows[0]))
    unclear = None
    for name in TASKS:
        if name == TextGeneration.name and len(present) > 1:
            continue  # a table with more than texts may well be for a task whose labels have an unusual name
        try:
            chosen = choose_columns(present, name, columns)
        except ValueError as error:
            unclear = unclear or (error if "Say which" in str(error) else None)
            continue
        if name == TokenClassification.name and "text" in chosen and not _are_spans(rows, chosen["spans"]):
            continue
        if name not in TEXT_TASKS:
            return name
        column = chosen["label" if "label" in chosen else "labels"]
        for task in _by_labels(rows, column):
            if _finds_labels(task, column, present, columns):
                return task
    if unclear is not None:
        raise ValueError(f"{rows[0].where}: {unclear}")
    raise ValueError(
        f"{rows[0].where}: no task is made for the columns {present}. Name task and columns: --task text-classification --columns "
        "text=COLUMN,label=COLUMN"
    )


def _are_spans(rows: Sequence[Row], column: Any) -> bool:
    values = [row[column] for row in rows if not isinstance(column, list) and row.get(column)]
    return bool(values) and all(
        isinstance(value, dict) or (isinstance(value, list) and isinstance(value[0], dict | list)) for value in values
    )


def _finds_labels(task: str, column: Any, present: Sequence[str], columns: Mapping[str, Any] | None) -> bool:
    """Say whether a task takes this column for its labels: `stars` is usual for a number, not for a class."""
    try:
        return column in choose_columns(present, task, columns).values()
    except ValueError:
        return False


def _by_labels(rows: Sequence[Row], column: Any) -> tuple[str, ...]:
    """Return the tasks that labels like these may be for, the likeliest first."""
    if isinstance(column, list):  # columns of 0 and 1
        return (MultiLabelClassification.name,)
    values = [row.get(column) for row in rows]
    if any(isinstance(value, list) for value in values):
        return (MultiLabelClassification.name,)
    numbers = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return (Classification.name,)
        try:
            numbers.append(float(value))
        except ValueError:
            return (Classification.name,)
    are_whole = all(number.is_integer() for number in numbers)
    return (Classification.name, Regression.name) if are_whole else (Regression.name,)


def task_of_config(config: PretrainedConfig, model: str) -> str:
    """
    Return the task of a fine-tuned model, by its class and its kind of labels.

    Raises:
        ValueError: It is a model of another kind, such as one that was only pretrained.
    """
    architecture = (config.architectures or ["none"])[0]
    kind = getattr(config, "problem_type", None)
    for task in TASKS.values():
        ending = task.auto_class.removeprefix("AutoModel")
        if architecture.endswith((ending, "LMHeadModel" if ending == "ForCausalLM" else ending)):
            name = task.name
            if name in TEXT_TASKS:
                kinds = {TASKS[name].problem_type: name for name in TEXT_TASKS}
                name = kinds.get(kind, Regression.name if config.num_labels == 1 else Classification.name)
            return name
    if getattr(config, "is_encoder_decoder", False):
        return Translation.name
    raise ValueError(
        f"`--model {model}` holds the class {architecture}, which was not fine-tuned for one of {list(TASKS)}. Fine-tune it: "
        "electra-plus finetune"
    )


__all__ = ["TASKS", "Task", "guess_task", "make_task", "task_class", "task_of_config"]
