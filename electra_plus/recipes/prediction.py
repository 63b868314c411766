"""A fine-tuned model on new rows, and its scores on labelled ones."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from electra_plus.data.example_files import Row
from electra_plus.data.task_columns import describe_columns, parse_columns
from electra_plus.data.task_examples import task_examples
from electra_plus.folders import file_of
from electra_plus.recipes.evaluation.loading import best_device, longest_input, quiet, read_config, read_tokenizer
from electra_plus.recipes.evaluation.report import refuse_folder, versions, write_json
from electra_plus.recipes.finetuning import METRICS_FILE
from electra_plus.recipes.finetuning_run import write_predictions
from electra_plus.recipes.pretraining import takes_bfloat16
from electra_plus.recipes.task_data import limited, read_rows_of
from electra_plus.recipes.tasks import TASKS, Task, make_task, task_of_config
from electra_plus.recipes.tasks.running import judged, predictions_of

logger = logging.getLogger(__name__)


@dataclass
class Predictor:
    """
    A fine-tuned model and what it was fine-tuned for.

    Args:
        task ([`Task`]): With the options that the folder keeps, or that the caller gave.
        model ([`PreTrainedModel`]): In evaluation mode.
        tokenizer ([`PreTrainedTokenizerBase`]): Of the model.
        bfloat16 (`bool`): Whether matrix products are taken in it.
    """

    task: Task
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    bfloat16: bool


def load_predictor(model: str, options: dict[str, Any] | None = None, dtype: str | None = None) -> Predictor:
    """
    Open a fine-tuned model: of this package, or any that transformers opens by its Auto class.

    Args:
        model (`str`): Folder or Hub name.
        options (`dict`, *optional*): Of the task, instead of those that the folder keeps.
        dtype (`str`, *optional*): As for [`finetune`].

    Raises:
        OSError: There is no such model, or no tokenizer.
        ValueError: It was not fine-tuned, lacks weights, or an option does not fit its task.
    """
    device = best_device()
    bfloat16 = takes_bfloat16(dtype, device.type == "cpu")
    config = read_config(model)
    name = task_of_config(config, model)
    kept = _kept_options(model, name)
    task = make_task(TASKS[name], {**kept, **(options or {})})
    half = config.get_text_config()  # of an encoder-decoder, whose halves are alike in what matters here
    tokenizer = read_tokenizer(model, half)
    task.max_length = min(task.max_length or task.default_length, longest_input(tokenizer, half))
    task.read_config(config)
    with quiet():
        loaded, info = getattr(transformers, task.auto_class).from_pretrained(
            model, dtype=torch.float32, output_loading_info=True
        )
    if info["missing_keys"]:
        raise ValueError(
            f"`--model {model}` lacks weights, such as {sorted(info['missing_keys'])[0]!r}: its answers would be random."
        )
    return Predictor(task, loaded.eval().to(device), tokenizer, bfloat16)


def _kept_options(model: str, task: str) -> dict[str, Any]:
    file = file_of(model, METRICS_FILE)
    try:
        kept = json.loads(Path(file).read_text(encoding="utf-8")) if file is not None else None
    except ValueError:  # of somebody else
        return {}
    return kept["options"] if isinstance(kept, dict) and kept.get("task") == task and "options" in kept else {}


def predict(
    model: str,
    source: str | None = None,
    texts: Sequence[str] | None = None,
    output: str | None = None,
    split: str = "test",
    columns: str | dict[str, Any] | None = None,
    dataset_config: str | None = None,
    limit: int | None = None,
    options: dict[str, Any] | None = None,
    dtype: str | None = None,
    show_progress: bool = True,
) -> list[dict[str, Any]]:
    r"""
    Predict rows of a file, a folder, a dataset, or texts.

    Args:
        model (`str`): Folder or Hub name of a fine-tuned model; what it does is read from there.
        source (`str`, *optional*): As for [`read_examples`]; labels are not needed.
        texts (`Sequence[str]`, *optional*): Instead of `source`. A text may be a row in JSON: `{"question": "…", "context": "…"}`.
        output (`str`, *optional*): A file for json lines: each row, in the order read, with its prediction.
        split (`str`, *optional*, defaults to `"test"`): Of a folder or a dataset.
        columns, dataset_config, limit: As for [`finetune`].
        options, dtype: As for [`load_predictor`].
        show_progress (`bool`, *optional*, defaults to `True`): Whether to show a bar.

    Returns:
        `list[dict]`: each row with `prediction` and whatever says how sure it is.

    Raises:
        OSError, ValueError: The model cannot be opened, or a row cannot be read.
    """
    if (source is None) == (texts is None):
        raise ValueError(f"`--input` or `--text` must be given, got {'neither' if source is None else 'both'}.")
    refuse_folder(output, "predictions.jsonl")
    rows = [_row_of_text(text, number) for number, text in enumerate(texts, start=1)] if texts is not None else None
    if rows is None:
        rows = limited(read_rows_of(source, split, dataset_config), limit)
    predictor = load_predictor(model, options, dtype)
    examples = _examples(rows, predictor.task, columns, with_targets=False, say=texts is None)
    predictions, remarks = predictions_of(
        predictor.task,
        predictor.model,
        predictor.tokenizer,
        examples,
        predictor.bfloat16,
        "predict" if show_progress else None,
    )
    for remark in remarks:
        logger.warning("%s", remark)
    if output is not None:
        write_predictions(Path(output), rows, predictions)
    return [{**row, **prediction} for row, prediction in zip(rows, predictions, strict=True)]


def _row_of_text(text: str, number: int) -> Row:
    where = f"`--text` {number}"
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return Row(found, where)
    return Row({"text": text}, where)


def _examples(
    rows: Sequence[Row], task: Task, columns: str | dict[str, Any] | None, with_targets: bool, say: bool
) -> list[Row]:
    named = parse_columns(columns) if isinstance(columns, str) else columns or {}
    examples, chosen = task_examples(rows, task.name, named, with_targets)
    if say:
        logger.warning("task: %s; columns: %s (--columns says otherwise)", task.name, describe_columns(chosen))
    return examples


def evaluate_task(
    model: str,
    data: str,
    output: str | None = None,
    split: str = "validation",
    columns: str | dict[str, Any] | None = None,
    dataset_config: str | None = None,
    limit: int | None = None,
    options: dict[str, Any] | None = None,
    dtype: str | None = None,
    show_progress: bool = True,
) -> dict[str, Any]:
    """
    Score a fine-tuned model on labelled rows with the metrics of its task.

    Args:
        data (`str`): A file, a folder with a file for each split, or a dataset.
        output (`str`, *optional*): A json file for the result.
        model, split, columns, dataset_config, limit, options, dtype, show_progress: As for [`predict`].

    Returns:
        `dict`: `model`, `task`, `data`, `rows`, `figures` (metrics by name), `options`, `versions`.

    Raises:
        OSError, ValueError: The model cannot be opened, a row cannot be read or has a label that the model does not know.
    """
    refuse_folder(output, "figures.json")
    rows = limited(read_rows_of(data, split, dataset_config), limit)
    predictor = load_predictor(model, options, dtype)
    task = predictor.task
    examples = _examples(rows, task, columns, with_targets=True, say=True)
    task.check(examples)
    encoded = task.encode(examples, predictor.tokenizer)
    for remark in encoded.remarks:
        logger.warning("%s", remark)
    title = "evaluate" if show_progress else None
    figures, _ = judged(task, predictor.model, predictor.tokenizer, examples, encoded, predictor.bfloat16, title)
    result = {
        "model": model,
        "task": task.name,
        "data": data,
        "rows": len(rows),
        "figures": figures,
        "options": task.options(),
        "versions": versions(),
    }
    if output is not None:
        write_json(result, output)
    return result
