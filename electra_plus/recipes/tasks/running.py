"""A fine-tuned model on many rows: batches of like length, scores in the rows' order, a bar for the terminal."""

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from electra_plus.data.example_files import Row
from electra_plus.pipelines.token_budget import batches_by_length
from electra_plus.recipes.tasks.task import Encoded, Task, row_length

BATCH_TOKENS = 4096  # padding included; larger batches are no faster on processors


def autocast(device: torch.device, bfloat16: bool) -> contextlib.AbstractContextManager:
    """Return the context in which matrix products are taken in bfloat16, or one that does nothing."""
    return torch.autocast(device.type, torch.bfloat16) if bfloat16 else contextlib.nullcontext()


@torch.no_grad()
def scores_of_rows(
    task: Task,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[dict[str, Any]],
    bfloat16: bool = False,
    title: str | None = None,
) -> tuple[list[np.ndarray], float | None]:
    """
    Run a model on rows.

    Args:
        task ([`Task`]): Says what of the outputs is wanted.
        model, tokenizer: As loaded; the model is left in evaluation mode.
        rows (`Sequence[dict]`): From [`Task.encode`].
        bfloat16 (`bool`, *optional*, defaults to `False`): See [`autocast`].
        title (`str`, *optional*): Of the bar on a terminal, which counts rows. `None` shows none.

    Returns:
        `tuple`: scores of each row in the given order (none for tasks that write, whose scores would fill the memory), and the
        mean loss over rows, in nats, `None` for rows without targets.
    """
    model.eval()
    found: list[Any] = [None] * len(rows)
    total, weight = 0.0, 0
    with tqdm(total=len(rows), desc=title, unit="row", disable=title is None or None, leave=False) as bar:
        for places in batches_by_length([row_length(row) for row in rows], BATCH_TOKENS):
            batch = task.pad([rows[place] for place in places], tokenizer.pad_token_id or 0)
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            with autocast(model.device, bfloat16 and not task.in_float32):
                outputs = model(**batch)
            if outputs.get("loss") is not None:
                total += outputs["loss"].item() * len(places)
                weight += len(places)
            if not task.writes:
                for place, scores in zip(places, task.scores_of(outputs).float().cpu().numpy(), strict=True):
                    found[place] = scores
            bar.update(len(places))
    return found, total / weight if weight else None


def predictions_of(
    task: Task,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Row],
    bfloat16: bool = False,
    title: str | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a prediction for each example without looking at targets, and remarks for the user."""
    if task.writes:
        with tqdm(total=len(examples), desc=title, unit="row", disable=title is None or None, leave=False) as bar:
            model.eval()
            return task.write(model, tokenizer, examples, on_done=bar.update), []
    encoded = task.encode(examples, tokenizer, with_targets=False)
    scores, _ = scores_of_rows(task, model, tokenizer, encoded.rows, bfloat16, title)
    return task.decode(scores, encoded, examples), encoded.remarks


def judged(
    task: Task,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Row],
    encoded: Encoded,
    bfloat16: bool = False,
    title: str | None = None,
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Return the metrics and the mean loss (nats) of examples with targets, and their predictions, none where the loss says it all."""
    scores, loss = scores_of_rows(task, model, tokenizer, encoded.rows, bfloat16, title)
    if loss is not None and (by_loss := task.judge_loss(loss)) is not None:
        return {**by_loss, "loss": loss}, []
    if task.writes:
        predictions, _ = predictions_of(task, model, tokenizer, examples, bfloat16, title)
    else:
        predictions = task.decode(scores, encoded, examples)
    return {**task.judge(predictions, examples), "loss": loss}, predictions
